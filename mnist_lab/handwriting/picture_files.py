"""From a picture file to pixels: upright, of 8 bits, transparency laid on white.

    picture = load_picture("sum.jpg")   # uint8 (height, width), or (height, width, 3)

Whatever Pillow reads is taken: photos that were turned, palettes, transparent drawings, scans of 16
bits, floats. What cannot be read is refused in one sentence.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from mnist_lab.handwriting.ink import HandwritingError, Pixels

_MAX_PIXELS = 100_000_000  # a larger picture is refused, not loaded


def load_picture(path: str | Path) -> Pixels:
    """Load a picture, grey or coloured, as a person sees it.

    Returns
    -------
    uint8 (height, width), or (height, width, 3): red, green, blue

    Raises
    ------
    HandwritingError
        If the file is missing, is no image, or has more than 100 million pixels.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise HandwritingError(f"{path} is a folder; an image file is expected.")
        with _no_warning_of_size(), Image.open(path) as image:
            if image.width * image.height > _MAX_PIXELS:
                raise HandwritingError(
                    f"{path} has {image.width}x{image.height} pixels; at most "
                    f"{_MAX_PIXELS // 1_000_000} million can be read."
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
    """Keep Pillow from warning of large pictures: `_MAX_PIXELS` is the bound here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        yield


def _values_of(image: Image.Image) -> Pixels:
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
