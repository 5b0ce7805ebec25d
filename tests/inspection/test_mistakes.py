"""Where a network is wrong: counted as scikit-learn counts, and slant is what it is said to be."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from mnist_lab.handwriting.simulated_hands import Hand, draw_hand
from mnist_lab.handwriting.strokes import draw_strokes
from mnist_lab.inspection.mistakes import (
    confusion_matrix,
    measure_digits,
    most_confident_mistakes,
    share_by_part,
)


def test_confusions_are_counted_as_scikit_learn_counts_them() -> None:
    generator = np.random.default_rng(0)
    labels, answers = generator.integers(0, 10, (2, 300))
    assert np.array_equal(
        confusion_matrix(labels, answers),
        metrics.confusion_matrix(labels, answers, labels=range(10)),
    )
    assert confusion_matrix([3, 3, 5], [5, 3, 5])[3, 5] == 1  # right is the row


@pytest.mark.parametrize("wrong", [[10], [-1]])
def test_what_is_no_class_is_refused(wrong: list[int]) -> None:
    with pytest.raises(ValueError, match="0 to 9"):
        confusion_matrix([0], wrong)


def test_the_surest_mistake_comes_first_and_what_is_right_not_at_all() -> None:
    probabilities = np.array([[0.9, 0.1], [0.3, 0.7], [0.05, 0.95], [0.2, 0.8]])
    assert most_confident_mistakes(probabilities, [0, 0, 0, 1]).tolist() == [2, 1]
    assert most_confident_mistakes(probabilities, [0, 0, 0, 1], count=1).tolist() == [2]


@pytest.mark.parametrize("slant", [-0.4, 0.0, 0.4])
def test_slant_is_that_of_the_hand(slant: float) -> None:
    ones = {1: [[(0.5, 0.1), (0.5, 0.9)]]}
    hand = Hand(ones, slant=slant, slant_spread=0, turn_spread=0, wobble=0)
    drawings, labels = draw_hand(hand, per_class=3, seed=0)
    images = np.stack([draw_strokes(drawings[i]) for i in np.flatnonzero(labels == 1)])
    assert measure_digits(images)["slant"] == pytest.approx(slant, abs=0.04)


def test_an_empty_image_measures_nothing_and_a_block_what_it_has() -> None:
    images = np.zeros((2, 28, 28), np.uint8)
    images[1, 4:14, 8:13] = 255
    found = measure_digits(images)
    assert {name: values[0] for name, values in found.items()} == {"ink": 0, "width": 0, "slant": 0}
    assert found["ink"][1] == pytest.approx(50)
    assert found["width"][1] == pytest.approx(0.5)


def test_parts_are_even_and_go_upwards() -> None:
    middles, shares = share_by_part([5, 1, 4, 2, 3, 6], [1, 0, 1, 0, 0, 1], parts=3)
    assert middles.tolist() == [1.5, 3.5, 5.5]
    assert shares.tolist() == [0, 0.5, 1]
