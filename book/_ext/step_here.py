"""A Sphinx extension: the panel that takes gradient steps, on a page.

A cell of a notebook that shows a `StepHere` gives the element `<step-here>`, which takes steps
where scripts run. The script is linked from the package's modules, with the digits written into
it; only pages with the element load it. It is a classic script, so it also runs in a page that is
opened from disk.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

from mnist_lab.lessons.widgets.digit_pictures import step_pictures
from mnist_lab.lessons.widgets.linking import link_steps

SCRIPT = "step-here.js"


def write_script(app: Sphinx) -> None:
    """Link the script into the site, before Sphinx looks at its static files."""
    if app.builder.name != "html":  # an edition has no panel
        return
    target = Path(app.outdir) / "_static" / SCRIPT
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(link_steps(*step_pictures()), encoding="utf-8")


def load_script(
    app: Sphinx,
    pagename: str,
    template: str,
    context: dict[str, Any],
    doctree: nodes.document | None,
) -> None:
    """Let a page with the element load it."""
    raw = [] if doctree is None else doctree.findall(nodes.raw)
    if any("<step-here" in node.astext() for node in raw):
        app.add_js_file(SCRIPT, loading_method="defer")


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect all of it to the build."""
    app.connect("builder-inited", write_script)
    app.connect("html-page-context", load_script)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
