"""The benchmark of a language model that reads digits: each rival is what it says it is."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from benchmarks import large
from mnist_lab.finetuning.lora import lora_layers
from mnist_lab.finetuning.quantising import QuantisedLinear
from mnist_lab.lessons.records import load_record
from mnist_lab.models.minilm import load_patch_reader

FROZEN = ("pretrained", "shuffled", "random", "stretched")
ADAPTED = ("lora", "quantised")


def learning(model: nn.Module) -> set[str]:
    return {name for name, p in model.named_parameters() if p.requires_grad}


def matrices(model: nn.Module) -> dict[str, torch.Tensor]:
    blocks = model.get_submodule("blocks")
    return {name: p.detach() for name, p in blocks.named_parameters() if p.ndim == 2}


class TestRivals:
    def test_the_frozen_ones_let_the_same_numbers_learn(self) -> None:
        names = [learning(large.build_rival(name, 0)) for name in FROZEN]
        assert all(others == names[0] for others in names)
        assert {name for name in names[0] if name.startswith("blocks.0.")} == {
            f"blocks.0.norm{i}.{key}" for i in (1, 2) for key in ("weight", "bias")
        }
        assert {"embedding.weight", "positions", "norm.weight", "output.weight"} < names[0]

    def test_the_adapted_ones_let_their_changes_learn_besides(self) -> None:
        names = learning(large.build_rival("pretrained", 0))
        adapted = [learning(large.build_rival(name, 0)) for name in ADAPTED]
        assert adapted[0] == adapted[1]
        changes = {name for name in adapted[0] if name.endswith((".a", ".b"))}
        assert adapted[0] == names | changes
        assert len(changes) == 6 * 6 * 2
        quantised = large.build_rival("quantised", 0)
        bases = [layer.base for _, layer in lora_layers(quantised)]
        assert all(isinstance(base, QuantisedLinear) for base in bases)

    def test_all_of_the_others_learns(self) -> None:
        for name in ("full", "scratch", "no_layers", "small_cnn"):
            assert all(p.requires_grad for p in large.build_rival(name, 0).parameters())

    def test_shuffled_matrices_hold_the_same_numbers_elsewhere(self) -> None:
        ours, theirs = (matrices(large.build_rival(n, 3)) for n in ("shuffled", "pretrained"))
        for name, tensor in ours.items():
            assert not torch.equal(tensor, theirs[name])
            assert torch.equal(tensor.flatten().sort().values, theirs[name].flatten().sort().values)

    def test_random_ones_share_what_is_new_with_the_pretrained(self) -> None:
        ours = large.build_rival("random", 3).state_dict()
        theirs = large.build_rival("pretrained", 3).state_dict()
        for name in ("embedding.weight", "positions"):
            assert torch.equal(ours[name], theirs[name])
        assert not torch.equal(ours["blocks.0.query.weight"], theirs["blocks.0.query.weight"])

    def test_stretched_ones_are_the_random_ones_as_large_as_the_pretrained(self) -> None:
        ours, drawn, theirs = (
            matrices(large.build_rival(n, 3)) for n in ("stretched", "random", "pretrained")
        )
        for name, tensor in ours.items():
            factor = theirs[name].std() / drawn[name].std()
            torch.testing.assert_close(tensor, factor * drawn[name])
            torch.testing.assert_close(tensor.std(), theirs[name].std())
        stretched, random = (large.build_rival(n, 3).state_dict() for n in ("stretched", "random"))
        kept = stretched.keys() - {f"blocks.{name}" for name in ours}
        assert kept
        assert all(torch.equal(stretched[name], random[name]) for name in kept)


class TestLadder:
    @pytest.mark.parametrize(
        ("ladder", "rank", "scale", "count"),
        [
            ("alpha/r", 1, 8.0, 36),
            ("alpha/r", 16, 0.5, 36),
            ("alpha/sqrt(r)", 16, 2.0, 36),
            ("attention", 64, 1.0, 24),
        ],
    )
    def test_a_rung_is_scaled_and_placed_as_its_name_says(
        self, ladder: str, rank: int, scale: float, count: int
    ) -> None:
        layers = [layer for _, layer in lora_layers(large.build_rung(ladder, rank, 0))]
        assert len(layers) == count
        assert {layer.scale for layer in layers} == {scale}
        assert {len(layer.a) for layer in layers} == {rank}


class TestClimb:
    @pytest.mark.parametrize("start", large.RATES)
    @pytest.mark.parametrize("top", large.RATES)
    def test_ends_at_the_top_with_both_neighbours_tried(self, start: float, top: float) -> None:
        tried: dict[str, float] = {}

        def read(rate: float) -> float:
            return -abs(large.RATES.index(rate) - large.RATES.index(top))

        assert large.climb(tried, start, read) == top
        place = large.RATES.index(top)
        around = {str(rate) for rate in large.RATES[max(place - 1, 0) : place + 2]}
        assert around <= tried.keys()

    def test_what_was_tried_is_not_tried_again(self) -> None:
        tried = {str(rate): float(rate == 0.001) for rate in (0.0003, 0.001, 0.003)}

        def never(rate: float) -> float:
            raise AssertionError(rate)

        assert large.climb(tried, 0.0003, lambda rate: 0.0) == 0.001
        assert large.climb(dict(tried), 0.001, never) == 0.001


class TestRecord:
    def test_every_rival_has_a_best_rate_between_two_worse_ones(self) -> None:
        results = load_record("large")["results"]
        assert set(large.ASKED) <= set(results) <= set(large.RIVALS)
        for rival in results.values():
            for row in rival.values():
                tried = {float(rate): accuracy for rate, accuracy in row["search"].items()}
                place = large.RATES.index(row["learning_rate"])
                assert tried[row["learning_rate"]] == max(tried.values())
                assert set(large.RATES[max(place - 1, 0) : place + 2]) <= tried.keys()


def test_what_the_model_knows_is_in_the_order_of_its_numbers() -> None:
    """Shuffled in place, the layers give other logits: the control is a control."""
    images = torch.randn(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    model = load_patch_reader(seed=0).eval()
    before = model(images).detach()
    large.shuffle_matrices(model, 0)
    assert not torch.allclose(model(images), before, atol=0.01)
