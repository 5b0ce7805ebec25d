"""Whole numbers in ONNX Runtime: smaller, nearly the same answers, and where the time goes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mnist_lab.export import ExportError, export_onnx
from mnist_lab.models.registry import build_model
from mnist_lab.serving.int8 import quantise_onnx, time_of_nodes
from mnist_lab.serving.sessions import load_onnx
from mnist_lab.training.cards import ModelCard


def images(count: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(count, 1, 28, 28)).astype(np.float32)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small CNN in float32, with a card that has names of its own."""
    model = build_model("small_cnn", seed=0, width=8)
    card = ModelCard("small_cnn", {"width": 8, "classes": 10}, class_names=tuple("abcdefghij"))
    path = tmp_path_factory.mktemp("int8") / "whole.onnx"
    export_onnx(model, card, path)
    return path


@pytest.mark.parametrize("per_channel", [True, False])
def test_it_is_smaller_and_nearly_the_same(whole: Path, tmp_path: Path, per_channel: bool) -> None:
    quantise_onnx(whole, images(300), tmp_path / "b.onnx", per_channel=per_channel)
    assert (tmp_path / "b.onnx").stat().st_size < 0.7 * whole.stat().st_size
    (one, _), (other, card) = load_onnx(whole), load_onnx(tmp_path / "b.onnx")
    assert card.class_names == tuple("abcdefghij")
    asked = torch.from_numpy(images(50, seed=1))
    expected, found = one(asked), other(asked)
    assert (found - expected).abs().max() < 0.1 * expected.std()
    assert not torch.equal(found, expected)


def test_ranges_come_from_the_images(whole: Path, tmp_path: Path) -> None:
    """What was learnt on faint images cuts off the strong ones."""
    asked = torch.from_numpy(images(50, seed=1))
    expected = load_onnx(whole)[0](asked)
    errors = []
    for factor in (1.0, 0.05):
        quantise_onnx(whole, factor * images(300), tmp_path / f"{factor}.onnx")
        found = load_onnx(tmp_path / f"{factor}.onnx")[0](asked)
        errors.append(float((found - expected).square().mean()))
    assert errors[1] > 10 * errors[0]


def test_what_cannot_be_quantised(whole: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="at least one"):
        quantise_onnx(whole, images(0), tmp_path / "b.onnx")
    (tmp_path / "a.onnx").write_bytes(b"no network")
    with pytest.raises(ExportError, match="cannot be quantised"):
        quantise_onnx(tmp_path / "a.onnx", images(2), tmp_path / "b.onnx")
    with pytest.raises(ExportError, match="cannot compute"):
        time_of_nodes(tmp_path / "a.onnx", images(1))
    assert not (tmp_path / "b.onnx").exists()


def test_the_profile_names_what_computes(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    quantise_onnx(whole, images(20), tmp_path / "b.onnx")
    plain, eight = (time_of_nodes(path, images(2), runs=4) for path in (whole, tmp_path / "b.onnx"))
    assert "Conv" in plain
    assert {"QLinearConv", "QuantizeLinear", "DequantizeLinear"} <= eight.keys()
    for shares in (plain, eight):
        assert sum(shares.values()) == pytest.approx(1)
        assert list(shares.values()) == sorted(shares.values(), reverse=True)
    assert {path.name for path in tmp_path.iterdir()} == {"b.onnx"}  # no profile is left lying
