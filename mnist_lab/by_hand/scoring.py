"""Scores by hand: the share of right answers, in evaluation mode (chapters 3 and 4)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_lab.by_hand.layers import Layer, Sequential


def accuracy(
    network: Layer, images: NDArray[Any], labels: NDArray[Any], batch_size: int = 1000
) -> float:
    """Return the share of right answers in evaluation mode; every layer's mode is restored.

    Raises
    ------
    ValueError
        If there is not exactly one label for each image, or no image.
    """
    images, labels = np.asarray(images), np.asarray(labels)
    if labels.shape != images.shape[:1] or len(images) == 0:
        raise ValueError(
            f"Images (n, ...) and labels (n,) are wanted, not {images.shape} and {labels.shape}."
        )
    modes = [(layer, layer.training) for layer in _with_inner(network)]
    network.eval()
    right = 0
    try:
        for start in range(0, len(images), batch_size):
            logits = network.forward(images[start : start + batch_size])
            right += int((logits.argmax(axis=1) == labels[start : start + batch_size]).sum())
    finally:
        for layer, training in modes:
            layer.training = training
    return right / len(images)


def _with_inner(layer: Layer) -> Iterator[Layer]:
    yield layer
    if isinstance(layer, Sequential):
        for inner in layer.layers:
            yield from _with_inner(inner)
