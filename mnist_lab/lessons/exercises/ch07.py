"""The exercises of chapter 7: starts, layer norm backwards, clipping, soft labels, L1, votes."""

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


def _label_batches(generator: np.random.Generator) -> list[Case]:
    return [
        (generator.integers(0, classes, size=count), classes, smoothing)
        for count, classes, smoothing in [(5, 10, 0.1), (3, 4, 0.2), (7, 2, 0.0), (2, 26, 0.05)]
    ]


def _wishes(generator: np.random.Generator) -> list[Case]:
    fixed = np.array([-2.0, -0.5, -0.2, 0.0, 0.3, 0.5, 4.0])
    return [(fixed, 0.5), (generator.normal(size=8), 0.3), (fixed, 0.0), (fixed, 10.0)]


def _ballots(generator: np.random.Generator) -> list[Case]:
    # One member is sure, two are hardly for another class: all three ways to vote differ.
    sure = np.array([[[6.0, 0.0, 0.0]], [[0.0, 0.4, 0.0]], [[0.0, 0.4, 0.0]]])
    # One member's logits are huge and only a little apart from those of two that agree.
    loud = np.array([[[30.0, 0.0, 0.0]], [[0.0, 3.0, 0.0]], [[0.0, 3.0, 0.0]]])
    large = 1000 * np.array([[[2.0, 1.0]], [[1.0, 3.0]], [[1.0, 3.0]]])
    return [(sure,), (loud,), (large,), (generator.normal(0, 3, size=(5, 40, 10)),)]


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


def _soft_labels(labels: Array, classes: int, smoothing: float) -> Array:
    return (1 - smoothing) * np.eye(classes)[labels] + smoothing / classes


def _only_the_others(labels: Array, classes: int, smoothing: float) -> Array:
    right = np.eye(classes)[labels]
    return (1 - smoothing) * right + smoothing / (classes - 1) * (1 - right)


def _lost_share(labels: Array, classes: int, smoothing: float) -> Array:
    right = np.eye(classes)[labels]
    return (1 - smoothing) * right + smoothing / classes * (1 - right)


def _soft_threshold(a: Array, price: float) -> Array:
    return np.sign(a) * np.maximum(np.abs(a) - price, 0)


def _probabilities(logits: Array) -> Array:
    powers = np.exp(logits - logits.max(axis=2, keepdims=True))
    return powers / powers.sum(axis=2, keepdims=True)


def _read_together(logits: Array) -> Array:
    return _probabilities(logits).mean(axis=0).argmax(axis=1)


def _majority(logits: Array) -> Array:
    votes = np.eye(logits.shape[2])[logits.argmax(axis=2)]
    return votes.sum(axis=0).argmax(axis=1)


def _overflowing(logits: Array) -> Array:
    powers = np.exp(logits)
    return (powers / powers.sum(axis=2, keepdims=True)).mean(axis=0).argmax(axis=1)


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
        "soft_labels",
        _soft_labels,
        cases=_label_batches,
        mistakes=(
            usual(
                "You spread the share over the other classes only. In the formula the right class "
                "has its part of it too.",
                _only_the_others,
            ),
            usual(
                "Your rows do not sum to 1: the right class has lost its part of what is spread.",
                _lost_share,
            ),
            usual(
                "Your rows sum to more than 1: what is spread has to be taken from the right class "
                "first.",
                lambda labels, classes, smoothing: np.eye(classes)[labels] + smoothing / classes,
            ),
            usual(
                "Each class gets the whole share. It is divided among the classes.",
                lambda labels, classes, smoothing: (
                    (1 - smoothing) * np.eye(classes)[labels] + smoothing
                ),
            ),
            usual(
                "These are the hard labels. A share of the probability has to be spread.",
                lambda labels, classes, smoothing: np.eye(classes)[labels],
            ),
        ),
    ),
    Exercise(
        "ch07",
        "soft_threshold",
        _soft_threshold,
        cases=_wishes,
        mistakes=(
            usual(
                "That is what L2 does: everything becomes smaller, nothing becomes 0.",
                lambda a, price: a / (1 + price),
            ),
            usual(
                "Small wishes come out on the other side of 0. The pull ends at 0.",
                lambda a, price: a - price * np.sign(a),
            ),
            usual(
                "You cut small wishes off, but leave the large ones as they were. They pay the "
                "price too.",
                lambda a, price: np.where(np.abs(a) > price, a, 0.0),
            ),
            usual(
                "You pull everything downwards. A negative weight is pulled up, towards 0.",
                lambda a, price: np.maximum(a - price, 0),
                lambda a, price: a - price,
            ),
            usual(
                "The signs are lost: a negative wish ends up at a negative weight, or at 0.",
                lambda a, price: np.maximum(np.abs(a) - price, 0),
            ),
        ),
    ),
    Exercise(
        "ch07",
        "read_together",
        _read_together,
        cases=_ballots,
        mistakes=(
            usual(
                "You average the logits. One loud member then outvotes all: softmax first.",
                lambda logits: logits.mean(axis=0).argmax(axis=1),
                lambda logits: logits.sum(axis=0).argmax(axis=1),
            ),
            usual(
                "You count votes. How sure a member is should count as well.",
                _majority,
            ),
            usual(
                "Your exponentials overflow on large logits. Subtract the largest logit first.",
                _overflowing,
            ),
            usual(
                "You return the probabilities. Asked for is the class that has the largest.",
                lambda logits: _probabilities(logits).mean(axis=0),
            ),
            usual(
                "You listen to one member only.",
                lambda logits: logits[0].argmax(axis=1),
            ),
        ),
    ),
    Exercise(
        "ch07",
        "five_patients",
        frozenset({"A4", "B2", "C5", "D1", "E3"}),
        hint="Go through the charts from left to right, and ask which faults each could show.",
        mistakes=(
            usual(
                "You have too small and too large weights the wrong way round: large weights make "
                "a network sure of something before it has seen anything.",
                frozenset({"A4", "B1", "C5", "D2", "E3"}),
            ),
            usual(
                "Weak gradients and dead units are confused. Dead units show in the fourth chart, "
                "a factor lost at every layer in the third.",
                frozenset({"A4", "B2", "C5", "D3", "E1"}),
            ),
            usual(
                "A network that has shuffled labels can still learn one batch by heart; one with a "
                "softmax before its loss cannot get below 1.46.",
                frozenset({"A5", "B2", "C4", "D1", "E3"}),
            ),
        ),
    ),
)
