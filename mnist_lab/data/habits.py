"""Habits of other hands, given to digits: all turned alike, ones with an upstroke, crossed sevens.

    turned = rotate_digits(digits, 40)
    continental = add_upstrokes(digits, share=0.3, seed=0)
    others = add_habits(digits, share=0.3, seed=0)      # of fours, sevens and nines

A network meets such a change whenever it leaves the writers that it learnt from. Here the change is
known and can be dosed. UCI's digits (`other_sets.load_uci_digits`) are a real one; changes that
differ from digit to digit, and those of a pen or a camera, are in `corruptions`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from mnist_lab.data.digit_set import DataError, DigitSet
from mnist_lab.data.geometry import (
    DIGIT_BOX,
    crop_to_ink,
    lay_by_centre_of_mass,
    resize_longer_side,
)

_Grey = NDArray[np.uint8]  # (height, width), 0 is paper
_Line = Sequence[tuple[float, float]]  # its points, x and y
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


def _check_share(share: float) -> None:
    if not 0 <= share <= 1:
        raise DataError(f"share must lie between 0 and 1, found {share}.")


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
    _check_share(share)
    if "1" not in digits.class_names:
        raise DataError("There are no ones among these classes.")
    generator = np.random.default_rng(seed)
    images = digits.images.copy()
    for place in np.flatnonzero(digits.labels == digits.class_names.index("1")):
        if generator.random() < share:
            images[place] = _with_upstroke(images[place], generator)
    return replace(digits, images=images)


def _with_upstroke(one: _Grey, generator: np.random.Generator) -> _Grey:
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
    return _add_strokes(one, lines, pen)


def _add_strokes(digit: _Grey, lines: Sequence[_Line], pen: float) -> _Grey:
    """Return a digit with lines drawn into it, its centre of mass in the middle again.

    Lines go from point to point, (x, y) in pixels from the image's corner; a pen is round and
    `pen` pixels wide.
    """
    canvas = Image.new("L", (digit.shape[1] * _ENLARGED, digit.shape[0] * _ENLARGED))
    brush = ImageDraw.Draw(canvas)
    for line in lines:
        points = [(x * _ENLARGED, y * _ENLARGED) for x, y in line]
        brush.line(points, fill=255, width=round(pen * _ENLARGED), joint="curve")
        for x, y in points:  # round ends
            brush.circle((x, y), pen * _ENLARGED / 2, fill=255)
    drawn = canvas.resize((digit.shape[1], digit.shape[0]), Image.Resampling.BOX)
    whole = crop_to_ink(np.maximum(digit, np.asarray(drawn)))
    return lay_by_centre_of_mass(whole, (digit.shape[0], digit.shape[1]))


# --- Ones, fours, sevens and nines ---------------------------------------------------------------


def add_habits(digits: DigitSet, share: float, seed: int) -> DigitSet:
    """Write a share of the ones, fours, sevens and nines as other schools teach them.

    A third of these ones get a foot, longer than those of `add_upstrokes`, and mostly an upstroke
    too. A 7 gets a bar across its stem, a hook at the left end of its top, or both; a 9 a tail that
    curls to the left; a 4 a bar that runs on to the right, or it is drawn anew, closed, on the
    stem of a 1: its point is where a network takes it for a 9. The pen is as wide as the digit's
    own.

    Parameters
    ----------
    share : float
        0 to 1.
    seed : int
        For which digits, and for how they are drawn.
    """
    _check_share(share)
    if not _HABITS.keys() & set(digits.class_names):
        raise DataError("There are no ones, fours, sevens or nines among these classes.")
    generator = np.random.default_rng(seed)
    images = digits.images.copy()
    names = np.array(digits.class_names)[digits.labels]
    stems = [image for image in digits.images[names == "1"] if _is_plain(image)]
    for place in np.flatnonzero(np.isin(names, list(_HABITS))):
        if generator.random() >= share:
            continue
        digit = images[place]
        if names[place] == "4" and stems and generator.random() < _CLOSED:
            images[place] = _close(stems[generator.integers(len(stems))], generator)
        elif names[place] == "1" and generator.random() > _FOOTED:
            continue
        elif _find_height(digit)[1] > 0:
            images[place] = _HABITS[names[place]](digit, generator)
    return replace(digits, images=images)


_CLOSED = 0.5  # of the fours that are written otherwise are closed, the others' bar runs on
_FOOTED = 1 / 3  # of the ones: the others stay as they are
_INK = 100  # of 255: what is darker belongs to a stroke


def _find_height(digit: _Grey) -> tuple[int, int]:
    """Return the first row with ink, and how many rows there are to the last."""
    rows = np.flatnonzero((digit > _INK).any(axis=1))
    return (int(rows[0]), int(rows[-1] + 1 - rows[0])) if len(rows) else (0, 0)


def _columns(digit: _Grey, row: float) -> NDArray[np.intp]:
    """Return the columns in which a row has ink."""
    return np.flatnonzero(digit[int(row)] > _INK)


def _is_plain(one: _Grey) -> bool:
    """Tell whether a 1 is a single line from top to bottom, which can be a stem."""
    top, height = _find_height(one)
    rows = (one[top : top + height] > _INK).sum(axis=1)
    return height >= 15 and rows.min() >= 1 and rows.max() <= 7


def _measure_pen(digit: _Grey) -> float:
    """Return how wide a digit's strokes are, in pixels: its ink over half of its outline.

    What greys change by along rows and columns is 4 / pi times the outline's length, on average
    over all directions.
    """
    grey = digit / 255
    outline = sum(np.abs(np.diff(grey, axis=axis)).sum() for axis in (0, 1)) * math.pi / 4
    return float(np.clip(2 * grey.sum() / max(outline, 1.0), 1.2, 4.0))


def _write(digit: _Grey, lines: Sequence[_Line], pen: float) -> _Grey:
    """Add strokes, and bring what has outgrown MNIST's box back into it."""
    whole = _add_strokes(digit, lines, pen)
    if max(crop_to_ink(whole).shape) <= DIGIT_BOX:
        return whole
    shrunk = resize_longer_side(crop_to_ink(whole), DIGIT_BOX)
    return lay_by_centre_of_mass(shrunk, (digit.shape[0], digit.shape[1]))


