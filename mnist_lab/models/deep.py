"""A deep perceptron that is mended part by part, its first weights, its gradients (chapter 7).

    from mnist_lab.models import build_deep_mlp, draw_weights, gradient_norms

    plain = draw_weights(build_deep_mlp(seed=0, depth=20), scale=2, seed=0)
    mended = build_deep_mlp(seed=0, norm=True, residual=True)
    gradient_norms(mended, images, labels)          # one number a layer, from input to output

Chapter 7 writes all of this; here it is kept for those who build on it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn


class DeepMLP(nn.Module):
    """Many narrow linear layers with a ReLU between them, and one more for the logits.

    Parameters
    ----------
    depth : int
        Linear layers before the last.
    width : int
        Numbers in each.
    norm : bool
        Batch norm before each ReLU but the last.
    residual : bool
        Each layer after the first adds to what enters it, divided by the root of their number, so
        that the variance stays bounded at any depth.
    dropout : float
        The probability with which each of the last features is set to 0 in training.
    """

    def __init__(
        self,
        depth: int = 20,
        width: int = 64,
        *,
        norm: bool = False,
        residual: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.first = nn.Linear(28 * 28, width)
        self.hidden = nn.ModuleList(nn.Linear(width, width) for _ in range(depth - 1))
        norms = [nn.BatchNorm1d(width) if norm else nn.Identity() for _ in self.hidden]
        self.norms = nn.ModuleList(norms)
        self.residual = residual
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(width, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (n, 10) of images (n, 1, 28, 28)."""
        x = self.first(images.flatten(1))  # (n, width)
        for linear, norm in zip(self.hidden, self.norms, strict=True):
            inner = linear(F.relu(norm(x)))
            x = x + inner / math.sqrt(len(self.hidden)) if self.residual else inner
        return self.output(self.dropout(F.relu(x)))


def build_deep_mlp(seed: int = 0, **arguments: Any) -> DeepMLP:
    """Build a `DeepMLP`, its first weights (PyTorch's own) drawn from `seed` alone.

    Parameters
    ----------
    seed : int
        Same seed, same weights; torch's global generator is left as it was.
    **arguments
        Those of `DeepMLP`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return DeepMLP(**arguments)


def draw_weights(network: DeepMLP, scale: float, seed: int = 0) -> DeepMLP:
    """Draw the weights of all layers but the last anew and set their biases to 0; return it.

    Parameters
    ----------
    network : DeepMLP
        Changed in place.
    scale : float
        The variance times the layer's inputs: 2 is He's start for ReLU, 1 about Glorot's.
    seed : int
        Same seed, same weights.
    """
    generator = torch.Generator().manual_seed(seed)
    for layer in (network.first, *network.hidden):
        deviation = math.sqrt(scale / layer.in_features)
        nn.init.normal_(layer.weight, std=deviation, generator=generator)
        nn.init.zeros_(layer.bias)
    return network


def gradient_norms(network: DeepMLP, images: Tensor, labels: Tensor) -> NDArray[np.float64]:
    """Return the norm of the loss' gradient for the weight of each layer, input to output.

    Parameters
    ----------
    network : DeepMLP
        Its gradients are replaced; its weights stay.
    images : Tensor (n, 1, 28, 28), normalised
    labels : Tensor (n,)
        One batch; the loss is the mean cross-entropy.
    """
    network.zero_grad()
    F.cross_entropy(network(images), labels).backward()
    layers = (network.first, *network.hidden, network.output)
    return np.array([float(layer.weight.grad.norm()) for layer in layers])
