"""Claims and `verify`: what is stated is measured again, and what does not hold is told so."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from benchmarks import articles, claims, ensemble, presets
from benchmarks.claims import CLAIMS, PUBLISHED, Claim, Number, compare
from mnist_lab.data.mnist import MNIST
from mnist_lab.lessons.records import OWN
from tests.command_line import run

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "book" / "index.md", ROOT / "book" / "articles.md"]
ROLE = re.compile(r"\{measured\}`([^`|\\]+)")
# How something was measured, and what a search had chosen before, not what came out.
SETTINGS = (
    *(":hardware", ".epochs", ".learning_rate"),
    *(".best_of_search", ".best_of_search_from_scratch"),
)
# What wants an environment of its own, and so is measured again by its script alone.
ELSEWHERE = "keras_article:"


def stated() -> Iterator[tuple[str, str]]:
    """Yield (page, address) of every recorded number that README, home and the articles state."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for address in ROLE.findall(text):
            if not address.endswith(SETTINGS) and not address.startswith(ELSEWHERE):
                yield page.name, address.strip()
    readme = PAGES[0].read_text(encoding="utf-8")
    table = re.search(r"<!-- presets:.*?<!-- /presets -->", readme, re.DOTALL)
    assert table
    for name in re.findall(r"^\| `(\w+)` \|", table[0], re.MULTILINE):
        for key in ("accuracy", "parameters", "seconds"):
            yield "README.md", f"presets:results.{name}.{key}"
    if "by the mean of their probabilities" in table[0]:
        for key in ("accuracy", "member_accuracy"):
            yield "README.md", f"ensemble:results.{key}"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every look go into a folder of the test's own."""
    monkeypatch.chdir(tmp_path)


class TestClaims:
    def test_every_number_that_the_pages_state_can_be_measured_again(self) -> None:
        found = set(stated())
        assert len(found) >= 40
        missing = [place for place in found if not claims.claims_about(place[1])]
        assert missing == [], "benchmarks/claims.py has no claim about these"

    def test_and_a_number_of_no_claim_would_be_found(self) -> None:
        assert claims.claims_about("articles:results.article_000.as_printed.accuracy.mean") == [
            "article_000_as_printed"
        ]
        assert claims.claims_about("articles:results.article_000.as_printed.accurac") == []
        assert claims.claims_about("speed:results.usual.seconds.mean") == []

    @pytest.mark.parametrize("claim", CLAIMS.values(), ids=CLAIMS)
    def test_a_claim_states_numbers_that_are_recorded(self, claim: Claim) -> None:
        for name, number in claim.numbers.items():
            recorded = number.recorded()
            assert recorded["mean"] > 0 or name in claims.COUNTS  # no false alarm is a count too
            assert recorded["n"] >= 1
        assert not re.search(r"[{}]", str(claim))
        assert str(claim).endswith(".")

    @pytest.mark.parametrize("claim", CLAIMS.values(), ids=CLAIMS)
    def test_what_trains_says_how_long_and_under_which_name_it_looks(self, claim: Claim) -> None:
        assert bool(claim.looks) == bool(claim.seconds) == (claim.minutes(1) > 0)
        ledger = json.loads((PUBLISHED / "ledger.json").read_text(encoding="utf-8"))
        if claim.looks:
            assert claim.looks.format(runs=5) in {look["recipe"] for look in ledger}

    def test_an_origin_is_that_of_the_part_where_parts_have_their_own(self) -> None:
        part = claims.find("presets:results.fast.measured")
        assert claims.find_origin("presets:results.fast.accuracy.mean") == part
        whole = claims.find_origin("articles:results.article_000.corrected.loss")
        assert whole["command"] == "python -m benchmarks.articles"
        assert whole.keys() >= {"date", "hardware", "precision", "versions"}


