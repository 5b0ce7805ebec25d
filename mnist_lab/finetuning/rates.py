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

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from mnist_lab.data.digit_set import DigitSet
from mnist_lab.finetuning.freezing import _parameters_of, list_stages, unfreeze_gradually
from mnist_lab.finetuning.heads import HEAD
from mnist_lab.training.batches import Batches, choose_device
from mnist_lab.training.config import TrainConfig
from mnist_lab.training.loop import Penalty, group_parameters, start_training, train_epoch


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
