"""What learns and what stays: parts of a network, said by name."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

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
