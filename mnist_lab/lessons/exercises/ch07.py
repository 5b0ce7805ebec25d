"""The exercises of chapter 7: starts, layer norm backwards, clipping, growth through blocks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_lab.lessons.exercises.checking import Case, Exercise, usual

Array = NDArray[Any]


# --- Cases ---------------------------------------------------------------------------------------


def _feature_batches(generator: np.random.Generator) -> list[Case]:
    shapes = [(4, 3), (9, 2), (16, 5)]
    return [
        (generator.normal(size=shape), generator.normal(2, 3, size=shape), epsilon)
        for shape, epsilon in zip(shapes, (1e-5, 1e-5, 0.5), strict=True)
    ]


def _gradient_pairs(generator: np.random.Generator) -> list[Case]:
    pairs = [
        (generator.normal(size=(3, 4)), generator.normal(size=3)),
        (0.01 * generator.normal(size=(2, 2)), 0.01 * generator.normal(size=2)),  # short already
        (5 * generator.normal(size=(4, 2)), 0.1 * generator.normal(size=4)),
    ]
    return [(weights, biases, limit) for weights, biases in pairs for limit in (1.0, 2.5)]


# --- Solutions and mistakes ----------------------------------------------------------------------


def _mean(values: Array) -> Array:
    """Return the mean over the features of each example, (n, 1)."""
    return values.mean(axis=1, keepdims=True)


def _normalised(inputs: Array, epsilon: float) -> tuple[Array, Array]:
    deviation = np.sqrt(inputs.var(axis=1, keepdims=True) + epsilon)
    return (inputs - _mean(inputs)) / deviation, deviation


def _layer_norm_backward(gradient: Array, inputs: Array, epsilon: float) -> Array:
    normalised, deviation = _normalised(inputs, epsilon)
    return (gradient - _mean(gradient) - normalised * _mean(gradient * normalised)) / deviation


def _over_the_batch(gradient: Array, inputs: Array, epsilon: float) -> Array:
    return _layer_norm_backward(gradient.T, inputs.T, epsilon).T


def _constant_statistics(gradient: Array, inputs: Array, epsilon: float) -> Array:
    return gradient / _normalised(inputs, epsilon)[1]


def _constant_deviation(gradient: Array, inputs: Array, epsilon: float) -> Array:
    return (gradient - _mean(gradient)) / _normalised(inputs, epsilon)[1]


def _constant_mean(gradient: Array, inputs: Array, epsilon: float) -> Array:
    normalised, deviation = _normalised(inputs, epsilon)
    return (gradient - normalised * _mean(gradient * normalised)) / deviation


def _sums(gradient: Array, inputs: Array, epsilon: float) -> Array:
    normalised, deviation = _normalised(inputs, epsilon)
    count = inputs.shape[1]
    means = _mean(gradient) + normalised * _mean(gradient * normalised)
    return (gradient - count * means) / deviation


def _undivided(gradient: Array, inputs: Array, epsilon: float) -> Array:
    return _layer_norm_backward(gradient, inputs, epsilon) * _normalised(inputs, epsilon)[1]


def _length(*arrays: Array) -> float:
    return math.sqrt(sum(float((array**2).sum()) for array in arrays))


def _clip_together(weights: Array, biases: Array, limit: float) -> tuple[Array, Array]:
    factor = min(1.0, limit / _length(weights, biases))
    return weights * factor, biases * factor


def _clip_each(weights: Array, biases: Array, limit: float) -> tuple[Array, Array]:
    return (
        weights * min(1.0, limit / _length(weights)),
        biases * min(1.0, limit / _length(biases)),
    )


def _cut_each(weights: Array, biases: Array, limit: float) -> tuple[Array, Array]:
    return np.clip(weights, -limit, limit), np.clip(biases, -limit, limit)


def _always_to_the_limit(weights: Array, biases: Array, limit: float) -> tuple[Array, Array]:
    factor = limit / _length(weights, biases)
    return weights * factor, biases * factor


def _without_root(weights: Array, biases: Array, limit: float) -> tuple[Array, Array]:
    factor = min(1.0, limit / _length(weights, biases) ** 2)
    return weights * factor, biases * factor


def _residual_growth(blocks: int, factor: float, divided: bool) -> float:
    return (1 + (factor / blocks if divided else factor)) ** blocks


EXERCISES = (
    Exercise(
        "ch07",
        "leaky_deviation",
        lambda fan_in, slope: math.sqrt(2 / ((1 + slope**2) * fan_in)),
        cases=lambda generator: [(64, 0.1), (784, 0.01), (100, 0.0), (9, 1.0), (50, 0.5)],
        mistakes=(
            usual(
                "That is He's deviation, for a slope of 0. What is negative is made smaller here, "
                "but not lost.",
                lambda fan_in, slope: math.sqrt(2 / fan_in),
            ),
            usual(
                "You give the variance. Weights are drawn with its root.",
                lambda fan_in, slope: 2 / ((1 + slope**2) * fan_in),
            ),
            usual(
                "The slope multiplies the numbers, so it stands squared in their mean square.",
                lambda fan_in, slope: math.sqrt(2 / ((1 + slope) * fan_in)),
            ),
            usual(
                "Only half of the numbers are positive: the mean square keeps a half, not all, of "
                "what the positive ones had.",
                lambda fan_in, slope: math.sqrt(1 / ((1 + slope**2) * fan_in)),
            ),
            usual(
                "Your deviation grows with the slope. The more gets through, the smaller the "
                "weights must be.",
                lambda fan_in, slope: math.sqrt(2 * (1 + slope**2) / fan_in),
            ),
        ),
    ),
    Exercise(
        "ch07",
        "layer_norm_backward",
        _layer_norm_backward,
        cases=_feature_batches,
        mistakes=(
            usual(
                "That is batch norm's gradient, with means over the batch. Layer norm takes them "
                "over the features of each example.",
                _over_the_batch,
            ),
            usual(
                "You treat mean and deviation as constants. Each input acts on both, and so on "
                "every output of its example.",
                _constant_statistics,
            ),
            usual(
                "The way through the mean is there; the way through the deviation is missing.",
                _constant_deviation,
            ),
            usual(
                "The way through the deviation is there; the way through the mean is missing.",
                _constant_mean,
            ),
            usual(
                "You take sums over the features where means are due: mean and deviation each "
                "divide by their number.",
                _sums,
            ),
            usual(
                "The division by the deviation is missing: it scales the gradient as it scaled the "
                "inputs.",
                _undivided,
            ),
        ),
    ),
    Exercise(
        "ch07",
        "clip_together",
        _clip_together,
        cases=_gradient_pairs,
        returns=("weights", "biases"),
        mistakes=(
            usual(
                "You give each array a norm of its own. That turns the gradient: its parts no "
                "longer stand in their old proportion.",
                _clip_each,
            ),
            usual(
                "You cut each number on its own. That turns the gradient; only its length is to "
                "change.",
                _cut_each,
            ),
            usual(
                "You bring every gradient to the limit, short ones too. What is short enough stays "
                "as it is.",
                _always_to_the_limit,
            ),
            usual(
                "You compare the square of the norm with the limit. Take the root first.",
                _without_root,
            ),
        ),
    ),
    Exercise(
        "ch07",
        "residual_growth",
        _residual_growth,
        cases=lambda generator: [
            *((19, 1.0, False), (19, 1.0, True), (1, 1.0, False), (1, 0.5, True)),
            *((50, 0.25, True), (8, 0.5, False)),
        ],
        mistakes=(
            usual(
                "That is the plain network: what enters a block is not lost here, its mean square "
                "is added to that of the block's output.",
                lambda blocks, factor, divided: (factor / blocks if divided else factor) ** blocks,
                lambda blocks, factor, divided: factor**blocks,
            ),
            usual(
                "The root divides the output. A mean square is divided by its square, by the "
                "number of blocks itself.",
                lambda blocks, factor, divided: (
                    (1 + (factor / math.sqrt(blocks) if divided else factor)) ** blocks
                ),
            ),
            usual(
                "You add the blocks up. Each works on what the one before has made larger, so the "
                "factors multiply.",
                lambda blocks, factor, divided: 1 + (factor if divided else blocks * factor),
            ),
            usual(
                "Nothing is divided here, whatever `divided` says.",
                lambda blocks, factor, divided: (1 + factor) ** blocks,
            ),
            usual(
                "That is the limit for many blocks, and an upper bound. With few it is not the "
                "same.",
                lambda blocks, factor, divided: (
                    math.exp(factor) if divided else (1 + factor) ** blocks
                ),
            ),
        ),
    ),
)
