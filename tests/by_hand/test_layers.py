"""Layers by hand: equal to central differences and to PyTorch, and their faults are seen.

Three kinds of tests. Every layer is compared with finite differences and with autograd, both in
float64, over shapes that hypothesis draws. Then come the cases that are decided on purpose: ties,
the 0 of a ReLU, logits of 10,000. Last, every backward pass is written wrongly in the ways in which
people get it wrong, and the checks must notice.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from torch import nn

from mnist_lab.by_hand.gradient_checks import (
    GradientReport,
    central_difference,
    check_layer,
    gradient_check,
)
from mnist_lab.by_hand.images import (
    AvgPool2d,
    Conv2d,
    MaxPool2d,
    add_windows,
    output_size,
    pad,
    windows,
)
from mnist_lab.by_hand.layers import (
    BatchNorm,
    Dropout,
    Flatten,
    Floats,
    Layer,
    Linear,
    ReLU,
    Sequential,
    Sigmoid,
    Softmax,
    Tanh,
)
from mnist_lab.by_hand.losses import MeanSquaredError, SoftmaxCrossEntropy
from mnist_lab.by_hand.batches import iter_batches
from mnist_lab.by_hand.optimisers import SGD, Adam
from mnist_lab.by_hand.scoring import accuracy
from mnist_lab.data.mnist import MNIST
from mnist_lab.lessons.records import load_record

# Drawn, but the same in every run: a red test stays red until its reason is gone.
drawn = settings(
    max_examples=50,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
SEEDS = st.integers(0, 1_000)
SMALL = st.integers(1, 4)


def random(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def distinct(shape: tuple[int, ...], generator: np.random.Generator) -> Floats:
    """Return numbers between -1 and 1 that are all different, and none of them near 0.

    So no step of a finite difference crosses a kink or changes which pixel is the largest.
    """
    count = math.prod(shape)
    return (2 * generator.permutation(count).reshape(shape) + 1) / count - 1 + 1e-3


def relative_error(found: Floats, expected: Floats) -> float:
    """Return the largest difference, relative to the largest number."""
    assert found.shape == expected.shape
    assert found.dtype == np.float64
    return float(np.abs(found - expected).max() / max(np.abs(expected).max(), 1e-12))


def worst(reports: dict[str, GradientReport]) -> float:
    return max(report.error for report in reports.values())


def assert_right(layer: Layer, inputs: Floats, seed: int = 0) -> None:
    """Hold a layer against central differences: inputs and every parameter."""
    reports = check_layer(layer, inputs, random(seed))
    assert set(reports) == {"inputs", *layer.parameters}
    assert all(report.passed for report in reports.values()), {
        k: str(r) for k, r in reports.items()
    }
    assert worst(reports) < 1e-6


def assert_as_torch(
    layer: Layer,
    module: Callable[[torch.Tensor], torch.Tensor],
    inputs: Floats,
    seed: int = 0,
    within: float = 1e-10,
) -> None:
    """Hold outputs and all gradients of a layer against autograd, with the same parameters."""
    theirs = {}
    if isinstance(module, nn.Module):
        module.double()
        theirs = dict(module.named_parameters())
        assert set(theirs) == set(layer.parameters)
        with torch.no_grad():
            for name, parameter in theirs.items():
                parameter.copy_(torch.from_numpy(layer.parameters[name]))
    tensor = torch.tensor(inputs, requires_grad=True)
    expected = module(tensor)
    outputs = layer.forward(inputs)
    assert relative_error(outputs, expected.detach().numpy()) < within
    gradient = random(seed).normal(size=outputs.shape)
    expected.backward(torch.from_numpy(gradient))
    assert relative_error(layer.backward(gradient), tensor.grad.numpy()) < within
    assert set(layer.gradients) == set(theirs)
    for name, parameter in theirs.items():
        assert relative_error(layer.gradients[name], parameter.grad.numpy()) < within, name


# --- Against finite differences and autograd -----------------------------------------------------


class TestVectors:
    @drawn
    @given(n=SMALL, ins=SMALL, outs=SMALL, seed=SEEDS)
    def test_linear(self, n: int, ins: int, outs: int, seed: int) -> None:
        layer = Linear(ins, outs, random(seed))
        layer.parameters["bias"][...] = random(seed + 1).normal(size=outs)
        inputs = random(seed + 2).normal(size=(n, ins))
        assert_right(layer, inputs, seed)
        assert_as_torch(layer, nn.Linear(ins, outs), inputs, seed)

    @pytest.mark.parametrize(
        ("layer", "module"),
        [(Sigmoid(), torch.sigmoid), (Tanh(), torch.tanh), (ReLU(), torch.relu)],
    )
    @drawn
    @given(shape=st.lists(SMALL, min_size=1, max_size=4), seed=SEEDS)
    def test_activations(
        self, layer: Layer, module: Callable[..., torch.Tensor], shape: list[int], seed: int
    ) -> None:
        inputs = 3 * distinct(tuple(shape), random(seed))
        assert_right(layer, inputs, seed)
        assert_as_torch(layer, module, inputs, seed)

    @drawn
    @given(n=SMALL, classes=st.integers(2, 6), seed=SEEDS)
    def test_softmax(self, n: int, classes: int, seed: int) -> None:
        inputs = random(seed).normal(0, 2, (n, classes))
        assert_right(Softmax(), inputs, seed)
        assert_as_torch(Softmax(), lambda x: F.softmax(x, dim=1), inputs, seed)
        assert_allclose(Softmax().forward(inputs).sum(axis=1), 1, rtol=1e-14)

    @pytest.mark.parametrize("shape", [(4,), (2, 3, 4)])
    def test_softmax_is_along_the_last_axis(self, shape: tuple[int, ...]) -> None:
        inputs = random().normal(size=shape)
        assert_right(Softmax(), inputs)
        assert_as_torch(Softmax(), lambda x: F.softmax(x, dim=-1), inputs)

    @drawn
    @given(shape=st.lists(SMALL, min_size=1, max_size=4), seed=SEEDS)
    def test_flatten(self, shape: list[int], seed: int) -> None:
        inputs = random(seed).normal(size=shape)
        assert_right(Flatten(), inputs, seed)
        assert_as_torch(Flatten(), lambda x: x.reshape(len(x), -1), inputs, seed)

    @drawn
    @given(n=SMALL, features=SMALL, rate=st.sampled_from([0.0, 0.2, 0.5, 0.9]), seed=SEEDS)
    def test_dropout(self, n: int, features: int, rate: float, seed: int) -> None:
        inputs = random(seed).normal(size=(n, features))
        assert_right(Dropout(rate, random(seed)), inputs, seed)
        kept = random(seed).random(inputs.shape) >= rate
        assert_as_torch(
            Dropout(rate, random(seed)),
            lambda x: torch.where(torch.from_numpy(kept), x / (1 - rate), 0),
            inputs,
            seed,
        )


@st.composite
def sliding(draw: st.DrawFn) -> tuple[tuple[int, int], int, int, int]:
    """Draw (height, width), kernel, stride and padding so that the kernel fits at least once."""
    kernel, stride = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    padding = draw(st.integers(0, 2))
    least = max(1, kernel - 2 * padding)
    height, width = (draw(st.integers(least, least + 4)) for _ in range(2))
    return (height, width), kernel, stride, padding


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
    @given(
        n=st.integers(3, 5),
        features=SMALL,
        size=st.none() | st.tuples(SMALL, SMALL),
        training=st.booleans(),
        seed=SEEDS,
    )
    def test_batch_normalisation(
        self, n: int, features: int, size: tuple[int, int] | None, training: bool, seed: int
    ) -> None:
        layer, generator = BatchNorm(features), random(seed)
        layer.parameters["weight"][...] = generator.normal(1, 0.5, features)
        layer.parameters["bias"][...] = generator.normal(size=features)
        layer.running_mean[...] = generator.normal(size=features)
        layer.running_variance[...] = generator.uniform(0.5, 2, features)
        layer.train(training)
        kind = nn.BatchNorm1d if size is None else nn.BatchNorm2d
        module = kind(features).double().train(training)
        module.running_mean.copy_(torch.from_numpy(layer.running_mean))
        module.running_var.copy_(torch.from_numpy(layer.running_variance))
        inputs = generator.normal(2, 3, (n, features, *(size or ())))
        assert_right(layer, inputs, seed)
        for _ in range(2):  # the second batch meets averages that the first has moved
            module.zero_grad()
            assert_as_torch(layer, module, inputs, seed)
            assert relative_error(layer.running_mean, module.running_mean.numpy()) < 1e-12
            assert relative_error(layer.running_variance, module.running_var.numpy()) < 1e-12
            inputs = inputs + 1

    def test_batch_normalisation_takes_momentum_and_epsilon_as_torch_does(self) -> None:
        layer = BatchNorm(3, momentum=0.3, epsilon=0.1)
        module = nn.BatchNorm2d(3, eps=0.1, momentum=0.3)
        assert_as_torch(layer, module, random().normal(size=(4, 3, 2, 5)))
        assert_allclose(layer.running_variance, module.running_var.numpy(), rtol=1e-12)

    def test_checking_does_not_move_running_averages(self) -> None:
        layer = BatchNorm(2)
        check_layer(layer, random().normal(size=(5, 2)), random())
        assert_array_equal(layer.running_mean, 0)
        assert_array_equal(layer.running_variance, 1)


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


# --- Decided on purpose --------------------------------------------------------------------------


class TestEdges:
    def test_a_convolution_of_larger_and_smaller_batches_in_turn(self) -> None:
        layer, module = Conv2d(2, 3, 3, random(), padding=1), nn.Conv2d(2, 3, 3, padding=1)
        for n, height, width in [(4, 5, 6), (4, 6, 5), (2, 6, 5), (4, 6, 5), (4, 6, 5)]:
            inputs = random(n).normal(size=(n, 2, height, width))
            module.zero_grad()
            assert_as_torch(layer, module, inputs)

    def test_relu_at_zero_has_no_gradient_as_in_torch(self) -> None:
        inputs = np.array([0.0, -0.0, -1.0, 1.0, 5e-324, -5e-324])
        layer = ReLU()
        assert_array_equal(layer.forward(inputs), [0, 0, 0, 1, 5e-324, 0])
        assert_array_equal(layer.backward(np.ones(6)), [0, 0, 0, 1, 1, 0])
        assert_as_torch(ReLU(), torch.relu, inputs)

    def test_relu_makes_no_negative_zero_and_no_nan_of_infinity(self) -> None:
        outputs = ReLU().forward([-1.0, -np.inf, np.inf])
        assert_array_equal(outputs, [0, 0, np.inf])
        assert not np.signbit(outputs).any()

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

    def test_saturated_softmax_is_exact(self) -> None:
        layer = Softmax()
        inputs = np.array([[1e4, 0, -1e4], [-1e4, -1e4, -1e4], [1e4, 1e4, -1e4]])
        outputs = layer.forward(inputs)
        assert_array_equal(outputs, [[1, 0, 0], [1 / 3] * 3, [0.5, 0.5, 0]])
        gradient = layer.backward([[1, 2, 3], [1, 2, 3], [1, 3, 9]])
        assert_allclose(gradient, [[0, 0, 0], [-1 / 3, 0, 1 / 3], [-0.5, 0.5, 0]], atol=1e-15)

    def test_saturated_activations_are_finite(self) -> None:
        inputs = np.array([-1e4, 1e4])
        for layer, ends in ((Sigmoid(), (0, 1)), (Tanh(), (-1, 1))):
            assert_array_equal(layer.forward(inputs), ends)
            assert_array_equal(layer.backward([1, 1]), [0, 0])

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

    def test_a_constant_feature_divides_by_no_zero(self) -> None:
        layer = BatchNorm(2)
        assert_array_equal(layer.forward(np.full((4, 2), 7.0)), np.zeros((4, 2)))
        assert np.isfinite(layer.backward(random().normal(size=(4, 2)))).all()

    def test_an_empty_batch_stays_empty(self) -> None:
        network = Sequential(
            Conv2d(1, 2, 3, random()), MaxPool2d(2), Flatten(), Linear(8, 3, random())
        )
        assert network.forward(np.zeros((0, 1, 6, 6))).shape == (0, 3)


class TestDropout:
    def test_the_generator_decides(self) -> None:
        inputs = np.ones((20, 20))
        first, again, other = (Dropout(0.5, random(seed)).forward(inputs) for seed in (1, 1, 2))
        assert_array_equal(first, again)
        assert (first != other).any()

    def test_every_call_draws_anew(self) -> None:
        layer, inputs = Dropout(0.5, random()), np.ones((20, 20))
        assert (layer.forward(inputs) != layer.forward(inputs)).any()

    @pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
    def test_the_expected_value_and_the_rate_are_right(self, rate: float) -> None:
        outputs = Dropout(rate, random()).forward(np.full(200_000, 3.0))
        # Five standard errors: sqrt(rate / (1 - rate) / n) of the mean of what is kept.
        assert outputs.mean() == pytest.approx(3, abs=15 * math.sqrt(rate / (1 - rate) / 200_000))
        assert (outputs == 0).mean() == pytest.approx(rate, abs=0.01)
        assert set(np.unique(outputs)) == {0, 3 / (1 - rate)} or rate == 0.1
        assert_allclose(outputs[outputs != 0], 3 / (1 - rate), rtol=1e-15)

    def test_evaluation_changes_nothing_and_draws_nothing(self) -> None:
        generator = random()
        layer, inputs = Dropout(0.5, generator).eval(), random(1).normal(size=(4, 5))
        before = generator.bit_generator.state
        assert_array_equal(layer.forward(inputs), inputs)
        assert_array_equal(layer.backward(inputs), inputs)
        assert generator.bit_generator.state == before
        assert (layer.train().forward(inputs) == 0).any()

    def test_a_rate_of_zero_changes_nothing(self) -> None:
        inputs = random(1).normal(size=(4, 5))
        assert_array_equal(Dropout(0, random()).forward(inputs), inputs)

    def test_a_check_leaves_the_generator_alone(self) -> None:
        generator = random()
        before = generator.bit_generator.state
        check_layer(Dropout(0.5, generator), np.ones((3, 3)), random(1))
        assert generator.bit_generator.state == before


# --- What all layers promise ---------------------------------------------------------------------

VECTORS, IMAGES = (3, 4), (3, 4, 5, 7)  # (n, features), (n, channels, height, width)
LAYERS: dict[str, tuple[Callable[[], Layer], tuple[int, ...]]] = {
    "Linear": (lambda: Linear(4, 2, random()), VECTORS),
    "Flatten": (Flatten, IMAGES),
    "Sigmoid": (Sigmoid, VECTORS),
    "Tanh": (Tanh, VECTORS),
    "ReLU": (ReLU, VECTORS),
    "Softmax": (Softmax, VECTORS),
    "Dropout": (lambda: Dropout(0.5, random()), VECTORS),
    "Dropout, eval": (lambda: Dropout(0.5, random()).eval(), VECTORS),
    "Conv2d": (lambda: Conv2d(4, 2, 3, random()), IMAGES),
    "Conv2d, of single pixels": (lambda: Conv2d(4, 4, 1, random()), IMAGES),
    "Conv2d, padded": (lambda: Conv2d(4, 2, 3, random(), stride=2, padding=1), IMAGES),
    "MaxPool2d": (lambda: MaxPool2d(2), IMAGES),
    "AvgPool2d": (lambda: AvgPool2d(3, 1), IMAGES),
    "BatchNorm": (lambda: BatchNorm(4), VECTORS),
    "BatchNorm, eval": (lambda: BatchNorm(4).eval(), IMAGES),
    "Sequential": (lambda: Sequential(Conv2d(4, 2, 3, random()), ReLU(), Flatten()), IMAGES),
    "Sequential, empty": (Sequential, VECTORS),
}
every_layer = pytest.mark.parametrize(("make", "shape"), LAYERS.values(), ids=LAYERS)


class TestPromises:
    def test_the_list_names_every_layer(self) -> None:
        public = {
            name
            for name, value in vars(numpy_layers).items()
            if isinstance(value, type) and issubclass(value, Layer) and not name.startswith("_")
        }
        assert public - {"Layer"} == {name.partition(",")[0] for name in LAYERS}

    @every_layer
    @pytest.mark.parametrize("form", ["uint8", "float32", "int64", "list"])
    def test_float64_whatever_is_given(
        self, make: Callable[[], Layer], shape: tuple[int, ...], form: str
    ) -> None:
        """Pixels arrive as uint8, where 200 + 100 is 44."""
        pixels = random().integers(0, 256, shape)
        given_ = pixels.tolist() if form == "list" else pixels.astype(form)
        layer, reference = make(), make()
        outputs = layer.forward(given_)
        assert outputs.dtype == np.float64
        assert_array_equal(outputs, reference.forward(pixels.astype(float)))
        gradient = random(1).integers(0, 256, outputs.shape)
        given_ = gradient.tolist() if form == "list" else gradient.astype(form)
        found = layer.backward(given_)
        assert found.dtype == np.float64
        assert found.shape == shape
        assert_array_equal(found, reference.backward(gradient.astype(float)))
        assert set(layer.gradients) == set(layer.parameters)
        for name, value in layer.gradients.items():
            assert value.dtype == layer.parameters[name].dtype == np.float64
            assert value.shape == layer.parameters[name].shape

    @every_layer
    def test_nothing_that_is_given_is_changed(
        self, make: Callable[[], Layer], shape: tuple[int, ...]
    ) -> None:
        layer, inputs = make(), random().normal(size=shape)
        parameters = copy.deepcopy(layer.parameters)
        before = inputs.copy()
        inputs.flags.writeable = False
        outputs = layer.forward(inputs)
        kept, gradient = outputs.copy(), random(1).normal(size=outputs.shape)
        gradient_before = gradient.copy()
        gradient.flags.writeable = False
        layer.backward(gradient)
        assert_array_equal(inputs, before)
        assert_array_equal(gradient, gradient_before)
        assert_array_equal(outputs, kept)
        for name, parameter in layer.parameters.items():
            assert_array_equal(parameter, parameters[name])

    @every_layer
    def test_a_second_backward_gives_the_same_and_a_second_forward_forgets_the_first(
        self, make: Callable[[], Layer], shape: tuple[int, ...]
    ) -> None:
        layer, fresh = make(), make()
        larger = random().normal(size=(shape[0] + 2, *shape[1:]))
        layer.forward(larger)
        if isinstance(layer, Dropout):
            fresh.forward(larger)  # so that both have drawn equally often
        inputs = random(1).normal(size=shape)
        outputs = layer.forward(inputs)
        assert_array_equal(outputs, fresh.forward(inputs))
        gradient = random(2).normal(size=outputs.shape)
        first = layer.backward(gradient)
        gradients = copy.deepcopy(layer.gradients)
        assert_array_equal(layer.backward(gradient), first)
        for name, value in gradients.items():  # not added to what was there, as PyTorch would
            assert_array_equal(layer.gradients[name], value)

    @every_layer
    def test_modes(self, make: Callable[[], Layer], shape: tuple[int, ...]) -> None:
        layer = make()
        assert layer.train() is layer
        assert layer.training
        assert layer.eval() is layer
        assert not layer.training

    def test_a_layer_begins_in_training_mode(self) -> None:
        assert Layer().training
        assert BatchNorm(2).training

    @pytest.mark.parametrize("layer", [Linear(300, 200, random()), Conv2d(12, 40, 5, random())])
    def test_weights_begin_with_the_variance_that_keeps_a_relu_networks_signal(
        self, layer: Layer
    ) -> None:
        weight = layer.parameters["weight"]
        fan_in = math.prod(weight.shape[1:])
        assert weight.std() == pytest.approx(math.sqrt(2 / fan_in), rel=0.03)
        assert abs(weight.mean()) < 4 * weight.std() / math.sqrt(weight.size)
        assert_array_equal(layer.parameters["bias"], 0)

    @pytest.mark.parametrize(
        "make", [lambda g: Linear(5, 4, g), lambda g: Conv2d(2, 3, 3, g)], ids=["Linear", "Conv2d"]
    )
    def test_the_generator_draws_the_weights(
        self, make: Callable[[np.random.Generator], Layer]
    ) -> None:
        first, again, other = (make(random(seed)).parameters["weight"] for seed in (1, 1, 2))
        assert_array_equal(first, again)
        assert (first != other).all()


class TestErrors:
    @pytest.mark.parametrize("make", [make for make, _ in LAYERS.values()][:-2])
    def test_backward_before_forward(self, make: Callable[[], Layer]) -> None:
        layer = make()
        name = type(layer).__name__
        with pytest.raises(RuntimeError, match=rf"^{name}\.backward was called before forward\.$"):
            layer.backward(np.zeros((3, 4)))

    def test_backward_before_forward_names_the_layer_within(self) -> None:
        with pytest.raises(RuntimeError, match=r"^ReLU\.backward was called before forward\.$"):
            Sequential(Flatten(), ReLU()).backward(np.zeros((3, 4)))

    @pytest.mark.parametrize("loss", [MeanSquaredError(), SoftmaxCrossEntropy()])
    def test_backward_before_forward_of_a_loss(
        self, loss: MeanSquaredError | SoftmaxCrossEntropy
    ) -> None:
        name = type(loss).__name__
        with pytest.raises(RuntimeError, match=rf"^{name}\.backward was called before forward\.$"):
            loss.backward()

    def test_a_layer_without_a_formula(self) -> None:
        with pytest.raises(NotImplementedError):
            Layer().forward([1])
        with pytest.raises(NotImplementedError):
            Layer().backward([1])

    @pytest.mark.parametrize("shape", [(4,), (2, 3), (2, 4, 1), (0,), ()])
    def test_linear(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match=r"takes batches of shape \(n, 4\), not \("):
            Linear(4, 2, random()).forward(np.zeros(shape))

    @pytest.mark.parametrize("shape", [(2, 3, 5), (2, 2, 5, 5), (1, 2, 3, 5, 5)])
    def test_convolution(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match=r"images of shape \(n, 3, height, width\), not \("):
            Conv2d(3, 2, 3, random()).forward(np.zeros(shape))

    @pytest.mark.parametrize("layer", [MaxPool2d(2), AvgPool2d(2)])
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

    @pytest.mark.parametrize("rate", [-0.1, 1, 1.5, math.nan])
    def test_a_dropout_rate(self, rate: float) -> None:
        with pytest.raises(
            ValueError, match=rf"^A dropout rate is at least 0 and below 1, not {rate}\.$"
        ):
            Dropout(rate, random())

    @pytest.mark.parametrize("shape", [(4, 2), (3,), (4, 2, 5, 5), (4, 3, 5)])
    def test_batch_normalisation(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match=r"takes \(n, 3\) or \(n, 3, height, width\), not \("):
            BatchNorm(3).forward(np.zeros(shape))

    def test_batch_normalisation_of_one_example(self) -> None:
        with pytest.raises(ValueError, match=r"needs two examples or more in training\.$"):
            BatchNorm(3).forward(np.zeros((1, 3)))
        assert BatchNorm(3).eval().forward(np.zeros((1, 3))).shape == (1, 3)
        assert BatchNorm(3).forward(np.zeros((1, 3, 2, 2))).shape == (1, 3, 2, 2)
        assert_as_torch(BatchNorm(3), nn.BatchNorm1d(3), random().normal(size=(2, 3)))

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

    def test_batches_of_nothing_and_of_what_makes_no_pairs(self) -> None:
        with pytest.raises(ValueError, match=r"^A batch holds at least 1 example, not 0\.$"):
            next(iter_batches(np.zeros(3), np.zeros(3), 0, random()))
        with pytest.raises(ValueError, match=r"^3 images and 4 labels make no pairs\.$"):
            next(iter_batches(np.zeros(3), np.zeros(4), 2, random()))

    @pytest.mark.parametrize(
        ("images", "labels"), [((3, 2), (3, 1)), ((3, 2), (1,)), ((0, 2), (0,))]
    )
    def test_accuracy_of_what_makes_no_pairs(
        self, images: tuple[int, ...], labels: tuple[int, ...]
    ) -> None:
        with pytest.raises(ValueError, match=r"^Images \(n, \.\.\.\) and labels \(n,\) are wanted"):
            accuracy(Flatten(), np.zeros(images), np.zeros(labels))


# --- Losses, networks, optimisers ----------------------------------------------------------------


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


def mlp(seed: int = 0) -> Sequential:
    generator = random(seed)
    return Sequential(
        Flatten(),
        Linear(12, 8, generator),
        ReLU(),
        Linear(8, 7, generator),
        Tanh(),
        Linear(7, 5, generator),
    )


def mlp_in_torch() -> nn.Sequential:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 7), nn.Tanh(), nn.Linear(7, 5)
    ).double()


def cnn(seed: int = 0) -> Sequential:
    generator = random(seed)
    return Sequential(
        Conv2d(1, 4, 3, generator, padding=1),
        BatchNorm(4),
        ReLU(),
        MaxPool2d(2),
        Conv2d(4, 3, 3, generator, stride=2, padding=1),
        Sigmoid(),
        AvgPool2d(2, 1),
        Flatten(),
        Linear(12, 5, generator),
    )


def cnn_in_torch() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 3, 3, stride=2, padding=1),
        nn.Sigmoid(),
        nn.AvgPool2d(2, 1),
        nn.Flatten(),
        nn.Linear(12, 5),
    ).double()


def load(module: nn.Module, network: Layer) -> None:
    """Copy the parameters, by PyTorch's own names, which are ours."""
    state = {name: torch.tensor(value) for name, value in network.parameters.items()}
    assert set(state) == {name for name, _ in module.named_parameters()}
    module.load_state_dict(state, strict=False)


