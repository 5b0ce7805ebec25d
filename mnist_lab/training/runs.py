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

import json
import time
import zlib
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm.auto import tqdm

from mnist_lab.data.digit_set import DigitSet
from mnist_lab.data.idx import take_images
from mnist_lab.models.registry import build_model
from mnist_lab.training.batches import Batches, choose_device
from mnist_lab.training.checkpoints import (
    CheckpointError,
    ModelCard,
    load_tensors,
    load_weights,
    save_checkpoint,
    save_tensors,
)
from mnist_lab.training.config import TrainConfig
from mnist_lab.training.loop import EpochReport, TrainState, iter_epochs, start_training
from mnist_lab.training.processes import ALONE, Ranks
from mnist_lab.training.scoring import Score
from mnist_lab.training.selection import count_hardest, find_hardest

RESUME = "resume"


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
