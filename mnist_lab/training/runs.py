"""A whole run: best epoch, progress bar, a folder with the checkpoint, exact resumption.

    result = fit("small_cnn", train, validation, TrainConfig(epochs=3), folder="runs/mine")
    result = fit(MyNet(), train, validation)            # any nn.Module that returns logits
    result.model, result.best.validation.accuracy

The loop is `loop`'s, for every objective. On the CPU of one machine the same seed gives the same
weights, also where the run was killed in between and resumed.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from mnist_lab.data.digit_set import DigitSet
from mnist_lab.folders import MARK, claim, read_notes
from mnist_lab.models.registry import build_model
from mnist_lab.training.batches import choose_device
from mnist_lab.training.cards import ModelCard
from mnist_lab.training.checkpoints import (
    check_rebuilds,
    load_checkpoint,
    load_weights,
    read_digest,
    save_checkpoint,
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
from mnist_lab.training.resuming import (
    check_moments,
    check_parts,
    check_same_run,
    identify_data,
    load_optimizer,
    load_scaler,
    named_refusals,
    optimizer_tensors,
    part_of,
    read_reports,
    report_as_json,
    report_from,
    scaler_tensors,
)
from mnist_lab.training.run_folders import RESUME, check_folder, claimed_by_first, find_run
from mnist_lab.training.scoring import Score
from mnist_lab.training.tensor_folders import CheckpointError, load_tensors, save_tensors


@dataclass(frozen=True)
class FitResult:
    """A trained model (of its best epoch, in eval mode), its card and the reports of all epochs.

    The card describes what a checkpoint of the run holds. Where nothing was held out, the last
    epoch counts as the best. Where a run was `finished_before` and only looked up, the model is
    what its checkpoint holds.
    """

    model: nn.Module
    card: ModelCard
    reports: tuple[EpochReport, ...]
    best: EpochReport
    seconds: float
    finished_before: bool = False


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
    overwrite: bool = False,
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
        needed to resume; the latter is removed at the end. What else lies there is left alone. One
        that holds a run already, finished or not, is refused.
    resume : bool
        Go on from what an interrupted run left in `folder`; on the CPU the result is bit for bit
        that of a run without interruption. Where there is nothing to resume, training starts anew;
        a run that is finished is returned as the folder has it.
    overwrite : bool
        Replace what the folder holds; a checkpoint only when this run is finished.
    progress : bool
        Show a bar: on standard error where that is a terminal, as a widget in a notebook.
    ranks : Ranks
        From `processes.join`, where several processes train together; every one of them calls
        `fit` with the same arguments. `batch_size` is that of the whole batch; rank 0 alone
        scores, writes and shows the bar; all read what is resumed, so all must see the folder. A
        run may be resumed with another number of processes.

    Raises
    ------
    ValueError
        If a part of the data is a test part, the parts have different classes, a setting would be
        ignored, the model could not be saved in the folder, or there is a run in it already.
    FloatingPointError
        If the loss is not finite; the checkpoint of the best epoch so far stays.
    KeyboardInterrupt
        On Ctrl-C; the folder then holds a usable checkpoint. `describe_folder` says which.
    """
    config, objective = config or TrainConfig(), objective or Classify()
    started = time.perf_counter()
    _check_parts(train, validation)
    place = _choose_place(device, ranks)
    with claimed_by_first(folder, objective, ranks):
        if folder is not None:
            check_folder(folder, resume=resume, overwrite=overwrite)
        if isinstance(model, str):
            model = build_model(model, seed=config.seed, **(arguments or {}))
        elif arguments:
            raise ValueError("arguments build a model by its name; this one is built already.")
        model.to(place)
        objective.check(model, config, train.class_names)
        if folder is not None:
            check_rebuilds(objective.kept(model))
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
            card.check(objective.kept(model))  # what nobody could load is not worth training
        if resume and folder is not None:
            finished = _look_up(Path(folder), card, model, objective, overwrite)
            if finished is not None:
                return finished
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
        state.seconds = time.perf_counter() - started
        run = _Run(state, card, None if folder is None else Path(folder))
        if resume:
            run.take_up()
            _check_same_place(state, ranks)
        if not ranks.first:
            run.folder = None  # one writes what all have
        run.begin()
        shown = progress and ranks.first and _is_watched()
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


def _is_watched() -> bool:
    """Whether somebody sees a bar move: at a terminal or in a notebook, but not in a log."""
    in_notebook = any(base.__module__ == "tqdm.notebook" for base in tqdm.__mro__)
    return in_notebook or (sys.stderr is not None and sys.stderr.isatty())


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


def _check_same_place(state: TrainState, ranks: Ranks) -> None:
    """Refuse to go on where the processes found different things in the folder."""
    (first,) = ranks.from_first(lambda: [state.step], 1)
    if any(ranks.add_up(state.step != first)):
        raise CheckpointError(
            "The processes do not find the same run to resume: all must see the same folder."
        )


# --- What lies in the folder ---------------------------------------------------------------------


