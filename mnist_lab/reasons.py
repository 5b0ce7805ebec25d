"""Why something went wrong, as half a sentence that another sentence can end with.

    raise CheckpointError(f"{folder} describes no model: {reason_of(error)}.")

What a file or a library says may be long, empty, or of several lines; a sentence must not be.
"""

from __future__ import annotations

_LONGEST = 300  # characters: an exception may quote whatever a file holds


def reason_of(error: BaseException) -> str:
    """Return what an exception says: one line, not too long, and without a full stop.

    A `KeyError` says nothing but the key, a `MemoryError` mostly nothing at all.
    """
    if isinstance(error, MemoryError):
        return "there is not enough memory for it"
    if isinstance(error, KeyError) and error.args:
        return shorten(f"{error.args[0]!r} is missing")
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return shorten(said) or type(error).__name__


def shorten(text: str) -> str:
    """Return a text as one line of at most 300 characters, without a full stop at its end.

    What cannot be printed, such as the codes that move a terminal's cursor, is shown as Python
    would write it.
    """
    line = " ".join(text[: 4 * _LONGEST].split()).rstrip(". ")
    line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST].rstrip('. ')} [...]"
