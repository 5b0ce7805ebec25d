"""The exercises of chapter 17: percentiles of two services, rules of promotion, luck by nights."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_lab.lessons.exercises.checking import Case, Exercise, usual

Array = NDArray[Any]


# --- Cases ---------------------------------------------------------------------------------------


def _waiting_cases(generator: np.random.Generator) -> list[Case]:
    # Milliseconds of one service and of another, share.
    return [
        (generator.exponential(mean, n), generator.exponential(other, m), share)
        for mean, n, other, m, share in (
            (10, 57, 200, 13, 0.9),
            (10, 90, 12, 33, 0.5),
            (30, 41, 5, 200, 0.99),
            (8, 20, 8, 20, 0.8),
        )
    ]


def _night_cases(_: np.random.Generator) -> list[Case]:
    # Level, nights.
    return [(0.05, 30), (0.5, 7), (0.01, 365), (0.2, 1)]


# --- Solutions and mistakes ----------------------------------------------------------------------


def _percentile(times: Array, share: float, further: int = 0) -> float:
    place = math.ceil(share * len(times)) - 1 + further
    return float(np.sort(times)[max(0, min(place, len(times) - 1))])


def _of_all(one: Array, other: Array, share: float, further: int = 0) -> float:
    return _percentile(np.concatenate([one, other]), share, further)


def _of_each(one: Array, other: Array, share: float) -> tuple[float, float]:
    return _percentile(one, share), _percentile(other, share)


EXERCISES = (
    Exercise(
        "ch17",
        "pooled_percentile",
        lambda one, other, share: _of_all(one, other, share),
        cases=_waiting_cases,
        mistakes=(
            usual(
                "The mean of two percentiles is no percentile: it does not know how many each "
                "service answered, nor how their times mix. Put the times together first.",
                lambda one, other, share: float(np.mean(_of_each(one, other, share))),
            ),
            usual(
                "Weighing the two percentiles by their requests does not help: they are no sums. "
                "Put the times together first.",
                lambda one, other, share: float(
                    np.average(_of_each(one, other, share), weights=[len(one), len(other)])
                ),
            ),
            usual(
                "The worse of the two is a bound from above. The percentile of all lies below it, "
                "or at it.",
                lambda one, other, share: max(_of_each(one, other, share)),
            ),
            usual(
                "You take a value between two times. Nobody waited that: take the shortest time "
                "that occurred and is long enough.",
                lambda one, other, share: float(
                    np.percentile(np.concatenate([one, other]), 100 * share)
                ),
            ),
            usual(
                "One place too far: places count from 0.",
                lambda one, other, share: _of_all(one, other, share, 1),
            ),
            usual(
                "One place too few: at least that share must have been answered by then.",
                lambda one, other, share: _of_all(one, other, share, -1),
            ),
        ),
    ),
    Exercise(
        "ch17",
        "sound_promotions",
        frozenset({"B", "E"}),
        hint="Ask of each on which digits it compares, who chose them, and how often it looks.",
        mistakes=(
            usual(
                "Asked for are those that you would sign, and not those with a fault.",
                frozenset({"A", "C", "D", "F"}),
            ),
            usual(
                "A looks at the same 500 digits every night, and to score higher is no more than "
                "chance half of the time.",
                frozenset({"A", "B", "E"}),
            ),
            usual(
                "C's digits are those on which the champion doubted. On them anybody else looks "
                "good.",
                frozenset({"B", "C", "E"}),
            ),
            usual(
                "D stops when it likes the result. Who looks often enough sees 5 % some day.",
                frozenset({"B", "D", "E"}),
            ),
            usual(
                "F's challenger has learnt what it is judged on.",
                frozenset({"B", "E", "F"}),
            ),
            usual(
                "B labels few digits and leaves out none that could decide: where both say the "
                "same, neither wins.",
                frozenset({"E"}),
            ),
            usual(
                "E compares on digits that nobody has learnt from, once, and its margin stood "
                "before.",
                frozenset({"B"}),
            ),
        ),
    ),
    Exercise(
        "ch17",
        "chance_of_luck",
        lambda level, nights: 1 - (1 - level) ** nights,
        cases=_night_cases,
        mistakes=(
            usual(
                "That is how many are promoted on average. It bounds the chance of at least one "
                "from above, and may pass 1.",
                lambda level, nights: level * nights,
                lambda level, nights: min(1.0, level * nights),
            ),
            usual(
                "That is the chance that every night is lucky. One is enough.",
                lambda level, nights: level**nights,
            ),
            usual(
                "That is the chance that no night is lucky. Asked for is the rest.",
                lambda level, nights: (1 - level) ** nights,
            ),
            usual(
                "That is for one night fewer, or one more: count them all, and no other.",
                lambda level, nights: 1 - (1 - level) ** (nights - 1),
                lambda level, nights: 1 - (1 - level) ** (nights + 1),
            ),
        ),
    ),
)
