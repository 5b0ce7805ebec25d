"""The quiz at the end of each chapter: questions from the package, shown by jupyterquiz.

    show_quiz("ch01")

It answers at once, without a kernel, on the built page as in a notebook. The questions are package
data, since Colab opens nothing but the notebook.
"""

from __future__ import annotations

import json
import random
from importlib import resources
from typing import Any

from mnist_lab.extras import needs_extra
from mnist_lab.lessons.palette import BLUE_ON_INK, GREEN_TICK, INK, PAPER, QUIZ_EDGE, RED_PEN

with needs_extra("chapters"):
    from jupyterquiz import display_quiz

# jupyterquiz's names for its colours.
_COLOURS = {
    "--jq-multiple-choice-bg": INK,
    "--jq-many-choice-bg": INK,
    "--jq-numeric-bg": INK,
    "--jq-mc-button-bg": PAPER,
    "--jq-mc-button-border": QUIZ_EDGE,
    "--jq-mc-button-inset-shadow": QUIZ_EDGE,
    "--jq-numeric-input-bg": PAPER,
    "--jq-numeric-input-label": INK,
    "--jq-incorrect-color": RED_PEN,
    "--jq-correct-color": GREEN_TICK,
    "--jq-text-color": PAPER,
    "--jq-link-color": BLUE_ON_INK,
}


def load_questions(chapter: str) -> list[dict[str, Any]]:
    """Return the questions of a chapter such as "ch01", as jupyterquiz takes them.

    Each has an `id` besides, which stays when its words change: by it the pages know an answer
    again, and a deck of cards its card.

    Raises
    ------
    FileNotFoundError
        If the chapter has no quiz.
    """
    path = resources.files("mnist_lab").joinpath("lessons", "questions", f"{chapter}.json")
    questions: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return questions


def show_quiz(chapter: str) -> None:
    """Show the quiz of a chapter; the same output every time, so that a test can compare it."""
    state = random.getstate()
    try:
        random.seed(chapter)  # jupyterquiz draws the ids of its elements
        display_quiz(
            [
                {name: part for name, part in question.items() if name != "id"}
                for question in load_questions(chapter)
            ],
            colors=_COLOURS,
            border_radius=6,
            max_width=680,
        )
    finally:
        random.setstate(state)
