"""Batches by hand: every example once, in an order that a generator draws (chapters 2 to 4)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray


def iter_batches(
    images: NDArray[Any], labels: NDArray[Any], batch_size: int, generator: np.random.Generator
) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Yield every example once, in random order: images (b, ...) and labels (b,).

    b is `batch_size`, but for the last batch, which holds what is left.

    Raises
    ------
    ValueError
        If there are more of the one than of the other, or the batch size is below 1.
    """
    if len(images) != len(labels):
        raise ValueError(f"{len(images)} images and {len(labels)} labels make no pairs.")
    if batch_size < 1:
        raise ValueError(f"A batch holds at least 1 example, not {batch_size}.")
    order = generator.permutation(len(images))
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        yield images[chosen], labels[chosen]
