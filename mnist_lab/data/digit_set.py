"""DigitSet: images, labels and the names of the classes, checked once when it is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Part = Literal["", "train", "validation", "test"]


DIGIT_NAMES = tuple("0123456789")


class DataError(ValueError):
    """Data that cannot be used; the message is one sentence for the person who reads it."""


@dataclass(frozen=True)
class DigitSet:
    """Images with their labels, checked once when the set is made.

    Attributes
    ----------
    images : uint8 (n, height, width)
        0 is paper, 255 is full ink. A read-only np.memmap stays in its file.
    labels : int64 (n,)
        Index into `class_names`.
    class_names : tuple of str
        What each label stands for.
    part : {"", "train", "validation", "test"}
        Which part of a data set this is; `training.fit` refuses a "test" part.

    Raises
    ------
    DataError
        If shapes, types or counts do not fit together, or a label has no class.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...] = DIGIT_NAMES
    part: Part = ""

    def __post_init__(self) -> None:
        problem = _problem_with(self.images, self.labels, len(self.class_names))
        if problem:
            raise DataError(f"These digits cannot be used: {problem}.")

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, indices: ArrayLike | slice, part: Part | None = None) -> DigitSet:
        """Return the digits at `indices` (integers, a boolean mask or a slice), in that order.

        Integers and masks copy images to memory; a slice does not, so it also cuts a set that is
        mapped from a file.
        """
        chosen = indices if isinstance(indices, slice) else np.asarray(indices)
        return replace(
            self,
            images=self.images[chosen],
            labels=self.labels[chosen],
            part=self.part if part is None else part,
        )

    def class_counts(self) -> NDArray[np.int64]:
        """Return how many digits each class has: int64 (classes,)."""
        return np.bincount(self.labels, minlength=len(self.class_names)).astype(np.int64)


def _problem_with(images: Any, labels: Any, classes: int) -> str:
    """Say in half a sentence why the arrays are no `DigitSet`; an empty string if they are one."""
    if not isinstance(images, np.ndarray) or images.ndim != 3 or images.dtype != np.uint8:
        return f"images must be uint8 (n, height, width), found {_describe(images)}"
    if not isinstance(labels, np.ndarray) or labels.ndim != 1 or labels.dtype.kind not in "iu":
        return f"labels must be whole numbers (n,), found {_describe(labels)}"
    if labels.dtype != np.int64:
        return f"labels must be int64, found {labels.dtype}"
    if len(images) != len(labels):
        return f"there are {len(images):,} images but {len(labels):,} labels"
    if len(labels) == 0:
        return "the set is empty"
    if 0 in images.shape:
        return f"images of {images.shape[1]}x{images.shape[2]} pixels hold nothing"
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        wrong = low if low < 0 else high
        return f"label {wrong} is outside the {classes} classes 0 to {classes - 1}"
    return ""


def _describe(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape}"
    return type(value).__name__


def _digit_set(
    source: str | Path,
    images: NDArray[Any],
    labels: NDArray[Any],
    class_names: tuple[str, ...] = DIGIT_NAMES,
    part: Part = "",
) -> DigitSet:
    """Make a `DigitSet` of what was read from `source`, whose name every complaint carries."""
    if labels.dtype.kind in "iu":
        labels = labels.astype(np.int64)
    problem = _problem_with(images, labels, len(class_names))
    if problem:
        raise DataError(f"{source}: {problem}.")
    return DigitSet(images, labels, class_names, part)


def align_classes(digits: DigitSet, class_names: Sequence[str]) -> DigitSet:
    """Return the same digits with labels that count in the order of `class_names`.

    A folder of sub-folders "3" and "7" has the classes 0 and 1; a model that knows ten digits calls
    them 3 and 7.
    """
    if digits.class_names == tuple(class_names):
        return digits
    unknown = [name for name in digits.class_names if name not in class_names]
    if unknown:
        raise DataError(
            f"Class {unknown[0]!r} is not one of the model's: {', '.join(class_names)}."
        )
    positions = np.array([class_names.index(name) for name in digits.class_names], np.int64)
    return replace(digits, labels=positions[digits.labels], class_names=tuple(class_names))
