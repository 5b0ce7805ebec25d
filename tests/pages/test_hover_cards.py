"""Terms, sources and names say what they are, in the built pages: links land, and cards open."""

from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urldefrag

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page

from tests.browsing import PHONE, SITE, both_doors, opened

pytestmark = pytest.mark.site

CHAPTERS = sorted(path.name for path in (SITE / "notebooks").glob("ch*.html")) or ["none"]
FEWEST_TERMS = 10  # in the chapter that has the fewest
HEAVIEST = 1_000_000  # bytes of a page
CHAPTER = "notebooks/ch07_go_deeper.html"
PROSE = "book/how_to_read.html"


class Marked(HTMLParser):
    """Collects the links of a class, and the addresses that have a card."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.links: list[str] = []
        self.sources: list[str] = []
        self.cards: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "a" and self.kind in values.get("class", "").split():
            self.links.append(values["href"])
        if re.search(r"//(arxiv|doi)\.org/", values.get("href", "")):
            self.sources.append(values["href"])
        if "data-for" in values:
            self.cards.add(values["data-for"])


def read(path: Path, kind: str = "glossary-term") -> Marked:
    """Read a built page."""
    marked = Marked(kind)
    marked.feed(path.read_text(encoding="utf-8"))
    return marked


@pytest.mark.parametrize("name", CHAPTERS)
class TestAChapter:
    def test_links_each_of_its_terms_once_to_where_it_is_explained(
        self, site: Path, name: str
    ) -> None:
        places = set(re.findall(r'<dt id="([^"]*)"', (site / "book/glossary.html").read_text()))
        links = read(site / "notebooks" / name).links
        assert len(links) >= FEWEST_TERMS
        assert [link for link, times in Counter(links).items() if times > 1] == []
        for link in links:
            page, place = urldefrag(link)
            assert page == "../book/glossary.html"
            assert place in places

    @pytest.mark.parametrize("kind", ["glossary-term", "code-name", "sphinx-codeautolink-a"])
    def test_has_a_card_for_every_one_of_them(self, site: Path, name: str, kind: str) -> None:
        marked = read(site / "notebooks" / name, kind)
        assert marked.links
        assert set(marked.links) - marked.cards == set()

    def test_has_a_card_for_every_paper(self, site: Path, name: str) -> None:
        marked = read(site / "notebooks" / name)
        assert set(marked.sources) - marked.cards == set(), "add them to book/references.bib"

    def test_is_no_heavier_than_a_page_may_be(self, site: Path, name: str) -> None:
        assert (site / "notebooks" / name).stat().st_size < HEAVIEST


def term(page: Page, words: str) -> Locator:
    """The link of a term."""
    return page.locator("a.glossary-term", has_text=words).first


def card(page: Page) -> Locator:
    """The card, where one is open."""
    return page.locator("#hover-card:popover-open")


def stop_the_clock(page: Page) -> None:
    """From here on time passes only when the test says so."""
    page.clock.install(time="2030-01-01T00:00")
    page.clock.pause_at("2030-01-01T01:00")


@both_doors
def test_a_card_opens_under_the_mouse_and_lets_it_in(
    browser: Browser, address: str, door: str
) -> None:
    with opened(browser, address, door, CHAPTER) as (page, _):
        link = term(page, "gradient check")
        height = page.evaluate("document.documentElement.scrollHeight")
        link.hover()
        card(page).wait_for()
        assert "梯度检验" in card(page).inner_text()
        assert link.get_attribute("aria-describedby") == card(page).get_attribute("id")
        assert card(page).get_attribute("role") == "tooltip"
        assert page.evaluate("document.documentElement.scrollHeight") == height
        stop_the_clock(page)
        card(page).hover()
        page.clock.run_for(5_000)
        assert card(page).count() == 1
        page.mouse.move(5, 5)
        assert card(page).count() == 1  # so that a mouse may come back
        page.clock.run_for(1_000)
        assert card(page).count() == 0
        assert link.get_attribute("aria-describedby") is None


def test_a_mouse_that_passes_opens_nothing(browser: Browser, address: str) -> None:
    with opened(browser, address, "served", CHAPTER) as (page, _):
        page.wait_for_load_state("networkidle")
        stop_the_clock(page)
        term(page, "gradient check").hover()
        page.clock.run_for(100)
        assert card(page).count() == 0
        page.mouse.move(5, 5)
        page.clock.run_for(5_000)
        assert card(page).count() == 0


@both_doors
def test_a_card_opens_with_the_focus_and_escape_closes_it(
    browser: Browser, address: str, door: str
) -> None:
    with opened(browser, address, door, CHAPTER) as (page, _):
        link = term(page, "backward pass")
        page.locator("a", has_text="Chapter 3").first.focus()
        page.keyboard.press("Tab")
        card(page).wait_for()
        assert link.evaluate("e => e === document.activeElement")
        assert "反向计算" in card(page).inner_text()
        page.keyboard.press("Escape")
        card(page).wait_for(state="detached")
        assert link.evaluate("e => e === document.activeElement")
        page.keyboard.press("Tab")
        assert "全连接层" in card(page).inner_text()
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("Enter")
        page.wait_for_url("**/glossary.html#term-backward-pass")


@both_doors
@pytest.mark.parametrize("again", ["the link", "open"])
def test_the_first_touch_opens_a_card_and_the_second_follows(
    browser: Browser, address: str, door: str, again: str
) -> None:
    options: Any = {"viewport": PHONE, "has_touch": True, "is_mobile": True}
    with opened(browser, address, door, CHAPTER, **options) as (page, _):
        here = page.url
        link = term(page, "gradient clipping")
        link.tap()
        card(page).wait_for()
        box = card(page).bounding_box()
        assert box
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= PHONE["width"]
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        assert card(page).get_attribute("role") == "dialog"
        page.locator("article h1").tap()
        card(page).wait_for(state="detached")
        link.tap()
        card(page).wait_for()
        assert page.url == here
        (link if again == "the link" else card(page).get_by_role("link", name="Open")).tap()
        page.wait_for_url("**/glossary.html#term-gradient-clipping")


@pytest.mark.parametrize("wide", [390, 1400])
def test_no_card_leaves_the_screen(browser: Browser, address: str, wide: int) -> None:
    viewport: Any = {"width": wide, "height": 700}
    with opened(browser, address, "served", CHAPTER, viewport=viewport) as (page, _):
        page.wait_for_load_state("networkidle")
        for link in page.locator(".bd-article a:is(.glossary-term, .code-name)").all():
            link.evaluate("e => e.focus({ focusVisible: true })")
            box = card(page).bounding_box()
            around = link.bounding_box()
            assert box
            assert around
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= wide
            assert box["y"] >= 0
            assert box["y"] + box["height"] <= viewport["height"]


@both_doors
def test_a_formula_is_set_in_a_card(browser: Browser, address: str, door: str) -> None:
    with opened(browser, address, door, PROSE) as (page, _):
        page.wait_for_load_state("networkidle")
        term(page, "standard error").hover()
        card(page).locator("mjx-container").first.wait_for()


def test_a_source_and_a_name_have_cards_too(browser: Browser, address: str) -> None:
    with opened(browser, address, "served", CHAPTER) as (page, _):
        page.locator('a[href="https://arxiv.org/abs/1502.01852"]').first.hover()
        card(page).get_by_text("Delving Deep into Rectifiers", exact=False).wait_for()
        for where in ("a.code-name", ".cell_input a.sphinx-codeautolink-a"):
            page.locator(where, has_text="fit").first.hover()
            card(page).get_by_text("Train a model and keep its best epoch").wait_for()
            page.keyboard.press("Escape")


def test_the_tab_key_stops_once_at_each_name_in_code(browser: Browser, address: str) -> None:
    with opened(browser, address, "served", CHAPTER) as (page, _):
        links = page.locator(".cell_input a.sphinx-codeautolink-a")
        stops = page.locator('.cell_input a.sphinx-codeautolink-a:not([tabindex="-1"])')
        addresses = [link.get_attribute("href") for link in links.all()]
        assert len(addresses) > len(set(addresses))
        assert [link.get_attribute("href") for link in stops.all()] == list(
            dict.fromkeys(addresses)
        )


@both_doors
def test_a_section_and_a_claim_say_how_they_begin(
    browser: Browser, address: str, door: str
) -> None:
    with opened(browser, address, door, "book/articles.html") as (page, _):
        page.locator('table a[href="#claim-000-3-2-f"]').first.hover()
        card(page).get_by_text("torch.load('model.pth')").wait_for()
    with opened(browser, address, door, "book/teachers.html") as (page, _):
        page.wait_for_load_state("networkidle")
        page.locator('article a[href*="how_to_read.html#"]').first.hover()
        card(page).locator("strong").wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("way", ["mouse", "touch"])
def test_an_open_card_keeps_nobody_out(
    browser: Browser, address: str, scheme: Any, way: str
) -> None:
    options: Any = {"color_scheme": scheme, "has_touch": True, "viewport": PHONE}
    with opened(browser, address, "served", PROSE, **options) as (page, _):
        page.wait_for_function("s => document.documentElement.dataset.theme === s", arg=scheme)
        link = term(page, "accuracy")
        link.hover() if way == "mouse" else link.tap()
        card(page).wait_for()
        page.evaluate("document.getAnimations().forEach((animation) => animation.finish())")
        found = Axe().run(page, options={"preload": False}).response["violations"]
        assert {entry["id"]: [node["html"] for node in entry["nodes"]] for entry in found} == {}


def test_without_scripts_a_term_is_a_link(browser: Browser, address: str) -> None:
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(f"{address}/{CHAPTER}")
        term(page, "gradient clipping").click()
        assert page.url.endswith("glossary.html#term-gradient-clipping")
