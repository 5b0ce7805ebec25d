"""What the pad and the panels have in common, which come to life in the reader's browser.

A stored notebook keeps an element with a sentence in it, and no JavaScript; on the book's pages the
element comes to life, in Colab the view alone.
"""

from __future__ import annotations

import sys
from typing import Any

from mnist_lab.extras import needs_extra

with needs_extra("chapters"):
    import anywidget
    import traitlets


class BrowserPanel(anywidget.AnyWidget):
    """A widget with an element to stand in its place."""

    # ipywidgets 7 has a method of this name, which would be asked first and knows no sentence.
    _ipython_display_ = None

    def _still(self) -> tuple[str, str]:
        """Return what it is, in plain words, and the element of the pages with its sentence."""
        raise NotImplementedError

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """Return the live view, and for where none can live the element of the pages.

        The text is the same in every run, so that stored outputs can be compared.
        """
        bundle = super()._repr_mimebundle_(**kwargs)
        assert bundle is not None  # a widget with a view has one
        data, metadata = bundle  # in Colab the metadata name the manager for such widgets
        words, element = self._still()
        data = data | {"text/plain": words, "text/html": element}
        if "google.colab" in sys.modules:
            del data["text/html"]  # it must not be preferred to the view
        return data, metadata


class LearningPanel(BrowserPanel):
    """A panel on which a network learns; it gets its digits from Python once, and then no kernel.

    Attributes
    ----------
    train, others : bytes
        PNGs of the digits that a network learns from and is scored on, sent to the browser.
    """

    train: Any = traitlets.CBytes().tag(sync=True)
    others: Any = traitlets.CBytes().tag(sync=True)
