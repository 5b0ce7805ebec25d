"""The editions that a reader takes along: PDF, EPUB, archives of site and notebooks, cards.

    python -m tools.editions                all of them (make editions)
    python -m tools.editions pdf epub       some of them: pdf, epub, site, notebooks, cards

They are written into the site, into _build/html/editions, and each page's download menu then offers
what lies there. The next `make book` takes them out of the menu again, so that a page never offers
an edition of another book.

The EPUB's pages come from Sphinx (book/_ext/editions.py says what becomes of pads, quizzes and
solutions). A Chromium has the site's own MathJax write each formula as MathML, which readers of
EPUB draw themselves, and prints all pages together as one tagged PDF: with the pages in one
document its links, its outline and the pictures' texts hold across chapters.
"""

from __future__ import annotations

import html
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib import resources
from pathlib import Path, PurePosixPath
from posixpath import normpath
from typing import TYPE_CHECKING, Any

from bs4 import BeautifulSoup

from mnist_lab import __version__
from tools.anki import write_cards
from tools.chromium import find_chromium, started

if TYPE_CHECKING:
    from playwright.sync_api import Page as Tab

ROOT = Path(__file__).parents[1]
SITE = ROOT / "_build" / "html"
WORK = ROOT / "_build" / "editions"
PAGES = WORK / "_build" / "epub"  # where jupyter-book puts what the builder `epub` makes
OFFERED = SITE / "editions"
COVER = ROOT / "book" / "editions" / "cover.svg"
TITLE = "mnist-lab: read handwritten digits"
AUTHOR = "The mnist-lab authors"

# File, name in the menu, what it says of itself when pointed at, picture.
EDITIONS = {
    "pdf": ("mnist-lab.pdf", "Book (PDF)", "The whole book on A4", "fa-file-pdf"),
    "epub": ("mnist-lab.epub", "Book (EPUB)", "The whole book for e-readers", "fa-book"),
    "site": ("mnist-lab-site.zip", "Site (zip)", "This site, read offline", "fa-file-zipper"),
    "notebooks": ("mnist-lab-notebooks.zip", "Notebooks (zip)", "All chapters", "fa-file-zipper"),
    "cards": ("mnist-lab.apkg", "Cards (Anki)", "Quizzes and glossary, by heart", "fa-clone"),
}


# --- Archives: the same bytes from the same files ------------------------------------------------


def pack(target: Path, files: dict[str, Path | str]) -> None:
    """Write an archive whose bytes depend on nothing but the names and contents of its files."""
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_suffix(".part")
    with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            # The first file of an EPUB is found by looking at the archive's first bytes.
            entry.compress_type = zipfile.ZIP_STORED if name == "mimetype" else zipfile.ZIP_DEFLATED
            data = content.encode() if isinstance(content, str) else content.read_bytes()
            archive.writestr(entry, data)
    unfinished.replace(target)


def below(folder: Path) -> dict[str, Path]:
    """List the files below a folder by their names within it."""
    return {p.relative_to(folder).as_posix(): p for p in sorted(folder.rglob("*")) if p.is_file()}


def write_notebooks(target: Path) -> None:
    """Pack the chapters, with a word on how to run them."""
    text = (
        "The chapters of mnist-lab as Jupyter notebooks. To run them, install Python 3.11 or newer,"
        "\nthen the book's package with what chapters need, and open them:\n\n"
        '    pip install "mnist-lab[chapters,lab] @ git+{address}"\n    jupyter lab\n'
    )
    from tools.address import current_address

    readme = text.format(address=current_address())
    chapters = {path.name: path for path in sorted((ROOT / "notebooks").glob("ch*.ipynb"))}
    pack(target, {"README.txt": readme, **chapters})


def write_site(target: Path) -> None:
    """Pack the site as it is before it offers any edition: `index.html` is its first page."""
    files = {name: path for name, path in below(SITE).items() if not name.startswith("editions/")}
    pack(target, {f"mnist-lab/{name}": without_offers(path) for name, path in files.items()})


