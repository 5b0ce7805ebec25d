"""From a picture of handwriting to the 28x28 images that MNIST would have made of its digits.

    for found in read_digits("sum.jpg"):
        found.image, found.box              # uint8 (28, 28), ink on 0; (left, top, right, bottom)

MNIST's makers fitted each digit into a box of 20x20 pixels, kept its aspect, smoothed it as they
shrank it, and laid its centre of mass into the middle of 28x28 (LeCun et al. 1998, section III.A).
This module does the same for photos, scans and drawings: dark ink on light paper or the reverse,
any size, with or without an alpha channel, one digit or several. In order:

1. The paper's brightness is estimated and taken away: first a smooth surface, then the soft and
   hard shadows that it leaves.
2. What stands out far enough is ink; ruled lines and specks are not.
3. Pieces of ink that belong to one digit are joined, digits that touch are cut apart, and all are
   ordered: lines from top to bottom, each from left to right.
4. The strokes of a digit are made about as wide as MNIST's are, and the digit is fitted.

A drawing that is known stroke by stroke (`draw_strokes`) needs none of this: it is drawn anew, with
a pen as wide for its size as MNIST's writers had.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from scipy import ndimage

from mnist_lab.datasets import paste_by_centre_of_mass

SIZE = 28  # pixels of a side of the result
DIGIT_BOX = 20  # pixels that the longer side of the digit gets
STROKE_WIDTH = (1.8, 2.8)  # pixels of the result: the middle half of MNIST's digits lies between
MAX_PIXELS = 100_000_000  # a larger picture is refused, not loaded
WORKING_SIDE = 1_600  # pixels; a longer side is shrunk first: digits need no more
PAPER_SIDE = 400  # pixels of the copy in which the paper's brightness is followed
PEN = 2.6  # pixels of the result: the width of a line; MNIST's digits have as much ink with it
DETAIL = 8  # strokes are drawn so many times as large, and shrunk as a photo is
FARTHEST = 1e9  # of a stroke's points from the origin, so that no difference overflows
FAINTEST_INK = 32  # of 255; below this contrast with the paper there is nothing to read
INK_SHARE = 0.35  # of the darkest ink; what is fainter is paper grain, shadow or JPEG noise
SMALLEST_DIGIT = 0.3  # of the tallest digit in the picture; what is smaller is a speck
WIDEST_DIGIT = 1.5  # width over height; a wider piece of ink is taken for digits that touch

Grey = NDArray[np.uint8]  # (height, width)
Ink = NDArray[np.float64]  # (height, width), 0 is paper
Mask = NDArray[np.bool_]  # (height, width)


class HandwritingError(ValueError):
    """A picture that holds no readable digit; the message is one sentence."""


@dataclass(frozen=True)
class FoundDigit:
    """A digit as MNIST would have it, and where it was.

    Attributes
    ----------
    image : uint8 (28, 28)
        0 is paper, 255 is full ink.
    box : (int, int, int, int)
        Left, top, right and bottom in pixels of the picture; right and bottom are exclusive.
    """

    image: NDArray[np.uint8]
    box: tuple[int, int, int, int]


def read_digits(path: str | Path) -> list[FoundDigit]:
    """Read all digits in a picture file: lines from top to bottom, each from left to right.

    Raises
    ------
    HandwritingError
        If the file is no image, is too large, or shows no ink.
    """
    return find_digits(_load_grey(Path(path)), str(path))


def read_digit(path: str | Path) -> FoundDigit:
    """Read a picture file that holds one digit: all ink in it belongs to that digit.

    Raises
    ------
    HandwritingError
        If the file is no image, is too large, or shows no ink.
    """
    return find_digit(_load_grey(Path(path)), str(path))


def read_digit_image(path: str | Path) -> NDArray[np.uint8]:
    """Read the one digit in a picture file: uint8 (28, 28), for `datasets.load_image_folder`."""
    return read_digit(path).image


def find_digits(grey: Grey, name: str = "the picture") -> list[FoundDigit]:
    """Find all digits in grey values, uint8 (height, width), light or dark paper.

    Raises
    ------
    HandwritingError
        If there is no ink; the message calls the picture `name`.
    """
    page = _find_ink(grey, name)
    pieces = _cut_apart(_join_pieces(_split_into_pieces(page.mask)), page.ink)
    return [page.cut_out(piece) for piece in _in_reading_order(pieces)]


def find_digit(grey: Grey, name: str = "the picture") -> FoundDigit:
    """Find the one digit in grey values, uint8 (height, width): all ink but specks is its ink.

    Raises
    ------
    HandwritingError
        If there is no ink; the message calls the picture `name`.
    """
    page = _find_ink(grey, name)
    return page.cut_out(_union(_split_into_pieces(page.mask)))


# --- From a digit's ink to MNIST's image ---------------------------------------------------------


def fit_like_mnist(digit: Grey) -> NDArray[np.uint8]:
    """Fit a digit, cropped to its ink, into 20x20, and its centre of mass into that of 28x28."""
    height, width = digit.shape
    scale = DIGIT_BOX / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    # A box filter averages what it shrinks, and so leaves the grey edges that MNIST has.
    filter_ = Image.Resampling.BOX if scale < 1 else Image.Resampling.BICUBIC
    small = np.asarray(Image.fromarray(digit).resize(size, filter_))
    if scale < 1:  # a line thinner than a pixel of the result is as black as any other
        small = (small * (255 / max(1, int(small.max())))).round().astype(np.uint8)
    canvas = np.zeros((SIZE, SIZE), np.uint8)
    paste_by_centre_of_mass(canvas, small)
    return canvas


def draw_strokes(strokes: Iterable[Sequence[Sequence[float]]]) -> NDArray[np.uint8]:
    """Draw strokes as MNIST would show them: uint8 (28, 28), ink on 0.

    Thin lines of a mouse, thick ones of a finger and small drawings all become alike: the pen is
    as wide as MNIST's when the digit is as large as MNIST's. The pad in the page does the same
    (`widgets/static/preprocess.js`), and a test holds the two together.

    Parameters
    ----------
    strokes : sequences of (x, y) or (x, y, ...)
        A stroke is the points that the pen passed without leaving the paper. x goes to the right
        and y down, in any unit.

    Raises
    ------
    HandwritingError
        If there is no point, or one that is not two finite numbers.
    """
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
    paper = np.zeros((int(np.ceil(bottom)), int(np.ceil(right))))
    for line in lines:
        ends = line[1:] if len(line) > 1 else line  # a dot is a line from a point to itself
        for start, end in zip(line, ends, strict=False):
            _draw_line(paper, start, end, radius)
    ink = paper.round().astype(np.uint8)
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    return fit_like_mnist(ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])


def _points_of(stroke: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    """Return a stroke's points as (n, 2)."""
    try:
        points = np.array([[point[0], point[1]] for point in stroke], np.float64).reshape(-1, 2)
    except (TypeError, ValueError, IndexError, KeyError) as error:
        raise HandwritingError("A stroke is a list of points (x, y).") from error
    if not np.isfinite(points).all() or np.abs(points).max(initial=0) > FARTHEST:
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


