"""A set of digits is checked once, when it is made."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mnist_lab.data.digit_set import DIGIT_NAMES, DataError, DigitSet, align_classes


def digits(n: int = 4, size: int = 28) -> DigitSet:
    images = np.arange(n * size * size, dtype=np.uint8).reshape(n, size, size)
    return DigitSet(images, np.arange(n, dtype=np.int64))


class TestDigitSet:
    @pytest.mark.parametrize(
        ("images", "labels", "complaint"),
        [
            (np.zeros((2, 28, 28)), np.array([0, 1]), r"uint8 .*found float64"),
            (np.zeros((2, 784), np.uint8), np.array([0, 1]), r"\(n, height, width\)"),
            (np.zeros((2, 28, 28), np.uint8), np.array([0, 1, 2]), "2 images but 3 labels"),
            (np.zeros((2, 28, 28), np.uint8), np.array([0.0, 1.0]), "whole numbers"),
            (np.zeros((2, 28, 28), np.uint8), np.array([0, 10]), "label 10 is outside the 10"),
            (np.zeros((2, 28, 28), np.uint8), np.array([-1, 1]), "label -1 is outside"),
            (np.zeros((0, 28, 28), np.uint8), np.array([], int), "empty"),
            (np.zeros((2, 0, 28), np.uint8), np.array([0, 1]), "hold nothing"),
            (np.zeros((2, 28, 28), np.uint8), [0, 1], "found list"),
        ],
    )
    def test_refuses_what_does_not_fit(
        self, images: np.ndarray, labels: np.ndarray, complaint: str
    ) -> None:
        with pytest.raises(DataError, match=complaint):
            DigitSet(images, labels)

    def test_subset_keeps_images_and_labels_together(self) -> None:
        chosen = digits(6).subset([5, 2])
        assert chosen.labels.tolist() == [5, 2]
        assert (chosen.images[0] == digits(6).images[5]).all()

    def test_writers_stay_with_their_digits(self) -> None:
        written = replace(digits(6), writers=np.array([7, 7, 8, 8, 9, 9]))
        for chosen in ([5, 2], np.array([0, 0, 1, 0, 0, 1], bool), slice(2, 4)):
            part = written.subset(chosen)
            assert part.writers is not None
            expected = np.array([7, 7, 8, 8, 9, 9])[chosen]
            assert part.writers.tolist() == expected.tolist()
        assert digits(6).subset([5, 2]).writers is None

    @pytest.mark.parametrize(
        ("writers", "complaint"),
        [
            (np.array([1, 2, 3]), "there are 2 digits but 3 writers"),
            (np.array([[1], [2]]), r"writers must be whole numbers \(n,\)"),
            (np.array([0.5, 1]), r"writers must be whole numbers \(n,\), found float64"),
            (np.array([1, 2], np.int32), "writers must be int64, found int32"),
            ([1, 2], "writers must be an array"),
        ],
    )
    def test_refuses_writers_that_do_not_fit(self, writers: np.ndarray, complaint: str) -> None:
        with pytest.raises(DataError, match=complaint):
            replace(digits(2), writers=writers)


class TestAlignClasses:
    def folder(self, names: tuple[str, ...]) -> DigitSet:
        return replace(digits(4), labels=np.array([0, 0, 1, 1]), class_names=names)

    def test_labels_count_as_the_model_counts(self) -> None:
        aligned = align_classes(self.folder(("3", "7")), DIGIT_NAMES)
        assert aligned.labels.tolist() == [3, 3, 7, 7]
        assert aligned.class_names == DIGIT_NAMES

    def test_a_class_that_the_model_does_not_know(self) -> None:
        with pytest.raises(DataError, match="'seven' is not one of the model's"):
            align_classes(self.folder(("3", "seven")), DIGIT_NAMES)
