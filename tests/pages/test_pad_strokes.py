"""Strokes that a pad is given are what it reads and gives back; a hand's are smoothed, once."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page

from mnist_lab.handwriting.strokes import draw_strokes
from tests.drawn_digits import DIGITS, drawings
from tests.pages.pads import FRAMES
from tests.pages.workbench import call, workbench

pytestmark = pytest.mark.site

SEVEN = [[[0.3, 0.2], [0.7, 0.2], [0.4, 0.9]]]
MOST_POINTS = 4_000

# A pad, and hands for it: a pointer that goes through the points of strokes and through no others.
PAD = """() => {
  const pad = document.createElement("digit-pad");
  document.querySelector("main").replaceChildren(pad);
  const canvas = pad.shadowRoot.querySelector(".sheet");
  const move = (kind, [x, y]) => {
    const box = canvas.getBoundingClientRect();
    canvas.dispatchEvent(new PointerEvent(kind, { pointerId: 1,
      clientX: box.left + x * box.width, clientY: box.top + y * box.height }));
  };
  const buttons = () => [...pad.shadowRoot.querySelectorAll("button")];
  window.tried = {
    pad, move,
    draw(strokes) {
      for (const stroke of strokes) {
        move("pointerdown", stroke[0]);
        for (const point of stroke.slice(1)) move("pointermove", point);
        move("pointerup", stroke.at(-1));
      }
    },
    press(name) {
      buttons().find((one) => one.textContent === name).click();
    },
    said: () => pad.panel.warning.textContent,
  };
}"""


@pytest.fixture
def page(browser: Browser) -> Any:
    with workbench(browser) as page:
        page.evaluate(PAD)
        yield page


def as_lists(strokes: Any) -> Any:
    return [[list(point) for point in stroke] for stroke in strokes]


def given() -> list[Any]:
    """Strokes of all kinds: digits, corners alone, dots, none, far outside, of many points."""
    digits = [as_lists(strokes) for _, _, strokes in drawings()]
    long = [[[0.5 + 0.4 * np.cos(k / 50), 0.5 + 0.4 * np.sin(k / 50)] for k in range(MOST_POINTS)]]
    return [
        *digits, SEVEN, [[[0.2, 0.2], [0.8, 0.8]]], [[[0, 0], [1, 1]], [[0.5, 0.5]]],
        [[]], [[], *digits[0]], [[[99.5, -99.5], [-3, 2]]],
        [[[1 / 3, 0.1], [1 / 3, 0.1], [0.1, 2 / 3]]], long,
    ]  # fmt: skip


def test_given_strokes_come_back_and_are_read_as_they_are(page: Page) -> None:
    """The image is Python's, and setting what is there already changes nothing."""
    strokes = given()
    found = page.evaluate(
        """(all) => all.map((strokes) => {
          const { pad } = tried;
          pad.strokes = strokes;
          const { past } = pad.panel.pad;
          const [length, image] = [past.length, pad.image && [...pad.image]];
          for (let time = 0; time < 6; time += 1) pad.strokes = pad.strokes;
          const same = String(pad.image && [...pad.image]) === String(image);
          return { back: pad.strokes, image, same: same && past.length === length };
        })""",
        strokes,
    )
    for one, drawn in zip(found, strokes, strict=True):
        assert one["back"] == drawn
        assert one["same"]
        points = np.array([point for stroke in drawn for point in stroke]).reshape(-1, 2)
        if one["image"] is None:
            assert len(points) < 2
            continue
        difference = np.abs(np.array(one["image"]) - draw_strokes(drawn).ravel().astype(int))
        assert difference.max() <= 2  # half a grey value may be rounded either way


