"""The pages' transformer: it learns both tasks at once, and is written only if it can do both."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open

from book import transformer
from mnist_lab.data.digit_set import DigitSet
from mnist_lab.data.mnist import MNIST
from mnist_lab.data.splits import split
from mnist_lab.export import transformer_bytes, web_bytes
from mnist_lab.finetuning.masked import MaskedAutoencoder, make_autoencoder
from mnist_lab.models.registry import build_model
from mnist_lab.models.vit import patchify
from mnist_lab.training.batches import Batches
from mnist_lab.training.cards import ModelCard
from mnist_lab.training.draws import Draws
from mnist_lab.training.recipes import PAGES
from mnist_lab.training.runs import fit

GOOD = transformer.Skill(0.98, 0.88, 0.65, 5_000)


def an_autoencoder() -> MaskedAutoencoder:
    return make_autoencoder(build_model("vit", seed=0), seed=0)


def pretend(monkeypatch: pytest.MonkeyPatch, skill: transformer.Skill) -> dict[str, Any]:
    """Let training take no time and end with so much skill; return what it was asked for."""
    asked: dict[str, Any] = {}

    def fit(model: Any, train: Any, validation: Any, config: Any, **options: Any) -> Any:
        asked.update(model=model, train=train, validation=validation, config=config, **options)
        return SimpleNamespace(model=model.eval(), card=ModelCard.of(model.encoder))

    monkeypatch.setattr(transformer, "fit", fit)
    monkeypatch.setattr(transformer, "measure", lambda *_: skill)
    return asked


@pytest.mark.parametrize(
    "change", [{"whole": 0.974}, {"half": 0.859}, {"painting": 0.701}], ids=str
)
def test_one_that_can_do_too_little_is_not_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, change: dict[str, float]
) -> None:
    pretend(monkeypatch, replace(GOOD, **change))
    with pytest.raises(SystemExit, match="not fit to be shown"):
        transformer.main(tmp_path / "new" / "transformer.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_it_is_chosen_on_validation_data_and_tells_what_it_can_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mnist: MNIST
) -> None:
    asked = pretend(monkeypatch, GOOD)
    written = tmp_path / "new" / "transformer.safetensors"
    assert transformer.main(written) == GOOD
    train, validation = split(mnist.train, seed=0)
    assert np.array_equal(asked["validation"].images, validation.images)
    assert np.array_equal(asked["train"].images, train.images)
    assert all(one.requires_grad for one in asked["model"].parameters())  # also the head
    with safe_open(written, "pt") as file:
        card = json.loads(file.metadata()["card"])
    assert card["scores"] == {"whole": 0.98, "half": 0.88, "count": 5_000}
    assert (card["bits"], card["decoder"]["depth"]) == (8, 1)
    assert written.stat().st_size < 175_000


def test_what_the_pages_read_with_takes_at_most_300_kilobytes() -> None:
    """Counted as they are written, whether or not they have been built here."""
    cnn = build_model(PAGES.model, seed=0, **PAGES.arguments)
    painter = an_autoencoder()
    sizes = (
        len(web_bytes(cnn, ModelCard.of(cnn))),
        len(transformer_bytes(painter, ModelCard.of(painter.encoder), bits=transformer.BITS)),
    )
    assert sum(sizes) <= 300_000


def test_both_tasks_are_learnt(
    mnist: MNIST,
) -> None:
    train, validation = split(mnist.train, seed=0)
    model = an_autoencoder()
    model.encoder.output.requires_grad_(True)
    few = train.subset(slice(0, 6_400))
    config = replace(transformer.CONFIG, epochs=1, augmentation=None, upstrokes=0.0)
    some = validation.subset(slice(0, 500))
    before = transformer.measure(model, some)
    result = fit(model, few, some, config, objective=transformer.ReadAndPaint(), device="cpu")
    assert isinstance(result.model, MaskedAutoencoder)
    after = transformer.measure(result.model, some)
    assert after.whole > before.whole + 0.2
    assert after.painting < before.painting - 0.1
    assert result.card.model == "vit"


def test_a_batch_is_read_whole_and_in_part_in_its_own_order(mnist: MNIST) -> None:
    """One that knows every answer is told that all are right."""
    images, labels = next(iter(Batches(mnist.train.subset(slice(0, 9)), 9)))
    model = an_autoencoder()
    right = [0]

    def answers(tokens: torch.Tensor) -> torch.Tensor:
        right[0] = len(tokens)
        return 50 * torch.nn.functional.one_hot(labels, 10).float()

    model.encoder.output.forward = answers  # type: ignore[method-assign, assignment]
    draws = Draws.of(torch.Generator().manual_seed(0), 9)
    objective = transformer.ReadAndPaint()
    loss, found = objective.loss(model, (images, labels), draws, transformer.CONFIG)
    assert right == [9]
    assert found.tolist() == [True] * 9
    assert 0 < loss.item() < 5


def test_the_mean_digit_paints_as_well_as_the_mean_digit() -> None:
    """The measure of painting is 1 for what knows nothing of what is seen."""

    class MeanDigit(MaskedAutoencoder):
        def decode(self, encoded: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
            return patches.mean(0, keepdim=True).expand_as(patches)

    images = np.random.default_rng(0).integers(0, 256, (20, 28, 28), np.uint8)
    digits = DigitSet(images, np.arange(20) % 10)
    patches = patchify(next(iter(Batches(digits, 20)))[0], 7)
    model = MeanDigit(build_model("vit", seed=0))
    assert transformer.measure(model, digits).painting == pytest.approx(1)
