"""Whether probabilities can be taken at their word, and how to mend them by one number.

    bins = reliability(probabilities, labels)           # how sure, and how often right
    calibration_error(probabilities, labels)            # the mean gap between the two
    chance_gap(probabilities)                           # what a faultless network would show
    temperature = fit_temperature(logits, labels)       # on validation data
    probabilities = soften(logits, temperature)

Sources: Naeini, Cooper and Hauskrecht 2015, "Obtaining Well Calibrated Probabilities Using Bayesian
Binning" (the error in bins); Guo et al. 2017, "On Calibration of Modern Neural Networks"
(temperature); Gneiting and Raftery 2007, "Strictly Proper Scoring Rules" (Brier, logarithm).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

_LEAST, _MOST = 0.05, 20.0  # temperatures that are looked at


@dataclass(frozen=True)
class Reliability:
    """Answers in bins by how sure they were.

    Attributes
    ----------
    confidences : float64 (bins,)
        Mean probability of the answers in each bin; NaN where there is none.
    accuracies : float64 (bins,)
        What share of them is right; NaN where there is none.
    counts : int64 (bins,)
    """

    confidences: NDArray[np.float64]
    accuracies: NDArray[np.float64]
    counts: NDArray[np.int64]

    @property
    def error(self) -> float:
        """The expected calibration error: the mean gap, each bin weighing as many as are in it."""
        some = self.counts > 0
        gaps = np.abs(self.confidences[some] - self.accuracies[some])
        return float(gaps @ self.counts[some] / self.counts.sum())


def reliability(probabilities: ArrayLike, labels: ArrayLike, bins: int = 15) -> Reliability:
    """Put answers into bins of equal width by the probability of the likeliest class.

    Parameters
    ----------
    probabilities : float (n, classes)
    labels : int (n,)
        What is right.
    bins : int
        A probability on the edge of two counts to the lower one.
    """
    shares = np.asarray(probabilities)
    sure = shares.max(1)
    return _bin(sure, shares.argmax(1) == np.asarray(labels), bins)


def _bin(sure: NDArray[np.float64], right: NDArray[np.bool_], bins: int) -> Reliability:
    place = np.clip(np.ceil(sure * bins).astype(int) - 1, 0, bins - 1)
    counts = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        confidences = np.bincount(place, sure, bins) / counts
        accuracies = np.bincount(place, right, bins) / counts
    return Reliability(confidences, accuracies, counts.astype(np.int64))


def calibration_error(probabilities: ArrayLike, labels: ArrayLike, bins: int = 15) -> float:
    """Return the expected calibration error, from 0 to 1: `reliability(...).error`."""
    return reliability(probabilities, labels, bins).error


def chance_gap(
    probabilities: ArrayLike, bins: int = 15, *, draws: int = 200, seed: int = 0
) -> float:
    """Return the calibration error that a faultless network with these probabilities would show.

    The gap in a bin counts whichever way it goes, so chance alone makes it positive: the measure is
    biased upwards, the more so the fewer answers there are. Here each answer is right with just the
    probability that was said, `draws` times; the mean of the errors is returned.
    """
    sure = np.asarray(probabilities).max(1)
    generator = np.random.default_rng(seed)
    errors = [_bin(sure, generator.random(len(sure)) < sure, bins).error for _ in range(draws)]
    return float(np.mean(errors))


def soften(logits: ArrayLike, temperature: float) -> NDArray[np.float64]:
    """Return the softmax of logits (n, classes) over a temperature; above 1 is less sure.

    Raises
    ------
    ValueError
        If the temperature is not above 0.
    """
    if not temperature > 0:
        raise ValueError(f"A temperature is above 0, found {temperature}.")
    probabilities: NDArray[np.float64] = softmax(np.asarray(logits, np.float64) / temperature, 1)
    return probabilities


def log_loss(logits: ArrayLike, labels: ArrayLike, temperature: float = 1.0) -> float:
    """Return the mean of minus the logarithm of what the right class was given, in nats."""
    scaled = log_softmax(np.asarray(logits, np.float64) / temperature, 1)
    right = np.asarray(labels)
    return float(-scaled[np.arange(len(right)), right].mean())


def brier_score(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Return the mean squared distance of probabilities (n, classes) from the right answer: 0 to 2.

    The right answer is 1 for the right class and 0 for the others.
    """
    distance = np.array(probabilities, np.float64)
    right = np.asarray(labels)
    distance[np.arange(len(right)), right] -= 1
    return float((distance**2).sum(1).mean())


def fit_temperature(logits: ArrayLike, labels: ArrayLike) -> float:
    """Return the temperature under which the right classes are likeliest.

    One number divides all logits, so no answer changes, only how sure it is. The loss has one
    valley in 1 / temperature, in which it is convex.

    Parameters
    ----------
    logits : float (n, classes)
        Of data that the network has not learnt from, and that is not reported on.
    labels : int (n,)
    """
    found = minimize_scalar(
        lambda inverse: log_loss(logits, labels, 1 / inverse),
        bounds=(1 / _MOST, 1 / _LEAST),
        method="bounded",
        options={"xatol": 1e-6},
    )
    return float(1 / found.x)
