"""Diagrams: the numbers, colours and places that are drawn are those that were given."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.patches import Polygon

from mnist_lab.by_hand.images import output_size
from mnist_lab.lessons.diagrams import (
    draw_numbers,
    draw_places,
    draw_pyramid,
    draw_shift_curves,
    draw_strip,
    outline,
    show_map,
    sign_colours,
    sum_in_words,
    tint,
)
from mnist_lab.lessons.exercises import EXERCISES
from mnist_lab.lessons.palette import BLUE_PENCIL, PAPER, RED_PEN
from mnist_lab.lessons.pictures import new_axes


class TestNumbers:
    def test_every_number_stands_in_its_square(self) -> None:
        _, axes = new_axes()
        draw_numbers(axes, [[1, -2, 0.5], [-0.0, 10, 3]], "m", {(0, 1): tint(RED_PEN)}, tall=4)
        found = {text.get_text(): text.get_position() for text in axes.texts}
        assert found["\N{MINUS SIGN}2"] == (1.5, 0.52)
        assert found["10"] == (1.5, 1.52)
        assert "0" in found  # and no sign before it
        squares = [patch for patch in axes.patches if isinstance(patch, Polygon)]
        assert [square.get_facecolor()[:3] == tint(RED_PEN) for square in squares] == [
            *(False, True, False),
            *(False, False, False),
        ]
        low, high = axes.get_ylim()
        assert low - high == pytest.approx(4.1)  # room for four rows

    def test_a_row_is_a_matrix_of_one_row(self) -> None:
        _, axes = new_axes()
        draw_numbers(axes, [1.0, 2.0])
        assert len(axes.texts) == 2

    def test_signs_have_colours_and_zero_has_none(self) -> None:
        blue, red = tint(BLUE_PENCIL), tint(RED_PEN)
        assert sign_colours([[1, 0], [-2, 0]]) == {(0, 0): blue, (1, 0): red}

    def test_a_tint_lies_between_the_colour_and_paper(self) -> None:
        full, none = tint(RED_PEN, 1), tint(RED_PEN, 0)
        assert np.allclose(full, [int(RED_PEN[k : k + 2], 16) / 255 for k in (1, 3, 5)])
        assert np.allclose(none, [int(PAPER[k : k + 2], 16) / 255 for k in (1, 3, 5)])
        assert np.allclose(tint(RED_PEN, 0.5), (np.array(full) + none) / 2)

    @pytest.mark.parametrize(
        ("weights", "pixels", "words"),
        [
            ([[2, -1]], [[3, 4]], "2·3 - 1·4 = 2"),
            ([-1, 0, 1], [2, 5, 1], "-1·2 + 1·1 = -1"),
            ([0, 0], [1, 2], "0 = 0"),
        ],
    )
    def test_a_sum_is_told_term_by_term(
        self, weights: list[int], pixels: list[int], words: str
    ) -> None:
        assert sum_in_words(weights, pixels) == words.replace("-", "\N{MINUS SIGN}")


class TestMaps:
    def test_zero_is_paper_and_both_signs_have_one_scale(self) -> None:
        _, axes = new_axes()
        show_map(axes, [[-1.0, 0.0], [3.0, 2.0]], title="a map")
        (image,) = axes.images
        assert image.get_clim() == (-3, 3)
        show_map(axes, np.zeros((2, 2)))  # has no largest value to divide by
        assert axes.images[-1].get_clim() == (-1, 1)

    def test_an_outline_lies_around_whole_pixels(self) -> None:
        _, axes = new_axes()
        outline(axes, 2, 5, 3)
        across, down = (np.asarray(values) for values in axes.lines[0].get_data())
        assert (across.min(), across.max(), down.min(), down.max()) == (4.5, 7.5, 1.5, 4.5)

    def test_a_strip_names_every_shift(self) -> None:
        _, axes = new_axes()
        draw_strip(axes, np.zeros((3, 4, 4), np.uint8), (-2, 0, 2))
        assert axes.images[0].get_array().shape == (4, 12)
        words = [text.get_text() for text in axes.texts]
        assert words == ["\N{MINUS SIGN}2", "0", "+2"]

    def test_curves_are_told_apart_by_colour_and_marker(self) -> None:
        _, axes = new_axes()
        curves = {"one": [0.5, 1.0], "two": [0.25, 0.5], "three": [0.1, 0.2]}
        draw_shift_curves(axes, [0, 3], curves)
        drawn = {line.get_label(): line for line in axes.lines if line.get_marker() != "None"}
        assert [*drawn] == [*curves]
        assert [*np.asarray(drawn["two"].get_ydata())] == [25, 50]
        looks = {(line.get_color(), line.get_marker()) for line in drawn.values()}
        assert len(looks) == 3
        assert axes.get_legend() is not None

    def test_a_single_curve_has_no_legend(self) -> None:
        _, axes = new_axes()
        draw_shift_curves(axes, [0, 3], {"one": [0.5, 1.0]})
        assert axes.get_legend() is None


class TestPlaces:
    @pytest.mark.parametrize(("stride", "padding"), [(1, 0), (1, 1), (2, 0), (2, 1), (3, 2)])
    def test_a_bar_for_each_place(self, stride: int, padding: int) -> None:
        _, axes = new_axes()
        count = draw_places(axes, 8, 3, stride, padding)
        assert count == len(axes.lines) == output_size(8, 3, stride, padding)
        across = np.asarray(axes.lines[-1].get_xdata())
        assert across.max() <= 8 + padding
        assert len(axes.patches) == 8 + 2 * padding

    @pytest.mark.parametrize(
        "layers", [[(3, 1)] * 3, [(3, 2), (3, 1), (3, 1)], [(5, 2), (3, 1), (2, 2)]]
    )
    def test_a_pyramid_sees_what_the_formula_says(self, layers: list[tuple[int, int]]) -> None:
        _, axes = new_axes()
        assert draw_pyramid(axes, layers) == EXERCISES["receptive_field"].solution(layers)
