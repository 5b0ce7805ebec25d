"""Probes: a linear layer on cached features, which are those of the network in eval mode."""

from __future__ import annotations

import numpy as np
import torch

from mnist_lab.data.digit_set import DigitSet
from mnist_lab.finetuning.probes import cache_features, train_probe
from mnist_lab.models.registry import load_backbone
from mnist_lab.training.batches import Batches

Sets = tuple[DigitSet, DigitSet]


def test_cached_features_give_the_logits_and_no_dropout_or_batch_statistics(
    small_sets: Sets,
) -> None:
    model = load_backbone("efficientnet_lite0", input_size=32).train()
    batches = Batches(small_sets[0].subset(np.arange(30)), 8)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    features, labels = cache_features(model, batches)
    assert features.shape == (30, 1280)
    assert labels.tolist() == small_sets[0].labels[:30].tolist()
    assert not features.requires_grad
    assert all(part.training for part in model.modules())
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())
    images, _ = next(iter(batches))
    with torch.no_grad():
        alone = model.eval()(images[:1])
        assert torch.allclose(alone, model.output(features[:1]), atol=1e-4)


def test_a_probe_finds_what_is_linear_and_draws_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(200, 5, generator=generator)
    labels = (features[:, 2] > 0).long()
    before = torch.random.get_rng_state()
    one, two = (train_probe(features, labels, classes=2) for _ in range(2))
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.equal(one.weight, two.weight)
    assert float((one(features).argmax(1) == labels).float().mean()) > 0.9
