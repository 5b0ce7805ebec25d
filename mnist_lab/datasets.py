"""Digits as NumPy arrays: MNIST from the package, other data sets, splits.

    from mnist_lab.datasets import load_mnist, split

    mnist = load_mnist()
    train, validation = split(mnist.train, seed=0)      # 55,000 and 5,000 digits
    train.images, train.labels                          # uint8 (n, 28, 28), int64 (n,)

Data that memory does not hold stays in its file, and batches are read from there:

    vast = load_idx_folder("vast", mmap=True)           # unpacked IDX files; images are a map
    train = vast.subset(slice(0, 9_000_000))            # a slice of a map is a map

Nothing here imports torch, and nothing downloads by itself. Every reader either returns a checked
`DigitSet` or raises `DataError` with one sentence: which file, what was found, what was expected.

Sources: the IDX format and MNIST itself, LeCun, Cortes and Burges, http://yann.lecun.com/exdb/mnist
(the format is described there); UCI digits, Alpaydin and Kaynak 1998, through scikit-learn.
"""

from __future__ import annotations

import gzip
import hashlib
import lzma
import math
import mmap as memory_map
import re
import struct
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mnist_lab.files import write_atomically

Part = Literal["", "train", "validation", "test"]

DIGIT_NAMES = tuple("0123456789")

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"})

# SHA-256 of the four unpacked IDX files, as published.
MNIST_SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}


class DataError(ValueError):
    """Data that cannot be used; the message is one sentence for the person who reads it."""


