"""The exercises of chapter 11: pixels for a backbone, low rank, rates, running averages."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_lab.lessons.exercises.checking import Case, Exercise, usual

Array = NDArray[Any]


# --- Cases ---------------------------------------------------------------------------------------


def _image_cases(generator: np.random.Generator) -> list[Case]:
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    other = np.array([0.1, 0.5, 0.9]), np.array([1.0, 0.5, 2.0])
    return [
        (generator.normal(size=(n, 1, side, side + 1)), *colours)
        for n, side, colours in ((2, 4, (mean, deviation)), (3, 3, other), (1, 2, other))
    ]


def _layer_cases(generator: np.random.Generator) -> list[Case]:
    # images, outputs, inputs, rank, alpha
    sizes = [(3, 5, 4, 2, 2.0), (1, 4, 6, 1, 3.0), (4, 3, 3, 3, 1.0), (2, 6, 2, 2, 8.0)]
    return [
        (
            generator.normal(size=(n, inputs)),
            generator.normal(size=(outputs, inputs)),
            generator.normal(size=(rank, inputs)),
            generator.normal(size=(outputs, rank)),
            alpha,
        )
        for n, outputs, inputs, rank, alpha in sizes
    ]


def _matrix_cases(generator: np.random.Generator) -> list[Case]:
    sizes = [(5, 4, 2), (3, 6, 1), (4, 4, 4), (6, 5, 3)]  # rows, columns, rank
    return [(generator.normal(size=(rows, columns)), rank) for rows, columns, rank in sizes]


# --- Solutions and mistakes ----------------------------------------------------------------------

_MEAN, _DEVIATION = 0.1307, 0.3081  # of MNIST


def _to_backbone(images: Array, mean: Array, deviation: Array) -> Array:
    return _prepared(images, mean, deviation)


def _prepared(
    images: Array,
    mean: Array,
    deviation: Array,
    *,
    undo: bool = True,
    invert: bool = True,
    early: bool = False,
) -> Array:
    """Do the steps, or leave some out; `early`: invert before the normalisation is undone."""
    pixels = 1 - images if early else images
    if undo:
        pixels = pixels * _DEVIATION + _MEAN
    if invert and not early:
        pixels = 1 - pixels
    coloured = np.repeat(pixels, 3, axis=1)
    return (coloured - mean.reshape(3, 1, 1)) / deviation.reshape(3, 1, 1)


def _left_out(**changes: bool) -> Any:
    def prepare(images: Array, mean: Array, deviation: Array) -> Array:
        return _prepared(images, mean, deviation, **changes)

    return prepare


def _multiplied(images: Array, mean: Array, deviation: Array) -> Array:
    coloured = np.repeat(1 - (images * _DEVIATION + _MEAN), 3, axis=1)
    return (coloured - mean.reshape(3, 1, 1)) * deviation.reshape(3, 1, 1)


def _lora_forward(x: Array, weight: Array, a: Array, b: Array, alpha: float) -> Array:
    return _forward(x, weight, a, b, alpha / len(a))


def _forward(x: Array, weight: Array, a: Array, b: Array, scale: float) -> Array:
    return x @ weight.T + scale * (x @ a.T) @ b.T


def _scaled(scale: Any) -> Any:
    def forward(x: Array, weight: Array, a: Array, b: Array, alpha: float) -> Array:
        return _forward(x, weight, a, b, scale(a, alpha))

    return forward


def _change_alone(x: Array, weight: Array, a: Array, b: Array, alpha: float) -> Array:
    return _forward(x, 0 * weight, a, b, alpha / len(a))


def _all_scaled(x: Array, weight: Array, a: Array, b: Array, alpha: float) -> Array:
    return alpha / len(a) * _forward(x, weight, a, b, 1.0)


def _closest(matrix: Array, rank: int) -> Array:
    left, sizes, right = np.linalg.svd(matrix, full_matrices=False)
    return left[:, :rank] * sizes[:rank] @ right[:rank]


def _smallest_kept(matrix: Array, rank: int) -> Array:
    left, sizes, right = np.linalg.svd(matrix, full_matrices=False)
    return left[:, -rank:] * sizes[-rank:] @ right[-rank:]


def _without_sizes(matrix: Array, rank: int) -> Array:
    left, _, right = np.linalg.svd(matrix, full_matrices=False)
    return left[:, :rank] @ right[:rank]


def _one_too_many(matrix: Array, rank: int) -> Array:
    return _closest(matrix, rank + 1)


def _only_that_one(matrix: Array, rank: int) -> Array:
    left, sizes, right = np.linalg.svd(matrix, full_matrices=False)
    return left[:, rank - 1 : rank] * sizes[rank - 1] @ right[rank - 1 : rank]


_LEFT = 0.99**50

EXERCISES = (
    Exercise(
        "ch11",
        "to_backbone",
        _to_backbone,
        cases=_image_cases,
        mistakes=(
            usual(
                "The images still have MNIST's normalisation. The backbone's mean and deviation "
                "are those of pixels from 0 to 1, so undo the old one first.",
                _left_out(undo=False),
            ),
            usual(
                "The ink is still light on dark. Photographs of paper are the other way round.",
                _left_out(invert=False),
            ),
            usual(
                "You invert before you undo the normalisation, where white is not yet 1.",
                _left_out(early=True),
            ),
            usual("To normalise is to divide by the deviation; you multiply by it.", _multiplied),
        ),
    ),
    Exercise(
        "ch11",
        "lora_forward",
        _lora_forward,
        cases=_layer_cases,
        mistakes=(
            usual(
                "The scale is alpha divided by the rank; you use alpha.",
                _scaled(lambda a, alpha: alpha),
            ),
            usual("The scale is missing: alpha divided by the rank.", _scaled(lambda a, _: 1.0)),
            usual(
                "The scale is upside down: alpha divided by the rank.",
                _scaled(lambda a, alpha: len(a) / alpha),
            ),
            usual(
                "The rank is how many rows A has, not how many columns.",
                _scaled(lambda a, alpha: alpha / a.shape[1]),
            ),
            usual("You return the change alone. The frozen layer answers too.", _change_alone),
            usual("The scale belongs to the change alone, not to the frozen layer.", _all_scaled),
        ),
    ),
    Exercise(
        "ch11",
        "closest_of_rank",
        _closest,
        cases=_matrix_cases,
        mistakes=(
            usual(
                "You keep the smallest singular values. The largest hold most of the matrix.",
                _smallest_kept,
            ),
            usual(
                "The singular values are missing: each pair of vectors has a size.", _without_sizes
            ),
            usual("That has one rank more than is asked for.", _one_too_many),
            usual("You keep one pair of vectors. Keep all up to the rank.", _only_that_one),
        ),
    ),
    Exercise(
        "ch11",
        "left_of_the_old",
        _LEFT,
        tolerance=1e-4,
        hint="After one step 99 % is left, and of that 99 % after the next.",
        mistakes=(
            usual(
                "The share falls by a hundredth of what is left, not of what was there at first.",
                0.5,
            ),
            usual(
                "That is the share that is new. What is asked for is what is left of the old.",
                1 - _LEFT,
            ),
            usual(
                "You took the momentum for the share that stays. It is the share that is new.",
                0.01**50,
            ),
        ),
    ),
)
