"""tools/rooms.py on a made-up package; the real one is held by test_architecture.py."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tools import rooms
from tools.rooms import (
    ROOMS,
    WRITTEN,
    Module,
    find_stale,
    imported_modules,
    main,
    public_names,
    read_modules,
    render_list,
    render_overview,
    render_page,
    render_stub,
    sort_modules,
    sort_room,
    wrong_imports,
)

CODE = {
    "files": '"""Files | folders."""',
    "data": '"""Digits."""',
    "data.bytes": '"""Bytes."""\nfrom mnist_lab.data.shapes import SHAPE\nclass Bytes: ...',
    "data.shapes": '"""Shapes.\n\nMore.\n"""\nSHAPE = 28\ndef crop(): ...\n_SECRET = 1',
    "lessons": '"""Lessons."""',
    "lessons.plots": '"""Plots."""\ndef plot():\n    from mnist_lab.data.shapes import crop',
    "lessons.tasks": '"""Tasks."""\nfrom mnist_lab.lessons.tasks import ch01',
    "lessons.tasks.ch01": '"""One."""\nfrom mnist_lab.lessons.plots import plot',
    "lessons.tasks.judging": '"""Judging."""',
    "cli": '"""Commands."""\nfrom mnist_lab import __version__\nfrom mnist_lab.data import crop',
}
DEFINITIONS = """
from elsewhere import taken
b, (c, *_d) = 1, (2, 3)
LIMIT: int = 3
_PRIVATE = 4
Floats = list[float]
async def wait():
    inside = 1
def act(): ...
class Thing:
    attribute = 5
