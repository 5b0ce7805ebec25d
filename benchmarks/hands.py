"""Do habits of other hands help a network to read real pictures? Recipes, and single hands taught.

    python -m benchmarks.hands FOLDER [--only pages ...]

About 12 minutes on one core. Most of them are for the networks.
FOLDER is that of `real_pictures`, which says how its sources are halved: what is changed is chosen
on the one half and reported on the other.

The package cuts the digits out of the pictures, and the same cuts are read in four forms: as they
are, written with a thin pen, through 16x16 pixels of black or white, and in another size and place
(`other_hands`). Beside them stand UCI's digits and MNIST's validation digits, which must not suffer
by more than 0.05 points. In every row: the share that is read, and the mean loss, which moves where
the share stands still.

Two recipes are trained from nothing: that of the pages, and the same with `add_habits` for 30 % of
the digits that it knows how to write. (Tried too, on one seed, and left out: coarse scans in black
and white, with wider ranges of size and of strokes.)

Then the network of chapter 15 is taught each hand that has digits enough, as the chapter teaches it
that of a program. Networks stay in `_build/hands`, so that a run goes on where it stopped.
"""

from __future__ import annotations

import copy
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mnist_lab.data import (
    DigitSet,
    crop_to_ink,
    few_labels,
    load_mnist,
    load_uci_digits,
    split,
)
from mnist_lab.finetuning import finetune, interpolate
from mnist_lab.handwriting import HandwritingError, Reader, load_picture, load_reader
from mnist_lab.training import PAGES, Augmentation, TrainConfig, fit, save_checkpoint

from . import other_hands
from .real_pictures import HALVES, read_manifest, with_the_package
from .recording import Record, add, make_parser, measured, read_arguments

NETWORKS = Path("_build/hands")
RECIPES = {
    "pages": PAGES,
    "with habits": replace(PAGES, config=replace(PAGES.config, habits=0.3)),
}
FEWEST = 2  # digits of each class that a hand has, or it is not taught
TEACHING = TrainConfig(
    steps=60, batch_size=50, learning_rate=0.003,
    augmentation=Augmentation(rotate=10, shift=1, scale=0.1, shear=10),
)  # fmt: skip
FORMS = {
    "as they are": None,
    "thin": "thin pen",
    "binary": "binary",
    "any place": "any place",
}


# --- Rows ----------------------------------------------------------------------------------------


def cut_digits(folder: Path) -> dict[str, tuple[DigitSet, list[str]]]:
    """Return the digits of each half, cut out by the package, and the source of each.

    Pictures in which it finds more or fewer digits than there are do not count: it is not known
    which is which.
    """
    cut: dict[str, tuple[list[Any], list[int], list[str]]] = {half: ([], [], []) for half in HALVES}
    for lent in read_manifest(folder):
        try:
            images = with_the_package(load_picture(lent.file))
        except HandwritingError:
            continue
        if len(images) == len(lent.labels):
            all_images, labels, sources = cut[lent.half]
            all_images.extend(images)
            labels.extend(map(int, lent.labels))
            sources.extend([lent.source] * len(images))
    return {
        half: (DigitSet(np.stack(images), np.array(labels, np.int64), part="train"), sources)
        for half, (images, labels, sources) in cut.items()
    }


def enlarge(image: other_hands.Grey) -> other_hands.Grey:
    """Return a cut digit as large as `other_hands` takes its drawings."""
    side = 10 * image.shape[0]
    large = np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC))
    ink = Image.fromarray(crop_to_ink(large))
    scale = other_hands.LARGE / max(ink.size)
    size = (max(1, round(ink.width * scale)), max(1, round(ink.height * scale)))
    return np.asarray(ink.resize(size))


def in_another_form(digits: DigitSet, manner: str | None) -> DigitSet:
    """Return digits as they are, or in one of `other_hands.MANNERS`."""
    if manner is None:
        return digits
    generator = np.random.default_rng(0)
    form = other_hands.MANNERS[manner]
    images = [form(enlarge(image), generator) for image in digits.images]
    return replace(digits, images=np.stack(images))


def make_rows(cut: Mapping[str, tuple[DigitSet, list[str]]], own: DigitSet) -> dict[str, DigitSet]:
    """Return what is read, by the row's name."""
    rows = {
        f"{half}, {name}": in_another_form(cut[half][0], manner)
        for half in HALVES
        for name, manner in FORMS.items()
    }
    uci = load_uci_digits()
    return {**rows, "UCI": uci, "UCI, binary": other_hands.make_binary(uci), "MNIST": own}


