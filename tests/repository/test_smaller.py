"""The benchmark of smaller networks: how a rate is found, what is rounded, what is recorded."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

import pytest

from benchmarks import smaller
from benchmarks.recording import Record
from mnist_lab.few_bits import quantise_network
from mnist_lab.lessons.records import load_record
from mnist_lab.models.registry import build_model


@pytest.fixture
def record(tmp_path: Path) -> Record:
    return Record("smaller", argparse.Namespace(results=tmp_path))


class TestClimbing:
    @pytest.mark.parametrize("first", [0.0025, 0.02, 0.16])
    def test_it_ends_where_both_neighbours_are_worse(self, record: Record, first: float) -> None:
        tried: list[float] = []

        def score(rate: float) -> float:
            tried.append(rate)
            return -abs(math.log2(rate / 0.02))

        entry: dict[str, Any] = {}
        assert smaller.climb(record, entry, first, score) == pytest.approx(0.02)
        assert {"0.01", "0.02", "0.04"} <= entry["rates"].keys()
        assert len(tried) == len(set(tried))

    def test_what_was_tried_is_not_tried_again(self, record: Record) -> None:
        entry = {"rates": {"0.01": 0.5, "0.005": 0.4, "0.02": 0.3}}

        def never(rate: float) -> float:
            raise AssertionError(f"{rate} was tried again")

        assert smaller.climb(record, entry, 0.01, never) == 0.01

    def test_the_recorded_rates_are_not_at_an_edge(self) -> None:
        results = load_record("smaller")["results"]
        parts = ("aware", "pruned", "narrowed", "factors", "table", "taught")
        entries = [entry for part in parts for entry in results.get(part, {}).values()]
        for entry in [entry for entry in entries if "accuracy" in entry]:
            rates = sorted(map(float, entry["rates"]))
            assert rates[0] < entry["learning_rate"] < rates[-1]


def test_plain_rounding_takes_the_largest_weight_as_it_is() -> None:
    model = build_model("linear", seed=0)
    weights = model.get_parameter("output.weight").detach()
    for one_scale in (False, True):
        rounded = smaller.round_plainly(model, 3, one_scale=one_scale)
        found = rounded.get_parameter("output.weight").detach()
        largest = weights.abs().amax() if one_scale else weights.abs().amax(1, keepdim=True)
        levels = found / largest * 3
        assert (levels - levels.round()).abs().max() < 1e-5
        assert levels.abs().max() == 3
    rows = [
        (found - weights).square().sum()
        for found in (
            smaller.round_plainly(model, 2).get_parameter("output.weight"),
            quantise_network(model, 2).get_parameter("output.weight"),
        )
    ]
    assert rows[1] < 0.7 * rows[0]  # what the least error is for


def test_every_change_of_the_pages_network_is_recorded_at_once() -> None:
    results = load_record("smaller")["results"]
    for part, variants in smaller.CHANGES.items():
        assert {name for name in results[part] if "at_once" in results[part][name]} == set(variants)