def measure_stroke_width(digit: Grey) -> float:
    """Return how wide the strokes of a digit are, in pixels of the 28x28 result.

    It is the median, along the middle of the strokes, of twice the distance to the paper.

    Parameters
    ----------
    digit : uint8 (height, width)
        Cropped to its ink.
    """
    inside = _enlarge(digit) > 127
    return float(np.median(_widths(inside))) if inside.any() else 0.0


ENLARGED = 4  # strokes are measured and changed at so many pixels to one of the result


def normalise_stroke_width(digit: Grey) -> NDArray[np.uint8]:
    """Make thin strokes wider and wide strokes thinner, until they are about as wide as MNIST's.

    Strokes that already lie within `STROKE_WIDTH` are left as they are. Every edge is moved by the
    same distance, outwards or inwards. Where strokes differ in width, the finest of them limits how
    much is taken off.

    Parameters
    ----------
    digit : uint8 (height, width)
        Cropped to its ink.

    Returns
    -------
    uint8 (height, width), cropped to its ink; of another size than `digit` if it was changed.
    """
    large = _enlarge(digit)
    inside = large > 127
    if not inside.any():
        return digit
    widths = _widths(inside)
    width = float(np.median(widths))
    wanted = min(max(width, STROKE_WIDTH[0]), STROKE_WIDTH[1])
    if wanted == width:
        return digit
    # The digit is fitted again afterwards: what it grows by, it is then shrunk by.
    outwards = (wanted - width) / (2 * (1 - wanted / DIGIT_BOX))
    finest = float(np.percentile(widths, 10))
    outwards = max(outwards, min(0.0, STROKE_WIDTH[0] / 2 - finest / 2))
    margin = 2 + math.ceil(max(outwards, 0) * ENLARGED)
    inside = np.pad(inside, margin)
    distance = ndimage.distance_transform_edt(~inside) - ndimage.distance_transform_edt(inside)
    # Half a pixel inside an edge is full ink, half a pixel outside is none: a smooth edge.
    moved = (outwards * ENLARGED + 0.5 - distance + 0.5 * np.sign(distance)).clip(0, 1)
    rows, columns = np.flatnonzero(moved.any(axis=1)), np.flatnonzero(moved.any(axis=0))
    cropped = moved[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return (cropped * 255).round().astype(np.uint8)


def _enlarge(digit: Grey) -> NDArray[np.uint8]:
    """Bring a digit's longer side to `ENLARGED` times the digit box, with an empty rim."""
    height, width = digit.shape
    scale = ENLARGED * DIGIT_BOX / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    filter_ = Image.Resampling.BOX if scale < 1 else Image.Resampling.BICUBIC
    large = np.asarray(Image.fromarray(digit).resize(size, filter_))
    if scale < 1:
        large = (large * (255 / max(1, int(large.max())))).round().astype(np.uint8)
    return np.pad(large, 1)


def _widths(inside: Mask) -> NDArray[np.float64]:
    """Return the stroke width at every pixel in the middle of a stroke, in pixels of the result."""
    depth = ndimage.distance_transform_edt(inside)
    middle = inside & (depth == ndimage.maximum_filter(depth, 3))
    return (2 * depth[middle] - 1) / ENLARGED


# --- From a picture to ink -----------------------------------------------------------------------


@dataclass(frozen=True)
class _Page:
    """The ink of a picture at its working size; `shrinkage` leads back to the picture's pixels."""

    ink: Ink
    mask: Mask
    shrinkage: float
    size: tuple[int, int]  # width and height of the picture

    def cut_out(self, piece: Piece) -> FoundDigit:
        """Return a piece of ink as MNIST would have it."""
        top, left = piece.top, piece.left
        bottom, right = top + piece.mask.shape[0], left + piece.mask.shape[1]
        # The mask ends where ink falls below the threshold; the soft edge outside belongs to it.
        ink = np.where(piece.mask, self.ink[top:bottom, left:right], 0)
        digit = (ink * (255 / ink.max())).round().astype(np.uint8)
        edges = (left * self.shrinkage, top * self.shrinkage)
        far = (right * self.shrinkage, bottom * self.shrinkage)
        box = (
            max(0, round(edges[0])),
            max(0, round(edges[1])),
            min(self.size[0], round(far[0])),
            min(self.size[1], round(far[1])),
        )
        return FoundDigit(fit_like_mnist(normalise_stroke_width(digit)), box)


def _find_ink(grey: Grey, name: str) -> _Page:
    """Tell ink from paper, or say why there is none."""
    if grey.size == 0:
        raise HandwritingError(f"{name} shows no digit: it has no pixels.")
    image = Image.fromarray(grey)
    shrinkage = max(1.0, max(image.size) / WORKING_SIDE)
    if shrinkage > 1:
        size = tuple(max(1, round(side / shrinkage)) for side in image.size)
        image = image.resize((size[0], size[1]), Image.Resampling.BOX)
    ink = _take_paper_away(np.asarray(image, np.float64))
    peak = float(ink.max(initial=0.0))
    if peak < FAINTEST_INK:
        raise HandwritingError(f"{name} shows no digit: nothing stands out from the paper.")
    mask = ink >= INK_SHARE * peak
    mask &= ~_find_ruled_lines(ink, mask)
    if not mask.any():
        raise HandwritingError(f"{name} shows no digit: there are only ruled lines on the paper.")
    return _Page(ink, mask, shrinkage, (grey.shape[1], grey.shape[0]))


def _take_paper_away(values: Ink) -> Ink:
    """Return ink on 0 of grey values: what differs from the paper, whichever of them is darker.

    Dark ink is measured as the share of the paper's light that it swallows (times 255), so that ink
    in a shadow counts as much as ink in the light.
    """
    # Light changes slowly: it is looked for in a small copy, where noise is averaged away too.
    image = Image.fromarray(values.astype(np.float32))
    shrinkage = max(1.0, max(image.size) / PAPER_SIDE)
    size = (max(1, round(image.width / shrinkage)), max(1, round(image.height / shrinkage)))
    small = np.asarray(image.resize(size, Image.Resampling.BOX), np.float64)
    small_paper, sign = _follow_paper(small)
    lit = Image.fromarray(small_paper.astype(np.float32))
    paper = np.asarray(lit.resize(image.size, Image.Resampling.BILINEAR), np.float64)
    ink = sign * (values - paper)
    if sign < 0:
        ink = ink * 255 / paper.clip(64, 255)  # in a deeper shadow there is little but noise
    found: Ink = ink.clip(0)
    return found


def _follow_paper(values: Ink) -> tuple[Ink, float]:
    """Return the paper's brightness everywhere, and -1 if ink is darker than it, 1 if lighter."""
    paper = _smooth_paper(values)
    difference = values - paper
    large = min(values.shape) >= 100
    # One bright or dark pixel is noise; ink is at least a little wider.
    soft = ndimage.uniform_filter(difference, 3) if large else difference
    sign = -1.0 if -soft.min() >= soft.max() else 1.0
    if not large:  # too small for shadows, and ink may be most of it
        return paper, sign
    # Now that ink is roughly known, the paper can be followed where it changes faster.
    ink = (sign * difference).clip(0)
    bare = ~ndimage.binary_dilation(ink > 0.2 * ink.max(), iterations=2)
    around = max(values.shape) / 40  # wider than a stroke, narrower than most shadows
    weight = ndimage.gaussian_filter(bare.astype(np.float64), around, truncate=3)
    local = ndimage.gaussian_filter(np.where(bare, difference, 0), around, truncate=3)
    return paper + np.where(weight > 0.02, local / np.maximum(weight, 0.02), 0), sign


def _smooth_paper(values: Ink) -> Ink:
    """Fit a quadratic surface to the paper; what differs much from it counts little in the fit."""
    height, width = values.shape
    rim = np.concatenate([values[0], values[-1], values[:, 0], values[:, -1]])
    paper = np.full_like(values, float(np.median(rim)))
    if min(height, width) < 16:
        return paper
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1)
    flat = terms.reshape(-1, 6)
    for _ in range(8):
        residual = (values - paper).ravel()
        scale = max(4.0, 1.5 * float(np.median(np.abs(residual))))
        weighted = flat / (1 + (residual / scale) ** 2)[:, None]  # Cauchy's: ink hardly pulls
        normal, right = weighted.T @ flat, weighted.T @ values.ravel()
        paper = terms @ np.linalg.lstsq(normal, right, rcond=None)[0]
    return paper


