"""A network in ONNX Runtime answers as it does in PyTorch, and brings its card."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mnist_lab.data.mnist import MNIST
from mnist_lab.export import ExportError, export_onnx
from mnist_lab.handwriting.reader import Reader, load_reader
from mnist_lab.models.registry import build_model
from mnist_lab.serving.sessions import OnnxNetwork, load_onnx, load_served
from mnist_lab.training.cards import ModelCard
from mnist_lab.training.checkpoints import save_checkpoint
from mnist_lab.training.tensor_folders import CheckpointError

NAMES = tuple("abcdefghij")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("served") / "model"
    model = build_model("small_cnn", seed=3, width=4)
    save_checkpoint(place, model, ModelCard.of(model, class_names=NAMES))
    return place


def test_a_checkpoint_is_read_alike_in_both(folder: Path, mnist: MNIST) -> None:
    images = mnist.train.images[:1_000]
    served, plain = load_served(folder), load_reader(folder, device="cpu")
    assert isinstance(served.model, OnnxNetwork)
    assert served.class_names == NAMES
    ours, theirs = plain.logits_of(images).numpy(), served.logits_of(images).numpy()
    assert np.abs(ours - theirs).max() < 1e-4
    assert plain.read(images).names == served.read(images).names


def test_a_file_that_was_exported(folder: Path, tmp_path: Path, mnist: MNIST) -> None:
    plain = load_reader(folder, device="cpu")
    export_onnx(plain.model, plain.card, tmp_path / "a.onnx")
    reader = Reader(*load_onnx(tmp_path / "a.onnx", threads=1))
    assert reader.read(mnist.test.images[:50]).names == plain.read(mnist.test.images[:50]).names


@pytest.mark.parametrize("content", [b"", b"no network", b"\x08\x08" + bytes(200)])
def test_what_is_no_network(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "a.onnx"
    file.write_bytes(content)
    with pytest.raises(ExportError, match=r"^ONNX Runtime cannot compute it: "):
        load_onnx(file)


def test_a_network_of_others_has_no_card(folder: Path, tmp_path: Path) -> None:
    import onnx

    file = tmp_path / "a.onnx"
    plain = load_reader(folder, device="cpu")
    export_onnx(plain.model, plain.card, file)
    proto = onnx.load(file)
    del proto.metadata_props[:]
    onnx.save(proto, file)
    with pytest.raises(ExportError, match=r"carries no card of mnist-lab: .* export DIR --format"):
        load_onnx(file)


def test_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError):
        load_served(tmp_path)
