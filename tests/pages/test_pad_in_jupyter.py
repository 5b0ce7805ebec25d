"""The pad in JupyterLab and in Notebook 7, where the model in Python reads."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.browsing import DESK
from tests.drawn_digits import DIGITS
from tests.pages.pads import HANDS, PATIENCE, draw_with_mouse, sheet
from tests.pages.workbench import workbench

pytestmark = pytest.mark.site

JUPYTERS = {
    "lab": ("lab/tree", ("mouse", "finger", "keys")),
    "notebook": ("notebooks", ("mouse",)),
}

# How strongly each pixel of a canvas is inked.
TONES = """(canvas) => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return [...data].filter((_, k) => k % 4 === 3);
}"""

CELLS = """
import numpy as np
from safetensors.torch import load_file
from mnist_lab.models import build_model
from mnist_lab.lessons.widgets import DigitPad
model = build_model("small_cnn")
model.load_state_dict(load_file("weights.safetensors"), strict=False)
pad = DigitPad(model, layers=True)
pad
"""


# A pad as in a notebook, with a stand-in for Python that answers at once, if the answer is another.
STAND_IN = """() => {
  const state = { strokes: [], probabilities: [], class_names: ["a", "b"], reads: true };
  const heard = {};
  let asked = 0;
  const put = (name, value) => {
    if (JSON.stringify(value) === JSON.stringify(state[name])) return;
    state[name] = value;
    heard[`change:${name}`]?.forEach((act) => act());
  };
  const model = {
    get: (name) => state[name],
    set: put,
    save_changes() {
      asked += 1;
      put("probabilities", state.strokes.length > 0 ? [0.1, 0.9] : []);
    },
    on: (name, act) => (heard[name] ??= []).push(act),
    off: () => {},
  };
  const el = document.createElement("section");
  document.querySelector("main").replaceChildren(el);
  modules.notebook.render({ model, el });
  const { shadowRoot } = el.firstChild;
  const canvas = shadowRoot.querySelector(".sheet");
  window.tried = {
    text: (name) => shadowRoot.querySelector(name).textContent,
    asked: () => asked,
    move(kind, share) {
      const box = canvas.getBoundingClientRect();
      canvas.dispatchEvent(new PointerEvent(kind, {
        clientX: box.left + box.width / 2, clientY: box.top + share * box.height, pointerId: 1,
      }));
    },
  };
}"""


@pytest.mark.parametrize("further", [0.9, 0.91], ids=["at rest", "a little further"])
def test_what_was_read_while_a_stroke_grew_is_said_when_it_ends(
    browser: Browser, further: float
) -> None:
    """Python does not answer twice if the hand has rested, or if it reads the same as before."""
    with workbench(browser) as page:
        page.evaluate(STAND_IN)
        assert page.evaluate("tried.text('.status')") == "The sheet is empty."
        page.evaluate("tried.move('pointerdown', 0.1); tried.move('pointermove', 0.9)")
        page.wait_for_function("tried.asked() === 1 && tried.text('.answer') === 'b'")
        assert page.evaluate("tried.text('.status')") == "The sheet is empty."  # not read out yet
        page.evaluate(
            "(y) => { tried.move('pointermove', y); tried.move('pointerup', y); }", further
        )
        assert page.evaluate("tried.text('.status')") == "I read b (90 %)."


ATTENDS = """
from mnist_lab.finetuning import make_autoencoder
from mnist_lab.lessons.widgets import DigitAttention
from mnist_lab.models import build_model

