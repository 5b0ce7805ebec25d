"""The command line at a terminal: pipes and streams that are closed, odd names, early refusals."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mnist_lab.data import mnist as mnist_files
from mnist_lab.data.mnist import MNIST
from mnist_lab.models.registry import build_model
from mnist_lab.training import loop
from mnist_lab.training.checkpoints import load_checkpoint, save_checkpoint
from tests.command_line import run

MODULE = [sys.executable, "-m", "mnist_lab"]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("network")
    save_checkpoint(folder, build_model("linear", seed=0))
    return folder


def picture(path: Path) -> Path:
    page = np.full((120, 100), 255, np.uint8)
    page[20:100, 45:55] = 0
    Image.fromarray(page).save(path, format="PNG")
    return path


def besides_doubts(told: bytes) -> list[bytes]:
    """What stands on standard error, but for digits of which a quick network is unsure."""
    return [line for line in told.splitlines() if b" is doubtful: " not in line]


class TestStreams:
    """In real processes: the interpreter's own end is part of it."""

    def test_a_pipe_that_is_closed_ends_quietly(self, network: Path, tmp_path: Path) -> None:
        pages = [str(picture(tmp_path / f"{k}.png")) for k in range(3)]
        command = [*MODULE, "predict", str(network), *pages * 30]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=_unbuffered()
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            assert process.stdout.readline()
            process.stdout.close()
            assert besides_doubts(process.stderr.read()) == []
        assert process.returncode == 141

    def test_standard_error_that_is_closed_is_not_standard_output(self, network: Path) -> None:
        ended = self.close(2, network, "missing.png")
        assert (ended.returncode, ended.stdout) == (2, b"")

    def test_standard_output_that_is_closed_loses_only_what_it_says(
        self, network: Path, tmp_path: Path
    ) -> None:
        ended = self.close(1, network, str(picture(tmp_path / "one.png")))
        assert (ended.returncode, besides_doubts(ended.stderr)) == (0, [])

    def close(self, descriptor: int, network: Path, name: str) -> subprocess.CompletedProcess[Any]:
        line = f'exec "$@" {descriptor}>&-'
        command = ["sh", "-c", line, "sh", *MODULE, "predict", str(network), name]
        return subprocess.run(command, capture_output=True)

    @pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
    def test_a_name_that_the_terminal_cannot_write_is_escaped(
        self, encoding: str, network: Path, tmp_path: Path
    ) -> None:
        good = picture(tmp_path / "一.png")
        odd = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png")  # no text in any encoding
        picture(Path(odd))
        ended = subprocess.run(
            [*MODULE, "predict", str(network), "缺.png", str(good), odd],
            capture_output=True,
            env=_unbuffered() | {"PYTHONIOENCODING": encoding},
        )
        lines = ended.stdout.decode(encoding).splitlines()
        assert len(lines) == 2  # one that is missing does not stop the others
        assert ("一" if encoding == "utf-8" else "\\u4e00") in lines[0]
        assert "\\udcff.png: " in lines[1]
        assert len(besides_doubts(ended.stderr)) == 1
        assert ended.returncode == 2


def _unbuffered() -> dict[str, str]:
    return dict(os.environ) | {"PYTHONUNBUFFERED": "1"}


