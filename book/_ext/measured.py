"""A Sphinx extension: the role `measured` prints a number from a recorded result.

    The corrected network reads {measured}`articles:results.corrected.accuracy.mean|.2%` of them.

The part before the colon names a file in benchmarks/results (here articles.json), the rest is a
path of keys into it, and what follows the bar is a Python format. A number in prose then cannot
differ from its record: a file or a key that does not exist is a warning, which stops the build of
the book, and a page is built again when a record that it shows has changed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxRole

logger = logging.getLogger(__name__)


def look_up(record: Any, path: str) -> Any:
    """Follow `path`, keys (or list positions) joined by dots, into a parsed JSON `record`.

    Raises
    ------
    KeyError
        With the part of the path that is not there, and what is there instead.
    """
    value = record
    walked = ""
    for key in path.split("."):
        walked = f"{walked}.{key}" if walked else key
        if isinstance(value, dict) and key in value:
            value = value[key]
        elif isinstance(value, list) and key.isdecimal() and int(key) < len(value):
            value = value[int(key)]
        else:
            found = ", ".join(map(str, value)) if isinstance(value, dict) else repr(value)[:60]
            raise KeyError(f"'{walked}' is not there (found: {found})")
    return value


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
    file = folder / f"{name.strip()}.json"
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"there is no record {file}") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{file} is not JSON: {error}") from None
    try:
        value = look_up(record, path.strip())
    except KeyError as error:
        raise ValueError(f"in {file}, {error.args[0]}") from None
    if value is None or isinstance(value, (dict, list)):
        raise ValueError(f"in {file}, '{path}' is {json.dumps(value)[:60]}, not a single value")
    try:
        return format(value, spec.strip()) if spec else str(value)
    except ValueError as error:
        raise ValueError(f"{value!r} does not take the format '{spec}': {error}") from None


class MeasuredRole(SphinxRole):
    """The role itself; its text is `file:path.of.keys|format`."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Return the number as a span of class `measured`."""
        folder = Path(self.env.srcdir) / self.config.measured_results
        name = self.text.partition(":")[0].strip()
        self.env.note_dependency(str(folder / f"{name}.json"))
        try:
            shown = show(folder, self.text)
        except ValueError as error:
            logger.warning("measured `%s`: %s", self.text, error, location=self.get_location())
            shown = "?"
        return [nodes.inline(self.rawtext, shown, classes=["measured"])], []


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the role, and the setting that says where the records are."""
    app.add_config_value("measured_results", "benchmarks/results", "env", str)
    app.add_role("measured", MeasuredRole())
    return {"parallel_read_safe": True, "parallel_write_safe": True}
