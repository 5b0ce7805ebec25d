"""The reader is remembered, in their browser and nowhere else: places, answers, ticks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page

from mnist_lab.lessons.exercises import EXERCISES, judge_answer
from mnist_lab.lessons.quizzes import load_questions
from tests.browsing import DESK, PHONE, SITE, Trouble, both_doors, watch

pytestmark = pytest.mark.site

KEY = "mnist-lab reading"
MEMORY = f"() => localStorage.getItem('{KEY}')"
CHAPTERS = sorted(path.stem for path in (SITE / "notebooks").glob("ch*.html")) or ["none"]
CHAPTER = "notebooks/ch07_go_deeper.html"
QUESTIONS = len(load_questions("ch07"))
PAGE = "book/your_reading.html"
HOME = "book/index.html"
DATE = "2026-11-30T12:00:00.000Z"

# What a quiz shows: of each question the answers that are marked, what is typed, what is said.
SHOWN = """() => [...document.querySelectorAll("div.Quiz")].map((quiz) => ({
  marked: [...quiz.querySelectorAll(".correctButton, .incorrectButton")]
    .map((e) => `${e.dataset.feedback ?? ""} ${e.value ?? ""} ${e.className}`).sort(),
  said: quiz.querySelector(".Feedback").textContent,
}))"""

# Formulas are there, and then answers may be: they are given again when MathJax is ready.
SETTLED = """async () => {
  await window.MathJax?.startup?.promise;
  await new Promise(requestAnimationFrame);
}"""


class Reader:
    """Somebody with a browser of their own, which comes in through one of the doors."""

    def __init__(self, context: BrowserContext, address: str, door: str) -> None:
        self.page, self.trouble = watch(context, address)
        self.context, self.address, self.door = context, address, door

    def open(self, name: str) -> Page:
        """Go to a page of the site, and wait until it has settled."""
        served = self.door == "served"
        self.page.goto(f"{self.address}/{name}" if served else (SITE / name).as_uri())
        self.page.wait_for_load_state("networkidle")
        self.page.evaluate(SETTLED)
        return self.page

    def memory(self) -> Any:
        """Return what is kept, or None."""
        kept = self.page.evaluate(MEMORY)
        return None if kept is None else json.loads(kept)


@contextmanager
def reading(
    browser: Browser, address: str, door: str = "served", **options: Any
) -> Iterator[Reader]:
    """Read with a fresh browser, and expect no trouble at the end."""
    with browser.new_context(**({"viewport": DESK} | options)) as context:
        reader = Reader(context, address, door)
        yield reader
    assert reader.trouble == Trouble(), reader.trouble


def remember(reader: Reader, kept: Any) -> None:
    """Put a memory into the browser."""
    text = kept if isinstance(kept, str) else json.dumps(kept)
    reader.open(PAGE).evaluate("([key, text]) => localStorage.setItem(key, text)", [KEY, text])


def some_memory(**changes: Any) -> dict[str, Any]:
    """Return the memory of somebody who has begun chapter 7."""
    chapter = {
        "seen": {"the-resnet": DATE},
        "exercises": {"clip_together": DATE},
        "quiz": {"paths": {"typed": "32", "right": True, "tries": 2, "date": DATE}},
        "place": {"section": "the-resnet", "date": DATE},
    }
    return {"version": 1, "name": "Ada 王", "chapters": {"ch07": chapter | changes}}


def answer(page: Page, chapter: str, right: bool) -> None:
    """Answer every question of the quiz as a reader does, all right or all wrong."""
    for number, question in enumerate(load_questions(chapter)):
        quiz = page.locator("div.Quiz").nth(number)
        if question["type"] == "numeric":
            values = [a.get("value", a.get("range", [None])[0]) for a in question["answers"]]
            quiz.locator("input").focus()
            page.keyboard.type(str(values[0]) if right else "-1")
            page.keyboard.press("Enter")
            continue
        for choice in question["answers"]:
            if choice["correct"] is right:
                quoted = json.dumps(choice["feedback"], ensure_ascii=False)
                quiz.locator(f"label[data-feedback={quoted}]").click()


# --- A chapter -----------------------------------------------------------------------------------


@both_doors
def test_a_first_visit_shows_nothing_and_keeps_nothing(
    browser: Browser, address: str, door: str
) -> None:
    with reading(browser, address, door) as reader:
        for name in (HOME, CHAPTER):
            page = reader.open(name)
            assert page.locator(".reading-mark, .reading-continue, .reading-quiz").count() == 0
            assert reader.memory() is None
        assert page.locator(".reading-codes").count() == 1
        assert not page.locator(".reading-codes ul").is_visible()
        page = reader.open(PAGE)
        assert page.get_by_text("Nothing yet.").is_visible()
        assert not page.locator("table.reading-progress").is_visible()
        assert reader.memory() is None


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_chapter_is_remembered_until_it_is_done(
    browser: Browser, address: str, chapter: str
) -> None:
    name = chapter[:4]
    ids = [question["id"] for question in load_questions(name)]
    exercises = [one for one in EXERCISES.values() if one.chapter == name]
    with reading(browser, address) as reader:
        page = reader.open(f"notebooks/{chapter}.html")
        title = page.locator(".bd-article h1").inner_text().rstrip("#")
        mark = page.locator(".bd-links li.current .reading-mark")
        answer(page, name, right=True)
        quiz = page.evaluate(SHOWN)
        assert all(question["said"] for question in quiz)
        for exercise in exercises:
            verdict = judge_answer(exercise.name, exercise.solution)
            page.get_by_label("Solved one?").fill(verdict.text)  # the whole line
            page.keyboard.press("Enter")
            said = page.locator(".reading-codes output").text_content()
            assert said == f"{exercise.name} is ticked."
        kept = reader.memory()["chapters"][name]
        assert {id: one["right"] for id, one in kept["quiz"].items()} == dict.fromkeys(ids, True)
        assert list(kept["exercises"]) == [exercise.name for exercise in exercises]
        assert "% done" in (mark.text_content() or "")

        page.goto("about:blank")  # a page that is only reloaded keeps its place
        reader.open(f"notebooks/{chapter}.html")
        assert page.evaluate("[scrollY, document.activeElement.tagName]") == [0, "BODY"]
        assert page.evaluate(SHOWN) == quiz
        assert reader.memory()["chapters"][name]["quiz"] == kept["quiz"]
        ticks = page.locator(".reading-codes li").all_text_contents()
        assert ticks == [exercise.name for exercise in exercises]

        for heading in page.locator(".bd-article h2").all():
            heading.evaluate("e => scrollTo(0, e.getBoundingClientRect().top + scrollY - 500)")
            page.evaluate("() => new Promise((r) => requestAnimationFrame(() => setTimeout(r)))")
        page.evaluate("scrollTo(0, document.body.scrollHeight)")
        page.locator(".reading-done").first.wait_for()
        assert mark.text_content() == " (done)"
        page = reader.open(PAGE)
        row = page.locator("table.reading-progress tr", has_text=title)
        assert row.locator("td.reading-whole").count() == 3


def test_wrong_answers_of_every_kind_are_shown_again(browser: Browser, address: str) -> None:
    kinds = {question["type"] for question in load_questions("ch01")}
    assert kinds == {"multiple_choice", "many_choice", "numeric"}
    with reading(browser, address) as reader:
        page = reader.open(f"notebooks/{CHAPTERS[0]}.html")
        answer(page, "ch01", right=False)
        before = page.evaluate(SHOWN)
        reader.open(f"notebooks/{CHAPTERS[0]}.html")
        assert page.evaluate(SHOWN) == before
        kept = reader.memory()["chapters"]["ch01"]["quiz"].values()
        assert [one["right"] for one in kept] == [False] * len(before)


@both_doors
def test_an_answer_is_remembered_and_can_be_changed(
    browser: Browser, address: str, door: str
) -> None:
    with reading(browser, address, door) as reader:
        page = reader.open(CHAPTER)
        wrong = page.locator(".MCButton", has_text="Mean 0 and variance 1")
        right = page.locator(".MCButton", has_text="Running averages from training")
        wrong.click()
        reader.open(CHAPTER)
        assert "incorrectButton" in (wrong.get_attribute("class") or "")
        assert page.get_by_text(f"1 of {QUESTIONS} answered, 0 right.").is_visible()
        right.click()
        reader.open(CHAPTER)
        assert wrong.get_attribute("class") == "MCButton"
        assert "correctButton" in (right.get_attribute("class") or "")
        assert page.get_by_text(f"1 of {QUESTIONS} answered, 1 right.").is_visible()
        kept = reader.memory()["chapters"]["ch07"]["quiz"]["eval_statistics"]
        assert kept | {"date": ""} == {
            "chosen": ["Running averages from training"],
            "right": True,
            "tries": 2,
            "date": "",
        }


def test_the_keyboard_answers_too(browser: Browser, address: str) -> None:
    with reading(browser, address) as reader:
        page = reader.open(CHAPTER)
        page.locator("div.Quiz").nth(2).locator("input").first.focus()
        page.keyboard.press("Space")
        assert reader.memory()["chapters"]["ch07"]["quiz"]["eval_statistics"]["tries"] == 1


@both_doors
def test_a_code_is_taken_in_any_form_from_any_chapter_and_nothing_else(
    browser: Browser, address: str, door: str
) -> None:
    with reading(browser, address, door) as reader:
        page = reader.open(CHAPTER)
        said = page.locator(".reading-codes output")

        def paste(text: str) -> str | None:
            page.get_by_label("Solved one?").fill(text)
            page.get_by_role("button", name="Tick it").click()
            return said.text_content()

        for text in ("", "clip_together", "QQQQ", EXERCISES["clip_together"].code + "B"):
            assert "no code" in (paste(text) or "")
        assert page.evaluate("READING.ofChapter('ch07').exercises") == {}
        assert paste(f" {EXERCISES['clip_together'].code.lower()} ") == "clip_together is ticked."
        elsewhere = paste(f"{EXERCISES['masked_error'].code}, {EXERCISES['normalise'].code}")
        assert (
            elsewhere
            == "normalise (1. Prepare the data), masked_error (12. Pretrain your own) are ticked."
        )
        assert list(reader.memory()["chapters"]) == ["ch07", "ch01", "ch12"]


def test_who_jumps_to_a_heading_has_not_read_what_stands_before_it(
    browser: Browser, address: str
) -> None:
    with reading(browser, address) as reader:
        page = reader.open(f"{CHAPTER}#gradient-clipping")
        page.wait_for_function("scrollY > 1000")
        for _ in range(3):  # frames, for an observer that should find nothing
            page.evaluate("() => new Promise(requestAnimationFrame)")
        assert page.evaluate("READING.ofChapter('ch07').seen") == {}
        page.mouse.move(700, 500)
        page.mouse.wheel(0, -600)  # up to the end of the section before
        page.wait_for_function("'the-resnet' in READING.ofChapter('ch07').seen")


# --- Where was I? --------------------------------------------------------------------------------


@both_doors
def test_a_reader_may_continue_where_they_were_and_nothing_jumps(
    browser: Browser, address: str, door: str
) -> None:
    with reading(browser, address, door) as reader:
        reader.page.clock.install()
        page = reader.open(CHAPTER)
        page.locator("#the-resnet h2").evaluate("e => e.scrollIntoView()")
        page.evaluate("() => new Promise(requestAnimationFrame)")
        page.clock.run_for(2_000)
        assert reader.memory()["chapters"]["ch07"]["place"]["section"] == "the-resnet"

        page = reader.open(HOME)
        offers = page.locator(".reading-continue")
        assert offers.all_text_contents() == ["Continue: 7. Go deeper, “The ResNet”"] * 2
        page.locator(".bd-article .reading-continue a").click()
        page.wait_for_url("**/ch07_go_deeper.html#the-resnet")
        page.wait_for_function("scrollY > 1000")
        assert offers.count() == 0  # the reader is there

        page = reader.open(CHAPTER)
        assert page.evaluate("scrollY") == 0
        assert offers.all_text_contents() == ["You were at The ResNet."]
        offers.get_by_role("link").click()
        page.wait_for_function("scrollY > 1000")


def test_after_the_end_of_a_chapter_comes_the_next(browser: Browser, address: str) -> None:
    with reading(browser, address) as reader:
        remember(reader, some_memory(place={"section": "where-to-go-next", "date": DATE}))
        page = reader.open(HOME)
        offer = page.locator(".bd-article .reading-continue")
        assert offer.text_content() == "Continue: 8. Regularise and debug"
        offer.get_by_role("link").click()
        page.wait_for_url("**/ch08_regularise_and_debug.html")


def test_the_memory_of_an_older_edition_is_no_trouble(browser: Browser, address: str) -> None:
    kept = some_memory(
        place={"section": "a-section-that-went", "date": DATE},
        seen={"a-section-that-went": DATE},
        exercises={"old": DATE},
        quiz={"old": {"chosen": ["this"], "right": True, "tries": 1, "date": DATE}},
    )
    kept["chapters"]["ch77"] = kept["chapters"]["ch07"]
    with reading(browser, address) as reader:
        remember(reader, kept)
        page = reader.open(HOME)
        offer = page.locator(".bd-article .reading-continue")
        assert offer.text_content() == "Continue: 7. Go deeper"
        page = reader.open(CHAPTER)
        assert page.locator(".reading-mark, .reading-continue, .reading-quiz").count() == 0


# --- The file ------------------------------------------------------------------------------------


@both_doors
def test_what_is_exported_can_be_imported_after_all_is_forgotten(
    browser: Browser, address: str, door: str, tmp_path: Path
) -> None:
    with reading(browser, address, door) as reader:
        remember(reader, some_memory())
        page = reader.open(PAGE)
        page.get_by_label("Your name").fill("Ada Lovelace/../王")
        with page.expect_download() as download:
            page.get_by_role("button", name="Export").click()
        name = download.value.suggested_filename
        assert name.startswith("mnist-lab-Ada-Lovelace-王-20")
        assert name.endswith(".json")
        file = tmp_path / name
        download.value.save_as(file)
        page.evaluate("localStorage.setItem('mnist-lab training', '{}')")  # the panel's settings
        expected = some_memory() | {"name": "Ada Lovelace/../王"}
        assert json.loads(file.read_text(encoding="utf-8")) == expected == reader.memory()

        page.once("dialog", lambda dialog: dialog.dismiss())
        page.get_by_role("button", name="Forget all").click()
        assert reader.memory() == expected
        page.once("dialog", lambda dialog: dialog.accept())
        page.get_by_role("button", name="Forget all").click()
        assert reader.memory() is None
        assert page.evaluate("localStorage.getItem('mnist-lab training')") is None
        assert page.locator(".reading-mark").count() == 0
        assert page.get_by_label("Your name").input_value() == ""

        page.locator("#reading-controls input[type=file]").set_input_files(file)
        page.get_by_text("was added to what is remembered here").wait_for()
        assert reader.memory() == expected
        assert page.get_by_label("Your name").input_value() == "Ada Lovelace/../王"


def test_two_memories_become_one_and_nothing_is_lost(
    browser: Browser, address: str, tmp_path: Path
) -> None:
    early, late = "2026-11-01T12:00:00.000Z", "2026-12-24T12:00:00.000Z"
    theirs = some_memory(
        seen={"the-resnet": early, "quiz": late},
        exercises={"residual_growth": early},
        quiz={
            "paths": {"typed": "10", "right": False, "tries": 1, "date": early},
            "eval_statistics": {"chosen": ["x"], "right": False, "tries": 3, "date": early},
        },
        place={"section": "quiz", "date": late},
    )
    theirs["chapters"]["ch05"] = some_memory()["chapters"]["ch07"]
    file = tmp_path / "theirs.json"
    file.write_text(json.dumps(theirs), encoding="utf-8")
    with reading(browser, address) as reader:
        remember(reader, some_memory() | {"name": ""})
        page = reader.open(PAGE)
        page.locator("#reading-controls input[type=file]").set_input_files(file)
        page.get_by_text("was added").wait_for()
        kept = reader.memory()
    assert kept["name"] == "Ada 王"
    assert kept["chapters"]["ch05"] == theirs["chapters"]["ch05"]
    assert kept["chapters"]["ch07"] == {
        "seen": {"the-resnet": early, "quiz": late},
        "exercises": {"clip_together": DATE, "residual_growth": early},
        "quiz": {
            "paths": {"typed": "32", "right": True, "tries": 2, "date": DATE},
            "eval_statistics": theirs["chapters"]["ch07"]["quiz"]["eval_statistics"],
        },
        "place": {"section": "quiz", "date": late},
    }


def broken_files() -> dict[str, tuple[str, str]]:
    """Files that are no exports: name -> what it holds and a word of the answer."""
    quiz = some_memory()["chapters"]["ch07"]["quiz"]["paths"]
    chapters = [
        ("a strange part", some_memory(more=1), "does not know"),
        ("a date that is none", some_memory(seen={"quiz": "yesterday"}), "not a date"),
        ("a list for a date", some_memory(seen={"quiz": [DATE]}), "not a short text"),
        ("a month that is none", some_memory(seen={"quiz": "2026-13-01T12:00:00Z"}), "not a date"),
        ("a part missing", some_memory(quiz={"paths": {"typed": "32"}}), "not true or false"),
        ("many tries", some_memory(quiz={"paths": quiz | {"tries": 1e300}}), "number of tries"),
        ("a long text", some_memory(quiz={"paths": quiz | {"typed": "3" * 41}}), "short text"),
        ("a list for ticks", some_memory(exercises=["softmax"]), "not an object"),
        ("constructor", some_memory(quiz={"constructor": quiz}), "no book gives"),
        ("a tag for a name", some_memory(seen={"<img src=x onerror=alert(1)>": DATE}), "no book"),
        ("a long name", some_memory() | {"name": "A" * 81}, "not a short text"),
        ("a newer version", some_memory() | {"version": 2}, "newer edition"),
        ("version 0", some_memory() | {"version": 0}, "no export"),
        ("version true", some_memory() | {"version": True}, "no export"),
        ("a list", [some_memory()], "no export"),
        ("null", None, "no export"),
    ]
    own = '{"version": 1, "name": "", "chapters": {"__proto__": {"seen": {}}}}'
    return {
        **{name: (json.dumps(value), word) for name, value, word in chapters},
        "prototype": (own, "no book gives"),
        "half a file": (json.dumps(some_memory())[:-30], "damaged"),
        "empty": ("", "damaged"),
        "no text": ("\x00\xff\x00", "damaged"),
        "a program": ("alert(1)", "damaged"),
        "deep": ("[" * 100_000, "damaged"),
        "large": (" " * 1_000_001, "too large"),
    }


def test_a_file_that_is_no_export_changes_nothing(browser: Browser, address: str) -> None:
    with reading(browser, address) as reader:
        remember(reader, some_memory())
        page = reader.open(PAGE)
        for name, (text, word) in broken_files().items():
            file: Any = {
                "name": f"<b>{name}</b>.json",
                "mimeType": "application/json",
                "buffer": text.encode("latin-1") if name == "no text" else text.encode(),
            }
            page.locator("#reading-controls input[type=file]").set_input_files(file)
            said = page.locator(".reading-said")
            page.wait_for_function(
                "(name) => document.querySelector('.reading-said').textContent.includes(name)",
                arg=f"<b>{name}</b>.json",
            )
            sentence = said.text_content() or ""
            assert sentence.startswith(f"<b>{name}</b>.json was not taken, and nothing has changed")
            assert word in sentence, sentence
            assert sentence.count(". ") == 0
            assert sentence.endswith(".")
            assert reader.memory() == some_memory()
        assert (
            page.evaluate("Object.keys(Object.prototype).length + Object.keys(Object).length") == 0
        )


def test_a_name_is_text_and_never_markup(browser: Browser, address: str) -> None:
    with reading(browser, address) as reader:
        remember(reader, some_memory() | {"name": "<img src=x onerror=alert(1)>"})
        page = reader.open(PAGE)
        assert page.get_by_label("Your name").input_value() == "<img src=x onerror=alert(1)>"
        assert page.locator("#reading-controls img").count() == 0


# --- Where a browser keeps nothing ---------------------------------------------------------------

FORBIDDEN = """Object.defineProperty(window, "localStorage", {
  get() { throw new DOMException("The operation is insecure.", "SecurityError"); } });"""
ABSENT = 'Object.defineProperty(window, "localStorage", { value: null });'
FULL = """Storage.prototype.setItem = () => {
  throw new DOMException("full", "QuotaExceededError"); };"""


@pytest.mark.parametrize(
    ("script", "said"),
    [(FORBIDDEN, "keep nothing"), (ABSENT, "keep nothing"), (FULL, "no room to keep more")],
    ids=["forbidden", "absent", "full"],
)
@both_doors
def test_all_works_where_nothing_can_be_kept(
    browser: Browser, address: str, door: str, script: str, said: str
) -> None:
    with browser.new_context(viewport=DESK) as context:
        reader = Reader(context, address, door)
        stacks: list[str] = []
        reader.page.on("pageerror", lambda error: stacks.append(error.stack or ""))
        reader.page.add_init_script(script)
        page = reader.open(CHAPTER)
        page.locator(".MCButton", has_text="Running averages from training").click()
        assert page.get_by_text(f"1 of {QUESTIONS} answered, 1 right.").is_visible()
        page.get_by_label("Solved one?").fill(EXERCISES["clip_together"].code)
        page.keyboard.press("Enter")
        assert page.locator(".reading-codes li").all_text_contents() == ["clip_together"]
        page = reader.open(PAGE)
        page.get_by_label("Your name").fill("Ada")
        page.keyboard.press("Tab")
        assert said in (page.locator(".reading-trouble").text_content() or "")
        with page.expect_download() as download:
            page.get_by_role("button", name="Export").click()
        assert json.loads(Path(download.value.path()).read_text("utf-8"))["name"] == "Ada"
    # The theme asks for the storage too, and stumbles where there is none: its own affair.
    assert [stack for stack in stacks if "/reading-" in stack] == []


@pytest.mark.parametrize("kept", ["{", "{}", '{"version": 2, "more": "than we know"}'])
def test_what_cannot_be_read_is_left_alone_until_all_is_forgotten(
    browser: Browser, address: str, kept: str
) -> None:
    with reading(browser, address) as reader:
        remember(reader, kept)
        page = reader.open(CHAPTER)
        page.locator(".MCButton", has_text="Running averages from training").click()
        assert page.get_by_text(f"1 of {QUESTIONS} answered, 1 right.").is_visible()
        assert page.evaluate(MEMORY) == kept
        page = reader.open(PAGE)
        assert "cannot be read" in (page.locator(".reading-trouble").text_content() or "")
        page.once("dialog", lambda dialog: dialog.accept())
        page.get_by_role("button", name="Forget all").click()
        assert not page.locator(".reading-trouble").is_visible()
        page.get_by_label("Your name").fill("Ada")
        page.keyboard.press("Tab")
        assert reader.memory() == {"version": 1, "name": "Ada", "chapters": {}}


def test_two_windows_know_of_each_other(browser: Browser, address: str) -> None:
    with reading(browser, address) as reader:
        page = reader.open(PAGE)
        other = reader.context.new_page()
        other.goto(f"{address}/{CHAPTER}")
        other.locator(".MCButton", has_text="Running averages from training").click()
        page.locator("table.reading-progress", has_text="1 right").wait_for()
        page.get_by_label("Your name").fill("Ada")
        page.keyboard.press("Tab")
        other.locator(".MCButton", has_text="Mean 0 and variance 1").click()
        kept = reader.memory()
        assert kept["name"] == "Ada"
        assert kept["chapters"]["ch07"]["quiz"]["eval_statistics"]["tries"] == 2


# --- For everybody -------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize("name", [HOME, CHAPTER, PAGE])
def test_what_is_shown_keeps_nobody_out(
    browser: Browser, address: str, name: str, viewport: Any, scheme: Any
) -> None:
    options = {"viewport": viewport, "color_scheme": scheme, "reduced_motion": "reduce"}
    with reading(browser, address, **options) as reader:
        remember(reader, some_memory())
        page = reader.open(name)
        ours = "#reading-controls, .reading-continue, .reading-codes, .reading-quiz, nav"
        found = Axe().run(page, context=ours, options={"preload": False})
        assert found.violations_count == 0, found.generate_report()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
