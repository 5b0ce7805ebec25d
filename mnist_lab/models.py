"""Every architecture of the book. Each takes (n, 1, 28, 28) and returns raw logits (n, 10).

    from mnist_lab.models import build_model

    model = build_model("small_cnn", seed=0)

The one exception is article 000's network as printed, which returns log-probabilities. The three
articles' networks follow the listings of 000, 001 and 002; where a listing has a defect there is a
corrected form beside the printed one, with as many parameters.
"""

from __future__ import annotations

from collections.abc import Callable
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

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (n, classes) of images (n, 1, 28, 28)."""
        features = F.relu(self.norm1(self.conv1(images)))  # (n, width, 14, 14)
        features = F.relu(self.norm2(F.max_pool2d(self.conv2(features), 2)))  # (n, 2 width, 7, 7)
        features = F.relu(self.norm3(F.max_pool2d(self.conv3(features), 2)))  # (n, 4 width, 3, 3)
        logits: Tensor = self.output(features.flatten(1))
        return logits


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
    "article_000": Article000,
    "article_001": Article001,
    "article_002": Article002,
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
