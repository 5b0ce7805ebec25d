"""A Sphinx extension: numbers that come from a record, and lead to it.

    The corrected network reads {measured}`articles:results.corrected.accuracy.mean|.2%` of them.

The part before the colon names a file in benchmarks/results (here articles.json), the rest is a
path of keys into it, and what follows the bar is a Python format. A number in prose then cannot
differ from its record: a file or a key that does not exist is a warning, which stops the build of
the book, and a page is built again when a record that it shows has changed.

The number is a link to its place on the page of results. On hover, focus and touch a card says
where it comes from: command, machine, date, how often it was measured, spread and interval, and how
to measure it again. A cell of a chapter that loads a record gets such links below its output. The
cards are part of the page (`popover`), so they need no request; without scripts the link remains.
"""

from __future__ import annotations

import ast
import functools
import html
import json
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxRole
from sphinx.writers.html5 import HTML5Translator

from benchmarks.claims import claims_about, find_origin
from mnist_lab.lessons.records import look_up

logger = logging.getLogger(__name__)

SCRIPT, SHEET = "evidence.js", "evidence.css"
LOADERS = ("load_record", "load_records")
OF_SHARES = ("attacks", "photos", "robustness")  # records whose numbers are shares of digits
NOT_OF_SHARES = ("chapters",)  # where a name may speak of accuracy and the number be in points


class measured_number(nodes.Inline, nodes.TextElement):  # type: ignore[misc] # noqa: N801
    """A number, or the name of a record; its `address` says which, and may be empty."""


# --- Numbers in words ----------------------------------------------------------------------------


def read(folder: Path, name: str) -> Any:
    """Return the record `name`.

    Raises
    ------
    ValueError
        In one sentence, if there is none or it cannot be read.
    """
    file = folder / f"{name}.json"
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"there is no record {file}") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{file} is not JSON: {error}") from None


def show(folder: Path, text: str) -> str:
    """Return what ``{measured}`text` `` prints, with records taken from `folder`.

    Raises
    ------
    ValueError
        In one sentence, if the text, the file, the path or the format cannot be used.
    """
    address, _, spec = text.partition("|")
    name, colon, path = address.partition(":")
    if not colon or not name or not path:
        raise ValueError("expected file:path.of.keys or file:path.of.keys|format")
    record = read(folder, name.strip())
    file = folder / f"{name.strip()}.json"
    try:
        value = look_up(record, path.strip())
    except KeyError as error:
        raise ValueError(f"in {file}, {error.args[0]}") from None
    if value is None and is_spread_of_one(record, path.strip()):
        return "\N{EN DASH}"
    if value is None or isinstance(value, (dict, list)):
        raise ValueError(f"in {file}, '{path}' is {json.dumps(value)[:60]}, not a single value")
    try:
        return as_written(value, spec.strip()) if spec else str(value)
    except ValueError as error:
        raise ValueError(f"{value!r} does not take the format '{spec}': {error}") from None


def as_written(value: Any, spec: str) -> str:
    """Return a value in a format, with a space before a per cent sign, as the prose has it."""
    return re.sub(r"(?<=\d)%$", "\N{NO-BREAK SPACE}%", format(value, spec))


def is_summary(value: Any) -> bool:
    """Tell whether a part of a record sums up repeated measurements."""
    return isinstance(value, dict) and {"mean", "std", "n"} <= value.keys()


def is_spread_of_one(record: Any, path: str) -> bool:
    """Tell whether a path leads to the spread of a single run, which has none."""
    above, _, key = path.rpartition(".")
    if key not in ("std", "low", "high") or not above:
        return False
    return bool(look_up(record, above).get("n") == 1)