def _find_ruled_lines(ink: Ink, mask: Mask) -> Mask:
    """Return the pixels of ruled lines, horizontal and vertical, but not of strokes on them.

    A ruled line is thin, straight, and runs from rim to rim; it may be a few degrees off.
    """
    if min(mask.shape) < 100:
        return np.zeros_like(mask)
    # A line may be fainter than a stroke here and there: what counts is that it goes on.
    noise = 1.5 * float(np.median(ink[ink > 0])) if (ink > 0).any() else 0.0
    faint = ink >= max(0.3 * INK_SHARE * ink.max(), 2 * noise)
    return _find_level_lines(faint, mask) | _find_level_lines(faint.T, mask.T).T


def _find_level_lines(faint: Mask, mask: Mask) -> Mask:
    """Return the pixels in `mask` of level lines in `faint`, but not of strokes on them."""
    height, width = mask.shape
    tolerance = 1 + width // 500  # pixels that a line may leave its straight course by
    near = ndimage.binary_dilation(faint, np.ones((2 * tolerance + 1, 1), bool))
    ys, xs = np.nonzero(near)
    best_slope, best_cover = 0.0, np.zeros(3 * height)
    for slope in np.linspace(-0.07, 0.07, 57):  # 4 degrees to either side
        # Where the row of a line through each pixel meets the middle column.
        rows = ys - np.round((xs - width / 2) * slope).astype(np.int64) + height
        cover = np.bincount(rows, minlength=3 * height)[: 3 * height] / width
        if (cover**4).sum() > (best_cover**4).sum():
            best_slope, best_cover = float(slope), cover
    ruled = np.flatnonzero(best_cover > 0.8) - height
    if not len(ruled):
        return np.zeros_like(mask)
    shift = np.round((np.arange(width) - width / 2) * best_slope).astype(np.int64)
    lines = np.zeros_like(mask)
    for row in ruled:
        y = row + shift
        inside = (y >= 0) & (y < height)
        lines[y[inside], np.flatnonzero(inside)] = True
    # Where ink goes on above and below, a stroke crosses the line: it stays.
    reach = 2 * tolerance + 4
    rest = mask & ~lines
    crossed = _smear_down(rest, reach) & _smear_down(rest[::-1], reach)[::-1]
    found: Mask = lines & mask & ~crossed
    return found


