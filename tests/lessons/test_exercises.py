"""The checks of the exercises: right answers pass, each usual mistake gets its own sentence."""

from __future__ import annotations

import ast
import json
import math
import os
import random
import re
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import binomtest  # comes with scikit-learn

from mnist_lab.by_hand.gradient_checks import check_layer
from mnist_lab.by_hand.layers import Layer
from mnist_lab.by_hand.optimisers import SGD, Adam
from mnist_lab.lessons.exercises import (
    EXERCISES,
    SUSPECT_TITLES,
    SUSPECTS,
    WIDTH,
    check,
    judge_answer,
    running,
    suspect_inputs,
)
from mnist_lab.lessons.exercises.checking import Exercise, Verdict, judge, usual
from tests.lessons.hostile_answers import (
    CHANGES,
    DIES_LOUDLY,
    ENDS,
    RAISES,
    RESULTS,
    EndlessTextError,
    raising,
)

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
CHAPTERS = {path.name[:4]: path for path in sorted(NOTEBOOKS.glob("ch*.ipynb"))}
NAMES = list(EXERCISES)
FUNCTIONS = [name for name, exercise in EXERCISES.items() if exercise.cases is not None]
VALUES = [name for name in NAMES if name not in FUNCTIONS]
MISTAKES = [
    pytest.param(name, mistake.says, answer, id=f"{name}-{number}-{way}")
    for name, exercise in EXERCISES.items()
    for number, mistake in enumerate(exercise.mistakes)
    for way, answer in enumerate(mistake.answers)
]


def say(name: str, answer: Any) -> str:
    """Return what is said about a wrong answer, the name and "not yet" aside."""
    verdict = judge_answer(name, answer)
    assert not verdict.right
    begin = f"{name}: not yet. "
    assert verdict.text.startswith(begin)
    return verdict.text.removeprefix(begin)


def checks_in(path: Path) -> Iterator[str]:
    """Yield the name in each call of check in a chapter."""
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] != "code":
            continue
        code = re.sub(r"^(\s*)[%!].*", r"\1pass", "".join(cell["source"]), flags=re.MULTILINE)
        tree = ast.parse(code)
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "check":
                assert isinstance(node.args[0], ast.Constant)
                yield str(node.args[0].value)


