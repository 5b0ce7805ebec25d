"""The page on the articles: the choice of verdicts, with mouse, keyboard and links, and without."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browsing import PHONE, both_doors, opened

pytestmark = pytest.mark.site

NAME = "book/articles.html"
SHOWN = """() => [...document.querySelectorAll("dt:has([id^='claim-'])")]
  .filter((term) => term.checkVisibility())
  .map((term) => term.querySelector(".sd-badge").textContent)"""


def shown(page: Page) -> list[str]:
    """Return the verdict of every claim that can be seen."""
    found: list[str] = page.evaluate(SHOWN)
    return found


@both_doors
def test_choosing_verdicts(browser: Browser, address: str, door: str) -> None:
    with opened(browser, address, door, NAME) as (page, _):
        everything = shown(page)
        assert len(everything) > 250
        status = page.locator(".claims-filter [role=status]")
        expect(status).to_have_text(f"{len(everything)} of {len(everything)} claims are shown.")

        page.get_by_role("button", name="All but the right ones").click()
        faults = shown(page)
        assert len(faults) == len(everything) - everything.count("right")
        assert "right" not in faults

        page.get_by_label(re.compile("misleading")).focus()
        page.keyboard.press("Space")
        assert set(shown(page)) == set(faults) - {"misleading"}

        # A heading without a claim under it goes as well; the first page of an article has some.
        for box in page.locator(".claims-filter input").all():
            box.uncheck()
        assert shown(page) == []
        expect(page.locator("section#article-000 section").first).to_be_hidden()

        page.get_by_role("button", name="All", exact=True).click()
        assert shown(page) == everything


def test_a_link_to_a_claim_shows_it(browser: Browser, address: str) -> None:
    with opened(browser, address, "served", NAME) as (page, _):
        page.get_by_label(re.compile("^ *wrong")).uncheck()
        expect(page.locator("#claim-000-1-3-b")).to_be_hidden()
        page.evaluate("location.hash = 'claim-000-1-3-b'")
        expect(page.locator("#claim-000-1-3-b")).to_be_in_viewport()
        expect(page.get_by_label(re.compile("^ *wrong"))).to_be_checked()


def test_without_scripts_all_claims_are_there(browser: Browser, address: str) -> None:
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(f"{address}/{NAME}")
        expect(page.locator(".claims-filter")).to_have_count(0)
        expect(page.locator("#claim-000-1-3-b")).to_be_visible()


@pytest.mark.parametrize(
    "name", [NAME, "book/articles_code.html", "book/coverage.html", "book/concepts.html"]
)
def test_nothing_is_wider_than_a_phone(browser: Browser, address: str, name: str) -> None:
    with opened(browser, address, "served", name, viewport=PHONE) as (page, _):
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
