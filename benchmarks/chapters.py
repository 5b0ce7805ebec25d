"""Run the chapters' own code from several seeds and record the effects that they assert.

    python -m benchmarks.chapters [--seeds 5] [--only ch01 ...]

A cell whose figures come from training carries in its metadata which effect it shows:

    effect: {name: ch01 shuffled against sorted, value: lost, bound: 0.3}

and asserts `value > bound`. This script executes the chapter with `SEED = 0` replaced by other
seeds and records mean and standard deviation of `value`; a test then holds every bound at least
three standard deviations below the mean, so that another processor does not turn a chapter red.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import tempfile
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import nbformat
from IPython.core.interactiveshell import InteractiveShell
from tqdm import tqdm

from benchmarks.recording import RESULTS, describe_run, write_record
from mnist_lab.lessons import summarise

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


def measure(path: Path, seed: int) -> dict[str, float]:
    """Execute one chapter from one seed and return its effects by name.

    A bound that does not hold for this seed is no error here: the record shows it.
    """
    shell = InteractiveShell()
    effects: dict[str, float] = {}
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type != "code":
            continue
        effect = cell.metadata.get("effect")
        source = cell.source.replace("SEED = 0", f"SEED = {seed}")
        if effect:
            kept = [line for line in source.splitlines() if not line.startswith("assert ")]
            source = "\n".join(kept)
        with contextlib.redirect_stdout(io.StringIO()):
            result = shell.run_cell(source)
        result.raise_error()
        if effect:
            effects[effect["name"]] = float(shell.ev(effect["value"]))
    return effects


def main() -> None:
    """Measure all chapters and write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", nargs="+", help="ch01 ...")
    arguments = parser.parse_args()
    path = RESULTS / "chapters.json"
    chapters = [
        chapter
        for chapter in sorted(NOTEBOOKS.glob("ch*.ipynb"))
        if not arguments.only or chapter.name.partition("_")[0] in arguments.only
    ]
    home = Path.cwd()
    for chapter in chapters:
        values: dict[str, list[float]] = {}
        with tempfile.TemporaryDirectory() as empty:
            os.chdir(empty)
            # A process for each run: what a chapter holds in memory goes with it.
            with ProcessPoolExecutor(
                1, mp_context=get_context("spawn"), max_tasks_per_child=1
            ) as pool:
                runs = pool.map(measure, repeat(chapter), range(arguments.seeds))
                for effects in tqdm(runs, total=arguments.seeds, desc=chapter.stem):
                    for name, value in effects.items():
                        values.setdefault(name, []).append(value)
            os.chdir(home)
        # Written after each chapter, so that a failure in the next one loses nothing.
        results: dict[str, Any] = json.loads(path.read_text())["results"] if path.exists() else {}
        prefix = chapter.name.partition("_")[0]
        results = {k: v for k, v in results.items() if not k.startswith(prefix)}
        results |= {name: summarise(measured) for name, measured in values.items()}
        record = {**describe_run("python -m benchmarks.chapters"), "results": results}
        write_record("chapters", record)


if __name__ == "__main__":
    main()
