"""What README and the pages claim, and how each number is measured again.

    python -m mnist_lab verify            lists the claims
    python -m mnist_lab verify fast       measures one again and says whether it holds

A claim names numbers of the records and a function that measures them anew; the functions are those
that made the records. No two machines train to the same last digit, so a number that has a spread
holds where the new mean lies in the record's 95 % prediction interval for the mean of so many runs:

    recorded mean ± t(n - 1) · s · sqrt(1 / n + 1 / m),  for n recorded runs and m new ones.

A number without a spread holds within the tolerance that stands beside it, and a count exactly.
Seconds belong to a machine: they are told, and not judged.

Most claims are about the test set. A second look with the same recipe and seed chooses nothing, but
it is a look: it is written into the reader's own ledger, never into the book's.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import stdtrit
from tqdm import tqdm

from mnist_lab.data import load_mnist, split
from mnist_lab.lessons.records import OWN, look_up
from mnist_lab.models import build_model, count_parameters
from mnist_lab.training import ARTICLES, PRESETS, Recipe, choose_device

from . import articles, ensemble, presets
from .recording import describe_hardware, describe_precision, log_test_look

PUBLISHED = Path(__file__).parent / "results"  # the book's records, in a checkout and in the wheel
# What the articles as promised were measured by besides; counts are of one stream, and not judged.
COUNTS = ("bits", "false_alarms", "digits_until_alarm")
PROMISED_BESIDES = (
    "validation_accuracy",
    "validation_accuracy_compressed",
    "validation_accuracy_before",
    *COUNTS,
)
FIVE_DIGITS = 0.0005  # of the 10,000: so many may turn by rounding alone, whatever the spread

Figures = dict[str, float]
Measure = Callable[[int, str], Iterator[Figures]]  # so many runs, on this device: one after another


@dataclass(frozen=True)
class Number:
    """A number that is claimed, and how near to it a new measurement has to come.

    Attributes
    ----------
    address : str
        Where it is recorded, such as "presets:results.fast.accuracy"; empty where the number
        is a fact about the data that no benchmark measured.
    fact : float, optional
        That fact.
    tolerance : float
        How far off a new measurement may be, whatever the spread.
    judged : bool
        False for what belongs to a machine, such as seconds.
    """

    address: str = ""
    fact: float | None = None
    tolerance: float = 0.0
    judged: bool = True

    def recorded(self, folder: Path = PUBLISHED) -> dict[str, Any]:
        """Return what is recorded: `mean`, and `std` and `n` where it was measured repeatedly."""
        value = self.fact if self.fact is not None else find(self.address, folder)
        return value if isinstance(value, dict) else {"mean": value, "std": None, "n": 1}


@dataclass(frozen=True)
class Claim:
    """Some numbers that are stated together, and how they are measured again.

    Attributes
    ----------
    sentence : str
        What is claimed, with {number} in place of the first number.
    numbers : dict of str to Number
        By the name that `measure` gives to each.
    measure : function of (runs, device)
        Yields what each run found.
    looks : str
        The recipe's name in the ledger, where a run scores it on the test set.
    configuration : function of the number of runs
        How that is trained, for the ledger.
    seconds : str
        Where the seconds of one run are recorded, if it trains.
    runs : int, optional
        Unless told otherwise; as many as were recorded.
    """

    sentence: str
    numbers: dict[str, Number]
    measure: Measure = field(repr=False)
    looks: str = ""
    configuration: Callable[[int], Any] = field(default=lambda runs: None, repr=False)
    seconds: str = ""
    runs: int | None = None

    @property
    def headline(self) -> str:
        """The name of the number that the sentence states."""
        return next(iter(self.numbers))

    def __str__(self) -> str:
        """Return the sentence with its number."""
        mean = self.numbers[self.headline].recorded()["mean"]
        return self.sentence.format(number=in_words(self.headline, mean))

    @property
    def recorded_runs(self) -> int:
        """How many runs the record holds."""
        return self.runs or int(self.numbers[self.headline].recorded()["n"])

    def minutes(self, runs: int) -> float:
        """How long so many runs took where they were recorded; 0 where nothing is trained."""
        return float(find(self.seconds)["mean"]) * runs / 60 if self.seconds else 0.0

    def origin(self) -> dict[str, Any]:
        """Return the part of the record that says where, when and how it was measured."""
        address = self.numbers[self.headline].address
        return find_origin(address) if address else {}

    def covers(self, address: str) -> bool:
        """Whether what stands at an address in a record is a part of one of the numbers."""
        return any(
            number.address and f"{address}.".startswith(f"{number.address}.")
            for number in self.numbers.values()
        )


@dataclass(frozen=True)
class Comparison:
    """One number as it was recorded and as it was measured again.

    Attributes
    ----------
    low, high : float or None
        Between them the new mean has to lie.
    holds : bool or None
        None where nothing is judged.
    """

    name: str
    recorded: dict[str, Any]
    measured: dict[str, Any]
    low: float | None = None
    high: float | None = None
    holds: bool | None = None


def in_words(name: str, value: float) -> str:
    """Return a number as its name asks for: a share in per cent, a count whole."""
    if "accuracy" in name:
        return f"{value:.2%}"
    if float(value).is_integer():
        return f"{value:,.0f}"
    return f"{value:.3g}" if "seconds" in name else f"{value:.4f}"


# --- Where things are recorded -------------------------------------------------------------------


def find(address: str, folder: Path = PUBLISHED) -> Any:
    """Return what stands at an address, such as "presets:results.fast.accuracy"."""
    name, _, path = address.partition(":")
    return look_up(_read(name, folder), path)


def find_origin(address: str, folder: Path = PUBLISHED) -> dict[str, Any]:
    """Return command, date, hardware and the like of what stands at an address.

    They stand at the record's top, or deeper where its parts were measured at different times.
    """
    name, _, path = address.partition(":")
    part = _read(name, folder)
    origin = part
    for key in path.split("."):
        part = part[key] if isinstance(part, dict) and key in part else {}
        if isinstance(part, dict) and "measured" in part:
            origin = part["measured"]
    keys = ("command", "date", "hardware", "precision", "versions", "device")
    return {key: origin[key] for key in keys if key in origin}


def _read(name: str, folder: Path) -> Any:
    return json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))


# --- Measuring again -----------------------------------------------------------------------------


def verify(
    claim: Claim, runs: int, device: str = "auto", ledger: Path = OWN, command: str = ""
) -> list[Comparison]:
    """Measure a claim's numbers again; write every look at the test set into the folder `ledger`.

    Raises
    ------
    ValueError
        If that is the folder of the book's own records.
    """
    if claim.looks and ledger.resolve() == PUBLISHED.resolve():
        raise ValueError(
            f"The ledger in {ledger} is the book's own: verify from another folder, which then "
            "gets one for the looks at the test set."
        )
    found: dict[str, list[float]] = {}
    chosen = str(choose_device(device))
    for run, figures in enumerate(tqdm(claim.measure(runs, chosen), total=runs, disable=None)):
        for name, value in figures.items():
            found.setdefault(name, []).append(value)
        if claim.looks and "accuracy" in figures:
            recipe = claim.looks.format(runs=runs)
            seed = 0 if "{runs}" in claim.looks else run
            how = claim.configuration(runs)
            accuracy = figures["accuracy"]
            log_test_look(ledger, recipe, how, seed, accuracy, command, remark="verified")
    return [compare(name, number, found[name]) for name, number in claim.numbers.items()]


def compare(name: str, number: Number, values: Sequence[float]) -> Comparison:
    """Hold new values of a number against what is recorded."""
    recorded = number.recorded()
    mean = float(np.mean(values))
    std = float(np.std(values, ddof=1)) if len(values) > 1 else None
    measured = {"mean": mean, "std": std, "n": len(values)}
    if not number.judged:
        return Comparison(name, recorded, measured)
    off = max(number.tolerance, prediction_half_width(recorded, len(values)))
    low, high = recorded["mean"] - off, recorded["mean"] + off
    rounding = 1e-9  # of the numbers' own arithmetic
    holds = low - rounding <= mean <= high + rounding
    return Comparison(name, recorded, measured, low, high, holds)


def prediction_half_width(recorded: dict[str, Any], runs: int) -> float:
    """Return how far the mean of new runs may lie from the recorded one, 95 times of 100.

    Half the prediction interval for the mean of `runs` values from the distribution (normal, mean
    and deviation unknown) of which the recorded values are a sample; 0 for a single value.
    """
    n, std = recorded["n"], recorded["std"]
    if n < 2 or std is None:
        return 0.0
    return float(stdtrit(n - 1, 0.975)) * float(std) * math.sqrt(1 / n + 1 / runs)


# --- The claims ----------------------------------------------------------------------------------


def count_digits(runs: int, device: str) -> Iterator[Figures]:
    """Count the digits of MNIST as the package carries it, which checks them byte for byte."""
    mnist = load_mnist()
    train, validation = split(mnist.train, seed=0)
    yield {
        "digits": len(mnist.train) + len(mnist.test),
        "training digits": len(mnist.train),
        "test digits": len(mnist.test),
        "held out of the training digits": len(validation),
        "left to train on": len(train),
    }


def count_the_articles_parameters(runs: int, device: str) -> Iterator[Figures]:
    """Build the articles' networks and count their parameters."""
    yield {name: _size(forms.as_printed) for name, forms in ARTICLES.items()}


