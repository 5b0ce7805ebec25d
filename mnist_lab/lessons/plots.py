"""Arrays in, pictures with alt text out: digits, and what was measured on them.

    from mnist_lab.lessons import draw_digits

    draw_digits(images[:20], alt="The first twenty training digits.")

Digits are drawn as ink on paper; red is for mistakes, blue for predictions, green for what is
right; digit d has the same colour everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mnist_lab.extras import needs_extra
from mnist_lab.lessons.palette import BLUE_PENCIL, COVER, GREEN_TICK, GREY, INK, PAPER, RED_PEN
from mnist_lab.lessons.pictures import INK_ON_PAPER, TEXT_WIDTH, Picture, new_axes
from mnist_lab.training.loop import EpochReport

with needs_extra("chapters"):
    import matplotlib as mpl
    from matplotlib.axes import Axes
    from matplotlib.colors import LinearSegmentedColormap


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
    framed: bool = False,
) -> Picture:
    """Draw images (n, height, width) in rows of `columns`, each with its title above it.

    With `framed` the edges of the images are seen, for digits that lie anywhere on them.
    """
    count = len(images)
    cell = TEXT_WIDTH / columns
    columns = min(columns, count)
    rows = -(-count // columns)
    height = rows * (cell + (0.22 if titles else 0.05))
    figure, grid = new_axes(rows, columns, width=columns * cell, height=height, squeeze=False)
    for position, axes in enumerate(grid.flat):
        if position < count:
            title = titles[position] if titles else ""
            draw_digit(axes, images[position], title, colours[position] if colours else INK)
            if framed:
                axes.spines[:].set(visible=True, color=GREY, linewidth=0.4)
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
        if len(epochs) <= 12:  # beyond that every epoch's number would touch the next
            axes.set_xticks(epochs)
        axes.yaxis.set_major_locator(mpl.ticker.LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(mpl.ticker.FormatStrFormatter("%g"))
        axes.yaxis.set_minor_formatter(mpl.ticker.NullFormatter())
    left.legend()
    return Picture(figure, alt)


def draw_through_layers(
    curves: Mapping[str, ArrayLike],
    *,
    ylabel: str,
    alt: str,
    colours: Sequence[str] = (INK, BLUE_PENCIL, RED_PEN, GREEN_TICK),
    limits: tuple[float, float] | None = None,
) -> Picture:
    """Draw one positive number per layer as a line through the layers, on a logarithmic axis.

    Parameters
    ----------
    curves : mapping of str to array (layers,)
        From what the legend says to a value for each layer, counted from 1 at the input.
    limits : tuple of float, optional
        Of the vertical axis.
    """
    figure, axes = new_axes(height=2.5)
    for (label, values), colour in zip(curves.items(), colours, strict=False):
        layers = np.arange(1, len(np.asarray(values)) + 1)
        axes.plot(layers, values, "o-", markersize=3.5, color=colour, label=label)
    axes.set(xlabel="layer, from the input", ylabel=ylabel, yscale="log", ylim=limits)
    axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True))
    axes.legend()
    return Picture(figure, alt)


def draw_repeats(
    rows: Mapping[str, ArrayLike],
    *,
    xlabel: str,
    alt: str,
    reference: str | None = None,
    limits: tuple[float, float] | None = None,
) -> Picture:
    """Draw repeated measurements in rows: a dot for each, a bar at their mean.

    Parameters
    ----------
    rows : mapping of str to array (repeats,)
        From a row's name to its values; the first row is the uppermost.
    reference : str, optional
        The row with whose mean the others are to be compared: a line goes down from it.
    limits : tuple of float, optional
        Of the horizontal axis; an arrow stands where a mean lies to the left of it.
    """
    figure, axes = new_axes(height=0.5 + 0.24 * len(rows))
    places = range(len(rows))
    for place, (name, row) in zip(places, rows.items(), strict=True):
        values = np.asarray(row)
        colour = BLUE_PENCIL if name == reference else INK
        if limits and values.mean() < limits[0]:
            text = f"◂ {values.mean():.1f} ± {values.std(ddof=1):.1f}"
            axes.annotate(text, (limits[0], place), va="center", fontsize=9, color=RED_PEN)
            continue
        axes.plot(values, np.full(len(values), place), "o", color=colour, alpha=0.45, markersize=4)
        axes.plot(values.mean(), place, "|", color=colour, markersize=13, markeredgewidth=2.2)
    if reference is not None:
        axes.axvline(np.asarray(rows[reference]).mean(), color=BLUE_PENCIL, linewidth=0.9)
    axes.set_yticks(places, list(rows))
    axes.set(xlabel=xlabel, ylim=(len(rows) - 0.4, -0.6), xlim=limits)
    axes.grid(visible=False, axis="y")
    return Picture(figure, alt)


def draw_reading(image: ArrayLike, probabilities: ArrayLike, rows: int) -> Picture:
    """Draw a digit of which some rows are read, and what is thought of it so far.

    Parameters
    ----------
    image : array (height, width)
    probabilities : array (10,)
        Of the ten digits, after that many rows.
    rows : int
        How many rows are read, from the top; the others are pale.
    """
    pixels, shares = np.asarray(image), np.asarray(probabilities)
    height = len(pixels)
    figure, (left, right) = new_axes(1, 2, height=2.1, width_ratios=[1, 2.4])
    draw_digit(left, pixels)
    if rows < height:
        left.axhspan(rows - 0.5, height - 0.5, color=PAPER, alpha=0.85, linewidth=0)
    left.axhline(rows - 0.5, color=RED_PEN, linewidth=1.2)
    best = int(shares.argmax())
    colours = [BLUE_PENCIL if digit == best else GREY for digit in range(len(shares))]
    right.bar(range(len(shares)), shares, color=colours)
    right.set(xticks=range(len(shares)), ylim=(0, 1), xlabel="digit", ylabel="probability")
    right.grid(visible=False, axis="x")
    alt = f"After {rows} rows a {best} seems most probable, with {shares[best]:.0%}."
    return Picture(figure, alt)


def draw_attention(image: ArrayLike, weights: ArrayLike, asking: int) -> Picture:
    """Draw what one patch of an image looks at, in each head.

    Parameters
    ----------
    image : array (side, side)
    weights : array (heads, count)
        For every head the shares of the patches, in reading order; each row sums to 1.
    asking : int
        The patch that looks, framed in red.
    """
    pixels, shares = np.asarray(image), np.asarray(weights)
    heads, count = shares.shape
    across = round(count**0.5)
    patch = pixels.shape[0] // across
    row, column = divmod(asking, across)
    to_blue = LinearSegmentedColormap.from_list("to_blue", [PAPER, BLUE_PENCIL])
    figure, panels = new_axes(1, heads + 1, height=1.75)
    for number, axes in enumerate(panels):
        draw_digit(axes, pixels, "digit" if number == 0 else f"head {number}")
        if number > 0:
            spread = np.kron(shares[number - 1].reshape(across, across), np.ones((patch, patch)))
            axes.imshow(spread, cmap=to_blue, vmin=0, vmax=shares.max(), alpha=0.8)
        left, top = column * patch - 0.5, row * patch - 0.5
        x, y = np.array([0, patch, patch, 0, 0]) + left, np.array([0, 0, patch, patch, 0]) + top
        axes.plot(x, y, color=RED_PEN, clip_on=False)
    words = ", ".join(str(int(head.argmax()) + 1) for head in shares)
    alt = f"Patch {asking + 1} looks most at patches {words}, one number for each head."
    return Picture(figure, alt)


def draw_band(
    axes: Axes,
    places: ArrayLike,
    repeats: ArrayLike,
    *,
    colour: str,
    label: str = "",
    marker: str = "o",
) -> None:
    """Draw the mean of repeated measurements as a line, in a band of one standard deviation.

    Parameters
    ----------
    places : array (n,)
        Along the horizontal axis.
    repeats : array (n, repeats), or a list of n lists of any lengths
        Of two values at least each.
    """
    rows = [np.asarray(row, dtype=float) for row in np.asarray(repeats, dtype=object)]
    means = np.array([row.mean() for row in rows])
    spreads = np.array([row.std(ddof=1) for row in rows])
    axes.fill_between(places, means - spreads, means + spreads, color=colour, alpha=0.18, lw=0)
    axes.plot(places, means, marker=marker, markersize=4, color=colour, label=label)


def draw_hidden(
    images: ArrayLike, hidden: ArrayLike, guesses: ArrayLike | None = None, *, alt: str
) -> Picture:
    """Draw images, what is seen of them where patches are hidden, and what was guessed: a row each.

    Parameters
    ----------
    images, guesses : array (n, side, side)
        0 is paper, 255 is full ink.
    hidden : bool array (n, patches)
        In reading order.
    """
    pixels, masks = np.asarray(images), np.asarray(hidden)
    across = math.isqrt(masks.shape[1])
    patch = pixels.shape[1] // across
    rows = [pixels, pixels] + ([] if guesses is None else [np.asarray(guesses)])
    cell = TEXT_WIDTH / (len(pixels) + 1.3)
    figure, grid = new_axes(len(rows), len(pixels), height=len(rows) * (cell + 0.06), squeeze=False)
    for row, (name, line) in enumerate(zip(("digit", "seen", "guessed"), rows, strict=False)):
        for axes, image, mask in zip(grid[row], line, masks, strict=True):
            draw_digit(axes, np.clip(image, 0, 255).astype(np.uint8))
            if row == 1:
                cover = np.kron(mask.reshape(across, across), np.ones((patch, patch)))
                tint = LinearSegmentedColormap.from_list("tint", [COVER] * 2)
                axes.imshow(cover, cmap=tint, alpha=cover)
        grid[row, 0].set_ylabel(name, labelpad=8, rotation=0, ha="right", va="center", fontsize=9)
    return Picture(figure, alt)


def draw_found(
    picture: ArrayLike,
    boxes: Sequence[Sequence[float]],
    texts: Sequence[str] = (),
    *,
    alt: str,
    colours: Sequence[str] = (BLUE_PENCIL,),
) -> Picture:
    """Draw a photo with a box round each digit, and a text above each box.

    Parameters
    ----------
    picture : array (height, width)
        Grey values, 0 is black and 255 is white.
    boxes : n times (left, top, right, bottom)
        In pixels; right and bottom are exclusive.
    texts : n times str, optional
    colours : n times str, or one for all
    """
    pixels = np.asarray(picture)
    figure, axes = new_axes(height=TEXT_WIDTH * pixels.shape[0] / pixels.shape[1] + 0.1)
    # A camera's noise makes a file large; in steps of four greys nobody sees the difference.
    axes.imshow(np.round(pixels / 4) * 4, cmap="gray", vmin=0, vmax=255)
    for number, (left, top, right, bottom) in enumerate(boxes):
        colour = colours[number % len(colours)]
        x, y = np.array([left, right, right, left, left]), np.array([top, top, bottom, bottom, top])
        axes.plot(x - 0.5, y - 0.5, color=colour, linewidth=1.4, clip_on=False)
        if texts:
            axes.annotate(
                texts[number],
                (left - 0.5, top - 0.5),
                xytext=(0, 2),
                textcoords="offset points",
                color=PAPER,
                fontsize=9,
                bbox={"boxstyle": "square,pad=0.15", "facecolor": colour, "edgecolor": "none"},
            )
    axes.set_axis_off()
    return Picture(figure, alt)
