"""The command line: the contract that scripts of others depend on."""

from __future__ import annotations

import argparse
import json
import pickle
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mnist_lab.training.batches import Batches
from mnist_lab.training.checkpoints import ModelCard, load_checkpoint, save_checkpoint
from mnist_lab.training.config import TrainConfig
from mnist_lab.training.loop import train_step
from mnist_lab.training.runs import fit
from mnist_lab.training.scoring import evaluate
from PIL import Image
from torch import Tensor

from mnist_lab import __version__
from mnist_lab.cli import main, make_parser
from mnist_lab.data import mnist, normalisation, splits
from mnist_lab.data.digit_set import DigitSet
from mnist_lab.data.idx import write_idx
from mnist_lab.data.mnist import MNIST
from mnist_lab.data.own_files import save_npz
from mnist_lab.finetuning import masked as masked_pretraining
from mnist_lab.finetuning.masked import masked_step
from mnist_lab.models.registry import build_model
from mnist_lab.training import loop

OPTIONS = {
    "train": {
        *("--preset", "--model", "--epochs", "--seed", "--device", "--out"),
        *("--test", "--json", "--resume"),
    },
    "pretrain": {"--epochs", "--mask-share", "--seed", "--device", "--out", "--resume", "--json"},
    "evaluate": {"--data", "--device", "--json"},
    "predict": {"--device", "--json"},
    "export": {"--format", "--out", "--json"},
}


class Killed(BaseException):
    """Stands for a kill."""


@pytest.fixture
def small_mnist(mnist: MNIST, monkeypatch: pytest.MonkeyPatch) -> MNIST:
    """Let the command line find 600 digits to train on, 5,000 to validate on and 300 to test on."""
    small = MNIST(mnist.train.subset(np.arange(5_600)), mnist.test.subset(np.arange(300)))
    monkeypatch.setattr(mnist, "load_mnist", lambda: small)
    return small


