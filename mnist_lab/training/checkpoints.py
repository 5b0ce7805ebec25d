"""Checkpoints: tensors as safetensors, everything else as JSON, never a pickle.

    save_checkpoint("runs/first", model)                # what it is, the model knows itself
    model, card = load_checkpoint("runs/first")

A checkpoint is a folder with `model.json` and the weights file that it names. The card in the JSON
comes from the model: `build_model` and registered classes leave on it what it was built as. Before
anything is written, a network is built from that once more, so none comes back as another one.

The JSON is written last, under a temporary name, and renamed: whatever is killed when, the folder
holds one whole checkpoint, the old or the new. A pickle (`.pth`, `.pt`) can run any code when it is
read; that is why none is read here.

Sources: the safetensors format, https://huggingface.co/docs/safetensors; model cards, Mitchell et
al. 2019.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import json
import pickletools
import sys
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from itertools import islice, zip_longest
from pathlib import Path
from typing import IO, Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from mnist_lab.data.digit_set import DIGIT_NAMES
from mnist_lab.data.normalisation import MNIST_NORMALISATION, Normalisation
from mnist_lab.files import NotAFileError, describe_kind, open_regular
from mnist_lab.folders import OwnFolder, claim
from mnist_lab.models.architecture import HEAD, LARGEST_SIDE, Architecture, architecture_of
from mnist_lab.models.registry import MODELS, build_model, outline_model
from mnist_lab.reasons import reason_of, shorten
from mnist_lab.training.scoring import cast_for, eval_mode
from mnist_lab.training.tensor_files import check_layout, check_numbers, read_layout

_FORMAT = "mnist-lab checkpoint"
FORMAT_VERSION = 1
MODEL = "model"  # what the files of a model are called
_LARGEST_JSON = 8_000_000  # bytes: far more than the reports of ten thousand epochs take
_TRIES = 20  # to read what a writer replaces meanwhile

# What may be asked of the tensors that a file says it holds, and of its JSON, before it is read.
Expect = Callable[[Mapping[str, Tensor], Mapping[str, Any]], None]


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message is for the person who reads it."""


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

    def to_markdown(self, title: str, *, use: str, limits: str) -> str:
        """Return the card as a page for people, to be published beside the weights.

        What the network is and how it was trained stands in the card already. What it is meant
        for, and where it must not be trusted, only its maker can say (Mitchell et al. 2019).

        Parameters
        ----------
        title, use, limits : str
            The last two are Markdown; they may not be empty.

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
            "Limits": limits.strip(),
        }
        parts = [f"## {heading}\n\n{text}\n" for heading, text in sections.items()]
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
        If nobody could build this model again from its card.
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


def save_tensors(
    folder: str | Path, name: str, tensors: Mapping[str, Tensor], record: Mapping[str, Any]
) -> None:
    """Write tensors and a JSON record as one: both of them new, or both of them old.

    The weights go to a file named after their content; `NAME.json`, written last, says which. What
    was written under that name before goes; nothing else in the folder is touched.

    Raises
    ------
    FolderError
        If the folder cannot be written into, another process writes into it, or one of these names
        is taken by something that was not written here.
    """
    content = safetensors.torch.save(
        {key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}
    )
    digest = hashlib.sha256(content).hexdigest()
    names = f"{name}.json", f"{name}-{digest[:12]}.safetensors"
    entry = {
        "format": _FORMAT,
        "format_version": FORMAT_VERSION,
        "weights": names[1],
        "weights_sha256": digest,
        **record,
    }
    text = json.dumps(entry, indent=1, allow_nan=False) + "\n"
    with claim(folder) as own:
        adopt_files(own, name)
        for each in names:
            own.check(each)
        own.write(names[1], content)
        own.write(names[0], text)
        own.keep_only(name, names)


def adopt_files(own: OwnFolder, name: str) -> None:
    """Count what an earlier version, or a copy without its mark, left under a name as written here.

    The JSON must be such as `save_tensors` writes, and the weights those that it names.
    """
    path = own.path / f"{name}.json"
    if path.name in own.files:
        return
    with contextlib.suppress(OSError, ValueError, RecursionError):
        with open_regular(path) as file:
            record = json.load(file)
        if isinstance(record, dict) and record.get("format") == _FORMAT:
            weights = str(record.get("weights", ""))
            own.adopt(path.name, *([weights] if weights.startswith(f"{name}-") else []))


def load_tensors(
    folder: str | Path, name: str, expect: Expect | None = None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `save_tensors` wrote, after checking its version and its SHA-256.

    Whoever reads while another process writes gets one whole state, the old or the new.

    Parameters
    ----------
    folder : path
    name : str
        As for `save_tensors`.
    expect : callable, optional
        Given the tensors that the file says it holds (without their numbers) and the JSON record,
        before the weights are read: it raises `CheckpointError` if they are not what is wanted.

    Raises
    ------
    CheckpointError
    """
    record = read_record(folder, name)
    for _ in range(_TRIES):
        try:
            return _read_weights(Path(folder), name, record, expect), record
        except CheckpointError:
            # If a writer has replaced both in the meantime, there is something newer to read.
            newer = read_record(folder, name)
            if newer == record:
                raise
            record = newer
    raise CheckpointError(
        f"{Path(folder) / name}.json was replaced {_TRIES} times while it was read: try again when "
        f"nobody writes there."
    )


