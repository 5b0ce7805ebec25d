"""The learning rate as a pure function of the step."""

from __future__ import annotations

import math

from mnist_lab.training.config import TrainConfig


def learning_rate_at(step: int, total_steps: int, config: TrainConfig) -> float:
    """Return the learning rate of a step (from 0): a pure function.

    Exponential falls by the same factor at every step, to a hundredth; cosine along half a wave to
    nearly 0; cyclic goes up and down `cycles` times between a tenth of the rate and the whole;
    one-cycle rises on a line for `warm_up` of the steps and then falls as cosine does; wsd, which
    is warm-up, stable, decay (Hu and others, 2024, https://arxiv.org/abs/2404.06395), rises
    likewise, stays, and falls in the last `cool_down` of the steps, here on a line to nearly 0.
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
        case "wsd":
            if progress < config.warm_up:
                return rate * progress / config.warm_up
            if progress <= 1 - config.cool_down:
                return rate
            return rate * (1 - progress) / config.cool_down


def _half_cosine(rate: float, progress: float) -> float:
    """Fall from `rate` to 0 along half a wave while `progress` goes from 0 to 1."""
    return rate * 0.5 * (1 + math.cos(math.pi * progress))
