"""The networks of the three articles, as printed and corrected."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from mnist_lab.models.basic import CLASSES


class Article000(nn.Module):
    """Article 000's network: 1,199,882 parameters.

    As printed it has no ReLU after its second convolution, makes a second dropout that it never
    uses, drops whole channels (Dropout2d) and returns log-probabilities. `corrected=True` puts the
    ReLU in, uses both dropouts (elementwise before the last layer) and returns logits.
    """

    def __init__(self, corrected: bool = False, classes: int = CLASSES) -> None:
        super().__init__()
        self.corrected = corrected
        self.conv1 = nn.Conv2d(1, 32, 3)
        self.conv2 = nn.Conv2d(32, 64, 3)
        self.dropout1 = nn.Dropout2d(0.25)
        self.dropout2 = nn.Dropout(0.5)
        self.fc1 = nn.Linear(64 * 12 * 12, 128)
        self.output = nn.Linear(128, classes)

    def extra_repr(self) -> str:
        """Return which form it is, which its parts do not show."""
        return f"corrected={self.corrected}"

    def forward(self, images: Tensor) -> Tensor:
        """Return log-probabilities (n, classes), or logits if `corrected`."""
        features = self.conv2(F.relu(self.conv1(images)))  # (n, 64, 24, 24)
        if self.corrected:
            features = F.relu(features)
        features = self.dropout1(F.max_pool2d(features, 2))  # (n, 64, 12, 12)
        hidden = F.relu(self.fc1(features.flatten(1)))
        if self.corrected:
            return self.output(self.dropout2(hidden))
        return F.log_softmax(self.output(hidden), dim=1)


class Article001(nn.Module):
    """Article 001's Keras network in PyTorch: 693,962 parameters.

    Keras lists the softmax as a layer but folds it into the loss; PyTorch's cross-entropy has it
    inside too, so this port returns logits. Kernels start as Keras' do: Glorot-uniform, biases 0.
    """

    def __init__(self, classes: int = CLASSES) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 32, 3)
        self.hidden = nn.Linear(32 * 13 * 13, 128)
        self.dropout = nn.Dropout(0.5)
        self.output = nn.Linear(128, classes)
        for layer in (self.conv, self.hidden, self.output):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (n, classes) of images (n, 1, 28, 28) with pixels in [0, 1]."""
        features = F.max_pool2d(F.relu(self.conv(images)), 2)  # (n, 32, 13, 13)
        hidden = F.relu(self.hidden(features.flatten(1)))
        logits: Tensor = self.output(self.dropout(hidden))
        return logits


class Article002(nn.Module):
    """Article 002's network: 421,642 parameters.

    The article's text says "batch norm after each convolution" and "ResNet"; its listing has
    neither, and this is the listing.
    """

    def __init__(self, classes: int = CLASSES) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, padding=1)
        self.conv2 = nn.Conv2d(32, 64, 3, padding=1)
        self.fc1 = nn.Linear(64 * 7 * 7, 128)
        self.output = nn.Linear(128, classes)
        self.dropout = nn.Dropout(0.5)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (n, classes) of images (n, 1, 28, 28)."""
        features = F.max_pool2d(F.relu(self.conv1(images)), 2)  # (n, 32, 14, 14)
        features = F.max_pool2d(F.relu(self.conv2(features)), 2)  # (n, 64, 7, 7)
        hidden = F.relu(self.fc1(features.flatten(1)))
        return self.output(self.dropout(hidden))
