"""Train six architectures alike; compare accuracy, parameters, seconds and mistakes.

    python -m benchmarks.architectures [--only lstm vit ...] [--seeds 3]
    python -m benchmarks.architectures --only recurrent --seeds 5
    python -m benchmarks.architectures --only long --seeds 1
    python -m benchmarks.architectures --only mistakes

About 20 minutes on one core.

What the record holds already is not repeated. `long` and `mistakes` are measured only when they are
asked for.

Everything is measured on validation data; the test set is not looked at. Each architecture gets the
same digits, batches, schedule and number of epochs, no augmentation, and its own learning rate: the
best of the same five, tried once each on 10,000 digits. Four of them are then trained on fewer
digits too. Seconds are the processor's, of training and of scoring the validation part after each
epoch: unlike those of a clock they hardly change when something else runs beside.

`recurrent` asks what of the LSTM's lead is due to its gates: readers of rows are trained on 10,000
digits, each at its own rate, the best of the same six. `long` trains the vision transformer and the
small CNN for ten times as many epochs, with augmentation. `mistakes` trains five of the six on the
10,000 digits of the search, at their rates, and keeps in a record of its own which digits they
misread from each seed: with fewer digits to learn from there are more mistakes to compare.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor, nn

from mnist_lab.data import DigitSet, load_mnist, split
from mnist_lab.models import build_model, count_parameters, drawn_from
from mnist_lab.training import (
    Augmentation,
    Batches,
    FitResult,
    TrainConfig,
    evaluate,
    fit,
    logits_of,
)

from .recording import (
    Record,
    add,
    choose_rate,
    make_parser,
    measured,
    read_arguments,
    working_seconds,
)

ARCHITECTURES = ("linear", "mlp", "small_cnn", "lstm", "vit", "resnet")
RATES = (0.001, 0.003, 0.01, 0.03, 0.1)
BATCH_SIZE = 64  # many steps in few epochs
SEARCHED, SEARCH_EPOCHS = 10_000, 3
EPOCHS = 3
# Fewer digits, more epochs: about 600 steps, which is what 10,000 digits take in four epochs.
FEWER = {300: 120, 1_000: 38, 3_000: 13, 10_000: 4}
SAMPLED = ("mlp", "small_cnn", "lstm", "vit")
# Plain recurrent networks as PyTorch starts them, with an orthogonal recurrent matrix, and as many
# recurrent weights as the LSTM has, or more; and the LSTM beside them.
RECURRENT = ("plain", "orthogonal", "wide", "wide orthogonal", "lstm")
RECURRENT_RATES = (0.0003, *RATES)  # plain ones like it lower than anybody else
MISTAKEN = ("mlp", "lstm", "vit", "small_cnn", "resnet")
LONG, LONG_EPOCHS = ("small_cnn", "vit"), 10 * EPOCHS
AUGMENTATION = Augmentation(rotate=10, shift=1, scale=0.1, shear=5)


class RowReader(nn.Module):
    """A plain recurrent network that reads an image row by row, as chapter 9 builds it."""

    def __init__(self, width: int, orthogonal: bool) -> None:
        super().__init__()
        self.rows = nn.RNN(28, width, batch_first=True)
        self.output = nn.Linear(width, 10)
        if orthogonal:
            nn.init.orthogonal_(self.rows.get_parameter("weight_hh_l0"))

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (n, 10) of images (n, 1, 28, 28)."""
        states, _ = self.rows(images.squeeze(1))
        return self.output(states[:, -1])


def build_reader(kind: str, seed: int) -> nn.Module:
    """Return a reader of rows, one of `RECURRENT`, drawn from a seed."""
    if kind == "lstm":
        return build_model("lstm", seed=seed)
    with drawn_from(seed):
        return RowReader(256 if "wide" in kind else 128, "orthogonal" in kind)


