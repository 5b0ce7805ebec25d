"""Parts of a data set: training and validation, a few labels of each class, some classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mnist_lab.data.digit_set import DataError, DigitSet


def split(digits: DigitSet, seed: int, validation: int = 5_000) -> tuple[DigitSet, DigitSet]:
    """Split into a training and a validation part, with the same share of every class in both.

    Parameters
    ----------
    digits : DigitSet
        MNIST's `train`, usually: 60,000 digits become 55,000 and 5,000.
    seed : int
        Same seed, same split.
    validation : int
        How many digits to hold out.

    Returns
    -------
    (training part, validation part), disjoint, each in the order of the original.
    """
    if len(digits) < 2:
        raise DataError(f"Two digits at least are needed to hold one out, not {len(digits)}.")
    if not 0 < validation < len(digits):
        raise DataError(
            f"Cannot hold out {validation:,} of {len(digits):,} digits: choose 1 to "
            f"{len(digits) - 1:,}."
        )
    generator = np.random.default_rng(seed)
    held_out = np.zeros(len(digits), bool)
    shares = _apportion(validation, digits.class_counts())
    for label, share in enumerate(shares):
        of_class = np.flatnonzero(digits.labels == label)
        held_out[generator.choice(of_class, size=share, replace=False)] = True
    return digits.subset(~held_out, "train"), digits.subset(held_out, "validation")


def few_labels(digits: DigitSet, per_class: int, seed: int) -> DigitSet:
    """Draw the same number of digits of every class, as if only these had been labelled.

    For one seed the draws are nested: the 5 of a class hold the 2 that a smaller draw gives.

    Parameters
    ----------
    per_class : int
        At least 1.
    seed : int
        Same seed, same draw.

    Returns
    -------
    DigitSet of `per_class` times the number of classes, ordered by class.

    Raises
    ------
    DataError
        If a class has fewer digits than that.
    """
    if per_class < 1:
        raise DataError(f"Every class needs at least 1 label, found per_class={per_class}.")
    generator = np.random.default_rng(seed)
    chosen = []
    for label, name in enumerate(digits.class_names):
        of_class = np.flatnonzero(digits.labels == label)
        if len(of_class) < per_class:
            raise DataError(
                f"Class {name!r} has {len(of_class):,} digits, {per_class:,} of it are asked for."
            )
        chosen.append(generator.permutation(of_class)[:per_class])
    return digits.subset(np.concatenate(chosen))


def keep_classes(digits: DigitSet, names: Sequence[str]) -> DigitSet:
    """Return the digits of some classes, with labels that count in the order of `names`.

    `keep_classes(digits, "56789")` holds the digits 5 to 9 as the classes 0 to 4; `class_names`
    still says what they are.

    Raises
    ------
    DataError
        If there is no such class, a name stands twice, or no digit is of these classes.
    """
    for name in names:
        if name not in digits.class_names:
            raise DataError(f"No class {name!r}; there are {', '.join(digits.class_names)}.")
    if len(set(names)) < len(names):
        raise DataError(f"A class is named twice in {', '.join(names)}.")
    new_label = np.full(len(digits.class_names), -1, np.int64)
    new_label[[digits.class_names.index(name) for name in names]] = np.arange(len(names))
    labels = new_label[digits.labels]
    kept = labels >= 0
    if not kept.any():
        raise DataError(f"No digit is of the classes {', '.join(names)}.")
    return replace(
        digits, images=digits.images[kept], labels=labels[kept], class_names=tuple(names)
    )


def _apportion(total: int, counts: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
    """Divide `total` in proportion to `counts`; largest remainders get what rounding leaves."""
    exact = total * np.asarray(counts) / np.sum(counts)
    shares = np.floor(exact).astype(np.int64)
    largest_first = np.argsort(shares - exact, kind="stable")
    shares[largest_first[: total - int(shares.sum())]] += 1
    return shares
