"""Where a network is wrong: which digit for which, how sure it was, and on what kind of digit.

counts = confusion_matrix(labels, answers)              # rows are right, columns are read
worst = most_confident_mistakes(probabilities, labels)  # the surest first
traits = measure_digits(images)                         # ink, width, slant of each digit
share_by_part(traits["slant"], answers != labels)       # errors from left- to right-leaning
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def confusion_matrix(labels: ArrayLike, answers: ArrayLike, classes: int = 10) -> NDArray[np.int64]:
    """Count how often each class was read as each.

    Parameters
    ----------
    labels, answers : int (n,)
        What is right and what was read, each from 0 to below `classes`.

    Returns
    -------
    int64 (classes, classes)
        A row for what is right, a column for what was read; the diagonal holds what was read right.

    Raises
    ------
    ValueError
        If a label or an answer is no class.
    """
    right, read = np.asarray(labels), np.asarray(answers)
    for found in (right, read):
        if found.size and not (found.min() >= 0 and found.max() < classes):
            raise ValueError(
                f"Classes are 0 to {classes - 1}, found {found.min()} to {found.max()}."
            )
    counts = np.bincount(classes * right + read, minlength=classes * classes)
    return counts.reshape(classes, classes).astype(np.int64)


def most_confident_mistakes(
    probabilities: ArrayLike, labels: ArrayLike, count: int = 10
) -> NDArray[np.int64]:
    """Return the places of the mistakes that the network was surest of, the surest first.

    Parameters
    ----------
    probabilities : float (n, classes)
    labels : int (n,)
        What is right.
    count : int
        How many at most.
    """
    shares = np.asarray(probabilities)
    wrong = np.flatnonzero(shares.argmax(1) != np.asarray(labels))
    order = np.argsort(-shares[wrong].max(1), kind="stable")
    return wrong[order][:count]


def measure_digits(images: NDArray[np.uint8]) -> dict[str, NDArray[np.float64]]:
    """Measure how each digit is written.

    Parameters
    ----------
    images : uint8 (n, height, width)
        0 is paper, 255 is full ink.

    Returns
    -------
    dict of float64 (n,)
        "ink": how much there is, in pixels of full ink. "width": of the box round the ink, over its
        height. "slant": how far the top leans to the right, as a share of the height; negative
        leans left (from the second moments of the ink). Each is 0 for an empty image.
    """
    ink = np.asarray(images) / 255
    amount = ink.sum((1, 2))
    some = np.maximum(amount, 1e-9)
    rows, columns = (np.arange(side) for side in ink.shape[1:])
    by_row, by_column = ink.sum(2), ink.sum(1)
    down = rows - (by_row @ rows / some)[:, None]  # from the middle of the ink
    right = columns - (by_column @ columns / some)[:, None]
    both = np.einsum("nrc,nr,nc->n", ink, down, right)
    tall = (by_row * down**2).sum(1)
    high, broad = (by_row > 0).sum(1), (by_column > 0).sum(1)
    return {
        "ink": amount,
        "width": broad / np.maximum(high, 1),
        "slant": -both / np.maximum(tall, 1e-9) + 0.0,
    }


def share_by_part(
    values: ArrayLike, wrong: ArrayLike, parts: int = 5
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the share of mistakes from the smallest to the largest values, in even parts.

    Parameters
    ----------
    values : float (n,)
        What the digits are sorted by.
    wrong : bool (n,)
    parts : int
        At most n.

    Returns
    -------
    middles, shares : float64 (parts,)
        The median of the values in each part, and the share of mistakes there.
    """
    numbers, missed = np.asarray(values, float), np.asarray(wrong, float)
    pieces = np.array_split(np.argsort(numbers, kind="stable"), parts)
    middles = np.array([np.median(numbers[piece]) for piece in pieces])
    return middles, np.array([missed[piece].mean() for piece in pieces])
