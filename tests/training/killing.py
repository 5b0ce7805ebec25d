"""Kill a command at random moments, resume it each time, and compare with a run without a kill.

    python -m tests.training.killing train 50           # 50 kills; prints what came of it as JSON

The command runs in a child that was forked after all had been imported, so a kill costs a second
and not ten. It is killed (SIGKILL) at a moment that is counted and not timed: before or after a
step of training, or a touch of the disk. With `--by-time` it is killed whenever it may be.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mnist_lab import cli
from mnist_lab.data import mnist
from mnist_lab.training import loop, scoring  # noqa: F401
from mnist_lab.training.run_folders import RESUME

TRAIN = ["train", "--preset=standard", "--model=mlp", "--epochs=4"]
COMMANDS = {
    "train": TRAIN,
    "pretrain": ["pretrain", "--epochs=3"],
    "finetune": ["finetune", "{base}", "--data=mnist", "--way=lora", "--steps=60"],
}


def serve_few_digits() -> None:
    """Let the command line find 300 digits to train on, and the 5,000 that it holds out."""
    whole = mnist.load_mnist()
    small = mnist.MNIST(whole.train.subset(np.arange(5_300)), whole.test.subset(np.arange(100)))
    mnist.load_mnist = lambda: small


def start(command: list[str], prepare: Callable[[], None]) -> int:
    """Run a command in a child; return its number."""
    child = os.fork()
    if child:
        return child
    with contextlib.suppress(BaseException):
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
            os.dup2(nowhere.fileno(), 2)
        prepare()
        os._exit(cli.main(command))
    os._exit(99)


def count_moments(act: Callable[[int], None]) -> None:
    """Call `act` with 1, 2, ... before and after every step and every touch of the disk."""
    count = [0]

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*given: Any, **named: Any) -> Any:
            count[0] += 1
            act(count[0])
            found = original(*given, **named)
            count[0] += 1
            act(count[0])
            return found

        return wrapped

    loop.train_step = wrap(loop.train_step)
    for name in ("write_bytes", "write_text", "replace", "unlink"):
        setattr(Path, name, wrap(getattr(Path, name)))


def kill_at(moment: int) -> Callable[[], None]:
    def act(count: int) -> None:
        if count == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    return lambda: count_moments(act)


def files_of(folder: Path) -> dict[str, bytes]:
    """What a run has left, but for its mark, which tells its seconds."""
    return {p.name: p.read_bytes() for p in folder.iterdir() if not p.name.startswith(".mnist-lab")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("kills", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--by-time", action="store_true")
    options = parser.parse_args()
    serve_few_digits()
    choose = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as temporary:
        print(json.dumps(try_it(options, choose, Path(temporary))))  # noqa: T201


def try_it(options: argparse.Namespace, choose: random.Random, place: Path) -> dict[str, Any]:
    base, moments = place / "base", place / "moments"
    command = [part.format(base=base) for part in COMMANDS[options.command]] + ["--device=cpu"]
    if options.command == "finetune":
        _finish(start([*TRAIN, "--device=cpu", f"--out={base}"], lambda: None))
    began = time.perf_counter()

    def note(count: int) -> None:
        moments.open("w").write(str(count))

    _finish(start([*command, f"--out={place / 'whole'}"], lambda: count_moments(note)))
    seconds, last = time.perf_counter() - began, int(moments.read_text())
    whole = files_of(place / "whole")
    unequal: list[list[str]] = []
    killed = begun = finished = 0
    statuses: list[int] = []
    while killed < options.kills:
        folder = place / f"run_{killed}"
        for _ in range(choose.randint(1, 4)):  # a run may be killed more than once
            child = start(
                [*command, f"--out={folder}", "--resume"],
                (lambda: None) if options.by_time else kill_at(choose.randint(1, last)),
            )
            if options.by_time:
                time.sleep(choose.uniform(0, seconds))
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            killed += status == -signal.SIGKILL
            if status not in (0, -signal.SIGKILL):
                statuses.append(status)
            finished += status == 0
            begun += (folder / f"{RESUME}.json").exists()
        status = _finish(start([*command, f"--out={folder}", "--resume"], lambda: None))
        if status:
            statuses.append(status)
        found = files_of(folder)
        if found != whole:
            unequal.append(sorted(k for k in whole | found if whole.get(k) != found.get(k)))
    return {
        "command": options.command,
        "kills": killed,
        "kills_with_something_to_resume": begun,
        "runs_that_had_finished": finished,
        "moments": last,
        "not_bit_equal": unequal,
        "other_statuses": statuses,
    }


def _finish(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    sys.exit(main())
