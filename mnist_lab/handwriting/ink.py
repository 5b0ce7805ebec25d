"""From a picture to ink: what on a photo, a scan or a drawing was written, and what is paper.

    page = find_ink(picture)        # uint8 (height, width), or (height, width, 3)
    page.ink, page.mask             # how strong ink is, and where it is strong enough for a stroke

The paper's brightness is followed and taken away. Strokes are narrow; shadows, their edges, and the
table that the paper lies on are not. Of a coloured picture that colour is used in which ink stands
out best. Ruled lines, and a finger at the rim, are no ink. `to_grey`, `take_paper_away` and
`find_ruled_lines` are the steps of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

_WORKING_SIDE = 1_600  # pixels; a longer side is shrunk first: digits need no more
_PAPER_SIDE = 400  # pixels of the copy in which the paper's brightness is followed
_LEVELS = 64  # of brightness that are told apart there
_FAINTEST_INK = 32  # of 255; below this contrast with the paper there is nothing to read
INK_SHARE = 0.35  # of the darkest ink; what is fainter is paper grain, shadow or JPEG noise
SMALLEST_DIGIT = 0.3  # of the tallest digit in the picture; what is smaller is a speck

Grey = NDArray[np.uint8]  # (height, width)
Pixels = NDArray[np.uint8]  # (height, width), or (height, width, 3): red, green, blue
Ink = NDArray[np.float64]  # (height, width), 0 is paper
Mask = NDArray[np.bool_]  # (height, width)


class HandwritingError(ValueError):
    """A picture that holds no readable digit; the message is one sentence."""


@dataclass(frozen=True)
class Page:
    """The ink of a picture at the size at which it is worked on.

    Attributes
    ----------
    ink : float64 (height, width)
        0 is paper, 255 is what swallows all light.
    mask : bool (height, width)
        Where ink is strong enough to be a stroke, ruled lines aside.
    shrinkage : float
        Pixels of the picture to one of these.
    size : (int, int)
        Width and height of the picture.
    """

    ink: Ink
    mask: Mask
    shrinkage: float
    size: tuple[int, int]


def find_ink(
    picture: Pixels, name: str = "the picture", *, paper: bool = True, ruled_lines: bool = True
) -> Page:
    """Tell ink from paper in uint8 (height, width) or (height, width, 3), or say why there is none.

    Parameters
    ----------
    picture : uint8 (height, width) or (height, width, 3)
    name : str
        What an error's message calls it.
    paper, ruled_lines : bool
        Whether light and shadow are followed, and ruled lines taken away: leave one out to see what
        it is good for.

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
        size = tuple(max(1, round(side / shrinkage)) for side in image.size)
        image = image.resize((size[0], size[1]), Image.Resampling.BOX)
    grey = np.asarray(image) if picture.ndim == 2 else to_grey(np.asarray(image))
    values = grey.astype(np.float64)
    ink = take_paper_away(values) if paper else _take_one_brightness_away(values)
    peak = float(ink.max(initial=0.0))
    if peak < _FAINTEST_INK:
        raise HandwritingError(f"{name} shows no digit: nothing stands out from the paper.")
    rough = ink >= max(0.4 * INK_SHARE * peak, 2 * _noise_of(ink))
    lines = find_ruled_lines(ink, rough) if ruled_lines else np.zeros_like(rough)
    if not (rough & ~lines).any():
        raise HandwritingError(f"{name} shows no digit: there are only ruled lines on the paper.")
    strength = _strength_of_strokes(ink, rough & ~lines)
    mask = _clear_rim((ink >= INK_SHARE * strength) & ~lines)
    return Page(ink, mask, shrinkage, (picture.shape[1], picture.shape[0]))


