"""Maps are those of Captum; what they promise holds; and they notice when weights are random."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from captum import attr
from torch import Tensor

from mnist_lab.inspection.pixels import PixelNetwork
from mnist_lab.inspection.saliency import (
    grad_cam,
    gradient_map,
    integrated_gradients,
    occlusion_map,
    similarity,
    with_random_weights,
)

Map = Callable[..., Tensor]
MAPS: dict[str, tuple[Map, dict[str, Any]]] = {
    "gradient": (gradient_map, {}),
    "integrated gradients": (integrated_gradients, {"steps": 20}),
    "occlusion": (occlusion_map, {}),
    "Grad-CAM": (grad_cam, {"layer": "model.conv2"}),
}


# Captum says that it has the inputs require gradients, which is what was asked for.
@pytest.mark.filterwarnings("ignore:Input Tensor 0 did not already require gradients")
def test_the_gradient_is_captums(network: PixelNetwork, pixels: Tensor, classes: Tensor) -> None:
    expected = attr.Saliency(network).attribute(pixels, target=classes, abs=False)
    assert torch.allclose(gradient_map(network, pixels, classes), expected[:, 0], atol=1e-5)


def test_integrated_gradients_are_captums(
    network: PixelNetwork, pixels: Tensor, classes: Tensor
) -> None:
    expected = attr.IntegratedGradients(network).attribute(
        pixels, target=classes, n_steps=30, method="riemann_middle"
    )
    found = integrated_gradients(network, pixels, classes, steps=30)
    assert torch.allclose(found, expected[:, 0], atol=1e-5)


@pytest.mark.parametrize("start", [0.0, 0.5])
def test_integrated_gradients_are_complete(
    network: PixelNetwork, pixels: Tensor, classes: Tensor, start: float
) -> None:
    with torch.no_grad():
        ends = network(pixels), network(torch.full_like(pixels, start))
        moved = (ends[0] - ends[1]).gather(1, classes[:, None])[:, 0]
    sums = integrated_gradients(network, pixels, classes, start=start, steps=300).sum((1, 2))
    assert torch.allclose(sums, moved, atol=0.05)
    coarse = integrated_gradients(network, pixels, classes, start=start, steps=2).sum((1, 2))
    assert (coarse - moved).abs().mean() > (sums - moved).abs().mean()


def test_occlusion_is_captums(network: PixelNetwork, pixels: Tensor, classes: Tensor) -> None:
    """At places away from the edge: each pixel of Captum's map is a mean over squares."""
    found = occlusion_map(network, pixels, classes, patch=1)
    expected = attr.Occlusion(network).attribute(
        pixels, sliding_window_shapes=(1, 1, 1), target=classes, perturbations_per_eval=98
    )
    assert torch.allclose(found, expected[:, 0], atol=1e-4)


def test_a_larger_square_covers_what_lies_round_the_pixel(
    network: PixelNetwork, pixels: Tensor, classes: Tensor
) -> None:
    found = occlusion_map(network, pixels, classes, patch=5)
    covered = pixels.clone()
    covered[:, :, 10:15, 8:13] = 0
    with torch.no_grad():
        lost = (network(pixels) - network(covered)).gather(1, classes[:, None])[:, 0]
    assert torch.allclose(found[:, 12, 10], lost, atol=1e-4)
    with pytest.raises(ValueError, match="odd"):
        occlusion_map(network, pixels, classes, patch=4)


def test_grad_cam_is_captums(network: PixelNetwork, pixels: Tensor, classes: Tensor) -> None:
    layer = network.model.conv2
    coarse = attr.LayerGradCam(network, layer).attribute(
        pixels, target=classes, relu_attributions=True
    )
    expected = torch.nn.functional.interpolate(coarse, (28, 28), mode="bilinear")[:, 0]
    found = grad_cam(network, pixels, classes, layer="model.conv2")
    assert torch.allclose(found, expected, atol=1e-5)
    assert found.min() >= 0


@pytest.mark.parametrize("name", MAPS)
def test_a_map_of_random_weights_is_another(
    network: PixelNetwork, pixels: Tensor, classes: Tensor, name: str
) -> None:
    draw, options = MAPS[name]
    learnt = draw(network, pixels, classes, **options)
    random = draw(with_random_weights(network), pixels, classes, **options)
    assert learnt.shape == random.shape == (8, 28, 28)
    assert similarity(learnt, learnt) == pytest.approx(1)
    assert similarity(learnt, random) < 0.5
    assert torch.equal(
        learnt, draw(network, pixels, classes, **options)
    )  # the network is as it was


def test_a_map_that_multiplies_with_ink_looks_the_same_over_all_pixels_and_without_signs(
    network: PixelNetwork, pixels: Tensor, classes: Tensor
) -> None:
    learnt, random = (
        integrated_gradients(one, pixels, classes, steps=20)
        for one in (network, with_random_weights(network))
    )
    assert similarity(learnt, random, everywhere=True, signed=False) > 0.9
    assert similarity(learnt, random) < 0.5


def test_where_and_with_which_signs_maps_are_compared_are_two_things() -> None:
    """Two maps of five pixels; the last is 0 in both, the sizes are in the same order."""
    one, other = torch.tensor([[[1.0, 2, 3, -4, 0]]]), torch.tensor([[[1.0, 2, -3, 4, 0]]])
    found = {
        (everywhere, signed): similarity(one, other, everywhere=everywhere, signed=signed)
        for everywhere in (False, True)
        for signed in (False, True)
    }
    assert found[False, False] == pytest.approx(1)
    assert found[True, False] == pytest.approx(1)
    # Ranks without the 0: 2 3 4 1 against 2 3 1 4. With it: 3 4 5 1 2 against 3 4 1 5 2.
    assert found[False, True] == pytest.approx(1 - 6 * (9 + 9) / (4 * 15))
    assert found[True, True] == pytest.approx(1 - 6 * (16 + 16) / (5 * 24))


def test_the_check_finds_a_map_that_shows_the_image_alone(pixels: Tensor) -> None:
    """Such as ink itself, which no weight changes; and says nothing of maps that are empty."""
    assert similarity(pixels[:, 0], pixels[:, 0]) == pytest.approx(1)
    assert similarity(pixels[:, 0], -pixels[:, 0]) == pytest.approx(-1)
    assert math.isnan(similarity(torch.zeros(2, 28, 28), torch.zeros(2, 28, 28)))


def test_the_map_of_another_class_is_another(network: PixelNetwork, pixels: Tensor) -> None:
    assert similarity(gradient_map(network, pixels, 3), gradient_map(network, pixels, 8)) < 0.9


def test_random_weights_come_from_the_seed_and_touch_nothing(network: PixelNetwork) -> None:
    before = network.model.conv1.weight.clone()
    one, same, other = (with_random_weights(network, seed) for seed in (0, 0, 1))
    assert torch.equal(one.model.output.weight, same.model.output.weight)
    assert not torch.equal(one.model.output.weight, other.model.output.weight)
    assert torch.equal(network.model.conv1.weight, before)
