"""The pages' network: written only if it reads well enough, with digits to forget beside it."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

from book import recogniser
from mnist_lab.data.mnist import MNIST, load_mnist
from mnist_lab.data.splits import split
from mnist_lab.models.registry import build_model
from mnist_lab.training.cards import ModelCard
from mnist_lab.training.checkpoints import load_checkpoint
from mnist_lab.training.recipes import PAGES


def pretend(monkeypatch: pytest.MonkeyPatch, accuracy: float) -> dict[str, Any]:
    """Let training take no time and end with `accuracy`; return what it was asked for."""
    asked: dict[str, Any] = {}

    def fit(name: str, train: Any, validation: Any, config: Any, **options: Any) -> Any:
        asked.update(name=name, train=train, validation=validation, config=config, **options)
        best = SimpleNamespace(validation=SimpleNamespace(accuracy=accuracy))
        model = build_model(name, seed=0, **options["arguments"])
        card = ModelCard.of(model, training={"epochs": 7})
        return SimpleNamespace(best=best, model=model.eval(), card=card)

    monkeypatch.setattr(recogniser, "fit", fit)
    return asked


def test_a_network_that_reads_too_little_is_not_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pretend(monkeypatch, 0.9918)
    with pytest.raises(SystemExit, match=r"99\.18%.*needs 99\.2%"):
        recogniser.main(tmp_path / "new" / "network.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_it_is_chosen_on_validation_data_and_fits_a_page(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = pretend(monkeypatch, 0.9935)
    assert recogniser.main(tmp_path / "new" / "network.safetensors") == 0.9935
    assert (len(asked["train"]), len(asked["validation"])) == (55_000, 5_000)
    train, validation = split(load_mnist().train, seed=0)
    assert np.array_equal(asked["validation"].images, validation.images)
    assert np.array_equal(asked["train"].images, train.images)
    assert asked["config"] == PAGES.config
    assert asked["config"].upstrokes == 0.3
    written = tmp_path / "new" / "network.safetensors"
    assert written.stat().st_size < 130_000
    with safe_open(written, "pt") as file:
        assert json.loads(file.metadata()["card"])["format"] == "mnist-lab web 1"


def test_the_command_line_reads_with_the_same_network(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pretend(monkeypatch, 0.9935)
    recogniser.main(tmp_path / "network.safetensors")
    model, card = load_checkpoint(tmp_path)
    assert card.training == {"epochs": 7}
    with safe_open(tmp_path / "network.safetensors", "pt") as file:
        page = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    weights = model.state_dict()
    assert {"conv1.weight", "output.bias"} < page.keys() < weights.keys()
    assert all(torch.equal(weights[key], tensor) for key, tensor in page.items())


def test_the_digits_to_forget_are_validation_digits(mnist: MNIST) -> None:
    _, validation = split(mnist.train, seed=0)
    content = recogniser.picture_of(validation)
    assert len(content) < 30_000
    with Image.open(io.BytesIO(content)) as picture:
        sheet = np.asarray(picture.convert("L")).astype(int)
    assert sheet.shape == (560, 280)
    for label in range(10):
        column = sheet[:, label * 28 : (label + 1) * 28].reshape(20, 28, 28)
        originals = validation.images[validation.labels == label][:20]
        assert np.abs(column - originals).max() <= 8  # half of one of 16 shades
