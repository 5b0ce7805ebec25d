"""Simulated photos of handwriting: what pens, paper, light and a camera make of MNIST's digits.

    photo = photograph(digits, rows=3, columns=6, conditions=PHOTOS["desk lamp"], seed=0)
    photo.picture, photo.labels, photo.boxes

No camera has seen these pictures. Each effect is a simple model of a real one, with its dose in
`Conditions`, so that one can see which of them a reader of photos withstands and how well; the true
labels and places are known. Real photos hold more than that: other people's handwriting, above all.

In order: the digits are written with a pen of a given width, on paper with or without lines; the
page is seen at an angle, perhaps with the table around it; light falls on it unevenly; the lens and
the hand blur it; the sensor adds noise, and JPEG its blocks.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from mnist_lab.data.digit_set import DigitSet
from mnist_lab.data.geometry import DIGIT_BOX
from mnist_lab.handwriting.paper import Box

_ENLARGED = 4  # strokes are thinned on images so many times as large

Colour = tuple[float, float, float]  # the shares of red, green and blue light that come back
_Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Conditions:
    """How a page is written and photographed; by default without any trouble.

    Lengths are in pixels of the picture. The directions of light, shadow, tilt and shake are drawn.
    """

    digit: int = 56  # pixels of the longer side of a digit: a page that fills a small photo
    pen: float | None = None  # width of the strokes over the digit's height; None: MNIST's own
    ink: float | Colour = 0.12  # how much light comes back, 0 to 1: black is not quite 0
    paper: float | Colour = 0.86  # and white not quite 1
    pressure: float = 0.1  # how much fainter the ink gets where the pen hardly presses, 0 to 1
    grain: float = 0.01  # standard deviation of the paper's brightness
    lines: str = ""  # "ruled", "squared", or none
    line: float = 0.68  # how much light the printed lines give back
    gradient: float = 0.0  # share of the light that is lost from one side to the other
    soft_shadow: float = 0.0  # share of the light that is lost in the middle of a soft shadow
    hard_shadow: float = 0.0  # share of the light that is lost beyond a sharp edge
    tilt: float = 0.0  # degrees, to either side
    perspective: float = 0.0  # how much smaller the far side is than the near one, 0 to 1
    table: float | None = None  # how bright the table round the paper is; None: no table is seen
    defocus: float = 0.0  # radius of the disc that a point becomes
    shake: float = 0.0  # length of the line that a point becomes
    noise: float = 1.0  # standard deviation of the sensor's noise, of 255
    jpeg: int | None = 92  # JPEG's quality, 1 to 95; None: not compressed


PHOTOS: dict[str, Conditions] = {
    "scan": Conditions(),
    "desk lamp": Conditions(gradient=0.5, soft_shadow=0.35, noise=3, jpeg=85),
    "shadow of a hand": Conditions(gradient=0.2, hard_shadow=0.4, noise=4, jpeg=85),
    "in a hurry": Conditions(
        gradient=0.3, tilt=4, perspective=0.15, defocus=1.5, shake=5, noise=6, jpeg=60
    ),
    "ball pen": Conditions(pen=0.045, pressure=0.3, gradient=0.2, noise=3, jpeg=85),
    "pencil": Conditions(
        pen=0.05, ink=0.5, pressure=0.5, grain=0.02, gradient=0.2, noise=3, jpeg=85
    ),
    "felt marker": Conditions(pen=0.2, gradient=0.2, noise=3, jpeg=85),
    "ruled paper": Conditions(pen=0.07, lines="ruled", gradient=0.2, tilt=1, noise=3, jpeg=85),
    "squared paper": Conditions(pen=0.07, lines="squared", gradient=0.2, tilt=1, noise=3, jpeg=85),
    "on a table": Conditions(
        pen=0.07, table=0.25, tilt=3, perspective=0.1, gradient=0.2, noise=3, jpeg=85
    ),
    "red on yellow": Conditions(
        pen=0.07, ink=(0.8, 0.16, 0.14), paper=(0.93, 0.86, 0.5), gradient=0.2, noise=3, jpeg=85
    ),
    "blackboard": Conditions(
        pen=0.1, ink=0.85, paper=0.18, pressure=0.5, grain=0.03, gradient=0.3, noise=4, jpeg=85
    ),
    "far away": Conditions(digit=14, defocus=0.5, noise=3, jpeg=85),
}


# What a photo should better not be: each has cost digits once.
WORSE_PHOTOS: dict[str, Conditions] = {
    "deep hard shadow": Conditions(pen=0.07, hard_shadow=0.6, noise=3),
    "shadow on squares": Conditions(
        pen=0.07, lines="squared", hard_shadow=0.4, gradient=0.3, tilt=2, noise=3, jpeg=75
    ),
    "mostly table": Conditions(
        pen=0.04, table=0.1, tilt=8, perspective=0.2, gradient=0.4, hard_shadow=0.3, noise=4
    ),
    "bright table": Conditions(pen=0.07, paper=0.7, table=0.95, tilt=3, noise=3),
    "pale blue on squares": Conditions(
        pen=0.06, ink=(0.15, 0.2, 0.6), lines="squared", noise=3, gradient=0.2, tilt=1
    ),
    "as bright as the paper": Conditions(
        pen=0.07, ink=(0.9, 0.3, 0.3), paper=(0.25, 0.62, 0.4), noise=3, gradient=0.2, jpeg=80
    ),
    "much compressed": Conditions(pen=0.07, jpeg=15, noise=3),
    "out of focus": Conditions(defocus=5, noise=3, jpeg=80),
}


@dataclass(frozen=True)
class Photo:
    """A simulated photo and what is on it.

    Attributes
    ----------
    picture : uint8 (height, width), or (height, width, 3) if ink or paper is coloured
    labels : int64 (n,)
        In reading order: lines from top to bottom, each from left to right.
    boxes : n times (int, int, int, int)
        Left, top, right and bottom of each digit's ink in pixels; right and bottom are exclusive.
    """

    picture: NDArray[np.uint8]
    labels: NDArray[np.int64]
    boxes: list[Box]


def photograph(
    digits: DigitSet,
    rows: int = 3,
    columns: int = 6,
    conditions: Conditions = PHOTOS["scan"],
    seed: int = 0,
) -> Photo:
    """Write `rows * columns` of the digits on a page, drawn at random, and take a simulated photo.

    Raises
    ------
    ValueError
        If there is no row, no column or no digit.
    """
    if min(rows, columns, len(digits.images)) < 1:
        raise ValueError("A page needs at least one row, one column and one digit to draw from.")
    generator = np.random.default_rng(seed)
    chosen = generator.integers(len(digits.images), size=rows * columns)
    ink, places = _write(digits.images[chosen], rows, columns, conditions, generator)
    reflected = _lay_on_paper(ink, conditions, generator)
    to_photo, size = _aim(places, conditions, generator)
    seen = _look(reflected, to_photo, size, conditions)
    light = _shed_light(size, conditions, generator)
    picture = _develop(seen * light[..., None], conditions, generator)
    boxes = [_box_of(_project(to_photo, place)) for place in places]
    return Photo(picture, digits.labels[chosen].astype(np.int64), boxes)


def write_with(image: NDArray[np.uint8], pen: float | None, digit: int) -> _Floats:
    """Write an MNIST digit anew, in another size and with another pen.

    The middle of its strokes is found by thinning, and a round pen goes along it. A wide pen closes
    small loops, as a marker does.

    Parameters
    ----------
    image : uint8 (28, 28)
    pen : float or None
        Width of the strokes over the digit's height; None keeps the strokes that it has.
    digit : int
        Pixels that MNIST's box of 20 gets.

    Returns
    -------
    float64 (height, width), 0 to 1, with room for a wide pen around the digit.
    """
    scale = digit / DIGIT_BOX
    margin = 4  # pixels of MNIST: half the width of the widest pen
    image = np.pad(image, margin)
    side = round(len(image) * scale)
    if pen is None:
        large = Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC)
        return np.asarray(large, np.float64) / 255
    fine = Image.fromarray(image).resize((len(image) * _ENLARGED,) * 2, Image.Resampling.BICUBIC)
    middle = _thin(np.asarray(fine) > 127)
    if not middle.any():
        return np.zeros((side, side))
    # Distances change evenly, so that they can be enlarged without steps.
    distance = ndimage.distance_transform_edt(~middle).astype(np.float32)
    large = Image.fromarray(distance).resize((side, side), Image.Resampling.BILINEAR)
    reach = np.asarray(large, np.float64) * scale / _ENLARGED
    written: _Floats = (pen * digit / 2 - reach + 0.5).clip(0, min(1.0, pen * digit))
    return written


def _thin(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Take pixels off a mask's edges until lines remain that are one pixel wide.

    Zhang and Suen, "A fast parallel algorithm for thinning digital patterns", CACM 27(3), 1984.
    """
    mask = np.pad(mask, 1)
    changed = True
    while changed:
        changed = False
        for first in (True, False):
            # The eight neighbours of every pixel, from the one above it clockwise.
            steps = [(-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1)]
            around = np.stack([np.roll(mask, (-y, -x), (0, 1)) for y, x in steps])
            count = around.sum(axis=0)
            rises = (~around & np.roll(around, -1, axis=0)).sum(axis=0)
            up, right, down, left = around[0], around[2], around[4], around[6]
            if first:
                edge = ~(up & right & down) & ~(right & down & left)
            else:
                edge = ~(up & right & left) & ~(up & down & left)
            gone = mask & (count >= 2) & (count <= 6) & (rises == 1) & edge
            changed |= bool(gone.any())
            mask = mask & ~gone
    return mask[1:-1, 1:-1]


