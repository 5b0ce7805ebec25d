"""book/articles.md: its form, its counts, and the arithmetic and data facts that it asserts.

What the three networks score is in benchmarks/results/articles.json and is printed by the role
`measured`; the tests at the end hold the page's conclusions against that record.
"""

from __future__ import annotations

import itertools
import json
import math
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from myst_parser.mdit_to_docutils.base import default_slugify
from torch import nn

from mnist_lab.data.mnist import MNIST, load_mnist
from mnist_lab.data.normalisation import Normalisation
from mnist_lab.lessons.records import load_record
from mnist_lab.models.registry import build_model
from mnist_lab.training import ARTICLES as ARTICLE_RECIPES
from mnist_lab.training.batches import Batches

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "book" / "articles.md").read_text(encoding="utf-8")
RECORD = ROOT / "benchmarks" / "results" / "articles.json"
ARTICLES = ("000", "001", "002")

BADGES = {
    "right": "success",
    "wrong": "danger",
    "misleading": "danger-line",
    "not in the code": "info",
    "cannot be checked": "info-line",
}

# Every section of the articles that states something, as numbered there. In article 000 the
# questions of section 9 are 9.1 to 9.3; section 0 is a title. The outlines at the start of a
# chapter ("this chapter introduces ...") state nothing.
SECTIONS = {
    "000": "0 1.1 1.2 1.3 2.1 2.2 2.3 3.1 3.2 4.1 4.2 4.3 5.1 5.2 5.3 6 7.1 7.2 7.3 8 9.1 9.2 9.3 "
    "10",
    "001": "1.1 1.2 1.3 1.4 2.1 2.2 2.3 2.4 3.1 3.2.1 3.2.2 3.2.3 3.2.4 3.3.1 3.3.2 3.4 4.1 4.1.1 "
    "4.1.2 4.1.3 4.2 4.2.1 4.2.2 4.3 4.4.1 4.4.2 4.4.3 5.1 5.2 5.3 5.4 6.1 6.2 6.3 7.1 7.2 7.3 7.4 "
    "8 8.1 8.2 9.1 9.2 9.3 9.4",
    "002": "0 1.1 1.2 1.3 2.1 2.2.1 2.2.2 2.2.3 2.2.4 2.3 3.1 3.2 3.3 3.4 4.1 4.2 5.1 5.2 5.3 5.4 "
    "6.1 6.2 6.3 6.4 7.1",
}

# What a row about each of these must say: the claim, then words of its term or its answer.
MUST_SAY = {
    "000-1.3-b": "70,000",
    "000-1.3-e": "binary",
    "000-2.2-b": "more of it is forgotten",
    "000-3.2-g": "dropout2",
    "000-3.2-n": "model.eval()",
    "000-7.1-b": "Zhang, Lipton, Li and Smola",
    "000-7.1-c": "Chollet",
    "000-7.1-d": "Ghahramani",
    "000-8-c": "interpretability",
    "001-5.1-a": "pip install python",
    "001-7.1-c": "黄文坚",
    "001-7.3-a": "CS231n",
    "002-2.1-d": "clipping",
    "002-4.2-b": "two-class",
    "002-5.1-b": "cudatoolkit=11.1",
    "002-5.2-c": "training images again",
    "002-5.2-f": "NameError",
    "002-5.4-h": "98.523",
    "002-7.1-b": "Szeliski",
}

ROW = re.compile(
    r"^\[(?P<id>(?P<article>\d{3})-(?P<section>[\d.]+)-(?P<letter>[a-z]))\]"
    r"\{#(?P<anchor>claim-[\d-]+-[a-z])\} "
    r"\{bdg-(?P<badge>[a-z-]+)\}`(?P<verdict>[^`]+)` (?P<term>.+)$",
    re.MULTILINE,
)
ROWS = [match.groupdict() for match in ROW.finditer(PAGE)]


def answer_of(identifier: str) -> str:
    """Return the term and the answer of one claim, up to the next claim or heading."""
    start = PAGE.index(f"[{identifier}]{{#")
    end = re.search(r"\n(?=\[\d{3}-|#)", PAGE[start:])
    return PAGE[start : start + end.start()] if end else PAGE[start:]


def numbers_in(identifier: str) -> set[str]:
    """Return every number in a claim and its answer, without identifiers and separators."""
    other = (
        r"\[[\d.a-z-]+\](\{#[\w-]+\}|\(#[\w-]+\))|Article \d{3}|\{cite:p\}`[^`]+`"
        r"|\[[Cc]hapter \d+\]\([^)]*\)"
    )
    text = re.sub(other, "", answer_of(identifier))
    text = re.sub(r"(?<=\d),(?=\d{3})", "", text)
    return set(re.findall(r"\d+(?:\.\d+)?", text))


