"""What surrounds the pages: with the publishing address, and while there is none."""

from __future__ import annotations

import re
import shutil
import sys
from datetime import date
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml
from docutils.core import publish_doctree
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace

from mnist_lab import __version__
from tools.address import PLACEHOLDER

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "book" / "_ext"))

from around_pages import BOOK, CARD, LONGEST, built_from, describe, news_entries  # noqa: E402

ATOM = "{http://www.w3.org/2005/Atom}"
NOWHERE = f"https://github.com/{PLACEHOLDER}/mnist-lab"
SOMEWHERE = "https://github.com/Ada-L/digits.book"
PAGES = "https://ada-l.github.io/digits.book/"
CONF = """
project = html_title = "digits"
author = "Ada"
root_doc = "book/index"
extensions = ["around_pages"]
templates_path = ["templates"]
html_theme_options = {"repository_url": %r}
html_sidebars = {"**": ["around-footer.html"]}
"""
HOME = """
Read digits
===========

.. citation::

.. toctree::

   errata
"""
ERRATA = """
Corrections
===========

A "book" & its <mistakes>.

2026-11-21: a first one
-----------------------

It was one.

2026-11-29: a later one
-----------------------

It was another. It was long.

Changes
-------

0.1.0 (unreleased)
~~~~~~~~~~~~~~~~~~

Everything.
"""


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Build a book of two pages with each address, by the extension alone."""
    built = {}
    for address in (NOWHERE, SOMEWHERE):
        source = tmp_path_factory.mktemp("book")
        (source / "book").mkdir()
        (source / "book" / "index.rst").write_text(HOME)
        (source / "book" / "errata.rst").write_text(ERRATA)
        (source / "conf.py").write_text(CONF % address)
        shutil.copytree(ROOT / "book" / "_templates", source / "templates")
        shutil.copy(ROOT / "CITATION.cff", source)
        # The theme of the book lends its layout no more than these need.
        site = source / "built"
        with docutils_namespace():  # what one application registers, the next would find there
            app = Sphinx(
                source, source, site, source / "trees", "html", status=None, warning=sys.stderr,
                confoverrides={"html_theme": "basic", "suppress_warnings": ["config.cache"]},
            )  # fmt: skip
            app.build()
        built[address] = site
    return built


def page_of(site: Path, name: str = "book/errata.html") -> str:
    return (site / name).read_text(encoding="utf-8")


def entries(site: Path) -> list[dict[str, str]]:
    feed = ElementTree.parse(site / "feed.xml").getroot()
    return [
        {
            "title": entry.findtext(f"{ATOM}title", ""),
            "updated": entry.findtext(f"{ATOM}updated", ""),
            "id": entry.findtext(f"{ATOM}id", ""),
            "link": entry.find(f"{ATOM}link").get("href", ""),  # type: ignore[union-attr]
            "content": entry.findtext(f"{ATOM}content", ""),
        }
        for entry in feed.iter(f"{ATOM}entry")
    ]


class TestWithoutAnAddress:
    def test_nothing_claims_one(self, sites: dict[str, Path]) -> None:
        site = sites[NOWHERE]
        texts = [page_of(site), page_of(site, "404.html"), page_of(site, "feed.xml")]
        for text in texts:
            assert PLACEHOLDER not in text
            assert "github.io" not in text
            assert not re.search(r"canonical|og:url|og:image|twitter:card", text)
        assert not (site / "sitemap.xml").exists()

    def test_mistakes_are_reported_as_the_page_of_corrections_says(
        self, sites: dict[str, Path]
    ) -> None:
        home = page_of(sites[NOWHERE], "book/index.html")
        assert '<a href="errata.html#report-a-mistake">Report a mistake</a>' in home
        assert '<a href="#report-a-mistake">Report a mistake</a>' in page_of(sites[NOWHERE])

    def test_links_of_the_feed_lead_from_beside_it(self, sites: dict[str, Path]) -> None:
        site = sites[NOWHERE]
        for entry in entries(site):
            page, _, anchor = entry["link"].partition("#")
            assert f'id="{anchor}"' in page_of(site, page)


class TestWithAnAddress:
    def test_each_page_says_where_it_stands(self, sites: dict[str, Path]) -> None:
        text = page_of(sites[SOMEWHERE])
        assert f'<link rel="canonical" href="{PAGES}book/errata.html"' in text
        assert f'<meta property="og:url" content="{PAGES}book/errata.html" />' in text
        assert f'<meta property="og:image" content="{PAGES}{CARD}" />' in text
        assert (ROOT / "book" / "static" / Path(CARD).name).is_file()

    def test_the_sitemap_names_every_page(self, sites: dict[str, Path]) -> None:
        root = ElementTree.parse(sites[SOMEWHERE] / "sitemap.xml").getroot()
        places = [place.text for place in root.iter() if place.tag.endswith("}loc")]
        assert places == [f"{PAGES}book/errata.html", f"{PAGES}book/index.html"]

    def test_what_is_read_elsewhere_names_pages_in_full(self, sites: dict[str, Path]) -> None:
        site = sites[SOMEWHERE]
        assert all(entry["link"].startswith(f"{PAGES}book/errata.html#") for entry in entries(site))
        links = re.findall(r'href="([^"]*)"', page_of(site, "404.html"))
        assert links == [f"{PAGES}book/index.html", f"{PAGES}search.html"]

    def test_mistakes_are_reported_where_the_book_is_kept(self, sites: dict[str, Path]) -> None:
        link = f'{SOMEWHERE}/issues/new?title=Mistake%20on%20the%20page%20book/errata"'
        assert link in page_of(sites[SOMEWHERE])

    def test_whoever_cites_names_it(self, sites: dict[str, Path]) -> None:
        assert PAGES in page_of(sites[SOMEWHERE], "book/index.html")


@pytest.mark.parametrize("kept_at", [NOWHERE, SOMEWHERE])
class TestEitherWay:
    def test_a_page_says_what_it_is_about(self, sites: dict[str, Path], kept_at: str) -> None:
        text = page_of(sites[kept_at])
        assert text.count('name="description"') == 1
        described = "A “book” &amp; its &lt;mistakes&gt;."
        assert f'<meta name="description" content="{described}" />' in text
        assert BOOK in page_of(sites[kept_at], "book/index.html")

    def test_one_viewport_and_no_script_that_text_waits_for(
        self, sites: dict[str, Path], kept_at: str
    ) -> None:
        text = page_of(sites[kept_at])
        assert text.count('name="viewport"') == 1
        scripts = re.findall(r"<script[^>]*\bsrc=[^>]*>", text)
        assert scripts
        assert all("defer" in script for script in scripts)

    def test_the_feed_tells_corrections_and_versions(
        self, sites: dict[str, Path], kept_at: str
    ) -> None:
        found = {entry["title"]: entry for entry in entries(sites[kept_at])}
        titles = ["2026-11-29: a later one", "2026-11-21: a first one", "0.1.0 (unreleased)"]
        assert sorted(found) == sorted(titles)
        days = [entry["updated"] for entry in entries(sites[kept_at])]
        assert days == sorted(days, reverse=True)
        assert found[titles[0]]["updated"] == "2026-11-29T00:00:00Z"
        assert found[titles[0]]["content"] == "It was another. It was long."
        assert len({entry["id"] for entry in found.values()}) == 3

    def test_the_foot_tells_version_day_and_licences(
        self, sites: dict[str, Path], kept_at: str
    ) -> None:
        text = page_of(sites[kept_at])
        for told in (__version__, "MIT licence", "CC BY-SA 4.0", "How to cite", "feed.xml"):
            assert told in text
        cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
        day = date.fromisoformat(str(cited["date-released"]))  # the source there is in no git
        assert f"as of {day.day} {day:%B %Y}" in text


def test_the_feeds_of_two_builds_have_the_same_names(sites: dict[str, Path]) -> None:
    names = [{entry["id"] for entry in entries(site)} for site in sites.values()]
    assert names[0] == names[1]


def test_the_release_that_is_cited_is_the_version_that_there_is() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["version"] == __version__


def test_the_day_is_that_of_the_commit(tmp_path: Path) -> None:
    cited = {"date-released": "2026-01-02"}
    assert built_from(tmp_path, cited) == date(2026, 1, 2)
    assert built_from(ROOT, cited) >= date(2026, 1, 2)


@pytest.mark.parametrize(
    ("text", "described"),
    [
        ("Short.\n\nMore.", "Short."),
        ("One sentence is told. " + "And much more " * 20, "…"),
        ("A sentence that is told here, and is long enough for it, is kept whole. " * 4, "whole."),
    ],
)
def test_a_description_ends_where_it_may(text: str, described: str) -> None:
    found = describe(publish_doctree(text))
    assert len(found) <= LONGEST
    assert found.endswith(described)


def test_the_page_of_corrections_tells_what_the_changelog_tells(site: Path) -> None:
    text = (site / "book" / "errata.html").read_text(encoding="utf-8")
    for heading in re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE):
        assert heading in text
    corrections = re.findall(
        r"^### (\d{4}-\d\d-\d\d): ", (ROOT / "book/errata.md").read_text(), re.M
    )
    assert corrections == sorted(corrections, reverse=True)
    assert len(entries(site)) > len(corrections) > 0


def test_a_section_without_a_day_is_no_news() -> None:
    doctree = publish_doctree("Title\n=====\n\nWords\n-----\n\nText.\n\nMore\n----\n\nText.\n")
    assert [*news_entries(doctree, date(2026, 1, 1))] == []
