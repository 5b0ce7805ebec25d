"""Training: the step, the score, the loop, and what a kill or a wrong setting leaves behind."""

from __future__ import annotations

import copy
import json
import math
import random
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mnist_lab.models.registry import build_model
from mnist_lab.training.augmentation import Augmentation
from mnist_lab.training.batches import Batch, Batches
from mnist_lab.training.checkpoints import CheckpointError, load_checkpoint
from mnist_lab.training.config import Schedule, TrainConfig
from mnist_lab.training.loop import (
    EpochReport,
    iter_epochs,
    make_optimizer,
    start_training,
    train_epoch,
    train_step,
    update_average,
)
from mnist_lab.training.runs import FitResult, fit
from mnist_lab.training.schedules import learning_rate_at
from mnist_lab.training.scoring import Score, evaluate, predict, score_as_is
from mnist_lab.training.selection import find_hardest
from torch import Tensor, nn

from mnist_lab.data.digit_set import DigitSet
from mnist_lab.data.normalisation import Normalisation
from mnist_lab.models import registry
from mnist_lab.training import loop, runs, scoring


class Tiny(nn.Module):
    """All that makes resuming hard in 1 ms a step: batch norm, dropout, a 4-dimensional kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 5, stride=4)
        self.norm = nn.BatchNorm2d(4)
        self.dropout = nn.Dropout(0.3)
        self.output = nn.Linear(4 * 6 * 6, 10)

    def forward(self, images: Tensor) -> Tensor:
        features = F.relu(self.norm(self.conv(images)))
        logits: Tensor = self.output(self.dropout(features.flatten(1)))
        return logits


def make_tiny(seed: int = 5) -> Tiny:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Tiny()


# Five steps an epoch, the last of them on 44 images, with everything switched on.
EVERYTHING = TrainConfig(
    epochs=3,
    batch_size=64,
    optimizer="adamw",
    weight_decay=0.01,
    label_smoothing=0.1,
    clip_norm=1.0,
    average_decay=0.9,
    augmentation=Augmentation(rotate=10, shift=2, scale=0.1, shear=5, elastic_strength=20),
    seed=3,
)
PLAIN = TrainConfig(epochs=2, batch_size=64, optimizer="sgd", learning_rate=0.05)
STEPS = 15


class Killed(BaseException):
    """Stands for a kill: nothing in the package may catch it and go on."""


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(registry.MODELS, "tiny", Tiny)
    return "tiny"


Sets = tuple[DigitSet, DigitSet]


@pytest.fixture
def sets(small_sets: Sets) -> Sets:
    return small_sets[0].subset(np.arange(300)), small_sets[1].subset(np.arange(200))


def run(sets: Sets, config: TrainConfig, name: str = "tiny", **options: Any) -> FitResult:
    return fit(name, *sets, config, device="cpu", progress=False, **options)


def same(one: nn.Module, other: nn.Module) -> bool:
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


def without_seconds(reports: tuple[EpochReport, ...]) -> list[EpochReport]:
    return [replace(report, seconds=0.0) for report in reports]


def batch(count: int = 6, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed + 1_000)
    return torch.randn(count, 1, 28, 28, generator=generator), torch.arange(count) % 10


def before_step(monkeypatch: pytest.MonkeyPatch, number: int, error: BaseException) -> None:
    """Raise `error` in the place of training step `number`, counted from 1."""
    count, original = [0], train_step

    def step(*arguments: Any) -> tuple[Tensor, Tensor]:
        count[0] += 1
        if count[0] == number:
            raise error
        return original(*arguments)

    monkeypatch.setattr(loop, "train_step", step)


class TestConfig:
    @pytest.mark.parametrize(
        "wrong",
        [
            {"epochs": 0},
            {"hardest_share": 0.0},
            {"hardest_share": 1.5},
            {"batch_size": 0},
            {"learning_rate": 0.0},
            {"learning_rate": math.nan},
            {"learning_rate": math.inf},
            {"warm_up": 1.0},
            {"momentum": 1.0},
            {"momentum": -0.1},
            {"weight_decay": -1e-3},
            {"weight_decay": math.inf},
            {"label_smoothing": 1.0},
            {"clip_norm": 0.0},
            {"average_decay": 1.0},
            {"optimizer": "lion"},
            {"schedule": "sawtooth"},
            {"cycles": 0},
            {"precision": "float16"},
            {"l1_penalty": -1e-3},
            {"l1_penalty": math.inf},
            {"adam_epsilon": -1.0},
            {"seed": -1},
        ],
    )
    def test_refuses_what_cannot_be_with_a_sentence(self, wrong: dict[str, Any]) -> None:
        (name,) = wrong
        with pytest.raises(ValueError, match=rf"^{name} cannot be .*\.$"):
            TrainConfig(**wrong)

    def test_goes_through_json(self) -> None:
        record = json.loads(json.dumps(EVERYTHING.to_json(), allow_nan=False))
        assert record["augmentation"]["elastic_strength"] == 20
        assert record["normalisation"] == {"mean": 0.1307, "deviation": 0.3081}


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

        def spy(model: nn.Module, optimizer: torch.optim.Optimizer, *rest: Any) -> Any:
            seen.extend({group["lr"] for group in optimizer.param_groups})
            return train_step(model, optimizer, *rest)

        monkeypatch.setattr(loop, "train_step", spy)
        result = run(sets, PLAIN, "linear")
        assert seen == [learning_rate_at(step, 10, PLAIN) for step in range(10)]
        assert [report.learning_rate for report in result.reports] == [seen[4], seen[9]]


class TestOptimizer:
    @pytest.mark.parametrize("kind", ["sgd", "adam", "adamw"])
    def test_decays_matrices_and_kernels_but_no_bias_and_no_norm(self, kind: Any) -> None:
        model = build_model("small_cnn", width=2)
        optimizer = make_optimizer(model, TrainConfig(optimizer=kind, weight_decay=0.3))
        decay = {
            id(parameter): group["weight_decay"]
            for group in optimizer.param_groups
            for parameter in group["params"]
        }
        named = dict(model.named_parameters())
        assert len(decay) == sum(len(group["params"]) for group in optimizer.param_groups)
        assert {name for name, p in named.items() if decay[id(p)] == 0.3} == {
            *("conv1.weight", "conv2.weight", "conv3.weight", "output.weight")
        }
        assert {name for name, p in named.items() if decay[id(p)] == 0} == {
            *(f"norm{layer}.{part}" for layer in (1, 2, 3) for part in ("weight", "bias")),
            "output.bias",
        }

    def test_is_the_one_asked_for_with_its_settings(self) -> None:
        model = build_model("linear")
        config = TrainConfig(momentum=0.7, learning_rate=0.02, adam_epsilon=1e-5)
        sgd = make_optimizer(model, replace(config, optimizer="sgd"))
        assert type(sgd) is torch.optim.SGD
        assert (sgd.defaults["lr"], sgd.defaults["momentum"]) == (0.02, 0.7)
        for kind, cls in (("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)):
            adam = make_optimizer(model, replace(config, optimizer=kind))
            assert type(adam) is cls
            assert adam.defaults["betas"][0] == 0.7
            assert adam.defaults["eps"] == 1e-5
        keras = make_optimizer(model, replace(config, optimizer="adam", schedule="constant"))
        assert keras.defaults["betas"] == (0.7, 0.999)

    def test_frozen_parameters_neither_move_nor_decay_until_they_are_unfrozen(self) -> None:
        model = build_model("mlp", hidden=4)
        model.hidden.requires_grad_(False)  # type: ignore[union-attr]
        config = TrainConfig(weight_decay=0.5)
        optimizer = make_optimizer(model, config)
        start = copy.deepcopy(model.state_dict())
        train_step(model, optimizer, batch(), config)
        moved = {k for k, now in model.state_dict().items() if not torch.equal(now, start[k])}
        assert moved == {"output.weight", "output.bias"}
        model.hidden.requires_grad_(True)  # type: ignore[union-attr]
        train_step(model, optimizer, batch(), config)
        assert not torch.equal(model.get_parameter("hidden.weight"), start["hidden.weight"])


class TestStep:
    def gradient(
        self, images: np.ndarray, labels: np.ndarray, weight: np.ndarray, bias: np.ndarray
    ):
        """Return loss and gradients of softmax regression, by its formula, in NumPy."""
        scores = images @ weight.T + bias
        exponentials = np.exp(scores - scores.max(1, keepdims=True))
        probabilities = exponentials / exponentials.sum(1, keepdims=True)
        loss = -np.log(probabilities[np.arange(len(labels)), labels]).mean()
        error = (probabilities - np.eye(10)[labels]) / len(labels)
        return loss, error.T @ images, error.sum(0)

    @pytest.mark.parametrize("weight_decay", [0.0, 0.5])
    def test_three_steps_of_sgd_with_momentum_equal_the_formulas(self, weight_decay: float) -> None:
        config = TrainConfig(
            optimizer="sgd", learning_rate=0.1, momentum=0.9, weight_decay=weight_decay
        )
        model = build_model("linear")
        optimizer = make_optimizer(model, config)
        parameters = model.state_dict()
        weight = parameters["output.weight"].double().numpy().copy()
        bias = parameters["output.bias"].double().numpy().copy()
        velocity = [np.zeros_like(weight), np.zeros_like(bias)]
        for step in range(3):
            images, labels = batch(seed=step)
            flat = images.flatten(1).double().numpy()
            expected, by_weight, by_bias = self.gradient(flat, labels.numpy(), weight, bias)
            loss, logits = train_step(model, optimizer, (images, labels), config)
            assert float(loss) == pytest.approx(expected, rel=1e-4)
            assert np.allclose(logits.numpy(), flat @ weight.T + bias, atol=1e-3)
            velocity[0] = 0.9 * velocity[0] + by_weight + weight_decay * weight
            velocity[1] = 0.9 * velocity[1] + by_bias  # a bias is not decayed
            weight -= 0.1 * velocity[0]
            bias -= 0.1 * velocity[1]
            assert np.allclose(parameters["output.weight"].numpy(), weight, atol=1e-5)
            assert np.allclose(parameters["output.bias"].numpy(), bias, atol=1e-5)

    def test_adamw_decays_by_learning_rate_times_weight_decay(self) -> None:
        config = TrainConfig(optimizer="adamw", learning_rate=0.01, weight_decay=0.5)
        with_decay, without = build_model("linear"), build_model("linear")
        start = with_decay.state_dict()["output.weight"].clone()
        for model, setting in ((with_decay, config), (without, replace(config, weight_decay=0.0))):
            train_step(model, make_optimizer(model, setting), batch(), setting)
        difference = (
            without.state_dict()["output.weight"] - with_decay.state_dict()["output.weight"]
        )
        assert torch.allclose(difference, start * 0.01 * 0.5, atol=1e-7)

    def test_forgets_the_gradient_of_the_step_before(self) -> None:
        config = TrainConfig(optimizer="sgd", learning_rate=1e-12, momentum=0.0)
        model = build_model("linear")
        optimizer = make_optimizer(model, config)
        gradients = []
        for _ in range(2):
            train_step(model, optimizer, batch(), config)
            gradients.append(next(model.parameters()).grad.clone())  # type: ignore[union-attr]
        assert torch.allclose(*gradients, atol=1e-6)

    def test_clipping_bounds_the_norm_of_the_whole_gradient(self) -> None:
        config = TrainConfig(optimizer="sgd", learning_rate=1.0, momentum=0.0)
        moved = {}
        for bound in (None, 1e3, 0.05):
            model = build_model("mlp", hidden=8)
            before = torch.cat([p.detach().flatten() for p in model.parameters()])
            setting = replace(config, clip_norm=bound)
            train_step(model, make_optimizer(model, setting), batch(), setting)
            after = torch.cat([p.detach().flatten() for p in model.parameters()])
            moved[bound] = after - before
        assert float(moved[None].norm()) > 0.5
        assert torch.equal(moved[None], moved[1e3])  # a bound that is not reached changes nothing
        assert float(moved[0.05].norm()) == pytest.approx(0.05, rel=1e-3)
        same_direction = F.cosine_similarity(moved[None], moved[0.05], dim=0)
        assert float(same_direction) == pytest.approx(1, abs=1e-5)

    def test_label_smoothing_gives_each_class_its_share(self) -> None:
        config = TrainConfig(label_smoothing=0.2)
        model = build_model("linear")
        images, labels = batch()
        logs = model(images).log_softmax(1).detach()
        target = F.one_hot(labels, 10) * 0.8 + 0.02
        loss, _ = train_step(model, make_optimizer(model, config), (images, labels), config)
        assert float(loss) == pytest.approx(float(-(target * logs).sum(1).mean()), rel=1e-5)

    def test_l1_penalty_moves_each_weight_towards_0_and_no_bias(self) -> None:
        plain = TrainConfig(optimizer="sgd", learning_rate=0.1, momentum=0.0)
        penalised = replace(plain, l1_penalty=0.01)
        models_ = {config: build_model("linear") for config in (plain, penalised)}
        start = models_[plain].state_dict()["output.weight"].clone()
        losses = [
            float(train_step(model, make_optimizer(model, config), batch(), config)[0])
            for config, model in models_.items()
        ]
        without, with_penalty = (model.state_dict() for model in models_.values())
        moved = without["output.weight"] - with_penalty["output.weight"]
        assert torch.allclose(moved, 0.1 * 0.01 * start.sign(), atol=1e-7)
        assert torch.equal(without["output.bias"], with_penalty["output.bias"])
        assert losses[0] == losses[1]  # the loss that is reported is the digits' alone

    def test_bfloat16_multiplies_coarsely_and_keeps_weights_and_loss_in_float32(self) -> None:
        model = build_model("mlp", hidden=8)
        config = TrainConfig(precision="bfloat16")
        exact = train_step(
            copy.deepcopy(model), make_optimizer(model, config), batch(), TrainConfig()
        )
        loss, logits = train_step(model, make_optimizer(model, config), batch(), config)
        assert logits.dtype == torch.bfloat16
        assert loss.dtype == torch.float32
        assert {p.dtype for p in model.parameters()} == {torch.float32}
        assert float(loss) != float(exact[0])
        assert float(loss) == pytest.approx(float(exact[0]), rel=0.02)

    def test_returns_what_was_before_the_step_detached(self) -> None:
        model = build_model("linear")
        images, labels = batch()
        expected = model(images).detach()
        config = TrainConfig()
        loss, logits = train_step(model, make_optimizer(model, config), (images, labels), config)
        assert torch.equal(logits, expected)
        assert not logits.requires_grad
        assert not loss.requires_grad


class TestEvaluate:
    def uneven(self) -> list[Batch]:
        """Seven examples in batches of 4, 2 and 1; the last is the hardest."""
        images, labels = batch(7)
        images[6] *= 30
        return [(images[a:b], labels[a:b]) for a, b in ((0, 4), (4, 6), (6, 7))]

    def test_means_are_over_examples_not_over_batches(self) -> None:
        model = build_model("linear")
        batches = self.uneven()
        images, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
        with torch.no_grad():
            losses = F.cross_entropy(model(images), labels, reduction="none")
            right = (model(images).argmax(1) == labels).double()
            means = [F.cross_entropy(model(i), label) for i, label in batches]
        score = evaluate(model, batches)
        assert score.loss == pytest.approx(float(losses.mean()), rel=1e-5)
        assert score.accuracy == pytest.approx(float(right.mean()))
        assert score.count == 7
        mean_of_means = float(torch.stack(means).mean())
        assert abs(mean_of_means - score.loss) > 0.3  # the defect would show

    @pytest.mark.parametrize("size", [1, 7, 64, 200, 1_000])
    def test_does_not_depend_on_the_batch_size(self, size: int, sets: Sets) -> None:
        model = build_model("small_cnn", width=2)
        reference = evaluate(model, Batches(sets[1], 200))
        score = evaluate(model, Batches(sets[1], size))
        assert score.loss == pytest.approx(reference.loss, rel=1e-5)
        assert (score.accuracy, score.count) == (reference.accuracy, 200)

    def test_accuracy_is_the_share_of_right_answers_among_all(self) -> None:
        class Oracle(nn.Module):
            """Right about every digit but 7, whatever the batch."""

            def forward(self, images: Tensor) -> Tensor:
                labels = images[:, 0, 0, 0].long()
                return F.one_hot(torch.where(labels == 7, 1, labels), 10).float()

        labels = torch.tensor([7, 1, 2, 7, 4, 5, 6, 7, 8, 9, 0])
        images = labels.float()[:, None, None, None].expand(-1, 1, 28, 28)
        batches = [(images[a : a + 4], labels[a : a + 4]) for a in (0, 4, 8)]
        assert evaluate(Oracle(), batches).accuracy == pytest.approx(8 / 11)

    def test_scores_in_eval_mode(self) -> None:
        model = make_tiny().train()
        model(batch(50)[0] + 3)  # running statistics unlike those of a batch
        frozen = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        images, labels = batch(20)
        scores = {evaluate(model, [(images, labels)]) for _ in range(3)}
        assert len(scores) == 1  # no dropout
        assert all(torch.equal(frozen[k], v) for k, v in model.state_dict().items())
        one_by_one = evaluate(model, [(images[i : i + 1], labels[i : i + 1]) for i in range(20)])
        assert one_by_one.loss == pytest.approx(scores.pop().loss, rel=1e-4)  # no batch statistics

    def test_without_eval_the_score_would_be_another(self) -> None:
        model = make_tiny().train()
        images, labels = batch(40)
        right = evaluate(model, [(images, labels)])
        with torch.random.fork_rng():
            torch.manual_seed(0)
            as_is = {score_as_is(model, [(images, labels)]).loss for _ in range(3)}
        assert len(as_is) == 3  # dropout draws anew each time
        assert all(abs(loss - right.loss) > 1e-3 for loss in as_is)

    @pytest.mark.parametrize("mode", [True, False])
    def test_restores_the_mode_even_after_an_error(self, mode: bool) -> None:
        model = make_tiny().train(mode)
        evaluate(model, [batch()])
        assert model.training is mode
        assert model.dropout.training is mode
        with pytest.raises(RuntimeError):
            evaluate(model, [(torch.zeros(1, 3, 5, 5), torch.zeros(1).long())])
        assert model.training is mode

    def test_restores_the_mode_of_each_part(self) -> None:
        model = make_tiny().train()
        model.norm.eval()  # as fine-tuning freezes the statistics of batch norm
        evaluate(model, [batch()])
        assert not model.norm.training
        assert model.dropout.training

    def test_computes_no_gradient(self) -> None:
        class Spy(nn.Module):
            def forward(self, images: Tensor) -> Tensor:
                assert not torch.is_grad_enabled()
                return torch.zeros(len(images), 10)

        assert evaluate(Spy(), [batch()]).loss == pytest.approx(math.log(10))
        assert torch.is_grad_enabled()

    def test_nothing_to_score_is_a_sentence(self) -> None:
        with pytest.raises(ValueError, match=r"^There is nothing to score.*\.$"):
            evaluate(make_tiny(), [])


class TestPredict:
    def test_gives_the_output_for_every_example_in_order_and_in_eval_mode(self) -> None:
        model = make_tiny().train()
        batches = [batch(4, seed=1), batch(3, seed=2)]
        model.eval()
        with torch.no_grad():
            expected = torch.cat([model(images) for images, _ in batches])
        model.train()
        found = predict(model, batches)
        assert torch.equal(found, expected)
        assert not found.requires_grad
        assert model.training


class TestEpoch:
    def test_the_report_weighs_examples_not_batches(self, sets: Sets) -> None:
        config = TrainConfig(
            epochs=1, batch_size=299, optimizer="sgd", learning_rate=1e-9, schedule="constant"
        )
        model = build_model("linear")
        train = Batches(sets[0], 299, shuffle=True)  # batches of 299 and 1
        expected = evaluate(model, train)
        report = train_epoch(start_training(model, train, config), train, config)
        assert report.count == 300
        assert report.accuracy == pytest.approx(expected.accuracy)
        assert report.loss == pytest.approx(expected.loss, rel=1e-4)

    def test_every_image_comes_once_an_epoch_in_another_order_each_time(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        images = np.zeros((100, 28, 28), np.uint8)
        images[:, 0, 0] = np.arange(100)
        digits = DigitSet(images, np.arange(100) % 10)
        seen: list[int] = []

        def spy(model: nn.Module, optimizer: Any, given: Batch, *others: Any) -> Any:
            seen.extend(given[0][:, 0, 0, 0].round().int().tolist())
            return train_step(model, optimizer, given, *others)

        monkeypatch.setattr(loop, "train_step", spy)
        config = TrainConfig(epochs=3, batch_size=16, normalisation=Normalisation(0, 1 / 255))
        run((digits, digits), config, "linear")
        epochs = [seen[start : start + 100] for start in (0, 100, 200)]
        assert len(seen) == 300
        for index, order in enumerate(epochs):
            assert sorted(order) == list(range(100))
            assert order != list(range(100))
            assert order not in epochs[:index]

    def test_trains_in_training_mode_with_another_dropout_each_epoch(self, sets: Sets) -> None:
        model, dropped = make_tiny().eval(), []
        model.dropout.register_forward_hook(
            lambda _, inputs, output: dropped.append((output == 0) & (inputs[0] != 0))
        )
        # The weights hardly move: the epochs differ by what is dropped and by nothing else.
        config = replace(PLAIN, batch_size=300, learning_rate=1e-12)
        train = Batches(sets[0], 300)
        state = start_training(model, train, config)
        for _ in range(2):
            train_epoch(state, train, config)
        assert model.training
        assert dropped[0].any()
        assert float((dropped[0] != dropped[1]).float().mean()) > 0.1

    def test_leaves_every_global_generator_alone(self, tiny: str, sets: Sets) -> None:
        states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
        run(sets, EVERYTHING)
        assert torch.equal(torch.get_rng_state(), states[0])
        assert random.getstate() == states[1]
        assert np.random.get_state()[1].tolist() == states[2]  # noqa: NPY002

    def test_does_not_depend_on_the_global_generator(self, tiny: str, sets: Sets) -> None:
        torch.manual_seed(1)
        one = run(sets, EVERYTHING).model
        torch.manual_seed(2)
        assert same(one, run(sets, EVERYTHING).model)

    def test_calls_on_step_with_every_loss(self, sets: Sets) -> None:
        train = Batches(sets[0], 64, shuffle=True)
        losses: list[float] = []
        state = start_training(build_model("linear"), train, PLAIN)
        report = train_epoch(state, train, PLAIN, losses.append)
        assert len(losses) == state.step == 5
        weights = [64, 64, 64, 64, 44]
        assert report.loss == pytest.approx(np.average(losses, weights=weights), rel=1e-6)


class TestIterEpochs:
    def start(self, sets: Sets) -> tuple[loop.TrainState, Batches, Batches]:
        train = Batches(sets[0], 64, shuffle=True, seed=EVERYTHING.seed)
        return start_training(make_tiny(), train, EVERYTHING), train, Batches(sets[1])

    def test_yields_after_each_epoch_before_the_next_begins(self, sets: Sets) -> None:
        state, train, validation = self.start(sets)
        steps: list[float] = []
        for number, report in enumerate(
            iter_epochs(state, train, validation, EVERYTHING, steps.append), 1
        ):
            assert (report.epoch, len(steps)) == (number, 5 * number)
            assert report.train.count == 300
            assert report.validation == evaluate(state.scored_model, validation)
            assert report.seconds > 0
        assert number == 3
        assert state.seconds > 0

    def test_break_stops_and_another_loop_goes_on(self, sets: Sets) -> None:
        whole, train, validation = self.start(sets)
        all_reports = list(iter_epochs(whole, train, validation, EVERYTHING))
        state, train, validation = self.start(sets)
        reports = []
        for report in iter_epochs(state, train, validation, EVERYTHING):
            reports.append(report)
            if report.epoch == 1:
                break
        assert (state.epoch, state.step) == (1, 5)
        reports += iter_epochs(state, train, validation, EVERYTHING)
        assert without_seconds(tuple(reports)) == without_seconds(tuple(all_reports))
        assert same(state.model, whole.model)
        assert list(iter_epochs(state, train, validation, EVERYTHING)) == []

    def test_scores_the_average_where_there_is_one(self, sets: Sets) -> None:
        state, train, validation = self.start(sets)
        report = next(iter_epochs(state, train, validation, EVERYTHING))
        assert state.average is not None
        assert report.validation == evaluate(state.average, validation)
        assert report.validation != evaluate(state.model, validation)


class TestAverage:
    def test_moves_by_one_minus_decay_and_copies_counters(self) -> None:
        old, new = make_tiny(1), make_tiny(2)
        new.norm.num_batches_tracked += 5
        new.norm.running_mean += 1  # type: ignore[operator]
        before = {name: tensor.clone() for name, tensor in old.state_dict().items()}
        update_average(old, new, 0.75)
        for name, tensor in old.state_dict().items():
            target = new.state_dict()[name]
            if tensor.is_floating_point():
                assert torch.allclose(tensor, 0.75 * before[name] + 0.25 * target, atol=1e-6)
            else:
                assert torch.equal(tensor, target)

    def test_follows_the_formula_over_a_run(self, sets: Sets) -> None:
        config = replace(PLAIN, average_decay=0.5)
        train = Batches(sets[0], 64, shuffle=True)
        model = build_model("linear")
        expected = model.state_dict()["output.bias"].clone()
        state = start_training(model, train, config)
        step = [0]

        def follow(_: float) -> None:
            decay = min(0.5, (1 + step[0]) / (10 + step[0]))
            expected.mul_(decay).add_(model.state_dict()["output.bias"], alpha=1 - decay)
            step[0] += 1

        for _ in range(2):
            train_epoch(state, train, config, follow)
        assert state.average is not None
        assert torch.allclose(state.average.state_dict()["output.bias"], expected, atol=1e-6)


class TestFit:
    def test_learns(self, small_sets: Sets) -> None:
        result = run(small_sets, TrainConfig(epochs=4, batch_size=32), "small_cnn")
        assert result.best.validation.accuracy > 0.85
        assert result.reports[0].train.loss > result.reports[-1].train.loss
        training_alone = sum(report.seconds for report in result.reports)
        assert training_alone <= result.seconds < training_alone + 30  # and preparing the data
        assert not result.model.training

    def test_same_seed_same_weights_other_seed_others(self, tiny: str, sets: Sets) -> None:
        one, again = run(sets, EVERYTHING), run(sets, EVERYTHING)
        assert same(one.model, again.model)
        assert without_seconds(one.reports) == without_seconds(again.reports)
        assert not same(one.model, run(sets, replace(EVERYTHING, seed=4)).model)

    @pytest.mark.parametrize("role", ["train", "validation"])
    def test_cannot_touch_the_test_part(self, role: str, sets: Sets) -> None:
        train, validation = sets
        if role == "train":
            train = replace(train, part="test")
        else:
            validation = replace(validation, part="test")
        with pytest.raises(ValueError, match=rf"^The {role} digits are a test part: .*\.$"):
            run((train, validation), PLAIN, "linear")

    def test_refuses_parts_that_do_not_fit_together(self, sets: Sets) -> None:
        train, validation = sets
        letters = replace(validation, class_names=tuple("abcdefghij"))
        with pytest.raises(ValueError, match="different classes"):
            run((train, letters), PLAIN, "linear")
        small = replace(validation, images=validation.images[:, 4:-4, 4:-4])
        with pytest.raises(ValueError, match="different sizes"):
            run((train, small), PLAIN, "linear")

    @pytest.mark.parametrize(
        ("scores", "best"),
        [
            ([(1.0, 0.5), (0.5, 0.9), (0.4, 0.8)], 2),  # accuracy decides, not loss
            ([(1.0, 0.9), (0.5, 0.5), (0.4, 0.8)], 1),
            ([(1.0, 0.5), (0.5, 0.6), (0.4, 0.7)], 3),
            ([(0.5, 0.7), (0.3, 0.7), (0.4, 0.7)], 2),  # among equals the lower loss
            ([(0.5, 0.7), (0.5, 0.7), (0.5, 0.7)], 1),  # among the same the first
        ],
    )
    def test_keeps_the_weights_that_were_best_on_validation_data(
        self,
        scores: list[tuple[float, float]],
        best: int,
        tiny: str,
        sets: Sets,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        weights: list[dict[str, Tensor]] = []
        scored: list[int] = []

        def fake(model: nn.Module, batches: Batches) -> Score:
            weights.append({name: t.clone() for name, t in model.state_dict().items()})
            scored.append(batches.count)
            return Score(*scores[len(weights) - 1], 200)

        monkeypatch.setattr(scoring, "evaluate", fake)
        result = run(sets, EVERYTHING, folder=tmp_path)
        assert scored == [200, 200, 200]  # the validation part, once an epoch
        assert result.best.epoch == best
        expected = weights[best - 1]
        for model in (result.model, load_checkpoint(tmp_path)[0]):
            assert all(torch.equal(v, expected[k]) for k, v in model.state_dict().items())
        card = load_checkpoint(tmp_path)[1]
        assert card.training["epoch"] == best
        assert card.training["validation_accuracy"] == scores[best - 1][1]

    def test_the_checkpoint_is_the_result(self, tiny: str, sets: Sets, tmp_path: Path) -> None:
        result = run(sets, EVERYTHING, folder=tmp_path / "new" / "folder")
        model, card = load_checkpoint(tmp_path / "new" / "folder")
        assert same(model, result.model)
        assert card.normalisation == EVERYTHING.normalisation
        assert card.input_size == (28, 28)
        assert card.class_names == tuple("0123456789")
        again = evaluate(model, Batches(sets[1], normalisation=card.normalisation))
        assert again.accuracy == result.best.validation.accuracy
        names = {path.name for path in (tmp_path / "new" / "folder").iterdir()}
        assert len(names) == 2  # nothing is left to resume
        assert "resume.json" not in names

    def test_a_file_in_the_place_of_the_folder_is_told_before_training(
        self, sets: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before_step(monkeypatch, 1, AssertionError("training has begun"))
        (tmp_path / "file").write_text("mine")
        for folder in (tmp_path / "file", tmp_path / "file" / "below"):
            with pytest.raises(ValueError, match=r"file.* is a file; a folder .*\.$"):
                run(sets, PLAIN, "linear", folder=folder)
        assert (tmp_path / "file").read_text() == "mine"

    def test_progress_goes_to_standard_error(
        self, sets: Sets, capsys: pytest.CaptureFixture[str]
    ) -> None:
        fit("linear", *sets, PLAIN, device="cpu")
        shown = capsys.readouterr()
        assert shown.out == ""
        assert "10/10" in shown.err
        assert "validation" in shown.err
        run(sets, PLAIN, "linear")
        assert capsys.readouterr() == ("", "")


@pytest.mark.usefixtures("tiny")
class TestHardestShare:
    def test_trains_on_the_proxys_hardest_and_on_no_other(
        self, sets: Sets, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen: list[DigitSet] = []
        original = runs.Batches

        def spy(digits: DigitSet, *rest: Any, **options: Any) -> Batches:
            seen.append(digits)
            return original(digits, *rest, **options)

        monkeypatch.setattr(runs, "Batches", spy)
        config = replace(PLAIN, hardest_share=0.1)
        result = run(sets, config)
        expected = sets[0].subset(find_hardest(sets[0], 0.1, seed=config.seed))
        assert np.array_equal(seen[0].images, expected.images)
        assert np.array_equal(seen[0].labels, expected.labels)
        assert len(seen[1]) == len(sets[1])  # scored on all of the validation digits
        assert result.reports[0].train.count == 30

    def test_the_time_to_choose_them_counts(
        self, sets: Sets, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def slowly(digits: DigitSet, *rest: Any) -> Any:
            time.sleep(0.5)
            return find_hardest(digits, *rest)

        monkeypatch.setattr(runs, "find_hardest", slowly)
        assert run(sets, replace(PLAIN, epochs=1, hardest_share=0.1)).seconds > 0.5

    def test_resumes_on_the_same_digits(
        self, sets: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        config = replace(PLAIN, epochs=3, hardest_share=0.5)
        whole = run(sets, config)
        with monkeypatch.context() as patch:
            before_step(patch, 5, Killed())
            with pytest.raises(Killed):
                run(sets, config, folder=tmp_path)
        assert same(run(sets, config, folder=tmp_path, resume=True).model, whole.model)


class TestNotFinite:
    def test_the_first_such_loss_stops_with_a_hint(self, sets: Sets) -> None:
        config = replace(PLAIN, learning_rate=1e30, schedule="constant")
        with pytest.raises(FloatingPointError) as caught:
            run(sets, config, "mlp")
        message = str(caught.value)
        assert message.startswith("The loss is ")
        assert "at step 2 of 10" in message
        assert "the learning rate there is 1e+30" in message
        assert "clip_norm" in message

    def test_images_that_are_not_finite_are_named(self, sets: Sets) -> None:
        class Broken(Augmentation):
            def __call__(self, images: Tensor, *drawn: Any) -> Tensor:
                return images / 0

        with pytest.raises(FloatingPointError, match=r"step 1 of 10: the images of this batch"):
            run(sets, replace(PLAIN, augmentation=Broken()), "linear")

    def test_spoils_nothing_in_the_folder(
        self, tiny: str, sets: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        reference = run(sets, EVERYTHING)
        count = [0]

        def poisoned(model: nn.Module, *rest: Any) -> tuple[Tensor, Tensor]:
            count[0] += 1
            if count[0] == 8:  # in the second epoch
                with torch.no_grad():
                    next(model.parameters()).fill_(math.nan)
            return train_step(model, *rest)

        monkeypatch.setattr(loop, "train_step", poisoned)
        with pytest.raises(FloatingPointError, match="at step 8 of 15"):
            run(sets, EVERYTHING, folder=tmp_path)
        model, card = load_checkpoint(tmp_path)
        assert card.training["epoch"] == 1
        assert all(torch.isfinite(tensor).all() for tensor in model.state_dict().values())
        monkeypatch.undo()
        monkeypatch.setitem(registry.MODELS, "tiny", Tiny)
        assert same(run(sets, EVERYTHING, folder=tmp_path, resume=True).model, reference.model)

    def test_in_the_first_epoch_leaves_an_older_checkpoint_alone(
        self, sets: Sets, tmp_path: Path
    ) -> None:
        older = run(sets, PLAIN, "mlp", folder=tmp_path).model
        with pytest.raises(FloatingPointError):
            run(sets, replace(PLAIN, learning_rate=1e30), "mlp", folder=tmp_path)
        assert same(load_checkpoint(tmp_path)[0], older)

    def test_after_the_very_last_step_is_found_by_the_validation(
        self, sets: Sets, tmp_path: Path
    ) -> None:
        config = replace(PLAIN, epochs=1, batch_size=300, learning_rate=1e30, schedule="constant")
        with pytest.raises(FloatingPointError, match=r"^The validation loss is .*learning rate"):
            run(sets, config, "mlp", folder=tmp_path)
        assert not list(tmp_path.iterdir())


class TestResume:
    @pytest.fixture
    def whole(self, tiny: str, sets: Sets) -> FitResult:
        return run(sets, EVERYTHING)

    def check_resumes(self, whole: FitResult, sets: Sets, folder: Path) -> None:
        result = run(sets, EVERYTHING, folder=folder, resume=True)
        assert same(result.model, whole.model)
        assert without_seconds(result.reports) == without_seconds(whole.reports)
        assert replace(result.best, seconds=0) == replace(whole.best, seconds=0)
        model, card = load_checkpoint(folder)
        assert same(model, whole.model)
        assert card.training["epoch"] == whole.best.epoch

    @pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
    @pytest.mark.parametrize("step", [1, 4, 6, 8, 11, 13, 15])
    def test_equals_an_uninterrupted_run_bit_for_bit(
        self,
        step: int,
        optimizer: Any,
        tiny: str,
        sets: Sets,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        config = replace(EVERYTHING, optimizer=optimizer)
        whole = run(sets, config)
        before_step(monkeypatch, step, Killed())
        with pytest.raises(Killed):
            run(sets, config, folder=tmp_path)
        begun = (tmp_path / "resume.json").exists()
        assert begun == (step > 5)
        monkeypatch.setattr(loop, "train_step", train_step)
        steps = [0]

        def count(*arguments: Any) -> tuple[Tensor, Tensor]:
            steps[0] += 1
            return train_step(*arguments)

        monkeypatch.setattr(loop, "train_step", count)
        result = run(sets, config, folder=tmp_path, resume=True)
        assert same(result.model, whole.model)
        assert without_seconds(result.reports) == without_seconds(whole.reports)
        assert steps[0] == STEPS - (step - 1) // 5 * 5  # whole epochs are not repeated

    @pytest.mark.parametrize("after", [False, True])
    @pytest.mark.parametrize("name", ["save_checkpoint", "save_tensors"])
    @pytest.mark.parametrize("call", [1, 2])
    def test_after_a_kill_between_an_epochs_writes(
        self,
        call: int,
        name: str,
        after: bool,
        whole: FitResult,
        sets: Sets,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        original, count = getattr(runs, name), [0]

        def kill(*arguments: Any) -> None:
            count[0] += 1
            if count[0] == call and not after:
                raise Killed
            original(*arguments)
            if count[0] == call:
                raise Killed

        monkeypatch.setattr(runs, name, kill)
        with pytest.raises(Killed):
            run(sets, EVERYTHING, folder=tmp_path)
        monkeypatch.setattr(runs, name, original)
        self.check_resumes(whole, sets, tmp_path)

    def test_remembers_the_best_epoch_so_far(
        self, tiny: str, sets: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        scores = iter([0.9, 0.5, 0.6])
        weights: list[dict[str, Tensor]] = []

        def fake(model: nn.Module, _: Batches) -> Score:
            weights.append({name: t.clone() for name, t in model.state_dict().items()})
            return Score(1.0, next(scores), 200)

        monkeypatch.setattr(scoring, "evaluate", fake)
        before_step(monkeypatch, 13, Killed())
        with pytest.raises(Killed):
            run(sets, EVERYTHING, folder=tmp_path)
        monkeypatch.setattr(loop, "train_step", train_step)
        result = run(sets, EVERYTHING, folder=tmp_path, resume=True)
        assert (result.best.epoch, len(weights)) == (1, 3)
        for model in (result.model, load_checkpoint(tmp_path)[0]):
            assert all(torch.equal(v, weights[0][k]) for k, v in model.state_dict().items())

    @pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
    def test_of_a_network_whose_kernels_lie_otherwise_in_memory(
        self, optimizer: Any, sets: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        config = replace(EVERYTHING, optimizer=optimizer)
        options: dict[str, Any] = {"arguments": {"width": 4}}
        whole = run(sets, config, "small_cnn", **options)
        with monkeypatch.context() as patch:
            before_step(patch, 8, Killed())
            with pytest.raises(Killed):
                run(sets, config, "small_cnn", folder=tmp_path, **options)
        found = run(sets, config, "small_cnn", folder=tmp_path, resume=True, **options)
        assert same(found.model, whole.model)

    def test_after_two_kills(
        self, whole: FitResult, sets: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for step in (7, 7):  # the second counts from the resumed epoch: step 12 of the run
            before_step(monkeypatch, step, Killed())
            with pytest.raises(Killed):
                run(sets, EVERYTHING, folder=tmp_path, resume=True)
        monkeypatch.setattr(loop, "train_step", train_step)
        self.check_resumes(whole, sets, tmp_path)

    def test_after_a_kill_by_the_system_in_mid_epoch(
        self, whole: FitResult, sets: Sets, tmp_path: Path
    ) -> None:
        np.savez(tmp_path / "sets.npz", *(a for part in sets for a in (part.images, part.labels)))
        code = f"""
            import sys, time
            sys.path.insert(0, {str(Path(__file__).parent)!r})
            import numpy as np, torch
            torch.set_num_threads(1)
            from test_training import EVERYTHING, Tiny, models, run, training
            from mnist_lab.data import DigitSet
            arrays = list(np.load({str(tmp_path / "sets.npz")!r}).values())
            sets = DigitSet(*arrays[:2], part="train"), DigitSet(*arrays[2:], part="validation")
            registry.MODELS["tiny"] = Tiny
            original, count = loop.train_step, [0]
            def step(*arguments):
                count[0] += 1
                print(count[0], flush=True)
                if count[0] == 8:
                    time.sleep(60)
                return original(*arguments)
            loop.train_step = step
            run(sets, EVERYTHING, folder={str(tmp_path / "run")!r})
        """
        command = [sys.executable, "-c", textwrap.dedent(code)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            while process.stdout.readline() not in ("8\n", ""):
                pass
            assert process.poll() is None
            process.kill()
        load_checkpoint(tmp_path / "run")  # usable as it is
        self.check_resumes(whole, sets, tmp_path / "run")

    def test_starts_anew_where_there_is_nothing_to_resume(
        self, whole: FitResult, sets: Sets, tmp_path: Path
    ) -> None:
        self.check_resumes(whole, sets, tmp_path / "empty")

    @pytest.fixture
    def killed(
        self, tiny: str, sets: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Path:
        before_step(monkeypatch, 8, Killed())
        with pytest.raises(Killed):
            run(sets, EVERYTHING, folder=tmp_path)
        monkeypatch.setattr(loop, "train_step", train_step)
        return tmp_path

    @pytest.mark.parametrize(
        ("change", "name"),
        [
            ({"epochs": 4}, "epochs"),
            ({"learning_rate": 0.02}, "learning_rate"),
            ({"seed": 9}, "seed"),
            ({"augmentation": None}, "augmentation"),
            ({"augmentation": Augmentation(rotate=1)}, "augmentation"),
            ({"normalisation": Normalisation(0.5, 0.5)}, "normalisation"),
            ({"average_decay": 0.0}, "average_decay"),
            ({"clip_norm": None}, "clip_norm"),
        ],
    )
    def test_refuses_other_settings(
        self, change: dict[str, Any], name: str, killed: Path, sets: Sets
    ) -> None:
        with pytest.raises(CheckpointError, match=rf"started with another {name}: .*\.$"):
            run(sets, replace(EVERYTHING, **change), folder=killed, resume=True)

    def test_refuses_another_network(self, killed: Path, sets: Sets) -> None:
        with pytest.raises(CheckpointError, match="started with another model: 'tiny', now 'mlp'"):
            run(sets, EVERYTHING, "mlp", folder=killed, resume=True)

    @pytest.mark.parametrize("part", [0, 1])
    @pytest.mark.parametrize("what", ["pixel", "label", "fewer"])
    def test_refuses_other_data(self, part: int, what: str, killed: Path, sets: Sets) -> None:
        changed = sets[part].subset(np.arange(len(sets[part]) - (what == "fewer")))
        if what == "pixel":
            changed.images[7, 3, 3] ^= 1
        elif what == "label":
            changed.labels[7] = (changed.labels[7] + 1) % 10
        others = (changed, sets[1]) if part == 0 else (sets[0], changed)
        with pytest.raises(CheckpointError, match=r"was started on other data\.$"):
            run(others, EVERYTHING, folder=killed, resume=True)

    @pytest.mark.parametrize("lost", ["card", "step", "epoch", "reports", "best"])
    def test_refuses_a_record_that_lacks_something(
        self, lost: str, killed: Path, sets: Sets
    ) -> None:
        record = json.loads((killed / "resume.json").read_text())
        del record[lost]
        (killed / "resume.json").write_text(json.dumps(record))
        with pytest.raises(CheckpointError, match=rf"resume\.json .*{lost}.*\.$"):
            run(sets, EVERYTHING, folder=killed, resume=True)


TRAIN_STANDARD = """
import json, sys
from dataclasses import replace
from pathlib import Path
import torch
from mnist_lab import training
from mnist_lab.data import load_mnist, split
from mnist_lab.training import PRESETS

