"""Digits as another population would have written them: turned, or in thin strokes.

    turned = rotate_digits(digits, 40)
    thin = thin_strokes(digits, 1.0)

A network meets such a change of population whenever it leaves the writers that it learnt from. Here
the change is known and can be dosed. UCI's digits (`datasets.load_uci_digits`) are a real one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from PIL import Image, ImageFilter

from mnist_lab.datasets import DataError, DigitSet

ENLARGED = 4  # thinning works on images so many times as large, to take off parts of a pixel


def rotate_digits(digits: DigitSet, degrees: float) -> DigitSet:
    """Turn every digit by the same angle, counter-clockwise, about the middle of its image."""
    if not -360 <= degrees <= 360:
        raise DataError(f"degrees must lie between -360 and 360, found {degrees}.")
    return _change(digits, lambda image: image.rotate(degrees, Image.Resampling.BICUBIC))


def thin_strokes(digits: DigitSet, pixels: float) -> DigitSet:
    """Take `pixels` off either side of every stroke, as a finer pen would have left them.

    Each image is enlarged four times, eroded with a square, and brought back to its size. What is
    not wider than twice `pixels` disappears.

    Parameters
    ----------
    pixels : float
        0.25 to 2, in quarters of a pixel.
    """
    if not 0.25 <= pixels <= 2 or pixels * ENLARGED % 1:
        raise DataError(
            f"pixels must lie between 0.25 and 2, in quarters of a pixel, found {pixels}."
        )
    erode = ImageFilter.MinFilter(2 * round(pixels * ENLARGED) + 1)

    def thin(image: Image.Image) -> Image.Image:
        large = image.resize(
            (image.width * ENLARGED, image.height * ENLARGED), Image.Resampling.BICUBIC
        )
        return large.filter(erode).resize(image.size, Image.Resampling.BOX)

    return _change(digits, thin)


def _change(digits: DigitSet, change: Callable[[Image.Image], Image.Image]) -> DigitSet:
    """Return the same digits, each image changed by itself."""
    images = [np.asarray(change(Image.fromarray(image))) for image in digits.images]
    return replace(digits, images=np.stack(images))
