"""The table of writers: of the digits that we have, in their order, whole, and never in silence.

The tables here are made up, in QMNIST's format and of its size.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torchvision

from mnist_lab.data.digit_set import DataError
from mnist_lab.data.mnist import MNIST
from mnist_lab.data.writers import add_writers
from tests.data.hostile_files import check_sentence
from tests.data.idx_files import write_idx

ROWS = 60_000  # of both tables: QMNIST's test part is longer than MNIST's


def make_table(labels: np.ndarray, first_writer: int) -> np.ndarray:
    """Return a table whose digit i is by writer `first_writer` + i // 100."""
    table = np.zeros((ROWS, 8), np.int32)
    table[: len(labels), 0] = labels
    table[:, 1] = 4
    table[:, 2] = first_writer + np.arange(ROWS) // 100
    return table


class Tables:
    """A folder as torchvision has it, and what torchvision believes of the files in it."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.raw = root, root / "QMNIST" / "raw"
        self.raw.mkdir(parents=True)
        self.resources = dict(torchvision.datasets.QMNIST.resources)
        monkeypatch.setattr(torchvision.datasets.QMNIST, "resources", self.resources)

    def path(self, part: str) -> Path:
        return self.raw / f"qmnist-{part}-labels-idx2-int.gz"

    def write(self, part: str, table: np.ndarray) -> None:
        """Write a table, and let it be the one that torchvision expects."""
        write_idx(self.path(part), table)
        images, (address, _) = self.resources[part]
        digest = hashlib.md5(self.path(part).read_bytes()).hexdigest()
        self.resources[part] = [images, (address, digest)]


@pytest.fixture
def tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mnist: MNIST) -> Tables:
    made = Tables(tmp_path, monkeypatch)
    made.write("train", make_table(mnist.train.labels, 0))
    made.write("test", make_table(mnist.test.labels, 2_100))
    return made


def test_every_digit_gets_its_writer(tables: Tables, mnist: MNIST) -> None:
    named = add_writers(mnist, tables.root)
    for part, first in ((named.train, 0), (named.test, 2_100)):
        assert part.writers is not None
        assert part.writers.dtype == np.int64
        assert np.array_equal(part.writers, first + np.arange(len(part)) // 100)
    assert named.train.images is mnist.train.images
    assert (named.train.part, named.test.part) == ("train", "test")
    assert mnist.train.writers is None


def test_torchvision_calls_the_files_so_and_pins_them() -> None:
    for part in ("train", "test"):
        _, (address, digest) = torchvision.datasets.QMNIST.resources[part]
        assert address.endswith(f"/qmnist-{part}-labels-idx2-int.gz")
        assert len(digest) == 32


def test_a_table_of_other_digits_is_refused(tables: Tables, mnist: MNIST) -> None:
    table = make_table(mnist.test.labels, 0)
    table[7, 0] = 3  # a 9 in truth
    tables.write("test", table)
    with pytest.raises(DataError, match=r"its row 7 is of a 3, and digit 7 here is a 9") as caught:
        add_writers(mnist, tables.root)
    check_sentence(str(caught.value), tables.root)


def test_a_part_of_mnist_is_refused_as_it_is_in_another_order(tables: Tables, mnist: MNIST) -> None:
    part = MNIST(mnist.train.subset(slice(1, None)), mnist.test)
    with pytest.raises(DataError, match="whole parts of MNIST are needed"):
        add_writers(part, tables.root)


@pytest.mark.parametrize("shape", [(ROWS,), (ROWS, 3), (100, 8)])
def test_another_shape_is_refused(shape: tuple[int, ...], tables: Tables, mnist: MNIST) -> None:
    tables.write("train", np.zeros(shape, np.int32))
    with pytest.raises(DataError, match="is no table of writers: it has the shape"):
        add_writers(mnist, tables.root)


def test_one_byte_that_changed_is_seen(tables: Tables, mnist: MNIST) -> None:
    content = bytearray(tables.path("train").read_bytes())
    content[len(content) // 2] ^= 1
    tables.path("train").write_bytes(content)
    with pytest.raises(DataError, match="is damaged: its MD5 is not") as caught:
        add_writers(mnist, tables.root)
    check_sentence(str(caught.value), tables.root)


def test_absence_is_one_sentence_and_nothing_is_fetched_unless_asked(
    tables: Tables, mnist: MNIST, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str]] = []

    def fetch(address: str, folder: Path, name: str, digest: str) -> None:
        asked.append((name, digest))
        raise OSError("no network")

    monkeypatch.setattr(torchvision.datasets.utils, "download_url", fetch)
    add_writers(mnist, tables.root)
    tables.path("train").unlink()
    with pytest.raises(DataError, match=r"is not in .*download=True, which needs the network"):
        add_writers(mnist, tables.root)
    assert asked == []
    with pytest.raises(DataError, match="the download failed; is there a network") as caught:
        add_writers(mnist, tables.root, download=True)
    check_sentence(str(caught.value), tables.root)
    name, digest = tables.path("train").name, tables.resources["train"][1][1]
    assert asked == [(name, digest)]


def test_what_is_there_and_right_is_not_fetched_again(
    tables: Tables, mnist: MNIST, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("There was nothing to fetch.")

    monkeypatch.setattr(torchvision.datasets.utils, "_urlretrieve", never)
    assert add_writers(mnist, tables.root, download=True).test.writers is not None
