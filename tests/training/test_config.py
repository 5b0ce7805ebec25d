"""The configuration: each setting changes what happens, or is refused."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from mnist_lab.training.config import TrainConfig
from tests.training.small_runs import (
    EVERYTHING,
)


class TestConfig:
    @pytest.mark.parametrize(
        "wrong",
        [
            {"epochs": 0},
            {"steps": 0},
            {"upstrokes": -0.1},
            {"upstrokes": 1.1},
            {"adam_beta2": 1.0},
            {"hardest_share": 0.0},
            {"hardest_share": 1.5},
            {"batch_size": 0},
            {"learning_rate": 0.0},
            {"learning_rate": math.nan},
            {"learning_rate": math.inf},
            {"warm_up": 1.0},
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
            {"precision": "float16"},
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

    def test_goes_through_json(self) -> None:
        record = json.loads(json.dumps(EVERYTHING.to_json(), allow_nan=False))
        assert record["augmentation"]["elastic_strength"] == 20
        assert record["normalisation"] == {"mean": 0.1307, "deviation": 0.3081}
