"""The exercises of chapter 15: a rule for choosing, honest reports, n of n, how many drawings."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_lab.lessons.exercises.checking import Case, Exercise, usual

Array = NDArray[Any]


# --- Cases ---------------------------------------------------------------------------------------


def _result_cases(_: np.random.Generator) -> list[Case]:
    # Own drawings, MNIST; what MNIST was before, how much of it may be lost.
    return [
        (np.array([0.90, 0.98, 0.94]), np.array([0.98, 0.93, 0.975]), 0.98, 0.01),
        (np.array([0.96, 0.92, 0.96, 0.88]), np.array([0.972, 0.981, 0.978, 0.984]), 0.98, 0.01),
        (np.array([0.80, 0.86, 0.84]), np.array([0.985, 0.955, 0.962]), 0.98, 0.02),
        (np.array([0.70, 1.00, 0.90]), np.array([0.990, 0.976, 0.960]), 0.98, 0.01),
        (np.array([0.96, 0.90, 0.88]), np.array([0.981, 0.991, 0.983]), 0.98, 0.005),
    ]


def _needed_cases(_: np.random.Generator) -> list[Case]:
    return [(0.95, 0.03), (0.9, 0.05), (0.5, 0.05), (0.99, 0.01), (0.8, 0.1)]  # share, half


# --- Solutions and mistakes ----------------------------------------------------------------------


def _choose_by_rule(own: Array, mnist: Array, before: float, allowed: float) -> int:
    kept = np.flatnonzero(mnist >= before - allowed)
    return int(max(kept, key=lambda way: (own[way], mnist[way])))


def _first_of_the_level(own: Array, mnist: Array, before: float, allowed: float) -> int:
    return int(np.where(mnist >= before - allowed, own, -1).argmax())


def _half_width(share: float, count: int, z: float = 1.96) -> float:
    """Return half the width of Wilson's interval."""
    spread = math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return z * spread / (1 + z * z / count)


def _drawings_needed(share: float, half: float) -> int:
    count = 1
    while _half_width(share, count) > half:
        count += 1
    return count


def _by_standard_errors(share: float, half: float, z: float) -> int:
    return math.ceil(z * z * share * (1 - share) / (half * half))


EXERCISES = (
    Exercise(
        "ch15",
        "choose_by_rule",
        _choose_by_rule,
        cases=_result_cases,
        mistakes=(
            usual(
                "You take the one that reads most drawings, whatever it has forgotten. First drop "
                "those that lose too much.",
                lambda own, mnist, before, allowed: int(own.argmax()),
            ),
            usual(
                "You take the one that forgets least. Among those that forget little enough the "
                "drawings decide.",
                lambda own, mnist, before, allowed: int(mnist.argmax()),
            ),
            usual(
                "Where two are level on the drawings, the one that forgets less is due, and not "
                "the first.",
                _first_of_the_level,
            ),
            usual(
                "The loss counts from what was read before, and not from the best of the ways.",
                lambda own, mnist, before, allowed: _choose_by_rule(
                    own, mnist, float(mnist.max()), allowed
                ),
            ),
            usual(
                "No way is allowed to lose anything here. The rule lets it lose a little.",
                lambda own, mnist, before, allowed: _choose_by_rule(own, mnist, before, 0.0),
            ),
            usual(
                "You add the two accuracies up. The rule compares them one after the other.",
                lambda own, mnist, before, allowed: int((own + mnist).argmax()),
            ),
            usual(
                "You return the accuracy of the one chosen. Return its place in the arrays.",
                lambda own, mnist, before, allowed: float(
                    own[_choose_by_rule(own, mnist, before, allowed)]
                ),
            ),
        ),
    ),
    Exercise(
        "ch15",
        "honest_reports",
        frozenset({"B", "E"}),
        hint="Ask of each whether the test had a part in what was learnt or chosen.",
        mistakes=(
            usual(
                "A turned copy of a test drawing is in the pile that was learnt from. Deal first, "
                "and copy then.",
                frozenset({"A", "B", "E"}),
            ),
            usual(
                "Who looks at the third pile and then goes on trying has made a second pile of it.",
                frozenset({"B", "C", "E"}),
            ),
            usual(
                "The drawings that were taken out are just those that were misread. What is ugly "
                "must be decided before anything is read.",
                frozenset({"B", "D", "E"}),
            ),
            usual(
                "To test on another day is not too hard a test: what you draw tomorrow is what the "
                "network is for.",
                frozenset({"B"}),
            ),
            usual(
                "To try ten rates is no sin, if the second pile decides and the third is not "
                "touched.",
                frozenset({"E"}),
            ),
        ),
    ),
    Exercise(
        "ch15",
        "least_accuracy",
        lambda count, chance: chance ** (1 / count),
        cases=lambda generator: [(50, 0.05), (10, 0.05), (300, 0.05), (50, 0.01), (1, 0.3)],
        mistakes=(
            usual(
                "That is the largest share of errors. Asked for is what is read.",
                lambda count, chance: 1 - chance ** (1 / count),
            ),
            usual(
                "That is the rule of three, which holds nearly where there are many drawings. "
                "Give the accuracy itself.",
                lambda count, chance: 1 + math.log(chance) / count,
                lambda count, chance: 1 - 3 / count,
            ),
            usual(
                "All of them must be read, one after the other: the chance of that is a power of "
                "the accuracy. Solve it for the accuracy.",
                lambda count, chance: chance**count,
                lambda count, chance: 1 - chance,
            ),
            usual(
                "You shared the chance out among the drawings. The chances of independent "
                "drawings multiply.",
                lambda count, chance: 1 - chance / count,
            ),
        ),
    ),
    Exercise(
        "ch15",
        "drawings_needed",
        _drawings_needed,
        cases=_needed_cases,
        mistakes=(
            usual(
                "The whole interval becomes so wide. It may reach that far to either side.",
                lambda share, half: _drawings_needed(share, half / 2),
            ),
            usual(
                "That is for an accuracy of 50 %, where chance is largest.",
                lambda share, half: _drawings_needed(0.5, half),
            ),
            usual(
                "That is one standard error to either side. An interval of 95 % reaches almost "
                "two.",
                lambda share, half: _by_standard_errors(share, half, 1),
            ),
            usual(
                "That is the symmetric rule of two standard errors. Near 100 % it is too narrow: "
                "take Wilson's interval.",
                lambda share, half: _by_standard_errors(share, half, 1.96),
                lambda share, half: _by_standard_errors(share, half, 2),
            ),
            usual(
                "One drawing too few: with your number the interval is still a little too wide.",
                lambda share, half: _drawings_needed(share, half) - 1,
            ),
        ),
    ),
)
