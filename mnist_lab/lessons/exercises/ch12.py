"""The exercises of chapter 12: the loss on what is hidden, scaling laws, compute."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_lab.lessons.exercises.checking import Case, Exercise, usual

Array = NDArray[Any]


# --- Cases ---------------------------------------------------------------------------------------


def _guess_cases(generator: np.random.Generator) -> list[Case]:
    cases: list[Case] = []
    for n, count, pixels, hidden in [(3, 16, 49, 12), (2, 4, 9, 1), (1, 6, 4, 3), (5, 9, 1, 7)]:
        masks = np.array([generator.permutation(count) < hidden for _ in range(n)])
        guesses, patches = generator.normal(size=(2, n, count, pixels))
        cases.append((guesses, patches, masks))
    return cases


def _law_cases(generator: np.random.Generator) -> list[Case]:
    cases: list[Case] = []
    for factor, exponent, points in [(3.0, 0.5, 4), (0.7, 0.1, 6), (12.0, 0.34, 5)]:
        sizes = 10.0 ** np.linspace(2, 6, points)
        noise = np.exp(0.02 * generator.normal(size=points))
        cases.append((sizes, factor * sizes**-exponent * noise))
    return cases


def _budgets(_: np.random.Generator) -> list[Case]:
    return [(6e20, 20.0), (5.88e23, 20.0), (1e18, 20.0), (3e22, 5.0), (1e21, 100.0)]


# --- Solutions and mistakes ----------------------------------------------------------------------


def _masked_loss(guesses: Array, patches: Array, hidden: Array) -> float:
    return float(((guesses - patches) ** 2)[hidden].mean())


def _all_count(guesses: Array, patches: Array, hidden: Array) -> float:
    return float(((guesses - patches) ** 2).mean())


def _seen_count(guesses: Array, patches: Array, hidden: Array) -> float:
    return float(((guesses - patches) ** 2)[~hidden].mean())


def _divides_by_all(guesses: Array, patches: Array, hidden: Array) -> float:
    return float(((guesses - patches) ** 2 * hidden[:, :, None]).mean())


def _sums_pixels(guesses: Array, patches: Array, hidden: Array) -> float:
    return float(((guesses - patches) ** 2).sum(axis=2)[hidden].mean())


def _absolute(guesses: Array, patches: Array, hidden: Array) -> float:
    return float(np.abs(guesses - patches)[hidden].mean())


def _fit_law(sizes: Array, losses: Array) -> tuple[float, float]:
    slope, height = np.polyfit(np.log(sizes), np.log(losses), 1)
    return float(np.exp(height)), float(-slope)


def _fit(x: Any, y: Any, back: Any, sign: int = -1) -> Any:
    """Return a fit in which the axes, the way back or the sign are others."""

    def fit(sizes: Array, losses: Array) -> tuple[float, float]:
        slope, height = np.polyfit(x(sizes), y(losses), 1)
        return float(back(height)), float(sign * slope)

    return fit


def _same(value: Any) -> Any:
    return value


def _swapped_fit(sizes: Array, losses: Array) -> tuple[float, float]:
    factor, exponent = _fit_law(sizes, losses)
    return exponent, factor


def _split_compute(compute: float, ratio: float) -> tuple[float, float]:
    parameters = math.sqrt(compute / (6 * ratio))
    return parameters, ratio * parameters


def _without_six(compute: float, ratio: float) -> tuple[float, float]:
    return _split_compute(6 * compute, ratio)


def _without_root(compute: float, ratio: float) -> tuple[float, float]:
    parameters = compute / (6 * ratio)
    return parameters, ratio * parameters


def _other_way_round(compute: float, ratio: float) -> tuple[float, float]:
    parameters, tokens = _split_compute(compute, ratio)
    return tokens, parameters


def _forward_only(compute: float, ratio: float) -> tuple[float, float]:
    return _split_compute(3 * compute, ratio)


EXERCISES = (
    Exercise(
        "ch12",
        "masked_error",
        _masked_loss,
        cases=_guess_cases,
        mistakes=(
            usual(
                "You count the seen patches too. Copying them is easy and teaches nothing.",
                _all_count,
            ),
            usual("You count the seen patches instead of the hidden ones.", _seen_count),
            usual(
                "You sum over hidden pixels but divide by the number of all pixels.",
                _divides_by_all,
            ),
            usual("You sum over the pixels of a patch. Take the mean over them too.", _sums_pixels),
            usual("You take absolute values. Square the differences.", _absolute),
        ),
    ),
    Exercise(
        "ch12",
        "fit_law",
        _fit_law,
        cases=_law_cases,
        returns=("factor", "exponent"),
        mistakes=(
            usual(
                "The factor is still a logarithm. Undo it with the exponential function.",
                _fit(np.log, np.log, _same),
            ),
            usual(
                "You take logarithms to base 10 and come back with base e. Use the same base on "
                "both ways.",
                _fit(np.log10, np.log10, np.exp),
            ),
            usual(
                "Your exponent is the slope, which is negative. The law has its minus already.",
                _fit(np.log, np.log, np.exp, 1),
            ),
            usual(
                "You fit a line to the losses themselves against the logarithm of the sizes. A "
                "power law is a line if both are logarithms.",
                _fit(np.log, _same, _same),
                _fit(np.log, _same, np.exp),
            ),
            usual("Return the factor first, the exponent second.", _swapped_fit),
        ),
    ),
    Exercise(
        "ch12",
        "split_compute",
        _split_compute,
        cases=_budgets,
        returns=("parameters", "tokens"),
        mistakes=(
            usual(
                "You leave out the 6: two operations for a multiplication and an addition, times "
                "one forward pass and two for the backward one.",
                _without_six,
            ),
            usual(
                "You forget the square root. Parameters stand in the compute twice, once in the "
                "tokens.",
                _without_root,
            ),
            usual("Return the parameters first, the tokens second.", _other_way_round),
            usual(
                "You count the forward pass only. The backward pass takes about twice as much.",
                _forward_only,
            ),
        ),
    ),
)
