"""Random numbers for a whole batch, of which each process keeps those of its own piece.

    draws = Draws.of(generator, len(images))
    turn = draws.uniform(1)[0]              # (n,): a number for each image

Where several processes share a batch, all draw for the whole of it, from generators in the same
state. So what an image gets does not depend on who works on it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Draws:
    """Where random numbers come from, for how many examples, and which of these are kept.

    Attributes
    ----------
    generator : torch.Generator
        What is drawn lies on its device.
    whole : int
        Examples in the batch of all processes.
    piece : slice
        Those of this process.
    """

    generator: torch.Generator
    whole: int
    piece: slice

    @classmethod
    def of(cls, source: Draws | torch.Generator, count: int) -> Draws:
        """Return draws for `count` examples, where a generator serves no other process."""
        return source if isinstance(source, Draws) else cls(source, count, slice(0, count))

    def uniform(self, rows: int) -> Tensor:
        """Draw from [0, 1): (rows, n), a column for each example."""
        drawn = torch.rand(rows, self.whole, generator=self.generator, device=self._device)
        return drawn[:, self.piece]

    def uniform_each(self, *shape: int) -> Tensor:
        """Draw from [0, 1) an array for each example: `(n, *shape)`."""
        drawn = torch.rand(self.whole, *shape, generator=self.generator, device=self._device)
        return drawn[self.piece]

    def normal_each(self, *shape: int) -> Tensor:
        """Draw from the normal distribution an array for each example: `(n, *shape)`."""
        drawn = torch.randn(self.whole, *shape, generator=self.generator, device=self._device)
        return drawn[self.piece]

    @property
    def _device(self) -> torch.device:
        return self.generator.device
