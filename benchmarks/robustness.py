"""What networks read when digits are not as MNIST has them: a table, row by row.

    python -m benchmarks.robustness [--seeds 3] [--only pages ...] [--fonts DIR] [--keel DIR]
    python -m benchmarks.robustness --mnist-c         # rows are those of MNIST-C
    python -m benchmarks.robustness --check FOLDER    # of one checkpoint

About 15 minutes on one core.

Rows are MNIST's validation digits under each of `corruptions.CORRUPTIONS`, and handwriting of other
people: UCI's digits, which scikit-learn ships, and, where a folder is given, handwriting fonts and
two sets of the UCI repository (`other_hands` says where they come from). The test set is not
touched. Of the fonts, every other one by name was used to choose the pages' augmentation; the rows
are of the rest. With `--mnist-c` the rows are MNIST's validation digits under each of MNIST-C's
fifteen corruptions, in a record of their own.

Trained networks stay in `_build/robustness`, so a run goes on where it stopped and a new row costs
no training; a recipe that has changed starts anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mnist_lab.data import (
    CORRUPTIONS,
    MNIST_C,
    Corruption,
    DigitSet,
    corrupt,
    load_mnist,
    load_uci_digits,
    split,
)
from mnist_lab.handwriting import Reader, load_reader
from mnist_lab.training import (
    PAGES,
    PRESETS,
    Recipe,
    fit,
)

from . import other_hands
from .presets import is_recipe
from .recording import (
    Record,
    add,
    as_json,
    make_parser,
    measured,
    read_arguments,
)

NETWORKS = Path("_build/robustness")
RECIPES = {
    "plain": replace(PAGES, config=replace(PAGES.config, augmentation=None, upstrokes=0.0)),
    "pages": PAGES,
    "standard": PRESETS["standard"],
}
PEN_DIGITS = 2_000  # those before were used to choose the augmentation


def corrupted(
    validation: DigitSet, among: Mapping[str, Corruption] = CORRUPTIONS
) -> dict[str, DigitSet]:
    """Return validation digits as they are and under every corruption, by the row's name."""
    rows = {name: corrupt(validation, name, among=among) for name in among}
    return {"as they are": validation, **rows}


def other_writers(fonts: Path | None, keel: Path | None) -> dict[str, DigitSet]:
    """Return handwriting that is not MNIST's, by the row's name."""
    uci = load_uci_digits()
    rows = {"UCI": uci, "UCI, binary": other_hands.make_binary(uci)}
    if keel is not None:
        pens = other_hands.load_pen_digits(keel / "penbased.dat")
        rows["UCI, pen tablet"] = pens.subset(np.arange(PEN_DIGITS, 2 * PEN_DIGITS))
    if fonts is not None:
        hands = other_hands.load_fonts(fonts)
        unseen = {name: hands[name] for name in sorted(hands)[1::2]}
        upright = {name: hand[1::3] for name, hand in unseen.items()}
        for manner in other_hands.MANNERS:
            # To find a digit on paper takes long: for `predict` each is drawn in one slant.
            drawn = upright if manner == "predict" else unseen
            rows[f"fonts, {manner}"] = other_hands.draw_hands(drawn, manner)
    return rows


def score(reader: Reader, rows: Mapping[str, DigitSet]) -> dict[str, float]:
    """Return the accuracy in every row."""
    return {name: reader.score(digits).accuracy for name, digits in rows.items()}


def trained(name: str, recipe: Recipe, seed: int, sets: tuple[DigitSet, DigitSet]) -> Reader:
    """Return the network of a recipe and seed: from the folder, if it has been trained there."""
    run = fit(
        recipe.model,
        *sets,
        replace(recipe.config, seed=seed),
        arguments=recipe.arguments,
        device="cpu",
        folder=NETWORKS / f"{name}_{seed}",
        resume=True,
        overwrite=True,  # one of another time is trained anew
        progress=False,
    )
    return Reader(run.model, run.card)


def draw_table(columns: Mapping[str, Mapping[str, float]]) -> str:
    """Return accuracies as lines of text: a row a line, a column a network."""
    rows = list(dict.fromkeys(row for column in columns.values() for row in column))
    width = max(len(row) for row in rows)
    lines = [" " * width + "".join(f"{name:>10}" for name in columns)]
    for row in rows:
        cells = (f"{column[row]:.2%}" if row in column else "" for column in columns.values())
        lines.append(f"{row:{width}}" + "".join(f"{cell:>10}" for cell in cells))
    return "\n".join(lines)


def check(folder: Path, digits: int = 1_000) -> dict[str, float]:
    """Score a checkpoint on validation digits and UCI's."""
    _, validation = split(load_mnist().train, seed=0)
    rows = corrupted(validation.subset(np.arange(digits))) | other_writers(None, None)
    return score(load_reader(folder, device="cpu"), rows)


def describe_rows(rows: Mapping[str, DigitSet]) -> dict[str, dict[str, Any]]:
    """Return what a record says about every row."""
    described: dict[str, dict[str, Any]] = {}
    for name, digits in rows.items():
        described[name] = {"digits": len(digits)}
        corruption = (CORRUPTIONS | MNIST_C).get(name)
        if corruption is not None:
            described[name] |= {
                "dose": corruption.dose, "unit": corruption.unit, "meaning": corruption.meaning,
            }  # fmt: skip
    return described


def main() -> None:
    """Measure what the record lacks."""
    parser = make_parser(__doc__, seeds=3, only=RECIPES, threads=1)
    parser.add_argument("--fonts", type=Path, help="a folder of handwriting fonts")
    parser.add_argument("--keel", type=Path, help="the folder of penbased.dat")
    parser.add_argument(
        "--mnist-c", action="store_true", help="rows are MNIST-C's corruptions, in their own record"
    )
    parser.add_argument("--check", type=Path, help="print the table of one checkpoint")
    arguments = read_arguments(parser)
    if arguments.check:
        print(draw_table({arguments.check.name: check(arguments.check)}))
        return
    sets = split(load_mnist().train, seed=0)
    if arguments.mnist_c:
        record = Record("robustness", arguments, variant="mnist_c", options="--mnist-c")
        rows = corrupted(sets[1], MNIST_C)
    else:
        record = Record("robustness", arguments)
        rows = corrupted(sets[1]) | other_writers(arguments.fonts, arguments.keel)
    record.parts["rows"] = record.parts.get("rows", {}) | describe_rows(rows)
    if arguments.fonts is not None:
        record.parts["fonts"] = sorted(file.stem for file in arguments.fonts.iterdir())[1::2]
    for name in arguments.only:
        recipe = RECIPES[name]
        entry = record.entry(name)
        if not is_recipe(entry.get("recipe"), recipe):
            entry.clear()
            entry |= {"recipe": as_json(recipe), "rows": {}}
        for seed in range(arguments.seeds):
            lacking = {
                row: digits for row, digits in rows.items() if measured(entry["rows"], row) <= seed
            }
            if not lacking:
                continue
            found = score(trained(name, recipe, seed, sets), lacking)
            for row, accuracy in found.items():
                add(entry["rows"], row, accuracy)
            entry["measured"] = record.describe()
            record.save(name, seed, f"{len(found)} rows")
    columns = {
        name: {row: cell["mean"] for row, cell in entry["rows"].items()}
        for name, entry in record.results.items()
    }
    print(draw_table(columns))


if __name__ == "__main__":
    main()
