"""IDX files for tests, written from the description of the format and not with the package."""

from __future__ import annotations

import gzip
import lzma
import struct
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}
PACK = {".gz": gzip.compress, ".xz": lzma.compress}


def write_idx(path: Path, array: NDArray[Any]) -> None:
    """Write an array; a name that ends in .gz or .xz packs it."""
    header = struct.pack(
        f">BBBB{array.ndim}I", 0, 0, CODES[array.dtype.str[1:]], array.ndim, *array.shape
    )
    content = header + array.astype(array.dtype.newbyteorder(">")).tobytes()
    path.write_bytes(PACK.get(path.suffix, bytes)(content))
