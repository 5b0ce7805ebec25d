"""A Sphinx extension: the drawing pad on a page.

    ```{digit-pad} figures/the_pad.png
    :alt: what the picture shows
    :layers:
    The sentence for readers without scripts.
    ```

Where scripts run, the element `<digit-pad>` draws and reads; where they do not, the picture and
the sentence stand in its place. A cell of a notebook that shows a `DigitPad` gives the same element
by itself. The script is linked from the package's modules, with the weights
that `digit_pad_weights` names written into it, and only pages with a pad load it. It is a classic
script, so it also runs in a page that is opened from disk.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import OptionSpec
from sphinx.writers.html5 import HTML5Translator

from mnist_lab.lessons.widgets.linking import link_page

SCRIPT = "digit-pad.js"


class digit_pad(nodes.General, nodes.Element):  # type: ignore[misc] # noqa: N801
    """The place of a pad; its children are for readers without scripts."""


class DigitPadDirective(SphinxDirective):
    """Puts a pad on the page."""

    required_arguments = 1
    has_content = True
    option_spec: ClassVar[OptionSpec] = {
        "alt": directives.unchanged_required,
        "layers": directives.flag,
    }

    def run(self) -> list[nodes.Node]:
        """Return the pad with its picture and its sentence inside."""
        if not self.content or "alt" not in self.options:
            raise self.error("A pad needs alt text for its picture, and a sentence.")
        pad = digit_pad(layers="layers" in self.options)
        image = nodes.image(uri=self.arguments[0], alt=self.options["alt"])
        self.set_source_info(image)
        pad += image
        self.state.nested_parse(self.content, self.content_offset, pad)
        return [pad]


def visit_html(translator: HTML5Translator, node: digit_pad) -> None:
    """Open the element; once it lives, a browser no longer shows what is inside."""
    layers = " layers" if node["layers"] else ""
    translator.body.append(f"<digit-pad{layers}>\n")


def depart_html(translator: HTML5Translator, node: digit_pad) -> None:
    """Close the element."""
    translator.body.append("</digit-pad>\n")


def pass_through(translator: nodes.NodeVisitor, node: digit_pad) -> None:
    """Every other format shows the picture and the sentence."""


def write_script(app: Sphinx) -> None:
    """Link the script into the site, before Sphinx looks at its static files."""
    if app.builder.name != "html":  # an edition has no pad
        return
    weights = Path(app.srcdir) / app.config.digit_pad_weights
    if not weights.is_file():
        name = app.config.digit_pad_weights
        raise ExtensionError(
            f"The pages' network is missing: {name} is made by `make book`, or by "
            f"`python -m book.recogniser {name}`."
        )
    target = Path(app.outdir) / "_static" / SCRIPT
    target.parent.mkdir(parents=True, exist_ok=True)
    digits = weights.with_name("digits.png").read_bytes()
    target.write_text(link_page(weights.read_bytes(), digits), encoding="utf-8")


def shows(doctree: nodes.document | None, kind: type[nodes.Node], tag: str) -> bool:
    """Whether a page has such a node, or its tag in HTML that a cell of a notebook returned."""
    return doctree is not None and (
        any(doctree.findall(kind))
        or any(tag in node.astext() for node in doctree.findall(nodes.raw))
    )


def load_script(
    app: Sphinx,
    pagename: str,
    template: str,
    context: dict[str, Any],
    doctree: nodes.document | None,
) -> None:
    """Let a page with a pad load the script."""
    if shows(doctree, digit_pad, "<digit-pad"):
        app.add_js_file(SCRIPT, loading_method="defer")


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect all of it to the build."""
    app.add_config_value("digit_pad_weights", "", "env")
    app.add_node(
        digit_pad,
        html=(visit_html, depart_html),
        latex=(pass_through, pass_through),
        text=(pass_through, pass_through),
    )
    app.add_directive("digit-pad", DigitPadDirective)
    app.connect("builder-inited", write_script)
    app.connect("html-page-context", load_script)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