@pytest.fixture(scope="module")
def mnist() -> MNIST:
    return load_mnist()


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    """The recorded results: every article as printed, over five seeds at least."""
    found: dict[str, Any] = json.loads(RECORD.read_text(encoding="utf-8"))["results"]
    for article in ARTICLES:
        assert found[f"article_{article}"]["as_printed"]["accuracy"]["n"] >= 5
    return found


# --- Form ----------------------------------------------------------------------------------------


def test_every_line_that_looks_like_a_claim_is_one() -> None:
    terms = re.findall(r"^\[\d{3}-.*$", PAGE, re.MULTILINE)
    assert len(terms) == len(ROWS) > 200


def test_each_claim_is_followed_by_its_answer() -> None:
    lines = PAGE.splitlines()
    for number, line in enumerate(lines):
        if ROW.match(line):
            assert re.match(r": \S", lines[number + 1]), line


def test_identifiers_are_unique_and_in_order() -> None:
    identifiers = [row["id"] for row in ROWS]
    assert len(set(identifiers)) == len(identifiers)
    keys = [
        (row["article"], tuple(map(int, row["section"].split("."))), row["letter"]) for row in ROWS
    ]
    assert keys == sorted(keys)


def test_letters_run_from_a_without_a_gap() -> None:
    letters: dict[tuple[str, str], str] = {}
    for row in ROWS:
        key = (row["article"], row["section"])
        letters[key] = letters.get(key, "") + row["letter"]
    for key, found in letters.items():
        assert found == "abcdefghijklmnopqrstuvwxyz"[: len(found)], key


def test_anchor_and_badge_belong_to_identifier_and_verdict() -> None:
    for row in ROWS:
        assert row["anchor"] == "claim-" + row["id"].replace(".", "-")
        assert BADGES[row["verdict"]] == row["badge"], row["id"]


@pytest.mark.parametrize("article", ARTICLES)
def test_every_section_with_a_statement_is_covered_and_no_other(article: str) -> None:
    covered = {row["section"] for row in ROWS if row["article"] == article}
    assert covered == set(SECTIONS[article].split())


def test_a_claim_stands_under_its_own_article() -> None:
    article = ""
    for line in PAGE.splitlines():
        heading = re.match(r"## Article (\d{3})$", line)
        if heading:
            article = heading[1]
        row = ROW.match(line)
        if row:
            assert row["article"] == article


@pytest.mark.parametrize(("identifier", "words"), MUST_SAY.items())
def test_the_known_mistakes_are_named(identifier: str, words: str) -> None:
    assert words in answer_of(identifier)


def test_links_to_claims_lead_somewhere() -> None:
    links = re.findall(r"\[([\d.]+-[\d.]+-[a-z])\]\(#(claim-[\w-]+)\)", PAGE)
    anchors = {row["id"]: row["anchor"] for row in ROWS}
    assert len(links) > 50
    for identifier, anchor in links:
        assert anchors.get(identifier) == anchor, identifier


def test_the_table_of_verdicts_counts_the_rows() -> None:
    counted = Counter((row["verdict"], row["article"]) for row in ROWS)
    table = PAGE[PAGE.index("| Verdict |") :].split("\n\n")[0].splitlines()[2:]
    shown = {
        cells[1].strip(): [int(c) for c in cells[2:6]] for cells in (t.split("|") for t in table)
    }
    assert set(shown) == {*BADGES, "together"}
    for verdict in BADGES:
        each = [counted[verdict, article] for article in ARTICLES]
        assert shown[verdict] == [*each, sum(each)], verdict
    each = [sum(counted[verdict, article] for verdict in BADGES) for article in ARTICLES]
    assert shown["together"] == [*each, sum(each)] == [*each, len(ROWS)]


def test_what_is_listed_as_promised_has_that_verdict_and_a_place_in_the_book() -> None:
    verdicts = {row["id"]: row["verdict"] for row in ROWS}
    section = PAGE.split("## Promised and not in the code\n")[1].split("\n##")[0]
    for line in section.splitlines():
        if line.startswith("| ") and not line.startswith("| Announced"):
            assert re.search(r"\]\(\.\./notebooks/ch\d\d_", line.split("|")[3]), line
    listed = re.findall(r"\[(\d{3}-[\d.]+-[a-z])\]\(", section)
    assert len(listed) > 10
    assert {verdicts[identifier] for identifier in listed} == {"not in the code"}


