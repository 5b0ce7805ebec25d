"""The built pages, in a real browser: what a reader would meet, served and opened from disk.

Each page is opened once through each of the two doors and looked at there; the tests ask what was
seen. What they need is in browsing.py.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, TimeoutError

from tests.browsing import DESK, PHONE, SITE, Trouble, both_doors, opened, watch
from tests.pages.accessibility import settle, violations

pytestmark = pytest.mark.site

SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")


def is_redirect(path: Path) -> bool:
    """Jupyter Book's index.html only leads on to the home page, and is no page by itself."""
    return b'http-equiv="refresh"' in path.read_bytes()[:500].lower()


def page_names() -> list[str]:
    """The pages of the site as paths below it, or one stand-in that makes the tests speak up."""
    found = [path for path in SITE.rglob("*.html") if "_static" not in path.parts]
    return sorted(p.relative_to(SITE).as_posix() for p in found if not is_redirect(p)) or ["none"]


PAGES = page_names()


# --- Looking at a page ---------------------------------------------------------------------------

PICTURES_WITHOUT_WORDS = """() => {
  const hidden = (e) => e.closest('[aria-hidden="true"], [role="presentation"], [role="none"]');
  const named = (e) => e.getAttribute("aria-label") || e.getAttribute("aria-labelledby");
  // A sign on a button or link is no picture if that has words of its own.
  const spoken = (e) => {
    const control = e.closest("button, a, summary");
    return control && (named(control) || control.title || control.textContent.trim());
  };
  const images = [...document.querySelectorAll("img, input[type=image], area")]
    .filter((e) => !(e.getAttribute("alt") || "").trim() && !(e.hasAttribute("alt") && hidden(e)));
  const drawings = [...document.querySelectorAll("svg, canvas, [role=img]:not(img)")]
    .filter((e) => !hidden(e) && !named(e) && !e.querySelector("title") && !spoken(e));
  return [...images, ...drawings].map((e) => e.outerHTML.slice(0, 200));
}"""

HEADINGS = """() => [...document.querySelectorAll("h1")]
  .filter((e) => e.checkVisibility()).map((e) => e.textContent.trim())"""

TOO_WIDE = """() => {
  const limit = document.documentElement.clientWidth;
  const scrolls = (e) =>
    e && (getComputedStyle(e).overflowX !== "visible" || scrolls(e.parentElement));
  if (document.documentElement.scrollWidth <= limit) return [];
  return [...document.querySelectorAll("body *")]
    .filter((e) => e.getBoundingClientRect().right > limit + 1 && !scrolls(e.parentElement))
    .map((e) => `${e.tagName} ${e.className}: ${e.textContent.trim().slice(0, 80)}`)
    .concat(["(the page scrolls sideways)"]);
}"""

# Printed lines that take more room than a line: the columns of a table would no longer be columns.
# And boxes that scroll sideways, which the keyboard cannot get into.
BROKEN_OUTPUT = """() => [...document.querySelectorAll("div.cell_output pre")].flatMap((e) => {
  if (!e.checkVisibility()) return [];
  const style = getComputedStyle(e);
  const room = e.clientHeight - parseFloat(style.paddingTop) - parseFloat(style.paddingBottom);
  const lines = e.textContent.replace(/\\n$/, "").split("\\n").length;
  const taken = Math.round(room / parseFloat(style.lineHeight));
  const said = e.textContent.trim().slice(0, 80);
  return [
    taken > lines ? [`wraps: ${said}`] : [],
    e.scrollWidth > e.clientWidth && e.tabIndex < 0 ? [`not for the keyboard: ${said}`] : [],
  ].flat();
})"""

UNRENDERED_MATHS = """async () => {
  const formulas = [...document.querySelectorAll(".math")];
  if (formulas.length === 0) return [];
  if (!window.MathJax?.startup?.promise) return ["MathJax was not loaded"];
  await MathJax.startup.promise;
  const rendered = (e) => e.querySelector("mjx-container");
  // MathJax writes a command that it does not know in red, and calls that no error.
  const wrong = (e) => e.querySelector('mjx-merror, [data-mjx-error], [style*="color: red"]');
  return formulas.filter((e) => !rendered(e) || wrong(e)).map((e) => e.textContent.slice(0, 80));
}"""

