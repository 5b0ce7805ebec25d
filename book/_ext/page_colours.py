"""A Sphinx extension: the pages take their colours from the package's palette.

It writes `palette.css` into the site, a style sheet of custom properties (`--ink`, `--paper`) for
the light and the dark page, and every page loads it. mnist-lab.css uses them by name.
"""

from __future__ import annotations

from pathlib import Path

from sphinx.application import Sphinx

from mnist_lab.lessons.palette import PAGE_BY_DAY, PAGE_BY_NIGHT, write_properties

SHEET = "palette.css"


def sheet_text() -> str:
    """Return the style sheet; "auto" is a page on which no script runs."""
    night = write_properties(PAGE_BY_NIGHT)
    return (
        f":root {{ {write_properties(PAGE_BY_DAY)} }}\n"
        f'html[data-theme="dark"] {{ {night} }}\n'
        f'@media (prefers-color-scheme: dark) {{ html[data-theme="auto"] {{ {night} }} }}\n'
    )


def write_sheet(app: Sphinx) -> None:
    """Write the style sheet into the site, before Sphinx looks at its static files."""
    if app.builder.name != "html":
        return
    target = Path(app.outdir) / "_static" / SHEET
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(sheet_text(), encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect it to the build."""
    app.connect("builder-inited", write_sheet)
    app.add_css_file(SHEET)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
