"""A reader's own model reads on the page: its file, its names, and a lesson of its own."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from playwright.sync_api import Browser, Page

from mnist_lab.export import web_bytes
from mnist_lab.training.cards import ModelCard
from tests.browsing import PHONE, both_doors, opened
from tests.drawn_digits import DIGITS
from tests.pages.pads import HOME, PAD, draw_with_mouse, keep, lesson, put_strokes, reading
from tests.pages.web_files import altered, bad_files
from tests.pages.workbench import network

pytestmark = pytest.mark.site

TREES = ("ash", "birch", "cedar", *(f"tree {k}" for k in range(7)))


def reads_cedars() -> bytes:
    """A model that reads the third of its classes, whatever is drawn."""
    model, _ = network("linear")
    with torch.no_grad():
        model.get_parameter("output.bias")[2] += 1_000
    return web_bytes(model, ModelCard("linear", class_names=TREES))


def drop(page: Page, name: str, content: bytes) -> str:
    """Choose a model file, and return what the page says of it."""
    details = page.locator(PAD).first.locator("details", has_text="Let your own model read")
    if details.get_attribute("open") is None:
        details.locator("summary").click()
    file: Any = {"name": name, "mimeType": "application/octet-stream", "buffer": content}
    details.locator("input[type=file]").set_input_files(file)
    said = details.locator("p.said")
    said.wait_for()
    return said.text_content() or ""


def names_shown(page: Page) -> list[str]:
    return page.locator(PAD).locator(".bars .name").all_text_contents()


@both_doors
def test_an_own_model_reads_and_a_bad_file_changes_nothing(
    browser: Browser, address: str, door: str
) -> None:
    with opened(browser, address, door, HOME) as (page, _):
        draw_with_mouse(page, DIGITS[3])
        assert reading(page) == "3"
        assert "does not know" in drop(page, "bad.safetensors", bad_files()["other halves"][0])
        assert "larger than 2 MB" in drop(page, "huge.bin", bytes(3_000_000))
        draw_with_mouse(page, [])
        assert reading(page) == "3"
        assert "Your model reads now" in drop(page, "own.safetensors", reads_cedars())
        assert reading(page) == "cedar"
        assert names_shown(page) == list(TREES)
        assert "NaN" not in (page.locator(PAD).text_content() or "")
        for name in ("NaN", "linear of 3e38", "small_cnn of 1e30", "classes doubled"):
            assert drop(page, f"{name}.safetensors", bad_files()[name][0]).endswith("on reading.")
            assert reading(page) == "cedar"  # the one before goes on
            assert page.locator(PAD).get_by_role("button", name="Back to the book").is_visible()
        page.locator(PAD).get_by_role("button", name="Back to the book").click()
        assert reading(page) == "3"


def test_a_lesson_belongs_to_the_network_that_was_taught(browser: Browser, address: str) -> None:
    """Neither its examples nor its last layer come to the model that reads after it."""
    with opened(browser, address, "served", HOME) as (page, _):
        keep(page, DIGITS[3], "8")
        details = lesson(page)
        examples = details.locator(".examples").first.locator("li")
        assert examples.count() == 1
        assert details.get_by_role("button", name="Train").is_enabled()
        drop(page, "own.safetensors", reads_cedars())
        assert examples.count() == 0
        assert details.get_by_role("button", name="Train").is_disabled()
        choices = details.get_by_label("It is").locator("option").all_text_contents()
        assert choices == [*TREES, "something new …"]
        details.get_by_role("button", name="Start over").click()
        put_strokes(page, DIGITS[3])
        assert reading(page) == "cedar"
        assert names_shown(page) == list(TREES)
        page.locator(PAD).get_by_role("button", name="Back to the book").click()
        details.get_by_role("button", name="Start over").click()
        assert reading(page) == "3"
        assert names_shown(page) == list("0123456789")


def test_a_long_word_of_a_file_stays_on_the_screen_of_a_phone(
    browser: Browser, address: str
) -> None:
    with opened(browser, address, "served", HOME, viewport=PHONE) as (page, _):
        said = drop(page, "long.safetensors", altered(card={"model": "W" * 5_000}))
        assert re.search("architecture W{40}…", said)
        widths = page.locator(PAD).evaluate("e => [e.scrollWidth, e.clientWidth]")
        assert widths[0] <= widths[1]


def test_names_from_a_file_are_text_and_never_markup(browser: Browser, address: str) -> None:
    model, _ = network("linear")
    names = ("<img src=x onerror=1>", "<script>x</script>", *map(str, range(8)))
    with opened(browser, address, "served", HOME) as (page, _):
        drop(page, "own.safetensors", web_bytes(model, ModelCard("linear", class_names=names)))
        draw_with_mouse(page, DIGITS[3])
        assert page.locator(PAD).locator(".bars img, .bars script").count() == 0
        assert names_shown(page) == list(names)
