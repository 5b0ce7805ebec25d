"""What a network is: the name and the arguments that it was built with, and how large it is.

    model = build_model("small_cnn", width=24)
    architecture_of(model)              # Architecture("small_cnn", {"width": 24, "classes": 10})

`registry.build_model` leaves this on every network that it builds, and so does each class that was
registered. A checkpoint writes it down, so that a network is never built again as another one.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

_PLACE = "architecture"  # the attribute of a network that holds it

HEAD = "output"  # what every model of the book calls its last layer
LARGEST_SIDE = 1_024  # pixels of an image that a network is asked to read


@dataclass(frozen=True)
class Architecture:
    """How a network is built again.

    Attributes
    ----------
    name : str
        As it is registered.
    arguments : mapping
        All arguments of its builder, those that were left at their defaults too: a default that
        changes later changes no network that was built before.
    """

    name: str
    arguments: Mapping[str, Any]

    def __str__(self) -> str:
        """Return it as a call: `small_cnn(width=24, classes=10)`."""
        return f"{self.name}({', '.join(f'{k}={v!r}' for k, v in self.arguments.items())})"


def architecture_of(model: nn.Module) -> Architecture | None:
    """Return what a network was built as, or None if nobody knows: its class is not registered."""
    found = getattr(model, _PLACE, None)
    return found if isinstance(found, Architecture) else None


def remember_architecture(
    model: nn.Module,
    name: str,
    builder: Callable[..., nn.Module],
    arguments: Mapping[str, Any],
    positional: tuple[Any, ...] = (),
) -> None:
    """Leave on `model` what it was built as, with the defaults of the arguments not given."""
    bound = inspect.signature(builder).bind(*positional, **arguments)
    bound.apply_defaults()
    setattr(model, _PLACE, Architecture(name, dict(bound.arguments)))


def note_head(model: nn.Module, classes: int) -> None:
    """Note that `model` has got a head for another number of classes.

    A network whose builder takes no `classes` cannot be built again so: it is forgotten what it is.
    """
    known = architecture_of(model)
    if known is None:
        return
    if "classes" in known.arguments:
        arguments = {**known.arguments, "classes": classes}
        setattr(model, _PLACE, replace(known, arguments=arguments))
    else:
        delattr(model, _PLACE)


def count_parameters(model: nn.Module) -> int:
    """Return how many numbers the model learns."""
    return sum(parameter.numel() for parameter in model.parameters())
