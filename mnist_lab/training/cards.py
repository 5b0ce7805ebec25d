"""What has to be known of a network to build it again and to feed it; and the page for people.

    card = ModelCard.of(model)          # what it is, the model knows itself
    card.check(model)                   # are these its names, its size, its normalisation?
    card.to_markdown("Digits", use="...", limits="...")

Source: model cards, Mitchell et al. 2019.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from typing import Any

import torch
from torch import nn

from mnist_lab.data.digit_set import DIGIT_NAMES
from mnist_lab.data.normalisation import MNIST_NORMALISATION, Normalisation
from mnist_lab.models.architecture import HEAD, LARGEST_SIDE, Architecture, architecture_of
from mnist_lab.reasons import reason_of, shorten
from mnist_lab.training.scoring import cast_for, eval_mode

_FORMAT = "mnist-lab checkpoint"


@dataclass(frozen=True)
class ModelCard:
    """What has to be known to build a model again and to feed it.

    It makes sense by itself, or is not made; `check` asks a network whether it fits.

    Attributes
    ----------
    model : str
        A key of `models.MODELS`; the name of the class, where that is not registered.
    arguments : dict
        What the model was built with, all of it.
    normalisation : Normalisation
        Of the images it was trained on.
    input_size : (int, int)
        Height and width in pixels, each from 1 to 1,024.
    class_names : tuple of str
        In the order of the logits; no two alike.
    training : dict
        How it was trained and how it scored on validation data: for people, not for loading.

    Raises
    ------
    ValueError
        If something is of another type, a side is out of range, or two names are alike.
    """

    model: str
    arguments: dict[str, Any] = field(default_factory=dict)
    normalisation: Normalisation = MNIST_NORMALISATION
    input_size: tuple[int, int] = (28, 28)
    class_names: tuple[str, ...] = DIGIT_NAMES
    training: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        numbers = (self.normalisation.mean, self.normalisation.deviation)
        names = self.class_names
        for what, right, expected in (
            ("model", isinstance(self.model, str), "a text"),
            ("arguments", isinstance(self.arguments, dict), "a mapping"),
            ("normalisation", all(map(_is_number, numbers)), "two numbers"),
            ("input_size", _is_size(self.input_size), f"two sides of 1 to {LARGEST_SIDE:,} pixels"),
            ("class_names", all(isinstance(name, str) and name for name in names), "texts"),
            ("training", isinstance(self.training, dict), "a mapping"),
        ):
            if not right:
                found = shorten(repr(getattr(self, what)))
                raise ValueError(f"The card's {what} must be {expected}, found {found}.")
        name, count = Counter(names).most_common(1)[0] if names else ("", 0)
        if count > 1:
            raise ValueError(
                f"The card's class_names must differ, and {count} are called {shorten(name)!r}."
            )

    @classmethod
    def of(
        cls,
        model: nn.Module,
        *,
        normalisation: Normalisation | None = None,
        input_size: tuple[int, int] = (28, 28),
        class_names: tuple[str, ...] | None = None,
        training: dict[str, Any] | None = None,
    ) -> ModelCard:
        """Return the card of a model, which knows what it was built as.

        Parameters
        ----------
        normalisation : Normalisation, optional
            Of the images it was trained on; MNIST's, or the one it was built for, if not given.
        class_names : tuple of str, optional
            The ten digits, if not given.

        Raises
        ------
        ValueError
            If the names are not as many as the head has classes, or the model was built for another
            normalisation, or with arguments that JSON cannot hold.
        """
        built_for = getattr(model, "normalisation", None)
        normalisation = normalisation or built_for or MNIST_NORMALISATION
        if built_for is not None and normalisation != built_for:
            raise ValueError(f"The model was built for {built_for}, the card has {normalisation}.")
        names = DIGIT_NAMES if class_names is None else tuple(class_names)
        head = getattr(model, HEAD, None)
        if isinstance(head, nn.Linear) and head.out_features != len(names):
            raise ValueError(
                f"The model's head has {head.out_features} classes: their class_names are needed, "
                f"found {len(names)}."
            )
        known = architecture_of(model)
        name = known.name if known else type(model).__name__
        arguments = arguments_of(known) if known else {}
        return cls(name, arguments, normalisation, input_size, names, training or {})

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> ModelCard:
        """Read what `to_json` wrote.

        Raises
        ------
        KeyError, TypeError, ValueError or ArithmeticError
            If it is not that.
        """
        values = {entry.name: record[entry.name] for entry in fields(cls)}
        numbers = values["normalisation"]
        if len(numbers) != 2:
            raise ValueError("normalisation must have a mean and a deviation, and nothing else")
        values["normalisation"] = Normalisation(numbers["mean"], numbers["deviation"])
        for name in ("input_size", "class_names"):
            if not isinstance(values[name], list | tuple):
                raise TypeError(f"{name} must be a list")
            values[name] = tuple(values[name])
        return cls(**values)

    def check(self, model: nn.Module) -> None:
        """Refuse a model that is not the card's, or cannot compute: let it read two images.

        One is blank, one is all ink. That costs milliseconds, and tells at once what would
        otherwise spoil the first answer.

        Raises
        ------
        ValueError
            If the model was built for another normalisation, takes images of another size, returns
            something else than one logit for each name, or numbers that are not finite.
        """
        kind, (height, width) = type(model).__name__, self.input_size
        built_for = getattr(model, "normalisation", self.normalisation)
        if built_for != self.normalisation:
            raise ValueError(f"The {kind} was built for {built_for}, not {self.normalisation}.")
        place = next((p.device for p in model.parameters()), torch.device("cpu"))
        pixels = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1)
        images = self.normalisation(pixels.expand(2, 1, height, width).to(place))
        paper, ink = images[:, 0, 0, 0].tolist()
        if not (images.isfinite().all() and paper < ink):
            raise ValueError(f"With {self.normalisation} paper is {paper:g} and ink is {ink:g}.")
        try:
            with eval_mode(model), torch.no_grad():
                logits = model(cast_for(model, images))
        except Exception as error:  # a network raises what its many parts raise
            raise ValueError(
                f"The {kind} reads no images of {height}x{width} pixels: {reason_of(error)}."
            ) from error
        shape, names = getattr(logits, "shape", None), len(self.class_names)
        if shape != (2, names):
            found = type(logits).__name__ if shape is None else f"the shape {tuple(shape)}"
            raise ValueError(
                f"The {kind} must answer two images with logits (2, {names}), one for each of the "
                f"class_names, found {found}."
            )
        if not bool(logits.isfinite().all()):
            raise ValueError(
                f"The {kind} answers a blank or a full image with numbers that are not finite: its "
                f"weights are too large, or spoilt."
            )

    def to_markdown(
        self, title: str, *, use: str, limits: str, groups: str = "", energy: str = ""
    ) -> str:
        """Return the card as a page for people, to be published beside the weights.

        What the network is and how it was trained stands in the card already. What it is meant
        for, and where it must not be trusted, only its maker can say (Mitchell et al. 2019).

        Parameters
        ----------
        title, use, limits : str
            The last two are Markdown; they may not be empty.
        groups, energy : str, optional
            Markdown: how each group of those who write fares, and what a use of the network costs.

        Raises
        ------
        ValueError
            If one of them is empty.
        """
        for name, text in (("title", title), ("use", use), ("limits", limits)):
            if not text.strip():
                raise ValueError(f"A model card needs its {name}: it is empty.")
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.arguments.items())
        height, width = self.input_size
        sections = {
            "Network": f"`{self.model}({arguments})`, logits for the classes "
            f"{', '.join(self.class_names)}",
            "Input": f"One channel of {height}x{width} pixels, 0 is paper and 255 is ink, as "
            f"`(pixel / 255 - {self.normalisation.mean}) / {self.normalisation.deviation}`",
            "Use": use.strip(),
            "Data": _describe_data(self.training),
            "Training": _describe_config(self.training.get("config") or {}),
            "Score": _describe_score(self.training),
            "Groups": groups.strip(),
            "Limits": limits.strip(),
            "Energy": energy.strip(),
        }
        parts = [f"## {heading}\n\n{text}\n" for heading, text in sections.items() if text]
        return "\n".join([f"# {title.strip()}\n", *parts])


def _is_number(value: Any) -> bool:
    """Whether it is a number that a float can hold, which whole ones of 400 digits are not."""
    is_real = isinstance(value, int | float) and not isinstance(value, bool)
    return is_real and abs(value) <= sys.float_info.max


def _is_size(value: Any) -> bool:
    """Whether it is height and width of an image that a network may be asked to read."""
    return len(value) == 2 and all(
        isinstance(side, int) and not isinstance(side, bool) and 1 <= side <= LARGEST_SIDE
        for side in value
    )


def arguments_of(known: Architecture) -> dict[str, Any]:
    """Return what a model was built with, as it comes back from JSON.

    Raises
    ------
    ValueError
        If JSON cannot hold it.
    """
    try:
        text = json.dumps(dict(known.arguments), default=_fields_of, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{known.name} was built with something that JSON cannot hold: {reason_of(error)}."
        ) from error
    found: dict[str, Any] = json.loads(text)
    return found


def _fields_of(value: Any) -> dict[str, Any]:
    """Return a configuration, such as a `Normalisation`, as a dictionary."""
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise TypeError(f"{value!r:.80}")


_NOT_RECORDED = "Not recorded."
_TOLD = (
    *("epochs", "batch_size", "optimizer", "learning_rate", "schedule", "weight_decay"),
    *("l1_penalty", "label_smoothing", "clip_norm", "average_decay", "augmentation", "seed"),
)
_TOLD_OF_IMAGES = (
    *("rotate", "shift", "scale", "shear", "elastic_strength", "stroke", "aspect", "fill"),
    *("sharpen", "contrast", "noise"),
)


def _describe_data(training: Mapping[str, Any]) -> str:
    parts = training.get("data") or []
    lines = [
        f"- {name}: {part['count']:,} digits, CRC-32 {part['crc32']:08x}"
        for name, part in zip(("training", "validation"), parts, strict=False)
    ]
    return "\n".join(lines) or _NOT_RECORDED


def _describe_config(config: Mapping[str, Any]) -> str:
    """List what people ask about first, unless it is switched off; the JSON has all the rest."""
    lines = []
    for name in _TOLD:
        value = config.get(name)
        if isinstance(value, Mapping):  # an augmentation
            value = ", ".join(f"{key} {value[key]}" for key in _TOLD_OF_IMAGES if value.get(key))
        if value not in (None, "", 0) or (name == "seed" and name in config):
            lines.append(f"- {name.replace('_', ' ')}: {value}")
    return "\n".join(lines) or _NOT_RECORDED


def _describe_score(training: Mapping[str, Any]) -> str:
    accuracy = training.get("validation_accuracy")
    if accuracy is None:
        return _NOT_RECORDED
    text = f"{accuracy:.2%} of the validation digits"
    if "epoch" in training:
        text += f", after epoch {training['epoch']}, which was chosen on them"
    return f"{text}."
