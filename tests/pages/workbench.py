"""The pad's modules by themselves: an empty page on which each can be called."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from playwright.sync_api import Browser, Page

from mnist_lab.data.normalisation import Normalisation
from mnist_lab.export import web_bytes
from mnist_lab.lessons.widgets.linking import (
    link_attention,
    link_notebook,
    link_page,
    link_steps,
    link_training,
)
from mnist_lab.models.registry import build_model
from mnist_lab.training.cards import ModelCard


def network(
    name: str = "small_cnn", normalisation: Normalisation | None = None, **arguments: Any
) -> tuple[torch.nn.Module, ModelCard]:
    """A network whose batch norms have seen something, with logits that differ."""
    model = build_model(name, seed=0, **arguments)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for _ in range(3):
            model(torch.rand(16, 1, 28, 28, generator=generator) * 3 - 0.5)
        model.get_parameter("output.weight").mul_(20)
    return model.eval(), ModelCard(name, arguments, normalisation or Normalisation())


@contextmanager
def workbench(browser: Browser) -> Iterator[Page]:
    """An empty page with every module at hand: modules.preprocess, modules.own_model, ..."""
    with browser.new_context() as context:
        page = context.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.set_content("<!doctype html><title>Workbench</title><main></main>")
        page.evaluate("window.modules = {}")
        scripts = (link_attention(b""), link_training(b"", b""), link_steps(b"", b""))
        for linked in (*scripts, link_page(web_bytes(*network()), b"")):
            inside, _, _ = linked.rpartition("})();")
            names = re.findall(r"^const \$(\w+) = \(\(\) => \{$", inside, re.MULTILINE)
            modules = ", ".join(f"{name}: ${name}" for name in names)
            page.add_script_tag(content=f"{inside}Object.assign(modules, {{ {modules} }});\n}})();")
        in_notebooks, _, _ = link_notebook().rpartition("export default")
        page.add_script_tag(
            content=f"(() => {{\n{in_notebooks}modules.notebook = $notebook;\n}})();"
        )
        yield page
    assert errors == []


def call(page: Page, name: str, *given: object) -> Any:
    """What a function of a module returns: call(page, "pad.smooth", points); arrays are lists."""
    return page.evaluate(
        """([name, given]) => {
          const [module, one] = name.split(".");
          const plain = (key, value) => (ArrayBuffer.isView(value) ? [...value] : value);
          return JSON.parse(JSON.stringify(modules[module][one](...given), plain) ?? "null");
        }""",
        [name, given],
    )


def read_there(page: Page, content: bytes, images: np.ndarray) -> np.ndarray:
    """Let the page's JavaScript read images (n, 28, 28) with a network: logits (n, classes)."""
    logits = page.evaluate(
        """([file, images]) => {
          const bytes = Uint8Array.from(atob(file), (letter) => letter.charCodeAt(0));
          const network = modules.forward.openNetwork(bytes);
          return images.map((image) => [...network.read(image).logits]);
        }""",
        [base64.b64encode(content).decode(), images.reshape(len(images), -1).tolist()],
    )
    return np.array(logits)


def through_the_door(page: Page, content: bytes) -> tuple[str, bytes]:
    """What the pad's own-model door says of a file, and the bytes that it hands on."""
    said, used = page.evaluate(
        """async (text) => {
          let used = [];
          const door = new modules.own_model.OwnModel((bytes) => {
            modules.forward.openNetwork(bytes);
            used = [...bytes];
          });
          const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
          await door.take([new File([bytes], "a.safetensors.gz")]);
          return [door.status.textContent, used];
        }""",
        base64.b64encode(content).decode(),
    )
    return said, bytes(used)
