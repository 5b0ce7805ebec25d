"""Numbers in squares, maps with signs, pyramids: what is drawn of convolution in chapter 4.

    figure, (left, right) = new_axes(1, 2)
    draw_numbers(left, image, "image x", {(1, 1): tint(RED_PEN)})
    show_map(right, image - image.mean(), title="blue is positive, red negative")

Each function draws into axes that it is given; the chapter says in words what the figure shows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mnist_lab.extras import needs_extra
from mnist_lab.lessons.palette import BLUE_PENCIL, GREEN_TICK, GREY, INK, PAPER, RED_PEN
from mnist_lab.lessons.pictures import INK_ON_PAPER, RED_TO_BLUE

with needs_extra("chapters"):
    from matplotlib.axes import Axes

Tint = tuple[float, float, float]
Place = tuple[int, int]

_MIDDLE: dict[str, Any] = {"ha": "center", "va": "center"}


def tint(colour: str, share: float = 0.3) -> Tint:
    """Return a colour mixed with paper, light enough to write on: red, green, blue in [0, 1]."""
    ink, paper = (np.array([*bytes.fromhex(code[1:])]) for code in (colour, PAPER))
    red, green, blue = (share * ink + (1 - share) * paper) / 255
    return float(red), float(green), float(blue)


def with_minus(text: str) -> str:
    """Return a text whose hyphens are minus signs, as they belong before numbers."""
    return text.replace("-", "\N{MINUS SIGN}")


def sign_colours(weights: ArrayLike) -> dict[Place, Tint]:
    """Return a fill for `draw_numbers`: positive weights are blue, negative ones red."""
    return {
        (row, column): tint(BLUE_PENCIL if value > 0 else RED_PEN)
        for (row, column), value in np.ndenumerate(np.asarray(weights))
        if value
    }


def draw_numbers(
    axes: Axes,
    values: ArrayLike,
    title: str = "",
    fill: Mapping[Place, str | Tint] | None = None,
    tall: int | None = None,
) -> None:
    """Draw a matrix as squares with a number in each.

    Parameters
    ----------
    values : array (rows, columns), or (columns,) for a single row
    fill : mapping of (row, column) to a colour
        The other squares are paper.
    tall : int, optional
        How many rows the panel has room for. Panels with the same `tall`, and widths in proportion
        to their columns, have squares of one size.
    """
    matrix = np.atleast_2d(np.asarray(values))
    for (row, column), value in np.ndenumerate(matrix):
        paint = (fill or {}).get((row, column), PAPER)
        across = [column, column + 1, column + 1, column]
        down = [row, row, row + 1, row + 1]
        axes.fill(across, down, facecolor=paint, edgecolor=GREY, linewidth=0.8)
        words = with_minus(f"{value + 0.0:g}")  # without the sign of a negative zero
        axes.text(column + 0.5, row + 0.52, words, fontsize=9.5, **_MIDDLE)
    height, width = matrix.shape
    space = ((tall or height) - height) / 2
    axes.set(xlim=(-0.05, width + 0.05), aspect="equal")
    axes.set_ylim(height + space + 0.05, -space - 0.05)
    axes.set_axis_off()
    high = 1 - space / (height + 2 * space)
    axes.set_title(title, fontsize=9, loc="center", y=high, pad=5)


def outline(axes: Axes, top: float, left: float, size: float, colour: str = RED_PEN) -> None:
    """Draw a square frame around `size` pixels a side, of which (top, left) is the first."""
    down = np.array([0, 0, size, size, 0]) + top - 0.5
    across = np.array([0, size, size, 0, 0]) + left - 0.5
    axes.plot(across, down, color=colour, linewidth=1.8, clip_on=False)


def show_map(axes: Axes, values: ArrayLike, largest: float | None = None, title: str = "") -> None:
    """Draw an image with signs (height, width): blue is positive, red negative, paper 0.

    `largest` is the size that has the full colour; by default that of the largest value.
    """
    pixels = np.asarray(values)
    full = largest or float(np.abs(pixels).max(initial=0)) or 1.0
    axes.imshow(pixels, cmap=RED_TO_BLUE, vmin=-full, vmax=full)
    axes.set(xticks=[], yticks=[])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.set_title(title, fontsize=9, loc="center", pad=3)


def sum_in_words(weights: ArrayLike, pixels: ArrayLike) -> str:
    """Return the sum of products with its terms, as "2·3 - 1·4 = 2"; weights of 0 are left out."""
    pairs = list(zip(np.ravel(weights), np.ravel(pixels), strict=True))
    terms = [f"{'+ ' if w > 0 else '- '}{abs(w):g}·{pixel:g}" for w, pixel in pairs if w]
    total = sum(w * pixel for w, pixel in pairs)
    words = f"{' '.join(terms) or '0'} = {total:g}".removeprefix("+ ")
    return with_minus(f"-{words[2:]}" if words.startswith("- ") else words)


def draw_strip(axes: Axes, copies: ArrayLike, shifts: Sequence[int]) -> None:
    """Draw shifted copies (count, side, side) of an image in a row, each framed, its shift below.

    The copies share one scale, so that ink is as dark in each.
    """
    images = np.asarray(copies)
    side = images.shape[-1]
    axes.imshow(np.hstack([*images]), cmap=INK_ON_PAPER)
    axes.set_axis_off()
    for number, shift in enumerate(shifts):
        left = side * number - 0.5
        across = left + np.array([0, side, side, 0, 0])
        down = np.array([0, 0, side, side, 0]) - 0.5
        axes.plot(across, down, color=GREY, linewidth=0.7, clip_on=False)
        words = with_minus(f"{shift:+d}") if shift else "0"
        axes.text(left + side / 2, 1.2 * side, words, ha="center", fontsize=9)


def draw_shift_curves(
    axes: Axes, shifts: ArrayLike, curves: Mapping[str, Sequence[float]], classes: int = 10
) -> None:
    """Draw accuracies against a shift in pixels, and what guessing among the classes would reach.

    Parameters
    ----------
    shifts : array (count,)
        In pixels, to the right.
    curves : mapping of str to accuracies (count,) in [0, 1]
        From a network's name to its curve, at most three of them. A single one needs no legend.
    """
    guessed = 100 / classes
    axes.axhline(guessed, color=GREY, linestyle=":")
    axes.text(0, guessed + 1, "guessing", color=GREY, fontsize=9, va="bottom", ha="center")
    looks = zip((RED_PEN, BLUE_PENCIL, GREEN_TICK), "os^", strict=True)
    for (name, shares), (colour, marker) in zip(curves.items(), looks, strict=False):
        heights = 100 * np.asarray(shares)
        axes.plot(shifts, heights, color=colour, marker=marker, label=name)
    axes.set(xlabel="shift to the right (pixels)", ylabel="accuracy (%)", ylim=(0, 102))
    if len(curves) > 1:
        axes.legend(loc="center", bbox_to_anchor=(0.5, 0.42))


def draw_places(axes: Axes, pixels: int, kernel: int, stride: int, padding: int) -> int:
    """Draw a row of pixels and a kernel's bar at each of its places; return how many there are."""
    for pixel in range(-padding, pixels + padding):
        across = [pixel, pixel + 1, pixel + 1, pixel]
        inside = 0 <= pixel < pixels
        paint: dict[str, Any] = {
            "facecolor": tint(INK, 0.35) if inside else PAPER,
            "edgecolor": GREY,
        }
        axes.fill(across, [-1, -1, 0, 0], linestyle="-" if inside else ":", **paint)
        if not inside:
            axes.text(pixel + 0.5, -0.5, "0", fontsize=9, **_MIDDLE)
    count = (pixels + 2 * padding - kernel) // stride + 1
    for place in range(count):
        left, height = stride * place - padding, 0.5 + 0.45 * place
        ends = [left + 0.08, left + kernel - 0.08]
        axes.plot(ends, [height, height], color=BLUE_PENCIL, linewidth=3)
        axes.text(left + kernel + 0.15, height, str(place), va="center", fontsize=9)
    axes.set_xlim(-padding - 0.2, pixels + padding + 1.2)
    axes.set_axis_off()
    return count


