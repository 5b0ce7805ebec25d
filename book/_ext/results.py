"""A Sphinx extension: every record as tables with a plot, for the page of results.

    ```{records}
    ```

Each file in benchmarks/results becomes a section: what was measured, by which command, on which
machine, where the book shows it; tables whose cells can be linked to, since the numbers of other
pages lead there; and a plot in the book's style with words for what it shows. The plots are drawn
while the site is built. The ledger of the test set is the last section.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from docutils import nodes
from matplotlib.ticker import MaxNLocator
from measured import anchor, in_words, is_summary, read
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.writers.html5 import HTML5Translator

from mnist_lab.lessons.palette import BLUE_PENCIL, GREEN_TICK, INK, OCHRE, RED_PEN, VIOLET
from mnist_lab.lessons.pictures import Picture, new_axes
from tools.benchmarks_table import LEDGER, find_places, find_records, find_scripts

# What says how a record was made; it is told in words, or in the record itself.
ABOUT = ("command", "date", "hardware", "precision", "versions", "device")
# What is no result: settings, and the single tries of a search.
NO_RESULTS = re.compile(
    r"setting|network|networks|config|recipe|measured|fonts|search.*|trials|curves|misread|all|what"
)
NO_PART = {("robustness", "rows")}  # its doses; the results have rows too
FEW = 10  # numbers of a list that a cell can show
WIDTH = 4.2  # inches: a plot's words can be read on a phone
PENS = (INK, BLUE_PENCIL, RED_PEN, GREEN_TICK, OCHRE, VIOLET)
MOST_ROWS = 40  # of a plot
# What the numbers are along which a record's rows go.
ALONG = {
    "attacks": "largest change of a pixel, in % of full ink",
    "backbone": "labels",
    "finetuning": "labels of each class",
    "forgetting": "share of the way",
    "large": "labels",
    "large_ladder": "rank",
    "masked_pretraining": "labels of each class",
    "scaling": "digits",
    "step": "batch size",
}
# What is measured, where a column's name does not say it.
MEASURED = {
    "attacks": "accuracy",
    "batching": "images a second",
    "distributed": "accuracy",
    "photos": "digits read by the pages' network",
    "robustness": "accuracy",
    "search": "accuracy of the best",
    "step": "share of a step's time",
}

Path_ = tuple[str, ...]


@dataclass
class Table:
    """A part of a record: rows that share columns.

    Attributes
    ----------
    columns : list of str
    rows : dict
        From the path of a row to its cells by column.
    turned : bool
        Whether rows and columns of the record are exchanged, as there were more columns.
    """

    columns: list[str] = field(default_factory=list)
    rows: dict[Path_, dict[str, Any]] = field(default_factory=dict)
    turned: bool = False

    def path(self, row: Path_, column: str) -> Path_:
        """Return the path of a cell in the record."""
        return (*column.split("."), *row) if self.turned else (*row, column)


# --- From a record to tables ---------------------------------------------------------------------


def tables_of(name: str, record: dict[str, Any]) -> list[Table]:
    """Return a record's results as tables; a row is a dictionary of the record's."""
    found: list[Table] = []
    for top, part in record.items():
        if top in ABOUT or NO_RESULTS.fullmatch(top) or (name, top) in NO_PART:
            continue
        if isinstance(part, dict):
            rows: dict[Path_, dict[str, Any]] = defaultdict(dict)
            _collect(part, (top,), rows)
            for path, cells in rows.items():
                _place(found, path, cells)
    return [_turn(table) for table in found]


def _collect(part: dict[str, Any], path: Path_, rows: dict[Path_, dict[str, Any]]) -> None:
    for key, value in part.items():
        if NO_RESULTS.fullmatch(key):
            continue
        if isinstance(value, dict) and not is_summary(value):
            _collect(value, (*path, key), rows)
        elif not isinstance(value, list) or (
            len(value) <= FEW and all(isinstance(item, int | float) for item in value)
        ):
            rows[path][key] = value


def _place(tables: list[Table], path: Path_, cells: dict[str, Any]) -> None:
    """Put a row into the tables that it shares a column with, which become one."""
    sharing = [table for table in tables if not cells.keys().isdisjoint(table.columns)]
    home, *others = sharing or [Table()]
    if not sharing:
        tables.append(home)
    for other in others:
        home.rows |= other.rows
        home.columns += [column for column in other.columns if column not in home.columns]
        tables.remove(other)
    home.rows[path] = cells
    home.columns += [column for column in cells if column not in home.columns]


def _turn(table: Table) -> Table:
    """Exchange rows and columns where a table would be wider than it is long."""
    if len(table.columns) <= max(len(table.rows), 8):
        return table
    rows: dict[Path_, dict[str, Any]] = {
        (column,): {
            ".".join(path): cells[column] for path, cells in table.rows.items() if column in cells
        }
        for column in table.columns
    }
    return Table([".".join(path) for path in table.rows], rows, turned=True)


def label(path: Path_ | str) -> str:
    """Return a row's or a column's name in words."""
    parts = path.split(".") if isinstance(path, str) and "." in path else [path]
    parts = list(path) if isinstance(path, tuple) else parts
    words = [
        str(part).replace("_", " ") for part in parts if part not in ("results", "rows", "curve")
    ]
    return ", ".join(words)


# --- From a table to a plot ----------------------------------------------------------------------


@dataclass(frozen=True)
class Series:
    """One colour of a plot: its name, and for each place a value with the ends of its interval."""

    name: str
    places: list[Any]
    values: list[float]
    ends: list[tuple[float, float]]


def draw(name: str, tables: list[Table]) -> Picture:
    """Draw the main numbers of a record: those of its longest table with a spread, if there is one.

    Raises
    ------
    ValueError
        If there is nothing in the record that could be compared.
    """
    if name == "ensemble":
        return _draw_sizes(tables[0])
    if name == "chapters":
        return _draw_effects(tables[0], tables[0].columns[0])

    def main_first(table: Table) -> tuple[bool, int]:
        cells = [cell for row in table.rows.values() for cell in row.values()]
        return any(map(is_summary, cells)), len(table.rows)

    for table in sorted(tables, key=main_first, reverse=True):
        columns = _main_columns(table)
        scale = _scale(name, table, columns)
        unit = " (%)" if scale == 100 else ""
        for way in (_draw_lines, _draw_rows)[not _along_numbers(table) :]:
            if columns and (picture := way(name, table, columns, unit, scale)):
                return picture
    raise ValueError(f"There is nothing to draw in the record {name}.")


def _main_columns(table: Table) -> list[str]:
    """Return what a plot shows: columns of one kind, those with a spread before all others."""
    numeric = [
        column
        for column in table.columns
        if sum(_is_number(cells.get(column)) for cells in table.rows.values()) >= 2
    ]
    if table.turned or not numeric:
        return numeric[:4]
    spread = [c for c in numeric if any(is_summary(row.get(c)) for row in table.rows.values())]
    for word in ("accuracy", "loss", "pages", "milliseconds"):
        named = [column for column in spread or numeric if word in column]
        if named:
            return named[:1]
    settings = ("parameters", "epochs", "learning_rate", "batch_size", "ratio", "seconds")
    others = [column for column in spread or numeric if column not in settings]
    return others[:4] or numeric[:1]


def _is_number(value: Any) -> bool:
    return is_summary(value) or (isinstance(value, int | float) and not isinstance(value, bool))


def _scale(name: str, table: Table, columns: list[str]) -> float:
    """Return 100 where what is drawn are shares of digits, to show them in per cent."""
    for row, cells in table.rows.items():
        for column in columns:
            if column in cells:
                address = f"{name}:{'.'.join(table.path(row, column))}"
                mean = cells[column]["mean"] if is_summary(cells[column]) else cells[column]
                return 100 if in_words(address, mean).endswith("%") else 1
    return 1


def _series(table: Table, column: str, scale: float, rows: list[Path_]) -> Series:
    values, ends = [], []
    for row in rows:
        value = table.rows[row][column]
        if not is_summary(value):
            value = {"mean": value, "low": None, "high": None}
        values.append(scale * value["mean"])
        low = value["mean"] if value["low"] is None else value["low"]
        high = value["mean"] if value["high"] is None else value["high"]
        ends.append((scale * low, scale * high))
    return Series(label(column), list(rows), values, ends)


def _draw_rows(
    name: str, table: Table, columns: list[str], unit: str, scale: float
) -> Picture | None:
    """Draw a dot for each row at its mean, with the interval of the mean as a line."""
    shown = [row for row, cells in table.rows.items() if any(c in cells for c in columns)]
    if len(shown) > MOST_ROWS:  # the first part of a table that goes on and on
        shown = [row for row in shown if row[:2] == shown[1][:2]]
    if len(columns) > 1 and not table.turned:  # accuracies and seconds have no axis in common
        like_first = [row for row in shown if row[-1] == shown[0][-1]]
        shown = like_first if len(like_first) > 1 else shown
    if len(shown) < 2:
        return None
    figure, axes = new_axes(width=WIDTH, height=0.75 + 0.24 * len(shown) + 0.2 * (len(columns) > 1))
    drawn = []
    for pen, column in zip(PENS, columns, strict=False):
        rows = [row for row in shown if _is_number(table.rows[row].get(column))]
        series = _series(table, column, scale, rows)
        places = [shown.index(row) for row in rows]
        for place, (low, high) in zip(places, series.ends, strict=True):
            axes.plot([low, high], [place, place], color=pen, alpha=0.45, linewidth=2.4)
        axes.plot(series.values, places, "o", color=pen, markersize=4.5, label=series.name)
        drawn.append(series)
    _limit(axes, drawn, scale)
    what = MEASURED.get(name, label(columns[0]))
    names = [label(row) for row in _without_common(shown)]
    axes.set_yticks(range(len(shown)), [_short(words) for words in names])
    axes.set(ylim=(len(shown) - 0.4, -0.6), xlabel=what + unit)
    if axes.get_xscale() == "linear":
        axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.grid(visible=False, axis="y")
    if len(columns) > 1:
        figure.legend(loc="outside upper right", ncols=min(len(columns), 3))
    points = [
        (value, f"{names[shown.index(row)]}{f' ({series.name})' if len(drawn) > 1 else ''}")
        for series in drawn
        for row, value in zip(series.places, series.values, strict=True)
    ]
    (low, lowest), (high, highest) = min(points), max(points)
    sign = " %" if unit else ""
    alt = (
        f"A dot for each of {len(shown)} rows at its mean, with the interval of the mean: {what}. "
        f"The lowest is {lowest} at {low:.4g}{sign}, the highest {highest} at {high:.4g}{sign}."
    )
    return Picture(figure, alt)


def _limit(axes: Any, drawn: list[Series], most: float) -> None:
    """Show all means; an interval of two runs may go far beyond them, and beyond 100 %."""
    means = [value for series in drawn for value in series.values]
    ends = [end for series in drawn for pair in series.ends for end in pair]
    low, high = min(means), max(means)
    if low > 0 and high / low > 50:
        axes.set_xscale("log")
        return
    span = (high - low) or 0.1 * abs(high) or 1
    left, right = max(low - span, min(ends)), min(high + span, max(ends))
    right = min(right, 100) if most == 100 else right
    axes.set_xlim(left - 0.08 * span, right + 0.08 * span)


def _without_common(rows: list[Path_]) -> list[Path_]:
    """Leave away the parts at the front that all rows share."""
    common = 0
    while all(len(row) > common + 1 and row[common] == rows[0][common] for row in rows):
        common += 1
    return [row[common:] for row in rows]


def _short(text: str, most: int = 28) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _along_numbers(table: Table) -> bool:
    """Tell whether the rows go along a number, such as that of labels."""
    last = {row[-1] for row in table.rows if row[-1].isdecimal()}
    return len(last) >= 3 and not table.turned


def _draw_lines(
    name: str, table: Table, columns: list[str], unit: str, scale: float
) -> Picture | None:
    """Draw a line for each group of rows against the number that they end with."""
    groups: dict[Path_, list[Path_]] = {}
    for row, cells in table.rows.items():
        if row[-1].isdecimal() and _is_number(cells.get(columns[0])):
            groups.setdefault(row[:-1], []).append(row)
    often = Counter(row[-1] for rows in groups.values() for row in rows)
    common = {number for number, count in often.items() if count > 1}
    common = common or {row[-1] for rows in list(groups.values())[:1] for row in rows}
    groups = {  # one that goes along other numbers has another axis
        group: sorted(rows, key=lambda row: int(row[-1]))
        for group, rows in groups.items()
        if len(common & {row[-1] for row in rows}) >= 2
    }
    if len(groups) > 1:
        columns = columns[:1]
    else:  # then it is the columns that are compared
        shown = [table.rows[row] for rows in groups.values() for row in rows]
        columns = [c for c in table.columns if shown and all(_is_number(r.get(c)) for r in shown)]
    if not columns:
        return None
    figure, axes = new_axes(width=WIDTH, height=2.7 + 0.22 * -(-len(groups) * len(columns) // 2))
    names = dict(zip(groups, _without_common(list(groups)), strict=True))
    lines = [(group, rows, column) for group, rows in groups.items() for column in columns]
    said = []
    for number, (group, rows, column) in enumerate(lines):
        series = _series(table, column, scale, rows)
        places = [int(row[-1]) for row in rows]
        words = label(names[group]) if len(groups) > 1 else label(column)
        pen, mark = PENS[number % len(PENS)], "os^Dv"[number % 5]
        axes.plot(places, series.values, marker=mark, markersize=4, color=pen, label=words)
        lows, highs = zip(*series.ends, strict=True)
        axes.fill_between(places, lows, highs, color=pen, alpha=0.12, linewidth=0)
        said.append(f"{words} from {series.values[0]:.3g} to {series.values[-1]:.3g}")
    values = [value for line in axes.lines for value in np.asarray(line.get_ydata())]
    margin = 0.08 * (max(values) - min(values))
    along = ALONG.get(name, "the number in the row's name")
    what = label(columns[0]) if len(columns) == 1 else label(next(iter(groups)))
    what += unit
    axes.set(xscale="log", ylim=(min(values) - margin, max(values) + margin))
    axes.set(xlabel=along, ylabel=what)
    if len(lines) > 1:
        figure.legend(loc="outside lower center", ncols=2)
    return Picture(figure, f"Lines of {what} against {along}: {'; '.join(said)}.")


def _draw_sizes(table: Table) -> Picture:
    """Draw the accuracy of the first one, two, ... networks together."""
    ((_, cells),) = table.rows.items()
    figure, axes = new_axes(width=WIDTH, height=2.7)
    said = []
    for pen, part in zip(PENS, ("validation_accuracy_by_size", "accuracy_by_size"), strict=False):
        words = "validation digits" if part.startswith("validation") else "test digits"
        values = [100 * value for value in cells[part]]
        axes.plot(range(1, len(values) + 1), values, "o-", markersize=4, color=pen, label=words)
        said.append(f"on {words} from {values[0]:.2f} to {values[-1]:.2f} %")
    axes.set(xlabel="networks together", ylabel="accuracy (%)", xticks=range(1, len(values) + 1))
    axes.legend()
    return Picture(figure, f"Accuracy of one to {len(values)} networks: {', '.join(said)}.")


def _draw_effects(table: Table, column: str) -> Picture:
    """Draw how many of its standard deviations an effect lies above 0, chapter by chapter."""
    sizes: dict[str, list[float]] = defaultdict(list)
    for (row, *_), cells in table.rows.items():
        effect = cells[column]
        if effect["std"]:
            sizes[row.partition(" ")[0]].append(abs(effect["mean"]) / effect["std"])
    chapters = sorted(sizes)
    figure, axes = new_axes(width=WIDTH, height=0.75 + 0.24 * len(chapters))
    for place, chapter in enumerate(chapters):
        axes.plot(sizes[chapter], [place] * len(sizes[chapter]), "o", color=INK, alpha=0.5)
    axes.axvline(3, color=RED_PEN, linewidth=1)
    axes.set_yticks(range(len(chapters)), chapters)
    axes.set(xscale="log", xlabel="mean effect / its standard deviation")
    axes.set(ylim=(len(chapters) - 0.4, -0.6))
    all_sizes = [size for found in sizes.values() for size in found]
    alt = (
        f"{len(all_sizes)} effects in {len(chapters)} chapters, each a dot: the mean over seeds as "
        f"a multiple of the standard deviation, from {min(all_sizes):.2g} to "
        f"{max(all_sizes):.2g}; a red line stands at 3."
    )
    return Picture(figure, alt)


def draw_looks(looks: list[dict[str, Any]]) -> Picture:
    """Draw every look at the test set as a dot, recipe by recipe."""
    found: dict[str, list[float]] = defaultdict(list)
    for look in looks:
        found[look["recipe"]].append(100 * look["accuracy"])
    figure, axes = new_axes(width=WIDTH, height=0.75 + 0.24 * len(found))
    for place, values in enumerate(found.values()):
        axes.plot(values, [place] * len(values), "o", color=INK, alpha=0.4, markersize=4.5)
    axes.set_yticks(range(len(found)), [_short(name.replace("_", " ")) for name in found])
    axes.set(xlabel="test accuracy (%)", ylim=(len(found) - 0.4, -0.6))
    axes.grid(visible=False, axis="y")
    values = [value for each in found.values() for value in each]
    alt = (
        f"{len(looks)} looks at the test set, each a dot at its accuracy, in {len(found)} rows, "
        f"one a recipe: from {min(values):.2f} to {max(values):.2f} %."
    )
    return Picture(figure, alt)


# --- From tables and plots to a page -------------------------------------------------------------


class record_plot(nodes.General, nodes.Element):  # type: ignore[misc] # noqa: N801
    """A plot; its picture is written into the site, its words stand in the page."""


class record_table(nodes.General, nodes.Element):  # type: ignore[misc] # noqa: N801
    """A box round a table, in which it scrolls."""


class RecordsDirective(SphinxDirective):
    """Puts all records on the page."""

    def run(self) -> list[nodes.Node]:
        """Return a section for each record, and one for the ledger."""
        root = Path(self.env.srcdir)
        folder = root / self.config.measured_results
        scripts = {script.name: script.first_line for script in find_scripts(root)}
        places = find_places(root)
        sections: list[nodes.Node] = []
        for script, names in find_records(root).items():
            for name in names:
                self.env.note_dependency(str(folder / f"{name}.json"))
                shown = self._section(
                    name, scripts[script], read(folder, name), places.get(name, [])
                )
                sections.append(shown)
        self.env.note_dependency(str(folder / f"{LEDGER}.json"))
        sections.append(self._ledger(read(folder, LEDGER)))
        return sections

    def _section(
        self, name: str, first_line: str, record: dict[str, Any], places: list[str]
    ) -> nodes.section:
        section = nodes.section(ids=[anchor(f"{name}:")], names=[f"record {name}"])
        section += nodes.title("", name.replace("_", " "))
        section += nodes.paragraph("", first_line)
        section += self._origin(name, record, places)
        tables = tables_of(name, record)
        section += [self._table(name, table) for table in tables]
        section += self._plot(name, draw(name, tables))
        return section

    def _origin(self, name: str, record: dict[str, Any], places: list[str]) -> nodes.paragraph:
        torch = record["versions"]["torch"]
        line = nodes.paragraph("", "", nodes.literal("", record["command"]))
        line += nodes.Text(
            f" on {record['hardware']}, {record['precision']}, torch {torch}, {record['date']}. "
        )
        if links := [node for place in places if (node := _link(place)) is not None]:
            line += nodes.Text("Shown in ")
            for number, link in enumerate(links):
                line += nodes.Text(", " if number else "")
                line += link
            line += nodes.Text(". ")
        file = addnodes.download_reference(
            "",
            "",
            reftarget=f"/{self.config.measured_results}/{name}.json",
            refdoc=self.env.docname,
        )
        file += nodes.Text(f"{name}.json")
        line += file
        return line

    def _table(self, name: str, table: Table) -> record_table:
        words = name.replace("_", " ")
        heads = [label(column) or "recorded" for column in table.columns]
        rows = [
            [(label(row) or name, "")]
            + [
                (table.rows[row].get(column), f"{name}:{'.'.join(table.path(row, column))}")
                for column in table.columns
            ]
            for row in table.rows
        ]
        return make_table(f"{words}, {_what(table)}", [words, *heads], rows)

    def _plot(self, name: str, picture: Picture) -> record_plot:
        width, height = picture.shown_size
        png = picture.to_base64()
        return record_plot(name=name, alt=picture.alt, width=width, height=height, png=png)

    def _ledger(self, looks: list[dict[str, Any]]) -> nodes.section:
        section = nodes.section(ids=[anchor(f"{LEDGER}:")], names=[f"record {LEDGER}"])
        section += nodes.title("", "Every look at the test set")
        section += nodes.paragraph(
            "",
            "Whoever scores a network on the test set leaves a line here, also where nothing came "
            "of it: the recipe, a fingerprint of its configuration, the commit, the seed. No "
            "configuration is scored twice from one seed without a remark that says why. The "
            "fingerprints and commits of before 30 November 2026 were added afterwards; such a "
            "commit is the one that brought the line.",
        )
        recipes: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for look in looks:
            recipes[look["recipe"]].append(look)
        rows = [
            [
                (recipe.replace("_", " "), ""),
                (len(found), ""),
                (", ".join(str(seed) for seed in sorted({look["seed"] for look in found})), ""),
                (
                    f"{min(look['accuracy'] for look in found):.2%} to "
                    f"{max(look['accuracy'] for look in found):.2%}",
                    "",
                ),
                (max(look["date"] for look in found), ""),
            ]
            for recipe, found in recipes.items()
        ]
        heads = ["recipe", "looks", "seeds", "test accuracy", "last on"]
        section += make_table("Looks at the test set by recipe", heads, rows)
        section += self._plot(LEDGER, draw_looks(looks))
        return section


def _what(table: Table) -> str:
    """Return what a table holds, for its caption."""
    columns = [words for column in table.columns if (words := label(column))]
    if not columns:
        return "what was recorded"
    return f"{', '.join(columns[:4])}{' and more' if len(columns) > 4 else ''}"


def _link(place: str) -> nodes.Node | None:
    """Return a link to a page of the book from one in Markdown; None for what is no page."""
    found = re.fullmatch(r"\[(.+)\]\(\.\./((?:notebooks|book)/\w+)\.\w+\)", place)
    if not found:
        return None
    page = addnodes.pending_xref(
        "", refdomain="std", reftype="doc", reftarget=f"/{found[2]}", refexplicit=True
    )
    page += nodes.inline("", found[1])
    return page


def make_table(caption: str, heads: list[str], rows: list[list[tuple[Any, str]]]) -> record_table:
    """Return a table with a caption whose first row and first column are heads.

    Parameters
    ----------
    rows : list
        Of cells (value, address); one with an address can be linked to.
    """
    table = nodes.table("", nodes.title("", caption), classes=["colwidths-auto"])
    group = nodes.tgroup(cols=len(heads), stub=1)
    table += group
    for number in range(len(heads)):
        group += nodes.colspec(colwidth=1, **({"stub": 1} if number == 0 else {}))
    head, body = nodes.thead(), nodes.tbody()
    group += [head, body]
    head += nodes.row("", *(_cell(name, "") for name in heads))
    for cells in rows:
        body += nodes.row("", *(_cell(value, address) for value, address in cells))
    return record_table("", table, caption=caption)


def _cell(value: Any, address: str) -> nodes.entry:
    """Return a cell: a number, and under it spread, interval and count."""
    entry = nodes.entry(ids=[anchor(address)] if address and value is not None else [])
    if value is None:
        return entry
    if not is_summary(value):
        entry += nodes.paragraph("", in_words(address, value) if address else str(value))
        return entry
    words = [f"n = {value['n']}"]
    if value["std"] is not None:
        low, high = (in_words(address, value[end]) for end in ("low", "high"))
        words = [f"± {in_words(address, value['std'])}", f"{low} to {high}", *words]
    line = nodes.paragraph("", f"{in_words(address, value['mean'])} ")
    line += nodes.inline("", ", ".join(words), classes=["spread"])
    entry += line
    return entry


def visit_table(translator: HTML5Translator, node: record_table) -> None:
    """Open the box; as it scrolls, the keyboard has to get into it."""
    words = translator.attval(node["caption"])
    translator.body.append(
        f'<div class="record-table" role="region" aria-label="{words}" tabindex="0">\n'
    )


def depart_table(translator: HTML5Translator, node: record_table) -> None:
    """Close the box."""
    translator.body.append("</div>\n")


def pass_through(translator: nodes.NodeVisitor, node: record_table) -> None:
    """Every other format has the table alone."""


def visit_plot(translator: HTML5Translator, node: record_plot) -> None:
    """Write the picture beside those of the page, and show it."""
    builder = translator.builder
    folder = Path(builder.outdir) / builder.imagedir
    folder.mkdir(parents=True, exist_ok=True)
    file = f"record-{node['name']}.png"
    (folder / file).write_bytes(b64decode(node["png"]))
    translator.body.append(
        f'<img class="record-plot" src="{builder.imgpath}/{file}" width="{node["width"]}" '
        f'height="{node["height"]}" alt="{translator.attval(node["alt"])}" loading="lazy" />\n'
    )
    raise nodes.SkipNode


def visit_words(translator: Any, node: record_plot) -> None:
    """Have the words in place of the plot, where pages are not HTML."""
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect all of it to the build."""
    app.add_node(
        record_plot,
        html=(visit_plot, None),
        latex=(visit_words, None),
        text=(visit_words, None),
    )
    app.add_node(
        record_table,
        html=(visit_table, depart_table),
        latex=(pass_through, pass_through),
        text=(pass_through, pass_through),
    )
    app.add_directive("records", RecordsDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
