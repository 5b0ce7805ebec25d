"""The numbers of a step in the page are those of the NumPy layers of `by_hand`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page

from mnist_lab.by_hand import (
    SGD,
    Conv2d,
    Flatten,
    Linear,
    MaxPool2d,
    ReLU,
    Sequential,
    SoftmaxCrossEntropy,
)

pytestmark = pytest.mark.site

KINDS = ["linear", "mlp", "cnn"]
EXACT = 1e-5
STEPS = 3

# Take steps on the page; for each of them everything that a panel shows.
TAKE = """([kind, images, labels, settings, steps]) => {
  const digits = { images: Uint8Array.from(images), labels: Uint8Array.from(labels) };
  const { Stepper } = modules.stepper;
  const stepper = new Stepper(kind, { train: digits, validation: digits }, settings);
  const plain = (numbers) => (numbers ? [...numbers] : null);
  const found = { start: Object.fromEntries(stepper.network.parameters.map(
    ({ name, values }) => [name, plain(values)])), steps: [] };
  for (let k = 0; k < steps; k += 1) {
    stepper.step();
    found.steps.push({
      images: plain(stepper.images), labels: plain(stepper.labels),
      loss: stepper.loss, lossAfter: stepper.lossAfter,
      parameters: stepper.parameters.map(({ name, shape, before, gradient, after }) => ({
        name, shape, before: plain(before), gradient: plain(gradient), after: plain(after) })),
      digits: plain(stepper.labels).map((_, digit) => {
        const { logits, probabilities, gradient, after } = stepper.digit(digit);
        return { logits: plain(logits), probabilities: plain(probabilities),
          gradient: plain(gradient), after: plain(after) };
      }),
      layers: stepper.network.layers.map((_, layer) => {
        const { values, gradient } = stepper.ofLayer(layer, 1);
        return { values: plain(values), gradient: plain(gradient) };
      }),
      own: [0, 1].map((unit) => stepper.ownGradient(unit, 12, 1)),
    });
  }
  const [score] = [...stepper.readOthers()].slice(-1);
  return { ...found, score };
}"""


def some_digits(count: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Images of noise with a dark frame, as digits have, and labels."""
    draw = np.random.default_rng(0)
    images = np.zeros((count, 28, 28), np.uint8)
    images[:, 4:24, 4:24] = draw.integers(0, 256, (count, 20, 20))
    return images, draw.integers(0, 10, count)


def take_there(page: Page, kind: str, **settings: Any) -> dict[str, Any]:
    images, labels = some_digits()
    given = {"rate": 0.02, "batch": 6, "keeps": False, "seed": 3} | settings
    found: dict[str, Any] = page.evaluate(
        TAKE, [kind, images.flatten().tolist(), labels.tolist(), given, STEPS]
    )
    return found


def by_hand(kind: str, start: dict[str, list[float]]) -> Sequential:
    """The same network in NumPy, with the weights with which the page began."""
    draw = np.random.default_rng(0)
    network = {
        "linear": lambda: Sequential(Flatten(), Linear(784, 10, draw)),
        "mlp": lambda: Sequential(Flatten(), Linear(784, 8, draw), ReLU(), Linear(8, 10, draw)),
        "cnn": lambda: Sequential(
            Conv2d(1, 4, 5, draw, stride=2, padding=2), ReLU(), MaxPool2d(2),
            Flatten(), Linear(196, 10, draw),
        ),
    }[kind]()  # fmt: skip
    for parameter, numbers in zip(network.parameters.values(), start.values(), strict=True):
        parameter[...] = np.reshape(numbers, parameter.shape)
    return network


def rows(digits: list[dict[str, Any]], key: str) -> np.ndarray:
    return np.array([digit[key] for digit in digits])


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_is_that_of_the_layers_by_hand(bench: Page, kind: str) -> None:
    found = take_there(bench, kind)
    network, loss = by_hand(kind, found["start"]), SoftmaxCrossEntropy()
    taker = SGD(network, 0.02)
    for step in found["steps"]:
        labels = np.array(step["labels"])
        inputs = (np.reshape(step["images"], (-1, 1, 28, 28)) / 255 - 0.1307) / 0.3081
        logits = network.forward(inputs)
        assert abs(loss.forward(logits, labels) - step["loss"]) < EXACT
        assert np.abs(rows(step["digits"], "logits") - logits).max() < EXACT
        slope = loss.backward()
        network.backward(slope)
        # Each digit's own: p - y.
        assert np.abs(rows(step["digits"], "gradient") - slope * len(labels)).max() < EXACT
        p = rows(step["digits"], "probabilities")
        assert np.abs(p - (slope * len(labels) + np.eye(10)[labels])).max() < EXACT
        before = [parameter.copy() for parameter in network.parameters.values()]
        slopes = list(network.gradients.values())
        taker.step()
        after = list(network.parameters.values())
        for k, there in enumerate(step["parameters"]):
            for name, here in (("before", before), ("gradient", slopes), ("after", after)):
                expected = here[k].ravel()
                assert np.abs(np.array(there[name]) - expected).max() < EXACT, there["name"]
            assert np.abs(slopes[k]).max() > 1e-3, there["name"]  # or the lines above say nothing
        again = network.forward(inputs)
        assert abs(loss.forward(again, labels) - step["lossAfter"]) < EXACT
        assert np.abs(rows(step["digits"], "after") - again).max() < EXACT


