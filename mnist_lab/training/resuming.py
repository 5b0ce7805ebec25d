"""Whether what an interrupted run left can be gone on from, to the last bit.

    load_tensors(folder, "resume", functools.partial(check_parts, state))
    check_moments(tensors, record, state)
    reports = read_reports(record, state)

Weights, the optimizer's moments, the reports and the counts must fit each other and the run that
would go on. None of that can be seen from a digest: a record that was mended by hand has a right
one. Each check raises a `ValueError` whose message is half a sentence.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mnist_lab.training.loop import EpochReport, TrainState
from mnist_lab.training.scoring import Score
from mnist_lab.training.tensor_files import check_layout, check_numbers


def check_parts(state: TrainState, layout: Mapping[str, Tensor]) -> None:
    """Compare the tensors that a run left with those that this run has; numbers do not count.

    Raises
    ------
    ValueError
        If some are missing, unknown, or of another shape or type.
    """
    expected = {
        **_named("model", state.model.state_dict()),
        **_named("average", state.average.state_dict() if state.average is not None else {}),
        **_named("best", state.scored_model.state_dict()),
    }
    for index, parameter in enumerate(_parameters(state)):
        # A parameter that has not learnt yet, such as a frozen one, has no moments.
        moments = _named(f"optimizer/{index}", _moments_of(parameter, state.optimizer))
        if any(name in layout for name in moments):
            expected |= moments
    check_layout(layout, expected)


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
    check_numbers(tensors, tensors)
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
            if not 1 <= steps <= record["step"]:
                raise ValueError(f"the optimizer has taken {steps:g} steps with {name}")
            if bool((tensors[f"{place}/exp_avg_sq"] < 0).any()):
                raise ValueError(f"{place}/exp_avg_sq holds a square below 0")


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
