"""Write the table of the benchmarks into benchmarks/README.md.

    python -m tools.benchmarks_table

A row is what the files themselves say: the script's first line and how long it takes, from its
docstring; the records of its name; the chapters and pages that load one of them, or, where nothing
shows it, the tests that do. A test holds the table to the files.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path

import nbformat

from tools.marks import write_marked
from tools.presets_table import RECORDS

ROOT = Path(__file__).parents[1]
README = ROOT / "benchmarks" / "README.md"
LEDGER = "ledger"  # of all scripts together
LOADED = re.compile(r"load_record\(\"(\w+)\"\)")
MEASURED = re.compile(r"\{measured\}`(\w+):")
MINUTES = re.compile(r"^About (\d+) minutes? on (?:one core|two(?: idle)? cores)\.", re.MULTILINE)


@dataclass(frozen=True)
class Script:
    """A benchmark: its name, and what its docstring says."""

    name: str
    docstring: str

    @property
    def first_line(self) -> str:
        """What it measures."""
        return self.docstring.partition("\n")[0]

    @property
    def minutes(self) -> int:
        """How long it takes when there is no record yet, at its defaults, on an idle machine.

        Raises
        ------
        ValueError
            If the docstring does not say.
        """
        found = MINUTES.search(self.docstring)
        if not found:
            raise ValueError(f"benchmarks/{self.name}.py does not say how many minutes it takes.")
        return int(found[1])


def find_scripts(root: Path = ROOT) -> list[Script]:
    """Return the benchmarks in order of their names; a file without `main` is none."""
    scripts = []
    for path in sorted((root / "benchmarks").glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
        if any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in tree.body):
            scripts.append(Script(path.stem, ast.get_docstring(tree) or ""))
    return scripts


def find_records(root: Path = ROOT) -> dict[str, list[str]]:
    """Return the names of the records by script: its own name, or that with a variant behind it.

    Raises
    ------
    ValueError
        If a record is of no script.
    """
    found: dict[str, list[str]] = {script.name: [] for script in find_scripts(root)}
    for path in sorted((root / "benchmarks" / "results").glob("*.json")):
        owners = [name for name in found if f"{path.stem}_".startswith(f"{name}_")]
        if owners:
            found[max(owners, key=len)].append(path.stem)
        elif path.stem != LEDGER:
            raise ValueError(f"No script in benchmarks/ makes {path.name}.")
    return found


def find_places(root: Path = ROOT) -> dict[str, list[str]]:
    """Return where each record is shown, as links from benchmarks/; if nowhere, its tests."""
    places: dict[str, list[str]] = {name: ["[README](../README.md)"] for name in RECORDS}
    for path in sorted((root / "notebooks").glob("ch*.ipynb")):
        cells = nbformat.read(path, as_version=4).cells
        code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
        chapter = f"[chapter {int(path.name[2:4])}](../notebooks/{path.name})"
        for name in sorted(set(LOADED.findall(code))):
            places.setdefault(name, []).append(chapter)
    for path in sorted((root / "book").glob("*.md")):
        for name in sorted(set(MEASURED.findall(path.read_text(encoding="utf-8")))):
            places.setdefault(name, []).append(f"[{path.stem}](../book/{path.name})")
    tests: dict[str, list[str]] = {}
    for path in sorted((root / "tests").rglob("test_*.py")):
        link = f"[{path.stem}](../{path.relative_to(root).as_posix()})"
        for name in sorted(set(LOADED.findall(path.read_text(encoding="utf-8")))):
            tests.setdefault(name, []).append(link)
    return tests | places


def render(root: Path = ROOT) -> str:
    """Return the table in Markdown."""
    records, places = find_records(root), find_places(root)
    lines = [
        "| script | what it measures | record | shown in | minutes |",
        "|---|---|---|---|---|",
    ]
    for script in find_scripts(root):
        names = records[script.name]
        shown = dict.fromkeys(place for name in names for place in places.get(name, []))
        lines.append(
            f"| [{script.name}]({script.name}.py) | {script.first_line} | "
            f"{', '.join(f'[{name}](results/{name}.json)' for name in names)} | "
            f"{', '.join(shown)} | {script.minutes} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Replace what stands between the two marks."""
    write_marked(README, "benchmarks", render())


if __name__ == "__main__":
    main()
