"""How fast each part learns: a rate for every stage, and a pull towards where training started.

    groups = layerwise_groups(model, config, decay=0.5)
    fit(model, few, config=config, groups=groups)
    fit(model, few, config=config, before_step=PullTowardsStart(model, 10, config))

Sources: layer-wise rates, Howard and Ruder 2018; the pull towards the start (L2-SP), Li, Grandvalet
and Davoine 2018; to decouple such a pull from Adam, Loshchilov and Hutter 2019.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from mnist_lab.finetuning.freezing import list_stages, parameters_of
from mnist_lab.models.architecture import HEAD
from mnist_lab.training.config import TrainConfig
from mnist_lab.training.loop import group_parameters
from mnist_lab.training.schedules import learning_rate_at


def layerwise_groups(model: nn.Module, config: TrainConfig, decay: float) -> list[dict[str, Any]]:
    """Return optimizer groups in which every stage learns `decay` times as fast as the next.

    The head learns at the schedule's rate, the stage before it at `decay` times that, and so on.

    Parameters
    ----------
    decay : float
        Above 0, at most 1.
    """
    if not 0 < decay <= 1:
        raise ValueError(f"decay must be above 0 and at most 1, found {decay}.")
    groups = []
    for distance, stage in enumerate(reversed(list_stages(model))):
        inside = {id(p) for name in stage for p in parameters_of(model, name)}
        named = [(name, p) for name, p in model.named_parameters() if id(p) in inside]
        groups += group_parameters(named, config, decay**distance)
    return groups


class PullTowardsStart:
    """Pulls the weights towards where they are now, beside the gradient (L2-SP, decoupled).

    It is called before each step (`before_step` of `fit` and `start_training`) and moves every
    weight by rate times strength of its way back, where rate is the schedule's. In the loss, as its
    authors have it, Adam would divide the pull by the usual size of the gradient: strong or weak,
    it would move a weight by no more than the rate. AdamW takes weight decay out of the loss for
    the same reason. A new head has no start worth staying near, so it is left out.

    Parameters
    ----------
    model : nn.Module
        As it is before training.
    strength : float
        0 or more. Times the rates of all steps it is about how often a weight at rest would fall to
        1/e of its distance.
    config : TrainConfig
        The one to train with.

    Raises
    ------
    ValueError
        If strength is no such number, or so large that a step would overshoot the start.
    """

    def __init__(self, model: nn.Module, strength: float, config: TrainConfig) -> None:
        if not 0 <= strength * config.learning_rate <= 1:
            raise ValueError(
                f"strength must be 0 or more and at most 1/{config.learning_rate:g}, one over the "
                f"learning rate, found {strength}."
            )
        self.strength, self.config = strength, config
        self.pairs = [
            (parameter, parameter.detach().clone())
            for name, parameter in model.named_parameters()
            if not name.startswith(f"{HEAD}.")
        ]

    def __call__(self, step: int, total_steps: int) -> None:
        """Move the weights that learn a part of their way back."""
        # The model may have been moved since. Then the start follows, once.
        self.pairs = [(now, start.to(now.device)) for now, start in self.pairs]
        share = self.strength * learning_rate_at(step, total_steps, self.config)
        with torch.no_grad():
            for now, start in self.pairs:
                if now.requires_grad:
                    now.lerp_(start, share)
