"""Accuracy by hand: over examples and not over batches, in evaluation mode, leaving no trace."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from mnist_lab.by_hand.layers import BatchNorm, Flatten, Floats, Layer, Linear, Sequential
from mnist_lab.by_hand.scoring import accuracy
from tests.by_hand.comparing import cnn, random


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


class TestErrors:
    @pytest.mark.parametrize(
        ("images", "labels"), [((3, 2), (3, 1)), ((3, 2), (1,)), ((0, 2), (0,))]
    )
    def test_accuracy_of_what_makes_no_pairs(
        self, images: tuple[int, ...], labels: tuple[int, ...]
    ) -> None:
        with pytest.raises(ValueError, match=r"^Images \(n, \.\.\.\) and labels \(n,\) are wanted"):
            accuracy(Flatten(), np.zeros(images), np.zeros(labels))