@dataclass(frozen=True)
class DigitSet:
    """Images with their labels, checked once when the set is made.

    Attributes
    ----------
    images : uint8 (n, height, width)
        0 is paper, 255 is full ink. A read-only np.memmap stays in its file.
    labels : int64 (n,)
        Index into `class_names`.
    class_names : tuple of str
        What each label stands for.
    part : {"", "train", "validation", "test"}
        Which part of a data set this is; `training.fit` refuses a "test" part.

    Raises
    ------
    DataError
        If shapes, types or counts do not fit together, or a label has no class.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...] = DIGIT_NAMES
    part: Part = ""

    def __post_init__(self) -> None:
        problem = _problem_with(self.images, self.labels, len(self.class_names))
        if problem:
            raise DataError(f"These digits cannot be used: {problem}.")

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, indices: ArrayLike | slice, part: Part | None = None) -> DigitSet:
        """Return the digits at `indices` (integers, a boolean mask or a slice), in that order.

        Integers and masks copy images to memory; a slice does not, so it also cuts a set that is
        mapped from a file.
        """
        chosen = indices if isinstance(indices, slice) else np.asarray(indices)
        return replace(
            self,
            images=self.images[chosen],
            labels=self.labels[chosen],
            part=self.part if part is None else part,
        )

    def class_counts(self) -> NDArray[np.int64]:
        """Return how many digits each class has: int64 (classes,)."""
        return np.bincount(self.labels, minlength=len(self.class_names)).astype(np.int64)


def _problem_with(images: Any, labels: Any, classes: int) -> str:
    """Say in half a sentence why the arrays are no `DigitSet`; an empty string if they are one."""
    if not isinstance(images, np.ndarray) or images.ndim != 3 or images.dtype != np.uint8:
        return f"images must be uint8 (n, height, width), found {_describe(images)}"
    if not isinstance(labels, np.ndarray) or labels.ndim != 1 or labels.dtype.kind not in "iu":
        return f"labels must be whole numbers (n,), found {_describe(labels)}"
    if labels.dtype != np.int64:
        return f"labels must be int64, found {labels.dtype}"
    if len(images) != len(labels):
        return f"there are {len(images):,} images but {len(labels):,} labels"
    if len(labels) == 0:
        return "the set is empty"
    if 0 in images.shape:
        return f"images of {images.shape[1]}x{images.shape[2]} pixels hold nothing"
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        wrong = low if low < 0 else high
        return f"label {wrong} is outside the {classes} classes 0 to {classes - 1}"
    return ""


def _describe(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape}"
    return type(value).__name__


def _digit_set(
    source: str | Path,
    images: NDArray[Any],
    labels: NDArray[Any],
    class_names: tuple[str, ...] = DIGIT_NAMES,
    part: Part = "",
) -> DigitSet:
    """Make a `DigitSet` of what was read from `source`, whose name every complaint carries."""
    if labels.dtype.kind in "iu":
        labels = labels.astype(np.int64)
    problem = _problem_with(images, labels, len(class_names))
    if problem:
        raise DataError(f"{source}: {problem}.")
    return DigitSet(images, labels, class_names, part)


# --- MNIST, from the package ---------------------------------------------------------------------


@dataclass(frozen=True)
class MNIST:
    """The 70,000 digits: `train` (60,000) to learn from, `test` (10,000) to score once."""

    train: DigitSet
    test: DigitSet


def load_mnist() -> MNIST:
    """Load all of MNIST from the package: no network, no writable disk, about a second.

    Raises
    ------
    DataError
        If a file is missing, cut short or altered (SHA-256 of the unpacked bytes).
    """
    return MNIST(
        train=_load_mnist_part("train", "train"),
        test=_load_mnist_part("t10k", "test"),
    )


def _load_mnist_part(prefix: str, part: Part) -> DigitSet:
    images, labels = (
        parse_idx(_mnist_file_bytes(name), name)
        for name in (f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte")
    )
    return _digit_set(f"MNIST's {part} part", images, labels, part=part)


def _mnist_file_bytes(name: str) -> bytearray:
    """Unpack one of the four MNIST files and check its SHA-256."""
    packed = resources.files("mnist_lab").joinpath("data", f"{name}.xz")
    unpacked = bytearray()
    try:
        with packed.open("rb") as raw, lzma.open(raw) as stream:
            # In pieces: the whole of it twice in memory would double the peak.
            while piece := stream.read(1 << 20):
                unpacked += piece
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise DataError(
            f"{name}.xz in the package cannot be read ({error}): install mnist-lab again."
        ) from error
    found = hashlib.sha256(unpacked).hexdigest()
    if found != MNIST_SHA256[name]:
        raise DataError(
            f"{name}.xz in the package has been altered: its SHA-256 is {found[:16]}..., "
            f"expected {MNIST_SHA256[name][:16]}...: install mnist-lab again."
        )
    return unpacked


def lay_out_for_torchvision(root: str | Path) -> Path:
    """Write MNIST where `torchvision.datasets.MNIST(root, download=False)` looks for it.

    Returns the folder `root/MNIST/raw` with the four unpacked IDX files. A file that is already
    there and right is left alone.
    """
    folder = Path(root) / "MNIST" / "raw"
    folder.mkdir(parents=True, exist_ok=True)
    for name, digest in MNIST_SHA256.items():
        path = folder / name
        if not path.exists() or hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            write_atomically(path, _mnist_file_bytes(name))
    return folder


# --- The IDX format ------------------------------------------------------------------------------

# Third byte of the magic number -> element type, big-endian as the format demands.
IDX_TYPES: dict[int, np.dtype[Any]] = {
    0x08: np.dtype(">u1"),
    0x09: np.dtype(">i1"),
    0x0B: np.dtype(">i2"),
    0x0C: np.dtype(">i4"),
    0x0D: np.dtype(">f4"),
    0x0E: np.dtype(">f8"),
}


def parse_idx(content: bytes | bytearray, name: str = "IDX data") -> NDArray[Any]:
    """Turn the bytes of an IDX file into an array in this machine's byte order.

    Parameters
    ----------
    content : bytes or bytearray
        The whole unpacked file. An array of bytes made from a bytearray shares its memory.
    name : str
        What to call it in an error.

    Raises
    ------
    DataError
        If the magic number, the header or the length is wrong.
    """
    dtype, shape, offset = _parse_idx_header(content, name)
    _check_idx_length(len(content), dtype, shape, offset, name)
    array = np.frombuffer(content, dtype, offset=offset).reshape(shape)
    return array.astype(dtype.newbyteorder("="), copy=False)


def _parse_idx_header(
    content: bytes | bytearray, name: str
) -> tuple[np.dtype[Any], tuple[int, ...], int]:
    """Return element type, shape and the offset of the first element."""
    if len(content) < 4:
        raise DataError(f"{name} is no IDX file: it has {len(content)} bytes, a header takes 4.")
    zeros, code, dimensions = content[:2], content[2], content[3]
    if bytes(zeros) != b"\0\0" or code not in IDX_TYPES or dimensions == 0:
        known = ", ".join(f"{key:02x}" for key in IDX_TYPES)
        raise DataError(
            f"{name} is no IDX file: it starts with {bytes(content[:4]).hex(' ')}, expected 00 00, "
            f"an element type ({known}) and at least one dimension."
        )
    offset = 4 + 4 * dimensions
    if len(content) < offset:
        raise DataError(
            f"{name} is cut short: a header of {dimensions} dimensions takes {offset} bytes, "
            f"found {len(content)}."
        )
    shape = struct.unpack(f">{dimensions}I", content[4:offset])
    return IDX_TYPES[code], shape, offset


def _check_idx_length(
    found: int, dtype: np.dtype[Any], shape: tuple[int, ...], offset: int, name: str
) -> None:
    expected = offset + dtype.itemsize * math.prod(shape)
    if found != expected:
        what = "is cut short" if found < expected else "is too long"
        raise DataError(
            f"{name} {what}: its header announces {shape} elements of {dtype.itemsize} bytes, "
            f"{expected:,} bytes in all, found {found:,}."
        )


def read_idx(path: str | Path, *, mmap: bool = False) -> NDArray[Any]:
    """Read an IDX file, plain or packed with gzip or xz (by its first bytes, not its name).

    Parameters
    ----------
    path : path
    mmap : bool
        Leave the elements in the file and return a read-only np.memmap, for data larger than
        memory. Elements of several bytes stay in the file's byte order. The file must not be
        packed, and must not be changed while the map is in use.

    Raises
    ------
    DataError
        If the file is missing, damaged or something else, or is packed and should be mapped.
    """
    path = Path(path)
    try:
        if mmap:
            return _map_idx(path)
        with _open_unpacked(path) as stream:
            header = stream.read(4 + 4 * 255)
            dtype, shape, offset = _parse_idx_header(header, str(path))
            expected = offset + dtype.itemsize * math.prod(shape)
            # One byte more than announced shows a file that is too long; reading no further
            # means that a packed file cannot unpack to more than its header says.
            body = bytearray(header)
            while len(body) <= expected:
                piece = stream.read(min(1 << 20, expected + 1 - len(body)))
                if not piece:
                    break
                body += piece
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist.") from error
    except (OSError, EOFError, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise DataError(f"{path} cannot be read: {error}.") from error
    return parse_idx(body, str(path))


GZIP_MAGIC, XZ_MAGIC = b"\x1f\x8b", b"\xfd7zXZ\0"


def _open_unpacked(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        start = file.read(6)
    if start.startswith(GZIP_MAGIC):
        return gzip.open(path, "rb")  # type: ignore[return-value]
    if start.startswith(XZ_MAGIC):
        return lzma.open(path, "rb")
    return path.open("rb")


def _map_idx(path: Path) -> NDArray[Any]:
    with path.open("rb") as file:
        header = file.read(4 + 4 * 255)
        length = file.seek(0, 2)
    if header.startswith((GZIP_MAGIC, XZ_MAGIC)):
        raise DataError(
            f"{path} is packed, and a packed file cannot be mapped: unpack it, or read it whole."
        )
    dtype, shape, offset = _parse_idx_header(header, str(path))
    _check_idx_length(length, dtype, shape, offset, str(path))
    if 0 in shape:  # the system maps no empty range
        return np.zeros(shape, dtype)
    return np.memmap(path, dtype, "r", offset, shape)


def take_images(images: NDArray[np.uint8], places: slice | NDArray[np.int64]) -> NDArray[np.uint8]:
    """Copy the images at `places` (a slice or integers) into memory, in that order.

    Of a map, places are visited in the order of the file, which a disk answers faster, and the
    pages are handed back at once: so memory holds a batch and not what has been read so far. The
    system still keeps in its cache what it has room for.
    """
    pixels = np.asarray(images)  # a map as a plain array, whose look-ups are faster
    if isinstance(places, slice):
        taken = np.array(pixels[places])
    else:
        taken = np.empty((len(places), *images.shape[1:]), images.dtype)
        by_place = np.argsort(places)
        taken[by_place] = pixels[places[by_place]]
    if isinstance(images, np.memmap) and images.mode == "r":
        _hand_back_pages(images)
    return taken


def _hand_back_pages(images: np.memmap[Any, Any]) -> None:
    """Tell the system that these pages of a read-only map are not needed now."""
    owner: Any = images
    while owner is not None and not isinstance(owner, memory_map.mmap):
        owner = getattr(owner, "base", None)
    if owner is not None and hasattr(memory_map, "MADV_DONTNEED"):  # Windows has no such call
        owner.madvise(memory_map.MADV_DONTNEED)


def write_idx(path: str | Path, array: ArrayLike) -> None:
    """Write an array as an IDX file; a name that ends in .gz or .xz packs it.

    Raises
    ------
    DataError
        If the format has no such element type, or the array has no dimension.
    """
    array = np.asarray(array)
    codes = {dtype.newbyteorder("="): code for code, dtype in IDX_TYPES.items()}
    code = codes.get(array.dtype.newbyteorder("="))
    if code is None:
        known = ", ".join(str(dtype) for dtype in codes)
        raise DataError(f"IDX files hold {known}; found {array.dtype}.")
    if not 1 <= array.ndim <= 255:
        raise DataError(f"IDX files have 1 to 255 dimensions; found {array.ndim}.")
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    content = header + np.ascontiguousarray(array, IDX_TYPES[code]).tobytes()
    path = Path(path)
    if path.suffix == ".gz":
        content = gzip.compress(content, mtime=0)
    elif path.suffix == ".xz":
        content = lzma.compress(content)
    write_atomically(path, content)


# --- Other people's files ------------------------------------------------------------------------


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


def load_idx_folder(folder: str | Path, *, mmap: bool = False) -> DigitSet:
    """Load the IDX files of a folder: `PREFIX-images-idx3-ubyte` with `PREFIX-labels-idx1-ubyte`.

    Where both MNIST parts are there, the test part (prefix t10k) is taken. The files may be packed
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
    prefix = "t10k" if "t10k" in pairs else sorted(pairs)[0]
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


