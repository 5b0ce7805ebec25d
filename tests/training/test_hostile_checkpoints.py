"""Whatever a checkpoint claims: each door says in a sentence what is wrong, and changes nothing."""

from __future__ import annotations

import itertools
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mnist_lab.cli import main
from mnist_lab.data.normalisation import Normalisation
from mnist_lab.finetuning.heads import load_pretrained
from mnist_lab.handwriting.reader import Reader, load_reader
from mnist_lab.models import registry
from mnist_lab.models.registry import MODELS, build_model, outline_model
from mnist_lab.training import checkpoints, tensor_folders
from mnist_lab.training.cards import ModelCard
from mnist_lab.training.checkpoints import load_checkpoint, read_digest, save_checkpoint
from mnist_lab.training.tensor_folders import (
    CheckpointError,
    load_tensors,
    read_record,
    save_tensors,
)
from tests.training.hostile import (
    CONTRADICTING,
    HUGE,
    SPOILT,
    put,
    put_arguments,
    put_small_cnn,
)

HOSTILE = {**SPOILT, **CONTRADICTING}
DOORS: dict[str, Callable[[Path], object]] = {
    "load_checkpoint": load_checkpoint,
    "load_reader": lambda folder: load_reader(folder, device="cpu"),
    "load_pretrained": lambda folder: load_pretrained(build_model("small_cnn", width=2), folder),
}
COMMANDS: dict[str, Callable[[Path, Path], list[object]]] = {
    "predict": lambda folder, out: ["predict", folder, out / "no.png"],
    "evaluate": lambda folder, _: ["evaluate", folder, "--device", "cpu"],
    "onnx": lambda folder, out: ["export", folder, "--format", "onnx", "--out", out / "x"],
    "web": lambda folder, out: ["export", folder, "--format", "web", "--out", out / "x"],
    "finetune": lambda folder, out: ["finetune", folder, "--data", "mnist", "--out", out / "x"],
}


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def assert_sentence(message: str) -> None:
    """One sentence for a person: one line, one full stop at its end, not a wall of text."""
    assert message.isprintable()
    assert message.endswith(".")
    assert not message.endswith("..")
    assert len(message) < 1_000


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(CheckpointError) as caught:
        call()
    assert_sentence(str(caught.value))
    return str(caught.value)


class TestEveryDoor:
    @pytest.mark.parametrize("door", DOORS)
    @pytest.mark.parametrize("what", HOSTILE)
    def test_refuses_in_one_sentence(self, what: str, door: str, tmp_path: Path) -> None:
        put_small_cnn(tmp_path, HOSTILE[what])
        before = files_in(tmp_path)
        assert str(tmp_path) in refusal(lambda: DOORS[door](tmp_path))
        assert files_in(tmp_path) == before

    @pytest.mark.parametrize(
        ("command", "what"),
        [
            *itertools.product(COMMANDS, [*SPOILT, "more names", "two alike", "size [0, 0]"]),
            *(("predict", what) for what in CONTRADICTING),  # all go through load_checkpoint
        ],
    )
    def test_of_the_command_line_refuses_in_one_sentence(
        self, what: str, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        put_small_cnn(tmp_path / "run", HOSTILE[what])
        before = files_in(tmp_path)
        status = main([str(part) for part in COMMANDS[command](tmp_path / "run", tmp_path)])
        shown = capsys.readouterr()
        assert (status, shown.out) == (2, "")
        assert_sentence(shown.err.removesuffix("\n"))
        assert str(tmp_path / "run") in shown.err
        assert files_in(tmp_path) == before
        assert sorted(tmp_path.iterdir()) == [tmp_path / "run"]

    @pytest.mark.parametrize("door", DOORS)
    def test_lets_a_sound_one_through(self, door: str, tmp_path: Path) -> None:
        put_small_cnn(tmp_path, lambda *_: None)
        DOORS[door](tmp_path)

    @pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16, torch.float64])
    def test_lets_another_precision_through(self, kind: torch.dtype, tmp_path: Path) -> None:
        model = build_model("small_cnn", width=2).to(kind)
        save_checkpoint(tmp_path, model)
        found = load_checkpoint(tmp_path)[0].state_dict()
        assert all(
            torch.equal(found[name], tensor.to(found[name].dtype))
            for name, tensor in model.state_dict().items()
        )
        Reader(model)


