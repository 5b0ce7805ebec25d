"""The small networks: a linear classifier, a perceptron, a small CNN (chapters 2 to 5)."""

from __future__ import annotations

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
        return self.output(images.flatten(1))


class MLP(nn.Module):
    """A multi-layer perceptron: one hidden layer with ReLU."""

    def __init__(self, hidden: int = 256, classes: int = CLASSES) -> None:
        super().__init__()
        self.hidden = nn.Linear(28 * 28, hidden)
        self.output = nn.Linear(hidden, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (n, classes) of images (n, 1, 28, 28)."""
        features = F.relu(self.hidden(images.flatten(1)))  # (n, hidden)
        return self.output(features)


class _ThreeConvolutions(nn.Module):
    """What `SmallCNN` and `QuickCNN` are made of; where they pool is their own affair."""

    def __init__(self, channels: tuple[int, int, int], classes: int, padding: int) -> None:
        super().__init__()
        # No biases: the batch norm after each convolution subtracts any constant again.
        self.conv1 = nn.Conv2d(1, channels[0], 5, stride=2, padding=padding, bias=False)
        self.conv2 = nn.Conv2d(channels[0], channels[1], 3, padding=1, bias=False)
        self.conv3 = nn.Conv2d(channels[1], channels[2], 3, padding=1, bias=False)
        self.norm1, self.norm2, self.norm3 = (nn.BatchNorm2d(count) for count in channels)
        self.output = nn.Linear(channels[2] * 3 * 3, classes)
        self.stages = (("conv1", "norm1"), ("conv2", "norm2"), ("conv3", "norm3"), ("output",))


class SmallCNN(_ThreeConvolutions):
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
        super().__init__((width, 2 * width, 4 * width), classes, padding=2)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (n, classes) of images (n, 1, 28, 28)."""
        features = F.relu(self.norm1(self.conv1(images)))  # (n, width, 14, 14)
        features = F.relu(self.norm2(F.max_pool2d(self.conv2(features), 2)))  # (n, 2 width, 7, 7)
        features = F.relu(self.norm3(F.max_pool2d(self.conv3(features), 2)))  # (n, 4 width, 3, 3)
        return self.output(features.flatten(1))


class QuickCNN(_ThreeConvolutions):
    """A small CNN that pools straight after its first layer: quicker than `SmallCNN`, as accurate.

    The first convolution is not padded, as MNIST's digits have little ink near the edge, and is
    the only one that computes 12x12 places; the two after it, which cost most, work on 6x6. These
    are halved without a remainder: of 7x7 places, pooling would throw the last row away, after the
    third convolution had computed it.

    Parameters
    ----------
    width : int
        Channels of the first and the second convolution; the third has twice as many. With 32 there
        are 34,474 parameters, 138 kB in float32.
    """

    def __init__(self, width: int = 32, classes: int = CLASSES) -> None:
        super().__init__((width, width, 2 * width), classes, padding=0)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (n, classes) of images (n, 1, 28, 28)."""
        features = F.relu(self.norm1(F.max_pool2d(self.conv1(images), 2)))  # (n, width, 6, 6)
        features = F.relu(self.norm2(self.conv2(features)))  # (n, width, 6, 6)
        features = F.relu(self.norm3(F.max_pool2d(self.conv3(features), 2)))  # (n, 2 width, 3, 3)
        return self.output(features.flatten(1))
