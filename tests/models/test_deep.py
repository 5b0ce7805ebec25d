"""The deep perceptron: what chapter 7 writes, and what its switches change."""

from __future__ import annotations

import ast
import math
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mnist_lab.models.architecture import count_parameters
from mnist_lab.models.deep import DeepMLP, draw_weights, gradient_norms
from mnist_lab.models.registry import build_model
from mnist_lab.models.seeding import drawn_from

PLAIN = {"norm": False, "residual": False}
FORMS = [{}, {"norm": True}, {"residual": True}, {"norm": True, "residual": True}]
CHAPTER = next((Path(__file__).parents[2] / "notebooks").glob("ch07_*.ipynb"))


def build(seed: int, **arguments: Any) -> DeepMLP:
    """Return a network that is plain unless it is told otherwise."""
    model = build_model("deep_mlp", seed=seed, **(PLAIN | arguments))
    assert isinstance(model, DeepMLP)
    return model


@pytest.fixture(scope="module")
def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(20, 1, 28, 28, generator=generator)
    return images, torch.randint(10, (20,), generator=generator)


@pytest.fixture(scope="module")
def chapter(batch: tuple[Tensor, Tensor]) -> dict[str, Any]:
    """What chapter 7 defines, without its data and its training."""
    scope: dict[str, Any] = {"images": batch[0], "labels": batch[1], "SEED": 0}
    scope |= {"math": math, "np": np, "torch": torch, "F": F, "nn": nn, "drawn_from": drawn_from}
    for cell in nbformat.read(CHAPTER, as_version=4).cells[2:]:
        if cell.cell_type == "code":
            for node in ast.parse(cell.source).body:
                if getattr(node, "name", "") in {"DeepMLP", "make", "start", "gradient_norms"}:
                    exec(compile(ast.Module([node], []), "chapter", "exec"), scope)
    return scope


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_is_what_the_chapter_writes(
    form: dict[str, bool], chapter: dict[str, Any], batch: tuple[Tensor, Tensor]
) -> None:
    images, _ = batch
    for depth in (3, 20):
        theirs = chapter["start"](chapter["make"](5, depth=depth, **form), 2, 6)
        ours = draw_weights(build(5, depth=depth, **form), 2, 6)
        assert torch.equal(ours(images), theirs(images))
        np.testing.assert_allclose(
            gradient_norms(ours, *batch), chapter["gradient_norms"](theirs), rtol=1e-6
        )


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_has_as_many_parameters_as_paper_says(form: dict[str, bool]) -> None:
    depth, width = 7, 16
    expected = (784 + 1) * width + (depth - 1) * (width + 1) * width + (width + 1) * 10
    expected += (depth - 1) * 2 * width if form.get("norm") else 0
    assert count_parameters(build(0, depth=depth, width=width, **form)) == expected


def test_weights_come_from_the_seed_alone() -> None:
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    networks = [build(seed, depth=3) for seed in (4, 4, 5)]
    assert torch.equal(torch.random.get_rng_state(), state)
    first, same, other = (network.first.weight for network in networks)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_drawn_weights_have_the_variance_asked_for() -> None:
    network = build(0, depth=3, width=500)
    output = network.output.weight.clone()
    assert draw_weights(network, 1.5, seed=1) is network
    for layer in (network.first, *network.hidden):
        assert isinstance(layer, nn.Linear)
        assert layer.weight.var().item() * layer.in_features == pytest.approx(1.5, rel=0.02)
        assert not layer.bias.any()
    assert torch.equal(network.output.weight, output)


def test_gradient_norms_are_those_of_autograd(batch: tuple[Tensor, Tensor]) -> None:
    images, labels = batch
    network = build(0, depth=4, residual=True)
    found = gradient_norms(network, images, labels)
    assert np.array_equal(gradient_norms(network, images, labels), found)  # nothing adds up
    weights = [part.weight for part in network.modules() if isinstance(part, nn.Linear)]
    gradients = torch.autograd.grad(F.cross_entropy(network(images), labels), weights)
    expected = [gradient.square().sum().sqrt().item() for gradient in gradients]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_block_of_zeros_adds_nothing(batch: tuple[Tensor, Tensor]) -> None:
    network = build(0, depth=6, residual=True)
    for layer in network.hidden:
        assert isinstance(layer, nn.Linear)
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    images = batch[0]
    expected = network.output(F.relu(network.first(images.flatten(1))))
    assert torch.equal(network(images), expected)


def test_residual_connections_bound_the_variance_at_any_depth(batch: tuple[Tensor, Tensor]) -> None:
    """Blocks that each keep the mean square multiply it together by about e, however many."""
    images = batch[0]

    def growth(seed: int) -> float:
        network = draw_weights(build(0, depth=100, residual=True), 2, seed)
        features: list[Tensor] = []
        network.dropout.register_forward_pre_hook(lambda _, entering: features.append(entering[0]))
        network(images)
        before = F.relu(network.first(images.flatten(1))).square().mean()
        return math.log(features[0].square().mean().item() / before.item())

    assert np.mean([growth(seed) for seed in range(10)]) == pytest.approx(1, abs=0.2)


def test_dropout_is_off_in_eval_mode(batch: tuple[Tensor, Tensor]) -> None:
    images = batch[0]
    dropped, whole = (build(0, depth=3, dropout=p) for p in (0.5, 0.0))
    assert not torch.equal(dropped(images), whole(images))
    assert torch.equal(dropped.eval()(images), whole.eval()(images))
