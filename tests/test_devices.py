"""Everything runs on every device of this machine; and what only a GPU shows has a stand-in.

On a machine with a GPU the first part trains, scores, resumes, draws and measures there. The rest
needs none: fake tensors lie on a CUDA device that is not there and refuse to be mixed with others,
operations that make a GPU wait are counted on the CPU, and what cuDNN rounds is rounded by hand.
(tests/training/test_no_float64.py does the same for Apple's GPUs, which have no float64.)
"""

from __future__ import annotations

import ast
import json
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily
from torch.autograd import DeviceType  # type: ignore[attr-defined]
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks import articles, presets, recording, speed, step
from mnist_lab.data.digit_set import DigitSet
from mnist_lab.data.mnist import MNIST
from mnist_lab.export import export_onnx
from mnist_lab.finetuning.masked import GuessHiddenPatches, draw_kept, make_autoencoder
from mnist_lab.finetuning.rates import PullTowardsStart
from mnist_lab.finetuning.ways import WAYS, finetune
from mnist_lab.handwriting.reader import Reader
from mnist_lab.lessons.widgets.digit_pad import DigitPad
from mnist_lab.models.registry import MODELS, build_model
from mnist_lab.models.vit import SelfAttention
from mnist_lab.training import augmentation as augmenting
from mnist_lab.training import loop
from mnist_lab.training.batches import Batches, choose_device, choose_half, count_devices
from mnist_lab.training.checkpoints import load_checkpoint
from mnist_lab.training.config import TrainConfig
from mnist_lab.training.draws import Draws
from mnist_lab.training.loop import start_training, train_epoch, update_average
from mnist_lab.training.runs import fit
from mnist_lab.training.scoring import evaluate
from tests.training.small_runs import EVERY_CHANGE, Killed, before_step

ROOT = Path(__file__).parents[1]
NOTEBOOKS = ROOT / "notebooks"
CUDA = torch.device("cuda", 0)
HERE = [kind for kind in ("cpu", "cuda", "mps") if count_devices(kind)]
SMALL = {"width": 2}
# Networks in a size that takes no time; all else as it is.
SIZES: dict[str, dict[str, Any]] = {
    "small_cnn": SMALL,
    "mlp": {"hidden": 8},
    "resnet": {"width": 4, "depth": 1},
    "vit": {"width": 8, "depth": 1, "heads": 2},
    "lstm": {"width": 8},
}

Sets = tuple[DigitSet, DigitSet]


@pytest.fixture
def sets(small_sets: Sets) -> Sets:
    return small_sets[0].subset(np.arange(100)), small_sets[1].subset(np.arange(50))


# --- On every device of this machine -------------------------------------------------------------


