"""Damage drawn at random: a checkpoint is loaded, or refused in one sentence, and nothing else."""

from __future__ import annotations

import json
import random
import struct
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from mnist_lab.models.registry import build_model
from mnist_lab.training.cards import ModelCard
from mnist_lab.training.checkpoints import load_checkpoint
from mnist_lab.training.tensor_folders import CheckpointError
from tests.training.hostile import put

NETWORKS: dict[str, dict[str, Any]] = {
    "linear": {},
    "small_cnn": {"width": 2},
    "mlp": {"hidden": 8},
    "deep_mlp": {"depth": 3, "width": 8},
    "resnet": {"width": 2, "depth": 1},
    "lstm": {"width": 4},
    "vit": {"width": 8, "depth": 1, "heads": 2},
}
VALUES: list[Any] = [
    *(None, True, False, 0, -1, 1, 2, 0.5, 1e308, -1e308, 1e-320, 10**9, 10**20, 10**400),
    *("", "x", "é\ud800", "a\n\x1b[2J", "28", [], [1], [[]], [28, 28], [1_024] * 2, {}, {"a": 1}),
]
KEYS = ["seed", "name", "classes", "depth", "width", "heads", "patch", "hidden", "dtype", "more"]


def damage(value: Any, draw: random.Random) -> Any:
    """Return JSON of which one thing, somewhere, is missing, more, or something else."""
    if isinstance(value, dict) and value and draw.random() < 0.85:
        key, kept = draw.choice(list(value)), dict(value)
        way = draw.random()
        if way < 0.1:
            del kept[key]
        elif way < 0.25:
            kept[draw.choice(KEYS)] = draw.choice(VALUES)
        else:
            kept[key] = damage(value[key], draw)
        return kept
    if isinstance(value, list) and value and draw.random() < 0.6:
        index, items = draw.randrange(len(value)), list(value)
        way = draw.random()
        if way < 0.2:
            del items[index]
        elif way < 0.4:
            items.append(draw.choice(VALUES))
        else:
            items[index] = damage(value[index], draw)
        return items
    return draw.choice(VALUES)


def damage_file(content: bytes, draw: random.Random) -> bytes:
    """Return a file of tensors with another header, other bytes, or an earlier end."""
    way = draw.random()
    if way < 0.4:
        return content
    if way < 0.7:
        (length,) = struct.unpack_from("<Q", content)
        header = json.dumps(damage(json.loads(content[8 : 8 + length]), draw)).encode()
        return struct.pack("<Q", len(header)) + header + content[8 + length :]
    if way < 0.95:
        changed = bytearray(content)
        for _ in range(draw.randint(1, 5)):
            most = len(content) if draw.random() < 0.5 else min(len(content), 800)
            changed[draw.randrange(most)] = draw.randrange(256)
        return bytes(changed)
    return content[: draw.randrange(len(content))]


@pytest.mark.parametrize("seed", range(3))
def test_is_loaded_or_refused_in_one_sentence(seed: int, tmp_path: Path) -> None:
    draw, found = random.Random(seed), Counter[str]()
    images = torch.rand(4, 1, 28, 28, generator=torch.Generator().manual_seed(seed))
    models = [build_model(name, **arguments) for name, arguments in NETWORKS.items()]
    for _ in range(200):
        model = draw.choice(models)
        card = json.loads(json.dumps(ModelCard.of(model).to_json()))
        for _ in range(draw.choice([0, 1, 1, 2])):
            card = damage(card, draw)
        put(tmp_path, damage_file(safetensors.torch.save(model.state_dict()), draw), card)
        try:
            loaded, card = load_checkpoint(tmp_path)
        except CheckpointError as error:
            message = str(error)
            assert message.isprintable(), message
            assert message.endswith("."), message
            assert not message.endswith(".."), message
            assert len(message) < 1_500, message
            found["refused"] += 1
        else:
            assert loaded(images).shape == (4, len(card.class_names))
            found["loaded"] += 1
    assert min(found["refused"], found["loaded"]) > 10