def load_path(path: str | Path, read_image: ImageReader | None = None) -> DigitSet:
    """Load an .npz, a folder of IDX files or a folder with one sub-folder per class."""
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
    return load_idx_folder(path)


# --- Other data sets -----------------------------------------------------------------------------


def load_uci_digits() -> DigitSet:
    """Load the 1,797 UCI digits that scikit-learn ships, brought to MNIST's 28x28.

    They are 8x8 counts of 0 to 16, from 13 other writers and another scanner. Each is enlarged to
    20x20 pixels (bicubic) and laid with its centre of mass in the middle of 28x28, as MNIST is.
    """
    from PIL import Image
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = np.zeros((len(bunch.images), 28, 28), np.uint8)
    for image, small in zip(images, bunch.images, strict=True):
        grey = Image.fromarray((small * (255 / 16)).round().astype(np.uint8))
        paste_by_centre_of_mass(image, np.asarray(grey.resize((20, 20), Image.Resampling.BICUBIC)))
    return _digit_set("UCI digits", images, bunch.target, part="test")


def paste_by_centre_of_mass(canvas: NDArray[np.uint8], digit: NDArray[np.uint8]) -> None:
    """Lay `digit` into the empty `canvas` so that its centre of mass is where MNIST has it.

    That is pixel 14 of 0 to 27 (chapter 1 measures it). The shift is by whole pixels; where the
    digit would leave the canvas it stops at the edge.
    """
    height, width = digit.shape
    total = float(digit.sum(dtype=np.float64)) or 1.0
    centre_y = float(digit.sum(axis=1, dtype=np.float64) @ np.arange(height)) / total
    centre_x = float(digit.sum(axis=0, dtype=np.float64) @ np.arange(width)) / total
    top = round(canvas.shape[0] / 2 - centre_y)
    left = round(canvas.shape[1] / 2 - centre_x)
    top = min(max(top, 0), canvas.shape[0] - height)
    left = min(max(left, 0), canvas.shape[1] - width)
    canvas[top : top + height, left : left + width] = digit


