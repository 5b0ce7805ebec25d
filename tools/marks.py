"""Text that a command writes into a page that is otherwise written by hand.

It stands between two comments, which say what it is and who writes it:

    <!-- presets: written by `python -m tools.presets_table`, held by a test -->
    <!-- /presets -->
"""

from __future__ import annotations

import re
from pathlib import Path

from mnist_lab.files import write_atomically


def replace_marked(page: str, mark: str, text: str) -> str:
    """Return a page with `text` between the two comments that are marked so.

    Raises
    ------
    ValueError
        If the page has not exactly one such place.
    """
    name = re.escape(mark)
    place = re.compile(rf"(<!-- {name}:[^\n]*-->\n).*?(<!-- /{name} -->)", re.DOTALL)
    changed, count = place.subn(lambda match: f"{match[1]}\n{text}\n{match[2]}", page)
    if count != 1:
        raise ValueError(f"The page has {count} places marked {mark!r}; it needs one.")
    return changed


def write_marked(path: Path, mark: str, text: str) -> None:
    """Write `text` into the marked place of a file."""
    page = path.read_text(encoding="utf-8")
    write_atomically(path, replace_marked(page, mark, text))
