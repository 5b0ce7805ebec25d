"""A run that is killed at any moment, and resumed, ends with the very bytes of one that was not."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.training.killing import COMMANDS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.processes,
    pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="forks, as Windows cannot"),
]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_killed_run_goes_on_to_the_same_bytes(command: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "tests.training.killing", command, "3"],
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(ended.stdout)
    assert found["kills"] >= 3
    assert found["moments"] > 100
    assert (found["not_bit_equal"], found["other_statuses"]) == ([], [])
