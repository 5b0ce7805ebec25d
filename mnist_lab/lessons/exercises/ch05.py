"""The exercises of chapter 5: shapes, the loss of probabilities, means, tests, early stopping."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_lab.lessons.exercises.checking import Case, Exercise, usual

Array = NDArray[Any]


# --- Cases ---------------------------------------------------------------------------------------


def _batch_losses(generator: np.random.Generator) -> list[Case]:
    sizes = [np.array([4, 4, 1]), np.array([100, 28]), np.array([64, 64, 64, 8]), np.array([1, 9])]
    return [(generator.uniform(0.1, 2, size=len(size)), size) for size in sizes]


def _loss_histories(generator: np.random.Generator) -> list[Case]:
    return [
        ([0.9, 0.5, 0.4, 0.3], 2),  # always better
        ([0.9, 0.3, 0.5, 0.4], 2),  # better than the one before, not than the best
        ([0.9, 0.3, 0.4, 0.2], 2),  # recovers in the last epoch
        ([0.9, 0.3, 0.3, 0.4], 2),  # a tie is no improvement
        ([0.9, 0.3, 0.4], 2),  # one epoch is not two
        ([0.5, 0.6], 2),  # nothing stands before the last two
        ([0.9, 0.5, 0.6], 1),
        ([0.9, 0.5, 0.4], 1),
        ([0.7, 0.2, 0.5, 0.4, 0.3], 3),
        ([0.7, 0.2, 0.5, 0.1, 0.3], 3),  # improved two epochs ago
        ([0.4, 0.5, 0.3, 0.31, 0.32, 0.3], 3),
    ]


# --- Solutions and mistakes ----------------------------------------------------------------------


def _tail(at_most: int, flips: int) -> float:
    """Return the probability of so few heads or fewer from a fair coin."""
    return sum(math.comb(flips, k) for k in range(at_most + 1)) / 2**flips


def _paired_test(only_a: int, only_b: int) -> float:
    return min(1.0, 2 * _tail(min(only_a, only_b), only_a + only_b))


def _normal_approximation(only_a: int, only_b: int, correction: int = 0) -> float:
    distance = max(abs(only_a - only_b) - correction, 0)
    return math.erfc(distance / math.sqrt(2 * (only_a + only_b)))


def _should_stop(losses: Sequence[float], patience: int) -> bool:
    if len(losses) <= patience:
        return False
    return min(losses[-patience:]) >= min(losses[:-patience])


def _one_before(losses: Sequence[float], patience: int) -> bool:
    if len(losses) <= patience:
        return False
    return all(losses[-k] >= losses[-k - 1] for k in range(1, patience + 1))


def _ties_count(losses: Sequence[float], patience: int) -> bool:
    if len(losses) <= patience:
        return False
    return min(losses[-patience:]) > min(losses[:-patience])


def _only_the_last(losses: Sequence[float], patience: int) -> bool:
    return len(losses) > patience and losses[-1] >= min(losses[:-patience])


def _waits(losses: Sequence[float], epochs: int) -> bool:
    """Stop after so many epochs without a new best; after none of them at once."""
    return epochs == 0 or _should_stop(losses, epochs)


EXERCISES = (
    Exercise(
        "ch05",
        "shapes_without_stride",
        2304,
        hint="Work out the side of the image after each layer, then multiply with the channels.",
        mistakes=(
            usual(
                "That is the number with the stride of 2 still there. Move the kernel one pixel at "
                "a time.",
                576,
            ),
            usual(
                "That is the number with the padding still there. Without it a kernel of 5 takes 4 "
                "pixels off the side.",
                64 * 7 * 7,
            ),
            usual(
                "You halve the side once. There are two poolings on the way.",
                64 * 12 * 12,
            ),
            usual(
                "That is the number of pixels in one channel. The linear layer takes those of all "
                "64.",
                6 * 6,
            ),
            usual(
                "That is the shape. The linear layer takes it as one row: multiply.",
                (64, 6, 6),
                (1, 64, 6, 6),
            ),
        ),
    ),
    Exercise(
        "ch05",
        "smallest_loss",
        math.log(math.e + 9) - 1,
        tolerance=3e-4,
        hint="Take 1 for the right class and 0 for the others, as logits, and write the sum out.",
        mistakes=(
            usual(
                "0 is what logits can come near to, since they may grow without bound. Here the "
                "largest input is 1, and softmax makes little of a lead of 1.",
                0.0,
            ),
            usual(
                "That is the logarithm of 10, the loss of knowing nothing. Certainty should cost "
                "less.",
                math.log(10),
            ),
            usual(
                "That is the logarithm of the sum alone. The right class's own input is still to "
                "be subtracted.",
                math.log(math.e + 9),
            ),
            usual(
                "Your sum leaves out the right class itself, or the nine others. All ten stand in "
                "the denominator, and e to the power of 0 is 1.",
                math.log(9) - 1,
                math.log(math.e + 8) - 1,
                math.log(math.e + 10) - 1,
            ),
            usual(
                "The sign is turned round: the loss is minus a logarithm.",
                1 - math.log(math.e + 9),
            ),
        ),
    ),
    Exercise(
        "ch05",
        "paired_test",
        _paired_test,
        cases=lambda generator: [(17, 35), (35, 17), (5, 5), (0, 6), (3, 1), (12, 13)],
        mistakes=(
            usual(
                "You count one side only. That B might have been the better one was possible too, "
                "so both tails belong to it.",
                lambda only_a, only_b: _tail(min(only_a, only_b), only_a + only_b),
            ),
            usual(
                "You use the bell curve. It is an approximation; with so few digits count the "
                "throws of the coin exactly.",
                _normal_approximation,
                lambda only_a, only_b: _normal_approximation(only_a, only_b, 1),
            ),
            usual(
                "Your probability exceeds 1 where both numbers are nearly equal: the two tails "
                "share the middle. Cap it at 1.",
                lambda only_a, only_b: 2 * _tail(min(only_a, only_b), only_a + only_b),
            ),
            usual(
                "You take the probability of just this result. A more uneven one would have "
                "impressed you too, so all of those are added.",
                lambda only_a, only_b: min(
                    1.0, 2 * math.comb(only_a + only_b, only_a) / 2 ** (only_a + only_b)
                ),
                lambda only_a, only_b: math.comb(only_a + only_b, only_a) / 2 ** (only_a + only_b),
            ),
            usual(
                "You always begin to count at A's side. When A has more of them, the small tail "
                "lies on B's.",
                lambda only_a, only_b: min(1.0, 2 * _tail(only_a, only_a + only_b)),
                lambda only_a, only_b: min(1.0, 2 * _tail(only_b, only_a + only_b)),
            ),
            usual(
                "Your tail ends one too early. The result that was seen belongs to it.",
                lambda only_a, only_b: 2 * _tail(min(only_a, only_b) - 1, only_a + only_b),
            ),
        ),
    ),
    Exercise(
        "ch05",
        "weighted_mean",
        lambda losses, sizes: (losses * sizes).sum() / sizes.sum(),
        cases=_batch_losses,
        mistakes=(
            usual(
                "You take the mean of the batches' means. A short last batch then counts as much "
                "as a full one, so each of its examples counts too much.",
                lambda losses, sizes: losses.mean(),
            ),
            usual(
                "You have the sum over all examples. Divide it by their number.",
                lambda losses, sizes: (losses * sizes).sum(),
            ),
            usual(
                "You divide by the number of examples, but a batch's loss is already a mean. Make "
                "a sum of it first.",
                lambda losses, sizes: losses.sum() / sizes.sum(),
            ),
            usual(
                "You weight by the sizes, but divide by the number of batches.",
                lambda losses, sizes: (losses * sizes).mean(),
            ),
        ),
    ),
    Exercise(
        "ch05",
        "should_stop",
        _should_stop,
        cases=_loss_histories,
        mistakes=(
            usual(
                "You compare each loss with the one before it. After a bad epoch anything looks "
                "like progress: compare with the best so far.",
                _one_before,
            ),
            usual(
                "You take an equal loss for an improvement. A network that has come to rest would "
                "train on for ever.",
                _ties_count,
            ),
            usual(
                "You stop an epoch early. Patience says how many epochs in a row may pass without "
                "a new best.",
                lambda losses, patience: _waits(losses, patience - 1),
            ),
            usual(
                "You stop an epoch late. With patience 1 the first epoch that is not better is the "
                "last.",
                lambda losses, patience: _waits(losses, patience + 1),
            ),
            usual(
                "You look at the last loss alone. If one of the last few was a new best, the "
                "waiting begins again.",
                _only_the_last,
            ),
            usual(
                "Your answer is turned round: True means stop.",
                lambda losses, patience: not _should_stop(losses, patience),
            ),
        ),
    ),
)
