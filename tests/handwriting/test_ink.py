"""Ink: told from paper, light, shadows and ruled lines, in the colour that shows it best."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from mnist_lab.data.geometry import crop_to_ink
from mnist_lab.data.mnist import MNIST
from mnist_lab.handwriting.ink import (
    HandwritingError,
    find_ink,
    find_ruled_lines,
    take_paper_away,
    to_grey,
)
from tests.handwriting.pictures import Grey, difference, enlarge, make_page


class TestPaper:
    def test_ink_is_what_paper_does_not_give_back(self, many: Grey) -> None:
        page = make_page(many, 2, 3, shadow=True)
        ink = take_paper_away(page.grey)
        assert np.median(ink) < 5
        assert np.allclose(ink, take_paper_away(page.grey.astype(float)))
        left, top, right, bottom = page.boxes[-1]
        assert ink[top:bottom, left:right].max() > 180

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


class TestRuledLines:
    def test_ruled_lines_are_told_from_strokes_on_them(self, many: Grey) -> None:
        page = make_page(many, 2, 3, seed=4, ruled=True)
        ink = take_paper_away(page.grey)
        lines = find_ruled_lines(ink, ink > 40)
        assert lines.mean() > 0.01
        assert ink[lines].max() < 0.7 * ink.max()

    def test_paper_with_nothing_but_lines(self, many: Grey) -> None:
        paper = make_page(np.zeros_like(many), 3, 6, ruled=True).grey
        with pytest.raises(HandwritingError, match="only ruled lines"):
            find_ink(paper)


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


class TestRefusal:
    @pytest.mark.parametrize("level", [0, 128, 255])
    @pytest.mark.parametrize("shape", [(30, 40), (1, 1), (30, 40, 3)])
    def test_a_blank_page(self, level: int, shape: tuple[int, ...]) -> None:
        with pytest.raises(HandwritingError, match=r"^my page shows no digit: .*paper\.$"):
            find_ink(np.full(shape, level, np.uint8), "my page")

    def test_a_page_with_nothing_but_grain(self) -> None:
        grain = 230 + np.random.default_rng(0).normal(0, 3, (100, 80))
        with pytest.raises(HandwritingError, match="shows no digit"):
            find_ink(grain.astype(np.uint8))

    def test_nothing_at_all(self) -> None:
        for shape in ((0, 0), (0, 5), (5, 0)):
            with pytest.raises(HandwritingError, match=r"^the picture shows no digit.*\.$"):
                find_ink(np.zeros(shape, np.uint8))
