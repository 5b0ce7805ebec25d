"""Hands that draw on the pads of pages, and what the tests of pads look for on a page."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from playwright.sync_api import Locator, Page
from safetensors.torch import load_file

from mnist_lab.models.registry import build_model
from tests.browsing import PHONE, SITE
from tests.drawn_digits import Point, Stroke

HOME = "book/index.html"
PAD = "digit-pad"
STEP = 0.04  # how far an arrow key moves the pen (pad.js)
ARROWS = {
    (-1, 0): "ArrowLeft", (1, 0): "ArrowRight", (0, -1): "ArrowUp", (0, 1): "ArrowDown",
    (-1, -1): "Home", (1, -1): "PageUp", (-1, 1): "End", (1, 1): "PageDown",
}  # fmt: skip  # fmt: skip
# Milliseconds until a test gives up; nothing is measured by it, and a busy machine may take long.
PATIENCE = 180_000
# Two frames: whatever the page wanted to do with the next one has been done.
FRAMES = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
Pixels = list[Point]


# --- Hands ---------------------------------------------------------------------------------------


def sheet(page: Page, pad: Locator | None = None) -> Locator:
    canvas = (pad or page.locator(PAD).first).locator("canvas.sheet")
    canvas.scroll_into_view_if_needed()
    return canvas


def on_the_page(canvas: Locator, stroke: Stroke) -> Pixels:
    box = canvas.bounding_box()
    assert box
    return [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in stroke]


def draw_with_mouse(page: Page, strokes: list[Stroke], pad: Locator | None = None) -> None:
    canvas = sheet(page, pad)
    for stroke in strokes:
        points = on_the_page(canvas, stroke)
        page.mouse.move(*points[0])
        page.mouse.down()
        for point in points[1:]:
            page.mouse.move(*point, steps=3)
        page.mouse.up()


def draw_with_pen(page: Page, strokes: list[Stroke], pressure: float = 0.5) -> None:
    """Draw with a pen that is pressed on the sheet, from 0 (hardly) to 1."""
    canvas = sheet(page)
    session = page.context.new_cdp_session(page)
    for stroke in strokes:
        points = on_the_page(canvas, between(stroke))
        kinds = ["mousePressed", *["mouseMoved"] * (len(points) - 1), "mouseReleased"]
        for kind, (x, y) in zip(kinds, [*points, points[-1]], strict=True):
            up = kind == "mouseReleased"
            session.send(
                "Input.dispatchMouseEvent",
                {"type": kind, "x": x, "y": y, "pointerType": "pen", "force": (not up) * pressure}
                | {"button": "left", "buttons": int(not up), "clickCount": 1},
            )


def touch(page: Page, strokes: list[Pixels]) -> None:
    """Move a finger over the screen."""
    session = page.context.new_cdp_session(page)

    def send(kind: str, points: Pixels) -> None:
        touches = [{"x": x, "y": y} for x, y in points]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})

    for points in strokes:
        send("touchStart", points[:1])
        for point in points[1:]:
            send("touchMove", [point])
        send("touchEnd", [])


def between(stroke: Stroke, parts: int = 3) -> Stroke:
    """Put points between those of a stroke, as a finger does."""
    return [
        (x0 + (x1 - x0) * k / parts, y0 + (y1 - y0) * k / parts)
        for (x0, y0), (x1, y1) in pairwise(stroke)
        for k in range(parts)
    ] + stroke[-1:]


def draw_with_finger(page: Page, strokes: list[Stroke], pad: Locator | None = None) -> None:
    canvas = sheet(page, pad)
    touch(page, [on_the_page(canvas, between(stroke)) for stroke in strokes])


def draw_with_keys(page: Page, strokes: list[Stroke], pad: Locator | None = None) -> None:
    sheet(page, pad).focus()
    here = (0, 0)

    def go(to: Point) -> None:
        nonlocal here
        goal = (round((to[0] - 0.5) / STEP), round((to[1] - 0.5) / STEP))
        while here != goal:
            way = (int(np.sign(goal[0] - here[0])), int(np.sign(goal[1] - here[1])))
            page.keyboard.press(ARROWS[way])
            here = (here[0] + way[0], here[1] + way[1])

    for stroke in strokes:
        go(stroke[0])
        page.keyboard.press("Space")
        for point in stroke[1:]:
            go(point)
        page.keyboard.press("Space")


HANDS: dict[str, tuple[Callable[..., None], dict[str, Any]]] = {
    "mouse": (draw_with_mouse, {}),
    "finger": (draw_with_finger, {"viewport": PHONE, "has_touch": True, "is_mobile": True}),
    "keys": (draw_with_keys, {}),
}


# --- What is on a page ---------------------------------------------------------------------------


def reading(page: Page) -> str:
    """What the live region says was read, once it has been said."""
    status = page.locator(PAD).first.locator(".status")
    status.filter(has_text=re.compile("I read|Perhaps")).wait_for()
    match = re.search(r"(?:I read|Perhaps) (\w+)", status.text_content() or "")
    assert match
    return match[1]


def count_strokes(page: Page) -> int:
    return int(page.evaluate("document.querySelector('digit-pad').strokes.length"))


def put_strokes(page: Page, strokes: list[Stroke]) -> None:
    """Lay strokes on the first sheet, where no hand is being tested."""
    page.evaluate("strokes => { document.querySelector('digit-pad').strokes = strokes; }", strokes)


def lesson(page: Page) -> Locator:
    details = page.locator(PAD).first.locator("details", has_text="Teach it")
    if details.get_attribute("open") is None:
        details.locator("summary").click()
    return details


def keep(page: Page, strokes: list[Stroke], label: str, name: str = "") -> None:
    details = lesson(page)
    details.get_by_label("It is").select_option(label)
    if name:
        details.get_by_label("called").fill(name)
    put_strokes(page, strokes)
    details.get_by_role("button", name="Keep").click()


def pages_with(tag: str) -> list[str]:
    """Paths below the site, or one stand-in that makes the tests speak up."""
    found = [path for path in SITE.rglob("*.html") if tag in path.read_text("utf-8")]
    return sorted(path.relative_to(SITE).as_posix() for path in found) or ["none"]


WITH_A_PAD = pages_with(f"<{PAD}")
each_page = pytest.mark.parametrize("name", WITH_A_PAD)


# --- What the pages read with --------------------------------------------------------------------


def pages_network(site: Path) -> tuple[torch.nn.Module, np.ndarray]:
    """The pages' network in PyTorch, and the 200 digits beside it: (20, 10, 28, 28)."""
    folder = site.parent / "recogniser"
    model = build_model("small_cnn")
    model.load_state_dict(load_file(folder / "small_cnn.safetensors"), strict=False)
    sheet = np.array(Image.open(folder / "digits.png").convert("L"))
    return model.eval(), sheet.reshape(20, 28, 10, 28).swapaxes(1, 2)
