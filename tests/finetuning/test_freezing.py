"""Freezing: what is frozen stays to the last bit; what comes in later comes in when it should."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mnist_lab.data.digit_set import DigitSet
from mnist_lab.finetuning.freezing import (
    GradualUnfreezing,
    HeadFirst,
    count_trainable,
    freeze,
    freeze_backbone,
    freeze_matrices,
    list_stages,
    unfreeze,
)
from mnist_lab.finetuning.lora import add_lora, strip_lora
from mnist_lab.finetuning.rates import layerwise_groups
from mnist_lab.models.architecture import count_parameters
from mnist_lab.models.registry import MODELS, build_model
from mnist_lab.training.loop import start_training, train_epoch
from tests.finetuning.comparing import HARSH, changed, learning, state_of, train

STAGED = ("quick_cnn", "small_cnn", "resnet", "vit")


class Odd(nn.Module):
    """A reader's network: no `stages`, a parameter of its own, and the head is made first."""

    def __init__(self) -> None:
        super().__init__()
        self.output = nn.Linear(8, 10)
        self.scale = nn.Parameter(torch.ones(784))
        self.hidden = nn.Linear(784, 8)

    def forward(self, images: Tensor) -> Tensor:
        return self.output(self.hidden(images.flatten(1) * self.scale).relu())


@pytest.fixture
def digits(small_sets: tuple[DigitSet, DigitSet]) -> DigitSet:
    return small_sets[0].subset(np.arange(96))


class TestFreeze:
    @pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
    @pytest.mark.parametrize("name", STAGED)
    def test_frozen_means_bit_identical(self, name: str, optimizer: str, digits: DigitSet) -> None:
        model = build_model(name)
        *body, (head,) = list_stages(model)
        freeze(model, *(part for stage in body for part in stage))
        before = state_of(model)
        config = replace(HARSH, optimizer=optimizer)  # type: ignore[arg-type]
        train(model, digits, config, 6)
        assert changed(before, model) == {f"{head}.weight", f"{head}.bias"}

    def test_a_batch_norm_that_learns_keeps_its_statistics_up(self, digits: DigitSet) -> None:
        model = build_model("small_cnn")
        freeze(model, "conv1", "norm1")
        before = state_of(model)
        train(model, digits, HARSH, 6)
        found = changed(before, model)
        assert not any(name.startswith(("conv1", "norm1")) for name in found)
        assert {"norm2.running_mean", "norm2.running_var", "norm2.weight"} <= found

    def test_unfrozen_again_it_learns_again(self, digits: DigitSet) -> None:
        model = build_model("small_cnn")
        freeze(model)
        unfreeze(model)
        before = state_of(model)
        train(model, digits, HARSH, 3)
        assert changed(before, model) == set(before)

    def test_an_averaged_model_keeps_it_too(self, digits: DigitSet) -> None:
        model = build_model("small_cnn")
        freeze(model, "conv1", "norm1", "conv2", "norm2")
        before = state_of(model)
        state = start_training(model, digits, replace(HARSH, average_decay=0.9, epochs=2))
        train_epoch(state)
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
            train(model, digits, HARSH, 1)


class TestFreezeMatrices:
    def test_of_a_transformers_blocks_the_norms_alone_learn(self) -> None:
        model = build_model("vit", depth=2)
        freeze_matrices(model, "blocks")
        outside = {n for n, _ in model.named_parameters() if not n.startswith("blocks.")}
        norms = {f"blocks.{i}.norm{j}.{k}" for i in "01" for j in "12" for k in ("weight", "bias")}
        assert learning(model) == outside | norms

    def test_without_names_it_is_all_of_the_model(self) -> None:
        model = build_model("small_cnn")
        freeze_matrices(model)
        assert learning(model) == {f"norm{i}.{k}" for i in "123" for k in ("weight", "bias")}


class TestStages:
    @pytest.mark.parametrize("name", MODELS)
    def test_every_parameter_is_in_one_stage(self, name: str) -> None:
        model = build_model(name)
        parts = [part for stage in list_stages(model) for part in stage]
        for key, _ in model.named_parameters():
            assert sum(f"{key}.".startswith(f"{part}.") for part in parts) == 1, key

    @pytest.mark.parametrize("name", MODELS)
    def test_the_last_stage_is_the_head(self, name: str) -> None:
        assert list_stages(build_model(name))[-1] == ("output",)

    def test_of_a_network_that_does_not_name_them(self) -> None:
        assert list_stages(Odd()) == (("scale",), ("hidden",), ("output",))
        assert len(layerwise_groups(Odd(), HARSH, 0.5)) == 5  # two of them are layers with biases


class TestFreezeBackbone:
    @pytest.mark.parametrize("name", MODELS)
    def test_the_head_alone_learns(self, name: str) -> None:
        model = build_model(name)
        freeze_backbone(model)
        assert learning(model) == {"output.weight", "output.bias"}

    def test_of_a_network_that_does_not_name_its_stages(self) -> None:
        model = Odd()
        freeze_backbone(model)
        assert learning(model) == {"output.weight", "output.bias"}

    def test_what_the_caller_froze_in_the_head_stays_so(self) -> None:
        model = build_model("small_cnn")
        freeze(model, "output.bias")
        freeze_backbone(model)
        assert learning(model) == {"output.weight"}


