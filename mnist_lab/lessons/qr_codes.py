"""A small file as a QR code, read back from its picture, and offered for download (chapter 17).

    picture = draw_qr(content, alt="A QR code ...")
    assert read_qr(picture) == content          # from its pixels, as a camera would
    OfferedFile("network.safetensors.gz", content)

Source: ISO/IEC 18004; the largest code, version 40 with the least correction, holds 2,953 bytes.
"""

from __future__ import annotations

import base64
import html
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from mnist_lab.extras import needs_extra
from mnist_lab.lessons.pictures import Picture, new_axes

MOST_BYTES = 2_953
_QUIET = 4  # modules of paper around the code, which readers need


def draw_qr(content: bytes, alt: str, *, width: float = 5.0) -> Picture:
    """Draw bytes as a QR code with the least correction: a module is a square of ink or paper.

    Parameters
    ----------
    content : bytes
        At most 2,953.
    alt : str
        What it shows, for who does not see it.
    width : float
        In inches.

    Raises
    ------
    ValueError
        If there are more bytes, or none.
    """
    if not 1 <= len(content) <= MOST_BYTES:
        raise ValueError(f"A QR code holds 1 to {MOST_BYTES:,} bytes; these are {len(content):,}.")
    with needs_extra("chapters"):
        import segno
    # One kind of segment, byte for byte: a reader then returns what went in.
    code = segno.make_qr(content, error="l", mode="byte", boost_error=False)
    modules = np.array([list(row) for row in code.matrix_iter(border=_QUIET)])
    figure, axes = new_axes(width=width, height=width)
    axes.imshow(modules, cmap="ink_on_paper", vmin=0, vmax=1)
    axes.set_axis_off()
    return Picture(figure, alt)


def read_qr(picture: Picture) -> bytes:
    """Return the bytes of the one QR code in a picture, read from the pixels that a page shows.

    Raises
    ------
    ValueError
        If there is none, or more than one, or it cannot be read.
    """
    with needs_extra("chapters"):
        import zxingcpp
    with Image.open(io.BytesIO(base64.b64decode(picture.to_base64()))) as image:
        found = zxingcpp.read_barcodes(np.asarray(image.convert("L")))
    codes = [code for code in found if code.valid]
    if len(codes) != 1:
        raise ValueError(f"The picture has {len(codes)} codes that can be read, not one.")
    return bytes(codes[0].bytes)


@dataclass(frozen=True)
class OfferedFile:
    """A small file that a page holds itself: a link saves it, without a request to anybody.

    Parameters
    ----------
    name : str
        Of the file, as it is saved.
    content : bytes
    """

    name: str
    content: bytes

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        """Return the link, as IPython asks for it, and in words what it is."""
        name, data = html.escape(self.name), base64.b64encode(self.content).decode()
        words = f"{name} ({len(self.content):,} bytes)"
        link = f'<a download="{name}" href="data:application/octet-stream;base64,{data}">'
        return {
            "text/html": f"<p>{link}Save {words}</a></p>",
            "text/plain": f"{self.name} ({len(self.content):,} bytes)",
        }
