"""The small Sphinx extensions of the book: numbers from records, words for pictures, examples."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
from base64 import b64encode
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

BOOK = Path(__file__).parents[2] / "book"
sys.path.insert(0, str(BOOK / "_ext"))

import alt_text  # noqa: E402
import digit_attention  # noqa: E402
import digit_pad  # noqa: E402
import light_icons  # noqa: E402
import measured  # noqa: E402
import package_reference  # noqa: E402
import page_anchors  # noqa: E402
import panels  # noqa: E402
import plain_roles  # noqa: E402
from docutils.core import publish_doctree  # noqa: E402
from sphinx.errors import ExtensionError  # noqa: E402

from tools.rooms import read_modules  # noqa: E402


@pytest.fixture
def records(tmp_path: Path) -> Path:
    record = {
        "accuracy": {"mean": 0.98765, "runs": [0.98, 0.99]},
        "name": "small_cnn",
        "gap": None,
        "once": {"mean": 0.9, "std": None, "low": None, "n": 1},
        "twice": {"mean": 0.9, "std": None, "n": 2},
    }
    (tmp_path / "trial.json").write_text(json.dumps(record), encoding="utf-8")
    (tmp_path / "broken.json").write_text("{", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("trial:accuracy.mean|.2%", "98.77\N{NO-BREAK SPACE}%"),
        ("trial:accuracy.mean", "0.98765"),
        ("trial:accuracy.runs.1|.1f", "1.0"),
        ("trial:name", "small_cnn"),
        ("trial:once.std|.2%", "\N{EN DASH}"),
        ("trial:once.low|.2%", "\N{EN DASH}"),
    ],
)
def test_a_number_comes_from_its_record(records: Path, text: str, shown: str) -> None:
    assert measured.show(records, text) == shown


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("trial", "expected file:path"),
        ("absent:accuracy", "there is no record"),
        ("trial:twice.std|.2%", "'twice.std' is null, not a single value"),
        ("broken:accuracy", "is not JSON"),
        ("trial:accuracy.median", "'accuracy.median' is not there .found: mean, runs"),
        ("trial:accuracy.runs.2", "'accuracy.runs.2' is not there"),
        ("trial:accuracy", "not a single value"),
        ("trial:gap|.2f", "is null"),
        ("trial:name|.2f", "does not take the format"),
    ],
)
def test_what_no_record_holds_is_refused(records: Path, text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        measured.show(records, text)


def test_the_words_of_a_plot_are_found_by_its_hash(tmp_path: Path) -> None:
    picture = b"not really a picture"
    output = {
        "data": {"image/png": base64.b64encode(picture).decode() + "\n", "text/plain": "<plot>"},
        "metadata": {"image/png": {"alt": "A blue line rises.", "width": 680}},
    }
    notebook = tmp_path / "chapter.ipynb"
    notebook.write_text(json.dumps({"cells": [{"outputs": [output]}, {}]}), encoding="utf-8")
    found = alt_text.pictures_in_notebook(notebook)
    assert found == {hashlib.sha256(picture).hexdigest(): output["metadata"]["image/png"]}


def test_an_indented_block_becomes_code_once() -> None:
    lines = ["Use:", "", "    go()", "", "    stop()", "", "Done.", "", "So::", "", "    again()"]
    expected = [*lines[:2], "::", "", *lines[2:]]
    assert package_reference.mark_examples(lines) == expected


def test_every_module_is_in_the_package_reference_once_but_for_solutions() -> None:
    pages = [path.read_text(encoding="utf-8") for path in (BOOK / "package").glob("*.md")]
    shown = re.findall(r"^\.\. automodule:: mnist_lab\.(\S+)$", "\n".join(pages), re.MULTILINE)
    rooms = {
        name for name, module in read_modules().items() if module.is_folder and "." not in name
    }
    wanted = [name for name in read_modules() if not re.search(r"\.ch\d\d$|^__main__$", name)]
    assert sorted(shown) == sorted(set(wanted) - rooms)


@pytest.mark.parametrize(
    ("extension", "setting", "maker"),
    [
        (digit_pad, "digit_pad_weights", "recogniser"),
        (digit_attention, "digit_attention_weights", "transformer"),
    ],
)
def test_a_build_without_a_network_of_the_pages_says_how_to_make_it(
    tmp_path: Path, extension: Any, setting: str, maker: str
) -> None:
    config = SimpleNamespace(**{setting: "_build/none.safetensors"})
    app = SimpleNamespace(config=config, srcdir=str(tmp_path))
    with pytest.raises(ExtensionError, match=rf"make book.*book\.{maker} _build/none"):
        extension.write_script(app)
    (tmp_path / "_build").mkdir()
    (tmp_path / "_build" / "none.safetensors").write_bytes(b"weights")
    (tmp_path / "_build" / "digits.png").write_bytes(b"digits")
    assert b64encode(b"weights").decode() in extension.write_script(app)


@pytest.mark.parametrize("builder", ["html", "epub"])
def test_a_script_is_linked_for_pages_alone(tmp_path: Path, builder: str) -> None:
    connected: dict[str, Any] = {}
    app: Any = SimpleNamespace(
        builder=SimpleNamespace(name=builder), outdir=str(tmp_path), connect=connected.__setitem__
    )
    panels.add_script(app, "panel.js", lambda _: "run();")
    connected["builder-inited"](app)
    assert (tmp_path / "_static" / "panel.js").is_file() == (builder == "html")


GITHUB = '"github":[496,512,[],"f09b","M1 2z"]'
SEARCH = '"magnifying-glass":[512,512,[128269,"search"],"f002","M3 4z"]'
MOON = 'moon:[384,512,["dark"],"f186",["M5","M6"]]'


def test_drawings_that_nobody_names_are_taken_out() -> None:
    script = "{" + ",".join([GITHUB, SEARCH, MOON] * 400) + "};other({a:[1,2,[3]]})"
    kept = light_icons.keep_drawings(script, {"search", "list"})
    assert kept == "{" + (SEARCH + ",") * 400 + "};other({a:[1,2,[3]]})"
    assert light_icons.keep_drawings(script, {"github", "search", "dark"}) == script
    with pytest.raises(ExtensionError, match="written in another way"):
        light_icons.keep_drawings("{}", {"search"})


def test_every_icon_that_a_page_names_has_a_drawing(site: Path) -> None:
    script = (site / light_icons.SCRIPT).read_text(encoding="utf-8")
    assert len(script) < 150_000
    there = {
        name
        for drawing in light_icons.DRAWING.finditer(script)
        for name in (drawing["name"], *re.findall(r'"([\w-]+)"', drawing["others"]))
    }
    shown = {
        icon
        for path in site.rglob("*.html")
        for words in re.findall(r'<i class="([^"]*)"', path.read_text(encoding="utf-8"))
        for icon in re.findall(r"\bfa-([a-z0-9-]+)", words)
    }
    assert "rocket" in shown
    assert shown - there == {"solid", "lg"}  # a style, and a size


def test_headings_name_no_chinese_font() -> None:
    """Where it is the first that a machine has, the apostrophe of a heading is full-width."""
    sheet = (BOOK / "static" / "mnist-lab.css").read_text(encoding="utf-8")
    (families,) = re.findall(r"--pst-font-family-heading:([^;]*);", sheet)
    assert families.strip().endswith("serif")
    assert not re.search(r"CJK|Song|Ming|\bSC\b", families)


def test_the_lines_of_a_signature_define_nothing() -> None:
    real = "<dl>\n<dt>word</dt><dd>what it means</dd>\n</dl>"
    lines = "<dl>\n<dd><em>one</em>,</dd>\n<dd>two</dd>\n</dl>"
    written = plain_roles.write_lines(f"f({lines}) {real}")
    assert written == (
        'f(<span class="sig-lines"><span class="sig-line"><em>one</em>,</span>\n'
        f'<span class="sig-line">two</span>\n</span>) {real}'
    )


def test_a_name_that_a_page_gives_is_known_to_other_pages() -> None:
    doctree = publish_doctree("Title\n=====\n\n.. _claim-1:\n\nA paragraph.\n")
    metadata: dict[str, dict[str, Any]] = {"page": {"myst_slugs": {"title": (1, "title", "Title")}}}
    app = SimpleNamespace(env=SimpleNamespace(metadata=metadata, docname="page"))
    page_anchors.add_anchors(app, doctree)
    assert metadata["page"]["myst_slugs"] == {
        "title": (1, "title", "Title"),
        "claim-1": (None, "claim-1", ""),
    }
