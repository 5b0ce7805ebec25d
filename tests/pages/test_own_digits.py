"""Digits of the reader's own hand: learnt from, set aside, saved as a file and pooled."""

from __future__ import annotations

import base64
import io
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Locator, Page

from mnist_lab.data.digit_set import DigitSet
from mnist_lab.data.own_files import load_npz, save_npz
from tests.drawn_digits import DIGITS
from tests.pages.pads import draw_with_mouse
from tests.pages.test_training_panel import PANEL, choose, panel, train

pytestmark = pytest.mark.site

OWN = f"{PANEL}.own"
READ = """async (file) => {
  const bytes = Uint8Array.from(atob(file), (letter) => letter.charCodeAt(0));
  try {
    const { digits, others } = await modules.npz.readDigitsFile(bytes);
    return { labels: digits.map(({ label }) => label), others,
      images: digits.map(({ image }) => [...image]) };
  } catch (error) {
    return error.constructor.name === "FileError" ? error.message : String(error.stack);
  }
}"""


def some_digits(count: int = 6, seed: int = 0) -> DigitSet:
    draw = np.random.default_rng(seed)
    images = draw.integers(0, 256, (count, 28, 28), np.uint8)
    return DigitSet(images, np.arange(count) % 10)


def read_there(page: Page, content: bytes) -> Any:
    return page.evaluate(READ, base64.b64encode(content).decode())


def said(element: Locator) -> str:
    return element.locator(".own > .folded > .said").text_content() or ""


def load(element: Locator, *files: Path) -> str:
    """Give files to the panel; what it says of them."""
    status = element.locator(".own > .folded > .said")
    status.evaluate("(e) => { e.textContent = ''; }")
    element.locator(".own input[type=file]").set_input_files(files)
    status.filter(has_text=re.compile(".")).wait_for()
    return said(element)


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    save_npz(tmp_path / "mine.npz", some_digits())
    return tmp_path / "mine.npz"


def test_what_is_drawn_is_kept_saved_and_read_by_the_package(
    browser: Browser, tmp_path: Path
) -> None:
    with panel(browser) as (page, element):
        element.get_by_text("Digits of your own hand (0)").click()
        element.get_by_role("button", name="Keep this digit").click()
        assert said(element) == "Draw something first."
        for digit in (3, 8):
            draw_with_mouse(page, DIGITS[digit], element.locator(".own .pad"))
            element.get_by_label("It is", exact=True).select_option(str(digit))
            element.get_by_role("button", name="Keep this digit").click()
            assert page.evaluate(f"{OWN}.pad.pad.isEmpty")
        assert said(element) == "Kept: 2 digits."
        assert element.locator(".own .examples li").all_text_contents() == ["3", "8"]
        with page.expect_download() as download:
            element.get_by_role("button", name="Save them").click()
        download.value.save_as(tmp_path / "drawn.npz")
        drawn = load_npz(tmp_path / "drawn.npz")
        assert drawn.labels.tolist() == [3, 8]
        images = page.evaluate(f"{OWN}.digits.map(({{ image }}) => [...image])")
        assert drawn.images.reshape(2, -1).tolist() == images
        assert drawn.images.reshape(2, -1).max(1).tolist() == [255, 255]
        element.get_by_role("button", name="Forget").click()
        assert load(element, tmp_path / "drawn.npz") == "Added 2 digits."


def test_files_of_a_class_are_pooled_and_no_drawing_is_counted_twice(
    browser: Browser, mine: Path, tmp_path: Path
) -> None:
    other, bad = tmp_path / "other.npz", tmp_path / "bad.npz"
    save_npz(other, some_digits(4, seed=1))
    bad.write_bytes(b"no digits")
    with panel(browser) as (_, element):
        element.get_by_text("Digits of your own hand (0)").click()
        found = load(element, mine, bad, other)
        assert found.startswith("Added 10 digits. bad.npz: The file holds no digits")
        assert load(element, mine) == "Added 0 digits; 6 were there already, or are too many."
        assert element.get_by_text("Digits of your own hand (10)").count() == 1


def test_what_is_kept_on_a_pad_of_the_page_comes_too(browser: Browser) -> None:
    tell = """(detail) => document.dispatchEvent(new CustomEvent("digit-kept", {
      detail: { ...detail, image: new Uint8Array(784).fill(detail.grey) } }))"""
    with panel(browser) as (page, element):
        page.evaluate(tell, {"name": "7", "grey": 9})
        page.evaluate(tell, {"name": "house", "grey": 8})  # what is no digit stays away
        assert page.evaluate(f"{OWN}.digits.map(({{ label }}) => label)") == [7]
        page.evaluate(f"window.gone = {OWN}")
        element.evaluate("(e) => e.remove()")  # a panel that is taken away hears nothing
        page.evaluate(tell, {"name": "1", "grey": 7})
        assert page.evaluate("gone.digits.length") == 1


