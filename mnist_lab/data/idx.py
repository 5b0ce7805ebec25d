"""The IDX format of MNIST: read whole, or mapped where memory does not hold it.

Source: http://yann.lecun.com/exdb/mnist describes the format.
"""

from __future__ import annotations

import gzip
import lzma
import math
import mmap as memory_map
import struct
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from mnist_lab.data.digit_set import DataError

# Third byte of the magic number -> element type, big-endian as the format demands.
_IDX_TYPES: dict[int, np.dtype[Any]] = {
    0x08: np.dtype(">u1"),
    0x09: np.dtype(">i1"),
    0x0B: np.dtype(">i2"),
    0x0C: np.dtype(">i4"),
    0x0D: np.dtype(">f4"),
    0x0E: np.dtype(">f8"),
}


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
    offset = 4 + 4 * dimensions
    if len(content) < offset:
        raise DataError(
            f"{name} is cut short: a header of {dimensions} dimensions takes {offset} bytes, "
            f"found {len(content)}."
        )
    shape = struct.unpack(f">{dimensions}I", content[4:offset])
    return _IDX_TYPES[code], shape, offset


def _check_idx_length(
    found: int, dtype: np.dtype[Any], shape: tuple[int, ...], offset: int, name: str
) -> None:
    expected = offset + dtype.itemsize * math.prod(shape)
    if found != expected:
        what = "is cut short" if found < expected else "is too long"
        raise DataError(
            f"{name} {what}: its header announces {shape} elements of {dtype.itemsize} bytes, "
            f"{expected:,} bytes in all, found {found:,}."
        )


def read_idx(path: str | Path, *, mmap: bool = False) -> NDArray[Any]:
    """Read an IDX file, plain or packed with gzip or xz (by its first bytes, not its name).

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
        If the file is missing, damaged or something else, or is packed and should be mapped.
    """
    path = Path(path)
    try:
        if mmap:
            return _map_idx(path)
        with _open_unpacked(path) as stream:
            header = stream.read(4 + 4 * 255)
            dtype, shape, offset = _parse_idx_header(header, str(path))
            expected = offset + dtype.itemsize * math.prod(shape)
            # One byte more than announced shows a file that is too long; reading no further
            # means that a packed file cannot unpack to more than its header says.
            body = bytearray(header)
            while len(body) <= expected:
                piece = stream.read(min(1 << 20, expected + 1 - len(body)))
                if not piece:
                    break
                body += piece
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist.") from error
    except (OSError, EOFError, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise DataError(f"{path} cannot be read: {error}.") from error
    return parse_idx(body, str(path))


_GZIP_MAGIC, _XZ_MAGIC = b"\x1f\x8b", b"\xfd7zXZ\0"


def _open_unpacked(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        start = file.read(6)
    if start.startswith(_GZIP_MAGIC):
        return gzip.open(path, "rb")  # type: ignore[return-value]
    if start.startswith(_XZ_MAGIC):
        return lzma.open(path, "rb")
    return path.open("rb")


def _map_idx(path: Path) -> NDArray[Any]:
    with path.open("rb") as file:
        header = file.read(4 + 4 * 255)
        length = file.seek(0, 2)
    if header.startswith((_GZIP_MAGIC, _XZ_MAGIC)):
        raise DataError(
            f"{path} is packed, and a packed file cannot be mapped: unpack it, or read it whole."
        )
    dtype, shape, offset = _parse_idx_header(header, str(path))
    _check_idx_length(length, dtype, shape, offset, str(path))
    if 0 in shape:  # the system maps no empty range
        return np.zeros(shape, dtype)
    return np.memmap(path, dtype, "r", offset, shape)


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
