"""Where MNIST has its digits: 28 pixels, a box of 20, the centre of mass on pixel 14."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def paste_by_centre_of_mass(canvas: NDArray[np.uint8], digit: NDArray[np.uint8]) -> None:
    """Lay `digit` into the empty `canvas` so that its centre of mass is where MNIST has it.

    That is pixel 14 of 0 to 27 (chapter 1 measures it). The shift is by whole pixels; where the
    digit would leave the canvas it stops at the edge.
    """
    height, width = digit.shape
    total = float(digit.sum(dtype=np.float64)) or 1.0
    centre_y = float(digit.sum(axis=1, dtype=np.float64) @ np.arange(height)) / total
    centre_x = float(digit.sum(axis=0, dtype=np.float64) @ np.arange(width)) / total
    top = round(canvas.shape[0] / 2 - centre_y)
    left = round(canvas.shape[1] / 2 - centre_x)
    top = min(max(top, 0), canvas.shape[0] - height)
    left = min(max(left, 0), canvas.shape[1] - width)
    canvas[top : top + height, left : left + width] = digit
