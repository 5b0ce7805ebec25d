"""Why a compiled step is no quicker on a processor: where its time goes, kind by kind.

    python -m benchmarks.compiled

About 1 minute on one core.

The step of the preset `fast`, as it is written and through `torch.compile`, each with one thread.
Both take turns; what counts is the processor time of a step (not what a clock on the wall shows,
so another program on the machine hardly matters), the median over the turns. Then the profiler
says how the time is shared out: what the library of convolutions does, which compiling
does not touch; what lies between the convolutions (batch norm, ReLU, pooling), which compiling
writes anew; the optimiser; and the rest, most of it Python.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch._inductor.config as inductor
from torch.profiler import ProfilerActivity, profile

from mnist_lab.data import load_mnist, split
from mnist_lab.models import build_model
from mnist_lab.training import Batch, start_training

from .recording import Record, make_parser, read_arguments, working_seconds
from .step import FAST, WARM_UP, kind_of, steps, take

ROUNDS = 21
STEPS_A_ROUND = 25
PROFILED_ROUNDS = 160
STEPS_A_PROFILE = 1

# The kinds of `step`, put together; a loop that compiling wrote has a name of its own.
BETWEEN = "between the convolutions"
PARTS = {
    "convolution, backward": "convolutions",
    "convolution, forward": "convolutions",
    "pooling": BETWEEN,
    "batch norm": BETWEEN,
    "ReLU": BETWEEN,
    "optimiser": "optimiser",
}
OTHER = "all else"


def part_of(name: str) -> str:
    """Return which part of the step an operation belongs to, compiled or not."""
    return BETWEEN if "cpp_fused" in name else PARTS.get(kind_of(name), OTHER)


def milliseconds_by_part(rivals: dict[str, Iterator[Batch]]) -> dict[str, dict[str, float]]:
    """Let the rivals take turns under the profiler; return what a step spends in each part.

    The profiler reads the clock on the wall, so each part counts in the turn in which it was least
    disturbed.
    """
    least: dict[str, dict[str, float]] = {name: {} for name in rivals}
    for _ in range(PROFILED_ROUNDS):
        for name, stepping in rivals.items():
            with profile(activities=[ProfilerActivity.CPU], acc_events=True) as profiler:
                take(stepping, STEPS_A_PROFILE)
            spent = dict.fromkeys(["convolutions", BETWEEN, "optimiser", OTHER], 0.0)
            for event in profiler.key_averages():
                spent[part_of(event.key)] += event.self_cpu_time_total / 1e3 / STEPS_A_PROFILE
            for part, milliseconds in spent.items():
                least[name][part] = round(min(milliseconds, least[name].get(part, math.inf)), 3)
    return least


def processor_milliseconds(rivals: dict[str, Iterator[Batch]]) -> dict[str, float]:
    """Let the rivals take turns; return the processor time of a step in each one's median turn."""
    found: dict[str, list[float]] = {name: [] for name in rivals}
    for _ in range(ROUNDS):
        for name, stepping in rivals.items():
            started = working_seconds()
            take(stepping, STEPS_A_ROUND)
            found[name].append(1e3 * (working_seconds() - started) / STEPS_A_ROUND)
    return {name: round(statistics.median(values), 3) for name, values in found.items()}


def main() -> None:
    """Measure both and write the record."""
    arguments = read_arguments(make_parser(__doc__, threads=1))
    record = Record("compiled", arguments, resume=False)
    # Every loop that compiling writes then has a name for the profiler.
    inductor.cpp.enable_kernel_profile = True
    train = split(load_mnist().train, seed=0)[0]
    size = FAST.config.batch_size
    whole = train.subset(np.arange(len(train) // size * size))  # all batches are of one size
    rivals = {}
    for name in ("eager", "compiled"):
        model: Any = build_model(FAST.model, **FAST.arguments)
        state = start_training(model, whole, replace(FAST.config, hardest_share=1.0))
        if name == "compiled":
            state.model = torch.compile(model)  # type: ignore[assignment]
        rivals[name] = steps(state)
        take(rivals[name], WARM_UP)
    record.parts["results"] = {
        "batch_size": size,
        "processor_milliseconds": processor_milliseconds(rivals),
        "parts": milliseconds_by_part(rivals),
    }
    record.save(record.results)


if __name__ == "__main__":
    main()
