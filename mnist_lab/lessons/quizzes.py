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

with needs_extra("chapters"):
    from jupyterquiz import display_quiz

# jupyterquiz's names for its colours; the values are the book's.
_COLOURS = {
    "--jq-multiple-choice-bg": "#1d2440",
    "--jq-many-choice-bg": "#1d2440",
    "--jq-numeric-bg": "#1d2440",
    "--jq-mc-button-bg": "#fbfaf7",
    "--jq-mc-button-border": "#d9d4c7",
    "--jq-mc-button-inset-shadow": "#d9d4c7",
    "--jq-numeric-input-bg": "#fbfaf7",
    "--jq-numeric-input-label": "#1d2440",
    "--jq-incorrect-color": "#c8402c",
    "--jq-correct-color": "#2e7d55",
    "--jq-text-color": "#fbfaf7",
    "--jq-link-color": "#9fc3ee",
}


def load_questions(chapter: str) -> list[dict[str, Any]]:
    """Return the questions of a chapter such as "ch01", as jupyterquiz takes them.

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
            load_questions(chapter),
            colors=_COLOURS,
            border_radius=6,
            max_width=680,
        )
    finally:
        random.setstate(state)
