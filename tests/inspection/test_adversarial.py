"""Adversarial training: the digits of a step are attacked within their ball, and it helps."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mnist_lab.data.digit_set import DigitSet
from mnist_lab.data.normalisation import MNIST_NORMALISATION
from mnist_lab.inspection.adversarial import ClassifyUnderAttack
from mnist_lab.inspection.attacks import pgd, read_right
from mnist_lab.inspection.pixels import PixelNetwork, as_pixels
from mnist_lab.models.registry import build_model
from mnist_lab.models.seeding import seeded_generator
from mnist_lab.training.config import TrainConfig
from mnist_lab.training.draws import Draws
from mnist_lab.training.objectives import Classify
from mnist_lab.training.runs import fit


def draws(seed: int = 0) -> Draws:
    return Draws.of(seeded_generator(torch.device("cpu"), seed), 8)


class Watching(nn.Module):
    """A network that keeps what it was shown, and in which mode it was."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.shown: list[tuple[Tensor, bool]] = []

    def forward(self, images: Tensor) -> Tensor:
        self.shown.append((images.detach().clone(), self.training))
        logits: Tensor = self.model(images)
        return logits


@pytest.fixture
def batch(pixels: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """Eight digits as training serves them: normalised."""
    return MNIST_NORMALISATION(255 * pixels), classes


class TestTheLoss:
    def test_is_of_digits_that_were_changed_within_the_ball(
        self, pixels: Tensor, batch: tuple[Tensor, Tensor]
    ) -> None:
        model = Watching(build_model("small_cnn", seed=0)).train()
        ClassifyUnderAttack(0.1, steps=3).loss(model, batch, draws(), TrainConfig())
        assert [training for _, training in model.shown] == [False] * 3 + [True]
        assert model.training
        first, *_, last = (
            images * MNIST_NORMALISATION.deviation + MNIST_NORMALISATION.mean
            for images, _ in model.shown
        )
        for changed in (first, last):
            assert 0.09 < (changed - pixels).abs().max() < 0.1 + 1e-5
            assert changed.min() > -1e-5
            assert changed.max() < 1 + 1e-5
        assert not torch.equal(first, last)

    def test_is_higher_than_that_of_the_digits_as_they_are_and_grows_with_epsilon(
        self, network: PixelNetwork, batch: tuple[Tensor, Tensor]
    ) -> None:
        found = [
            ClassifyUnderAttack(epsilon).loss(network.model, batch, draws(), TrainConfig())[0]
            for epsilon in (0.0, 0.1, 0.3)
        ]
        as_it_is, _ = Classify().loss(network.model, batch, draws(), TrainConfig())
        assert found[0].item() == pytest.approx(as_it_is.item(), abs=1e-4)
        assert found[0] < found[1] < found[2]

    def test_leaves_no_gradient_of_the_attack_on_the_weights(
        self, batch: tuple[Tensor, Tensor]
    ) -> None:
        model = build_model("small_cnn", seed=0).train()
        ClassifyUnderAttack(0.1, steps=2).loss(model, batch, draws(), TrainConfig())
        assert all(p.grad is None for p in model.parameters())

    @pytest.mark.parametrize("wrong", [{"epsilon": -0.1}, {"epsilon": 25.5}, {"steps": 0}])
    def test_refuses_what_is_no_attack(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=r"epsilon must be from 0 to 1 and steps at least 1"):
            ClassifyUnderAttack(**({"epsilon": 0.1} | wrong))


def test_a_network_that_was_trained_so_withstands_more(
    small_sets: tuple[DigitSet, DigitSet],
) -> None:
    train, validation = small_sets
    pixels = as_pixels(validation.images[:200])
    labels = torch.from_numpy(validation.labels[:200])
    left = {}
    config = TrainConfig(epochs=3)
    for name, objective in (("plain", Classify()), ("hard", ClassifyUnderAttack(0.1, steps=3))):
        run = fit("small_cnn", train, None, config, objective=objective, progress=False)
        network = PixelNetwork(run.model)
        changed = pgd(network, pixels, labels, 0.1, steps=10)
        left[name] = read_right(network, changed, labels).float().mean()
    assert left["hard"] > left["plain"] + 0.2


def test_the_same_seed_gives_the_same_weights_and_the_card_says_what_was_done(
    small_sets: tuple[DigitSet, DigitSet],
) -> None:
    few = small_sets[0].subset(slice(0, 100))
    config = TrainConfig(epochs=1)
    runs = [
        fit("linear", few, None, config, objective=ClassifyUnderAttack(0.1, 2), progress=False)
        for _ in range(2)
    ]
    one, other = (run.model.state_dict() for run in runs)
    assert all(map(torch.equal, one.values(), other.values()))
    assert ClassifyUnderAttack(0.1, 2).describe() == {
        "objective": {"attacked_with": 0.1, "steps": 2}
    }
