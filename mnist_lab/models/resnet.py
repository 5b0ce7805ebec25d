"""A residual network with batch norm (chapter 7)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from mnist_lab.models.basic import CLASSES


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
        return self.output(self.dropout(features.mean((2, 3))))


def _norm(channels: int, norm: bool) -> nn.Module:
    """Return a batch norm, or nothing in its place."""
    return nn.BatchNorm2d(channels) if norm else nn.Identity()