def in_words(address: str, value: Any) -> str:
    """Return a value of a record as people write it; what is a share of digits in per cent."""
    if isinstance(value, list):
        return ", ".join(in_words(address, item) for item in value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    name = address.partition(":")[0]
    share = name in OF_SHARES or ("accuracy" in address and name not in NOT_OF_SHARES)
    if share and abs(value) <= 1:
        return as_written(value, ".2%")
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def summed_up(address: str, record: Any) -> str:
    """Return the address of the summary that a number belongs to, or its own."""
    name, _, path = address.partition(":")
    above = path.rpartition(".")[0]
    return f"{name}:{above}" if above and is_summary(look_up(record, above)) else address


def anchor(address: str) -> str:
    """Return the identifier of a record, or of a number in it, on the page of results."""
    name, _, path = address.partition(":")
    return nodes.make_id(f"record {name} {path.replace('.', ' ')}")


def title_of(address: str) -> str:
    """Return what an address is of, in words: "articles: article 000, as printed, accuracy"."""
    name, _, path = address.partition(":")
    parts = [part for part in path.split(".") if part not in ("", "results")]
    words = ", ".join(part.replace("_", " ") for part in parts)
    return f"{name}: {words}" if words else f"the record {name}"


# --- Cards ---------------------------------------------------------------------------------------


def facts_about(address: str, folder: Path) -> Iterator[tuple[str, str]]:
    """Yield (what, words) of all that is known about where a number comes from."""
    name, _, path = address.partition(":")
    record = read(folder, name)
    value: Any = look_up(record, path) if path else None
    if is_summary(value):
        spread = f" ± {in_words(address, value['std'])}" if value["std"] is not None else ""
        yield "mean", f"{in_words(address, value['mean'])}{spread} (n = {value['n']})"
        if value.get("low") is not None:
            low, high = (in_words(address, value[end]) for end in ("low", "high"))
            yield "95 % interval of the mean", f"{low} to {high}"
        if 1 < len(value.get("values", [])) <= 10:
            yield "each run", in_words(address, value["values"])
    elif value is not None:
        yield "recorded", in_words(address, value)
    origin = find_origin(address, folder)
    if "hardware" in origin:
        torch = origin.get("versions", {}).get("torch")
        parts = [origin["hardware"], origin.get("precision"), torch and f"torch {torch}"]
        yield "on", ", ".join(filter(None, parts))
    if "date" in origin:
        yield "date", origin["date"]
    if "command" in origin:
        yield "by", origin["command"]
    for claim in claims_about(address) if path else []:
        yield "again", f"python -m mnist_lab verify {claim}"


def card(address: str, identifier: str, href: str, folder: Path) -> str:
    """Return the HTML of the card about a number, or about a whole record."""
    rows = []
    for what, words in facts_about(address, folder):
        code = "code" if what in ("by", "again") else "span"
        rows.append(f"<dt>{what}</dt><dd><{code}>{html.escape(words)}</{code}></dd>")
    return (
        f'<div class="evidence" id="{identifier}" popover="manual">'
        f'<p id="{identifier}-title">{html.escape(title_of(address))}</p>'
        f"<dl>{''.join(rows)}</dl>"
        f'<p><a href="{html.escape(href)}">The whole record</a></p></div>'
    )


# --- On the pages --------------------------------------------------------------------------------


class MeasuredRole(SphinxRole):
    """The role itself; its text is `file:path.of.keys|format`."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Return the number as a node that leads to its record."""
        folder = Path(self.env.srcdir) / self.config.measured_results
        address = self.text.partition("|")[0].strip()
        name = address.partition(":")[0].strip()
        self.env.note_dependency(str(folder / f"{name}.json"))
        try:
            shown = show(folder, self.text)
            address = summed_up(address, read(folder, name))
        except ValueError as error:
            logger.warning("measured `%s`: %s", self.text, error, location=self.get_location())
            shown, address = "?", ""
        return [measured_number(self.rawtext, shown, address=address)], []


def records_used(cells: list[str]) -> list[list[str]]:
    """Return for each cell of a chapter the names of the records that it uses.

    A record is used where it is loaded, and wherever a name is read that was given to it, or to a
    part of it, in this cell or before.
    """
    names: dict[str, str] = {}
    found: list[list[str]] = []
    for source in cells:
        used: dict[str, None] = {}
        try:
            tree = ast.parse(source)
        except SyntaxError:  # a magic command
            found.append([])
            continue
        for node in ast.walk(tree):
            if record := _loaded(node):
                used[record] = None
        # What this cell makes of its names, "" where it is nothing of a record; what a
        # comprehension makes of them is forgotten after the cell.
        given: dict[str, str] = {}
        kept: set[str] = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign | ast.For | ast.comprehension):
                value = node.value if isinstance(node, ast.Assign) else node.iter
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                record = _record_of(value, names | given)
                for target in targets:
                    for name in ast.walk(target):
                        if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store):
                            given[name.id] = record
                            if not isinstance(node, ast.comprehension):
                                kept.add(name.id)
        known = names | given
        for node in ast.walk(tree):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and known.get(node.id):
                used[known[node.id]] = None
        names |= {name: given[name] for name in kept}
        found.append(list(used))
    return found


