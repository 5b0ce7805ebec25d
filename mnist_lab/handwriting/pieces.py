"""From ink to digits: pieces of ink that hang together, joined or cut until each is one digit.

    pieces = split_into_pieces(page.mask)           # of ink.find_ink
    digits = put_in_reading_order(cut_apart(join_pieces(pieces)))

The bar of a 5 may float above it, and two digits may touch. How large a digit is, is told by where
most of the ink's outline is: neither specks nor one tall mark decide. Reading order is lines from
top to bottom, each from left to right.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from mnist_lab.data.geometry import find_ink_box
from mnist_lab.handwriting.ink import HandwritingError
from mnist_lab.handwriting.paper import Grey, Ink, Mask

SMALLEST_DIGIT = 0.35  # of the usual height of digits in the picture; what is lower is none
_LARGEST_DUST = 0.15  # of that height
_MOST_PIECES = 1_000  # of ink in a picture; more are no digits
_MOST_TURNED = 20  # degrees that a page may be turned by
_WIDEST_DIGIT = 1.5  # width over height; a wider piece of ink is taken for digits that touch


@dataclass(frozen=True)
class Piece:
    """Connected ink, or several pieces of it that make a digit.

    Attributes
    ----------
    mask : bool (height, width)
        Its own ink, cropped to it.
    top, left : int
        Where on the page the mask's first row and column lie.
    """

    mask: Mask
    top: int
    left: int

    @property
    def height(self) -> int:
        """In pixels."""
        return self.mask.shape[0]

    @property
    def width(self) -> int:
        """In pixels."""
        return self.mask.shape[1]

    @property
    def bottom(self) -> int:
        """The first row below it."""
        return self.top + self.height

    @property
    def right(self) -> int:
        """The first column to its right."""
        return self.left + self.width

    @property
    def middle(self) -> tuple[float, float]:
        """The column and the row of its box's middle."""
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2

    def cut_from(self, ink: Ink, mask: Mask | None = None, *, grey: bool = True) -> Grey:
        """Return its own ink alone, cropped to it: uint8, where it is strong it is 255.

        Parameters
        ----------
        ink : float32 (height, width)
            Of the whole page.
        mask : bool (height, width), optional
            Where ink is on the page: what is not its own belongs to others.
        grey : bool
            Whether the fainter ink along its edges is kept; without it they are as sharp as the
            mask.
        """
        around = 1 + (self.height > 60) if grey else 0
        top, left = max(0, self.top - around), max(0, self.left - around)
        page = (slice(top, self.bottom + around), slice(left, self.right + around))
        values = ink[page]
        own = np.zeros(values.shape, bool)
        inside = own[self.top - top :, self.left - left :][: self.height, : self.width]
        inside |= self.mask
        full = float(np.percentile(values[own], 70))
        if around:
            others = mask[page] & ~own if mask is not None else np.zeros_like(own)
            own = ndimage.binary_dilation(own, np.ones((3, 3)), around) & ~others
        digit = np.where(own, values * (255 / full), 0).clip(0, 255)
        digit = digit.round().astype(np.uint8)
        return digit[find_ink_box(np.where(digit > 32, digit, 0))]


def usual_height(pieces: list[Piece]) -> float:
    """Return how high digits are: half of all outlines belong to pieces at least as high.

    A page has more outline of digits than of specks, however many these are, and more than of one
    tall mark.
    """
    heights = np.array([piece.height for piece in pieces])
    outlines = np.array([len(_outline(piece)) for piece in pieces])
    # A dot is hardly higher than the pen is wide, and there may be a thousand of them.
    pens = np.array([2 * piece.mask.sum() for piece in pieces]) / outlines
    is_dot = heights <= 3 * pens
    if not is_dot.all():
        outlines[is_dot] = 0
    order = heights.argsort()
    half = np.searchsorted(np.cumsum(outlines[order]), outlines.sum() / 2)
    return float(heights[order][half])


def _outline(piece: Piece) -> NDArray[np.intp]:
    """Return a piece's outermost pixels on the page, (n, 2)."""
    outermost = piece.mask & ~ndimage.binary_erosion(piece.mask)
    return np.argwhere(outermost) + np.array([piece.top, piece.left])


