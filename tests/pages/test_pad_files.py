"""A model file that is broken, or means harm, is refused with a sentence."""

from __future__ import annotations

import base64
import json
import re
import struct

import numpy as np
import pytest
from playwright.sync_api import Page

from mnist_lab.export import web_bytes
from tests.pages.web_files import bad_files
from tests.pages.workbench import network, read_there

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


def test_a_small_cnn_with_a_negative_variance_is_refused(bench: Page) -> None:
    content = bytearray(web_bytes(*network()))  # which would not write such a file itself
    (length,) = struct.unpack_from("<Q", content)
    start, _ = json.loads(content[8 : 8 + length])["norm2.running_var"]["data_offsets"]
    struct.pack_into("<f", content, 8 + length + start + 3 * 4, -1)
    with pytest.raises(Exception, match="norm2 has a variance below"):
        read_there(bench, bytes(content), np.zeros((1, 28, 28)))


def test_random_damage_never_gives_anything_but_a_sentence(bench: Page) -> None:
    good = web_bytes(*network("small_cnn", width=2))
    draw = np.random.default_rng(0)
    files = []
    for _ in range(200):
        content = bytearray(good)
        for _ in range(draw.integers(1, 4)):
            content[draw.integers(0, 2_000)] = draw.integers(0, 256)
        files.append(base64.b64encode(bytes(content)).decode())
    bugs = bench.evaluate(
        """(files) => files.map((file) => {
          const bytes = Uint8Array.from(atob(file), (letter) => letter.charCodeAt(0));
          try {
            const network = modules.forward.openNetwork(bytes);
            const { probabilities } = network.read(new Uint8Array(784));
            return probabilities.length > 1 ? "" : "no probabilities";
          } catch (error) {
            return error instanceof modules.safetensors.FileError ? "" : error.stack;
          }
        }).filter(Boolean)""",
        files,
    )
    assert bugs == []
