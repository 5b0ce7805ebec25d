"""What may stand where a file is expected, and what every sentence about it must be like."""

from __future__ import annotations

import os
import random
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path


def make_pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


def make_socket(path: Path) -> Path:
    here = Path.cwd()
    os.chdir(path.parent)  # a socket's name may have 100 letters
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)
    return path


def make_folder(path: Path) -> Path:
    path.mkdir()
    return path


def make_loop(path: Path) -> Path:
    path.symlink_to(path)
    return path


def make_link_to(target: str) -> Callable[[Path], Path]:
    def make(path: Path) -> Path:
        path.symlink_to(target)
        return path

    return make


def make_empty(path: Path) -> Path:
    path.write_bytes(b"")
    return path


def make_text(path: Path) -> Path:
    path.write_text("<!DOCTYPE html><title>404 Not Found</title>")
    return path


def make_below_a_file(path: Path) -> Path:
    path.write_bytes(b"file")
    return path / "below"


def make_unreadable(path: Path) -> Path:
    path.write_bytes(b"secret")
    path.chmod(0)
    return path


_OF_LINUX: dict[str, Callable[[Path], Path]] = {
    "pipe": make_pipe,
    "socket": make_socket,
    "link to itself": make_loop,
    "link to nothing": make_link_to("gone"),
    "endless device": make_link_to("/dev/zero"),
    "empty device": make_link_to("/dev/null"),
    "memory of this process": make_link_to("/proc/self/mem"),
}
if os.geteuid():  # root may read everything
    _OF_LINUX["no permission"] = make_unreadable

# What a folder can hold: each makes something at a path.
HELD: dict[str, Callable[[Path], Path]] = {
    "folder": make_folder,
    "empty": make_empty,
    "text": make_text,
} | (_OF_LINUX if sys.platform == "linux" else {})

# And what only a caller can name: each returns what to read.
SPECIAL: dict[str, Callable[[Path], Path]] = HELD | {
    "missing": lambda path: path,
    "below a file": make_below_a_file,
    "NUL in its name": lambda path: path.with_name(f"a\0b{path.suffix}"),
    "300 letters": lambda path: path.with_name(300 * "x" + path.suffix),
}


def check_sentence(message: str, path: Path) -> None:
    """Fail unless a message is one sentence of bounded length that names the file."""
    assert str(path) in message
    rest = message.replace(str(path), "PATH")
    assert rest.endswith(".")
    assert not rest[:-1].rstrip().endswith(".")  # no full stop twice
    assert "\n" not in rest
    assert len(rest) < 500
    assert rest.strip("PATH .:") != ""


def damage(whole: bytes, number: int) -> Iterator[bytes]:
    """Yield `number` damaged copies: cut, flipped, with holes, doubled, with a foreign start."""
    draw = random.Random(0)
    for _ in range(number):
        content = bytearray(whole)
        place = draw.randrange(len(content))
        for _ in range(draw.choice((1, 1, 2))):
            kind = draw.randrange(6)
            if kind == 0:
                del content[place:]
            elif kind == 1:
                for _ in range(draw.choice((1, 3, 10))):
                    if content:
                        content[draw.randrange(min(len(content), 300))] = draw.randrange(256)
            elif kind == 2:
                content[place : place + 100] = bytes(len(content[place : place + 100]))
            elif kind == 3:
                content[place:place] = draw.randbytes(draw.randrange(1, 40))
            elif kind == 4 and content:
                content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
            else:
                content += draw.randbytes(20)
        yield bytes(content)
