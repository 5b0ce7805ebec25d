"""First uses of terms and names lead to the glossary and the package, each with its card."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from html import unescape
from pathlib import Path

import pytest
from docutils import nodes

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "book" / "_ext"))

import code_links  # noqa: E402
import hover_cards  # noqa: E402
from glossary_links import GLOSSARY, NOT_WORDS, WORDS, Words, running_prose  # noqa: E402
from sphinx.errors import ExtensionError  # noqa: E402
from sphinx.testing.util import SphinxTestApp  # noqa: E402

ENTRIES = (
    (ROOT / f"{GLOSSARY}.md").read_text(encoding="utf-8").split("```{glossary}\n")[1].split("\n\n")
)
NAMES = [entry.splitlines()[0] for entry in ENTRIES]
WORDS_OF = tomllib.loads((ROOT / WORDS).read_text(encoding="utf-8"))


def found(words: Words, text: str, page: str = "page") -> list[tuple[str, str]]:
    """What is found in a text: the words, and the term that they mean."""
    return [(text[start:end], term) for start, end, term in words.find(text, page)]


class TestTheGlossary:
    @pytest.mark.parametrize("entry", ENTRIES, ids=NAMES)
    def test_an_entry_has_both_names_and_a_sentence(self, entry: str) -> None:
        english, *chinese, definition = entry.strip("`\n").splitlines()
        assert english.isascii()
        assert chinese
        assert all(re.search(r"[\u4e00-\u9fff]", name) or name == "bfloat16" for name in chinese)
        assert definition.startswith("  ")
        assert definition.endswith(".")

    def test_entries_are_in_the_order_of_the_alphabet(self) -> None:
        assert sorted(NAMES, key=str.lower) == NAMES

    @pytest.mark.parametrize(
        "word",
        [
            *("大模型", "大语言模型", "微调", "预训练", "迁移学习", "手写体识别", "神经网络"),
            *("深度学习", "机器学习", "卷积神经网络", "残差网络", "批标准化", "梯度裁剪", "池化"),
            *("标准化", "归一化", "数据预处理", "前向传播", "反向传播", "激活函数", "经验风险"),
            *("正则化", "过拟合", "超参数", "收敛", "可解释性", "模型压缩", "图像去噪", "部署"),
        ],
    )
    def test_the_articles_own_keywords_are_there(self, word: str) -> None:
        assert any(word in entry.splitlines() for entry in ENTRIES)

    def test_two_words_of_chinese_are_told_apart(self) -> None:
        """归一化 puts numbers between 0 and 1; 标准化 takes a mean and a deviation."""
        said = dict(zip(NAMES, ENTRIES, strict=True))
        assert "归一化 is mostly a division" in said["normalisation"]
        assert "标准化, {term}`standardisation`" in said["normalisation"]
        assert said["standardisation"].splitlines()[1] == "标准化"


class TestWords:
    words = Words(
        terms=[
            *("batch", "batch normalisation", "cross-entropy", "loss", "freezing"),
            *("rank", "rank of a matrix"),
        ],
        apart=["at a loss"],
        also={"freezing": ["frozen"], "rank of a matrix": ["rank"]},
        only_on={"rank": ["six"], "rank of a matrix": ["eleven"]},
    )

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("Batches of 64", [("Batches", "batch")]),
            ("two losses, one loss", [("losses", "loss"), ("loss", "loss")]),
            ("a batch\nnormalisation", [("batch\nnormalisation", "batch normalisation")]),
            ("the cross entropy", [("cross entropy", "cross-entropy")]),
            ("Frozen layers", [("Frozen", "freezing")]),
            ("I am at a loss; a mini-batch, a lossy batch-like BATCH", []),
        ],
    )
    def test_finds_forms_of_a_term_and_no_parts_of_words(
        self, text: str, expected: list[tuple[str, str]]
    ) -> None:
        assert found(self.words, text) == expected

    @pytest.mark.parametrize(
        ("page", "expected"), [("six", "rank"), ("eleven", "rank of a matrix"), ("two", None)]
    )
    def test_a_word_means_what_it_means_on_its_page(self, page: str, expected: str | None) -> None:
        assert [term for _, term in found(self.words, "its rank", page)] == (
            [expected] * bool(expected)
        )

    def test_a_term_that_the_glossary_does_not_have_is_refused(self) -> None:
        with pytest.raises(ExtensionError, match=r"glossary does not: .'lots'"):
            Words(["loss"], also={"lots": ["loads"]})

    def test_those_of_the_book_are_terms_of_its_glossary(self) -> None:
        assert Words(NAMES, **WORDS_OF).meanings


CELLS = ["from mnist_lab.training import fit as train\n%matplotlib inline", "1 +", "import torch"]
KNOWN = {
    "mnist_lab.training.runs.fit": ("training", "a"),
    "mnist_lab.data.idx.read": ("data", "b"),
    "mnist_lab.data.own_files.read": ("data", "c"),
}


def test_a_name_is_the_packages_where_a_cell_imports_it_from_there(tmp_path: Path) -> None:
    notebook = tmp_path / "chapter.ipynb"
    cells = [{"cell_type": "code", "source": cell} for cell in CELLS]
    notebook.write_text(json.dumps({"cells": cells}), encoding="utf-8")
    assert code_links.imported(notebook) == {"train": "mnist_lab.training.fit"}
    assert code_links.resolve("mnist_lab.training.fit", KNOWN) == ("training", "a")
    assert code_links.resolve("mnist_lab.data.idx.read", KNOWN) == ("data", "b")
    assert code_links.resolve("mnist_lab.data.read", KNOWN) is None  # there are two


PAGES = {
    "book/glossary.md": """# Glossary

