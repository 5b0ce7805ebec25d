"""The exercises of chapter 2: softmax, cross-entropy, a linear classifier, distances."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_lab.by_hand.layers import Floats, Linear, Softmax
from mnist_lab.by_hand.losses import SoftmaxCrossEntropy
from mnist_lab.lessons.exercises.checking import Case, Exercise, usual

Array = NDArray[Any]


# --- Cases ---------------------------------------------------------------------------------------


def _logits(generator: np.random.Generator) -> list[Floats]:
    """Return logits: ordinary ones, a square of them, huge ones, and a row far below the other."""
    return [
        generator.normal(size=(4, 3)),
        generator.normal(size=(2, 10)),
        generator.normal(size=(3, 3)),
        np.array([[1e4, 0.0, -1e4, 9_999.0], [3e3, -2e3, 5e3, 5e3], [-1e4, -9e3, -9_001.0, 0.0]]),
        np.array([[0.0, 1.0, 2.0], [-2_000.0, -2_001.0, -1_999.5]]),
        np.zeros((5, 2)),
    ]


def _logits_and_labels(generator: np.random.Generator) -> list[Case]:
    cases: list[Case] = [
        (logits, generator.integers(logits.shape[1], size=len(logits)))
        for logits in _logits(generator)[:3]
    ]
    cases += [
        (np.array([[1e4, 0.0, -1e4, 9_999.0], [3e3, -2e3, 5e3, 1e3]]), np.array([2, 3])),
        (np.array([[0.5, 2.0, -1.0], [1.0, 1.0, 1.0], [3.0, 0.0, 1.0]]), np.array([0, 1, 0])),
        (generator.normal(size=(1, 4)), np.array([3])),
    ]
    return cases


def _inputs_and_gradients(generator: np.random.Generator) -> list[Case]:
    sizes = [(5, 3, 2), (3, 3, 3), (4, 2, 6), (1, 4, 3)]  # n, in, out
    return [
        (generator.normal(size=(n, inputs)), generator.normal(size=(n, outputs)))
        for n, inputs, outputs in sizes
    ]


def _point_sets(generator: np.random.Generator) -> list[Case]:
    far = 100 + generator.normal(size=(60, 6))
    pixels = generator.integers(256, size=(5, 16), dtype=np.uint8)
    return [
        (generator.normal(size=(4, 3)), generator.normal(size=(5, 3))),
        (generator.normal(size=(3, 2)), generator.normal(size=(3, 2))),
        (pixels[:3], pixels[3:]),
        # Far from the origin and nearly the same: rounding is larger than the distance.
        (far, far + 1e-7 * generator.normal(size=far.shape)),
    ]


# --- Solutions and mistakes ----------------------------------------------------------------------


def _softmax(logits: Array) -> Floats:
    return Softmax().forward(logits)


def _powers(logits: Array, axis: int | None = 1) -> Floats:
    return np.exp(logits - logits.max(axis=axis, keepdims=True))


def _rows(values: Array) -> Floats:
    return values / values.sum(axis=1, keepdims=True)


def _log_probabilities(logits: Array, labels: Array) -> Floats:
    """Return the logarithm of the right class's probability for each example."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    shifted = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return shifted[np.arange(len(labels)), labels]


def _all_log_probabilities(logits: Array) -> Floats:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def _all_columns(logits: Array, labels: Array) -> Floats:
    return _all_log_probabilities(logits)[:, labels]


def _own_entropy(logits: Array, labels: Array) -> float:
    logarithms = _all_log_probabilities(logits)
    return -float((np.exp(logarithms) * logarithms).sum(axis=1).mean())


def _cross_entropy(logits: Array, labels: Array) -> float:
    return SoftmaxCrossEntropy().forward(logits, labels)


def _of_the_right_class(values: Array, labels: Array) -> Floats:
    return values[np.arange(len(labels)), labels]


def _cross_entropy_gradient(logits: Array, labels: Array) -> Floats:
    loss = SoftmaxCrossEntropy()
    loss.forward(logits, labels)
    return loss.backward()


def _only_right_class(logits: Array, labels: Array) -> Floats:
    one_hot = np.eye(logits.shape[1])[labels]
    return (_softmax(logits) - 1) * one_hot / len(labels)


def _linear_gradients(inputs: Array, gradient: Array) -> tuple[Floats, Floats]:
    layer = Linear(inputs.shape[1], gradient.shape[1], np.random.default_rng(0))
    layer.forward(inputs)
    layer.backward(gradient)
    return layer.gradients["weight"], layer.gradients["bias"]


def _differences(a: Array, b: Array) -> Floats:
    return a.astype(float)[:, None] - b.astype(float)[None]


def _squared_distances(a: Array, b: Array) -> Floats:
    return (_differences(a, b) ** 2).sum(axis=2)


