"""The articles as promised: what their prose announces, built from the package's parts.

`articles` measures them beside the printed and the corrected forms. What the prose leaves open (how
many epochs, how much noise, how far the crops move) is chosen here, and stands in `PROMISES`; the
learning rate is searched on validation digits, before anything is scored: 002's on a part of the
training digits, 000's on all of them. (On a part it chose 0.3, at which longer runs diverge.)

000: its five steps of fine-tuning, from a file of pretrained weights: its own network, which was
taught 0 to 4 before. 001: digits held out to choose the epoch, noise in training, and weights of
few bits. 002: its six steps. A residual network with batch norm after each convolution, dropout,
weight decay and clipping learns from turned and cropped digits; the rate falls where the validation
loss does not; the top layers are fine-tuned on the digits as they are; what comes out is saved,
served by ONNX Runtime and watched.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from mnist_lab.data import MNIST, DigitSet, corrupt, keep_classes, split
from mnist_lab.few_bits import quantise_network
from mnist_lab.finetuning import freeze, load_pretrained, unfreeze
from mnist_lab.models import build_model
from mnist_lab.serving import Cusum, Versions, find_alarms, limit_for, load_served
from mnist_lab.training import (
    ARTICLES,
    Augmentation,
    Batches,
    ModelCard,
    TrainConfig,
    evaluate,
    fit,
    iter_epochs,
    save_checkpoint,
    start_training,
)

from .recording import choose_rate
from .schedules import lower_on_a_plateau

Figures = dict[str, float]
Sets = tuple[DigitSet, DigitSet]

RATES = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
SEARCH_SEED = 100  # of the run that a rate is chosen by; none that is reported
SEARCHED = {"article_002": 10_000}  # digits of that run, where not all
OLD = "01234"  # what article 000's pretrained network knows
FEWEST_LOST = 0.001  # of the validation accuracy: what few bits may cost
TOP = ("blocks.2", "output")  # of the residual network, what is fine-tuned
WATCHED = 1_000  # answers, of which false alarms are one in twenty


@dataclass(frozen=True)
class Promise:
    """How an article as promised is trained.

    Attributes
    ----------
    model, arguments
        As for `models.build_model`.
    config : TrainConfig
        Its learning rate is searched, but for article 001, which trusts that of Keras.
    before, after : TrainConfig, optional
        Of what is trained before that, or after it. Its rate is a factor of the searched one.
    rates : tuple of float
        What is tried first.
    """

    model: str
    config: TrainConfig
    arguments: dict[str, Any]
    before: TrainConfig | None = None
    after: TrainConfig | None = None
    rates: tuple[float, ...] = ()


_SGD = replace(ARTICLES["article_000"].corrected.config, schedule="exponential")
PROMISES = {
    # Exponential decay is what its answers advise; one epoch is what it prints.
    "article_000": Promise(
        "article_000",
        _SGD,
        {"corrected": True},
        before=replace(_SGD, learning_rate=1.0),
        rates=(0.01, 0.03, 0.1),
    ),
    "article_001": Promise(
        "article_001",
        replace(ARTICLES["article_001"].corrected.config, augmentation=Augmentation(noise=40)),
        {},
    ),
    # A crop is a shift: what leaves on one side is lost, and paper comes in on the other.
    "article_002": Promise(
        "resnet",
        TrainConfig(
            epochs=4,
            schedule="constant",
            weight_decay=0.01,
            clip_norm=1.0,
            augmentation=Augmentation(rotate=10, shift=2),
        ),
        {"width": 16, "depth": 1, "dropout": 0.5},
        after=TrainConfig(epochs=1, schedule="constant", weight_decay=0.01, learning_rate=0.1),
        rates=(0.003, 0.01, 0.03),
    ),
}


def at_rate(config: TrainConfig, rate: float, seed: int) -> TrainConfig:
    """Return a configuration with a rate and a seed."""
    return replace(config, learning_rate=rate, seed=seed)


def configuration(name: str, found: Mapping[str, Any]) -> dict[str, Any]:
    """Return all that decides how an article as promised trains, for the ledger."""
    rates = {key: found[key] for key in sorted(found) if key.startswith("learning_rate")}
    return {"promise": PROMISES[name], "searched": rates}


# --- Article 000: from a file of pretrained weights ----------------------------------------------


def pretrain(train: DigitSet, rate: float, seed: int, device: str, folder: Path) -> float:
    """Teach article 000's network the digits 0 to 4, and leave its file; return the seconds."""
    promise = PROMISES["article_000"]
    assert promise.before
    known = keep_classes(train, OLD)
    run = fit(
        promise.model,
        known,
        None,
        at_rate(promise.before, promise.before.learning_rate * rate, seed),
        arguments=promise.arguments | {"classes": len(OLD)},
        device=device,
        folder=folder,
        progress=False,
    )
    return run.seconds


