"""A small vision transformer, with self-attention by hand (chapter 9)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mnist_lab.models.basic import CLASSES


def patchify(images: Tensor, patch: int) -> Tensor:
    """Cut images (n, 1, height, width) into patches (n, count, patch * patch), row by row.

    Raises
    ------
    ValueError
        If `patch` does not divide both sides.
    """
    n, _, height, width = images.shape
    if height % patch or width % patch:
        raise ValueError(f"Patches of {patch} pixels do not divide {height} x {width}.")
    squares = images.reshape(n, height // patch, patch, width // patch, patch)
    return squares.transpose(2, 3).reshape(n, -1, patch * patch)


def unpatchify(patches: Tensor, patch: int) -> Tensor:
    """Put the patches (n, count, patch * patch) of square images together: `patchify` undone.

    Returns
    -------
    Tensor (n, 1, side, side)
    """
    side = math.isqrt(patches.shape[1])
    if side * side != patches.shape[1] or patches.shape[2] != patch * patch:
        raise ValueError(
            f"Patches of shape {tuple(patches.shape)} make no square image of patches of {patch}."
        )
    squares = patches.reshape(-1, side, side, patch, patch).transpose(2, 3)
    return squares.reshape(-1, 1, side * patch, side * patch)


class SelfAttention(nn.Module):
    """Every token looks at every token and takes a weighted mean of what it finds (chapter 9).

    Each head does so with queries, keys and values of its own, `width / heads` numbers each.
    Source: Vaswani et al. 2017, section 3.2.

    Raises
    ------
    ValueError
        If `heads` does not divide `width`.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if heads < 1 or width % heads:
            raise ValueError(f"A width of {width} cannot be shared by {heads} heads.")
        self.heads = heads
        # Queries, keys and values of all heads in one product: three small ones take longer.
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)

    def extra_repr(self) -> str:
        """Return how many heads share the width, which the parts do not show."""
        return f"heads={self.heads}"

    def forward(self, tokens: Tensor) -> Tensor:
        """Return (n, count, width) of tokens (n, count, width)."""
        means = attend(*self._project(tokens))  # (n, heads, count, width / heads)
        side_by_side = means.transpose(1, 2).flatten(2)  # (n, count, width)
        return self.output(side_by_side)

    def weigh(self, tokens: Tensor) -> Tensor:
        """Return who looks at whom: (n, heads, count, count), rows of weights that sum to 1."""
        queries, keys, _ = self._project(tokens)
        return self._weigh(queries, keys)

    def _project(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values, each (n, heads, count, width / heads)."""
        n, count, width = tokens.shape
        projected = self.queries_keys_values(tokens)  # (n, count, 3 width)
        apart = projected.view(n, count, 3, self.heads, width // self.heads)
        queries, keys, values = apart.permute(2, 0, 3, 1, 4)
        return queries, keys, values

    @staticmethod
    def _weigh(queries: Tensor, keys: Tensor) -> Tensor:
        # The scale goes to the queries, which are fewer than the scores.
        scores = queries * queries.shape[-1] ** -0.5 @ keys.transpose(-2, -1)
        return scores.softmax(-1)


def attend(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Return for each query the mean of the values, weighted by how its keys fit.

    All are (n, heads, count, width / heads), and so is what is returned.
    """
    if queries.is_cuda:  # the same in one kernel, which does not write the weights down
        return F.scaled_dot_product_attention(queries, keys, values)
    # By hand on the processor, whose one kernel takes longer than a dozen tokens are worth.
    return SelfAttention._weigh(queries, keys) @ values


class TransformerBlock(nn.Module):
    """Attention mixes tokens, a perceptron works on each alone; both add to what is there.

    Layer norm stands before each of the two ("pre-norm"), so that a clear path leads from the first
    block to the last. Sources: Vaswani et al. 2017; Xiong et al. 2020 for where the norm stands.
    """

    def __init__(self, width: int, heads: int, expansion: int = 2) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = SelfAttention(width, heads)
        self.expand = nn.Linear(width, expansion * width)
        self.shrink = nn.Linear(expansion * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return (n, count, width) of tokens (n, count, width)."""
        tokens = tokens + self.attention(self.norm1(tokens))
        return tokens + self.shrink(F.gelu(self.expand(self.norm2(tokens))))


class VisionTransformer(nn.Module):
    """A small vision transformer: patches are its tokens (chapter 9).

    The logits come from the mean of all tokens. Dosovitskiy et al. 2021 read them from an extra
    token. The mean needs none, and it suits pretraining in which patches are left out: whatever
    tokens there are, the mean uses all of them.

    Parameters
    ----------
    patch : int
        Side of a patch in pixels: 7 makes 16 tokens of an image; 4 makes 49, and with them nine
        times as many scores.
    width : int
        Numbers in a token.
    depth : int
        Blocks.
    heads : int
        Heads of each attention; they share the width.
    expansion : int
        How many times wider the perceptron of a block is inside. With the defaults there are
        138,890 parameters.

    Raises
    ------
    ValueError
        If `patch` does not divide 28, or `heads` not `width`.
    """

    def __init__(
        self,
        patch: int = 7,
        width: int = 64,
        depth: int = 4,
        heads: int = 4,
        expansion: int = 2,
        classes: int = CLASSES,
    ) -> None:
        super().__init__()
        if patch < 1 or 28 % patch:
            raise ValueError(f"Patches of {patch} pixels do not divide 28 x 28.")
        self.patch = patch
        self.embedding = nn.Linear(patch * patch, width)
        # As large as the embedded patches. The usual deviation of 0.02 is for a width of 768 and
        # long training; here it drowns, and the first epochs hardly know where a patch lies.
        self.positions = nn.Parameter(torch.empty((28 // patch) ** 2, width))
        nn.init.normal_(self.positions)
        self.blocks = nn.ModuleList(TransformerBlock(width, heads, expansion) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.output = nn.Linear(width, classes)
        names = [[f"blocks.{place}"] for place in range(depth)]
        names = [["embedding", "positions"], *names]
        names[-1].append("norm")
        self.stages = (*(tuple(stage) for stage in names), ("output",))

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (n, classes) of images (n, 1, 28, 28)."""
        tokens = self.encode(patchify(images, self.patch))  # (n, count, width)
        return self.output(tokens.mean(1))

    def encode(self, patches: Tensor, kept: Tensor | None = None) -> Tensor:
        """Return what the blocks make of patches.

        Parameters
        ----------
        patches : Tensor (n, count, patch * patch)
            All patches of each image, as `patchify` returns them.
        kept : int64 Tensor (n, k), optional
            The patches that are seen, by number; the others are left out. All, if not given.

        Returns
        -------
        Tensor (n, count or k, width)
        """
        tokens = self.embed(patches, kept)
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)

    def embed(self, patches: Tensor, kept: Tensor | None = None) -> Tensor:
        """Return the tokens (n, count or k, width) before the first block; as for `encode`."""
        tokens = self.embedding(patches) + self.positions
        if kept is None:
            return tokens
        return tokens.gather(1, kept.unsqueeze(2).expand(-1, -1, tokens.shape[2]))

    def weigh(self, images: Tensor) -> Tensor:
        """Return every block's attention weights, (depth, n, heads, count, count)."""
        tokens, weights = self.embed(patchify(images, self.patch)), []
        for block in self.blocks:
            assert isinstance(block, TransformerBlock)
            weights.append(block.attention.weigh(block.norm1(tokens)))
            tokens = block(tokens)
        return torch.stack(weights)
