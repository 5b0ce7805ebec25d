"""Corruptions: the change is the one that its name says, as large as its dose says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from mnist_lab.data.corruptions import CORRUPTIONS, corrupt
from mnist_lab.data.digit_set import DataError, DigitSet

NOTHING = {  # the doses that change nothing, or hardly anything
    "shift": 0, "turn": 0, "slant": 0, "smaller": 1, "larger": 1, "narrow": 1, "flat": 1,
    "fill": 0, "elastic": 0, "noise": 0, "faint": 1,
}  # fmt: skip


@pytest.fixture
def digits(small_sets: tuple[DigitSet, DigitSet]) -> DigitSet:
    return small_sets[0].subset(np.arange(60))


def box(height: int, width: int, count: int = 1) -> DigitSet:
    """Images with a full rectangle of ink in the middle."""
    images = np.zeros((count, 28, 28), np.uint8)
    top, left = (28 - height) // 2, (28 - width) // 2
    images[:, top : top + height, left : left + width] = 255
    return DigitSet(images, np.zeros(count, np.int64))


def centres(digits: DigitSet) -> NDArray[np.float64]:
    """Row and column of the centre of mass of every image: (n, 2)."""
    grey = digits.images.astype(float)
    places = [grey.sum(2) @ np.arange(28), grey.sum(1) @ np.arange(28)]
    return np.stack(places, 1) / grey.sum((1, 2))[:, None]


def extent(digits: DigitSet, level: int = 127) -> tuple[int, int]:
    """How many rows and columns of the first image have ink."""
    ink = digits.images[0] > level
    return int(ink.any(axis=1).sum()), int(ink.any(axis=0).sum())


class TestEach:
    @pytest.mark.parametrize("name", list(CORRUPTIONS))
    def test_changes_pixels_and_nothing_else(self, name: str, digits: DigitSet) -> None:
        before = digits.images.copy()
        changed = corrupt(digits, name)
        assert changed.images.dtype == np.uint8
        assert changed.images.shape == digits.images.shape
        assert np.array_equal(changed.labels, digits.labels)
        assert (changed.class_names, changed.part) == (digits.class_names, digits.part)
        assert np.array_equal(digits.images, before)
        differs = (changed.images != digits.images).any(axis=(1, 2))
        assert differs.mean() > 0.9  # hardly any digit fills its box already
        assert (changed.images.max(axis=(1, 2)) > 0).all()

    @pytest.mark.parametrize("name", list(CORRUPTIONS))
    def test_depends_on_the_seed_alone(self, name: str, digits: DigitSet) -> None:
        one, again = corrupt(digits, name, seed=3), corrupt(digits, name, seed=3)
        assert np.array_equal(one.images, again.images)
        other = corrupt(digits, name, seed=4)
        random = {"shift", "turn", "slant", "elastic", "noise"}
        assert np.array_equal(one.images, other.images) == (name not in random)

    @pytest.mark.parametrize("name", list(NOTHING))
    def test_a_dose_of_nothing_changes_nothing(self, name: str, digits: DigitSet) -> None:
        changed = corrupt(digits, name, NOTHING[name]).images
        if name == "fill":  # it still goes to the middle of the image
            assert np.array_equal(changed.sum((1, 2)), digits.images.sum((1, 2)))
        else:
            assert np.array_equal(changed, digits.images)

    @pytest.mark.parametrize("name", list(CORRUPTIONS))
    def test_takes_its_usual_dose_and_none_beyond_its_ends(
        self, name: str, digits: DigitSet
    ) -> None:
        corruption = CORRUPTIONS[name]
        assert corruption.least <= corruption.dose <= corruption.most
        for dose in (corruption.least - 0.01, corruption.most * 1.01 + 0.01, float("nan")):
            with pytest.raises(DataError, match=f"^{name} takes .* {corruption.unit}, found "):
                corrupt(digits, name, dose)

    @pytest.mark.parametrize("name", list(CORRUPTIONS))
    def test_an_empty_image_is_no_error(self, name: str, digits: DigitSet) -> None:
        empty = replace(digits.subset(slice(0, 1)), images=np.zeros((1, 28, 28), np.uint8))
        changed = corrupt(empty, name).images
        assert name == "noise" or changed.max() == 0

    def test_an_unknown_name_lists_the_known_ones(self, digits: DigitSet) -> None:
        with pytest.raises(DataError, match=r"No corruption 'rain': choose one of shift, smaller"):
            corrupt(digits, "rain")


class TestGeometry:
    def test_shift_goes_everywhere_and_as_far_as_asked(self) -> None:
        moved = centres(corrupt(box(4, 4, 400), "shift", 3)) - 13.5
        assert np.hypot(*moved.T) == pytest.approx(3, abs=0.05)
        assert np.abs(moved.mean(axis=0)).max() < 0.5
        assert (np.abs(moved).max(axis=0) > 2.9).all()

    @pytest.mark.parametrize("name", ["turn", "slant"])
    def test_half_of_them_to_either_side(self, name: str) -> None:
        leaning = corrupt(box(20, 2, 200), name, 20).images.astype(float)
        top = leaning[:, 6] @ np.arange(28) / leaning[:, 6].sum(1)
        bottom = leaning[:, 21] @ np.arange(28) / leaning[:, 21].sum(1)
        degrees = np.degrees(np.arctan((bottom - top) / 15))
        assert np.abs(degrees) == pytest.approx(20, abs=1)
        assert 70 < (degrees > 0).sum() < 130

    @pytest.mark.parametrize(
        ("name", "dose", "rows", "columns"),
        [
            ("smaller", 0.5, 8, 4),
            ("larger", 1.5, 24, 12),
            ("narrow", 0.5, 16, 4),
            ("narrow", 2.0, 16, 16),
            ("flat", 0.5, 8, 8),
            ("fill", 1.0, 20, 20),
            ("fill", 0.5, 18, 13),  # half of the way on a logarithmic scale
            ("binary", 0.5, 20, 10),
            ("binary_fill", 0.5, 20, 20),
        ],
    )
    def test_sizes(self, name: str, dose: float, rows: int, columns: int) -> None:
        changed = corrupt(box(16, 8), name, dose)
        assert extent(changed) == (rows, columns)
        assert centres(changed)[0] == pytest.approx([13.5, 13.5], abs=0.51)

    def test_elastic_moves_points_by_so_many_pixels(self) -> None:
        # A dot is moved as a whole, since neighbours move alike.
        dots = box(2, 2, 400)
        moved = centres(corrupt(dots, "elastic", 2)) - 13.5
        assert np.sqrt((moved**2).sum(axis=1).mean()) == pytest.approx(2, abs=0.5)
        assert np.abs(moved.mean(axis=0)).max() < 0.3


class TestPen:
    @pytest.mark.parametrize(
        ("name", "pixels", "width"), [("thin", 1, 4), ("thick", 1, 8), ("thick", 0.5, 7)]
    )
    def test_either_side_of_a_stroke(self, name: str, pixels: float, width: float) -> None:
        changed = corrupt(box(20, 6), name, pixels).images[0]
        assert changed[13].sum() / 255 == pytest.approx(width, abs=0.3)

    @pytest.mark.parametrize("pixels", [0.25, 0.5, 1.0, 1.5])
    def test_thin_takes_so_many_pixels_off_either_side(self, pixels: float) -> None:
        thin = corrupt(box(20, 6), "thin", pixels)
        # Bicubic enlarging softens the edges a little before they are taken off.
        assert thin.images[0, 13].sum() / 255 == pytest.approx(6 - 2 * pixels, abs=0.3)
        assert centres(thin)[0] == pytest.approx([13.5, 13.5], abs=0.05)

    def test_a_finer_stroke_than_that_disappears(self) -> None:
        assert corrupt(box(20, 2), "thin", 1.5).images.max() == 0

    def test_digits_lose_ink_but_not_all(self, digits: DigitSet) -> None:
        thin = corrupt(digits, "thin", 0.5)
        share = thin.images.sum((1, 2)) / digits.images.sum((1, 2), dtype=np.int64)
        assert (share < 0.9).all()
        assert share.mean() > 0.4

    @pytest.mark.parametrize("name", ["thin", "thick"])
    def test_the_finest_step_is_a_quarter_of_a_pixel(self, name: str, digits: DigitSet) -> None:
        with pytest.raises(DataError, match=r"^A stroke is changed by quarters .* found 0\.3\.$"):
            corrupt(digits, name, 0.3)


class TestCamera:
    def test_noise_has_the_deviation_that_was_asked_for(self) -> None:
        grey = replace(box(2, 2, 20), images=np.full((20, 28, 28), 128, np.uint8))
        noise = corrupt(grey, "noise", 30).images.astype(float) - 128
        assert noise.std() == pytest.approx(30, rel=0.03)
        assert abs(noise.mean()) < 1

    def test_blur_has_the_width_that_was_asked_for(self) -> None:
        blurred = corrupt(box(28, 2), "blur", 2).images[0, 14].astype(float)
        place = np.arange(28) - 13.5
        spread = np.sqrt((blurred * place**2).sum() / blurred.sum())
        assert spread == pytest.approx(np.hypot(2, 0.5), abs=0.1)

    def test_faint_ink(self) -> None:
        assert corrupt(box(6, 6), "faint", 0.4).images.max() == 102

    @pytest.mark.parametrize(("level", "columns"), [(0.5, 10), (0.3, 20)])
    def test_binary_keeps_what_is_dark_enough(self, level: float, columns: int) -> None:
        half_grey = box(16, 16)
        half_grey.images[:, 6:22, 6:14] = 100  # the left half
        for name in ("binary", "binary_fill"):
            binary = corrupt(half_grey, name, level)
            assert extent(binary) == (20, columns)
            assert binary.images[0, 13, 16:22].tolist() == [255] * 6
