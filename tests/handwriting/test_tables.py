"""A folder of pictures as a table: each digit a line, each bad file too, nothing by halves."""

from __future__ import annotations

import csv
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnist_lab.data.digit_set import DataError
from mnist_lab.data.mnist import MNIST
from mnist_lab.handwriting import tables
from mnist_lab.handwriting.reader import Reader, load_reader
from mnist_lab.handwriting.tables import Row, find_pictures, read_folder, write_table
from mnist_lab.models.registry import build_model
from mnist_lab.training.checkpoints import save_checkpoint
from tests.command_line import run


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("tables") / "model"
    save_checkpoint(place, build_model("linear", seed=0))
    return place


@pytest.fixture(scope="module")
def reader(checkpoint: Path) -> Reader:
    return load_reader(checkpoint, device="cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, mnist: MNIST) -> Path:
    """Two pictures, one of two digits and in a folder of its own; what is none; what is hostile."""
    place = tmp_path_factory.mktemp("scans")
    (place / "of may").mkdir()
    for name, count in (("b.png", 1), ("of may/a.png", 2)):
        sheet = np.full((60, 60 + 40 * count), 255, np.uint8)
        for k in range(count):
            sheet[16:44, 20 + 40 * k : 48 + 40 * k] -= mnist.train.images[k]
        Image.fromarray(sheet).save(place / name)
    (place / "notes.txt").write_text("no picture")
    (place / ".hidden.png").write_bytes((place / "b.png").read_bytes())
    (place / "=HYPERLINK(x).png").write_bytes(b"no picture at all")
    (place / "half,\nof one.png").write_bytes((place / "b.png").read_bytes()[:60])
    (place / "empty.png").write_bytes(b"")
    (place / "of may" / "round and round").symlink_to(place)
    return place


def read_table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_pictures_are_found_sorted_and_nothing_else(folder: Path) -> None:
    names = [file.relative_to(folder).as_posix() for file in find_pictures(folder)]
    assert names == ["=HYPERLINK(x).png", "b.png", "empty.png", "half,\nof one.png", "of may/a.png"]
    with pytest.raises(DataError, match="There is no folder"):
        find_pictures(folder / "b.png")


def test_a_row_for_each_digit_as_the_reader_reads_it(folder: Path, reader: Reader) -> None:
    rows = [row for row in read_folder(reader, folder) if row.file == "./of may/a.png"]
    digits = reader.read_page(folder / "of may" / "a.png").digits
    assert [(row.number, row.digit) for row in rows] == [
        (1, digits[0].name),
        (2, digits[1].name),
    ]
    assert [(row.left, row.top, row.right, row.bottom) for row in rows] == [
        digit.box for digit in digits
    ]
    assert rows[0].probability == pytest.approx(digits[0].probability, abs=1e-6)


def test_what_cannot_be_read_says_why_and_stops_nothing(folder: Path, reader: Reader) -> None:
    rows = list(read_folder(reader, folder))
    wrong = {row.file: row for row in rows if row.error}
    assert len(rows) - len(wrong) == 3
    assert set(wrong) == {"./=HYPERLINK(x).png", "./empty.png", "./half,\nof one.png"}
    for row in wrong.values():
        assert (row.number, row.digit, row.probability, row.left) == (None, "", None, None)
        assert row.error.startswith("./")
        assert "\n" not in row.error


def test_a_spreadsheet_sees_no_formula(folder: Path, reader: Reader, tmp_path: Path) -> None:
    write_table(list(read_folder(reader, folder)), tmp_path / "t.csv")
    for row in read_table(tmp_path / "t.csv"):
        assert not any(value[:1] in {"=", "+", "-", "@", "\t"} for value in row.values())


def test_the_table_comes_back_as_it_was(tmp_path: Path) -> None:
    rows = [
        Row('./a "b", c.png', 1, "7", 0.25, 1, 2, 3, 4),
        Row("./\udcff.png", error="./x is no image."),
    ]
    write_table(rows, tmp_path / "t.csv")
    first, second = read_table(tmp_path / "t.csv")
    assert first == {
        "file": './a "b", c.png',
        **dict.fromkeys(["number", "left"], "1"),
        "digit": "7",
        "probability": "0.25",
        "top": "2",
        "right": "3",
        "bottom": "4",
        "error": "",
    }
    assert (second["file"], second["digit"]) == ("./\\udcff.png", "")


class TestCommand:
    def test_table_summary_and_status(
        self, folder: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        out = tmp_path / "t.csv"
        status, told, _ = run(capsys, "read", checkpoint, folder, "--out", out, "--json")
        assert status == 2
        assert json.loads(told.splitlines()[-1]) == {
            "file": str(out),
            "pictures": 5,
            "digits": 3,
            "unread": 3,
        }
        assert told.startswith(f"3 digits of 5 pictures in {out}; 3 could not be read")
        assert len(read_table(out)) == 6

    def test_no_table_is_lost_and_none_is_half_written(
        self,
        folder: Path,
        checkpoint: Path,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        out = tmp_path / "t.csv"
        out.write_text("mine")
        asked = ("read", checkpoint, folder / "of may", "--out", out)
        status, _, told = run(capsys, *asked)
        assert (status, out.read_text()) == (2, "mine")
        assert told == f"mnist_lab read: {out} is there already; --overwrite replaces it.\n"

        def stopped(*_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(tables, "read_picture_rows", stopped)
            assert run(capsys, *asked, "--overwrite")[0] == 130
        assert out.read_text() == "mine"
        assert run(capsys, *asked, "--overwrite")[0] == 0
        assert [row["file"] for row in read_table(out)] == ["./a.png", "./a.png"]
        assert list(tmp_path.iterdir()) == [out]

    @pytest.mark.parametrize(
        ("out", "told"),
        [
            ("t.parquet", "The table is written as CSV: name it .csv, and not t.parquet."),
            ("none/t.csv", "There is no folder"),
        ],
    )
    def test_another_place_or_kind(
        self,
        out: str,
        told: str,
        folder: Path,
        checkpoint: Path,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        status, _, err = run(capsys, "read", checkpoint, folder, "--out", tmp_path / out)
        assert status == 2
        assert err.startswith(f"mnist_lab read: {told}")

    def test_an_empty_folder(
        self, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        status, _, err = run(capsys, "read", checkpoint, tmp_path, "--out", tmp_path / "t.csv")
        assert (status, err) == (2, f"mnist_lab read: There is no picture in {tmp_path}.\n")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such pipes")
def test_a_pipe_is_not_waited_on(reader: Reader, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    (row,) = read_folder(reader, tmp_path)
    assert row.error
