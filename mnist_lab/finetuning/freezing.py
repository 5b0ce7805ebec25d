"""What learns and what stays: parts of a network, said by name.

    freeze(model, "conv1", "norm1")         # frozen means bit-identical, running statistics too
    freeze_backbone(model)                  # all but the head
    fit(model, few, config=config, before_step=GradualUnfreezing(model))

Sources: which layers carry over, Yosinski et al. 2014; gradual unfreezing, Howard and Ruder 2018;
the head first, Kumar et al. 2022.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from mnist_lab.finetuning.lora import lora_layers
from mnist_lab.models.architecture import HEAD
from mnist_lab.training.loop import switch_to_training

Stages = tuple[tuple[str, ...], ...]


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


def freeze_matrices(model: nn.Module, *names: str) -> None:
    """Stop the linear and convolution layers inside parts from learning; norms go on.

    So Lu et al. 2021 let a language model read pictures: what its layers compute stays, and the
    norms set how much of each number they get.

    Parameters
    ----------
    *names : str
        Of modules, such as "blocks"; all of the model, if not given.
    """
    for name in names or ("",):
        for layer in model.get_submodule(name).modules():
            if isinstance(layer, nn.Linear | nn.Conv2d):
                layer.requires_grad_(False)


def _set_learning(model: nn.Module, names: Sequence[str], learns: bool) -> None:
    if not names:
        model.requires_grad_(learns)
    for parameters in [parameters_of(model, name) for name in names]:  # all names are checked first
        for parameter in parameters:
            parameter.requires_grad_(learns)


def parameters_of(model: nn.Module, name: str) -> list[nn.Parameter]:
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

    A model says so itself in `stages`. Otherwise every child that learns something is a stage, in
    the order in which they were made, but for the head, which is the last; parameters of the model
    itself are the first.
    """
    stages = getattr(model, "stages", None)
    if stages is not None:
        named: Stages = tuple(tuple(stage) for stage in stages)
        return named
    own = tuple(name for name, _ in model.named_parameters(recurse=False))
    children = [
        (name,)
        for name, child in model.named_children()
        if next(child.parameters(), None) is not None
    ]
    children.sort(key=lambda stage: stage == (HEAD,))
    return ((own,) if own else ()) + tuple(children)


def freeze_backbone(model: nn.Module) -> None:
    """Let the head alone learn, the last stage: all else is frozen."""
    head = [p for name in list_stages(model)[-1] for p in parameters_of(model, name)]
    learning = [parameter for parameter in head if parameter.requires_grad]
    freeze(model)
    for parameter in learning:
        parameter.requires_grad_(True)


class GradualUnfreezing:
    """Let the head learn first, then one stage more at a time, from the head to the input.

    It is called before each step (`before_step` of `fit` and `start_training`). The stages get
    equal shares of the steps: of four, the head alone learns during the first quarter, and
    everything during the last; with fewer steps than stages some come in together, and at the last
    step all of them learn. What was frozen before stays so.

    Parameters
    ----------
    model : nn.Module
        As it is before training.

    Raises
    ------
    ValueError
        If its base is frozen under LoRA, which is not to learn at all.
    """

    def __init__(self, model: nn.Module) -> None:
        if any(True for _ in lora_layers(model)):
            raise ValueError(
                "This model has LoRA layers: their base stays frozen, or its changes would belong "
                "to another base. Strip them first (strip_lora), or train them alone."
            )
        self.model = model
        self.stages = [
            [p for name in stage for p in parameters_of(model, name) if p.requires_grad]
            for stage in list_stages(model)
        ]
        self.learning = 0

    def __call__(self, step: int, total_steps: int) -> None:
        """Unfreeze what learns at a step, counted from 0."""
        learning = -(-(step + 1) * len(self.stages) // total_steps)  # rounded up
        if learning == self.learning:
            return
        self.learning = learning
        for distance, stage in enumerate(reversed(self.stages)):
            for parameter in stage:
                parameter.requires_grad_(distance < learning)
        switch_to_training(self.model)  # batch norms keep their statistics while they are frozen


class HeadFirst(GradualUnfreezing):
    """Let the head learn alone for half of the steps, then everything: linear probing, then tuning.

    As gradual unfreezing otherwise, with two stages: all but the head, and the head.

    Source: LP-FT, Kumar et al. 2022.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        *body, head = self.stages
        self.stages = [[parameter for stage in body for parameter in stage], head]
