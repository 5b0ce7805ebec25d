"""Fine-tune an ImageNet backbone on few digits, in several ways, against a small network.

    python -m benchmarks.backbone [--only full lora ...] [--labels 5000 ...] [--draws 5]

About 150 minutes on one core. What the record holds already is not repeated.
`--backbone resnet18` makes a record of its own, where the host of its weights can be reached.

Everything is measured on validation data; the test set is not looked at. Every rival gets the same
label draws, augmentation, batch size, number of steps and learning rates to try. The rate is chosen
on a draw that no reported run uses, for each number of labels apart: four rates first, and further
ones as long as the best lies at an end of what was tried. Seconds are the processor's, of training
alone.

`logistic` and `nearest_mean` take no steps: they are fitted to the features of the backbone until
nothing changes any more, as these come or, with `_scaled`, after each was given a mean of 0 and a
deviation of 1. In place of a rate logistic regression has scikit-learn's C, the inverse of the
penalty's strength; the nearest mean of a class has nothing to choose.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
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
    find_best,
    make_parser,
    measured,
    read_arguments,
    working_seconds,
)

TRAINED = (
    "full",
    "full_frozen_norms",  # the control: what is left of LoRA's lead if no statistics move
    "lora",
    "lora_free_norms",
    "small_cnn",
    "head",
    "top",
    "layerwise",
)
NEAREST = ("nearest_mean", "nearest_mean_scaled")
FITTED = ("logistic", "logistic_scaled", *NEAREST)  # to features, until nothing changes
METHODS = (*TRAINED, *FITTED)
TOP_STAGES = 3  # the head, and the two stages before it: five of the 16 blocks
DECAY = 0.7  # of the layer-wise rates, from a stage to the one before it
RANK = 4
RATES = (0.0001, 0.0003, 0.001, 0.0025, 0.006, 0.015, 0.04, 0.1)
# C of logistic regression.
PENALTIES = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
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
    norms = [name for name, part in model.named_modules() if isinstance(part, nn.BatchNorm2d)]
    if method == "full_frozen_norms":
        freeze(model, *norms)
    if method in ("lora", "lora_free_norms"):
        add_lora(model, rank=RANK, seed=config.seed)
    if method == "lora_free_norms":
        unfreeze(model, *norms)
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


def fit_to_features(
    method: str, strength: float, features: NDArray[np.float32], labels: NDArray[np.int64]
) -> Pipeline:
    """Return a classifier of features (n, width) that was fitted until nothing changes any more."""
    scaler = StandardScaler() if method.endswith("_scaled") else FunctionTransformer()
    inputs = scaler.fit_transform(features)
    if method in NEAREST:
        classes = np.unique(labels)
        means = np.stack([inputs[labels == each].mean(0) for each in classes])
        return make_pipeline(scaler, KNeighborsClassifier(1).fit(means, classes))
    last = LogisticRegression(C=strength, max_iter=5_000)
    return make_pipeline(scaler, last.fit(inputs, labels))


class Features:
    """The features of digits, which a frozen backbone gives once and for all."""

    def __init__(self, backbone: str, device: str) -> None:
        self.model = load_backbone(backbone, input_size=INPUT_SIZE).to(device)
        self.device = device
        self._of_held_out: dict[int, tuple[NDArray[np.float32], NDArray[np.int64]]] = {}

    def of(self, batches: Batches) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return features (n, width) and labels (n,)."""
        features, labels = cache_features(self.model, batches)
        return features.cpu().numpy(), labels.cpu().numpy()

    def fit_and_score(
        self, method: str, strength: float, digits: DigitSet, held_out: Batches
    ) -> tuple[float, float]:
        """Fit once; return the accuracy and how long features and fitting took."""
        started = working_seconds(self.device)
        classifier = fit_to_features(
            method, strength, *self.of(Batches(digits, 100, device=self.device))
        )
        seconds = working_seconds(self.device) - started
        key = id(held_out)
        if key not in self._of_held_out:
            self._of_held_out[key] = self.of(held_out)
        return float(classifier.score(*self._of_held_out[key])), seconds


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
    parser = make_parser(__doc__, draws=10, only=METHODS, devices=DEVICES, threads=1, anew=True)
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
        "penalties": list(PENALTIES),
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

    features = Features(arguments.backbone, str(device))

    def run_or_fit(
        method: str, rate: float, digits: DigitSet, scored: Batches, steps: int, seed: int
    ) -> tuple[float, float]:
        if method in FITTED:
            return features.fit_and_score(method, rate, digits, scored)
        return run(
            method, rate, digits, scored, steps=steps, seed=seed, backbone=arguments.backbone
        )

    def find_rate(method: str, count: int) -> float:
        """Return the best rate for a method, after trying those that have to be tried yet."""
        if method in NEAREST:
            return 0.0

        def score(rate: float) -> float:
            digits = few_labels(train_part, count // 10, SEARCH_SEED)
            found, _ = run_or_fit(
                method, rate, digits, held_out[SEARCH_SCORED], STEPS[count], SEARCH_SEED
            )
            record.save(method, "search", count, rate, found)
            return found

        grid = PENALTIES if method in FITTED else RATES
        best = find_best(grid, record.entry(method, "search", count), score)
        record.save(method, "search", count, "best", best)
        return best

    for method in TRAINED:
        if method in arguments.only:
            model, _ = prepare(method, arguments.backbone, TrainConfig())
            entry = record.entry(method)
            entry["trainable"], entry["parameters"] = (
                count_trainable(model),
                count_parameters(model),
            )
    for count in arguments.labels:
        chosen = {method: find_rate(method, SEARCHED[count]) for method in arguments.only}
        for seed, method in product(range(arguments.draws), arguments.only):
            curve, rate = record.entry(method, "curve", count), chosen[method]
            if curve.get("learning_rate", rate) != rate:  # a better one was found since
                curve.clear()
            if measured(curve, "accuracy") > seed:
                continue
            digits = few_labels(train_part, count // 10, seed)
            accuracy, seconds = run_or_fit(
                method, rate, digits, held_out[SCORED[count]], STEPS[count], seed
            )
            curve["learning_rate"] = rate
            add(curve, "accuracy", accuracy)
            add(curve, "seconds", seconds)
            record.save(method, count, "labels, draw", seed, rate, accuracy, f"{seconds:.0f} s")


if __name__ == "__main__":
    main()
