"""Layers by hand: equal to central differences and to PyTorch, also at their edges.

Edges are the 0 of a ReLU, logits of 10,000, a feature that never changes. The layers on images are
in test_images.py, but what all layers promise is here.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from torch import nn

from mnist_lab import by_hand
from mnist_lab.by_hand.images import Conv2d, MaxPool2d
from mnist_lab.by_hand.layers import (
    BatchNorm,
    Dropout,
    Flatten,
    Layer,
    Linear,
    ReLU,
    Sequential,
    Sigmoid,
    Softmax,
    Tanh,
)
from mnist_lab.by_hand.losses import SoftmaxCrossEntropy
from tests.by_hand.comparing import (
    LAYERS,
    SEEDS,
    SMALL,
    assert_as_torch,
    assert_right,
    cnn,
    cnn_in_torch,
    distinct,
    drawn,
    load,
    mlp,
    mlp_in_torch,
    random,
    relative_error,
)


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


class TestBatchNorm:
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

    def test_a_constant_feature_divides_by_no_zero(self) -> None:
        layer = BatchNorm(2)
        assert_array_equal(layer.forward(np.full((4, 2), 7.0)), np.zeros((4, 2)))
        assert np.isfinite(layer.backward(random().normal(size=(4, 2)))).all()


class TestEdges:
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

    @pytest.mark.filterwarnings("error")
    def test_the_sigmoid_keeps_its_digits_where_it_is_tiny(self) -> None:
        inputs = np.array([-700.0, -40.0, -30.0, -1.0, 0.0, 1.0, 40.0, 1e4])
        right = [1 / (1 + math.exp(-x)) for x in inputs]  # no power here is too large for a float
        assert_allclose(Sigmoid().forward(inputs), right, rtol=1e-15)

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


every_layer = pytest.mark.parametrize(("make", "shape"), LAYERS.values(), ids=LAYERS)


class TestPromises:
    def test_the_list_names_every_layer(self) -> None:
        public = {
            name
            for name in dir(by_hand)
            if isinstance(value := getattr(by_hand, name), type) and issubclass(value, Layer)
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

    @pytest.mark.parametrize("gain", [2, 1, 0.01])
    def test_the_gain_multiplies_the_mean_square(self, gain: float) -> None:
        inputs = random().normal(size=(400, 300))
        outputs = Linear(300, 500, random(1), gain=gain).forward(inputs)
        assert (outputs**2).mean() == pytest.approx(gain * (inputs**2).mean(), rel=0.03)

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

    def test_a_layer_without_a_formula(self) -> None:
        with pytest.raises(NotImplementedError):
            Layer().forward([1])
        with pytest.raises(NotImplementedError):
            Layer().backward([1])

    @pytest.mark.parametrize("shape", [(4,), (2, 3), (2, 4, 1), (0,), ()])
    def test_linear(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match=r"takes batches of shape \(n, 4\), not \("):
            Linear(4, 2, random()).forward(np.zeros(shape))

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