@pytest.mark.parametrize("device", HERE)
class TestHere:
    @pytest.mark.parametrize("name", SIZES)
    def test_a_network_trains_and_is_scored(self, name: str, device: str, sets: Sets) -> None:
        config = TrainConfig(
            epochs=2, batch_size=32, clip_norm=1.0, average_decay=0.9, augmentation=EVERY_CHANGE
        )
        run = fit(name, *sets, config, arguments=SIZES[name], device=device, progress=False)
        assert {p.device.type for p in run.model.parameters()} == {device}
        assert evaluate(run.model, Batches(sets[1], device=device)) == run.best.validation

    def test_in_its_half_precision(self, device: str, sets: Sets) -> None:
        half = choose_half(torch.device(device))
        config = TrainConfig(epochs=2, batch_size=32, precision=half)
        run = fit("small_cnn", *sets, config, arguments=SMALL, device=device, progress=False)
        assert run.reports[1].train.loss < run.reports[0].train.loss

    def test_a_run_is_resumed(
        self, device: str, sets: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        half = choose_half(torch.device(device))
        config = TrainConfig(epochs=3, batch_size=32, average_decay=0.9, precision=half)
        options: dict[str, Any] = {"arguments": SMALL, "device": device, "progress": False}
        with monkeypatch.context() as patch:
            before_step(patch, 10, Killed())
            with pytest.raises(Killed):
                fit("small_cnn", *sets, config, folder=tmp_path, **options)
        run = fit("small_cnn", *sets, config, folder=tmp_path, resume=True, **options)
        assert [report.epoch for report in run.reports] == [1, 2, 3]
        assert not load_checkpoint(tmp_path)[0].training

    def test_digits_stay_in_their_file(self, device: str, sets: Sets, tmp_path: Path) -> None:
        images = np.memmap(tmp_path / "images", np.uint8, "w+", shape=sets[0].images.shape)
        images[:] = sets[0].images
        mapped = replace(sets[0], images=images)
        for ours, theirs in zip(
            Batches(mapped, 32, device=device, shuffle=True),
            Batches(sets[0], 32, device=device, shuffle=True),
            strict=True,
        ):
            assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))

    @pytest.mark.parametrize("way", WAYS)
    def test_a_network_is_fine_tuned(self, way: str, device: str, sets: Sets) -> None:
        model = build_model("small_cnn", seed=0, width=2)
        config = TrainConfig(epochs=1, learning_rate=WAYS[way])
        tuned = finetune(model, *sets, config, way=way, device=device, progress=False)
        assert tuned.best.validation.count == 50

    def test_and_pulled_towards_its_start(self, device: str, sets: Sets) -> None:
        model = build_model("small_cnn", seed=0, width=2)
        pull = PullTowardsStart(model, 0.01)  # before `fit` moves the model
        fit(model, *sets, TrainConfig(epochs=1), penalty=pull, device=device, progress=False)
        assert {start.device.type for _, start in pull.pairs} == {device}

    def test_one_is_pretrained(self, device: str, sets: Sets) -> None:
        model = make_autoencoder(build_model("vit", **SIZES["vit"]), seed=0, width=8)
        objective, config = GuessHiddenPatches(), TrainConfig(epochs=1)
        fit(model, *sets, config, objective=objective, device=device, progress=False)

    def test_reads_draws_and_is_exported(self, device: str, sets: Sets, tmp_path: Path) -> None:
        config = TrainConfig(epochs=1)
        run = fit("small_cnn", *sets, config, arguments=SMALL, device=device, progress=False)
        assert Reader(run.model, run.card).score(sets[1]).count == 50
        pad = DigitPad(run.model, layers=True)
        pad.strokes = [[[0.2, 0.2], [0.5, 0.5], [0.8, 0.9]]]
        assert len(pad.probabilities) == 10
        export_onnx(run.model, run.card, tmp_path / "model.onnx")


TINY_BENCHMARKS: dict[str, list[str]] = {
    "speed": ["--seeds", "1", "--only", "fast", "fast_bfloat16", "one_pass", "--no-test"],
    "step": [],
    "speedrun": ["--seeds", "1"],
    "presets": ["--seeds", "1", "--only", "fast"],
    "articles": ["--seeds", "1", "--only", "article_002", "--forms", "corrected"],
}


