"""Fine-tuning: from a network that has learnt one task to one that does another.

    model, card = load_checkpoint("runs/zero_to_four")
    model = replace_head(model, classes=5, seed=0)          # a copy; the old network stays as it is
    freeze(model, "conv1", "norm1")                         # by name; frozen means bit-identical
    train_steps(model, few_labels(digits, 10, seed=0), TrainConfig(learning_rate=0.003), steps=300)

What learns, and how fast, is said by name: `freeze` and `unfreeze` set it, `unfreeze_gradually`
changes it while training goes on, `layerwise_groups` gives every stage a rate of its own, and
`PullTowardsStart` holds the weights near those that training started from. Everything else is
`training`'s ordinary loop.

Sources: which layers carry over, Yosinski et al. 2014; gradual unfreezing and layer-wise rates,
Howard and Ruder 2018; the pull towards the start (L2-SP), Li, Grandvalet and Davoine 2018.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mnist_lab.batches import Batches, choose_device
from mnist_lab.checkpoints import CheckpointError, ModelCard, load_checkpoint, load_weights
from mnist_lab.datasets import DigitSet
from mnist_lab.training import (
    Penalty,
    TrainConfig,
    group_parameters,
    start_training,
    train_epoch,
)

HEAD = "output"  # what every model of the book calls its last layer

Stages = tuple[tuple[str, ...], ...]


# --- Heads ---------------------------------------------------------------------------------------


def replace_head(model: nn.Module, classes: int, seed: int) -> nn.Module:
    """Return a copy of the model with a new head, drawn from `seed`, for `classes` classes.

    Everything in the copy may learn, whatever was frozen in `model`.

    Raises
    ------
    ValueError
        If the model has no linear layer called `output`, or `classes` is below 1.
    """
    old = getattr(model, HEAD, None)
    if not isinstance(old, nn.Linear):
        raise ValueError(f"{type(model).__name__} has no linear layer called {HEAD!r} to replace.")
    if classes < 1:
        raise ValueError(f"A head needs at least 1 class, found {classes}.")
    adapted = copy.deepcopy(model).requires_grad_(True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = nn.Linear(old.in_features, classes, bias=old.bias is not None)
    setattr(adapted, HEAD, head.to(old.weight.device))
    return adapted


def load_pretrained(model: nn.Module, folder: str | Path, *, head: bool = False) -> ModelCard:
    """Copy a checkpoint's weights into `model`, all but those of the head, and return its card.

    Parameters
    ----------
    head : bool
        Copy the head too; it must be of the same size then.

    Raises
    ------
    CheckpointError
        If there is no sound checkpoint in `folder`, or it is of another architecture or size.
    """
    pretrained, card = load_checkpoint(folder)
    if type(pretrained) is not type(model):
        raise CheckpointError(
            f"{folder} holds a {type(pretrained).__name__} ({card.model}); its weights do not fit "
            f"a {type(model).__name__}."
        )
    weights = pretrained.state_dict()
    if not head:
        own = model.state_dict()
        weights = {
            name: own[name] if name.startswith(f"{HEAD}.") and name in own else tensor
            for name, tensor in weights.items()
        }
    load_weights(model, weights, str(folder))
    return card


# --- What learns ---------------------------------------------------------------------------------


def freeze(model: nn.Module, *names: str) -> None:
    """Stop parts of the model from learning; without names, all of it.

    `training` leaves a frozen batch norm in eval mode, so its running statistics stay too: after
    training, what was frozen is the same to the last bit.

    Parameters
    ----------
    *names : str
        Of modules or parameters, such as "conv1" or "blocks.0"; what is inside them is meant too.

    Raises
    ------
    ValueError
        If nothing in the model has such a name.
    """
    _set_learning(model, names, False)


def unfreeze(model: nn.Module, *names: str) -> None:
    """Let parts of the model learn again; without names, all of it. As `freeze` otherwise."""
    _set_learning(model, names, True)


def _set_learning(model: nn.Module, names: Sequence[str], learns: bool) -> None:
    if not names:
        model.requires_grad_(learns)
    for parameters in [
        _parameters_of(model, name) for name in names
    ]:  # all names are checked first
        for parameter in parameters:
            parameter.requires_grad_(learns)


def _parameters_of(model: nn.Module, name: str) -> list[nn.Parameter]:
    """Return the parameters of the part called `name`."""
    found = [p for key, p in model.named_parameters() if f"{key}.".startswith(f"{name}.")]
    if not found:
        parts = ", ".join(dict.fromkeys(key.split(".")[0] for key, _ in model.named_parameters()))
        raise ValueError(f"Nothing in {type(model).__name__} is called {name!r}; it has {parts}.")
    return found


def count_trainable(model: nn.Module) -> int:
    """Return how many numbers of the model are not frozen."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def list_stages(model: nn.Module) -> Stages:
    """Return the names of the model's parts from input to head, stage by stage.

    A model says so itself in `stages`; otherwise every child that learns something is a stage.
    """
    stages = getattr(model, "stages", None)
    if stages is not None:
        named: Stages = tuple(tuple(stage) for stage in stages)
        return named
    return tuple(
        (name,)
        for name, child in model.named_children()
        if next(child.parameters(), None) is not None
    )


