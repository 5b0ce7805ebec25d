"""The IDX format of MNIST: read whole, or mapped where memory does not hold it.

Source: http://yann.lecun.com/exdb/mnist describes the format.
"""

from __future__ import annotations

import gzip
import lzma
import math
import mmap as memory_map
import os
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from mnist_lab.data.digit_set import DataError
from mnist_lab.data.foreign_files import open_foreign, refuse_damage

# Third byte of the magic number -> element type, big-endian as the format demands.
_IDX_TYPES: dict[int, np.dtype[Any]] = {
    0x08: np.dtype(">u1"),
    0x09: np.dtype(">i1"),
    0x0B: np.dtype(">i2"),
    0x0C: np.dtype(">i4"),
    0x0D: np.dtype(">f4"),
    0x0E: np.dtype(">f8"),
}
_MOST_DIMENSIONS = 32  # that every NumPy can hold
_LONGEST_HEADER = 4 + 4 * _MOST_DIMENSIONS
_MOST_BYTES = 2**30  # that are read whole; a packed file of 200 kB can announce as much


def parse_idx(content: bytes | bytearray, name: str = "IDX data") -> NDArray[Any]:
    """Turn the bytes of an IDX file into an array in this machine's byte order.

    Parameters
    ----------
    content : bytes or bytearray
        The whole unpacked file. An array of bytes made from a bytearray shares its memory.
    name : str
        What to call it in an error.

    Raises
    ------
    DataError
        If the magic number, the header or the length is wrong.
    """
    dtype, shape, offset = _parse_idx_header(content, name)
    _check_idx_length(len(content), dtype, shape, offset, name)
    array = np.frombuffer(content, dtype, offset=offset).reshape(shape)
    return array.astype(dtype.newbyteorder("="), copy=False)


def _parse_idx_header(
    content: bytes | bytearray, name: str
) -> tuple[np.dtype[Any], tuple[int, ...], int]:
    """Return element type, shape and the offset of the first element."""
    if len(content) < 4:
        raise DataError(f"{name} is no IDX file: it has {len(content)} bytes, a header takes 4.")
    zeros, code, dimensions = content[:2], content[2], content[3]
    if bytes(zeros) != b"\0\0" or code not in _IDX_TYPES or dimensions == 0:
        known = ", ".join(f"{key:02x}" for key in _IDX_TYPES)
        raise DataError(
            f"{name} is no IDX file: it starts with {bytes(content[:4]).hex(' ')}, expected 00 00, "
            f"an element type ({known}) and at least one dimension."
        )
    if dimensions > _MOST_DIMENSIONS:
        raise DataError(
            f"{name} is no IDX file that can be read: it has {dimensions} dimensions, at most "
            f"{_MOST_DIMENSIONS} are possible."
        )
    offset = 4 + 4 * dimensions
    if len(content) < offset:
        raise DataError(
            f"{name} is cut short: a header of {dimensions} dimensions takes {offset} bytes, "
            f"found {len(content)}."
        )
    dtype, shape = _IDX_TYPES[code], struct.unpack(f">{dimensions}I", content[4:offset])
    # Of a shape that holds nothing too, NumPy multiplies the other sides.
    if dtype.itemsize * math.prod(side for side in shape if side) > sys.maxsize:
        raise DataError(
            f"{name} is cut short: its header announces {_describe_shape(shape)} elements, more "
            f"than any file holds."
        )
    return dtype, shape, offset


def _describe_shape(shape: tuple[int, ...]) -> str:
    sides = " x ".join(f"{side:,}" for side in shape[:4])
    return sides if len(shape) <= 4 else f"{sides} x ... ({len(shape)} dimensions)"


def _check_idx_length(
    found: int, dtype: np.dtype[Any], shape: tuple[int, ...], offset: int, name: str
) -> None:
    expected = offset + dtype.itemsize * math.prod(shape)
    if found != expected:
        what = "is cut short" if found < expected else "is too long"
        raise DataError(
            f"{name} {what}: its header announces {_describe_shape(shape)} elements of type "
            f"{dtype.name}, {expected:,} bytes in all, found {found:,}."
        )


