"""Checkpoints: what was saved comes back, and nothing else comes in."""

from __future__ import annotations

import hashlib
import json
import math
import pickle
import re
import struct
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mnist_lab.data.normalisation import Normalisation
from mnist_lab.models.registry import MODELS, build_model
from mnist_lab.training.augmentation import Augmentation
from mnist_lab.training.cards import ModelCard
from mnist_lab.training.checkpoints import load_checkpoint, load_weights, save_checkpoint
from mnist_lab.training.config import TrainConfig
from mnist_lab.training.tensor_folders import (
    FORMAT_VERSION,
    CheckpointError,
    load_tensors,
    save_tensors,
)

CARD = ModelCard(
    model="small_cnn",
    arguments={"width": 2, "classes": 3},
    normalisation=Normalisation(0.25, 0.5),
    input_size=(28, 28),
    class_names=("a", "b", "ö"),
    training={"config": {"epochs": 3}, "validation_accuracy": 0.125},
)


class Killed(BaseException):
    """Stands for a kill: nothing in the package may catch it and go on."""


def save_small(folder: Path, seed: int = 0) -> dict[str, Tensor]:
    model = build_model(CARD.model, seed=seed, **CARD.arguments)
    save_checkpoint(folder, model, CARD)
    return model.state_dict()


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def edit_json(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    record = json.loads((folder / "model.json").read_text())
    change(record)
    (folder / "model.json").write_text(json.dumps(record))


def put_weights(folder: Path, content: bytes) -> None:
    """Put other weights in, with the SHA-256 that fits them."""
    (folder / "other.safetensors").write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    edit_json(
        folder, lambda record: record.update(weights="other.safetensors", weights_sha256=digest)
    )


def refusal(folder: Path) -> str:
    """Return the sentence with which a checkpoint is refused."""
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(folder)
    message = str(caught.value)
    assert message.endswith(".")
    return message


class TestRoundTrip:
    def test_is_exact(self, tmp_path: Path) -> None:
        saved = save_small(tmp_path)
        model, card = load_checkpoint(tmp_path)
        assert same(model.state_dict(), saved)
        assert card == CARD
        assert not model.training
        assert model.state_dict()["norm1.num_batches_tracked"].dtype == torch.int64

    @pytest.mark.parametrize("value", [math.nan, math.inf, 3e38])
    def test_of_what_cannot_read_is_refused_and_the_old_one_stays(
        self, value: float, tmp_path: Path
    ) -> None:
        saved = save_small(tmp_path)
        spoilt = build_model("linear", seed=0)
        torch.nn.init.constant_(spoilt.get_parameter("output.weight"), value)
        with pytest.raises(CheckpointError, match=r"^Nobody could read with it: .*\.$"):
            save_checkpoint(tmp_path, spoilt)
        assert same(load_checkpoint(tmp_path)[0].state_dict(), saved)

    def test_odd_tensors_come_back_as_they_were(self, tmp_path: Path) -> None:
        tensors = {
            "special": torch.tensor([math.nan, math.inf, -0.0, 1e-45]),
            "step": torch.tensor(7.0),
            "empty": torch.zeros(0, 3),
            "strided": torch.arange(24.0).reshape(2, 3, 4).permute(2, 0, 1),
            "last": torch.rand(2, 3, 4, 5).to(memory_format=torch.channels_last),
            "bytes": torch.arange(5, dtype=torch.uint8),
        }
        save_tensors(tmp_path, "state", tensors, {"step": 3})
        found, record = load_tensors(tmp_path, "state")
        for name, tensor in tensors.items():
            assert found[name].dtype == tensor.dtype
            assert found[name].shape == tensor.shape
            torch.testing.assert_close(found[name], tensor, rtol=0, atol=0, equal_nan=True)
        assert record["step"] == 3

    def test_is_two_files_neither_a_pickle(self, tmp_path: Path) -> None:
        save_small(tmp_path)
        names = visible(tmp_path)
        assert len(names) == 2
        assert names[0].startswith("model-")
        assert names[0].endswith(".safetensors")
        assert names[1] == "model.json"
        record = json.loads((tmp_path / "model.json").read_text())
        assert record["format_version"] == FORMAT_VERSION
        # What evaluate, predict and the page read from it.
        assert record["card"]["normalisation"] == {"mean": 0.25, "deviation": 0.5}
        assert record["card"]["input_size"] == [28, 28]
        assert record["card"]["class_names"] == ["a", "b", "ö"]

    def test_a_new_one_replaces_the_old_and_leaves_nothing_of_it(self, tmp_path: Path) -> None:
        save_small(tmp_path, seed=0)
        new = save_small(tmp_path, seed=1)
        assert len(visible(tmp_path)) == 2
        assert same(load_checkpoint(tmp_path)[0].state_dict(), new)

    def test_saving_the_same_again_keeps_it(self, tmp_path: Path) -> None:
        save_small(tmp_path)
        saved = save_small(tmp_path)
        assert same(load_checkpoint(tmp_path)[0].state_dict(), saved)

    def test_two_names_live_side_by_side(self, tmp_path: Path) -> None:
        save_tensors(tmp_path, "model", {"a": torch.ones(1)}, {})
        save_tensors(tmp_path, "resume", {"a": torch.zeros(1)}, {})
        save_tensors(tmp_path, "model", {"a": torch.full((1,), 2.0)}, {})
        assert load_tensors(tmp_path, "resume")[0]["a"] == 0
        assert load_tensors(tmp_path, "model")[0]["a"] == 2

    def test_a_number_that_json_has_not_is_not_written(self, tmp_path: Path) -> None:
        save_tensors(tmp_path, "state", {"a": torch.ones(1)}, {"loss": 1.0})
        with pytest.raises(ValueError, match="JSON"):
            save_tensors(tmp_path, "state", {"a": torch.zeros(1)}, {"loss": math.nan})
        tensors, record = load_tensors(tmp_path, "state")
        assert (float(tensors["a"]), record["loss"]) == (1, 1.0)


def visible(folder: Path) -> list[str]:
    """What lies in a folder, but for what marks it as ours."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith(".mnist-lab"))


class TestKill:
    def kill_at(self, step: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        """Raise at the step-th place where a save touches the disk."""
        count = [0]

        def touch() -> None:
            count[0] += 1
            if count[0] == step:
                raise Killed

        def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
            def wrapped(*arguments: Any, **named: Any) -> Any:
                touch()  # before it
                found = original(*arguments, **named)
                touch()  # and after it
                return found

            return wrapped

        for name in ("write_bytes", "write_text", "replace", "unlink"):
            monkeypatch.setattr(Path, name, wrap(getattr(Path, name)))
        return count

    def test_at_any_step_leaves_the_old_or_the_new(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        save_small(tmp_path / "counted", seed=0)
        steps = self.kill_at(-1, monkeypatch)
        new = save_small(tmp_path / "counted", seed=1)
        monkeypatch.undo()
        assert steps[0] > 8
        found_old = found_new = 0
        for step in range(1, steps[0] + 1):
            folder = tmp_path / str(step)
            old = save_small(folder, seed=0)
            self.kill_at(step, monkeypatch)
            with pytest.raises(Killed):
                save_small(folder, seed=1)
            monkeypatch.undo()
            found = load_checkpoint(folder)[0].state_dict()
            found_old += same(found, old)
            found_new += same(found, new)
        assert found_old + found_new == steps[0]
        assert min(found_old, found_new) > 2

    def test_by_the_system_leaves_one_whole_checkpoint(self, tmp_path: Path) -> None:
        code = """
            import sys
            from mnist_lab.training.checkpoints import save_checkpoint
            from mnist_lab.models import build_model
            models = [build_model("mlp", seed=seed, hidden=64) for seed in range(2)]
            save_checkpoint(sys.argv[1], models[0])
            print("ready", flush=True)
            while True:
                for model in models:
                    save_checkpoint(sys.argv[1], model)
        """
        command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            process.kill()
        found = load_checkpoint(tmp_path)[0].state_dict()
        weights = [build_model("mlp", seed=seed, hidden=64).state_dict() for seed in range(2)]
        assert any(same(found, expected) for expected in weights)


class TestRefusal:
    def test_nothing_there(self, tmp_path: Path) -> None:
        assert "does not exist" in refusal(tmp_path / "nowhere")
        assert "holds no checkpoint: there is no model.json" in refusal(tmp_path)
        (tmp_path / "file.txt").write_text("text")
        assert "is a file; the folder of a checkpoint" in refusal(tmp_path / "file.txt")

    @pytest.mark.parametrize(
        "content",
        ["", "{", "[]", "3", '{"format": "other"}', '{"a": ' * 100_000, "\udcff", "1" * 5_000],
    )
    def test_json_that_is_none_or_foreign(self, content: str, tmp_path: Path) -> None:
        save_small(tmp_path)
        (tmp_path / "model.json").write_bytes(content.encode(errors="surrogateescape"))
        assert str(tmp_path / "model.json") in refusal(tmp_path)

    @pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
    def test_json_with_what_json_has_not(self, word: str, tmp_path: Path) -> None:
        save_small(tmp_path)
        text = (tmp_path / "model.json").read_text()
        assert "0.25" in text
        (tmp_path / "model.json").write_text(text.replace("0.25", word))
        assert word in refusal(tmp_path)

    @pytest.mark.parametrize("version", [0, 2, "1", None])
    def test_another_version(self, version: object, tmp_path: Path) -> None:
        save_small(tmp_path)
        edit_json(tmp_path, lambda record: record.update(format_version=version))
        message = refusal(tmp_path)
        assert f"format version {version!r}" in message
        assert "reads version 1" in message

    def test_weights_that_are_missing(self, tmp_path: Path) -> None:
        save_small(tmp_path)
        (weights,) = tmp_path.glob("*.safetensors")
        weights.unlink()
        assert f"{weights} cannot be read" in refusal(tmp_path)

    @pytest.mark.parametrize("damage", ["cut", "flip", "longer", "empty"])
    def test_weights_that_were_altered_or_cut(self, damage: str, tmp_path: Path) -> None:
        save_small(tmp_path)
        (weights,) = tmp_path.glob("*.safetensors")
        content = bytearray(weights.read_bytes())
        if damage == "flip":
            content[-1] ^= 1
        damaged = {
            "cut": content[: len(content) // 2],
            "flip": content,
            "longer": content + b"\0",
            "empty": b"",
        }[damage]
        weights.write_bytes(damaged)
        message = refusal(tmp_path)
        assert message.startswith(str(weights))
        assert "altered or cut short" in message
        assert ("its SHA-256 is not the one in model.json" in message) == (damage == "flip")

    @pytest.mark.parametrize(
        "header",
        [
            b"",
            b"\xff" * 8,
            struct.pack("<Q", 2**62),
            b"{" * 1_000,
            b"[]",
            {"w": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 4]}},
            {"w": {"dtype": "F32", "shape": [1], "data_offsets": [-1, 3]}},
            {"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4_000]}},
            {"w": {"dtype": "what", "shape": [1], "data_offsets": [0, 4]}},
            # In the format, but unknown to the reader for torch.
            {"w": {"dtype": "F4", "shape": [8], "data_offsets": [0, 4]}},
            {"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}},
        ],
    )
    def test_hostile_weights_with_the_right_sum(self, header: Any, tmp_path: Path) -> None:
        save_small(tmp_path)
        if isinstance(header, dict):
            text = json.dumps(header).encode()
            content = struct.pack("<Q", len(text)) + text + b"1234"
        elif len(header) > 8:
            content = struct.pack("<Q", len(header)) + header
        else:
            content = header
        put_weights(tmp_path, content)
        assert str(tmp_path) in refusal(tmp_path)

    def test_weights_outside_the_folder_are_not_read(self, tmp_path: Path) -> None:
        outside = tmp_path / "outside.safetensors"
        folder = tmp_path / "checkpoint"
        save_small(folder)
        (weights,) = folder.glob("*.safetensors")
        weights.rename(outside)
        for path in (str(outside), "../outside.safetensors"):
            edit_json(folder, lambda record, path=path: record.update(weights=path))
            assert f"{folder / 'outside.safetensors'} cannot be read" in refusal(folder)

    @pytest.mark.parametrize("name", ["", ".", "..", "a\0b", "\ud800", "x" * 1_000, None, 5])
    def test_weights_with_an_impossible_name(self, name: object, tmp_path: Path) -> None:
        save_small(tmp_path)
        edit_json(tmp_path, lambda record: record.update(weights=name))
        assert "cannot be read" in refusal(tmp_path)

    @pytest.mark.parametrize(
        ("card", "complaint"),
        [
            ({"model": "lenet"}, "a 'lenet', which is not registered here: run what registers it"),
            ({"model": ["mlp"]}, "describes no model"),
            ({"arguments": {"depth": 3}}, "depth"),
            ({"arguments": {"width": -4}}, "width"),
            ({"arguments": {"name": "mlp"}}, "name"),
            ({"arguments": None}, "describes no model"),
            ({"normalisation": None}, "describes no model"),
            ({"normalisation": {"mean": 0.1, "deviation": 0}}, "deviation must be above 0"),
            ({"normalisation": {"mean": "0.1", "deviation": 1}}, "describes no model"),
            ({"input_size": [28]}, "describes no model"),
            ({"class_names": 10}, "describes no model"),
        ],
    )
    def test_a_card_that_describes_no_model(
        self, card: dict[str, Any], complaint: str, tmp_path: Path
    ) -> None:
        save_small(tmp_path)
        edit_json(tmp_path, lambda record: record["card"].update(card))
        assert complaint in refusal(tmp_path)

    def test_a_card_without_an_entry(self, tmp_path: Path) -> None:
        save_small(tmp_path)
        edit_json(tmp_path, lambda record: record["card"].pop("class_names"))
        assert "class_names" in refusal(tmp_path)
        edit_json(tmp_path, lambda record: record.pop("card"))
        assert "card" in refusal(tmp_path)

    def test_another_network_is_told_by_names_and_shapes(self, tmp_path: Path) -> None:
        save_small(tmp_path)
        edit_json(tmp_path, lambda record: record["card"].update(arguments={"width": 3}))
        message = refusal(tmp_path)
        assert "does not fit SmallCNN" in message
        assert "conv1.weight is (2, 1, 5, 5), expected (3, 1, 5, 5)" in message
        assert re.search(r"; and \d+ more\.$", message)
        edit_json(tmp_path, lambda record: record["card"].update(model="linear", arguments={}))
        message = refusal(tmp_path)
        assert "does not fit Linear" in message
        assert "conv1.weight is unknown" in message

    def test_a_missing_tensor_is_named(self) -> None:
        model = build_model("linear")
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        with pytest.raises(
            CheckpointError, match=r"^here does not fit Linear: output.bias is missi"
        ):
            load_weights(model, {"output.weight": torch.zeros(10, 784)}, "here")
        assert same(model.state_dict(), before)  # nothing half-read is used


class Payload:
    """A pickle that runs code when it is read."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return exec, ("raise AssertionError('the pickle was run')",)


class TestPickle:
    @pytest.mark.parametrize("protocol", range(2, 6))
    def test_a_pickle_is_refused_and_not_run(self, protocol: int, tmp_path: Path) -> None:
        path = tmp_path / "model.pkl"
        path.write_bytes(pickle.dumps(Payload(), protocol))
        message = refusal(path)
        assert message.startswith(f"{path} is a pickle, and a pickle can run any code")
        assert "safetensors" in message

    @pytest.mark.parametrize("name", ["model.pth", "model.pt", "weights", "model.pkl"])
    @pytest.mark.parametrize("zipped", [True, False])
    def test_what_torch_save_writes_is_refused(
        self, name: str, zipped: bool, tmp_path: Path
    ) -> None:
        path = tmp_path / name
        torch.save({"w": torch.ones(1)}, path, _use_new_zipfile_serialization=zipped)
        assert "is a pickle" in refusal(path)
        assert f"holds {name}, a pickle" in refusal(tmp_path)

    def test_a_pickle_under_the_name_of_the_weights_is_refused(self, tmp_path: Path) -> None:
        save_small(tmp_path)
        put_weights(tmp_path, pickle.dumps(Payload()))
        assert "other.safetensors cannot be read" in refusal(tmp_path)

    @pytest.mark.parametrize(
        "content", [b"PK\x03\x04 photos", b"PK\x05\x06" + bytes(18), b"\x80", b""]
    )
    def test_another_file_is_not_called_a_pickle(self, content: bytes, tmp_path: Path) -> None:
        path = tmp_path / "photos.zip"
        path.write_bytes(content)
        assert "is a file; the folder of a checkpoint" in refusal(path)


class TestPublishedCard:
    def page(
        self,
        card: ModelCard = CARD,
        title: str = "Three letters",
        use: str = "To teach.",
        limits: str = "Reads no Greek.",
        **more: str,
    ) -> str:
        return card.to_markdown(title, use=use, limits=limits, **more)

    def test_says_what_a_stranger_must_know(self) -> None:
        data = [{"count": 1_200, "crc32": 255}, {"count": 34, "crc32": 1}]
        training = {"config": {"epochs": 3, "seed": 0}, "data": data, "epoch": 2}
        page = self.page(replace(CARD, training={**training, "validation_accuracy": 0.125}))
        assert page.startswith("# Three letters\n")
        for words in (
            "`small_cnn(width=2, classes=3)`, logits for the classes a, b, ö",
            "28x28",
            "(pixel / 255 - 0.25) / 0.5",
            "To teach.",
            "- training: 1,200 digits, CRC-32 000000ff",
            "- validation: 34 digits",
            "- epochs: 3",
            "- seed: 0",
            "12.50% of the validation digits, after epoch 2",
            "Reads no Greek.",
        ):
            assert words in page

    def test_leaves_out_what_is_switched_off(self) -> None:
        config = {"clip_norm": None, "weight_decay": 0.0, "augmentation": {"rotate": 5, "shear": 0}}
        page = self.page(replace(CARD, training={"config": config}))
        assert "clip" not in page
        assert "weight" not in page
        assert "- augmentation: rotate 5\n" in page

    def test_tells_every_change_of_images(self) -> None:
        ranges = {name: 0.5 for name in vars(Augmentation()) if name != "elastic_smoothness"}
        page = self.page(replace(CARD, training={"config": {"augmentation": ranges}}))
        assert all(f"{name} 0.5" in page for name in ranges)

    def test_says_how_groups_fare_and_what_it_costs_where_its_maker_says_so(self) -> None:
        page = self.page(groups="Children: 95%.\n", energy="0.02 kWh a million.")
        assert "## Groups\n\nChildren: 95%.\n\n## Limits\n" in page
        assert page.endswith("## Energy\n\n0.02 kWh a million.\n")
        assert "Groups" not in self.page()
        assert "Energy" not in self.page()

    def test_says_what_was_not_recorded(self) -> None:
        assert self.page(replace(CARD, training={})).count("Not recorded.") == 3

    @pytest.mark.parametrize("name", ["title", "use", "limits"])
    def test_asks_for_what_only_its_maker_can_say(self, name: str) -> None:
        with pytest.raises(ValueError, match=f"needs its {name}"):
            self.page(CARD, **{name: " "})

    def test_can_be_written_of_what_fit_records(self) -> None:
        config = TrainConfig(augmentation=Augmentation(rotate=5)).to_json()
        page = self.page(replace(CARD, training={"config": config}))
        assert "- learning rate: 0.01\n" in page
        assert "- optimizer: adamw" in page
        assert "- augmentation: rotate 5\n" in page


class TestDescribesItself:
    """A checkpoint never comes back as another network than the one that was saved."""

    @pytest.mark.parametrize(
        ("name", "argument", "value"),
        [
            ("vit", "heads", 8),
            ("article_000", "corrected", True),
            ("resnet", "dropout", 0.5),
            ("resnet", "norm", False),
            ("efficientnet_lite0", "input_size", 96),
            ("efficientnet_lite0", "dark_ink", False),
            ("efficientnet_lite0", "normalisation", Normalisation(0.0, 1.0)),
        ],
    )
    def test_whatever_it_was_built_with(
        self, name: str, argument: str, value: Any, tmp_path: Path
    ) -> None:
        model = build_model(name, seed=1, **{argument: value}).eval()
        save_checkpoint(tmp_path, model)
        found, card = load_checkpoint(tmp_path)
        assert repr(found) == repr(model)
        images = torch.randn(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            assert torch.equal(found(images), model(images))
        if argument == "normalisation":
            assert card.normalisation == value

    @pytest.mark.parametrize(
        "wrong",
        [
            {"model": "mlp"},
            {"arguments": {}},
            {"arguments": {"heads": 4}},
        ],
    )
    def test_a_card_that_says_otherwise_is_refused(
        self, wrong: dict[str, Any], tmp_path: Path
    ) -> None:
        model = build_model("vit", heads=8)
        (name,) = wrong
        with pytest.raises(
            CheckpointError, match=f"The card has the {name} .*, the model is built"
        ):
            save_checkpoint(tmp_path, model, replace(ModelCard.of(model), **wrong))
        assert not list(tmp_path.iterdir())

    def test_another_normalisation_than_it_was_built_for_is_refused(self, tmp_path: Path) -> None:
        model = build_model("efficientnet_lite0", input_size=32)
        card = replace(ModelCard.of(model), normalisation=Normalisation(0.0, 1.0))
        with pytest.raises(CheckpointError, match="The card has the normalisation"):
            save_checkpoint(tmp_path, model, card)
        with pytest.raises(ValueError, match="The model was built for Normalisation"):
            ModelCard.of(model, normalisation=Normalisation(0.0, 1.0))

    @pytest.mark.parametrize("change", ["dropout", "heads", "layer", "tensor"])
    def test_a_model_that_was_changed_after_it_was_built_is_refused(
        self, change: str, tmp_path: Path
    ) -> None:
        model: Any = (
            build_model("resnet", dropout=0.1) if change == "dropout" else build_model("vit")
        )
        if change == "dropout":
            model.dropout.p = 0.5
        elif change == "heads":
            model.blocks[0].attention.heads = 2
        elif change == "layer":
            model.norm = nn.Identity()
        else:
            model.register_buffer("more", torch.zeros(1))
        with pytest.raises(CheckpointError, match=r"was changed after|has other tensors"):
            save_checkpoint(tmp_path, model)
        assert not list(tmp_path.iterdir())

    def test_a_new_head_without_names_for_its_classes_is_refused(self, tmp_path: Path) -> None:
        model = build_model("linear", classes=3)
        with pytest.raises(ValueError, match="head has 3 classes: their class_names are needed"):
            save_checkpoint(tmp_path, model)
        save_checkpoint(tmp_path, model, ModelCard.of(model, class_names=("a", "b", "c")))
        assert load_checkpoint(tmp_path)[1].class_names == ("a", "b", "c")

    def test_arguments_that_json_cannot_hold_are_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(MODELS, "odd", lambda layer: layer)
        odd = build_model("odd", layer=nn.Linear(784, 10))
        with pytest.raises(ValueError, match="odd was built with something that JSON cannot hold"):
            save_checkpoint(tmp_path, odd)