def _size(recipe: Recipe) -> int:
    return count_parameters(build_model(recipe.model, **recipe.arguments))


def _train_preset(name: str) -> Measure:
    def measure(runs: int, device: str) -> Iterator[Figures]:
        recipe, mnist = PRESETS[name], load_mnist()
        for seed in range(runs):
            figures = presets.run_once(recipe, mnist, seed, device)
            yield {**figures, "parameters": _size(recipe)}

    return measure


def _train_article(name: str, form: str) -> Measure:
    def measure(runs: int, device: str) -> Iterator[Figures]:
        found, mnist = find(f"articles:results.{name}.{form}"), load_mnist()
        size = count_parameters(articles.build(name, form))
        for seed in range(runs):
            figures = articles.run_form(name, form, mnist, seed, device, found)
            yield {**figures, "parameters": size}

    return measure


def train_the_ensemble(runs: int, device: str) -> Iterator[Figures]:
    """Train so many networks of `best` and let them decide together."""
    with tempfile.TemporaryDirectory() as folder:
        members = ensemble.train_members("best", runs, device, Path(folder))
    test = load_mnist().test
    for member in members:
        alone = ensemble.accuracy_by_size([member], test, "best", device)
        yield {"accuracy of one": alone[0]}
    yield {"accuracy": ensemble.accuracy_by_size(members, test, "best", device)[-1]}


