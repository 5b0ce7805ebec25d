"""Picture files as a person sees them: upright, of 8 bits, transparency laid on what shows the ink.

    pixels = load_pixels("sum.jpg")     # uint8 (height, width), or (height, width, 3)
    count_pages("scan.tif")             # 3, of which `load_pixels` gives the first

What phones, scanners, browsers and drawing programs write is read: `PICTURE_FORMATS`. What Pillow
would hand to another program (EPS to Ghostscript) is not.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from mnist_lab.data.digit_set import DataError
from mnist_lab.data.foreign_files import open_foreign, refuse_damage
from mnist_lab.reasons import reason_of

# By Pillow's names. HEIF, as iPhones save it, only where pillow-heif has been registered.
PICTURE_FORMATS = (
    *("AVIF", "BMP", "DIB", "GIF", "HEIF", "ICO", "JPEG", "JPEG2000", "MPO", "PCX", "PNG", "PPM"),
    *("PSD", "QOI", "SGI", "TGA", "TIFF", "WEBP", "XBM"),
)
_WITHOUT_SIGNATURE = ("TGA",)  # which many a file that is no picture resembles
_PAGELESS = ("MPO", "PSD")  # further "pages" are a phone's thumbnails and gain maps, or layers
# What people call a picture although Pillow alone cannot read it.
_FURTHER_SUFFIXES = frozenset({".heic", ".heif", ".jxl", ".svg"})

_MAX_PIXELS = 100_000_000  # a larger picture is refused, not loaded

# Who asks for Pillow's log gets it; without this it would go to standard error.
logging.getLogger("PIL").addHandler(logging.NullHandler())

_ORIENTATION = 0x0112  # the EXIF tag that says how the camera was held
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SUBFILE_TYPE, _REDUCED = 0x00FE, 1  # the TIFF tag, and its bit, of a smaller copy of another page


def load_pixels(path: str | Path) -> NDArray[np.uint8]:
    """Load a picture, grey or coloured; of several pages or frames the first.

    Returns
    -------
    uint8 (height, width), or (height, width, 3): red, green, blue

    Raises
    ------
    DataError
        If the file is missing, is no image, is damaged, or has more than 100 million pixels.
    """
    with _open_picture(path) as image:
        if image.width * image.height > _MAX_PIXELS:
            raise DataError(
                f"{path} has {image.width}x{image.height} pixels; at most "
                f"{_MAX_PIXELS // 1_000_000} million can be read."
            )
        with refuse_damage(path, "cannot be read as an image"), _libtiff_kept_quiet(image):
            decoded = _decode(image)
    try:
        return _values_of(decoded)
    except MemoryError as error:
        raise DataError(f"{path} is too large: {reason_of(error)}.") from error


@contextmanager
def _libtiff_kept_quiet(image: Image.Image) -> Iterator[None]:
    """Lead standard error to nowhere while a TIFF is decoded: its library itself writes there."""
    if image.format != "TIFF":
        yield
        return
    if sys.stderr is not None:
        sys.stderr.flush()
    with ExitStack() as stack:
        with suppress(OSError):  # it is closed
            kept = os.dup(2)
            stack.callback(os.close, kept)
            nowhere = os.open(os.devnull, os.O_WRONLY)
            stack.callback(os.close, nowhere)
            stack.callback(os.dup2, kept, 2)
            os.dup2(nowhere, 2)
        yield


def count_pages(path: str | Path) -> int:
    """Count a picture file's pages or frames; 1 as well if it is none that can be read.

    Smaller copies of a page, a phone's gain maps and the layers of a drawing are no pages.
    """
    try:
        with _open_picture(path) as image:
            frames = int(getattr(image, "n_frames", 1))
            if image.format != "TIFF":
                return 1 if image.format in _PAGELESS else frames
            return max(1, sum(_is_page(image, number) for number in range(frames)))
    except Exception:  # `load_pixels` says what is wrong with it
        return 1


def _is_page(image: Image.Image, number: int) -> bool:
    image.seek(number)
    kind = image.tag_v2.get(_SUBFILE_TYPE, 0)  # type: ignore[attr-defined]
    return not int(kind) & _REDUCED


def is_picture(path: Path) -> bool:
    """Whether a file is meant as a picture: by its suffix, or by its first bytes.

    Raises
    ------
    DataError
        If it has no suffix of a picture and is no file that can be opened.
    """
    Image.init()
    if path.suffix.lower() in Image.registered_extensions().keys() | _FURTHER_SUFFIXES:
        return True
    open_foreign(path).close()
    signed = tuple(name for name in PICTURE_FORMATS if name not in _WITHOUT_SIGNATURE)
    try:
        with _open_picture(path, signed):
            return True
    except DataError:
        return False


@contextmanager
def _open_picture(
    path: str | Path, formats: tuple[str, ...] = PICTURE_FORMATS
) -> Iterator[Image.Image]:
    """Open a picture, of which nothing is decoded yet, and keep Pillow quiet meanwhile."""
    Image.init()  # makes all formats known
    known = [name for name in formats if name in Image.OPEN]
    with warnings.catch_warnings(), open_foreign(path) as file:
        warnings.simplefilter("ignore")  # of size, damage, odd palettes
        with refuse_damage(path, "cannot be read as an image"):
            try:
                image = Image.open(file, formats=known)
            except UnidentifiedImageError as error:
                raise DataError(f"{path} is no image that can be read.") from error
            except Image.DecompressionBombError as error:
                raise DataError(f"{path} is too large: {reason_of(error)}.") from error
        with image:
            yield image


def _decode(image: Image.Image) -> Image.Image:
    """Return the first page, upright: grey or colour of 8 bits, RGBA, whole numbers or floats."""
    image.load()
    turn = _find_turn(image)
    if turn is not None:
        turned = image.transpose(turn)
        image.close()  # of a large picture one copy is enough
        image = turned
    if image.mode == "F" or image.mode.startswith("I"):
        return image
    if image.has_transparency_data:
        return image.convert("RGBA")
    if image.mode not in ("L", "RGB"):
        return image.convert("L" if image.mode == "1" else "RGB")
    return image


def _find_turn(image: Image.Image) -> Image.Transpose | None:
    """Return what undoes how the camera was held; None too where that note is damaged."""
    try:
        return _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:
        return None


def _values_of(image: Image.Image) -> NDArray[np.uint8]:
    """Return grey values or colours, uint8, of what has been decoded."""
    if image.mode.startswith("I"):
        return _to_8_bits(np.asarray(image, np.float64))
    if image.mode == "F":
        with np.errstate(invalid="ignore"):  # a damaged file may hold a NaN that signals
            return _stretch(np.asarray(image, np.float64))
    if image.mode == "RGBA":
        paper = "black" if _has_light_ink(image) else "white"
        image = Image.alpha_composite(Image.new("RGBA", image.size, paper), image).convert("RGB")
    return np.asarray(image)


def _has_light_ink(image: Image.Image) -> bool:
    """Whether all that is drawn on transparency (RGBA) is light, and would not show on white.

    A page of light paper that lies on transparency has dark ink on it, and stays on white.
    """
    opacity = image.getchannel("A")
    strongest = int(opacity.getextrema()[1])  # type: ignore[arg-type]
    if strongest == 0:
        return False
    drawn = opacity.point([255 if 2 * value >= strongest else 0 for value in range(256)])
    counts = np.array(image.convert("L").histogram(drawn))
    mean = float(counts @ np.arange(256)) / counts.sum()
    return mean > 127 and counts[:100].sum() < 0.005 * counts.sum()


def _to_8_bits(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Bring whole numbers to 0 to 255; the highest tells whether they have 8, 12 or 16 bits."""
    bits = max(8, int(values.max(initial=0)).bit_length())
    return (values.clip(0) * (255 / (2**bits - 1))).round().astype(np.uint8)


def _stretch(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Bring floats to 0 to 255, whatever their range; what is not finite counts as 0."""
    values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    return ((values - low) * (255 / max(high - low, 1e-9))).round().astype(np.uint8)
