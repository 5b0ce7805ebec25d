"""Who wrote MNIST's digits: a table of QMNIST, through torchvision, for who has the network.

    mnist = add_writers(load_mnist(), "data", download=True)
    train, validation = split(mnist.train, seed=0, by="writer")

MNIST's digits come in bundles by one hand. MNIST itself does not say whose: QMNIST traced each of
them back to its form in the archives of NIST, and gives its writer's number, in MNIST's own order.

Source: Yadav and Bottou 2019, "Cold Case: The Lost MNIST Digits",
https://github.com/facebookresearch/qmnist (section 2.2 describes the table)
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mnist_lab.data.digit_set import DataError, DigitSet
from mnist_lab.data.foreign_files import open_foreign, refuse_damage
from mnist_lab.data.idx import read_idx
from mnist_lab.data.mnist import MNIST
from mnist_lab.extras import needs_extra
from mnist_lab.reasons import reason_of

FIRST_STUDENT = 2_100  # NIST's number; employees of the Census Bureau come before, students from it

_CLASS, _WRITER, _COLUMNS = 0, 2, 8  # of a row in the table
_LARGEST_FILE = 2**22  # bytes, packed


def add_writers(mnist: MNIST, root: str | Path, *, download: bool = False) -> MNIST:
    """Return MNIST with `writers` in both parts: NIST's number of the person behind each digit.

    Numbers below `FIRST_STUDENT` are employees of the Census Bureau, the others students at a high
    school. The two files of the table, packed, lie in `root/QMNIST/raw`, where
    `torchvision.datasets.QMNIST(root)` keeps them too; QMNIST's images are not needed.

    Parameters
    ----------
    mnist : MNIST
        What `load_mnist` returned.
    root : path
        Where torchvision keeps its data sets.
    download : bool
        Only if you say so is anything fetched; it needs the network once.

    Raises
    ------
    DataError
        If torchvision is not installed, the table is not there, cannot be fetched or is damaged
        (MD5, as torchvision names it), or its labels are not those of these digits.
    """
    return MNIST(
        train=_with_writers(mnist.train, "train", root, download),
        test=_with_writers(mnist.test, "test", root, download),
    )


def _with_writers(digits: DigitSet, part: str, root: str | Path, download: bool) -> DigitSet:
    path = _fetch_table(part, Path(root), download)
    table = read_idx(path)
    # QMNIST's test part goes on with digits that MNIST's left out.
    if table.ndim != 2 or table.shape[1] != _COLUMNS or len(table) < len(digits):
        raise DataError(
            f"{path} is no table of writers: it has the shape {table.shape}, expected "
            f"({len(digits)}, {_COLUMNS})."
        )
    table = table[: len(digits)]
    differ = np.flatnonzero(table[:, _CLASS] != digits.labels)
    if len(differ):
        place = int(differ[0])
        raise DataError(
            f"{path} is about other digits: its row {place} is of a {table[place, _CLASS]}, and "
            f"digit {place} here is a {digits.labels[place]}; whole parts of MNIST are needed, in "
            f"their own order."
        )
    writers: NDArray[np.int64] = table[:, _WRITER].astype(np.int64)
    return replace(digits, writers=writers)


def _fetch_table(part: str, root: Path, download: bool) -> Path:
    """Return the path of a part's table, which is as torchvision knows it to the last byte."""
    with needs_extra("chapters", DataError):
        from torchvision.datasets import QMNIST
        from torchvision.datasets.utils import download_url

    _, (address, digest) = QMNIST.resources[part]
    folder = root / "QMNIST" / "raw"
    path = folder / address.rpartition("/")[2]
    if download:
        try:  # what is there and right is not fetched again
            download_url(address, folder, path.name, digest)
        except Exception as error:
            raise DataError(
                f"{path} cannot be had: the download failed; is there a network? "
                f"({reason_of(error)})."
            ) from error
    elif not path.exists():
        raise DataError(
            f"The table of MNIST's writers is not in {folder}: ask for it with download=True, "
            f"which needs the network once."
        )
    with open_foreign(path) as file, refuse_damage(path):
        content = file.read(_LARGEST_FILE + 1)
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != digest:
        raise DataError(
            f"{path} is damaged: its MD5 is not the one that torchvision expects, {digest}; ask "
            f"for it with download=True."
        )
    return path
