"""Whatever is damaged is read rightly or refused in a sentence; `make fuzz` tries much more."""

from __future__ import annotations

import os
import re
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.fuzzing.harness import Attempt, Fault, Kind, examine, explain, files_in
from tests.fuzzing.kinds import KINDS, demand


def try_all(kind: Kind, tmp_path: Path) -> None:
    """Try the first inputs of a kind, always the same, and show what is not as it must be."""
    endings, faults = Counter[str](), []
    for number in range(kind.quick):
        folder = tmp_path / str(number)
        folder.mkdir()
        try:
            endings[examine(kind, number, folder)] += 1
        except Fault as fault:
            faults.append(explain(kind, number, fault))
    assert not faults, f"{len(faults)} of {kind.quick}: " + "\n".join(faults[:5])
    assert endings["refused"] > 0
    assert endings["read"] > 0


@pytest.mark.parametrize("name", KINDS)
def test_whatever_is_damaged_is_read_or_refused_in_a_sentence(name: str, tmp_path: Path) -> None:
    try_all(KINDS[name], tmp_path)


def test_an_input_is_made_again_from_its_number(tmp_path: Path) -> None:
    for name in ("idx", "npz", "picture"):
        for folder in (tmp_path / "one", tmp_path / "two"):
            folder.mkdir(exist_ok=True)
            for file in folder.iterdir():
                file.unlink()
            KINDS[name].make(np.random.default_rng(5), folder)
        assert files_in(tmp_path / "one") == files_in(tmp_path / "two")


class TestTheHarness:
    """It would see each kind of fault."""

    @pytest.mark.parametrize(
        ("read", "said"),
        [
            (lambda path: 1 / 0, "ZeroDivisionError"),
            (lambda path: print("hello"), "prints: hello"),  # noqa: T201
            (lambda path: os.write(2, b"from C"), "prints: from C"),
            (lambda path: warnings.warn("careful", stacklevel=1), "warns: careful"),
            (lambda path: path.unlink(), "are gone: mine.txt"),
            (lambda path: path.write_text("yours"), "are gone: mine.txt"),
            (lambda path: refuse("bad"), "does not end"),
            (lambda path: refuse(f"{path} is bad.."), "does not end"),
            (lambda path: refuse("It is bad."), "does not name"),
            (lambda path: refuse(f"{path} is\nbad."), "several lines"),
            (lambda path: refuse(f"{path} is \x1b[2J."), "obeys"),
            (lambda path: refuse(f"{path} is {255 * '0, '}{255 * '0, '}."), "letters"),
            (lambda path: demand(False, "numbers"), "wrong: numbers"),
        ],
    )
    def test_a_fault_is_seen(self, read: Any, said: str, tmp_path: Path) -> None:
        def make(draw: np.random.Generator, folder: Path) -> Attempt:
            path = folder / "mine.txt"
            path.write_text("mine")

            def attempt() -> str:
                read(path)
                return "read"

            return Attempt(attempt, str(path), (ValueError,), "an input")

        with pytest.raises(Fault, match=re.escape(said)):
            examine(Kind("some", make, 1), 0, tmp_path)


def refuse(text: str) -> None:
    raise ValueError(text)
