"""The configuration: each setting changes what happens, or is refused."""

from __future__ import annotations

import json
import math
from dataclasses import fields, replace
from typing import Any

import pytest
from torch import nn

from mnist_lab.data.normalisation import Normalisation
from mnist_lab.models.registry import build_model
from mnist_lab.training.augmentation import Augmentation
from mnist_lab.training.config import TrainConfig
from mnist_lab.training.loop import iter_epochs, start_training
from mnist_lab.training.runs import fit
from tests.training.small_runs import (
    EVERYTHING,
    Sets,
    make_tiny,
    same,
)


class TestConfig:
    @pytest.mark.parametrize(
        "wrong",
        [
            {"epochs": 0},
            {"steps": 0},
            {"upstrokes": -0.1},
            {"upstrokes": 1.1},
            {"habits": -0.1},
            {"habits": 1.1},
            {"adam_beta2": 1.0},
            {"hardest_share": 0.0},
            {"hardest_share": 1.5},
            {"batch_size": 0},
            {"learning_rate": 0.0},
            {"learning_rate": math.nan},
            {"learning_rate": math.inf},
            {"warm_up": 1.0},
            {"cool_down": -0.1},
            {"cool_down": 1.1},
            {"momentum": 1.0},
            {"momentum": -0.1},
            {"weight_decay": -1e-3},
            {"weight_decay": math.inf},
            {"label_smoothing": 1.0},
            {"clip_norm": 0.0},
            {"average_decay": 1.0},
            {"optimizer": "lion"},
            {"schedule": "sawtooth"},
            {"cycles": 0},
            {"precision": "float8"},
            {"l1_penalty": -1e-3},
            {"l1_penalty": math.inf},
            {"adam_epsilon": -1.0},
            {"seed": -1},
        ],
    )
    def test_refuses_what_cannot_be_with_a_sentence(self, wrong: dict[str, Any]) -> None:
        (name,) = wrong
        with pytest.raises(ValueError, match=rf"^{name} cannot be .*\.$"):
            TrainConfig(**wrong)

    def test_wsd_has_no_more_steps_to_rise_and_fall_than_there_are(self) -> None:
        with pytest.raises(ValueError, match=r"^cool_down cannot be 0\.6\.$"):
            TrainConfig(schedule="wsd", warm_up=0.5, cool_down=0.6)
        TrainConfig(schedule="cosine", warm_up=0.5, cool_down=0.6)  # where nothing rises

    def test_goes_through_json(self) -> None:
        record = json.loads(json.dumps(EVERYTHING.to_json(), allow_nan=False))
        assert record["augmentation"]["elastic_strength"] == 20
        assert record["normalisation"] == {"mean": 0.1307, "deviation": 0.3081}


# For each field: what else is set, and another value than the default. Whoever adds a field adds
# its case here, and then to the other ways to train (tests/finetuning).
OTHERWISE: dict[str, tuple[dict[str, Any], Any]] = {
    "epochs": ({}, 2),
    "steps": ({}, 12),
    "hardest_share": ({}, 0.5),
    "upstrokes": ({}, 1.0),
    "habits": ({}, 1.0),
    "batch_size": ({}, 32),
    "optimizer": ({}, "sgd"),
    "learning_rate": ({}, 0.02),
    "schedule": ({}, "constant"),
    "warm_up": ({}, 0.5),
    "cool_down": ({"schedule": "wsd"}, 0.5),
    "cycles": ({"schedule": "cyclic"}, 1),
    "momentum": ({}, 0.5),
    "adam_beta2": ({}, 0.9),
    "adam_epsilon": ({}, 0.1),
    "weight_decay": ({}, 0.5),
    "l1_penalty": ({}, 0.01),
    "label_smoothing": ({}, 0.2),
    "clip_norm": ({}, 0.01),
    "average_decay": ({}, 0.9),
    "precision": ({}, "bfloat16"),
    "normalisation": ({}, Normalisation(0.0, 1.0)),
    "augmentation": ({}, Augmentation(rotate=30)),
    "seed": ({}, 7),
}


class TestEveryFieldChangesWhatHappens:
    """No setting is ignored in silence, whoever runs the loop."""

    def by_fit(self, sets: Sets, config: TrainConfig) -> nn.Module:
        return fit(make_tiny(), *sets, config, device="cpu", progress=False).model

    def by_hand(self, sets: Sets, config: TrainConfig) -> nn.Module:
        state = start_training(make_tiny(), sets[0], config)
        for _ in iter_epochs(state, sets[1]):
            pass
        return state.scored_model

    def without_validation(self, sets: Sets, config: TrainConfig) -> nn.Module:
        return fit(make_tiny(), sets[0], config=config, device="cpu", progress=False).model

    @pytest.mark.parametrize("way", ["by_fit", "by_hand", "without_validation"])
    @pytest.mark.parametrize("name", [field.name for field in fields(TrainConfig)])
    def test_or_there_is_no_such_field(self, name: str, way: str, sets: Sets) -> None:
        also, value = OTHERWISE[name]
        # One epoch: nothing can be chosen, so that what differs is what was trained.
        plain = TrainConfig(**({"epochs": 1, "batch_size": 64} | also))
        changed = replace(plain, **{name: value})
        assert getattr(TrainConfig(), name) != value
        train = getattr(self, way)
        assert not same(train(sets, plain), train(sets, changed))

    def test_upstrokes_where_no_class_is_a_one_are_refused(self, sets: Sets) -> None:
        letters = replace(sets[0], class_names=tuple("abcdefghij"))
        with pytest.raises(ValueError, match="There are no ones among these classes"):
            start_training(make_tiny(), letters, TrainConfig(upstrokes=0.5))

    def test_a_model_built_for_another_normalisation_is_refused(self, sets: Sets) -> None:
        model = build_model("efficientnet_lite0", input_size=32)
        config = TrainConfig(normalisation=Normalisation(0.0, 1.0))
        with pytest.raises(ValueError, match="was built for images with Normalisation"):
            start_training(model, sets[0], config)

    def test_steps_are_whole_epochs_as_many_as_come_nearest(self) -> None:
        counts = [TrainConfig(steps=steps).count_epochs(4) for steps in (1, 5, 6, 7, 10, 11, 13)]
        assert counts == [1, 1, 2, 2, 2, 3, 3]
        assert TrainConfig(epochs=9).count_epochs(4) == 9
