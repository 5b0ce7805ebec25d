"""How fast each part learns: the optimizer steps at the rates it was given, the pull is one."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from mnist_lab.data.digit_set import DigitSet
from mnist_lab.finetuning.freezing import freeze, list_stages
from mnist_lab.finetuning.rates import PullTowardsStart, layerwise_groups
from mnist_lab.models.registry import build_model
from mnist_lab.training.batches import Batches
from mnist_lab.training.config import TrainConfig
from mnist_lab.training.loop import start_training, train_epoch, train_step
from mnist_lab.training.schedules import learning_rate_at
from tests.finetuning.comparing import HARSH, changed, state_of, train


@pytest.fixture
def digits(small_sets: tuple[DigitSet, DigitSet]) -> DigitSet:
    return small_sets[0].subset(np.arange(96))


class TestLayerwiseRates:
    @pytest.mark.parametrize("name", ["small_cnn", "resnet", "vit"])
    def test_each_stage_learns_decay_times_as_fast_as_the_next(self, name: str) -> None:
        model = build_model(name)
        groups = layerwise_groups(model, HARSH, 0.5)
        scales = {id(p): group["rate_scale"] for group in groups for p in group["params"]}
        stages = list_stages(model)
        assert len(scales) == len(list(model.parameters()))
        for distance, stage in enumerate(reversed(stages)):
            for key, parameter in model.named_parameters():
                if any(f"{key}.".startswith(f"{part}.") for part in stage):
                    assert scales[id(parameter)] == 0.5**distance

    def test_the_optimizer_steps_at_these_rates(self, digits: DigitSet) -> None:
        """SGD without momentum moves each weight by its rate times its gradient."""
        config = TrainConfig(
            epochs=1, batch_size=96, optimizer="sgd", momentum=0, schedule="constant",
            learning_rate=0.1,
        )  # fmt: skip
        model = build_model("small_cnn")
        reference = copy.deepcopy(model)
        rates = {"output": 0.1, "conv3": 0.05, "conv2": 0.025, "conv1": 0.0125}
        groups = layerwise_groups(model, config, 0.5)
        train_epoch(start_training(model, digits, config, groups=groups))
        still = start_training(reference, digits, config)
        still.optimizer.param_groups[0]["lr"] = still.optimizer.param_groups[1]["lr"] = 0.0
        train_step(still, next(iter(Batches(digits, 96))))
        for name, rate in rates.items():
            start, now = (m.get_parameter(f"{name}.weight") for m in (reference, model))
            assert start.grad is not None
            torch.testing.assert_close(now, start - rate * start.grad, rtol=0, atol=1e-6)

    def test_a_parameter_that_no_group_holds(self, digits: DigitSet) -> None:
        model = build_model("small_cnn")
        groups = layerwise_groups(model, HARSH, 0.5)[2:]
        with pytest.raises(ValueError, match=r"output.weight is not frozen, but no group"):
            train(model, digits, HARSH, 1, groups=groups)

    @pytest.mark.parametrize("decay", [0, -1, 1.1, float("nan")])
    def test_a_decay_out_of_range(self, decay: float) -> None:
        with pytest.raises(ValueError, match="above 0 and at most 1"):
            layerwise_groups(build_model("small_cnn"), HARSH, decay)


class TestPullTowardsStart:
    def distance(self, strength: float | None, digits: DigitSet) -> float:
        model = build_model("small_cnn")
        start = state_of(model)
        pull = None if strength is None else PullTowardsStart(model, strength, HARSH)
        train(model, digits, HARSH, 20, before_step=pull)
        return sum(
            float((p.detach() - start[name]).square().sum())
            for name, p in model.named_parameters()
            if not name.startswith("output.")
        )

    def test_it_goes_rate_times_strength_of_the_way_back(self) -> None:
        config = replace(HARSH, learning_rate=0.1, schedule="constant")
        model = build_model("small_cnn")
        pull = PullTowardsStart(model, 2.0, config)
        with torch.no_grad():
            model.get_parameter("conv1.weight")[0, 0, 0, :2] += 3
            model.get_parameter("output.weight").zero_()  # a head has no start
        start, before = build_model("small_cnn").state_dict(), state_of(model)
        pull(5, 20)
        assert changed(before, model) == {"conv1.weight"}
        moved = model.get_parameter("conv1.weight") - start["conv1.weight"]
        assert moved[0, 0, 0].tolist() == pytest.approx([2.4, 2.4, 0, 0, 0], abs=1e-6)

    def test_its_share_follows_the_schedule(self) -> None:
        pull = PullTowardsStart(build_model("linear"), 4.0, HARSH)
        for step in (0, 5, 19):
            now = torch.nn.Parameter(torch.ones(1))
            pull.pairs = [(now, torch.zeros(1))]
            pull(step, 20)
            assert now.item() == pytest.approx(1 - 4 * learning_rate_at(step, 20, HARSH))

    def test_it_keeps_the_weights_near(self, digits: DigitSet) -> None:
        free, weak, strong = (self.distance(s, digits) for s in (None, 1.0, 20.0))
        assert self.distance(0.0, digits) == pytest.approx(free)
        assert strong < weak < free
        assert strong < free / 4

    def test_what_is_frozen_stays(self) -> None:
        model = build_model("small_cnn")
        pull = PullTowardsStart(model, 1.0, HARSH)
        with torch.no_grad():
            model.get_parameter("conv1.weight").add_(1)
        freeze(model)
        before = state_of(model)
        pull(0, 1)
        assert not changed(before, model)

    @pytest.mark.parametrize("strength", [-1, 21, float("nan")])
    def test_a_strength_out_of_range(self, strength: float) -> None:
        with pytest.raises(ValueError, match=r"0 or more and at most 1/0\.05"):
            PullTowardsStart(build_model("linear"), strength, HARSH)


class TestPenalty:
    def test_it_is_no_part_of_the_loss_that_is_told(self, digits: DigitSet) -> None:
        losses = []
        batch = next(iter(Batches(digits, 96)))
        for penalty in (None, lambda: torch.tensor(1000.0)):
            state = start_training(build_model("small_cnn"), digits, HARSH, penalty=penalty)
            losses.append(float(train_step(state, batch)[0]))
        assert losses[0] == losses[1]
