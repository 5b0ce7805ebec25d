"""A run is gone on from only where everything that it left fits together and fits the run."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor

from mnist_lab.data.digit_set import DigitSet
from mnist_lab.finetuning.ways import finetune
from mnist_lab.models import registry
from mnist_lab.models.registry import build_model
from mnist_lab.training.config import TrainConfig
from mnist_lab.training.resuming import identify_data
from mnist_lab.training.runs import fit
from mnist_lab.training.tensor_folders import CheckpointError
from tests.training.small_runs import (
    EVERYTHING,
    Killed,
    Sets,
    Tiny,
    before_step,
    run,
    same,
    without_seconds,
)

Record = dict[str, Any]
Tensors = dict[str, Tensor]


@pytest.fixture(scope="module")
def left(small_sets: Sets, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run that was killed in its third epoch."""
    folder = tmp_path_factory.mktemp("killed")
    sets = small_sets[0].subset(np.arange(300)), small_sets[1].subset(np.arange(200))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry.MODELS, "tiny", Tiny)
        before_step(patch, 12, Killed())
        with pytest.raises(Killed):
            run(sets, EVERYTHING, folder=folder)
    return folder


@pytest.fixture
def killed(left: Path, tiny: str, tmp_path: Path) -> Path:
    """Return such a folder, to be spoilt."""
    return shutil.copytree(left, tmp_path / "run")


def edit(folder: Path, change: Callable[[Record, Tensors], object]) -> None:
    """Change what a run left, and put in the digest that fits."""
    path = folder / "resume.json"
    record = json.loads(path.read_text())
    weights = folder / record["weights"]
    tensors = safetensors.torch.load(weights.read_bytes())
    change(record, tensors)
    content = safetensors.torch.save(tensors)
    weights.write_bytes(content)
    record["weights_sha256"] = hashlib.sha256(content).hexdigest()
    path.write_text(json.dumps(record))


def put(**entries: Any) -> Callable[[Record, Tensors], object]:
    return lambda record, _: record.update(entries)


def put_in_report(part: str, **entries: Any) -> Callable[[Record, Tensors], object]:
    def change(record: Record, _: Tensors) -> None:
        report = record["reports"][1]
        (report[part] if part else report).update(entries)

    return change


def drop(prefix: str) -> Callable[[Record, Tensors], object]:
    def change(_: Record, tensors: Tensors) -> None:
        for name in [name for name in tensors if name.startswith(prefix)]:
            del tensors[name]

    return change


def refill(name: str, value: float) -> Callable[[Record, Tensors], object]:
    return lambda _, tensors: tensors[name].fill_(value)


def reshape(name: str) -> Callable[[Record, Tensors], object]:
    return lambda _, tensors: tensors.update({name: torch.zeros(2, 3)})


def retype(name: str) -> Callable[[Record, Tensors], object]:
    return lambda _, tensors: tensors.update({name: tensors[name].to(torch.int8)})


NUMBERS: dict[str, Callable[[Record, Tensors], object]] = {
    **{
        f"{name} {value!r:.20}": put(**{name: value})
        for name in ("step", "epoch")
        for value in (0, -1, 1, 3, 11, 10**9, 10**400, 10.0, 2.5, "2", True, None, [2])
    },
    **{
        f"best {value!r:.20}": put(best=value)
        for value in (-1, 2, 10**9, 0.0, True, "0", None, [0])
    },
    **{
        f"seconds {value!r:.20}": put(seconds=value)
        for value in (-1, "1", None, True, 10**400, [1.0])
    },
    **{
        f"reports {value!r:.20}": put(reports=value)
        for value in ([], None, 3, {}, [{}], "ab", [None, None])
    },
    "a report too few": lambda record, _: record["reports"].pop(),
    "a report too many": lambda record, _: record["reports"].append(record["reports"][0]),
    "reports in another order": lambda record, _: record["reports"].reverse(),
    "a report without a loss": lambda record, _: record["reports"][0]["train"].pop("loss"),
    "an epoch in a report": put_in_report("", epoch=7),
    "a rate in a report": put_in_report("", learning_rate=-1),
    "a count in a report": put_in_report("train", count=10**6),
    "an accuracy in a report": put_in_report("validation", accuracy=1.5),
    "a loss in a report": put_in_report("validation", loss="0.3"),
    "a null loss": put_in_report("train", loss=None),
    "another best epoch by its reports": lambda record, _: record["reports"][
        1 - record["best"]
    ].update(validation={"loss": 0.0, "accuracy": 1.0, "count": 100}),
    "a card that is a list": put(card=[]),
    "a card without training": lambda record, _: record["card"].pop("training"),
    "a configuration that is a list": lambda record, _: record["card"]["training"].update(
        config=[]
    ),
    "learnt is a number": put(learnt=5),
    "learnt in lists": put(learnt=[["step"]]),
}