@pytest.fixture(scope="module")
def reader(mnist: MNIST, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a checkpoint that reads 19 of 20 digits."""
    folder = tmp_path_factory.mktemp("reader")
    train = mnist.train.subset(np.arange(3_000), "train")
    validation = mnist.train.subset(np.arange(3_000, 3_500), "validation")
    config = TrainConfig(epochs=3, batch_size=64)
    fit("small_cnn", train, validation, config, device="cpu", folder=folder, progress=False)
    return folder


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Run the command line in this process: status, standard output, standard error."""
    capsys.readouterr()
    try:
        status = main([str(argument) for argument in arguments])
    except SystemExit as stop:
        status = int(stop.code or 0)
    shown = capsys.readouterr()
    return status, shown.out, shown.err


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


class TestUsage:
    def parsers(self) -> dict[str, argparse.ArgumentParser]:
        (commands,) = (
            action
            for action in make_parser()._actions
            if isinstance(action, argparse._SubParsersAction)
        )
        return dict(commands.choices)

    def test_commands_and_options_are_those_of_the_contract(self) -> None:
        found = {
            name: {option for action in parser._actions for option in action.option_strings}
            for name, parser in self.parsers().items()
        }
        assert found == {name: {*options, "-h", "--help"} for name, options in OPTIONS.items()}

    @pytest.mark.parametrize("command", OPTIONS)
    def test_help_explains_every_option(
        self, command: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        status, out, err = run(capsys, command, "--help")
        assert (status, err) == (0, "")
        for action in self.parsers()[command]._actions:
            assert action.help
            for option in action.option_strings:
                assert option in out
        for key in {
            "train": ("validation_accuracy", "loss", "seconds", "parameters", "accuracy", "seed"),
            "pretrain": ("masked_loss", "seconds", "parameters", "epochs", "device", "seed"),
            "evaluate": ("accuracy", "loss", "n."),
            "predict": ("results", "file", "digits", "probability", "box", "error"),
            "export": ("file", "format", "model", "bytes"),
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
            for arguments in (["--help"], ["train", "--preset", "slow"]):
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
        assert 0 < record["seconds"] < 60
        assert "validation accuracy" in out
        assert "it/s" in err or "s/it" in err  # the progress bar
        assert "%|" not in out

    def test_the_checkpoint_scores_what_was_reported(
        self, small_mnist: MNIST, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        _, out, _ = self.train(capsys, "--out", tmp_path, "--test", "--json")
        record = last_line(out)
        assert {"accuracy", "n"} <= set(record)
        assert record["n"] == 300
        model, card = load_checkpoint(tmp_path)
        validation = splits.split(small_mnist.train, seed=0)[1]
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

        for module in (batches, training):
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
        assert "holds an unfinished run (1 epochs are done)" in message
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

        monkeypatch.setattr(mnist, "load_mnist", interrupt)
        assert self.train(tmp_path / "run", capsys) == (130, "", "Stopped.\n")

    def test_a_real_sigint_in_a_real_process(self, tmp_path: Path) -> None:
        code = f"""
            import signal, sys
            import numpy as np, torch
            from mnist_lab import cli, datasets, training
            torch.set_num_threads(1)
            signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may ignore it
            mnist = mnist.load_mnist()
            small = mnist.MNIST(mnist.train.subset(np.arange(5_300)), mnist.test)
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
        assert found.stderr.rstrip().endswith("holds a usable checkpoint; --resume goes on.")
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
        assert card.training["config"]["mask_share"] == 0.75

    def test_goes_on_with_an_unfinished_run_only_if_told(
        self,
        small_mnist: MNIST,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        whole = self.pretrain(capsys, "--epochs", 2, "--out", tmp_path / "whole")
        steps = [0]

        def step(*arguments: Any) -> Tensor:
            steps[0] += 1
            if steps[0] == 15:  # an epoch has ten
                raise KeyboardInterrupt
            return masked_step(*arguments)

        options = ["pretrain", "--device=cpu", "--epochs=2", f"--out={tmp_path / 'two'}"]
        with monkeypatch.context() as patch:
            patch.setattr(masked_pretraining, "masked_step", step)
            status, _, err = run(capsys, *options)
        assert status == 130
        assert err.endswith("Stopped: --resume goes on after the last whole epoch.\n")
        assert "holds an unfinished run (1 epochs are done)" in complaint(capsys, *options)
        said = complaint(capsys, *options, "--resume", "--mask-share=0.5")
        assert "was started with another mask_share: 0.75, now 0.5." in said
        gone_on = self.pretrain(capsys, "--epochs", 2, "--out", tmp_path / "two", "--resume")
        assert gone_on["masked_loss"] == whole["masked_loss"]

    @pytest.mark.parametrize(
        ("option", "sentence"),
        [
            ("--mask-share=0", "mask_share cannot be 0.0."),
            ("--mask-share=1", "mask_share cannot be 1.0."),
            ("--mask-share=nan", "mask_share cannot be nan."),
            ("--mask-share=0.99", "A mask_share of 0.99 would hide 16 of 16 patches"),
            ("--epochs=0", "epochs cannot be 0."),
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

    @pytest.mark.parametrize("command", [["evaluate"], ["predict"]])
    def test_what_was_never_told_a_label_is_not_asked_to_read(
        self, command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        save_checkpoint(
            tmp_path, build_model("vit"), ModelCard("vit", training={"head": "untrained"})
        )
        images = ["a.png"] if command == ["predict"] else []
        said = complaint(capsys, *command, tmp_path, *images)
        assert "was pretrained without labels and cannot read digits yet: fine-tune it." in said


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
        (folder / "3" / "note.txt").write_text("no picture")
        return folder, "note.txt is no image"

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
        assert (status, err) == (0, "")
        record = last_line(out)
        assert set(record) == {"results"}
        assert [entry["file"] for entry in record["results"]] == [str(file) for file in files]
        right = 0
        for entry, label in zip(record["results"], mnist.test.labels, strict=False):
            assert set(entry) == {"file", "digits", "error"}
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
            card = ModelCard(
                "linear",
                {"classes": 2},
                normalisation=normalisation.Normalisation(mean, 1.0),
                class_names=("dark", "bright"),
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
