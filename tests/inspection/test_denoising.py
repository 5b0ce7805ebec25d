"""Denoising: noise of known size goes, the objectives say what they do, the way back is exact."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mnist_lab.data.corruptions import corrupt
from mnist_lab.data.digit_set import DigitSet
from mnist_lab.inspection.denoising import (
    AS_PIXELS,
    DENOISE,
    CleanedFirst,
    Denoiser,
    ReadThroughNoise,
    RemoveNoise,
    add_noise,
    clean,
    make_denoiser,
)
from mnist_lab.models.registry import build_model
from mnist_lab.training.batches import Batches
from mnist_lab.training.config import TrainConfig
from mnist_lab.training.draws import Draws
from mnist_lab.training.runs import fit
from mnist_lab.training.scoring import evaluate


class Nothing(nn.Module):
    """Gives back what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, images: Tensor) -> Tensor:
        """Return the images."""
        return images


@pytest.fixture(scope="module")
def denoiser(small_sets: tuple[DigitSet, DigitSet]) -> nn.Module:
    """A denoiser that has learnt something."""
    config = replace(DENOISE, epochs=20)
    objective = RemoveNoise(most=100)
    run = fit(
        make_denoiser(), *small_sets, config, objective=objective, device="cpu", progress=False
    )
    assert run.card.training["method"] == "denoising"
    return run.model


def errors(images: np.ndarray, truth: np.ndarray) -> float:
    """Return the root mean square of what differs, in grey values."""
    return float(np.sqrt(np.mean((images.astype(float) - truth) ** 2)))


def test_noise_of_known_size_is_less_after_cleaning(
    denoiser: nn.Module, small_sets: tuple[DigitSet, DigitSet]
) -> None:
    digits = small_sets[1]
    noisy = corrupt(digits, "noise", 60)
    before = errors(noisy.images, digits.images)
    after = errors(clean(denoiser, noisy.images), digits.images)
    assert 35 < before < 60  # half of the noise on paper is cut off
    assert after < 0.75 * before


def test_cleaning_takes_something_off_digits_that_have_no_noise(
    denoiser: nn.Module, small_sets: tuple[DigitSet, DigitSet]
) -> None:
    images = small_sets[1].images
    assert errors(clean(denoiser, images), images) > 3


def test_the_noise_has_the_size_that_is_asked_for() -> None:
    generator = torch.Generator().manual_seed(0)
    grey = torch.full((2_000, 1, 28, 28), 0.5)
    noisy = add_noise(grey, 50, Draws.of(generator, len(grey)))
    deviations = 255 * noisy.std((1, 2, 3))
    assert float(deviations.mean()) == pytest.approx(25, abs=1)
    assert float(deviations.max()) == pytest.approx(50, abs=4)
    assert float(deviations.min()) < 1
    strong = add_noise(0 * grey, 200, Draws.of(generator, len(grey)))
    assert float(strong.min()) == 0
    assert float(strong.max()) == 1


def test_what_is_given_back_unchanged_is_scored_by_the_noise(
    small_sets: tuple[DigitSet, DigitSet],
) -> None:
    batches = Batches(small_sets[1], normalisation=AS_PIXELS)
    most, objective = 100, RemoveNoise(100)
    score = objective.score(Nothing(), batches)
    assert score.count == 500
    assert np.isnan(score.accuracy)
    assert 0.3 < score.loss / (most**2 / 3 / 255**2) < 0.7  # the mean square, half of it cut off
    assert score == replace(objective.score(Nothing(), batches), accuracy=score.accuracy)
    assert RemoveNoise(10).score(Nothing(), batches).loss < score.loss / 20


def test_the_network_behind_a_denoiser_reads_what_it_makes(
    denoiser: nn.Module, small_sets: tuple[DigitSet, DigitSet]
) -> None:
    digits = small_sets[1]
    network = build_model("small_cnn", seed=0)
    both = CleanedFirst(denoiser, network)
    cleaned = replace(digits, images=clean(denoiser, digits.images))
    found, expected = evaluate(both, Batches(digits)), evaluate(network, Batches(cleaned))
    assert found.loss == pytest.approx(expected.loss, abs=1e-3)  # bytes are rounded
    assert not any(part.requires_grad for part in denoiser.parameters())


def test_training_behind_a_denoiser_leaves_it_as_it_was(
    denoiser: nn.Module, small_sets: tuple[DigitSet, DigitSet]
) -> None:
    before = clean(denoiser, small_sets[1].images)
    both = CleanedFirst(denoiser, build_model("small_cnn", seed=0))
    config = TrainConfig(epochs=1)
    fit(both, small_sets[0], None, config, objective=ReadThroughNoise(), device="cpu",
        progress=False)  # fmt: skip
    assert np.array_equal(clean(denoiser, small_sets[1].images), before)


def test_a_network_that_learns_with_noise_reads_through_it(
    small_sets: tuple[DigitSet, DigitSet],
) -> None:
    noisy = corrupt(small_sets[1], "noise", 150)
    found = {}
    for name, objective in (("without", None), ("with", ReadThroughNoise(200))):
        run = fit("small_cnn", small_sets[0], None, TrainConfig(epochs=6), objective=objective,
                  device="cpu", progress=False)  # fmt: skip
        found[name] = evaluate(run.model, Batches(noisy)).accuracy
    assert found["with"] > found["without"] + 0.1


def test_a_denoiser_gives_images_of_the_size_it_was_given_and_first_weights_from_the_seed() -> None:
    one, same, other = make_denoiser(seed=1), make_denoiser(seed=1), make_denoiser(seed=2)
    assert one(torch.rand(3, 1, 28, 28)).shape == (3, 1, 28, 28)
    assert torch.equal(one.down1.weight, same.down1.weight)
    assert not torch.equal(one.down1.weight, other.down1.weight)
    assert Denoiser(4).down2.out_channels == 8


def test_settings_that_would_do_nothing_are_refused(
    small_sets: tuple[DigitSet, DigitSet], tmp_path: Path
) -> None:
    for objective in (RemoveNoise, ReadThroughNoise):
        for most in (0, -1, np.inf):
            with pytest.raises(ValueError, match="most"):
                objective(most)
    for config, words in (
        (TrainConfig(), "AS_PIXELS"),
        (replace(DENOISE, label_smoothing=0.1), "label_smoothing"),
    ):
        with pytest.raises(ValueError, match=words):
            fit(make_denoiser(), small_sets[0], None, config, objective=RemoveNoise(),
                device="cpu", progress=False)  # fmt: skip
