"""From pixels of 0 to 255 to the numbers that a network is fed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Normalisation:
    """`(pixel / 255 - mean) / deviation`; the defaults are those of MNIST's training images.

    They are derived in chapter 1. A checkpoint records the pair that it was trained with.
    """

    mean: float = 0.1307
    deviation: float = 0.3081

    def __post_init__(self) -> None:
        if not math.isfinite(self.mean):
            raise ValueError(f"mean must be finite, found {self.mean}.")
        if not 0 < self.deviation < math.inf:
            raise ValueError(f"deviation must be above 0 and finite, found {self.deviation}.")

    def __call__(self, pixels: Tensor) -> Tensor:
        """Turn pixels of 0 to 255, of any type and shape, into normalised float32."""
        # One multiplication and one addition: the formula above in its cheapest order.
        return pixels.float() * (1 / (255 * self.deviation)) - self.mean / self.deviation

    def undo(self, images: Tensor) -> Tensor:
        """Turn normalised images back into pixels, from 0 to 1."""
        return images * self.deviation + self.mean


MNIST_NORMALISATION = Normalisation()
