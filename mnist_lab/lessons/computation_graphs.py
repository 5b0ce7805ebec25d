"""The way from pixels to a loss as boxes and arrows, forward or back: chapter 2.

    draw_scores_to_loss(
        ["x = 1", "x = 2"], ["z = 2", "z = 1", "z = 0"], ["p", "p", "p"], "loss",
        on_edges=W, under_scores=b, colour=BLUE_PENCIL, alt="...",
    )

All scores enter one box, the softmax, because each probability depends on every score.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from mnist_lab.extras import needs_extra
from mnist_lab.lessons.palette import GREY, INK, PAPER
from mnist_lab.lessons.pictures import Picture, new_axes

with needs_extra("chapters"):
    from matplotlib.axes import Axes
    from matplotlib.patches import Rectangle

_CLEAR: dict[str, Any] = {"facecolor": PAPER, "edgecolor": "none", "pad": 1}
_MIDDLE: dict[str, Any] = {"ha": "center", "va": "center"}
_PIXELS, _SCORES, _SOFTMAX, _LOSS = 0.0, 3.9, 7.1, 10.1  # where the columns stand
_ROW = 1.5  # from one score to the next


def _write(axes: Axes, left: float, height: float, words: str, **look: Any) -> None:
    """Write a text; Python prints a hyphen before a number, and a picture wants a minus sign."""
    axes.text(left, height, re.sub(r"-(?=\d)", "\N{MINUS SIGN}", words), **look, **_MIDDLE)


def _box(axes: Axes, left: float, height: float, words: str) -> None:
    _write(axes, left, height, words, bbox=_CLEAR | {"edgecolor": INK, "pad": 4})


def _arrow(axes: Axes, begin: tuple[float, float], end: tuple[float, float]) -> None:
    axes.annotate("", end, begin, arrowprops={"arrowstyle": "->", "color": GREY})


def draw_scores_to_loss(
    pixels: Sequence[str],
    scores: Sequence[str],
    probabilities: Sequence[str],
    loss: str,
    *,
    on_edges: Sequence[Sequence[str]],
    under_scores: Sequence[str],
    colour: str,
    alt: str,
    backward: bool = False,
) -> Picture:
    """Draw pixels, scores, one softmax that all scores enter, and the loss.

    Parameters
    ----------
    pixels, scores, probabilities, loss
        What stands in the boxes: D, K and K texts, and one.
    on_edges
        K rows of D texts, one on the edge from each pixel to each score.
    under_scores
        K texts, one below each score.
    colour
        Of the texts on edges and under scores.
    alt
        What the figure shows, for who does not see it.
    backward
        Whether the arrows go from the loss back to the scores; the texts in the softmax then
        have the colour, too.

    Raises
    ------
    ValueError
        If the numbers of texts do not fit together.
    """
    if not len(scores) == len(probabilities) == len(on_edges) == len(under_scores):
        raise ValueError("Scores, probabilities, rows of edges and texts under scores differ")
    if any(len(row) != len(pixels) for row in on_edges):
        raise ValueError(f"Each score has an edge from each of the {len(pixels)} pixels")
    figure, axes = new_axes(height=3.2)
    heights = _ROW * np.arange(len(scores))[::-1]
    middle = float(heights.mean())
    spread = 0.3 * _ROW * (len(scores) - 1)
    from_top = np.linspace(middle + spread, middle - spread, len(pixels))
    for score, height, words, row, below in zip(
        scores, heights, probabilities, on_edges, under_scores, strict=True
    ):
        for begin, weight in zip(from_top, row, strict=True):
            axes.plot([_PIXELS, _SCORES], [begin, height], color=GREY, linewidth=0.8)
            at = 0.68 * _SCORES, begin + 0.68 * (height - begin)
            _write(axes, *at, weight, color=colour, bbox=_CLEAR)
        _box(axes, _SCORES, height, score)
        _write(axes, _SCORES, height - 0.5, below, color=colour)
        _write(axes, _SOFTMAX, height, words, color=colour if backward else INK)
        ends = [(_SCORES + 0.9, height), (_SOFTMAX - 1.05, height)]
        _arrow(axes, *(ends[::-1] if backward else ends))
    for begin, words in zip(from_top, pixels, strict=True):
        _box(axes, _PIXELS, begin, words)
    corner = _SOFTMAX - 1, heights[-1] - 0.45
    size = 2.0, heights[0] - heights[-1] + 0.9
    axes.add_patch(Rectangle(corner, *size, fill=False, edgecolor=INK))
    _write(axes, _SOFTMAX, heights[0] + 0.7, "softmax", color=INK)
    ends = [(_SOFTMAX + 1.05, middle), (_LOSS - 0.55, middle)]
    _arrow(axes, *(ends[::-1] if backward else ends))
    _box(axes, _LOSS, middle, loss)
    axes.set(xlim=(-0.9, _LOSS + 0.8), ylim=(heights[-1] - 0.75, heights[0] + 0.95))
    axes.set_axis_off()
    return Picture(figure, alt)
