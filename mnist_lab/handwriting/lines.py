"""What is on a page and is no handwriting: ruled lines, frames of boxes and tables, dark rims.

    mask = take_ruled_lines_away(ink, mask)     # they run through the picture
    mask = take_frames_away(mask)               # they have writing inside
    mask = take_long_lines_away(mask)           # they run under digits, and part them
    mask = take_rims_away(mask)                 # they run along the picture's edge

This comes before sizes are compared: beside the grid of a table every digit is a speck.
"""

from __future__ import annotations

from functools import reduce

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.morphology import convex_hull_image

from mnist_lab.handwriting.paper import Ink, Mask, noise_floor, stroke_width

_COVER = 0.85  # of its way through the picture, for a line to be ruled
_THICKEST_LINE = 8  # pixels of a copy that is 400 to 800 pixels wide
_AROUND = np.ones((3, 3))  # pixels hang together that meet at a corner


def take_ruled_lines_away(ink: Ink, mask: Mask) -> Mask:
    """Take away ruled lines, level and upright, but not the strokes on them.

    A ruled line is thin and straight, and runs from edge to edge; it may be a few degrees off.

    Parameters
    ----------
    ink : float32 (height, width)
    mask : bool (height, width)
        What counts as ink so far.
    """
    if min(mask.shape) < 100 or not mask.any():
        return mask
    # A line may be fainter than a stroke here and there: what counts is that it goes on.
    faint = ink > max(noise_floor(ink), 0.15 * float(np.median(ink[mask])))
    level, levels = _find_level_lines(faint, mask)
    upright, uprights = _find_level_lines(faint.T, mask.T)
    upright = upright.T
    if not levels and not uprights:
        return mask
    rest = mask & ~level & ~upright
    tallest, usual = _tallest(rest), float(np.median(ink[rest])) if rest.any() else np.inf
    for lines, count, length in ((level, levels, mask.shape[1]), (upright, uprights, len(mask))):
        # One line may be the bar of a 7 or the stem of a 4 in a picture that the digit fills.
        if not lines.any() or length <= 2 * tallest:
            continue
        strength = float(np.median(ink[lines]))
        if count > 1 or strength < 0.6 * usual:
            # What is much stronger than most of a line is a stroke on it.
            mask = mask & ~(lines & (ink < 1.5 * strength))
    return mask


