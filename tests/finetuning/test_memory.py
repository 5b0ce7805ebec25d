"""What was predicted of a fine-tuning's memory is what its tensors take."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mnist_lab.finetuning.lora import add_lora
from mnist_lab.finetuning.memory import (
    LLAMA_7B,
    MINILM,
    Memory,
    count_saved,
    estimate_memory,
)
from mnist_lab.finetuning.quantising import quantise_layers
from mnist_lab.models.minilm import PatchReader

COUNT, CONTEXT, RANK = 8, 16, 8
TOKENS = COUNT * CONTEXT


def images() -> Tensor:
    return torch.randn(COUNT, 1, 28, 28, generator=torch.Generator().manual_seed(0))


def reader() -> PatchReader:
    """Return a reader of digits of MiniLM's size."""
    torch.manual_seed(0)
    return PatchReader()


def measure(model: nn.Module) -> Memory:
    """Take a step; return what weights, gradients, Adam's state and activations took.

    Of the blocks alone, but for the activations: the prediction is of the blocks.
    """
    parts = [*model.get_submodule("blocks").parameters(), *model.get_submodule("blocks").buffers()]
    learning = [p for p in model.get_submodule("blocks").parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(learning)
    saved = count_saved(lambda: model(images()), model)
    model(images()).square().sum().backward()
    optimiser.step()
    states = [t for state in optimiser.state.values() for t in state.values() if t.ndim]
    return Memory(
        weights=sum(part.nbytes for part in parts),
        gradients=sum(p.grad.nbytes for p in learning if p.grad is not None),
        optimiser=sum(t.nbytes for t in states),
        activations=saved,
    )


class TestAgainstTensors:
    @pytest.mark.parametrize("way", ["full", "lora", "quantised"])
    def test_every_part_is_within_three_hundredths(self, way: str) -> None:
        model: nn.Module = reader()
        options: dict[str, Any] = {} if way == "full" else {"rank": RANK}
        if way == "quantised":
            quantise_layers(model, "blocks")
            options["base"] = "nf4"
        if way != "full":
            add_lora(model, rank=RANK, names=["blocks"])
        found = measure(model)
        expected = estimate_memory(MINILM, TOKENS, context=CONTEXT, **options)
        for part in ("gradients", "optimiser", "activations"):
            assert getattr(found, part) == pytest.approx(getattr(expected, part), rel=0.03), part
        # Biases and norms, which are left out, are more beside a weight of four bits.
        allowed = 0.15 if way == "quantised" else 0.03
        assert found.weights == pytest.approx(expected.weights, rel=allowed)

    def test_a_frozen_base_keeps_no_changed_weight_for_the_way_back(self) -> None:
        """So LoRA takes as much for activations as full fine-tuning, and no more."""
        full, low = reader(), reader()
        add_lora(low, rank=1, names=["blocks"])
        with_changes = count_saved(lambda: low(images()), low)
        assert with_changes == pytest.approx(count_saved(lambda: full(images()), full), rel=0.02)

    def test_checkpointed_blocks_keep_their_inputs_and_one_inside(self) -> None:
        model = reader()
        one = count_saved(lambda: model.blocks[0](torch.randn(COUNT, CONTEXT, MINILM.width)), model)
        plain = count_saved(lambda: model(images()), model)
        model.checkpointed = True
        kept = count_saved(lambda: model(images()), model)
        expected = estimate_memory(MINILM, TOKENS, context=CONTEXT, checkpointed=True)
        assert kept + one == pytest.approx(expected.activations, rel=0.1)
        assert kept + one < plain / 2

    def test_a_checkpointed_network_gives_the_same_gradients(self) -> None:
        models = (reader(), reader())
        models[1].checkpointed = True
        for model in models:
            model(images()).square().sum().backward()
        for one, other in zip(*(model.parameters() for model in models), strict=True):
            assert one.grad is not None
            assert other.grad is not None
            assert torch.equal(one.grad, other.grad)

    def test_in_sixteen_bits_it_is_half_and_autocast_keeps_a_quarter_more(self) -> None:
        expected = estimate_memory(
            MINILM, TOKENS, context=CONTEXT, base="bfloat16", compute="bfloat16"
        ).activations
        model = reader()

        def mixed() -> Tensor:
            with torch.autocast("cpu", torch.bfloat16):
                return model(images())

        weights = 2 * MINILM.in_blocks  # their copies in 16 bits, which count as weights
        assert 1.2 < (count_saved(mixed, model) - weights) / expected < 1.35
        model.bfloat16()
        found = count_saved(lambda: model(images().bfloat16()), model)
        assert found == pytest.approx(expected, rel=0.03)

    def test_what_is_the_models_own_is_not_counted(self) -> None:
        model = nn.Sequential(nn.Linear(10, 20), nn.ReLU(), nn.Linear(20, 5))
        inputs = torch.randn(4, 10)
        assert count_saved(lambda: model(inputs), model) == 4 * 4 * (10 + 20)
        assert count_saved(lambda: model(inputs), nn.ReLU()) == 4 * (4 * (10 + 20) + 20 * 5)


class TestEstimate:
    def test_minilm_is_as_large_as_it_is(self) -> None:
        with torch.device("meta"):
            matrices = [p for p in PatchReader().blocks.parameters() if p.ndim == 2]
        assert MINILM.in_blocks == sum(p.numel() for p in matrices) == 10_616_832

    def test_seven_billion_take_sixteen_bytes_each_and_four_bits_a_seventh_of_the_base(
        self,
    ) -> None:
        numbers = LLAMA_7B.in_blocks + LLAMA_7B.others
        assert numbers == pytest.approx(6.738e9, rel=1e-3)
        full = estimate_memory(LLAMA_7B, 0, base="bfloat16", compute="bfloat16")
        assert full.total == 16 * numbers
        low = estimate_memory(LLAMA_7B, 0, rank=16, base="bfloat16", compute="bfloat16")
        four = estimate_memory(LLAMA_7B, 0, rank=16, base="nf4", compute="bfloat16")
        assert low.gradients == four.gradients == 2 * LLAMA_7B.count_adapters(16)
        assert four.total < low.total / 3 < full.total / 20

    def test_activations_grow_with_the_tokens_and_scores_with_those_that_see_each_other(
        self,
    ) -> None:
        def activations(tokens: int, context: int) -> float:
            return estimate_memory(MINILM, tokens, context=context).activations

        assert activations(64, 16) == 4 * activations(16, 16)
        assert activations(64, 64) - activations(64, 16) == 4 * 64 * 6 * 12 * (64 - 16)

    def test_a_base_that_learns_is_kept_as_it_is_computed_with(self) -> None:
        with pytest.raises(ValueError, match="cannot be kept in nf4"):
            estimate_memory(MINILM, 1, base="nf4")
