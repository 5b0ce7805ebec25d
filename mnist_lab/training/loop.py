"""The training loop: one step, one epoch, an iterator over epochs.

    config = TrainConfig(epochs=3)
    model = build_model("small_cnn", seed=config.seed)      # or any nn.Module of your own
    state = start_training(model, train, config)
    for report in iter_epochs(state, validation):           # your `for` loop is the hook
        print(report)

`runs.fit` does the same with a progress bar, a checkpoint of the best epoch and exact resumption.
Everything random comes from `config.seed`. On the CPU the same seed gives the same weights, to the
last bit, on one machine with one number of threads; a GPU adds up in an order of its own and gives
nearly the same. The state owns the configuration and serves the digits, so that no setting can be
ignored.

The shape of the loop (steps as functions, a frozen configuration, the learning rate as a pure
function of the step) follows common practice. Sources: decoupled weight decay, Loshchilov and
Hutter 2019; averaging of weights, Polyak and Juditsky 1992; scaling of the loss, Micikevicius et
al. 2018.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from mnist_lab.data.digit_set import DigitSet
from mnist_lab.models.seeding import drawn_from, seeded_generator
from mnist_lab.training.batches import Batch, Batches
from mnist_lab.training.config import TrainConfig
from mnist_lab.training.draws import Draws
from mnist_lab.training.objectives import Classify, Objective
from mnist_lab.training.preparation import prepare_digits
from mnist_lab.training.processes import ALONE, Ranks
from mnist_lab.training.schedules import learning_rate_at
from mnist_lab.training.scoring import NOT_SCORED, Score

# What may be added to the loss, such as a pull towards the weights that training started from.
Penalty = Callable[[], Tensor]
# What may be done before each step, given its number (from 0) and how many there are.
BeforeStep = Callable[[int, int], None]

# Beside seed and epoch, which give the order and the augmentation.
_DROPOUT, _OBJECTIVE = 1, 2
# Steps after which the losses are looked at. To read a number from a GPU, the host must wait for
# it; on the CPU it is there.
_LOOK_EVERY = {"cpu": 1}
_LOOK_SELDOM = 20


@dataclass(frozen=True)
class EpochReport:
    """What one epoch did; `epoch` counts from 1, `seconds` is the time spent training in it.

    `validation` is `NOT_SCORED` where nothing was held out.
    """

    epoch: int
    train: Score
    validation: Score
    learning_rate: float
    seconds: float


@dataclass
class TrainState:
    """All that training needs and changes: from `start_training`.

    Attributes
    ----------
    model : nn.Module
        It is trained in place.
    config, objective, batches
        How, towards what, and on which digits.
    optimizer : torch.optim.Optimizer
    epochs, total_steps : int
        Of the whole run.
    average : nn.Module or None
        The averaged model, where `config.average_decay` asks for one.
    scaler : torch.amp.GradScaler or None
        Scales the loss, where `config.precision` is "float16"; a step whose gradient overflows is
        left out.
    step, epoch : int
        How many are done.
    seconds : float
        Spent training so far.
    """

    model: nn.Module
    config: TrainConfig
    objective: Objective
    batches: Batches
    optimizer: torch.optim.Optimizer
    epochs: int
    total_steps: int
    average: nn.Module | None = None
    scaler: torch.amp.GradScaler | None = None
    replica: nn.Module | None = None  # the model as several processes step it together
    penalty: Penalty | None = None
    before_step: BeforeStep | None = None
    step: int = 0
    epoch: int = 0
    seconds: float = 0.0

    @property
    def scored_model(self) -> nn.Module:
        """The model to score and to keep: the averaged one where there is one."""
        return self.average or self.model

    @property
    def ranks(self) -> Ranks:
        """Which of the processes this is that train together."""
        return self.batches.ranks


# --- Before the first step -----------------------------------------------------------------------


def _is_weight(name: str, parameter: nn.Parameter) -> bool:
    """Return whether a parameter multiplies what comes in: it may be pulled towards 0.

    Biases, norms and positions may not. They have one axis, except the positions, a table with a
    row for each place, which are known by their name.
    """
    return parameter.ndim > 1 and name.split(".")[-1] != "positions"


def group_parameters(
    named: Iterable[tuple[str, nn.Parameter]], config: TrainConfig, rate_scale: float = 1.0
) -> list[dict[str, Any]]:
    """Return parameters as optimizer groups; biases, norms and positions are not decayed.

    Parameters
    ----------
    named : iterable of (str, nn.Parameter)
        As `model.named_parameters()` gives them.
    config : TrainConfig
        Its weight decay is that of the weights.
    rate_scale : float
        Multiplies the schedule's learning rate for these parameters.
    """
    named = list(named)
    groups = [
        {
            "params": [p for name, p in named if _is_weight(name, p) == decays],
            "weight_decay": weight_decay,
            "rate_scale": rate_scale,
        }
        for decays, weight_decay in ((True, config.weight_decay), (False, 0.0))
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
        If everything is frozen, a parameter that learns is in no group, or the groups were made
        with another configuration.
    """
    if groups is None:
        groups = group_parameters(model.named_parameters(), config)
    held = {id(p) for group in groups for p in group["params"]}
    learning = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if not learning:
        raise ValueError("Nothing would learn: every parameter of the model is frozen.")
    for name, parameter in learning.items():
        if id(parameter) not in held:
            raise ValueError(f"{name} is not frozen, but no group of the optimizer holds it.")
    for decay in {group["weight_decay"] for group in groups} - {0.0, config.weight_decay}:
        raise ValueError(
            f"The groups were made with a weight_decay of {decay}, the configuration has "
            f"{config.weight_decay}: make them with the same."
        )
    rate = config.learning_rate
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=rate, momentum=config.momentum)
    betas = (config.momentum, config.adam_beta2)
    kind = torch.optim.Adam if config.optimizer == "adam" else torch.optim.AdamW
    return kind(groups, lr=rate, betas=betas, eps=config.adam_epsilon, fused=True)


