"""Labelled digits of your own, as the command line takes them: an .npz, IDX files, pictures.

    mine = load_own_digits("drawings")      # drawings/0/*.png, drawings/1/*.jpg, ...

Arrays and IDX files hold images that are as MNIST's; a picture holds one digit, of any size and on
any paper, and goes through the same preparation as what is read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from mnist_lab.data.digit_set import DigitSet
from mnist_lab.data.own_files import load_path
from mnist_lab.handwriting.found import load_digit_image


def load_own_digits(path: str | Path, *, prefer: Literal["train", "test"] = "train") -> DigitSet:
    """Load labelled digits from a file or folder.

    Parameters
    ----------
    path : path
        An .npz with images (n, 28, 28) uint8, ink on 0, and labels; a folder of IDX files; or a
        folder with one sub-folder of pictures per class, whose names are the classes.
    prefer : {"train", "test"}
        Which one is taken of IDX files that hold both of MNIST's parts.

    Raises
    ------
    DataError
        If there is no such data, or a picture is no image, is too large or shows no ink; with the
        file and what was expected of it.
    """
    return load_path(path, load_digit_image, prefer=prefer)
