"""Lines, frames and rims: taken away, and the digits in them stay."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from mnist_lab.data.geometry import crop_to_ink
from mnist_lab.handwriting.found import TOO_LOW, find_digits, search_page
from mnist_lab.handwriting.lines import (
    take_frames_away,
    take_long_lines_away,
    take_rims_away,
    take_ruled_lines_away,
)
from mnist_lab.handwriting.paper import Mask, take_paper_away
from mnist_lab.handwriting.simulated_pages import Conditions
from tests.handwriting.forms import Form, make_form
from tests.handwriting.pictures import Grey, enlarge, make_page, make_photo


def count_lost(form: Form) -> tuple[int, int]:
    """Return how many digits of a form are not found to the pixel or so, and how many finds more.

    Digits that MNIST has in two pieces are left out by the choice of the digits.
    """
    found = [digit.box for digit in find_digits(form.photograph())]
    near = [min(np.abs(np.subtract(box, f)).max() for f in found) <= 4 for box in form.boxes]
    return len(near) - sum(near), len(found) - sum(near)


class TestForms:
    @pytest.mark.parametrize("kind", ["boxes", "cells", "comb", "underlined", "table"])
    def test_digits_are_found_and_lines_are_not(self, kind: str, whole: Grey) -> None:
        for start in (0, 24):
            assert count_lost(make_form(kind, whole[start:])) == (0, 0)

    def test_an_empty_box_holds_no_digit(self, whole: Grey) -> None:
        form = Form(640, 140, whole)
        for place in range(8):
            form.frame(36 + 72 * place, 30, 96 + 72 * place, 110)
            if place % 2:
                form.write(66 + 72 * place, 70, 54)
        assert count_lost(form) == (0, 0)

    def test_a_digit_that_touches_its_box_stays(self, whole: Grey) -> None:
        for number in (0, 2, 3, 4, 5, 6):  # 1 nearly touches twice, and parts its box in two
            form = Form(160, 160, whole[number:])
            form.frame(30, 20, 130, 140, width=4)
            form.write(80, 86, 100)
            (found,) = find_digits(form.photograph())
            assert np.abs(np.subtract(found.box, form.boxes[0])).max() <= 9

    def test_a_digit_that_touches_a_wall_of_a_row_of_boxes_stays(self, whole: Grey) -> None:
        """A box around every digit was once kept with the digit in it, if they touched."""
        form = Form(640, 140, whole)
        for place in range(8):
            form.frame(36 + 72 * place, 30, 96 + 72 * place, 110)
            form.write(66 + 72 * place, 80 if place % 2 else 70, 56)
        found = find_digits(form.photograph())
        assert len(found) == 8
        for one, box in zip(found, form.boxes, strict=True):
            assert np.abs(np.subtract(one.box, box)).max() <= 6

    @pytest.mark.parametrize("cut", [(34, 24, 128, 138), (20, 10, 128, 138), (34, 4, 150, 156)])
    def test_a_box_may_be_cut_off_by_the_pictures_edge(
        self, cut: tuple[int, int, int, int], whole: Grey
    ) -> None:
        left, top, right, bottom = cut
        for number in range(4):
            form = Form(160, 160, whole[number:])
            form.frame(30, 20, 130, 140, width=5)
            form.write(80, 80, 70)
            (found,) = find_digits(form.photograph()[top:bottom, left:right])
            expected = np.subtract(form.boxes[0], (left, top, left, top))
            assert np.abs(np.subtract(found.box, expected)).max() <= 3


class TestWhatIsNoDigit:
    def test_a_minus_sign_and_a_comma_are_told_and_not_read(self, whole: Grey) -> None:
        form = Form(500, 140, whole)
        for place in range(4):
            form.write(60 + 120 * place, 70, 60)
        form.rule(100, 70, 138, 68, width=5)
        form.rule(226, 96, 221, 108, width=5)
        found, unread = search_page(form.photograph())
        assert len(found) == 4
        assert {one.reason for one in unread} == {TOO_LOW}
        lefts = sorted(one.box[0] for one in unread)
        assert np.abs(np.subtract(lefts, (100, 219))).max() <= 4

    def test_a_sheet_of_dots_has_one_digit(self, whole: Grey) -> None:
        form = Form(600, 400, whole)
        form.write(80, 80, 60)
        for y in range(150, 380, 14):
            for x in range(30, 570, 14):
                form.pen.ellipse((x, y, x + 4, y + 4), fill=220)
        assert count_lost(form) == (0, 0)


class TestRuledLines:
    def test_ruled_lines_are_told_from_strokes_on_them(self, many: Grey) -> None:
        page = make_page(many, 2, 3, seed=4, ruled=True)
        ink = take_paper_away(page.grey)
        mask = ink > 40
        lines = mask & ~take_ruled_lines_away(ink, mask)
        assert lines.mean() > 0.01
        assert ink[lines].max() < 0.7 * ink.max()

    def test_squares_go_and_strokes_stay_whole(self, many: Grey) -> None:
        bare, squared = (
            find_digits(make_photo(many, c, seed=6, shape=(3, 5)).picture)
            for c in (Conditions(pen=0.07), Conditions(pen=0.07, lines="squared"))
        )
        assert len(bare) == len(squared) == 15

    @pytest.mark.parametrize("angle", [0, 90])
    def test_one_straight_stroke_that_fills_the_picture_is_no_ruled_line(self, angle: int) -> None:
        """The stem of a 4 in a picture that was cropped to it was once taken away."""
        four = Image.new("L", (120, 200))
        pen = ImageDraw.Draw(four)
        pen.line((90, 4, 90, 196), 255, 7)
        pen.line((90, 8, 8, 120, 112, 120), 255, 7)
        mask = np.rot90(np.asarray(four) > 0, angle // 90)
        ink = np.where(mask, np.float32(200), np.float32(0))
        assert take_ruled_lines_away(ink, mask).sum() == mask.sum()


class TestRims:
    def page(self, writes: bool) -> Mask:
        page = np.zeros((200, 300), bool)
        if writes:
            page[80:120, 100:106] = page[80:120, 150:156] = True
        return page

    def test_what_runs_along_the_edge_goes_where_something_else_is_written(self) -> None:
        for writes in (True, False):
            page = self.page(writes)
            page[:, :4] = True
            assert take_rims_away(page)[:, :4].any() != writes

    def test_a_finger_goes_and_a_stroke_that_touches_the_edge_stays(self) -> None:
        page = self.page(True)
        page[150:, 20:70] = True
        page[:40, 200:206] = True
        kept = take_rims_away(page)
        assert not kept[150:, 20:70].any()
        assert kept[:40, 200:206].all()

    def test_scraps_along_the_edge_go_together(self) -> None:
        page = self.page(True)
        for top in range(0, 200, 40):
            page[top : top + 30, 3:6] = True
        assert not take_rims_away(page)[:, :10].any()


class TestLongLines:
    def test_a_dash_alone_stays(self) -> None:
        dash = np.zeros((50, 400), bool)
        dash[20:24, 20:380] = True
        assert take_long_lines_away(dash).any()


class TestFrames:
    def test_a_circle_round_a_digit_goes_and_a_loop_stays(self, whole: Grey) -> None:
        page = Image.new("L", (200, 200))
        ImageDraw.Draw(page).ellipse((20, 20, 180, 180), outline="white", width=5)
        digit = enlarge(whole[0], 3)
        page.paste(255, (60, 60), Image.fromarray(digit))
        mask = np.asarray(page) > 127
        kept, torn = take_frames_away(mask)
        assert np.array_equal(crop_to_ink(kept), crop_to_ink(digit > 127))
        assert take_frames_away(kept)[0].sum() == kept.sum()
        assert not (kept & torn).any()
