"""Drawing on the pad of the home page: with mouse, pen, finger and keys; undo, clear and eraser."""

from __future__ import annotations

import numpy as np
import pytest
from playwright.sync_api import Browser, Page

from tests.browsing import opened
from tests.drawn_digits import DIGITS
from tests.pages.pads import (
    FRAMES,
    HANDS,
    HOME,
    PAD,
    count_strokes,
    draw_with_finger,
    draw_with_keys,
    draw_with_mouse,
    draw_with_pen,
    on_the_page,
    put_strokes,
    reading,
    sheet,
    touch,
)

pytestmark = pytest.mark.site


def test_the_page_stays_where_it_is_while_a_finger_draws(browser: Browser, address: str) -> None:
    options = HANDS["finger"][1]
    with opened(browser, address, "served", HOME, **options) as (page, _):
        canvas = sheet(page)
        before = page.evaluate("scrollY")
        down = [(0.5, 0.9 - 0.08 * k) for k in range(10)]
        touch(page, [on_the_page(canvas, down)])
        page.evaluate(FRAMES)
        assert page.evaluate("scrollY") == before
        # The same finger beside the sheet does move the page, so the above says something.
        page.evaluate("scrollTo({ top: 0, behavior: 'instant' })")
        page.wait_for_function("scrollY === 0")
        page.evaluate(FRAMES)
        box = page.locator("p.lead").bounding_box()
        assert box
        touch(page, [[(200, box["y"] + box["height"] - 20 * k) for k in range(10)]])
        page.wait_for_function("scrollY > 50")


def test_undo_clear_and_eraser(browser: Browser, address: str) -> None:
    with opened(browser, address, "served", HOME) as (page, _):
        pad = page.locator(PAD).first
        button = {
            name: pad.get_by_role("button", name=name) for name in ("Undo", "Clear", "Eraser")
        }
        assert button["Undo"].is_disabled()
        assert button["Clear"].is_disabled()
        draw_with_mouse(page, DIGITS[4])
        assert count_strokes(page) == 2
        button["Undo"].click()
        assert count_strokes(page) == 1
        draw_with_mouse(page, DIGITS[1])
        button["Clear"].click()
        assert count_strokes(page) == 0
        assert pad.locator(".status").text_content() == "The sheet is empty."
        button["Undo"].click()  # even an empty sheet can be undone
        assert count_strokes(page) == 2
        button["Clear"].click()

        draw_with_mouse(page, [[(0.5, 0.1), (0.5, 0.9)]])
        button["Eraser"].click()
        assert button["Eraser"].get_attribute("aria-pressed") == "true"
        draw_with_mouse(page, [[(0.3, 0.5), (0.7, 0.5)]])
        assert count_strokes(page) == 2  # the line has been cut in two
        button["Undo"].click()
        assert count_strokes(page) == 1


def test_keys_undo_clear_and_choose_the_eraser(browser: Browser, address: str) -> None:
    with opened(browser, address, "served", HOME) as (page, _):
        draw_with_keys(page, DIGITS[4])
        assert count_strokes(page) == 2
        page.keyboard.press("Control+z")
        assert count_strokes(page) == 1
        page.keyboard.press("c")
        assert count_strokes(page) == 0
        page.keyboard.press("e")
        eraser = page.locator(PAD).get_by_role("button", name="Eraser")
        assert eraser.get_attribute("aria-pressed") == "true"
        page.keyboard.press("Tab")  # the sheet is no trap
        focus = "document.querySelector('digit-pad').shadowRoot.activeElement?.textContent"
        assert page.evaluate(focus) == "Undo"


def test_the_keys_are_told_to_who_uses_them(browser: Browser, address: str) -> None:
    with opened(browser, address, "served", HOME) as (page, _):
        pad = page.locator(PAD).first
        how = pad.locator(".how", has_text="arrow keys move the pen")
        frame = "e => getComputedStyle(e).outlineStyle"

        def height() -> float:
            box = how.bounding_box()
            assert box
            return box["height"]

        assert height() <= 1  # only read out
        draw_with_mouse(page, DIGITS[1])
        assert height() <= 1
        assert sheet(page).evaluate(frame) == "none"
        page.keyboard.press("ArrowLeft")
        assert height() > 20
        assert sheet(page).evaluate(frame) == "solid"
        page.keyboard.press("Tab")
        assert height() <= 1


def test_a_palm_beside_the_pen_does_not_draw(browser: Browser, address: str) -> None:
    with opened(browser, address, "served", HOME, has_touch=True) as (page, _):
        draw_with_finger(page, [[(0.7, 0.2), (0.7, 0.8)], [(0.8, 0.2), (0.8, 0.8)]])
        assert count_strokes(page) == 2  # until a pen has been seen, it is a finger
        draw_with_pen(page, [[(0.3, 0.2), (0.3, 0.8)]])
        draw_with_finger(page, [[(0.6, 0.9), (0.9, 0.9)]])
        assert count_strokes(page) == 3
        draw_with_pen(page, [[(0.5, 0.2), (0.5, 0.8)]])
        assert count_strokes(page) == 4


# How many pixels are inked in each of three columns of the sheet, as shares of its side.
INKED = """() => {
  const canvas = document.querySelector("digit-pad").shadowRoot.querySelector(".sheet");
  const { data, width, height } = canvas.getContext("2d")
    .getImageData(0, 0, canvas.width, canvas.height);
  return [0.25, 0.5, 0.75].map((share) => {
    const column = Math.round(share * width);
    const rows = Array.from({ length: height }, (_, row) => data[4 * (row * width + column) + 3]);
    return rows.filter((ink) => ink > 127).length / height;
  });
}"""


def inked(page: Page) -> list[float]:
    page.evaluate(FRAMES)
    found: list[float] = page.evaluate(INKED)
    return found


def test_a_pen_that_is_pressed_draws_a_wider_line(browser: Browser, address: str) -> None:
    """A line is 0.045 of the sheet wide; a pen makes it 0.6 to 1.4 times that, and nothing else."""
    level = [[(0.1, 0.5), (0.9, 0.5)]]
    found = []
    with opened(browser, address, "served", HOME, has_touch=True) as (page, _):
        for draw, options in (
            (draw_with_finger, {}),
            (draw_with_mouse, {}),
            (draw_with_pen, {"pressure": 0.1}),
            (draw_with_pen, {"pressure": 1}),
        ):
            draw(page, level, **options)
            found.append(inked(page))
            put_strokes(page, [])
    expected = [0.045 * times for times in (1, 1, 0.68, 1.4)]
    assert np.allclose(found, np.transpose([expected] * 3), atol=0.005)


def test_a_slip_of_the_hand_is_not_read(browser: Browser, address: str) -> None:
    with opened(browser, address, "served", HOME) as (page, _):
        draw_with_mouse(page, [[(0.5, 0.5)]])
        assert page.evaluate("document.querySelector('digit-pad').result") is None
        draw_with_mouse(page, DIGITS[7])
        assert reading(page) == "7"


def test_ink_follows_the_system_into_the_dark(browser: Browser, address: str) -> None:
    ink = """() => {
      const canvas = document.querySelector("digit-pad").shadowRoot.querySelector(".sheet");
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      const inked = [...data.keys()].find((k) => k % 4 === 3 && data[k] === 255);
      return inked && data[inked - 1]; // nothing until the first frame
    }"""
    with opened(browser, address, "served", HOME, color_scheme="light") as (page, _):
        draw_with_mouse(page, DIGITS[0])
        page.wait_for_function(f"({ink})() < 100")
        page.emulate_media(color_scheme="dark")
        page.wait_for_function(f"({ink})() > 200")
