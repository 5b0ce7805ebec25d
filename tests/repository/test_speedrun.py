"""The speedrun's checker: it refuses what breaks a rule, and judges what does not."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from benchmarks import speedrun
from benchmarks.speedrun import BreachError, Checker, Contestant
from mnist_lab.data import DigitSet
from mnist_lab.lessons import summarise
from mnist_lab.models import build_model
from mnist_lab.training import PRESETS, Batches
from tests.command_line import run

Train = Callable[[DigitSet, int, str], Any]
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let every look go into a folder of the test's own, and leave torch's threads alone."""
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def linear(digits: DigitSet, seed: int, device: str) -> nn.Module:
    return build_model("linear", seed=seed)


def checker(train: Train, sets: tuple[DigitSet, DigitSet]) -> Checker:
    return Checker(Contestant("mine", train, "mine"), sets[0], Batches(sets[1]), "cpu")


class TestBreaches:
    def test_a_fair_recipe_breaks_no_rule(self, small_sets: tuple[DigitSet, DigitSet]) -> None:
        fair = checker(linear, small_sets)
        fair.warm_up()
        for seed in range(3):
            assert isinstance(fair.run(seed), nn.Module)
        assert [len(values) for values in vars(fair.checked).values()] == [0, 3, 3, 3]
        assert min(fair.checked.seconds) > 0

    def test_the_package_itself_reads_nothing_while_it_trains(
        self, small_sets: tuple[DigitSet, DigitSet]
    ) -> None:
        ours = checker(speedrun.of_preset("fast").train, small_sets)
        ours.warm_up()
        ours.run(0)

    @pytest.mark.parametrize(
        ("deed", "said"),
        [
            (lambda: Path("weights.pt").read_bytes(), "opens the file weights.pt while it trains"),
            (lambda: Path("memory.txt").write_text("9"), "opens the file memory.txt"),
            (lambda: subprocess.run(["true"], check=True), "starts another process"),
        ],
    )
    def test_what_is_forbidden_is_refused_even_if_the_recipe_catches_the_error(
        self, deed: Callable[[], Any], said: str, small_sets: tuple[DigitSet, DigitSet]
    ) -> None:
        def openly(digits: DigitSet, seed: int, device: str) -> nn.Module:
            deed()
            return linear(digits, seed, device)

        def quietly(digits: DigitSet, seed: int, device: str) -> nn.Module:
            with contextlib.suppress(Exception):
                deed()
            return linear(digits, seed, device)

        Path("weights.pt").write_bytes(b"1")
        for train in (openly, quietly):
            with pytest.raises(BreachError, match=said):
                checker(train, small_sets).run(0)
        assert Path("weights.pt").read_bytes() == b"1"  # nobody looks any more

    def test_a_network_that_ignores_the_seed_is_refused(
        self, small_sets: tuple[DigitSet, DigitSet]
    ) -> None:
        same = checker(lambda digits, seed, device: build_model("linear", seed=7), small_sets)
        same.run(0)
        with pytest.raises(BreachError, match=r"^mine gives the same network for two seeds"):
            same.run(1)

    def test_a_network_that_goes_on_from_the_warm_up_is_refused(
        self, small_sets: tuple[DigitSet, DigitSet]
    ) -> None:
        runs = iter(range(9))
        other = checker(
            lambda digits, seed, device: build_model("linear", seed=next(runs)), small_sets
        )
        other.warm_up()
        with pytest.raises(BreachError, match=r"^mine gives two networks for one seed"):
            other.run(0)

    @pytest.mark.parametrize(
        ("returned", "said"),
        [
            (None, "^mine returns a NoneType, not an nn.Module"),
            (nn.Flatten(), r"returns \d+ x 784 numbers in place of \d+ x 10"),
            (nn.Linear(3, 10), "^The network cannot read images: RuntimeError"),
        ],
    )
    def test_what_is_no_network_for_digits_is_refused(
        self, returned: Any, said: str, small_sets: tuple[DigitSet, DigitSet]
    ) -> None:
        with pytest.raises(BreachError, match=said):
            checker(lambda digits, seed, device: returned, small_sets).run(0)

    def test_numbers_that_are_not_finite_are_refused(
        self, small_sets: tuple[DigitSet, DigitSet]
    ) -> None:
        def broken(digits: DigitSet, seed: int, device: str) -> nn.Module:
            model = linear(digits, seed, device)
            with torch.no_grad():
                next(model.parameters())[3] = torch.nan
            return model

        with pytest.raises(BreachError, match="not finite"):
            checker(broken, small_sets).run(0)

    def test_a_recipe_that_breaks_down_is_one_sentence(
        self, small_sets: tuple[DigitSet, DigitSet]
    ) -> None:
        with pytest.raises(BreachError, match=r"^mine fails with seed 4: ZeroDivisionError"):
            checker(lambda digits, seed, device: 1 / 0, small_sets).run(4)

    def test_too_few_seeds_are_refused(self) -> None:
        with pytest.raises(BreachError, match=r"^29 seeds are too few: the rules ask for 30"):
            speedrun.check(Contestant("mine", linear, "mine"), 29, "cpu")


