"""What helped the preset `fast` and what did not: one idea at a time, on validation data.

    python -m benchmarks.trials [--seeds 10] [--threads 1]

About 15 minutes on one core.

Every variant differs from `fast` in the one thing that its name says; where another thing needs
another rate, the name says that too, and several rates are tried. All take turns, seed after seed,
so that each gain is a mean of differences from the same seed and has a standard error. What a
variant costs is the processor's time, as a share of `fast`'s: that can be measured on a machine
that is shared. The seeds begin at 2,000, where nothing was chosen.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from mnist_lab.data import DigitSet, load_mnist, split
from mnist_lab.models import QuickCNN, register
from mnist_lab.training import PRESETS, Augmentation, Batches, evaluate, fit

from .neighbours import difference, scores_of
from .recording import Record, add, make_parser, measured, read_arguments, working_seconds

FAST = PRESETS["fast"]
FIRST_SEED = 2_000


class FrozenStem(QuickCNN):
    """`quick_cnn` whose first layer stays as it was drawn: nothing flows back to it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1.requires_grad_(False)
        self.norm1.requires_grad_(False)


class Padded(QuickCNN):
    """`quick_cnn` with a padded first layer: 7x7 places, of which pooling loses a row later."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1.padding = (2, 2)


class Strided(QuickCNN):
    """`quick_cnn` with larger strides in place of pooling: fewer products."""

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (n, 10) of images (n, 1, 28, 28)."""
        features = F.relu(self.norm1(F.conv2d(images, self.conv1.weight, stride=4)))
        features = F.relu(self.norm2(self.conv2(features)))  # (n, 32, 6, 6)
        features = F.conv2d(features, self.conv3.weight, stride=2, padding=1)
        features = F.relu(self.norm3(features))  # (n, 64, 3, 3)
        logits: Tensor = self.output(features.flatten(1))
        return logits


NETWORKS = {"frozen_stem": FrozenStem, "padded": Padded, "strided": Strided}


@dataclass(frozen=True)
class Trial:
    """A change of the configuration, or another network."""

    changes: dict[str, Any] = field(default_factory=dict)
    model: str = FAST.model
    arguments: dict[str, Any] = field(default_factory=dict)


RATE = FAST.config.learning_rate
SHARE = FAST.config.hardest_share
AT_RANDOM = "as many at random"


def _at(times: float, **changes: Any) -> Trial:
    """Return a trial with so many times `fast`'s rate."""
    return Trial({**changes, "learning_rate": round(times * RATE, 4)})


TRIALS = {
    "fast": Trial(),
    "all digits": Trial({"hardest_share": 1.0}),
    AT_RANDOM: Trial({"hardest_share": 1.0}),  # see `digits_for`
    "hardest 10 %, 3 passes": Trial({"hardest_share": 0.1, "epochs": 3}),
    "hardest 50 %": Trial({"hardest_share": 0.5}),
    "batches of 32, 0.7 of the rate": _at(0.7, batch_size=32),
    "batches of 128, the same rate": Trial({"batch_size": 128}),
    "batches of 128, 1.4 times the rate": _at(1.4, batch_size=128),
    "batches of 256, twice the rate": _at(2, batch_size=256),
    "half the rate": _at(0.5),
    "twice the rate": _at(2),
    "constant rate 0.001": Trial({"schedule": "constant", "learning_rate": 0.001}),
    "constant rate 0.003": Trial({"schedule": "constant", "learning_rate": 0.003}),
    "constant rate 0.01": Trial({"schedule": "constant", "learning_rate": 0.01}),
    "SGD, rate 0.05": Trial({"optimizer": "sgd", "learning_rate": 0.05}),
    "SGD, rate 0.1": Trial({"optimizer": "sgd", "learning_rate": 0.1}),
    "SGD, rate 0.2": Trial({"optimizer": "sgd", "learning_rate": 0.2}),
    "no label smoothing": Trial({"label_smoothing": 0.0}),
    "averaged weights": Trial({"average_decay": 0.98}),
    "shifts by a pixel": Trial({"augmentation": Augmentation(shift=1)}),
    "bfloat16": Trial({"precision": "bfloat16"}),
    "frozen first layer": Trial(model="frozen_stem"),
    "padded first layer": Trial(model="padded"),
    "strides, no pooling": Trial(model="strided"),
    "small_cnn, which pools later": Trial(model="small_cnn"),
    "width 24": Trial(arguments={"width": 24}),
    "width 48": Trial(arguments={"width": 48}),
}


def digits_for(name: str, train: DigitSet, seed: int) -> DigitSet:
    """Return what a trial trains on before any choice of the hardest."""
    if name != AT_RANDOM:
        return train
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(train), generator=generator).numpy()
    return train.subset(order[: round(SHARE * len(train))])


def run_once(name: str, train: DigitSet, held_out: Batches, seed: int) -> tuple[float, float]:
    """Return the validation accuracy of a trial from one seed, and the processor's seconds."""
    trial = TRIALS[name]
    config = replace(FAST.config, seed=seed, **trial.changes)
    digits = digits_for(name, train, seed)
    started = working_seconds()
    run = fit(
        trial.model, digits, config=config, arguments=trial.arguments, device="cpu", progress=False
    )
    seconds = working_seconds() - started
    return evaluate(run.model, held_out).accuracy, seconds


def main() -> None:
    """Try everything, or what the record lacks."""
    arguments = read_arguments(make_parser(__doc__, seeds=10, threads=1, anew=True))
    record = Record("trials", arguments, {"recipe": FAST, "first_seed": FIRST_SEED})
    for name, network in NETWORKS.items():
        register(name, network)
    train, validation = split(load_mnist().train, seed=0)
    held_out = Batches(validation)
    if measured(record.entry("fast"), "validation_accuracy") < arguments.seeds:
        run_once("fast", train, held_out, FIRST_SEED)  # not measured: the first run is slower
    for seed in tqdm(range(arguments.seeds)):
        for name in TRIALS:
            entry = record.entry(name)
            if measured(entry, "validation_accuracy") > seed:
                continue
            accuracy, seconds = run_once(name, train, held_out, FIRST_SEED + seed)
            add(entry, "validation_accuracy", accuracy)
            add(entry, "process_seconds", seconds)
        compare(record.results)
        record.save()
    for name, row in record.results.items():
        print(in_one_line(name, row))


def compare(results: dict[str, Any]) -> None:
    """Say of each row how far it is from `fast`, seed by seed, and how long it takes beside it."""
    fast = results["fast"]
    base = statistics.median(fast["process_seconds"]["values"])
    for row in results.values():
        scores = scores_of(row)
        if len(scores) > 1:
            row["over_fast"] = difference(scores, scores_of(fast)[: len(scores)])
        row["time"] = round(statistics.median(row["process_seconds"]["values"]) / base, 3)


def in_one_line(name: str, row: dict[str, Any]) -> str:
    """Say what a trial brought."""
    gain = row.get("over_fast", {"mean": 0.0, "error": 0.0})
    return (
        f"{name:35} {row['validation_accuracy']['mean']:.2%}  "
        f"{100 * gain['mean']:+.3f} ± {100 * gain['error']:.3f} points  time {row['time']:.2f}"
    )


if __name__ == "__main__":
    main()
