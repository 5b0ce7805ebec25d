"""The exercises of chapter 14: fit, centre of mass, threshold, reading order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_lab.lessons.exercises.checking import Case, Exercise, usual

Array = NDArray[Any]
Box = tuple[int, int, int, int]


# --- Cases ---------------------------------------------------------------------------------------


def _size_cases(_: np.random.Generator) -> list[Case]:
    # Heights and widths: upright, lying, square, thin as a line, smaller than the box, rounded up.
    return [(100, 50), (30, 90), (64, 64), (400, 3), (7, 400), (10, 6), (57, 33)]


def _shift_cases(generator: np.random.Generator) -> list[Case]:
    cases: list[Case] = []
    for top, left, height, width in ((0, 0, 20, 8), (3, 15, 20, 12), (8, 1, 20, 20), (1, 9, 12, 9)):
        image = np.zeros((28, 28))
        # More ink below and to the right, and it gets darker that way, as in a 6 that leans.
        down, right = np.linspace(0, 1, height)[:, None], np.linspace(0, 1, width)[None, :]
        shade = np.where(right <= 0.2 + down, 0.05 + down**3 * right**2, 0)
        noise = generator.uniform(0.8, 1, (height, width))
        image[top : top + height, left : left + width] = 240 * shade * noise
        cases.append((image,))
    return cases


def _ink_cases(generator: np.random.Generator) -> list[Case]:
    pencil = generator.uniform(0, 10, (6, 7))
    pencil[2:4, 1:6] = generator.uniform(20, 90, (2, 5))
    pen = generator.uniform(0, 30, (5, 8))
    pen[1:4, 3] = [120.0, 240.0, 200.0]
    touching = np.array([[0.0, 35.0, 100.0, 34.0]])  # exactly at the threshold counts
    return [(pencil, 0.35), (pen, 0.35), (pen, 0.6), (touching, 0.35)]


def _order_cases(_: np.random.Generator) -> list[Case]:
    # Boxes (left, top, right, bottom), in the order in which they happened to be found.
    falling = [(120, 22, 140, 62), (10, 10, 30, 50), (60, 16, 80, 56)]
    rising = [(10, 40, 30, 80), (60, 30, 80, 70), (120, 20, 140, 60)]
    two_lines = [(70, 104, 90, 144), (10, 18, 30, 58), (10, 112, 30, 152), (70, 10, 90, 50)]
    small_one = [(50, 30, 56, 44), (80, 12, 100, 52), (10, 10, 30, 50)]
    three = [
        *((100, 8, 120, 48), (8, 210, 30, 250), (10, 12, 30, 52)),
        *((60, 104, 80, 144), (12, 96, 32, 136), (55, 202, 75, 242)),
    ]
    return [(falling,), (rising,), (two_lines,), (small_one,), (three,), ([(5, 5, 9, 9)],)]


# --- Solutions and mistakes ----------------------------------------------------------------------


def _fitted_size(height: int, width: int) -> tuple[int, int]:
    scale = 20 / max(height, width)
    return max(1, round(scale * height)), max(1, round(scale * width))


def _sized(scale: float, height: int, width: int, least: int = 1) -> tuple[int, int]:
    return max(least, round(scale * height)), max(least, round(scale * width))


def _centre(image: Array) -> tuple[float, float]:
    rows, columns = np.arange(image.shape[0]), np.arange(image.shape[1])
    ink = image.sum()
    return float(rows @ image.sum(axis=1) / ink), float(image.sum(axis=0) @ columns / ink)


def _shift_to_centre(image: Array) -> tuple[int, int]:
    row, column = _centre(image)
    return round(14 - row), round(14 - column)


def _shift_of_box(image: Array) -> tuple[int, int]:
    rows, columns = np.flatnonzero(image.any(axis=1)), np.flatnonzero(image.any(axis=0))
    return round(14 - (rows[0] + rows[-1]) / 2), round(14 - (columns[0] + columns[-1]) / 2)


def _ink_mask(ink: Array, share: float) -> Array:
    return ink >= share * ink.max()


def _reading_order(boxes: Sequence[Box]) -> list[int]:
    lines: list[list[int]] = []
    for index in sorted(range(len(boxes)), key=lambda i: boxes[i][0]):
        middle = (boxes[index][1] + boxes[index][3]) / 2
        for line in lines:
            last = boxes[line[-1]]
            if last[1] <= middle < last[3]:
                line.append(index)
                break
        else:
            lines.append([index])
    lines.sort(key=lambda line: boxes[line[0]][1] + boxes[line[0]][3])
    return [index for line in lines for index in line]


def _sorted_by(key: Any) -> Any:
    return lambda boxes: sorted(range(len(boxes)), key=lambda i: key(boxes[i]))


EXERCISES = (
    Exercise(
        "ch14",
        "fitted_size",
        _fitted_size,
        cases=_size_cases,
        returns=("rows", "columns"),
        mistakes=(
            usual(
                "Both sides become 20, so a 1 is stretched to a block. Give both the same scale.",
                lambda height, width: (20, 20),
            ),
            usual(
                "The shorter side becomes 20, and the longer one leaves the box. Divide 20 by the "
                "longer side.",
                lambda height, width: _sized(20 / min(height, width), height, width),
            ),
            usual(
                "The height always becomes 20. A digit that lies is then wider than the box.",
                lambda height, width: _sized(20 / height, height, width),
            ),
            usual(
                "A side can become 0 here: a thin stroke still needs one pixel.",
                lambda height, width: _sized(20 / max(height, width), height, width, least=0),
            ),
            usual(
                "You cut the fraction off. Round to the nearest whole number.",
                lambda height, width: (
                    max(1, int(20 / max(height, width) * height)),
                    max(1, int(20 / max(height, width) * width)),
                ),
            ),
            usual(
                "Rows and columns have changed places.",
                lambda height, width: _fitted_size(height, width)[::-1],
            ),
            usual(
                "Digits smaller than the box are not enlarged. They become 20 pixels too.",
                lambda height, width: _sized(min(1, 20 / max(height, width)), height, width),
            ),
        ),
    ),
    Exercise(
        "ch14",
        "shift_to_centre",
        _shift_to_centre,
        cases=_shift_cases,
        returns=("down", "right"),
        mistakes=(
            usual(
                "The sign is wrong: if the mass lies above row 14, the digit has to go down.",
                lambda image: tuple(-shift for shift in _shift_to_centre(image)),
            ),
            usual(
                "That is the middle of the digit's box. Weight each row and column with its ink.",
                _shift_of_box,
            ),
            usual(
                "Every inked pixel counts the same here. A dark pixel weighs more than a pale one.",
                lambda image: _shift_to_centre((image > 0).astype(float)),
            ),
            usual(
                "Rows and columns have changed places: first how far down, then how far to the "
                "right.",
                lambda image: _shift_to_centre(image)[::-1],
            ),
            usual(
                "MNIST's middle is pixel 14, counted from 0, and not 13.5 or 13.",
                lambda image: (round(13 - _centre(image)[0]), round(13 - _centre(image)[1])),
            ),
            usual(
                "The digit moves by whole pixels: round the shift.",
                lambda image: (14 - _centre(image)[0], 14 - _centre(image)[1]),
            ),
        ),
    ),
    Exercise(
        "ch14",
        "ink_mask",
        _ink_mask,
        cases=_ink_cases,
        mistakes=(
            usual(
                "The threshold is a share of 255. A faint pencil never gets that dark: take a "
                "share of the darkest ink in the picture.",
                lambda ink, share: ink >= share * 255,
            ),
            usual(
                "This marks the paper. Ink is what lies above the threshold.",
                lambda ink, share: ink < share * ink.max(),
            ),
            usual(
                "The threshold is a share of the mean. The mean depends on how much paper there "
                "is; take the darkest ink.",
                lambda ink, share: ink >= share * ink.mean(),
            ),
            usual(
                "The share is used as a quantile: then the same number of pixels is ink on every "
                "page. Take a share of the darkest value.",
                lambda ink, share: ink >= np.quantile(ink, share),
                lambda ink, share: ink >= np.quantile(ink, 1 - share),
            ),
            usual(
                "A pixel exactly at the threshold is ink too.",
                lambda ink, share: ink > share * ink.max(),
            ),
        ),
    ),
    Exercise(
        "ch14",
        "reading_order",
        _reading_order,
        cases=_order_cases,
        mistakes=(
            usual(
                "You sort by the left edge alone, so lines are mixed. Find the lines first.",
                _sorted_by(lambda box: box[0]),
            ),
            usual(
                "You sort by the upper edge. In a line that is not quite level the digits then "
                "come in any order: let those whose middle lies within a neighbour's height form "
                "a line.",
                _sorted_by(lambda box: box[1]),
                _sorted_by(lambda box: (box[1], box[0])),
                _sorted_by(lambda box: (box[1] + box[3], box[0])),
                _sorted_by(lambda box: (box[3], box[0])),
            ),
            usual(
                "The lines are right, but within a line you go from right to left.",
                lambda boxes: _reading_order(
                    [(-right, top, -left, bottom) for left, top, right, bottom in boxes]
                ),
            ),
            usual(
                "The lines come from bottom to top. A small y is at the top of a picture.",
                lambda boxes: _reading_order(
                    [(left, -bottom, right, -top) for left, top, right, bottom in boxes]
                ),
            ),
            usual(
                "You return the place of each box in the order. Return the boxes' indices, in the "
                "order in which they are read.",
                lambda boxes: np.argsort(_reading_order(boxes)).tolist(),
            ),
            usual(
                "You return the boxes themselves. Return their indices in the list.",
                lambda boxes: [boxes[index] for index in _reading_order(boxes)],
            ),
        ),
    ),
)