HEAD = {"output"}
THIRD = HEAD | {"conv3", "norm3"}
SECOND = THIRD | {"conv2", "norm2"}
ALL = SECOND | {"conv1", "norm1"}


def parts(names: set[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


class TestGradualUnfreezing:
    @pytest.mark.parametrize(
        ("steps", "expected"),
        [
            (1, [ALL]),  # fewer steps than stages: some come in together, and all have learnt
            (2, [THIRD, ALL]),
            (3, [THIRD, SECOND, ALL]),
            (4, [HEAD, THIRD, SECOND, ALL]),
            (6, [HEAD, THIRD, THIRD, SECOND, ALL, ALL]),
            (8, [HEAD, HEAD, THIRD, THIRD, SECOND, SECOND, ALL, ALL]),
        ],
    )
    def test_from_the_head_to_the_input_in_equal_shares_of_the_steps(
        self, steps: int, expected: list[set[str]]
    ) -> None:
        model = build_model("small_cnn")
        unfreezing = GradualUnfreezing(model)
        found = []
        for step in range(steps):
            unfreezing(step, steps)
            found.append(parts(learning(model)))
        assert found == expected

    @pytest.mark.parametrize(
        ("steps", "expected"), [(1, [ALL]), (2, [HEAD, ALL]), (5, [HEAD, HEAD, ALL, ALL, ALL])]
    )
    def test_the_head_first_then_everything(self, steps: int, expected: list[set[str]]) -> None:
        model = build_model("small_cnn")
        unfreezing = HeadFirst(model)
        found = []
        for step in range(steps):
            unfreezing(step, steps)
            found.append(parts(learning(model)))
        assert found == expected

    def test_the_input_learns_in_the_last_quarter_only(self, digits: DigitSet) -> None:
        model = build_model("small_cnn")
        config = replace(HARSH, epochs=8)
        state = start_training(model, digits, config, before_step=GradualUnfreezing(model))
        moved_at: dict[str, int] = {}
        for epoch in range(config.epochs):
            before = state_of(model)
            train_epoch(state)
            for name in changed(before, model):
                moved_at.setdefault(name.split(".")[0], epoch)
        assert moved_at == {"output": 0} | {
            f"{kind}{layer}": epoch
            for layer, epoch in ((3, 2), (2, 4), (1, 6))
            for kind in ("conv", "norm")
        }

    def test_within_an_epoch_nothing_moves_before_its_step(self, digits: DigitSet) -> None:
        """Running statistics too: of six steps in two epochs, each knows what it may change."""
        model = build_model("small_cnn")
        unfreezing = GradualUnfreezing(model)
        states = []

        def before_step(step: int, total: int) -> None:
            states.append(state_of(model))
            unfreezing(step, total)

        train(model, digits, HARSH, 6, before_step=before_step)
        moved = []
        for one, other in pairwise([*states, state_of(model)]):
            moved.append(parts({name for name in one if not torch.equal(one[name], other[name])}))
        assert moved == [HEAD, THIRD, THIRD, SECOND, ALL, ALL]

    @pytest.mark.parametrize("steps", [1, 2, 3])
    def test_with_fewer_steps_than_stages_the_input_learns_too(
        self, steps: int, digits: DigitSet
    ) -> None:
        model = build_model("small_cnn")
        before = state_of(model)
        config = replace(HARSH, batch_size=96 // steps)
        train(model, digits, config, steps, before_step=GradualUnfreezing(model))
        assert changed(before, model) == set(before)

    def test_is_as_if_the_caller_had_unfrozen_between_epochs(self, digits: DigitSet) -> None:
        by_hand, at_once = build_model("small_cnn"), build_model("small_cnn")
        state = start_training(by_hand, digits, replace(HARSH, epochs=4))
        freeze(by_hand)
        for stage in reversed(list_stages(by_hand)):
            unfreeze(by_hand, *stage)
            train_epoch(state)
        train(at_once, digits, HARSH, 12, before_step=GradualUnfreezing(at_once))
        assert not changed(state_of(by_hand), at_once)

    def test_what_the_caller_froze_stays_to_the_last_bit(self, digits: DigitSet) -> None:
        model = build_model("small_cnn")
        freeze(model, "conv1", "norm1", "output.bias")
        before = state_of(model)
        train(model, digits, HARSH, 8, before_step=GradualUnfreezing(model))
        found = changed(before, model)
        assert parts(found) == SECOND
        assert "output.bias" not in found
        assert not {"conv1", "norm1"} & parts(learning(model))

    def test_a_model_with_lora_is_refused_and_left_as_it_was(self) -> None:
        model = add_lora(build_model("small_cnn"), rank=2)
        before = learning(model)
        with pytest.raises(ValueError, match=r"has LoRA layers: their base stays frozen.*strip"):
            GradualUnfreezing(model)
        assert learning(model) == before

    def test_stripped_as_the_sentence_advises_every_stage_comes_in(self, digits: DigitSet) -> None:
        model = strip_lora(add_lora(build_model("small_cnn"), rank=2))
        before = state_of(model)
        train(model, digits, HARSH, 4, before_step=GradualUnfreezing(model))
        assert changed(before, model) == set(before)
