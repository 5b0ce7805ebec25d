"""The folder of a run: whether one may begin there, and how far the one that it holds has come.

    check_folder("runs/first")              # refuses where something would be lost
    describe_folder("runs/first")           # what a run that was stopped has left there

A run notes in the folder's mark that it has begun, and at its end that it is finished.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal

from mnist_lab.folders import FolderError, claim, read_notes
from mnist_lab.training.checkpoints import MODEL
from mnist_lab.training.objectives import Objective
from mnist_lab.training.processes import Ranks
from mnist_lab.training.tensor_folders import adopt_files, clear_leftovers, read_record

RESUME = "resume"  # what the files are called that an unfinished run goes on from


@contextmanager
def claimed_by_first(
    folder: str | Path | None, objective: Objective, ranks: Ranks
) -> Iterator[None]:
    """Let rank 0 alone write into the folder; what would stop its first checkpoint is told now."""
    if folder is None:
        yield
        return
    with ExitStack() as stack:
        problem: FolderError | None = None
        if ranks.first:
            try:
                own = stack.enter_context(claim(folder))
                for name in (MODEL, RESUME, *objective.beside):
                    adopt_files(own, name)
                    own.check(f"{name}.json")
                clear_leftovers(own)
            except FolderError as error:
                problem = error
        if any(ranks.add_up(problem is not None)):
            raise problem or FolderError(f"The first process cannot write into {folder}.")
        yield


def check_folder(folder: str | Path, *, resume: bool = False, overwrite: bool = False) -> None:
    """Refuse to begin where a run or a checkpoint would be lost, or could not be resumed.

    Raises
    ------
    FolderError
    """
    folder, holds = Path(folder), find_run(Path(folder))
    if overwrite or holds == "nothing":
        return
    another = "or name another folder"
    if holds == "unfinished" and not resume:
        raise FolderError(
            f"{folder} holds an unfinished run ({_count_epochs(folder)}): go on with resume=True, "
            f"start anew with overwrite=True, {another}."
        )
    if holds == "begun" and not resume:
        raise FolderError(
            f"{folder} holds a run that was stopped in its first epoch: start it anew with "
            f"resume=True, {another}."
        )
    if holds == "finished" and not resume:
        raise FolderError(
            f"{folder} holds a finished checkpoint: replace it with overwrite=True, {another}."
        )
    if holds == "finished" and "run" not in read_notes(folder):
        raise FolderError(
            f"{folder} holds a checkpoint and nothing to resume: replace it with overwrite=True, "
            f"{another}."
        )


def describe_folder(folder: str | Path) -> str:
    """Say what a run that was stopped has left in its folder, and what resuming it would do."""
    holds = find_run(Path(folder))
    if holds == "nothing":
        return f"{folder} holds nothing yet."
    if holds == "begun":
        return f"{folder} holds a usable checkpoint; resume=True starts anew."
    if holds == "finished":
        return f"{folder} holds the checkpoint that was there before."
    kept = read_record(folder, RESUME).get("keeps_old")
    what = "the checkpoint that was there before" if kept else "a usable checkpoint"
    return f"{folder} holds {what}; resume=True goes on after the last whole epoch."


def find_run(folder: Path) -> Literal["nothing", "begun", "unfinished", "finished"]:
    """Return how far the run came that a folder holds; "begun": it cannot be resumed yet."""
    if (folder / f"{RESUME}.json").exists():
        return "unfinished"
    if not (folder / f"{MODEL}.json").exists():
        return "nothing"
    return "begun" if "begun" in read_notes(folder) else "finished"


def _count_epochs(folder: Path) -> str:
    done = read_record(folder, RESUME).get("epoch")
    return "1 epoch is done" if done == 1 else f"{done} epochs are done"
