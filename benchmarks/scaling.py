"""Small scaling laws: the masked loss by data, by size of the encoder, and by compute.

    python -m benchmarks.scaling [--device cuda] [--seeds 2]

About 40 minutes on one core. What the record holds already is not repeated.

`digits` and `widths`: every run takes the same number of steps with the same batch size, so that
few digits are seen more often and nothing else differs. Each width has a learning rate of its own,
the best of a grid at so many steps. There is no augmentation, since that would make new digits of
old ones. The loss is that of 2,000 validation digits, and the lowest on the way counts, as in
Kaplan et al. 2020: with few digits it rises again at the end.

`budgets`: every width gets the same compute, 6 N D operations with N numbers that the encoder
learns and D patches that it sees, so a narrow one takes more steps (the second approach of Hoffmann
et al. 2022). Each width has a rate of its own, searched at the smallest budget. The last loss
counts.

The searches have a seed that no reported run has. The test set is not looked at.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import cache
from itertools import chain, product
from typing import Any

import numpy as np

from mnist_lab.data import DigitSet, load_mnist, split
from mnist_lab.finetuning import PRETRAIN, GuessHiddenPatches, MaskedAutoencoder, make_autoencoder
from mnist_lab.lessons import summarise
from mnist_lab.models import build_model, count_parameters
from mnist_lab.training import Batches, start_training, train_epoch

from .recording import (
    DEVICES,
    Record,
    find_best,
    make_parser,
    read_arguments,
    working_seconds,
)

STEPS = 1_500
LONGER = 4_500  # tried with the two widest, seed 0
SCORES, SCORED = 10, 2_000  # how often on the way, and on how many validation digits
OBJECTIVE = GuessHiddenPatches(normalised_targets=False)  # errors of pixels can be pictured
DIGITS = (50, 100, 200, 400, 800, 2_000, 5_000, 15_000, 55_000)
WIDTHS = (8, 16, 32, 64, 96)
WIDTH = 64  # where the digits vary
RATES = (0.0003, 0.001, 0.003, 0.01, 0.03)
SEARCH_SEED = 100
SEEN = 4  # patches of a digit that the encoder sees
# Operations, and the widths that are tried with them.
BUDGETS = {
    3e10: (8, 12, 16, 24, 32, 48, 64, 96),
    1.2e11: (12, 16, 24, 32, 48, 64, 96),
    4.8e11: (24, 32, 48, 64, 96),
}


def make_model(width: int, seed: int = 0) -> MaskedAutoencoder:
    """Return an autoencoder whose encoder has this width."""
    return make_autoencoder(build_model("vit", seed=seed, width=width), seed)


@cache
def load_parts() -> tuple[DigitSet, DigitSet]:
    """Return the training digits and those held out."""
    return split(load_mnist().train, seed=0)


class _EnoughError(Exception):
    """Raised after the last step, within whatever epoch that is."""


def losses_on_the_way(
    digits: int,
    width: int,
    seed: int,
    device: str,
    steps: int = STEPS,
    rate: float = PRETRAIN.learning_rate,
) -> list[float]:
    """Pretrain for so many steps and return the held-out loss after every tenth of them."""
    train, validation = load_parts()
    chosen = np.random.default_rng(seed).permutation(len(train))[:digits]
    held_out = Batches(validation.subset(slice(0, SCORED)), device=device)
    model = make_model(width, seed).to(device)
    losses: list[float] = []

    def watch(step: int, _: int) -> None:
        if step > 0 and step % (steps // SCORES) == 0:
            losses.append(OBJECTIVE.score(model, held_out).loss)
        if step == steps:
            raise _EnoughError

    config = replace(PRETRAIN, seed=seed, learning_rate=rate)
    few = train.subset(chosen)
    state = start_training(model, few, config, objective=OBJECTIVE, before_step=watch)
    state.total_steps = steps  # not a number of whole epochs
    with suppress(_EnoughError):
        while True:
            train_epoch(state)
    return losses


def encoder_parameters(width: int) -> int:
    """Return how many numbers the encoder learns; its head takes no part."""
    encoder = make_model(width).encoder
    return count_parameters(encoder) - count_parameters(encoder.output)


def steps_of(budget: float, width: int) -> int:
    """Return in how many steps an encoder of this width uses a budget of operations up."""
    a_step = 6 * encoder_parameters(width) * SEEN * PRETRAIN.batch_size
    return round(budget / a_step / SCORES) * SCORES


def measure_budgets(record: Record, device: str, seeds: int) -> None:
    """Give every width the same compute, budget by budget."""
    least = min(BUDGETS)
    for budget, widths in BUDGETS.items():
        for seed, width in product(range(seeds), widths):
            entry = record.entry("budgets", f"{budget:g}", width)
            runs = entry.get("loss", {}).get("values", [])
            if len(runs) > seed:
                continue
            rate = find_rate(record, device, "budgets", width, steps_of(least, width))
            steps = steps_of(budget, width)
            found = losses_on_the_way(DIGITS[-1], width, seed, device, steps, rate)
            entry |= {"steps": steps, "rate": rate, "loss": summarise([*runs, round(found[-1], 5)])}
            record.save("budget", budget, width, steps, rate, found[-1])


def find_rate(record: Record, device: str, series: str, width: int, steps: int) -> float:
    """Return the best learning rate of a width at so many steps."""

    def score(rate: float) -> float:
        with suppress(FloatingPointError):
            found = losses_on_the_way(DIGITS[-1], width, SEARCH_SEED, device, steps, rate)
            return -round(min(found), 5)
        return -99.0  # it blew up

    rate = find_best(RATES, record.entry("search", series, width), score)
    record.save("search", series, width, rate)
    return rate


def main() -> None:
    """Measure what the record lacks."""
    arguments = read_arguments(make_parser(__doc__, seeds=2, devices=DEVICES, threads=1, anew=True))
    setting: dict[str, Any] = {
        "steps": STEPS,
        "longer": LONGER,
        "batch_size": PRETRAIN.batch_size,
        "learning_rate": PRETRAIN.learning_rate,
        "mask_share": OBJECTIVE.mask_share,
        "digits": list(DIGITS),
        "widths": list(WIDTHS),
        "width": WIDTH,
        "rates": list(RATES),
        "budgets": {f"{budget:g}": list(widths) for budget, widths in BUDGETS.items()},
        "encoder_parameters": {
            str(width): encoder_parameters(width)
            for width in sorted({*WIDTHS, *chain(*BUDGETS.values())})
        },
    }
    record = Record("scaling", arguments, {"setting": setting})
    plan = [("digits", digits, WIDTH) for digits in DIGITS]
    plan += [("widths", DIGITS[-1], width) for width in WIDTHS]
    for seed in range(arguments.seeds):
        for series, digits, width in plan:
            key = str(digits if series == "digits" else width)
            entry = record.entry(series, key)
            runs = entry.setdefault("curves", [])
            if len(runs) > seed:
                continue
            rate = PRETRAIN.learning_rate
            if series == "widths":
                rate = find_rate(record, arguments.device, series, width, STEPS)
                if entry.get("rate", rate) != rate:
                    runs.clear()
                entry["rate"] = rate
            started = working_seconds(arguments.device)
            if series == "widths" and (width, rate) == (WIDTH, PRETRAIN.learning_rate):
                # Measured already, among the digits.
                runs.append(record.results["digits"][str(digits)]["curves"][seed])
            else:
                found = losses_on_the_way(digits, width, seed, arguments.device, rate=rate)
                runs.append([round(loss, 5) for loss in found])
            entry["loss"] = summarise([min(run) for run in runs])
            seconds = working_seconds(arguments.device) - started
            record.save(series, key, seed, min(runs[-1]), f"{seconds:.0f} s")
    longer = record.entry("longer")
    for width in WIDTHS[-2:]:
        if str(width) not in longer:
            rate = record.results["widths"][str(width)]["rate"]
            found = losses_on_the_way(DIGITS[-1], width, 0, arguments.device, LONGER, rate)
            longer[str(width)] = [round(loss, 5) for loss in found]
            record.save("longer", width, min(found))
    measure_budgets(record, arguments.device, arguments.seeds)


if __name__ == "__main__":
    main()
