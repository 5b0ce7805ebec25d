"""Batches: every image once an epoch, in an order and with numbers that can be told beforehand."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mnist_lab.data.digit_set import DigitSet
from mnist_lab.data.idx import read_idx
from mnist_lab.data.normalisation import MNIST_NORMALISATION, Normalisation
from mnist_lab.models.seeding import seeded_generator
from mnist_lab.training.augmentation import Augmentation
from mnist_lab.training.batches import Batches, choose_device
from mnist_lab.training.processes import Ranks
from tests.data.idx_files import write_idx


def numbered(count: int, size: int = 4) -> DigitSet:
    """Return digits whose first two pixels hold their own number."""
    images = np.zeros((count, size, size), np.uint8)
    images[:, 0, 0], images[:, 0, 1] = np.divmod(np.arange(count), 256)
    return DigitSet(images, np.arange(count) % 10)


RAW = Normalisation(mean=0.0, deviation=1 / 255)  # leaves pixels as they are


def order_of(batches: Batches) -> list[int]:
    """Run one epoch and return the numbers of the images in the order in which they came."""
    found: list[int] = []
    for images, labels in batches:
        pixels = images[:, 0, 0, :2].round().int()
        numbers = pixels[:, 0] * 256 + pixels[:, 1]
        assert (numbers % 10 == labels).all()  # a label stays with its image
        found += numbers.tolist()
    return found


class TestNormalisation:
    def test_equals_the_formula_in_numpy(self) -> None:
        pixels = np.arange(256, dtype=np.uint8)
        for mean, deviation in ((0.1307, 0.3081), (0.5, 0.5), (0.0, 1.0)):
            found = Normalisation(mean, deviation)(torch.from_numpy(pixels))
            expected = (pixels / 255 - mean) / deviation
            assert found.dtype == torch.float32
            assert np.allclose(found.numpy(), expected, atol=2e-6)

    def test_gives_mnist_mean_0_and_deviation_1(
        self, small_sets: tuple[DigitSet, DigitSet]
    ) -> None:
        normalised = Normalisation()(torch.from_numpy(small_sets[0].images))
        assert float(normalised.mean()) == pytest.approx(0, abs=0.02)
        assert float(normalised.std()) == pytest.approx(1, abs=0.02)

    def test_can_be_undone(self, small_sets: tuple[DigitSet, DigitSet]) -> None:
        pixels = torch.from_numpy(small_sets[0].images)
        for normalisation in (MNIST_NORMALISATION, Normalisation(0.5, 0.25)):
            back = normalisation.undo(normalisation(pixels))
            assert torch.allclose(back, pixels / 255, atol=1e-6)

    @pytest.mark.parametrize("deviation", [0.0, -0.3, float("nan"), float("inf")])
    def test_refuses_a_deviation_that_cannot_be_one(self, deviation: float) -> None:
        with pytest.raises(ValueError, match=r"^deviation must be above 0.*, found .*\.$"):
            Normalisation(0.1, deviation)

    @pytest.mark.parametrize("mean", [float("nan"), float("-inf")])
    def test_refuses_a_mean_that_is_no_number(self, mean: float) -> None:
        with pytest.raises(ValueError, match=r"^mean must be finite, found .*\.$"):
            Normalisation(mean, 1.0)


class TestEpoch:
    @pytest.mark.parametrize(("count", "size"), [(10, 3), (9, 3), (5, 8), (1, 1), (300, 64)])
    @pytest.mark.parametrize("shuffle", [False, True])
    def test_holds_every_image_once_and_a_short_last_batch(
        self, count: int, size: int, shuffle: bool
    ) -> None:
        batches = Batches(numbered(count), size, shuffle=shuffle, normalisation=RAW)
        lengths = [len(labels) for _, labels in batches]
        assert len(batches) == len(lengths) == -(-count // size)
        assert lengths[:-1] == [size] * (len(lengths) - 1)
        assert lengths[-1] == (count - 1) % size + 1
        assert batches.count == sum(lengths) == count
        assert sorted(order_of(batches)) == list(range(count))

    def test_shapes_and_types(self) -> None:
        digits = DigitSet(np.zeros((5, 20, 30), np.uint8), np.zeros(5, np.int64))
        images, labels = next(iter(Batches(digits, 4)))
        assert (images.shape, images.dtype) == ((4, 1, 20, 30), torch.float32)
        assert (labels.shape, labels.dtype) == ((4,), torch.int64)

    def test_each_epoch_on_the_cpu_has_another_order(self) -> None:
        batches = Batches(numbered(300), 32, device="cpu", shuffle=True, normalisation=RAW)
        epochs = [order_of(batches) for _ in range(4)]
        for index, order in enumerate(epochs):
            assert order != list(range(300))
            assert order not in epochs[:index]
            # A real permutation: some 1 in 300 stays where it was, and neighbours part.
            assert sum(number == place for place, number in enumerate(order)) < 10

    def test_shuffled_batches_mix_the_classes_of_sorted_digits(self) -> None:
        digits = DigitSet(np.zeros((500, 4, 4), np.uint8), np.repeat(np.arange(10), 50))
        for _, labels in Batches(digits, 100, shuffle=True):
            assert len(labels.unique()) >= 8

    def test_without_shuffling_the_order_is_the_data_sets(self) -> None:
        batches = Batches(numbered(50), 7, normalisation=RAW)
        assert order_of(batches) == order_of(batches) == list(range(50))

    def test_the_order_depends_on_seed_and_epoch_alone(self) -> None:
        def epoch(seed: int, number: int, size: int = 16) -> list[int]:
            batches = Batches(numbered(100), size, shuffle=True, seed=seed, normalisation=RAW)
            batches.epoch = number
            torch.rand(number + 3)  # whatever else was drawn does not matter
            return order_of(batches)

        straight = Batches(numbered(100), 16, shuffle=True, seed=1, normalisation=RAW)
        first, second, third = (order_of(straight) for _ in range(3))
        assert epoch(1, 2) == third
        assert epoch(1, 0, size=9) == first
        assert epoch(2, 0) != first
        assert epoch(1, 1) == second != first

    def test_leaves_the_global_generator_alone(self) -> None:
        state = torch.get_rng_state()
        augmentation = Augmentation(shift=1, elastic_strength=10)
        order_of(Batches(numbered(20, 28), 6, shuffle=True, normalisation=RAW))
        list(Batches(numbered(20, 28), 6, shuffle=True, augmentation=augmentation))
        assert torch.equal(torch.get_rng_state(), state)

    def test_does_not_change_with_the_array_it_was_made_of(self) -> None:
        digits = numbered(4)
        batches = Batches(digits, normalisation=RAW)
        digits.images[:] = 255
        digits.labels[:] = 9
        assert order_of(batches) == [0, 1, 2, 3]

    @pytest.mark.parametrize("size", [0, -1])
    def test_refuses_a_batch_size_below_1(self, size: int) -> None:
        with pytest.raises(ValueError, match=rf"batch_size must be 1 or more, found {size}\."):
            Batches(numbered(3), size)


class TestAugmented:
    def test_augments_pixels_and_then_normalises(
        self, small_sets: tuple[DigitSet, DigitSet]
    ) -> None:
        seen: list[torch.Tensor] = []

        class Spy(Augmentation):
            def __call__(self, images: torch.Tensor, *drawn: Any) -> torch.Tensor:
                seen.append(images)
                return super().__call__(images, *drawn)

        digits = small_sets[0].subset(np.arange(100))
        batches = Batches(digits, 100, augmentation=Spy(shift=3), shuffle=True, seed=4)
        ((images, _),) = list(batches)
        (before,) = seen
        assert (float(before.min()), float(before.max())) == (0, 255)
        # What came in from outside is paper, which normalised is no zero.
        paper = -0.1307 / 0.3081
        assert images[:, 0, [0, 27]].median() == pytest.approx(paper, abs=1e-5)
        assert float(images.min()) == pytest.approx(paper, abs=1e-5)

    def test_each_epoch_draws_anew_and_repeats_by_its_number(
        self, small_sets: tuple[DigitSet, DigitSet]
    ) -> None:
        digits = small_sets[0].subset(np.arange(20))
        batches = Batches(digits, 20, augmentation=Augmentation(rotate=10, elastic_strength=20))
        first, second = (next(iter(batches))[0] for _ in range(2))
        batches.epoch = 0
        again = next(iter(batches))[0]
        assert torch.equal(first, again)
        assert not torch.allclose(first, second)


class TestMapped:
    @pytest.mark.parametrize("shuffle", [False, True])
    @pytest.mark.parametrize("ranks", [Ranks(), Ranks(1, 2)])
    def test_gives_what_memory_gives(
        self, shuffle: bool, ranks: Ranks, small_sets: tuple[DigitSet, DigitSet], tmp_path: Path
    ) -> None:
        digits = small_sets[0].subset(np.arange(100))
        mapped = replace(digits, images=mapped_copy(digits.images, tmp_path))
        augmentation = Augmentation(rotate=10, elastic_strength=10)
        ours, theirs = (
            Batches(given, 16, augmentation=augmentation, shuffle=shuffle, seed=2, ranks=ranks)
            for given in (mapped, digits)
        )
        assert len(ours.images) == 0  # all that memory holds
        assert (len(ours), ours.count) == (7, 100)
        for _ in range(2):
            for one, other in zip(ours, theirs, strict=True):
                assert torch.equal(one[0], other[0])
                assert torch.equal(one[1], other[1])

    @pytest.mark.skipif(sys.platform != "linux", reason="asks /proc for the memory in use")
    def test_a_large_file_is_read_in_little_memory(self, tmp_path: Path) -> None:
        count, side = 1 << 16, 64
        path = tmp_path / "vast-images-idx3-ubyte"
        path.write_bytes(struct.pack(">BBBB3I", 0, 0, 8, 3, count, side, side))
        os.truncate(path, 16 + (256 << 20))  # holes, which take no room on the disk
        try:
            with path.open("r+b") as file:
                for place in (0, 54_321, count - 1):
                    file.seek(16 + place * side * side)
                    file.write(bytes([255]) * side * side)
            ended = subprocess.run(
                [sys.executable, "-c", READ_A_LARGE_FILE, str(path)],
                capture_output=True,
                text=True,
                check=True,
            )
        finally:
            path.unlink()
        found = json.loads(ended.stdout)
        assert found["images"] == count
        assert found["inked"] == 3  # each image once, and the last of the file among them
        assert found["megabytes"] < 200  # half of it is torch's own, and none is the file's


def mapped_copy(images: np.ndarray, folder: Path) -> np.ndarray:
    write_idx(folder / "mapped", images)
    return read_idx(folder / "mapped", mmap=True)


READ_A_LARGE_FILE = """
import json, sys
from pathlib import Path
import numpy as np
import torch
from mnist_lab.data import DigitSet, read_idx
from mnist_lab.training.batches import Batches

