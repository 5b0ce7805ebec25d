"""Data: right when it is right, one clear sentence when it is not."""

from __future__ import annotations

import gzip
import lzma
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mnist_lab.data import digit_set, mnist, own_files
from mnist_lab.data.digit_set import DataError, DigitSet, align_classes
from mnist_lab.data.idx import IDX_TYPES, parse_idx, read_idx, take_images, write_idx
from mnist_lab.data.mnist import MNIST, lay_out_for_torchvision
from mnist_lab.data.other_sets import load_from_torchvision, load_uci_digits
from mnist_lab.data.own_files import (
    load_idx_folder,
    load_image_folder,
    load_npz,
    load_path,
    save_npz,
)
from mnist_lab.data.splits import few_labels, keep_classes, split
from mnist_lab.files import write_atomically


def digits(n: int = 4, size: int = 28) -> DigitSet:
    images = np.arange(n * size * size, dtype=np.uint8).reshape(n, size, size)
    return DigitSet(images, np.arange(n, dtype=np.int64))


def run_python(code: str) -> str:
    """Run code in a process of its own and return what it prints."""
    command = [sys.executable, "-c", textwrap.dedent(code)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


class TestMnist:
    def test_has_the_published_shape(self, mnist: MNIST) -> None:
        assert mnist.train.images.shape == (60_000, 28, 28)
        assert mnist.test.images.shape == (10_000, 28, 28)
        assert mnist.train.images.dtype == np.uint8
        assert mnist.train.labels.dtype == np.int64
        assert (mnist.train.part, mnist.test.part) == ("train", "test")
        # The counts that LeCun et al. publish.
        assert mnist.train.class_counts().tolist() == [
            *(5923, 6742, 5958, 6131, 5842),
            *(5421, 5918, 6265, 5851, 5949),
        ]

    def test_needs_no_torch_little_memory_and_no_writable_disk(self, tmp_path: Path) -> None:
        printed = run_python(
            """
            import sys, tempfile, tracemalloc
            from pathlib import Path
            status = Path("/proc/self/status")
            if not status.exists():
                tracemalloc.start()
            def refuse(*_, **__): raise OSError("read-only")
            tempfile.mkstemp = refuse
            import mnist_lab, mnist_lab.data
            mnist = mnist_lab.mnist.load_mnist()
            assert len(mnist.train) == 60_000
            if status.exists():  # the highest resident size of this very process
                lines = dict(line.split(":") for line in status.read_text().splitlines())
                megabytes = int(lines["VmHWM"].split()[0]) / 1024
            else:
                megabytes = 40 + tracemalloc.get_traced_memory()[1] / 1024**2
            print("torch" in sys.modules, megabytes)
            """
        )
        has_torch, megabytes = printed.split()
        assert has_torch == "False"
        assert float(megabytes) < 250

    @pytest.mark.parametrize("damage", ["cut", "flip", "foreign", "missing"])
    def test_refuses_a_damaged_file(
        self, damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        source = Path(own_files.__file__).parent / "data"
        (tmp_path / "data").mkdir()
        for path in source.glob("*.xz"):
            (tmp_path / "data" / path.name).write_bytes(path.read_bytes())
        victim = tmp_path / "data" / "t10k-labels-idx1-ubyte.xz"
        content = victim.read_bytes()
        if damage == "cut":
            victim.write_bytes(content[: len(content) // 2])
        elif damage == "flip":
            labels = bytearray(lzma.decompress(content))
            labels[100] ^= 1
            victim.write_bytes(lzma.compress(labels))
        elif damage == "foreign":
            victim.write_bytes(b"this is no xz file")
        else:
            victim.unlink()
        monkeypatch.setattr(own_files.resources, "files", lambda _: tmp_path)
        with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte\.xz in the package"):
            mnist.load_mnist()

    def test_torchvision_reads_the_files_laid_out_for_it(
        self, mnist: MNIST, tmp_path: Path
    ) -> None:
        folder = lay_out_for_torchvision(tmp_path)
        (folder / "t10k-labels-idx1-ubyte").write_bytes(b"half a file")
        lay_out_for_torchvision(tmp_path)  # mends what is wrong
        train = torchvision.mnist.MNIST(tmp_path, train=True, download=False)
        test = torchvision.mnist.MNIST(tmp_path, train=False, download=False)
        assert (train.data.numpy() == mnist.train.images).all()
        assert (test.targets.numpy() == mnist.test.labels).all()


class TestDigitSet:
    @pytest.mark.parametrize(
        ("images", "labels", "complaint"),
        [
            (np.zeros((2, 28, 28)), np.array([0, 1]), r"uint8 .*found float64"),
            (np.zeros((2, 784), np.uint8), np.array([0, 1]), r"\(n, height, width\)"),
            (np.zeros((2, 28, 28), np.uint8), np.array([0, 1, 2]), "2 images but 3 labels"),
            (np.zeros((2, 28, 28), np.uint8), np.array([0.0, 1.0]), "whole numbers"),
            (np.zeros((2, 28, 28), np.uint8), np.array([0, 10]), "label 10 is outside the 10"),
            (np.zeros((2, 28, 28), np.uint8), np.array([-1, 1]), "label -1 is outside"),
            (np.zeros((0, 28, 28), np.uint8), np.array([], int), "empty"),
            (np.zeros((2, 0, 28), np.uint8), np.array([0, 1]), "hold nothing"),
            (np.zeros((2, 28, 28), np.uint8), [0, 1], "found list"),
        ],
    )
    def test_refuses_what_does_not_fit(
        self, images: np.ndarray, labels: np.ndarray, complaint: str
    ) -> None:
        with pytest.raises(DataError, match=complaint):
            DigitSet(images, labels)

    def test_subset_keeps_images_and_labels_together(self) -> None:
        chosen = digits(6).subset([5, 2])
        assert chosen.labels.tolist() == [5, 2]
        assert (chosen.images[0] == digits(6).images[5]).all()


class TestIdx:
    @given(
        code=st.sampled_from(sorted(IDX_TYPES)),
        shape=st.lists(st.integers(0, 5), min_size=1, max_size=4),
        seed=st.integers(0, 1000),
        packing=st.sampled_from(["", ".gz", ".xz"]),
    )
    @settings(max_examples=60, deadline=None)
    def test_returns_what_was_written(
        self, code: int, shape: list[int], seed: int, packing: str, tmp_path_factory: object
    ) -> None:
        folder = tmp_path_factory.mktemp("idx")  # type: ignore[attr-defined]
        bits = np.random.default_rng(seed).integers(0, 256, (*shape, IDX_TYPES[code].itemsize))
        array = bits.astype(np.uint8).view(IDX_TYPES[code]).reshape(shape)
        array = np.nan_to_num(array).astype(array.dtype.newbyteorder("="))
        write_idx(folder / f"x{packing}", array)
        found = read_idx(folder / f"x{packing}")
        assert found.dtype == array.dtype
        assert found.shape == array.shape
        assert (found == array).all()

    def test_writes_the_bytes_that_the_format_demands(self, tmp_path: Path) -> None:
        write_idx(tmp_path / "x", np.array([[1, 258]], np.int16))
        expected = bytes.fromhex("00000b02 00000001 00000002 0001 0102")
        assert (tmp_path / "x").read_bytes() == expected

    @pytest.mark.parametrize(
        ("content", "complaint"),
        [
            (b"", "it has 0 bytes"),
            (b"\0\0\x08", "it has 3 bytes"),
            (b"PK\x03\x04 something else", "it starts with 50 4b 03 04"),
            (b"\0\0\x07\x01\0\0\0\x01\0", "it starts with 00 00 07 01"),
            (b"\0\0\x08\x00", "at least one dimension"),
            (b"\0\0\x08\x03\0\0\0\x01", "cut short: a header of 3 dimensions"),
            (b"\0\0\x08\x01\0\0\0\x05abcd", "cut short: .*13 bytes in all, found 12"),
            (b"\0\0\x08\x01\0\0\0\x02abcd", "too long: .*10 bytes in all"),
            (b"\0\0\x0e\x03\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "cut short"),
        ],
    )
    @pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress])
    def test_refuses_damage_naming_file_found_and_expected(
        self, content: bytes, complaint: str, pack: object, tmp_path: Path
    ) -> None:
        path = tmp_path / "images-idx3-ubyte"
        path.write_bytes(pack(content))  # type: ignore[operator]
        with pytest.raises(DataError, match=complaint) as caught:
            read_idx(path)
        assert str(path) in str(caught.value)
        with pytest.raises(DataError, match=complaint if pack is bytes else "is packed") as caught:
            read_idx(path, mmap=True)
        assert str(path) in str(caught.value)

    @pytest.mark.parametrize("code", sorted(IDX_TYPES))
    @pytest.mark.parametrize("shape", [(7,), (5, 3, 2), (4, 0)])
    def test_a_map_holds_what_reading_gives(
        self, code: int, shape: tuple[int, ...], tmp_path: Path
    ) -> None:
        array = np.arange(np.prod(shape)).reshape(shape).astype(IDX_TYPES[code].newbyteorder("="))
        write_idx(tmp_path / "x", array)
        mapped = read_idx(tmp_path / "x", mmap=True)
        assert isinstance(mapped, np.memmap) == (array.size > 0)
        assert mapped.shape == shape
        assert (mapped == array).all()
        if array.size:
            with pytest.raises(ValueError, match="read-only"):
                mapped[0] = 0

    @pytest.mark.parametrize("packed", ["x.gz", "x.xz"])
    def test_what_is_packed_cannot_be_mapped(self, packed: str, tmp_path: Path) -> None:
        write_idx(tmp_path / packed, np.arange(5, dtype=np.uint8))
        with pytest.raises(DataError) as caught:
            read_idx(tmp_path / packed, mmap=True)
        assert str(caught.value) == (
            f"{tmp_path / packed} is packed, and a packed file cannot be mapped: unpack it, or "
            f"read it whole."
        )

    @pytest.mark.parametrize("pack", [gzip.compress, lzma.compress])
    def test_refuses_a_packed_file_that_is_cut(self, pack: object, tmp_path: Path) -> None:
        path = tmp_path / "cut"
        path.write_bytes(pack(b"\0\0\x08\x01\0\0\x03\xe8" + bytes(1000))[:-9])  # type: ignore[operator]
        with pytest.raises(DataError, match="cut"):
            read_idx(path)

    def test_a_small_file_cannot_unpack_without_bound(self, tmp_path: Path) -> None:
        path = tmp_path / "bomb.gz"
        path.write_bytes(gzip.compress(b"\0\0\x08\x01\0\0\0\x05" + bytes(200_000_000), 1))
        with pytest.raises(DataError, match=r"too long: .*found 14|too long: .*found 1,02"):
            read_idx(path)

    @pytest.mark.parametrize("array", [np.array(["a"]), np.array([1 + 2j]), np.float32(1)])
    def test_refuses_to_write_what_the_format_cannot_hold(
        self, array: np.ndarray, tmp_path: Path
    ) -> None:
        with pytest.raises(DataError, match="IDX files"):
            write_idx(tmp_path / "x", array)
        assert not list(tmp_path.iterdir())

    def test_missing_file(self, tmp_path: Path) -> None:
        for mapped in (False, True):
            with pytest.raises(DataError, match="does not exist"):
                read_idx(tmp_path / "nothing", mmap=mapped)

    def test_parse_shares_no_memory_with_bytes_it_could_not_write(self) -> None:
        content = bytearray(b"\0\0\x08\x01\0\0\0\x02ab")
        parse_idx(content)[0] = 99
        assert content[8] == 99  # a bytearray is shared, as the docstring says


class TestOwnFiles:
    def test_npz_round_trip(self, tmp_path: Path) -> None:
        save_npz(tmp_path / "mine.npz", digits())
        found = load_path(tmp_path / "mine.npz")
        assert (found.images == digits().images).all()
        assert found.labels.tolist() == [0, 1, 2, 3]
        assert found.class_names == digits().class_names

    @pytest.mark.parametrize(
        ("arrays", "complaint"),
        [
            ({"images": np.zeros((1, 28, 28), np.uint8)}, "no array 'labels'; it holds images"),
            ({"x": np.zeros(1), "labels": np.zeros(1, int)}, "no array 'images'"),
            (
                {"images": np.zeros((1, 28, 28), np.uint8), "labels": np.array([{}], object)},
                "pickled objects",
            ),
            (
                {"images": np.zeros((1, 28, 28), np.float32), "labels": np.zeros(1, int)},
                "uint8",
            ),
            (
                {"images": np.zeros((1, 28, 28), np.uint8), "labels": np.array([11])},
                "label 11",
            ),
        ],
    )
    def test_npz_that_is_wrong(
        self, arrays: dict[str, np.ndarray], complaint: str, tmp_path: Path
    ) -> None:
        path = tmp_path / "wrong.npz"
        np.savez(path, **arrays)
        with pytest.raises(DataError, match=complaint) as caught:
            load_npz(path)
        assert str(path) in str(caught.value)

    @pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04 half a zip"])
    def test_npz_that_is_none(self, content: bytes, tmp_path: Path) -> None:
        path = tmp_path / "broken.npz"
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"broken\.npz"):
            load_npz(path)

    def test_npy_named_npz(self, tmp_path: Path) -> None:
        with (tmp_path / "single.npz").open("wb") as file:
            np.save(file, np.zeros(3))
        with pytest.raises(DataError, match="a single array"):
            load_npz(tmp_path / "single.npz")

    def test_idx_folder_takes_the_test_part(self, tmp_path: Path) -> None:
        for prefix, n in (("train", 3), ("t10k", 2)):
            write_idx(tmp_path / f"{prefix}-images-idx3-ubyte", digits(n).images)
            labels = digits(n).labels.astype(np.uint8)
            write_idx(tmp_path / f"{prefix}-labels-idx1-ubyte.gz", labels)
        found = load_path(tmp_path)
        assert len(found) == 2
        assert found.part == "test"

    def test_idx_folder_can_stay_in_its_file(self, tmp_path: Path) -> None:
        expected = DigitSet(np.arange(120, dtype=np.uint8).reshape(6, 4, 5), np.arange(6))
        write_idx(tmp_path / "a-images-idx3-ubyte", expected.images)
        write_idx(tmp_path / "a-labels-idx1-ubyte.xz", expected.labels.astype(np.uint8))
        mapped = load_idx_folder(tmp_path, mmap=True)
        assert (mapped.labels == expected.labels).all()
        for cut in (mapped, mapped.subset(slice(0, 4)), mapped.subset(slice(2, None))):
            assert isinstance(cut.images, np.memmap)
        places = np.array([5, 0, 3, 0])
        for images in (mapped.images, mapped.subset(slice(0, None)).images, expected.images):
            taken = take_images(images, places)
            assert type(taken) is np.ndarray
            assert taken.flags.writeable
            assert (taken == expected.images[places]).all()
            assert (take_images(images, slice(1, 9)) == expected.images[1:]).all()
        copied = mapped.subset(places)
        assert not isinstance(copied.images, np.memmap)
        assert (copied.labels == places).all()

    def test_idx_folder_with_one_half(self, tmp_path: Path) -> None:
        write_idx(tmp_path / "train-images-idx3-ubyte", digits().images)
        with pytest.raises(DataError, match=r"no pair .* found train-images-idx3-ubyte"):
            load_idx_folder(tmp_path)

    def test_idx_folder_with_counts_that_differ(self, tmp_path: Path) -> None:
        write_idx(tmp_path / "a-images-idx3-ubyte", digits(4).images)
        write_idx(tmp_path / "a-labels-idx1-ubyte", digits(3).labels.astype(np.uint8))
        with pytest.raises(DataError, match="4 images but 3 labels"):
            load_path(tmp_path)

    def make_image_folder(self, root: Path) -> None:
        for name, ink in (("3", 30), ("7", 70)):
            (root / name).mkdir()
            for number in range(2):
                image = Image.fromarray(np.full((28, 28), ink + number, np.uint8))
                image.save(root / name / f"{number}.png")

    def test_image_folder(self, tmp_path: Path) -> None:
        self.make_image_folder(tmp_path)
        found = load_path(tmp_path)
        assert found.class_names == ("3", "7")
        assert found.labels.tolist() == [0, 0, 1, 1]
        assert found.images[:, 0, 0].tolist() == [30, 31, 70, 71]
        aligned = align_classes(found, digit_set.DIGIT_NAMES)
        assert aligned.labels.tolist() == [3, 3, 7, 7]

    def test_classes_that_a_model_does_not_know(self, tmp_path: Path) -> None:
        self.make_image_folder(tmp_path)
        (tmp_path / "7").rename(tmp_path / "seven")
        with pytest.raises(DataError, match="'seven' is not one of the model's"):
            align_classes(load_path(tmp_path), digit_set.DIGIT_NAMES)

    @pytest.mark.parametrize("fault", ["no image", "other size", "empty class", "no class"])
    def test_image_folder_that_is_wrong(self, fault: str, tmp_path: Path) -> None:
        self.make_image_folder(tmp_path)
        if fault == "no image":
            (tmp_path / "3" / "notes.txt").write_text("not an image")
            complaint = "notes.txt cannot be read as an image"
        elif fault == "other size":
            Image.new("L", (10, 12)).save(tmp_path / "7" / "z.png")
            complaint = "z.png has 10x12 pixels, the images before it 28x28"
        elif fault == "empty class":
            (tmp_path / "9").mkdir()
            complaint = "9 is empty"
        else:
            for child in list(tmp_path.iterdir()):
                child.rename(tmp_path.parent / child.name)
            (tmp_path / "note.md").write_text("")
            complaint = "no sub-folder"
        with pytest.raises(DataError, match=complaint):
            load_image_folder(tmp_path)

    def test_empty_folder_missing_folder_and_other_file(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="is empty"):
            load_path(tmp_path)
        with pytest.raises(DataError, match="does not exist"):
            load_path(tmp_path / "nowhere")
        (tmp_path / "digits.csv").write_text("1,2,3")
        with pytest.raises(DataError, match=r"digits.csv is neither an \.npz nor a folder"):
            load_path(tmp_path / "digits.csv")


class TestOtherDataSets:
    def test_uci_digits_look_like_mnist(self) -> None:
        uci = load_uci_digits()
        assert uci.images.shape == (1_797, 28, 28)
        assert uci.part == "test"
        rows, columns = np.mgrid[:28, :28]
        weights = uci.images.astype(float)
        total = weights.sum((1, 2))
        centre = np.stack([(weights * a).sum((1, 2)) / total for a in (rows, columns)])
        assert np.abs(centre - 13.5).max() < 1
        assert (uci.images[:, [0, 1, 26, 27]] > 0).mean() < 0.01  # paper on the rim
        assert uci.images.max() > 250

    def write_emnist(self, root: Path) -> np.ndarray:
        """Write what torchvision expects of EMNIST letters, transposed as EMNIST is."""
        raw = root / "EMNIST" / "raw"
        raw.mkdir(parents=True)
        upright = np.zeros((3, 28, 28), np.uint8)
        upright[:, 2:26, 5] = 255  # a vertical stroke
        for part in ("train", "test"):
            stored = upright.transpose(0, 2, 1)
            write_idx(raw / f"emnist-letters-{part}-images-idx3-ubyte", stored)
            labels = np.array([1, 2, 26], np.uint8)
            write_idx(raw / f"emnist-letters-{part}-labels-idx1-ubyte", labels)
        return upright

    def test_emnist_letters_are_turned_upright_and_counted_from_0(self, tmp_path: Path) -> None:
        upright = self.write_emnist(tmp_path)
        found = load_from_torchvision("emnist-letters", tmp_path, "test")
        assert (found.images == upright).all()
        assert [found.class_names[label] for label in found.labels] == ["a", "b", "z"]
        assert found.part == "test"

    def test_absence_is_one_clear_sentence(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"kmnist is not in .*download=True"):
            load_from_torchvision("kmnist", tmp_path, "train")
        with pytest.raises(DataError, match="No data set 'cifar'"):
            load_from_torchvision("cifar", tmp_path, "train")

    def test_nothing_is_downloaded_unless_asked(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[bool] = []

        class Spy:
            def __init__(self, *_: object, download: bool, **__: object) -> None:
                asked.append(download)
                raise RuntimeError("stop here")

        monkeypatch.setattr(torchvision.datasets, "FashionMNIST", Spy)
        with pytest.raises(DataError):
            load_from_torchvision("fashion-mnist", tmp_path, "train")
        with pytest.raises(DataError, match="the download failed"):
            load_from_torchvision("fashion-mnist", tmp_path, "train", download=True)
        assert asked == [False, True]


class TestFewLabels:
    def test_so_many_of_every_class(self, mnist: MNIST) -> None:
        few = few_labels(mnist.train, 3, seed=0)
        assert few.class_counts().tolist() == [3] * 10
        for image, label in zip(few.images, few.labels, strict=True):
            same = mnist.train.images[mnist.train.labels == label]
            assert (same == image).all((1, 2)).any()

    def test_the_seed_decides(self, mnist: MNIST) -> None:
        one, same, other = (few_labels(mnist.train, 5, seed).images for seed in (1, 1, 2))
        assert np.array_equal(one, same)
        assert not np.array_equal(one, other)

    def test_a_larger_draw_holds_the_smaller(self, mnist: MNIST) -> None:
        two, five = (few_labels(mnist.train, count, seed=4) for count in (2, 5))
        for image in two.images:
            assert (five.images == image).all((1, 2)).any()

    def test_no_digit_twice(self, mnist: MNIST) -> None:
        digits = mnist.train.subset(np.arange(600))
        few = few_labels(digits, int(digits.class_counts().min()), seed=0)
        assert len(np.unique(few.images.reshape(len(few), -1), axis=0)) == len(few)

    def test_a_class_with_too_few(self, mnist: MNIST) -> None:
        digits = mnist.train.subset(mnist.train.labels != 7)
        with pytest.raises(DataError, match="Class '7' has 0 digits, 1 of it are asked for"):
            few_labels(digits, 1, seed=0)
        with pytest.raises(DataError, match="at least 1 label, found per_class=0"):
            few_labels(mnist.train, 0, seed=0)


class TestKeepClasses:
    def test_labels_count_in_the_order_of_the_names(self, mnist: MNIST) -> None:
        kept = keep_classes(mnist.train, "95")
        assert kept.class_names == ("9", "5")
        assert np.array_equal(kept.images[kept.labels == 0], mnist.train.images[
            mnist.train.labels == 9
        ])  # fmt: skip
        assert len(kept) == np.isin(mnist.train.labels, (5, 9)).sum()
        assert kept.part == mnist.train.part

    def test_classes_that_are_not_there(self, mnist: MNIST) -> None:
        with pytest.raises(DataError, match="No class 'a'; there are 0, 1"):
            keep_classes(mnist.train, "1a")
        with pytest.raises(DataError, match="named twice"):
            keep_classes(mnist.train, "11")
        ones = mnist.train.subset(mnist.train.labels == 1)
        with pytest.raises(DataError, match="No digit is of the classes 2, 3"):
            keep_classes(ones, "23")


class TestSplit:
    def test_is_stratified_disjoint_and_complete(self, mnist: MNIST) -> None:
        numbered = DigitSet(  # each image carries its own number in four of its bytes
            np.arange(60_000, dtype=">u4").view(np.uint8).reshape(60_000, 2, 2),
            mnist.train.labels,
            part="train",
        )
        train, validation = split(numbered, seed=3)
        assert (len(train), len(validation)) == (55_000, 5_000)
        assert (train.part, validation.part) == ("train", "validation")
        numbers = [part.images.reshape(-1, 4).view(">u4")[:, 0] for part in (train, validation)]
        assert sorted(np.concatenate(numbers)) == list(range(60_000))
        exact = numbered.class_counts() * 5_000 / 60_000
        assert np.abs(validation.class_counts() - exact).max() < 1
        assert (mnist.train.labels[numbers[1].astype(int)] == validation.labels).all()

    def test_depends_on_the_seed_alone(self, mnist: MNIST) -> None:
        one, again, other = (split(mnist.train, seed)[1].images[:50] for seed in (0, 0, 1))
        assert (one == again).all()
        assert (one != other).any()

    @pytest.mark.parametrize("count", [0, -1, 4, 5])
    def test_refuses_a_part_that_is_empty(self, count: int) -> None:
        with pytest.raises(DataError, match="Cannot hold out"):
            split(digits(4), 0, validation=count)


def test_nothing_half_written_stays(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail(file: object) -> None:
        file.write(b"half")  # type: ignore[attr-defined]
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        write_atomically(path, fail)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