def to_grey(picture: Pixels) -> Grey:
    """Turn red, green and blue, uint8 (height, width, 3), into the grey in which ink is clearest.

    That is brightness as the eye has it, unless ink stands out clearly better in one of the three
    colours, as a yellow pen does in blue.

    Returns
    -------
    uint8 (height, width)
    """
    image = Image.fromarray(picture)
    grey = image.convert("L")
    shrinkage = max(1.0, max(image.size) / _PAPER_SIDE)
    size = (max(1, round(image.width / shrinkage)), max(1, round(image.height / shrinkage)))

    def contrast(channel: Image.Image) -> float:
        values = np.asarray(channel.resize(size, Image.Resampling.BOX), np.float64)
        around = ndimage.gaussian_filter(values, max(size) / 20)
        return float(np.abs(ndimage.uniform_filter(values, 3) - around).max())

    best = max(image.split(), key=contrast)
    # JPEG keeps colours less sharp than brightness: they must be worth it.
    return np.asarray(best if contrast(best) > 1.5 * contrast(grey) else grey)


def _noise_of(ink: Ink) -> float:
    """Return the standard deviation of paper's grain and a sensor's noise: what no ink is."""
    grain = ink[(ink > 0) & (ink < 0.3 * INK_SHARE * float(ink.max()))]
    return 1.5 * float(np.median(grain)) if len(grain) else 0.0


def _strength_of_strokes(ink: Ink, mask: Mask) -> float:
    """Return how strong the ink in `mask`, which is not empty, is at its strongest in most strokes.

    The darkest place may be no stroke but the table, a hole for binding, or a single dark pixel.
    """
    places, count = ndimage.label(mask, np.ones((3, 3)))
    sizes = np.array(
        [max(y.stop - y.start, x.stop - x.start) for y, x in ndimage.find_objects(places)]
    )
    at_rim = np.zeros(count + 1, bool)
    for side in (places[0], places[-1], places[:, 0], places[:, -1]):
        at_rim[side] = True
    if not at_rim[1:].all():
        sizes = np.where(at_rim[1:], 0, sizes)
    sizes = np.where(sizes >= SMALLEST_DIGIT * sizes.max(), sizes, 0)
    strengths = _highest(ink, places, count)[1:]
    order = strengths.argsort()
    half = np.searchsorted(np.cumsum(sizes[order]), sizes.sum() / 2)
    return float(strengths[order][half])


def _highest(values: Ink, places: NDArray[np.int32], count: int) -> Ink:
    """Return the highest of the values at each of the places 0 to `count`; 0 at place 0."""
    highest = np.zeros(count + 1)
    inside = places > 0  # few, and so much quicker than ndimage.maximum
    np.maximum.at(highest, places[inside], values[inside])
    return highest


def _clear_rim(mask: Mask) -> Mask:
    """Take away what lies at the picture's rim and is no stroke: a finger, a table's edge.

    That is what runs along most of a side or is much thicker than the strokes elsewhere. If there
    are no strokes elsewhere, nothing is taken away.
    """
    places, count = ndimage.label(mask, np.ones((3, 3)))
    sides = (places[0], places[-1], places[:, 0], places[:, -1])
    at_rim, along = np.zeros(count + 1, bool), np.zeros(count + 1, bool)
    for side in sides:
        at_rim[side] = True
        along |= np.bincount(side, minlength=count + 1) > 0.6 * len(side)
    inner = mask & ~at_rim[places]
    boxes = ndimage.find_objects(ndimage.label(inner, np.ones((3, 3)))[0])
    if max((y.stop - y.start for y, _ in boxes), default=0) < 0.05 * max(mask.shape):
        return mask
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    thick = 2 * _highest(depth, places, count) > 2.5 * _thickness(inner)
    cleared: Mask = mask & ~(at_rim & (along | thick))[places]
    return cleared


def _take_one_brightness_away(values: Ink) -> Ink:
    """Return how far grey values lie from the rim's median, on the side where more of them lie."""
    difference = values - _brightness_of_rim(values)
    sign = -1.0 if -difference.min() >= difference.max() else 1.0
    found: Ink = (sign * difference).clip(0)
    return found