def test_undo_eraser_and_clear_after_strokes_were_given(page: Page) -> None:
    page.evaluate("tried.pad.strokes = [[[0.1, 0.5], [0.9, 0.5]]]")
    page.evaluate("(seven) => { tried.pad.strokes = seven; }", SEVEN)
    page.evaluate("tried.press('Undo')")
    assert page.evaluate("tried.pad.strokes") == [[[0.1, 0.5], [0.9, 0.5]]]
    page.evaluate("tried.press('Eraser'); tried.draw([[[0.5, 0.5]]])")
    left, right = page.evaluate("tried.pad.strokes")
    assert (left[0], right[-1]) == ([0.1, 0.5], [0.9, 0.5])
    page.evaluate("tried.press('Clear')")
    assert page.evaluate("tried.pad.strokes") == []
    page.evaluate("tried.press('Undo'); tried.press('Undo')")
    assert page.evaluate("tried.pad.strokes") == [[[0.1, 0.5], [0.9, 0.5]]]
    page.evaluate("tried.press('Undo')")
    assert page.evaluate("[tried.pad.strokes, tried.pad.panel.pad.canUndo]") == [[], False]


# --- What a hand draws ---------------------------------------------------------------------------


def dense(stroke: Any, count: int) -> Any:
    """The same line with points put between its own: `count` for each of its parts."""
    return [
        [x0 + (x1 - x0) * k / count, y0 + (y1 - y0) * k / count]
        for (x0, y0), (x1, y1) in pairwise(stroke)
        for k in range(count)
    ] + [list(stroke[-1])]


def test_a_mouse_that_reports_three_points_of_a_seven_draws_a_seven(page: Page) -> None:
    page.evaluate("(seven) => tried.draw(seven)", SEVEN)
    [drawn] = page.evaluate("tried.pad.strokes")
    assert (drawn[0], drawn[-1]) == (pytest.approx(SEVEN[0][0]), pytest.approx(SEVEN[0][-1]))
    assert 0.001 < np.hypot(*np.subtract(drawn[1], SEVEN[0][1])) < 0.02
    page.evaluate(
        "(seven) => { tried.pad.strokes = []; tried.draw(seven); }", [dense(SEVEN[0], 60)]
    )
    [many] = page.evaluate("tried.pad.strokes")
    nearest = np.hypot(*(np.array(many) - drawn[1]).T).min()
    assert nearest < 0.01  # the corner lies where three points have it


@pytest.mark.parametrize("count", [2, 7, 40])
def test_how_many_points_report_a_line_makes_no_difference(bench: Page, count: int) -> None:
    """A point that was reported before lies at the same place when others are put between."""
    for strokes in DIGITS.values():
        for stroke in strokes:
            line = [list(point) for point in stroke]
            few = call(bench, "pad.smooth", line)
            many = call(bench, "pad.smooth", dense(line, count))
            assert np.allclose(few, many[::count], atol=1e-9)


def test_a_stroke_of_200_points_is_as_smooth_as_its_neighbours_would_make_it(bench: Page) -> None:
    """At the distance that a hand's points usually have it is like [1, 2, 1] / 4, twice."""
    angles = np.linspace(0, 5, 200)
    draw = np.random.default_rng(0)
    arc = 0.5 + 0.3 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    unsteady = arc + draw.normal(0, 0.002, arc.shape)
    expected = unsteady.copy()
    for _ in range(2):
        inner = (expected[:-2] + 2 * expected[1:-1] + expected[2:]) / 4
        expected = np.concatenate([expected[:1], inner, expected[-1:]])
    found = np.array(call(bench, "pad.smooth", unsteady.tolist()))
    assert np.abs(found - expected).max() < 0.004  # of the sheet: a tenth of the pen

    def shakes(points: np.ndarray) -> float:
        """How much the line bends to and fro across the arc."""
        return float(np.diff(np.hypot(*(points - 0.5).T), n=2).std())

    assert shakes(found) < 1.5 * shakes(expected) < 0.2 * shakes(unsteady)


