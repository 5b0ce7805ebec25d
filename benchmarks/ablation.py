"""Take one ingredient at a time out of a recipe, and see what the accuracy loses.

    python -m benchmarks.ablation [--seeds 5] [--only "without clipping" ...]

About 20 minutes on one core. What the record holds already is not repeated.

A ResNet of 20 layers, 3,000 training digits, 5 epochs: little enough to repeat everything over
seeds, and few enough digits for regularisation to have something to do. Scored on the 5,000
validation digits after the last step; the test set is not looked at. The same seed gives every row
the same order of digits, so rows may be compared seed by seed.

A schedule, or a network, bears a learning rate of its own: the mean rate of one that falls at once
is a fifth of its peak, of one that stays all of it. So every row that changes the network or the
schedule searches its own among the same `RATES`, from the seeds `CHOOSING`, and is scored from
others. The full recipe is there twice: at the rate that all other rows keep, and at its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from torch import nn

from mnist_lab.data import DigitSet, load_mnist, split
from mnist_lab.models import build_model, drawn_from
from mnist_lab.models.resnet import ResidualBlock
from mnist_lab.training import (
    Augmentation,
    Batches,
    TrainConfig,
    evaluate,
    start_training,
    train_epoch,
)

from .recording import Record, add, choose_rate, make_parser, measured, read_arguments

DIGITS = 3_000
RATES = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3)  # a search begins in the middle
CHOOSING = (100, 101)
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
    branches: str = ""  # without batch norm: "divided" by a root, or "from zero" at first

    @property
    def searches(self) -> bool:
        """Whether the row has a learning rate of its own."""
        return "schedule" in self.config or bool(self.network.keys() & {"norm", "residual"})


PLAIN = {"norm": False, "residual": False}
ROWS = {
    "full recipe": Row(),
    "full recipe, a rate of its own": Row({"schedule": "one_cycle"}),
    "without He's initialisation": Row(default_start=True),
    "without batch norm": Row(network={"norm": False}),
    "without batch norm, branches divided": Row(network={"norm": False}, branches="divided"),
    "without batch norm, branches from zero": Row(network={"norm": False}, branches="from zero"),
    "without residual connections": Row(network={"residual": False}),
    "without both": Row(network=PLAIN),
    "without all three": Row(network=PLAIN, default_start=True),
    "without clipping": Row({"clip_norm": None}),
    "without dropout": Row(network={"dropout": 0.0}),
    "without weight decay": Row({"weight_decay": 0.0}),
    "L1 in place of weight decay": Row({"weight_decay": 0.0, "l1_penalty": 1e-5}),
    "without label smoothing": Row({"label_smoothing": 0.0}),
    "without augmentation": Row({"augmentation": None}),
    "constant learning rate": Row({"schedule": "constant"}),
    "exponential schedule": Row({"schedule": "exponential"}),
    "cosine schedule": Row({"schedule": "cosine"}),
    "cyclic schedule": Row({"schedule": "cyclic"}),
}


def score(row: Row, rate: float, seed: int, train: DigitSet, validation: DigitSet) -> float:
    """Train once; return the validation accuracy. A run that diverges keeps what it has then."""
    config = replace(FULL, learning_rate=rate, seed=seed, **row.config)
    model = build_model("resnet", seed=seed, **{**NETWORK, **row.network})
    if row.default_start:
        start_as_torch_does(model, seed)
    if row.branches:
        keep_small(model, row.branches)
    state = start_training(model, train, config)
    with suppress(FloatingPointError):
        for _ in range(config.epochs):
            train_epoch(state)
    return evaluate(model, Batches(validation)).accuracy


def keep_small(model: nn.Module, branches: str) -> None:
    """Keep what the blocks add small, where no batch norm does that.

    "divided" divides it by the root of the number of blocks, all the time, as chapter 7 derives;
    "from zero" has the last convolution of each block begin with zeros, which is what the full
    recipe does with the scale of each block's last norm.
    """
    blocks = [part for part in model.modules() if isinstance(part, ResidualBlock)]
    for block in blocks:
        if branches == "divided":
            block.conv2.register_forward_hook(lambda _, __, z: z / math.sqrt(len(blocks)))
        else:
            for parameter in block.conv2.parameters():
                nn.init.zeros_(parameter)


def start_as_torch_does(model: nn.Module, seed: int) -> None:
    """Draw every convolution's weights as `nn.Conv2d` itself would have."""
    with drawn_from(seed):
        for part in model.modules():
            if isinstance(part, nn.Conv2d):
                part.reset_parameters()


def search(tried: dict[str, list[float]], score_at: Callable[[float, int], float]) -> float:
    """Return the best of `RATES`: from the middle on, until the best has been between two worse."""
    best = RATES[len(RATES) // 2]
    while True:
        place = RATES.index(best)
        for rate in RATES[max(place - 1, 0) : place + 2]:
            scores = tried.setdefault(str(rate), [])
            for seed in CHOOSING[len(scores) :]:
                scores.append(score_at(rate, seed))
        if choose_rate(tried) == best:
            return best
        best = choose_rate(tried)


def main() -> None:
    """Measure what the record lacks, seed by seed."""
    arguments = read_arguments(make_parser(__doc__, seeds=5, only=ROWS, threads=1, anew=True))
    record = Record("ablation", arguments, {"digits": DIGITS, "network": NETWORK, "config": FULL})
    train, validation = split(load_mnist().train, seed=0)
    train = train.subset(np.arange(DIGITS))
    for name in arguments.only:
        score_at = partial(score, ROWS[name], train=train, validation=validation)
        entry = record.entry(name)
        record.parts["results"] = {
            row: record.results[row] for row in ROWS if row in record.results
        }
        rate = FULL.learning_rate
        if ROWS[name].searches:
            tried = entry.setdefault("search", {})
            rate = entry["learning_rate"] = search(tried, score_at)
            print(f"{name:40} {rate:6} of {tried}")
        for seed in range(measured(entry, "accuracy"), arguments.seeds):
            add(entry, "accuracy", score_at(rate, seed))
            record.save(f"{name:40} seed {seed} {entry['accuracy']['values'][-1]:.4f}")


if __name__ == "__main__":
    main()
