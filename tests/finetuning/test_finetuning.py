"""Fine-tuning: what is frozen stays to the last bit, the rest learns at the rate it was given."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mnist_lab.data.digit_set import DigitSet
from mnist_lab.data.splits import few_labels, keep_classes
from mnist_lab.finetuning.freezing import (
    count_trainable,
    freeze,
    list_stages,
    unfreeze,
    unfreeze_gradually,
)
from mnist_lab.finetuning.heads import load_pretrained, replace_head
from mnist_lab.finetuning.rates import PullTowardsStart, layerwise_groups, train_steps
from mnist_lab.models.registry import MODELS, build_model, count_parameters
from mnist_lab.training.batches import Batches
from mnist_lab.training.checkpoints import CheckpointError, ModelCard, save_checkpoint
from mnist_lab.training.config import TrainConfig
from mnist_lab.training.loop import start_training, train_epoch, train_step

HARSH = TrainConfig(batch_size=32, learning_rate=0.05, weight_decay=0.1)
STAGED = ("small_cnn", "resnet", "vit")


@pytest.fixture
def digits(small_sets: tuple[DigitSet, DigitSet]) -> DigitSet:
    return small_sets[0].subset(np.arange(96))


def state_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def changed(before: dict[str, Tensor], model: nn.Module) -> set[str]:
    """Return the names of all weights and statistics that are not what they were."""
    return {name for name, now in model.state_dict().items() if not torch.equal(now, before[name])}


def learning(model: nn.Module) -> set[str]:
    return {name for name, p in model.named_parameters() if p.requires_grad}


class TestReplaceHead:
    @pytest.mark.parametrize("name", ["linear", "mlp", "small_cnn", "resnet", "lstm", "vit"])
    def test_a_new_head_on_the_same_body(self, name: str) -> None:
        model = build_model(name, seed=1)
        before = state_of(model)
        adapted = replace_head(model, 5, seed=2)
        assert adapted.eval()(torch.zeros(3, 1, 28, 28)).shape == (3, 5)
        assert not changed(before, model)
        for key, tensor in adapted.state_dict().items():
            assert key.startswith("output.") or torch.equal(tensor, before[key])

    def test_the_copy_shares_nothing_with_the_old_network(self, digits: DigitSet) -> None:
        model = build_model("small_cnn")
        before = state_of(model)
        train_steps(replace_head(model, 10, seed=0), digits, HARSH, 3, device="cpu")
        assert not changed(before, model)

    def test_the_seed_alone_decides(self) -> None:
        model = build_model("small_cnn")
        torch.manual_seed(0)
        one = replace_head(model, 5, seed=3)
        torch.manual_seed(1)
        drawn = torch.get_rng_state()
        same = replace_head(model, 5, seed=3)
        assert torch.equal(drawn, torch.get_rng_state())
        other = replace_head(model, 5, seed=4)
        assert torch.equal(one.output.weight, same.output.weight)  # type: ignore[union-attr, arg-type]
        assert not torch.equal(one.output.weight, other.output.weight)  # type: ignore[union-attr, arg-type]

    def test_everything_in_the_copy_may_learn(self) -> None:
        model = build_model("small_cnn")
        freeze(model)
        assert count_trainable(replace_head(model, 10, seed=0)) == count_parameters(model)

    def test_no_head_to_replace(self) -> None:
        with pytest.raises(ValueError, match="Article002 has no linear layer called 'output'"):
            replace_head(build_model("article_002"), 5, seed=0)
        with pytest.raises(ValueError, match="at least 1 class, found 0"):
            replace_head(build_model("linear"), 0, seed=0)


class TestLoadPretrained:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        card = ModelCard("small_cnn", {"classes": 5}, class_names=tuple("01234"))
        save_checkpoint(tmp_path, build_model("small_cnn", seed=7, classes=5), card)
        return tmp_path

    def test_all_but_the_head(self, folder: Path) -> None:
        model = build_model("small_cnn", seed=1)
        before = state_of(model)
        card = load_pretrained(model, folder)
        pretrained = build_model("small_cnn", seed=7, classes=5).state_dict()
        for name, tensor in model.state_dict().items():
            expected = before if name.startswith("output.") else pretrained
            assert torch.equal(tensor, expected[name]), name
        assert card.class_names == tuple("01234")

    def test_the_head_too_if_asked(self, folder: Path) -> None:
        model = build_model("small_cnn", seed=1, classes=5)
        load_pretrained(model, folder, head=True)
        expected = build_model("small_cnn", seed=7, classes=5).state_dict()
        assert not changed(expected, model)

    def test_a_head_of_another_size(self, folder: Path) -> None:
        model = build_model("small_cnn", seed=1)
        before = state_of(model)
        with pytest.raises(CheckpointError, match=r"output.weight is \(5, 576\), expected \(10"):
            load_pretrained(model, folder, head=True)
        assert not changed(before, model)

    def test_another_architecture(self, folder: Path) -> None:
        with pytest.raises(CheckpointError, match=r"holds a SmallCNN .*do not fit a ResNet"):
            load_pretrained(build_model("resnet"), folder)

    def test_another_width(self, folder: Path) -> None:
        with pytest.raises(CheckpointError, match=r"conv1.weight is \(16, 1, 5, 5\), expected \(8"):
            load_pretrained(build_model("small_cnn", width=8), folder)


class TestFreeze:
    @pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
    @pytest.mark.parametrize("name", STAGED)
    def test_frozen_means_bit_identical(self, name: str, optimizer: str, digits: DigitSet) -> None:
        model = build_model(name)
        *body, (head,) = list_stages(model)
        freeze(model, *(part for stage in body for part in stage))
        before = state_of(model)
        config = replace(HARSH, optimizer=optimizer)  # type: ignore[arg-type]
        train_steps(model, digits, config, 6, device="cpu")
        assert changed(before, model) == {f"{head}.weight", f"{head}.bias"}

    def test_a_batch_norm_that_learns_keeps_its_statistics_up(self, digits: DigitSet) -> None:
        model = build_model("small_cnn")
        freeze(model, "conv1", "norm1")
        before = state_of(model)
        train_steps(model, digits, HARSH, 6, device="cpu")
        found = changed(before, model)
        assert not any(name.startswith(("conv1", "norm1")) for name in found)
        assert {"norm2.running_mean", "norm2.running_var", "norm2.weight"} <= found

    def test_unfrozen_again_it_learns_again(self, digits: DigitSet) -> None:
        model = build_model("small_cnn")
        freeze(model)
        unfreeze(model)
        before = state_of(model)
        train_steps(model, digits, HARSH, 3, device="cpu")
        assert changed(before, model) == set(before)

    def test_an_averaged_model_keeps_it_too(self, digits: DigitSet) -> None:
        model = build_model("small_cnn")
        freeze(model, "conv1", "norm1", "conv2", "norm2")
        before = state_of(model)
        config = replace(HARSH, average_decay=0.9, epochs=2)
        batches = Batches(digits, 32, shuffle=True)
        state = start_training(model, batches, config)
        train_epoch(state, batches, config)
        assert state.average is not None
        found = changed(before, state.average)
        assert {name.split(".")[0] for name in found} == {"conv3", "norm3", "output"}

    def test_a_name_means_what_is_inside_it_and_nothing_else(self) -> None:
        model = build_model("vit", depth=12)
        freeze(model, "blocks.1", "positions")
        frozen = {name for name, _ in model.named_parameters()} - learning(model)
        assert frozen - {"positions"}
        assert all(n.startswith("blocks.1.") for n in frozen - {"positions"})  # not blocks.10

    def test_a_name_that_is_not_there(self) -> None:
        model = build_model("small_cnn")
        with pytest.raises(ValueError, match=r"'conv9'; it has conv1, .*norm3, output"):
            freeze(model, "conv1", "conv9")
        assert count_trainable(model) == count_parameters(model), "nothing is done by half"

    def test_nothing_left_to_learn(self, digits: DigitSet) -> None:
        model = build_model("small_cnn")
        freeze(model)
        with pytest.raises(ValueError, match="every parameter of the model is frozen"):
            train_steps(model, digits, HARSH, 1, device="cpu")


class TestStages:
    @pytest.mark.parametrize("name", MODELS)
    def test_every_parameter_is_in_one_stage(self, name: str) -> None:
        model = build_model(name)
        parts = [part for stage in list_stages(model) for part in stage]
        for key, _ in model.named_parameters():
            assert sum(f"{key}.".startswith(f"{part}.") for part in parts) == 1, key

    @pytest.mark.parametrize("name", STAGED)
    def test_the_last_stage_is_the_head(self, name: str) -> None:
        assert list_stages(build_model(name))[-1] == ("output",)

    def test_gradually_from_the_head_to_the_input(self) -> None:
        model = build_model("small_cnn")
        seen = []
        for progress in (0.0, 0.2, 0.25, 0.5, 0.75, 1.0):
            unfreeze_gradually(model, progress)
            seen.append({name.split(".")[0] for name in learning(model)})
        head = {"output"}
        third, second = head | {"conv3", "norm3"}, head | {"conv3", "norm3", "conv2", "norm2"}
        everything = second | {"conv1", "norm1"}
        assert seen == [head, head, third, second, everything, everything]

    def test_progress_beyond_the_end(self) -> None:
        with pytest.raises(ValueError, match=r"between 0 and 1, found 1\.5"):
            unfreeze_gradually(build_model("small_cnn"), 1.5)


class TestGradualTraining:
    def test_the_input_learns_in_the_last_quarter_only(self, digits: DigitSet) -> None:
        model = build_model("small_cnn")
        batches = Batches(digits, 32, shuffle=True)
        config = replace(HARSH, epochs=8)
        state = start_training(model, batches, config)
        moved_at = {}
        for epoch in range(config.epochs):
            before = state_of(model)
            unfreeze_gradually(model, epoch / config.epochs)
            train_epoch(state, batches, config)
            for name in changed(before, model):
                moved_at.setdefault(name.split(".")[0], epoch)
        assert moved_at == {"output": 0} | {
            f"{kind}{layer}": epoch
            for layer, epoch in ((3, 2), (2, 4), (1, 6))
            for kind in ("conv", "norm")
        }

    def test_train_steps_does_the_same(self, digits: DigitSet) -> None:
        by_hand, at_once = build_model("small_cnn"), build_model("small_cnn")
        batches = Batches(digits, 32, device="cpu", shuffle=True, seed=HARSH.seed)
        config = replace(HARSH, epochs=4)
        state = start_training(by_hand, batches, config)
        for epoch in range(4):
            unfreeze_gradually(by_hand, epoch / 4)
            train_epoch(state, batches, config)
        train_steps(at_once, digits, HARSH, 12, device="cpu", gradual=True)
        assert not changed(state_of(by_hand), at_once)


class TestLayerwiseRates:
    @pytest.mark.parametrize("name", STAGED)
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
        batches = Batches(digits, 96)
        reference = copy.deepcopy(model)
        rates = {"output": 0.1, "conv3": 0.05, "conv2": 0.025, "conv1": 0.0125}
        groups = layerwise_groups(model, config, 0.5)
        train_epoch(start_training(model, batches, config, groups=groups), batches, config)
        optimizer = torch.optim.SGD(reference.parameters(), lr=0.0)
        train_step(reference, optimizer, next(iter(batches)), config)
        for name, rate in rates.items():
            start, now = (m.get_parameter(f"{name}.weight") for m in (reference, model))
            assert start.grad is not None
            torch.testing.assert_close(now, start - rate * start.grad, rtol=0, atol=1e-6)

    def test_a_parameter_that_no_group_holds(self, digits: DigitSet) -> None:
        model = build_model("small_cnn")
        groups = layerwise_groups(model, HARSH, 0.5)[2:]
        with pytest.raises(ValueError, match=r"output.weight is not frozen, but no group"):
            train_steps(model, digits, HARSH, 1, device="cpu", groups=groups)

    @pytest.mark.parametrize("decay", [0, -1, 1.1, float("nan")])
    def test_a_decay_out_of_range(self, decay: float) -> None:
        with pytest.raises(ValueError, match="above 0 and at most 1"):
            layerwise_groups(build_model("small_cnn"), HARSH, decay)


class TestPullTowardsStart:
    def distance(self, strength: float | None, digits: DigitSet) -> float:
        model = build_model("small_cnn")
        start = state_of(model)
        penalty = None if strength is None else PullTowardsStart(model, strength)
        train_steps(model, digits, HARSH, 20, device="cpu", penalty=penalty)
        return sum(
            float((p.detach() - start[name]).square().sum())
            for name, p in model.named_parameters()
            if not name.startswith("output.")
        )

    def test_it_is_half_the_strength_times_the_squared_distance(self) -> None:
        model = build_model("small_cnn")
        penalty = PullTowardsStart(model, 0.5)
        assert float(penalty().detach()) == 0
        with torch.no_grad():
            model.get_parameter("conv1.weight")[0, 0, 0, :2] += 3
            model.get_parameter("output.weight").zero_()  # a head has no start
        assert float(penalty().detach()) == pytest.approx(0.5 / 2 * 18)
        penalty().backward()
        gradient = model.get_parameter("conv1.weight").grad
        assert gradient is not None
        assert gradient[0, 0, 0].tolist() == pytest.approx([1.5, 1.5, 0, 0, 0])

    def test_it_keeps_the_weights_near(self, digits: DigitSet) -> None:
        free, weak, strong = (self.distance(s, digits) for s in (None, 0.1, 10.0))
        assert self.distance(0.0, digits) == pytest.approx(free)
        assert strong < weak < free
        assert strong < free / 4

    def test_it_is_no_part_of_the_loss_that_is_told(self, digits: DigitSet) -> None:
        losses = []
        batch = next(iter(Batches(digits, 96)))
        for penalty in (None, lambda: torch.tensor(1000.0)):
            model = build_model("small_cnn")
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            losses.append(float(train_step(model, optimizer, batch, HARSH, penalty=penalty)[0]))
        assert losses[0] == losses[1]

    def test_of_a_frozen_body_it_is_nothing(self) -> None:
        model = build_model("small_cnn")
        penalty = PullTowardsStart(model, 1.0)
        freeze(model)
        assert float(penalty()) == 0

    def test_a_strength_out_of_range(self) -> None:
        with pytest.raises(ValueError, match="0 or more and finite, found -1"):
            PullTowardsStart(build_model("linear"), -1)


class TestTrainSteps:
    @pytest.mark.parametrize(
        ("count", "batch_size", "asked", "taken"),
        [(10, 128, 25, 25), (96, 32, 12, 12), (96, 40, 10, 9), (96, 32, 1, 3)],
    )
    def test_whole_epochs_as_many_as_come_nearest(
        self, count: int, batch_size: int, asked: int, taken: int, digits: DigitSet,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        sizes = []

        def step(*arguments: object) -> tuple[Tensor, Tensor]:
            sizes.append(len(arguments[2][0]))  # type: ignore[index]
            return train_step(*arguments)  # type: ignore[arg-type]

        monkeypatch.setattr("mnist_lab.training.train_step", step)
        config = TrainConfig(batch_size=batch_size)
        few = digits.subset(np.arange(count))
        train_steps(build_model("linear"), few, config, asked, device="cpu")
        assert len(sizes) == taken
        assert max(sizes) == min(batch_size, count)

    def test_same_seed_same_weights(self, digits: DigitSet) -> None:
        models = [build_model("small_cnn") for _ in range(3)]
        for model, seed in zip(models, (1, 1, 2), strict=True):
            train_steps(model, digits, replace(HARSH, seed=seed), 6, device="cpu")
        assert not changed(state_of(models[0]), models[1])
        assert changed(state_of(models[0]), models[2])

    def test_it_learns_five_new_digits_from_two_of_each(self, mnist: object) -> None:
        """What the module is for, in a second: the whole of it on real digits."""
        train = mnist.train.subset(np.arange(5_000))  # type: ignore[attr-defined]
        old, new = keep_classes(train, "01234"), keep_classes(train, "56789")
        pretrained = build_model("small_cnn", classes=5)
        train_steps(pretrained, old, TrainConfig(), 60, device="cpu")
        model = replace_head(pretrained, 5, seed=0)
        freeze(model)
        unfreeze(model, "output")
        train_steps(model, few_labels(new, 2, 0), TrainConfig(), 50, device="cpu")
        with torch.no_grad():
            images, labels = next(iter(Batches(new, len(new))))
            assert float((model.eval()(images).argmax(1) == labels).float().mean()) > 0.55

    def test_a_test_part_is_refused(self, digits: DigitSet) -> None:
        with pytest.raises(ValueError, match="test part: nothing is learnt from it"):
            train_steps(build_model("linear"), replace(digits, part="test"), HARSH, 1)

    def test_no_steps(self, digits: DigitSet) -> None:
        with pytest.raises(ValueError, match="at least 1 step, found 0"):
            train_steps(build_model("linear"), digits, HARSH, 0)
