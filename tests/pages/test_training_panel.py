"""The panel on which a network learns: from nothing, with a worker or without, and broken."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Locator, Page

from mnist_lab.lessons.widgets.digit_pictures import training_pictures
from tests.pages.pads import PATIENCE
from tests.pages.workbench import workbench

pytestmark = pytest.mark.site

PANEL = "document.querySelector('train-here').panel"
SCORES = f"{PANEL}.scores.map(({{ epoch, accuracy, loss }}) => ({{ epoch, accuracy, loss }}))"


@contextmanager
def panel(browser: Browser, before: str = "", chapters: str = "") -> Iterator[tuple[Page, Locator]]:
    """A panel on an empty page, with real digits; `before` is run first."""
    with workbench(browser) as page:
        page.set_default_timeout(PATIENCE)
        pictures = [base64.b64encode(content).decode() for content in training_pictures()]
        page.evaluate(
            """([before, chapters, pictures]) => {
              new Function(before)();
              modules.train_here.start(...pictures);
              const element = document.createElement("train-here");
              if (chapters) element.setAttribute("chapters", chapters);
              document.querySelector("main").append(element);
            }""",
            [before, chapters, pictures],
        )
        yield page, page.locator("train-here")


def choose(element: Locator, **settings: str) -> None:
    """Choose settings by the words of their labels: choose(element, Batch_size="128")."""
    for name, value in settings.items():
        element.get_by_label(name.replace("_", " "), exact=True).select_option(label=value)


def train(page: Page, until: str = f"{PANEL}.training?.isOver") -> list[dict[str, float]]:
    """Press Start and wait; the scores: epoch, accuracy, loss."""
    page.get_by_role("button", name="Start", exact=True).click()
    page.wait_for_function(until)
    scores: list[dict[str, float]] = page.evaluate(SCORES)
    return scores


def quick(element: Locator, **settings: str) -> None:
    """A small network and few steps."""
    choose(element, **{"Network": "2 layers: MLP", "Epochs": "3"} | settings)


def test_it_learns_from_nothing_and_shows_it(browser: Browser) -> None:
    with panel(browser) as (page, element):
        quick(element)
        assert "Nothing has been learnt yet" in (element.locator(".where").text_content() or "")
        scores = train(page)
        assert scores[0]["epoch"] == 0
        assert scores[0]["accuracy"] < 0.25  # as by guessing
        assert scores[-1]["epoch"] == 3
        assert scores[-1]["accuracy"] > 0.83
        assert len(scores) == 7  # four in the first epoch, one after each later one
        wrong = round(1_000 * (1 - scores[-1]["accuracy"]))
        assert f"{wrong} of the 1,000 other digits" in (
            element.get_by_text("digits are misread").text_content() or ""
        )
        assert element.locator(".examples li").count() == 15
        assert element.locator(".line.batch").get_attribute("d")
        assert "After 3 epochs" in (
            element.locator("svg.curve").first.get_attribute("aria-label") or ""
        )
        assert "Done: after 3 epochs" in (element.locator(".where").text_content() or "")
        inked = element.locator("canvas.weights").evaluate(
            """(canvas) => {
              const { width, height } = canvas;
              const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
              return [width, height, data.some((value, k) => k % 4 === 3 && value > 200)];
            }"""
        )
        assert inked == [8 * 29 - 1, 4 * 29 - 1, True]


def test_the_same_seed_learns_the_same_and_without_a_worker_too(browser: Browser) -> None:
    found = []
    for before in ("", "window.Worker = function () { throw new Error('refused'); };"):
        with panel(browser, before) as (page, element):
            quick(element, Network="1 layer: linear")
            found.append(train(page))
            found.append(train(page))
            element.get_by_label("Seed", exact=True).fill("1")
            element.get_by_label("Seed", exact=True).press("Tab")
            found.append(train(page))
    first, again, other, here, here_again, here_other = found
    assert first == again == here == here_again
    assert other == here_other != first


def test_a_worker_that_fails_when_it_starts_is_replaced_by_the_page(browser: Browser) -> None:
    """A browser may refuse it with an event instead of an error."""
    before = """window.Worker = class {
      constructor() { setTimeout(() => this.onerror(new Event("error")), 0); }
      postMessage() {}
      terminate() {}
    };"""
    with panel(browser, before) as (page, element):
        quick(element, Network="1 layer: linear")
        assert train(page)[-1]["accuracy"] > 0.8


def test_it_pauses_goes_on_and_rests_while_nobody_can_see_it(browser: Browser) -> None:
    with panel(browser) as (page, element):
        choose(element, Epochs="40")
        page.get_by_role("button", name="Start", exact=True).click()
        page.wait_for_function(f"{PANEL}.scores.length > 0")

        def rests() -> bool:
            """Whether no step is made any more, once what was on its way has come."""
            page.wait_for_timeout(500)
            steps = page.evaluate(f"{PANEL}.seen")
            page.wait_for_timeout(500)
            return bool(steps == page.evaluate(f"{PANEL}.seen"))

        page.get_by_role("button", name="Pause").click()
        assert rests()
        assert "paused" in (element.locator(".where").text_content() or "")
        assert "Paused." in (element.locator(".training > .unseen").text_content() or "")
        before = page.evaluate(f"{PANEL}.seen")
        page.get_by_role("button", name="Go on").click()
        page.wait_for_function(f"{PANEL}.seen > {before}")
        page.evaluate(f"{PANEL}.pageWasHidden(true)")
        assert rests()
        before = page.evaluate(f"{PANEL}.seen")
        page.evaluate(f"{PANEL}.pageWasHidden(false)")
        page.wait_for_function(f"{PANEL}.seen > {before}")
        element.get_by_label("Learning rate", exact=True).select_option(
            label="0.05"
        )  # counts at once
        assert page.evaluate(f"{PANEL}.training.settings.rate") == 0.05
        choose(element, Optimiser="SGD with momentum")
        assert "from the next start on" in (element.locator(".where").text_content() or "")


def test_many_trainings_leave_no_worker_running(browser: Browser) -> None:
    """Neither those that were begun anew, nor those that ended, nor that of a panel taken away."""
    count = """
      window.alive = 0;
      const Real = window.Worker;
      window.Worker = class extends Real {
        constructor(...given) { super(...given); window.alive += 1; }
        terminate() { if (!this.ended) window.alive -= 1; this.ended = true; super.terminate(); }
      };"""
    with panel(browser, count) as (page, element):
        quick(element, Network="1 layer: linear", Batch_size="500")
        train(page)
        assert page.evaluate("alive") == 0
        sizes = []
        for _ in range(2):
            for _ in range(5):
                train(page)
            page.evaluate("window.gc?.()")
            sizes.append(page.evaluate("document.querySelector('main').innerHTML.length"))
        assert sizes[0] == sizes[1]
        choose(element, Epochs="40")
        page.get_by_role("button", name="Start", exact=True).click()
        page.wait_for_function(f"{PANEL}.seen > 0")
        for _ in range(3):
            page.get_by_role("button", name="Start over").click()
        page.wait_for_function(f"{PANEL}.seen > 0 && alive === 1")
        element.evaluate("(e) => e.remove()")
        assert page.evaluate("alive") == 0


@pytest.mark.slow
def test_memory_is_flat_over_fifty_trainings(browser: Browser) -> None:
    """What the page holds after each of the last forty is what it held after the first ten."""
    with panel(browser) as (page, element):
        quick(element, Network="1 layer: linear", Batch_size="500")
        session = page.context.new_cdp_session(page)

        def held() -> float:
            """Bytes of objects and arrays, once what nobody needs is collected."""
            for _ in range(3):
                session.send("HeapProfiler.collectGarbage")
            usage = session.send("Runtime.getHeapUsage")
            return float(usage["usedSize"] + usage["backingStorageSize"])

        sizes = []
        for number in range(1, 51):
            train(page)
            if number % 10 == 0:
                sizes.append(held())
        # The network as each of its seven scores found it is 220 kB of every training.
        assert max(sizes) - sizes[0] < 300_000, sizes


@pytest.mark.parametrize(
    ("way", "said", "chapter", "loss", "most"),
    [
        ("all weights start at zero", "every hidden number is zero", "ch07", (2.29, 2.32), 0.11),
        ("a learning rate of 10", "leaps over the valley", "ch05", (2.4, 1e9), 0.25),
        ("no shuffling", "forgets the one before", "ch01", (1.5, 20), 0.6),
        ("labels mixed up", "learnt by heart", "ch08", (2.2, 3), 0.2),
    ],
)
def test_a_way_to_break_it_breaks_it_and_is_explained(
    browser: Browser, way: str, said: str, chapter: str, loss: tuple[float, float], most: float
) -> None:
    with panel(browser, chapters="../notebooks/") as (page, element):
        quick(element, Break_it=way)
        assert said in (element.locator(".explanation").text_content() or "")
        link = element.locator(".explanation a").get_attribute("href") or ""
        assert link.startswith(f"../notebooks/{chapter}_")
        scores = train(page)
        assert loss[0] < scores[-1]["loss"] < loss[1]
        assert scores[-1]["accuracy"] <= most
        quick(element, Break_it="not at all")
        assert not element.locator(".explanation").text_content()


def test_a_linear_classifier_may_start_at_zero_and_the_panel_says_so(browser: Browser) -> None:
    with panel(browser) as (page, element):
        quick(element, Network="1 layer: linear", Break_it="all weights start at zero")
        assert "gets away with it" in (element.locator(".explanation").text_content() or "")
        assert train(page)[-1]["accuracy"] > 0.8


def test_what_has_learnt_can_be_drawn_on_and_saved(browser: Browser) -> None:
    with panel(browser) as (page, element):
        assert element.get_by_text("Draw on your network").is_hidden()
        quick(element)
        train(page)
        element.get_by_text("Draw on your network").click()
        page.wait_for_function(f"{PANEL}.pad")
        page.evaluate(f"{PANEL}.pad.pad.strokes = [[[0.5, 0.15], [0.5, 0.85]]]")
        assert element.locator(".answer").text_content() == "1"
        with page.expect_download() as download:
            element.get_by_role("button", name="Save your network").click()
        assert download.value.suggested_filename == "my-network.safetensors"
        content = download.value.path().read_bytes()
        reads = page.evaluate(
            """(file) => {
              const bytes = Uint8Array.from(atob(file), (letter) => letter.charCodeAt(0));
              return modules.forward.openNetwork(bytes).card.model;
            }""",
            base64.b64encode(content).decode(),
        )
        assert reads == "mlp"


def test_settings_that_were_kept_are_believed_only_if_they_are_possible(bench: Page) -> None:
    for kept in (None, 7, "x", [], {"network": "huge", "rate": "1", "seed": -1, "way": "no"}):
        found = bench.evaluate("(kept) => modules.training_panel.readSettings(kept)", kept)
        assert found["network"] == "cnn"
        assert (found["rate"], found["seed"], found["way"]) == (0.01, 0, "")
    found = bench.evaluate(
        "modules.training_panel.readSettings({ network: 'mlp', rate: 0.2, seed: 5, moved: true })"
    )
    assert (found["network"], found["rate"], found["seed"], found["moved"]) == ("mlp", 0.2, 5, True)
