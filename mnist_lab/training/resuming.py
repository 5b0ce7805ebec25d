"""Whether what an interrupted run left can be gone on from, to the last bit.

    load_tensors(folder, "resume", functools.partial(check_parts, state))
    check_moments(tensors, record, state)
    reports = read_reports(record, state)

Weights, the optimizer's moments, the reports and the counts must fit each other and the run that
would go on. None of that can be seen from a digest: a record that was mended by hand has a right
one. Each check raises a `ValueError` whose message is half a sentence. Below them: what a run
writes of itself, and how that is read.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mnist_lab.data.digit_set import DigitSet
from mnist_lab.data.idx import take_images
from mnist_lab.reasons import reason_of, shorten
from mnist_lab.training.cards import ModelCard
from mnist_lab.training.loop import EpochReport, TrainState
from mnist_lab.training.scoring import Score
from mnist_lab.training.tensor_files import check_layout, check_numbers
from mnist_lab.training.tensor_folders import CheckpointError


def check_parts(state: TrainState, layout: Mapping[str, Tensor]) -> None:
    """Compare the tensors that a run left with those that this run has; numbers do not count.

    Raises
    ------
    ValueError
        If some are missing, unknown, or of another shape or type.
    """
    check_layout(layout, _expected_of(state, layout))


def _expected_of(state: TrainState, layout: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors of the names, shapes and types that a run leaves which has got to `layout`."""
    expected = {
        **_named("model", state.model.state_dict()),
        **_named("average", state.average.state_dict() if state.average is not None else {}),
        **_named("best", state.scored_model.state_dict()),
        **_named("scaler", scaler_tensors(state.scaler)),
    }
    for index, parameter in enumerate(_parameters(state)):
        # A parameter that has not learnt yet, such as a frozen one, has no moments.
        moments = _named(f"optimizer/{index}", _moments_of(parameter, state.optimizer))
        if any(name in layout for name in moments):
            expected |= moments
    return expected