def places_in(chapter: str) -> set[str]:
    """Return the anchors that MyST gives to the headings of a chapter."""
    cells = json.loads((ROOT / "notebooks" / chapter).read_text(encoding="utf-8"))["cells"]
    text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    return {
        default_slugify(heading.replace("`", ""))
        for heading in re.findall(r"^#{2,4} (.+)$", text, re.M)
    }


@pytest.mark.parametrize(
    ("page", "chapters"),
    [("articles", 13), ("articles_code", 2), ("concepts", 12), ("coverage", 15)],
)
def test_links_into_chapters_lead_to_a_heading(page: str, chapters: int) -> None:
    text = (ROOT / "book" / f"{page}.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\(\.\./notebooks/([\w.]+)(?:#([\w-]+))?\)", text)
    assert len({chapter for chapter, _ in links}) >= chapters
    for chapter, place in links:
        assert not place or place in places_in(chapter), (chapter, place)


def test_all_that_the_articles_name_has_a_place_or_a_reason() -> None:
    text = (ROOT / "book" / "coverage.md").read_text(encoding="utf-8")
    rows = [line.split(" | ") for line in text.splitlines() if re.match(r"\| (?!What|-)", line)]
    assert len(rows) > 70
    anchors = {row["anchor"] for row in ROWS}
    for what, articles, where in rows:
        assert articles == "all" or set(articles.split(", ")) <= set(ARTICLES), what
        assert "](" in where or where.startswith("not "), what
    for page, place in re.findall(r"\]\(([\w.]+\.md)(?:#([\w-]+))?\)", text):
        assert (ROOT / "book" / page).exists()
        assert not place.startswith("claim-") or place in anchors


def test_every_chapter_that_names_an_article_is_wired_to_the_page() -> None:
    anchors = {row["anchor"] for row in ROWS}
    linked = 0
    for path in sorted((ROOT / "notebooks").glob("ch*.ipynb")):
        text = path.read_text(encoding="utf-8")
        found = re.findall(r"book/articles\.md#(claim-[\w-]+)", text)
        assert set(found) <= anchors, path.name
        linked += len(found)
    assert linked >= 10


# What the articles name in passing, the place that the table sends to, and what must stand there.
SAID_THERE = {
    "`Dropout2d`": ("ch08", "dropout", "`Dropout2d`"),
    "`num_workers`": ("ch01", "the-usual-way-dataset-and-dataloader", "On Windows and macOS"),
    "cropping (at random too)": ("ch01", "augmentation", "*cropping*"),
    "EMNIST": ("ch10", "what-to-do", "emnist-letters"),
    "plateau": ("ch08", "let-the-validation-loss-decide", "reducing on a plateau"),
    "support-vector machine, decision tree": ("ch02", "before-networks", "support vector"),
    "transfer learning": ("ch11", "somebody-elses-network", "transfer learning"),
    "L1, L2": ("ch08", "weight-decay-l2-and-l1", "L1"),
    "PyTorch 2.0": ("ch06", "fewer-calls", "PyTorch 2.0"),
    "wrong labels": ("ch16", "whose-fault-is-it", "label is wrong"),
}


@pytest.mark.parametrize("what", SAID_THERE)
def test_the_place_that_is_named_says_it(what: str) -> None:
    chapter, place, words = SAID_THERE[what]
    text = (ROOT / "book" / "coverage.md").read_text(encoding="utf-8")
    (row,) = [line for line in text.splitlines() if line.startswith("| ") and what in line]
    links = re.findall(r"notebooks/(ch\d\d)_\w+\.ipynb#([\w-]+)", row)
    assert (chapter, place) in links
    assert words in section_of(chapter, place)


def section_of(chapter: str, place: str) -> str:
    """Return what stands under a heading of a chapter, up to the next one, text and code."""
    (path,) = (ROOT / "notebooks").glob(f"{chapter}_*.ipynb")
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    found, inside = [], False
    for cell in cells:
        source = "".join(cell["source"])
        if cell["cell_type"] == "code":
            found += [source] * inside
            continue
        for piece in re.split(r"^(?=#{2,4} )", source, flags=re.MULTILINE):
            heading = re.match(r"#{2,4} (.+)", piece)
            if heading:
                inside = default_slugify(heading[1].replace("`", "")) == place
            found += [piece] * inside
    return "\n\n".join(found)


