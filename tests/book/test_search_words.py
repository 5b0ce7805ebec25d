"""The search of the book: numbers and Chinese are words, in the index and in a question."""

from __future__ import annotations

import re
import sys
from collections import Counter
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser

from tests.browsing import SITE, Trouble, both_doors, opened, watch

sys.path.insert(0, str(Path(__file__).parents[2] / "book" / "_ext"))

from search_words import CHINESE, SearchBook


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("98.523 % of 784", ["98.523", "of", "784"]),
        (r"70000 70,000 70_000 70\,000 70{,}000", ["70000"] * 5),
        ("(60,000, 28, 28) and 28,28", ["60000", "28", "28", "and", "28,28"]),
        ("1,234,567.5", ["1234567.5"]),
        ("version 0.1.0, 28/28, 3x3", ["version", "0.1.0", "28", "28", "3x3"]),
        ("a ch05_train, conv2d", ["a", "ch05_train", "conv2d"]),
        ("字 end", ["字", "end"]),
        ("共70,000张", ["共", "70000", "张"]),
        ("迁移学习", ["迁", "移", "学", "习", "迁移", "移学", "学习"]),
    ],
)
def test_a_text_is_cut_into_words(text: str, words: list[str]) -> None:
    assert SearchBook({}).split(text) == words


def test_a_question_is_cut_as_the_index_is(browser: Browser, address: str, site: Path) -> None:
    """Every page, by the Python of the build and by the JavaScript of the search page."""
    texts = [
        re.sub(r"<[^<]+?>", " ", path.read_text(encoding="utf-8"))
        for path in sorted(site.glob("*/**/*.html"))
    ]
    assert len(texts) > 20
    with opened(browser, address, "served", "search.html") as (page, _):
        page.wait_for_function("typeof splitQuery === 'function' && Search.hasIndex()")
        asked = [page.evaluate("text => splitQuery(text)", text) for text in texts]
    for text, words in zip(texts, asked, strict=True):
        # The index has single characters too, where a question has pairs.
        runs = re.findall(f"[{CHINESE}]{{2,}}", text)
        assert Counter(words) == Counter(SearchBook({}).split(text)) - Counter("".join(runs))


@both_doors
@pytest.mark.parametrize(
    ("question", "pages"),
    [
        ("98.523", ["Three articles"]),
        ("70000", ["1. Prepare the data", "Read handwritten digits"]),
        ("70,000", ["1. Prepare the data"]),
        ("784", ["2. Fit a linear classifier"]),
        ("OCR", ["Read handwritten digits"]),
        ("微调", ["Three articles", "Glossary", "Read handwritten digits"]),
        ("迁移学习", ["Read handwritten digits"]),
        ("gradient descent", ["3. Derive backpropagation"]),
    ],
)
def test_what_is_asked_for_is_found(
    browser: Browser, address: str, door: str, question: str, pages: list[str]
) -> None:
    start = address if door == "served" else SITE.as_uri()
    with browser.new_context() as context:
        page, trouble = watch(context, address)
        page.goto(f"{start}/search.html?q={quote(question)}")
        done = page.locator("#search-results .search-summary", has_text="Search finished")
        done.wait_for(state="attached", timeout=10_000)
        titles = page.locator("#search-results li a").all_text_contents()
        page.wait_for_load_state("networkidle")
    assert trouble == Trouble()
    assert all(any(title.startswith(wanted) for title in titles) for wanted in pages), titles


def test_a_result_shows_where_a_number_stands(browser: Browser, address: str) -> None:
    with opened(browser, address, "served", "search.html?q=70000") as (page, _):
        entry = page.locator("#search-results li", has_text="Read handwritten digits").first
        entry.locator(".context", has_text="70,000").wait_for()
        page.wait_for_load_state("networkidle")
        entry.locator("a").click()
        page.locator("article span.highlighted", has_text="70,000").first.wait_for()
