"""EMNIST as its makers store it: images lie on their side, and letters count from 1.

Source: Cohen, Afshar, Tapson and van Schaik 2017, https://arxiv.org/abs/1702.05373
"""

from __future__ import annotations

from string import ascii_lowercase, ascii_uppercase
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_lab.data.digit_set import DIGIT_NAMES

# Small letters that `balanced` and `bymerge` keep apart from the capital, which looks otherwise.
_UNLIKE_CAPITALS = tuple("abdefghnqrt")

# What the labels of a split stand for, from the lowest on.
EMNIST_CLASSES: dict[str, tuple[str, ...]] = {
    "digits": DIGIT_NAMES,
    "mnist": DIGIT_NAMES,
    "letters": tuple(ascii_lowercase),
    "balanced": (*DIGIT_NAMES, *ascii_uppercase, *_UNLIKE_CAPITALS),
    "bymerge": (*DIGIT_NAMES, *ascii_uppercase, *_UNLIKE_CAPITALS),
    "byclass": (*DIGIT_NAMES, *ascii_uppercase, *ascii_lowercase),
}
EMNIST_FIRST_LABEL = {"letters": 1}  # of the others it is 0


def stand_upright(images: NDArray[Any]) -> NDArray[Any]:
    """Exchange rows and columns of images (n, height, width), as EMNIST's must be to be read."""
    return np.ascontiguousarray(images.transpose(0, 2, 1))