CHAPTERS = sorted(path.stem for path in (ROOT / "notebooks").glob("ch*.ipynb"))


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_chapters_and_claims_lead_to_each_other(chapter: str) -> None:
    text = (ROOT / "notebooks" / f"{chapter}.ipynb").read_text(encoding="utf-8")
    to_claims = set(re.findall(r"book/articles\.md#(claim-[\w-]+)", text))
    to_chapter = {row["anchor"] for row in ROWS if f"/{chapter}.ipynb" in answer_of(row["id"])}
    assert to_claims <= to_chapter, "a claim that a chapter takes up says where"
    assert to_claims or not to_chapter, "a chapter that answers claims names one of them"


def test_headings_do_not_jump_and_there_is_one_title() -> None:
    levels = [len(marks) for marks in re.findall(r"^(#+) ", PAGE, re.MULTILINE)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))


def test_measured_results_are_never_typed_in() -> None:
    """Fine percentages: only those that the articles print, and two from the literature."""
    typed = set(re.findall(r"\d+\.\d{2,3} ?%", re.sub(r"\{measured\}`[^`]*`", "", PAGE)))
    assert typed == {"98.523 %", "98.523%", "98.520 %", "0.01 %", "0.95 %", "0.56 %"}
    for address in re.findall(r"\{measured\}`([^`]*)`", PAGE):
        assert re.fullmatch(
            r"(articles:(hardware|results\.article_00[012]\.(as_printed|corrected|as_promised)"
            r"\.[a-z_]+(\.[a-z]+)?)|keras_article:results\.[\w.]+"
            r"|presets:results\.best\.accuracy\.mean)(\\?\|(,|\.\d[%f]))?",
            address,
        ), address


def test_what_the_pretrained_file_is_worth_is_what_the_record_says() -> None:
    found = load_record("articles")["results"]["article_000"]
    promised = found["as_promised"]
    assert promised["best_of_search"] < promised["best_of_search_from_scratch"] + 0.002
    printed = ARTICLE_RECIPES["article_000"].as_printed.config
    assert promised["learning_rate"] == pytest.approx(100 * printed.learning_rate)
    assert promised["accuracy"]["low"] > found["corrected"]["accuracy"]["high"] + 0.03


def test_every_citation_is_in_the_bibliography() -> None:
    bibliography = (ROOT / "book" / "references.bib").read_text(encoding="utf-8")
    keys = set(re.findall(r"^@\w+\{([^,\s]+),", bibliography, re.MULTILINE))
    cited = {k for group in re.findall(r"\{cite[:\w]*\}`([^`]+)`", PAGE) for k in group.split(",")}
    assert len(cited) > 10
    assert cited <= keys, cited - keys


# --- Data ----------------------------------------------------------------------------------------


def test_sizes_of_mnist(mnist: MNIST) -> None:
    assert mnist.train.images.shape == (60000, 28, 28)
    assert mnist.test.images.shape == (10000, 28, 28)
    assert numbers_in("000-1.3-b") == {"70000", "60000", "10000"}
    assert numbers_in("001-2.1-a") == {"70000", "60000", "10000"}


def test_mnist_is_grey(mnist: MNIST) -> None:
    pixels = mnist.train.images
    counts = np.bincount(pixels.ravel(), minlength=256)
    assert np.count_nonzero(counts) == 256
    grey = pixels.size - counts[0] - counts[255]
    binary = int(((pixels == 0) | (pixels == 255)).all(axis=(1, 2)).sum())
    assert numbers_in("000-1.3-e") == {
        f"{100 * grey / pixels.size:.1f}",
        f"{100 * grey / (pixels.size - counts[0]):.1f}",
        str(binary),
        str(len(pixels)),
        *("0", "255", "256"),
    }


def test_the_ink_fits_into_20_by_20(mnist: MNIST) -> None:
    for part in (mnist.train, mnist.test):
        ink = part.images > 0
        for axis in (1, 2):
            lines = np.asarray(ink.any(axis=axis))  # (n, 28)
            extent = 28 - lines.argmax(axis=1) - lines[:, ::-1].argmax(axis=1)
            assert extent.max() == 20
    assert "20 \N{MULTIPLICATION SIGN} 20" in answer_of("000-1.3-d")


def test_frequencies_of_the_classes(mnist: MNIST) -> None:
    counts = np.bincount(mnist.train.labels)
    assert set(np.bincount(mnist.train.labels).argsort()[[0, -1]]) == {5, 1}
    assert numbers_in("001-2.2-a") == {str(counts[1]), str(counts[5]), *"0159"}
    assert set(np.unique(mnist.test.labels)) == set(range(10))