def test_the_eraser_moves_nothing_that_it_leaves(page: Page) -> None:
    """What was smoothed when it was drawn is not smoothed once more."""
    page.evaluate("(strokes) => tried.draw(strokes)", DIGITS[3])
    page.evaluate("tried.press('Eraser')")
    [before] = page.evaluate("tried.pad.strokes")
    for place in (before[0], before[-1]):
        page.evaluate("(place) => tried.draw([[place]])", place)
    [after] = page.evaluate("tried.pad.strokes")
    start = next(k for k, point in enumerate(before) if point in after)
    kept = [point for point in before if point in after]
    assert len(kept) > 5
    assert kept == before[start : start + len(kept)]
    line = np.array(dense(before, 200))
    for point in after:  # also where a line was cut between two points
        assert np.hypot(*(line - point).T).min() < 1e-3


def test_a_stroke_stays_as_it_looked_when_it_ended(page: Page) -> None:
    """Other sizes, other tools, keys and further strokes leave it alone."""
    page.evaluate("(strokes) => tried.draw(strokes)", DIGITS[2])
    before = page.evaluate("tried.pad.strokes")
    page.evaluate("tried.pad.style.width = '200px'")
    page.evaluate(FRAMES)
    page.evaluate("tried.press('Eraser'); tried.press('Eraser')")
    page.evaluate("tried.draw([[[0.1, 0.1], [0.1, 0.2], [0.15, 0.3]]])")
    assert page.evaluate("tried.pad.strokes")[: len(before)] == before
    page.evaluate("tried.press('Undo')")
    assert page.evaluate("tried.pad.strokes") == before


def test_a_stroke_of_the_keys_is_kept_when_a_pointer_comes(page: Page) -> None:
    keys = "(key) => new KeyboardEvent('keydown', { key })"
    page.evaluate(
        f"""() => {{
          const key = {keys};
          const canvas = tried.pad.shadowRoot.querySelector(".sheet");
          for (const name of [" ", "ArrowLeft", "ArrowLeft"]) canvas.dispatchEvent(key(name));
          tried.draw([[[0.8, 0.2], [0.8, 0.8]]]);
        }}"""
    )
    assert [len(stroke) for stroke in page.evaluate("tried.pad.strokes")] == [3, 2]


# --- Floods, and what is no stroke ---------------------------------------------------------------


def test_a_flood_of_points_is_cut_and_that_is_said(page: Page) -> None:
    sentence = "The sheet is full: it keeps the first 4,000 points."
    counts = page.evaluate(
        """() => {
          const wave = (count) => Array.from({ length: count },
            (_, k) => [0.5 + 0.4 * Math.cos(k / 99), 0.5 + 0.4 * Math.sin(k / 70)]);
          const count = () => tried.pad.strokes.flat().length;
          const found = [];
          for (const strokes of [[wave(200_000)], wave(200_000).map((point) => [point])]) {
            tried.pad.strokes = strokes;
            found.push([count(), tried.said(), Boolean(tried.pad.result)]);
            tried.draw([[[0.1, 0.1], [0.2, 0.2]]]); // nothing can be added
            found.push([count(), tried.said(), Boolean(tried.pad.result)]);
          }
          tried.press("Undo");
          found.push([count(), tried.said(), Boolean(tried.pad.result)]);
          tried.pad.strokes = [];
          tried.draw([wave(6_000)]); // by hand
          found.push([count(), tried.said(), Boolean(tried.pad.result)]);
          tried.press("Eraser");
          tried.draw([[[0.9, 0.5], [0.1, 0.5]]]); // and the eraser makes no more of them
          found.push([count() <= 4_000]);
          tried.press("Clear");
          found.push([count(), tried.said()]);
          return found;
        }"""
    )
    assert counts == [*[[MOST_POINTS, sentence, True]] * 6, [True], [0, ""]]