def test_own_digits_are_learnt_from_and_those_set_aside_are_not(
    browser: Browser, tmp_path: Path
) -> None:
    """Digits that MNIST cannot have: the same noise for a class, so that learning them shows."""
    draw = np.random.default_rng(5)
    patterns = draw.integers(0, 256, (2, 28, 28)).astype(int)
    labels = np.tile([0, 1], 15)
    noise = draw.integers(-9, 9, (30, 28, 28))
    images = np.clip(patterns[labels] + noise, 0, 255).astype(np.uint8)
    save_npz(tmp_path / "patterns.npz", DigitSet(images, labels))
    found = {}
    with panel(browser) as (page, element):
        choose(element, Network="1 layer: linear", Epochs="3")
        with_own = element.get_by_label(re.compile("With my own digits"))
        assert with_own.is_disabled()
        element.get_by_text("Digits of your own hand (0)").click()
        load(element, tmp_path / "patterns.npz")
        assert element.get_by_label("With my own digits (30)").is_enabled()
        for checked in (False, True):
            with_own.set_checked(checked)
            train(page)
            found[checked] = element.locator(".training > .said").text_content() or ""
            assert page.evaluate(f"{PANEL}.training.digits.train.labels.length") == 2_000 + (
                220 if checked else 0
            )
    assert "set aside it reads" in found[False]
    assert "learns from no digit of yours" in found[False]
    assert found[True] == (
        "Of your own 10 that were set aside it reads 10. "
        "It learns from 20 others of yours, each 11 times an epoch."
    )


def test_own_digits_are_parted_and_repeated_as_is_said(bench: Page) -> None:
    labels = [0, 1, 0, 0, 1, 1, 0, 2]
    found = bench.evaluate(
        """(labels) => {
          const parts = modules.own_digits.partDigits(labels.map((label, k) => ({ label, k })));
          return [parts.learnt, parts.aside].map((part) => part.map(({ k }) => k));
        }""",
        labels,
    )
    assert found == [[0, 1, 2, 4, 6, 7], [3, 5]]
    counts = "[0, 1, 8, 100, 3000].map((own) => modules.own_digits.countRepeats(own, 2000))"
    assert bench.evaluate(counts) == [0, 20, 20, 2, 1]


def test_a_file_reads_as_the_package_wrote_it_packed_or_not(bench: Page, mine: Path) -> None:
    digits = some_digits()
    names = tuple("9876543210")
    save_npz(mine.with_name("named.npz"), DigitSet(digits.images, digits.labels, class_names=names))
    plain = io.BytesIO()
    np.savez(plain, images=digits.images, labels=digits.labels.astype(np.int32))
    for content, labels in (
        (mine.read_bytes(), digits.labels),
        (mine.with_name("named.npz").read_bytes(), 9 - digits.labels),
        (plain.getvalue(), digits.labels),
    ):
        found = read_there(bench, content)
        assert found["labels"] == labels.tolist()
        assert found["images"] == digits.images.reshape(6, -1).tolist()
        assert found["others"] == 0


def packed(**arrays: Any) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def hostile() -> dict[str, tuple[bytes, str]]:
    digits = some_digits()
    images, labels = digits.images, digits.labels
    good = packed(images=images, labels=labels)
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", bytes(30_000_000))
        archive.writestr("labels.npy", b"")
    password = bytearray(good)
    password[good.rindex(b"PK\x01\x02") + 8] |= 1
    spoilt = bytearray(good)
    spoilt[60:200] = bytes(140)
    odd = np.array([{"a": 1}] * 6, dtype=object)
    return {
        "empty": (b"", "no digits"),
        "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(90), "no digits"),
        "cut": (good[:-30], "damaged"),
        "spoilt": (bytes(spoilt), "damaged"),
        "a bomb": (bomb.getvalue(), "more digits than a page can take"),
        "a password": (bytes(password), "password"),
        "another zip": (packed(a=labels), "no digits"),
        "objects": (packed(images=images, labels=odd), "damaged"),
        "colours": (packed(images=np.zeros((6, 28, 28, 3), np.uint8), labels=labels), "28x28"),
        "32 pixels": (packed(images=np.zeros((6, 32, 32), np.uint8), labels=labels), "28x28"),
        "fractions": (packed(images=images / 255, labels=labels), "28x28"),
        "few labels": (packed(images=images, labels=labels[:5]), "not as many labels"),
        "many": (
            packed(images=np.zeros((5_001, 28, 28), np.uint8), labels=np.zeros(5_001, int)),
            "more digits than a page can take",
        ),
        "odd names": (
            packed(images=images, labels=labels, class_names=np.arange(10.0)),
            "names of classes",
        ),
    }


@pytest.mark.parametrize("name", hostile())
def test_a_file_that_is_broken_or_means_harm_is_one_sentence(bench: Page, name: str) -> None:
    content, words = hostile()[name]
    found = read_there(bench, content)
    assert isinstance(found, str)
    assert words in found
    assert "\n" not in found


def test_damage_anywhere_is_one_sentence_or_harmless(bench: Page) -> None:
    draw = np.random.default_rng(3)
    good = packed(images=some_digits().images, labels=some_digits().labels)
    for _ in range(60):
        content = bytearray(good)
        for _ in range(draw.integers(1, 4)):
            content[draw.integers(len(content))] = draw.integers(256)
        found = read_there(bench, bytes(content))
        if isinstance(found, str):
            assert "\n" not in found
            assert found.endswith(".")
        else:
            assert len(found["images"]) == len(found["labels"]) <= 6


def test_labels_that_are_no_digit_are_counted_and_left_out(bench: Page) -> None:
    labels = np.array([1, 2, -1, 12, 3, 10])
    found = read_there(bench, packed(images=some_digits().images, labels=labels))
    assert found["labels"] == [1, 2, 3]
    assert found["others"] == 3
