"""What training minimises, what it is scored by, and what is kept of it.

    fit("small_cnn", train, validation, config)                             # Classify()
    fit(autoencoder, train, validation, config, objective=GuessHiddenPatches())     # finetuning

The loop asks an objective for the loss of a batch and for a score, and knows nothing else of the
task. Whoever writes one more objective gets the same run, checkpoints and resumption.

Source: label smoothing, Szegedy et al. 2016.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch.nn.functional as F
from torch import Tensor, nn

from mnist_lab.models.architecture import HEAD
from mnist_lab.training.batches import Batch
from mnist_lab.training.config import TrainConfig
from mnist_lab.training.draws import Draws
from mnist_lab.training.scoring import Score, cast_for, evaluate


class Objective(Protocol):
    """A task for the loop.

    Attributes
    ----------
    beside : tuple of str
        Names under which `save_beside` writes into the checkpoint's folder.
    """

    beside: ClassVar[tuple[str, ...]]

    def check(self, model: nn.Module, config: TrainConfig, class_names: tuple[str, ...]) -> None:
        """Refuse, with a ValueError, what could not be done or would be ignored."""

    def loss(
        self, model: nn.Module, batch: Batch, draws: Draws, config: TrainConfig
    ) -> tuple[Tensor, Tensor]:
        """Return the mean loss of a batch, and which of its examples were right, (n,).

        `model` is what to call; `draws` gives random numbers that are the same at the same step of
        a resumed run. Where nothing is right or wrong, the second is empty.
        """

    def score(self, model: nn.Module, batches: Iterable[Batch]) -> Score:
        """Score each example once: by this the best epoch is chosen."""

    def kept(self, model: nn.Module) -> nn.Module:
        """Return the part of the model that a checkpoint holds."""

    def save_beside(self, folder: Path, model: nn.Module) -> None:
        """Write what is kept of the model besides that, into the checkpoint's folder."""

    def describe(self) -> dict[str, Any]:
        """Return what a card says of the task: another description is another run."""

    def describe_score(self, score: Score) -> dict[str, float]:
        """Return what a card says of a score on validation data."""

    def finish(self, model: nn.Module) -> None:
        """Leave the model as its user expects it."""


class WholeModel:
    """What tasks have in common whose checkpoint is the model as it is, with nothing beside it."""

    beside: ClassVar[tuple[str, ...]] = ()

    def kept(self, model: nn.Module) -> nn.Module:
        """Return the whole model."""
        return model

    def save_beside(self, folder: Path, model: nn.Module) -> None:
        """Write nothing: the checkpoint has it all."""

    def finish(self, model: nn.Module) -> None:
        """Leave the model as it is."""


class Classify(WholeModel):
    """Cross-entropy of logits and labels; scored by accuracy, and among equals by loss."""

    def check(self, model: nn.Module, config: TrainConfig, class_names: tuple[str, ...]) -> None:
        """Refuse a head that has no place for some class."""
        head = getattr(model, HEAD, None)
        if isinstance(head, nn.Linear) and head.out_features < len(class_names):
            raise ValueError(
                f"The digits have {len(class_names)} classes, and the model's head only "
                f"{head.out_features}: build it with classes={len(class_names)}, or replace_head."
            )

    def loss(
        self, model: nn.Module, batch: Batch, draws: Draws, config: TrainConfig
    ) -> tuple[Tensor, Tensor]:
        """Return the mean cross-entropy in nats, and which answers were right."""
        images, labels = batch
        logits = model(
            cast_for(model, images)
        ).float()  # bfloat16 is for products; the loss wants more digits
        loss = F.cross_entropy(logits, labels, label_smoothing=config.label_smoothing)
        return loss, logits.detach().argmax(1) == labels

    def score(self, model: nn.Module, batches: Iterable[Batch]) -> Score:
        """Return mean loss and accuracy, in eval mode."""
        return evaluate(model, batches)

    def describe(self) -> dict[str, Any]:
        """Return nothing: to classify is what is done unless a card says otherwise."""
        return {}

    def describe_score(self, score: Score) -> dict[str, float]:
        """Return accuracy and loss."""
        return {"validation_accuracy": score.accuracy, "validation_loss": score.loss}


def refuse_what_wants_labels(config: TrainConfig, task: str) -> None:
    """Refuse settings that a task without labels cannot follow.

    Raises
    ------
    ValueError
        If one of them is not as it is by default; `task` is what the message calls it.
    """
    plain = TrainConfig()
    for name in ("hardest_share", "upstrokes", "habits", "label_smoothing"):
        if getattr(config, name) != getattr(plain, name):
            raise ValueError(
                f"{name} needs labels, and {task} reads none: leave it at {getattr(plain, name)}."
            )
