"""The chapters' promises that nbval does not hold: form, order, effects with a margin."""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode

import mnist_lab
from mnist_lab.lessons import plots
from mnist_lab.lessons.quizzes import load_questions
from mnist_lab.lessons.records import load_record

ROOT = Path(__file__).parents[2]
PATHS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MARGIN = 3  # standard deviations between a recorded effect and the bound that its cell asserts

each_chapter = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem[:4])


def cells(path: Path, kind: str = "code") -> list[NotebookNode]:
    notebook = nbformat.read(path, as_version=4)
    return [cell for cell in notebook.cells if cell.cell_type == kind and cell.source.strip()]


def tags(cell: NotebookNode) -> list[str]:
    found: list[str] = cell.metadata.get("tags", [])
    return found


def test_there_are_chapters_with_names_that_sort() -> None:
    assert len(PATHS) >= 2
    for path in PATHS:
        assert re.fullmatch(r"ch\d\d_[a-z]+(_[a-z]+)+", path.stem)
    in_toc = (ROOT / "_toc.yml").read_text(encoding="utf-8")
    assert all(f"notebooks/{path.stem}" in in_toc for path in PATHS)


@each_chapter
def test_is_executed_once_in_order_without_timings_or_names_of_a_machine(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = cells(path)
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"iopub|execution_start|\"(shell|timestamp)", text)
    assert not re.search(r"/(home|root|tmp|work|Users)/\w|[A-Z]:\\\\\w", text)
    assert set(notebook.metadata) - {"accelerator", "colab"} == {"kernelspec", "language_info"}
    assert "version" not in notebook.metadata.language_info


@each_chapter
def test_outputs_are_small_and_hold_no_error_or_warning(path: Path) -> None:
    for cell in cells(path):
        for output in cell.outputs:
            assert output.output_type != "error"
            assert output.get("name") != "stderr"
            assert len(json.dumps(output)) < 300_000
    assert path.stat().st_size < 1_000_000


@each_chapter
def test_pictures_carry_alt_text(path: Path) -> None:
    outputs = [output for cell in cells(path) for output in cell.outputs]
    texts = [
        output.metadata["image/png"]["alt"]
        for output in outputs
        if "image/png" in output.get("data", {})
    ]
    assert texts
    for output in outputs:
        for image in re.findall(
            r"<img [^>]*>", "".join(output.get("data", {}).get("text/html", ""))
        ):
            texts += re.findall(r'alt="([^"]*)"', image) or [""]
    assert min(len(text) for text in texts) > 30


def is_folded(cell: NotebookNode) -> bool:
    return bool({"hide-input", "hide-cell"} & set(tags(cell)))


@each_chapter
def test_cells_are_short(path: Path) -> None:
    lengths: dict[bool, list[int]] = {False: [], True: []}
    for cell in cells(path)[1:]:  # the first is that of every chapter
        written = [line for line in cell.source.splitlines() if not line.startswith("# @title")]
        lengths[is_folded(cell)].append(len(written))
    assert max(lengths[False]) <= 25
    assert sum(lengths[False]) / len(lengths[False]) <= 12
    assert max(lengths[True]) <= 50


@each_chapter
def test_lines_of_code_fit_the_page(path: Path) -> None:
    wide = [line for cell in cells(path) for line in cell.source.splitlines() if len(line) > 76]
    assert wide == []


DRAWING = {"Picture", "new_axes"} | {name for name in vars(plots) if name.startswith("draw_")}


def draws(cell: NotebookNode) -> bool:
    """Whether a cell makes a figure, with the words for who does not see it."""
    names = {node.id for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.Name)}
    return bool(re.search(r"\balt=", cell.source) or names & DRAWING)


@each_chapter
def test_what_draws_is_folded_and_shows_its_figure(path: Path) -> None:
    code = cells(path)
    for cell in code[1:]:
        assert is_folded(cell) or not draws(cell), cell.source
    # A box with nothing below it may stand alone, but not on top of another.
    everything = nbformat.read(path, as_version=4).cells
    boxes = [cell for cell in everything if cell.source.strip()]
    for cell, following in pairwise(boxes):
        if cell.cell_type == following.cell_type == "code" and "hide-input" in tags(cell):
            assert cell.outputs or not is_folded(following), cell.source


def prints_only_words(node: ast.AST) -> bool:
    if not (isinstance(node, ast.Call) and ast.unparse(node.func) == "print" and node.args):
        return False
    return all(
        isinstance(part, ast.Constant)
        or (
            isinstance(part, ast.JoinedStr)
            and not any(isinstance(value, ast.FormattedValue) for value in part.values)
        )
        for part in node.args
    )


