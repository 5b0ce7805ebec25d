"""Files of tensors: what one says that it holds, before any of it is in memory; then its numbers.

    layout = read_layout("model.safetensors")       # names, shapes and types, without numbers
    check_layout(layout, model.state_dict())        # are these the tensors of that network?
    tensors = safetensors.torch.load(content)
    check_numbers(tensors)                          # are these numbers that it can compute with?

A file's claims are believed only as far as they agree: with its length, and with the network that
its tensors are for. Each check raises a `ValueError` whose message is half a sentence, to be put
after the file's name.

Source: the safetensors format, https://huggingface.co/docs/safetensors
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from mnist_lab.reasons import reason_of, shorten

_KINDS = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
# A network may be kept in fewer bits, or in more, than it is built with.
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_SHOWN = 5  # differences that a sentence names


def read_layout(path: str | Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file without their numbers, on torch's meta device.

    Only the header is read. It is sound: it accounts for every byte of the file.

    Raises
    ------
    OSError
    ValueError
        If it is no such file, is cut short, or holds elements of a type that is not used here.
    """
    layout = {}
    try:
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118
                part = file.get_slice(name)
                kind = part.get_dtype()
                if kind not in _KINDS:
                    raise ValueError(
                        f"{shorten(name)} has elements of type {kind}; known are "
                        f"{', '.join(_KINDS)}"
                    )
                layout[name] = torch.empty(part.get_shape(), dtype=_KINDS[kind], device="meta")
    except (SafetensorError, RuntimeError) as error:
        raise ValueError(
            f"it is no safetensors file, or was altered or cut short ({reason_of(error)})"
        ) from error
    return layout


def check_layout(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Compare names, shapes and types of elements, not numbers; either may be without them.

    A floating-point type may stand for another: a network in bfloat16 is kept in bfloat16.

    Raises
    ------
    ValueError
        Saying what differs.
    """
    differences = [
        *(f"{name} is missing" for name in sorted(expected.keys() - found.keys())),
        *(f"{shorten(name)} is unknown" for name in sorted(found.keys() - expected.keys())),
    ]
    for name in sorted(expected.keys() & found.keys()):
        ours, theirs = expected[name], found[name]
        if ours.shape != theirs.shape:
            shapes = f"{tuple(theirs.shape)}, expected {tuple(ours.shape)}"
            differences.append(f"{name} is {shapes:.200}")
        elif not _may_stand_for(theirs.dtype, ours.dtype):
            differences.append(f"{name} is of {_name(theirs)}, expected {_name(ours)}")
    if differences:
        more = len(differences) - _SHOWN
        shown = "; ".join(differences[:_SHOWN]) + (f"; and {more} more" if more > 0 else "")
        raise ValueError(shown)


def _may_stand_for(found: torch.dtype, expected: torch.dtype) -> bool:
    return found == expected or (found in _FLOATS and expected in _FLOATS)


def _name(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def check_numbers(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Refuse numbers with which nothing can be computed.

    Parameters
    ----------
    tensors, expected : mapping
        Of the same layout. A number must be finite in the type in which it will be used.

    Raises
    ------
    ValueError
        Naming the tensor that holds some number that is not finite, or a variance below 0.
    """
    for name, tensor in tensors.items():
        if not bool(tensor.to(expected[name].dtype).isfinite().all()):
            raise ValueError(f"{name} holds numbers that are not finite")
        if name.endswith("running_var") and bool((tensor < 0).any()):
            raise ValueError(f"{name} holds a variance below 0")
