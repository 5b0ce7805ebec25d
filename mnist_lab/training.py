"""The training loop: configuration, one step, one epoch, a whole run.

    config = TrainConfig(epochs=3)
    model = build_model("small_cnn", seed=config.seed)
    state = start_training(model, train, config)
    for report in iter_epochs(state, train, validation, config):    # your `for` loop is the hook
        print(report)

`fit` does the same from two `DigitSet`s, with a progress bar, a checkpoint of the best epoch and
exact resumption. Everything random comes from `config.seed`: the same seed on the same machine
gives the same weights.

The shape of the loop (steps as functions, a frozen configuration, the learning rate as a pure
function of the step) follows common practice; cyclic is Smith 2017, cosine Loshchilov and Hutter
2017 (without restarts), one-cycle Smith and Topin 2019, label smoothing Szegedy et al. 2016,
decoupled weight decay Loshchilov and Hutter 2019, averaging of weights Polyak and Juditsky 1992.
"""

from __future__ import annotations

import copy
import json
import math
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm.auto import tqdm

from mnist_lab.augmentation import Augmentation
from mnist_lab.batches import (
    MNIST_NORMALISATION,
    Batch,
    Batches,
    Normalisation,
    choose_device,
    seeded_generator,
)
from mnist_lab.checkpoints import (
    CheckpointError,
    ModelCard,
    load_tensors,
    load_weights,
    save_checkpoint,
    save_tensors,
)
from mnist_lab.datasets import DigitSet, take_images
from mnist_lab.distributed import ALONE, Ranks
from mnist_lab.models import build_model, eval_mode
from mnist_lab.selection import count_hardest, find_hardest

RESUME = "resume"

# What may be added to the loss, such as a pull towards the weights that training started from.
Penalty = Callable[[], Tensor]

Schedule = Literal["constant", "exponential", "cosine", "cyclic", "one_cycle"]


@dataclass(frozen=True)
class TrainConfig:
    """How to train. Each default has its reason beside it."""

    epochs: int = 3
    hardest_share: float = 1.0  # train on this share of the digits: a proxy's hardest; 1: on all
    batch_size: int = 128  # small enough to learn much per epoch, large enough for fast matrices
    optimizer: Literal["sgd", "adam", "adamw"] = "adamw"  # needs the least tuning
    learning_rate: float = 0.01  # the peak; one-cycle bears more than a constant rate does
    schedule: Schedule = "one_cycle"
    warm_up: float = 0.25  # share of the steps in which one-cycle rises
    cycles: int = 3  # how often the cyclic schedule rises and falls
    momentum: float = 0.9  # SGD's momentum, Adam's first beta
    adam_epsilon: float = 1e-8  # torch's default; Keras has 1e-7
    weight_decay: float = 0.0  # on matrices and kernels only, not on biases and norms
    l1_penalty: float = 0.0  # times the sum of the same weights' absolute values, in the loss
    label_smoothing: float = 0.0
    clip_norm: float | None = None  # largest norm of the whole gradient; None: no clipping
    average_decay: float = 0.0  # of an exponential average of the weights; 0: none
    precision: Literal["float32", "bfloat16"] = "float32"  # of the products; weights are float32
    normalisation: Normalisation = MNIST_NORMALISATION
    augmentation: Augmentation | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        checks = {
            "epochs": self.epochs >= 1,
            "hardest_share": 0 < self.hardest_share <= 1,
            "batch_size": self.batch_size >= 1,
            "learning_rate": 0 < self.learning_rate < math.inf,
            "warm_up": 0 <= self.warm_up < 1,
            "momentum": 0 <= self.momentum < 1,
            "adam_epsilon": 0 < self.adam_epsilon < math.inf,
            "weight_decay": 0 <= self.weight_decay < math.inf,
            "l1_penalty": 0 <= self.l1_penalty < math.inf,
            "label_smoothing": 0 <= self.label_smoothing < 1,
            "clip_norm": self.clip_norm is None or self.clip_norm > 0,
            "average_decay": 0 <= self.average_decay < 1,
            "optimizer": self.optimizer in ("sgd", "adam", "adamw"),
            "schedule": self.schedule in get_args(Schedule),
            "cycles": self.cycles >= 1,
            "precision": self.precision in ("float32", "bfloat16"),
            "seed": self.seed >= 0,
        }
        for name, right in checks.items():
            if not right:
                raise ValueError(f"{name} cannot be {getattr(self, name)!r}.")

    def to_json(self) -> dict[str, Any]:
        """Return the configuration as JSON can hold it."""
        return asdict(self)


@dataclass(frozen=True)
class Score:
    """Mean loss (nats per example) and accuracy in [0, 1] over `count` examples."""

    loss: float
    accuracy: float
    count: int


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


