"""The benchmarks' own code: a measurement that does not do what it says is worse than none."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import ensemble, presets, speed, step, trials
from mnist_lab.datasets import DigitSet
from mnist_lab.models import count_parameters
from mnist_lab.recipes import PRESETS
from mnist_lab.training import TrainConfig

Sets = tuple[DigitSet, DigitSet]


@pytest.fixture
def few(small_sets: Sets) -> DigitSet:
    return small_sets[0].subset(np.arange(300))


class TestPresets:
    def recorded(self, name: str) -> dict[str, Any]:
        described: dict[str, Any] = json.loads(json.dumps(asdict(PRESETS[name])))
        return described

    def test_a_record_of_the_recipe_is_known_again(self) -> None:
        assert presets.is_recipe(self.recorded("best"), PRESETS["best"])
        assert not presets.is_recipe(self.recorded("best"), PRESETS["standard"])
        assert not presets.is_recipe(None, PRESETS["best"])

    def test_settings_that_came_after_the_record_had_their_default(self) -> None:
        old = self.recorded("best")
        del old["config"]["precision"]
        assert presets.is_recipe(old, PRESETS["best"])
        changed = replace(PRESETS["best"].config, precision="bfloat16")
        assert not presets.is_recipe(old, replace(PRESETS["best"], config=changed))


class TestSpeed:
    @pytest.mark.parametrize("name", list(speed.RUNGS))
    def test_each_recipe_trains_a_network_that_reads_its_digits(
        self, name: str, few: DigitSet, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(speed, "USUAL_EPOCHS", 1)
        before = torch.random.get_rng_state()
        model, seconds = speed.RUNGS[name].train(few, 0, "cpu")
        assert 0 < seconds < 60
        images = torch.from_numpy(few.images[:5]).unsqueeze(1).float()
        with torch.no_grad():
            assert model.eval()(images).shape == (5, 10)
        assert torch.equal(before, torch.random.get_rng_state())

    def test_what_is_published_and_nothing_else_is_scored_on_the_test_set(self) -> None:
        published = {name for name, rung in speed.RUNGS.items() if rung.published}
        assert published == {"usual", "fast", "fast_bfloat16", "one_pass"}

    def test_the_public_recipes_network_has_its_size(self) -> None:
        weights = (24 * 25 + 24) + (32 * 24 * 9 + 32) + (800 * 256 + 256) + (256 * 10 + 10)
        assert count_parameters(speed.OnePassNet()) == weights

    def test_serves_digits_as_torchvision_does(self, few: DigitSet) -> None:
        image, label = speed.OneByOne(few)[7]
        expected = (torch.from_numpy(few.images[7]).float() / 255 - 0.1307) / 0.3081
        assert torch.allclose(image[0], expected, atol=1e-5)
        assert label == few.labels[7]

    def test_ratios_are_of_medians(self) -> None:
        seconds = {"fast": 1.0, "fast_bfloat16": 0.5, "one_pass": 4.0, "usual": 200.0}
        found = speed.ratios({name: {"seconds": {"median": s}} for name, s in seconds.items()})
        assert found == {
            "fast_to_one_pass": 0.25,
            "fast_bfloat16_to_one_pass": 0.125,
            "usual_to_fast": 200.0,
        }


class TestStep:
    @pytest.mark.parametrize(
        ("name", "kind"),
        [
            ("aten::convolution_backward", "convolution, backward"),
            ("aten::mkldnn_convolution", "convolution, forward"),
            ("aten::max_pool2d_with_indices_backward", "pooling"),
            ("aten::native_batch_norm_backward", "batch norm"),
            ("aten::threshold_backward", "ReLU"),
            ("Optimizer.step#AdamW.step", "optimiser"),
            ("aten::_fused_adamw_", "optimiser"),
            ("aten::index_select", "gather and normalise"),
            ("aten::addmm", "linear layer and loss"),
            ("aten::something_new", step.REST),
        ],
    )
    def test_sorts_operations_into_parts_of_the_step(self, name: str, kind: str) -> None:
        assert step.kind_of(name) == kind

    def test_the_last_digits_of_an_epoch_are_followed_by_the_first_of_the_next(
        self, few: DigitSet
    ) -> None:
        batches = step.Batches(few, 128, shuffle=True)
        model = step.build_model("mlp", hidden=8)
        stepping = step.steps(model, batches, TrainConfig())
        assert [len(next(stepping)[1]) for _ in range(4)] == [128, 128, 44, 128]


class TestTrials:
    @pytest.mark.parametrize("network", [trials.FrozenStem, trials.Strided, trials.EarlyPool])
    def test_its_networks_return_logits(self, network: type[torch.nn.Module]) -> None:
        assert network()(torch.zeros(3, 1, 28, 28)).shape == (3, 10)

    def test_each_changes_one_thing(self) -> None:
        for name, trial in trials.TRIALS.items():
            assert not (trial.changes and (trial.model != "small_cnn" or trial.arguments)), name
            replace(trials.FAST.config, **trial.changes)


class TestEnsemble:
    def test_counts_its_members_equally(self, few: DigitSet) -> None:
        class Says(torch.nn.Module):
            def __init__(self, digit: int, how_sure: float) -> None:
                super().__init__()
                self.logits = torch.zeros(10)
                self.logits[digit] = how_sure

            def forward(self, images: torch.Tensor) -> torch.Tensor:
                return self.logits.expand(len(images), 10)

        zeros = replace(few, labels=np.zeros(len(few), dtype=np.int64))
        members: list[torch.nn.Module] = [Says(1, 3.0), Says(0, 2.0), Says(0, 2.0)]
        assert ensemble.accuracy_by_size(members, zeros, "best") == [0.0, 0.0, 1.0]
