"""What the benchmarks share: one command line, records that grow, the ledger.

    arguments = read_arguments(make_parser(__doc__, seeds=5, only=ROWS))
    record = Record("ablation", arguments, {"digits": 3_000})
    for seed in range(measured(record.entry("a row"), "accuracy"), arguments.seeds):
        add(record.entry("a row"), "accuracy", measure(seed))
        record.save("a row", seed)

A record lies in `results/`, beside the hardware, the versions, the command and the date. The ledger
(`results/ledger.json`) has one line for every look at the test set: what was trained and how, as a
name and as a fingerprint, from which seed, at which commit, and what it scored.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import os
import platform
import re
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import MISSING, Field, asdict, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mnist_lab import __version__
from mnist_lab.files import write_atomically
from mnist_lab.lessons import summarise
from mnist_lab.training import choose_device

# Who has the wheel has records of others in it: new ones go into the current folder.
RESULTS = Path(__file__).parent / "results" if __package__ == "benchmarks" else Path("results")
LEDGER = "ledger.json"  # beside the records
TEST_DIGITS = "MNIST, 10,000 test digits"
DEVICES = ("cpu", "cuda", "mps")


# --- The command line ----------------------------------------------------------------------------


def make_parser(
    description: str | None,
    *,
    seeds: int | None = None,
    draws: int | None = None,
    only: Iterable[str] | None = None,
    devices: Sequence[str] = (),
    threads: int | None = None,
    anew: bool = False,
) -> argparse.ArgumentParser:
    """Return a parser with the options that benchmarks have in common.

    Parameters
    ----------
    description : str or None
        The script's docstring.
    seeds, draws : int, optional
        How often it measures unless told otherwise: from so many seeds, or with so many draws of
        labels or pages. Without them there is no `--seeds` and no `--draws`.
    only : iterable of str, optional
        The parts that may be measured alone, with `--only`; all of them otherwise.
    devices : sequence of str
        Where it can run, the first unless told otherwise. Without any there is no `--device`.
    threads : int, optional
        How many threads torch gets unless told otherwise; without it, as many as torch chooses.
    anew : bool
        Whether a record that is there may be begun again, with `--anew`. Never in a script that
        scores the test set: no recipe gets a second look at it.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, number in (("seeds", seeds), ("draws", draws)):
        if number is not None:
            parser.add_argument(
                f"--{name}", type=int, default=number, help=f"how many (default {number})"
            )
    if only is not None:
        names = list(only)
        parser.add_argument(
            "--only", nargs="+", default=names, choices=names, help="measure these alone"
        )
    if devices:
        parser.add_argument("--device", default=devices[0], choices=devices)
    parser.add_argument(
        "--threads",
        type=int,
        default=threads,
        help=f"of torch, on the processor (default {threads or 'as torch chooses'})",
    )
    if anew:
        parser.add_argument(
            "--anew", action="store_true", help="begin a new record; what it holds now is lost"
        )
    parser.add_argument(
        "--results",
        type=Path,
        default=RESULTS,
        metavar="FOLDER",
        help=f"where the record is, and is written (default: {'/'.join(RESULTS.parts[-2:])})",
    )
    return parser


