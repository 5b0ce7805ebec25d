"""MNIST-C's corruptions: the change is the one that its name says, as large as its dose says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from skimage import feature, transform

from mnist_lab.data.corruptions import CORRUPTIONS, corrupt
from mnist_lab.data.digit_set import DataError, DigitSet
from mnist_lab.data.mnist_c import MNIST_C

# The doses that change nothing.
NOTHING = {
    "impulse_noise": 0, "shear": 0, "scale": 1, "rotate": 0, "brightness": 0, "translate": 0,
    "stripe": 0, "fog": 0, "spatter": 1.5, "dotted_line": 0,
}  # fmt: skip
WITHOUT_CHANCE = {"scale", "brightness", "stripe", "canny_edges"}


@pytest.fixture
def digits(small_sets: tuple[DigitSet, DigitSet]) -> DigitSet:
    return small_sets[0].subset(np.arange(60))


def grey(level: int, count: int = 50) -> DigitSet:
    """Images of one grey value."""
    return DigitSet(np.full((count, 28, 28), level, np.uint8), np.zeros(count, np.int64))


def dot(count: int = 1) -> DigitSet:
    """Two by two pixels of ink, five rows below and three columns right of the middle."""
    images = np.zeros((count, 28, 28), np.uint8)
    images[:, 18:20, 16:18] = 255
    return DigitSet(images, np.zeros(count, np.int64))


def lay(digits: DigitSet, name: str, dose: float | None = None, seed: int = 0) -> DigitSet:
    return corrupt(digits, name, dose, seed=seed, among=MNIST_C)


def centres(digits: DigitSet) -> np.ndarray:
    """Row and column of the centre of mass of every image, from the middle: (n, 2)."""
    ink = digits.images.astype(float)
    places = [ink.sum(2) @ np.arange(28), ink.sum(1) @ np.arange(28)]
    return np.stack(places, 1) / ink.sum((1, 2))[:, None] - 13.5


class TestEach:
    def test_there_are_its_fifteen_and_no_name_means_two_things(self) -> None:
        assert len(MNIST_C) == 15
        assert not set(MNIST_C) & set(CORRUPTIONS)

    @pytest.mark.parametrize("name", list(MNIST_C))
    def test_changes_pixels_and_nothing_else(self, name: str, digits: DigitSet) -> None:
        before = digits.images.copy()
        changed = lay(digits, name)
        assert changed.images.dtype == np.uint8
        assert changed.images.shape == digits.images.shape
        assert np.array_equal(changed.labels, digits.labels)
        assert np.array_equal(digits.images, before)
        assert (changed.images != digits.images).any(axis=(1, 2)).mean() > 0.9
        assert (changed.images.max(axis=(1, 2)) > 0).all()

    @pytest.mark.parametrize("name", list(MNIST_C))
    def test_depends_on_the_seed_alone(self, name: str, digits: DigitSet) -> None:
        one, again, other = (lay(digits, name, seed=seed).images for seed in (3, 3, 4))
        assert np.array_equal(one, again)
        assert np.array_equal(one, other) == (name in WITHOUT_CHANCE)

    @pytest.mark.parametrize("name", list(NOTHING))
    def test_a_dose_of_nothing_changes_nothing(self, name: str, digits: DigitSet) -> None:
        assert np.array_equal(lay(digits, name, NOTHING[name]).images, digits.images)

    @pytest.mark.parametrize("name", list(MNIST_C))
    def test_takes_its_doses_and_none_beyond_its_ends(self, name: str, digits: DigitSet) -> None:
        corruption = MNIST_C[name]
        few = digits.subset(np.arange(3))
        for dose in (corruption.least, corruption.dose, corruption.most):
            assert lay(few, name, dose).images.shape == few.images.shape
        for dose in (corruption.least - 0.01, corruption.most + 0.01):
            with pytest.raises(DataError, match=f"^{name} takes .* {corruption.unit}, found "):
                lay(digits, name, dose)

    @pytest.mark.parametrize("name", list(MNIST_C))
    def test_an_empty_image_is_no_error(self, name: str) -> None:
        empty = grey(0, 2)
        drawn_over = {"impulse_noise", "brightness", "stripe", "spatter", "dotted_line", "zigzag"}
        assert (lay(empty, name).images.max() > 0) == (name in drawn_over)

    @pytest.mark.parametrize("name", list(MNIST_C))
    def test_other_sizes_are_no_error(self, name: str) -> None:
        tall = DigitSet(np.full((2, 32, 30), 90, np.uint8), np.zeros(2, np.int64))
        assert lay(tall, name).images.shape == (2, 32, 30)

    def test_an_unknown_name_lists_those_that_were_meant(self, digits: DigitSet) -> None:
        with pytest.raises(DataError, match="No corruption 'blur': choose one of shot_noise"):
            lay(digits, "blur")


class TestNoiseAndLight:
    def test_shot_noise_has_poissons_spread(self) -> None:
        found = lay(grey(128), "shot_noise", 25).images / 255
        assert found.mean() == pytest.approx(128 / 255, abs=0.01)
        assert found.std() == pytest.approx(np.sqrt(128 / 255 / 25), rel=0.05)

    def test_impulse_noise_hits_so_many_half_of_them_white(self) -> None:
        found = lay(grey(128), "impulse_noise", 0.3).images
        assert (found == 255).mean() == pytest.approx(0.15, abs=0.01)
        assert (found == 0).mean() == pytest.approx(0.15, abs=0.01)

    def test_brightness_is_added_and_cut_off(self) -> None:
        assert (lay(grey(51), "brightness", 0.2).images == 102).all()
        assert (lay(grey(200), "brightness", 0.5).images == 255).all()

    def test_fog_is_smooth_differs_and_takes_contrast(self, digits: DigitSet) -> None:
        found = lay(digits, "fog").images.astype(float)
        ink, paper = found[digits.images > 250].mean(), found[digits.images == 0].mean()
        assert 20 < ink - paper < 0.4 * 255
        foggy = lay(grey(1, 60), "fog").images  # it scales with the brightest pixel
        assert foggy.max() <= 1
        full = lay(grey(255, 60), "fog").images.astype(float)
        assert np.abs(np.diff(full, axis=2)).mean() < 12
        assert full.mean((1, 2)).std() > 10

    def test_drops_are_grey_and_cover_what_lies_below(self) -> None:
        for level in (0, 255):
            found = lay(grey(level), "spatter").images
            assert found[found != level].mean() == pytest.approx(63, abs=30)
        share = (found < 255).mean()
        assert 0.05 < share < (lay(grey(255), "spatter", 0.6).images < 255).mean()


class TestBlur:
    def test_glass_keeps_the_ink_and_spreads_it(self) -> None:
        found = lay(dot(100), "glass_blur").images.astype(float)
        assert found.sum((1, 2)).mean() == pytest.approx(4 * 255, rel=0.05)
        rows = np.arange(28) - 18.5

        def spread(images: np.ndarray) -> float:
            profile = images.mean(0).sum(1)
            middle = (profile * rows).sum() / profile.sum()
            return float((profile * (rows - middle) ** 2).sum() / profile.sum())

        blurred_twice = 0.25 + 2 * 0.7**2
        assert spread(lay(dot(), "glass_blur", 0).images) == pytest.approx(blurred_twice, rel=0.1)
        assert spread(found) > blurred_twice + 0.2

    def test_motion_blurs_to_one_side_within_half_a_right_angle(self) -> None:
        moved = centres(lay(dot(300), "motion_blur", 3)) - [5, 3]
        angles = np.degrees(np.arctan2(moved[:, 0], -moved[:, 1]))
        assert (moved[:, 1] < -1).all()
        assert np.abs(angles).max() < 50
        assert 15 < angles.std() < 35  # evenly from -45 to 45: 26
        # Half of a Gaussian has its mean at sqrt(2 / pi) of its width, and a sum over pixels less.
        assert np.hypot(*moved.T).mean() == pytest.approx(2.0, abs=0.25)

    def test_edges_are_cannys(self, digits: DigitSet) -> None:
        expected = feature.canny(digits.images[0] / 255)
        assert np.array_equal(lay(digits, "canny_edges").images[0] > 0, expected)


class TestPlace:
    """As scikit-image warps them, which is what MNIST-C does."""

    @pytest.mark.parametrize(
        ("name", "dose", "options"),
        [
            ("shear", 0.4, {"shear": 0.4}),
            ("rotate", 0.4, {"rotation": 0.4}),
            ("scale", 0.7, {"scale": 1 / 0.7}),
        ],
    )
    def test_is_scikit_images_about_the_middle(
        self, name: str, dose: float, options: dict[str, float], digits: DigitSet
    ) -> None:
        found = lay(digits, name, dose).images
        ways = []
        for sign in (1, -1):
            signed = {
                key: value if key == "scale" else sign * value for key, value in options.items()
            }
            about_0 = transform.AffineTransform(**signed).params[:2, :2]
            matrix = np.eye(3)
            matrix[:2, :2] = about_0
            matrix[:2, 2] = 13.5 - about_0 @ [13.5, 13.5]
            ways.append(
                [
                    np.round(255 * transform.warp(image / 255, transform.AffineTransform(matrix)))
                    for image in digits.images
                ]
            )
        away = np.abs(np.array(ways) - found).max((2, 3))
        # SciPy and scikit-image round differently, and where one looks beyond the rim.
        assert (away.min(0) <= 2).mean() > 0.95
        if name != "scale":
            assert 10 < (away[0] < away[1]).sum() < 50

    def test_translate_moves_both_ways_by_as_much(self) -> None:
        moved = centres(lay(dot(100), "translate", 3)) - [5, 3]
        assert np.abs(moved) == pytest.approx(3, abs=1e-6)
        assert len(np.unique(moved.round(), axis=0)) == 4


class TestDrawnOver:
    def test_stripes_are_negatives(self, digits: DigitSet) -> None:
        found = lay(digits, "stripe", 5).images
        assert np.array_equal(found[:, :, 5:23], digits.images[:, :, 5:23])
        assert np.array_equal(found[:, :, :5], 255 - digits.images[:, :, :5])
        assert np.array_equal(found[:, :, 23:], 255 - digits.images[:, :, 23:])

    def test_a_dotted_line_has_two_columns_without_ink_and_two_with(self) -> None:
        found = lay(grey(0), "dotted_line").images
        inked = (found > 0).any((0, 1))
        assert inked[:26].tolist() == [column // 2 % 2 == 1 for column in range(26)]
        assert not inked[27]
        assert found.max() == 255
        heights = (found > 0).sum(1)
        assert heights.max() <= 4
        assert lay(grey(0), "dotted_line", 0.5).images.max() == 128

    def test_a_zigzag_goes_up_and_down_across(self) -> None:
        found = lay(grey(0), "zigzag").images.astype(float)
        inked = (found > 0).any((0, 1))
        assert inked[2:25].all()
        assert not inked[:1].any()
        assert not inked[26:].any()
        inside = found[(found[:, :4].sum((1, 2)) == 0) & (found[:, 24:].sum((1, 2)) == 0)]
        assert len(inside) > 5
        weights = inside[:, :, 3:24]
        rows = (weights * np.arange(28)[:, None]).sum(1) / weights.sum(1)
        turns = np.diff(np.sign(np.diff(rows, axis=1)), axis=1)
        assert 3 <= np.median((np.abs(turns) == 2).sum(1)) <= 8

    def test_ink_is_added_to_the_digit(self, digits: DigitSet) -> None:
        for name in ("dotted_line", "zigzag"):
            assert (lay(digits, name).images >= digits.images).all()
        assert not np.array_equal(
            lay(replace(digits, images=digits.images // 2), "zigzag").images, digits.images // 2
        )
