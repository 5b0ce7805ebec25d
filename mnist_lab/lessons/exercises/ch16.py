"""The exercises of chapter 16: calibration, conclusions, risk, attacks, loops, codes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mnist_lab.lessons.exercises.checking import Case, Exercise, usual

Array = NDArray[Any]
Slope = Callable[[Array], Array]


# --- Cases ---------------------------------------------------------------------------------------


def _answer_cases(generator: np.random.Generator) -> list[Case]:
    # Probabilities, labels, bins.
    cases: list[Case] = []
    for count, classes, bins in ((200, 3, 10), (50, 10, 15), (7, 2, 5)):
        logits = 2 * generator.normal(size=(count, classes))
        shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        cases.append((shares, generator.integers(0, classes, count), bins))
    edge = np.array([[0.5, 0.5], [0.75, 0.25], [1.0, 0.0], [0.45, 0.55]])
    return [*cases, (edge, np.array([0, 1, 0, 1]), 4)]


def _slope_cases(generator: np.random.Generator) -> list[Case]:
    # Slope, start, end, steps.
    def of_squares(point: Array) -> Array:
        return 2 * point

    def of_product(point: Array) -> Array:
        return np.array([point[1] * point[2], point[0] * point[2], point[0] * point[1]])

    first, second = generator.normal(size=(2, 3))
    return [
        (of_squares, np.zeros(3), np.array([1.0, 2.0, -1.0]), 50),
        (of_product, np.zeros(3), np.array([1.0, 2.0, 3.0]), 100),
        (of_product, first, second, 10),
        (np.cos, np.array([0.0, 1.0]), np.array([2.0, 1.0]), 4),
    ]


def _sure_cases(generator: np.random.Generator) -> list[Case]:
    # Sureness, whether right, coverage.
    cases: list[Case] = [
        (generator.normal(size=n), generator.random(n) < 0.7, coverage)
        for n, coverage in ((40, 0.9), (33, 0.5), (100, 1.0))
    ]
    return [*cases, (np.arange(10.0), np.arange(10) > 3, 0.75)]


def _bowl(middle: Array) -> Slope:
    """Return the gradient of a loss that is lowest at a middle."""
    return lambda pixels: 2 * (pixels - middle)


def _attack_cases(generator: np.random.Generator) -> list[Case]:
    # Slope, pixels, epsilon. Some pixels are near paper or full ink, so that the clip counts.
    cases: list[Case] = []
    for shape, epsilon in (((4, 4), 0.1), ((28, 28), 0.3), ((3,), 0.05)):
        middle, pixels = generator.random((2, *shape))
        pixels[generator.random(shape) < 0.3] = 0.0
        pixels[generator.random(shape) < 0.2] = 1.0
        cases.append((_bowl(middle), pixels, epsilon))
    return [*cases, (_bowl(np.array([0.5, 0.5])), np.array([0.02, 0.97]), 0.1)]


def _step_cases(generator: np.random.Generator) -> list[Case]:
    # Slope, changed pixels, pixels, epsilon, rate.
    cases: list[Case] = []
    for (slope, pixels, epsilon), share in zip(
        _attack_cases(generator), (0.25, 0.1, 0.6, 0.4), strict=True
    ):
        change = generator.uniform(-epsilon, epsilon, pixels.shape)
        changed = np.clip(pixels + change, 0, 1)
        cases.append((slope, changed, pixels, epsilon, share * epsilon))
    flips = _bowl(np.full(3, 0.5))  # a step has carried two of them over the middle
    pixels, changed = np.array([0.45, 0.55, 0.3]), np.array([0.53, 0.47, 0.38])
    return [*cases, (flips, changed, pixels, 0.1, 0.04)]


def _ink_cases(_: np.random.Generator) -> list[Case]:
    # Ink: true where a pixel has some.
    drawn = (
        ("#####", "#...#", "#.#.#", "#...#", "#####"),  # a dot in a loop
        (".###.", ".#.#.", ".###.", ".#.#.", ".###."),
        ("..#..", ".#.#.", "#...#", ".#.#.", "..#.."),  # closed across corners
        ("..#..", "..#..", "..#..", "..#..", "..#.."),  # from edge to edge
        ("#.#..", ".....", "###..", "#.#..", "###.."),
        (".....", ".....", ".....", ".....", "....."),
        ("##..#", "#.#.#", ".#..#", "#####", "....."),
    )
    return [(np.array([[mark == "#" for mark in row] for row in one]),) for one in drawn]


def _code_cases(generator: np.random.Generator) -> list[Case]:
    # What the encoder found, and how many units may be active.
    cases: list[Case] = [
        (generator.normal(size=size), active)
        for size, active in (((6, 8), 3), ((1, 5), 2), ((4, 10), 7), ((5, 4), 1))
    ]
    return [*cases, (np.array([[-1.0, -2.0, -3.0, -4.0], [5.0, -6.0, 0.5, 0.2]]), 2)]


# --- Solutions and mistakes ----------------------------------------------------------------------


def _calibration_error(
    probabilities: Array,
    labels: Array,
    bins: int,
    *,
    upper_edge: bool = False,
    weigh: bool = True,
    signed: bool = False,
    largest: bool = False,
) -> float:
    sure = probabilities.max(1)
    right = probabilities.argmax(1) == labels
    place = np.ceil(bins * sure).astype(int) - 1
    if upper_edge:
        place = np.minimum((bins * sure).astype(int), bins - 1)
    gaps, weights = [], []
    for k in np.unique(place):
        here = place == k
        gap = float(sure[here].mean() - right[here].mean())
        gaps.append(gap if signed else abs(gap))
        weights.append(float(here.mean()) if weigh else 1 / len(np.unique(place)))
    return max(gaps) if largest else float(np.dot(gaps, weights))


def _of_own_class(probabilities: Array, labels: Array, bins: int) -> float:
    """Bin by the probability of the label instead of by the answer's."""
    own = probabilities[np.arange(len(labels)), labels]
    right = probabilities.argmax(1) == labels
    place = np.maximum(np.ceil(bins * own).astype(int) - 1, 0)
    return float(
        sum(
            (place == k).mean() * abs(own[place == k].mean() - right[place == k].mean())
            for k in np.unique(place)
        )
    )