def read_arguments(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Read the command line, and give torch the threads that it asks for.

    The processes that a script starts get as many.
    """
    arguments = parser.parse_args()
    if arguments.threads is not None:
        if arguments.threads < 1:
            parser.error(f"--threads is {arguments.threads}; it has to be 1 or more.")
        torch.set_num_threads(arguments.threads)
        os.environ["OMP_NUM_THREADS"] = str(arguments.threads)
    try:
        choose_device(getattr(arguments, "device", "cpu"))
    except ValueError as error:
        parser.error(str(error))
    arguments.results = arguments.results.resolve()  # a script may change its folder
    return arguments


# --- Records -------------------------------------------------------------------------------------


def describe_hardware(device: str = "cpu") -> str:
    """Return processor, cores and threads, and the GPU if that is the device, in one line."""
    cpu = platform.processor() or platform.machine()
    cpu_info = Path("/proc/cpuinfo")
    if cpu_info.exists():
        match = re.search(r"model name\s*: (.+)", cpu_info.read_text())
        cpu = match[1] if match else cpu
    threads = torch.get_num_threads()
    words = f"{cpu}, {os.cpu_count()} cores, {threads} thread{'s' * (threads != 1)}"
    if device == "cuda" and torch.cuda.is_available():
        words += f", {torch.cuda.get_device_name()}"
    elif device != "cpu":
        words += f", {device}"
    return words


def describe_precision(device: str = "cpu") -> str:
    """Return how float32 is multiplied: some GPUs round the factors to 10 places (TF32)."""
    if device != "cuda" or not torch.cuda.is_available():
        return "float32"
    rounding = {
        "convolutions": torch.backends.cudnn.allow_tf32,
        "products": torch.backends.cuda.matmul.allow_tf32,
    }
    rounded = [name for name, allowed in rounding.items() if allowed]
    if not rounded or torch.cuda.get_device_capability() < (8, 0):
        return "float32"
    return f"float32, {' and '.join(rounded)} in TF32"


def wait(device: str | torch.device) -> None:
    """Wait until a device has done what it was asked for: a clock then measures the work."""
    kind = torch.device(device).type
    if kind != "cpu":
        torch.get_device_module(kind).synchronize()


def working_seconds(device: str | torch.device = "cpu") -> float:
    """Return a clock's seconds: the processor's own, or, as a GPU has none, those on the wall."""
    if torch.device(device).type == "cpu":
        return time.process_time()
    wait(device)
    return time.perf_counter()


def processor_seconds() -> float:
    """Return the processor's seconds so far, of this process and those that it has waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


class Record:
    """A record that grows piece by piece, and counts the seconds of the processor.

    It is written after each piece, and what it holds already need not be measured again.

    Parameters
    ----------
    script : str
        The benchmark's name, which is that of the record too. On another device than the processor
        the record has the device's name behind it: "step_cuda".
    arguments : argparse.Namespace
        What `read_arguments` returned.
    setting : dict
        What stands at the record's top and says how everything in it was measured; its values may
        be dataclasses.
    variant : str
        Makes a record of its own, as a device does.
    options : str
        Belongs to the command that makes this very record, such as "--preset best".
    resume : bool
        Whether to go on with the record that is there. Not where rivals are timed side by side:
        their seconds have to come from one run.

    Attributes
    ----------
    parts : dict
        All that was measured; most of it under "results".

    Raises
    ------
    SystemExit
        If the record that is there was measured with another setting.
    """

    def __init__(
        self,
        script: str,
        arguments: argparse.Namespace,
        setting: Mapping[str, Any] | None = None,
        *,
        variant: str = "",
        options: str = "",
        resume: bool = True,
    ) -> None:
        self.device: str = getattr(arguments, "device", "cpu")
        self._may_differ = hasattr(arguments, "device")
        names = [script, variant]
        if self.device != "cpu":
            names.append(self.device)
            options = f"{options} --device {self.device}"
        self.folder: Path = arguments.results
        self.path = self.folder / f"{'_'.join(filter(None, names))}.json"
        self.command = f"python -m benchmarks.{script} {options}".strip()
        self.setting = {key: as_json(value) for key, value in (setting or {}).items()}
        found: dict[str, Any] = {}
        if resume and not getattr(arguments, "anew", False) and self.path.exists():
            found = json.loads(self.path.read_text(encoding="utf-8"))
        for key, value in (setting or {}).items() if found else ():
            if not describes(found.get(key), value):
                raise SystemExit(
                    f"{self.path} was measured with another {key}: --anew begins it again, and "
                    "--results FOLDER makes one elsewhere."
                )
        # A GPU's seconds are those on the wall; it has no others.
        self.clock = "process_seconds" if self.device == "cpu" else "wall_seconds"
        # A record that does not say how long its first runs took cannot say how long all did.
        self.seconds: float | None = found.get(self.clock, None if found else 0.0)
        about = {*self.describe(), *self.setting, "device", self.clock}
        self.parts = {key: value for key, value in found.items() if key not in about}
        self._written = json.dumps(self.parts) if found else ""
        self._started = self._now()

    def _now(self) -> float:
        return processor_seconds() if self.device == "cpu" else time.perf_counter()

    @property
    def results(self) -> dict[str, Any]:
        """What was measured, by name."""
        results: dict[str, Any] = self.parts.setdefault("results", {})
        return results

    def entry(self, *names: object) -> dict[str, Any]:
        """Return what the results hold under these names, one inside the other."""
        entry = self.results
        for name in names:
            entry = entry.setdefault(str(name), {})
        return entry

    def describe(self) -> dict[str, Any]:
        """Return where, when, with what and by which command something is measured now."""
        return {
            "command": self.command,
            "date": datetime.date.today().isoformat(),
            "hardware": describe_hardware(self.device),
            "precision": describe_precision(self.device),
            "versions": {
                "python": platform.python_version(),
                "torch": torch.__version__,
                "numpy": np.__version__,
                **({"cudnn": torch.backends.cudnn.version()} if self.device == "cuda" else {}),
            },
        }

    def save(self, *words: object) -> None:
        """Say what is new, and write the record if anything is: its date is of what it holds."""
        print(*words, flush=True)
        parts = json.dumps(self.parts, allow_nan=False)
        if parts == self._written:
            return
        record = self.describe()
        if self._may_differ:
            record["device"] = self.device
        if self.seconds is not None:
            now = self._now()
            self.seconds, self._started = self.seconds + now - self._started, now
            record[self.clock] = round(self.seconds, 1)
        record |= self.setting | self.parts
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self.path, json.dumps(record, indent=1, allow_nan=False) + "\n")
        self._written = parts

    def score_once(
        self, recipe: str, configuration: Any, seed: int, score: Callable[[], float]
    ) -> float:
        """Return what a recipe scores on the test set from one seed: from the ledger, if it can.

        Parameters
        ----------
        recipe : str
            Its name for people.
        configuration : dataclass or what JSON can hold
            All that decides how it trains, but for the seed.
        seed : int
        score : function without arguments
            Looks at the test set. It is called, and the look written down, only where the ledger
            has no look of the same configuration and seed.
        """
        same = (fingerprint(configuration), seed, TEST_DIGITS)
        for look in read_ledger(self.folder):
            if (look["fingerprint"], look["seed"], look["data"]) == same:
                return float(look["accuracy"])
        accuracy = score()
        self.log_test_look(recipe, configuration, seed, accuracy)
        return accuracy

    def log_test_look(self, recipe: str, configuration: Any, seed: int, accuracy: float) -> None:
        """Add a line to the ledger beside this record."""
        log_test_look(self.folder, recipe, configuration, seed, accuracy, self.command)


