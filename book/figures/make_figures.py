"""Draw the pictures of the pages in book/ from the digits in the package.

    python -m book.figures.make_figures

It writes a_sheet_of_digits.png beside this file, which is committed, as README.md shows it too:
the first sixty digits of the training part, as ink on paper. Nothing is trained: where the most
similar of the next 1,000 digits, pixel for pixel, is a different digit, a red pen marks the place,
and the look-alike's label is pencilled beside it in blue. The social card, in book/static, shows
some of them beside the title. And it writes the_pad.png into the package: it stands where the
drawing pad would be, where no script and no kernel runs.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Ellipse
from numpy.typing import NDArray
from PIL import Image

from mnist_lab.data import DigitSet, load_mnist
from mnist_lab.handwriting import draw_strokes
from mnist_lab.lessons.palette import BLUE_PENCIL, INK, PAPER, PAPER_EDGE, RED_PEN
from mnist_lab.lessons.widgets.digit_pad import PICTURE as PAD_PICTURE

ROWS, COLUMNS = 5, 12
CELL = 36  # pixels of the sheet between two digits of 28 pixels
MARGIN = 5
SCALE = 3  # shown at up to 720 pixels across, on screens of up to three dots a pixel
REFERENCES = 1000


def ink_on_paper(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Turn (..., height, width), 0 for paper and 255 for full ink, into RGB (..., 3)."""
    amount = images[..., None] / 255.0
    colours = (1 - amount) * to_rgb(PAPER) + amount * to_rgb(INK)
    return (255 * colours).round().astype(np.uint8)


def nearest_labels(digits: DigitSet, references: DigitSet) -> NDArray[np.int64]:
    """Return for each digit the label of the most similar reference (Euclidean, on pixels)."""
    these = digits.images.reshape(len(digits), -1).astype(np.float32)
    those = references.images.reshape(len(references), -1).astype(np.float32)
    distances = (those**2).sum(axis=1) - 2 * these @ those.T
    labels: NDArray[np.int64] = references.labels[distances.argmin(axis=1)]
    return labels


def sheet(digits: DigitSet, rows: int, columns: int) -> NDArray[np.uint8]:
    """Lay rows x columns digits out on one page: RGB (rows * CELL, columns * CELL, 3)."""
    page = np.zeros((rows * CELL, columns * CELL), dtype=np.uint8)
    margin = (CELL - 28) // 2
    for index, image in enumerate(digits.images):
        row, column = divmod(index, columns)
        top, left = row * CELL + margin, column * CELL + margin
        page[top : top + 28, left : left + 28] = image
    return ink_on_paper(page)


def draw_digits(axes: Axes, rows: int, columns: int) -> None:
    """Lay the first digits out, and correct what is misread; a digit's cell is CELL units."""
    train = load_mnist().train
    digits = train.subset(np.arange(ROWS * COLUMNS))
    references = train.subset(np.arange(ROWS * COLUMNS, ROWS * COLUMNS + REFERENCES))
    guesses = nearest_labels(digits, references)
    height, width = rows * CELL, columns * CELL
    shown = sheet(digits.subset(np.arange(rows * columns)), rows, columns)
    axes.imshow(shown, extent=(0, width, height, 0), interpolation="bicubic")
    axes.set_xlim(-MARGIN, width + MARGIN)
    axes.set_ylim(height + MARGIN, -MARGIN)
    axes.axis("off")
    for index in np.flatnonzero(guesses[: rows * columns] != digits.labels[: rows * columns]):
        row, column = divmod(int(index), columns)
        x, y = (column + 0.5) * CELL, (row + 0.5) * CELL
        circle = Ellipse((x, y), 32, 31, angle=-20, fill=False, edgecolor=RED_PEN, linewidth=3.2)
        axes.add_patch(circle)
        guess = str(guesses[index])
        axes.text(
            x + 16, y - 13, guess, color=BLUE_PENCIL, fontsize=24, weight="bold", style="italic",
            ha="center", va="center",
        )  # fmt: skip