NETWORKS = pytest.mark.parametrize(
    ("network", "module", "shape"),
    [(mlp(), mlp_in_torch(), (7, 3, 4)), (cnn(), cnn_in_torch(), (7, 1, 10, 12))],
    ids=["mlp", "cnn"],
)


class TestSequential:
    @NETWORKS
    def test_loss_and_all_gradients_as_in_torch(
        self, network: Sequential, module: nn.Sequential, shape: tuple[int, ...]
    ) -> None:
        load(module, network)
        inputs, labels = random(1).normal(size=shape), random(2).integers(0, 5, 7)
        tensor = torch.tensor(inputs, requires_grad=True)
        expected = F.cross_entropy(module(tensor), torch.from_numpy(labels))
        expected.backward()
        loss = SoftmaxCrossEntropy()
        assert loss.forward(network.forward(inputs), labels) == pytest.approx(
            expected.item(), 1e-12
        )
        assert relative_error(network.backward(loss.backward()), tensor.grad.numpy()) < 1e-10
        for name, parameter in module.named_parameters():
            # Batch normalisation takes the mean out again, so that this gradient is only rounding.
            if name == "0.bias" and shape[1] == 1:
                assert np.abs(network.gradients[name]).max() < 1e-12
            else:
                assert relative_error(network.gradients[name], parameter.grad.numpy()) < 1e-10, name

    def test_whole_networks_against_finite_differences(self) -> None:
        assert_right(mlp(), random(1).normal(size=(3, 3, 4)))
        assert_right(cnn(), random(1).normal(size=(2, 1, 10, 12)))

    def test_parameters_are_the_layers_own_arrays(self) -> None:
        network = mlp()
        network.parameters["1.weight"][0, 0] = 77
        assert network.layers[1].parameters["weight"][0, 0] == 77
        twin = copy.deepcopy(network)
        twin.parameters["1.weight"][0, 0] = 78
        assert twin.layers[1].parameters["weight"][0, 0] == 78
        assert network.parameters["1.weight"][0, 0] == 77

    def test_networks_in_networks(self) -> None:
        inner = Sequential(Linear(3, 4, random()), Tanh())
        outer = Sequential(inner, Linear(4, 2, random(1)))
        assert list(outer.parameters) == ["0.0.weight", "0.0.bias", "1.weight", "1.bias"]
        assert_right(outer, random(2).normal(size=(2, 3)))
        outer.eval()
        assert not inner.layers[0].training

    def test_the_mode_reaches_every_layer(self) -> None:
        network = cnn()
        assert network.eval() is network
        assert not any(layer.training for layer in (network, *network.layers))
        network.train()
        assert all(layer.training for layer in (network, *network.layers))


