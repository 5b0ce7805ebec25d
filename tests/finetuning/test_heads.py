"""Heads: a new one on a trained body, and a trained body under another one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mnist_lab.data.digit_set import DigitSet
from mnist_lab.data.splits import keep_classes
from mnist_lab.finetuning.freezing import count_trainable, freeze, freeze_backbone
from mnist_lab.finetuning.heads import load_pretrained, replace_head
from mnist_lab.finetuning.lora import add_lora, lora_parameters
from mnist_lab.models.architecture import count_parameters
from mnist_lab.models.registry import MODELS, build_model
from mnist_lab.training.cards import ModelCard
from mnist_lab.training.checkpoints import load_checkpoint, save_checkpoint
from mnist_lab.training.tensor_folders import CheckpointError
from tests.finetuning.comparing import HARSH, changed, learning, state_of, train

HEAD = {"output.weight", "output.bias"}


@pytest.fixture
def digits(small_sets: tuple[DigitSet, DigitSet]) -> DigitSet:
    return small_sets[0].subset(np.arange(96))


class TestReplaceHead:
    @pytest.mark.parametrize("name", MODELS)
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
        train(replace_head(model, 10, seed=0), digits, HARSH, 3)
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
        weight = one.get_parameter("output.weight")
        assert torch.equal(weight, same.get_parameter("output.weight"))
        assert not torch.equal(weight, other.get_parameter("output.weight"))

    def test_of_a_model_that_learns_all_of_the_copy_learns(self) -> None:
        model = build_model("small_cnn")
        assert count_trainable(replace_head(model, 10, seed=0)) == count_parameters(model)

    def test_what_was_frozen_stays_frozen_and_the_head_learns(self, digits: DigitSet) -> None:
        model = build_model("small_cnn")
        freeze(model)
        adapted = replace_head(model, 10, seed=0)
        assert learning(adapted) == HEAD
        assert not learning(model)
        before = state_of(adapted)
        train(adapted, digits, HARSH, 3)
        assert changed(before, adapted) == HEAD

    def test_under_lora_the_base_stays_frozen(self, digits: DigitSet) -> None:
        """Adapters to a new task are what LoRA is for: the base must not be let free."""
        model = add_lora(build_model("small_cnn", seed=1), rank=2)
        adapted = replace_head(model, 5, seed=0)
        assert learning(adapted) == HEAD | lora_parameters(model).keys()
        before = state_of(adapted)
        train(adapted, keep_classes(digits, "01234"), HARSH, 6)
        assert changed(before, adapted) == learning(adapted)

    def test_the_copy_is_saved_as_what_it_is_now(self, tmp_path: Path) -> None:
        adapted = replace_head(build_model("article_000", corrected=True), 3, seed=1)
        save_checkpoint(tmp_path, adapted, ModelCard.of(adapted, class_names=tuple("abc")))
        loaded, card = load_checkpoint(tmp_path)
        assert card.arguments == {"corrected": True, "classes": 3}
        assert not changed(state_of(adapted), loaded)

    def test_no_head_to_replace(self) -> None:
        with pytest.raises(ValueError, match="Sequential has no linear layer called 'output'"):
            replace_head(nn.Sequential(nn.Flatten(), nn.Linear(784, 10)), 5, seed=0)
        with pytest.raises(ValueError, match="at least 1 class, found 0"):
            replace_head(build_model("linear"), 0, seed=0)


class TestLoadPretrained:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        model = build_model("small_cnn", seed=7, classes=5)
        save_checkpoint(tmp_path, model, ModelCard.of(model, class_names=tuple("01234")))
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

    def test_what_was_frozen_stays_frozen(self, folder: Path) -> None:
        model = build_model("small_cnn")
        freeze_backbone(model)
        load_pretrained(model, folder)
        assert learning(model) == HEAD

    def test_a_head_of_another_size(self, folder: Path) -> None:
        model = build_model("small_cnn", seed=1)
        before = state_of(model)
        with pytest.raises(CheckpointError, match=r"output.weight is \(5, 576\), expected \(10"):
            load_pretrained(model, folder, head=True)
        assert not changed(before, model)

    def test_another_architecture(self, folder: Path) -> None:
        with pytest.raises(CheckpointError, match=r"holds a SmallCNN .*do not fit a ResNet"):
            load_pretrained(build_model("resnet"), folder)

    @pytest.mark.parametrize(
        ("name", "argument", "theirs", "ours"),
        [
            ("small_cnn", "width", 16, 8),
            # Of these the weights have the same shapes, and would have loaded without a word.
            ("vit", "heads", 4, 2),
            ("article_000", "corrected", False, True),
            ("efficientnet_lite0", "input_size", 64, 32),
        ],
    )
    def test_one_that_was_built_otherwise(
        self, name: str, argument: str, theirs: Any, ours: Any, tmp_path: Path
    ) -> None:
        save_checkpoint(tmp_path, build_model(name))
        model = build_model(name, seed=1, **{argument: ours})
        before = state_of(model)
        says = rf"its {argument} was {theirs}, that of this model is {ours}\.$"
        with pytest.raises(CheckpointError, match=says):
            load_pretrained(model, tmp_path)
        assert not changed(before, model)

    def test_a_network_that_nobody_could_build_again_still_takes_weights_that_fit(
        self, folder: Path
    ) -> None:
        model = build_model("small_cnn", seed=1)
        del model.architecture
        load_pretrained(model, folder)
        expected = build_model("small_cnn", seed=7, classes=5).state_dict()
        assert torch.equal(model.get_parameter("conv1.weight"), expected["conv1.weight"])
