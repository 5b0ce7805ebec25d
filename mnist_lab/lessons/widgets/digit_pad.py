"""The pad in a notebook: draw a digit, and a model in Python reads it.

    pad = DigitPad(model)           # or DigitPad("runs/standard"), the folder of a checkpoint
    pad                             # shows it; draw
    pad.image                       # uint8 (28, 28): the drawing as MNIST would have it
    pad.label_and_keep(7)           # keep it as an example, and clear the sheet
    pad.save_examples("mine.npz")   # for `python -m mnist_lab finetune DIR --data mine.npz`

It works wherever anywidget does: JupyterLab, Notebook 7, VS Code, Colab. Colab shows widgets of
other packages only when asked to, which anywidget does by itself. VS Code finds anywidget's script
where it is installed; versions before 2024 ask whether they may fetch it from a CDN.

A stored notebook keeps a picture and a sentence in the pad's place, and no JavaScript. On the
book's pages the element `<digit-pad>` around them comes to life, with the page's own network.
"""

from __future__ import annotations

import base64
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from mnist_lab.data.digit_set import DIGIT_NAMES, DigitSet
from mnist_lab.data.own_files import load_npz, save_npz
from mnist_lab.extras import needs_extra
from mnist_lab.handwriting.ink import HandwritingError
from mnist_lab.handwriting.reader import Reader, load_reader
from mnist_lab.handwriting.strokes import draw_strokes
from mnist_lab.lessons.widgets.activations import watch_layers
from mnist_lab.lessons.widgets.linking import link_notebook

with needs_extra("chapters"):
    import anywidget
    import traitlets

_SMALLEST = 0.03  # of the sheet; what is smaller is a slip of the hand (panel.js has the same)
_FARTHEST = 100  # a point that lies farther away was never drawn
PICTURE = Path(__file__).with_name("the_pad.png")  # drawn by book/figures/make_figures.py
ALT = (
    "Three pictures in a row. A 3 drawn in ink on squared paper; the same 3 as a small image of 28 "
    "by 28 grey pixels, fitted and centred; and a large blue 3, what the network read."
)
SENTENCE = (
    "A sheet to draw on stands here while the notebook runs, and on the book's page where scripts "
    "do. The picture shows the steps: your drawing, the 28\N{MULTIPLICATION SIGN}28 pixels that "
    "MNIST would have made of it, and what a network reads in them."
)
NO_LAYERS = "This model has no layer with ReLU or GELU, so there are no maps to show."


