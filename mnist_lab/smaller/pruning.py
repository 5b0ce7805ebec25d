"""Prune: single weights by how small they are, whole channels by the scale of their norm.

    zeros = find_smallest(model, share=0.9)     # masks; `while_training.keep_zero` holds them
    narrower = narrow(model, width=8)           # a smaller network of the same kind, really smaller

Sources: Han et al. 2015, https://arxiv.org/abs/1506.02626; channels, Liu et al. 2017,
https://arxiv.org/abs/1708.06519
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from mnist_lab.models.architecture import architecture_of
from mnist_lab.models.basic import QuickCNN, SmallCNN
from mnist_lab.models.registry import build_model
from mnist_lab.smaller.while_training import weighted_layers


def find_smallest(model: nn.Module, share: float) -> dict[str, Tensor]:
    """Return where the weights nearest to zero are: a share of all kernels and matrices together.

    Parameters
    ----------
    model : nn.Module
    share : float
        From 0 to 1, of the weights.

    Returns
    -------
    By the layer's name a bool Tensor of its weight's shape.

    Raises
    ------
    ValueError
        If the share is out of range.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share must be from 0 to 1, found {share}.")
    sizes = {
        name: cast(Tensor, layer.weight).detach().abs()
        for name, layer in weighted_layers(model).items()
    }
    everything = torch.cat([size.flatten() for size in sizes.values()])
    smallest = torch.zeros(len(everything), dtype=torch.bool)
    smallest[everything.argsort()[: round(share * len(everything))]] = True
    parts = smallest.split([size.numel() for size in sizes.values()])
    return {
        name: part.view(size.shape) for (name, size), part in zip(sizes.items(), parts, strict=True)
    }


def narrow(model: nn.Module, width: int) -> nn.Module:
    """Return a small or quick CNN of fewer channels: of each layer, those with the largest scales.

    What counts for a channel is the scale that its batch norm has learnt, since the size of its
    kernel is normalised away.

    Parameters
    ----------
    model : SmallCNN or QuickCNN
    width : int
        Of the narrower network, from 1 to the model's own.

    Raises
    ------
    ValueError
        If the model is of another kind, or not as wide.
    """
    known = architecture_of(model)
    if not isinstance(model, SmallCNN | QuickCNN) or known is None:
        raise ValueError(f"Only small_cnn and quick_cnn are narrowed, not {type(model).__name__}.")
    widest = model.conv1.out_channels
    if not 1 <= width <= widest:
        raise ValueError(f"width must be from 1 to {widest}, the model's own; found {width}.")
    slim = build_model(known.name, width=width, classes=model.output.out_features)
    assert isinstance(slim, SmallCNN | QuickCNN)
    kept = {}
    before = torch.arange(1)  # the one channel of the image
    for number in (1, 2, 3):
        norm = model.get_submodule(f"norm{number}")
        count = slim.get_submodule(f"conv{number}").out_channels
        scales = norm.get_parameter("weight").detach().abs()
        chosen = scales.argsort(descending=True, stable=True)[:count].sort().values
        kernels = model.get_parameter(f"conv{number}.weight").detach()
        kept[f"conv{number}.weight"] = kernels[chosen][:, before]
        for name, tensor in norm.state_dict().items():
            kept[f"norm{number}.{name}"] = tensor[chosen] if tensor.ndim else tensor
        before = chosen
    last = model.output.weight.detach().unflatten(1, (-1, 9))  # (classes, channels, 3 x 3 places)
    kept["output.weight"] = last[:, before].flatten(1)
    kept["output.bias"] = model.output.bias.detach()
    slim.load_state_dict(kept)
    return slim.train(model.training)
