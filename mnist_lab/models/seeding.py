"""Randomness that comes from numbers alone: same seed, same weights, same order."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def seeded_generator(device: torch.device, *numbers: int) -> torch.Generator:
    """Return a generator whose state depends on all the numbers, such as seed and epoch."""
    mixed = np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]
    # torch takes seeds of up to 63 bits on every device.
    return torch.Generator(device).manual_seed(int(mixed >> np.uint64(1)))


@contextmanager
def weights_from(seed: int) -> Iterator[None]:
    """Draw the weights of every layer that is made inside from `seed` alone.

    They are drawn on the processor; torch's global generator is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