def draw_pyramid(axes: Axes, layers: Sequence[Place], title: str = "") -> int:
    """Draw one place of the last layer and all that it sees, down to the image's pixels.

    Parameters
    ----------
    layers : sequence of (kernel, stride)
        The first layer first, along one side of the image.

    Returns
    -------
    int
        How many pixels the place sees.
    """
    levels = [np.array([0.0])]
    spacing = math.prod(stride for _, stride in layers)
    for kernel, stride in reversed(layers):
        spacing //= stride
        offsets = (np.arange(kernel) - (kernel - 1) / 2) * spacing
        high = len(layers) - len(levels)
        for upper in levels[-1]:
            for lower in upper + offsets:
                axes.plot([upper, lower], [high + 1, high], color=GREY, linewidth=0.7)
        levels.append(np.unique(levels[-1][:, None] + offsets))
    reach = levels[-1].max()
    for high, level in enumerate(reversed(levels)):
        colour = RED_PEN if high == len(layers) else INK
        axes.plot(level, np.full(len(level), high), "o", color=colour, markersize=6)
        axes.text(reach + 1.1, high, str(len(level)), va="center", fontsize=9)
    axes.set(xlim=(-reach - 1, reach + 2), ylim=(-0.5, len(layers) + 0.4), title=title)
    names = ["image", *(f"layer {number}" for number in range(len(layers)))]
    axes.set_yticks(range(len(names)), names)
    axes.set_xticks([])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    return len(levels[-1])