class TestCompare:
    """A number holds in the prediction interval of its record, and nowhere else."""

    recorded: dict[str, Any] = {"mean": 0.99, "std": 0.001, "n": 5}  # noqa: RUF012

    @pytest.fixture
    def number(self, monkeypatch: pytest.MonkeyPatch) -> Number:
        monkeypatch.setattr(Number, "recorded", lambda number: self.recorded)
        return Number("a:b")

    def test_between_its_ends_it_holds_and_beside_them_it_does_not(self, number: Number) -> None:
        # Of 5 recorded runs and 5 new ones, by a table of Student's t: 2.776 for 4 degrees.
        half = 2.776 * 0.001 * (1 / 5 + 1 / 5) ** 0.5
        found = compare("accuracy", number, [0.99] * 5)
        assert found.holds
        assert found.high is not None
        assert found.high - 0.99 == pytest.approx(half, rel=1e-3)
        for sign in (1, -1):
            assert compare("accuracy", number, [0.99 + sign * 0.99 * half] * 5).holds
            assert compare("accuracy", number, [0.99 + sign * 1.01 * half] * 5).holds is False

    def test_one_run_may_lie_further_off_than_the_mean_of_five(self, number: Number) -> None:
        assert compare("accuracy", number, [0.987]).holds
        assert compare("accuracy", number, [0.987] * 5).holds is False

    def test_a_tolerance_is_a_floor(self, monkeypatch: pytest.MonkeyPatch) -> None:
        flat = {"mean": 0.99, "std": 0.0, "n": 2}
        monkeypatch.setattr(Number, "recorded", lambda number: flat)
        assert compare("accuracy", Number("a:b", tolerance=0.0005), [0.9905]).holds
        assert compare("accuracy", Number("a:b", tolerance=0.0005), [0.9906]).holds is False

    def test_a_count_holds_exactly(self) -> None:
        assert compare("digits", Number(fact=70_000), [70_000]).holds
        assert compare("digits", Number(fact=70_000), [69_999]).holds is False

    def test_seconds_are_told_and_not_judged(self) -> None:
        found = compare("seconds", Number(fact=1.0, judged=False), [100.0])
        assert (found.holds, found.low, found.high) == (None, None, None)


