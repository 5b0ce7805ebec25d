"""The exercises of chapter 12: masks, the loss on what is hidden, scaling laws, compute."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_lab.lessons.exercises.checking import Case, Exercise, usual

Array = NDArray[Any]


# --- Cases ---------------------------------------------------------------------------------------


def _noise_cases(generator: np.random.Generator) -> list[Case]:
    sizes = [((4, 16), 12), ((3, 9), 2), ((1, 5), 3), ((6, 4), 1), ((2, 49), 30)]
    return [(generator.uniform(size=size), hidden) for size, hidden in sizes]


def _guess_cases(generator: np.random.Generator) -> list[Case]:
    cases: list[Case] = []
    for n, count, pixels, hidden in [(3, 16, 49, 12), (2, 4, 9, 1), (1, 6, 4, 3), (5, 9, 1, 7)]:
        masks = np.array([generator.permutation(count) < hidden for _ in range(n)])
        guesses, patches = generator.normal(size=(2, n, count, pixels))
        cases.append((guesses, patches, masks))
    return cases


def _token_cases(generator: np.random.Generator) -> list[Case]:
    cases: list[Case] = []
    for n, count, seen, width in [(2, 6, 2, 3), (3, 16, 4, 2), (1, 5, 4, 1), (2, 9, 3, 4)]:
        kept = np.array([generator.permutation(count)[:seen] for _ in range(n)])
        cases.append(
            (generator.normal(size=(n, seen, width)), kept, count, generator.normal(size=width))
        )
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


def _hide(noise: Array, hidden: int) -> Array:
    ranks = noise.argsort(axis=1).argsort(axis=1)
    return ranks < hidden


def _hide_largest(noise: Array, hidden: int) -> Array:
    return (-noise).argsort(axis=1).argsort(axis=1) < hidden


def _order_for_rank(noise: Array, hidden: int) -> Array:
    return noise.argsort(axis=1) < hidden


def _coin(noise: Array, hidden: int) -> Array:
    return noise < hidden / noise.shape[1]


def _seen_for_hidden(noise: Array, hidden: int) -> Array:
    return ~_hide(noise, hidden)


def _one_mask_for_all(noise: Array, hidden: int) -> Array:
    return np.repeat(_hide(noise, hidden)[:1], len(noise), axis=0)


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


def _put_back(seen: Array, kept: Array, count: int, token: Array) -> Array:
    tokens = np.tile(token, (len(seen), count, 1))
    np.put_along_axis(tokens, kept[:, :, None], seen, axis=1)
    return tokens


def _appended(seen: Array, kept: Array, count: int, token: Array) -> Array:
    n, k, width = seen.shape
    return np.concatenate([seen, np.broadcast_to(token, (n, count - k, width))], axis=1)


def _in_reading_order(seen: Array, kept: Array, count: int, token: Array) -> Array:
    return _put_back(seen, np.sort(kept, axis=1), count, token)


def _same_places(seen: Array, kept: Array, count: int, token: Array) -> Array:
    return _put_back(seen, np.broadcast_to(kept[0], kept.shape), count, token)


def _zeros(seen: Array, kept: Array, count: int, token: Array) -> Array:
    return _put_back(seen, kept, count, 0 * token)


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
        "hide",
        _hide,
        cases=_noise_cases,
        mistakes=(
            usual(
                "You compare the sorted order with the number. The order says which patch comes "
                "at each place; you need the place of each patch.",
                _order_for_rank,
            ),
            usual(
                "You toss a coin for each patch, so some images lose more patches than others, and "
                "they cannot be stacked.",
                _coin,
            ),
            usual(
                "True stands for a hidden patch; you have it the other way round.", _seen_for_hidden
            ),
            usual("You hide the patches with the largest noise, not the smallest.", _hide_largest),
            usual(
                "You hide the same patches of every image. Each row has noise of its own.",
                _one_mask_for_all,
            ),
        ),
    ),
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
        "put_back",
        _put_back,
        cases=_token_cases,
        mistakes=(
            usual(
                "You put the seen tokens first and the mask tokens after them. Each token must "
                "stand where its patch lies, as the positions are added next.",
                _appended,
            ),
            usual(
                "You sort the numbers of the kept patches but not the tokens. Token j belongs to "
                "patch kept[:, j], in whatever order.",
                _in_reading_order,
            ),
            usual(
                "You use the places of the first image for all of them.",
                _same_places,
            ),
            usual("You leave zeros where the mask token belongs.", _zeros),
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
