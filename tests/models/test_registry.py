"""One registry: the book's networks, the backbones and a reader's own know what they are."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mnist_lab.models import registry
from mnist_lab.models.architecture import Architecture, architecture_of, note_head
from mnist_lab.models.backbones import BACKBONES
from mnist_lab.models.registry import MODELS, build_model, load_backbone, register


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    before = dict(MODELS)
    yield
    MODELS.clear()
    MODELS.update(before)


def make_class() -> type[nn.Module]:
    class Own(nn.Module):
        def __init__(self, width: int = 3, *, classes: int = 10) -> None:
            super().__init__()
            self.body = nn.Linear(784, width)
            self.output = nn.Linear(width, classes)

        def forward(self, images: Tensor) -> Tensor:
            return self.output(self.body(images.flatten(1)).relu())

    return Own


class TestRegister:
    def test_a_class_of_ones_own_is_built_by_name_from_a_seed(self) -> None:
        register("own", make_class())
        one, same, other = (build_model("own", seed=seed, width=5) for seed in (1, 1, 2))
        assert torch.equal(one.body.weight, same.body.weight)  # type: ignore[union-attr,arg-type]
        assert not torch.equal(one.body.weight, other.body.weight)  # type: ignore[union-attr,arg-type]
        assert architecture_of(one) == Architecture("own", {"width": 5, "classes": 10})

    @pytest.mark.parametrize(
        ("given", "named"), [((), {}), ((4,), {}), ((), {"width": 4}), ((4,), {"classes": 2})]
    )
    def test_an_instance_knows_its_name_and_arguments_however_it_is_made(
        self, given: tuple[int, ...], named: dict[str, int]
    ) -> None:
        own = register("own")(make_class())
        expected = {"width": 3, "classes": 10} | dict(zip(("width",), given, strict=False)) | named
        assert architecture_of(own(*given, **named)) == Architecture("own", expected)

    def test_a_function_may_build_it(self) -> None:
        def two_layers(width: int, classes: int = 10) -> nn.Module:
            return nn.Sequential(nn.Flatten(), nn.Linear(784, width), nn.Linear(width, classes))

        register("two_layers", two_layers)
        known = architecture_of(build_model("two_layers", width=4))
        assert str(known) == "two_layers(width=4, classes=10)"

    def test_what_inherits_from_a_registered_class_is_another_network(self) -> None:
        own = register("own", make_class())

        class Larger(own):  # type: ignore[valid-type,misc]
            pass

        assert architecture_of(Larger()) is None
        register("larger", Larger)
        known = architecture_of(Larger(7))
        assert known is not None
        assert (known.name, known.arguments["width"]) == ("larger", 7)

    def test_a_name_is_taken_once_but_a_cell_may_run_again(self) -> None:
        register("own", make_class())
        register("own", make_class())  # the same cell: a new class of the same name and place
        with pytest.raises(ValueError, match="another network called 'mlp' already"):
            register("mlp", make_class())
        assert MODELS["mlp"] is registry.MLP

    def test_an_unknown_name_or_argument_is_a_sentence(self) -> None:
        with pytest.raises(ValueError, match=r"^No model 'own'; there are article_000, .*vit\.$"):
            build_model("own")
        register("own", make_class())
        with pytest.raises(ValueError, match=r"^own cannot be built with {'depth': 2}: .*depth"):
            build_model("own", depth=2)


class TestArchitecture:
    @pytest.mark.parametrize("name", sorted(MODELS))
    def test_every_model_of_the_book_records_all_that_its_builder_takes(self, name: str) -> None:
        model = build_model(name)
        known = architecture_of(model)
        assert known is not None
        assert known.name == name
        assert set(known.arguments) == set(inspect.signature(MODELS[name]).parameters)
        assert "classes" in known.arguments  # so that its head can be replaced
        assert architecture_of(copy.deepcopy(model)) == known

    @pytest.mark.parametrize("name", sorted(MODELS))
    def test_can_be_built_again_from_what_it_records(self, name: str) -> None:
        model = build_model(name, seed=3, classes=7)
        known = architecture_of(model)
        assert known is not None
        again = build_model(known.name, seed=3, **known.arguments)
        assert repr(again) == repr(model)
        for key, tensor in again.state_dict().items():
            assert torch.equal(tensor, model.state_dict()[key]), key

    def test_a_new_head_is_noted_or_the_network_is_no_longer_known(self) -> None:
        model = build_model("small_cnn", width=4)
        note_head(model, 5)
        assert architecture_of(model) == Architecture("small_cnn", {"width": 4, "classes": 5})
        register("fixed", lambda: nn.Linear(784, 10))
        fixed = build_model("fixed")
        note_head(fixed, 5)
        assert architecture_of(fixed) is None

    @pytest.mark.parametrize(
        ("name", "argument", "value"),
        [
            ("vit", "heads", 8),
            ("article_000", "corrected", True),
            ("resnet", "dropout", 0.5),
            ("efficientnet_lite0", "input_size", 96),
            ("efficientnet_lite0", "dark_ink", False),
            ("efficientnet_lite0", "normalisation", {"mean": 0.0, "deviation": 1.0}),
        ],
    )
    def test_what_no_tensor_shows_is_shown_by_what_it_prints(
        self, name: str, argument: str, value: Any
    ) -> None:
        plain, other = build_model(name), build_model(name, **{argument: value})
        shapes = [{k: v.shape for k, v in m.state_dict().items()} for m in (plain, other)]
        assert shapes[0] == shapes[1]  # nothing else would tell them apart
        assert repr(plain) != repr(other)


class TestBackbones:
    def test_are_in_the_registry(self) -> None:
        assert set(BACKBONES) < set(MODELS)

    def test_come_with_weights_that_a_plain_one_has_not(self) -> None:
        plain = build_model("efficientnet_lite0", seed=1, input_size=32, classes=3)
        loaded = load_backbone("efficientnet_lite0", seed=1, input_size=32, classes=3)
        assert architecture_of(plain) == architecture_of(loaded)
        assert torch.equal(plain.output.weight, loaded.output.weight)  # type: ignore[union-attr,arg-type]
        key = next(key for key in plain.state_dict() if key.startswith("stem"))
        assert not torch.equal(plain.state_dict()[key], loaded.state_dict()[key])

    def test_another_name_is_a_sentence(self) -> None:
        with pytest.raises(ValueError, match=r"^No backbone 'mlp'; there are efficientnet_lite0"):
            load_backbone("mlp")
