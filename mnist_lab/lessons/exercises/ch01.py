"""The exercises of chapter 1: bytes, normalisation, duplicates, splits."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_lab.lessons.exercises.checking import Case, Exercise, usual

Array = NDArray[Any]
Indices = NDArray[np.int64]
_MEAN, _DEVIATION = 0.1307, 0.3081
_PIXELS = 28 * 28


# --- Cases ---------------------------------------------------------------------------------------


def _idx_files(generator: np.random.Generator) -> list[Case]:
    def content(n: int) -> bytes:
        header = struct.pack(">IIII", 2051, n, 28, 28)
        return header + generator.integers(256, size=n * _PIXELS, dtype=np.uint8).tobytes()

    return [(content(5), 3), (content(2), 1), (content(7), 2), (content(1), 0)]


def _image_batches(generator: np.random.Generator) -> list[Case]:
    every_value = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    return [
        (generator.integers(256, size=(3, 28, 28), dtype=np.uint8),),
        (every_value,),
        (np.array([[[0, 33, 255], [34, 128, 1]]], dtype=np.uint8),),
    ]


def _repeated_images(generator: np.random.Generator) -> list[Case]:
    a, b, c = generator.integers(256, size=(3, 2, 3), dtype=np.uint8)
    mirrored = a[:, ::-1].copy()  # the same sum, another image
    return [
        (np.stack([a, b, c]),),
        (np.stack([a, b, a, c, a]),),  # one image three times: two repeat an earlier one
        (np.stack([a, mirrored, b, b]),),
        (np.stack([c, c, c, c, a, b, a]),),
    ]


def _labels_to_split(generator: np.random.Generator) -> list[Case]:
    def labels(counts: list[int]) -> Array:
        return generator.permutation(np.repeat(np.arange(len(counts)), counts))

    return [
        (labels([12] * 10), 8, generator),
        (labels([40, 15, 20]), 10, generator),  # the classes are of unequal size
        (labels([9, 30, 9, 12]), 7, generator),
    ]


# --- Solutions and mistakes ----------------------------------------------------------------------


def _image_at(content: bytes, number: int, header: int = 16) -> Array:
    start = header + number * _PIXELS
    return np.frombuffer(content[start : start + _PIXELS], np.uint8).reshape(28, 28)


def _normalise(images: Array) -> Array:
    return (images / 255 - _MEAN) / _DEVIATION


def _distinct(images: Array) -> int:
    return len({image.tobytes() for image in images})


def _duplicates(images: Array) -> int:
    return len(images) - _distinct(images)


def _equal_pairs(images: Array) -> Array:
    """Return (n, n): whether two images are the same."""
    flat = images.reshape(len(images), -1)
    return (flat[:, None] == flat[None]).all(axis=2)


def _of_each_class(labels: Array, choose: Callable[[Indices], Indices]) -> Indices:
    """Return what is chosen among each class's positions."""
    classes = np.unique(labels)
    return np.concatenate([choose(np.flatnonzero(labels == digit)) for digit in classes])


def _stratified_split(labels: Array, per_class: int, generator: np.random.Generator) -> Indices:
    return _of_each_class(labels, lambda own: generator.choice(own, per_class, replace=False))


_WITH_REPEATS = (
    "Some index comes more than once in your draw. An image can be in a part only once: draw "
    "without replacement."
)
_ALWAYS_THE_SAME = (
    "Your indices are the same for every seed, as if the generator were not used. The first images "
    "of a class need not be like the rest: draw them."
)
_NOT_STRATIFIED = (
    "The classes do not all come equally often in your draw. Draw from each class for itself."
)
_LABELS = "You return labels. Indices are asked for: the positions at which the drawn labels stand."


def _draw(
    answer: Callable[..., Any], labels: Array, per_class: int, generator: np.random.Generator
) -> str | None:
    """Split several times, and return "right" or a sentence; None if nothing comes back."""
    seeds = generator.integers(2**32, size=4)
    draws = []
    for seed in (seeds[0], *seeds):
        given = labels.copy()
        drawn = answer(given, per_class, np.random.default_rng(seed))
        if drawn is None:
            return None
        if not np.array_equal(given, labels):
            return "Your function changes its argument `labels` in place. Work on a copy."
        draws.append(np.asarray(drawn))

    classes = np.unique(labels)
    size = per_class * len(classes)
    first = draws[0]
    if first.shape != (size,):
        return (
            f"Your result has shape {first.shape}, but {per_class} indices of each of "
            f"{len(classes)} classes make ({size},)."
        )
    if first.dtype.kind not in "iu":
        return f"Indices are whole numbers; yours are of type {first.dtype}."
    if np.array_equal(np.sort(first), np.repeat(classes, per_class)):
        return _LABELS
    if first.min() < 0 or first.max() >= len(labels):
        return (
            f"Your indices run from {first.min()} to {first.max()}, but there are only "
            f"{len(labels)} labels."
        )
    if not np.array_equal(np.sort(labels[first]), np.repeat(classes, per_class)):
        return _NOT_STRATIFIED
    if len(np.unique(first)) < size:
        return _WITH_REPEATS
    if not np.array_equal(first, draws[1]):
        return (
            "Two draws with the same seed differ in yours. All chance must come from the generator "
            "that is handed over."
        )
    as_sets = {tuple(np.sort(draw)) for draw in draws[1:]}
    return "right" if len(as_sets) > 1 else _ALWAYS_THE_SAME


