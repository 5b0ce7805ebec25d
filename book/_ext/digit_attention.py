"""A Sphinx extension: the panel that shows a transformer's attention, on a page.

    ```{digit-attention}
    The sentence for readers without scripts.
    ```

Where scripts run, the element `<digit-attention>` draws, looks and paints; where they do not, the
sentence stands in its place. A cell of a notebook that shows a `DigitAttention` gives the same
element by itself. The script is linked from the package's modules, with the weights that
`digit_attention_weights` names written into it. Only pages with a panel load it. It is a classic
script, so it also runs in a page that is opened from disk.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import digit_pad
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective
from sphinx.writers.html5 import HTML5Translator

from mnist_lab.lessons.widgets.linking import link_attention

SCRIPT = "digit-attention.js"


class digit_attention(nodes.General, nodes.Element):  # type: ignore[misc] # noqa: N801
    """The place of a panel; its children are for readers without scripts."""


class DigitAttentionDirective(SphinxDirective):
    """Puts a panel on the page."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Return the panel with its sentence inside."""
        self.assert_has_content()
        panel = digit_attention()
        self.state.nested_parse(self.content, self.content_offset, panel)
        return [panel]


def visit_html(translator: HTML5Translator, node: digit_attention) -> None:
    """Open the element; once it lives, a browser no longer shows what is inside."""
    translator.body.append("<digit-attention>\n")


def depart_html(translator: HTML5Translator, node: digit_attention) -> None:
    """Close the element."""
    translator.body.append("</digit-attention>\n")


def write_script(app: Sphinx) -> None:
    """Link the script into the site, before Sphinx looks at its static files."""
    if app.builder.name != "html":  # an edition has no panel
        return
    weights = Path(app.srcdir) / app.config.digit_attention_weights
    if not weights.is_file():
        name = app.config.digit_attention_weights
        raise ExtensionError(
            f"The pages' transformer is missing: {name} is made by `make book`, or by "
            f"`python -m book.transformer {name}`."
        )
    target = Path(app.outdir) / "_static" / SCRIPT
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(link_attention(weights.read_bytes()), encoding="utf-8")


def load_script(
    app: Sphinx,
    pagename: str,
    template: str,
    context: dict[str, Any],
    doctree: nodes.document | None,
) -> None:
    """Let a page with a panel load the script."""
    if digit_pad.shows(doctree, digit_attention, "<digit-attention"):
        app.add_js_file(SCRIPT, loading_method="defer")


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect all of it to the build."""
    app.add_config_value("digit_attention_weights", "", "env")
    app.add_node(
        digit_attention,
        html=(visit_html, depart_html),
        latex=(digit_pad.pass_through, digit_pad.pass_through),
        text=(digit_pad.pass_through, digit_pad.pass_through),
    )
    app.add_directive("digit-attention", DigitAttentionDirective)
    app.connect("builder-inited", write_script)
    app.connect("html-page-context", load_script)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