def start_training(
    model: nn.Module,
    digits: DigitSet,
    config: TrainConfig | None = None,
    *,
    objective: Objective | None = None,
    groups: list[dict[str, Any]] | None = None,
    penalty: Penalty | None = None,
    before_step: BeforeStep | None = None,
    ranks: Ranks = ALONE,
) -> TrainState:
    """Return the state before the first step.

    Parameters
    ----------
    model : nn.Module
        Where it lies, it is trained, in place.
    digits : DigitSet
        A test part is refused: nothing is learnt from it.
    config : TrainConfig, optional
    objective : Objective, optional
        `Classify()` if not given.
    groups : list of dict, optional
        From `group_parameters`, where parts of the model learn at rates of their own.
    penalty : callable, optional
        Returns a number (a Tensor) that is added to the loss of every step.
    before_step : callable, optional
        Called before each step with its number, from 0, and the number of all steps.
    ranks : Ranks
        From `processes.join`, where several processes train together.

    Raises
    ------
    ValueError
        If everything is frozen, a parameter that learns is in no group, the digits are a test part
        or do not suit the model, the device cannot compute so, or a setting would be ignored.
    """
    config, objective = config or TrainConfig(), objective or Classify()
    started = time.perf_counter()
    if digits.part == "test":
        raise ValueError(
            "The digits to train on are a test part: it is scored once, at the end, and nothing is "
            "learnt or chosen on it."
        )
    expected = getattr(model, "normalisation", config.normalisation)
    if expected != config.normalisation:
        raise ValueError(
            f"The model was built for images with {expected}, the configuration has "
            f"{config.normalisation}: build or train it with the same."
        )
    objective.check(model, config, digits.class_names)
    if before_step is not None and ranks.size > 1:
        raise ValueError("What changes before each step cannot be shared by several processes.")
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    _check_precision(config, device)
    if device.type != "mps":  # there it gains nothing that anybody has measured
        # Channels beside each other in memory: the same numbers, a third less time in convolutions.
        model.to(memory_format=torch.channels_last)
    batches = Batches(
        prepare_digits(digits, config, device, ranks),
        config.batch_size,
        device=device,
        normalisation=config.normalisation,
        augmentation=config.augmentation,
        shuffle=True,
        seed=config.seed,
        ranks=ranks,
    )
    epochs = config.count_epochs(len(batches))
    return TrainState(
        model,
        config,
        objective,
        batches,
        make_optimizer(model, config, groups),
        epochs=epochs,
        total_steps=len(batches) * epochs,
        average=copy.deepcopy(model).requires_grad_(False) if config.average_decay else None,
        scaler=torch.amp.GradScaler(device.type) if config.precision == "float16" else None,
        replica=ranks.replicate(model) if ranks.size > 1 else None,
        penalty=penalty,
        before_step=before_step,
        seconds=time.perf_counter() - started,
    )


def _check_precision(config: TrainConfig, device: torch.device) -> None:
    """Refuse what a processor does twenty times as slowly, and for some layers not at all."""
    if config.precision == "float16" and device.type == "cpu":
        raise ValueError("precision='float16' is for GPUs; on a processor choose 'bfloat16'.")


