"""Pictures that several test modules take: digits enlarged, pages of them, simulated photos."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mnist_lab.data.digit_set import DigitSet
from mnist_lab.handwriting.simulated_pages import Conditions, Photo, photograph

# Mean absolute difference to the original, as a share of the grey range. Two different digits of
# MNIST differ by 0.16; a digit laid one pixel aside differs from itself by 0.06; enlarged ten times
# and read again it differs by 0.023 on average over 200 digits, 0.054 for one in twenty.
CLOSE_ON_AVERAGE = 0.03
CLOSE = 0.1

Grey = NDArray[np.uint8]


def difference(one: Grey, other: Grey) -> float:
    return float(np.abs(one.astype(float) - other).mean() / 255)


def enlarge(image: Grey, times: int = 10) -> Grey:
    side = 28 * times
    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC))


@dataclass(frozen=True)
class Page:
    """A made-up photo: MNIST's digits in lines, and what a camera and paper add to them."""

    grey: Grey
    indices: list[int]  # of the digits, in reading order
    boxes: list[tuple[int, int, int, int]]  # of their ink


def make_page(
    digits: Grey, rows: int, columns: int, *, shadow: bool = False, ruled: bool = False,
    noise: float = 0.0, slope: float = 0.0, white_on_black: bool = False, seed: int = 0,
) -> Page:  # fmt: skip
    """Lay `rows * columns` of the digits on paper, each three times as large."""
    generator = np.random.default_rng(seed)
    cell, rim = 84, 40
    height, width = rows * cell + 2 * rim, columns * cell + 2 * rim
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    light = np.ones((height, width))
    if shadow:  # light from the left, and the edge of a hand's shadow across the page
        light = 1 - 0.4 * x + 0.1 * y * y
        light[y + 0.3 * x > 0.8] -= 0.2
    paper = np.full((height, width), 0.85)
    if ruled:
        for start in range(rim, height, cell // 2):
            line = start + np.round(np.arange(width) * np.tan(np.radians(1))).astype(int)
            for thickness in (0, 1):
                inside = line + thickness < height
                paper[line[inside] + thickness, np.flatnonzero(inside)] = 0.6
    ink = np.zeros((height, width))
    indices, boxes = [], []
    for row in range(rows):
        for column in range(columns):
            index = int(generator.integers(len(digits)))
            large = enlarge(digits[index], 3) / 255
            top = rim + row * cell + int(generator.integers(-8, 8)) + round(slope * column * cell)
            left = rim + column * cell + int(generator.integers(-3, 3))
            place = ink[top : top + cell, left : left + cell]
            np.maximum(place, large, out=place)
            dark = large > 0.4
            if not dark.any():
                continue
            down, across = np.flatnonzero(dark.any(axis=1)), np.flatnonzero(dark.any(axis=0))
            indices.append(index)
            boxes.append(
                (left + across[0], top + down[0], left + across[-1] + 1, top + down[-1] + 1)
            )
    values = 255 * light * (paper * (1 - ink) + 0.15 * ink)
    if white_on_black:
        values = 255 - values
    grey = (values + generator.normal(0, noise, values.shape)).clip(0, 255).astype(np.uint8)
    return Page(grey, indices, boxes)


def make_photo(images: Grey, conditions: Conditions, seed: int = 0, shape: Any = (1, 1)) -> Photo:
    labels = np.zeros(len(images), np.int64)
    return photograph(DigitSet(images, labels), *shape, conditions, seed)
