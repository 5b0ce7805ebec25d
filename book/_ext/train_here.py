"""A Sphinx extension: the panel that trains a network, on a page.

    ```{train-here}
    The sentence for readers without scripts.
    ```

Where scripts run, the element `<train-here>` trains; where they do not, the sentence stands in its
place. A cell of a notebook that shows a `TrainHere` gives the same element by itself. The script is
linked from the package's modules, with the digits written into it. Only pages with a panel load it,
and the pad's script with it, whose network the reader's is compared with. It is a classic
script and starts its worker from a text, so it also runs in a page that is opened from disk.
"""

from __future__ import annotations

import posixpath
from pathlib import Path
from typing import Any

import digit_pad
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.writers.html5 import HTML5Translator

from mnist_lab.lessons.widgets.digit_pictures import training_pictures
from mnist_lab.lessons.widgets.linking import link_training

SCRIPT = "train-here.js"
CHAPTERS = "notebooks"


class train_here(nodes.General, nodes.Element):  # type: ignore[misc] # noqa: N801
    """The place of a panel; its children are for readers without scripts."""


class TrainHereDirective(SphinxDirective):
    """Puts a panel on the page."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Return the panel with its sentence inside."""
        self.assert_has_content()
        here = posixpath.dirname(self.env.docname)
        panel = train_here(chapters=posixpath.relpath(CHAPTERS, here or ".") + "/")
        self.state.nested_parse(self.content, self.content_offset, panel)
        return [panel]


def visit_html(translator: HTML5Translator, node: train_here) -> None:
    """Open the element; once it lives, a browser no longer shows what is inside."""
    translator.body.append(f'<train-here chapters="{node["chapters"]}">\n')


def depart_html(translator: HTML5Translator, node: train_here) -> None:
    """Close the element."""
    translator.body.append("</train-here>\n")


def write_script(app: Sphinx) -> None:
    """Link the script into the site, before Sphinx looks at its static files."""
    if app.builder.name != "html":  # an edition has no panel
        return
    target = Path(app.outdir) / "_static" / SCRIPT
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(link_training(*training_pictures()), encoding="utf-8")


def load_script(
    app: Sphinx,
    pagename: str,
    template: str,
    context: dict[str, Any],
    doctree: nodes.document | None,
) -> None:
    """Let a page with a panel load both scripts."""
    if digit_pad.shows(doctree, train_here, "<train-here"):
        for script in (digit_pad.SCRIPT, SCRIPT):
            app.add_js_file(script, loading_method="defer")


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect all of it to the build."""
    app.add_node(
        train_here,
        html=(visit_html, depart_html),
        latex=(digit_pad.pass_through, digit_pad.pass_through),
        text=(digit_pad.pass_through, digit_pad.pass_through),
    )
    app.add_directive("train-here", TrainHereDirective)
    app.connect("builder-inited", write_script)
    app.connect("html-page-context", load_script)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
