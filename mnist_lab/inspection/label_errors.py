"""Whose fault it is: labels that may be wrong, and what five people said of a hundred of MNIST's.

    joint, suspects = find_label_errors(probabilities, labels)  # out-of-sample probabilities
    disputed = [vote for vote in VOTES if vote.confirmed < 3]   # fifteen of the test labels

Sources: Northcutt, Jiang and Chuang 2021, "Confident Learning: Estimating Uncertainty in Dataset
Labels"; Northcutt, Athalye and Mueller 2021, "Pervasive Label Errors in Test Sets Destabilize
Machine Learning Benchmarks", whose answers by people (`cleanlab/label-errors` on GitHub,
`mturk/mnist_mturk.json`) the table below holds.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

ASKED = 5  # people, about each digit


class Vote(NamedTuple):
    """What five people saw in one of MNIST's test digits.

    Attributes
    ----------
    place : int
        In the test set, from 0.
    label : int
        As MNIST gives it.
    other : int
        What the authors' network suggested in its place.
    confirmed, for_other, neither : int
        How many of the five saw the label, the other digit, or neither of the two.
    """

    place: int
    label: int
    other: int
    confirmed: int
    for_other: int
    neither: int


VOTES = tuple(
    Vote(*row)
    for row in (
        (947, 8, 9, 0, 5, 0),
        (1621, 0, 6, 2, 3, 0),
        (1901, 9, 4, 2, 3, 0),
        (2130, 4, 9, 2, 2, 1),
        (2462, 2, 0, 0, 4, 1),
        (2597, 5, 3, 0, 4, 1),
        (2654, 6, 1, 0, 2, 3),
        (3520, 6, 4, 2, 0, 3),
        (3558, 5, 0, 1, 4, 0),
        (5937, 5, 3, 1, 3, 1),
        (6651, 0, 6, 0, 5, 0),
        (6783, 1, 6, 2, 3, 0),
        (8527, 4, 9, 2, 2, 1),
        (9679, 6, 3, 2, 0, 3),
        (9729, 5, 6, 2, 3, 0),
        # Fifteen of the 85 whose label at least three confirmed: the eight that three did, then
        # five that four did and two that all did.
        (1232, 9, 4, 3, 2, 0),
        (1393, 5, 3, 3, 0, 2),
        (2035, 5, 3, 3, 2, 0),
        (3422, 6, 0, 3, 2, 0),
        (4201, 1, 7, 3, 2, 0),
        (4823, 9, 4, 3, 2, 0),
        (4956, 8, 4, 3, 0, 2),
        (9664, 2, 7, 3, 2, 0),
        (449, 3, 5, 4, 1, 0),
        (740, 4, 9, 4, 1, 0),
        (1226, 7, 2, 4, 1, 0),
        (2293, 9, 0, 4, 1, 0),
        (5955, 3, 8, 4, 1, 0),
        (259, 6, 0, 5, 0, 0),
        (582, 8, 2, 5, 0, 0),
    )
)
"""The fifteen test digits whose label fewer than three of five people confirmed, and fifteen more
of the hundred that they were shown."""


def find_label_errors(
    probabilities: ArrayLike, labels: ArrayLike
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find labels that are probably wrong, by confident learning.

    A class has a threshold: the mean probability that digits with its label are given for it. A
    digit counts as one of the likeliest class among those whose threshold it reaches. Where that is
    not its label, it is a suspect.

    Parameters
    ----------
    probabilities : float (n, classes)
        Each given by a network that has not learnt from that digit: of validation data, or from
        cross-validation.
    labels : int (n,)
        As they were given. Each class has at least one.

    Returns
    -------
    joint : int64 (classes, classes)
        How many digits with each label (row) count as one of each class (column).
    suspects : int64 (m,)
        Places of the suspects, the least probable label first.
    """
    shares, given = np.asarray(probabilities, np.float64), np.asarray(labels)
    count, classes = shares.shape
    own = shares[np.arange(count), given]
    thresholds = np.array([own[given == name].mean() for name in range(classes)])
    reached = np.where(shares >= thresholds - 1e-9, shares, 0)
    sure = reached.any(1)
    seen = reached.argmax(1)
    joint = np.zeros((classes, classes), np.int64)
    np.add.at(joint, (given[sure], seen[sure]), 1)
    suspects = np.flatnonzero(sure & (seen != given))
    return joint, suspects[np.argsort(own[suspects], kind="stable")]
