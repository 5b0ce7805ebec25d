"""The network that the pages read with, as built, on digits that are not as MNIST has them.

Its table goes into the log. Each row has a floor; where augmentation is what helps, a network that
was trained without it lies below (`test_robustness` holds that of the record).
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks import robustness
from mnist_lab.data.corruptions import CORRUPTIONS
from tests.browsing import cannot_test

pytestmark = pytest.mark.site

BUILT = Path(__file__).parents[2] / "_build" / "recogniser"
FLOORS = {  # of what the network reads
    "as they are": 0.99,
    "shift": 0.975,
    "smaller": 0.965,
    "larger": 0.985,
    "turn": 0.96,
    "slant": 0.977,
    "narrow": 0.96,
    "flat": 0.945,
    "fill": 0.98,
    "thin": 0.955,
    "thick": 0.963,
    "elastic": 0.975,
    "noise": 0.965,
    "blur": 0.95,
    "faint": 0.98,
    "binary": 0.98,
    "binary_fill": 0.975,
    "UCI": 0.955,
    "UCI, binary": 0.925,
}
# Rows in which a network that was trained without augmentation stays below the floor.
HELPED = {
    *("shift", "smaller", "larger", "flat", "fill", "thin", "noise", "blur", "faint"),
    *("binary_fill", "UCI", "UCI, binary"),
}


@pytest.fixture(scope="module")
def table(request: pytest.FixtureRequest) -> dict[str, float]:
    """The built network's accuracy in every row; printed, so that a log shows it."""
    if not (BUILT / "model.json").is_file():
        cannot_test("The pages' network is not built: run make book first.")
    found = robustness.check(BUILT)
    capture = request.config.pluginmanager.getplugin("capturemanager")
    assert capture is not None
    with capture.global_and_fixture_disabled():
        sys.stdout.write(f"\n{robustness.draw_table({'pages': found, 'floor': FLOORS})}\n")
    return found


class TestTheBuiltNetwork:
    @pytest.mark.parametrize("row", list(FLOORS))
    def test_reads_each_row(self, row: str, table: dict[str, float]) -> None:
        assert table[row] >= FLOORS[row]

    def test_every_row_has_its_floor(self, table: dict[str, float]) -> None:
        assert set(table) == set(FLOORS)
        assert set(CORRUPTIONS) < set(FLOORS)