def _brightness_of_rim(values: Ink) -> float:
    """Return the median of the picture's outermost pixels: there is seldom ink there."""
    rim = np.concatenate([values[0], values[-1], values[:, 0], values[:, -1]])
    return float(np.median(rim))


def take_paper_away(grey: Grey | Ink) -> Ink:
    """Return ink on 0 of grey values: what differs from the paper, whichever of them is darker.

    Dark ink is measured as the share of the paper's light that it swallows (times 255), so that ink
    in a shadow counts as much as ink in the light.

    Parameters
    ----------
    grey : (height, width)
        0 is black, 255 is white.

    Returns
    -------
    float64 (height, width), at least 0.
    """
    values = np.asarray(grey, np.float64)
    # Light changes slowly: it is looked for in a small copy, where noise is averaged away too.
    image = Image.fromarray(values.astype(np.float32))
    shrinkage = max(1.0, max(image.size) / _PAPER_SIDE)
    size = (max(1, round(image.width / shrinkage)), max(1, round(image.height / shrinkage)))
    small = np.asarray(image.resize(size, Image.Resampling.BOX), np.float64)
    small_paper, sign = _follow_paper(small)
    lit = Image.fromarray(small_paper.astype(np.float32))
    paper = np.asarray(lit.resize(image.size, Image.Resampling.BILINEAR), np.float64)
    if shrinkage > 1:
        # The edge of a shadow is less sharp in the enlarged copy than in the picture. There the
        # side counts that looks less like ink.
        reach = 2 * math.ceil(shrinkage) + 1
        paper = -sign * ndimage.minimum_filter(-sign * paper, reach)
    ink = sign * (values - paper)
    if sign < 0:
        ink = ink * 255 / paper.clip(64, 255)  # in a deeper shadow there is little but noise
    found: Ink = ink.clip(0)
    return found


def _follow_paper(values: Ink) -> tuple[Ink, float]:
    """Return the paper's brightness everywhere, and -1 if ink is darker than it, 1 if lighter."""
    if min(values.shape) < 100:  # too small for shadows, and ink may be most of it
        difference = values - _brightness_of_rim(values)
        return _smooth_paper(values), -1.0 if -difference.min() >= difference.max() else 1.0
    # One bright or dark pixel is noise; ink is at least a little wider.
    soft = ndimage.uniform_filter(values, 3)
    # On a scale of ratios, ink in a shadow stands out as much as ink in the light.
    sign = _sign_of_ink(100 * np.log(soft / 16 + 1))
    # Strokes are narrow; a shadow, or the table that the paper lies on, is not, and so it stays.
    # What runs along the rim is no stroke either, unless there is no other.
    pits, widest = -sign * soft, max(values.shape) // 3
    filled, anything = (_fill_pits(pits, widest, keep_rim=keep) for keep in (True, False))
    keep = float((filled - pits).max()) > 0.5 * float((anything - pits).max())
    ink = (filled if keep else anything) - pits
    narrow = math.ceil(3 * _thickness(ink > INK_SHARE * ink.max()))
    # The narrower, the more of a shadow's corners is seen.
    paper = -sign * _fill_pits(pits, min(max(narrow, 9), widest), keep_rim=keep)
    difference = values - paper
    # Now that ink is roughly known, the paper can be followed where it changes faster.
    ink = (sign * difference).clip(0)
    bare = ~ndimage.binary_dilation(ink > 0.2 * ink.max(), iterations=2)
    around = max(values.shape) / 40  # wider than a stroke, narrower than most shadows
    weight = ndimage.gaussian_filter(bare.astype(np.float64), around, truncate=3)
    local = ndimage.gaussian_filter(np.where(bare, difference, 0), around, truncate=3)
    return paper + np.where(weight > 0.02, local / np.maximum(weight, 0.02), 0), sign


