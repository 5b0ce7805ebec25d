"""MNIST, all 70,000 digits, from the files that the package carries.

Source: LeCun, Cortes and Burges, http://yann.lecun.com/exdb/mnist
"""

from __future__ import annotations

import hashlib
import lzma
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from mnist_lab.data.digit_set import DataError, DigitSet, Part, _digit_set
from mnist_lab.data.foreign_files import open_foreign, refuse_damage
from mnist_lab.data.idx import parse_idx
from mnist_lab.files import write_atomically
from mnist_lab.reasons import reason_of

# SHA-256 of the four unpacked IDX files, as published.
_SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
_LARGEST_FILE = 16 + 60_000 * 28 * 28  # bytes


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
    packed = resources.files("mnist_lab").joinpath("data", "files", f"{name}.xz")
    unpacked = bytearray()
    try:
        with packed.open("rb") as raw, lzma.open(raw) as stream:
            # In pieces: the whole of it twice in memory would double the peak.
            while piece := stream.read(1 << 20):
                unpacked += piece
    except Exception as error:  # whatever the decoder raises
        raise DataError(
            f"{name}.xz in the package cannot be read ({reason_of(error)}): install mnist-lab "
            f"again."
        ) from error
    found = hashlib.sha256(unpacked).hexdigest()
    if found != _SHA256[name]:
        raise DataError(
            f"{name}.xz in the package has been altered: its SHA-256 is {found[:16]}..., "
            f"expected {_SHA256[name][:16]}...: install mnist-lab again."
        )
    return unpacked


def lay_out_for_torchvision(root: str | Path) -> Path:
    """Write MNIST where `torchvision.datasets.MNIST(root, download=False)` looks for it.

    Returns the folder `root/MNIST/raw` with the four unpacked IDX files. A file that is already
    there and right is left alone; one that was cut short, as by a download that broke off, is
    completed.

    Raises
    ------
    DataError
        If a file of another content is there, such as Fashion-MNIST's, whose files have the same
        names: nothing is written then. Or if the folder cannot be made.
    """
    folder = Path(root) / "MNIST" / "raw"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise DataError(f"{folder} cannot be made: {reason_of(error)}.") from error
    to_write = {}  # all are looked at before the first is written
    for name, digest in _SHA256.items():
        path, found = folder / name, b""
        if path.exists() or path.is_symlink():
            with open_foreign(path) as file, refuse_damage(path):
                found = file.read(_LARGEST_FILE + 1)
        if hashlib.sha256(found).hexdigest() == digest:
            continue
        to_write[path] = _mnist_file_bytes(name)
        if not to_write[path].startswith(found):
            raise DataError(
                f"{path} holds other data than MNIST's, and is not overwritten: name another "
                f"folder, or move it away."
            )
    for path, content in to_write.items():
        write_atomically(path, content)
    return folder
