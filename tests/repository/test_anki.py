"""The deck of cards: all questions and all words, which Anki knows again."""

from __future__ import annotations

import json
import re
import sqlite3
import zipfile
from pathlib import Path
from typing import Any

import genanki
import pytest

from tools import anki
from tools.anki import (
    Card,
    make_decks,
    make_question,
    read_glossary,
    render_formulas,
    render_markdown,
)

QUESTION: dict[str, Any] = {
    "id": "sum",
    "question": "What is $a<b$? (One digit, then Enter.)",
    "type": "multiple_choice",
    "answers": [
        {"answer": "right", "correct": True, "feedback": "Indeed."},
        {"answer": "a mistake", "correct": False, "feedback": "It is not."},
    ],
}


def cards() -> list[Card]:
    return [card for deck in make_decks() for card in deck.notes]


def test_every_question_and_every_word_has_a_card_of_its_own() -> None:
    questions = [json.loads(path.read_text("utf-8")) for path in anki.QUESTIONS.glob("ch*.json")]
    words = re.findall(r"^  \S", anki.GLOSSARY.read_text(encoding="utf-8"), re.M)
    identities = [card.guid for card in cards()]
    assert len(set(identities)) == len(identities) == sum(map(len, questions)) + len(words)


def test_nothing_of_the_markup_is_left_on_a_card() -> None:
    for card in cards():
        text = " ".join(card.fields)
        assert not re.search(r"\$|`|\{term\}|\*\*|, then Enter", text), text
        assert text.count(r"\(") == text.count(r"\)")
        assert all(card.fields[0:1])


def test_a_card_is_the_same_card_when_its_words_change() -> None:
    one = make_question("ch01", QUESTION)
    other = make_question("ch01", QUESTION | {"question": "What, then?"})
    assert one.guid == other.guid != make_question("ch02", QUESTION).guid
    assert one.fields != other.fields


def test_a_question_does_not_give_its_answer_away() -> None:
    asked, choices, answers, source = make_question("ch09", QUESTION).fields
    assert asked == r"What is \(a<b\)? (One digit.)"
    assert choices == "<ul><li>a mistake</li><li>right</li></ul>"
    assert '<li class="right">✓ <b>right</b><br>Indeed.</li>' in answers
    assert '<li class="wrong">✗ <b>a mistake</b><br>It is not.</li>' in answers
    assert source == "mnist-lab, chapter 9"


def test_a_meaning_is_shown_as_the_page_shows_it() -> None:
    text = "An {term}`optimiser`, {term}`a step <step>` of *size* $a < b$, by `step()`."
    assert render_markdown(text) == (
        r"An optimiser, a step of <em>size</em> \(a &lt; b\), by <code>step()</code>."
    )
    assert render_formulas(r"from $$x$$ to \$5 and $y$") == r"from \[x\] to \$5 and \(y\)"


def test_a_glossary_without_a_language_is_refused() -> None:
    with pytest.raises(ValueError, match="this one has not: 'digit"):
        read_glossary("```{glossary}\ndigit\n  A sign.\n```\n")


def test_the_package_holds_a_collection_and_its_notes(tmp_path: Path) -> None:
    file = tmp_path / "deck.apkg"
    genanki.Package(make_decks()).write_to_file(str(file), timestamp=1_764_464_000)
    with zipfile.ZipFile(file) as package:
        package.extract("collection.anki2", tmp_path)
    with sqlite3.connect(tmp_path / "collection.anki2") as collection:
        (notes,) = collection.execute("select count(*) from notes").fetchone()
        (shown,) = collection.execute("select count(*) from cards").fetchone()
    assert notes == len(cards())
    assert shown == notes + len(make_decks()[1].notes)  # a word is asked for in both directions
