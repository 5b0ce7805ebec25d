"""A Sphinx extension: a map of the chapters, as a picture whose stations are links.

    ```{chapter-map}
    understand it: all
    use it: 1, 5, 10, 14, 15
    ```

Each line is a way through the book, drawn as a line of a railway map in a colour of its own: its
name, and the numbers of the chapters where it stops. The chapters, their parts and titles come from
_toc.yml and the chapters themselves, so a new one joins by itself; a way leaves out a number that
has no chapter yet. The map is drawn twice by the same lines of code, broad and, for phones, as a
column; the style sheet shows the one that fits. Formats other than the site get a list.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from pathlib import Path
from textwrap import wrap
from typing import Any

import yaml
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

COLOURS = ("blue-pencil", "red-pen", "green-tick")
GAP = 11  # pixels between two lines of the map
RADIUS = 13  # of a bend
SIZE = 11  # half of a station
FIRST, STEP = 78, 150  # from the left edge to a row's first station, and on to the next


@dataclass(frozen=True)
class Station:
    """A chapter on the map."""

    document: str
    number: int
    title: str
    part: str


@dataclass(frozen=True)
class Way:
    """A way through the book: its name, its colour, and the chapters where it stops."""

    name: str
    colour: str
    stops: tuple[int, ...]


@dataclass(frozen=True)
class Layout:
    """Where stations lie; all lengths in pixels."""

    name: str
    width: int
    columns: int  # stations side by side; 1 is a column with the titles at the side
    letters: int  # in a line of a title


BROAD = Layout("broad", width=780, columns=5, letters=17)
NARROW = Layout("narrow", width=350, columns=1, letters=38)


class chapter_map(nodes.General, nodes.Element):  # type: ignore[misc] # noqa: N801
    """The place of the map, until the titles of all chapters are known."""


class ChapterMapDirective(SphinxDirective):
    """Puts the map on the page."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Return the place, with the ways as they are written."""
        ways = [line.partition(":") for line in self.content if line.strip()]
        if not ways or not all(
            stops.strip() == "all" or re.fullmatch(r"\s*\d+(\s*,\s*\d+)*\s*", stops)
            for _, _, stops in ways
        ):
            raise self.error(
                "A map needs lines such as `use it: 1, 5, 10` or `understand it: all`."
            )
        self.env.note_dependency(str(Path(self.env.srcdir) / "_toc.yml"))
        return [chapter_map(ways=[(name.strip(), stops.strip()) for name, _, stops in ways])]


def read_parts(contents: Path) -> list[tuple[str, str]]:
    """Return (chapter's document, part's name) in order, from _toc.yml; its file begins chNN_."""
    parts = yaml.safe_load(contents.read_text(encoding="utf-8"))["parts"]
    return [
        (chapter["file"], part["caption"])
        for part in parts
        for chapter in part["chapters"]
        if re.match(r"ch\d\d_", Path(chapter["file"]).name)
    ]


def find_stations(app: Sphinx) -> list[Station]:
    """Return the chapters of the book; a title says its number: "5. Train a CNN"."""
    found = []
    for document, part in read_parts(Path(app.srcdir) / "_toc.yml"):
        number, _, title = app.env.titles[document].astext().partition(". ")
        found.append(Station(document, int(number), title, part))
    return found


# --- Drawing -------------------------------------------------------------------------------------


def place(stations: Sequence[Station], layout: Layout) -> tuple[list[tuple[int, int]], int]:
    """Return where each station lies, and how high the map is: a part begins a new row."""
    places: list[tuple[int, int]] = []
    x = y = column = 0
    for before, station in zip([None, *stations], stations, strict=False):
        new_part = before is None or before.part != station.part
        if layout.columns == 1:
            x, y = 22, y + (86 if new_part and before else 48)
        elif new_part or column == layout.columns:
            x, y, column = FIRST, y + (160 if before else 46), 1
        else:
            x, column = x + STEP, column + 1
        places.append((x, y))
    return places, y + (30 if layout.columns == 1 else 84)


def track(places: Sequence[tuple[int, int]], offset: int) -> str:
    """Return the path of a line through all places; `offset` keeps it beside its neighbour."""
    down = len({x for x, _ in places}) == 1
    first = places[0]
    if down:
        return f"M{first[0] + offset} {first[1]}V{places[-1][1]}"
    parts = [f"M{first[0]} {first[1] + offset}"]
    right = max(x for x, _ in places) + STEP // 2
    left = FIRST - 48
    for (_, y), (x, below) in pairwise(places):
        if below == y:
            continue
        # To the right edge, round and down, back between the two rows, and down into the next.
        between = below - 56
        parts.append(
            _bends(
                (right - offset, y + offset),
                (right - offset, between - offset),
                (left - offset + GAP, between - offset),
                (left - offset + GAP, below + offset),
                (x, below + offset),
            )
        )
    return "".join(parts) + f"H{places[-1][0]}"


def _bends(*corners: tuple[int, int]) -> str:
    """Return lines with round corners; the last place is reached, the others are cut."""
    path = ""
    for (x, y), (next_x, _) in pairwise(corners):
        if next_x == x:  # it came along, and goes down
            back = -1 if path == "" else 1
            path += f"H{x + back * RADIUS}Q{x} {y} {x} {y + RADIUS}"
        else:  # it came down, and goes along
            onward = -1 if next_x < x else 1
            path += f"V{y - RADIUS}Q{x} {y} {x + onward * RADIUS} {y}"
    return path


