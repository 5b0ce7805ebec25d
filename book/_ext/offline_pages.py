"""A Sphinx extension: built pages ask no other host for anything.

Formulas: MathJax is copied from the installed package sphinx-mathjax-offline into the site, so that
they also render with no network and from disk. Set `mathjax_path` to ``mathjax/tex-mml-chtml.js``.

Live code: Jupyter Book always loads sphinx-thebe, whose script names a CDN and declares the same
constant twice, an error on every page. This book runs its code elsewhere, so the script is dropped.
"""

from __future__ import annotations

import shutil
from importlib import resources
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

MATHJAX_PACKAGE = "sphinx-mathjax-offline"

# What a page can come to load: the program, its fonts, rarer TeX commands, and what its menu offers
# to readers who listen to formulas. The other languages and output formats would add 18 MB.
MATHJAX_PARTS = (
    "tex-mml-chtml.js",
    "output/chtml/fonts",
    "input/tex/extensions",
    "a11y",
    "sre/mathmaps/base.json",
    "sre/mathmaps/en.json",
    "sre/mathmaps/nemeth.json",
)


def copy_mathjax(app: Sphinx, exception: Exception | None) -> None:
    """Copy MathJax into the static files of a finished HTML build."""
    if exception is not None or app.builder.name != "html":
        return
    try:
        package = resources.files(MATHJAX_PACKAGE)
    except ModuleNotFoundError as error:
        raise ExtensionError(
            f"The package {MATHJAX_PACKAGE} is missing, and formulas need it: install the extra "
            "'book' of mnist-lab."
        ) from error
    target = Path(app.outdir) / "_static" / "mathjax"
    with resources.as_file(package / "static" / "mathjax") as source:
        for part in MATHJAX_PARTS:
            destination = target / part
            destination.parent.mkdir(parents=True, exist_ok=True)
            if (source / part).is_dir():
                shutil.copytree(source / part, destination, dirs_exist_ok=True)
            else:
                shutil.copyfile(source / part, destination)


def drop_thebe(
    app: Sphinx,
    pagename: str,
    template: str,
    context: dict[str, Any],
    doctree: nodes.document | None,
) -> None:
    """Take sphinx-thebe's scripts and style sheet out of a page that is about to be written."""
    context["script_files"] = [
        script
        for script in context["script_files"]
        if "thebe" not in str(script)
        and "THEBE_JS_URL" not in (getattr(script, "attributes", {}).get("body") or "")
    ]
    context["css_files"] = [sheet for sheet in context["css_files"] if "thebe" not in str(sheet)]


def drop_thebe_settings(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Take out the settings that sphinx-thebe has appended to a page's content."""
    for node in list(doctree.findall(nodes.raw)):
        text = node.astext()
        if "text/x-thebe-config" in text or text.startswith("<script>kernelName"):
            node.parent.remove(node)


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect all of it to the build."""
    app.connect("build-finished", copy_mathjax)
    app.connect("doctree-resolved", drop_thebe_settings, priority=900)
    app.connect("html-page-context", drop_thebe, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