# --- The pages, in order -------------------------------------------------------------------------


@dataclass(frozen=True)
class BookPage:
    """One page of the book as Sphinx has written it for the EPUB."""

    path: str
    part: str
    title: str
    sections: list[tuple[str, str]]  # id and text of each
    body: Any  # of BeautifulSoup, to which an attribute might be a list

    @property
    def key(self) -> str:
        """What stands before the page's ids where all pages are one document."""
        return PurePosixPath(self.path).stem


def read_page(text: str, path: str, part: str = "") -> BookPage:
    """Take a page apart."""
    body: Any = BeautifulSoup(text, "html.parser").select_one("div.body")
    sections = [
        (section["id"], read_heading(section.find("h2")))
        for section in body.select("section > section:has(> h2)")
    ]
    return BookPage(path, part, read_heading(body.find("h1")), sections, body)


def read_heading(tag: Any) -> str:
    """Return a heading's text without the mark that links to it."""
    return " ".join(tag.get_text().replace("\N{PILCROW SIGN}", "").split())


def read_pages(folder: Path = PAGES) -> list[BookPage]:
    """Read all pages in the order of the table of contents."""
    from sphinx_external_toc.parsing import parse_toc_yaml

    contents = parse_toc_yaml(ROOT / "_toc.yml")

    def walk(name: str, part: str) -> Iterator[tuple[str, str]]:
        yield name, part
        for subtree in contents[name].subtrees:
            for item in subtree.items:
                yield from walk(str(item), subtree.caption or part)

    return [
        read_page((folder / f"{name}.xhtml").read_text(encoding="utf-8"), f"{name}.xhtml", part)
        for name, part in walk(contents.root.docname, "")
    ]


def build_pages() -> None:
    """Have Sphinx write the EPUB's pages, and MathJax their formulas."""
    require_chromium()  # better now than after the minutes that Sphinx takes
    print("The book's pages are being written ...", flush=True)
    program = Path(sys.executable).with_name("jupyter-book")
    options = "-W -n --keep-going --all -q --builder custom --custom-builder epub"
    shutil.rmtree(PAGES, ignore_errors=True)  # a page that is gone must not be in the book
    subprocess.run(
        [program, "build", ".", "--path-output", WORK, *options.split()], cwd=ROOT, check=True
    )
    with chromium() as tab:
        typeset(tab, [path for path in below(PAGES).values() if path.suffix == ".xhtml"])


# --- Chromium ------------------------------------------------------------------------------------


def require_chromium() -> str:
    """Return the path of this machine's Chromium, or end with a sentence where there is none."""
    program = find_chromium()
    if program is None:
        sys.exit(
            "PDF and EPUB need a Chromium for their formulas, and there is none on this machine: "
            "install chromium or Google Chrome."
        )
    return program


@contextmanager
def chromium() -> Iterator[Tab]:
    """Open a page in the Chromium of this machine."""
    with started(require_chromium()) as browser:
        tab = browser.new_page()
        tab.set_default_timeout(0)  # a book takes as long as it takes
        yield tab


def draw_cover(target: Path) -> None:
    """Draw the cover as PNG, which shows on every e-reader."""
    with chromium() as tab:
        tab.set_viewport_size({"width": 1600, "height": 2400})
        tab.goto(COVER.as_uri())
        tab.screenshot(path=target)


def mathjax(component: str) -> str:
    """Return the address of a part of the MathJax that the site has too."""
    package = resources.files("sphinx-mathjax-offline") / "static" / "mathjax"
    return Path(str(package / component)).as_uri()


FORMULA = re.compile(
    r'<math xmlns="http://www.w3.org/1998/Math/MathML" display="(block|inline)" alttext="([^"]*)"/>'
)
TO_MATHML = """formulas => MathJax.startup.promise.then(() => formulas.map(
  ([display, tex]) => MathJax.tex2mml(tex, { display: display === "block" })))"""


