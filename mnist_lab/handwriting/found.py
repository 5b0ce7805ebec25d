"""From a picture of handwriting to the 28x28 images that MNIST would have made of its digits.

    for found in read_digits("sum.jpg"):
        found.image, found.box              # uint8 (28, 28), ink on 0; (left, top, right, bottom)

MNIST's makers fitted each digit into a box of 20x20 pixels, kept its aspect, smoothed it as they
shrank it, and laid its centre of mass into the middle of 28x28 (LeCun et al. 1998, section III.A).
This module does the same for photos, scans and drawings: dark ink on light paper or the reverse,
any size, with or without an alpha channel, one digit or several. In order:

1. `ink`: paper, light, shadows and ruled lines are told from ink.
2. `pieces`: ink that belongs to one digit is joined, digits that touch are cut apart, and all are
   put in the order in which they are read.
3. Here: the strokes of a digit are made about as wide as MNIST's are (`normalise_stroke_width`),
   and the digit is fitted (`fit_like_mnist`).

`Steps` leaves single steps out, so that their effect can be measured, and `shrink_whole` is what
somebody does who takes none of them. A drawing that is known stroke by stroke needs fewer: see
`strokes`.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from scipy import ndimage

from mnist_lab.data.geometry import paste_by_centre_of_mass
from mnist_lab.handwriting.ink import Grey, HandwritingError, Mask, Page, Picture, find_ink
from mnist_lab.handwriting.pieces import (
    Piece,
    cut_apart,
    join_pieces,
    put_in_reading_order,
    split_into_pieces,
    unite,
)

SIZE = 28  # pixels of a side of the result
DIGIT_BOX = 20  # pixels that the longer side of the digit gets
STROKE_WIDTH = (1.6, 3.0)  # pixels of the result: three of four of MNIST's digits lie between
MOST_TAKEN_OFF = 1.3  # pixels of the result; in wider strokes loops have closed: thinner is worse
MAX_PIXELS = 100_000_000  # a larger picture is refused, not loaded


@dataclass(frozen=True)
class Steps:
    """What is done to a picture; leave a step out to see and to measure what it is good for."""

    paper: bool = True  # follow light and shadow; without it the paper is as bright all over
    ruled_lines: bool = True  # take the lines of the paper away
    stroke_width: bool = True  # make strokes about as wide as MNIST's
    aspect: bool = True  # keep the digit's aspect; without it the digit is stretched to a square
    smooth: bool = True  # average what is shrunk; without it every second or tenth pixel is taken
    centre_of_mass: bool = True  # without it the middle of the digit's box goes to the middle


ALL_STEPS = Steps()


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
    return find_digits(_load_picture(Path(path)), str(path))


def read_digit(path: str | Path) -> FoundDigit:
    """Read a picture file that holds one digit: all ink in it belongs to that digit.

    Raises
    ------
    HandwritingError
        If the file is no image, is too large, or shows no ink.
    """
    return find_digit(_load_picture(Path(path)), str(path))


def read_digit_image(path: str | Path) -> NDArray[np.uint8]:
    """Read the one digit in a picture file: uint8 (28, 28), for `datasets.load_image_folder`."""
    return read_digit(path).image


def find_digits(
    picture: Picture, name: str = "the picture", steps: Steps = ALL_STEPS
) -> list[FoundDigit]:
    """Find all digits in uint8 (height, width) or (height, width, 3), light or dark paper.

    Raises
    ------
    HandwritingError
        If there is no ink; the message calls the picture `name`.
    """
    page = find_ink(picture, name, paper=steps.paper, ruled_lines=steps.ruled_lines)
    pieces = cut_apart(join_pieces(split_into_pieces(page.mask, name)))
    return [cut_out(page, piece, steps) for piece in put_in_reading_order(pieces)]


def find_digit(picture: Picture, name: str = "the picture", steps: Steps = ALL_STEPS) -> FoundDigit:
    """Find the one digit in uint8 (height, width) or (height, width, 3): all ink belongs to it.

    Raises
    ------
    HandwritingError
        If there is no ink; the message calls the picture `name`.
    """
    page = find_ink(picture, name, paper=steps.paper, ruled_lines=steps.ruled_lines)
    return cut_out(page, unite(split_into_pieces(page.mask, name)), steps)


def cut_out(page: Page, piece: Piece, steps: Steps = ALL_STEPS) -> FoundDigit:
    """Return a piece of a page's ink as MNIST would have it."""
    digit = piece.cut_from(page.ink)
    if steps.stroke_width:
        digit = normalise_stroke_width(digit)
    box = (
        max(0, round(piece.left * page.shrinkage)),
        max(0, round(piece.top * page.shrinkage)),
        min(page.size[0], round(piece.right * page.shrinkage)),
        min(page.size[1], round(piece.bottom * page.shrinkage)),
    )
    return FoundDigit(fit_like_mnist(digit, steps), box)


