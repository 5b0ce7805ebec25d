"""The benchmark of other hands: how it deals, enlarges and scores, and what its record says."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import hands
from mnist_lab.data.digit_set import DigitSet
from mnist_lab.handwriting.reader import Reader
from mnist_lab.lessons import load_record
from mnist_lab.models.registry import build_model


@pytest.fixture
def few(small_sets: tuple[DigitSet, DigitSet]) -> DigitSet:
    return small_sets[1].subset(np.arange(100))


def test_deals_each_class_into_halves(few: DigitSet) -> None:
    one, other = hands.deal(few)
    assert len(one) + len(other) == len(few)
    assert np.abs(one.class_counts() - other.class_counts()).max() <= 1
    both = {image.tobytes() for image in one.images} & {image.tobytes() for image in other.images}
    assert not both


def test_enlarges_to_the_size_of_drawings_and_keeps_the_aspect(few: DigitSet) -> None:
    for image in few.images[:10]:
        large = hands.enlarge(image)
        rows, columns = (np.ptp(np.flatnonzero(image.any(axis=axis))) + 1 for axis in (1, 0))
        assert max(large.shape) == 200
        assert large.shape[0] / large.shape[1] == pytest.approx(rows / columns, rel=0.1)


@pytest.mark.parametrize("manner", hands.FORMS.values())
def test_every_form_keeps_labels_and_size(few: DigitSet, manner: str | None) -> None:
    changed = hands.in_another_form(few.subset(np.arange(5)), manner)
    assert np.array_equal(changed.labels, few.labels[:5])
    assert changed.images.shape == (5, 28, 28)
    assert (changed.images.max(axis=(1, 2)) > 100).all()


def test_scores_the_share_and_the_loss(few: DigitSet) -> None:
    share, loss = hands.score(Reader(build_model("linear", seed=0)), few)
    assert 0 <= share <= 1
    assert loss == pytest.approx(np.log(10), abs=1)  # untrained: about as likely as not


class TestTheRecord:
    """Beside the rows of the pages' recipe in the record of robustness, seed by seed."""

    @pytest.mark.parametrize(("ours", "theirs"), [("MNIST", "as they are"), ("UCI", "UCI")])
    def test_habits_cost_nothing_where_they_can_be_compared(self, ours: str, theirs: str) -> None:
        with_habits = load_record("hands")["results"]["recipes"]["with habits"][ours]["read"]
        without = load_record("robustness")["results"]["pages"]["rows"][theirs]
        seeds = with_habits["n"]
        gains = np.subtract(with_habits["values"], without["values"][:seeds])
        assert seeds >= 2
        assert gains.mean() > 0
