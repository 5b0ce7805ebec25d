"""Digits and letters by others: UCI digits, and EMNIST and its kin through torchvision.

Source: UCI digits, Alpaydin and Kaynak 1998, through scikit-learn.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from mnist_lab.data.digit_set import DIGIT_NAMES, DataError, DigitSet, _digit_set
from mnist_lab.data.geometry import paste_by_centre_of_mass
from mnist_lab.extras import needs_extra


def load_uci_digits() -> DigitSet:
    """Load the 1,797 UCI digits that scikit-learn ships, brought to MNIST's 28x28.

    They are 8x8 counts of 0 to 16, from 13 other writers and another scanner. Each is enlarged to
    20x20 pixels (bicubic) and laid with its centre of mass in the middle of 28x28, as MNIST is.

    Raises
    ------
    DataError
        If scikit-learn is not installed.
    """
    from PIL import Image

    with needs_extra("chapters", DataError):
        from sklearn.datasets import load_digits

    bunch = load_digits()
    images = np.zeros((len(bunch.images), 28, 28), np.uint8)
    for image, small in zip(images, bunch.images, strict=True):
        grey = Image.fromarray((small * (255 / 16)).round().astype(np.uint8))
        paste_by_centre_of_mass(image, np.asarray(grey.resize((20, 20), Image.Resampling.BICUBIC)))
    return _digit_set("UCI digits", images, bunch.target, part="test")


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
    with needs_extra("chapters", DataError):
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
