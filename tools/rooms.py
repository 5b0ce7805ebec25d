"""The package's rooms, as the tree says them: what each hands on, and where that is listed.

    python -m tools.rooms           writes the rooms' .pyi files, CONTRIBUTING's list, the pages
    python -m tools.rooms check     says what of these is out of date, writes nothing, ends with 1

A room is a folder of the package; a few files stand beside the rooms. The order of these is all
that is kept by hand. A room's modules, their order (from what they import) and their first lines
come from the files. What a room hands on is every public name of its modules, imported when it is
first asked for: lazy_loader reads the .pyi at run time.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from mnist_lab.files import write_atomically

ROOT = Path(__file__).parents[1]
# From the bottom up: a room, or a file beside the rooms, imports only from itself and those before.
ROOMS = (
    *("reasons", "files", "folders", "extras"),
    *("data", "by_hand", "models", "training", "finetuning", "handwriting", "inspection"),
    *("few_bits", "smaller", "export", "lessons", "serving", "terminal", "cli", "__main__"),
)
WRITTEN = "Written by `python -m tools.rooms`: edit the modules, not this file."
MARKED = re.compile(r"(<!-- rooms:.*?-->\n).*?(<!-- /rooms -->)", re.DOTALL)
MARKED_CONTENTS = re.compile(r"( +# rooms:.*\n)(?: +- file: book/package/\w+\n)*")


@dataclass(frozen=True)
class Module:
    """A file of the package.

    Attributes
    ----------
    name : str
        Its name within the package, such as "data.splits"; a folder's `__init__` goes by the
        folder's name.
    tree : ast.Module
        What is written in it.
    is_folder : bool
        Whether it is the `__init__` of a room, or of a folder in a room.
    """

    name: str
    tree: ast.Module
    is_folder: bool = False

    @property
    def first_line(self) -> str:
        """What it is for, in one line."""
        return (ast.get_docstring(self.tree) or "").partition("\n")[0]

    @property
    def room(self) -> str:
        """The room it is in, or its own name where it stands beside the rooms."""
        return self.name.partition(".")[0]

    @property
    def last_name(self) -> str:
        """Its name without the folders that it lies in."""
        return self.name.rpartition(".")[2]

    @property
    def file(self) -> str:
        """The name of its file or folder, as a list shows it."""
        return f"{self.last_name}/" if self.is_folder else f"{self.last_name}.py"


def read_modules(package: Path = ROOT / "mnist_lab") -> dict[str, Module]:
    """Return every module by name, the package's own `__init__` aside."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        is_folder = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_folder else parts)
        if name:
            tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
            found[name] = Module(name, tree, is_folder)
    return found


# --- What a module says --------------------------------------------------------------------------


def public_names(module: Module) -> list[str]:
    """Return the functions, classes and constants it defines whose names have no underscore."""
    names: list[str] = []
    for node in module.tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.append(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names += [
                part.id
                for target in targets
                for part in ast.walk(target)
                if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)
            ]
    return sorted({name for name in names if not name.startswith("_")}, key=_in_isort_order)


def _in_isort_order(name: str) -> tuple[int, str]:
    """Put constants before classes and these before functions, as ruff sorts what is imported."""
    if len(name) > 1 and name.isupper():
        return 0, name.lower()
    return (1 if name[0].isupper() else 2), name.lower()


def imports_of(module: Module) -> set[str]:
    """Return the full names of all that a module imports, inside functions too.

    Raises
    ------
    ValueError
        If an import is relative: the order of rooms can be read only where names stand in full.
    """
    found: set[str] = set()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ValueError(f"{module.name} imports by a relative name, line {node.lineno}.")
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def imported_modules(module: Module, modules: dict[str, Module]) -> set[str]:
    """Return which of the package's modules it imports, by name: "data.splits", or a room."""
    found = set()
    for name in imports_of(module):
        package, _, inside = name.partition(".")
        while inside and inside not in modules:
            inside = inside.rpartition(".")[0]
        if package == "mnist_lab" and inside:
            found.add(inside)
    return found - {module.name}