def _named(part: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{part}/{name}": tensor for name, tensor in tensors.items()}


def _parameters(state: TrainState) -> list[Tensor]:
    """Return the parameters in the optimizer's own order."""
    return [p for group in state.optimizer.param_groups for p in group["params"]]


def _moments_of(parameter: Tensor, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return what an optimizer of this run keeps of a parameter, in its shapes and types."""
    if isinstance(optimizer, torch.optim.SGD):
        return {"momentum_buffer": parameter} if optimizer.defaults["momentum"] else {}
    return {"step": torch.zeros(()), "exp_avg": parameter, "exp_avg_sq": parameter}


def check_moments(
    tensors: Mapping[str, Tensor], record: Mapping[str, Any], state: TrainState
) -> None:
    """Refuse numbers that no run could have left; `state` is still as it was at its start.

    Raises
    ------
    ValueError
        If a number is not finite, a square is below 0, the optimizer has taken more steps than the
        run, or it knows nothing of a parameter that has learnt.
    """
    check_numbers(tensors, _expected_of(state, tensors))
    names = {id(parameter): name for name, parameter in state.model.named_parameters()}
    for index, parameter in enumerate(_parameters(state)):
        place, name = f"optimizer/{index}", names[id(parameter)]
        moments = _moments_of(parameter, state.optimizer)
        if moments and not any(f"{place}/{moment}" in tensors for moment in moments):
            learnt = tensors[f"model/{name}"]
            if not torch.equal(learnt.to(parameter.dtype), parameter.detach().cpu()):
                raise ValueError(f"{name} has learnt, and the optimizer has no state of it")
        elif "step" in moments:
            steps = float(tensors[f"{place}/step"])
            # A step whose scaled gradient overflows is not taken.
            if not (state.scaler is None) <= steps <= record["step"]:
                raise ValueError(f"the optimizer has taken {steps:g} steps with {name}")
            if bool((tensors[f"{place}/exp_avg_sq"] < 0).any()):
                raise ValueError(f"{place}/exp_avg_sq holds a square below 0")
    if state.scaler is not None and not tensors["scaler/scale"] > 0:
        raise ValueError("the loss is scaled by 0 or less")


def read_reports(record: Mapping[str, Any], state: TrainState) -> list[EpochReport]:
    """Return the reports of the epochs that are done, if they and the counts fit the run.

    Raises
    ------
    KeyError, TypeError, ValueError or ArithmeticError
        If something is missing, of another type, or does not fit.
    """
    step, epoch = _count(record["step"]), _count(record["epoch"])
    if not 1 <= epoch < state.epochs:
        raise ValueError(f"{epoch} of {state.epochs} epochs are done, it says")
    expected = epoch * (state.total_steps // state.epochs)
    if step != expected:
        raise ValueError(f"{step} steps are done, it says; {epoch} epochs have {expected}")
    reports = [report_from(entry) for entry in record["reports"]]
    if [report.epoch for report in reports] != list(range(1, epoch + 1)):
        raise ValueError(f"its reports are not those of epochs 1 to {epoch}")
    if any(report.train.count != state.batches.count for report in reports):
        raise ValueError("its reports are of another number of digits")
    _amount(record["seconds"])
    return reports


def report_from(record: Mapping[str, Any]) -> EpochReport:
    """Read what a run wrote of an epoch; JSON has no NaN, so there it is null."""

    def score(part: str) -> Score:
        entry = record[part]
        count = _count(entry["count"])
        if part == "validation" and not count:
            return Score(math.nan, math.nan, 0)
        accuracy = math.nan if entry["accuracy"] is None else _amount(entry["accuracy"])
        if accuracy > 1:
            raise ValueError(f"an accuracy is {accuracy}")
        return Score(_number(entry["loss"]), accuracy, count)

    return EpochReport(
        _count(record["epoch"]),
        score("train"),
        score("validation"),
        _amount(record["learning_rate"]),
        _amount(record["seconds"]),
    )


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"a count is {value!r:.100}")
    return value


def _number(value: Any) -> float:
    if type(value) not in (int, float) or not math.isfinite(value):
        raise ValueError(f"a number is {value!r:.100}")
    return float(value)


def _amount(value: Any) -> float:
    """Return a number that cannot be negative: a rate, a share, seconds."""
    if _number(value) < 0:
        raise ValueError(f"an amount is {value!r:.100}")
    return float(value)


def identify_data(*parts: DigitSet) -> list[dict[str, int]]:
    """Return what tells one data set from another, so that a run is not resumed on other data."""
    return [
        {"count": len(part), "crc32": zlib.crc32(part.labels.tobytes(), _images_crc32(part.images))}
        for part in parts
    ]


def _images_crc32(images: NDArray[np.uint8]) -> int:
    """Return the CRC-32 of all pixels, read piece by piece: they may be more than memory holds."""
    found, piece = 0, 1 + (1 << 24) // images[0].size
    for start in range(0, len(images), piece):
        pixels = take_images(images, slice(start, start + piece))
        found = zlib.crc32(np.ascontiguousarray(pixels).data, found)
    return found


def check_same_run(folder: Path, card: ModelCard, record: Mapping[str, Any]) -> None:
    """Refuse to go on with a run that was started with another card, configuration or data."""
    # Through JSON and back, as tuples become lists there.
    ours = json.loads(json.dumps(card.to_json()))
    theirs = record["card"]
    learnt = {"step", "epoch", *record["learnt"]}  # what training itself has added
    for ours_part, theirs_part in (
        (_without(ours, {"training"}), _without(theirs, {"training"})),
        (ours["training"]["config"], theirs["training"]["config"]),
        (
            _without(ours["training"], {"config", "data", *learnt}),
            _without(theirs["training"], {"config", "data", *learnt}),
        ),
    ):
        for name in ours_part | theirs_part:
            if theirs_part.get(name) != ours_part.get(name):
                raise CheckpointError(
                    f"The run in {folder} was started with another {shorten(name)}: "
                    f"{theirs_part.get(name)!r:.200}, now {ours_part.get(name)!r:.200}. Start anew "
                    f"in another folder."
                )
    if ours["training"]["data"] != theirs["training"]["data"]:
        raise CheckpointError(f"The run in {folder} was started on other data.")


def _without(record: dict[str, Any], names: set[str]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in names}


@contextmanager
def named_refusals(path: Path) -> Iterator[None]:
    """Say of whatever a record does not fit by that it is this file's."""
    try:
        yield
    except CheckpointError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise CheckpointError(f"{path} is no record of this run: {reason_of(error)}.") from error


def part_of(tensors: dict[str, Tensor], part: str) -> dict[str, Tensor]:
    """Return the tensors that are named `part/...`, without that part of their names."""
    prefix = f"{part}/"
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Flatten the optimizer's state into named tensors: `3/exp_avg` for parameter number 3."""
    return {
        f"{index}/{name}": torch.as_tensor(value)
        for index, entry in optimizer.state_dict()["state"].items()
        for name, value in entry.items()
        if value is not None
    }


def load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` took out."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    entries: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        index, name = key.split("/")
        parameter = parameters[int(index)]
        if tensor.shape == parameter.shape:
            # A fused step walks through memory: moments must lie there as the weights do.
            tensor = torch.empty_like(parameter, requires_grad=False).copy_(tensor)
        entries.setdefault(int(index), {})[name] = tensor
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": entries, "param_groups": groups})


def scaler_tensors(scaler: torch.amp.GradScaler | None) -> dict[str, Tensor]:
    """Return what a scaler of the loss has found out; nothing where there is none."""
    if scaler is None:
        return {}
    found = scaler.state_dict()
    names = {"scale": "scale", "steps": "_growth_tracker"}
    return {name: torch.tensor(float(found[key])) for name, key in names.items()}


def load_scaler(scaler: torch.amp.GradScaler | None, tensors: dict[str, Tensor]) -> None:
    """Put back what `scaler_tensors` took out."""
    if scaler is not None:
        found = {"scale": float(tensors["scale"]), "_growth_tracker": int(tensors["steps"])}
        scaler.load_state_dict(scaler.state_dict() | found)


def report_as_json(report: EpochReport) -> dict[str, Any]:
    """Return a report as JSON can hold it, which has no NaN."""
    entry = asdict(report)
    for part in ("train", "validation"):
        entry[part] = {k: None if math.isnan(v) else v for k, v in entry[part].items()}
    return entry
