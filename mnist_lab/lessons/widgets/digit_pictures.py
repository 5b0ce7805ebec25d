"""Digits as one small picture, which a page reads: a column for each class, in 16 shades.

    content = picture_of(digits, rows=20)         # a PNG of 200 digits
    train, others = training_pictures()           # what a network in the page learns from
    train, others = step_pictures()               # fewer, for steps that are taken one by one

Sixteen shades are half a byte a pixel, and the eye misses none of the others.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from mnist_lab.data.digit_set import DigitSet
from mnist_lab.data.mnist import load_mnist
from mnist_lab.data.splits import split

SHADES = 16
TRAIN_ROWS, OTHER_ROWS = 200, 100  # digits of each class
STEP_TRAIN_ROWS, STEP_OTHER_ROWS = 100, 50  # the same, for steps


def picture_of(digits: DigitSet, rows: int = 20) -> bytes:
    """Return a PNG of the first `rows` digits of each class, a column a class, in 16 shades."""
    sheet = np.zeros((rows * 28, 10 * 28), np.uint8)
    for label in range(10):
        chosen = digits.images[digits.labels == label][:rows]
        sheet[:, label * 28 : (label + 1) * 28] = chosen.reshape(rows * 28, 28)
    # Levels 0 to 15, which a palette of greys turns back into 0 to 255.
    picture = Image.fromarray(((sheet.astype(int) + 8) // 17).astype(np.uint8)).convert("P")
    picture.putpalette([shade for level in range(SHADES) for shade in (level * 17,) * 3])
    stream = io.BytesIO()
    picture.save(stream, "PNG", optimize=True, bits=4)
    return stream.getvalue()


def training_pictures() -> tuple[bytes, bytes]:
    """Return two PNGs: 2,000 digits to learn from, and 1,000 others to score with.

    Both are from MNIST's training file, as `split` parts it, so that no page looks at the test set;
    each class is there as often as every other.
    """
    return _both_pictures(TRAIN_ROWS, OTHER_ROWS)


def step_pictures() -> tuple[bytes, bytes]:
    """Return the first half of each of the `training_pictures`: 1,000 digits, and 500 others."""
    return _both_pictures(STEP_TRAIN_ROWS, STEP_OTHER_ROWS)


def _both_pictures(train_rows: int, other_rows: int) -> tuple[bytes, bytes]:
    train, validation = split(load_mnist().train, seed=0)
    return picture_of(train, train_rows), picture_of(validation, other_rows)
