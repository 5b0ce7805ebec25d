"""A Sphinx extension: the panel that shows a transformer's attention, on a page.

    ```{digit-attention}
    The sentence for readers without scripts.
    ```

The script is linked from the package's modules, with the weights that `digit_attention_weights`
names written into it.
"""

from __future__ import annotations

from panels import Panel, PanelDirective, add_panel, add_script, find_weights
from sphinx.application import Sphinx

from mnist_lab.lessons.widgets.linking import link_attention

SCRIPT = "digit-attention.js"


class digit_attention(Panel):  # noqa: N801
    """The place of a panel that shows attention."""

    tag = "digit-attention"


class DigitAttentionDirective(PanelDirective):
    """Puts a panel on the page."""

    kind = digit_attention


def write_script(app: Sphinx) -> str:
    """Return the script."""
    weights = find_weights(
        app, "digit_attention_weights", "The pages' transformer", "book.transformer"
    )
    return link_attention(weights.read_bytes())


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect all of it to the build."""
    app.add_config_value("digit_attention_weights", "", "env")
    app.add_directive("digit-attention", DigitAttentionDirective)
    add_script(app, SCRIPT, write_script)
    add_panel(app, digit_attention, SCRIPT)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
