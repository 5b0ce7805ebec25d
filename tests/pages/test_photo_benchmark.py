"""The benchmark of photos on the page, on a folder of two pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser

from benchmarks.photos_in_the_page import Reading, measure, measure_agreement
from benchmarks.real_pictures import read_manifest
from mnist_lab.handwriting import load_reader
from tests.pages.test_pad_photos import WRITTEN, sheet_of
from tests.pages.test_pages_network import BUILT

pytestmark = pytest.mark.site


def test_agreement_counts_digits_of_the_longer_answer() -> None:
    found = measure_agreement(["123", "", "77"], ["1234", "", "71"])
    assert found == {
        "share": 0.6667,
        "digits alike": 4,
        "of": 6,
        "pictures alike": 1,
        "pictures": 3,
    }


def test_page_and_package_are_held_against_each_other(
    browser: Browser, site: Path, tmp_path: Path
) -> None:
    """A TIFF, which no browser opens, goes to the page as PNG; a blank page is read as nothing."""
    labels = "".join(map(str, WRITTEN))
    (tmp_path / "sheet.png").write_bytes(sheet_of(WRITTEN))
    Image.fromarray(np.full((90, 90), 250, np.uint8)).save(tmp_path / "blank.tif")
    lines = ["file,labels,kind,digits,order,source", f"sheet.png,{labels},photo,several,ordered,a"]
    lines.append("blank.tif,5,scan,one,ordered,b")
    (tmp_path / "manifest.csv").write_text("\n".join(lines), encoding="utf-8")
    page = Reading(browser, BUILT)
    found = measure(page, read_manifest(tmp_path), load_reader(BUILT, device="cpu"))
    page.page.close()
    assert found["agreement"]["of everything"]["share"] == 1
    assert found["groups"]["all, several, photo"]["digits"]["right"] == 8
    assert found["groups"]["all, one, scan"]["nothing read"] == 1
    assert min(found["milliseconds a picture"].values()) > 0