def split_into_pieces(mask: Mask, name: str = "the picture") -> list[Piece]:
    """Return connected pieces of ink, bool (height, width), without dust.

    Raises
    ------
    HandwritingError
        If there are more than 1,000, as in a texture; the message calls the picture `name`.
    """
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    areas = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    places = ndimage.find_objects(labels)
    sizes = np.array([max(p.stop - p.start for p in place) for place in places])
    # A dot may be a digit's worn piece; what is a twentieth of a digit is dust.
    kept = (sizes >= 0.05 * sizes.max()) & (areas >= 0.002 * areas.max())
    _check_count(int(kept.sum()), name)
    return [
        Piece(labels[place] == number + 1, place[0].start, place[1].start)
        for number, place in enumerate(places)
        if kept[number]
    ]


def _check_count(count: int, name: str) -> None:
    if count > _MOST_PIECES:
        raise HandwritingError(
            f"{name} shows {count:,} pieces of ink: a texture or print, but no digits by hand."
        )


def unite(pieces: list[Piece]) -> Piece:
    """Make one piece of several."""
    top, left = min(p.top for p in pieces), min(p.left for p in pieces)
    bottom, right = max(p.bottom for p in pieces), max(p.right for p in pieces)
    mask = np.zeros((bottom - top, right - left), bool)
    for piece in pieces:
        rows, columns = piece.top - top, piece.left - left
        mask[rows : rows + piece.height, columns : columns + piece.width] |= piece.mask
    return Piece(mask, top, left)


def join_pieces(pieces: list[Piece]) -> list[Piece]:
    """Join what makes one digit: the bar of a 5 lies above it, a broken stroke goes on nearby.

    The nearest are joined first, and each two of them are held against each other once.
    """
    usual = usual_height(pieces)
    boxes = np.array([(p.top, p.left, p.bottom, p.right) for p in pieces], np.float64)
    groups = [[number] for number in range(len(pieces))]
    group_of = list(range(len(pieces)))
    pairs, waiting = _near_pairs(pieces, boxes, usual), -1
    while len(pairs) != waiting:  # what has grown may be near enough to something now
        waiting, left = len(pairs), []
        for one, other in pairs:
            first, second = sorted((group_of[one], group_of[other]))
            if first == second:
                continue
            if not _make_a_digit(boxes[first], boxes[second], usual):
                left.append((one, other))
                continue
            boxes[first] = _around(boxes[first], boxes[second])
            groups[first] += groups[second]
            for member in groups[second]:
                group_of[member] = first
            groups[second] = []
        pairs = left
    return [unite([pieces[member] for member in group]) for group in groups if group]


