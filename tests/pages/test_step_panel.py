"""The panel that takes gradient steps: what it shows of each, by click and by key, on any paper."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from mnist_lab.lessons.widgets.digit_pictures import step_pictures
from tests.pages.pads import PATIENCE
from tests.pages.workbench import workbench

pytestmark = pytest.mark.site

PANEL = "document.querySelector('step-here').panel"
KINDS = ["linear", "mlp", "cnn"]
MINUS = "\N{MINUS SIGN}"


@contextmanager
def panel(browser: Browser, kind: str, before: str = "") -> Iterator[tuple[Page, Locator]]:
    """A panel on an empty page, with real digits; `before` is run first."""
    with workbench(browser) as page:
        page.set_default_timeout(PATIENCE)
        pictures = [base64.b64encode(content).decode() for content in step_pictures()]
        page.evaluate(
            """([kind, pictures, before]) => {
              new Function(before)();
              modules.step_here.start(...pictures);
              const element = document.createElement("step-here");
              element.setAttribute("network", kind);
              document.querySelector("main").append(element);
            }""",
            [kind, pictures, before],
        )
        page.wait_for_function(f"{PANEL}.score")
        yield page, page.locator("step-here")


def click(page: Page, name: str) -> None:
    """Press a button, and wait until the other digits have been read."""
    page.get_by_role("button", name=name, exact=True).click()
    page.wait_for_function(f"{PANEL}.score")


def numbers(element: Locator, table: int = 0) -> list[list[float]]:
    """The numbers in a table, row by row, without the rows' names."""
    rows = element.locator("table").nth(table).locator("tbody tr").all()
    cells = [row.locator("td").all_text_contents() for row in rows]
    return [[float(words.replace(MINUS, "-")) for words in row if words != "–"] for row in cells]  # noqa: RUF001


def where(element: Locator) -> str:
    return element.locator(".where").text_content() or ""


def said(element: Locator) -> str:
    return element.locator("p[role=status]").text_content() or ""


def test_before_the_first_step_it_shows_what_the_step_will_use(browser: Browser) -> None:
    with panel(browser, "linear") as (_, element):
        assert "These 10 digits: loss 2.303, and no step yet." in where(element)
        assert "Of 500 others it reads 10.0 %, at a loss of 2.303." in where(element)
        for logit, p, y, difference in numbers(element):
            assert (logit, p) == (0, 0.1)
            assert difference == pytest.approx(0.1 - y)
        assert "All are zero." in (
            element.locator(".grid-view figcaption").first.text_content() or ""
        )


def test_a_click_is_a_step_and_its_numbers_fit(browser: Browser) -> None:
    with panel(browser, "linear") as (page, element):
        click(page, "One step")
        stepper = f"{PANEL}.stepper"
        before, after = page.evaluate(f"[{stepper}.loss, {stepper}.lossAfter]")
        assert after < before
        assert f"loss {before:.3f} before the step, {after:.3f} after it" in where(element)
        assert said(element).startswith(f"Step 1: loss of its 10 digits {before:.3f} before")
        rows = numbers(element)
        assert sum(row[1] for row in rows) == pytest.approx(1, abs=0.006)
        assert sum(row[3] for row in rows) == pytest.approx(0, abs=0.006)
        label = [row[2] for row in rows].index(1)
        assert rows[label][4] > rows[label][0]  # its logit rose
        # The sentence: old - rate * gradient = new, and the gradient's parts.
        sentence = element.locator(".pixel").text_content() or ""
        assert sentence.startswith(
            f"Weight of class 0 at row 14, column 14: 0.0000 {MINUS} 0.03 · "
        )
        click(page, "Ten steps")
        assert element.locator(".accuracy").text_content() == "Step 11"
        assert element.locator(".line.batch").get_attribute("d")


def test_the_arithmetic_in_the_sentence_is_right(browser: Browser) -> None:
    """old - rate * gradient = new, as it is written, and the digit's own part too."""
    with panel(browser, "mlp") as (page, element):
        page.get_by_label("Digits in a step").select_option("1")
        click(page, "One step")
        row = next(k for k, row in enumerate(numbers(element, 1)) if row[0] > 0)
        page.evaluate(f"{PANEL}.askFor({row}, 400, false)")
        words = (element.locator(".pixel").text_content() or "").replace(MINUS, "-")
        found = words.split(": ")[1].replace("(", "").replace(")", "").replace("-", "-").split(" ")
        old, rate, slope, new = (float(found[k].rstrip(".")) for k in (0, 2, 4, 6))
        assert new == pytest.approx(old - rate * slope, abs=2e-4)
        dz, pixel = (
            float(words.split(part)[1].split(" ")[0].strip(".,")) for part in ("dz = ", "pixel, ")
        )
        assert slope == pytest.approx(dz * pixel, abs=3e-4)
        assert numbers(element, 1)[row][3] == pytest.approx(dz, abs=6e-4)


