"""A figure comes with words, at the size of the page, in a file that is not large."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from mnist_lab.lessons.palette import PAPER
from mnist_lab.lessons.pictures import Picture, describe_drawn, new_axes


@pytest.fixture
def picture() -> Picture:
    figure, axes = new_axes(width=3, height=1.5)
    axes.plot([0, 1])
    return Picture(figure, "A line that rises.")


class TestPicture:
    def test_needs_words(self, picture: Picture) -> None:
        with pytest.raises(ValueError, match="alt text"):
            Picture(picture.figure, " ")

    def test_carries_its_words_and_its_size_on_the_page(self, picture: Picture) -> None:
        data, metadata = picture._repr_mimebundle_()
        alt, drawn = data["text/plain"].splitlines()
        assert alt == "A line that rises."
        assert drawn == describe_drawn(picture.figure)
        assert metadata["image/png"] == {"alt": "A line that rises.", "width": 300, "height": 150}

    def test_of_what_varies_only_the_kind_is_compared(self, picture: Picture) -> None:
        data, _ = picture.varying()._repr_mimebundle_()
        assert data["text/plain"] == "A line that rises.\n[1 line of 2 points]"

    def test_the_file_is_finer_than_the_page_and_has_few_colours(self, picture: Picture) -> None:
        with Image.open(io.BytesIO(base64.b64decode(picture.to_base64()))) as file:
            assert file.size == (540, 270)
            assert len(file.getcolors() or ()) <= 128
        with Image.open(io.BytesIO(base64.b64decode(picture.to_base64(100, 16)))) as file:
            assert file.size == (300, 150)
            assert len(file.getcolors() or ()) <= 16

    def test_stands_on_the_books_paper(self, picture: Picture) -> None:
        with Image.open(io.BytesIO(base64.b64decode(picture.to_base64()))) as file:
            corner = np.array(file.convert("RGB").getpixel((0, 0)))
        assert np.abs(corner - 255 * np.array(to_rgb(PAPER))).max() <= 1


def draw_all(values: list[float]) -> Figure:
    figure, (left, right) = new_axes(1, 2)
    left.plot(values)
    left.fill_between(range(3), values)
    left.bar(range(3), values)
    right.scatter(values, values)
    right.imshow([values])
    return figure


class TestDescribeDrawn:
    def test_says_what_was_drawn(self) -> None:
        drawn = describe_drawn(draw_all([1.0, 2.0, 3.0]), values=False)
        # An area has its corners, and the first and the last point twice.
        assert drawn == "[1 line of 3 points, 2 areas, 1 group of 3 bars, 1 image]"
        assert describe_drawn(new_axes()[0]) == "[nothing]"

    @pytest.mark.parametrize("changed", range(3))
    def test_another_number_is_another_digest(self, changed: int) -> None:
        values = [1.0, 2.0, 3.0]
        before = describe_drawn(draw_all(values))
        values[changed] += 0.02
        assert describe_drawn(draw_all(values)) != before

    @pytest.mark.parametrize("kind", ["plot", "bar", "scatter", "imshow", "fill_between"])
    def test_each_kind_counts(self, kind: str) -> None:
        def drawn(last: float) -> str:
            figure, axes = new_axes()
            values = [1.0, 2.0, last]
            getattr(axes, kind)(*([[values]] if kind == "imshow" else [range(3), values]))
            return describe_drawn(figure)

        assert drawn(3.0) != drawn(2.9)
        assert drawn(3.0) == drawn(3.0 + 1e-6)

    @pytest.mark.parametrize("kind", ["plot", "bar", "scatter", "fill_between"])
    def test_a_small_number_far_along_counts(self, kind: str) -> None:
        def drawn(last: float) -> str:
            figure, axes = new_axes()
            getattr(axes, kind)([100, 10_000, 50_000], [0.56, 0.55, last])
            return describe_drawn(figure)

        assert drawn(0.54) != drawn(0.541)
        assert drawn(0.54) == drawn(0.54 + 1e-7)

    @pytest.mark.parametrize("values", [[1.0, 2.0, 3.0], [0.9, 0.9, 0.9]])
    def test_twice_the_numbers_are_other_numbers(self, values: list[float]) -> None:
        twice = [2 * value for value in values]
        assert describe_drawn(draw_all(values)) != describe_drawn(draw_all(twice))

    def test_holes_and_infinities_are_numbers_too(self) -> None:
        whole, holed = draw_all([1.0, 2.0, 3.0]), draw_all([1.0, np.nan, 3.0])
        assert describe_drawn(whole) != describe_drawn(holed) == describe_drawn(holed)
