"""Measured numbers in the browser: a card on hover, focus and touch, and a link without scripts."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, expect

from tests.browsing import PHONE, SITE, both_doors, opened

ARTICLES, RESULTS = "book/articles.html", "book/results.html"
LINK = re.compile(  # its attributes may stand in any order
    r'<a\b(?=[^>]* class="measured")(?=[^>]* href="([^"#]*)#([^"]+)")'
    r'(?=[^>]* data-evidence="([^"]+)")'
)
PAGES = sorted(
    path.relative_to(SITE).as_posix()
    for folder in ("book", "notebooks")
    for path in (SITE / folder).glob("*.html")
) or ["none"]
OPEN = ".evidence:popover-open"


@cache
def identifiers(page: Path) -> set[str]:
    """Return every place of a page that a link can lead to."""
    return set(re.findall(r'\bid="([^"]+)"', page.read_text(encoding="utf-8")))


@pytest.mark.parametrize("name", PAGES)
def test_every_number_leads_to_its_record_and_has_a_card(site: Path, name: str) -> None:
    page = site / name
    for href, place, card in LINK.findall(page.read_text(encoding="utf-8")):
        target = (page.parent / href).resolve() if href else page
        assert place in identifiers(target), f"{href}#{place}"
        assert {card, f"{card}-title"} <= identifiers(page)


def test_the_pages_have_numbers_and_chapters_have_records(site: Path) -> None:
    """Otherwise the test above would test nothing."""
    found = {name: len(LINK.findall((site / name).read_text("utf-8"))) for name in PAGES}
    assert found[ARTICLES] > 60
    assert sum(count > 0 for name, count in found.items() if name.startswith("notebooks/")) >= 10


@both_doors
def test_a_mouse_over_a_number_shows_where_it_comes_from(
    browser: Browser, address: str, door: str
) -> None:
    with opened(browser, address, door, ARTICLES) as (page, _):
        number = page.locator("a.measured").first
        card = page.locator(OPEN)
        expect(card).to_have_count(0)
        number.hover()
        expect(card).to_have_count(1)
        for words in (
            "python -m benchmarks.articles",
            "92.55\N{NO-BREAK SPACE}% ± 0.51\N{NO-BREAK SPACE}% (n = 5)",
            "2026-",
            "2 cores",
        ):
            expect(card).to_contain_text(words)
        card.hover()  # so that what it says can be copied
        page.wait_for_timeout(500)
        expect(card).to_have_count(1)
        page.mouse.move(2, 2)
        expect(card).to_have_count(0)


@both_doors
def test_the_keyboard_shows_a_card_puts_it_away_and_follows_the_link(
    browser: Browser, address: str, door: str
) -> None:
    with opened(browser, address, door, ARTICLES) as (page, _):
        number = page.locator("a.measured").first
        number.focus()
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("Tab")
        expect(number).to_be_focused()
        expect(page.locator(OPEN)).to_have_count(1)
        page.keyboard.press("Escape")
        expect(page.locator(OPEN)).to_have_count(0)
        expect(number).to_be_focused()
        page.keyboard.press("Enter")
        page.wait_for_url(f"**/{RESULTS}#*")
        place = page.url.partition("#")[2]
        expect(page.locator(f"[id='{place}']")).to_be_in_viewport()


@both_doors
def test_a_tap_shows_a_card_and_the_second_follows_the_link(
    browser: Browser, address: str, door: str
) -> None:
    phone = {"viewport": PHONE, "has_touch": True, "is_mobile": True}
    with opened(browser, address, door, ARTICLES, **phone) as (page, _):
        number = page.locator("a.measured").first
        number.tap()
        expect(page.locator(OPEN)).to_have_count(1)
        assert ARTICLES in page.url
        page.locator("h3").first.tap()
        expect(page.locator(OPEN)).to_have_count(0)
        number.tap()
        number.tap()
        page.wait_for_url(f"**/{RESULTS}#*")


@both_doors
def test_without_scripts_a_number_is_a_link(browser: Browser, address: str, door: str) -> None:
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(f"{address}/{ARTICLES}" if door == "served" else (SITE / ARTICLES).as_uri())
        page.locator("a.measured").first.click()
        page.wait_for_url(f"**/{RESULTS}#*")


def test_every_card_fits_a_phone(browser: Browser, address: str) -> None:
    with opened(browser, address, "served", ARTICLES, viewport=PHONE) as (page, _):
        numbers = page.locator("a.measured")
        for position in range(0, numbers.count(), 7):
            number = numbers.nth(position)
            number.scroll_into_view_if_needed()
            number.focus()
            page.keyboard.press("Shift+Tab")
            page.keyboard.press("Tab")
            box = page.locator(OPEN).bounding_box()
            assert box
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= PHONE["width"]
            assert box["y"] + box["height"] <= PHONE["height"] + 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_wrong_with_cards_and_tables(
    browser: Browser, address: str, scheme: str
) -> None:
    # Without preload: axe would ask for style sheets by itself, at wrong addresses.
    options = {"resultTypes": ["violations"], "preload": False}
    with opened(browser, address, "served", ARTICLES, color_scheme=scheme) as (page, _):
        page.locator("a.measured").first.hover()
        expect(page.locator(OPEN)).to_have_count(1)
        context = {"include": [[".evidence:popover-open"], ["a.measured"]]}
        assert Axe().run(page, context, options).response["violations"] == []
    with opened(browser, address, "served", RESULTS, color_scheme=scheme) as (page, _):
        found = Axe().run(page, {"include": [["article"]]}, options).response["violations"]
        assert {rule["id"]: [n["html"] for n in rule["nodes"]][:3] for rule in found} == {}


def test_what_a_row_and_a_column_are_stays_in_sight(browser: Browser, address: str) -> None:
    with opened(browser, address, "served", RESULTS, viewport=PHONE) as (page, _):
        box = page.locator(".record-table").first
        box.evaluate("box => box.scrollTo(150, 300)")
        seen = box.bounding_box()
        assert seen
        for head in ("thead th", "tbody th"):
            heads = box.locator(head)
            places = [heads.nth(n).bounding_box() for n in range(heads.count())]
            edge = "y" if head.startswith("thead") else "x"
            assert all(place and abs(place[edge] - seen[edge]) < 45 for place in places), head
        assert box.evaluate("box => box.scrollLeft") > 0
