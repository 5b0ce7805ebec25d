"""Model files for the pages that are broken, or mean harm."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import torch
from safetensors.torch import save

from mnist_lab.export import web_bytes
from tests.pages.workbench import network


def file_of(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(*shape: int, begin: float = 0, dtype: str = "F32", size: int | None = None) -> object:
    count = 4 * int(np.prod(shape)) if size is None else size
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, begin + count]}


def altered(
    name: str = "linear",
    *,
    tensors: dict[str, torch.Tensor | None] | None = None,
    card: dict[str, Any] | None = None,
) -> bytes:
    """A good web file with some of its tensors, or of its card, changed."""
    model, good = network(name)
    floats = {k: v for k, v in model.state_dict().items() if v.is_floating_point()}
    kept = {**floats, **(tensors or {})}
    record = {"format": "mnist-lab web 1"} | good.to_json() | (card or {})
    metadata = {"card": json.dumps(record)}
    return save({name: t for name, t in kept.items() if t is not None}, metadata)


def filled(name: str, value: float, *parts: str) -> bytes:
    """A web file with one number in every place of its tensors, or of those whose names end so."""
    state = network(name)[0].state_dict()
    chosen = [k for k, v in state.items() if v.is_floating_point() and k.endswith(parts or ("",))]
    return altered(name, tensors={k: torch.full_like(state[k], value) for k in chosen})


def overflowing_files() -> dict[str, bytes]:
    """Files of finite numbers with which a network cannot read: a sum of theirs can overflow."""
    mean = {"mean": 1e308, "deviation": 0.3}
    return {
        "linear of 3e38": filled("linear", 3e38),
        "linear of -3e38": filled("linear", -3e38),
        "bias of 3e38": filled("linear", 3e38, "bias"),
        "mlp of 1e30": filled("mlp", 1e30),
        "hidden of 1e37": filled("mlp", 1e37, "hidden.weight"),
        "small_cnn of 1e30": filled("small_cnn", 1e30),
        "kernels of 1e38": filled("small_cnn", 1e38, "conv1.weight"),
        "norms of 1e25": filled("small_cnn", 1e25, "norm1.weight", "norm2.weight"),
        "means of 3e38": filled("small_cnn", 3e38, "running_mean"),
        "shift of 3e38": filled("small_cnn", 3e38, "norm3.bias"),
        "mean of 1e308": altered(card={"normalisation": mean}),
    }


def damaged_files(count: int, seed: int = 0) -> list[bytes]:
    """Good files with a few bytes replaced anywhere, or with numbers 2^128 times as large."""
    draw = np.random.default_rng(seed)
    whole = web_bytes(*network("small_cnn", width=2))
    packed = web_bytes(*network("small_cnn", width=2), bits=4)
    files = []
    for k in range(count):
        good = packed if k % 4 > 1 else whole
        start = 8 + int.from_bytes(good[:8], "little")
        content = bytearray(good)
        if k % 2:
            for _ in range(draw.integers(1, 4)):
                content[draw.integers(0, len(content))] = draw.integers(0, 256)
        else:  # the exponent's highest bit, of a number or two
            for place in draw.integers(0, (len(good) - start) // 4, draw.integers(1, 3)):
                content[start + 4 * place + 3] ^= 0x40
        files.append(bytes(content))
    return files


def bad_files() -> dict[str, tuple[bytes, str]]:
    good = web_bytes(*network("linear"))
    one = {"a": entry(2)}
    nan = torch.zeros(10, 784)
    nan[3, 3] = float("nan")
    infinite = torch.full((10,), float("inf"))
    zero, tiny = {"mean": 0, "deviation": 0}, {"mean": 0.1, "deviation": 1e-320}
    below = torch.full((32,), -1.0)
    hostile = {
        "empty": (b"", "too short"),
        "eight bytes": (b"12345678", "too short"),
        "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(200), "no safetensors file"),
        "a pickle": (b"\x80\x04\x95" + bytes(50), "no safetensors file"),
        "huge header": (file_of(b"{}", length=2**62), "longer than a header"),
        "header of 4 GB": (file_of(b"{}", length=2**32 - 1), "longer than a header"),
        "long header": (file_of(b"{" + b" " * 200_000 + b"}"), "longer than a header"),
        "huge file": (bytes(2_000_001), "larger than 2 MB"),
        "no JSON": (file_of(b"{'a': 1}"), "cannot be read"),
        "no UTF-8": (file_of(b'{"\xff": 1}'), "cannot be read"),
        "a list": (file_of([1, 2]), "cannot be read"),
        "null": (file_of(b"null"), "cannot be read"),
        "deep": (file_of(b"[" * 90_000), "cannot be read"),
        "entry is no object": (file_of({"a": 7}), "makes no sense"),
        "no shape": (file_of({"a": {"dtype": "F32", "data_offsets": [0, 4]}}), "no sense"),
        "negative": (file_of({"a": entry(-2, size=8)}, bytes(8)), "makes no sense"),
        "fraction": (file_of({"a": entry(1, begin=0.5)}, bytes(8)), "no sense"),
        "overflow": (file_of({"a": entry(2**31, 2**31, 4, size=8)}, bytes(8)), "no sense"),
        "shape and length differ": (file_of({"a": entry(3, size=8)}, bytes(8)), "no sense"),
        "half precision": (file_of({"a": entry(2, dtype="F16")}, bytes(8)), "makes no sense"),
        "other halves": (file_of({"a": entry(2, dtype="BF16")}, bytes(8)), "does not know"),
        "unknown type": (file_of({"a": entry(2, dtype="<b>X</b>")}, bytes(8)), "does not know"),
        "overlap": (file_of({"a": entry(2), "b": entry(2, begin=4)}, bytes(12)), "overlap"),
        "gap": (file_of({"a": entry(2, begin=4)}, bytes(12)), "overlap or leave gaps"),
        "cut short": (file_of(one, bytes(4)), "cut short"),
        "too long": (file_of(one, bytes(12)), "goes on after"),
        "many tensors": (file_of({str(k): entry(0) for k in range(100)}), "more tensors"),
        "no metadata": (file_of(one, bytes(8)), "was not written by"),
        "card is a number": (
            file_of({"__metadata__": {"card": "3"}, **one}, bytes(8)), "was not written by"
        ),
        "good but cut": (good[:-100], "cut short"),
        "NaN": (altered(tensors={"output.weight": nan}), "not finite"),
        "infinite": (altered(tensors={"output.bias": infinite}), "not finite"),
        "other format": (altered(card={"format": "mnist-lab web 9"}), "of this version"),
        "no architecture": (altered(card={"model": None}), "architecture null"),
        "other network": (altered(card={"model": "vit"}), "architecture vit"),
        "inherited name": (altered(card={"model": "constructor"}), "architecture constructor"),
        "long name": (altered(card={"model": "x" * 5_000}), "architecture x{40}…"),
        "wrong network": (altered(card={"model": "small_cnn"}), "conv1.weight is missing"),
        "other size": (altered(card={"input_size": [32, 32]}), "another size than 28x28"),
        "other classes": (altered(card={"class_names": ["a", "b"]}), "10 x 784; 2 x 784 was"),
        "no classes": (altered(card={"class_names": []}), "no names"),
        "class is no text": (altered(card={"class_names": [1] * 10}), "no names"),
        "class is a blank": (altered(card={"class_names": [*"012345678", " "]}), "no names"),
        "classes doubled": (altered(card={"class_names": [*"0123456788"]}), "the same name"),
        "more classes": (altered(card={"class_names": [*"0123456789ab"]}), "12 x 784 was"),
        "deviation 0": (altered(card={"normalisation": zero}), "description"),
        "tiny deviation": (altered(card={"normalisation": tiny}), "description"),
        "no normalisation": (altered(card={"normalisation": None}), "description"),
        "wrong shape": (altered(tensors={"output.bias": torch.zeros(5, 2)}), "5 x 2; 10 was"),
        "too few": (altered(tensors={"output.bias": None}), "output.bias is missing"),
        "too many": (altered(tensors={"hook": torch.zeros(3)}), "hook is unknown"),
        "negative variance": (
            altered("small_cnn", tensors={"norm2.running_var": below}), "norm2 has a variance below"
        ),
    }  # fmt: skip
    too_large = "can give numbers too large"
    return hostile | {name: (file, too_large) for name, file in overflowing_files().items()}
