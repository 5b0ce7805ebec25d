"""Train the transformer whose attention the pages show, and which paints what a reader hides.

    python -m book.transformer _build/recogniser/transformer.safetensors

It is the vision transformer of chapter 9 with the decoder of chapter 12, both trained at once: half
of each batch is read as it is; of the other half some patches are hidden, between one and twelve of
the sixteen, and it is read from what is left, and what is hidden is guessed. It learns from 55,000
of MNIST's training digits and is scored on the other 5,000; if it reads too few of those, or paints
hardly better than the mean digit, nothing is written and the build stops. `make book` calls this.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import mnist_lab  # noqa: F401 - before torch, whose threads then wait without spinning

# isort: split
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mnist_lab.data import DigitSet, load_mnist, split
from mnist_lab.export import transformer_bytes
from mnist_lab.few_bits import quantise_network
from mnist_lab.files import write_atomically
from mnist_lab.finetuning.masked import (
    MaskedAutoencoder,
    draw_kept,
    make_autoencoder,
    masked_loss,
)
from mnist_lab.models import build_model, patchify
from mnist_lab.training import (
    UPSTROKES,
    Augmentation,
    Batch,
    Batches,
    Classify,
    Draws,
    Score,
    TrainConfig,
    evaluate,
    fit,
)

BITS = 8  # of each weight: a quarter of the bytes
MOST_HIDDEN = 12  # of sixteen patches
PAINTING = 2.0  # how much the hidden pixels' squared error counts beside the cross-entropy
CONFIG = TrainConfig(
    epochs=4,
    batch_size=64,
    learning_rate=0.003,  # as in chapters 9 and 12
    warm_up=0.1,
    weight_decay=0.05,
    upstrokes=UPSTROKES,
    augmentation=Augmentation(rotate=10, shift=1, scale=0.15, shear=8),  # hands that MNIST lacks
)
NEEDED_WHOLE = 0.975  # of the validation digits, as they are
NEEDED_HALF = 0.86  # with half of the patches hidden
NEEDED_PAINTING = 0.7  # of the squared error that the mean digit makes: it must not be more


class ReadAndPaint(Classify):
    """Read digits whole and from some patches, and guess the others; for `training.fit`."""

    def check(self, model: nn.Module, config: TrainConfig, class_names: tuple[str, ...]) -> None:
        """Refuse another model."""
        super().check(_as_autoencoder(model).encoder, config, class_names)

    def loss(
        self, model: nn.Module, batch: Batch, draws: Draws, config: TrainConfig
    ) -> tuple[Tensor, Tensor]:
        """Return cross-entropy plus the error of hidden pixels, and which answers were right."""
        images, labels = batch
        autoencoder = _as_autoencoder(model)
        encoder = autoencoder.encoder
        patches = patchify(images, encoder.patch)
        middle = len(images) // 2
        hidden = 1 + int(draws.uniform(1)[0, 0] * MOST_HIDDEN)  # the same of each image
        kept = draw_kept(autoencoder.patches, hidden / autoencoder.patches, draws)[middle:]
        whole = encoder.encode(patches[:middle])
        partly = encoder.encode(patches[middle:], kept)
        logits = encoder.output(torch.cat([whole.mean(1), partly.mean(1)]))
        guesses = autoencoder.decode(partly, kept)
        loss = F.cross_entropy(logits, labels, label_smoothing=config.label_smoothing)
        loss = loss + PAINTING * masked_loss(guesses, patches[middle:], kept)
        return loss, logits.detach().argmax(1) == labels

    def score(self, model: nn.Module, batches: object) -> Score:
        """Return mean loss and accuracy on whole digits."""
        return evaluate(_as_autoencoder(model).encoder, batches)  # type: ignore[arg-type]

    def kept(self, model: nn.Module) -> nn.Module:
        """Return the encoder, which is what a card describes."""
        return _as_autoencoder(model).encoder


def _as_autoencoder(model: nn.Module) -> MaskedAutoencoder:
    assert isinstance(model, MaskedAutoencoder)
    return model


@dataclass(frozen=True)
class Skill:
    """What a transformer of the pages can do, on digits that it has not learnt from.

    Attributes
    ----------
    whole, half : float
        Accuracy on digits as they are, and with half of the patches hidden, drawn for each.
    painting : float
        Squared error of the pixels of that hidden half, over that of the mean digit.
    count : int
        Digits.
    """

    whole: float
    half: float
    painting: float
    count: int


def measure(model: MaskedAutoencoder, digits: DigitSet, seed: int = 0) -> Skill:
    """Measure it, under masks that the seed draws."""
    images, labels = next(iter(Batches(digits, len(digits.labels))))
    patches = patchify(images, model.encoder.patch)
    draws = Draws.of(torch.Generator().manual_seed(seed), len(images))
    kept = draw_kept(model.patches, 0.5, draws)
    model.eval()
    with torch.no_grad():
        encoded = model.encoder.encode(patches, kept)
        read = [model.encoder(images), model.encoder.output(encoded.mean(1))]
        whole, half = ((one.argmax(1) == labels).float().mean().item() for one in read)
        error = masked_loss(model.decode(encoded, kept), patches, kept)
        mean_digit = patches.mean(0, keepdim=True).expand_as(patches)
        painting = (error / masked_loss(mean_digit, patches, kept)).item()
    return Skill(whole, half, painting, len(labels))


def main(target: Path) -> Skill:
    """Train, check and write; return what it can do on validation data, with its few bits."""
    train, validation = split(load_mnist().train, seed=0)
    model = make_autoencoder(build_model("vit", seed=CONFIG.seed), seed=CONFIG.seed)
    model.encoder.output.requires_grad_(True)
    result = fit(model, train, validation, CONFIG, objective=ReadAndPaint(), device="cpu")
    small = _as_autoencoder(quantise_network(result.model, BITS))
    skill = measure(small, validation)
    needed = (NEEDED_WHOLE, NEEDED_HALF, NEEDED_PAINTING)
    if skill.whole < needed[0] or skill.half < needed[1] or skill.painting > needed[2]:
        sys.exit(f"The pages' transformer is not fit to be shown: {skill}, needed {needed}.")
    scores = {"whole": skill.whole, "half": skill.half, "count": skill.count}
    target.parent.mkdir(parents=True, exist_ok=True)
    content = transformer_bytes(result.model, result.card, bits=BITS, scores=scores)
    write_atomically(target, content)
    return skill


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("Usage: python -m book.transformer FILE")
    found = main(Path(sys.argv[1]))
    sys.stdout.write(
        f"The pages' transformer reads {found.whole:.2%} of {found.count:,} validation digits, and "
        f"{found.half:.2%} with half of their patches hidden.\n"
    )
