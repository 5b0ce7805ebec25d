"""The exercises of chapter 10: L2-SP's pull, an honest choice, labels saved."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_lab.lessons.exercises.checking import Case, Exercise, usual

Array = NDArray[Any]


# --- Cases ---------------------------------------------------------------------------------------


def _pull_cases(generator: np.random.Generator) -> list[Case]:
    shapes = [(3,), (2, 4), (5, 1, 3, 3)]
    cases: list[Case] = [
        (generator.normal(size=shape), generator.normal(size=shape), strength)
        for shape, strength in zip(shapes, (0.01, 0.5, 2.0), strict=True)
    ]
    return [*cases, (np.ones(4), np.ones(4), 1.0)]  # at the start nothing pulls


def _search_cases(generator: np.random.Generator) -> list[Case]:
    # Accuracies (rates, draws): those to choose on, those to report.
    sizes = [(3, 2, 4), (6, 3, 10), (4, 5, 2)]
    return [
        (generator.uniform(0.5, 1, (rates, first)), generator.uniform(0.5, 1, (rates, second)))
        for rates, first, second in sizes
    ]


def _saved_cases(_: np.random.Generator) -> list[Case]:
    counts = np.array([1, 10, 100, 1_000])
    return [
        (counts, np.array([0.5, 0.7, 0.9, 0.96]), 0.8),
        (counts, np.array([0.6, 0.75, 0.8, 0.98]), 0.89),
        (np.array([2, 5, 30, 300]), np.array([0.4, 0.5, 0.85, 0.95]), 0.6),
        (counts, np.array([0.5, 0.7, 0.9, 0.96]), 0.7),
    ]


# --- Solutions and mistakes ----------------------------------------------------------------------


def _pull_gradient(weights: Array, start: Array, strength: float) -> Array:
    return strength * (weights - start)


def _honest_accuracy(search: Array, report: Array) -> float:
    return float(report[search.mean(axis=1).argmax()].mean())


def _labels_needed(counts: Array, accuracies: Array, target: float) -> float:
    return float(np.exp(np.interp(target, accuracies, np.log(counts))))


EXERCISES = (
    Exercise(
        "ch10",
        "pull_gradient",
        _pull_gradient,
        cases=_pull_cases,
        mistakes=(
            usual(
                "This pulls towards zero, which is ordinary weight decay. Pull towards the start.",
                lambda weights, start, strength: strength * weights,
            ),
            usual(
                "It is twice as large as it should be: the half in front of the square is there "
                "to cancel the 2.",
                lambda weights, start, strength: 2 * strength * (weights - start),
            ),
            usual(
                "The sign is wrong. A step goes against the gradient, so the gradient points away "
                "from the start.",
                lambda weights, start, strength: strength * (start - weights),
            ),
            usual(
                "The penalty is a sum over the weights, not a mean.",
                lambda weights, start, strength: strength * (weights - start) / weights.size,
            ),
            usual(
                "That is the penalty itself, a single number. Its derivative is asked for.",
                lambda weights, start, strength: strength / 2 * ((weights - start) ** 2).sum(),
            ),
        ),
    ),
    Exercise(
        "ch10",
        "honest_accuracy",
        _honest_accuracy,
        cases=_search_cases,
        mistakes=(
            usual(
                "You choose the rate on the draws that you report. Luck that helps the choice "
                "then helps the result.",
                lambda search, report: float(report.mean(axis=1).max()),
            ),
            usual(
                "You report the accuracy on the draws that the rate was chosen on. The best of "
                "several is better than it will be again.",
                lambda search, report: float(search.mean(axis=1).max()),
            ),
            usual(
                "You choose another rate for each draw. One rate is to be chosen, and kept.",
                lambda search, report: float(report.max(axis=0).mean()),
            ),
            usual(
                "You choose by the single best draw. That is luck; take the mean of each rate.",
                lambda search, report: float(report[search.max(axis=1).argmax()].mean()),
            ),
            usual(
                "You report the best draw. Report their mean.",
                lambda search, report: float(report[search.mean(axis=1).argmax()].max()),
            ),
        ),
    ),
    Exercise(
        "ch10",
        "labels_needed",
        _labels_needed,
        cases=_saved_cases,
        tolerance=1e-6,
        mistakes=(
            usual(
                "You draw the straight line over the numbers of labels. Draw it over their "
                "logarithms, as the figure does.",
                lambda counts, accuracies, target: float(np.interp(target, accuracies, counts)),
            ),
            usual(
                "That is the logarithm of the number. Undo it at the end.",
                lambda counts, accuracies, target: float(
                    np.interp(target, accuracies, np.log(counts))
                ),
                lambda counts, accuracies, target: float(
                    np.interp(target, accuracies, np.log10(counts))
                ),
            ),
            usual(
                "You take the first measured number that is enough. The line between two measured "
                "points crosses the target earlier.",
                lambda counts, accuracies, target: float(counts[(accuracies >= target).argmax()]),
            ),
            usual(
                "You take the last measured number that is not enough. Go on along the line.",
                lambda counts, accuracies, target: float(counts[(accuracies <= target).sum() - 1]),
            ),
        ),
    ),
)