# --- Steps ---------------------------------------------------------------------------------------


def learning_rate_at(step: int, total_steps: int, config: TrainConfig) -> float:
    """Return the learning rate of a step (from 0): a pure function.

    Exponential falls by the same factor at every step, to a hundredth; cosine along half a wave to
    nearly 0; cyclic goes up and down `cycles` times between a tenth of the rate and the whole;
    one-cycle rises on a line for `warm_up` of the steps and then falls as cosine does.
    """
    rate = config.learning_rate
    # Half a step further: the first rate is not 0, the last is not 0 either.
    progress = (step + 0.5) / total_steps
    match config.schedule:
        case "constant":
            return rate
        case "exponential":  # the same factor at every step, down to a hundredth
            return rate * 0.01**progress
        case "cosine":
            return _half_cosine(rate, progress)
        case "cyclic":  # a triangle between a tenth of the rate and the whole
            phase = progress * config.cycles % 1
            return rate * (0.1 + 0.9 * (1 - abs(2 * phase - 1)))
        case "one_cycle":
            if progress < config.warm_up:
                return rate * progress / config.warm_up
            return _half_cosine(rate, (progress - config.warm_up) / (1 - config.warm_up))


def _half_cosine(rate: float, progress: float) -> float:
    """Fall from `rate` to 0 along half a wave while `progress` goes from 0 to 1."""
    return rate * 0.5 * (1 + math.cos(math.pi * progress))


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


def score_as_is(model: nn.Module, batches: Iterable[Batch]) -> Score:
    """Score each example once, without gradients, in whatever mode the model is.

    Sums over examples, not over batches, so a short last batch weighs as little as it should.
    """
    loss, correct, count = 0.0, 0, 0
    with torch.no_grad():
        for images, labels in batches:
            logits = model(images)
            loss += float(F.cross_entropy(logits, labels, reduction="sum"))
            correct += int((logits.argmax(1) == labels).sum())
            count += len(labels)
    if count == 0:
        raise ValueError("There is nothing to score: the batches hold no example.")
    return Score(loss / count, correct / count, count)


def evaluate(model: nn.Module, batches: Iterable[Batch]) -> Score:
    """Score each example once, without gradients; restore the previous mode of every part.

    In eval mode dropout is off and batch norm uses its running statistics.
    """
    with eval_mode(model):
        return score_as_is(model, batches)


def predict(model: nn.Module, batches: Iterable[Batch]) -> Tensor:
    """Return the model's output for every example in the order of the batches, in eval mode.

    Returns
    -------
    Tensor (n, classes), on the batches' device: logits, for a model that returns logits.
    """
    with eval_mode(model), torch.no_grad():
        return torch.cat([model(images) for images, _ in batches])


# --- Epochs --------------------------------------------------------------------------------------


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


# --- A whole run ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class FitResult:
    """A trained model (of its best epoch, in eval mode), its card and the reports of all epochs."""

    model: nn.Module
    card: ModelCard
    reports: tuple[EpochReport, ...]
    best: EpochReport
    seconds: float


