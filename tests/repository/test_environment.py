"""What is installed: pyproject.toml, environment.yml and constraints.txt say the same.

And what is imported: the package and the chapters find there what they need.
"""

from __future__ import annotations

import ast
import itertools
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions, requires
from pathlib import Path
from typing import Any

import nbformat
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tools.check_chapters import CELL_TIMEOUT
from tools.rooms import Module, imported_modules, read_modules

ROOT = Path(__file__).parents[2]
CHAPTERS = sorted((ROOT / "notebooks").glob("ch*.ipynb"))
# conda-forge calls these otherwise than PyPI.
CONDA_NAMES = {
    "torch": "pytorch",
    "matplotlib": "matplotlib-base",
    "prometheus-client": "prometheus_client",
}
# What a library that trains networks on images needs; pyproject.toml argues for anything more.
CORE = {"torch", "numpy", "pillow", "safetensors", "tqdm"}


def project() -> dict[str, Any]:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    content: dict[str, Any] = tomllib.loads(text)["project"]
    return content


def core() -> dict[str, Requirement]:
    found = [Requirement(line) for line in project()["dependencies"]]
    return {canonicalize_name(requirement.name): requirement for requirement in found}


def extras() -> dict[str, list[Requirement]]:
    """Return what each extra brings, but for "all", which is made of the others."""
    groups = dict(project()["optional-dependencies"])
    del groups["all"]
    return {name: [Requirement(line) for line in lines] for name, lines in groups.items()}


def for_readers() -> dict[str, Requirement]:
    """Return what whoever runs the chapters needs: the library's dependencies and three extras."""
    more = extras()["chapters"] + extras()["large"] + extras()["serve"]
    return core() | {canonicalize_name(entry.name): entry for entry in more}


def environment() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    return content


def conda_entries() -> tuple[dict[str, Requirement], list[str]]:
    """Return what conda installs, by name, and the lines for pip."""
    entries = environment()["dependencies"]
    conda = [Requirement(entry) for entry in entries if isinstance(entry, str)]
    (pip,) = (entry["pip"] for entry in entries if isinstance(entry, dict))
    return {requirement.name: requirement for requirement in conda}, pip


def pins() -> dict[str, Version]:
    found = {}
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
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
        text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
        assert core().keys() >= CORE
        for name in for_readers().keys() - CORE:
            assert re.search(rf'"{name}>=[\d.]+", # \w', text), f"no reason for {name}"

    def test_nothing_caps_torch_which_colab_brings(self) -> None:
        for requirement in for_readers().values():
            assert {part.operator for part in requirement.specifier} == {">="}

    def test_one_extra_is_all_of_them(self) -> None:
        (every,) = map(Requirement, project()["optional-dependencies"]["all"])
        assert every.name == project()["name"]
        assert every.extras == set(extras())

    def test_book_and_test_tools_are_extras(self) -> None:
        heavy = {"jupyter-book", "jupyterlab", "pytest", "nbval", "playwright", "ruff", "mypy"}
        assert not heavy & for_readers().keys()
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

    def test_has_what_the_chapters_need_with_the_same_lowest_versions(self) -> None:
        conda, pip = conda_entries()
        by_pip = {line.partition(">=")[0]: line for line in pip if not line.startswith("-e")}
        found = {}
        for name in for_readers():
            conda_name = CONDA_NAMES.get(name, name)
            assert (conda_name in conda) != (name in by_pip), f"{name} must be there once"
            entry = conda.get(conda_name) or Requirement(by_pip[name])
            found[name] = entry.specifier
        assert found == {name: entry.specifier for name, entry in for_readers().items()}
        more = conda.keys() - {CONDA_NAMES.get(name, name) for name in for_readers()}
        assert more == {"python", "pip"}
        assert by_pip.keys() <= for_readers().keys()

    def test_installs_this_repository_with_every_extra(self) -> None:
        _, pip = conda_entries()
        assert [line for line in pip if line.startswith("-e")] == ["-e .[all]"]


@pytest.mark.parametrize(
    "path", ["tools/install.py", ".github/workflows/test.yml", ".github/workflows/newest.yml"]
)
def test_whoever_works_on_the_repository_installs_every_extra(path: str) -> None:
    """By one name, so that no list of extras is kept twice."""
    text = (ROOT / path).read_text(encoding="utf-8")
    found = re.findall(r"-e['\",]* ['\"]?\.(\[[\w,]+\])?", text)
    assert found
    assert set(found) == {"[all]"}


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
        text = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
        for line in text["build-system"]["requires"]:
            requirement = Requirement(line)
            assert pins()[canonicalize_name(requirement.name)] in requirement.specifier

    @pytest.mark.parametrize("name", ["mnist-lab", "pip", "setuptools"])
    def test_do_not_pin_what_the_machine_brings(self, name: str) -> None:
        assert name not in pins()


INSTALLED = packages_distributions()


@cache
def distributions_of(package: str) -> set[str]:
    """Return what installs a package, and what brings it along: traitlets comes with ipywidgets."""
    own = {canonicalize_name(name) for name in INSTALLED.get(package, [])}
    assert own, f"{package} is not installed"
    return own | {name for name in for_readers() if own & needs_of(name)}