@dataclass(frozen=True)
class _TorchvisionSet:
    """How torchvision names a data set, and what its labels stand for."""

    class_name: str
    arguments: dict[str, str]
    class_names: tuple[str, ...]
    first_label: int = 0
    transposed: bool = False


TORCHVISION_SETS = {
    "emnist-letters": _TorchvisionSet(
        "EMNIST", {"split": "letters"}, tuple("abcdefghijklmnopqrstuvwxyz"), 1, transposed=True
    ),
    "emnist-digits": _TorchvisionSet("EMNIST", {"split": "digits"}, DIGIT_NAMES, transposed=True),
    "fashion-mnist": _TorchvisionSet(
        "FashionMNIST",
        {},
        (
            "T-shirt",
            "trousers",
            "pullover",
            "dress",
            "coat",
            "sandal",
            "shirt",
            "trainer",
            "bag",
            "ankle boot",
        ),
    ),
    "kmnist": _TorchvisionSet("KMNIST", {}, tuple("おきすつなはまやれを")),
}


def load_from_torchvision(
    name: str, root: str | Path, part: Literal["train", "test"], *, download: bool = False
) -> DigitSet:
    """Load EMNIST and its kin through torchvision, which checks what it downloads (MD5).

    Parameters
    ----------
    name : {"emnist-letters", "emnist-digits", "fashion-mnist", "kmnist"}
    root : path
        Where torchvision keeps its data sets.
    part : {"train", "test"}
    download : bool
        Only if you say so is anything fetched; it needs the network once.

    Raises
    ------
    DataError
        If the name is unknown, the files are not there, or they cannot be fetched.
    """
    if name not in TORCHVISION_SETS:
        raise DataError(f"No data set {name!r}; there are {', '.join(sorted(TORCHVISION_SETS))}.")
    import torchvision

    entry = TORCHVISION_SETS[name]
    loader = getattr(torchvision.datasets, entry.class_name)
    try:
        found = loader(str(root), train=part == "train", download=download, **entry.arguments)
    except (RuntimeError, OSError) as error:
        cure = (
            "the download failed; is there a network?"
            if download
            else "ask for it with download=True, which needs the network once"
        )
        raise DataError(f"{name} is not in {root}: {cure} ({error})") from error
    images = found.data.numpy()
    if entry.transposed:  # EMNIST stores its images with rows and columns exchanged
        images = np.ascontiguousarray(images.transpose(0, 2, 1))
    labels = found.targets.numpy() - entry.first_label
    return _digit_set(name, images, labels, entry.class_names, part)


