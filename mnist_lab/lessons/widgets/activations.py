"""What the layers of a network found: its numbers after each ReLU or GELU.

    with watch_layers() as found:
        model(images)               # one image, no gradients
    kind, maps = found[0]           # "ReLU", uint8 (channels, height, width)

It watches the functions and not the modules, since most networks of the book call `F.relu` in
`forward` and have no module for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import isqrt
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.overrides import TorchFunctionMode

_WATCHED: dict[Callable[..., Any], str] = {
    F.relu: "ReLU",
    torch.relu: "ReLU",
    F.gelu: "GELU",
}
_MOST_NUMBERS = 200_000  # of all layers; a message to the browser stays below 200 kB

LayerMaps = list[tuple[str, NDArray[np.uint8]]]


class _Watch(TorchFunctionMode):
    """Passes every call on, and keeps what the watched ones return."""

    def __init__(self) -> None:
        super().__init__()
        self.results: list[tuple[str, Tensor]] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in _WATCHED:
            self.results.append((_WATCHED[func], result))
        return result


@contextmanager
def watch_layers() -> Iterator[LayerMaps]:
    """Fill a list with what each ReLU or GELU returns, for a batch of one image.

    Yields
    ------
    list of (kind, maps)
        Maps are uint8 (channels, height, width), 255 the layer's largest number and 0 what is not
        above zero. Tokens of a square grid become maps with a place for each; single numbers have
        height and width 1. Layers that have no such form, or come after too many numbers, are
        left out.
    """
    found: LayerMaps = []
    with _Watch() as watch:
        yield found
    room = _MOST_NUMBERS
    for kind, result in watch.results:
        maps = _as_maps(result)
        if maps is None or maps.numel() > room:
            continue
        room -= maps.numel()
        positive = maps.detach().clamp(min=0).float().cpu()
        scaled = positive * (255 / positive.max().clamp(min=1e-12))
        found.append((kind, scaled.round().to(torch.uint8).numpy()))


def _as_maps(result: Tensor) -> Tensor | None:
    """Return the numbers of one image as (channels, height, width), or None if they are no maps."""
    if result.ndim == 0 or result.shape[0] != 1:
        return None
    values = result[0]
    if values.ndim == 3:
        return values
    if values.ndim == 1:
        return values[:, None, None]
    if values.ndim == 2 and isqrt(len(values)) ** 2 == len(values):  # (tokens, width)
        return values.T.unflatten(1, (isqrt(len(values)), -1))
    return None
