"""The digits of which the tests of handwriting make pictures."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from mnist_lab.data.geometry import crop_to_ink
from mnist_lab.data.mnist import MNIST
from mnist_lab.handwriting.found import STROKE_WIDTH, measure_stroke_width
from tests.handwriting.pictures import Grey


@pytest.fixture(scope="session")
def originals(mnist: MNIST) -> Grey:
    """Twenty digits whose strokes have MNIST's ordinary width, which is not changed."""
    low, high = STROKE_WIDTH
    images = mnist.test.images[:60]
    widths = np.array([measure_stroke_width(crop_to_ink(image)) for image in images])
    return images[(widths > low) & (widths < high)][:20]


@pytest.fixture(scope="session")
def many(mnist: MNIST) -> Grey:
    """Five hundred digits."""
    return mnist.train.images[:500]


@pytest.fixture(scope="session")
def whole(mnist: MNIST) -> Grey:
    """A hundred digits that are each one piece of ink, and not wide."""
    images = mnist.train.images[500:800]
    kept = [
        image
        for image in images
        if ndimage.label(image > 60, np.ones((3, 3)))[1] == 1
        and 1.2 < len(crop_to_ink(image)) / crop_to_ink(image).shape[1] < 2.5
    ]
    return np.stack(kept[:100])
