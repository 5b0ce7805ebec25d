"""Search hyper-parameters with Optuna: the tree-structured Parzen estimator against random draws.

    python -m benchmarks.search [--trials 30]

Each trial trains a small ResNet for 3 epochs on 3,000 digits and is scored on the 5,000 validation
digits. The best of many noisy scores is too good: so the winner and the settings that nobody
searched for are trained anew from other seeds, and the record has both. The test set is not looked
at.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import optuna

from benchmarks.recording import describe_run, write_record
from mnist_lab.data import DigitSet, load_mnist, split
from mnist_lab.lessons import summarise
from mnist_lab.training import TrainConfig, fit

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
        run = fit("resnet", train, validation, config, arguments=arguments, progress=False)
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
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--trials", type=int, default=30)
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    train, validation = split(load_mnist().train, seed=0)
    train = train.subset(np.arange(DIGITS))
    results: dict[str, Any] = {}
    for sampler in ("tpe", "random"):
        results[sampler] = search(sampler, arguments.trials, train, validation)
        found = results[sampler]
        print(sampler, found["best"], found["best_from_new_seeds"], flush=True)
    defaults = [score(DEFAULTS, seed, train, validation) for seed in NEW_SEEDS]
    record = {
        **describe_run("python -m benchmarks.search"),
        "digits": DIGITS,
        "epochs": EPOCHS,
        "defaults": {"parameters": DEFAULTS, "from_new_seeds": summarise(defaults)},
        "results": results,
    }
    write_record("search", record)


if __name__ == "__main__":
    main()
