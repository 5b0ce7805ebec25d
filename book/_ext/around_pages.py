"""A Sphinx extension: what surrounds the pages.

In each page's head: what it says, in a sentence, for those who list or quote it; a picture for
cards; where it stands, for those who find a copy. At its foot: version, date, licences, how to
cite, where to report a mistake. Beside the pages: a map for search engines (sitemap.xml), a feed of
corrections and versions (feed.xml, from the page that `around_pages_news` names), and a page for
addresses that lead nowhere (404.html).

Where the book is published follows from its one setting, the repository's address, as
tools/address.py says. While that is the placeholder, no page claims an address: the head has no
canonical link and no picture for cards, which must be told in full, there is no sitemap, and
mistakes are reported as the page of corrections says. All else needs no host.
"""

from __future__ import annotations

import re
import subprocess
import uuid
from collections.abc import Iterator
from datetime import date
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote, urljoin
from xml.etree import ElementTree

import yaml
from docutils import nodes
from page_colours import sheet_text
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.util.docutils import SphinxDirective

from mnist_lab import __version__
from tools.address import pages_address

BOOK = "Reading handwritten digits with a network that you build yourself: read, run and drawn on."
CARD = "_static/social-card.png"
CARD_WORDS = (
    "mnist-lab: Read handwritten digits. Beside the title, digits in ink on paper; two of them are "
    "ringed in red, with what they were misread as in blue."
)
LONGEST = 200  # letters of a description; what lists pages cuts later


# --- What is known of the book -------------------------------------------------------------------


def built_from(folder: Path, cited: dict[str, Any]) -> date:
    """Return the date of the commit that is built, or of the release where there is no git."""
    command = ["git", "log", "-1", "--format=%cs"]
    try:
        told = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
        return date.fromisoformat(told.stdout.strip())
    except (OSError, subprocess.CalledProcessError, ValueError):
        return date.fromisoformat(str(cited["date-released"]))


def learn(app: Sphinx, config: Config) -> None:
    """Find out what the pages tell of the book, before any is read."""
    cited = yaml.safe_load((Path(app.srcdir) / "CITATION.cff").read_text(encoding="utf-8"))
    repository = config.html_theme_options["repository_url"]
    address = pages_address(repository)
    config.html_baseurl = address or ""
    config.html_context["around"] = {
        "address": address,
        "repository": repository,
        "version": __version__,
        "date": built_from(Path(app.srcdir), cited),
        "cited": cited,
        "news": config.around_pages_news,
        "colours": sheet_text(),
    }


class CitationDirective(SphinxDirective):
    """Shows CITATION.cff as an entry for BibTeX."""

    def run(self) -> list[nodes.Node]:
        """Return the entry as a block of code."""
        path = Path(self.env.srcdir) / "CITATION.cff"
        self.env.note_dependency(str(path))
        cited = yaml.safe_load(path.read_text(encoding="utf-8"))
        address = self.config.html_context["around"]["address"]
        entry = {
            "author": " and ".join("{" + author["name"] + "}" for author in cited["authors"]),
            "title": "{" + cited["title"] + "}",
            "version": cited["version"],
            "year": str(cited["date-released"])[:4],
        } | ({"url": address} if address else {})
        fields = "".join(f"  {name} = {{{value}}},\n" for name, value in entry.items())
        text = f"@software{{mnist_lab,\n{fields}}}"
        return [nodes.literal_block(text, text, language="bibtex")]


# --- The head ------------------------------------------------------------------------------------


def describe(doctree: nodes.document | None) -> str:
    """Return the first paragraph of a page, as far as whole sentences fit, or else what fits."""
    first = doctree and next(doctree.findall(nodes.paragraph), None)
    text = " ".join(first.astext().split()) if first else BOOK
    if len(text) <= LONGEST:
        return text
    ends = [match.end(1) for match in re.finditer(r"([.!?])\s", text[:LONGEST])]
    if ends and ends[-1] > LONGEST / 3:
        return text[: ends[-1]]
    return text[: LONGEST - 1].rpartition(" ")[0].rstrip(",;:") + "…"


