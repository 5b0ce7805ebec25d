"""Geometry: digits lie where MNIST has them, to the pixel."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from mnist_lab.data.geometry import (
    DIGIT_BOX,
    IMAGE_SIDE,
    crop_to_ink,
    find_ink_box,
    fit_like_mnist,
    lay_by_centre_of_mass,
    lay_in_the_middle,
    resize_longer_side,
    restore_full_ink,
)
from mnist_lab.data.mnist import MNIST

Grey = NDArray[np.uint8]


def rectangle(height: int, width: int, grey: int = 255) -> Grey:
    return np.full((height, width), grey, np.uint8)


def ends(image: Grey) -> tuple[int, int, int, int]:
    """First and last row, first and last column of the ink."""
    rows, columns = np.nonzero(image)
    return int(rows.min()), int(rows.max()), int(columns.min()), int(columns.max())


class TestCrop:
    def test_from_the_first_ink_to_the_last(self) -> None:
        image = np.zeros((9, 12), np.uint8)
        image[2, 5] = 1  # the faintest ink counts
        image[6, 3] = 255
        assert find_ink_box(image) == (slice(2, 7), slice(3, 6))
        assert np.array_equal(crop_to_ink(image), image[2:7, 3:6])

    def test_ink_at_the_rim_stays(self) -> None:
        image = np.eye(4, dtype=np.uint8)
        assert np.array_equal(crop_to_ink(image), image)

    @pytest.mark.parametrize("kind", [np.uint8, np.float64, np.bool_])
    def test_without_ink_the_image_stays_as_it_is(self, kind: type) -> None:
        image = np.zeros((5, 7), kind)
        assert crop_to_ink(image).shape == (5, 7)
        assert crop_to_ink(image).dtype == kind


class TestByCentreOfMass:
    def test_mnists_digits_come_back_to_their_place(self, mnist: MNIST) -> None:
        exact = [
            np.array_equal(lay_by_centre_of_mass(crop_to_ink(image)), image)
            for image in mnist.train.images[:1_000]
        ]
        assert np.mean(exact) >= 0.998

    def test_a_dot_goes_to_pixel_14(self) -> None:
        assert ends(lay_by_centre_of_mass(rectangle(1, 1))) == (14, 14, 14, 14)

    @pytest.mark.parametrize(
        ("height", "width", "expected"),
        [(3, 3, (13, 15, 13, 15)), (20, 5, (4, 23, 12, 16)), (2, 4, (14, 15, 12, 15))],
    )
    def test_the_middle_of_even_ink_goes_there_too(
        self, height: int, width: int, expected: tuple[int, int, int, int]
    ) -> None:
        """Of an even number of pixels, the middle lies half a pixel aside: halves go to even."""
        assert ends(lay_by_centre_of_mass(rectangle(height, width))) == expected

    def test_dark_ink_weighs_more_than_faint(self) -> None:
        digit = np.array([[255, 0, 0, 0, 0, 51]], np.uint8)  # centre of mass: column 5 / 6
        assert ends(lay_by_centre_of_mass(digit)) == (14, 14, 13, 18)

    def test_what_would_leave_the_image_stops_at_its_edge(self) -> None:
        digit = np.zeros((3, 26), np.uint8)
        digit[:, 0], digit[1, -1] = 255, 1
        assert ends(lay_by_centre_of_mass(digit))[2:] == (2, 27)
        assert ends(lay_by_centre_of_mass(digit[:, ::-1]))[2:] == (0, 25)

    def test_another_size_has_another_middle(self) -> None:
        image = lay_by_centre_of_mass(rectangle(1, 1), (40, 10))
        assert image.shape == (40, 10)
        assert ends(image) == (20, 20, 5, 5)

    def test_nothing_is_laid_without_error(self) -> None:
        assert not lay_by_centre_of_mass(np.zeros((4, 4), np.uint8)).any()


class TestInTheMiddle:
    def test_the_box_and_not_the_mass_counts(self) -> None:
        digit = np.zeros((10, 6), np.uint8)
        digit[0, 0], digit[9, :] = 255, 255
        assert ends(lay_in_the_middle(digit)) == (9, 18, 11, 16)
        assert lay_in_the_middle(digit, (12, 8)).shape == (12, 8)


class TestResize:
    @pytest.mark.parametrize(
        ("shape", "expected"),
        [((100, 50), (20, 10)), ((30, 90), (7, 20)), ((400, 3), (20, 1)), ((5, 4), (20, 16))],
    )
    def test_the_longer_side_is_as_asked_and_the_aspect_stays(
        self, shape: tuple[int, int], expected: tuple[int, int]
    ) -> None:
        assert resize_longer_side(rectangle(*shape), 20).shape == expected

    def test_what_shrinks_is_averaged(self) -> None:
        stripes = np.tile(np.array([0, 200], np.uint8), (40, 20))
        assert np.unique(resize_longer_side(stripes, 20)).tolist() == [100]

    def test_faint_ink_is_made_full(self) -> None:
        faint = np.array([[0, 20, 100]], np.uint8)
        assert restore_full_ink(faint).tolist() == [[0, 51, 255]]
        assert not restore_full_ink(np.zeros((2, 2), np.uint8)).any()


class TestFit:
    def test_mnists_own_digits_stay_as_they_are(self, mnist: MNIST) -> None:
        digits = [image for image in mnist.train.images[:300]
                  if max(crop_to_ink(image).shape) == DIGIT_BOX]  # fmt: skip
        assert len(digits) > 290
        assert all(np.array_equal(fit_like_mnist(crop_to_ink(image)), image) for image in digits)

    @pytest.mark.parametrize("shape", [(100, 50), (7, 300), (5, 3), (20, 20)])
    def test_fills_the_box_whatever_the_size(self, shape: tuple[int, int]) -> None:
        image = fit_like_mnist(rectangle(*shape))
        assert (image.shape, image.dtype) == ((IMAGE_SIDE, IMAGE_SIDE), np.uint8)
        assert max(crop_to_ink(image).shape) == DIGIT_BOX

    def test_a_thin_line_is_as_black_as_any_other(self) -> None:
        line = np.zeros((400, 300), np.uint8)
        line[:, 150] = line[0, 0] = line[0, -1] = 255
        assert fit_like_mnist(line).max() == 255

    def test_aspect(self) -> None:
        bar = rectangle(60, 20)
        assert crop_to_ink(fit_like_mnist(bar)).shape == (20, 7)
        assert crop_to_ink(fit_like_mnist(bar, aspect=False)).shape == (20, 20)

    def test_centre_of_mass(self) -> None:
        wedge = np.tri(40, dtype=np.uint8) * 255
        assert ends(fit_like_mnist(wedge, centre_of_mass=False)) == (4, 23, 4, 23)
        assert ends(fit_like_mnist(wedge)) == (1, 20, 8, 27)

    def test_smooth(self) -> None:
        wedge = np.tri(53, dtype=np.uint8) * 255
        assert set(np.unique(fit_like_mnist(wedge, smooth=False))) == {0, 255}
        assert len(np.unique(fit_like_mnist(wedge))) > 2
