"""Layers on images by hand: equal to central differences and to PyTorch, ties and edges too."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from torch import nn

from mnist_lab.by_hand.images import (
    AvgPool2d,
    Conv2d,
    GlobalAvgPool,
    MaxPool2d,
    add_windows,
    output_size,
    pad,
    windows,
)
from mnist_lab.by_hand.layers import Layer
from tests.by_hand.comparing import (
    SEEDS,
    SMALL,
    assert_as_torch,
    assert_right,
    distinct,
    drawn,
    random,
    sliding,
)


class TestImages:
    @drawn
    @given(n=st.integers(1, 2), ins=st.integers(1, 3), outs=st.integers(1, 3), form=sliding())
    def test_convolution_against_finite_differences(
        self, n: int, ins: int, outs: int, form: tuple[tuple[int, int], int, int, int]
    ) -> None:
        size, kernel, stride, padding = form
        layer = Conv2d(ins, outs, kernel, random(), stride=stride, padding=padding)
        layer.parameters["bias"][...] = random(1).normal(size=outs)
        assert_right(layer, random(2).normal(size=(n, ins, *size)))

    @settings(drawn, max_examples=100)
    @given(n=SMALL, ins=SMALL, outs=SMALL, form=sliding(), seed=SEEDS)
    def test_convolution_against_autograd(
        self, n: int, ins: int, outs: int, form: tuple[tuple[int, int], int, int, int], seed: int
    ) -> None:
        size, kernel, stride, padding = form
        layer = Conv2d(ins, outs, kernel, random(seed), stride=stride, padding=padding)
        layer.parameters["bias"][...] = random(seed + 1).normal(size=outs)
        module = nn.Conv2d(ins, outs, kernel, stride=stride, padding=padding)
        assert_as_torch(layer, module, random(seed + 2).normal(size=(n, ins, *size)), seed)

    @pytest.mark.parametrize("stride", [1, 2])
    @pytest.mark.parametrize("channels", [(1, 4), (4, 1), (3, 3)])
    def test_both_ways_of_the_input_gradient(self, stride: int, channels: tuple[int, int]) -> None:
        """With stride 1 and no fewer channels in than out it is a convolution, else a sum."""
        inputs = random(1).normal(size=(2, channels[0], 5, 6))
        layer = Conv2d(*channels, 3, random(), stride=stride, padding=1)
        assert_right(layer, inputs)
        assert_as_torch(layer, nn.Conv2d(*channels, 3, stride=stride, padding=1), inputs)

    @pytest.mark.parametrize("padding", [4, 5])
    def test_padding_may_be_wider_than_the_kernel(self, padding: int) -> None:
        layer = Conv2d(2, 3, 3, random(), stride=2, padding=padding)
        inputs = random(1).normal(size=(2, 2, 1, 3))
        assert_right(layer, inputs)
        assert_as_torch(layer, nn.Conv2d(2, 3, 3, stride=2, padding=padding), inputs)

    def test_convolution_of_mnists_size(self) -> None:
        layer = Conv2d(1, 8, 5, random(), stride=2, padding=2)
        inputs = random(1).normal(size=(16, 1, 28, 28))
        assert_as_torch(layer, nn.Conv2d(1, 8, 5, stride=2, padding=2), inputs)
        assert layer.forward(inputs).shape == (16, 8, 14, 14)

    @pytest.mark.parametrize(
        ("ours", "theirs"), [(MaxPool2d, nn.MaxPool2d), (AvgPool2d, nn.AvgPool2d)]
    )
    @drawn
    @given(n=st.integers(1, 2), channels=SMALL, form=sliding(), default=st.booleans(), seed=SEEDS)
    def test_pooling(
        self,
        ours: type[MaxPool2d] | type[AvgPool2d],
        theirs: Callable[..., nn.Module],
        n: int,
        channels: int,
        form: tuple[tuple[int, int], int, int, int],
        default: bool,
        seed: int,
    ) -> None:
        (height, width), kernel, stride, padding = form
        form = (kernel,) if default else (kernel, stride)
        # The padding that was drawn made smaller images possible; here they are simply larger.
        inputs = distinct((n, channels, height + 2 * padding, width + 2 * padding), random(seed))
        assert_right(ours(*form), inputs, seed)
        assert_as_torch(ours(*form), theirs(*form), inputs, seed)

    @drawn
    @given(n=st.integers(1, 3), channels=SMALL, height=st.integers(1, 5), width=st.integers(1, 5))
    def test_the_mean_over_all_places(self, n: int, channels: int, height: int, width: int) -> None:
        inputs = random().normal(size=(n, channels, height, width))
        assert_right(GlobalAvgPool(), inputs)
        theirs = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        assert_as_torch(GlobalAvgPool(), theirs, inputs)

    def test_the_mean_forgets_the_place(self) -> None:
        """A map that moves within its frame of zeros has the same mean, and the same gradient."""
        inputs = np.zeros((1, 2, 8, 8))
        inputs[:, :, 1:4, 2:5] = random().normal(size=(1, 2, 3, 3))
        layer = GlobalAvgPool()
        before = layer.forward(inputs)
        back = layer.backward([[1.0, -3.0]])
        np.testing.assert_allclose(layer.forward(np.roll(inputs, (3, 2), axis=(2, 3))), before)
        assert_array_equal(layer.backward([[1.0, -3.0]]), back)
        assert_array_equal(np.unique(back[0, 0]), [1 / 64])
        back[...] = 0  # the caller may write into what it was given


class TestWindows:
    @drawn
    @given(form=sliding(), seed=SEEDS)
    def test_equal_to_loops_over_places(
        self, form: tuple[tuple[int, int], int, int, int], seed: int
    ) -> None:
        size, kernel, stride, padding = form
        images = pad(random(seed).normal(size=(2, 3, *size)), padding)
        rows, columns = (output_size(side, kernel, stride, padding) for side in size)
        found = windows(images, kernel, stride)
        assert found.shape == (2, 3, rows, columns, kernel, kernel)
        for row, column in itertools.product(range(rows), range(columns)):
            top, left = row * stride, column * stride
            expected = images[:, :, top : top + kernel, left : left + kernel]
            assert_array_equal(found[:, :, row, column], expected)
        assert np.shares_memory(found, images)
        assert not found.flags.writeable

    @drawn
    @given(form=sliding(), seed=SEEDS)
    def test_add_windows_is_the_transpose(
        self, form: tuple[tuple[int, int], int, int, int], seed: int
    ) -> None:
        """<windows(x), y> = <x, add_windows(y)> for all x and y."""
        size, kernel, stride, padding = form
        images = pad(random(seed).normal(size=(2, 3, *size)), padding)
        seen = windows(images, kernel, stride)
        other = random(seed + 1).normal(size=seen.shape)
        back = add_windows(
            images.shape, lambda a, b: other[..., a, b], kernel, stride, seen.shape[2:4]
        )
        assert (seen * other).sum() == pytest.approx((images * back).sum(), rel=1e-10, abs=1e-10)

    def test_padding_lays_zeros_around(self) -> None:
        images = random().normal(size=(2, 3, 4, 5))
        assert_array_equal(pad(images, 2), np.pad(images, ((0, 0), (0, 0), (2, 2), (2, 2))))
        assert_array_equal(pad(images, 0), images)

    @drawn
    @given(form=sliding())
    def test_output_size_as_torch(self, form: tuple[tuple[int, int], int, int, int]) -> None:
        size, kernel, stride, padding = form
        expected = nn.Conv2d(1, 1, kernel, stride=stride, padding=padding)(torch.zeros(1, 1, *size))
        found = tuple(output_size(side, kernel, stride, padding) for side in size)
        assert found == expected.shape[2:]

    def test_output_size_by_hand(self) -> None:
        assert output_size(28, 5) == 24
        assert output_size(28, 3, padding=1) == 28
        assert output_size(28, 2, 2) == output_size(29, 2, 2) == 14


class TestEdges:
    def test_a_convolution_of_larger_and_smaller_batches_in_turn(self) -> None:
        layer, module = Conv2d(2, 3, 3, random(), padding=1), nn.Conv2d(2, 3, 3, padding=1)
        for n, height, width in [(4, 5, 6), (4, 6, 5), (2, 6, 5), (4, 6, 5), (4, 6, 5)]:
            inputs = random(n).normal(size=(n, 2, height, width))
            module.zero_grad()
            assert_as_torch(layer, module, inputs)

    @pytest.mark.parametrize(
        ("image", "kept"),
        [
            ([[1, 1], [1, 1]], [[1, 0], [0, 0]]),
            ([[0, 1], [1, 1]], [[0, 1], [0, 0]]),
            ([[0, 0], [1, 1]], [[0, 0], [1, 0]]),
            ([[0, 1], [1, 0]], [[0, 1], [0, 0]]),
        ],
    )
    def test_of_equal_pixels_the_first_in_reading_order_is_kept(
        self, image: list[list[int]], kept: list[list[int]]
    ) -> None:
        layer, inputs = MaxPool2d(2), np.array([[image]], dtype=float)
        assert layer.forward(inputs).item() == 1
        assert_array_equal(layer.backward([[[[1]]]])[0, 0], kept)

    @drawn
    @given(form=sliding(), seed=SEEDS)
    def test_ties_as_in_torch(self, form: tuple[tuple[int, int], int, int, int], seed: int) -> None:
        """Images of three grey values are full of ties, like the background of a digit."""
        (height, width), kernel, stride, padding = form
        shape = (2, 2, height + 2 * padding, width + 2 * padding)
        inputs = random(seed).integers(0, 3, shape).astype(float)
        assert_as_torch(MaxPool2d(kernel, stride), nn.MaxPool2d(kernel, stride), inputs, seed)

    def test_pixels_that_no_window_covers_get_no_gradient(self) -> None:
        inputs = np.arange(25.0).reshape(1, 1, 5, 5)
        for layer in (MaxPool2d(2), AvgPool2d(2), Conv2d(1, 1, 2, random(), stride=2)):
            gradient = layer.backward(np.ones_like(layer.forward(inputs)))
            assert gradient.shape == inputs.shape
            assert_array_equal(gradient[..., 4, :], 0)
            assert_array_equal(gradient[..., :, 4], 0)


class TestErrors:
    @pytest.mark.parametrize("shape", [(2, 3, 5), (2, 2, 5, 5), (1, 2, 3, 5, 5)])
    def test_convolution(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match=r"images of shape \(n, 3, height, width\), not \("):
            Conv2d(3, 2, 3, random()).forward(np.zeros(shape))

    @pytest.mark.parametrize("layer", [MaxPool2d(2), AvgPool2d(2), GlobalAvgPool()])
    def test_pooling(self, layer: Layer) -> None:
        with pytest.raises(
            ValueError, match=r"images of shape \(n, channels, height, width\), not \(28, 28\)\.$"
        ):
            layer.forward(np.zeros((28, 28)))

    @pytest.mark.parametrize(
        "layer",
        [
            MaxPool2d(3),
            AvgPool2d(3),
            Conv2d(1, 1, 3, random()),
            Conv2d(1, 1, 5, random(), padding=1),
        ],
    )
    @pytest.mark.parametrize("size", [(2, 9), (9, 2)])
    def test_a_kernel_that_does_not_fit(self, layer: Layer, size: tuple[int, int]) -> None:
        with pytest.raises(
            ValueError, match=r"^A kernel of [35] pixels does not fit into 2 pixels with a padding"
        ):
            layer.forward(np.zeros((1, 1, *size)))

    @pytest.mark.parametrize(
        "make",
        [
            lambda: output_size(5, 0),
            lambda: output_size(5, 2, 0),
            lambda: output_size(5, 2, 1, -1),
            lambda: Conv2d(1, 1, 0, random()),
            lambda: Conv2d(1, 1, 3, random(), stride=0),
            lambda: Conv2d(1, 1, 3, random(), padding=-1),
            lambda: MaxPool2d(0),
            lambda: MaxPool2d(2, 0),
            lambda: AvgPool2d(0),
            lambda: AvgPool2d(2, 0),
        ],
    )
    def test_what_is_out_of_range(self, make: Callable[[], object]) -> None:
        with pytest.raises(ValueError, match=r"^kernel and stride are at least 1 and padding at "):
            make()