def wrong_imports(
    module: Module, modules: dict[str, Module], rooms: Sequence[str] = ROOMS
) -> list[str]:
    """Return which of the package's own parts a module must not import, but does.

    Those are a room that does not stand before its own, and a folder that it lies in itself: what
    a folder hands on comes from its modules, so that would be a circle. Of the package as a whole
    it may take the version alone, since each other name there comes from some room.
    """
    wrong = set()
    for imported in imported_modules(module, modules):
        later = rooms.index(imported.partition(".")[0]) > rooms.index(module.room)
        if later or module.name.startswith(f"{imported}."):
            wrong.add(imported)
    for name in imports_of(module) - {"mnist_lab.__version__"}:
        package, _, inside = name.partition(".")
        if package == "mnist_lab" and inside.partition(".")[0] not in modules:
            wrong.add(name)
    return sorted(wrong)


def sort_modules(needs: dict[str, set[str]]) -> list[str]:
    """Return names so that each stands behind those that it needs; else by the alphabet.

    Raises
    ------
    ValueError
        If some need each other in a circle.
    """
    sorter = TopologicalSorter({name: needs[name] & needs.keys() for name in needs})
    try:
        sorter.prepare()
    except CycleError as error:
        circle = ", ".join(error.args[1])
        raise ValueError(f"These modules import each other in a circle: {circle}.") from error
    ordered: list[str] = []
    ready: list[str] = []
    while sorter.is_active():
        ready = sorted([*ready, *sorter.get_ready()])
        ordered.append(ready.pop(0))
        sorter.done(ordered[-1])
    return ordered


def sort_room(room: str, modules: dict[str, Module]) -> list[Module]:
    """Return a room's own modules, each behind those of the room that it imports.

    A folder inside a room is one entry there, which needs what any of its files needs.
    """
    entries = [m.name for m in modules.values() if m.room == room and m.name.count(".") == 1]
    needs: dict[str, set[str]] = {name: set() for name in entries}
    for module in modules.values():
        entry = _entry(module.name)
        if entry in needs:
            needs[entry] |= {_entry(name) for name in imported_modules(module, modules)} - {entry}
    return [modules[name] for name in sort_modules(needs)]


def _entry(name: str) -> str:
    """Return under which name a room lists it: "lessons.exercises.ch01" as "lessons.exercises"."""
    return ".".join(name.split(".")[:2])


# --- What is written -----------------------------------------------------------------------------


def render_stub(room: str, modules: dict[str, Module]) -> str:
    """Return a room's `.pyi`: each public name and where it is found.

    A folder inside the room hands its names on itself.
    """
    lines = [f"# {WRITTEN}"]
    for module in sorted(sort_room(room, modules), key=lambda module: module.name):
        if not module.is_folder:
            names = public_names(module)
            lines += [f"from .{module.last_name} import {name} as {name}" for name in names]
    return "\n".join(lines) + "\n"


def render_list(modules: dict[str, Module], rooms: Sequence[str] = ROOMS) -> str:
    """Return CONTRIBUTING's list: rooms from the bottom up, and in each its modules likewise."""
    rows = []
    for room in rooms:
        rows.append((modules[room].file, modules[room].first_line))
        rows += [(f"  {module.file}", module.first_line) for module in sort_room(room, modules)]
    width = max(len(file) for file, _ in rows) + 2
    return "```\n" + "".join(f"{file:{width}}{line}\n" for file, line in rows) + "```\n"


def render_overview(modules: dict[str, Module], rooms: Sequence[str] = ROOMS) -> str:
    """Return the table at the top of the package page: a row for each module."""
    rows = [("room", "module", "what it is for"), ("---", "---", "---")]
    for room in _with_a_page(rooms):
        page = room if modules[room].is_folder else "beside"
        rows.append((f"**[{room}](package/{page})**", "", modules[room].first_line))
        rows += [("", f"`{m.name}`", m.first_line) for m in sort_room(room, modules)]
    # A bar inside a cell would begin the next one.
    cells = [[cell.replace("|", r"\|") for cell in row] for row in rows]
    return "".join(f"| {' | '.join(row)} |\n" for row in cells)


