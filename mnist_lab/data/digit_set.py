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
_LONGEST_NAME = 100  # letters of a class's name
_MOST_NAMED = 62  # classes in one sentence: all digits and letters


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
    writers : int64 (n,), optional
        Who wrote each digit: equal numbers, one person. None where nobody knows.

    Raises
    ------
    DataError
        If shapes, types or counts do not fit together, a label has no class, or two classes have
        one name.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...] = DIGIT_NAMES
    part: Part = ""
    writers: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        problem = _problem_with(self.images, self.labels, self.class_names)
        if not problem and self.labels.dtype != np.int64:
            problem = f"labels must be int64, found {self.labels.dtype}"
        if not problem and self.writers is not None:
            problem = _problem_with_writers(self.writers, len(self.labels))
            if not problem and self.writers.dtype != np.int64:
                problem = f"writers must be int64, found {self.writers.dtype}"
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
            writers=None if self.writers is None else self.writers[chosen],
        )

    def class_counts(self) -> NDArray[np.int64]:
        """Return how many digits each class has: int64 (classes,)."""
        return np.bincount(self.labels, minlength=len(self.class_names)).astype(np.int64)


def _problem_with(
    images: Any, labels: Any, class_names: Sequence[str], first_label: int = 0
) -> str:
    """Say in half a sentence why the arrays are no `DigitSet`; an empty string if they are one."""
    if not isinstance(images, np.ndarray):
        return f"images must be an array (n, height, width), found {type(images).__name__}"
    if not isinstance(labels, np.ndarray):
        return f"labels must be an array (n,), found {type(labels).__name__}"
    problem = _problem_with_shapes(images.dtype, images.shape, labels.dtype, labels.shape)
    if problem := problem or _problem_with_names(class_names):
        return problem
    low, high, classes = int(labels.min()), int(labels.max()), len(class_names)
    last_label = first_label + classes - 1
    if low < first_label or high > last_label:
        wrong = low if low < first_label else high
        return f"label {wrong} is outside the {classes} classes {first_label} to {last_label}"
    return ""


def _problem_with_shapes(
    images: np.dtype[Any],
    images_shape: Sequence[int],
    labels: np.dtype[Any],
    labels_shape: Sequence[int],
) -> str:
    """Say why arrays of such types and shapes are no `DigitSet`, as a file's header announces them.

    An empty string if they can be one.
    """
    if images != np.uint8 or len(images_shape) != 3:
        return f"images must be uint8 (n, height, width), found {_describe(images, images_shape)}"
    if labels.kind not in "iu" or len(labels_shape) != 1:
        return f"labels must be whole numbers (n,), found {_describe(labels, labels_shape)}"
    if images_shape[0] != labels_shape[0]:
        return f"there are {images_shape[0]:,} images but {labels_shape[0]:,} labels"
    if labels_shape[0] == 0:
        return "the set is empty"
    if 0 in images_shape:
        return f"images of {images_shape[1]}x{images_shape[2]} pixels hold nothing"
    return ""


def _problem_with_writers(writers: Any, count: int) -> str:
    """Say why these cannot be the writers of `count` digits; an empty string if they can."""
    if not isinstance(writers, np.ndarray):
        return f"writers must be an array (n,), found {type(writers).__name__}"
    return _problem_with_shape_of_writers(writers.dtype, writers.shape, count)


def _problem_with_shape_of_writers(writers: np.dtype[Any], shape: Sequence[int], count: int) -> str:
    """Say the same of an array's type and shape, as a file's header announces them."""
    if writers.kind not in "iu" or len(shape) != 1:
        return f"writers must be whole numbers (n,), found {_describe(writers, shape)}"
    if shape[0] != count:
        return f"there are {count:,} digits but {shape[0]:,} writers"
    return ""


def _describe(dtype: np.dtype[Any], shape: Sequence[int]) -> str:
    kind = str(dtype) if dtype.names is None else "a record"  # whose fields may be thousands
    sides = ", ".join(map(str, shape[:4])) + ("," if len(shape) == 1 else "")
    return f"{kind} ({sides}{', ...' if len(shape) > 4 else ''})"


def _problem_with_names(names: Sequence[object]) -> str:
    """Say why these cannot be the names of classes; an empty string if they can."""
    if not names:
        return "there are no class names"
    for place, name in enumerate(names):
        if not isinstance(name, str):
            return f"class names must be text, found {type(name).__name__}"
        if not name.strip():
            return f"class {place} has an empty name"
        if len(name) > _LONGEST_NAME:
            return f"the name of class {place} has {len(name):,} letters, at most {_LONGEST_NAME}"
        if any("\ud800" <= letter <= "\udfff" for letter in name):
            return f"the name of class {place}, {name!a}, holds bytes that are no text"
    if len(set(names)) < len(names):
        twice = next(name for place, name in enumerate(names) if name in names[:place])
        return f"two classes are named {twice!r}"
    return ""


def _list_names(names: Sequence[str]) -> str:
    """Name classes in a sentence, without end only where they are few."""
    shown = ", ".join(names[:_MOST_NAMED])
    return shown if len(names) <= _MOST_NAMED else f"{shown} and {len(names) - _MOST_NAMED:,} more"


def _digit_set(
    source: str | Path,
    images: NDArray[Any],
    labels: NDArray[Any],
    class_names: tuple[str, ...] = DIGIT_NAMES,
    part: Part = "",
    first_label: int = 0,
    writers: NDArray[Any] | None = None,
) -> DigitSet:
    """Make a `DigitSet` of what was read from `source`, whose name every complaint carries.

    Labels that count from `first_label` come to count from 0.
    """
    # Checked before a label is cast: what an int64 cannot hold would be told as another number.
    problem = _problem_with(images, labels, class_names, first_label)
    if problem:
        raise DataError(f"{source}: {problem}.")
    if writers is not None:
        writers = writers.astype(np.int64)
    return DigitSet(images, labels.astype(np.int64) - first_label, class_names, part, writers)


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
            f"Class {unknown[0]!r} is not one of the model's: {_list_names(class_names)}."
        )
    positions = np.array([class_names.index(name) for name in digits.class_names], np.int64)
    return replace(digits, labels=positions[digits.labels], class_names=tuple(class_names))
