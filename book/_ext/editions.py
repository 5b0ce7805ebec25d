"""A Sphinx extension: the book as an EPUB, and, from the same pages, as a PDF.

Neither runs a script, and paper cannot be unfolded. So what works on the page becomes what it has
to say: a drawing pad its picture and its sentence, a slider over pictures the one that it shows and
a sentence, a quiz its questions. Solutions and the quiz's answers move to the end of their
chapter, as in any printed book, since nothing could cover them where they are. What the page folds
because it is not the lesson (the code that draws a figure) is left out; what it folds for another
reason is open.

All of it happens where pages are read by the builder `epub`, and nowhere else. `tools.editions`
calls that builder and does what needs a browser: formulas, and the PDF.
"""

from __future__ import annotations

import hashlib
import random
import re
from base64 import b64decode
from html import escape
from pathlib import Path
from typing import Any

from bs4 import BeautifulSoup
from docutils import nodes
from panels import Panel
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.writers.html5 import HTML5Translator

from mnist_lab import __version__
from mnist_lab.lessons.palette import PAGE_BY_DAY
from mnist_lab.lessons.quizzes import load_questions

logger = logging.getLogger(__name__)

BUILDER = "epub"
SHEET = "editions.css"
# What nobody can press on paper. A page that still has one of these would stand there with a gap.
CONTROLS = ["button", "canvas", "iframe", "input", "object", "select", "textarea", "video"]


# --- What works on the page becomes what it has to say -------------------------------------------


def prepare_page(app: Sphinx, doctree: nodes.document) -> None:
    """Make a page that has just been read fit to be printed."""
    if app.builder.name != BUILDER:
        return
    for panel in list(doctree.findall(Panel)):
        panel.replace_self(panel.children)
    answers = still_outputs(doctree, Path(app.doctreedir), Path(app.srcdir), app.env.docname)
    unfold(doctree)
    collect_solutions(doctree, answers)


def unfold(doctree: nodes.document) -> None:
    """Leave out code that only draws, and open every other cell that the page folds."""
    for cell in cells(doctree):
        hidden = cell.attributes.pop("hide_mode", None)
        source = cell.children[0] if cell.children else None
        if hidden == "input" and source and source.get("nb_element") == "cell_code_source":
            cell.remove(source)
        if not cell.children:
            cell.parent.remove(cell)


def cells(doctree: nodes.document) -> list[nodes.container]:
    """List the code cells of a page."""
    return [
        node for node in doctree.findall(nodes.container) if node.get("nb_element") == "cell_code"
    ]


def still_outputs(
    doctree: nodes.document, pictures: Path, source: Path, page: str
) -> list[nodes.Node]:
    """Replace each output that is HTML or a script; return the answers of the page's quiz."""
    answers: list[nodes.Node] = []
    for bundle in list(doctree.findall(nodes.container)):
        if bundle.get("nb_element") != "mime_bundle":
            continue
        kinds = {child.get("mime_type"): child for child in bundle.children}
        if "application/javascript" in kinds:
            bundle.parent.remove(bundle)
        elif "text/html" in kinds:
            soup: Any = BeautifulSoup(kinds["text/html"].astext(), "html.parser")
            if soup.find(attrs={"data-shufflequestions": True}):
                questions, answers = print_quiz(page)
                bundle.replace_self(questions)
            else:
                bundle.replace_self(still_html(soup, pictures, source, bundle))
    return answers


