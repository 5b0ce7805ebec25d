"""The ways of fine-tuning: each moves what it says and no more, on every network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mnist_lab.data.digit_set import DigitSet
from mnist_lab.data.splits import few_labels, keep_classes
from mnist_lab.finetuning import ways
from mnist_lab.finetuning.freezing import freeze, freeze_backbone, unfreeze
from mnist_lab.finetuning.heads import replace_head
from mnist_lab.finetuning.lora import (
    add_lora,
    hash_base,
    load_lora,
    lora_layers,
    save_lora,
    strip_lora,
)
from mnist_lab.finetuning.ways import FINETUNE, WAYS, finetune, start_way
from mnist_lab.models.registry import build_model
from mnist_lab.training import loop
from mnist_lab.training.batches import Batches
from mnist_lab.training.checkpoints import load_checkpoint
from mnist_lab.training.config import TrainConfig
from mnist_lab.training.loop import train_step
from mnist_lab.training.runs import FitResult
from mnist_lab.training.scoring import evaluate, logits_of
from mnist_lab.training.tensor_folders import CheckpointError
from tests.finetuning.comparing import HARSH, changed, learning, state_of, train

HEAD = {"output.weight", "output.bias"}
ARTICLES = ("article_000", "article_001", "article_002")
CONFIG = TrainConfig(epochs=2, batch_size=20, learning_rate=0.01)

each_way = pytest.mark.parametrize("way", WAYS)


@pytest.fixture
def digits(small_sets: tuple[DigitSet, DigitSet]) -> DigitSet:
    return small_sets[0].subset(np.arange(60))


@pytest.fixture
def held_out(small_sets: tuple[DigitSet, DigitSet]) -> DigitSet:
    return small_sets[1].subset(np.arange(50))


def tune(
    model: nn.Module,
    digits: DigitSet,
    validation: DigitSet | None = None,
    config: TrainConfig | None = CONFIG,
    **options: Any,
) -> FitResult:
    """Fine-tune on the CPU, without a word."""
    return finetune(model, digits, validation, config, device="cpu", progress=False, **options)


def outputs(model: nn.Module, digits: DigitSet) -> Tensor:
    return logits_of(model, Batches(digits))


class TestEveryNetwork:
    @each_way
    @pytest.mark.parametrize("name", [*ARTICLES, "small_cnn", "vit"])
    def test_what_the_way_says_learns_and_no_more(
        self, name: str, way: str, digits: DigitSet, tmp_path: Path
    ) -> None:
        model = build_model(name, seed=1)
        before = state_of(model)
        result = tune(model, digits, way=way, folder=tmp_path)
        assert result.model is model
        if way == "lora":
            base = strip_lora(model, keep_changes=False)
            assert hash_base(model) == hash_base(build_model(name, seed=1))
            assert changed(before, base) == HEAD
            assert all(layer.b.abs().max() > 0 for _, layer in lora_layers(model))
        else:
            assert changed(before, model) == (HEAD if way == "head" else set(before))
        loaded, card = load_checkpoint(tmp_path)
        assert card.model == name
        assert card.training["origin"] == {"way": way}
        assert not list(lora_layers(loaded))
        torch.testing.assert_close(outputs(loaded, digits), outputs(model, digits))

    @pytest.mark.parametrize("name", ARTICLES)
    def test_a_new_head_for_other_classes(
        self, name: str, digits: DigitSet, tmp_path: Path
    ) -> None:
        few = keep_classes(digits, "38")
        tune(replace_head(build_model(name), 2, seed=0), few, way="gradual", folder=tmp_path)
        loaded, card = load_checkpoint(tmp_path)
        assert card.class_names == ("3", "8")
        assert outputs(loaded, few).shape == (len(few), 2)


class TestLora:
    def test_its_checkpoint_is_a_plain_network_and_the_changes_may_lie_beside_it(
        self, digits: DigitSet, held_out: DigitSet, tmp_path: Path
    ) -> None:
        result = tune(build_model("small_cnn", seed=1), digits, way="lora", folder=tmp_path)
        save_lora(tmp_path, result.model)
        expected = outputs(result.model, held_out)
        plain, _ = load_checkpoint(tmp_path)
        adapted = load_lora(tmp_path, build_model("small_cnn", seed=1))
        assert not list(lora_layers(plain))
        torch.testing.assert_close(outputs(plain, held_out), expected)
        torch.testing.assert_close(outputs(adapted, held_out), expected)

    def test_the_best_epoch_is_kept_in_both(
        self, digits: DigitSet, held_out: DigitSet, tmp_path: Path
    ) -> None:
        config = replace(CONFIG, epochs=3, average_decay=0.9)
        model = build_model("small_cnn", seed=1)
        result = tune(model, digits, held_out, config, way="lora", folder=tmp_path)
        loaded, card = load_checkpoint(tmp_path)
        score = evaluate(loaded, Batches(held_out))
        assert score.accuracy == card.training["validation_accuracy"]
        assert score.accuracy == result.best.validation.accuracy
        torch.testing.assert_close(outputs(loaded, held_out), outputs(result.model, held_out))


class TestStart:
    def test_no_such_way(self) -> None:
        model = build_model("small_cnn")
        with pytest.raises(ValueError, match=r"^No way 'half' .* gradual, full, lora\.$"):
            start_way(model, "half")
        assert len(learning(model)) == len(list(model.parameters()))

    @pytest.mark.parametrize(("way", "says"), [("gradual", "LoRA layers"), ("lora", "already")])
    def test_a_model_with_changes_is_refused(self, way: str, says: str, digits: DigitSet) -> None:
        model = add_lora(build_model("small_cnn"), rank=2)
        before = learning(model)
        with pytest.raises(ValueError, match=says):
            tune(model, digits, way=way)
        assert learning(model) == before

    @each_way
    def test_without_a_configuration_the_rate_is_the_ways_own(
        self, way: str, digits: DigitSet, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ways, "FINETUNE", replace(FINETUNE, steps=2))
        result = tune(build_model("small_cnn", width=4), digits, config=None, way=way)
        found = result.card.training["config"]
        assert found["learning_rate"] == WAYS[way]
        assert (found["batch_size"], found["steps"]) == (32, 2)

    def test_it_is_gradual_if_not_said_otherwise(self, digits: DigitSet) -> None:
        models = [build_model("small_cnn", seed=1) for _ in range(3)]
        for model, options in zip(models, ({}, {"way": "gradual"}, {"way": "full"}), strict=True):
            tune(model, digits, **options)
        assert not changed(state_of(models[0]), models[1])
        assert changed(state_of(models[0]), models[2])

    def test_a_head_with_too_few_classes_is_one_sentence(self, digits: DigitSet) -> None:
        with pytest.raises(ValueError, match="head"):
            tune(build_model("small_cnn", classes=5), digits)


class TestWhatIsFrozen:
    @pytest.mark.parametrize("way", ["head", "gradual", "full"])
    def test_what_the_caller_froze_stays_to_the_last_bit(self, way: str, digits: DigitSet) -> None:
        model = build_model("small_cnn", seed=1)
        freeze(model, "conv1", "norm1")
        before, could = state_of(model), learning(model)
        tune(model, digits, way=way)
        assert not {name for name in changed(before, model) if name.startswith(("conv1", "norm1"))}
        assert learning(model) == could

    @pytest.mark.parametrize("way", ["head", "gradual", "full"])
    def test_after_it_all_may_learn_again(self, way: str, digits: DigitSet) -> None:
        """First the head, then everything, is a recipe: the second must not be the head again."""
        model = build_model("small_cnn", seed=1)
        tune(model, digits, way=way)
        before = state_of(model)
        tune(model, digits, way="full")
        assert changed(before, model) == set(before)

    @pytest.mark.parametrize("way", ["head", "gradual"])
    def test_after_ctrl_c_too(
        self, way: str, digits: DigitSet, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        model = build_model("small_cnn", seed=1)
        with killed_at(2, monkeypatch), pytest.raises(KeyboardInterrupt):
            tune(model, digits, way=way)
        assert learning(model) == {name for name, _ in model.named_parameters()}


@contextmanager
def killed_at(step: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let Ctrl-C come at a step, counted from 1."""
    taken = [0]

    def stopped(*given: Any) -> tuple[Tensor, Tensor]:
        taken[0] += 1
        if taken[0] == step:
            raise KeyboardInterrupt
        return train_step(*given)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "train_step", stopped)
        yield


