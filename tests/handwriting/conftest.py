"""The digits of which the tests of handwriting make pictures."""

from __future__ import annotations

import numpy as np
import pytest

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