def still_html(soup: Any, pictures: Path, source: Path, place: nodes.Node) -> list[nodes.Node]:
    """Return what a piece of HTML that a cell showed says without scripts."""
    if frames := soup.find(class_="frames"):
        return still_frames(frames, pictures, source)
    if pad := soup.find("digit-pad"):
        return [
            still_picture(pad.find("img"), pictures, source),
            nodes.paragraph("", pad.get_text(" ", strip=True), classes=["instead"]),
        ]
    if panel := soup.find(["train-here", "step-here", "digit-attention"]):
        return [nodes.paragraph("", panel.get_text(" ", strip=True), classes=["instead"])]
    if link := soup.find("a", download=True):  # it holds a file
        sentence = f"On the page, a link saves {link['download']}."
        return [nodes.paragraph("", sentence, classes=["instead"])]
    for tag in soup(["style", "script"]):
        tag.decompose()
    for tag in soup(True):
        tag.attrs = {name: value for name, value in tag.attrs.items() if not name.startswith("on")}
        if tag.name in CONTROLS or "-" in tag.name:
            logger.warning("an edition has no <%s>; say in book/_ext/editions.py what stands in "
                           "its place", tag.name, location=place)  # fmt: skip
    return [nodes.raw("", str(soup), format="html")]


def still_frames(frames: Any, pictures: Path, source: Path) -> list[nodes.Node]:
    """Return the picture that a slider stands at, and a sentence about the others."""
    images = frames("img")
    shown = next(image for image in images if not image.has_attr("hidden"))
    first, *_, last = (image["data-label"] for image in images)
    name = frames["aria-label"]
    sentence = (
        f"Here: {name} {shown['data-label']}. On the page a slider steps through {len(images)} "
        f"such pictures, from {first} to {last}."
    )
    return [
        still_picture(shown, pictures, source),
        nodes.paragraph("", sentence, classes=["instead"]),
    ]


def still_picture(image: Any, pictures: Path, source: Path) -> nodes.image:
    """Write a picture that is part of a page's text into a file, as readers of EPUB want it."""
    data = b64decode(image["src"].partition("base64,")[2])
    path = pictures / f"{hashlib.sha256(data).hexdigest()}.png"
    path.write_bytes(data)
    where = Path(path).resolve().relative_to(source.resolve()).as_posix()
    return nodes.image(uri=f"/{where}", alt=image["alt"], width=f"{image['width']}px")


# --- Quizzes and solutions -----------------------------------------------------------------------


def print_quiz(page: str) -> tuple[nodes.Node, list[nodes.Node]]:
    """Return a chapter's questions, and its answers for the end of the chapter."""
    chapter = Path(page).name.partition("_")[0]
    questions = nodes.enumerated_list(classes=["quiz"])
    answers = nodes.enumerated_list(classes=["quiz"])
    for question in load_questions(chapter):
        # On the page an answer is typed.
        asked = re.sub(r" \(Then Enter\.\)|, then Enter", "", question["question"])
        item = nodes.list_item("", nodes.paragraph("", asked))
        questions += item
        right = [answer for answer in question["answers"] if answer.get("correct")]
        if question["type"] == "numeric":
            values = [str(answer.get("value", answer.get("range"))) for answer in right]
            said = [(value, answer) for value, answer in zip(values, right, strict=True)]
        else:
            # The file has the right one first. Dealt anew, and always in the same way.
            offered = list(question["answers"])
            random.Random(question["question"]).shuffle(offered)
            choices = nodes.enumerated_list(enumtype="loweralpha")
            choices += [
                nodes.list_item("", nodes.paragraph("", answer["answer"])) for answer in offered
            ]
            item += choices
            said = [("abcdefghij"[n], a) for n, a in enumerate(offered) if a.get("correct")]
        note = nodes.list_item()
        for value, answer in said:
            note += nodes.paragraph("", "", nodes.strong("", value), nodes.Text(
                f" {answer.get('feedback', '')}"))  # fmt: skip
        answers += note
    return questions, [nodes.rubric("", "The quiz"), answers]


