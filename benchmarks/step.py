"""Where the time of a training step goes, and what changes it.

    python -m benchmarks.step [--device cpu|cuda]

About 3 minutes on two idle cores.

Three measurements on the preset `fast`, each step on a batch of its own:

- the profile: which share of a step each kind of operation takes, by torch.profiler;
- milliseconds a step for batches of 16 to 1,024, in float32 and in 16 bits (bfloat16, or float16 on
  a GPU of before 2020), with channels last and with channels first;
- torch.compile: how long the first step takes, and what each later one saves; on a GPU also with
  CUDA graphs (mode "reduce-overhead").

The variants take turns of 50 steps; the median over the turns counts. The clock is read when the
device has done all 50: to wait after each step would measure how long an answer takes to come, and
not how many steps are done in a time.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch.autograd import DeviceType  # type: ignore[attr-defined]
from torch.profiler import ProfilerActivity, profile

from mnist_lab.data import load_mnist, split
from mnist_lab.models import build_model
from mnist_lab.training import (
    PRESETS,
    Batch,
    Precision,
    TrainState,
    choose_half,
    start_training,
    train_step,
)

from .recording import Record, make_parser, read_arguments, wait

FAST = PRESETS["fast"]
SIZES = (16, 32, 64, 128, 256, 512, 1_024)
TURNS = 4
STEPS = 50  # of each turn
WARM_UP = 10  # steps before the first turn, in which kernels are chosen and graphs recorded

# The first pattern that an operation's name holds decides its kind. The fill is the pooling's: its
# backward pass starts from zeros.
KINDS = {
    "convolution, backward": ("convolution_backward", "conv_depthwise2d_backward"),
    "convolution, forward": ("convolution", "conv2d"),
    "pooling": ("max_pool2d", "aten::fill_", "aten::zero"),
    "batch norm": ("batch_norm", "aten::add_"),  # add_: it counts its batches
    "ReLU": ("relu", "clamp_min", "threshold"),
    "optimiser": ("Optimizer", "adam", "foreach"),
    "gather and normalise": ("index", "aten::mul", "aten::sub", "aten::copy_", "aten::_to_copy"),
    "linear layer and loss": ("addmm", "aten::mm", "softmax", "nll_loss", "cross_entropy", "sum"),
}
REST = "Python and all else"


def steps(state: TrainState) -> Iterator[Batch]:
    """Train for ever, one step for each batch that is asked for."""
    state.model.train()
    while True:
        for batch in state.batches:
            train_step(state, batch)
            yield batch


def take(stepping: Iterator[Batch], count: int) -> None:
    """Take so many steps."""
    for _ in range(count):
        next(stepping)


def median_milliseconds(
    variants: dict[str, Iterator[Batch]], device: torch.device
) -> dict[str, Any]:
    """Let the variants take turns; return the milliseconds of a step in each one's median turn."""
    found: dict[str, list[float]] = {name: [] for name in variants}
    for stepping in variants.values():
        take(stepping, WARM_UP)
    for _ in range(TURNS):
        for name, stepping in variants.items():
            wait(device)
            started = time.perf_counter()
            take(stepping, STEPS)
            wait(device)
            found[name].append(1e3 * (time.perf_counter() - started) / STEPS)
    return {name: round(statistics.median(values), 3) for name, values in found.items()}


def kind_of(name: str) -> str:
    """Return which part of the step an operation belongs to."""
    for kind, patterns in KINDS.items():
        if any(pattern in name for pattern in patterns):
            return kind
    return REST


def profile_steps(
    stepping: Iterator[Batch], device: torch.device, count: int = 100
) -> dict[str, float]:
    """Return the share of each kind of operation in the time of `count` steps."""
    take(stepping, WARM_UP)
    on_gpu = device.type == "cuda"
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * on_gpu
    wait(device)
    with profile(activities=activities, acc_events=True) as profiler:
        started = time.perf_counter()
        take(stepping, count)
        wait(device)
        microseconds = 1e6 * (time.perf_counter() - started)
    return share_out(profiler.key_averages(), microseconds, on_gpu)


def share_out(events: Iterable[Any], microseconds: float, on_gpu: bool) -> dict[str, float]:
    """Return the share of each kind of operation; of a GPU's time, that of what it launched.

    A kernel stands among the events twice, once as itself and once as the time of the operation
    that launched it. The operation alone counts: its name says what it is for.
    """
    shares = dict.fromkeys([*KINDS, REST], 0.0)
    for event in events:
        if event.device_type == DeviceType.CPU:
            own = event.self_device_time_total if on_gpu else event.self_cpu_time_total
            shares[kind_of(event.key)] += own / microseconds
    shares[REST] += 1 - sum(shares.values())  # what no operation accounts for
    return {kind: round(share, 4) for kind, share in shares.items()}


def main() -> None:
    """Measure all three and write the record."""
    arguments = read_arguments(make_parser(__doc__, devices=("cpu", "cuda")))
    record = Record("step", arguments, resume=False)
    device = torch.device(arguments.device)
    train = split(load_mnist().train, seed=0)[0]

    def stepping(
        size: int, *, last: bool = True, precision: Precision = "float32", mode: str | None = None
    ) -> Iterator[Batch]:
        model: Any = build_model(FAST.model, **FAST.arguments).to(device)
        # All digits: what is timed is a step, and not the choice of the hardest.
        config = replace(FAST.config, precision=precision, batch_size=size, hardest_share=1.0)
        whole = train.subset(np.arange(len(train) // size * size))  # all batches are of one size
        state = start_training(model, whole, config)
        if not last:
            model.to(memory_format=torch.contiguous_format)
        if mode is not None:
            state.model = torch.compile(model, mode=mode)  # type: ignore[assignment]
        return steps(state)

    size, half = FAST.config.batch_size, choose_half(device)
    shares = profile_steps(stepping(size), device)
    by_size: dict[str, dict[str, float]] = {}
    for count in SIZES:
        variants = {
            "float32": stepping(count),
            half: stepping(count, precision=half),
            "channels first": stepping(count, last=False),
        }
        by_size[str(count)] = median_milliseconds(variants, device)
        print(count, by_size[str(count)], flush=True)
    compiled = stepping(size, mode="default")
    started = time.perf_counter()
    next(compiled)
    wait(device)
    first = time.perf_counter() - started
    rivals = {"eager": stepping(size), "compiled": compiled}
    if device.type == "cuda":
        rivals["CUDA graphs"] = stepping(size, mode="reduce-overhead")
    later = median_milliseconds(rivals, device)
    record.parts["results"] = {
        "batch_size": size,
        "profile": shares,
        "milliseconds": by_size,
        "compile": {"first_step_seconds": round(first, 2), "milliseconds": later},
    }
    record.save(record.results)


if __name__ == "__main__":
    main()
