"""Alarms: as often as promised where nothing has changed, soon where something has."""

from __future__ import annotations

import numpy as np
import pytest

from mnist_lab.serving.watching import Cusum, find_alarms, limit_for


def test_the_sum_by_hand() -> None:
    watch = Cusum(1.0, 0.5, limit=3.0, slack=0.5)
    sums = []
    for value in (1.0, 0.5, 0.0, 2.0, 0.0):
        assert not watch.add(value)
        sums.append(watch.sum)
    assert sums == [0.0, 0.5, 2.0, 0.0, 1.5]
    assert not watch.add(0.0)  # 3.0: at the limit, and not beyond it
    assert watch.add(0.5)
    assert (watch.count, watch.sum) == (7, 0.0)


def test_the_limit_is_passed_as_often_as_it_says() -> None:
    draw = np.random.default_rng(1)
    usual = 1 - draw.exponential(0.05, 5_000)
    limit = limit_for(usual, 500, chance=0.1)
    mean, deviation = float(usual.mean()), float(usual.std())
    alarms = [
        bool(find_alarms(draw.choice(usual, 500), Cusum(mean, deviation, limit=limit)))
        for _ in range(600)
    ]
    assert np.mean(alarms) == pytest.approx(0.1, abs=0.04)


def test_a_fall_is_noticed_soon_and_a_single_low_number_is_not() -> None:
    draw = np.random.default_rng(2)
    usual = draw.normal(0, 1, 5_000)
    limit = limit_for(usual, 1_000)
    delays = []
    for _ in range(50):
        stream = np.concatenate([draw.normal(0, 1, 200), draw.normal(-1, 1, 300)])
        alarms = [place for place in find_alarms(stream, Cusum(0, 1, limit=limit)) if place >= 200]
        delays.append(alarms[0] - 200)
    assert np.median(delays) < 40
    assert not find_alarms(np.array([0.0] * 50 + [-5.0] + [0.0] * 50), Cusum(0, 1, limit=limit))


def test_numbers_that_are_all_alike() -> None:
    with pytest.raises(ValueError, match="must differ"):
        limit_for(np.ones(100), 10)
    with pytest.raises(ValueError, match="above 0"):
        Cusum(1.0, 0.0, limit=1.0)