def set_gradients(
    network: Layer, parameters: dict[str, nn.Parameter], seed: int, scale: float
) -> None:
    """Give both sides the same gradients, whatever the loss."""
    generator = random(seed)
    for name, parameter in parameters.items():
        gradient = scale * generator.normal(size=parameter.shape)
        gradient[generator.random(parameter.shape) < 0.3] = 0
        network.gradients[name] = gradient
        parameter.grad = torch.tensor(gradient)


class TestOptimizers:
    CASES = (
        (lambda n: SGD(n, 0.1), lambda p: torch.optim.SGD(p, 0.1)),
        (lambda n: SGD(n, 0.05, momentum=0.9), lambda p: torch.optim.SGD(p, 0.05, momentum=0.9)),
        (lambda n: SGD(n, 0.05, 0.5), lambda p: torch.optim.SGD(p, 0.05, momentum=0.5)),
        (lambda n: Adam(n), lambda p: torch.optim.Adam(p)),
        (lambda n: Adam(n, 0.02), lambda p: torch.optim.Adam(p, 0.02)),
        (
            lambda n: Adam(n, 0.02, (0.5, 0.8), 1e-3),
            lambda p: torch.optim.Adam(p, 0.02, (0.5, 0.8), 1e-3),
        ),
    )
    every_case = pytest.mark.parametrize(
        ("ours", "theirs"), CASES, ids=["SGD", "momentum", "half", "Adam", "faster", "betas"]
    )

    @every_case
    @pytest.mark.parametrize("scale", [1.0, 1e-7])
    def test_50_steps_with_the_same_gradients(
        self,
        ours: Callable[[Layer], SGD | Adam],
        theirs: Callable[[Iterator[nn.Parameter]], torch.optim.Optimizer],
        scale: float,
    ) -> None:
        """Gradients as small as epsilon show where it stands; the rate changes on the way."""
        network, module = mlp(), mlp_in_torch()
        load(module, network)
        optimizer, reference = ours(network), theirs(module.parameters())
        before = copy.deepcopy(network.parameters)
        for step in range(50):
            if step in (10, 30):
                optimizer.learning_rate *= 0.3
                reference.param_groups[0]["lr"] *= 0.3
            set_gradients(network, dict(module.named_parameters()), step, scale)
            optimizer.step()
            reference.step()
            for name, parameter in module.named_parameters():
                moved = network.parameters[name] - before[name]
                expected = parameter.detach().numpy() - before[name]
                assert np.abs(moved - expected).max() < 1e-12 * max(1, np.abs(expected).max())
        assert np.abs(moved).max() > 1e-8

    @every_case
    @pytest.mark.parametrize(("make", "make_module", "shape"), [(mlp, mlp_in_torch, (6, 3, 4))])
    def test_50_steps_of_training(
        self,
        ours: Callable[[Layer], SGD | Adam],
        theirs: Callable[[Iterator[nn.Parameter]], torch.optim.Optimizer],
        make: Callable[[], Sequential],
        make_module: Callable[[], nn.Sequential],
        shape: tuple[int, ...],
    ) -> None:
        network, module, loss = make(), make_module(), SoftmaxCrossEntropy()
        load(module, network)
        optimizer, reference = ours(network), theirs(module.parameters())
        generator = random(3)
        losses = []
        for step in range(50):
            if step == 25:
                optimizer.learning_rate /= 2
                reference.param_groups[0]["lr"] /= 2
            inputs, labels = generator.normal(size=shape), generator.integers(0, 5, shape[0])
            losses.append(loss.forward(network.forward(inputs), labels))
            network.backward(loss.backward())
            optimizer.step()
            reference.zero_grad()
            expected = F.cross_entropy(module(torch.from_numpy(inputs)), torch.from_numpy(labels))
            expected.backward()
            reference.step()
            assert losses[-1] == pytest.approx(expected.item(), rel=1e-11)
        for name, parameter in module.named_parameters():
            assert relative_error(network.parameters[name], parameter.detach().numpy()) < 1e-11

    def test_parameters_change_in_place_and_gradients_do_not(self) -> None:
        for make in (lambda n: SGD(n, 0.1, 0.9), Adam):
            network = Linear(3, 2, random())
            weight, before = network.parameters["weight"], network.parameters["weight"].copy()
            network.forward(np.ones((1, 3)))
            network.backward(np.ones((1, 2)))
            gradients = copy.deepcopy(network.gradients)
            optimizer = make(network)
            for _ in range(2):
                optimizer.step()
            assert network.parameters["weight"] is weight
            assert (weight != before).all()
            for name, gradient in gradients.items():
                assert_array_equal(network.gradients[name], gradient)


