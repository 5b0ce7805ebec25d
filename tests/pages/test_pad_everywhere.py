"""Every page with a pad: it lives there, keeps nobody out, and has words where no script runs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser

from mnist_lab.handwriting.strokes import draw_strokes
from tests.browsing import SITE, both_doors, opened
from tests.drawn_digits import DIGITS
from tests.pages.accessibility import settle, violations
from tests.pages.pads import HOME, PAD, WITH_A_PAD, draw_with_mouse, each_page, keep

pytestmark = pytest.mark.site

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


def test_the_pad_is_where_it_teaches(site: Path) -> None:
    """On the home page, and in the chapters whose cells show one."""
    teaches = set()
    for path in NOTEBOOKS.glob("ch*.ipynb"):
        cells = json.loads(path.read_text("utf-8"))["cells"]
        code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
        # A cell shows the value of its last line; elsewhere a pad may collect without being seen.
        if any(re.search(r"\n(DigitPad\(.*\)|pad)$", "\n" + source.strip()) for source in code):
            teaches.add(f"notebooks/{path.stem}.html")
    assert len(teaches) >= 4
    assert set(WITH_A_PAD) == {HOME, *teaches}


@both_doors
@each_page
def test_every_pad_of_every_page_lives(
    browser: Browser, address: str, door: str, name: str
) -> None:
    """Those of chapters say whose network reads, and show the pixels where none does."""
    with opened(browser, address, door, name) as (page, _):
        for pad in page.locator(PAD).all():
            assert not pad.locator("p", has_text="A sheet to draw on stands here").is_visible()
            draw_with_mouse(page, DIGITS[3], pad)
            image = np.array(pad.evaluate("e => [...e.image]"), np.uint8).reshape(28, 28)
            difference = np.abs(image.astype(int) - draw_strokes(DIGITS[3]))
            assert difference.mean() < 8  # the hand is a little off, and smoothed
            if pad.get_attribute("only-draws") is None:
                pad.locator(".status", has_text="I read 3").wait_for()
                mine = pad.locator("p", has_text="On this page the book's own network reads")
                assert mine.count() == (pad.get_attribute("from-cell") is not None)
                continue
            pixels = pad.locator(".pixels canvas")
            pixels.focus()
            for key, times in (("ArrowDown", 4), ("ArrowLeft", 2)):
                for _ in range(times):
                    page.keyboard.press(key)
            sentence = f"Row 18, column 12, both counted from 0: {image[18, 12]}."
            assert pad.locator(".pixel").text_content() == sentence
            box = pixels.bounding_box()
            assert box
            x, y = box["x"] + box["width"] * 17.5 / 28, box["y"] + box["height"] * 8.5 / 28
            page.mouse.move(x, y)
            assert pad.locator(".numbers b").text_content() == f"{image[8, 17]:3d}"
            numbers = [int(word) for word in (pad.locator(".numbers").text_content() or "").split()]
            assert np.array_equal(np.reshape(numbers, (7, 7)), image[5:12, 14:21])


@both_doors
@each_page
def test_without_scripts_there_is_a_picture_and_a_sentence(
    browser: Browser, address: str, door: str, name: str
) -> None:
    said = re.compile("On this page you could draw a digit|A sheet to draw on stands here")
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(f"{address}/{name}" if door == "served" else (SITE / name).as_uri())
        for pad in page.locator(PAD).all():
            pad.locator("p", has_text=said).wait_for()
            image = pad.locator("img")
            assert image.is_visible()
            assert len(image.get_attribute("alt") or "") > 80


@pytest.mark.parametrize("scheme", ["light", "dark"])
@each_page
def test_axe_finds_nothing_that_keeps_readers_out(
    browser: Browser, address: str, name: str, scheme: Any
) -> None:
    options = {"color_scheme": scheme, "reduced_motion": "reduce"}
    with opened(browser, address, "served", name, **options) as (page, _):
        page.wait_for_function("s => document.documentElement.dataset.theme === s", arg=scheme)
        page.wait_for_load_state("networkidle")
        settle(page)
        if name == HOME:  # a chapter is long, and looked at once
            assert violations(page) == {}
        for pad in page.locator(PAD).all():
            draw_with_mouse(page, DIGITS[2], pad)
            pad.locator("details").evaluate_all("all => all.forEach((e) => { e.open = true; })")
        if name == HOME:
            keep(page, DIGITS[3], "8")
        page.mouse.move(0, 0)
        settle(page)
        assert violations(page) == {}
        if name != HOME:
            return
        page.locator(PAD).get_by_role("button", name="Undo").evaluate("e => e.replaceChildren()")
        assert [*violations(page)] == ["button-name"]  # it does look inside