class TestEveryExercise:
    def test_has_a_name_of_its_own(self) -> None:
        from mnist_lab.lessons import exercises

        chapters = [part for name, part in vars(exercises).items() if re.fullmatch(r"ch\d\d", name)]
        everyone = [exercise for chapter in chapters for exercise in chapter.EXERCISES]
        assert len(everyone) == len(EXERCISES) >= 41
        for chapter in chapters:
            ours = {exercise.chapter for exercise in chapter.EXERCISES}
            assert ours == {chapter.__name__.rpartition(".")[2]}

    @pytest.mark.parametrize("name", NAMES)
    def test_takes_its_solution(self, name: str) -> None:
        verdict = judge_answer(name, EXERCISES[name].solution)
        assert verdict.right
        assert verdict.text.startswith(f"{name}: right")
        assert verdict.text.endswith(f" Code: {EXERCISES[name].code}.")
        assert len(verdict.text) <= WIDTH  # the code stands in one line with the name

    def test_has_a_code_of_its_own_that_makes_no_word(self) -> None:
        codes = [exercise.code for exercise in EXERCISES.values()]
        assert len(set(codes)) == len(codes)
        assert all(re.fullmatch("[B-DF-HJ-NP-TV-XZ]{4}", code) for code in codes)

    @pytest.mark.parametrize(("name", "says", "answer"), MISTAKES)
    def test_tells_each_mistake_from_the_solution_and_from_the_others(
        self, name: str, says: str, answer: Any
    ) -> None:
        assert say(name, answer) == says

    @pytest.mark.parametrize(("name", "says", "answer"), MISTAKES)
    def test_does_not_let_a_mistake_pass_in_float32(
        self, name: str, says: str, answer: Any
    ) -> None:
        def rounded(value: Any) -> Any:
            if isinstance(value, tuple):
                return tuple(rounded(part) for part in value)
            return value.astype(np.float32) if isinstance(value, np.ndarray) else value

        if name in FUNCTIONS and name != "stratified_split":
            assert not judge_answer(name, lambda *given: rounded(answer(*given))).right

    @pytest.mark.parametrize("name", NAMES)
    def test_says_what_helps_in_a_sentence_or_two(self, name: str) -> None:
        exercise = EXERCISES[name]
        sentences = [mistake.says for mistake in exercise.mistakes]
        assert len(sentences) >= 2
        assert len(set(sentences)) == len(sentences)
        for sentence in [*sentences, *filter(None, [exercise.hint])]:
            assert sentence.endswith(".")
            assert sentence[0].isupper() or sentence[0] == "0"
            assert len(sentence) < 300
            assert not set("\u2013\u2014") & set(sentence)
            assert "np." not in sentence

    @pytest.mark.parametrize("name", NAMES)
    def test_asks_for_what_is_missing(self, name: str) -> None:
        for nothing in (None, ...):
            assert say(name, nothing).startswith("There is no answer yet.")
        if name in FUNCTIONS:
            expected = "It returns nothing yet. Write its body, and end it with `return`."
            assert say(name, lambda *given: None) == expected

    @pytest.mark.parametrize("name", FUNCTIONS)
    def test_reports_an_exception(self, name: str) -> None:
        def answer(*given: Any) -> Any:
            raise LookupError("where is\nit?")

        assert say(name, answer).startswith("It raises LookupError: where is it? (for ")

    @pytest.mark.parametrize("name", FUNCTIONS)
    @pytest.mark.parametrize("value", [math.nan, "seven", object(), {}, [[1, 2], [3]], (), 1e9])
    def test_refuses_nonsense_with_a_short_sentence(self, name: str, value: Any) -> None:
        said = say(name, lambda *given: value)
        assert said.endswith((".", "?"))
        assert len(said) < 300

    @pytest.mark.parametrize("name", FUNCTIONS)
    def test_refuses_nan_in_the_right_shape(self, name: str) -> None:
        def answer(*given: Any) -> Any:
            right = EXERCISES[name].solution(*given)
            return (
                tuple(part * math.nan for part in right)
                if type(right) is tuple
                else right * math.nan
            )

        assert not judge_answer(name, answer).right

    @pytest.mark.parametrize("name", FUNCTIONS)
    def test_asks_for_a_function(self, name: str) -> None:
        assert "not a function" in say(name, 3)
        assert say(name, lambda: 3).startswith(f"Your function cannot be called as {name}(")

    @pytest.mark.parametrize("name", VALUES)
    def test_or_for_a_value(self, name: str) -> None:
        assert say(name, lambda: 3).startswith("You hand over a function")

    @pytest.mark.parametrize("name", FUNCTIONS)
    def test_has_the_same_cases_every_time_and_more_than_one(self, name: str) -> None:
        first, again = EXERCISES[name].make_cases(), EXERCISES[name].make_cases()
        assert len(first) > 1
        for one, other in zip(first, again, strict=True):
            for a, b in zip(one, other, strict=True):
                if isinstance(a, np.ndarray):
                    np.testing.assert_array_equal(a, b)

    @pytest.mark.parametrize("name", FUNCTIONS)
    def test_notices_an_argument_that_is_changed_in_place(self, name: str) -> None:
        parameters = EXERCISES[name].parameters
        for place, given in enumerate(EXERCISES[name].make_cases()[0]):
            if not isinstance(given, np.ndarray | list):
                continue

            def answer(*given: Any, place: int = place) -> Any:
                right = EXERCISES[name].solution(*given)
                if isinstance(given[place], list):
                    given[place].pop()
                else:
                    given[place][...] = 1 - given[place]
                return right

            said = say(name, answer)
            assert f"changes its argument `{parameters[place]}` in place" in said


