"""A photo on the page: dropped, chosen or pasted, it is read there; what is doubtful is said."""

from __future__ import annotations

import base64
import re
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from mnist_lab.handwriting.simulated_hands import DIGITS
from mnist_lab.handwriting.strokes import draw_strokes
from tests.browsing import PHONE, both_doors, opened
from tests.handwriting.forms import Form, make_form
from tests.pages.accessibility import settle, violations
from tests.pages.pads import HOME, PAD, PATIENCE
from tests.pages.test_pad_own_model import reads_cedars
from tests.pages.test_photo_modules import png_of

pytestmark = pytest.mark.site

WRITTEN = [3, 1, 4, 2, 7, 9, 6, 0]
DROP = """([files, kind]) => {
  const data = new DataTransfer();
  for (const [name, type, content] of files) {
    const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
    data.items.add(new File([bytes], name, { type }));
  }
  const target = document.querySelector("digit-pad");
  const options = { bubbles: true, cancelable: true };
  const event = kind === "drop" ? new DragEvent(kind, { ...options, dataTransfer: data })
    : new ClipboardEvent(kind, { ...options, clipboardData: data });
  (kind === "drop" ? target : document.body).dispatchEvent(event);
  return event.defaultPrevented;
}"""


def sheet_of(digits: list[int], kind: str = "boxes") -> bytes:
    """A PNG of a form that these digits are written in, line after line of eight."""
    images = np.stack([draw_strokes(DIGITS[digit]) for digit in digits])
    return png_of(make_form(kind, images).photograph())


def give(page: Page, *files: tuple[str, str, bytes], kind: str = "drop") -> bool:
    """Drop or paste files; whether the page took them."""
    content = [[name, type_, base64.b64encode(data).decode()] for name, type_, data in files]
    return bool(page.evaluate(DROP, [content, kind]))


def photo_of(page: Page) -> Locator:
    return page.locator(PAD).first.locator("section.photo")


def read_in(page: Page) -> list[str]:
    """The lines that were read, once they are there."""
    digits = photo_of(page).locator(".digits")
    digits.wait_for(timeout=PATIENCE)
    return digits.inner_text().split("\n")


def said_of(page: Page, words: str) -> str:
    said = photo_of(page).locator(".said", has_text=re.compile(words))
    said.wait_for(timeout=PATIENCE)
    return said.text_content() or ""


@both_doors
def test_a_dropped_photo_is_read_on_the_page_alone(
    browser: Browser, address: str, door: str
) -> None:
    """Nothing is asked of anybody: `opened` notes each request that would leave this machine."""
    with opened(browser, address, door, HOME) as (page, _):
        sent: list[str] = []
        page.on("request", lambda r: sent.append(r.url) if r.method != "GET" else None)
        assert give(page, ("sum.png", "image/png", sheet_of(WRITTEN)))
        assert read_in(page) == ["".join(map(str, WRITTEN))]
        assert sent == []
        said = said_of(page, "I read 8 digits in 1 line; the least certain is the")
        assert "not read" not in said
        canvas = photo_of(page).locator("canvas.photo-page")
        expect(canvas).to_be_visible()
        assert "each of 8 digits" in (canvas.get_attribute("aria-label") or "")
        photo_of(page).get_by_text("See each digit as the network gets it").click()
        expect(photo_of(page).locator(".examples li")).to_have_count(8)


def test_lines_come_one_below_the_other(browser: Browser, address: str) -> None:
    lines = [[*WRITTEN], [2, 7, 1, 8, 2, 3, 6, 4], [1, 0, 4, 6, 9, 3, 2, 7]]
    with opened(browser, address, "served", HOME) as (page, _):
        # A table's first line is written last.
        table = sheet_of([*lines[1], *lines[2], *lines[0]], "table")
        give(page, ("table.png", "image/png", table), kind="paste")
        assert read_in(page) == ["".join(map(str, line)) for line in lines]
        said_of(page, "I read 24 digits in 3 lines")


def test_the_keyboard_opens_the_choice_and_puts_the_photo_away(
    browser: Browser, address: str
) -> None:
    with opened(browser, address, "served", HOME) as (page, _):
        door = photo_of(page).get_by_role("button", name="Read a photo")
        with page.expect_file_chooser(timeout=PATIENCE) as choice:
            door.press("Enter")
        content: Any = {"name": "a.png", "mimeType": "image/png", "buffer": sheet_of(WRITTEN)}
        choice.value.set_files(content)
        assert read_in(page) == ["".join(map(str, WRITTEN))]
        page.keyboard.press("Tab")
        away = photo_of(page).get_by_role("button", name="Put it away")
        expect(away).to_be_focused()
        page.keyboard.press("Enter")
        expect(photo_of(page).locator("canvas.photo-page")).to_be_hidden()
        assert photo_of(page).get_by_role("status").text_content() == ""
        expect(door).to_be_focused()


