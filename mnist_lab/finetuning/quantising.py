"""Four bits for a weight: NF4 by hand, and a frozen layer that keeps its weight so (chapter 13).

    packed = quantise(layer.weight)             # half a byte for a weight, and a little for scales
    packed.restore()                            # float32 again, each weight at one of 16 levels
    quantise_layers(model, "blocks")            # frozen from now on; `add_lora` goes on top

A trained layer's weights lie about as a normal distribution does. So the 16 levels are quantiles of
one: where weights are many, levels are close. One of them is exactly 0. A block of 64 weights is
divided by its largest absolute value, its scale, and each weight goes to the nearest level.

A float32 scale for 64 weights would take half a bit for each. So scales are quantised in turn, less
their mean, to whole numbers of 8 bits, with one float32 for 256 of them ("double quantisation").
Together that is 4.127 bits a weight. The authors use floats of 8 bits there. Whole numbers are
shorter to write; the error of a weight grows by less than a fiftieth (a test holds it).

Source: Dettmers et al. 2023, "QLoRA: Efficient Finetuning of Quantized LLMs", section 3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mnist_lab.models.architecture import HEAD

BLOCK = 64  # weights that share a scale
SCALES = 256  # scales that share theirs
_STEPS = 127  # whole numbers of 8 bits reach so far on both sides of 0


def make_levels() -> Tensor:
    """Return the 16 levels of NF4, from -1 to 1, in rising order: float32 (16,).

    Eight are above 0, seven below, and 0 is between them. The outermost quantile cuts off the
    middle of 1/32 and 1/30: half a step of 16 levels, and of 15, would do so at the ends.
    """
    outermost = 1 - (1 / 32 + 1 / 30) / 2
    above = torch.linspace(outermost, 0.5, 9, dtype=torch.float64)[:-1]
    below = torch.linspace(outermost, 0.5, 8, dtype=torch.float64)[:-1]
    quantiles = torch.special.ndtri(torch.cat([1 - below, torch.tensor([0.5]), above]))
    return (quantiles / quantiles.max()).sort().values.float()


@dataclass(frozen=True)
class Packed:
    """A weight in four bits.

    Attributes
    ----------
    codes : uint8 Tensor (blocks * 32,)
        Two weights a byte: which of the 16 levels each is nearest to, the first in the upper half.
    scales : int8 Tensor (blocks,)
        The largest absolute value of each block, less the mean of them all.
    steps : float32 Tensor (ceil(blocks / 256),)
        What 1 is worth in `scales`.
    mean : float32 Tensor, a scalar
        Of the scales.
    shape : tuple of ints
        Of the weight.
    """

    codes: Tensor
    scales: Tensor
    steps: Tensor
    mean: Tensor
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        """How many bytes its tensors take."""
        return sum(part.nbytes for part in (self.codes, self.scales, self.steps, self.mean))

    def restore_scales(self) -> Tensor:
        """Return the scale of every block: float32 (blocks,)."""
        steps = self.steps.repeat_interleave(SCALES)[: len(self.scales)]
        return self.scales * steps + self.mean

    def restore(self) -> Tensor:
        """Return the weight as the codes tell it: float32, in its own shape."""
        levels = make_levels().to(self.codes.device)
        pairs = torch.cartesian_prod(levels, levels)  # (256, 2): what each byte stands for
        blocks = F.embedding(self.codes.int(), pairs).view(-1, BLOCK)
        weights = blocks * self.restore_scales().unsqueeze(1)
        return weights.flatten()[: math.prod(self.shape)].view(self.shape)


def quantise(weight: Tensor) -> Packed:
    """Return a weight in four bits.

    Parameters
    ----------
    weight : Tensor
        Of any shape; its numbers are taken row by row, 64 to a block.

    Raises
    ------
    ValueError
        If it is empty, or not finite: the largest value of a block would be none.
    """
    if weight.numel() == 0 or not weight.isfinite().all():
        raise ValueError("Only a weight that has numbers, all of them finite, can be quantised.")
    blocks = _in_rows(weight.detach().float().flatten(), BLOCK)
    largest = blocks.abs().amax(1)
    levels = make_levels().to(weight.device)
    # A block of zeros has no largest value to be divided by, and needs none.
    relative = blocks / largest.where(largest > 0, 1).unsqueeze(1)
    codes = torch.bucketize(relative, (levels[1:] + levels[:-1]) / 2).flatten().byte()
    mean = largest.mean()
    groups = _in_rows(largest - mean, SCALES)
    steps = groups.abs().amax(1) / _STEPS
    scales = (groups / steps.where(steps > 0, 1).unsqueeze(1)).round().to(torch.int8)
    return Packed(
        codes=codes[::2] << 4 | codes[1::2],
        scales=scales.flatten()[: len(largest)].clone(),
        steps=steps,
        mean=mean,
        shape=tuple(weight.shape),
    )


def _in_rows(numbers: Tensor, length: int) -> Tensor:
    """Return numbers (n,) in rows of a length; zeros fill up the last."""
    return F.pad(numbers, (0, -len(numbers) % length)).view(-1, length)


class _Product(torch.autograd.Function):
    """Inputs times a packed weight, which is restored for each pass and not kept between them."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, layer: QuantisedLinear) -> Tensor:
        ctx.layer = layer
        return inputs @ layer.weight.to(inputs.dtype).T

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (gradient,) = gradients
        return gradient @ ctx.layer.weight.to(gradient.dtype), None