WEIGHTS: dict[str, Callable[[Record, Tensors], object]] = {
    **{f"no {part}": drop(f"{part}/") for part in ("model", "average", "optimizer", "best")},
    **{
        f"{part} of another shape": reshape(f"{part}/conv.weight")
        for part in ("model", "average", "best")
    },
    **{
        f"{part} of another type": retype(f"{part}/conv.weight")
        for part in ("model", "average", "best")
    },
    **{
        f"{part} with a NaN": refill(f"{part}/output.bias", float("nan"))
        for part in ("model", "average", "best")
    },
    "best with a negative variance": refill("best/norm.running_var", -1.0),
    "one tensor of best is missing": drop("best/output.bias"),
    "no moments of one parameter": drop("optimizer/0/"),
    "one moment of a parameter is missing": drop("optimizer/1/exp_avg_sq"),
    "moments of another shape": reshape("optimizer/1/exp_avg"),
    "moments that are not finite": refill("optimizer/1/exp_avg", float("inf")),
    "negative squares": refill("optimizer/1/exp_avg_sq", -1.0),
    "an optimizer that is ahead": refill("optimizer/1/step", 1_000.0),
    "an optimizer that has not begun": refill("optimizer/1/step", 0.0),
    "moments of no parameter": lambda _, tensors: tensors.update(
        {"optimizer/99/exp_avg": torch.zeros(1)}
    ),
    "moments without a number": lambda _, tensors: tensors.update(
        {"optimizer/x/exp_avg": torch.zeros(1)}
    ),
    "something else": lambda _, tensors: tensors.update({"other": torch.zeros(1)}),
}


@pytest.mark.parametrize("what", [*NUMBERS, *WEIGHTS])
def test_what_does_not_fit_is_one_sentence_and_changes_nothing(
    what: str, killed: Path, sets: Sets
) -> None:
    edit(killed, {**NUMBERS, **WEIGHTS}[what])
    before = {path.name: path.read_bytes() for path in killed.iterdir()}
    with pytest.raises(CheckpointError) as caught:
        run(sets, EVERYTHING, folder=killed, resume=True)
    message = str(caught.value)
    assert str(killed) in message
    assert message.endswith(".")
    assert not message.endswith("..")
    assert message.isprintable()
    assert len(message) < 900
    assert {path.name: path.read_bytes() for path in killed.iterdir()} == before


def test_what_fits_goes_on(killed: Path, sets: Sets) -> None:
    edit(killed, lambda *_: None)
    found, expected = run(sets, EVERYTHING, folder=killed, resume=True), run(sets, EVERYTHING)
    assert same(found.model, expected.model)
    assert without_seconds(found.reports) == without_seconds(expected.reports)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("validation", [True, False])
def test_every_optimizer_with_and_without_validation_goes_on(
    validation: bool,
    momentum: float,
    optimizer: Any,
    tiny: str,
    sets: Sets,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = replace(EVERYTHING, optimizer=optimizer, momentum=momentum, average_decay=0.0)
    parts: Any = sets if validation else (sets[0], None)
    expected = run(parts, config)
    with monkeypatch.context() as patch:
        before_step(patch, 12, Killed())
        with pytest.raises(Killed):
            run(parts, config, folder=tmp_path)
    assert same(run(parts, config, folder=tmp_path, resume=True).model, expected.model)


@pytest.mark.parametrize("way", ["head", "gradual", "full", "lora"])
def test_what_has_not_learnt_yet_needs_no_moments(
    way: str, sets: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = TrainConfig(epochs=3, batch_size=64)

    def tune(**options: Any) -> torch.nn.Module:
        model = build_model("small_cnn", width=2)
        return finetune(
            model, *sets, config, way=way, device="cpu", progress=False, **options
        ).model

    expected = tune()
    with monkeypatch.context() as patch:
        before_step(patch, 7, Killed())  # in the second epoch
        with pytest.raises(Killed):
            tune(folder=tmp_path)
    assert same(tune(folder=tmp_path, resume=True), expected)


def test_digits_may_lie_in_memory_in_any_order(sets: Sets) -> None:
    few = sets[0].subset(np.arange(64))
    turned = DigitSet(few.images.transpose(0, 2, 1), few.labels)
    assert not turned.images.flags.c_contiguous
    fit("linear", turned, None, TrainConfig(epochs=1), device="cpu", progress=False)
    assert identify_data(turned) != identify_data(few)