def test_what_normalising_does(mnist: MNIST) -> None:
    scaled = mnist.train.images / 255.0
    mean, deviation = scaled.mean(), scaled.std()
    assert (f"{mean:.4f}", f"{deviation:.4f}") == ("0.1307", "0.3081")
    assert "(0.1307,), (0.3081,)" in answer_of("002-5.2-b")
    half = answer_of("000-3.2-b")
    assert f"mean \N{MINUS SIGN}{abs((mean - 0.5) / 0.5):.3f}" in half
    assert f"standard deviation {deviation / 0.5:.3f}" in half
    assert f"\N{MINUS SIGN}{0.1307 / 0.3081:.4f}" in answer_of("002-5.2-d")
    assert 255 / 255 / 255 < 0.004
    assert "0.004" in answer_of("001-2.3-a")


# --- Networks ------------------------------------------------------------------------------------


def convolution(inward: int, outward: int, side: int = 3) -> int:
    return outward * inward * side * side + outward


def dense(inward: int, outward: int) -> int:
    return outward * inward + outward


@pytest.mark.parametrize(
    ("identifier", "layers", "total"),
    [
        (
            "000-3.2-e",
            [convolution(1, 32), convolution(32, 64), dense(64 * 12 * 12, 128), dense(128, 10)],
            1199882,
        ),
        ("001-3.2.3-a", [convolution(1, 32), dense(32 * 13 * 13, 128), dense(128, 10)], 693962),
        (
            "002-5.2-d",
            [convolution(1, 32), convolution(32, 64), dense(64 * 7 * 7, 128), dense(128, 10)],
            421642,
        ),
    ],
)
def test_parameter_counts(identifier: str, layers: list[int], total: int) -> None:
    assert sum(layers) == total
    assert f"{' + '.join(f'{n:,}' for n in layers)} = {total:,}" in answer_of(identifier)
    assert f"{total:,} parameters" in PAGE.split("## Printed and measured")[0]
    model = build_model(f"article_{identifier[:3]}")
    assert sum(p.numel() for p in model.parameters()) == total


def test_sizes_of_the_maps() -> None:
    assert 28 - 2 == 26
    assert 26 - 2 == 24
    assert 24 // 2 == 12
    assert 64 * 12 * 12 == 9216
    assert "64 · 12 · 12 = 9,216" in answer_of("000-3.2-e")
    assert (28 - 2) // 2 == 13
    assert 13 * 13 * 32 == 5408
    assert "13 · 13 · 32 = 5,408" in answer_of("001-3.2.3-a")
    assert 28 // 2 // 2 == 7
    assert 64 * 7 * 7 == 3136
    assert "64 · 7 · 7 = 3,136" in answer_of("002-5.2-d")
    one_kernel = nn.Conv2d(1, 1, 3)(torch.zeros(1, 1, 28, 28))
    assert one_kernel.shape[2:] == (26, 26)
    assert "26 \N{MULTIPLICATION SIGN} 26" in answer_of("000-4.3-b")


def test_dropout2d_is_not_for_vectors() -> None:
    nn.Dropout2d(0.25)(torch.zeros(2, 64, 12, 12))
    with pytest.warns(UserWarning, match="2-D input"):
        nn.Dropout2d(0.5)(torch.zeros(2, 128))


# --- Formulas ------------------------------------------------------------------------------------


def log_softmax(scores: np.ndarray) -> np.ndarray:
    shifted = scores - scores.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def test_log_softmax_is_idempotent_and_softmax_is_not() -> None:
    scores = np.random.default_rng(0).normal(0, 5, (50, 10))
    once = log_softmax(scores)
    assert np.allclose(log_softmax(once), once, atol=1e-12)
    twice = np.exp(log_softmax(np.exp(once)))
    assert not np.allclose(twice, np.exp(once), atol=1e-2)


def test_softmax_of_probabilities_stays_below_the_bound() -> None:
    highest = math.e / (math.e + 9)
    assert np.isclose(np.exp(log_softmax(np.eye(10)))[0, 0], highest)
    assert f"above {highest:.3f}" in answer_of("002-3.1-c")


