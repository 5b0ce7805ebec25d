"""A panel in a notebook that takes gradient steps in the reader's browser, one a click.

    StepHere("linear")     # chapter 2: ten templates
    StepHere("mlp")        # chapter 3: a hidden layer
    StepHere("cnn")        # chapter 4: four kernels

It shows every number of a step: logits, probabilities, the gradient, weights before and after. The
sums are those of the training panel (`static/train.js`, `static/layers.js`), and no kernel has a
part in them. A stored notebook keeps a sentence in its place, and no JavaScript; on the book's
pages the element `<step-here>` comes to life.
"""

from __future__ import annotations

from typing import Any

from mnist_lab.extras import needs_extra
from mnist_lab.lessons.widgets.browser_panels import LearningPanel
from mnist_lab.lessons.widgets.digit_pictures import step_pictures
from mnist_lab.lessons.widgets.linking import link_notebook

with needs_extra("chapters"):
    import traitlets

_SHOWN = {
    "linear": "a linear classifier: its ten templates, and for each digit of the step the logits, "
    "the probabilities and p \N{MINUS SIGN} y",
    "mlp": "a network with eight hidden units: their numbers on the way forwards, the gradients "
    "that come back, and the weights before and after",
    "cnn": "a network with four kernels: their maps, what comes back to them, and each kernel's "
    "numbers before and after",
}


class StepHere(LearningPanel):
    """A panel that takes one step of gradient descent a click, with every number.

    Parameters
    ----------
    network : str
        "linear", "mlp" or "cnn": the networks of chapters 2, 3 and 4, small enough to be seen.

    Raises
    ------
    ValueError
        If there is no such network.
    """

    _esm = link_notebook(entry="step-notebook.js")
    network: Any = traitlets.Unicode().tag(sync=True)

    def __init__(self, network: str) -> None:
        if network not in _SHOWN:
            known = ", ".join(map(repr, _SHOWN))
            raise ValueError(f"There are steps for {known}, found {network!r}.")
        train, others = step_pictures()
        super().__init__(network=network, train=train, others=others)

    def _still(self) -> tuple[str, str]:
        sentence = (
            "A panel to take gradient steps on stands here while the notebook runs, and on the "
            f"book's page where scripts do. It shows {_SHOWN[self.network]}."
        )
        element = f'<step-here network="{self.network}">\n<p>{sentence}</p>\n</step-here>'
        return f"A panel to take gradient steps on: {self.network}", element
