"""A Sphinx extension: on each page, the first mention of a name of the package leads to its page.

In a chapter a name is the package's where the chapter's own code imports it from there: `Linear` is
PyTorch's in one chapter and ours in another. Elsewhere, and for modules, it is one that is written
with its path, such as `mnist_lab.data.idx`. Headings, tables and links are left as they are.

In the code of a chapter sphinx-codeautolink links each use. Whoever goes through a page by the Tab
key meets each name once there, too.
"""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

from docutils import nodes
from glossary_links import NOT_PROSE, ancestors
from sphinx.application import Sphinx
from sphinx.util.nodes import make_refnode

PACKAGE = "mnist_lab"
LINKED = "code-name"  # the class of such a link
NOT_ON = "book/package"
IN_CODE = re.compile(r'<a class="sphinx-codeautolink-a" href="([^"]*)"')
NAME = re.compile(r"([A-Za-z_][\w.]*)(\(.*\))?", re.DOTALL)  # `fit`, `fit()`, `fit(model, train)`


def imported(path: Path) -> dict[str, str]:
    """Map each name that a notebook imports from the package to its path there."""
    names = {}
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] != "code":
            continue
        source = "".join(cell["source"])
        try:
            statements = ast.parse(re.sub(r"^\s*[%!].*$", "pass", source, flags=re.MULTILINE))
        except SyntaxError:
            continue  # a fault that the chapter shows
        for statement in ast.walk(statements):
            if isinstance(statement, ast.ImportFrom) and (statement.module or "").startswith(
                PACKAGE
            ):
                for alias in statement.names:
                    names[alias.asname or alias.name] = f"{statement.module}.{alias.name}"
    return names


def resolve(path: str, known: dict[str, tuple[str, str]]) -> tuple[str, str] | None:
    """Find the page and the place of a name; it may be imported from above where it is defined."""
    if path in known:
        return known[path]
    module, _, name = path.rpartition(".")
    found = {
        place
        for known_path, place in known.items()
        if known_path.startswith(f"{module}.") and known_path.rpartition(".")[2] == name
    }
    return found.pop() if len(found) == 1 else None


def link_first_mentions(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Put a link around the first mention of each name on a page."""
    if app.builder.format != "html" or docname.startswith(NOT_ON):
        return
    known = {
        path: (entry.docname, entry.node_id)
        for path, entry in app.env.get_domain("py").objects.items()  # type: ignore[attr-defined]
        if entry.objtype in ("module", "class", "function", "exception", "data")
    }
    source = Path(app.env.doc2path(docname))
    names = imported(source) if source.suffix == ".ipynb" else {}
    linked = set()
    for literal in list(doctree.findall(nodes.literal)):
        match = NAME.fullmatch(literal.astext())
        if match is None or any(
            isinstance(n, (*NOT_PROSE, nodes.reference)) for n in ancestors(literal)
        ):
            continue
        path = names.get(match[1], match[1])
        place = resolve(path, known) if path.startswith(f"{PACKAGE}.") else None
        if place and place not in linked:
            linked.add(place)
            link = make_refnode(app.builder, docname, *place, literal.deepcopy())
            link["classes"].append(LINKED)
            literal.parent.replace(literal, link)


def stop_once_at_each(
    app: Sphinx,
    pagename: str,
    templatename: str,
    context: dict[str, Any],
    doctree: nodes.document | None,
) -> None:
    """Take the second and later links in code to one place out of the order of the Tab key."""
    met = set()

    def take_out(link: re.Match[str]) -> str:
        if link[1] in met:
            return f'{link[0]} tabindex="-1"'
        met.add(link[1])
        return link[0]

    if doctree is not None:
        context["body"] = IN_CODE.sub(take_out, context["body"])


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect to each page whose own links are resolved."""
    app.connect("doctree-resolved", link_first_mentions)
    app.connect("html-page-context", stop_once_at_each, priority=550)  # once they are there
    return {"parallel_read_safe": True, "parallel_write_safe": True}
