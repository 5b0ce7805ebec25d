"""Layers by hand beside PyTorch: the time of a convolution, and what they reach on all of MNIST.

    python -m benchmarks.numpy_layers

About 2 minutes on two idle cores.

The convolution is a question of speed: forward and backward of 32 kernels of 3x3 on 64 images of
28x28, by hand in float64, and by PyTorch in float32 and float64, each with the gradients for
inputs, weight and bias. The sides take turns. In its turn a side runs untimed until it is warm, and
then once timed; the first turn of each is not counted, and the median of the others is. (Cold, and
beside NumPy's threads, which go on looking for work for a while, PyTorch would seem two to three
times as slow.)

The two networks train on the training part, each seed with its own split, and are scored on the
validation part; the test set is not looked at. Seconds go from uint8 images in memory to the last
step of the optimiser, normalising included.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mnist_lab.by_hand import (
    Adam,
    Conv2d,
    Flatten,
    Floats,
    Linear,
    MaxPool2d,
    ReLU,
    Sequential,
    SoftmaxCrossEntropy,
    accuracy,
    iter_batches,
)
from mnist_lab.data import MNIST, load_mnist, split
from mnist_lab.lessons import summarise

from .recording import Record, make_parser, read_arguments

REPEATS, WARM_UP = 7, 0.3  # the warm-up is in seconds, in each turn
IMAGES, KERNELS, KERNEL_SIZE, PADDING, SIDE = 64, 32, 3, 1, 28
SEEDS = 3
MEAN, DEVIATION = 0.1307, 0.3081


# --- The time of a convolution -------------------------------------------------------------------


def by_hand(images: Floats, gradient: Floats) -> Callable[[], None]:
    """Return a function that goes once forward and backward through our layer."""
    generator = np.random.default_rng(0)
    layer = Conv2d(images.shape[1], KERNELS, KERNEL_SIZE, generator, padding=PADDING)

    def once() -> None:
        layer.forward(images)
        layer.backward(gradient)

    return once


def by_torch(images: Floats, gradient: Floats, dtype: torch.dtype) -> Callable[[], None]:
    """Return a function that goes once forward and backward through PyTorch's layer."""
    layer = torch.nn.Conv2d(images.shape[1], KERNELS, KERNEL_SIZE, padding=PADDING, dtype=dtype)
    inputs = torch.tensor(images, dtype=dtype, requires_grad=True)
    upstream = torch.tensor(gradient, dtype=dtype)

    def once() -> None:
        layer.zero_grad()
        inputs.grad = None
        layer(inputs).backward(upstream)

    return once


def time_convolution(channels: int) -> dict[str, Any]:
    """Return the milliseconds of each side, and ours divided by each of PyTorch's."""
    generator = np.random.default_rng(0)
    images = generator.normal(size=(IMAGES, channels, SIDE, SIDE))
    gradient = generator.normal(size=(IMAGES, KERNELS, SIDE, SIDE))
    sides = {
        "numpy_float64": by_hand(images, gradient),
        "torch_float32": by_torch(images, gradient, torch.float32),
        "torch_float64": by_torch(images, gradient, torch.float64),
    }
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(REPEATS + 1):
        for name, once in sides.items():
            warm = time.perf_counter() + WARM_UP
            while time.perf_counter() < warm:
                once()
            started = time.perf_counter()
            once()
            times[name].append(1000 * (time.perf_counter() - started))
    medians = {name: statistics.median(values[1:]) for name, values in times.items()}
    return {
        "milliseconds": {name: round(value, 2) for name, value in medians.items()},
        "ratio_to_float32": round(medians["numpy_float64"] / medians["torch_float32"], 2),
        "ratio_to_float64": round(medians["numpy_float64"] / medians["torch_float64"], 2),
        "all": {name: [round(v, 2) for v in values[1:]] for name, values in times.items()},
    }


# --- Training on all of MNIST --------------------------------------------------------------------


@dataclass(frozen=True)
class NumpyNetwork:
    """A network by hand and how it is trained; chosen on validation data."""

    build: Callable[[np.random.Generator], Sequential]
    learning_rate: float  # of the first step; it falls linearly to 0
    epochs: int
    batch_size: int = 128


