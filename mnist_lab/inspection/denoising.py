"""Clean it first: an autoencoder learns to take noise off digits; and the rival that needs none.

    denoiser = make_denoiser(seed=0)
    fit(denoiser, train, None, DENOISE, objective=RemoveNoise(most=100))
    cleaned = clean(denoiser, noisy)                     # uint8 (n, 28, 28) in and out
    fit("small_cnn", train, None, config, objective=ReadThroughNoise(most=100))

Both objectives lay the same noise on digits. One asks what the digit was before, pixel by pixel;
the other asks which digit it is, and leaves it open what is to be done about the noise.

Source: Vincent, Larochelle, Bengio and Manzagol 2008, "Extracting and composing robust features
with denoising autoencoders".
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from mnist_lab.data.normalisation import MNIST_NORMALISATION, Normalisation
from mnist_lab.inspection.pixels import as_pixels
from mnist_lab.models.seeding import drawn_from, seeded_generator
from mnist_lab.training.batches import Batch, move
from mnist_lab.training.config import TrainConfig
from mnist_lab.training.draws import Draws
from mnist_lab.training.objectives import Classify, WholeModel, refuse_what_wants_labels
from mnist_lab.training.scoring import Score, eval_mode

AS_PIXELS = Normalisation(0.0, 1.0)  # pixels from 0 to 1, as they are
# With 20,000 digits 0.3 leaves a little less error (benchmarks/denoising.py), with few digits more.
DENOISE = TrainConfig(epochs=3, learning_rate=0.1, normalisation=AS_PIXELS)
_DENOISER, _NOISE = 4_101, 4_102  # streams of random numbers
_AT_ONCE = 1_000  # images


class Denoiser(nn.Module):
    """A small convolutional autoencoder: 28x28 pixels, 7x7 places of 32 numbers, 28x28 pixels.

    The way down and the way up halve and double the sides twice. What is between has more numbers
    than the image has pixels, so it could copy; the noise is why copying does not pay.

    Parameters
    ----------
    width : int
        Channels after the first convolution; the second has twice as many.
    """

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.down1 = nn.Conv2d(1, width, 5, stride=2, padding=2, bias=False)
        self.down2 = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1, bias=False)
        self.up1 = nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1, bias=False)
        self.norm1, self.norm2, self.norm3 = (
            nn.BatchNorm2d(count) for count in (width, 2 * width, width)
        )
        self.output = nn.ConvTranspose2d(width, 1, 4, stride=2, padding=1)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return what pixels from 0 to 1 were before, (n, 1, 28, 28): about from 0 to 1."""
        codes = F.relu(self.norm1(self.down1(pixels)))  # (n, width, 14, 14)
        codes = F.relu(self.norm2(self.down2(codes)))  # (n, 2 width, 7, 7)
        codes = F.relu(self.norm3(self.up1(codes)))  # (n, width, 14, 14)
        return self.output(codes)


class CleanedFirst(nn.Module):
    """A network that is fed what a denoiser makes of its images; the denoiser learns no more.

    Parameters
    ----------
    denoiser, network : nn.Module
        The denoiser takes and gives pixels from 0 to 1, the network takes normalised ones.
    normalisation : Normalisation
        Of the images that come in, and of those that the network is fed.
    """

    def __init__(
        self,
        denoiser: nn.Module,
        network: nn.Module,
        normalisation: Normalisation = MNIST_NORMALISATION,
    ) -> None:
        super().__init__()
        self.denoiser = denoiser.requires_grad_(False)
        self.network = network
        self.normalisation = normalisation

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (n, classes) of normalised images (n, 1, 28, 28)."""
        pixels = self.denoiser(self.normalisation.undo(images)).clamp(0, 1)
        logits: Tensor = self.network(self.normalisation(255 * pixels))
        return logits


def make_denoiser(width: int = 16, seed: int = 0) -> Denoiser:
    """Return a denoiser whose first weights come from `seed` alone."""
    numbers = seeded_generator(torch.device("cpu"), seed, _DENOISER)
    with drawn_from(numbers.initial_seed()):
        return Denoiser(width)


def clean(denoiser: nn.Module, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return images uint8 (n, 28, 28) as the denoiser, on the CPU, makes them."""
    with eval_mode(denoiser), torch.no_grad():
        parts = [denoiser(some) for some in as_pixels(images).split(_AT_ONCE)]
    cleaned: NDArray[np.uint8] = (255 * torch.cat(parts)[:, 0].clamp(0, 1)).round().byte().numpy()
    return cleaned


