"""Article 001 in Keras itself: what can be tested without Keras, and what was recorded with it."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from benchmarks import keras_article
from mnist_lab.data.mnist import MNIST


def test_without_keras_it_says_in_one_sentence_where_to_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "keras", None)
    monkeypatch.setattr(sys, "argv", ["keras_article"])
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("KERAS_BACKEND", "")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(SystemExit, match=r"^Keras is not installed: .* says how to make it\.$"):
        keras_article.main()
    assert "keras_environment/bin/python -m pip install . keras" in str(keras_article.__doc__)


def test_digits_are_prepared_as_printed(mnist: MNIST) -> None:
    images, labels = keras_article.prepare(mnist.test.subset(slice(0, 7)))
    assert (images.shape, images.dtype) == ((7, 28, 28, 1), np.float32)
    assert (images.min(), images.max()) == (0, 1)
    assert np.array_equal(labels, mnist.test.labels[:7])


def test_the_listing_is_to_the_letter() -> None:
    listing = keras_article.Listing()
    assert (listing.epochs, listing.batch_size, listing.optimizer) == (5, 128, "adam")
