"""How an answer is judged: against a reference on several cases, then against the usual mistakes.

An exercise is data: a solution, cases to try it on, and the mistakes that people make, each as code
together with the sentence that helps. Nobody's source is read: whoever makes a known mistake in
another way gets the same numbers as its code, and so the same sentence. What matches nothing gets a
sentence about the first thing that differs. `running` keeps an answer from doing harm.
"""

from __future__ import annotations

import copy
import hashlib
import inspect
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_lab.lessons.exercises import running
from mnist_lab.lessons.exercises.running import Outcome, Thing, TookTooLong, as_plain

Case = tuple[Any, ...]
FLOAT32_TOLERANCE = 1e-5  # for an answer that computes in float32: its seven digits, and some loss
CODE_LETTERS = "BCDFGHJKLMNPQRSTVWXZ"  # without vowels, so that a code never makes a word
LONGEST = 90  # characters of a case or of an exception's text inside a sentence


@dataclass(frozen=True)
class Mistake:
    """A usual mistake.

    Attributes
    ----------
    says : str
        What probably happened and why it is wrong: one or two short sentences, no code.
    answers : tuple
        The mistake itself, in one or several ways to make it: functions or values as the
        exercise's solution is.
    """

    says: str
    answers: tuple[Any, ...]


def usual(says: str, *answers: Any) -> Mistake:
    """Return the mistake that these wrong answers make."""
    return Mistake(says, answers)


@dataclass(frozen=True)
class Exercise:
    """What is asked, what is right, and what usually goes wrong.

    Attributes
    ----------
    chapter, name : str
    solution : function or value
        Its parameters' names are used in sentences.
    mistakes : tuple of Mistake
    cases : function of a generator, or None for a value
        Makes the arguments to try: a list of tuples.
    returns : tuple of str
        Names of what the solution returns, where that is a tuple.
    tolerance : float
        Relative to the largest entry of the right result.
    probe : function of the answer and a case's arguments, optional
        Asks the answer in another way than by calling it, and returns what is to be compared: the
        word "right", or a sentence.
    demand : function of the result and a case's arguments, optional
        What else a result must fulfil; returns a sentence if it does not, otherwise "".
    hint : str
        For a value: what to say where no mistake is recognised, without giving the value away.
    """

    chapter: str
    name: str
    solution: Any
    mistakes: tuple[Mistake, ...]
    cases: Callable[[np.random.Generator], list[Case]] | None = None
    returns: tuple[str, ...] = ()
    tolerance: float = 1e-9
    probe: Callable[..., Any] | None = None
    demand: Callable[..., str] | None = None
    hint: str = ""

    def make_cases(self) -> list[Case]:
        """Return the cases, the same every time."""
        assert self.cases is not None
        return self.cases(np.random.default_rng(0))

    @property
    def parameters(self) -> list[str]:
        """Names of the solution's parameters."""
        return list(inspect.signature(self.solution).parameters)

    @property
    def code(self) -> str:
        """Four letters by which the chapter's page knows that it was solved. They are no secret."""
        digest = hashlib.sha256(f"{self.chapter} {self.name}".encode()).digest()
        return "".join(CODE_LETTERS[byte % len(CODE_LETTERS)] for byte in digest[:4])


@dataclass(frozen=True)
class Verdict:
    """Whether an answer is right, and the sentence for it."""

    right: bool
    text: str


@dataclass(frozen=True)
class _Trial:
    """What an answer did on one case."""

    outcome: Outcome
    changed: list[str] = field(default_factory=list)  # arguments that it modified
    remark: str = ""  # a demand that the result does not fulfil

    @property
    def value(self) -> Any:
        """What it returned, as plain data."""
        return self.outcome.value


def judge(exercise: Exercise, answer: Any) -> Verdict:
    """Judge an answer; nothing is printed, and nothing that the answer does gets out.

    It is stopped after `running.SECONDS`, unless it is then in a loop that never comes back from C.

    Parameters
    ----------
    exercise : Exercise
    answer : function or value, as the exercise asks

    Raises
    ------
    KeyboardInterrupt
        If the reader stops an answer, or the answer raises it.
    """
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        if exercise.cases is None:
            sentence = _judge_value(exercise, answer)
        else:
            sentence = _judge_function(exercise, answer)
    if sentence:
        return Verdict(False, f"{exercise.name}: not yet. {sentence}")
    where = f", on all {len(exercise.make_cases())} cases" if exercise.cases else ""
    return Verdict(True, f"{exercise.name}: right{where}. Code: {exercise.code}.")


# --- Functions -----------------------------------------------------------------------------------


