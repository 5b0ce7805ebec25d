"""A figure with words for what it shows, and the look of every figure of the book.

    figure, axes = new_axes(height=2.4)
    axes.plot(losses, color=BLUE_PENCIL)
    Picture(figure, "The loss falls from 2.3 to 0.1 within 400 steps.")

A `Picture` shows itself where it is the last value of a notebook's cell, with its alt text beside
it for readers who do not see it. The text ends with a digest of what was drawn: nbval, which does
not compare pictures, compares that.
"""

from __future__ import annotations

import base64
import hashlib
import io
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mnist_lab.extras import needs_extra
from mnist_lab.lessons.palette import (
    BLUE_PENCIL,
    GREEN_TICK,
    GREY,
    GRID,
    INK,
    OCHRE,
    PAPER,
    RED_PEN,
)

with needs_extra("chapters"):
    import matplotlib as mpl
    from cycler import cycler
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

INK_ON_PAPER = LinearSegmentedColormap.from_list("ink_on_paper", [PAPER, INK])
# Negative is red, zero is paper, positive is blue.
RED_TO_BLUE = LinearSegmentedColormap.from_list("red_to_blue", [RED_PEN, PAPER, BLUE_PENCIL])

TEXT_WIDTH = 6.8  # inches: the measure of the text
_PIXELS_AN_INCH = 100  # on the page; the file is finer, for fine screens
_DOTS_AN_INCH = 180  # in the file
_COLOURS_OF_FILE = 128  # nobody sees the difference, and it is a third of the size

_BOOK_STYLE: dict[Any, Any] = {
    "figure.facecolor": PAPER,
    "figure.constrained_layout.use": True,
    "savefig.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.labelsize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.prop_cycle": cycler(color=[INK, BLUE_PENCIL, RED_PEN, GREEN_TICK, OCHRE]),
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "lines.linewidth": 1.8,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "font.size": 10,
    "image.cmap": "ink_on_paper",
    "image.interpolation": "nearest",
}


def use_book_style() -> None:
    """Give the figures that are made from here on the look of the book."""
    if INK_ON_PAPER.name not in mpl.colormaps:
        mpl.colormaps.register(INK_ON_PAPER)
    mpl.rcParams.update(_BOOK_STYLE)


@dataclass(frozen=True)
class Picture:
    """A figure with words for what it shows; a notebook displays it as the value of a cell."""

    figure: Figure
    alt: str
    varies: bool = False

    def __post_init__(self) -> None:
        if not self.alt.strip():
            raise ValueError("A picture needs alt text: say in a sentence what it shows.")

    def varying(self) -> Picture:
        """Return the picture as one of numbers that differ a little between processors.

        Of what training gives only the kind and the number of things drawn can be compared.
        """
        return replace(self, varies=True)

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, str], dict[str, Any]]:
        """Return PNG and alt text, as IPython asks for them, and what was drawn."""
        width, height = self.shown_size
        drawn = describe_drawn(self.figure, values=not self.varies)
        data = {"image/png": self.to_base64(), "text/plain": f"{self.alt}\n{drawn}"}
        return data, {"image/png": {"alt": self.alt, "width": width, "height": height}}

    @property
    def shown_size(self) -> tuple[int, int]:
        """Width and height on the page, in pixels."""
        width, height = self.figure.get_size_inches()
        return round(width * _PIXELS_AN_INCH), round(height * _PIXELS_AN_INCH)

    def to_base64(self, dots: int = _DOTS_AN_INCH, colours: int = _COLOURS_OF_FILE) -> str:
        """Return a PNG file as text, with `dots` an inch and a palette of `colours`."""
        file = io.BytesIO()
        self.figure.savefig(file, format="png", dpi=dots)
        with Image.open(file) as full:
            # Of the ways to choose a palette this one keeps colours that cover a few pixels only.
            few = full.convert("RGB").quantize(
                colours, Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE
            )
        file = io.BytesIO()
        few.save(file, format="png", optimize=True)
        return base64.b64encode(file.getvalue()).decode()