class DigitPad(anywidget.AnyWidget):
    """A sheet to draw on, read by `model` as you draw.

    Parameters
    ----------
    model : nn.Module, Reader, or the folder of a checkpoint
        A module takes (n, 1, 28, 28), normalised as MNIST is, and returns logits (n, 10). A
        `Reader`, or a folder's card, says how its model normalises and what its classes are called.
        None: a pad that only draws, with the 28x28 numbers of the drawing beside it.
    layers : bool
        Show what each layer found in the drawing: its numbers after ReLU or GELU.
    kernel : bool
        Show a kernel of nine numbers to edit, and what it makes of the drawing.
    class_names : tuple of str
        Of a pad without a model; else the reader's count.

    Attributes
    ----------
    strokes : list of list of [x, y]
        What is on the sheet; x and y from 0 to 1, y downwards. Set it, and it is drawn.
    probabilities : list of float
        Of each class; empty while there is nothing to read.
    """

    _esm = link_notebook()
    strokes: Any = traitlets.List().tag(sync=True)
    probabilities: Any = traitlets.List().tag(sync=True)
    class_names: Any = traitlets.List().tag(sync=True)
    reads: Any = traitlets.Bool().tag(sync=True)
    layers: Any = traitlets.Bool().tag(sync=True)
    kernel: Any = traitlets.Bool().tag(sync=True)
    layers_said: Any = traitlets.Unicode().tag(sync=True)  # where there are no layers to show
    shapes: Any = traitlets.List().tag(sync=True)  # of what the layers found: kind, channels, ...
    activations: Any = traitlets.CBytes().tag(sync=True)  # all of it, uint8, layer after layer

    def __init__(
        self,
        model: nn.Module | Reader | str | Path | None = None,
        *,
        layers: bool = False,
        kernel: bool = False,
        class_names: tuple[str, ...] = DIGIT_NAMES,
    ) -> None:
        if isinstance(model, str | Path):
            model = load_reader(model, device="cpu")  # one drawing at a time: nothing to gain
        elif isinstance(model, nn.Module):
            model = Reader(model)
        self.reader = model
        class_names = class_names if self.reader is None else self.reader.class_names
        self._images: list[NDArray[np.uint8]] = []
        self._labels: list[int] = []
        super().__init__(
            class_names=list(class_names),
            reads=self.reader is not None,
            layers=layers and self.reader is not None,
            kernel=kernel,
        )
        if self.layers:
            self._look(np.zeros((28, 28), np.uint8))  # their shapes, before anything is drawn
            self.layers_said = "" if self.shapes else NO_LAYERS

    @property
    def image(self) -> NDArray[np.uint8]:
        """The drawing as uint8 (28, 28), ink on 0; all 0 while the sheet is empty."""
        points = np.array([point for stroke in self.strokes for point in stroke]).reshape(-1, 2)
        if len(points) == 0 or np.ptp(points, axis=0).max() < _SMALLEST:
            return np.zeros((28, 28), np.uint8)
        return draw_strokes(self.strokes)

    @traitlets.validate("strokes")
    def _check_strokes(self, proposal: dict[str, Any]) -> list[list[list[float]]]:
        """Take strokes of finite points; say in one sentence what is none."""
        try:
            checked = [[[float(x), float(y)] for x, y in stroke] for stroke in proposal["value"]]
        except (TypeError, ValueError) as error:
            raise traitlets.TraitError("Strokes are lists of points [x, y].") from error
        values = [value for stroke in checked for point in stroke for value in point]
        if not all(abs(value) <= _FARTHEST for value in values):  # nor NaN
            raise traitlets.TraitError(f"Points lie between 0 and 1, and never beyond {_FARTHEST}.")
        return checked

    @traitlets.observe("strokes")
    def _read(self, _: Any = None) -> None:
        image = self.image
        with self.hold_sync():  # one message
            self.probabilities = self._ask(image).tolist() if image.any() and self.reads else []
            if self.layers:
                self._look(image)

    def _ask(self, image: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Return the probabilities (classes,) of one image; a model in training goes on after."""
        assert self.reader is not None  # `reads` says so
        return self.reader.read(image[None]).probabilities[0]

    def _look(self, image: NDArray[np.uint8]) -> None:
        """Send what each layer found in the image."""
        with watch_layers() as found:
            self._ask(image)
        self.shapes = [
            dict(zip(("kind", "channels", "height", "width"), (kind, *maps.shape), strict=True))
            for kind, maps in found
        ]
        self.activations = b"".join(maps.tobytes() for _, maps in found)

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """Return the live view, and for where none can live a picture and a sentence.

        The text is the same in every run, so that stored outputs can be compared.
        """
        bundle = super()._repr_mimebundle_(**kwargs)
        assert bundle is not None  # a widget with a view has one
        data, metadata = bundle  # in Colab the metadata name the manager for such widgets
        data = data | {"text/plain": "A pad to draw on", "text/html": self._still()}
        if "google.colab" in sys.modules:
            del data["text/html"]  # it must not be preferred to the view
        return data, metadata

    def _still(self) -> str:
        """Return the pad of a page without a kernel; between the tags is what needs no script."""
        attributes = "from-cell" if self.reads else "only-draws"
        attributes += "".join(f" {name}" for name in ("layers", "kernel") if getattr(self, name))
        picture = base64.b64encode(PICTURE.read_bytes()).decode()
        return (
            f"<digit-pad {attributes}>\n"
            f'<p><img alt="{ALT}" width="560" src="data:image/png;base64,{picture}"></p>\n'
            f"<p>{SENTENCE}</p>\n</digit-pad>"
        )

    def clear(self) -> None:
        """Take an empty sheet."""
        self.strokes = []

    # --- Examples of your own ---------------------------------------------------------------------

    def label_and_keep(self, label: int | str) -> int:
        """Keep the drawing as an example of `label`, clear the sheet; return how many are kept.

        Raises
        ------
        HandwritingError
            If nothing has been drawn.
        ValueError
            If there is no such class.
        """
        if str(label) not in self.class_names:
            known = ", ".join(self.class_names)
            raise ValueError(f"There is no class {label!r}; there are {known}.")
        image = self.image
        if not image.any():
            raise HandwritingError("Nothing has been drawn, so there is nothing to keep.")
        self._images.append(image)
        self._labels.append(self.class_names.index(str(label)))
        self.clear()
        return len(self._labels)

    @property
    def examples(self) -> DigitSet:
        """What has been kept, in that order."""
        images = np.array(self._images, np.uint8).reshape(-1, 28, 28)
        return DigitSet(
            images,
            np.array(self._labels, np.int64),
            class_names=tuple(self.class_names),
        )

    def save_examples(self, path: str | Path) -> None:
        """Write what has been kept as an .npz, for `load_examples`, `finetune` and `evaluate`."""
        save_npz(path, self.examples)

    def load_examples(self, path: str | Path) -> int:
        """Add the examples of a file that `save_examples` wrote; return how many are kept now."""
        digits = load_npz(path)
        if digits.images.shape[1:] != (28, 28) or digits.class_names != tuple(self.class_names):
            raise ValueError(f"{path} holds examples of other classes or of another size.")
        self._images.extend(digits.images)
        self._labels.extend(digits.labels.tolist())
        return len(self._labels)
