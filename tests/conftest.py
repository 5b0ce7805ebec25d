"""What several test modules share: the data, and small runs that take a second."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image

from mnist_lab.data.digit_set import DigitSet
from mnist_lab.data.mnist import MNIST, load_mnist
from mnist_lab.data.splits import split
from mnist_lab.handwriting.simulated_hands import draw_hand, draw_on_sheet
from tests.browsing import SITE, cannot_test, launched, served

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytest.register_assert_rewrite("tests.by_hand.comparing")  # so that it says what differs
NEEDS_THE_SITE = {"site", "browser", "address"}  # the fixtures below


@pytest.hookimpl(tryfirst=True)  # before -m chooses by the marker
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs the built site or a Chromium, so that no test of it can be forgotten."""
    for item in items:
        if NEEDS_THE_SITE & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.site)


@pytest.fixture(scope="session")
def mnist() -> MNIST:
    return load_mnist()


@pytest.fixture(scope="session")
def small_sets(mnist: MNIST) -> tuple[DigitSet, DigitSet]:
    """1,000 digits to train on and 500 to validate on, both from the training part."""
    train, validation = split(mnist.train.subset(np.arange(1_500)), seed=0, validation=500)
    return train, validation


@pytest.fixture(scope="session")
def drawings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of fifty drawings in another hand than MNIST's: five a digit, as pictures."""
    folder = tmp_path_factory.mktemp("drawings")
    drawn, labels = draw_hand("imagined", per_class=5, seed=0)
    for index, (strokes, label) in enumerate(zip(drawn, labels, strict=True)):
        place = folder / str(label)
        place.mkdir(exist_ok=True)
        Image.fromarray(255 - draw_on_sheet(strokes, side=84, pen=3)).save(place / f"{index}.png")
    return folder


@pytest.fixture(scope="session")
def site() -> Path:
    """Where the built site is."""
    if not (SITE / "index.html").is_file():
        cannot_test("The site is not built: run make book first.")
    return SITE


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The system's Chromium."""
    with launched() as browser:
        yield browser


@pytest.fixture(scope="session")
def address(site: Path) -> Iterator[str]:
    """Where the site is served on this machine."""
    with served(site) as address:
        yield address


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Tests share the cores with each other; two OpenMP threads would fight over them."""
    torch.set_num_threads(1)


@pytest.fixture
def small_mnist(mnist: MNIST, monkeypatch: pytest.MonkeyPatch) -> MNIST:
    """Let the command line find 600 digits to train on, 5,000 to validate on and 300 to test on."""
    small = MNIST(mnist.train.subset(np.arange(5_600)), mnist.test.subset(np.arange(300)))
    monkeypatch.setattr("mnist_lab.data.mnist.load_mnist", lambda: small)
    return small
