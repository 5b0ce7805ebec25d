"""A model file that is broken, or means harm, is refused with a sentence."""

from __future__ import annotations

import base64
import re
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.drawn_digits import DIGITS
from tests.pages.web_files import bad_files, damaged_files, filled
from tests.pages.workbench import workbench

pytestmark = pytest.mark.site


def test_a_broken_or_hostile_file_is_refused_with_a_sentence(bench: Page) -> None:
    files = bad_files()
    found = bench.evaluate(
        """(files) => Object.fromEntries(Object.entries(files).map(([name, file]) => {
          const bytes = Uint8Array.from(atob(file), (letter) => letter.charCodeAt(0));
          try {
            modules.forward.openNetwork(bytes);
          } catch (error) {
            const known = error instanceof modules.safetensors.FileError;
            return [name, known ? error.message : `a bug: ${error.stack}`];
          }
          return [name, "it was taken"];
        }))""",
        {name: base64.b64encode(content).decode() for name, (content, _) in files.items()},
    )
    wrong = {
        name: found[name]
        for name, (_, sentence) in files.items()
        if not re.search(sentence, found[name])
        or not re.fullmatch(r"[^\n]{10,200}\.", found[name])
        or found[name].startswith("a bug")
    }
    assert wrong == {}


# A pad that is given files: what it says of each, and what it reads in drawings after it, as the
# sum of their probabilities, or the sentence in their place.
READINGS = """([files, drawings]) => {
  const pad = document.createElement("digit-pad");
  document.querySelector("main").replaceChildren(pad);
  const text = (name) => pad.shadowRoot.querySelector(name).textContent;
  const read = () => drawings.map((strokes) => {
    pad.strokes = strokes;
    if (!pad.result) return text(".status");
    return [...pad.result.probabilities].reduce((sum, value) => sum + value, 0);
  });
  const all = () => drawings.map((strokes) => {
    pad.strokes = strokes;
    return [...pad.result.probabilities];
  });
  const before = all();
  return files.map((file) => {
    pad.own.open(Uint8Array.from(atob(file), (letter) => letter.charCodeAt(0)));
    const said = pad.own.status.textContent;
    const outcome = { said, read: read(), back: !pad.own.back.hidden };
    if (outcome.back) pad.own.open(null);
    outcome.same = JSON.stringify(all()) === JSON.stringify(before);
    return outcome;
  });
}"""


def readings(page: Page, files: list[bytes]) -> list[dict[str, Any]]:
    """Drop files on a pad one after the other; what it said, what it read, what is left of it."""
    found: list[dict[str, Any]] = page.evaluate(
        READINGS,
        [[base64.b64encode(file).decode() for file in files], [DIGITS[1], DIGITS[8], DIGITS[0]]],
    )
    return found


def test_a_damaged_file_reads_or_changes_nothing(bench: Page) -> None:
    """Damage anywhere in it: every drawing has finite probabilities, or the old network goes on."""
    found = readings(bench, damaged_files(200))
    taken = [one for one in found if one["said"] == "Your model reads now. Draw something."]
    refused = [
        one for one in found if one["said"].endswith("The network before it goes on reading.")
    ]
    assert len(taken) + len(refused) == 200
    assert min(len(taken), len(refused)) > 20  # both are looked at
    assert all(one["same"] for one in found)
    assert [one["back"] for one in found] == [one in taken for one in found]
    for one in found:
        assert one["read"] == pytest.approx([1, 1, 1])


def test_no_network_that_the_page_takes_can_overflow(bench: Page) -> None:
    """A network just below the limit reads, whatever is drawn; the page's bound is no guess."""
    files = [filled("linear", sign * 4e34) for sign in (1, -1)]
    files += [filled("mlp", 1e15), filled("small_cnn", 1e5)]
    for one in readings(bench, files):
        assert one["said"] == "Your model reads now. Draw something."
        assert one["read"] == pytest.approx([1, 1, 1])
    over = readings(bench, [filled("linear", 6e34), filled("mlp", 1e18), filled("small_cnn", 1e8)])
    assert ["can give numbers too large" in one["said"] for one in over] == [True] * 3


