"""Search hyper-parameters with Optuna: the tree-structured Parzen estimator against random draws.

    python -m benchmarks.search [--trials 30]

About 8 minutes on one core. What the record holds already is not repeated.

Each trial trains a small ResNet for 3 epochs on 3,000 digits and is scored on the 5,000 validation
digits. The best of many noisy scores is too good: so the winner and the settings that nobody
searched for are trained anew from other seeds, and the record has both. The test set is not looked
at.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import optuna

from mnist_lab.data import DigitSet, load_mnist, split
from mnist_lab.lessons import summarise
from mnist_lab.training import TrainConfig, fit

from .recording import Record, make_parser, read_arguments

DIGITS = 3_000
EPOCHS = 3
NEW_SEEDS = range(100, 105)  # none of them was used by a trial
DEFAULTS = {
    "learning_rate": 0.01,
    "batch_size": 128,
    "weight_decay": 0.01,
    "label_smoothing": 0.0,
    "dropout": 0.0,
    "warm_up": 0.25,
}


def suggest(trial: optuna.Trial) -> dict[str, Any]:
    """Draw one setting; what acts by its ratio is drawn on a logarithmic axis."""
    return {
        "learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True),
        "batch_size": trial.suggest_categorical("batch_size", [32, 64, 128, 256]),
        "weight_decay": trial.suggest_float("weight_decay", 1e-4, 1.0, log=True),
        "label_smoothing": trial.suggest_float("label_smoothing", 0.0, 0.2),
        "dropout": trial.suggest_float("dropout", 0.0, 0.5),
        "warm_up": trial.suggest_float("warm_up", 0.0, 0.6),
    }


def score(settings: dict[str, Any], seed: int, train: DigitSet, validation: DigitSet) -> float:
    """Train once and return the validation accuracy after the last epoch; 0 if it diverged."""
    rest = {name: value for name, value in settings.items() if name != "dropout"}
    config = TrainConfig(epochs=EPOCHS, seed=seed, **rest)
    arguments = {"width": 8, "depth": 1, "dropout": settings["dropout"]}
    try:
        run = fit(
            "resnet", train, validation, config, arguments=arguments, device="cpu", progress=False
        )
    except FloatingPointError:
        return 0.0
    return run.reports[-1].validation.accuracy


def search(sampler: str, trials: int, train: DigitSet, validation: DigitSet) -> dict[str, Any]:
    """Run one search; return all trials and the winner's score from new seeds."""
    samplers = {"tpe": optuna.samplers.TPESampler, "random": optuna.samplers.RandomSampler}
    study = optuna.create_study(direction="maximize", sampler=samplers[sampler](seed=0))
    started = time.perf_counter()
    study.optimize(
        lambda trial: score(suggest(trial), trial.number, train, validation), n_trials=trials
    )
    again = [score(study.best_params, seed, train, validation) for seed in NEW_SEEDS]
    return {
        "trials": [{"parameters": trial.params, "value": trial.value} for trial in study.trials],
        "best": {"parameters": study.best_params, "value": study.best_value},
        "best_from_new_seeds": summarise(again),
        "seconds": round(time.perf_counter() - started, 1),
    }


def main() -> None:
    """Search in both ways and write the record."""
    parser = make_parser(__doc__, threads=1, anew=True)
    parser.add_argument("--trials", type=int, default=30)
    arguments = read_arguments(parser)
    record = Record("search", arguments, {"digits": DIGITS, "epochs": EPOCHS})
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    train, validation = split(load_mnist().train, seed=0)
    train = train.subset(np.arange(DIGITS))
    for sampler in ("tpe", "random"):
        if len(record.entry(sampler).get("trials", [])) == arguments.trials:
            continue
        found = search(sampler, arguments.trials, train, validation)
        record.results[sampler] = found
        record.save(sampler, found["best"], found["best_from_new_seeds"])
    if record.parts.get("defaults", {}).get("parameters") != DEFAULTS:
        scores = [score(DEFAULTS, seed, train, validation) for seed in NEW_SEEDS]
        record.parts["defaults"] = {"parameters": DEFAULTS, "from_new_seeds": summarise(scores)}
        record.save("defaults", record.parts["defaults"])


if __name__ == "__main__":
    main()
