"""Digits and letters by others: UCI digits, and EMNIST and its kin through torchvision.

Source: UCI digits, Alpaydin and Kaynak 1998, through scikit-learn.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from mnist_lab.data.digit_set import DataError, DigitSet, _digit_set
from mnist_lab.data.emnist import EMNIST_CLASSES, EMNIST_FIRST_LABEL, stand_upright
from mnist_lab.data.geometry import fit_like_mnist
from mnist_lab.extras import needs_extra
from mnist_lab.reasons import reason_of


def load_uci_digits() -> DigitSet:
    """Load the 1,797 UCI digits that scikit-learn ships, brought to MNIST's 28x28.

    They are 8x8 counts of 0 to 16, from 13 other writers and another scanner. Each is enlarged to
    20x20 pixels (bicubic) and laid with its centre of mass in the middle of 28x28, as MNIST is.

    Raises
    ------
    DataError
        If scikit-learn is not installed.
    """
    with needs_extra("chapters", DataError):
        from sklearn.datasets import load_digits

    bunch = load_digits()
    counts = (bunch.images * (255 / 16)).round().astype(np.uint8)
    images = np.stack([fit_like_mnist(count) for count in counts])
    return _digit_set("UCI digits", images, bunch.target, part="test")


@dataclass(frozen=True)
class _TorchvisionSet:
    """How torchvision names a data set, and what its labels stand for."""

    class_name: str
    arguments: dict[str, str]
    class_names: tuple[str, ...]
    first_label: int = 0


_TORCHVISION_SETS = {
    "emnist-letters": _TorchvisionSet(
        "EMNIST", {"split": "letters"}, EMNIST_CLASSES["letters"], EMNIST_FIRST_LABEL["letters"]
    ),
    "emnist-digits": _TorchvisionSet("EMNIST", {"split": "digits"}, EMNIST_CLASSES["digits"]),
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
    if name not in _TORCHVISION_SETS:
        raise DataError(f"No data set {name!r}; there are {', '.join(sorted(_TORCHVISION_SETS))}.")
    with needs_extra("chapters", DataError):
        import torchvision

    entry = _TORCHVISION_SETS[name]
    loader = getattr(torchvision.datasets, entry.class_name)
    try:
        found = loader(str(root), train=part == "train", download=download, **entry.arguments)
    except Exception as error:  # of files that are there already torchvision checks nothing
        if download:
            cure = "the download failed, or what is there is damaged; is there a network?"
        elif "not found" in str(error):
            cure = "ask for it with download=True, which needs the network once"
        else:
            cure = "what is there is damaged; remove it and ask for it with download=True"
        raise DataError(f"{name} is not in {root}: {cure} ({reason_of(error)}).") from error
    images, labels = found.data.numpy(), found.targets.numpy()
    if entry.class_name == "EMNIST":
        images = stand_upright(images)
    source = f"{name} in {root}"
    return _digit_set(source, images, labels, entry.class_names, part, entry.first_label)
