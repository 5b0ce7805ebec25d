"""Folders that hold our files among others': nothing that we did not write is touched."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mnist_lab.data.digit_set import DigitSet
from mnist_lab.data.own_files import save_npz
from mnist_lab.export import export_web
from mnist_lab.files import NotAFileError, open_regular, write_atomically
from mnist_lab.finetuning.lora import add_lora, save_lora
from mnist_lab.finetuning.masked import GuessHiddenPatches, make_autoencoder
from mnist_lab.finetuning.ways import finetune
from mnist_lab.folders import LOCK, MARK, FolderError, claim
from mnist_lab.models.registry import build_model
from mnist_lab.training.cards import ModelCard
from mnist_lab.training.checkpoints import load_checkpoint, save_checkpoint
from mnist_lab.training.config import TrainConfig
from mnist_lab.training.runs import fit
from mnist_lab.training.tensor_folders import load_tensors, save_tensors
from tests.training.small_runs import Sets

# Names that people, and other programs, give to their files.
THEIRS = (
    *("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"),
    *("model-best.safetensors", "model-web.safetensors", "model.safetensors", "model.pt"),
    *("model-0123456789ab.safetensors", ".model.json.swp", ".model.json.01234567"),
    *("resume-jane-doe.pdf", "resume-2024.docx", "resume.txt", "resume-0123456789ab.safetensors"),
    *("lora-mine.safetensors", "lora-0123456789ab.safetensors", "notes.txt"),
)
PLAIN = TrainConfig(epochs=2, batch_size=64, learning_rate=0.01)

Write = Callable[[Path, Sets], Any]


@pytest.fixture
def sets(small_sets: Sets) -> Sets:
    """300 digits to train on, 200 to validate on."""
    return small_sets[0].subset(np.arange(300)), small_sets[1].subset(np.arange(200))


def fit_into(folder: Path | str, sets: Sets) -> None:
    fit("linear", *sets, PLAIN, device="cpu", folder=folder, progress=False)


def pretrain(folder: Path, sets: Sets) -> None:
    model = make_autoencoder(build_model("vit", seed=0, depth=1), seed=0)
    fit(
        model, *sets, PLAIN, objective=GuessHiddenPatches(), device="cpu", folder=folder,
        progress=False,
    )  # fmt: skip


def tune(folder: Path, sets: Sets) -> None:
    model = build_model("mlp", seed=0, hidden=8)
    finetune(model, *sets, PLAIN, way="lora", device="cpu", folder=folder, progress=False)


def save_twice(folder: Path, sets: Sets) -> None:
    for seed in range(2):
        save_checkpoint(folder, build_model("linear", seed=seed))
        save_lora(folder, add_lora(build_model("mlp", seed=seed, hidden=8)))


DOORS: dict[str, Write] = {
    "train": fit_into, "pretrain": pretrain, "finetune": tune, "save": save_twice,
}  # fmt: skip


def listing(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize("door", DOORS)
class TestOthersFiles:
    def test_are_all_there_afterwards(self, door: str, sets: Sets, tmp_path: Path) -> None:
        for name in THEIRS:
            (tmp_path / name).write_text(name)
        (tmp_path / "resume-photos").mkdir()
        (tmp_path / "model-old.safetensors").mkdir()
        DOORS[door](tmp_path, sets)
        assert all((tmp_path / name).read_text() == name for name in THEIRS)
        assert (tmp_path / "resume-photos").is_dir()
        assert (tmp_path / "model-old.safetensors").is_dir()
        load_checkpoint(tmp_path)

    @pytest.mark.parametrize("content", ['{"format": "graph-model"}', "not JSON", ""])
    def test_in_the_place_of_ours_are_refused_before_the_work(
        self, door: str, content: str, sets: Sets, tmp_path: Path
    ) -> None:
        (tmp_path / "model.json").write_text(content)
        with pytest.raises(FolderError, match=r"model.json was not written by mnist-lab"):
            DOORS[door](tmp_path, sets)
        assert listing(tmp_path) == {"model.json": content.encode()}

    @pytest.mark.parametrize("kind", ["folder", "link", "dangling link", "pipe"])
    def test_special_ones_are_not_replaced(
        self, door: str, kind: str, sets: Sets, tmp_path: Path
    ) -> None:
        place, target = tmp_path / "run" / "model.json", tmp_path / "target"
        place.parent.mkdir()
        if kind == "folder":
            place.mkdir()
        elif kind == "pipe":
            os.mkfifo(place)
        else:
            place.symlink_to(target)
            if kind == "link":
                target.write_text("{}")
        before = place.lstat()
        with pytest.raises(FolderError, match=rf"model.json is a {kind.split()[-1]}"):
            DOORS[door](place.parent, sets)
        assert place.lstat().st_mode == before.st_mode
        assert [path.name for path in place.parent.iterdir()] == ["model.json"]


class TestWhereNothingCanBeWritten:
    @pytest.mark.parametrize(
        ("folder", "says"),
        [
            ("", "The folder has no name"),
            ("file", "is a file; a folder for the checkpoint is expected"),
            ("file/below", "is a file; a folder"),
            ("pipe", "is a pipe; a folder"),
            ("nowhere", "is a link that leads nowhere"),
            ("x" * 300, "cannot be written into: File name too long"),
            ("/proc/mine", "/proc/mine cannot be written into"),
            ("/dev/null", "/dev/null is a device; a folder"),
            ("nul\0", "cannot be written into"),
        ],
    )
    def test_is_told_before_the_first_step(
        self, folder: str, says: str, sets: Sets, tmp_path: Path
    ) -> None:
        (tmp_path / "file").write_text("mine")
        (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
        os.mkfifo(tmp_path / "pipe")
        before = sorted(tmp_path.iterdir())
        with pytest.raises(FolderError, match=says):
            fit_into(str(tmp_path / folder) if folder else "", sets)
        assert sorted(tmp_path.iterdir()) == before

    def test_a_full_disk_is_one_sentence_and_leaves_nothing_behind(
        self, sets: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*arguments: Any, **options: Any) -> int:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(Path, "write_text", full)
        with pytest.raises(FolderError, match=r"run cannot be written into: No space left"):
            fit_into(tmp_path / "above" / "run", sets)
        monkeypatch.undo()
        assert not list(tmp_path.iterdir())


class TestMark:
    def test_lists_what_was_written_and_nothing_else_goes(self, tmp_path: Path) -> None:
        save_tensors(tmp_path, "model", {"a": torch.zeros(1)}, {})
        record = json.loads((tmp_path / MARK).read_text())
        assert sorted(record["files"]) == sorted(listing(tmp_path).keys() - {MARK, LOCK})
        assert "process" not in record  # nobody writes now, and no machine's name stays

    @pytest.mark.parametrize(
        "names",
        [["../mine.txt"], ["mine.txt"], [""], ["sub/model.json"], [".."], ["model.txt", "model-x"]],
    )
    def test_that_somebody_changed_gives_no_right_to_others_files(
        self, names: list[str], tmp_path: Path
    ) -> None:
        (tmp_path / "mine.txt").write_text("mine")
        run = tmp_path / "run"
        save_tensors(run, "model", {"a": torch.zeros(1)}, {})
        (run / "mine.txt").write_text("mine")
        record = json.loads((run / MARK).read_text())
        (run / MARK).write_text(json.dumps(record | {"files": record["files"] + names}))
        save_tensors(run, "model", {"a": torch.ones(1)}, {})
        assert (tmp_path / "mine.txt").read_text() == (run / "mine.txt").read_text() == "mine"

    @pytest.mark.parametrize(
        "content", ["", "{", "[]", "null", '{"format": "other"}', "[" * 9_000, '{"files": 3}']
    )
    def test_that_is_damaged_is_a_sentence(self, content: str, tmp_path: Path) -> None:
        save_tensors(tmp_path, "model", {"a": torch.zeros(1)}, {})
        (tmp_path / MARK).write_text(content)
        with pytest.raises(FolderError, match=r"\.mnist-lab\.json is damaged, or of another"):
            save_tensors(tmp_path, "model", {"a": torch.ones(1)}, {})
        assert load_tensors(tmp_path, "model")[0]["a"] == 0

    def test_that_is_missing_does_not_keep_an_old_checkpoint_from_being_replaced(
        self, tmp_path: Path
    ) -> None:
        save_tensors(tmp_path, "model", {"a": torch.zeros(1)}, {})
        (tmp_path / MARK).unlink()
        save_tensors(tmp_path, "model", {"a": torch.ones(1)}, {})
        assert len(listing(tmp_path)) == 4
        assert load_tensors(tmp_path, "model")[0]["a"] == 1

    def test_knows_what_a_kill_left_half(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        code = """
            import os, signal, sys, torch
            from pathlib import Path
            from mnist_lab.training.tensor_folders import save_tensors
            def kill(self, content):
                open(self, "wb").write(b"half")
                os.kill(os.getpid(), signal.SIGKILL)
            Path.write_bytes = kill
            save_tensors(sys.argv[1], "model", {"a": torch.zeros(1)}, {})
        """
        subprocess.run([sys.executable, "-c", textwrap.dedent(code), str(tmp_path)])
        assert any(content == b"half" for content in listing(tmp_path).values())
        save_tensors(tmp_path, "model", {"a": torch.ones(1)}, {})
        assert len(listing(tmp_path)) == 4

    def test_knows_what_a_kill_left_at_the_end_of_a_run(self, sets: Sets, tmp_path: Path) -> None:
        fit_into(tmp_path, sets)
        before = listing(tmp_path).keys()
        record = json.loads((tmp_path / MARK).read_text())
        left = ["resume-0123456789ab.safetensors", ".model.json.01234567"]
        for name in left:
            (tmp_path / name).write_text("left")
        (tmp_path / "resume-ba9876543210.safetensors").write_text("mine")
        (tmp_path / MARK).write_text(json.dumps(record | {"files": record["files"] + left}))
        fit("linear", *sets, PLAIN, device="cpu", folder=tmp_path, progress=False, resume=True)
        assert listing(tmp_path).keys() == before | {"resume-ba9876543210.safetensors"}


class TestOneWriter:
    def test_another_process_is_refused_by_its_number(self, sets: Sets, tmp_path: Path) -> None:
        code = """
            import sys
            from mnist_lab.folders import claim
            with claim(sys.argv[1]):
                print("mine", flush=True)
                sys.stdin.read()
        """
        command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == "mine\n"
            refused = pytest.raises(FolderError, match=rf"^Process {other.pid} of .* is writing")
            with refused, claim(tmp_path, wait=0):
                pass
            other.kill()
        with claim(tmp_path, wait=0):  # a process that is dead holds nothing
            pass
        assert not list(tmp_path.iterdir())

    def test_whoever_holds_it_further_out_may_write(self, tmp_path: Path) -> None:
        with claim(tmp_path) as own:
            save_tensors(tmp_path, "model", {"a": torch.zeros(1)}, {})
            with claim(str(tmp_path) + "/.") as same:
                assert same is own
        load_tensors(tmp_path, "model")

    def test_threads_take_turns(self, tmp_path: Path) -> None:
        def save(value: int) -> None:
            for _ in range(5):
                save_tensors(tmp_path, "model", {"a": torch.tensor(value)}, {})

        threads = [threading.Thread(target=save, args=(k,)) for k in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert int(load_tensors(tmp_path, "model")[0]["a"]) in range(3)
        assert len(listing(tmp_path)) == 4

    def test_processes_that_save_at_once_leave_one_whole_checkpoint(self, tmp_path: Path) -> None:
        context = multiprocessing.get_context("spawn")
        writers = [context.Process(target=_save_often, args=(tmp_path, k)) for k in range(2)]
        for writer in writers:
            writer.start()
        read = 0
        while any(writer.is_alive() for writer in writers):
            if (tmp_path / "model.json").exists():  # a reader beside them gets a whole one
                load_tensors(tmp_path, "model")
                read += 1
        for writer in writers:
            writer.join()
            assert writer.exitcode == 0
        assert read
        assert float(load_tensors(tmp_path, "model")[0]["a"][0]) in (39.0, 139.0)
        assert len(listing(tmp_path)) == 4


def _save_often(folder: Path, which: int) -> None:
    for k in range(40):
        tensors = {"a": torch.full((1000,), 100.0 * which + k)}
        save_tensors(folder, "model", tensors, {})


class TestSingleFiles:
    """What is written as one file, whatever is there already."""

    def write(self, name: str, path: Path) -> None:
        if name == "web":
            model = build_model("linear", seed=0)
            export_web(model, ModelCard.of(model), path)
        elif name == "npz":
            save_npz(path, DigitSet(np.ones((1, 28, 28), np.uint8), np.zeros(1, np.int64)))
        else:
            write_atomically(path, b"content")

    @pytest.mark.parametrize("name", ["bytes", "web", "npz"])
    def test_behind_a_link_the_file_is_written_and_the_link_stays(
        self, name: str, tmp_path: Path
    ) -> None:
        (tmp_path / "link").symlink_to("file")
        for _ in range(2):  # it is not there, and it is there
            self.write(name, tmp_path / "link")
            assert (tmp_path / "link").is_symlink()
            assert (tmp_path / "file").stat().st_size > 5
        assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "link"]

    @pytest.mark.parametrize("name", ["bytes", "web", "npz"])
    def test_a_pipe_and_a_device_stay_what_they_are(self, name: str, tmp_path: Path) -> None:
        before = Path("/dev/null").stat().st_mode
        self.write(name, Path("/dev/null"))
        assert Path("/dev/null").stat().st_mode == before
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(
            NotAFileError, match=r"There is no folder .*nowhere to write file into$"
        ):
            self.write(name, tmp_path / "nowhere" / "file")
        with pytest.raises(NotAFileError, match="is a pipe that nobody reads from"):
            self.write(name, tmp_path / "pipe")
        reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
        self.write(name, tmp_path / "pipe")
        assert len(os.read(reader, 1 << 16)) > 5
        os.close(reader)
        assert (tmp_path / "pipe").is_fifo()

    def test_what_is_no_file_is_not_read_as_one(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        for path, kind in ((tmp_path / "pipe", "pipe"), (tmp_path, "folder"), ("/dev/zero", "dev")):
            with pytest.raises(NotAFileError, match=rf"is a {kind}.*; a file is expected$"):
                open_regular(path)
