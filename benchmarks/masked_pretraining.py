"""Masked pretraining against none: the accuracy of a vision transformer by number of labels.

    python -m benchmarks.masked_pretraining [--device cuda] [--draws 5]

About 15 minutes on one core. What the record holds already is not repeated.

A transformer is pretrained on the 55,000 training digits without their labels, once for each of
`BASES` seeds. It is then fine-tuned on a few labels a class (`pretrained`), or its head alone is
(`head`). Rivals without pretraining are the same transformer (`scratch`) and the small CNN (`cnn`).
All get the same digits, batches, augmentation, number of steps and grid of learning rates. The rate
is chosen on label draws, and on digits to score, that are not those reported. Everything is
measured on validation data; the test set is not looked at.

`quick` compares ways to pretrain, on 20,000 digits for 3 epochs, at 10 labels a class.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from torch import nn

from mnist_lab.data import DigitSet, few_labels, load_mnist, split
from mnist_lab.finetuning import (
    PRETRAIN,
    GuessHiddenPatches,
    freeze_backbone,
    make_autoencoder,
    replace_head,
)
from mnist_lab.lessons import summarise
from mnist_lab.models import build_model
from mnist_lab.training import (
    Augmentation,
    Batches,
    FitResult,
    TrainConfig,
    evaluate,
    fit,
    load_checkpoint,
)

from .recording import (
    DEVICES,
    Record,
    add,
    as_json,
    choose_rate,
    make_parser,
    measured,
    read_arguments,
    working_seconds,
)

RATES = (0.001, 0.003, 0.01, 0.03)
BATCH_SIZE = 50
AUGMENTATION = Augmentation(rotate=10, shift=2, scale=0.1, shear=5)
STEPS = {1: 300, 10: 300, 100: 300}  # by labels a class
METHODS = ("scratch", "pretrained", "head", "cnn")
BASES = 1  # pretrained networks, taken in turn
SEARCH_SEED = 1_000  # label draws to choose on start here, those to report at 0
SEARCHED = {1: 2, 10: 2, 100: 1}  # draws for each rate; many labels differ less
PRETRAINING = replace(PRETRAIN, epochs=8, augmentation=AUGMENTATION)
OBJECTIVE = GuessHiddenPatches()
QUICK = replace(PRETRAINING, epochs=3)
QUICK_DIGITS = 20_000
RUNS = Path("runs/masked_pretraining")
WAYS = {
    "mask_0.5": replace(OBJECTIVE, mask_share=0.5),
    "mask_0.75": OBJECTIVE,
    "mask_0.9": replace(OBJECTIVE, mask_share=0.9),
    "plain_pixels": replace(OBJECTIVE, normalised_targets=False),
}
QUICK_RATE = 0.01  # of fine-tuning after each way


@cache
def load_parts() -> tuple[DigitSet, DigitSet, DigitSet]:
    """Return digits to draw labels from, 5,000 to choose the rate on, and 5,000 to report."""
    train, report = split(load_mnist().train, seed=0)
    return *split(train, seed=1, validation=5_000), report


def pretrain(
    digits: DigitSet,
    validation: DigitSet,
    config: TrainConfig,
    objective: GuessHiddenPatches,
    **options: Any,
) -> FitResult:
    """Pretrain a new transformer; `result.model.encoder` is what comes of it."""
    model = make_autoencoder(build_model("vit", seed=config.seed), config.seed)
    return fit(model, digits, validation, config, objective=objective, **options)


@cache
def base(record: Record, seed: int) -> nn.Module:
    """Return an encoder that was pretrained on all 55,000 training digits.

    It lies in `RUNS`, from where an interrupted run goes on.
    """
    folder = RUNS / f"seed_{seed}"
    train, validation = split(load_mnist().train, seed=0)
    config = replace(PRETRAINING, seed=seed)
    entries = record.entry("pretraining")
    if str(seed) not in entries or not folder.exists():
        result = pretrain(
            train, validation, config, OBJECTIVE, device=record.device, folder=folder, resume=True
        )
        losses = [round(report.validation.loss, 5) for report in result.reports]
        entries[str(seed)] = {"masked_loss": losses}
        record.save("pretrained", seed, losses[-1])
    model, card = load_checkpoint(folder)
    if card.training["config"] != as_json(config):
        raise ValueError(f"{folder} holds another run: remove it.")
    return model.to(record.device)


def adapt(
    method: str, digits: DigitSet, rate: float, steps: int, seed: int, start: nn.Module | None
) -> nn.Module:
    """Return a network trained on `digits`; `start` is the encoder, where there is one."""
    config = TrainConfig(
        steps=steps,
        learning_rate=rate,
        batch_size=BATCH_SIZE,
        augmentation=AUGMENTATION,
        seed=seed,
    )
    if method in ("scratch", "cnn"):
        model = build_model("small_cnn" if method == "cnn" else "vit", seed=seed)
    else:
        assert start is not None
        model = replace_head(copy.deepcopy(start), 10, seed)
    if method == "head":
        freeze_backbone(model)
    device = "cpu" if start is None else str(next(start.parameters()).device)
    return fit(model, digits, config=config, device=device, progress=False).model


def score(model: nn.Module, digits: DigitSet) -> float:
    """Return the accuracy."""
    device = next(model.parameters()).device
    return evaluate(model, Batches(digits, device=device)).accuracy


def measure(record: Record, method: str, count: int, draws: int) -> None:
    """Choose the rate of one method at `count` labels a class, then report it."""
    entry = record.entry("labels", method, count)
    pool, choose, report = load_parts()

    def run(draw: int, rate: float, scored: DigitSet) -> float:
        start = base(record, draw % BASES)
        digits = few_labels(pool, count, draw)
        return score(adapt(method, digits, rate, STEPS[count], draw, start), scored)

    tried = entry.setdefault("search", {})
    for rate in RATES:
        found = tried.setdefault(str(rate), [])
        for draw in range(SEARCH_SEED + len(found), SEARCH_SEED + SEARCHED[count]):
            found.append(round(run(draw, rate, choose.subset(slice(0, 1_000))), 6))
    best = choose_rate(tried)
    if entry.get("rate") != best:
        entry.pop("accuracy", None)
    entry["rate"] = best
    for draw in range(measured(entry, "accuracy"), draws):
        add(entry, "accuracy", run(draw, best, report))
    record.save(method, count, best, entry["accuracy"]["mean"], entry["accuracy"]["std"])


def compare_ways(record: Record, draws: int) -> None:
    """Pretrain in several ways for a short time, fine-tune each on 10 labels a class."""
    train, validation = split(load_mnist().train, seed=0)
    few = train.subset(slice(0, QUICK_DIGITS))
    entries = record.entry("quick")
    for name, objective in WAYS.items():
        if entries.get(name, {}).get("n", 0) >= draws:
            continue
        started = working_seconds(record.device)
        result = pretrain(few, validation, QUICK, objective, device=record.device, progress=False)
        seconds = working_seconds(record.device) - started
        start = result.model.get_submodule("encoder")
        values = [
            score(
                adapt(
                    "pretrained",
                    few_labels(train, 10, draw),
                    QUICK_RATE,
                    STEPS[10],
                    draw,
                    start,
                ),
                validation,
            )
            for draw in range(draws)
        ]
        entries[name] = {**summarise(values), record.clock: round(seconds, 1)}
        record.save(name, entries[name]["mean"], entries[name]["std"])


def main() -> None:
    """Measure what the record lacks."""
    arguments = read_arguments(make_parser(__doc__, draws=5, devices=DEVICES, threads=1, anew=True))
    setting = {
        "rates": list(RATES),
        "batch_size": BATCH_SIZE,
        "steps": {str(count): steps for count, steps in STEPS.items()},
        "augmentation": {"rotate": 10, "shift": 2, "scale": 0.1, "shear": 5},
        "bases": BASES,
        "epochs": PRETRAINING.epochs,
        "mask_share": OBJECTIVE.mask_share,
        "quick": {"digits": QUICK_DIGITS, "epochs": QUICK.epochs, "rate": QUICK_RATE},
    }
    record = Record("masked_pretraining", arguments, {"setting": setting})
    # What the chapter's argument rests on comes first.
    for count in (10, 1, 100):
        for method in METHODS:
            measure(record, method, count, arguments.draws)
    compare_ways(record, 3)


if __name__ == "__main__":
    main()
