"""An answer is run so that nothing it does reaches the verdict or the reader's own work.

    with time_limit(), guarded():
        outcome = run(answer, *arguments)       # plain data, or what was raised

An answer is somebody's first try. It may loop for ever, leave the interpreter, set NumPy to raise,
seed the global generator, print without end, or return an object that cannot even be compared. So
the time is limited, settings are put back, and of what comes back a plain copy is taken.

What no guard within one process can do: stop a loop that never comes back from C, such as
`sum(itertools.count())`, or one that catches everything while it waits; or survive `os._exit`.
"""

from __future__ import annotations

import contextlib
import gc
import io
import locale
import os
import random
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from types import ModuleType
from typing import Any, TextIO

import numpy as np

SECONDS = 10.0  # for an answer on all its cases; the slowest solution takes a fiftieth of one
_AGAIN = 0.0037  # seconds until the next stop, for an answer that caught this one
_MOST_PRINTED = 2_000  # characters that an answer may print on a case; the rest is dropped
_MOST_ENTRIES = 100_000  # of what an answer returns, in lists within lists or in an array
_DEEPEST = 20  # lists within lists
_DEEPEST_CALLS = 20_000  # an answer may not ask for more: calls without end fill memory in seconds
# Modules whose names an answer may have bound anew: those that verdicts are made with.
_MODULES = ("builtins", "copy", "inspect", "math", "os", "random", "sys", "warnings", "numpy",
            "numpy.linalg", "numpy.random")  # fmt: skip
_PLAIN: tuple[tuple[type, Callable[[Any], Any]], ...] = (
    (int, int.__int__),
    (float, float.__float__),
    (str, str.__str__),
)
_PACKAGES = ("mnist_lab.by_hand", "mnist_lab.lessons.exercises")


class TookTooLong(BaseException):
    """An answer was stopped; no `Exception`, so that an answer does not catch it by chance."""


@dataclass(frozen=True, eq=False)
class Thing:
    """Stands for an object that is neither a number, a text, nor a container of them."""

    description: str


@dataclass(frozen=True)
class Outcome:
    """What a call came to: plain data, or the class of what was raised, and its text."""

    value: Any = None
    error: type[BaseException] | None = None
    text: str = ""


def run(function: Callable[..., Any], *arguments: Any) -> Outcome:
    """Call a function and return plain data, or what it raised.

    Raises
    ------
    TookTooLong
        Within `time_limit`, if the time is up.
    KeyboardInterrupt
        If the reader has had enough.
    """
    try:
        return Outcome(_call(lambda: as_plain(function(*arguments))))
    except (TookTooLong, KeyboardInterrupt):
        raise
    except BaseException as error:  # SystemExit too: whatever goes wrong is reported, not raised
        return Outcome(None, type(error), _text_of(error))


def _text_of(error: BaseException) -> str:
    """Return the beginning of what an exception says; nothing if it cannot say it."""
    try:
        return str(_call(error.__str__))[:1_000]
    except (TookTooLong, KeyboardInterrupt):
        raise
    except BaseException:
        return ""


def _call(function: Callable[[], Any]) -> Any:
    """Call a function; only while it runs may time be called."""
    _calls.open += 1
    try:
        return function()
    finally:
        _calls.open -= 1


class _Calls(threading.local):
    open = 0  # in this thread


_calls = _Calls()


# --- Plain data ----------------------------------------------------------------------------------


def as_plain(value: Any) -> Any:
    """Copy numbers, texts, arrays and containers of them; a `Thing` stands for whatever else.

    The copy is of Python's and NumPy's own types, so that to compare it runs no code of others, and
    nothing that happens later changes it.
    """
    return _copied(value, [_MOST_ENTRIES], 0)


def _copied(value: Any, left: list[int], depth: int) -> Any:
    """Copy a value; `left` holds how many entries may still be copied."""
    left[0] -= 1
    if depth > _DEEPEST or left[0] < 0:
        return Thing("a very large object")
    if value is None or type(value) in (bool, int, float, complex, str, bytes):
        return value
    if isinstance(value, np.ndarray | np.generic):
        return _copied_array(value, left)
    for kind, plain in _PLAIN:
        if isinstance(value, kind):  # a class of somebody's own
            return plain(value)
    if isinstance(value, set | frozenset):
        members = [_copied(member, left, depth + 1) for member in islice(value, left[0] + 1)]
        return frozenset(m if isinstance(m, str | int | float) else Thing("") for m in members)
    if isinstance(value, tuple):
        return tuple(_copied(part, left, depth + 1) for part in islice(value, left[0] + 1))
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        return [_copied(part, left, depth + 1) for part in islice(value, left[0] + 1)]
    if hasattr(value, "__array__"):  # a tensor, a column of a table
        with contextlib.suppress(Exception):
            return _copied_array(np.asarray(value), left)
    return Thing(_described(type(value)))


def _copied_array(array: Any, left: list[int]) -> Any:
    left[0] -= array.size
    if left[0] < 0:
        return Thing(f"an array of shape {array.shape}")
    if array.dtype.hasobject:
        return Thing("an array of objects")
    return np.array(array)


