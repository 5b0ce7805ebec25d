"""One process against two with the same global batch: what changes, and how long it takes.

    python -m benchmarks.distributed [--seeds 3] [--epochs 1] [--digits 55000]

About 6 minutes on two idle cores.

`small_cnn` has batch norm, which sees only a process's own piece of a batch; the multi-layer
perceptron has none, so its weights must agree within rounding, which grows with the steps. Both are
scored on validation data. Two processes with a thread each are timed against one with one thread
and one with two, which is the other way to use two cores; the runs take turns. The processes of a
run are this script, started by torchrun.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mnist_lab.data import load_mnist, split
from mnist_lab.lessons import summarise
from mnist_lab.training import TrainConfig, fit, join, load_checkpoint

from .recording import Record, make_parser, read_arguments

NETWORKS: dict[str, tuple[str, dict[str, Any], TrainConfig]] = {
    "small_cnn": ("small_cnn", {}, TrainConfig(learning_rate=0.02)),
    # Plain SGD keeps differences of rounding as small as they are; Adam would divide them by the
    # size of the gradient.
    "mlp": ("mlp", {}, TrainConfig(optimizer="sgd", learning_rate=0.1)),
}
# Rounding grows from step to step, so the perceptron is compared after a few of them as well.
FIRST_STEPS = 50
# name: (processes, threads of each)
WAYS = {"one": (1, 1), "one_with_two_threads": (1, 2), "two": (2, 1)}


def train_one(name: str, seed: int, epochs: int, digits: int, folder: Path) -> None:
    """Train as one of the processes; the first writes the checkpoint and the figures."""
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    train, validation = split(load_mnist().train, seed=0)
    train = train.subset(np.arange(min(digits, len(train))))
    model, arguments, config = NETWORKS[name]
    config = replace(config, seed=seed, epochs=epochs)
    with join(torch.device("cpu")) as ranks:
        run = fit(
            model,
            train,
            validation,
            config,
            arguments=arguments,
            folder=folder,
            progress=False,
            ranks=ranks,
        )
    if ranks.first:
        figures = {"accuracy": run.best.validation.accuracy, "seconds": run.seconds}
        (folder / "figures.json").write_text(json.dumps(figures), encoding="utf-8")


def start(way: str, name: str, seed: int, options: argparse.Namespace, folder: Path) -> Any:
    """Run in one of the ways and return the figures."""
    processes, threads = WAYS[way]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += [f"--nproc_per_node={processes}", "-m", f"{__package__}.distributed"]
    command += [f"--epochs={options.epochs}", f"--digits={options.digits}"]
    command += [f"--network={name}", f"--seed={seed}", f"--folder={folder}"]
    limits = {"OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads)}
    subprocess.run(command, check=True, env=os.environ | limits)
    return json.loads((folder / "figures.json").read_text(encoding="utf-8"))


def largest_difference(one: Path, two: Path) -> float:
    """Return the largest difference between the weights of two checkpoints."""
    ours, theirs = (dict(load_checkpoint(folder)[0].named_parameters()) for folder in (one, two))
    return max(float((ours[key] - theirs[key]).abs().max()) for key in ours)


def compare(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Train one network over the seeds in all ways."""
    runs: dict[str, list[Any]] = {way: [] for way in WAYS}
    weights = []
    for seed in range(options.seeds):
        with tempfile.TemporaryDirectory() as root:
            for way in WAYS:
                runs[way].append(start(way, name, seed, options, Path(root) / way))
                print(name, seed, way, runs[way][-1], flush=True)
            weights.append(largest_difference(Path(root) / "one", Path(root) / "two"))
    pairs = zip(runs["one"], runs["two"], strict=True)
    differences = [two["accuracy"] - one["accuracy"] for one, two in pairs]
    seconds = {way: [run["seconds"] for run in found] for way, found in runs.items()}
    fastest = min(statistics.median(seconds[way]) for way in ("one", "one_with_two_threads"))
    return {
        "batch_size": NETWORKS[name][2].batch_size,
        "accuracy": {way: summarise([run["accuracy"] for run in runs[way]]) for way in WAYS},
        "accuracy_difference": summarise(differences),
        "largest_accuracy_difference": max(map(abs, differences)),
        "largest_weight_difference": max(weights),
        "seconds": {way: summarise(seconds[way]) for way in WAYS},
        "speed_up_over_one": statistics.median(seconds["one"]) / statistics.median(seconds["two"]),
        "speed_up_over_the_better_one": fastest / statistics.median(seconds["two"]),
    }


def main() -> None:
    """Start the runs and write the record; or, started by torchrun, be one process of a run."""
    parser = make_parser(__doc__, seeds=3)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--digits", type=int, default=55_000, help="how many to train on")
    parser.add_argument("--network", choices=list(NETWORKS), help="set by the script itself")
    parser.add_argument("--seed", type=int, help="set by the script itself")
    parser.add_argument("--folder", type=Path, help="set by the script itself")
    options = read_arguments(parser)
    if options.network:
        train_one(options.network, options.seed, options.epochs, options.digits, options.folder)
        return
    torch.set_num_threads(1)
    settings = {name: getattr(options, name) for name in ("seeds", "epochs", "digits")}
    record = Record("distributed", options, settings, resume=False)
    record.results.update({name: compare(name, options) for name in NETWORKS})
    first = argparse.Namespace(**{**vars(options), "digits": FIRST_STEPS * 128})
    record.results["mlp_first_steps"] = {"steps": FIRST_STEPS, **compare("mlp", first)}
    record.save()


if __name__ == "__main__":
    main()
