"""Low-rank factors: nearest of their rank, and layers that compute with them."""

from __future__ import annotations

import pytest
import torch

from mnist_lab.models.architecture import count_parameters
from mnist_lab.models.registry import build_model
from mnist_lab.smaller.factors import factorise, factorise_layers


def weights(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def test_the_error_is_what_the_dropped_singular_values_say() -> None:
    before = weights(6, 2, 3, 3)
    singular = torch.linalg.svdvals(before.flatten(1))
    for rank in range(1, 7):
        left, right = factorise(before, rank)
        assert (left.shape, right.shape) == ((6, rank), (rank, 2, 3, 3))
        error = (left @ right.flatten(1) - before.flatten(1)).square().sum()
        assert torch.allclose(error, singular[rank:].square().sum(), atol=1e-4)


@pytest.mark.parametrize("rank", [0, 7])
def test_a_rank_out_of_range(rank: int) -> None:
    with pytest.raises(ValueError, match="from 1 to 6"):
        factorise(weights(6, 18), rank)


def test_with_full_rank_the_network_answers_as_before() -> None:
    model = build_model("small_cnn", seed=0, width=4).eval()
    ranks = {"conv1": 4, "conv2": 8, "conv3": 16, "output": 10}
    images = weights(3, 1, 28, 28)
    assert torch.allclose(factorise_layers(model, ranks)(images), model(images), atol=1e-5)


def test_a_lower_rank_has_fewer_numbers_and_the_model_stays() -> None:
    model = build_model("small_cnn", seed=0, width=4).eval()
    images = weights(3, 1, 28, 28)
    before, count = model(images), count_parameters(model)
    thin = factorise_layers(model, {"conv3": 2})
    assert count - count_parameters(thin) == 16 * 72 - 2 * (16 + 72)
    assert (thin(images) - before).abs().max() > 1e-3
    assert torch.equal(model(images), before)


def test_a_layer_of_another_kind() -> None:
    with pytest.raises(ValueError, match="norm1 is neither"):
        factorise_layers(build_model("small_cnn", width=4), {"norm1": 1})
    with pytest.raises(AttributeError):
        factorise_layers(build_model("linear"), {"conv1": 1})
