"""Read digits: a model, its card and a device, with one way to ask them.

    reader = load_reader("runs/standard")
    reading = reader.read(images)                   # uint8 (n, 28, 28), ink on 0
    reading.labels, reading.probabilities           # int64 (n,), float64 (n, classes)
    for digit in reader.read_picture("sum.jpg"):    # a photo, scan or drawing of several
        print(digit.name, digit.probability, digit.box)

Command line, pad, benchmarks and chapters read with it. A model that returns logits, whoever wrote
it, is read by `Reader(model)`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mnist_lab.data.digit_set import DataError, DigitSet, align_classes
from mnist_lab.handwriting.found import FoundDigit, Unread, search_page
from mnist_lab.handwriting.paper import Box
from mnist_lab.handwriting.picture_files import load_picture
from mnist_lab.training.batches import Batches, choose_device
from mnist_lab.training.cards import ModelCard
from mnist_lab.training.checkpoints import load_checkpoint
from mnist_lab.training.scoring import Score, cast_for, eval_mode, evaluate
from mnist_lab.training.tensor_folders import CheckpointError

# The pages' network reads 61 of 5,000 validation digits with less; 11 of its 29 mistakes are there.
DOUBTFUL = 0.6
ABSTAINED = -1  # the label of an image of which the reader is not sure enough
_AT_ONCE = 1_000  # images


@dataclass(frozen=True)
class Reading:
    """What was read in n images.

    Attributes
    ----------
    labels : int64 (n,)
        The likeliest class; `ABSTAINED` where it is less probable than the reader asks for.
    probabilities : float64 (n, classes)
    class_names : tuple of str
    """

    labels: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    class_names: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """The names of the classes that were read; "?" where the reader abstained."""
        return ["?" if label == ABSTAINED else self.class_names[label] for label in self.labels]


@dataclass(frozen=True)
class ReadDigit:
    """A digit that was found in a picture, and what was read in it.

    Attributes
    ----------
    name : str
        Of its class; "?" where the reader abstained.
    probability : float
        Of the likeliest class.
    probabilities : float64 (classes,)
    found : FoundDigit
        Its image as MNIST would have it, and its box.
    """

    name: str
    probability: float
    probabilities: NDArray[np.float64]
    found: FoundDigit

    @property
    def box(self) -> Box:
        """Left, top, right and bottom in pixels of the picture."""
        return self.found.box

    @property
    def is_doubtful(self) -> bool:
        """Whether somebody had better look at it: it is less probable than `DOUBTFUL`."""
        return self.probability < DOUBTFUL


@dataclass(frozen=True)
class PageReading:
    """What was read in a picture, and what was not.

    Attributes
    ----------
    digits : list of ReadDigit
        Lines from top to bottom, each from left to right.
    unread : list of Unread
        Ink that was not read, each with its box and the reason why.
    """

    digits: list[ReadDigit]
    unread: list[Unread]

    @property
    def confidence(self) -> float:
        """The probability of the least certain digit."""
        return min((digit.probability for digit in self.digits), default=0.0)

    def to_json(self) -> dict[str, Any]:
        """Return what `predict --json` and the service tell of it."""
        return {
            "digits": [
                {
                    "digit": int(digit.name) if digit.name.isdecimal() else digit.name,
                    "probability": round(digit.probability, 6),
                    "box": list(digit.box),
                }
                for digit in self.digits
            ],
            "confidence": round(self.confidence, 6),
            "unread": [{"box": list(one.box), "reason": one.reason} for one in self.unread],
        }


class Reader:
    """A model that reads, and what its card says of how it is fed.

    Parameters
    ----------
    model : nn.Module
        Takes (n, 1, height, width) and returns logits (n, classes). It is asked where it lies, in
        eval mode, and is left as it was.
    card : ModelCard, optional
        `ModelCard.of(model)` if not given.
    least_probability : float
        Below it the reader abstains; 0: it always answers.

    Raises
    ------
    ValueError
        If the probability is out of range, or the model does not answer a blank and a full image as
        the card says (`ModelCard.check`).
    """

    def __init__(
        self, model: nn.Module, card: ModelCard | None = None, *, least_probability: float = 0.0
    ) -> None:
        if not 0 <= least_probability < 1:
            raise ValueError(
                f"least_probability must be from 0 to below 1, found {least_probability}."
            )
        self.model = model
        self.card = card or ModelCard.of(model)
        self.card.check(model)
        self.least_probability = least_probability

    @property
    def class_names(self) -> tuple[str, ...]:
        """What the classes are called, in the order of the logits."""
        return self.card.class_names

    @property
    def device(self) -> torch.device:
        """Where the model lies."""
        return next((p.device for p in self.model.parameters()), torch.device("cpu"))

    def read(self, images: NDArray[np.uint8]) -> Reading:
        """Read images as MNIST has them.

        Parameters
        ----------
        images : uint8 (n, height, width)
            Of the size that the card says; 0 is paper, 255 is full ink.

        Raises
        ------
        ValueError
            If they have another shape or type.
        FloatingPointError
            If the model answers some of them with numbers that are not finite.
        """
        probabilities = self.logits_of(images).softmax(1).numpy()
        labels = probabilities.argmax(1)
        sure = probabilities.max(1, initial=0) >= self.least_probability
        return Reading(np.where(sure, labels, ABSTAINED), probabilities, self.class_names)

    def logits_of(self, images: NDArray[np.uint8]) -> Tensor:
        """Return logits, float64 (n, classes) on the CPU, of images uint8 (n, height, width).

        Raises
        ------
        ValueError, FloatingPointError
            As for `read`.
        """
        images = np.asarray(images)
        height, width = self.card.input_size
        if images.ndim != 3 or images.shape[1:] != (height, width) or images.dtype != np.uint8:
            raise ValueError(
                f"The images must be uint8 (n, {height}, {width}), found {images.dtype} "
                f"{images.shape}."
            )
        parts = []
        with eval_mode(self.model), torch.no_grad():
            for start in range(0, max(len(images), 1), _AT_ONCE):
                pixels = torch.from_numpy(np.array(images[start : start + _AT_ONCE]))[:, None]
                batch = cast_for(self.model, self.card.normalisation(pixels.to(self.device)))
                # To the CPU first: Apple's GPUs have no float64.
                parts.append(self.model(batch).float().cpu().double())
        logits = torch.cat(parts)
        spoilt = int((~logits.isfinite()).any(1).sum())
        if spoilt:
            kind = type(self.model).__name__
            raise FloatingPointError(
                f"The {kind} answers {spoilt:,} of {len(images):,} images with numbers that are "
                f"not finite: its weights are too large for them."
            )
        return logits

    def read_page(self, file: str | Path | NDArray[np.uint8]) -> PageReading:
        """Find and read all digits in a picture, and say what was not read.

        A picture shows digits on paper that is brighter or darker than they are, one or several, on
        lines that are turned by 20 degrees at most; boxes, tables and ruled lines are no digits.

        Parameters
        ----------
        file : path or array
            A photo, scan or drawing of any size; or its pixels, uint8 (height, width) or (height,
            width, 3).

        Raises
        ------
        HandwritingError
            If it is no image, is too large, or shows no ink.
        FloatingPointError
            If the model answers some digit with numbers that are not finite.
        """
        if isinstance(file, np.ndarray):
            (found, unread), source = search_page(file), ""
        else:
            (found, unread), source = search_page(load_picture(file), str(file)), f"{file}: "
        try:
            reading = self.read(np.stack([digit.image for digit in found]))
        except FloatingPointError as error:
            raise FloatingPointError(f"{source}{error}") from error
        digits = [
            ReadDigit(name, float(probabilities.max()), probabilities, digit)
            for name, probabilities, digit in zip(
                reading.names, reading.probabilities, found, strict=True
            )
        ]
        return PageReading(digits, unread)

    def read_picture(self, file: str | Path | NDArray[np.uint8]) -> list[ReadDigit]:
        """Read all digits in a picture as `read_page` does: lines from top to bottom."""
        return self.read_page(file).digits

    def score(self, digits: DigitSet) -> Score:
        """Return loss and accuracy on labelled digits, whose classes are among the reader's.

        Raises
        ------
        DataError
            If the images have another size, or there is a class that the reader does not know.
        FloatingPointError
            If the loss is not finite, as some of the model's answers are not.
        """
        (height, width), expected = digits.images.shape[1:], self.card.input_size
        if (height, width) != expected:
            raise DataError(
                f"These images have {height}x{width} pixels; the model takes "
                f"{expected[0]}x{expected[1]}."
            )
        digits = align_classes(digits, self.class_names)
        normalisation = self.card.normalisation
        score = evaluate(
            self.model, Batches(digits, device=self.device, normalisation=normalisation)
        )
        if not math.isfinite(score.loss):
            kind = type(self.model).__name__
            raise FloatingPointError(
                f"The loss on these {len(digits):,} digits is {score.loss}: the {kind} answers "
                f"some with numbers that are not finite, as its weights are too large for them."
            )
        return score


def load_reader(folder: str | Path, *, device: str = "auto", **options: Any) -> Reader:
    """Return the reader of a checkpoint.

    Parameters
    ----------
    folder : path
    device : {"auto", "cuda", "mps", "cpu"}
    **options
        Of `Reader`: least_probability.

    Raises
    ------
    CheckpointError
        If there is no sound checkpoint, or its head has learnt nothing yet.
    """
    model, card = load_checkpoint(folder)
    if card.training.get("head") == "untrained":
        raise CheckpointError(
            f"{folder} was pretrained without labels and cannot read digits yet: fine-tune it with "
            f"python -m mnist_lab finetune {folder} --data mnist, or your own digits."
        )
    return Reader(model.to(choose_device(device)), card, **options)