# --- Around training -----------------------------------------------------------------------------


class TestBatches:
    def test_every_example_once_with_its_own_label(self) -> None:
        images, labels = np.arange(10).reshape(10, 1, 1) * np.ones((1, 2, 3)), np.arange(10)
        batches = list(iter_batches(images, labels, 4, random()))
        assert [x.shape for x, _ in batches] == [(4, 2, 3), (4, 2, 3), (2, 2, 3)]
        assert [y.shape for _, y in batches] == [(4,), (4,), (2,)]
        for x, y in batches:
            assert_array_equal(x[:, 0, 0], y)
        seen = np.concatenate([y for _, y in batches])
        assert sorted(seen) == list(range(10))
        assert list(seen) != list(range(10))

    @pytest.mark.parametrize(("count", "sizes"), [(8, [4, 4]), (3, [3]), (0, [])])
    def test_sizes(self, count: int, sizes: list[int]) -> None:
        batches = iter_batches(np.zeros((count, 2)), np.zeros(count), 4, random())
        assert [len(x) for x, _ in batches] == sizes
        assert len(list(iter_batches(np.zeros(count), np.zeros(count), 1, random()))) == count

    def test_the_generator_decides_the_order_and_every_epoch_has_its_own(self) -> None:
        labels = np.arange(50)

        def order(generator: np.random.Generator) -> list[int]:
            return [int(y) for _, ys in iter_batches(labels, labels, 7, generator) for y in ys]

        generator = random(1)
        first, second = order(generator), order(generator)
        assert first == order(random(1))
        assert first != second
        assert first != order(random(2))