def unfreeze_gradually(model: nn.Module, progress: float) -> None:
    """Let the head learn first, then one stage more at a time, from the head to the input.

    The stages get equal shares of the training: of four, the head alone learns during the first
    quarter, and everything during the last.

    Parameters
    ----------
    progress : float
        The share of the training that is done, from 0 to 1: call this before every epoch.
    """
    if not 0 <= progress <= 1:
        raise ValueError(f"progress must lie between 0 and 1, found {progress}.")
    stages = list_stages(model)
    learning = min(1 + int(progress * len(stages)), len(stages))
    freeze(model)
    unfreeze(model, *(name for stage in stages[-learning:] for name in stage))


def layerwise_groups(model: nn.Module, config: TrainConfig, decay: float) -> list[dict[str, Any]]:
    """Return optimizer groups in which every stage learns `decay` times as fast as the next.

    The head learns at the schedule's rate, the stage before it at `decay` times that, and so on.

    Parameters
    ----------
    decay : float
        Above 0, at most 1.
    """
    if not 0 < decay <= 1:
        raise ValueError(f"decay must be above 0 and at most 1, found {decay}.")
    groups = []
    for distance, stage in enumerate(reversed(list_stages(model))):
        parameters = [p for name in stage for p in _parameters_of(model, name)]
        groups += group_parameters(parameters, config, decay**distance)
    return groups


class PullTowardsStart:
    """A penalty that pulls the weights towards where they are now (L2-SP).

    Called, it returns strength / 2 times the sum of the squared distances. A new head has no start
    worth staying near, so it is left out.

    Parameters
    ----------
    model : nn.Module
        As it is before training.
    strength : float
        0 or more; 0.01 is a place to begin.
    """

    def __init__(self, model: nn.Module, strength: float) -> None:
        if not 0 <= strength < float("inf"):
            raise ValueError(f"strength must be 0 or more and finite, found {strength}.")
        self.strength = strength
        self.pairs = [
            (parameter, parameter.detach().clone())
            for name, parameter in model.named_parameters()
            if not name.startswith(f"{HEAD}.")
        ]

    def __call__(self) -> Tensor:
        """Return the penalty for the weights as they are, a scalar with a gradient."""
        squares = [
            (now - start.to(now.device)).square().sum()
            for now, start in self.pairs
            if now.requires_grad
        ]
        if not squares:
            return torch.zeros(())
        return self.strength / 2 * torch.stack(squares).sum()


# --- Training on few digits ----------------------------------------------------------------------


def train_steps(
    model: nn.Module,
    digits: DigitSet,
    config: TrainConfig,
    steps: int,
    *,
    device: str = "auto",
    groups: list[dict[str, Any]] | None = None,
    penalty: Penalty | None = None,
    gradual: bool = False,
) -> None:
    """Train `model` in place for about `steps` steps: whole epochs, as many as come nearest.

    Epochs mean little where there are only ten digits. Rivals that get the same digits, batch size
    and steps get the same work. Nothing is scored, nothing is chosen: the last weights count.

    Parameters
    ----------
    digits : DigitSet
        If there are fewer than `config.batch_size`, a batch is all of them.
    config : TrainConfig
        Its `epochs` is not used.
    groups, penalty
        As for `training.start_training`.
    gradual : bool
        Unfreeze stage by stage, from the head on (`unfreeze_gradually`).

    Raises
    ------
    ValueError
        If `digits` is a test part, or there is nothing that learns.
    FloatingPointError
        At the first loss that is not finite.
    """
    if digits.part == "test":
        raise ValueError("These digits are a test part: nothing is learnt from it.")
    if steps < 1:
        raise ValueError(f"There must be at least 1 step, found {steps}.")
    where = choose_device(device)
    model.to(where)
    batches = Batches(
        digits,
        min(config.batch_size, len(digits)),
        device=where,
        normalisation=config.normalisation,
        augmentation=config.augmentation,
        shuffle=True,
        seed=config.seed,
    )
    config = replace(config, epochs=max(1, round(steps / len(batches))))
    state = start_training(model, batches, config, groups=groups, penalty=penalty)
    for epoch in range(config.epochs):
        if gradual:
            unfreeze_gradually(model, epoch / config.epochs)
        train_epoch(state, batches, config)