def align_classes(digits: DigitSet, class_names: Sequence[str]) -> DigitSet:
    """Return the same digits with labels that count in the order of `class_names`.

    A folder of sub-folders "3" and "7" has the classes 0 and 1; a model that knows ten digits calls
    them 3 and 7.
    """
    if digits.class_names == tuple(class_names):
        return digits
    unknown = [name for name in digits.class_names if name not in class_names]
    if unknown:
        raise DataError(
            f"Class {unknown[0]!r} is not one of the model's: {', '.join(class_names)}."
        )
    positions = np.array([class_names.index(name) for name in digits.class_names], np.int64)
    return replace(digits, labels=positions[digits.labels], class_names=tuple(class_names))


# --- Splits --------------------------------------------------------------------------------------


def split(digits: DigitSet, seed: int, validation: int = 5_000) -> tuple[DigitSet, DigitSet]:
    """Split into a training and a validation part, with the same share of every class in both.

    Parameters
    ----------
    digits : DigitSet
        MNIST's `train`, usually: 60,000 digits become 55,000 and 5,000.
    seed : int
        Same seed, same split.
    validation : int
        How many digits to hold out.

    Returns
    -------
    (training part, validation part), disjoint, each in the order of the original.
    """
    if not 0 < validation < len(digits):
        raise DataError(
            f"Cannot hold out {validation:,} of {len(digits):,} digits: choose 1 to "
            f"{len(digits) - 1:,}."
        )
    generator = np.random.default_rng(seed)
    held_out = np.zeros(len(digits), bool)
    shares = _apportion(validation, digits.class_counts())
    for label, share in enumerate(shares):
        of_class = np.flatnonzero(digits.labels == label)
        held_out[generator.choice(of_class, size=share, replace=False)] = True
    return digits.subset(~held_out, "train"), digits.subset(held_out, "validation")


