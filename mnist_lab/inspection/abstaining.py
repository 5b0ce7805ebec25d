"""When to say "that is no digit": how sure a network is, and what abstaining costs.

    sure = SURENESS["energy"](logits)               # larger is surer
    near = FeatureDistance(features, labels)        # fitted on training digits
    sure = near(features_of_others)
    threshold = choose_threshold(sure, refused=0.01)    # on validation digits: 1 % are refused
    auroc(sure_of_digits, sure_of_others)           # 1: told apart; 0.5: not at all
    risk_at(sure, right, coverage=0.95)             # errors among the surest 95 %

Sources: Chow 1970, "On Optimum Recognition Error and Reject Tradeoff"; Hendrycks and Gimpel 2017,
"A Baseline for Detecting Misclassified and Out-of-Distribution Examples in Neural Networks"; Liu et
al. 2020, "Energy-based Out-of-distribution Detection"; Lee et al. 2018, "A Simple Unified Framework
for Detecting Out-of-Distribution Samples and Adversarial Attacks" (distance); Geifman and El-Yaniv
2017, "Selective Classification for Deep Neural Networks" (risk and coverage).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp, softmax
from scipy.stats import rankdata

_Floats = NDArray[np.float64]


def max_probability(logits: ArrayLike) -> _Floats:
    """Return the probability of the likeliest class, (n,), of logits (n, classes)."""
    shares: _Floats = softmax(np.asarray(logits, np.float64), axis=1)
    return shares.max(1)


def margin(logits: ArrayLike) -> _Floats:
    """Return by how much the highest logit lies above the next, (n,), of logits (n, classes)."""
    two = np.sort(np.asarray(logits, np.float64), axis=1)[:, -2:]
    return two[:, 1] - two[:, 0]


def energy(logits: ArrayLike) -> _Floats:
    """Return log of the sum of exp of the logits, (n,): minus what Liu et al. call the energy.

    The softmax forgets how large all logits are together; this keeps it.
    """
    total: _Floats = logsumexp(np.asarray(logits, np.float64), axis=1)
    return total


SURENESS: dict[str, Callable[[ArrayLike], _Floats]] = {
    "maximum probability": max_probability,
    "margin": margin,
    "energy": energy,
}
"""Scores of logits by name; larger is surer."""


class FeatureDistance:
    """How near features lie to those of some class: minus Mahalanobis' distance, squared.

    Every class has its own mean; all share the spread round it. A direction in which digits hardly
    differ weighs much, one in which they differ anyway weighs little.

    Parameters
    ----------
    features : float (n, width)
        Of digits that the network was trained on.
    labels : int (n,)
    ridge : float
        Share of the mean variance that is added to every direction, so that one in which nothing
        varies (a unit that never fires) does not count without end.
    """

    def __init__(self, features: ArrayLike, labels: ArrayLike, *, ridge: float = 0.01) -> None:
        known, names = np.asarray(features, np.float64), np.asarray(labels)
        classes = np.unique(names)
        self.means = np.stack([known[names == name].mean(0) for name in classes])
        apart = known - self.means[np.searchsorted(classes, names)]
        spread = apart.T @ apart / len(apart)
        spread += ridge * np.trace(spread) / len(spread) * np.eye(len(spread))
        # With L L^T the inverse, the distance is an ordinary one of what L^T makes of features.
        self._whiten = np.linalg.cholesky(np.linalg.inv(spread))
        self._centres = self.means @ self._whiten

    def __call__(self, features: ArrayLike) -> _Floats:
        """Return minus the squared distance to the nearest class, (n,), of features (n, width)."""
        found = np.asarray(features, np.float64) @ self._whiten
        squares = (found**2).sum(1)[:, None] + (self._centres**2).sum(1)
        distances = squares - 2 * found @ self._centres.T
        return -distances.min(1)


def choose_threshold(sure: ArrayLike, refused: float) -> float:
    """Return the threshold below which at most the share `refused` of these digits lies.

    Parameters
    ----------
    sure : float (n,)
        Of validation digits: neither of those that were learnt, nor of those that are reported.
    refused : float
        From 0 to below 1. What is not below the threshold is answered.
    """
    if not 0 <= refused < 1:
        raise ValueError(f"refused is a share from 0 to below 1, found {refused}.")
    ordered = np.sort(np.asarray(sure, np.float64))
    return float(ordered[int(refused * len(ordered))])


def auroc(sure: ArrayLike, sure_of_others: ArrayLike) -> float:
    """Return with what chance a digit is surer than something else; ties count half.

    That is the area under the ROC curve, which shows for each threshold how many others are refused
    against how many digits are.
    """
    ours, others = np.asarray(sure, np.float64), np.asarray(sure_of_others, np.float64)
    ranks = rankdata(np.concatenate([ours, others]))[: len(ours)]
    below = ranks.sum() - len(ours) * (len(ours) + 1) / 2
    return float(below / (len(ours) * len(others)))


def refused_curve(sure: ArrayLike, sure_of_others: ArrayLike) -> tuple[_Floats, _Floats]:
    """Return the shares of digits and of others that are refused, threshold by threshold.

    Returns
    -------
    digits, others : float64 (m,)
        Both rise from 0 to 1: a ROC curve.
    """
    ours, others = np.sort(np.asarray(sure, float)), np.sort(np.asarray(sure_of_others, float))
    thresholds = np.append(np.unique(np.concatenate([ours, others])), np.inf)
    below = [np.searchsorted(scores, thresholds) / len(scores) for scores in (ours, others)]
    return below[0], below[1]


def risk_coverage(sure: ArrayLike, right: ArrayLike) -> tuple[_Floats, _Floats]:
    """Return what share is answered and what share of that is wrong, from the surest answer on.

    Parameters
    ----------
    sure : float (n,)
    right : bool (n,)

    Returns
    -------
    coverage, risk : float64 (n,)
        The last is all answers, and the error without abstaining.
    """
    order = np.argsort(-np.asarray(sure, np.float64), kind="stable")
    counts = np.arange(1, len(order) + 1)
    wrong = np.cumsum(~np.asarray(right, bool)[order])
    return counts / len(order), wrong / counts


def risk_at(sure: ArrayLike, right: ArrayLike, coverage: float = 0.95) -> float:
    """Return the share of mistakes among the surest answers that make up `coverage` of all."""
    shares, risks = risk_coverage(sure, right)
    return float(risks[np.searchsorted(shares, coverage - 1e-12)])
