"""What a simple way reaches in open tasks of the chapters, so that their targets can be reached.

    python -m benchmarks.open_tasks [--device cuda] [--draws 3] [--only fifty_labels ...]

About 4 minutes on one core.

Every task is measured from several seeds or draws of labels, on validation digits; the test set
is not looked at. No setting here was searched: rates are those of the chapters or, where it says
so, of the record that the task starts from, which were chosen on other draws. Beside each way is
the same without its idea.

- `edges` (chapter 2): a linear classifier on edges by place and direction, from all digits.
- `moved_digits` (chapter 3): the network in NumPy, each batch moved by at most a pixel.
- `fewer_weights` (chapter 5): four convolutions and a mean at the end.
- `thousand_digits` (chapter 8): a CNN, augmentation with elastic changes, many epochs.
- `fifty_labels` (chapter 10): the adapted network labels what it is sure of, and learns from that.
- `backbone` (chapter 11): the mean of a backbone with LoRA and the small network; as a control, the
  mean of two small networks, and each alone.
- `transformer` (chapter 12): a short pretraining, then as in chapter 10.
- `one_drawing` (chapter 15): one drawing's strokes are bent into many.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from mnist_lab.by_hand import (
    SGD,
    Adam,
    Linear,
    ReLU,
    Sequential,
    SoftmaxCrossEntropy,
    accuracy,
    iter_batches,
)
from mnist_lab.data import DigitSet, few_labels, keep_classes, load_mnist, split
from mnist_lab.finetuning import add_lora, finetune, replace_head
from mnist_lab.handwriting import Drawing, draw_hand, draw_strokes
from mnist_lab.models import build_model, count_parameters, drawn_from, load_backbone
from mnist_lab.training import Augmentation, Batches, TrainConfig, fit, logits_of

from . import backbone, finetuning, masked_pretraining
from .recording import DEVICES, Record, add, make_parser, measured, read_arguments

SURE = 0.95  # probability from which on a network's own label is believed
ROUNDS = {"fifty_labels": 2, "transformer": 1}
STEPS_ALONE = 600  # of learning from own labels
FIFTY_RATE = 0.003  # chapter 10's
SHORT = replace(masked_pretraining.QUICK, epochs=3)
MASK_SHARE = 0.5
TRANSFORMER_RATE = 0.01  # the record's for the pretrained transformer with ten labels a class
BACKBONE_RATE = 0.006  # the record's for both, with ten labels a class
FEW_WEIGHTS_RATE = 0.02  # twice the usual: a mean at the end bears more
THOUSAND = TrainConfig(
    epochs=40,
    batch_size=50,
    learning_rate=0.01,
    augmentation=Augmentation(rotate=10, shift=1, scale=0.1, shear=5, elastic_strength=20),
    label_smoothing=0.1,
)
VERSIONS = 20  # of each drawing
BEND, LEAN = 0.04, 0.15  # of the height of a digit
DRAWN = TrainConfig(
    steps=200,
    batch_size=50,
    learning_rate=0.003,
    augmentation=Augmentation(rotate=10, shift=1, scale=0.1, shear=10),
)


@cache
def load_both() -> tuple[DigitSet, DigitSet]:
    """Return 55,000 training and 5,000 validation digits."""
    return split(load_mnist().train, seed=0)


def share_right(logits: Tensor, digits: DigitSet) -> float:
    """Return the accuracy of logits or probabilities (n, classes)."""
    return float((logits.argmax(1).cpu().numpy() == digits.labels).mean())


# --- In NumPy ------------------------------------------------------------------------------------


def find_edges(digits: DigitSet, ways: int = 8) -> NDArray[np.float64]:
    """Return the root of the amount of edge in each of 49 places and some directions, (n, 392)."""
    found = []
    for start in range(0, len(digits), 5_000):  # a few at a time: the slopes take much memory
        images = digits.images[start : start + 5_000] / 255
        down, right = np.gradient(images, axis=(1, 2))
        way = (ways * (np.arctan2(down, right) / (2 * np.pi) % 1)).astype(int) % ways
        row, column = np.mgrid[:28, :28] // 4
        place = ((7 * np.arange(len(images))[:, None, None] + row) * 7 + column) * ways + way
        amount = np.hypot(down, right).ravel()
        sums = np.bincount(place.ravel(), amount, minlength=len(images) * 49 * ways)
        found.append(np.sqrt(sums).reshape(len(images), -1))
    return np.concatenate(found)


def read_edges(draw: int, device: str) -> dict[str, float]:
    """Train chapter 2's classifier on edges, ten epochs at the rate 0.5 (on the processor)."""
    train, validation = load_both()
    network = Linear(392, 10, np.random.default_rng(draw), gain=0)
    loss, optimizer = SoftmaxCrossEntropy(), SGD(network, 0.5)
    edges, chance = find_edges(train), np.random.default_rng(draw)
    for _ in range(10):
        for inputs, labels in iter_batches(edges, train.labels, 128, chance):
            loss.forward(network.forward(inputs), labels)
            network.backward(loss.backward())
            optimizer.step()
    return {"accuracy": accuracy(network, find_edges(validation), validation.labels)}


