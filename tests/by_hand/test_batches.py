"""Batches by hand: every example once, with its own label, in an order that is drawn."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from mnist_lab.by_hand.batches import iter_batches
from tests.by_hand.comparing import random


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


class TestErrors:
    def test_batches_of_nothing_and_of_what_makes_no_pairs(self) -> None:
        with pytest.raises(ValueError, match=r"^A batch holds at least 1 example, not 0\.$"):
            next(iter_batches(np.zeros(3), np.zeros(3), 0, random()))
        with pytest.raises(ValueError, match=r"^3 images and 4 labels make no pairs\.$"):
            next(iter_batches(np.zeros(3), np.zeros(4), 2, random()))