def render_page(room: str, modules: dict[str, Module]) -> str:
    """Return a room's page: what each module says of itself and of its parts."""
    parts = [f"% {WRITTEN}\n\n# {room}\n\n{modules[room].first_line}\n"]
    for module in sort_room(room, modules):
        parts.append(_reference(module))
        inner = [other for name, other in modules.items() if name.startswith(f"{module.name}.")]
        # The files of the chapters' exercises hold solutions: nobody looks them up.
        parts += [_reference(m, "###") for m in inner if not re.search(r"\.ch\d\d$", m.name)]
    return "\n".join(parts)


def render_beside(modules: dict[str, Module], rooms: Sequence[str] = ROOMS) -> str:
    """Return the page of the files that stand beside the rooms."""
    files = [modules[room] for room in _with_a_page(rooms) if not modules[room].is_folder]
    opening = "Files that every room may need, or that need every room."
    parts = [f"% {WRITTEN}\n\n# Beside the rooms\n\n{opening}\n"]
    return "\n".join([*parts, *(_reference(module) for module in files)])


def _with_a_page(rooms: Sequence[str]) -> list[str]:
    return [room for room in rooms if room != "__main__"]  # it calls the command line, no more


def _reference(module: Module, heading: str = "##") -> str:
    """Return the heading of a module and the directive that shows its docstrings."""
    name = module.name.partition(".")[2] or module.name
    directive = f".. automodule:: mnist_lab.{module.name}\n   :members:\n"
    return f"{heading} {name}\n\n```{{eval-rst}}\n{directive}```\n"


def render_all(root: Path = ROOT) -> dict[Path, str]:
    """Return every file that is written from the tree, with its content."""
    modules = read_modules(root / "mnist_lab")
    order = [room for room in ROOMS if room in modules]
    rooms = [room for room in order if modules[room].is_folder]
    pages = root / "book" / "package"
    found = {
        root / "mnist_lab" / room / "__init__.pyi": render_stub(room, modules) for room in rooms
    }
    found |= {pages / f"{room}.md": render_page(room, modules) for room in rooms}
    found[pages / "beside.md"] = render_beside(modules, order)
    contents = "".join(f"          - file: book/package/{name}\n" for name in (*rooms, "beside"))

    def between(text: str) -> Callable[[re.Match[str]], str]:
        return lambda marks: marks[1] + text + (marks[2] if marks.re is MARKED else "")

    for path, pattern, text in (
        (root / "CONTRIBUTING.md", MARKED, render_list(modules, order)),
        (root / "book" / "package.md", MARKED, render_overview(modules, order)),
        (root / "_toc.yml", MARKED_CONTENTS, contents),
    ):
        found[path], places = pattern.subn(between(text), path.read_text(encoding="utf-8"))
        if places != 1:
            raise ValueError(f"{path.name} marks {places} places for the rooms, and not one.")
    return found


def find_stale(root: Path = ROOT) -> dict[Path, str | None]:
    """Return the files that do not say what the tree says, with what they should hold.

    That is None for a file that was written for a room that is no longer there.
    """
    wanted = render_all(root)
    written = [*(root / "book" / "package").glob("*.md"), *(root / "mnist_lab").rglob("*.pyi")]
    stale: dict[Path, str | None] = {
        path: None
        for path in written
        if path not in wanted and WRITTEN in path.read_text(encoding="utf-8")
    }
    for path, text in wanted.items():
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            stale[path] = text
    return stale


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Write the files, or tell which are out of date; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="?", choices=["write", "check"], default="write")
    checks = parser.parse_args(arguments).what == "check"
    stale = find_stale(root)
    for path, text in stale.items():
        print(path.relative_to(root))
        if checks:
            continue
        if text is None:
            path.unlink()
        else:
            path.parent.mkdir(exist_ok=True)
            write_atomically(path, text)
    return 1 if checks and stale else 0


if __name__ == "__main__":
    sys.exit(main())
