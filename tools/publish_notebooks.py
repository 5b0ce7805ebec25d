"""The chapters as the book's site opens them in Colab: each names the commit that it is from.

    python -m tools.publish_notebooks      notebooks/*.ipynb -> _build/published/notebooks/

A notebook cannot hold the name of its own commit. So the one in the repository installs the package
of `main`, and what is published installs the package of the very commit that the notebook was taken
from: the two fit, today and in a year, in a fork without tags, and with a teacher's own exercises.
The workflow pages.yml puts the result on the branch `colab`, to which the site's buttons lead.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tools.address import PLACEHOLDER, current_address, parse_address

ROOT = Path(__file__).parents[1]
CHAPTERS = sorted((ROOT / "notebooks").glob("ch*.ipynb"))
PUBLISHED = ROOT / "_build" / "published" / "notebooks"
# The line of the first cell before, and after it is pinned.
OPEN = 'COMMIT = "main"  # as it is now; the site\'s notebooks name their own commit\n'
PINNED = 'COMMIT = "{}"  # the one that this notebook is from\n'


def pin(notebook: str, commit: str) -> str:
    """Return a notebook's text (JSON) with the commit in its first cell, and nothing else changed.

    Raises
    ------
    ValueError
        If the line that names a commit is not there exactly once.
    """
    line, pinned = (json.dumps(text)[1:-1] for text in (OPEN, PINNED.format(commit)))
    if notebook.count(line) != 1:
        raise ValueError(
            f"the line {OPEN.strip()!r} is there {notebook.count(line)} times, not once"
        )
    return notebook.replace(line, pinned)


def current_commit(root: Path = ROOT) -> str:
    """Return the commit that is checked out, to which nothing may have been changed since.

    Raises
    ------
    SystemExit
        If something has: its notebooks and its package would not be what readers get.
    """

    def git(*words: str) -> str:
        command = ["git", *words]
        return subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout

    changed = git("status", "--porcelain", "--", "notebooks", "mnist_lab", "pyproject.toml")
    if changed:
        sys.exit(f"Commit first: {changed.split(maxsplit=1)[1].splitlines()[0]} has been changed.")
    return git("rev-parse", "HEAD").strip()


def main() -> None:
    """Write every chapter, pinned."""
    address = current_address()
    if parse_address(address)[0] == PLACEHOLDER:
        sys.exit(f"{address} is nobody's address: set yours with make address URL=...")
    commit = current_commit()
    PUBLISHED.mkdir(parents=True, exist_ok=True)
    for path in CHAPTERS:
        try:
            text = pin(path.read_text(encoding="utf-8"), commit)
        except ValueError as error:
            sys.exit(f"{path.name}: {error}.")
        (PUBLISHED / path.name).write_text(text, encoding="utf-8")
    print(f"{len(CHAPTERS)} chapters of {commit} are in {PUBLISHED.relative_to(ROOT)}.")


if __name__ == "__main__":
    main()
