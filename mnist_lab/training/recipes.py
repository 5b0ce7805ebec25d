"""Named recipes: the command line's presets, the pages' network, the three articles in two forms.

    from mnist_lab.training import PRESETS, ARTICLES

    recipe = PRESETS["standard"]
    fit(recipe.model, train, validation, recipe.config, arguments=recipe.arguments)

The presets were chosen on validation data; what they score is in `benchmarks/results/`. The
articles' recipes follow the listings of 000, 001 and 002 (article 001 is Keras: its optimizer's
epsilon and the way its weights start are Keras'). Where a listing cannot run, the least that makes
it run is changed, and the comment beside it says so.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from mnist_lab.data.normalisation import Normalisation
from mnist_lab.training.augmentation import Augmentation
from mnist_lab.training.config import TrainConfig


@dataclass(frozen=True)
class Recipe:
    """A network and how to train it.

    Attributes
    ----------
    model, arguments
        As for `models.build_model`.
    config : TrainConfig
    holds_out_validation : bool
        Whether 5,000 training images are set aside to choose the epoch on. The articles train on
        all 60,000.
    scores_in_eval_mode : bool
        False only for article 000 as printed, which forgets `eval()`.
    """

    model: str
    config: TrainConfig
    arguments: dict[str, Any] = field(default_factory=dict)
    holds_out_validation: bool = True
    scores_in_eval_mode: bool = True


# How writers vary without changing the digit.
_GENTLE = Augmentation(rotate=10, shift=1, scale=0.1, shear=5)

# As other people write, scan and photograph: finer and wider pens, larger, slanted and stretched
# digits, faint ink, black and white, noise. What it brings: `benchmarks/results/robustness.json`.
OTHER_HANDS = Augmentation(
    rotate=10,
    shift=1.5,
    scale=0.2,
    shear=8,
    elastic_strength=6,
    stroke=0.4,
    aspect=0.15,
    fill=0.1,
    sharpen=0.4,
    contrast=0.4,
    noise=40,
)
# Less of each, for a recipe that must lose nothing on MNIST.
_SOME_OTHER_HANDS = Augmentation(
    rotate=10,
    shift=1.2,
    scale=0.15,
    shear=6,
    stroke=0.3,
    aspect=0.1,
    fill=0.05,
    sharpen=0.3,
    contrast=0.3,
    noise=25,
)
# Of the ones. Without them, a network takes a one that has an upstroke for a seven.
UPSTROKES = 0.3

PRESETS = {
    # One pass over the hardest 30 % teaches nearly what one over all does, in a third of the time.
    # Chosen among its neighbours, seed by seed: `benchmarks/results/neighbours.json`.
    "fast": Recipe(
        "quick_cnn",
        TrainConfig(
            epochs=1, hardest_share=0.3, batch_size=64, learning_rate=0.017, label_smoothing=0.3
        ),
    ),
    # Twelve epochs give augmentation time to pay; _SOME_OTHER_HANDS rather than _GENTLE, as its
    # readers write otherwise than MNIST's did.
    "standard": Recipe(
        "small_cnn",
        TrainConfig(
            epochs=12,
            upstrokes=UPSTROKES,
            learning_rate=0.02,
            label_smoothing=0.1,
            augmentation=_SOME_OTHER_HANDS,
        ),
        {"width": 24},
    ),
    # Wider and longer, for MNIST alone.
    "best": Recipe(
        "small_cnn",
        TrainConfig(
            epochs=20,
            learning_rate=0.015,
            weight_decay=0.02,
            label_smoothing=0.1,
            augmentation=_GENTLE,
        ),
        {"width": 48},
    ),
}

# The network that the pages read drawings with; `make book` trains it.
PAGES = Recipe(
    "small_cnn",
    TrainConfig(
        epochs=7,
        upstrokes=UPSTROKES,
        learning_rate=0.02,
        label_smoothing=0.05,
        augmentation=OTHER_HANDS,
    ),
    {"width": 16},  # 120 kB, and a few milliseconds for a drawing
)


@dataclass(frozen=True)
class ArticleRecipe:
    """One article's recipe in both forms."""

    as_printed: Recipe
    corrected: Recipe


_ZERO_TO_ONE = Normalisation(mean=0.0, deviation=1.0)
_PLAIN_SGD = TrainConfig(
    epochs=1,
    batch_size=64,
    optimizer="sgd",
    learning_rate=0.001,
    momentum=0.9,
    schedule="constant",
)
_KERAS_ADAM = TrainConfig(
    epochs=5,
    batch_size=128,
    optimizer="adam",
    learning_rate=0.001,
    schedule="constant",
    adam_beta2=0.999,
    adam_epsilon=1e-7,
    normalisation=_ZERO_TO_ONE,
)
_TORCH_ADAM = TrainConfig(
    epochs=10,
    batch_size=64,
    optimizer="adam",
    learning_rate=0.001,
    schedule="constant",
    adam_beta2=0.999,  # torch's default, which the article leaves as it is
)

ARTICLES = {
    # As printed but for one line: `model.pth`, which it loads, does not exist, so it starts anew.
    "article_000": ArticleRecipe(
        Recipe(
            "article_000",
            replace(_PLAIN_SGD, normalisation=Normalisation(0.5, 0.5)),
            holds_out_validation=False,
            scores_in_eval_mode=False,
        ),
        Recipe("article_000", _PLAIN_SGD, {"corrected": True}),
    ),
    # A port from Keras; nothing in its training had to be corrected but the missing validation.
    "article_001": ArticleRecipe(
        Recipe("article_001", _KERAS_ADAM, holds_out_validation=False),
        Recipe("article_001", _KERAS_ADAM),
    ),
    # As printed but for one line: `device` is defined before it is used. Its "validation" set is
    # its training set, so nothing can be chosen on it.
    "article_002": ArticleRecipe(
        Recipe("article_002", _TORCH_ADAM, holds_out_validation=False),
        Recipe("article_002", _TORCH_ADAM),
    ),
}
