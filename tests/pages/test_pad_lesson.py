"""The network in the page is taught: what it learns, what it forgets, and the arithmetic of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from playwright.sync_api import Browser, Page

from mnist_lab.data.normalisation import MNIST_NORMALISATION
from tests.browsing import both_doors, opened
from tests.drawn_digits import DIGITS, Stroke
from tests.pages.pads import (
    HOME,
    PAD,
    PATIENCE,
    keep,
    lesson,
    pages_network,
    put_strokes,
)
from tests.pages.workbench import call

pytestmark = pytest.mark.site

CROSS: list[Stroke] = [[(0.2, 0.2), (0.8, 0.8)], [(0.8, 0.2), (0.2, 0.8)]]


def counts(page: Page) -> list[int]:
    """How many of my examples it read and reads, and how many old digits of how many."""
    said = lesson(page).locator("p.said", has_text="Of your")
    said.wait_for(timeout=PATIENCE)
    return [int(number) for number in re.findall(r"\d+", said.text_content() or "")]


def old_digits_read(site: Path) -> int:
    """How many of the digits that a lesson counts the pages' network reads, says Python."""
    model, digits = pages_network(site)
    images = np.ascontiguousarray(digits[1::2]).reshape(100, 1, 28, 28)
    with torch.no_grad():
        read = model(MNIST_NORMALISATION(torch.from_numpy(images))).argmax(1)
    return int((read.numpy() == np.tile(np.arange(10), 10)).sum())


@both_doors
def test_it_learns_a_new_sign_and_can_be_put_back(
    browser: Browser, address: str, door: str, site: Path
) -> None:
    with opened(browser, address, door, HOME) as (page, _):
        for strokes in (CROSS, [[(x + 0.02, y) for x, y in stroke] for stroke in CROSS[::-1]]):
            keep(page, strokes, "something new …", "cross")
        details = lesson(page)
        assert details.locator(".examples").first.locator("li").count() == 2
        details.get_by_role("button", name="Train").click()
        mine, _, after, old, old_before, old_after = counts(page)
        assert (mine, after) == (2, 2)
        assert old == 100
        assert old_before == old_digits_read(site)  # an untaught class takes nothing away
        assert old_after > 50
        put_strokes(page, CROSS)
        page.locator(PAD).locator(".status", has_text="I read cross").wait_for()
        details.get_by_role("button", name="Start over").click()
        page.locator(PAD).locator(".right .status", has_text="cross").wait_for(state="hidden")
        assert page.locator(PAD).locator(".bars li").count() == 10


def test_teaching_makes_it_forget_and_rehearsal_helps(browser: Browser, address: str) -> None:
    """Five digits under wrong names take many others with them; rehearsal keeps some of those."""
    after = {}
    with opened(browser, address, "served", HOME) as (page, _):
        for rehearse in (False, True):
            details = lesson(page)
            for digit in range(5):  # each digit by the name of the next
                keep(page, DIGITS[digit], str(digit + 1))
            details.get_by_label("rehearse").set_checked(rehearse)
            details.get_by_role("button", name="Train").click()
            _, _, learnt, _, before, after[rehearse] = counts(page)
            assert before >= 93
            assert learnt > 0
            details.get_by_role("button", name="Start over").click()
        assert after[False] <= before - 10  # it forgets
        assert after[True] >= after[False] + 3


# A lesson without a page: a head of two classes, and whatever it is to learn from.
ALONE = """async ([weight, features, digits]) => {
  const head = {
    weight: { shape: [2, 1], values: Float32Array.from(weight) },
    bias: { shape: [2], values: Float32Array.from([0, 0]) },
    classNames: ["a", "b"],
  };
  const network = { head, classNames: ["a", "b"], featuresOf: () => features };
  const lesson = new modules.teach.Lesson({
    network: () => network, image: () => new Uint8Array(784), oldDigits: digits,
    onKeep: () => {}, onLearn: () => {},
  });
  document.querySelector("main").replaceChildren(lesson.element);
  lesson.begin();
  lesson.choice.value = "b";
  lesson.keep();
  const disabled = () => [lesson.keepButton.disabled, lesson.trainButton.disabled];
  const training = lesson.train();
  let meanwhile = null;
  new MutationObserver(() => { meanwhile ??= disabled(); })
    .observe(lesson.status, { childList: true }); // "Step 4 of 100 …"
  await training;
  return {
    meanwhile, said: lesson.status.textContent, kept: lesson.kept.textContent,
    weight: [...network.head.weight.values], bias: [...network.head.bias.values],
    after: disabled(),
  };
}"""