class TestResume:
    @each_way
    def test_goes_on_as_if_it_had_never_stopped(
        self,
        way: str,
        digits: DigitSet,
        held_out: DigitSet,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        whole = tune(build_model("small_cnn", seed=1), digits, held_out, way=way)
        with killed_at(5, monkeypatch), pytest.raises(KeyboardInterrupt):
            tune(build_model("small_cnn", seed=1), digits, held_out, way=way, folder=tmp_path)
        model = build_model("small_cnn", seed=1)
        tune(model, digits, held_out, way=way, folder=tmp_path, resume=True)
        assert not changed(state_of(whole.model), model)

    def test_another_way_is_another_run(
        self, digits: DigitSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with killed_at(5, monkeypatch), pytest.raises(KeyboardInterrupt):
            tune(build_model("small_cnn", seed=1), digits, way="gradual", folder=tmp_path)
        with pytest.raises(CheckpointError, match=r"another origin: .*'gradual'.* now .*'full'"):
            tune(build_model("small_cnn", seed=1), digits, way="full", folder=tmp_path, resume=True)


class TestValidation:
    def test_where_nothing_is_held_out_the_last_epoch_is_kept(
        self, digits: DigitSet, tmp_path: Path
    ) -> None:
        result = tune(build_model("small_cnn"), digits, folder=tmp_path)
        assert result.best.epoch == CONFIG.epochs
        assert result.best.validation.count == 0
        _, card = load_checkpoint(tmp_path)
        assert card.training["epoch"] == CONFIG.epochs
        assert "validation_accuracy" not in card.training

    def test_what_is_held_out_is_scored_and_told(
        self, digits: DigitSet, held_out: DigitSet, tmp_path: Path
    ) -> None:
        result = tune(build_model("small_cnn"), digits, held_out, folder=tmp_path)
        loaded, card = load_checkpoint(tmp_path)
        score = evaluate(loaded, Batches(held_out))
        assert card.training["validation_accuracy"] == score.accuracy
        assert result.best.validation.count == len(held_out)

    @pytest.mark.parametrize("role", ["digits", "validation"])
    def test_a_test_part_is_refused(self, role: str, digits: DigitSet, held_out: DigitSet) -> None:
        given: dict[str, Any] = {"digits": digits, "validation": held_out}
        given[role] = replace(given[role], part="test")
        with pytest.raises(ValueError, match=r"are a test part: .* nothing is learnt or chosen"):
            tune(build_model("small_cnn"), **given)

    def test_what_else_the_card_is_to_tell_of_its_origin(self, digits: DigitSet) -> None:
        result = tune(build_model("small_cnn"), digits, way="head", origin={"base": "abc"})
        assert result.card.training["origin"] == {"way": "head", "base": "abc"}


class TestRehearsal:
    def test_the_old_task_is_kept(self, mnist: Any) -> None:
        """Two digits of each new class, twenty of each old one among them: it is less forgotten."""
        some = mnist.train.subset(np.arange(4_000))
        few = few_labels(some, 20, 0)
        old, new = some.subset(some.labels < 5), few_labels(some, 2, 0)
        new = new.subset(new.labels >= 5)
        trained = build_model("small_cnn")
        train(trained, old.subset(np.arange(1_200)), TrainConfig(), 30)
        scores = []
        for rehearsal in (None, few.subset(few.labels < 5)):
            model = build_model("small_cnn")
            model.load_state_dict(state_of(trained))
            result = tune(
                model, new, None, replace(HARSH, steps=40), way="full", rehearsal=rehearsal
            )
            scores.append(evaluate(result.model, Batches(old.subset(np.arange(1_200, 1_900)))))
        assert scores[1].accuracy > scores[0].accuracy + 0.3

    def test_is_trained_on_among_the_new_digits(self, digits: DigitSet, held_out: DigitSet) -> None:
        result = tune(build_model("small_cnn"), digits, rehearsal=held_out)
        assert [part["count"] for part in result.card.training["data"]] == [110]
        assert result.reports[0].train.count == 110

    @pytest.mark.parametrize(
        ("change", "says"),
        [
            ({"part": "test"}, "is a test part: nothing is learnt from it"),
            ({"class_names": tuple("abcdefghij")}, "has other classes than the new digits"),
            ({"images": np.zeros((50, 20, 20), np.uint8)}, "of another size than the new digits"),
        ],
    )
    def test_what_cannot_be_rehearsed_is_one_sentence_and_changes_nothing(
        self, change: dict[str, Any], says: str, digits: DigitSet, held_out: DigitSet
    ) -> None:
        model = build_model("small_cnn")
        with pytest.raises(ValueError, match=says):
            tune(model, digits, rehearsal=replace(held_out, **change), way="lora")
        assert not list(lora_layers(model))
        assert learning(model) == {name for name, _ in model.named_parameters()}


class TestSteps:
    @pytest.mark.parametrize(
        ("count", "batch_size", "asked", "taken"),
        [
            (10, 128, 25, 25),
            (96, 32, 12, 12),
            (96, 40, 10, 9),
            (96, 40, 11, 12),  # 3 steps an epoch: nearer to 4 epochs than to 3
            (96, 32, 1, 3),
        ],
    )
    def test_whole_epochs_as_many_as_come_nearest(
        self, count: int, batch_size: int, asked: int, taken: int,
        small_sets: tuple[DigitSet, DigitSet], monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        sizes = []

        def step(state: Any, batch: Any, *rest: Any) -> tuple[Tensor, Tensor]:
            sizes.append(len(batch[1]))
            return train_step(state, batch, *rest)

        monkeypatch.setattr(loop, "train_step", step)
        few = small_sets[0].subset(np.arange(count))
        train(build_model("linear"), few, TrainConfig(batch_size=batch_size), asked)
        assert len(sizes) == taken
        assert max(sizes) == min(batch_size, count)

    def test_same_seed_same_weights(self, digits: DigitSet) -> None:
        models = [build_model("small_cnn") for _ in range(3)]
        for model, seed in zip(models, (1, 1, 2), strict=True):
            train(model, digits, replace(HARSH, seed=seed), 6)
        assert not changed(state_of(models[0]), models[1])
        assert changed(state_of(models[0]), models[2])

    def test_no_steps(self) -> None:
        with pytest.raises(ValueError, match=r"^steps cannot be 0\.$"):
            TrainConfig(steps=0)


def test_it_learns_five_new_digits_from_two_of_each(mnist: Any) -> None:
    """What the room is for, in a second: the whole of it on real digits."""
    some = mnist.train.subset(np.arange(5_000))
    old, new = keep_classes(some, "01234"), keep_classes(some, "56789")
    pretrained = build_model("small_cnn", classes=5)
    train(pretrained, old, TrainConfig(), 60)
    model = replace_head(pretrained, 5, seed=0)
    freeze(model)
    unfreeze(model, "output")
    by_name = replace_head(pretrained, 5, seed=0)
    freeze_backbone(by_name)
    assert learning(by_name) == learning(model)
    train(model, few_labels(new, 2, 0), TrainConfig(), 50)
    assert evaluate(model, Batches(new)).accuracy > 0.55
