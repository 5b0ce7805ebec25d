"""The loop: its optimizer, one step, one epoch, many of them."""

from __future__ import annotations

import copy
import math
import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mnist_lab.data.digit_set import DigitSet
from mnist_lab.data.normalisation import Normalisation
from mnist_lab.models.registry import build_model
from mnist_lab.training import loop
from mnist_lab.training.batches import Batch, Batches
from mnist_lab.training.config import TrainConfig
from mnist_lab.training.loop import (
    TrainState,
    group_parameters,
    iter_epochs,
    make_optimizer,
    start_training,
    train_epoch,
    train_step,
    update_average,
)
from mnist_lab.training.scoring import evaluate
from tests.training.small_runs import (
    EVERYTHING,
    PLAIN,
    Sets,
    batch,
    make_tiny,
    ready,
    run,
    same,
    without_seconds,
)


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

    def test_spares_a_transformers_positions(self) -> None:
        """They say where a token lies: to shrink them would blur the places."""
        model = build_model("vit", depth=1)
        optimizer = make_optimizer(model, TrainConfig(weight_decay=0.3))
        decayed = {id(p) for g in optimizer.param_groups if g["weight_decay"] for p in g["params"]}
        assert {name for name, p in model.named_parameters() if id(p) not in decayed} == {
            name for name, p in model.named_parameters() if p.ndim == 1
        } | {"positions"}

    def test_is_the_one_asked_for_with_its_settings(self) -> None:
        model = build_model("linear")
        config = TrainConfig(momentum=0.7, learning_rate=0.02, adam_epsilon=1e-5)
        sgd = make_optimizer(model, replace(config, optimizer="sgd"))
        assert type(sgd) is torch.optim.SGD
        assert (sgd.defaults["lr"], sgd.defaults["momentum"]) == (0.02, 0.7)
        for kind, cls in (("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)):
            adam = make_optimizer(model, replace(config, optimizer=kind))
            assert type(adam) is cls
            assert adam.defaults["betas"] == (0.7, 0.99)
            assert adam.defaults["eps"] == 1e-5
        article = make_optimizer(model, replace(config, optimizer="adam", adam_beta2=0.999))
        assert article.defaults["betas"] == (0.7, 0.999)

    def test_takes_groups_made_with_the_same_weight_decay_only(self) -> None:
        model, config = build_model("linear"), TrainConfig(weight_decay=0.3)
        groups = group_parameters(model.named_parameters(), replace(config, weight_decay=0.1))
        with pytest.raises(ValueError, match=r"weight_decay of 0\.1, the configuration has 0\.3"):
            make_optimizer(model, config, groups)

    def test_frozen_parameters_neither_move_nor_decay_until_they_are_unfrozen(self) -> None:
        model = build_model("mlp", hidden=4)
        model.hidden.requires_grad_(False)  # type: ignore[union-attr]
        config = TrainConfig(weight_decay=0.5)
        state = ready(model, config)
        start = copy.deepcopy(model.state_dict())
        train_step(state, batch())
        moved = {k for k, now in model.state_dict().items() if not torch.equal(now, start[k])}
        assert moved == {"output.weight", "output.bias"}
        model.hidden.requires_grad_(True)  # type: ignore[union-attr]
        train_step(state, batch())
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
        state = ready(model, config)
        parameters = model.state_dict()
        weight = parameters["output.weight"].double().numpy().copy()
        bias = parameters["output.bias"].double().numpy().copy()
        velocity = [np.zeros_like(weight), np.zeros_like(bias)]
        for step in range(3):
            images, labels = batch(seed=step)
            flat = images.flatten(1).double().numpy()
            expected, by_weight, by_bias = self.gradient(flat, labels.numpy(), weight, bias)
            answers = (flat @ weight.T + bias).argmax(1)
            loss, right = train_step(state, (images, labels))
            assert float(loss) == pytest.approx(expected, rel=1e-4)
            assert np.array_equal(right.numpy(), answers == labels.numpy())
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
            train_step(ready(model, setting), batch())
        difference = (
            without.state_dict()["output.weight"] - with_decay.state_dict()["output.weight"]
        )
        assert torch.allclose(difference, start * 0.01 * 0.5, atol=1e-7)

    def test_forgets_the_gradient_of_the_step_before(self) -> None:
        config = TrainConfig(optimizer="sgd", learning_rate=1e-12, momentum=0.0)
        model = build_model("linear")
        state = ready(model, config)
        gradients = []
        for _ in range(2):
            train_step(state, batch())
            gradients.append(next(model.parameters()).grad.clone())  # type: ignore[union-attr]
        assert torch.allclose(*gradients, atol=1e-6)

    def test_clipping_bounds_the_norm_of_the_whole_gradient(self) -> None:
        config = TrainConfig(optimizer="sgd", learning_rate=1.0, momentum=0.0)
        moved = {}
        for bound in (None, 1e3, 0.05):
            model = build_model("mlp", hidden=8)
            before = torch.cat([p.detach().flatten() for p in model.parameters()])
            setting = replace(config, clip_norm=bound)
            train_step(ready(model, setting), batch())
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
        loss, _ = train_step(ready(model, config), (images, labels))
        assert float(loss) == pytest.approx(float(-(target * logs).sum(1).mean()), rel=1e-5)

    def test_l1_penalty_moves_each_weight_towards_0_and_no_bias(self) -> None:
        plain = TrainConfig(optimizer="sgd", learning_rate=0.1, momentum=0.0)
        penalised = replace(plain, l1_penalty=0.01)
        models_ = {config: build_model("linear") for config in (plain, penalised)}
        start = models_[plain].state_dict()["output.weight"].clone()
        losses = [
            float(train_step(ready(model, config), batch())[0]) for config, model in models_.items()
        ]
        without, with_penalty = (model.state_dict() for model in models_.values())
        moved = without["output.weight"] - with_penalty["output.weight"]
        assert torch.allclose(moved, 0.1 * 0.01 * start.sign(), atol=1e-7)
        assert torch.equal(without["output.bias"], with_penalty["output.bias"])
        assert losses[0] == losses[1]  # the loss that is reported is the digits' alone

    def test_bfloat16_multiplies_coarsely_and_keeps_weights_and_loss_in_float32(self) -> None:
        model = build_model("mlp", hidden=8)
        config = TrainConfig(precision="bfloat16")
        exact = train_step(ready(copy.deepcopy(model), TrainConfig()), batch())
        products: list[torch.dtype] = []
        model.register_forward_hook(lambda *given: products.append(given[-1].dtype))
        loss, _ = train_step(ready(model, config), batch())
        assert products == [torch.bfloat16]
        assert loss.dtype == torch.float32
        assert {p.dtype for p in model.parameters()} == {torch.float32}
        assert float(loss) != float(exact[0])
        assert float(loss) == pytest.approx(float(exact[0]), rel=0.02)

    def test_returns_what_was_before_the_step_detached(self) -> None:
        model = build_model("linear")
        images, labels = batch()
        logits = model(images).detach()
        loss, right = train_step(ready(model, TrainConfig()), (images, labels))
        assert float(loss) == pytest.approx(float(F.cross_entropy(logits, labels)), rel=1e-6)
        assert torch.equal(right, logits.argmax(1) == labels)
        assert not loss.requires_grad


class TestEpoch:
    def test_the_report_weighs_examples_not_batches(self, sets: Sets) -> None:
        config = TrainConfig(
            epochs=1, batch_size=299, optimizer="sgd", learning_rate=1e-9, schedule="constant"
        )
        model = build_model("linear")
        expected = evaluate(model, Batches(sets[0]))
        report = train_epoch(start_training(model, sets[0], config))  # batches of 299 and 1
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

        def spy(state: TrainState, given: Batch, *others: Any) -> Any:
            seen.extend(given[0][:, 0, 0, 0].round().int().tolist())
            return train_step(state, given, *others)

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
        state = start_training(model, sets[0], config)
        for _ in range(2):
            train_epoch(state)
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
        losses: list[float] = []
        state = start_training(build_model("linear"), sets[0], PLAIN)
        report = train_epoch(state, losses.append)
        assert len(losses) == state.step == 5
        weights = [64, 64, 64, 64, 44]
        assert report.loss == pytest.approx(np.average(losses, weights=weights), rel=1e-6)


class TestIterEpochs:
    def start(self, sets: Sets) -> TrainState:
        return start_training(make_tiny(), sets[0], EVERYTHING)

    def test_yields_after_each_epoch_before_the_next_begins(self, sets: Sets) -> None:
        state, validation = self.start(sets), Batches(sets[1])
        steps: list[float] = []
        for number, report in enumerate(iter_epochs(state, sets[1], steps.append), 1):
            assert (report.epoch, len(steps)) == (number, 5 * number)
            assert report.train.count == 300
            assert report.validation == evaluate(state.scored_model, validation)
            assert report.seconds > 0
        assert number == 3
        assert state.seconds > 0

    def test_break_stops_and_another_loop_goes_on(self, sets: Sets) -> None:
        whole, validation = self.start(sets), Batches(sets[1])
        all_reports = list(iter_epochs(whole, validation))
        state = self.start(sets)
        reports = []
        for report in iter_epochs(state, validation):
            reports.append(report)
            if report.epoch == 1:
                break
        assert (state.epoch, state.step) == (1, 5)
        reports += iter_epochs(state, validation)
        assert without_seconds(tuple(reports)) == without_seconds(tuple(all_reports))
        assert same(state.model, whole.model)
        assert list(iter_epochs(state, validation)) == []

    def test_scores_the_average_where_there_is_one(self, sets: Sets) -> None:
        state, validation = self.start(sets), Batches(sets[1])
        report = next(iter_epochs(state, validation))
        assert state.average is not None
        assert report.validation == evaluate(state.average, validation)
        assert report.validation != evaluate(state.model, validation)

    def test_without_validation_data_reports_training_alone(self, sets: Sets) -> None:
        reports = list(iter_epochs(self.start(sets)))
        assert [report.validation.count for report in reports] == [0, 0, 0]
        assert all(math.isnan(report.validation.loss) for report in reports)
        assert all(report.train.count == 300 for report in reports)


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
        model = build_model("linear")
        expected = model.state_dict()["output.bias"].clone()
        state = start_training(model, sets[0], config)
        step = [0]

        def follow(_: float) -> None:
            decay = min(0.5, (1 + step[0]) / (10 + step[0]))
            expected.mul_(decay).add_(model.state_dict()["output.bias"], alpha=1 - decay)
            step[0] += 1

        for _ in range(2):
            train_epoch(state, follow)
        assert state.average is not None
        assert torch.allclose(state.average.state_dict()["output.bias"], expected, atol=1e-6)