class TestBeforeTheWork:
    """Every refusal comes before digits are loaded, and leaves no folder behind."""

    @pytest.mark.parametrize(
        ("options", "says"),
        [
            (["train", "--model=nope"], "No model 'nope'; there are article_000,"),
            (["train", "--model="], "argument --model: an empty name"),
            (["train", "--out="], "argument --out: an empty name; is a variable not set?"),
            (["train", "--data="], "argument --data: an empty name"),
            (["train", "--epochs=0"], "argument --epochs: '0' is no whole number from 1 on"),
            (["train", f"--epochs={10**30}"], "is no whole number from 1 on"),
            (["train", f"--seed={2**64}"], "argument --seed: '18446744073709551616' is no whole"),
            (["train", "--seed=-1"], "argument --seed: '-1' is no whole number from 0 on"),
            (["train", "--seed=" + "9" * 9_000], "argument --seed: '999"),
            (["train", "--out=file"], "file is a file; a folder for the checkpoint is expected"),
            (["train", "--out=/proc/x"], "/proc/x cannot be written into"),
            (["train", "--out=done"], "done holds a finished checkpoint: replace it with --over"),
            (["train", "--device=mps"], "mps"),
            (["pretrain", "--out="], "argument --out: an empty name"),
            (["pretrain", "--out=done"], "done holds a finished checkpoint"),
            (["pretrain", "--mask-share=2"], "mask_share cannot be 2.0."),
            (["pretrain", "--mask-share=0.999"], "would hide 16 of 16 patches"),
            (["finetune", "done", "--data=mnist", "--out="], "argument --out: an empty name"),
            (["finetune", "done", "--data=mnist", "--out=done"], "would overwrite the checkpoint"),
            (["finetune", "done", "--data=mnist", "--out=file"], "is a file; a folder"),
            (["finetune", "loop", "--data=mnist"], "loop/model.json cannot be read"),
            (["finetune", "", "--data=mnist"], "argument DIR: an empty name"),
            (["finetune", "done", "--data=mnist", "--steps=0"], "--steps: '0' is no whole number"),
            (["evaluate", "done", "--data="], "argument --data: an empty name"),
            (["evaluate", ""], "argument DIR: an empty name"),
            (["predict", "done", ""], "argument IMAGE: an empty name"),
            (["export", "done", "--format=web", "--out="], "argument --out: an empty name"),
            (["export", "done", "--format=web", "--out=no/x"], "There is no folder no to write"),
            (["export", "done", "--format=web", "--out=file"], "file is there already and is no"),
            (["export", "done", "--format=onnx", "--out=file"], "file is there already and is no"),
            (["export", "done", "--format=onnx", "--out=done"], "done is a folder; name a file."),
        ],
        ids=lambda value: " ".join(value)[:50] if isinstance(value, list) else "",
    )
    def test_in_one_sentence(
        self,
        options: list[str],
        says: str,
        network: Path,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def work(*_: object) -> None:
            raise AssertionError("work has begun")

        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(mnist_files, "load_mnist", work)
        (tmp_path / "done").symlink_to(network)
        (tmp_path / "loop").symlink_to("loop")
        (tmp_path / "file").write_text("mine")
        before = sorted(tmp_path.rglob("*"))
        status, out, err = run(capsys, *options)
        assert (status, out) == (2, "")
        assert says in err
        assert err.count("\n") == 1
        assert len(err) < 600
        assert sorted(tmp_path.rglob("*")) == before
        assert (tmp_path / "file").read_text() == "mine"


class TestFinishedRuns:
    """A finished model is the most precious thing in the folder."""

    OPTIONS = ("train", "--preset=standard", "--model=linear", "--epochs=2", "--device=cpu")

    def train(self, capsys: pytest.CaptureFixture[str], *more: object) -> tuple[int, str, str]:
        return run(capsys, *self.OPTIONS, "--json", *more)

    def stop_at(self, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
        original, count = loop.train_step, [0]

        def train_step(*arguments: Any) -> Any:
            count[0] += 1
            if count[0] == step:
                raise KeyboardInterrupt
            return original(*arguments)

        monkeypatch.setattr(loop, "train_step", train_step)

    def test_are_not_overwritten_unless_told(
        self, small_mnist: MNIST, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        out = f"--out={tmp_path}"
        assert self.train(capsys, out)[0] == 0
        before = {path: path.read_bytes() for path in tmp_path.iterdir()}
        for more in ((), ("--resume", "--seed=1"), ("--seed=1",), ("--resume", "--epochs=9")):
            status, _, err = self.train(capsys, out, *more)
            assert status == 2, more
            assert "--overwrite" in err or "started with another" in err
            assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
        assert self.train(capsys, out, "--seed=1", "--overwrite")[0] == 0
        assert load_checkpoint(tmp_path)[1].training["config"]["seed"] == 1

    def test_resumed_say_so_and_end_with_the_same_record(
        self,
        small_mnist: MNIST,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        out = f"--out={tmp_path}"
        first = self.train(capsys, out)
        before = {path: path.read_bytes() for path in tmp_path.iterdir()}
        self.stop_at(1, monkeypatch)
        status, said, err = self.train(capsys, out, "--resume")
        assert status == 0
        assert json.loads(said.splitlines()[-1]) == json.loads(first[1].splitlines()[-1])
        assert (
            err == f"{tmp_path} holds this very run, and it is finished: nothing is left to do.\n"
        )
        assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before

    @pytest.mark.parametrize("step", [1, 5, 6, 7, 9])
    def test_stay_until_the_run_that_replaces_them_is_finished(
        self,
        step: int,
        small_mnist: MNIST,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        out = f"--out={tmp_path}"
        assert self.train(capsys, out)[0] == 0
        before = (tmp_path / "model.json").read_bytes()
        with monkeypatch.context() as patch:
            self.stop_at(step, patch)  # an epoch has five
            status, _, err = self.train(capsys, out, "--seed=1", "--overwrite")
        assert status == 130
        assert err.splitlines()[-1].startswith(
            f"Stopped: {tmp_path} holds the checkpoint that was there before"
        )
        assert (tmp_path / "model.json").read_bytes() == before
        load_checkpoint(tmp_path)
        resumable = "--resume goes on after the last whole epoch" in err
        assert resumable == (step > 5)
        more = ["--resume"] if resumable else ["--overwrite"]
        assert self.train(capsys, out, "--seed=1", *more)[0] == 0
        assert self.train(capsys, f"--out={tmp_path / 'whole'}", "--seed=1")[0] == 0
        ours, theirs = (json.loads((f / "model.json").read_text()) for f in (
            tmp_path, tmp_path / "whole",
        ))  # fmt: skip
        assert ours == theirs

    def test_ctrl_c_twice_before_the_first_epoch_keeps_what_there_is(
        self,
        small_mnist: MNIST,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        for step, more in ((4, ()), (2, ("--resume",))):
            with monkeypatch.context() as patch:
                self.stop_at(step, patch)
                status, _, err = self.train(capsys, f"--out={tmp_path}", *more)
            assert status == 130
            assert err.endswith("holds a usable checkpoint; --resume starts anew.\n")
            assert load_checkpoint(tmp_path)[1].training["step"] == 3
        status, _, err = self.train(capsys, f"--out={tmp_path}")
        assert status == 2
        assert "was stopped in its first epoch: start it anew with --resume" in err
        assert self.train(capsys, f"--out={tmp_path}", "--resume")[0] == 0