class TestHuge:
    @pytest.fixture
    def built(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """The networks for which memory was taken."""
        built: list[str] = []

        def build(name: str, **arguments: Any) -> nn.Module:
            built.append(name)
            raise AssertionError(f"{name} was built")

        monkeypatch.setattr(checkpoints, "build_model", build)
        return built

    @pytest.mark.parametrize(("name", "arguments"), HUGE)
    def test_is_refused_before_it_is_built(
        self, name: str, arguments: dict[str, Any], tmp_path: Path, built: list[str]
    ) -> None:
        put_arguments(tmp_path, name, arguments)
        assert str(tmp_path) in refusal(lambda: load_checkpoint(tmp_path))
        assert built == []

    @pytest.mark.parametrize("claims", [True, False])
    def test_weights_that_the_card_does_not_account_for_are_not_read(
        self, claims: bool, tmp_path: Path, built: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put_small_cnn(tmp_path, lambda *_: None)
        size = 20 * 10**9
        entry = {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}
        header = json.dumps({"w": entry}).encode() if claims else b""
        with (tmp_path / "weights.safetensors").open("wb") as file:
            file.write(struct.pack("<Q", len(header)) + header)
            file.truncate(8 + len(header) + size)  # a hole: it takes no room on the disk
        message = refusal(lambda: load_checkpoint(tmp_path))
        assert ("does not fit SmallCNN" if claims else "altered or cut short") in message

    @pytest.mark.parametrize("name", MODELS)
    def test_an_outline_has_the_shapes_of_the_model_and_no_numbers(self, name: str) -> None:
        model, outline = build_model(name), outline_model(name, {}, most_tensors=1_000)
        assert outline is not None
        parts = [
            {key: (tensor.shape, tensor.dtype) for key, tensor in network.state_dict().items()}
            for network in (model, outline)
        ]
        assert parts[0] == parts[1]
        assert all(parameter.is_meta for parameter in outline.parameters())

    def test_an_outline_draws_nothing_and_counts_only_its_own(self) -> None:
        state = torch.get_rng_state()
        outline_model("vit", {}, most_tensors=1_000)
        assert torch.equal(torch.get_rng_state(), state)
        with pytest.raises(ValueError, match="has more than 10 tensors"):
            outline_model("vit", {}, most_tensors=10)
        build_model("vit")  # nothing counts any more

    def test_a_network_of_ones_own_that_needs_numbers_to_be_built_is_loaded_too(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Own(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.output = nn.Linear(784, 10)
                assert float(self.output.weight.detach().abs().max()) > 0

            def forward(self, images: Tensor) -> Tensor:
                return self.output(images.flatten(1))

        monkeypatch.setitem(registry.MODELS, "own", Own)
        model = build_model("own", seed=3)
        save_checkpoint(tmp_path, model)
        assert torch.equal(load_checkpoint(tmp_path)[0].output.weight, model.output.weight)


class TestJSON:
    @pytest.mark.parametrize("name", ["model", "resume", "lora"])
    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"\xff\xfe{}",
            b"[" * 8_000,
            b'{"a":' * 100_000,
            b"1" * 5_000,
            b'"' + b"a" * 100_000 + b'"',
            b" " * 9_000_000 + b"{}",
            b'{"format": "mnist-lab checkpoint", "format_version": true}',
            b'{"format": "mnist-lab checkpoint", "format_version": 1.0}',
            b'{"format": "mnist-lab checkpoint", "format_version": "' + b"9" * 90_000 + b'"}',
            b'{"format": "mnist-lab checkpoint", "format_version": 1}',
        ],
        ids=lambda content: repr(content[:20]),
    )
    def test_that_is_none_of_ours_is_one_sentence(
        self, content: bytes, name: str, tmp_path: Path
    ) -> None:
        (tmp_path / f"{name}.json").write_bytes(content)
        assert str(tmp_path) in refusal(lambda: load_tensors(tmp_path, name))

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes")
    @pytest.mark.parametrize("what", ["model.json", "weights.safetensors"])
    @pytest.mark.parametrize("kind", ["pipe", "folder", "device"])
    def test_a_pipe_a_folder_or_a_device_is_no_part_of_a_checkpoint(
        self, kind: str, what: str, tmp_path: Path
    ) -> None:
        put_small_cnn(tmp_path, lambda *_: None)
        path = tmp_path / what
        path.unlink()
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "folder":
            path.mkdir()
        else:
            path.symlink_to("/dev/zero")
        assert f"is a {kind}; a file is expected" in refusal(lambda: load_checkpoint(tmp_path))

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes")
    @pytest.mark.parametrize("kind", ["pipe", "device"])
    def test_nor_a_checkpoint_itself(self, kind: str, tmp_path: Path) -> None:
        path = Path("/dev/zero") if kind == "device" else tmp_path / "pipe"
        if kind == "pipe":
            os.mkfifo(path)
        assert f"{path} is a {kind}; the folder of a checkpoint" in refusal(
            lambda: load_checkpoint(path)
        )

    def test_the_key_that_is_missing_is_named(self, tmp_path: Path) -> None:
        put_small_cnn(tmp_path, lambda _, card: card.pop("training"))
        assert refusal(lambda: load_checkpoint(tmp_path)).endswith("'training' is missing.")

    def test_names_that_would_disturb_a_terminal_are_shown_harmless(self, tmp_path: Path) -> None:
        put_small_cnn(
            tmp_path, lambda weights, _: weights.update({"\x1b[2J\nnew line": torch.zeros(1)})
        )
        assert r"\x1b[2J new line is unknown" in refusal(lambda: load_checkpoint(tmp_path))

    def test_a_hundred_thousand_names_are_told_at_once(self, tmp_path: Path) -> None:
        names = [str(number) for number in range(100_000)]
        put_small_cnn(tmp_path, lambda _, card: card.update(class_names=names))
        assert "logits (2, 100000)" in refusal(lambda: load_checkpoint(tmp_path))

    def test_an_unknown_type_of_elements_is_named(self, tmp_path: Path) -> None:
        header = json.dumps({"w": {"dtype": "F4", "shape": [8], "data_offsets": [0, 4]}}).encode()
        put(tmp_path, struct.pack("<Q", len(header)) + header + b"1234", {})
        assert "w has elements of type F4; known are" in refusal(lambda: load_checkpoint(tmp_path))


class TestBesideAWriter:
    """Between a reader's two files a writer may put a new pair, and take the old weights away."""

    def replace_while_read(
        self, monkeypatch: pytest.MonkeyPatch, folder: Path, times: int, name: str = "model"
    ) -> None:
        count, original = [0], tensor_folders.open_regular

        def open_late(path: Path) -> Any:
            if path.suffix == ".safetensors" and count[0] < times:
                count[0] += 1
                save_tensors(folder, name, {"w": torch.full((3,), count[0])}, {"n": count[0]})
            return original(path)

        monkeypatch.setattr(tensor_folders, "open_regular", open_late)

    @pytest.mark.parametrize("name", ["model", "resume", "lora"])
    @pytest.mark.parametrize("times", [0, 1, 3])
    def test_one_whole_state_is_read(
        self, times: int, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        save_tensors(tmp_path, name, {"w": torch.zeros(3)}, {"n": 0})
        self.replace_while_read(monkeypatch, tmp_path, times, name)
        tensors, record = load_tensors(tmp_path, name)
        assert tensors["w"].tolist() == [times] * 3
        assert record["n"] == times

    def test_one_that_never_stops_is_told(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        save_tensors(tmp_path, "model", {"w": torch.zeros(3)}, {})
        self.replace_while_read(monkeypatch, tmp_path, 1_000)
        assert "was replaced 20 times" in refusal(lambda: load_tensors(tmp_path, "model"))

    def test_one_that_takes_it_away_leaves_what_is_true_then(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        save_tensors(tmp_path, "resume", {"w": torch.zeros(3)}, {})
        original = tensor_folders.open_regular

        def remove(path: Path) -> Any:
            if path.suffix == ".safetensors":
                path.unlink()
                (tmp_path / "resume.json").unlink()
            return original(path)

        monkeypatch.setattr(tensor_folders, "open_regular", remove)
        assert "there is no resume.json" in refusal(lambda: load_tensors(tmp_path, "resume"))

    def test_a_record_alone_needs_no_weights(self, tmp_path: Path) -> None:
        save_tensors(tmp_path, "resume", {"w": torch.zeros(3)}, {"epoch": 2})
        next(tmp_path.glob("*.safetensors")).unlink()
        assert read_record(tmp_path, "resume")["epoch"] == 2
        refusal(lambda: load_tensors(tmp_path, "resume"))

    def test_the_digest_is_that_of_the_weights(self, tmp_path: Path) -> None:
        save_checkpoint(tmp_path, build_model("linear"))
        assert read_digest(tmp_path) == read_record(tmp_path, "model")["weights_sha256"]


class TestPickles:
    """Only what is one is called one."""

    @pytest.mark.parametrize("protocol", range(2, 6))
    @pytest.mark.parametrize("value", [{}, {"w": [1.5] * 9}, list(range(10_000)), "x" * 1_000])
    def test_each_is(self, value: object, protocol: int, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(pickle.dumps(value, protocol))
        assert "is a pickle" in refusal(lambda: load_checkpoint(tmp_path / "file"))

    def innocent(self, kind: str, path: Path) -> None:
        if kind.startswith("zip"):
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("photos/data.pkl.txt", "no pickle")
            if kind == "zip cut":
                path.write_bytes(path.read_bytes()[:-30])
            elif kind == "zip scrambled":
                content = bytearray(path.read_bytes())
                content[-60:-30] = bytes(30)
                path.write_bytes(content)
            return
        path.write_bytes(
            {
                "text": "€uro signs and more text".encode("cp1252"),
                "two bytes": b"\x80\x04",
                "random": b"\x80\x04" + bytes(range(256)) * 4,
                "noise": b"\x80\x02\xff\xfe\xfd" * 99,
                "png": b"\x89PNG\r\n\x1a\n" + bytes(99),
                "html": b"<!DOCTYPE html><html></html>",
                "old protocol": b"(lp0\nI1\na.",
                "nothing": b"",
                "zip start": b"PK\x03\x04",
            }[kind]
        )

    @pytest.mark.parametrize(
        "kind",
        [
            *("text", "two bytes", "random", "noise", "png", "html", "old protocol", "nothing"),
            *("zip start", "zip whole", "zip cut", "zip scrambled"),
        ],
    )
    def test_no_other_file_is(self, kind: str, tmp_path: Path) -> None:
        self.innocent(kind, tmp_path / "file")
        assert "is a file; the folder" in refusal(lambda: load_checkpoint(tmp_path / "file"))
        assert "holds no checkpoint" in refusal(lambda: load_checkpoint(tmp_path))


class TestCard:
    """What a card says by itself is checked when it is made, by whoever makes it."""

    @pytest.mark.parametrize(
        ("entry", "said"),
        [
            ({"class_names": ("a", "a")}, "2 are called 'a'"),
            ({"class_names": (0, 1)}, r"class_names must be texts, found \(0, 1\)"),
            ({"class_names": ("",)}, "class_names must be texts"),
            ({"input_size": (0, 28)}, "input_size must be two sides of 1 to 1,024 pixels"),
            ({"input_size": (28, 1_025)}, r"found \(28, 1025\)"),
            ({"input_size": (28, 28, 28)}, "input_size"),
            ({"input_size": (28.0, 28)}, "input_size"),
            ({"training": None}, "training must be a mapping, found None"),
            ({"arguments": []}, r"arguments must be a mapping, found \[\]"),
            ({"model": 5}, "model must be a text, found 5"),
        ],
    )
    def test_that_makes_no_sense_is_not_made(self, entry: dict[str, Any], said: str) -> None:
        with pytest.raises(ValueError, match=said) as caught:
            ModelCard(**{"model": "linear", **entry})
        assert_sentence(str(caught.value))

    def test_a_head_has_as_many_rows_as_there_are_names(self) -> None:
        for classes in (9, 11, 26):
            with pytest.raises(ValueError, match=f"head has {classes} classes: .* found 10"):
                ModelCard.of(build_model("linear", classes=classes))

    def test_a_network_that_does_not_fit_is_told(self) -> None:
        class Odd(nn.Module):
            def __init__(self, answer: Callable[[Tensor], object]) -> None:
                super().__init__()
                self.answer = answer

            def forward(self, images: Tensor) -> object:
                return self.answer(images)

        def raise_without_a_word(images: Tensor) -> None:
            raise NotImplementedError

        for answer, said in (
            (lambda images: images, r"found the shape \(2, 1, 28, 28\)"),
            (
                lambda images: images.flatten(1)[:, :9],
                r"logits \(2, 10\).* found the shape \(2, 9\)",
            ),
            (lambda images: images[0, 0, 0, :10], r"found the shape \(10,\)"),
            (lambda images: (images.flatten(1)[:, :10],), "found tuple"),
            (lambda images: None, "found NoneType"),
            (lambda images: images.flatten(1)[:, :10] / 0, "not finite"),
            (raise_without_a_word, "reads no images of 28x28 pixels: NotImplementedError"),
        ):
            with pytest.raises(ValueError, match=said) as caught:
                Reader(Odd(answer))
            assert_sentence(str(caught.value))

    def test_asking_leaves_the_network_as_it_was(self) -> None:
        model = build_model("small_cnn", width=2).train()
        model.norm1.eval()
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        modes = [part.training for part in model.modules()]
        state = torch.get_rng_state()
        ModelCard.of(model).check(model)
        assert [part.training for part in model.modules()] == modes
        assert all(torch.equal(before[name], now) for name, now in model.state_dict().items())
        assert torch.equal(torch.get_rng_state(), state)

    def test_of_another_normalisation_than_the_network_was_built_for(self) -> None:
        model = build_model("efficientnet_lite0", input_size=32)
        with pytest.raises(ValueError, match="was built for Normalisation"):
            ModelCard("efficientnet_lite0", normalisation=Normalisation(0.5, 0.5)).check(model)
