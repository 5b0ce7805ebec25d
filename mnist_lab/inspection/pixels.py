"""A network that takes pixels from 0 to 1, as maps and attacks count them; and its features.

    network = PixelNetwork(reader.model, reader.card.normalisation)
    pixels = as_pixels(images)                      # float32 (n, 1, 28, 28), 0 is paper, 1 is ink
    network(pixels)                                 # logits (n, classes)
    features_of(network, pixels)                    # what the last layer is fed, (n, width)

An attack that adds 0.1 to a normalised image adds 0.03 to its pixels. So normalisation is the
network's own first step here, and everything before it is in pixels.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mnist_lab.data.normalisation import MNIST_NORMALISATION, Normalisation
from mnist_lab.training.scoring import eval_mode

_AT_ONCE = 1_000  # images


class PixelNetwork(nn.Module):
    """A network with the normalisation before it, in eval mode; its weights are the same tensors.

    Parameters
    ----------
    model : nn.Module
        Takes normalised images and has a last layer called `output`, as all here have. It is put
        into eval mode: dropout or batch statistics would make a map or an attack another each time.
    normalisation : Normalisation
        That it was trained with.
    """

    def __init__(
        self, model: nn.Module, normalisation: Normalisation = MNIST_NORMALISATION
    ) -> None:
        super().__init__()
        self.model = model
        self.normalisation = normalisation
        self.eval()

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits (n, classes) of pixels float (n, 1, height, width) from 0 to 1."""
        logits: Tensor = self.model(self.normalisation(255 * pixels))
        return logits


def as_pixels(images: NDArray[np.uint8]) -> Tensor:
    """Return images uint8 (n, height, width) as float32 (n, 1, height, width) from 0 to 1."""
    return torch.from_numpy(np.asarray(images, np.float32) / 255)[:, None]


def features_of(network: PixelNetwork, pixels: Tensor) -> Tensor:
    """Return what the last layer is fed, (n, width), of pixels (n, 1, height, width) from 0 to 1.

    Without gradients, a thousand images at a time.
    """
    parts: list[Tensor] = []
    layer = network.get_submodule("model.output")
    hook = layer.register_forward_pre_hook(lambda _, inputs: parts.append(inputs[0].detach()))
    try:
        with eval_mode(network), torch.no_grad():
            for some in pixels.split(_AT_ONCE):
                network(some)
    finally:
        hook.remove()
    return torch.cat(parts)