def write_head(
    app: Sphinx,
    pagename: str,
    template: str,
    context: dict[str, Any],
    doctree: nodes.document | None,
) -> None:
    """Add to the head what others see of a page, and let no script keep its text waiting."""
    address = context["around"]["address"]
    described = BOOK if pagename == app.config.root_doc else describe(doctree)
    tags = {
        "name": {"description": described},
        "property": {
            "og:title": re.sub(r"<.*?>", "", context.get("title", "")),
            "og:description": described,
            "og:type": "article" if doctree else "website",
            "og:site_name": app.config.html_title,
        },
    }
    if address:
        tags["name"]["twitter:card"] = "summary_large_image"
        tags["property"] |= {
            "og:url": urljoin(address, app.builder.get_target_uri(pagename)),
            "og:image": urljoin(address, CARD),
            "og:image:alt": CARD_WORDS,
        }
    # docutils brings a viewport of its own, the layout another.
    kept = re.sub(r'<meta[^>]*name="viewport"[^>]*>', "", context.get("metatags", ""))
    context["metatags"] = kept + "".join(
        f'\n    <meta {kind}="{name}" content="{escape(value)}" />'
        for kind, named in tags.items()
        for name, value in named.items()
    )
    for script in context["script_files"]:
        attributes = getattr(script, "attributes", {})
        if getattr(script, "filename", None):
            attributes.setdefault("defer", "defer")
        elif attributes.get("body", "").startswith("DOCUMENTATION_OPTIONS."):
            # The theme adds these to what a script says, which waits now.
            attributes["body"] = (
                f"addEventListener('DOMContentLoaded', () => {{ {attributes['body']} }});"
            )


# --- Beside the pages ----------------------------------------------------------------------------


def collect_pages(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yield the page for addresses that lead nowhere."""
    yield "404", {"title": "There is no such page"}, "404.html"


def news_entries(doctree: nodes.document, built: date) -> Iterator[tuple[date, str, str, str]]:
    """Yield (day, title, anchor, text) of each section whose title has a day or a version."""
    for section in doctree.findall(nodes.section):
        title = section.next_node(nodes.title).astext()
        day = re.search(r"\d{4}-\d\d-\d\d", title)
        if day or re.match(r"\d+\.\d+\.\d+\b", title):
            text = "\n\n".join(p.astext() for p in section.findall(nodes.paragraph))
            yield date.fromisoformat(day[0]) if day else built, title, section["ids"][0], text


def write_feed(app: Sphinx) -> None:
    """Write feed.xml (Atom), the newest first; its names are made of words, and need no host."""
    around = app.config.html_context["around"]
    page = app.builder.get_target_uri(around["news"])
    entries = sorted(
        news_entries(app.env.get_doctree(around["news"]), around["date"]),
        key=lambda entry: entry[0],
        reverse=True,
    )

    def name(words: str) -> str:
        return uuid.uuid5(uuid.NAMESPACE_OID, f"mnist-lab {words}").urn

    def add(parent: ElementTree.Element, tag: str, text: str = "", **attributes: str) -> None:
        ElementTree.SubElement(parent, tag, attributes).text = text or None

    feed = ElementTree.Element("feed", xmlns="http://www.w3.org/2005/Atom")
    add(feed, "title", f"{app.config.html_title}: corrections and changes")
    add(feed, "id", name("feed"))
    add(feed, "updated", f"{max([day for day, *_ in entries])}T00:00:00Z")
    add(feed, "link", href=urljoin(around["address"] or "", page))
    if around["address"]:
        add(feed, "link", rel="self", href=urljoin(around["address"], "feed.xml"))
    author = ElementTree.SubElement(feed, "author")
    add(author, "name", app.config.author)
    for day, title, anchor, text in entries:
        entry = ElementTree.SubElement(feed, "entry")
        add(entry, "title", title)
        add(entry, "id", name(title))
        add(entry, "updated", f"{day}T00:00:00Z")
        add(entry, "link", href=urljoin(around["address"] or "", f"{page}#{anchor}"))
        add(entry, "content", text, type="text")
    _write_xml(feed, Path(app.outdir) / "feed.xml")


def write_sitemap(app: Sphinx) -> None:
    """Write sitemap.xml, which has to name pages in full."""
    address = app.config.html_context["around"]["address"]
    if not address:
        return
    pages = ElementTree.Element("urlset", xmlns="http://www.sitemaps.org/schemas/sitemap/0.9")
    for document in sorted(app.env.found_docs):
        place = ElementTree.SubElement(ElementTree.SubElement(pages, "url"), "loc")
        place.text = urljoin(address, quote(app.builder.get_target_uri(document)))
    _write_xml(pages, Path(app.outdir) / "sitemap.xml")


def _write_xml(root: ElementTree.Element, path: Path) -> None:
    ElementTree.indent(root)
    ElementTree.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


def write_beside(app: Sphinx, exception: Exception | None) -> None:
    """Write what stands beside the pages of a finished site."""
    if exception is None and app.builder.name == "html":
        write_feed(app)
        write_sitemap(app)


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect all of it to the build."""
    app.add_config_value("around_pages_news", "book/errata", "html")
    app.add_directive("citation", CitationDirective)
    app.connect("config-inited", learn)
    app.connect("html-collect-pages", collect_pages)
    app.connect("html-page-context", write_head, priority=950)  # when all scripts are known
    app.connect("build-finished", write_beside)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
