"""The pad's modules by themselves: they agree with Python, and bear whatever scribble they get."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from playwright.sync_api import Browser, Page

from mnist_lab.data.normalisation import Normalisation
from mnist_lab.export import pack_web, web_bytes
from mnist_lab.few_bits import quantise_network
from mnist_lab.handwriting.strokes import draw_strokes
from mnist_lab.training.cards import ModelCard
from tests.drawn_digits import Stroke, drawings
from tests.pages.pads import FRAMES
from tests.pages.workbench import call, network, read_there, through_the_door, workbench

pytestmark = pytest.mark.site


def scribbles(count: int) -> list[list[Stroke]]:
    draw = np.random.default_rng(0)
    return [
        [draw.normal(0.5, 0.2, (draw.integers(1, 25), 2)).tolist() for _ in range(strokes)]
        for strokes in draw.integers(1, 4, count)
    ]


def test_javascript_and_python_make_the_same_image(bench: Page) -> None:
    fixed = [strokes for _, _, strokes in drawings()] + scribbles(60)
    fixed += [[[(0.5, 0.5)]], [[(0.1, 0.5), (0.9, 0.5)]], [[(0.2, 0.1), (0.2, 0.9)]]]
    found = bench.evaluate(
        "all => all.map((strokes) => [...modules.preprocess.drawStrokes(strokes)])", fixed
    )
    assert bench.evaluate("modules.preprocess.drawStrokes([[]])") is None
    expected = np.stack([draw_strokes(strokes) for strokes in fixed]).astype(int)
    difference = np.abs(np.array(found).reshape(-1, 28, 28) - expected)
    assert difference.mean((1, 2)).max() < 0.1  # of 255; 2 are allowed
    assert difference.max() <= 2


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("small_cnn", {}),
        ("small_cnn", {"width": 3}),
        ("small_cnn", {"width": 24, "classes": 5}),
        ("quick_cnn", {}),
        ("quick_cnn", {"width": 3, "classes": 4}),
        ("linear", {}),
        ("mlp", {"hidden": 30}),
    ],
)
def test_javascript_and_python_give_the_same_logits(
    bench: Page, name: str, arguments: dict[str, Any]
) -> None:
    arguments = dict(arguments)
    names = tuple("abcdefghij"[: arguments.get("classes", 10)])
    model, card = network(name, Normalisation(0.2, 0.35), **arguments)
    card = ModelCard(name, arguments, card.normalisation, class_names=names)
    images = np.stack([draw_strokes(strokes) for _, _, strokes in drawings()])
    found = read_there(bench, web_bytes(model, card), images)
    with torch.no_grad():
        expected = model(card.normalisation(torch.from_numpy(images)[:, None])).numpy()
    assert found.shape == expected.shape
    assert expected.std() > 0.3  # otherwise the next line says nothing
    assert np.abs(found - expected).max() < 1e-4


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize(("name", "arguments"), [("small_cnn", {}), ("mlp", {"hidden": 30})])
def test_weights_in_few_bits_are_the_same_in_both(
    bench: Page, name: str, arguments: dict[str, Any], bits: int
) -> None:
    model, card = network(name, Normalisation(0.2, 0.35), **arguments)
    images = np.stack([draw_strokes(strokes) for _, _, strokes in drawings()])
    content = web_bytes(model, card, bits=bits)
    assert len(content) < len(web_bytes(model, card)) * (bits + 2) / 32
    found = read_there(bench, content, images)
    with torch.no_grad():
        pixels = card.normalisation(torch.from_numpy(images)[:, None])
        whole, expected = (net(pixels).numpy() for net in (model, quantise_network(model, bits)))
    assert np.abs(found - expected).max() < 1e-4
    assert np.abs(found - whole).max() > 1e-3  # something was rounded


# --- Model files ---------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [None, 4])
def test_a_compressed_model_goes_through_the_door(bench: Page, bits: int | None) -> None:
    content = web_bytes(*network("quick_cnn", width=3), bits=bits)
    said, used = through_the_door(bench, pack_web(content))
    assert said.startswith("Your model reads now")
    assert used == content


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (pack_web(bytes(50_000_000)), "larger than 2 MB"),  # 50 kB that unpack to 50 MB
        (pack_web(b"Dear diary"), "no safetensors file"),
        (pack_web(b""), "too short"),
        (pack_web(bytes(range(256)) * 9)[:-9], "cannot be unpacked"),
        (b"\x1f\x8b" + bytes(50), "cannot be unpacked"),
        (b"\x1f\x8b", "cannot be unpacked"),
    ],
    ids=["bomb", "text", "empty", "cut", "no gzip", "two bytes"],
)
def test_what_does_not_unpack_to_a_model_changes_nothing(
    bench: Page, content: bytes, says: str
) -> None:
    said, used = through_the_door(bench, content)
    assert says in said
    assert said.endswith("goes on reading.")
    assert used == b""


# --- Strokes -------------------------------------------------------------------------------------


def test_the_corners_that_a_hand_does_not_mean_are_rounded(bench: Page) -> None:
    """Each point is the mean of the line, 0.02 of the sheet to both sides; the ends stay."""
    points = np.random.default_rng(0).random((7, 3))  # x, y, pressure
    steps = np.hypot(*np.diff(points[:, :2], axis=0).T)
    places = np.concatenate([[0], np.cumsum(steps)])
    expected = points.copy()
    for k in range(1, 6):
        along = places[k] + np.linspace(-0.02, 0.02, 10_001)
        for axis in range(3):
            expected[k, axis] = np.interp(along, places, points[:, axis]).mean()
    smooth = np.array(call(bench, "pad.smooth", points.tolist()))
    assert np.allclose(smooth, expected, atol=1e-5)
    assert 0.003 < np.abs(smooth - points)[:, :2].max() < 0.02
    for short in ([], [[0.1, 0.2, 1]], [[0.1, 0.2, 1], [0.9, 0.8, 1]], [[0.1, 0.2, 1]] * 4):
        assert call(bench, "pad.smooth", short) == short


def test_points_between_two_are_close_and_end_at_the_second(bench: Page) -> None:
    points = call(bench, "pad.between", [0, 0, 0.5], [0.3, 0.4, 1], 0.11)
    assert len(points) == 5
    assert np.allclose(points, [[0.06 * k, 0.08 * k, 0.5 + 0.1 * k] for k in range(1, 6)])
    assert call(bench, "pad.between", [0.2, 0.2], [0.2, 0.2], 0.1) == [[0.2, 0.2]]


def test_the_eraser_takes_what_lies_under_it(bench: Page) -> None:
    level = [[0.1, 0.5], [0.9, 0.5]]  # a quick hand: two points, far apart
    other = [[0.1, 0.1], [0.2, 0.1]]
    left, right, untouched = call(bench, "pad.erase", [level, other], [0.5, 0.5], 0.06)
    assert untouched == other
    assert (left[0], right[-1]) == (level[0], level[1])
    assert 0.425 < max(x for x, _ in left) < 0.44  # a quarter of the radius is the finest cut
    assert 0.56 < min(x for x, _ in right) < 0.575
    assert call(bench, "pad.erase", [[[0.5, 0.5]]], [0.52, 0.5], 0.05) == []
    assert call(bench, "pad.erase", [level], [0.5, 0.56], 0.05) == [level]


# --- Any order of events -------------------------------------------------------------------------


def test_500_scribbles_in_any_order_of_events_raise_no_error(browser: Browser) -> None:
    with workbench(browser) as page:
        outcome = page.evaluate(
            """async () => {
              let state = 12345; // a generator of its own, so that a failure can be repeated
              const draw = () => (state = (state * 48271) % 2147483647) / 2147483647;
              const pick = (list) => list[Math.floor(draw() * list.length)];
              const pad = document.createElement("digit-pad");
              document.querySelector("main").append(pad);
              const canvas = pad.shadowRoot.querySelector(".sheet");
              const kinds = ["pointerdown", "pointermove", "pointermove", "pointermove",
                "pointermove", "pointerup", "pointercancel", "lostpointercapture"];
              const keys = ["ArrowLeft", "ArrowDown", "PageUp", " ", "Enter", "u", "c", "e", "z",
                "Delete", "Escape", "x", "Tab"];
              let read = 0;
              pad.addEventListener("read", (event) => { if (event.detail) read += 1; });
              for (let scribble = 0; scribble < 500; scribble += 1) {
                pad.style.width = `${pick([1, 50, 200, 390, 900])}px`;
                pad.style.display = draw() < 0.02 ? "none" : "block";
                for (let k = 0; k < 12; k += 1) {
                  const where = () => pick([draw() * 400, draw() * 400, -50, 1e6, 0]);
                  if (draw() < 0.8) {
                    canvas.dispatchEvent(new PointerEvent(pick(kinds), {
                      clientX: where(), clientY: where(), pointerId: pick([1, 2]),
                      pointerType: pick(["mouse", "pen", "touch"]), pressure: draw(),
                      bubbles: true, cancelable: true,
                    }));
                  } else {
                    canvas.dispatchEvent(new KeyboardEvent(pick(["keydown", "keyup"]), {
                      key: pick(keys), shiftKey: draw() < 0.3, ctrlKey: draw() < 0.2, bubbles: true,
                      cancelable: true,
                    }));
                  }
                }
                if (draw() < 0.1) pad.shadowRoot.querySelector("button").click();
                if (draw() < 0.1) canvas.dispatchEvent(new FocusEvent("blur"));
                if (draw() < 0.05) pad.remove();
                if (scribble % 5 === 0) await new Promise(requestAnimationFrame);
                if (!pad.isConnected) document.querySelector("main").append(pad);
              }
              const { probabilities } = pad.result ?? { probabilities: [1] };
              return [read, [...probabilities].reduce((sum, value) => sum + value, 0)];
            }"""
        )
        page.evaluate(FRAMES)  # in which an error could still come
    assert outcome[0] > 100
    assert outcome[1] == pytest.approx(1)
