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


def wilson_interval(correct: float, count: int) -> tuple[float, float]:
    """Return the 95 % interval of an accuracy measured on `count` images (Wilson 1927).

    Parameters
    ----------
    correct : float
        How many of them were read. A fraction is taken too, to ask what an accuracy would be worth.
    count : int

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
