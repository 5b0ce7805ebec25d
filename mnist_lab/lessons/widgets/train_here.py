"""A panel in a notebook that trains a small network in the reader's browser, from nothing.

    TrainHere()     # shows it; press Start

It is the panel of the book's pages: the network learns in JavaScript (`static/train.js`) from 2,000
of MNIST's training digits, and no kernel has a part in it. A stored notebook keeps a sentence in
its place, and no JavaScript; on the book's pages the element `<train-here>` comes to life.
"""

from __future__ import annotations

import sys
from typing import Any

from mnist_lab.extras import needs_extra
from mnist_lab.lessons.widgets.digit_pictures import training_pictures
from mnist_lab.lessons.widgets.linking import link_notebook

with needs_extra("chapters"):
    import anywidget
    import traitlets

UNTRAINED = (
    "A panel to train a network on stands here while the notebook runs, and on the book's page "
    "where scripts do: it learns from 2,000 digits in your browser, and you watch its loss, its "
    "kernels and the digits that it still misreads."
)


class TrainHere(anywidget.AnyWidget):
    """A panel on which a network learns, with the settings in the reader's hand.

    Attributes
    ----------
    train, others : bytes
        PNGs of the digits that it learns from and is scored on, sent to the browser.
    """

    _esm = link_notebook(entry="train-notebook.js")
    train: Any = traitlets.CBytes().tag(sync=True)
    others: Any = traitlets.CBytes().tag(sync=True)

    def __init__(self) -> None:
        train, others = training_pictures()
        super().__init__(train=train, others=others)

    # ipywidgets 7 has a method of this name, which would be asked first and knows no sentence.
    _ipython_display_ = None

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """Return the live view, and for where none can live the element of the pages."""
        bundle = super()._repr_mimebundle_(**kwargs)
        assert bundle is not None  # a widget with a view has one
        data, metadata = bundle  # in Colab the metadata name the manager for such widgets
        still = f'<train-here chapters="./">\n<p>{UNTRAINED}</p>\n</train-here>'
        data = data | {"text/plain": "A panel to train a network on", "text/html": still}
        if "google.colab" in sys.modules:
            del data["text/html"]  # it must not be preferred to the view
        return data, metadata
