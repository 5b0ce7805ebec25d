"""A deep perceptron with batch norm and residual connections, or without (chapter 7).

    mended = build_model("deep_mlp", seed=0)
    plain = draw_weights(DeepMLP(norm=False, residual=False), scale=2, seed=0)
    gradient_norms(mended, images, labels)          # one number a layer, from input to output

Chapter 7 writes all of this; here it is kept for those who build on it.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from mnist_lab.models.basic import CLASSES


class DeepMLP(nn.Module):
    """Many narrow linear layers with a ReLU between them, and one more for the logits.

    Parameters
    ----------
    depth : int
        Linear layers before the last, at least 1.
    width : int
        Numbers in each.
    norm : bool
        Batch norm before each ReLU but the last.
    residual : bool
        Each layer after the first adds to what enters it, divided by the root of their number, so
        that the variance stays bounded at any depth. Without this and `norm` a network of twenty
        layers does not learn.
    dropout : float
        The probability with which each of the last features is set to 0 in training.
    classes : int
    """

    def __init__(
        self,
        depth: int = 20,
        width: int = 64,
        *,
        norm: bool = True,
        residual: bool = True,
        dropout: float = 0.0,
        classes: int = CLASSES,
    ) -> None:
        super().__init__()
        self.first = nn.Linear(28 * 28, width)
        self.hidden = nn.ModuleList(nn.Linear(width, width) for _ in range(depth - 1))
        norms = [nn.BatchNorm1d(width) if norm else nn.Identity() for _ in self.hidden]
        self.norms = nn.ModuleList(norms)
        self.residual = residual
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(width, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (n, classes) of images (n, 1, 28, 28)."""
        x = self.first(images.flatten(1))  # (n, width)
        for linear, norm in zip(self.hidden, self.norms, strict=True):
            inner = linear(F.relu(norm(x)))
            x = x + inner / math.sqrt(len(self.hidden)) if self.residual else inner
        return self.output(self.dropout(F.relu(x)))


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
