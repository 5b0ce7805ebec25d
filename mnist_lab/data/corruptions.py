"""Named changes of digits, each with a dose: what a network must put up with outside MNIST.

    thin = corrupt(digits, "thin")              # with its usual dose
    blurred = corrupt(digits, "blur", dose=2.0, seed=3)
    for name, corruption in CORRUPTIONS.items():
        print(name, corruption.dose, corruption.unit, corruption.meaning)

They are for measuring, not for training: `training.augmentation` draws its own changes, in other
ways. The same digits, name, dose and seed give the same images.

They are mostly what other writers, pens and scanners do; each has a dose with a unit, and can be
laid on any digits: on validation images, where choices are made. The field's own collection of such
changes, MNIST-C, is in `mnist_c`: `corrupt(digits, "fog", among=MNIST_C)`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from scipy import ndimage

from mnist_lab.data.digit_set import DataError, DigitSet
from mnist_lab.data.geometry import DIGIT_BOX, crop_to_ink, lay_in_the_middle
from mnist_lab.data.habits import rotate_digits

_Images = NDArray[np.uint8]  # (n, height, width), 0 is paper
_Change = Callable[[DigitSet, float, np.random.Generator], _Images]

_ENLARGED = 4  # thinning works on images so many times as large, to take off parts of a pixel
_COARSE = 16  # pixels of a side of the coarse images that `binary` makes
_ELASTIC_SMOOTHNESS = 4.0  # pixels: standard deviation of the Gaussian that smooths displacements


@dataclass(frozen=True)
class Corruption:
    """One way to change digits.

    Attributes
    ----------
    dose : float
        The usual dose: clearly visible, and by our judgement still readable for a person.
    least, most : float
        The doses that it takes.
    unit : str
        Of the dose.
    meaning : str
        What it does, in a few words.
    change : callable
        From digits, dose and generator to the changed images.
    """

    dose: float
    least: float
    most: float
    unit: str
    meaning: str
    change: _Change


def corrupt(
    digits: DigitSet,
    name: str,
    dose: float | None = None,
    *,
    seed: int = 0,
    among: Mapping[str, Corruption] | None = None,
) -> DigitSet:
    """Return the same digits, changed.

    Parameters
    ----------
    name : str
        A key of `CORRUPTIONS`, or of the corruptions that are named.
    dose : float, optional
        In the corruption's unit; left out, its usual dose.
    seed : int
        For what differs from digit to digit.
    among : mapping, optional
        Other corruptions by name, such as `MNIST_C`.

    Raises
    ------
    DataError
        If there is no such corruption or it does not take the dose.
    """
    known = CORRUPTIONS if among is None else among
    corruption = known.get(name)
    if corruption is None:
        raise DataError(f"No corruption {name!r}: choose one of {', '.join(known)}.")
    dose = corruption.dose if dose is None else dose
    if not corruption.least <= dose <= corruption.most:
        raise DataError(
            f"{name} takes {corruption.least:g} to {corruption.most:g} {corruption.unit}, "
            f"found {dose:g}."
        )
    return replace(digits, images=corruption.change(digits, dose, np.random.default_rng(seed)))


# --- Where the digit is, how large, how it leans -------------------------------------------------


def _either(one: _Images, other: _Images, generator: np.random.Generator) -> _Images:
    """Return images of the one and the other array, at random."""
    first = generator.random(len(one)) < 0.5
    return np.where(first[:, None, None], one, other)


def _shift(digits: DigitSet, pixels: float, generator: np.random.Generator) -> _Images:
    angles = generator.uniform(0, 2 * math.pi, len(digits))
    offsets = np.stack([np.sin(angles), np.cos(angles)], 1) * pixels
    pairs = zip(digits.images, offsets, strict=True)
    return as_bytes([ndimage.shift(image.astype(float), by, order=1) for image, by in pairs])


def _turn(digits: DigitSet, degrees: float, generator: np.random.Generator) -> _Images:
    one, other = (rotate_digits(digits, sign * degrees).images for sign in (1, -1))
    return _either(one, other, generator)


def _slant(digits: DigitSet, degrees: float, generator: np.random.Generator) -> _Images:
    slope = math.tan(math.radians(degrees))
    middle = (digits.images.shape[1] - 1) / 2

    def slanted(image: _Images, slope: float) -> NDArray[np.float64]:
        matrix, offset = [[1, 0], [slope, 1]], [0, -slope * middle]
        result: NDArray[np.float64] = ndimage.affine_transform(
            image.astype(float), matrix, offset, order=1
        )
        return result

    one, other = (
        as_bytes([slanted(image, sign * slope) for image in digits.images]) for sign in (1, -1)
    )
    return _either(one, other, generator)


def _resize(image: _Images, width: int, height: int) -> _Images:
    """Resize one image; smooth where it shrinks."""
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))


def _stretch_about_middle(digits: DigitSet, across: float, down: float) -> _Images:
    """Scale every image about its middle and cut it, or fill it up, to the size it had."""
    _, height, width = digits.images.shape
    new_height, new_width = (
        # As even or odd as before, so that the middle stays where it is.
        size + 2 * round((size * factor - size) / 2)
        for size, factor in ((height, down), (width, across))
    )
    margins = [max(0, old - new) // 2 for old, new in ((height, new_height), (width, new_width))]
    cuts = [max(0, new - old) // 2 for old, new in ((height, new_height), (width, new_width))]
    result = np.zeros_like(digits.images)
    for place, image in zip(result, digits.images, strict=True):
        scaled = _resize(image, new_width, new_height)
        seen = scaled[cuts[0] : cuts[0] + height, cuts[1] : cuts[1] + width]
        place[
            margins[0] : margins[0] + seen.shape[0], margins[1] : margins[1] + seen.shape[1]
        ] = seen  # fmt: skip
    return result


def _scale(digits: DigitSet, factor: float, _: np.random.Generator) -> _Images:
    return _stretch_about_middle(digits, factor, factor)


def _narrow(digits: DigitSet, factor: float, _: np.random.Generator) -> _Images:
    return _stretch_about_middle(digits, factor, 1)


def _flatten(digits: DigitSet, factor: float, _: np.random.Generator) -> _Images:
    return _stretch_about_middle(digits, 1, factor)


def _fill_box(digits: DigitSet, share: float, _: np.random.Generator) -> _Images:
    def fill(image: _Images) -> _Images:
        digit = crop_to_ink(image)
        # On a logarithmic scale, that share of the way from its own shape to the square.
        height, width = (
            round(side * (DIGIT_BOX / side) ** share) if share < 1 else DIGIT_BOX
            for side in digit.shape
        )
        return lay_in_the_middle(_resize(digit, width, height), _shape(image))

    return np.stack([fill(image) for image in digits.images])


# --- The pen -------------------------------------------------------------------------------------


def _erode(images: _Images, pixels: float) -> _Images:
    """Take `pixels` off either side of what is bright; what is not twice as wide disappears.

    Each image is enlarged, eroded with a square, and brought back to its size.
    """
    if pixels * _ENLARGED % 1:
        raise DataError(f"A stroke is changed by quarters of a pixel, found {pixels:g}.")
    erode = ImageFilter.MinFilter(2 * round(pixels * _ENLARGED) + 1)

    def eroded(image: _Images) -> _Images:
        height, width = image.shape
        large = _resize(image, width * _ENLARGED, height * _ENLARGED)
        finer = Image.fromarray(large).filter(erode)
        return np.asarray(finer.resize((width, height), Image.Resampling.BOX))

    return np.stack([eroded(image) for image in images])


def _thin(digits: DigitSet, pixels: float, _: np.random.Generator) -> _Images:
    return _erode(digits.images, pixels)


def _thick(digits: DigitSet, pixels: float, _: np.random.Generator) -> _Images:
    # What is taken off the paper is given to the ink.
    widened: _Images = 255 - _erode(255 - digits.images, pixels)
    return widened


def _elastic(digits: DigitSet, pixels: float, generator: np.random.Generator) -> _Images:
    height, width = _shape(digits.images[0])
    rows, columns = np.mgrid[:height, :width].astype(float)

    def bend(image: _Images) -> NDArray[np.float64]:
        noise = generator.uniform(-1, 1, (2, height, width))
        field = np.stack([ndimage.gaussian_filter(part, _ELASTIC_SMOOTHNESS) for part in noise])
        field *= pixels / np.sqrt((field**2).sum(axis=0).mean())
        places = np.stack([rows, columns]) + field
        result: NDArray[np.float64] = ndimage.map_coordinates(image.astype(float), places, order=1)
        return result

    return as_bytes([bend(image) for image in digits.images])


# --- The camera and the scanner ------------------------------------------------------------------


def _noise(digits: DigitSet, deviation: float, generator: np.random.Generator) -> _Images:
    return as_bytes(digits.images + generator.normal(0, deviation, digits.images.shape))


def _blur(digits: DigitSet, pixels: float, _: np.random.Generator) -> _Images:
    return as_bytes([ndimage.gaussian_filter(i.astype(float), pixels) for i in digits.images])


def _fade(digits: DigitSet, factor: float, _: np.random.Generator) -> _Images:
    return as_bytes(digits.images * factor)


def _binarise(digits: DigitSet, level: float, *, keep_aspect: bool) -> _Images:
    def binary(image: _Images) -> _Images:
        digit = crop_to_ink(image)
        height, width = digit.shape if keep_aspect else (1, 1)
        longer = max(height, width)
        coarse = _resize(
            digit, max(1, round(_COARSE * width / longer)), max(1, round(_COARSE * height / longer))
        )
        inked = np.where(coarse >= level * coarse.max(initial=1), 255, 0).astype(np.uint8)
        height, width = (round(side * DIGIT_BOX / _COARSE) for side in inked.shape)
        return lay_in_the_middle(_resize(inked, width, height), _shape(image))

    return np.stack([binary(image) for image in digits.images])


def _binary(digits: DigitSet, level: float, _: np.random.Generator) -> _Images:
    return _binarise(digits, level, keep_aspect=True)


def _binary_stretched(digits: DigitSet, level: float, _: np.random.Generator) -> _Images:
    return _binarise(digits, level, keep_aspect=False)


def _shape(image: _Images) -> tuple[int, int]:
    height, width = image.shape
    return height, width


def as_bytes(images: Sequence[NDArray[Any]] | NDArray[Any]) -> _Images:
    """Return grey values, rounded and cut off at 0 and 255, as uint8."""
    return np.asarray(images).round().clip(0, 255).astype(np.uint8)


CORRUPTIONS = {
    "shift": Corruption(3, 0, 14, "pixels", "moved in a random direction", _shift),
    "smaller": Corruption(0.65, 0.1, 1, "times the size", "smaller", _scale),
    "larger": Corruption(1.3, 1, 3, "times the size", "larger", _scale),
    "turn": Corruption(20, 0, 360, "degrees", "turned to either side", _turn),
    "slant": Corruption(25, 0, 60, "degrees", "slanted to either side", _slant),
    "narrow": Corruption(0.6, 0.1, 3, "times the width", "narrower at the same height", _narrow),
    "flat": Corruption(0.6, 0.1, 3, "times the height", "flatter at the same width", _flatten),
    "fill": Corruption(
        1, 0, 1, "of the way", "stretched until it fills a square of 20 pixels", _fill_box
    ),
    "thin": Corruption(0.75, 0.25, 2, "pixels", "either side of a stroke loses", _thin),
    "thick": Corruption(1, 0.25, 2, "pixels", "either side of a stroke gains", _thick),
    "elastic": Corruption(1.5, 0, 5, "pixels", "every point moved, neighbours alike", _elastic),
    "noise": Corruption(60, 0, 255, "grey values", "Gaussian noise added to pixels", _noise),
    "blur": Corruption(1.5, 0, 5, "pixels", "blurred with a Gaussian", _blur),
    "faint": Corruption(0.3, 0.02, 1, "times the ink", "fainter", _fade),
    "binary": Corruption(
        0.5, 0.1, 0.9, "of full ink", "16x16 pixels, black or white, brought back", _binary
    ),
    "binary_fill": Corruption(
        0.5, 0.1, 0.9, "of full ink", "stretched to fill 16x16, black or white", _binary_stretched
    ),
}  # fmt: skip
