"""Digits drawn with a pen that a program moves: stroke by stroke, in a hand that can be described.

    drawings, labels = draw_hand("imagined", per_class=5, seed=0)
    sheet = draw_on_sheet(drawings[0], side=280, pen=4)     # uint8 (280, 280), ink on 0
    image = strokes.draw_strokes(drawings[0])               # uint8 (28, 28), as MNIST would have it

Nobody sits before a page while it is built or a test runs, so a program draws. `DIGITS` are ten
plain digits, the fixed set on which JavaScript and Python must agree. A `Hand` has digits of its
own and varies them as a person does: each drawing leans, wobbles and lies elsewhere. What is
measured on them holds for them; people differ more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Point = tuple[float, float]
Stroke = list[Point]
Drawing = list[Stroke]

_STEP = 0.02  # of the sheet, from point to point: as a mouse reports them
_WAVES = 3  # slow waves that bend a drawing; a hand's wobble has no sharper turns


def _arc(x: float, y: float, across: float, down: float, start: float, end: float) -> Stroke:
    """Return points of an ellipse round (x, y); degrees, 0 to the right and 90 downwards."""
    count = max(6, int(abs(end - start) / 15))
    angles = [math.radians(start + (end - start) * k / count) for k in range(count + 1)]
    return [(x + across * math.cos(a), y + down * math.sin(a)) for a in angles]


# x and y from 0 to 1 across the sheet, y downwards.
DIGITS: dict[int, Drawing] = {
    0: [_arc(0.5, 0.5, 0.22, 0.34, -80, 290)],
    1: [[(0.42, 0.3), (0.53, 0.16), (0.52, 0.5), (0.5, 0.84)]],
    2: [[*_arc(0.48, 0.32, 0.2, 0.17, -170, 30), (0.5, 0.6), (0.29, 0.82), (0.74, 0.81)]],
    3: [[*_arc(0.46, 0.32, 0.19, 0.16, -150, 80), *_arc(0.46, 0.66, 0.22, 0.18, -80, 150)]],
    4: [[(0.38, 0.16), (0.27, 0.56), (0.5, 0.55), (0.75, 0.53)], [(0.63, 0.2), (0.59, 0.86)]],
    5: [[(0.68, 0.17), (0.36, 0.18), (0.33, 0.45), *_arc(0.47, 0.63, 0.21, 0.2, -110, 140)]],
    6: [[(0.62, 0.14), (0.42, 0.34), (0.33, 0.6), *_arc(0.5, 0.67, 0.17, 0.17, 180, -180)]],
    7: [[(0.27, 0.2), (0.5, 0.2), (0.73, 0.18), (0.58, 0.5), (0.46, 0.86)]],
    8: [[*_arc(0.5, 0.31, 0.16, 0.15, -40, -270), *_arc(0.5, 0.66, 0.2, 0.19, -90, 270),
         (0.62, 0.42), (0.64, 0.24)]],
    9: [[*_arc(0.49, 0.34, 0.17, 0.17, -20, -340), (0.66, 0.3), (0.64, 0.55), (0.58, 0.86)]],
}  # fmt: skip

# Forms that are common in Europe and rare in MNIST, whose writers were American.
_EUROPEAN: dict[int, Drawing] = {
    1: [[(0.24, 0.5), (0.4, 0.34), (0.57, 0.14), (0.56, 0.5), (0.55, 0.87)]],  # a long flag
    2: [[*_arc(0.48, 0.3, 0.18, 0.16, -170, 40), (0.45, 0.66),
         *_arc(0.36, 0.76, 0.09, 0.07, 60, 300), (0.56, 0.82), (0.76, 0.8)]],  # a loop at its foot
    4: [[(0.52, 0.13), (0.4, 0.36), (0.26, 0.6), (0.5, 0.6), (0.76, 0.59)],
        [(0.57, 0.42), (0.55, 0.88)]],  # open at the top, with a short second stroke
    7: [[(0.25, 0.3), (0.28, 0.19), (0.5, 0.2), (0.73, 0.17), (0.56, 0.52), (0.43, 0.87)],
        [(0.32, 0.55), (0.74, 0.5)]],  # crossed, with a hook at its left end
    9: [[*_arc(0.48, 0.3, 0.17, 0.15, -20, -345), (0.66, 0.32), (0.68, 0.58),
         *_arc(0.46, 0.68, 0.22, 0.18, -10, 190)]],  # its foot curls back
}  # fmt: skip


@dataclass(frozen=True)
class Hand:
    """How somebody draws digits: which forms, and how much they vary.

    Attributes
    ----------
    digits : mapping of int to strokes
        Those that differ from `DIGITS`.
    slant : float
        How far the top leans to the right, as a share of the height; negative leans left.
    slant_spread, turn_spread : float
        Standard deviation of the slant, and of a turn in radians, from drawing to drawing.
    narrow : float
        Width over what it is in the forms.
    wobble : float
        Standard deviation, as a share of the sheet, by which slow waves displace a point.
    size : (float, float)
        Smallest and largest height of a drawing, as a share of the sheet's.
    """

    digits: Mapping[int, Drawing] = field(default_factory=dict)
    slant: float = 0.0
    slant_spread: float = 0.15
    turn_spread: float = 0.05
    narrow: float = 1.0
    wobble: float = 0.03
    size: tuple[float, float] = (0.3, 0.6)


HANDS: dict[str, Hand] = {
    "plain": Hand(),
    "imagined": Hand(_EUROPEAN, slant=0.22, slant_spread=0.12, narrow=0.92, wobble=0.04),
}
"""Hands by name: one without habits, and one with forms that MNIST hardly knows."""


def change_drawing(strokes: Drawing, size: float, slant: float, x: float, y: float) -> Drawing:
    """Draw smaller or larger, slanted, and elsewhere on the sheet.

    Parameters
    ----------
    size : float
        Factor, about the middle of the sheet.
    slant : float
        As in `Hand`.
    x, y : float
        By how much of the sheet it is moved afterwards.
    """
    return [
        [
            ((px - 0.5 - slant * (py - 0.5)) * size + 0.5 + x, (py - 0.5) * size + 0.5 + y)
            for px, py in stroke
        ]
        for stroke in strokes
    ]


def draw_hand(
    hand: str | Hand, per_class: int, seed: int
) -> tuple[list[Drawing], NDArray[np.int64]]:
    """Draw every digit `per_class` times, each time anew.

    Parameters
    ----------
    hand : Hand, or the name of one of `HANDS`
    per_class : int
        At least 1.
    seed : int
        Same seed, same drawings.

    Returns
    -------
    drawings : list of drawings
        0 to 9, and again; all points lie on the sheet, x and y from 0 to 1.
    labels : int64 (10 * per_class,)

    Raises
    ------
    ValueError
        If there is no hand of that name, or `per_class` is below 1.
    """
    if isinstance(hand, str):
        if hand not in HANDS:
            raise ValueError(f"There is no hand {hand!r}; there are {', '.join(HANDS)}.")
        hand = HANDS[hand]
    if per_class < 1:
        raise ValueError(f"per_class must be at least 1, found {per_class}.")
    generator = np.random.default_rng(seed)
    labels = np.tile(np.arange(10), per_class)
    return [_draw_once(hand, int(label), generator) for label in labels], labels


def _draw_once(hand: Hand, digit: int, generator: np.random.Generator) -> Drawing:
    """Draw a digit as the hand would this time."""
    strokes = [_fill_in(stroke) for stroke in hand.digits.get(digit, DIGITS[digit])]
    points = np.concatenate(strokes) - 0.5
    # Waves of half a sheet and longer, in any direction: neighbours go the same way.
    waves = generator.normal(0, 2 * math.pi, (_WAVES, 2))
    phases = generator.uniform(0, 2 * math.pi, (2, _WAVES))
    angles = points @ waves.T  # (points, waves)
    pushes = generator.normal(0, hand.wobble * math.sqrt(2 / _WAVES), (2, _WAVES))
    points = points + np.stack([np.sin(angles + phases[i]) @ pushes[i] for i in (0, 1)], axis=1)
    slant = generator.normal(hand.slant, hand.slant_spread)
    turn = generator.normal(0, hand.turn_spread)
    width = hand.narrow * generator.uniform(0.9, 1.1)
    lean = np.array([[width, -slant], [0, 1]])
    rotate = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    points = points @ (rotate @ lean).T
    points -= points.min(axis=0)
    extent = points.max(axis=0)
    size = generator.uniform(*hand.size)
    points *= min(size / extent[1], 0.96 / extent.max())
    room = 1 - points.max(axis=0)
    points += room * generator.uniform(0.02, 0.98, 2)
    ends = np.cumsum([len(stroke) for stroke in strokes])[:-1]
    return [[(float(x), float(y)) for x, y in part] for part in np.split(points, ends)]


def _fill_in(stroke: Sequence[Point]) -> NDArray[np.float64]:
    """Return a stroke with its corners rounded and a point every `_STEP`, (n, 2)."""
    points = np.array(stroke, np.float64)
    for _ in range(2):  # Chaikin 1974: each corner is cut at a quarter of its two sides
        quarters = [points[:-1] * 0.75 + points[1:] * 0.25, points[:-1] * 0.25 + points[1:] * 0.75]
        inner = np.stack(quarters, axis=1).reshape(-1, 2)[1:-1]
        points = np.concatenate([points[:1], inner, points[-1:]])
    lengths = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    places = np.linspace(0, lengths[-1], max(2, round(lengths[-1] / _STEP) + 1))
    return np.stack([np.interp(places, lengths, points[:, i]) for i in (0, 1)], axis=1)


def draw_on_sheet(strokes: Drawing, side: int = 280, pen: float = 4) -> NDArray[np.uint8]:
    """Return what a plain drawing program would: pixels that are ink or not, no smooth edges.

    Parameters
    ----------
    strokes : lists of (x, y)
        From 0 to 1 across the sheet.
    side : int
        Of the square sheet, in pixels.
    pen : float
        Width of the line in pixels, at least 1.

    Returns
    -------
    uint8 (side, side)
        255 is ink, 0 is paper.
    """
    if side < 1 or pen < 1:
        raise ValueError(f"side and pen must be at least 1, found {side} and {pen}.")
    sheet = Image.new("L", (side, side))
    draw = ImageDraw.Draw(sheet)
    radius = (pen - 1) / 2
    for stroke in strokes:
        points = [(x * side, y * side) for x, y in stroke]
        draw.line(points, fill=255, width=round(pen))
        for x, y in points:  # round ends and joints
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    return np.asarray(sheet)