def read_idx(path: str | Path, *, mmap: bool = False) -> NDArray[Any]:
    """Read an IDX file, plain or packed with gzip or xz (by its first bytes, not its name).

    The array is what the file holds: images of EMNIST lie on their side, see `load_idx_folder`.

    Parameters
    ----------
    path : path
    mmap : bool
        Leave the elements in the file and return a read-only np.memmap, for data larger than
        memory. Elements of several bytes stay in the file's byte order. The file must not be
        packed, and must not be changed while the map is in use.

    Raises
    ------
    DataError
        If the file is missing, damaged or something else, is packed and should be mapped, or is
        larger than a gibibyte unpacked and should not.
    """
    path = Path(path)
    if mmap:
        return _map_idx(path)
    with _open_unpacked(path) as (stream, size):
        header = _read(stream, _LONGEST_HEADER, path)
        dtype, shape, offset = _parse_idx_header(header, str(path))
        if size is not None:
            _check_idx_length(size, dtype, shape, offset, str(path))
        expected = offset + dtype.itemsize * math.prod(shape)
        if expected > _MOST_BYTES:
            raise DataError(
                f"{path} announces {expected:,} bytes, and at most {_MOST_BYTES:,} are read into "
                f"memory: unpack it if it is packed, and map it with read_idx(path, mmap=True)."
            )
        # One byte more than announced shows a file that is too long; reading no further means
        # that a packed file cannot unpack to more than its header says.
        body = _read(stream, expected + 1, path, header)
    if len(body) > expected:
        raise DataError(
            f"{path} is too long: its header announces {_describe_shape(shape)} elements of "
            f"{dtype.itemsize} bytes, {expected:,} bytes in all, and there are more."
        )
    return parse_idx(body, str(path))


def _read_idx_header(path: Path) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Return the type and the shape that a file announces; no more of it is unpacked."""
    with _open_unpacked(path) as (stream, _):
        dtype, shape, _ = _parse_idx_header(_read(stream, _LONGEST_HEADER, path), str(path))
    return dtype, shape


_GZIP_MAGIC, _XZ_MAGIC = b"\x1f\x8b", b"\xfd7zXZ\0"


@contextmanager
def _open_unpacked(path: Path) -> Iterator[tuple[IO[bytes], int | None]]:
    """Open a file to read what is packed in it; with its size in bytes if nothing is."""
    with open_foreign(path) as file:
        start = _read(file, 6, path)
        file.seek(0)
        if start.startswith(_GZIP_MAGIC):
            with gzip.GzipFile(fileobj=file) as unpacked:
                yield unpacked, None  # type: ignore[misc]
        elif start.startswith(_XZ_MAGIC):
            with lzma.LZMAFile(file) as unpacked:
                yield unpacked, None
        else:
            yield file, os.fstat(file.fileno()).st_size


def _read(stream: IO[bytes], length: int, path: Path, start: bytes | bytearray = b"") -> bytearray:
    """Return `start` and what follows it, `length` bytes in all or as many as there are."""
    found = bytearray(start)
    with refuse_damage(path):
        while len(found) < length:
            piece = stream.read(min(1 << 20, length - len(found)))
            if not piece:
                break
            found += piece
    return found


def _map_idx(path: Path) -> NDArray[Any]:
    with open_foreign(path) as file:
        header = _read(file, _LONGEST_HEADER, path)
        length = os.fstat(file.fileno()).st_size
        if header.startswith((_GZIP_MAGIC, _XZ_MAGIC)):
            raise DataError(
                f"{path} is packed, and a packed file cannot be mapped: unpack it, or read it "
                f"whole."
            )
        dtype, shape, offset = _parse_idx_header(header, str(path))
        _check_idx_length(length, dtype, shape, offset, str(path))
        if 0 in shape:  # the system maps no empty range
            return np.zeros(shape, dtype)
        with refuse_damage(path, "cannot be mapped"):
            return np.memmap(file, dtype, "r", offset, shape)


def take_images(images: NDArray[np.uint8], places: slice | NDArray[np.int64]) -> NDArray[np.uint8]:
    """Copy the images at `places` (a slice or integers) into memory, in that order.

    Of a map, places are visited in the order of the file, which a disk answers faster, and the
    pages are handed back at once: so memory holds a batch and not what has been read so far. The
    system still keeps in its cache what it has room for.
    """
    pixels = np.asarray(images)  # a map as a plain array, whose look-ups are faster
    if isinstance(places, slice):
        taken = np.array(pixels[places])
    else:
        taken = np.empty((len(places), *images.shape[1:]), images.dtype)
        by_place = np.argsort(places)
        taken[by_place] = pixels[places[by_place]]
    if isinstance(images, np.memmap) and images.mode == "r":
        _hand_back_pages(images)
    return taken


def _hand_back_pages(images: np.memmap[Any, Any]) -> None:
    """Tell the system that these pages of a read-only map are not needed now."""
    owner: Any = images
    while owner is not None and not isinstance(owner, memory_map.mmap):
        owner = getattr(owner, "base", None)
    if owner is not None and hasattr(memory_map, "MADV_DONTNEED"):  # Windows has no such call
        owner.madvise(memory_map.MADV_DONTNEED)
