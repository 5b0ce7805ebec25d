"""Paper: followed through light and shadow, in the colour that shows ink best."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from mnist_lab.data.geometry import crop_to_ink
from mnist_lab.data.mnist import MNIST
from mnist_lab.handwriting.paper import (
    find_sign_of_ink,
    noise_floor,
    stroke_width,
    take_paper_away,
    to_grey,
)
from mnist_lab.handwriting.simulated_pages import PHOTOS, Conditions
from tests.handwriting.pictures import Grey, difference, enlarge, make_page, make_photo


class TestPaper:
    def test_ink_is_what_paper_does_not_give_back(self, many: Grey) -> None:
        page = make_page(many, 2, 3, shadow=True)
        ink = take_paper_away(page.grey)
        assert np.median(ink) < 5
        left, top, right, bottom = page.boxes[-1]
        assert ink[top:bottom, left:right].max() > 180

    def test_without_following_the_paper_a_shadow_is_ink(self, many: Grey) -> None:
        page = make_page(many, 2, 3, shadow=True).grey
        bare = [np.mean(take_paper_away(page, follow=follow) > 40) for follow in (True, False)]
        assert bare[1] > 2 * bare[0]

    def test_a_thick_white_nought_is_no_sheet_of_paper(self, mnist: MNIST) -> None:
        noughts = mnist.train.images[mnist.train.labels == 0][:12]
        for nought in noughts:
            crop = np.pad(crop_to_ink(enlarge(nought, 6)), 6)
            inks = [take_paper_away(grey) for grey in (crop, 255 - crop)]
            assert difference(*(ink.clip(0, 255).astype(np.uint8) for ink in inks)) < 0.1

    def test_ink_is_ink_where_it_fills_half_of_16_by_16(self, many: Grey) -> None:
        """A surface fitted to so few pixels took paper for ink in 3 of 100."""
        for image in many[:300]:
            coarse = Image.fromarray(crop_to_ink(image)).resize((16, 16), Image.Resampling.BOX)
            small = np.asarray(coarse) > 127
            for picture in (small, ~small):
                ink = take_paper_away(picture.astype(np.uint8) * 255)
                assert np.array_equal(ink > 127, small)


class TestSign:
    @pytest.mark.parametrize("conditions", [
        Conditions(), PHOTOS["on a table"], PHOTOS["shadow of a hand"],
        Conditions(pen=0.04, table=0.1, tilt=8, perspective=0.2, gradient=0.4, noise=4),
    ])  # fmt: skip
    def test_what_lies_on_paper_is_ink_though_the_rim_is_dark(
        self, conditions: Conditions, many: Grey
    ) -> None:
        page = make_photo(many, conditions, shape=(3, 5)).picture
        assert find_sign_of_ink(page[::3, ::3].astype(np.float32)) == 1
        assert find_sign_of_ink(255 - page[::3, ::3].astype(np.float32)) == -1

    @pytest.mark.parametrize("ink", [0, 255])
    def test_a_loop_lies_in_ink_and_is_none(self, ink: int) -> None:
        """A nought whose hole is larger than its ink, in a picture that it fills."""
        page = Image.new("L", (200, 200), 255 - ink)
        ImageDraw.Draw(page).ellipse((2, 2, 197, 197), outline=ink, width=6)
        assert find_sign_of_ink(np.asarray(page, np.float32)) == (1 if ink == 0 else -1)

    @pytest.mark.parametrize("ink", [0, 255])
    def test_a_drawing_with_a_pen_as_thick_as_a_fifth_of_it(self, ink: int) -> None:
        """What a thick pen leaves of the paper was once taken for ink on a dark sheet."""
        page = Image.new("L", (200, 200), 255 - ink)
        pen = ImageDraw.Draw(page)
        pen.ellipse((30, 10, 160, 110), outline=ink, width=40)
        pen.line((140, 60, 120, 190), fill=ink, width=40)
        assert find_sign_of_ink(np.asarray(page, np.float32)) == (1 if ink == 0 else -1)


class TestMeasures:
    @pytest.mark.parametrize("width", [4, 8, 20])
    def test_a_stroke_is_as_wide_as_it_was_drawn(self, width: int) -> None:
        page = Image.new("L", (300, 300))
        ImageDraw.Draw(page).line((50, 30, 50, 270), "white", width)
        assert stroke_width(np.asarray(page) > 0) == pytest.approx(width, rel=0.1)
        assert stroke_width(np.zeros((5, 5), bool)) == 0

    def test_grain_does_not_reach_the_floor(self) -> None:
        grain = np.abs(np.random.default_rng(0).normal(0, 4, (200, 200)))
        grain[:20] = 200
        assert 8 < noise_floor(grain.astype(np.float32)) < 30
        assert (grain[20:] > noise_floor(grain.astype(np.float32))).mean() < 0.001


class TestColour:
    def test_grey_is_brightness_unless_a_colour_is_clearer(self, originals: Grey) -> None:
        share = enlarge(originals[0])[..., None] / 255
        for ink, paper, channel in (
            ((20, 30, 120), (250, 240, 200), None),
            ((250, 245, 30), (250, 250, 250), 2),
            ((230, 76, 76), (64, 158, 102), 0),
        ):
            picture = (share * ink + (1 - share) * paper).astype(np.uint8)
            image = Image.fromarray(picture)
            expected = image.convert("L") if channel is None else image.getchannel(channel)
            assert np.array_equal(to_grey(picture), np.asarray(expected))
        assert np.array_equal(to_grey(originals[0]), originals[0])
