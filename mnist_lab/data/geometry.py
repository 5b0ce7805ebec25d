"""Where MNIST has its digits: 28 pixels, a box of 20, the centre of mass on pixel 14.

    digit = crop_to_ink(sheet)                  # uint8 (height, width), ink on 0
    image = fit_like_mnist(digit)               # uint8 (28, 28)

MNIST's makers fitted each digit into a box of 20x20 pixels, kept its aspect, smoothed it as they
shrank it, and laid its centre of mass into the middle of 28x28 (LeCun et al. 1998, section III.A).
Everything here that makes such an image does it with these functions.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

IMAGE_SIDE = 28  # pixels
DIGIT_BOX = 20  # pixels that the longer side of a digit has

_Grey = NDArray[np.uint8]  # (height, width), 0 is paper
_Value = TypeVar("_Value", bound=np.generic)


def find_ink_box(image: NDArray[_Value]) -> tuple[slice, slice]:
    """Return the rows and the columns of (height, width) from its first ink to its last.

    Ink is what is not 0. Of an image without ink they are all rows and columns.
    """
    rows, columns = np.flatnonzero(image.any(axis=1)), np.flatnonzero(image.any(axis=0))
    if not len(rows):
        return slice(0, image.shape[0]), slice(0, image.shape[1])
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def crop_to_ink(image: NDArray[_Value]) -> NDArray[_Value]:
    """Return the image, (height, width), cut to its ink; one without ink as it is."""
    return image[find_ink_box(image)]


def resize_longer_side(digit: _Grey, side: int, filter_: Image.Resampling | None = None) -> _Grey:
    """Shrink or enlarge a digit until its longer side has `side` pixels, and keep its aspect.

    Parameters
    ----------
    digit : uint8 (height, width)
    side : int
        In pixels; the shorter side has at least one.
    filter_ : PIL.Image.Resampling, optional
        By default what shrinks is averaged with a box filter, and so keeps the grey edges that
        MNIST has; what grows is interpolated (bicubic).
    """
    height, width = digit.shape
    scale = side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    if filter_ is None:
        filter_ = _best_filter(shrinks=scale < 1)
    return np.asarray(Image.fromarray(digit).resize(size, filter_))


def _best_filter(*, shrinks: bool) -> Image.Resampling:
    return Image.Resampling.BOX if shrinks else Image.Resampling.BICUBIC


def restore_full_ink(digit: _Grey) -> _Grey:
    """Scale the grey values of a digit, uint8 of any shape, so that its darkest pixel is 255.

    A line that was thinner than a pixel of the result is as black as any other then.
    """
    return (digit * (255 / max(1, int(digit.max())))).round().astype(np.uint8)


def fit_like_mnist(
    digit: _Grey, *, aspect: bool = True, smooth: bool = True, centre_of_mass: bool = True
) -> _Grey:
    """Fit a digit, cropped to its ink, into 20x20, and its centre of mass into that of 28x28.

    Parameters
    ----------
    digit : uint8 (height, width)
        0 is paper.
    aspect, smooth, centre_of_mass : bool
        Leave a step out to see what it is good for. Without `aspect` the digit is stretched to a
        square; without `smooth` single pixels are taken where it shrinks; without `centre_of_mass`
        the middle of its box goes to the middle of the image.

    Returns
    -------
    uint8 (28, 28)
    """
    shrinks = max(digit.shape) > DIGIT_BOX
    filter_ = _best_filter(shrinks=shrinks) if smooth else Image.Resampling.NEAREST
    if aspect:
        small = resize_longer_side(digit, DIGIT_BOX, filter_)
    else:
        small = np.asarray(Image.fromarray(digit).resize((DIGIT_BOX, DIGIT_BOX), filter_))
    if shrinks:
        small = restore_full_ink(small)
    return lay_by_centre_of_mass(small) if centre_of_mass else lay_in_the_middle(small)


def lay_by_centre_of_mass(digit: _Grey, shape: tuple[int, int] = (IMAGE_SIDE, IMAGE_SIDE)) -> _Grey:
    """Lay a digit on an empty image so that its centre of mass is where MNIST has it.

    That is pixel 14 of 0 to 27 (chapter 1 measures it): one half of the image's side. The shift is
    by whole pixels; where the digit would leave the image it stops at the edge.

    Parameters
    ----------
    digit : uint8 (height, width)
        No larger than the image.
    shape : (int, int)
        Height and width of the image.

    Returns
    -------
    uint8 of that shape
    """
    ink = digit.astype(np.float64)
    total = float(ink.sum()) or 1.0
    centre = (
        float(ink.sum(axis=1) @ np.arange(digit.shape[0])) / total,
        float(ink.sum(axis=0) @ np.arange(digit.shape[1])) / total,
    )
    top, left = (
        min(max(round(side / 2 - at), 0), side - own)
        for side, at, own in zip(shape, centre, digit.shape, strict=True)
    )
    return _lay_at(digit, shape, top, left)


def lay_in_the_middle(digit: _Grey, shape: tuple[int, int] = (IMAGE_SIDE, IMAGE_SIDE)) -> _Grey:
    """Lay a digit, no larger than `shape`, with the middle of its box into that of an empty image.

    Returns
    -------
    uint8 of that shape
    """
    top, left = ((side - own) // 2 for side, own in zip(shape, digit.shape, strict=True))
    return _lay_at(digit, shape, top, left)


def _lay_at(digit: _Grey, shape: tuple[int, int], top: int, left: int) -> _Grey:
    image = np.zeros(shape, np.uint8)
    image[top : top + digit.shape[0], left : left + digit.shape[1]] = digit
    return image
