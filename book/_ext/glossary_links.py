"""A Sphinx extension: on each page, the first use of a term leads to its entry in the glossary.

Running prose is what is looked at: no headings, code, formulas, captions, tables or quotations, and
nothing that is a link already. A term is found in its singular and its plural, with a capital where
a sentence begins, and the longest one wins: "batch normalisation" is no "batch".

A word of a term may be an everyday word too. What belongs to a term beyond that rule, and what only
looks like one, is written down beside the glossary, in glossary_words.toml:

    not_on     pages that are left alone
    never      terms whose word is too common for a link
    apart      phrases in which a word is not the term: "pay attention"
    [also]     other forms of a term: "frozen" for freezing
    [only_on]  for a word with several meanings, the pages on which the glossary's is meant
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path

from docutils import nodes
from measured import measured_number
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.errors import ExtensionError
from sphinx.util.nodes import make_refnode

GLOSSARY = "book/glossary"
WORDS = "book/glossary_words.toml"
LINKED = "glossary-term"  # the class of such a link

# A paragraph inside one of these is no running prose; nor is text inside one of those.
NOT_PROSE = (nodes.title, nodes.caption, nodes.table, nodes.term, nodes.block_quote)
NOT_WORDS = (
    nodes.reference,
    addnodes.pending_xref,
    measured_number,  # a link too, once its page is written
    nodes.literal,
    nodes.math,
    nodes.raw,
)


def forms_of(name: str) -> list[str]:
    """Return a name and its plural.

    >>> [forms_of(name)[-1] for name in ("weight", "loss", "batch", "memory", "logits")]
    ['weights', 'losses', 'batches', 'memories', 'logits']
    """
    if re.search(r"(ss|x|ch|sh)$", name):
        return [name, f"{name}es"]
    if re.search(r"[^aeiou]y$", name):
        return [name, f"{name[:-1]}ies"]
    return [name] if name.endswith("s") else [name, f"{name}s"]


def spell(form: str) -> str:
    """Write spaces, line breaks and hyphens alike: "cross entropy" is cross-entropy.

    >>> spell("cross-entropy")
    'cross entropy'
    """
    return re.sub(r"[\s-]+", " ", form)


@dataclass(frozen=True)
class Words:
    """Which words of a page lead to which terms."""

    terms: list[str]  # the English names of the glossary
    not_on: list[str] = field(default_factory=list)
    never: list[str] = field(default_factory=list)
    apart: list[str] = field(default_factory=list)
    also: dict[str, list[str]] = field(default_factory=dict)
    only_on: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        named = {*self.never, *self.also, *self.only_on}
        if strangers := sorted(named - set(self.terms)):
            raise ExtensionError(f"{WORDS} names what the glossary does not: {strangers}")

    @cached_property
    def meanings(self) -> dict[str, list[str]]:
        """Map each form to its terms, and each phrase that only looks like one to none."""
        found: dict[str, list[str]] = {spell(phrase): [] for phrase in self.apart}
        for term in self.terms:
            for name in (term, *self.also.get(term, [])):
                for form in forms_of(name):
                    found.setdefault(spell(form), []).append(term)
        return found

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Match any form as whole words, the longest first, perhaps with a capital."""
        forms = sorted(self.meanings, key=len, reverse=True)
        either = "|".join(
            f"(?i:{re.escape(form[0])}){re.escape(form[1:])}".replace(r"\ ", r"[\s-]+")
            for form in forms
        )
        return re.compile(rf"(?<![\w-])(?:{either})(?![\w-])")

    def find(self, text: str, page: str) -> Iterator[tuple[int, int, str]]:
        """Yield start, end and term of each use of a term in `text`, as it is meant on `page`."""
        for match in self.pattern.finditer(text):
            form = spell(match.group())
            terms = self.meanings.get(form) or self.meanings.get(form[0].lower() + form[1:], [])
            if meant := [term for term in terms if self._is_meant(term, page)]:
                yield match.start(), match.end(), meant[0]

    def _is_meant(self, term: str, page: str) -> bool:
        pages = self.only_on.get(term, ["*"])
        return term not in self.never and any(fnmatch(page, pattern) for pattern in pages)


def read_terms(env: BuildEnvironment) -> dict[str, str]:
    """Map the English name of each entry of the glossary to the place of the entry on its page."""
    return {
        entry[0].astext(): entry[0]["ids"][0]
        for listed in env.get_doctree(GLOSSARY).findall(addnodes.glossary)
        for entry in listed.findall(nodes.definition_list_item)
    }


def running_prose(doctree: nodes.document) -> Iterator[nodes.Text]:
    """Yield the pieces of text in which terms are looked for, in the order of the page."""
    for paragraph in doctree.findall(nodes.paragraph):
        if not any(isinstance(node, NOT_PROSE) for node in ancestors(paragraph)):
            for text in list(paragraph.findall(nodes.Text)):
                if not any(isinstance(node, NOT_WORDS) for node in ancestors(text)):
                    yield text


def ancestors(node: nodes.Node) -> Iterator[nodes.Node]:
    """Yield what a node lies in, from the inside out."""
    while node.parent is not None:
        node = node.parent
        yield node


def link_first_uses(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Turn the first use of each term on a page into a link."""
    if app.builder.format != "html" or GLOSSARY not in app.env.found_docs:
        return
    settings = tomllib.loads((Path(app.srcdir) / WORDS).read_text(encoding="utf-8"))
    places = read_terms(app.env)
    words = Words(list(places), **settings)
    if any(fnmatch(docname, pattern) for pattern in words.not_on):
        return
    linked: set[str] = set()
    for text in running_prose(doctree):
        pieces: list[nodes.Node] = []
        behind = 0
        for start, end, term in words.find(text, docname):
            if term in linked:
                continue
            linked.add(term)
            link = make_refnode(
                app.builder, docname, GLOSSARY, places[term], nodes.Text(text[start:end])
            )
            link["classes"].append(LINKED)
            pieces += [nodes.Text(text[behind:start]), link]
            behind = end
        if pieces:
            text.parent.replace(text, [*pieces, nodes.Text(text[behind:])])


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect to each page whose own links are resolved."""
    app.connect("doctree-resolved", link_first_uses)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
