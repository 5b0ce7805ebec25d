"""What every benchmark writes beside its figures: hardware, versions, command, date.

The ledger (`results/ledger.json`) has one line for every look at the test set.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mnist_lab.files import write_atomically

RESULTS = Path(__file__).parent / "results"


def describe_hardware() -> str:
    """Return processor, cores and threads (and the GPU, where there is one) in one line."""
    cpu = platform.processor() or platform.machine()
    cpu_info = Path("/proc/cpuinfo")
    if cpu_info.exists():
        match = re.search(r"model name\s*: (.+)", cpu_info.read_text())
        cpu = match[1] if match else cpu
    threads = torch.get_num_threads()
    words = f"{cpu}, {os.cpu_count()} cores, {threads} thread{'s' * (threads != 1)}"
    if torch.cuda.is_available():
        words += f", {torch.cuda.get_device_name()}"
    return words


def describe_run(command: str) -> dict[str, Any]:
    """Return what a record says about where and how it was measured."""
    return {
        "command": command,
        "date": datetime.date.today().isoformat(),
        "hardware": describe_hardware(),
        "precision": "float32",
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
    }


def write_record(name: str, record: dict[str, Any]) -> Path:
    """Write `results/NAME.json` and return its path."""
    path = RESULTS / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    write_atomically(path, json.dumps(record, indent=1, allow_nan=False) + "\n")
    return path


class Record:
    """A record that grows piece by piece, and counts the seconds of the processor.

    It is written after each piece, and what it holds already need not be measured again, as long as
    the setting is the same.
    """

    def __init__(self, name: str, setting: dict[str, Any], command: str, device: str) -> None:
        path = RESULTS / f"{name}.json"
        found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        if found.get("setting") != json.loads(json.dumps(setting)):
            found = {}  # measured otherwise: nothing of it can be kept
        self.name, self.setting, self.command, self.device = name, setting, command, device
        self.results: dict[str, Any] = found.get("results", {})
        self.seconds: float = found.get("process_seconds", 0.0)
        self.started = time.process_time()

    def save(self, *words: object) -> None:
        """Write the record and say what is new in it."""
        now = time.process_time()
        self.seconds, self.started = self.seconds + now - self.started, now
        record = {
            **describe_run(self.command),
            "device": self.device,
            "process_seconds": round(self.seconds, 1),
            "setting": self.setting,
            "results": self.results,
        }
        write_record(self.name, record)
        print(*words, f"{self.seconds:.0f} s", flush=True)


def choose_rate(tried: Mapping[str, Sequence[float]]) -> float:
    """Return the rate with the best mean; of equal ones the lowest."""
    return float(max(sorted(tried, key=float), key=lambda rate: float(np.mean(tried[rate]))))


def log_test_look(recipe: str, seed: int, accuracy: float, command: str) -> None:
    """Add a line to the ledger: somebody has looked at the test set."""
    path = RESULTS / "ledger.json"
    looks = json.loads(path.read_text()) if path.exists() else []
    looks.append(
        {
            "recipe": recipe,
            "seed": seed,
            "accuracy": accuracy,
            "date": datetime.date.today().isoformat(),
            "command": command,
        }
    )
    # One look a line: a diff then shows one look.
    lines = ",\n".join(json.dumps(look) for look in looks)
    path.parent.mkdir(exist_ok=True)
    write_atomically(path, f"[\n{lines}\n]\n")
