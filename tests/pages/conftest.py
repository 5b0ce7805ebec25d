"""What the tests of the pages share beside the site and the browser."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.pages.workbench import workbench


@pytest.fixture(scope="session")
def bench(browser: Browser) -> Iterator[Page]:
    """One workbench for all tests that only call functions and leave nothing on it."""
    with workbench(browser) as page:
        yield page