class Looking(Layer):
    """Remembers in which mode it was called and on how many examples at once."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, bool]] = []

    def forward(self, inputs: Floats) -> Floats:
        self.seen.append((len(inputs), self.training))
        return inputs


class TestAccuracy:
    def test_a_short_last_batch_counts_by_its_examples(self) -> None:
        logits, labels = np.eye(10), np.arange(10)
        labels[9] = 0  # the one mistake is in a last batch of two: the mean of means would be 5/6
        layer = Looking()
        found = accuracy(layer, logits, labels, batch_size=4)
        assert type(found) is float
        assert found == 0.9
        assert [count for count, _ in layer.seen] == [4, 4, 2]

    def test_batches_do_not_change_it(self) -> None:
        network = cnn()
        images, labels = random(1).normal(size=(25, 1, 10, 12)), random(2).integers(0, 5, 25)
        network.forward(images)  # so that the averages are not what they began with
        found = {accuracy(network, images, labels, size) for size in (1, 7, 25, 1000)}
        expected = (network.eval().forward(images).argmax(axis=1) == labels).mean()
        assert found == {expected}

    @pytest.mark.parametrize("training", [True, False])
    def test_it_scores_in_evaluation_mode_and_restores_the_mode(self, training: bool) -> None:
        inner = Looking()
        network = Sequential(inner, Sequential(BatchNorm(10)))
        network.train(training)
        accuracy(network, np.eye(10), np.arange(10))
        assert inner.seen == [(10, False)]
        assert network.training is inner.training is training
        assert network.layers[1].layers[0].training is training

    def test_it_restores_the_mode_of_every_layer_even_after_an_error(self) -> None:
        frozen = BatchNorm(10).eval()
        network = Sequential(Looking(), frozen, Sequential(Linear(10, 4, random())))
        with pytest.raises(ValueError, match="takes"):
            accuracy(network, np.zeros((2, 3)), np.zeros(2))
        accuracy(network, np.eye(10), np.arange(10))
        assert network.training
        assert network.layers[0].training
        assert not frozen.training

    def test_it_moves_no_running_average(self) -> None:
        network = cnn()
        accuracy(network, random().normal(size=(5, 1, 10, 12)), np.zeros(5))
        assert_array_equal(network.layers[1].running_mean, 0)


class TestTraining:
    @staticmethod
    def train(mnist: MNIST, seed: int) -> tuple[float, float]:
        """Return the accuracy on 1,000 other digits of the training part, and the last loss."""
        images, labels = mnist.train.images[:3_000] / 255, mnist.train.labels[:3_000]
        generator = random(seed)
        network = Sequential(
            Flatten(), Linear(784, 64, generator), ReLU(), Linear(64, 10, generator)
        )
        loss, optimizer = SoftmaxCrossEntropy(), SGD(network, 0.1, momentum=0.9)
        for _ in range(4):
            for x, y in iter_batches(images[:2_000], labels[:2_000], 50, generator):
                last = loss.forward(network.forward(x), y)
                network.backward(loss.backward())
                optimizer.step()
        return accuracy(network, images[2_000:], labels[2_000:]), last

    def test_a_small_network_learns_2000_digits(self, mnist: MNIST) -> None:
        assert self.train(mnist, 0)[0] > 0.87

    def test_the_same_seed_gives_the_same_numbers(self, mnist: MNIST) -> None:
        assert self.train(mnist, 1) == self.train(mnist, 1) != self.train(mnist, 2)


class TestRecord:
    """What `make bench` measured holds what the book promises of these layers."""

    def test_a_convolution_takes_less_than_ten_times_pytorchs_time(self) -> None:
        record = load_record("numpy_layers")["convolution"]
        assert set(record) == {"1 to 32", "32 to 32"}
        for entry in record.values():
            times = entry["milliseconds"]
            assert entry["ratio_to_float32"] < 10
            assert entry["ratio_to_float32"] == pytest.approx(
                times["numpy_float64"] / times["torch_float32"], rel=0.02
            )

    @pytest.mark.parametrize("network", ["mlp", "cnn"])
    def test_both_networks_reach_98_percent_within_90_seconds(self, network: str) -> None:
        entry = load_record("numpy_layers")["training"][network]
        assert entry["validation_accuracy"]["n"] >= 3
        assert min(entry["validation_accuracy"]["values"]) >= 0.98
        assert max(entry["seconds"]["values"]) < 90


# --- The checks themselves -----------------------------------------------------------------------


def cubes(x: Floats) -> float:
    return float((x**3).sum())


class TestCentralDifference:
    def test_of_a_polynomial(self) -> None:
        at = random().normal(size=(2, 3, 2))
        assert_allclose(central_difference(cubes, at), 3 * at**2, atol=1e-8)

    def test_the_error_falls_with_the_square_of_the_step(self) -> None:
        """For x^3 it is exactly h^2; a one-sided difference would be off by 3 x h."""
        for step in (0.1, 0.01):
            error = central_difference(cubes, np.array([2.0]), step) - 12
            assert error.item() == pytest.approx(step**2, rel=1e-6)

    def test_the_point_is_left_alone(self) -> None:
        at = random().normal(size=5)
        before = at.copy()
        points = []

        def spoil(x: Floats) -> float:
            points.append(x.copy())
            value = cubes(x)
            x[...] = 99
            return value

        assert_allclose(central_difference(spoil, at, 0.5), 3 * before**2 + 0.25)
        assert_array_equal(at, before)
        # Each call is away from the point in one entry and exactly at it in the others.
        assert [(point != before).sum() for point in points] == [1] * 10

    @pytest.mark.parametrize("at", [3, [3, 4], np.array([3, 4], dtype=np.uint8)])
    def test_of_whole_numbers(self, at: object) -> None:
        found = central_difference(cubes, at)
        assert found.dtype == np.float64
        assert_allclose(found, 3 * np.asarray(at, dtype=float) ** 2, rtol=1e-8)


class TestGradientCheck:
    at = np.array([[0.5, -1.5, 2.0], [1.0, 3.0, -0.25]])

    def test_a_right_gradient_passes(self) -> None:
        report = gradient_check(cubes, 3 * self.at**2, self.at)
        assert report.passed
        assert report.error < 1e-8
        assert str(report) == "right"

    def test_the_worst_entry_is_reported(self) -> None:
        gradient = 3 * self.at**2
        gradient[0, 1] *= 1.01
        gradient[1, 0] *= 1.10
        gradient[1, 2] *= 1.02
        report = gradient_check(cubes, gradient, self.at)
        assert not report.passed
        assert report.index == (1, 0)
        assert report.error == pytest.approx(0.1 / 1.1, rel=1e-6)
        assert report.by_formula == pytest.approx(3.3)
        assert report.by_difference == pytest.approx(3)
        assert str(report) == "WRONG at [1, 0]: 3.3 by formula, 3 by difference"

    @pytest.mark.parametrize("factor", [-1, 0, 0.5, 2, 1.00001, 0.99999])
    def test_a_wrong_sign_or_factor_fails(self, factor: float) -> None:
        report = gradient_check(cubes, factor * 3 * self.at**2, self.at)
        assert not report.passed
        assert report.error == pytest.approx(abs(1 - factor) / max(1, abs(factor)), rel=0.01)

    def test_the_bound(self) -> None:
        assert GradientReport(9.9e-7, (0,), 1.0, 1.0).passed
        assert not GradientReport(1e-6, (0,), 1.0, 1.0).passed

    def test_one_small_wrong_entry_fails(self) -> None:
        gradient = 3 * self.at**2
        gradient[1, 2] += 1e-5
        report = gradient_check(cubes, gradient, self.at)
        assert (report.passed, report.index) == (False, (1, 2))

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_what_is_not_finite_fails_and_is_named(self, bad: float) -> None:
        gradient = 3 * self.at**2
        gradient[1, 1] = bad
        report = gradient_check(cubes, gradient, self.at)
        assert not report.passed
        assert report.index == (1, 1)
        assert report.error == math.inf

    def test_a_function_that_is_not_finite_fails(self) -> None:
        assert not gradient_check(lambda x: math.nan, np.zeros(2), np.zeros(2)).passed
        assert not gradient_check(
            lambda x: math.nan if x[1] > 0 else 0.0, np.zeros(2), np.zeros(2)
        ).passed

    @pytest.mark.parametrize("shape", [(3, 2), (6,), (1, 2, 3), ()])
    def test_shapes_must_agree(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(
            ValueError, match=r"^The gradient has shape .*, the point has \(2, 3\);"
        ):
            gradient_check(cubes, np.zeros(shape), self.at)

    def test_rounding_beside_a_large_value_is_no_fault(self) -> None:
        """The difference of two values near a million is exact to five digits and not to ten."""
        at = np.array([100.0, 1e-3])
        report = gradient_check(lambda x: float(1e6 + x[0] ** 2 + x[1] ** 2), 2 * at, at)
        assert report.passed

    def test_zero_everywhere_is_right_for_a_constant(self) -> None:
        assert gradient_check(lambda x: 0.0, np.zeros(3), np.ones(3)).error == 0
        assert not gradient_check(lambda x: 0.0, np.full(3, 1e-9), np.ones(3)).passed

    def test_nothing_that_is_given_is_changed(self) -> None:
        at, gradient = self.at.copy(), 3 * self.at**2
        at.flags.writeable = gradient.flags.writeable = False

        def spoil(x: Floats) -> float:
            value = cubes(x)
            x[...] = 0
            return value

        assert gradient_check(spoil, gradient, at).passed

    def test_of_a_single_number(self) -> None:
        assert gradient_check(lambda x: float(x**2), 6, 3).passed
        assert gradient_check(lambda x: float(x**2), 5, 3).index == ()


class TestCheckLayer:
    def test_it_changes_nothing(self) -> None:
        layer, inputs = mlp(), random().normal(size=(2, 12))
        parameters = copy.deepcopy(layer.parameters)
        inputs.flags.writeable = False
        assert check_layer(layer, inputs, random())["inputs"].passed
        for name, value in parameters.items():
            assert_array_equal(layer.parameters[name], value)
        assert layer.gradients == {}

    def test_the_same_generator_gives_the_same_report(self) -> None:
        layer, inputs = mlp(), random().normal(size=(2, 12))
        first, again, other = (check_layer(layer, inputs, random(seed)) for seed in (1, 1, 2))
        assert first == again != other

    def test_a_layer_may_share_its_generator_with_the_check(self) -> None:
        generator = random()
        assert check_layer(Dropout(0.5, generator), np.ones((3, 4)), generator)["inputs"].passed

    def test_of_whole_numbers(self) -> None:
        """An entry of a uint8 array cannot be moved by a hundred-thousandth."""
        for inputs in ([[1, 2, 3]], np.array([[1, 2, 3]], dtype=np.uint8)):
            assert all(
                r.passed for r in check_layer(Linear(3, 2, random()), inputs, random()).values()
            )

    def test_a_layer_that_writes_into_what_it_is_given_spoils_nothing(self) -> None:
        """Whether that is wrong is another question: its gradients are right."""

        class Doubling(Linear):
            def forward(self, inputs: Floats) -> Floats:
                inputs *= 2
                return super().forward(inputs)

            def backward(self, gradient: Floats) -> Floats:
                back = 2 * super().backward(gradient)
                gradient[...] = 0
                return back

        inputs = random().normal(size=(2, 3))
        before = inputs.copy()
        assert_right(Doubling(3, 2, random()), inputs)
        assert_array_equal(inputs, before)

    def test_inputs_at_a_kink_are_reported(self) -> None:
        """At the 0 of a ReLU the difference sees half of the slope: move your inputs away."""
        report = check_layer(ReLU(), np.array([1.0, 0.0]), random())["inputs"]
        assert (report.passed, report.index) == (False, (1,))


# --- Faults: backward passes written wrongly, as people write them -------------------------------


class LinearTransposed(Linear):
    def backward(self, gradient: Floats) -> Floats:
        super().backward(gradient)
        return gradient @ self.parameters["weight"].T  # fits, if the weight is square


class LinearWeightGradientTransposed(Linear):
    def backward(self, gradient: Floats) -> Floats:
        back = super().backward(gradient)
        self.gradients["weight"] = self.gradients["weight"].T
        return back


class LinearBiasAveraged(Linear):
    def backward(self, gradient: Floats) -> Floats:
        back = super().backward(gradient)
        self.gradients["bias"] = gradient.mean(axis=0)
        return back


class LinearBiasSummedOverOutputs(Linear):
    def backward(self, gradient: Floats) -> Floats:
        back = super().backward(gradient)
        self.gradients["bias"] = np.full(len(self.parameters["bias"]), gradient.sum())
        return back


class LinearDividedByBatch(Linear):
    def backward(self, gradient: Floats) -> Floats:
        back = super().backward(gradient)
        self.gradients["weight"] = self.gradients["weight"] / len(gradient)
        return back


class FlattenInColumns(Flatten):
    def backward(self, gradient: Floats) -> Floats:
        return gradient.reshape(self._remembered(), order="F")


class FlattenChannelsLast(Flatten):
    def backward(self, gradient: Floats) -> Floats:
        n, channels, height, width = self._remembered()
        return gradient.reshape(n, height, width, channels).transpose(0, 3, 1, 2)


class SigmoidHalf(Sigmoid):
    def backward(self, gradient: Floats) -> Floats:
        return gradient * self._remembered()  # (1 - y) is missing


class SigmoidTwice(Sigmoid):
    def backward(self, gradient: Floats) -> Floats:
        outputs = Sigmoid().forward(self._remembered())  # it was the sigmoid already
        return gradient * outputs * (1 - outputs)


class SigmoidOverwrites(Sigmoid):
    def backward(self, gradient: Floats) -> Floats:
        return self._remembered() * (1 - self._remembered())  # the chain rule is missing


class TanhNotSquared(Tanh):
    def backward(self, gradient: Floats) -> Floats:
        return gradient * (1 - self._remembered())


class TanhAsSigmoid(Tanh):
    def backward(self, gradient: Floats) -> Floats:
        return gradient * self._remembered() * (1 - self._remembered())


class ReLUMaskAfter(ReLU):
    def forward(self, inputs: Floats) -> Floats:
        outputs = super().forward(inputs)
        self._memory = outputs >= 0  # always true
        return outputs


class ReLUMaskOfGradient(ReLU):
    def backward(self, gradient: Floats) -> Floats:
        return super().backward(gradient) * (gradient > 0)


class ReLUTimesInput(ReLU):
    def backward(self, gradient: Floats) -> Floats:
        return gradient * np.maximum(self.inputs, 0)

    def forward(self, inputs: Floats) -> Floats:
        self.inputs = inputs
        return super().forward(inputs)


class SoftmaxDiagonal(Softmax):
    def backward(self, gradient: Floats) -> Floats:
        outputs = self._remembered()
        return gradient * outputs * (1 - outputs)  # p_i depends on every logit


class SoftmaxWrongAxis(Softmax):
    def backward(self, gradient: Floats) -> Floats:
        outputs = self._remembered()
        return outputs * (gradient - (gradient * outputs).sum(axis=0, keepdims=True))


class SoftmaxUnweighted(Softmax):
    def backward(self, gradient: Floats) -> Floats:
        return self._remembered() * (gradient - gradient.sum(axis=-1, keepdims=True))


class DropoutScaleForgotten(Dropout):
    def backward(self, gradient: Floats) -> Floats:
        return gradient * (self._remembered() > 0)


class DropoutDrawnAnew(Dropout):
    def backward(self, gradient: Floats) -> Floats:
        return Dropout(self.rate, self.generator).forward(gradient)


class DropoutIgnored(Dropout):
    def backward(self, gradient: Floats) -> Floats:
        return gradient


class ConvFlipped(Conv2d):
    """The input gradient with the kernel turned round, as if forward had been a convolution."""

    def backward(self, gradient: Floats) -> Floats:
        super().backward(gradient)
        gradients, weight = self.gradients, self.parameters["weight"]
        self.parameters = {**self.parameters, "weight": weight[:, :, ::-1, ::-1]}
        back = super().backward(gradient)
        self.parameters["weight"], self.gradients = weight, gradients
        return back


class ConvAveraged(Conv2d):
    def backward(self, gradient: Floats) -> Floats:
        back = super().backward(gradient)
        self.gradients["weight"] = self.gradients["weight"] / len(gradient)
        return back


class ConvBiasAveraged(Conv2d):
    def backward(self, gradient: Floats) -> Floats:
        back = super().backward(gradient)
        self.gradients["bias"] = gradient.sum(axis=0).mean(axis=(1, 2))
        return back


class ConvWeightFlipped(Conv2d):
    def backward(self, gradient: Floats) -> Floats:
        back = super().backward(gradient)
        self.gradients["weight"] = self.gradients["weight"][:, :, ::-1, ::-1]
        return back


class ConvChannelsSwapped(Conv2d):
    def backward(self, gradient: Floats) -> Floats:
        super().backward(gradient)
        gradients, weight = self.gradients, self.parameters["weight"]
        self.parameters = {**self.parameters, "weight": weight.transpose(1, 0, 2, 3)}
        back = super().backward(gradient)
        self.parameters["weight"], self.gradients = weight, gradients
        return back


class ConvEdgeOffByOne(Conv2d):
    def backward(self, gradient: Floats) -> Floats:
        back = super().backward(gradient)
        return np.pad(back, ((0, 0), (0, 0), (0, 1), (0, 1)))[:, :, 1:, 1:]


class ConvStrideForgotten(Conv2d):
    """Windows laid back side by side, whatever the stride was."""

    def backward(self, gradient: Floats) -> Floats:
        back = super().backward(gradient)
        (n, channels, height, width), _, places = self._remembered()[:3]
        weight = self.parameters["weight"]
        padded = add_windows(
            (n, channels, height, width),
            lambda a, b: np.einsum("oc,norp->ncrp", weight[:, :, a, b], gradient),
            self.kernel_size,
            1,
            places,
        )
        edge = self.padding
        assert padded[:, :, edge : height - edge, edge : width - edge].shape == back.shape
        return padded[:, :, edge : height - edge, edge : width - edge]


class MaxPoolEverywhere(MaxPool2d):
    def backward(self, gradient: Floats) -> Floats:
        shape, kept = self._remembered()
        return add_windows(
            shape, lambda a, b: gradient, self.kernel_size, self.stride, kept.shape[2:]
        )


class MaxPoolOverlapLost(MaxPool2d):
    """A pixel that two windows keep gets only the gradient of the last."""

    def backward(self, gradient: Floats) -> Floats:
        shape, kept = self._remembered()
        back = np.zeros(shape)
        for place in np.ndindex(kept.shape):
            n, channel, row, column = place
            a, b = divmod(int(kept[place]), self.kernel_size)
            back[n, channel, row * self.stride + a, column * self.stride + b] = gradient[place]
        return back


class MaxPoolTransposed(MaxPool2d):
    def backward(self, gradient: Floats) -> Floats:
        shape, kept = self._remembered()
        return add_windows(
            shape,
            lambda a, b: gradient * (kept == self.kernel_size * b + a),
            self.kernel_size,
            self.stride,
            kept.shape[2:],
        )


class MaxPoolAllTies(MaxPool2d):
    def forward(self, inputs: Floats) -> Floats:
        self.inputs = inputs
        return super().forward(inputs)

    def backward(self, gradient: Floats) -> Floats:
        outputs = super().forward(self.inputs)
        seen = windows(self.inputs, self.kernel_size, self.stride)
        return add_windows(
            self.inputs.shape,
            lambda a, b: gradient * (seen[..., a, b] == outputs),
            self.kernel_size,
            self.stride,
            outputs.shape[2:],
        )


class MaxPoolLastTie(MaxPool2d):
    def forward(self, inputs: Floats) -> Floats:
        seen = windows(inputs, self.kernel_size, self.stride)
        flat = seen.reshape(*seen.shape[:4], -1)[..., ::-1]
        self._memory = inputs.shape, flat.shape[-1] - 1 - flat.argmax(axis=-1)
        return flat.max(axis=-1)


class AvgPoolNotDivided(AvgPool2d):
    def backward(self, gradient: Floats) -> Floats:
        return super().backward(gradient) * self.kernel_size**2


class AvgPoolDividedOnce(AvgPool2d):
    def backward(self, gradient: Floats) -> Floats:
        return super().backward(gradient) * self.kernel_size


class AvgPoolRepeated(AvgPool2d):
    """Right for windows side by side, wrong where they overlap."""

    def backward(self, gradient: Floats) -> Floats:
        _, _, height, width = self._remembered()
        large = gradient.repeat(self.kernel_size, axis=2).repeat(self.kernel_size, axis=3)
        return large[:, :, :height, :width] / self.kernel_size**2


class BatchNormConstants(BatchNorm):
    """Mean and deviation taken as constants: right in evaluation mode, wrong in training."""

    def backward(self, gradient: Floats) -> Floats:
        normalised, deviation, axes, _ = self._remembered()
        self._memory = normalised, deviation, axes, False
        return super().backward(gradient)


class BatchNormDeviationConstant(BatchNorm):
    def backward(self, gradient: Floats) -> Floats:
        _, deviation, axes, _ = self._remembered()
        super().backward(gradient)
        scaled = gradient * self._along(self.parameters["weight"], gradient.ndim)
        return (scaled - scaled.mean(axis=axes, keepdims=True)) / deviation


class BatchNormWeightForgotten(BatchNorm):
    def backward(self, gradient: Floats) -> Floats:
        back = super().backward(gradient)
        return back / self._along(self.parameters["weight"], gradient.ndim)


class BatchNormWeightGradientOfInputs(BatchNorm):
    def backward(self, gradient: Floats) -> Floats:
        back = super().backward(gradient)
        normalised, deviation, axes, _ = self._remembered()
        self.gradients["weight"] = (gradient * normalised * deviation).sum(axis=axes)
        return back


class BatchNormEvalThroughStatistics(BatchNorm):
    """The other way round: in evaluation mode the statistics are constants."""

    def backward(self, gradient: Floats) -> Floats:
        self._memory = *self._remembered()[:3], True
        return super().backward(gradient)


class SequentialForwards(Sequential):
    def backward(self, gradient: Floats) -> Floats:
        back = gradient
        for layer in self.layers:
            back = layer.backward(back)
        super().backward(gradient)
        return back


class SequentialGradientsShared(Sequential):
    """The last layer's gradients for all: a name without a number."""

    def backward(self, gradient: Floats) -> Floats:
        back = super().backward(gradient)
        last = {name.partition(".")[2]: value for name, value in self.gradients.items()}
        self.gradients = {name: last[name.partition(".")[2]] for name in self.gradients}
        return back


