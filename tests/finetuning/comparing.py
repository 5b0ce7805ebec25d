"""What the tests of fine-tuning compare: weights before and after, and what may learn."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor, equal, nn

from mnist_lab.data.digit_set import DigitSet
from mnist_lab.training.config import TrainConfig
from mnist_lab.training.runs import FitResult, fit

HARSH = TrainConfig(batch_size=32, learning_rate=0.05, weight_decay=0.1)


def state_of(model: nn.Module) -> dict[str, Tensor]:
    """Return a copy of all weights and statistics."""
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def changed(before: dict[str, Tensor], model: nn.Module) -> set[str]:
    """Return the names of all weights and statistics that are not what they were."""
    now = model.state_dict()
    assert now.keys() == before.keys()
    return {name for name, tensor in now.items() if not equal(tensor, before[name])}


def learning(model: nn.Module) -> set[str]:
    """Return the names of the parameters that are not frozen."""
    return {name for name, p in model.named_parameters() if p.requires_grad}


def train(
    model: nn.Module, digits: DigitSet, config: TrainConfig, steps: int, **options: Any
) -> FitResult:
    """Train for about so many steps on the CPU, without a word; nothing is held out."""
    config = replace(config, steps=steps)
    return fit(model, digits, config=config, device="cpu", progress=False, **options)
