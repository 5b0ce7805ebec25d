"""The package's rooms, as the tree says them: what each hands on, and where that is listed.

    python -m tools.rooms           writes the rooms' .pyi files, CONTRIBUTING's list, the pages
    python -m tools.rooms check     says what of these is out of date, and writes nothing

Nothing here is kept by hand but the order of the rooms. A room's modules, their order (from what
they import) and their first lines come from the files; what a room hands on is every public name
of its modules, imported when it is first asked for (lazy_loader reads the .pyi at run time).
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from mnist_lab.files import write_atomically

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "mnist_lab"
PAGES = ROOT / "book" / "package"
# From the bottom up: a room, or a file beside the rooms, imports only from those before it.
ROOMS = (
    *("files", "data", "by_hand", "models", "training", "finetuning"),
    *("handwriting", "lessons", "export", "cli", "__main__"),
)
MARKS = re.compile(r"(<!-- rooms:.*?-->\n).*?(<!-- /rooms -->)", re.DOTALL)


@dataclass(frozen=True)
class Module:
    """A file of the package: its name within it, such as "data.splits", and its syntax tree."""

    name: str
    path: Path
    tree: ast.Module

    @property
    def first_line(self) -> str:
        """What it is for, in one line."""
        return (ast.get_docstring(self.tree) or "").partition("\n")[0]

    @property
    def room(self) -> str:
        """The room it is in, or its own name where it stands beside the rooms."""
        return self.name.partition(".")[0]


def read_modules(package: Path = PACKAGE) -> dict[str, Module]:
    """Return every module by name, the package's own `__init__` aside; a folder's goes by it."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        name = ".".join(path.relative_to(package).with_suffix("").parts)
        name = "" if name == "__init__" else name.removesuffix(".__init__")
        if name:
            found[name] = Module(name, path, ast.parse(path.read_text(encoding="utf-8"), str(path)))
    return found


def public_names(tree: ast.Module) -> list[str]:
    """Return the functions, classes and constants of a module whose names have no underscore."""
    names: list[str] = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.append(node.name)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.append(node.target.id)
        elif isinstance(node, ast.Assign):
            names += [target.id for target in node.targets if isinstance(target, ast.Name)]
    return [name for name in names if not name.startswith("_")]


def imported_modules(module: Module, modules: dict[str, Module]) -> set[str]:
    """Return the names of the package's modules that a module imports, inside functions too."""
    found = set()
    for node in ast.walk(module.tree):
        full = []
        if isinstance(node, ast.Import):
            full = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            full = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in full:
            inside = name.removeprefix("mnist_lab.") if name.startswith("mnist_lab.") else ""
            while inside and inside not in modules:
                inside = inside.rpartition(".")[0]
            if inside:
                found.add(inside)
    return found - {module.name}


def sort_room(room: str, modules: dict[str, Module]) -> list[Module]:
    """Return a room's own modules, each behind those of the room that it imports.

    Raises
    ------
    ValueError
        If some import each other in a circle.
    """
    own = [m for name, m in modules.items() if m.room == room and name != room]
    # A folder inside a room is one entry there.
    own = [m for m in own if m.name.count(".") == 1]
    needs = {m.name: _entries(imported_modules_below(m, modules), room) - {m.name} for m in own}
    ordered: list[Module] = []
    while len(ordered) < len(own):
        placed = {m.name for m in ordered}
        ready = [m for m in own if m.name not in placed and needs[m.name] <= placed]
        if not ready:
            left = ", ".join(sorted(needs.keys() - placed))
            raise ValueError(f"In the room {room} these import each other in a circle: {left}.")
        ordered.append(ready[0])
    return ordered


def imported_modules_below(module: Module, modules: dict[str, Module]) -> set[str]:
    """Return what a module imports, or, of a folder, what any of its files does."""
    inside = [m for name, m in modules.items() if f"{name}.".startswith(f"{module.name}.")]
    return set().union(*(imported_modules(m, modules) for m in inside))


def _entries(names: set[str], room: str) -> set[str]:
    """Return names such as "lessons.exercises.ch01" as the room lists them: "lessons.exercises"."""
    parts = [name.split(".") for name in names]
    return {".".join(part[:2]) for part in parts if part[0] == room and len(part) > 1}


# --- What is written -----------------------------------------------------------------------------


def render_stub(room: str, modules: dict[str, Module]) -> str:
    """Return a room's `.pyi`: each public name and where it is found."""
    lines = []
    for module in sorted(sort_room(room, modules), key=lambda module: module.name):
        names = sorted(public_names(module.tree))
        if names and not module.path.name == "__init__.py":
            imports = "".join(f"    {name} as {name},\n" for name in names)
            lines.append(f"from .{module.name.rpartition('.')[2]} import (\n{imports})\n")
    return "".join(lines)