def _of_preset(name: str) -> Claim:
    at = f"presets:results.{name}"
    return Claim(
        f"The preset `{name}` reads {{number}} of the test digits.",
        {
            "accuracy": Number(f"{at}.accuracy", tolerance=FIVE_DIGITS),
            "parameters": Number(f"{at}.parameters"),
            "seconds": Number(f"{at}.seconds", judged=False),
        },
        _train_preset(name),
        looks=f"preset {name}",
        configuration=lambda runs: PRESETS[name],
        seconds=f"{at}.seconds",
    )


def _of_article(name: str, form: str) -> Claim:
    at = f"articles:results.{name}.{form}"
    numbers = {
        "accuracy": Number(f"{at}.accuracy", tolerance=FIVE_DIGITS),
        "loss": Number(f"{at}.loss"),
        "parameters": Number(f"{at}.parameters"),
        "seconds": Number(f"{at}.seconds", judged=False),
    }
    for key in ("accuracy_with_eval", *PROMISED_BESIDES):
        if key in find(at):
            judged = key not in COUNTS
            numbers[key] = Number(f"{at}.{key}", tolerance=FIVE_DIGITS, judged=judged)
    words = f"{name.replace('_', ' ')} {form.replace('_', ' ')}"
    return Claim(
        f"The network of {words} reads {{number}} of the test digits.",
        numbers,
        _train_article(name, form),
        looks=f"{name} {form}",
        configuration=lambda runs: articles.describe(name, form, find(at)),
        seconds=f"{at}.seconds",
    )


CLAIMS: dict[str, Claim] = {
    "digits": Claim(
        "MNIST is {number} digits, and the package carries them all.",
        {
            "digits": Number(fact=70_000),
            "training digits": Number(fact=60_000),
            "test digits": Number(fact=10_000),
            "held out of the training digits": Number(fact=5_000),
            "left to train on": Number(fact=55_000),
        },
        count_digits,
    ),
    "parameters": Claim(
        "The networks of the articles have parameters as they say: the first {number}.",
        {name: Number(f"articles:results.{name}.as_printed.parameters") for name in ARTICLES},
        count_the_articles_parameters,
    ),
    **{name: _of_preset(name) for name in PRESETS},
    "ensemble": Claim(
        "Five networks of `best` together read {number} of the test digits.",
        {
            # Digits that the networks disagree on are few: the mean hardly moves with the seeds.
            "accuracy": Number("ensemble:results.accuracy", tolerance=2 * FIVE_DIGITS),
            "accuracy of one": Number("ensemble:results.member_accuracy", tolerance=FIVE_DIGITS),
        },
        train_the_ensemble,
        looks="ensemble of {runs} x best",
        configuration=lambda runs: ensemble.configuration("best", runs),
        seconds="presets:results.best.seconds",
        runs=5,
    ),
    **{
        f"{name}_{form}": _of_article(name, form)
        for name in ARTICLES
        for form in articles.FORMS
        if form in find(f"articles:results.{name}")
    },
}


def claims_about(address: str) -> list[str]:
    """Return the names of the claims that cover a number in a record."""
    return [name for name, claim in CLAIMS.items() if claim.covers(address)]


def describe_machine(device: str = "auto") -> dict[str, str]:
    """Return hardware and precision of what measures here."""
    chosen = str(choose_device(device))
    return {
        "device": chosen,
        "hardware": describe_hardware(chosen),
        "precision": describe_precision(chosen),
    }
