"""Threads wait without spinning, however the package is reached and unless somebody said otherwise.

The GNU library, which torch's wheels for Linux carry, shows what it read when it was loaded.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tools.check_chapters import ONE_THREAD

ROOT = Path(__file__).parents[1]
linux = pytest.mark.skipif(sys.platform != "linux", reason="other systems have another OpenMP")


def spins(*command: str, **variables: str) -> list[str]:
    """Return how often the threads of a program and its children look before they sleep."""
    said = {"GOMP_SPINCOUNT", *ONE_THREAD}
    unsaid = {name: value for name, value in os.environ.items() if name not in said}
    environment = unsaid | {"OMP_DISPLAY_ENV": "VERBOSE"} | variables
    ended = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    return re.findall(r"GOMP_SPINCOUNT = '(\w+)'", ended.stderr)


READ = ("-m", "mnist_lab", "predict", "no_folder", "no.png")  # it loads torch, and complains
DOORS = {
    "a name of the package": ("-c", "from mnist_lab import fit"),
    "a room": ("-c", "import mnist_lab.models; import torch"),
    "the command line": READ,
    "the pages' network": ("-c", "import book.recogniser"),
    "the pages' transformer": ("-c", "import book.transformer"),
    "a benchmark": ("-c", "import benchmarks, torch"),
    "pytest": ("-m", "pytest", "-s", "--collect-only", "tests/by_hand/test_losses.py"),
}


@linux
@pytest.mark.parametrize("door", DOORS)
def test_do_not_spin(door: str) -> None:
    assert spins(*DOORS[door]) == ["0"]


@linux
@pytest.mark.processes
def test_do_not_spin_in_what_torchrun_starts() -> None:
    """torchrun itself loads torch without this package, and computes nothing."""
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")
    assert sorted(spins(*torchrun, *READ)) == ["0", "300000"]  # the first of two complains


@linux
def test_spin_where_torch_came_first_or_somebody_wants_it() -> None:
    assert spins("-c", "import torch, mnist_lab") == ["300000"]
    assert spins("-c", "import mnist_lab, torch", GOMP_SPINCOUNT="5") == ["5"]
    assert spins("-c", "import mnist_lab, torch", OMP_WAIT_POLICY="ACTIVE") == ["30000000000"]


def test_of_a_kernel_that_pytest_starts_are_one_and_do_not_spin() -> None:
    assert ONE_THREAD["OMP_WAIT_POLICY"] == "PASSIVE"
    assert os.environ.keys() >= ONE_THREAD.keys()