def test_what_is_wrong_is_said_and_the_photo_before_stays(browser: Browser, address: str) -> None:
    good = ("a.png", "image/png", sheet_of(WRITTEN))
    blank = ("b.png", "image/png", png_of(np.full((90, 90), 250, np.uint8)))
    broken = ("c.jpg", "image/jpeg", b"no picture at all")
    with opened(browser, address, "served", HOME) as (page, _):
        give(page, broken)
        said_of(page, r"no picture that this browser can open.*everywhere\.$")
        expect(photo_of(page).locator("canvas.photo-page")).to_be_hidden()
        give(page, blank)
        said_of(page, r"shows no digit: nothing stands out from the paper\.$")
        give(page, good)
        said_of(page, "I read 8 digits")
        give(page, good, blank)
        said_of(page, r"One photo at a time; these are 2\. The photo before it stays\.")
        assert read_in(page) == ["".join(map(str, WRITTEN))]
        expect(photo_of(page).locator("canvas.photo-page")).to_be_visible()
        assert not give(page, ("words.txt", "text/plain", b"words"), kind="paste")


def test_what_is_doubtful_or_was_not_read_is_said(browser: Browser, address: str) -> None:
    form = Form(500, 140, np.stack([draw_strokes(DIGITS[digit]) for digit in (7, 2)]))
    form.write(100, 70, 54)
    form.write(300, 70, 54)
    form.rule(180, 70, 215, 70, width=5)  # 7 - 2, and a mark that is none of ten digits
    form.pen.polygon((390, 40, 450, 40, 450, 100, 390, 100), fill=255)
    with opened(browser, address, "served", HOME) as (page, _):
        give(page, ("a.png", "image/png", png_of(form.photograph())))
        said = said_of(page, "1 mark, in a dashed box, was not read: too low for a digit")
        assert "I read 3 digits" in said
        probabilities = page.evaluate(
            "document.querySelector('digit-pad').photo.page.lines.flat().map((d) => d.probability)"
        )
        doubtful = sum(probability < 0.6 for probability in probabilities)
        assert photo_of(page).locator(".digits em").count() == doubtful
        assert ("doubtful" in said) == (doubtful > 0)


@pytest.mark.parametrize("when", ["after it was read", "while it is read"])
def test_another_network_reads_the_photo_again(browser: Browser, address: str, when: str) -> None:
    with opened(browser, address, "served", HOME) as (page, _):
        give(page, ("a.png", "image/png", sheet_of(WRITTEN)))
        if when == "after it was read":
            read_in(page)
        give(page, ("mine.safetensors", "", reads_cedars()))
        said_of(page, "the least certain is the cedar")
        assert read_in(page) == [" ".join(["cedar"] * 8)]


def test_the_last_photo_wins(browser: Browser, address: str) -> None:
    with opened(browser, address, "served", HOME) as (page, _):
        give(page, ("a.png", "image/png", sheet_of(3 * WRITTEN, "table")))
        give(page, ("b.png", "image/png", sheet_of([1, 2, 3, 4, 5, 6, 7, 8])))
        said_of(page, "I read 8 digits")
        page.wait_for_timeout(500)  # in which the first could still come
        assert read_in(page) == ["12345678"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_read_photo_keeps_nobody_out_and_fits_a_phone(
    browser: Browser, address: str, scheme: Any
) -> None:
    options = {"viewport": PHONE, "has_touch": True, "is_mobile": True, "color_scheme": scheme}
    with opened(browser, address, "served", HOME, **options) as (page, _):
        expect(photo_of(page).get_by_role("button", name="Use the camera")).to_be_visible()
        give(page, ("a.png", "image/png", sheet_of(WRITTEN)))
        read_in(page)
        photo_of(page).locator("details").evaluate_all("all => all.forEach((e) => (e.open = true))")
        widths = page.locator(PAD).first.evaluate("e => [e.scrollWidth, e.clientWidth]")
        assert widths[0] <= widths[1]
        settle(page)
        assert violations(page) == {}


def test_a_desk_has_no_camera(browser: Browser, address: str) -> None:
    with opened(browser, address, "served", HOME) as (page, _):
        expect(photo_of(page).get_by_text("Use the camera")).to_be_hidden()
        assert photo_of(page).locator("input[capture=environment]").count() == 1
