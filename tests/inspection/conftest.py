"""Fixtures of the tests of inspection."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mnist_lab.data.digit_set import DigitSet
from mnist_lab.inspection.pixels import PixelNetwork, as_pixels
from mnist_lab.training.config import TrainConfig
from mnist_lab.training.runs import fit


@pytest.fixture(scope="session")
def network(small_sets: tuple[DigitSet, DigitSet]) -> PixelNetwork:
    """A small CNN that has learnt something."""
    train, validation = small_sets
    run = fit("small_cnn", train, validation, TrainConfig(epochs=3), progress=False)
    return PixelNetwork(run.model)


@pytest.fixture(scope="session")
def pixels(small_sets: tuple[DigitSet, DigitSet]) -> Tensor:
    """Eight digits that it has not learnt from."""
    return as_pixels(small_sets[1].images[:8])


@pytest.fixture(scope="session")
def classes(small_sets: tuple[DigitSet, DigitSet]) -> Tensor:
    """What they are."""
    return torch.from_numpy(small_sets[1].labels[:8])
