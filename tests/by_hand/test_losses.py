"""Losses by hand: values and gradients equal to PyTorch's, exact where softmax saturates."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from mnist_lab.by_hand.gradient_checks import gradient_check
from mnist_lab.by_hand.losses import MeanSquaredError, SoftmaxCrossEntropy
from tests.by_hand.comparing import SEEDS, SMALL, drawn, random, relative_error


class TestLosses:
    @drawn
    @given(shape=st.lists(SMALL, min_size=1, max_size=4), seed=SEEDS)
    def test_mean_squared_error(self, shape: list[int], seed: int) -> None:
        predictions, targets = random(seed).normal(size=(2, *shape))
        loss = MeanSquaredError()
        tensor = torch.tensor(predictions, requires_grad=True)
        expected = F.mse_loss(tensor, torch.from_numpy(targets))
        expected.backward()
        value = loss.forward(predictions, targets)
        assert type(value) is float
        assert value == pytest.approx(expected.item(), rel=1e-12)
        assert relative_error(loss.backward(), tensor.grad.numpy()) < 1e-12
        assert gradient_check(
            lambda x: loss.forward(x, targets), loss.backward(), predictions
        ).passed

    @drawn
    @given(n=SMALL, classes=st.integers(1, 6), scale=st.sampled_from([1, 100, 1e4]), seed=SEEDS)
    def test_cross_entropy(self, n: int, classes: int, scale: float, seed: int) -> None:
        logits = random(seed).normal(0, scale, (n, classes))
        labels = random(seed + 1).integers(0, classes, n)
        loss = SoftmaxCrossEntropy()
        tensor = torch.tensor(logits, requires_grad=True)
        expected = F.cross_entropy(tensor, torch.from_numpy(labels))
        expected.backward()
        value = loss.forward(logits, labels)
        assert type(value) is float
        assert value == pytest.approx(expected.item(), rel=1e-12, abs=1e-12)
        assert_allclose(loss.backward(), tensor.grad.numpy(), rtol=1e-10, atol=1e-14)
        if scale == 1:
            assert gradient_check(lambda x: loss.forward(x, labels), loss.backward(), logits).passed

    @pytest.mark.parametrize("kind", ["uint8", "int64", "list"])
    def test_labels_of_any_whole_numbers(self, kind: str) -> None:
        labels = [3, 0, 9]
        given_ = labels if kind == "list" else np.array(labels, dtype=kind)
        logits = random().normal(size=(3, 10))
        expected = F.cross_entropy(torch.from_numpy(logits), torch.tensor(labels)).item()
        assert SoftmaxCrossEntropy().forward(logits, given_) == pytest.approx(expected, rel=1e-12)

    def test_nothing_that_is_given_is_changed(self) -> None:
        logits, labels = random().normal(size=(3, 4)), np.array([0, 1, 2])
        predictions, targets = np.array([[1, 200]], dtype=np.uint8), np.array([[2, 100]], np.uint8)
        for array in (logits, labels, predictions, targets):
            array.flags.writeable = False
        loss = SoftmaxCrossEntropy()
        loss.forward(logits, labels)
        assert_array_equal(loss.backward(), loss.backward())
        error = MeanSquaredError()
        assert error.forward(predictions, targets) == (1 + 100**2) / 2  # uint8 would wrap around
        assert_array_equal(error.backward(), [[-1, 100]])
        assert error.forward([1, 200], [2, 100]) == (1 + 100**2) / 2

    def test_the_first_loss_of_equal_logits_is_the_logarithm_of_the_classes(self) -> None:
        assert SoftmaxCrossEntropy().forward(np.zeros((5, 10)), [0, 1, 2, 3, 4]) == pytest.approx(
            math.log(10), rel=1e-15
        )


class TestEdges:
    def test_saturated_cross_entropy_is_exact(self) -> None:
        loss = SoftmaxCrossEntropy()
        logits = np.array([[1e4, 0, -1e4]])
        for label, expected in enumerate([0.0, 1e4, 2e4]):
            assert loss.forward(logits, [label]) == expected
            gradient = np.array([[1.0, 0, 0]])
            gradient[0, label] -= 1
            assert_array_equal(loss.backward(), gradient)
        assert loss.forward(np.full((4, 10), -1e4), [0, 1, 2, 3]) == pytest.approx(math.log(10))

    def test_a_tiny_probability_costs_as_much_as_it_should(self) -> None:
        """A softmax that is rounded to 1 first would give a loss of exactly 0."""
        loss = SoftmaxCrossEntropy()
        assert loss.forward([[40.0, 0.0]], [0]) == pytest.approx(0, abs=1e-15)
        assert loss.forward([[30.0, 0.0]], [0]) == pytest.approx(math.exp(-30), rel=1e-2)
        assert loss.forward([[800.0, 0.0]], [1]) == 800


class TestErrors:
    @pytest.mark.parametrize("loss", [MeanSquaredError(), SoftmaxCrossEntropy()])
    def test_backward_before_forward_of_a_loss(
        self, loss: MeanSquaredError | SoftmaxCrossEntropy
    ) -> None:
        name = type(loss).__name__
        with pytest.raises(RuntimeError, match=rf"^{name}\.backward was called before forward\.$"):
            loss.backward()

    @pytest.mark.parametrize("shapes", [((3, 1), (3,)), ((3,), (3, 1)), ((3, 2), (1, 2))])
    def test_mean_squared_error_does_not_broadcast(
        self, shapes: tuple[tuple[int, ...], tuple[int, ...]]
    ) -> None:
        with pytest.raises(
            ValueError, match=r"^Predictions \(.*\) and targets \(.*\) differ in shape"
        ):
            MeanSquaredError().forward(*(np.zeros(shape) for shape in shapes))

    @pytest.mark.parametrize(
        ("logits", "labels"),
        [((3, 4), (2,)), ((3, 4), (3, 1)), ((3, 4), (3, 4)), ((4,), (4,)), ((0, 4), (0,))],
    )
    def test_cross_entropy_shapes(self, logits: tuple[int, ...], labels: tuple[int, ...]) -> None:
        with pytest.raises(
            ValueError, match=r"^Logits \(n, classes\) and labels \(n,\) are wanted"
        ):
            SoftmaxCrossEntropy().forward(np.zeros(logits), np.zeros(labels, dtype=int))

    @pytest.mark.parametrize("label", [-1, 4])
    def test_a_label_that_names_no_class(self, label: int) -> None:
        with pytest.raises(ValueError, match=r"^Labels must be between 0 and 3\.$"):
            SoftmaxCrossEntropy().forward(np.zeros((2, 4)), [0, label])

    @pytest.mark.parametrize("labels", [[0.0, 1.0], [True, False]])
    def test_a_label_that_is_no_whole_number(self, labels: list[float]) -> None:
        with pytest.raises(ValueError, match=r"^Labels are whole numbers, not (float64|bool)\.$"):
            SoftmaxCrossEntropy().forward(np.zeros((2, 4)), labels)
