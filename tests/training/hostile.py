"""Checkpoints as nobody's program writes them: for the tests of everything that reads one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from mnist_lab.models.registry import build_model
from mnist_lab.training.cards import ModelCard

Weights = dict[str, Tensor]
Card = dict[str, Any]
ARGUMENTS = {"width": 2}


def put(folder: Path, weights: Mapping[str, Tensor] | bytes, card: Mapping[str, Any]) -> None:
    """Write weights and card as a checkpoint, whatever they are, with the digest that fits."""
    content = weights if isinstance(weights, bytes) else safetensors.torch.save(dict(weights))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "weights.safetensors").write_bytes(content)
    record = {
        "format": "mnist-lab checkpoint",
        "format_version": 1,
        "weights": "weights.safetensors",
        "weights_sha256": hashlib.sha256(content).hexdigest(),
        "card": card,
    }
    (folder / "model.json").write_text(json.dumps(record))


def put_small_cnn(folder: Path, change: Callable[[Weights, Card], object]) -> None:
    """Write a small CNN of which something was changed."""
    model = build_model("small_cnn", **ARGUMENTS)
    weights: Weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    card = ModelCard.of(model).to_json()
    change(weights, card)
    put(folder, weights, card)


def put_arguments(folder: Path, name: str, arguments: Mapping[str, Any]) -> None:
    """Write a small CNN whose card says that it is something else, perhaps something huge."""
    put_small_cnn(folder, lambda _, card: card.update(model=name, arguments=arguments))


def fill(name: str, value: float) -> Callable[[Weights, Card], object]:
    return lambda weights, _: weights[name].fill_(value)


def spoil_one(name: str, value: float) -> Callable[[Weights, Card], object]:
    def change(weights: Weights, _: Card) -> None:
        weights[name].view(-1)[-1] = value

    return change


def retype(name: str, kind: torch.dtype) -> Callable[[Weights, Card], object]:
    return lambda weights, _: weights.update({name: weights[name].to(kind)})


def enlarge(weights: Weights, _: Card) -> None:
    """Make a diverged run's weights: each is finite, no answer is."""
    for tensor in weights.values():
        if tensor.is_floating_point():
            tensor.mul_(1e30)


def say(**entries: Any) -> Callable[[Weights, Card], object]:
    return lambda _, card: card.update(entries)


def normalise(mean: Any, deviation: Any) -> Callable[[Weights, Card], object]:
    return say(normalisation={"mean": mean, "deviation": deviation})


def double_out_of_range(weights: Weights, _: Card) -> None:
    """Put in what float32 cannot hold; a ReLU would take it away."""
    weights["norm3.bias"] = weights["norm3.bias"].double().fill_(-1e300)


# Weights that a network cannot compute with.
SPOILT: dict[str, Callable[[Weights, Card], object]] = {
    "one NaN": spoil_one("conv2.weight", float("nan")),
    "one infinity": spoil_one("output.bias", float("inf")),
    "a NaN mean": spoil_one("norm2.running_mean", float("nan")),
    "a negative variance": spoil_one("norm1.running_var", -0.5),
    # These two do not show in the answers: batch norm adds a little, and a ReLU takes all away.
    "a variance slightly below 0": spoil_one("norm1.running_var", -1e-6),
    "an infinity behind a ReLU": spoil_one("norm3.bias", float("-inf")),
    "huge": fill("output.weight", 3e38),
    "huge and negative": fill("conv1.weight", -3e38),
    "diverged": enlarge,
    "float64 beyond float32": double_out_of_range,
    **{
        f"{kind} weights": retype("conv1.weight", kind)
        for kind in (torch.int8, torch.uint8, torch.int64, torch.bool, torch.complex64)
    },
    "float8 weights": retype("conv1.weight", torch.float8_e4m3fn),
    "a count in float32": retype("norm1.num_batches_tracked", torch.float32),
    "a count in int32": retype("norm1.num_batches_tracked", torch.int32),
}

# Cards that contradict their network or themselves.
CONTRADICTING: dict[str, Callable[[Weights, Card], object]] = {
    "fewer names": say(class_names=list("012345678")),
    "more names": say(class_names=list("0123456789a")),
    "no names": say(class_names=[]),
    "two alike": say(class_names=list("0123456788")),
    "an empty name": say(class_names=["", *"123456789"]),
    "numbers for names": say(class_names=list(range(10))),
    "names in names": say(class_names=[["0"], *"123456789"]),
    "a text for names": say(class_names="0123456789"),
    "null for names": say(class_names=None),
    **{
        f"training {value!r}": say(training=value)
        for value in (None, [], 3, "long", True, [{"head": "untrained"}])
    },
    **{
        f"size {size!r:.30}": say(input_size=size)
        for size in (
            [0, 0],
            [-1, 5],
            [10**9, 10**9],
            [28, 10**400],
            [20, 20],
            [14, 56],
            [32, 32],
            [28],
            [28, 28, 1],
            [28.0, 28.0],
            ["28", "28"],
            [True, True],
            None,
            28,
            "28",
            {"height": 28, "width": 28},
        )
    },
    **{
        f"mean {mean!r:.20} deviation {deviation!r:.20}": normalise(mean, deviation)
        for mean, deviation in (
            (0.1, 1e-320),
            (0.1, 1e-42),
            (1e308, 0.3),
            (1e30, 1.0),
            (0.0, 1e300),
            (0.1, 0),
            (0.1, -1),
            (10**400, 0.3),
            (0.1, 10**400),
            ("0.1", 0.3),
            (None, 0.3),
            (True, 0.3),
            ([0.1], 0.3),
        )
    },
    "normalisation of three": say(normalisation={"mean": 0, "deviation": 1, "gamma": 2}),
    "normalisation without mean": say(normalisation={"deviation": 1}),
    "a number for normalisation": say(normalisation=0.3),
    "arguments null": say(arguments=None),
    "arguments a list": say(arguments=[]),
    "an unknown argument": say(arguments={"width": 2, "depth": 1}),
    "the seed as an argument": say(arguments={"width": 2, "name": "mlp"}),
    "a model of another type": say(model=["small_cnn"]),
    "a model in a mapping": say(model={}),
    "no model": say(model=None),
    "another model": say(model="linear", arguments={}),
    "an unknown model": say(model="x" * 10_000),
}

# Networks that would never be built, or take all memory.
HUGE: list[tuple[str, dict[str, Any]]] = [
    ("vit", {"depth": 10**9}),
    ("vit", {"width": 10**9, "heads": 1}),
    ("vit", {"expansion": 10**12}),
    ("deep_mlp", {"depth": 10**9}),
    ("deep_mlp", {"depth": 10**6, "width": 1}),
    ("deep_mlp", {"depth": 10**400}),
    ("resnet", {"depth": 10**9, "width": 1}),
    ("resnet", {"width": 10**7}),
    ("mlp", {"hidden": 2 * 10**6}),
    ("mlp", {"hidden": 10**12}),
    ("mlp", {"hidden": 10**18}),
    ("mlp", {"hidden": 10**400}),
    ("lstm", {"width": 10**8}),
    ("small_cnn", {"width": 10**6}),
    ("linear", {"classes": 10**12}),
    ("article_000", {"classes": 10**12}),
    ("efficientnet_lite0", {"input_size": 10**9}),
    ("efficientnet_lite0", {"classes": 10**12}),
]