@pytest.mark.parametrize(
    "strokes",
    [
        "3", "null", "undefined", "'abc'", "{}", "[3]", "[[1, 2]]", "[[[1]]]", "[[[1, 2, 3]]]",
        "[[['0.1', '0.2']]]", "[['12']]", "[[[NaN, 0]]]", "[[[0, Infinity]]]", "[[[101, 0]]]",
        "[[[null, 0]]]", "[[[[1, 2], [3, 4]]]]", "[[{ x: 1, y: 2 }]]", "[null]", "[[null]]",
        "Array.from({ length: 200_000 }, () => [NaN])",
    ],
)  # fmt: skip
def test_what_is_no_stroke_is_refused_and_changes_nothing(page: Page, strokes: str) -> None:
    page.evaluate("(seven) => { tried.pad.strokes = seven; }", SEVEN)
    said = page.evaluate(
        f"""() => {{
          try {{
            tried.pad.strokes = {strokes};
          }} catch (error) {{
            return error.message;
          }}
          return "it was taken";
        }}"""
    )
    assert re.fullmatch(r"Strokes are lists of points \[x, y\][^\n]{10,100}\.", said)
    assert page.evaluate("tried.pad.strokes") == SEVEN
    page.evaluate("(strokes) => tried.draw(strokes)", DIGITS[1])  # and it is alive
    assert len(page.evaluate("tried.pad.strokes")) == 1 + len(DIGITS[1])


# --- In a notebook -------------------------------------------------------------------------------

# The model of a widget that stands between Python and its views: it counts what the views send.
VIEWS = """(count) => {
  const state = { strokes: [], probabilities: [], class_names: ["a", "b"], reads: true, said: "" };
  const heard = {};
  const sent = [];
  const put = (name, value) => {
    if (JSON.stringify(value) === JSON.stringify(state[name])) return;
    state[name] = value;
    heard[`change:${name}`]?.forEach((act) => act());
  };
  const model = {
    get: (name) => state[name],
    set: put,
    save_changes: () => sent.push(JSON.parse(JSON.stringify(state.strokes))),
    on: (name, act) => (heard[name] ??= []).push(act),
    off: () => {},
  };
  document.querySelector("main").replaceChildren();
  const canvases = Array.from({ length: count }, () => {
    const el = document.createElement("section");
    document.querySelector("main").append(el);
    modules.notebook.render({ model, el });
    return el.firstChild.shadowRoot;
  });
  const move = (view, kind, [x, y]) => {
    const canvas = canvases[view].querySelector(".sheet");
    const box = canvas.getBoundingClientRect();
    canvas.dispatchEvent(new PointerEvent(kind, { pointerId: 1,
      clientX: box.left + x * box.width, clientY: box.top + y * box.height }));
  };
  window.tried = {
    put, state, sent, move,
    draw(view, strokes) {
      for (const stroke of strokes) {
        move(view, "pointerdown", stroke[0]);
        for (const point of stroke.slice(1)) move(view, "pointermove", point);
        move(view, "pointerup", stroke.at(-1));
      }
    },
    press(view, name) {
      const buttons = [...canvases[view].querySelectorAll("button")];
      buttons.find((one) => one.textContent === name).click();
    },
    /** The little image of each view, as what it shows. */
    shown: () => canvases.map((root) => {
      const canvas = root.querySelector("canvas.image");
      const { data } = canvas.getContext("2d").getImageData(0, 0, 28, 28);
      return [...data].filter((_, k) => k % 4 === 3);
    }),
    text: (view, name) => canvases[view].querySelector(name).textContent,
    warned: (view) => canvases[view].querySelector(".left .said").textContent,
  };
}"""
PAUSE = "() => new Promise((done) => setTimeout(done, 200))"  # longer than a view waits to send


@pytest.mark.parametrize("views", [1, 2, 3])
def test_what_python_sets_is_shown_as_it_is_and_not_sent_back(browser: Browser, views: int) -> None:
    with workbench(browser) as page:
        page.evaluate(VIEWS, views)
        drawn: tuple[Any, ...] = (SEVEN, DIGITS[2], [[]], [[[0.5, 0.5]]], [], SEVEN)
        for strokes in drawn:
            page.evaluate("(strokes) => tried.put('strokes', strokes)", strokes)
            page.evaluate(PAUSE)
            assert page.evaluate("tried.sent") == []
            assert page.evaluate("tried.state.strokes") == as_lists(strokes)
        expected = draw_strokes(SEVEN).ravel().astype(int)
        for image in page.evaluate("tried.shown()"):
            assert np.abs(np.array(image) - expected).max() <= 2


