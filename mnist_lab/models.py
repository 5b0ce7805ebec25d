"""Every architecture of the book. Each takes (n, 1, 28, 28) and returns raw logits (n, 10).

    from mnist_lab.models import build_model

    model = build_model("small_cnn", seed=0)

The one exception is article 000's network as printed, which returns log-probabilities. `stages`
names a model's parts from input to head, for `finetuning`; the head is called `output`. The three
articles' networks follow the listings of 000, 001 and 002; where a listing has a defect there is a
corrected form beside the printed one, with as many parameters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CLASSES = 10


class Linear(nn.Module):
    """One matrix from pixels to logits: the smallest network there is (chapter 2)."""

    def __init__(self, classes: int = CLASSES) -> None:
        super().__init__()
        self.output = nn.Linear(28 * 28, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (n, classes) of images (n, 1, 28, 28)."""
        logits: Tensor = self.output(images.flatten(1))
        return logits


class MLP(nn.Module):
    """A multi-layer perceptron: one hidden layer with ReLU."""

    def __init__(self, hidden: int = 256, classes: int = CLASSES) -> None:
        super().__init__()
        self.hidden = nn.Linear(28 * 28, hidden)
        self.output = nn.Linear(hidden, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (n, classes) of images (n, 1, 28, 28)."""
        features = F.relu(self.hidden(images.flatten(1)))  # (n, hidden)
        logits: Tensor = self.output(features)
        return logits


class SmallCNN(nn.Module):
    """Three convolutions with batch norm and one linear layer: small, fast, accurate.

    The first convolution has a stride of 2: it reads all 28x28 pixels but works on 14x14 places,
    which saves most of the time. Pooling stands before batch norm and ReLU, since both are then
    done on a quarter of the numbers; with max pooling the ReLU may stand on either side.

    Parameters
    ----------
    width : int
        Channels of the first convolution; the second has twice, the third four times as many. With
        16 there are 29,434 parameters, 118 kB in float32.
    """

    def __init__(self, width: int = 16, classes: int = CLASSES) -> None:
        super().__init__()
        channels = (width, 2 * width, 4 * width)
        # No biases: the batch norm after each convolution subtracts any constant again.
        self.conv1 = nn.Conv2d(1, channels[0], 5, stride=2, padding=2, bias=False)
        self.conv2 = nn.Conv2d(channels[0], channels[1], 3, padding=1, bias=False)
        self.conv3 = nn.Conv2d(channels[1], channels[2], 3, padding=1, bias=False)
        self.norm1, self.norm2, self.norm3 = (nn.BatchNorm2d(count) for count in channels)
        self.output = nn.Linear(channels[2] * 3 * 3, classes)
        self.stages = (("conv1", "norm1"), ("conv2", "norm2"), ("conv3", "norm3"), ("output",))

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (n, classes) of images (n, 1, 28, 28)."""
        features = F.relu(self.norm1(self.conv1(images)))  # (n, width, 14, 14)
        features = F.relu(self.norm2(F.max_pool2d(self.conv2(features), 2)))  # (n, 2 width, 7, 7)
        features = F.relu(self.norm3(F.max_pool2d(self.conv3(features), 2)))  # (n, 4 width, 3, 3)
        logits: Tensor = self.output(features.flatten(1))
        return logits


class ResidualBlock(nn.Module):
    """Two convolutions of 3x3, each with batch norm, and a way round both (He et al. 2016).

    Parameters
    ----------
    channels, out_channels : int
        Channels of input and output.
    stride : int
        Of the first convolution: 2 halves the map, rounding up.
    norm, residual : bool
        Without batch norm the convolutions get biases. Without the way round the block is plain.
    """

    def __init__(
        self, channels: int, out_channels: int, stride: int, norm: bool, residual: bool
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out_channels, 3, stride, padding=1, bias=not norm)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=not norm)
        self.norm1, self.norm2 = _norm(out_channels, norm), _norm(out_channels, norm)
        self.residual = residual
        self.shortcut: nn.Module = nn.Identity()
        if residual and (stride > 1 or channels != out_channels):
            # Where the shape changes, the way round is the smallest convolution that fits.
            reshape = nn.Conv2d(channels, out_channels, 1, stride, bias=not norm)
            self.shortcut = nn.Sequential(reshape, _norm(out_channels, norm))

    def forward(self, features: Tensor) -> Tensor:
        """Return (n, out channels, height / stride, width / stride) of (n, channels, ...)."""
        inner = F.relu(self.norm1(self.conv1(features)))
        inner = self.norm2(self.conv2(inner))
        return F.relu(inner + self.shortcut(features) if self.residual else inner)


