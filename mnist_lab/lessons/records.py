"""Recorded results: what took longer to measure than a chapter may take.

    record = load_record("articles")
    record["results"]["article_002"]["as_printed"]["accuracy"]["mean"]

The records are made by the scripts in `benchmarks/` and kept in `benchmarks/results/`; the wheel
carries both as `mnist_lab/benchmarks/`, since in Colab only the package is there. What you have
measured yourself, with `python -m mnist_lab bench`, comes first.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

# What scipy.stats.t.ppf and norm.ppf call; scipy.stats itself takes half a second to import.
from scipy.special import ndtri, stdtrit

_UPPER = 0.975  # an interval of 95 % leaves 2.5 % above it, and as much below

OWN = Path("results")  # in the current folder: what the reader has measured


def load_record(name: str) -> dict[str, Any]:
    """Return the record `name`, as its benchmark wrote it.

    Where the reader has measured all of it, that is what is returned.

    Raises
    ------
    FileNotFoundError
        If there is none of that name.
    """
    in_wheel = resources.files("mnist_lab").joinpath("benchmarks", "results", f"{name}.json")
    in_checkout = Path(__file__).parents[2] / "benchmarks" / "results" / f"{name}.json"
    ours: dict[str, Any] | None = None
    for place in (in_wheel, in_checkout):
        if ours is None and place.is_file():
            ours = json.loads(place.read_text(encoding="utf-8"))
    record = _load_own(name, ours or {}) or ours
    if record is None:
        raise FileNotFoundError(f"There is no recorded result called {name!r}.")
    return record


def _load_own(name: str, ours: dict[str, Any]) -> dict[str, Any] | None:
    """Return what the reader has measured, if it lacks nothing that a chapter shows."""
    try:
        own = json.loads((OWN / f"{name}.json").read_text(encoding="utf-8"))
        if not own["command"].startswith("python -m benchmarks."):
            return None  # other programs have such folders too
        parts = (own, ours), (own["results"], ours.get("results", {}))
        lacks = any(theirs.keys() - mine.keys() - {"process_seconds"} for mine, theirs in parts)
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None
    return None if lacks else own


def load_records(name: str) -> list[dict[str, Any]]:
    """Return the record `name`, and beside it that of a GPU where there is one."""
    records = [load_record(name)]
    for device in ("cuda", "mps"):
        with suppress(FileNotFoundError):
            records.append(load_record(f"{name}_{device}"))
    return records


def look_up(record: Any, path: str) -> Any:
    """Follow `path`, keys (or list positions) joined by dots, into a record.

        look_up(load_record("speed"), "results.fast.accuracy.mean")

    Raises
    ------
    KeyError
        With the part of the path that is not there, and what is there instead.
    """
    value = record
    walked = ""
    for key in path.split("."):
        walked = f"{walked}.{key}" if walked else key
        if isinstance(value, dict) and key in value:
            value = value[key]
        elif isinstance(value, list) and key.isdecimal() and int(key) < len(value):
            value = value[int(key)]
        else:
            found = ", ".join(map(str, value)) if isinstance(value, dict) else repr(value)[:60]
            raise KeyError(f"'{walked}' is not there (found: {found})")
    return value


def summarise(values: Sequence[float]) -> dict[str, Any]:
    """Return mean, standard deviation (n - 1) and the 95 % interval of the mean (Student's t).

    Returns
    -------
    dict
        `mean`, `std`, `low`, `high`, `n` and the `values`, rounded to six digits after the point.
        One value has no spread: its `std`, `low` and `high` are None.

    Raises
    ------
    ValueError
        If there is no value.
    """
    if not values:
        raise ValueError("There is nothing to summarise.")
    n, mean = len(values), float(np.mean(values))
    std = float(np.std(values, ddof=1)) if n > 1 else math.nan
    half = float(stdtrit(n - 1, _UPPER)) * std / math.sqrt(n) if n > 1 else math.nan
    numbers = {"mean": mean, "std": std, "low": mean - half, "high": mean + half}
    rounded = {k: None if math.isnan(v) else round(v, 6) for k, v in numbers.items()}
    return {**rounded, "n": n, "values": [round(float(v), 6) for v in values]}


def in_percent(summary: Mapping[str, Any], decimals: int = 1) -> str:
    """Return the shares that `summarise` has summarised as a table shows them: "98.4 ± 0.2"."""
    shown = [summary["mean"]] if summary["std"] is None else [summary["mean"], summary["std"]]
    return " ± ".join(f"{100 * share:.{decimals}f}" for share in shown)


def wilson_interval(correct: float, count: float) -> tuple[float, float]:
    """Return the 95 % interval of an accuracy measured on `count` images (Wilson 1927).

    It takes them for independent of each other. Where several are by one writer they are not:
    `clustered_interval` then says how far the accuracy can be trusted.

    Parameters
    ----------
    correct : float
        How many of them were read. A fraction is taken too, to ask what an accuracy would be worth.
    count : float

    Raises
    ------
    ValueError
        If `correct` does not lie between 0 and `count`, or nothing was measured.
    """
    if not 0 <= correct <= count or count == 0:
        raise ValueError(f"{correct} of {count} is no share.")
    share, z = correct / count, float(ndtri(_UPPER))
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    spread = math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    half = z * spread / (1 + z * z / count)
    # At the ends of the scale the interval ends there too, and not a rounding error beside it.
    low = 0.0 if correct == 0 else centre - half
    high = 1.0 if correct == count else centre + half
    return low, high


def design_effect(correct: ArrayLike, writers: ArrayLike) -> float:
    """Return how many times as large an accuracy's variance is as if each digit had its own writer.

    Above 1 some writers are harder to read than others, and a digit says less than one of a new
    person would. The variance comes from the writers: how far the right answers on one person's
    digits lie from what the accuracy of all would give (the ratio estimator's, linearised).

    Parameters
    ----------
    correct : bool (n,)
        Whether each digit was read.
    writers : int (n,)
        Who wrote it.

    Returns
    -------
    float
        Kish's design effect. 1 where all digits were read, or none: that shows no difference.

    Raises
    ------
    ValueError
        If the two do not fit together, or fewer than two people wrote.

    Source: Kish 1965, "Survey Sampling". For sets of questions about one text, in the evaluation
    of language models, the same is done in Miller 2024, "Adding Error Bars to Evals".
    """
    right, people = _by_writer(correct, writers)
    count, share = len(right), right.mean()
    if share in (0, 1):
        return 1.0
    beyond = np.bincount(people, weights=right - share)  # of each writer
    variance = (beyond**2).sum() / count**2 * len(beyond) / (len(beyond) - 1)
    return float(variance * (count - 1) / (share * (1 - share)))


def clustered_interval(correct: ArrayLike, writers: ArrayLike) -> tuple[float, float]:
    """Return the 95 % interval of an accuracy on digits of which several are by one writer.

    It is Wilson's for as many independent digits as tell as much: their number divided by the
    design effect. Few writers leave the design effect itself uncertain, so Student's t for
    writers - 1 takes the place of the normal distribution. With one digit a writer it is Wilson's
    own interval, and never narrower: that some writers are harder cannot make a figure surer.

    Parameters
    ----------
    correct : bool (n,)
        Whether each digit was read.
    writers : int (n,)
        Who wrote it: equal numbers, one person.

    Raises
    ------
    ValueError
        If the two do not fit together, or fewer than two people wrote.

    Source: Korn and Graubard 1998, "Confidence intervals for proportions with small expected number
    of positive counts estimated from survey data", for this effective number; they put it into
    Clopper and Pearson's interval.
    """
    right, people = _by_writer(correct, writers)
    count = len(right)
    of_digits, of_writers = stdtrit([count - 1, people.max()], _UPPER)
    worth = count / max(1.0, design_effect(right, people)) * (of_digits / of_writers) ** 2
    return wilson_interval(float(right.mean()) * worth, worth)


def _by_writer(
    correct: ArrayLike, writers: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return 1 or 0 for each digit, and whose it is: writers as they count from 0."""
    right, people = np.asarray(correct), np.asarray(writers)
    if right.ndim != 1 or right.shape != people.shape:
        raise ValueError(f"{right.shape} answers do not fit {people.shape} writers; both are (n,).")
    if not np.isin(right, (0, 1)).all():
        raise ValueError("An answer is right or wrong: True or False.")
    number = np.unique(people, return_inverse=True)[1]
    if len(number) == 0 or number.max() == 0:
        raise ValueError("Two writers at least are needed to see how much they differ.")
    return right.astype(np.float64), number
