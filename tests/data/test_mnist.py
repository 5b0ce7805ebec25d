"""MNIST from the package: whole and unaltered, or one sentence that says what is wrong."""

from __future__ import annotations

import lzma
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torchvision

from mnist_lab.data import mnist
from mnist_lab.data.digit_set import DataError
from mnist_lab.data.mnist import MNIST, lay_out_for_torchvision


def run_python(code: str) -> str:
    """Run code in a process of its own and return what it prints."""
    command = [sys.executable, "-c", textwrap.dedent(code)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


class TestMnist:
    def test_has_the_published_shape(self, mnist: MNIST) -> None:
        assert mnist.train.images.shape == (60_000, 28, 28)
        assert mnist.test.images.shape == (10_000, 28, 28)
        assert mnist.train.images.dtype == np.uint8
        assert mnist.train.labels.dtype == np.int64
        assert (mnist.train.part, mnist.test.part) == ("train", "test")
        # The counts that LeCun et al. publish.
        assert mnist.train.class_counts().tolist() == [
            *(5923, 6742, 5958, 6131, 5842),
            *(5421, 5918, 6265, 5851, 5949),
        ]

    def test_needs_no_torch_little_memory_and_no_writable_disk(self, tmp_path: Path) -> None:
        printed = run_python(
            """
            import sys, tempfile, tracemalloc
            from pathlib import Path
            status = Path("/proc/self/status")
            if not status.exists():
                tracemalloc.start()
            def refuse(*_, **__): raise OSError("read-only")
            tempfile.mkstemp = refuse
            import mnist_lab, mnist_lab.data
            mnist = mnist_lab.data.load_mnist()
            assert len(mnist.train) == 60_000
            if status.exists():  # the highest resident size of this very process
                lines = dict(line.split(":") for line in status.read_text().splitlines())
                megabytes = int(lines["VmHWM"].split()[0]) / 1024
            else:
                megabytes = 40 + tracemalloc.get_traced_memory()[1] / 1024**2
            print("torch" in sys.modules, megabytes)
            """
        )
        has_torch, megabytes = printed.split()
        assert has_torch == "False"
        assert float(megabytes) < 250

    @pytest.mark.parametrize("damage", ["cut", "flip", "foreign", "missing"])
    def test_refuses_a_damaged_file(
        self, damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        source = Path(mnist.__file__).parent / "files"
        copies = tmp_path / "data" / "files"
        copies.mkdir(parents=True)
        for path in source.glob("*.xz"):
            (copies / path.name).write_bytes(path.read_bytes())
        victim = copies / "t10k-labels-idx1-ubyte.xz"
        content = victim.read_bytes()
        if damage == "cut":
            victim.write_bytes(content[: len(content) // 2])
        elif damage == "flip":
            labels = bytearray(lzma.decompress(content))
            labels[100] ^= 1
            victim.write_bytes(lzma.compress(labels))
        elif damage == "foreign":
            victim.write_bytes(b"this is no xz file")
        else:
            victim.unlink()
        monkeypatch.setattr(mnist.resources, "files", lambda _: tmp_path)
        with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte\.xz in the package"):
            mnist.load_mnist()

    def test_torchvision_reads_the_files_laid_out_for_it(
        self, mnist: MNIST, tmp_path: Path
    ) -> None:
        folder = lay_out_for_torchvision(tmp_path)
        (folder / "t10k-labels-idx1-ubyte").write_bytes(b"\0\0\x08\x01")
        lay_out_for_torchvision(tmp_path)  # completes what was cut short
        train = torchvision.datasets.MNIST(tmp_path, train=True, download=False)
        test = torchvision.datasets.MNIST(tmp_path, train=False, download=False)
        assert (train.data.numpy() == mnist.train.images).all()
        assert (test.targets.numpy() == mnist.test.labels).all()

    @pytest.mark.parametrize("content", [b"another data set", b"\0\0\x08\x01\0\0\x27\x11"])
    def test_a_file_of_something_else_is_not_overwritten(
        self, content: bytes, tmp_path: Path
    ) -> None:
        folder = tmp_path / "MNIST" / "raw"
        folder.mkdir(parents=True)
        path = folder / "t10k-labels-idx1-ubyte"
        path.write_bytes(content)
        with pytest.raises(DataError, match="other data than MNIST's, and is not overwritten"):
            lay_out_for_torchvision(tmp_path)
        assert path.read_bytes() == content
        assert list(folder.iterdir()) == [path]

    def test_a_longer_file_that_starts_like_it_is_not_overwritten(self, tmp_path: Path) -> None:
        path = lay_out_for_torchvision(tmp_path) / "train-images-idx3-ubyte"
        content = path.read_bytes() + b"mine"
        path.write_bytes(content)
        with pytest.raises(DataError, match="train-images-idx3-ubyte holds other data"):
            lay_out_for_torchvision(tmp_path)
        assert path.read_bytes() == content
