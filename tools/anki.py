"""Write a deck of cards for Anki: the questions of all quizzes, and the glossary.

    python -m tools.anki

writes `_build/editions/mnist-lab.apkg`, which Anki imports on any device. A question shows its
choices, and behind it says of each why it is right or wrong. A word is asked for twice: English to
meaning, and 中文 to English. A card keeps its identity when its text changes, so a newer deck
updates the older one and leaves alone what a reader's Anki knows of their learning.
"""

from __future__ import annotations

import html
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import genanki
from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin
from mdit_py_plugins.myst_role import myst_role_plugin

from mnist_lab.lessons.palette import PAGE_BY_DAY, PAGE_BY_NIGHT, write_properties
from mnist_lab.lessons.quizzes import load_questions

ROOT = Path(__file__).parents[1]
GLOSSARY = ROOT / "book" / "glossary.md"
QUESTIONS = ROOT / "mnist_lab" / "lessons" / "questions"
DECK = ROOT / "_build" / "editions" / "mnist-lab.apkg"

# By these numbers, drawn once, Anki knows decks and kinds of notes again.
QUIZ_DECK, GLOSSARY_DECK = 1_764_464_001, 1_764_464_002
QUIZ_NOTES, GLOSSARY_NOTES = 1_764_464_003, 1_764_464_004

STYLE = f"""
.card {{ {write_properties(PAGE_BY_DAY)} }}
.nightMode.card, .nightMode .card {{ {write_properties(PAGE_BY_NIGHT)} }}
.card {{
  max-width: 34rem; margin: 0 auto; padding: 1rem;
  font: 1.15rem/1.55 system-ui, "Noto Sans CJK SC", sans-serif;
  color: var(--ink); background: var(--paper);
}}
ul {{ padding-left: 0; list-style: none; }}
li {{ margin: 0.5rem 0; padding-left: 0.8rem; border-left: 3px solid var(--paper-edge); }}
li.right {{ border-color: var(--green-tick); }}
li.wrong {{ border-color: var(--red-pen); }}
small {{ color: var(--ink-soft); }}
"""

QUIZ = genanki.Model(
    QUIZ_NOTES,
    "mnist-lab quiz",
    fields=[{"name": name} for name in ("Question", "Choices", "Answers", "Source")],
    templates=[
        {
            "name": "Question",
            "qfmt": "<p>{{Question}}</p>{{Choices}}",
            "afmt": "<p>{{Question}}</p><hr id=answer>{{Answers}}<p><small>{{Source}}</small></p>",
        }
    ],
    css=STYLE,
)

WORDS = genanki.Model(
    GLOSSARY_NOTES,
    "mnist-lab glossary",
    fields=[{"name": name} for name in ("English", "中文", "Meaning")],
    templates=[
        {
            "name": "English to meaning",
            "qfmt": "<p><b>{{English}}</b></p>",
            "afmt": "{{FrontSide}}<hr id=answer><p>{{中文}}</p><p>{{Meaning}}</p>",
        },
        {
            "name": "中文 to English",
            "qfmt": "<p><b>{{中文}}</b></p>",
            "afmt": "{{FrontSide}}<hr id=answer><p>{{English}}</p><p>{{Meaning}}</p>",
        },
    ],
    css=STYLE,
)


class Card(genanki.Note):  # type: ignore[misc] # genanki has no types
    """A note with an identity of its own, whatever its fields say."""

    def __init__(self, model: genanki.Model, identity: str, fields: list[str], tag: str) -> None:
        super().__init__(model, fields, guid=genanki.guid_for("mnist-lab", identity), tags=[tag])


# --- The glossary --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Entry:
    """A word of the glossary; its meaning is Markdown."""

    english: str
    chinese: str
    meaning: str


def read_glossary(text: str) -> list[Entry]:
    """Return the entries of a page with a `glossary` directive.

    Raises
    ------
    ValueError
        If an entry is not an English line, a 中文 line and an indented meaning.
    """
    entries = []
    for block in re.findall(r"^```\{glossary\}\n(.*?)^```", text, re.M | re.S):
        for entry in block.strip().split("\n\n"):
            match = re.fullmatch(r"(\S.*)\n(\S.*(?:\n\S.*)*)\n((?: {2}.*\n?)+)", entry)
            if match is None:
                raise ValueError(
                    f"A glossary entry has an English line, a 中文 line and an indented meaning; "
                    f"this one has not: {entry[:60]!r}."
                )
            english, chinese, meaning = match.groups()
            entries.append(Entry(english, chinese.replace("\n", ", "), " ".join(meaning.split())))
    return entries


