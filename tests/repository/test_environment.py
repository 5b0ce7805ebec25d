"""What is installed: pyproject.toml, environment.yml and constraints.txt say the same."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
# conda-forge calls these otherwise than PyPI.
CONDA_NAMES = {"torch": "pytorch", "matplotlib": "matplotlib-base"}
# The list; a comment in pyproject.toml argues for anything more.
CORE = {
    *("torch", "torchvision", "numpy", "matplotlib", "ipywidgets", "anywidget", "tqdm"),
    *("safetensors", "scikit-learn", "pillow"),
}


def project() -> dict[str, Any]:
    content: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return content


def core() -> dict[str, Requirement]:
    found = [Requirement(line) for line in project()["dependencies"]]
    return {canonicalize_name(requirement.name): requirement for requirement in found}


def extras() -> dict[str, list[Requirement]]:
    groups = project()["optional-dependencies"]
    return {name: [Requirement(line) for line in lines] for name, lines in groups.items()}


def environment() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((ROOT / "environment.yml").read_text())
    return content


def conda_entries() -> tuple[dict[str, Requirement], list[str]]:
    """Return what conda installs, by name, and the lines for pip."""
    entries = environment()["dependencies"]
    conda = [Requirement(entry) for entry in entries if isinstance(entry, str)]
    (pip,) = (entry["pip"] for entry in entries if isinstance(entry, dict))
    return {requirement.name: requirement for requirement in conda}, pip


def pins() -> dict[str, Version]:
    found = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        text = line.partition("#")[0].strip()
        if text:
            match = re.fullmatch(r"([\w.-]+)==([\w.!+]+)", text)
            assert match, f"{text!r} pins nothing exactly"
            name = canonicalize_name(match[1])
            assert name not in found, f"{name} is pinned twice"
            found[name] = Version(match[2])
    return found


class TestPyproject:
    def test_core_dependencies_are_few_each_with_a_lowest_version(self) -> None:
        for requirement in core().values():
            assert [part.operator for part in requirement.specifier] == [">="]

    def test_anything_beyond_the_short_list_has_its_reason_beside_it(self) -> None:
        text = (ROOT / "pyproject.toml").read_text()
        assert core().keys() >= CORE
        for name in core().keys() - CORE:
            assert re.search(rf'"{name}>=[\d.]+", # \w', text), f"no reason for {name}"

    def test_nothing_caps_torch_which_colab_brings(self) -> None:
        for name in ("torch", "torchvision", "numpy"):
            assert {part.operator for part in core()[name].specifier} == {">="}

    def test_book_and_test_tools_are_extras(self) -> None:
        assert set(extras()) == {"lab", "book", "test", "write", "export"}
        heavy = {"jupyter-book", "jupyterlab", "pytest", "nbval", "playwright", "ruff", "mypy"}
        assert not heavy & core().keys()
        named = {requirement.name for group in extras().values() for requirement in group}
        assert heavy <= named

    def test_jupyter_book_stays_below_2(self) -> None:
        (book,) = (r for r in extras()["book"] if r.name == "jupyter-book")
        assert "2.0.0" not in book.specifier


class TestCondaEnvironment:
    def test_has_the_name_and_the_one_channel(self) -> None:
        assert environment()["name"] == "mnist-lab"
        assert environment()["channels"] == ["conda-forge"]

    def test_asks_for_the_same_python(self) -> None:
        conda, _ = conda_entries()
        assert str(conda["python"].specifier) == project()["requires-python"]
        assert "pip" in conda

    def test_has_the_same_core_dependencies_with_the_same_lowest_versions(self) -> None:
        conda, pip = conda_entries()
        by_pip = {line.partition(">=")[0]: line for line in pip if not line.startswith("-e")}
        found = {}
        for name in core():
            conda_name = CONDA_NAMES.get(name, name)
            assert (conda_name in conda) != (name in by_pip), f"{name} must be there once"
            entry = conda.get(conda_name) or Requirement(by_pip[name])
            found[name] = entry.specifier
        assert found == {name: requirement.specifier for name, requirement in core().items()}
        more = conda.keys() - {CONDA_NAMES.get(name, name) for name in core()}
        assert more == {"python", "pip"}
        assert by_pip.keys() <= core().keys()

    def test_installs_this_repository_with_every_extra(self) -> None:
        _, pip = conda_entries()
        (editable,) = (line for line in pip if line.startswith("-e"))
        match = re.fullmatch(r"-e \.\[([\w,]+)\]", editable)
        assert match
        assert set(match[1].split(",")) == set(extras())

    def test_makefile_installs_the_same_extras(self) -> None:
        makefile = (ROOT / "Makefile").read_text()
        match = re.search(r"-c constraints\.txt -e '\.\[([\w,]+)\]'", makefile)
        assert match
        assert set(match[1].split(",")) == set(extras())


class TestConstraints:
    def requirements(self) -> list[Requirement]:
        return [*core().values(), *(r for group in extras().values() for r in group)]

    def test_pin_every_dependency_within_its_bounds(self) -> None:
        pinned = pins()
        for requirement in self.requirements():
            name = canonicalize_name(requirement.name)
            assert name in pinned, f"{name} is not pinned"
            assert pinned[name] in requirement.specifier, f"{name} {pinned[name]}"

    def test_the_build_backend_is_pinned_too(self) -> None:
        text = tomllib.loads((ROOT / "pyproject.toml").read_text())
        for line in text["build-system"]["requires"]:
            requirement = Requirement(line)
            assert pins()[canonicalize_name(requirement.name)] in requirement.specifier

    @pytest.mark.parametrize("name", ["mnist-lab", "pip", "setuptools"])
    def test_do_not_pin_what_the_machine_brings(self, name: str) -> None:
        assert name not in pins()
