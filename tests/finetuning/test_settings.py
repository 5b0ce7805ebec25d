"""No setting is ignored: pretraining and fine-tuning heed each of them, or refuse it.

A new field of `TrainConfig` fails here until it is given another value than its default.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from mnist_lab.data.digit_set import DigitSet
from mnist_lab.data.normalisation import Normalisation
from mnist_lab.finetuning.masked import GuessHiddenPatches, make_autoencoder
from mnist_lab.finetuning.ways import WAYS, finetune
from mnist_lab.models.registry import build_model
from mnist_lab.training.augmentation import Augmentation
from mnist_lab.training.config import TrainConfig
from mnist_lab.training.runs import fit
from tests.finetuning.comparing import changed, state_of

# Another value for each field; beside it what else must be set for it to count.
OTHER: dict[str, tuple[Any, dict[str, Any]]] = {
    "epochs": (3, {}),
    "steps": (9, {}),
    "hardest_share": (0.5, {}),
    "upstrokes": (1.0, {}),
    "habits": (1.0, {}),
    "batch_size": (15, {}),
    "optimizer": ("sgd", {}),
    "learning_rate": (0.02, {}),
    "schedule": ("cosine", {}),
    "warm_up": (0.5, {}),
    "cool_down": (0.5, {"schedule": "wsd"}),
    "cycles": (2, {"schedule": "cyclic"}),
    "momentum": (0.5, {}),
    "adam_beta2": (0.9, {}),
    "adam_epsilon": (0.1, {}),
    "weight_decay": (0.5, {}),
    "l1_penalty": (0.1, {}),
    "label_smoothing": (0.2, {}),
    "clip_norm": (0.01, {"optimizer": "sgd"}),
    "average_decay": (0.5, {}),
    "precision": ("bfloat16", {}),
    "normalisation": (Normalisation(0.5, 0.5), {}),
    "augmentation": (Augmentation(shift=2), {}),
    "seed": (1, {}),
}
BASE = TrainConfig(epochs=2, batch_size=20)
NEED_LABELS = {"hardest_share", "upstrokes", "habits", "label_smoothing"}

each_field = pytest.mark.parametrize("name", [field.name for field in fields(TrainConfig)])


@pytest.fixture(scope="module")
def digits(small_sets: tuple[DigitSet, DigitSet]) -> DigitSet:
    return small_sets[0].subset(np.arange(60))


def pair(name: str) -> tuple[TrainConfig, TrainConfig]:
    """Return two configurations that differ in one field alone."""
    value, beside = OTHER[name]
    base = replace(BASE, **beside)
    assert getattr(base, name) != value
    return base, replace(base, **{name: value})


def pretrain(digits: DigitSet, config: TrainConfig) -> dict[str, Tensor]:
    encoder = build_model("vit", seed=0, width=8, depth=1, heads=2)
    model = make_autoencoder(encoder, seed=0, width=8)
    fit(
        model,
        digits,
        config=config,
        objective=GuessHiddenPatches(),
        device="cpu",
        progress=False,
    )
    return state_of(model)


@each_field
def test_in_pretraining(name: str, digits: DigitSet) -> None:
    base, other = pair(name)
    if name in NEED_LABELS:
        with pytest.raises(ValueError, match=rf"^{name} needs labels, .*: leave it at .*\.$"):
            pretrain(digits, other)
        return
    one, two = pretrain(digits, base), pretrain(digits, other)
    assert any(not one[key].equal(two[key]) for key in one)


@each_field
@pytest.mark.parametrize("way", WAYS)
def test_in_fine_tuning(name: str, way: str, digits: DigitSet) -> None:
    models = []
    for config in pair(name):
        models.append(build_model("small_cnn", seed=0, width=4))
        finetune(models[-1], digits, None, config, way=way, device="cpu", progress=False)
    assert changed(state_of(models[0]), models[1])
