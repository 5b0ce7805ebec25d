"""QR codes: what goes in comes back from the picture's pixels, for a reader of others."""

from __future__ import annotations

import base64
import re

import numpy as np
import pytest

from mnist_lab.lessons.pictures import Picture, new_axes
from mnist_lab.lessons.qr_codes import MOST_BYTES, OfferedFile, draw_qr, read_qr


@pytest.mark.parametrize("count", [1, 300, MOST_BYTES])
def test_any_bytes_come_back(count: int) -> None:
    content = np.random.default_rng(count).bytes(count)
    picture = draw_qr(content, "A code.")
    assert read_qr(picture) == content
    assert picture.alt == "A code."
    modules = np.asarray(picture.figure.axes[0].images[0].get_array())
    modules[4:-4, 4:-4] = 0
    assert not modules.any()  # paper around it, which readers need


@pytest.mark.parametrize("count", [0, MOST_BYTES + 1])
def test_more_than_a_code_holds(count: int) -> None:
    with pytest.raises(ValueError, match="holds 1 to 2,953 bytes"):
        draw_qr(bytes(count), "A code.")


def test_a_picture_without_a_code() -> None:
    figure, _ = new_axes()
    with pytest.raises(ValueError, match="has 0 codes"):
        read_qr(Picture(figure, "Nothing."))


def test_a_link_holds_the_file_itself() -> None:
    content = bytes(range(256))
    shown = OfferedFile('a"b.gz', content)._repr_mimebundle_()
    found = re.search(r'href="data:application/octet-stream;base64,([^"]+)"', shown["text/html"])
    assert found
    assert base64.b64decode(found[1]) == content
    assert 'download="a&quot;b.gz"' in shown["text/html"]
    assert "http" not in shown["text/html"]
    assert shown["text/plain"] == 'a"b.gz (256 bytes)'
