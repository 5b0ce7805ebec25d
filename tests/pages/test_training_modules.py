"""What trains in the page agrees with PyTorch: gradients, steps, running statistics, files."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from playwright.sync_api import Page

from mnist_lab.data.normalisation import Normalisation
from mnist_lab.models.registry import build_model
from tests.pages.workbench import read_there

pytestmark = pytest.mark.site

NETWORKS = [("linear", 0), ("mlp", 7), ("quick_cnn", 3), ("quick_cnn", 4), ("small_cnn", 3)]

# Create a network, give it numbers, and let it learn from the same batch some times.
LEARN = """([name, width, seed, images, labels, optimiser, rate, steps, parameters]) => {
  const { createNetwork, Adam, Descent, writeNetwork } = modules.train;
  const network = createNetwork(name, { width, seed });
  for (const { name, values } of network.parameters) {
    if (parameters?.[name]) values.set(parameters[name]);
  }
  const taker = new (optimiser === "sgd" ? Descent : Adam)(network.parameters);
  let loss = network.learn(images, labels);
  const gradients = {};
  for (const { name, gradient } of network.parameters) gradients[name] = [...gradient];
  for (let step = 0; step < steps; step += 1) {
    taker.step(rate);
    loss = network.learn(images, labels);
  }
  const found = { loss, gradients, parameters: {}, statistics: {} };
  for (const { name, values } of network.parameters) found.parameters[name] = [...values];
  for (const layer of network.layers.filter((one) => one.runningMean)) {
    found.statistics[`${layer.name}.running_mean`] = [...layer.runningMean];
    found.statistics[`${layer.name}.running_var`] = [...layer.runningVariance];
  }
  const letters = Array.from(writeNetwork(network), (byte) => String.fromCharCode(byte));
  found.file = btoa(letters.join(""));
  return found;
}"""


def a_batch(count: int = 13) -> tuple[np.ndarray, np.ndarray]:
    """Images of noise with a dark frame, as digits have, and labels."""
    draw = np.random.default_rng(0)
    images = np.zeros((count, 28, 28), np.uint8)
    images[:, 4:24, 4:24] = draw.integers(0, 256, (count, 20, 20))
    return images, draw.integers(0, 10, count)


def learn_there(page: Page, name: str, width: int, **given: Any) -> dict[str, Any]:
    """What the page finds after some steps, from parameters by name if there are any."""
    images, labels = a_batch()
    how = {"seed": 0, "optimiser": "adam", "rate": 0.01, "steps": 0, "parameters": None} | given
    found: dict[str, Any] = page.evaluate(
        LEARN,
        [name, width, how["seed"], images.flatten().tolist(), labels.tolist()]
        + [how[key] for key in ("optimiser", "rate", "steps", "parameters")],
    )
    return found


def a_model(name: str, width: int) -> torch.nn.Module:
    """The same network in PyTorch, in float64, with scales that are not all one."""
    arguments = {"linear": {}, "mlp": {"hidden": width}}.get(name, {"width": width})
    model = build_model(name, seed=0, **arguments).double().train()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator).double()
    return model


def mean_loss(model: torch.nn.Module) -> torch.Tensor:
    images, labels = a_batch()
    normalised = Normalisation(0.1307, 0.3081)(torch.from_numpy(images)[:, None]).double()
    return F.cross_entropy(model(normalised), torch.from_numpy(labels))


def plain(tensors: Any) -> dict[str, list[float]]:
    return {name: tensor.detach().flatten().tolist() for name, tensor in tensors}


@pytest.mark.parametrize(("name", "width"), NETWORKS)
def test_gradients_are_those_of_pytorch(bench: Page, name: str, width: int) -> None:
    model = a_model(name, width)
    found = learn_there(bench, name, width, parameters=plain(model.named_parameters()))
    loss = mean_loss(model)
    loss.backward()
    assert found["loss"] == pytest.approx(loss.item(), abs=1e-5)
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None
        expected = parameter.grad.flatten().numpy()
        assert np.abs(expected).max() > 1e-3, key  # otherwise the next line says nothing
        assert np.abs(np.array(found["gradients"][key]) - expected).max() < 1e-5, key


@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
def test_steps_and_running_statistics_are_those_of_pytorch(bench: Page, optimiser: str) -> None:
    model = a_model("quick_cnn", 4)
    start = plain(model.named_parameters())
    found = learn_there(
        bench, "quick_cnn", 4, parameters=start, optimiser=optimiser, rate=0.003, steps=4
    )
    taker: torch.optim.Optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    if optimiser == "sgd":
        taker = torch.optim.SGD(model.parameters(), lr=0.003, momentum=0.9)
    for _ in range(4):
        taker.zero_grad()
        mean_loss(model).backward()
        taker.step()
    mean_loss(model)  # the fifth pass, which the page makes too
    expected = plain(model.state_dict().items())
    for key, numbers in (found["parameters"] | found["statistics"]).items():
        assert np.abs(np.array(numbers) - expected[key]).max() < 1e-5, key
    moved = [np.abs(np.array(start[key]) - expected[key]).max() for key in start]
    assert min(moved) > 1e-3


@pytest.mark.parametrize(("name", "width"), NETWORKS)
def test_what_is_saved_reads_as_it_did_and_is_a_web_export(
    bench: Page, name: str, width: int
) -> None:
    """The file opens in the pad's forward pass, and its weights fit the package's network."""
    from safetensors.torch import load

    found = learn_there(bench, name, width, steps=3)
    content = base64.b64decode(found["file"])
    model = a_model(name, width).float().eval()
    missing = model.load_state_dict(load(content), strict=False)
    assert missing.unexpected_keys == []
    assert all(key.endswith("num_batches_tracked") for key in missing.missing_keys)
    images, _ = a_batch()
    with torch.no_grad():
        normalised = Normalisation(0.1307, 0.3081)(torch.from_numpy(images)[:, None])
        expected = model(normalised).numpy()
    assert np.abs(read_there(bench, content, images) - expected).max() < 1e-4


def test_a_start_is_as_spread_as_he_says_and_repeats(bench: Page) -> None:
    first, again, other = (
        learn_there(bench, "mlp", 64, seed=seed)["parameters"] for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other
    weights = np.array(first["hidden.weight"])
    assert weights.std() == pytest.approx((2 / 784) ** 0.5, rel=0.02)
    assert abs(weights.mean()) < 3 * weights.std() / len(weights) ** 0.5
    assert set(first["hidden.bias"]) == {0}