def shrink_whole(grey: Grey) -> NDArray[np.uint8]:
    """Shrink a whole picture of dark ink on light paper to uint8 (28, 28), ink on 0.

    This is what somebody does who does not think of how MNIST was made: margins, shadows and thin
    lines all stay, and a picture that is not square is squeezed.
    """
    small = Image.fromarray(grey).resize((SIZE, SIZE), Image.Resampling.BOX)
    return 255 - np.asarray(small)


# --- From a digit's ink to MNIST's image ---------------------------------------------------------


def fit_like_mnist(digit: Grey, steps: Steps = ALL_STEPS) -> NDArray[np.uint8]:
    """Fit a digit, cropped to its ink, into 20x20, and its centre of mass into that of 28x28.

    Parameters
    ----------
    digit : uint8 (height, width)
        0 is paper.
    steps : Steps
        `aspect`, `smooth` and `centre_of_mass` count here.
    """
    height, width = digit.shape
    scale = DIGIT_BOX / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    if not steps.aspect:
        size = (DIGIT_BOX, DIGIT_BOX)
    # A box filter averages what it shrinks, and so leaves the grey edges that MNIST has.
    filter_ = Image.Resampling.BOX if scale < 1 else Image.Resampling.BICUBIC
    if not steps.smooth:
        filter_ = Image.Resampling.NEAREST
    small = np.asarray(Image.fromarray(digit).resize(size, filter_))
    if scale < 1:  # a line thinner than a pixel of the result is as black as any other
        small = (small * (255 / max(1, int(small.max())))).round().astype(np.uint8)
    canvas = np.zeros((SIZE, SIZE), np.uint8)
    if steps.centre_of_mass:
        paste_by_centre_of_mass(canvas, small)
    else:
        top, left = (SIZE - small.shape[0]) // 2, (SIZE - small.shape[1]) // 2
        canvas[top : top + small.shape[0], left : left + small.shape[1]] = small
    return canvas


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
    outwards = max(outwards, min(0.0, STROKE_WIDTH[0] / 2 - finest / 2), -MOST_TAKEN_OFF)
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


# --- Files ---------------------------------------------------------------------------------------


def _load_picture(path: Path) -> Picture:
    """Load a picture, grey or coloured, upright, transparency laid on white."""
    try:
        if path.is_dir():
            raise HandwritingError(f"{path} is a folder; an image file is expected.")
        with _no_warning_of_size(), Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                raise HandwritingError(
                    f"{path} has {image.width}x{image.height} pixels; at most "
                    f"{MAX_PIXELS // 1_000_000} million can be read."
                )
            ImageOps.exif_transpose(image, in_place=True)  # large pictures are not copied
            return _values_of(image)
    except FileNotFoundError as error:
        raise HandwritingError(f"{path} does not exist.") from error
    except UnidentifiedImageError as error:
        raise HandwritingError(f"{path} is no image that can be read.") from error
    except Image.DecompressionBombError as error:
        raise HandwritingError(f"{path} is too large: {error}") from error
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        if isinstance(error, HandwritingError):
            raise
        raise HandwritingError(f"{path} cannot be read as an image: {error}.") from error


@contextmanager
def _no_warning_of_size() -> Iterator[None]:
    """Keep Pillow from warning of large pictures: `MAX_PIXELS` is the bound here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        yield


def _values_of(image: Image.Image) -> Picture:
    """Return grey values or colours, uint8; transparency is laid on white."""
    if image.mode.startswith("I"):
        return _to_8_bits(np.asarray(image, np.float64))
    if image.mode == "F":
        return _stretch(np.asarray(image, np.float64))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    if image.mode not in ("L", "RGB"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    return np.asarray(image)


def _to_8_bits(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Bring whole numbers to 0 to 255; the highest tells whether they have 8, 12 or 16 bits."""
    bits = max(8, int(values.max(initial=0)).bit_length())
    return (values.clip(0) * (255 / (2**bits - 1))).round().astype(np.uint8)


def _stretch(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Bring floats to 0 to 255, whatever their range; what is not finite counts as 0."""
    values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    return ((values - low) * (255 / max(high - low, 1e-9))).round().astype(np.uint8)
