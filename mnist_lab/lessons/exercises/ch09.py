"""The exercises of chapter 9: patches, attention, a step of an LSTM, sizes of a transformer."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_lab.lessons.exercises.checking import Case, Exercise, usual

Array = NDArray[Any]


# --- Cases ---------------------------------------------------------------------------------------


def _image_cases(generator: np.random.Generator) -> list[Case]:
    sizes = [((2, 4, 4), 2), ((3, 6, 6), 3), ((1, 4, 8), 2), ((2, 6, 4), 1), ((2, 5, 5), 5)]
    return [(generator.normal(size=size), patch) for size, patch in sizes]


def _attention_cases(generator: np.random.Generator) -> list[Case]:
    # tokens that ask, tokens that are asked, numbers in a key, numbers in a value
    sizes = [(3, 3, 4, 4), (2, 5, 4, 3), (1, 4, 9, 2), (4, 2, 2, 6)]
    cases: list[Case] = [
        tuple(generator.normal(size=size) for size in ((asking, d), (asked, d), (asked, numbers)))
        for asking, asked, d, numbers in sizes
    ]
    queries, keys, values = cases[0]
    return [*cases, (60 * queries, 60 * keys, values)]  # exponentials of thousands overflow


def _gate_cases(generator: np.random.Generator) -> list[Case]:
    sizes = [(1, 1), (2, 3), (4, 2)]  # n, width
    return [
        (2 * generator.normal(size=(n, 4 * width)), generator.normal(size=(n, width)))
        for n, width in sizes
    ]


def _transformer_cases(_: np.random.Generator) -> list[Case]:
    return [(7, 64, 4), (4, 64, 4), (14, 8, 1), (2, 32, 3), (28, 16, 2)]  # patch, width, depth


# --- Solutions and mistakes ----------------------------------------------------------------------


def _patchify(images: Array, patch: int) -> Array:
    n, height, width = images.shape
    squares = images.reshape(n, height // patch, patch, width // patch, patch)
    return squares.transpose(0, 1, 3, 2, 4).reshape(n, -1, patch * patch)


def _reshape_alone(images: Array, patch: int) -> Array:
    return images.reshape(len(images), -1, patch * patch)


def _columns_first(images: Array, patch: int) -> Array:
    n, height, width = images.shape
    squares = images.reshape(n, height // patch, patch, width // patch, patch)
    return squares.transpose(0, 3, 1, 2, 4).reshape(n, -1, patch * patch)


def _turned_inside(images: Array, patch: int) -> Array:
    n, height, width = images.shape
    squares = images.reshape(n, height // patch, patch, width // patch, patch)
    return squares.transpose(0, 1, 3, 4, 2).reshape(n, -1, patch * patch)


def _softmax(scores: Array, axis: int = 1) -> Array:
    powers = np.exp(scores - scores.max(axis=axis, keepdims=True))
    return powers / powers.sum(axis=axis, keepdims=True)


def _attention(queries: Array, keys: Array, values: Array) -> Array:
    weights = _softmax(queries @ keys.T / np.sqrt(queries.shape[1]))
    return weights @ values


def _overflowing(queries: Array, keys: Array, values: Array) -> Array:
    powers = np.exp(queries @ keys.T / np.sqrt(queries.shape[1]))
    return powers / powers.sum(axis=1, keepdims=True) @ values


def _unnormalised(queries: Array, keys: Array, values: Array) -> Array:
    return queries @ keys.T / np.sqrt(queries.shape[1]) @ values


def _scaled_by(factor: Any, axis: int = 1) -> Any:
    def attention(queries: Array, keys: Array, values: Array) -> Array:
        scores = queries @ keys.T * factor(queries, keys, values)
        return _softmax(scores, axis) @ values

    return attention


def _sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def _lstm_step(sums: Array, cell: Array) -> tuple[Array, Array]:
    enter, forget, candidate, show = np.split(sums, 4, axis=1)
    cell = _sigmoid(forget) * cell + _sigmoid(enter) * np.tanh(candidate)
    return _sigmoid(show) * np.tanh(cell), cell


def _step(order: str = "ifgo", **changes: Any) -> Any:
    """Return a step in which the quarters have another order, or some function is another."""
    use: dict[str, Any] = {"gate": _sigmoid, "candidate": np.tanh, "shown": np.tanh} | changes

    def step(sums: Array, cell: Array) -> tuple[Array, Array]:
        parts = dict(zip(order, np.split(sums, 4, axis=1), strict=True))
        new = use["gate"](parts["f"]) * cell + use["gate"](parts["i"]) * use["candidate"](
            parts["g"]
        )
        return use["gate"](parts["o"]) * use["shown"](new), new

    return step


def _shows_the_old(sums: Array, cell: Array) -> tuple[Array, Array]:
    _, new = _lstm_step(sums, cell)
    return _sigmoid(np.split(sums, 4, axis=1)[3]) * np.tanh(cell), new


def _complementary(sums: Array, cell: Array) -> tuple[Array, Array]:
    _, forget, candidate, show = np.split(sums, 4, axis=1)
    new = _sigmoid(forget) * cell + (1 - _sigmoid(forget)) * np.tanh(candidate)
    return _sigmoid(show) * np.tanh(new), new


def _identity(x: Array) -> Array:
    return x


def _count_transformer(patch: int, width: int, depth: int) -> int:
    return _count(patch, width, depth)


def _count(
    patch: int,
    width: int,
    depth: int,
    *,
    positions: bool = True,
    biases: bool = True,
    norms: int = 2,
    last_norm: bool = True,
    projections: int = 4,
    classes: int = 10,
) -> int:
    bias = 1 if biases else 0
    count = (28 // patch) ** 2
    block = projections * (width * width + bias * width) + 2 * norms * width
    block += width * 2 * width + bias * 2 * width + 2 * width * width + bias * width
    embedding = patch * patch * width + bias * width + (count * width if positions else 0)
    return embedding + depth * block + 2 * width * last_norm + width * classes + bias * classes


EXERCISES = (
    Exercise(
        "ch09",
        "cut_patches",
        _patchify,
        cases=_image_cases,
        mistakes=(
            usual(
                "You only reshape. The numbers of a square do not lie beside each other in memory: "
                "what you have are pieces of rows.",
                _reshape_alone,
            ),
            usual(
                "The patches come column by column. Rows of patches are due, as one reads.",
                _columns_first,
            ),
            usual(
                "Each patch is turned over its diagonal: inside it, the row comes before the "
                "column.",
                _turned_inside,
            ),
            usual(
                "These are squares still. One row of numbers is due for each patch.",
                lambda images, patch: _patchify(images, patch).reshape(
                    len(images), -1, patch, patch
                ),
            ),
        ),
    ),
    Exercise(
        "ch09",
        "attention",
        _attention,
        cases=_attention_cases,
        mistakes=(
            usual(
                "The scores are not scaled. Divide them by the square root of how many numbers a "
                "query has.",
                _scaled_by(lambda q, k, v: 1.0),
            ),
            usual(
                "You divide the scores by the number itself. Their variance grows like it, so "
                "their deviation grows like its square root.",
                _scaled_by(lambda q, k, v: 1 / q.shape[1]),
            ),
            usual(
                "You take the size from the wrong place. What counts is how many numbers stand in "
                "a query, not how many tokens there are or how long a value is.",
                _scaled_by(lambda q, k, v: len(k) ** -0.5),
                _scaled_by(lambda q, k, v: len(q) ** -0.5),
                _scaled_by(lambda q, k, v: v.shape[1] ** -0.5),
            ),
            usual(
                "You multiply by the square root instead of dividing by it.",
                _scaled_by(lambda q, k, v: q.shape[1] ** 0.5),
            ),
            usual(
                "The softmax runs along the wrong axis. For each query, the weights of all keys "
                "must sum to 1.",
                _scaled_by(lambda q, k, v: q.shape[1] ** -0.5, axis=0),
            ),
            usual(
                "There is no softmax: the scores themselves weigh the values. They may be negative "
                "and sum to anything.",
                _unnormalised,
            ),
            usual(
                "It is right while scores are small, but the exponential of a large one leaves "
                "the range of floats. Subtract the largest score of each row first.",
                _overflowing,
            ),
        ),
    ),
    Exercise(
        "ch09",
        "lstm_step",
        _lstm_step,
        cases=_gate_cases,
        returns=("hidden", "cell"),
        mistakes=(
            usual(
                "The quarters are in another order. In PyTorch's they are: enter, forget, "
                "candidate, show.",
                *(_step(order) for order in ("figo", "ifog", "gfio", "igfo", "oifg", "fiog")),
            ),
            usual(
                "The candidate must lie between -1 and 1: it goes through tanh.",
                _step(candidate=_identity),
                _step(candidate=_sigmoid),
            ),
            usual(
                "The gates must lie between 0 and 1: each goes through the sigmoid.",
                _step(gate=_identity),
                _step(gate=np.tanh),
            ),
            usual(
                "What is shown is the tanh of the cell, times the gate.",
                _step(shown=_identity),
                _step(shown=_sigmoid),
            ),
            usual("You show the old cell. The new one is shown.", _shows_the_old),
            usual(
                "You let in one minus what is kept. That is another kind of cell; here both gates "
                "are free.",
                _complementary,
            ),
            usual(
                "The two results are the wrong way round.",
                lambda sums, cell: _lstm_step(sums, cell)[::-1],
            ),
        ),
    ),
    Exercise(
        "ch09",
        "count_transformer",
        _count_transformer,
        cases=_transformer_cases,
        mistakes=(
            usual(
                "The positions are missing: one row of numbers for each patch of the image.",
                lambda patch, width, depth: _count(patch, width, depth, positions=False),
            ),
            usual(
                "The biases are missing. Every linear layer has one number more for each output.",
                lambda patch, width, depth: _count(patch, width, depth, biases=False),
            ),
            usual(
                "A block has two layer norms, and each learns a factor and a shift for every "
                "number of a token.",
                lambda patch, width, depth: _count(patch, width, depth, norms=1),
                lambda patch, width, depth: _count(patch, width, depth, norms=0),
            ),
            usual(
                "There is a layer norm after the last block as well.",
                lambda patch, width, depth: _count(patch, width, depth, last_norm=False),
            ),
            usual(
                "Queries, keys and values are three products, and a fourth mixes the heads' "
                "results.",
                lambda patch, width, depth: _count(patch, width, depth, projections=3),
            ),
            usual(
                "The last layer is missing, which makes ten logits of a token.",
                lambda patch, width, depth: _count(patch, width, depth, classes=0),
            ),
            usual(
                "You count one block. There are several.",
                lambda patch, width, depth: _count(patch, width, 1),
            ),
        ),
    ),
    Exercise(
        "ch09",
        "scores_of_pixels",
        784**2,
        hint="Every token scores every token, itself included.",
        mistakes=(
            usual("That is the number of tokens. Each of them scores all of them.", 784),
            usual(
                "A token scores itself too, and what it asks of another is not what that one asks "
                "of it: nothing may be left out.",
                784 * 783,
                784 * 783 // 2,
                784 * 785 // 2,
            ),
            usual("That is the number for the patches of this chapter.", 256, 16, 49**2),
        ),
    ),
)
