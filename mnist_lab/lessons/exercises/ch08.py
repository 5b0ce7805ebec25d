"""The exercises of chapter 8: soft labels, a soft threshold, votes, five patients."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_lab.lessons.exercises.checking import Case, Exercise, usual

Array = NDArray[Any]


# --- Cases ---------------------------------------------------------------------------------------


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
        "ch08",
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
        "ch08",
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
        "ch08",
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
        "ch08",
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
