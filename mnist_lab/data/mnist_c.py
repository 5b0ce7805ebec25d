"""The fifteen corruptions of MNIST-C, each with its dose: changes that just happen to pictures.

    foggy = corrupt(digits, "fog", among=MNIST_C)                   # with the dose of MNIST-C
    noisy = corrupt(digits, "impulse_noise", 0.3, seed=3, among=MNIST_C)
    for name, corruption in MNIST_C.items():
        print(name, corruption.dose, corruption.unit, corruption.meaning)

MNIST-C is the test set of MNIST under each of them, once. Here they can be laid on any digits, and
are written anew after the code that made it, with its severities as the usual doses. They draw
other random numbers, so images are alike and not the same. Fog is cut from maps that several digits
share, and all is rounded to grey levels.

Source: Mu and Gilmer 2019, "MNIST-C: A Robustness Benchmark for Computer Vision", and its code,
https://github.com/google-research/mnist-c.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage import feature

from mnist_lab.data.corruptions import Corruption, as_bytes
from mnist_lab.data.digit_set import DigitSet

_Images = NDArray[np.uint8]  # (n, height, width), 0 is paper
_Shares = NDArray[np.float64]  # the same from 0 to 1

_GLASS_BLUR = 0.7  # pixels: before the swaps, and after
_FOG_SIDE, _FOG_DECAY = 256, 1.4  # pixels of a map of fog; how much less each finer detail weighs
_DIGITS_A_MAP = 50
_DROP_SPREAD, _DROP_BLUR, _DROP_EDGE, _DROP_FULL = 0.3, 1.0, 1.5, 0.8
_DROP_INK = 63 / 255
_REACH = 2.3  # pixels above and below a line that have some of its ink
_ZIG = 2.0  # pixels: half of the way from one tooth to the next


def _shares(digits: DigitSet) -> _Shares:
    return digits.images / 255


def _signs(count: int, generator: np.random.Generator) -> NDArray[np.float64]:
    return generator.choice([-1.0, 1.0], count)


# --- Noise and light -----------------------------------------------------------------------------


def _shot_noise(digits: DigitSet, most: float, generator: np.random.Generator) -> _Images:
    return as_bytes(255 * generator.poisson(most * _shares(digits)) / most)


def _impulse_noise(digits: DigitSet, share: float, generator: np.random.Generator) -> _Images:
    hit = generator.random(digits.images.shape) < share
    white_or_black = 255 * generator.integers(0, 2, digits.images.shape)
    return np.where(hit, white_or_black, digits.images).astype(np.uint8)


def _brightness(digits: DigitSet, added: float, _: np.random.Generator) -> _Images:
    return as_bytes(digits.images + 255 * added)


def _draw_fog(generator: np.random.Generator) -> _Shares:
    """Return a map of fog from 0 to 1, by midpoints: squares, then diamonds, ever finer."""
    fog, size = np.zeros((_FOG_SIDE, _FOG_SIDE)), 100.0
    step = _FOG_SIDE
    while step >= 2:
        half = step // 2
        size_squared = size**2

        def middle(of: _Shares, spread: float = size_squared) -> _Shares:
            return of / 4 + generator.uniform(-spread, spread, of.shape)

        corners = fog[::step, ::step]
        beside = corners + np.roll(corners, -1, 0)
        fog[half::step, half::step] = middle(beside + np.roll(beside, -1, 1))
        centres = fog[half::step, half::step]
        across = corners + np.roll(corners, -1, 1)
        fog[::step, half::step] = middle(centres + np.roll(centres, 1, 0) + across)
        down = corners + np.roll(corners, -1, 0)
        fog[half::step, ::step] = middle(centres + np.roll(centres, 1, 1) + down)
        step, size = half, size / _FOG_DECAY
    fog -= fog.min()
    thick: _Shares = fog / fog.max()
    return thick


def _fog(digits: DigitSet, thickness: float, generator: np.random.Generator) -> _Images:
    height, width = digits.images.shape[1:]
    foggy = np.empty(digits.images.shape)
    for number, image in enumerate(_shares(digits)):
        if number % _DIGITS_A_MAP == 0:
            fog = _draw_fog(generator)
        top = generator.integers(_FOG_SIDE - height + 1)
        left = generator.integers(_FOG_SIDE - width + 1)
        most = image.max()
        seen = image + thickness * fog[top : top + height, left : left + width]
        foggy[number] = seen * most / (most + thickness) if most else image
    return as_bytes(255 * foggy)


def _spatter(digits: DigitSet, level: float, generator: np.random.Generator) -> _Images:
    noise = generator.normal(0.65, _DROP_SPREAD, digits.images.shape)
    wet = ndimage.gaussian_filter(noise, (0, _DROP_BLUR, _DROP_BLUR), mode="nearest") > level
    drops = ndimage.gaussian_filter(wet.astype(float), (0, _DROP_EDGE, _DROP_EDGE), mode="nearest")
    drops[drops < _DROP_FULL] = 0
    return as_bytes(255 * (_shares(digits) * (1 - drops) + _DROP_INK * drops))


# --- What blurs ----------------------------------------------------------------------------------


def _glass_blur(digits: DigitSet, rounds: float, generator: np.random.Generator) -> _Images:
    width = (0, _GLASS_BLUR, _GLASS_BLUR)
    images = ndimage.gaussian_filter(_shares(digits), width, mode="nearest")
    count, height, across = images.shape
    every = np.arange(count)
    for _ in range(round(rounds)):
        for row in range(height - 1, 1, -1):
            for column in range(across - 1, 1, -1):
                swapped = generator.random(count) < 0.5
                up, left = -generator.integers(0, 2, (2, count)) * swapped
                other = (every, row + up, column + left)
                images[:, row, column], images[other] = images[other], images[:, row, column].copy()
    return as_bytes(255 * ndimage.gaussian_filter(images, width, mode="nearest"))


def _motion_blur(digits: DigitSet, pixels: float, generator: np.random.Generator) -> _Images:
    count, height, width = digits.images.shape
    angles = np.radians(generator.uniform(-45, 45, count))[:, None, None]
    rows, columns = np.arange(height)[:, None], np.arange(width)
    every = np.arange(count)[:, None, None]
    blurred, weights = np.zeros(digits.images.shape), 0.0
    for far in range(math.ceil(3 * pixels) + 1):
        weight = math.exp(-(far**2) / (2 * pixels**2))
        row = np.clip(rows + np.rint(far * np.sin(angles)).astype(int), 0, height - 1)
        column = np.clip(columns + np.rint(far * np.cos(angles)).astype(int), 0, width - 1)
        blurred += weight * digits.images[every, row, column]
        weights += weight
    return as_bytes(blurred / weights)


def _canny_edges(digits: DigitSet, pixels: float, _: np.random.Generator) -> _Images:
    return as_bytes([255 * feature.canny(image, sigma=pixels) for image in _shares(digits)])


# --- Where the digit is, and how it leans --------------------------------------------------------


def _warp(
    digits: DigitSet, matrices: NDArray[np.float64], shifts: NDArray[np.float64] | None = None
) -> _Images:
    """Look up each place, (row, column) from the middle, at `matrix @ place + shift`."""
    middle = (np.array(digits.images.shape[1:]) - 1) / 2
    shifts = np.zeros((len(digits), 2)) if shifts is None else shifts
    warped = [
        ndimage.affine_transform(image, matrix, middle - matrix @ middle + shift, order=1)
        for image, matrix, shift in zip(_shares(digits), matrices, shifts, strict=True)
    ]
    return as_bytes(255 * np.stack(warped))


def _shear(digits: DigitSet, radians: float, generator: np.random.Generator) -> _Images:
    matrices = np.tile(np.eye(2), (len(digits), 1, 1))
    matrices[:, 1, 0] = math.tan(radians) * _signs(len(digits), generator)
    return _warp(digits, matrices)


def _rotate(digits: DigitSet, radians: float, generator: np.random.Generator) -> _Images:
    sines = math.sin(radians) * _signs(len(digits), generator)
    cosines = np.full(len(digits), math.cos(radians))
    matrices = np.array([[cosines, -sines], [sines, cosines]]).transpose(2, 0, 1)
    return _warp(digits, matrices)


def _scale(digits: DigitSet, factor: float, _: np.random.Generator) -> _Images:
    return _warp(digits, np.tile(np.eye(2) / factor, (len(digits), 1, 1)))


def _translate(digits: DigitSet, pixels: float, generator: np.random.Generator) -> _Images:
    shifts = pixels * _signs(2 * len(digits), generator).reshape(-1, 2)
    return _warp(digits, np.tile(np.eye(2), (len(digits), 1, 1)), shifts)


# --- What is drawn over it -----------------------------------------------------------------------


def _stripe(digits: DigitSet, pixels: float, _: np.random.Generator) -> _Images:
    images, wide = digits.images.copy(), round(pixels)
    width = images.shape[2]
    for columns in (slice(0, wide), slice(width - wide, width)):
        images[:, :, columns] = 255 - images[:, :, columns]
    return images


def _draw_line(
    start: Sequence[float] | _Shares, end: Sequence[float] | _Shares, height: int, width: int
) -> _Shares:
    """Draw a line from a point (column, row) to one on its right: ink from 0 to 1."""
    (left, top), (right, bottom) = start, end
    if right == left:
        return np.zeros((height, width))
    columns, rows = np.arange(width), np.arange(height)[:, None]
    on_line = top + (bottom - top) / (right - left) * (columns - left)
    away = np.minimum(np.abs(rows - on_line), _REACH - 1e-10)
    ink = np.clip(np.log(1 - away / _REACH) + 1, 0, 1)
    ink[:, (columns < math.floor(left)) | (columns >= math.ceil(right))] = 0
    return ink


def _dotted_line(digits: DigitSet, ink: float, generator: np.random.Generator) -> _Images:
    height, width = digits.images.shape[1:]
    dots = np.arange(width) // 2 % 2 == 1  # two columns without ink, two with
    lines = np.empty(digits.images.shape)
    for line in lines:
        top, bottom = generator.integers(0, height - 1, 2)
        line[:] = _draw_line((0, top), (width - 1, bottom), height, width) * dots
    return as_bytes(digits.images + 255 * ink * lines)


def _draw_zigzag(size: float, height: int, width: int, generator: np.random.Generator) -> _Shares:
    first, last = 2, width - 3
    top = generator.integers(0, height - 1)
    bottom = top + generator.integers(-5, 5)
    angle = math.atan((bottom - top) / (last - first))
    long = (last - first) / math.cos(angle)
    teeth = [(0.0, 0.0)]
    teeth += [
        ((2 * k + 1) * _ZIG, (-1) ** k * size) for k in range(int((long - _ZIG) / (2 * _ZIG)) + 1)
    ]
    teeth.append((long, 0.0))
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    points = (turn @ np.array(teeth).T).T + np.array([first, top])
    ink = np.zeros((height, width))
    for one, other in pairwise(points):
        ink = np.minimum(ink + _draw_line(one, other, height, width), 1)
    return ink


def _zigzag(digits: DigitSet, size: float, generator: np.random.Generator) -> _Images:
    height, width = digits.images.shape[1:]
    drawn = [_draw_zigzag(size, height, width, generator) for _ in range(len(digits))]
    return as_bytes(digits.images + 255 * np.stack(drawn))


MNIST_C = {
    "shot_noise": Corruption(
        3, 1, 1_000, "grains at full ink", "as of a photo in the dark", _shot_noise
    ),
    "impulse_noise": Corruption(0.17, 0, 1, "of the pixels", "black or white", _impulse_noise),
    "glass_blur": Corruption(2, 0, 5, "rounds", "neighbours swapped, and blurred", _glass_blur),
    "motion_blur": Corruption(3, 0.3, 10, "pixels", "blurred to one side", _motion_blur),
    "shear": Corruption(0.4, 0, 1, "radians", "slanted to either side", _shear),
    "scale": Corruption(0.7, 0.3, 2, "times the size", "smaller", _scale),
    "rotate": Corruption(0.4, 0, math.pi, "radians", "turned to either side", _rotate),
    "brightness": Corruption(0.5, 0, 1, "of full ink", "added everywhere", _brightness),
    "translate": Corruption(3, 0, 14, "pixels", "moved both ways", _translate),
    "stripe": Corruption(7, 0, 14, "columns", "turned to their negative on either side", _stripe),
    "fog": Corruption(3, 0, 5, "times full ink", "fog before it", _fog),
    "spatter": Corruption(
        0.65, 0.5, 1.5, "the level of a drop", "drops that cover it with grey", _spatter
    ),
    "dotted_line": Corruption(1, 0, 1, "of full ink", "a dotted line across", _dotted_line),
    "zigzag": Corruption(2, 0, 5, "pixels", "a zigzag across, so high", _zigzag),
    "canny_edges": Corruption(
        1, 0.3, 3, "pixels", "edges alone, as Canny finds them", _canny_edges
    ),
}  # fmt: skip
"""By the names that MNIST-C has for them, in its order."""