def move_digits(draw: int, device: str) -> dict[str, float]:
    """Train chapter 3's network on moved digits, as its solution does (on the processor)."""
    train, validation = load_both()
    chance = np.random.default_rng(draw)
    first = Linear(784, 256, chance)
    network = Sequential(first, ReLU(), Linear(256, 10, chance, gain=1))
    loss, optimizer = SoftmaxCrossEntropy(), Adam(network)

    def prepare(images: NDArray[np.uint8]) -> NDArray[np.float64]:
        prepared: NDArray[np.float64] = (images.reshape(-1, 784) / 255 - 0.1307) / 0.3081
        return prepared

    for epoch in range(8):
        optimizer.learning_rate = 0.002 * (1 - epoch / 8)
        for images, labels in iter_batches(train.images, train.labels, 128, chance):
            by = tuple(int(pixels) for pixels in chance.integers(-1, 2, size=2))
            moved = np.roll(images, by, axis=(1, 2))
            loss.forward(network.forward(prepare(moved)), labels)
            network.backward(loss.backward())
            optimizer.step()
    return {"accuracy": accuracy(network, prepare(validation.images), validation.labels)}


# --- A small network, and few digits -------------------------------------------------------------


class FewWeights(nn.Sequential):
    """Four convolutions with batch norm, and the mean of each map: 13,578 weights."""

    def __init__(self) -> None:
        parts: list[nn.Module] = []
        sizes = [(1, 16, 5), (16, 16, 3), (16, 24, 3), (24, 32, 3)]
        for place, (before, after, side) in enumerate(sizes):
            convolution = nn.Conv2d(before, after, side, padding=side // 2, bias=False)
            parts += [convolution, nn.BatchNorm2d(after), nn.ReLU()]
            if place in (0, 2):
                parts.append(nn.MaxPool2d(2))
        super().__init__(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10))


def save_weights(draw: int, device: str) -> dict[str, float]:
    """Train four epochs with half of the weights of chapter 5's network."""
    train, validation = load_both()
    with drawn_from(draw):
        model = FewWeights()
    config = TrainConfig(epochs=4, learning_rate=FEW_WEIGHTS_RATE, seed=draw)
    fit(model, train, config=config, device=device, progress=False)
    return {
        "weights": count_parameters(model),
        "accuracy": share_right(logits_of(model, Batches(validation, device=device)), validation),
    }


def read_from_a_thousand(draw: int, device: str) -> dict[str, float]:
    """Train on chapter 8's thousand digits; score on its two thousand."""
    train, validation = load_both()
    report = validation.subset(slice(0, 2_000))
    config = replace(THOUSAND, seed=draw)
    few = train.subset(slice(0, 1_000))
    model = build_model("small_cnn", seed=draw)
    fit(model, few, config=config, device=device, progress=False)
    return {"accuracy": share_right(logits_of(model, Batches(report, device=device)), report)}


# --- Learn from one's own answers ----------------------------------------------------------------


