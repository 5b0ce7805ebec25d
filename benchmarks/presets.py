"""Train the command line's presets over seeds and score each run once on the test set.

    python -m benchmarks.presets [--only fast ...] [--seeds 5] [--device cuda] [--again]

About 35 minutes on two cores.

The presets were chosen on validation data. A run that the record holds already is not repeated; a
preset that has been changed since its runs were recorded starts anew. With --again all starts anew,
as when the seconds of a busy machine are to be replaced. No recipe gets a second look at the test
set: a score that the ledger has is taken from there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from mnist_lab.data import MNIST, load_mnist, split
from mnist_lab.models import build_model, count_parameters
from mnist_lab.training import PRESETS, Batches, Recipe, evaluate, fit

from .recording import (
    DEVICES,
    Record,
    add,
    as_json,
    describes,
    make_parser,
    measured,
    read_arguments,
)

Look = Callable[[Callable[[], float]], float]


def is_recipe(recorded: dict[str, Any] | None, recipe: Recipe) -> bool:
    """Tell whether a record is of this very recipe.

    In records of before December 2026 the share of upstrokes stands beside the configuration.
    """
    if recorded is not None and "upstrokes" in recorded:
        rest = {key: value for key, value in recorded.items() if key != "upstrokes"}
        recorded = {**rest, "config": {**rest["config"], "upstrokes": recorded["upstrokes"]}}
    return describes(recorded, recipe)


def run_once(
    recipe: Recipe, mnist: MNIST, seed: int, device: str, look: Look | None = None
) -> dict[str, float]:
    """Train a recipe from one seed, choose its epoch, and score it once on the test set.

    Parameters
    ----------
    recipe, mnist, seed, device
    look : function of a function that scores, optional
        Scores, unless it knows the score already.
    """
    config = replace(recipe.config, seed=seed)
    train, validation = split(mnist.train, seed=0)
    run = fit(recipe.model, train, validation, config, arguments=recipe.arguments, device=device)

    def score() -> float:
        test = Batches(mnist.test, device=device, normalisation=config.normalisation)
        return evaluate(run.model, test).accuracy

    return {
        "accuracy": look(score) if look else score(),
        "validation_accuracy": run.best.validation.accuracy,
        "seconds": run.seconds,
    }


def main() -> None:
    """Measure what the record lacks."""
    parser = make_parser(__doc__, seeds=5, only=PRESETS, devices=DEVICES)
    parser.add_argument("--again", action="store_true", help="train anew what the record holds")
    arguments = read_arguments(parser)
    record = Record("presets", arguments)
    mnist = load_mnist()
    for name in arguments.only:
        recipe = PRESETS[name]
        entry = record.entry(name)
        if arguments.again or not is_recipe(entry.get("recipe"), recipe):
            entry.clear()
            entry["recipe"] = as_json(recipe)
        for seed in range(measured(entry, "accuracy"), arguments.seeds):
            look = partial(record.score_once, f"preset {name}", recipe, seed)
            figures = run_once(recipe, mnist, seed, record.device, look)
            for key, value in figures.items():
                add(entry, key, value)
            entry["epochs"] = recipe.config.epochs
            entry["parameters"] = count_parameters(build_model(recipe.model, **recipe.arguments))
            entry["measured"] = record.describe()
            record.save(name, seed, figures)


if __name__ == "__main__":
    main()
