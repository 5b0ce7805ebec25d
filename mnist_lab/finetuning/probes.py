"""A linear layer on the features of a backbone that stays as it is (chapter 11)."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mnist_lab.models.backbones import Backbone
from mnist_lab.training.batches import Batch
from mnist_lab.training.scoring import cast_for, eval_mode


def cache_features(model: Backbone, batches: Iterable[Batch]) -> tuple[Tensor, Tensor]:
    """Return the pooled features (n, width) and labels (n,) of all batches, in their order.

    In eval mode and without gradients; the mode of every part is restored.
    """
    with eval_mode(model), torch.no_grad():
        pairs = [(model.features(cast_for(model, images)), labels) for images, labels in batches]
    features, labels = zip(*pairs, strict=True)
    return torch.cat(features), torch.cat(labels)


def train_probe(features: Tensor, labels: Tensor, classes: int = 10, steps: int = 200) -> nn.Linear:
    """Return a linear layer that was trained on features, on all of them at every step.

    It begins at zero, so nothing is random: Adam at a rate of 0.01 does the rest.

    Parameters
    ----------
    features : Tensor (n, width)
    labels : int64 Tensor (n,)
    """
    # Without nn.Linear's own first weights, which would be drawn from the global generator.
    size = (features.shape[1], classes)
    probe: nn.Linear = nn.utils.skip_init(nn.Linear, *size, device=features.device)
    nn.init.zeros_(probe.weight)
    nn.init.zeros_(probe.bias)
    optimizer = torch.optim.Adam(probe.parameters(), lr=0.01)
    for _ in range(steps):
        loss = F.cross_entropy(probe(features), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return probe