@each_chapter
def test_no_sentence_is_printed_in_place_of_a_number(path: Path) -> None:
    sentences = [
        ast.unparse(node)
        for cell in cells(path)[1:]
        for node in ast.walk(ast.parse(cell.source))
        if prints_only_words(node)
    ]
    assert sentences == []


@each_chapter
def test_results_stand_in_tables(path: Path) -> None:
    """Three lines with the same three columns or more are a table: `Table` shows it as one."""
    for cell in cells(path):
        for output in cell.outputs:
            columns = [
                len(re.split(r" {2,}", line.strip()))
                for line in output.get("text", "").splitlines()
                if not line.lstrip().startswith("[")  # an array
            ]
            runs = (tuple(columns[at : at + 3]) for at in range(len(columns) - 2))
            assert not any(len(set(run)) == 1 and run[0] >= 3 for run in runs), output.text


@each_chapter
def test_colours_have_names(path: Path) -> None:
    """A colour is one of the book's, so that a change of its palette is one change."""
    typed = [
        node.value
        for cell in cells(path)[1:]
        for node in ast.walk(ast.parse(cell.source))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if re.search(r"#(?:[0-9a-fA-F]{8}|[0-9a-fA-F]{6}|[0-9a-fA-F]{3})\b", node.value)
    ]
    assert typed == []


@each_chapter
def test_opens_and_closes_as_every_chapter_does(path: Path) -> None:
    prose = "\n".join(cell.source for cell in cells(path, "markdown"))
    headings = re.findall(r"^(#+) (.+)$", prose, re.MULTILINE)
    assert [level for level, _ in headings].count("#") == 1
    assert headings[0][0] == "#"
    for opening in ("What you will learn.", "What you need.", "How long it takes."):
        assert f"**{opening}**" in prose
    assert [title for level, title in headings if level == "##"][-4:] == [
        *("Summary", "Exercises", "Quiz", "Where to go next"),
    ]
    depths = [len(level) for level, _ in headings]
    assert all(b - a <= 1 for a, b in pairwise(depths))


@each_chapter
def test_sources_are_linked_since_colab_shows_roles_as_they_are_written(path: Path) -> None:
    prose = "\n".join(cell.source for cell in cells(path, "markdown"))
    assert re.findall(r"\{[\w:]+\}`", prose) == []