def _around(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the box around two boxes."""
    return np.r_[np.minimum(one[:2], other[:2]), np.maximum(one[2:], other[2:])]


def _near_pairs(
    pieces: list[Piece], boxes: NDArray[np.float64], usual: float
) -> list[tuple[int, int]]:
    """Return which two pieces are so near that they may be one digit, the nearest first."""
    overlaps = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:]) - np.maximum(
        boxes[:, None, :2], boxes[None, :, :2]
    )
    sizes = boxes[:, 2:] - boxes[:, :2]
    smaller = np.minimum(sizes[:, None], sizes[None])
    within: Mask = np.all(overlaps >= 0.5 * smaller, axis=-1)
    above = overlaps[..., 1] > 0  # one above the other
    scrap = smaller.max(axis=-1) < 0.4 * usual
    reach = usual * (0.08 + 0.07 * above + 0.05 * scrap)
    near = within | (-overlaps.min(axis=-1) <= reach)
    outlines = [_outline(piece) for piece in pieces]
    pairs = []
    for one, other in np.argwhere(np.triu(near, 1)).tolist():
        apart = float(cKDTree(outlines[one]).query(outlines[other])[0].min())
        if within[one, other] or apart <= reach[one, other]:
            pairs.append((apart, one, other))
    return [(one, other) for _, one, other in sorted(pairs)]


def _make_a_digit(one: NDArray[np.float64], other: NDArray[np.float64], usual: float) -> bool:
    """Tell whether what is in two boxes may be one digit."""
    overlap = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    sizes = np.stack([one[2:] - one[:2], other[2:] - other[:2]])
    smaller = sizes.min(axis=0)
    if (overlap >= 0.5 * smaller).all():  # one lies in the other
        return True
    # Specks beside each other are no digit, nor are two digits side by side.
    box = _around(one, other)
    height, width = box[2:] - box[:2]
    unlike = sizes.max() < SMALLEST_DIGIT * usual or smaller[0] > 0.75 * height
    return not (unlike or height > 1.4 * usual or width > _WIDEST_DIGIT * height)


def cut_apart(pieces: list[Piece], name: str = "the picture") -> list[Piece]:
    """Cut pieces that are too wide for one digit where there is least ink.

    Raises
    ------
    HandwritingError
        If it comes to more than 1,000, as in hatching; the message calls the picture `name`.
    """
    digits: list[Piece] = []
    waiting = list(pieces)
    usual = float(np.median([piece.height for piece in pieces]))
    while waiting:
        _check_count(len(digits) + len(waiting), name)
        piece = waiting.pop()
        halves = _cut(piece) if piece.height >= 0.6 * usual else []
        if halves:
            waiting += halves
        else:
            digits.append(piece)
    return digits


def _cut(piece: Piece) -> list[Piece]:
    """Return the two parts of a piece that is more than one digit; none if it is one."""
    ratio = piece.width / piece.height
    if ratio <= _WIDEST_DIGIT:
        return []
    columns = piece.mask.sum(axis=0)
    edge = round(0.4 * piece.height)  # digits are at least so wide
    thin = columns <= 0.35 * piece.height
    thin[:edge] = thin[piece.width - edge :] = False
    if not thin.any():
        return []
    # Among the thinnest places, the one nearest to an even share of the width.
    parts = max(2, round(ratio / 0.8))
    places = np.flatnonzero(thin & (columns <= columns[thin].min() + 0.03 * piece.height))
    shares = np.arange(1, parts) * piece.width / parts
    cut = int(places[np.abs(places[:, None] - shares).min(axis=1).argmin()])
    halves = [
        _trim(Piece(mask, piece.top, piece.left + left))
        for mask, left in ((piece.mask[:, :cut], 0), (piece.mask[:, cut:], cut))
    ]
    # A wide 2 comes apart into a hook and a tail; two digits are both about as high as both.
    return halves if min(half.height for half in halves) >= 0.7 * piece.height else []


def _trim(piece: Piece) -> Piece:
    rows, columns = find_ink_box(piece.mask)
    return Piece(piece.mask[rows, columns], piece.top + rows.start, piece.left + columns.start)


def tell_digits(pieces: list[Piece]) -> tuple[list[Piece], list[Piece]]:
    """Return what is high enough for a digit beside the others, and what is not.

    A minus sign, a comma and a speck are not; what is no more than dust is in neither list.
    """
    usual = usual_height(pieces)
    digits = [piece for piece in pieces if piece.height >= SMALLEST_DIGIT * usual]
    lower = [piece for piece in pieces if piece.height < SMALLEST_DIGIT * usual]
    return digits, [p for p in lower if max(p.height, p.width) >= _LARGEST_DUST * usual]


def find_turn(pieces: list[Piece]) -> float:
    """Return by how many degrees the lines of a page are turned, clockwise: -20 to 20.

    It is the median direction from a digit to the nearest one on its right.
    """
    if len(pieces) < 3:
        return 0.0
    middles = np.array([piece.middle for piece in pieces])
    steps = middles[None] - middles[:, None]
    angles = np.degrees(np.arctan2(steps[..., 1], steps[..., 0]))
    lengths = np.where(np.abs(angles) <= _MOST_TURNED, np.hypot(*np.moveaxis(steps, -1, 0)), np.inf)
    np.fill_diagonal(lengths, np.inf)
    nearest = lengths.argmin(axis=1)
    has_one = np.isfinite(lengths.min(axis=1))
    if not has_one.any():
        return 0.0
    return float(np.median(angles[np.arange(len(pieces)), nearest][has_one]))


def put_in_reading_order(pieces: list[Piece], turn: float = 0.0) -> list[Piece]:
    """Order digits: lines from top to bottom, each from left to right.

    A digit belongs to the line whose last digit is nearest in height, if it is near enough.

    Parameters
    ----------
    pieces : list of Piece
    turn : float
        By how many degrees the lines fall, as `find_turn` tells.
    """
    cos, sin = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    lines: list[list[tuple[float, float, Piece]]] = []  # along and down the upright page
    upright = [(x * cos + y * sin, y * cos - x * sin, p) for p in pieces for x, y in [p.middle]]
    for along, down, piece in sorted(upright, key=lambda entry: entry[0]):
        line = min(lines, key=lambda line: abs(down - line[-1][1]), default=[])
        if not line or abs(down - line[-1][1]) > 0.7 * max(line[-1][2].height, piece.height):
            lines.append(line := [])
        line.append((along, down, piece))
    lines.sort(key=lambda line: float(np.mean([down for _, down, _ in line])))
    return [piece for line in lines for _, _, piece in line]
