"""Whole data sets as tensors on one device, served in shuffled, normalised, augmented batches.

    train = Batches(digits, batch_size=128, device="cpu", seed=0, shuffle=True)
    for images, labels in train:            # float32 (b, 1, 28, 28), int64 (b,)
        ...

MNIST is small: 47 MB as bytes. So it moves to the device once, stays there, and all that a
DataLoader's workers do image by image is done here for a batch at once (chapter 1 measures it).

A set that memory does not hold stays in its file: `read_idx(path, mmap=True)` gives images that
`Batches` leaves there and reads batch by batch, in the same order and with the same numbers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from mnist_lab.data.digit_set import DigitSet
from mnist_lab.data.idx import take_images
from mnist_lab.data.normalisation import MNIST_NORMALISATION, Normalisation
from mnist_lab.models.seeding import seeded_generator
from mnist_lab.training.augmentation import Augmentation
from mnist_lab.training.config import Precision
from mnist_lab.training.draws import Draws
from mnist_lab.training.processes import ALONE, Ranks, processes_here

Batch = tuple[Tensor, Tensor]

DEVICES = ("cuda", "mps", "cpu")  # in the order in which "auto" takes them


def count_devices(kind: str) -> float:
    """Return how many processes can each have a device of that kind on this machine."""
    if kind == "cuda":
        return torch.cuda.device_count() if torch.cuda.is_available() else 0
    if kind == "mps":
        return int(torch.backends.mps.is_available())
    return math.inf


def choose_device(name: str = "auto") -> torch.device:
    """Return the device called `name`; "auto" takes CUDA, then MPS, then the CPU.

    Where torchrun has started more processes than there are such devices, "auto" takes the CPU.

    Raises
    ------
    ValueError
        If the name is unknown or this machine has no such device.
    """
    if name == "auto":
        wanted = processes_here()
        return torch.device(next(kind for kind in DEVICES if count_devices(kind) >= wanted))
    match = re.fullmatch(r"(\w+)(:\d+)?", name)
    kind = match[1] if match else ""
    if kind not in DEVICES:
        raise ValueError(f"No device {name!r}: choose auto, cuda, mps or cpu.")
    if not count_devices(kind):
        raise ValueError(f"This machine has no {kind} device that torch can use: choose cpu.")
    return torch.device(name)


def choose_half(device: torch.device) -> Precision:
    """Return the 16-bit precision that a device is made for.

    GPUs of before 2020, such as the T4 that Colab lends, compute in float16; bfloat16 they only
    imitate. All else takes bfloat16, which needs no scaling of the loss.
    """
    if device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        return "float16"
    return "bfloat16"


def move(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a copy of a CPU's tensor on a device, without waiting for it where that can be."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


class Batches:
    """A data set that can be iterated again and again, one epoch each time.

    Epoch number e is shuffled and augmented from (`seed`, e) alone, not from what was drawn before:
    that is what lets a resumed run go on as if it had never stopped.

    Parameters
    ----------
    digits : DigitSet
        It is copied to the device; images that are mapped from a file (np.memmap) stay there.
    batch_size : int
        The last batch of an epoch is smaller where the count does not divide.
    device : str or torch.device
    normalisation : Normalisation
    augmentation : Augmentation, optional
    shuffle : bool
        Training needs it: digits that come sorted, or in one order for ever, train worse.
    seed : int
    ranks : Ranks
        Where several processes train together: each takes its piece of every batch, without
        repeats, and `batch_size` is that of the whole batch. A piece can be empty.
    """

    def __init__(
        self,
        digits: DigitSet,
        batch_size: int = 1_000,
        *,
        device: str | torch.device = "cpu",
        normalisation: Normalisation = MNIST_NORMALISATION,
        augmentation: Augmentation | None = None,
        shuffle: bool = False,
        seed: int = 0,
        ranks: Ranks = ALONE,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be 1 or more, found {batch_size}.")
        self.batch_size = batch_size
        self.device = torch.device(device)
        self.normalisation = normalisation
        self.augmentation = augmentation
        self.shuffle = shuffle
        self.seed = seed
        self.ranks = ranks
        self.epoch = 0
        self.mapped = digits.images if isinstance(digits.images, np.memmap) else None
        # np.array copies: a tensor over somebody's array would change with it.
        here = np.array(digits.images if self.mapped is None else digits.images[:0])
        # Where the digits are gathered: what is mapped comes from the CPU, batch by batch.
        self._home = self.device if self.mapped is None else torch.device("cpu")
        self.images = torch.from_numpy(here).to(self._home)
        self.labels = torch.from_numpy(np.array(digits.labels)).to(self._home)

    def __len__(self) -> int:
        return -(-len(self.labels) // self.batch_size)

    @property
    def count(self) -> int:
        """How many digits an epoch has."""
        return len(self.labels)

    def size_of(self, number: int) -> int:
        """Return how many digits, of all ranks together, batch `number` of an epoch has."""
        return min(self.batch_size, self.count - number * self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        """Yield one epoch: float32 (b, 1, height, width) and int64 (b,) on the device."""
        epoch, self.epoch = self.epoch, self.epoch + 1
        generator = seeded_generator(self.device, self.seed, epoch)
        order = self._order(epoch)
        for number in range(len(self)):
            start, whole = number * self.batch_size, self.size_of(number)
            mine = self.ranks.piece_of(whole)
            chosen = slice(start + mine.start, start + mine.stop)
            if order is None:
                images, labels = self._take(chosen), self.labels[chosen]
            else:
                images = self._take(order[chosen])
                labels = self.labels.index_select(0, order[chosen])
            if self.mapped is not None:
                images, labels = move(images, self.device), move(labels, self.device)
            yield self._prepare(images, Draws(generator, whole, mine)), labels

    def _take(self, chosen: slice | Tensor) -> Tensor:
        """Return the chosen images: uint8 (b, height, width), where the digits are."""
        if self.mapped is not None:
            places = chosen if isinstance(chosen, slice) else chosen.numpy()
            return torch.from_numpy(take_images(self.mapped, places))
        if isinstance(chosen, slice):
            return self.images[chosen]
        return self.images.index_select(0, chosen)

    def _order(self, epoch: int) -> Tensor | None:
        """Draw the order of an epoch on the CPU, so that every device sees the same one."""
        if not self.shuffle:
            return None
        generator = seeded_generator(torch.device("cpu"), self.seed, epoch)
        return torch.randperm(self.count, generator=generator).to(self._home)

    def _prepare(self, images: Tensor, draws: Draws) -> Tensor:
        pixels = images.unsqueeze(1).float()
        if self.augmentation is not None:
            pixels = self.augmentation(pixels, draws)
        return self.normalisation(pixels)