class TestCheck:
    def test_prints_one_stable_line_for_a_right_answer(
        self, capfd: pytest.CaptureFixture[str]
    ) -> None:
        assert check("relu_backward", lambda gradient, inputs: gradient * (inputs > 0)) is True
        assert capfd.readouterr() == (
            "relu_backward: right, on all 6 cases. Code: SVPC.\n",
            "",
        )
        assert check("suspects", EXERCISES["suspects"].solution)
        assert capfd.readouterr() == ("suspects: right. Code: HRTV.\n", "")

    def test_prints_what_is_wrong_in_narrow_lines(self, capfd: pytest.CaptureFixture[str]) -> None:
        assert check("relu_backward", lambda gradient, inputs: gradient * (inputs >= 0)) is False
        said, errors = capfd.readouterr()
        assert said.startswith("relu_backward: not yet. Your mask is right but for inputs of")
        assert max(len(line) for line in said.splitlines()) <= 80
        assert errors == ""

    @pytest.mark.parametrize(
        ("name", "near"),
        [("relu_backwards", "'relu_backward'"), ("nothing of the kind", "suspects")],
    )
    def test_of_an_unknown_name_says_which_there_are(self, name: str, near: str) -> None:
        with pytest.raises(ValueError, match=rf"There is no exercise '{name}'\..*{near}"):
            check(name, 1)

    def test_lets_no_warning_of_the_answer_out_and_puts_all_settings_back(
        self, capfd: pytest.CaptureFixture[str]
    ) -> None:
        def answer(logits: Any) -> Any:
            warnings.warn("careful", stacklevel=2)
            return np.exp(logits) / np.log(0 * logits)

        before = np.geterr(), list(warnings.filters)
        with np.errstate(all="raise"):
            check("softmax", answer)
            assert np.geterr()["over"] == "raise"
        assert capfd.readouterr().err == ""
        assert (np.geterr(), list(warnings.filters)) == before

    def test_touches_no_global_generator(self) -> None:
        # The legacy state is what must not move, so this test has to look at it.
        before = np.random.get_state()  # noqa: NPY002
        for name in NAMES:
            judge_answer(name, EXERCISES[name].solution)
            for mistake in EXERCISES[name].mistakes:
                judge_answer(name, mistake.answers[0])
        after = np.random.get_state()  # noqa: NPY002
        np.testing.assert_array_equal(before[1], after[1])
        assert before[2:] == after[2:]

    def test_gives_the_answer_copies(self) -> None:
        seen: list[Any] = []

        def answer(gradient: Any, inputs: Any) -> Any:
            seen.append(gradient.copy())
            gradient[...] = 0
            return gradient

        judge_answer("relu_backward", answer)
        again = EXERCISES["relu_backward"].make_cases()
        for mine, case in zip(seen, again, strict=True):
            np.testing.assert_array_equal(mine, case[0])


def state_of_everybody() -> dict[str, Any]:
    """What an answer must leave as it was."""
    generator = np.random.get_state()  # noqa: NPY002
    return {
        "errors": np.geterr(),
        "print": np.get_printoptions(),
        "NumPy's generator": (generator[1].tolist(), generator[2:]),
        "Python's generator": random.getstate(),
        "warnings": list(warnings.filters),
        "depth": sys.getrecursionlimit(),
        "folder": Path.cwd(),
        "environment": dict(os.environ),
        "streams": (sys.stdin, sys.stdout, sys.stderr, sys.unraisablehook),
        "interrupt": signal.getsignal(signal.SIGINT),
        "trace": sys.gettrace(),
        "alarm": (signal.getitimer(signal.ITIMER_REAL), signal.getsignal(signal.SIGALRM)),
        "numpy": {name: id(value) for name, value in vars(np).items()},
        "modules": sys.modules["random"],
        "torch": (
            torch.get_default_dtype(),
            torch.is_grad_enabled(),
            torch.get_rng_state().tolist(),
            torch.are_deterministic_algorithms_enabled(),
            torch.get_num_threads(),
        ),
    }