def _described(kind: type) -> str:
    name = type.__getattribute__(kind, "__name__")[:40]
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


# --- Time ----------------------------------------------------------------------------------------


@contextlib.contextmanager
def time_limit(seconds: float | None = None) -> Iterator[None]:
    """Raise `TookTooLong` in calls of `run` inside the block after so many seconds, or `SECONDS`.

    In the main thread an alarm is set where the system has one, and what was set before goes on
    afterwards. Elsewhere, as on Windows, Python's tracing looks at the clock at every line, which
    is slower, and an answer that catches everything in an endless loop is not stopped.
    """
    seconds = SECONDS if seconds is None else seconds
    in_main_thread = threading.current_thread() is threading.main_thread()
    limit = _alarm if in_main_thread and hasattr(signal, "setitimer") else _trace
    before = _calls.open
    try:
        with limit(seconds):
            yield
    finally:
        _calls.open = before


@contextlib.contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    def stop(*_: Any) -> None:
        if _calls.open:
            raise TookTooLong

    handler = signal.signal(signal.SIGALRM, stop)
    timer = signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, *timer)
        signal.signal(signal.SIGALRM, handler)


@contextlib.contextmanager
def _trace(seconds: float) -> Iterator[None]:
    end = time.monotonic() + seconds

    def look(*_: Any) -> Any:
        if _calls.open and time.monotonic() > end:
            raise TookTooLong
        return look

    before = sys.gettrace()
    sys.settrace(look)
    try:
        yield
    finally:
        sys.settrace(before)


# --- Settings ------------------------------------------------------------------------------------


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """Put back afterwards what an answer may have changed for everybody.

    That is the settings and generators of NumPy, Python and, if it is loaded, PyTorch; the working
    folder and the environment; and names in the modules that verdicts are made with. Warnings do
    not get out, and of what is printed only the beginning.
    """
    with contextlib.ExitStack() as stack:
        for get, put in _settings():
            with contextlib.suppress(Exception):  # a folder that is gone, say
                stack.callback(put, get())
        stack.enter_context(np.errstate(all="ignore"))
        stack.enter_context(np.printoptions())
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        allow = sys.setrecursionlimit
        sys.setrecursionlimit = lambda limit: allow(min(limit, _DEEPEST_CALLS))
        sys.unraisablehook = lambda _: None  # what a destructor raises
        sys.stdout, sys.stderr = _Brief(sys.stdout), _Brief(sys.stderr)
        yield


def _settings() -> Iterator[tuple[Callable[[], Any], Callable[[Any], Any]]]:
    """Yield how each setting is asked for, and how it is put back."""
    yield sys.getrecursionlimit, sys.setrecursionlimit
    yield sys.gettrace, sys.settrace
    yield os.getcwd, os.chdir
    yield os.environ.copy, _put_environment_back
    yield (lambda: locale.setlocale(locale.LC_ALL)), partial(locale.setlocale, locale.LC_ALL)
    yield gc.isenabled, lambda enabled: gc.enable() if enabled else gc.disable()
    yield random.getstate, random.setstate
    yield np.random.get_state, np.random.set_state
    yield np.geterrcall, np.seterrcall
    yield np.getbufsize, np.setbufsize
    if threading.current_thread() is threading.main_thread():
        yield partial(signal.getsignal, signal.SIGINT), partial(signal.signal, signal.SIGINT)
    torch = sys.modules.get("torch")
    if torch is not None:
        yield torch.get_default_dtype, torch.set_default_dtype
        yield torch.is_grad_enabled, torch.set_grad_enabled
        yield torch.get_rng_state, torch.set_rng_state
        yield torch.get_num_threads, torch.set_num_threads
        yield torch.are_deterministic_algorithms_enabled, partial(_put_determinism_back, torch)
    yield sys.modules.copy, sys.modules.update
    for name, module in list(sys.modules.items()):
        if name in _MODULES or name.startswith(_PACKAGES):
            yield vars(module).copy, partial(_put_names_back, module)


def _put_environment_back(before: dict[str, str]) -> None:
    if os.environ != before:
        os.environ.clear()
        os.environ.update(before)


def _put_determinism_back(torch: Any, before: bool) -> None:
    if torch.are_deterministic_algorithms_enabled() != before:  # to set it loads half of PyTorch
        torch.use_deterministic_algorithms(before)


def _put_names_back(module: ModuleType, before: dict[str, Any]) -> None:
    names = vars(module)
    names.update(before)
    for name in set(names) - set(before):
        if not isinstance(names[name], ModuleType):  # that may have been imported meanwhile
            del names[name]


class _Brief(io.TextIOBase):
    """Passes on the first characters that are written to it, and drops the rest."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream, self._left = stream, _MOST_PRINTED

    def write(self, text: str) -> int:
        """Write to the stream, as long as anything may be written."""
        if self._stream is not None and self._left > 0:
            self._stream.write(text[: self._left])
            self._left -= len(text)
            if self._left <= 0:
                self._stream.write("\n... and so on: your answer prints a lot.\n")
        return len(text)

    def flush(self) -> None:
        """Flush the stream."""
        if self._stream is not None:
            self._stream.flush()
