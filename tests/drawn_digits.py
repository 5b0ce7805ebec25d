"""The fixed set of drawings on which JavaScript and Python must agree: ten digits in six ways."""

from __future__ import annotations

from collections.abc import Iterator

from mnist_lab.handwriting.simulated_hands import DIGITS, Point, Stroke, change_drawing

__all__ = ["DIGITS", "Point", "Stroke", "drawings"]

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
            yield digit, name, change_drawing(strokes, *values)
