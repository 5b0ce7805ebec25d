"""Rounded and masked weights: what is computed with, what learns, and what is left at the end."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mnist_lab.data.digit_set import DigitSet
from mnist_lab.few_bits import quantise_network, round_to_levels
from mnist_lab.models.registry import build_model
from mnist_lab.smaller.pruning import find_smallest
from mnist_lab.smaller.while_training import (
    keep_zero,
    round_straight_through,
    round_while_training,
    settle,
    weighted_layers,
)
from mnist_lab.training.config import TrainConfig
from mnist_lab.training.runs import fit

CONFIG = TrainConfig(epochs=1, batch_size=16, learning_rate=0.01)


def digits(count: int = 64) -> DigitSet:
    chance = np.random.default_rng(0)
    return DigitSet(
        chance.integers(0, 256, (count, 28, 28), dtype=np.uint8), chance.integers(0, 10, count)
    )


class TestStraightThrough:
    def test_forwards_it_rounds(self) -> None:
        weights = torch.randn(4, 9, generator=torch.Generator().manual_seed(0))
        levels, scales = round_to_levels(weights, 3)
        assert torch.allclose(round_straight_through(weights, 3), levels * scales, atol=1e-7)

    def test_backwards_the_gradient_passes(self) -> None:
        weights = torch.randn(4, 9, requires_grad=True)
        towards = torch.randn(4, 9)
        (round_straight_through(weights, 2) * towards).sum().backward()
        assert weights.grad is not None
        assert torch.equal(weights.grad, towards)

    def test_bits_out_of_range(self) -> None:
        with pytest.raises(ValueError, match="from 2 to 8"):
            round_straight_through(torch.ones(2, 2), 1)


class TestRounding:
    @pytest.mark.parametrize("bits", [2, 3])
    def test_what_has_learnt_stays_as_it_is_in_so_many_bits(self, bits: int) -> None:
        model = build_model("small_cnn", seed=0, width=4)
        begun = quantise_network(model, bits).state_dict()
        round_while_training(model, bits)
        trained = settle(fit(model, digits(), config=CONFIG, device="cpu", progress=False).model)
        assert trained.state_dict().keys() == begun.keys()
        again = quantise_network(trained, bits).state_dict()
        moved = False
        for name, layer in weighted_layers(trained).items():
            weights = layer.get_parameter("weight").detach()
            levels = weights[0] / weights[0].abs().max() * (2 ** (bits - 1) - 1)
            assert (levels - levels.round()).abs().max() < 1e-5
            assert torch.allclose(again[f"{name}.weight"], weights, atol=1e-6)
            moved |= not torch.allclose(begun[f"{name}.weight"], weights, atol=1e-6)
        assert moved

    def test_a_step_too_small_for_a_level_is_not_lost(self) -> None:
        """The numbers behind the rounded ones move, and so the next steps add to it."""
        model = build_model("linear", seed=0)
        round_while_training(model, 2)
        layer = weighted_layers(model)["output"]
        hidden = dict(layer.named_parameters())["parametrizations.weight.original"]
        before = (levels_of(layer), hidden.detach().clone())
        with torch.no_grad():
            hidden += 1e-6
        assert not torch.equal(hidden, before[1])
        assert (levels_of(layer) != before[0]).float().mean() < 0.01


def levels_of(layer: torch.nn.Module) -> torch.Tensor:
    weights: torch.Tensor = layer.weight.detach()  # type: ignore[assignment]
    return (weights / weights.abs().amax(1, keepdim=True)).round()


class TestMasks:
    def test_zeros_stay_and_the_rest_learns(self) -> None:
        model = build_model("small_cnn", seed=0, width=4)
        zeros = find_smallest(model, 0.8)
        before = {name: layer.weight.clone() for name, layer in weighted_layers(model).items()}
        keep_zero(model, zeros)
        trained = settle(fit(model, digits(), config=CONFIG, device="cpu", progress=False).model)
        for name, layer in weighted_layers(trained).items():
            assert not layer.weight[zeros[name]].any()
            kept = ~zeros[name]
            assert (layer.weight[kept] != before[name][kept]).any()

    def test_a_layer_that_is_not_there(self) -> None:
        with pytest.raises(KeyError):
            keep_zero(build_model("linear"), {"conv9": torch.zeros(1, dtype=torch.bool)})


def test_settling_a_plain_network_changes_nothing() -> None:
    model = build_model("mlp", seed=0, hidden=5)
    assert torch.equal(
        settle(model).get_parameter("hidden.weight"),
        build_model("mlp", seed=0, hidden=5).get_parameter("hidden.weight"),
    )
