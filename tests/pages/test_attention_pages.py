"""The attention panel on the built pages: served and from disk, by day and by night, on a phone."""

from __future__ import annotations

import re

import numpy as np
import pytest
from playwright.sync_api import Browser, Page

from tests.browsing import PHONE, SITE, both_doors, opened
from tests.drawn_digits import DIGITS
from tests.pages.accessibility import settle, violations
from tests.pages.pads import PATIENCE, draw_with_finger, draw_with_mouse, pages_with

pytestmark = pytest.mark.site

CHAPTERS = ("notebooks/ch09_try_other_architectures.html", "notebooks/ch12_pretrain_your_own.html")
PANEL = "document.querySelector('digit-attention').panel"
SCRIPT = "digit-attention.js"


def begin(page: Page) -> None:
    page.set_default_timeout(PATIENCE)
    page.locator("digit-attention").scroll_into_view_if_needed()
    page.wait_for_function(f"{PANEL}?.result")
    page.evaluate(f"{PANEL}.panel.pad.clear()")


@both_doors
@pytest.mark.parametrize("name", CHAPTERS)
def test_what_is_drawn_is_read_and_what_is_hidden_is_painted(
    browser: Browser, address: str, door: str, name: str
) -> None:
    with opened(browser, address, door, name) as (page, _):
        begin(page)
        element = page.locator("digit-attention")
        right = 0
        for digit, strokes in DIGITS.items():
            page.evaluate(f"(strokes) => {{ {PANEL}.panel.pad.strokes = strokes; }}", strokes)
            right += element.locator(".answer").text_content() == str(digit)
        assert right >= 9
        element.locator("button", has_text="Clear").click()
        draw_with_mouse(page, DIGITS[4], element)
        page.wait_for_function(f"{PANEL}.image")
        element.get_by_role("button", name="Hide patches").click()
        element.get_by_role("button", name=re.compile("Row 2, column 3")).click()
        found = re.search(
            r"paints has (\d+)\u00a0% of the squared",
            element.locator(".cover").text_content() or "",
        )
        assert found
        assert int(found[1]) < 70  # it goes on with the stroke; bare paper has 100
        mean = page.evaluate(f"[...{PANEL}.result.guesses]")
        assert np.ptp(mean) > 100
        said = element.locator(".advice").text_content() or ""
        assert re.search(r"it reads 9[789]\.\d\u00a0%; with half", said)


def test_only_pages_with_a_panel_load_the_script_and_it_is_no_larger_than_it_must_be() -> None:
    assert pages_with("<digit-attention") == sorted(CHAPTERS)
    assert pages_with(SCRIPT) == sorted(CHAPTERS)
    assert (SITE / "_static" / SCRIPT).stat().st_size < 400_000  # bytes


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(browser: Browser, address: str, scheme: str) -> None:
    with opened(browser, address, "served", CHAPTERS[1], color_scheme=scheme) as (page, _):
        page.set_default_timeout(PATIENCE)
        page.locator("digit-attention").scroll_into_view_if_needed()
        page.get_by_role("button", name="Hide half").click()
        page.get_by_role("button", name="All patches together").click()
        settle(page)
        assert violations(page) == {}


def test_a_finger_draws_and_hides_on_a_phone(browser: Browser, address: str) -> None:
    phone = {"viewport": PHONE, "has_touch": True, "is_mobile": True}
    with opened(browser, address, "served", CHAPTERS[0], **phone) as (page, _):
        begin(page)
        element = page.locator("digit-attention")
        draw_with_finger(page, DIGITS[3], element)
        page.wait_for_function(f"{PANEL}.image")
        element.get_by_role("button", name="Hide patches").tap()
        element.locator(".patch").nth(5).tap()
        assert page.evaluate(f"[...{PANEL}.hidden]") == [5]
        widths = element.evaluate("(e) => [e.scrollWidth, e.clientWidth]")
        assert widths[0] <= widths[1]
        sizes = element.evaluate(
            """(e) => [...e.shadowRoot.querySelectorAll("button, select")]
              .filter((one) => one.offsetParent).map((one) => one.offsetHeight)"""
        )
        assert min(sizes) >= 44  # a fingertip


def test_without_scripts_a_sentence_stands_in_its_place(browser: Browser, address: str) -> None:
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(f"{address}/{CHAPTERS[0]}")
        assert page.get_by_text("A sheet to draw on stands here while").is_visible()
