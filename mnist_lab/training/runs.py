"""A whole run: best epoch, progress bar, a folder with the checkpoint, exact resumption.

    result = fit("small_cnn", train, validation, TrainConfig(epochs=3), folder="runs/mine")
    result = fit(MyNet(), train, validation)            # any nn.Module that returns logits
    result.model, result.best.validation.accuracy

The loop is `loop`'s, for every objective. Same seed, same machine, same weights: also where the
run was killed in between and resumed.
"""

from __future__ import annotations

import json
import math
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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
from mnist_lab.models.reasons import reason_of, shorten
from mnist_lab.models.registry import build_model
from mnist_lab.training.batches import choose_device
from mnist_lab.training.checkpoints import (
    CheckpointError,
    ModelCard,
    check_rebuilds,
    load_tensors,
    load_weights,
    save_checkpoint,
    save_tensors,
)
from mnist_lab.training.config import TrainConfig
from mnist_lab.training.loop import (
    BeforeStep,
    EpochReport,
    Penalty,
    TrainState,
    iter_epochs,
    start_training,
)
from mnist_lab.training.objectives import Classify, Objective
from mnist_lab.training.processes import ALONE, Ranks
from mnist_lab.training.resuming import check_moments, check_parts, read_reports
from mnist_lab.training.scoring import Score

RESUME = "resume"  # what the files are called that an unfinished run goes on from


@dataclass(frozen=True)
class FitResult:
    """A trained model (of its best epoch, in eval mode), its card and the reports of all epochs.

    The card describes what a checkpoint of the run holds. Where nothing was held out, the last
    epoch counts as the best.
    """

    model: nn.Module
    card: ModelCard
    reports: tuple[EpochReport, ...]
    best: EpochReport
    seconds: float


def fit(
    model: str | nn.Module,
    train: DigitSet,
    validation: DigitSet | None = None,
    config: TrainConfig | None = None,
    *,
    objective: Objective | None = None,
    arguments: dict[str, Any] | None = None,
    groups: list[dict[str, Any]] | None = None,
    penalty: Penalty | None = None,
    before_step: BeforeStep | None = None,
    origin: dict[str, Any] | None = None,
    device: str = "auto",
    folder: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
    ranks: Ranks = ALONE,
) -> FitResult:
    """Train a model and keep its best epoch by validation score.

    Parameters
    ----------
    model : str or nn.Module
        A name for `models.build_model`, which draws the first weights from `config.seed`; or a
        network of your own, which is trained in place. To be saved, its class must be registered
        (`models.register`).
    train : DigitSet
        A test part is refused: nothing may be learnt from it.
    validation : DigitSet, optional
        Refused likewise: nothing may be chosen on a test part. Without it the last epoch is kept.
    config : TrainConfig, optional
    objective : Objective, optional
        What is minimised and scored; `Classify()` if not given.
    arguments : dict, optional
        For `models.build_model`, where the model is given by name.
    groups, penalty, before_step
        As for `loop.start_training`.
    origin : dict, optional
        What else the card is to tell of where the model comes from, such as a recipe's name or the
        checkpoint that was fine-tuned. A run that is resumed must have the same.
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
        From `processes.join`, where several processes train together; every one of them calls
        `fit` with the same arguments. `batch_size` is that of the whole batch; rank 0 alone
        scores, writes and shows the bar; all read what is resumed, so all must see the folder. A
        run may be resumed with another number of processes.

    Raises
    ------
    ValueError
        If a part of the data is a test part, the parts have different classes, a setting would be
        ignored, a file is where the folder should be, or the model could not be saved there.
    FloatingPointError
        If the loss is not finite; the checkpoint of the best epoch so far stays.
    KeyboardInterrupt
        On Ctrl-C, after a usable checkpoint has been written.
    """
    config, objective = config or TrainConfig(), objective or Classify()
    started = time.perf_counter()
    _check_parts(train, validation)
    if folder is not None:
        _check_folder(Path(folder))
    if isinstance(model, str):
        model = build_model(model, seed=config.seed, **(arguments or {}))
    elif arguments:
        raise ValueError("arguments build a model by its name; this one is built already.")
    model.to(_choose_place(device, ranks))
    if folder is not None:
        check_rebuilds(objective.kept(model))
    state = start_training(
        model,
        train,
        config,
        objective=objective,
        groups=groups,
        penalty=penalty,
        before_step=before_step,
        ranks=ranks,
    )
    card = ModelCard.of(
        objective.kept(model),
        normalisation=config.normalisation,
        input_size=(train.images.shape[1], train.images.shape[2]),
        class_names=train.class_names,
        training={
            **objective.describe(),
            "config": config.to_json(),
            "data": identify_data(train, *([validation] if validation else [])),
            **({"origin": origin} if origin else {}),
        },
    )
    if folder is not None:
        card.check(objective.kept(model))  # what could not be loaded again is not worth training
    state.seconds = time.perf_counter() - started
    run = _Run(state, card, None if folder is None else Path(folder))
    if resume:
        run.resume()
        _check_same_place(state, ranks)
    if not ranks.first:
        run.folder = None  # one writes what all have
    shown = progress and ranks.first
    with tqdm(total=state.total_steps, initial=state.step, disable=not shown) as bar:

        def on_step(loss: float) -> None:
            bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
            bar.update()

        try:
            for report in iter_epochs(state, validation, on_step):
                run.take(report)
                bar.set_description(_describe(report.validation))
        except KeyboardInterrupt:
            run.keep_interrupted()
            raise
    return run.finish()


