"""Colours are named once: nothing else spells one, and what asks for one by name finds it."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.colors import is_color_like, to_rgb

from mnist_lab.lessons import palette
from mnist_lab.lessons.palette import (
    DIGIT_COLOURS,
    PAGE_BY_DAY,
    PAGE_BY_NIGHT,
    write_properties,
)
from mnist_lab.lessons.widgets.linking import STATIC, link_notebook, link_page

ROOT = Path(__file__).parents[2]
PLACES = ("mnist_lab", "book", "benchmarks")
PAGE_SHEET = (ROOT / "book" / "static" / "mnist-lab.css").read_text(encoding="utf-8")
PAD_SHEET = (STATIC / "digit-pad.css").read_text(encoding="utf-8")
SPELT = re.compile(
    r"#(?:[\da-f]{8}|[\da-f]{6}|[\da-f]{3,4})\b|(?<![\w.])(?:rgb|hsl)a?\(\s*\d", re.IGNORECASE
)


def texts() -> Iterator[tuple[str, str]]:
    """Yield path and text of every file in which a colour could stand."""
    for place in PLACES:
        for path in sorted((ROOT / place).rglob("*")):
            if path.suffix in {".py", ".pyi", ".css", ".js", ".svg", ".md", ".html", ".json"}:
                yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")


def constants() -> dict[str, str]:
    """Return the palette's colours by name, those for digits aside."""
    found = {name: value for name, value in vars(palette).items() if isinstance(value, str)}
    return {name: value for name, value in found.items() if name.isupper()}


def contrast(one: str, other: str) -> float:
    """WCAG 2's ratio of two colours, from 1 to 21."""

    def light(colour: str) -> float:
        rgb = np.array(to_rgb(colour))
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    dark, bright = sorted([light(one), light(other)])
    return (bright + 0.05) / (dark + 0.05)


class TestOnePlace:
    def test_no_other_file_spells_a_colour(self) -> None:
        found = {
            name: SPELT.findall(text)
            for name, text in texts()
            if name != "mnist_lab/lessons/palette.py" and not name.endswith(".svg")
        }
        assert {name: colours for name, colours in found.items() if colours} == {}

    def test_a_drawing_that_cannot_ask_has_the_palettes_colours(self) -> None:
        drawings = {name: text for name, text in texts() if name.endswith(".svg")}
        assert drawings
        for name, text in drawings.items():
            assert set(SPELT.findall(text)) <= set(constants().values()), name

    @pytest.mark.parametrize(
        "text", ["color: #c8402c;", '"#FFF"', "#1d24401a", "rgb(29 36 64 / 10%)", "rgba(0,0,0,.1)"]
    )
    def test_and_one_would_be_seen(self, text: str) -> None:
        assert SPELT.search(text)

    @pytest.mark.parametrize("text", ["stroke='%23000'", "# 255 is ink", "to_rgb(PAPER)", "#here"])
    def test_but_not_what_is_none(self, text: str) -> None:
        assert not SPELT.search(text)


class TestPalette:
    def test_all_are_colours_and_digits_have_ten(self) -> None:
        colours = [*constants().values(), *PAGE_BY_DAY.values(), *PAGE_BY_NIGHT.values()]
        assert all(map(is_color_like, [*colours, *DIGIT_COLOURS]))
        assert len(set(DIGIT_COLOURS)) == 10

    def test_no_two_names_have_one_colour(self) -> None:
        assert len(set(constants().values())) == len(constants())

    @pytest.mark.parametrize(
        "page", [PAGE_BY_DAY, PAGE_BY_DAY | PAGE_BY_NIGHT], ids=["day", "night"]
    )
    def test_text_can_be_read_on_every_ground(self, page: dict[str, str]) -> None:
        pens = ("ink", "ink-soft", "red-pen", "blue-pencil", "green-tick")
        grounds = ("paper", "paper-shade", "red-wash", "blue-wash", "green-wash")
        faint = {
            f"{pen} on {ground}"
            for pen in pens
            for ground in grounds
            if contrast(page[pen], page[ground]) < 4.5
        }
        assert faint == set()

    def test_figures_can_be_read(self) -> None:
        """3 to 1 for lines and shapes; the digits' ten colours fill areas, beside words."""
        for name in ("INK", "GREY", "RED_PEN", "BLUE_PENCIL", "GREEN_TICK", "BROWN", "VIOLET"):
            assert contrast(constants()[name], palette.PAPER) >= 3, name


class TestStyleSheets:
    def test_properties_are_written_by_name(self) -> None:
        assert write_properties({"ink": "red", "paper": "tan"}) == "--ink: red; --paper: tan;"
        assert write_properties({"ink": "red"}, "own-") == "--own-ink: red;"

    def test_the_night_changes_only_what_the_day_has(self) -> None:
        assert PAGE_BY_NIGHT.keys() <= PAGE_BY_DAY.keys()

    def test_the_page_finds_what_it_asks_for_and_asks_for_all(self) -> None:
        own = set(re.findall(r"^\s*--([\w-]+):", PAGE_SHEET, re.MULTILINE))
        asked = {
            name
            for name in re.findall(r"var\(--([\w-]+)", PAGE_SHEET)
            if name not in own and not name.startswith("pst-")
        }
        assert asked == PAGE_BY_DAY.keys()

    def test_the_pad_finds_what_it_asks_for(self) -> None:
        asked = set(re.findall(r"var\(--own-([\w-]+)", PAD_SHEET))
        assert {"ink", "paper", "shadow"} <= asked <= PAGE_BY_DAY.keys()

    def test_the_pad_carries_them_into_pages_and_notebooks(self) -> None:
        for linked in (link_page(b"", b""), link_notebook()):
            by_day, night, by_night = linked.partition("@media (prefers-color-scheme: dark)")
            assert night
            assert f"--own-ink: {PAGE_BY_DAY['ink']};" in by_day
            assert f"--own-ink: {PAGE_BY_NIGHT['ink']};" in by_night

    def test_the_build_writes_them_for_the_pages(self, tmp_path: Path) -> None:
        pytest.importorskip(
            "sphinx", reason="The book's tools are not installed (the extra 'book')."
        )
        sys.path.insert(0, str(ROOT / "book" / "_ext"))
        import page_colours

        page_colours.write_sheet(
            SimpleNamespace(builder=SimpleNamespace(name="html"), outdir=tmp_path)
        )
        by_day, night, by_night = (
            (tmp_path / "_static" / "palette.css").read_text().partition('[data-theme="dark"]')
        )
        assert night
        assert f"--ink: {PAGE_BY_DAY['ink']};" in by_day
        assert f"--ink: {PAGE_BY_NIGHT['ink']};" in by_night
