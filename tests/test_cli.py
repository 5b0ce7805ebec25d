"""The command line: the contract that scripts of others depend on."""

from __future__ import annotations

import argparse
import ast
import json
import pickle
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
import torch
import tqdm.notebook
from PIL import Image
from torch import Tensor

from benchmarks import step
from mnist_lab import __version__
from mnist_lab.cli import SHARED, main, make_parser
from mnist_lab.data import mnist as mnist_files
from mnist_lab.data.digit_set import DigitSet
from mnist_lab.data.habits import add_upstrokes
from mnist_lab.data.mnist import MNIST
from mnist_lab.data.normalisation import Normalisation
from mnist_lab.data.own_files import save_npz
from mnist_lab.data.splits import few_labels, keep_classes, split
from mnist_lab.finetuning.ways import FINETUNE, WAYS
from mnist_lab.handwriting.found import TOO_LOW
from mnist_lab.handwriting.ink import AT_THE_EDGE, IN_A_FRAME, TOO_FAINT
from mnist_lab.handwriting.simulated_hands import change_drawing, draw_hand, draw_on_sheet
from mnist_lab.handwriting.strokes import draw_strokes
from mnist_lab.lessons.records import load_record
from mnist_lab.models.registry import build_model, load_backbone
from mnist_lab.training import batches as served
from mnist_lab.training import loop, runs
from mnist_lab.training.batches import Batches
from mnist_lab.training.cards import ModelCard
from mnist_lab.training.checkpoints import load_checkpoint, save_checkpoint
from mnist_lab.training.config import TrainConfig
from mnist_lab.training.loop import train_step
from mnist_lab.training.recipes import ARTICLES, PRESETS, UPSTROKES
from mnist_lab.training.run_folders import RESUME
from mnist_lab.training.runs import fit
from mnist_lab.training.scoring import evaluate
from tests.command_line import run
from tests.data.idx_files import write_idx
from tests.handwriting.forms import write_beside

ROOT = Path(__file__).parents[1]

OPTIONS = {
    "train": {
        *("--preset", "--model", "--data", "--epochs", "--seed", "--device", "--out"),
        *("--test", "--json", "--resume", "--overwrite"),
    },
    "pretrain": {
        *("--epochs", "--mask-share", "--seed", "--device", "--out"),
        *("--resume", "--overwrite", "--json"),
    },
    "finetune": {
        *("--data", "--way", "--rehearse", "--steps", "--seed", "--device", "--out"),
        *("--resume", "--overwrite", "--json"),
    },
    "evaluate": {"--data", "--device", "--json"},
    "predict": {"--device", "--json"},
    "read": {"--out", "--overwrite", "--device", "--json"},
    "export": {"--format", "--bits", "--out", "--overwrite", "--json"},
    "promote": {"--data", "--back", "--json"},
    "serve": {"--host", "--port", "--megabytes", "--seconds"},
    "bench": set(),  # each benchmark has its own
    "verify": {"--seeds", "--device", "--json"},
    "speedrun": {"--seeds", "--device", "--threads", "--test", "--json"},
}


class Killed(BaseException):
    """Stands for a kill."""