# WCAG 2 contrast of all visible text with what lies behind it: 4.5 to 1, or 3 to 1 for large type.
FAINT_TEXT = """() => {
  const parse = (text) => {
    const n = (text.match(/[-\\d.]+(e-?\\d+)?/g) || []).map(Number);
    const unit = text.startsWith("color(") ? 1 : 255;
    return [n[0] / unit, n[1] / unit, n[2] / unit, n[3] ?? 1];
  };
  const over = (top, below) => [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3]));
  const light = (c) => {
    const [r, g, b] = c.map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const remember = (work) => {
    const known = new Map([[null, work(null)]]);
    return function ask(e) {
      if (!known.has(e)) known.set(e, work(e, ask));
      return known.get(e);
    };
  };
  const ground = remember((e, ask) => {
    if (!e) return [1, 1, 1];
    const colour = parse(getComputedStyle(e).backgroundColor);
    return colour[3] === 1 ? colour.slice(0, 3) : over(colour, ask(e.parentElement));
  });
  const opacity = remember((e, ask) =>
    e ? Number(getComputedStyle(e).opacity) * ask(e.parentElement) : 1);
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const e = node.parentElement;
    if (!node.data.trim() || e.closest("script, style, noscript, template")) continue;
    if (!e.checkVisibility({ opacityProperty: true, visibilityProperty: true })) continue;
    const style = getComputedStyle(e);
    const behind = ground(e);
    const ink = parse(style.color);
    ink[3] *= opacity(e);
    const [a, b] = [light(over(ink, behind)), light(behind)];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    if (contrast < (large ? 3 : 4.5) - 0.01) {
      const text = node.data.trim().slice(0, 50);
      found.push(`${contrast.toFixed(2)} <${e.tagName} ${e.className}> ${text}`);
    }
  }
  return [...new Set(found)];
}"""

# Wait until the theme has followed the system, and no colour is on its way to another.
FOLLOW_THE_SYSTEM = """async (scheme) => {
  do await new Promise(requestAnimationFrame);
  while (document.documentElement.dataset.theme !== scheme);
  document.getAnimations().forEach((animation) => animation.finish());
}"""

BRIGHTNESS = """() => getComputedStyle(document.body).backgroundColor
  .match(/\\d+/g).slice(0, 3).map(Number).reduce((a, b) => a + b) / 3"""


@dataclass
class Seen:
    """What there was to see on one page; from disk, only what may differ there."""

    trouble: Trouble
    unrendered_maths: list[str]
    headings: list[str] = field(default_factory=list)
    pictures_without_words: list[str] = field(default_factory=list)
    too_wide: list[str] = field(default_factory=list)
    broken_output: list[str] = field(default_factory=list)
    faint_text: dict[str, list[str]] = field(default_factory=dict)
    kept_out: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    brightness: dict[str, float] = field(default_factory=dict)


def look(page: Page, trouble: Trouble, url: str) -> Seen:
    """Open `url` and look at it; a page that is served also in the dark and on a phone."""
    page.goto(url, wait_until="load")
    seen = Seen(trouble, page.evaluate(UNRENDERED_MATHS))
    page.wait_for_load_state("networkidle")
    if url.startswith("file:"):
        return seen
    seen.headings = page.evaluate(HEADINGS)
    seen.pictures_without_words = page.evaluate(PICTURES_WITHOUT_WORDS)
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        page.evaluate(FOLLOW_THE_SYSTEM, scheme)
        seen.faint_text[scheme] = page.evaluate(FAINT_TEXT)
        seen.brightness[scheme] = page.evaluate(BRIGHTNESS)
    page.set_viewport_size(PHONE)
    seen.too_wide = page.evaluate(TOO_WIDE)
    if page.locator("div.cell_output pre").count():
        # The theme puts boxes that scroll within the keyboard's reach, some time after a change.
        with contextlib.suppress(TimeoutError):
            page.wait_for_function(f"({BROKEN_OUTPUT})().length === 0")
        seen.broken_output = page.evaluate(BROKEN_OUTPUT)
    page.set_viewport_size(DESK)
    for scheme in SCHEMES:  # the last look, as axe is spared the insides of formulas
        page.emulate_media(color_scheme=scheme)
        page.evaluate(FOLLOW_THE_SYSTEM, scheme)
        settle(page)
        seen.kept_out[scheme] = violations(page)
    return seen


