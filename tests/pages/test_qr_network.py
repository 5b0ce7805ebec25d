"""The network in chapter 17's QR code: from the printed squares to the page, and to the digits."""

from __future__ import annotations

import base64
import gzip

import numpy as np
import pytest
import torch
from playwright.sync_api import Page

from mnist_lab.data.mnist import MNIST
from mnist_lab.data.splits import split
from mnist_lab.export import read_web
from mnist_lab.lessons.qr_codes import MOST_BYTES, draw_qr, read_qr
from mnist_lab.lessons.records import load_record
from mnist_lab.training.batches import Batches
from mnist_lab.training.scoring import evaluate
from tests.pages.workbench import read_there, through_the_door

RECORDED = load_record("smaller")["results"]["qr"]


@pytest.fixture(scope="module")
def printed() -> bytes:
    """What a camera would read from the page."""
    return read_qr(draw_qr(base64.b64decode(RECORDED["file"]), "A code."))


def test_a_code_holds_it_and_it_reads_as_recorded(printed: bytes, mnist: MNIST) -> None:
    assert len(printed) == RECORDED["bytes"] <= MOST_BYTES
    model, card = read_web(gzip.decompress(printed))
    assert (card.model, card.arguments["width"]) == (RECORDED["model"], RECORDED["width"])
    _, validation = split(mnist.train, seed=0)
    accuracy = evaluate(model, Batches(validation)).accuracy
    assert accuracy == pytest.approx(RECORDED["accuracy"], abs=0.0003)


@pytest.mark.site
def test_the_door_opens_it_and_the_page_computes_the_same(
    bench: Page, printed: bytes, mnist: MNIST
) -> None:
    said, used = through_the_door(bench, printed)
    assert said.startswith("Your model reads now")
    _, validation = split(mnist.train, seed=0)
    images = validation.images[:200]
    found = read_there(bench, used, images)
    model, card = read_web(gzip.decompress(printed))
    with torch.no_grad():
        expected = model(card.normalisation(torch.from_numpy(images)[:, None])).numpy()
    assert np.abs(found - expected).max() < 1e-4
    assert (found.argmax(1) == validation.labels[:200]).mean() > 0.95
