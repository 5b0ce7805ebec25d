"""Simulated photos: what they claim is on them is there, doses do what they say, seeds hold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from mnist_lab.data.digit_set import DigitSet
from mnist_lab.data.mnist import MNIST
from mnist_lab.handwriting.simulated_pages import PHOTOS, Conditions, photograph, write_with

CLEAN = Conditions(pressure=0, grain=0, noise=0, jpeg=None)


@pytest.fixture(scope="module")
def digits(mnist: MNIST) -> DigitSet:
    return mnist.train.subset(np.arange(300))


class TestPhotograph:
    @pytest.mark.parametrize("name", PHOTOS)
    def test_every_digit_lies_in_the_picture(self, name: str, digits: DigitSet) -> None:
        photo = photograph(digits, 2, 4, PHOTOS[name], seed=3)
        height, width = photo.picture.shape[:2]
        assert photo.picture.dtype == np.uint8
        assert photo.picture.ndim == (3 if name == "red on yellow" else 2)
        assert photo.labels.shape == (8,)
        assert len(photo.boxes) == 8
        for left, top, right, bottom in photo.boxes:
            assert 0 <= left < right <= width
            assert 0 <= top < bottom <= height

    @pytest.mark.parametrize("tilt", [0.0, 6.0])
    def test_boxes_hold_all_ink_and_no_more(self, tilt: float, digits: DigitSet) -> None:
        photo = photograph(digits, 2, 3, replace(CLEAN, tilt=tilt, perspective=tilt / 50), seed=1)
        inside = np.zeros(photo.picture.shape, bool)
        for left, top, right, bottom in photo.boxes:
            inside[top - 1 : bottom + 1, left - 1 : right + 1] = True
            dark = photo.picture[top:bottom, left:right] < 128
            assert dark[:3].any()
            assert dark[-3:].any()
            assert dark[:, :3].any()
            assert dark[:, -3:].any()
        assert not (photo.picture[~inside] < 100).any()

    def test_labels_are_those_of_the_digits_in_reading_order(self, digits: DigitSet) -> None:
        photo = photograph(digits, 3, 2, CLEAN, seed=5)
        middles = [((top + bottom) / 2, (left + right) / 2)
                   for left, top, right, bottom in photo.boxes]  # fmt: skip
        assert sorted(range(6), key=lambda k: (round(middles[k][0] / 84), middles[k][1])) == [
            *range(6)
        ]
        ones = DigitSet(digits.images, np.ones(len(digits), np.int64))
        assert (photograph(ones, 3, 2, CLEAN, seed=5).labels == 1).all()

    def test_a_seed_makes_the_same_photo_and_another_another(self, digits: DigitSet) -> None:
        one, same, other = (photograph(digits, conditions=PHOTOS["in a hurry"], seed=s)
                            for s in (0, 0, 1))  # fmt: skip
        assert np.array_equal(one.picture, same.picture)
        assert one.boxes == same.boxes
        assert one.picture.shape != other.picture.shape or (one.picture != other.picture).any()

    @pytest.mark.parametrize("shape", [(0, 3), (3, 0), (-1, 2)])
    def test_an_empty_page_is_refused(self, shape: tuple[int, int], digits: DigitSet) -> None:
        with pytest.raises(ValueError, match="at least one row"):
            photograph(digits, *shape)


class TestDoses:
    def paper(self, digits: DigitSet, **changes: float) -> NDArray[np.float64]:
        """Return the brightness of the paper at the rim, where there is no ink."""
        picture = photograph(digits, 2, 3, replace(CLEAN, **changes), seed=2).picture  # type: ignore[arg-type]
        bands = (picture[:8], picture[-8:], picture[:, :8], picture[:, -8:])
        return np.concatenate([band.ravel() for band in bands]).astype(float)

    def test_without_any_trouble_paper_is_even(self, digits: DigitSet) -> None:
        assert np.percentile(self.paper(digits), [10, 90]) == pytest.approx([219, 219], abs=1)

    def test_a_gradient_takes_its_share_of_the_light(self, digits: DigitSet) -> None:
        low, high = np.percentile(self.paper(digits, gradient=0.5), [0.5, 99.5])
        assert low / high == pytest.approx(0.5, abs=0.07)

    def test_a_hard_shadow_has_two_levels(self, digits: DigitSet) -> None:
        paper = self.paper(digits, hard_shadow=0.4)
        levels = [(np.abs(paper - bright) < 4).mean() for bright in (219, 219 * 0.6)]
        assert min(levels) > 0.1
        assert sum(levels) > 0.85

    def test_noise_has_its_deviation(self, digits: DigitSet) -> None:
        assert self.paper(digits, noise=5).std() == pytest.approx(5, abs=1.5)

    def test_blur_keeps_the_light_and_takes_the_edges(self, digits: DigitSet) -> None:
        sharp, soft, shaken = (
            photograph(digits, 2, 2, replace(CLEAN, **change), seed=0).picture.astype(float)  # type: ignore[arg-type]
            for change in ({}, {"defocus": 4}, {"shake": 12})
        )
        for blurred in (soft, shaken):
            assert blurred.mean() == pytest.approx(sharp.mean(), rel=0.01)
            steps = [np.square(np.diff(values, axis=axis)).sum()
                     for values in (blurred, sharp) for axis in (0, 1)]  # fmt: skip
            assert sum(steps[:2]) < 0.6 * sum(steps[2:])

    def test_a_table_shows_at_the_rim(self, digits: DigitSet) -> None:
        picture = photograph(digits, 2, 2, replace(CLEAN, table=0.2), seed=0).picture
        rim = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
        assert (np.abs(rim - 51.0) < 3).all()


class TestPen:
    @pytest.mark.parametrize("pen", [0.05, 0.1, 0.2])
    def test_strokes_are_as_wide_as_the_pen(self, pen: float, mnist: MNIST) -> None:
        one = mnist.train.images[mnist.train.labels == 1][3]
        ink = write_with(one, pen, 200)
        rows = ink[ink.shape[0] // 2 - 20 : ink.shape[0] // 2 + 20]
        assert np.median(rows.sum(axis=1)) == pytest.approx(pen * 200, rel=0.35)

    def test_a_finer_pen_than_a_pixel_leaves_a_faint_line(self, mnist: MNIST) -> None:
        ink = write_with(mnist.train.images[0], 0.02, 20)
        assert 0.2 < ink.max() <= 0.4

    def test_without_a_pen_the_strokes_stay(self, mnist: MNIST) -> None:
        image = mnist.train.images[0]
        assert np.array_equal((255 * write_with(image, None, 20)).round()[4:-4, 4:-4], image)

    def test_an_empty_image_leaves_nothing(self) -> None:
        assert not write_with(np.zeros((28, 28), np.uint8), 0.1, 40).any()
