"""Checkpoints: tensors as safetensors, everything else as JSON, never a pickle.

    save_checkpoint("runs/first", model, ModelCard("small_cnn", {"width": 16}))
    model, card = load_checkpoint("runs/first")

A checkpoint is a folder with `model.json` and the weights file that it names. The JSON is written
last, under a temporary name, and renamed: whatever is killed when, the folder holds one whole
checkpoint, the old or the new. A pickle (`.pth`, `.pt`) can run any code when it is read; that is
why none is read here.

Source: the safetensors format, https://huggingface.co/docs/safetensors
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor, nn

from mnist_lab.batches import MNIST_NORMALISATION, Normalisation
from mnist_lab.datasets import DIGIT_NAMES
from mnist_lab.files import write_atomically
from mnist_lab.models import build_model

FORMAT_VERSION = 1
MODEL = "model"


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message is for the person who reads it."""


@dataclass(frozen=True)
class ModelCard:
    """What has to be known to build a model again and to feed it.

    Attributes
    ----------
    model : str
        A key of `models.MODELS`.
    arguments : dict
        What the model was built with.
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


def save_checkpoint(folder: str | Path, model: nn.Module, card: ModelCard) -> None:
    """Write the model's weights and its card; an older checkpoint in `folder` is replaced."""
    save_tensors(folder, MODEL, model.state_dict(), {"card": card.to_json()})


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
        model = build_model(card.model, **card.arguments)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{folder}: model.json describes no model: {error}.") from error
    load_weights(model, tensors, str(folder))
    return model.eval(), card


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

    The weights go to a file named after their content; `NAME.json`, written last, says which.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    content = safetensors.torch.save(
        {key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}
    )
    digest = hashlib.sha256(content).hexdigest()
    weights = folder / f"{name}-{digest[:12]}.safetensors"
    write_atomically(weights, content)
    entry = {
        "format": "mnist-lab checkpoint",
        "format_version": FORMAT_VERSION,
        "weights": weights.name,
        "weights_sha256": digest,
        **record,
    }
    write_atomically(folder / f"{name}.json", json.dumps(entry, indent=1, allow_nan=False) + "\n")
    for stale in folder.glob(f"{name}-*.safetensors"):
        if stale != weights:
            stale.unlink(missing_ok=True)


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
    if not isinstance(record, dict) or record.get("format") != "mnist-lab checkpoint":
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
