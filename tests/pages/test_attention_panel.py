"""The panel that shows attention: what is drawn, asked, hidden and painted, by mouse and keys."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from playwright.sync_api import Browser, Locator, Page

from mnist_lab.export import transformer_bytes
from mnist_lab.finetuning.masked import make_autoencoder
from mnist_lab.models.registry import build_model
from mnist_lab.training.cards import ModelCard
from tests.drawn_digits import DIGITS
from tests.pages.accessibility import violations
from tests.pages.pads import PATIENCE, draw_with_mouse
from tests.pages.workbench import workbench

pytestmark = pytest.mark.site

PANEL = "document.querySelector('digit-attention').panel"
TONES = """(canvas) => {
  const { width, height } = canvas;
  const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
  return [...new Uint32Array(data.buffer)];
}"""


def a_network(decodes: bool = True, reads: bool = True, scores: bool = False) -> bytes:
    """A small transformer that has learnt nothing, whose heads differ in where they look."""
    encoder = build_model("vit", seed=0, width=16, depth=2, heads=2)
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            if "queries_keys_values.weight" in name:
                parameter *= 4
    model = make_autoencoder(encoder, seed=0, width=8) if decodes else encoder
    told = {"count": 5_000, "whole": 0.981, "half": 0.874} if scores else None
    return transformer_bytes(model.eval(), ModelCard.of(encoder), reads=reads, scores=told)


@contextmanager
def panel(
    browser: Browser, content: bytes | None = None, tag: str = "<digit-attention></digit-attention>"
) -> Iterator[tuple[Page, Locator]]:
    """A panel on an empty page."""
    with workbench(browser) as page:
        page.set_default_timeout(PATIENCE)
        page.evaluate(
            """([content, tag]) => {
              modules.digit_attention.start(content);
              document.querySelector("main").innerHTML = tag;
            }""",
            [base64.b64encode(content or a_network()).decode(), tag],
        )
        yield page, page.locator("digit-attention")


def patch(element: Locator, row: int, column: int) -> Locator:
    return element.locator(".patch").nth(4 * row + column - 5)


def looks(element: Locator) -> str:
    return element.locator(".looks").last.text_content() or ""


def cover(element: Locator) -> str:
    return element.locator(".cover").text_content() or ""


def test_a_drawing_is_looked_at_by_every_head(browser: Browser) -> None:
    with panel(browser) as (page, element):
        maps = element.locator(".map canvas")
        assert maps.count() == 4
        page.evaluate(f"{PANEL}.panel.pad.clear()")
        assert looks(element).startswith("The sheet is empty")
        draw_with_mouse(page, DIGITS[8], element)
        page.wait_for_function(f"{PANEL}.image")
        assert "Block 1, head 1: the patch in row 2, column 3 looks most at" in looks(element)
        pictures = [maps.nth(k).evaluate(TONES) for k in range(4)]
        assert len({tuple(one) for one in pictures}) == 4
        before = pictures[0]
        patch(element, 4, 1).click()
        assert "the patch in row 4, column 1 looks most" in looks(element)
        assert maps.nth(0).evaluate(TONES) != before


def test_what_is_said_is_what_was_computed(browser: Browser) -> None:
    with panel(browser) as (page, element):
        patch(element, 3, 2).click()
        element.get_by_role("button", name="Block 2, head 1").click()
        shares = np.array(page.evaluate(f"[...{PANEL}.result.looks[1][0]]")).reshape(16, 16)
        first, second = np.argsort(-shares[9])[:2]

        def named(number: int, row: np.ndarray, asked: int = -1) -> str:
            where = f"row {number // 4 + 1}, column {number % 4 + 1}"
            return f"{'itself' if number == asked else where} ({round(100 * row[number])}\u00a0%)"

        expected = f"{named(first, shares[9], 9)}, then at {named(second, shares[9], 9)}."
        assert looks(element).endswith(f"looks most at {expected}")
        element.get_by_role("button", name="All patches together").click()
        mean = shares.mean(0)
        most = int(np.argmax(mean))
        assert f"all patches together look most at {named(most, mean)}" in looks(element)
        reading = page.evaluate(f"[...{PANEL}.result.probabilities]")
        best = int(np.argmax(reading))
        assert f"{best}" in (element.locator(".status").text_content() or "")


def test_patches_are_hidden_by_clicks_painted_and_uncovered(browser: Browser) -> None:
    with panel(browser) as (page, element):
        painted = element.locator(".board > canvas").nth(1)
        before = painted.evaluate(TONES)
        assert cover(element) == "Nothing is hidden, so nothing is painted."
        assert element.get_by_role("button", name="Uncover all").is_disabled()
        element.get_by_role("button", name="Hide patches").click()
        patch(element, 2, 2).click()
        patch(element, 3, 3).click()
        assert page.evaluate(f"[...{PANEL}.hidden]") == [5, 10]
        assert painted.evaluate(TONES) != before
        assert "2 patches of 16 are hidden. From what is left it reads" in cover(element)
        guesses, image = (
            np.array(page.evaluate(f"[...{PANEL}.{name}]")).reshape(28, 28)
            for name in ("result.guesses", "image")
        )
        places = np.zeros((28, 28), bool)
        places[7:14, 7:14] = places[14:21, 14:21] = True
        squares = ((image - guesses.clip(0, 255)) ** 2)[places].sum() / (image[places] ** 2).sum()
        assert f"has {round(100 * squares)}\u00a0% of the squared error" in cover(element)
        assert painted.get_attribute("aria-label")
        shares = np.array(page.evaluate(f"[...{PANEL}.result.looks[0][1]]")).reshape(16, 16)
        assert shares[:, 5].max() == shares[5].max() == 0
        patch(element, 2, 2).click()
        assert "1 patch of 16 is hidden." in cover(element)
        element.get_by_role("button", name="Uncover all").click()
        assert painted.evaluate(TONES) == before
        element.get_by_role("button", name="Hide half").click()
        assert page.evaluate(f"{PANEL}.hidden.size") == 8


def test_one_patch_must_stay_and_one_that_is_hidden_looks_at_nothing(browser: Browser) -> None:
    with panel(browser) as (page, element):
        element.get_by_role("button", name="Hide patches").click()
        for number in range(16):
            element.locator(".patch").nth(number).click()
        assert page.evaluate(f"{PANEL}.hidden.size") == 15
        assert cover(element).startswith("One patch must stay")
        element.get_by_role("button", name="Choose who looks").click()
        patch(element, 1, 2).click()
        assert "row 1, column 2 is hidden, so it looks at nothing" in looks(element)


def test_all_of_it_works_with_the_keyboard(browser: Browser) -> None:
    with panel(browser) as (page, element):
        element.get_by_role("button", name="Another example").focus()
        page.keyboard.press("Tab")
        focused = "document.querySelector('digit-attention').shadowRoot.activeElement"
        label = f"{focused}.getAttribute('aria-label')"
        assert page.evaluate(label) == "Row 1, column 1"
        for key in ("ArrowRight", "ArrowDown", "ArrowDown", "ArrowLeft", "ArrowLeft"):
            page.keyboard.press(key)
        assert page.evaluate(label) == "Row 3, column 1"
        page.keyboard.press("Enter")
        assert page.evaluate(label) == "Row 3, column 1, is asked"
        page.keyboard.press("h")
        assert page.evaluate(label) == "Row 3, column 1, hidden, is asked"
        page.keyboard.press("Tab")
        assert page.evaluate(label) == "Block 1, head 1"
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Space")
        assert looks(element).startswith("The patch in row 3, column 1 is hidden")
        assert page.evaluate(f"{PANEL}.chosen") == 2


def test_it_says_no_more_than_the_network_can_do(browser: Browser) -> None:
    with panel(browser, a_network(decodes=False)) as (_, element):
        assert element.locator(".board").count() == 1
        element.get_by_role("button", name="Hide patches").click()
        patch(element, 2, 2).click()
        assert "bare paper" not in cover(element)
        assert "it reads" in cover(element)
    with panel(browser, a_network(reads=False)) as (_, element):
        assert element.locator(".bars").count() == 0
        element.get_by_role("button", name="Hide patches").click()
        patch(element, 2, 2).click()
        assert "it reads" not in cover(element)
        assert "bare paper" in cover(element)


def test_what_the_pages_network_can_do_is_said_and_that_it_is_not_the_readers(
    browser: Browser,
) -> None:
    tag = "<digit-attention from-cell><p>A sheet stands here.</p></digit-attention>"
    with panel(browser, a_network(scores=True), tag) as (_, element):
        said = element.locator(".advice").text_content() or ""
        assert said.startswith("On this page a transformer answers that was trained for it")
        assert "Of 5,000 digits that it has not learnt from, it reads 98.1\u00a0%" in said
        assert "with half of the patches hidden, drawn anew for each, 87.4\u00a0%" in said
    with panel(browser) as (_, element):
        assert element.locator(".advice").count() == 0


def test_many_drawings_leave_nothing_behind(browser: Browser) -> None:
    with panel(browser) as (page, _):
        count = "document.querySelector('digit-attention').shadowRoot.querySelectorAll('*').length"
        before = page.evaluate(count)
        pictures = page.evaluate(f"{PANEL}.panel.pictures.length")
        session = page.context.new_cdp_session(page)

        def memory() -> float:
            session.send("HeapProfiler.collectGarbage")
            return float(session.send("Runtime.getHeapUsage")["usedSize"])

        again = f"""(count) => {{ for (let k = 0; k < count; k += 1) {{
          {PANEL}.takeExample(); {PANEL}.toggle(k % 16); {PANEL}.choose(k % 4); }} }}"""
        page.evaluate(again, 20)
        first = memory()
        page.evaluate(again, 300)
        assert memory() < first + 1_000_000  # bytes; a picture that is kept takes 50,000 each
        assert page.evaluate(count) == before
        assert page.evaluate(f"{PANEL}.panel.pictures.length") == pictures


def test_axe_finds_nothing_while_a_button_is_pressed_and_pointed_at(browser: Browser) -> None:
    with panel(browser) as (page, element):
        element.get_by_role("button", name="Hide half").click()
        element.get_by_role("button", name="All patches together").click()
        found = violations(page)
        # The empty page itself has no heading and no language.
        for rule in ("page-has-heading-one", "html-has-lang", "region"):
            found.pop(rule, None)
        assert found == {}
