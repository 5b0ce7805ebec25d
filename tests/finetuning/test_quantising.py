"""Four bits: the published levels, errors that are bounded, bytes that are counted, LoRA on top."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from mnist_lab.data.digit_set import DigitSet
from mnist_lab.finetuning.lora import (
    LoRALayer,
    add_lora,
    hash_base,
    load_lora,
    lora_layers,
    save_lora,
    strip_lora,
)
from mnist_lab.finetuning.quantising import (
    Packed,
    QuantisedLinear,
    make_levels,
    quantise,
    quantise_layers,
)
from mnist_lab.models.registry import build_model
from mnist_lab.training.config import TrainConfig
from mnist_lab.training.loop import start_training, train_epoch
from mnist_lab.training.tensor_folders import CheckpointError
from tests.finetuning.comparing import changed, learning, state_of

# As QLoRA's appendix E and bitsandbytes have them.
PUBLISHED = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453,
    -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0,
    0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)  # fmt: skip


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


class TestLevels:
    def test_are_the_published_ones(self) -> None:
        assert make_levels().tolist() == pytest.approx(PUBLISHED, abs=2e-6)

    def test_zero_and_the_ends_are_exact(self) -> None:
        levels = make_levels()
        assert levels[[0, 7, 15]].tolist() == [-1, 0, 1]
        assert (levels.diff() > 0).all()


class TestRoundTrip:
    @pytest.mark.parametrize("shape", [(64,), (3, 5), (100, 70), (40, 3, 5, 5), (300, 64)])
    def test_no_weight_is_further_off_than_half_a_step_and_its_scales_error(
        self, shape: tuple[int, ...]
    ) -> None:
        weight = noise(*shape)
        packed = quantise(weight)
        found = packed.restore()
        assert found.shape == weight.shape
        assert found.dtype == torch.float32
        largest = nn.functional.pad(weight.flatten(), (0, -weight.numel() % 64)).view(-1, 64)
        largest = largest.abs().amax(1)
        wrong = (packed.restore_scales() - largest).abs()
        assert (wrong <= packed.steps.max() / 2 * 1.001).all()  # half a whole number
        gap = make_levels().diff().max() / 2
        bound = (gap * largest + wrong).repeat_interleave(64)[: weight.numel()]
        assert ((found - weight).flatten().abs() <= bound + 1e-6).all()

    def test_the_error_of_normal_weights_is_a_tenth_of_their_deviation(self) -> None:
        weight = noise(512, 256)
        error = (quantise(weight).restore() - weight).std() / weight.std()
        assert 0.085 < float(error) < 0.1

    def test_evenly_spaced_levels_would_be_worse(self) -> None:
        weight = noise(512, 256).view(-1, 64)
        largest = weight.abs().amax(1, keepdim=True)
        even = (weight / largest * 7.5 - 0.5).round() / 7.5 + 0.5 / 7.5
        errors = [(even * largest - weight).std(), (quantise(weight).restore() - weight).std()]
        assert errors[1] < 0.95 * errors[0]

    def test_zeros_and_what_lies_on_a_level_come_back(self) -> None:
        assert not quantise(torch.zeros(3, 50)).restore().any()
        weight = make_levels().repeat(8).view(2, 64) * 0.3
        assert torch.allclose(quantise(weight).restore(), weight, atol=1e-6)

    def test_two_codes_share_a_byte_the_first_above(self) -> None:
        weight = torch.zeros(64)
        weight[:3] = torch.tensor([1.0, -1.0, 0.5626])
        assert quantise(weight).codes[:2].tolist() == [15 << 4 | 0, 13 << 4 | 7]

    @pytest.mark.parametrize("bad", [torch.tensor([1.0, float("nan")]), torch.ones(0, 3)])
    def test_what_cannot_be_quantised_is_one_sentence(self, bad: Tensor) -> None:
        with pytest.raises(ValueError, match="all of them finite"):
            quantise(bad)


class TestAgainstBitsandbytes:
    """The library that the authors keep."""

    def test_every_code_is_the_same(self) -> None:
        from bitsandbytes import functional

        weight = noise(96, 128) * 0.05
        theirs, state = functional.quantize_4bit(
            weight, blocksize=64, quant_type="nf4", compress_statistics=False
        )
        assert torch.equal(quantise(weight).codes, theirs.flatten())
        assert torch.allclose(state.code, make_levels(), atol=2e-6)

    @pytest.mark.parametrize("heavy_tails", [False, True])
    def test_scales_of_whole_numbers_cost_less_than_a_fiftieth(self, heavy_tails: bool) -> None:
        from bitsandbytes import functional

        weight = noise(256, 384)
        if heavy_tails:  # some blocks of a trained layer have a weight far larger than the rest
            weight.view(-1, 64)[::50, 0] = 20.0
        packed, state = functional.quantize_4bit(
            weight, blocksize=64, quant_type="nf4", compress_statistics=True
        )
        theirs = functional.dequantize_4bit(packed, state)
        ours = quantise(weight).restore()
        assert (ours - weight).norm() < 1.02 * (theirs - weight).norm()


class TestBytes:
    def test_are_half_a_byte_a_weight_and_a_scale_of_a_byte_for_64(self) -> None:
        packed = quantise(noise(1_024, 256))
        assert packed.bytes / (1_024 * 256) * 8 == pytest.approx(4 + 8 / 64 + 32 / 64 / 256, 1e-3)
        assert {part: getattr(packed, part).dtype for part in ("codes", "scales", "steps")} == {
            "codes": torch.uint8, "scales": torch.int8, "steps": torch.float32,
        }  # fmt: skip

    def test_of_a_layer_are_those_of_its_packed_weight_and_its_bias(self) -> None:
        layer = QuantisedLinear(nn.Linear(256, 128))
        assert sum(b.nbytes for b in layer.buffers()) == layer.packed.bytes + 4 * 128
        assert not list(layer.parameters())
        assert isinstance(layer.packed, Packed)


class TestLayer:
    def test_computes_what_a_plain_layer_with_the_restored_weight_does(self) -> None:
        plain = nn.Linear(96, 40)
        layer = QuantisedLinear(plain)
        inputs = noise(5, 7, 96).requires_grad_()
        twin = layer.to_linear()
        assert torch.equal(twin.weight, layer.weight)
        assert not torch.equal(twin.weight, plain.weight)
        for outputs in (layer(inputs), twin(inputs)):
            (gradient,) = torch.autograd.grad(outputs.square().sum(), inputs)
            assert outputs.shape == (5, 7, 40)
            assert torch.allclose(outputs, twin(inputs), atol=1e-5)
            expected = 2 * twin(inputs) @ twin.weight
            assert torch.allclose(gradient, expected, rtol=1e-4, atol=1e-4)

    def test_without_a_bias_and_in_half_precision(self) -> None:
        layer = QuantisedLinear(nn.Linear(64, 8, bias=False, dtype=torch.bfloat16))
        assert layer.weight.dtype == torch.bfloat16
        assert layer(noise(2, 64).bfloat16()).dtype == torch.bfloat16
        with torch.autocast("cpu", torch.bfloat16):
            mixed = QuantisedLinear(nn.Linear(64, 8))(noise(2, 64).requires_grad_())
        mixed.float().sum().backward()

    def test_keeps_no_restored_weight_between_the_passes(self) -> None:
        layer, kept = QuantisedLinear(nn.Linear(64, 64)), []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):  # type: ignore[func-returns-value]
            layer(noise(2, 64).requires_grad_())
        assert kept == []


class TestModel:
    @pytest.fixture
    def model(self) -> nn.Module:
        return quantise_layers(build_model("vit", seed=1, depth=2), "blocks")

    def test_the_named_layers_are_quantised_and_the_head_never(self, model: nn.Module) -> None:
        kinds = {name for name, part in model.named_modules() if isinstance(part, QuantisedLinear)}
        assert len(kinds) == 2 * 4
        assert all(name.startswith("blocks.") for name in kinds)
        everything = quantise_layers(build_model("mlp"))
        assert isinstance(everything.get_submodule("hidden"), QuantisedLinear)
        assert isinstance(everything.get_submodule("output"), nn.Linear)

    @pytest.mark.parametrize("names", [("conv1",), ("blocks.9",), ()])
    def test_where_there_is_nothing_to_quantise_it_says_so(self, names: tuple[str, ...]) -> None:
        with pytest.raises(ValueError, match=r"no linear layer in .* that could be quantised"):
            quantise_layers(build_model("linear"), *names)

    def test_gradients_reach_lora_and_not_the_base(
        self, model: nn.Module, small_sets: tuple[DigitSet, DigitSet]
    ) -> None:
        before = state_of(add_lora(model, rank=2, names=["blocks"], seed=1))
        config = TrainConfig(epochs=1, batch_size=20, learning_rate=0.01, weight_decay=0.1)
        train_epoch(start_training(model, small_sets[0].subset(slice(0, 100)), config))
        moved = changed(before, model)
        adapters = {f"{name}.{key}" for name, _ in lora_layers(model) for key in ("a", "b")}
        assert len(adapters) == 2 * 2 * 4
        assert moved == adapters | {"output.weight", "output.bias"} == learning(model)

    def test_a_change_is_a_second_path(self) -> None:
        base = QuantisedLinear(nn.Linear(64, 20))
        layer = LoRALayer(base, 3, 6.0, torch.Generator().manual_seed(0))
        inputs = noise(4, 64)
        assert torch.equal(layer(inputs), base(inputs))
        nn.init.normal_(layer.b)
        expected = inputs @ (base.weight + layer.change()).T + base.get_buffer("bias")
        assert torch.allclose(layer(inputs), expected, atol=1e-4)

    def test_is_not_merged_in_four_bits_but_stripped_into_a_plain_network(
        self, model: nn.Module
    ) -> None:
        add_lora(model, rank=2, names=["blocks"])
        (_, first), *_ = lora_layers(model)
        nn.init.normal_(first.b)
        with pytest.raises(ValueError, match="cannot be added to a weight of four bits"):
            first.merge()
        plain = strip_lora(model)
        assert plain.state_dict().keys() == build_model("vit", depth=2).state_dict().keys()
        images = noise(3, 1, 28, 28)
        assert torch.allclose(plain(images), model(images), atol=1e-4)
        assert not torch.allclose(strip_lora(model, keep_changes=False)(images), plain(images))

    def test_changes_are_saved_and_belong_to_that_base_alone(
        self, model: nn.Module, tmp_path: object
    ) -> None:
        folder = str(tmp_path)
        base, other = copy.deepcopy(model), build_model("vit", seed=1, depth=2)
        for _, layer in lora_layers(add_lora(model, rank=2, names=["blocks"])):
            nn.init.normal_(layer.b)
        save_lora(folder, model)
        assert hash_base(model) == hash_base(base) != hash_base(other)
        images = noise(3, 1, 28, 28)
        assert torch.equal(load_lora(folder, base)(images), model(images))
        with pytest.raises(CheckpointError, match="trained on another base"):
            load_lora(folder, other)