def _thickness(inside: Mask) -> float:
    """Return how wide the thick ones among strokes are, in pixels."""
    depth = ndimage.distance_transform_edt(inside)
    middle = inside & (depth == ndimage.maximum_filter(depth, 3))
    return 2 * float(np.percentile(depth[middle], 90)) if middle.any() else 0.0


def _fill_pits(values: Ink, widest: int, keep_rim: bool) -> Ink:
    """Fill what lies lower than its surroundings and holds no square of `widest` pixels.

    What holds one stays as it is, up to its sharpest corner, and with `keep_rim` so does what runs
    along more than half of a side of the picture. (This is a morphological closing by
    reconstruction: Vincent, "Morphological grayscale reconstruction in image analysis", IEEE
    Transactions on Image Processing 2(2), 1993; here one level of brightness after the other.)
    """
    closed = ndimage.grey_closing(values, (widest, widest))
    filled = closed.copy()
    for level in np.linspace(float(closed.max()), float(values.min()), _LEVELS)[1:]:
        places, count = ndimage.label(values <= level)
        kept = np.zeros(count + 1, bool)
        kept[places[closed <= level]] = True
        if keep_rim:
            for side in (places[0], places[-1], places[:, 0], places[:, -1]):
                kept |= np.bincount(side, minlength=count + 1) > 0.6 * len(side)
        kept[0] = False
        filled[kept[places]] = level
    return np.maximum(filled, values)


def _sign_of_ink(values: Ink) -> float:
    """Return -1 if ink is darker than the paper, 1 if it is lighter.

    Paper is most of the picture, or of the sheet that the picture shows.
    """
    sheet = _find_sheet(values)
    paper = _smooth_paper(values, sheet)
    if np.ptp(paper[sheet]) > 0.75 * np.ptp(values[sheet]):  # it follows ink, which is half of all
        paper = np.full_like(values, _brightness_of_rim(values))
    difference = (values - paper)[sheet]
    return -1.0 if -difference.min() >= difference.max() else 1.0


def _find_sheet(values: Ink) -> Mask:
    """Return where a sheet of bright paper lies on something dark; all, if there is none."""
    places, _ = ndimage.label(values > _threshold(values))
    sheet = places == np.bincount(places.ravel())[1:].argmax() + 1
    filled = ndimage.binary_fill_holes(sheet)
    side = max(values.shape)
    wide, hole = (_widest_square(mask) / side for mask in (filled, filled & ~sheet))
    solid = float(sheet.sum() / filled.sum())
    # No ink is as wide, as solid and as square; the hole in a thick nought is wider than strokes.
    if wide < 0.4 or hole > 0.12 or solid < 0.75 or _squareness(filled) < 0.82:
        return np.ones(values.shape, bool)
    inside: Mask = ndimage.binary_erosion(filled, iterations=5)
    return inside


def _widest_square(mask: Mask) -> float:
    """Return the side of the largest upright square that a mask holds, in pixels."""
    return 2.0 * ndimage.distance_transform_cdt(np.pad(mask, 1), "chessboard").max()


def _squareness(mask: Mask) -> float:
    """Return which share of a rectangle round a mask it fills; the rectangle may be turned."""
    points = np.argwhere(mask & ~ndimage.binary_erosion(mask))
    angles = np.radians(np.arange(0, 90, 3))
    along = points @ np.stack([np.cos(angles), np.sin(angles)])
    across = points @ np.stack([-np.sin(angles), np.cos(angles)])
    areas = (np.ptp(along, axis=0) + 1) * (np.ptp(across, axis=0) + 1)
    return float(mask.sum() / areas.min())


def _threshold(values: Ink) -> float:
    """Return the brightness that tells dark from bright best (Otsu 1979)."""
    counts, edges = np.histogram(values, 64)
    middles = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)[:-1].clip(1, counts.sum() - 1)
    sums = np.cumsum(counts * middles)
    above = counts.sum() - below
    apart = sums[:-1] / below - (sums[-1] - sums[:-1]) / above
    return float(edges[1:-1][(below * above * apart**2).argmax()])


