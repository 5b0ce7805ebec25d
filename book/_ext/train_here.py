"""A Sphinx extension: the panel that trains a network, on a page.

    ```{train-here}
    The sentence for readers without scripts.
    ```

The script is linked from the package's modules, with the digits written into it. A page with the
panel loads the pad's script, too, with whose network the reader's is compared.
"""

from __future__ import annotations

import posixpath

import digit_pad
from panels import Panel, PanelDirective, add_panel, add_script
from sphinx.application import Sphinx

from mnist_lab.lessons.widgets.digit_pictures import training_pictures
from mnist_lab.lessons.widgets.linking import link_training

SCRIPT = "train-here.js"
CHAPTERS = "notebooks"


class train_here(Panel):  # noqa: N801
    """The place of a panel to train on."""

    tag = "train-here"


class TrainHereDirective(PanelDirective):
    """Puts a panel on the page, which knows the way to the chapters."""

    kind = train_here

    def make(self) -> Panel:
        """Return the panel, as yet empty."""
        here = posixpath.dirname(self.env.docname)
        chapters = posixpath.relpath(CHAPTERS, here or ".") + "/"
        return train_here(opening=f'{train_here.tag} chapters="{chapters}"')


def write_script(app: Sphinx) -> str:
    """Return the script."""
    return link_training(*training_pictures())


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect all of it to the build."""
    app.add_directive("train-here", TrainHereDirective)
    add_script(app, SCRIPT, write_script)
    add_panel(app, train_here, digit_pad.SCRIPT, SCRIPT)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
