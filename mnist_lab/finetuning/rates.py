"""How fast each part learns: a rate for every stage, and a pull towards where training started.

    groups = layerwise_groups(model, config, decay=0.5)
    fit(model, few, config=config, groups=groups, penalty=PullTowardsStart(model, 0.01))

Sources: layer-wise rates, Howard and Ruder 2018; the pull towards the start (L2-SP), Li, Grandvalet
and Davoine 2018.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mnist_lab.finetuning.freezing import list_stages, parameters_of
from mnist_lab.models.architecture import HEAD
from mnist_lab.training.config import TrainConfig
from mnist_lab.training.loop import group_parameters


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
    """A penalty that pulls the weights towards where they are now (L2-SP).

    Called, it returns strength / 2 times the sum of the squared distances. A new head has no start
    worth staying near, so it is left out.

    Parameters
    ----------
    model : nn.Module
        As it is before training.
    strength : float
        0 or more; 0.01 is a place to begin.
    """

    def __init__(self, model: nn.Module, strength: float) -> None:
        if not 0 <= strength < float("inf"):
            raise ValueError(f"strength must be 0 or more and finite, found {strength}.")
        self.strength = strength
        self.pairs = [
            (parameter, parameter.detach().clone())
            for name, parameter in model.named_parameters()
            if not name.startswith(f"{HEAD}.")
        ]

    def __call__(self) -> Tensor:
        """Return the penalty for the weights as they are, a scalar with a gradient."""
        # The model may have been moved since. Then the start follows, once.
        self.pairs = [(now, start.to(now.device)) for now, start in self.pairs]
        squares = [(now - start).square().sum() for now, start in self.pairs if now.requires_grad]
        if not squares:
            return torch.zeros(())
        return self.strength / 2 * torch.stack(squares).sum()