Look = Callable[[str, str], Seen]


@pytest.fixture(scope="session")
def seen(browser: Browser, address: str) -> Look:
    """Return a function (door, page) -> Seen, which opens each page once a door."""

    @functools.cache
    def look_once(door: str, name: str) -> Seen:
        url = f"{address}/{name}" if door == "served" else (SITE / name).as_uri()
        context = browser.new_context(viewport=DESK, reduced_motion="reduce", color_scheme="light")
        try:
            return look(*watch(context, address), url)
        finally:
            context.close()

    return look_once


every_page = pytest.mark.parametrize("name", PAGES)


# --- Every page ----------------------------------------------------------------------------------


@both_doors
@every_page
def test_a_page_asks_no_other_host(seen: Look, door: str, name: str) -> None:
    assert seen(door, name).trouble.other_hosts == []


@both_doors
@every_page
def test_a_page_reports_no_error(seen: Look, door: str, name: str) -> None:
    trouble = seen(door, name).trouble
    assert trouble.errors == []
    assert trouble.missing == []


@every_page
def test_every_picture_says_in_words_what_it_shows(seen: Look, name: str) -> None:
    assert seen("served", name).pictures_without_words == []


@every_page
def test_a_page_has_one_main_heading(seen: Look, name: str) -> None:
    assert len(seen("served", name).headings) == 1, seen("served", name).headings


@both_doors
@every_page
def test_formulas_are_rendered(seen: Look, door: str, name: str) -> None:
    assert seen(door, name).unrendered_maths == []


@every_page
def test_a_page_fits_a_phone(seen: Look, name: str) -> None:
    assert seen("served", name).too_wide == []


@every_page
def test_printed_tables_keep_their_columns_on_a_phone(seen: Look, name: str) -> None:
    assert seen("served", name).broken_output == []


@every_page
def test_a_page_is_light_by_day_and_dark_by_night(seen: Look, name: str) -> None:
    brightness = seen("served", name).brightness
    assert brightness["light"] > 200
    assert brightness["dark"] < 60


@pytest.mark.parametrize("scheme", SCHEMES)
@every_page
def test_text_stands_out_from_its_ground(seen: Look, name: str, scheme: str) -> None:
    assert seen("served", name).faint_text[scheme] == []


@pytest.mark.parametrize("scheme", SCHEMES)
@every_page
def test_axe_finds_nothing_that_keeps_readers_out(seen: Look, name: str, scheme: str) -> None:
    assert seen("served", name).kept_out[scheme] == {}


@every_page
def test_the_first_text_waits_for_no_script(browser: Browser, address: str, name: str) -> None:
    """Every script is held at the gate, and the page is painted in the reader's colours."""
    with browser.new_context(viewport=DESK, color_scheme="dark") as context:
        page = context.new_page()
        page.route("**/*.js*", lambda route: None)
        page.goto(f"{address}/{name}", wait_until="commit")
        page.get_by_role("heading", level=1).first.wait_for()
        page.wait_for_function("performance.getEntriesByName('first-contentful-paint').length")
        assert page.evaluate(BRIGHTNESS) < 60


@every_page
def test_a_page_weighs_less_than_a_megabyte(site: Path, name: str) -> None:
    assert (site / name).stat().st_size < 1_000_000


# --- The site as a whole -------------------------------------------------------------------------


def test_some_page_has_formulas(site: Path) -> None:
    """Otherwise the test of formulas above would test nothing."""
    assert any('class="math' in (site / name).read_text(encoding="utf-8") for name in PAGES)