def _judge_function(exercise: Exercise, answer: Any) -> str:
    """Return what is wrong with a function, or ""."""
    signature = f"{exercise.name}({', '.join(exercise.parameters)})"
    if answer is None or answer is Ellipsis:
        return f"There is no answer yet. Write the function {signature} and hand it over."
    if not callable(answer):
        return (
            f"You hand over {_described(_made_plain(answer))}, not a function. "
            f"Write only the name {exercise.name}, without calling it."
        )
    # What is right is found out first, before the answer can change anything.
    cases = exercise.make_cases()
    wanted = [_try(exercise, exercise.solution, case) for case in cases]
    found: list[_Trial] = []
    try:
        with running.time_limit():
            with running.guarded():
                takes = running.run(_takes, answer, cases[0]).value
            if takes is not True:
                return (
                    f"Your function cannot be called as {signature}. Does it take these arguments?"
                )
            for case in cases:
                with running.guarded():  # each anew, so that one call does not disturb the next
                    found.append(_try(exercise, answer, case))
    except TookTooLong:
        where = _described_case(exercise, cases[len(found)])
        return (
            f"Your function was not done after {running.SECONDS:g} seconds and was stopped "
            f"({where}). Does one of its loops never end?"
        )
    changed = next((trial.changed[0] for trial in found if trial.changed), None)
    if all(_same(a, b, exercise.tolerance) for a, b in zip(found, wanted, strict=True)):
        if changed:
            return (
                f"The results are right, but your function changes its argument `{changed}` in "
                "place, and the caller may still need it. Work on a copy."
            )
        return ""
    if all(trial.outcome.error is None and trial.value is None for trial in found):
        return "It returns nothing yet. Write its body, and end it with `return`."
    known = _recognise(exercise, found, wanted, cases)
    if known:
        return known
    if changed:
        return (
            f"Your function changes its argument `{changed}` in place, so its later steps and the "
            "caller see other numbers than they should. Work on a copy."
        )
    return _first_difference(exercise, found, wanted, cases)


def _made_plain(answer: Any) -> Any:
    """Return a value as plain data, whatever it does when it is looked at."""
    try:
        with running.time_limit(), running.guarded():
            outcome = running.run(as_plain, answer)
    except TookTooLong:
        return Thing("an object that cannot be read")
    return Thing("an object that cannot be read") if outcome.error else outcome.value


def _takes(answer: Callable[..., Any], arguments: Case) -> bool:
    """Return whether a function can be called with these arguments."""
    try:
        signature = inspect.signature(answer)
    except Exception:  # some built-in functions have none, and an answer's own may be anything
        return True
    try:
        signature.bind(*arguments)
    except TypeError:
        return False
    return True


def _try(exercise: Exercise, answer: Callable[..., Any], case: Case) -> _Trial:
    """Call an answer with copies of a case's arguments and note all that matters."""
    arguments = copy.deepcopy(case)
    probe = exercise.probe
    if probe is None:
        outcome = running.run(answer, *arguments)
    else:
        outcome = running.run(probe, lambda *given: as_plain(answer(*given)), *arguments)
    if outcome.error is not None:
        return _Trial(outcome)
    changed = [
        name
        for name, before, after in zip(exercise.parameters, case, arguments, strict=True)
        if isinstance(before, np.ndarray | list)
        and not _agree(running.run(as_plain, after).value, before, 1e-12)
    ]
    remark = ""
    if exercise.demand is not None and _numbers(outcome.value) is not None:
        remark = exercise.demand(outcome.value, *case)
    return _Trial(outcome, changed, remark)


def _same(one: _Trial, other: _Trial, tolerance: float) -> bool:
    """Return whether two answers did the same on a case."""
    if one.outcome.error is not None or other.outcome.error is not None:
        return one.outcome.error is other.outcome.error
    return one.remark == other.remark and _agree(one.value, other.value, tolerance)


def _recognise(
    exercise: Exercise, found: list[_Trial], wanted: list[_Trial], cases: list[Case]
) -> str:
    """Return the sentence of the mistake that gives these results, or ""."""
    made = [
        (mistake.says, [_try(exercise, answer, case) for case in cases])
        for mistake in exercise.mistakes
        for answer in mistake.answers
    ]
    for says, trials in made:
        if all(_same(a, b, exercise.tolerance) for a, b in zip(found, trials, strict=True)):
            return says
    # Of several results, look at those that are wrong one by one: there may be two mistakes.
    for part in range(len(exercise.returns)):
        parts, right = _part(found, part), _part(wanted, part)
        if parts is None or right is None or _all_agree(parts, right, exercise.tolerance):
            continue
        for says, trials in made:
            theirs = _part(trials, part)
            if theirs is not None and _all_agree(parts, theirs, exercise.tolerance):
                return says
    return ""


def _part(trials: list[_Trial], index: int) -> list[Any] | None:
    """Return one of several results for every case, or None if some case has no such result."""
    every = [_parts(trial.value) for trial in trials]
    if any(parts is None or len(parts) <= index for parts in every):
        return None
    return [parts[index] for parts in every if parts is not None]


