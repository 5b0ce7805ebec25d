"""Model files for the page, damaged, on a pad in a headless Chromium."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from playwright.sync_api import Page

from mnist_lab.export import web_bytes
from tests.fuzzing.damage import Draw, damaged, damaged_text, pick
from tests.fuzzing.harness import Attempt, Kind, check_sentence
from tests.fuzzing.kinds import demand
from tests.pages.test_pad_files import readings
from tests.pages.workbench import network

_TAKEN = "Your model reads now. Draw something."


def on_page(page: Page) -> Kind:
    """Return the kind of input that is dropped on a pad of this page."""
    good = [
        web_bytes(*network(name, **given))
        for name, given in (("linear", {}), ("mlp", {"hidden": 8}), ("small_cnn", {"width": 2}))
    ]
    good += [web_bytes(*network("small_cnn", width=2), bits=bits) for bits in (3, 8)]

    def make(draw: Draw, _: Path) -> Attempt:
        content = damage_web_file(pick(draw, good), draw)
        return Attempt(lambda: drop(page, content), "", (), f"{len(content):,} bytes")

    return Kind("web", make, 300)


def damage_web_file(content: bytes, draw: Draw) -> bytes:
    """Damage a file anywhere, in its header's JSON, in the card, or in its numbers."""
    size = int.from_bytes(content[:8], "little")
    header, numbers = json.loads(content[8 : 8 + size]), content[8 + size :]
    way = draw.random()
    if way < 0.3:
        return damaged(content, draw)
    if way < 0.5:  # a number or two of another size
        end = len(numbers) // 4 * 4
        values = np.frombuffer(numbers[:end], "<f4").copy()
        values[draw.integers(0, len(values), 2)] *= 10.0 ** draw.integers(-45, 38, 2)
        return content[: 8 + size] + values.tobytes() + numbers[end:]
    if way < 0.75:
        card = json.loads(header["__metadata__"]["card"])
        header["__metadata__"]["card"] = damaged_text(card, draw).decode("latin-1")
        text = json.dumps(header).encode()
    else:
        text = damaged_text(header, draw)
    return len(text).to_bytes(8, "little") + text + numbers


def drop(page: Page, content: bytes) -> str:
    """Drop a file on a pad: it reads, or says why not and leaves the network before it."""
    (found,) = readings(page, [content])
    demand(found["same"], "the network before it reads otherwise afterwards")
    demand(bool(np.allclose(found["read"], 1)), f"probabilities that sum to {found['read']}")
    if found["said"] == _TAKEN:
        return "read"
    check_sentence(found["said"].replace(". The network", ", the network"), "goes on reading")
    return "refused"
