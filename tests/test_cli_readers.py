"""The command line and files of other people's making: one sentence each, none stops the others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from mnist_lab.cli import main
from mnist_lab.data.digit_set import DigitSet
from mnist_lab.data.own_files import save_npz
from mnist_lab.models.registry import build_model
from mnist_lab.training.cards import ModelCard
from mnist_lab.training.checkpoints import save_checkpoint
from tests.data.hostile_files import SPECIAL, check_sentence
from tests.data.idx_files import write_idx


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the checkpoint of an untrained network: what it reads does not matter here."""
    folder = tmp_path_factory.mktemp("reader")
    model = build_model("linear", seed=0)
    save_checkpoint(folder, model, ModelCard.of(model))
    return folder


@pytest.fixture
def good(tmp_path: Path) -> Path:
    page = Image.new("L", (60, 60), 255)
    page.paste(0, (25, 10, 32, 50))
    page.save(tmp_path / "good.png")
    return tmp_path / "good.png"


def run(capfd: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, list[str]]:
    """Return the status, what was printed, and what was told but for doubts.

    The reader of these tests has learnt nothing: it doubts every digit, and says so.
    """
    status = main([str(argument) for argument in arguments])
    out, err = capfd.readouterr()
    return status, out, [line for line in err.splitlines() if "is doubtful" not in line]


def some_digits() -> DigitSet:
    return DigitSet(np.full((20, 28, 28), 9, np.uint8), np.arange(20) % 10)


class TestPredict:
    @pytest.mark.parametrize("kind", [kind for kind in SPECIAL if kind != "NUL in its name"])
    def test_what_is_no_picture_does_not_stop_the_others(
        self, kind: str, reader: Path, good: Path, tmp_path: Path, capfd: Any
    ) -> None:
        bad = SPECIAL[kind](tmp_path / "bad.png")
        status, out, err = run(capfd, "predict", reader, bad, good, bad, good, "--json")
        assert status == 2
        results = json.loads(out.splitlines()[-1])["results"]
        assert [len(entry["digits"]) for entry in results] == [0, 1, 0, 1]
        assert len(err) == 2
        for line in err:
            assert line.startswith("mnist_lab predict: ")
            check_sentence(line.removeprefix("mnist_lab predict: "), bad)

    def test_a_decoder_that_raises_what_nobody_expects(
        self, reader: Path, good: Path, tmp_path: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As Pillow's of AVIF does: RuntimeError."""
        bad, load = tmp_path / "bad.png", PngImageFile.load

        def load_or_fail(image: PngImageFile) -> Any:
            if image.size == (7, 7):
                raise RuntimeError("Failed to decode frame 0")
            return load(image)

        Image.new("L", (7, 7)).save(bad)
        monkeypatch.setattr(PngImageFile, "load", load_or_fail)
        status, out, err = run(capfd, "predict", reader, bad, good, "--json")
        assert status == 2
        results = json.loads(out.splitlines()[-1])["results"]
        assert [len(entry["digits"]) for entry in results] == [0, 1]
        said = f"{bad} cannot be read as an image: Failed to decode frame 0."
        assert err == [f"mnist_lab predict: {said}"]

    @pytest.mark.parametrize("pages", [1, 3])
    def test_says_what_is_not_read_of_a_file_with_several_pages(
        self, pages: int, reader: Path, good: Path, capfd: Any
    ) -> None:
        page = Image.open(good)
        scan = good.with_name("scan.tif")
        page.save(scan, save_all=True, append_images=[page] * (pages - 1))
        page.close()
        status, out, err = run(capfd, "predict", reader, scan)
        assert status == 0
        assert out.startswith(f"{scan}: ")
        assert err == ([f"mnist_lab predict: {scan}: page 1 of 3 is read"] if pages > 1 else [])


class TestData:
    @pytest.mark.parametrize("kind", [kind for kind in SPECIAL if kind != "NUL in its name"])
    @pytest.mark.parametrize("command", ["evaluate", "train", "finetune"])
    def test_what_is_no_data_is_one_sentence(
        self, command: str, kind: str, reader: Path, tmp_path: Path, capfd: Any
    ) -> None:
        path = SPECIAL[kind](tmp_path / "mine.npz")
        of_model = [] if command == "train" else [reader]
        out = [] if command == "evaluate" else [f"--out={tmp_path / 'out'}"]
        status, printed, err = run(capfd, command, *of_model, "--data", path, *out)
        assert (status, printed, len(err)) == (2, "", 1)
        check_sentence(err[0].removeprefix(f"mnist_lab {command}: "), path)

    @pytest.mark.parametrize("name", ["mnist", "uci"])
    def test_a_folder_that_is_called_like_a_data_set(
        self, name: str, reader: Path, tmp_path: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        assert run(capfd, "evaluate", reader, "--data", name)[2] == []
        (tmp_path / name).mkdir()
        write_idx(tmp_path / name / "t10k-images-idx3-ubyte", some_digits().images)
        write_idx(tmp_path / name / "t10k-labels-idx1-ubyte", np.arange(20, dtype=np.uint8) % 10)
        _, out, err = run(capfd, "evaluate", reader, "--data", name, "--json")
        assert json.loads(out.splitlines()[-1])["n"] > 1_000
        assert err == [
            f"--data {name} is the data set of that name; for what lies here, --data ./{name}"
        ]
        _, out, err = run(capfd, "evaluate", reader, "--data", f"./{name}", "--json")
        assert json.loads(out.splitlines()[-1])["n"] == 20
        assert err == []

    def test_an_npz_whose_name_is_in_capitals(
        self, reader: Path, tmp_path: Path, capfd: Any
    ) -> None:
        save_npz(tmp_path / "MINE.NPZ", some_digits())
        assert run(capfd, "evaluate", reader, "--data", tmp_path / "MINE.NPZ")[0] == 0
