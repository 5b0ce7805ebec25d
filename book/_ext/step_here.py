"""A Sphinx extension: the panel that takes gradient steps, on a page.

A cell of a notebook that shows a `StepHere` gives the element. The script is linked from the
package's modules, with the digits written into it.
"""

from __future__ import annotations

from panels import Panel, add_panel, add_script
from sphinx.application import Sphinx

from mnist_lab.lessons.widgets.digit_pictures import step_pictures
from mnist_lab.lessons.widgets.linking import link_steps

SCRIPT = "step-here.js"


class step_here(Panel):  # noqa: N801
    """The place of a panel to take steps on."""

    tag = "step-here"


def write_script(app: Sphinx) -> str:
    """Return the script."""
    return link_steps(*step_pictures())


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect all of it to the build."""
    add_script(app, SCRIPT, write_script)
    add_panel(app, step_here, SCRIPT)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