owner.attribute = 6
LIMIT = 7
"""
FOLDERS = {"data", "lessons", "lessons.tasks"}
ORDER = ("files", "data", "lessons", "cli")


def module(name: str, code: str) -> Module:
    return Module(name, ast.parse(code), name in FOLDERS)


@pytest.fixture
def modules() -> dict[str, Module]:
    return {name: module(name, code) for name, code in CODE.items()}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """The made-up package as files, with the places that are written, not yet written."""
    for name, code in CODE.items():
        path = tmp_path.joinpath("mnist_lab", *name.split("."))
        path = path / "__init__.py" if name in FOLDERS else path.with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(code + "\n")
    (tmp_path / "mnist_lab" / "__init__.py").write_text('"""The package."""\n')
    (tmp_path / "book").mkdir()
    marked = "Before.\n\n<!-- rooms: written -->\n<!-- /rooms -->\n\nBehind.\n"
    (tmp_path / "CONTRIBUTING.md").write_text(marked)
    (tmp_path / "book" / "package.md").write_text(marked)
    (tmp_path / "_toc.yml").write_text("parts:\n          # rooms: written\n      - file: last\n")
    return tmp_path


class TestReading:
    def test_finds_every_file_by_its_name_and_folders_by_theirs(self, repository: Path) -> None:
        found = read_modules(repository / "mnist_lab")
        assert found.keys() == CODE.keys()
        assert {name for name, module in found.items() if module.is_folder} == FOLDERS
        assert found["data.shapes"].first_line == "Shapes."
        assert found["lessons.tasks.ch01"].room == "lessons"
        assert found["cli"].room == "cli"

    def test_names_what_a_module_defines_constants_first(self) -> None:
        found = public_names(module("data.x", DEFINITIONS))
        assert found == ["LIMIT", "Floats", "Thing", "act", "b", "c", "wait"]

    @pytest.mark.parametrize(
        ("code", "found"),
        [
            ("import torch, mnist_lab.data.shapes", {"data.shapes"}),
            ("from mnist_lab.data import shapes", {"data.shapes"}),
            ("from mnist_lab.data import crop", {"data"}),
            ("from mnist_lab.data.shapes import crop", {"data.shapes"}),
            ("def f():\n    from mnist_lab import data", {"data"}),
            ("from mnist_lab import __version__", set()),
            ("import data.shapes", set()),
            ("import mnist_lab_more.data", set()),
        ],
    )
    def test_finds_what_is_imported(
        self, code: str, found: set[str], modules: dict[str, Module]
    ) -> None:
        assert imported_modules(module("cli", code), modules) == found

    def test_a_relative_import_is_refused(self, modules: dict[str, Module]) -> None:
        with pytest.raises(ValueError, match=r"^data\.bytes imports by a relative name, line 2\.$"):
            imported_modules(module("data.bytes", "\nfrom . import shapes"), modules)


class TestOrder:
    @pytest.mark.parametrize(
        ("name", "code", "wrong"),
        [
            ("files", "from mnist_lab import __version__", []),
            ("files", "import files_of_others", []),
            ("files", "from mnist_lab.data import crop", ["data"]),
            ("files", "import mnist_lab.data.shapes", ["data.shapes"]),
            ("files", "def late():\n    from mnist_lab.cli import main", ["cli"]),
            ("data.bytes", "from mnist_lab.files import write", []),
            ("data.bytes", "from mnist_lab.data.shapes import crop", []),
            ("data.bytes", "from mnist_lab.lessons.plots import plot", ["lessons.plots"]),
            ("data.bytes", "from mnist_lab.data import crop", ["data"]),  # a circle
            ("lessons.tasks", "from mnist_lab.lessons.tasks.ch01 import task", []),
            ("lessons.tasks", "from mnist_lab.lessons import plot", ["lessons"]),
            ("lessons.tasks.ch01", "from mnist_lab.lessons.plots import plot", []),
            ("lessons.tasks.ch01", "from mnist_lab.lessons.tasks import x", ["lessons.tasks"]),
            ("lessons.tasks.ch01", "from mnist_lab.lessons import plot", ["lessons"]),
            ("cli", "from mnist_lab.lessons import plot", []),
            ("cli", "from mnist_lab import fit", ["mnist_lab.fit"]),  # from whichever room it is
            ("cli", "import mnist_lab", ["mnist_lab"]),
        ],
    )
    def test_sees_what_must_not_be_imported(
        self, name: str, code: str, wrong: list[str], modules: dict[str, Module]
    ) -> None:
        assert wrong_imports(module(name, code), modules, ORDER) == wrong

    def test_each_stands_behind_what_it_needs_else_by_the_alphabet(self) -> None:
        needs = {"e": set(), "a": {"d"}, "b": {"a"}, "d": {"elsewhere"}, "c": set()}
        assert sort_modules(needs) == ["c", "d", "a", "b", "e"]

    def test_a_circle_is_named(self) -> None:
        with pytest.raises(ValueError, match=r"in a circle: (a, b, a|b, a, b)\.$"):
            sort_modules({"a": {"b"}, "b": {"a"}, "c": set()})

    def test_a_folder_inside_a_room_needs_what_its_files_need(
        self, modules: dict[str, Module]
    ) -> None:
        assert [m.name for m in sort_room("data", modules)] == ["data.shapes", "data.bytes"]
        modules["lessons.zoom"] = module("lessons.zoom", "")
        modules["lessons.tasks.ch01"] = module(
            "lessons.tasks.ch01", "import mnist_lab.lessons.zoom"
        )
        found = [m.name for m in sort_room("lessons", modules)]
        assert found == ["lessons.plots", "lessons.zoom", "lessons.tasks"]


class TestRendering:
    def test_a_stub_hands_on_each_public_name_and_leaves_folders_to_themselves(
        self, modules: dict[str, Module]
    ) -> None:
        assert render_stub("data", modules).splitlines() == [
            f"# {WRITTEN}",
            "from .bytes import Bytes as Bytes",
            "from .shapes import SHAPE as SHAPE",
            "from .shapes import crop as crop",
        ]
        assert "tasks" not in render_stub("lessons", modules)

    def test_the_list_goes_from_the_bottom_up(self, modules: dict[str, Module]) -> None:
        assert render_list(modules, ORDER).splitlines() == [
            "```",
            "files.py     Files | folders.",
            "data/        Digits.",
            "  shapes.py  Shapes.",
            "  bytes.py   Bytes.",
            "lessons/     Lessons.",
            "  plots.py   Plots.",
            "  tasks/     Tasks.",
            "cli.py       Commands.",
            "```",
        ]

    def test_the_table_has_a_row_each_and_survives_a_bar(self, modules: dict[str, Module]) -> None:
        rows = render_overview(modules, ORDER).splitlines()
        assert len(rows) == 2 + 8
        assert rows[2] == r"| **[files](package/beside)** |  | Files \| folders. |"
        assert rows[3] == "| **[data](package/data)** |  | Digits. |"
        assert rows[4] == "|  | `data.shapes` | Shapes. |"

    def test_a_page_shows_every_module_but_solutions(self, modules: dict[str, Module]) -> None:
        page = render_page("lessons", modules)
        shown = [line.split()[-1] for line in page.splitlines() if "automodule" in line]
        assert shown == [f"mnist_lab.lessons.{n}" for n in ("plots", "tasks", "tasks.judging")]
        assert "\n### tasks.judging\n" in page


class TestStale:
    def test_check_names_what_is_out_of_date_writes_nothing_and_ends_with_1(
        self, repository: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        before = sorted(repository.rglob("*"))
        assert main(["check"], repository) == 1
        assert "CONTRIBUTING.md" in capsys.readouterr().out.splitlines()
        assert sorted(repository.rglob("*")) == before

    def test_once_written_nothing_is_stale(self, repository: Path) -> None:
        assert main([], repository) == 0
        assert find_stale(repository) == {}
        assert main(["check"], repository) == 0
        text = (repository / "CONTRIBUTING.md").read_text()
        assert text.startswith("Before.\n\n<!-- rooms: written -->\n```\nfiles.py")
        assert text.endswith("```\n<!-- /rooms -->\n\nBehind.\n")
        contents = (repository / "_toc.yml").read_text()
        pages = "".join(
            f"          - file: book/package/{n}\n" for n in ("data", "lessons", "beside")
        )
        assert contents == f"parts:\n          # rooms: written\n{pages}      - file: last\n"

    @pytest.mark.parametrize("name", ["data.shapes", "lessons.plots", "cli"])
    def test_a_new_first_line_makes_list_and_table_stale(self, name: str, repository: Path) -> None:
        main([], repository)
        path = repository.joinpath("mnist_lab", *name.split(".")).with_suffix(".py")
        path.write_text(path.read_text().replace('"""', '"""New: ', 1))
        stale = {path.name for path in find_stale(repository)}
        assert stale == {"CONTRIBUTING.md", "package.md"}

    def test_a_new_name_makes_the_stub_stale(self, repository: Path) -> None:
        main([], repository)
        with (repository / "mnist_lab" / "data" / "shapes.py").open("a") as file:
            file.write("def enlarge(): ...\n")
        assert [path.name for path in find_stale(repository)] == ["__init__.pyi"]

    def test_what_was_written_for_a_room_that_is_gone_goes_too(self, repository: Path) -> None:
        main([], repository)
        page, own = (repository / "book" / "package" / f"{name}.md" for name in ("gone", "own"))
        page.write_text(f"% {WRITTEN}\n\n# gone\n")
        own.write_text("# By somebody else\n")
        assert find_stale(repository) == {page: None}
        assert main(["check"], repository) == 1
        assert page.exists()
        main([], repository)
        assert not page.exists()
        assert own.exists()

    @pytest.mark.parametrize("name", ["CONTRIBUTING.md", "_toc.yml", "book/package.md"])
    def test_a_place_that_is_not_marked_is_said(self, name: str, repository: Path) -> None:
        (repository / name).write_text("Nothing is marked.\n")
        with pytest.raises(ValueError, match=r"marks 0 places for the rooms, and not one\.$"):
            find_stale(repository)

    def test_the_command_is_one(self) -> None:
        command = [sys.executable, "-m", "tools.rooms", "--help"]
        found = subprocess.run(command, cwd=rooms.ROOT, capture_output=True, text=True, check=True)
        assert "{write,check}" in found.stdout
        assert set(ROOMS) >= {"data", "lessons"}
