"""Files that are whole or not there: written under a temporary name, then renamed.

A pipe, a device or a link is never replaced by a file, and never read as one.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

Content = bytes | bytearray | str | Callable[[IO[bytes]], None]


class NotAFileError(OSError):
    """A folder, a pipe or a device where a file is expected; the message names it."""


def open_regular(path: str | Path) -> IO[bytes]:
    """Open a file to be read as bytes; a pipe, which might never end, is refused and not waited on.

    Raises
    ------
    NotAFileError
        If it is a folder, a pipe, a socket or a device; the message is a sentence with its name.
    OSError
        As `open` raises it: it is missing, or may not be read.
    """
    path = Path(path)
    _check_regular(path, path.stat().st_mode)
    # Without waiting: it may have become a pipe in the meantime.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    handle = os.open(path, flags)
    try:
        _check_regular(path, os.fstat(handle).st_mode)
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def _check_regular(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise NotAFileError(f"{path} is {describe_kind(mode)}; a file is expected")


def describe_kind(mode: int) -> str:
    """Say what the `st_mode` of a path stands for, such as "a folder"."""
    for is_kind, name in (
        (stat.S_ISREG, "a file"),
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISFIFO, "a pipe"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISLNK, "a link"),
    ):
        if is_kind(mode):
            return name
    return "a device"


def write_atomically(path: str | Path, content: Content) -> None:
    """Write `content` so that a kill, or a second process, never leaves half a file at `path`.

    Behind a link, the file that it leads to is written, and the link stays. What is there and is no
    file, such as a pipe or /dev/null, gets the content as a stream and stays what it is.

    Parameters
    ----------
    path : path
        Its folder must exist.
    content : bytes, str (written as UTF-8) or callable
        A callable is handed the open binary file and writes to it.

    Raises
    ------
    NotAFileError
        If it is a folder, or a pipe that nobody reads from.
    """
    path = Path(path)
    if _is_stream(path):
        _write_into(path, content)
        return
    target = path.resolve() if path.is_symlink() else path
    if not target.parent.is_dir():
        raise NotAFileError(f"There is no folder {target.parent} to write {target.name} into")
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:200]}.")
    try:
        with os.fdopen(handle, "wb") as file:
            _write_content(file, content)
        # mkstemp makes files that only their owner reads; give this one the usual rights.
        umask = os.umask(0)
        os.umask(umask)
        Path(temporary).chmod(0o666 & ~umask)
        Path(temporary).replace(target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(temporary).unlink()
        raise


def _is_stream(path: Path) -> bool:
    """Whether a path is there and is no regular file, or is one of the system's own names."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return False
    # /dev/stdout leads to what the shell has opened already: a file renamed over it would be lost.
    of_the_system = path.absolute().parts[1:2] in (("dev",), ("proc",)) and path.is_symlink()
    return of_the_system or not stat.S_ISREG(mode)


def _write_into(path: Path, content: Content) -> None:
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode) or stat.S_ISSOCK(mode):
        raise NotAFileError(f"{path} is {describe_kind(mode)}; a file is expected")
    try:
        handle = os.open(path, os.O_WRONLY | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        if stat.S_ISFIFO(mode):
            raise NotAFileError(f"{path} is a pipe that nobody reads from") from error
        raise
    if hasattr(os, "set_blocking"):
        os.set_blocking(handle, True)
    with os.fdopen(handle, "wb") as file:
        _write_content(file, content)


def _write_content(file: IO[bytes], content: Content) -> None:
    if callable(content):
        content(file)
    else:
        file.write(content.encode() if isinstance(content, str) else content)
