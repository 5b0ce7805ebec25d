"""Own digits: npz, IDX folders and picture folders, or one sentence that says why not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torchvision
from PIL import Image

from mnist_lab.data.digit_set import DataError, DigitSet
from mnist_lab.data.emnist import EMNIST_CLASSES
from mnist_lab.data.idx import read_idx
from mnist_lab.data.own_files import (
    load_idx_folder,
    load_image_folder,
    load_npz,
    load_path,
    save_npz,
)
from mnist_lab.files import write_atomically
from tests.data.hostile_files import check_sentence
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
        assert found.writers is None

    def test_npz_keeps_who_wrote(self, tmp_path: Path) -> None:
        save_npz(tmp_path / "ours.npz", replace(digits(), writers=np.array([4, 4, 2, 9])))
        found = load_npz(tmp_path / "ours.npz")
        assert found.writers is not None
        assert found.writers.tolist() == [4, 4, 2, 9]

    @pytest.mark.parametrize(
        ("writers", "complaint"),
        [
            (np.array([1, 2, 3], np.uint16), "there are 4 digits but 3 writers"),
            (np.array(["Ada", "Ada", "Bo", "Bo"]), r"writers must be whole numbers \(n,\)"),
        ],
    )
    def test_npz_with_other_writers(
        self, writers: np.ndarray, complaint: str, tmp_path: Path
    ) -> None:
        path = tmp_path / "ours.npz"
        np.savez(path, images=digits().images, labels=digits().labels, writers=writers)
        with pytest.raises(DataError, match=complaint) as caught:
            load_npz(path)
        check_sentence(str(caught.value), tmp_path)

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


JUNK = {
    "Thumbs.db": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500),
    "desktop.ini": b"[.ShellClassInfo]",
    "readme.txt": b"my digits",
    "labels.csv": b"0,1,2",
    ".DS_Store": b"\0\0\0\1Bud1",
    "._0.png": b"\0\5\x16\7",
    "LICENSE": b"free",
    "empty": b"",
}


class TestFolders:
    """What lies beside the digits, and what is wrong with some of them."""

    def make(self, root: Path, classes: str = "37", each: int = 2) -> None:
        for name in classes:
            (root / name).mkdir()
            for number in range(each):
                image = Image.fromarray(np.full((28, 28), number, np.uint8))
                image.save(root / name / f"{number}.png")

    def message(self, root: Path) -> str:
        with pytest.raises(DataError) as caught:
            load_path(root)
        check_sentence(str(caught.value), root)
        return str(caught.value)

    def test_what_systems_and_people_leave_there_stops_nothing(self, tmp_path: Path) -> None:
        self.make(tmp_path)
        for folder in (tmp_path, tmp_path / "3", tmp_path / "7"):
            for name, content in JUNK.items():
                (folder / name).write_bytes(content)
            for name in ("__MACOSX", ".ipynb_checkpoints"):
                (folder / name).mkdir()
                (folder / name / "0.png").write_bytes(b"")
        found = load_path(tmp_path)
        assert found.class_names == ("3", "7")
        assert found.labels.tolist() == [0, 0, 1, 1]

    @pytest.mark.parametrize("name", ["scan", "scan.0001", "scan.PNG", "scan.txt"])
    def test_a_picture_is_read_whatever_it_is_called(self, name: str, tmp_path: Path) -> None:
        self.make(tmp_path)
        (tmp_path / "3" / "0.png").rename(tmp_path / "3" / name)
        assert len(load_path(tmp_path)) == 4

    def test_bad_pictures_are_named_up_to_a_bound_and_none_is_dropped(self, tmp_path: Path) -> None:
        self.make(tmp_path)
        (tmp_path / "3" / "a.png").write_bytes(b"no picture")
        assert "3/a.png is no image that can be read." in self.message(tmp_path)
        (tmp_path / "7" / "b.heic").write_bytes(b"....ftypheic")
        said = self.message(tmp_path)
        assert "3/a.png is no image" in said
        assert said.endswith("(and wrong too: 7/b.heic).")
        for number in range(20):
            (tmp_path / "7" / f"c{number:02}.jpg").write_bytes(b"")
        said = self.message(tmp_path)
        assert said.endswith("7/b.heic, 7/c00.jpg, 7/c01.jpg, 7/c02.jpg, 7/c03.jpg and 16 more).")

    @pytest.mark.parametrize("error", [ValueError("too dark"), OSError(5, "broken"), MemoryError()])
    def test_whatever_the_reader_of_pictures_says_is_told_of_its_file(
        self, error: Exception, tmp_path: Path
    ) -> None:
        self.make(tmp_path)

        def read(path: Path) -> np.ndarray:
            if path.name == "1.png":
                raise error
            return np.zeros((28, 28), np.uint8)

        with pytest.raises(DataError) as caught:
            load_image_folder(tmp_path, read)
        check_sentence(str(caught.value), tmp_path / "3" / "1.png")
        assert str(caught.value).endswith("(and wrong too: 7/1.png).")

    def test_a_file_of_several_pages_has_no_one_label(self, tmp_path: Path) -> None:
        self.make(tmp_path)
        page = Image.new("L", (28, 28), 9)
        page.save(tmp_path / "3" / "z.tif", save_all=True, append_images=[page, page])
        assert "z.tif has 3 pages or frames: a picture of one digit has one" in self.message(
            tmp_path
        )

    @pytest.mark.parametrize("inside", [[], ["Thumbs.db", "readme.txt", ".DS_Store"]])
    def test_a_class_without_a_picture(self, inside: list[str], tmp_path: Path) -> None:
        self.make(tmp_path)
        (tmp_path / "9").mkdir()
        for name in inside:
            (tmp_path / "9" / name).write_bytes(JUNK[name])
        assert "9 is empty or holds no picture, and each class needs one" in self.message(tmp_path)

    def test_a_folder_in_the_place_of_a_picture_is_not_dropped(self, tmp_path: Path) -> None:
        self.make(tmp_path)
        (tmp_path / "3" / "more").mkdir()
        assert "more is a folder; a file is expected" in self.message(tmp_path)

    def test_pictures_without_folders_for_their_classes(self, tmp_path: Path) -> None:
        Image.new("L", (28, 28)).save(tmp_path / "3.png")
        assert "nor one sub-folder of pictures per class" in self.message(tmp_path)

    def test_deep_greys_and_transparency_are_taken_as_they_are_seen(self, tmp_path: Path) -> None:
        (tmp_path / "3").mkdir()
        Image.fromarray(np.full((9, 9), 65_535, np.uint16)).save(tmp_path / "3" / "a.png")
        Image.new("LA", (9, 9), (0, 0)).save(tmp_path / "3" / "b.png")
        assert (load_path(tmp_path).images == 255).all()

    @pytest.mark.parametrize("name", ["MNIST/raw", "raw", "FashionMNIST/raw", "gzip"])
    def test_the_folder_above_the_idx_files_is_told_which_one_to_name(
        self, name: str, tmp_path: Path
    ) -> None:
        folder = tmp_path / name
        folder.mkdir(parents=True)
        write_idx(folder / "t10k-images-idx3-ubyte", digits().images)
        write_idx(folder / "t10k-labels-idx1-ubyte", digits().labels.astype(np.uint8))
        assert self.message(tmp_path).endswith(f"name one of these folders: {folder}.")
        assert len(load_path(folder)) == 4
        (folder / "old").mkdir()  # beside IDX files a folder is no class
        assert len(load_path(folder)) == 4


class TestEmnist:
    """EMNIST's images are stored lying on their side."""

    def write(self, folder: Path, prefix: str, labels: list[int]) -> np.ndarray:
        upright = np.zeros((len(labels), 28, 28), np.uint8)
        upright[:, 2:26, 5] = 255  # a vertical stroke
        write_idx(folder / f"{prefix}-images-idx3-ubyte.gz", upright.transpose(0, 2, 1))
        write_idx(folder / f"{prefix}-labels-idx1-ubyte.gz", np.array(labels, np.uint8))
        return upright

    @pytest.mark.parametrize(
        ("split", "labels", "names"),
        [
            ("digits", [0, 3, 9], "039"),
            ("mnist", [0, 3, 9], "039"),
            ("letters", [1, 2, 26], "abz"),
            ("balanced", [0, 10, 35, 36, 39, 46], "0AZaet"),
            ("bymerge", [0, 10, 35, 36, 38, 46], "0AZadt"),
            ("byclass", [9, 10, 35, 36, 61], "9AZaz"),
        ],
    )
    @pytest.mark.parametrize("emnist", ["emnist", "EMNIST"])
    def test_stand_upright_and_have_their_names(
        self, emnist: str, split: str, labels: list[int], names: str, tmp_path: Path
    ) -> None:
        upright = self.write(tmp_path, f"{emnist}-{split}-test", labels)
        for found in (load_path(tmp_path), load_idx_folder(tmp_path)):
            assert (found.images == upright).all()
            assert "".join(found.class_names[label] for label in found.labels) == names
            assert found.part == "test"
        raw = read_idx(tmp_path / f"{emnist}-{split}-test-images-idx3-ubyte.gz")
        assert (raw == upright.transpose(0, 2, 1)).all()

    @pytest.mark.parametrize("label", [0, 27, 255])
    def test_a_letter_that_there_is_not(self, label: int, tmp_path: Path) -> None:
        self.write(tmp_path, "emnist-letters-train", [1, label])
        with pytest.raises(DataError, match=f"label {label} is outside the 26 classes 1 to 26"):
            load_path(tmp_path)

    def test_the_names_are_those_that_torchvision_has(self) -> None:
        for split, names in torchvision.datasets.EMNIST.classes_split_dict.items():
            assert list(EMNIST_CLASSES[split]) == [name for name in names if name != "N/A"]

    def test_parts_are_told_apart_and_data_sets_are_not_mixed_up(self, tmp_path: Path) -> None:
        self.write(tmp_path, "emnist-digits-test", [1])
        self.write(tmp_path, "emnist-digits-train", [1, 2])
        assert len(load_path(tmp_path)) == 1
        assert len(load_path(tmp_path, prefer="train")) == 2
        self.write(tmp_path, "emnist-letters-test", [1, 2, 3])
        with pytest.raises(DataError, match=r"several data sets \(emnist-digits-test, emnist-lett"):
            load_path(tmp_path)

    def test_others_are_not_turned(self, tmp_path: Path) -> None:
        upright = self.write(tmp_path, "kmnist-test", [1])
        assert (load_path(tmp_path).images == upright.transpose(0, 2, 1)).all()


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
