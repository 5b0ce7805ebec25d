"""Whatever stands where a file is expected: every reader says one sentence that names it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mnist_lab.data.digit_set import DataError
from mnist_lab.data.foreign_files import refuse_damage
from mnist_lab.data.idx import read_idx
from mnist_lab.data.mnist import lay_out_for_torchvision
from mnist_lab.data.own_files import load_idx_folder, load_image_folder, load_npz, load_path
from mnist_lab.data.pictures import count_pages, load_pixels
from mnist_lab.handwriting.found import find_digits_in_file, load_digit_image
from mnist_lab.handwriting.ink import HandwritingError
from mnist_lab.handwriting.own_digits import load_own_digits
from mnist_lab.handwriting.picture_files import load_picture
from tests.data.hostile_files import HELD, SPECIAL, check_sentence
from tests.data.idx_files import write_idx


def map_idx(path: Path) -> Any:
    return read_idx(path, mmap=True)


def load_npz_or_folder(path: Path) -> Any:
    """Load by the general door, to which a folder is no wrong thing, but an empty one."""
    return load_path(path)


FILE_READERS: dict[str, list[Callable[[Path], Any]]] = {
    ".npz": [load_npz, load_npz_or_folder, load_own_digits],
    "-ubyte": [read_idx, map_idx, load_npz_or_folder],
    ".gz": [read_idx, map_idx],
    ".png": [load_pixels, load_picture, load_digit_image, find_digits_in_file],
}


class TestSpecialFiles:
    @pytest.mark.parametrize("kind", SPECIAL)
    @pytest.mark.parametrize(
        ("suffix", "read"),
        [(suffix, read) for suffix, readers in FILE_READERS.items() for read in readers],
    )
    def test_every_reader_of_a_file(
        self, suffix: str, read: Callable[[Path], Any], kind: str, tmp_path: Path
    ) -> None:
        path = SPECIAL[kind](tmp_path / f"digits{suffix}")
        with pytest.raises((DataError, HandwritingError)) as caught:
            read(path)
        check_sentence(str(caught.value), path)

    @pytest.mark.parametrize("kind", [kind for kind in SPECIAL if kind != "folder"])
    @pytest.mark.parametrize("read", [load_idx_folder, load_image_folder, load_path])
    def test_every_reader_of_a_folder(
        self, read: Callable[[Path], Any], kind: str, tmp_path: Path
    ) -> None:
        path = SPECIAL[kind](tmp_path / "digits")
        with pytest.raises(DataError) as caught:
            read(path)
        check_sentence(str(caught.value), path)

    @pytest.mark.parametrize("kind", HELD)
    @pytest.mark.parametrize("what", ["images", "labels"])
    def test_in_the_place_of_an_idx_file(self, what: str, kind: str, tmp_path: Path) -> None:
        write_idx(tmp_path / "a-images-idx3-ubyte", np.zeros((2, 5, 5), np.uint8))
        write_idx(tmp_path / "a-labels-idx1-ubyte", np.zeros(2, np.uint8))
        (path,) = tmp_path.glob(f"*{what}*")
        path.unlink()
        HELD[kind](path)
        with pytest.raises(DataError) as caught:
            load_path(tmp_path)
        check_sentence(str(caught.value), path)

    @pytest.mark.parametrize("kind", HELD)
    @pytest.mark.parametrize("read", [None, load_digit_image])
    @pytest.mark.parametrize("suffix", [".png", ""])
    def test_in_the_place_of_a_picture(
        self, suffix: str, read: Any, kind: str, tmp_path: Path
    ) -> None:
        (tmp_path / "3").mkdir()
        page = Image.new("L", (30, 30), 255)
        page.paste(0, (10, 5, 14, 25))
        page.save(tmp_path / "3" / "good.png")
        path = HELD[kind](tmp_path / "3" / f"bad{suffix}")
        if suffix == "" and kind in ("empty", "text", "memory of this process"):
            # No picture by its suffix, nor by its first bytes; what cannot be read shows neither.
            assert len(load_image_folder(tmp_path, read)) == 1
            return
        with pytest.raises(DataError) as caught:
            load_image_folder(tmp_path, read)
        check_sentence(str(caught.value), path)

    @pytest.mark.parametrize("kind", SPECIAL)
    def test_of_what_is_no_picture_there_is_one_page(self, kind: str, tmp_path: Path) -> None:
        assert count_pages(SPECIAL[kind](tmp_path / "scan.tif")) == 1

    @pytest.mark.parametrize("kind", [kind for kind in HELD if kind != "link to nothing"])
    def test_in_the_place_of_what_torchvision_reads(self, kind: str, tmp_path: Path) -> None:
        (tmp_path / "MNIST" / "raw").mkdir(parents=True)
        path = HELD[kind](tmp_path / "MNIST" / "raw" / "t10k-labels-idx1-ubyte")
        if kind == "empty":
            return  # it holds nothing that could be lost
        with pytest.raises(DataError) as caught:
            lay_out_for_torchvision(tmp_path)
        check_sentence(str(caught.value), path)
        assert list(path.parent.iterdir()) == [path]

    @pytest.mark.parametrize(
        "kind", [kind for kind in SPECIAL if kind not in ("missing", "folder")]
    )
    def test_in_the_place_of_torchvisions_folder(self, kind: str, tmp_path: Path) -> None:
        path = SPECIAL[kind](tmp_path / "root")
        with pytest.raises(DataError) as caught:
            lay_out_for_torchvision(path)
        check_sentence(str(caught.value), path)


def test_ctrl_c_is_no_damage() -> None:
    with pytest.raises(KeyboardInterrupt), refuse_damage("file"):
        raise KeyboardInterrupt
