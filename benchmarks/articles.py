"""Train the three articles' networks, as printed and corrected, over seeds.

    python -m benchmarks.articles [--seeds 5] [--only article_000 ...] [--device cuda]

About 70 minutes on one core. What the record holds already is not repeated.

As printed, a recipe trains on all 60,000 images and takes what the last step leaves. Corrected, it
holds 5,000 out, keeps the epoch that is best on them, and is scored in eval mode. Either way the
test set is scored once, after the last step. The record is written after every run, so that an
interrupted measurement loses one run at most.
"""

from __future__ import annotations

from dataclasses import replace

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

from .recording import DEVICES, Record, add, make_parser, measured, read_arguments

FORMS = ("as_printed", "corrected")


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
                recipe: Recipe = getattr(ARTICLES[name], form)
                entry = record.entry(name, form)
                if measured(entry, "accuracy") > seed:
                    continue
                figures = run_once(recipe, mnist, seed, record.device)
                for key, value in figures.items():
                    add(entry, key, value)
                entry["epochs"] = recipe.config.epochs
                entry["parameters"] = count_parameters(
                    build_model(recipe.model, **recipe.arguments)
                )
                record.save(name, form, seed, figures)
                record.log_test_look(f"{name} {form}", recipe, seed, figures["accuracy"])
                if not recipe.scores_in_eval_mode:
                    in_eval_mode = replace(recipe, scores_in_eval_mode=True)
                    accuracy = figures["accuracy_with_eval"]
                    record.log_test_look(f"{name} {form}, eval mode", in_eval_mode, seed, accuracy)


if __name__ == "__main__":
    main()
