"""The checks of gradients: exact where they can be, and no wrong gradient escapes them.

Every backward pass is written wrongly in the ways in which people get it wrong, and the checks must
notice.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import numpy as np
import pytest
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
    GlobalAvgPool,
    MaxPool2d,
    add_windows,
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
from tests.by_hand.comparing import (
    LAYERS,
    assert_as_torch,
    assert_right,
    distinct,
    mlp,
    random,
    worst,
)


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
        assert str(report) == "right, worst error below 1e-08"

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

    @pytest.mark.parametrize(
        ("error", "bound"), [(0, 1e-8), (3e-13, 1e-8), (9.9e-9, 1e-8), (2e-8, 1e-6), (0.02, 1)]
    )
    def test_how_near_is_said_in_steps_of_a_hundred(self, error: float, bound: float) -> None:
        report = GradientReport(error, (0,), 1.0, 1.0)
        assert report.error <= report.bound == pytest.approx(bound)
        assert not report.passed or str(report) == f"right, worst error below {bound:.0e}"

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


class TestWhatIsRemembered:
    """A check leaves no trace in the layer."""

    def test_checking_does_not_move_running_averages(self) -> None:
        layer = BatchNorm(2)
        check_layer(layer, random().normal(size=(5, 2)), random())
        assert_array_equal(layer.running_mean, 0)
        assert_array_equal(layer.running_variance, 1)

    def test_a_check_leaves_the_generator_alone(self) -> None:
        generator = random()
        before = generator.bit_generator.state
        check_layer(Dropout(0.5, generator), np.ones((3, 3)), random(1))
        assert generator.bit_generator.state == before


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


class GlobalAvgPoolNotDivided(GlobalAvgPool):
    def backward(self, gradient: Floats) -> Floats:
        _, _, height, width = self._remembered()
        return super().backward(gradient) * (height * width)


class GlobalAvgPoolDividedByOneSide(GlobalAvgPool):
    def backward(self, gradient: Floats) -> Floats:
        return super().backward(gradient) * self._remembered()[2]


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


Make = Callable[[type], Layer]
# The fault, the layer as it should be, how to make one of a class, the shape of the inputs.
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
    (GlobalAvgPoolNotDivided, GlobalAvgPool, lambda k: k(), (2, 2, 4, 5)),
    (GlobalAvgPoolDividedByOneSide, GlobalAvgPool, lambda k: k(), (2, 2, 4, 5)),
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
