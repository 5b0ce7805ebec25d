"""The chapters as text, executed, and without their solutions.

    python -m tools.notebooks text       notebooks/*.ipynb -> notebooks/*.md, to be edited
    python -m tools.notebooks refresh    folds the text back, executes, stores the outputs
    python -m tools.notebooks student    _build/student/*.ipynb, without the solutions

A chapter is edited as text (MyST Markdown) and its outputs come from running it: nobody edits the
JSON by hand. `refresh` runs each chapter in an empty folder, as Colab does, and keeps no timings,
so that a diff shows what changed and nothing else. A new chapter starts as a `.md` alone.

In the student version a solution becomes a place to begin: the heads of its functions stay, with
their docstrings, and so do the calls of `check` that judge an answer.
"""

from __future__ import annotations

import argparse
import ast
import copy
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellControlSignal, DeadKernelError
from nbformat import NotebookNode
from tqdm import tqdm

from mnist_lab.files import write_atomically
from tools.check_chapters import CELL_TIMEOUT, ONE_THREAD

ROOT = Path(__file__).parents[1]
NOTEBOOKS = ROOT / "notebooks"
STUDENT = ROOT / "_build" / "student"
TEXT_FORMAT = "md:myst"
SOLUTION = "solution"  # the tag of a cell that students do not see
CHECK = "check"  # the function of mnist_lab.lessons.exercises that judges an answer
EMPTY = "# Your answer"
PROOF = re.compile(r"<details>.*?</details>", re.DOTALL)  # a solution in words, folded
# What a page folds is folded wherever a chapter is run: by JupyterLab and Notebook 7, which look
# for `jupyter`, and by Colab, which shows of a form its title and a button "Show code". The output
# goes with the code, as on the page: it often is the answer. So may be the first line, which
# Jupyter shows of what it folds: in a solution that is a title, and Colab's form has it too.
FOLDED = "hide-cell"  # the tag by which a page folds a cell
TITLE = "# @title "
FOLD = {"jupyter": {"source_hidden": True, "outputs_hidden": True}, "cellView": "form"}
# A widget lives in a kernel; what is stored is the picture that `explore` puts beside it.
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
# A cell that draws shows its figure; its code, and the words for who does not see it, are folded.
DRAWS = "hide-input"
FOLD_CODE = {"jupyter": {"source_hidden": True}, "cellView": "form"}
# What every chapter says about its kernel: no version and no name of one machine.
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
# The chapters that train networks for longer than it takes to draw one ask Colab for a GPU.
TRAINING_CHAPTERS = range(5, 14)
GPU = {"accelerator": "GPU", "colab": {"gpuType": "T4", "provenance": []}}


def write_text(folder: Path = NOTEBOOKS) -> list[Path]:
    """Write each chapter as text beside it and return the text files.

    Raises
    ------
    SystemExit
        If a text is there that says something else, as its edits would be lost; none is written.
    """
    texts = {
        path.with_suffix(".md"): jupytext.writes(nbformat.read(path, as_version=4), TEXT_FORMAT)
        for path in sorted(folder.glob("ch*.ipynb"))
    }
    for path, text in texts.items():
        if path.exists() and path.read_text(encoding="utf-8") != text:
            sys.exit(f"{path.name} has been edited: fold it in with refresh, or remove it.")
    for path, text in texts.items():
        write_atomically(path, text)
    return list(texts)


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


def metadata_of(name: str) -> dict[str, Any]:
    """Return what the chapter of this name, such as "ch05_train_a_cnn", says about itself."""
    number = int(name[2:4])
    return copy.deepcopy(METADATA | (GPU if number in TRAINING_CHAPTERS else {}))


def fold(cell: NotebookNode) -> None:
    """Have a cell that a page folds be folded in JupyterLab and in Colab too."""
    tags = cell.metadata.get("tags", [])
    if SOLUTION in tags and cell.cell_type == "code" and not cell.source.startswith(TITLE):
        cell.source = f"{TITLE}Solution\n{cell.source}"
    if FOLDED in tags:
        cell.metadata.update(copy.deepcopy(FOLD))
        if cell.source.startswith(TITLE):
            cell.metadata["mystnb"] = prompts(cell.source.partition("\n")[0].removeprefix(TITLE))
    if DRAWS in tags and not installs(cell):
        cell.metadata.update(copy.deepcopy(FOLD_CODE))


def prompts(title: str) -> dict[str, str]:
    """Return what a page says at a folded cell with a title.

    >>> prompts("Solution")
    {'code_prompt_show': 'Show the solution', 'code_prompt_hide': 'Hide the solution'}
    """
    what = "the solution" if title == "Solution" else title[0].lower() + title[1:]
    return {"code_prompt_show": f"Show {what}", "code_prompt_hide": f"Hide {what}"}


def installs(cell: NotebookNode) -> bool:
    """Whether this is a chapter's first cell, which a page folds, and whoever runs it sees."""
    return "def run_pip(" in cell.source