def read_record(folder: str | Path, name: str) -> dict[str, Any]:
    """Read the JSON that `save_tensors` wrote, without the weights that it names.

    Raises
    ------
    CheckpointError
        If it is missing, is no such JSON, is of another version, or has more than 8 MB.
    """
    folder = Path(folder)
    path = folder / f"{name}.json"
    try:
        with open_regular(path) as file:
            content = file.read(_LARGEST_JSON + 1)
        if len(content) > _LARGEST_JSON:
            raise ValueError(f"it has more than {_LARGEST_JSON // 1_000_000} MB")
        record = json.loads(content.decode(), parse_constant=_refuse_constant)
    except (FileNotFoundError, NotADirectoryError) as error:
        try:
            why = _why_no_checkpoint(folder, path)
        except OSError as unseen:  # a folder that may not be looked into
            why = f"{path} cannot be read: {reason_of(unseen)}."
        raise CheckpointError(why) from error
    except NotAFileError as error:
        raise CheckpointError(f"{error}.") from error
    except RecursionError as error:
        raise CheckpointError(f"{path} cannot be read as JSON: it is nested too deeply.") from error
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read as JSON: {reason_of(error)}.") from error
    if not isinstance(record, dict) or record.get("format") != "mnist-lab checkpoint":
        raise CheckpointError(f"{path} is not the JSON of an mnist-lab checkpoint.")
    version = record.get("format_version")
    if (type(version), version) != (int, FORMAT_VERSION):  # True is no version, though it equals 1
        raise CheckpointError(
            f"{path} has format version {version!r:.100}; this mnist-lab reads version "
            f"{FORMAT_VERSION}."
        )
    return record


def _read_weights(
    folder: Path, name: str, record: Mapping[str, Any], expect: Expect | None
) -> dict[str, Tensor]:
    """Read the weights that a record names, once their header has been found to be as expected."""
    weights = folder / Path(str(record.get("weights", ""))).name
    try:
        with open_regular(weights) as file:
            layout = read_layout(weights)
            if expect is not None:
                expect(layout, record)
            content = file.read()
    except CheckpointError:
        raise
    except MemoryError as error:
        raise CheckpointError(f"{weights} has more bytes than memory has room for.") from error
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        raise CheckpointError(
            f"{shorten(str(weights))} cannot be read: {reason_of(error)}."
        ) from error
    if hashlib.sha256(content).hexdigest() != record.get("weights_sha256"):
        raise CheckpointError(
            f"{weights} has been altered or cut short: its SHA-256 is not the one in {name}.json."
        )
    try:
        return safetensors.torch.load(content)
    except (SafetensorError, KeyError) as error:
        raise CheckpointError(f"{weights} cannot be read: {reason_of(error)}.") from error


def _refuse_constant(word: str) -> None:
    """Refuse NaN and Infinity, which Python reads although JSON has no such words."""
    raise ValueError(f"{word} is no JSON")


def _why_no_checkpoint(folder: Path, path: Path) -> str:
    if _is_pickle(folder):
        return (
            f"{folder} is a pickle, and a pickle can run any code when it is read: load it where "
            f"you trust it, save its tensors with safetensors, and name the folder of the result."
        )
    if not folder.exists():
        return f"{folder} does not exist; the folder of a checkpoint is expected."
    if not folder.is_dir():
        kind = describe_kind(folder.stat().st_mode)
        return f"{folder} is {kind}; the folder of a checkpoint, with {path.name}, is expected."
    pickles = [child.name for child in sorted(folder.iterdir()) if _is_pickle(child)]
    if pickles:
        return (
            f"{folder} holds {pickles[0]}, a pickle, and no {path.name}: a pickle can run any code "
            f"when it is read, so only safetensors are."
        )
    if (folder / "lora.json").exists():
        return (
            f"{folder} holds LoRA changes without their base: load the base first, then put them "
            "onto it with load_lora."
        )
    return f"{folder} holds no checkpoint: there is no {path.name} in it."


def _is_pickle(path: Path) -> bool:
    """Whether a file is one that torch.save or pickle.dump wrote: it is looked at, never run.

    Of the two oldest protocols, whose files begin like any text, none is called a pickle.
    """
    try:
        with open_regular(path) as file:
            start = file.read(_BEGINNING)
            return _begins_as_pickle(start) or (start[:2] == b"PK" and _is_zip_of_torch(file))
    except OSError:
        return False


_BEGINNING = 65_536  # bytes


def _begins_as_pickle(start: bytes) -> bool:
    """Whether the first words are those of a pickle: two bytes alone may be anything's."""
    if start[:1] != b"\x80" or start[1:2] not in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return False
    try:
        list(islice(pickletools.genops(io.BytesIO(start)), 16))  # fewer, where it ends before
    except ValueError:  # a word that there is not, or more bytes than follow
        return False
    return True


def _is_zip_of_torch(file: IO[bytes]) -> bool:
    """Whether a zip holds the pickle that torch.save puts into one."""
    try:
        with zipfile.ZipFile(file) as archive:
            return any(name.endswith("/data.pkl") for name in archive.namelist())
    except Exception:  # whatever a damaged zip makes of the reader, it is none of torch's
        return False
