"""The exercises of chapter 17: zero points, scales, savings; percentiles, promotions, luck."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_lab.lessons.exercises.checking import Case, Exercise, usual

Array = NDArray[Any]


# --- Cases ---------------------------------------------------------------------------------------


def _range_cases(generator: np.random.Generator) -> list[Case]:
    # Values, low, high, bits.
    cases: list[Case] = [
        (generator.normal(size=200), -1.3, 2.9, 8),
        (generator.uniform(0, 6, 50), 0.0, 6.0, 4),
        (generator.normal(3, 1, 40), 1.7, 4.5, 8),  # 0 is outside
        (generator.normal(-2, 1, 40), -3.1, -0.7, 3),
    ]
    edge = np.array([-1.0, 0.0, 0.26, 0.9, 2.0, 5.0, -9.0])
    return [*cases, (edge, -1.0, 2.0, 3)]


def _weight_cases(generator: np.random.Generator) -> list[Case]:
    # Weights (outputs, inputs), bits, whether each row has a scale.
    rows = generator.normal(size=(6, 40)) * np.array([0.01, 0.1, 0.3, 1, 3, 10])[:, None]
    cases: list[Case] = [(rows, bits, by_row) for bits in (2, 4, 8) for by_row in (True, False)]
    lopsided = -np.abs(generator.normal(size=(4, 30)))
    return [*cases, (lopsided, 3, True), (lopsided, 3, False)]


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


def _with_zero_point(
    values: Array,
    low: float,
    high: float,
    bits: int,
    *,
    widen: bool = True,
    count: int = -1,
    cut: bool = True,
    whole: bool = True,
    down: bool = False,
    sign: int = 1,
) -> tuple[Array, int]:
    if widen:
        low, high = min(low, 0.0), max(high, 0.0)
    scale = (high - low) / (2**bits + count)
    zero: Any = -low / scale
    if whole:
        zero = int(np.round(zero))
    levels = (np.floor if down else np.round)(values / scale) + sign * zero
    return (np.clip(levels, 0, 2**bits - 1) if cut else levels), zero


def _relative_error(
    weights: Array,
    bits: int,
    by_row: bool,
    *,
    top: int | None = None,
    axis: int = 1,
    signed: bool = False,
    down: bool = False,
    root: bool = False,
) -> float:
    top = 2 ** (bits - 1) - 1 if top is None else top
    sizes = weights if signed else np.abs(weights)
    largest = sizes.max(axis, keepdims=True) if by_row else sizes.max()
    scale = largest / top
    rounded = scale * (np.floor if down else np.round)(weights / scale)
    share = ((rounded - weights) ** 2).sum() / (weights**2).sum()
    return float(np.sqrt(share) if root else share)


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
        "quantise_with_zero_point",
        lambda values, low, high, bits: _with_zero_point(values, low, high, bits),
        cases=_range_cases,
        returns=("levels", "zero"),
        mistakes=(
            usual(
                "Zero must have a level of its own, since paper and padding are full of it: widen "
                "the range until it contains 0.",
                lambda *given: _with_zero_point(*given, widen=False),
            ),
            usual(
                "Between 2^bits levels there are 2^bits - 1 steps.",
                lambda *given: _with_zero_point(*given, count=0),
            ),
            usual(
                "What lies beyond the range is cut off: no level is below 0 or above 2^bits - 1.",
                lambda *given: _with_zero_point(*given, cut=False),
            ),
            usual(
                "The zero point is a whole number: round it, or zero itself lies between two "
                "levels.",
                lambda *given: _with_zero_point(*given, whole=False),
            ),
            usual(
                "You round down. To the nearest level, the error is half as large.",
                lambda *given: _with_zero_point(*given, down=True),
            ),
            usual(
                "The zero point is added to a level; going back, it is subtracted.",
                lambda *given: _with_zero_point(*given, sign=-1),
            ),
        ),
    ),
    Exercise(
        "ch17",
        "rounding_error",
        lambda weights, bits, by_row: _relative_error(weights, bits, by_row),
        cases=_weight_cases,
        mistakes=(
            usual(
                "The top level is 2^(bits - 1) - 1: as many levels below zero as above.",
                lambda weights, bits, by_row: _relative_error(
                    weights, bits, by_row, top=2 ** (bits - 1)
                ),
                lambda weights, bits, by_row: _relative_error(
                    weights, bits, by_row, top=2**bits - 1
                ),
            ),
            usual(
                "A scale for each row, which leads to one output; yours is for each column.",
                lambda *given: _relative_error(*given, axis=0),
            ),
            usual(
                "The farthest weight from zero may be negative: take absolute values first.",
                lambda *given: _relative_error(*given, signed=True),
            ),
            usual(
                "You round down. Round to the nearest level.",
                lambda *given: _relative_error(*given, down=True),
            ),
            usual(
                "That is its root. Asked for is the share of the squares.",
                lambda *given: _relative_error(*given, root=True),
            ),
            usual(
                "You have the two the wrong way round: one scale for all where `by_row` is False.",
                lambda weights, bits, by_row: _relative_error(weights, bits, not by_row),
            ),
        ),
    ),
    Exercise(
        "ch17",
        "savings_that_are_none",
        frozenset({"A", "C", "D", "F"}),
        hint="Ask of each what was saved, bytes or time, on which machine, and what chose it.",
        mistakes=(
            usual(
                "A's zeros are multiplied like any other number. A plain convolution does not skip "
                "them.",
                frozenset({"C", "D", "F"}),
            ),
            usual(
                "C compares a network that learnt one epoch more with one that did not. The same "
                "epoch without pruning is the comparison.",
                frozenset({"A", "D", "F"}),
            ),
            usual(
                "D keeps the best of 200 networks by the digits that it reports on: the best of "
                "many scores is too good.",
                frozenset({"A", "C", "F"}),
            ),
            usual(
                "F counts the levels and forgets the scales, the norms and the header, which of a "
                "small network are much of the file.",
                frozenset({"A", "C", "D"}),
            ),
            usual(
                "B takes channels out: the kernels are smaller, and so is the time. That is as it "
                "should be.",
                frozenset({"A", "B", "C", "D", "F"}),
            ),
            usual(
                "E says on which processor and for which batch, and that is all that a time can "
                "say. It is as it should be.",
                frozenset({"A", "C", "D", "E", "F"}),
            ),
        ),
    ),
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