@both_doors
def test_the_first_address_leads_home(browser: Browser, address: str, door: str) -> None:
    with browser.new_context() as context:
        page, trouble = watch(context, address)
        page.goto(f"{address}/" if door == "served" else (SITE / "index.html").as_uri())
        page.wait_for_url("**/book/index.html")
        page.get_by_role("heading", level=1).first.wait_for()
        page.wait_for_load_state("networkidle")
    assert trouble.other_hosts == []


@both_doors
def test_search_finds_a_word(browser: Browser, address: str, door: str) -> None:
    with browser.new_context(viewport=DESK) as context:
        page, trouble = watch(context, address)
        home = "book/index.html"
        page.goto(f"{address}/{home}" if door == "served" else (SITE / home).as_uri())
        page.locator(
            "button.search-button-field:visible, button.search-button:visible"
        ).first.click()
        page.locator("input[type=search]:visible").fill("augmentation")
        page.keyboard.press("Enter")
        done = page.locator("#search-results .search-summary", has_text="Search finished")
        done.wait_for(state="attached")  # results come one after the other
        titles = page.locator("#search-results li a").all_text_contents()
        page.wait_for_load_state("networkidle")
    assert any("Glossary" in title for title in titles), titles
    assert trouble == Trouble()


# --- What answers the reader without a kernel ----------------------------------------------------

CHAPTER = "notebooks/ch03_derive_backpropagation.html"


def shown(frames: Locator) -> list[str]:
    """The labels of the pictures that are to be seen."""
    return frames.locator("img:visible").evaluate_all("all => all.map((e) => e.dataset.label)")


@both_doors
def test_a_slider_steps_through_frames(browser: Browser, address: str, door: str) -> None:
    with opened(browser, address, door, CHAPTER) as (page, _):
        frames = page.locator(".frames").first
        slider = frames.get_by_role("slider")
        before = shown(frames)
        assert before == [frames.locator("output").text_content()]
        slider.focus()
        page.keyboard.press("ArrowRight")
        after = shown(frames)
        assert len(after) == 1
        assert after != before
        assert after == [frames.locator("output").text_content()]
        assert slider.get_attribute("aria-valuetext") == after[0]
        box = slider.bounding_box()
        assert box
        page.mouse.click(box["x"] + 2, box["y"] + box["height"] / 2)
        assert shown(frames) == [frames.locator("img").first.get_attribute("data-label")]


@both_doors
def test_an_animation_plays_when_asked_and_stops(browser: Browser, address: str, door: str) -> None:
    with browser.new_context(viewport=DESK) as context:
        page, trouble = watch(context, address)
        page.clock.install(time="2030-01-01T00:00")
        page.goto(f"{address}/{CHAPTER}" if door == "served" else (SITE / CHAPTER).as_uri())
        page.clock.pause_at("2030-01-01T01:00")  # long after it was loaded; from here on by hand
        frames = page.locator(".frames:has(button)").first
        slider, button = frames.get_by_role("slider"), frames.get_by_role("button")
        at_rest = slider.input_value()
        page.clock.run_for(3_000)
        assert slider.input_value() == at_rest  # nothing moves by itself
        slider.fill("0")
        button.click()
        page.clock.run_for(1_500)
        assert slider.input_value() == "2"
        assert button.text_content() == "Pause"
        button.click()
        paused = slider.input_value()
        page.clock.run_for(3_000)
        assert (slider.input_value(), button.text_content()) == (paused, "Play")
        slider.fill(slider.get_attribute("max") or "")
        button.click()  # at the end it begins again
        assert slider.input_value() == "0"
    assert trouble == Trouble(), trouble


def test_who_wants_less_motion_gets_a_slider_only(browser: Browser, address: str) -> None:
    with opened(browser, address, "served", CHAPTER, reduced_motion="reduce") as (page, _):
        frames = page.locator(".frames:has(button)").first
        assert frames.get_by_role("slider").is_visible()
        assert not frames.locator("button").is_visible()


@both_doors
def test_a_quiz_answers_at_once(browser: Browser, address: str, door: str) -> None:
    with opened(browser, address, door, CHAPTER) as (page, _):
        question = page.locator(".Quiz").first
        question.scroll_into_view_if_needed()
        wrong = question.locator(".MCButton", has_text="Anything, if the layers are wide enough")
        wrong.click()
        assert "a product of matrices is a matrix" in (question.text_content() or "")
        question.locator(".MCButton", has_text="Nothing that a single linear layer cannot").click()
        assert "multiply out to one matrix" in (question.text_content() or "")


