"""From ink to digits: pieces of ink that hang together, joined or cut until each is one digit.

    pieces = split_into_pieces(page.mask)           # of ink.find_ink
    digits = put_in_reading_order(cut_apart(join_pieces(pieces)))

The bar of a 5 may float above it, and two digits may touch. Reading order is lines from top to
bottom, each from left to right.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from mnist_lab.data.geometry import find_ink_box
from mnist_lab.handwriting.ink import SMALLEST_DIGIT, Grey, HandwritingError, Ink, Mask

_MOST_PIECES = 1_000  # of ink in a picture; more are no digits, and would take minutes
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

    def cut_from(self, ink: Ink) -> Grey:
        """Return its own ink alone, cropped to it: uint8, the darkest is 255.

        Parameters
        ----------
        ink : float64 (height, width)
            Of the whole page.
        """
        own = np.where(self.mask, ink[self.top : self.bottom, self.left : self.right], 0)
        return (own * (255 / own.max())).round().astype(np.uint8)


def split_into_pieces(mask: Mask, name: str = "the picture") -> list[Piece]:
    """Return connected pieces of ink, bool (height, width), without the specks.

    Raises
    ------
    HandwritingError
        If there are more than 1,000, as in a texture; the message calls the picture `name`.
    """
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    places = ndimage.find_objects(labels, count)
    areas = ndimage.sum_labels(mask, labels, np.arange(1, count + 1))
    sizes = [max(p[0].stop - p[0].start, p[1].stop - p[1].start) for p in places]
    # A dot may be a digit's worn piece; what is a twentieth of a digit is dust.
    kept = (np.array(sizes) >= 0.05 * max(sizes)) & (areas >= 0.002 * float(max(areas)))
    if kept.sum() > _MOST_PIECES:
        raise HandwritingError(
            f"{name} shows {kept.sum():,} pieces of ink: a texture or print, but no digits by hand."
        )
    return [
        Piece(labels[place] == number + 1, place[0].start, place[1].start)
        for number, place in enumerate(places)
        if kept[number]
    ]


def unite(pieces: list[Piece]) -> Piece:
    """Make one piece of several."""
    top, left = min(p.top for p in pieces), min(p.left for p in pieces)
    bottom, right = max(p.bottom for p in pieces), max(p.right for p in pieces)
    mask = np.zeros((bottom - top, right - left), bool)
    for piece in pieces:
        mask[piece.top - top : piece.bottom - top, piece.left - left : piece.right - left] |= (
            piece.mask
        )
    return Piece(mask, top, left)


def join_pieces(pieces: list[Piece]) -> list[Piece]:
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
                    pieces.append(unite([one, other]))
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
    if side_by_side or height > 1.4 * tallest or width > _WIDEST_DIGIT * height:
        return False
    # A scrap of ink too small for a digit belongs to a digit that is not far.
    scrap = min(max(one.height, one.width), max(other.height, other.width)) < 0.4 * tallest
    reach = (0.2 if scrap else 0.15 if across > 0 else 0.08) * height
    return max(-across, -down) <= reach and _distance(one, other) <= reach


def _distance(one: Piece, other: Piece) -> float:
    """Return how many pixels lie between the ink of two pieces."""
    both = unite([one, other])
    ink = np.zeros(both.mask.shape, bool)
    y, x = one.top - both.top, one.left - both.left
    ink[y : y + one.height, x : x + one.width] = one.mask
    far = ndimage.distance_transform_edt(~ink)
    y, x = other.top - both.top, other.left - both.left
    return float(far[y : y + other.height, x : x + other.width][other.mask].min())


def cut_apart(pieces: list[Piece]) -> list[Piece]:
    """Cut pieces that are too wide for one digit where there is least ink."""
    digits: list[Piece] = []
    waiting = list(pieces)
    typical = float(np.median([p.height for p in pieces]))
    while waiting:
        piece = waiting.pop()
        if piece.width <= _WIDEST_DIGIT * piece.height or piece.height < 0.6 * typical:
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
    rows, columns = find_ink_box(piece.mask)
    return Piece(piece.mask[rows, columns], piece.top + rows.start, piece.left + columns.start)


def put_in_reading_order(pieces: list[Piece]) -> list[Piece]:
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
