"""Ink: a threshold above the noise, and strokes that fade; what holds none is refused."""

from __future__ import annotations

import numpy as np
import pytest

from mnist_lab.handwriting.ink import HandwritingError, find_ink, threshold_ink
from tests.handwriting.pictures import Grey, make_page


class TestThreshold:
    def test_a_stroke_goes_on_into_fainter_ink_but_a_speck_does_not_begin_there(self) -> None:
        ink = np.zeros((60, 60), np.float32)
        ink[10:50, 20:24], ink[50:54, 20:24], ink[10:12, 40:44] = 200, 70, 70
        ink[0, 0] = 90  # a threshold is the least that leaves two groups as uniform as they can be
        mask = threshold_ink(ink)
        assert mask[10:54, 21].all()
        assert not mask[:, 40:].any()
        assert not threshold_ink(ink, hysteresis=False)[50:].any()

    def test_noise_is_no_ink(self) -> None:
        generator = np.random.default_rng(0)
        ink = np.abs(generator.normal(0, 6, (200, 200))).astype(np.float32)
        ink[50:150, 100:106] += 60
        mask = threshold_ink(ink)
        assert mask[50:150, 100:106].mean() > 0.9
        mask[48:152, 98:108] = False
        assert mask.mean() < 0.001


class TestRefusal:
    def test_paper_with_nothing_but_lines(self, many: Grey) -> None:
        paper = make_page(np.zeros_like(many), 3, 6, ruled=True).grey
        with pytest.raises(HandwritingError, match="only lines"):
            find_ink(paper)

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