def tune(sets: Sets, rate: float, seed: int, device: str, folder: Path | None) -> Any:
    """Train article 000's network on all ten digits, from a file or from fresh weights."""
    promise = PROMISES["article_000"]
    model = build_model(promise.model, seed=seed, **promise.arguments)
    if folder is not None:
        load_pretrained(model, folder)
    config = at_rate(promise.config, rate, seed)
    return fit(model, *sets, config, device=device, progress=False)


def keep_000(mnist: MNIST, seed: int, device: str, found: Mapping[str, Any]) -> Figures:
    """Pretrain, fine-tune at the rate that was found, validate, score once."""
    sets = split(mnist.train, seed)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        seconds = pretrain(sets[0], found["learning_rate_from_scratch"], seed, device, folder)
        tuned = tune(sets, found["learning_rate"], seed, device, folder)
    score = evaluate(tuned.model, Batches(mnist.test, device=device))
    return {
        "accuracy": score.accuracy,
        "loss": score.loss,
        "seconds": seconds + tuned.seconds,
        "validation_accuracy": tuned.best.validation.accuracy,
    }


def search_000(sets: Sets, device: str) -> dict[str, Any]:
    """Choose the rate from fresh weights, then that from a file which was made with it.

    The best scores of the two searches say what the file is worth, on so many digits.
    """
    found: dict[str, Any] = {}
    rates = PROMISES["article_000"].rates

    def score(folder: Path | None) -> Callable[[float], float]:
        return lambda rate: tune(sets, rate, SEARCH_SEED, device, folder).best.validation.accuracy

    found["search_from_scratch"] = search(rates, score(None))
    found["learning_rate_from_scratch"] = choose_rate(found["search_from_scratch"])
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        pretrain(sets[0], found["learning_rate_from_scratch"], SEARCH_SEED, device, folder)
        found["search"] = search(rates, score(folder))
    found["learning_rate"] = choose_rate(found["search"])
    return found


# --- Article 001: validation, noise, few bits ----------------------------------------------------


def keep_001(mnist: MNIST, seed: int, device: str, found: Mapping[str, Any]) -> Figures:
    """Train with noise, keep the best epoch, then the fewest bits that cost next to nothing."""
    promise = PROMISES["article_001"]
    config = replace(promise.config, seed=seed)
    train, validation = split(mnist.train, seed)
    run = fit(promise.model, train, validation, config, device=device, progress=False)
    test, held_out = (
        Batches(part, device=device, normalisation=config.normalisation)
        for part in (mnist.test, validation)
    )
    whole = run.best.validation.accuracy
    bits, small = compress(run.model, lambda tried: evaluate(tried, held_out).accuracy, whole)
    score = evaluate(small, test)
    return {
        "accuracy": score.accuracy,
        "loss": score.loss,
        "seconds": run.seconds,
        "validation_accuracy": whole,
        "validation_accuracy_compressed": evaluate(small, held_out).accuracy,
        "bits": float(bits),
    }


def compress(
    model: nn.Module, score: Callable[[nn.Module], float], whole: float
) -> tuple[int, nn.Module]:
    """Return the fewest bits of a weight that cost next to nothing, and the network so."""
    bits, small = 8, quantise_network(model, 8)
    while bits > 2:
        tried = quantise_network(model, bits - 1)
        if score(tried) < whole - FEWEST_LOST:
            break
        bits, small = bits - 1, tried
    return bits, small


# --- Article 002: six steps ----------------------------------------------------------------------


def train_until_flat(
    sets: Sets, config: TrainConfig, device: str
) -> tuple[nn.Module, list[float], float]:
    """Do steps 2 to 4: return the best epoch's network, validation accuracies, seconds."""
    promise = PROMISES["article_002"]
    model = build_model(promise.model, seed=config.seed, **promise.arguments).to(device)
    state = start_training(model, sets[0], config)
    losses: list[float] = []
    accuracies: list[float] = []
    best: dict[str, Any] = {}
    for report in iter_epochs(state, sets[1]):
        assert report.validation is not None
        losses.append(report.validation.loss)
        accuracies.append(report.validation.accuracy)
        if accuracies[-1] == max(accuracies):
            best = copy.deepcopy(model.state_dict())
        lower_on_a_plateau(state, losses, patience=1)
    model.load_state_dict(best)
    return model.eval(), accuracies, state.seconds


