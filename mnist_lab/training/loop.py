"""The training loop: one step, one epoch, an iterator over epochs."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mnist_lab.models.seeding import seeded_generator
from mnist_lab.training.batches import Batch, Batches
from mnist_lab.training.config import TrainConfig
from mnist_lab.training.processes import Ranks
from mnist_lab.training.schedules import learning_rate_at
from mnist_lab.training.scoring import Score, evaluate

# What may be added to the loss, such as a pull towards the weights that training started from.
Penalty = Callable[[], Tensor]


@dataclass(frozen=True)
class EpochReport:
    """What one epoch did; `epoch` counts from 1, `seconds` is the time spent training in it."""

    epoch: int
    train: Score
    validation: Score
    learning_rate: float
    seconds: float


@dataclass
class TrainState:
    """All that training changes: the model, its optimizer, and how far it has come."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    total_steps: int
    average: nn.Module | None = None
    replica: nn.Module | None = None  # the model as several processes step it together
    penalty: Penalty | None = None
    step: int = 0
    epoch: int = 0
    seconds: float = 0.0

    @property
    def scored_model(self) -> nn.Module:
        """The model to score and to keep: the averaged one where there is one."""
        return self.average or self.model


def group_parameters(
    parameters: Iterable[nn.Parameter], config: TrainConfig, rate_scale: float = 1.0
) -> list[dict[str, Any]]:
    """Return parameters as optimizer groups; biases and norms are not decayed.

    `rate_scale` multiplies the schedule's learning rate for these parameters.
    """
    parameters = list(parameters)
    decayed = {True: config.weight_decay, False: 0.0}  # matrices and kernels: more than 1 axis
    groups = [
        {
            "params": [p for p in parameters if (p.ndim > 1) == is_matrix],
            "weight_decay": weight_decay,
            "rate_scale": rate_scale,
        }
        for is_matrix, weight_decay in decayed.items()
    ]
    return [group for group in groups if group["params"]]


def make_optimizer(
    model: nn.Module, config: TrainConfig, groups: list[dict[str, Any]] | None = None
) -> torch.optim.Optimizer:
    """Make the optimizer of a configuration.

    It holds frozen parameters too: without a gradient they neither move nor decay, and they can be
    unfrozen later.

    Parameters
    ----------
    groups : list of dict, optional
        From `group_parameters`, where parts of the model learn at rates of their own.

    Raises
    ------
    ValueError
        If everything is frozen, or a parameter that learns is in no group.
    """
    if groups is None:
        groups = group_parameters(model.parameters(), config)
    held = {id(p) for group in groups for p in group["params"]}
    learning = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if not learning:
        raise ValueError("Nothing would learn: every parameter of the model is frozen.")
    for name, parameter in learning.items():
        if id(parameter) not in held:
            raise ValueError(f"{name} is not frozen, but no group of the optimizer holds it.")
    rate = config.learning_rate
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=rate, momentum=config.momentum)
    betas = (config.momentum, 0.999 if config.schedule == "constant" else 0.99)
    kind = torch.optim.Adam if config.optimizer == "adam" else torch.optim.AdamW
    return kind(groups, lr=rate, betas=betas, eps=config.adam_epsilon, fused=True)


def train_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    config: TrainConfig,
    weight: float = 1.0,
    penalty: Penalty | None = None,
) -> tuple[Tensor, Tensor]:
    """Take one step on one batch.

    `weight` multiplies the loss in the gradient: a process that has more than its even share of a
    batch counts for more. What `penalty` returns is added.

    Returns
    -------
    (loss, logits), detached: the mean loss of the batch, without penalties, and (n, classes), from
    before the step.
    """
    images, labels = batch
    with torch.autocast(images.device.type, torch.bfloat16, config.precision == "bfloat16"):
        logits = model(images)
    loss = F.cross_entropy(logits.float(), labels, label_smoothing=config.label_smoothing)
    objective = loss if weight == 1 else loss * weight
    if config.l1_penalty:
        size = torch.stack([p.abs().sum() for p in model.parameters() if p.ndim > 1]).sum()
        objective = objective + config.l1_penalty * size
    if penalty is not None:
        objective = objective + penalty()
    optimizer.zero_grad(set_to_none=True)
    objective.backward()
    if config.clip_norm is not None:
        nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
    optimizer.step()
    return loss.detach(), logits.detach()


def start_training(
    model: nn.Module,
    train: Batches,
    config: TrainConfig,
    *,
    groups: list[dict[str, Any]] | None = None,
    penalty: Penalty | None = None,
) -> TrainState:
    """Return the state before the first step.

    Parameters
    ----------
    groups : list of dict, optional
        From `group_parameters`, where parts of the model learn at rates of their own.
    penalty : callable, optional
        Returns a number (a Tensor) that is added to the loss of every step.

    Raises
    ------
    ValueError
        If everything is frozen, or a parameter that learns is in no group.
    """
    average = copy.deepcopy(model).requires_grad_(False) if config.average_decay else None
    replica = train.ranks.replicate(model) if train.ranks.size > 1 else None
    steps = len(train) * config.epochs
    optimizer = make_optimizer(model, config, groups)
    return TrainState(model, optimizer, steps, average, replica, penalty)


