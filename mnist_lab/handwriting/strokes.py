"""From pen strokes to the 28x28 image that MNIST would have made of them.

    draw_strokes([[(0.3, 0.2), (0.7, 0.2), (0.4, 0.9)]])     # uint8 (28, 28): a seven

A pad, a mouse or a finger tells where the pen went. So the digit is drawn anew, in its own size and
with a pen as wide as MNIST's writers had: neither the place on the pad, nor the size, nor how thick
the pad shows a line, makes a difference. The pad in the page does the same
(`widgets/static/preprocess.js`), and a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from mnist_lab.data.geometry import DIGIT_BOX, crop_to_ink, fit_like_mnist
from mnist_lab.handwriting.ink import HandwritingError

PEN = 2.6  # pixels of the result: the width of a line; MNIST's digits have as much ink with it
DETAIL = 8  # strokes are drawn so many times as large, and shrunk as a photo is
_FARTHEST = 1e9  # of a stroke's points from the origin, so that no difference overflows

Strokes = Iterable[Sequence[Sequence[float]]]


def draw_strokes(strokes: Strokes) -> NDArray[np.uint8]:
    """Draw strokes as MNIST would show them: uint8 (28, 28), ink on 0.

    Parameters
    ----------
    strokes : sequences of (x, y) or (x, y, ...)
        A stroke is the points that the pen passed without leaving the paper. x goes to the right
        and y down, in any unit.

    Raises
    ------
    HandwritingError
        If there is no point, or something that is no point of two finite numbers.
    """
    if not isinstance(strokes, Iterable):
        raise HandwritingError("Strokes are a list of strokes, each a list of points (x, y).")
    lines = [_points_of(stroke) for stroke in strokes]
    lines = [line for line in lines if len(line)]
    if not lines:
        raise HandwritingError("There are no strokes, so there is no digit.")
    points = np.concatenate(lines)
    corner, extent = points.min(axis=0), float((points.max(axis=0) - points.min(axis=0)).max())
    radius = PEN * DETAIL / 2
    scale = (DIGIT_BOX * DETAIL - 2 * radius) / extent if extent > 0 else 1.0
    lines = [(line - corner) * scale + radius + 1 for line in lines]
    right, bottom = np.concatenate(lines).max(axis=0) + radius + 1
    ink = _draw_lines(lines, radius, (int(np.ceil(bottom)), int(np.ceil(right))))
    return fit_like_mnist(crop_to_ink(ink))


def _draw_lines(
    lines: list[NDArray[np.float64]], radius: float, shape: tuple[int, int]
) -> NDArray[np.uint8]:
    """Draw lines, each (n, 2) points in pixels, on empty paper of that shape."""
    paper = np.zeros(shape)
    for line in lines:
        ends = line[1:] if len(line) > 1 else line  # a dot is a line from a point to itself
        for start, end in zip(line, ends, strict=False):
            _draw_line(paper, start, end, radius)
    return paper.round().astype(np.uint8)


def _points_of(stroke: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    """Return a stroke's points as (n, 2)."""
    try:
        points = np.array([[point[0], point[1]] for point in stroke], np.float64).reshape(-1, 2)
    except (TypeError, ValueError, IndexError, KeyError) as error:
        raise HandwritingError("A stroke is a list of points (x, y).") from error
    if not np.isfinite(points).all() or np.abs(points).max(initial=0) > _FARTHEST:
        raise HandwritingError("A stroke has a point that lies nowhere: x and y must be finite.")
    return points


def _draw_line(
    paper: NDArray[np.float64],
    start: NDArray[np.float64],
    end: NDArray[np.float64],
    radius: float,
) -> None:
    """Draw a line with round ends: 255 within `radius`, falling to 0 over the next pixel."""
    low = np.maximum(np.floor(np.minimum(start, end) - radius - 1), 0).astype(int)
    high = np.ceil(np.maximum(start, end) + radius + 1).astype(int)
    x = np.arange(low[0], min(high[0], paper.shape[1]))[None, :] + 0.5
    y = np.arange(low[1], min(high[1], paper.shape[0]))[:, None] + 0.5
    along = end - start
    length = float(along @ along)
    share = ((x - start[0]) * along[0] + (y - start[1]) * along[1]) / (length or 1.0)
    share = share.clip(0, 1)
    distance = np.hypot(x - start[0] - share * along[0], y - start[1] - share * along[1])
    ink = (radius - distance + 0.5).clip(0, 1) * 255
    part = paper[low[1] : low[1] + len(ink), low[0] : low[0] + ink.shape[1]]
    np.maximum(part, ink, out=part)
