"""A figure comes with words, at the size of the page, in a file that is not large."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from mnist_lab.lessons.palette import PAPER
from mnist_lab.lessons.pictures import Picture, new_axes


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
        assert data["text/plain"] == "A line that rises."
        assert metadata["image/png"] == {"alt": "A line that rises.", "width": 300, "height": 150}

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
