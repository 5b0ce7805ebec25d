"""Saved changes that are damaged, spoilt or huge: a sentence, and the base is what it was."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from mnist_lab.data.normalisation import Normalisation
from mnist_lab.finetuning.lora import add_lora, load_lora, lora_layers, save_lora
from mnist_lab.models.registry import build_model
from mnist_lab.training.cards import ModelCard
from mnist_lab.training.tensor_folders import CheckpointError

Change = Callable[[dict[str, Tensor], dict[str, Any]], object]


def base() -> nn.Module:
    return build_model("small_cnn", width=2, seed=1)


def refill(name: str, value: float) -> Change:
    return lambda tensors, _: tensors[name].fill_(value)


def retype(name: str, kind: torch.dtype) -> Change:
    return lambda tensors, _: tensors.update({name: tensors[name].to(kind)})


def reshape(name: str, *shape: int) -> Change:
    return lambda tensors, _: tensors.update({name: torch.zeros(shape)})


def put_scale(name: str, value: Any) -> Change:
    return lambda _, record: record["scales"].update({name: value})


def enlarge(tensors: dict[str, Tensor], _: dict[str, Any]) -> None:
    """Make numbers of which each is finite, and no product is."""
    for tensor in tensors.values():
        tensor.fill_(1e30)


HOSTILE: dict[str, Change] = {
    "a NaN": refill("conv1.a", float("nan")),
    "an infinity in the head": refill("output.bias", float("inf")),
    "products that overflow": enlarge,
    "a huge head": refill("output.weight", 3e38),
    "int8": retype("conv2.b", torch.int8),
    "bool": retype("conv2.b", torch.bool),
    "complex": retype("conv2.b", torch.complex64),
    "float8": retype("conv2.b", torch.float8_e5m2),
    "int64 head": retype("output.weight", torch.int64),
    "no a": lambda tensors, _: tensors.pop("conv1.a"),
    "no head's bias": lambda tensors, _: tensors.pop("output.bias"),
    "one more": lambda tensors, _: tensors.update(other=torch.zeros(1)),
    "weights of the base": lambda tensors, _: tensors.update({"conv1.weight": torch.zeros(1)}),
    "another shape": reshape("conv1.b", 3, 2),
    "a number for a matrix": reshape("conv1.a"),
    "rank 0": reshape("conv1.a", 0, 25),
    "a huge rank": reshape("conv1.a", 10**6, 25),
    **{
        f"scale {name}": put_scale("conv1", value)
        for name, value in {
            "text": "1.0",
            "null": None,
            "true": True,
            "list": [1.0],
            "400 digits": 10**400,
            "300 digits": 10**300,
            "1e308": 1e308,
        }.items()
    },
    "scales are a list": lambda _, record: record.update(scales=[1.0]),
    "scales are null": lambda _, record: record.update(scales=None),
    "no scales": lambda _, record: record.update(scales={}),
    "scales are missing": lambda _, record: record.pop("scales"),
    "a layer that there is not": put_scale("conv9", 1.0),
    "a layer of another kind": put_scale("norm1", 1.0),
    "the head as a layer": put_scale("output", 1.0),
    "the whole network as a layer": put_scale("", 1.0),
    "a name without end": put_scale("x" * 9_000, 1.0),
    "another base": lambda _, record: record.update(base_sha256="0" * 64),
    "a digest to clear a terminal": lambda _, record: record.update(base_sha256="\x1b[2J\n"),
    "a base of long names": lambda _, record: record.update(base={"x" * 9_000: "y" * 9_000}),
    "a base that is a number": lambda _, record: record.update(base=5, base_sha256=5),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_is_refused_in_one_sentence_and_leaves_the_base_as_it_was(
    what: str, tmp_path: Path
) -> None:
    save_lora(tmp_path, add_lora(base(), rank=2))
    path = tmp_path / "lora.json"
    record = json.loads(path.read_text())
    weights = tmp_path / record["weights"]
    tensors = safetensors.torch.load(weights.read_bytes())
    HOSTILE[what](tensors, record)
    content = safetensors.torch.save(tensors)
    weights.write_bytes(content)
    path.write_text(json.dumps({**record, "weights_sha256": hashlib.sha256(content).hexdigest()}))

    model = base()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(CheckpointError) as caught:
        load_lora(tmp_path, model)
    message = str(caught.value)
    assert str(tmp_path) in message
    assert message.endswith(".")
    assert not message.endswith("..")
    assert message.isprintable()
    assert len(message) < 900
    assert not list(lora_layers(model))
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(torch.equal(before[name], now) for name, now in model.state_dict().items())


def test_the_two_images_are_those_of_the_bases_card(tmp_path: Path) -> None:
    save_lora(tmp_path, add_lora(base(), rank=2))
    card = ModelCard.of(base(), normalisation=Normalisation(0.1, 1e-45))
    with pytest.raises(CheckpointError, match=r"paper is -?\w+ and ink is \w+\.$"):
        load_lora(tmp_path, base(), card=card)
    sizes = ModelCard.of(base(), input_size=(20, 20))
    with pytest.raises(CheckpointError, match="reads no images of 20x20 pixels"):
        load_lora(tmp_path, base(), card=sizes)
    assert list(lora_layers(load_lora(tmp_path, base())))
