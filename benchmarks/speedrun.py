"""The speedrun: what a recipe has to do to count as one that reads 99 % of MNIST, and a table.

    python -m mnist_lab speedrun RECIPE      checks a recipe by these rules
    python -m benchmarks.speedrun            makes the table's record anew

About 10 minutes on one core.

The rules:

1. A recipe is a function: train(digits, seed, device) returns a network. It is given MNIST's 55,000
   training digits as bytes in memory (`digits.images`, uint8 (55000, 28, 28), and `digits.labels`),
   and nothing else to learn from. No validation digit and no test digit is seen.
2. While it trains, no file is read or written, no other process started, nothing fetched.
3. The clock runs from the call until the network is there and the device has done its work.
   Normalising, choosing and augmenting count; importing and scoring do not. One run before the
   first is not timed.
4. The seed decides: two seeds give two networks, and one seed twice the same one (the latter is
   asked of a processor only).
5. The network is an nn.Module that takes images as `Batches` gives them, float32 (n, 1, 28, 28)
   with the mean and the deviation of MNIST taken out, and returns finite logits (n, 10). What it
   does at scoring is its own affair and is not timed.
6. There are at least 30 seeds, 100 for a place in the table. The recipe stands if the lower end of
   the 95 % interval of its mean accuracy (Student's t) is at least 99.0 %.
7. Everything about a recipe is chosen on the 5,000 validation digits, which the checker scores. The
   test digits are scored once a seed, when all is chosen, and every look is written down.
8. The machine is told beside the time. There are two classes, cpu and cuda; times from different
   machines are not compared, ratios to a recipe that ran in turns with it are.

A file is seen when Python opens it, and a process or a connection when Python asks for it; what a
library does in C is not seen. The checker finds mistakes. It is no match for someone who cheats.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib.util
import os
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from mnist_lab.data import DigitSet, load_mnist, split
from mnist_lab.lessons import load_record, summarise
from mnist_lab.training import (
    PRESETS,
    Batches,
    TrainConfig,
    choose_device,
    fit,
    logits_of,
)

from .recording import (
    RESULTS,
    Record,
    as_json,
    describe_hardware,
    describe_precision,
    describes,
    make_parser,
    measured,
    read_arguments,
    wait,
    working_seconds,
)

RULES = str(__doc__).partition("The rules:\n\n")[2].rstrip()
TARGET = 0.99
FEWEST_SEEDS = 30
CLASSES = ("cpu", "cuda")
Runner = Callable[[DigitSet, int, str], nn.Module]


class BreachError(ValueError):
    """A rule that a recipe breaks; one sentence."""


# --- Recipes -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Contestant:
    """A recipe under the rules: its name, how it trains, and what it is for the ledger."""

    name: str
    train: Runner
    configuration: Any = field(repr=False)


def of_preset(name: str) -> Contestant:
    """Return one of the package's presets."""
    recipe = PRESETS[name]

    def train(digits: DigitSet, seed: int, device: str) -> nn.Module:
        config = replace(recipe.config, seed=seed)
        arguments = recipe.arguments
        run = fit(
            recipe.model, digits, config=config, arguments=arguments, device=device, progress=False
        )
        return run.model

    return Contestant(f"preset {name}", train, recipe)


def of_file(path: Path) -> Contestant:
    """Return the recipe in a file of the reader's own, which has a function `train`.

    Raises
    ------
    BreachError
        If there is no such file or function, or the file cannot be imported.
    """
    if not path.is_file():
        presets = ", ".join(PRESETS)
        raise BreachError(f"There is no file {path}; a recipe is {presets} or a file of your own.")
    spec = importlib.util.spec_from_file_location("speedrun_recipe", path)
    if path.suffix != ".py" or spec is None or spec.loader is None:
        raise BreachError(f"{path} is no Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise BreachError(f"{path} cannot be imported: {_reason(error)}") from error
    train = getattr(module, "train", None)
    if not callable(train):
        raise BreachError(f"{path} has no function train(digits, seed, device).")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Contestant(path.name, train, {"file": path.name, "sha256": digest})


def find_contestant(recipe: str) -> Contestant:
    """Return a preset by its name, or else the recipe in a file."""
    return of_preset(recipe) if recipe in PRESETS else of_file(Path(recipe))


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]


# --- The watch -----------------------------------------------------------------------------------

