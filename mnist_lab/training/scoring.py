"""Scores: mean loss and accuracy over examples; and a network's outputs, all in eval mode.

score = evaluate(model, Batches(validation))
score.loss, score.accuracy, score.count
logits = logits_of(model, Batches(validation))      # (n, classes)
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mnist_lab.training.batches import Batch


@dataclass(frozen=True)
class Score:
    """Mean loss (nats per example) and accuracy in [0, 1] over `count` examples.

    Where there are no labels to be right about, accuracy is NaN.
    """

    loss: float
    accuracy: float
    count: int


NOT_SCORED = Score(math.nan, math.nan, 0)  # where nothing was held out


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Switch to eval mode; restore the mode of every part after."""
    modes = {part: part.training for part in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for part, training in modes.items():
            part.training = training


def cast_for(model: nn.Module, images: Tensor) -> Tensor:
    """Return images in the precision of the model's weights: batches come in float32."""
    return images.to(next((p.dtype for p in model.parameters()), images.dtype))


def score_as_is(model: nn.Module, batches: Iterable[Batch]) -> Score:
    """Score each example once, without gradients, in whatever mode the model is.

    Sums over examples, not over batches, so a short last batch weighs as little as it should.
    """
    loss, correct, count = 0.0, 0, 0
    with torch.no_grad():
        for images, labels in batches:
            logits = model(cast_for(model, images)).float()
            loss += float(F.cross_entropy(logits, labels, reduction="sum"))
            correct += int((logits.argmax(1) == labels).sum())
            count += len(labels)
    if count == 0:
        raise ValueError("There is nothing to score: the batches hold no example.")
    return Score(loss / count, correct / count, count)


def evaluate(model: nn.Module, batches: Iterable[Batch]) -> Score:
    """Score each example once, without gradients; restore the previous mode of every part.

    In eval mode dropout is off and batch norm uses its running statistics.
    """
    with eval_mode(model):
        return score_as_is(model, batches)


def logits_of(model: nn.Module, batches: Iterable[Batch]) -> Tensor:
    """Return the model's output for every example in the order of the batches, in eval mode.

    Returns
    -------
    Tensor (n, classes), on the batches' device: logits, for a model that returns logits.
    """
    with eval_mode(model), torch.no_grad():
        return torch.cat([model(cast_for(model, images)) for images, _ in batches])
