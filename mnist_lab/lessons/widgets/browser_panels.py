"""What the panels have in common on which a network learns in the reader's browser.

A panel gets its digits from Python once, and then needs no kernel. A stored notebook keeps an
element with a sentence in it, and no JavaScript; on the book's pages the element comes to life.
"""

from __future__ import annotations

import sys
from typing import Any

from mnist_lab.extras import needs_extra

with needs_extra("chapters"):
    import anywidget
    import traitlets


class BrowserPanel(anywidget.AnyWidget):
    """A panel that works in the browser alone.

    Attributes
    ----------
    train, others : bytes
        PNGs of the digits that a network learns from and is scored on, sent to the browser.
    """

    train: Any = traitlets.CBytes().tag(sync=True)
    others: Any = traitlets.CBytes().tag(sync=True)

    # ipywidgets 7 has a method of this name, which would be asked first and knows no sentence.
    _ipython_display_ = None

    def _still(self) -> tuple[str, str]:
        """Return what it is, in plain words, and the element of the pages with its sentence."""
        raise NotImplementedError

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """Return the live view, and for where none can live the element of the pages."""
        bundle = super()._repr_mimebundle_(**kwargs)
        assert bundle is not None  # a widget with a view has one
        data, metadata = bundle  # in Colab the metadata name the manager for such widgets
        words, element = self._still()
        data = data | {"text/plain": words, "text/html": element}
        if "google.colab" in sys.modules:
            del data["text/html"]  # it must not be preferred to the view
        return data, metadata
