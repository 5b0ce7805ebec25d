"""Answers that do harm, for the tests of `check`: results that bite, and changes for everybody."""

from __future__ import annotations

import itertools
import os
import random
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from mnist_lab.by_hand import layers
from mnist_lab.lessons.exercises import ch02, checking


class Biting:
    """Raises whatever is asked of it."""

    def bite(self, *given: Any, **named: Any) -> Any:
        raise RuntimeError("bitten")

    __eq__ = __ne__ = __lt__ = __bool__ = __len__ = __iter__ = __getitem__ = __hash__ = bite
    __array__ = __float__ = __int__ = __index__ = __str__ = __repr__ = __format__ = bite
    __deepcopy__ = __copy__ = __reduce_ex__ = __getattr__ = bite


class Agreeing:
    """Claims to be equal to everything."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return True

    def __array_ufunc__(self, *given: Any, **named: Any) -> Any:
        return np.True_


class AgreeingArray(np.ndarray[Any, Any]):
    """An array that claims to be near to everything."""

    def __array_function__(self, *given: Any, **named: Any) -> Any:
        return np.True_

    def __array_ufunc__(self, *given: Any, **named: Any) -> Any:
        return np.True_

    def __eq__(self, other: object) -> Any:
        return np.True_


class Endless:
    """Has no end, however it is gone through."""

    def __iter__(self) -> Iterator[int]:
        while True:
            yield 1

    def __len__(self) -> int:
        return sys.maxsize

    def __getitem__(self, place: Any) -> int:
        return 1


class EndlessArray:
    """Never becomes an array."""

    def __array__(self, *given: Any, **named: Any) -> Any:
        while True:
            pass


class EndlessList(list[Any]):
    """A list that goes on for ever when it is gone through."""

    def __iter__(self) -> Iterator[Any]:
        return itertools.repeat(1)


class LoudEnd:
    """Raises when it is no longer needed."""

    def __del__(self) -> None:
        raise RuntimeError("the end")


class RaisingTextError(Exception):
    """Cannot say what it is about."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


class EndlessTextError(Exception):
    """Never comes to the end of what it is about."""

    def __str__(self) -> str:
        while True:
            pass


class OfItsOwn(BaseException):
    """No `Exception`."""


def in_itself() -> list[Any]:
    """Return a list that holds itself twice: as an array it would have no end of entries."""
    inside: list[Any] = []
    inside += [inside, inside]
    return inside


def nested(depth: int) -> list[Any]:
    inside: list[Any] = []
    for _ in range(depth):
        inside = [inside]
    return inside


def without_end() -> Any:
    while True:
        pass


def without_end_whatever_is_raised() -> Any:
    while True:
        try:
            raise ValueError
        except:  # noqa: E722
            pass


def deeper_and_deeper() -> Any:
    return deeper_and_deeper()


def deeper_than_allowed() -> Any:
    sys.setrecursionlimit(10**8)
    return deeper_and_deeper()


def raising(error: BaseException) -> Any:
    raise error


def leave() -> Any:
    sys.exit(0)


async def later() -> Any:
    return 1