def train(
    name: str, rate: float, digits: DigitSet, validation: DigitSet, epochs: int, seed: int
) -> tuple[FitResult, float]:
    """Train one network; return it and the processor's seconds."""
    config = TrainConfig(epochs=epochs, batch_size=BATCH_SIZE, learning_rate=rate, seed=seed)
    started = working_seconds()
    run = fit(name, digits, validation, config, device="cpu", progress=False)
    return run, working_seconds() - started


def train_on_few(
    name: str, rate: float, digits: DigitSet, validation: DigitSet, epochs: int, seed: int
) -> float:
    """Return the validation accuracy after the last epoch.

    Not of the best one: to choose among 120 epochs would help the small parts more. It would also
    take longer than the training.
    """
    config = TrainConfig(epochs=epochs, batch_size=BATCH_SIZE, learning_rate=rate, seed=seed)
    run = fit(name, digits, config=config, device="cpu", progress=False)
    return evaluate(run.model, Batches(validation)).accuracy


def misread(run: FitResult, validation: DigitSet) -> dict[str, int]:
    """Return what each misread digit was taken for, by its place in the validation part."""
    read = logits_of(run.model, Batches(validation)).argmax(1).numpy()
    return {str(i): int(read[i]) for i in np.flatnonzero(read != validation.labels)}


def try_rate(name: str, rate: float, train_part: DigitSet, validation: DigitSet) -> float:
    """Return the validation accuracy that a learning rate reaches on the first 10,000 digits."""
    few = train_part.subset(np.arange(SEARCHED))
    return train(name, rate, few, validation, SEARCH_EPOCHS, 0)[0].best.validation.accuracy


def read_rows(kind: str, rate: float, few: DigitSet, validation: DigitSet, seed: int) -> float:
    """Return the validation accuracy of a reader of rows after its last epoch."""
    config = TrainConfig(epochs=SEARCH_EPOCHS, batch_size=BATCH_SIZE, learning_rate=rate, seed=seed)
    run = fit(build_reader(kind, seed), few, config=config, device="cpu", progress=False)
    return evaluate(run.model, Batches(validation)).accuracy


def search_and_repeat(
    record: Record,
    entry: dict[str, Any],
    name: str,
    rates: Sequence[float],
    seeds: int,
    read: Callable[[float, int], float],
) -> None:
    """Choose a rate from seed 0, and keep the accuracy at it from every seed, that one too.

    `read` takes a rate and a seed, and returns an accuracy on validation digits.
    """
    tried = entry.setdefault("search", {})
    for rate in rates:
        if str(rate) not in tried:
            tried[str(rate)] = read(rate, 0)
            record.save(name, rate, tried[str(rate)])
    entry["learning_rate"] = choose_rate(tried)
    if not measured(entry, "accuracy"):
        add(entry, "accuracy", tried[str(entry["learning_rate"])])
    for seed in range(measured(entry, "accuracy"), seeds):
        add(entry, "accuracy", read(entry["learning_rate"], seed))
    record.save(name, entry["accuracy"])


def measure_recurrent(
    record: Record, train_part: DigitSet, validation: DigitSet, seeds: int
) -> None:
    """Search the rate of every reader of rows, and train it from several seeds."""
    few = train_part.subset(np.arange(SEARCHED))

    def read(kind: str, rate: float, seed: int) -> float:
        return read_rows(kind, rate, few, validation, seed)

    for kind in RECURRENT:
        entry = record.entry("recurrent", kind)
        entry["parameters"] = count_parameters(build_reader(kind, 0))
        search_and_repeat(record, entry, kind, RECURRENT_RATES, seeds, partial(read, kind))


def measure_long(record: Record, train_part: DigitSet, validation: DigitSet, seeds: int) -> None:
    """Train ten times as long, with augmentation, at the rates that the short runs chose."""
    for name in LONG:
        entry = record.entry("long", name)
        rate = record.entry(name)["learning_rate"]
        for seed in range(measured(entry, "accuracy"), seeds):
            config = TrainConfig(
                epochs=LONG_EPOCHS,
                batch_size=BATCH_SIZE,
                learning_rate=rate,
                augmentation=AUGMENTATION,
                seed=seed,
            )
            started = working_seconds()
            run = fit(name, train_part, config=config, device="cpu", progress=False)
            add(entry, "seconds", working_seconds() - started)
            add(entry, "accuracy", evaluate(run.model, Batches(validation)).accuracy)
            record.save("long", name, seed, entry["accuracy"])


