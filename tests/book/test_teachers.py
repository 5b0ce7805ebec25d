"""book/teachers.md: its times are those of the chapters, and its plans leave no chapter out."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "book" / "teachers.md").read_text(encoding="utf-8")
CHAPTERS = sorted((ROOT / "notebooks").glob("ch*.ipynb"))
WORDS = {"an": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5}
NUMBER = r"(\d+|an|one|two|three|four|five)"


def minutes(words: str) -> int:
    """Return the first time that a text names, in minutes.

    Raises
    ------
    ValueError
        If it names none.
    """
    words = words.lower()
    if match := re.search(r"three quarters of an hour", words):
        return 45
    match = re.search(rf"{NUMBER} (minutes?|hours?)( and a half)?", words)
    if not match:
        raise ValueError(f"{words!r} names no time.")
    count = int(match[1]) if match[1].isdigit() else WORDS[match[1]]
    return (count * 60 if match[2].startswith("hour") else count) + 30 * bool(match[3])


def row_of(chapter: Path) -> tuple[str, str]:
    """Return what the table says of a chapter: the time to read and that in class."""
    found = re.search(
        rf"^\* - \[[^\]]*\]\(\.\./notebooks/{chapter.name}\)\n  - (.*)\n  - (.*)$",
        PAGE,
        re.MULTILINE,
    )
    assert found, f"{chapter.name} is not in the table"
    return found[1], found[2]


def said_by(chapter: Path) -> str:
    """Return what a chapter says of how long it takes."""
    first = "".join(json.loads(chapter.read_text(encoding="utf-8"))["cells"][0]["source"])
    return first.split("**How long it takes.**")[1].partition("\n")[0]


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_a_chapter_takes_as_long_as_it_says_itself(chapter: Path) -> None:
    to_read, in_class = row_of(chapter)
    said = said_by(chapter)
    assert minutes(to_read) == minutes(said)
    with_exercises = re.search(r"[^,.;]*\bwith the exercises\b[^.]*", said)
    if with_exercises:
        times = re.findall(rf"{NUMBER}(?: hours)?(?= hours|\.|,|$| to )", with_exercises[0].lower())
        longest = max(int(t) if t.isdigit() else WORDS[t] for t in times)
        assert minutes(in_class) == 60 * longest
    assert minutes(in_class) > 1.5 * minutes(to_read)


def test_the_longest_plan_has_every_chapter_once() -> None:
    plan = PAGE.split("## A plan in weeks")[1].split("\n## ")[0]
    weeks: list[int] = []
    taught: list[int] = []
    for row in re.findall(r"^\* - (\d+(?: to \d+)?)\n  -.*\n  -.*\n  - (.*)$", plan, re.MULTILINE):
        first, _, last = row[0].partition(" to ")
        weeks += range(int(first), int(last or first) + 1)
        numbers = [int(number) for number in re.findall(r"\d+", row[1])]
        taught += range(numbers[0], numbers[-1] + 1)
    assert weeks == list(range(1, weeks[-1] + 1))
    assert f"The whole ({weeks[-1]} weeks)" in plan
    assert sorted(set(taught)) == [int(chapter.name[2:4]) for chapter in CHAPTERS]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("About an hour and a half to read", 90),
        ("Three quarters of an hour to read, and about three hours", 45),
        ("about 4 hours", 240),
        ("40 minutes to read, and half an hour more", 40),
    ],
)
def test_times_are_read_from_words(words: str, expected: int) -> None:
    assert minutes(words) == expected
