"""One style in all prose: a space before the per cent sign, and what was learnt is not learned."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [
        *(ROOT / "book").glob("*.md"),
        *(ROOT / "notebooks").glob("ch*.ipynb"),
        *(ROOT / "mnist_lab" / "lessons" / "questions").glob("*.json"),
        ROOT / "README.md",
    ]
)
# What is no prose: code, comments for programs, formulas, what a role or a link says to a machine,
# and what an article printed, in its own words.
NO_PROSE = re.compile(
    r"```.*?^\s*```|:::?\{grid.*?^::::$|<!--.*?-->|`[^`]*`|\]\([^)]*\)|\$[^$]*\$|「[^」]*」|^:\w+:.*?$"
    r"|https?://\S+",
    re.DOTALL | re.MULTILINE,
)


def prose_of(text: str) -> str:
    """Return a text without what is no prose; the glossary's definitions are prose."""
    text = text.replace("```{glossary}", "").replace("```{list-table}", "")
    return NO_PROSE.sub(" ", text)


def read(path: Path) -> str:
    """Return the prose of a page, of a chapter's text cells, or of a quiz."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        cells = json.loads(text)["cells"]
        text = "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    return prose_of(text)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
class TestAPage:
    def test_has_a_space_before_a_per_cent_sign(self, page: Path) -> None:
        assert re.findall(r".{0,20}\d%.{0,10}", read(page)) == []

    def test_says_learnt(self, page: Path) -> None:
        assert re.findall(r".{0,20}\b[Ll]earned\b.{0,10}", read(page)) == []


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("It reads 99% of `50%` and [95%](a%20b).", ["99%", "95%"]),
        ("「98.5%」 “98.5 %” $5%$", []),
        ("```python\nf'{x:.2%} 5%'\n```\n5%", ["5%"]),
        ("```{glossary}\nword\n  Learned in 5%.\n```", ["5%"]),
        ("{measured}`articles:a|.2%` and 3 %", []),
    ],
)
def test_only_prose_is_judged(text: str, left: list[str]) -> None:
    assert re.findall(r"\d+%", prose_of(text)) == left
