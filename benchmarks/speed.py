"""From the usual way to 99 % in seconds: every rung of the ladder, side by side in one run.

    python -m benchmarks.speed [--device cpu|cuda] [--seeds 5] [--only fast ...]

About 6 minutes on two idle cores. The record is written when all recipes have run.

Each recipe learns from the same 55,000 digits, given as bytes in memory. Its time runs until the
last optimiser step; normalising, shuffling and choosing digits count, importing and scoring do not.
The recipes take turns, seed after seed, after one run of each light one that is not timed. The
usual way takes minutes, so it and its like run for fewer seeds.

Three recipes are published ones and are scored on the test set, once a seed: the usual way, the
quickest public recipe, and our preset `fast` (in float32 and in 16 bits: bfloat16, or float16 on a
GPU of before 2020). The others are scored on validation digits.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from mnist_lab.data import MNIST_NORMALISATION, DigitSet, load_mnist, split
from mnist_lab.lessons import summarise
from mnist_lab.models import build_model, count_parameters, drawn_from
from mnist_lab.training import (
    PRESETS,
    Batch,
    Batches,
    TrainConfig,
    choose_device,
    choose_half,
    evaluate,
    fit,
)

from .recording import DEVICES, Record, make_parser, read_arguments, wait

Trained = tuple[nn.Module, float]  # the network and the seconds that its training took
Train = Callable[[DigitSet, int, str], Trained]  # the digits, the seed, the device

HEAVY_SEEDS = 2
USUAL_EPOCHS = 3


class OneByOne(Dataset[tuple[Tensor, int]]):
    """The digits as torchvision serves them: one at a time, through an image of PIL."""

    transform = transforms.Compose(
        [transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))]
    )

    def __init__(self, digits: DigitSet) -> None:
        self.digits = digits

    def __len__(self) -> int:
        return len(self.digits)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = self.transform(Image.fromarray(self.digits.images[index]))
        return image, int(self.digits.labels[index])


class OnePassNet(nn.Module):
    """The quickest public recipe's network: two convolutions, two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 24, 5)
        self.conv2 = nn.Conv2d(24, 32, 3)
        self.hidden = nn.Linear(32 * 5 * 5, 256)
        self.output = nn.Linear(256, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (n, 10) of images (n, 1, 28, 28)."""
        features = F.max_pool2d(F.relu(self.conv1(images)), 2)  # (n, 24, 12, 12)
        features = F.max_pool2d(F.relu(self.conv2(features)), 2)  # (n, 32, 5, 5)
        logits: Tensor = self.output(F.relu(self.hidden(features.flatten(1))))
        return logits


def train_the_usual_way(digits: DigitSet, seed: int, device: str) -> Trained:
    """Take batches of 64 from a DataLoader; Adadelta, its rate falling by 0.7 an epoch."""
    return _adadelta("article_000", _one_by_one, digits, seed, device)


def train_a_smaller_network(digits: DigitSet, seed: int, device: str) -> Trained:
    """Do the same with a network that works on a quarter of the places."""
    return _adadelta("small_cnn", _one_by_one, digits, seed, device)


def train_from_memory(digits: DigitSet, seed: int, device: str) -> Trained:
    """Do the same with the digits as one tensor: a batch is a piece of it."""
    return _adadelta("small_cnn", _from_memory, digits, seed, device)


def _one_by_one(digits: DigitSet, seed: int, device: str) -> Iterable[Batch]:
    generator = torch.Generator().manual_seed(seed)
    return DataLoader(OneByOne(digits), 64, shuffle=True, generator=generator)


def _from_memory(digits: DigitSet, seed: int, device: str) -> Iterable[Batch]:
    return Batches(digits, 64, device=device, shuffle=True, seed=seed)


def _adadelta(
    name: str,
    serve: Callable[[DigitSet, int, str], Iterable[Batch]],
    digits: DigitSet,
    seed: int,
    device: str,
) -> Trained:
    started = time.perf_counter()
    batches = serve(digits, seed, device)
    corrected = {"corrected": True} if name == "article_000" else {}
    model = build_model(name, seed=seed, **corrected).to(device)
    optimizer = torch.optim.Adadelta(model.parameters(), lr=1.0)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.7)
    with drawn_from(seed, torch.device(device)):  # dropout draws from torch's own generator
        for _ in range(USUAL_EPOCHS):
            for images, labels in batches:
                _step(model, optimizer, images.to(device), labels.to(device))
            schedule.step()
    return _stop(model, device, started)


def train_in_one_pass(digits: DigitSet, seed: int, device: str) -> Trained:
    """Follow the quickest public recipe: Adam with short memory, one-cycle, batches of 256."""
    started = time.perf_counter()
    with drawn_from(seed):
        model = OnePassNet().to(device)
    images = MNIST_NORMALISATION(torch.from_numpy(np.array(digits.images)).to(device)).unsqueeze(1)
    labels = torch.from_numpy(np.array(digits.labels)).to(device)
    generator = torch.Generator().manual_seed(seed)
    pieces = torch.randperm(len(digits), generator=generator).to(device).split(256)
    optimizer = torch.optim.Adam(model.parameters(), betas=(0.7, 0.9))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, total_steps=len(pieces))
    for piece in pieces:
        _step(model, optimizer, images[piece], labels[piece])
        schedule.step()
    return _stop(model, device, started)


def _step(
    model: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor
) -> None:
    optimizer.zero_grad()
    F.cross_entropy(model(images), labels).backward()
    optimizer.step()


def _stop(model: nn.Module, device: str, started: float) -> Trained:
    wait(device)  # a GPU works on after Python has asked for the last step
    return model, time.perf_counter() - started


def ours(config: TrainConfig, model: str = "small_cnn", *, half: bool = False) -> Train:
    """Return a recipe of the package, trained as the command line trains it.

    With `half` the products are in the 16 bits that the device is made for.
    """

    def train(digits: DigitSet, seed: int, device: str) -> Trained:
        seeded = replace(config, seed=seed)
        if half:
            seeded = replace(seeded, precision=choose_half(torch.device(device)))
        result = fit(model, digits, config=seeded, device=device, progress=False)
        return result.model, result.seconds

    return train


@dataclass(frozen=True)
class Rung:
    """One recipe, what it changes, and whether it is published (scored on the test set)."""

    train: Train
    change: str
    published: bool = False
    heavy: bool = False


FAST = PRESETS["fast"].config
FAST_MODEL = PRESETS["fast"].model
ONE_EPOCH = TrainConfig(epochs=1, batch_size=128, learning_rate=0.02)

RUNGS = {
    "usual": Rung(
        train_the_usual_way, "DataLoader, Adadelta, 3 epochs", published=True, heavy=True
    ),
    "smaller": Rung(train_a_smaller_network, "a smaller network", heavy=True),
    "from_memory": Rung(train_from_memory, "the digits as one tensor", heavy=True),
    "one_cycle": Rung(ours(ONE_EPOCH), "channels last, AdamW, one-cycle, 1 epoch"),
    "smoothed": Rung(ours(replace(ONE_EPOCH, label_smoothing=0.1)), "label smoothing"),
    "fast": Rung(ours(FAST, FAST_MODEL), "the hardest 30 % of the digits", published=True),
    "fast_bfloat16": Rung(ours(FAST, FAST_MODEL, half=True), "{half} products", published=True),
    "one_pass": Rung(train_in_one_pass, "the quickest public recipe", published=True),
}


def warm_up(rungs: dict[str, Rung], digits: DigitSet, device: str) -> None:
    """Run each recipe untimed: the light ones whole, the heavy ones on a few digits."""
    few = digits.subset(np.arange(1_000))
    for rung in rungs.values():
        rung.train(few if rung.heavy else digits, 0, device)


def main() -> None:
    """Measure, print the table, write the record."""
    parser = make_parser(__doc__, seeds=5, only=RUNGS, devices=DEVICES)
    parser.add_argument("--no-test", action="store_true", help="validation digits only, no record")
    arguments = read_arguments(parser)
    device = str(choose_device(arguments.device))
    rungs = {name: RUNGS[name] for name in RUNGS if name in arguments.only}
    mnist = load_mnist()
    train, validation = split(mnist.train, seed=0)
    held_out = Batches(validation, device=device)
    test = Batches(mnist.test, device=device)
    record = Record("speed", arguments, resume=False)
    warm_up(rungs, train, device)
    seconds: dict[str, list[float]] = {name: [] for name in rungs}
    scores: dict[str, dict[str, list[float]]] = {
        name: {"validation_accuracy": [], "accuracy": []} for name in rungs
    }
    sizes: dict[str, int] = {}
    for seed in range(arguments.seeds):
        for name, rung in rungs.items():
            if rung.heavy and seed >= HEAVY_SEEDS:
                continue
            model, spent = rung.train(train, seed, device)
            sizes[name] = count_parameters(model)
            seconds[name].append(spent)
            score = evaluate(model, held_out).accuracy
            scores[name]["validation_accuracy"].append(score)
            if rung.published and not arguments.no_test:
                accuracy = evaluate(model, test).accuracy
                scores[name]["accuracy"].append(accuracy)
                record.log_test_look(f"speed {name}", seed, accuracy)
            print(f"{name:14} seed {seed} {spent:7.2f} s, validation {score:.2%}", flush=True)
    for name, rung in rungs.items():
        record.results[name] = {
            "change": rung.change.format(half=choose_half(torch.device(device))),
            "parameters": sizes[name],
            "seconds": {**summarise(seconds[name]), "median": float(np.median(seconds[name]))},
            **{part: summarise(values) for part, values in scores[name].items() if values},
        }
    print_table(record.results)
    if not arguments.no_test and len(rungs) == len(RUNGS):
        record.parts["ratios"] = ratios(record.results)
        record.save(json.dumps(record.parts["ratios"]), f"-> {record.path}")


def print_table(results: dict[str, Any]) -> None:
    """Print median seconds and accuracy of every recipe."""
    for name, row in results.items():
        accuracy = row.get("accuracy", row["validation_accuracy"])
        part = "test" if "accuracy" in row else "validation"
        print(
            f"{name:14} {row['seconds']['median']:8.2f} s  {accuracy['mean']:.2%} "
            f"± {accuracy['std'] or 0:.2%} ({part}, {accuracy['n']} seeds)  {row['change']}"
        )


def ratios(results: dict[str, Any]) -> dict[str, float]:
    """Return medians as ratios: a machine is faster or slower, its ratios less so."""
    median = {name: row["seconds"]["median"] for name, row in results.items()}
    return {
        "fast_to_one_pass": round(median["fast"] / median["one_pass"], 3),
        "fast_bfloat16_to_one_pass": round(median["fast_bfloat16"] / median["one_pass"], 3),
        "usual_to_fast": round(median["usual"] / median["fast"], 1),
    }


if __name__ == "__main__":
    main()
