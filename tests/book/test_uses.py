"""book/uses.md and book/questions.md: their example runs, and the articles' questions are there."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnist_lab.handwriting.reader import Reader
from mnist_lab.models import build_model
from tests.handwriting.forms import make_form

ROOT = Path(__file__).parents[2]
USES = (ROOT / "book" / "uses.md").read_text(encoding="utf-8")
QUESTIONS = (ROOT / "book" / "questions.md").read_text(encoding="utf-8")


def test_the_example_sorts_a_form_into_its_fields(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It needs no network that has learnt: what is read is another matter than where it stands."""
    example = re.search(r"```python\n(.*?)```", USES, re.S)
    assert example is not None
    digits = np.zeros((8, 28, 28), np.uint8)
    digits[:, 5:23, 8:20] = 255
    digits[:, 9:19, 11:17] = 0
    form = make_form("boxes", digits).photograph()
    sheet = np.concatenate([form, form])
    Image.fromarray(sheet).save(tmp_path / "form.png")
    monkeypatch.chdir(tmp_path)
    reader = Reader(build_model("linear", seed=0))
    monkeypatch.setattr("mnist_lab.handwriting.load_reader", lambda folder: reader)
    exec(compile(example[1], "uses.md", "exec"), {})
    fields = re.findall(r"^field (\d): (\d(?: \d)*)", capsys.readouterr().out, re.M)
    assert [(number, len(read.split())) for number, read in fields] == [("1", 8), ("2", 8)]


@pytest.mark.parametrize("number", ["000-9.1", "000-9.2", "000-9.3", "001-9.1", "001-9.2", "9.3"])
def test_the_articles_questions_are_answered(number: str) -> None:
    assert re.search(rf"\*\* \([^)]*\b{re.escape(number)}\b", QUESTIONS)


def test_every_answer_leads_somewhere_or_is_whole() -> None:
    """A question is a bold sentence on a line of its own, an answer is what follows it."""
    entries = re.split(r"^\*\*.*\?\*\*.*\n|^\*\*.*\.\*\*\n", QUESTIONS, flags=re.M)[1:]
    assert len(entries) > 20
    assert all(entry.strip() for entry in entries)
