"""Ink on a page: where it is strong enough for a stroke, and is neither line nor frame nor rim.

    page = find_ink(picture)        # uint8 (height, width), or (height, width, 3)
    page.ink, page.mask             # how strong ink is, and where it is a stroke

`paper` gives the strength of ink. Here a threshold is found (Otsu's, above the paper's noise), and
a stroke goes on from there into fainter ink that hangs together with it. `lines` then takes away
what is printed: ruled lines, the frames of boxes and tables, the dark rim of a scan.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from PIL import Image
from scipy import ndimage
from skimage.filters import threshold_otsu

from mnist_lab.handwriting.lines import (
    take_frames_away,
    take_long_lines_away,
    take_rims_away,
    take_ruled_lines_away,
)
from mnist_lab.handwriting.paper import (
    Ink,
    Mask,
    Pixels,
    noise_floor,
    sample_pixels,
    take_paper_away,
    to_grey,
)

_WORKING_SIDE = 1_600  # pixels; a longer side is shrunk first: digits need no more
_FAINTEST_INK = 32  # of 255; below this contrast with the paper there is nothing to read
_GOES_ON = 0.5  # of the threshold: a stroke may fade to this
_FAINT = 0.25  # of the threshold: fainter ink is not even told of

# Why ink was not read, as half a sentence.
TOO_FAINT = "too faint beside the other ink"
IN_A_FRAME = "it runs on into a printed box or line"
AT_THE_EDGE = "it lies along the picture's edge"


class HandwritingError(ValueError):
    """A picture that holds no readable digit; the message is one sentence."""


@dataclass(frozen=True)
class Page:
    """The ink of a picture at the size at which it is worked on.

    Attributes
    ----------
    ink : float32 (height, width)
        0 is paper, 255 is what swallows all light.
    mask : bool (height, width)
        Where a stroke is.
    shrinkage : float
        Pixels of the picture to one of these.
    size : (int, int)
        Width and height of the picture.
    left : dict of str to bool (height, width)
        What looks like ink and was left out, by the reason why.
    """

    ink: Ink
    mask: Mask
    shrinkage: float
    size: tuple[int, int]
    left: dict[str, Mask] = field(default_factory=dict)


def threshold_ink(ink: Ink, *, hysteresis: bool = True) -> Mask:
    """Return where ink, (height, width), is a stroke: strong somewhere, and never mere noise.

    The threshold is Otsu's, of all that is no paper grain. What is fainter belongs to a stroke if
    it hangs together with what is not, down to half the threshold: a pen that lifts does not stop.
    """
    strong, goes_on, _ = _threshold(ink)
    return _follow(strong, goes_on) if hysteresis else strong


def find_faint_ink(ink: Ink) -> Mask:
    """Return where ink stands out from the paper, but hangs together with nothing strong."""
    strong, _, faint = _threshold(ink)
    return faint & ~_follow(strong, faint)


def _threshold(ink: Ink) -> tuple[Mask, Mask, Mask]:
    """Return where ink is strong, where it may go on, and where it is more than noise."""
    floor, some = noise_floor(ink), sample_pixels(ink)
    strong = max(floor, float(threshold_otsu(np.where(some > floor, some, 0))))
    levels = (strong, max(floor, _GOES_ON * strong), max(floor, _FAINT * strong))
    return ink > levels[0], ink > levels[1], ink > levels[2]


def _follow(strong: Mask, weak: Mask) -> Mask:
    """Return what is weak and hangs together with something strong."""
    return ndimage.binary_propagation(strong, mask=weak)


def find_ink(
    picture: Pixels,
    name: str = "the picture",
    *,
    paper: bool = True,
    hysteresis: bool = True,
    ruled_lines: bool = True,
    frames: bool = True,
) -> Page:
    """Tell ink from paper in uint8 (height, width) or (height, width, 3), or say why there is none.

    Parameters
    ----------
    picture : uint8 (height, width) or (height, width, 3)
    name : str
        What an error's message calls it.
    paper, hysteresis, ruled_lines, frames : bool
        Leave a step out to see what it is good for: whether light and shadow are followed, strokes
        go on into fainter ink, ruled lines are taken away, and frames and dark rims.

    Raises
    ------
    HandwritingError
        If there is no ink.
    """
    if picture.size == 0:
        raise HandwritingError(f"{name} shows no digit: it has no pixels.")
    image = Image.fromarray(picture)
    shrinkage = max(1.0, max(image.size) / _WORKING_SIDE)
    if shrinkage > 1:
        width, height = (max(1, round(side / shrinkage)) for side in image.size)
        image = image.resize((width, height), Image.Resampling.BOX, reducing_gap=1)
    ink = take_paper_away(to_grey(np.asarray(image)), follow=paper)
    if float(ink.max()) < _FAINTEST_INK:
        raise HandwritingError(f"{name} shows no digit: nothing stands out from the paper.")
    mask = threshold_ink(ink, hysteresis=hysteresis)
    left = {TOO_FAINT: find_faint_ink(ink)}
    if ruled_lines:
        mask = take_ruled_lines_away(ink, mask)
    if frames:
        mask, left[IN_A_FRAME] = take_frames_away(mask)
        unlined = take_long_lines_away(mask)
        mask = take_rims_away(unlined)
        left[AT_THE_EDGE] = unlined & ~mask
    if not mask.any():
        raise HandwritingError(f"{name} shows no digit: there are only lines on the paper.")
    return Page(ink, mask, shrinkage, (picture.shape[1], picture.shape[0]), left)