def fit(
    name: str,
    train: DigitSet,
    validation: DigitSet,
    config: TrainConfig,
    *,
    arguments: dict[str, Any] | None = None,
    device: str = "auto",
    folder: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
    ranks: Ranks = ALONE,
) -> FitResult:
    """Train the model called `name` and keep its best epoch by validation accuracy.

    Parameters
    ----------
    name, arguments
        As for `models.build_model`.
    train, validation : DigitSet
        A test part is refused: nothing may be chosen on it.
    config : TrainConfig
    device : {"auto", "cuda", "mps", "cpu"}
    folder : path, optional
        Where the checkpoint goes. After every epoch it holds the best model so far and what is
        needed to resume; the latter is removed at the end.
    resume : bool
        Go on from what an interrupted run left in `folder`; on the CPU the result is bit for bit
        that of a run without interruption. Where there is nothing to resume, training starts anew.
    progress : bool
        Show a bar (on standard error, or as a widget in a notebook).
    ranks : Ranks
        From `distributed.join`, where several processes train together; every one of them calls
        `fit` with the same arguments. `batch_size` is that of the whole batch; rank 0 alone
        scores, writes and shows the bar; all read what is resumed, so all must see the folder. A
        run may be resumed with another number of processes.

    Raises
    ------
    ValueError
        If a part of the data is a test part, the parts have different classes, or a file is where
        the folder should be.
    FloatingPointError
        If the loss is not finite; the checkpoint of the best epoch so far stays.
    KeyboardInterrupt
        On Ctrl-C, after a usable checkpoint has been written.
    """
    check_parts(train, validation)
    if folder is not None:
        check_folder(Path(folder))
    where = ranks.device or choose_device(device)
    started = time.perf_counter()
    taught = train if config.hardest_share == 1 else _hardest(train, config, where, ranks)
    model = build_model(name, seed=config.seed, **(arguments or {}))
    # Channels beside each other in memory: the same numbers, a third less time in convolutions.
    model.to(where).to(memory_format=torch.channels_last)
    batches = Batches(
        taught,
        config.batch_size,
        device=where,
        normalisation=config.normalisation,
        augmentation=config.augmentation,
        shuffle=True,
        seed=config.seed,
        ranks=ranks,
    )
    state = start_training(model, batches, config)
    state.seconds = time.perf_counter() - started
    held_out = Batches(validation, device=where, normalisation=config.normalisation)
    card = ModelCard(
        model=name,
        arguments=dict(arguments or {}),
        normalisation=config.normalisation,
        input_size=(train.images.shape[1], train.images.shape[2]),
        class_names=train.class_names,
        training={"config": config.to_json(), "data": fingerprint(train, validation)},
    )
    run = _Run(state, card, None if folder is None else Path(folder))
    if resume:
        run.resume()
        check_same_place(state, ranks)
    if not ranks.first:
        run.folder = None  # one writes what all have
    shown = progress and ranks.first
    with tqdm(total=state.total_steps, initial=state.step, disable=not shown) as bar:

        def on_step(loss: float) -> None:
            bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
            bar.update()

        try:
            for report in iter_epochs(state, batches, held_out, config, on_step):
                run.take(report)
                bar.set_description(f"validation {report.validation.accuracy:.2%}")
        except KeyboardInterrupt:
            run.keep_interrupted()
            raise
    return run.finish()


def _hardest(digits: DigitSet, config: TrainConfig, device: torch.device, ranks: Ranks) -> DigitSet:
    """Choose once, for all processes: each by itself might round otherwise."""
    count = count_hardest(len(digits), config.hardest_share)
    chosen = ranks.from_first(
        lambda: find_hardest(digits, config.hardest_share, config.seed, device).tolist(), count
    )
    return digits.subset(np.array(chosen, dtype=np.int64))


def check_parts(train: DigitSet, validation: DigitSet) -> None:
    """Refuse a test part, and two parts that do not go together."""
    for role, digits in (("train", train), ("validation", validation)):
        if digits.part == "test":
            raise ValueError(
                f"The {role} digits are a test part: it is scored once, at the end, and nothing is "
                f"learnt or chosen on it."
            )
    if train.class_names != validation.class_names:
        raise ValueError("The training and the validation part have different classes.")
    if train.images.shape[1:] != validation.images.shape[1:]:
        raise ValueError("The training and the validation part have images of different sizes.")


def check_folder(folder: Path) -> None:
    """Tell before training what would stop the first checkpoint."""
    for path in (folder, *folder.parents):
        if path.is_file():
            raise ValueError(f"{path} is a file; a folder for the checkpoint is expected.")


def fingerprint(*parts: DigitSet) -> list[dict[str, int]]:
    """Tell one data set from another, so that a run is not resumed on other data."""
    return [
        {"count": len(part), "crc32": zlib.crc32(part.labels.tobytes(), _images_crc32(part.images))}
        for part in parts
    ]


def _images_crc32(images: NDArray[np.uint8]) -> int:
    """Return the CRC-32 of all pixels, read piece by piece: they may be more than memory holds."""
    found, piece = 0, 1 + (1 << 24) // images[0].size
    for start in range(0, len(images), piece):
        found = zlib.crc32(take_images(images, slice(start, start + piece)).data, found)
    return found


def check_same_place(state: TrainState, ranks: Ranks) -> None:
    """Refuse to go on where the processes found different things in the folder."""
    (first,) = ranks.from_first(lambda: [state.step], 1)
    if any(ranks.add_up(state.step != first)):
        raise CheckpointError(
            "The processes do not find the same run to resume: all must see the same folder."
        )


def forget_run(folder: Path) -> None:
    """Remove what a finished run would have been resumed from."""
    # The JSON goes first: without it the weights beside it are nothing to resume from.
    for path in [folder / f"{RESUME}.json", *folder.glob(f"{RESUME}-*")]:
        path.unlink(missing_ok=True)


def check_same_run(folder: Path, card: ModelCard, record: dict[str, Any]) -> None:
    """Refuse to go on with a run that was started with another card, configuration or data."""
    # Through JSON and back, as tuples become lists there.
    ours = json.loads(json.dumps(card.to_json()))
    theirs = record["card"]
    for ours_part, theirs_part in (
        (ours, theirs),
        (ours["training"]["config"], theirs["training"]["config"]),
    ):
        for name, value in ours_part.items():
            if name != "training" and theirs_part.get(name) != value:
                raise CheckpointError(
                    f"The run in {folder} was started with another {name}: "
                    f"{theirs_part.get(name)!r}, now {value!r}. Start anew in another folder."
                )
    if ours["training"]["data"] != theirs["training"]["data"]:
        raise CheckpointError(f"The run in {folder} was started on other data.")


