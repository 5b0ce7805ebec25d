"""Chapters as text and back, executed, and without their solutions."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tools import notebooks
from tools.notebooks import SOLUTION, begun, refresh, write_student_version, write_text

NAME = "ch01_try_it"


def chapter() -> NotebookNode:
    """Return a chapter that was run elsewhere, with all that an editor leaves behind."""
    cells = [
        new_markdown_cell("# Try it\n\nSome $x^2$.", id="title"),
        new_code_cell("x = 6 * 7\nx", id="product", execution_count=31),
        new_code_cell("print('solved')", id="answer", metadata={"tags": [SOLUTION, "hide-cell"]}),
        new_markdown_cell("*Because.*", id="reason", metadata={"tags": [SOLUTION]}),
        new_code_cell(
            "from pathlib import Path\nlist(Path().iterdir())",
            id="folder",
            metadata={"execution": {"iopub.execute_input": "2026-01-01T00:00:00Z"}},
        ),
    ]
    metadata = {
        "kernelspec": {"display_name": "my venv", "language": "python", "name": "my-venv"},
        "language_info": {"name": "python", "version": "3.9.1"},
        "widgets": {"state": {}},
    }
    return new_notebook(cells=cells, metadata=metadata)


def write(folder: Path, notebook: NotebookNode, name: str = NAME) -> Path:
    path = folder / f"{name}.ipynb"
    nbformat.write(notebook, path)
    return path


def read(path: Path) -> NotebookNode:
    notebook: NotebookNode = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return notebook


@pytest.fixture(scope="module")
def refreshed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Write a chapter as text, edit the text, and refresh: one kernel serves several tests."""
    folder = tmp_path_factory.mktemp("notebooks")
    path = write(folder, chapter())
    (text,) = write_text(folder)
    written = text.read_text()
    text.write_text(written.replace("x = 6 * 7", "x = 6 * 8").replace("Some $x^2$", "More $x^3$"))
    returned = refresh(folder)
    return {
        "path": path,
        "text": text,
        "written": written,
        "returned": returned,
        "notebook": read(path),
    }


class TestText:
    def test_holds_prose_code_and_tags_but_no_outputs(self, refreshed: dict[str, Any]) -> None:
        text = refreshed["written"]
        for part in ("# Try it", "$x^2$", "x = 6 * 7", "{code-cell}", SOLUTION):
            assert part in text

    def test_lies_beside_the_notebook(self, tmp_path: Path) -> None:
        write(tmp_path, chapter())
        assert write_text(tmp_path) == [tmp_path / f"{NAME}.md"]


