"""The pad in a notebook: draw a digit, and a model in Python reads it.

    pad = DigitPad(model)           # or DigitPad("runs/standard"), the folder of a checkpoint
    pad                             # shows it; draw
    pad.image                       # uint8 (28, 28): the drawing as MNIST would have it
    pad.label_and_keep(7)           # keep it as an example, and clear the sheet
    pad.load_examples("mine.npz")   # those of another day, if there are any
    pad.save_examples("mine.npz")   # for `python -m mnist_lab finetune DIR --data mine.npz`

It works wherever anywidget does: JupyterLab, Notebook 7, VS Code, Colab. Colab shows widgets of
other packages only when asked to, which anywidget does by itself. VS Code finds anywidget's script
where it is installed; versions before 2024 ask whether they may fetch it from a CDN.

A stored notebook keeps a picture and a sentence in the pad's place, and no JavaScript. On the
book's pages the element `<digit-pad>` around them comes to life, with the page's own network.
"""

from __future__ import annotations

import base64
import reprlib
from collections import Counter
from collections.abc import Sequence
from numbers import Real
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
from mnist_lab.lessons.widgets.browser_panels import BrowserPanel
from mnist_lab.lessons.widgets.linking import link_notebook
from mnist_lab.training.cards import ModelCard

with needs_extra("chapters"):
    import traitlets

_SMALLEST = 0.03  # of the sheet; what is smaller is a slip of the hand (panel.js has the same)
_FARTHEST = 100  # a point that lies farther away was never drawn (pad.js has the same)
_MOST_POINTS = 4_000  # of a whole drawing (pad.js has the same); a digit has about a hundred
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


class _Strokes(traitlets.List):  # type: ignore[type-arg]
    """Strokes, kept as lists of [x, y]; what is none is a TraitError with one sentence."""

    def validate(self, obj: Any, value: Any) -> list[list[list[float]]]:
        """Return the strokes with their numbers as floats."""
        try:
            count = sum(len(_as_list(stroke)) for stroke in _as_list(value))
            if count > _MOST_POINTS:
                raise traitlets.TraitError(
                    f"A drawing has at most {_MOST_POINTS:,} points, found {count:,}."
                )
            return [[_as_point(point) for point in stroke] for stroke in value]
        except (TypeError, ValueError, OverflowError) as error:
            raise traitlets.TraitError(
                "Strokes are lists of points [x, y], two numbers between 0 and 1 (and never beyond "
                f"{_FARTHEST})."
            ) from error


def _as_list(value: Any) -> Any:
    if not isinstance(value, list | tuple | np.ndarray):
        raise TypeError
    return value


def _as_point(value: Any) -> list[float]:
    x, y = _as_list(value)
    if not (isinstance(x, Real) and isinstance(y, Real)):
        raise TypeError  # float would take "0.5"
    point = [float(x), float(y)]
    if not all(abs(number) <= _FARTHEST for number in point):  # nor NaN
        raise ValueError
    return point