def _shares(slope: Slope, start: Array, end: Array, steps: int, offset: float = 0.5) -> Array:
    places = (np.arange(steps) + offset) / steps
    slopes = [slope(start + t * (end - start)) for t in places]
    shares: Array = np.mean(slopes, axis=0) * (end - start)
    return shares


def _risk(sure: Array, right: Array, coverage: float) -> float:
    answered = int(np.ceil(coverage * len(sure)))
    return float(np.mean(~right[np.argsort(-sure, kind="stable")[:answered]]))


def _one_step(slope: Slope, pixels: Array, epsilon: float, way: float = 1.0) -> Array:
    return np.clip(pixels + way * epsilon * np.sign(slope(pixels)), 0, 1)


def _step_back(
    slope: Slope,
    changed: Array,
    pixels: Array,
    epsilon: float,
    rate: float,
    *,
    at: Array | None = None,
    about: Array | None = None,
) -> Array:
    """Take a step from `changed` by the slope at a place, and go back into the ball about one."""
    moved = changed + rate * np.sign(slope(changed if at is None else at))
    middle = pixels if about is None else about
    return np.clip(middle + np.clip(moved - middle, -epsilon, epsilon), 0, 1)


def _loops(ink: Array) -> int:
    paper = np.pad(~ink, 1, constant_values=True)
    return int(ndimage.label(paper)[1]) - 1


def _loops_across_corners(ink: Array) -> int:
    paper = np.pad(~ink, 1, constant_values=True)
    return int(ndimage.label(paper, np.ones((3, 3)))[1]) - 1


def _keep(found: Array, active: int, by: Array | None = None) -> Array:
    """Keep in each row what is largest by something else, or by itself."""
    order = np.argsort(-(found if by is None else by), axis=1, kind="stable")[:, :active]
    kept = np.zeros_like(found)
    np.put_along_axis(kept, order, np.take_along_axis(found, order, 1), 1)
    return kept


