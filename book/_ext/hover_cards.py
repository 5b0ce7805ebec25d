"""A Sphinx extension: a link shows what it leads to, in a card beside it.

A term shows its definition and its Chinese name, a source its entry in the bibliography, a name of
the package its signature and what it does, a figure or a formula itself, a section its first words
and its first formula. A link to a source's own address counts as one to its entry. The texts of
just those that a page links to lie in the page, in a `<template>`: nothing is fetched, so cards
also open on a page that is opened from disk. hover-cards.js shows them; without scripts the links
are links.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache, cached_property
from html import escape, unescape
from itertools import islice
from typing import Any
from urllib.parse import unquote, urldefrag

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util.osutil import relative_uri

SCRIPT = "hover-cards.js"
REFERENCES = "book/references"
DOI = "https://doi.org/"
ARXIV = "https://arxiv.org/abs/"
MODULE = "module-"  # what the place of a module begins with
LINK = re.compile(r'<a\b(?![^>]*headerlink)[^>]*? href="([^"]*)"')
NOT_IN_A_CARD = re.compile(r'<a class="headerlink".*?</a>|</?a\b[^>]*>| id="[^"]*"')


class Cards:
    """Writes cards, each once however many pages show it."""

    def __init__(self, app: Sphinx) -> None:
        self.app = app
        self._write = cache(self._write)  # type: ignore[method-assign]
        self._places = cache(self._places)  # type: ignore[method-assign]

    def on_page(self, page: str, body: str) -> dict[str, str]:
        """Map the links of a page, as they are written there, to the insides of their cards."""
        addresses = dict.fromkeys(map(unescape, LINK.findall(body)))
        return {address: card for address in addresses if (card := self._behind(page, address))}

    def _behind(self, page: str, address: str) -> str:
        """Return the card of a link on a page; nothing where there is nothing to say."""
        if page != REFERENCES and (source := self._sources.get(tidy(address))):
            return source
        path, anchor = urldefrag(address)
        other = self._pages_seen_from(page).get(path) if anchor else None
        if other is None:
            return ""
        pictures = self.app.builder.imgpath  # where they are, seen from this page
        return self._write(other, unquote(anchor), pictures)

    def _pages_seen_from(self, page: str) -> dict[str, str]:
        uri = self.app.builder.get_target_uri
        others = {relative_uri(uri(page), uri(other)): other for other in self.app.env.found_docs}
        return others | {"": page}

    def _places(self, page: str) -> dict[str, nodes.Element]:
        """Map each place of a page that can be pointed to, to what stands there."""
        elements = self.app.env.get_doctree(page).findall(nodes.Element)
        return {place: element for element in elements for place in element.get("ids", ())}

    @cached_property
    def _citations(self) -> dict[str, str]:
        """Map the place of each source among the references to its entry."""
        return {
            citation.citation_id: f"<p>{NOT_IN_A_CARD.sub('', entry.text.render_as('html'))}</p>"
            for citation in self.app.env.get_domain("cite").citations  # type: ignore[attr-defined]
            for entry in [citation.formatted_entry]
        }

    @cached_property
    def _sources(self) -> dict[str, str]:
        """Map the addresses of each source to its entry."""
        found = {}
        for citation in self.app.env.get_domain("cite").citations:  # type: ignore[attr-defined]
            fields = citation.entry.fields
            for key, start in (("url", ""), ("doi", DOI), ("eprint", ARXIV)):
                if key in fields:
                    found[tidy(start + fields[key])] = self._citations[citation.citation_id]
        return found

    def _write(self, page: str, place: str, pictures: str) -> str:
        """Write the inside of a place's card; nothing for what has none, such as a section."""
        if page == REFERENCES:
            return self._citations.get(place, "")
        node: nodes.Node | None = self._places(page).get(place)
        if node is not None and place.startswith(MODULE):
            says = node.next_node(nodes.paragraph, ascend=True)
            return f"<p><code>{place.removeprefix(MODULE)}</code></p>" + self._render([says])
        if isinstance(node, nodes.target):  # stands before a formula
            node = node.next_node(descend=False, siblings=True)
        match node:
            case nodes.term():
                *names, definition = node.parent
                english, *chinese = (escape(name.astext()) for name in names)
                shown = [f"<strong>{english}</strong>"]
                shown += [f'<span lang="zh">{name}</span>' for name in chinese]
                return f"<p>{' '.join(shown)}</p>" + self._render(definition.children)
            case addnodes.desc_signature():
                says = node.parent[-1].findall(nodes.paragraph)
                return f"<p><code>{escape(shorten(node))}</code></p>" + self._render(
                    islice(says, 1)
                )
            case nodes.figure() | nodes.image() | nodes.math_block():
                return self._render([node])
            case nodes.section():
                opens = islice(direct(node, nodes.paragraph), 1)
                shows = islice(direct(node, nodes.math_block), 1)
                heading = f"<p><strong>{escape(node[0].astext())}</strong></p>"
                return heading + self._render([*opens, *shows])
            case nodes.Element(parent=nodes.term()) as inside:  # a list of claims and answers
                _, *answer = inside.parent.parent
                says = nodes.paragraph("", "", *(part.deepcopy() for part in inside.parent))
                return self._render([says, *answer])
        return ""

    def _render(self, found: Iterable[nodes.Node]) -> str:
        """Return HTML without places to point to and without links: it is shown for a link."""
        html = ""
        for node in found:
            copy = node.deepcopy()
            for link in list(copy.findall(addnodes.pending_xref)):
                link.parent.replace(link, link.children)
            self.app.builder.post_process_images(copy)
            html += self.app.builder.render_partial(copy)["fragment"]  # type: ignore[attr-defined]
        return NOT_IN_A_CARD.sub("", html).strip()