class TestVerdict:
    @pytest.mark.parametrize(
        ("values", "stands"),
        [
            ([0.9899, 0.9905] * 15, True),
            ([0.9899, 0.9902] * 15, False),  # the mean reaches 99 %, its interval does not
            ([0.999, 0.9991] * 10, False),  # too few
        ],
    )
    def test_the_lower_end_of_the_interval_decides(self, values: list[float], stands: bool) -> None:
        assert speedrun.stands(summarise(values)) is stands

    def test_counts_right_answers(self, small_sets: tuple[DigitSet, DigitSet]) -> None:
        held_out = Batches(small_sets[1])
        logits = torch.zeros(len(small_sets[1]), 10)
        logits[:, 1] = 1
        assert speedrun.share_right(logits, held_out) == (small_sets[1].labels == 1).mean()


RECIPE = """
from mnist_lab.models import build_model

def train(digits, seed, device):
    assert digits.images.shape == (55000, 28, 28) and digits.images.dtype == "uint8"
    return build_model("linear", seed=seed)
"""


class TestCommand:
    def test_judges_a_file_of_the_readers_own(self, capsys: pytest.CaptureFixture[str]) -> None:
        Path("mine.py").write_text(RECIPE)
        status, out, _ = run(capsys, "speedrun", "mine.py", "--test", "--json")
        assert status == 1  # it has learnt nothing
        told = json.loads(out.splitlines()[-1])
        assert (told["recipe"], told["stands"], told["device"]) == ("mine.py", False, "cpu")
        assert told["validation_accuracy"]["n"] == told["accuracy"]["n"] == 30
        assert told["seconds"]["median"] > 0
        assert "mine.py: " in out
        assert "does not stand" in out
        looks = json.loads(Path(told["ledger"]).read_text())
        assert [look["seed"] for look in looks] == list(range(30))
        assert looks[3]["accuracy"] == pytest.approx(told["accuracy"]["values"][3])
        assert looks[0]["command"] == "python -m mnist_lab speedrun mine.py"

    def test_says_in_one_sentence_what_is_wrong_with_a_file(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        Path("empty.py").write_text("")
        Path("broken.py").write_text("import nothing_of_this_name")
        Path("text.txt").write_text("")
        for name, said in {
            "empty.py": "empty.py has no function train(digits, seed, device).",
            "broken.py": "broken.py cannot be imported: ModuleNotFoundError",
            "text.txt": "text.txt is no Python file.",
            "fats": "There is no file fats; a recipe is fast, standard, best or a file",
        }.items():
            status, out, err = run(capsys, "speedrun", name)
            assert (status, out) == (2, "")
            assert f"mnist_lab speedrun: {said}" in err

    def test_asks_for_enough_seeds(self, capsys: pytest.CaptureFixture[str]) -> None:
        status, _, err = run(capsys, "speedrun", "fast", "--seeds", 29)
        assert status == 2
        assert "'29' is no whole number from 30 on" in err

    def test_without_a_recipe_it_tells_the_rules_and_the_records(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        status, out, _ = run(capsys, "speedrun", "--json")
        assert status == 0
        assert "1. A recipe is a function" in out
        assert re.search(r"^fast: 99\.\d\d% ± .*: stands$", out, re.MULTILINE)
        told = json.loads(out.splitlines()[-1])
        assert told["rules"] in str(speedrun.__doc__)
        assert told["records"]["fast"]["stands"] is True
        assert "values" not in told["records"]["fast"]["accuracy"]

    def test_never_writes_into_the_books_own_ledger(self) -> None:
        with pytest.raises(ValueError, match="book's own"):
            speedrun.look_once(speedrun.of_preset("fast"), ROOT / "benchmarks/results", "")


def test_the_ledger_knows_a_preset_by_its_recipe_and_a_file_by_its_text(tmp_path: Path) -> None:
    assert speedrun.of_preset("fast").configuration == PRESETS["fast"]
    (tmp_path / "mine.py").write_text(RECIPE)
    first = speedrun.of_file(tmp_path / "mine.py").configuration
    (tmp_path / "mine.py").write_text(RECIPE + "\n")
    assert speedrun.of_file(tmp_path / "mine.py").configuration != first