def typeset(tab: Tab, paths: list[Path]) -> None:
    """Fill the formulas of pages, which are TeX so far, with MathML."""
    empty = WORK / "empty.html"
    empty.write_text(
        "<!doctype html><script>MathJax = { startup: { typeset: false } }</script>"
        f'<script src="{mathjax("tex-mml-chtml.js")}"></script>',
        encoding="utf-8",
    )
    tab.goto(empty.as_uri())
    for path in paths:
        text = tidy(path.read_text(encoding="utf-8"))
        found = [(display, html.unescape(tex)) for display, tex in FORMULA.findall(text)]
        mathml: Iterator[str] = iter(tab.evaluate(TO_MATHML, found))
        path.write_text(FORMULA.sub(partial(fill_next, mathml), text), encoding="utf-8")


def fill_next(mathml: Iterator[str], formula: re.Match[str]) -> str:
    """Fill the next formula of a page."""
    return fill(formula, next(mathml))


# Words of code that are shown like any other: half of a page's elements, and of a PDF's tags.
PLAIN = re.compile(r'<span class="(?:n|nn|nx|p|pm|pre|w)">([^<]*)</span>')


def tidy(text: str) -> str:
    """Take out of a page what says nothing, and a role that EPUB has given up."""
    text = text.replace(' role="doc-biblioentry"', "")
    found = 1
    while found:
        text, found = PLAIN.subn(r"\1", text)
    return text


def fill(formula: re.Match[str], mathml: str) -> str:
    """Put what MathJax has written into the place of a formula."""
    if "<merror" in mathml:
        sys.exit(f"MathJax cannot read {html.unescape(formula[2])}")
    inside = re.sub(r' data-mjx-[\w-]+="[^"]*"', "", mathml).partition(">")[2]
    return f"{formula[0][:-2]}>{' '.join(inside.split())}"


# --- EPUB ----------------------------------------------------------------------------------------

