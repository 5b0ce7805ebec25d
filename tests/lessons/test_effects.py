"""What a cell shows of an effect: its record, its bound, and its own number where that is far."""

from __future__ import annotations

import pytest

from mnist_lab.lessons import collect_effects, effects, show_effect
from mnist_lab.lessons.records import load_record

RECORD = {
    "results": {
        "ch07 a gain": {"mean": 0.699, "std": 0.041, "n": 5},
        "ch07 a share": {"mean": 0.99304, "std": 0.0004, "n": 5},
        "ch07 a loss": {"mean": 2.3, "std": 0.0, "n": 5},
    }
}


@pytest.fixture(autouse=True)
def recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(effects, "load_record", lambda _: RECORD)


@pytest.mark.parametrize(
    ("name", "value", "bound", "unit", "line"),
    [
        (
            "ch07 a gain",
            0.65,
            {"above": 0.4},
            "points",
            "+69.9 ± 4.1 points (5 seeds)\n  asserted here: more than +40",
        ),
        (
            "ch07 a share",
            0.993,
            {"above": 0.985},
            "%",
            "99.30 ± 0.04 % (5 seeds)\n  asserted here: more than 98.5",
        ),
        (
            "ch07 a loss",
            2.3,
            {"below": 2.4},
            "nats",
            "2.3 ± 0.0 nats (5 seeds)\n  asserted here: less than 2.4",
        ),
    ],
)
def test_the_record_stands_beside_the_bound(
    capsys: pytest.CaptureFixture[str],
    name: str,
    value: float,
    bound: dict[str, float],
    unit: str,
    line: str,
) -> None:
    show_effect(name, value, **bound, unit=unit)
    assert capsys.readouterr().out == f"{name[5:]}\n  recorded: {line}\n"


def test_a_run_that_is_far_from_the_record_shows_its_own_number(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show_effect("ch07 a gain", 0.45, above=0.4)
    assert "this run" in capsys.readouterr().out
    show_effect("ch07 a gain", 0.55, above=0.4)  # within five standard deviations
    assert "this run" not in capsys.readouterr().out


@pytest.mark.parametrize(("value", "bound"), [(0.4, {"above": 0.4}), (0.5, {"below": 0.5})])
def test_a_bound_that_is_not_passed_is_an_error_that_tells_the_number(
    value: float, bound: dict[str, float]
) -> None:
    with pytest.raises(AssertionError, match=rf"\+{100 * value:.0f} points in this run"):
        show_effect("ch07 a gain", value, **bound)


def test_not_a_number_passes_no_bound() -> None:
    with pytest.raises(AssertionError, match="nan"):
        show_effect("ch07 a gain", float("nan"), above=0.4)


@pytest.mark.parametrize("bounds", [{}, {"above": 0.0, "below": 1.0}])
def test_an_effect_has_one_bound(bounds: dict[str, float]) -> None:
    with pytest.raises(TypeError, match="one bound"):
        show_effect("ch07 a gain", 0.5, **bounds)


def test_an_effect_that_was_not_recorded_says_how_to_record_it() -> None:
    with pytest.raises(KeyError, match=r"benchmarks\.chapters"):
        show_effect("ch07 something else", 0.5, above=0.4)


def test_a_benchmark_collects_and_nothing_is_asserted(capsys: pytest.CaptureFixture[str]) -> None:
    with collect_effects() as found:
        show_effect("ch07 a gain", 0.1, above=0.4)
        show_effect("ch99 not yet recorded", 0.2, below=0.1)
    assert found == {"ch07 a gain": 0.1, "ch99 not yet recorded": 0.2}
    assert capsys.readouterr().out == ""


def test_names_have_no_dot_since_pages_address_a_record_with_dots() -> None:
    assert [name for name in load_record("chapters")["results"] if "." in name] == []