def test_a_unit_that_is_off_gets_nothing_from_a_single_digit(browser: Browser) -> None:
    """What chapter 3 says beside the panel."""
    with panel(browser, "mlp") as (page, element):
        page.get_by_label("Digits in a step").select_option("1")
        click(page, "Start anew")
        hidden = numbers(element, 1)
        off = [k for k, (z, *_) in enumerate(hidden) if z < 0]
        assert 0 < len(off) < 8
        for k in off:
            assert hidden[k][1] == hidden[k][3] == 0 != hidden[k][2]
        change = page.evaluate(f"Array.from({PANEL}.change.values)")
        for k in range(8):
            largest = max(map(abs, change[784 * k : 784 * (k + 1)]))
            assert (largest == 0) == (k in off)
        page.evaluate(f"{PANEL}.askFor({off[0]}, 0, false)")
        assert all(row[1] == 0 for row in numbers(element, 2))


def test_a_kernel_shows_its_25_weights_and_few_places_get_a_gradient(browser: Browser) -> None:
    """What chapter 4 says beside the panel."""
    with panel(browser, "cnn") as (page, element):
        click(page, "One step")
        before, slopes, after = (numbers(element, table) for table in (1, 2, 3))
        assert np.shape(before) == (5, 5)
        assert np.abs(np.subtract(before, np.multiply(0.1, slopes)) - after).max() < 1.2e-3
        gradient = page.evaluate(f"Array.from({PANEL}.maps[2].view.values)")
        for k in range(4):
            assert 0 < sum(value != 0 for value in gradient[196 * k : 196 * (k + 1)]) <= 49