torch.set_num_threads(1)
real_step, steps = loop.train_step, [0]

def one_step_in_forty(model, optimizer, batch, *others):
    steps[0] += 1
    if steps[0] % 40 == 1:
        return real_step(model, optimizer, batch, *others)
    return torch.zeros(()), torch.zeros(len(batch[1]), 10)

loop.train_step = one_step_in_forty
recipe = PRESETS["standard"]
train, validation = split(load_mnist().train, seed=0)
config = replace(recipe.config, epochs=2)
run = runs.fit(
    recipe.model, train, validation, config, arguments=recipe.arguments, device="cpu",
    folder=sys.argv[1], progress=False,
)
lines = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
print(json.dumps({
    "megabytes": int(lines["VmHWM"].split()[0]) / 1024,  # the highest there was
    "steps": steps[0], "images": run.best.train.count, "validated": run.best.validation.count,
}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc for the memory in use")
def test_the_standard_preset_takes_less_than_a_gigabyte_and_a_half(tmp_path: Path) -> None:
    # All data, all batches, augmentation, scoring and saving; of the steps, which take the memory
    # of the first again and again, one in forty.
    ended = subprocess.run(
        [sys.executable, "-c", TRAIN_STANDARD, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(ended.stdout)
    assert (found["steps"], found["images"], found["validated"]) == (860, 55_000, 5_000)
    assert 300 < found["megabytes"] < 1500


class TestInterrupt:
    @pytest.mark.parametrize("step", [1, 3, 6, 9])
    def test_leaves_a_usable_checkpoint_and_can_go_on(
        self, step: int, tiny: str, sets: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        whole = run(sets, EVERYTHING)
        before_step(monkeypatch, step, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            run(sets, EVERYTHING, folder=tmp_path)
        model, card = load_checkpoint(tmp_path)
        score = evaluate(model, Batches(sets[1], normalisation=card.normalisation))
        if step > 5:
            assert score.accuracy == card.training["validation_accuracy"]
        monkeypatch.setattr(loop, "train_step", train_step)
        result = run(sets, EVERYTHING, folder=tmp_path, resume=True)
        assert same(result.model, whole.model)

    @pytest.mark.parametrize("name", ["save_checkpoint", "save_tensors", "evaluate"])
    def test_at_an_awkward_moment_too(
        self,
        name: str,
        tiny: str,
        sets: Sets,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        original: Callable[..., Any] = getattr(runs, name)

        def interrupt(*arguments: Any) -> None:
            monkeypatch.setattr(runs, name, original)
            raise KeyboardInterrupt

        monkeypatch.setattr(runs, name, interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(sets, EVERYTHING, folder=tmp_path)
        load_checkpoint(tmp_path)

    def test_without_a_folder_writes_nothing(
        self, sets: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        before_step(monkeypatch, 3, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            run(sets, PLAIN, "linear")
        assert not list(tmp_path.iterdir())
