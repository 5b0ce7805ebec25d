"""How much memory a fine-tuning takes, before it is started; and what it took (chapter 13).

    estimate_memory(MINILM, tokens=32 * 16)                            # all learns, in float32
    estimate_memory(LLAMA_7B, tokens=2_048, rank=16, base="nf4", compute="bfloat16")
    count_saved(lambda: model(images), model)                          # bytes, for comparison

Four things lie in memory: the weights; a gradient for each number that learns; the optimiser's
state, for Adam two numbers more; and the activations, which the way back needs. The first three
depend on the network alone, the fourth on how many tokens go through it at once.

What is left out is small or short-lived: biases, what one layer takes while it computes, copies
that an allocator keeps for later. And `torch.autocast` keeps what its norms are given in float32:
with it, activations in bfloat16 take about a quarter more than is said here.

Sources: 16 bytes a number in mixed precision, Rajbhandari et al. 2020 (ZeRO), section 3.1;
activations computed again, Chen et al. 2016.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from mnist_lab.finetuning.quantising import BLOCK, SCALES

Base = Literal["float32", "bfloat16", "nf4"]
Compute = Literal["float32", "bfloat16"]

# Bytes a number: one of a frozen base; one that learns, as weight, gradient and optimiser's state;
# an activation. In mixed precision a copy in float32 is kept beside Adam's two moments.
_BASE: dict[str, float] = {
    "float32": 4,
    "bfloat16": 2,
    "nf4": 1 / 2 + 1 / BLOCK + 4 / (BLOCK * SCALES),
}
_LEARNING = {"float32": (4, 4, 8), "bfloat16": (2, 2, 12)}
_ACTIVATION = {"float32": 4, "bfloat16": 2}


@dataclass(frozen=True)
class TransformerSize:
    """The sizes of a transformer from which its memory follows.

    Attributes
    ----------
    width, depth, heads : int
        Numbers in a token, blocks, heads of each attention.
    inner : int
        How wide the perceptron of a block is inside.
    others : int
        Numbers outside of the blocks: embeddings and head. They stay in 16 bits where the blocks
        are quantised.
    gated : bool
        Whether the perceptron has a third matrix, whose output its inside is multiplied by.
    fused : bool
        Whether attention is one kernel, which does not write the weights down: as on a GPU.
    """

    width: int
    depth: int
    heads: int
    inner: int
    others: int = 0
    gated: bool = False
    fused: bool = False

    @property
    def in_blocks(self) -> int:
        """Numbers in the matrices of all blocks."""
        perceptron = (2 + self.gated) * self.width * self.inner
        return self.depth * (4 * self.width**2 + perceptron)

    def count_adapters(self, rank: int) -> int:
        """Return how many numbers LoRA adds to all matrices of the blocks."""
        perceptron = (2 + self.gated) * (self.width + self.inner)
        return self.depth * rank * (4 * 2 * self.width + perceptron)

    def count_saved(self, context: int) -> int:
        """Return how many numbers a block keeps for the way back, for each token.

        Eight times the width: its input, queries, keys, values, what attention found, what went
        into the two norms, and the perceptron's input. Of the perceptron's inside what goes into
        the activation and what comes out; if gated, the other factor and the product too.
        """
        scores = 0 if self.fused else self.heads * context
        return 8 * self.width + (4 if self.gated else 2) * self.inner + scores


# The blocks of all-MiniLM-L6-v2; and LLaMA, Touvron et al. 2023, table 2.
MINILM = TransformerSize(width=384, depth=6, heads=12, inner=1_536)
LLAMA_7B = TransformerSize(
    width=4_096,
    depth=32,
    heads=32,
    inner=11_008,
    others=2 * 32_000 * 4_096,  # words in, words out
    gated=True,
    fused=True,
)


@dataclass(frozen=True)
class Memory:
    """Bytes of a fine-tuning."""

    weights: float
    gradients: float
    optimiser: float
    activations: float

    @property
    def total(self) -> float:
        """All of them."""
        return self.weights + self.gradients + self.optimiser + self.activations


def estimate_memory(
    size: TransformerSize,
    tokens: int,
    *,
    context: int | None = None,
    rank: int | None = None,
    base: Base = "float32",
    compute: Compute = "float32",
    checkpointed: bool = False,
) -> Memory:
    """Return how much memory a fine-tuning with Adam takes.

    Parameters
    ----------
    size : TransformerSize
    tokens : int
        Of a whole batch.
    context : int, optional
        Tokens that see each other, those of one text or picture; all, if not given.
    rank : int, optional
        Of LoRA on all matrices of the blocks; the base is frozen then. All learns, if not given.
    base : {"float32", "bfloat16", "nf4"}
        How a frozen base is kept.
    compute : {"float32", "bfloat16"}
        The type of activations, and of what learns. bfloat16 is mixed precision: what learns has a
        copy in float32.
    checkpointed : bool
        Whether each block keeps its input alone, and computes its inside again on the way back.
        Then the inside of one block is there at a time.

    Raises
    ------
    ValueError
        If the base is to be kept otherwise than it is computed with, although it learns.
    """
    if rank is None and base != compute:
        raise ValueError(f"A base that learns in {compute} cannot be kept in {base}.")
    weight, gradient, state = _LEARNING[compute]
    if rank is None:
        learning, frozen = size.in_blocks + size.others, 0.0
    else:
        learning = size.count_adapters(rank)
        outside = _BASE[base if base != "nf4" else "bfloat16"]
        frozen = size.in_blocks * _BASE[base] + size.others * outside
    inside = size.count_saved(tokens if context is None else context)
    if rank is not None:  # each of the matrices keeps what its A gives
        inside += (6 + size.gated) * rank
    numbers = size.depth * size.width + inside if checkpointed else size.depth * inside
    return Memory(
        weights=frozen + learning * weight,
        gradients=float(learning * gradient),
        optimiser=float(learning * state),
        activations=float(tokens * numbers * _ACTIVATION[compute]),
    )


def count_saved(forward: Callable[[], object], model: nn.Module) -> int:
    """Return the bytes of what a forward pass keeps for the way back, the model's own aside.

    Parameters
    ----------
    forward : function without arguments
        Computes something; what it returns is not looked at.
    model : nn.Module
        Its parameters and buffers are not counted: they are there anyway.
    """
    own = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers())}
    kept: dict[int, Tensor] = {}  # the tensors are held on to, or another would get their place

    def note(tensor: Tensor) -> Tensor:
        kept.setdefault(tensor.untyped_storage().data_ptr(), tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        found = forward()
    del found
    return sum(t.untyped_storage().nbytes() for place, t in kept.items() if place not in own)
