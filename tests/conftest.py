"""What several test modules share: the data, and small runs that take a second."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch

from mnist_lab.datasets import MNIST, DigitSet, load_mnist, split
from tools.check_chapters import ONE_THREAD

os.environ.update(ONE_THREAD | os.environ)  # for the kernels of the chapters, which nbval starts


@pytest.fixture(scope="session")
def mnist() -> MNIST:
    return load_mnist()


@pytest.fixture(scope="session")
def small_sets(mnist: MNIST) -> tuple[DigitSet, DigitSet]:
    """1,000 digits to train on and 500 to validate on, both from the training part."""
    train, validation = split(mnist.train.subset(np.arange(1_500)), seed=0, validation=500)
    return train, validation


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Tests share the cores with each other; two OpenMP threads would fight over them."""
    torch.set_num_threads(1)
