"""The Chromium of this machine, which prints the editions and opens the pages for their tests."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_chromium() -> str | None:
    """Return the path of this machine's Chromium or Chrome, or None if it has none."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


@contextmanager
def started(program: str) -> Iterator[Browser]:
    """Start it without a window; it asks nobody for updates."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        yield browser
        browser.close()
