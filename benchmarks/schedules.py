"""Schedules and what replaces them, each at its own best rate; and how far folds can be trusted.

    python -m benchmarks.schedules [--seeds 5]

About 8 minutes on one core. What the record holds already is not measured again.

Chapter 8's network on 3,000 digits, 10 epochs, 300 steps. Every row tries three rates or more,
until the best is not at the edge, each from the same two seeds, and is then trained from new seeds
at its best. All but the last two step by SGD with momentum, or replace it. What counts is the
accuracy on the 5,000 validation digits after the last step. The test set is never scored.

Then cross-validation: 30 sets of 1,000 digits that share none, five folds each. How far do the 30
means lie apart, and how far do the folds of one set say that they should? Once the digits are
shuffled before, once they are as they come, those by one hand together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from mnist_lab import Batches, DigitSet, TrainConfig, build_model, evaluate, load_mnist, split
from mnist_lab.lessons import summarise
from mnist_lab.training import TrainState, iter_epochs, start_training

from .recording import Record, add, choose_rate, make_parser, measured, read_arguments

DIGITS = 3_000
CONFIG = TrainConfig(epochs=10, batch_size=100, optimizer="sgd", learning_rate=0.03)
RATES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
SEARCH_SEEDS = (100, 101)  # none of them is used again
FOLDS = 5
SETS = {"sets": 30, "digits": 1_000}
ORDERS = {"folds": "shuffled", "folds_in_order": "as they come"}


class ScheduleFree(torch.optim.Optimizer):
    """Steps at a constant rate and their mean, the gradient between the two (chapter 8).

    The parameters hold the point where the gradient is taken; `take_mean` puts the mean there.
    Defazio and others (2024), https://arxiv.org/abs/2405.15682.

    Parameters
    ----------
    parameters : iterable of Tensor
    lr : float
    share : float
        How much of the mean, and not of the last step, is in the point of the gradient.
    """

    def __init__(self, parameters: Iterable[Tensor], lr: float, share: float = 0.9) -> None:
        super().__init__(parameters, {"lr": lr, "share": share})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Step, take the new place into the mean, and go between them."""
        for group in self.param_groups:
            for point in group["params"]:
                seen = self.state[point]
                if not seen:
                    seen.update(steps=0, place=point.clone(), mean=point.clone())
                seen["steps"] += 1
                seen["place"] -= group["lr"] * point.grad
                seen["mean"].lerp_(seen["place"], 1 / seen["steps"])
                point.copy_(torch.lerp(seen["place"], seen["mean"], group["share"]))

    @torch.no_grad()
    def take_mean(self) -> None:
        """Put the mean of all places into the parameters."""
        for point, seen in self.state.items():
            point.copy_(seen["mean"])