class ResNet(nn.Module):
    """A residual network with batch norm after each convolution (chapter 7).

    A convolution of 5x5 with stride 2, then three stages of `depth` blocks on maps of 14x14, 7x7
    and 4x4 with `width`, 2 `width` and 4 `width` channels, then the mean of each map, dropout and a
    linear layer. This is what article 002's text describes and its listing lacks.

    Parameters
    ----------
    width : int
        Channels of the first stage.
    depth : int
        Blocks in each stage: the network has 2 + 6 `depth` layers with weights on its longest way.
    dropout : float
        Before the last layer.
    norm, residual : bool
        False takes batch norm, or the ways round the blocks, out: for comparison.
    """

    def __init__(
        self,
        width: int = 16,
        depth: int = 2,
        dropout: float = 0.0,
        norm: bool = True,
        residual: bool = True,
        classes: int = CLASSES,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, width, 5, stride=2, padding=2, bias=not norm)
        self.norm = _norm(width, norm)
        blocks = []
        channels = width
        for stage in range(3):
            for place in range(depth):
                stride = 2 if stage > 0 and place == 0 else 1
                out_channels = width * 2**stage
                blocks.append(ResidualBlock(channels, out_channels, stride, norm, residual))
                channels = out_channels
        self.blocks = nn.Sequential(*blocks)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(channels, classes)
        self.stages = (
            ("conv", "norm"),
            *((f"blocks.{place}",) for place in range(len(blocks))),
            ("output",),
        )
        for part in self.modules():
            if isinstance(part, nn.Conv2d):  # He et al. 2015: the variance survives each ReLU
                nn.init.kaiming_normal_(part.weight, nonlinearity="relu")
            if residual and norm and isinstance(part, ResidualBlock):
                # Every block begins as its shortcut alone, so depth costs nothing at first
                # (Goyal et al. 2017).
                nn.init.zeros_(part.norm2.weight)  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (n, classes) of images (n, 1, 28, 28)."""
        features = F.relu(self.norm(self.conv(images)))  # (n, width, 14, 14)
        features = self.blocks(features)  # (n, 4 width, 4, 4)
        logits: Tensor = self.output(self.dropout(features.mean((2, 3))))
        return logits


def _norm(channels: int, norm: bool) -> nn.Module:
    """Return a batch norm, or nothing in its place."""
    return nn.BatchNorm2d(channels) if norm else nn.Identity()


class LSTM(nn.Module):
    """A long short-term memory that reads the image row by row, from top to bottom (chapter 8).

    The logits come from the hidden state after the last row. Its forget gates start open: with the
    usual bias of 0 they would halve the memory at every row (Jozefowicz et al. 2015).
    Source: Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000.

    Parameters
    ----------
    width : int
        Numbers in the state. With 128 there are 82,186 parameters.
    """

    def __init__(self, width: int = 128, classes: int = CLASSES) -> None:
        super().__init__()
        self.rows = nn.LSTM(28, width, batch_first=True)
        self.output = nn.Linear(width, classes)
        with torch.no_grad():
            # PyTorch adds two biases; in each the second quarter is the forget gate's.
            self.rows.get_parameter("bias_ih_l0")[width : 2 * width] += 1.0

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (n, classes) of images (n, 1, 28, 28)."""
        states, _ = self.rows(images.squeeze(1))  # (n, 28, width)
        logits: Tensor = self.output(states[:, -1])
        return logits

    def read_rows(self, images: Tensor) -> Tensor:
        """Return the logits after every row, (n, 28, classes): the opinion while it reads."""
        states, _ = self.rows(images.squeeze(1))
        logits: Tensor = self.output(states)
        return logits


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
    """Every token looks at every token and takes a weighted mean of what it finds (chapter 8).

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

    def forward(self, tokens: Tensor) -> Tensor:
        """Return (n, count, width) of tokens (n, count, width)."""
        queries, keys, values = self._project(tokens)
        means = self._weigh(queries, keys) @ values  # (n, heads, count, width / heads)
        side_by_side = means.transpose(1, 2).flatten(2)  # (n, count, width)
        mixed: Tensor = self.output(side_by_side)
        return mixed

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
    """A small vision transformer: patches are its tokens (chapter 8).

    The logits come from the mean of all tokens. Dosovitskiy et al. 2021 read them from an extra
    token. The mean needs none, and it suits pretraining in which patches are left out: whatever
    tokens there are, the mean uses all of them.

    Parameters
    ----------
    patch : int
        Side of a patch in pixels: 7 makes 16 tokens of an image; 4 makes 49, which take four times
        as long and read no better after a few epochs.
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
        logits: Tensor = self.output(tokens.mean(1))
        return logits

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
        normed: Tensor = self.norm(tokens)
        return normed

    def embed(self, patches: Tensor, kept: Tensor | None = None) -> Tensor:
        """Return the tokens (n, count or k, width) before the first block; as for `encode`."""
        tokens: Tensor = self.embedding(patches) + self.positions
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