def build_mlp(generator: np.random.Generator) -> Sequential:
    """Return a network with one hidden layer: 784-256-10."""
    return Sequential(
        Flatten(),
        Linear(784, 256, generator),
        ReLU(),
        Linear(256, 10, generator),
    )


def build_cnn(generator: np.random.Generator) -> Sequential:
    """Return a small CNN; its first stride keeps it fast."""
    return Sequential(
        Conv2d(1, 8, 5, generator, stride=2, padding=2),  # (n, 8, 14, 14)
        ReLU(),
        Conv2d(8, 16, 3, generator, padding=1),  # (n, 16, 14, 14)
        ReLU(),
        MaxPool2d(2),  # (n, 16, 7, 7)
        Flatten(),
        Linear(784, 10, generator),
    )


NETWORKS = {
    "mlp": NumpyNetwork(build_mlp, learning_rate=0.003, epochs=8),
    "cnn": NumpyNetwork(build_cnn, learning_rate=0.006, epochs=3),
}


def normalise(images: NDArray[np.uint8]) -> Floats:
    """uint8 (n, 28, 28) -> float64 (n, 1, 28, 28)."""
    return (images[:, None] / 255 - MEAN) / DEVIATION


def train(network: NumpyNetwork, mnist: MNIST, seed: int) -> tuple[float, float]:
    """Return the accuracy on validation data after the last step, and the seconds of training."""
    training, validation = split(mnist.train, seed)
    generator = np.random.default_rng(seed)
    started = time.perf_counter()
    layers = network.build(generator)
    loss, optimizer = SoftmaxCrossEntropy(), Adam(layers)
    steps = network.epochs * -(-len(training) // network.batch_size)
    step = 0
    for _ in range(network.epochs):
        for images, labels in iter_batches(
            training.images, training.labels, network.batch_size, generator
        ):
            optimizer.learning_rate = network.learning_rate * (1 - step / steps)
            loss.forward(layers.forward(normalise(images)), labels)
            layers.backward(loss.backward())
            optimizer.step()
            step += 1
    seconds = time.perf_counter() - started
    return accuracy(layers, normalise(validation.images), validation.labels), seconds


def main() -> None:
    """Measure both, print the tables and write the record."""
    arguments = read_arguments(make_parser(__doc__))
    setting = {
        "precision": "float64; PyTorch's convolution in float32 as well",
        "images": IMAGES,
        "kernel_size": KERNEL_SIZE,
        "padding": PADDING,
        "repeats": REPEATS,
    }
    record = Record("numpy_layers", arguments, setting, resume=False)
    convolution = record.parts["convolution"] = {}
    print(f"{'channels':>8} {'NumPy':>9} {'float32':>9} {'float64':>9}  ms; ratios")
    for channels in (1, 32):
        entry = convolution[f"{channels} to {KERNELS}"] = time_convolution(channels)
        row = " ".join(f"{value:9.2f}" for value in entry["milliseconds"].values())
        ratios = f"{entry['ratio_to_float32']:.1f} and {entry['ratio_to_float64']:.1f}"
        print(f"{channels:8} {row}  {ratios}", flush=True)
    mnist = load_mnist()
    training = record.parts["training"] = {}
    for name, network in NETWORKS.items():
        runs = [train(network, mnist, seed) for seed in range(SEEDS)]
        training[name] = {
            "validation_accuracy": summarise([found for found, _ in runs]),
            "seconds": summarise([seconds for _, seconds in runs]),
            "parameters": sum(
                p.size for p in network.build(np.random.default_rng(0)).parameters.values()
            ),
            "optimizer": "Adam",
            "learning_rate": network.learning_rate,
            "epochs": network.epochs,
            "batch_size": network.batch_size,
        }
        for seed, (found, seconds) in enumerate(runs):
            print(f"{name}, seed {seed}: {found:.2%} in {seconds:.1f} s", flush=True)
    record.save()


if __name__ == "__main__":
    main()