def learn_alone(
    few: DigitSet,
    others: DigitSet,
    report: DigitSet,
    learn: Callable[[DigitSet, int | None], nn.Module],
    device: str,
    rounds: int,
) -> list[float]:
    """Return the accuracy after the labelled digits, and after each round on own labels.

    Source: Lee 2013, "Pseudo-Label". The labels of `others` are not read.
    """
    model = learn(few, None)
    accuracies = [share_right(logits_of(model, Batches(report, device=device)), report)]
    for _ in range(rounds):
        chances = logits_of(model, Batches(others, device=device)).softmax(1).cpu()
        surest, answers = (each.numpy() for each in chances.max(1))
        kept = surest > SURE
        known = DigitSet(
            np.concatenate([few.images, others.images[kept]]),
            np.concatenate([few.labels, answers[kept]]),
            few.class_names,
        )
        model = learn(known, STEPS_ALONE)
        accuracies.append(share_right(logits_of(model, Batches(report, device=device)), report))
    return accuracies


def read_fifty(draw: int, device: str) -> dict[str, float]:
    """Read five digits that the network has never met, with ten labels of each."""
    task = finetuning.make_task("nines")
    base = finetuning.pretrain("01234", draw % finetuning.BASES, device)

    def learn(digits: DigitSet, steps: int | None) -> nn.Module:
        config = finetuning.make_config(FIFTY_RATE, steps or finetuning.STEPS[10], draw)
        model = replace_head(base, 5, draw)
        return fit(model, digits, config=config, device=device, progress=False).model

    few, others = few_labels(task.pool, 10, draw), keep_classes(load_both()[0], "56789")
    before, *_, after = learn_alone(few, others, task.report, learn, device, ROUNDS["fifty_labels"])
    return {"before": before, "accuracy": after}


@cache
def pretrain_shortly(device: str) -> nn.Module:
    """Return an encoder that has guessed hidden patches of some digits, for a short time."""
    train, validation = load_both()
    digits = train.subset(slice(0, masked_pretraining.QUICK_DIGITS))
    objective = replace(masked_pretraining.OBJECTIVE, mask_share=MASK_SHARE)
    result = masked_pretraining.pretrain(
        digits, validation, SHORT, objective, device=device, progress=False
    )
    return result.model.get_submodule("encoder")


def read_with_transformer(draw: int, device: str) -> dict[str, float]:
    """Read ten digits with ten labels each, by a transformer pretrained without labels."""
    train, validation = load_both()
    encoder = pretrain_shortly(device)

    def learn(digits: DigitSet, steps: int | None) -> nn.Module:
        steps = steps or masked_pretraining.STEPS[10]
        return masked_pretraining.adapt(
            "pretrained", digits, TRANSFORMER_RATE, steps, draw, encoder
        )

    others = train.subset(slice(0, masked_pretraining.QUICK_DIGITS))
    few = few_labels(masked_pretraining.load_parts()[0], 10, draw)
    before, *_, after = learn_alone(few, others, validation, learn, device, ROUNDS["transformer"])
    return {"before": before, "accuracy": after}


# --- Two networks, one answer --------------------------------------------------------------------


def read_with_backbone(draw: int, device: str) -> dict[str, float]:
    """Read with a hundred labels: a backbone and the small network, by their mean probability."""
    train, validation = load_both()
    few = few_labels(train, 10, draw)
    report = validation.subset(slice(0, backbone.SCORED[100]))
    config = TrainConfig(
        steps=backbone.STEPS[100],
        batch_size=backbone.BATCH_SIZE,
        learning_rate=BACKBONE_RATE,
        augmentation=backbone.AUGMENTATION,
        seed=draw,
    )
    large = load_backbone(backbone.BACKBONE, seed=draw, input_size=backbone.INPUT_SIZE)
    add_lora(large, rank=backbone.RANK, seed=draw)
    networks = {
        "LoRA": (large, config),
        "small": (build_model("small_cnn", seed=draw), config),
        "another small": (
            build_model("small_cnn", seed=draw + 1_000),
            replace(config, seed=draw + 1_000),
        ),
    }
    chances = {}
    for name, (model, its_config) in networks.items():
        fit(model, few, config=its_config, device=device, progress=False)
        chances[name] = logits_of(model, Batches(report, 500, device=device)).softmax(1)
    return {
        "before": share_right(chances["small"], report),
        "LoRA": share_right(chances["LoRA"], report),
        "two small": share_right(chances["small"] + chances["another small"], report),
        "accuracy": share_right(chances["small"] + chances["LoRA"], report),
    }


# --- One drawing, many versions ------------------------------------------------------------------