def _execute(notebook: NotebookNode, name: str) -> None:
    notebook.metadata = nbformat.from_dict(metadata_of(name))
    with tempfile.TemporaryDirectory() as empty:
        client = NotebookClient(
            notebook,
            timeout=CELL_TIMEOUT,
            kernel_name="python3",
            record_timing=False,
            store_widget_state=False,
            coalesce_streams=True,
            resources={"metadata": {"path": empty}},
        )
        try:
            client.execute(env=ONE_THREAD | os.environ)
        except (CellControlSignal, DeadKernelError) as error:
            sys.exit(f"{name}: {error}")
    notebook.metadata = nbformat.from_dict(metadata_of(name))
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # the timings of an editor that ran it before
        fold(cell)
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
    if cell.cell_type == "markdown" and PROOF.search(cell.source):
        source = PROOF.sub("*Your answer*", cell.source)
        return nbformat.v4.new_markdown_cell(source, id=cell.id)
    if SOLUTION not in cell.metadata.get("tags", []):
        return cell
    if cell.cell_type == "code":
        return nbformat.v4.new_code_cell(begun(cell.source), id=cell.id)
    return nbformat.v4.new_markdown_cell("*Your answer*", id=cell.id)


def begun(solution: str) -> str:
    """Return what is left of a solution for a student to begin with.

    Functions keep their head and docstring, imports stay, and so do calls of `check`, in which a
    value gives way to dots. All else, comments included, becomes a line that asks for an answer. A
    solution without functions and checks leaves that line alone.
    """
    try:
        tree = ast.parse(solution)
    except SyntaxError:  # a command of IPython's
        return f"{EMPTY}\n"
    pieces: list[tuple[str, str]] = []  # kind and text
    for statement in tree.body:
        piece = _begun_statement(statement, solution, tree)
        if piece != ("answer", EMPTY) or piece not in pieces[-1:]:
            pieces.append(piece)
    if not any(kind in {"function", "check"} for kind, _ in pieces):
        return f"{EMPTY}\n"
    text, before = "", ""
    for kind, piece_text in pieces:
        apart = before and (kind != before or kind == "function")
        text += ("\n" if apart else "") + piece_text + "\n"
        before = kind
    return text


def _begun_statement(statement: ast.stmt, source: str, tree: ast.Module) -> tuple[str, str]:
    """Return the kind of a statement of a solution, and what is left of it."""
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return "import", _text_of(statement, source)
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
        return "function", _begun_function(statement, source)
    if calls := _checks(statement):
        return "check", "\n".join(_begun_check(call, source, tree) for call in calls)
    if name := _assigned(statement):
        checked = {other for part in tree.body for other in _checked_names(part)}
        if name in checked:
            return "value", f"{name} = ...  # your answer"
    return "answer", EMPTY


def _begun_function(function: ast.FunctionDef | ast.AsyncFunctionDef, source: str) -> str:
    """Return a function's head and docstring, and dots for its body."""
    first = function.body[0]
    has_docstring = ast.get_docstring(function, clean=False) is not None
    # The head ends with the last line before the body that is neither empty nor a comment.
    lines = source.splitlines()
    start = min([function.lineno, *(d.lineno for d in function.decorator_list)])
    decorators = getattr(first, "decorator_list", [])
    head = lines[start - 1 : min([first.lineno, *(d.lineno for d in decorators)]) - 1]
    while head and head[-1].strip()[:1] in {"", "#"}:
        head.pop()
    if not head or not head[-1].partition("#")[0].rstrip().endswith(":"):  # all in one line
        bare = copy.deepcopy(function)
        bare.body = [ast.Expr(ast.Constant(...))]
        head = ast.unparse(bare).splitlines()[:-1]
        docstring = [f'    """{ast.get_docstring(function)}"""'] if has_docstring else []
        return "\n".join([*head, *docstring, "    ...  # your code"])
    docstring = lines[first.lineno - 1 : first.end_lineno] if has_docstring else []
    indent = lines[first.lineno - 1][: first.col_offset]
    return "\n".join([*head, *docstring, f"{indent}...  # your code"])


def _checks(statement: ast.stmt) -> list[ast.Call]:
    """Return the calls of `check` that a statement consists of, asserted or not."""
    if isinstance(statement, ast.Assert):
        expression = statement.test
    elif isinstance(statement, ast.Expr):
        expression = statement.value
    else:
        return []
    parts = expression.values if isinstance(expression, ast.BoolOp) else [expression]
    calls = [part for part in parts if isinstance(part, ast.Call)]
    right = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == CHECK]
    return right if len(right) == len(parts) else []


def _checked_names(statement: ast.stmt) -> set[str]:
    """Return the names of the answers that a statement checks."""
    answers = [call.args[1] for call in _checks(statement) if len(call.args) == 2]
    return {answer.id for answer in answers if isinstance(answer, ast.Name)}


def _assigned(statement: ast.stmt) -> str:
    """Return the one name to which a statement gives a value, or ""."""
    match statement:
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            return name
        case _:
            return ""


def _begun_check(call: ast.Call, source: str, tree: ast.Module) -> str:
    """Return a call of `check`; an answer that will not be there gives way to dots."""
    if len(call.args) == 2 and isinstance(call.args[1], ast.Name):
        name = call.args[1].id
        kept = {_assigned(part) or getattr(part, "name", "") for part in tree.body}
        names = (node for node in ast.walk(tree) if isinstance(node, ast.Name))
        lost = {node.id for node in names if isinstance(node.ctx, ast.Store)} - kept
        if name not in lost:
            return _text_of(call, source)
    return f"{CHECK}({_text_of(call.args[0], source)}, ...)" if call.args else EMPTY


def _text_of(node: ast.AST, source: str) -> str:
    return ast.get_source_segment(source, node) or ast.unparse(node)


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