# --- Steps ---------------------------------------------------------------------------------------


def train_step(
    state: TrainState, batch: Batch, draws: Draws | None = None, weight: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Take one step on one batch, at the learning rate that the optimizer has.

    `weight` multiplies the loss in the gradient: a process that has more than its even share of a
    batch counts for more.

    Returns
    -------
    (loss, right), detached, from before the step: the mean loss of the batch, without penalties,
    and which of its examples were right.
    """
    model, config = state.model, state.config
    draws = draws or _draw_for(state, len(batch[1]))
    device = batch[0].device.type
    half = None if config.precision == "float32" else getattr(torch, config.precision)
    with torch.autocast(device, half, enabled=half is not None):
        loss, right = state.objective.loss(state.replica or model, batch, draws, config)
    minimised = loss if weight == 1 else loss * weight
    if config.l1_penalty:
        named = model.named_parameters()
        weights = [p for name, p in named if _is_weight(name, p) and p.requires_grad]
        minimised = minimised + config.l1_penalty * sum(p.abs().sum() for p in weights)
    if state.penalty is not None:
        minimised = minimised + state.penalty()
    state.optimizer.zero_grad(set_to_none=True)
    scaler = state.scaler
    (minimised if scaler is None else scaler.scale(minimised)).backward()
    if scaler is not None:
        scaler.unscale_(state.optimizer)
    if config.clip_norm is not None:
        nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
    if scaler is None:
        state.optimizer.step()
    else:
        scaler.step(state.optimizer)
        scaler.update()
    return loss.detach(), right


def _draw_for(state: TrainState, whole: int) -> Draws:
    """Return the objective's random numbers for a first batch of an epoch."""
    noise = seeded_generator(torch.device("cpu"), state.config.seed, state.epoch, _OBJECTIVE)
    return Draws(noise, whole, state.ranks.piece_of(whole))


def set_learning_rate(state: TrainState) -> float:
    """Give the optimizer the learning rate of the next step, and return it."""
    rate = learning_rate_at(state.step, state.total_steps, state.config)
    for group in state.optimizer.param_groups:
        group["lr"] = rate * group.get("rate_scale", 1.0)
    return rate


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
    pairs = list(zip(average.state_dict().values(), model.state_dict().values(), strict=True))
    numbers = [pair for pair in pairs if pair[0].is_floating_point()]
    # All of them in one call: a GPU is asked once, and not for each.
    get_ema_multi_avg_fn(decay)([old for old, _ in numbers], [new for _, new in numbers], None)
    for old, new in pairs:
        if not old.is_floating_point():
            old.copy_(new)


@dataclass
class _Watch:
    """Sums up what the steps of an epoch return, and looks whether the losses are finite.

    It looks at several steps at once where that makes the device wait less often.
    """

    state: TrainState
    on_step: Callable[[float], None]
    every: int
    losses: list[Tensor] = field(default_factory=list)
    rights: list[Tensor] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    loss_sum: float = 0.0
    correct: int = 0
    count: int = 0
    judged: bool = False  # whether answers are right or wrong at all

    def add(self, loss: Tensor, right: Tensor, size: int, images: Tensor) -> None:
        self.losses.append(loss)
        self.rights.append(right.sum())
        self.sizes.append(size)
        self.judged |= right.numel() > 0
        if len(self.losses) == self.every:
            self.look(images)

    def look(self, images: Tensor) -> None:
        state, ranks = self.state, self.state.ranks
        if not self.losses:
            return
        values = torch.stack(self.losses).tolist()
        rights = torch.stack(self.rights).tolist()
        for number, (value, right, size) in enumerate(
            zip(values, rights, self.sizes, strict=True), state.step + 1 - len(values)
        ):
            if ranks.size > 1:
                mine = ranks.piece_of(size)
                value, right = ranks.add_up(value * (mine.stop - mine.start) / size, right)
            if not math.isfinite(value):
                raise FloatingPointError(_explain_loss(value, number, state, images))
            self.loss_sum += value * size
            self.correct += int(right)
            self.count += size
            self.on_step(value)
        self.losses, self.rights, self.sizes = [], [], []

    def score(self) -> Score:
        accuracy = self.correct / self.count if self.judged else math.nan
        return Score(self.loss_sum / self.count, accuracy, self.count)


def _explain_loss(value: float, number: int, state: TrainState, images: Tensor) -> str:
    where = f"The loss is {value} at step {number} of {state.total_steps}"
    if any(state.ranks.add_up(not bool(torch.isfinite(images).all()))):
        return f"{where}: the images of this batch hold values that are not finite."
    rate = learning_rate_at(number - 1, state.total_steps, state.config)
    return (
        f"{where}: the learning rate there is {rate:.3g}; try a tenth of it, or set clip_norm to "
        f"bound the gradient."
    )


# --- Epochs --------------------------------------------------------------------------------------


def train_epoch(state: TrainState, on_step: Callable[[float], None] = lambda loss: None) -> Score:
    """Train for one epoch and return the mean over its examples, as they were met.

    Where several processes train together, the mean is over all of them, and what stops one of
    them (a loss that is not finite, Ctrl-C) stops all after the same step.

    Parameters
    ----------
    on_step : callable
        Called with the loss of every step; on a GPU for some steps at once.

    Raises
    ------
    FloatingPointError
        At a loss that is not finite, before it can spoil a checkpoint.
    """
    model, batches, ranks, config = state.model, state.batches, state.ranks, state.config
    every = 1 if ranks.size > 1 else _LOOK_EVERY.get(batches.device.type, _LOOK_SELDOM)
    watch = _Watch(state, on_step, every)
    noise = seeded_generator(torch.device("cpu"), config.seed, state.epoch, _OBJECTIVE)
    batches.epoch = state.epoch
    switch_to_training(model)
    # Dropout draws from torch's global generator. Seeding it from (seed, epoch) inside a fork makes
    # a resumed epoch repeat exactly, and leaves the caller's generator as it was.
    numbers = (config.seed, state.epoch, _DROPOUT, *([ranks.rank] if ranks.rank else []))
    dropout = seeded_generator(torch.device("cpu"), *numbers).initial_seed()
    with drawn_from(dropout, batches.device):
        for number, (images, labels) in enumerate(batches):
            if state.before_step is not None:
                state.before_step(state.step, state.total_steps)
            set_learning_rate(state)
            size, mine = batches.size_of(number), len(labels)
            draws = Draws(noise, size, ranks.piece_of(size))
            if not mine:  # it weighs nothing, but the others wait for a gradient from every process
                images, labels = images.new_zeros(1, *images.shape[1:]), labels.new_zeros(1)
                draws = Draws(noise, size, slice(0, 1))
            loss, right = train_step(state, (images, labels), draws, ranks.weigh(mine, size))
            if state.average is not None:
                # Early on an average over 1/(1 - decay) steps would mostly hold the first weights.
                decay = min(config.average_decay, (1 + state.step) / (10 + state.step))
                update_average(state.average, model, decay)
            state.step += 1
            watch.add(loss, right[:mine], size, images)
    watch.look(images)
    ranks.copy_buffers(model, state.average)
    state.epoch += 1
    return watch.score()


def iter_epochs(
    state: TrainState,
    validation: DigitSet | Iterable[Batch] | None = None,
    on_step: Callable[[float], None] = lambda loss: None,
) -> Iterator[EpochReport]:
    """Yield after every epoch, so that the caller may plot, save or break.

    Goes on from `state`, so it also serves a resumed run.

    Parameters
    ----------
    validation : DigitSet or batches, optional
        What each epoch is scored on; digits are normalised as those to train on are.

    Raises
    ------
    FloatingPointError
        As soon as the training loss is not finite, or the validation loss, which the last step of
        all can spoil.
    """
    if isinstance(validation, DigitSet):
        validation = Batches(
            validation, device=state.batches.device, normalisation=state.config.normalisation
        )
    while state.epoch < state.epochs:
        started = time.perf_counter()
        trained = train_epoch(state, on_step)
        seconds = time.perf_counter() - started
        state.seconds += seconds
        rate = learning_rate_at(state.step - 1, state.total_steps, state.config)
        score = NOT_SCORED
        if validation is not None:
            score = _score_on_first(state, validation)
            if not math.isfinite(score.loss):
                raise FloatingPointError(
                    f"The validation loss is {score.loss} after epoch {state.epoch} of "
                    f"{state.epochs}: the learning rate at its end was {rate:.3g}; try a tenth of "
                    f"it, or set clip_norm to bound the gradient."
                )
        yield EpochReport(state.epoch, trained, score, rate, seconds)


def _score_on_first(state: TrainState, batches: Iterable[Batch]) -> Score:
    """Let rank 0 score, and tell all: so that all choose the same best epoch."""

    def numbers() -> list[float]:
        score = state.objective.score(state.scored_model, batches)
        return [score.loss, score.accuracy, score.count]

    loss, accuracy, count = state.ranks.from_first(numbers, 3)
    return Score(loss, accuracy, int(count))