def _all_agree(values: Sequence[Any], wanted: Sequence[Any], tolerance: float) -> bool:
    return all(_agree(a, b, tolerance) for a, b in zip(values, wanted, strict=True))


def _first_difference(
    exercise: Exercise, found: list[_Trial], wanted: list[_Trial], cases: list[Case]
) -> str:
    """Say what is wrong on the first case that goes wrong."""
    for mine, right, case in zip(found, wanted, cases, strict=True):
        if _same(mine, right, exercise.tolerance):
            continue
        where = f" ({_described_case(exercise, case)})"
        if mine.outcome.error is not None:
            text = f"{mine.outcome.error.__name__}: {mine.outcome.text}"
            text = _shortened(text.strip(" :"))
            return f"It raises {text}{where}."
        if exercise.probe is not None and isinstance(mine.value, str):
            return mine.value
        if isinstance(right.value, tuple):
            parts = _parts(mine.value)
            names = ", ".join(f"`{name}`" for name in exercise.returns)
            count = len(right.value)
            if parts is None or isinstance(mine.value, np.ndarray):
                return f"It returns {_described(mine.value)}, but {count} results are due: {names}."
            if len(parts) != count:
                return f"It returns {len(parts)} results, but {count} are due: {names}."
            for name, one, other in zip(exercise.returns, parts, right.value, strict=True):
                if not _agree(one, other, exercise.tolerance):
                    return _difference(f"Your `{name}`", one, other, exercise.tolerance, where)
        if _agree(mine.value, right.value, exercise.tolerance):
            return mine.remark
        return _difference("Your result", mine.value, right.value, exercise.tolerance, where)
    raise AssertionError("called only where a case goes wrong")


def _difference(subject: str, value: Any, wanted: Any, tolerance: float, where: str) -> str:
    """Say in what a result differs from the right one."""
    if value is None:
        return f"{subject} is None{where}: something is not returned, or not yet computed."
    mine, right = _numbers(value), _numbers(wanted)
    if mine is None or right is None:
        return f"{subject} is {_described(value)}, but {_described(wanted)} is due{where}."
    if mine.shape != right.shape:
        if right.shape == ():
            return f"{subject} has shape {mine.shape}, but a single number is due{where}."
        turned = " Is it transposed?" if mine.shape == right.shape[::-1] else ""
        return f"{subject} has shape {mine.shape}, but {right.shape} is due{where}.{turned}"
    strange = ~np.isfinite(mine) & np.isfinite(right)
    if strange.any():
        index = _first(strange)
        at = f" at {list(index)}" if index else ""
        kind = "nan" if np.isnan(mine[index]) else "infinite"
        count = f"; entries that are not finite: {strange.sum()} of {mine.size}" if index else ""
        return f"{subject} is {kind}{at}{where}{count}. Which step leaves the range of floats?"
    if mine.shape == ():
        one, other = _in_words(mine[()], right[()])
        if right.dtype.kind == "b":
            return f"{subject} is {one}, but {other} is right{where}."
        # The right number is the answer to the exercise's question: it is not given away.
        near = " It is close: something small is added, left out or rounded."
        way = "large" if mine > right else "small"
        close = near if _agree(mine, right.astype(float), 1e-3) else ""
        return f"{subject} is {one}, which is too {way}{where}.{close}"
    large = right != 0
    if large.sum() > 1:
        factor = float(mine[large][0] / right[large][0])
        if factor != 1 and _agree(mine, factor * right.astype(float), tolerance):
            if factor == 0:
                return f"{subject} is zero everywhere{where}; it should not be."
            words, _ = _in_words(factor, 1.0)
            entry = f"Every entry of {subject[0].lower()}{subject[1:]}"
            return f"{entry} is {words} times the right one{where}."
    wrong = ~_close(mine, right, tolerance)
    index = _first(wrong)
    one, other = _in_words(mine[index], right[index])
    return (
        f"{subject} is {one} at {list(index)}, but {other} is right there{where}. Of {mine.size} "
        f"entries {wrong.sum()} {'is' if wrong.sum() == 1 else 'are'} wrong."
    )


# --- Values --------------------------------------------------------------------------------------


