"""Weights as whole numbers of 8 to 2 bits: one scale for all weights that lead to one output.

    levels, scales = round_to_levels(model.conv2.weight, bits=4)    # int8 from -7 to 7
    restored = levels * scales                      # nearly the weights; a scale for each output

    small = quantise_network(model, bits=4)         # a copy that computes with what remains

Of b bits, 2^b - 1 levels are used, as many below zero as above, so that zero stays zero. A row's
largest weight need not reach the last level: to cut it off may serve all others. So the scale is
the one, of 36 that cut off up to 70 %, that leaves the least squared error.

Source: Krishnamoorthi 2018, https://arxiv.org/abs/1806.08342
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

LEAST_BITS, MOST_BITS = 2, 8
_SHARES = torch.linspace(1.0, 0.3, 36)  # of the largest weight, that the last level stands for


def round_to_levels(weights: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Return the levels and scales whose products are nearest to the weights.

    Parameters
    ----------
    weights : float (outputs, ...)
    bits : int
        From 2 to 8.

    Returns
    -------
    levels : int8, of the weights' shape
        From -(2^(bits - 1) - 1) to its opposite.
    scales : float32 (outputs, 1, ...)
        Rounded to what 16 bits can hold; 0 where all weights are 0.

    Raises
    ------
    ValueError
        If the bits are out of range, or the weights are too large for 16 bits, or not finite.
    """
    if not LEAST_BITS <= bits <= MOST_BITS:
        raise ValueError(f"bits must be from {LEAST_BITS} to {MOST_BITS}, found {bits}.")
    top = 2 ** (bits - 1) - 1
    rows = weights.detach().float().flatten(1)
    largest = rows.abs().amax(1, keepdim=True)
    scales = torch.zeros_like(largest)
    least = torch.full_like(largest, torch.inf)
    for share in _SHARES:
        tried = (largest * share / top).half().float()
        error = (_round(rows, tried, top) * tried - rows).square().sum(1, keepdim=True)
        scales, least = torch.where(error < least, tried, scales), torch.minimum(error, least)
    if not least.isfinite().all():
        raise ValueError("The weights must be finite, and not beyond what 16 bits can hold.")
    levels = _round(rows, scales, top).to(torch.int8)
    return levels.view(weights.shape), scales.view(-1, *[1] * (weights.ndim - 1))


def _round(rows: Tensor, scales: Tensor, top: int) -> Tensor:
    return (rows / scales.clamp_min(1e-30)).round().clamp(-top, top)


def quantise_network(model: nn.Module, bits: int) -> nn.Module:
    """Return a copy that computes with what `export_web` keeps of the weights in so many bits.

    Matrices and kernels are replaced by levels times scales; biases and batch norm, a fiftieth of
    the numbers of a small network, are rounded to 16 bits.

    Raises
    ------
    ValueError
        As for `round_to_levels`.
    """
    small = copy.deepcopy(model)
    kept = small.state_dict()
    for name, tensor in kept.items():
        if not tensor.is_floating_point():
            continue
        if tensor.ndim > 1:
            levels, scales = round_to_levels(tensor, bits)
            kept[name] = (levels * scales).to(tensor)
        else:
            kept[name] = halve(name, tensor).to(tensor)
    small.load_state_dict(kept)
    return small


def halve(name: str, tensor: Tensor) -> Tensor:
    """Return a tensor in float16.

    Raises
    ------
    ValueError
        If a number in it is larger than that can hold.
    """
    half = tensor.half()
    if not half.isfinite().all():
        raise ValueError(f"{name} has numbers beyond 65,504, which 16 bits cannot hold.")
    return half


def pack(levels: Tensor, bits: int) -> NDArray[np.uint8]:
    """Return levels (outputs, ...) as bytes (outputs, bytes): each row begins with a new byte.

    A level is stored as its distance from the lowest one; the first lies in the lowest bits.
    """
    rows = levels.flatten(1).numpy().astype(np.int16) + 2 ** (bits - 1) - 1
    places = (rows[:, :, None] >> np.arange(bits)) & 1
    return np.packbits(places.astype(np.uint8).reshape(len(rows), -1), axis=1, bitorder="little")


def unpack(content: NDArray[np.uint8], shape: tuple[int, ...], bits: int) -> NDArray[np.int8]:
    """Return levels, int8 of the given shape (outputs, ...), of what `pack` made of them."""
    count = int(np.prod(shape[1:]))
    places = np.unpackbits(content, axis=1, bitorder="little")[:, : count * bits]
    values = places.reshape(len(content), count, bits).astype(np.int16) << np.arange(bits)
    levels: NDArray[np.int8] = (values.sum(2) - (2 ** (bits - 1) - 1)).astype(np.int8)
    return levels.reshape(shape)
