"""Ask what a language model's English is worth for reading digits, against nine rivals.

    python -m benchmarks.large [--labels 1000] [--draws 3]
    python -m benchmarks.large --only full scratch lora quantised [--labels 1000 100] [--draws 10]
    python -m benchmarks.large --only ladder [--draws 3]

About 55 minutes on one core.

What the record holds already is not repeated, so it can be stopped at any time and asked for more
draws later. What is named in the second and third line is measured only when it is asked for: all
ten rivals with two numbers of labels and ten draws take two hours, the ladder as long again.

Patches of a digit stand in place of words before MiniLM's six layers. `pretrained` keeps all their
matrices frozen; only the projection of patches, positions, norms and head learn. So do four that
tell where its answers come from: in `shuffled` the numbers of each matrix lie in another order,
`random` has numbers as BERT began with them, `stretched` the same numbers with the deviation that
each matrix has in the pretrained network, `no_layers` has none. Others let more learn: `full`
everything, from the pretrained numbers; `scratch` everything, from random ones; `lora` changes of
rank 8 beside all matrices; `quantised` the same on a base in four bits. And there is the small CNN
of chapter 5.

Every rival gets the same label draws, steps and batches, and its own learning rate for each number
of labels: the best of a grid that is climbed until both neighbours of the best are worse, on a draw
and on validation digits that are not those reported. Products are in bfloat16. The test set is not
looked at.

`ladder` asks what rank LoRA needs, how its change is to be scaled when the rank grows, and which
matrices need one.

Sources: Lu et al. 2021 for the question; Rothermel et al. 2021, who found another answer once each
rival had its own rate; Kalajdzievski 2023 for alpha over the root of the rank.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import nn

from mnist_lab.data import DigitSet, few_labels, load_mnist, split
from mnist_lab.finetuning import (
    add_lora,
    count_trainable,
    freeze_matrices,
    quantise_layers,
    unfreeze,
)
from mnist_lab.models import build_model, load_patch_reader, seeded_generator
from mnist_lab.training import Batches, TrainConfig, evaluate, fit

from .recording import (
    Record,
    add,
    choose_rate,
    make_parser,
    measured,
    read_arguments,
    working_seconds,
)

# Each rival, and the rate of the grid that its search begins at.
RIVALS = {
    "pretrained": 0.003,
    "shuffled": 0.003,
    "random": 0.003,
    "stretched": 0.003,
    "no_layers": 0.01,
    "full": 0.0003,
    "lora": 0.001,
    "quantised": 0.001,
    "scratch": 0.0003,
    "small_cnn": 0.01,
}
RATES = (0.00003, 0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1)
# Unless told otherwise.
ASKED = ("pretrained", "shuffled", "random", "stretched", "no_layers", "small_cnn")
LABELS = (100, 1_000, 5_000)
STEPS, BATCH_SIZE = 300, 16
RANK = 8
SEARCH_SEED = 1_000  # the draw to choose rates on; those to report begin at 0
SEARCH_SCORED, SCORED = 1_000, 2_000  # validation digits: first to choose on, then to report on

LADDER_LABELS = 1_000
RANKS = (1, 4, 16, 64)
ALPHA = 8.0
# The power of the rank that alpha is divided by, and the layers that are adapted.
LADDERS = {
    "alpha/r": (1.0, ("blocks",)),
    "alpha/sqrt(r)": (0.5, ("blocks",)),
    "attention": (0.5, ("*query", "*key", "*value", "*join")),
}
LADDER_RATE = 0.001  # where its searches begin


def shuffle_matrices(model: nn.Module, seed: int) -> None:
    """Give every matrix in the blocks its own numbers in another order, in place.

    What is left of the training is how large the numbers are, and nothing of what they mean.
    """
    generator = seeded_generator(torch.device("cpu"), seed)
    with torch.no_grad():
        for layer in model.get_submodule("blocks").modules():
            if isinstance(layer, nn.Linear):
                order = torch.randperm(layer.weight.numel(), generator=generator)
                layer.weight.copy_(layer.weight.flatten()[order].view_as(layer.weight))


def stretch_matrices(model: nn.Module, like: nn.Module) -> None:
    """Give every matrix in the blocks the deviation of its like in another network, in place."""
    both = (part.get_submodule("blocks").modules() for part in (model, like))
    with torch.no_grad():
        for layer, theirs in zip(*both, strict=True):
            if isinstance(layer, nn.Linear) and isinstance(theirs, nn.Linear):
                layer.weight.mul_(theirs.weight.std() / layer.weight.std())


def adapt(
    model: nn.Module, rank: int, alpha: float, names: tuple[str, ...], seed: int
) -> nn.Module:
    """Add LoRA to a reader of patches; what is new in it, and the norms, learn as a whole."""
    add_lora(model, rank=rank, alpha=alpha, names=names, seed=seed)
    norms = (name for name, part in model.named_modules() if isinstance(part, nn.LayerNorm))
    unfreeze(model, "embedding", "positions", *norms)
    return model


def build_rival(name: str, seed: int) -> nn.Module:
    """Return the network of a rival, its first weights drawn from a seed, frozen where it says."""
    if name == "small_cnn":
        return build_model("small_cnn", seed=seed)
    if name in ("random", "stretched", "scratch", "no_layers"):
        depth = 0 if name == "no_layers" else 6
        model = build_model("patch_reader", seed=seed, depth=depth)
    else:
        model = load_patch_reader(seed=seed)
    if name == "shuffled":
        shuffle_matrices(model, seed)
    if name == "stretched":
        stretch_matrices(model, load_patch_reader(seed=seed))
    if name in ("pretrained", "shuffled", "random", "stretched"):
        freeze_matrices(model, "blocks")
    if name == "quantised":
        quantise_layers(model, "blocks")
    if name in ("lora", "quantised"):
        adapt(model, RANK, RANK, ("blocks",), seed)
    return model


def build_rung(ladder: str, rank: int, seed: int) -> nn.Module:
    """Return the pretrained reader with LoRA of a rank, scaled and placed as a ladder says."""
    power, names = LADDERS[ladder]
    scale = ALPHA / rank**power
    return adapt(load_patch_reader(seed=seed), rank, scale * rank, names, seed)


def train_and_score(
    model: nn.Module, rate: float, digits: DigitSet, held_out: Batches, seed: int
) -> tuple[float, float]:
    """Train once; return the accuracy after the last step, and the seconds that training took."""
    config = TrainConfig(
        steps=STEPS, batch_size=BATCH_SIZE, learning_rate=rate, precision="bfloat16", seed=seed
    )
    started = working_seconds()
    fit(model, digits, config=config, device="cpu", progress=False)
    seconds = working_seconds() - started
    with torch.autocast("cpu", torch.bfloat16):
        return evaluate(model, held_out).accuracy, seconds


def climb(tried: dict[str, float], start: float, read: Callable[[float], float]) -> float:
    """Return the best rate of the grid, after trying on from `start` as long as it gets better.

    Both neighbours of what is returned have been tried, but for an end of the grid.
    """
    best = start
    while True:
        if str(best) not in tried:
            tried[str(best)] = read(best)
        place = RATES.index(best)
        for rate in RATES[max(place - 1, 0) : place + 2]:
            if str(rate) not in tried:
                tried[str(rate)] = read(rate)
        if choose_rate(tried) == best:
            return best
        best = choose_rate(tried)


@dataclass(frozen=True)
class Job:
    """A row of the record: what is trained, on how many labels, and where its search begins."""

    names: tuple[object, ...]
    build: Callable[[int], nn.Module]
    labels: int
    start: float


def try_rate(record: Record, job: Job, digits: DigitSet, held_out: Batches, rate: float) -> float:
    """Return the accuracy that a rate reaches on the draw that rates are chosen on."""
    model = job.build(SEARCH_SEED)
    record.entry(*job.names)["trainable"] = count_trainable(model)
    accuracy, _ = train_and_score(model, rate, digits, held_out, SEARCH_SEED)
    record.save(*job.names, "search", rate, accuracy)
    return accuracy


def measure(record: Record, jobs: Sequence[Job], draws: int) -> None:
    """Search the rate of every job, then train all of them on one draw of labels after another."""
    train, validation = split(load_mnist().train, seed=0)
    end = SEARCH_SCORED + SCORED
    choose, report = (
        Batches(validation.subset(np.arange(first, last)), 250)
        for first, last in ((0, SEARCH_SCORED), (SEARCH_SCORED, end))
    )
    for job in jobs:
        entry = record.entry(*job.names)
        digits = few_labels(train, job.labels // 10, SEARCH_SEED)
        read = partial(try_rate, record, job, digits, choose)
        entry["learning_rate"] = climb(entry.setdefault("search", {}), job.start, read)
        record.save(*job.names, entry["learning_rate"])
    for draw in range(draws):
        for job in jobs:
            entry = record.entry(*job.names)
            if measured(entry, "accuracy") > draw:
                continue
            digits = few_labels(train, job.labels // 10, draw)
            rate = entry["learning_rate"]
            accuracy, seconds = train_and_score(job.build(draw), rate, digits, report, draw)
            add(entry, "accuracy", accuracy)
            add(entry, "seconds", seconds)
            record.save(*job.names, "draw", draw, accuracy, f"{seconds:.0f} s")


def main() -> None:
    """Measure what the record lacks."""
    parser = make_parser(__doc__, draws=3, only=(*RIVALS, "ladder"), threads=1, anew=True)
    parser.set_defaults(only=list(ASKED))
    parser.add_argument("--labels", nargs="+", type=int, default=[1_000], choices=LABELS)
    arguments = read_arguments(parser)
    setting = {
        "steps": STEPS,
        "batch_size": BATCH_SIZE,
        "rates": list(RATES),
        "rank": RANK,
        "search_scored": SEARCH_SCORED,
        "scored": SCORED,
        "products": "bfloat16",
        "ladder_labels": LADDER_LABELS,
        "alpha": ALPHA,
    }
    names = [name for name in arguments.only if name != "ladder"]
    if names:
        measure(
            Record("large", arguments, {"setting": setting}),
            [
                Job((name, count), partial(build_rival, name), count, RIVALS[name])
                for count in arguments.labels
                for name in names
            ],
            arguments.draws,
        )
    if "ladder" in arguments.only:
        settings = {"setting": setting}
        measure(
            Record("large", arguments, settings, variant="ladder", options="--only ladder"),
            [
                Job((name, rank), partial(build_rung, name, rank), LADDER_LABELS, LADDER_RATE)
                for name in LADDERS
                for rank in RANKS
            ],
            arguments.draws,
        )


if __name__ == "__main__":
    main()
