"""Same seed, same weights; and nobody else's random numbers are touched."""

from __future__ import annotations

import torch
from torch import nn

from mnist_lab.models.registry import build_model
from mnist_lab.models.seeding import weights_from


def test_weights_come_from_the_seed_alone() -> None:
    before = torch.random.get_rng_state()
    drawn = []
    for seed in (3, 3, 4):
        with weights_from(seed):
            drawn.append(nn.Linear(784, 10).weight)
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.equal(drawn[0], build_model("linear", seed=3).get_parameter("output.weight"))