EXERCISES = (
    Exercise(
        "ch16",
        "expected_calibration_error",
        lambda probabilities, labels, bins: _calibration_error(probabilities, labels, bins),
        cases=_answer_cases,
        mistakes=(
            usual(
                "A bin counts as much as it has answers; yours all count the same.",
                lambda *given: _calibration_error(*given, weigh=False),
            ),
            usual(
                "The gaps of two bins must not cancel: take their absolute values.",
                lambda *given: _calibration_error(*given, signed=True),
                lambda *given: abs(_calibration_error(*given, signed=True)),
            ),
            usual(
                "That is the largest gap, the maximum calibration error. Asked for is their mean.",
                lambda *given: _calibration_error(*given, largest=True),
            ),
            usual(
                "An answer on the edge of two bins goes into the lower one.",
                lambda *given: _calibration_error(*given, upper_edge=True),
            ),
            usual(
                "You bin by the probability of the label. How sure an answer is says its highest "
                "probability, right or wrong.",
                _of_own_class,
            ),
        ),
    ),
    Exercise(
        "ch16",
        "wrong_conclusions",
        frozenset({"A", "B", "D", "E"}),
        hint="Ask of each which data, which unit and which class it speaks of, and what chose it.",
        mistakes=(
            usual(
                "A network that was trained on normalised images gets others from A: its "
                "probabilities there say nothing of its calibration.",
                frozenset({"B", "D", "E"}),
            ),
            usual(
                "A temperature is chosen, if only one number. On what it was chosen it is not "
                "judged.",
                frozenset({"A", "D", "E"}),
            ),
            usual(
                "Normalised numbers are pixels less a mean over 0.3081. What is 0.1 there is less "
                "in pixels.",
                frozenset({"A", "B", "E"}),
            ),
            usual(
                "The map of the 7's logit says what speaks for a 7. The network said 2.",
                frozenset({"A", "B", "D"}),
            ),
            usual(
                "C keeps the halves apart and tells what chance would show: that is as it should "
                "be.",
                frozenset({"A", "B", "C", "D", "E"}),
            ),
            usual(
                "F's letters had no part in the choice, and the threshold comes from validation "
                "digits: that is as it should be.",
                frozenset({"A", "B", "D", "E", "F"}),
            ),
        ),
    ),
    Exercise(
        "ch16",
        "integrated_shares",
        lambda slope, start, end, steps: _shares(slope, start, end, steps),
        cases=_slope_cases,
        mistakes=(
            usual(
                "Gradients alone do not add up to the difference: each counts times what its "
                "coordinate has changed.",
                lambda slope, start, end, steps: np.mean(
                    [slope(start + (k + 0.5) / steps * (end - start)) for k in range(steps)], axis=0
                ),
            ),
            usual(
                "That is the gradient at the end alone, times the change. Take it all along the "
                "way.",
                lambda slope, start, end, steps: slope(end) * (end - start),
            ),
            usual(
                "You take each piece at its beginning or its end. The middle is asked for, and "
                "nearer to the integral.",
                lambda slope, start, end, steps: _shares(slope, start, end, steps, 0.0),
                lambda slope, start, end, steps: _shares(slope, start, end, steps, 1.0),
            ),
            usual(
                "You multiply by the end, and not by the change from the start. They differ where "
                "the way does not begin at 0.",
                lambda slope, start, end, steps: (
                    np.mean(
                        [slope(start + (k + 0.5) / steps * (end - start)) for k in range(steps)],
                        axis=0,
                    )
                    * end
                ),
            ),
            usual(
                "The way begins at the start, and not at 0.",
                lambda slope, start, end, steps: _shares(slope, np.zeros_like(end), end, steps),
            ),
            usual(
                "You add the slopes up. The integral over a way of length 1 is their mean.",
                lambda slope, start, end, steps: steps * _shares(slope, start, end, steps),
            ),
        ),
    ),
    Exercise(
        "ch16",
        "risk_at_coverage",
        _risk,
        cases=_sure_cases,
        mistakes=(
            usual(
                "That is the share of right answers. The risk is what is wrong.",
                lambda sure, right, coverage: 1 - _risk(sure, right, coverage),
            ),
            usual(
                "You keep the least sure. Answer the surest.",
                lambda sure, right, coverage: _risk(-sure, right, coverage),
            ),
            usual(
                "You divide by all digits. The risk is a share of those that are answered.",
                lambda sure, right, coverage: (
                    _risk(sure, right, coverage) * np.ceil(coverage * len(sure)) / len(sure)
                ),
            ),
            usual(
                "Refused is the share `1 - coverage`, and answered is `coverage`.",
                lambda sure, right, coverage: _risk(sure, right, max(1 - coverage, 1 / len(sure))),
            ),
            usual(
                "One answer too few: at least the share `coverage` is to be answered.",
                lambda sure, right, coverage: float(
                    np.mean(~right[np.argsort(-sure, kind="stable")[: int(coverage * len(sure))]])
                ),
            ),
        ),
    ),
    Exercise(
        "ch16",
        "one_step_attack",
        lambda slope, pixels, epsilon: _one_step(slope, pixels, epsilon),
        cases=_attack_cases,
        mistakes=(
            usual(
                "Some of your pixels have less ink than none or more than full: clip them to 0 "
                "and 1.",
                lambda slope, pixels, epsilon: pixels + epsilon * np.sign(slope(pixels)),
            ),
            usual(
                "Your pixels go by a whole 1. The sign says which way, and epsilon how far.",
                lambda slope, pixels, epsilon: np.clip(pixels + np.sign(slope(pixels)), 0, 1),
            ),
            usual(
                "You step by epsilon times the gradient. Of the gradient only the sign counts: "
                "every pixel may go the whole epsilon.",
                lambda slope, pixels, epsilon: np.clip(pixels + epsilon * slope(pixels), 0, 1),
            ),
            usual(
                "You go down the loss, as training does with the weights. An attack goes up.",
                lambda slope, pixels, epsilon: _one_step(slope, pixels, epsilon, -1.0),
            ),
            usual(
                "That epsilon is one of normalised images: you have multiplied or divided by "
                "their 0.3081. These are pixels from 0 to 1.",
                lambda slope, pixels, epsilon: _one_step(slope, pixels, 0.3081 * epsilon),
                lambda slope, pixels, epsilon: _one_step(slope, pixels, epsilon / 0.3081),
            ),
        ),
    ),
    Exercise(
        "ch16",
        "count_loops",
        _loops,
        cases=_ink_cases,
        mistakes=(
            usual(
                "The paper outside is a piece, too, and no loop.",
                lambda ink: _loops(ink) + 1,
            ),
            usual(
                "Two pieces of paper that meet at a corner are two: the ink between them closes.",
                _loops_across_corners,
            ),
            usual(
                "Ink that reaches the edge parts the paper outside, and that makes no loop: lay a "
                "rim of paper round the picture first.",
                lambda ink: int(ndimage.label(~ink)[1]) - 1,
                lambda ink: max(int(ndimage.label(~ink)[1]) - 1, 0),
            ),
            usual(
                "You count pieces of ink. A loop is a piece of paper.",
                lambda ink: int(ndimage.label(ink)[1]),
                lambda ink: int(ndimage.label(ink, np.ones((3, 3)))[1]),
            ),
            usual(
                "You count the pixels inside. Asked for is how many pieces they make.",
                lambda ink: int((ndimage.binary_fill_holes(ink) & ~ink).sum()),
            ),
        ),
    ),
    Exercise(
        "ch16",
        "attack_step",
        lambda slope, changed, pixels, epsilon, rate: _step_back(
            slope, changed, pixels, epsilon, rate
        ),
        cases=_step_cases,
        mistakes=(
            usual(
                "You have left the ball. It lies round the digit as it was written, and not where "
                "the step began: clip the change from there to epsilon either way.",
                lambda slope, changed, pixels, epsilon, rate: np.clip(
                    changed + rate * np.sign(slope(changed)), 0, 1
                ),
                lambda slope, changed, pixels, epsilon, rate: _step_back(
                    slope, changed, pixels, epsilon, rate, about=changed
                ),
            ),
            usual(
                "In the ball, but not on paper: clip to 0 and 1 at the end.",
                lambda slope, changed, pixels, epsilon, rate: (
                    pixels
                    + np.clip(changed + rate * np.sign(slope(changed)) - pixels, -epsilon, epsilon)
                ),
            ),
            usual(
                "You take the gradient at the digit as it was written. Ask anew at every step, "
                "where you are: that is what many steps are for.",
                lambda slope, changed, pixels, epsilon, rate: _step_back(
                    slope, changed, pixels, epsilon, rate, at=pixels
                ),
            ),
            usual(
                "Your step is as long as the ball is wide. It is `rate` long; epsilon says how "
                "far all steps together may lead.",
                lambda slope, changed, pixels, epsilon, rate: _step_back(
                    slope, changed, pixels, epsilon, epsilon
                ),
            ),
        ),
    ),
    Exercise(
        "ch16",
        "keep_largest",
        lambda found, active: np.maximum(_keep(found, active), 0),
        cases=_code_cases,
        mistakes=(
            usual(
                "What is below 0 does not become active, even where it is among the largest.",
                _keep,
            ),
            usual(
                "You keep the largest in size, whatever their signs. Keep the largest.",
                lambda found, active: np.maximum(_keep(found, active, np.abs(found)), 0),
                lambda found, active: _keep(found, active, np.abs(found)),
            ),
            usual(
                "Each example has its own `active` units: look along each row, not down a column.",
                lambda found, active: np.maximum(_keep(found.T, active).T, 0),
            ),
            usual(
                "You keep the smallest.",
                lambda found, active: np.maximum(_keep(found, active, -found), 0),
                lambda found, active: _keep(found, active, -found),
            ),
            usual(
                "That is every unit above 0, however many. At most `active` of them stay.",
                lambda found, active: np.maximum(found, 0),
            ),
            usual(
                "Which unit was active is lost: leave what is kept in its place, with 0 elsewhere.",
                lambda found, active: np.maximum(-np.sort(-found, axis=1)[:, :active], 0),
            ),
            usual(
                "You tell that a unit is active, and not how much.",
                lambda found, active: (np.maximum(_keep(found, active), 0) > 0).astype(float),
            ),
        ),
    ),
)
