"""From a picture file to pixels: upright, of 8 bits, transparency laid on what shows the ink.

    picture = load_picture("sum.jpg")   # uint8 (height, width), or (height, width, 3)

Photos that were turned, palettes, transparent drawings, scans of 16 bits and floats are taken:
`data.pictures` says how. What cannot be read is refused in one sentence.
"""

from __future__ import annotations

from pathlib import Path

from mnist_lab.data.digit_set import DataError
from mnist_lab.data.pictures import load_pixels
from mnist_lab.handwriting.ink import HandwritingError
from mnist_lab.handwriting.paper import Pixels


def load_picture(path: str | Path) -> Pixels:
    """Load a picture, grey or coloured, as a person sees it.

    Of several pages or frames the first is read; `data.pictures.count_pages` says how many there
    are.

    Returns
    -------
    uint8 (height, width), or (height, width, 3): red, green, blue

    Raises
    ------
    HandwritingError
        If the file is missing, is no image, is damaged, or has more than 100 million pixels.
    """
    try:
        return load_pixels(path)
    except DataError as error:
        raise HandwritingError(str(error)) from error
