"""Why this answer: maps of what a network looked at, and the check whether they depend on it.

    map = gradient_map(network, pixels, 7)                  # d logit / d pixel
    map = integrated_gradients(network, pixels, 7)          # sums to a difference of logits
    map = occlusion_map(network, pixels, 7, patch=5)        # what is lost where paper covers ink
    map = grad_cam(network, pixels, 7, layer="model.conv3") # where the last convolution saw it
    same = similarity(map, other_map)                       # 1: the same places, 0: unrelated
    random = with_random_weights(network, seed=0)           # whose maps must be others

All take pixels float (n, 1, 28, 28) from 0 to 1, a `PixelNetwork`, and one class, or one a digit;
all return maps float (n, 28, 28).

Sources: Simonyan et al. 2014, "Deep Inside Convolutional Networks" (gradient); Sundararajan et al.
2017, "Axiomatic Attribution for Deep Networks" (integrated gradients); Zeiler and Fergus 2014,
"Visualizing and Understanding Convolutional Networks" (occlusion); Selvaraju et al. 2017,
"Grad-CAM"; Adebayo et al. 2018, "Sanity Checks for Saliency Maps" (random weights).
"""

from __future__ import annotations

import copy

import numpy as np
import torch
import torch.nn.functional as F
from scipy.stats import spearmanr
from torch import Tensor, nn

from mnist_lab.inspection.pixels import PixelNetwork
from mnist_lab.models.seeding import drawn_from

Classes = Tensor | int  # one for all images, or int64 (n,)


def _choose(logits: Tensor, classes: Classes) -> Tensor:
    """Return the logit of each image's class, (n,)."""
    wanted = torch.as_tensor(classes, device=logits.device).expand(len(logits))
    return logits.gather(1, wanted[:, None])[:, 0]


def _gradient(network: nn.Module, pixels: Tensor, classes: Classes) -> Tensor:
    """Return the gradient of each image's logit by its own pixels, in the shape of the pixels."""
    inputs = pixels.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(_choose(network(inputs), classes).sum(), inputs)
    return gradient


def gradient_map(network: PixelNetwork, pixels: Tensor, classes: Classes) -> Tensor:
    """Return by how much the logit of a class rises with each pixel's ink: (n, height, width)."""
    return _gradient(network, pixels, classes)[:, 0]


def integrated_gradients(
    network: PixelNetwork,
    pixels: Tensor,
    classes: Classes,
    *,
    start: Tensor | float = 0.0,
    steps: int = 50,
) -> Tensor:
    """Share the difference of a logit between the image and a start among the pixels.

    The mean gradient on the straight way from the start, times what each pixel has changed on it.
    All shares of an image add up to the difference of its logits at the two ends: that is called
    completeness, and holds the better the more steps there are.

    Parameters
    ----------
    start : Tensor or float
        Pixels from which the way begins; empty paper by default.
    steps : int
        Of the way, each taken in its middle.
    """
    begin = torch.as_tensor(start, dtype=pixels.dtype, device=pixels.device).expand_as(pixels)
    total = torch.zeros_like(pixels)
    for step in range(steps):
        share = (step + 0.5) / steps
        total += _gradient(network, begin + share * (pixels - begin), classes)
    return (total / steps * (pixels - begin))[:, 0]


def occlusion_map(
    network: PixelNetwork, pixels: Tensor, classes: Classes, *, patch: int = 5, paper: float = 0.0
) -> Tensor:
    """Return by how much the logit falls when a square round each pixel is covered with paper.

    Parameters
    ----------
    patch : int
        Side of the square in pixels, odd, so that it has a pixel in its middle.
    paper : float
        What covers: 0 is empty paper.

    Raises
    ------
    ValueError
        If `patch` is even.
    """
    if patch % 2 == 0:
        raise ValueError(f"patch must be odd, found {patch}.")
    height, width = pixels.shape[2:]
    rows, columns = torch.arange(height)[:, None], torch.arange(width)[:, None]
    near_row = (rows - rows.T).abs() <= patch // 2  # (place, row)
    near_column = (columns - columns.T).abs() <= patch // 2
    cover = near_row[:, None, :, None] & near_column[None, :, None, :]
    cover = cover.reshape(height * width, 1, height, width).to(pixels.device)
    maps = []
    with torch.no_grad():
        wanted = torch.as_tensor(classes, device=pixels.device).expand(len(pixels))
        whole = _choose(network(pixels), wanted)
        for image, name, before in zip(pixels, wanted, whole, strict=True):
            covered = torch.where(cover, torch.full_like(image, paper), image)
            maps.append((before - network(covered)[:, name]).reshape(height, width))
    return torch.stack(maps)


def grad_cam(
    network: PixelNetwork, pixels: Tensor, classes: Classes, *, layer: str = "model.conv3"
) -> Tensor:
    """Return where a convolution saw what speaks for a class: (n, height, width), 0 or more.

    Each channel of the layer weighs as much as the logit rises with it, on average over its places;
    the weighted sum is cut off at 0 and enlarged to the image.

    Parameters
    ----------
    layer : str
        A convolution's name within the network.
    """
    kept: list[Tensor] = []
    module = network.get_submodule(layer)
    hook = module.register_forward_hook(lambda *parts: kept.append(parts[2]))
    try:
        chosen = _choose(network(pixels.detach().requires_grad_()), classes)
    finally:
        hook.remove()
    (gradient,) = torch.autograd.grad(chosen.sum(), kept[0])
    weights = gradient.mean((2, 3), keepdim=True)  # (n, channels, 1, 1)
    seen = F.relu((weights * kept[0].detach()).sum(1, keepdim=True))
    large = F.interpolate(seen, pixels.shape[2:], mode="bilinear", align_corners=False)
    return large[:, 0]


def with_random_weights(network: PixelNetwork, seed: int = 0) -> PixelNetwork:
    """Return the same network with weights that have learnt nothing: each layer begins anew.

    A map that looks the same for it shows the image, or the architecture, and nothing learnt.
    """
    with drawn_from(seed):
        forgetful = copy.deepcopy(network)
        for module in forgetful.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.reset_parameters()
    return forgetful


def similarity(
    one: Tensor, other: Tensor, *, everywhere: bool = False, signed: bool = True
) -> float:
    """Return the mean rank correlation (Spearman's) of two sets of maps: 1 the same, 0 unrelated.

    Image by image, over the pixels where at least one of the two is not 0. A map that multiplies
    with the ink is 0 on all paper, whatever the network: compared there too, and without signs, any
    two are alike. An image of which one map has the same value throughout has no order, and does
    not count; where none has one, nan is returned.

    Parameters
    ----------
    one, other : float Tensor (n, height, width)
    everywhere : bool
        Compare over all pixels.
    signed : bool
        Whether to tell what speaks for a class from what speaks against it, or to compare sizes
        alone. Over all pixels and without signs is how the check is often done.
    """
    if not signed:
        one, other = one.abs(), other.abs()
    found = []
    for left, right in zip(one.flatten(1), other.flatten(1), strict=True):
        some = torch.ones_like(left, dtype=torch.bool) if everywhere else (left != 0) | (right != 0)
        pair = left[some], right[some]
        if all(len(part) and part.max() > part.min() for part in pair):  # else there is no order
            found.append(spearmanr(*(part.cpu().numpy() for part in pair)).statistic)
    return float(np.mean(found)) if found else float("nan")
