"""Notice that what comes in is no longer what was learnt, without knowing any label.

    watch = Cusum(mean, deviation, limit=limit_for(usual, 1_000))
    for probability in confidences:         # of what the network answers, one after another
        if watch.add(probability):
            print(f"alarm after {watch.count}")

A network that meets strange digits is less sure of them, on average. One doubtful digit says
nothing. The cumulative sum adds up what is missing to the usual, forgets it where nothing is
missing for long, and alarms when it has grown beyond what chance seldom does.

Source: Page 1954, https://doi.org/10.1093/biomet/41.1-2.100
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SLACK = 0.25  # deviations; half of the fall that it shall notice soonest


class Cusum:
    """A cumulative sum that grows while numbers lie below what is usual.

    Parameters
    ----------
    mean, deviation : float
        Of the usual numbers.
    limit : float
        In deviations: an alarm is given when the sum is larger.
    slack : float
        In deviations: what a number may lie below the mean and add nothing.

    Attributes
    ----------
    sum : float
        In deviations.
    count : int
        Numbers seen since it began.
    """

    def __init__(
        self, mean: float, deviation: float, *, limit: float, slack: float = SLACK
    ) -> None:
        if not deviation > 0:
            raise ValueError(f"deviation must be above 0, found {deviation}.")
        self.mean, self.deviation, self.limit, self.slack = mean, deviation, limit, slack
        self.sum, self.count = 0.0, 0

    def add(self, value: float) -> bool:
        """Take the next number; return whether it is an alarm, after which the sum begins anew."""
        missing = (self.mean - value) / self.deviation - self.slack
        self.sum = max(0.0, self.sum + missing)
        self.count += 1
        if self.sum <= self.limit:
            return False
        self.sum = 0.0
        return True


def find_alarms(values: NDArray[np.float64], watch: Cusum) -> list[int]:
    """Return the places of a stream at which an alarm is given."""
    return [place for place, value in enumerate(values) if watch.add(float(value))]


def limit_for(
    usual: NDArray[np.float64],
    length: int,
    *,
    chance: float = 0.05,
    slack: float = SLACK,
    trials: int = 1_000,
    seed: int = 0,
) -> float:
    """Return the limit that streams of usual numbers pass with a given chance.

    Streams are drawn from the usual numbers, with replacement: a number is taken to say nothing
    about the next. Where it does (a page is by one hand), alarms come oftener than promised.

    Parameters
    ----------
    usual : float (n,)
        What came in when all was well.
    length : int
        Numbers in a stream.
    chance : float
        Of a false alarm in a stream.

    Raises
    ------
    ValueError
        If the usual numbers are all the same, or fewer than two.
    """
    if len(usual) < 2 or not np.std(usual) > 0:
        raise ValueError("The usual numbers must differ, or nothing can be told from them.")
    draw = np.random.default_rng(seed)
    missing = (np.mean(usual) - usual) / np.std(usual) - slack
    sums, highest = np.zeros(trials), np.zeros(trials)
    for _ in range(length):
        sums = np.maximum(0.0, sums + draw.choice(missing, trials))
        highest = np.maximum(highest, sums)
    return float(np.quantile(highest, 1 - chance))
