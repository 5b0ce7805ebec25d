"""The record of training in the page keeps to what the page promises: seconds and frames."""

from __future__ import annotations

import pytest

from mnist_lab.lessons import load_record

RESULTS = load_record("page_training")["results"]


def test_the_cnn_reads_94_per_cent_within_ten_seconds() -> None:
    seconds = [run["seconds to 94%"] for run in RESULTS["CNN"]["seeds"]]
    assert len(seconds) >= 3
    assert all(second is not None and second < 10 for second in seconds)


@pytest.mark.parametrize("network", RESULTS)
def test_no_frame_takes_longer_than_50_milliseconds(network: str) -> None:
    for run in RESULTS[network]["seeds"]:
        assert run["frames"] > 0
        assert run["longest frame (ms)"] <= 50
