"""Records and the statistics beside them, compared with SciPy's."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from mnist_lab.lessons import records
from mnist_lab.lessons.records import load_record, summarise, wilson_interval


class TestSummarise:
    @pytest.mark.parametrize("n", [2, 3, 5, 8, 11])
    def test_interval_is_students(self, n: int) -> None:
        values = np.random.default_rng(n).normal(0.99, 0.01, n)
        found = summarise(list(values))
        low, high = stats.t.interval(0.95, n - 1, values.mean(), stats.sem(values))
        assert found["mean"] == pytest.approx(values.mean(), abs=1e-6)
        assert found["std"] == pytest.approx(values.std(ddof=1), abs=1e-6)
        assert (found["low"], found["high"]) == pytest.approx((low, high), abs=1e-5)
        assert found["n"] == n
        assert found["values"] == pytest.approx(values, abs=1e-6)

    def test_many_values_get_an_interval_that_is_never_too_narrow(self) -> None:
        values = list(np.random.default_rng(0).normal(size=40))
        low, high = stats.t.interval(0.95, 39, np.mean(values), stats.sem(values))
        found = summarise(values)
        assert found["low"] <= low
        assert found["high"] >= high
        assert found["high"] - found["low"] < 1.12 * (high - low)

    def test_one_value_has_no_spread(self) -> None:
        found = summarise([0.5])
        assert (found["mean"], found["n"]) == (0.5, 1)
        assert found["std"] is found["low"] is found["high"] is None
        json.dumps(found, allow_nan=False)

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
        assert (low, high) == pytest.approx((expected.low, expected.high), abs=2e-5)
        assert 0 <= low <= correct / count <= high <= 1

    def test_at_99_6_percent_of_10_000_one_standard_error_is_0_06_points(self) -> None:
        low, high = wilson_interval(9_960, 10_000)
        assert (high - low) / 2 / 1.96 == pytest.approx(0.0006, abs=0.0001)

    @pytest.mark.parametrize(("correct", "count"), [(-1, 5), (6, 5), (0, 0)])
    def test_refuses_what_is_no_share(self, correct: int, count: int) -> None:
        with pytest.raises(ValueError, match=rf"^{correct} of {count} is no share\.$"):
            wilson_interval(correct, count)


class TestLoadRecord:
    def test_reads_the_checkouts_record(self) -> None:
        folder = Path(__file__).parents[2] / "benchmarks" / "results"
        names = [path.stem for path in folder.glob("*.json")]
        assert "articles" in names
        for name in names:
            assert load_record(name) == json.loads((folder / f"{name}.json").read_text())

    def test_the_wheels_record_comes_first(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "results").mkdir()
        (tmp_path / "results" / "articles.json").write_text('{"from": "wheel"}')
        monkeypatch.setattr(records.resources, "files", lambda _: tmp_path)
        assert load_record("articles") == {"from": "wheel"}

    def test_an_unknown_name_is_a_sentence(self) -> None:
        with pytest.raises(FileNotFoundError, match=r"no recorded result called 'nothing'\.$"):
            load_record("nothing")


def test_the_ledger_has_a_line_for_every_published_test_score() -> None:
    """Each accuracy that the articles' record holds was one look at the test set."""
    looks = load_record("ledger")
    assert all(
        set(look) >= {"recipe", "seed", "accuracy", "date", "command"}
        and 0 <= look["accuracy"] <= 1
        for look in looks
    )
    record = load_record("articles")
    for name, forms in record["results"].items():
        for form, entry in forms.items():
            for seed, accuracy in enumerate(entry["accuracy"]["values"]):
                found = [
                    look["accuracy"]
                    for look in looks
                    if (look["recipe"], look["seed"]) == (f"{name} {form}", seed)
                ]
                assert any(math.isclose(value, accuracy, abs_tol=1e-6) for value in found)