@pytest.mark.parametrize("feature", ["Infinity", "-Infinity", "NaN"])
def test_a_lesson_that_diverges_puts_the_last_layer_back(bench: Page, feature: str) -> None:
    found = bench.evaluate(f"() => ({ALONE})([[0.5, -0.5], [{feature}], ''])")
    assert found["said"] == (
        "The lesson diverged: its numbers grew without bound. The last layer is as it was before."
    )
    assert (found["weight"], found["bias"]) == ([0.5, -0.5], [0, 0])
    assert found["kept"] == "b, read as nothing"
    assert found["after"] == [False, False]


def test_a_lesson_does_without_old_digits_that_cannot_be_loaded(bench: Page) -> None:
    found = bench.evaluate(ALONE, [[0.5, -0.5], [1.0], "data:image/png;base64,AAAA"])
    assert found["said"] == (
        "Of your 1 example it read 0 and now reads 1. The old digits could not be loaded, so what "
        "it forgets is not known."
    )
    assert found["weight"][1] > found["weight"][0]
    assert found["meanwhile"] == [True, True]  # what is kept meanwhile could be lost
    assert found["after"] == [False, False]


# --- Its arithmetic ------------------------------------------------------------------------------


def head_of(weight: torch.Tensor, bias: torch.Tensor) -> dict[str, Any]:
    """A last layer (classes, features) as the modules have it."""
    parts = {"weight": weight, "bias": bias}
    return {
        name: {"shape": list(part.shape), "values": part.flatten().tolist()}
        for name, part in parts.items()
    }


@pytest.mark.parametrize("mine", [6, 2], ids=["one group", "two groups"])
def test_the_arithmetic_of_a_lesson_is_that_of_torch(bench: Page, mine: int) -> None:
    """One step down the mean cross-entropy of each group, at the rate that the page takes."""
    generator = torch.Generator().manual_seed(0)
    features = torch.rand(6, 5, generator=generator)
    labels = torch.tensor([0, 2, 1, 1, 0, 2])
    weight = torch.randn(3, 5, generator=generator, requires_grad=True)
    bias = torch.randn(3, generator=generator, requires_grad=True)
    groups = [part for part in (slice(None, mine), slice(mine, None)) if len(labels[part])]
    for part in groups:
        logits = features[part] @ weight.T + bias
        torch.nn.functional.cross_entropy(logits, labels[part]).backward()
    rate = 6 / float((features**2).sum() + 6)
    assert weight.grad is not None
    assert bias.grad is not None
    found = bench.evaluate(
        """([head, groups]) => {
          modules.teach.learn(head, groups);
          return [head.weight.values, head.bias.values];
        }""",
        [
            head_of(weight, bias),
            [
                [{"features": f.tolist(), "label": int(k)} for f, k in zip(x, y, strict=True)]
                for x, y in ((features[part], labels[part]) for part in groups)
            ]
            + [[]],  # nothing is rehearsed
        ],
    )
    expected = (weight - rate * weight.grad).detach().flatten()
    assert np.allclose(found[0], expected, atol=1e-6)
    assert np.allclose(found[1], (bias - rate * bias.grad).detach(), atol=1e-6)


def test_a_new_class_starts_as_the_mean_of_the_others(bench: Page) -> None:
    """Weights and bias: its logit is the mean of the others, whatever is drawn."""
    generator = torch.Generator().manual_seed(0)
    weight, bias = torch.randn(3, 5, generator=generator), torch.tensor([1.0, 2.0, 6.0])
    head = head_of(weight, bias) | {"classNames": ["a", "b", "c"]}
    copy = call(bench, "teach.copyHead", head, ["cross"])
    assert copy["classNames"] == ["a", "b", "c", "cross"]
    assert (copy["weight"]["shape"], copy["bias"]["shape"]) == ([4, 5], [4])
    assert copy["bias"]["values"] == pytest.approx([1, 2, 6, 3])
    assert np.allclose(copy["weight"]["values"][:15], weight.flatten())
    features = [0.5, 0.0, 2.0, 1.0, 0.0]
    logits = call(bench, "teach.applyHead", copy, features)
    assert logits[:3] == pytest.approx((weight @ torch.tensor(features) + bias).tolist(), abs=1e-5)
    assert logits[3] == pytest.approx(np.mean(logits[:3]), abs=1e-5)


def test_what_is_taught_to_a_copy_leaves_the_original(bench: Page) -> None:
    head = head_of(torch.ones(2, 3), torch.ones(2)) | {"classNames": ["a", "b"]}
    left = bench.evaluate(
        """(head) => {
          const copy = modules.teach.copyHead(head);
          modules.teach.learn(copy, [[{ features: [1, 2, 3], label: 0 }]]);
          return [copy.bias.values[0], head.bias.values, head.weight.values];
        }""",
        head,
    )
    assert left[0] > 1
    assert left[1:] == [[1] * 2, [1] * 6]