def switch_to_training(model: nn.Module) -> None:
    """Put the model into train mode, all but its frozen batch norms.

    In train mode a batch norm whose weights are frozen would still take up the new data's means and
    variances, and the layers after it, frozen too, would no longer see what they were trained on.
    """
    model.train()
    for part in model.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):  # no public name for all of them
            parameters = list(part.parameters())
            if parameters and not any(p.requires_grad for p in parameters):
                part.eval()


def update_average(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Move every number of `average` towards `model`: decay times the old plus the rest new."""
    with torch.no_grad():
        for old, new in zip(
            average.state_dict().values(), model.state_dict().values(), strict=True
        ):
            if old.is_floating_point():
                old.lerp_(new, 1 - decay)
            else:
                old.copy_(new)


def train_epoch(
    state: TrainState,
    train: Batches,
    config: TrainConfig,
    on_step: Callable[[float], None] = lambda loss: None,
) -> Score:
    """Train for one epoch and return the mean over its examples, as they were met.

    Where several processes train together, the mean is over all of them, and what stops one of
    them (a loss that is not finite, Ctrl-C) stops all after the same step.

    Parameters
    ----------
    on_step : callable
        Called with the loss after every step.

    Raises
    ------
    FloatingPointError
        At the first loss that is not finite, before it can spoil a checkpoint.
    """
    model, device, ranks = state.model, train.device, train.ranks
    loss_sum, correct, count = 0.0, 0, 0
    train.epoch = state.epoch
    switch_to_training(model)
    # Dropout draws from torch's global generator. Seeding it from (seed, epoch) inside a fork makes
    # a resumed epoch repeat exactly, and leaves the caller's generator as it was.
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        numbers = (config.seed, state.epoch, 1, *([ranks.rank] if ranks.rank else []))
        torch.manual_seed(seeded_generator(torch.device("cpu"), *numbers).initial_seed())
        for number, (images, labels) in enumerate(train):
            rate = learning_rate_at(state.step, state.total_steps, config)
            for group in state.optimizer.param_groups:
                group["lr"] = rate * group.get("rate_scale", 1.0)
            # Averaged over the ranks, losses of such weights are the mean over the whole batch.
            size = train.size_of(number)
            weight = len(labels) * ranks.size / size
            batch = (images, labels) if len(labels) else _blank_batch(images, labels)
            stepped = state.replica or model
            loss, logits = train_step(
                stepped, state.optimizer, batch, config, weight, state.penalty
            )
            value = loss.item()
            right = float((logits[: len(labels)].argmax(1) == labels).sum())
            if ranks.size > 1:
                value, right = ranks.add_up(value * len(labels) / size, right)
            if not math.isfinite(value):
                raise FloatingPointError(_explain_loss(value, state, rate, images, ranks))
            if state.average is not None:
                # Early on an average over 1/(1 - decay) steps would mostly hold the first weights.
                decay = min(config.average_decay, (1 + state.step) / (10 + state.step))
                update_average(state.average, model, decay)
            loss_sum += value * size
            correct += int(right)
            count += size
            state.step += 1
            on_step(value)
    ranks.copy_buffers(model, state.average)
    state.epoch += 1
    return Score(loss_sum / count, correct / count, count)


def _blank_batch(images: Tensor, labels: Tensor) -> Batch:
    """Return one blank image, for a process whose piece of the batch is empty.

    It weighs nothing, but the others wait for a gradient from every process.
    """
    return images.new_zeros(1, *images.shape[1:]), labels.new_zeros(1)


def _explain_loss(
    value: float, state: TrainState, rate: float, images: Tensor, ranks: Ranks
) -> str:
    where = f"The loss is {value} at step {state.step + 1} of {state.total_steps}"
    if any(ranks.add_up(not bool(torch.isfinite(images).all()))):
        return f"{where}: the images of this batch hold values that are not finite."
    return (
        f"{where}: the learning rate there is {rate:.3g}; try a tenth of it, or set clip_norm to "
        f"bound the gradient."
    )


def iter_epochs(
    state: TrainState,
    train: Batches,
    validation: Iterable[Batch],
    config: TrainConfig,
    on_step: Callable[[float], None] = lambda loss: None,
) -> Iterator[EpochReport]:
    """Yield after every epoch, so that the caller may plot, save or break.

    Goes on from `state`, so it also serves a resumed run. Raises FloatingPointError as soon as the
    training loss is not finite, or the validation loss, which the last step of all can spoil.
    """
    while state.epoch < config.epochs:
        started = time.perf_counter()
        trained = train_epoch(state, train, config, on_step)
        seconds = time.perf_counter() - started
        state.seconds += seconds
        score = _evaluate_on_first(state.scored_model, validation, train.ranks)
        rate = learning_rate_at(state.step - 1, state.total_steps, config)
        if not math.isfinite(score.loss):
            raise FloatingPointError(
                f"The validation loss is {score.loss} after epoch {state.epoch} of "
                f"{config.epochs}: the learning rate at its end was {rate:.3g}; try a tenth of it, "
                f"or set clip_norm to bound the gradient."
            )
        yield EpochReport(state.epoch, trained, score, rate, seconds)


def _evaluate_on_first(model: nn.Module, batches: Iterable[Batch], ranks: Ranks) -> Score:
    """Let rank 0 score, and tell all: so that all choose the same best epoch."""

    def numbers() -> list[float]:
        score = evaluate(model, batches)
        return [score.loss, score.accuracy, score.count]

    loss, accuracy, count = ranks.from_first(numbers, 3)
    return Score(loss, accuracy, int(count))
