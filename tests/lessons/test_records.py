"""Records and the statistics beside them, compared with SciPy's."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from mnist_lab.lessons import records
from mnist_lab.lessons.records import (
    clustered_interval,
    design_effect,
    in_percent,
    load_record,
    load_records,
    summarise,
    wilson_interval,
)

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


class TestSummarise:
    @pytest.mark.parametrize("n", [2, 3, 5, 8, 11, 12, 40, 200])
    def test_interval_is_students(self, n: int) -> None:
        values = np.random.default_rng(n).normal(0.99, 0.01, n)
        found = summarise(list(values))
        low, high = stats.t.interval(0.95, n - 1, values.mean(), stats.sem(values))
        assert found["mean"] == pytest.approx(values.mean(), abs=1e-6)
        assert found["std"] == pytest.approx(values.std(ddof=1), abs=1e-6)
        assert (found["low"], found["high"]) == pytest.approx((low, high), abs=1e-6)
        assert found["n"] == n
        assert found["values"] == pytest.approx(values, abs=1e-6)

    def test_one_value_has_no_spread(self) -> None:
        found = summarise([0.5])
        assert (found["mean"], found["n"]) == (0.5, 1)
        assert found["std"] is found["low"] is found["high"] is None
        json.dumps(found, allow_nan=False)

    def test_is_shown_in_per_cent_with_its_spread_if_it_has_one(self) -> None:
        found = summarise([0.98, 0.99, 1.0])
        assert in_percent(found) == "99.0 ± 1.0"
        assert in_percent(found, decimals=2) == "99.00 ± 1.00"
        assert in_percent(summarise([0.5])) == "50.0"

    def test_no_value_is_a_sentence(self) -> None:
        with pytest.raises(ValueError, match=r"^There is nothing to summarise\.$"):
            summarise([])


class TestWilson:
    @pytest.mark.parametrize(
        ("correct", "count"), [(0, 1), (1, 1), (0, 500), (7, 7), (9_960, 10_000), (450, 1_797)]
    )
    def test_equals_scipys(self, correct: int, count: int) -> None:
        expected = stats.binomtest(correct, count).proportion_ci(method="wilson")
        low, high = wilson_interval(correct, count)
        assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-9)
        assert 0 <= low <= correct / count <= high <= 1

    def test_at_99_6_percent_of_10_000_one_standard_error_is_0_06_points(self) -> None:
        low, high = wilson_interval(9_960, 10_000)
        assert (high - low) / 2 / 1.96 == pytest.approx(0.0006, abs=0.0001)

    def test_takes_a_fraction_as_an_exercise_asks(self) -> None:
        below, asked, above = (wilson_interval(correct, 10)[0] for correct in (9, 9.5, 10))
        assert below < asked < above

    @pytest.mark.parametrize(("correct", "count"), [(-1, 5), (6, 5), (0, 0)])
    def test_refuses_what_is_no_share(self, correct: int, count: int) -> None:
        with pytest.raises(ValueError, match=rf"^{correct} of {count} is no share\.$"):
            wilson_interval(correct, count)


class TestClustered:
    """Made-up people, of whom some are harder to read than others."""

    TRUTH = 0.95

    def people(self, seed: int, count: int = 150, spread: float = 20) -> tuple[Any, Any]:
        """Return whether each digit was read, and by whom it is: 20 to 120 of each person.

        The smaller `spread`, the more people differ; everybody is read with 0.95 on average.
        """
        generator = np.random.default_rng(seed)
        share = generator.beta(spread * self.TRUTH, spread * (1 - self.TRUTH), count)
        writers = np.repeat(np.arange(count), generator.integers(20, 121, count))
        writers = generator.permutation(writers)  # MNIST's are not in order either
        return generator.random(len(writers)) < share[writers], writers

    @pytest.mark.parametrize("seed", range(4))
    def test_equals_a_bootstrap_over_writers(self, seed: int) -> None:
        read, writers = self.people(seed)
        right = np.bincount(writers, weights=read)
        wrote = np.bincount(writers)
        drawn = np.random.default_rng(seed).integers(0, len(wrote), (20_000, len(wrote)))
        shares = right[drawn].sum(1) / wrote[drawn].sum(1)
        low, high = clustered_interval(read, writers)
        half = (high - low) / 2
        expected = np.quantile(shares, [0.025, 0.975])
        assert (low, high) == pytest.approx(expected, abs=0.1 * half)
        assert design_effect(read, writers) == pytest.approx(
            shares.var() / (read.mean() * (1 - read.mean()) / len(read)), rel=0.05
        )

    def test_holds_the_truth_as_often_as_it_says_and_wilsons_does_not(self) -> None:
        hits = {"clustered": 0, "Wilson": 0}
        for seed in range(1_000):
            read, writers = self.people(seed)
            for name, (low, high) in {
                "clustered": clustered_interval(read, writers),
                "Wilson": wilson_interval(read.sum(), len(read)),
            }.items():
                hits[name] += low <= self.TRUTH <= high
        assert 930 <= hits["clustered"] <= 970
        assert hits["Wilson"] < 800

    def test_one_digit_a_writer_is_wilsons(self) -> None:
        read = np.random.default_rng(0).random(500) < 0.9
        writers = np.random.default_rng(1).permutation(500)
        assert design_effect(read, writers) == pytest.approx(1)
        expected = wilson_interval(read.sum(), 500)
        assert clustered_interval(read, writers) == pytest.approx(expected, abs=1e-12)

    def test_digits_copied_ten_times_tell_no_more_than_once(self) -> None:
        read = np.random.default_rng(0).random(500) < 0.9
        copied = design_effect(np.repeat(read, 10), np.repeat(np.arange(500), 10))
        assert copied == pytest.approx(10, rel=0.01)
        tenfold = clustered_interval(np.repeat(read, 10), np.repeat(np.arange(500), 10))
        assert tenfold == pytest.approx(wilson_interval(read.sum(), 500), abs=1e-3)

    def test_is_never_narrower_than_wilsons(self) -> None:
        """Everybody has one digit of ten misread, more evenly than chance would have it."""
        read, writers = np.tile(np.arange(10) > 0, 30), np.repeat(np.arange(30), 10)
        assert design_effect(read, writers) < 0.1
        low, high = clustered_interval(read, writers)
        alone = wilson_interval(270, 300)
        assert low <= alone[0] < alone[1] <= high

    @pytest.mark.parametrize("answer", [True, False])
    def test_ends_where_the_scale_does(self, answer: bool) -> None:
        read, writers = np.full(600, answer), np.arange(600) // 20
        assert design_effect(read, writers) == 1
        low, high = clustered_interval(read, writers)
        assert (high == 1) if answer else (low == 0)
        assert 0.97 < low < 1 or not answer

    @pytest.mark.parametrize(
        ("read", "writers", "complaint"),
        [
            ([True, False], [1], r"\(2,\) answers do not fit \(1,\) writers"),
            ([[True]], [[1]], r"both are \(n,\)"),
            ([True, False], [3, 3], "Two writers at least"),
            ([], [], "Two writers at least"),
            ([0.5, 1], [1, 2], "right or wrong"),
        ],
    )
    def test_refuses_what_does_not_fit(self, read: Any, writers: Any, complaint: str) -> None:
        for measure in (design_effect, clustered_interval):
            with pytest.raises(ValueError, match=complaint):
                measure(read, writers)


class TestLoadRecord:
    def test_reads_the_checkouts_record(self) -> None:
        paths = {path.stem: path for path in RESULTS.glob("*.json")}
        assert "articles" in paths
        for name, path in paths.items():
            assert load_record(name) == json.loads(path.read_text())

    def test_the_wheels_record_comes_first(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "benchmarks" / "results").mkdir(parents=True)
        (tmp_path / "benchmarks" / "results" / "articles.json").write_text('{"from": "wheel"}')
        monkeypatch.setattr(records.resources, "files", lambda _: tmp_path)
        assert load_record("articles") == {"from": "wheel"}

    @pytest.fixture
    def own(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """Return a folder of records in the current one, with one of the reader's own."""
        monkeypatch.chdir(tmp_path)
        (tmp_path / "results").mkdir()
        record = json.loads((RESULTS / "step.json").read_text()) | {"hardware": "mine"}
        (tmp_path / "results" / "step.json").write_text(json.dumps(record))
        return tmp_path / "results"

    @pytest.mark.usefixtures("own")
    def test_what_the_reader_has_measured_comes_before_all(self) -> None:
        assert load_record("step")["hardware"] == "mine"
        assert load_record("speed")["hardware"] != "mine"

    @pytest.mark.parametrize(
        "spoil",
        [
            lambda record: record["results"].pop("compile"),
            lambda record: record.pop("hardware"),
            lambda record: record.update(results=[]),
            lambda record: record.update(command="another program's"),
            lambda record: record.update(command=3),
            lambda record: record.clear(),
        ],
    )
    def test_but_not_if_a_chapter_would_miss_something(
        self, spoil: Callable[[dict[str, Any]], object], own: Path
    ) -> None:
        record = json.loads((own / "step.json").read_text())
        spoil(record)
        (own / "step.json").write_text(json.dumps(record))
        assert load_record("step") == json.loads((RESULTS / "step.json").read_text())

    @pytest.mark.parametrize("content", [b"", b"[]", b"3", b"{", b"\xff\xfe", b"null"])
    def test_nor_if_it_is_no_record(self, content: bytes, own: Path) -> None:
        (own / "step.json").write_bytes(content)
        assert load_record("step")["hardware"] != "mine"

    def test_a_gpus_record_stands_beside_the_processors(self, own: Path) -> None:
        assert [record["hardware"] for record in load_records("step")] == ["mine"]
        record = json.loads((own / "step.json").read_text()) | {"hardware": "my GPU"}
        (own / "step_cuda.json").write_text(json.dumps(record))
        assert [found["hardware"] for found in load_records("step")] == ["mine", "my GPU"]

    def test_an_unknown_name_is_a_sentence(self) -> None:
        with pytest.raises(FileNotFoundError, match=r"no recorded result called 'nothing'\.$"):
            load_record("nothing")


