"""Drawings of the ten digits, stroke by stroke, as a hand with a mouse would make them.

They are the fixed set on which JavaScript and Python must agree, and what the browser tests draw.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

Point = tuple[float, float]
Stroke = list[Point]


def arc(x: float, y: float, across: float, down: float, start: float, end: float) -> Stroke:
    """Points of an ellipse round (x, y); degrees, 0 to the right and 90 downwards."""
    count = max(6, int(abs(end - start) / 15))
    angles = [math.radians(start + (end - start) * k / count) for k in range(count + 1)]
    return [(x + across * math.cos(a), y + down * math.sin(a)) for a in angles]


# x and y from 0 to 1 across the pad, y downwards.
DIGITS: dict[int, list[Stroke]] = {
    0: [arc(0.5, 0.5, 0.22, 0.34, -80, 290)],
    1: [[(0.42, 0.3), (0.53, 0.16), (0.52, 0.5), (0.5, 0.84)]],
    2: [[*arc(0.48, 0.32, 0.2, 0.17, -170, 30), (0.5, 0.6), (0.29, 0.82), (0.74, 0.81)]],
    3: [[*arc(0.46, 0.32, 0.19, 0.16, -150, 80), *arc(0.46, 0.66, 0.22, 0.18, -80, 150)]],
    4: [[(0.38, 0.16), (0.27, 0.56), (0.5, 0.55), (0.75, 0.53)], [(0.63, 0.2), (0.59, 0.86)]],
    5: [[(0.68, 0.17), (0.36, 0.18), (0.33, 0.45), *arc(0.47, 0.63, 0.21, 0.2, -110, 140)]],
    6: [[(0.62, 0.14), (0.42, 0.34), (0.33, 0.6), *arc(0.5, 0.67, 0.17, 0.17, 180, -180)]],
    7: [[(0.27, 0.2), (0.5, 0.2), (0.73, 0.18), (0.58, 0.5), (0.46, 0.86)]],
    8: [[*arc(0.5, 0.31, 0.16, 0.15, -40, -270), *arc(0.5, 0.66, 0.2, 0.19, -90, 270),
         (0.62, 0.42), (0.64, 0.24)]],
    9: [[*arc(0.49, 0.34, 0.17, 0.17, -20, -340), (0.66, 0.3), (0.64, 0.55), (0.58, 0.86)]],
}  # fmt: skip


def change(strokes: list[Stroke], size: float, slant: float, x: float, y: float) -> list[Stroke]:
    """Draw smaller or larger, slanted, and elsewhere on the pad."""
    return [
        [
            ((px - 0.5 - slant * (py - 0.5)) * size + 0.5 + x, (py - 0.5) * size + 0.5 + y)
            for px, py in stroke
        ]
        for stroke in strokes
    ]


# Size, slant and place: as meant, small in a corner, leaning both ways, huge, tiny.
CHANGES = {
    "plain": (1.0, 0.0, 0.0, 0.0),
    "small in a corner": (0.35, 0.0, -0.3, 0.28),
    "leaning right": (0.9, 0.3, 0.02, 0.0),
    "leaning left": (0.8, -0.2, 0.05, 0.05),
    "large": (1.3, 0.05, 0.0, 0.0),
    "tiny": (0.15, 0.1, 0.35, -0.35),
}


def drawings() -> Iterator[tuple[int, str, list[Stroke]]]:
    """Yield digit, how it was changed, and strokes: ten digits in six ways."""
    for digit, strokes in DIGITS.items():
        for name, values in CHANGES.items():
            yield digit, name, change(strokes, *values)
