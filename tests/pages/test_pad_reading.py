"""What is drawn is read: by every hand, in any size, once a change."""

from __future__ import annotations

import numpy as np
import pytest
from playwright.sync_api import Browser, Page

from tests.browsing import both_doors, opened
from tests.drawn_digits import DIGITS, drawings
from tests.pages.pads import HANDS, HOME, PAD, reading, sheet
from tests.pages.workbench import call, workbench

pytestmark = pytest.mark.site


@both_doors
@pytest.mark.parametrize("hand", HANDS)
def test_all_ten_digits_are_read(browser: Browser, address: str, door: str, hand: str) -> None:
    draw, options = HANDS[hand]
    read = {}
    with opened(browser, address, door, HOME, **options) as (page, _):
        for digit, strokes in DIGITS.items():
            draw(page, strokes)
            read[digit] = reading(page)
            page.locator(PAD).get_by_role("button", name="Clear").click()
            page.locator(PAD).locator(".status", has_text="empty").wait_for()
            sheet(page).evaluate("e => e.blur()")
    assert read == {digit: str(digit) for digit in DIGITS}


def test_small_large_and_slanted_drawings_are_read_too(browser: Browser, address: str) -> None:
    with opened(browser, address, "served", HOME) as (page, _):
        read = page.evaluate(
            """(all) => all.map((strokes) => {
              const pad = document.querySelector("digit-pad");
              pad.strokes = strokes;
              return pad.result.probabilities.indexOf(Math.max(...pad.result.probabilities));
            })""",
            [strokes for _, _, strokes in drawings()],
        )
    right = np.mean(np.array(read) == [digit for digit, _, _ in drawings()])
    assert right >= 0.95


# A pad whose readings are counted, and a hand that moves many times within a frame.
COUNTED = """() => {
  const pad = document.createElement("digit-pad");
  document.querySelector("main").append(pad);
  const [network, canvas] = [pad.network, pad.shadowRoot.querySelector(".sheet")];
  const before = network.steps.at(-1).values.some((value) => value !== 0);
  let count = 0;
  const read = network.read;
  network.read = function (pixels) { count += 1; return read.call(this, pixels); };
  const counted = async (act) => {
    count = 0;
    await act();
    return count;
  };
  const box = canvas.getBoundingClientRect();
  const move = (kind, share) => canvas.dispatchEvent(new PointerEvent(kind, {
    clientX: box.left + 0.5 * box.width, clientY: box.top + share * box.height, pointerId: 1,
  }));
  const frame = () => new Promise((done) =>
    requestAnimationFrame(() => requestAnimationFrame(done)));
  window.tried = {
    pad, before, frame, counted,
    grow() {
      move("pointerdown", 0.1);
      for (let k = 1; k <= 40; k += 1) move("pointermove", 0.1 + 0.02 * k);
    },
    lift() { move("pointerup", 0.9); },
  };
}"""


def test_a_drawing_is_read_once_a_frame_and_when_it_ends(browser: Browser) -> None:
    with workbench(browser) as page:
        page.evaluate(COUNTED)
        assert page.evaluate("tried.before")  # the browser had it compiled before anybody drew
        once = "(strokes) => tried.counted(() => { tried.pad.strokes = strokes; })"
        assert page.evaluate(once, DIGITS[5]) == 1
        grow = """(milliseconds) => {
          tried.pad.milliseconds = milliseconds; // what the last reading took
          return tried.counted(() => { tried.grow(); return tried.frame(); });
        }"""
        lift = "() => tried.counted(() => { tried.lift(); return tried.frame(); })"
        assert page.evaluate(grow, 1) == 1
        assert page.evaluate(lift) == 1
        assert page.evaluate(grow, 50) == 0  # a slow machine reads when the stroke has ended
        assert page.evaluate(lift) == 1


# --- What is said of it --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (0, "0 %"), (0.004, "0 %"), (0.5, "50 %"), (0.625, "63 %"), (0.994, "99 %"),
        (0.9951, "over 99 %"), (0.9999, "over 99 %"), (1, "over 99 %"),
    ],
)  # fmt: skip
def test_certainty_is_never_claimed(bench: Page, share: float, said: str) -> None:
    assert call(bench, "views.percent", share) == said
    assert call(bench, "views.percent", share, ">") == said.replace("over ", ">")


@pytest.mark.parametrize(
    ("probabilities", "said"),
    [
        ([0.2, 0.1, 0.7], "I read c (70 %)."),
        ([0.0, 1.0, 0.0], "I read b (over 99 %)."),
        ([0.21, 0.1, 0.69], "Perhaps c (69 %), perhaps a (21 %)."),
        ([0.3, 0.36, 0.34], "Perhaps b (36 %), perhaps c (34 %)."),
        ([0.5, 0.5, 0.0], "Perhaps a (50 %), perhaps b (50 %)."),
    ],
)
def test_what_is_unsure_is_said_as_perhaps(
    bench: Page, probabilities: list[float], said: str
) -> None:
    assert call(bench, "panel.describe", ["a", "b", "c"], probabilities) == said