def _judge_value(exercise: Exercise, answer: Any) -> str:
    """Return what is wrong with a value, or "". The right one is not given away."""
    right = exercise.solution
    if answer is None or answer is Ellipsis:
        return "There is no answer yet. Put your value in the place of the dots."
    value = _made_plain(answer)
    if _agree(value, right, exercise.tolerance):
        return ""
    if callable(answer):
        return "You hand over a function, but the value itself is asked for."
    for mistake in exercise.mistakes:
        if any(_agree(value, wrong, exercise.tolerance) for wrong in mistake.answers):
            return mistake.says
    if isinstance(right, frozenset):
        members = _as_set(value)
        if members is None:
            return f"You hand over {_described(value)}, but a set is asked for. {exercise.hint}"
        counts = len(members - right), len(right - members)
        told = [
            f"{count} of your names should not be there" if extra else f"{count} still missing"
            for count, extra in zip(counts, (True, False), strict=True)
            if count
        ]
        return f"{' and '.join(told).capitalize()}. {exercise.hint}"
    number = _numbers(value)
    if number is None or number.shape != ():
        return f"You hand over {_described(value)}, but a number is asked for. {exercise.hint}"
    if _agree(value, right, 0.01):
        return "You are close: give more digits, and round only at the end."
    return f"{float(number):.6g} is not it. {exercise.hint}"


# --- Comparing -----------------------------------------------------------------------------------


def _agree(value: Any, wanted: Any, tolerance: float) -> bool:
    """Return whether a result is as it should be, whatever container or number type holds it."""
    if isinstance(wanted, set | frozenset):
        return _as_set(value) == wanted
    if isinstance(wanted, tuple):
        parts = _parts(value)
        if parts is None or len(parts) != len(wanted):
            return False
        return _all_agree(parts, wanted, tolerance)
    mine, right = _numbers(value), _numbers(wanted)
    if mine is None or right is None:
        return mine is right and type(value) is type(wanted) and bool(value == wanted)
    return mine.shape == right.shape and bool(_close(mine, right, tolerance).all())


def _close(mine: NDArray[Any], right: NDArray[Any], tolerance: float) -> NDArray[np.bool_]:
    """Return where two arrays of one shape agree; nan agrees with nan alone."""
    if mine.dtype == np.float32:
        tolerance = max(tolerance, FLOAT32_TOLERANCE)
    finite = np.abs(right[np.isfinite(right)].astype(float))
    scale = finite.max(initial=1e-300)
    return np.isclose(
        mine.astype(float),
        right.astype(float),
        rtol=tolerance,
        atol=tolerance * scale,
        equal_nan=True,
    )


def _numbers(value: Any) -> NDArray[Any] | None:
    """Return a number, an array or nested sequences as an array, or None for anything else."""
    try:
        array = np.asarray(value)
    except Exception:  # ragged lists, and whatever objects of other libraries object to
        return None
    return array if array.dtype.kind in "biuf" else None


def _parts(value: Any) -> Sequence[Any] | None:
    """Return several results as a sequence, or None if there is only one."""
    if isinstance(value, tuple | list):
        return value
    if isinstance(value, np.ndarray) and value.ndim:
        return list(value)
    return None


def _as_set(value: Any) -> frozenset[Any] | None:
    if isinstance(value, np.ndarray):
        value = value.ravel().tolist()
    if not isinstance(value, set | frozenset | list | tuple):
        return None
    try:
        return frozenset(value)
    except TypeError:  # something in it cannot be in a set
        return None


# --- Words ---------------------------------------------------------------------------------------


def _first(mask: NDArray[np.bool_]) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(int(mask.argmax()), mask.shape))


def _in_words(one: Any, other: Any) -> tuple[str, str]:
    """Write two numbers with as many digits as it takes to tell them apart."""
    if isinstance(other, np.bool_) and one in (0, 1):
        return str(bool(one)), str(bool(other))
    for digits in (4, 7, 12, 17):
        words = f"{float(one) + 0.0:.{digits}g}", f"{float(other) + 0.0:.{digits}g}"
        if words[0] != words[1]:
            break
    return words


def _described(value: Any) -> str:
    """Say what kind of thing a value is."""
    if value is None:
        return "None"
    if isinstance(value, Thing):
        return value.description
    if isinstance(value, str):
        return "a text"
    array = _numbers(value)
    if array is not None:
        return f"an array of shape {array.shape}" if array.shape else f"the number {array[()]:.6g}"
    if isinstance(value, tuple | list | set | frozenset):
        return f"a {type(value).__name__} of length {len(value)}"
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def _described_case(exercise: Exercise, case: Case) -> str:
    """Say for which arguments: shapes of arrays, values of numbers."""
    words = []
    for name, argument in zip(exercise.parameters, case, strict=True):
        if isinstance(argument, np.ndarray):
            largest = np.abs(argument.astype(float)).max(initial=0)
            range_ = f" up to {largest:.0e}" if largest >= 1000 else ""
            words.append(f"{name} {argument.shape}{range_}")
        elif isinstance(argument, bytes):
            words.append(f"{name} of {len(argument)} bytes")
        elif isinstance(argument, int | float | list | tuple):
            words.append(f"{name}={argument}")
    return _shortened("for " + ", ".join(words))


def _shortened(text: str) -> str:
    text = " ".join(text.split()).rstrip(".")
    return text if len(text) <= LONGEST else text[: LONGEST - 3].rstrip() + "..."
