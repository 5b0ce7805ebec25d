"""A folder that one process at a time writes into, and that tells its own files from others'.

    with claim("runs/first") as own:
        own.write("model.json", text)               # whole or not there
        own.keep_only("model", {"model.json"})      # what was written under that name before goes

A mark in the folder (`.mnist-lab.json`) lists what was written there. Only what it lists is ever
replaced or removed: whatever else lies in the folder belongs to somebody, however it is called. A
lock beside it (`.mnist-lab.lock`) is held by the system for the process that writes, so nobody has
to clear it away after a process that was killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import secrets
import stat
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock

from mnist_lab.files import describe_kind, open_regular

MARK, LOCK = ".mnist-lab.json", ".mnist-lab.lock"
_NEW_MARK = f"{MARK}.new"  # one name, as one process writes: a kill leaves no second
_FORMAT = "mnist-lab folder"
_MEANING = "mnist-lab wrote the files that are listed here; it replaces and removes no others."
# A name under which something is kept, or the temporary name of its file.
_OWN_NAME = re.compile(r"\.?([a-z]+)(-[0-9a-f]{12}\.safetensors|\.json)(\.[0-9a-f]{8})?")
_WAIT = 10.0  # seconds: a save of another process is done by then, its training is not
_claimed = threading.local()  # by this thread, to the real path


class FolderError(ValueError):
    """A folder that cannot be written into as it is; the message is one sentence."""


class OwnFolder:
    """A folder while it is claimed: what was written into it, and how more is written.

    Attributes
    ----------
    path : Path
    files : list of str
        Names of what was written here, oldest first.
    notes : dict
        What else the mark says, as JSON can hold it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        record = _read_mark(path)
        self.files = [name for name in record.get("files", []) if kind_of(name)]
        self.notes: dict[str, Any] = record.get("notes", {})

    def write(self, name: str, content: bytes | str) -> None:
        """Write a file as a whole, in the place of one that was written here before.

        Raises
        ------
        FolderError
            If something lies there that was not written here.
        """
        self.check(name)
        temporary = f".{name}.{secrets.token_hex(4)}"
        # Listed before they are there: what a kill leaves half is known by its name, and goes.
        self._list(*(new for new in (name, temporary) if new not in self.files))
        path = self.path / temporary
        try:
            path.write_bytes(content.encode() if isinstance(content, str) else content)
            path.replace(self.path / name)
        except BaseException:
            path.unlink(missing_ok=True)  # on a full disk it would be in the way
            raise
        self.files.remove(temporary)

    def check(self, name: str) -> None:
        """Refuse to write where something lies that was not written here."""
        path = self.path / name
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISREG(mode):
            raise FolderError(f"{path} is {describe_kind(mode)}; it would have to be replaced.")
        if name not in self.files:
            raise FolderError(
                f"{path} was not written by mnist-lab, or not here: name another folder."
            )

    def keep_only(self, kind: str, names: Collection[str]) -> None:
        """Remove what was written under the name `kind`, but for the files `names`."""
        going = [name for name in self.files if kind_of(name) == kind and name not in names]
        # The JSON goes first: without it the weights beside it are nothing.
        for name in sorted(going, key=lambda name: not name.endswith(".json")):
            path = self.path / name
            if path.is_file() and not path.is_symlink():
                path.unlink()
            self.files.remove(name)
        self._write_mark()

    def adopt(self, *names: str) -> None:
        """Count files as written here, such as those of a checkpoint that was copied from afar."""
        self.files += [name for name in names if name not in self.files and kind_of(name)]

    def note(self, **notes: Any) -> None:
        """Let the mark say something more; None takes a note away."""
        self.notes = {k: v for k, v in (self.notes | notes).items() if v is not None}
        self._write_mark()

    def _list(self, *names: str) -> None:
        self.files += names
        self._write_mark()

    def _write_mark(self, *, process: bool = True) -> None:
        mark: dict[str, Any] = {"format": _FORMAT, "format_version": 1, "meaning": _MEANING}
        if process:
            mark["process"] = {"number": os.getpid(), "machine": platform.node()}
        mark |= {"files": self.files, "notes": self.notes}
        new = self.path / _NEW_MARK
        new.write_text(json.dumps(mark, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        new.replace(self.path / MARK)

    def _leave(self, made: list[Path]) -> None:
        """Leave the folder as it was found, if nothing was written into it."""
        if self.files:
            self._write_mark(process=False)
            return
        for name in (MARK, _NEW_MARK, LOCK):
            (self.path / name).unlink(missing_ok=True)
        for folder in made:
            folder.rmdir()


@contextmanager
def claim(path: str | Path, *, wait: float = _WAIT) -> Iterator[OwnFolder]:
    """Make the folder if it is missing, and be the only one that writes into it meanwhile.

    Whoever holds it already, further out in the same thread, gets the same again.

    Parameters
    ----------
    path : path
    wait : float
        Seconds, for another process that holds it.

    Raises
    ------
    FolderError
        If it cannot be made or written into, another process holds it, or there is a mark in it
        that is not ours.
    """
    if not str(path):
        raise FolderError("The folder has no name; is a variable not set?")
    path = Path(path)
    held: dict[str, OwnFolder] = _claimed.__dict__.setdefault("folders", {})
    key = os.path.realpath(path) if "\0" not in str(path) else ""
    if key in held:
        yield held[key]
        return
    made = _make_folder(path)
    for name in (MARK, _NEW_MARK, LOCK):
        _check_plain(path / name)
    lock = filelock.FileLock(path / LOCK)
    try:
        lock.acquire(timeout=wait)
    except filelock.Timeout as error:
        raise FolderError(_who_writes(path)) from error
    except (OSError, NotImplementedError) as error:
        raise FolderError(_why_not(path, error)) from error
    try:
        own = OwnFolder(path)
        with _left_as_found(own, made):
            try:
                own._write_mark()  # whether the folder takes a file is found out now
            except OSError as error:
                raise FolderError(_why_not(path, error)) from error
            held[key] = own
            yield own
    finally:
        held.pop(key, None)
        lock.release()


@contextmanager
def _left_as_found(own: OwnFolder, made: list[Path]) -> Iterator[None]:
    """Take away what marks a folder, and those that were made for it, if nothing was written."""
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # the disk may be full, or the folder gone
            own._leave(made)


def _make_folder(path: Path) -> list[Path]:
    """Make a folder and those above it; return which were not there, the lowest first."""
    try:
        for above in (path, *path.parents):
            if above.exists() and not above.is_dir():
                what = describe_kind(above.stat().st_mode)
                raise FolderError(f"{above} is {what}; a folder for the checkpoint is expected.")
            if above.is_symlink() and not above.exists():
                raise FolderError(f"{above} is a link that leads nowhere; a folder is expected.")
        missing = [folder for folder in (path, *path.parents) if not folder.exists()]
        path.mkdir(parents=True, exist_ok=True)
    except FolderError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise FolderError(_why_not(path, error)) from error
    return missing


def _check_plain(path: Path) -> None:
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise FolderError(f"{path} is {describe_kind(path.lstat().st_mode)}: remove it.")


def _why_not(path: Path, error: Exception) -> str:
    reason = getattr(error, "strerror", None) or str(error)
    return f"{str(path)[:300]} cannot be written into: {reason.rstrip('.')}."


def _who_writes(path: Path) -> str:
    process = {}
    with contextlib.suppress(FolderError):
        process = _read_mark(path).get("process", {})
    who = f"Process {process['number']} of {process['machine']}" if process else "Another process"
    return f"{who} is writing into {path}: wait for it, or name another folder."


def _read_mark(path: Path) -> dict[str, Any]:
    """Return what the mark of a folder says; nothing, if there is none.

    Raises
    ------
    FolderError
        If it is not such as this module writes.
    """
    try:
        with open_regular(path / MARK) as file:
            record = json.loads(file.read(1 << 24))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError):
        record = None
    if not (
        isinstance(record, dict)
        and record.get("format") == _FORMAT
        and isinstance(record.get("files"), list)
        and all(isinstance(name, str) for name in record["files"])
        and isinstance(record.get("notes"), dict)
        and isinstance(process := record.get("process", {}), dict)
        and (not process or {"number", "machine"} <= process.keys())
    ):
        raise FolderError(f"{path / MARK} is damaged, or of another program: remove it.")
    return record


def read_notes(path: str | Path) -> dict[str, Any]:
    """Return what the mark of a folder notes beside its files; nothing, if there is no mark.

    Raises
    ------
    FolderError
        If the mark is damaged.
    """
    notes: dict[str, Any] = _read_mark(Path(path)).get("notes", {})
    return notes


def kind_of(name: str) -> str | None:
    """Return under which name a file is kept: "model" for model.json and its weights."""
    found = _OWN_NAME.fullmatch(name)
    return found[1] if found else None
