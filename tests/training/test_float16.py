"""Products in float16, with a loss that is scaled: what GPUs of before 2020 are made for.

A processor refuses them, since it is slow at them. For a network as small as this one it will do.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch

from mnist_lab.models.registry import build_model
from mnist_lab.training import loop
from mnist_lab.training.batches import choose_half
from mnist_lab.training.config import TrainConfig
from mnist_lab.training.loop import start_training, train_step
from mnist_lab.training.runs import FitResult, fit
from mnist_lab.training.tensor_folders import CheckpointError
from tests.training.small_runs import Killed, Sets, batch, before_step, ready, same

BIAS = torch.tensor([0.0] * 3 + [18.0] + [0.0] * 6)
HALF = TrainConfig(epochs=3, batch_size=64, precision="float16", average_decay=0.9)


@pytest.fixture
def _on_a_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "_check_precision", lambda config, device: None)


def train(sets: Sets, config: TrainConfig = HALF, folder: Path | None = None) -> FitResult:
    return fit(
        "mlp",
        *sets,
        config,
        arguments={"hidden": 16},
        device="cpu",
        folder=folder,
        resume=folder is not None,
        progress=False,
    )


def test_a_processor_refuses_it(sets: Sets) -> None:
    with pytest.raises(ValueError, match=r"^precision='float16' is for GPUs; .* 'bfloat16'\.$"):
        train(sets)


@pytest.mark.parametrize(
    ("kind", "native", "expected"),
    [
        ("cuda", True, "bfloat16"),
        ("cuda", False, "float16"),
        ("cpu", False, "bfloat16"),
        ("mps", False, "bfloat16"),
    ],
)
def test_a_device_gets_the_half_that_it_is_made_for(
    kind: str, native: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def supported(including_emulation: bool = True) -> bool:
        return native or including_emulation

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert choose_half(torch.device(kind)) == expected


@pytest.mark.usefixtures("_on_a_processor")
class TestScaling:
    @pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
    def test_trains_about_as_float32_does(self, optimizer: str, sets: Sets) -> None:
        config = replace(HALF, optimizer=optimizer, clip_norm=1.0)
        half, whole = train(sets, config), train(sets, replace(config, precision="float32"))
        assert not same(half.model, whole.model)
        for ours, theirs in zip(half.reports, whole.reports, strict=True):
            assert ours.train.loss == pytest.approx(theirs.train.loss, rel=0.02)

    @pytest.mark.parametrize("clip_norm", [None, 0.5])
    def test_the_gradient_is_not_scaled_when_it_is_clipped_and_used(
        self, clip_norm: float | None
    ) -> None:
        norms = {}
        for precision in ("float32", "float16"):
            config = replace(HALF, precision=precision, clip_norm=clip_norm)
            state = ready(build_model("mlp", seed=0, hidden=16), config)
            train_step(state, batch())
            gradients = [p.grad for p in state.model.parameters() if p.grad is not None]
            norms[precision] = float(torch.nn.utils.get_total_norm(gradients))
        assert norms["float16"] == pytest.approx(norms["float32"], rel=0.01)

    def test_a_small_gradient_is_not_lost(self) -> None:
        def gradient(scale: float) -> float:
            """Return that of the first class's bias, of a network that is sure of the fourth."""
            model = build_model("linear")
            model.load_state_dict({"output.weight": torch.zeros(10, 784), "output.bias": BIAS})
            state = ready(model, replace(HALF, optimizer="sgd"))
            state.scaler = torch.amp.GradScaler("cpu", init_scale=scale)
            train_step(state, (batch()[0], torch.full((6,), 3)))
            found = model.get_parameter("output.bias").grad
            assert found is not None
            return float(found[0])

        assert gradient(1.0) == 0
        assert gradient(2.0**16) == pytest.approx(math.exp(-18), rel=0.01)

    @pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
    def test_a_step_that_overflows_is_left_out_and_the_scale_halved(self, optimizer: str) -> None:
        model = build_model("mlp", seed=0, hidden=16)
        before = build_model("mlp", seed=0, hidden=16)
        state = ready(model, replace(HALF, optimizer=optimizer))
        state.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**60)
        train_step(state, batch())
        assert same(model, before)
        assert state.scaler.get_scale() == 2.0**59

    @pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
    def test_a_killed_run_goes_on_with_its_scale(
        self, optimizer: str, sets: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        config = replace(HALF, optimizer=optimizer)
        # So large that some of the first steps are left out: the scale is then not the first one.
        monkeypatch.setattr(torch.amp.GradScaler.__init__, "__defaults__", self.defaults())
        whole = train(sets, config)
        with monkeypatch.context() as patch:
            before_step(patch, 12, Killed())
            with pytest.raises(Killed):
                train(sets, config, tmp_path)
        tensors = safetensors.torch.load_file(next(tmp_path.glob("resume*.safetensors")))
        assert 0 < tensors["scaler/scale"] < 2.0**26
        assert same(train(sets, config, tmp_path).model, whole.model)

    @staticmethod
    def defaults() -> tuple[object, ...]:
        device, _, *rest = torch.amp.GradScaler.__init__.__defaults__ or ()
        return (device, 2.0**26, *rest)

    @pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf"), None])
    def test_a_scale_that_cannot_be_is_refused(
        self, value: float | None, sets: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as patch:
            before_step(patch, 12, Killed())
            with pytest.raises(Killed):
                train(sets, HALF, tmp_path)
        record = json.loads((tmp_path / "resume.json").read_text())
        weights = tmp_path / record["weights"]
        tensors = safetensors.torch.load_file(weights)
        if value is None:
            del tensors["scaler/scale"]
        else:
            tensors["scaler/scale"].fill_(value)
        content = safetensors.torch.save(tensors)
        weights.write_bytes(content)
        record["weights_sha256"] = hashlib.sha256(content).hexdigest()
        (tmp_path / "resume.json").write_text(json.dumps(record))
        with pytest.raises(CheckpointError, match="resume"):
            train(sets, HALF, tmp_path)

    def test_no_other_precision_has_a_scaler(self, sets: Sets) -> None:
        for precision in ("float32", "bfloat16"):
            config = replace(HALF, precision=precision)
            assert start_training(build_model("mlp", hidden=4), sets[0], config).scaler is None