def judge_elsewhere(name: str, answer: Any) -> Verdict:
    """Judge in a thread, where no alarm can be set, as nowhere on Windows."""
    verdicts: list[Verdict] = []
    thread = threading.Thread(target=lambda: verdicts.append(judge_answer(name, answer)))
    thread.start()
    thread.join()
    return verdicts[0]


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give answers a fraction of a second: those that have no end need no more to show it."""
    monkeypatch.setattr(running, "SECONDS", 0.2)


class TestHarm:
    """Whatever an answer does, there is a verdict, it is not "right", and nothing has changed."""

    def refuse(self, name: str, answer: Any) -> str:
        before = state_of_everybody()
        said = say(name, answer)
        after = state_of_everybody()
        for what, value in before.items():
            assert after[what] == value, what
        assert said.endswith((".", "?"))
        assert len(said) < 300
        return said

    @pytest.mark.parametrize("name", ["softmax", "linear_gradients", "stratified_split"])
    @pytest.mark.parametrize("result", RESULTS)
    def test_results_that_bite(
        self, name: str, result: str, hurried: None, capfd: pytest.CaptureFixture[str]
    ) -> None:
        self.refuse(name, lambda *given: RESULTS[result]())
        assert capfd.readouterr() == ("", "")

    @pytest.mark.parametrize("result", [name for name in RESULTS if name not in DIES_LOUDLY])
    def test_values_that_bite(self, result: str, hurried: None) -> None:
        for name in ("suspects", "smallest_loss"):
            self.refuse(name, RESULTS[result]())

    @pytest.mark.parametrize("answer", RAISES)
    def test_what_raises(self, answer: str) -> None:
        assert self.refuse("softmax", lambda logits: RAISES[answer]()).startswith("It raises ")

    @pytest.mark.parametrize("end", ENDS)
    @pytest.mark.parametrize("name", ["softmax", "stratified_split"])
    def test_what_has_no_end_is_stopped(self, name: str, end: str, hurried: None) -> None:
        said = self.refuse(name, lambda *given: ENDS[end]())
        assert said.startswith("Your function was not done after 0.2 seconds and was stopped (for ")

    def test_a_text_without_end_is_stopped(self, hurried: None) -> None:
        assert "was stopped" in self.refuse("softmax", lambda logits: raising(EndlessTextError()))

    def test_in_another_thread_it_is_stopped_too(self, hurried: None) -> None:
        verdict = judge_elsewhere("softmax", lambda logits: ENDS["loops"]())
        assert not verdict.right
        assert "was stopped" in verdict.text

    def test_in_another_thread_what_is_right_is_right(self) -> None:
        assert judge_elsewhere("softmax", EXERCISES["softmax"].solution).right

    def test_an_alarm_of_the_readers_own_goes_on(self) -> None:
        before = signal.setitimer(signal.ITIMER_REAL, 1_000)
        try:
            judge_answer("softmax", EXERCISES["softmax"].solution)
            assert 900 < signal.getitimer(signal.ITIMER_REAL)[0] <= 1_000
        finally:
            signal.setitimer(signal.ITIMER_REAL, *before)

    def test_the_reader_may_interrupt(self) -> None:
        handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may ignore it
        try:
            before = state_of_everybody()
            with pytest.raises(KeyboardInterrupt):
                check("softmax", lambda logits: signal.raise_signal(signal.SIGINT))
            assert state_of_everybody() == before
        finally:
            signal.signal(signal.SIGINT, handler)

    @pytest.mark.parametrize("change", CHANGES)
    @pytest.mark.parametrize("name", ["softmax", "linear_gradients"])
    def test_what_changes_something_for_everybody(self, name: str, change: str) -> None:
        solution = EXERCISES[name].solution

        def right(*given: Any) -> Any:
            CHANGES[change]()
            return solution(*given)

        def wrong(*given: Any) -> Any:
            CHANGES[change]()
            return 7 * np.ones(3)

        before = state_of_everybody()
        assert judge_answer(name, right).right
        assert state_of_everybody() == before
        self.refuse(name, wrong)

    def test_a_buffer_that_is_used_again_is_no_right_answer_for_all(self) -> None:
        buffer = np.zeros((3, 4))

        def answer(logits: Any) -> Any:
            buffer[...] = 0
            return buffer

        self.refuse("softmax", answer)

    def test_of_a_million_lines_the_first_are_printed(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def answer(*given: Any) -> Any:
            for number in range(20_000):
                print("line", number)  # noqa: T201

        check("softmax", answer)
        lines = capsys.readouterr().out.splitlines()
        assert lines[:2] == ["line 0", "line 1"]
        assert "... and so on: your answer prints a lot." in lines
        assert len(lines) < 2_000

    @pytest.mark.parametrize("name", NAMES)
    def test_every_exercise_withstands_what_bites(self, name: str, hurried: None) -> None:
        for made in (RESULTS["bites"], RESULTS["agrees"], RESULTS["an endless list"]):
            self.refuse(name, (lambda *given, made=made: made()) if name in FUNCTIONS else made())


class TestKindness:
    """What is right in another container or number type is right."""

    @pytest.mark.parametrize("name", [name for name in FUNCTIONS if name != "stratified_split"])
    @pytest.mark.parametrize("container", ["list", "float32", "numpy scalar"])
    def test_accepts_lists_float32_and_numpy_scalars(self, name: str, container: str) -> None:
        def turned(value: Any) -> Any:
            if isinstance(value, tuple):
                return [turned(part) for part in value]
            if container == "list":
                return np.asarray(value).tolist()
            if container == "float32" and np.asarray(value).dtype.kind == "f":
                return np.asarray(value, dtype=np.float32)
            return np.asarray(value)[()]

        def answer(*given: Any) -> Any:
            return turned(EXERCISES[name].solution(*given))

        assert judge_answer(name, answer).right

    @pytest.mark.parametrize(
        "answer",
        [
            {"A", "B", "D", "F"},
            frozenset("ABDF"),
            ["F", "D", "B", "A", "A"],
            ("A", "B", "D", "F"),
            np.array(["A", "B", "D", "F"]),
        ],
    )
    def test_accepts_a_set_in_any_container(self, answer: Any) -> None:
        assert judge_answer("suspects", answer).right

    @pytest.mark.parametrize(
        ("name", "answer"),
        [
            ("shapes_without_stride", 2304.0),
            ("shapes_without_stride", np.int64(2304)),
            ("shapes_without_stride", np.array(2304)),
            ("smallest_loss", 1.461),
            ("smallest_loss", np.float32(1.46115)),
            ("smallest_loss", -math.log(math.e / (math.e + 9))),
        ],
    )
    def test_accepts_a_number_of_any_type(self, name: str, answer: Any) -> None:
        assert judge_answer(name, answer).right


class TestGeneralSentences:
    """What is said where no usual mistake is recognised."""

    @pytest.mark.parametrize(
        ("name", "answer", "expected"),
        [
            (
                "relu_backward",
                lambda gradient, inputs: gradient.T,
                "Your result has shape (3, 4), but (4, 3) is due (for gradient (4, 3), inputs "
                "(4, 3)). Is it transposed?",
            ),
            (
                "relu_backward",
                lambda gradient, inputs: 3 * gradient * (inputs > 0),
                "Every entry of your result is 3 times the right one (for gradient (4, 3), inputs "
                "(4, 3)).",
            ),
            (  # a factor that four digits would call 1
                "relu_backward",
                lambda gradient, inputs: (1 - 2e-7) * gradient * (inputs > 0),
                "Every entry of your result is 0.9999998 times the right one (for gradient (4, 3), "
                "inputs (4, 3)).",
            ),
            (
                "cross_entropy",
                lambda logits, labels: 1e-5 + EXERCISES["cross_entropy"].solution(logits, labels),
                "Your result is 1.53306, which is too large (for logits (4, 3), labels (4,)). It "
                "is close: something small is added, left out or rounded.",
            ),
            (
                "relu_backward",
                lambda gradient, inputs: 0 * gradient,
                "Your result is zero everywhere (for gradient (4, 3), inputs (4, 3)); it should "
                "not be.",
            ),
            (
                "relu_backward",
                lambda gradient, inputs: gradient.sum(),
                "Your result has shape (), but (4, 3) is due (for gradient (4, 3), inputs (4, 3)).",
            ),
            (
                "softmax",
                lambda logits: np.where(
                    logits == 1e4, np.nan, EXERCISES["softmax"].solution(logits)
                ),
                "Your result is nan at [0, 0] (for logits (3, 4) up to 1e+04); entries that are "
                "not finite: 1 of 12. Which step leaves the range of floats?",
            ),
            (
                "cross_entropy",
                lambda logits, labels: math.inf,
                "Your result is infinite (for logits (4, 3), labels (4,)). Which step leaves the "
                "range of floats?",
            ),
            (
                "parameter_count",
                lambda features, classes: 12,
                "Your result is 12, which is too small (for features=784, classes=10).",
            ),
            (
                "should_stop",
                lambda losses, patience: len(losses) == 4,
                "Your result is True, but False is right (for losses=[0.9, 0.5, 0.4, 0.3], "
                "patience=2).",
            ),
            (
                "linear_gradients",
                lambda inputs, gradient: gradient.T @ inputs,
                "It returns an array of shape (2, 3), but 2 results are due: `weight_gradient`, "
                "`bias_gradient`.",
            ),
            (
                "linear_gradients",
                lambda inputs, gradient: (gradient.T @ inputs, gradient.sum(axis=0), 0),
                "It returns 3 results, but 2 are due: `weight_gradient`, `bias_gradient`.",
            ),
            (
                "linear_gradients",
                lambda inputs, gradient: (gradient.T @ inputs, None),
                "Your `bias_gradient` is None (for inputs (5, 3), gradient (5, 2)): something is "
                "not returned, or not yet computed.",
            ),
            ("smallest_loss", 1.46, "You are close: give more digits, and round only at the end."),
            (
                "shapes_without_stride",
                7,
                "7 is not it. Work out the side of the image after each layer, then multiply with "
                "the channels.",
            ),
            (
                "suspects",
                {"A", "E"},
                "1 of your names should not be there and 3 still missing. Run check_layer on every "
                "suspect and read every entry of its report.",
            ),
        ],
    )
    def test_say_what_differs(self, name: str, answer: Any, expected: str) -> None:
        assert say(name, answer) == expected

    def test_name_the_first_entry_that_differs(self) -> None:
        def answer(gradient: Any, inputs: Any) -> Any:
            return np.where(gradient < 0, -1.0, gradient) * (inputs > 0)

        assert say("relu_backward", answer) == (
            "Your result is -1 at [0, 0], but -2.325 is right there (for gradient (4, 3), inputs "
            "(4, 3)). Of 12 entries 4 are wrong."
        )

    def test_name_a_mistake_in_one_of_several_results_beside_another(self) -> None:
        def answer(gradient: Any, inputs: Any, weight: Any) -> Any:
            return gradient @ weight, inputs.T @ gradient, gradient.mean(axis=0)

        assert say("linear_backward", answer).startswith("Your weight gradient is transposed")

    def test_do_not_give_a_value_away(self) -> None:
        for answer in (0.5, 1.3, 1.47, 100.0, "x", [1, 2]):
            assert "1.461" not in say("smallest_loss", answer)
        assert "2304" not in say("shapes_without_stride", 2300)

    def test_long_texts_of_exceptions_are_cut(self) -> None:
        def answer(gradient: Any, inputs: Any) -> Any:
            raise ValueError("very " * 100)

        assert len(say("relu_backward", answer)) < 250


class TestSplits:
    """The one exercise in which any right draw is accepted."""

    def split(self, change: Callable[[Any, Any], Any]) -> str:
        def answer(labels: Any, per_class: int, generator: np.random.Generator) -> Any:
            drawn = EXERCISES["stratified_split"].solution(labels, per_class, generator)
            return change(drawn, generator)

        verdict = judge_answer("stratified_split", answer)
        return "right" if verdict.right else verdict.text

    def test_accepts_any_order(self) -> None:
        assert self.split(lambda drawn, generator: np.sort(drawn)) == "right"
        assert self.split(lambda drawn, generator: generator.permutation(drawn).tolist()) == "right"

    def test_asks_for_chance_in_every_class(self) -> None:
        def first_class_alone(labels: Any, per_class: int, generator: np.random.Generator) -> Any:
            every = [np.flatnonzero(labels == digit) for digit in np.unique(labels)]
            drawn = generator.choice(every[0], per_class, replace=False)
            return np.concatenate([drawn, *(own[:per_class] for own in every[1:])])

        assert "the same for every seed" in judge_answer("stratified_split", first_class_alone).text

    @pytest.mark.parametrize("seed", range(20))
    def test_calls_no_honest_draw_uneven(self, seed: int) -> None:
        solution = EXERCISES["stratified_split"].solution

        def answer(labels: Any, per_class: int, generator: np.random.Generator) -> Any:
            other = np.random.default_rng([seed, int(generator.integers(2**32))])
            return solution(labels, per_class, other)

        assert judge_answer("stratified_split", answer).right

    @pytest.mark.parametrize(
        ("change", "complaint"),
        [
            (lambda drawn, generator: drawn[:-1], "Your result has shape"),
            (lambda drawn, generator: drawn.astype(float), "Indices are whole numbers"),
            (lambda drawn, generator: drawn + 1000, "Your indices run from"),
            (lambda drawn, generator: drawn - 1000, "Your indices run from"),
            (
                lambda drawn, generator: np.random.default_rng().permutation(drawn),
                "Two draws with the same seed differ",
            ),
        ],
    )
    def test_says_what_else_is_wrong(self, change: Any, complaint: str) -> None:
        assert complaint in self.split(change)


class TestLuck:
    """The best of several readers, however an answer draws them."""

    @pytest.mark.parametrize("seed", range(10))
    def test_accepts_any_way_to_draw(self, seed: int) -> None:
        def digit_by_digit(readers: int, digits: int, accuracy: float, generator: Any) -> float:
            other = np.random.default_rng([seed, int(generator.integers(2**32))])
            return float((other.random((readers, digits)) < accuracy).mean(axis=1).max())

        assert judge_answer("best_of", digit_by_digit).right

    def test_tells_one_reader_too_few(self) -> None:
        solution = EXERCISES["best_of"].solution
        assert not judge_answer(
            "best_of", lambda readers, *rest: solution(readers - 2, *rest)
        ).right


class TestVersions:
    """A split that cuts no digit's versions apart."""

    def test_accepts_any_order_and_a_mask_made_by_hand(self) -> None:
        def answer(origins: Any, count: int, generator: np.random.Generator) -> list[int]:
            drawn = set(generator.permutation(sorted(set(origins.tolist())))[:count].tolist())
            return [at for at, origin in enumerate(origins) if origin in drawn][::-1]

        assert judge_answer("held_out", answer).right

    def test_counts_the_originals(self) -> None:
        solution = EXERCISES["held_out"].solution
        said = judge_answer("held_out", lambda o, count, g: solution(o, count - 1, g)).text
        assert "originals, but" in said