CONTAINER = """<?xml version="1.0" encoding="UTF-8"?>
<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container">
  <rootfiles>
    <rootfile full-path="content.opf" media-type="application/oebps-package+xml"/>
  </rootfiles>
</container>
"""
PACKAGE = """<?xml version="1.0" encoding="UTF-8"?>
<package xmlns="http://www.idpf.org/2007/opf" version="3.0" xml:lang="en" unique-identifier="id">
  <metadata xmlns:dc="http://purl.org/dc/elements/1.1/">
    <dc:identifier id="id">{address}</dc:identifier>
    <dc:title>{title}</dc:title>
    <dc:creator>{author}</dc:creator>
    <dc:language>en</dc:language>
    <meta property="dcterms:modified">{modified}</meta>
    <meta property="schema:accessMode">textual</meta>
    <meta property="schema:accessMode">visual</meta>
    <meta property="schema:accessModeSufficient">textual</meta>
    <meta property="schema:accessibilityFeature">alternativeText</meta>
    <meta property="schema:accessibilityFeature">MathML</meta>
    <meta property="schema:accessibilityFeature">tableOfContents</meta>
    <meta property="schema:accessibilityHazard">none</meta>
  </metadata>
  <manifest>
{manifest}
  </manifest>
  <spine>
{spine}
  </spine>
</package>
"""
NAVIGATION = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE html>
<html xmlns="http://www.w3.org/1999/xhtml" xmlns:epub="http://www.idpf.org/2007/ops" lang="en" xml:lang="en">
<head><title>Contents</title><link rel="stylesheet" href="_static/editions.css"/></head>
<body><nav epub:type="toc"><h1>Contents</h1>
{contents}
</nav></body>
</html>
"""  # noqa: E501
HOLDS = {"mathml": "<math", "svg": "<svg"}  # what a page with it has to announce
MEDIA = {
    ".css": "text/css",
    ".jpg": "image/jpeg",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".xhtml": "application/xhtml+xml",
}


def write_contents(pages: list[BookPage], line: Callable[[BookPage, str, str], str]) -> str:
    """Return the contents as a list of parts, pages and sections.

    Parameters
    ----------
    pages : list of BookPage
        In order.
    line : function
        Takes a page, the id of a section in it or "", and the text; returns the line.
    """
    lines = []
    part = ""
    for page in pages:
        if page.part != part:
            lines.append("</ol></li>" if part else "")
            lines.append(f"<li><span>{html.escape(page.part)}</span><ol>")
            part = page.part
        inside = "".join(f"<li>{line(page, *section)}</li>" for section in page.sections)
        lines.append(f"<li>{line(page, '', page.title)}{inside and f'<ol>{inside}</ol>'}</li>")
    return "\n".join(["<ol>", *lines, "</ol></li></ol>" if part else "</ol>"])


def write_epub(target: Path) -> None:
    """Pack the pages, with their contents and what they show."""
    from tools.address import current_address

    draw_cover(PAGES / "cover.png")
    pages = read_pages()
    names = [page.path for page in pages]
    shown = {normpath(f"{PurePosixPath(p.path).parent}/{image['src']}")
             for p in pages for image in p.body("img")}  # fmt: skip
    texts = {name: (PAGES / name).read_text(encoding="utf-8") for name in names}
    sheets = ["_static/editions.css", "_static/pygments.css"]
    manifest = [
        '    <item id="contents" href="nav.xhtml" properties="nav" '
        'media-type="application/xhtml+xml"/>',
        '    <item id="cover" href="cover.png" properties="cover-image" media-type="image/png"/>',
    ]
    for number, name in enumerate([*names, *sheets, *sorted(shown)]):
        held = [kind for kind, tag in HOLDS.items() if tag in texts.get(name, "")]
        holds = f' properties="{" ".join(held)}"' if held else ""
        kind = MEDIA[PurePosixPath(name).suffix]
        manifest.append(f'    <item id="file-{number}" href="{name}" media-type="{kind}"{holds}/>')
    spine = ["contents", *(f"file-{number}" for number in range(len(names)))]
    package = PACKAGE.format(
        address=current_address(),
        title=TITLE,
        author=AUTHOR,
        modified=modified(),
        manifest="\n".join(manifest),
        spine="\n".join(f'    <itemref idref="{identity}"/>' for identity in spine),
    )
    contents = write_contents(
        pages,
        lambda page, identity, text: (
            f'<a href="{page.path}{identity and f"#{identity}"}">{html.escape(text)}</a>'
        ),
    )
    pack(target, {
        "mimetype": "application/epub+zip",
        "META-INF/container.xml": CONTAINER,
        "content.opf": package,
        "nav.xhtml": NAVIGATION.format(contents=contents),
        **texts,
        **{name: PAGES / name for name in ["cover.png", *sheets, *sorted(shown)]},
    })  # fmt: skip


def modified() -> str:
    """Return when the book was changed last: its commit's time, so that a second build is equal."""
    command = ["git", "log", "-1", "--format=%ct"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout
    seconds = int(os.environ.get("SOURCE_DATE_EPOCH") or found or 0)
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


# --- PDF -----------------------------------------------------------------------------------------


def write_pdf(target: Path) -> None:
    """Print all pages as one document, twice: the first time tells the contents their numbers."""
    document, printed = WORK / "book.html", WORK / "book.pdf"
    document.write_text(join_pages(read_pages()), encoding="utf-8")
    with chromium() as tab:
        if tab.evaluate(NO_CHINESE):
            print("No font of this machine has the glossary's 中文: install fonts-noto-cjk.")
        tab.goto(document.as_uri())
        tab.evaluate(DRAW_FORMULAS)
        tab.evaluate(WAIT_FOR_PICTURES)
        print_book(tab, printed)
        tab.evaluate(NUMBER_CONTENTS, find_pages(printed))
        print_book(tab, printed)
    target.parent.mkdir(parents=True, exist_ok=True)
    printed.replace(target)


def print_book(tab: Tab, printed: Path) -> None:
    """Print with tags, which carry the pictures' texts, and with an outline."""
    tab.pdf(
        path=printed, prefer_css_page_size=True, print_background=True, tagged=True, outline=True
    )


def find_pages(printed: Path) -> dict[str, int]:
    """Return the number of the page on which each place is that something links to."""
    from pypdf import PdfReader

    reader = PdfReader(printed)
    numbers = {
        getattr(page.indirect_reference, "idnum", 0): n
        for n, page in enumerate(reader.pages, start=1)
    }
    return {
        name.removeprefix("/"): numbers[getattr(place.raw_get("/Page"), "idnum", 0)]
        for name, place in reader.named_destinations.items()
    }


NUMBER_CONTENTS = """pages => document.querySelectorAll("nav.contents a").forEach(
  (link) => { link.nextElementSibling.textContent = pages[link.hash.slice(1)]; })"""
# A formula becomes a picture: one element that says its TeX, where MathJax would have hundreds.
# The pictures' units are thousandths of the type size.
DRAW_FORMULAS = """async () => {
  await MathJax.startup.promise;
  for (const math of document.querySelectorAll("math")) {
    const display = math.getAttribute("display") === "block";
    const tex = math.getAttribute("alttext");
    const svg = (await MathJax.tex2svgPromise(tex, { display })).querySelector("svg");
    const [, top, width, height] = svg.getAttribute("viewBox").split(" ").map(Number);
    const picture = new Image();
    picture.alt = tex;
    picture.src = "data:image/svg+xml," + encodeURIComponent(svg.outerHTML);
    picture.className = "drawn";
    picture.style.cssText =
      `width: ${width / 1000}em; vertical-align: ${-(top + height) / 1000}em`;
    math.replaceWith(picture);
  }
}"""
# A picture that is loaded lazily would be waited for until somebody scrolls to it.
WAIT_FOR_PICTURES = """async () => {
  for (const image of document.images) image.loading = "eager";
  await Promise.all([...document.images].map((image) => image.decode()));
  await document.fonts.ready;
}"""
# Without a font for them all characters are the same box.
NO_CHINESE = """() => {
  const draw = (character) => {
    const paper = document.createElement("canvas").getContext("2d");
    paper.font = "20px serif";
    paper.fillText(character, 2, 22);
    return paper.canvas.toDataURL();
  };
  return draw("中") === draw("文");
}"""
DOCUMENT = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
<link rel="stylesheet" href="{pages}/_static/pygments.css">
<link rel="stylesheet" href="{pages}/_static/editions.css">
<link rel="stylesheet" href="{pages}/_static/print.css">
<style>{running}</style>
<script>
MathJax = {{ startup: {{ typeset: false }}, options: {{ enableAssistiveMml: false }} }};
</script>
<script src="{mathjax}"></script>
</head>
<body>
<header class="title-page">
<p class="title">Read handwritten digits</p>
<p class="subtitle">From the bytes of a file to a trained network</p>
<p class="imprint">{author}<br>mnist-lab {version}, {date}<br>{address}</p>
<p class="imprint">Text and figures: CC BY-SA 4.0. Code: MIT licence.</p>
</header>
<nav class="contents"><h1>Contents</h1>
{contents}
</nav>
{pages_of_book}
</body>
</html>
"""


def join_pages(pages: list[BookPage]) -> str:
    """Return one document that holds all pages, with links that stay inside it."""
    from tools.address import current_address

    contents = write_contents(
        pages,
        lambda page, identity, text: (
            f'<p><a href="#{page.key}{identity and f"--{identity}"}">{html.escape(text)}</a>'
            '<span class="page">000</span></p>'
        ),
    )
    keys = {page.path: page.key for page in pages}
    texts, running, part = [], [], ""
    for page in pages:
        localise(page, keys)
        if page.part and page.part != part:
            texts.append(f'<h1 class="part">{html.escape(page.part)}</h1>')
            part = page.part
        name = page.key.replace("_", "-")
        running.append(f"#{page.key} {{ page: {name} }}")
        running.append(f'@page {name} {{ @top-right {{ content: "{page.title}" }} }}')
        texts.append(f'<article id="{page.key}">{page.body.decode_contents()}</article>')
    return DOCUMENT.format(
        title=TITLE,
        author=AUTHOR,
        version=__version__,
        date=modified()[:10],
        address=current_address(),
        pages=PAGES.as_uri(),
        mathjax=mathjax("tex-svg.js"),
        running="\n".join(running),
        contents=contents,
        pages_of_book="\n".join(texts),
    )


WHOLE = 16  # lines of code that stand on one page; more may break


def localise(page: BookPage, keys: dict[str, str]) -> None:
    """Make ids, links and pictures of a page right for a document that holds every page."""
    folder = PurePosixPath(page.path).parent
    for tag in page.body(id=True):
        tag["id"] = f"{page.key}--{tag['id']}"
    for link in page.body("a", href=True):
        where, _, identity = link["href"].partition("#")
        path = normpath(f"{folder}/{where}") if where else page.path
        if path in keys:
            link["href"] = f"#{keys[path]}--{identity}" if identity else f"#{keys[path]}"
    for code in page.body("pre"):
        if code.get_text().count("\n") < WHOLE:
            code["class"] = "whole"
    for image in page.body("img"):
        image["src"] = (PAGES / folder / image["src"]).resolve().as_uri()
    if page.part:  # its title stands below that of its part
        for level in range(5, 0, -1):
            for tag in page.body(f"h{level}"):
                tag.name = f"h{level + 1}"


# --- The pages' download menu --------------------------------------------------------------------

MENU = re.compile(r'(<div class="dropdown dropdown-download-buttons">.*?)(\s*</ul>)', re.DOTALL)
ENTRY = """
      <li class="edition">
<a href="{href}" download class="btn btn-sm dropdown-item" title="{title}">
<span class="btn__icon-container"><i class="fas {icon}"></i></span>
<span class="btn__text-container">{text}</span></a></li>"""
OFFER = re.compile(r'\s*<li class="edition">.*?</li>', re.DOTALL)


def offer(page: str, depth: int, names: list[str]) -> str:
    """Return a page whose download menu lists the editions that there are."""
    entries = ""
    for name in names:
        file, text, title, icon = EDITIONS[name]
        href = f"{'../' * depth}editions/{file}"
        entries += ENTRY.format(href=href, text=text, title=title, icon=icon)
    return MENU.sub(lambda menu: menu[1] + entries + menu[2], OFFER.sub("", page))


def without_offers(path: Path) -> Path | str:
    """Return a page as the site had it before any edition was offered."""
    if path.suffix != ".html":
        return path
    return OFFER.sub("", path.read_text(encoding="utf-8"))


def offer_everywhere() -> int:
    """Let every page of the site offer the editions that lie beside it; return how many do."""
    names = [name for name, (file, *_) in EDITIONS.items() if (OFFERED / file).is_file()]
    offering = 0
    for name, path in below(SITE).items():
        if path.suffix == ".html":
            text = path.read_text(encoding="utf-8")
            changed = offer(text, name.count("/"), names)
            if changed != text:
                path.write_text(changed, encoding="utf-8")
            offering += 'class="edition"' in changed
    if names and not offering:
        sys.exit("No page has the download menu that the editions go into: the theme has changed.")
    return offering


WRITERS: dict[str, Any] = {
    "pdf": write_pdf,
    "epub": write_epub,
    "site": write_site,
    "notebooks": write_notebooks,
    "cards": write_cards,
}


def main() -> None:
    """Write the editions that are named, or all."""
    names = sys.argv[1:] or list(EDITIONS)
    if unknown := set(names) - EDITIONS.keys():
        sys.exit(f"There is no edition {min(unknown)!r}; there are {', '.join(EDITIONS)}.")
    if not (SITE / "index.html").is_file():
        sys.exit("The site is missing, into which the editions go: make book")
    if {"pdf", "epub"} & set(names):
        build_pages()
    for name in names:
        target = OFFERED / EDITIONS[name][0]
        WRITERS[name](target)
        print(f"{target.relative_to(ROOT)}  {target.stat().st_size / 1e6:.1f} MB", flush=True)
    print(f"{offer_everywhere()} pages offer them.")


if __name__ == "__main__":
    main()