def _describe(score: Score) -> str:
    """Return a score in a few words, for the bar."""
    if not score.count:
        return ""
    if math.isnan(score.accuracy):
        return f"validation loss {score.loss:.4f}"
    return f"validation {score.accuracy:.2%}"


# --- Before it starts ----------------------------------------------------------------------------


def _check_parts(train: DigitSet, validation: DigitSet | None) -> None:
    """Refuse a test part, and two parts that do not go together."""
    for role, digits in (("train", train), ("validation", validation)):
        if digits is not None and digits.part == "test":
            raise ValueError(
                f"The {role} digits are a test part: it is scored once, at the end, and nothing is "
                f"learnt or chosen on it."
            )
    if validation is None:
        return
    if train.class_names != validation.class_names:
        raise ValueError("The training and the validation part have different classes.")
    if train.images.shape[1:] != validation.images.shape[1:]:
        raise ValueError("The training and the validation part have images of different sizes.")


def _choose_place(device: str, ranks: Ranks) -> torch.device:
    """Return the device to train on: of several processes, each has one already."""
    if ranks.device is None:
        return choose_device(device)
    if device not in ("auto", ranks.device.type):
        raise ValueError(f"This process trains on {ranks.device}, so device cannot be {device!r}.")
    return ranks.device


def _check_folder(folder: Path) -> None:
    """Tell before training what would stop the first checkpoint."""
    for path in (folder, *folder.parents):
        if path.is_file():
            raise ValueError(f"{path} is a file; a folder for the checkpoint is expected.")


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
        found = zlib.crc32(take_images(images, slice(start, start + piece)).data, found)
    return found


def _check_same_place(state: TrainState, ranks: Ranks) -> None:
    """Refuse to go on where the processes found different things in the folder."""
    (first,) = ranks.from_first(lambda: [state.step], 1)
    if any(ranks.add_up(state.step != first)):
        raise CheckpointError(
            "The processes do not find the same run to resume: all must see the same folder."
        )


def _check_same_run(folder: Path, card: ModelCard, record: Mapping[str, Any]) -> None:
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