def _set_on_a_foot(one: _Grey, generator: np.random.Generator) -> _Grey:
    """Return a 1 on a long foot, and mostly with an upstroke."""
    top, height = _find_height(one)
    head, foot = _columns(one, top + 1), _columns(one, top + height - 2)
    if not len(head) or not len(foot):
        return one
    pen = _measure_pen(one)
    x, level = float(foot.mean()) + 0.5, top + height - pen / 2
    reach = height * generator.uniform(0.2, 0.5, 2)
    lines = [[(x - reach[0], level), (x + reach[1], level + generator.uniform(-1, 1))]]
    if generator.random() < 0.7:
        x, level = float(head.mean()) + 0.5, top + pen / 2
        drop = math.radians(generator.uniform(28, 68))
        length = height * generator.uniform(0.22, 0.55)
        lines.append([(x, level), (x - length * math.cos(drop), level + length * math.sin(drop))])
    return _write(one, lines, pen)


def _cross_or_hook(seven: _Grey, generator: np.random.Generator) -> _Grey:
    """Return a 7 with a bar across its stem, a hook at the left end of its top, or both."""
    top, height = _find_height(seven)
    pen, lines = _measure_pen(seven), []
    kind = generator.random()
    if kind < 0.75:
        level = top + height * generator.uniform(0.42, 0.62)
        stem = _columns(seven, level)
        if len(stem) and np.ptp(stem) < 9:
            middle = float(stem.mean()) + 0.5
            reach = height * generator.uniform(0.14, 0.3)
            middle += reach * generator.uniform(-0.3, 0.3)
            rise = reach * generator.uniform(-0.2, 0.35)
            lines.append([(middle - reach, level + rise), (middle + reach, level - rise)])
    if kind > 0.7:
        head = seven[top : top + max(3, round(0.3 * height))] > _INK
        left = int(np.flatnonzero(head.any(axis=0))[0])
        corner = (left + pen / 2, top + float(np.flatnonzero(head[:, left]).mean()) + 0.5)
        length = height * generator.uniform(0.08, 0.22)
        lean = length * generator.uniform(-0.3, 0.15)
        lines.append([corner, (corner[0] + lean, corner[1] + length)])
    return _write(seven, lines, pen) if lines else seven


def _curl(nine: _Grey, generator: np.random.Generator) -> _Grey:
    """Return a 9 whose stem ends in a tail to the left."""
    top, height = _find_height(nine)
    stem = _columns(nine, top + height - 2)
    if not len(stem) or np.ptp(stem) > 8:  # it has one
        return nine
    pen = _measure_pen(nine)
    x, y = float(stem.mean()) + 0.5, top + height - pen / 2
    length = height * generator.uniform(0.2, 0.5)
    end = (x - length, y - length * generator.uniform(-0.05, 0.5))
    return _write(nine, [[(x, y), (x - 0.55 * length, y + 0.12 * length), end]], pen)


def _run_on(four: _Grey, generator: np.random.Generator) -> _Grey:
    """Return a 4 whose bar runs on to the right of its stem."""
    top, height = _find_height(four)
    first = top + int(0.35 * height)
    level = first + int((four[first : top + int(0.8 * height)] > _INK).sum(axis=1).argmax())
    bar = _columns(four, level)
    if not len(bar):
        return four
    end = bar[-1] + 0.5
    reach, rise = height * generator.uniform(0.1, 0.3), generator.uniform(-0.5, 1.5)
    line = [(end - 2, level + 0.5), (end + reach, level + 0.5 - rise)]
    return _write(four, [line], _measure_pen(four))


def _close(one: _Grey, generator: np.random.Generator) -> _Grey:
    """Return a closed 4 on the stem that a 1 is: down from its top to the left, and across."""
    top, height = _find_height(one)
    pen = _measure_pen(one)
    head, foot = (float(_columns(one, row).mean()) + 0.5 for row in (top + 1, top + height - 2))
    level = top + height * generator.uniform(0.52, 0.75)
    crossing = head + (foot - head) * (level - top) / height
    left = crossing - height * generator.uniform(0.3, 0.62)
    right = crossing + height * generator.uniform(0, 0.3)
    start = (head + generator.choice([0.0, 1.0]) * generator.uniform(-1.2, 0.6), top + pen / 2)
    bend = ((head + left) / 2 + generator.uniform(-1, 1.5), (top + level) / 2)
    line = [start, bend, (left, level + generator.uniform(-1, 1)), (right, level)]
    return _write(one, [line], pen)


_HABITS: dict[str, Callable[[_Grey, np.random.Generator], _Grey]] = {
    "1": _set_on_a_foot,
    "4": _run_on,
    "7": _cross_or_hook,
    "9": _curl,
}
