"""Which digits are worth training on: the hardest, found in a moment by a small network.

    from mnist_lab.training import find_hardest

    hard = train.subset(find_hardest(train, share=0.2, seed=0))     # 11,000 out of 55,000

Most digits look like thousands of others, and a network learns little from the ten-thousandth plain
zero. A proxy, one hidden layer on every second pixel, is trained in a tenth of a second; the digits
on which its loss is highest are kept. Selection via proxy is Coleman et al. 2020; cifar10-airbench
(Keller Jordan, `airbench96_faster`) drops easy examples by a small proxy, too. How far data can
be pruned is in Sorscher et al. 2022. Chapter 6 measures what it brings.
"""

from __future__ import annotations

import itertools

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from mnist_lab.data.digit_set import DigitSet
from mnist_lab.data.normalisation import MNIST_NORMALISATION
from mnist_lab.models.seeding import seeded_generator

HIDDEN = 64
BATCH_SIZE = 100
EXAMPLES = 10_000  # what the proxy learns from: it takes a tenth of a second
LEARNING_RATE = 0.02


def find_hardest(
    digits: DigitSet, share: float, seed: int = 0, device: str | torch.device = "cpu"
) -> NDArray[np.int64]:
    """Return the indices of the share on which the proxy's loss is highest, the hardest first.

    Parameters
    ----------
    digits : DigitSet
    share : float
        Above 0, at most 1; at least one digit is found.
    seed : int
        Of the proxy's weights and of what it learns from.
    device : str or torch.device
        Where the proxy is trained.

    Raises
    ------
    ValueError
        If the share is out of range.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must be above 0 and at most 1, found {share}.")
    order = np.argsort(-proxy_losses(digits, seed, device), kind="stable")
    return order[: count_hardest(len(digits), share)]


def count_hardest(count: int, share: float) -> int:
    """Return how many of `count` digits a share is: at least one."""
    return max(1, round(share * count))


def proxy_losses(
    digits: DigitSet, seed: int = 0, device: str | torch.device = "cpu"
) -> NDArray[np.float32]:
    """Train the proxy and return its cross-entropy (nats) on every digit: float32 (n,)."""
    where = torch.device(device)
    pixels = np.ascontiguousarray(digits.images[:, ::2, ::2]).reshape(len(digits), -1)
    inputs = MNIST_NORMALISATION(torch.from_numpy(pixels).to(where))  # (n, 196)
    labels = torch.from_numpy(np.array(digits.labels)).to(where)
    generator = seeded_generator(torch.device("cpu"), seed, 2)
    weights = _first_weights((inputs.shape[1], HIDDEN, len(digits.class_names)), generator, where)
    optimizer = torch.optim.Adam(weights, fused=True)
    order = torch.randperm(len(digits), generator=generator)[:EXAMPLES].to(where)
    batches = order.split(BATCH_SIZE)
    for step, chosen in enumerate(batches):
        progress = (step + 0.5) / len(batches)
        rate = LEARNING_RATE * min(progress / 0.2, (1 - progress) / 0.8)
        optimizer.param_groups[0]["lr"] = rate
        loss = F.cross_entropy(_forward(inputs[chosen], weights), labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        losses = F.cross_entropy(_forward(inputs, weights), labels, reduction="none")
    array: NDArray[np.float32] = losses.cpu().numpy()
    return array


def _first_weights(
    sizes: tuple[int, int, int], generator: torch.Generator, device: torch.device
) -> list[nn.Parameter]:
    """Draw a weight and a bias for each of the two layers, with He's spread (chapter 7)."""
    tensors = []
    for inputs, outputs in itertools.pairwise(sizes):
        weight = torch.randn(outputs, inputs, generator=generator) * (2 / inputs) ** 0.5
        tensors += [weight, torch.zeros(outputs)]
    return [nn.Parameter(tensor.to(device)) for tensor in tensors]


def _forward(inputs: Tensor, weights: list[nn.Parameter]) -> Tensor:
    hidden = F.relu(F.linear(inputs, weights[0], weights[1]))
    return F.linear(hidden, weights[2], weights[3])