# --- The ledger ----------------------------------------------------------------------------------


def read_ledger(folder: Path = RESULTS) -> list[dict[str, Any]]:
    """Return every look at the test set that the ledger in `folder` has, the oldest first."""
    path = folder / LEDGER
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else []


def log_test_look(
    folder: Path,
    recipe: str,
    configuration: Any,
    seed: int,
    accuracy: float,
    command: str,
    remark: str = "",
) -> None:
    """Add a line to the ledger in `folder`: somebody has looked at the test set.

    `remark` says why a configuration is scored from a seed for a second time, which otherwise
    nobody does.
    """
    look = {
        "recipe": recipe,
        "fingerprint": fingerprint(configuration),
        "commit": describe_commit(),
        "seed": seed,
        "data": TEST_DIGITS,
        "accuracy": accuracy,
        "date": datetime.date.today().isoformat(),
        "command": command,
    }
    write_ledger(folder, [*read_ledger(folder), look | ({"remark": remark} if remark else {})])


def write_ledger(folder: Path, looks: Iterable[Mapping[str, Any]]) -> None:
    """Write a ledger with one look a line: a diff then shows one look."""
    lines = ",\n".join(json.dumps(look) for look in looks)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / LEDGER, f"[\n{lines}\n]\n")


def fingerprint(configuration: Any) -> str:
    """Return twelve hexadecimal digits that stand for how something was trained.

    Of a dataclass only what differs from its defaults counts: a setting that is added later, with
    what was done before as its default, leaves all fingerprints as they were.
    """
    text = json.dumps(as_json(without_defaults(configuration)), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def without_defaults(value: Any) -> Any:
    """Return a dataclass as a dict of what differs from its defaults; other values as they are."""
    if not is_dataclass(value) or isinstance(value, type):
        return value
    return {
        field.name: without_defaults(getattr(value, field.name))
        for field in fields(value)
        if getattr(value, field.name) != default_of(field)
    }


def describe_commit() -> str:
    """Return the commit that the code is at, with a "+" if the code is not quite that.

    Where it is no checkout, its version: "mnist-lab 0.2.0".
    """
    try:
        commit = _git("rev-parse", "--short=12", "HEAD")
        code = ("mnist_lab", "benchmarks", ":(exclude)benchmarks/results")
        changed = _git("status", "--porcelain", "--", *code)
    except (OSError, subprocess.CalledProcessError):
        return f"mnist-lab {__version__}"
    return commit + "+" * bool(changed)


def _git(*arguments: str) -> str:
    top = Path(__file__).parents[1]
    command = ["git", "-C", str(top), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


# --- What a record holds -------------------------------------------------------------------------


def as_json(value: Any) -> Any:
    """Return what JSON makes of a value: dataclasses become dicts, tuples lists."""
    return json.loads(json.dumps(value, default=asdict))


def describes(recorded: Any, value: Any) -> bool:
    """Tell whether `recorded` is what JSON makes of `value`.

    A record may be older than some fields of a dataclass: those had their default.
    """
    if not is_dataclass(value):
        return bool(recorded == as_json(value))
    if not isinstance(recorded, dict) or recorded.keys() - {field.name for field in fields(value)}:
        return False
    return all(
        describes(recorded[field.name], getattr(value, field.name))
        if field.name in recorded
        else getattr(value, field.name) == default_of(field)
        for field in fields(value)
    )


def default_of(field: Field[Any]) -> Any:
    """Return the default of a dataclass's field; `MISSING` where it has none."""
    return field.default if field.default_factory is MISSING else field.default_factory()


def add(entry: dict[str, Any], key: str, value: float) -> None:
    """Add a value to the summary over seeds that `entry` has under `key`."""
    entry[key] = summarise([*entry.get(key, {}).get("values", []), value])


def measured(entry: Mapping[str, Any], key: str) -> int:
    """Return for how many seeds `entry` has `key`; it is the first seed that it lacks."""
    return len(entry.get(key, {}).get("values", []))


def choose_rate(tried: Mapping[str, float | Sequence[float]]) -> float:
    """Return the rate with the best mean; of equal ones the lowest."""
    return float(max(sorted(tried, key=float), key=lambda rate: float(np.mean(tried[rate]))))


def find_best(
    grid: Sequence[float],
    tried: MutableMapping[str, Any],
    score: Callable[[float], float | list[float]],
) -> float:
    """Return the best value of a grid: the middle four first, and on where the best is at an end.

    Parameters
    ----------
    grid : sequence of float
        Rising. What is best at its own end is returned; choose a grid that is wide enough.
    tried : dict
        Scores by value, of which `choose_rate` takes the best. What is missing is added.
    score : function of a value
    """
    middle = max(0, len(grid) // 2 - 2)
    values: Sequence[float] = grid[middle : middle + 4]
    while values:
        tried.update({str(value): score(value) for value in values if str(value) not in tried})
        known = [float(value) for value in tried]
        best = choose_rate(tried)
        lower = [value for value in grid if value < min(known)]
        higher = [value for value in grid if value > max(known)]
        values = lower[-1:] if best == min(known) else higher[:1] if best == max(known) else ()
    return best
