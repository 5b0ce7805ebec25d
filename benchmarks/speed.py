"""From the usual way to 99 % in seconds: every rung of the ladder, side by side in one run.

    python -m benchmarks.speed [--device cpu|cuda] [--seeds 5] [--only fast ...]

About 11 minutes on two idle cores. The record is written when all recipes have run.

Each recipe learns from the same 55,000 digits, given as bytes in memory. Its time runs until the
last optimiser step; normalising, shuffling and choosing digits count, importing and scoring do not.
The recipes take turns, seed after seed, after one run of each that is not timed. The usual way
takes minutes, so it and its like run for fewer seeds, and after all others, where nothing that they
leave behind in the process can slow a short run down.

Three recipes are published ones and are scored on the test set, once a seed: the usual way, the
quickest public recipe, and our preset `fast` (in float32 and in 16 bits: bfloat16, or float16 on a
GPU of before 2020). The others are scored on validation digits. A recipe that the ledger has from
the same seed is not scored anew.

The public recipe is Tuomas Oikarinen's, https://github.com/tuomaso/train_mnist_fast, written down
here in other words. It was tuned on a GPU, where 99 % took 0.76 seconds; here it gets what ours
has: channels last, and 16 bits.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
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
    Recipe,
    TrainConfig,
    choose_device,
    choose_half,
    evaluate,
    fit,
)

from .recording import DEVICES, Record, make_parser, read_arguments, wait, without_defaults

Trained = tuple[nn.Module, float]  # the network and the seconds that its training took
Train = Callable[[DigitSet, int, str], Trained]  # the digits, the seed, the device

HEAVY_SEEDS = 2


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
    """The public recipe's network: two convolutions, two linear layers, pooling before ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 24, 5)
        self.conv2 = nn.Conv2d(24, 32, 3)
        self.hidden = nn.Linear(32 * 5 * 5, 256)
        self.output = nn.Linear(256, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (n, 10) of images (n, 1, 28, 28)."""
        features = F.relu(F.max_pool2d(self.conv1(images), 2))  # (n, 24, 12, 12)
        features = F.relu(F.max_pool2d(self.conv2(features), 2))  # (n, 32, 5, 5)
        logits: Tensor = self.output(F.relu(self.hidden(features.flatten(1))))
        return logits


@dataclass(frozen=True)
class Usual:
    """PyTorch's own example: batches of 64, Adadelta, its rate falling by 0.7 an epoch.

    The digits come one by one from a DataLoader without workers, or are a tensor in memory.
    """

    model: str
    from_memory: bool = False
    epochs: int = 3

    def __call__(self, digits: DigitSet, seed: int, device: str) -> Trained:
        """Train it."""
        started = time.perf_counter()
        corrected = {"corrected": True} if self.model == "article_000" else {}
        model = build_model(self.model, seed=seed, **corrected).to(device)
        optimizer = torch.optim.Adadelta(model.parameters(), lr=1.0)
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.7)
        batches = self.serve(digits, seed, device)
        with drawn_from(seed, torch.device(device)):  # dropout draws from torch's own generator
            for _ in range(self.epochs):
                for images, labels in batches:
                    optimizer.zero_grad()
                    F.cross_entropy(model(images.to(device)), labels.to(device)).backward()
                    optimizer.step()
                schedule.step()
        return _stop(model, device, started)

    def serve(self, digits: DigitSet, seed: int, device: str) -> Iterable[Batch]:
        """Return the batches of an epoch."""
        if self.from_memory:
            return Batches(digits, 64, device=device, shuffle=True, seed=seed)
        generator = torch.Generator().manual_seed(seed)
        return DataLoader(OneByOne(digits), 64, shuffle=True, generator=generator)


@dataclass(frozen=True)
class OnePass:
    """The public recipe: Adam with a short memory, one-cycle, each digit once in the file's order.

    Channels last and 16 bits are not its author's; our own recipe has the first, and may have both.
    """

    batch_size: int = 256
    peak: float = 0.01
    betas: tuple[float, float] = (0.7, 0.9)
    cycle_momentum: bool = False  # with True, torch's default, the schedule overwrites betas[0]
    channels_last: bool = False
    half: bool = False

    def __call__(self, digits: DigitSet, seed: int, device: str) -> Trained:
        """Train it."""
        started = time.perf_counter()
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        with drawn_from(seed):
            model = OnePassNet().to(device).to(memory_format=layout)
        images = MNIST_NORMALISATION(torch.from_numpy(np.array(digits.images)).to(device))
        images = images.unsqueeze(1).to(memory_format=layout)
        labels = torch.from_numpy(np.array(digits.labels)).to(device)
        optimizer, schedule = self.prepare(model, math.ceil(len(digits) / self.batch_size))
        half = choose_half(torch.device(device)) if self.half else None
        scaler = torch.amp.GradScaler(device, enabled=half == "float16")
        pieces = zip(images.split(self.batch_size), labels.split(self.batch_size), strict=True)
        for batch, right in pieces:
            optimizer.zero_grad()
            with torch.autocast(device, half and getattr(torch, half), enabled=self.half):
                loss = F.cross_entropy(model(batch), right)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            schedule.step()
        return _stop(model, device, started)

    def prepare(
        self, model: nn.Module, steps: int
    ) -> tuple[torch.optim.Adam, torch.optim.lr_scheduler.OneCycleLR]:
        """Return the optimiser and its schedule."""
        optimizer = torch.optim.Adam(model.parameters(), lr=self.peak, betas=self.betas)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, self.peak, total_steps=steps, cycle_momentum=self.cycle_momentum
        )
        return optimizer, schedule


def _stop(model: nn.Module, device: str, started: float) -> Trained:
    wait(device)  # a GPU works on after Python has asked for the last step
    return model, time.perf_counter() - started


@dataclass(frozen=True)
class Ours:
    """A recipe of the package, trained as the command line trains it.

    With `half` the products are in the 16 bits that the device is made for.
    """

    recipe: Recipe
    half: bool = False

    def on(self, device: str) -> Recipe:
        """Return the recipe with the precision that it has on a device."""
        if not self.half:
            return self.recipe
        precision = choose_half(torch.device(device))
        return replace(self.recipe, config=replace(self.recipe.config, precision=precision))

    def __call__(self, digits: DigitSet, seed: int, device: str) -> Trained:
        """Train it."""
        recipe = self.on(device)
        config = replace(recipe.config, seed=seed)
        run = fit(
            recipe.model,
            digits,
            config=config,
            arguments=recipe.arguments,
            device=device,
            progress=False,
        )
        return run.model, run.seconds


@dataclass(frozen=True)
class Rung:
    """One recipe, what it changes, and whether it is published (scored on the test set)."""

    train: Train
    change: str
    published: bool = False
    heavy: bool = False

    def configuration(self, device: str) -> Any:
        """Return how it trains, for the ledger: a recipe of the package is the package's."""
        if isinstance(self.train, Ours):
            return self.train.on(device)
        return {type(self.train).__name__: without_defaults(self.train)}


FAST = PRESETS["fast"]
ONE_EPOCH = Recipe("small_cnn", TrainConfig(epochs=1, batch_size=128, learning_rate=0.02))
SMOOTHED = replace(ONE_EPOCH, config=replace(ONE_EPOCH.config, label_smoothing=0.1))
POOLING_FIRST = replace(SMOOTHED, model="quick_cnn")

RUNGS = {
    "usual": Rung(
        Usual("article_000"), "DataLoader, Adadelta, 3 epochs", published=True, heavy=True
    ),
    "smaller": Rung(Usual("small_cnn"), "a smaller network", heavy=True),
    "from_memory": Rung(
        Usual("small_cnn", from_memory=True), "the digits as one tensor", heavy=True
    ),
    "one_cycle": Rung(Ours(ONE_EPOCH), "channels last, AdamW, one-cycle, 1 epoch"),
    "smoothed": Rung(Ours(SMOOTHED), "label smoothing"),
    "pooling_first": Rung(Ours(POOLING_FIRST), "a network that pools after its first layer"),
    "fast": Rung(Ours(FAST), "the hardest 30 % of the digits", published=True),
    "fast_bfloat16": Rung(Ours(FAST, half=True), "{half} products", published=True),
    "one_pass": Rung(OnePass(), "the public recipe train_mnist_fast", published=True),
    "one_pass_channels_last": Rung(OnePass(channels_last=True), "it with channels last"),
    "one_pass_bfloat16": Rung(
        OnePass(channels_last=True, half=True), "it with channels last and {half} products"
    ),
}


def take_turns(rungs: dict[str, Rung], seeds: int) -> Iterator[tuple[str, int]]:
    """Yield name and seed of every run: the light ones in turns, then the heavy ones."""
    for heavy in (False, True):
        names = [name for name, rung in rungs.items() if rung.heavy == heavy]
        for seed in range(min(seeds, HEAVY_SEEDS) if heavy else seeds):
            yield from ((name, seed) for name in names)


def warm_up(rung: Rung, digits: DigitSet, device: str) -> None:
    """Run a recipe untimed: a light one whole, a heavy one on a few digits."""
    rung.train(digits.subset(np.arange(1_000)) if rung.heavy else digits, 0, device)


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
    seconds: dict[str, list[float]] = {name: [] for name in rungs}
    scores: dict[str, dict[str, list[float]]] = {
        name: {"validation_accuracy": [], "accuracy": []} for name in rungs
    }
    sizes: dict[str, int] = {}
    for name, seed in take_turns(rungs, arguments.seeds):
        rung = rungs[name]
        if seed == 0:
            warm_up(rung, train, device)
        model, spent = rung.train(train, seed, device)
        sizes[name] = count_parameters(model)
        seconds[name].append(spent)
        score = evaluate(model, held_out).accuracy
        scores[name]["validation_accuracy"].append(score)
        if rung.published and not arguments.no_test:
            accuracy = record.score_once(
                f"speed {name}",
                rung.configuration(device),
                seed,
                partial(accuracy_of, model, test),
            )
            scores[name]["accuracy"].append(accuracy)
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


def accuracy_of(model: nn.Module, batches: Batches) -> float:
    """Return the share that a network reads."""
    return evaluate(model, batches).accuracy


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
    """Return times as ratios: a machine is faster or slower, its ratios less so.

    Those to the public recipe are medians over the turns, since both ran in each; the usual way ran
    by itself, so its is of medians.
    """

    def paired(one: str, other: str) -> float:
        pairs = zip(*(results[name]["seconds"]["values"] for name in (one, other)), strict=True)
        return round(float(np.median([a / b for a, b in pairs])), 3)

    median = {name: row["seconds"]["median"] for name, row in results.items()}
    return {
        "fast_to_one_pass": paired("fast", "one_pass"),
        "fast_to_one_pass_channels_last": paired("fast", "one_pass_channels_last"),
        "fast_bfloat16_to_one_pass_bfloat16": paired("fast_bfloat16", "one_pass_bfloat16"),
        "usual_to_fast": round(median["usual"] / median["fast"], 1),
    }


if __name__ == "__main__":
    main()
