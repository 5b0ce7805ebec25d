"""A number leads where it says: "chapter 7" to chapter 7, in prose, code, comments and links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
import yaml

from mnist_lab.lessons.exercises import EXERCISES

ROOT = Path(__file__).parents[2]
PATHS = {int(path.stem[2:4]): path for path in sorted((ROOT / "notebooks").glob("ch*.ipynb"))}
KINDS = {".ipynb", ".md", ".py", ".js", ".css", ".json", ".toml", ".yml", ".cff"}
MADE = {"_build", "dist", "build", "runs"}  # folders that no commit holds

LINK = r"\[(?P<text>[^\[\]]*)\]\((?P<target>[^()\s]*)\)"
# "Chapter 5", "chapters 5, 7 and 9", "chapters 7 to 9", each number bare or as a link's text.
ITEM = r"(?:\[\d+\]\([^()\s]*\)|\d+)"
MENTION = re.compile(rf"\b[Cc]hapters?\s+(?P<items>{ITEM}(?:(?:,\s+|\s+(?:and|or|to)\s+){ITEM})*)")
CHAPTER_FILE = re.compile(r"(?:^|/)ch(\d\d)_\w+\.(?:ipynb|html|md)(?:#.*)?$")
WORDS = (
    *("ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen"),
    *("seventeen", "eighteen", "nineteen", "twenty"),
)


def texts() -> Iterator[tuple[str, str]]:
    """Yield what a reader of the repository may read: a place, and the text there."""
    folders = [ROOT]
    while folders:
        for path in sorted(folders.pop().iterdir()):
            if path.name.startswith(".") or path.name in MADE or path == Path(__file__):
                continue
            if path.is_dir():
                folders.append(path)
            elif path.suffix == ".ipynb":
                for number, cell in enumerate(nbformat.read(path, as_version=4).cells):
                    yield f"{path.name}, cell {number}", cell.source
            elif path.suffix in KINDS:
                yield str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")


def named(items: str) -> set[int]:
    """Return the numbers of "5", "5, 7 and 9" or "7 to 9"; a range names all that it spans."""
    plain = re.sub(r"\[(\d+)\]\([^()\s]*\)", r"\1", items)
    found = {int(number) for number in re.findall(r"\d+", plain)}
    for first, last in re.findall(r"(\d+)\s+to\s+(\d+)", plain):
        found |= set(range(int(first), int(last) + 1))
    return found


def misleads(text: str, target: str) -> bool:
    """Return whether a link's text or target names a chapter that it does not lead to."""
    led = CHAPTER_FILE.search(target)
    told = MENTION.fullmatch(text)
    if led is None:
        return told is not None
    number = int(led[1])
    if number not in PATHS or PATHS[number].stem not in target:
        return True
    told = told or re.fullmatch(r"(?P<items>\d+)(?:\. .*)?", text)
    return told is not None and named(told["items"]) != {number}


def faults(text: str) -> list[str]:
    """Return the mentions of chapters in a text that lead nowhere, or elsewhere."""
    counts = re.finditer(rf"\b({'|'.join(WORDS)}) chapters\b", text, re.IGNORECASE)
    return [
        *(m[0] for m in MENTION.finditer(text) if not named(m["items"]) <= set(PATHS)),
        *(link[0] for link in re.finditer(LINK, text) if misleads(link["text"], link["target"])),
        *(count[0] for count in counts if WORDS.index(count[1].lower()) + 10 != len(PATHS)),
    ]


def test_every_chapter_that_is_named_stands_and_every_link_leads_to_it() -> None:
    wrong = {place: found for place, text in texts() if (found := faults(text))}
    assert wrong == {}


def test_many_are_named() -> None:
    """The pattern sees what it should: a search that finds nothing would find no fault."""
    mentions = [mention for _, text in texts() for mention in MENTION.finditer(text)]
    links = [link for _, text in texts() for link in re.findall(LINK, text) if "/ch" in link[1]]
    assert len(mentions) > 100
    assert len(links) > 20


MISSING = max(PATHS) + 1
FIVE = PATHS[5].name


@pytest.mark.parametrize(
    "text",
    [
        f"as chapter {MISSING} shows",
        f"Chapters 1, 2 and {MISSING}",
        f"see chapters 1 to {MISSING}",
        f"chapter\n{MISSING}",
        f"[chapter 4]({FIVE})",
        f"Chapter [4]({FIVE})",
        f"| [4. Train a CNN](../notebooks/{FIVE}) |",
        "[chapter 5](ch05_train_another.ipynb)",
        f"[Later](ch{MISSING}_later.ipynb)",
        "[chapter 5](../book/articles.md)",
        f"{WORDS[len(PATHS) - 9]} chapters",
    ],
)
def test_finds_what_leads_elsewhere(text: str) -> None:
    assert faults(text)


@pytest.mark.parametrize(
    "text",
    [
        f"[chapter 5]({FIVE}), [Chapter 5](../notebooks/{FIVE}#a-heading), [Train a CNN]({FIVE})",
        f"Chapters [5]({FIVE}) to [7]({PATHS[7].name}), in this chapter, chapters",
        f"[](../notebooks/{FIVE}) and [5. Train a CNN](../notebooks/{FIVE})",
        f"{WORDS[len(PATHS) - 10].capitalize()} chapters",
    ],
)
def test_lets_the_rest_pass(text: str) -> None:
    assert faults(text) == []


def test_titles_carry_the_number_which_contents_and_browser_tabs_show() -> None:
    for number, path in PATHS.items():
        first = nbformat.read(path, as_version=4).cells[0]
        assert first.cell_type == "markdown"
        assert re.match(rf"# {number}\. [A-Z]\w", first.source), path.name


def test_the_contents_name_each_chapter_once_in_order_and_by_its_own_title() -> None:
    contents = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    # Numbers that Jupyter Book gave would take no notice of a missing one, and no tab shows them.
    assert contents["options"]["numbered"] is False
    entries = [entry for part in contents["parts"] for entry in part["chapters"]]
    named_there = [entry for entry in entries if entry["file"].startswith("notebooks/")]
    assert [entry["file"] for entry in named_there] == [
        f"notebooks/{path.stem}" for path in PATHS.values()
    ]
    assert all(set(entry) == {"file"} for entry in named_there)


def test_each_chapter_has_its_own_exercises_quiz_and_effects_and_no_other() -> None:
    names = {f"ch{number:02d}" for number in PATHS}
    assert {exercise.chapter for exercise in EXERCISES.values()} == names
    questions = ROOT / "mnist_lab" / "lessons" / "questions"
    assert {path.stem for path in questions.glob("*.json")} == names
    for number, path in PATHS.items():
        code = [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
        text = "\n".join(cell.source for cell in code)
        assert re.findall(r'show_quiz\("(\w+)"\)', text) == [f"ch{number:02d}"]
        for cell in code:
            if "effect" in cell.metadata:
                assert cell.metadata["effect"]["name"].startswith(f"ch{number:02d} ")
