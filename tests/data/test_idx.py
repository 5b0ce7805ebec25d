"""IDX files: right when they are right, one clear sentence when they are not."""

from __future__ import annotations

import gzip
import lzma
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnist_lab.data.digit_set import DataError, DigitSet
from mnist_lab.data.idx import parse_idx, read_idx, take_images
from tests.data.idx_files import CODES, write_idx


class TestIdx:
    @given(
        kind=st.sampled_from(sorted(CODES)),
        shape=st.lists(st.integers(0, 5), min_size=1, max_size=4),
        seed=st.integers(0, 1000),
        packing=st.sampled_from(["", ".gz", ".xz"]),
    )
    @settings(max_examples=60, deadline=None)
    def test_an_array_is_what_the_file_says(
        self, kind: str, shape: list[int], seed: int, packing: str, tmp_path_factory: object
    ) -> None:
        folder = tmp_path_factory.mktemp("idx")  # type: ignore[attr-defined]
        bits = np.random.default_rng(seed).integers(0, 256, (*shape, np.dtype(kind).itemsize))
        array = np.nan_to_num(bits.astype(np.uint8).view(kind).reshape(shape))
        write_idx(folder / f"x{packing}", array)
        found = read_idx(folder / f"x{packing}")
        assert found.dtype == array.dtype
        assert found.shape == array.shape
        assert (found == array).all()

    def test_the_bytes_of_the_description_give_its_numbers(self) -> None:
        content = bytes.fromhex("00000b02 00000001 00000002 0001 0102")
        found = parse_idx(content)
        assert found.dtype == np.int16
        assert found.tolist() == [[1, 258]]

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

    @pytest.mark.parametrize("kind", sorted(CODES))
    @pytest.mark.parametrize("shape", [(7,), (5, 3, 2), (4, 0)])
    def test_a_map_holds_what_reading_gives(
        self, kind: str, shape: tuple[int, ...], tmp_path: Path
    ) -> None:
        array = np.arange(np.prod(shape)).reshape(shape).astype(kind)
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
        with pytest.raises(DataError, match=r"too long: .* 13 bytes in all, and there are more"):
            read_idx(path)

    def test_missing_file(self, tmp_path: Path) -> None:
        for mapped in (False, True):
            with pytest.raises(DataError, match="does not exist"):
                read_idx(tmp_path / "nothing", mmap=mapped)

    def test_parse_shares_no_memory_with_bytes_it_could_not_write(self) -> None:
        content = bytearray(b"\0\0\x08\x01\0\0\0\x02ab")
        parse_idx(content)[0] = 99
        assert content[8] == 99  # a bytearray is shared, as the docstring says


class TestTakeImages:
    """A set whose images stay in their file."""

    def test_a_slice_stays_in_the_file_and_what_is_taken_does_not(self, tmp_path: Path) -> None:
        expected = DigitSet(np.arange(120, dtype=np.uint8).reshape(6, 4, 5), np.arange(6))
        write_idx(tmp_path / "images", expected.images)
        mapped = DigitSet(read_idx(tmp_path / "images", mmap=True), expected.labels)
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
