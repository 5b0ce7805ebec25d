"""A Sphinx extension: pages load the icons that they show, and no others.

The theme brings all of Font Awesome, two thousand drawings in one script of 1.5 MB, for some twenty
that the pages name ("fa-rocket"). When the site is built, the drawings that no page and no script
names are taken out of that script.
"""

from __future__ import annotations

import re
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

SCRIPT = "_static/scripts/fontawesome.js"
# A drawing in the script: its name, width, height, other names, code point, outline.
DRAWING = re.compile(
    r'(?<=[{,])"?(?P<name>[\w-]+)"?:\[\d+,\d+,\[(?P<others>[^\]]*)\],"[0-9a-f]+",'
    r'(?:"[^"]*"|\["[^"]*"(?:,"[^"]*")*\])\],?'
)


def names_of_icons(site: Path) -> set[str]:
    """Return all that pages, and scripts other than the drawings' own, name as an icon."""
    files = [path for kind in ("html", "js") for path in site.rglob(f"*.{kind}")]
    return {
        name
        for path in files
        if path != site / SCRIPT and "mathjax" not in path.parts
        for name in re.findall(r"\bfa-([a-z0-9-]+)", path.read_text(encoding="utf-8"))
    }


def keep_drawings(script: str, names: set[str]) -> str:
    """Return the script without the drawings that go by none of these names."""

    def keep(drawing: re.Match[str]) -> str:
        known = {drawing["name"], *re.findall(r'"([\w-]+)"', drawing["others"])}
        return drawing[0] if known & names else ""

    kept, found = DRAWING.subn(keep, script)
    if found < 1000:
        raise ExtensionError(f"{SCRIPT} is written in another way than light_icons.py knows.")
    return kept


def lighten(app: Sphinx, exception: Exception | None) -> None:
    """Rewrite the script of a finished site."""
    script = Path(app.outdir) / SCRIPT
    if exception is None and app.builder.name == "html" and script.is_file():
        text = script.read_text(encoding="utf-8")
        if len(text) > 1_000_000:  # not yet done: Sphinx copies it only when it has changed
            names = names_of_icons(Path(app.outdir))
            script.write_text(keep_drawings(text, names), encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect it to the build."""
    app.connect("build-finished", lighten)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
