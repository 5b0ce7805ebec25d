"""Photos in the page, step by step: JavaScript finds what Python finds, and makes its images."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Page

from mnist_lab.data.mnist import MNIST
from mnist_lab.handwriting.found import TOO_LOW, FoundDigit, Steps, Unread, search_page
from mnist_lab.handwriting.ink import AT_THE_EDGE, IN_A_FRAME, TOO_FAINT, HandwritingError
from mnist_lab.handwriting.simulated_pages import PHOTOS, photograph
from tests.handwriting.forms import make_form, write_beside
from tests.handwriting.pictures import make_page

pytestmark = pytest.mark.site

Pixels = NDArray[np.uint8]
REDUCED = Steps(stroke_width=False, upright=False)  # the steps that the page takes as well
FIND = """async (file) => {
  const bytes = Uint8Array.from(atob(file), (letter) => letter.charCodeAt(0));
  try {
    const canvas = await modules.photo_file.openPicture(new File([bytes], "photo.png"), 1600);
    const { width, height } = canvas;
    const pixels = canvas.getContext("2d").getImageData(0, 0, width, height);
    const { lines, unread } = modules.photo.searchAtOnce(pixels);
    const edges = ({ left, top, right, bottom }) => [left, top, right, bottom];
    const digits = lines.flat().map(({ image, box }) => ({ image: [...image], box: edges(box) }));
    return { digits, unread: unread.map((one) => [one.reason, ...edges(one)]) };
  } catch (error) {
    if (error instanceof modules.photo_pieces.PhotoError) return { said: error.message };
    throw error;
  }
}"""


def png_of(picture: Pixels) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "PNG")
    return stream.getvalue()


def ask(page: Page, content: bytes) -> dict[str, Any]:
    found: dict[str, Any] = page.evaluate(FIND, base64.b64encode(content).decode())
    return found


def find_there(page: Page, picture: Pixels) -> tuple[list[FoundDigit], list[Unread]]:
    """What the page's JavaScript finds in a picture, as `search_page` gives it."""
    found = ask(page, png_of(picture))
    digits = [
        FoundDigit(np.reshape(digit["image"], (28, 28)).astype(np.uint8), tuple(digit["box"]))
        for digit in found["digits"]
    ]
    return digits, [Unread(tuple(edges), reason) for reason, *edges in found["unread"]]


# What two images may differ by, as a share of the grey range: a digit laid one pixel aside differs
# from itself by 0.06, and that may happen where a box ends a pixel earlier.
CLOSE = 0.1
CLOSE_ON_AVERAGE = 0.01
APART = 3  # pixels that two boxes may differ by at an edge


@dataclass
class Agreement:
    """How far JavaScript and Python agree on a picture; digits are held together by their boxes."""

    both: int  # found by both, near enough
    either: int
    same_order: bool
    difference: list[float]  # of the images, each as a share of the grey range


def compare(page: Page, picture: Pixels) -> Agreement:
    here, _ = search_page(picture, steps=REDUCED)
    there, _ = find_there(page, picture)
    boxes = np.array([digit.box for digit in here])
    places = []
    difference = []
    for digit in there:
        apart = np.abs(boxes - digit.box).max(axis=1)
        nearest = int(apart.argmin())
        if apart[nearest] <= APART:
            places.append(nearest)
            values = here[nearest].image.astype(float) - digit.image
            difference.append(float(np.abs(values).mean() / 255))
    both = len(set(places))
    return Agreement(both, len(here) + len(there) - both, places == sorted(places), difference)


FORMS = ("boxes", "cells", "comb", "underlined", "table")


@pytest.fixture(scope="module")
def pictures(mnist: MNIST) -> dict[str, Pixels]:
    """Photos of every condition, and forms of every kind."""
    digits = mnist.train.subset(np.arange(500, 1_000))
    photos = {name: photograph(digits, 3, 6, PHOTOS[name], seed=3).picture for name in PHOTOS}
    return photos | {kind: make_form(kind, digits.images).photograph() for kind in FORMS}


@pytest.mark.parametrize("name", [*PHOTOS, *FORMS])
def test_the_page_finds_what_python_finds(
    bench: Page, pictures: dict[str, Pixels], name: str
) -> None:
    """In the same order, and the same images; of eight digits one may be found by one alone."""
    found = compare(bench, pictures[name])
    assert found.both >= 0.875 * found.either
    assert found.same_order
    assert np.mean(found.difference) < CLOSE_ON_AVERAGE
    assert max(found.difference) < CLOSE


