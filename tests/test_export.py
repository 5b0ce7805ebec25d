"""Export: other programs get the same logits, and what makes no sense is one sentence."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from safetensors import safe_open

from mnist_lab import export
from mnist_lab.cli import main
from mnist_lab.data.digit_set import DigitSet
from mnist_lab.data.normalisation import Normalisation
from mnist_lab.data.own_files import save_npz
from mnist_lab.export import (
    ExportError,
    check_free,
    export_onnx,
    export_web,
    transformer_bytes,
    web_bytes,
)
from mnist_lab.finetuning.masked import MaskedAutoencoder, make_autoencoder
from mnist_lab.models.registry import MODELS, build_model
from mnist_lab.training.cards import ModelCard
from mnist_lab.training.checkpoints import save_checkpoint

WEB = {"linear": {}, "mlp": {"hidden": 64}, "quick_cnn": {}, "small_cnn": {}}


def model_of(name: str, **arguments: Any) -> tuple[torch.nn.Module, ModelCard]:
    """A network whose batch norms have seen something, so that they change what they pass on."""
    model = build_model(name, seed=0, **arguments)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for _ in range(3):
            model(torch.rand(16, 1, 28, 28, generator=generator) * 3 - 0.5)
    return model.eval(), ModelCard.of(model)


@pytest.mark.parametrize("name", MODELS)
def test_onnxruntime_gives_the_same_logits(name: str, tmp_path: Path) -> None:
    import onnxruntime

    model, card = model_of(name)
    export_onnx(model, card, tmp_path / "model.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    for count in (1, 3):  # neither is the number it was exported with
        images = torch.rand(count, 1, 28, 28, generator=torch.Generator().manual_seed(count))
        with torch.no_grad():
            expected = model(images).numpy()
        (found,) = session.run(["logits"], {"images": images.numpy()})
        assert found.shape == (count, 10)
        assert np.abs(found - expected).max() < 1e-4
    text = session.get_modelmeta().custom_metadata_map["card"]
    assert ModelCard.from_json(json.loads(text)) == card


def test_a_model_in_train_mode_is_exported_as_it_predicts_and_left_as_it_was(
    tmp_path: Path,
) -> None:
    model, card = model_of("small_cnn", width=2)
    expected = web_bytes(model, card)
    model.train()
    assert web_bytes(model, card) == expected
    assert model.training


def test_the_same_model_gives_the_same_bytes() -> None:
    model, card = model_of("linear")
    assert len({web_bytes(model, card) for _ in range(20)}) == 1


@pytest.mark.parametrize("name", WEB)
def test_the_web_file_holds_the_weights_and_the_card(name: str, tmp_path: Path) -> None:
    model, card = model_of(name, **WEB[name])
    card = ModelCard(name, WEB[name], Normalisation(0.2, 0.4), training={"long": "story" * 9_999})
    export_web(model, card, tmp_path / "model.safetensors")
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        described = json.loads(file.metadata()["card"])
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    assert described.pop("format") == "mnist-lab web 1"
    read = ModelCard.from_json(described)
    assert (read.model, read.normalisation) == (name, Normalisation(0.2, 0.4))
    own = {key: value for key, value in model.state_dict().items() if value.is_floating_point()}
    assert tensors.keys() == own.keys()
    assert all(torch.equal(tensors[key], own[key]) for key in own)
    assert (tmp_path / "model.safetensors").stat().st_size <= 250_000


def test_small_cnn_of_the_standard_preset_fits_a_page() -> None:
    model, card = model_of("small_cnn", width=24)
    content = web_bytes(model, card)
    assert len(content) <= 250_000
    assert struct.unpack("<Q", content[:8])[0] < 10_000


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        (
            "vit",
            {},
            "'vit': its JavaScript knows linear, mlp, quick_cnn, small_cnn; ONNX takes any model",
        ),
        ("resnet", {"depth": 1}, "'resnet'"),
        ("small_cnn", {"width": 25}, "at most 250 kB"),
        ("mlp", {}, "at most 250 kB"),
    ],
)
def test_what_a_page_cannot_run_is_one_sentence(
    name: str, arguments: dict[str, Any], said: str, tmp_path: Path
) -> None:
    model, card = model_of(name, **arguments)
    with pytest.raises(ExportError, match=said):
        export_web(model, card, tmp_path / "model.safetensors")
    assert not list(tmp_path.iterdir())


def test_a_transformer_goes_out_with_its_decoder_and_the_same_bytes_each_time() -> None:
    encoder = build_model("vit", seed=0, width=8, depth=1, heads=2)
    painter = make_autoencoder(encoder, seed=0, width=8)
    card = ModelCard.of(encoder)
    content = transformer_bytes(painter, card, scores={"whole": 0.5})
    assert content == transformer_bytes(painter, card, scores={"whole": 0.5})
    told = json.loads(load_header(content)["__metadata__"]["card"])
    assert told["decoder"] == {"width": 8, "depth": 1, "heads": 4, "expansion": 2}
    assert told["scores"] == {"whole": 0.5}
    found = safetensors.torch.load(content)
    for name, tensor in painter.state_dict().items():
        key = name.removeprefix("encoder.") if name.startswith("encoder.") else f"decoder.{name}"
        assert torch.equal(found.pop(key), tensor)
    assert found == {}


def load_header(content: bytes) -> dict[str, Any]:
    header: dict[str, Any] = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return header


def test_what_the_attention_panel_cannot_show_is_one_sentence() -> None:
    encoder = build_model("vit", seed=0, width=8, depth=1, heads=2)
    card = ModelCard.of(encoder)
    other, its_card = model_of("linear")
    with pytest.raises(ExportError, match="shows the attention of a vit"):
        transformer_bytes(other, its_card)
    bare = MaskedAutoencoder(encoder, width=8, depth=0)
    with pytest.raises(ExportError, match="at least one block"):
        transformer_bytes(bare, card)
    broken = make_autoencoder(encoder, seed=0, width=8)
    with torch.no_grad():
        broken.hidden.fill_(torch.nan)
    with pytest.raises(ExportError, match=r"computed with it: hidden .*not finite"):
        transformer_bytes(broken, card)
    large = build_model("vit", seed=0, width=128, depth=8, heads=4)
    with pytest.raises(ExportError, match="reads at most 2 MB"):
        transformer_bytes(large, ModelCard.of(large))


def test_other_sizes_are_refused() -> None:
    model, _ = model_of("linear")
    with pytest.raises(ExportError, match="28x28 pixels; this model takes 8x8"):
        web_bytes(model, ModelCard("linear", input_size=(8, 8)))


def spoil_norm(model: torch.nn.Module) -> None:
    model.get_buffer("norm1.running_var")[0] = -1


SPOILT: dict[str, tuple[Any, dict[str, Any], str]] = {
    "NaN": (
        lambda model: model.output.weight.data.view(-1)[5].fill_(float("nan")),
        {},
        "output.weight holds numbers that are not finite",
    ),
    "a negative variance": (spoil_norm, {}, "norm1.running_var holds a variance below 0"),
    "a diverged run": (
        lambda model: [parameter.data.mul_(1e30) for parameter in model.parameters()],
        {},
        "answers a blank or a full image with numbers that are not finite",
    ),
    "float64 beyond float32": (
        lambda model: model.double().output.bias.data.fill_(1e300),
        {},
        "output.bias holds numbers that are not finite",
    ),
    "names": (lambda _: None, {"class_names": tuple("abc")}, r"logits \(2, 3\), one for each"),
    "more names": (lambda _: None, {"class_names": tuple("0123456789a")}, r"logits \(2, 11\)"),
    "a tiny deviation": (
        lambda _: None,
        {"normalisation": Normalisation(0.1, 1e-320)},
        r"deviation=1e-320\) paper is",
    ),
}


@pytest.mark.parametrize("form", [export_web, export_onnx])
@pytest.mark.parametrize("what", SPOILT)
def test_what_nothing_could_be_computed_with_is_one_sentence_and_no_file(
    what: str, form: Any, tmp_path: Path
) -> None:
    spoil, entries, said = SPOILT[what]
    model, card = model_of("small_cnn", width=2)
    spoil(model)
    (tmp_path / "out").write_bytes(b"old")
    with pytest.raises(ExportError, match=said) as caught:
        form(model, replace(card, **entries), tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")
    assert not str(caught.value).endswith("..")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


def test_onnx_of_an_input_size_that_does_not_fit_says_so_and_nothing_else(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model, card = model_of("linear")
    with pytest.raises(ExportError, match="reads no images of 20x20 pixels"):
        export_onnx(model, replace(card, input_size=(20, 20)), tmp_path / "out")
    assert capfd.readouterr() == ("", "")


def test_a_model_in_bfloat16_goes_out_in_float32(tmp_path: Path) -> None:
    import onnxruntime

    model, card = model_of("small_cnn", width=2)
    model.to(torch.bfloat16)
    export_web(model, card, tmp_path / "web")
    export_onnx(model, card, tmp_path / "onnx")
    assert model.output.weight.dtype == torch.bfloat16
    images = torch.rand(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    session = onnxruntime.InferenceSession(tmp_path / "onnx")
    (found,) = session.run(None, {"images": images.numpy()})
    assert np.abs(found - model.float()(images).detach().numpy()).max() < 1e-4


def test_a_model_that_is_not_what_its_card_says_is_refused() -> None:
    model, _ = model_of("small_cnn", width=4)
    model.adapter = torch.nn.Linear(3, 3)
    with pytest.raises(ExportError, match="only a plain small_cnn"):
        web_bytes(model, ModelCard("small_cnn", {"width": 4}))


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(export, "find_spec", lambda name: None)
    model, card = model_of("linear")
    with pytest.raises(ExportError, match="pip install onnx onnxscript"):
        export_onnx(model, card, tmp_path / "model.onnx")


class TestCommandLine:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        model, card = model_of("small_cnn", width=4)
        save_checkpoint(tmp_path / "run", model, card)
        return tmp_path / "run"

    @pytest.mark.parametrize("form", ["web", "onnx"])
    def test_writes_the_file(
        self, form: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        out = tmp_path / "model.bin"
        status = main(["export", str(folder), "--format", form, "--out", str(out), "--json"])
        shown = capsys.readouterr().out
        assert status == 0
        assert json.loads(shown.splitlines()[-1]) == {
            "file": str(out),
            "format": form,
            "model": "small_cnn",
            "bytes": out.stat().st_size,
        }
        assert len(shown.splitlines()) == 2

    @pytest.mark.parametrize("place", ["nowhere/model.bin", "run"])
    def test_a_place_that_cannot_be_written_is_one_sentence(
        self, place: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        before = sorted(folder.iterdir())
        status = main(["export", str(folder), "--format", "web", "--out", str(tmp_path / place)])
        shown = capsys.readouterr()
        assert (status, shown.out) == (2, "")
        assert shown.err.count("\n") == 1
        assert sorted(folder.iterdir()) == before

    def test_a_checkpoint_of_another_network_is_one_sentence(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        model, card = model_of("lstm", width=4)
        save_checkpoint(tmp_path / "run", model, card)
        out = tmp_path / "model.bin"
        status = main(["export", str(tmp_path / "run"), "--format", "web", "--out", str(out)])
        shown = capsys.readouterr()
        assert (status, shown.out, out.exists()) == (2, "", False)
        assert shown.err.startswith("mnist_lab export: The page cannot compute 'lstm'")


def test_a_kill_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "model.safetensors"
    out.write_bytes(b"old")

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pathlib.Path.replace", killed)
    model, card = model_of("linear")
    with pytest.raises(KeyboardInterrupt):
        export_web(model, card, out)
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]
    assert out.read_bytes() == b"old"


def test_a_network_of_ones_own_goes_out_too_registered_or_not(tmp_path: Path) -> None:
    import onnxruntime

    own = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 10)).eval()
    card = ModelCard.of(own)
    export_onnx(own, card, tmp_path / "own.onnx")
    images = torch.rand(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    session = onnxruntime.InferenceSession(tmp_path / "own.onnx")
    (found,) = session.run(None, {"images": images.numpy()})
    assert np.allclose(found, own(images).detach().numpy(), atol=1e-5)
    with pytest.raises(ExportError, match="The page cannot compute 'Sequential'"):
        web_bytes(own, card)


TALKATIVE = """
import torch
from torch import nn
from mnist_lab.export import ExportError, export_onnx
from mnist_lab.models.registry import register
from mnist_lab.training.cards import ModelCard

