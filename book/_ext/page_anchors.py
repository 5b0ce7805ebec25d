"""A Sphinx extension: `page.md#name` leads to any `{#name}` of that page, not to headings alone.

MyST looks for the name among the headings of the other page only, and warns of every other. A link
of this form works in an editor, on GitHub and in Jupyter as well, which one by a label would not.
"""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx


def add_anchors(app: Sphinx, doctree: nodes.document) -> None:
    """Add what the page names itself to what MyST knows of its headings."""
    slugs = app.env.metadata[app.env.docname].setdefault("myst_slugs", {})
    for name, explicit in doctree.nametypes.items():
        identifier = doctree.nameids.get(name)
        if explicit and identifier:
            slugs.setdefault(identifier, (None, identifier, ""))


def setup(app: Sphinx) -> dict[str, Any]:
    """Say when Sphinx is to call it: as soon as a page has been read."""
    app.connect("doctree-read", add_anchors)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