_FORBIDDEN = {
    "subprocess.Popen": "starts another process",
    "os.system": "starts another process",
    "os.exec": "starts another process",
    "os.fork": "starts another process",
    "os.posix_spawn": "starts another process",
    "socket.connect": "asks the network",
    "socket.getaddrinfo": "asks the network",
}
# What an import opens: code, and what is written beside an installed package about it.
_CODE = re.compile(r"\.(py|pyc|zip|so[.\d]*|pyd|dll|dylib)$|\.(dist|egg)-info\b")
_SYSTEM = ("/proc/", "/sys/", "/dev/")


class _Watch:
    """Python's audit hook, which can be hung up but never taken down: here it can look away."""

    def __init__(self) -> None:
        self.hung = self.looks = False
        self.breaches: list[str] = []

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.looks:
            return
        breach = _FORBIDDEN.get(event, "")
        if event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
            name = os.fsdecode(arguments[0])
            if not _CODE.search(name) and not name.startswith(_SYSTEM):
                breach = f"opens the file {name}"
        if breach:
            self.breaches.append(breach)
            raise BreachError(f"The recipe {breach} while it trains.")


_WATCH = _Watch()


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """Refuse files, processes and connections in here, also where the recipe catches the error.

    Raises
    ------
    BreachError
    """
    if not _WATCH.hung:
        sys.addaudithook(_WATCH)
        _WATCH.hung = True
    _WATCH.breaches.clear()
    _WATCH.looks = True
    try:
        yield
    finally:
        _WATCH.looks = False
    if _WATCH.breaches:
        raise BreachError(f"The recipe {_WATCH.breaches[0]} while it trains.")


# --- One run -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Lap:
    """One run of a recipe: its network, and the seconds on the wall and of the processor."""

    model: nn.Module
    seconds: float
    process_seconds: float


def run_lap(contestant: Contestant, digits: DigitSet, seed: int, device: str) -> Lap:
    """Train once, with the clock running and the watch on.

    Raises
    ------
    BreachError
        If the recipe breaks a rule, or breaks down.
    """
    wait(device)
    started, worked = time.perf_counter(), working_seconds()
    try:
        with watched():
            model = contestant.train(digits, seed, device)
        wait(device)
    except BreachError:
        raise
    except Exception as error:
        raise BreachError(f"{contestant.name} fails with seed {seed}: {_reason(error)}") from error
    seconds, process_seconds = time.perf_counter() - started, working_seconds() - worked
    if not isinstance(model, nn.Module):
        raise BreachError(f"{contestant.name} returns a {type(model).__name__}, not an nn.Module.")
    return Lap(model, seconds, process_seconds)


def read(model: nn.Module, batches: Batches) -> Tensor:
    """Return a network's logits, checked: (n, 10), finite.

    Raises
    ------
    BreachError
    """
    try:
        logits = logits_of(model, batches).float().cpu()
    except Exception as error:
        raise BreachError(f"The network cannot read images: {_reason(error)}") from error
    if logits.shape != (len(batches.labels), 10):
        shape = " x ".join(map(str, logits.shape))
        wanted = f"{len(batches.labels)} x 10"
        raise BreachError(f"The network returns {shape} numbers in place of {wanted}.")
    if not bool(logits.isfinite().all()):
        raise BreachError("The network returns numbers that are not finite.")
    return logits


def share_right(logits: Tensor, batches: Batches) -> float:
    """Return the share of digits whose largest logit is the right class's."""
    right = logits.argmax(1) == batches.labels.cpu()
    return int(right.sum()) / len(right)


def score(model: nn.Module, batches: Batches) -> float:
    """Return a network's accuracy, its logits checked."""
    return share_right(read(model, batches), batches)


# --- The check -----------------------------------------------------------------------------------


@dataclass
class Checked:
    """What a recipe did, seed by seed.

    Attributes
    ----------
    accuracy, validation_accuracy : list of float
        On the test digits, which only some checks score, and on the validation digits.
    seconds, process_seconds : list of float
    """

    accuracy: list[float] = field(default_factory=list)
    validation_accuracy: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    process_seconds: list[float] = field(default_factory=list)

    def describe(self) -> dict[str, Any]:
        """Return it as records and --json have it; `stands` is judged on what was scored last."""
        parts = {name: summarise(values) for name, values in vars(self).items() if values}
        judged = parts.get("accuracy", parts["validation_accuracy"])
        for name in ("seconds", "process_seconds"):
            parts[name]["median"] = round(statistics.median(vars(self)[name]), 4)
        return {**parts, "stands": stands(judged)}


