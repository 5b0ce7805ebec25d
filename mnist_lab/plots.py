"""Arrays in, pictures with alt text out: one look for every figure of the book.

    from mnist_lab.plots import Picture, draw_digits, new_axes, use_book_style

    use_book_style()
    draw_digits(images[:20], alt="The first twenty training digits.")

A `Picture` shows itself where it is the last value of a notebook's cell, with its alt text beside
it for readers who do not see it. Digits are drawn as ink on paper; red is for mistakes, blue for
predictions, green for what is right; digit d has the same colour everywhere.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from mnist_lab.training import EpochReport

PAPER, INK, GREY = "#fbfaf7", "#1d2440", "#6f7280"
RED_PEN, BLUE_PENCIL, GREEN_TICK = "#c8402c", "#2f6db5", "#2e7d55"
# One colour per digit; Paul Tol's "muted" scheme, which colour-blind readers can tell apart.
DIGIT_COLOURS = (
    *("#332288", "#88ccee", "#44aa99", "#117733", "#999933"),
    *("#ddcc77", "#cc6677", "#882255", "#aa4499", "#777777"),
)
INK_ON_PAPER = LinearSegmentedColormap.from_list("ink_on_paper", [PAPER, INK])
# Negative is red, zero is paper, positive is blue.
RED_TO_BLUE = LinearSegmentedColormap.from_list("red_to_blue", [RED_PEN, PAPER, BLUE_PENCIL])

WIDTH = 6.8  # inches: the measure of the text
RESOLUTION = 180  # dots an inch in the file
SHOWN = 100  # pixels an inch on the page; the file is finer, for fine screens
PALETTE = 128  # colours of a file: nobody sees the difference, and it is a third of the size

BOOK_STYLE: dict[Any, Any] = {
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
    "axes.prop_cycle": cycler(color=[INK, BLUE_PENCIL, RED_PEN, GREEN_TICK, "#b58a00"]),
    "grid.color": "#e4e1d8",
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
    mpl.rcParams.update(BOOK_STYLE)


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
        return round(width * SHOWN), round(height * SHOWN)

    def to_base64(self, dots: int = RESOLUTION, colours: int = PALETTE) -> str:
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
    rows: int = 1, columns: int = 1, *, width: float = WIDTH, height: float = 2.6, **options: Any
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


def draw_digit(axes: Axes, image: ArrayLike, title: str = "", colour: str = INK) -> None:
    """Draw one image (height, width) as ink on paper; 0 is paper, the largest value full ink."""
    pixels = np.asarray(image)
    full = 255 if pixels.dtype == np.uint8 else float(pixels.max(initial=0)) or 1.0
    axes.imshow(pixels, cmap=INK_ON_PAPER, vmin=0, vmax=full)
    axes.set_title(title, color=colour, fontsize=9, loc="center", pad=2)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)
    axes.spines[:].set_visible(False)


def draw_digits(
    images: Sequence[ArrayLike] | NDArray[Any],
    titles: Sequence[str] | None = None,
    *,
    alt: str,
    columns: int = 10,
    colours: Sequence[str] | None = None,
) -> Picture:
    """Draw images (n, height, width) in rows of `columns`, each with its title above it."""
    count = len(images)
    cell = WIDTH / columns
    columns = min(columns, count)
    rows = -(-count // columns)
    height = rows * (cell + (0.22 if titles else 0.05))
    figure, grid = new_axes(rows, columns, width=columns * cell, height=height, squeeze=False)
    for position, axes in enumerate(grid.flat):
        if position < count:
            title = titles[position] if titles else ""
            draw_digit(axes, images[position], title, colours[position] if colours else INK)
        else:
            axes.set_axis_off()
    return Picture(figure, alt)


def draw_learning_curves(reports: Sequence[EpochReport], *, alt: str) -> Picture:
    """Draw loss and accuracy, in training and on validation data, against epochs."""
    epochs = [report.epoch for report in reports]
    figure, (left, right) = new_axes(1, 2, height=2.7)
    for part, colour, marker in (("train", GREY, "o"), ("validation", BLUE_PENCIL, "s")):
        scores = [getattr(report, part) for report in reports]
        label = "training" if part == "train" else part
        style = {"color": colour, "marker": marker, "markersize": 4, "label": label}
        left.plot(epochs, [score.loss for score in scores], **style)
        right.plot(epochs, [100 * (1 - score.accuracy) for score in scores], **style)
    left.set(xlabel="epoch", ylabel="loss (nats per digit)", yscale="log")
    right.set(xlabel="epoch", ylabel="errors (%)", yscale="log")
    for axes in (left, right):
        axes.set_xticks(epochs)
        axes.yaxis.set_major_locator(mpl.ticker.LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(mpl.ticker.FormatStrFormatter("%g"))
        axes.yaxis.set_minor_formatter(mpl.ticker.NullFormatter())
    left.legend()
    return Picture(figure, alt)