def add_noise(pixels: Tensor, most: float, draws: Draws) -> Tensor:
    """Return pixels from 0 to 1 with Gaussian noise, cut off at 0 and 1.

    Parameters
    ----------
    pixels : Tensor (n, 1, height, width)
    most : float
        Grey values of 255. Each image has a standard deviation of its own, drawn from [0, most].
    draws : Draws
        For the images.
    """
    deviations = move(draws.uniform(1)[0], pixels.device) * most / 255
    noise = move(draws.normal_each(*pixels.shape[1:]), pixels.device)
    return (pixels + noise * deviations[:, None, None, None]).clamp(0, 1)


def _check_most(most: float) -> None:
    if not 0 < most < math.inf:
        raise ValueError(f"most must be above 0 and finite, found {most!r}.")


@dataclass(frozen=True)
class RemoveNoise(WholeModel):
    """Mean squared error of pixels from 0 to 1 against the digit without noise; reads no label.

    Attributes
    ----------
    most : float
        Grey values: the largest standard deviation of the noise.
    """

    most: float = 100.0

    def __post_init__(self) -> None:
        _check_most(self.most)

    def check(self, model: nn.Module, config: TrainConfig, class_names: tuple[str, ...]) -> None:
        """Refuse pixels that are normalised, and what wants labels."""
        if config.normalisation != AS_PIXELS:
            raise ValueError(
                "A denoiser takes pixels from 0 to 1: train with normalisation=AS_PIXELS."
            )
        refuse_what_wants_labels(config, "to remove noise")

    def loss(
        self, model: nn.Module, batch: Batch, draws: Draws, config: TrainConfig
    ) -> tuple[Tensor, Tensor]:
        """Return the mean squared error of a batch; nothing is right or wrong."""
        pixels, _ = batch
        guesses = model(add_noise(pixels, self.most, draws))
        return F.mse_loss(guesses.float(), pixels), torch.empty(0, device=pixels.device)

    def score(self, model: nn.Module, batches: Iterable[Batch]) -> Score:
        """Return the mean squared error over all images, under the same noise at every call."""
        generator = seeded_generator(torch.device("cpu"), 0, _NOISE)
        total, count = 0.0, 0
        with eval_mode(model), torch.no_grad():
            for batch in batches:
                size = len(batch[0])
                loss, _ = self.loss(model, batch, Draws.of(generator, size), TrainConfig())
                total += float(loss) * size
                count += size
        return Score(total / count, math.nan, count)

    def describe(self) -> dict[str, Any]:
        """Return the method and its settings."""
        return {"method": "denoising", "objective": asdict(self)}

    def describe_score(self, score: Score) -> dict[str, float]:
        """Return the mean squared error."""
        return {"squared_error": score.loss}


class ReadThroughNoise(Classify):
    """Classify digits with the same noise on them; scored on digits as they are.

    Parameters
    ----------
    most : float
        Grey values: the largest standard deviation of the noise.
    """

    def __init__(self, most: float = 100.0) -> None:
        _check_most(most)
        self.most = most

    def loss(
        self, model: nn.Module, batch: Batch, draws: Draws, config: TrainConfig
    ) -> tuple[Tensor, Tensor]:
        """Return the mean cross-entropy in nats, and which answers were right."""
        images, labels = batch
        pixels = add_noise(config.normalisation.undo(images), self.most, draws)
        return super().loss(model, (config.normalisation(255 * pixels), labels), draws, config)

    def describe(self) -> dict[str, Any]:
        """Return the method and its settings."""
        return {"method": "noise in training", "objective": {"most": self.most}}
