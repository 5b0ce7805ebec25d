"""Optimisers by hand: step by step equal to PyTorch's, and a network learns with them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.testing import assert_array_equal
from torch import nn

from mnist_lab.by_hand.batches import iter_batches
from mnist_lab.by_hand.layers import Flatten, Layer, Linear, ReLU, Sequential
from mnist_lab.by_hand.losses import SoftmaxCrossEntropy
from mnist_lab.by_hand.optimisers import SGD, Adam
from mnist_lab.by_hand.scoring import accuracy
from mnist_lab.data.mnist import MNIST
from mnist_lab.lessons.records import load_record
from tests.by_hand.comparing import load, mlp, mlp_in_torch, random, relative_error


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


class TestOptimisers:
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