def _render_role(renderer: Any, tokens: Any, index: int, options: Any, env: Any) -> str:
    """Show a role such as {term}`token <tokens>` as its words."""
    return str(tokens[index].content.partition(" <")[0])


def render_markdown(text: str) -> str:
    """Return a line of Markdown as HTML, with formulas as Anki's MathJax takes them."""
    markdown = MarkdownIt("commonmark").use(myst_role_plugin)
    markdown.use(dollarmath_plugin)
    markdown.add_render_rule("myst_role", _render_role)
    markdown.add_render_rule("math_inline", _render_formula)
    return str(markdown.renderInline(text))


def _render_formula(renderer: Any, tokens: Any, index: int, options: Any, env: Any) -> str:
    return rf"\({html.escape(tokens[index].content, quote=False)}\)"


# --- The quizzes ---------------------------------------------------------------------------------


def render_formulas(text: str) -> str:
    """Return a text of a quiz, which is HTML with $formulas$, as Anki takes it."""
    text = re.sub(r"(?<!\\)\$\$(.+?)(?<!\\)\$\$", r"\\[\1\\]", text, flags=re.S)
    return re.sub(r"(?<!\\)\$(.+?)(?<!\\)\$", r"\\(\1\\)", text, flags=re.S)


def make_question(chapter: str, question: dict[str, Any]) -> Card:
    """Return the card of a question of a quiz."""
    asked = re.sub(r" \(Then Enter\.\)|, then Enter(?=\.\))", "", question["question"])
    answers = [answer for answer in question["answers"] if answer.get("type") != "default"]
    choices = ""
    if question["type"] == "numeric":
        answers = [answer for answer in answers if answer["correct"]]  # the wrong ones are too many
    else:
        answers.sort(key=lambda answer: str(answer["answer"]))  # in the file the right ones lead
        choices = _items(f"<li>{answer['answer']}</li>" for answer in answers)
    explained = _items(
        f'<li class="{kind}">{sign} <b>{_say(answer)}</b><br>{answer["feedback"]}</li>'
        for answer in answers
        for kind, sign in [("right", "✓") if answer["correct"] else ("wrong", "✗")]
    )
    source = f"mnist-lab, chapter {int(chapter.removeprefix('ch'))}"
    fields = [render_formulas(text) for text in (asked, choices, explained, source)]
    return Card(QUIZ, f"{chapter} {question['id']}", fields, chapter)


def _items(items: Any) -> str:
    return f"<ul>{''.join(items)}</ul>"


def _say(answer: dict[str, Any]) -> str:
    """Return an answer as a reader would write it."""
    if "range" in answer:
        low, high = answer["range"]
        return f"from {low} to {high}"
    return str(answer.get("answer", answer.get("value")))


# --- The deck ------------------------------------------------------------------------------------


def make_decks() -> list[genanki.Deck]:
    """Return the two decks: the quizzes in the order of the chapters, and the glossary."""
    quiz = genanki.Deck(QUIZ_DECK, "mnist-lab::Quiz")
    for path in sorted(QUESTIONS.glob("ch*.json")):
        for question in load_questions(path.stem):
            quiz.add_note(make_question(path.stem, question))
    words = genanki.Deck(GLOSSARY_DECK, "mnist-lab::Glossary")
    for entry in read_glossary(GLOSSARY.read_text(encoding="utf-8")):
        fields = [entry.english, entry.chinese, render_markdown(entry.meaning)]
        words.add_note(Card(WORDS, f"glossary {entry.english}", fields, "glossary"))
    return [quiz, words]


def write_cards(target: Path) -> None:
    """Write both decks into one file."""
    target.parent.mkdir(parents=True, exist_ok=True)
    genanki.Package(make_decks()).write_to_file(str(target))


def main() -> None:
    """Write the deck, and say where."""
    write_cards(DECK)
    sys.stdout.write(f"{DECK.relative_to(ROOT)}  {DECK.stat().st_size / 1e6:.1f} MB\n")


if __name__ == "__main__":
    main()