def summaries_in(part: Any) -> Iterator[dict[str, Any]]:
    """Yield what `summarise` returned, wherever in a record it stands."""
    if isinstance(part, dict):
        if {"mean", "std", "low", "high", "n", "values"} <= part.keys():
            yield part
        part = list(part.values())
    for inside in part if isinstance(part, list) else []:
        yield from summaries_in(inside)


@pytest.mark.parametrize("name", sorted(path.stem for path in RESULTS.glob("*.json")))
def test_a_recorded_summary_is_that_of_the_values_beside_it(name: str) -> None:
    """To 3 in 10,000 of the interval: quantiles of three digits were taken for the older ones."""
    for entry in summaries_in(load_record(name)):
        again = summarise(entry["values"])
        assert entry["n"] == again["n"]
        if again["std"] is None:
            assert entry["std"] is entry["low"] is entry["high"] is None
            continue
        allowed = 3e-6 + 3e-4 * (again["high"] - again["mean"])
        for key in ("mean", "std"):
            assert entry[key] == pytest.approx(again[key], abs=3e-6), entry
        for key in ("low", "high"):
            assert entry[key] == pytest.approx(again[key], abs=allowed), entry


class TestTheLedger:
    looks = load_record("ledger")

    def test_each_line_says_what_was_trained_how_and_when(self) -> None:
        for look in self.looks:
            needs = {"recipe", "fingerprint", "commit", "seed", "data", "accuracy"}
            assert (
                needs | {"date", "command"} <= look.keys() <= needs | {"date", "command", "remark"}
            )
            assert 0 <= look["accuracy"] <= 1
            assert re.fullmatch("[0-9a-f]{12}", look["fingerprint"])
            assert re.fullmatch("[0-9a-f]{12}[+]?", look["commit"])

    def test_nothing_is_scored_twice_without_a_reason(self) -> None:
        met = set()
        for look in self.looks:
            same = look["fingerprint"], look["seed"], look["data"]
            assert same not in met or look.get("remark"), look
            met.add(same)

    def test_has_a_line_for_every_test_score_in_the_records(self) -> None:
        results = {name: load_record(name)["results"] for name in ("articles", "presets", "speed")}
        scores = {
            f"{name} {form}": entry["accuracy"]["values"]
            for name, forms in results["articles"].items()
            for form, entry in forms.items()
        }
        printed = results["articles"]["article_000"]["as_printed"]
        scores["article_000 as_printed, eval mode"] = printed["accuracy_with_eval"]["values"]
        for kind, rows in (("preset", results["presets"]), ("speed", results["speed"])):
            for name, row in rows.items():
                scores[f"{kind} {name}"] = row.get("accuracy", {"values": []})["values"]
        ensemble = load_record("ensemble")["results"]
        for size, accuracy in enumerate(ensemble["accuracy_by_size"], start=1):
            scores[f"ensemble of {size} x best" if size > 1 else "preset best"] = [accuracy]
        members = dict(enumerate(ensemble["member_accuracy"]["values"]))
        prints: dict[str, set[str]] = {}  # one recipe may be known by two names
        for look in self.looks:
            prints.setdefault(look["recipe"], set()).add(look["fingerprint"])
        looked = [(look["fingerprint"], look["seed"], look["accuracy"]) for look in self.looks]
        wanted = [(name, *score) for name in scores for score in enumerate(scores[name])]
        wanted += [("preset best", *score) for score in members.items()]
        for recipe, seed, accuracy in wanted:
            like = prints.get(recipe, set())
            found = [value for print_, run, value in looked if print_ in like and run == seed]
            assert any(math.isclose(value, accuracy, abs_tol=1e-6) for value in found), recipe
