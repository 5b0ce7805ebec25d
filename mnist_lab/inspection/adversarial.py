"""Adversarial training: a network learns from digits as they are when it has just been attacked.

    fit("small_cnn", train, None, config, objective=ClassifyUnderAttack(epsilon=0.3))

The loop is `training.loop`'s: only the loss is another one, the mean over the worst change of each
digit that a few steps of PGD find within the ball. What it costs is those steps: `steps` + 1 times
a network's forward and backward pass.

Source: Madry et al. 2018, "Towards Deep Learning Models Resistant to Adversarial Attacks".
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from mnist_lab.inspection.attacks import climb
from mnist_lab.inspection.pixels import PixelNetwork
from mnist_lab.training.batches import Batch
from mnist_lab.training.config import TrainConfig
from mnist_lab.training.draws import Draws
from mnist_lab.training.objectives import Classify
from mnist_lab.training.scoring import eval_mode


class ClassifyUnderAttack(Classify):
    """To classify digits that have been changed, each within a ball, so that the loss is high.

    The changes are made by PGD from a random start, against the network as it is at that step, in
    eval mode: what a batch norm learns is learnt from the step alone. It is scored on digits as
    they are, so that a score does not tell how robust a network is, nor which epoch is best:
    `attacks` does.

    Parameters
    ----------
    epsilon : float
        Largest change of a pixel, in pixels from 0 to 1.
    steps : int
        Of PGD, of 2.5 epsilon / steps each.

    Raises
    ------
    ValueError
        If epsilon is not from 0 to 1, or there is no step.
    """

    def __init__(self, epsilon: float, steps: int = 5) -> None:
        if not 0 <= epsilon <= 1 or steps < 1:
            raise ValueError(
                f"epsilon must be from 0 to 1 and steps at least 1, found {epsilon} and {steps}."
            )
        self.epsilon, self.steps = epsilon, steps

    def loss(
        self, model: nn.Module, batch: Batch, draws: Draws, config: TrainConfig
    ) -> tuple[Tensor, Tensor]:
        """Return the mean cross-entropy of changed digits, and which of them were right."""
        images, labels = batch
        normalisation = config.normalisation
        pixels = normalisation.undo(images).clamp(0, 1)
        noise = 2 * draws.uniform_each(*pixels.shape[1:]).to(pixels.device) - 1
        with eval_mode(model):
            network = PixelNetwork(model, normalisation)
            start = pixels + self.epsilon * noise
            changed = climb(network, pixels, labels, self.epsilon, start, steps=self.steps)
        return super().loss(model, (normalisation(255 * changed), labels), draws, config)

    def describe(self) -> dict[str, Any]:
        """Return what the digits were attacked with."""
        return {"objective": {"attacked_with": self.epsilon, "steps": self.steps}}