```{glossary}
loss
损失
  What training makes small, as {term}`gradient` descent does: $f(x)$.

gradient
梯度
  A direction.
```
""",
    "book/references.md": "# References\n\n```{bibliography}\n:all:\n```\n",
    "book/glossary_words.toml": "not_on = ['book/glossary']",
    "book/chapter.md": """# The loss

`loss`, *not* $loss$, [a loss](https://example.org): then a loss, a loss and a **gradient**.
[He](https://arxiv.org/abs/1.2) and {cite}`he`. See {eq}`square` and {numref}`dot`, {py:func}`add`.

$$ x^2 $$ (square)

:::{figure} dot.png
:name: dot
:alt: A dot.

A single dot.
:::

:::{py:function} add(left: int, right: int = 1) -> int
Add two numbers.

It takes a while.
:::
""",
    "book/plain.md": "# Plain\n\nNo formula, but a loss.",
    "book/index.md": "# Book\n\n```{toctree}\nglossary\nreferences\nchapter\nplain\n```\n",
    "sources.bib": "@misc{he, author={He, K.}, title={Layers}, year=2015, eprint={1.2}}",
    "conf.py": """
extensions = ["myst_parser", "sphinxcontrib.bibtex", "sphinx.ext.mathjax", "glossary_links",
              "hover_cards"]
bibtex_bibfiles = ["sources.bib"]
myst_enable_extensions = ["dollarmath", "colon_fence"]
root_doc = "book/index"
numfig = True
""",
}


@pytest.fixture(scope="module")
def small_book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A book of one chapter, built; where its pages are."""
    source = tmp_path_factory.mktemp("book")
    for name, text in PAGES.items():
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).write_text(text, encoding="utf-8")
    (source / "book" / "dot.png").write_bytes(b"a picture")
    app = SphinxTestApp("html", srcdir=source)
    app.build()
    assert app.warning.getvalue() == ""
    app.cleanup()
    return Path(app.outdir) / "book"


def cards(page: Path) -> dict[str, str]:
    """The cards of a built page: address of the link -> what its card says."""
    template = page.read_text(encoding="utf-8").partition('<template id="hover-cards">')[2]
    template = template.partition("</template>")[0]
    return dict(
        re.findall(r'<div data-for="([^"]*)">(.*?)</div>(?=<div data|\n$)', template, re.DOTALL)
    )


def test_only_the_first_use_in_prose_becomes_a_link(small_book: Path) -> None:
    page = (small_book / "chapter.html").read_text(encoding="utf-8")
    links = re.findall(r'<a class="glossary-term[^>]*href="([^"]*)">([^<]*)</a>', page)
    assert links == [
        ("glossary.html#term-loss", "loss"),
        ("glossary.html#term-gradient", "gradient"),
    ]
    assert "then a <a " in page
    assert 'class="glossary-term' not in (small_book / "glossary.html").read_text(encoding="utf-8")


def test_each_kind_of_link_has_its_card(small_book: Path) -> None:
    says = cards(small_book / "chapter.html")
    assert says["glossary.html#term-loss"].startswith(
        '<p><strong>loss</strong> <span lang="zh">损失</span></p><p>What training makes small, as '
    )
    assert r"\(f(x)\)" in says["glossary.html#term-loss"]
    entry = "<p>K. He. Layers. 2015. arXiv:1.2.</p>"
    assert " ".join(unescape(says["https://arxiv.org/abs/1.2"]).split()) == entry
    assert says["https://arxiv.org/abs/1.2"] in [
        text for address, text in says.items() if address.startswith("references.html#")
    ]
    assert "x^2" in says["#equation-square"]
    assert "dot.png" in says["#dot"]
    assert "A single dot." in says["#dot"]
    assert says["#add"] == "<p><code>add(left, right=1)</code></p><p>Add two numbers.</p>"
    assert len(says) == 7


def test_what_is_in_a_card_has_no_places_and_no_links(small_book: Path) -> None:
    for text in cards(small_book / "chapter.html").values():
        assert " id=" not in text
        assert "<a " not in text


def test_a_page_whose_cards_hold_formulas_can_set_them(small_book: Path) -> None:
    pages = [
        (small_book / f"{name}.html").read_text(encoding="utf-8")
        for name in ("plain", "references")
    ]
    assert [bool(re.search("<script[^>]*mathjax", page)) for page in pages] == [True, False]


@pytest.mark.parametrize("kind", [nodes.title, nodes.table, nodes.term, nodes.block_quote])
def test_some_text_is_no_prose(kind: type[nodes.Element]) -> None:
    prose = nodes.paragraph("", "", nodes.strong("", "", nodes.Text("loss")))
    document = nodes.section("", prose)
    assert [text.astext() for text in running_prose(document)] == ["loss"]  # type: ignore[arg-type]
    document.replace(prose, kind("", prose))
    assert [*running_prose(document)] == []  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", NOT_WORDS)
def test_a_link_or_a_name_in_prose_is_left_alone(kind: type[nodes.Element]) -> None:
    name = kind()
    name += nodes.Text("loss")
    document = nodes.section("", nodes.paragraph("", "", name))
    assert [*running_prose(document)] == []  # type: ignore[arg-type]


def test_an_address_is_known_however_it_is_spelt() -> None:
    assert hover_cards.tidy("http://a.org/b%28c%29/") == "https://a.org/b(c)"