class _Run:
    """The bookkeeping of `fit`: which epoch is best, and what lies in the folder."""

    def __init__(self, state: TrainState, card: ModelCard, folder: Path | None) -> None:
        self.state = state
        self.card = card
        self.folder = folder
        self.reports: list[EpochReport] = []
        self.best: EpochReport | None = None
        self.best_weights: dict[str, Tensor] = {}
        self.saved = False  # whether the folder holds a checkpoint of this run

    def take(self, report: EpochReport) -> None:
        """Count an epoch, and write what a kill must not lose."""
        self.reports.append(report)
        if self.best is None or _is_better(report.validation, self.best.validation):
            self.best = report
            weights = self.state.scored_model.state_dict()
            self.best_weights = {name: tensor.clone() for name, tensor in weights.items()}
            self._save_model()
        if self.folder is not None and self.state.step < self.state.total_steps:
            save_tensors(self.folder, RESUME, self._tensors(), self._record())

    def keep_interrupted(self) -> None:
        """Leave a usable checkpoint even if no epoch was finished."""
        if not self.saved:
            self._save_model()

    def _save_model(self) -> None:
        if self.folder is not None:
            save_checkpoint(self.folder, self.state.scored_model, self._card_now())
            self.saved = True

    def finish(self) -> FitResult:
        """Put the best weights into the model; nothing is left to resume."""
        assert self.best is not None  # epochs is at least 1
        model = self.state.model
        model.load_state_dict(self.best_weights)
        if self.folder is not None:
            forget_run(self.folder)
        seconds = self.state.seconds
        return FitResult(model.eval(), self._card_now(), tuple(self.reports), self.best, seconds)

    def resume(self) -> None:
        """Take up the state in the folder, if there is one and it is of this very run."""
        if self.folder is None or not (self.folder / f"{RESUME}.json").exists():
            return
        tensors, record = load_tensors(self.folder, RESUME)
        try:
            self._take_up(tensors, record)
        except (KeyError, TypeError, IndexError) as error:
            path = self.folder / f"{RESUME}.json"
            raise CheckpointError(f"{path} is no record of a run: {error!r}.") from error
        self.saved = True

    def _take_up(self, tensors: dict[str, Tensor], record: dict[str, Any]) -> None:
        assert self.folder is not None
        check_same_run(self.folder, self.card, record)
        source = str(self.folder)
        state = self.state
        load_weights(state.model, part_of(tensors, "model"), source)
        if state.average is not None:
            load_weights(state.average, part_of(tensors, "average"), source)
        load_optimizer(state.optimizer, part_of(tensors, "optimizer"))
        state.step, state.epoch = int(record["step"]), int(record["epoch"])
        state.seconds = float(record["seconds"])
        self.best_weights = part_of(tensors, "best")
        self.reports = [_report_from(entry) for entry in record["reports"]]
        self.best = self.reports[int(record["best"])]

    def _card_now(self) -> ModelCard:
        training = {**self.card.training, "step": self.state.step}
        if self.best is not None:
            training |= {
                "epoch": self.best.epoch,
                "validation_accuracy": self.best.validation.accuracy,
                "validation_loss": self.best.validation.loss,
            }
        return replace(self.card, training=training)

    def _tensors(self) -> dict[str, Tensor]:
        parts: dict[str, dict[str, Tensor]] = {
            "model": self.state.model.state_dict(),
            "average": self.state.average.state_dict() if self.state.average else {},
            "optimizer": optimizer_tensors(self.state.optimizer),
            "best": self.best_weights,
        }
        return {f"{part}/{k}": v for part, tensors in parts.items() for k, v in tensors.items()}

    def _record(self) -> dict[str, Any]:
        assert self.best is not None
        return {
            "card": self.card.to_json(),
            "step": self.state.step,
            "epoch": self.state.epoch,
            "seconds": self.state.seconds,
            "reports": [asdict(report) for report in self.reports],
            "best": self.reports.index(self.best),
        }


def _is_better(new: Score, old: Score) -> bool:
    """Higher accuracy; among equals the lower loss."""
    return (new.accuracy, -new.loss) > (old.accuracy, -old.loss)


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


def _report_from(record: dict[str, Any]) -> EpochReport:
    scores = {part: Score(**record[part]) for part in ("train", "validation")}
    return EpochReport(**{**record, **scores})