# --- What lies in the folder ---------------------------------------------------------------------


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
            kept = self.state.objective.kept(self.state.scored_model)
            save_checkpoint(self.folder, kept, self._card_now())
            self.saved = True

    def finish(self) -> FitResult:
        """Put the best weights into the model; nothing is left to resume."""
        assert self.best is not None  # epochs is at least 1
        model = self.state.model
        model.load_state_dict(self.best_weights)
        self.state.objective.finish(model)
        if self.folder is not None:
            _forget_run(self.folder)
        seconds = self.state.seconds
        return FitResult(model.eval(), self._card_now(), tuple(self.reports), self.best, seconds)

    def resume(self) -> None:
        """Take up the state in the folder, if there is one and it is of this very run."""
        if self.folder is None or not (self.folder / f"{RESUME}.json").exists():
            return
        self._take_up(*load_tensors(self.folder, RESUME, self._expect))
        self.saved = True

    def _expect(self, layout: Mapping[str, Tensor], record: Mapping[str, Any]) -> None:
        """Refuse the record of another run, or one whose parts are not this run's."""
        assert self.folder is not None
        with _named_refusals(self.folder):
            _check_same_run(self.folder, self.card, record)
            check_parts(self.state, layout)

    def _take_up(self, tensors: dict[str, Tensor], record: dict[str, Any]) -> None:
        """Go on from a record, after all of it has been found to fit."""
        assert self.folder is not None
        state = self.state
        with _named_refusals(self.folder):
            reports = read_reports(record, state)
            best = _best_of(reports)
            if (type(record["best"]), record["best"]) != (int, best):
                raise ValueError(f"its best epoch is number {best}, not {record['best']!r:.100}")
            check_moments(tensors, record, state)
        source = str(self.folder)
        load_weights(state.model, _part_of(tensors, "model"), source)
        if state.average is not None:
            load_weights(state.average, _part_of(tensors, "average"), source)
        _load_optimizer(state.optimizer, _part_of(tensors, "optimizer"))
        state.step, state.epoch = record["step"], record["epoch"]
        state.seconds = float(record["seconds"])
        self.best_weights = _part_of(tensors, "best")
        self.reports, self.best = reports, reports[best]

    def _card_now(self) -> ModelCard:
        return replace(self.card, training={**self.card.training, **self._learnt()})

    def _learnt(self) -> dict[str, Any]:
        """Return what the card tells of the run itself."""
        if self.best is None:
            return {"step": self.state.step}
        scored = self.best.validation
        told = self.state.objective.describe_score(scored) if scored.count else {}
        return {"step": self.state.step, "epoch": self.best.epoch, **told}

    def _tensors(self) -> dict[str, Tensor]:
        parts: dict[str, dict[str, Tensor]] = {
            "model": self.state.model.state_dict(),
            "average": self.state.average.state_dict() if self.state.average else {},
            "optimizer": _optimizer_tensors(self.state.optimizer),
            "best": self.best_weights,
        }
        return {f"{part}/{k}": v for part, tensors in parts.items() for k, v in tensors.items()}

    def _record(self) -> dict[str, Any]:
        assert self.best is not None
        return {
            "card": self.card.to_json(),
            "learnt": sorted(self._learnt()),
            "step": self.state.step,
            "epoch": self.state.epoch,
            "seconds": self.state.seconds,
            "reports": [_report_as_json(report) for report in self.reports],
            "best": self.reports.index(self.best),
        }


@contextmanager
def _named_refusals(folder: Path) -> Iterator[None]:
    """Say of whatever a record does not fit by that it is this file's."""
    try:
        yield
    except CheckpointError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        path = folder / f"{RESUME}.json"
        raise CheckpointError(f"{path} is no record of a run: {reason_of(error)}.") from error


def _best_of(reports: list[EpochReport]) -> int:
    """Return the index of the best of the reports, as it was found while they came in."""
    best = 0
    for index, report in enumerate(reports):
        if _is_better(report.validation, reports[best].validation):
            best = index
    return best


def _is_better(new: Score, old: Score) -> bool:
    """Higher accuracy; among equals the lower loss. The later one, where nothing was scored."""
    if not new.count:
        return True
    judged = not math.isnan(new.accuracy)
    return (judged and new.accuracy, -new.loss) > (judged and old.accuracy, -old.loss)


def _forget_run(folder: Path) -> None:
    """Remove what a finished run would have been resumed from."""
    # The JSON goes first: without it the weights beside it are nothing to resume from.
    for path in [folder / f"{RESUME}.json", *folder.glob(f"{RESUME}-*")]:
        path.unlink(missing_ok=True)


def _part_of(tensors: dict[str, Tensor], part: str) -> dict[str, Tensor]:
    """Return the tensors that are named `part/...`, without that part of their names."""
    prefix = f"{part}/"
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Flatten the optimizer's state into named tensors: `3/exp_avg` for parameter number 3."""
    return {
        f"{index}/{name}": torch.as_tensor(value)
        for index, entry in optimizer.state_dict()["state"].items()
        for name, value in entry.items()
        if value is not None
    }


def _load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put back what `_optimizer_tensors` took out."""
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


def _report_as_json(report: EpochReport) -> dict[str, Any]:
    """Return a report as JSON can hold it, which has no NaN."""
    entry = asdict(report)
    for part in ("train", "validation"):
        entry[part] = {k: None if math.isnan(v) else v for k, v in entry[part].items()}
    return entry