def with_weights(layer: Layer) -> Layer:
    """Move parameters away from 0 and 1, where several faults hide."""
    for seed, parameter in enumerate(layer.parameters.values()):
        parameter[...] = random(seed).normal(1, 0.5, parameter.shape)
    return layer


# (what is wrong, how to make one of a class, the shape of the inputs)
Make = Callable[[type], Layer]
FAULTS: list[tuple[type[Layer], type[Layer], Make, tuple[int, ...]]] = [
    (LinearTransposed, Linear, lambda k: k(3, 3, random()), (4, 3)),
    (LinearWeightGradientTransposed, Linear, lambda k: k(3, 3, random()), (4, 3)),
    (LinearBiasAveraged, Linear, lambda k: k(3, 2, random()), (4, 3)),
    (LinearBiasSummedOverOutputs, Linear, lambda k: k(3, 2, random()), (4, 3)),
    (LinearDividedByBatch, Linear, lambda k: k(3, 2, random()), (4, 3)),
    (FlattenInColumns, Flatten, lambda k: k(), (2, 3, 4, 5)),
    (FlattenChannelsLast, Flatten, lambda k: k(), (2, 3, 4, 5)),
    (SigmoidHalf, Sigmoid, lambda k: k(), (3, 4)),
    (SigmoidTwice, Sigmoid, lambda k: k(), (3, 4)),
    (SigmoidOverwrites, Sigmoid, lambda k: k(), (3, 4)),
    (TanhNotSquared, Tanh, lambda k: k(), (3, 4)),
    (TanhAsSigmoid, Tanh, lambda k: k(), (3, 4)),
    (ReLUMaskAfter, ReLU, lambda k: k(), (3, 4)),
    (ReLUMaskOfGradient, ReLU, lambda k: k(), (3, 4)),
    (ReLUTimesInput, ReLU, lambda k: k(), (3, 4)),
    (SoftmaxDiagonal, Softmax, lambda k: k(), (3, 3)),
    (SoftmaxWrongAxis, Softmax, lambda k: k(), (3, 3)),
    (SoftmaxUnweighted, Softmax, lambda k: k(), (3, 3)),
    (DropoutScaleForgotten, Dropout, lambda k: k(0.4, random()), (3, 4)),
    (DropoutDrawnAnew, Dropout, lambda k: k(0.4, random()), (3, 4)),
    (DropoutIgnored, Dropout, lambda k: k(0.4, random()), (3, 4)),
    (ConvFlipped, Conv2d, lambda k: k(2, 3, 3, random()), (2, 2, 4, 5)),
    (ConvAveraged, Conv2d, lambda k: k(2, 3, 3, random()), (2, 2, 4, 5)),
    (ConvBiasAveraged, Conv2d, lambda k: k(2, 3, 3, random()), (2, 2, 4, 5)),
    (ConvWeightFlipped, Conv2d, lambda k: k(2, 3, 3, random()), (2, 2, 4, 5)),
    (ConvChannelsSwapped, Conv2d, lambda k: k(3, 3, 2, random()), (2, 3, 3, 4)),
    (ConvEdgeOffByOne, Conv2d, lambda k: k(2, 3, 3, random(), padding=1), (2, 2, 4, 5)),
    (ConvStrideForgotten, Conv2d, lambda k: k(2, 3, 3, random(), stride=2), (2, 2, 5, 6)),
    (MaxPoolEverywhere, MaxPool2d, lambda k: k(2), (2, 2, 4, 5)),
    (MaxPoolOverlapLost, MaxPool2d, lambda k: k(3, 1), (2, 2, 4, 5)),
    (MaxPoolTransposed, MaxPool2d, lambda k: k(2), (2, 2, 4, 5)),
    (AvgPoolNotDivided, AvgPool2d, lambda k: k(2), (2, 2, 4, 4)),
    (AvgPoolDividedOnce, AvgPool2d, lambda k: k(2), (2, 2, 4, 4)),
    (AvgPoolRepeated, AvgPool2d, lambda k: k(2, 1), (2, 2, 3, 3)),
    (BatchNormConstants, BatchNorm, lambda k: k(3), (5, 3)),
    (BatchNormDeviationConstant, BatchNorm, lambda k: k(3), (5, 3)),
    (BatchNormWeightForgotten, BatchNorm, lambda k: k(3), (2, 3, 2, 3)),
    (BatchNormWeightGradientOfInputs, BatchNorm, lambda k: k(3), (2, 3, 2, 3)),
    (BatchNormEvalThroughStatistics, BatchNorm, lambda k: k(3).eval(), (5, 3)),
    (
        SequentialForwards,
        Sequential,
        lambda k: k(Linear(3, 3, random()), Tanh(), Linear(3, 3, random(1))),
        (2, 3),
    ),
    (
        SequentialGradientsShared,
        Sequential,
        lambda k: k(Linear(3, 3, random()), Tanh(), Linear(3, 3, random(1))),
        (2, 3),
    ),
]