def few_labels(digits: DigitSet, per_class: int, seed: int) -> DigitSet:
    """Draw the same number of digits of every class, as if only these had been labelled.

    For one seed the draws are nested: the 5 of a class hold the 2 that a smaller draw gives.

    Parameters
    ----------
    per_class : int
        At least 1.
    seed : int
        Same seed, same draw.

    Returns
    -------
    DigitSet of `per_class` times the number of classes, ordered by class.

    Raises
    ------
    DataError
        If a class has fewer digits than that.
    """
    if per_class < 1:
        raise DataError(f"Every class needs at least 1 label, found per_class={per_class}.")
    generator = np.random.default_rng(seed)
    chosen = []
    for label, name in enumerate(digits.class_names):
        of_class = np.flatnonzero(digits.labels == label)
        if len(of_class) < per_class:
            raise DataError(
                f"Class {name!r} has {len(of_class):,} digits, {per_class:,} of it are asked for."
            )
        chosen.append(generator.permutation(of_class)[:per_class])
    return digits.subset(np.concatenate(chosen))


def keep_classes(digits: DigitSet, names: Sequence[str]) -> DigitSet:
    """Return the digits of some classes, with labels that count in the order of `names`.

    `keep_classes(digits, "56789")` holds the digits 5 to 9 as the classes 0 to 4; `class_names`
    still says what they are.

    Raises
    ------
    DataError
        If there is no such class, a name stands twice, or no digit is of these classes.
    """
    for name in names:
        if name not in digits.class_names:
            raise DataError(f"No class {name!r}; there are {', '.join(digits.class_names)}.")
    if len(set(names)) < len(names):
        raise DataError(f"A class is named twice in {', '.join(names)}.")
    new_label = np.full(len(digits.class_names), -1, np.int64)
    new_label[[digits.class_names.index(name) for name in names]] = np.arange(len(names))
    labels = new_label[digits.labels]
    kept = labels >= 0
    if not kept.any():
        raise DataError(f"No digit is of the classes {', '.join(names)}.")
    return replace(
        digits, images=digits.images[kept], labels=labels[kept], class_names=tuple(names)
    )


def _apportion(total: int, counts: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
    """Divide `total` in proportion to `counts`; largest remainders get what rounding leaves."""
    exact = total * np.asarray(counts) / np.sum(counts)
    shares = np.floor(exact).astype(np.int64)
    largest_first = np.argsort(shares - exact, kind="stable")
    shares[largest_first[: total - int(shares.sum())]] += 1
    return shares
