"""Results in a table, for the eye and for the ear.

    Table("Accuracy by learning rate (%)", ["rate", "100 labels", "1,000 labels"],
          [["0.01", "88.1", "95.2"], ["0.1", "84.0", "96.3"]])

A page shows it with caption and headings, the first column staying in sight where a phone has to
scroll; a terminal, and nbval, see columns of text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

_NUMBER = re.compile(r"([<>]\s?)?[-+]?[\d.,]+(e[-+]\d+)?\s?(%|points?|s|ms|MB|kB)?(\s?±.*)?$|-?$")


@dataclass(frozen=True)
class Table:
    """A table that shows itself where it is the last value of a notebook's cell.

    Attributes
    ----------
    caption : str
        What the numbers are, with their unit.
    header : sequence of str
        What stands above each column; the first column names the rows.
    rows : sequence of sequences
        A row for each thing that was measured. Whatever is in it is shown as `str` gives it.
    """

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[Any]]

    def __post_init__(self) -> None:
        if not self.caption.strip():
            raise ValueError("A table needs a caption: say what its numbers are.")
        for row in self.rows:
            if len(row) != len(self.header):
                raise ValueError(f"{len(self.header)} headings, and {len(row)} cells: {list(row)}")

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        """Return HTML, and the same in text."""
        return {"text/html": self.html, "text/plain": str(self)}

    @property
    def cells(self) -> list[list[str]]:
        """The rows as text."""
        return [[str(value) for value in row] for row in self.rows]

    @property
    def _of_numbers(self) -> list[bool]:
        """Whether a column holds numbers, which stand one below the other at its right edge."""
        return [
            all(_NUMBER.match(row[column]) for row in self.cells)
            for column in range(len(self.header))
        ]

    def __str__(self) -> str:
        """Return the caption, and columns of text below it."""
        lines = [list(self.header), *self.cells]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        sides = [">" if numbers else "<" for numbers in self._of_numbers]
        body = [
            "  ".join(f"{cell:{s}{w}}" for cell, s, w in zip(line, sides, widths, strict=True))
            for line in lines
        ]
        return "\n".join([self.caption, *(line.rstrip() for line in body)])

    @property
    def html(self) -> str:
        """The table as HTML."""
        # Jupyter sets every cell to the right; words stand at the left.
        left = ["" if numbers else ' style="text-align: left"' for numbers in self._of_numbers]
        # The corner above the rows' names may be empty: then it heads nothing.
        head = "".join(
            f'<th scope="col"{side}>{escape(name)}</th>' if name else "<td></td>"
            for name, side in zip(self.header, left, strict=True)
        )
        body = "\n".join(
            f'<tr><th scope="row"{left[0]}>{escape(row[0])}</th>'
            + "".join(
                f"<td{side}>{escape(cell)}</td>"
                for cell, side in zip(row[1:], left[1:], strict=True)
            )
            + "</tr>"
            for row in self.cells
        )
        return (
            f'<div class="results" tabindex="0" role="group" aria-label="{escape(self.caption)}">\n'
            f"<table><caption>{escape(self.caption)}</caption>\n"
            f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table>\n</div>"
        )