class TestVerify:
    @pytest.fixture
    def trained(self, monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
        """Let each run of a preset find these figures, at first those that are recorded."""
        figures = {
            key: claims.find(f"presets:results.fast.{key}.mean") for key in ("accuracy", "seconds")
        }
        monkeypatch.setattr(presets, "run_once", lambda *arguments: dict(figures))
        return figures

    def test_lists_the_claims(self, capsys: pytest.CaptureFixture[str]) -> None:
        status, out, _ = run(capsys, "verify", "--json")
        assert status == 0
        *lines, last = out.splitlines()
        assert [line.split()[0] for line in lines] == list(CLAIMS)
        assert json.loads(last)["claims"].keys() == CLAIMS.keys()
        assert "The preset `fast` reads 99." in out

    @pytest.mark.parametrize("name", ["digits", "parameters"])
    def test_what_is_counted_holds(self, name: str, capsys: pytest.CaptureFixture[str]) -> None:
        status, out, _ = run(capsys, "verify", name)
        assert status == 0
        assert out.endswith(f"{name} holds\n")
        assert not OWN.exists()  # the test set was not looked at

    def test_what_holds_is_told_so(
        self, trained: dict[str, float], capsys: pytest.CaptureFixture[str]
    ) -> None:
        status, out, err = run(capsys, "verify", "fast", "--json")
        assert status == 0
        told = json.loads(out.splitlines()[-1])
        runs = CLAIMS["fast"].recorded_runs
        assert (told["claim"], told["holds"], told["runs"]) == ("fast", True, runs)
        accuracy = told["numbers"]["accuracy"]
        assert accuracy["low"] < accuracy["measured"] == pytest.approx(accuracy["recorded"])
        assert told["numbers"]["seconds"]["holds"] is None
        assert "recorded 2026" in out
        assert "results/ledger.json" in err

    def test_what_does_not_hold_is_told_so(
        self, trained: dict[str, float], capsys: pytest.CaptureFixture[str]
    ) -> None:
        trained["accuracy"] -= 0.01
        status, out, _ = run(capsys, "verify", "fast")
        assert status == 1
        assert out.endswith("fast does not hold\n")
        line = next(line for line in out.splitlines() if line.startswith("accuracy"))
        assert line.endswith("does not hold")

    def test_a_slow_machine_is_no_reason_to_fail(
        self, trained: dict[str, float], capsys: pytest.CaptureFixture[str]
    ) -> None:
        trained["seconds"] *= 1_000
        assert run(capsys, "verify", "fast")[0] == 0

    def test_what_is_trained_on_few_digits_does_not_reach_the_number(
        self,
        small_mnist: MNIST,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        """Nothing stands in for the training here."""
        monkeypatch.setattr(claims, "load_mnist", lambda: small_mnist)
        status, out, _ = run(capsys, "verify", "fast", "--seeds", 2, "--device", "cpu", "--json")
        told = json.loads(out.splitlines()[-1])
        assert (status, told["holds"], told["runs"]) == (1, False, 2)
        assert told["numbers"]["accuracy"]["measured"] < 0.98
        assert told["numbers"]["parameters"]["holds"] is True

    def test_each_look_is_in_the_readers_ledger_and_the_books_stays_as_it_is(
        self, trained: dict[str, float], capsys: pytest.CaptureFixture[str]
    ) -> None:
        book = (PUBLISHED / "ledger.json").read_bytes()
        run(capsys, "verify", "fast", "--seeds", "3")
        looks = json.loads((OWN / "ledger.json").read_text(encoding="utf-8"))
        assert [(look["recipe"], look["seed"]) for look in looks] == [
            ("preset fast", seed) for seed in range(3)
        ]
        assert {look["command"] for look in looks} == {"python -m mnist_lab verify fast"}
        assert (PUBLISHED / "ledger.json").read_bytes() == book

    def test_beside_the_books_records_it_does_not_begin(
        self,
        trained: dict[str, float],
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        book = (PUBLISHED / "ledger.json").read_bytes()
        monkeypatch.chdir(PUBLISHED.parent)
        status, out, err = run(capsys, "verify", "fast")
        assert (status, out) == (2, "")
        assert "verify from another folder" in err
        assert (PUBLISHED / "ledger.json").read_bytes() == book

    def test_an_unknown_claim_is_answered_with_those_like_it(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run(capsys, "verify", "artcle_000_corected") == (
            *(2, ""),
            "mnist_lab verify: No claim 'artcle_000_corected'; like it: article_000_corrected, "
            "article_002_corrected, article_001_corrected.\n",
        )
        assert f"there are {', '.join(CLAIMS)}." in run(capsys, "verify", "xyz")[2]

    def test_an_articles_network_is_trained_by_its_benchmark(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[Any] = []

        def run_once(recipe: Any, mnist: MNIST, seed: int, device: str) -> dict[str, float]:
            asked.append((recipe, seed, device))
            keys = ("accuracy", "loss", "seconds", "accuracy_with_eval")
            at = "articles:results.article_000.as_printed"
            return {key: claims.find(f"{at}.{key}.values.{seed}") for key in keys}

        monkeypatch.setattr(articles, "run_once", run_once)
        name = "article_000_as_printed"
        status, out, _ = run(capsys, "verify", name, "--device", "cpu", "--json")
        assert status == 0
        recipe = articles.ARTICLES["article_000"].as_printed
        assert asked == [(recipe, seed, "cpu") for seed in range(5)]
        assert json.loads(out.splitlines()[-1])["numbers"]["accuracy_with_eval"]["holds"]

    def test_the_ensemble_is_trained_anew_and_looked_at_once(
        self,
        mnist: MNIST,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        folders: list[Path] = []

        def train_members(preset: str, count: int, device: str, folder: Path) -> list[nn.Module]:
            folders.append(folder)
            assert not any(folder.iterdir())
            return [nn.Identity()] * count

        monkeypatch.setattr(ensemble, "train_members", train_members)
        monkeypatch.setattr(claims, "load_mnist", lambda: mnist)
        monkeypatch.setattr(
            ensemble,
            "accuracy_by_size",
            lambda members, *_: [0.9962] if len(members) == 1 else [0.9962, 0.9969],
        )
        assert run(capsys, "verify", "ensemble")[0] == 0
        looks = json.loads((OWN / "ledger.json").read_text(encoding="utf-8"))
        assert [(look["recipe"], look["seed"]) for look in looks] == [("ensemble of 5 x best", 0)]
        assert [folder.exists() for folder in folders] == [False]
