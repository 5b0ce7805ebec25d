"""From ink to digits: pieces of ink that hang together, joined or cut until each is one digit.

    pieces = split_into_pieces(page.mask)           # of ink.find_ink
    digits = put_in_reading_order(cut_apart(join_pieces(pieces)))

The bar of a 5 may float above it, and two digits may touch. Reading order is lines from top to
bottom, each from left to right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

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
        mask[piece.top - top : piece.bottom - top, piece.left - left : piece.right - left] |= (
            piece.mask
        )
    return Piece(mask, top, left)


def join_pieces(pieces: list[Piece]) -> list[Piece]:
    """Join what makes one digit: the bar of a 5 lies above it, a broken stroke goes on nearby.

    The largest pieces are joined first, and what came of it last. Two that do not belong together
    never will, unless one of them grows: so each, old or new, is held against the others only once,
    and a page of 1,000 dots is no matter of minutes.
    """
    tallest = max(max(p.height, p.width) for p in pieces)
    pieces = sorted(pieces, key=lambda piece: -piece.height * piece.width)
    groups = _Groups(pieces, tallest)
    for number, piece in enumerate(pieces):
        groups.add([number], (piece.top, piece.left, piece.bottom, piece.right))
    while groups.belonging.any():
        groups.join_first()
    united = [
        unite([pieces[member] for member in groups.members[group]])
        for group in np.flatnonzero(groups.alive)
    ]
    return [p for p in united if max(p.height, p.width) >= SMALLEST_DIGIT * tallest]


class _Groups:
    """Groups of pieces that are being joined, by number, in the order in which they were made.

    Attributes
    ----------
    members : list of lists of int
        Which pieces each group holds.
    alive : bool (groups,)
        Whether it has not been joined with another yet.
    belonging : bool (groups, groups)
        Which two that live belong together; the first of two is the older one.
    """

    def __init__(self, pieces: list[Piece], tallest: int) -> None:
        most = 2 * len(pieces) - 1  # every join makes one of two
        self.members: list[list[int]] = []
        self.alive = np.zeros(most, bool)
        self.belonging = np.zeros((most, most), bool)
        self._pieces, self._tallest = pieces, tallest
        self._boxes = np.zeros((most, 4))  # top, left, bottom, right
        boxes = np.array([(p.top, p.left, p.bottom, p.right) for p in pieces], np.float64)
        # Pixels between the ink of two pieces: until they are measured, those between their boxes.
        self._apart = np.maximum(-_overlap(boxes[:, None], boxes).min(axis=-1), 0)
        self._measured = np.zeros(self._apart.shape, bool)
        self._outlines: dict[int, tuple[cKDTree, NDArray[np.intp]]] = {}

    def add(self, members: list[int], box: Sequence[float]) -> None:
        """Take in a group, and find out which others belong to it."""
        new, others = len(self.members), np.flatnonzero(self.alive)
        self.members.append(members)
        self.alive[new] = True
        self._boxes[new] = box
        reaches = _reaches(self._boxes[new], self._boxes[others], self._tallest)
        self.belonging[others, new] = reaches == np.inf
        near = (reaches >= 0) & (reaches < np.inf)
        for other, reach in zip(others[near], reaches[near], strict=True):
            touch = self._nearly_touch(members, self.members[other], reach)
            self.belonging[other, new] = touch

    def join_first(self) -> None:
        """Make one group of the first two that belong together."""
        one = int(self.belonging.any(axis=1).argmax())
        other = int(self.belonging[one].argmax())
        for gone in (one, other):
            self.alive[gone] = self.belonging[gone] = self.belonging[:, gone] = False
        low, high = self._boxes[[one, other]].min(axis=0), self._boxes[[one, other]].max(axis=0)
        self.add(self.members[one] + self.members[other], [*low[:2], *high[2:]])

    def _nearly_touch(self, ones: list[int], others: list[int], reach: float) -> bool:
        """Whether at most `reach` pixels lie between the ink of two groups of pieces."""
        apart = self._apart[ones][:, others]
        near = np.flatnonzero(apart <= reach)
        if self._measured[ones][:, others].ravel()[near].any():
            return True
        for place in near[apart.ravel()[near].argsort()].tolist():
            one, other = ones[place // len(others)], others[place % len(others)]
            distance = self._distance(one, other)
            self._apart[one, other] = self._apart[other, one] = distance
            self._measured[one, other] = self._measured[other, one] = True
            if distance <= reach:
                return True
        return False

    def _distance(self, one: int, other: int) -> float:
        """Return how many pixels lie between the ink of two pieces."""
        (tree, points), (other_tree, other_points) = self._outline(one), self._outline(other)
        if len(points) < len(other_points):
            tree, other_points = other_tree, points
        return float(tree.query(other_points)[0].min())

    def _outline(self, number: int) -> tuple[cKDTree, NDArray[np.intp]]:
        """Return a piece's outermost pixels on the page, as a tree to search and as (n, 2)."""
        if number not in self._outlines:
            piece = self._pieces[number]
            outermost = piece.mask & ~ndimage.binary_erosion(piece.mask)
            points = np.argwhere(outermost) + np.array([piece.top, piece.left])
            self._outlines[number] = cKDTree(points), points
        return self._outlines[number]


def _overlap(box: NDArray[np.float64], boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return by how many rows and columns boxes overlap, (n, 2); below 0 they lie apart."""
    return np.minimum(box[..., 2:], boxes[..., 2:]) - np.maximum(box[..., :2], boxes[..., :2])


def _reaches(
    box: NDArray[np.float64], boxes: NDArray[np.float64], tallest: int
) -> NDArray[np.float64]:
    """Return how far from the ink in one box the ink in each of the others may lie to belong to it.

    Pieces make one digit if one lies in the other (then the reach is infinite), or if they nearly
    touch. Of two digits side by side both have the full height; of two in different lines the union
    is too high. The parts of one digit are neither. Where there is no reach, or the boxes are
    farther apart than it, -1 stands.
    """
    down, across = _overlap(box, boxes).T
    (own_height, own_width), (heights, widths) = box[2:] - box[:2], (boxes[:, 2:] - boxes[:, :2]).T
    inside = (across >= 0.5 * np.minimum(own_width, widths)) & (
        down >= 0.5 * np.minimum(own_height, heights)
    )
    height, width = (np.maximum(box[2:], boxes[:, 2:]) - np.minimum(box[:2], boxes[:, :2])).T
    side_by_side = np.minimum(own_height, heights) > 0.75 * height
    unlike = side_by_side | (height > 1.4 * tallest) | (width > _WIDEST_DIGIT * height)
    # A scrap of ink too small for a digit belongs to a digit that is not far.
    longer_sides = np.minimum(max(own_height, own_width), np.maximum(heights, widths))
    reach = np.where(longer_sides < 0.4 * tallest, 0.2, np.where(across > 0, 0.15, 0.08)) * height
    reach[unlike | (np.maximum(-across, -down) > reach)] = -1
    return np.where(inside, np.inf, reach)


def cut_apart(pieces: list[Piece], name: str = "the picture") -> list[Piece]:
    """Cut pieces that are too wide for one digit where there is least ink.

    Raises
    ------
    HandwritingError
        If it comes to more than 1,000, as in hatching; the message calls the picture `name`.
    """
    digits: list[Piece] = []
    waiting = list(pieces)
    typical = float(np.median([p.height for p in pieces]))
    while waiting:
        _check_count(len(digits) + len(waiting), name)
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