@register("moody")
class Moody(nn.Module):
    def __init__(self):
        super().__init__()
        self.output = nn.Linear(784, 10)

    def forward(self, images):
        values = images.flatten(1)
        return self.output(values if float(values.sum()) > 0 else -values)

model = Moody()
try:
    export_onnx(model, ModelCard.of(model), "x.onnx")
except ExportError as error:
    print(error)
"""


@pytest.mark.slow
def test_what_the_exporter_says_of_a_failure_does_not_precede_the_sentence(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", TALKATIVE], capture_output=True, text=True, cwd=tmp_path
    )
    assert ended.stderr == ""
    assert ended.stdout.startswith("moody cannot be written as ONNX: ")
    assert ended.stdout.count("\n") == 1
    assert len(ended.stdout) < 400
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("files")
    model = build_model("linear", seed=0)
    card = ModelCard.of(model)
    save_checkpoint(folder / "run", model)
    digits = DigitSet(np.ones((1, 28, 28), np.uint8), np.zeros(1, np.int64))
    save_npz(folder / "mine.npz", digits)
    export_web(model, card, folder / "a.safetensors")
    (folder / "notes.md").write_text("The file says mnist-lab web 1, or mnist-lab onnx 1.")
    (folder / "empty").touch()
    (folder / "code.py").write_bytes(Path(export.__file__).read_bytes())
    found = {path.name: path for path in folder.iterdir() if path.is_file()}
    weights = next((folder / "run").glob("model-*"))
    return found | {"weights": weights, "model.json": folder / "run" / "model.json"}


class TestCheckFree:
    """An export is replaced by an export; whatever else lies there is somebody's."""

    @pytest.mark.parametrize("name", ["mine.npz", "notes.md", "code.py", "weights", "model.json"])
    @pytest.mark.parametrize("kind", ["web", "onnx"])
    def test_what_is_no_export_stays(
        self, kind: str, name: str, files: dict[str, Path], capsys: pytest.CaptureFixture[str]
    ) -> None:
        before = files[name].read_bytes()
        run = files["model.json"].parent
        assert main(["export", str(run), f"--format={kind}", f"--out={files[name]}"]) == 2
        assert f"{files[name]} is there already and is no export" in capsys.readouterr().err
        assert files[name].read_bytes() == before

    @pytest.mark.parametrize("name", ["a.safetensors", "empty"])
    def test_an_export_and_an_empty_file_are_replaced(
        self, name: str, files: dict[str, Path]
    ) -> None:
        check_free(files[name])

    @pytest.mark.slow
    def test_so_is_onnx(self, tmp_path: Path) -> None:
        model = build_model("linear", seed=0)
        export_onnx(model, ModelCard.of(model), tmp_path / "x.onnx")
        check_free(tmp_path / "x.onnx")
