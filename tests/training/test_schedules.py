"""The learning rate: a pure function of the step."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest

from mnist_lab.training import loop
from mnist_lab.training.config import Schedule, TrainConfig
from mnist_lab.training.loop import (
    TrainState,
    train_step,
)
from mnist_lab.training.schedules import learning_rate_at
from tests.training.small_runs import (
    PLAIN,
    Sets,
    run,
)


class TestLearningRate:
    def test_constant_is_constant(self) -> None:
        config = TrainConfig(schedule="constant", learning_rate=0.3)
        assert {learning_rate_at(step, 50, config) for step in range(50)} == {0.3}

    def test_one_cycle_rises_on_a_line_to_its_peak_and_falls_to_nearly_0(self) -> None:
        config = TrainConfig(learning_rate=0.2, warm_up=0.25)
        rates = np.array([learning_rate_at(step, 1_000, config) for step in range(1_000)])
        assert rates.argmax() in (249, 250)
        assert rates.max() == pytest.approx(0.2, rel=1e-2)
        assert np.allclose(np.diff(rates[:250]), 0.2 / 250)  # a line
        assert (np.diff(rates[250:]) < 0).all()
        assert rates[625] == pytest.approx(0.1, rel=1e-2)  # the middle of the cosine
        assert 0 < rates[0] <= 0.2 / 250
        assert 0 < rates[-1] < 1e-5

    def test_without_warm_up_starts_at_the_peak(self) -> None:
        config = TrainConfig(learning_rate=1.0, warm_up=0.0)
        assert learning_rate_at(0, 1_000, config) == pytest.approx(1, abs=1e-5)

    def test_exponential_falls_by_one_factor_to_a_hundredth(self) -> None:
        config = TrainConfig(schedule="exponential", learning_rate=0.2)
        rates = np.array([learning_rate_at(step, 1_000, config) for step in range(1_000)])
        assert rates[[0, -1]] == pytest.approx([0.2, 0.002], rel=1e-2)
        assert np.allclose(rates[1:] / rates[:-1], 0.01 ** (1 / 1_000))

    def test_cosine_is_one_cycle_without_its_rise(self) -> None:
        cosine, one_cycle = TrainConfig(schedule="cosine"), TrainConfig(warm_up=0.0)
        for step in range(50):
            assert learning_rate_at(step, 50, cosine) == learning_rate_at(step, 50, one_cycle)

    def test_cyclic_touches_peak_and_tenth_as_often_as_asked(self) -> None:
        config = TrainConfig(schedule="cyclic", learning_rate=1.0, cycles=4)
        rates = np.array([learning_rate_at(step, 1_000, config) for step in range(1_000)])
        assert np.allclose(rates[125::250], 1.0, atol=0.01)
        assert np.allclose(rates[[0, 250, 500, 750, 999]], 0.1, atol=0.01)
        turns = np.abs(np.diff(rates)) < 0.9 / 125 - 1e-9  # elsewhere it is straight lines
        assert turns.sum() == 7

    def test_wsd_rises_stays_and_falls_on_lines(self) -> None:
        config = TrainConfig(schedule="wsd", learning_rate=0.2, warm_up=0.1, cool_down=0.25)
        rates = np.array([learning_rate_at(step, 1_000, config) for step in range(1_000)])
        assert np.allclose(np.diff(rates[:100]), 0.2 / 100)
        assert set(rates[100:750]) == {0.2}
        assert np.allclose(np.diff(rates[750:]), -0.2 / 250)
        assert 0 < rates[0] <= 0.2 / 100
        assert 0 < rates[-1] <= 0.2 / 250

    def test_wsd_without_rise_and_fall_is_constant(self) -> None:
        config = TrainConfig(schedule="wsd", warm_up=0.0, cool_down=0.0)
        assert {learning_rate_at(step, 9, config) for step in range(9)} == {0.01}

    def test_wsd_may_be_all_rise_and_fall(self) -> None:
        config = TrainConfig(schedule="wsd", learning_rate=1.0, warm_up=0.5, cool_down=0.5)
        rates = [learning_rate_at(step, 4, config) for step in range(4)]
        assert rates == pytest.approx([0.25, 0.75, 0.75, 0.25])

    @pytest.mark.parametrize("schedule", get_args(Schedule))
    @pytest.mark.parametrize("total", [1, 2, 3])
    def test_is_positive_in_the_shortest_run(self, total: int, schedule: Schedule) -> None:
        for step in range(total):
            config = TrainConfig(schedule=schedule)
            assert 0 < learning_rate_at(step, total, config) <= 0.01

    def test_depends_on_nothing_but_its_arguments(self) -> None:
        config = TrainConfig()
        forwards = [learning_rate_at(step, 9, config) for step in range(9)]
        backwards = [learning_rate_at(step, 9, config) for step in reversed(range(9))]
        assert forwards == backwards[::-1]

    def test_is_what_the_optimizer_gets_step_by_step(
        self, sets: Sets, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen: list[float] = []

        def spy(state: TrainState, *rest: Any) -> Any:
            seen.extend({group["lr"] for group in state.optimizer.param_groups})
            return train_step(state, *rest)

        monkeypatch.setattr(loop, "train_step", spy)
        result = run(sets, PLAIN, "linear")
        assert seen == [learning_rate_at(step, 10, PLAIN) for step in range(10)]
        assert [report.learning_rate for report in result.reports] == [seen[4], seen[9]]
