"""Who taught it this: the training digits nearest to a digit, and those that pull its answer along.

    places, distances = find_nearest(features_of_digits, features_of_training, count=5)
    pulls = tracin_last_layer(checkpoints, (digits, labels), (training, labels_of_training))
    pulls[0].argmax()           # the training digit that did most for the first one's label

Source: Pruthi et al. 2020, "Estimating Training Data Influence by Tracing Gradient Descent"
(TracIn), here with the last layer alone, as its section on scale proposes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from mnist_lab.inspection.pixels import PixelNetwork, features_of


def find_nearest(
    features: Tensor, of_training: Tensor, count: int = 5
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Find for each digit the training digits whose features lie nearest.

    Parameters
    ----------
    features : Tensor (n, width)
    of_training : Tensor (m, width)
    count : int
        From 1 to m.

    Returns
    -------
    places : int64 (n, count)
        In `of_training`, the nearest first.
    distances : float64 (n, count)
        Euclidean.
    """
    distances, places = torch.cdist(features, of_training).topk(count, largest=False)
    return places.cpu().numpy(), distances.double().cpu().numpy()


def last_layer_errors(network: PixelNetwork, features: Tensor, labels: Tensor) -> Tensor:
    """Return the gradient of each digit's loss by its logits: probabilities less one-hot labels.

    Parameters
    ----------
    features : Tensor (n, width)
        What the last layer is fed.
    labels : int64 Tensor (n,)

    Returns
    -------
    Tensor (n, classes)
    """
    layer = network.get_submodule("model.output")
    with torch.no_grad():
        logits: Tensor = layer(features)
    return logits.softmax(1) - F.one_hot(labels, logits.shape[1])


def tracin_last_layer(
    checkpoints: Sequence[tuple[PixelNetwork, float]],
    digits: tuple[Tensor, Tensor],
    training: tuple[Tensor, Tensor],
) -> Tensor:
    """Return how much each training digit's steps lowered the loss of each digit, to first order.

    A step on one digit moves the weights against its gradient. To first order that lowers another's
    loss by the learning rate times the product of the two gradients; summed over checkpoints on the
    way, that is the influence. The gradient by the last layer's weights is the error of the logits
    (outer) times the features, so the product of two of them is a product of two small ones:

        (error · error') (features · features' + 1),  the 1 for the bias.

    Parameters
    ----------
    checkpoints : sequence of (network, learning rate)
        The network as it was on its way, and the rate of its steps there.
    digits, training : (Tensor (n, 1, height, width), int64 Tensor (n,)), and so for m
        Pixels from 0 to 1, and labels: for `digits` the class whose loss is asked about.

    Returns
    -------
    Tensor (n, m)
        Above 0 where the training digit helped, below where it hurt.
    """
    total = torch.zeros(len(digits[0]), len(training[0]), device=digits[0].device)
    for network, rate in checkpoints:
        layer = network.get_submodule("model.output")
        assert isinstance(layer, nn.Linear)
        ours, theirs = (features_of(network, pixels) for pixels, _ in (digits, training))
        errors = last_layer_errors(network, ours, digits[1])
        their_errors = last_layer_errors(network, theirs, training[1])
        products = ours @ theirs.T + (layer.bias is not None)
        total += rate * (errors @ their_errors.T) * products
    return total
