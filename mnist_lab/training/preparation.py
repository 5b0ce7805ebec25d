"""What is done to the digits before training: some are written otherwise, the plain ones left out.

    digits = prepare_digits(train, PRESETS["standard"].config)

`loop.start_training` does it, so whoever trains need not; it is here to be looked at.
"""

from __future__ import annotations

import numpy as np
import torch

from mnist_lab.data.digit_set import DigitSet
from mnist_lab.data.habits import add_habits, add_upstrokes
from mnist_lab.training.config import TrainConfig
from mnist_lab.training.processes import ALONE, Ranks
from mnist_lab.training.selection import count_hardest, find_hardest


def prepare_digits(
    digits: DigitSet,
    config: TrainConfig,
    device: str | torch.device = "cpu",
    ranks: Ranks = ALONE,
) -> DigitSet:
    """Return the digits that a configuration trains on: habits added, the `hardest_share`.

    Parameters
    ----------
    digits : DigitSet
    config : TrainConfig
    device : str or torch.device
        Where the proxy that finds the hardest digits is trained.
    ranks : Ranks
        One process chooses for all: each by itself might round otherwise.

    Raises
    ------
    ValueError
        If there are to be upstrokes, and no class is called "1".
    """
    # Always the same ones: a seed says how to train, and not on what.
    if config.habits:  # first: a closed 4 is drawn on a plain 1
        digits = add_habits(digits, config.habits, seed=0)
    if config.upstrokes:
        digits = add_upstrokes(digits, config.upstrokes, seed=0)
    if config.hardest_share == 1:
        return digits
    chosen = ranks.from_first(
        lambda: find_hardest(digits, config.hardest_share, config.seed, device).tolist(),
        count_hardest(len(digits), config.hardest_share),
    )
    return digits.subset(np.array(chosen, dtype=np.int64))