# --- On paper ------------------------------------------------------------------------------------


def _write(
    images: NDArray[np.uint8],
    rows: int,
    columns: int,
    conditions: Conditions,
    generator: np.random.Generator,
) -> tuple[_Floats, list[_Floats]]:
    """Return a page's ink, 0 to 1, and for each digit the points (x, y) of its ink."""
    digit = conditions.digit
    cell = round(1.5 * digit)
    margin = round(0.4 * cell * max(rows, columns)) if conditions.table is None else cell
    ink = np.zeros((rows * cell + 2 * margin, columns * cell + 2 * margin))
    places = []
    for number, image in enumerate(images):
        row, column = divmod(number, columns)
        written = write_with(image, conditions.pen, digit)
        # A hand keeps neither the line nor the distance exactly.
        aside, down = generator.uniform(-0.06, 0.06, 2) * digit
        left = margin + column * cell + round(aside) + (cell - len(written)) // 2
        top = margin + row * cell + round(down) + (cell - len(written)) // 2
        part = ink[top : top + len(written), left : left + len(written)]
        np.maximum(part, written, out=part)
        y, x = np.nonzero(written > 0.5 * written.max(initial=0.0))
        places.append(np.stack([x + left + 0.5, y + top + 0.5], axis=1))
    # The pen presses here more and there less.
    strength = ndimage.gaussian_filter(generator.standard_normal(ink.shape), digit / 8)
    strength = strength / max(float(np.abs(strength).max()), 1e-9)
    return ink * (1 - conditions.pressure * np.abs(strength)), places