def draw_sheet(target: Path) -> None:
    """Write the sheet of digits with its corrections as a PNG."""
    height, width = ROWS * CELL, COLUMNS * CELL
    figure = Figure(
        figsize=((width + 2 * MARGIN) * SCALE / 100, (height + 2 * MARGIN) * SCALE / 100)
    )
    draw_digits(figure.add_axes((0, 0, 1, 1)), ROWS, COLUMNS)
    write_picture(figure, target)


def draw_card(target: Path) -> None:
    """Write the picture that stands beside a link to the book elsewhere: 1,200 by 630 pixels."""
    figure = Figure(figsize=(12, 6.3))
    draw_digits(figure.add_axes((0.49, 0.04, 0.5, 0.92)), 5, 5)
    write: dict[str, Any] = {"color": INK, "family": "serif", "ha": "left", "va": "top"}
    figure.text(0.05, 0.83, "Read\nhandwritten\ndigits", fontsize=54, weight="bold", **write)
    figure.add_artist(Line2D([0.053, 0.17], [0.315, 0.325], color=RED_PEN, linewidth=6))
    said = "A book to read, run and draw on,\nfrom the bytes of a file\nto a fine-tuned network"
    figure.text(0.05, 0.26, said, fontsize=21, **write)
    figure.text(0.05, 0.93, "mnist-lab", fontsize=21, **(write | {"color": RED_PEN}))
    write_picture(figure, target)


def write_picture(figure: Figure, target: Path) -> None:
    """Write a figure as a PNG of 96 colours."""
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=100, facecolor=PAPER)
    picture = Image.open(drawn).convert("RGB").quantize(96, dither=Image.Dither.NONE)
    temporary = target.with_suffix(".part")
    picture.save(temporary, format="PNG", optimize=True)
    temporary.replace(target)


def three() -> NDArray[np.float64]:
    """Return a three in one stroke: points (n, 2) from 0 to 1, y downwards."""
    upper, lower = np.radians(np.linspace(-150, 80, 40)), np.radians(np.linspace(-80, 150, 40))
    above = np.stack([0.51 + 0.19 * np.cos(upper), 0.31 + 0.16 * np.sin(upper)], 1)
    below = np.stack([0.51 + 0.22 * np.cos(lower), 0.65 + 0.19 * np.sin(lower)], 1)
    return np.concatenate([above, below])


def draw_pad(target: Path) -> None:
    """Write a picture of the pad: a drawing on squared paper, its 28x28 pixels, what was read."""
    stroke = three()
    figure = Figure(figsize=(14, 5.6))
    paper = figure.add_axes((0.01, 0.04, 0.37, 0.92))
    for place in np.linspace(0, 1, 15):
        paper.plot([place, place], [0, 1], color=BLUE_PENCIL, alpha=0.16, linewidth=1.5)
        paper.plot([0, 1], [place, place], color=BLUE_PENCIL, alpha=0.16, linewidth=1.5)
    paper.plot([0.115, 0.115], [0, 1], color=RED_PEN, alpha=0.45, linewidth=2)
    paper.plot(
        *stroke.T, color=INK, linewidth=19, solid_capstyle="round",
        solid_joinstyle="round",
    )  # fmt: skip
    pixels = figure.add_axes((0.435, 0.2, 0.24, 0.6))
    pixels.imshow(ink_on_paper(draw_strokes([stroke.tolist()])), extent=(0, 1, 1, 0))
    for axes in (paper, pixels):
        axes.set_xlim(0, 1)
        axes.set_ylim(1, 0)
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set_color(PAPER_EDGE)
    figure.text(
        0.84, 0.47, "3", color=BLUE_PENCIL, fontsize=190, style="italic", family="serif",
        ha="center", va="center",
    )  # fmt: skip
    for left in (0.407, 0.71):
        figure.text(
            left, 0.5, "\N{RIGHTWARDS ARROW}", color=RED_PEN, fontsize=44, ha="center", va="center"
        )
    write_picture(figure, target)


if __name__ == "__main__":
    draw_sheet(Path(__file__).with_name("a_sheet_of_digits.png"))
    draw_card(Path(__file__).parents[1] / "static" / "social-card.png")
    draw_pad(PAD_PICTURE)
