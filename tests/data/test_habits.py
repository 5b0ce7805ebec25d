"""Other habits: the change is the one that was asked for, and only that."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import label

from mnist_lab.data.digit_set import DataError, DigitSet
from mnist_lab.data.geometry import crop_to_ink
from mnist_lab.data.habits import add_habits, add_upstrokes, rotate_digits
from mnist_lab.data.mnist import MNIST


@pytest.fixture
def digits(small_sets: tuple[DigitSet, DigitSet]) -> DigitSet:
    return small_sets[0].subset(np.arange(50))


class TestRotate:
    def test_a_quarter_turn_moves_every_pixel_where_it_belongs(self, digits: DigitSet) -> None:
        turned = rotate_digits(digits, 90)
        assert np.array_equal(turned.images, np.rot90(digits.images, axes=(1, 2)))

    def test_back_again_is_nearly_the_same(self, digits: DigitSet) -> None:
        back = rotate_digits(rotate_digits(digits, 30), -30)
        error = np.abs(back.images.astype(float) - digits.images).mean()
        assert 0 < error < 10

    def test_labels_names_and_part_stay(self, digits: DigitSet) -> None:
        turned = rotate_digits(digits, 17)
        assert np.array_equal(turned.labels, digits.labels)
        assert (turned.class_names, turned.part) == (digits.class_names, digits.part)
        assert turned.images.dtype == np.uint8

    def test_out_of_range(self, digits: DigitSet) -> None:
        with pytest.raises(DataError, match="between -360 and 360, found nan"):
            rotate_digits(digits, float("nan"))


class TestUpstrokes:
    def line(self, count: int = 200) -> DigitSet:
        """Ones that are bars, 20 pixels high and 3 wide, and as many zeros that look the same."""
        images = np.zeros((2 * count, 28, 28), np.uint8)
        images[:, 4:24, 13:16] = 255
        return DigitSet(images, np.repeat([1, 0], count))

    def test_only_a_share_of_the_ones(self) -> None:
        digits = self.line(1_000)
        changed = add_upstrokes(digits, 0.3, seed=0)
        differs = (changed.images != digits.images).any(axis=(1, 2))
        assert differs[:1_000].mean() == pytest.approx(0.3, abs=0.05)
        assert not differs[1_000:].any()
        assert np.array_equal(changed.labels, digits.labels)

    def test_the_stroke_goes_down_to_the_left_from_the_top(self) -> None:
        ones = add_upstrokes(self.line(), 1, seed=0).images[:200].astype(float)
        columns = np.arange(28)
        for one in ones:
            rows = np.flatnonzero(one.max(axis=1) > 127)
            assert len(rows) in (20, 21)
            stem = columns[one[rows[15]] > 127]  # below the upstroke, above the foot
            assert len(stem) == 3
            left = [columns[one[row] > 127].min() for row in rows[:14]]
            reach = stem[0] - np.array(left)
            assert 1 <= reach.max() <= 12
            assert reach[0] <= reach[2] <= reach.max()
            assert columns[one[rows[5]] > 127].max() == stem[-1]  # nothing to the right

    def test_some_have_a_foot(self) -> None:
        ones = add_upstrokes(self.line(), 1, seed=0).images[:200]
        feet = [(one[np.flatnonzero(one.max(axis=1) > 127)[-2]] > 127).sum() > 6 for one in ones]
        assert np.mean(feet) == pytest.approx(0.25, abs=0.1)

    def test_the_centre_of_mass_is_in_the_middle_again(self, digits: DigitSet) -> None:
        ones = digits.subset(np.flatnonzero(digits.labels == 1))
        grey = add_upstrokes(ones, 1, seed=0).images.astype(float)
        centre = grey.sum(1) @ np.arange(28) / grey.sum((1, 2))
        assert np.abs(centre - 14).max() <= 0.51

    def test_depends_on_the_seed_alone(self) -> None:
        one, again, other = (add_upstrokes(self.line(), 0.5, seed).images for seed in (3, 3, 4))
        assert np.array_equal(one, again)
        assert not np.array_equal(one, other)

    @pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
    def test_out_of_range(self, digits: DigitSet, share: float) -> None:
        with pytest.raises(DataError, match="share must lie between 0 and 1, found"):
            add_upstrokes(digits, share, 0)

    def test_there_must_be_ones(self) -> None:
        letters = DigitSet(np.zeros((1, 28, 28), np.uint8), np.zeros(1, np.int64), ("a", "b"))
        with pytest.raises(DataError, match="no ones among these classes"):
            add_upstrokes(letters, 0.5, 0)

    def test_an_empty_image_stays_empty(self) -> None:
        empty = DigitSet(np.zeros((1, 28, 28), np.uint8), np.ones(1, np.int64))
        assert add_upstrokes(empty, 1, 0).images.max() == 0


class TestHabits:
    def changed(self, digits: DigitSet, label: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the digits of a label before and after, all of them written otherwise."""
        after = add_habits(digits, 1, seed=0)
        of = digits.labels == label
        return digits.images[of].astype(float), after.images[of].astype(float)

    def test_only_a_share_of_them_and_few_ones(self, mnist: MNIST) -> None:
        digits = mnist.train.subset(np.arange(4_000))
        changed = add_habits(digits, 0.3, seed=0)
        differs = (changed.images != digits.images).any(axis=(1, 2))
        concerned = np.isin(digits.labels, [4, 7, 9])
        ones = digits.labels == 1
        assert not differs[~concerned & ~ones].any()
        assert differs[ones].mean() == pytest.approx(0.1, abs=0.03)
        assert 0.2 < differs[concerned].mean() <= 0.35  # some nines have a tail already
        assert np.array_equal(changed.labels, digits.labels)

    def test_a_seven_gets_a_bar_across_its_stem(self) -> None:
        sevens = np.zeros((200, 28, 28), np.uint8)
        sevens[:, 4:7, 9:19] = 255
        sevens[:, 7:24, 15:18] = 255
        before, after = self.changed(DigitSet(sevens, np.full(200, 7)), 7)
        stem = [np.flatnonzero(image[20] > 127)[-1] for image in after]  # its right side
        reach = [np.flatnonzero((image[11:18] > 127).any(axis=0))[-1] for image in after]
        crossed = np.subtract(reach, stem) >= 1
        assert 0.6 < crossed.mean() < 0.9
        differs = (after != before).any(axis=(1, 2))
        assert differs.all()  # or a hook hangs from the left end of its top

    def test_a_nine_gets_a_tail_to_the_left(self) -> None:
        nines = np.zeros((100, 28, 28), np.uint8)
        nines[:, 4:12, 9:18] = 255
        nines[:, 12:24, 15:18] = 255
        before, after = self.changed(DigitSet(nines, np.full(100, 9)), 9)
        for one, other in zip(before, after, strict=True):
            first, last = (np.flatnonzero(i.max(axis=1) > 127)[-4:] for i in (one, other))
            assert np.ptp(np.flatnonzero(other[last].max(axis=0) > 127)) > np.ptp(
                np.flatnonzero(one[first].max(axis=0) > 127)
            )

    def test_a_four_is_closed_on_a_plain_one_or_its_bar_runs_on(self) -> None:
        fours = np.zeros((200, 28, 28), np.uint8)
        fours[:, 4:24, 15:18] = 255
        fours[:, 4:14, 6:9] = 255
        fours[:, 13:16, 6:18] = 255
        ones = np.zeros((1, 28, 28), np.uint8)
        ones[:, 4:24, 13:16] = 255
        both = DigitSet(np.concatenate([fours, ones]), np.repeat([4, 1], [200, 1]))
        _, after = self.changed(both, 4)
        closed = np.array([measure_holes(image) > 0 for image in after])
        assert closed.mean() == pytest.approx(0.5, abs=0.12)
        _, alone = self.changed(DigitSet(fours, np.full(200, 4)), 4)
        assert not any(measure_holes(image) for image in alone)
        assert ((alone > 127).any(axis=1).sum(axis=1) > 13).all()  # wider than before

    def test_they_stay_in_the_box_with_their_mass_in_the_middle(self, mnist: MNIST) -> None:
        digits = mnist.train.subset(np.flatnonzero(np.isin(mnist.train.labels, [1, 4, 7, 9]))[:600])
        images = add_habits(digits, 1, seed=0).images
        of = images[digits.labels != 1].astype(float)
        sides = np.array([crop_to_ink(image).shape for image in of])
        assert sides.max() <= 20
        centre = of.sum(1) @ np.arange(28) / of.sum((1, 2))
        assert np.abs(centre - 14).max() <= 0.6

    def test_depends_on_the_seed_alone(self, mnist: MNIST) -> None:
        digits = mnist.train.subset(np.arange(500))
        one, again, other = (add_habits(digits, 0.5, seed).images for seed in (3, 3, 4))
        assert np.array_equal(one, again)
        assert not np.array_equal(one, other)

    @pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
    def test_out_of_range(self, digits: DigitSet, share: float) -> None:
        with pytest.raises(DataError, match="share must lie between 0 and 1, found"):
            add_habits(digits, share, 0)

    def test_there_must_be_some_of_them(self) -> None:
        letters = DigitSet(np.zeros((1, 28, 28), np.uint8), np.zeros(1, np.int64), ("a", "b"))
        with pytest.raises(DataError, match="no ones, fours, sevens or nines"):
            add_habits(letters, 0.5, 0)

    @pytest.mark.parametrize("label", [4, 7, 9])
    def test_an_empty_image_stays_empty(self, label: int) -> None:
        empty = DigitSet(np.zeros((1, 28, 28), np.uint8), np.full(1, label))
        assert add_habits(empty, 1, 0).images.max() == 0


def measure_holes(image: np.ndarray) -> int:
    """Return how many pieces of paper are enclosed by ink."""
    return int(label(np.pad(image, 1) < 100)[1]) - 1
