"""From a folder of pictures to a table of what stands in them: a line for each digit.

    rows = list(read_folder(reader, "scans"))
    write_table(rows, "table.csv")

A picture that cannot be read has one line, which says why, and stops none of the others. The table
is written when all is read, under a temporary name: it is whole or not there.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from mnist_lab.data.digit_set import DataError
from mnist_lab.data.pictures import is_picture
from mnist_lab.files import write_atomically
from mnist_lab.handwriting.ink import HandwritingError
from mnist_lab.handwriting.reader import Reader


@dataclass(frozen=True)
class Row:
    """A digit of a picture, or what is wrong with the picture.

    Attributes
    ----------
    file : str
        Below the folder, as "./2026/a.png": no name is taken for a formula by a spreadsheet.
    number : int or None
        Of the digit in its picture, from 1; lines from top to bottom, each from left to right.
    digit : str
        "?" where the reader abstained.
    probability : float or None
    left, top, right, bottom : int or None
        Its box, in pixels of the picture.
    error : str
        A sentence; then all but the file is empty.
    """

    file: str
    number: int | None = None
    digit: str = ""
    probability: float | None = None
    left: int | None = None
    top: int | None = None
    right: int | None = None
    bottom: int | None = None
    error: str = ""


def find_pictures(folder: str | Path) -> list[Path]:
    """Return the pictures in a folder and in those below it, sorted; links are not followed.

    What is hidden, or no picture, is passed over.

    Raises
    ------
    DataError
        If there is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"There is no folder {folder}.")
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        files = (Path(place, name) for name in names if not name.startswith("."))
        found += [file for file in files if not file.is_symlink() and _looks_like_one(file)]
    return sorted(found)


def _looks_like_one(file: Path) -> bool:
    try:
        return is_picture(file)
    except (DataError, OSError):
        return False  # it has no suffix of a picture, and cannot be opened


def read_picture_rows(reader: Reader, file: Path, folder: Path) -> list[Row]:
    """Return a row for each digit of a picture, or one that says why there is none."""
    name = f"./{file.relative_to(folder).as_posix()}"
    try:
        digits = reader.read_page(file).digits
    except (HandwritingError, FloatingPointError, MemoryError) as error:
        problem = " ".join(str(error).replace(str(file), name).split())
        return [Row(name, error=problem or f"{name} takes more memory than there is.")]
    rows = []
    for number, digit in enumerate(digits, 1):
        left, top, right, bottom = digit.box
        probability = round(digit.probability, 6)
        rows.append(Row(name, number, digit.name, probability, left, top, right, bottom))
    return rows


def read_folder(reader: Reader, folder: str | Path) -> Iterator[Row]:
    """Read one picture after another.

    Raises
    ------
    DataError
        If there is no such folder.
    """
    for file in find_pictures(folder):
        yield from read_picture_rows(reader, file, Path(folder))


def write_table(rows: Sequence[Row], path: str | Path) -> None:
    """Write rows as CSV in UTF-8, with a line of names above them.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(entry.name for entry in fields(Row))
    table.writerows(astuple(row) for row in rows)
    write_atomically(path, text.getvalue().encode("utf-8", "backslashreplace"))
