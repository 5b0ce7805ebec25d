"""Low-rank factors: a layer as two thinner ones, by the singular value decomposition.

    left, right = factorise(layer.weight, rank=8)       # left @ right is nearest to the weight
    thin = factorise_layers(model, {"conv3": 16})       # a copy with two convolutions for one

The first of the two looks at the image, with `rank` kernels; the second mixes what they found, at
each place.

Sources: Eckart and Young 1936, https://doi.org/10.1007/BF02288367; for networks, Denton et al.
2014, https://arxiv.org/abs/1404.0736
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn


def factorise(weights: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return left (outputs, rank) and right (rank, ...): no product of that rank is nearer.

    Parameters
    ----------
    weights : float (outputs, ...)
    rank : int
        From 1 to the smaller side of the weights as a matrix (outputs, all else).

    Raises
    ------
    ValueError
        If the rank is out of range.
    """
    matrix = weights.detach().flatten(1)
    if not 1 <= rank <= min(matrix.shape):
        raise ValueError(f"rank must be from 1 to {min(matrix.shape)}, found {rank}.")
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    root = s[:rank].sqrt()  # both factors of one size: so they learn at one rate
    return u[:, :rank] * root, (root[:, None] * vh[:rank]).view(rank, *weights.shape[1:])


def factorise_layers(model: nn.Module, ranks: Mapping[str, int]) -> nn.Module:
    """Return a copy in which layers are replaced by two of a low rank.

    Parameters
    ----------
    model : nn.Module
    ranks : mapping of str to int
        By the name of an `nn.Linear` or an `nn.Conv2d`.

    Raises
    ------
    ValueError
        If a layer is of another kind, or a rank is out of range.
    AttributeError
        If there is no such layer.
    """
    thin = copy.deepcopy(model)
    for name, rank in ranks.items():
        thin.set_submodule(name, _two_layers(name, thin.get_submodule(name), rank))
    return thin


def _two_layers(name: str, layer: nn.Module, rank: int) -> nn.Sequential:
    first: nn.Module
    second: nn.Module
    if isinstance(layer, nn.Linear):
        left, right = factorise(layer.weight, rank)
        has_bias = layer.bias is not None
        first = nn.Linear(layer.in_features, rank, bias=False)
        second = nn.Linear(rank, layer.out_features, bias=has_bias)
    elif isinstance(layer, nn.Conv2d) and layer.groups == 1 and layer.padding_mode == "zeros":
        left, right = factorise(layer.weight, rank)
        left = left[:, :, None, None]
        has_bias = layer.bias is not None
        size, stride, padding = layer.kernel_size, layer.stride, layer.padding
        first = nn.Conv2d(
            layer.in_channels,
            rank,
            size,  # type: ignore[arg-type]
            stride,  # type: ignore[arg-type]
            padding,  # type: ignore[arg-type]
            layer.dilation,  # type: ignore[arg-type]
            bias=False,
        )
        second = nn.Conv2d(rank, layer.out_channels, 1, bias=has_bias)
    else:
        raise ValueError(f"{name} is neither a linear layer nor a plain convolution.")
    with torch.no_grad():
        first.get_parameter("weight").copy_(right)
        second.get_parameter("weight").copy_(left)
        if has_bias:
            second.get_parameter("bias").copy_(layer.get_parameter("bias"))
    return nn.Sequential(first, second)