class TestRefresh:
    def test_that_was_edited_is_not_written_over(self, tmp_path: Path) -> None:
        write(tmp_path, chapter())
        (text,) = write_text(tmp_path)
        assert write_text(tmp_path) == [text]  # nothing is lost
        text.write_text("edited")
        with pytest.raises(SystemExit, match=r"\.md has been edited: fold it in with refresh"):
            write_text(tmp_path)
        assert text.read_text() == "edited"

    def test_folds_the_edited_text_in_and_takes_it_away(self, refreshed: dict[str, Any]) -> None:
        sources = [cell.source for cell in refreshed["notebook"].cells]
        assert sources[:2] == ["# Try it\n\nMore $x^3$.", "x = 6 * 8\nx"]
        assert sources[2:3] == ["# @title Solution\nprint('solved')"]
        assert sources[3:] == [cell.source for cell in chapter().cells[3:]]
        assert not refreshed["text"].exists()
        assert refreshed["returned"] == [refreshed["path"]]

    def test_stores_what_the_cells_print(self, refreshed: dict[str, Any]) -> None:
        _, product, answer, _, _ = refreshed["notebook"].cells
        assert product.outputs[0].data["text/plain"] == "48"
        assert answer.outputs[0].text == "solved\n"

    def test_runs_in_an_empty_folder(self, refreshed: dict[str, Any]) -> None:
        assert refreshed["notebook"].cells[4].outputs[0].data["text/plain"] == "[]"

    def test_keeps_ids_of_cells_that_were_not_edited_and_all_tags(
        self, refreshed: dict[str, Any]
    ) -> None:
        cells = refreshed["notebook"].cells
        assert [cell.id for cell in cells[2:]] == ["answer", "reason", "folder"]
        assert len({cell.id for cell in cells}) == 5
        assert [cell.metadata.get("tags", []) for cell in cells] == [
            *([], [], [SOLUTION, "hide-cell"], [SOLUTION], [])
        ]

    def test_folds_what_is_hidden_on_the_page(self, refreshed: dict[str, Any]) -> None:
        _, product, answer, reason, _ = refreshed["notebook"].cells
        assert answer.metadata["jupyter"] == {"source_hidden": True, "outputs_hidden": True}
        assert answer.metadata["cellView"] == "form"
        assert "jupyter" not in product.metadata | reason.metadata

    def test_leaves_no_timing_no_version_and_no_name_of_a_machine(
        self, refreshed: dict[str, Any]
    ) -> None:
        notebook = refreshed["notebook"]
        assert notebook.metadata == notebooks.METADATA
        text = refreshed["path"].read_text()
        for trace in ("iopub", 'execution"', "3.9.1", "my-venv", "jupytext", "widgets"):
            assert trace not in text
        counts = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"]
        assert counts == [1, 2, 3]

    def test_a_second_refresh_changes_nothing(self, refreshed: dict[str, Any]) -> None:
        before = refreshed["path"].read_bytes()
        refresh(refreshed["path"].parent)
        assert refreshed["path"].read_bytes() == before

    def test_without_a_text_leaves_no_trace_of_an_editor_either(self, tmp_path: Path) -> None:
        path = write(tmp_path, chapter())
        assert "iopub" in path.read_text()
        refresh(tmp_path)
        assert "execution" not in {key for cell in read(path).cells for key in cell.metadata}
        assert read(path).metadata == notebooks.METADATA
        assert [cell.id for cell in read(path).cells] == [cell.id for cell in chapter().cells]

    def test_a_chapter_may_start_as_text_alone(self, tmp_path: Path) -> None:
        text = tmp_path / "ch02_begin.md"
        text.write_text("# Begin\n\n```{code-cell}\nprint(1 + 1)\n```\n")
        write(tmp_path, chapter())
        other = (tmp_path / f"{NAME}.ipynb").read_bytes()
        (path,) = refresh(tmp_path, only=["ch02"])
        assert read(path).cells[1].outputs[0].text == "2\n"
        assert not text.exists()
        assert (tmp_path / f"{NAME}.ipynb").read_bytes() == other  # only ch02 was asked for

    @pytest.mark.parametrize(
        ("code", "complaint"),
        [
            ("1 / 0", "ZeroDivisionError"),
            ("import warnings\nwarnings.warn('old')", "standard error"),
        ],
    )
    def test_a_failure_or_a_warning_stops_and_leaves_the_notebook_as_it_was(
        self, code: str, complaint: str, tmp_path: Path
    ) -> None:
        notebook = chapter()
        notebook.cells[1].source = code
        path = write(tmp_path, notebook)
        write_text(tmp_path)
        before = path.read_bytes()
        with pytest.raises(SystemExit) as caught:
            refresh(tmp_path)
        assert str(caught.value).startswith(f"{NAME}: ")
        assert complaint in str(caught.value)
        assert path.read_bytes() == before
        assert path.with_suffix(".md").exists()  # nor is the edited text lost


