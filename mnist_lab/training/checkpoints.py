"""Checkpoints: a network's weights and its card, in a folder.

    save_checkpoint("runs/first", model)                # what it is, the model knows itself
    model, card = load_checkpoint("runs/first")

A checkpoint is a folder with `model.json` and the weights file that it names. The card in the JSON
comes from the model: `build_model` and registered classes leave on it what it was built as. Before
anything is written, a network is built from that once more, so none comes back as another one.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from mnist_lab.models.architecture import architecture_of
from mnist_lab.models.registry import MODELS, build_model, outline_model
from mnist_lab.reasons import reason_of
from mnist_lab.training.cards import ModelCard, arguments_of
from mnist_lab.training.tensor_files import check_layout, check_numbers
from mnist_lab.training.tensor_folders import CheckpointError, load_tensors, save_tensors

MODEL = "model"  # what the files of a model are called


def save_checkpoint(folder: str | Path, model: nn.Module, card: ModelCard | None = None) -> None:
    """Write the model's weights and its card; an older checkpoint in `folder` is replaced.

    Parameters
    ----------
    model : nn.Module
        From `build_model`, or of a registered class.
    card : ModelCard, optional
        `ModelCard.of(model)` if not given. What it says of the network must be what the model says.

    Raises
    ------
    CheckpointError
        If nobody could build this model again from its card, or read with it.
    """
    own = ModelCard.of(model, class_names=card.class_names if card else None)
    card = card or own
    check_rebuilds(model)
    for what, said, true in (
        ("model", card.model, own.model),
        ("arguments", card.arguments, own.arguments),
        ("normalisation", card.normalisation, getattr(model, "normalisation", card.normalisation)),
    ):
        if said != true:
            raise CheckpointError(
                f"The card has the {what} {said!r}, the model is built with {true!r}: leave the "
                f"card to ModelCard.of(model)."
            )
    try:
        card.check(model)
    except ValueError as error:
        raise CheckpointError(f"Nobody could read with it: {reason_of(error)}.") from error
    save_tensors(folder, MODEL, model.state_dict(), {"card": card.to_json()})


def check_rebuilds(model: nn.Module) -> None:
    """Refuse a model that would come back as another one: try what a reader of its card would do.

    Raises
    ------
    CheckpointError
        If its class is not registered, or it was changed after it was built.
    """
    kind, known = type(model).__name__, architecture_of(model)
    if known is None:
        raise CheckpointError(
            f"Nobody could build this {kind} again from a checkpoint: register it, with "
            f'@register("name") above its class, and let it take `classes` if its head is replaced.'
        )
    built = build_model(known.name, **arguments_of(known))
    # What a network prints of itself tells dropout rates, strides and heads, which no tensor shows.
    if (changed := _first_difference(repr(model), repr(built))) is not None:
        now, then = changed
        raise CheckpointError(
            f"This {kind} was changed after it was built as {known}: it has {now}, where a new one "
            f"has {then}. Give the builder an argument for it (adapters: save_lora, or strip them)."
        )
    shapes = [{k: v.shape for k, v in m.state_dict().items()} for m in (model, built)]
    if shapes[0] != shapes[1]:
        raise CheckpointError(f"This {kind} has other tensors than a new {known}.")


def _first_difference(ours: str, theirs: str) -> tuple[str, str] | None:
    """Return the first line in which two texts differ, from both."""
    for one, other in zip_longest(ours.splitlines(), theirs.splitlines(), fillvalue="nothing"):
        if one != other:
            return one.strip(), other.strip()
    return None


def load_checkpoint(folder: str | Path) -> tuple[nn.Module, ModelCard]:
    """Build the model of a checkpoint, in eval mode on the CPU, and return it with its card.

    What the JSON claims is compared with what the weights claim before either takes memory; then
    the model reads two images, as `ModelCard.check` says.

    Raises
    ------
    CheckpointError
        If there is none, or it is damaged, of another version, a pickle, or of another network; or
        the network could not answer with numbers.
    """
    tensors, record = load_tensors(folder, MODEL, functools.partial(_expect_model, folder))
    card = _read_card(folder, record)
    try:
        model = build_model(card.model, **card.arguments)
    except ValueError as error:
        raise CheckpointError(f"{folder}: {reason_of(error)}.") from error
    load_weights(model, tensors, str(folder))
    try:
        card.check(model)
    except ValueError as error:
        raise CheckpointError(f"{folder}: {reason_of(error)}.") from error
    return model.eval(), card


def _read_card(folder: str | Path, record: Mapping[str, Any]) -> ModelCard:
    try:
        card = ModelCard.from_json(record["card"])
        if card.model not in MODELS:
            raise ValueError(
                f"it is a {card.model!r:.100}, which is not registered here: run what registers it "
                f"first, such as its class with @register({card.model!r:.100}) above it"
            )
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise CheckpointError(
            f"{folder}: model.json describes no model: {reason_of(error)}."
        ) from error
    return card


def _expect_model(
    folder: str | Path, layout: Mapping[str, Tensor], record: Mapping[str, Any]
) -> None:
    """Refuse weights that are not those of the network that the JSON describes."""
    card = _read_card(folder, record)
    try:
        # With some room, so that of a network a little larger it is said what differs.
        outline = outline_model(card.model, card.arguments, most_tensors=2 * len(layout) + 100)
    except Exception as error:  # of arguments that no builder was made for
        raise CheckpointError(
            f"{folder}: model.json describes no model: {reason_of(error)}."
        ) from error
    if outline is not None:
        _check_fit(outline, layout, str(folder))


def read_digest(folder: str | Path) -> str:
    """Return the SHA-256 of a checkpoint's weights, which tells one trained network from another.

    Raises
    ------
    CheckpointError
        If there is no sound checkpoint.
    """
    return str(load_tensors(folder, MODEL)[1]["weights_sha256"])


def load_weights(model: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Copy `tensors` into `model` if they are its own and can be computed with.

    Raises
    ------
    CheckpointError
        Saying which name, shape or type differs, or where a number is not finite. The model is then
        as it was.
    """
    _check_fit(model, tensors, source)
    try:
        check_numbers(tensors, model.state_dict())
    except ValueError as error:
        raise CheckpointError(f"{source}: {error}.") from error
    model.load_state_dict(dict(tensors))


def _check_fit(model: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    try:
        check_layout(tensors, model.state_dict())
    except ValueError as error:
        raise CheckpointError(f"{source} does not fit {type(model).__name__}: {error}.") from error