class TestSolutions:
    """The references that no layer computes, against numbers and the optimisers."""

    def network(self, parameter: Any, gradient: Any) -> Layer:
        layer = Layer()
        layer.parameters["p"], layer.gradients["p"] = parameter.copy(), gradient
        return layer

    def test_momentum_is_that_of_the_optimiser(self) -> None:
        parameter, gradient, other = np.random.default_rng(1).normal(size=(3, 4))
        layer = self.network(parameter, gradient)
        optimizer = SGD(layer, learning_rate=0.1, momentum=0.9)
        velocity = np.zeros(4)
        for layer.gradients["p"] in (gradient, other, gradient):
            optimizer.step()
            parameter, velocity = EXERCISES["momentum_step"].solution(
                parameter, layer.gradients["p"], velocity, 0.1, 0.9
            )
            np.testing.assert_allclose(parameter, layer.parameters["p"], rtol=1e-12)

    def test_adam_is_that_of_the_optimiser(self) -> None:
        parameter, gradient, other = np.random.default_rng(1).normal(size=(3, 4))
        layer = self.network(parameter, gradient)
        optimizer = Adam(layer, learning_rate=0.1, betas=(0.8, 0.99), epsilon=1e-3)
        mean = square = np.zeros(4)
        for step, layer.gradients["p"] in enumerate((gradient, other, gradient), 1):
            optimizer.step()
            parameter, mean, square = EXERCISES["adam_step"].solution(
                parameter, layer.gradients["p"], mean, square, step, 0.1, (0.8, 0.99), 1e-3
            )
            np.testing.assert_allclose(parameter, layer.parameters["p"], rtol=1e-12)

    @pytest.mark.parametrize(
        ("name", "arguments", "expected"),
        [
            ("parameter_count", (784, 10), 7850),
            ("convolution_parameters", (3, 16, 3), 448),
            ("output_size", (28, 3, 2, 1), 14),
            ("receptive_field", ([(5, 1), (2, 2), (5, 1), (2, 2)],), 16),
            ("receptive_field", ([],), 1),
            ("rescaled", (0.1307, 0.3081, 0.5, 0.5), (-0.7386, 0.6162)),
            ("weighted_mean", (np.array([1.0, 4.0]), np.array([3, 1])), 1.75),
            ("should_stop", ([0.9, 0.3, 0.3, 0.4], 2), True),
            ("should_stop", ([0.9, 0.3, 0.4, 0.2], 2), False),
            ("soften", (np.array([[0.0, 2 * math.log(3)]]), 2.0), [[0.25, 0.75]]),
            ("squared_distances", (np.array([[0, 3]], "u1"), np.array([[4, 0]], "u1")), [[25]]),
        ],
    )
    def test_are_what_paper_says(self, name: str, arguments: Any, expected: Any) -> None:
        np.testing.assert_allclose(EXERCISES[name].solution(*arguments), expected, rtol=1e-4)

    @pytest.mark.parametrize("counts", EXERCISES["paired_test"].make_cases())
    def test_the_paired_test_is_the_exact_binomial_one(self, counts: tuple[int, int]) -> None:
        expected = binomtest(counts[0], sum(counts)).pvalue
        assert EXERCISES["paired_test"].solution(*counts) == pytest.approx(expected)

    def test_a_new_exercise_needs_only_its_data(self) -> None:
        exercise = Exercise(
            "ch99",
            "double",
            lambda number: 2 * number,
            cases=lambda generator: [(1,), (3,)],
            mistakes=(usual("You square.", lambda number: number**2),),
        )
        assert judge(exercise, lambda number: number + number).text == (
            "double: right, on all 2 cases. Code: TCHQ."
        )
        assert (
            judge(exercise, lambda number: number * number).text == "double: not yet. You square."
        )