def _smear_down(mask: Mask, reach: int) -> Mask:
    """Return what is in the mask or at most `reach` pixels below it."""
    smeared = mask.copy()
    for distance in range(1, min(reach, len(mask) - 1) + 1):
        smeared[distance:] |= mask[:-distance]
    return smeared


# --- From ink to digits --------------------------------------------------------------------------


@dataclass(frozen=True)
class Piece:
    """Connected ink, or several pieces of it that make a digit: a mask and where it lies."""

    mask: Mask
    top: int
    left: int

    @property
    def bottom(self) -> int:
        """The first row below it."""
        return self.top + self.mask.shape[0]

    @property
    def right(self) -> int:
        """The first column to its right."""
        return self.left + self.mask.shape[1]

    @property
    def height(self) -> int:
        """In pixels."""
        return self.mask.shape[0]

    @property
    def width(self) -> int:
        """In pixels."""
        return self.mask.shape[1]


def _split_into_pieces(mask: Mask) -> list[Piece]:
    """Return connected pieces of ink without the specks."""
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    places = ndimage.find_objects(labels, count)
    areas = ndimage.sum_labels(mask, labels, np.arange(1, count + 1))
    sizes = [max(p[0].stop - p[0].start, p[1].stop - p[1].start) for p in places]
    large = max(sizes)
    # A dot may be a digit's worn piece; what is a twentieth of a digit is dust.
    return [
        Piece(labels[place] == number, place[0].start, place[1].start)
        for number, (place, size, area) in enumerate(zip(places, sizes, areas, strict=True), 1)
        if size >= 0.05 * large and area >= 0.002 * float(max(areas))
    ]


