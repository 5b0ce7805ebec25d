"""A small scaling law: how the masked loss falls with data and with the size of the encoder.

    python -m benchmarks.scaling [--device cuda] [--seeds 2]

About 10 minutes on one core. What the record holds already is not repeated.

Every run takes the same number of steps with the same batch size and learning rate, so that few
digits are seen more often and nothing else differs. There is no augmentation, since that would make
new digits of old ones. The loss is that of 2,000 validation digits, and the lowest on the way
counts, as in Kaplan et al. 2020: with few digits it rises again at the end. The test set is not
looked at.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from mnist_lab.data import DigitSet, load_mnist, split
from mnist_lab.finetuning import PRETRAIN, GuessHiddenPatches, MaskedAutoencoder, make_autoencoder
from mnist_lab.lessons import summarise
from mnist_lab.models import build_model, count_parameters
from mnist_lab.training import Batches, start_training, train_epoch

from .recording import DEVICES, Record, make_parser, read_arguments, working_seconds

STEPS = 1_500
LONGER = 4_500  # tried with the two widest, seed 0
SCORES, SCORED = 10, 2_000  # how often on the way, and on how many validation digits
OBJECTIVE = GuessHiddenPatches(normalised_targets=False)  # errors of pixels can be pictured
DIGITS = (50, 100, 200, 400, 800, 55_000)
WIDTHS = (8, 16, 32, 64, 96)
WIDTH = 64  # where the digits vary


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
    digits: int, width: int, seed: int, device: str, steps: int = STEPS
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

    config = replace(PRETRAIN, seed=seed)
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
        "encoder_parameters": {str(width): encoder_parameters(width) for width in WIDTHS},
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
            started = working_seconds(arguments.device)
            if series == "widths" and width == WIDTH:  # measured already, among the digits
                runs.append(record.results["digits"][str(digits)]["curves"][seed])
            else:
                found = losses_on_the_way(digits, width, seed, arguments.device)
                runs.append([round(loss, 5) for loss in found])
            entry["loss"] = summarise([min(run) for run in runs])
            seconds = working_seconds(arguments.device) - started
            record.save(series, key, seed, min(runs[-1]), f"{seconds:.0f} s")
    longer = record.entry("longer")
    for width in WIDTHS[-2:]:
        if str(width) not in longer:
            found = losses_on_the_way(DIGITS[-1], width, 0, arguments.device, LONGER)
            longer[str(width)] = [round(loss, 5) for loss in found]
            record.save("longer", width, min(found))


if __name__ == "__main__":
    main()
