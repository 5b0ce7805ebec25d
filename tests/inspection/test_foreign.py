"""What is no digit: every kind is drawn as MNIST has its images, the same from the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from mnist_lab.inspection.foreign import FOREIGN, draw_foreign


@pytest.mark.parametrize("kind", FOREIGN)
def test_is_drawn_as_mnist_has_its_images(kind: str) -> None:
    images = draw_foreign(kind, 25, seed=3)
    assert images.shape == (25, 28, 28)
    assert images.dtype == np.uint8
    assert np.array_equal(images, draw_foreign(kind, 25, seed=3))
    assert not np.array_equal(images, draw_foreign(kind, 25, seed=4))
    if kind != "nothing":
        rows, columns = (np.arange(28) @ images.sum(axis).T for axis in (2, 1))
        centres = np.stack([rows, columns]) / images.sum((1, 2))
        assert np.abs(centres - 14).max() < 2.5  # in the middle, by their mass
        height = (images.max(2) > 0).sum(1)
        width = (images.max(1) > 0).sum(1)
        assert (np.maximum(height, width) >= 18).all()


@pytest.mark.parametrize("kind", ["letters", "other alphabets"])
def test_no_letter_is_the_box_that_a_font_has_for_what_it_lacks(kind: str) -> None:
    """That box has ink along all four edges and, in its middle, none or a cross."""
    for image in draw_foreign(kind, 200, seed=0):
        rows, columns = np.flatnonzero(image.any(1)), np.flatnonzero(image.any(0))
        box = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] > 0
        edges = [box[0], box[-1], box[:, 0], box[:, -1]]
        assert min(edge.mean() for edge in edges) < 0.9


def test_what_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="letters"):
        draw_foreign("houses", 1, seed=0)
    with pytest.raises(ValueError, match="at least 1"):
        draw_foreign("signs", 0, seed=0)
