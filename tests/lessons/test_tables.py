"""Tables for the eye, the ear and the terminal."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from mnist_lab.lessons import Table

TABLE = Table("Right (%)", ["way", "10 labels"], [["head & more", "71.0"], ["full", "8.25 ± 1"]])


def test_the_text_stands_in_columns_with_numbers_at_the_right() -> None:
    assert str(TABLE).splitlines() == [
        "Right (%)",
        "way          10 labels",
        "head & more       71.0",
        "full          8.25 ± 1",
    ]


def test_the_page_gets_a_caption_and_headings_and_nothing_that_is_not_escaped() -> None:
    page = ElementTree.fromstring(TABLE.html)
    assert page.get("aria-label") == page.findtext("table/caption") == "Right (%)"
    assert [cell.text for cell in page.iterfind(".//th[@scope='col']")] == ["way", "10 labels"]
    assert [cell.text for cell in page.iterfind(".//th[@scope='row']")] == ["head & more", "full"]
    assert [cell.text for cell in page.iterfind(".//td")] == ["71.0", "8.25 ± 1"]


def test_a_column_of_words_stands_at_the_left() -> None:
    table = ElementTree.fromstring(Table("C", ["a", "b"], [["1", "few"], ["2", "some"]]).html)
    assert [cell.get("style") for cell in table.iterfind(".//td")] == ["text-align: left"] * 2


def test_tiny_and_bounded_numbers_are_numbers_too() -> None:
    for cell in ("2e-05", "< 1e-15", "-3.1e+10", "12 %", "0.4 ± 0.1"):
        assert 'style="text-align: left"' not in Table("Errors", ["", "error"], [["", cell]]).html


def test_an_empty_corner_heads_nothing() -> None:
    table = ElementTree.fromstring(Table("C", ["", "b"], [["one", "1"]]).html)
    assert [cell.text for cell in table.iterfind(".//thead//th")] == ["b"]


def test_a_notebook_shows_both() -> None:
    assert TABLE._repr_mimebundle_() == {"text/html": TABLE.html, "text/plain": str(TABLE)}


def test_a_row_that_does_not_fit_or_no_caption_is_refused() -> None:
    with pytest.raises(ValueError, match="2 headings, and 1 cells"):
        Table("C", ["a", "b"], [["only one"]])
    with pytest.raises(ValueError, match="caption"):
        Table(" ", ["a"], [])