def measure_mistakes(
    record: Record, rates: dict[str, float], train_part: DigitSet, validation: DigitSet, seeds: int
) -> None:
    """Keep how many digits are misread from every seed, which, and as what."""
    few = train_part.subset(np.arange(SEARCHED))
    for seed in range(seeds):
        for name, rate in rates.items():
            entry = record.entry(name)
            if measured(entry, "mistakes") <= seed:
                run, _ = train(name, rate, few, validation, SEARCH_EPOCHS, seed)
                wrong = misread(run, validation)
                entry.setdefault("misread", {})[str(seed)] = wrong
                add(entry, "mistakes", len(wrong))
                record.save(name, seed, len(wrong))


def main() -> None:
    """Measure what the record lacks."""
    choices = (*ARCHITECTURES, "recurrent", "long", "mistakes")
    parser = make_parser(__doc__, seeds=3, only=choices, threads=1, anew=True)
    parser.set_defaults(only=[*ARCHITECTURES, "recurrent"])
    arguments = read_arguments(parser)
    train_part, validation = split(load_mnist().train, seed=0)
    setting = {
        "train": len(train_part),
        "validation": len(validation),
        "epochs": EPOCHS,
        "batch_size": BATCH_SIZE,
        "searched": SEARCHED,
        "search_epochs": SEARCH_EPOCHS,
        "epochs_on_fewer": {str(count): epochs for count, epochs in FEWER.items()},
    }
    record = Record("architectures", arguments, {"setting": setting})
    if "recurrent" in arguments.only:
        measure_recurrent(record, train_part, validation, arguments.seeds)
    if "long" in arguments.only:
        measure_long(record, train_part, validation, arguments.seeds)
    if "mistakes" in arguments.only:
        rates = {name: record.entry(name)["learning_rate"] for name in MISTAKEN}
        mistakes = Record("architectures", arguments, variant="mistakes", options="--only mistakes")
        measure_mistakes(mistakes, rates, train_part, validation, arguments.seeds)
    architectures = [name for name in arguments.only if name in ARCHITECTURES]
    for name in architectures:
        entry = record.entry(name)
        entry["parameters"] = count_parameters(build_model(name))
        tried = entry.setdefault("search", {})
        for rate in RATES:
            if str(rate) not in tried:
                tried[str(rate)] = try_rate(name, rate, train_part, validation)
        best = choose_rate(tried)
        if entry.get("learning_rate", best) != best:
            for key in entry.keys() - {"parameters", "search"}:
                del entry[key]
        entry["learning_rate"] = best
        record.save(name, tried)
    for seed in range(arguments.seeds):
        for name in architectures:
            entry = record.entry(name)
            rate = entry["learning_rate"]
            if measured(entry, "accuracy") <= seed:
                run, seconds = train(name, rate, train_part, validation, EPOCHS, seed)
                add(entry, "accuracy", run.best.validation.accuracy)
                add(entry, "seconds", seconds)
                if seed == 0:
                    entry["misread"] = misread(run, validation)
                record.save(name, seed, run.best.validation.accuracy, f"{seconds:.0f} s")
            if name not in SAMPLED:
                continue
            fewer = record.entry(name, "accuracy_on_fewer")
            for count, epochs in FEWER.items():
                if measured(fewer, str(count)) <= seed:
                    few = train_part.subset(np.arange(count))
                    add(fewer, str(count), train_on_few(name, rate, few, validation, epochs, seed))
            record.save(name, seed, {count: fewer[count]["mean"] for count in fewer})


if __name__ == "__main__":
    main()
