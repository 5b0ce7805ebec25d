"""Pruning: the smallest weights, and networks with fewer channels."""

from __future__ import annotations

import pytest
import torch

from mnist_lab.models.architecture import architecture_of, count_parameters
from mnist_lab.models.registry import build_model
from mnist_lab.smaller.pruning import find_smallest, narrow
from mnist_lab.smaller.while_training import weighted_layers


@pytest.mark.parametrize("share", [0, 0.37, 0.9, 1])
def test_the_smallest_of_all_layers_together(share: float) -> None:
    model = build_model("small_cnn", seed=0, width=4)
    zeros = find_smallest(model, share)
    layers = weighted_layers(model)
    assert zeros.keys() == layers.keys()
    sizes = torch.cat([layers[name].weight.detach().abs().flatten() for name in zeros])
    chosen = torch.cat([mask.flatten() for mask in zeros.values()])
    assert int(chosen.sum()) == round(share * len(sizes))
    if 0 < share < 1:
        assert sizes[chosen].max() <= sizes[~chosen].min()
        shares = [float(mask.float().mean()) for mask in zeros.values()]
        assert max(shares) - min(shares) > 0.05  # not the same in each layer


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_out_of_range(share: float) -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        find_smallest(build_model("linear"), share)


class TestNarrow:
    @pytest.mark.parametrize("name", ["small_cnn", "quick_cnn"])
    def test_channels_that_have_no_say_can_go(self, name: str) -> None:
        """Those with a scale and a shift of 0 send zeros on: without them nothing changes."""
        model = build_model(name, seed=0, width=6)
        chance = torch.Generator().manual_seed(0)
        slim = build_model(name, seed=0, width=4)
        with torch.no_grad():
            for number in (1, 2, 3):
                norm = model.get_submodule(f"norm{number}")
                count, kept = len(norm.weight), len(slim.get_submodule(f"norm{number}").weight)
                norm.running_mean.uniform_(-1, 1, generator=chance)
                norm.weight.uniform_(0.5, 2, generator=chance)
                silent = torch.randperm(count, generator=chance)[: count - kept]
                norm.weight[silent] = 0
                norm.bias[silent] = 0
        model.eval()
        narrower = narrow(model, 4)
        assert count_parameters(narrower) == count_parameters(slim)
        images = torch.randn(5, 1, 28, 28, generator=chance)
        assert torch.allclose(narrower(images), model(images), atol=1e-5)
        assert not narrower.training
        known = architecture_of(narrower)
        assert known is not None
        assert known.arguments["width"] == 4

    def test_its_own_width_is_the_same_network(self) -> None:
        model = build_model("small_cnn", seed=0, width=3)
        again = narrow(model, 3).state_dict()
        assert all(torch.equal(again[name], tensor) for name, tensor in model.state_dict().items())

    @pytest.mark.parametrize("width", [0, 5])
    def test_a_width_that_it_cannot_have(self, width: int) -> None:
        with pytest.raises(ValueError, match="from 1 to 4"):
            narrow(build_model("small_cnn", width=4), width)

    def test_another_kind_of_network(self) -> None:
        with pytest.raises(ValueError, match="not MLP"):
            narrow(build_model("mlp"), 3)
