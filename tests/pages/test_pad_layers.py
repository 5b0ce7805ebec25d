"""What can be looked at beside the reading: layers and their sums, alike digits, a kernel."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from playwright.sync_api import Browser, Page

from mnist_lab.data.normalisation import MNIST_NORMALISATION
from tests.browsing import both_doors, opened
from tests.drawn_digits import DIGITS
from tests.pages.pads import (
    HANDS,
    HOME,
    PAD,
    draw_with_finger,
    draw_with_mouse,
    pages_network,
    pages_with,
)
from tests.pages.workbench import call

pytestmark = pytest.mark.site

PIXELS = pages_with(f"<{PAD} only-draws")[0]  # where nothing reads, the pixels are looked at


def test_the_layers_are_shown_when_they_are_asked_for(browser: Browser, address: str) -> None:
    with opened(browser, address, "served", HOME) as (page, _):
        draw_with_mouse(page, DIGITS[8])
        layers = page.locator(PAD).locator(".layers > figure > canvas")
        assert not layers.first.is_visible()
        page.locator(PAD).get_by_text("See what each layer found").click()
        assert layers.count() == 3
        assert all(layer.is_visible() for layer in layers.all())
        labels = [layer.get_attribute("aria-label") or "" for layer in layers.all()]
        assert [re.findall(r"\d+", label)[1:4] for label in labels] == [
            ["16", "14", "14"], ["32", "7", "7"], ["64", "3", "3"]
        ]  # fmt: skip


def test_a_pixel_of_a_map_shows_its_arithmetic(browser: Browser, address: str) -> None:
    """What is said of a pixel is what the network computed there, by pointer and by keys."""
    # What came of a pixel, and the sums under the kernel that it was made of: one, or four pooled.
    values = """([layer, map, row, column]) => {
      const steps = document.querySelector("digit-pad").result.steps;
      const step = steps.filter((each) => /ReLU/.test(each.kind))[layer];
      const at = ({ values, height, width }, y, x) => values[(map * height + y) * width + x];
      const before = steps[steps.indexOf(step) - 1];
      if (before.kind === "convolution") return [at(step, row, column), [at(before, row, column)]];
      const convolution = steps[steps.indexOf(before) - 1];
      const four = [0, 0, 1, 1].map((down, k) =>
        at(convolution, 2 * row + down, 2 * column + (k % 2)));
      return [at(step, row, column), four];
    }"""
    with opened(browser, address, "served", HOME) as (page, _):
        draw_with_mouse(page, DIGITS[8])
        page.locator(PAD).get_by_text("See what each layer found").click()
        sentence = page.locator(PAD).locator(".sum p")
        positive = 0
        for layer in range(3):
            canvas = page.locator(PAD).locator(".layers figure > canvas").nth(layer)
            box = canvas.bounding_box()
            assert box
            for share in (0.1, 0.33, 0.52, 0.71, 0.93):
                # It waits until the page has come to rest, which scrolls to what is pointed at.
                canvas.hover(position={"x": box["width"] * share, "y": box["height"] * 0.2})
                said = sentence.text_content() or ""
                numbers = re.findall(r"[\u2212\d.]*\d", said)
                place = [int(number) - 1 for number in numbers[:4]]
                assert place[0] <= layer
                found, sums = page.evaluate(values, place)
                summed = re.search(r"sum to ([\u2212\d.]*\d)", said)
                assert summed
                assert float(summed[1].replace("\u2212", "-")) == pytest.approx(
                    max(sums), abs=0.006
                )
                assert ("the largest of four such sums" in said) == (len(sums) == 4)
                if found > 0:
                    assert float(numbers[-1]) == pytest.approx(found, abs=0.006)
                    positive += 1
                else:
                    assert "ReLU sets it to 0" in said
        assert positive >= 3
        canvas = page.locator(PAD).locator(".layers figure > canvas").first
        canvas.focus()
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowRight")
        assert "Layer 1, map 1, row 2, column 2: 25 products sum" in (sentence.text_content() or "")


def test_the_largest_of_four_sums_is_found(bench: Page) -> None:
    values = np.random.default_rng(0).normal(size=(2, 5, 6))  # an odd last row is left out
    step = {"height": 5, "width": 6, "values": values.ravel().tolist()}
    for channel, row, column in np.ndindex(2, 2, 3):
        y, x = call(bench, "views.findLargest", step, channel, row, column)
        assert (y // 2, x // 2) == (row, column)
        four = values[channel, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
        assert values[channel, y, x] == four.max()


def test_a_finger_asks_for_a_pixel_by_a_tap(browser: Browser, address: str) -> None:
    for name in (HOME, PIXELS):
        with opened(browser, address, "served", name, **HANDS["finger"][1]) as (page, _):
            pad = page.locator(PAD).first
            draw_with_finger(page, DIGITS[8], pad)
            pad.locator("details").evaluate_all("all => all.forEach((e) => { e.open = true; })")
            maps = pad.locator(".pixels canvas, .layers figure > canvas").first
            maps.tap(position={"x": 20, "y": 20})
            said = pad.locator(".pixel, .sum p").first.text_content() or ""
            assert re.match(r"Row 1, column 1, |Layer 1, map 1, row \d+, column \d+: ", said)


@both_doors
def test_the_most_alike_digits_are_those_that_python_finds(
    browser: Browser, address: str, door: str, site: Path
) -> None:
    with opened(browser, address, door, HOME) as (page, _):
        draw_with_mouse(page, DIGITS[2])
        page.locator(PAD).get_by_text("See what each layer found").click()
        listed = page.locator(PAD).get_by_label("The most alike digits").locator("li")
        listed.first.wait_for()
        found = [re.findall(r"[\d.]+", text) for text in listed.all_text_contents()]
        image = np.array(page.evaluate("[...document.querySelector('digit-pad').image]"), np.uint8)
    model, digits = pages_network(site)
    inputs: list[torch.Tensor] = []
    output = model.get_submodule("output")
    output.register_forward_hook(lambda module, given, result: inputs.append(given[0]))
    images = np.concatenate([image.reshape(1, 1, 28, 28), digits.reshape(-1, 1, 28, 28)])
    with torch.no_grad():
        model(MNIST_NORMALISATION(torch.from_numpy(images)))
    mine, others = inputs[0][:1], inputs[0][1:]
    likeness = torch.nn.functional.cosine_similarity(mine, others)
    values, places = likeness.topk(6)
    assert [int(label) for label, _ in found] == (places % 10).tolist()
    assert [float(value) for _, value in found] == pytest.approx(values.tolist(), abs=0.006)


def test_the_most_alike_are_those_with_the_largest_cosine(bench: Page) -> None:
    generator = np.random.default_rng(0)
    features, others = generator.normal(size=5), generator.normal(size=(9, 5))
    others[4] = 0  # nothing was found in it, so that it has no direction
    others[7] *= 100  # long, which does not make it more alike
    digits = [{"features": row.tolist(), "label": k} for k, row in enumerate(others)]
    found = call(bench, "views.findNearest", digits, features.tolist(), 4)
    lengths = np.linalg.norm(others, axis=1) * np.linalg.norm(features)
    cosines = np.divide(others @ features, lengths, out=np.zeros(9), where=lengths > 0)
    order = np.argsort(-cosines)[:4]
    assert [one["digit"]["label"] for one in found] == order.tolist()
    assert [one["likeness"] for one in found] == pytest.approx(cosines[order].tolist())


def test_a_kernel_can_be_edited_and_is_applied(browser: Browser, address: str) -> None:
    """It shows the convolution of the 28x28 image with the nine numbers, as torch has it."""
    with opened(browser, address, "served", HOME) as (page, _):
        draw_with_mouse(page, DIGITS[4])
        details = page.locator(PAD).locator("details", has_text="Try a kernel")
        details.locator("summary").click()
        numbers = details.get_by_role("spinbutton")
        begun = [box.input_value() for box in numbers.all()]
        assert begun == ["-1", "0", "1", "-2", "0", "2", "-1", "0", "1"]
        numbers.nth(0).fill("7.5")
        numbers.nth(4).fill("-3")
        numbers.nth(8).fill("")  # counts as 0
        assert details.get_by_label("Start from").input_value() == "my own"
        found = page.evaluate(
            "[...document.querySelector('digit-pad').kernel.step.values]",
        )
        image = page.evaluate("[...document.querySelector('digit-pad').image]")
        details.get_by_label("Start from").select_option("blur")
        assert {box.input_value() for box in numbers.all()} == {"1"}
    kernel = torch.tensor([7.5, 0, 1, -2, -3, 2, -1, 0, 0]).view(1, 1, 3, 3)
    pixels = torch.tensor(image, dtype=torch.float32).view(1, 1, 28, 28) / 255
    expected = torch.nn.functional.conv2d(pixels, kernel, padding=1).flatten()
    assert np.allclose(found, expected, atol=1e-5)