def _look_up(
    folder: Path, card: ModelCard, model: nn.Module, objective: Objective, overwrite: bool
) -> FitResult | None:
    """Return the result of this very run, if the folder holds it and it is finished."""
    record = read_notes(folder).get("run")
    if find_run(folder) != "finished" or record is None:
        return None
    try:
        with named_refusals(folder / MARK):
            check_same_run(folder, card, record)
            reports = [report_from(entry) for entry in record["reports"]]
            best, seconds = reports[_best_of(reports)], float(record["seconds"])
            if record["weights_sha256"] != read_digest(folder):
                raise ValueError("the checkpoint is another one than it has left")
    except CheckpointError:
        if overwrite:  # another run, which is to be replaced
            return None
        raise
    kept, card = load_checkpoint(folder)
    if objective.kept(model) is model:  # else a part of it is not on the disk
        load_weights(model, kept.state_dict(), str(folder))
        kept = model.eval()
    return FitResult(kept, card, tuple(reports), best, seconds, finished_before=True)


class _Run:
    """The bookkeeping of `fit`: which epoch is best, and what lies in the folder."""

    def __init__(self, state: TrainState, card: ModelCard, folder: Path | None) -> None:
        self.state = state
        self.card = card
        self.folder = folder
        self.reports: list[EpochReport] = []
        self.best: EpochReport | None = None
        self.best_weights: dict[str, Tensor] = {}
        # A checkpoint of another run stays until this one is finished, as it may be the better.
        self.keeps_old = folder is not None and find_run(folder) in ("unfinished", "finished")

    def begin(self) -> None:
        """Note that what is written from now on is not finished."""
        if self.folder is not None and not self.keeps_old:
            with claim(self.folder) as own:
                own.note(begun=True, run=None)

    def take(self, report: EpochReport) -> None:
        """Count an epoch, and write what a kill must not lose."""
        self.reports.append(report)
        if self.best is None or _is_better(report.validation, self.best.validation):
            self.best = report
            weights = self.state.scored_model.state_dict()
            self.best_weights = {name: tensor.clone() for name, tensor in weights.items()}
            if not self.keeps_old:
                self._save_model(self.state.scored_model)
        if self.folder is not None and self.state.step < self.state.total_steps:
            save_tensors(self.folder, RESUME, self._tensors(), self._record())

    def keep_interrupted(self) -> None:
        """Leave a usable checkpoint even if no epoch was finished, where there is none."""
        if self.folder is not None and find_run(self.folder) == "nothing":
            self._save_model(self.state.scored_model)

    def _save_model(self, model: nn.Module) -> None:
        if self.folder is not None:
            objective = self.state.objective
            save_checkpoint(self.folder, objective.kept(model), self._card_now())
            objective.save_beside(self.folder, model)

    def finish(self) -> FitResult:
        """Put the best weights into the model; nothing is left to resume."""
        assert self.best is not None  # epochs is at least 1
        model = self.state.model
        model.load_state_dict(self.best_weights)
        if self.keeps_old:
            self._save_model(model)
        self.state.objective.finish(model)
        if self.folder is not None:
            with claim(self.folder) as own:
                record = self._record() | {"weights_sha256": read_digest(self.folder)}
                own.note(run=record, begun=None)
                own.keep_only(RESUME, ())
        seconds = self.state.seconds
        return FitResult(model.eval(), self._card_now(), tuple(self.reports), self.best, seconds)

    def take_up(self) -> None:
        """Take up the state in the folder, if there is one and it is of this very run."""
        if self.folder is None or find_run(self.folder) != "unfinished":
            return
        self._take_up(*load_tensors(self.folder, RESUME, self._expect))

    def _expect(self, layout: Mapping[str, Tensor], record: Mapping[str, Any]) -> None:
        """Refuse the record of another run, or one whose parts are not this run's."""
        assert self.folder is not None
        with named_refusals(self.folder / f"{RESUME}.json"):
            check_same_run(self.folder, self.card, record)
            check_parts(self.state, layout)

    def _take_up(self, tensors: dict[str, Tensor], record: dict[str, Any]) -> None:
        """Go on from a record, after all of it has been found to fit."""
        assert self.folder is not None
        state = self.state
        with named_refusals(self.folder / f"{RESUME}.json"):
            reports = read_reports(record, state)
            best = _best_of(reports)
            if (type(record["best"]), record["best"]) != (int, best):
                raise ValueError(f"its best epoch is number {best}, not {record['best']!r:.100}")
            check_moments(tensors, record, state)
        source = str(self.folder)
        load_weights(state.model, part_of(tensors, "model"), source)
        if state.average is not None:
            load_weights(state.average, part_of(tensors, "average"), source)
        load_optimizer(state.optimizer, part_of(tensors, "optimizer"))
        load_scaler(state.scaler, part_of(tensors, "scaler"))
        state.step, state.epoch = record["step"], record["epoch"]
        state.seconds = float(record["seconds"])
        self.best_weights = part_of(tensors, "best")
        self.reports, self.best = reports, reports[best]
        self.keeps_old = bool(record.get("keeps_old"))

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
            "optimizer": optimizer_tensors(self.state.optimizer),
            "scaler": scaler_tensors(self.state.scaler),
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
            "reports": [report_as_json(report) for report in self.reports],
            "best": self.reports.index(self.best),
            "keeps_old": self.keeps_old,
        }


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
