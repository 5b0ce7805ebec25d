"""Your own labelled digits: .npz files, folders of IDX files, folders of pictures."""

from __future__ import annotations

import math
import re
import warnings
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

from mnist_lab.data.digit_set import (
    DIGIT_NAMES,
    DataError,
    DigitSet,
    Part,
    _describe,
    _digit_set,
    _problem_with_shape_of_writers,
    _problem_with_shapes,
)
from mnist_lab.data.emnist import EMNIST_CLASSES, EMNIST_FIRST_LABEL, stand_upright
from mnist_lab.data.foreign_files import (
    _is_folder,
    open_foreign,
    refuse_damage,
)
from mnist_lab.data.idx import _read_idx_header, read_idx
from mnist_lab.data.pictures import count_pages, is_picture, load_pixels
from mnist_lab.files import write_atomically
from mnist_lab.reasons import reason_of, shorten


def load_npz(path: str | Path) -> DigitSet:
    """Load an .npz with `images` (n, height, width) uint8, white ink on black, and `labels` (n,).

    `class_names` is optional; without it there are ten classes. So is `writers` (n,), whole
    numbers that say who wrote each digit. What the file announces is looked at before any of it is
    unpacked; pickled arrays are refused.

    Raises
    ------
    DataError
        If the file is missing, damaged or no .npz, or what it holds is no `DigitSet`.
    """
    path = Path(path)
    with open_foreign(path) as file:
        with refuse_damage(path):
            start = file.read(8)
        if not start.startswith(_ZIP_MAGIC):
            raise DataError(f"{path} is no .npz: {_describe_start(start)}.")
        with refuse_damage(path, _NO_NPZ):
            archive = zipfile.ZipFile(file)
        with archive:
            arrays = _read_arrays(path, archive)
    names = _to_names(path, arrays["class_names"]) if "class_names" in arrays else DIGIT_NAMES
    images, labels, writers = arrays["images"], arrays["labels"], arrays.get("writers")
    return _digit_set(path, images, labels, names, writers=writers)


_ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")  # the second: a zip that holds nothing
_NPY_MAGIC = b"\x93NUMPY"
_NO_NPZ = "cannot be read as .npz"
_MOST_BYTES = 2**30  # of one array; a zip of a megabyte can announce as much
_MOST_CLASSES = 10_000


def _describe_start(start: bytes) -> str:
    if not start:
        return "it is empty"
    if start.startswith(_NPY_MAGIC):
        return "it holds a single array"
    if start[0] == 0x80 and start[1:2] <= b"\x05":  # how every pickle of this century starts
        return "it is a pickle, which can run code when read"
    return f"it starts with {start[:4].hex(' ')}, expected {_ZIP_MAGIC[0].hex(' ')}"


def _read_arrays(path: Path, archive: zipfile.ZipFile) -> dict[str, NDArray[Any]]:
    """Return `images`, `labels` and what is there of the rest; headers are checked first."""
    found = {name.removesuffix(".npy"): name for name in archive.namelist()}
    for name in ("images", "labels"):
        if name not in found:
            held = _name_files(sorted(found)) or "nothing"
            raise DataError(f"{path} has no array {name!r}; it holds {shorten(held)}.")
    known = ("images", "labels", "class_names", "writers")
    wanted = {name: found[name] for name in known if name in found}
    announced = {name: _check_member(path, archive, entry) for name, entry in wanted.items()}
    if problem := _problem_with_shapes(*announced["images"], *announced["labels"]):
        raise DataError(f"{path}: {problem}.")
    if "writers" in announced:
        count = announced["labels"][1][0]
        if problem := _problem_with_shape_of_writers(*announced["writers"], count):
            raise DataError(f"{path}: {problem}.")
    if "class_names" in announced:
        dtype, shape = announced["class_names"]
        if dtype.kind not in "USiu" or len(shape) != 1 or shape[0] > _MOST_CLASSES:
            kind = _describe(dtype, shape)
            raise DataError(f"{path}: class_names must be text (classes,), found {kind}.")
    arrays: dict[str, NDArray[Any]] = {}
    for name, entry in wanted.items():
        with refuse_damage(path, _NO_NPZ), archive.open(entry) as stream:
            arrays[name] = np.lib.format.read_array(stream, allow_pickle=False)
    return arrays