class QuantisedLinear(nn.Module):
    """A linear layer whose weight is frozen in four bits.

    `weight` is restored whenever it is asked for, forward and again backward: that costs time, and
    no memory between. The bias is kept as it is, frozen too.

    Parameters
    ----------
    layer : nn.Linear
        Its weight is packed; the layer itself is left alone.
    """

    codes: Tensor
    scales: Tensor
    steps: Tensor
    mean: Tensor
    bias: Tensor | None

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.out_features, self.in_features = layer.weight.shape
        self.kind = layer.weight.dtype
        packed = quantise(layer.weight)
        for name in ("codes", "scales", "steps", "mean"):
            self.register_buffer(name, getattr(packed, name))
        bias = None if layer.bias is None else layer.bias.detach().clone()
        self.register_buffer("bias", bias)

    def extra_repr(self) -> str:
        """Return its size, which its buffers do not show."""
        return f"in_features={self.in_features}, out_features={self.out_features}, nf4"

    @property
    def packed(self) -> Packed:
        """What it keeps."""
        shape = (self.out_features, self.in_features)
        return Packed(self.codes, self.scales, self.steps, self.mean, shape)

    @property
    def weight(self) -> Tensor:
        """The weight (out_features, in_features), restored; of the type that it had."""
        return self.packed.restore().to(self.kind)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return (..., out_features) of inputs (..., in_features)."""
        outputs: Tensor = _Product.apply(inputs, self)
        return outputs if self.bias is None else outputs + self.bias

    def to_linear(self) -> nn.Linear:
        """Return a plain layer with the restored weight; it may learn."""
        weight = self.weight
        layer = nn.Linear(
            self.in_features, self.out_features, self.bias is not None, weight.device, self.kind
        )
        with torch.no_grad():
            layer.weight.copy_(weight)
            if self.bias is not None:
                layer.bias.copy_(self.bias)
        return layer


def quantise_layers(model: nn.Module, *names: str) -> nn.Module:
    """Put the linear layers of a model into four bits, in place; the head stays as it is.

    Parameters
    ----------
    model : nn.Module
    *names : str
        Modules in which layers are quantised, such as "blocks"; all of it, if not given.

    Returns
    -------
    The model itself.

    Raises
    ------
    ValueError
        If nothing that is named holds a linear layer.
    """
    layers = {
        name: part
        for name, part in model.named_modules()
        if isinstance(part, nn.Linear) and not f"{name}.".startswith(f"{HEAD}.")
    }
    for wanted in names or ("",):
        inside = [name for name in layers if not wanted or f"{name}.".startswith(f"{wanted}.")]
        if not inside:
            where = repr(wanted) if wanted else "the body"
            raise ValueError(f"There is no linear layer in {where} that could be quantised.")
        for name in inside:
            parent, _, last = name.rpartition(".")
            setattr(model.get_submodule(parent), last, QuantisedLinear(layers[name]))
    return model
