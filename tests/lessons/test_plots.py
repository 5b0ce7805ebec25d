"""What is drawn lies where the data lies."""

from __future__ import annotations

import base64

import numpy as np

from mnist_lab.lessons.palette import BLUE_PENCIL, RED_PEN
from mnist_lab.lessons.plots import draw_found


class TestDrawFound:
    boxes = ((2, 3, 12, 20), (30, 5, 41, 25))

    def test_a_box_encloses_its_pixels_and_has_its_text_and_colour(self) -> None:
        photo = np.full((40, 60), 200, np.uint8)
        drawn = draw_found(
            photo, self.boxes, ["1: 7", "2: 4"], alt="Two digits.", colours=(BLUE_PENCIL, RED_PEN)
        )
        (axes,) = drawn.figure.axes
        for line, (left, top, right, bottom) in zip(axes.lines, self.boxes, strict=True):
            x, y = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
            # Pixel k covers k - 0.5 to k + 0.5; right and bottom are exclusive.
            assert (x.min(), x.max()) == (left - 0.5, right - 0.5)
            assert (y.min(), y.max()) == (top - 0.5, bottom - 0.5)
        assert [line.get_color() for line in axes.lines] == [BLUE_PENCIL, RED_PEN]
        assert [text.get_text() for text in axes.texts] == ["1: 7", "2: 4"]
        assert drawn.alt == "Two digits."

    def test_without_texts_there_are_none(self) -> None:
        (axes,) = draw_found(np.zeros((40, 60), np.uint8), self.boxes, alt="Two.").figure.axes
        assert len(axes.lines) == 2
        assert not axes.texts

    def test_a_noisy_photo_makes_no_large_file(self) -> None:
        noise = np.random.default_rng(0).normal(150, 3, (200, 480)).clip(0, 255).astype(np.uint8)
        drawn = draw_found(noise, [], alt="A grey sheet.")
        assert len(base64.b64decode(drawn.to_base64())) < 55_000