class Article000(nn.Module):
    """Article 000's network: 1,199,882 parameters.

    As printed it has no ReLU after its second convolution, makes a second dropout that it never
    uses, drops whole channels (Dropout2d) and returns log-probabilities. `corrected=True` puts the
    ReLU in, uses both dropouts (elementwise before the last layer) and returns logits.
    """

    def __init__(self, corrected: bool = False) -> None:
        super().__init__()
        self.corrected = corrected
        self.conv1 = nn.Conv2d(1, 32, 3)
        self.conv2 = nn.Conv2d(32, 64, 3)
        self.dropout1 = nn.Dropout2d(0.25)
        self.dropout2 = nn.Dropout(0.5)
        self.fc1 = nn.Linear(64 * 12 * 12, 128)
        self.fc2 = nn.Linear(128, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        """Return log-probabilities (n, 10), or logits if `corrected`."""
        features = self.conv2(F.relu(self.conv1(images)))  # (n, 64, 24, 24)
        if self.corrected:
            features = F.relu(features)
        features = self.dropout1(F.max_pool2d(features, 2))  # (n, 64, 12, 12)
        hidden = F.relu(self.fc1(features.flatten(1)))
        if self.corrected:
            logits: Tensor = self.fc2(self.dropout2(hidden))
            return logits
        return F.log_softmax(self.fc2(hidden), dim=1)


class Article001(nn.Module):
    """Article 001's Keras network in PyTorch: 693,962 parameters.

    Keras lists the softmax as a layer but folds it into the loss; PyTorch's cross-entropy has it
    inside too, so this port returns logits. Kernels start as Keras' do: Glorot-uniform, biases 0.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 32, 3)
        self.hidden = nn.Linear(32 * 13 * 13, 128)
        self.dropout = nn.Dropout(0.5)
        self.output = nn.Linear(128, CLASSES)
        for layer in (self.conv, self.hidden, self.output):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (n, 10) of images (n, 1, 28, 28) with pixels in [0, 1]."""
        features = F.max_pool2d(F.relu(self.conv(images)), 2)  # (n, 32, 13, 13)
        hidden = F.relu(self.hidden(features.flatten(1)))
        logits: Tensor = self.output(self.dropout(hidden))
        return logits


class Article002(nn.Module):
    """Article 002's network: 421,642 parameters.

    The article's text says "batch norm after each convolution" and "ResNet"; its listing has
    neither, and this is the listing.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, padding=1)
        self.conv2 = nn.Conv2d(32, 64, 3, padding=1)
        self.fc1 = nn.Linear(64 * 7 * 7, 128)
        self.fc2 = nn.Linear(128, CLASSES)
        self.dropout = nn.Dropout(0.5)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (n, 10) of images (n, 1, 28, 28)."""
        features = F.max_pool2d(F.relu(self.conv1(images)), 2)  # (n, 32, 14, 14)
        features = F.max_pool2d(F.relu(self.conv2(features)), 2)  # (n, 64, 7, 7)
        hidden = F.relu(self.fc1(features.flatten(1)))
        logits: Tensor = self.fc2(self.dropout(hidden))
        return logits


MODELS: dict[str, Callable[..., nn.Module]] = {
    "linear": Linear,
    "mlp": MLP,
    "small_cnn": SmallCNN,
    "resnet": ResNet,
    "article_000": Article000,
    "article_001": Article001,
    "article_002": Article002,
    "lstm": LSTM,
    "vit": VisionTransformer,
}


def build_model(name: str, *, seed: int = 0, **arguments: Any) -> nn.Module:
    """Build the model called `name`, its first weights drawn from `seed` alone.

    Parameters
    ----------
    name : str
        A key of `MODELS`.
    seed : int
        Same seed, same weights; torch's global generator is left as it was.
    **arguments
        Passed to the class, such as `width=32` for "small_cnn".

    Raises
    ------
    ValueError
        If there is no such model or it takes no such argument.
    """
    if name not in MODELS:
        raise ValueError(f"No model {name!r}; there are {', '.join(sorted(MODELS))}.")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            return MODELS[name](**arguments)
        except (TypeError, RuntimeError) as error:  # RuntimeError: torch on a width of -1
            raise ValueError(f"{name} cannot be built with {arguments}: {error}.") from error


def count_parameters(model: nn.Module) -> int:
    """Return how many numbers the model learns."""
    return sum(parameter.numel() for parameter in model.parameters())


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Switch to eval mode; restore the mode of every part after."""
    modes = {part: part.training for part in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for part, training in modes.items():
            part.training = training
