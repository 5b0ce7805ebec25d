"""Train the command line's presets over seeds and score each run once on the test set.

    python -m benchmarks.presets [--only fast ...] [--seeds 5]

The presets were chosen on validation data. A run that the record holds already is not repeated, so
that no recipe gets a second look at the test set; a preset that has been changed since its runs
were recorded starts anew.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, replace
from typing import Any

from benchmarks.recording import RESULTS, describe_run, log_test_look, write_record
from mnist_lab.data import load_mnist, split
from mnist_lab.lessons import summarise
from mnist_lab.models import build_model, count_parameters
from mnist_lab.training import PRESETS, Batches, Recipe, TrainConfig, evaluate, fit


def is_recipe(recorded: dict[str, Any] | None, recipe: Recipe) -> bool:
    """Tell whether a record is of this very recipe; settings that came later had their default."""
    if recorded is None:
        return False
    defaults = json.loads(json.dumps(asdict(TrainConfig())))
    described = json.loads(json.dumps(asdict(recipe)))
    config = {**defaults, **recorded["config"]}
    return bool({"upstrokes": 0.0, **recorded, "config": config} == described)


def main() -> None:
    """Measure what the record lacks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", nargs="+", default=list(PRESETS), choices=list(PRESETS))
    arguments = parser.parse_args()
    command = "python -m benchmarks.presets"
    path = RESULTS / "presets.json"
    results: dict[str, Any] = json.loads(path.read_text())["results"] if path.exists() else {}
    mnist = load_mnist()
    train, validation = split(mnist.train, seed=0)
    for name in arguments.only:
        recipe = PRESETS[name]
        entry = results.get(name, {})
        if not is_recipe(entry.get("recipe"), recipe):
            entry = results[name] = {"recipe": json.loads(json.dumps(asdict(recipe)))}
        for seed in range(len(entry.get("accuracy", {}).get("values", [])), arguments.seeds):
            config = replace(recipe.config, seed=seed)
            taught = recipe.prepare(train)
            run = fit(recipe.model, taught, validation, config, arguments=recipe.arguments)
            test = evaluate(run.model, Batches(mnist.test, normalisation=config.normalisation))
            figures = {
                "accuracy": test.accuracy,
                "validation_accuracy": run.best.validation.accuracy,
                "seconds": run.seconds,
            }
            print(name, seed, figures, flush=True)
            for key, value in figures.items():
                entry[key] = summarise([*entry.get(key, {}).get("values", []), value])
            entry["epochs"] = config.epochs
            entry["parameters"] = count_parameters(build_model(recipe.model, **recipe.arguments))
            entry["measured"] = describe_run(command)
            write_record("presets", {**describe_run(command), "results": results})
            log_test_look(f"preset {name}", seed, test.accuracy, command)


if __name__ == "__main__":
    main()
