"""The exercises of chapter 13: bytes, tokens, four bits, preferences, what PiSSA leaves."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_lab.lessons.exercises.checking import Case, Exercise, usual

Array = NDArray[Any]


# --- Cases ---------------------------------------------------------------------------------------


def _bytes_cases(_: np.random.Generator) -> list[Case]:
    # frozen, learning, base_bytes
    return [(1_000, 10, 2), (7_000, 400, 0.5), (0, 33, 4), (512, 3, 1)]


def _room_cases(_: np.random.Generator) -> list[Case]:
    # room, depth, width, inside, checkpointed
    return [
        (1_000_000, 6, 384, 6_000, False),
        (1_000_000, 6, 384, 6_000, True),
        (99_999, 3, 10, 171, False),
        (99_999, 3, 10, 171, True),
    ]


def _block_cases(generator: np.random.Generator) -> list[Case]:
    even, uneven = np.linspace(-1, 1, 5), np.array([-1.0, -0.6, -0.1, 0.0, 0.2, 1.0])
    mostly_negative = np.array([-3.0, 1.0, -0.2, 0.4, 2.9, -1.7, 0.9, -2.4])
    return [
        (mostly_negative, even),
        (generator.normal(size=16) * 5, uneven),
        (np.concatenate([generator.normal(size=15) * 0.1, [-2.0]]), uneven),
        (np.zeros(6), even),
    ]


def _pair_cases(generator: np.random.Generator) -> list[Case]:
    found = []
    for count, beta in ((3, 0.5), (1, 2.0), (5, 0.1)):
        good, worse, good_before, worse_before = -generator.uniform(0, 9, size=(4, count))
        found.append((good, worse, good_before, worse_before, beta))
    return found


def _matrix_cases(generator: np.random.Generator) -> list[Case]:
    sizes = [(5, 4, 2), (3, 6, 1), (6, 5, 3), (4, 7, 2)]  # rows, columns, rank
    return [(generator.normal(size=(rows, columns)), rank) for rows, columns, rank in sizes]


# --- Solutions and mistakes ----------------------------------------------------------------------


def _training_bytes(frozen: float, learning: float, base_bytes: float) -> float:
    return frozen * base_bytes + 16 * learning


def _tokens_that_fit(room: int, depth: int, width: int, inside: int, checkpointed: bool) -> int:
    return room // (2 * _numbers(depth, width, inside, checkpointed))


def _numbers(depth: int, width: int, inside: int, checkpointed: bool) -> int:
    return depth * width + inside if checkpointed else depth * inside


def _counted(numbers: Any, size: int = 2) -> Any:
    """Return an answer that counts so many numbers for a token, of a size in bytes."""

    def fit(room: int, depth: int, width: int, inside: int, checkpointed: bool) -> Any:
        return room // (size * numbers(depth, width, inside, checkpointed))

    return fit


def _tokens_and_parts(room: int, depth: int, width: int, inside: int, checkpointed: bool) -> float:
    return room / (2 * _numbers(depth, width, inside, checkpointed))


def _quantise_block(weights: Array, levels: Array) -> tuple[Array, Any]:
    return _nearest(weights, levels, np.abs(weights).max())


def _nearest(weights: Array, levels: Array, scale: Any) -> tuple[Array, Any]:
    relative = weights / scale if scale else weights
    return np.abs(relative[:, None] - levels).argmin(1), scale


def _scaled_by(measure: Any) -> Any:
    def quantise(weights: Array, levels: Array) -> tuple[Array, Any]:
        return _nearest(weights, levels, measure(weights))

    return quantise


def _level_below(weights: Array, levels: Array) -> tuple[Array, Any]:
    scale = np.abs(weights).max()
    relative = weights / scale if scale else weights
    return np.searchsorted(levels, relative, side="right") - 1, scale


def _values(weights: Array, levels: Array) -> tuple[Array, Any]:
    codes, scale = _quantise_block(weights, levels)
    return levels[codes], scale


def _dpo_loss(
    good: Array, worse: Array, good_before: Array, worse_before: Array, beta: float
) -> Any:
    return _softplus(-beta * _lead(good, worse, good_before, worse_before)).mean()


def _lead(good: Array, worse: Array, good_before: Array, worse_before: Array) -> Array:
    lead: Array = (good - good_before) - (worse - worse_before)
    return lead


def _softplus(z: Array) -> Array:
    found: Array = np.logaddexp(0, z)
    return found


def _pissa_rest(weight: Array, rank: int) -> Array:
    left, sizes, right = np.linalg.svd(weight, full_matrices=False)
    return left[:, rank:] * sizes[rank:] @ right[rank:]


def _kept(weight: Array, rank: int) -> Array:
    return weight - _pissa_rest(weight, rank)


def _weakest_out(weight: Array, rank: int) -> Array:
    left, sizes, right = np.linalg.svd(weight, full_matrices=False)
    keep = len(sizes) - rank
    return left[:, :keep] * sizes[:keep] @ right[:keep]


EXERCISES = (
    Exercise(
        "ch13",
        "training_bytes",
        _training_bytes,
        cases=_bytes_cases,
        mistakes=(
            usual(
                "The copy in float32 is missing. In mixed precision what learns is there twice: "
                "once to compute with, once to be updated.",
                lambda frozen, learning, base_bytes: frozen * base_bytes + 12 * learning,
            ),
            usual(
                "That is the weight and its gradient. Adam keeps two means, and a copy of the "
                "weight is there in float32.",
                lambda frozen, learning, base_bytes: frozen * base_bytes + 4 * learning,
            ),
            usual(
                "You leave out the frozen numbers. They have no gradient and no state, but they "
                "lie in memory.",
                lambda frozen, learning, base_bytes: 16 * learning,
            ),
            usual(
                "You give the frozen numbers gradients and state, too. That they need none is what "
                "freezing saves.",
                lambda frozen, learning, base_bytes: 16 * (frozen + learning),
                lambda frozen, learning, base_bytes: (base_bytes + 14) * (frozen + learning),
            ),
            usual(
                "What learns is not kept as the base is. Its weight takes 2 bytes, whatever the "
                "base takes.",
                lambda frozen, learning, base_bytes: (
                    frozen * base_bytes + (base_bytes + 14) * learning
                ),
            ),
        ),
    ),
    Exercise(
        "ch13",
        "tokens_that_fit",
        _tokens_that_fit,
        cases=_room_cases,
        mistakes=(
            usual("An activation of 16 bits takes 2 bytes.", _counted(_numbers, 1)),
            usual("An activation of 16 bits takes 2 bytes; you count 4.", _counted(_numbers, 4)),
            usual("There are no parts of a token: round down.", _tokens_and_parts),
            usual(
                "Every layer keeps its inside; you count one layer.",
                _counted(lambda d, w, i, c: d * w + i if c else i),
            ),
            usual(
                "While the backward pass is in a layer, the inside of that one layer is there, "
                "too.",
                _counted(lambda d, w, i, c: d * w if c else d * i),
            ),
            usual(
                "With checkpoints each layer still keeps its input.",
                _counted(lambda d, w, i, c: i if c else d * i),
                _counted(lambda d, w, i, c: w + i if c else d * i),
            ),
            usual(
                "With checkpoints only one layer's inside is there at a time.",
                _counted(lambda d, w, i, c: d * (w + i) if c else d * i),
            ),
            usual(
                "You have it the wrong way round: it is with checkpoints that little is kept.",
                _counted(lambda d, w, i, c: _numbers(d, w, i, not c)),
            ),
        ),
    ),
    Exercise(
        "ch13",
        "quantise_block",
        _quantise_block,
        cases=_block_cases,
        returns=("codes", "scale"),
        mistakes=(
            usual(
                "The scale is the largest absolute value. A block's largest weight may be "
                "negative.",
                _scaled_by(np.max),
            ),
            usual(
                "You divide by the deviation. Then the largest weights lie beyond the last level.",
                _scaled_by(np.std),
            ),
            usual(
                "You forget to divide by the scale. The levels reach from -1 to 1 only.",
                lambda weights, levels: (
                    _nearest(weights, levels, 1.0)[0],
                    np.abs(weights).max(),
                ),
            ),
            usual("You take the level below each weight, not the nearest.", _level_below),
            usual("Codes are the places of the levels, whole numbers; you return values.", _values),
        ),
    ),
    Exercise(
        "ch13",
        "dpo_loss",
        _dpo_loss,
        cases=_pair_cases,
        mistakes=(
            usual(
                "The sign is turned: so the loss is small where the worse answer is preferred.",
                lambda good, worse, good_before, worse_before, beta: _softplus(
                    beta * _lead(good, worse, good_before, worse_before)
                ).mean(),
            ),
            usual(
                "You compare the two answers now, and not with what the model gave them before.",
                lambda good, worse, good_before, worse_before, beta: _softplus(
                    -beta * (good - worse)
                ).mean(),
            ),
            usual(
                "The factor beta is missing.",
                lambda good, worse, good_before, worse_before, beta: _softplus(
                    -_lead(good, worse, good_before, worse_before)
                ).mean(),
            ),
            usual(
                "That is the sum over the pairs; the mean is asked for.",
                lambda good, worse, good_before, worse_before, beta: _softplus(
                    -beta * _lead(good, worse, good_before, worse_before)
                ).sum(),
            ),
            usual(
                "Take the loss of each pair first, then the mean. The loss of the mean lead is "
                "smaller.",
                lambda good, worse, good_before, worse_before, beta: _softplus(
                    -beta * _lead(good, worse, good_before, worse_before).mean()
                ),
            ),
        ),
    ),
    Exercise(
        "ch13",
        "pissa_rest",
        _pissa_rest,
        cases=_matrix_cases,
        mistakes=(
            usual("That is what learns. What stays frozen is the rest.", _kept),
            usual(
                "You take out the smallest singular values. PiSSA takes out the largest: they are "
                "what shall learn.",
                _weakest_out,
            ),
            usual(
                "You take out one pair of vectors too many.",
                lambda weight, rank: _pissa_rest(weight, rank + 1),
            ),
            usual(
                "You take out one pair of vectors too few.",
                lambda weight, rank: _pissa_rest(weight, rank - 1),
            ),
        ),
    ),
)
