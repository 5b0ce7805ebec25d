"""Tensors and a JSON record, kept as one in a folder: safetensors and JSON, never a pickle.

    save_tensors("runs/first", "model", model.state_dict(), {"card": card.to_json()})
    tensors, record = load_tensors("runs/first", "model")

The JSON names the weights file. It is written last, under a temporary name, and renamed: whatever
is killed when, the folder holds one whole state, the old or the new. A pickle (`.pth`, `.pt`) can
run any code when it is read; that is why none is read here.

Source: the safetensors format, https://huggingface.co/docs/safetensors
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import pickletools
import zipfile
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from typing import IO, Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from mnist_lab.files import NotAFileError, describe_kind, open_regular
from mnist_lab.folders import OwnFolder, claim, kind_of
from mnist_lab.reasons import reason_of, shorten
from mnist_lab.training.tensor_files import read_layout

_FORMAT = "mnist-lab checkpoint"

_FORMAT = "mnist-lab checkpoint"
FORMAT_VERSION = 1
_LARGEST_JSON = 8_000_000  # bytes: far more than the reports of ten thousand epochs take
_TRIES = 20  # to read what a writer replaces meanwhile
# What may be asked of the tensors that a file says it holds, and of its JSON, before it is read.
Expect = Callable[[Mapping[str, Tensor], Mapping[str, Any]], None]


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message is for the person who reads it."""


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


def clear_leftovers(own: OwnFolder) -> None:
    """Remove what a kill has left: what was written here, and no JSON names it."""
    for name in sorted({kind for file in own.files if (kind := kind_of(file))}):
        path, kept = own.path / f"{name}.json", set[str]()
        if path.exists():
            try:
                kept = {path.name, str(read_record(own.path, name).get("weights"))}
            except CheckpointError:
                continue  # whoever reads it says what is wrong
        own.keep_only(name, kept)


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