DigitAttention(make_autoencoder(build_model("vit", seed=0), seed=0))
"""


@pytest.fixture(scope="session")
def jupyter(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start a server for JupyterLab and Notebook 7 with three notebooks; its address."""
    import nbformat

    folder = tmp_path_factory.mktemp("lab")
    weights = site.parent / "recogniser" / "small_cnn.safetensors"
    shutil.copy(weights, folder / "weights.safetensors")
    cells = [
        nbformat.v4.new_code_cell(CELLS.strip()),
        nbformat.v4.new_code_cell(
            "print('kept', pad.label_and_keep(5), int(pad.image.max()), pad.examples.labels)"
        ),
        nbformat.v4.new_code_cell("DigitPad(kernel=True)"),
    ]
    spec = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    for name in JUPYTERS:
        notebook = nbformat.v4.new_notebook(cells=cells, metadata=spec)
        nbformat.write(notebook, folder / f"{name}.ipynb")
    trains = nbformat.v4.new_code_cell(
        "from mnist_lab.lessons.widgets import TrainHere\nTrainHere()"
    )
    nbformat.write(nbformat.v4.new_notebook(cells=[trains], metadata=spec), folder / "trains.ipynb")
    attends = nbformat.v4.new_code_cell(ATTENDS.strip())
    nbformat.write(
        nbformat.v4.new_notebook(cells=[attends], metadata=spec), folder / "attends.ipynb"
    )
    settings = folder / "config" / "labconfig"
    settings.mkdir(parents=True)
    silent = {"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}
    (settings / "page_config.json").write_text(json.dumps(silent))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", f"--port={port}"]
    options = ["--ServerApp.token=pad", f"--ServerApp.root_dir={folder}", "--allow-root"]
    environment = os.environ | {"JUPYTER_CONFIG_DIR": str(folder / "config")}
    with (folder / "log").open("w") as log:
        server = subprocess.Popen([*command, *options], env=environment, stdout=log, stderr=log)
    try:
        for _ in range(PATIENCE // 250):
            assert server.poll() is None, (folder / "log").read_text()
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.25)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(20)


def wait_for_kernel(page: Page, jupyter: str, name: str) -> None:
    """Wait until the notebook's kernel waits for cells and the page is connected to it.

    The page itself says "idle" before that, and a cell that is run then asks for a kernel.
    """
    for _ in range(PATIENCE // 250):
        sessions = page.request.get(f"{jupyter}/api/sessions?token=pad").json()
        kernels = [session["kernel"] for session in sessions if session["path"] == name]
        if any(one["execution_state"] == "idle" and one["connections"] for one in kernels):
            break
        page.wait_for_timeout(250)
    page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").wait_for()


def run_cell(page: Page, number: int) -> None:
    cell = page.locator(".jp-Notebook .jp-CodeCell").nth(number)
    cell.locator(".cm-content").click()
    page.keyboard.press("Shift+Enter")
    cell.locator(".jp-InputPrompt", has_text=re.compile(r"\d")).wait_for()


@pytest.mark.parametrize("name", JUPYTERS)
def test_in_a_notebook_the_model_in_python_reads(browser: Browser, jupyter: str, name: str) -> None:
    path, hands = JUPYTERS[name]
    with browser.new_context(viewport=DESK, has_touch=True) as context:
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.goto(f"{jupyter}/{path}/{name}.ipynb?token=pad")
        wait_for_kernel(page, jupyter, f"{name}.ipynb")
        run_cell(page, 0)
        pad = page.locator(".digit-pad-host").first
        pad.locator("canvas.sheet").wait_for()
        for hand in hands:
            draw, _ = HANDS[hand]
            for digit, strokes in DIGITS.items():
                draw(page, strokes, pad)
                said = re.compile(rf"(I read|Perhaps) {digit}\b")  # Python needs a moment
                pad.locator(".status", has_text=said).wait_for()
                if digit == 8:
                    layers = pad.locator(".layers > figure > canvas").all()
                    assert [len(set(layer.evaluate(TONES))) > 5 for layer in layers] == [True] * 3
                if digit == 5:  # a key of the pad, not of the notebook
                    sheet(page, pad).focus()
                    page.keyboard.press("c")
                else:
                    pad.get_by_role("button", name="Clear").click()
                pad.locator(".status", has_text="empty").wait_for()
        draw_with_mouse(page, DIGITS[5], pad)
        pad.locator(".status", has_text="I read 5").wait_for()
        run_cell(page, 1)
        page.get_by_text("kept 1 0 [5]").wait_for()
        pad.locator(".status", has_text="empty").wait_for()  # Python took an empty sheet

        run_cell(page, 2)
        plain = page.locator(".digit-pad-host").nth(1)
        plain.locator("canvas.sheet").wait_for()
        draw_with_mouse(page, DIGITS[5], plain)
        plain.locator(".numbers", has_text="255").wait_for()
        assert len(set(plain.locator(".applied canvas").evaluate(TONES))) > 5
        assert plain.locator(".bars").count() == 0


def test_in_jupyterlab_a_network_learns_in_the_browser(browser: Browser, jupyter: str) -> None:
    with browser.new_context(viewport=DESK) as context:
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"{jupyter}/lab/workspaces/trains/tree/trains.ipynb?token=pad")
        wait_for_kernel(page, jupyter, "trains.ipynb")
        run_cell(page, 0)
        panel = page.locator(".train-here-host")
        panel.get_by_label("Network", exact=True).select_option(label="2 layers: MLP")
        panel.get_by_role("button", name="Start", exact=True).click()
        panel.locator(".where", has_text="Done: after 8 epochs it reads").wait_for()
        assert float((panel.locator(".accuracy").text_content() or "").split()[0]) >= 90
        assert panel.get_by_role("button", name="Compare").count() == 0  # it has no other network
        assert errors == []


def test_in_jupyterlab_the_notebooks_own_transformer_looks_and_paints(
    browser: Browser, jupyter: str
) -> None:
    with browser.new_context(viewport=DESK) as context:
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"{jupyter}/lab/workspaces/attends/tree/attends.ipynb?token=pad")
        wait_for_kernel(page, jupyter, "attends.ipynb")
        run_cell(page, 0)
        panel = page.locator(".digit-attention-host")
        assert panel.locator(".map").count() == 16
        assert panel.locator(".bars").count() == 0  # its head has learnt nothing
        panel.get_by_role("button", name="Clear").click()
        draw_with_mouse(page, DIGITS[5], panel)
        panel.locator(".looks", has_text="looks most at").wait_for()
        panel.get_by_role("button", name="Row 2, column 2").focus()
        page.keyboard.press("h")  # a key of the panel, not of the notebook
        panel.locator(".cover", has_text="1 patch of 16 is hidden. What it paints has").wait_for()
        assert errors == []
