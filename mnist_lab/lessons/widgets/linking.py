"""Link the JavaScript modules into one text: for pages, and for notebooks.

    link_page(weights, digits)   # a classic script that brings <digit-pad> to life
    link_training(train, others) # another, for <train-here>
    link_steps(train, others)    # another, for <step-here>
    link_attention(weights)      # and one for <digit-attention>
    link_notebook()              # an ES module for anywidget

A page that is opened from disk loads no modules, and a notebook hands the browser one text. So the
small modules in `static` are written for people, and what a browser gets is linked from them: each
module becomes a function that returns what it exports, in the order in which they need each other.
Only the few forms of import and export that the modules use are understood; others are an error.
A name without braces stands for a text: of a style sheet, or of all that a worker runs.
Above a style sheet the book's colours are written, by day and by night, as `--own-ink` and kin.
"""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

from mnist_lab.lessons.palette import PAGE_BY_DAY, PAGE_BY_NIGHT, write_properties

STATIC = Path(__file__).parent / "static"

_IMPORT = re.compile(
    r'^import\s+(\{[^}]*\}|\w+)\s+from\s+"\./([\w-]+\.(?:js|css))";\n', re.MULTILINE
)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function\*?|class|const) (\w+))", re.MULTILINE)
_OTHER = re.compile(r"^\s*(?:import\b|export\b).*", re.MULTILINE)


class LinkError(ValueError):
    """A module that cannot be linked; the message is one sentence."""


def link_page(weights: bytes, digits: bytes, static: Path = STATIC) -> str:
    """Return a classic script for pages, with all that it needs written into it.

    Parameters
    ----------
    weights : bytes
        A web export of the network that reads.
    digits : bytes
        A PNG of MNIST digits, ten classes in a row, on which a lesson shows what is forgotten.
    """
    return _write_script("digit-pad.js", static, weights, digits)


def link_training(train: bytes, others: bytes, static: Path = STATIC) -> str:
    """Return a classic script for pages on which a network is trained.

    Parameters
    ----------
    train, others : bytes
        PNGs of MNIST digits, ten classes in a row: those to learn from, and others to score with.
    """
    return _write_script("train-here.js", static, train, others)


def link_steps(train: bytes, others: bytes, static: Path = STATIC) -> str:
    """Return a classic script for pages on which gradient steps are taken one by one.

    Parameters
    ----------
    train, others : bytes
        PNGs of MNIST digits, ten classes in a row: those to learn from, and others to score with.
    """
    return _write_script("step-here.js", static, train, others)


def link_attention(weights: bytes, static: Path = STATIC) -> str:
    """Return a classic script for pages that show a transformer's attention.

    Parameters
    ----------
    weights : bytes
        What `export.transformer_bytes` wrote.
    """
    return _write_script("digit-attention.js", static, weights)


def link_notebook(static: Path = STATIC, entry: str = "notebook.js") -> str:
    """Return an ES module in the form that anywidget asks for."""
    return f"{_link(entry, static)}export default {{ render: {_name_of(entry)}.render }};\n"


def _write_script(entry: str, static: Path, *contents: bytes) -> str:
    """Return a script that calls `start` of its entry with these contents, in base64."""
    texts = ", ".join(f'"{base64.b64encode(content).decode()}"' for content in contents)
    return (
        f'(() => {{\n"use strict";\n{_link(entry, static)}'
        f"{_name_of(entry)}.start({texts});\n}})();\n"
    )


def _write_worker(entry: str, static: Path) -> str:
    """Return what a worker runs: its entry, listening."""
    return f'"use strict";\n{_link(entry, static)}{_name_of(entry)}.listen(self);\n'


def _link(entry: str, static: Path) -> str:
    """Return `entry` and all that it needs, those that are needed first."""
    linked: dict[str, str] = {}

    def add(name: str, waiting: tuple[str, ...]) -> None:
        if name in waiting:
            raise LinkError(
                f"{' -> '.join((*waiting, name))}: modules need each other in a circle."
            )
        if name in linked:
            return
        text = _read(static / name)
        if name.endswith(".css"):
            linked[name] = f"const {_name_of(name)} = {json.dumps(_write_colours() + text)};\n"
            return
        for names, needed in _IMPORT.findall(text):
            if needed.endswith(".js") and not names.startswith("{"):
                worker = json.dumps(_write_worker(needed, static))
                linked[f"{needed} as a text"] = f"const {_name_of(needed)}_text = {worker};\n"
            else:
                add(needed, (*waiting, name))
        linked[name] = _wrap(name, text)

    add(entry, ())
    return "".join(linked.values())


def _wrap(name: str, text: str) -> str:
    """Return a module as a function that is called at once and returns what it exports."""
    exports = _EXPORT.findall(text)

    def bind(match: re.Match[str]) -> str:
        names, module = match.groups()
        is_worker = module.endswith(".js") and not names.startswith("{")
        source = _name_of(module) + ("_text" if is_worker else "")
        return f"const {' '.join(names.split())} = {source};\n"

    body = _EXPORT.sub("", _IMPORT.sub(bind, text))
    left = _OTHER.search(body)
    if left:
        raise LinkError(f"{name} has a line that cannot be linked: {left[0].strip()}")
    returned = f"return {{ {', '.join(exports)} }};\n"
    return f"const {_name_of(name)} = (() => {{\n{body}{returned}}})();\n"


def _write_colours() -> str:
    """Return the book's colours as a style sheet for an element with a shadow root."""
    by_day, by_night = (write_properties(page, "own-") for page in (PAGE_BY_DAY, PAGE_BY_NIGHT))
    return (
        f":host {{ {by_day} }}\n@media (prefers-color-scheme: dark) {{ :host {{ {by_night} }} }}\n"
    )


def _name_of(file: str) -> str:
    """Return what a module is called in the linked text; no name in a module begins so."""
    return "$" + re.sub(r"\W", "_", file.removesuffix(".js"))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise LinkError(f"There is no module {path.name} beside the others.") from error
