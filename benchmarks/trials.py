"""What helped the preset `fast` and what did not: one change at a time, on validation data.

    python -m benchmarks.trials [--seeds 5]

About 4 minutes on two idle cores.

Every variant differs from `fast` in one thing. All take turns, seed after seed; accuracy is on
validation digits, time is the median as a share of `fast`'s.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from mnist_lab.data import load_mnist, split
from mnist_lab.lessons import summarise
from mnist_lab.models import SmallCNN, register
from mnist_lab.training import PRESETS, Augmentation, fit

from .recording import Record, make_parser, read_arguments

FAST = PRESETS["fast"]


class FrozenStem(SmallCNN):
    """`small_cnn` whose first layer stays as it was drawn: nothing flows back to it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1.requires_grad_(False)
        self.norm1.requires_grad_(False)


class Strided(SmallCNN):
    """`small_cnn` with strides of 2 in place of pooling: a quarter of the products."""

    def __init__(self) -> None:
        super().__init__()
        self.output = nn.Linear(64 * 4 * 4, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (n, 10) of images (n, 1, 28, 28)."""
        features = F.relu(self.norm1(self.conv1(images)))
        for conv, norm in ((self.conv2, self.norm2), (self.conv3, self.norm3)):
            features = F.conv2d(features, conv.weight, stride=2, padding=1)
            features = F.relu(norm(features))
        logits: Tensor = self.output(features.flatten(1))
        return logits


class EarlyPool(nn.Module):
    """Pooling straight after the first layer, so that all else works on 7x7 places."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 5, stride=2, padding=2, bias=False)
        self.conv2 = nn.Conv2d(32, 32, 3, padding=1, bias=False)
        self.conv3 = nn.Conv2d(32, 64, 3, padding=1, bias=False)
        self.norm1, self.norm2, self.norm3 = (nn.BatchNorm2d(count) for count in (32, 32, 64))
        self.output = nn.Linear(64 * 3 * 3, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (n, 10) of images (n, 1, 28, 28)."""
        features = F.relu(self.norm1(F.max_pool2d(self.conv1(images), 2)))
        features = F.relu(self.norm2(self.conv2(features)))
        features = F.relu(self.norm3(F.max_pool2d(self.conv3(features), 2)))
        logits: Tensor = self.output(features.flatten(1))
        return logits


NETWORKS = {"frozen_stem": FrozenStem, "strided": Strided, "early_pool": EarlyPool}


@dataclass(frozen=True)
class Trial:
    """A change of the configuration, or another network."""

    changes: dict[str, Any] = field(default_factory=dict)
    model: str = FAST.model
    arguments: dict[str, Any] = field(default_factory=dict)


TRIALS = {
    "fast": Trial(),
    "all digits": Trial({"hardest_share": 1.0}),
    "as many at random": Trial({"hardest_share": 1.0}),  # see `main`
    "hardest 10 %, 3 passes": Trial({"hardest_share": 0.1, "epochs": 3}),
    "hardest 20 %": Trial({"hardest_share": 0.2}),
    "hardest 50 %": Trial({"hardest_share": 0.5}),
    "batches of 32": Trial({"batch_size": 32, "learning_rate": 0.02}),
    "batches of 128": Trial({"batch_size": 128, "learning_rate": 0.04}),
    "batches of 256": Trial({"batch_size": 256, "learning_rate": 0.06}),
    "a third of the rate": Trial({"learning_rate": 0.01}),
    "twice the rate": Trial({"learning_rate": 0.06}),
    "constant rate": Trial({"schedule": "constant", "learning_rate": 0.003, "adam_beta2": 0.999}),
    "SGD": Trial({"optimizer": "sgd", "learning_rate": 0.1}),
    "no label smoothing": Trial({"label_smoothing": 0.0}),
    "label smoothing 0.2": Trial({"label_smoothing": 0.2}),
    "averaged weights": Trial({"average_decay": 0.98}),
    "shifts by a pixel": Trial({"augmentation": Augmentation(shift=1)}),
    "bfloat16": Trial({"precision": "bfloat16"}),
    "frozen first layer": Trial(model="frozen_stem"),
    "strides, no pooling": Trial(model="strided"),
    "pooling first": Trial(model="early_pool"),
    "width 12": Trial(arguments={"width": 12}),
    "width 24": Trial(arguments={"width": 24}),
}


def main() -> None:
    """Try everything and write the record."""
    arguments = read_arguments(make_parser(__doc__, seeds=5))
    record = Record("trials", arguments, resume=False)
    for name, network in NETWORKS.items():
        register(name, network)
    train, validation = split(load_mnist().train, seed=0)
    scores: dict[str, list[float]] = {name: [] for name in TRIALS}
    seconds: dict[str, list[float]] = {name: [] for name in TRIALS}
    for seed in tqdm(range(-1, arguments.seeds)):  # -1: nobody's, to warm up
        for name, trial in TRIALS.items():
            config = replace(FAST.config, seed=max(seed, 0), **trial.changes)
            digits = train
            if name == "as many at random":
                generator = torch.Generator().manual_seed(max(seed, 0))
                order = torch.randperm(len(train), generator=generator).numpy()
                digits = train.subset(order[: round(FAST.config.hardest_share * len(train))])
            run = fit(
                trial.model,
                digits,
                validation,
                config,
                arguments=trial.arguments,
                device="cpu",
                progress=False,
            )
            if seed >= 0:
                scores[name].append(run.best.validation.accuracy)
                seconds[name].append(run.seconds)
    base = record.parts["fast_seconds"] = statistics.median(seconds["fast"])
    for name in TRIALS:
        record.results[name] = {
            "validation_accuracy": summarise(scores[name]),
            "time": round(statistics.median(seconds[name]) / base, 3),
        }
    record.save()
    for name, row in record.results.items():
        accuracy = row["validation_accuracy"]
        print(
            f"{name:24} {accuracy['mean']:.2%} ± {accuracy['std'] or 0:.2%}  time {row['time']:.2f}"
        )


if __name__ == "__main__":
    main()