class MuonBesideAdam(torch.optim.Optimizer):
    """Muon for the hidden layers' matrices, AdamW for all else, both at one rate."""

    def __init__(self, network: nn.Module, lr: float) -> None:
        named = list(network.named_parameters())
        hidden = [p for name, p in named if name.startswith("hidden") and p.ndim == 2]
        others = [p for _, p in named if all(p is not matrix for matrix in hidden)]
        self.parts = (
            torch.optim.Muon(hidden, lr, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(others, lr, betas=(0.9, CONFIG.adam_beta2), weight_decay=0.0),
        )
        super().__init__([p for _, p in named], {"lr": lr})

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Step with both."""
        for part in self.parts:
            part.param_groups[0]["lr"] = self.param_groups[0]["lr"]
            part.step()


# --- The rows ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """What differs from `CONFIG`.

    Attributes
    ----------
    changes : dict
        Fields of the configuration.
    first : int
        Where in `RATES` the three rates begin that are tried first.
    optimizer : function of a network and a rate, optional
        In place of the configuration's own.
    patience : int, optional
        After so many epochs without a lower validation loss the rate falls to a third.
    """

    changes: dict[str, Any]
    first: int = 2
    optimizer: Callable[[nn.Module, float], torch.optim.Optimizer] | None = None
    patience: int | None = None


ROWS = {
    "constant": Row({"schedule": "constant"}),
    "constant, averaged": Row({"schedule": "constant", "average_decay": 0.95}),
    "schedule-free": Row(
        {"schedule": "constant"}, 4, lambda network, rate: ScheduleFree(network.parameters(), rate)
    ),
    "on a plateau": Row({"schedule": "constant"}, patience=1),
    "exponential": Row({"schedule": "exponential"}),
    "cyclic": Row({"schedule": "cyclic"}),
    "cosine": Row({"schedule": "cosine"}),
    "one-cycle": Row({"schedule": "one_cycle"}),
    "warm-up, stable, decay": Row({"schedule": "wsd", "warm_up": 0.1}),
    "one-cycle, averaged": Row({"schedule": "one_cycle", "average_decay": 0.95}),
    "one-cycle, AdamW": Row({"schedule": "one_cycle", "optimizer": "adamw"}, 1),
    "one-cycle, Muon": Row({"schedule": "one_cycle"}, 1, MuonBesideAdam),
}


def score(row: Row, rate: float, seed: int, sets: tuple[DigitSet, DigitSet]) -> float:
    """Train once and return the validation accuracy after the last epoch; 0 if it diverged."""
    train, validation = sets
    config = replace(CONFIG, learning_rate=rate, seed=seed, **row.changes)
    network = build_model("deep_mlp", seed=seed)
    state = start_training(network, train, config)
    if row.optimizer is not None:
        state.optimizer = row.optimizer(network, rate)
    try:
        # Only who waits for a plateau looks at validation digits on the way.
        losses = []
        for report in iter_epochs(state, validation if row.patience is not None else None):
            if row.patience is not None and report.validation is not None:
                losses.append(report.validation.loss)
                lower_on_a_plateau(state, losses, row.patience)
    except FloatingPointError:
        return 0.0
    if isinstance(state.optimizer, ScheduleFree):
        state.optimizer.take_mean()
        # Batch norm has counted at the other points: it counts again at the mean.
        update_bn((images for images, _ in Batches(train, CONFIG.batch_size)), network)
    return evaluate(state.scored_model, Batches(validation)).accuracy


def lower_on_a_plateau(state: TrainState, losses: list[float], patience: int) -> None:
    """Divide the rate by three if the last epochs brought no new best loss; forget the older."""
    if len(losses) - losses.index(min(losses)) > patience:
        state.config = replace(state.config, learning_rate=state.config.learning_rate / 3)
        losses[:] = [min(losses)]


def search_rate(row: Row, tried: dict[str, list[float]], sets: tuple[DigitSet, DigitSet]) -> float:
    """Try rates until the best has one on either side that is no better; return it."""
    low, high = row.first, row.first + 2
    while True:
        for rate in RATES[low : high + 1]:
            if str(rate) not in tried:
                tried[str(rate)] = [score(row, rate, seed, sets) for seed in SEARCH_SEEDS]
        best = RATES.index(choose_rate(tried))
        if low < best < high:
            return RATES[best]
        if best == low and low > 0:
            low -= 1
        elif best == high and high < len(RATES) - 1:
            high += 1
        else:
            raise RuntimeError(f"The best rate, {RATES[best]}, is the last that may be tried.")


# --- Folds ---------------------------------------------------------------------------------------


def score_folds(digits: DigitSet, seed: int) -> list[float]:
    """Return the accuracy on each fold of a cross-validation."""
    order = np.random.default_rng(seed).permutation(len(digits))
    parts = np.array_split(order, FOLDS)
    accuracies = []
    for held in range(len(parts)):
        inside = np.concatenate(parts[:held] + parts[held + 1 :])
        network = build_model("deep_mlp", seed=seed)
        config = replace(CONFIG, epochs=6, learning_rate=0.01, schedule="constant", seed=seed)
        for _ in iter_epochs(start_training(network, digits.subset(inside), config)):
            pass
        accuracies.append(evaluate(network, Batches(digits.subset(parts[held]))).accuracy)
    return accuracies


def compare_folds(train: DigitSet, order: str) -> dict[str, Any]:
    """Cross-validate on sets that share no digit; say what their means and their folds do.

    MNIST has digits by one hand together. Taken as they come, a set is of few hands; shuffled, of
    nearly all.
    """
    chosen = np.arange(len(train))
    if order == "shuffled":
        chosen = np.random.default_rng(0).permutation(chosen)
    sets = chosen[: SETS["sets"] * SETS["digits"]].reshape(SETS["sets"], -1)
    scores = np.array([score_folds(train.subset(one), i) for i, one in enumerate(sets)])
    errors = scores.std(axis=1, ddof=1) / np.sqrt(FOLDS)
    return {
        **SETS,
        "folds": FOLDS,
        "order": order,
        "means": summarise(scores.mean(axis=1).tolist()),
        "errors_from_folds": summarise(errors.tolist()),
        "ratio": float(scores.mean(axis=1).std(ddof=1) / np.sqrt((errors**2).mean())),
    }


def main() -> None:
    """Measure what the record lacks; write it after every row."""
    arguments = read_arguments(make_parser(__doc__, seeds=5, only=ROWS, threads=1))
    record = Record("schedules", arguments, {"digits": DIGITS, "config": CONFIG})
    train, validation = split(load_mnist().train, seed=0)
    sets = train.subset(np.arange(DIGITS)), validation
    for name in arguments.only:
        entry = record.entry(name)
        if "learning_rate" not in entry:
            tried: dict[str, list[float]] = {}
            entry["learning_rate"] = search_rate(ROWS[name], tried, sets)
            entry["search"] = {rate: tried[rate] for rate in sorted(tried, key=float)}
        for seed in range(measured(entry, "accuracy"), arguments.seeds):
            add(entry, "accuracy", score(ROWS[name], entry["learning_rate"], seed, sets))
        record.save(name, entry["learning_rate"], entry["accuracy"])
    for part, order in ORDERS.items():
        if record.parts.get(part, {}).get("order") != order:
            record.parts[part] = compare_folds(train, order)
            record.save(part, record.parts[part]["ratio"])


if __name__ == "__main__":
    main()