CHAPTERS = sorted(notebooks.NOTEBOOKS.glob("ch*.ipynb"))


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem[:4])
class TestFolding:
    """Where a chapter is run, what answers an exercise or draws is as folded as on the page."""

    def test_is_the_same_on_the_page_in_jupyter_and_in_colab(self, path: Path) -> None:
        for cell in read(path).cells:
            tags = cell.metadata.get("tags", [])
            folded = "hide-cell" in tags
            code_folded = folded or ("hide-input" in tags and not notebooks.installs(cell))
            jupyter = cell.metadata.get("jupyter", {})
            assert bool(jupyter.get("source_hidden")) == code_folded, cell.source
            assert bool(jupyter.get("outputs_hidden")) == folded, cell.source
            assert (cell.metadata.get("cellView") == "form") == code_folded, cell.source
            assert folded or SOLUTION not in tags, cell.source

    def test_shows_no_line_of_a_solution(self, path: Path) -> None:
        """Jupyter shows the first line of what it folds, Colab the title of a form."""
        for cell in read(path).cells:
            if SOLUTION in cell.metadata.get("tags", []):
                assert cell.source.splitlines()[0].startswith("# @title ")

    def test_asks_for_a_gpu_where_networks_are_trained(self, path: Path) -> None:
        metadata = read(path).metadata
        trains = 5 <= int(path.stem[2:4]) <= 13
        assert (metadata.get("accelerator") == "GPU") == trains
        assert (metadata.get("colab", {}).get("gpuType") == "T4") == trains

    def test_is_what_a_refresh_writes(self, path: Path) -> None:
        stored, again = read(path), read(path)
        for cell in again.cells:
            notebooks.fold(cell)
        assert stored.metadata == notebooks.metadata_of(path.stem)
        assert stored.cells == again.cells

    def test_survives_being_edited_as_text(self, path: Path, tmp_path: Path) -> None:
        copy = tmp_path / path.name
        copy.write_bytes(path.read_bytes())
        (text,) = write_text(tmp_path)
        before, after = read(copy).cells, notebooks._fold_in(copy, text).cells
        for cell in after:
            notebooks.fold(cell)
        assert [cell.metadata for cell in after] == [cell.metadata for cell in before]


class TestIds:
    """Without a kernel: only what is folded in."""

    def fold(self, tmp_path: Path, notebook: NotebookNode, old: str, new: str) -> list[str]:
        path = write(tmp_path, notebook)
        (text,) = write_text(tmp_path)
        text.write_text(text.read_text().replace(old, new))
        return [cell.id for cell in notebooks._fold_in(path, text).cells]

    def test_of_unchanged_cells_stay(self, tmp_path: Path) -> None:
        found = self.fold(tmp_path, chapter(), "nothing", "nothing")
        assert found == ["title", "product", "answer", "reason", "folder"]

    def test_of_two_cells_that_say_the_same_differ(self, tmp_path: Path) -> None:
        cells = [new_code_cell("x", id="first"), new_code_cell("x", id="second")]
        found = self.fold(tmp_path, new_notebook(cells=cells), "nothing", "nothing")
        assert len(set(found)) == 2

    def test_are_valid_for_new_cells(self, tmp_path: Path) -> None:
        found = self.fold(tmp_path, chapter(), "x = 6 * 7", "x = 5")
        assert found[0] == "title"
        assert all(1 <= len(identity) <= 64 for identity in found)


class TestStudent:
    @pytest.fixture
    def student(self, tmp_path: Path) -> NotebookNode:
        write(tmp_path, chapter())
        (path,) = write_student_version(tmp_path, tmp_path / "student")
        assert path == tmp_path / "student" / f"{NAME}.ipynb"
        return read(path)

    def test_holds_no_solution(self, student: NotebookNode) -> None:
        text = json.dumps(student)
        assert SOLUTION not in text
        assert "solved" not in text
        assert "Because" not in text

    def test_keeps_the_other_cells_and_leaves_room_for_answers(self, student: NotebookNode) -> None:
        original = chapter()
        assert [cell.cell_type for cell in student.cells] == [
            cell.cell_type for cell in original.cells
        ]
        for index in (0, 1, 4):
            assert student.cells[index].source == original.cells[index].source
        assert student.cells[2].source.startswith("# Your answer")
        assert student.cells[2].outputs == []

    def test_turns_a_solution_into_a_place_to_begin(self, tmp_path: Path) -> None:
        cell = new_code_cell("def f(x):\n    return 7 * x\n\nassert check('f', f)", id="f")
        cell.metadata["tags"] = [SOLUTION]
        write(tmp_path, new_notebook(cells=[cell]))
        (path,) = write_student_version(tmp_path, tmp_path / "student")
        assert read(path).cells[0].source == "def f(x):\n    ...  # your code\n\ncheck('f', f)\n"

    def test_takes_out_a_folded_proof(self, tmp_path: Path) -> None:
        task = "**8. Prove it.** Show that 6 x 7 = 42.\n\n"
        proof = "<details>\n<summary>The proof</summary>\n\nBecause.\n\n</details>"
        write(tmp_path, new_notebook(cells=[new_markdown_cell(task + proof, id="f")]))
        (path,) = write_student_version(tmp_path, tmp_path / "student")
        assert read(path).cells[0].source == task + "*Your answer*"

    def test_leaves_the_original_alone(self, tmp_path: Path) -> None:
        path = write(tmp_path, chapter())
        before = path.read_bytes()
        write_student_version(tmp_path, tmp_path / "student")
        assert path.read_bytes() == before

    def test_of_the_real_chapters_holds_no_solution_either(self, tmp_path: Path) -> None:
        for path in write_student_version(target=tmp_path):
            for cell in read(path).cells:
                assert SOLUTION not in cell.metadata.get("tags", [])
                assert "<details>" not in cell.source

    def test_of_the_real_chapters_can_be_run_and_asserts_nothing_of_an_answer(self) -> None:
        for path in notebooks.NOTEBOOKS.glob("ch*.ipynb"):
            for cell in read(path).cells:
                if cell.cell_type == "code" and SOLUTION in cell.metadata.get("tags", []):
                    left = ast.parse(begun(cell.source))
                    assert not [node for node in ast.walk(left) if isinstance(node, ast.Assert)]


