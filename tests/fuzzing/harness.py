"""What must be true of every input, however damaged: a right reading, or one sentence.

    examine(kind, 57, folder)       # "read" or "refused"; raises Fault

A kind of input makes the input number n in an empty folder, always the same, and reads it. Nothing
may be printed or warned of, no file may be changed or be missing afterwards, memory is bounded, and
what is refused is refused by the documented exception, in one sentence that names what is refused.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import tempfile
import traceback
import warnings
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

LONGEST = 1_000  # letters of a sentence
MOST_MEMORY = 1_500_000_000  # bytes by which one input may make the process grow


class Fault(Exception):  # noqa: N818
    """An input for which something is not as it must be."""


@dataclass(frozen=True)
class Attempt:
    """An input that lies ready.

    Attributes
    ----------
    read : function
        Reads it, checks what it reads, and returns "read", or "refused" where that is an answer.
    names : str
        What a sentence must contain.
    refusals : tuple of exceptions
        By which it may be refused.
    about : str
        What it is, in a few words.
    """

    read: Callable[[], str]
    names: str
    refusals: tuple[type[BaseException], ...]
    about: str = ""


@dataclass(frozen=True)
class Kind:
    """A kind of input.

    Attributes
    ----------
    name : str
    make : function of a generator and an empty folder
        Makes an input there.
    quick : int
        How many of them the tests try.
    """

    name: str
    make: Callable[[np.random.Generator, Path], Attempt]
    quick: int


def examine(kind: Kind, number: int, folder: Path) -> str:
    """Make and read input `number` of a kind in an empty folder; return "read" or "refused"."""
    attempt = kind.make(np.random.default_rng([zlib.crc32(kind.name.encode()), number]), folder)
    before, memory = files_in(folder), _peak()
    with _heard() as heard, warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            ending = attempt.read()
        except attempt.refusals as error:
            check_sentence(str(error), attempt.names)
            ending = "refused"
        except Fault:
            raise
        except Exception as error:
            raise Fault(f"{attempt.about}: {traceback.format_exc(limit=-4)}") from error
    if warned:
        raise Fault(f"{attempt.about}: it warns: {warned[0].message}")
    if said := heard():
        raise Fault(f"{attempt.about}: it prints: {said[:300]}")
    after = files_in(folder)
    if gone := [name for name, content in before.items() if after.get(name) != content]:
        raise Fault(f"{attempt.about}: these files were changed or are gone: {', '.join(gone)}")
    if _peak() > memory + MOST_MEMORY:
        raise Fault(f"{attempt.about}: it took {(_peak() - memory) // 1_000_000:,} MB of memory")
    return ending


def check_sentence(text: str, names: str) -> None:
    """Raise a Fault unless a text is one sentence with what it is about in it."""
    wrong = {
        "does not end in one full stop": text[-1:] not in (".", "?") or text.endswith(".."),
        f"does not name {names}": names not in text,
        "has several lines": len(text.splitlines()) != 1,
        f"has {len(text):,} letters": len(text) > LONGEST,
        "holds what a terminal obeys": not text.isprintable(),
    }
    if found := [what for what, is_so in wrong.items() if is_so]:
        raise Fault(f"A sentence {' and '.join(found)}: {text[:300]!r}")


def files_in(folder: Path) -> dict[str, bytes]:
    """Return the content of every file by its name."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@contextlib.contextmanager
def _heard() -> Iterator[Callable[[], str]]:
    """Hear what is printed, also by libraries written in C, while the block runs."""
    sys.stderr.flush()
    stream, kept = io.StringIO(), os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)

        def heard() -> str:
            return stream.getvalue() + said

        said = ""
        try:
            with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):
                yield heard
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            said = file.read(LONGEST).decode(errors="replace")


def _peak() -> int:
    """Return the most memory that this process has had, in bytes; 0 where nobody counts it."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    unit = 1 if sys.platform == "darwin" else 1_024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def explain(kind: Kind, number: int, fault: Any) -> str:
    """Say what went wrong, and how to see it again."""
    again = f"python -m tests.fuzzing {kind.name} --number {number}"
    return f"{kind.name} {number}: {fault}\n  Again: {again}"