class TestFaults:
    @pytest.mark.parametrize(
        ("faulty", "right", "make", "shape"), FAULTS, ids=[row[0].__name__ for row in FAULTS]
    )
    def test_the_check_sees_it(
        self, faulty: type[Layer], right: type[Layer], make: Make, shape: tuple[int, ...]
    ) -> None:
        """The same layer passes when it is right, so it is the fault that is seen."""
        inputs = distinct(shape, random(5))
        assert_right(with_weights(make(right)), inputs)
        reports = check_layer(with_weights(make(faulty)), inputs, random())
        assert not all(report.passed for report in reports.values())
        assert worst(reports) > 1e-3

    def test_no_backward_pass_is_without_a_fault(self) -> None:
        assert {right.__name__ for _, right, _, _ in FAULTS} == {
            name.partition(",")[0] for name in LAYERS
        }

    @pytest.mark.parametrize("faulty", [MaxPoolAllTies, MaxPoolLastTie])
    def test_ties_are_seen_beside_torch(self, faulty: type[MaxPool2d]) -> None:
        """Without ties these are right; a tie is a kink, which only the rule of PyTorch decides."""
        assert_right(faulty(2), distinct((2, 2, 4, 4), random()))
        inputs = random().integers(0, 2, (2, 2, 4, 4)).astype(float)
        assert_as_torch(MaxPool2d(2), nn.MaxPool2d(2), inputs)
        with pytest.raises(AssertionError):
            assert_as_torch(faulty(2), nn.MaxPool2d(2), inputs)

    def test_a_gradient_that_backward_leaves_out_is_named(self) -> None:
        class Unfilled(Linear):
            def backward(self, gradient: Floats) -> Floats:
                return gradient @ self.parameters["weight"]

        with pytest.raises(
            ValueError, match=r"^Unfilled\.backward left no gradient for 'weight'\.$"
        ):
            check_layer(Unfilled(3, 2, random()), np.ones((4, 3)), random())

    def test_a_bias_gradient_per_example_has_the_wrong_shape(self) -> None:
        class Unsummed(Linear):
            def backward(self, gradient: Floats) -> Floats:
                back = super().backward(gradient)
                self.gradients["bias"] = gradient
                return back

        with pytest.raises(ValueError, match=r"^The gradient has shape \(4, 2\), the point has"):
            check_layer(Unsummed(3, 2, random()), np.ones((4, 3)), random())

    @pytest.mark.parametrize(
        "wrong",
        [
            lambda right, n: right * n,  # not divided by the batch
            lambda right, n: -right,
            lambda right, n: right + 1 / n / right.shape[1],  # spread over the classes
            lambda right, n: np.maximum(right, 0),  # the one-hot label is missing
            lambda right, n: np.minimum(right, 0),  # only the right class has a gradient
            lambda right, n: right / right.shape[1],  # divided by the classes as well
        ],
    )
    def test_cross_entropy(self, wrong: Callable[[Floats, int], Floats]) -> None:
        logits, labels = random().normal(size=(4, 3)), np.array([0, 2, 1, 1])
        loss = SoftmaxCrossEntropy()

        def value(x: Floats) -> float:
            return SoftmaxCrossEntropy().forward(x, labels)

        loss.forward(logits, labels)
        assert gradient_check(value, loss.backward(), logits).passed
        assert not gradient_check(value, wrong(loss.backward(), 4), logits).passed

    @pytest.mark.parametrize("factor", [0.5, -1, 3, 12, 4])  # 2 forgotten, sign, n, entries ...
    def test_mean_squared_error(self, factor: float) -> None:
        predictions, targets = random().normal(size=(2, 4, 3))
        loss = MeanSquaredError()

        def value(x: Floats) -> float:
            return MeanSquaredError().forward(x, targets)

        loss.forward(predictions, targets)
        assert gradient_check(value, loss.backward(), predictions).passed
        assert not gradient_check(value, factor * loss.backward(), predictions).passed
