"""Keep the old task while a new one is learnt: by its digits, or by the old network's answers.

    digits = mix_evenly(mine, mnist)    # as many old ones as new ones
    fit(model, mine, config=config, objective=ClassifyAndRemember(model))   # no old digit at all

Sources: rehearsal, Robins 1995; learning without forgetting, Li and Hoiem 2018; distillation at a
temperature, Hinton, Vinyals and Dean 2015.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mnist_lab.data.digit_set import DigitSet
from mnist_lab.training.batches import Batch
from mnist_lab.training.config import TrainConfig
from mnist_lab.training.draws import Draws
from mnist_lab.training.objectives import Classify
from mnist_lab.training.scoring import cast_for


def put_together(new: DigitSet, old: DigitSet) -> DigitSet:
    """Return both as one set.

    Raises
    ------
    ValueError
        If their classes or the sizes of their images differ, or the old ones are a test part.
    """
    if old.part == "test":
        raise ValueError("What is rehearsed is a test part: nothing is learnt from it.")
    if new.class_names != old.class_names:
        raise ValueError("What is rehearsed has other classes than the new digits.")
    if new.images.shape[1:] != old.images.shape[1:]:
        raise ValueError("What is rehearsed has images of another size than the new digits.")
    images = np.concatenate([new.images, old.images])
    return replace(new, images=images, labels=np.concatenate([new.labels, old.labels]))


def mix_evenly(new: DigitSet, old: DigitSet) -> DigitSet:
    """Return both as one set with as many old digits as new ones: the fewer are repeated.

    A shuffled batch of it is half old and half new, give or take its luck. Raises as
    `put_together` does.
    """
    most = max(len(new), len(old))
    new, old = (digits.subset(np.resize(np.arange(len(digits)), most)) for digits in (new, old))
    return put_together(new, old)


class ClassifyAndRemember(Classify):
    """To classify, and to go on answering about the old classes as the network did before.

    To the loss of the labels it adds `weight` times the cross-entropy of the old network's
    probabilities and the present ones, both softened by a temperature T, times T squared (its
    gradient would be 1 / T squared as large otherwise). Both are asked about the same new digits.

    Parameters
    ----------
    model : nn.Module
        As it is before training; a copy is kept. If it has fewer classes than the one that is
        trained, they are the first of that one's.
    weight, temperature : float
        0 or more; above 0.
    """

    def __init__(self, model: nn.Module, weight: float = 1.0, temperature: float = 2.0) -> None:
        if not 0 <= weight < float("inf") or not 0 < temperature < float("inf"):
            raise ValueError(
                f"weight must be 0 or more, temperature above 0, found {weight} and {temperature}."
            )
        self.before = copy.deepcopy(model).requires_grad_(False).eval()
        self.weight, self.temperature = weight, temperature

    def loss(
        self, model: nn.Module, batch: Batch, draws: Draws, config: TrainConfig
    ) -> tuple[Tensor, Tensor]:
        """Return the mean of both losses in nats, and which answers were right."""
        images, labels = batch
        self.before.to(images.device)
        images = cast_for(model, images)
        logits = model(images).float()
        loss = F.cross_entropy(logits, labels, label_smoothing=config.label_smoothing)
        with torch.no_grad():
            answers = (self.before(images).float() / self.temperature).softmax(1)
        now = logits[:, : answers.shape[1]] / self.temperature
        kept = self.temperature**2 * F.cross_entropy(now, answers)
        return loss + self.weight * kept, logits.detach().argmax(1) == labels

    def describe(self) -> dict[str, Any]:
        """Return how much the old answers weigh."""
        return {"objective": {"remembered": self.weight, "temperature": self.temperature}}
