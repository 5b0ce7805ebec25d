"""Your own labelled digits: .npz files, folders of IDX files, folders of pictures."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Literal

import numpy as np
from numpy.typing import NDArray

from mnist_lab.data.digit_set import DIGIT_NAMES, DataError, DigitSet, Part, _digit_set
from mnist_lab.data.idx import read_idx
from mnist_lab.files import write_atomically

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"})


def load_npz(path: str | Path) -> DigitSet:
    """Load an .npz with `images` (n, height, width) uint8, white ink on black, and `labels` (n,).

    `class_names` is optional; without it there are ten classes. Pickled arrays are refused.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if isinstance(archive, np.ndarray):
                raise DataError(f"{path} is no .npz: it holds a single array.")
            missing = {"images", "labels"} - set(archive.files)
            if missing:
                found = ", ".join(sorted(archive.files)) or "nothing"
                raise DataError(f"{path} has no array {sorted(missing)[0]!r}; it holds {found}.")
            images, labels = archive["images"], archive["labels"]
            names = archive["class_names"] if "class_names" in archive.files else DIGIT_NAMES
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist.") from error
    except DataError:
        raise
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, MemoryError) as error:
        pickled = "pickle" in str(error).lower()
        reason = "it holds pickled objects, which can run code when read" if pickled else error
        raise DataError(f"{path} cannot be read as .npz: {reason}.") from error
    return _digit_set(path, images, labels, tuple(str(name) for name in names))


def save_npz(path: str | Path, digits: DigitSet) -> None:
    """Write a `DigitSet` as the .npz that `load_npz` reads."""

    def write(file: IO[bytes]) -> None:
        np.savez_compressed(
            file,
            images=digits.images,
            labels=digits.labels,
            class_names=np.array(digits.class_names),
        )

    write_atomically(Path(path), write)


def load_idx_folder(
    folder: str | Path, *, mmap: bool = False, prefer: Literal["train", "test"] = "test"
) -> DigitSet:
    """Load the IDX files of a folder: `PREFIX-images-idx3-ubyte` with `PREFIX-labels-idx1-ubyte`.

    Where both MNIST parts are there, `prefer` says which one is taken (t10k is the test part: to
    score; the other to train on). The files may be packed
    (.gz, .xz). With `mmap` the images stay in their file, which must not be packed: `Batches` then
    reads each batch from there. Only the labels are read, eight bytes each.
    """
    folder = Path(folder)
    pattern = re.compile(r"(.+)[-.](images|labels)[-.]idx[13][-.]ubyte(\.gz|\.xz)?$")
    found: dict[str, dict[str, Path]] = {}
    for path in sorted(folder.iterdir()):
        if match := pattern.match(path.name):
            found.setdefault(match[1], {}).setdefault(match[2], path)
    pairs = {prefix: files for prefix, files in found.items() if len(files) == 2}
    if not pairs:
        names = ", ".join(path.name for files in found.values() for path in files.values())
        raise DataError(
            f"{folder} has no pair of IDX files NAME-images-idx3-ubyte and "
            f"NAME-labels-idx1-ubyte; found {names or 'none of either'}."
        )
    prefix = min(pairs, key=lambda name: ((name == "t10k") != (prefer == "test"), name))
    images = read_idx(pairs[prefix]["images"], mmap=mmap)
    labels = read_idx(pairs[prefix]["labels"])
    part: Part = "test" if prefix == "t10k" else ""
    return _digit_set(folder, images, labels, part=part)


ImageReader = Callable[[Path], NDArray[np.uint8]]


def load_image_folder(folder: str | Path, read_image: ImageReader | None = None) -> DigitSet:
    """Load a folder that has one sub-folder of images per class, in the sorted order of names.

    Parameters
    ----------
    folder : path
        Its sub-folders' names are the class names.
    read_image : callable, optional
        Turns a file into uint8 (height, width), all of one size. `handwriting.read_digit_image`
        does for photos and scans what MNIST's makers did. By default images are taken as they are,
        as grey values.
    """
    folder = Path(folder)
    class_folders = sorted(path for path in _list_folder(folder) if path.is_dir())
    if not class_folders:
        raise DataError(f"{folder} has no sub-folder: one per class is expected.")
    images: list[NDArray[np.uint8]] = []
    labels: list[int] = []
    for label, class_folder in enumerate(class_folders):
        paths = [path for path in sorted(class_folder.iterdir()) if not path.name.startswith(".")]
        if not paths:
            raise DataError(f"{class_folder} is empty: each class needs an image.")
        for path in paths:
            image = (read_image or _read_grey_image)(path)
            if images and image.shape != images[0].shape:
                raise DataError(
                    f"{path} has {image.shape[1]}x{image.shape[0]} pixels, the images before it "
                    f"{images[0].shape[1]}x{images[0].shape[0]}: all must have one size."
                )
            images.append(image)
            labels.append(label)
    names = tuple(path.name for path in class_folders)
    return _digit_set(folder, np.stack(images), np.array(labels), names)


def _list_folder(folder: Path) -> list[Path]:
    """Return what lies in `folder`, hidden files aside."""
    if not folder.exists():
        raise DataError(f"{folder} does not exist.")
    if not folder.is_dir():
        raise DataError(f"{folder} is a file; a folder is expected.")
    return [path for path in folder.iterdir() if not path.name.startswith(".")]


def _read_grey_image(path: Path) -> NDArray[np.uint8]:
    from PIL import Image  # only who reads images pays for it

    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("L"))
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} cannot be read as an image: {error}.") from error


def load_path(
    path: str | Path,
    read_image: ImageReader | None = None,
    *,
    prefer: Literal["train", "test"] = "test",
) -> DigitSet:
    """Load an .npz, a folder of IDX files or a folder with one sub-folder per class.

    `prefer` is for `load_idx_folder`, `read_image` for `load_image_folder`.
    """
    path = Path(path)
    if not path.is_dir():
        if path.exists() and path.suffix != ".npz":
            raise DataError(
                f"{path} is neither an .npz nor a folder of IDX files or of one folder per class."
            )
        return load_npz(path)
    inside = _list_folder(path)
    if not inside:
        raise DataError(f"{path} is empty: IDX files or one sub-folder per class are expected.")
    if any(child.is_dir() for child in inside):
        return load_image_folder(path, read_image)
    return load_idx_folder(path, prefer=prefer)
