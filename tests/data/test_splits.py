"""Parts of a data set: of the sizes asked for, disjoint, the same from the same seed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mnist_lab.data.digit_set import DataError, DigitSet
from mnist_lab.data.mnist import MNIST
from mnist_lab.data.splits import few_labels, keep_classes, split


def blank(labels: list[int]) -> DigitSet:
    return DigitSet(np.zeros((len(labels), 28, 28), np.uint8), np.array(labels))


class TestSplit:
    def test_is_stratified_disjoint_and_complete(self, mnist: MNIST) -> None:
        numbered = DigitSet(  # each image carries its own number in four of its bytes
            np.arange(60_000, dtype=">u4").view(np.uint8).reshape(60_000, 2, 2),
            mnist.train.labels,
            part="train",
        )
        train, validation = split(numbered, seed=3)
        assert (len(train), len(validation)) == (55_000, 5_000)
        assert (train.part, validation.part) == ("train", "validation")
        numbers = [part.images.reshape(-1, 4).view(">u4")[:, 0] for part in (train, validation)]
        assert sorted(np.concatenate(numbers)) == list(range(60_000))
        exact = numbered.class_counts() * 5_000 / 60_000
        assert np.abs(validation.class_counts() - exact).max() < 1
        assert (mnist.train.labels[numbers[1].astype(int)] == validation.labels).all()

    def test_depends_on_the_seed_alone(self, mnist: MNIST) -> None:
        one, again, other = (split(mnist.train, seed)[1].images[:50] for seed in (0, 0, 1))
        assert (one == again).all()
        assert (one != other).any()

    @pytest.mark.parametrize("count", [0, -1, 4, 5])
    def test_refuses_a_part_that_is_empty(self, count: int) -> None:
        with pytest.raises(DataError, match="Cannot hold out"):
            split(blank([0, 1, 2, 3]), 0, validation=count)

    def test_what_rounding_leaves_goes_to_the_largest_remainders(self) -> None:
        """Exact shares of 3.3, 3.3 and 3.4 are 3, 3 and 4; the largest class gets the rest."""
        _, validation = split(blank([0] * 33 + [1] * 33 + [2] * 34), seed=0, validation=10)
        assert validation.class_counts()[:3].tolist() == [3, 3, 4]


class TestSplitByWriter:
    def written(self) -> DigitSet:
        """600 digits by 30 people; person k wrote 5 + k, and all are in another order."""
        writers = np.repeat(np.arange(30), np.arange(5, 35)) + 100
        writers = np.random.default_rng(9).permutation(writers)
        images = np.arange(len(writers), dtype=">u4").view(np.uint8).reshape(-1, 2, 2)
        return DigitSet(images, np.arange(len(writers)) % 10, writers=writers)

    def people(self, digits: DigitSet) -> set[int]:
        assert digits.writers is not None
        return set(digits.writers.tolist())

    @pytest.mark.parametrize("seed", range(5))
    def test_nobody_is_in_both_parts_and_nothing_is_lost(self, seed: int) -> None:
        digits = self.written()
        train, validation = split(digits, seed, validation=100, by="writer")
        assert not self.people(train) & self.people(validation)
        assert self.people(train) | self.people(validation) == self.people(digits)
        assert len(train) + len(validation) == len(digits)
        assert (train.part, validation.part) == ("train", "validation")
        # No more than half of the most that one person wrote.
        assert abs(len(validation) - 100) <= 17

    def test_every_digit_stays_with_its_writer_and_in_order(self) -> None:
        digits = self.written()
        assert digits.writers is not None
        for part in split(digits, 0, validation=100, by="writer"):
            numbers = part.images.reshape(-1, 4).view(">u4")[:, 0].astype(int)
            assert (np.diff(numbers) > 0).all()
            assert np.array_equal(part.writers, digits.writers[numbers])
            assert np.array_equal(part.labels, digits.labels[numbers])

    def test_split_by_digit_leaves_most_people_in_both_parts(self) -> None:
        train, validation = split(self.written(), seed=0, validation=100)
        assert self.people(train) & self.people(validation)

    def test_depends_on_the_seed_alone(self) -> None:
        one, again, other = (
            split(self.written(), seed, validation=100, by="writer")[1] for seed in (0, 0, 1)
        )
        assert self.people(one) == self.people(again) != self.people(other)

    @pytest.mark.parametrize("validation", [1, 584])
    def test_somebody_is_in_each_part(self, validation: int) -> None:
        parts = split(self.written(), seed=0, validation=validation, by="writer")
        assert min(map(len, parts)) >= 5

    def test_digits_that_do_not_say_by_whom(self) -> None:
        with pytest.raises(DataError, match=r"do not say who wrote them: .*by=\"digit\""):
            split(blank([0, 1, 2, 3]), 0, validation=1, by="writer")

    def test_one_person_cannot_be_held_out_of_her_own_digits(self) -> None:
        alone = replace(blank([0, 1, 2, 3]), writers=np.full(4, 5))
        with pytest.raises(DataError, match="One person wrote all of these digits"):
            split(alone, 0, validation=1, by="writer")

    def test_by_something_else(self) -> None:
        with pytest.raises(DataError, match=r"by must be .*, found 'person'"):
            split(blank([0, 1, 2]), 0, validation=1, by="person")  # type: ignore[arg-type]


class TestFewLabels:
    def test_so_many_of_every_class(self, mnist: MNIST) -> None:
        few = few_labels(mnist.train, 3, seed=0)
        assert few.class_counts().tolist() == [3] * 10
        for image, label in zip(few.images, few.labels, strict=True):
            same = mnist.train.images[mnist.train.labels == label]
            assert (same == image).all((1, 2)).any()

    def test_the_seed_decides(self, mnist: MNIST) -> None:
        one, same, other = (few_labels(mnist.train, 5, seed).images for seed in (1, 1, 2))
        assert np.array_equal(one, same)
        assert not np.array_equal(one, other)

    def test_a_larger_draw_holds_the_smaller(self, mnist: MNIST) -> None:
        two, five = (few_labels(mnist.train, count, seed=4) for count in (2, 5))
        for image in two.images:
            assert (five.images == image).all((1, 2)).any()

    def test_no_digit_twice(self, mnist: MNIST) -> None:
        digits = mnist.train.subset(np.arange(600))
        few = few_labels(digits, int(digits.class_counts().min()), seed=0)
        assert len(np.unique(few.images.reshape(len(few), -1), axis=0)) == len(few)

    def test_a_class_with_too_few(self, mnist: MNIST) -> None:
        digits = mnist.train.subset(mnist.train.labels != 7)
        with pytest.raises(DataError, match="Class '7' has 0 digits, 1 of it are asked for"):
            few_labels(digits, 1, seed=0)
        with pytest.raises(DataError, match="at least 1 label, found per_class=0"):
            few_labels(mnist.train, 0, seed=0)


class TestKeepClasses:
    def test_labels_count_in_the_order_of_the_names(self, mnist: MNIST) -> None:
        kept = keep_classes(mnist.train, "95")
        assert kept.class_names == ("9", "5")
        assert np.array_equal(kept.images[kept.labels == 0], mnist.train.images[
            mnist.train.labels == 9
        ])  # fmt: skip
        assert len(kept) == np.isin(mnist.train.labels, (5, 9)).sum()
        assert kept.part == mnist.train.part

    def test_writers_stay_with_their_digits(self) -> None:
        digits = replace(blank([5, 9, 5, 0]), writers=np.array([1, 2, 3, 4]))
        kept = keep_classes(digits, "95")
        assert kept.writers is not None
        assert kept.writers.tolist() == [1, 2, 3]

    def test_classes_that_are_not_there(self, mnist: MNIST) -> None:
        with pytest.raises(DataError, match="No class 'a'; there are 0, 1"):
            keep_classes(mnist.train, "1a")
        with pytest.raises(DataError, match="named twice"):
            keep_classes(mnist.train, "11")
        ones = mnist.train.subset(mnist.train.labels == 1)
        with pytest.raises(DataError, match="No digit is of the classes 2, 3"):
            keep_classes(ones, "23")
