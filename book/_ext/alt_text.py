"""A Sphinx extension: every picture of the book says in words what it shows.

A plot in a notebook carries its text in its output's metadata, where nbconvert reads it too:
``{"image/png": {"alt": "..."}}``. MyST-NB does not take it from there, so this extension does. A
picture that then has no text is a warning, which stops the build of the book.
"""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode
from pathlib import Path, PurePosixPath
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

logger = logging.getLogger(__name__)


def pictures_in_notebook(path: Path) -> dict[str, dict[str, Any]]:
    """Map the SHA-256 of each picture that a notebook stores to the metadata stored beside it.

    MyST-NB writes a picture to a file named after this hash, which is how the two meet again.
    """
    pictures: dict[str, dict[str, Any]] = {}
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        for output in cell.get("outputs", []):
            for mime_type, content in output.get("data", {}).items():
                metadata = output.get("metadata", {}).get(mime_type, {})
                if not metadata.get("alt") or not mime_type.startswith("image/"):
                    continue
                content = "".join(content)
                if mime_type == "image/svg+xml":
                    data = "\n".join(content.splitlines()).encode()
                else:
                    data = b64decode(content)
                pictures[hashlib.sha256(data).hexdigest()] = metadata
    return pictures


def describe_pictures(app: Sphinx, doctree: nodes.document) -> None:
    """Give the pictures of a page their text, and warn of those that have none."""
    source = Path(app.env.doc2path(app.env.docname))
    described = pictures_in_notebook(source) if source.suffix == ".ipynb" else {}
    for picture in doctree.findall(nodes.image):
        stem = PurePosixPath(picture["uri"].replace("\\", "/")).stem
        if not picture.get("alt") and stem in described:
            picture["alt"] = described[stem]["alt"]
            # The file is finer than the page, so it has to be told how wide it is to be shown.
            if width := described[stem].get("width"):
                picture["width"] = f"{width}px"
        if not picture.get("alt"):
            logger.warning("the picture %s has no alt text", picture["uri"], location=picture)


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect to each page that has been read."""
    app.connect("doctree-read", describe_pictures, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
