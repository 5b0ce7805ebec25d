"""The map of the chapters on the home page: it knows every chapter, and its stations are links."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.browsing import DESK, PHONE, both_doors, opened

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "book" / "_ext"))

from chapter_map import (  # noqa: E402
    BROAD,
    NARROW,
    Layout,
    Station,
    Way,
    draw,
    legend,
    place,
    read_parts,
)

CHAPTERS = sorted(path.stem for path in (ROOT / "notebooks").glob("ch*.ipynb"))
HOME = "book/index.html"
SIZES = [DESK, PHONE]

# Words of the map that lie on other words, or beyond its edge.
CROWDED = """() => {
  const map = [...document.querySelectorAll(".chapter-map svg")].find((e) => e.checkVisibility());
  const edge = map.getBoundingClientRect();
  const words = [...map.querySelectorAll("text")].map((e) => [e, e.getBoundingClientRect()]);
  const inside = ([e, box]) => box.left >= edge.left && box.right <= edge.right &&
    box.top >= edge.top && box.bottom <= edge.bottom;
  const apart = (a, b) => a.right <= b.left || b.right <= a.left || a.bottom <= b.top ||
    b.bottom <= a.top;
  return words.filter((one) => !inside(one) ||
    words.some((other) => other !== one && !apart(one[1], other[1]))).map(([e]) => e.textContent);
}"""


def stations(parts: list[int]) -> list[Station]:
    """Return chapters, so many in each part."""
    names = [f"Part {number}" for number, count in enumerate(parts) for _ in range(count)]
    return [Station(f"ch{n:02}", n, f"Take step {n}", part) for n, part in enumerate(names, 1)]


def test_the_contents_name_every_chapter_and_its_part() -> None:
    parts = read_parts(ROOT / "_toc.yml")
    assert [Path(document).name for document, _ in parts] == CHAPTERS
    assert len({part for _, part in parts}) == 4


@pytest.mark.parametrize("layout", [BROAD, NARROW], ids=lambda layout: layout.name)
@pytest.mark.parametrize("parts", [[4, 5, 4, 4], [2], [7, 2]])
def test_each_station_has_a_place_and_a_name_of_its_own(layout: Layout, parts: list[int]) -> None:
    chapters = stations(parts)
    places, height = place(chapters, layout)
    assert len({*places}) == len(chapters)
    assert all(0 < x < layout.width and 0 < y < height for x, y in places)
    few = Way("use it", "red-pen", (1,))
    every = Way("understand it", "blue-pencil", tuple(range(1, len(chapters) + 1)))
    drawn = draw(chapters, [every, few], [s.document for s in chapters], layout)
    names = re.findall(r'<a href="(\w+)" aria-label="([^"]*)">', drawn)
    assert [link for link, _ in names] == [station.document for station in chapters]
    assert names[0][1] == "Chapter 1: Take step 1 (also on the way “use it”)"
    assert all(name == f"Chapter {n}: Take step {n}" for n, (_, name) in enumerate(names[1:], 2))
    assert drawn.count('class="track"') == 2
    assert "every chapter" in legend([every], chapters)
    assert "chapters 1<" in legend([few], chapters)


def seen_map(page: Page) -> Any:
    return page.locator(".chapter-map svg:visible")


@both_doors
@pytest.mark.parametrize("size", SIZES, ids=["desk", "phone"])
def test_the_map_leads_to_every_chapter(
    browser: Browser, address: str, door: str, size: Any
) -> None:
    with opened(browser, address, door, HOME, viewport=size) as (page, _):
        assert seen_map(page).count() == 1
        links = seen_map(page).locator("a")
        found = links.evaluate_all("all => all.map((e) => e.getAttribute('href'))")
        assert found == [f"../notebooks/{stem}.html" for stem in CHAPTERS]
        assert page.evaluate(CROWDED) == []
        boxes = links.evaluate_all("all => all.map((e) => e.getBoundingClientRect().height)")
        assert min(boxes) >= 24  # a finger finds it
        page.wait_for_load_state("networkidle")
        links.nth(2).focus()
        page.keyboard.press("Enter")
        page.wait_for_url(f"**/{CHAPTERS[2]}.html")
        page.wait_for_load_state("networkidle")


def test_the_way_of_use_leaves_chapters_out_and_names_those_that_are_there(site: Path) -> None:
    text = (site / HOME).read_text(encoding="utf-8")
    (told,) = re.findall(r"<b>use it</b>: chapters ([\d, ]+)<", text)
    assert 1 < len(told.split(", ")) < len(CHAPTERS)
    assert {f"ch{int(number):02}" for number in told.split(", ")} <= {c[:4] for c in CHAPTERS}
