"""What the tests of training share: a network that is hard to resume, small runs of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mnist_lab.data.digit_set import DigitSet
from mnist_lab.models.seeding import drawn_from
from mnist_lab.training import loop
from mnist_lab.training.augmentation import Augmentation
from mnist_lab.training.batches import Batch
from mnist_lab.training.config import TrainConfig
from mnist_lab.training.loop import EpochReport, TrainState, start_training, train_step
from mnist_lab.training.runs import FitResult, fit

Sets = tuple[DigitSet, DigitSet]


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
        return self.output(self.dropout(features.flatten(1)))


def make_tiny(seed: int = 5) -> Tiny:
    with drawn_from(seed):
        return Tiny()


# All that augmentation can do to an image.
EVERY_CHANGE = Augmentation(
    rotate=10,
    shift=2,
    scale=0.1,
    shear=5,
    elastic_strength=20,
    stroke=0.5,
    aspect=0.1,
    fill=0.2,
    sharpen=0.5,
    contrast=0.1,
    noise=0.1,
)

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


def ready(model: nn.Module, config: TrainConfig, **options: Any) -> TrainState:
    """Return a state for single steps: the digits do not count."""
    digits = DigitSet(np.zeros((10, 28, 28), np.uint8), np.arange(10))
    return start_training(model, digits, config, **options)


def before_step(monkeypatch: pytest.MonkeyPatch, number: int, error: BaseException) -> None:
    """Raise `error` in the place of training step `number`, counted from 1."""
    count, original = [0], train_step

    def step(*arguments: Any) -> tuple[Tensor, Tensor]:
        count[0] += 1
        if count[0] == number:
            raise error
        return original(*arguments)

    monkeypatch.setattr(loop, "train_step", step)
