"""The first cell of a chapter: it installs the package in Colab, or says in a sentence why not."""

from __future__ import annotations

import importlib
import importlib.util
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tools.address import PLACEHOLDER, current_address
from tools.publish_notebooks import CHAPTERS, OPEN

ADDRESS = "https://github.com/Ada-L/digits.book"
FREEZE = "numpy==2.0.2\ntorch==2.11.0+cu128\n"


def first_cell(path: Path) -> str:
    notebook = nbformat.read(path, as_version=4)
    return next(cell.source for cell in notebook.cells if cell.cell_type == "code")


CELL = first_cell(CHAPTERS[0])
ADDRESSED = CELL.replace(current_address(), ADDRESS)


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem[:4])
def test_is_the_same_in_every_chapter_but_for_what_one_alone_needs(path: Path) -> None:
    """Only who loads the language model asks for its 91 MB, and only who serves for a server."""
    notebook = nbformat.read(path, as_version=4)
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    loads = any(re.search(r"\bload_(patch_reader|sentence_encoder)\b", source) for source in code)
    serves = any("mnist_lab.serving" in source for source in code)
    extras = f"[chapters{',large' * loads}{',serve' * serves}]"
    assert first_cell(path) == CELL.replace("[chapters]", extras)


def test_names_the_book_s_address_and_a_commit_for_publishing_to_pin() -> None:
    assert f'ADDRESS = "{current_address()}"\n' in CELL
    assert CELL.count(OPEN) == 1


class Machine:
    """A stand-in for pip and for what it installs; it notes what it was asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, has_package: bool = False) -> None:
        self.asked: list[list[str]] = []
        self.constraints = ""
        self.fails = ""  # what pip says before it gives up
        self.broken = ""  # what the import says
        self.has_package = has_package
        monkeypatch.setattr(subprocess, "run", self.run)
        monkeypatch.setattr(importlib.util, "find_spec", self.find_spec)
        monkeypatch.setattr(importlib, "import_module", self.import_module)

    def find_spec(self, name: str) -> object:
        assert name == "mnist_lab"
        return object() if self.has_package else None

    def import_module(self, name: str) -> None:
        assert name == "mnist_lab"
        if self.broken or not self.has_package:
            raise ImportError(self.broken or "No module named 'mnist_lab'")

    def run(self, command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        assert command[:3] == [sys.executable, "-m", "pip"]
        assert options == {"check": True, "capture_output": True, "text": True}
        self.asked.append(command[3:])
        if command[3] == "list":
            return subprocess.CompletedProcess(command, 0, FREEZE)
        if self.fails:
            raise subprocess.CalledProcessError(1, command, "", self.fails)
        self.constraints = Path(command[command.index("-c") + 1]).read_text()
        self.has_package = not self.broken.startswith("No module")
        return subprocess.CompletedProcess(command, 0, "")


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def run(cell: str) -> None:
    exec(compile(cell, "first cell", "exec"), {})


def sentence_of(act: Callable[[], None]) -> str:
    """Return the message, after looking that nothing stands under it but the cell itself."""
    with pytest.raises(RuntimeError) as caught:
        act()
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return str(caught.value)


class TestWhereThePackageIs:
    def test_does_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        machine = Machine(monkeypatch, has_package=True)
        run(CELL)
        run(ADDRESSED)
        assert machine.asked == []


class TestInColab:
    def test_adds_the_package_and_keeps_everything_that_is_there(self, machine: Machine) -> None:
        run(ADDRESSED)
        listed, installed = machine.asked
        assert listed == ["list", "--format=freeze"]
        assert installed[-1] == f"mnist-lab[chapters] @ git+{ADDRESS}@main"
        assert not {"-U", "--upgrade", "--force-reinstall", "--no-deps"} & set(installed)
        assert machine.constraints == FREEZE
        assert machine.has_package

    def test_prints_nothing_when_all_is_well(
        self, machine: Machine, capsys: pytest.CaptureFixture[str]
    ) -> None:
        run(ADDRESSED)
        assert capsys.readouterr() == ("", "")

    @pytest.mark.parametrize("name", [PLACEHOLDER, "_somebody"])
    def test_refuses_a_name_that_nobody_holds_before_it_asks_anybody(
        self, name: str, machine: Machine
    ) -> None:
        cell = CELL.replace(current_address(), f"https://github.com/{name}/mnist-lab")
        assert "has no address yet" in sentence_of(lambda: run(cell))
        assert machine.asked == []

    @pytest.mark.parametrize(
        "words",
        [
            "fatal: unable to access 'https://github.com/': Could not resolve host: github.com",
            "ERROR: Cannot install mnist-lab and torch==2.5.1: ResolutionImpossible",
            "No module named pip",
        ],
    )
    def test_says_so_when_pip_fails_and_shows_what_pip_says(
        self, words: str, machine: Machine, capsys: pytest.CaptureFixture[str]
    ) -> None:
        machine.fails = words
        message = sentence_of(lambda: run(ADDRESSED))
        assert message == f"{ADDRESS} could not be added to what is installed."
        assert words in capsys.readouterr().out

    @pytest.mark.parametrize("words", ["No module named 'mnist_lab'", "libc.so: cannot open"])
    def test_says_so_when_the_import_fails_afterwards(
        self, words: str, machine: Machine, capsys: pytest.CaptureFixture[str]
    ) -> None:
        machine.broken = words
        assert sentence_of(lambda: run(ADDRESSED)).endswith("what is installed.")
        assert words in capsys.readouterr().out


def test_a_host_that_does_not_answer_is_a_sentence_with_the_real_pip(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    there = "https://localhost:1/ada/digits"
    message = sentence_of(lambda: run(CELL.replace(current_address(), there)))
    assert message == f"{there} could not be added to what is installed."
    assert "fatal: unable to access" in capsys.readouterr().out
