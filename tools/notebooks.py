"""The chapters as text, executed, and without their solutions.

    python -m tools.notebooks text       notebooks/*.ipynb -> notebooks/*.md, to be edited
    python -m tools.notebooks refresh    folds the text back, executes, stores the outputs
    python -m tools.notebooks student    _build/student/*.ipynb, without the solutions

A chapter is edited as text (MyST Markdown) and its outputs come from running it: nobody edits the
JSON by hand. `refresh` runs each chapter in an empty folder, as Colab does, and keeps no timings,
so that a diff shows what changed and nothing else. A new chapter starts as a `.md` alone.
"""

from __future__ import annotations

import argparse
import copy
import sys
import tempfile
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellControlSignal, DeadKernelError
from nbformat import NotebookNode
from tqdm import tqdm

from mnist_lab.files import write_atomically

ROOT = Path(__file__).parents[1]
NOTEBOOKS = ROOT / "notebooks"
STUDENT = ROOT / "_build" / "student"
TEXT_FORMAT = "md:myst"
SOLUTION = "solution"  # the tag of a cell that students do not see
FOLDED = {"code_prompt_show": "Show the solution", "code_prompt_hide": "Hide the solution"}
# A widget lives in a kernel; what is stored is the picture that `explore` puts beside it.
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
# What every chapter says about its kernel: no version and no name of one machine.
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def write_text(folder: Path = NOTEBOOKS) -> list[Path]:
    """Write each chapter as text beside it and return the text files."""
    written = []
    for path in sorted(folder.glob("ch*.ipynb")):
        text = path.with_suffix(".md")
        write_atomically(text, jupytext.writes(nbformat.read(path, as_version=4), TEXT_FORMAT))
        written.append(text)
    return written


def refresh(folder: Path = NOTEBOOKS, only: list[str] | None = None) -> list[Path]:
    """Fold edited text back, execute every chapter in an empty folder, and store the outputs.

    Raises
    ------
    SystemExit
        If a chapter fails or prints a warning; its notebook is then left as it was.
    """
    names = sorted({path.stem for kind in ("ipynb", "md") for path in folder.glob(f"ch*.{kind}")})
    names = [name for name in names if not only or name.partition("_")[0] in only]
    for name in tqdm(names, unit="chapter"):
        path, text = folder / f"{name}.ipynb", folder / f"{name}.md"
        notebook = _fold_in(path, text)
        _execute(notebook, name)
        write_atomically(path, nbformat.writes(notebook) + "\n")
        text.unlink(missing_ok=True)
    return [folder / f"{name}.ipynb" for name in names]


def _fold_in(path: Path, text: Path) -> NotebookNode:
    """Return the chapter with what its text says; ids of cells that were there stay."""
    old = nbformat.read(path, as_version=4) if path.exists() else None
    if not text.exists():
        assert old is not None
        return old
    new = jupytext.reads(text.read_text(encoding="utf-8"), TEXT_FORMAT)
    ids = {(cell.cell_type, cell.source): cell.id for cell in old.cells} if old else {}
    for number, cell in enumerate(new.cells):
        cell.id = ids.pop((cell.cell_type, cell.source), None) or f"{number:03d}-{cell.id}"
    return new


def _execute(notebook: NotebookNode, name: str) -> None:
    notebook.metadata = nbformat.from_dict(copy.deepcopy(METADATA))
    with tempfile.TemporaryDirectory() as empty:
        client = NotebookClient(
            notebook,
            timeout=600,
            kernel_name="python3",
            record_timing=False,
            store_widget_state=False,
            resources={"metadata": {"path": empty}},
        )
        try:
            client.execute()
        except (CellControlSignal, DeadKernelError) as error:
            sys.exit(f"{name}: {error}")
    notebook.metadata = nbformat.from_dict(copy.deepcopy(METADATA))
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # the timings of an editor that ran it before
        if SOLUTION in cell.metadata.get("tags", []):
            cell.metadata["mystnb"] = FOLDED
        for output in cell.get("outputs", []):
            output.get("data", {}).pop(WIDGET_VIEW, None)
            if output.get("name") == "stderr":
                sys.exit(f"{name}: a cell writes to standard error:\n{output.text}")


def write_student_version(folder: Path = NOTEBOOKS, target: Path = STUDENT) -> list[Path]:
    """Write each chapter with an empty cell in the place of every solution."""
    target.mkdir(parents=True, exist_ok=True)
    written = []
    for path in sorted(folder.glob("ch*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        notebook.cells = [_without_solution(cell) for cell in notebook.cells]
        student = target / path.name
        write_atomically(student, nbformat.writes(notebook) + "\n")
        written.append(student)
    return written


def _without_solution(cell: NotebookNode) -> NotebookNode:
    if SOLUTION not in cell.metadata.get("tags", []):
        return cell
    if cell.cell_type == "code":
        return nbformat.v4.new_code_cell("# Your answer\n", id=cell.id)
    return nbformat.v4.new_markdown_cell("*Your answer*", id=cell.id)


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("what", choices=["text", "refresh", "student"])
    parser.add_argument("chapters", nargs="*", help="for refresh: ch01 ch05 ...; default: all")
    arguments = parser.parse_args()
    if arguments.what == "text":
        files = write_text()
    elif arguments.what == "refresh":
        files = refresh(only=arguments.chapters)
    else:
        files = write_student_version()
    for file in files:
        print(file.relative_to(ROOT))


if __name__ == "__main__":
    main()