@pytest.mark.parametrize("side", [8, 19, 28, 140])
def test_a_digit_that_fills_its_picture(bench: Page, mnist: MNIST, side: int) -> None:
    """A small one is enlarged as Pillow does it."""
    sharp = Image.fromarray(255 - mnist.test.images[0])  # a seven
    picture = np.asarray(sharp.resize((side, side), Image.Resampling.BICUBIC))
    found = compare(bench, picture)
    assert (found.both, found.either) == (1, 1)
    assert max(found.difference) < CLOSE_ON_AVERAGE


@pytest.mark.parametrize("reason", [TOO_LOW, TOO_FAINT, AT_THE_EDGE, IN_A_FRAME])
def test_what_is_not_read_is_told_as_python_tells_it(
    bench: Page, mnist: MNIST, reason: str
) -> None:
    form, _ = write_beside(reason, mnist.train.images[500:])
    picture = form.photograph()
    (_, here), (_, there) = search_page(picture, steps=REDUCED), find_there(bench, picture)
    assert {one.reason for one in there} == {one.reason for one in here} == {reason}
    boxes = np.array([one.box for one in here])
    for one in there:
        assert np.abs(boxes - one.box).max(axis=1).min() <= APART


# --- What cannot be read -------------------------------------------------------------------------


def test_what_shows_no_digit_is_said_in_a_sentence(bench: Page, mnist: MNIST) -> None:
    grain = 230 + np.random.default_rng(0).normal(0, 3, (100, 80))
    texture = np.random.default_rng(0).random((400, 400)) < 0.1
    ruled = make_page(np.zeros_like(mnist.train.images[:500]), 3, 6, ruled=True).grey
    for picture, said in {
        "blank": (np.full((30, 40), 255, np.uint8), "nothing stands out from the paper"),
        "one pixel": (np.zeros((1, 1), np.uint8), "nothing stands out from the paper"),
        "grain": (grain.astype(np.uint8), "nothing stands out from the paper"),
        "texture": (np.where(texture, 0, 255).astype(np.uint8), r"\d,\d+ pieces of ink"),
        "lines": (ruled, "only lines"),
    }.values():
        found = ask(bench, png_of(picture))
        assert re.search(said, found["said"])
        assert found["said"].endswith(".")
        with pytest.raises(HandwritingError):
            search_page(picture)


@pytest.mark.parametrize("name", ["empty", "words", "nothing but a beginning", "no size"])
def test_a_broken_file_is_refused_with_a_sentence(bench: Page, name: str) -> None:
    picture = png_of(np.zeros((50, 50), np.uint8))
    content = {
        "empty": b"",
        "words": b"these are words",
        "nothing but a beginning": picture[:20],
        "no size": b'<svg xmlns="http://www.w3.org/2000/svg"/>',
    }[name]
    assert re.search("no picture that this browser can open|no size", ask(bench, content)["said"])


# --- Files ---------------------------------------------------------------------------------------


def test_a_photo_is_turned_as_the_camera_was_held(bench: Page, mnist: MNIST) -> None:
    upright = Image.fromarray(make_form("underlined", mnist.train.images[500:]).photograph())
    stream, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6  # the camera was turned to the left: turn the picture to the right
    upright.transpose(Image.Transpose.ROTATE_90).save(stream, "JPEG", quality=95, exif=exif)
    assert [digit["box"] for digit in ask(bench, stream.getvalue())["digits"]] == pytest.approx(
        np.array([digit.box for digit in find_there(bench, np.asarray(upright))[0]]), abs=3
    )


@pytest.mark.parametrize("ink", [0, 255])
def test_transparency_is_laid_on_what_shows_the_ink(bench: Page, mnist: MNIST, ink: int) -> None:
    opacity = mnist.test.images[0]
    drawn = np.dstack([np.full((28, 28, 3), ink, np.uint8), opacity])
    (digit,), _ = find_there(bench, drawn)
    (expected,), _ = search_page(255 - opacity, steps=REDUCED)
    assert np.abs(digit.image.astype(int) - expected.image).mean() / 255 < CLOSE_ON_AVERAGE


def test_a_large_photo_is_shrunk_and_found_as_python_finds_it(bench: Page, mnist: MNIST) -> None:
    sheet = Image.fromarray(make_form("table", mnist.train.images[500:]).photograph(noise=1))
    large = np.asarray(sheet.resize((3_200, 1_500), Image.Resampling.BICUBIC))
    there, _ = find_there(bench, large)
    here, _ = search_page(large, steps=REDUCED)
    half = np.array([digit.box for digit in here]) / 2
    near = [np.abs(half - digit.box).max(axis=1).min() <= APART for digit in there]
    assert len(there) == len(here)
    assert sum(near) >= 0.95 * len(near)