def _smooth_paper(values: Ink, where: Mask | None = None) -> Ink:
    """Fit a quadratic surface to the paper; what differs much from it counts little in the fit."""
    height, width = values.shape
    where = np.ones(values.shape, bool) if where is None else where
    rim = where & ~ndimage.binary_erosion(where)
    paper = np.full_like(values, float(np.median(values[rim])))
    if min(height, width) < 40:
        return paper
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1)
    inside, known = terms[where], values[where]
    for _ in range(8):
        residual = known - paper[where]
        scale = max(4.0, 1.5 * float(np.median(np.abs(residual))))
        weighted = inside / (1 + (residual / scale) ** 2)[:, None]  # Cauchy's: ink hardly pulls
        normal, right = weighted.T @ inside, weighted.T @ known
        paper = terms @ np.linalg.lstsq(normal, right, rcond=None)[0]
    return paper


def find_ruled_lines(ink: Ink, mask: Mask) -> Mask:
    """Return the pixels of ruled lines, horizontal and vertical, but not of strokes on them.

    A ruled line is thin, straight, and runs from rim to rim; it may be a few degrees off.

    Parameters
    ----------
    ink : float64 (height, width)
        What `take_paper_away` returns.
    mask : bool (height, width)
        What counts as ink so far.
    """
    if min(mask.shape) < 100:
        return np.zeros_like(mask)
    # A line may be fainter than a stroke here and there: what counts is that it goes on.
    noise = _noise_of(ink)
    faint = ink >= max(0.3 * INK_SHARE * float(ink.max()), 2 * noise)
    level, upright = (_find_level_lines(f, m) for f, m in ((faint, mask), (faint.T, mask.T)))
    lines = level | upright.T
    if not lines.any():
        return lines
    # What is much stronger than most of a line is a stroke on it.
    found: Mask = mask & lines & (ink < 1.5 * np.median(ink[lines & faint]) + noise)
    return found


def _find_level_lines(faint: Mask, mask: Mask) -> Mask:
    """Return where level lines run in `faint`, but not where strokes of `mask` cross them."""
    height, width = mask.shape
    tolerance = 1 + width // 500  # pixels that a line may leave its straight course by
    near = ndimage.binary_dilation(faint, np.ones((2 * tolerance + 1, 1), bool))
    ys, xs = np.nonzero(near)
    best_slope, best_cover = 0.0, np.zeros(3 * height)
    for slope in np.linspace(-0.07, 0.07, 57):  # 4 degrees to either side
        # Where the row of a line through each pixel meets the middle column.
        rows = ys - np.round((xs - width / 2) * slope).astype(np.int64) + height
        cover = np.bincount(rows, minlength=3 * height)[: 3 * height] / width
        if (cover**4).sum() > (best_cover**4).sum():
            best_slope, best_cover = float(slope), cover
    ruled = np.flatnonzero(best_cover > 0.8) - height
    if not len(ruled):
        return np.zeros_like(mask)
    shift = np.round((np.arange(width) - width / 2) * best_slope).astype(np.int64)
    lines = np.zeros_like(mask)
    for row in ruled:
        y = row + shift
        inside = (y >= 0) & (y < height)
        lines[y[inside], np.flatnonzero(inside)] = True
    # Where ink goes on above and below, a stroke crosses the line: it stays.
    reach = 2 * tolerance + 4
    rest = mask & ~lines
    crossed = _smear_down(rest, reach) & _smear_down(rest[::-1], reach)[::-1]
    found: Mask = lines & ~crossed
    return found


def _smear_down(mask: Mask, reach: int) -> Mask:
    """Return what is in the mask or at most `reach` pixels below it."""
    smeared = mask.copy()
    for distance in range(1, min(reach, len(mask) - 1) + 1):
        smeared[distance:] |= mask[:-distance]
    return smeared
