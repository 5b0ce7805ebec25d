"""Damaged model files on the page are read, or refused in a sentence that changes nothing."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Browser

from tests.fuzzing.test_kinds import try_all
from tests.fuzzing.web import on_page
from tests.pages.workbench import workbench


def test_whatever_is_damaged_reads_or_changes_nothing(browser: Browser, tmp_path: Path) -> None:
    with workbench(browser) as page:
        try_all(on_page(page), tmp_path)
