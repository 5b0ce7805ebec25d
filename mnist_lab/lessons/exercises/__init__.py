"""Checks of the exercises: they accept a right answer and tell the usual wrong ones apart.

    from mnist_lab.lessons.exercises import check

    def relu_backward(gradient, inputs):
        return gradient * (inputs >= 0)

    check("relu_backward", relu_backward)

prints what is not right yet, in a sentence or two, and returns False. With a right answer goes a
code of four letters, which ticks the exercise on the chapter's page. An answer is tried on cases
that bring the difference out: ties, zeros, logits of 10,000, batches that are not square. Each
chapter's exercises stand in a file of its own. `SUSPECTS` are six layers for chapter 3, by name,
some with a wrong gradient; `SUSPECT_TITLES` says what each claims to be. Imports NumPy alone.
"""

from __future__ import annotations

import difflib
import pkgutil
import re
import textwrap
from importlib import import_module
from typing import Any

from mnist_lab.lessons.exercises.ch03 import SUSPECT_TITLES, SUSPECTS, suspect_inputs
from mnist_lab.lessons.exercises.checking import Exercise, Verdict, judge

__all__ = ["EXERCISES", "SUSPECTS", "SUSPECT_TITLES", "check", "judge_answer", "suspect_inputs"]

_CHAPTERS = sorted(
    module.name for module in pkgutil.iter_modules(__path__) if re.fullmatch(r"ch\d\d", module.name)
)
EXERCISES: dict[str, Exercise] = {
    exercise.name: exercise
    for chapter in _CHAPTERS
    for exercise in import_module(f"{__name__}.{chapter}").EXERCISES
}
"""All exercises by name."""

WIDTH = 80  # of what is printed, so that no line leaves a narrow page


def check(name: str, answer: Any) -> bool:
    """Say whether an answer is right, and if not, what is probably wrong with it.

    Parameters
    ----------
    name : str
        The exercise, such as "relu_backward".
    answer : function or value
        As the exercise asks. A function gets copies of its arguments.

    Returns
    -------
    bool
        Whether it is right.

    Raises
    ------
    ValueError
        If there is no exercise of that name.
    """
    verdict = judge_answer(name, answer)
    print(textwrap.fill(verdict.text, WIDTH, break_long_words=False))  # noqa: T201
    return verdict.right


def judge_answer(name: str, answer: Any) -> Verdict:
    """Return what `check` says, without printing it."""
    if name not in EXERCISES:
        near = difflib.get_close_matches(str(name), EXERCISES, n=3, cutoff=0.5)
        meant = " or ".join(repr(other) for other in near) or "one of " + ", ".join(EXERCISES)
        raise ValueError(f"There is no exercise {name!r}. Do you mean {meant}?")
    return judge(EXERCISES[name], answer)