def _expanded(a: Array, b: Array, factor: float = 2.0) -> Floats:
    a, b = a.astype(float), b.astype(float)
    return (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None] - factor * a @ b.T


def _expanded_as_given(a: Array, b: Array) -> Array:
    return (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None] - 2 * a @ b.T


_NEGATIVE = (
    "Some of your squared distances are negative: rounding of the three large terms leaves less "
    "than nothing between points that nearly coincide. Set what falls below zero to zero."
)


def _not_negative(distances: Array, a: Array, b: Array) -> str:
    return _NEGATIVE if (np.asarray(distances) < 0).any() else ""


EXERCISES = (
    Exercise(
        "ch02",
        "softmax",
        _softmax,
        cases=lambda generator: [(logits,) for logits in _logits(generator)],
        mistakes=(
            usual(
                "You exponentiate the logits as they are: at 10,000 the exponential overflows and "
                "infinity over infinity gives nan. Subtract each row's maximum first, which "
                "changes no probability.",
                lambda logits: _rows(np.exp(logits)),
            ),
            usual(
                "You subtract the maximum of the whole batch: a row far below it underflows to "
                "zeros, and 0 over 0 gives nan. Every row needs its own maximum.",
                lambda logits: _rows(_powers(logits, None)),
            ),
            usual(
                "Your columns sum to 1, but each row is one example: the sum must run over the "
                "classes.",
                lambda logits: _powers(logits) / _powers(logits).sum(axis=0),
                lambda logits: _powers(logits, 0) / _powers(logits, 0).sum(axis=0),
                lambda logits: np.exp(logits) / np.exp(logits).sum(axis=0),
            ),
            usual(
                "You divide by one sum over the whole batch, so the examples share one probability "
                "of 1. Each row has its own sum.",
                lambda logits: _powers(logits) / _powers(logits).sum(),
                lambda logits: _powers(logits, None) / _powers(logits, None).sum(),
                lambda logits: np.exp(logits) / np.exp(logits).sum(),
            ),
            usual(
                "You take a sigmoid of each logit. It answers yes or no for one class alone, and a "
                "row does not sum to 1: compare the classes with each other.",
                lambda logits: np.exp(-np.logaddexp(0, -logits)),
            ),
            usual(
                "You stop at the exponentials: they are positive, but a row does not sum to 1 yet.",
                _powers,
                np.exp,
            ),
        ),
    ),
    Exercise(
        "ch02",
        "cross_entropy",
        _cross_entropy,
        cases=_logits_and_labels,
        mistakes=(
            usual(
                "You add the losses of the batch up. The mean does not depend on the batch size, "
                "the sum does.",
                lambda logits, labels: -_log_probabilities(logits, labels).sum(),
            ),
            usual(
                "With logits of 10,000 an exponential overflows, or a probability underflows to 0 "
                "whose logarithm is minus infinity. Subtract the maximum and never form the "
                "probability: its logarithm is a difference.",
                lambda logits, labels: (
                    -np.log(_of_the_right_class(_softmax(logits), labels)).mean()
                ),
                lambda logits, labels: (
                    -np.log(_of_the_right_class(_rows(np.exp(logits)), labels)).mean()
                ),
                lambda logits, labels: (
                    np.log(np.exp(logits).sum(axis=1)) - _of_the_right_class(logits, labels)
                ).mean(),
            ),
            usual(
                "You take a logarithm to base 10. Nats come from the natural logarithm, the one "
                "that undoes the exponential.",
                lambda logits, labels: -_log_probabilities(logits, labels).mean() / np.log(10),
            ),
            usual(
                "You take a logarithm to base 2, which counts bits. Nats come from the natural "
                "logarithm.",
                lambda logits, labels: -_log_probabilities(logits, labels).mean() / np.log(2),
            ),
            usual(
                "You multiply by the class's index: class 0 then "
                "costs nothing, however wrong you are. The index only says which entry to take.",
                lambda logits, labels: -(labels * _log_probabilities(logits, labels)).mean(),
                lambda logits, labels: -(labels * _log_probabilities(logits, labels)).sum(),
            ),
            usual(
                "Your loss is negative. A logarithm of a probability is below zero, so the minus "
                "sign belongs in front.",
                lambda logits, labels: _log_probabilities(logits, labels).mean(),
                lambda logits, labels: _log_probabilities(logits, labels).sum(),
            ),
            usual(
                "You take the mean over all entries, and most of them are zeros of the one-hot "
                "label. Add over the classes, and average over the examples alone.",
                lambda logits, labels: (
                    -_log_probabilities(logits, labels).mean() / np.shape(logits)[1]
                ),
            ),
            usual(
                "You keep the logarithm from its own argument with a small number, and that limits "
                "the loss: no mistake costs more than about 28. Subtract on paper, and no "
                "logarithm of 0 is left.",
                lambda logits, labels: (
                    -np.log(_of_the_right_class(_softmax(logits), labels) + 1e-12).mean()
                ),
                lambda logits, labels: (
                    -np.log(np.maximum(_of_the_right_class(_softmax(logits), labels), 1e-12)).mean()
                ),
            ),
            usual(
                "You take the columns of all labels for every example. Each has one entry: "
                "its own row, and in it the column of its own label.",
                lambda logits, labels: -_all_columns(logits, labels).mean(),
            ),
            usual(
                "You weigh each logarithm with the model's own probability. That is the model's "
                "entropy, and the labels do not come in.",
                _own_entropy,
            ),
            usual(
                "You return one loss for each example. Take their mean.",
                lambda logits, labels: -_log_probabilities(logits, labels),
            ),
        ),
    ),
    Exercise(
        "ch02",
        "cross_entropy_gradient",
        _cross_entropy_gradient,
        cases=_logits_and_labels,
        mistakes=(
            usual(
                "Your gradient is not divided by the batch size. The loss is a mean over the "
                "examples, so each of them has a share of 1/n.",
                lambda logits, labels: _cross_entropy_gradient(logits, labels) * len(labels),
            ),
            usual(
                "The sign is turned round: a step against your gradient would make the right class "
                "less probable. It is probability minus one-hot.",
                lambda logits, labels: -_cross_entropy_gradient(logits, labels),
                lambda logits, labels: -_cross_entropy_gradient(logits, labels) * len(labels),
            ),
            usual(
                "Only the right class gets a gradient in yours. The other logits stand in the "
                "denominator of softmax, so they have one as well.",
                _only_right_class,
                lambda logits, labels: _only_right_class(logits, labels) * len(labels),
            ),
            usual(
                "You divide by the number of classes. The loss is a mean over examples alone; the "
                "classes are not averaged.",
                lambda logits, labels: (
                    _cross_entropy_gradient(logits, labels) / np.shape(logits)[1]
                ),
                lambda logits, labels: (
                    _cross_entropy_gradient(logits, labels) * len(labels) / np.shape(logits)[1]
                ),
            ),
            usual(
                "You return the probabilities without subtracting 1 at the right class, so nothing "
                "says which class is right.",
                lambda logits, labels: _softmax(logits) / len(labels),
                lambda logits, labels: _softmax(logits),
            ),
        ),
    ),
    Exercise(
        "ch02",
        "linear_gradients",
        _linear_gradients,
        cases=_inputs_and_gradients,
        returns=("weight_gradient", "bias_gradient"),
        mistakes=(
            usual(
                "Your weight gradient is transposed: it must have the weight's own shape, (out, "
                "in), or the two cannot be subtracted.",
                lambda inputs, gradient: (inputs.T @ gradient, gradient.sum(axis=0)),
            ),
            usual(
                "You average the bias gradient over the batch. The mean is already in the gradient "
                "that comes in; the bias reaches every example, so their parts add up.",
                lambda inputs, gradient: (gradient.T @ inputs, gradient.mean(axis=0)),
            ),
            usual(
                "Your bias gradient still has a row for each example. One bias serves them all, so "
                "add over the batch.",
                lambda inputs, gradient: (gradient.T @ inputs, gradient),
            ),
            usual(
                "You divide by the batch size once more. The gradient that comes in already "
                "contains the 1/n of the mean.",
                lambda inputs, gradient: (
                    gradient.T @ inputs / len(inputs),
                    gradient.mean(axis=0),
                ),
                lambda inputs, gradient: (
                    gradient.T @ inputs / len(inputs),
                    gradient.sum(axis=0),
                ),
            ),
            usual(
                "You sum your bias gradient over the outputs. Each output has its own bias; the "
                "sum runs over the examples.",
                lambda inputs, gradient: (gradient.T @ inputs, gradient.sum(axis=1)),
            ),
        ),
    ),
    Exercise(
        "ch02",
        "squared_distances",
        _squared_distances,
        cases=_point_sets,
        demand=_not_negative,
        mistakes=(
            usual(
                "You take the root. Squared distances are asked for: they order the neighbours "
                "just as well, and save the root.",
                lambda a, b: np.sqrt(_squared_distances(a, b)),
                lambda a, b: np.sqrt(np.maximum(_expanded(a, b), 0)),
            ),
            usual(
                "You subtract the products once. In the square of a difference the mixed term "
                "comes twice.",
                lambda a, b: _expanded(a, b, 1),
                lambda a, b: np.maximum(_expanded(a, b, 1), 0),
            ),
            usual(
                "You add the mixed term. In the square of a difference it is subtracted.",
                lambda a, b: _expanded(a, b, -2),
            ),
            usual(
                "Your result is transposed: row i belongs to point i of the first array, column j "
                "to point j of the second.",
                lambda a, b: _squared_distances(a, b).T,
                lambda a, b: np.maximum(_expanded(a, b), 0).T,
            ),
            usual(
                "With uint8 your result wraps round at 256: 3 - 5 becomes 254 there. Turn the "
                "pixels into floats before you calculate.",
                lambda a, b: ((a[:, None] - b[None]) ** 2).sum(axis=2),
                _expanded_as_given,
                lambda a, b: np.maximum(_expanded_as_given(a, b), 0),
            ),
            usual(
                "You add absolute differences, which is the Manhattan distance. Square the "
                "differences before you add them.",
                lambda a, b: np.abs(_differences(a, b)).sum(axis=2),
            ),
            usual(_NEGATIVE, _expanded),
        ),
    ),
    Exercise(
        "ch02",
        "parameter_count",
        lambda features, classes: features * classes + classes,
        cases=lambda generator: [(784, 10), (64, 10), (3, 5), (7, 2)],
        mistakes=(
            usual(
                "You count the weights and forget the biases: every class has one.",
                lambda features, classes: features * classes,
            ),
            usual(
                "You count one bias in all. Every class has its own.",
                lambda features, classes: features * classes + 1,
            ),
            usual(
                "You count a bias for each feature. It is added to each score, so there is one for "
                "each class.",
                lambda features, classes: features * classes + features,
            ),
            usual(
                "You add features and classes. Every class has a weight for every feature.",
                lambda features, classes: features + classes,
            ),
        ),
    ),
    Exercise(
        "ch02",
        "decayed_gradient",
        lambda gradient, weight, decay: gradient + decay * weight,
        cases=lambda generator: [
            (generator.normal(size=shape), generator.normal(size=shape), decay)
            for shape, decay in (((3, 4), 0.1), ((2, 5), 0.5), ((4, 4), 2.0), ((1, 3), 0.0))
        ],
        mistakes=(
            usual(
                "You add twice as much. The square gives a factor of 2, and it cancels the one "
                "half before the sum.",
                lambda gradient, weight, decay: gradient + 2 * decay * weight,
            ),
            usual(
                "You keep the one half. The derivative of a square has a factor of 2, which "
                "cancels it.",
                lambda gradient, weight, decay: gradient + decay / 2 * weight,
            ),
            usual(
                "You add the penalty itself, which is one number for all weights. Its derivative "
                "is wanted, and each weight has its own.",
                lambda gradient, weight, decay: gradient + decay / 2 * (weight**2).sum(),
                lambda gradient, weight, decay: gradient + decay * (weight**2).sum(),
            ),
            usual(
                "You add the squares. Differentiate them: each weight stands there once.",
                lambda gradient, weight, decay: gradient + decay * weight**2,
                lambda gradient, weight, decay: gradient + decay / 2 * weight**2,
            ),
            usual(
                "You subtract it. The loss rises with the size of a weight, so the gradient "
                "points away from zero; the step goes against it.",
                lambda gradient, weight, decay: gradient - decay * weight,
            ),
            usual(
                "You take the sign of the weight: that is the derivative of its absolute value, "
                "an L1 penalty. This one is of squares.",
                lambda gradient, weight, decay: gradient + decay * np.sign(weight),
            ),
            usual(
                "You divide by the number of weights. The penalty is a sum over them, and no mean.",
                lambda gradient, weight, decay: gradient + decay * weight / weight.size,
            ),
        ),
    ),
    Exercise(
        "ch02",
        "soften",
        lambda logits, temperature: _softmax(logits / temperature),
        cases=lambda generator: [
            (logits, temperature)
            for logits, temperature in zip(
                _logits(generator), (2.0, 0.5, 1.0, 10.0, 3.0, 4.0), strict=True
            )
        ],
        mistakes=(
            usual(
                "You multiply the logits by the temperature, so a high one sharpens. Heat should "
                "level the probabilities out.",
                lambda logits, temperature: _softmax(logits * temperature),
            ),
            usual(
                "You divide the probabilities by the temperature, and they no longer sum to 1. It "
                "belongs on the logits, before softmax.",
                lambda logits, temperature: _softmax(logits) / temperature,
            ),
            usual(
                "The temperature changes nothing in your result. What divides a row of "
                "probabilities or shifts a row of logits is undone; this divides the logits.",
                lambda logits, temperature: _softmax(logits),
                lambda logits, temperature: _softmax(logits - temperature),
            ),
            usual(
                "With large logits your exponentials overflow to infinity, and nan comes out. "
                "Subtract each row's maximum after dividing by the temperature.",
                lambda logits, temperature: _rows(np.exp(logits / temperature)),
            ),
        ),
    ),
)