def test_a_quiz_puts_up_with_formulas_that_come_late(browser: Browser, address: str) -> None:
    with browser.new_context(viewport=DESK) as context:
        page, trouble = watch(context, address)
        page.clock.install()
        held: list[Route] = []
        page.route("**/mathjax/tex-mml-chtml.js*", lambda route: held.append(route))
        page.goto(f"{address}/{CHAPTER}", wait_until="commit")
        page.locator(".Quiz .MCButton").first.wait_for()
        page.clock.run_for(2_000)  # the quiz has its formulas set a moment after it is shown
        assert len(held) == 1
        held[0].continue_()
        page.locator("mjx-container").first.wait_for()
    assert trouble == Trouble(), trouble


def test_a_solution_is_folded_until_it_is_asked_for(browser: Browser, address: str) -> None:
    with opened(browser, address, "served", CHAPTER) as (page, _):
        solution = page.locator("details", has_text="relu_backward").first
        code = solution.locator("pre").first
        assert not code.is_visible()
        solution.locator("summary").click()
        assert code.is_visible()


class Links(HTMLParser):
    """Collects where a page points to, what it loads, and which places of it can be pointed to."""

    LOADS = frozenset({"script", "img", "iframe", "source", "audio", "video", "embed", "object"})

    def __init__(self) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.loads: list[str] = []
        self.places: set[str] = set()
        self.in_a_link = False
        self.links_in_links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "a":
            if self.in_a_link:
                self.links_in_links.append(values.get("href", ""))
            self.in_a_link = True
        self.places.update(values[key] for key in ("id", "name") if values.get(key))
        for key in ("href", "src", "data"):
            if key not in values or (key == "data" and tag != "object"):
                continue
            self.targets.append(values[key])
            if tag in self.LOADS or (tag == "link" and values.get("rel") not in PASSIVE_LINKS):
                self.loads.append(values[key])

    def handle_endtag(self, tag: str) -> None:
        if tag == "a":
            self.in_a_link = False


PASSIVE_LINKS = frozenset({"canonical", "next", "prev", "search", "index", "author", "alternate"})


@pytest.fixture(scope="session")
def links(site: Path) -> dict[str, Links]:
    """Read every page once: path below the site -> its links."""
    read = {}
    for name in [*PAGES, "index.html"]:
        read[name] = Links()
        read[name].feed((site / name).read_text(encoding="utf-8"))
    return read


def what_is_broken(site: Path, links: dict[str, Links], name: str, target: str) -> str:
    """Say why `target`, on page `name`, leads nowhere; an empty string if it leads somewhere."""
    parts = urlsplit(target)
    if parts.scheme or parts.netloc:
        return ""
    path = (site / name).parent / unquote(parts.path) if parts.path else site / name
    path = path.resolve()
    if parts.path.startswith("/"):
        return "starts at the root of the host, which is somewhere else from disk"
    if not path.is_relative_to(site.resolve()) or not path.is_file():
        return "there is no such file"
    aimed = links.get(path.relative_to(site.resolve()).as_posix())
    if parts.fragment and aimed and unquote(parts.fragment) not in aimed.places:
        return "there is no such place on that page"
    return ""


@every_page
def test_every_link_inside_the_site_leads_somewhere(
    site: Path, links: dict[str, Links], name: str
) -> None:
    answers = {target: what_is_broken(site, links, name, target) for target in links[name].targets}
    assert {target: answer for target, answer in answers.items() if answer} == {}


@every_page
def test_no_link_lies_in_a_link(links: dict[str, Links], name: str) -> None:
    """A browser ends the outer one before the inner, and a link without words is left."""
    assert links[name].links_in_links == []


@every_page
def test_a_page_loads_only_its_own_files(links: dict[str, Links], name: str) -> None:
    """Also what a browser loads only now and then: the gate above sees one visit."""
    assert [url for url in links[name].loads if urlsplit(url).scheme in ("http", "https")] == []
