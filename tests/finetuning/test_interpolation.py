"""Between two networks: its ends to the last bit, every number on the line."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from mnist_lab.data.digit_set import DigitSet
from mnist_lab.finetuning.freezing import freeze_backbone
from mnist_lab.finetuning.interpolation import interpolate
from mnist_lab.finetuning.lora import add_lora, strip_lora
from mnist_lab.models.registry import build_model
from tests.finetuning.comparing import HARSH, changed, learning, state_of, train


@pytest.fixture
def ends(small_sets: tuple[DigitSet, DigitSet]) -> tuple[nn.Module, nn.Module]:
    """A network, and what a few steps made of it."""
    start = build_model("small_cnn", seed=1)
    end = copy.deepcopy(start)
    train(end, small_sets[0].subset(np.arange(96)), HARSH, 6)
    return start, end


class TestInterpolate:
    @pytest.mark.parametrize("share", [0.0, 1.0])
    def test_the_ends_are_the_two_networks(
        self, ends: tuple[nn.Module, nn.Module], share: float
    ) -> None:
        between = interpolate(*ends, share)
        counts = {name for name in between.state_dict() if name.endswith("num_batches_tracked")}
        assert changed(state_of(ends[int(share)]), between) == (set() if share else counts)

    def test_every_number_lies_on_the_line(self, ends: tuple[nn.Module, nn.Module]) -> None:
        """Running means and variances too."""
        start, end = (model.state_dict() for model in ends)
        for name, found in interpolate(*ends, 0.25).state_dict().items():
            expected = end[name]
            if found.is_floating_point():
                expected = 0.75 * start[name] + 0.25 * end[name]
                assert not torch.equal(start[name], end[name]), name
            torch.testing.assert_close(found, expected)

    def test_both_networks_stay_as_they_were(self, ends: tuple[nn.Module, nn.Module]) -> None:
        freeze_backbone(ends[1])
        before = [state_of(model) for model in ends]
        between = interpolate(*ends, 0.5)
        assert learning(between) == {"output.weight", "output.bias"}
        with torch.no_grad():
            for parameter in between.parameters():
                parameter.zero_()
        assert not changed(before[0], ends[0])
        assert not changed(before[1], ends[1])

    @pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
    def test_a_share_out_of_range(self, share: float) -> None:
        model = build_model("linear")
        with pytest.raises(ValueError, match="from 0 to 1"):
            interpolate(model, model, share)

    def test_networks_of_different_kinds(self) -> None:
        with pytest.raises(ValueError, match="different kinds: its model was"):
            interpolate(build_model("linear"), build_model("mlp"), 0.5)

    def test_heads_of_different_sizes(self) -> None:
        five, ten = (build_model("linear", classes=classes) for classes in (5, 10))
        with pytest.raises(ValueError, match=r"output\.weight is of shape \(5, 784\) in one"):
            interpolate(five, ten, 0.5)

    def test_lora_layers_are_merged_first(self) -> None:
        """Half of A times half of B is a quarter of the change."""
        start = build_model("small_cnn")
        tuned = add_lora(copy.deepcopy(start), rank=2)
        with pytest.raises(ValueError, match="merged first"):
            interpolate(start, tuned, 0.5)
        interpolate(start, strip_lora(tuned), 0.5)
