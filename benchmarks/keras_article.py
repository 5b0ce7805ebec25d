"""Article 001 in Keras itself, as it is printed: what its log says when somebody runs it.

    python -m venv keras_environment
    keras_environment/bin/python -m pip install . keras
    keras_environment/bin/python -m benchmarks.keras_article [--seeds 3]

About 5 minutes on one core. What the record holds already is not repeated.

Keras belongs to nothing else in this book, so it has an environment of its own, and computes with
PyTorch there: Keras 3 does so as with TensorFlow, from the same lines. The digits are the package's
in place of `mnist.load_data()`, which would download the same. The listing is otherwise to the
letter. It trains on all 60,000 images, and the test set is scored once a seed, by its last line.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_lab.data import DigitSet, load_mnist

from .recording import Record, add, make_parser, measured, read_arguments

LACKING = (
    "Keras is not installed: it has an environment of its own, and `python -m "
    "benchmarks.keras_article --help` says how to make it."
)


@dataclass(frozen=True)
class Listing:
    """What article 001 prints of the training."""

    loss: str = "sparse_categorical_crossentropy"
    optimizer: str = "adam"
    epochs: int = 5
    batch_size: int = 128


def import_keras() -> Any:
    """Return Keras, which computes with PyTorch.

    Raises
    ------
    SystemExit
        In one sentence, if it is not installed.
    """
    os.environ["KERAS_BACKEND"] = "torch"
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # else it takes a GPU, where there is one
    try:
        import keras  # type: ignore[import-not-found]
    except ImportError:
        raise SystemExit(LACKING) from None
    return keras


def prepare(digits: DigitSet) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return images, float32 (n, 28, 28, 1) from 0 to 1, and labels, as section 3.2.2 has it."""
    images = digits.images.astype("float32") / 255.0
    return np.expand_dims(images, axis=-1), digits.labels


def build(keras: Any) -> Any:
    """Return the network of section 3.2.3, compiled."""
    layers = keras.layers
    model = keras.models.Sequential()
    model.add(keras.Input(shape=(28, 28, 1)))  # printed as an argument of the first layer
    model.add(layers.Conv2D(32, kernel_size=(3, 3), activation="relu"))
    model.add(layers.MaxPooling2D(pool_size=(2, 2)))
    model.add(layers.Flatten())
    model.add(layers.Dense(128, activation="relu"))
    model.add(layers.Dropout(0.5))
    model.add(layers.Dense(10, activation="softmax"))
    model.compile(loss=Listing.loss, optimizer=Listing.optimizer, metrics=["accuracy"])
    return model


def main() -> None:
    """Measure what the record lacks."""
    arguments = read_arguments(make_parser(__doc__, seeds=3, threads=1))
    keras = import_keras()
    record = Record("keras_article", arguments, {"listing": Listing()})
    record.parts["keras"] = {"version": keras.__version__, "computes_with": keras.config.backend()}
    mnist = load_mnist()
    (x_train, y_train), (x_test, y_test) = prepare(mnist.train), prepare(mnist.test)
    for seed in range(measured(record.results, "accuracy"), arguments.seeds):
        keras.utils.set_random_seed(seed)
        model = build(keras)
        run = model.fit(
            x_train,
            y_train,
            epochs=Listing.epochs,
            batch_size=Listing.batch_size,
            verbose=0,
        )
        loss, share = model.evaluate(x_test, y_test, verbose=0)
        accuracy = round(float(share), 4)  # of 10,000 digits; Keras has it in float32
        add(record.results, "accuracy", accuracy)
        add(record.results, "loss", loss)
        for epoch in range(Listing.epochs):
            for key in ("accuracy", "loss"):
                add(record.entry("training", epoch + 1), key, run.history[key][epoch])
        record.results["parameters"] = model.count_params()
        record.save(seed, accuracy, [round(a, 4) for a in run.history["accuracy"]])
        record.log_test_look("article_001 in Keras", {"keras": Listing()}, seed, accuracy)


if __name__ == "__main__":
    main()
