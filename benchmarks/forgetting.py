"""Learn new digits and keep the old ones: each remedy against forgetting, at its own best.

    python -m benchmarks.forgetting [--draws 6]

About 5 minutes on one core. What the record holds already is not repeated.

A network that reads MNIST is to read thin strokes too, from ten labels of each class in 200 steps.
What counts is the mean of two accuracies, on the new digits and on the old.

Every rival is searched alike: uphill on a grid of learning rates, and of its strength if it has
one, from the same rate and the middle strength, until all neighbours are worse. The search is on
other label draws and other digits than the report. All is validation data; the test set is not
looked at. `interpolate` trains as `full` does and goes part of the way back.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from torch import nn

from mnist_lab.data import DigitSet, few_labels, load_mnist, split
from mnist_lab.finetuning import (
    ClassifyAndRemember,
    HeadFirst,
    PullTowardsStart,
    interpolate,
    mix_evenly,
)
from mnist_lab.models import build_model
from mnist_lab.training import TrainConfig, fit

from .finetuning import (
    AUGMENTATION,
    BASES,
    BATCH_SIZE,
    SEARCH_SEED,
    make_config,
    make_task,
    score,
)
from .recording import Record, add, make_parser, measured, read_arguments

TASK = "thin"
PRETRAINING = TrainConfig(epochs=1, augmentation=AUGMENTATION)
STEPS = 200
LABELS = 10  # of each new class
SEARCHED = 2  # label draws
RATES = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1)
STRENGTHS = (0.1, 0.3, 1, 3, 10, 30, 100)
SHARES = tuple(round(0.1 * tenth, 1) for tenth in range(11))
# What belongs to each rival beside the rate. Of old digits "many" has as many as the steps can see
# once in batches that are half old and half new.
GRIDS: dict[str, tuple[float, ...]] = {
    "full": (),
    "interpolate": SHARES,
    "pull": STRENGTHS,
    "decay": STRENGTHS,
    "remember": STRENGTHS,
    "head first": (),
    "rehearse 10": (),
    "rehearse many": (),
}
MANY = STEPS * BATCH_SIZE // 2
Point = tuple[float, ...]  # a rate, and a strength


@dataclass(frozen=True)
class Sides:
    """Thin digits to draw labels from, old ones to rehearse, and (new, old) ones to score."""

    pool: DigitSet
    old_pool: DigitSet
    choose: tuple[DigitSet, DigitSet]
    report: tuple[DigitSet, DigitSet]


@cache
def make_sides() -> Sides:
    """Return the digits; of those to choose on, a thousand of each kind will do."""
    task = make_task("thin")
    rest, choose = split(split(load_mnist().train, seed=0)[0], seed=1, validation=5_000)
    # The first 2,000 of these are among the thin ones.
    search = task.choose.subset(slice(0, 1_000)), choose.subset(slice(2_000, 3_000))
    return Sides(task.pool, rest, search, (task.report, task.old))


@cache
def pretrain(seed: int) -> nn.Module:
    """Train on the digits that may be rehearsed."""
    config = replace(PRETRAINING, seed=seed)
    model = build_model("small_cnn", seed=seed)
    return fit(model, make_sides().old_pool, config=config, device="cpu", progress=False).model


@cache
def train(method: str, draw: int, point: Point) -> tuple[nn.Module, nn.Module]:
    """Return the network before and after; a draw decides labels, batches and base."""
    sides = make_sides()
    rate, strength = point[0], point[-1]
    base = pretrain(draw % BASES)
    model, config = copy.deepcopy(base), make_config(rate, STEPS, draw)
    digits = few_labels(sides.pool, LABELS, draw)
    options: dict[str, Any] = {}
    if method == "decay":
        config = replace(config, weight_decay=strength)
    elif method == "pull":
        options["before_step"] = PullTowardsStart(model, strength, config)
    elif method == "head first":
        options["before_step"] = HeadFirst(model)
    elif method == "remember":
        options["objective"] = ClassifyAndRemember(base, strength)
    elif method == "rehearse many":
        chosen = np.random.default_rng(draw).permutation(len(sides.old_pool))[:MANY]
        digits = mix_evenly(digits, sides.old_pool.subset(chosen))
    elif method == "rehearse 10":
        digits = mix_evenly(digits, few_labels(sides.old_pool, 10, draw))
    return base, fit(model, digits, config=config, device="cpu", progress=False, **options).model


def measure(
    method: str, draw: int, point: Point, on: tuple[DigitSet, DigitSet]
) -> tuple[float, float]:
    """Return the accuracies on new and on old digits."""
    if method == "interpolate":
        model = interpolate(*train("full", draw, point[:1]), point[1])
    else:
        _, model = train(method, draw, point)
    new, old = (score(model, digits, "cpu") for digits in on)
    return new, old


def climb(grid: Sequence[Sequence[float]], start: Point, worth: Callable[[Point], float]) -> Point:
    """Go uphill on a grid from `start`, to a point that is better than its neighbours."""
    best = start
    while True:
        near = []
        for axis, values in enumerate(grid):
            place = list(values).index(best[axis])
            for other in values[max(place - 1, 0) : place + 2]:
                near.append((*best[:axis], other, *best[axis + 1 :]))
        top = max(near, key=worth)
        if worth(top) <= worth(best):
            return best
        best = top


def choose(record: Record, method: str) -> Point:
    """Search the rate, and the strength, of a rival; what was tried is in the record."""
    entry, sides = record.entry(TASK, method), make_sides()
    tried = entry.setdefault("search", {})

    def worth(point: Point) -> float:
        if method != "interpolate" and point[0] * point[-1] > 1 < len(point):
            return 0.0  # a step would overshoot
        found = tried.setdefault(" ".join(map(str, point)), {"new": [], "old": []})
        for draw in range(SEARCH_SEED + len(found["new"]), SEARCH_SEED + SEARCHED):
            new, old = measure(method, draw, point, sides.choose)
            found["new"].append(round(new, 6))
            found["old"].append(round(old, 6))
        return float(np.mean(found["new"] + found["old"]))

    strengths = GRIDS[method]
    if not strengths:
        return climb([RATES], (RATES[3],), worth)
    return climb([RATES, strengths], (RATES[3], strengths[len(strengths) // 2]), worth)


def report(record: Record, method: str, draws: int) -> None:
    """Search, then measure on other draws; for `interpolate` the whole way, for the figure."""
    entry = record.entry(TASK, method)
    if "chosen" not in entry:
        entry["chosen"] = list(choose(record, method))
    point = tuple(entry["chosen"])
    for draw in range(measured(entry, "both"), draws):
        sides = make_sides()
        new, old = measure(method, draw, point, sides.report)
        for key, value in (("new", new), ("old", old), ("both", (new + old) / 2)):
            add(entry, key, value)
        for share in SHARES if method == "interpolate" else ():
            new, old = measure(method, draw, (point[0], share), sides.report)
            place = record.entry(TASK, method, "way", share)
            add(place, "new", new)
            add(place, "old", old)
    means = [round(entry[key]["mean"], 4) for key in ("new", "old", "both")]
    record.save(TASK, method, point, *means)


def main() -> None:
    """Measure what the record lacks."""
    arguments = read_arguments(make_parser(__doc__, draws=6, only=GRIDS, threads=1, anew=True))
    setting = {
        "rates": list(RATES),
        "strengths": list(STRENGTHS),
        "batch_size": BATCH_SIZE,
        "steps": STEPS,
        "labels": LABELS,
        "many": MANY,
        "searched": SEARCHED,
        "augmentation": AUGMENTATION.__dict__,
        "bases": BASES,
        "pretraining_epochs": PRETRAINING.epochs,
    }
    record = Record("forgetting", arguments, {"setting": setting})
    for method in arguments.only:
        report(record, method, arguments.draws)


if __name__ == "__main__":
    main()