def keep_002(mnist: MNIST, seed: int, device: str, found: Mapping[str, Any]) -> Figures:
    """Do all six steps; what is scored is the network as it is served."""
    promise = PROMISES["article_002"]
    assert promise.after
    sets = split(mnist.train, seed)
    rate = found["learning_rate"]
    model, before, seconds = train_until_flat(sets, at_rate(promise.config, rate, seed), device)
    freeze(model)
    unfreeze(model, *TOP)
    config = at_rate(promise.after, promise.after.learning_rate * rate, seed)
    run = fit(model, *sets, config, device=device, progress=False)
    with tempfile.TemporaryDirectory() as folder:
        served = serve(run.model.cpu(), run.card, Path(folder))
    score = served.score(mnist.test)
    return {
        "accuracy": score.accuracy,
        "loss": score.loss,
        "seconds": seconds + run.seconds,
        "validation_accuracy_before": max(before),
        "validation_accuracy": run.best.validation.accuracy,
        **watch(lambda digits: served.read(digits.images).probabilities.max(1), sets[1]),
    }


def serve(model: nn.Module, card: ModelCard, folder: Path) -> Any:
    """Save a network, let its version be served, and return the reader that serves it."""
    save_checkpoint(folder / "run", model, card)
    versions = Versions(folder / "served")
    versions.promote(versions.add(folder / "run"))
    return load_served(versions.path(), threads=1)


def watch(confidence: Callable[[DigitSet], Any], validation: DigitSet) -> Figures:
    """Count alarms while digits are as usual, and the digits until one when all are turned."""
    usual = confidence(validation.subset(np.arange(0, len(validation), 2)))
    other = validation.subset(np.arange(1, len(validation), 2))
    limit = limit_for(usual, WATCHED)

    def alarms(digits: DigitSet) -> list[int]:
        return find_alarms(confidence(digits), Cusum(usual.mean(), usual.std(), limit=limit))

    found = alarms(corrupt(other, "turn"))
    return {
        "false_alarms": float(len(alarms(other))),
        "digits_until_alarm": float(found[0] + 1 if found else len(other)),
    }


def search_002(sets: Sets, device: str) -> dict[str, Any]:
    """Choose the first rate, by what the plateau makes of it."""
    promise = PROMISES["article_002"]

    def score(rate: float) -> float:
        return max(train_until_flat(sets, at_rate(promise.config, rate, SEARCH_SEED), device)[1])

    found: dict[str, Any] = {"search": search(promise.rates, score)}
    found["learning_rate"] = choose_rate(found["search"])
    return found


# --- All of them ---------------------------------------------------------------------------------


def search(rates: tuple[float, ...], score: Callable[[float], float]) -> dict[str, float]:
    """Try rates until the best has one on either side, as far as `RATES` goes; return the scores.

    A run whose loss is not finite counts as 0.
    """
    tried: dict[float, float] = {}
    wanted = list(rates)
    while wanted:
        for rate in wanted:
            try:
                tried[rate] = round(score(rate), 6)
            except FloatingPointError:
                tried[rate] = 0.0
        place = RATES.index(choose_rate({str(rate): value for rate, value in tried.items()}))
        around = RATES[max(place - 1, 0) : place + 2]
        wanted = [rate for rate in around if rate not in tried]
    return {str(rate): tried[rate] for rate in sorted(tried)}


SEARCHES: dict[str, Callable[[Sets, str], dict[str, Any]]] = {
    "article_000": search_000,
    "article_002": search_002,
}
KEPT: dict[str, Callable[[MNIST, int, str, Mapping[str, Any]], Figures]] = {
    "article_000": keep_000,
    "article_001": keep_001,
    "article_002": keep_002,
}


def find_rates(name: str, mnist: MNIST, device: str) -> dict[str, Any]:
    """Return an article's search, on a part of the digits; nothing for one that has none."""
    if name not in SEARCHES:
        return {}
    train, validation = split(mnist.train, SEARCH_SEED)
    found = SEARCHES[name]((train.subset(slice(0, SEARCHED.get(name))), validation), device)
    searches = {key: tried for key, tried in found.items() if key.startswith("search")}
    return found | {f"best_of_{key}": max(tried.values()) for key, tried in searches.items()}


def count_epochs(name: str) -> int:
    """Return how often the digits of the task are passed."""
    promise = PROMISES[name]
    return promise.config.epochs + (promise.after.epochs if promise.after else 0)
