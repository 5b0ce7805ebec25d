"""Digits and letters by others: upright, counted from 0, fetched only when asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torchvision

from mnist_lab.data.digit_set import DataError
from mnist_lab.data.other_sets import load_from_torchvision, load_uci_digits
from tests.data.hostile_files import check_sentence
from tests.data.idx_files import write_idx


class TestUciDigits:
    def test_uci_digits_look_like_mnist(self) -> None:
        uci = load_uci_digits()
        assert uci.images.shape == (1_797, 28, 28)
        assert uci.part == "test"
        rows, columns = np.mgrid[:28, :28]
        weights = uci.images.astype(float)
        total = weights.sum((1, 2))
        centre = np.stack([(weights * a).sum((1, 2)) / total for a in (rows, columns)])
        assert np.abs(centre - 13.5).max() < 1
        assert (uci.images[:, [0, 1, 26, 27]] > 0).mean() < 0.01  # paper on the rim
        assert uci.images.max() > 250


class TestTorchvision:
    def write_emnist(self, root: Path) -> np.ndarray:
        """Write what torchvision expects of EMNIST letters, transposed as EMNIST is."""
        raw = root / "EMNIST" / "raw"
        raw.mkdir(parents=True)
        upright = np.zeros((3, 28, 28), np.uint8)
        upright[:, 2:26, 5] = 255  # a vertical stroke
        for part in ("train", "test"):
            stored = upright.transpose(0, 2, 1)
            write_idx(raw / f"emnist-letters-{part}-images-idx3-ubyte", stored)
            labels = np.array([1, 2, 26], np.uint8)
            write_idx(raw / f"emnist-letters-{part}-labels-idx1-ubyte", labels)
        return upright

    def test_emnist_letters_are_turned_upright_and_counted_from_0(self, tmp_path: Path) -> None:
        upright = self.write_emnist(tmp_path)
        found = load_from_torchvision("emnist-letters", tmp_path, "test")
        assert (found.images == upright).all()
        assert [found.class_names[label] for label in found.labels] == ["a", "b", "z"]
        assert found.part == "test"

    def test_absence_is_one_clear_sentence(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"kmnist is not in .*download=True"):
            load_from_torchvision("kmnist", tmp_path, "train")
        with pytest.raises(DataError, match="No data set 'cifar'"):
            load_from_torchvision("cifar", tmp_path, "train")

    @pytest.mark.parametrize("content", [b"", b"\0\0\x08\x03", b"no IDX file at all", bytes(99)])
    @pytest.mark.parametrize("what", ["images-idx3", "labels-idx1"])
    def test_a_damaged_file_is_one_clear_sentence(
        self, what: str, content: bytes, tmp_path: Path
    ) -> None:
        self.write_emnist(tmp_path)
        raw = tmp_path / "EMNIST" / "raw"
        (raw / f"emnist-letters-test-{what}-ubyte").write_bytes(content)
        with pytest.raises(DataError) as caught:
            load_from_torchvision("emnist-letters", tmp_path, "test")
        check_sentence(str(caught.value), tmp_path)

    def test_nothing_is_downloaded_unless_asked(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[bool] = []

        class Spy:
            def __init__(self, *_: object, download: bool, **__: object) -> None:
                asked.append(download)
                raise RuntimeError("stop here")

        monkeypatch.setattr(torchvision.datasets, "FashionMNIST", Spy)
        with pytest.raises(DataError):
            load_from_torchvision("fashion-mnist", tmp_path, "train")
        with pytest.raises(DataError, match="the download failed"):
            load_from_torchvision("fashion-mnist", tmp_path, "train", download=True)
        assert asked == [False, True]
