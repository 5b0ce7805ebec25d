"""book/references.bib: everything that is cited has an entry, and every entry is cited somewhere.

A source is cited by its key (`{cite}`), as the pages do, or by a link to its address, as the
chapters do; a module of the package may name its authors and year.
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parents[2]
ENTRIES = {
    match[1]: match[0]
    for match in re.finditer(
        r"^@\w+\{([^,\s]+),.*?^\}",
        (ROOT / "book" / "references.bib").read_text(encoding="utf-8"),
        re.DOTALL | re.MULTILINE,
    )
}
# Sources of which we know no address that stays.
WITHOUT_ADDRESS = {"korn1998confidence"}


def field(entry: str, name: str) -> str:
    """Return a field of an entry; nothing if it has none."""
    found = re.search(rf"^\s*{name}\s*=\s*[{{\"](.+?)[}}\"],?\s*$", entry, re.MULTILINE)
    return found[1] if found else ""


def tidy(address: str) -> str:
    """Spell an address in one way: of a paper on arXiv, its page."""
    address = unquote(address).replace("http://", "https://").rstrip("/")
    return re.sub(r"arxiv\.org/(pdf|html)/([\d.]+?)(v\d+)?(\.pdf)?$", r"arxiv.org/abs/\2", address)


def addresses_of(entry: str) -> set[str]:
    """Return where a source is found."""
    places = {
        field(entry, "url"),
        *(f"https://doi.org/{doi}" for doi in [field(entry, "doi")] if doi),
        *(f"https://arxiv.org/abs/{eprint}" for eprint in [field(entry, "eprint")] if eprint),
    }
    return {tidy(place) for place in places if place}


@cache
def prose() -> dict[str, str]:
    """Return the text of every page and chapter, by its name."""
    found = {path.stem: path.read_text("utf-8") for path in (ROOT / "book").glob("*.md")}
    for path in (ROOT / "notebooks").glob("ch*.ipynb"):
        cells = json.loads(path.read_text("utf-8"))["cells"]
        found[path.stem] = "\n\n".join(
            "".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"
        )
    return found


@cache
def keys_cited() -> dict[str, str]:
    """Return every key that a page or chapter cites, and one of those that do."""
    return {
        key.strip(): name
        for name, text in prose().items()
        for group in re.findall(r"\{cite[:\w]*\}`([^`]+)`", text)
        for key in group.split(",")
    }


@cache
def addresses_linked() -> dict[str, str]:
    """Return every address that a page or chapter links, and one of those that do."""
    return {
        tidy(address): name
        for name, text in prose().items()
        for address in re.findall(r"https?://(?:\([^\s()]*\)|[^\s()<>\"`])+", text)
    }


def is_cited(key: str) -> bool:
    """Whether a page or chapter cites a source."""
    return key in keys_cited() or bool(addresses_of(ENTRIES[key]) & addresses_linked().keys())


def test_there_are_entries_and_citations() -> None:
    assert len(ENTRIES) > 150
    assert len(keys_cited()) > 40
    assert len(addresses_linked()) > 150


def test_what_is_cited_by_its_key_has_an_entry() -> None:
    missing = {key: page for key, page in keys_cited().items() if key not in ENTRIES}
    assert missing == {}


def test_a_paper_that_is_linked_has_an_entry() -> None:
    known = {address for entry in ENTRIES.values() for address in addresses_of(entry)}
    papers = {
        address: page
        for address, page in addresses_linked().items()
        if re.match(r"https://(arxiv\.org|doi\.org|dx\.doi\.org)/", address)
    }
    assert len(papers) > 100
    assert {a: page for a, page in papers.items() if a not in known} == {}


@pytest.mark.parametrize("key", ENTRIES)
def test_an_entry_is_cited_somewhere(key: str) -> None:
    assert is_cited(key), "cite it where it is used, or take it out"


@pytest.mark.parametrize("key", ENTRIES)
def test_an_entry_says_who_when_and_where(key: str) -> None:
    entry = ENTRIES[key]
    assert field(entry, "author")
    assert field(entry, "title")
    year = field(entry, "year")
    assert re.fullmatch(r"\d{4}", year) or not year
    in_key = re.search(r"\d{4}", key)
    if year and in_key:
        assert year == in_key[0]
    assert bool(addresses_of(entry)) == (key not in WITHOUT_ADDRESS)


def test_no_two_entries_are_of_one_source() -> None:
    found: dict[str, str] = {}
    for key, entry in ENTRIES.items():
        for address in addresses_of(entry):
            assert found.setdefault(address, key) == key, address


def test_what_is_not_cited_would_be_found() -> None:
    assert "nobody2020nothing" not in keys_cited()
    assert not addresses_of("@misc{a,\n  title = {A},\n}")
    assert tidy("http://arxiv.org/pdf/1706.03762v5") == "https://arxiv.org/abs/1706.03762"
