"""From a picture of a digit to the 28x28 image that MNIST would have made of it.

    found = read_digit("seven.jpg")
    found.image, found.box                  # uint8 (28, 28), ink on 0; (left, top, right, bottom)

MNIST's makers fitted each digit into a box of 20x20 pixels, kept its aspect, smoothed it as they
shrank it, and laid its centre of mass into the middle of 28x28 (LeCun et al. 1998, section III.A).
This module does the same for one digit in a photo, scan or drawing: dark ink on light paper or the
reverse, any size, with or without an alpha channel.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from mnist_lab.datasets import paste_by_centre_of_mass

SIZE = 28  # pixels of a side of the result
DIGIT_BOX = 20  # pixels that the longer side of the digit gets
MAX_PIXELS = 100_000_000  # a larger picture is refused, not loaded
WORKING_SIDE = 1_000  # pixels; a longer side is shrunk first: a digit needs no more
FAINTEST_INK = 32  # of 255; below this contrast with the paper there is nothing to read
INK_SHARE = 0.35  # of the darkest ink; what is fainter is paper grain, shadow or JPEG noise


class HandwritingError(ValueError):
    """A picture that holds no readable digit; the message is one sentence."""


@dataclass(frozen=True)
class FoundDigit:
    """A digit as MNIST would have it, and where it was.

    Attributes
    ----------
    image : uint8 (28, 28)
        0 is paper, 255 is full ink.
    box : (int, int, int, int)
        Left, top, right and bottom in pixels of the picture; right and bottom are exclusive.
    """

    image: NDArray[np.uint8]
    box: tuple[int, int, int, int]


def read_digit(path: str | Path) -> FoundDigit:
    """Read the one digit in a picture file.

    Raises
    ------
    HandwritingError
        If the file is no image, is too large, or shows no ink.
    """
    return find_digit(_load_grey(Path(path)), str(path))


def read_digit_image(path: str | Path) -> NDArray[np.uint8]:
    """Read the one digit in a picture file: uint8 (28, 28), for `datasets.load_image_folder`."""
    return read_digit(path).image


def find_digit(grey: NDArray[np.uint8], name: str = "the picture") -> FoundDigit:
    """Find the one digit in grey values, uint8 (height, width), light or dark paper.

    Raises
    ------
    HandwritingError
        If there is no ink; the message calls the picture `name`.
    """
    if grey.size == 0:
        raise HandwritingError(f"{name} shows no digit: it has no pixels.")
    ink, shrinkage = _ink_of(grey)
    peak = int(ink.max(initial=0))
    if peak < FAINTEST_INK:
        raise HandwritingError(f"{name} shows no digit: nothing stands out from the paper.")
    ink = np.where(ink >= INK_SHARE * peak, ink, 0)
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    left, right = int(columns[0]), int(columns[-1]) + 1
    digit = (ink[top:bottom, left:right] * (255 / peak)).round().astype(np.uint8)
    box = tuple(round(edge * shrinkage) for edge in (left, top, right, bottom))
    return FoundDigit(fit_like_mnist(digit), (box[0], box[1], box[2], box[3]))


def fit_like_mnist(digit: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Fit a digit, cropped to its ink, into 20x20, and its centre of mass into that of 28x28."""
    height, width = digit.shape
    scale = DIGIT_BOX / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    # A box filter averages what it shrinks, and so leaves the grey edges that MNIST has.
    filter_ = Image.Resampling.BOX if scale < 1 else Image.Resampling.BICUBIC
    small = np.asarray(Image.fromarray(digit).resize(size, filter_))
    if scale < 1:  # a line thinner than a pixel of the result is as black as any other
        small = (small * (255 / max(1, int(small.max())))).round().astype(np.uint8)
    canvas = np.zeros((SIZE, SIZE), np.uint8)
    paste_by_centre_of_mass(canvas, small)
    return canvas


def _load_grey(path: Path) -> NDArray[np.uint8]:
    """Load a picture as grey values, upright, transparency laid on white."""
    try:
        if path.is_dir():
            raise HandwritingError(f"{path} is a folder; an image file is expected.")
        with Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                raise HandwritingError(
                    f"{path} has {image.width}x{image.height} pixels; at most "
                    f"{MAX_PIXELS // 1_000_000} million can be read."
                )
            upright = ImageOps.exif_transpose(image)
            if upright.mode.startswith("I"):
                return _to_8_bits(np.asarray(upright, np.float64))
            if upright.mode == "F":
                return _stretch(np.asarray(upright, np.float64))
            if upright.has_transparency_data:
                upright = upright.convert("RGBA")
                paper = Image.new("RGBA", upright.size, "white")
                upright = Image.alpha_composite(paper, upright)
            return np.asarray(upright.convert("L"))
    except FileNotFoundError as error:
        raise HandwritingError(f"{path} does not exist.") from error
    except UnidentifiedImageError as error:
        raise HandwritingError(f"{path} is no image that can be read.") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise HandwritingError(f"{path} is too large: {error}") from error
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        if isinstance(error, HandwritingError):
            raise
        raise HandwritingError(f"{path} cannot be read as an image: {error}.") from error


def _to_8_bits(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Bring whole numbers to 0 to 255; the highest tells whether they have 8, 12 or 16 bits."""
    bits = max(8, int(values.max(initial=0)).bit_length())
    return (values.clip(0) * (255 / (2**bits - 1))).round().astype(np.uint8)


def _stretch(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Bring floats to 0 to 255, whatever their range; what is not finite counts as 0."""
    values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    return ((values - low) * (255 / max(high - low, 1e-9))).round().astype(np.uint8)


def _ink_of(grey: NDArray[np.uint8]) -> tuple[NDArray[np.float64], float]:
    """Return ink on 0, shrunk to a working size, and by how much it was shrunk.

    The paper is what the rim of the picture shows; ink is what differs from it, whichever of the
    two is darker.
    """
    image = Image.fromarray(grey)
    shrinkage = max(1.0, max(image.size) / WORKING_SIDE)
    if shrinkage > 1:
        size = tuple(max(1, round(side / shrinkage)) for side in image.size)
        image = image.resize((size[0], size[1]), Image.Resampling.BOX)
    values = np.asarray(image, np.float64)
    rim = np.concatenate([values[0], values[-1], values[:, 0], values[:, -1]])
    paper = float(np.median(rim))
    darker, lighter = paper - values.min(), values.max() - paper
    ink = paper - values if darker >= lighter else values - paper
    return ink.clip(0), shrinkage
