"""What is read of digits that were changed, on purpose or by chance, with and without a defence.

    python -m benchmarks.attacks [--seeds 3] [--only plain ...] [--threads 1]

About 12 minutes on one core.

Four networks of one kind learn from the same 20,000 digits in as many epochs: `plain` from digits
as they are, `augmented` from ones that are varied as those for the pages are, two by adversarial
training, attacked lightly, with an epsilon of 0.1, and strongly, with 0.3. Each is then attacked on
the same 200 validation digits, by so many per cent of full ink in each pixel, and shown all
validation digits under MNIST-C's corruptions. `worst` is what every attack of a row has left: a
digit counts as read only if none of them got it misread. None of these is a proof: another attack
may leave less. The test set is not touched, so the published figures, which the record holds
beside, are of other digits, and of networks that were trained for longer.

Trained networks stay in `_build/attacks`, so a run goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mnist_lab.data import MNIST_C, DigitSet, corrupt, load_mnist, split
from mnist_lab.inspection import (
    ClassifyUnderAttack,
    PixelNetwork,
    as_pixels,
    fgsm,
    margin_loss,
    pgd,
    read_right,
    square_attack,
)
from mnist_lab.training import OTHER_HANDS, Classify, Objective, TrainConfig, fit

from .recording import Record, add, make_parser, measured, read_arguments

MODEL = "small_cnn"
CONFIG = TrainConfig(epochs=2)
LEARNT, ATTACKED = 20_000, 200  # digits
EPSILONS = (0.05, 0.1, 0.2, 0.3)
STEPS, RESTARTS, QUERIES = 20, 5, 300
INNER_STEPS = 5  # of PGD, in adversarial training
FOLDER = Path("_build/attacks")
NETWORKS: dict[str, tuple[TrainConfig, Objective]] = {
    "plain": (CONFIG, Classify()),
    "augmented": (replace(CONFIG, augmentation=OTHER_HANDS), Classify()),
    "attacked lightly": (CONFIG, ClassifyUnderAttack(0.1, INNER_STEPS)),
    "attacked strongly": (CONFIG, ClassifyUnderAttack(0.3, INNER_STEPS)),
}

Attack = Callable[..., Tensor]
ATTACKS: dict[str, Attack] = {
    "FGSM": lambda *given, seed: fgsm(*given),
    "PGD": partial(pgd, steps=STEPS),
    "PGD, restarts": partial(pgd, steps=STEPS, restarts=RESTARTS),
    "PGD on the margin": partial(pgd, steps=STEPS, loss=margin_loss),
    "squares": partial(square_attack, queries=QUERIES),
}

MADRY = "https://github.com/MadryLab/mnist_challenge"
AUTO = "https://github.com/fra31/auto-attack"
# Networks of others, of the l-infinity ball of 0.3, on all 10,000 test digits.
PUBLISHED = [
    {"network": network, "attack": attack, "accuracy": accuracy, "source": source}
    for network, attack, accuracy, source in (
        ("Madry et al. 2018", "FGSM", 0.9636, MADRY),
        ("Madry et al. 2018", "100-step PGD", 0.9252, MADRY),
        ("Madry et al. 2018", "100-step PGD, 50 restarts", 0.8962, MADRY),
        ("Madry et al. 2018", "100-step PGD on the margin, 50 restarts", 0.8971, MADRY),
        ("Madry et al. 2018", "squares", 0.8825, MADRY),
        ("Madry et al. 2018", "lowest on the list", 0.8800, MADRY),
        ("Madry et al. 2018", "none", 0.9853, AUTO),
        ("Madry et al. 2018", "AutoAttack", 0.8843, AUTO),
        ("Zhang et al. 2019 (TRADES)", "none", 0.9948, AUTO),
        ("Zhang et al. 2019 (TRADES)", "AutoAttack", 0.9276, AUTO),
        ("Taghanaki et al. 2019", "none", 0.9886, AUTO),
        ("Taghanaki et al. 2019", "as its authors report", 0.6425, AUTO),
        ("Taghanaki et al. 2019", "AutoAttack", 0.0000, AUTO),
    )
]


def accuracy_of(network: PixelNetwork, pixels: Tensor, labels: Tensor) -> float:
    """Return the share of digits that are read as their label."""
    return read_right(network, pixels, labels).double().mean().item()


def attack_all(
    network: PixelNetwork, pixels: Tensor, labels: Tensor, epsilon: float, seed: int
) -> dict[str, float]:
    """Return the accuracy that each attack leaves, and that of the worst of them at each digit."""
    left: dict[str, Tensor] = {}
    for name, attack in ATTACKS.items():
        changed = attack(network, pixels, labels, epsilon, seed=seed)
        left[name] = read_right(network, changed, labels)
    left["worst"] = torch.stack(list(left.values())).all(0)
    return {name: right.double().mean().item() for name, right in left.items()}


def trained(name: str, seed: int, digits: DigitSet) -> PixelNetwork:
    """Return one of `NETWORKS`: from the folder, if it has been trained there."""
    config, objective = NETWORKS[name]
    run = fit(
        MODEL,
        digits,
        None,
        replace(config, seed=seed),
        objective=objective,
        device="cpu",
        folder=FOLDER / f"{name.replace(' ', '_')}_{seed}",
        resume=True,
        overwrite=True,  # one of another time is trained anew
        progress=False,
    )
    return PixelNetwork(run.model)


def main() -> None:
    """Measure what the record lacks."""
    arguments = read_arguments(make_parser(__doc__, seeds=3, only=NETWORKS, threads=1))
    setting = {
        "setting": {
            "model": MODEL, "epochs": CONFIG.epochs, "digits": LEARNT, "attacked": ATTACKED,
            "steps": STEPS, "restarts": RESTARTS, "queries": QUERIES, "inner_steps": INNER_STEPS,
        }
    }  # fmt: skip
    record = Record("attacks", arguments, setting)
    record.parts["published"] = PUBLISHED
    train, validation = split(load_mnist().train, seed=0)
    digits = train.subset(np.arange(LEARNT))
    pixels = as_pixels(validation.images[:ATTACKED])
    labels = torch.from_numpy(validation.labels[:ATTACKED])
    rows: dict[str, DigitSet] = {}
    for seed in range(arguments.seeds):
        for name in arguments.only:
            entry, by_chance = record.entry(name), record.entry(name, "mnist_c")
            if measured(entry, "untouched") <= seed:
                network = trained(name, seed, digits)
                found = {
                    f"{100 * e:.0f}": attack_all(network, pixels, labels, e, seed) for e in EPSILONS
                }
                for strength, accuracies in found.items():
                    for attack, accuracy in accuracies.items():
                        add(record.entry(name, strength), attack, accuracy)
                add(entry, "untouched", accuracy_of(network, pixels, labels))
                record.save(name, seed, found)
            if measured(by_chance, "as they are") <= seed:
                network = trained(name, seed, digits)
                if not rows:
                    rows = {row: corrupt(validation, row, among=MNIST_C) for row in MNIST_C}
                for row, some in (rows | {"as they are": validation}).items():
                    truth = torch.from_numpy(some.labels)
                    add(by_chance, row, accuracy_of(network, as_pixels(some.images), truth))
                record.save(name, seed, "by chance")


if __name__ == "__main__":
    main()