EXERCISES = (
    Exercise(
        "ch01",
        "image_at",
        lambda content, number: _image_at(content, number),
        cases=_idx_files,
        mistakes=(
            usual(
                "You count from the file's first byte. The header stands before the pixels, and it "
                "shifts every image.",
                lambda content, number: _image_at(content, number, 0),
            ),
            usual(
                "You skip a header of 8 bytes, as label files have it. That of an image file holds "
                "four numbers of 4 bytes.",
                lambda content, number: _image_at(content, number, 8),
            ),
            usual(
                "You take the image before. The first image has number 0, and nothing but the "
                "header stands before it.",
                lambda content, number: _image_at(content, number - 1),
            ),
            usual(
                "Your rows and columns are swapped: the pixels are stored row by row.",
                lambda content, number: _image_at(content, number).T,
            ),
            usual(
                "You have the right bytes, but in one row. Give them 28 rows of 28.",
                lambda content, number: _image_at(content, number).ravel(),
            ),
        ),
    ),
    Exercise(
        "ch01",
        "rescaled",
        lambda mean, deviation, subtract, divide: ((mean - subtract) / divide, deviation / divide),
        cases=lambda generator: [
            (0.1307, 0.3081, 0.5, 0.5),
            (0.1307, 0.3081, 0.1307, 0.3081),
            (33.3, 78.6, 10.0, 255.0),
            (-2.0, 3.0, 0.0, 4.0),
        ],
        returns=("mean", "deviation"),
        mistakes=(
            usual(
                "You shift the deviation too. It says how far values lie from their mean, and both "
                "move together.",
                lambda mean, deviation, subtract, divide: (
                    (mean - subtract) / divide,
                    (deviation - subtract) / divide,
                ),
            ),
            usual(
                "Your mean is divided but not shifted. Subtracting from every value subtracts from "
                "the mean.",
                lambda mean, deviation, subtract, divide: (mean / divide, deviation / divide),
            ),
            usual(
                "You multiply where the inputs are divided.",
                lambda mean, deviation, subtract, divide: (
                    (mean - subtract) * divide,
                    deviation * divide,
                ),
            ),
            usual(
                "You divide before you subtract. The inputs are shifted first, so the shift is "
                "divided too.",
                lambda mean, deviation, subtract, divide: (
                    mean / divide - subtract,
                    deviation / divide,
                ),
            ),
            usual(
                "You leave the deviation as it was. Dividing every value brings them closer "
                "together.",
                lambda mean, deviation, subtract, divide: ((mean - subtract) / divide, deviation),
            ),
        ),
    ),
    Exercise(
        "ch01",
        "normalise",
        _normalise,
        cases=_image_batches,
        tolerance=1e-5,
        mistakes=(
            usual(
                "You forget to divide by 255. The two constants belong to pixels between 0 and 1.",
                lambda images: (images.astype(float) - _MEAN) / _DEVIATION,
            ),
            usual(
                "You divide by the variance. The deviation is its root, and that brings the inputs "
                "to deviation 1.",
                lambda images: (images / 255 - _MEAN) / _DEVIATION**2,
            ),
            usual(
                "You subtract while the pixels are still uint8, where 0 - 33 wraps round to 223. "
                "Turn them into floats first.",
                lambda images: (images - np.uint8(33)) / (_DEVIATION * 255),
            ),
            usual(
                "You divide whole numbers by whole numbers and lose the fraction: nearly all ink "
                "becomes 0. Divide as floats.",
                lambda images: (images // 255 - _MEAN) / _DEVIATION,
            ),
            usual(
                "You divide by the deviation before you subtract the mean. The mean belongs to the "
                "undivided pixels, so it is subtracted first.",
                lambda images: images / 255 / _DEVIATION - _MEAN,
            ),
            usual(
                "You use mean and deviation of just these images. The same image must become the "
                "same input in every batch: use the constants.",
                lambda images: (images / 255 - (images / 255).mean()) / (images / 255).std(),
            ),
            usual(
                "You bring the pixels between 0 and 1 and stop there. Subtract the mean and divide "
                "by the deviation.",
                lambda images: images / 255,
            ),
        ),
    ),
    Exercise(
        "ch01",
        "duplicates",
        _duplicates,
        cases=_repeated_images,
        mistakes=(
            usual(
                "You count pairs: three copies make three pairs, but only two of them repeat an "
                "earlier image.",
                lambda images: int(np.triu(_equal_pairs(images), 1).sum()),
                lambda images: int(_equal_pairs(images).sum() - len(images)),
            ),
            usual(
                "You count how many different images there are. The question is how many are left "
                "when each is counted once.",
                _distinct,
            ),
            usual(
                "You compare sums. Two different images can hold the same amount of ink: compare "
                "all their bytes.",
                lambda images: len(images) - len({int(image.sum()) for image in images}),
            ),
            usual(
                "You count every image that has a twin. The first of them repeats nothing.",
                lambda images: int((_equal_pairs(images).sum(axis=1) > 1).sum()),
            ),
        ),
    ),
    Exercise(
        "ch01",
        "stratified_split",
        _stratified_split,
        cases=_labels_to_split,
        probe=_draw,
        mistakes=(
            usual(
                _WITH_REPEATS,
                lambda labels, per_class, generator: _of_each_class(
                    labels, lambda own: generator.choice(own, per_class)
                ),
            ),
            usual(
                _ALWAYS_THE_SAME,
                lambda labels, per_class, generator: _of_each_class(
                    labels, lambda own: own[:per_class]
                ),
                lambda labels, per_class, generator: _of_each_class(
                    labels, lambda own: np.random.default_rng(0).choice(own, per_class, False)
                ),
            ),
            usual(
                _NOT_STRATIFIED,
                lambda labels, per_class, generator: generator.choice(
                    len(labels), per_class * len(np.unique(labels)), replace=False
                ),
            ),
            usual(
                _LABELS,
                lambda labels, per_class, generator: labels[
                    _stratified_split(labels, per_class, generator)
                ],
            ),
        ),
    ),
)