class DigitPad(BrowserPanel):
    """A sheet to draw on, read by `model` as you draw.

    Parameters
    ----------
    model : nn.Module, Reader, or the folder of a checkpoint
        A module takes (n, 1, 28, 28), normalised as MNIST is, and returns logits (n, classes). A
        `Reader`, or a folder's card, says how its model normalises and what its classes are called.
        None: a pad that only draws, with the 28x28 numbers of the drawing beside it.
    layers : bool
        Show what each layer found in the drawing: its numbers after ReLU or GELU.
    kernel : bool
        Show a kernel of nine numbers to edit, and what it makes of the drawing.
    class_names : sequence of str, optional
        Of a module, or of a pad without a model; the ten digits, if not given. A `Reader` and a
        folder have their own.

    Attributes
    ----------
    strokes : list of list of [x, y]
        What is on the sheet, at most 4,000 points; x and y from 0 to 1, y downwards. Set it, and it
        is drawn and read just so: only what a hand draws is smoothed.
    probabilities : list of float
        Of each class; empty while there is nothing to read.
    said : str
        Why the model could not read the drawing; empty if it could.

    Raises
    ------
    ValueError
        If this model cannot read on a pad, which is tried at once on an empty and a full image; or
        if the names do not fit.
    CheckpointError
        If the folder holds no sound checkpoint.
    """

    _esm = link_notebook()
    strokes: Any = _Strokes().tag(sync=True)
    probabilities: Any = traitlets.List().tag(sync=True)
    said: Any = traitlets.Unicode().tag(sync=True)
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
        class_names: Sequence[str] | None = None,
    ) -> None:
        self.reader = _find_reader(model, class_names)
        if layers and self.reader is None:
            raise ValueError("layers=True shows what a model found, and this pad has no model.")
        names = self.reader.class_names if self.reader else class_names or DIGIT_NAMES
        self._images: list[NDArray[np.uint8]] = []
        self._labels: list[int] = []
        super().__init__(
            class_names=list(names), reads=self.reader is not None, layers=layers, kernel=kernel
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

    @traitlets.observe("strokes")
    def _read(self, _: Any = None) -> None:
        image = self.image
        probabilities: list[float] = []
        said = ""
        with self.hold_sync():  # one message
            try:
                if self.reader and image.any():
                    probabilities = _ask(self.reader, image).tolist()
                if self.layers:
                    self._look(image)
            except ValueError as error:
                said = str(error)  # shown: what is raised while a hand draws, only a log has
                raise
            finally:
                self.probabilities, self.said = probabilities, said

    def _look(self, image: NDArray[np.uint8]) -> None:
        """Send what each layer found in the image."""
        assert self.reader is not None  # a pad without one has no layers
        with watch_layers() as found:
            _ask(self.reader, image)
        self.shapes = [
            dict(zip(("kind", "channels", "height", "width"), (kind, *maps.shape), strict=True))
            for kind, maps in found
        ]
        self.activations = b"".join(maps.tobytes() for _, maps in found)

    def _still(self) -> tuple[str, str]:
        attributes = "from-cell" if self.reads else "only-draws"
        attributes += "".join(f" {name}" for name in ("layers", "kernel") if getattr(self, name))
        picture = base64.b64encode(PICTURE.read_bytes()).decode()
        element = (
            f"<digit-pad {attributes}>\n"
            f'<p><img alt="{ALT}" width="560" src="data:image/png;base64,{picture}"></p>\n'
            f"<p>{SENTENCE}</p>\n</digit-pad>"
        )
        return "A pad to draw on", element

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

    def save_examples(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write what has been kept as an .npz, for `load_examples`, `finetune` and `evaluate`.

        A file that is there already is replaced only if nothing in it is lost: it holds examples,
        and all of them are kept here too. `load_examples` keeps them.

        Parameters
        ----------
        path : path
        overwrite : bool
            Replace the file whatever it holds.

        Raises
        ------
        FileExistsError
            If something would be lost.
        DataError
            If nothing has been kept.
        """
        path, examples = Path(path), self.examples
        if path.is_file() and not overwrite:
            _check_nothing_is_lost(path, examples)
        save_npz(path, examples)

    def load_examples(self, path: str | Path) -> int:
        """Add the examples of a file that `save_examples` wrote; return how many are kept now.

        What is kept already is not added once more, so that loading a file twice changes nothing.
        """
        digits = load_npz(path)
        if digits.images.shape[1:] != (28, 28) or digits.class_names != tuple(self.class_names):
            raise ValueError(f"{path} holds examples of other classes or of another size.")
        kept = _count_examples(self.examples) if self._labels else Counter()
        for image, label in zip(digits.images, digits.labels.tolist(), strict=True):
            example = (self.class_names[label], image.tobytes())
            if kept[example] > 0:
                kept[example] -= 1
                continue
            self._images.append(image)
            self._labels.append(label)
        return len(self._labels)


# --- Who reads ------------------------------------------------------------------------------------


def _find_reader(model: Any, class_names: Sequence[str] | None) -> Reader | None:
    """Return who reads on a pad, tried on the emptiest and the fullest image; raises ValueError."""
    if class_names is not None:
        _check_names(class_names)
    if model is None:
        return None
    if isinstance(model, str | Path):
        reader = load_reader(model, device="cpu")  # one drawing at a time: nothing to gain
    elif isinstance(model, nn.Module):
        names = None if class_names is None else tuple(class_names)
        reader = Reader(model, ModelCard.of(model, class_names=names))
    elif isinstance(model, Reader):
        reader = model
    else:
        is_class = isinstance(model, type)
        found = f"the class {model.__name__}" if is_class else f"an object {type(model).__name__}"
        raise ValueError(
            f"A pad takes a network, a Reader or the folder of a checkpoint, found {found}."
        )
    _check_names(reader.class_names)
    if class_names is not None and tuple(class_names) != tuple(reader.class_names):
        raise ValueError(
            f"The reader has names for its classes, {reprlib.repr(reader.class_names)}, so they "
            "cannot be given others with class_names."
        )
    if tuple(reader.card.input_size) != (28, 28):
        height, width = reader.card.input_size
        raise ValueError(f"A pad draws images of 28x28 pixels; this model takes {height}x{width}.")
    for pixel in (0, 255):
        _ask(reader, np.full((28, 28), pixel, np.uint8))
    return reader


def _check_names(names: Any) -> None:
    """Raise ValueError unless the names are texts, none of them empty or doubled."""
    found = reprlib.repr(names)
    if not isinstance(names, list | tuple) or not names:
        raise ValueError(f"class_names are a sequence of names, one for each class, found {found}.")
    if not all(isinstance(name, str) and name.strip() for name in names):
        raise ValueError(f"Every class needs a name that is a text and not empty, found {found}.")
    if len(set(names)) < len(names):
        raise ValueError(f"Each class needs a name of its own, found {found}.")


def _ask(reader: Reader, image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the probabilities (classes,) of one image; a model in training goes on after.

    Raises
    ------
    ValueError
        If the model fails, or does not give one finite number for each class.
    """
    try:
        probabilities = reader.read(image[None]).probabilities
    except Exception as error:  # a model is anybody's code
        reason = str(error).strip().partition("\n")[0].rstrip(".")[:200] or type(error).__name__
        raise ValueError(f"The model cannot read a drawing of 28x28 pixels: {reason}.") from error
    count = len(reader.class_names)
    if probabilities.shape != (1, count):
        found = " x ".join(map(str, probabilities.shape[1:]))
        raise ValueError(
            f"The model answers with {found or 1} numbers, and there are {count} class names: it "
            "must give one for each."
        )
    if not np.isfinite(probabilities).all():
        raise ValueError("The model's answer is not finite: nothing can be read in it.")
    return probabilities[0]


# --- Files of examples ----------------------------------------------------------------------------


def _count_examples(digits: DigitSet) -> Counter[tuple[str, bytes]]:
    """Count equal examples: the name of the class, and the pixels."""
    names = [digits.class_names[label] for label in digits.labels]
    return Counter(zip(names, (image.tobytes() for image in digits.images), strict=True))


def _check_nothing_is_lost(path: Path, examples: DigitSet) -> None:
    """Raise FileExistsError if a file holds anything else than some of these examples."""
    otherwise = "choose another name, or say overwrite=True"
    try:
        there = load_npz(path)
        with np.load(path, allow_pickle=False) as archive:
            others = set(archive.files) - {"images", "labels", "class_names"}
    except Exception as error:  # whatever a foreign file makes NumPy raise
        raise FileExistsError(
            f"{path} exists and is no file of examples, so it is not replaced: {otherwise}."
        ) from error
    if others:
        raise FileExistsError(
            f"{path} holds more than examples ({reprlib.repr(sorted(others))}), so it is not "
            f"replaced: {otherwise}."
        )
    lost = (_count_examples(there) - _count_examples(examples)).total()
    if lost:
        noun = "example" if lost == 1 else "examples"
        raise FileExistsError(
            f"{path} holds {lost:,} {noun} that this pad does not: take them in with "
            f"load_examples first, {otherwise}."
        )