def render_list(modules: dict[str, Module]) -> str:
    """Return CONTRIBUTING's list: rooms from the bottom up, and in each its modules likewise."""
    width = max(len(_file(m)) for m in modules.values() if m.name.count(".") < 2)
    lines = []
    for room in ROOMS:
        if room not in modules:
            continue
        lines.append(f"{_file(modules[room]):{width + 4}}{modules[room].first_line}")
        if modules[room].path.name == "__init__.py":
            lines += [
                f"  {_file(module):{width + 2}}{module.first_line}"
                for module in sort_room(room, modules)
            ]
    return "```\n" + "\n".join(lines) + "\n```\n"


def _file(module: Module) -> str:
    last = module.name.rpartition(".")[2]
    return f"{last}/" if module.path.name == "__init__.py" else f"{last}.py"


def render_overview(modules: dict[str, Module]) -> str:
    """Return the table at the top of the package page: a row for each module."""
    rows = ["| room | module | what it is for |", "|---|---|---|"]
    for room in ROOMS:
        if room not in modules or room == "__main__":
            continue
        page = (
            f"[{room}](package/{room})"
            if (PACKAGE / room).is_dir()
            else f"[{room}](package/beside)"
        )
        rows.append(f"| **{page}** | | {modules[room].first_line} |")
        if (PACKAGE / room).is_dir():
            rows += [
                f"| | `{module.name}` | {module.first_line} |"
                for module in sort_room(room, modules)
            ]
    return "\n".join(rows) + "\n"


def render_page(room: str, modules: dict[str, Module]) -> str:
    """Return a room's page: what each module says of itself and of its parts."""
    parts = [f"# {room}\n\n{modules[room].first_line}\n"]
    for module in sort_room(room, modules):
        parts.append(_reference(module))
        if module.path.name == "__init__.py":
            inner = [m for name, m in modules.items() if name.startswith(f"{module.name}.")]
            # The files of the chapters' exercises hold solutions: nobody looks them up.
            parts += [_reference(m, 3) for m in inner if not re.search(r"\.ch\d\d$", m.name)]
    return "\n".join(parts)


def render_beside(modules: dict[str, Module]) -> str:
    """Return the page of the files that stand beside the rooms."""
    files = [modules[room] for room in ROOMS if room in modules and not (PACKAGE / room).is_dir()]
    parts = ["# Beside the rooms\n\nFiles that every room may need, or that need every room.\n"]
    return "\n".join(parts + [_reference(module) for module in files if module.name != "__main__"])


def _reference(module: Module, level: int = 2) -> str:
    directive = f".. automodule:: mnist_lab.{module.name}\n   :members:\n"
    return f"{'#' * level} {module.name.partition('.')[2] or module.name}\n\n```{{eval-rst}}\n{directive}```\n"


def render_all() -> dict[Path, str]:
    """Return every file that is written from the tree, with its content."""
    modules = read_modules()
    rooms = [room for room in ROOMS if room in modules and (PACKAGE / room).is_dir()]
    found = {PACKAGE / room / "__init__.pyi": render_stub(room, modules) for room in rooms}
    found |= {PAGES / f"{room}.md": render_page(room, modules) for room in rooms}
    found[PAGES / "beside.md"] = render_beside(modules)
    for path, text in (
        (ROOT / "CONTRIBUTING.md", render_list(modules)),
        (ROOT / "book" / "package.md", render_overview(modules)),
    ):
        before = path.read_text(encoding="utf-8")
        found[path] = MARKS.sub(lambda match, text=text: f"{match[1]}{text}{match[2]}", before)
    pages = "".join(f"          - file: book/package/{name}\n" for name in (*rooms, "beside"))
    contents = ROOT / "_toc.yml"
    marked = re.compile(r"( +# rooms:.*\n)(?: +- file: book/package/\w+\n)*")
    found[contents] = marked.sub(
        lambda match: match[1] + pages, contents.read_text(encoding="utf-8")
    )
    return found


def find_stale() -> dict[Path, str]:
    """Return the files that do not say what the tree says, with what they should hold."""
    return {
        path: text
        for path, text in render_all().items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    }


def main() -> int:
    """Write the files, or tell which are out of date."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("what", nargs="?", choices=["write", "check"], default="write")
    stale = find_stale()
    if parser.parse_args().what == "write":
        for path, text in stale.items():
            path.parent.mkdir(exist_ok=True)
            write_atomically(path, text)
    for path in stale:
        print(path.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
