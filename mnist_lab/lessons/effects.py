"""What a cell has measured: held to its bound, beside what was recorded over several seeds.

    show_effect("ch07 batch normalisation", normed.accuracy - deep.accuracy, above=0.4)

    batch normalisation
      recorded: +69.9 ± 4.1 points (5 seeds)
      asserted here: more than +40

What training gives differs a little between processors, so that nbval could not compare the number
of one run. It compares the record, and the cell fails where its own number passes the bound. A run
that is far from the record, as after a change of yours, shows its own number too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mnist_lab.lessons.records import load_record

FAR = 5  # standard deviations from the mean: no seed is, and no other processor
# By how much a number is multiplied to be shown in a unit, and whether its sign tells something.
UNITS = {"points": (100, True), "%": (100, False)}

_collected: dict[str, float] | None = None


def show_effect(
    name: str,
    value: float,
    *,
    above: float | None = None,
    below: float | None = None,
    unit: str = "points",
) -> None:
    """Hold a measured value to its bound, and print the record beside the bound.

    Parameters
    ----------
    name : str
        Of the effect in the record `chapters`: "ch07 batch normalisation".
    value : float
        What this run has measured.
    above, below : float
        One of them, which the value has to pass. `python -m benchmarks.chapters` records the value
        from several seeds, and a test holds the bound three standard deviations away.
    unit : str
        "points" for a difference of two shares, "%" for a share, both of which are printed a
        hundredfold; or what the number counts: "nats", "epochs", "times".

    Raises
    ------
    AssertionError
        If the value does not pass the bound.
    KeyError
        If no effect of this name was recorded.
    """
    if (above is None) == (below is None):
        raise TypeError("An effect has one bound: above=... or below=...")
    if _collected is not None:
        _collected[name] = float(value)
        return
    try:
        record = load_record("chapters")["results"][name]
    except KeyError:
        raise KeyError(f"No effect {name!r} was recorded: python -m benchmarks.chapters") from None
    mean, std = record["mean"], record["std"]
    word, bound = ("more", above) if above is not None else ("less", below)
    assert bound is not None
    asserted = f"{word} than {_show(bound, unit)}"
    label = name.partition(" ")[2]
    if not (value > bound if above is not None else value < bound):
        raise AssertionError(
            f"{label}: {_show(value, unit)} {unit} in this run; asserted: {asserted}, "
            f"recorded: {_show(mean, unit)}"
        )
    decimals = _decimals(std, unit)
    spread = _show(std, unit, decimals, signed=False)
    lines = [
        label,
        f"  recorded: {_show(mean, unit, decimals)} ± {spread} {unit} ({record['n']} seeds)",
        f"  asserted here: {asserted}",
    ]
    if abs(value - mean) > max(FAR * std, 0.02 * abs(mean)):
        lines.append(f"  this run: {_show(value, unit, decimals)} {unit}")
    print("\n".join(lines))  # noqa: T201


def _decimals(std: float, unit: str) -> int:
    """Return how many digits after the point a spread needs to show one that is not 0."""
    shown = std * UNITS.get(unit, (1, False))[0]
    return min(3, max(1, math.ceil(-math.log10(shown)))) if shown else 1


def _show(value: float, unit: str, decimals: int | None = None, *, signed: bool = True) -> str:
    """Return a number in its unit, with so many digits after the point or as few as it needs."""
    factor, has_sign = UNITS.get(unit, (1, False))
    sign = "+" if has_sign and signed else ""
    shown = factor * value
    return f"{shown:{sign}.4g}" if decimals is None else f"{shown:{sign}.{decimals}f}"


@contextmanager
def collect_effects() -> Iterator[dict[str, Any]]:
    """Have `show_effect` keep what was measured, by name, and neither assert nor print."""
    global _collected
    _collected = {}
    try:
        yield _collected
    finally:
        _collected = None
