"""The benchmarks' own code: a measurement that does not do what it says is worse than none."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import (
    backbone,
    ensemble,
    finetuning,
    masked_pretraining,
    presets,
    recording,
    scaling,
    speed,
    step,
    trials,
)
from mnist_lab.data.digit_set import DigitSet
from mnist_lab.data.splits import keep_classes
from mnist_lab.finetuning.freezing import count_trainable
from mnist_lab.lessons.records import load_record
from mnist_lab.models.registry import build_model, count_parameters
from mnist_lab.training.batches import Batches
from mnist_lab.training.config import TrainConfig
from mnist_lab.training.recipes import PRESETS
from mnist_lab.training.scoring import evaluate

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


class TestBackbone:
    def test_every_method_lets_learn_what_its_name_says(self) -> None:
        learning, held = {}, {}
        for method in backbone.METHODS:
            model, groups = backbone.prepare(method, "efficientnet_lite0", TrainConfig())
            learning[method] = {n for n, p in model.named_parameters() if p.requires_grad}
            held[method] = count_trainable(model)
            assert (groups is not None) == (method == "layerwise")
        assert learning["head"] == {"output.weight", "output.bias"}
        assert learning["head"] < learning["top"] < learning["full"] == learning["layerwise"]
        assert not any(name.startswith("stem") for name in learning["top"])
        assert 0 < held["lora"] < held["full"] / 20

    def test_every_rival_in_the_record_tried_the_same_rates_and_took_the_best(self) -> None:
        record = load_record("backbone")
        for method, row in record["results"].items():
            if method not in backbone.METHODS:
                continue
            for count, entry in row["curve"].items():
                tried = row["search"][record["setting"]["searched_on"][count]]
                assert [float(rate) for rate in tried] == record["setting"]["rates"]
                assert entry["learning_rate"] == float(max(tried, key=tried.__getitem__))

    def test_lora_with_a_twentieth_of_the_numbers_is_within_a_point_of_training_all(self) -> None:
        record = load_record("backbone")
        full, lora = (record["results"][name] for name in ("full", "lora"))
        assert lora["trainable"] / full["parameters"] <= 0.05
        ours, theirs = (row["curve"]["5000"]["accuracy"] for row in (lora, full))
        assert ours["n"] == theirs["n"] >= 5
        assert record["setting"]["scored"]["5000"] >= 5_000
        assert ours["mean"] - theirs["mean"] >= -0.01


class TestRecording:
    def test_chooses_the_best_mean_and_of_equals_the_lowest_rate(self) -> None:
        tried = {"0.01": [0.9, 0.5], "0.001": [0.8, 0.8], "0.003": [0.8, 0.8], "0.1": [0.2, 0.95]}
        assert recording.choose_rate(tried) == 0.001

    def test_what_was_measured_otherwise_is_not_kept(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(recording, "RESULTS", tmp_path)
        first = recording.Record("trial", {"steps": (1, 2)}, "command", "cpu")
        first.results["a"] = 1
        first.save()
        again = recording.Record("trial", {"steps": (1, 2)}, "command", "cpu")
        assert again.results == {"a": 1}
        assert recording.Record("trial", {"steps": (1, 3)}, "command", "cpu").results == {}


class TestFinetuning:
    def test_the_parts_of_a_task_have_no_digit_in_common(self) -> None:
        task = finetuning.make_task("nines")
        parts = (task.pool, task.choose, task.report, task.old)
        images = [{image.tobytes() for image in part.images} for part in parts]
        assert task.pool.class_names == ("5", "6", "7", "8", "9")
        for place, one in enumerate(images):
            assert not any(one & other for other in images[place + 1 :])

    @pytest.mark.parametrize("method", [*finetuning.MAIN, *finetuning.OPTIONS])
    def test_every_way_gives_a_network_for_the_new_digits(self, method: str, few: DigitSet) -> None:
        base = build_model("small_cnn", seed=0, classes=5)
        before = {name: tensor.clone() for name, tensor in base.state_dict().items()}
        digits = keep_classes(few, "567").subset(slice(0, 20))
        model = finetuning.adapt(base, method, digits, 0.01, 8, 0, True, "cpu")
        assert evaluate(model, Batches(digits)).count == len(digits)
        assert all(torch.equal(before[name], now) for name, now in base.state_dict().items())
        same = torch.equal(model.get_parameter("conv1.weight"), before["conv1.weight"])
        assert same == (method == "head")

    def test_a_larger_head_begins_with_the_old_one(self) -> None:
        base = build_model("small_cnn", seed=0, classes=5)
        extended = finetuning.extend_head(base, 10, 1)
        weight, old = extended.get_parameter("output.weight"), base.get_parameter("output.weight")
        assert weight.shape == (10, 576)
        assert torch.equal(weight[:5], old)

    def test_record_fine_tunes_better_with_two_labels_and_closes_the_gap(self) -> None:
        record = load_record("finetuning")
        results, rates = record["results"]["nines"], record["setting"]["rates"]
        mean = {
            way: {count: row["accuracy"]["mean"] for count, row in results[way].items()}
            for way in finetuning.MAIN
        }
        for way in ("full", "head", "gradual"):
            assert mean[way]["2"] - mean["scratch"]["2"] >= 0.05
        assert abs(mean["full"]["1000"] - mean["scratch"]["1000"]) < 0.005
        for way, rows in results.items():
            for row in rows.values() if way != "before" else ():
                assert row["accuracy"]["n"] >= 10
                assert list(row["search"]) == [str(rate) for rate in rates]  # the same for all
                assert row["learning_rate"] == recording.choose_rate(row["search"])


class TestMaskedPretraining:
    def test_rivals_start_where_they_should_and_leave_the_encoder_as_it_was(
        self, few: DigitSet
    ) -> None:
        start = build_model("vit", seed=7)
        before = {name: tensor.clone() for name, tensor in start.state_dict().items()}
        adapted = {
            method: masked_pretraining.adapt(method, few.subset(slice(0, 20)), 0.01, 2, 3, start)
            for method in masked_pretraining.METHODS
        }
        for name, tensor in start.state_dict().items():
            assert torch.equal(tensor, before[name])
            if not name.startswith("output."):
                assert torch.equal(adapted["head"].state_dict()[name], before[name])
        moved = adapted["pretrained"].state_dict()["positions"] - before["positions"]
        assert 0 < float(moved.abs().max()) < 0.1
        fresh = build_model("vit", seed=3).state_dict()["positions"]
        scratch = adapted["scratch"].state_dict()["positions"]
        assert 0 < float((scratch - fresh).abs().max()) < 0.1
        assert type(adapted["cnn"]).__name__ == "SmallCNN"

    def test_the_record_says_what_the_chapter_says(self) -> None:
        record = load_record("masked_pretraining")
        assert record["process_seconds"] > 0
        labels = record["results"]["labels"]
        for method in masked_pretraining.METHODS:
            for count in ("1", "10", "100"):
                entry = labels[method][count]
                assert entry["accuracy"]["n"] >= 5
                assert {float(rate) for rate in entry["search"]} == set(masked_pretraining.RATES)
        pretrained, scratch = (labels[m]["10"]["accuracy"] for m in ("pretrained", "scratch"))
        pairs = zip(pretrained["values"], scratch["values"], strict=True)
        assert all(ours > theirs for ours, theirs in pairs)  # on every draw of 100 labels
        assert pretrained["mean"] - scratch["mean"] > pretrained["std"] + scratch["std"]


class TestScaling:
    def test_takes_the_same_steps_with_few_digits_as_with_many(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        met: list[int] = []

        def step(model: Any, optimizer: Any, patches: torch.Tensor, *rest: Any) -> torch.Tensor:
            met.append(len(patches))
            return torch.zeros(())

        monkeypatch.setattr("mnist_lab.finetuning.masked.masked_step", step)
        for digits in (128, 1_000, 55_000):
            met.clear()
            assert len(scaling.losses_on_the_way(digits, 16, 0, "cpu", 20)) == scaling.SCORES
            assert len(met) == 20

    def test_the_record_falls_with_digits_and_with_width(self) -> None:
        results = load_record("scaling")["results"]
        assert min(results["longer"]["96"]) < min(results["longer"]["64"])
        for series in ("digits", "widths"):
            means = [entry["loss"]["mean"] for entry in results[series].values()]
            assert len(means) >= 4
            falling = means[:4]  # the widest has too few steps to be better, as the chapter says
            assert falling == sorted(falling, reverse=True)
