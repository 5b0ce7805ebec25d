"""Weights that are rounded, or kept at zero, while a network learns (chapter 17).

    round_while_training(model, bits=2)         # from here on it computes with rounded weights
    fit(model, train, config=config)            # and learns the weights behind them
    settle(model)                               # a plain network again, of what it computed with

    keep_zero(model, find_smallest(model, 0.9))     # likewise, for magnitude pruning

Both stand on `torch.nn.utils.parametrize`: a layer's weight becomes a function of the numbers that
learn. Rounding has no slope, so backwards it is taken for the identity: the straight-through
estimator.

Sources: Bengio, Léonard and Courville 2013, https://arxiv.org/abs/1308.3432; quantisation-aware
training, Jacob et al. 2018, https://arxiv.org/abs/1712.05877
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn.utils import parametrize

from mnist_lab.few_bits import round_to_levels


def round_straight_through(weights: Tensor, bits: int) -> Tensor:
    """Return weights rounded to so many bits; backwards, the gradient passes unchanged.

    Parameters
    ----------
    weights : float (outputs, ...)
    bits : int
        From 2 to 8.

    Raises
    ------
    ValueError
        As for `few_bits.round_to_levels`.
    """
    levels, scales = round_to_levels(weights, bits)
    return weights + (levels * scales - weights).detach()


class _Rounded(nn.Module):
    """What parametrize asks: the rounded weights of those that learn."""

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.bits = bits

    def forward(self, weights: Tensor) -> Tensor:
        return round_straight_through(weights, self.bits)


class _Masked(nn.Module):
    """What parametrize asks: the weights that are kept, and zeros."""

    kept: Tensor

    def __init__(self, kept: Tensor) -> None:
        super().__init__()
        self.register_buffer("kept", kept.clone())

    def forward(self, weights: Tensor) -> Tensor:
        return weights * self.kept


def weighted_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Return the layers whose weights are kernels or matrices, by name."""
    return {
        name: layer
        for name, layer in model.named_modules()
        if isinstance(getattr(layer, "weight", None), Tensor) and layer.weight.ndim > 1
    }


def round_while_training(model: nn.Module, bits: int) -> None:
    """Let every kernel and matrix of a model count as what is left of it in so many bits.

    In place. `settle` ends it.

    Raises
    ------
    ValueError
        As for `few_bits.round_to_levels`.
    """
    for layer in weighted_layers(model).values():
        parametrize.register_parametrization(layer, "weight", _Rounded(bits))


def keep_zero(model: nn.Module, zeros: Mapping[str, Tensor]) -> None:
    """Set weights to zero, and keep them there while the others learn.

    In place. `settle` ends it.

    Parameters
    ----------
    model : nn.Module
    zeros : mapping of str to bool Tensor
        By the layer's name, in its weight's shape: where the zeros are, as from `find_smallest`.

    Raises
    ------
    KeyError
        If there is no such layer.
    """
    layers = weighted_layers(model)
    for name, mask in zeros.items():
        layer = layers[name]
        parametrize.register_parametrization(layer, "weight", _Masked(~mask))


def settle(model: nn.Module) -> nn.Module:
    """Replace every weight by what the model computed with; return the model, changed in place.

    It is then a plain network of its kind: it can be saved, exported and quantised. Rounded
    weights stay as they are when they are written in the same number of bits.
    """
    for layer in list(model.modules()):
        if parametrize.is_parametrized(layer, "weight"):
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
    return model
