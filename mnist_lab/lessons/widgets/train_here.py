"""A panel in a notebook that trains a small network in the reader's browser, from nothing.

    TrainHere()     # shows it; press Start

It is the panel of the book's pages: the network learns in JavaScript (`static/train.js`) from 2,000
of MNIST's training digits, and no kernel has a part in it. A stored notebook keeps a sentence in
its place, and no JavaScript; on the book's pages the element `<train-here>` comes to life.
"""

from __future__ import annotations

from mnist_lab.lessons.widgets.browser_panels import LearningPanel
from mnist_lab.lessons.widgets.digit_pictures import training_pictures
from mnist_lab.lessons.widgets.linking import link_notebook

UNTRAINED = (
    "A panel to train a network on stands here while the notebook runs, and on the book's page "
    "where scripts do: it learns from 2,000 digits in your browser, and you watch its loss, its "
    "kernels and the digits that it still misreads."
)


class TrainHere(LearningPanel):
    """A panel on which a network learns, with the settings in the reader's hand."""

    _esm = link_notebook(entry="train-notebook.js")

    def __init__(self) -> None:
        train, others = training_pictures()
        super().__init__(train=train, others=others)

    def _still(self) -> tuple[str, str]:
        element = f'<train-here chapters="./">\n<p>{UNTRAINED}</p>\n</train-here>'
        return "A panel to train a network on", element
