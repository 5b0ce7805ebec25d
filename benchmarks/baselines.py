"""What came before networks: five classifiers, on pixels and on features made by hand.

    python -m benchmarks.baselines [--seeds 3]

About 3 minutes on one core.

The classifiers are scikit-learn's with its own settings, but for what `classifiers` says; none of
these was searched. Each of them is given the pixels, and then features that somebody thought of: at
which places a digit has edges, and which way these run. 10,000 digits are drawn anew for each
seed, with the split. What is scored are the 5,000 validation digits; the test set is not looked at.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from mnist_lab.data import DigitSet, load_mnist, split

from .recording import Record, add, make_parser, measured, read_arguments

DIRECTIONS, WINDOW, STEP = 8, 8, 4  # windows of 8 by 8 pixels, a new one after every fourth
FEW = 10_000  # as many as chapter 2 gives to the nearest neighbour

Features = NDArray[np.float32]


def pixels(images: NDArray[np.uint8]) -> Features:
    """Return the pixels themselves, (n, 784), from 0 to 1."""
    return np.asarray(images.reshape(len(images), -1) / np.float32(255), np.float32)


def directions(images: NDArray[np.uint8]) -> Features:
    """Return which way the edges of a digit run, window by window: (n, 288), each row of length 1.

    In each pixel the grey values rise in some direction and by some amount. The directions of a
    full turn are sorted into eight, the two nearest sharing a pixel's amount, and each window of 8
    by 8 pixels adds up the amounts of each of the eight. The roots of the sums are taken, so that
    thick strokes count little more than thin ones. The idea is that of histograms of oriented
    gradients (Dalal and Triggs, 2005, https://doi.org/10.1109/CVPR.2005.177).
    """
    down, right = np.gradient(images.astype(np.float32), axis=(1, 2))
    amount = np.hypot(down, right)
    place = np.arctan2(down, right) / (2 * np.pi) * DIRECTIONS % DIRECTIONS
    starts = range(0, images.shape[1] - WINDOW + 1, STEP)
    sums = []
    for direction in range(DIRECTIONS):
        away = np.abs(place - direction)
        share = np.maximum(0, 1 - np.minimum(away, DIRECTIONS - away))
        part = amount * share
        sums += [
            part[:, i : i + WINDOW, j : j + WINDOW].sum((1, 2)) for i in starts for j in starts
        ]
    features = np.sqrt(np.stack(sums, axis=1))
    return np.asarray(features / np.linalg.norm(features, axis=1, keepdims=True), np.float32)


FEATURES = {"pixels": pixels, "directions": directions}


def classifiers(seed: int) -> dict[str, ClassifierMixin]:
    """Return the classifiers by name, unfitted."""
    return {
        "nearest neighbour": KNeighborsClassifier(1),
        "logistic regression": LogisticRegression(max_iter=300, tol=1e-3),  # stops a little earlier
        "decision tree": DecisionTreeClassifier(random_state=seed),
        "random forest": RandomForestClassifier(random_state=seed),  # of a hundred trees
        "support vectors": SVC(C=10.0),  # fits closer than with 1: nearly all labels are right
    }


def right(name: str, features: str, train: DigitSet, validation: DigitSet, seed: int) -> float:
    """Return the share of the validation digits that a classifier reads after learning `train`."""
    classifier = classifiers(seed)[name]
    classifier.fit(FEATURES[features](train.images), train.labels)
    return float(classifier.score(FEATURES[features](validation.images), validation.labels))


def main() -> None:
    """Measure what the record lacks; write it after every fit."""
    arguments = read_arguments(make_parser(__doc__, seeds=3, threads=1))
    record = Record("baselines", arguments, {"digits": FEW})
    mnist = load_mnist()
    for seed in range(arguments.seeds):
        train, validation = split(mnist.train, seed=seed)
        for features in FEATURES:
            for name in classifiers(seed):
                entry = record.entry(features, name)
                if measured(entry, "accuracy") <= seed:
                    accuracy = right(name, features, train.subset(slice(FEW)), validation, seed)
                    add(entry, "accuracy", accuracy)
                    record.save(name, features, f"seed {seed}", f"{accuracy:.2%}")


if __name__ == "__main__":
    main()
