"""A figure with words for what it shows, and the look of every figure of the book.

    figure, axes = new_axes(height=2.4)
    axes.plot(losses, color=BLUE_PENCIL)
    Picture(figure, "The loss falls from 2.3 to 0.1 within 400 steps.")

A `Picture` shows itself where it is the last value of a notebook's cell, with its alt text beside
it for readers who do not see it.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Any

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

    def __post_init__(self) -> None:
        if not self.alt.strip():
            raise ValueError("A picture needs alt text: say in a sentence what it shows.")

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, str], dict[str, Any]]:
        """Return PNG and alt text, as IPython asks for them."""
        width, height = self.shown_size
        data = {"image/png": self.to_base64(), "text/plain": self.alt}
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
