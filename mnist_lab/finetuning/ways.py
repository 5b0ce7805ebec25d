"""The ways of fine-tuning by name, as the command line offers them.

    model, card = load_checkpoint("runs/fast")
    result = finetune(model, mine, way="gradual", folder="runs/mine")

`head`: all else is frozen. `head_first`: the head learns alone for half of the steps, then
everything. `gradual`: the head learns first, then one stage more at a time. `full`: everything
learns from the start. `lora`: every layer learns a change of low rank, the head as a
whole; what is saved is a plain network with the changes merged into its weights.

Chapter 10 compares them: with ten labels of a class or more, gradual reads the new digits best and
keeps most of the old ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from mnist_lab.data.digit_set import DigitSet
from mnist_lab.finetuning.freezing import GradualUnfreezing, HeadFirst, freeze_backbone
from mnist_lab.finetuning.lora import ClassifyThroughLoRA, add_lora
from mnist_lab.finetuning.remembering import put_together
from mnist_lab.training.augmentation import Augmentation
from mnist_lab.training.config import TrainConfig
from mnist_lab.training.runs import FitResult, fit

# The learning rates are those that a search on validation data chose for the way, with 10 to 1,000
# labels of a class (benchmarks/results/finetuning.json; forgetting.json for head_first,
# backbone.json for lora).
WAYS: Mapping[str, float] = {
    "head": 0.01,
    "head_first": 0.001,
    "gradual": 0.003,
    "full": 0.003,
    "lora": 0.006,
}

FINETUNE = TrainConfig(
    steps=300,  # enough for the head to settle; as in the search for the rates
    batch_size=32,  # few digits make few steps of large batches
    augmentation=Augmentation(rotate=10, shift=1, scale=0.1, shear=10),  # as one hand varies
)

_RANK = 4  # of LoRA's changes


@dataclass(frozen=True)
class Start:
    """A network made ready for a way of fine-tuning, and what `fit` needs for it besides."""

    model: nn.Module
    options: dict[str, Any]


def start_way(model: nn.Module, way: str, seed: int = 0) -> Start:
    """Make a network ready, in place: freeze what stays, add what learns.

    Parameters
    ----------
    way : {"head", "head_first", "gradual", "full", "lora"}
    seed : int
        Of the first weights of LoRA's changes.

    Raises
    ------
    ValueError
        If there is no such way, or the model does not suit it.
    """
    if way not in WAYS:
        raise ValueError(f"No way {way!r} to fine-tune; there are {', '.join(WAYS)}.")
    if way == "head":
        freeze_backbone(model)
    elif way == "head_first":
        return Start(model, {"before_step": HeadFirst(model)})
    elif way == "gradual":
        return Start(model, {"before_step": GradualUnfreezing(model)})
    elif way == "lora":
        add_lora(model, rank=_RANK, seed=seed)
        return Start(model, {"objective": ClassifyThroughLoRA()})
    return Start(model, {})


def finetune(
    model: nn.Module,
    digits: DigitSet,
    validation: DigitSet | None = None,
    config: TrainConfig | None = None,
    *,
    way: str = "gradual",
    rehearsal: DigitSet | None = None,
    origin: dict[str, Any] | None = None,
    **options: Any,
) -> FitResult:
    """Fine-tune a trained network on new digits, in place, as `training.fit` trains.

    What was frozen before stays frozen; what the way itself froze may learn again afterwards, but
    for a base under LoRA. The card tells the way as part of its `origin`.

    Parameters
    ----------
    model : nn.Module
        Its head has a place for every class of the digits (else `replace_head` first).
    digits, validation : DigitSet
    config : TrainConfig, optional
        `FINETUNE` at the way's learning rate, if not given.
    way : {"head", "head_first", "gradual", "full", "lora"}
    rehearsal : DigitSet, optional
        Digits of the old task that are trained on among the new, so that it is not forgotten. A
        test part is refused.
    origin : dict, optional
        What else the card is to tell of where the model comes from.
    **options
        For `fit`: folder, resume, device, progress.

    Raises
    ------
    ValueError
        As `start_way` and `fit` do.
    """
    if config is None:
        config = replace(FINETUNE, learning_rate=WAYS.get(way, FINETUNE.learning_rate))
    if rehearsal is not None:
        digits = put_together(digits, rehearsal)
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    start = start_way(model, way, config.seed)
    # Another way is another run, which `resume` must not go on with.
    origin = {"way": way, **(origin or {})}
    try:
        return fit(
            start.model, digits, validation, config, origin=origin, **start.options, **options
        )
    finally:
        if way != "lora":  # else a later run, with another way, would train the head alone
            for parameter in learning:
                parameter.requires_grad_(True)
