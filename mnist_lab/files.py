"""Files that are whole or not there: written under a temporary name, then renamed."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO


def write_atomically(
    path: str | Path, content: bytes | bytearray | str | Callable[[IO[bytes]], None]
) -> None:
    """Write `content` so that a kill, or a second process, never leaves half a file at `path`.

    Parameters
    ----------
    path : path
        Its folder must exist.
    content : bytes, str (written as UTF-8) or callable
        A callable is handed the open binary file and writes to it.
    """
    path = Path(path)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            if callable(content):
                content(file)
            else:
                file.write(content.encode() if isinstance(content, str) else content)
        # mkstemp makes files that only their owner reads; give this one the usual rights.
        umask = os.umask(0)
        os.umask(umask)
        Path(temporary).chmod(0o666 & ~umask)
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(temporary).unlink()
        raise
