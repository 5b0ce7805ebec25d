"""Habits of other hands, given to digits: all turned alike, ones with an upstroke.

    turned = rotate_digits(digits, 40)
    continental = add_upstrokes(digits, share=0.3, seed=0)

A network meets such a change whenever it leaves the writers that it learnt from. Here the change is
known and can be dosed. UCI's digits (`other_sets.load_uci_digits`) are a real one; changes that
differ from digit to digit, and those of a pen or a camera, are in `corruptions`.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from mnist_lab.data.digit_set import DataError, DigitSet
from mnist_lab.data.geometry import crop_to_ink, lay_by_centre_of_mass

_ENLARGED = 4  # strokes are drawn so many times as large, for soft edges


def rotate_digits(digits: DigitSet, degrees: float) -> DigitSet:
    """Turn every digit by the same angle, counter-clockwise, about the middle of its image."""
    if not -360 <= degrees <= 360:
        raise DataError(f"degrees must lie between -360 and 360, found {degrees}.")
    images = [
        np.asarray(Image.fromarray(image).rotate(degrees, Image.Resampling.BICUBIC))
        for image in digits.images
    ]
    return replace(digits, images=np.stack(images))


def add_upstrokes(digits: DigitSet, share: float, seed: int) -> DigitSet:
    """Write a share of the ones as much of the world does: with an upstroke, and some with a foot.

    MNIST's writers went to school in the United States, and their ones are mostly bare lines. So a
    network takes an upstroke for the bar of a seven. The upstroke that is drawn here falls away
    steeply, by 28 to 68 degrees, and is at most about half as long as the one is high; a seven's
    bar is nearly level and longer. The pen is as wide as the one's own.

    Parameters
    ----------
    share : float
        0 to 1.
    seed : int
        For which ones, and for how they are drawn.
    """
    if not 0 <= share <= 1:
        raise DataError(f"share must lie between 0 and 1, found {share}.")
    if "1" not in digits.class_names:
        raise DataError("There are no ones among these classes.")
    generator = np.random.default_rng(seed)
    images = digits.images.copy()
    for place in np.flatnonzero(digits.labels == digits.class_names.index("1")):
        if generator.random() < share:
            images[place] = _with_upstroke(images[place], generator)
    return replace(digits, images=images)


def _with_upstroke(one: NDArray[np.uint8], generator: np.random.Generator) -> NDArray[np.uint8]:
    """Return a one with an upstroke, its centre of mass in the middle again."""
    rows = np.flatnonzero((one > 100).any(axis=1))
    if len(rows) < 2:
        return one
    columns = np.arange(one.shape[1])
    # The middle of its first and of its last rows, in pixels from the corner.
    head, foot = (float(np.average(columns, weights=one[part].sum(axis=0))) + 0.5
                  for part in (rows[:2], rows[-2:]))  # fmt: skip
    top, bottom = float(rows[0]), float(rows[-1] + 1)
    height = bottom - top
    pen = float(one.sum() / 255 / math.hypot(height, head - foot))
    pen = min(max(pen, 1.2), 4.0)
    drop = math.radians(generator.uniform(28, 68))
    length = height * generator.uniform(0.22, 0.55)
    start = (head, top + pen / 2)
    lines = [(start, (head - length * math.cos(drop), start[1] + length * math.sin(drop)))]
    if generator.random() < 0.25:
        reach, level = height * generator.uniform(0.15, 0.35), bottom - pen / 2
        lines.append(((foot - reach, level), (foot + reach, level + generator.uniform(-1, 1))))
    canvas = Image.new("L", (one.shape[1] * _ENLARGED, one.shape[0] * _ENLARGED))
    brush = ImageDraw.Draw(canvas)
    for line in lines:
        points = [(x * _ENLARGED, y * _ENLARGED) for x, y in line]
        brush.line(points, fill=255, width=round(pen * _ENLARGED))
        for x, y in points:  # round ends
            brush.circle((x, y), pen * _ENLARGED / 2, fill=255)
    drawn = canvas.resize((one.shape[1], one.shape[0]), Image.Resampling.BOX)
    whole = np.maximum(one, np.asarray(drawn))
    return lay_by_centre_of_mass(crop_to_ink(whole), (one.shape[0], one.shape[1]))