def direct(node: nodes.Element, kind: type[nodes.Element]) -> Iterable[nodes.Element]:
    """Yield the children of one kind."""
    return (child for child in node if isinstance(child, kind))


def shorten(signature: addnodes.desc_signature) -> str:
    """Return a signature without its annotations: the names, and what they are by default."""
    name = " ".join(part.astext() for part in signature.findall(addnodes.desc_name))
    parameters = [
        re.sub(r":.*?(?= = |$)", "", " ".join(part.astext().split())).replace(" = ", "=")
        for part in signature.findall(addnodes.desc_parameter)
    ]
    called = any(signature.findall(addnodes.desc_parameterlist))
    return f"{name}({', '.join(parameters)})" if called else name


def tidy(address: str) -> str:
    """Spell an address in one way.

    >>> tidy("http://jmlr.org/papers/v15/srivastava14a%2Ehtml")
    'https://jmlr.org/papers/v15/srivastava14a.html'
    """
    return unquote(address).replace("http://", "https://").rstrip("/")


def connect(app: Sphinx) -> None:
    """Let the pages of a site carry their cards; other editions have no scripts to show them."""
    if app.builder.name != "html":
        return
    cards = Cards(app)

    def expect_formulas(
        app: Sphinx,
        pagename: str,
        templatename: str,
        context: dict[str, Any],
        doctree: nodes.document | None,
    ) -> None:
        """Have MathJax loaded where a card shows a formula."""
        if doctree is not None and any(
            'class="math' in text for text in cards.on_page(pagename, context["body"]).values()
        ):
            app.env.get_domain("math").data["has_equations"][pagename] = True

    def add_cards(
        app: Sphinx,
        pagename: str,
        templatename: str,
        context: dict[str, Any],
        doctree: nodes.document | None,
    ) -> None:
        if doctree is not None and (found := cards.on_page(pagename, context["body"])):
            texts = (
                f'<div data-for="{escape(address)}">{text}</div>' for address, text in found.items()
            )
            context["body"] += f'<template id="hover-cards">\n{"".join(texts)}\n</template>\n'
            app.add_js_file(SCRIPT, loading_method="defer")

    app.connect("html-page-context", expect_formulas, priority=400)  # ahead of MathJax
    app.connect("html-page-context", add_cards, priority=600)  # behind the links in code


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect it to the build."""
    app.connect("builder-inited", connect)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
