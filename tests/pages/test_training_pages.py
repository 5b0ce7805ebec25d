"""The training panel on the built pages: served and from disk, by day and by night, on a phone."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Page

from tests.browsing import PHONE, both_doors, opened
from tests.drawn_digits import DIGITS
from tests.pages.accessibility import settle, violations
from tests.pages.pads import HOME, PATIENCE

pytestmark = pytest.mark.site

CHAPTER = "notebooks/ch05_train_a_cnn.html"
PANEL = "document.querySelector('train-here').panel"
READS_NINETY = f"Math.max(0, ...{PANEL}.scores.map((score) => score.accuracy)) >= 0.9"


def start(page: Page, until: str) -> None:
    page.set_default_timeout(PATIENCE)
    page.locator("train-here").scroll_into_view_if_needed()
    page.get_by_role("button", name="Start", exact=True).click()
    page.wait_for_function(until)


@both_doors
@pytest.mark.parametrize("name", [HOME, CHAPTER])
def test_it_learns_to_read_nine_of_ten_digits(
    browser: Browser, address: str, door: str, name: str
) -> None:
    with opened(browser, address, door, name) as (page, _):
        start(page, READS_NINETY)
        assert page.evaluate(f"{PANEL}.training?.worker instanceof Worker")
        page.get_by_text("Draw on your network").click()
        page.wait_for_function(f"{PANEL}.pad")
        page.evaluate(f"(strokes) => {{ {PANEL}.pad.pad.strokes = strokes; }}", DIGITS[1])
        assert page.locator("train-here .answer").text_content() in set("0123456789")
        page.evaluate(f"{PANEL}.training.stop()")
        page.get_by_role("button", name="Compare it with the book's").click()
        page.wait_for_function(f"{PANEL}.compared.textContent.startsWith('Of the same 1,000')")


def test_its_links_lead_to_places_that_there_are(browser: Browser, address: str) -> None:
    for name in (HOME, CHAPTER):
        with opened(browser, address, "served", name) as (page, _):
            options = page.get_by_label("Break it", exact=True).locator("option").all()
            for words in [option.text_content() for option in options][1:]:
                page.get_by_label("Network", exact=True).select_option(index=1)
                page.get_by_label("Break it", exact=True).select_option(label=words)
                link = page.locator("train-here .explanation a")
                there = page.evaluate(
                    """async (address) => {
                      const text = await (await fetch(address)).text();
                      const other = new DOMParser().parseFromString(text, "text/html");
                      const { hash } = new URL(address);
                      return other.getElementById(decodeURIComponent(hash.slice(1))) !== null;
                    }""",
                    link.evaluate("(a) => a.href"),
                )
                assert there, link.get_attribute("href")


def test_what_was_chosen_is_chosen_when_the_page_is_opened_again(
    browser: Browser, address: str
) -> None:
    with opened(browser, address, "served", HOME) as (page, _):
        page.get_by_label("Network", exact=True).select_option(index=0)
        page.get_by_label("Seed", exact=True).fill("7")
        page.get_by_label("Seed", exact=True).press("Tab")
        page.reload()
        assert page.get_by_label("Network", exact=True).input_value() == "linear"
        assert page.get_by_label("Learning rate", exact=True).input_value() == "0.002"
        assert page.get_by_label("Seed", exact=True).input_value() == "7"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_before_and_after(browser: Browser, address: str, scheme: str) -> None:
    with opened(browser, address, "served", HOME, color_scheme=scheme) as (page, _):
        page.set_default_timeout(PATIENCE)
        page.get_by_label("Network", exact=True).select_option(index=1)
        page.get_by_label("Break it", exact=True).select_option(index=4)
        start(page, f"{PANEL}.scores.length > 2")
        page.evaluate(f"{PANEL}.training.stop()")
        page.get_by_text("Draw on your network").click()
        settle(page)
        assert violations(page) == {}


def test_it_fits_on_a_phone(browser: Browser, address: str) -> None:
    with opened(browser, address, "served", HOME, viewport=PHONE) as (page, _):
        page.get_by_label("Network", exact=True).select_option(index=1)
        start(page, f"{PANEL}.scores.length > 2")
        widths = page.locator("train-here").evaluate("(e) => [e.scrollWidth, e.clientWidth]")
        assert widths[0] <= widths[1]
        heights = page.locator("train-here").evaluate(
            """(e) => [...e.shadowRoot.querySelectorAll("button, select, input[type=number]")]
              .filter((one) => one.offsetParent).map((one) => one.offsetHeight)"""
        )
        assert min(heights) >= 44  # a fingertip
