"""The colours of the book: ink, paper, a teacher's red pen; nothing else names a colour.

    from mnist_lab.lessons import BLUE_PENCIL, RED_PEN

Figures, frames and quizzes take the constants. The style sheets get `PAGE_BY_DAY` and
`PAGE_BY_NIGHT` as custom properties (`--ink`, `--paper-shade`), when the site is built and when the
drawing pad is linked. Red is for mistakes and for what to look at, blue for predictions and links,
green for what is right.
"""

from __future__ import annotations

from collections.abc import Mapping

# --- Figures: drawn on paper, the same by day and by night --------------------------------------

PAPER = "#fbfaf7"
INK = "#1d2440"
GREY = "#6f7280"  # what stands back: axes, a rival, what was there before
RED_PEN = "#c8402c"
BLUE_PENCIL = "#2f6db5"
GREEN_TICK = "#2e7d55"
# For more lines in one plot than pens: ochre first, which goes with every pen.
OCHRE = "#b58a00"
BROWN = "#8a6d3b"
VIOLET = "#7a5195"
RED_WASH = "#f9e9e4"  # grounds that text can stand on
BLUE_WASH = "#e7eef6"
WHITE = "#ffffff"  # a circle or box that stands out from paper
GRID = "#e4e1d8"
COVER = "#bdbbb4"  # over what a network does not see
SHEET_EDGE = "#c9c3b4"  # round the sheet of the logo, which may lie on any colour
PAPER_EDGE = "#dcd7cb"
QUIZ_EDGE = "#d9d4c7"
BLUE_ON_INK = "#9fc3ee"  # links, where the ground is ink

# One colour per digit; Paul Tol's "muted" scheme, which colour-blind readers can tell apart.
DIGIT_COLOURS = (
    *("#332288", "#88ccee", "#44aa99", "#117733", "#999933"),
    *("#ddcc77", "#cc6677", "#882255", "#aa4499", "#777777"),
)

# --- Pages: by day and by night ------------------------------------------------------------------

# The pens are darker here than in figures, as they write small text: every pair of text and ground
# reaches a contrast of 4.5 to 1 (tests/pages/test_pages.py).
PAGE_BY_DAY = {
    "paper": PAPER,
    "paper-shade": "#f2f0ea",  # code, table heads, the sidebar
    "paper-edge": PAPER_EDGE,
    "ink": INK,
    "ink-soft": "#545a70",
    "red-pen": "#b93722",
    "blue-pencil": "#2a63a6",
    "green-tick": "#287049",
    "red-wash": RED_WASH,
    "blue-wash": BLUE_WASH,
    "green-wash": "#e5f0e9",
    "sheet": PAPER,  # of the figures: it stays as it is by night
    "shadow": INK,
    "box-edge": GREY,
}
# What is not in here is as by day.
PAGE_BY_NIGHT = {
    "paper": "#15171c",
    "paper-shade": "#1f222a",
    "paper-edge": "#3a3e4a",
    "ink": "#e8e6df",
    "ink-soft": "#adaea9",
    "red-pen": "#f08d79",
    "blue-pencil": "#8db8ea",
    "green-tick": "#7fc69d",
    "red-wash": "#3a2220",
    "blue-wash": "#1d2b3d",
    "green-wash": "#1c3026",
}


def write_properties(colours: Mapping[str, str], prefix: str = "") -> str:
    """Return colours as custom properties of a style sheet, such as "--ink: #1d2440;".

    Parameters
    ----------
    colours : mapping of str to str
        From a name to a colour, such as `PAGE_BY_DAY`.
    prefix : str
        Stands before each name: "own-" for `--own-ink`.
    """
    return " ".join(f"--{prefix}{name}: {colour};" for name, colour in colours.items())
