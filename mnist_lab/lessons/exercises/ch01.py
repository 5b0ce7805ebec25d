"""The exercises of chapter 1: bytes, normalisation, duplicates, luck, splits."""

from __future__ import annotations

import math
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
    a, b, c = generator.integers(1, 255, size=(3, 2, 3), dtype=np.uint8)
    mirrored = a[:, ::-1].copy()  # the same sum, another image
    other_below = np.stack([a[0], 255 - a[1]])  # its first row is that of another
    other_at_the_end = a.copy()
    other_at_the_end[-1, -1] ^= 1
    of_the_same_sum = b.copy()
    of_the_same_sum[0, 0] += 1
    of_the_same_sum[1, 1] -= 1
    return [
        (np.stack([a, b, c]),),
        (np.stack([a, b, a, c, a]),),  # one image three times: two repeat an earlier one
        (np.stack([a, mirrored, b, b]),),
        (np.stack([c, c, c, c, a, b, a]),),
        (np.stack([a, other_below, b, other_at_the_end, b]),),
        (np.stack([b, of_the_same_sum]),),
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
_UNEVEN = (
    "Some indices of a class come much more often than others. Each of them should be equally "
    "likely to be drawn."
)
_DRAWS = 100
_ONE_WINDOW = (
    "You draw neighbours: all indices of a class that you take stand next to each other among that "
    "class. Draw each one by chance."
)
_TEN_CLASSES = (
    "You loop over ten digits, but the labels of some cases have fewer classes. Take the classes "
    "from the labels."
)
_NOT_STRATIFIED = (
    "The classes do not all come equally often in your draw. Draw from each class for itself."
)
_LABELS = "You return labels. Indices are asked for: the positions at which the drawn labels stand."


def _draw(
    answer: Callable[..., Any], labels: Array, per_class: int, generator: np.random.Generator
) -> str | None:
    """Split several times, and return "right" or a sentence; None if nothing comes back."""
    seeds = generator.integers(2**32, size=_DRAWS)
    draws = []
    for seed in (seeds[0], *seeds):
        given = labels.copy()
        try:
            drawn = answer(given, per_class, np.random.default_rng(seed))
        except ValueError as error:
            # A digit that does not occur has no example to draw.
            if len(np.unique(labels)) < 10 and "empty" in str(error):
                return _TEN_CLASSES
            raise
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
    return _how_even(labels, np.stack(draws[1:]), per_class)


def _how_even(labels: Array, draws: Indices, per_class: int) -> str:
    """Return "right" if draws (n, size) take each index of each class about equally often.

    Of n draws an index is in a share of them that lies round per_class / own by a binomial
    deviation; seven of them no honest draw reaches. Neighbours that come together are seen by how
    often the next index of a class follows.
    """
    is_drawn = np.zeros((len(draws), len(labels)), bool)
    np.put_along_axis(is_drawn, draws, True, axis=1)
    often = is_drawn.sum(axis=0)
    for digit in np.unique(labels):
        own = np.flatnonzero(labels == digit)
        share = per_class / len(own)
        deviation = np.sqrt(len(draws) * share * (1 - share))
        away = np.abs(often[own] - len(draws) * share)
        if (often[own] % len(draws) == 0).all():
            return _ALWAYS_THE_SAME
        if (away > 7 * deviation).any():
            return _UNEVEN
        drawn = is_drawn[:, own]
        together = (drawn & np.roll(drawn, 1, axis=1)).mean()
        chance = share * (per_class - 1) / (len(own) - 1)
        if together > 1.4 * chance or together < 0.6 * chance:
            return _ONE_WINDOW
    return "right"


_REPEATS = 200


def _expected_best(readers: int, digits: int, accuracy: float) -> tuple[float, float]:
    """Return mean and standard deviation of the best of several equal readers' scores.

    The best of them is at most k right if each of them is: P(best <= k) = P(one <= k)^readers.
    """
    right = np.arange(digits + 1)
    logs = np.cumsum(np.log(np.maximum(right, 1)))  # log k!
    chance = np.exp(
        logs[-1]
        - logs
        - logs[::-1]
        + right * math.log(accuracy)
        + (digits - right) * math.log1p(-accuracy)
    )
    at_most = np.minimum(np.cumsum(chance), 1) ** readers
    of_best = np.diff(at_most, prepend=0.0)
    mean = float(of_best @ right)
    return mean / digits, math.sqrt(float(of_best @ (right - mean) ** 2)) / digits


def _best_of(readers: int, digits: int, accuracy: float, generator: np.random.Generator) -> float:
    return float(generator.binomial(digits, accuracy, size=readers).max() / digits)


_A_COUNT = "You return how many digits the best reader got right. Its score is their share."
_THE_EXCESS = (
    "You return by how much the best exceeds the others. Its score itself is asked for; subtract "
    "afterwards."
)
_THE_MEAN = "You return the mean of all readers, which is not flattered. Take the best one."
_THE_WORST = "You return the worst reader. Take the best one."
_ONE_READER = (
    "Your readers get the same digits right, or there is only one of them. Each needs luck of its "
    "own."
)
_NO_LUCK = (
    "Your score is the same for every seed. Draw by the generator which digits a reader gets right."
)


def _lucky(
    answer: Callable[..., Any],
    readers: int,
    digits: int,
    accuracy: float,
    generator: np.random.Generator,
) -> str | None:
    """Score often, and return "right" or a sentence; None if nothing comes back."""
    seeds = generator.integers(2**32, size=_REPEATS)
    given = [answer(readers, digits, accuracy, np.random.default_rng(seed)) for seed in seeds]
    if any(score is None for score in given):
        return None
    if any(np.ndim(score) or np.asarray(score).dtype.kind not in "iuf" for score in given):
        return "A single number is due: the score of the best reader, between 0 and 1."
    scores = np.array(given, float)
    if not np.isfinite(scores).all():
        return "Some of your scores are no finite numbers."
    if np.ptp(scores) == 0:
        return _NO_LUCK
    if answer(readers, digits, accuracy, np.random.default_rng(seeds[0])) != given[0]:
        return (
            "Two scores with the same seed differ. All chance must come from the generator that is "
            "handed over."
        )
    mean, deviation = _expected_best(readers, digits, accuracy)
    spread = math.sqrt(accuracy * (1 - accuracy) / digits)  # of one reader

    def is_near(wanted: float) -> bool:
        return bool(abs(scores.mean() - wanted) < 6 * deviation / math.sqrt(len(scores)))

    if is_near(mean) and scores.std() < 1.4 * deviation:
        return "right"
    if scores.max() > 1:
        return _A_COUNT
    if is_near(mean - accuracy):
        return _THE_EXCESS
    if is_near(2 * accuracy - mean):
        return _THE_WORST
    if is_near(accuracy):
        return _ONE_READER if scores.std() > spread / 2 else _THE_MEAN
    return (
        f"The mean of your scores over {len(scores)} seeds is {scores.mean():.3f}, which is not "
        f"what the best of {readers} has, each right with probability {accuracy} on {digits} "
        "digits."
    )


def _versions(generator: np.random.Generator) -> list[Case]:
    """Make the origins of augmented digits: copies of equal number, or not, in any order."""
    uneven = np.repeat(np.arange(100, 130), generator.integers(1, 6, size=30))
    return [
        (np.tile(np.arange(40), 5), 10, generator),
        (np.repeat(np.arange(30), 4), 6, generator),
        (generator.permutation(uneven), 9, generator),
    ]


def _held_out(origins: Array, count: int, generator: np.random.Generator) -> Indices:
    drawn = generator.choice(np.unique(origins), count, replace=False)
    return np.flatnonzero(np.isin(origins, drawn))


_CUT = (
    "Versions of one digit are on both sides of your split, so it is validated on digits that it "
    "keeps in another version. Draw originals, and take all versions of each."
)
_SAME_ORIGINS = "You hold out the same originals for every seed. Draw them by the generator."
_ORIGINS = "You return the originals. The indices of all their versions are asked for."


def _hold_out(
    answer: Callable[..., Any], origins: Array, count: int, generator: np.random.Generator
) -> str | None:
    """Hold out several times, and return "right" or a sentence; None if nothing comes back."""
    seeds = generator.integers(2**32, size=20)
    draws = []
    for seed in (seeds[0], *seeds):
        given = origins.copy()
        drawn = answer(given, count, np.random.default_rng(seed))
        if drawn is None:
            return None
        if not np.array_equal(given, origins):
            return "Your function changes its argument `origins` in place. Work on a copy."
        draws.append(np.asarray(drawn))
    first = draws[0]
    if first.ndim != 1 or first.dtype.kind not in "iu":
        return "A list of whole numbers is due: indices into `origins`."
    if not len(first):
        return "You hold out nothing."
    if all(np.isin(draw, origins).all() and len(draw) == count for draw in draws):
        return _ORIGINS
    if first.min() < 0 or first.max() >= len(origins):
        return f"Your indices run from {first.min()} to {first.max()}; there are {len(origins)}."
    if len(np.unique(first)) < len(first):
        return "Some index comes twice in your result."
    if not np.isin(np.flatnonzero(np.isin(origins, origins[first])), first).all():
        return _CUT
    if len(np.unique(origins[first])) != count:
        return f"You hold out {len(np.unique(origins[first]))} originals, but {count} are due."
    if not np.array_equal(first, draws[1]):
        return (
            "Two draws with the same seed differ. All chance must come from the generator that is "
            "handed over."
        )
    if len({tuple(np.sort(draw)) for draw in draws}) == 1:
        return _SAME_ORIGINS
    return "right"


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
                "You step by 28 bytes from image to image. That is one row: an image has 28 of "
                "them.",
                lambda content, number: np.frombuffer(
                    content[16 + number * 28 : 16 + number * 28 + _PIXELS], np.uint8
                ).reshape(28, 28),
            ),
            usual(
                "You read the bytes as signed numbers, so full ink becomes -1. Pixels are "
                "unsigned: uint8.",
                lambda content, number: _image_at(content, number).view(np.int8),
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
                "Your mean is shifted but not divided. Dividing every value divides their mean.",
                lambda mean, deviation, subtract, divide: (mean - subtract, deviation / divide),
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
                "You divide by 256. There are 256 values, but the largest is 255, and it should "
                "become 1 before the constants are applied.",
                lambda images: (images / 256 - _MEAN) / _DEVIATION,
            ),
            usual(
                "You read the pixels as signed bytes, where everything above 127 turns negative. "
                "They are unsigned.",
                lambda images: (images.view(np.int8) / 255 - _MEAN) / _DEVIATION,
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
                "You compare which values occur, and not where they stand. A mirrored image has "
                "the same values: compare the bytes in their order.",
                lambda images: len(images) - len({np.sort(i.ravel()).tobytes() for i in images}),
            ),
            usual(
                "You compare only a part of each image, such as its first row. Different images "
                "can agree there: compare all their bytes.",
                lambda images: len(images) - len({image[0].tobytes() for image in images}),
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
                _TEN_CLASSES,
                lambda labels, per_class, generator: np.concatenate(
                    [
                        generator.choice(np.flatnonzero(labels == digit), per_class, replace=False)
                        for digit in range(10)
                    ]
                ),
            ),
            usual(
                _ONE_WINDOW,
                lambda labels, per_class, generator: _of_each_class(
                    labels, lambda own: np.roll(own, generator.integers(len(own)))[:per_class]
                ),
            ),
            usual(
                _UNEVEN,
                lambda labels, per_class, generator: _of_each_class(
                    labels,
                    lambda own: generator.permutation(own[: (per_class + len(own) + 1) // 2])[
                        :per_class
                    ],
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
    Exercise(
        "ch01",
        "best_of",
        _best_of,
        cases=lambda generator: [
            (20, 100, 0.9, generator),
            (5, 200, 0.7, generator),
            (50, 80, 0.95, generator),
        ],
        probe=_lucky,
        mistakes=(
            usual(
                _A_COUNT,
                lambda readers, digits, accuracy, generator: int(
                    generator.binomial(digits, accuracy, size=readers).max()
                ),
            ),
            usual(
                _THE_EXCESS,
                lambda readers, digits, accuracy, generator: (
                    _best_of(readers, digits, accuracy, generator) - accuracy
                ),
            ),
            usual(
                _THE_MEAN,
                lambda readers, digits, accuracy, generator: float(
                    generator.binomial(digits, accuracy, size=readers).mean() / digits
                ),
            ),
            usual(
                _ONE_READER,
                lambda readers, digits, accuracy, generator: float(
                    generator.binomial(digits, accuracy) / digits
                ),
            ),
            usual(
                _NO_LUCK,
                lambda readers, digits, accuracy, generator: accuracy,
                lambda readers, digits, accuracy, generator: _best_of(
                    readers, digits, accuracy, np.random.default_rng(0)
                ),
            ),
        ),
    ),
    Exercise(
        "ch01",
        "held_out",
        _held_out,
        cases=_versions,
        probe=_hold_out,
        mistakes=(
            usual(
                _CUT,
                lambda origins, count, generator: generator.choice(
                    len(origins), count, replace=False
                ),
                lambda origins, count, generator: generator.permutation(len(origins))[: count * 3],
            ),
            usual(
                _SAME_ORIGINS,
                lambda origins, count, generator: np.flatnonzero(
                    np.isin(origins, np.unique(origins)[:count])
                ),
            ),
            usual(
                _ORIGINS,
                lambda origins, count, generator: generator.choice(
                    np.unique(origins), count, replace=False
                ),
            ),
        ),
    ),
)
