"""Every architecture of the book. Each takes (n, 1, 28, 28) and returns raw logits (n, 10).

    from mnist_lab.models import build_model

    model = build_model("small_cnn", seed=0)

The one exception is article 000's network as printed, which returns log-probabilities. `stages`
names a model's parts from input to head, for `finetuning`; the head is called `output`. The three
articles' networks follow the listings of 000, 001 and 002; where a listing has a defect there is a
corrected form beside the printed one, with as many parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from mnist_lab.models.articles import Article000, Article001, Article002
from mnist_lab.models.basic import MLP, Linear, SmallCNN
from mnist_lab.models.lstm import LSTM
from mnist_lab.models.resnet import ResNet
from mnist_lab.models.vit import VisionTransformer

MODELS: dict[str, Callable[..., nn.Module]] = {
    "linear": Linear,
    "mlp": MLP,
    "small_cnn": SmallCNN,
    "resnet": ResNet,
    "article_000": Article000,
    "article_001": Article001,
    "article_002": Article002,
    "lstm": LSTM,
    "vit": VisionTransformer,
}


def build_model(name: str, *, seed: int = 0, **arguments: Any) -> nn.Module:
    """Build the model called `name`, its first weights drawn from `seed` alone.

    Parameters
    ----------
    name : str
        A key of `MODELS`.
    seed : int
        Same seed, same weights; torch's global generator is left as it was.
    **arguments
        Passed to the class, such as `width=32` for "small_cnn".

    Raises
    ------
    ValueError
        If there is no such model or it takes no such argument.
    """
    if name not in MODELS:
        raise ValueError(f"No model {name!r}; there are {', '.join(sorted(MODELS))}.")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            return MODELS[name](**arguments)
        except (TypeError, RuntimeError) as error:  # RuntimeError: torch on a width of -1
            raise ValueError(f"{name} cannot be built with {arguments}: {error}.") from error


def count_parameters(model: nn.Module) -> int:
    """Return how many numbers the model learns."""
    return sum(parameter.numel() for parameter in model.parameters())


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Switch to eval mode; restore the mode of every part after."""
    modes = {part: part.training for part in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for part, training in modes.items():
            part.training = training
