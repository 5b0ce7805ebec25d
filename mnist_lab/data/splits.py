"""Parts of a data set: training and validation, a few labels of each class, some classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mnist_lab.data.digit_set import DataError, DigitSet


def split(
    digits: DigitSet,
    seed: int,
    validation: int = 5_000,
    *,
    by: Literal["digit", "writer"] = "digit",
) -> tuple[DigitSet, DigitSet]:
    """Split into a training and a validation part.

    Parameters
    ----------
    digits : DigitSet
        MNIST's `train`, usually: 60,000 digits become 55,000 and 5,000.
    seed : int
        Same seed, same split.
    validation : int
        How many digits to hold out.
    by : {"digit", "writer"}
        "digit" draws single digits, exactly so many, and as large a share of every class as it has
        of all. "writer" draws whole writers until what they wrote comes as near to that number as
        it can in the order drawn; nobody's digits are in both parts, and the shares of the classes
        are whatever these people wrote. It needs digits with `writers` (`data.add_writers`).

    Returns
    -------
    (training part, validation part), disjoint, each in the order of the original.

    Raises
    ------
    DataError
        If that number cannot be held out, or the set does not say who wrote its digits.
    """
    if len(digits) < 2:
        raise DataError(f"Two digits at least are needed to hold one out, not {len(digits)}.")
    if not 0 < validation < len(digits):
        raise DataError(
            f"Cannot hold out {validation:,} of {len(digits):,} digits: choose 1 to "
            f"{len(digits) - 1:,}."
        )
    generator = np.random.default_rng(seed)
    if by == "writer":
        held_out = _draw_writers(digits, validation, generator)
    elif by == "digit":
        held_out = _draw_digits(digits, validation, generator)
    else:
        raise DataError(f'by must be "digit" or "writer", found {by!r}.')
    return digits.subset(~held_out, "train"), digits.subset(held_out, "validation")


def _draw_digits(digits: DigitSet, count: int, generator: np.random.Generator) -> NDArray[np.bool_]:
    """Draw `count` digits, with the same share of every class as in the whole: bool (n,)."""
    drawn = np.zeros(len(digits), bool)
    shares = _apportion(count, digits.class_counts())
    for label, share in enumerate(shares):
        of_class = np.flatnonzero(digits.labels == label)
        drawn[generator.choice(of_class, size=share, replace=False)] = True
    return drawn


def _draw_writers(
    digits: DigitSet, count: int, generator: np.random.Generator
) -> NDArray[np.bool_]:
    """Draw writers, and with them about `count` digits: bool (n,)."""
    if digits.writers is None:
        raise DataError(
            'These digits do not say who wrote them: split them by="digit", or add their writers '
            "(for MNIST data.add_writers does)."
        )
    people, number, wrote = np.unique(digits.writers, return_inverse=True, return_counts=True)
    if len(people) < 2:
        raise DataError("One person wrote all of these digits: two at least are needed.")
    order = generator.permutation(len(people))
    in_all = np.cumsum(wrote[order])[:-1]  # somebody has to stay
    enough = int(np.abs(in_all - count).argmin()) + 1
    return np.isin(number, order[:enough])


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
    return replace(digits.subset(kept), labels=labels[kept], class_names=tuple(names))


def _apportion(total: int, counts: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
    """Divide `total` in proportion to `counts`; largest remainders get what rounding leaves."""
    exact = total * np.asarray(counts) / np.sum(counts)
    shares = np.floor(exact).astype(np.int64)
    largest_first = np.argsort(shares - exact, kind="stable")
    shares[largest_first[: total - int(shares.sum())]] += 1
    return shares
