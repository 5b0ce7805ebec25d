"""Optimisers by hand, and what a training loop in NumPy needs around them (chapters 2 to 4)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_lab.by_hand.layers import Layer, Sequential


class SGD:
    """Gradient descent, plain or with momentum; step by step equal to torch.optim.SGD.

    Parameters
    ----------
    network : Layer
        Its parameters are changed in place.
    learning_rate : float
        An attribute too: change it between steps for a schedule.
    momentum : float
        How much of the velocity each step keeps, in [0, 1).
    """

    def __init__(self, network: Layer, learning_rate: float, momentum: float = 0.0) -> None:
        self.network, self.learning_rate, self.momentum = network, learning_rate, momentum
        self._velocity = {name: np.zeros_like(p) for name, p in network.parameters.items()}

    def step(self) -> None:
        """Move every parameter once, by the gradients of the last `backward`."""
        for name, parameter in self.network.parameters.items():
            velocity = self._velocity[name]
            velocity *= self.momentum
            velocity += self.network.gradients[name]
            parameter -= self.learning_rate * velocity


class Adam:
    """Steps adapted to each parameter [Kingma and Ba, 2015]; equal to torch.optim.Adam.

    Parameters
    ----------
    network : Layer
        Its parameters are changed in place.
    learning_rate : float
        An attribute too: change it between steps for a schedule.
    betas : (float, float)
        How slowly the running means of the gradient and of its square forget.
    epsilon : float
        Keeps the division finite where gradients have always been zero.
    """

    def __init__(
        self,
        network: Layer,
        learning_rate: float = 0.001,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
    ) -> None:
        self.network, self.learning_rate = network, learning_rate
        self.betas, self.epsilon = betas, epsilon
        self._mean = {name: np.zeros_like(p) for name, p in network.parameters.items()}
        self._square = {name: np.zeros_like(p) for name, p in network.parameters.items()}
        self._steps = 0

    def step(self) -> None:
        """Move every parameter once, by the gradients of the last `backward`."""
        self._steps += 1
        # Both means begin at zero; dividing by these takes out what that beginning still weighs.
        of_mean, of_square = (1 - beta**self._steps for beta in self.betas)
        for name, parameter in self.network.parameters.items():
            gradient = self.network.gradients[name]
            mean, square = self._mean[name], self._square[name]
            mean += (1 - self.betas[0]) * (gradient - mean)
            square += (1 - self.betas[1]) * (gradient**2 - square)
            size = np.sqrt(square / of_square) + self.epsilon
            parameter -= self.learning_rate * (mean / of_mean) / size


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
