"""Files that somebody else made: opened if they are files at all, and what is wrong is said.

    with open_foreign("mine.npz") as file, refuse_damage("mine.npz"):
        decode(file)

A decoder that meets a damaged file raises what its authors never thought of: `zlib.error`,
`struct.error`, RuntimeError, IndexError. Lists of exceptions were too short each time, so all of
them become the one sentence that names the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from mnist_lab.data.digit_set import DataError
from mnist_lab.files import NotAFileError, open_regular
from mnist_lab.reasons import reason_of


def open_foreign(path: str | Path) -> IO[bytes]:
    """Open a file to be read as bytes.

    Raises
    ------
    DataError
        If it is missing, may not be read, or is a folder, a pipe, a socket or a device.
    """
    try:
        return open_regular(path)
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist.") from error
    except NotAFileError as error:
        raise DataError(f"{error}.") from error
    except (OSError, ValueError) as error:  # ValueError: no file can have such a name
        raise DataError(f"{path} cannot be opened: {reason_of(error)}.") from error


@contextmanager
def refuse_damage(path: str | Path, how: str = "cannot be read") -> Iterator[None]:
    """Turn whatever a decoder raises into one sentence; only calls of decoders belong inside.

    Parameters
    ----------
    path : path
        What the sentence starts with.
    how : str
        How it goes on, before the colon and the decoder's own reason.
    """
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"{path} {how}: {reason_of(error)}.") from error


def _is_folder(path: Path) -> bool:
    """Whether this is a folder, and no where nobody can tell (a link to itself, no permission)."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False