# Of the range of what is drawn: what is nearer cannot be told apart by eye.
_STEPS = 500


def describe_drawn(figure: Figure, *, values: bool = True) -> str:
    """Return a line that tells what was drawn: "[2 lines of 7 points, 1 image: 3f9a01bc]".

    Parameters
    ----------
    figure : Figure
    values : bool
        Whether to end with a digest of the numbers, rounded to 1/500 of their range or less.
    """
    said: dict[str, list[int]] = {}
    digest = hashlib.sha256()
    for kind, data in _drawn(figure):
        counts = said.setdefault(kind, [0, 0])
        counts[0] += 1
        counts[1] += len(data)
        digest.update(f"{kind} {data.shape}".encode())
        # Along and upwards each have a range of their own; an image has one.
        columns = [data] if kind == "image" else list(data.T)
        for column in columns:
            step, multiples = _round_coarsely(column)
            digest.update(f"{step:.3g}".encode())
            digest.update(multiples.tobytes())
    words = ", ".join(_count(kind, *counts) for kind, counts in said.items()) or "nothing"
    return f"[{words}: {digest.hexdigest()[:8]}]" if values and said else f"[{words}]"


def _round_coarsely(data: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    """Return a step, of which there are 500 to 1,000 in the range, and numbers as its multiples.

    It is the same for ranges of about the same size, so that noise at one end of them changes
    nothing; and no round one, so that no round number lies midway between two multiples.
    """
    finite = data[np.isfinite(data)]
    reach = float(np.ptp(finite)) or float(np.abs(finite).max()) if finite.size else 0.0
    step = math.pi * 2.0 ** math.floor(math.log2(reach / _STEPS / math.pi)) if reach else 1.0
    rounded = np.round(data / step)
    return step, np.nan_to_num(rounded, nan=-1e6, posinf=1e6, neginf=-1e6) + 0.0  # no minus 0


def _count(kind: str, things: int, parts: int) -> str:
    """Return how many there are: "2 lines of 14 points"."""
    plural = "s" if things != 1 else ""
    parts_named = {"line": "point", "group": "bar"}.get(kind)
    of = f" of {parts} {parts_named}{'s' if parts != 1 else ''}" if parts_named else ""
    return f"{things} {kind}{plural}{of}"


def _drawn(figure: Figure) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Yield kind and numbers of what was drawn into the axes: lines, areas, bars, images."""
    for axes in figure.axes:
        for line in axes.lines:
            points = [np.asarray(line.get_xdata(), float), np.asarray(line.get_ydata(), float)]
            yield "line", np.column_stack(points)
        for collection in axes.collections:
            paths, offsets = collection.get_paths(), np.asarray(collection.get_offsets(), float)
            # Of scattered points the offsets tell where they are, of areas the corners do.
            corners = [np.asarray(path.vertices, float) for path in paths]
            yield "area", offsets if len(offsets) > 1 or not corners else np.concatenate(corners)
        bars = [patch.get_bbox().bounds for patch in axes.patches if isinstance(patch, Rectangle)]
        if bars:
            yield "group", np.asarray(bars, float)
        for image in axes.images:
            yield "image", np.ma.filled(np.ma.asarray(image.get_array(), float), np.nan)


def new_axes(
    rows: int = 1,
    columns: int = 1,
    *,
    width: float = TEXT_WIDTH,
    height: float = 2.6,
    **options: Any,
) -> tuple[Figure, Any]:
    """Return a figure and its axes: one `Axes`, or an array of them as matplotlib gives it.

    Parameters
    ----------
    width, height : float
        Of the whole figure, in inches.
    **options
        As for `Figure.subplots`, such as `sharey=True`.
    """
    use_book_style()
    figure = Figure(figsize=(width, height))
    return figure, figure.subplots(rows, columns, **options)
