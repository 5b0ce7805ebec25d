"""A new head on a trained network, and a trained network under a new head."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from mnist_lab.models.architecture import HEAD, architecture_of, note_head
from mnist_lab.models.seeding import drawn_from
from mnist_lab.reasons import shorten
from mnist_lab.training.cards import ModelCard, arguments_of
from mnist_lab.training.checkpoints import load_checkpoint, load_weights
from mnist_lab.training.tensor_folders import CheckpointError


def replace_head(model: nn.Module, classes: int, seed: int) -> nn.Module:
    """Return a copy of the model with a new head, drawn from `seed`, for `classes` classes.

    The head learns; all else learns or is frozen as it was in `model`, so a frozen base stays one.

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
    adapted = copy.deepcopy(model)
    with drawn_from(seed):
        head = nn.Linear(old.in_features, classes, bias=old.bias is not None)
    setattr(adapted, HEAD, head.to(old.weight.device, old.weight.dtype))
    note_head(adapted, classes)
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
        If there is no sound checkpoint in `folder`, or it is of another architecture or size, or
        built with other arguments, such as another `input_size`; the model is then as it was.
    """
    pretrained, card = load_checkpoint(folder)
    if type(pretrained) is not type(model):
        raise CheckpointError(
            f"{folder} holds a {type(pretrained).__name__} ({card.model}); its weights do not fit "
            f"a {type(model).__name__}."
        )
    ours, theirs = describe_body(model), describe_body(pretrained)
    if ours is not None and ours != theirs:
        raise CheckpointError(
            f"{folder} holds another {type(pretrained).__name__} than this one: "
            f"{name_difference(theirs, ours)}."
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


def describe_body(model: nn.Module) -> dict[str, Any] | None:
    """Return what a network was built as, but for its head; None if nobody knows.

    That tells apart networks whose weights have the same shapes, such as those of another number of
    attention heads, or that are fed otherwise, such as with larger images.
    """
    known = architecture_of(model)
    if known is None:
        return None
    return {"model": known.name} | {k: v for k, v in arguments_of(known).items() if k != "classes"}


def name_difference(expected: Mapping[str, Any] | None, found: Mapping[str, Any] | None) -> str:
    """Say in half a sentence how two networks differ that `describe_body` described."""
    one, other = expected or {}, found or {}
    name = next((k for k in [*one, *other] if one.get(k) != other.get(k)), "model")
    return (
        f"its {shorten(name)} was {one.get(name)!r:.100}, that of this model is "
        f"{other.get(name)!r:.100}"
    )