@cache
def needs_of(distribution: str) -> set[str]:
    """Return what a distribution brings along, its own extras aside."""
    needs = map(Requirement, requires(distribution) or [])
    here = [r for r in needs if r.marker is None or r.marker.evaluate({"extra": ""})]
    return {canonicalize_name(requirement.name) for requirement in here}


def foreign_imports(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield packages of others that are imported, and the extra that is named around the import."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            full = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            full = [str(node.module)]
        elif isinstance(node, ast.With) and (extra := named_extra(node)):
            yield from ((package, extra) for package, _ in foreign_imports(node))
            continue
        else:
            yield from foreign_imports(node)
            continue
        for name in full:
            package = name.partition(".")[0]
            if package not in {"mnist_lab", *sys.stdlib_module_names}:
                yield package, ""


def named_extra(node: ast.With) -> str:
    """Return "chapters" of `with needs_extra("chapters"):`."""
    call = node.items[0].context_expr
    if isinstance(call, ast.Call) and ast.unparse(call.func) == "needs_extra":
        return str(ast.literal_eval(call.args[0]))
    return ""


class TestImports:
    def test_the_library_needs_an_extra_only_where_it_says_so(self) -> None:
        groups = {"": core().keys()} | {
            name: {canonicalize_name(entry.name) for entry in entries}
            for name, entries in extras().items()
        }
        for name, module in read_modules().items():
            for package, extra in foreign_imports(module.tree):
                assert distributions_of(package) & groups[extra], f"{name} imports {package}"

    def test_and_this_test_would_see_it(self) -> None:
        code = """
import json, torch.nn
from mnist_lab.files import write
def late():
    from matplotlib.axes import Axes
with needs_extra("chapters"):
    import anywidget
with open("file"):
    from PIL import Image
"""
        assert list(foreign_imports(ast.parse(code))) == [
            *(("torch", ""), ("matplotlib", ""), ("anywidget", "chapters"), ("PIL", ""))
        ]
        assert distributions_of("matplotlib") & for_readers().keys() == {"matplotlib"}
        assert not distributions_of("matplotlib") & core().keys()

    @pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem[:4])
    def test_a_chapter_needs_no_more_than_its_first_cell_installs(self, path: Path) -> None:
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "code":
                code = re.sub(r"^(\s*)[%!].*", r"\1pass", cell.source, flags=re.MULTILINE)
                for package, _ in foreign_imports(ast.parse(code)):
                    assert distributions_of(package) & for_readers().keys(), package

    @pytest.mark.parametrize("script", ["recogniser", "transformer"])
    def test_make_trains_a_pages_network_anew_when_anything_it_imports_changes(
        self, script: str
    ) -> None:
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        match = re.search(r"^RECOGNISER_SOURCES :=((?:.*\\\n)*.*)", makefile, re.MULTILINE)
        assert match
        listed = set(re.findall(r"[\w/*]+\.py", match[1]))
        modules = read_modules()
        assert f"book/{script}.py $(RECOGNISER_SOURCES)" in makefile
        tree = ast.parse((ROOT / "book" / f"{script}.py").read_text(encoding="utf-8"))
        waiting, seen = [Module(script, tree)], set()
        while waiting:
            for name in imported_modules(waiting.pop(), modules) - seen:
                seen.add(name)
                waiting.append(modules[name])
                own = [m for m in modules.values() if m.room == name]
                waiting += own if modules[name].is_folder else []  # it takes names from anywhere
        assert len(seen) > 5
        for name in seen - {m.name for m in modules.values() if m.is_folder}:
            path = name.replace(".", "/")
            room, _, _ = path.rpartition("/")
            assert {f"{path}.py", f"{room}/*.py"} & listed, name


def test_a_cell_has_the_same_time_wherever_it_runs() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    options = tomllib.loads(text)["tool"]["pytest"]["ini_options"]["addopts"]
    assert f"--nbval-cell-timeout={CELL_TIMEOUT}" in options


def test_every_marker_is_described_and_every_test_runs_in_one_part_of_make_test() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    markers = tomllib.loads(text)["tool"]["pytest"]["ini_options"]["markers"]
    names = [marker.partition(":")[0] for marker in markers]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    parts = re.findall(r"-m pytest tests -m \"?([\w() ]+)\"?", makefile)
    assert len(parts) == 3
    for chosen in itertools.product([False, True], repeat=len(names)):
        values = dict(zip(names, chosen, strict=True))
        sums = [logic(ast.parse(part.split(" -n")[0], mode="eval").body, values) for part in parts]
        assert sum(sums) == 1, values


def logic(node: ast.expr, values: dict[str, bool]) -> bool:
    """Return what an expression of markers says."""
    if isinstance(node, ast.Name):
        return values[node.id]
    if isinstance(node, ast.UnaryOp):
        return not logic(node.operand, values)
    assert isinstance(node, ast.BoolOp)
    found = [logic(value, values) for value in node.values]
    return all(found) if isinstance(node.op, ast.And) else any(found)
