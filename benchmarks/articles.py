"""Train the three articles' networks, as printed, corrected and as promised, over seeds.

    python -m benchmarks.articles [--seeds 5] [--only article_000 ...] [--device cuda]

About 100 minutes on one core. What the record holds already is not repeated.

As printed, a recipe trains on all 60,000 images and takes what the last step leaves. Corrected, it
holds 5,000 out, keeps the epoch that is best on them, and is scored in eval mode. As promised, it
does what the article's prose announces (`promised`). In every form the test set is scored once,
after the last step. The record is written after every run, so that an interrupted measurement loses
one run at most.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import nn

from mnist_lab.data import MNIST, load_mnist, split
from mnist_lab.models import build_model, count_parameters
from mnist_lab.training import (
    ARTICLES,
    Batches,
    Recipe,
    evaluate,
    fit,
    score_as_is,
)

from . import promised
from .recording import DEVICES, Record, add, make_parser, measured, read_arguments

FORMS = ("as_printed", "corrected", "as_promised")


def run_once(recipe: Recipe, mnist: MNIST, seed: int, device: str) -> dict[str, float]:
    """Train a recipe from one seed and score it once on the test set."""
    config = replace(recipe.config, seed=seed)
    test = Batches(mnist.test, device=device, normalisation=config.normalisation)
    train, validation = mnist.train, None
    if recipe.holds_out_validation:
        train, validation = split(mnist.train, seed)
    run = fit(
        recipe.model,
        train,
        validation,
        config,
        arguments=recipe.arguments,
        device=device,
    )
    score = evaluate(run.model, test)
    if recipe.scores_in_eval_mode:
        return {"accuracy": score.accuracy, "loss": score.loss, "seconds": run.seconds}
    # Article 000 scores with dropout on; the same weights in eval mode show what that costs.
    printed = score_as_is(run.model.train(), test)
    return {
        "accuracy": printed.accuracy,
        "loss": printed.loss,
        "seconds": run.seconds,
        "accuracy_with_eval": score.accuracy,
    }


def run_form(
    name: str, form: str, mnist: MNIST, seed: int, device: str, found: Mapping[str, Any]
) -> dict[str, float]:
    """Train an article in one of its forms; `found` holds the rates that a search has chosen."""
    if form == "as_promised":
        return promised.KEPT[name](mnist, seed, device, found)
    return run_once(getattr(ARTICLES[name], form), mnist, seed, device)


def describe(name: str, form: str, found: Mapping[str, Any]) -> Any:
    """Return all that decides how a form trains, for the ledger."""
    if form == "as_promised":
        return promised.configuration(name, found)
    return getattr(ARTICLES[name], form)


def build(name: str, form: str) -> nn.Module:
    """Return the network of a form, untrained."""
    recipe = promised.PROMISES[name] if form == "as_promised" else getattr(ARTICLES[name], form)
    return build_model(recipe.model, **recipe.arguments)


def main() -> None:
    """Measure what the record lacks."""
    parser = make_parser(__doc__, seeds=5, only=ARTICLES, devices=DEVICES, threads=1)
    parser.add_argument("--forms", nargs="+", default=list(FORMS), choices=FORMS)
    arguments = read_arguments(parser)
    record = Record("articles", arguments)
    mnist = load_mnist()
    for seed in range(arguments.seeds):
        for form in arguments.forms:
            for name in arguments.only:
                measure(record, name, form, seed, mnist)


def measure(record: Record, name: str, form: str, seed: int, mnist: MNIST) -> None:
    """Train one form from one seed, unless the record has it, and write down what it scores."""
    entry = record.entry(name, form)
    if measured(entry, "accuracy") > seed:
        return
    if form == "as_promised" and "epochs" not in entry:
        entry |= promised.find_rates(name, mnist, record.device)
    figures = run_form(name, form, mnist, seed, record.device, entry)
    for key, value in figures.items():
        add(entry, key, value)
    if form == "as_promised":
        entry["epochs"] = promised.count_epochs(name)
    else:
        entry["epochs"] = getattr(ARTICLES[name], form).config.epochs
    entry["parameters"] = count_parameters(build(name, form))
    record.save(name, form, seed, figures)
    how = describe(name, form, entry)
    record.log_test_look(f"{name} {form}", how, seed, figures["accuracy"])
    if "accuracy_with_eval" in figures:
        in_eval_mode = replace(how, scores_in_eval_mode=True)
        accuracy = figures["accuracy_with_eval"]
        record.log_test_look(f"{name} {form}, eval mode", in_eval_mode, seed, accuracy)


if __name__ == "__main__":
    main()
