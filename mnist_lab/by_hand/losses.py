"""Losses by hand: outputs and targets in, one number out, and its gradient (chapters 2 and 3).

    loss = SoftmaxCrossEntropy()
    print(loss.forward(network.forward(images), labels))
    network.backward(loss.backward())

A loss takes two arguments and learns nothing, so it is no layer; `backward` takes none, since the
gradient of the loss with respect to itself is 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mnist_lab.by_hand.layers import Floats, as_floats


class MeanSquaredError:
    """The mean over all entries of (prediction - target)^2."""

    def __init__(self) -> None:
        self._difference: Floats | None = None

    def forward(self, predictions: ArrayLike, targets: ArrayLike) -> float:
        """Return the loss of predictions and targets of the same shape (n, ...).

        Raises
        ------
        ValueError
            If the shapes differ: broadcasting would compare each with every other.
        """
        predictions, targets = as_floats(predictions), as_floats(targets)
        if predictions.shape != targets.shape:
            raise ValueError(
                f"Predictions {predictions.shape} and targets {targets.shape} differ in shape."
            )
        self._difference = predictions - targets
        return float((self._difference**2).mean())

    def backward(self) -> Floats:
        """Return the gradient for the predictions: 2 (prediction - target) / entries."""
        if self._difference is None:
            raise RuntimeError("MeanSquaredError.backward was called before forward.")
        return 2 * self._difference / self._difference.size


class SoftmaxCrossEntropy:
    """Minus the logarithm of the probability that softmax gives the right class; a batch's mean.

    Softmax and logarithm are computed together: with logits of 10,000 a probability underflows to
    0, whose logarithm is minus infinity, while the difference of two logits is as exact as ever.
    """

    def __init__(self) -> None:
        self._memory: tuple[Floats, NDArray[Any]] | None = None

    def forward(self, logits: ArrayLike, labels: ArrayLike) -> float:
        """Return the mean loss in nats.

        Parameters
        ----------
        logits : array (n, classes)
        labels : whole numbers (n,), each the index of the right class

        Raises
        ------
        ValueError
            If the shapes do not fit, or a label names no class.
        """
        logits, labels = as_floats(logits), np.asarray(labels)
        if logits.ndim != 2 or labels.shape != logits.shape[:1] or len(logits) == 0:
            raise ValueError(
                f"Logits (n, classes) and labels (n,) are wanted, not {logits.shape} and "
                f"{labels.shape}."
            )
        if labels.dtype.kind not in "iu":
            raise ValueError(f"Labels are whole numbers, not {labels.dtype}.")
        if labels.min() < 0 or labels.max() >= logits.shape[1]:
            raise ValueError(f"Labels must be between 0 and {logits.shape[1] - 1}.")
        shifted = logits - logits.max(axis=1, keepdims=True)
        log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        self._memory = log_probabilities, labels
        return float(-log_probabilities[np.arange(len(labels)), labels].mean())

    def backward(self) -> Floats:
        """Return the gradient for the logits: (probability - one-hot label) / n."""
        if self._memory is None:
            raise RuntimeError("SoftmaxCrossEntropy.backward was called before forward.")
        log_probabilities, labels = self._memory
        gradient = np.exp(log_probabilities)
        gradient[np.arange(len(labels)), labels] -= 1
        return gradient / len(labels)
