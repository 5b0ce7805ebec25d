"""What the extensions of pad and panels have in common: an element, and a script for its pages.

Where scripts run, the element lives; where they do not, what is inside stands in its place. A cell
of a notebook that shows the panel's widget gives the same element by itself. Only pages with the
element load its scripts, which are classic ones, so they also run in a page that is opened from
disk.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective
from sphinx.writers.html5 import HTML5Translator


class Panel(nodes.General, nodes.Element):  # type: ignore[misc]
    """The place of a panel; its children are for readers without scripts.

    `opening` is its element's first tag, if that has more than a name.
    """

    tag: ClassVar[str]


class PanelDirective(SphinxDirective):
    """Puts a panel on the page, with the sentence inside."""

    has_content = True
    kind: ClassVar[type[Panel]]

    def make(self) -> Panel:
        """Return the panel, as yet empty."""
        return self.kind()

    def run(self) -> list[nodes.Node]:
        """Return the panel with its sentence inside."""
        self.assert_has_content()
        panel = self.make()
        self.state.nested_parse(self.content, self.content_offset, panel)
        return [panel]


def visit_html(translator: HTML5Translator, node: Panel) -> None:
    """Open the element; once it lives, a browser no longer shows what is inside."""
    translator.body.append(f"<{node.get('opening', node.tag)}>\n")


def depart_html(translator: HTML5Translator, node: Panel) -> None:
    """Close the element."""
    translator.body.append(f"</{node.tag}>\n")


def pass_through(translator: nodes.NodeVisitor, node: Panel) -> None:
    """Every other format shows what is inside."""


def find_weights(app: Sphinx, setting: str, what: str, module: str) -> Path:
    """Return the weights that a setting of _config.yml names."""
    name = getattr(app.config, setting)
    weights = Path(app.srcdir) / name
    if not weights.is_file():
        raise ExtensionError(
            f"{what} is missing: {name} is made by `make book`, or by `python -m {module} {name}`."
        )
    return weights


def add_script(app: Sphinx, name: str, link: Callable[[Sphinx], str]) -> None:
    """Have a script linked into the site, before Sphinx looks at its static files."""

    def write(app: Sphinx) -> None:
        if app.builder.name != "html":  # an edition has no panel
            return
        target = Path(app.outdir) / "_static" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(link(app), encoding="utf-8")

    app.connect("builder-inited", write)


def add_panel(app: Sphinx, kind: type[Panel], *scripts: str) -> None:
    """Let pages show such a panel, and those that do load its scripts."""

    def load(
        app: Sphinx,
        pagename: str,
        template: str,
        context: dict[str, Any],
        doctree: nodes.document | None,
    ) -> None:
        if doctree is None:
            return
        raw = (node.astext() for node in doctree.findall(nodes.raw))
        if any(doctree.findall(kind)) or any(f"<{kind.tag}" in html for html in raw):
            for script in scripts:
                app.add_js_file(script, loading_method="defer")

    elsewhere = (pass_through, pass_through)
    app.add_node(kind, html=(visit_html, depart_html), latex=elsewhere, text=elsewhere)
    app.connect("html-page-context", load)