RESULTS: dict[str, Callable[[], Any]] = {
    "bites": Biting,
    "bites in a list": lambda: [Biting(), 1],
    "bites in a tuple": lambda: (Biting(), Biting()),
    "agrees": Agreeing,
    "agrees in a tuple": lambda: (Agreeing(), Agreeing()),
    "agrees as an array": lambda: np.zeros((4, 3)).view(AgreeingArray),
    "an array of what agrees": lambda: np.array([Agreeing()] * 3, dtype=object),
    "endless": Endless,
    "an endless list": lambda: EndlessList([1]),
    "an endless array": EndlessArray,
    "an endless generator": itertools.count,
    "a generator": lambda: (number for number in range(3)),
    "a coroutine": later,
    "a list in itself": in_itself,
    "a deep list": lambda: nested(5_000),
    "a long range": lambda: range(10**15),
    "a huge view": lambda: np.broadcast_to(np.float64(1), (10**6, 10**6)),
    "a million of texts": lambda: ["x" * 1_000] * 10**6,
    "a huge number": lambda: 10**100_000,
    "a long text": lambda: "x" * 10**7,
    "a structured array": lambda: np.zeros(3, [("a", "f8")]),
    "dates": lambda: np.array(["2020-01-01"], "datetime64[D]"),
    "complex numbers": lambda: np.ones((4, 3)) * 1j,
    "a masked array": lambda: np.ma.masked_all((4, 3)),
    "a tensor with a gradient": lambda: torch.ones(4, 3, requires_grad=True),
    "a tensor elsewhere": lambda: torch.ones(4, 3, device="meta"),
    "a sparse tensor": lambda: torch.ones(4, 3).to_sparse(),
    "a set of nan": lambda: {float("nan")},
    "a class": lambda: type("Name" * 1_000, (), {}),
    "of a class with a long name": lambda: type("Name" * 1_000, (), {})(),
    "a loud end": LoudEnd,
    "an exception": lambda: ValueError("returned"),
    "a module": lambda: np,
    "itself": lambda: checking,
}
"""What a wrong answer may return."""
DIES_LOUDLY = {"a loud end", "a coroutine"}
"""Of these: what complains when nobody needs it any longer."""

ENDS: dict[str, Callable[[], Any]] = {
    "loops": without_end,
    "loops whatever is raised": without_end_whatever_is_raised,
    "goes through what is endless": lambda: [1 for _ in itertools.count()],
    "sleeps": lambda: time.sleep(1_000),
}
"""What has no end."""

RAISES: dict[str, Callable[[], Any]] = {
    "calls itself": deeper_and_deeper,
    "asks for more depth": deeper_than_allowed,
    "leaves": leave,
    "raises StopIteration": lambda: next(iter(())),
    "raises a class of its own": lambda: raising(OfItsOwn("base")),
    "raises without a text": lambda: raising(RaisingTextError()),
    "raises a group": lambda: raising(ExceptionGroup("group", [ValueError("one")] * 1_000)),
    "raises GeneratorExit": lambda: raising(GeneratorExit()),
    "raises a long text": lambda: raising(ValueError("long " * 10**6)),
    "asks for too much memory": lambda: [0] * 10**14,
    "asks NumPy for too much memory": lambda: np.zeros(10**15),
}
"""What raises."""


def set_torch() -> None:
    torch.set_default_dtype(torch.float64)
    torch.set_grad_enabled(False)
    torch.manual_seed(5)
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(2)


def set_numpy() -> None:
    np.seterr(over="raise", invalid="raise")
    np.set_printoptions(precision=1, threshold=2)
    np.random.seed(random.randrange(100))  # noqa: NPY002


def raise_warnings() -> None:
    warnings.warn("one", stacklevel=1)
    warnings.simplefilter("error")


def rebind(place: Any, name: str) -> None:
    setattr(place, name, lambda *given, **named: np.True_)


def close_output() -> None:
    sys.stdout.close()
    sys.stdout = sys.stderr = None  # type: ignore[assignment]


def empty_environment() -> None:
    os.environ.clear()
    os.environ["MNIST_LAB"] = "changed"


CHANGES: dict[str, Callable[[], Any]] = {
    "NumPy's settings": set_numpy,
    "PyTorch's settings": set_torch,
    "warnings": raise_warnings,
    "Python's generator": lambda: random.seed(5),
    "the depth of calls": lambda: sys.setrecursionlimit(150),
    "the folder": lambda: os.chdir("/"),
    "the environment": empty_environment,
    "the output": close_output,
    "the interrupt": lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    "the tracing": lambda: sys.settrace(lambda *given: None),
    "np.isclose": lambda: rebind(np, "isclose"),
    "np.asarray": lambda: rebind(np, "abs"),
    "len": lambda: rebind(sys.modules["builtins"], "sorted"),
    "the judge": lambda: rebind(checking, "_agree"),
    "the solution": lambda: rebind(ch02, "_softmax"),
    "the layers": lambda: rebind(layers, "Linear"),
    "the modules": lambda: sys.modules.pop("random"),
}
"""What changes something for everybody."""