@pytest.mark.parametrize(
    ("kind", "rate", "steps", "ends"),
    [
        ("linear", "1", 1, lambda found: found["lossAfter"] > found["loss"]),
        ("cnn", "0.3", 20, lambda found: abs(found["lossAfter"] - 2.303) < 0.2),
    ],
)
def test_what_the_chapters_say_of_rates_is_seen(
    browser: Browser, kind: str, rate: str, steps: int, ends: object
) -> None:
    with panel(browser, kind) as (page, _):
        page.get_by_label("Learning rate η").select_option(rate)
        for _ in range(max(1, steps // 10)):
            click(page, "One step" if steps == 1 else "Ten steps")
        found = page.evaluate(
            f"(({{ loss, lossAfter }}) => ({{ loss, lossAfter }}))({PANEL}.stepper)"
        )
        assert ends(found)  # type: ignore[operator]
        if kind == "cnn":
            assert page.evaluate(f"{PANEL}.maps[1].view.full") == 0  # all maps are empty


def test_the_same_digits_again_are_learnt_by_heart(browser: Browser) -> None:
    with panel(browser, "linear") as (page, element):
        page.get_by_label("The same digits again").check()
        click(page, "Ten steps")
        found = page.evaluate(
            f"[{PANEL}.stepper.lossAfter, {PANEL}.score.loss, {PANEL}.score.accuracy]"
        )
        assert found[0] < 0.1
        assert found[1] > 2
        assert 0.3 < found[2] < 0.4  # a third, as chapter 2 says
        click(page, "Start anew")
        assert "no step yet" in where(element)
        assert page.evaluate(f"{PANEL}.stepper.steps") == 0


def test_a_start_anew_begins_with_the_same_digits_and_weights(browser: Browser) -> None:
    with panel(browser, "cnn") as (page, element):
        found = []
        for _ in range(2):
            click(page, "One step")
            click(page, "One step")
            found.append((where(element), numbers(element)))
            click(page, "Start anew")
        assert found[0] == found[1]


def test_it_runs_rests_when_paused_and_stops_when_it_is_taken_away(browser: Browser) -> None:
    with panel(browser, "linear") as (page, element):
        page.get_by_role("button", name="Run", exact=True).click()
        page.wait_for_function(f"{PANEL}.stepper.steps >= 12")
        heard = said(element)
        assert heard == "It takes step after step."  # and not every step
        page.get_by_role("button", name="Pause", exact=True).click()
        expect(element.locator("p[role=status]")).to_contain_text("Paused. After step")
        steps = page.evaluate(f"{PANEL}.stepper.steps")
        page.wait_for_timeout(300)
        assert page.evaluate(f"{PANEL}.stepper.steps") == steps
        page.get_by_role("button", name="Run", exact=True).click()
        page.evaluate(
            """() => {
              Object.defineProperty(document, "hidden", { value: true, configurable: true });
              document.dispatchEvent(new Event("visibilitychange"));
            }"""
        )
        expect(element.locator("p[role=status]")).to_contain_text("out of sight")
        page.evaluate("delete document.hidden")
        page.get_by_role("button", name="Run", exact=True).click()
        page.evaluate("window.kept = document.querySelector('step-here').panel")
        element.evaluate("(e) => e.remove()")
        steps = page.evaluate("kept.stepper.steps")
        page.wait_for_timeout(300)
        assert page.evaluate("kept.stepper.steps") <= steps + 1


def test_a_run_ends_by_itself(browser: Browser) -> None:
    # Timers that do not wait.
    quick = "const wait = window.setTimeout; window.setTimeout = (act) => wait(act, 0);"
    with panel(browser, "linear", quick) as (page, element):
        page.get_by_role("button", name="Run", exact=True).click()
        heard = element.locator("p[role=status]")
        expect(heard).to_contain_text("It rests after 400 steps", timeout=PATIENCE)
        assert page.evaluate(f"{PANEL}.stepper.steps") == 400
        assert page.evaluate(f"{PANEL}.score.accuracy") > 0.8
        assert page.evaluate(f"{PANEL}.range") == 400  # the curve's sheet has grown with it


def test_a_loss_that_is_no_number_is_said_and_can_be_left(browser: Browser) -> None:
    with panel(browser, "cnn") as (page, element):
        page.evaluate(f"{PANEL}.stepper.change({{ rate: 1e9 }})")
        for _ in range(12):
            button = page.get_by_role("button", name="Ten steps", exact=True)
            if button.is_disabled():
                break
            click(page, "Ten steps")
        assert page.get_by_role("button", name="One step", exact=True).is_disabled()
        assert "no longer a number" in where(element)
        click(page, "Start anew")
        assert page.get_by_role("button", name="One step", exact=True).is_enabled()


@pytest.mark.parametrize("kind", KINDS)
def test_the_keyboard_does_all_of_it(browser: Browser, kind: str) -> None:
    with panel(browser, kind) as (page, element):
        page.get_by_role("button", name="One step", exact=True).focus()
        page.keyboard.press("Enter")
        page.wait_for_function(f"{PANEL}.stepper.steps === 1 && {PANEL}.score")
        page.get_by_role("button", name="Digit 3:").focus()
        page.keyboard.press("Space")
        assert "The numbers of digit 3 are shown" in said(element)
        element.locator("canvas.weights").first.focus()
        side = 5 if kind == "cnn" else 28
        for _ in range(side):
            page.keyboard.press("ArrowRight")
        unit = {"linear": "class 1", "mlp": "hidden unit 1", "cnn": "kernel 1"}[kind]
        assert said(element).startswith(f"Weight of {unit} at row")
        for _ in range(3 * side):
            page.keyboard.press("ArrowLeft")
            page.keyboard.press("ArrowDown")
        chosen = page.evaluate(f"{PANEL}.chosen")
        assert chosen["unit"] == {"linear": 5, "mlp": 4, "cnn": 0}[kind]  # at the lower left


def test_a_pointer_chooses_a_digit_and_a_weight(browser: Browser) -> None:
    with panel(browser, "linear") as (page, element):
        element.locator(".step-digits button").nth(4).click()
        assert page.evaluate(f"{PANEL}.digit") == 4
        element.locator("canvas.weights").first.scroll_into_view_if_needed()
        box = element.locator("canvas.weights").first.bounding_box()
        assert box
        # The middle of the fourth picture of the second row: class 8.
        page.mouse.click(box["x"] + box["width"] * 0.7, box["y"] + box["height"] * 0.75)
        assert page.evaluate(f"{PANEL}.chosen.unit") == 8
        assert "Weight of class 8" in (element.locator(".pixel").text_content() or "")


def test_who_wants_little_motion_sees_a_picture_now_and_then(browser: Browser) -> None:
    with panel(browser, "linear") as (page, _):
        page.emulate_media(reduced_motion="reduce")
        page.evaluate(
            """(panel) => {
              const { showWeights } = panel;
              window.shown = 0;
              panel.showWeights = () => { window.shown += 1; showWeights.call(panel); };
            }""",
            page.evaluate_handle(PANEL),
        )
        page.get_by_role("button", name="Run", exact=True).click()
        page.wait_for_function(f"{PANEL}.stepper.steps >= 31")
        assert page.evaluate("shown") <= 4
        page.get_by_role("button", name="Pause", exact=True).click()