def score(reader: Reader, digits: DigitSet) -> tuple[float, float]:
    """Return the share of digits that is read, and the mean loss in nats."""
    found = reader.read(digits.images).probabilities
    right = np.asarray(found)[np.arange(len(digits)), digits.labels]
    share = (np.asarray(found).argmax(axis=1) == digits.labels).mean()
    return float(share), float(-np.log(np.maximum(right, 1e-9)).mean())


# --- Networks ------------------------------------------------------------------------------------


def trained(name: str, seed: int, sets: tuple[DigitSet, DigitSet]) -> Reader:
    """Return the network of a recipe and seed: from its folder, if it has been trained."""
    folder = NETWORKS / f"{name.replace(' ', '_')}_{seed}"
    if (folder / "model.json").is_file():
        return load_reader(folder, device="cpu")
    recipe = RECIPES[name]
    config = replace(recipe.config, seed=seed)
    run = fit(recipe.model, *sets, config, arguments=recipe.arguments, device="cpu", progress=False)
    folder.mkdir(parents=True, exist_ok=True)
    save_checkpoint(folder, run.model, run.card)
    return Reader(run.model, run.card)


# --- Taught each hand ----------------------------------------------------------------------------


def deal(digits: DigitSet) -> tuple[DigitSet, DigitSet]:
    """Return every other digit of each class, and the rest."""
    turn = np.zeros(len(digits), np.int64)
    for label in range(10):
        of = np.flatnonzero(digits.labels == label)
        turn[of] = (np.arange(len(of)) + label) % 2
    return digits.subset(np.flatnonzero(turn == 0)), digits.subset(np.flatnonzero(turn == 1))


def teach(reader: Reader, digits: DigitSet, old: DigitSet | None) -> Reader:
    """Return the reader that chapter 15 makes: all of it fine-tuned, with old digits or without."""
    run = finetune(
        copy.deepcopy(reader.model), digits, config=TEACHING, way="full", rehearsal=old,
        device="cpu", progress=False,
    )  # fmt: skip
    return Reader(run.model, run.card)


def teach_each_hand(cut: Mapping[str, tuple[DigitSet, list[str]]], train: DigitSet) -> Any:
    """Teach chapter 15's network one hand after the other, half of its digits, and test the rest.

    Then the halves change places. Returned are counts: how many digits of each hand are read
    before, after fine-tuning with rehearsal, and half of the way without.
    """
    few = train.subset(np.arange(20_000))
    base = Reader(
        fit("small_cnn", few, config=TrainConfig(epochs=2), device="cpu", progress=False).model
    )
    old = few_labels(train, 20, 0)
    hands = {}
    for digits, names in cut.values():
        for source in sorted(set(names)):
            own = digits.subset(np.flatnonzero(np.array(names) == source))
            if own.class_counts().min() < FEWEST:
                continue
            counts = dict.fromkeys(("digits", "before", "rehearsed", "half of the way"), 0)
            halves = deal(own)
            for learn, test in (halves, halves[::-1]):
                tuned = teach(base, learn, None)
                ways = {
                    "before": base,
                    "rehearsed": teach(base, learn, old),
                    "half of the way": Reader(interpolate(base.model, tuned.model, 0.5)),
                }
                counts["digits"] += len(test)
                for name, one in ways.items():
                    counts[name] += int((one.read(test.images).labels == test.labels).sum())
            hands[source] = counts
    return hands


def main() -> None:
    """Measure what the record lacks."""
    arguments = read_options()
    cut = cut_digits(arguments.folder)
    sources = {half: len(set(names)) for half, (_, names) in cut.items()}
    record = Record("hands", arguments, {"sources": sources})
    sets = split(load_mnist().train, seed=0)
    rows = make_rows(cut, sets[1])
    record.parts["digits"] = {name: len(digits) for name, digits in rows.items()}
    for name in arguments.only:
        entry = record.entry("recipes", name)
        for seed in range(measured(entry.get("MNIST", {}), "read"), arguments.seeds):
            reader = trained(name, seed, sets)
            for row, digits in rows.items():
                share, loss = score(reader, digits)
                add(entry.setdefault(row, {}), "read", share)
                add(entry[row], "loss", loss)
            record.save(name, seed)
    if "taught" not in record.results:
        # Which source is which does not matter: they are numbered anew.
        hands = teach_each_hand(cut, sets[0]).values()
        record.results["taught"] = {str(number): counts for number, counts in enumerate(hands)}
        record.save("taught")
    for name, entry in record.results["recipes"].items():
        print(name, *(f"{row} {found['read']['mean']:.2%} {found['loss']['mean']:.3f};"
                      for row, found in entry.items()))  # fmt: skip


def read_options() -> Namespace:
    """Read the command line."""
    parser = make_parser(__doc__, seeds=3, only=RECIPES, threads=1, anew=True)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="of pictures, with a manifest")
    return read_arguments(parser)


if __name__ == "__main__":
    main()