def draw(
    stations: Sequence[Station], ways: Sequence[Way], links: Sequence[str], layout: Layout
) -> str:
    """Return the map as SVG; `links` are the addresses of the stations."""
    places, height = place(stations, layout)
    width, column = layout.width, layout.columns == 1
    drawn = [
        f'<svg class="{layout.name}" viewBox="0 0 {width} {height}" width="{width}"'
        f' height="{height}" role="group" aria-label="Map of the chapters">'
    ]
    for index, way in enumerate(ways):
        path = track(places, index * GAP)
        drawn.append(f'<path class="track" d="{path}" style="stroke: var(--{way.colour})"/>')
    parts = [None, *(station.part for station in stations)]
    for before, station, link, (x, y) in zip(parts, stations, links, places, strict=False):
        if station.part != before:
            left, above = (x + GAP * len(ways) + 12, 34) if column else (x - SIZE, 28)
            drawn.append(f'<text class="part" x="{left}" y="{y - above}">{station.part}</text>')
        stops = [index for index, way in enumerate(ways) if station.number in way.stops]
        beside = [ways[index].name for index in stops if len(ways[index].stops) < len(stations)]
        named = f"Chapter {station.number}: {station.title}"
        named += f" (also on the way “{'” and “'.join(beside)}”)" if beside else ""
        first, last = GAP * min(stops, default=0), GAP * max(stops, default=0)
        if column:
            box = (x - SIZE + first, y - SIZE, 2 * SIZE + last - first, 2 * SIZE)
            at, anchor = (x + GAP * len(ways) + 12, y + 5), "start"
        else:
            box = (x - SIZE, y - SIZE + first, 2 * SIZE, 2 * SIZE + last - first)
            at, anchor = (x, y + GAP * len(ways) + 24), "middle"
        middle = box[0] + box[2] / 2, box[1] + box[3] / 2 + 4.5
        lines = wrap(station.title, layout.letters)
        hit = (2, y - 22, width - 4, 44) if column else (x - 70, y - 16, 140, 96)
        drawn.append(f'<a href="{escape(link)}" aria-label="{escape(named)}">')
        drawn.append('<rect class="hit" x="{}" y="{}" width="{}" height="{}" rx="6"/>'.format(*hit))
        drawn.append(
            '<rect class="stop" x="{}" y="{}" width="{}" height="{}" rx="11"/>'.format(*box)
        )
        drawn.append('<text class="number" x="{}" y="{}">{}</text>'.format(*middle, station.number))
        up = 9 * (len(lines) - 1) if column else 0
        drawn.append(f'<text x="{at[0]}" y="{at[1] - up}" text-anchor="{anchor}">')
        drawn += [
            f'<tspan x="{at[0]}" dy="{18 if index else 0}">{escape(line)}</tspan>'
            for index, line in enumerate(lines)
        ]
        drawn.append("</text></a>")
    return "".join([*drawn, "</svg>"])


def legend(ways: Sequence[Way], stations: Sequence[Station]) -> str:
    """Return what the colours mean, as a list."""
    items = []
    for way in ways:
        numbers = ", ".join(map(str, way.stops))
        shown = "every chapter" if len(way.stops) == len(stations) else f"chapters {numbers}"
        items.append(
            f'<li style="--way: var(--{way.colour})"><b>{escape(way.name)}</b>: {shown}</li>'
        )
    return f'<ul class="ways">{"".join(items)}</ul>'


# --- The site, and other formats -----------------------------------------------------------------


def resolve(app: Sphinx, doctree: nodes.document, document: str) -> None:
    """Put the map, or a list, in its place."""
    for node in list(doctree.findall(chapter_map)):
        stations = find_stations(app)
        there = [station.number for station in stations]
        ways = [
            Way(name, colour, tuple(_numbers(stops, there)))
            for (name, stops), colour in zip(node["ways"], COLOURS, strict=False)
        ]
        links = [app.builder.get_relative_uri(document, s.document) for s in stations]
        if app.builder.name == "html":
            pictures = "".join(draw(stations, ways, links, layout) for layout in (BROAD, NARROW))
            text = f'{legend(ways, stations)}<div class="fits">{pictures}</div>'
            text = f'<nav class="chapter-map" aria-label="Chapters">{text}</nav>'
            node.replace_self(nodes.raw("", text, format="html"))
        else:
            node.replace_self(_listed(stations, links))


def _numbers(stops: str, there: list[int]) -> list[int]:
    if stops == "all":
        return there
    return [number for number in map(int, stops.split(",")) if number in there]


def _listed(stations: Sequence[Station], links: Sequence[str]) -> nodes.bullet_list:
    items = []
    for station, link in zip(stations, links, strict=True):
        text = f"{station.number}. {station.title}"
        reference = nodes.reference(text, text, refuri=link, internal=True)
        items.append(nodes.list_item("", nodes.paragraph("", "", reference)))
    return nodes.bullet_list("", *items)


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect it to the build."""
    app.add_node(chapter_map)
    app.add_directive("chapter-map", ChapterMapDirective)
    app.connect("doctree-resolved", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
