"""IDX files and .npz archives that are damaged, lie about their size, or unpack without end."""

from __future__ import annotations

import gzip
import io
import lzma
import pickle
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mnist_lab.data import idx, own_files
from mnist_lab.data.digit_set import DataError
from mnist_lab.data.idx import read_idx
from mnist_lab.data.own_files import load_idx_folder, load_npz, load_path
from tests.data.hostile_files import check_sentence, damage
from tests.data.idx_files import write_idx

IMAGES = np.random.default_rng(0).integers(0, 256, (20, 28, 28)).astype(np.uint8)
LABELS = np.arange(20, dtype=np.uint8) % 10


def refusal(read: Callable[[Path], Any], path: Path) -> str:
    with pytest.raises(DataError) as caught:
        read(path)
    check_sentence(str(caught.value), path)
    return str(caught.value)


def peak_of(read: Callable[[], object]) -> int:
    """Return how many bytes Python held at most while a call ran."""
    tracemalloc.start()
    try:
        read()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


class TestIdx:
    @pytest.mark.parametrize("suffix", ["", ".gz", ".xz"])
    @pytest.mark.parametrize("mmap", [False, True])
    def test_damage_gives_an_array_or_a_sentence(
        self, suffix: str, mmap: bool, tmp_path: Path
    ) -> None:
        path = tmp_path / f"images-idx3-ubyte{suffix}"
        write_idx(path, IMAGES)
        refused = 0
        for content in damage(path.read_bytes(), 200):
            path.write_bytes(content)
            try:
                read_idx(path, mmap=mmap)
            except DataError as error:  # anything else fails the test
                check_sentence(str(error), path)
                refused += 1
        assert refused > 100

    @pytest.mark.parametrize("place", [12, 30, 5_000])
    def test_a_flipped_byte_of_a_packed_file(self, place: int, tmp_path: Path) -> None:
        """Byte 12 and 30 make the decoder raise `zlib.error`, which is no OSError."""
        write_idx(tmp_path / "a.gz", IMAGES)
        content = bytearray((tmp_path / "a.gz").read_bytes())
        content[place] ^= 0xFF
        (tmp_path / "a.gz").write_bytes(content)
        refusal(read_idx, tmp_path / "a.gz")

    @pytest.mark.parametrize("dimensions", [33, 64, 65, 255])
    @pytest.mark.parametrize("side", [0, 1, 2**32 - 1])
    @pytest.mark.parametrize("mmap", [False, True])
    def test_dimensions_without_end(
        self, dimensions: int, side: int, mmap: bool, tmp_path: Path
    ) -> None:
        path = tmp_path / "many"
        path.write_bytes(bytes((0, 0, 8, dimensions)) + struct.pack(">I", side) * dimensions + b"x")
        message = refusal(lambda path: read_idx(path, mmap=mmap), path)
        assert f"{dimensions} dimensions, at most 32 are possible" in message

    @pytest.mark.parametrize(
        "shape", [(2**32 - 1,) * 3, (2**32 - 1,) * 32, (0, *(2**32 - 1,) * 3), (2**31, 2**31)]
    )
    @pytest.mark.parametrize("mmap", [False, True])
    def test_sizes_without_end(self, shape: tuple[int, ...], mmap: bool, tmp_path: Path) -> None:
        path = tmp_path / "large"
        path.write_bytes(bytes((0, 0, 8, len(shape))) + struct.pack(f">{len(shape)}I", *shape))
        assert "is cut short" in refusal(lambda path: read_idx(path, mmap=mmap), path)

    @pytest.mark.parametrize("pack", [gzip.compress, lzma.compress])
    def test_a_small_file_that_announces_gigabytes_is_refused_before_it_is_unpacked(
        self, pack: Callable[[bytes], bytes], tmp_path: Path
    ) -> None:
        path = tmp_path / "bomb-images-idx3-ubyte"
        header = bytes((0, 0, 8, 3)) + struct.pack(">3I", 2_740_000, 28, 28)
        path.write_bytes(pack(header + bytes(30_000_000)))
        assert peak_of(lambda: refusal(read_idx, path)) < 12_000_000  # xz has a window of 8 MiB
        assert "map it with read_idx(path, mmap=True)" in refusal(read_idx, path)

    def test_memory_grows_with_what_is_there_and_not_with_what_is_announced(
        self, tmp_path: Path
    ) -> None:
        path = tmp_path / "a.gz"
        header = bytes((0, 0, 8, 1)) + struct.pack(">I", 1_000_000_000)
        path.write_bytes(gzip.compress(header + bytes(3_000_000)))
        assert peak_of(lambda: refusal(read_idx, path)) < 12_000_000

    def test_what_is_larger_than_the_bound_is_mapped(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(idx, "_MOST_BYTES", 15_000)
        write_idx(tmp_path / "large", IMAGES)
        assert "announces 15,696 bytes, and at most 15,000" in refusal(read_idx, tmp_path / "large")
        assert (read_idx(tmp_path / "large", mmap=True) == IMAGES).all()

    def test_counts_are_compared_before_anything_is_unpacked(self, tmp_path: Path) -> None:
        header = bytes((0, 0, 8, 3)) + struct.pack(">3I", 40_000, 28, 28)
        packed = gzip.compress(header + bytes(40_000 * 784), 1)
        (tmp_path / "a-images-idx3-ubyte.gz").write_bytes(packed)
        write_idx(tmp_path / "a-labels-idx1-ubyte", LABELS)
        peak = peak_of(
            lambda: refusal(load_idx_folder, tmp_path).index("40,000 images but 20 labels")
        )
        assert peak < 2_000_000

    @pytest.mark.parametrize(
        ("images", "labels", "words"),
        [
            (IMAGES.reshape(20, 784), LABELS, "uint8 (n, height, width), found uint8 (20, 784)"),
            (IMAGES.astype(np.int16), LABELS, "uint8 (n, height, width)"),
            (IMAGES, LABELS.astype(np.float32), "whole numbers (n,)"),
            (IMAGES, LABELS.reshape(4, 5), "whole numbers (n,), found uint8 (4, 5)"),
            (IMAGES, LABELS.astype(np.int8) - 1, "label -1 is outside"),
            (IMAGES[:0], LABELS[:0], "the set is empty"),
        ],
    )
    def test_a_pair_that_is_no_pair(
        self, images: np.ndarray, labels: np.ndarray, words: str, tmp_path: Path
    ) -> None:
        write_idx(tmp_path / "a-images-idx3-ubyte", images)
        write_idx(tmp_path / "a-labels-idx1-ubyte", labels)
        message = refusal(load_path, tmp_path)
        assert words in message
        assert "a-labels-idx1-ubyte" in message


def npz_bytes(compressed: bool = True, **arrays: Any) -> bytes:
    stream = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(stream, **arrays)
    return stream.getvalue()


def zipped(members: dict[str, bytes], **options: Any) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", **options) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def npy_bytes(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def announce(shape: str, kind: str = "|u1", order: bool = False, version: int = 1) -> bytes:
    """Return the header of an .npy, which may announce what is not there."""
    header = f"{{'descr': '{kind}', 'fortran_order': {order}, 'shape': {shape}}}".encode()
    length = struct.pack("<H" if version == 1 else "<I", len(header))
    return b"\x93NUMPY" + bytes((version, 0)) + length + header


GOOD = {"images": IMAGES, "labels": LABELS}
MEMBERS = {f"{name}.npy": npy_bytes(array) for name, array in GOOD.items()}


class TestNpz:
    @pytest.mark.parametrize("compressed", [False, True])
    def test_damage_gives_digits_or_a_sentence(self, compressed: bool, tmp_path: Path) -> None:
        path = tmp_path / "mine.npz"
        refused = 0
        for content in damage(npz_bytes(compressed, **GOOD), 300):
            path.write_bytes(content)
            try:
                found = load_npz(path)
            except DataError as error:  # anything else fails the test
                check_sentence(str(error), path)
                refused += 1
            else:
                assert (found.images == IMAGES).all()
        assert refused > 100

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (b"\x89PNG\r\n\x1a\n" + bytes(50), "is no .npz: it starts with 89 50 4e 47"),
            (b"<!DOCTYPE html>", "is no .npz: it starts with 3c 21 44 4f, expected 50 4b"),
            (b"0,1,2\n", "is no .npz"),
            (b"prefix" + npz_bytes(**GOOD), "is no .npz: it starts with 70 72 65 66"),
            (gzip.compress(npz_bytes(**GOOD)), "is no .npz: it starts with 1f 8b"),
            (b"", "is no .npz: it is empty"),
            (npy_bytes(IMAGES), "is no .npz: it holds a single array"),
            (b"PK\x03\x04 half a zip", "cannot be read as .npz"),
            (zipped({}), "it holds nothing"),
            (zipped({f"file{i}": b"" for i in range(900)}), "file101 and 895 more"),
            (zipped({"images.npy": b"no array", "labels.npy": b""}), "cannot be read as .npz"),
        ],
    )
    def test_what_holds_no_objects_is_not_accused_of_it(
        self, content: bytes, words: str, tmp_path: Path
    ) -> None:
        path = tmp_path / "mine.npz"
        path.write_bytes(content)
        message = refusal(load_npz, path)
        assert words in message
        assert "pickle" not in message

    @pytest.mark.parametrize("protocol", range(2, 6))
    def test_a_pickle(self, protocol: int, tmp_path: Path) -> None:
        path = tmp_path / "mine.npz"
        path.write_bytes(pickle.dumps(GOOD, protocol))
        assert "it is a pickle, which can run code when read" in refusal(load_npz, path)

    @pytest.mark.parametrize("name", ["images", "labels", "class_names"])
    def test_an_array_of_objects(self, name: str, tmp_path: Path) -> None:
        path = tmp_path / "mine.npz"
        path.write_bytes(npz_bytes(**(GOOD | {name: np.array([{}, "a"], object)})))
        assert "pickled objects, which can run code when read" in refusal(load_npz, path)

    @pytest.mark.parametrize("version", [1, 2, 3, 9])
    @pytest.mark.parametrize(
        ("shape", "words"),
        [
            (f"({2**40}, 28, 28)", "announces an array of more than"),
            (f"({2**64}, {2**64}, {2**64})", "announces an array of more than"),
            (f"(0, {2**40}, {2**40})", "announces an array of more than"),
            ("(0, 28, 28)", "is damaged"),
            (f"({'9' * 4_000}, 0, 28)", "announces an array of more than"),
            ("(20, 28, 29)", "is damaged: an array announces"),
            ("(-20, -28, 28)", "images but 20 labels"),
            ("(-1, 28, 28)", "is damaged"),
            ("()", "is damaged"),
            ("(20, 28, 28)" + "#" * 9_000, ""),
            ("[" * 8_000, "cannot be read as .npz"),
            ("9" * 9_000, "cannot be read as .npz"),
            ("(None, 28, 28)", "cannot be read as .npz"),
        ],
    )
    def test_a_header_that_lies(self, shape: str, words: str, version: int, tmp_path: Path) -> None:
        path = tmp_path / "mine.npz"
        images = announce(shape, version=version) + IMAGES.tobytes()
        path.write_bytes(zipped(MEMBERS | {"images.npy": images}, compression=zipfile.ZIP_DEFLATED))
        assert words in refusal(load_npz, path)

    @pytest.mark.parametrize(
        "kind", ["|S1000000000", "<U250000000", "|V9999999999", "<f8", "M8", "O"]
    )
    def test_a_type_that_lies(self, kind: str, tmp_path: Path) -> None:
        path = tmp_path / "mine.npz"
        for name in ("images", "labels", "class_names"):
            content = MEMBERS | {f"{name}.npy": announce("(20,)", kind)}
            path.write_bytes(zipped(content))
            refusal(load_npz, path)

    def test_an_entry_that_unpacks_to_more_than_it_says(self, tmp_path: Path) -> None:
        """A zip of 200 kB whose images unpack to 200 MB, announced or not."""
        path = tmp_path / "mine.npz"
        images = announce("(20, 28, 28)") + bytes(200_000_000)
        content = zipped(MEMBERS | {"images.npy": images}, compression=zipfile.ZIP_DEFLATED)
        path.write_bytes(content)
        assert peak_of(lambda: refusal(load_npz, path)) < 2_000_000
        # And one that is told to be as large as its header says, in both places that say it.
        size = struct.pack("<I", len(images))
        claimed = struct.pack("<I", len(announce("(20, 28, 28)")) + IMAGES.size)
        path.write_bytes(content.replace(size, claimed))
        assert peak_of(lambda: refusal(load_npz, path)) < 2_000_000

    @pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
    def test_a_packing_that_gives_more_than_it_is_asked_for(
        self, compression: int, tmp_path: Path
    ) -> None:
        path = tmp_path / "mine.npz"
        images = announce("(20, 28, 28)") + IMAGES.tobytes() + bytes(50_000_000)
        path.write_bytes(zipped(MEMBERS | {"images.npy": images}, compression=compression))
        peak = peak_of(lambda: refusal(load_npz, path).index("it must be deflated"))
        assert peak < 2_000_000

    def test_a_wrong_checksum(self, tmp_path: Path) -> None:
        path = tmp_path / "mine.npz"
        content = npz_bytes(compressed=False, **GOOD)
        place = content.index(IMAGES.tobytes()[:50]) + 3_000
        flipped = bytes((content[place] ^ 1,))
        path.write_bytes(content[:place] + flipped + content[place + 1 :])
        assert "CRC" in refusal(load_npz, path)

    def test_an_encrypted_archive(self, tmp_path: Path) -> None:
        path = tmp_path / "mine.npz"
        content = bytearray(zipped(MEMBERS))
        for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
            place = -1
            while (place := content.find(signature, place + 1)) >= 0:
                content[place + offset] |= 1
        path.write_bytes(content)
        assert "is encrypted" in refusal(load_npz, path)

    @pytest.mark.parametrize("order", ["C", "F"])
    @pytest.mark.parametrize("compressed", [False, True])
    @pytest.mark.parametrize("labels", ["u1", ">i2", "i8", "u8"])
    def test_every_way_to_store_them_gives_the_same_digits(
        self, order: Any, compressed: bool, labels: str, tmp_path: Path
    ) -> None:
        path = tmp_path / "mine.npz"
        images = np.asarray(IMAGES, order=order)
        path.write_bytes(npz_bytes(compressed, images=images, labels=LABELS.astype(labels)))
        found = load_npz(path)
        assert (found.images == IMAGES).all()
        assert (found.labels == LABELS).all()
        assert found.labels.dtype == np.int64

    @pytest.mark.parametrize(
        ("label", "kind"),
        [(2**63, "u8"), (2**64 - 1, "u8"), (-(2**63), "i8"), (10, "u1"), (-1, "i1")],
    )
    def test_a_label_is_told_as_it_is(self, label: int, kind: str, tmp_path: Path) -> None:
        path = tmp_path / "mine.npz"
        labels = np.array([label], kind)
        path.write_bytes(npz_bytes(images=IMAGES[:1], labels=labels))
        assert f"label {label} is outside the 10 classes 0 to 9" in refusal(load_npz, path)

    @pytest.mark.parametrize("kind", ["f4", "f8", "c8", "?", "U1", "S1", "M8[s]", "V4"])
    def test_labels_that_are_no_whole_numbers(self, kind: str, tmp_path: Path) -> None:
        path = tmp_path / "mine.npz"
        path.write_bytes(npz_bytes(images=IMAGES, labels=np.zeros(20, kind)))
        assert "labels must be whole numbers (n,)" in refusal(load_npz, path)

    @pytest.mark.parametrize(
        ("names", "words"),
        [
            (np.array("zero"), "class_names must be text (classes,), found <U4 ()"),
            (np.array([list("ab")]), "class_names must be text (classes,), found <U1 (1, 2)"),
            (np.arange(10.0), "class_names must be text"),
            (np.ones(10, bool), "class_names must be text"),
            (np.array([], "U1"), "there are no class names"),
            (np.arange(20_000), "class_names must be text (classes,), found int64 (20000,)"),
            (np.array([*"012345678", "0"]), "two classes are named '0'"),
            (np.array([*"012345678", ""]), "class 9 has an empty name"),
            (np.array([*"012345678", " "]), "class 9 has an empty name"),
            (np.array([*"012345678", 200 * "9"]), "class 9 has 200 letters, at most 100"),
            (
                np.array([*"012345678", "\ud800"]),
                "class 9, '\\ud800', holds bytes that are no text",
            ),
            (np.array([b"\xff\xfe"] * 10), "class names that are no text"),
            (np.zeros(10, [("a" * 50 + str(i), "u1") for i in range(50)]), "found a record (10,)"),
            (np.arange(3), "label 9 is outside the 3 classes 0 to 2"),
        ],
    )
    def test_class_names_that_are_none(self, names: np.ndarray, words: str, tmp_path: Path) -> None:
        path = tmp_path / "mine.npz"
        path.write_bytes(npz_bytes(**GOOD, class_names=names))
        assert words in refusal(load_npz, path)

    @pytest.mark.parametrize(
        "names",
        [np.arange(10), np.array(list("0123456789")), np.array([b"%d" % i for i in range(10)])],
    )
    def test_class_names_of_every_plain_kind(self, names: np.ndarray, tmp_path: Path) -> None:
        path = tmp_path / "mine.npz"
        path.write_bytes(npz_bytes(**GOOD, class_names=names))
        assert load_npz(path).class_names == tuple("0123456789")

    def test_what_does_not_fit_into_memory(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "mine.npz"
        path.write_bytes(npz_bytes(**GOOD))

        def fail(*_: object, **__: object) -> None:
            raise MemoryError

        monkeypatch.setattr(own_files.np.lib.format, "read_array", fail)
        assert "there is not enough memory for it" in refusal(load_npz, path)


@pytest.mark.parametrize(
    "error",
    [zlib.error("x"), struct.error("x"), RuntimeError("x"), IndexError("x"), OverflowError("x"),
     NotImplementedError("x"), KeyError("x"), SyntaxError("x"), RecursionError("x"),
     lzma.LZMAError("x"), AssertionError(), MemoryError()],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
@pytest.mark.parametrize("name", ["a.gz", "a.xz", "a.npz"])
def test_whatever_a_decoder_raises_names_the_file(
    name: str, error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    path = tmp_path / name
    if name == "a.npz":
        path.write_bytes(npz_bytes(**GOOD))
        monkeypatch.setattr(zipfile.ZipExtFile, "read", fail)
        refusal(load_npz, path)
        return
    write_idx(path, IMAGES)
    for decoder in (gzip.GzipFile, lzma.LZMAFile):
        monkeypatch.setattr(decoder, "read", fail)
    refusal(read_idx, path)