SOLVED = '''\
import math

from mnist_lab.lessons.exercises import check


@remember
def softmax(
    logits,  # (n, k)
    scale=1.0,
):  # (n, k) -> (n, k)
    """Return probabilities.

    Each row sums to 1.
    """
    # secret
    shifted = logits - secret
    return shifted


def one(x): return secret
def two(x):
    # secret

    @secret
    def inner():
        ...
    return inner
def three():
    """Only words."""


secret = 3
print(secret)  # secret
assert check("softmax", softmax), "secret"
faulty = {"secret"}
other: float = secret
first, second = secret
assert check("one", one) and check("two", two)
check("suspects", faulty)
assert check("other", other)
assert check(
    "smallest_loss",
    "secret",
)
check("three", lambda x: secret)
check("first", first)
assert check("earlier", earlier)
assert secret == 3
for name in secret:
    check("secret", name)
class Secret:
    pass
'''

BEGUN = '''\
import math
from mnist_lab.lessons.exercises import check

@remember
def softmax(
    logits,  # (n, k)
    scale=1.0,
):  # (n, k) -> (n, k)
    """Return probabilities.

    Each row sums to 1.
    """
    ...  # your code

def one(x):
    ...  # your code

def two(x):
    ...  # your code

def three():
    """Only words."""
    ...  # your code

# Your answer

check("softmax", softmax)

faulty = ...  # your answer
other = ...  # your answer

# Your answer

check("one", one)
check("two", two)
check("suspects", faulty)
check("other", other)
check("smallest_loss", ...)
check("three", ...)
check("first", ...)
check("earlier", earlier)

# Your answer
'''


class TestBegun:
    def test_keeps_heads_docstrings_imports_and_checks_and_nothing_else(self) -> None:
        assert begun(SOLVED) == BEGUN

    def test_gives_code_that_runs(self) -> None:
        assert ast.parse(begun(SOLVED))

    @pytest.mark.parametrize(
        "code",
        [
            "print('secret')",
            "import math\nsecret = math.pi",
            "%timeit secret()",
            "x = 1\ny = 2  # secret\nassert x < y",
            "checked = check('name', secret)",
            "",
        ],
    )
    def test_without_functions_and_checks_leaves_a_line(self, code: str) -> None:
        assert begun(code) == "# Your answer\n"

    @pytest.mark.parametrize(
        ("head", "docstring"),
        [
            ("def f(x: dict[str, int] = {'a': 1}) -> int:", None),
            ("async def f():", "Wait."),
            ("def f(x, /, *rest, key=None, **others):  # why: because", "Two\n\n    lines."),
            ("@a\n@b(c=':')\ndef f():", None),
        ],
    )
    @pytest.mark.parametrize("indent", ["    ", "  ", "\t"])
    def test_keeps_any_head_as_it_is_written(
        self, head: str, docstring: str | None, indent: str
    ) -> None:
        words = f'{indent}"""{docstring}"""\n' if docstring else ""
        code = f"{head}\n{words}{indent}secret = 1\n{indent}return secret\n"
        assert begun(code) == f"{head}\n{words}{indent}...  # your code\n"

    def test_of_a_function_in_one_line_keeps_its_docstring(self) -> None:
        expected = 'def f(x: int) -> int:\n    """Say it."""\n    ...  # your code\n'
        assert begun('def f(x: int) -> int: """Say it."""; return 1') == expected