def test_two_views_of_a_pad_agree_and_only_the_hand_sends(browser: Browser) -> None:
    with workbench(browser) as page:
        page.evaluate(VIEWS, 2)
        page.evaluate("(seven) => tried.put('strokes', seven)", SEVEN)
        page.evaluate("tried.draw(1, [[[0.2, 0.5], [0.6, 0.5]]])")
        page.evaluate(PAUSE)
        [sent] = page.evaluate("tried.sent")
        assert sent[0] == SEVEN[0]
        assert np.allclose(sent[1], [[0.2, 0.5], [0.6, 0.5]])
        one, other = page.evaluate("tried.shown()")
        assert one == other
        page.evaluate("tried.press(0, 'Undo')")  # in the other view
        page.evaluate(PAUSE)
        assert page.evaluate("tried.sent.length") == 2
        assert page.evaluate("tried.state.strokes") == SEVEN
        page.evaluate("tried.press(1, 'Clear')")
        assert page.evaluate("[tried.state.strokes, tried.sent.length]") == [[], 3]
        one, other = page.evaluate("tried.shown()")
        assert one == other == [0] * 784


def test_what_python_sets_while_a_hand_draws_stays(browser: Browser) -> None:
    """The half of a stroke that waited to be sent is not sent in its place."""
    with workbench(browser) as page:
        page.evaluate(VIEWS, 1)
        page.evaluate(
            """(seven) => {
              tried.move(0, "pointerdown", [0.1, 0.1]);
              tried.move(0, "pointermove", [0.9, 0.1]);
              return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => {
                tried.put("strokes", seven);
                tried.move(0, "pointermove", [0.9, 0.9]);
                tried.move(0, "pointerup", [0.9, 0.9]);
                done();
              })));
            }""",
            SEVEN,
        )
        page.evaluate(PAUSE)
        assert page.evaluate("[tried.state.strokes, tried.sent]") == [SEVEN, []]


def test_a_view_bears_whatever_its_model_holds(browser: Browser) -> None:
    """Numbers that are none, too few names, strokes that are none, and a reason why not."""
    nothing = "Nothing can be read: the answer is not one finite probability for each class."
    with workbench(browser) as page:
        page.evaluate(VIEWS, 1)
        page.evaluate("(seven) => tried.put('strokes', seven)", SEVEN)
        for probabilities in ([0.1, 0.2, 0.7], [1.0], [0.5, None]):
            page.evaluate("(values) => tried.put('probabilities', values)", probabilities)
            assert page.evaluate("tried.text(0, '.status')") == nothing
            assert page.evaluate("tried.text(0, '.answer')") == "?"
            assert "NaN" not in page.evaluate("tried.text(0, '.bars')")
        page.evaluate("tried.put('probabilities', [NaN, 1])")
        assert page.evaluate("tried.text(0, '.status')") == nothing
        page.evaluate("tried.put('probabilities', [0.1, 0.9])")
        assert page.evaluate("tried.text(0, '.status')") == "I read b (90 %)."
        page.evaluate("tried.put('said', 'It cannot.'); tried.put('probabilities', [])")
        assert page.evaluate("tried.text(0, '.status')") == "It cannot."
        page.evaluate("tried.put('strokes', [[[NaN, 0]]])")
        assert page.evaluate("tried.warned(0)").startswith("Strokes are lists of points")
        page.evaluate("tried.draw(0, [[[0.2, 0.5], [0.6, 0.5]]])")
        assert page.evaluate("tried.state.strokes[0]") == SEVEN[0]  # the drawing is still there
        assert page.evaluate("tried.warned(0)") == ""
