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
import hashlib
import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor, nn

from mnist_lab.data.digit_set import DIGIT_NAMES
from mnist_lab.data.normalisation import MNIST_NORMALISATION, Normalisation
from mnist_lab.files import open_regular
from mnist_lab.folders import OwnFolder, claim
from mnist_lab.models.architecture import HEAD, architecture_of
from mnist_lab.models.registry import MODELS, build_model

_FORMAT = "mnist-lab checkpoint"
FORMAT_VERSION = 1
MODEL = "model"  # what the files of a model are called


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message is for the person who reads it."""


@dataclass(frozen=True)
class ModelCard:
    """What has to be known to build a model again and to feed it.

    Attributes
    ----------
    model : str
        A key of `models.MODELS`; the name of the class, where that is not registered.
    arguments : dict
        What the model was built with, all of it.
    normalisation : Normalisation
        Of the images it was trained on.
    input_size : (int, int)
        Height and width in pixels.
    class_names : tuple of str
    training : dict
        How it was trained and how it scored on validation data: for people, not for loading.
    """

    model: str
    arguments: dict[str, Any] = field(default_factory=dict)
    normalisation: Normalisation = MNIST_NORMALISATION
    input_size: tuple[int, int] = (28, 28)
    class_names: tuple[str, ...] = DIGIT_NAMES
    training: dict[str, Any] = field(default_factory=dict)

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
        if isinstance(head, nn.Linear) and head.out_features < len(names):
            raise ValueError(
                f"The model's head has {head.out_features} classes: their class_names are needed, "
                f"found {len(names)}."
            )
        known = architecture_of(model)
        name = known.name if known else type(model).__name__
        arguments = _as_json(known.arguments, name) if known else {}
        return cls(name, arguments, normalisation, input_size, names, training or {})

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> ModelCard:
        """Read what `to_json` wrote; raises KeyError, TypeError or ValueError if it is not that."""
        values = {entry.name: record[entry.name] for entry in fields(cls)}
        height, width = values["input_size"]
        values["normalisation"] = Normalisation(**values["normalisation"])
        values["input_size"] = (int(height), int(width))
        values["class_names"] = tuple(str(name) for name in values["class_names"])
        return cls(**values)

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


def _as_json(arguments: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a model's arguments as they come back from JSON."""
    try:
        text = json.dumps(dict(arguments), default=_fields_of, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name} was built with something that JSON cannot hold: {error}."
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
    built = build_model(known.name, **_as_json(known.arguments, known.name))
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

    Raises
    ------
    CheckpointError
        If there is none, or it is damaged, of another version, a pickle, or of another network.
    """
    tensors, record = load_tensors(folder, MODEL)
    try:
        card = ModelCard.from_json(record["card"])
        if card.model not in MODELS:
            raise ValueError(
                f"it is a {card.model!r}, which is not registered here: run what registers it "
                f"first, such as its class with @register({card.model!r}) above it"
            )
        model = build_model(card.model, **card.arguments)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{folder}: model.json describes no model: {error}.") from error
    load_weights(model, tensors, str(folder))
    return model.eval(), card


def read_digest(folder: str | Path) -> str:
    """Return the SHA-256 of a checkpoint's weights, which tells one trained network from another.

    Raises
    ------
    CheckpointError
        If there is no sound checkpoint.
    """
    return str(load_tensors(folder, MODEL)[1]["weights_sha256"])


def load_weights(model: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Copy `tensors` into `model` if names and shapes agree; else say what differs."""
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if expected != found:
        differences = [
            *(f"{name} is missing" for name in sorted(expected.keys() - found.keys())),
            *(f"{name} is unknown" for name in sorted(found.keys() - expected.keys())),
            *(
                f"{name} is {found[name]}, expected {expected[name]}"
                for name in sorted(expected.keys() & found.keys())
                if expected[name] != found[name]
            ),
        ]
        shown = "; ".join(differences[:5]) + ("; ..." if len(differences) > 5 else "")
        raise CheckpointError(f"{source} does not fit {type(model).__name__}: {shown}.")
    model.load_state_dict(dict(tensors))


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


def load_tensors(folder: str | Path, name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `save_tensors` wrote, after checking its version and its SHA-256.

    Raises
    ------
    CheckpointError
    """
    folder = Path(folder)
    path = folder / f"{name}.json"
    try:
        record = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise CheckpointError(_why_no_checkpoint(folder, path)) from error
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read as JSON: {error}.") from error
    if not isinstance(record, dict) or record.get("format") != _FORMAT:
        raise CheckpointError(f"{path} is not the JSON of an mnist-lab checkpoint.")
    if record.get("format_version") != FORMAT_VERSION:
        raise CheckpointError(
            f"{path} has format version {record.get('format_version')!r}; this mnist-lab reads "
            f"version {FORMAT_VERSION}."
        )
    weights = folder / Path(str(record.get("weights", ""))).name
    try:
        content = weights.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        raise CheckpointError(f"{weights!s:.300} cannot be read: {error!s:.300}.") from error
    if hashlib.sha256(content).hexdigest() != record.get("weights_sha256"):
        raise CheckpointError(
            f"{weights} has been altered or cut short: its SHA-256 is not the one in {path}."
        )
    try:
        return safetensors.torch.load(content), record
    except (SafetensorError, KeyError) as error:  # KeyError: an element type that torch has not
        raise CheckpointError(f"{weights} cannot be read: {error}.") from error


def _refuse_constant(word: str) -> None:
    """Refuse NaN and Infinity, which Python reads although JSON has no such words."""
    raise ValueError(f"{word} is no JSON")


def _why_no_checkpoint(folder: Path, path: Path) -> str:
    if _is_pickle(folder):
        return (
            f"{folder} is a pickle, and a pickle can run any code when it is read: load it where "
            f"you trust it, save its tensors with safetensors, and name the folder of the result."
        )
    if folder.is_file():
        return f"{folder} is a file; the folder of a checkpoint, with {path.name}, is expected."
    if not folder.exists():
        return f"{folder} does not exist; the folder of a checkpoint is expected."
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
    """Whether a file looks like one that torch.save or pickle.dump wrote."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        start = file.read(4)
    if start[:2] in {b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"}:  # pickle's protocols
        return True
    try:
        with zipfile.ZipFile(path) as archive:  # torch.save writes a zip with one pickle in it
            return any(name.endswith("/data.pkl") for name in archive.namelist())
    except zipfile.BadZipFile:
        return False
