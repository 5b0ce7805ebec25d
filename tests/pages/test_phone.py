"""Every page on a phone: formulas, printed lines, tables and figures, each in a browser.

What is wider than the page scrolls by itself, and shows that it does. A figure, which shrinks with
the page, is a tap away from the size at which it was drawn.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browsing import PHONE, SITE, both_doors, opened
from tests.pages.test_pages import PAGES, every_page

pytestmark = pytest.mark.site

# What may scroll sideways, and how it looks and is reached.
WIDE = """() => {
  const boxes =
    "mjx-container[display='true'], pre, div.results, div.record-table, " +
    ".pst-scrollable-table-container:not(.record-table *)";
  return [...document.querySelectorAll(`.bd-article :is(${boxes})`)]
    .filter((e) => e.checkVisibility() && e.scrollWidth > e.clientWidth + 1)
    .map((e) => ({
      kind: e.tagName === "MJX-CONTAINER" ? "formula" : e.tagName === "PRE" ? "lines" : "table",
      cue: getComputedStyle(e).backgroundImage.includes("gradient"),
      scrolls: ["auto", "scroll"].includes(getComputedStyle(e).overflowX),
      said: e.textContent.trim().slice(0, 60),
    }));
}"""
FORMULAS = "() => document.querySelectorAll('.bd-article mjx-container[display=true]').length"

# The smallest type of a figure is 9 points: an eighth of an inch, drawn at 100 pixels an inch.
SMALLEST_TYPE = 12.5
FIGURES = """() => [...document.querySelectorAll(".bd-article :is(.cell_output, figure) img")]
  .filter((e) => e.checkVisibility())
  .filter((e) => !e.closest("a:not(.image-reference), button, .frames, digit-pad"))
  .map((e) => ({
    scale: e.getBoundingClientRect().width / (e.naturalWidth / 1.8),
    enlarges: e.parentElement.matches(".zoomable") && !!e.parentElement.querySelector("button"),
    alt: e.alt.slice(0, 60),
  }))"""


@pytest.fixture(scope="module")
def on_a_phone(browser: Browser, address: str) -> Callable[[str], dict[str, Any]]:
    """Return a function that opens a page and tells what is wide in it, and what small."""

    @functools.cache
    def look_once(name: str) -> dict[str, Any]:
        with opened(browser, address, "served", name, viewport=PHONE, has_touch=True) as (page, _):
            page.evaluate("window.MathJax?.startup?.promise")
            for image in page.locator(".bd-article img[loading=lazy]").all():
                image.scroll_into_view_if_needed()
            return {
                "wide": page.evaluate(WIDE),
                "formulas": page.evaluate(FORMULAS),
                "figures": page.evaluate(FIGURES),
            }

    return look_once


@every_page
def test_what_is_wider_than_the_page_scrolls_and_shows_it(
    on_a_phone: Callable[[str], dict[str, Any]], name: str
) -> None:
    wide = on_a_phone(name)["wide"]
    assert [box for box in wide if not (box["cue"] and box["scrolls"])] == []


@every_page
def test_formulas_fit(on_a_phone: Callable[[str], dict[str, Any]], name: str) -> None:
    """A matrix, or a sum that must not be broken, may be wider: one in ten at most."""
    seen = on_a_phone(name)
    wide = [box["said"] for box in seen["wide"] if box["kind"] == "formula"]
    assert len(wide) <= seen["formulas"] / 10, wide


@every_page
def test_the_type_of_a_figure_can_be_read(
    on_a_phone: Callable[[str], dict[str, Any]], name: str
) -> None:
    small = [f for f in on_a_phone(name)["figures"] if f["scale"] * SMALLEST_TYPE < 9]
    assert [figure for figure in small if not figure["enlarges"]] == []


@both_doors
def test_a_tap_enlarges_a_figure_and_closes_it(browser: Browser, address: str, door: str) -> None:
    name = next(name for name in PAGES if "ch05" in name)
    with opened(browser, address, door, name, viewport=PHONE, has_touch=True) as (page, _):
        image = page.locator(".zoomable > img").first
        image.tap()
        large = page.locator("dialog.zoomed > img")
        expect(large).to_be_visible()
        assert large.get_attribute("alt") == image.get_attribute("alt")
        drawn = image.evaluate("e => e.naturalWidth / 1.8")
        assert width(page) >= drawn - 1
        page.get_by_role("button", name="Close").tap()
        expect(page.locator("dialog.zoomed")).to_have_count(0)


def test_the_keyboard_enlarges_a_figure_too(browser: Browser, address: str) -> None:
    name = next(name for name in PAGES if "ch05" in name)
    with opened(browser, address, "served", name, viewport=PHONE) as (page, _):
        button = page.get_by_role("button", name="Enlarge the figure").first
        button.focus()
        page.keyboard.press("Enter")
        expect(page.locator("dialog.zoomed")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.locator("dialog.zoomed")).to_have_count(0)
        expect(button).to_be_focused()


def width(page: Page) -> float:
    found: float = page.evaluate(
        "document.querySelector('dialog.zoomed > img').getBoundingClientRect().width"
    )
    return found


def test_there_are_pages() -> None:
    assert SITE.exists() == (PAGES != ["none"])
