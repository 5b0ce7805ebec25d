"""Take one ingredient at a time out of a recipe, and see what the accuracy loses.

    python -m benchmarks.ablation [--seeds 5] [--only "without clipping" ...]

About 25 minutes on one core. What the record holds already is not repeated.

A ResNet of 20 layers, 3,000 training digits, 5 epochs: little enough to repeat everything over
seeds, and few enough digits for regularisation to have something to do. Scored on the 5,000
validation digits after the last step; the test set is not looked at. The same seed gives every row
the same order of digits, so rows may be compared seed by seed.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from torch import nn

from mnist_lab.data import DigitSet, load_mnist, split
from mnist_lab.models import build_model, drawn_from
from mnist_lab.training import (
    Augmentation,
    Batches,
    TrainConfig,
    evaluate,
    start_training,
    train_epoch,
)

from .recording import Record, add, make_parser, measured, read_arguments

DIGITS = 3_000
FULL = TrainConfig(
    epochs=5,
    batch_size=100,
    learning_rate=0.01,
    schedule="one_cycle",
    weight_decay=0.02,
    label_smoothing=0.1,
    clip_norm=1.0,
    augmentation=Augmentation(rotate=10, shift=1, scale=0.1, shear=5),
)
NETWORK = {"width": 8, "depth": 3, "dropout": 0.1}


@dataclass(frozen=True)
class Row:
    """What a row of the table changes in the full recipe."""

    config: dict[str, Any] = field(default_factory=dict)
    network: dict[str, Any] = field(default_factory=dict)
    default_start: bool = False  # PyTorch's own initialisation instead of He's


ROWS = {
    "full recipe": Row(),
    "without He's initialisation": Row(default_start=True),
    "without batch norm": Row(network={"norm": False}),
    "without residual connections": Row(network={"residual": False}),
    "without both": Row(network={"norm": False, "residual": False}),
    "without all three": Row(network={"norm": False, "residual": False}, default_start=True),
    "without clipping": Row({"clip_norm": None}),
    "without dropout": Row(network={"dropout": 0.0}),
    "without weight decay": Row({"weight_decay": 0.0}),
    "L1 in place of weight decay": Row({"weight_decay": 0.0, "l1_penalty": 1e-5}),
    "without label smoothing": Row({"label_smoothing": 0.0}),
    "without augmentation": Row({"augmentation": None}),
    # A rate that stays is given Adam's usual long memory of squares.
    "constant learning rate": Row({"schedule": "constant", "adam_beta2": 0.999}),
    "exponential schedule": Row({"schedule": "exponential"}),
    "cosine schedule": Row({"schedule": "cosine"}),
    "cyclic schedule": Row({"schedule": "cyclic"}),
}


def measure(row: Row, seed: int, train: DigitSet, validation: DigitSet) -> dict[str, float]:
    """Train once; return accuracies and seconds. A run that diverges keeps what it has then."""
    config = replace(FULL, seed=seed, **row.config)
    model = build_model("resnet", seed=seed, **{**NETWORK, **row.network})
    if row.default_start:
        start_as_torch_does(model, seed)
    started = time.perf_counter()
    state = start_training(model, train, config)
    with suppress(FloatingPointError):
        for _ in range(config.epochs):
            train_epoch(state)
    seconds = time.perf_counter() - started
    return {
        "accuracy": evaluate(model, Batches(validation)).accuracy,
        "seconds": seconds,
    }


def start_as_torch_does(model: nn.Module, seed: int) -> None:
    """Draw every convolution's weights as `nn.Conv2d` itself would have."""
    with drawn_from(seed):
        for part in model.modules():
            if isinstance(part, nn.Conv2d):
                part.reset_parameters()


def main() -> None:
    """Measure what the record lacks, seed by seed."""
    arguments = read_arguments(make_parser(__doc__, seeds=5, only=ROWS, threads=1, anew=True))
    record = Record("ablation", arguments, {"digits": DIGITS, "network": NETWORK, "config": FULL})
    train, validation = split(load_mnist().train, seed=0)
    train = train.subset(np.arange(DIGITS))
    for name in arguments.only:
        entry = record.entry(name)
        for seed in range(measured(entry, "accuracy"), arguments.seeds):
            run = measure(ROWS[name], seed, train, validation)
            for key, value in run.items():
                add(entry, key, value)
            record.save(f"{name:30} seed {seed} {run['accuracy']:.4f}")


if __name__ == "__main__":
    main()