def bend(drawing: Drawing, generator: np.random.Generator) -> Drawing:
    """Return the same strokes as the hand might draw them another time.

    Every point is pushed by two slow waves, so that neighbours go the same way, and the whole
    leans more or less.
    """
    points = np.array([point for stroke in drawing for point in stroke])  # (points, 2): x, y
    height = np.ptp(points, axis=0).max()
    places = (points - points.mean(axis=0)) / height
    waves = generator.normal(0, np.pi, (2, 2, 2))  # push x or y, wave, direction
    phases = generator.uniform(0, 2 * np.pi, (2, 2))
    pushes: NDArray[np.float64] = np.sin(places @ waves.swapaxes(1, 2) + phases[:, None])
    moved = places + BEND * pushes.sum(axis=2).T
    moved[:, 0] -= generator.normal(0, LEAN) * moved[:, 1]
    ends = np.cumsum([len(stroke) for stroke in drawing])[:-1]
    return [[(float(x), float(y)) for x, y in part] for part in np.split(moved, ends)]


def read_one_drawing(draw: int, device: str) -> dict[str, float]:
    """Read the imagined hand, of which one drawing of each digit is known."""
    train, validation = load_both()
    start = fit(
        "small_cnn",
        train.subset(slice(0, 20_000)),
        config=TrainConfig(epochs=2, seed=draw),
        device=device,
        progress=False,
    ).model
    drawings, labels = draw_hand("imagined", 1, seed=draw + 2)
    further, truth = draw_hand("imagined", 100, seed=draw + 1)
    report = DigitSet(np.stack([draw_strokes(one) for one in further]), truth)
    generator = np.random.default_rng(draw)
    versions = [bend(one, generator) for _ in range(VERSIONS) for one in drawings]
    piles = {
        "as it is": DigitSet(np.stack([draw_strokes(one) for one in drawings]), labels),
        "accuracy": DigitSet(
            np.stack([draw_strokes(one) for one in versions]), np.tile(labels, VERSIONS)
        ),
    }

    def score(model: nn.Module, digits: DigitSet) -> float:
        return share_right(logits_of(model, Batches(digits, device=device)), digits)

    found = {"before": score(start, report), "MNIST before": score(start, validation)}
    for name, pile in piles.items():
        old = few_labels(train, 20 if name == "accuracy" else 4, draw)
        model = copy.deepcopy(start)
        config = replace(DRAWN, seed=draw)
        finetune(model, pile, None, config, way="full", rehearsal=old,
                 device=device, progress=False)  # fmt: skip
        found[name] = score(model, report)
    return found | {"MNIST after": score(model, validation)}


TASKS: dict[str, Callable[[int, str], dict[str, float]]] = {
    "fifty_labels": read_fifty,
    "backbone": read_with_backbone,
    "one_drawing": read_one_drawing,
    "transformer": read_with_transformer,
    "edges": read_edges,
    "moved_digits": move_digits,
    "thousand_digits": read_from_a_thousand,
    "fewer_weights": save_weights,
}


def main() -> None:
    """Measure what the record lacks."""
    parser = make_parser(__doc__, draws=3, only=TASKS, devices=DEVICES, threads=1, anew=True)
    arguments = read_arguments(parser)
    setting = {
        "sure": SURE,
        "rounds": ROUNDS,
        "steps_alone": STEPS_ALONE,
        "rates": {
            "fewer_weights": FEW_WEIGHTS_RATE,
            "fifty_labels": FIFTY_RATE,
            "backbone": BACKBONE_RATE,
            "transformer": TRANSFORMER_RATE,
        },
        "pretraining": {"epochs": SHORT.epochs, "mask_share": MASK_SHARE},
        "thousand_digits": THOUSAND,
        "versions": VERSIONS,
        "bend": BEND,
        "lean": LEAN,
        "drawn": DRAWN,
    }
    record = Record("open_tasks", arguments, {"setting": setting})
    for name in arguments.only:
        entry = record.entry(name)
        for draw in range(measured(entry, "accuracy"), arguments.draws):
            found = TASKS[name](draw, record.device)
            for key, value in found.items():
                add(entry, key, value)
            record.save(name, draw, *(f"{key} {value:.4f}" for key, value in found.items()))


if __name__ == "__main__":
    main()
