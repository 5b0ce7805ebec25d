"""Randomness that comes from numbers alone: same seed, same weights, same order."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def drawn_from(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Let what is drawn inside, such as a layer's first weights, come from `seed` alone.

    Torch's layers draw from its global generators: the CPU's, and that of `device` if it is a GPU.
    After the block they are as they were.
    """
    with torch.random.fork_rng(devices=[device] if device and device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def seeded_generator(device: torch.device, *numbers: int) -> torch.Generator:
    """Return a generator whose state depends on all the numbers, such as seed and epoch."""
    mixed = np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]
    # torch takes seeds of up to 63 bits on every device.
    return torch.Generator(device).manual_seed(int(mixed >> np.uint64(1)))
