"""What it changes that MNIST's digits come in bundles by one writer: intervals, splits, halves.

    python -m benchmarks.writers --tables FOLDER [--download]

About 10 minutes on one core.

FOLDER is where torchvision keeps its data sets; the table of writers lies in it, or is fetched into
it with --download, which needs the network once (`mnist_lab.data.add_writers`). Everything is made
anew. What cleanlab's published predictions gave is not measured here: it stays as it is recorded.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_lab.data import FIRST_STUDENT, MNIST, DataError, DigitSet, add_writers, load_mnist, split
from mnist_lab.lessons import design_effect, load_record, summarise
from mnist_lab.training import TrainConfig, fit

from .recording import Record, make_parser, read_arguments

PROTOTYPES = 10_000  # training digits that the test digits are compared with
ASKED = 1_000  # validation digits whose nearest neighbour is looked up
COMPARED = 20_000  # training digits that a part of held-out writers is compared with
EPOCHS = 3
CHUNK = 500  # digits at a time: a row of distances for each
WHAT = "from QMNIST's table of writers, by benchmarks/writers.py; cleanlab's as recorded before"


def writers_of(digits: DigitSet) -> NDArray[np.int64]:
    """Return who wrote the digits; they have to know.

    Raises
    ------
    ValueError
        If they do not.
    """
    if digits.writers is None:
        raise ValueError("These digits do not say who wrote them.")
    return digits.writers


def count_writers(mnist: MNIST) -> dict[str, dict[str, int]]:
    """Count digits, writers and students of MNIST's parts and of the halves of its test part."""
    half = len(mnist.test) // 2
    parts = {
        "training": mnist.train,
        "test": mnist.test,
        "test, first half": mnist.test.subset(slice(None, half)),
        "test, second half": mnist.test.subset(slice(half, None)),
    }
    return {
        name: {
            "digits": len(part),
            "writers": len(np.unique(writers_of(part))),
            "digits_by_students": int((writers_of(part) >= FIRST_STUDENT).sum()),
        }
        for name, part in parts.items()
    }


def count_shared(one: DigitSet, other: DigitSet) -> int:
    """Count the people who wrote in both."""
    return len(np.intersect1d(writers_of(one), writers_of(other)))


def find_nearest(
    digits: DigitSet, among: DigitSet, *, other_people: bool = False
) -> NDArray[np.int64]:
    """Return for each digit which one of `among` has the nearest pixels (Euclidean): int64 (n,).

    With `other_people`, the nearest of those that somebody else wrote.
    """
    theirs = among.images.reshape(len(among), -1).astype(np.float32)
    lengths = (theirs**2).sum(axis=1)
    found = np.empty(len(digits), np.int64)
    for start in range(0, len(digits), CHUNK):
        rows = slice(start, start + CHUNK)
        ours = digits.images[rows].reshape(-1, theirs.shape[1]).astype(np.float32)
        distances = lengths - 2 * ours @ theirs.T  # squared, but for what all of a row share
        if other_people:
            same = writers_of(digits)[rows, None] == writers_of(among)[None]
            distances[same] = np.inf
        found[rows] = distances.argmin(axis=1)
    return found


def ask_neighbours(digits: DigitSet, among: DigitSet) -> dict[str, float]:
    """Measure how often the nearest neighbour is by the same person, and what that is worth."""
    nearest = find_nearest(digits, among)
    others = find_nearest(digits, among, other_people=True)
    same = writers_of(digits)[:, None] == writers_of(among)[None]
    return {
        "digits": len(digits),
        "nearest_is_by_the_same_person": float(
            (writers_of(among)[nearest] == writers_of(digits)).mean()
        ),
        "by_chance": float(same.mean()),
        "error": float((among.labels[nearest] != digits.labels).mean()),
        "error_without_own_digits": float((among.labels[others] != digits.labels).mean()),
    }


def compare_halves(right: NDArray[np.bool_], writers: NDArray[np.int64]) -> dict[str, float]:
    """Return the errors in both halves of the test set, and standard errors in both ways."""
    half = len(right) // 2
    share, effect = right.mean(), design_effect(right, writers)
    error = math.sqrt(share * (1 - share) / len(right))
    return {
        "errors": int((~right).sum()),
        "errors_in_first_half": int((~right[:half]).sum()),
        "errors_in_second_half": int((~right[half:]).sum()),
        "standard_error_of_digits": error,
        "standard_error_by_writer": error * math.sqrt(effect),
        "design_effect": effect,
        "design_effect_in_second_half": design_effect(right[half:], writers[half:]),
    }


def hold_out(train: DigitSet, by: Any, seed: int) -> dict[str, float]:
    """Score a network and nearest neighbours on digits held out, `by` digit or by writer."""
    rest, held_out = split(train, seed, by=by)
    config = TrainConfig(epochs=EPOCHS, seed=seed)
    result = fit("small_cnn", rest, held_out, config, device="cpu", progress=False)
    assert result.best.validation is not None
    chosen = np.random.default_rng(seed).permutation(len(rest))[:COMPARED]
    nearest = find_nearest(held_out, rest.subset(chosen))
    right = rest.labels[chosen[nearest]] == held_out.labels
    return {"small_cnn": result.best.validation.accuracy, "neighbour": float(right.mean())}


def main() -> None:
    """Measure it all anew."""
    parser = make_parser(__doc__, seeds=4, threads=1)
    parser.add_argument("--tables", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--download", action="store_true", help="fetch the table if it lacks")
    arguments = read_arguments(parser)
    try:
        mnist = add_writers(load_mnist(), arguments.tables, download=arguments.download)
    except DataError as error:
        parser.error(str(error))
    record = Record("writers", arguments, {"what": WHAT}, options="--tables FOLDER", resume=False)
    train, validation = split(mnist.train, seed=0)
    record.results["parts"] = count_writers(mnist)
    record.results["shared"] = {
        "writers_in_training_and_test": count_shared(mnist.train, mnist.test),
        "writers_of_validation_digits": len(np.unique(writers_of(validation))),
        "of_whom_training_has_digits": count_shared(train, validation),
    }
    generator = np.random.default_rng(0)
    asked = validation.subset(generator.permutation(len(validation))[:ASKED])
    record.results["neighbours"] = ask_neighbours(asked, train)
    among = mnist.train.subset(generator.permutation(len(mnist.train))[:PROTOTYPES])
    right = among.labels[find_nearest(mnist.test, among)] == mnist.test.labels
    how = {"nearest neighbour": {"digits": PROTOTYPES}}
    record.log_test_look(f"nearest of {PROTOTYPES:,} training digits", how, 0, float(right.mean()))
    record.results["test"] = {
        "nearest neighbour": compare_halves(right, writers_of(mnist.test)),
        "cleanlab": load_record("writers")["results"]["test"]["cleanlab"],
    }
    held_out: dict[str, dict[str, list[float]]] = {"small_cnn": {}, "neighbour": {}}
    for seed in range(arguments.seeds):
        for by in ("digit", "writer"):
            for name, accuracy in hold_out(mnist.train, by, seed).items():
                held_out[name].setdefault(by, []).append(accuracy)
            print(seed, by, {name: found[by][-1] for name, found in held_out.items()}, flush=True)
    record.results["held_out"] = {
        name: {by: {"accuracy": summarise(values)} for by, values in found.items()}
        for name, found in held_out.items()
    }
    record.save(record.results)


if __name__ == "__main__":
    main()