def _loaded(node: ast.AST) -> str:
    """Return the record that a call loads, if it is such a call."""
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in LOADERS
        and node.args
        and isinstance(node.args[0], ast.Constant)
    ):
        return str(node.args[0].value)
    return ""


def _record_of(value: ast.expr, names: dict[str, str]) -> str:
    """Return the record that an expression is a part of: `record["results"].items()` is one."""
    while True:
        if isinstance(value, ast.Subscript | ast.Attribute):
            value = value.value
        elif isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute):
            value = value.func
        else:
            break
    if isinstance(value, ast.Name):
        return names.get(value.id, "")
    return _loaded(value)


def mark_cells(app: Sphinx, doctree: nodes.document) -> None:
    """Put links to the records below what a chapter's cells show of them."""
    folder = Path(app.srcdir) / app.config.measured_results
    cells = [
        node for node in doctree.findall(nodes.container) if node.get("nb_element") == "cell_code"
    ]
    sources = [next(iter(cell.findall(nodes.literal_block)), None) for cell in cells]
    codes = [source.astext() if source else "" for source in sources]
    for cell, code, names in zip(cells, codes, records_used(codes), strict=True):
        outputs = [node for node in cell.children if node.get("nb_element") == "cell_code_output"]
        addresses = [f"{name}:" for name in names if (folder / f"{name}.json").is_file()]
        recorded = read(folder, "chapters")["results"]
        effects = re.findall(r'show_effect\(\s*"([^"]+)"', code)
        addresses += [f"chapters:results.{effect}" for effect in effects if effect in recorded]
        if not outputs or not addresses:
            continue
        line = nodes.paragraph(classes=["evidence-line"])
        line += nodes.Text("Recorded: ")
        for number, address in enumerate(addresses):
            name, _, path = address.partition(":")
            app.env.note_dependency(str(folder / f"{name}.json"))
            line += nodes.Text(", " if number else "")
            words = path.removeprefix("results.") or name
            line += measured_number("", words, address=address)
        outputs[-1] += line


def lead_to_records(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Make a page's numbers links, and put a card for each at the page's end."""
    page = app.config.measured_page
    if app.builder.name not in ("html", "dirhtml") or page not in app.env.found_docs:
        return
    folder = Path(app.srcdir) / app.config.measured_results
    shown = places_on(app, page)
    cards: dict[str, str] = {}
    here = app.builder.get_target_uri(docname)
    there = app.builder.get_target_uri(page)
    for number in doctree.findall(measured_number):
        address = number["address"]
        if not address:
            continue
        place = anchor(address)
        if place not in shown:  # a setting stands in no table, but its record has a section
            place = anchor(f"{address.partition(':')[0]}:")
        number["card"] = f"evidence-{anchor(address)}"
        number["href"] = f"{_relative(here, there)}#{place}"
        cards[number["card"]] = card(address, number["card"], number["href"], folder)
    if cards:
        doctree += nodes.raw("", "\n".join(cards.values()) + "\n", format="html")


@functools.cache
def places_on(app: Sphinx, page: str) -> set[str]:
    """Return the identifiers on a page; they are looked up once a build."""
    elements = app.env.get_doctree(page).findall(nodes.Element)
    return {name for element in elements for name in element["ids"]}


def _relative(here: str, there: str) -> str:
    return posixpath.relpath(there, posixpath.dirname(here) or ".")


def visit_html(translator: HTML5Translator, node: measured_number) -> None:
    """Open the link, or where there is no page to lead to, a span."""
    if "href" not in node:
        translator.body.append('<span class="measured">')
        return
    translator.body.append(
        f'<a class="measured" href="{node["href"]}" data-evidence="{node["card"]}" '
        f'aria-describedby="{node["card"]}-title">'
    )


def depart_html(translator: HTML5Translator, node: measured_number) -> None:
    """Close it."""
    translator.body.append("</a>" if "href" in node else "</span>")


def pass_through(translator: nodes.NodeVisitor, node: measured_number) -> None:
    """Every other format has the number."""


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the role, and the settings that say where the records and their page are."""
    app.add_config_value("measured_results", "benchmarks/results", "env", str)
    app.add_config_value("measured_page", "book/results", "html", str)
    app.add_node(
        measured_number,
        html=(visit_html, depart_html),
        latex=(pass_through, pass_through),
        text=(pass_through, pass_through),
    )
    app.add_role("measured", MeasuredRole())
    app.add_css_file(SHEET)
    app.add_js_file(SCRIPT, loading_method="defer")
    app.connect("doctree-read", mark_cells)
    app.connect("doctree-resolved", lead_to_records)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