def printed_loss(probability: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Article 002's formula, -y log M(x)."""
    return np.asarray(-label * np.log(probability))


def test_formula_002_costs_nothing_for_class_0_and_nine_times_for_9() -> None:
    sure_and_wrong = np.array([1e-9])
    assert printed_loss(sure_and_wrong, np.array([0]))[0] == 0
    one, nine = (printed_loss(sure_and_wrong, np.array([y]))[0] for y in (1, 9))
    assert np.isclose(nine, 9 * one)
    assert "digit 0 costs nothing" in answer_of("002-4.2-c")
    assert "nine times" in answer_of("002-4.2-c")


def test_formula_002_with_two_minus_signs_rewards_being_wrong() -> None:
    labels = np.array([1, 2, 3])

    def risk(probability: float) -> float:
        return float(-np.mean(printed_loss(np.full(3, probability), labels)))

    assert risk(0.9) > risk(0.5) > risk(0.01) > risk(1e-9)


def test_gradient_002_has_the_wrong_sign_for_its_own_risk() -> None:
    labels, slope, at = np.array([1.0, 2.0, 3.0]), 1e-6, 0.4

    def risk(probability: float) -> float:
        return float(-np.mean(printed_loss(np.full(3, probability), labels)))

    true = (risk(at + slope) - risk(at - slope)) / (2 * slope)
    printed = -np.mean(labels / at)  # the article's last expression, with dM/dtheta = 1
    assert np.isclose(true, -printed, rtol=1e-6)
    assert printed < 0 < true


def test_the_corrected_gradient_of_cross_entropy() -> None:
    rng = np.random.default_rng(1)
    scores, labels = rng.normal(size=(6, 10)), rng.integers(0, 10, 6)
    logits = torch.tensor(scores, requires_grad=True)
    F.cross_entropy(logits, torch.tensor(labels)).backward()
    assert logits.grad is not None
    expected = (np.exp(log_softmax(scores)) - np.eye(10)[labels]) / 6
    assert np.allclose(logits.grad.numpy(), expected, atol=1e-12)


def test_the_corrected_convolution_and_the_printed_one() -> None:
    rng = np.random.default_rng(2)
    n, channels, kernels, side = 2, 3, 4, 3
    images = rng.normal(size=(n, channels, 6, 5))
    weights, bias = rng.normal(size=(kernels, channels, side, side)), rng.normal(size=kernels)
    right = np.zeros((n, kernels, 6 - side + 1, 5 - side + 1))
    for (a, k, i, j), _ in np.ndenumerate(right):
        window = images[a, :, i : i + side, j : j + side]
        right[a, k, i, j] = max(0.0, (weights[k] * window).sum() + bias[k])
    layer = F.relu(F.conv2d(torch.tensor(images), torch.tensor(weights), torch.tensor(bias)))
    assert np.allclose(layer.numpy(), right)
    assert layer.shape == right.shape
    summed_over_kernels = right.sum(axis=1)
    assert summed_over_kernels.ndim == right.ndim - 1  # what the printed sum loses


def test_the_corrected_pooling_and_the_printed_one() -> None:
    maps = np.random.default_rng(3).normal(size=(2, 3, 6, 4))
    right = np.zeros((2, 3, 3, 2))
    for (a, c, i, j), _ in np.ndenumerate(right):
        right[a, c, i, j] = max(maps[a, c, 2 * i + u, 2 * j + v] for u in (0, 1) for v in (0, 1))
    assert np.allclose(F.max_pool2d(torch.tensor(maps), 2).numpy(), right)
    printed = np.broadcast_to(maps[0, 0].max(), (3, 2))  # max over all x, y, whatever i and j
    assert np.unique(printed).size == 1 < np.unique(right[0, 0]).size


def test_the_corrected_backward_pass_of_a_layer() -> None:
    rng = np.random.default_rng(4)
    inputs = torch.tensor(rng.normal(size=5), requires_grad=True)
    weights = torch.tensor(rng.normal(size=(3, 5)), requires_grad=True)
    bias = torch.tensor(rng.normal(size=3), requires_grad=True)
    upward = torch.tensor(rng.normal(size=3))  # dJ/dy
    scores = weights @ inputs + bias
    (torch.tanh(scores) * upward).sum().backward()
    delta = upward * (1 - torch.tanh(scores.detach()) ** 2)
    assert inputs.grad is not None
    assert weights.grad is not None
    assert bias.grad is not None
    assert torch.allclose(weights.grad, delta[:, None] * inputs.detach()[None, :])
    assert torch.allclose(bias.grad, delta)
    assert torch.allclose(inputs.grad, delta @ weights.detach())


def test_sigmoids_are_no_distribution_over_classes() -> None:
    scores = np.random.default_rng(5).normal(size=10)
    assert not np.isclose((1 / (1 + np.exp(-scores))).sum(), 1)
    assert np.isclose(np.exp(log_softmax(scores)).sum(), 1)
    assert np.tanh(scores).min() < 0


def test_the_quotient_for_tanh_overflows() -> None:
    def quotient(x: float) -> float:
        with np.errstate(over="ignore", invalid="ignore"):
            up, down = np.exp(np.float64(x)), np.exp(np.float64(-x))
            return float((up - down) / (up + down))

    assert quotient(709.0) == np.tanh(709.0) == 1
    assert math.isnan(quotient(710.0))
    assert "$x = 710$" in answer_of("001-4.2.1-a")


def test_clipping_bounds_only_from_above() -> None:
    for size, expected in ((1e-6, 1e-6), (100.0, 1.0)):
        weight = nn.Parameter(torch.zeros(1))
        weight.grad = torch.tensor([size])
        nn.utils.clip_grad_norm_([weight], max_norm=1.0)
        assert math.isclose(float(weight.grad), expected, rel_tol=1e-4)


def test_means_of_batch_means_count_the_short_batch_double() -> None:
    batches = math.ceil(60000 / 64)
    short = 60000 - 64 * (batches - 1)
    assert (batches, short) == (938, 32)
    assert (1 / batches / short) / (1 / batches / 64) == 2
    assert numbers_in("000-3.2-m") == {"938", "32", "64", "1"}


# --- Printed logs --------------------------------------------------------------------------------


def is_a_share(printed: str, count: int) -> bool:
    """Whether some k / count, rounded as printed, gives this number."""
    digits = len(printed.partition(".")[2])
    nearest = round(float(printed) * count)
    return any(f"{k / count:.{digits}f}" == printed for k in (nearest - 1, nearest, nearest + 1))


def test_shares_that_the_logs_print() -> None:
    assert not is_a_share("0.8781", 64)
    assert is_a_share("0.9375", 64)
    assert not is_a_share("0.9922", 64)
    assert not is_a_share("0.9941", 64)
    assert f"56/64 is {56 / 64:.4f} and 57/64 is {57 / 64:.4f}" in answer_of("002-5.4-d")
    assert not is_a_share("0.98523", 10000)
    assert is_a_share("0.9852", 10000)
    assert "9,852.3" in answer_of("002-5.4-h")
    assert math.isclose(0.98523 * 10000, 9852.3)
    assert is_a_share("0.9951", 10000)
    assert "9,951" in answer_of("001-5.4-e")
    assert "49 errors" in answer_of("001-5.4-e")


def test_steps_that_article_002_prints() -> None:
    batches = math.ceil(60000 / 64)
    steps = [i + 1 for i in range(batches) if i % 100 == 0]
    assert batches == 938
    assert 60000 / 64 == 937.5
    assert steps[:3] == [1, 101, 201]
    assert steps[-1] == 901
    assert len(steps) == 10
    assert not {2, 100, 200} & set(steps)
    assert numbers_in("002-5.4-b") == {
        *("1", "2", "64"),  # as printed there
        *("938", "60000", "937.5", "100", "101", "201", "901"),
    }
    assert "ten times an epoch" in answer_of("002-5.2-g")


def test_the_accuracies_that_article_002_would_print() -> None:
    steps = range(1, 939)
    hits = {step: 6 if step == 1 else 61 for step in steps}  # chance first, then about 95 %
    counted, printed = 0, []
    for step in steps:
        if (step - 1) % 100 == 0:
            counted += hits[step]
            printed.append(counted / 64)
    assert printed[0] < 0.2
    assert printed[2] > 1
    assert 8 < printed[-1] < 10
    whole = {step: step * 64 / 64 for step in (101, 901)}  # evaluate counts every batch
    assert whole == {101: 101, 901: 901}
    assert numbers_in("002-5.2-h") == {"101", "901", "1", "0"}


def test_percent_signs() -> None:
    assert "%.3f %%" % 98.52 == "98.520 %"  # noqa: UP031 - the article's own line
    assert "`98.520 %`" in answer_of("002-5.4-i")


def test_the_clock_of_article_001() -> None:
    steps = math.ceil(60000 / 128)
    assert steps == 469
    assert round(steps * 33e-3) == 15
    assert round(60000 * 33e-3 / 60) == 33
    assert round(60000 * 33e-6) == round(60000 * 32e-6) == 2
    assert numbers_in("001-5.4-a") == {"60000", "128", "469", "15", "33", "2", "2019"}


def test_article_002_begins_near_the_loss_of_a_guess(mnist: MNIST) -> None:
    batch = next(iter(Batches(mnist.train, 64)))
    assert f"{math.log(10):.3f}" in answer_of("002-5.4-c")
    for seed in range(5):
        model = build_model("article_002", seed=seed)
        with torch.no_grad():
            scores = model(batch[0])
        loss = float(F.cross_entropy(scores, batch[1]))
        assert abs(loss - math.log(10)) < 0.1
        assert float((scores.argmax(1) == batch[1]).float().mean()) < 0.4


def test_article_001_errs_too_often_at_first_for_its_log(mnist: MNIST) -> None:
    """0.9874 of 60,000 leaves 756 errors; the first 100 steps make more than twice as many."""
    allowed = round((1 - 0.9874) * 60000)
    assert allowed == 756
    assert "756 errors" in answer_of("001-5.4-b")
    train = Batches(mnist.train, 128, normalisation=Normalisation(0.0, 1.0), shuffle=True, seed=0)
    model = build_model("article_001", seed=0).train()
    optimiser = torch.optim.Adam(model.parameters(), lr=0.001, eps=1e-7)
    errors = 0
    for step, (images, labels) in enumerate(train):
        if step == 100:
            break
        scores = model(images)
        errors += int((scores.argmax(1) != labels).sum())
        optimiser.zero_grad()
        F.cross_entropy(scores, labels).backward()
        optimiser.step()
    assert errors > 2 * allowed


# --- Conclusions from the record -----------------------------------------------------------------


def test_dropout_while_scoring_costs_article_000_something(results: dict[str, Any]) -> None:
    printed = results["article_000"]["as_printed"]
    assert printed["accuracy"]["mean"] < printed["accuracy_with_eval"]["mean"]


def test_article_001_does_not_reach_its_printed_figures(results: dict[str, Any]) -> None:
    printed = results["article_001"]["as_printed"]
    assert max(printed["accuracy"]["values"]) < 0.9951
    assert printed["accuracy"]["mean"] + 10 * printed["accuracy"]["std"] < 0.9951
    assert (1 - printed["accuracy"]["mean"]) * 10000 > 2 * 49
    assert printed["loss"]["mean"] > 2 * 0.0112


def test_the_log_of_article_001_is_not_that_of_its_listing_in_keras() -> None:
    found = json.loads((RECORD.parent / "keras_article.json").read_text(encoding="utf-8"))
    printed = (0.9874, 0.9913, 0.9931, 0.9941, 0.9946)
    row = next(line for line in PAGE.splitlines() if line.startswith("| printed | 0.9874"))
    assert tuple(float(cell) for cell in row.split("|")[2:-1]) == printed
    for epoch, accuracy in enumerate(printed, start=1):
        assert found["results"]["training"][str(epoch)]["accuracy"]["mean"] < accuracy - 0.005
    assert found["results"]["training"]["5"]["accuracy"]["mean"] < printed[0]
    assert found["results"]["parameters"] == 693962
    port = json.loads(RECORD.read_text(encoding="utf-8"))["results"]["article_001"]["as_printed"]
    assert abs(found["results"]["accuracy"]["mean"] - port["accuracy"]["mean"]) < 0.003


def test_article_002_is_better_than_its_supposition(results: dict[str, Any]) -> None:
    assert results["article_002"]["as_printed"]["accuracy"]["low"] > 0.98523


def test_the_six_steps_read_better_than_the_listing_with_less(results: dict[str, Any]) -> None:
    printed, promised = (results["article_002"][form] for form in ("as_printed", "as_promised"))
    assert promised["accuracy"]["mean"] > max(printed["accuracy"]["values"])
    assert 5 * promised["parameters"] < printed["parameters"]
    assert 2 * promised["epochs"] == printed["epochs"]
    tuned = promised["validation_accuracy"]["mean"]
    assert promised["validation_accuracy_before"]["mean"] < tuned


def test_noise_brings_nothing_and_few_bits_cost_little(results: dict[str, Any]) -> None:
    corrected, promised = (results["article_001"][form] for form in ("corrected", "as_promised"))
    assert abs(promised["accuracy"]["mean"] - corrected["accuracy"]["mean"]) < 0.002
    whole = promised["validation_accuracy"]["mean"]
    assert whole - promised["validation_accuracy_compressed"]["mean"] <= 0.001 + 1e-9
    assert promised["bits"]["mean"] <= 8


def test_fewer_parameters_can_read_better() -> None:
    contest = json.loads((RECORD.parent / "architectures.json").read_text(encoding="utf-8"))
    perceptron, cnn = (contest["results"][name] for name in ("mlp", "small_cnn"))
    counts = {name: n["parameters"] for name, n in contest["results"].items() if "parameters" in n}
    assert max(counts, key=counts.__getitem__) == "mlp"
    assert round(perceptron["parameters"] / cnn["parameters"]) == 7
    assert perceptron["accuracy"]["high"] < cnn["accuracy"]["low"]
    assert "most parameters" in answer_of("001-4.4.3-a")