@each_chapter
def test_every_exercise_has_a_hint_and_a_folded_solution_that_checks_itself(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    exercises = [
        index
        for index, cell in enumerate(notebook.cells)
        if cell.cell_type == "markdown" and re.search(r"^\*\*\d+\. ", cell.source, re.MULTILINE)
    ]
    assert len(exercises) >= 4
    for index in exercises:
        following = notebook.cells[index + 1 : index + 3]
        assert "*Hint: " in notebook.cells[index].source + following[0].source
        if "<details>" in notebook.cells[index].source:  # a proof, in words
            continue
        solution = next(cell for cell in following if "solution" in tags(cell))
        assert solution.cell_type == "code"
        assert "hide-cell" in tags(solution)
        assert re.search(r"assert |show_effect\(", solution.source)


KINDS = {
    "predict": "Predict, then measure",
    "prove": "Prove",
    "fault": "Find the fault",
    "open": "Open",
}


def exercises_of(path: Path) -> list[tuple[int, str, str, str]]:
    """Return number, title, text, and the code of the solution of each exercise."""
    notebook = nbformat.read(path, as_version=4)
    found: list[tuple[int, str, str, str]] = []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            begins = re.compile(r"^\*\*(\d+)\. (.+?)\*\*", re.MULTILINE)
            for number, title in begins.findall(cell.source):
                found.append((int(number), title, cell.source, ""))
        elif "solution" in tags(cell) and found:
            number, title, text, code = found[-1]
            found[-1] = number, title, text, f"{code}\n{cell.source}"
    return found


@each_chapter
def test_exercises_are_counted(path: Path) -> None:
    numbers = [number for number, *_ in exercises_of(path)]
    assert numbers == list(range(1, len(numbers) + 1))


@each_chapter
def test_asks_to_predict_to_prove_to_find_a_fault_and_has_an_open_task(path: Path) -> None:
    kinds = {
        kind: [exercise for exercise in exercises_of(path) if exercise[1].startswith(words)]
        for kind, words in KINDS.items()
    }
    assert [kind for kind, some in kinds.items() if not some] == []
    for _, title, text, _ in kinds["prove"]:  # a proof is written out, and folded
        assert "<details>\n<summary>The proof</summary>" in text, title
    for _, title, text, code in kinds["open"]:  # a target, and a score that somebody reached
        task = text.partition(title)[2]
        assert re.search(r"[Tt]arget|Reach", task), title
        assert re.search(r"\d", task), title
        assert re.search(r"show_effect\(|load_record\(|percent\(", code), title


def shows_frames(cell: NotebookNode) -> bool:
    """Whether a cell shows frames and nothing else: pictures, which nbval would compare as text."""
    texts = ["".join(output.get("data", {}).get("text/html", "")) for output in cell.outputs]
    return len(texts) == 1 and 'class="frames"' in texts[0]


@each_chapter
def test_nothing_is_left_out_of_the_comparison_without_a_reason(path: Path) -> None:
    code = cells(path)
    known = {"hide-input", "hide-cell", "remove-input", "solution", "nbval-ignore-output"}
    assert {tag for cell in code for tag in tags(cell)} <= known  # no nbval-skip, none misspelt
    printing = [cell for cell in code if cell.outputs and not shows_frames(cell)]
    ignored = [cell for cell in code if "nbval-ignore-output" in tags(cell)]
    for cell in ignored:
        assert len(cell.metadata["nbval_reason"]) > 20
    assert sum(not shows_frames(cell) for cell in ignored) <= len(printing) / 10


def test_no_pattern_swallows_numbers() -> None:
    options = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert "sanitize" not in options


TRAINING_CALLS = {"fit", "finetune", "train_epoch", "iter_epochs", "optimizer.step"}


def trains(node: ast.AST, calls: set[str]) -> bool:
    """Whether code trains when it runs; a function that it only defines does not count."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Lambda):
        return False
    if isinstance(node, ast.Call) and ast.unparse(node.func) in calls:
        return True
    return any(trains(child, calls) for child in ast.iter_child_nodes(node))


def calls_that_train(trees: list[ast.Module]) -> set[str]:
    """Return what trains when it is called: the package's functions, and the chapter's own."""
    calls = set(TRAINING_CALLS)
    functions = [node for tree in trees for node in ast.walk(tree)]
    while True:
        more = {
            node.name
            for node in functions
            if isinstance(node, ast.FunctionDef) and any(trains(part, calls) for part in node.body)
        }
        if more <= calls:
            return calls
        calls |= more


@each_chapter
def test_a_cell_that_trains_asserts_what_it_shows(path: Path) -> None:
    # The first cell holds a line for IPython alone.
    trees = {cell.source: ast.parse(cell.source) for cell in cells(path)[1:]}
    calls = calls_that_train(list(trees.values()))
    training = [source for source, tree in trees.items() if trains(tree, calls)]
    assert training
    for source in training:
        held = ("assert ", "show_effect(", "print(error)")
        assert any(word in source for word in held), source


CLOCKS = {"perf_counter", "process_time", "monotonic", "seconds"}  # `seconds` of a run


def is_timed(node: ast.AST, timed: set[str]) -> bool:
    """Tell whether an expression or a function holds what a clock gave."""
    return any(
        (isinstance(part, ast.Attribute) and part.attr in CLOCKS)
        or (isinstance(part, ast.Name) and part.id in timed)
        for part in ast.walk(node)
    )


def own_names(function: ast.FunctionDef) -> set[str]:
    """Return the names of a function's arguments and of what it assigns."""
    parts = list(ast.walk(function))
    arguments = {part.arg for part in parts if isinstance(part, ast.arg)}
    names = (part for part in parts if isinstance(part, ast.Name))
    return arguments | {name.id for name in names if isinstance(name.ctx, ast.Store)}


def asserts_of_time(statements: list[ast.stmt], timed: set[str]) -> Iterator[str]:
    """Yield the assertions about what a clock gave; `timed` are the names that hold it so far."""
    for statement in statements:
        match statement:
            case ast.Assert(test=test) if is_timed(test, timed):
                yield ast.unparse(statement)
            case ast.FunctionDef(name=name):
                if is_timed(statement, timed - own_names(statement)):
                    timed.add(name)
            case ast.Assign(targets=targets, value=value):
                names = {n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)}
                if is_timed(value, timed):
                    timed |= names
                elif all(isinstance(target, ast.Name) for target in targets):
                    timed -= names
            case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id=name)), args=args)):
                if any(is_timed(argument, timed) for argument in args):
                    timed.add(name)  # such as a list that it is appended to
            case ast.For(target=target, iter=iterable) if is_timed(iterable, timed):
                timed |= {n.id for n in ast.walk(target) if isinstance(n, ast.Name)}
        for block in ("body", "orelse", "finalbody"):
            if not isinstance(statement, ast.FunctionDef):
                yield from asserts_of_time(getattr(statement, block, []), timed)