def _union(pieces: list[Piece]) -> Piece:
    top, left = min(p.top for p in pieces), min(p.left for p in pieces)
    bottom, right = max(p.bottom for p in pieces), max(p.right for p in pieces)
    mask = np.zeros((bottom - top, right - left), bool)
    for piece in pieces:
        mask[piece.top - top : piece.bottom - top, piece.left - left : piece.right - left] |= (
            piece.mask
        )
    return Piece(mask, top, left)


def _join_pieces(pieces: list[Piece]) -> list[Piece]:
    """Join what makes one digit: the bar of a 5 lies above it, a broken stroke goes on nearby."""
    tallest = max(max(p.height, p.width) for p in pieces)
    pieces = sorted(pieces, key=lambda piece: -piece.height * piece.width)
    changed = True
    while changed:
        changed = False
        for one in pieces:
            for other in pieces:
                if other is not one and _belong_together(one, other, tallest):
                    pieces = [p for p in pieces if p is not one and p is not other]
                    pieces.append(_union([one, other]))
                    changed = True
                    break
            if changed:
                break
    return [p for p in pieces if max(p.height, p.width) >= SMALLEST_DIGIT * tallest]


def _belong_together(one: Piece, other: Piece, tallest: int) -> bool:
    """Whether two pieces make one digit: one lies in the other, or they nearly touch.

    Of two digits side by side both have the full height; of two in different lines the union is too
    high. The parts of one digit are neither.
    """
    across = min(one.right, other.right) - max(one.left, other.left)
    down = min(one.bottom, other.bottom) - max(one.top, other.top)
    if across >= 0.5 * min(one.width, other.width) and down >= 0.5 * min(one.height, other.height):
        return True
    height = max(one.bottom, other.bottom) - min(one.top, other.top)
    width = max(one.right, other.right) - min(one.left, other.left)
    side_by_side = min(one.height, other.height) > 0.75 * height
    if side_by_side or height > 1.4 * tallest or width > WIDEST_DIGIT * height:
        return False
    # A scrap of ink too small for a digit belongs to a digit that is not far.
    scrap = min(max(one.height, one.width), max(other.height, other.width)) < 0.4 * tallest
    reach = (0.2 if scrap else 0.15 if across > 0 else 0.08) * height
    return max(-across, -down) <= reach and _distance(one, other) <= reach


def _distance(one: Piece, other: Piece) -> float:
    """Return how many pixels lie between the ink of two pieces."""
    both = _union([one, other])
    ink = np.zeros(both.mask.shape, bool)
    y, x = one.top - both.top, one.left - both.left
    ink[y : y + one.height, x : x + one.width] = one.mask
    far = ndimage.distance_transform_edt(~ink)
    y, x = other.top - both.top, other.left - both.left
    return float(far[y : y + other.height, x : x + other.width][other.mask].min())