@pytest.fixture(scope="module")
def reader(mnist: MNIST, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a checkpoint that reads 19 of 20 digits."""
    folder = tmp_path_factory.mktemp("reader")
    train = mnist.train.subset(np.arange(3_000), "train")
    validation = mnist.train.subset(np.arange(3_000, 3_500), "validation")
    config = TrainConfig(epochs=3, batch_size=64)
    fit("small_cnn", train, validation, config, device="cpu", folder=folder, progress=False)
    return folder


@pytest.fixture(scope="session")
def signs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of twenty drawings of two classes that are no digits."""
    folder = tmp_path_factory.mktemp("signs")
    shapes: dict[str, list[list[tuple[float, float]]]] = {
        "cross": [[(0.2, 0.2), (0.8, 0.8)], [(0.8, 0.2), (0.2, 0.8)]],
        "tick": [[(0.2, 0.5), (0.4, 0.8), (0.8, 0.15)]],
    }
    for name, strokes in shapes.items():
        (folder / name).mkdir()
        for index in range(10):
            moved = change_drawing(strokes, 0.7 + index / 30, index / 40, 0, 0)
            sheet = draw_on_sheet(moved, side=60, pen=3)
            Image.fromarray(255 - sheet).save(folder / name / f"{index}.png")
    return folder


def is_same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    """Whether two networks are the same to the last bit."""
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


def last_line(output: str) -> Any:
    assert output.endswith("\n")
    return json.loads(output.splitlines()[-1])


def complaint(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Check that bad usage or input is one sentence and status 2, and return the sentence."""
    status, out, err = run(capsys, *arguments)
    assert status == 2
    assert out == ""
    assert err.count("\n") == 1
    assert err.endswith("\n")
    assert err.startswith("mnist_lab")
    assert "Traceback" not in err
    return err


def picture(path: Path, image: np.ndarray, times: int = 8) -> Path:
    """Save a digit as a drawing in dark ink on light paper."""
    side = 28 * times
    large = Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC)
    Image.fromarray(255 - np.asarray(large)).save(path)
    return path


def before_step(monkeypatch: pytest.MonkeyPatch, number: int, error: BaseException) -> None:
    count = [0]

    def step(*arguments: Any) -> tuple[Tensor, Tensor]:
        count[0] += 1
        if count[0] == number:
            raise error
        return train_step(*arguments)

    monkeypatch.setattr(loop, "train_step", step)


def parsers() -> dict[str, argparse.ArgumentParser]:
    (commands,) = (
        action
        for action in make_parser()._actions
        if isinstance(action, argparse._SubParsersAction)
    )
    return dict(commands.choices)


def options_of(command: str) -> set[str]:
    return {option for action in parsers()[command]._actions for option in action.option_strings}


class TestUsage:
    def test_commands_and_options_are_those_of_the_contract(self) -> None:
        found = {name: options_of(name) for name in parsers()}
        assert found == {name: {*options, "-h", "--help"} for name, options in OPTIONS.items()}

    @pytest.mark.parametrize("command", OPTIONS)
    def test_help_explains_every_option(
        self, command: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        status, out, err = run(capsys, command, "--help")
        assert (status, err) == (0, "")
        for action in parsers()[command]._actions:
            assert action.help
            for option in action.option_strings:
                assert option in out
        for key in {
            "train": ("validation_accuracy", "loss", "seconds", "parameters", "accuracy", "seed"),
            "pretrain": ("masked_loss", "seconds", "parameters", "epochs", "device", "seed"),
            "finetune": ("validation_accuracy", "loss", "null", "way", "trained_on", "held_out"),
            "evaluate": ("accuracy", "loss", "n."),
            "predict": ("results", "file", "digits", "probability", "box", "error"),
            "read": ("file", "pictures", "digits", "unread", "CSV"),
            "export": ("file", "format", "model", "bytes"),
            "promote": ("promoted", "served", "champion_only", "challenger_only", "p_value"),
            "serve": ("POST /read", "GET /health", "GET /metrics", "curl"),
            "bench": ("results", "NAME --help", "--device cuda"),
            "verify": ("holds", "runs", "recorded_hardware", "ledger", "numbers", "claims"),
            "speedrun": ("stands", "process_seconds", "ledger", "train(digits, seed, device)"),
        }[command]:
            assert key in out

    def test_help_lists_the_commands(self, capsys: pytest.CaptureFixture[str]) -> None:
        status, out, _ = run(capsys, "--help")
        assert status == 0
        assert all(command in out for command in OPTIONS)

    def test_help_and_wrong_options_answer_without_torch(self) -> None:
        code = """
            import sys
            from mnist_lab.cli import main
            for arguments in (["--help"], ["finetune", "--help"], ["train", "--preset", "slow"]):
                try:
                    main(arguments)
                except SystemExit:
                    pass
            sys.exit("torch" in sys.modules or "numpy" in sys.modules)
        """
        command = [sys.executable, "-c", textwrap.dedent(code)]
        assert subprocess.run(command, capture_output=True).returncode == 0

    @pytest.mark.parametrize(
        "arguments",
        [
            "",
            "learn",
            "train --preset slow",
            "bench",
            "bench nothing",
            "bench recording",
            "bench ../speed",
            "verify nothing",
            "verify fast --seeds 0",
            "verify fast --preset best",
            "speedrun nothing",
            "speedrun fast --seeds 3",
            "speedrun fast --device mps",
            "train --epochs many",
            "train --epochs 0",
            "train --epochs -3",
            "train --seed -1",
            "train --seed 1.5",
            "train --device tpu",
            "train --device mps",
            "train --model lenet",
            "train --speed 3",
            "train digits",
            "train --data nowhere",
            "train --data",
            "finetune",
            "finetune nowhere",
            "finetune nowhere --data mnist",
            "finetune nowhere --data mnist --way half",
            "finetune nowhere --data mnist --rehearse few",
            "finetune nowhere --data mnist --test",
            "evaluate",
            "evaluate nowhere",
            "evaluate nowhere --data",
            "predict",
            "predict nowhere",
            "predict nowhere seven.png",
            "export nowhere",
            "export nowhere --format web",
            "export nowhere --format pickle --out model",
            "export nowhere --format onnx --out model.onnx",
        ],
    )
    def test_bad_usage_is_one_sentence_and_status_2(
        self,
        arguments: str,
        small_mnist: MNIST,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
        complaint(capsys, *arguments.split())
        assert not list(tmp_path.iterdir())


class TestTrain:
    def train(self, capsys: pytest.CaptureFixture[str], *more: object) -> tuple[int, str, str]:
        standard = ("--preset", "standard", "--epochs", 1, "--device", "cpu")
        return run(capsys, "train", *standard, *more)

    def test_json_has_the_keys_of_the_contract(
        self, small_mnist: MNIST, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        options = ("--model", "linear", "--seed", 7, "--out", tmp_path / "run", "--json")
        status, out, err = self.train(capsys, *options)
        record = last_line(out)
        assert status == 0
        assert set(record) == {
            *("validation_accuracy", "loss", "seconds", "parameters", "epochs", "device", "seed")
        }
        assert record["parameters"] == 7_850
        assert (record["epochs"], record["device"], record["seed"]) == (1, "cpu", 7)
        assert 0.1 < record["validation_accuracy"] <= 1
        assert record["loss"] > 0
        assert record["seconds"] > 0
        assert "validation accuracy" in out
        assert err == ""  # a log is no place for a bar
        assert "1 epoch in" in out

    def test_shows_a_bar_at_a_terminal(
        self,
        small_mnist: MNIST,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
        _, out, err = self.train(capsys, "--model", "linear", "--out", tmp_path / "run")
        assert "it/s" in err or "s/it" in err
        assert "%|" not in out

    def test_shows_a_bar_in_a_notebook(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert not runs._is_watched()
        monkeypatch.setattr(runs, "tqdm", tqdm.notebook.tqdm)
        assert runs._is_watched()

    def test_the_checkpoint_scores_what_was_reported(
        self, small_mnist: MNIST, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        _, out, _ = self.train(capsys, "--out", tmp_path, "--test", "--json")
        record = last_line(out)
        assert {"accuracy", "n"} <= set(record)
        assert record["n"] == 300
        model, card = load_checkpoint(tmp_path)
        validation = split(small_mnist.train, seed=0)[1]
        assert len(validation) == 5_000
        found = evaluate(model, Batches(validation, normalisation=card.normalisation))
        assert found.accuracy == record["validation_accuracy"]
        assert found.loss == pytest.approx(record["loss"], rel=1e-5)
        tested = evaluate(model, Batches(small_mnist.test, normalisation=card.normalisation))
        assert tested.accuracy == record["accuracy"]
        assert "95 % interval" in out
        # `evaluate` says the same.
        _, out, _ = run(capsys, "evaluate", tmp_path, "--device", "cpu", "--json")
        assert last_line(out)["accuracy"] == record["accuracy"]

    @pytest.mark.parametrize("test", [True, False])
    def test_the_test_set_is_scored_once_after_the_last_step_and_only_if_asked(
        self,
        test: bool,
        small_mnist: MNIST,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        events: list[str] = []

        class Spy(Batches):
            def __init__(self, digits: DigitSet, *rest: Any, **options: Any) -> None:
                super().__init__(digits, *rest, **options)
                self.part = digits.part

            def __iter__(self) -> Any:
                events.append(self.part)
                return super().__iter__()

        def step(*arguments: Any) -> tuple[Tensor, Tensor]:
            events.append("step")
            return train_step(*arguments)

        for module in (served, loop):
            monkeypatch.setattr(module, "Batches", Spy)
        monkeypatch.setattr(loop, "train_step", step)
        options = ["--model", "linear", "--out", tmp_path, *(["--test"] if test else [])]
        status, _, _ = self.train(capsys, *options, "--epochs", 3)
        assert status == 0
        assert events.count("step") == 3 * 5
        assert events.count("train") == events.count("validation") == 3
        assert events.count("test") == int(test)
        assert events[-1] == ("test" if test else "validation")

    def test_without_json_there_is_none(
        self, small_mnist: MNIST, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        status, out, _ = self.train(capsys, "--model", "linear", "--out", tmp_path)
        assert status == 0
        assert "{" not in out

    def test_the_default_folder_is_named_after_the_preset(
        self,
        small_mnist: MNIST,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.chdir(tmp_path)
        self.train(capsys, "--model", "linear")
        assert load_checkpoint(tmp_path / "runs" / "standard")[1].model == "linear"

    def test_same_seed_same_result_other_seed_another(
        self, small_mnist: MNIST, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        losses = []
        for number, seed in enumerate((1, 1, 2)):
            options = ("--model", "mlp", "--seed", seed, "--out", tmp_path / str(number), "--json")
            losses.append(last_line(self.train(capsys, *options)[1])["loss"])
        assert losses[0] == losses[1] != losses[2]

    def test_a_file_in_the_place_of_the_folder(
        self, small_mnist: MNIST, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "file").write_text("mine")
        assert "is a file" in complaint(capsys, "train", "--out", tmp_path / "file")

    def test_a_loss_that_is_not_finite_is_one_sentence(
        self,
        small_mnist: MNIST,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        before_step(monkeypatch, 2, FloatingPointError("The loss is nan at step 2."))
        status, out, err = self.train(capsys, "--model", "linear", "--out", tmp_path, "--json")
        assert (status, out) == (2, "")
        assert err.splitlines()[-1] == "mnist_lab train: The loss is nan at step 2."

    def test_the_digits_are_changed_as_the_preset_says(
        self, small_mnist: MNIST, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.train(capsys, "--model", "linear", "--out", tmp_path)
        model, card = load_checkpoint(tmp_path)
        assert card.training["origin"] == {"recipe": "standard"}
        assert card.training["config"]["upstrokes"] == UPSTROKES
        plain = replace(PRESETS["standard"].config, epochs=1, upstrokes=0.0)
        train, validation = split(small_mnist.train, seed=0)
        options: dict[str, Any] = {"device": "cpu", "progress": False}
        redrawn = add_upstrokes(train, UPSTROKES, seed=0)
        expected = fit("linear", redrawn, validation, plain, **options).model
        assert is_same(model, expected)
        assert not is_same(model, fit("linear", train, validation, plain, **options).model)


class TestTrainOnYourOwn:
    """`train --data`."""

    def train(self, capsys: pytest.CaptureFixture[str], data: Path, *more: object) -> Any:
        options = ("--device", "cpu", "--json", "--data", data, *more)
        status, out, err = run(capsys, "train", *options)
        assert status == 0, err
        return last_line(out)

    def test_drawings_of_other_classes(
        self, signs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        model = tmp_path / "model"
        options = ("--epochs", 30, "--model", "mlp", "--out", model)
        record = self.train(capsys, signs, *options)
        assert set(record) == {
            *("validation_accuracy", "loss", "seconds", "parameters", "epochs", "device", "seed")
        }
        network, card = load_checkpoint(model)
        assert (card.model, card.class_names) == ("mlp", ("cross", "tick"))
        assert card.arguments["classes"] == network.output.out_features == 2  # type: ignore[union-attr]
        assert [part["count"] for part in card.training["data"]] == [18, 2]  # a tenth is held out
        assert card.training["config"]["upstrokes"] == 0  # there is no one to write otherwise
        files = sorted(signs.glob("*/*.png"))
        _, out, _ = run(capsys, "predict", model, *files, "--json")
        right = [
            entry["digits"][0]["digit"] == Path(entry["file"]).parent.name
            for entry in last_line(out)["results"]
        ]
        assert np.mean(right) > 0.8

    @pytest.mark.parametrize("preset", PRESETS)
    def test_with_every_preset(
        self, preset: str, mnist: MNIST, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        save_npz(tmp_path / "mine.npz", mnist.train.subset(np.arange(60)))
        options = ("--preset", preset, "--epochs", 1, "--out", tmp_path / "model")
        self.train(capsys, tmp_path / "mine.npz", *options)
        card = load_checkpoint(tmp_path / "model")[1]
        recipe = PRESETS[preset]
        assert card.training["origin"] == {"recipe": preset}
        assert card.training["config"] == json.loads(
            json.dumps(replace(recipe.config, epochs=1).to_json())
        )
        assert recipe.arguments.items() <= card.arguments.items()

    @pytest.mark.parametrize("model", [*ARTICLES, "resnet", "lstm", "vit"])
    def test_with_other_networks_than_the_presets(
        self, model: str, mnist: MNIST, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        save_npz(tmp_path / "mine.npz", mnist.train.subset(np.arange(40)))
        options = ("--model", model, "--epochs", 1, "--out", tmp_path / "model")
        record = self.train(capsys, tmp_path / "mine.npz", *options)
        network, card = load_checkpoint(tmp_path / "model")
        assert card.model == model
        assert record["parameters"] == sum(p.numel() for p in network.parameters())

    def test_idx_files_give_their_training_part(
        self, mnist: MNIST, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for prefix, count in (("train", 50), ("t10k", 80)):
            digits = mnist.train.subset(np.arange(count))
            write_idx(tmp_path / f"{prefix}-images-idx3-ubyte", digits.images)
            write_idx(tmp_path / f"{prefix}-labels-idx1-ubyte", digits.labels.astype(np.uint8))
        options = ("--model", "linear", "--epochs", 1, "--out", tmp_path / "model")
        self.train(capsys, tmp_path, *options)
        data = load_checkpoint(tmp_path / "model")[1].training["data"]
        assert [part["count"] for part in data] == [45, 5]

    def test_nothing_is_learnt_from_a_test_part(
        self, mnist: MNIST, reader: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        digits = mnist.test.subset(np.arange(80))
        write_idx(tmp_path / "t10k-images-idx3-ubyte", digits.images)
        write_idx(tmp_path / "t10k-labels-idx1-ubyte", digits.labels.astype(np.uint8))
        for command in (["train"], ["finetune", reader]):
            out = f"--out={tmp_path / 'model'}"
            said = complaint(capsys, *command, "--data", tmp_path, out)
            assert "holds MNIST's test part alone (t10k), from which nothing may be learnt" in said

    def test_the_test_digits_are_for_the_same_classes(
        self, signs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        said = complaint(capsys, "train", "--data", signs, "--test", f"--out={tmp_path / 'm'}")
        assert "--test scores MNIST's test digits, and these digits have other classes." in said

    @pytest.mark.parametrize(
        ("images", "words"),
        [
            (np.zeros((1, 28, 28), np.uint8), "Two digits at least are needed"),
            (np.zeros((20, 8, 10), np.uint8), "has images of 8x10 pixels; the model takes 28x28"),
        ],
    )
    def test_what_cannot_be_trained_on_is_one_sentence(
        self,
        images: np.ndarray,
        words: str,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        np.savez(tmp_path / "a.npz", images=images, labels=np.zeros(len(images), int))
        data, out = f"--data={tmp_path / 'a.npz'}", f"--out={tmp_path / 'model'}"
        assert words in complaint(capsys, "train", data, out, "--device=cpu")

    def test_a_backbone_starts_from_its_imagenet_weights(
        self, mnist: MNIST, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        save_npz(tmp_path / "mine.npz", keep_classes(mnist.train.subset(np.arange(60)), "01"))
        options = ("--model", "efficientnet_lite0", "--preset", "fast", "--out", tmp_path / "model")
        record = self.train(capsys, tmp_path / "mine.npz", *options)
        model, card = load_checkpoint(tmp_path / "model")
        assert (card.model, card.class_names) == ("efficientnet_lite0", ("0", "1"))
        assert record["parameters"] > 3_000_000
        name, weight = next(model.named_parameters())
        pretrained = load_backbone("efficientnet_lite0", classes=2).get_parameter(name)
        drawn = build_model("efficientnet_lite0", classes=2).get_parameter(name)
        moved = (weight - pretrained).abs().mean()
        assert 0 < moved < 0.2 * (weight - drawn).abs().mean()


class TestInterruptedTraining:
    def begin(
        self,
        error: BaseException,
        folder: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> tuple[int, str, str]:
        before_step(monkeypatch, 8, error)  # in the second epoch of three
        try:
            return self.train(folder, capsys)
        finally:
            monkeypatch.setattr(loop, "train_step", train_step)

    def train(
        self, folder: Path, capsys: pytest.CaptureFixture[str], *more: object
    ) -> tuple[int, str, str]:
        options = ("--model", "mlp", "--epochs", 3, "--device", "cpu", "--out", folder, "--json")
        return run(capsys, "train", "--preset", "standard", *options, *more)

    def test_an_unfinished_run_is_refused_without_resume_and_goes_on_with_it(
        self,
        small_mnist: MNIST,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        _, whole, _ = self.train(tmp_path / "whole", capsys)
        with pytest.raises(Killed):
            self.begin(Killed(), tmp_path / "run", capsys, monkeypatch)
        message = complaint(
            capsys, "train", "--preset", "standard", "--epochs", 3, "--out", tmp_path / "run"
        )
        assert "holds an unfinished run (1 epoch is done)" in message
        assert "--resume" in message
        status, out, _ = self.train(tmp_path / "run", capsys, "--resume")
        assert status == 0
        expected, found = last_line(whole), last_line(out)
        del expected["seconds"], found["seconds"]
        assert found == expected

    def test_other_settings_are_not_resumed(
        self,
        small_mnist: MNIST,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        with pytest.raises(Killed):
            self.begin(Killed(), tmp_path, capsys, monkeypatch)
        options = ("--model", "mlp", "--epochs", 4, "--out", tmp_path, "--resume")
        message = complaint(capsys, "train", "--preset", "standard", *options)
        assert "started with another epochs: 3, now 4" in message

    def test_ctrl_c_leaves_a_usable_checkpoint(
        self,
        small_mnist: MNIST,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        status, out, err = self.begin(KeyboardInterrupt(), tmp_path, capsys, monkeypatch)
        assert (status, out) == (130, "")
        assert err.splitlines()[-1].startswith("Stopped: ")
        assert load_checkpoint(tmp_path)[1].training["epoch"] == 1

    def test_ctrl_c_before_training_is_no_traceback(
        self,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def interrupt() -> MNIST:
            raise KeyboardInterrupt

        monkeypatch.setattr(mnist_files, "load_mnist", interrupt)
        assert self.train(tmp_path / "run", capsys) == (130, "", "Stopped.\n")

    def test_a_real_sigint_in_a_real_process(self, tmp_path: Path) -> None:
        code = f"""
            import signal, sys
            import numpy as np, torch
            from mnist_lab import cli
            from mnist_lab.data import mnist
            from mnist_lab.training import loop
            torch.set_num_threads(1)
            signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may ignore it
            whole = mnist.load_mnist()
            small = mnist.MNIST(whole.train.subset(np.arange(5_300)), whole.test)
            mnist.load_mnist = lambda: small
            original, count = loop.train_step, [0]
            def step(*arguments):
                count[0] += 1
                if count[0] == 2:
                    signal.raise_signal(signal.SIGINT)
                return original(*arguments)
            loop.train_step = step
            command = ["train", "--preset", "fast", "--model", "linear", "--device", "cpu"]
            sys.exit(cli.main([*command, "--out", {str(tmp_path)!r}]))
        """
        command = [sys.executable, "-c", textwrap.dedent(code)]
        found = subprocess.run(command, capture_output=True, text=True)
        assert found.returncode == 130
        assert "Traceback" not in found.stderr
        said = found.stderr.splitlines()[-1]
        assert said.startswith(
            f"Stopped: {tmp_path} holds a usable checkpoint; --resume starts anew"
        )
        assert load_checkpoint(tmp_path)[1].model == "linear"


class TestPretrain:
    def pretrain(self, capsys: pytest.CaptureFixture[str], *options: object) -> Any:
        status, out, _ = run(capsys, "pretrain", "--device", "cpu", "--json", *options)
        assert status == 0
        return last_line(out)

    def test_json_has_the_keys_of_the_contract(
        self, small_mnist: MNIST, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        found = self.pretrain(capsys, "--epochs", 2, "--seed", 4, "--out", tmp_path)
        assert found.keys() == {"masked_loss", "seconds", "parameters", "epochs", "device", "seed"}
        assert 0 < found["masked_loss"] < 2
        assert found["parameters"] == 138_890
        assert (found["epochs"], found["device"], found["seed"]) == (2, "cpu", 4)
        _, card = load_checkpoint(tmp_path)
        assert card.training["masked_loss"] == found["masked_loss"]
        assert card.training["objective"]["mask_share"] == 0.75
        assert card.training["head"] == "untrained"

    def test_goes_on_with_an_unfinished_run_only_if_told(
        self,
        small_mnist: MNIST,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        whole = self.pretrain(capsys, "--epochs", 2, "--out", tmp_path / "whole")
        options = ["pretrain", "--device=cpu", "--epochs=2", f"--out={tmp_path / 'two'}"]
        with monkeypatch.context() as patch:
            before_step(patch, 15, KeyboardInterrupt())  # an epoch has ten
            status, _, err = run(capsys, *options)
        assert status == 130
        assert err.splitlines()[-1].endswith("--resume goes on after the last whole epoch.")
        assert "holds an unfinished run (1 epoch is done)" in complaint(capsys, *options)
        said = complaint(capsys, *options, "--resume", "--mask-share=0.5")
        assert re.search("was started with another objective: .* 0.75.*, now .* 0.5", said)
        gone_on = self.pretrain(capsys, "--epochs", 2, "--out", tmp_path / "two", "--resume")
        assert gone_on["masked_loss"] == whole["masked_loss"]

    @pytest.mark.parametrize(
        ("option", "sentence"),
        [
            ("--mask-share=0", "mask_share cannot be 0.0."),
            ("--mask-share=1", "mask_share cannot be 1.0."),
            ("--mask-share=nan", "mask_share cannot be nan."),
            ("--mask-share=0.99", "A mask_share of 0.99 would hide 16 of 16 patches"),
            ("--epochs=0", "argument --epochs: '0' is no whole number from 1 on"),
        ],
    )
    def test_bad_settings_are_one_sentence(
        self,
        option: str,
        sentence: str,
        small_mnist: MNIST,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        assert sentence in complaint(capsys, "pretrain", option, f"--out={tmp_path}")

    @pytest.mark.parametrize("command", [["evaluate"], ["predict"], ["export"]])
    def test_what_was_never_told_a_label_is_not_asked_to_read(
        self, command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        model = build_model("vit")
        save_checkpoint(tmp_path, model, ModelCard.of(model, training={"head": "untrained"}))
        more = {"predict": ["a.png"], "export": ["--format=web", f"--out={tmp_path / 'w'}"]}
        said = complaint(capsys, *command, tmp_path, *more.get(command[0], []))
        assert "was pretrained without labels and cannot read digits yet: fine-tune it" in said
        assert f"python -m mnist_lab finetune {tmp_path} --data mnist" in said


class TestFinetune:
    def finetune(
        self, capsys: pytest.CaptureFixture[str], base: Path, data: object, *more: object
    ) -> Any:
        options = ("--device", "cpu", "--json", "--data", data, *more)
        status, out, err = run(capsys, "finetune", base, *options)
        assert status == 0, err
        return last_line(out)

    def accuracy(self, capsys: pytest.CaptureFixture[str], folder: Path, *options: object) -> float:
        _, out, _ = run(capsys, "evaluate", folder, *options, "--device", "cpu", "--json")
        found: float = last_line(out)["accuracy"]
        return found

    def test_fifty_drawings_of_ones_own(
        self, drawings: Path, reader: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        before = {path: path.read_bytes() for path in reader.iterdir()}
        options = ("--out", tmp_path, "--seed", 3, "--steps", 80)
        record = self.finetune(capsys, reader, drawings, *options)
        assert set(record) == {
            *("validation_accuracy", "loss", "seconds", "parameters", "epochs", "device", "seed"),
            *("way", "trained_on", "held_out"),
        }
        assert (record["way"], record["trained_on"], record["held_out"]) == ("gradual", 40, 10)
        assert (record["device"], record["seed"]) == ("cpu", 3)
        assert record["epochs"] == 40  # of two steps
        assert record["validation_accuracy"] >= 0.9
        model, card = load_checkpoint(tmp_path)
        assert card.class_names == tuple("0123456789")
        assert card.training["validation_accuracy"] == record["validation_accuracy"]
        base = load_checkpoint(reader)
        assert card.normalisation == base[1].normalisation
        assert not is_same(model, base[0])
        assert {path: path.read_bytes() for path in reader.iterdir()} == before
        # It reads more drawings of that hand better than it did.
        drawn, labels = draw_hand("imagined", per_class=10, seed=1)
        images = np.stack([draw_strokes(strokes) for strokes in drawn])
        save_npz(tmp_path / "more.npz", DigitSet(images, np.array(labels, np.int64)))
        more = ("--data", tmp_path / "more.npz")
        had, has = (self.accuracy(capsys, folder, *more) for folder in (reader, tmp_path))
        assert has > max(had, 0.9)

    @pytest.mark.parametrize("way", WAYS)
    def test_what_learns_is_what_the_way_says(
        self,
        way: str,
        mnist: MNIST,
        reader: Path,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        # So few that none is held out: what the last step left is kept.
        save_npz(tmp_path / "mine.npz", few_labels(mnist.train, 4, seed=0))
        out = tmp_path / "tuned"
        record = self.finetune(
            capsys, reader, tmp_path / "mine.npz", "--way", way, "--steps", 8, "--out", out
        )
        (model, card), (base, _) = load_checkpoint(out), load_checkpoint(reader)
        assert (record["way"], record["epochs"]) == (way, 4)
        config = replace(FINETUNE, steps=8, learning_rate=WAYS[way])
        assert card.training["config"] == json.loads(json.dumps(config.to_json()))
        origin = card.training["origin"]
        assert (origin["way"], origin["base"]["model"]) == (way, "small_cnn")
        assert origin["base"]["weights_sha256"] in (reader / "model.json").read_text()
        assert record["parameters"] == sum(p.numel() for p in base.parameters())
        old = dict(base.named_parameters())
        parts = {name.split(".")[0] for name in old}
        learnt = {
            name.split(".")[0] for name, p in model.named_parameters() if (p != old[name]).any()
        }
        expected = {
            "head": {"output"},
            "lora": {name for name in parts if not name.startswith("norm")},
        }
        assert learnt == expected.get(way, parts)
        assert (out / "lora.json").exists() == (way == "lora")

    def test_other_classes_get_a_new_head(
        self, signs: Path, reader: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        record = self.finetune(capsys, reader, signs, "--steps", 60, "--out", tmp_path)
        assert (record["trained_on"], record["held_out"]) == (16, 4)
        assert load_checkpoint(tmp_path)[1].class_names == ("cross", "tick")
        assert self.accuracy(capsys, tmp_path, "--data", signs) > 0.9
        file = next(iter(sorted(signs.glob("tick/*.png"))))
        _, out, _ = run(capsys, "predict", tmp_path, file, "--json")
        assert last_line(out)["results"][0]["digits"][0]["digit"] == "tick"
        said = complaint(capsys, "finetune", reader, "--data", signs, "--rehearse", 5)
        assert "--rehearse keeps old classes alive, and these digits have others: cross, " in said

    def test_of_few_digits_none_is_held_out(
        self, mnist: MNIST, reader: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        save_npz(tmp_path / "few.npz", few_labels(mnist.train, 4, seed=0))
        options = ("--steps", 4, "--out", tmp_path / "tuned")
        record = self.finetune(capsys, reader, tmp_path / "few.npz", *options)
        assert (record["trained_on"], record["held_out"]) == (40, 0)
        assert record["validation_accuracy"] is record["loss"] is None
        assert "validation_accuracy" not in load_checkpoint(tmp_path / "tuned")[1].training
        options = ("--device=cpu", "--steps=4", f"--data={tmp_path / 'few.npz'}")
        _, out, _ = run(capsys, "finetune", reader, *options, f"--out={tmp_path / 'again'}")
        assert "accuracy" not in out

    def test_rehearsing_keeps_what_would_be_forgotten(
        self,
        small_mnist: MNIST,
        reader: Path,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        two = keep_classes(small_mnist.train.subset(np.arange(400)), "38")
        save_npz(tmp_path / "two.npz", two)
        trained: list[DigitSet] = []
        with monkeypatch.context() as patch:
            start = loop.prepare_digits
            patch.setattr(
                loop, "prepare_digits", lambda *given: (trained.append(given[0]), start(*given))[1]
            )
            found = []
            for number in (0, 8):
                out = tmp_path / str(number)
                options = ("--way", "full", "--steps", 100, "--rehearse", number, "--out", out)
                record = self.finetune(capsys, reader, tmp_path / "two.npz", *options)
                held_out = len(two) // 5
                assert record["held_out"] == held_out
                assert record["trained_on"] == len(two) - held_out + 10 * number
                origin = load_checkpoint(out)[1].training["origin"]
                assert origin["rehearsed_of_each_class"] == number
                found.append(self.accuracy(capsys, out))
        assert found[1] > found[0] + 0.2
        new, both = trained
        assert np.array_equal(both.images[: len(new)], new.images)
        rehearsed = both.subset(np.arange(len(new), len(both)))
        assert rehearsed.class_counts().tolist() == [8] * 10
        # None of them is among the 5,000 that MNIST's runs choose their epoch on.
        for_training = {image.tobytes() for image in split(small_mnist.train, seed=0)[0].images}
        assert {image.tobytes() for image in rehearsed.images} <= for_training

    def test_of_mnist_is_held_out_what_its_runs_hold_out(
        self, small_mnist: MNIST, reader: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        options = ("--way", "head", "--steps", 19, "--out", tmp_path)
        record = self.finetune(capsys, reader, "mnist", *options)
        assert (record["trained_on"], record["held_out"]) == (600, 5_000)
        model, card = load_checkpoint(tmp_path)
        validation = Batches(split(small_mnist.train, 0)[1], normalisation=card.normalisation)
        assert evaluate(model, validation).accuracy == record["validation_accuracy"]

    def test_what_is_fine_tuned_is_not_overwritten(
        self, mnist: MNIST, reader: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        base = tmp_path / "base"
        shutil.copytree(reader, base)
        (tmp_path / "link").symlink_to(base)
        for same in (base, f"{base}/", tmp_path / "base" / ".." / "base", tmp_path / "link"):
            said = complaint(capsys, "finetune", base, "--data", "mnist", "--out", same)
            assert "would overwrite the checkpoint that is fine-tuned" in said

    @pytest.mark.parametrize("place", ["base", ".", "../base/"])
    def test_the_default_folder_lies_beside(
        self,
        place: str,
        mnist: MNIST,
        reader: Path,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        shutil.copytree(reader, tmp_path / "base")
        save_npz(tmp_path / "few.npz", few_labels(mnist.train, 1, seed=0))
        monkeypatch.chdir(tmp_path if place == "base" else tmp_path / "base")
        self.finetune(capsys, Path(place), tmp_path / "few.npz", "--steps", 1)
        assert load_checkpoint(tmp_path / "base-finetuned")[1].training["origin"]["way"]

    @pytest.mark.parametrize("way", WAYS)
    def test_after_a_kill_it_goes_on_to_the_last_bit(
        self,
        way: str,
        small_mnist: MNIST,
        reader: Path,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        save_npz(tmp_path / "mine.npz", few_labels(small_mnist.train, 6, seed=0))
        options = ("--way", way, "--steps", 16, "--rehearse", 2)
        data = tmp_path / "mine.npz"
        whole = self.finetune(capsys, reader, data, *options, "--out", tmp_path / "whole")
        assert whole["epochs"] > 3
        again = ("--out", tmp_path / "run")
        before_step(monkeypatch, 9, Killed())
        with pytest.raises(Killed):
            self.finetune(capsys, reader, data, *options, *again)
        monkeypatch.setattr(loop, "train_step", train_step)
        said = complaint(capsys, "finetune", reader, "--data", data, *options, *again)
        assert "holds an unfinished run" in said
        other = ("--way", "head" if way == "full" else "full", "--resume")
        said = complaint(capsys, "finetune", reader, "--data", data, *options, *again, *other)
        assert "was started with another" in said
        found = self.finetune(capsys, reader, data, *options, *again, "--resume")
        del whole["seconds"], found["seconds"]
        assert found == whole
        ours, theirs = (load_checkpoint(tmp_path / name) for name in ("run", "whole"))
        assert is_same(ours[0], theirs[0])
        assert ours[1] == theirs[1]
        assert not list((tmp_path / "run").glob(f"{RESUME}*"))

    def test_a_run_on_another_base_is_not_resumed(
        self,
        mnist: MNIST,
        reader: Path,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        save_npz(tmp_path / "mine.npz", few_labels(mnist.train, 5, seed=0))
        options = (f"--data={tmp_path / 'mine.npz'}", f"--out={tmp_path / 'run'}", "--device=cpu")
        before_step(monkeypatch, 9, Killed())
        with pytest.raises(Killed):
            run(capsys, "finetune", reader, *options)
        save_checkpoint(tmp_path / "other", build_model("small_cnn", seed=1))
        said = complaint(capsys, "finetune", tmp_path / "other", *options, "--resume")
        assert "was started with another origin" in said

    def test_ctrl_c_leaves_a_usable_checkpoint(
        self,
        mnist: MNIST,
        reader: Path,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        save_npz(tmp_path / "mine.npz", few_labels(mnist.train, 5, seed=0))
        before_step(monkeypatch, 1, KeyboardInterrupt())
        data, out = f"--data={tmp_path / 'mine.npz'}", f"--out={tmp_path / 'run'}"
        status, shown, err = run(capsys, "finetune", reader, data, out, "--device=cpu", "--json")
        assert (status, shown) == (130, "")
        assert err.splitlines()[-1].startswith(f"Stopped: {tmp_path / 'run'} holds a usable")
        model, card = load_checkpoint(tmp_path / "run")
        assert is_same(model, load_checkpoint(reader)[0])
        assert card.training["config"]["steps"] == FINETUNE.steps
        assert f"(default: {FINETUNE.steps})" in run(capsys, "finetune", "--help")[1]

    def test_what_was_pretrained_without_labels_learns_to_read(
        self, small_mnist: MNIST, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        pretrained, tuned = tmp_path / "pretrained", tmp_path / "tuned"
        run(capsys, "pretrain", "--epochs", 1, "--device", "cpu", "--out", pretrained)
        assert "finetune" in complaint(capsys, "evaluate", pretrained)
        save_npz(tmp_path / "some.npz", small_mnist.train.subset(np.arange(600)))
        options = ("--way", "full", "--steps", 200, "--out", tuned)
        record = self.finetune(capsys, pretrained, tmp_path / "some.npz", *options)
        assert record["parameters"] == 138_890
        card = load_checkpoint(tuned)[1]
        assert card.model == "vit"
        assert "head" not in card.training
        assert self.accuracy(capsys, tuned) > 0.5  # guessing has 0.1
        path = picture(tmp_path / "a.png", small_mnist.test.images[0])
        status, out, _ = run(capsys, "predict", tuned, path, "--json")
        assert status == 0
        assert len(last_line(out)["results"][0]["digits"]) == 1

    @pytest.mark.parametrize("form", ["as_printed", "corrected"])
    @pytest.mark.parametrize("article", ARTICLES)
    def test_the_articles_networks_in_every_way(
        self,
        article: str,
        form: str,
        mnist: MNIST,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        recipe = getattr(ARTICLES[article], form)
        model = build_model(recipe.model, **recipe.arguments)
        card = ModelCard.of(model, normalisation=recipe.config.normalisation)
        save_checkpoint(tmp_path / "base", model, card)
        known = mnist.train.subset(np.arange(40))
        save_npz(tmp_path / "known.npz", known)
        names = tuple("abcdefghij")
        save_npz(tmp_path / "other.npz", replace(known, class_names=names))
        for way in WAYS:
            for data in ("known", "other"):
                out = tmp_path / f"{way} {data}"
                options = ("--way", way, "--steps", 2, "--out", out)
                self.finetune(capsys, tmp_path / "base", tmp_path / f"{data}.npz", *options)
                tuned, found = load_checkpoint(out)
                assert (found.model, found.arguments) == (card.model, card.arguments)
                assert found.normalisation == card.normalisation
                assert found.class_names == (names if data == "other" else card.class_names)
                assert not is_same(tuned, model)

    @pytest.mark.parametrize(
        ("option", "sentence"),
        [
            ("--steps=0", "argument --steps: '0' is no whole number from 1 on"),
            ("--rehearse=-1", "argument --rehearse: '-1' is no whole number from 0 on"),
            ("--rehearse=100000", "100,000 of it are asked for."),
            ("--seed=-1", "argument --seed: '-1' is no whole number from 0 on"),
            ("--data=nowhere", "nowhere does not exist."),
            ("--data={}/small.npz", "has images of 8x10 pixels; the model takes 28x28."),
        ],
    )
    def test_bad_input_is_one_sentence(
        self,
        option: str,
        sentence: str,
        small_mnist: MNIST,
        reader: Path,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        save_npz(tmp_path / "mine.npz", small_mnist.train.subset(np.arange(20)))
        np.savez(tmp_path / "small.npz", images=np.zeros((9, 8, 10), np.uint8), labels=[0] * 9)
        options = ["--data={}/mine.npz", "--out={}/run", "--device=cpu", option]
        said = complaint(capsys, "finetune", reader, *(o.format(tmp_path) for o in options))
        assert sentence in said
        assert not (tmp_path / "run").exists()

    def test_torchrun_s_first_process_does_it_alone(
        self,
        mnist: MNIST,
        reader: Path,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        save_npz(tmp_path / "few.npz", few_labels(mnist.train, 1, seed=0))
        for name, value in {"TORCHELASTIC_RUN_ID": "x", "RANK": "0", "WORLD_SIZE": "2"}.items():
            monkeypatch.setenv(name, value)
        assert "finetune" not in SHARED
        self.finetune(capsys, reader, tmp_path / "few.npz", "--steps=1", "--out", tmp_path / "run")
        monkeypatch.setenv("RANK", "1")
        assert run(capsys, "finetune", reader, "--data", "mnist") == (0, "", "")


class TestBench:
    @pytest.fixture
    def _quick(self, small_mnist: MNIST, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(step, "load_mnist", lambda: small_mnist)
        for name, value in {"SIZES": (16,), "TURNS": 1, "STEPS": 2, "WARM_UP": 1}.items():
            monkeypatch.setattr(step, name, value)
        monkeypatch.setattr(torch, "compile", lambda model, mode: model)

    @pytest.mark.usefixtures("_quick")
    def test_writes_into_results_in_the_current_folder(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        before = list(sys.argv)
        status, out, _ = run(capsys, "bench", "step")
        assert (status, sys.argv) == (0, before)
        assert [path.name for path in tmp_path.rglob("*.json")] == ["step.json"]
        own = json.loads((tmp_path / "results" / "step.json").read_text())
        assert load_record("step") == own
        assert "profile" in out

    @pytest.mark.usefixtures("_quick")
    def test_or_where_it_is_told_to(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        run(capsys, "bench", "step", "--device", "cpu", "--results", "here")
        assert (tmp_path / "here" / "step.json").is_file()
        assert not (tmp_path / "results").exists()

    def test_a_benchmark_explains_itself(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as ended:
            main(["bench", "speed", "--help"])
        assert ended.value.code == 0
        assert "--device" in capsys.readouterr().out

    def test_what_a_benchmark_refuses_is_one_sentence(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        record = {"setting": {}, "results": {}, "command": "python -m benchmarks.scaling"}
        (tmp_path / "results").mkdir()
        (tmp_path / "results" / "scaling.json").write_text(json.dumps(record))
        assert "was measured with another setting" in complaint(capsys, "bench", "scaling")


class TestEvaluate:
    def score(self, capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
        options = ("--device", "cpu", "--json")
        status, out, err = run(capsys, "evaluate", *arguments, *options)
        assert (status, err) == (0, "")
        record: dict[str, Any] = last_line(out)
        assert set(record) == {"accuracy", "loss", "n"}
        return record

    def expected(self, reader: Path, digits: DigitSet) -> dict[str, Any]:
        model, card = load_checkpoint(reader)
        score = evaluate(model, Batches(digits, normalisation=card.normalisation))
        return {"accuracy": score.accuracy, "loss": score.loss, "n": score.count}

    def test_scores_mnists_test_part_by_default(
        self, small_mnist: MNIST, reader: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        record = self.score(capsys, reader)
        assert record == self.expected(reader, small_mnist.test)
        assert record == self.score(capsys, reader, "--data", "mnist")
        assert record["accuracy"] > 0.85

    def test_uci(self, reader: Path, capsys: pytest.CaptureFixture[str]) -> None:
        record = self.score(capsys, reader, "--data", "uci")
        assert record["n"] == 1_797
        assert record["accuracy"] > 0.6  # other writers, another scanner

    def test_an_npz_is_taken_as_it_is(
        self, mnist: MNIST, reader: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        digits = mnist.test.subset(np.arange(100))
        np.savez(tmp_path / "mine.npz", images=digits.images, labels=digits.labels)
        record = self.score(capsys, reader, "--data", tmp_path / "mine.npz")
        assert record == self.expected(reader, digits)
        inverted = replace(digits, images=255 - digits.images)
        save_npz(tmp_path / "inverted.npz", inverted)
        inverted_record = self.score(capsys, reader, "--data", tmp_path / "inverted.npz")
        assert inverted_record == self.expected(reader, inverted)
        assert inverted_record["accuracy"] < 0.5  # nobody turned them round

    def test_a_folder_of_idx_files_gives_its_test_part(
        self, mnist: MNIST, reader: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for prefix, count in (("train", 30), ("t10k", 80)):
            digits = mnist.test.subset(np.arange(count))
            write_idx(tmp_path / f"{prefix}-images-idx3-ubyte", digits.images)
            write_idx(tmp_path / f"{prefix}-labels-idx1-ubyte.gz", digits.labels.astype(np.uint8))
        assert self.score(capsys, reader, "--data", tmp_path) == self.expected(reader, digits)

    def test_a_folder_of_pictures_per_class_goes_through_predicts_preprocessing(
        self, mnist: MNIST, reader: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        files = []
        for index in range(60):
            label = mnist.test.labels[index]
            if label in (3, 8):  # a folder need not have all classes
                continue
            (tmp_path / str(label)).mkdir(exist_ok=True)
            path = tmp_path / str(label) / f"{index}.png"
            files.append(picture(path, mnist.test.images[index]))
        record = self.score(capsys, reader, "--data", tmp_path)
        _, out, _ = run(capsys, "predict", reader, *files, "--json")
        right = [
            entry["digits"][0]["digit"] == int(Path(entry["file"]).parent.name)
            for entry in last_line(out)["results"]
        ]
        assert record["n"] == len(files)
        assert record["accuracy"] == pytest.approx(np.mean(right))
        assert record["accuracy"] > 0.8

    def test_unknown_classes_are_named(
        self, reader: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], mnist: MNIST
    ) -> None:
        (tmp_path / "seven").mkdir()
        picture(tmp_path / "seven" / "a.png", mnist.test.images[0])
        message = complaint(capsys, "evaluate", reader, "--data", tmp_path)
        assert "'seven' is not one of the model's: 0, 1, 2" in message

    def bad_data(self, kind: str, folder: Path) -> tuple[Path, str]:
        if kind == "missing":
            return folder / "nowhere.npz", "nowhere.npz does not exist"
        if kind == "empty":
            return folder, "is empty"
        if kind == "text":
            (folder / "data.csv").write_text("1,2")
            return folder / "data.csv", "data.csv is neither"
        if kind == "size":
            images = np.zeros((2, 8, 10), np.uint8)
            np.savez(folder / "a.npz", images=images, labels=np.zeros(2, int))
            return folder / "a.npz", "has images of 8x10 pixels; the model takes 28x28"
        if kind == "labels":
            images = np.zeros((2, 28, 28), np.uint8)
            np.savez(folder / "a.npz", images=images, labels=np.array([1, 12]))
            return folder / "a.npz", "label 12 is outside the 10 classes"
        (folder / "3").mkdir()
        (folder / "3" / "note.png").write_text("no picture")
        return folder, "note.png is no image"

    @pytest.mark.parametrize("kind", ["missing", "empty", "text", "size", "labels", "no image"])
    def test_bad_data_is_one_sentence(
        self, kind: str, reader: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path, expected = self.bad_data(kind, tmp_path)
        assert expected in complaint(capsys, "evaluate", reader, "--data", path)

    def test_bad_checkpoints_are_one_sentence(
        self, reader: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert "no model.json" in complaint(capsys, "evaluate", tmp_path)
        (tmp_path / "model.pth").write_bytes(pickle.dumps({}))
        assert "a pickle" in complaint(capsys, "evaluate", tmp_path)
        assert "a pickle" in complaint(capsys, "predict", tmp_path / "model.pth", "a.png")


class TestPredict:
    def test_reads_digits_and_says_where_they_are(
        self, mnist: MNIST, reader: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        files = [
            picture(tmp_path / f"{index}.png", mnist.test.images[index]) for index in range(20)
        ]
        status, out, err = run(capsys, "predict", reader, *files, "--json")
        assert status == 0
        assert all("is doubtful" in line for line in err.splitlines())
        record = last_line(out)
        assert set(record) == {"results"}
        assert [entry["file"] for entry in record["results"]] == [str(file) for file in files]
        right = 0
        for entry, label in zip(record["results"], mnist.test.labels, strict=False):
            assert set(entry) == {"file", "digits", "confidence", "unread", "error"}
            assert entry["error"] is None
            (digit,) = entry["digits"]
            assert set(digit) == {"digit", "probability", "box"}
            assert type(digit["digit"]) is int
            assert 0.1 <= digit["probability"] <= 1
            left, top, right_edge, bottom = digit["box"]
            assert 0 <= left < right_edge <= 224
            assert 0 <= top < bottom <= 224
            assert max(right_edge - left, bottom - top) == pytest.approx(160, abs=10)
            right += digit["digit"] == label
        assert right >= 17

    @pytest.mark.parametrize("reason", [TOO_LOW, TOO_FAINT, AT_THE_EDGE, IN_A_FRAME])
    def test_what_was_not_read_is_said_with_its_reason(
        self, mnist: MNIST, reader: Path, reason: str, tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:  # fmt: skip
        form, _ = write_beside(reason, mnist.train.images[500:])
        Image.fromarray(form.photograph()).save(tmp_path / "form.png")
        status, out, err = run(capsys, "predict", reader, tmp_path / "form.png", "--json")
        assert status == 0
        (entry,) = last_line(out)["results"]
        assert {one["reason"] for one in entry["unread"]} == {reason}
        told = [line for line in err.splitlines() if "ink was not read at" in line]
        boxes = ", ".join(str(tuple(one["box"])) for one in entry["unread"])
        assert told == [
            f"mnist_lab predict: {entry['file']}: ink was not read at {boxes}: {reason}"
        ]

    def test_one_bad_file_does_not_stop_the_others(
        self, mnist: MNIST, reader: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "note.png").write_text("no picture")
        Image.new("L", (50, 50), 255).save(tmp_path / "blank.png")
        good = [picture(tmp_path / f"{i}.png", mnist.test.images[i]) for i in range(2)]
        files = [
            *(tmp_path / "note.png", good[0], tmp_path / "missing.png", tmp_path),
            *(good[1], tmp_path / "blank.png", good[0]),
        ]
        status, out, err = run(capsys, "predict", reader, *files, "--json")
        assert status == 2
        results = last_line(out)["results"]
        assert [entry["file"] for entry in results] == [str(file) for file in files]
        assert [len(entry["digits"]) for entry in results] == [0, 1, 0, 0, 1, 0, 1]
        errors = [entry["error"] for entry in results if entry["error"]]
        for error, words in zip(
            errors, ("is no image", "does not exist", "is a folder", "no digit"), strict=True
        ):
            assert words in error
        assert err.splitlines() == [f"mnist_lab predict: {error}" for error in errors]
        assert results[1]["digits"] == results[6]["digits"]

    def test_several_digits_in_one_picture_come_in_reading_order(
        self, mnist: MNIST, reader: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        rows = [np.concatenate(list(mnist.test.images[start : start + 3]), 1) for start in (0, 3)]
        path = picture(tmp_path / "six.png", np.concatenate(rows))
        _, out, _ = run(capsys, "predict", reader, path, "--json")
        (entry,) = last_line(out)["results"]
        assert [digit["digit"] for digit in entry["digits"]] == mnist.test.labels[:6].tolist()
        middles = [sum(digit["box"][::2]) / 2 for digit in entry["digits"]]
        assert middles == pytest.approx([37, 112, 187] * 2, abs=20)

    def test_without_json_there_is_a_line_a_digit(
        self, mnist: MNIST, reader: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = picture(tmp_path / "a.png", mnist.test.images[0])
        status, out, _ = run(capsys, "predict", reader, path)
        assert status == 0
        assert out.startswith(f"{path}: 7 (")
        assert out.count("\n") == 1

    def test_normalisation_and_class_names_come_from_the_checkpoint(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], mnist: MNIST
    ) -> None:
        model = build_model("linear", classes=2)
        with torch.no_grad():
            model.output.weight.fill_(0)  # type: ignore[operator, union-attr]
            model.output.weight[1] = 1.0  # type: ignore[index, union-attr]
            model.output.bias.fill_(0)  # type: ignore[operator, union-attr]
        path = picture(tmp_path / "a.png", mnist.test.images[0])
        answers = []
        for mean in (0.0, 0.9):  # the sum of all pixels is above 0 for the one, below for the other
            card = ModelCard.of(
                model, normalisation=Normalisation(mean, 1.0), class_names=("dark", "bright")
            )
            save_checkpoint(tmp_path / "model", model, card)
            _, out, _ = run(capsys, "predict", tmp_path / "model", path, "--json")
            answers.append(last_line(out)["results"][0]["digits"][0]["digit"])
        assert answers == ["bright", "dark"]


class TestProcess:
    """`python -m mnist_lab` itself."""

    def call(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "mnist_lab", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True)

    def test_evaluate(self, mnist: MNIST, reader: Path, tmp_path: Path) -> None:
        save_npz(tmp_path / "mine.npz", mnist.test.subset(np.arange(50)))
        found = self.call("evaluate", reader, "--data", tmp_path / "mine.npz", "--json")
        assert (found.returncode, found.stderr) == (0, "")
        assert set(json.loads(found.stdout.splitlines()[-1])) == {"accuracy", "loss", "n"}

    def test_version_and_bad_usage(self) -> None:
        assert self.call("--version").stdout == f"mnist-lab {__version__}\n"
        bad = self.call("train", "--preset", "slow")
        assert (bad.returncode, bad.stdout) == (2, "")
        assert bad.stderr.count("\n") == 1


# --- What is advised -----------------------------------------------------------------------------

_COMMAND = re.compile(r"(?:-m mnist_lab|`mnist-lab)[ \n]+([a-z]+\b[^`#\n]*)")
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z_-]+")
# Of what stands beside the commands: torchrun's and the benchmarks' own.
_OF_OTHERS = re.compile(r"torchrun --\S+|curl [^\n]*|benchmarks\.\w+[^`#\n]*")


def texts_of(path: Path) -> Iterator[str]:
    """Yield what a file says: cells of a notebook, strings of a module, or all of a page."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        yield from (cell.source for cell in nbformat.reads(text, as_version=4).cells)
    elif path.suffix == ".py":
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.JoinedStr):  # of what is put in, only that something is
                parts = (p.value if isinstance(p, ast.Constant) else "X" for p in node.values)
                yield "".join(map(str, parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value
    else:
        yield text


def advised() -> Iterator[tuple[str, str]]:
    """Yield (place, command line) of everything that a reader is told to run."""
    places = [*ROOT.glob("*.md"), *ROOT.glob("book/**/*.md"), *ROOT.glob("notebooks/*.ipynb")]
    places += chain(ROOT.glob("mnist_lab/**/*.py"), ROOT.glob("benchmarks/**/*.py"))
    for path in places:
        for text in texts_of(path):
            for found in _COMMAND.finditer(text):
                yield str(path.relative_to(ROOT)), found[1]


def options_of_benchmark(name: str) -> set[str]:
    """What a benchmark takes, by its source and by that of the parser that all share."""
    sources = [ROOT / "benchmarks" / f"{file}.py" for file in (name, "recording")]
    return {o for path in sources for o in _OPTION.findall(path.read_text(encoding="utf-8"))}


class TestAdvice:
    """Nothing advises a command or an option that does not exist."""

    def test_every_command_that_is_named_exists(self) -> None:
        found = list(advised())
        assert {place for place, _ in found} >= {"README.md", "mnist_lab/handwriting/reader.py"}
        for place, line in found:
            for part in line.split("|"):  # `train | pretrain | ...` names several
                command = part.split()[0].rstrip(".,;:")
                assert command in parsers(), f"{place}: {line}"
                options = set(_OPTION.findall(part))
                known = options_of(command)
                if command == "bench" and (named := part.split()[1:2]):
                    benchmark = named[0].strip("`.,;:")
                    known = known | options_of_benchmark(
                        "recording" if benchmark == "NAME" else benchmark
                    )
                assert options <= known, f"{place}: {line}"

    def test_every_command_of_the_readme_is_understood(self) -> None:
        lines = [line for place, line in advised() if place == "README.md" and "|" not in line]
        assert len(lines) >= 6
        for line in lines:
            make_parser().parse_args(shlex.split(line))

    def test_every_option_that_is_named_exists(self) -> None:
        known = {option for command in parsers() for option in options_of(command)} | {"--version"}
        known |= options_of_benchmark("recording")  # which `bench` hands on
        found: dict[str, str] = {}
        for path in ROOT.glob("mnist_lab/**/*.py"):
            if "lessons" in path.parts:  # whose style sheets have variables that look alike
                continue
            for text in texts_of(path):
                for option in _OPTION.findall(_OF_OTHERS.sub("", text)):
                    found[option] = str(path.relative_to(ROOT))
        for span in re.findall(r"`(--[^`]+)`", (ROOT / "README.md").read_text(encoding="utf-8")):
            make = _OPTION.match(span)
            assert make
            found[make[0]] = "README.md"
        assert {"--resume", "--rehearse", "--format"} <= found.keys()
        assert {option: place for option, place in found.items() if option not in known} == {}

    def test_the_sentence_after_bad_usage_leads_to_help(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (hint,) = re.findall(
            r"\(python -m mnist_lab (.*) shows what there is\)$",
            complaint(capsys, "train", "--preset", "slow").strip(),
        )
        assert run(capsys, *hint.split())[0] == 0