def _lay_on_paper(
    ink: _Floats, conditions: Conditions, generator: np.random.Generator
) -> NDArray[np.float32]:
    """Return the shares of light that a page gives back: (height, width, 1 or 3)."""
    colours = [conditions.ink, conditions.paper]
    count = 3 if any(isinstance(colour, tuple) for colour in colours) else 1
    dark, bright = (np.broadcast_to(np.asarray(c, np.float64), (count,)) for c in colours)
    printed = np.ones(ink.shape)
    if conditions.lines:
        apart = round((0.75 if conditions.lines == "ruled" else 0.4) * conditions.digit)
        wide = max(1, round(conditions.digit / 30))
        share = conditions.line / float(bright.mean())
        for offset in range(wide):
            printed[offset::apart] = share
            if conditions.lines == "squared":
                printed[:, offset::apart] = share
    texture = printed + generator.normal(0, conditions.grain, ink.shape)
    page = texture[..., None] * bright * (1 - ink[..., None]) + dark * ink[..., None]
    return page.astype(np.float32)


# --- Through the lens ----------------------------------------------------------------------------


def _aim(
    places: list[_Floats], conditions: Conditions, generator: np.random.Generator
) -> tuple[_Floats, tuple[int, int]]:
    """Return the homography (3, 3) from the page to the photo, and the photo's width and height."""
    points = np.concatenate(places)
    low, high = points.min(axis=0), points.max(axis=0)
    middle, half = (low + high) / 2, float((high - low).max()) / 2
    angle = math.radians(conditions.tilt) * generator.choice([-1, 1])
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    away = generator.uniform(0, 2 * math.pi)  # the direction in which the page recedes
    shrink = conditions.perspective / 2 / half
    to_photo = np.eye(3)
    to_photo[:2, :2] = turn
    to_photo[2] = [shrink * math.cos(away), shrink * math.sin(away), 1]
    to_photo = to_photo @ np.array([[1, 0, -middle[0]], [0, 1, -middle[1]], [0, 0, 1]])
    # The photo shows all digits and a little around them, or the whole page and some table.
    seen = _project(to_photo, points)
    rim = (0.4 if conditions.table is None else 3) * conditions.digit
    corner = seen.min(axis=0) - rim
    width, height = np.ceil(seen.max(axis=0) + rim - corner).astype(int)
    shift = np.array([[1, 0, -corner[0]], [0, 1, -corner[1]], [0, 0, 1]])
    return shift @ to_photo, (int(width), int(height))


