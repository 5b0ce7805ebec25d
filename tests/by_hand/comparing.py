"""What the tests of the layers by hand share: how two sides are compared, and on what.

Every layer is compared with finite differences and with autograd, both in float64, over shapes that
hypothesis draws.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from torch import nn

from mnist_lab.by_hand.gradient_checks import GradientReport, check_layer
from mnist_lab.by_hand.images import AvgPool2d, Conv2d, GlobalAvgPool, MaxPool2d
from mnist_lab.by_hand.layers import (
    BatchNorm,
    Dropout,
    Flatten,
    Floats,
    Layer,
    Linear,
    ReLU,
    Sequential,
    Sigmoid,
    Softmax,
    Tanh,
)

# Drawn, but the same in every run: a red test stays red until its reason is gone.
drawn = settings(
    max_examples=50,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
SEEDS = st.integers(0, 1_000)
SMALL = st.integers(1, 4)


def random(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def distinct(shape: tuple[int, ...], generator: np.random.Generator) -> Floats:
    """Return numbers between -1 and 1 that are all different, and none of them near 0.

    So no step of a finite difference crosses a kink or changes which pixel is the largest.
    """
    count = math.prod(shape)
    return (2 * generator.permutation(count).reshape(shape) + 1) / count - 1 + 1e-3


def relative_error(found: Floats, expected: Floats) -> float:
    """Return the largest difference, relative to the largest number."""
    assert found.shape == expected.shape
    assert found.dtype == np.float64
    return float(np.abs(found - expected).max() / max(np.abs(expected).max(), 1e-12))


def worst(reports: dict[str, GradientReport]) -> float:
    return max(report.error for report in reports.values())


def assert_right(layer: Layer, inputs: Floats, seed: int = 0) -> None:
    """Hold a layer against central differences: inputs and every parameter."""
    reports = check_layer(layer, inputs, random(seed))
    assert set(reports) == {"inputs", *layer.parameters}
    assert all(report.passed for report in reports.values()), {
        k: str(r) for k, r in reports.items()
    }
    assert worst(reports) < 1e-6


def assert_as_torch(
    layer: Layer,
    module: Callable[[torch.Tensor], torch.Tensor],
    inputs: Floats,
    seed: int = 0,
    within: float = 1e-10,
) -> None:
    """Hold outputs and all gradients of a layer against autograd, with the same parameters."""
    theirs = {}
    if isinstance(module, nn.Module):
        module.double()
        theirs = dict(module.named_parameters())
        assert set(theirs) == set(layer.parameters)
        with torch.no_grad():
            for name, parameter in theirs.items():
                parameter.copy_(torch.from_numpy(layer.parameters[name]))
    tensor = torch.tensor(inputs, requires_grad=True)
    expected = module(tensor)
    outputs = layer.forward(inputs)
    assert relative_error(outputs, expected.detach().numpy()) < within
    gradient = random(seed).normal(size=outputs.shape)
    expected.backward(torch.from_numpy(gradient))
    assert relative_error(layer.backward(gradient), tensor.grad.numpy()) < within
    assert set(layer.gradients) == set(theirs)
    for name, parameter in theirs.items():
        assert relative_error(layer.gradients[name], parameter.grad.numpy()) < within, name


@st.composite
def sliding(draw: st.DrawFn) -> tuple[tuple[int, int], int, int, int]:
    """Draw (height, width), kernel, stride and padding so that the kernel fits at least once."""
    kernel, stride = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    padding = draw(st.integers(0, 2))
    least = max(1, kernel - 2 * padding)
    height, width = (draw(st.integers(least, least + 4)) for _ in range(2))
    return (height, width), kernel, stride, padding


VECTORS, IMAGES = (3, 4), (3, 4, 5, 7)  # (n, features), (n, channels, height, width)
# How to make one of each layer, and the shape of what it takes.
LAYERS: dict[str, tuple[Callable[[], Layer], tuple[int, ...]]] = {
    "Linear": (lambda: Linear(4, 2, random()), VECTORS),
    "Flatten": (Flatten, IMAGES),
    "Sigmoid": (Sigmoid, VECTORS),
    "Tanh": (Tanh, VECTORS),
    "ReLU": (ReLU, VECTORS),
    "Softmax": (Softmax, VECTORS),
    "Dropout": (lambda: Dropout(0.5, random()), VECTORS),
    "Dropout, eval": (lambda: Dropout(0.5, random()).eval(), VECTORS),
    "Conv2d": (lambda: Conv2d(4, 2, 3, random()), IMAGES),
    "Conv2d, of single pixels": (lambda: Conv2d(4, 4, 1, random()), IMAGES),
    "Conv2d, padded": (lambda: Conv2d(4, 2, 3, random(), stride=2, padding=1), IMAGES),
    "MaxPool2d": (lambda: MaxPool2d(2), IMAGES),
    "AvgPool2d": (lambda: AvgPool2d(3, 1), IMAGES),
    "GlobalAvgPool": (GlobalAvgPool, IMAGES),
    "BatchNorm": (lambda: BatchNorm(4), VECTORS),
    "BatchNorm, eval": (lambda: BatchNorm(4).eval(), IMAGES),
    "Sequential": (lambda: Sequential(Conv2d(4, 2, 3, random()), ReLU(), Flatten()), IMAGES),
    "Sequential, empty": (Sequential, VECTORS),
}


def mlp(seed: int = 0) -> Sequential:
    generator = random(seed)
    return Sequential(
        Flatten(),
        Linear(12, 8, generator),
        ReLU(),
        Linear(8, 7, generator),
        Tanh(),
        Linear(7, 5, generator),
    )


def mlp_in_torch() -> nn.Sequential:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 7), nn.Tanh(), nn.Linear(7, 5)
    ).double()


def cnn(seed: int = 0) -> Sequential:
    generator = random(seed)
    return Sequential(
        Conv2d(1, 4, 3, generator, padding=1),
        BatchNorm(4),
        ReLU(),
        MaxPool2d(2),
        Conv2d(4, 3, 3, generator, stride=2, padding=1),
        Sigmoid(),
        AvgPool2d(2, 1),
        Flatten(),
        Linear(12, 5, generator),
    )


def cnn_in_torch() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 3, 3, stride=2, padding=1),
        nn.Sigmoid(),
        nn.AvgPool2d(2, 1),
        nn.Flatten(),
        nn.Linear(12, 5),
    ).double()


def load(module: nn.Module, network: Layer) -> None:
    """Copy the parameters, by PyTorch's own names, which are ours."""
    state = {name: torch.tensor(value) for name, value in network.parameters.items()}
    assert set(state) == {name for name, _ in module.named_parameters()}
    module.load_state_dict(state, strict=False)
