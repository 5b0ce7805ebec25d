"""From a picture of handwriting to the 28x28 images that MNIST would have made of its digits.

    for found in find_digits_in_file("sum.jpg"):
        found.image, found.box              # uint8 (28, 28), ink on 0; (left, top, right, bottom)

`geometry` says what MNIST's makers did with a digit. This module does the same for photos, scans
and drawings: dark ink on light paper or the reverse, any size, with or without an alpha channel,
one digit or several. `picture_files` loads a file. Then, in order:

1. `paper`: light and shadows are followed and divided away.
2. `ink`: what is strong enough is ink, and a stroke goes on into fainter ink.
3. `lines`: ruled lines, frames, lines under digits and dark rims go.
4. `pieces`: ink that belongs to one digit is joined, digits that touch are cut apart, what is too
   low for a digit is told and left out, and all are put in the order in which they are read.
5. Here: the digits of a turned page are set upright, their strokes made about as wide as MNIST's
   (`normalise_stroke_width`), and each is fitted (`fit_like_mnist`).

`Steps` leaves single steps out, so that their effect can be measured, and `shrink_whole` is what
somebody does who takes none of them. A drawing that is known stroke by stroke needs fewer: see
`strokes`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from mnist_lab.data.geometry import (
    DIGIT_BOX,
    IMAGE_SIDE,
    crop_to_ink,
    fit_like_mnist,
    resize_longer_side,
    restore_full_ink,
)
from mnist_lab.handwriting.ink import Page, find_ink
from mnist_lab.handwriting.paper import Box, Grey, Mask, Pixels
from mnist_lab.handwriting.picture_files import load_picture
from mnist_lab.handwriting.pieces import (
    SMALLEST_DIGIT,
    Piece,
    cut_apart,
    find_turn,
    join_pieces,
    put_in_reading_order,
    split_into_pieces,
    tell_digits,
    unite,
    usual_height,
)

_LEAST_TURN = 5.0  # degrees; a digit that is turned by less is read as well as it stands
STROKE_WIDTH = (1.6, 3.0)  # pixels of the result: three of four of MNIST's digits lie between
_MOST_TAKEN_OFF = 1.3  # pixels of the result; in wider strokes loops have closed: thinner is worse
_ENLARGED = 4  # strokes are measured and changed at so many pixels to one of the result


@dataclass(frozen=True)
class Steps:
    """What is done to a picture; leave a step out to see and to measure what it is good for."""

    paper: bool = True  # follow light and shadow; without it the paper is as bright all over
    hysteresis: bool = True  # follow strokes into fainter ink
    ruled_lines: bool = True  # take the lines of the paper away
    frames: bool = True  # take boxes, tables and the rims of scans away
    upright: bool = True  # set a turned page upright
    grey: bool = True  # keep the fainter ink along the edges of strokes
    stroke_width: bool = True  # make strokes about as wide as MNIST's
    aspect: bool = True  # keep the digit's aspect; without it the digit is stretched to a square
    smooth: bool = True  # average what is shrunk; without it every second or tenth pixel is taken
    centre_of_mass: bool = True  # without it the middle of the digit's box goes to the middle


ALL_STEPS = Steps()
TOO_LOW = "too low for a digit beside the others"
_LARGEST = 3  # times as high and wide as digits are; what was left out and is larger is no digit
_NARROWEST = 0.1  # of that height; what is narrower is a scrap of a line


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
    box: Box


@dataclass(frozen=True)
class Unread:
    """Ink that was not read, and why.

    Attributes
    ----------
    box : (int, int, int, int)
        Left, top, right and bottom in pixels of the picture; right and bottom are exclusive.
    reason : str
        As half a sentence: "too low for a digit beside the others".
    """

    box: Box
    reason: str


def find_digits_in_file(path: str | Path) -> list[FoundDigit]:
    """Find all digits in a picture file: lines from top to bottom, each from left to right.

    Raises
    ------
    HandwritingError
        If the file is no image, is too large, or shows no ink.
    """
    return find_digits(load_picture(path), str(path))


def find_digit_in_file(path: str | Path) -> FoundDigit:
    """Find the one digit in a picture file: all ink in it belongs to that digit.

    Raises
    ------
    HandwritingError
        If the file is no image, is too large, or shows no ink.
    """
    return find_digit(load_picture(path), str(path))


def load_digit_image(path: str | Path) -> NDArray[np.uint8]:
    """Load a picture file of one digit as MNIST would have it: uint8 (28, 28).

    `own_files.load_image_folder` takes it to load a folder of photos.

    Raises
    ------
    HandwritingError
        If the file is no image, is too large, or shows no ink.
    """
    return find_digit_in_file(path).image


def search_page(
    picture: Pixels, name: str = "the picture", steps: Steps = ALL_STEPS
) -> tuple[list[FoundDigit], list[Unread]]:
    """Find all digits in uint8 (height, width) or (height, width, 3), and say what was left out.

    Returns
    -------
    list of FoundDigit
        In reading order.
    list of Unread
        Where ink was found that was not read: it is much lower than the digits (a minus sign, a
        comma, a speck), too faint beside them, runs on into a printed box, or lies along the
        picture's edge. Dust is not told, nor what is much larger than digits, such as a table.

    Raises
    ------
    HandwritingError
        If there is no ink; the message calls the picture `name`.
    """
    page = _find_page(picture, name, steps)
    digits, low = tell_digits(join_pieces(split_into_pieces(page.mask, name)))
    unread = [Unread(_box_of(piece, page), TOO_LOW) for piece in low]
    unread += _find_left(page, usual_height(digits))
    digits = cut_apart(digits, name)
    turn = find_turn(digits) if steps.upright else 0.0
    found = [cut_out(page, piece, steps, turn) for piece in put_in_reading_order(digits, turn)]
    return found, unread


def _find_left(page: Page, usual: float) -> list[Unread]:
    """Return what is about as large as digits among the ink that was left out of a page."""
    unread = []
    for reason, mask in page.left.items():
        labels, count = ndimage.label(mask, np.ones((3, 3))) if mask.any() else (mask, 0)
        for rows, columns in ndimage.find_objects(labels) if count else ():
            place = Piece(mask[rows, columns], rows.start, columns.start)
            is_line = min(place.mask.shape) < _NARROWEST * usual
            is_low = place.height < SMALLEST_DIGIT * usual
            if not (is_line or is_low or max(place.mask.shape) > _LARGEST * usual):
                unread.append(Unread(_box_of(place, page), reason))
    return unread


def find_digits(
    picture: Pixels, name: str = "the picture", steps: Steps = ALL_STEPS
) -> list[FoundDigit]:
    """Find all digits in a picture, as `search_page` does, and leave out what else there is."""
    return search_page(picture, name, steps)[0]


def find_digit(picture: Pixels, name: str = "the picture", steps: Steps = ALL_STEPS) -> FoundDigit:
    """Find the one digit in uint8 (height, width) or (height, width, 3): all ink belongs to it.

    Raises
    ------
    HandwritingError
        If there is no ink; the message calls the picture `name`.
    """
    page = _find_page(picture, name, steps)
    return cut_out(page, unite(split_into_pieces(page.mask, name)), steps)


def _find_page(picture: Pixels, name: str, steps: Steps) -> Page:
    return find_ink(
        picture,
        name,
        paper=steps.paper,
        hysteresis=steps.hysteresis,
        ruled_lines=steps.ruled_lines,
        frames=steps.frames,
    )


def cut_out(page: Page, piece: Piece, steps: Steps = ALL_STEPS, turn: float = 0.0) -> FoundDigit:
    """Return a piece of a page's ink as MNIST would have it, turned back by `turn` degrees."""
    digit = piece.cut_from(page.ink, page.mask, grey=steps.grey)
    if abs(turn) >= _LEAST_TURN:
        turned = Image.fromarray(digit).rotate(turn, Image.Resampling.BICUBIC, expand=True)
        digit = crop_to_ink(np.asarray(turned))
    if steps.stroke_width:
        digit = normalise_stroke_width(digit)
    image = fit_like_mnist(
        digit, aspect=steps.aspect, smooth=steps.smooth, centre_of_mass=steps.centre_of_mass
    )
    return FoundDigit(image, _box_of(piece, page))