def _find_level_lines(faint: Mask, mask: Mask) -> tuple[Mask, int]:
    """Return where level lines run in `mask`, but not where strokes cross them; and how many."""
    times = max(1, mask.shape[1] // 400)
    whole = np.pad(faint, [(0, -side % times) for side in mask.shape])
    flat = reduce(np.logical_or, [whole[start::times] for start in range(times)])
    small = reduce(np.logical_or, [flat[:, start::times] for start in range(times)])
    height, width = small.shape
    ys, xs = np.nonzero(ndimage.binary_dilation(small, np.ones((3, 1))))
    lines = np.zeros_like(small)
    columns, beyond = np.arange(width), height + width // 20
    ends = [np.flatnonzero(end) for end in (xs < width / 30, xs >= width - width / 30)]
    slopes = np.linspace(-0.07, 0.07, 29)  # 4 degrees to either side
    for rise in np.round(np.outer(slopes, columns - width / 2)).astype(np.int64):
        # Where the row of a line through each pixel meets the middle column.
        rows = ys - rise[xs] + beyond
        hits, begun, ended = (
            np.bincount(rows[part], minlength=height + 2 * beyond) for part in (slice(None), *ends)
        )
        for row in np.flatnonzero(hits > 0.5 * _COVER * width) - beyond:
            y = row + rise
            inside = (y >= 0) & (y < height)
            through = begun[row + beyond] or not inside[0]
            through = through and (ended[row + beyond] or not inside[-1])
            if through and hits[row + beyond] > _COVER * max(inside.sum(), width / 2):
                lines[y[inside], columns[inside]] = True
    count = ndimage.label(lines, _AROUND)[1]
    if not count or lines.sum() > _THICKEST_LINE * width * count:
        return np.zeros_like(mask), 0
    lines = lines.repeat(times, 0).repeat(times, 1)[: mask.shape[0], : mask.shape[1]]
    # Where ink goes on above and below, a stroke crosses the line: it stays.
    rest = (mask & ~lines).view(np.uint8)
    reach = 6 * times + 1
    above, below = (
        ndimage.maximum_filter1d(rest, reach, axis=0, origin=origin, mode="constant")
        for origin in (reach // 2, -(reach // 2))
    )
    return mask & lines & ~(above & below).astype(bool), count


def take_long_lines_away(mask: Mask) -> Mask:
    """Take away level lines under digits, and combs: a line with ticks that part the digits.

    Such a line is a piece at least three times as long as pieces are high. Strokes that cross it
    stay; what else is left of it and is as narrow as a tick goes with it.
    """
    labels, _ = ndimage.label(mask, _AROUND)
    boxes = ndimage.find_objects(labels)
    heights = np.array([rows.stop - rows.start for rows, _ in boxes])
    usual = float(np.median(heights[heights >= 0.1 * heights.max()])) if boxes else 0.0
    kept = mask.copy()
    for number, place in enumerate(boxes, 1):
        own = labels[place] == number
        if own.shape[1] < 3 * usual or not (lines := _find_level_lines(own, own)[0]).any():
            continue
        rest, _ = ndimage.label(own & ~lines, _AROUND)
        sizes = [[p.stop - p.start for p in part] for part in ndimage.find_objects(rest)]
        ticks = [
            piece
            for piece, (height, width) in enumerate(sizes, 1)
            if width < 0.2 * usual and height < 0.75 * usual
        ]
        kept[place] &= ~own | ((rest > 0) & ~np.isin(rest, ticks))
    return kept if kept.any() else mask


def take_rims_away(mask: Mask) -> Mask:
    """Take away what lies along the picture's edge: a table, a finger, the dark rim of a scan.

    It touches the edge and is much thicker than the strokes elsewhere; or it lies near the edge,
    flat, in pieces that together are longer than two digits. Where nothing else is written it
    stays: a digit may fill the picture that it is cut out in.
    """
    labels, count = ndimage.label(mask, _AROUND)
    areas = _count(labels, count)
    areas[0] = 0
    sides, at_rim = [], np.zeros(count + 1, bool)
    for page in (labels, labels[::-1], labels.T, labels.T[::-1]):
        near = page[: 1 + len(page) // 20]
        within = (areas > 0) & (_count(near, count) == areas)
        at_rim |= within | ((areas > 0) & (_count(page[0], count) > 0))
        sides.append((near, within))
    inner = mask & ~at_rim[labels]
    usual = _tallest(inner)
    if not at_rim.any() or usual < 0.05 * max(mask.shape):
        return mask
    outline = mask & ~ndimage.binary_erosion(mask, border_value=1)
    gone = at_rim & (2 * areas > 2.5 * stroke_width(inner) * _count(labels[outline], count))
    for near, within in sides:
        flat = within & (_depths(near, count) < 0.5 * usual)
        if flat[near].any(axis=0).sum() > 2 * usual:
            gone |= flat
    return mask & ~gone[labels]


def _count(labels: NDArray[np.int32], count: int) -> NDArray[np.intp]:
    """Return how many pixels pieces 0 to `count` have."""
    return np.bincount(labels.ravel(), minlength=count + 1)


def _depths(labels: NDArray[np.int32], count: int) -> NDArray[np.intp]:
    """Return over how many rows pieces 0 to `count` go; 0 for those that are not there."""
    depths = np.zeros(count + 1, np.intp)
    for number, place in enumerate(ndimage.find_objects(labels, count), 1):
        if place is not None:
            depths[number] = place[0].stop - place[0].start
    return depths


def _tallest(mask: Mask) -> int:
    """Return the height of the tallest piece of a mask, in pixels."""
    boxes = ndimage.find_objects(ndimage.label(mask, _AROUND)[0])
    return max((rows.stop - rows.start for rows, _ in boxes), default=0)


def take_frames_away(mask: Mask) -> tuple[Mask, Mask]:
    """Take away frames: what has other writing in its holes, or is a rectangle.

    Its walls run through it, and a stroke that touches or crosses one stays. Of walls that are not
    straight nothing stays but what lies in the convex hull of a hole. The picture's edge closes a
    box that is cut off by it.

    Returns
    -------
    bool (height, width)
        What stays.
    bool (height, width)
        What went though it is no straight wall: scraps of walls, or strokes that run on from cell
        to cell.
    """
    labels, _ = ndimage.label(mask, _AROUND)
    boxes = ndimage.find_objects(labels)
    heights = np.array([rows.stop - rows.start for rows, _ in boxes])
    kept, torn = mask.copy(), np.zeros_like(mask)
    for number in np.flatnonzero(heights > 0.5 * np.max(heights, initial=0)) + 1:
        place = boxes[number - 1]
        own = labels[place] == number
        edges = _at_edge(place, mask.shape)
        is_cut = bool(np.any(edges))
        cells, closed = _find_cells(own, edges)
        has_writing = _has_writing(cells, labels[place], is_cut=is_cut)
        if not has_writing and (is_cut or closed.mean() <= 0.85 or own.mean() >= 0.6):
            continue
        (level, levels), (upright, uprights) = (_find_level_lines(o, o) for o in (own, own.T))
        pen = stroke_width(own)
        if has_writing:
            inside, sizes = _hulls(cells), _largest(cells)
        elif levels + uprights > 2:
            inside = ndimage.binary_erosion(closed, iterations=2 * round(pen))
            sizes = 0.75 * np.array(own.shape)
        else:
            continue
        # What touches a wall is whole, unless it is as small as a scrap of wall, or a grid of them.
        parts, count = ndimage.label(own & ~level & ~upright.T, _AROUND)
        stays = _count(parts[inside], count) > 0
        for part, p in enumerate(ndimage.find_objects(parts), 1):
            height, width = p[0].stop - p[0].start, p[1].stop - p[1].start
            stays[part] &= 0.4 * sizes[0] < height < 1.25 * sizes[0] + 4 * pen
            stays[part] &= width < 1.25 * sizes[1] + 4 * pen
        stays[0] = False
        kept[place] &= ~own | stays[parts] | ((parts > 0) & inside)
        torn[place] |= (parts > 0) & ~kept[place]
    return (kept, torn) if kept.any() else (mask, np.zeros_like(mask))  # a nought may be square


def _largest(labels: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return the height of the highest and the width of the widest piece."""
    boxes = [place for place in ndimage.find_objects(labels) if place is not None]
    sizes = [[p.stop - p.start for p in place] for place in boxes]
    return np.max(sizes, axis=0, initial=0).astype(np.float64)


def _at_edge(place: tuple[slice, slice], shape: tuple[int, ...]) -> list[tuple[bool, bool]]:
    """Return for rows and columns whether a box begins and ends at the picture's edge."""
    return [(p.start == 0, p.stop == side) for p, side in zip(place, shape, strict=True)]


def _find_cells(own: Mask, at_edge: list[tuple[bool, bool]]) -> tuple[NDArray[np.int32], Mask]:
    """Label the holes of a piece that is cropped to itself, and return all that it encloses.

    The picture's edge is a wall.
    """
    # Made wider, a wall has no gaps, and is straight enough.
    reach = 2 * max(1, round(stroke_width(own))) + 1
    wide = ndimage.maximum_filter(np.pad(own, reach, constant_values=at_edge), reach)
    holes, _ = ndimage.label(~wide)
    rim = np.unique(np.r_[holes[0], holes[-1], holes[:, 0], holes[:, -1]])
    outside = np.isin(holes, rim[rim > 0])
    inner = slice(reach, -reach)
    cells: NDArray[np.int32] = np.where(outside, 0, holes)[inner, inner]
    return cells, ~ndimage.maximum_filter(outside, reach)[inner, inner]


def _has_writing(cells: NDArray[np.int32], labels: NDArray[np.int32], *, is_cut: bool) -> bool:
    """Tell whether something is written in one of these holes; `labels` are all pieces there."""
    for number, place in enumerate(ndimage.find_objects(cells), 1):
        if place is not None:
            cell = cells[place] == number
            written = _tallest(cell & (labels[place] > 0)) > 0.25 * len(cell)
            if written and (cell.mean() > 0.8 or not is_cut):
                return True
    return False


def _hulls(cells: NDArray[np.int32]) -> Mask:
    """Return the convex hulls of all cells but the smallest."""
    hulls = np.zeros(cells.shape, bool)
    for number, place in enumerate(ndimage.find_objects(cells), 1):
        if place is not None and min(p.stop - p.start for p in place) > 8:
            hulls[place] |= convex_hull_image(cells[place] == number)
    return hulls
