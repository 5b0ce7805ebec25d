"""Train one preset from several seeds and score the mean of their probabilities once.

    python -m benchmarks.ensemble [--preset best] [--members 5]

About 40 minutes on one core.

Nothing is chosen: the members are seeds 0, 1, 2, ... of a preset that was chosen on validation
data, and they count equally. Their checkpoints stay in `_build/ensemble`, so a stopped run goes on.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from mnist_lab.data import DigitSet, load_mnist, split
from mnist_lab.lessons import summarise
from mnist_lab.training import PRESETS, Batches, Recipe, fit, logits_of

from .recording import Record, make_parser, read_arguments, without_defaults

CHECKPOINTS = Path(__file__).parents[1] / "_build" / "ensemble"


def train_members(
    preset: str, count: int, device: str = "cpu", folder: Path = CHECKPOINTS
) -> list[torch.nn.Module]:
    """Train what is not in `folder` yet; return the members in order of their seeds."""
    recipe = PRESETS[preset]
    train, validation = split(load_mnist().train, seed=0)
    members = []
    for seed in range(count):
        result = fit(
            recipe.model,
            train,
            validation,
            replace(recipe.config, seed=seed),
            arguments=recipe.arguments,
            device=device,
            folder=folder / f"{preset}_{seed}",
            resume=True,
        )
        members.append(result.model)
    return members


def configuration(preset: str, members: int) -> Recipe | dict[str, Any]:
    """Return what the first so many members are, for the ledger: one is the preset itself."""
    recipe = PRESETS[preset]
    return recipe if members == 1 else {"recipe": without_defaults(recipe), "members": members}


def accuracy_by_size(
    members: list[torch.nn.Module], digits: DigitSet, preset: str, device: str = "cpu"
) -> list[float]:
    """Return the accuracy of the first one, two, ... members together."""
    normalisation = PRESETS[preset].config.normalisation
    batches = Batches(digits, device=device, normalisation=normalisation)
    probabilities = torch.stack([logits_of(member, batches).softmax(1) for member in members])
    sizes = torch.arange(1, len(members) + 1)[:, None, None]
    together = (probabilities.cumsum(0) / sizes).argmax(2)  # (members, n)
    right = (together == batches.labels).double().mean(1)
    return [float(value) for value in right]


def main() -> None:
    """Train, score once, record."""
    parser = make_parser(__doc__, threads=1)
    parser.add_argument("--preset", default="best", choices=list(PRESETS))
    parser.add_argument("--members", type=int, default=5)
    arguments = read_arguments(parser)
    record = Record("ensemble", arguments, options=f"--preset {arguments.preset}", resume=False)
    preset = arguments.preset
    members = train_members(preset, arguments.members)
    mnist = load_mnist()
    validation = accuracy_by_size(members, split(mnist.train, seed=0)[1], preset)

    def test(some: list[torch.nn.Module]) -> float:
        return accuracy_by_size(some, mnist.test, preset)[-1]

    singles = [
        record.score_once(f"preset {preset}", configuration(preset, 1), seed, partial(test, [one]))
        for seed, one in enumerate(members)
    ]
    together = [
        record.score_once(
            f"ensemble of {size} x {preset}",
            configuration(preset, size),
            0,
            partial(test, members[:size]),
        )
        for size in range(2, len(members) + 1)
    ]
    accuracy = [singles[0], *together]
    record.parts["results"] = {
        "preset": preset,
        "members": len(members),
        "accuracy": accuracy[-1],
        "validation_accuracy": validation[-1],
        "accuracy_by_size": accuracy,
        "validation_accuracy_by_size": validation,
        "member_accuracy": summarise(singles),
    }
    record.save(record.results)


if __name__ == "__main__":
    main()