def collect_solutions(doctree: nodes.document, answers: list[nodes.Node]) -> None:
    """Move solutions and answers into a section at the end, with links there and back."""
    chapter = next(doctree.findall(nodes.section), None)
    solutions = [cell for cell in cells(doctree) if "tag_solution" in cell["classes"]]
    if chapter is None or not (solutions or answers):
        return
    section = nodes.section(ids=["solutions"], names=["solutions"])
    section += nodes.title("", "Solutions")
    for number, cell in enumerate(solutions, start=1):
        exercise = exercise_before(cell)
        title = exercise.astext() if exercise else f"Solution {number}"
        there, back = f"solution-{number}", f"exercise-{number}"
        link = nodes.paragraph("", "", nodes.reference("", "Solution", refid=there), ids=[back])
        link["classes"] = ["to-solution"]
        cell.parent.replace(cell, link)
        for code in cell.findall(nodes.literal_block):
            code.rawsource = re.sub(r"^# @title .*\n", "", code.astext())
            code[:] = [nodes.Text(code.rawsource)]  # the two differ where nothing is highlighted
        section += nodes.rubric("", "", nodes.reference("", title, refid=back), ids=[there])
        section += cell
    section += answers
    chapter += section


def exercise_before(cell: nodes.Element) -> nodes.strong | None:
    """Return the exercise's title: of the last paragraph that opens with a bold number."""
    for node in reversed(cell.parent.children[: cell.parent.index(cell)]):
        if isinstance(node, nodes.paragraph):
            title = next(node.findall(nodes.strong), None)
            number = re.match(r"\d+\.", node.astext())
            if title and number and title.astext().startswith(number[0]):
                return title
    return None


# --- Formulas: the place of each, until tools.editions has had MathJax write it ------------------


EMPTY_FORMULA = '<math xmlns="http://www.w3.org/1998/Math/MathML" display="{}" alttext="{}"/>'


def write_formula(translator: HTML5Translator, node: nodes.math | nodes.math_block) -> None:
    """Write an empty <math> that knows its TeX, which also is what it says where none is drawn."""
    block = isinstance(node, nodes.math_block)
    tex = " ".join(node.astext().split())
    if block and r"\\" in tex and not node.get("nowrap"):
        tex = rf"\begin{{split}}{tex}\end{{split}}"  # as the site has it
    formula = EMPTY_FORMULA.format("block" if block else "inline", escape(tex))
    translator.body.append(f'<div class="formula">{formula}</div>\n' if block else formula)
    raise nodes.SkipNode


# --- The look -------------------------------------------------------------------------------------


def write_sheets(app: Sphinx) -> None:
    """Write the style sheets with the colours in them: many readers know no properties."""
    if app.builder.name != BUILDER:
        return
    app.config.html_theme_options = {}  # buttons that launch chapters
    app.config.html_static_path = []
    app.config.html_domain_indices = False
    # Over several lines a signature becomes a list inside a term, which no EPUB may have.
    app.config.python_maximum_signature_line_length = None
    static = Path(app.outdir) / "_static"
    static.mkdir(parents=True, exist_ok=True)
    for sheet in (Path(app.srcdir) / "book" / "editions").glob("*.css"):
        text = sheet.read_text(encoding="utf-8")
        text = re.sub(r"var\(--([a-z-]+)\)", lambda match: PAGE_BY_DAY[match[1]], text)
        (static / sheet.name).write_text(text, encoding="utf-8")


def keep_to_the_sheet(
    app: Sphinx,
    pagename: str,
    template: str,
    context: dict[str, Any],
    doctree: nodes.document | None,
) -> None:
    """Load no script, and no style sheet that was made for the site."""
    if app.builder.name != BUILDER:
        return
    context["script_files"] = []
    context["css_files"] = [f"_static/{name}" for name in ("pygments.css", SHEET)]


def choose_renderer(app: Sphinx, config: Any) -> None:
    """Let the site keep MathJax, and an edition take the renderer above."""
    config.html_math_renderer = "mathjax"
    config.version = config.release = __version__


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect all of it to the build."""
    app.add_html_math_renderer("edition", (write_formula, None), (write_formula, None))
    app.add_config_value("epub_math_renderer", "edition", "env")
    app.connect("config-inited", choose_renderer)
    app.connect("builder-inited", write_sheets)
    app.connect("doctree-read", prepare_page, priority=90)  # before titles and pictures are listed
    app.connect("html-page-context", keep_to_the_sheet, priority=999)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