def _check_member(
    path: Path, archive: zipfile.ZipFile, name: str
) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Return the type and the shape that an array announces, if it can be unpacked safely."""
    entry = archive.getinfo(name)
    if entry.flag_bits & 1:
        raise DataError(f"{path} is encrypted, and only an .npz without a password is read.")
    # These two give no more bytes than they are asked for; the others unpack without bound.
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DataError(f"{path} is packed in a way that NumPy does not use; it must be deflated.")
    with (
        refuse_damage(path, _NO_NPZ),
        archive.open(entry) as stream,
        warnings.catch_warnings(action="ignore"),  # of files that Python 2 wrote
    ):
        version = np.lib.format.read_magic(stream)
        if version == (1, 0):
            shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
        else:
            shape, _, dtype = np.lib.format.read_array_header_2_0(stream)
        header = stream.tell()
    if dtype.hasobject:
        raise DataError(
            f"{path} {_NO_NPZ}: it holds pickled objects, which can run code when read."
        )
    size = dtype.itemsize * math.prod(shape)
    if size > _MOST_BYTES or max(shape, default=0) > _MOST_BYTES:  # the other sides may be 0
        raise DataError(
            f"{path} announces an array of more than {_MOST_BYTES:,} bytes, which is not read "
            f"into memory."
        )
    if header + size != entry.file_size:
        raise DataError(
            f"{path} is damaged: an array announces {header + size:,} bytes, and "
            f"{entry.file_size:,} are packed."
        )
    return dtype, shape


def _to_names(path: Path, names: NDArray[Any]) -> tuple[str, ...]:
    """Return class names that were text, whole numbers or UTF-8 in the file."""
    with refuse_damage(path, "has class names that are no text"):
        listed = names.tolist()
        return tuple(name.decode() if isinstance(name, bytes) else str(name) for name in listed)


def save_npz(path: str | Path, digits: DigitSet) -> None:
    """Write a `DigitSet` as the .npz that `load_npz` reads."""

    def write(file: IO[bytes]) -> None:
        arrays: dict[str, Any] = {"images": digits.images, "labels": digits.labels}
        arrays["class_names"] = np.array(digits.class_names)
        if digits.writers is not None:
            arrays["writers"] = digits.writers
        np.savez_compressed(file, **arrays)

    write_atomically(Path(path), write)


_IDX_NAME = re.compile(r"(.+)[-.](images|labels)[-.]idx[13][-.]ubyte(\.gz|\.xz)?$")
_EMNIST_NAME = re.compile(r"emnist-(\w+)", re.IGNORECASE)


def load_idx_folder(folder: str | Path, *, prefer: Literal["train", "test"] = "test") -> DigitSet:
    """Load the IDX files of a folder: `PREFIX-images-idx3-ubyte` with `PREFIX-labels-idx1-ubyte`.

    Where both MNIST parts are there, `prefer` says which one is taken (t10k, or what ends in
    `-test`, is the test part: to score; the other to train on). The files may be packed (.gz, .xz).
    EMNIST's, whose names begin with `emnist-`, lie on their side: they are turned upright, and
    their labels get the names of their classes.

    Raises
    ------
    DataError
        If there is no such pair, or more than one data set, or a file is damaged; or if there are
        not as many labels as images, which is seen before the images are unpacked.
    """
    folder = Path(folder)
    prefix, files = _choose_pair(folder, prefer)
    announced = [_read_idx_header(files[what]) for what in ("images", "labels")]
    source = f"{files['images']} with {files['labels'].name}"
    if problem := _problem_with_shapes(*announced[0], *announced[1]):
        raise DataError(f"{source}: {problem}.")
    images, labels = read_idx(files["images"]), read_idx(files["labels"])
    names, first_label, part = DIGIT_NAMES, 0, _part_of(prefix)
    if match := _EMNIST_NAME.match(prefix):
        split = match[1].lower()
        names = EMNIST_CLASSES.get(split, DIGIT_NAMES)
        first_label = EMNIST_FIRST_LABEL.get(split, 0)
        images = stand_upright(images)
    return _digit_set(source, images, labels, names, part, first_label)


def _choose_pair(folder: Path, prefer: Literal["train", "test"]) -> tuple[str, dict[str, Path]]:
    """Return the prefix of the pair of IDX files to load, and its two paths."""
    found: dict[str, dict[str, Path]] = {}
    for path in _list_folder(folder):
        if match := _IDX_NAME.match(path.name):
            found.setdefault(match[1], {}).setdefault(match[2], path)
    pairs = {prefix: files for prefix, files in found.items() if len(files) == 2}
    if not pairs:
        names = [path.name for files in found.values() for path in files.values()]
        raise DataError(
            f"{folder} has no pair of IDX files NAME-images-idx3-ubyte and "
            f"NAME-labels-idx1-ubyte; found {_name_files(names) or 'none of either'}."
        )
    preferred = [prefix for prefix in pairs if (_part_of(prefix) == "test") == (prefer == "test")]
    candidates = preferred or list(pairs)
    if len(candidates) > 1:
        raise DataError(
            f"{folder} has IDX files of several data sets ({_name_files(candidates)}): put those "
            f"that you mean into a folder of their own."
        )
    return candidates[0], pairs[candidates[0]]


def _part_of(prefix: str) -> Part:
    return "test" if prefix.lower() in ("t10k", "test") or prefix.endswith("-test") else ""


_MOST_FILES = 5  # that one sentence names

_ReadImage = Callable[[Path], NDArray[np.uint8]]


def load_image_folder(folder: str | Path, read_image: _ReadImage | None = None) -> DigitSet:
    """Load a folder that has one sub-folder of pictures per class, in the sorted order of names.

    What is no picture by its suffix nor by its first bytes (Thumbs.db, readme.txt) is passed over,
    and so is what is hidden. A picture that cannot be used is never left out in silence.

    Parameters
    ----------
    folder : path
        Its sub-folders' names are the class names.
    read_image : callable, optional
        Turns a file into uint8 (height, width), all of one size, or raises ValueError or OSError.
        `handwriting.load_digit_image` does for photos and scans what MNIST's makers did. By default
        pictures are taken as they are, as grey values.

    Raises
    ------
    DataError
        If a class has no picture, or some pictures cannot be used: all are tried, and what is
        wrong with the first and the names of more are told. A file of several pages is refused,
        as one label cannot stand for them.
    """
    folder = Path(folder)
    class_folders = [path for path in _list_folder(folder) if _is_class(path)]
    if not class_folders:
        raise DataError(f"{folder} has no sub-folder: one per class is expected.")
    images: list[NDArray[np.uint8]] = []
    labels: list[int] = []
    problems: dict[str, str] = {}
    for label, class_folder in enumerate(class_folders):
        some = False
        for path in _list_folder(class_folder):
            try:
                if path.name == _MAC_ARCHIVE or not is_picture(path):
                    continue
                some = True
                images.append(_read_one(path, read_image or _read_grey_image, images))
                labels.append(label)
            except (ValueError, OSError, MemoryError) as error:
                some, said = True, str(error).rstrip(". ")
                if str(path) not in said:
                    said = f"{path} cannot be used: {reason_of(error)}"
                problems[f"{class_folder.name}/{path.name}"] = said
        if not some:
            problems[class_folder.name] = (
                f"{class_folder} is empty or holds no picture, and each class needs one"
            )
    if problems:
        first = next(iter(problems.values()))
        also = list(problems)[1:]
        raise DataError(f"{first}{f' (and wrong too: {_name_files(also)})' if also else ''}.")
    names = tuple(path.name for path in class_folders)
    return _digit_set(folder, np.stack(images), np.array(labels), names)


_MAC_ARCHIVE = "__MACOSX"  # what an archive of a Mac leaves beside its files


def _is_class(path: Path) -> bool:
    return path.name != _MAC_ARCHIVE and _is_folder(path)


def _read_one(
    path: Path, read_image: _ReadImage, before: list[NDArray[np.uint8]]
) -> NDArray[np.uint8]:
    """Read a picture of one digit that is as large as those before it."""
    image = read_image(path)
    if (pages := count_pages(path)) > 1:
        raise DataError(
            f"{path} has {pages} pages or frames: a picture of one digit has one; save each that "
            f"you mean as a file."
        )
    if before and image.shape != before[0].shape:
        raise DataError(
            f"{path} has {image.shape[1]}x{image.shape[0]} pixels, the images before it "
            f"{before[0].shape[1]}x{before[0].shape[0]}: all must have one size."
        )
    return image


def _read_grey_image(path: Path) -> NDArray[np.uint8]:
    from PIL import Image  # only who reads pictures pays for it

    return np.asarray(Image.fromarray(load_pixels(path)).convert("L"))


def _list_folder(folder: Path) -> list[Path]:
    """Return what lies in `folder`, sorted, hidden files aside."""
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except FileNotFoundError as error:
        raise DataError(f"{folder} does not exist.") from error
    except NotADirectoryError as error:
        raise DataError(f"{folder} is no folder; a folder is expected.") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{folder} cannot be listed: {reason_of(error)}.") from error


def _name_files(names: Sequence[str]) -> str:
    """Name up to five files, and say how many there are besides."""
    shown = ", ".join(names[:_MOST_FILES])
    more = len(names) - _MOST_FILES
    return shown if more <= 0 else f"{shown} and {more:,} more"


def load_path(
    path: str | Path,
    read_image: _ReadImage | None = None,
    *,
    prefer: Literal["train", "test"] = "test",
) -> DigitSet:
    """Load an .npz, a folder of IDX files or a folder with one sub-folder per class.

    `prefer` is for `load_idx_folder`, `read_image` for `load_image_folder`.

    Raises
    ------
    DataError
        If there is no such data, with the file and what was expected of it.
    """
    path = Path(path)
    if not _is_folder(path):
        open_foreign(path).close()
        if path.suffix.lower() != ".npz":
            raise DataError(
                f"{path} is neither an .npz nor a folder of IDX files or of one folder per class."
            )
        return load_npz(path)
    inside = _list_folder(path)
    if not inside:
        raise DataError(f"{path} is empty: IDX files or one sub-folder per class are expected.")
    if any(_IDX_NAME.match(child.name) for child in inside):
        return load_idx_folder(path, prefer=prefer)
    if deeper := _find_idx_below(path):
        raise DataError(
            f"{path} holds its IDX files deeper down: name one of these folders: "
            f"{_name_files(deeper)}."
        )
    if any(_is_class(child) for child in inside):
        return load_image_folder(path, read_image)
    raise DataError(
        f"{path} has neither IDX files (NAME-images-idx3-ubyte with NAME-labels-idx1-ubyte) nor "
        f"one sub-folder of pictures per class."
    )


def _find_idx_below(folder: Path) -> list[str]:
    """Return folders of IDX files one or two levels deeper, where torchvision keeps them."""
    one = [path for path in _list_folder(folder) if _is_folder(path)]
    two = [path / "raw" for path in one]
    return [
        str(path)
        for path in [*one, *two]
        if _is_folder(path) and any(_IDX_NAME.match(child.name) for child in _list_folder(path))
    ]