def stands(summary: Mapping[str, Any]) -> bool:
    """Tell whether a summarised accuracy reaches the target with enough seeds."""
    return summary["n"] >= FEWEST_SEEDS and summary["low"] >= TARGET


class Checker:
    """Runs a recipe from one seed after another, and refuses it when it breaks a rule.

    Parameters
    ----------
    contestant : Contestant
    digits : DigitSet
        To train on.
    held_out : Batches
        Validation digits.
    device : str
    """

    def __init__(
        self, contestant: Contestant, digits: DigitSet, held_out: Batches, device: str
    ) -> None:
        self.contestant, self.digits, self.held_out = contestant, digits, held_out
        self.device = device
        self.checked = Checked()
        self._of_warm_up: tuple[int, Tensor] | None = None
        self._last: Tensor | None = None

    def warm_up(self, seed: int = 0) -> None:
        """Run once without the clock."""
        # What torch loads when it first trains is nobody's breach.
        few = self.digits.subset(np.arange(min(100, len(self.digits))))
        fit("linear", few, config=TrainConfig(epochs=1), device=self.device, progress=False)
        model = run_lap(self.contestant, self.digits, seed, self.device).model
        self._of_warm_up = seed, read(model, self.held_out)

    def run(self, seed: int) -> nn.Module:
        """Run once from a seed, score it on validation digits, and return the network."""
        lap = run_lap(self.contestant, self.digits, seed, self.device)
        logits = read(lap.model, self.held_out)
        name = self.contestant.name
        if self._last is not None and torch.equal(self._last, logits):
            raise BreachError(f"{name} gives the same network for two seeds.")
        if self._of_warm_up is not None and self.device == "cpu":
            first, before = self._of_warm_up
            if seed == first and not torch.allclose(before, logits, rtol=1e-3, atol=1e-3):
                raise BreachError(f"{name} gives two networks for one seed.")
        self._last = logits
        self.checked.validation_accuracy.append(share_right(logits, self.held_out))
        self.checked.seconds.append(lap.seconds)
        self.checked.process_seconds.append(lap.process_seconds)
        return lap.model


def check(
    contestant: Contestant,
    seeds: int,
    device: str,
    score_once: Callable[[int, Callable[[], float]], float] | None = None,
) -> Checked:
    """Check a recipe by the rules.

    Parameters
    ----------
    contestant : Contestant
    seeds : int
        From 0 on.
    device : {"cpu", "cuda"}
    score_once : function of (seed, score), optional
        Looks at the test digits by `score` and writes the look down; without it nobody looks.

    Raises
    ------
    BreachError
        If the recipe breaks a rule, or there are too few seeds.
    """
    if seeds < FEWEST_SEEDS:
        raise BreachError(f"{seeds} seeds are too few: the rules ask for {FEWEST_SEEDS}.")
    mnist = load_mnist()
    train_part, validation = split(mnist.train, seed=0)
    checker = Checker(contestant, train_part, Batches(validation, device=device), device)
    checker.warm_up()
    test = Batches(mnist.test, device=device) if score_once else None
    for seed in tqdm(range(seeds), desc=contestant.name, disable=None):
        model = checker.run(seed)
        if score_once and test is not None:
            checker.checked.accuracy.append(score_once(seed, partial(score, model, test)))
    return checker.checked


# --- The table of records ------------------------------------------------------------------------

# In turns, and so often: the public recipe takes long, and 30 seeds are what its author had.
TABLE = {"fast": 100, "train_mnist_fast": 30}


def of_the_public() -> Contestant:
    """Return the public recipe, train_mnist_fast."""
    from .speed import RUNGS  # needs torchvision, which the checker does not

    rung = RUNGS["one_pass"]

    def train(digits: DigitSet, seed: int, device: str) -> nn.Module:
        return rung.train(digits, seed, device)[0]

    return Contestant("speed one_pass", train, rung.configuration("cpu"))


def records() -> dict[str, Any]:
    """Return what the table of records has, without the single seeds' values."""
    results = load_record("speedrun")["results"]
    return {
        name: {
            key: {k: v for k, v in part.items() if k != "values"} if "n" in part else part
            for key, part in row.items()
            if isinstance(part, dict) and key != "recipe"
        }
        | {"stands": row["stands"]}
        for name, row in results.items()
    }


def table() -> list[str]:
    """Return the table of records as lines to print, the quickest first."""
    record = load_record("speedrun")
    rows = sorted(record["results"].items(), key=lambda row: row[1]["seconds"]["median"])
    lines = [f"{name}: {in_one_line(row)}" for name, row in rows]
    if "ratio" in record:
        lines.append(f"fast needs {record['ratio']:.2f} of train_mnist_fast's time.")
    return [*lines, f"class {record['device']}: {record['hardware']}"]