def _project(homography: _Floats, points: _Floats) -> _Floats:
    """Return where points (n, 2) of the page lie in the photo."""
    seen = np.c_[points, np.ones(len(points))] @ homography.T
    projected: _Floats = seen[:, :2] / seen[:, 2:]
    return projected


def _box_of(points: _Floats) -> Box:
    (left, top), (right, bottom) = np.floor(points.min(axis=0)), np.ceil(points.max(axis=0))
    return int(left), int(top), int(right), int(bottom)


def _look(
    page: NDArray[np.float32], to_photo: _Floats, size: tuple[int, int], conditions: Conditions
) -> _Floats:
    """Return what a lens makes of a page: (height, width, channels), shares of light."""
    back = np.linalg.inv(to_photo)
    beyond = conditions.table if conditions.table is not None else float(np.median(page))
    channels = [
        Image.fromarray(np.ascontiguousarray(channel)).transform(
            size,
            Image.Transform.PERSPECTIVE,
            (back / back[2, 2]).ravel()[:8],
            Image.Resampling.BICUBIC,
            fillcolor=beyond,
        )
        for channel in np.moveaxis(page, -1, 0)
    ]
    return np.stack([np.asarray(channel, np.float64) for channel in channels], axis=-1)


def _shed_light(
    size: tuple[int, int], conditions: Conditions, generator: np.random.Generator
) -> _Floats:
    """Return the light on every pixel, (height, width): 1 where it is full."""
    width, height = size
    y, x = np.mgrid[:height, :width]
    towards, across, edge = generator.uniform(0, 2 * math.pi, 3)
    way = x * math.cos(towards) + y * math.sin(towards)
    light = 1 - conditions.gradient * (way - way.min()) / max(float(np.ptp(way)), 1)
    centre = generator.uniform(0.2, 0.8, 2) * (width, height)
    stretched = np.hypot(
        (x - centre[0]) * math.cos(across) + (y - centre[1]) * math.sin(across),
        1.8 * ((y - centre[1]) * math.cos(across) - (x - centre[0]) * math.sin(across)),
    )
    light *= 1 - conditions.soft_shadow * np.exp(-0.5 * (stretched / (0.3 * max(size))) ** 2)
    through = generator.uniform(0.3, 0.7, 2) * (width, height)
    beyond = (x - through[0]) * math.cos(edge) + (y - through[1]) * math.sin(edge)
    light *= 1 - conditions.hard_shadow * (0.5 + 0.5 * np.tanh(beyond / 3))
    return light


def _develop(
    light: _Floats, conditions: Conditions, generator: np.random.Generator
) -> NDArray[np.uint8]:
    """Blur, add noise and compress: from shares of light to a picture, uint8."""
    for kernel in (_disc(conditions.defocus), _dash(conditions.shake, generator)):
        if kernel.size > 1:
            light = ndimage.convolve(light, kernel[..., None], mode="nearest")
    values = 255 * light + generator.normal(0, conditions.noise, light.shape)
    picture = values.round().clip(0, 255).astype(np.uint8)
    if picture.shape[2] == 1:
        picture = picture[..., 0]
    if conditions.jpeg is None:
        return picture
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "JPEG", quality=conditions.jpeg)
    return np.asarray(Image.open(stream))


def _disc(radius: float) -> _Floats:
    """Return what a point out of focus looks like; the sum is 1."""
    reach = math.ceil(radius)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = (radius + 0.5 - np.hypot(x, y)).clip(0, 1)
    share: _Floats = disc / disc.sum()
    return share


def _dash(length: float, generator: np.random.Generator) -> _Floats:
    """Return what a point looks like to a hand that shakes; the sum is 1."""
    angle = generator.uniform(0, math.pi)
    reach = math.ceil(length / 2)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    along = np.abs(x * math.cos(angle) + y * math.sin(angle))
    aside = np.abs(y * math.cos(angle) - x * math.sin(angle))
    dash = (length / 2 + 0.5 - along).clip(0, 1) * (1 - aside).clip(0, 1)
    share: _Floats = dash / dash.sum()
    return share
