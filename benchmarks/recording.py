"""What every benchmark writes beside its figures: hardware, versions, command, date.

The ledger (`results/ledger.json`) has one line for every look at the test set.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import re
from pathlib import Path
from typing import Any

import numpy
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
            "numpy": numpy.__version__,
        },
    }


def write_record(name: str, record: dict[str, Any]) -> Path:
    """Write `results/NAME.json` and return its path."""
    path = RESULTS / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    write_atomically(path, json.dumps(record, indent=1, allow_nan=False) + "\n")
    return path


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
