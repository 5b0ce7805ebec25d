"""Clean digits first, or teach the network to read through the noise: accuracy under each change.

    python -m benchmarks.denoising [--seeds 3] [--anew]

About 8 minutes on one core.

A denoising autoencoder learns from 20,000 digits what was under Gaussian noise. Four ways to use it
or to do without are scored beside the network as it is, on 2,500 validation digits under every one
of `CORRUPTIONS` and under more noise:

- `median filter`: every pixel becomes the median of nine, and the network as it is reads that.
- `cleaned`: the network as it is reads what the denoiser makes of the digits.
- `cleaned in training`: a network that has learnt from what the denoiser makes of noisy digits.
- `noise in training`: the control: the same network has learnt from the same noise, uncleaned.

Every training, the denoiser's too, has 20,000 digits, three epochs and its own best rate, which was
searched alike: from another seed, by the loss on the other 2,500 validation digits, without noise
and with (the network as it is: without). The test set is not looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from scipy import ndimage
from torch import nn

from mnist_lab.data import CORRUPTIONS, DigitSet, corrupt, load_mnist, split
from mnist_lab.inspection import (
    DENOISE,
    CleanedFirst,
    ReadThroughNoise,
    RemoveNoise,
    clean,
    make_denoiser,
)
from mnist_lab.models import build_model, count_parameters
from mnist_lab.training import Batches, Objective, TrainConfig, evaluate, fit

from .recording import Record, add, find_best, make_parser, measured, read_arguments

DIGITS = 20_000
READ = TrainConfig(epochs=3)
MOST = 100.0  # grey values: the largest deviation of the noise that is learnt from
NOISES = (30, 90, 120)  # grey values, besides the usual dose
RATES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
SEARCHED = 100  # the seed of the search
AS_THEY_ARE = "as they are"
LEARN = ("denoiser", "as it is", "cleaned in training", "noise in training")


@dataclass(frozen=True)
class Sets:
    """The parts of MNIST's training digits."""

    train: DigitSet
    choose: DigitSet
    report: DigitSet

    @classmethod
    def load(cls) -> Sets:
        """Return 20,000 digits to learn from, and two halves of the validation digits."""
        train, validation = split(load_mnist().train, seed=0)
        choose, report = split(validation, seed=0, validation=2_500)
        return cls(train.subset(slice(0, DIGITS)), choose, report)


def change(digits: DigitSet) -> dict[str, DigitSet]:
    """Return digits as they are, under every corruption, and under other doses of noise."""
    rows = {name: corrupt(digits, name) for name in CORRUPTIONS}
    noisy = {f"noise {dose}": corrupt(digits, "noise", dose) for dose in NOISES}
    return {AS_THEY_ARE: digits, **rows, **noisy}


def filter_by_median(digits: DigitSet) -> DigitSet:
    """Return digits in which every pixel is the median of itself and its eight neighbours."""
    return replace(digits, images=ndimage.median_filter(digits.images, (1, 3, 3)))


def learn(name: str, rate: float, seed: int, sets: Sets, denoiser: nn.Module | None) -> nn.Module:
    """Train one of `LEARN` at a rate; `denoiser` is for the one that learns behind it."""
    config = replace(DENOISE if name == "denoiser" else READ, learning_rate=rate, seed=seed)
    objective: Objective | None = ReadThroughNoise(MOST)
    if name == "denoiser":
        model: nn.Module = make_denoiser(seed=seed)
        objective = RemoveNoise(MOST)
    else:
        model = build_model("small_cnn", seed=seed)
    if name == "as it is":
        objective = None
    elif name == "cleaned in training":
        assert denoiser is not None
        model = CleanedFirst(denoiser, model, config.normalisation)
    fit(model, sets.train, None, config, objective=objective, device="cpu", progress=False)
    return model.eval()


def score_rate(name: str, sets: Sets, denoiser: nn.Module | None, rate: float) -> float:
    """Return minus the loss of one of `LEARN` at a rate, on the digits that choose."""
    model = learn(name, rate, SEARCHED, sets, denoiser)
    if name == "denoiser":
        batches = Batches(sets.choose, normalisation=DENOISE.normalisation)
        return -RemoveNoise(MOST).score(model, batches).loss
    shown = [sets.choose]
    if name != "as it is":
        shown.append(corrupt(sets.choose, "noise"))
    return -float(np.mean([evaluate(model, Batches(digits)).loss for digits in shown]))


def search_rates(record: Record, sets: Sets) -> dict[str, float]:
    """Return the best rate of each of `LEARN`, searched where the record lacks it."""
    best: dict[str, float] = {}
    denoiser = None
    for name in LEARN:
        entry = record.parts.setdefault("search", {}).setdefault(name, {"scores": {}})
        if "rate" not in entry:
            if name == "cleaned in training":
                denoiser = learn("denoiser", best["denoiser"], SEARCHED, sets, None)
            found = partial(score_rate, name, sets, denoiser)
            entry["rate"] = find_best(RATES, entry["scores"], found)
        best[name] = entry["rate"]
        record.save("search", name, best[name])
    return best


def squared_error(images: np.ndarray, truth: np.ndarray) -> float:
    """Return the mean squared error of pixels from 0 to 1."""
    return float(np.mean((images.astype(float) - truth) ** 2) / 255**2)


def measure(seed: int, rates: dict[str, float], sets: Sets, record: Record) -> None:
    """Train everything from one seed, and add what it scores to the record."""
    models: dict[str, nn.Module] = {}
    for name in LEARN:
        models[name] = learn(name, rates[name], seed, sets, models.get("denoiser"))
    plain, denoiser = models["as it is"], models["denoiser"]

    def cleaned(digits: DigitSet) -> DigitSet:
        return replace(digits, images=clean(denoiser, digits.images))

    ways: dict[str, tuple[nn.Module, Callable[[DigitSet], DigitSet] | None]] = {
        "as it is": (plain, None),
        "median filter": (plain, filter_by_median),
        "cleaned": (plain, cleaned),
        "cleaned in training": (models["cleaned in training"], None),
        "noise in training": (models["noise in training"], None),
    }
    for row, digits in change(sets.report).items():
        for way, (model, before) in ways.items():
            shown = digits if before is None else before(digits)
            accuracy = evaluate(model, Batches(shown)).accuracy
            add(record.entry("accuracy", way), row, accuracy)
        if row.startswith(("noise", AS_THEY_ARE)):
            truth = sets.report.images
            for name, shown in (
                ("as they are", digits),
                ("median filter", filter_by_median(digits)),
                ("cleaned", cleaned(digits)),
            ):
                error = squared_error(shown.images, truth)
                add(record.entry("squared error", name), row, error)
    record.parts["weights"] = {
        "denoiser": count_parameters(denoiser), "network": count_parameters(plain)
    }  # fmt: skip


def main() -> None:
    """Measure what the record lacks."""
    parser = make_parser(__doc__, seeds=3, threads=1, anew=True)
    arguments = read_arguments(parser)
    setting = {
        "digits": DIGITS,
        "read": READ,
        "denoise": replace(DENOISE, learning_rate=READ.learning_rate),  # rates are searched
        "most": MOST,
    }
    record = Record("denoising", arguments, {"setting": setting})
    sets = Sets.load()
    rates = search_rates(record, sets)
    done = measured(record.entry("accuracy", "noise in training"), AS_THEY_ARE)
    for seed in range(done, arguments.seeds):
        measure(seed, rates, sets, record)
        record.save("seed", seed)


if __name__ == "__main__":
    main()
