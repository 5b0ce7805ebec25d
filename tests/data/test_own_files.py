"""Own digits: npz, IDX folders and picture folders, or one sentence that says why not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnist_lab.data.digit_set import DataError, DigitSet
from mnist_lab.data.own_files import (
    load_idx_folder,
    load_image_folder,
    load_npz,
    load_path,
    save_npz,
)
from mnist_lab.files import write_atomically
from tests.data.idx_files import write_idx


def digits(n: int = 4, size: int = 28) -> DigitSet:
    images = np.arange(n * size * size, dtype=np.uint8).reshape(n, size, size)
    return DigitSet(images, np.arange(n, dtype=np.int64))


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

    def test_idx_folder_of_both_parts(self, tmp_path: Path) -> None:
        for prefix, n in (("train", 3), ("t10k", 2)):
            write_idx(tmp_path / f"{prefix}-images-idx3-ubyte", digits(n).images)
            labels = digits(n).labels.astype(np.uint8)
            write_idx(tmp_path / f"{prefix}-labels-idx1-ubyte.gz", labels)
        found = load_path(tmp_path)
        assert len(found) == 2
        assert found.part == "test"
        found = load_path(tmp_path, prefer="train")
        assert len(found) == 3
        assert found.part == ""

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

    @pytest.mark.parametrize("fault", ["no image", "other size", "empty class", "no class"])
    def test_image_folder_that_is_wrong(self, fault: str, tmp_path: Path) -> None:
        self.make_image_folder(tmp_path)
        if fault == "no image":
            (tmp_path / "3" / "notes.png").write_text("not an image")
            complaint = r"notes\.png is no image"
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
