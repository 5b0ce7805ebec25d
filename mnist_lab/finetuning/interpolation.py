"""Part of the way from one network to another: what fine-tuning gave, less of what it took.

    tuned = finetune(copy.deepcopy(model), mine, way="full").model
    half = interpolate(model, tuned, 0.5)

No old digit is needed, and no training: every weight goes `share` of the way from where fine-tuning
began to where it ended. On that line the new task is often learnt before the old one is lost. It
works between networks of which one was trained from the other. Between two that were trained apart
the line leads over a mountain.

Batch norm's running statistics go along. While both networks see a channel much alike, what lies
between their statistics is near what a network in between would measure. Far apart it is too wide,
since fluctuations that are unlike cancel in part (Jordan et al. 2022): measure the statistics anew
then, on digits of both tasks.

Source: WiSE-FT, Wortsman et al. 2022.
"""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import nn

from mnist_lab.finetuning.heads import describe_body, name_difference
from mnist_lab.finetuning.lora import lora_layers

_Model = TypeVar("_Model", bound=nn.Module)


def interpolate(start: nn.Module, end: _Model, share: float) -> _Model:
    """Return a network `share` of the way from `start` to `end`; both stay as they are.

    Parameters
    ----------
    start, end : nn.Module
        Of the same kind, with heads of the same classes. The result lies on the device of `end`,
        and what is frozen in `end` is frozen in it.
    share : float
        From 0, which gives `start`, to 1, which gives `end`, both to the last bit. Batch norms
        interpolate their running means and variances too; whole numbers, such as how many batches
        they have seen, are those of `end`.

    Raises
    ------
    ValueError
        If the share is outside 0 to 1, the networks are of different kinds, or one has LoRA
        layers, whose products do not lie on a line.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share must be from 0 to 1, found {share}.")
    _check_alike(start, end)
    between = copy.deepcopy(end)
    old = start.state_dict()
    with torch.no_grad():
        for name, number in between.state_dict().items():
            if number.is_floating_point():
                number.copy_(torch.lerp(old[name].to(number), number, share))
    return between


def _check_alike(start: nn.Module, end: nn.Module) -> None:
    """Refuse two networks between which there is no line."""
    if any(True for model in (start, end) for _ in lora_layers(model)):
        raise ValueError("A network with LoRA layers is merged first (strip_lora), then mixed.")
    ours, theirs = describe_body(start), describe_body(end)
    if ours != theirs:
        raise ValueError(f"The networks are of different kinds: {name_difference(ours, theirs)}.")
    shapes = [{k: tuple(v.shape) for k, v in m.state_dict().items()} for m in (start, end)]
    for name in dict.fromkeys([*shapes[0], *shapes[1]]):
        one, other = (found.get(name) for found in shapes)
        if one != other:
            raise ValueError(f"{name} is of shape {one} in one network and {other} in the other.")
