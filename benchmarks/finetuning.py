"""Fine-tune a small network to other digits: accuracy by labels, learning rate, way of training.

    python -m benchmarks.finetuning [--device cuda] [--draws 10] [--only uci ...]

About 35 minutes on one core. What the record holds already is not repeated.

Everything is measured on validation data; the test set is not looked at. Rivals get the same
digits, batches, augmentation, number of steps and grid of learning rates. The rate is chosen on
label draws, and on digits to score, that are not those reported. The pretrained network is another
one in turn (of `BASES`), so that the spread over draws holds its luck too.

Tasks: from 0-4 to 5-9 (`nines`); from MNIST to UCI's digits, to digits turned by 90 degrees and to
thin strokes; and one network for all ten digits, with a few old digits to rehearse (`rehearsal`).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch
from torch import nn

from mnist_lab.data import (
    DigitSet,
    corrupt,
    few_labels,
    keep_classes,
    load_mnist,
    load_uci_digits,
    rotate_digits,
    split,
)
from mnist_lab.finetuning import (
    GradualUnfreezing,
    freeze_backbone,
    layerwise_groups,
    replace_head,
)
from mnist_lab.lessons import summarise
from mnist_lab.models import build_model
from mnist_lab.training import Augmentation, Batches, TrainConfig, evaluate, fit

from .recording import (
    DEVICES,
    Record,
    add,
    choose_rate,
    make_parser,
    measured,
    read_arguments,
)

RATES = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1)
BATCH_SIZE = 32  # many steps in little time
AUGMENTATION = Augmentation(rotate=10, shift=2, scale=0.1)
# More labels, more steps: 300 of them would pass 5,000 digits less than twice.
STEPS = {1: 300, 2: 300, 10: 300, 100: 600, 1_000: 1_200}
MAIN = ("scratch", "full", "head", "gradual")
OPTIONS = ("layerwise",)
FEW = (2, 10)  # where the options are tried too
LAYERWISE_DECAY = 0.4  # Howard and Ruder 2018 divide by 2.6 from stage to stage
BASES = 3
PRETRAINING = TrainConfig(epochs=3, augmentation=AUGMENTATION)
SEARCH_SEED = 1_000  # label draws to choose on start here, those to report at 0
REHEARSED = (0, 1, 2, 5, 10, 30)  # old digits a class
POPULATIONS = ("uci", "turned", "thin")
TURNED, THINNED = 90, 1.0
TASKS = ("nines", *POPULATIONS, "rehearsal")


@dataclass(frozen=True)
class Task:
    """What to adapt to: digits to draw labels from, to choose on, to report; and what was before.

    `old` are validation digits of the old task, for what is forgotten.
    """

    pool: DigitSet
    choose: DigitSet
    report: DigitSet
    old: DigitSet
    old_names: str


def make_task(name: str) -> Task:
    """Return a task; 2,000 digits at most are scored of each kind."""
    train, validation = split(load_mnist().train, seed=0)
    rest, choose = split(train, seed=1, validation=5_000)
    old = validation.subset(slice(0, 2_000))
    if name == "nines":
        pool, choose, report = (keep_classes(part, "56789") for part in (rest, choose, validation))
        return Task(pool, choose, report, keep_classes(old, "01234"), "01234")
    if name == "uci":
        uci = replace(load_uci_digits(), part="train")  # here to be learnt from, but for 600
        most, report = split(uci, seed=0, validation=600)
        pool, choose = split(most, seed=1, validation=600)
        return Task(pool, choose, report, old, "0123456789")
    pool, choose, report = (
        rotate_digits(part, TURNED) if name == "turned" else corrupt(part, "thin", THINNED)
        for part in (rest.subset(slice(0, 5_000)), choose.subset(slice(0, 2_000)), old)
    )
    return Task(pool, choose, report, old, "0123456789")


@cache
def pretrain(names: str, seed: int, device: str) -> nn.Module:
    """Train on all the digits called `names` of the training part, 5,000 of `choose` left out."""
    rest, _ = split(split(load_mnist().train, seed=0)[0], seed=1, validation=5_000)
    digits = keep_classes(rest, names)
    model = build_model("small_cnn", seed=seed, classes=len(names))
    return fit(model, digits, config=PRETRAINING, device=device, progress=False).model


def adapt(
    base: nn.Module,
    method: str,
    digits: DigitSet,
    rate: float,
    steps: int,
    seed: int,
    new_head: bool,
    device: str,
) -> nn.Module:
    """Return a network adapted to `digits`, trained as `method` says."""
    config = make_config(rate, steps, seed)
    if method == "scratch":
        model = build_model("small_cnn", seed=seed, classes=len(digits.class_names))
    elif new_head:
        model = replace_head(base, len(digits.class_names), seed)
    else:
        model = copy.deepcopy(base)
    if method == "head":
        freeze_backbone(model)
    return fit(
        model,
        digits,
        config=config,
        groups=layerwise_groups(model, config, LAYERWISE_DECAY) if method == "layerwise" else None,
        before_step=GradualUnfreezing(model) if method == "gradual" else None,
        device=device,
        progress=False,
    ).model


def make_config(rate: float, steps: int, seed: int) -> TrainConfig:
    """Return how every rival trains: about so many steps, in whole epochs."""
    return TrainConfig(
        steps=steps,
        learning_rate=rate,
        batch_size=BATCH_SIZE,
        augmentation=AUGMENTATION,
        seed=seed,
    )


def score(model: nn.Module, digits: DigitSet, device: str) -> float:
    """Return the accuracy."""
    return evaluate(model, Batches(digits, device=device)).accuracy


def return_head(model: nn.Module, base: nn.Module) -> nn.Module:
    """Return a copy of an adapted network with the head that it had before."""
    copied = copy.deepcopy(model)
    copied.output = copy.deepcopy(base.output)
    return copied


def measure(record: Record, name: str, task: Task, method: str, count: int, draws: int) -> None:
    """Choose the rate of one way of training at `count` labels a class, then report it."""
    entry = record.entry(name, method, count)
    device, steps = record.device, STEPS[count]
    new_head = task.report.class_names != tuple(task.old_names)

    def run(draw: int, rate: float, digits: DigitSet) -> tuple[float, float | None]:
        base = pretrain(task.old_names, draw % BASES, device)
        few = few_labels(task.pool, count, draw)
        model = adapt(base, method, few, rate, steps, draw, new_head, device)
        old = None
        if method != "scratch":
            before = return_head(model, base) if new_head else model
            old = score(before, task.old, device)
        return score(model, digits, device), old

    searched = 3 if count <= 10 and name == "nines" else 2
    tried, forgot = entry.setdefault("search", {}), entry.setdefault("search_old", {})
    for rate in RATES:
        found = tried.setdefault(str(rate), [])
        for draw in range(SEARCH_SEED + len(found), SEARCH_SEED + searched):
            accuracy, old = run(draw, rate, task.choose)
            found.append(round(accuracy, 6))
            if old is not None:
                forgot.setdefault(str(rate), []).append(round(old, 6))
    best = choose_rate(tried)
    if entry.get("learning_rate") != best:
        entry.pop("accuracy", None)
        entry.pop("old", None)
    entry["learning_rate"] = best
    for draw in range(measured(entry, "accuracy"), draws):
        accuracy, old = run(draw, best, task.report)
        add(entry, "accuracy", accuracy)
        if old is not None:
            add(entry, "old", old)
    record.save(name, method, count, best, round(entry["accuracy"]["mean"], 4))


def measure_before(record: Record, name: str, task: Task) -> None:
    """Score the pretrained networks before they are adapted: on the new digits and the old."""
    bases = [pretrain(task.old_names, seed, record.device) for seed in range(BASES)]
    before = record.entry(name, "before")
    before["old"] = summarise([score(base, task.old, record.device) for base in bases])
    if task.report.class_names == tuple(task.old_names):
        before["accuracy"] = summarise([score(b, task.report, record.device) for b in bases])
    record.save(name, "before", before)


def extend_head(base: nn.Module, classes: int, seed: int) -> nn.Module:
    """Return a copy with a larger head whose first rows are those of the old one."""
    model = replace_head(base, classes, seed)
    old, new = base.output, model.output
    assert isinstance(old, nn.Linear)
    assert isinstance(new, nn.Linear)
    with torch.no_grad():
        new.weight[: old.out_features] = old.weight
        new.bias[: old.out_features] = old.bias
    return model


def rehearse(record: Record, draws: int, count: int = 10) -> None:
    """Teach the 0-4 network 5-9 as well, with some old digits among the new.

    The rate is the one that was chosen for full fine-tuning with as many labels.
    """
    train, validation = split(load_mnist().train, seed=0)
    rest, _ = split(train, seed=1, validation=5_000)
    device, names = record.device, rest.class_names
    rate = record.results["nines"]["full"][str(count)]["learning_rate"]
    for kept in REHEARSED:
        entry = record.entry("rehearsal", kept)
        for draw in range(measured(entry, "old"), draws):
            base = pretrain("01234", draw % BASES, device)
            model = extend_head(base, len(names), draw)
            new = few_labels(keep_classes(rest, "56789"), count, draw)
            digits = replace(new, labels=new.labels + 5, class_names=names)
            if kept:
                old = few_labels(keep_classes(rest, "01234"), kept, draw)
                digits = DigitSet(
                    np.concatenate([old.images, digits.images]),
                    np.concatenate([old.labels, digits.labels]),
                )
            config = make_config(rate, STEPS[count], draw)
            fit(model, digits, config=config, device=device, progress=False)
            for key, chosen in (("old", validation.labels < 5), ("new", validation.labels >= 5)):
                add(entry, key, score(model, validation.subset(chosen), device))
        record.save("rehearsal", kept, rate, entry["old"]["mean"], entry["new"]["mean"])


def main() -> None:
    """Measure what the record lacks."""
    arguments = read_arguments(
        make_parser(__doc__, draws=10, only=TASKS, devices=DEVICES, threads=1, anew=True)
    )
    setting = {
        "rates": list(RATES),
        "batch_size": BATCH_SIZE,
        "steps": {str(count): steps for count, steps in STEPS.items()},
        "augmentation": {"rotate": 10, "shift": 2, "scale": 0.1},
        "layerwise_decay": LAYERWISE_DECAY,
        "turned": TURNED,
        "thinned": THINNED,
        "bases": BASES,
        "pretraining_epochs": PRETRAINING.epochs,
    }
    record = Record("finetuning", arguments, {"setting": setting})
    # What the chapter's argument rests on comes first.
    plan: list[tuple[str, tuple[int, ...], tuple[str, ...]]] = [
        ("nines", (2, 10, 1_000, 100), MAIN),
        *((name, (10,), ("scratch", "full")) for name in POPULATIONS),
        ("rehearsal", (10,), ()),
        ("nines", (1,), MAIN),
        ("nines", FEW, OPTIONS),
    ]
    for name, counts, methods in plan:
        if name not in arguments.only:
            continue
        if name == "rehearsal":
            rehearse(record, arguments.draws)
            continue
        task = make_task(name)
        if "before" not in record.results.get(name, {}):
            measure_before(record, name, task)
        for count in counts:
            for method in methods:
                measure(record, name, task, method, count, arguments.draws)


if __name__ == "__main__":
    main()