def _box_of(piece: Piece, page: Page) -> Box:
    return (
        max(0, round(piece.left * page.shrinkage)),
        max(0, round(piece.top * page.shrinkage)),
        min(page.size[0], round(piece.right * page.shrinkage)),
        min(page.size[1], round(piece.bottom * page.shrinkage)),
    )


def shrink_whole(grey: Grey) -> NDArray[np.uint8]:
    """Shrink a whole picture of dark ink on light paper to uint8 (28, 28), ink on 0.

    This is what somebody does who does not think of how MNIST was made: margins, shadows and thin
    lines all stay, and a picture that is not square is squeezed.
    """
    small = Image.fromarray(grey).resize((IMAGE_SIDE, IMAGE_SIDE), Image.Resampling.BOX)
    return 255 - np.asarray(small)


# --- From a digit's ink to MNIST's image ---------------------------------------------------------


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
    outwards = max(outwards, min(0.0, STROKE_WIDTH[0] / 2 - finest / 2), -_MOST_TAKEN_OFF)
    margin = 2 + math.ceil(max(outwards, 0) * _ENLARGED)
    inside = np.pad(inside, margin)
    distance = ndimage.distance_transform_edt(~inside) - ndimage.distance_transform_edt(inside)
    # Half a pixel inside an edge is full ink, half a pixel outside is none: a smooth edge.
    moved = (outwards * _ENLARGED + 0.5 - distance + 0.5 * np.sign(distance)).clip(0, 1)
    return (crop_to_ink(moved) * 255).round().astype(np.uint8)


def _enlarge(digit: Grey) -> NDArray[np.uint8]:
    """Bring a digit's longer side to `_ENLARGED` times the digit box, with an empty rim."""
    side = _ENLARGED * DIGIT_BOX
    large = resize_longer_side(digit, side)
    return np.pad(restore_full_ink(large) if max(digit.shape) > side else large, 1)


def _widths(inside: Mask) -> NDArray[np.float64]:
    """Return the stroke width at every pixel in the middle of a stroke, in pixels of the result."""
    depth = ndimage.distance_transform_edt(inside)
    middle = inside & (depth == ndimage.maximum_filter(depth, 3))
    return (2 * depth[middle] - 1) / _ENLARGED
