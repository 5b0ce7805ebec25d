"""The panel that takes steps, in chapters 2 to 4: served and from disk, by day and by night."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browsing import PHONE, both_doors, opened
from tests.pages.accessibility import settle, violations
from tests.pages.pads import PATIENCE

pytestmark = pytest.mark.site

CHAPTERS = {
    "linear": "notebooks/ch02_fit_a_linear_classifier.html",
    "mlp": "notebooks/ch03_derive_backpropagation.html",
    "cnn": "notebooks/ch04_see_with_convolutions.html",
}
PANEL = "document.querySelector('step-here').panel"

every_kind = pytest.mark.parametrize("kind", list(CHAPTERS))


def begin(page: Page) -> None:
    page.set_default_timeout(PATIENCE)
    page.locator("step-here").scroll_into_view_if_needed()
    page.wait_for_function(f"{PANEL}.score")


@both_doors
@every_kind
def test_steps_are_taken_with_a_real_pointer(
    browser: Browser, address: str, door: str, kind: str
) -> None:
    """Without an error, and without a request to anybody (`opened` looks for both)."""
    with opened(browser, address, door, CHAPTERS[kind]) as (page, _):
        begin(page)
        assert page.evaluate(f"{PANEL}.kind") == kind
        before = page.evaluate(f"{PANEL}.score.loss")
        page.get_by_role("button", name="One step", exact=True).click()
        expect(page.locator("step-here .accuracy")).to_have_text("Step 1")
        page.get_by_role("button", name="Run", exact=True).click()
        page.wait_for_function(f"{PANEL}.stepper.steps >= 41")
        page.get_by_role("button", name="Pause", exact=True).click()
        page.wait_for_function(f"{PANEL}.running === null && {PANEL}.score")
        assert page.evaluate(f"{PANEL}.score.loss") < before
        assert page.locator("step-here canvas.weights").count() == (5 if kind == "cnn" else 2)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@every_kind
def test_axe_finds_nothing(browser: Browser, address: str, kind: str, scheme: str) -> None:
    with opened(browser, address, "served", CHAPTERS[kind], color_scheme=scheme) as (page, _):
        begin(page)
        page.get_by_role("button", name="Ten steps", exact=True).click()
        page.wait_for_function(f"{PANEL}.score")
        page.evaluate(
            """() => {
              // The rest of the page has a test of its own, and takes a minute.
              const panel = document.querySelector("step-here");
              for (const part of document.querySelector("article").children) {
                if (!part.contains(panel)) part.remove();
              }
              const section = panel.closest("section");
              for (let one = section; one.tagName === "SECTION"; one = one.parentElement) {
                for (const part of [...one.children]) {
                  if (!part.contains(panel) && !/^H\\d$/.test(part.tagName)) part.remove();
                }
              }
            }"""
        )
        settle(page)
        assert violations(page) == {}


@every_kind
def test_it_fits_on_a_phone(browser: Browser, address: str, kind: str) -> None:
    with opened(browser, address, "served", CHAPTERS[kind], viewport=PHONE) as (page, _):
        begin(page)
        page.get_by_role("button", name="One step", exact=True).click()
        page.wait_for_function(f"{PANEL}.score")
        wide = page.locator("step-here").evaluate(
            """(e) => [e, ...e.shadowRoot.querySelectorAll(".stepping, .numbers-table, table")]
              .filter((one) => one.scrollWidth > one.clientWidth + 1).map((one) => one.className)"""
        )
        assert wide == []
        heights = page.locator("step-here").evaluate(
            """(e) => [...e.shadowRoot.querySelectorAll("button, select")]
              .map((one) => one.getBoundingClientRect().height)"""
        )
        assert min(heights) >= 44  # a fingertip


def test_who_turns_the_page_dark_sees_the_digits_in_its_ink(browser: Browser, address: str) -> None:
    ink = """() => {
      const canvas = document.querySelector("step-here").panel.digitsView.buttons[0].canvas;
      const { data } = canvas.getContext("2d").getImageData(0, 0, 28, 28);
      const k = data.findIndex((value, place) => place % 4 === 3 && value === 255) - 3;
      return `rgb(${[...data.slice(k, k + 3)].join(", ")})`;
    }"""
    with opened(browser, address, "served", CHAPTERS["linear"], color_scheme="light") as (page, _):
        begin(page)
        seen = []
        for theme in ("light", "dark"):
            page.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
            colour = page.locator("step-here canvas.image").first.evaluate(
                "(canvas) => getComputedStyle(canvas).color"
            )
            page.wait_for_function(f"({ink})() === '{colour}'")
            seen.append(colour)
        assert seen[0] != seen[1]


def test_the_script_is_loaded_where_there_is_a_panel_and_nowhere_else(
    browser: Browser, address: str
) -> None:
    for name, loads in ((CHAPTERS["mlp"], True), ("book/index.html", False)):
        with opened(browser, address, "served", name) as (page, _):
            scripts = page.evaluate("[...document.scripts].map((script) => script.src)")
            assert any("step-here.js" in script for script in scripts) == loads