@pytest.mark.parametrize("kind", KINDS)
def test_the_numbers_of_one_digit_are_those_it_would_have_alone(bench: Page, kind: str) -> None:
    """Values and gradients of every layer, of the second digit of the step."""
    step = take_there(bench, kind)["steps"][0]
    network, loss = by_hand(kind, take_there(bench, kind)["start"]), SoftmaxCrossEntropy()
    inputs = (np.reshape(step["images"], (-1, 1, 28, 28))[1:2] / 255 - 0.1307) / 0.3081
    values = [inputs]
    for layer in network.layers:
        values.append(layer.forward(values[-1]))
    loss.forward(values[-1], np.array(step["labels"])[1:2])
    gradients = [loss.backward()]
    for layer in reversed(network.layers):
        gradients.append(layer.backward(gradients[-1]))
    kept = [k for k, layer in enumerate(network.layers, 1) if not isinstance(layer, Flatten)]
    for there, k in zip(step["layers"][1:], kept, strict=True):
        assert np.abs(np.array(there["values"]) - values[k].ravel()).max() < EXACT
        assert np.abs(np.array(there["gradient"]) - gradients[-1 - k].ravel()).max() < EXACT
    assert np.abs(np.array(step["layers"][0]["values"]) - inputs.ravel()).max() < EXACT
    first = next(layer for layer in network.layers if layer.gradients).gradients["weight"]
    flat = first.reshape(len(first), -1)
    assert np.abs(np.array(step["own"]) - flat[:2, 12]).max() < EXACT
    assert np.abs(flat[:2, 12]).max() > 1e-4


def test_digits_are_drawn_once_each_and_kept_when_asked(bench: Page) -> None:
    images, _ = some_digits()
    names = {image.tobytes(): k for k, image in enumerate(images)}

    def drawn(**settings: Any) -> list[list[int]]:
        steps = take_there(bench, "linear", **settings)["steps"]
        given = [np.array(step["images"], np.uint8).reshape(-1, 28, 28) for step in steps]
        return [[names[image.tobytes()] for image in batch] for batch in given]

    once = [k for batch in drawn(batch=13) for k in batch]
    assert len(once) == len(set(once)) == 39
    first, second, third = drawn(keeps=True)
    assert first == second == third
    assert drawn() == drawn()
    assert drawn() != drawn(seed=4)


def test_the_other_digits_are_scored_with_the_newest_weights(bench: Page) -> None:
    found = take_there(bench, "linear", batch=40, keeps=True)
    assert found["score"]["loss"] == pytest.approx(found["steps"][-1]["lossAfter"], abs=1e-9)
    assert found["score"]["count"] == 40


def test_what_is_no_number_ends_it(bench: Page) -> None:
    found = bench.evaluate(
        """() => {
          const images = Uint8Array.from({ length: 7840 }, (_, k) => k % 256);
          const digits = { images, labels: Uint8Array.from({ length: 10 }, (_, k) => k) };
          const { Stepper } = modules.stepper;
          const stepper = new Stepper("cnn", { train: digits, validation: digits }, { rate: 1e9 });
          let steps = 0;
          for (; steps < 100 && !stepper.isBroken; steps += 1) stepper.step();
          const { steps: taken } = stepper;
          stepper.step();
          return [steps, taken, stepper.steps];
        }"""
    )
    assert found[0] < 100
    assert found[1] == found[2]  # no step is taken any more


def test_numbers_are_written_with_their_sign_and_places(bench: Page) -> None:
    written = bench.evaluate(
        """[0, -0.0001, 0.12345, -1.5, 123456, NaN, Infinity].map(
          (value) => modules.step_views.write(value))"""
    )
    assert written == [
        "0.000",
        "0.000",
        "0.123",
        "\N{MINUS SIGN}1.500",
        "1.2e+5",
        "\N{EN DASH}",
        "\N{EN DASH}",
    ]
