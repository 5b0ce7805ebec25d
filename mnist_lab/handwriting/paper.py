"""From a picture to ink: how bright the paper is everywhere, and what swallows more light than it.

    grey = to_grey(picture)             # the colour in which ink is clearest
    ink = take_paper_away(grey)         # 0 is paper, 255 is what swallows all light

Light changes from place to place, and the edge of a shadow may be sharp. But strokes are narrow:
what holds no square that is wider than they are is filled with the brightness around it (a
morphological closing), and what is left is paper. This is done in a small copy, where it is quick
and where noise is averaged away.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.morphology import reconstruction

_SIDE = 400  # pixels of the small copy's longer side
_ONE_COLOUR = 3  # of 255; a sensor's noise and light that falls off differ by more
_TINY = 60  # pixels of a shorter side; in less there is no room for a shadow

Grey = NDArray[np.uint8]  # (height, width)
Pixels = NDArray[np.uint8]  # (height, width), or (height, width, 3): red, green, blue
Ink = NDArray[np.float32]  # (height, width), 0 is paper
Mask = NDArray[np.bool_]  # (height, width)
Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels; the last two are exclusive


def to_grey(picture: Pixels) -> Grey:
    """Turn red, green and blue, uint8 (height, width, 3), into the grey in which ink is clearest.

    That is brightness as the eye has it, unless ink stands out clearly better in one of the three
    colours, as a yellow pen does in blue. A grey picture, (height, width), is returned as it is.

    Returns
    -------
    uint8 (height, width)
    """
    if picture.ndim == 2:
        return picture
    image = Image.fromarray(picture)

    def contrast(channel: Image.Image) -> float:
        values = _shrink(channel, _SIDE // 2)
        around = ndimage.gaussian_filter(values, max(values.shape) / 20)
        return float(np.abs(ndimage.uniform_filter(values, 3) - around).max())

    colours = image.split()
    contrasts = [contrast(colour) for colour in colours]
    grey, best = image.convert("L"), int(np.argmax(contrasts))
    # JPEG keeps colours less sharp than brightness: they must be worth it.
    return np.asarray(colours[best] if contrasts[best] > 1.5 * contrast(grey) else grey)


def take_paper_away(grey: Grey, *, follow: bool = True) -> Ink:
    """Return ink on 0 of grey values: what differs from the paper, whichever of them is darker.

    Dark ink is measured as the share of the paper's light that it swallows (times 255), so that ink
    in a shadow counts as much as ink in the light.

    Parameters
    ----------
    grey : uint8 (height, width)
        0 is black, 255 is white.
    follow : bool
        Without it the paper is as bright everywhere as it is along the rim.

    Returns
    -------
    float32 (height, width), at least 0.
    """
    image = Image.fromarray(grey)
    small = ndimage.uniform_filter(_shrink(image), 3, mode="nearest")
    sign = find_sign_of_ink(_shrink(image, _SIDE // 2))
    if follow and min(small.shape) >= _TINY:
        paper = _enlarge(sign * _close(sign * small), image.size, sign)
    else:
        paper = np.full(grey.shape, _rim(grey), np.float32)
    ink = sign * (paper - grey)
    if sign > 0:
        ink *= 255 / paper.clip(64)  # in a deeper shadow there is little but noise
    return ink.clip(0)


def find_sign_of_ink(values: Ink) -> int:
    """Return 1 if ink is darker than the paper, -1 if it is lighter.

    The picture's rim shows paper, and surely so if it is of one colour, as in a drawing, and so is
    much of the picture, as no black border is; unless it shows the table that a sheet lies on, or a
    shadow. Then what is narrow, dark or light, may be ink. But the loop of a 6 is narrow too: what
    is ink lies on paper, and what is a loop lies in ink.
    """
    rim, narrow = _rim(values), max(1, max(values.shape) // 8)
    is_plain = all(
        np.mean(np.abs(part - rim) <= _ONE_COLOUR) > share
        for part, share in ((_edge(values), 3 / 4), (values, 1 / 3))
    )
    if is_plain or min(values.shape) < _TINY // 2 or not _shows_a_sheet(values, narrow):
        return 1 if rim - values.min() >= values.max() - rim else -1
    # On a scale of ratios, ink in a shadow stands out as much as ink in the light.
    levels = np.log(values / 16 + 1)
    hats = [_fill(way * levels, narrow) - way * levels for way in (1, -1)]
    dark, light = (hat > 0.5 * float(np.max(hats)) for hat in hats)
    on_paper = [
        int((ndimage.binary_dilation(one, iterations=2) & ~one & ~other).sum())
        for one, other in ((dark, light), (light, dark))
    ]
    return 1 if on_paper[0] > on_paper[1] else -1


def _shows_a_sheet(values: Ink, narrow: int) -> bool:
    """Tell whether something unlike the rim holds a large square, strokes on it left aside."""
    bright = values > threshold_otsu(values)
    unlike = bright != (_rim(bright) > 0.5)
    solid = ndimage.grey_closing(np.pad(unlike, narrow), (narrow, narrow))
    square = 2 * ndimage.distance_transform_cdt(solid, "chessboard").max()
    return bool(square > 0.3 * max(values.shape))


def _fill(values: Ink, widest: int) -> Ink:
    """Fill what is darker than its surroundings and holds no square of `widest` pixels.

    What holds one stays as it is, up to its sharpest corner: a closing by reconstruction (Vincent,
    "Morphological grayscale reconstruction in image analysis", IEEE Transactions on Image
    Processing 2(2), 1993).
    """
    # What lies at the rim goes on beyond it.
    closed = ndimage.grey_closing(np.pad(values, widest, mode="edge"), (widest, widest))
    closed = closed[widest:-widest, widest:-widest]
    filled: Ink = reconstruction(closed, values, method="erosion")
    return filled


def _close(values: Ink) -> Ink:
    """Return the paper's brightness: `values`, with all that is as narrow as strokes filled."""
    rough = values[::2, ::2]
    pits = _fill(rough, max(rough.shape) // 3) - rough
    width = 2 * stroke_width(pits > 0.35 * float(pits.max()))
    side = min(max(9, 2 * math.ceil(2 * width) + 1), max(values.shape) // 3)
    paper: Ink = ndimage.grey_closing(values, (side, side))
    return paper


def stroke_width(mask: Mask) -> float:
    """Return how wide strokes are on average, in pixels: twice their area over their outline.

    What fills the picture has no outline there, and is as wide as the picture.
    """
    outline = mask & ~ndimage.binary_erosion(mask, border_value=1)
    width = 2 * float(mask.sum()) / max(1, float(outline.sum()))
    return min(width, *mask.shape)


def sample_pixels(values: Ink) -> Ink:
    """Return about 100,000 of many pixels, evenly spread: enough for a median or a threshold."""
    return values[(slice(None, None, max(1, math.isqrt(values.size // 100_000))),) * 2]


def noise_floor(ink: Ink) -> float:
    """Return what the grain of the paper and the noise of a sensor do not reach."""
    some = sample_pixels(ink)
    grain = some[some < 0.2 * ink.max()]
    if not grain.size:
        return 0.0
    middle = float(np.median(grain))
    return middle + 5 * 1.48 * float(np.median(np.abs(grain - middle)))


def _shrink(image: Image.Image, side: int = _SIDE) -> Ink:
    """Return a copy whose longer side has at most `side` pixels, noise averaged away."""
    times = max(1, math.ceil(max(image.size) / side))
    return np.asarray(image.reduce(times), np.float32)


def _enlarge(paper: Ink, size: tuple[int, int], sign: int) -> Ink:
    """Bring the paper's brightness to the picture's size, width and height.

    The edge of a shadow is less sharp in the copy than in the picture; there the side counts that
    looks less like ink.
    """
    times = math.ceil(max(size) / _SIDE)
    paper = sign * ndimage.minimum_filter(sign * paper, 5 if times > 1 else 3)
    whole = (0, 0, size[0] / times, size[1] / times)
    return np.asarray(Image.fromarray(paper).resize(size, Image.Resampling.BILINEAR, box=whole))


def _rim(values: NDArray[Any]) -> float:
    """Return the median of the outermost pixels: there is seldom ink there."""
    return float(np.median(_edge(values)))


def _edge(values: NDArray[Any]) -> NDArray[Any]:
    """Return the outermost pixels."""
    return np.r_[values[0], values[-1], values[:, 0], values[:, -1]]
