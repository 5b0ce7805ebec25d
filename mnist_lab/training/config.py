"""How to train: one frozen configuration, each default with its reason."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from mnist_lab.data.normalisation import MNIST_NORMALISATION, Normalisation
from mnist_lab.training.augmentation import Augmentation

Precision = Literal["float32", "bfloat16", "float16"]
Schedule = Literal["constant", "exponential", "cosine", "cyclic", "one_cycle", "wsd"]


@dataclass(frozen=True)
class TrainConfig:
    """How to train. Each default has its reason beside it."""

    epochs: int = 3
    steps: int | None = None  # train for about so many, in whole epochs: where digits are few
    hardest_share: float = 1.0  # train on this share of the digits: a proxy's hardest; 1: on all
    upstrokes: float = 0.0  # this share of the ones gets an upstroke, as many hands write them
    habits: float = 0.0  # this share of the 1s, 4s, 7s and 9s is written as elsewhere
    batch_size: int = 128  # small enough to learn much per epoch, large enough for fast matrices
    optimizer: Literal["sgd", "adam", "adamw"] = "adamw"  # needs the least tuning
    learning_rate: float = 0.01  # the peak; one-cycle bears more than a constant rate does
    schedule: Schedule = "one_cycle"
    warm_up: float = 0.25  # share of the steps in which one-cycle and wsd rise
    cool_down: float = 0.2  # share of the steps in which wsd falls, at the end
    cycles: int = 3  # how often the cyclic schedule rises and falls
    momentum: float = 0.9  # SGD's momentum, Adam's first beta
    # Adam's second beta. A run here has some hundred steps, in which the rate rises and falls: an
    # average over the last 100 squares follows that, one over 1,000 (0.999, torch's) lags behind.
    adam_beta2: float = 0.99
    adam_epsilon: float = 1e-8  # torch's default; Keras has 1e-7
    weight_decay: float = 0.0  # on matrices and kernels, not on biases, norms and positions
    l1_penalty: float = 0.0  # times the sum of the same weights' absolute values, in the loss
    label_smoothing: float = 0.0
    clip_norm: float | None = None  # largest norm of the whole gradient; None: no clipping
    average_decay: float = 0.0  # of an exponential average of the weights; 0: none
    # Of the products; weights are float32. `batches.choose_half` says which half a device is made
    # for. With float16, which is for GPUs alone, the loss is scaled: small gradients would be 0.
    precision: Precision = "float32"
    normalisation: Normalisation = MNIST_NORMALISATION
    augmentation: Augmentation | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        checks = {
            "epochs": self.epochs >= 1,
            "steps": self.steps is None or self.steps >= 1,
            "hardest_share": 0 < self.hardest_share <= 1,
            "upstrokes": 0 <= self.upstrokes <= 1,
            "habits": 0 <= self.habits <= 1,
            "batch_size": self.batch_size >= 1,
            "learning_rate": 0 < self.learning_rate < math.inf,
            "warm_up": 0 <= self.warm_up < 1,
            "cool_down": 0 <= self.cool_down <= 1
            and (self.schedule != "wsd" or self.warm_up + self.cool_down <= 1),
            "momentum": 0 <= self.momentum < 1,
            "adam_beta2": 0 <= self.adam_beta2 < 1,
            "adam_epsilon": 0 < self.adam_epsilon < math.inf,
            "weight_decay": 0 <= self.weight_decay < math.inf,
            "l1_penalty": 0 <= self.l1_penalty < math.inf,
            "label_smoothing": 0 <= self.label_smoothing < 1,
            "clip_norm": self.clip_norm is None or self.clip_norm > 0,
            "average_decay": 0 <= self.average_decay < 1,
            "optimizer": self.optimizer in ("sgd", "adam", "adamw"),
            "schedule": self.schedule in get_args(Schedule),
            "cycles": self.cycles >= 1,
            "precision": self.precision in get_args(Precision),
            "seed": self.seed >= 0,
        }
        for name, right in checks.items():
            if not right:
                raise ValueError(f"{name} cannot be {getattr(self, name)!r}.")

    def count_epochs(self, batches: int) -> int:
        """Return how many epochs of so many batches are trained: `steps` decides if it is given."""
        return self.epochs if self.steps is None else max(1, round(self.steps / batches))

    def to_json(self) -> dict[str, Any]:
        """Return the configuration as JSON can hold it."""
        return asdict(self)