class TestSuspects:
    def reports(self, name: str, seed: int) -> list[bool]:
        generator = np.random.default_rng(seed)
        inputs = suspect_inputs(name, generator)
        reports = check_layer(SUSPECTS[name](generator), inputs, generator)
        return [report.passed for report in reports.values()]

    @pytest.mark.parametrize("seed", range(20))
    def test_check_layer_finds_just_the_faulty_ones(self, seed: int) -> None:
        found = {name for name in SUSPECTS if not all(self.reports(name, seed))}
        assert found == EXERCISES["suspects"].solution

    def test_are_six_with_a_title_each(self) -> None:
        assert list(SUSPECTS) == list(SUSPECT_TITLES) == list("ABCDEF")
        for name, title in SUSPECT_TITLES.items():
            assert title.startswith(f"{name}: ")

    def test_go_forward_as_they_say(self) -> None:
        generator = np.random.default_rng(0)
        inputs = suspect_inputs("A", generator)
        assert inputs.shape == (5, 4)
        outputs = {name: make(generator).forward(inputs) for name, make in SUSPECTS.items()}
        np.testing.assert_array_equal(outputs["A"], np.maximum(inputs, 0))
        np.testing.assert_allclose(outputs["C"], np.tanh(inputs))
        np.testing.assert_allclose(outputs["F"].sum(axis=1), 1)
        assert outputs["D"].shape == outputs["E"].shape == (5, 3)
        kept = outputs["B"] != 0
        np.testing.assert_allclose(outputs["B"][kept], inputs[kept] / 0.7)

    def test_come_fresh_each_time(self) -> None:
        one, other = (SUSPECTS["D"](np.random.default_rng(0)) for _ in range(2))
        assert one is not other
        np.testing.assert_array_equal(one.parameters["weight"], other.parameters["weight"])

    def test_of_an_unknown_name_have_no_inputs(self) -> None:
        with pytest.raises(ValueError, match="no suspect 'G'; they are A, B, C, D, E, F"):
            suspect_inputs("G", np.random.default_rng(0))


class TestChapters:
    @pytest.mark.parametrize("chapter", CHAPTERS)
    def test_check_only_their_own_exercises(self, chapter: str) -> None:
        for name in checks_in(CHAPTERS[chapter]):
            assert name in EXERCISES
            assert EXERCISES[name].chapter == chapter

    @pytest.mark.parametrize(
        "name", [name for name in NAMES if EXERCISES[name].chapter in CHAPTERS]
    )
    def test_use_every_exercise_that_is_theirs(self, name: str) -> None:
        assert name in set(checks_in(CHAPTERS[EXERCISES[name].chapter]))
