"""Influence: products of gradients, as torch's own backward gives them."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mnist_lab.data.digit_set import DigitSet
from mnist_lab.inspection.influence import find_nearest, tracin_last_layer
from mnist_lab.inspection.pixels import PixelNetwork, as_pixels, features_of
from mnist_lab.inspection.saliency import with_random_weights
from mnist_lab.training.batches import Batches
from mnist_lab.training.scoring import logits_of


def gradient_of(network: PixelNetwork, image: Tensor, label: Tensor) -> Tensor:
    """Return the gradient of one digit's loss by the last layer, as one vector."""
    layer = network.model.output
    loss = F.cross_entropy(network(image[None]), label[None])
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(layer.parameters()))])


def test_an_influence_is_the_product_of_gradients(
    network: PixelNetwork, pixels: Tensor, classes: Tensor
) -> None:
    on_the_way = [(with_random_weights(network), 0.1), (network, 0.02)]
    ours, theirs = (pixels[:3], classes[:3]), (pixels[3:], classes[3:])
    found = tracin_last_layer(on_the_way, ours, theirs)
    expected = torch.zeros(3, 5)
    for one, rate in on_the_way:
        left, right = (
            torch.stack([gradient_of(one, *pair) for pair in zip(*of, strict=True)])
            for of in (ours, theirs)
        )
        expected += rate * left @ right.T
    assert torch.allclose(found, expected, rtol=1e-3, atol=1e-6)


def test_a_digit_helps_itself(network: PixelNetwork, pixels: Tensor, classes: Tensor) -> None:
    own = tracin_last_layer([(network, 1.0)], (pixels, classes), (pixels, classes))
    assert (own.diagonal() > 0).all()
    wrong = (classes + 1) % 10
    against = tracin_last_layer([(network, 1.0)], (pixels, classes), (pixels, wrong))
    assert (against.diagonal() < 0).all()


def test_the_nearest_is_oneself_then_the_next(
    network: PixelNetwork, small_sets: tuple[DigitSet, DigitSet]
) -> None:
    train = as_pixels(small_sets[0].images[:100])
    known = features_of(network, train)
    places, distances = find_nearest(known[:4], known, count=3)
    assert places[:, 0].tolist() == [0, 1, 2, 3]
    assert (np.diff(distances) >= 0).all()
    apart = (known[:4, None] - known[None]).norm(dim=2).numpy()
    assert np.array_equal(places[:, 1], apart.argsort(1)[:, 1])


def test_pixels_are_normalised_inside_and_features_are_the_last_layers(
    network: PixelNetwork, small_sets: tuple[DigitSet, DigitSet]
) -> None:
    digits = small_sets[1].subset(np.arange(20))
    pixels = as_pixels(digits.images)
    with torch.no_grad():
        found = network(pixels)
    assert torch.allclose(found, logits_of(network.model, Batches(digits)), atol=1e-4)
    features = features_of(network, pixels)
    assert torch.allclose(network.model.output(features), found, atol=1e-4)
    assert not features.requires_grad
