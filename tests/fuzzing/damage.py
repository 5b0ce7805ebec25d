"""Damage: to bytes as disks, downloads and hostile people do it, and to JSON, key by key."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np

Draw = np.random.Generator

# Numbers at which programs go wrong, as they stand in files.
_EDGES = [b"\0", b"\xff", b"\x7f", b"\x80", bytes(4), b"\xff" * 4, b"\x7f\xff\xff\xff",
          b"\xff\xff\xff\x7f", b"\0\0\xc0\x7f", b"\0\0\x80\x7f", b"\1" + bytes(7),
          b"\xff" * 8]  # fmt: skip


def pick(draw: Draw, choices: Any) -> Any:
    """Return one of several things, whatever they are."""
    choices = list(choices)
    return choices[int(draw.integers(len(choices)))]


def damaged(content: bytes, draw: Draw) -> bytes:
    """Damage bytes in one to three ways, mostly near the beginning: headers are there."""
    data = bytearray(content)
    for _ in range(int(draw.integers(1, 4))):
        reach = len(data) if draw.random() < 0.5 else min(len(data), 64)
        place = int(draw.integers(max(reach, 1)))
        length = int(draw.integers(1, 9))
        way = int(draw.integers(7))
        if way == 0 and data:
            data[min(place, len(data) - 1)] ^= 1 << int(draw.integers(8))
        elif way == 1:
            data[place : place + length] = draw.bytes(length)
        elif way == 2:
            edge = pick(draw, _EDGES)
            data[place : place + len(edge)] = edge
        elif way == 3:
            del data[place:]
        elif way == 4:
            del data[place : place + length]
        elif way == 5:
            data[place:place] = draw.bytes(length)
        else:
            hole = int(draw.integers(1, 1 + max(len(data) // 2, 1)))
            data[place : place + hole] = bytes(len(data[place : place + hole]))
    return bytes(data)


def junk(draw: Draw) -> Any:
    """Return something that JSON can hold and that is seldom expected."""
    deep: Any = 1
    for _ in range(200):
        deep = [deep]
    return pick(draw, [
        None, True, False, 0, -1, 1, 2, 3.5, 1e9, 10**30, 1e308, -1e308, 1e-320, float("nan"),
        float("inf"), "", "x", "0", "\ud800", "\x1b[2J\n", "long" * 5_000, "..", "/dev/null",
        "model-best.safetensors", [], [1], [0, 0], [-1, 5], [1e9, 1e9], ["x"] * 3_000, {},
        {"x": 1}, deep, [None], "linear", "vit", "cpu", 10**400,
    ])  # fmt: skip


def places_in(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path to everything inside a JSON value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value)
    found = []
    for key, part in inside:
        found.append((*here, key))
        if isinstance(part, dict | list):
            found += places_in(part, (*here, key))
    return found


def damaged_json(record: Any, draw: Draw) -> Any:
    """Replace, drop or add a thing or two in a JSON value."""
    record = copy.deepcopy(record)
    for _ in range(int(draw.integers(1, 3))):
        places = places_in(record)
        if not places:
            return junk(draw)
        *path, last = pick(draw, places)
        inside = record
        for key in path:
            inside = inside[key]
        way = draw.random()
        if way < 0.7:
            inside[last] = junk(draw)
        elif way < 0.9:
            del inside[last]
        elif isinstance(inside, dict):
            inside["added"] = junk(draw)
    return record


def damaged_text(record: Any, draw: Draw) -> bytes:
    """Return a JSON file that was damaged, in its values or in its letters."""
    if draw.random() < 0.8:
        return json.dumps(damaged_json(record, draw)).encode()
    return damaged(json.dumps(record).encode(), draw)