def megabytes():
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(dict(line.split(":") for line in lines)["VmHWM"].split()[0]) / 1024

torch.set_num_threads(1)
before = megabytes()
mapped = read_idx(sys.argv[1], mmap=True)
digits = DigitSet(mapped, np.zeros(len(mapped), np.int64))
images = inked = 0
for batch, labels in Batches(digits, 512, shuffle=True):
    images += len(batch)
    inked += int((batch.amax((1, 2, 3)) > 1).sum())
print(json.dumps({"images": images, "inked": inked, "megabytes": megabytes() - before}))
"""


class TestDevice:
    def test_auto_takes_cuda_then_mps_then_cpu(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for cuda, mps, expected in (
            (True, True, "cuda"),
            (False, True, "mps"),
            (False, False, "cpu"),
        ):
            monkeypatch.setattr(torch.cuda, "is_available", lambda answer=cuda: answer)
            monkeypatch.setattr(torch.cuda, "device_count", lambda answer=cuda: int(answer))
            monkeypatch.setattr(torch.backends.mps, "is_available", lambda answer=mps: answer)
            assert choose_device("auto").type == expected
            assert choose_device("cpu").type == "cpu"

    @pytest.mark.parametrize("name", ["tpu", "", "gpu", "CPU", "cpu:x", "cuda:first"])
    def test_an_unknown_name_is_one_sentence(
        self, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        with pytest.raises(ValueError, match=r"^No device '.*': choose auto, cuda, mps or cpu\.$"):
            choose_device(name)

    @pytest.mark.parametrize("name", ["cuda", "cuda:1", "mps"])
    def test_a_device_that_is_not_there_is_one_sentence(
        self, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
        kind = name.partition(":")[0]
        with pytest.raises(ValueError, match=rf"^This machine has no {kind} device .*\.$"):
            choose_device(name)


def test_seeded_generators_differ_by_any_of_their_numbers() -> None:
    cpu = torch.device("cpu")
    seeds = {
        seeded_generator(cpu, *numbers).initial_seed()
        for numbers in [(0, 0), (0, 1), (1, 0), (0, 0, 1), (2, 3), (3, 2)]
    }
    assert len(seeds) == 6
    assert all(0 <= seed < 2**63 for seed in seeds)
    one, again = (torch.rand(3, generator=seeded_generator(cpu, 5, 7)) for _ in range(2))
    assert torch.equal(one, again)


def test_default_normalisation_is_mnists() -> None:
    assert Normalisation(0.1307, 0.3081) == MNIST_NORMALISATION
