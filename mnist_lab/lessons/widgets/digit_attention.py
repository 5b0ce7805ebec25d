"""A panel in a notebook that shows a transformer's attention for what is drawn on it.

    DigitAttention(vit)             # draw; who looks at whom, in every head of every block
    DigitAttention(autoencoder)     # hide patches, and see them painted back as well

The network's weights go to the browser, which computes with them in JavaScript
(`static/transformer.js`): no kernel has a part in it. A stored notebook keeps a sentence in its
place, and no JavaScript; on the book's pages the element `<digit-attention>` comes to life, with a
transformer that was trained for them (`book/transformer.py`).
"""

from __future__ import annotations

from typing import Any

from mnist_lab.export import transformer_bytes
from mnist_lab.extras import needs_extra
from mnist_lab.finetuning.masked import MaskedAutoencoder
from mnist_lab.lessons.widgets.browser_panels import BrowserPanel
from mnist_lab.lessons.widgets.linking import link_notebook
from mnist_lab.models.vit import VisionTransformer
from mnist_lab.training.cards import ModelCard

with needs_extra("chapters"):
    import traitlets

UNSEEN = (
    "A sheet to draw on stands here while the notebook runs, and on the book's page where scripts "
    "do: it shows at which patches of your drawing a transformer looks, head by head, and paints "
    "what you hide from it."
)


class DigitAttention(BrowserPanel):
    """A panel that shows at which patches of a drawing each head looks.

    Parameters
    ----------
    model : VisionTransformer or MaskedAutoencoder
        An autoencoder guesses pixels (`normalised_targets=False`) and paints what is hidden. The
        images it was trained on were normalised as MNIST's are.
    reads : bool
        Whether the head of the transformer has learnt anything, so that the panel says what it
        reads; not, if nothing is said, where there is a decoder: its encoder has seen no label.

    Attributes
    ----------
    weights : bytes
        The network as it was when the panel was made, sent to the browser.

    Raises
    ------
    ExportError
        If the panel cannot show this model.
    """

    _esm = link_notebook(entry="attention-notebook.js")
    weights: Any = traitlets.CBytes().tag(sync=True)

    def __init__(
        self, model: VisionTransformer | MaskedAutoencoder, *, reads: bool | None = None
    ) -> None:
        decodes = isinstance(model, MaskedAutoencoder)
        card = ModelCard.of(model.encoder if isinstance(model, MaskedAutoencoder) else model)
        self.reads = not decodes if reads is None else reads
        super().__init__(weights=transformer_bytes(model, card, reads=self.reads))

    def _still(self) -> tuple[str, str]:
        element = f"<digit-attention from-cell>\n<p>{UNSEEN}</p>\n</digit-attention>"
        return "A panel that shows attention", element
