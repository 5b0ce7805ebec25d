"""The pages' network as built, in every precision: small enough, good enough, one answer anywhere.

A thousand validation digits, and each precision in all that computes it: PyTorch, ONNX Runtime, the
page's JavaScript.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from playwright.sync_api import Page
from torch import Tensor, nn

from mnist_lab.data.digit_set import DigitSet
from mnist_lab.data.mnist import MNIST
from mnist_lab.data.splits import split
from mnist_lab.export import export_onnx, read_web, web_bytes
from mnist_lab.serving.int8 import quantise_onnx
from mnist_lab.serving.sessions import OnnxNetwork, load_onnx
from mnist_lab.training.batches import Batches
from mnist_lab.training.cards import ModelCard
from mnist_lab.training.checkpoints import load_checkpoint
from mnist_lab.training.scoring import evaluate
from tests.browsing import cannot_test
from tests.pages.workbench import read_there

pytestmark = pytest.mark.site

BUILT = Path(__file__).parents[2] / "_build" / "recogniser"
COUNT = 1_000


@pytest.fixture(scope="module")
def built() -> tuple[nn.Module, ModelCard]:
    if not (BUILT / "model.json").is_file():
        cannot_test("The pages' network is not built: run make book first.")
    return load_checkpoint(BUILT)


@pytest.fixture(scope="module")
def parts(mnist: MNIST) -> tuple[DigitSet, DigitSet]:
    return split(mnist.train, seed=0)


@pytest.fixture(scope="module")
def images(parts: tuple[DigitSet, DigitSet]) -> Tensor:
    """A thousand validation digits, normalised."""
    return next(iter(Batches(parts[1].subset(np.arange(COUNT)), COUNT)))[0]


@torch.no_grad()
def answers(network: nn.Module, images: Tensor) -> NDArray[np.int64]:
    found: NDArray[np.int64] = network(images).argmax(1).numpy()
    return found


class TestBudget:
    def test_four_bits_take_sixteen_kilobytes_and_read_nearly_as_well(
        self, built: tuple[nn.Module, ModelCard], parts: tuple[DigitSet, DigitSet]
    ) -> None:
        model, card = built
        content = web_bytes(model, card, bits=4)
        assert len(content) - 8 - int.from_bytes(content[:8], "little") <= 16_000
        held_out = Batches(parts[1])
        whole, small = (evaluate(one, held_out).accuracy for one in (model, read_web(content)[0]))
        assert small >= whole - 0.0015
        assert small >= 0.992


@pytest.mark.parametrize("bits", [None, 8, 4])
def test_python_onnx_runtime_and_the_page_agree_on_every_digit(
    bench: Page,
    built: tuple[nn.Module, ModelCard],
    parts: tuple[DigitSet, DigitSet],
    images: Tensor,
    bits: int | None,
    tmp_path: Path,
) -> None:
    model, card = built
    content = web_bytes(model, card, bits=bits)
    network, _ = read_web(content)
    export_onnx(network, card, tmp_path / "a.onnx")
    expected = answers(network, images)
    there = read_there(bench, content, parts[1].images[:COUNT])
    assert np.array_equal(there.argmax(1), expected)
    assert np.array_equal(answers(load_onnx(tmp_path / "a.onnx")[0], images), expected)
    assert (expected == parts[1].labels[:COUNT]).mean() > 0.98


def test_int8_gives_the_same_digits_however_onnx_runtime_computes_it(
    built: tuple[nn.Module, ModelCard],
    parts: tuple[DigitSet, DigitSet],
    images: Tensor,
    tmp_path: Path,
) -> None:
    """With whole numbers in fused kernels, and node by node in floats, as the file says it."""
    import onnxruntime

    model, card = built
    export_onnx(model, card, tmp_path / "a.onnx")
    calibration = next(iter(Batches(parts[0].subset(np.arange(500)), 500)))[0].numpy()
    quantise_onnx(tmp_path / "a.onnx", calibration, tmp_path / "b.onnx")
    fused = answers(load_onnx(tmp_path / "b.onnx")[0], images)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    plain = OnnxNetwork((tmp_path / "b.onnx").read_bytes())
    plain.session = onnxruntime.InferenceSession(
        (tmp_path / "b.onnx").read_bytes(), options, providers=["CPUExecutionProvider"]
    )
    assert np.array_equal(answers(plain, images), fused)
    assert (fused == parts[1].labels[:COUNT]).mean() > 0.98
