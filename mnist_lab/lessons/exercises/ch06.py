"""The exercises of chapter 6 that `check` judges: bfloat16, traffic, memory."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_lab.lessons.exercises.checking import Case, Exercise, usual

Array = NDArray[Any]


# --- Cases ---------------------------------------------------------------------------------------


def _numbers(generator: np.random.Generator) -> list[Case]:
    exact = [1.0, -0.5, 3.0, 0.0, 256.0]
    halfway = [1.00390625, 1.01171875, -257.0, -259.0]  # between two neighbours
    rest = [3.14159, 0.1, -2.71828, 1e-8, 70_000.0, 1.0031, *generator.normal(size=4)]
    return [(float(value),) for value in [*exact, *halfway, *rest]]


def _rings(generator: np.random.Generator) -> list[Case]:
    return [(1_000, 2), (29_434, 4), (29_434, 1), (7_000_000, 8), (64, 3)]


def _clusters(generator: np.random.Generator) -> list[Case]:
    return [
        (7_500_000_000, devices, stage)
        for devices in (1, 64)
        for stage in ("none", "optimizer", "gradients", "everything")
    ] + [(29_434, 4, "gradients"), (29_434, 4, "optimizer"), (29_434, 4, "everything")]


# --- Solutions and mistakes ----------------------------------------------------------------------


def _bits(number: float) -> int:
    """Return the 32 bits of a float32 as an integer."""
    return int(struct.unpack("<I", struct.pack("<f", number))[0])


def _number(bits: int) -> float:
    return float(struct.unpack("<f", struct.pack("<I", bits))[0])


def _to_bfloat16(number: float) -> float:
    bits = _bits(number)
    rest, bits = bits & 0xFFFF, bits & 0xFFFF0000
    if rest > 0x8000 or (rest == 0x8000 and bits & 0x10000):
        bits += 0x10000
    return _number(bits)


def _half_up(number: float) -> float:
    return _number((_bits(number) + 0x8000) & 0xFFFF0000)


def _cut_off(number: float) -> float:
    return _number(_bits(number) & 0xFFFF0000)


def _float16(number: float) -> float:
    return float(np.float16(number))


def _zero_bytes(parameters: int, devices: int, shared: str) -> float:
    weights, gradients, optimizer = 2.0 * parameters, 2.0 * parameters, 12.0 * parameters
    if shared in ("optimizer", "gradients", "everything"):
        optimizer /= devices
    if shared in ("gradients", "everything"):
        gradients /= devices
    if shared == "everything":
        weights /= devices
    return weights + gradients + optimizer


def _only_named(parameters: int, devices: int, shared: str) -> float:
    """Share out the named part alone, not the ones before it."""
    weights, gradients, optimizer = 2.0 * parameters, 2.0 * parameters, 12.0 * parameters
    if shared == "optimizer":
        optimizer /= devices
    if shared == "gradients":
        gradients /= devices
    if shared == "everything":
        weights, gradients, optimizer = (part / devices for part in (weights, gradients, optimizer))
    return weights + gradients + optimizer


def _without_copy(parameters: int, devices: int, shared: str) -> float:
    """Forget the float32 copy of the weights."""
    parts = {"none": 0, "optimizer": 1, "gradients": 2, "everything": 3}[shared]
    sizes = [8 * parameters, 2 * parameters, 2 * parameters]
    return sum(size / devices if number < parts else size for number, size in enumerate(sizes))


EXERCISES = (
    Exercise(
        "ch06",
        "to_bfloat16",
        _to_bfloat16,
        cases=_numbers,
        mistakes=(
            usual(
                "You cut the lower 16 bits off. That always moves towards 0; round to the nearer "
                "neighbour instead.",
                _cut_off,
            ),
            usual(
                "You round halves away from 0. Exactly in the middle the neighbour whose last bit "
                "is 0 is taken, so that errors do not pile up on one side.",
                _half_up,
            ),
            usual(
                "That is float16: ten bits after the point, and nothing above 65,504. bfloat16 "
                "keeps the eight bits of float32's exponent.",
                _float16,
            ),
            usual("That is float32 itself. Only the upper 16 bits are kept.", np.float32, float),
        ),
    ),
    Exercise(
        "ch06",
        "numbers_sent",
        lambda count, ranks: 2 * (ranks - 1) * count / ranks,
        cases=_rings,
        mistakes=(
            usual(
                "That is one way round the ring, which leaves each sum with one rank. A second "
                "way round tells the sums to all.",
                lambda count, ranks: (ranks - 1) * count / ranks,
            ),
            usual(
                "You send the whole gradient at each of the steps. Only a piece of it, one part "
                "in as many as there are ranks, travels at a time.",
                lambda count, ranks: 2 * (ranks - 1) * count,
                lambda count, ranks: (ranks - 1) * count,
            ),
            usual(
                "You take as many steps as there are ranks. The last step of a round would bring "
                "each piece back to where it came from.",
                lambda count, ranks: 2 * count,
                lambda count, ranks: 2.0 * count,
            ),
            usual(
                "You count bytes. Numbers are asked for; each has four bytes in float32.",
                lambda count, ranks: 8 * (ranks - 1) * count / ranks,
            ),
        ),
    ),
    Exercise(
        "ch06",
        "bytes_per_device",
        _zero_bytes,
        cases=_clusters,
        mistakes=(
            usual(
                "You share out only the part that is named. Each stage keeps what the stages "
                "before it have shared out.",
                _only_named,
            ),
            usual(
                "You leave out the float32 copy of the weights. Adam's 12 bytes are that copy and "
                "two moments, 4 bytes each.",
                _without_copy,
            ),
            usual(
                "You divide everything by the number of devices whatever is shared out.",
                lambda parameters, devices, shared: 16 * parameters / devices,
            ),
            usual(
                "You never divide. What is shared out is held by one device alone.",
                lambda parameters, devices, shared: 16 * parameters,
                lambda parameters, devices, shared: 16.0 * parameters,
            ),
        ),
    ),
)
