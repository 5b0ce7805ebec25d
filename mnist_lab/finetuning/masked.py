"""Masked pretraining: a vision transformer learns from digits without labels.

    model = make_autoencoder(build_model("vit", seed=0), seed=0)
    fit(model, train, validation, PRETRAIN, objective=GuessHiddenPatches(), folder="runs/masked")
    model.encoder                           # the "vit" of chapter 9; only its head is untrained
    load_pretrained(other, "runs/masked")   # heads: take all but the head

Most patches of each image are hidden. The encoder, which is `models.VisionTransformer`, sees only
the others. A small decoder gets what the encoder made of these, one learnt token in place of every
hidden patch, and positions; it guesses the pixels, and the loss counts the hidden patches alone.
After that the decoder has done its work. The labels of the digits are never read.

The run is `training.fit`'s, with its checks, checkpoints and exact resumption: here stands only
what is minimised and by which model.

Source: He, Chen, Xie, Li, Dollár and Girshick 2022, "Masked autoencoders are scalable vision
learners", https://doi.org/10.1109/CVPR52688.2022.01553.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mnist_lab.models.seeding import drawn_from, seeded_generator
from mnist_lab.models.vit import TransformerBlock, VisionTransformer, patchify, unpatchify
from mnist_lab.training.batches import Batch, move
from mnist_lab.training.config import TrainConfig
from mnist_lab.training.draws import Draws
from mnist_lab.training.objectives import refuse_what_wants_labels
from mnist_lab.training.processes import inside_replica
from mnist_lab.training.scoring import Score, cast_for, eval_mode

METHOD = "masked pretraining"  # how a card calls it

# How to pretrain.
PRETRAIN = TrainConfig(
    epochs=10,  # the loss still falls after it, slowly
    batch_size=64,  # many steps in little time: 256 learns less in as many seconds
    learning_rate=0.003,  # the peak; as the transformer of chapter 9
    warm_up=0.1,
    weight_decay=0.05,  # as He et al.
)

# Beside the seed: what the decoder's first weights and the masks of a score are drawn from.
_MASKS, _DECODER = 2, 3


class MaskedAutoencoder(nn.Module):
    """An encoder that sees some patches, and a decoder that guesses all of them.

    Parameters
    ----------
    encoder : VisionTransformer
        Its head takes no part and is frozen.
    width, depth, heads : int
        Of the decoder's blocks.

    Raises
    ------
    ValueError
        If the encoder is another network, the decoder's sizes are out of range, or the heads do
        not divide the width.
    """

    def __init__(self, encoder: nn.Module, width: int = 32, depth: int = 1, heads: int = 4) -> None:
        super().__init__()
        if not isinstance(encoder, VisionTransformer):
            raise ValueError(
                f"Masked pretraining takes a VisionTransformer, which can leave patches out; "
                f"{type(encoder).__name__} cannot."
            )
        for name, value, least in (("width", width, 1), ("depth", depth, 0)):
            if value < least:
                raise ValueError(f"The decoder's {name} cannot be {value}.")
        count, seen_width = encoder.positions.shape
        self.encoder = encoder
        self.encoder.output.requires_grad_(False)
        self.bridge = nn.Linear(seen_width, width)
        self.hidden = nn.Parameter(torch.zeros(width))  # the token in place of a hidden patch
        self.positions = nn.Parameter(torch.empty(count, width))
        nn.init.normal_(self.positions)  # as the encoder's: small ones are learnt slowly
        self.blocks = nn.ModuleList(TransformerBlock(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.pixels = nn.Linear(width, encoder.patch**2)

    @property
    def patches(self) -> int:
        """How many patches an image has."""
        return len(self.positions)

    def forward(self, patches: Tensor, kept: Tensor) -> Tensor:
        """Guess the pixels of every patch from those that are kept.

        Parameters
        ----------
        patches : Tensor (n, count, patch * patch)
        kept : int64 Tensor (n, k)
            Numbers of the patches that are seen; nothing of the others reaches a guess.

        Returns
        -------
        Tensor (n, count, patch * patch)
        """
        return self.decode(self.encoder.encode(patches, kept), kept)

    def decode(self, encoded: Tensor, kept: Tensor) -> Tensor:
        """Guess the pixels of every patch from what the encoder made of those that are kept.

        Parameters
        ----------
        encoded : Tensor (n, k, width of the encoder)
        kept : int64 Tensor (n, k)

        Returns
        -------
        Tensor (n, count, patch * patch)
        """
        seen = self.bridge(encoded)  # (n, k, width)
        tokens = self.hidden.to(seen.dtype).expand(len(seen), self.patches, -1)
        tokens = tokens.scatter(1, kept.unsqueeze(2).expand_as(seen), seen) + self.positions
        for block in self.blocks:
            tokens = block(tokens)
        return self.pixels(self.norm(tokens))


def make_autoencoder(
    encoder: nn.Module, seed: int, width: int = 32, depth: int = 1
) -> MaskedAutoencoder:
    """Put a decoder behind an encoder, its first weights drawn from `seed` alone.

    Parameters
    ----------
    encoder : VisionTransformer
        It is trained as it is, not copied.
    seed : int
    width : int
        Of the decoder: half of the encoder's, since it works on all patches, seen and hidden.
    depth : int
        Of the decoder: a deep one would do what the encoder is to learn.

    Raises
    ------
    ValueError
        If the encoder is another network, or the width cannot be shared by the decoder's heads.
    """
    numbers = seeded_generator(torch.device("cpu"), seed, _DECODER)
    with drawn_from(numbers.initial_seed()):
        return MaskedAutoencoder(encoder, width, depth)


# --- Masks and loss ------------------------------------------------------------------------------


def count_hidden(patches: int, share: float) -> int:
    """Return how many of an image's patches are hidden; at least one is, and one is not.

    Raises
    ------
    ValueError
        If the share of so few patches is none of them or all.
    """
    hidden = round(patches * share)
    if not 0 < hidden < patches:
        raise ValueError(
            f"A mask_share of {share} would hide {hidden} of {patches} patches: some must be "
            f"hidden and some seen."
        )
    return hidden


def draw_kept(patches: int, share: float, draws: Draws) -> Tensor:
    """Draw which patches stay visible: as many of each image, all choices equally likely.

    Parameters
    ----------
    patches : int
        Of each image.
    share : float
        Of them that is hidden, between 0 and 1.
    draws : Draws
        For the images; its generator is on the CPU, so that every device sees the same masks.

    Returns
    -------
    int64 Tensor (n, patches - hidden), on the CPU
        Their numbers, in no order.
    """
    noise = draws.uniform_each(patches)
    return noise.argsort(1)[:, : patches - count_hidden(patches, share)]


def find_hidden(kept: Tensor, patches: int) -> Tensor:
    """Return a boolean Tensor (n, patches): true where a patch is not among those `kept` (n, k)."""
    everything = torch.ones(len(kept), patches, dtype=torch.bool, device=kept.device)
    return everything.scatter(1, kept, False)


def normalise_patches(patches: Tensor) -> Tensor:
    """Return patches (n, count, pixels), each less its mean and divided by its deviation.

    A hundredth is added to the variance: else the one grey pixel of an almost blank patch counts as
    much as a stroke.
    """
    mean, variance = patches.mean(2, keepdim=True), patches.var(2, keepdim=True)
    return (patches - mean) / (variance + 0.01).sqrt()


def masked_loss(guesses: Tensor, patches: Tensor, kept: Tensor, normalised: bool = False) -> Tensor:
    """Return the mean squared error over the pixels of the hidden patches, and of no others.

    Parameters
    ----------
    guesses, patches : Tensor (n, count, pixels)
    kept : int64 Tensor (n, k)
        The patches that were seen: to copy these would teach nothing.
    normalised : bool
        Whether the guesses are of `normalise_patches(patches)`.
    """
    target = normalise_patches(patches) if normalised else patches
    errors = (guesses.float() - target).square().mean(2)  # (n, count)
    # By number, since how many a mask chooses is not known before a GPU has counted.
    hidden = find_hidden(kept, errors.shape[1]).byte().argsort(dim=1, descending=True, stable=True)
    return errors.gather(1, hidden[:, : errors.shape[1] - kept.shape[1]]).mean()


def reconstruct(model: MaskedAutoencoder, images: Tensor, kept: Tensor) -> Tensor:
    """Return images (n, 1, 28, 28) in which the hidden patches are as the model guesses them.

    For a model that guesses pixels; one with `normalised_targets` knows no patch's brightness.
    """
    patches = patchify(images, model.encoder.patch)
    with torch.no_grad():
        guesses = model(patches, kept)
    hidden = find_hidden(kept, model.patches).unsqueeze(2)
    return unpatchify(torch.where(hidden, guesses, patches), model.encoder.patch)


# --- The objective -------------------------------------------------------------------------------


@dataclass(frozen=True)
class GuessHiddenPatches:
    """Mean squared error of hidden pixels, for `training.fit`; no label is read.

    Attributes
    ----------
    mask_share : float
        Of the patches that is hidden. 0.75 as He et al.; 0.5 is about as good and takes longer
        (chapter 12).
    normalised_targets : bool
        Guess patches less their mean and divided by their deviation, as He et al.; here it makes
        little difference (chapter 12).
    """

    mask_share: float = 0.75
    normalised_targets: bool = True
    beside: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        if not 0 < self.mask_share < 1:
            raise ValueError(f"mask_share cannot be {self.mask_share!r}.")

    def check(self, model: nn.Module, config: TrainConfig, class_names: tuple[str, ...]) -> None:
        """Refuse another model, a share that hides nothing or all, and what wants labels."""
        count_hidden(_as_autoencoder(model).patches, self.mask_share)
        refuse_what_wants_labels(config, "masked pretraining")

    def loss(
        self, model: nn.Module, batch: Batch, draws: Draws, config: TrainConfig
    ) -> tuple[Tensor, Tensor]:
        """Return the mean squared error of the hidden patches; nothing is right or wrong."""
        images, _ = batch
        autoencoder = _as_autoencoder(inside_replica(model))
        patches = patchify(images, autoencoder.encoder.patch)
        if patches.shape[1] != autoencoder.patches:
            height, width = images.shape[2:]
            raise ValueError(f"The images must be 28 x 28, found {height} x {width}.")
        kept = move(draw_kept(autoencoder.patches, self.mask_share, draws), images.device)
        guesses = model(cast_for(model, patches), kept)
        loss = masked_loss(guesses, patches, kept, self.normalised_targets)
        return loss, torch.empty(0, device=images.device)

    def score(self, model: nn.Module, batches: Iterable[Batch]) -> Score:
        """Return the mean loss over all images, under masks that are the same at every call."""
        generator = seeded_generator(torch.device("cpu"), 0, _MASKS)
        total, count = 0.0, 0
        with eval_mode(model), torch.no_grad():
            for images, labels in batches:
                draws = Draws.of(generator, len(images))
                loss, _ = self.loss(model, (images, labels), draws, TrainConfig())
                total += float(loss) * len(images)
                count += len(images)
        return Score(total / count, math.nan, count)

    def kept(self, model: nn.Module) -> nn.Module:
        """Return the encoder."""
        return _as_autoencoder(model).encoder

    def save_beside(self, folder: Path, model: nn.Module) -> None:
        """Write nothing: the decoder has done its work."""

    def describe(self) -> dict[str, Any]:
        """Return the method, its settings, and that the head has learnt nothing."""
        return {"method": METHOD, "head": "untrained", "objective": asdict(self)}

    def describe_score(self, score: Score) -> dict[str, float]:
        """Return the loss."""
        return {"masked_loss": score.loss}

    def finish(self, model: nn.Module) -> None:
        """Let the encoder's head learn again, as in a model that was never pretrained."""
        _as_autoencoder(model).encoder.output.requires_grad_(True)


def _as_autoencoder(model: nn.Module) -> MaskedAutoencoder:
    """Refuse another model, which has no patches to hide."""
    if not isinstance(model, MaskedAutoencoder):
        raise ValueError(
            f"Hidden patches are guessed by a MaskedAutoencoder (make_autoencoder puts a decoder "
            f"behind a vit), not by a {type(model).__name__}."
        )
    return model
