"""Run the chapters' own code from several seeds and record the effects that they assert.

    python -m benchmarks.chapters [--seeds 5] [--only ch01 ...]

About 60 minutes on one core. A chapter that is measured replaces what the record has of it.

A cell whose numbers come from training holds one of them to a bound:

    show_effect("ch01 shuffled against sorted", lost, above=0.3)

This script executes the chapter with `SEED = 0` replaced by other seeds and records mean and
standard deviation of what is shown; a test then holds every bound at least three standard
deviations away from the mean, so that another processor does not turn a chapter red.
"""

from __future__ import annotations

import ast
import contextlib
import io
import tempfile
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path

import nbformat
from IPython.core.interactiveshell import InteractiveShell
from tqdm import tqdm

from mnist_lab.lessons import collect_effects, summarise

from .recording import Record, make_parser, read_arguments

NOTEBOOKS = {
    path.name.partition("_")[0]: path
    for path in sorted((Path(__file__).parents[1] / "notebooks").glob("ch*.ipynb"))
}


def measure(path: Path, seed: int) -> dict[str, float]:
    """Execute one chapter from one seed and return its effects by name.

    A bound that does not hold for this seed is no error here: the record shows it.
    """
    shell = InteractiveShell()
    with collect_effects() as effects:
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type != "code":
                continue
            source = cell.source.replace("SEED = 0", f"SEED = {seed}")
            if "show_effect(" in source:  # another seed may miss what is asserted beside it
                tree = ast.parse(source)
                tree.body = [part for part in tree.body if not isinstance(part, ast.Assert)]
                source = ast.unparse(tree)
            with contextlib.redirect_stdout(io.StringIO()):
                result = shell.run_cell(source)
            result.raise_error()
    return effects


def main() -> None:
    """Measure all chapters; write the record after each, so that the next one loses nothing."""
    arguments = read_arguments(make_parser(__doc__, seeds=5, only=NOTEBOOKS, threads=1))
    if not NOTEBOOKS:
        raise SystemExit("The notebooks are not here: a clone of the repository has them.")
    record = Record("chapters", arguments)
    for chapter in arguments.only:
        path = NOTEBOOKS[chapter]
        values: dict[str, list[float]] = {}
        # A process for each run: what a chapter holds in memory goes with it.
        with (
            tempfile.TemporaryDirectory() as empty,
            contextlib.chdir(empty),
            ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool,
        ):
            runs = pool.map(measure, repeat(path), range(arguments.seeds))
            for effects in tqdm(runs, total=arguments.seeds, desc=path.stem):
                for name, value in effects.items():
                    values.setdefault(name, []).append(value)
        for name in [name for name in record.results if name.partition(" ")[0] == chapter]:
            del record.results[name]
        record.results.update({name: summarise(found) for name, found in values.items()})
        record.save(chapter, f"{len(values)} effects")


if __name__ == "__main__":
    main()
