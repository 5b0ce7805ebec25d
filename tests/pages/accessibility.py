"""What axe-core finds that keeps readers out of a page."""

from __future__ import annotations

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from tests.pages.pads import FRAMES


def violations(page: Page) -> dict[str, list[str]]:
    """What axe finds wrong: rule -> elements."""
    # The insides of formulas and the words of code are not of our making, and take a minute.
    page.evaluate("""() => {
      document.querySelectorAll("mjx-container").forEach((e) => e.remove());
      document.querySelectorAll("pre").forEach((e) => { e.textContent = e.textContent; });
    }""")
    # Without preload: axe would ask for style sheets by itself, at wrong addresses.
    found = Axe().run(page, options={"preload": False}).response["violations"]
    return {entry["id"]: [node["html"][:120] for node in entry["nodes"]] for entry in found}


def settle(page: Page) -> None:
    """Let what moves come to its end, since a colour on its way is no colour."""
    page.evaluate("document.getAnimations().forEach((animation) => animation.finish())")
    page.evaluate(FRAMES)
