"""Other populations: the change is the one that was asked for, and only that."""

from __future__ import annotations

import numpy as np
import pytest

from mnist_lab.datasets import DataError, DigitSet
from mnist_lab.populations import rotate_digits, thin_strokes


@pytest.fixture
def digits(small_sets: tuple[DigitSet, DigitSet]) -> DigitSet:
    return small_sets[0].subset(np.arange(50))


def bar(width: int) -> DigitSet:
    """One image with a vertical bar of full ink, `width` pixels wide."""
    image = np.zeros((1, 28, 28), np.uint8)
    image[0, 4:24, 10 : 10 + width] = 255
    return DigitSet(image, np.zeros(1, np.int64))


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


class TestThin:
    @pytest.mark.parametrize("pixels", [0.25, 0.5, 1.0, 1.5])
    def test_either_side_loses_so_many_pixels(self, pixels: float) -> None:
        ink = thin_strokes(bar(6), pixels).images[0, 12].sum() / 255
        # Bicubic enlarging softens the edges a little before they are taken off.
        assert ink == pytest.approx(6 - 2 * pixels, abs=0.3)

    def test_the_middle_stays_where_it_is(self) -> None:
        thin = thin_strokes(bar(6), 1.0).images[0].astype(float)
        assert (thin.sum(0) @ np.arange(28)) / thin.sum() == pytest.approx(12.5, abs=0.05)

    def test_a_finer_stroke_than_that_disappears(self) -> None:
        assert thin_strokes(bar(2), 1.5).images.max() == 0

    def test_digits_lose_ink_but_not_all(self, digits: DigitSet) -> None:
        thin = thin_strokes(digits, 0.5)
        share = thin.images.sum((1, 2)) / digits.images.sum((1, 2), dtype=np.int64)
        assert (share < 0.9).all()
        assert share.mean() > 0.4

    @pytest.mark.parametrize("pixels", [0, 0.3, 2.25, -1, float("nan")])
    def test_out_of_range(self, digits: DigitSet, pixels: float) -> None:
        with pytest.raises(DataError, match="quarters of a pixel, found"):
            thin_strokes(digits, pixels)