def _cut_apart(pieces: list[Piece], ink: Ink) -> list[Piece]:
    """Cut pieces that are too wide for one digit where there is least ink."""
    digits: list[Piece] = []
    waiting = list(pieces)
    typical = float(np.median([p.height for p in pieces]))
    while waiting:
        piece = waiting.pop()
        if piece.width <= WIDEST_DIGIT * piece.height or piece.height < 0.6 * typical:
            digits.append(piece)
            continue
        columns = piece.mask.sum(axis=0)
        # Digits are at least 0.4 times as wide as they are high.
        edge = round(0.4 * piece.height)
        middle = columns[edge : piece.width - edge]
        if len(middle) == 0 or middle.min() > 0.35 * piece.height:
            digits.append(piece)
            continue
        # Among the thinnest places, the one nearest to an even share of the width.
        parts = max(2, round(piece.width / (0.8 * piece.height)))
        places = edge + np.flatnonzero(middle <= middle.min() + 0.03 * piece.height)
        shares = np.arange(1, parts) * piece.width / parts
        cut = int(places[np.abs(places[:, None] - shares).min(axis=1).argmin()])
        halves = [
            _trim(Piece(mask, piece.top, piece.left + left))
            for mask, left in ((piece.mask[:, :cut], 0), (piece.mask[:, cut:], cut))
        ]
        # A wide 2 comes apart into a hook and a tail; two digits are both about as high as both.
        if min(half.height for half in halves) < 0.7 * piece.height:
            digits.append(piece)
        else:
            waiting += halves
    return digits


def _trim(piece: Piece) -> Piece:
    rows = np.flatnonzero(piece.mask.any(axis=1))
    columns = np.flatnonzero(piece.mask.any(axis=0))
    mask = piece.mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return Piece(mask, piece.top + int(rows[0]), piece.left + int(columns[0]))


def _in_reading_order(pieces: list[Piece]) -> list[Piece]:
    """Order digits: lines from top to bottom, each from left to right.

    A digit belongs to a line if its middle lies within the height of the line's last digit near it.
    """
    lines: list[list[Piece]] = []
    for piece in sorted(pieces, key=lambda p: p.left):
        middle = (piece.top + piece.bottom) / 2
        for line in lines:
            last = line[-1]
            last_middle = (last.top + last.bottom) / 2
            if last.top <= middle < last.bottom or piece.top <= last_middle < piece.bottom:
                line.append(piece)
                break
        else:
            lines.append([piece])
    lines.sort(key=lambda line: float(np.mean([(p.top + p.bottom) / 2 for p in line])))
    return [piece for line in lines for piece in line]


# --- Files ---------------------------------------------------------------------------------------


def _load_grey(path: Path) -> NDArray[np.uint8]:
    """Load a picture as grey values, upright, transparency laid on white."""
    try:
        if path.is_dir():
            raise HandwritingError(f"{path} is a folder; an image file is expected.")
        with Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                raise HandwritingError(
                    f"{path} has {image.width}x{image.height} pixels; at most "
                    f"{MAX_PIXELS // 1_000_000} million can be read."
                )
            upright = ImageOps.exif_transpose(image)
            if upright.mode.startswith("I"):
                return _to_8_bits(np.asarray(upright, np.float64))
            if upright.mode == "F":
                return _stretch(np.asarray(upright, np.float64))
            if upright.has_transparency_data:
                upright = upright.convert("RGBA")
                paper = Image.new("RGBA", upright.size, "white")
                upright = Image.alpha_composite(paper, upright)
            return np.asarray(upright.convert("L"))
    except FileNotFoundError as error:
        raise HandwritingError(f"{path} does not exist.") from error
    except UnidentifiedImageError as error:
        raise HandwritingError(f"{path} is no image that can be read.") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise HandwritingError(f"{path} is too large: {error}") from error
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        if isinstance(error, HandwritingError):
            raise
        raise HandwritingError(f"{path} cannot be read as an image: {error}.") from error


def _to_8_bits(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Bring whole numbers to 0 to 255; the highest tells whether they have 8, 12 or 16 bits."""
    bits = max(8, int(values.max(initial=0)).bit_length())
    return (values.clip(0) * (255 / (2**bits - 1))).round().astype(np.uint8)


def _stretch(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Bring floats to 0 to 255, whatever their range; what is not finite counts as 0."""
    values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    return ((values - low) * (255 / max(high - low, 1e-9))).round().astype(np.uint8)
