"""A Sphinx extension: lists are lists to programs that read pages aloud, and nothing else is one.

References: docutils gives each entry the role "doc-biblioentry", which the standard has since
withdrawn, and the list around them the role "list", which then has no items.

Signatures: Sphinx writes the lines of a long one as definitions of nothing (<dd> without <dt>).
"""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator


def visit_citation(translator: HTML5Translator, node: nodes.citation) -> None:
    """Open an entry, and the list before the first of them."""
    if not isinstance(node.previous_sibling(), nodes.citation):
        translator.body.append('<div role="list" class="citation-list">\n')
    entry = translator.starttag(node, "div", classes=["citation"], role="listitem")
    translator.body.append(entry)


LINES = re.compile(r"<dl>\n((?:<dd>(?:(?!</?dd>).)*</dd>\n)+)</dl>", re.DOTALL)


def write_lines(body: str) -> str:
    """Turn definitions of nothing into lines."""

    def write(lines: re.Match[str]) -> str:
        inside = lines[1].replace("<dd>", '<span class="sig-line">').replace("</dd>", "</span>")
        return f'<span class="sig-lines">{inside}</span>'

    return LINES.sub(write, body)


def write_signatures(
    app: Sphinx,
    pagename: str,
    template: str,
    context: dict[str, Any],
    doctree: nodes.document | None,
) -> None:
    """Do so on a page that is about to be written."""
    if "body" in context:
        context["body"] = write_lines(context["body"])


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect both to the build."""
    closing = HTML5Translator.depart_citation
    app.add_node(nodes.citation, override=True, html=(visit_citation, closing))
    app.connect("html-page-context", write_signatures)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
