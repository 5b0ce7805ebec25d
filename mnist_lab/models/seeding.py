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
    After the block they are as they were. No other is touched, which `torch.manual_seed` would do.
    """
    generators = [torch.default_generator]
    if device is not None and device.type != "cpu":
        generators.append(_global_generator(device))
    before = [generator.get_state() for generator in generators]
    try:
        for generator in generators:
            generator.manual_seed(seed)
        yield
    finally:
        for generator, state in zip(generators, before, strict=True):
            generator.set_state(state)


def _global_generator(device: torch.device) -> torch.Generator:
    """Return the generator that a GPU's layers draw from."""
    if device.type == "mps":
        return torch.mps._get_default_mps_generator()  # there is no public name for it
    torch.cuda.init()  # before it there are none
    index = torch.cuda.current_device() if device.index is None else device.index
    return torch.cuda.default_generators[index]


def seeded_generator(device: torch.device, *numbers: int) -> torch.Generator:
    """Return a generator whose state depends on all the numbers, such as seed and epoch."""
    mixed = np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]
    # torch takes seeds of up to 63 bits on every device.
    return torch.Generator(device).manual_seed(int(mixed >> np.uint64(1)))
