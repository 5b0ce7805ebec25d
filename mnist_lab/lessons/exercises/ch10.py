"""The exercises of chapter 10: new heads, rates by stage, L2-SP, an honest choice, labels saved."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_lab.lessons.exercises.checking import Case, Exercise, usual

Array = NDArray[Any]


# --- Cases ---------------------------------------------------------------------------------------


def _rate_cases(_: np.random.Generator) -> list[Case]:
    return [(0.01, 0.4, 4), (1.0, 0.5, 3), (0.003, 1.0, 5), (0.1, 0.9, 1)]  # rate, decay, stages


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


def _stage_rates(rate: float, decay: float, stages: int) -> Array:
    return rate * decay ** np.arange(stages)[::-1]


def _pull_gradient(weights: Array, start: Array, strength: float) -> Array:
    return strength * (weights - start)


def _honest_accuracy(search: Array, report: Array) -> float:
    return float(report[search.mean(axis=1).argmax()].mean())


def _labels_needed(counts: Array, accuracies: Array, target: float) -> float:
    return float(np.exp(np.interp(target, accuracies, np.log(counts))))


EXERCISES = (
    Exercise(
        "ch10",
        "head_parameters",
        64 * 3 * 3 * 5 + 5,
        hint="A linear layer has a weight for each pair of input and output, and a bias for each "
        "output.",
        mistakes=(
            usual("The biases are missing: one for each class.", 64 * 3 * 3 * 5),
            usual("That is a head for ten classes. There are five.", 64 * 3 * 3 * 10 + 10, 5_760),
            usual(
                "The maps have 3 by 3 places, and all of them are inputs of the head.",
                64 * 5 + 5,
                64 * 5,
            ),
        ),
    ),
    Exercise(
        "ch10",
        "stage_rates",
        _stage_rates,
        cases=_rate_cases,
        mistakes=(
            usual(
                "The rates are the wrong way round: the head, which comes last, learns fastest.",
                lambda rate, decay, stages: _stage_rates(rate, decay, stages)[::-1],
            ),
            usual(
                "The head learns at the full rate. The stage before it is the first to be slowed.",
                lambda rate, decay, stages: decay * _stage_rates(rate, decay, stages),
            ),
            usual(
                "The factor is applied again from stage to stage: its powers are due, not its "
                "multiples.",
                lambda rate, decay, stages: np.concatenate(
                    [rate * decay / np.arange(stages - 1, 0, -1), [rate]]
                ),
                lambda rate, decay, stages: np.concatenate(
                    [np.full(stages - 1, rate * decay), [rate]]
                ),
            ),
            usual(
                "All stages get the same rate. Each is to learn more slowly than the next.",
                lambda rate, decay, stages: np.full(stages, rate),
            ),
        ),
    ),
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
