"""Fuzzing for as long as one likes, with inputs that nobody has tried: `make fuzz`.

python -m tests.fuzzing --minutes 10            # every kind, in turn, beginning somewhere new
python -m tests.fuzzing npz --number 57         # one input again
"""

# ruff: noqa: T201

from __future__ import annotations

import argparse
import contextlib
import secrets
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.fuzzing.harness import Fault, Kind, examine, explain
from tests.fuzzing.kinds import KINDS

LONGEST = 120  # seconds for one input; what takes longer hangs
KEPT = 5  # faults of a kind that are shown in full
ENDINGS = ("read", "refused", "faults")


def try_one(kind: Kind, number: int) -> str:
    """Return how an input ended; a Fault also where it does not end at all."""

    def stop(*_: Any) -> None:
        raise Fault(f"not done after {LONGEST} seconds")

    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGALRM, stop)
        signal.alarm(LONGEST)
    try:
        with tempfile.TemporaryDirectory() as folder:
            inside = Path(folder) / "input"
            inside.mkdir()
            return examine(kind, number, inside)
    finally:
        if hasattr(signal, "SIGALRM"):
            signal.alarm(0)


def main() -> int:
    """Understand the command line, try inputs, and return 1 if there was a fault."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzzing", description=__doc__)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {', '.join(KINDS)}")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--number", type=int, help="try this input of each kind, and no other")
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        known = KINDS if arguments.kinds and "web" not in arguments.kinds else with_web(stack)
        if unknown := sorted(set(arguments.kinds) - set(known)):
            parser.error(f"there is no kind {unknown[0]}; there are {', '.join(known)}")
        return try_kinds([known[name] for name in arguments.kinds or known], arguments)


def with_web(stack: contextlib.ExitStack) -> dict[str, Kind]:
    """Return the kinds, and that of the page too where there is a Chromium."""
    from tests.browsing import launched
    from tests.fuzzing.web import on_page
    from tests.pages.workbench import workbench

    try:
        page = stack.enter_context(workbench(stack.enter_context(launched())))
    except BaseException as error:  # pytest's skip among them
        print(f"web: left out, there is no Chromium ({str(error).splitlines()[0]})")
        return KINDS
    return KINDS | {"web": on_page(page)}


def try_kinds(kinds: list[Kind], arguments: argparse.Namespace) -> int:
    """Try inputs of these kinds, print what they came to, and return 1 if there was a fault."""
    first = secrets.randbelow(10**9) if arguments.number is None else arguments.number
    endings = {kind.name: Counter[str]() for kind in kinds}
    for kind in kinds:
        # Each has its share of the time: a kind that takes long is tried less often.
        end, number = time.monotonic() + 60 * arguments.minutes / len(kinds), first
        while True:
            try:
                endings[kind.name][try_one(kind, number)] += 1
            except Fault as fault:
                endings[kind.name]["faults"] += 1
                if endings[kind.name]["faults"] <= KEPT:
                    print(explain(kind, number, fault), flush=True)
            number += 1
            if arguments.number is not None or time.monotonic() > end:
                break
        counts = endings[kind.name]
        said = ", ".join(f"{counts[ending]:,} {ending}" for ending in ENDINGS)
        print(f"{kind.name}: {counts.total():,} inputs from number {first:,}: {said}", flush=True)
    faults = sum(counts["faults"] for counts in endings.values())
    total = sum(counts.total() for counts in endings.values())
    print(f"{total:,} inputs, {faults:,} faults.")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