@pytest.mark.parametrize(
    ("script", "device"),
    # `step` measures processors and CUDA.
    [(s, d) for s in TINY_BENCHMARKS for d in HERE if (s, d) != ("step", "mps")],
)
def test_a_benchmark_measures_there(
    script: str,
    device: str,
    small_sets: Sets,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    digits = replace(small_sets[0], part="train")
    tiny = MNIST(digits, replace(small_sets[1], part="test"))
    halves = digits.subset(np.arange(1_000)), small_sets[1].subset(np.arange(50))
    module = import_module(f"benchmarks.{script}")
    monkeypatch.setattr(module, "load_mnist", lambda: tiny)
    monkeypatch.setattr(module, "split", lambda *_, **__: halves)
    for name, value in {"SIZES": (16,), "TURNS": 1, "STEPS": 2, "WARM_UP": 1}.items():
        monkeypatch.setattr(step, name, value)
    monkeypatch.setattr(torch, "compile", lambda model, mode: model)  # 13 seconds
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # what a script sets is undone after the test
    arguments = [*TINY_BENCHMARKS[script], "--device", device, "--results", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", [script, *arguments])
    module.main()
    name = script if device == "cpu" else f"{script}_{device}"
    if script != "speed":  # which writes when all recipes have run
        record = json.loads((tmp_path / f"{name}.json").read_text())
        assert record["device"] == device
        assert record["command"].endswith(f"--device {device}") == (device != "cpu")


# --- On a CUDA device that is not there ----------------------------------------------------------


class FakeDraws(Draws):
    """Draws on a device without a generator: a real one would want a driver."""

    @property
    def _device(self) -> torch.device:
        return CUDA


def draws(count: int) -> FakeDraws:
    return FakeDraws(None, count, slice(0, count))  # type: ignore[arg-type]


@pytest.fixture
def _cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let tensors lie on a CUDA device that is not there; what was kept on it is forgotten."""
    kept = (augmenting._positions, augmenting._blur_matrix, augmenting._half_of)
    for function in kept:
        function.cache_clear()
    monkeypatch.setattr(nn.RNNBase, "flatten_parameters", lambda self: None)  # wants addresses
    with FakeTensorMode(allow_non_fake_inputs=True):
        yield
    for function in kept:
        function.cache_clear()


def on_cuda(build: Callable[[], nn.Module]) -> nn.Module:
    """Return a model with all that it holds on the fake device, where `to` cannot bring it."""
    with unset_fake_temporarily():
        model = build()
    for part in model.modules():
        for name, parameter in list(part.named_parameters(recurse=False)):
            setattr(part, name, nn.Parameter(parameter.detach().to(CUDA)))
        for name, buffer in list(part.named_buffers(recurse=False)):
            setattr(part, name, buffer.to(CUDA))
    return model


class Copies(TorchDispatchMode):
    """Counts what comes to the fake device from the host."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        found = func(*args, **(kwargs or {}))
        if isinstance(found, Tensor) and found.device.type == "cuda":
            given = [a for a in args if isinstance(a, Tensor)]
            self.count += any(a.device.type == "cpu" and a.ndim for a in given)
        return found


@pytest.mark.usefixtures("_cuda")
class TestFake:
    @pytest.mark.parametrize("name", sorted(MODELS.keys() - {"lstm"}))  # cuDNN's wants a driver
    def test_a_network_stays_on_it(self, name: str) -> None:
        arguments = {"input_size": 32} if name in ("efficientnet_lite0", "resnet18") else {}
        model = on_cuda(lambda: build_model(name, **arguments))
        with torch.no_grad():
            assert model(torch.zeros(4, 1, 28, 28, device=CUDA)).device == CUDA

    def test_so_does_an_image_that_is_changed_and_nothing_is_fetched_twice(self) -> None:
        images = torch.zeros(4, 1, 28, 28, device=CUDA)
        assert EVERY_CHANGE(images, draws(4)).device == CUDA
        with Copies() as copies:
            EVERY_CHANGE(images, draws(4))
        assert copies.count == 0

    def test_so_does_what_is_hidden_and_guessed(self) -> None:
        model = on_cuda(lambda: make_autoencoder(build_model("vit"), seed=0))
        kept = draw_kept(16, 0.75, Draws.of(torch.Generator(), 4)).to(CUDA)
        with torch.no_grad():
            assert model(torch.zeros(4, 16, 49, device=CUDA), kept).device == CUDA

    def test_so_does_an_average(self) -> None:
        old, new = (on_cuda(lambda: build_model("small_cnn")) for _ in range(2))
        update_average(old, new, 0.9)

    def test_a_slip_is_seen(self) -> None:
        model = on_cuda(lambda: build_model("mlp"))
        with pytest.raises(RuntimeError, match="device"):
            model(torch.zeros(4, 1, 28, 28))
        with Copies() as copies:
            torch.arange(5.0).to(CUDA)
        assert copies.count == 1


def test_attention_in_one_kernel_is_attention_written_out() -> None:
    layer, tokens = SelfAttention(64, 4), torch.randn(3, 16, 64)
    queries, keys, values = layer._project(tokens)
    fused = F.scaled_dot_product_attention(queries, keys, values).transpose(1, 2).flatten(2)
    assert torch.allclose(layer(tokens), layer.output(fused), atol=1e-5)


def test_a_start_follows_a_model_that_is_moved_and_only_once() -> None:
    model = build_model("small_cnn", width=2).to("meta")  # it has no numbers, only a place
    pull = PullTowardsStart(model, 0.1)
    pull.pairs = [(now, torch.zeros(now.shape)) for now, _ in pull.pairs]  # made before the move
    assert pull().device.type == "meta"
    assert {start.device.type for _, start in pull.pairs} == {"meta"}


# --- Nothing waits -------------------------------------------------------------------------------


class Waits(TorchDispatchMode):
    """Notes what cannot be answered before a GPU has done all that it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = str(func)
        chosen = args[1] if name.startswith("aten.index.") else ()
        by_mask = any(isinstance(c, Tensor) and c.dtype == torch.bool for c in chosen)
        if by_mask or any(
            part in name for part in ("_local_scalar_dense", "nonzero", "masked_select")
        ):
            self.found.append(name)
        return func(*args, **(kwargs or {}))


def plain(sets: Sets, **changes: Any) -> loop.TrainState:
    config = TrainConfig(epochs=1, batch_size=5, **changes)
    return start_training(build_model("small_cnn", width=2), sets[0], config)


def pretraining(sets: Sets) -> loop.TrainState:
    model = make_autoencoder(build_model("vit", **SIZES["vit"]), seed=0, width=8)
    config = TrainConfig(epochs=1, batch_size=5)
    return start_training(model, sets[0], config, objective=GuessHiddenPatches())


def pulled(sets: Sets) -> loop.TrainState:
    model = build_model("small_cnn", width=2)
    config = TrainConfig(epochs=1, batch_size=5)
    return start_training(model, sets[0], config, penalty=PullTowardsStart(model, 0.1))


STARTS: dict[str, Callable[[Sets], loop.TrainState]] = {
    "plain": plain,
    "sgd": lambda sets: plain(sets, optimizer="sgd"),
    "all else": lambda sets: plain(sets, clip_norm=1.0, average_decay=0.9, l1_penalty=0.1),
    "augmented": lambda sets: plain(sets, augmentation=EVERY_CHANGE),
    "float16": lambda sets: plain(sets, precision="float16"),
    "masked": pretraining,
    "pulled": pulled,
}


@pytest.mark.parametrize("name", STARTS)
def test_a_step_does_not_make_a_gpu_wait(
    name: str, sets: Sets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "_LOOK_EVERY", {})  # as on a GPU
    monkeypatch.setattr(loop, "_check_precision", lambda config, device: None)
    state = STARTS[name](sets)
    with Waits() as waits:
        train_epoch(state)
    assert state.step == 20
    assert waits.found == []


def test_a_loss_that_is_not_finite_stops_all_the_same(
    sets: Sets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "_LOOK_EVERY", {})
    state = plain(sets)
    with torch.no_grad():
        next(state.model.parameters()).fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="at step 1 of 20"):
        train_epoch(state)


@pytest.mark.parametrize(
    "slip",
    [lambda x: x.sum().item(), lambda x: x[x > 0], lambda x: x.nonzero(), lambda x: float(x[0])],
)
def test_a_wait_is_seen(slip: Callable[[Tensor], object]) -> None:
    with Waits() as waits:
        slip(torch.ones(3))
    assert waits.found


# --- Generators ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["build", "train", "autoencoder", "speed"])
def test_the_generators_of_gpus_are_left_alone(
    name: str, sets: Sets, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any) -> None:
        raise AssertionError("A GPU's generator was seeded.")

    monkeypatch.setattr(torch.cuda, "manual_seed_all", refuse)
    with pytest.raises(AssertionError):
        torch.manual_seed(0)  # which does
    if name == "build":
        for network in SIZES:
            build_model(network, seed=1)
    elif name == "train":
        fit("small_cnn", *sets, TrainConfig(epochs=1), device="cpu", progress=False)
    elif name == "autoencoder":
        make_autoencoder(build_model("vit", seed=0), seed=0)
    else:
        for rung in speed.RUNGS.values():
            rung.train(sets[0].subset(np.arange(10)), 0, "cpu")


# --- Which device --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gpus", "mps", "processes", "expected"),
    [
        (1, False, 1, "cuda"),
        (1, False, 2, "cpu"),
        (2, False, 2, "cuda"),
        (2, False, 3, "cpu"),
        (0, True, 1, "mps"),
        (0, True, 2, "cpu"),
        (0, False, 2, "cpu"),
    ],
)
def test_auto_takes_a_device_that_every_process_can_have(
    gpus: int, mps: bool, processes: int, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    if processes > 1:
        monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
        monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    assert choose_device("auto").type == expected


# --- Benchmarks ----------------------------------------------------------------------------------

SCRIPTS = sorted(path.stem for path in (ROOT / "benchmarks").glob("*.py"))


def source_of(script: str) -> str:
    return (ROOT / "benchmarks" / f"{script}.py").read_text(encoding="utf-8")


CHOOSERS = ("fit", "finetune", "load_reader")


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_benchmark_says_where_it_trains(script: str) -> None:
    """Else a machine with a GPU trains there, and scores, or says that it did, on the processor."""
    tree = ast.parse(source_of(script))
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") in CHOOSERS:
            given = {keyword.arg for keyword in call.keywords}
            assert given & {"device", "ranks", None}, f"line {call.lineno}"


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_benchmark_asks_no_gpu_for_its_processor_time(script: str) -> None:
    assert source_of(script).count("process_time(") == (script == "recording")


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_benchmark_runs_from_the_wheel_too(script: str) -> None:
    """There it is a part of the package, and nothing is called `benchmarks`."""
    tree = ast.parse(source_of(script))
    imported = {part.module for part in ast.walk(tree) if isinstance(part, ast.ImportFrom)}
    assert not any((name or "").startswith("benchmarks") for name in imported)
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    included = wheel["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert included["benchmarks"] == "mnist_lab/benchmarks"


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("ch*.ipynb")), ids=lambda path: path.stem)
def test_a_chapter_names_benchmarks_that_are_there(path: Path) -> None:
    named = re.findall(r"mnist_lab bench (\w+)", path.read_text(encoding="utf-8"))
    assert set(named) <= set(SCRIPTS)
    assert named or "ch06" not in path.stem


@pytest.mark.parametrize("module", [presets, articles])
def test_what_was_trained_on_a_device_is_scored_there(
    module: Any, small_sets: Sets, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    devices = []

    class StopError(Exception):
        pass

    def trained(*_: Any, device: str, **__: Any) -> SimpleNamespace:
        devices.append(device)
        return SimpleNamespace(model=build_model("linear"))

    def served(*_: Any, device: str = "cpu", **__: Any) -> None:
        devices.append(device)

    def scored(*_: Any) -> None:
        raise StopError

    monkeypatch.setattr(module, "fit", trained)
    monkeypatch.setattr(module, "Batches", served)
    monkeypatch.setattr(module, "evaluate", scored)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (8, 0))
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 90_000)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    arguments = ["", "--device", "cuda", "--seeds", "1", "--results", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(StopError):
        module.main()
    assert devices == ["cuda", "cuda"]


@pytest.mark.parametrize(
    "script", [name for name in SCRIPTS if "devices=" in source_of(name) and name != "recording"]
)
def test_a_benchmark_refuses_a_device_that_is_not_there_in_one_sentence(
    script: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", [script, "--device", "cuda"])
    with pytest.raises(SystemExit) as ended:
        import_module(f"benchmarks.{script}").main()
    assert ended.value.code == 2
    assert "This machine has no cuda device that torch can use" in capsys.readouterr().err


def test_a_record_names_a_gpu_only_where_it_was_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    assert "a GPU" not in recording.describe_hardware("cpu")
    assert recording.describe_hardware("cuda").endswith(", a GPU")
    assert recording.describe_hardware("mps").endswith(", mps")


@pytest.mark.parametrize(
    ("capability", "convolutions", "expected"),
    [
        ((7, 5), True, "float32"),
        ((8, 0), True, "float32, convolutions in TF32"),
        ((9, 0), False, "float32"),
    ],
)
def test_a_record_says_what_float32_means(
    capability: tuple[int, int],
    convolutions: bool,
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", convolutions)
    assert recording.describe_precision("cuda") == expected
    assert recording.describe_precision("cpu") == "float32"


def event(key: str, where: DeviceType, on_device: float, on_cpu: float = 0.0) -> SimpleNamespace:
    return SimpleNamespace(
        key=key, device_type=where, self_device_time_total=on_device, self_cpu_time_total=on_cpu
    )


# What a profile of two convolutions holds: each operation, with the time of the kernel that it
# launched, and each kernel itself; and the optimizer's annotation around its own kernel.
EVENTS = [
    event("aten::cudnn_convolution", DeviceType.CPU, 40, 5),
    event("sm80_xmma_fprop_implicit_gemm", DeviceType.CUDA, 40),
    event("aten::cudnn_batch_norm", DeviceType.CPU, 20, 3),
    event("cudnn::batch_norm_fw", DeviceType.CUDA, 20),
    event("Optimizer.step#AdamW.step", DeviceType.CPU, 0, 2),
    event("Optimizer.step#AdamW.step", DeviceType.CUDA, 15),
    event("aten::_fused_adamw_", DeviceType.CPU, 10, 1),
    event("multi_tensor_apply_kernel", DeviceType.CUDA, 10),
]


@pytest.mark.parametrize(
    ("on_gpu", "expected"), [(True, (0.4, 0.2, 0.1, 0.3)), (False, (0.05, 0.03, 0.03, 0.89))]
)
def test_a_profile_counts_a_kernel_once(on_gpu: bool, expected: tuple[float, ...]) -> None:
    shares = step.share_out(EVENTS, 100, on_gpu)
    names = ("convolution, forward", "batch norm", "optimiser", step.REST)
    assert tuple(shares[name] for name in names) == pytest.approx(expected)
    assert sum(shares.values()) == pytest.approx(1)


def test_the_clock_waits_for_fifty_steps_and_not_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    def steps() -> Iterator[Any]:
        while True:
            told.append("step")
            yield None

    monkeypatch.setattr(step, "wait", lambda device: told.append("wait"))
    step.median_milliseconds({"one": steps()}, torch.device("cpu"))
    turn = ["wait", *["step"] * 50, "wait"]
    assert told == ["step"] * step.WARM_UP + turn * step.TURNS


# --- Chapters on a GPU that rounds ---------------------------------------------------------------


class RoundsSometimes(TorchFunctionMode):
    """Rounds the factors of recurrent layers to 10 places, and those of some convolutions.

    That is what TF32 does; which kernels use it may differ between layouts and sizes of batches.
    """

    def __init__(self) -> None:
        super().__init__()
        self.rounded = 0

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = getattr(func, "__name__", "")
        rounds = name in ("rnn_tanh", "lstm")
        if name == "conv2d":
            images, weight = args[:2]
            rounds = len(images) <= 10 or not weight.is_contiguous()
        if rounds:
            self.rounded += 1
            args = tuple(self.round(part) for part in args)
        return func(*args, **(kwargs or {}))

    def round(self, part: Any) -> Any:
        if isinstance(part, (list, tuple)) and part and isinstance(part[0], Tensor):
            return type(part)(self.round(tensor) for tensor in part)
        if not isinstance(part, Tensor) or part.dtype != torch.float32:
            return part
        bits = part.detach().contiguous().view(torch.int32)
        return ((bits + 0x1000) & ~0x1FFF).view(torch.float32)


def cells_of(chapter: str) -> Iterator[str]:
    (path,) = NOTEBOOKS.glob(f"{chapter}_*.ipynb")
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "code" and "run_pip" not in source:
            yield source


@pytest.mark.parametrize(
    ("chapter", "names", "end"),
    [
        ("ch05", ("class CNN", "def new_cnn", "images, labels = next", "in_eval_mode"), "in_eval"),
        ("ch06", ("batches = Batches(train", "assert difference"), "assert difference"),
        ("ch09", ("plain = nn.RNN",), "plain = nn.RNN"),
    ],
)
def test_a_chapter_bears_a_gpu_that_rounds(chapter: str, names: tuple[str, ...], end: str) -> None:
    sources = list(cells_of(chapter))
    space: dict[str, Any] = {"__name__": "__main__"}
    registered = dict(MODELS)
    try:
        for source in [sources[0], *(s for s in sources if any(name in s for name in names))]:
            mode = RoundsSometimes()
            with mode:
                exec(source, space)
            if end in source:
                assert mode.rounded
                break
        else:
            raise AssertionError("The cell is gone.")
    finally:
        MODELS.clear()
        MODELS.update(registered)
