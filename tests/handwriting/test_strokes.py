"""Strokes: drawn as MNIST would have them, wherever on the pad and however large they are."""

from __future__ import annotations

import numpy as np
import pytest

from mnist_lab.data.geometry import DIGIT_BOX, crop_to_ink
from mnist_lab.data.mnist import MNIST
from mnist_lab.handwriting.ink import HandwritingError
from mnist_lab.handwriting.strokes import draw_strokes
from tests.drawn_digits import DIGITS, drawings
from tests.handwriting.pictures import difference


class TestStrokes:
    def test_size_and_place_on_the_pad_do_not_matter(self) -> None:
        plain = {digit: draw_strokes(strokes) for digit, strokes in DIGITS.items()}
        for digit, name, strokes in drawings():
            if "lean" not in name and name not in ("tiny", "large"):
                assert difference(draw_strokes(strokes), plain[digit]) < 0.003

    def test_the_digit_fills_the_box_and_its_centre_of_mass_is_mnists(self) -> None:
        for strokes in DIGITS.values():
            image = draw_strokes(strokes)
            assert max(crop_to_ink(image).shape) == DIGIT_BOX
            share = image / image.sum(dtype=float)
            assert abs(share.sum(1) @ np.arange(28) - 14) <= 0.5
            assert abs(share.sum(0) @ np.arange(28) - 14) <= 0.5

    def test_lines_are_as_dark_and_as_wide_as_mnists(self, mnist: MNIST) -> None:
        drawn = np.mean([draw_strokes(strokes).mean() for strokes in DIGITS.values()])
        assert drawn == pytest.approx(mnist.train.images.mean(), rel=0.1)

    def test_points_on_the_way_change_nothing_and_pressure_is_left_aside(self) -> None:
        straight = draw_strokes([[(0, 0), (3, 10)]])
        assert np.array_equal(draw_strokes([[(0, 0), (1.5, 5), (3, 10)]]), straight)
        assert np.array_equal(draw_strokes([[(0, 0, 0.2), (3, 10, 0.9)]]), straight)

    def test_a_dot_is_a_dot(self) -> None:
        image = draw_strokes([[(4, 4)]])
        assert image[14, 14] == 255
        assert np.array_equal(image[1:, 1:], image[1:, 1:].T)

    def test_strokes_without_points_do_not_count(self) -> None:
        drawn = draw_strokes([[], [(0, 0), (0, 9)], []])
        assert np.array_equal(drawn, draw_strokes([[(0, 0), (0, 9)]]))

    @pytest.mark.parametrize(
        "strokes",
        [
            [],
            [[]],
            [[(1,)]],
            [[(0, 0), (float("nan"), 1)]],
            [[(0, float("inf"))]],
            [[(-1e300, 0), (1e300, 0)]],
            [["ab"]],
            [3],
        ],
    )
    def test_what_is_no_stroke_is_refused(self, strokes: list[list[tuple[float, float]]]) -> None:
        with pytest.raises(HandwritingError, match=r"\.$"):
            draw_strokes(strokes)
