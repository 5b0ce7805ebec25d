"""A Sphinx extension: the pages remember their reader, on the reader's machine.

The script reading-memory.js keeps in the browser's own storage where somebody was, what they
answered and which exercises they ticked; reading-marks.js shows it, and on the page "Your reading"
reading-controls.js. What there is to remember stands in a script that this extension writes: each
chapter's title and sections, the names of its quiz questions, and its exercises with the codes that
`check` prints. It is a script and no JSON, since a page that is opened from disk may not fetch.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

CONTENTS = "reading-contents.js"


def describe_chapter(env: BuildEnvironment, page: str) -> dict[str, Any]:
    """Return what there is to remember of the chapter whose page is "notebooks/ch05_...".

    `sections` and `exercises` map an id to a title and a name to a code, in their order.
    """
    from mnist_lab.lessons.exercises import EXERCISES
    from mnist_lab.lessons.quizzes import load_questions

    chapter = Path(page).name[:4]
    sections = [
        link
        for link in env.tocs[page].findall(nodes.reference)
        if link["anchorname"] and _depth(link) == 2
    ]
    return {
        "name": chapter,
        "page": page,
        "title": env.titles[page].astext(),
        "sections": {link["anchorname"].removeprefix("#"): link.astext() for link in sections},
        "questions": [question["id"] for question in load_questions(chapter)],
        "exercises": {
            exercise.name: exercise.code
            for exercise in EXERCISES.values()
            if exercise.chapter == chapter
        },
    }


def _depth(link: nodes.Node) -> int:
    """Return in how many lists an entry of a page's contents stands: 1 is the page itself."""
    depth = 0
    while link := link.parent:
        depth += isinstance(link, nodes.bullet_list)
    return depth


def write_contents(app: Sphinx, env: BuildEnvironment) -> None:
    """Write the script with all chapters into the site, once their titles are known."""
    if app.builder.format != "html":
        return
    chapters = [
        describe_chapter(env, page)
        for page in sorted(env.found_docs)
        if Path(page).name[:2] == "ch" and page.startswith("notebooks/")
    ]
    target = Path(app.outdir) / "_static" / CONTENTS
    target.parent.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(json.dumps(chapter, ensure_ascii=False) for chapter in chapters)
    target.write_text(f"const READING_CONTENTS = [\n{lines}\n];\n", encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect it to the build. The scripts run in this order, once the page's text is there."""
    for script in (CONTENTS, "reading-memory.js", "reading-marks.js", "reading-controls.js"):
        app.add_js_file(script, loading_method="defer")
    app.connect("env-updated", write_contents)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