def prepare(device: str, threads: int | None) -> dict[str, Any]:
    """Take the device and the threads that were asked for, and describe the machine.

    Raises
    ------
    ValueError
        If there is no such device.
    """
    choose_device(device)
    if threads is not None:
        torch.set_num_threads(threads)
    return {
        "device": device,
        "hardware": describe_hardware(device),
        "precision": describe_precision(device),
        "threads": torch.get_num_threads(),
    }


def look_once(
    contestant: Contestant, folder: Path, command: str
) -> Callable[[int, Callable[[], float]], float]:
    """Return what scores a seed on the test digits once: from the ledger in `folder`, if it can.

    Raises
    ------
    ValueError
        If that is the ledger of the book's own records.
    """
    if folder.resolve() == RESULTS.resolve():
        raise ValueError(f"The ledger in {folder} is the book's own: start from another folder.")
    arguments = argparse.Namespace(results=folder)
    record = Record("speedrun", arguments, resume=False)
    record.command = command

    def look(seed: int, score: Callable[[], float]) -> float:
        return record.score_once(contestant.name, contestant.configuration, seed, score)

    return look


def in_one_line(row: Mapping[str, Any]) -> str:
    """Say how accurate a recipe is, how sure that is, and how long it takes."""
    part = "accuracy" if "accuracy" in row else "validation_accuracy"
    judged = row[part]
    words = f"{judged['mean']:.2%}"
    if judged["n"] > 1:
        words += f" ± {judged['std']:.2%}"
    words += f" of the {'test' if part == 'accuracy' else 'validation'} digits"
    if judged["n"] > 1:
        interval = f"{judged['low']:.3%} to {judged['high']:.3%}"
        words += f" over {judged['n']} seeds (95 % interval of the mean {interval})"
    verdict = "stands" if row["stands"] else "does not stand"
    seconds = (row[clock]["median"] for clock in ("seconds", "process_seconds"))
    times = "{:.2f} s, {:.2f} s of the processor".format(*seconds)
    return f"{words}, {times}: {verdict}"


def main() -> None:
    """Run the table's recipes in turns, as far as the record lacks them."""
    arguments = read_arguments(
        make_parser(__doc__, seeds=100, only=TABLE, devices=CLASSES, threads=1)
    )
    device = str(choose_device(arguments.device))
    record = Record("speedrun", arguments, {"target": TARGET})
    mnist = load_mnist()
    train_part, validation = split(mnist.train, seed=0)
    held_out = Batches(validation, device=device)
    test = Batches(mnist.test, device=device)
    checkers = {
        name: Checker(
            of_preset(name) if name in PRESETS else of_the_public(), train_part, held_out, device
        )
        for name in arguments.only
    }
    for checker in checkers.values():
        checker.warm_up()
    for turn in tqdm(range(arguments.seeds)):
        for name, checker in checkers.items():
            contestant, entry = checker.contestant, record.entry(name)
            seeds, every = TABLE[name], 100 // TABLE[name]
            if not describes(entry.get("recipe"), contestant.configuration):
                entry.clear()  # the record is of another recipe of this name
                entry["recipe"] = as_json(contestant.configuration)
            seed = turn // every  # spread over the turns, as a machine is not always alike
            if turn % every or not measured(entry, "accuracy") <= seed < seeds:
                continue
            model = checker.run(seed)
            accuracy = record.score_once(
                contestant.name, contestant.configuration, seed, partial(score, model, test)
            )
            checker.checked.accuracy.append(accuracy)
            _extend(entry, checker.checked)
        record.save()
    conclude(record)


def _extend(entry: dict[str, Any], checked: Checked) -> None:
    """Add the newest run to what the record has of a recipe."""
    before = {name: entry.get(name, {}).get("values", []) for name in vars(checked)}
    lists = {name: [*before[name], values[-1]] for name, values in vars(checked).items()}
    entry.update(Checked(**lists).describe())


def conclude(record: Record) -> None:
    """Say who stands, and how long our recipe takes beside the public one."""
    results = record.results
    if all(name in results for name in TABLE):
        medians = [results[name]["process_seconds"]["median"] for name in TABLE]
        record.parts["ratio"] = round(medians[0] / medians[1], 3)
    record.save()
    for name, row in results.items():
        print(f"{name}: {in_one_line(row)}")


if __name__ == "__main__":
    main()
