"""A Sphinx extension: the package reference shows a module's docstring as its author meant it.

A module opens with prose and, indented by four spaces, an example of its use. In reStructuredText
an indented block is a quotation unless a double colon announces it. The docstrings are written for
people who read the source, so the announcement is put in here instead.

The package is imported from the repository itself, whether or not it is installed.
"""

from __future__ import annotations

import re
import sys
from itertools import pairwise

from numpy.typing import ArrayLike
from sphinx.application import Sphinx
from sphinx.util.typing import stringify_annotation


def mark_examples(lines: list[str]) -> list[str]:
    """Return `lines` with ``::`` before each indented block that follows an empty line.

    >>> mark_examples(["Use:", "", "    go()", "", "    stop()", "", "Done."])
    ['Use:', '', '::', '', '    go()', '', '    stop()', '', 'Done.']
    """
    marked = lines[:1]
    inside = False
    for before, line in pairwise(lines):
        if line and not line[0].isspace():
            inside = False
        elif line.startswith("    ") and not before.strip() and not inside:
            inside = True
            if not any(text.rstrip().endswith("::") for text in marked[-2:]):
                marked += ["::", ""]
        marked.append(line)
    return marked


def process(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Mark the examples in the docstring of a module, before numpydoc reads it."""
    if what == "module":
        lines[:] = mark_examples(lines)


# What NDArray[...] and ArrayLike become when they are evaluated.
ARRAY = re.compile(r"~?numpy\.ndarray\[tuple\[[^\[\]]*\], ~?numpy\.dtype\[([^\[\]]*)\]\]")
ARRAY_LIKE = stringify_annotation(ArrayLike, "smart")


def as_written(signature: str | None) -> str | None:
    """Give back to a signature the short names that its author used.

    A default that is made anew each time becomes `...`, since Sphinx cannot read `<factory>`.
    """
    if signature is None:
        return None
    signature = signature.replace(ARRAY_LIKE, "ArrayLike")
    return ARRAY.sub(r"NDArray[\1]", signature).replace("<factory>", "...")


def process_signature(
    app: Sphinx,
    what: str,
    name: str,
    obj: object,
    options: object,
    signature: str | None,
    returns: str | None,
) -> tuple[str | None, str | None]:
    """Shorten what autodoc has found out about a function's arguments and result."""
    return as_written(signature), as_written(returns)


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect to autodoc, ahead of numpydoc, and let it find the package."""
    if str(app.srcdir) not in sys.path:
        sys.path.insert(0, str(app.srcdir))
    app.connect("autodoc-process-docstring", process, priority=100)
    app.connect("autodoc-process-signature", process_signature)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
