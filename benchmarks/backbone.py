"""Fine-tune an ImageNet backbone on few digits, in several ways, against a small network.

    python -m benchmarks.backbone [--only full lora ...] [--labels 5000 ...] [--draws 5]

About 50 minutes on one core. What the record holds already is not repeated.
`--backbone resnet18` makes a record of its own, where the host of its weights can be reached.

Everything is measured on validation data; the test set is not looked at. Every rival gets the same
label draws, augmentation, batch size, number of steps and learning rates to try. The rate is chosen
on a draw that no reported run uses, for each number of labels apart. Seconds are the
processor's, of training alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from mnist_lab.data import DigitSet, few_labels, load_mnist, split
from mnist_lab.finetuning import (
    add_lora,
    cache_features,
    count_trainable,
    freeze,
    freeze_backbone,
    layerwise_groups,
    list_stages,
    train_probe,
    unfreeze,
)
from mnist_lab.models import build_model, count_parameters, load_backbone
from mnist_lab.training import Augmentation, Batches, TrainConfig, choose_device, evaluate, fit

from .recording import (
    DEVICES,
    Record,
    add,
    choose_rate,
    make_parser,
    measured,
    read_arguments,
    working_seconds,
)

METHODS = ("full", "lora", "small_cnn", "head", "top", "layerwise")
TOP_STAGES = 3  # the head, and the two stages before it: five of the 16 blocks
DECAY = 0.7  # of the layer-wise rates, from a stage to the one before it
RANK = 4
RATES = (0.001, 0.0025, 0.006, 0.015)
BATCH_SIZE = 32
STEPS = {100: 100, 1_000: 100, 5_000: 157}  # by the number of labels; 157: each digit once
SEARCHED = {100: 100, 1_000: 1_000, 5_000: 5_000}  # labels of the draw that the rate is from
SCORED = {100: 2_000, 1_000: 2_000, 5_000: 5_000}  # validation digits
SEARCH_SEED, SEARCH_SCORED = 100, 2_000
INPUT_SIZE = 64
SIZES = (32, 48, 64, 96, 112, 224)
SIZE_LABELS, SIZE_SCORED = 500, 1_000
AUGMENTATION = Augmentation(rotate=10, shift=1, scale=0.1, shear=5)
BACKBONE = "efficientnet_lite0"


def prepare(
    method: str, backbone: str, config: TrainConfig
) -> tuple[nn.Module, list[dict[str, Any]] | None]:
    """Return the network of a method, frozen where it says so, and its optimizer groups if any."""
    if method == "small_cnn":
        return build_model("small_cnn", seed=config.seed), None
    model = load_backbone(backbone, seed=config.seed, input_size=INPUT_SIZE)
    if method == "lora":
        add_lora(model, rank=RANK, seed=config.seed)
    if method == "head":
        freeze_backbone(model)
    if method == "top":
        freeze(model)
        unfreeze(model, *(name for stage in list_stages(model)[-TOP_STAGES:] for name in stage))
    groups = layerwise_groups(model, config, DECAY) if method == "layerwise" else None
    return model, groups


def run(
    method: str,
    rate: float,
    digits: DigitSet,
    held_out: Batches,
    *,
    steps: int,
    seed: int,
    backbone: str,
) -> tuple[float, float]:
    """Train once; return the accuracy after the last step and how long it took."""
    config = TrainConfig(
        steps=steps,
        batch_size=BATCH_SIZE,
        learning_rate=rate,
        augmentation=AUGMENTATION,
        seed=seed,
    )
    model, groups = prepare(method, backbone, config)
    device = str(held_out.device)
    started = working_seconds(device)
    fit(model, digits, config=config, groups=groups, device=device, progress=False)
    seconds = working_seconds(device) - started
    return evaluate(model, held_out).accuracy, seconds


def probe_at(size: int, digits: DigitSet, validation: DigitSet, backbone: str) -> dict[str, float]:
    """Return what a linear probe reads at an input size, and the milliseconds of a forward pass."""
    model = load_backbone(backbone, input_size=size)
    started = working_seconds()
    features, labels = cache_features(model, Batches(digits, 100))
    milliseconds = 1_000 * (working_seconds() - started) / len(digits)
    probe = train_probe(features, labels)
    held_out, truth = cache_features(model, Batches(validation, 100))
    with torch.no_grad():
        accuracy = float((probe(held_out).argmax(1) == truth).float().mean())
    return {"accuracy": accuracy, "milliseconds": milliseconds}


def probe_pixels(digits: DigitSet, validation: DigitSet) -> dict[str, float]:
    """Return what the same linear probe reads from the 784 pixels themselves."""
    (images, labels), (held_out, truth) = (
        next(iter(Batches(part, len(part)))) for part in (digits, validation)
    )
    probe = train_probe(images.flatten(1), labels)
    with torch.no_grad():
        accuracy = float((probe(held_out.flatten(1)).argmax(1) == truth).float().mean())
    return {"accuracy": accuracy}


def measure_sizes(record: Record, backbone: str, train: DigitSet, validation: DigitSet) -> None:
    """Measure linear probes: of the pixels, and of the backbone's features at every input size."""
    few = few_labels(train, SIZE_LABELS // 10, SEARCH_SEED)
    scored = validation.subset(np.arange(SIZE_SCORED))
    if "pixels" not in record.results:
        record.results["pixels"] = probe_pixels(few, scored)
        record.save("pixels", record.results["pixels"])
    table = record.entry("input_sizes")
    for size in SIZES:
        if str(size) not in table:
            table[str(size)] = probe_at(size, few, scored, backbone)
            record.save(size, table[str(size)])


def main() -> None:
    """Measure what the record lacks."""
    parser = make_parser(__doc__, draws=5, only=METHODS, devices=DEVICES, threads=1, anew=True)
    parser.add_argument("--labels", nargs="+", type=int, default=list(STEPS), choices=STEPS)
    parser.add_argument("--sizes", action="store_true", help="measure the input sizes instead")
    parser.add_argument("--backbone", default=BACKBONE)
    arguments = read_arguments(parser)
    train_part, validation = split(load_mnist().train, seed=0)
    device = choose_device(arguments.device)
    held_out = {
        count: Batches(validation.subset(np.arange(count)), 500, device=device)
        for count in {SEARCH_SCORED, *SCORED.values()}
    }
    setting = {
        "backbone": arguments.backbone,
        "input_size": INPUT_SIZE,
        "batch_size": BATCH_SIZE,
        "steps": {str(count): steps for count, steps in STEPS.items()},
        "rates": list(RATES),
        "search_scored": SEARCH_SCORED,
        "searched_on": {str(count): str(searched) for count, searched in SEARCHED.items()},
        "scored": {str(count): scored for count, scored in SCORED.items()},
        "rank": RANK,
        "decay": DECAY,
        "top_stages": TOP_STAGES,
        "size_labels": SIZE_LABELS,
        "size_scored": SIZE_SCORED,
    }
    other = arguments.backbone != BACKBONE
    record = Record(
        "backbone",
        arguments,
        {"setting": setting},
        variant=arguments.backbone if other else "",
        options=f"--backbone {arguments.backbone}" if other else "",
    )
    if arguments.sizes:
        measure_sizes(record, arguments.backbone, train_part, validation)
        return

    def find_rate(method: str, count: int) -> float:
        """Return the best rate for a method, after trying those that were not tried yet."""
        tried = record.entry(method, "search", count)
        for rate in RATES:
            if str(rate) not in tried:
                digits = few_labels(train_part, count // 10, SEARCH_SEED)
                tried[str(rate)], _ = run(
                    method,
                    rate,
                    digits,
                    held_out[SEARCH_SCORED],
                    steps=STEPS[count],
                    seed=SEARCH_SEED,
                    backbone=arguments.backbone,
                )
                record.save(method, "search", count, rate, tried[str(rate)])
        return choose_rate(tried)

    for method in arguments.only:
        model, _ = prepare(method, arguments.backbone, TrainConfig())
        entry = record.entry(method)
        entry["trainable"], entry["parameters"] = count_trainable(model), count_parameters(model)
    for seed in range(arguments.draws):
        for count in arguments.labels:
            for method in arguments.only:
                rate = find_rate(method, SEARCHED[count])
                curve = record.entry(method, "curve", count)
                if measured(curve, "accuracy") > seed:
                    continue
                accuracy, seconds = run(
                    method,
                    rate,
                    few_labels(train_part, count // 10, seed),
                    held_out[SCORED[count]],
                    steps=STEPS[count],
                    seed=seed,
                    backbone=arguments.backbone,
                )
                curve["learning_rate"] = rate
                add(curve, "accuracy", accuracy)
                add(curve, "seconds", seconds)
                record.save(method, count, "labels, draw", seed, rate, accuracy, f"{seconds:.0f} s")


if __name__ == "__main__":
    main()
