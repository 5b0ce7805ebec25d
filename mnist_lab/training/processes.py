"""Training in several processes at once: who does what, and what they share.

    torchrun --nproc_per_node=2 -m mnist_lab train --out runs/two      # nothing else to know

    with join(torch.device("cpu")) as ranks:                           # in a script of your own
        fit("small_cnn", train, validation, config, ranks=ranks)

This is data-parallel training with PyTorch's DistributedDataParallel (Li et al. 2020): every
process ("rank", counted from 0) holds the whole network and takes its piece of each batch; the
gradients are averaged before each step, so all ranks take the same step. Processes on CPUs talk
through gloo, processes on GPUs (one each) through NCCL.

The gradient is the mean over the examples of the whole batch, however unevenly it is cut, and
order and augmentation are drawn for the whole batch by every rank. So two processes give what one
does, within rounding, for a network whose examples do not see each other. Two things differ:

- Batch norm takes mean and variance over a rank's own piece, as if the batch were smaller. The
  running statistics of rank 0 are the ones that count: every rank has them at each new batch, and
  they are what is scored and saved. `benchmarks/distributed.py` measures the difference.
- Dropout draws its own masks on each rank, so a run with two is another run, no worse one.

Where a process ends, torchrun ends the others, and its report says which was the first and how it
ended. Those that talk through gloo notice by themselves, with a status that is not 0 and a
sentence. Through NCCL they cannot: the GPU waits, and Python waits for the GPU. Where torchrun does
not end them, NCCL's own watchdog does, after the time that `join` is given.
"""

from __future__ import annotations

import itertools
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from types import FrameType

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

# How long a rank waits for another: validation, which rank 0 does alone, must take less.
TIMEOUT = timedelta(minutes=5)

_JOINS = itertools.count()  # of this process; all processes join equally often


class LostProcessError(ConnectionError):
    """A process that cannot go on with the others; the message is for the person who reads it."""


class Ranks:
    """One process among `size`; `ALONE` where there is no other.

    Attributes
    ----------
    rank : int
        Which one this is, from 0.
    size : int
        How many there are.
    device : torch.device or None
        What this process computes on; None leaves the choice to whoever asks.
    """

    def __init__(self, rank: int = 0, size: int = 1, device: torch.device | None = None) -> None:
        if not 0 <= rank < size:
            raise ValueError(f"rank must be 0 to {size - 1}, found {rank}.")
        self.rank = rank
        self.size = size
        self.device = device
        self.interrupted = False

    @property
    def first(self) -> bool:
        """Whether this process is the one that prints, scores and writes."""
        return self.rank == 0

    def piece_of(self, count: int) -> slice:
        """Return this rank's piece of `count` examples: the pieces follow each other without gap.

        Where the count does not divide, the first ranks have one more; with fewer examples than
        ranks the last ones have none.
        """
        share, left = divmod(count, self.size)
        start = self.rank * share + min(self.rank, left)
        return slice(start, start + share + (self.rank < left))

    def weigh(self, mine: int, whole: int) -> float:
        """Return what a mean over `mine` of `whole` examples is multiplied by.

        Averaged over the ranks, means of such weights are the mean over the whole batch.
        """
        return mine * self.size / whole

    def add_up(self, *numbers: float) -> list[float]:
        """Return each number summed over all ranks. Every rank must call it.

        Raises
        ------
        KeyboardInterrupt
            In all ranks at once, if one was told to stop by Ctrl-C.
        """
        if self.size == 1:
            return list(numbers)
        sums = self._tensor([*numbers, float(self.interrupted)])
        dist.all_reduce(sums)
        *found, interrupted = sums.tolist()
        if interrupted:
            raise KeyboardInterrupt
        return found

    def from_first(self, compute: Callable[[], Sequence[float]], count: int) -> list[float]:
        """Let rank 0 compute `count` numbers and tell them to all. Every rank must call it."""
        numbers = list(compute()) if self.first else [0.0] * count
        if self.size == 1:
            return numbers
        told = self._tensor(numbers)
        dist.broadcast(told, src=0)
        return list(told.tolist())

    def replicate(self, model: nn.Module) -> nn.Module:
        """Return `model` wrapped so that a backward pass averages the gradients over all ranks."""
        return model if self.size == 1 else DistributedDataParallel(model)

    def copy_buffers(self, *models: nn.Module | None) -> None:
        """Give every rank the buffers (running statistics) of rank 0."""
        if self.size == 1:
            return
        for model in models:
            for buffer in model.buffers() if model is not None else ():
                dist.broadcast(buffer, src=0)

    def _tensor(self, numbers: Sequence[float]) -> torch.Tensor:
        return torch.tensor(numbers, dtype=torch.float64, device=self.device)


