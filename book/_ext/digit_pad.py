"""A Sphinx extension: the drawing pad on a page.

    ```{digit-pad} figures/the_pad.png
    :alt: what the picture shows
    :layers:
    The sentence for readers without scripts.
    ```

Where no script runs, the picture and the sentence stand in the pad's place. The script is linked
from the package's modules, with the weights that `digit_pad_weights` names written into it.
"""

from __future__ import annotations

from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from panels import Panel, PanelDirective, add_panel, add_script, find_weights
from sphinx.application import Sphinx
from sphinx.util.typing import OptionSpec

from mnist_lab.lessons.widgets.linking import link_page

SCRIPT = "digit-pad.js"


class digit_pad(Panel):  # noqa: N801
    """The place of a pad."""

    tag = "digit-pad"


class DigitPadDirective(PanelDirective):
    """Puts a pad on the page, with its picture inside as well."""

    kind = digit_pad
    required_arguments = 1
    option_spec: ClassVar[OptionSpec] = {
        "alt": directives.unchanged_required,
        "layers": directives.flag,
    }

    def make(self) -> Panel:
        """Return the pad with its picture."""
        if "alt" not in self.options:
            raise self.error("A pad needs alt text for its picture, and a sentence.")
        layers = " layers" if "layers" in self.options else ""
        image = nodes.image(uri=self.arguments[0], alt=self.options["alt"])
        self.set_source_info(image)
        return digit_pad("", image, opening=f"{digit_pad.tag}{layers}")


def write_script(app: Sphinx) -> str:
    """Return the script."""
    weights = find_weights(app, "digit_pad_weights", "The pages' network", "book.recogniser")
    return link_page(weights.read_bytes(), weights.with_name("digits.png").read_bytes())


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect all of it to the build."""
    app.add_config_value("digit_pad_weights", "", "env")
    app.add_directive("digit-pad", DigitPadDirective)
    add_script(app, SCRIPT, write_script)
    add_panel(app, digit_pad, SCRIPT)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