@each_chapter
def test_nothing_is_asserted_of_what_a_clock_says(path: Path) -> None:
    """A busy machine would fail it."""
    timed: set[str] = set()
    for cell in cells(path)[1:]:
        assert not list(asserts_of_time(ast.parse(cell.source).body, timed))


@pytest.mark.parametrize(
    "code",
    [
        "assert run.seconds < 5",
        "started = time.perf_counter()\nassert time.perf_counter() - started < 1",
        "def rate():\n    return 1 / time.perf_counter()\nfast = rate()\nassert fast > 3",
        "spent = []\nfor k in range(3):\n    spent.append(run.seconds)\nassert max(spent) < 1",
        "costs = {k: run(k).seconds for k in range(3)}\nfor k in costs:\n    assert k",
    ],
)
def test_an_assertion_about_time_is_found(code: str) -> None:
    assert list(asserts_of_time(ast.parse(code).body, set()))


def test_an_assertion_about_something_else_is_not() -> None:
    code = "spent = run.seconds\nassert run.accuracy > 0.9\nspent = 3\nassert spent == 3"
    assert not list(asserts_of_time(ast.parse(code).body, set()))


@each_chapter
def test_imports_of_the_package_are_sorted_and_short(path: Path) -> None:
    """One statement a room in a cell, its names sorted as isort does, no line wider than a page."""
    for cell in cells(path)[1:]:
        found = [
            node
            for node in ast.parse(cell.source).body
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("mnist_lab")
        ]
        rooms = [str(node.module) for node in found]
        assert rooms == sorted(set(rooms))
        for node in found:
            names = [alias.name for alias in node.names]
            if set(names) <= set(mnist_lab.__all__):
                assert node.module == "mnist_lab", ast.unparse(node)
            # Constants first, then classes, then functions.
            assert names == sorted(
                names, key=lambda name: (not name.isupper(), name[0].islower(), name)
            )
            assert node.end_lineno is not None
            lines = cell.source.splitlines()[node.lineno - 1 : node.end_lineno]
            assert max(map(len, lines)) <= 77


def effects() -> list[tuple[str, dict[str, float]]]:
    """The name of each effect that a chapter shows, and its bound."""
    calls = [
        node
        for path in PATHS
        for cell in cells(path)[1:]
        for node in ast.walk(ast.parse(cell.source))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "show_effect"
    ]
    return [
        (
            ast.literal_eval(call.args[0]),
            {
                str(word.arg): ast.literal_eval(word.value)
                for word in call.keywords
                if word.arg in {"above", "below"}
            },
        )
        for call in calls
    ]


@pytest.mark.parametrize(("name", "bound"), effects(), ids=str)
def test_effects_hold_with_a_margin(name: str, bound: dict[str, float]) -> None:
    recorded = load_record("chapters")["results"][name]
    assert recorded["n"] >= 5
    reach = MARGIN * recorded["std"]
    if "above" in bound:
        assert recorded["mean"] - reach >= bound["above"]
    else:
        assert recorded["mean"] + reach <= bound["below"]


def test_every_recorded_effect_is_shown_by_a_chapter() -> None:
    assert set(load_record("chapters")["results"]) == {name for name, _ in effects()}


@each_chapter
def test_has_a_quiz_with_one_right_answer_or_more_and_feedback(path: Path) -> None:
    questions = load_questions(path.stem[:4])
    assert len(questions) >= 5
    ids = [question["id"] for question in questions]
    assert len(set(ids)) == len(ids)
    for question in questions:
        assert re.fullmatch("[a-z][a-z0-9_]+", question["id"])
        assert question["question"].strip().endswith((".", "?", ".)", "...", ")"))
        answers = question["answers"]
        right = [answer for answer in answers if answer.get("correct")]
        assert len(right) == 1 or (question["type"] == "many_choice" and right)
        feedback = [answer["feedback"].strip() for answer in answers]
        assert all(feedback)
        assert len(set(feedback)) == len(feedback)  # by which the page knows an answer again


@each_chapter
def test_needs_only_what_its_first_cell_installs(path: Path) -> None:
    modules = re.findall(
        r"^\s*(?:import|from) (\w+)", "\n".join(c.source for c in cells(path)), re.M
    )
    allowed = {
        *("mnist_lab", "numpy", "scipy", "PIL", "torch", "torchvision", "sklearn"),
        *("ipywidgets", "optuna", "river"),
        *sys.stdlib_module_names,
    }
    if any("mnist_lab.serving" in cell.source for cell in cells(path)):
        allowed.add("httpx")  # of the extra `serve`
    assert set(modules) <= allowed