ALONE = Ranks()


def processes_here() -> int:
    """Return how many processes torchrun has started on this machine to train together."""
    return int(os.environ["LOCAL_WORLD_SIZE"]) if dist.is_torchelastic_launched() else 1


def inside_replica(model: nn.Module) -> nn.Module:
    """Return the network itself, where `Ranks.replicate` has wrapped it."""
    return model.module if isinstance(model, DistributedDataParallel) else model


@contextmanager
def join(device: torch.device, timeout: timedelta = TIMEOUT) -> Iterator[Ranks]:
    """Meet the other processes that torchrun started; without torchrun there is only this one.

    Inside, Ctrl-C stops all ranks after the same step.

    Parameters
    ----------
    device : torch.device
        "cuda" becomes the GPU of this process's number on its machine.
    timeout : timedelta
        How long a rank waits for another before it gives up.

    Raises
    ------
    ValueError
        If the machine has fewer GPUs than processes, or the device cannot be shared by processes.
    LostProcessError
        If torch fails, as it does where another process has ended or does not answer.
    """
    size = int(os.environ["WORLD_SIZE"]) if dist.is_torchelastic_launched() else 1
    if size == 1:
        yield Ranks(device=device)
        return
    ranks = Ranks(int(os.environ["RANK"]), size, _own_device(device))
    try:
        launchers, _, _ = next(rendezvous("env://", ranks.rank, size, timeout=timeout))
        dist.init_process_group(
            "nccl" if device.type == "cuda" else "gloo",
            # In the launcher's store lie the addresses of an earlier block: they are not for this.
            store=PrefixStore(f"mnist_lab/{next(_JOINS)}", launchers),
            rank=ranks.rank,
            world_size=size,
            timeout=timeout,
            # A GPU's first exchange is then now, where an error is caught.
            device_id=ranks.device if device.type == "cuda" else None,
        )
        with _shared_interrupt(ranks):
            yield ranks
    except RuntimeError as error:
        reason = str(error).strip().partition("\n")[0]
        raise LostProcessError(
            f"Process {ranks.rank} of 0 to {size - 1} cannot go on with the others; if one of them "
            f"says why it ended, that is the reason. Here torch said: {reason}. What was saved "
            f"after the last whole epoch can be resumed."
        ) from error
    dist.destroy_process_group()


def _own_device(device: torch.device) -> torch.device:
    """Return the device of this very process."""
    here = int(os.environ["LOCAL_WORLD_SIZE"])
    if device.type == "cuda":
        found = torch.cuda.device_count()
        if here > found:
            raise ValueError(
                f"There are {here} processes but {found} GPU{'s' * (found != 1)} here: start at "
                f"most {found}, or choose the CPU."
            )
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    elif device.type != "cpu" and here > 1:
        raise ValueError(f"Several processes cannot share {device.type}: choose the CPU.")
    return device


@contextmanager
def _shared_interrupt(ranks: Ranks) -> Iterator[None]:
    """Turn Ctrl-C into a flag that the ranks share with their next sum."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        if ranks.interrupted:  # whoever presses twice means at once
            raise KeyboardInterrupt
        ranks.interrupted = True

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
