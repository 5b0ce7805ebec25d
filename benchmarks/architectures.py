"""Train six architectures alike; compare accuracy, parameters, seconds and mistakes.

    python -m benchmarks.architectures [--only lstm vit ...] [--seeds 3]

About 15 minutes on one core. What the record holds already is not repeated.

Everything is measured on validation data; the test set is not looked at. Each architecture gets the
same digits, batches, schedule and number of epochs, no augmentation, and its own learning rate: the
best of the same five, tried once each on 10,000 digits. Four of them are then trained on fewer
digits too. Seconds are the processor's, of training and of scoring the validation part after each
epoch: unlike those of a clock they hardly change when something else runs beside.
"""

from __future__ import annotations

import numpy as np

from mnist_lab.data import DigitSet, load_mnist, split
from mnist_lab.models import build_model, count_parameters
from mnist_lab.training import (
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


def main() -> None:
    """Measure what the record lacks."""
    arguments = read_arguments(
        make_parser(__doc__, seeds=3, only=ARCHITECTURES, threads=1, anew=True)
    )
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
    for name in arguments.only:
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
        for name in arguments.only:
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
