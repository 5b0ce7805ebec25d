"""Masked pretraining against none: the accuracy of a vision transformer by number of labels.

    python -m benchmarks.masked_pretraining [--device cuda] [--draws 5]

About 25 minutes on one core. What the record holds already is not repeated.

A transformer is pretrained on the 55,000 training digits without their labels. It is then
fine-tuned on a few labels a class (`pretrained`), or its head alone is (`head`). Rivals without
pretraining are the same transformer (`scratch`) and the small CNN (`cnn`).

Two more use images without labels in another way. `cnn_pretrained` is the small CNN after a
pretraining of its own: hidden patches are painted in the mean grey, and it guesses them.
`self_training` is the small CNN that teaches itself: twice, what it is sure of among
`UNLABELLED` further images is taken for the truth, and a new network learns from both.

All get the same digits, batches, augmentation, number of steps (in each round) and grid of learning
rates, which goes on where the best lies at an end; self-training takes the CNN's rate, and what is
searched is how sure it has to be. The choice is made on label draws, and on digits to score, that
are not those reported. Everything is measured on validation data; the test set is not looked at.

`quick` compares ways to pretrain, on 20,000 digits for 3 epochs, at 10 labels a class.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mnist_lab.data import DigitSet, few_labels, load_mnist, split
from mnist_lab.finetuning import (
    PRETRAIN,
    GuessHiddenPatches,
    draw_kept,
    find_hidden,
    freeze_backbone,
    make_autoencoder,
    masked_loss,
    put_together,
    replace_head,
)
from mnist_lab.lessons import summarise
from mnist_lab.models import build_model, drawn_from, patchify, unpatchify
from mnist_lab.training import (
    Augmentation,
    Batch,
    Batches,
    Draws,
    FitResult,
    TrainConfig,
    evaluate,
    fit,
    load_checkpoint,
    logits_of,
    move,
)

from .recording import (
    DEVICES,
    Record,
    add,
    as_json,
    find_best,
    make_parser,
    measured,
    read_arguments,
    working_seconds,
)

RATES = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
SURENESS = (0.5, 0.8, 0.9, 0.95, 0.99, 0.999)  # what self-training believes
BATCH_SIZE = 50
AUGMENTATION = Augmentation(rotate=10, shift=2, scale=0.1, shear=5)
STEPS = {1: 300, 10: 300, 100: 300}  # by labels a class
METHODS = (
    "scratch",
    "cnn",
    "self_training",
    "cnn_pretrained",
    "pretrained",
    "head",
)
BASES = {"vit": 1, "small_cnn": 3}  # pretrained networks, taken in turn
ROUNDS, UNLABELLED = 2, 20_000  # of self-training
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


class ConvolutionalAutoencoder(nn.Module):
    """The small CNN, and a linear layer that guesses all pixels from its last maps.

    A convolution slides over a full grid, so patches cannot be left out: hidden ones are 0, the
    mean grey of normalised images.
    """

    patch, patches = 7, 16

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.encoder = build_model("small_cnn", seed=seed)
        self.body = copy.deepcopy(self.encoder)
        with drawn_from(seed):
            self.body.output = nn.Linear(64 * 3 * 3, 28 * 28)

    def forward(self, patches: Tensor, kept: Tensor) -> Tensor:
        """Guess patches (n, 16, 49) from those that are kept, whose numbers are (n, k)."""
        hidden = find_hidden(kept, self.patches).unsqueeze(2)
        images = unpatchify(patches.masked_fill(hidden, 0.0), self.patch)
        return patchify(self.body(images).view(-1, 1, 28, 28), self.patch)


@dataclass(frozen=True)
class GuessPixelsWithConvolutions(GuessHiddenPatches):
    """As `GuessHiddenPatches`, by a `ConvolutionalAutoencoder`."""

    def check(self, model: nn.Module, config: TrainConfig, class_names: tuple[str, ...]) -> None:
        """Refuse nothing: only this script uses it."""

    def loss(
        self, model: nn.Module, batch: Batch, draws: Draws, config: TrainConfig
    ) -> tuple[Tensor, Tensor]:
        """Return the mean squared error of the hidden patches; nothing is right or wrong."""
        patches = patchify(batch[0], ConvolutionalAutoencoder.patch)
        kept = move(draw_kept(patches.shape[1], self.mask_share, draws), patches.device)
        loss = masked_loss(model(patches, kept), patches, kept, self.normalised_targets)
        return loss, torch.empty(0, device=patches.device)

    def kept(self, model: nn.Module) -> nn.Module:
        """Return the convolutional network with the layers that have learnt, and a new head."""
        assert isinstance(model, ConvolutionalAutoencoder)
        learnt = {k: v for k, v in model.body.state_dict().items() if not k.startswith("output.")}
        model.encoder.load_state_dict(learnt, strict=False)
        return model.encoder

    def finish(self, model: nn.Module) -> None:
        """Do nothing: the head was never frozen."""


OBJECTIVES = {"vit": OBJECTIVE, "small_cnn": GuessPixelsWithConvolutions()}


def pretrain(
    digits: DigitSet,
    validation: DigitSet,
    config: TrainConfig,
    objective: GuessHiddenPatches,
    **options: Any,
) -> FitResult:
    """Pretrain a new network; what the objective keeps of it is its encoder."""
    model: nn.Module
    if isinstance(objective, GuessPixelsWithConvolutions):
        model = ConvolutionalAutoencoder(config.seed)
    else:
        model = make_autoencoder(build_model("vit", seed=config.seed), config.seed)
    return fit(model, digits, validation, config, objective=objective, **options)


@cache
def base(record: Record, kind: str, seed: int) -> nn.Module:
    """Return an encoder that was pretrained on all 55,000 training digits.

    It lies in `RUNS`, from where an interrupted run goes on.
    """
    folder = RUNS / f"{kind}_seed_{seed}"
    train, validation = split(load_mnist().train, seed=0)
    config = replace(PRETRAINING, seed=seed)
    entries = record.entry("pretraining", kind)
    if str(seed) not in entries or not folder.exists():
        started = working_seconds(record.device)
        result = pretrain(
            train,
            validation,
            config,
            OBJECTIVES[kind],
            device=record.device,
            folder=folder,
            resume=True,
        )
        seconds = working_seconds(record.device) - started
        losses = [round(report.validation.loss, 5) for report in result.reports]
        entries[str(seed)] = {"masked_loss": losses, record.clock: round(seconds, 1)}
        record.save("pretrained", kind, seed, losses[-1], f"{seconds:.0f} s")
    model, card = load_checkpoint(folder)
    if card.training["config"] != as_json(config):
        raise ValueError(f"{folder} holds another run: remove it.")
    return model.to(record.device)


def adapt(
    method: str,
    digits: DigitSet,
    rate: float,
    steps: int,
    seed: int,
    start: nn.Module | None,
    device: str = "cpu",
) -> nn.Module:
    """Return a network trained on `digits`; `start` is the encoder, where there is one."""
    config = TrainConfig(
        steps=steps,
        learning_rate=rate,
        batch_size=BATCH_SIZE,
        augmentation=AUGMENTATION,
        seed=seed,
    )
    if start is None:
        model = build_model("vit" if method == "scratch" else "small_cnn", seed=seed)
    else:
        model = replace_head(copy.deepcopy(start), 10, seed)
    if method == "head":
        freeze_backbone(model)
    return fit(model, digits, config=config, device=device, progress=False).model


def teach_itself(
    digits: DigitSet,
    unlabelled: DigitSet,
    sure: float,
    rate: float,
    steps: int,
    seed: int,
    device: str,
) -> nn.Module:
    """Return a CNN that has learnt from labelled digits and from what it believes of others.

    Parameters
    ----------
    sure : float
        The least probability at which an answer is taken for the truth.
    """
    model = adapt("cnn", digits, rate, steps, seed, None, device)
    for _ in range(ROUNDS):
        chances = logits_of(model, Batches(unlabelled, device=device)).softmax(1).cpu()
        surest, answers = (each.numpy() for each in chances.max(1))
        kept = surest >= sure
        believed = replace(unlabelled.subset(kept), labels=answers[kept].astype(np.int64))
        model = adapt("cnn", put_together(digits, believed), rate, steps, seed, None, device)
    return model


def score(model: nn.Module, digits: DigitSet) -> float:
    """Return the accuracy."""
    device = next(model.parameters()).device
    return evaluate(model, Batches(digits, device=device)).accuracy


def measure(record: Record, method: str, count: int, draws: int) -> None:
    """Choose the rate of one method at `count` labels a class, then report it."""
    entry = record.entry("labels", method, count)
    pool, choose, report = load_parts()
    choose = choose.subset(slice(0, 1_000))
    kind = {"cnn_pretrained": "small_cnn"}.get(method, "vit")
    alone = method in ("scratch", "cnn", "self_training")

    def run(draw: int, value: float, scored: DigitSet) -> float:
        digits = few_labels(pool, count, draw)
        if method == "self_training":
            rest = pool.subset(np.random.default_rng(draw).permutation(len(pool))[:UNLABELLED])
            rate = record.entry("labels", "cnn", count)["rate"]
            model = teach_itself(digits, rest, value, rate, STEPS[count], draw, record.device)
        else:
            start = None if alone else base(record, kind, draw % BASES[kind])
            model = adapt(method, digits, value, STEPS[count], draw, start, record.device)
        return score(model, scored)

    def try_value(value: float) -> list[float]:
        drawn = range(SEARCH_SEED, SEARCH_SEED + SEARCHED[count])
        return [round(run(draw, value, choose), 6) for draw in drawn]

    name, grid = ("sureness", SURENESS) if method == "self_training" else ("rate", RATES)
    best = find_best(grid, entry.setdefault("search", {}), try_value)
    if entry.get(name) != best:
        entry.pop("accuracy", None)
    entry[name] = best
    for draw in range(measured(entry, "accuracy"), draws):
        add(entry, "accuracy", run(draw, best, report))
        record.save(method, count, best, "draw", draw)
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
                    record.device,
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
        "bases": dict(BASES),
        "sureness": list(SURENESS),
        "self_training": {"rounds": ROUNDS, "unlabelled": UNLABELLED},
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