def test_whatever_goes_wrong_with_a_file_is_said(browser: Browser) -> None:
    """A folder, a file that has gone, several, a huge one, a bug: the network before goes on."""
    with workbench(browser) as page:
        said = page.evaluate(
            """async () => {
              const pad = document.createElement("digit-pad");
              document.querySelector("main").append(pad);
              pad.strokes = [[[0.3, 0.2], [0.7, 0.2], [0.4, 0.9]]];
              const before = String(pad.result.probabilities);
              const file = (size, arrayBuffer) => ({ size, arrayBuffer });
              const never = () => { throw new Error("it was read"); };
              const gone = async () => { throw new DOMException("gone", "NotFoundError"); };
              const said = [];
              const note = () => {
                pad.panel.changed(true);
                said.push([pad.own.status.textContent, String(pad.result.probabilities) === before,
                  pad.own.back.hidden]);
              };
              for (const files of [
                [file(2 ** 31, never)], [file(4096, gone)], [file(3, gone), file(3, gone)],
                [new File(["no model"], "notes.txt")],
              ]) {
                await pad.own.take(files);
                note();
              }
              const { use } = pad.own;
              for (const thrown of [new RangeError("Invalid array length"), "a text", null]) {
                pad.own.use = () => { throw thrown; };
                pad.own.open(new Uint8Array(9));
                note();
              }
              pad.own.use = use;
              return said;
            }"""
        )
    goes_on = "The network before it goes on reading."
    for sentence, same, hidden in said:
        assert re.fullmatch(rf"[^\n]{{10,150}}\. {goes_on}", sentence)
        assert same
        assert hidden
    assert "larger than 2 MB" in said[0][0]
    assert "moved or deleted" in said[1][0]
    assert "these are 2" in said[2][0]


def test_what_is_dropped_is_one_file_or_a_sentence(browser: Browser) -> None:
    with workbench(browser) as page:
        said = page.evaluate(
            """async () => {
              const pad = document.createElement("digit-pad");
              document.querySelector("main").append(pad);
              const drop = async (...things) => {
                const dataTransfer = new DataTransfer();
                for (const thing of things) dataTransfer.items.add(...thing);
                const event = new DragEvent("drop", { dataTransfer, cancelable: true });
                pad.dispatchEvent(event);
                await new Promise((done) => setTimeout(done, 50));
                return [event.defaultPrevented, pad.own.element.open, pad.own.status.textContent];
              };
              const file = (name) => [new File(["nothing"], name)];
              const text = ["some words", "text/plain"];
              return [await drop(), await drop(text), await drop(file("a"), file("b")),
                await drop(file("a"))];
            }"""
        )
    goes_on = "The network before it goes on reading."
    assert said == [
        [False, False, ""],
        [False, False, ""],  # words may be dropped where they like
        [True, True, f"One file holds a model; these are 2. {goes_on}"],
        [True, True, f"The file is too short to be a safetensors file. {goes_on}"],
    ]


def test_the_last_file_that_was_chosen_reads(browser: Browser) -> None:
    """A file that is read slowly does not replace one that was chosen after it."""
    files = [filled("linear", value) for value in (0.1, 0.2)]
    with workbench(browser) as page:
        found = page.evaluate(
            """async (files) => {
              const pad = document.createElement("digit-pad");
              document.querySelector("main").append(pad);
              const [slow, quick] = files.map(
                (file) => Uint8Array.from(atob(file), (letter) => letter.charCodeAt(0)).buffer);
              let done;
              const waiting = pad.own.take([
                { size: 9, arrayBuffer: () => new Promise((resolve) => { done = resolve; }) }]);
              await pad.own.take([{ size: 9, arrayBuffer: async () => quick }]);
              done(slow);
              await waiting;
              return pad.network.head.weight.values[0];
            }""",
            [base64.b64encode(file).decode() for file in files],
        )
    assert found == pytest.approx(0.2)
