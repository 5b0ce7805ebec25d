"""Masked pretraining: a vision transformer learns from digits without labels.

    result = pretrain(train, validation, PretrainConfig(epochs=10), folder="runs/masked")
    result.model.encoder                    # the "vit" of chapter 9; only its head is untrained
    load_pretrained(model, "runs/masked")   # finetuning: take all but the head

Most patches of each image are hidden. The encoder, which is `models.VisionTransformer`, sees only
the others. A small decoder gets what the encoder made of these, one learnt token in place of every
hidden patch, and positions; it guesses the pixels, and the loss counts the hidden patches alone.
After that the decoder has done its work. The labels of the digits are never read.

Order, augmentation and masks come from `config.seed` and the number of the epoch alone: so an
interrupted run goes on exactly, and several processes (`distributed.join`) take the steps that one
would take.

Source: He, Chen, Xie, Li, Dollár and Girshick 2022, "Masked autoencoders are scalable vision
learners", https://doi.org/10.1109/CVPR52688.2022.01553.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from mnist_lab.data.digit_set import DigitSet
from mnist_lab.data.normalisation import MNIST_NORMALISATION, Normalisation
from mnist_lab.models.registry import build_model
from mnist_lab.models.seeding import seeded_generator
from mnist_lab.models.vit import TransformerBlock, VisionTransformer, patchify, unpatchify
from mnist_lab.training.augmentation import Augmentation
from mnist_lab.training.batches import Batches, choose_device
from mnist_lab.training.checkpoints import (
    CheckpointError,
    ModelCard,
    load_tensors,
    load_weights,
    save_checkpoint,
    save_tensors,
)
from mnist_lab.training.config import TrainConfig
from mnist_lab.training.loop import TrainState, start_training
from mnist_lab.training.processes import ALONE, Ranks
from mnist_lab.training.runs import (
    RESUME,
    check_folder,
    check_parts,
    check_same_place,
    check_same_run,
    fingerprint,
    forget_run,
    load_optimizer,
    optimizer_tensors,
    part_of,
)
from mnist_lab.training.schedules import learning_rate_at

MODEL = "vit"  # what a checkpoint of the encoder is called
METHOD = "masked pretraining"

# Beside the numbers that give an epoch its order and its augmentation (seed, epoch).
_MASKS, _DECODER = 2, 3


@dataclass(frozen=True)
class PretrainConfig:
    """How to pretrain. Each default has its reason beside it."""

    epochs: int = 10  # the loss still falls after it, slowly
    mask_share: float = 0.75  # as He et al.; 0.5 is about as good and takes longer (chapter 12)
    decoder_width: int = 32  # half of the encoder: it works on all patches, seen and hidden
    decoder_depth: int = 1  # a deep decoder would do what the encoder is to learn
    normalised_targets: bool = True  # as He et al.; here it makes little difference (chapter 12)
    batch_size: int = 64  # many steps in little time: 256 learns less in as many seconds
    learning_rate: float = 0.003  # the peak; as the transformer of chapter 9
    warm_up: float = 0.1  # share of the steps in which the rate rises
    weight_decay: float = 0.05  # as He et al.
    precision: Literal["float32", "bfloat16"] = "float32"
    normalisation: Normalisation = MNIST_NORMALISATION
    augmentation: Augmentation | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        checks = {
            "mask_share": 0 < self.mask_share < 1,
            "decoder_width": self.decoder_width >= 1,
            "decoder_depth": self.decoder_depth >= 0,
        }
        for name, right in checks.items():
            if not right:
                raise ValueError(f"{name} cannot be {getattr(self, name)!r}.")
        _ = self.steps  # which checks the rest

    @property
    def steps(self) -> TrainConfig:
        """How the steps are taken, in the words of `training`."""
        return TrainConfig(
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            warm_up=self.warm_up,
            weight_decay=self.weight_decay,
            precision=self.precision,
            normalisation=self.normalisation,
            augmentation=self.augmentation,
            seed=self.seed,
        )


@dataclass(frozen=True)
class PretrainReport:
    """What one epoch did; losses are mean squared errors of hidden pixels, as they are guessed."""

    epoch: int
    train_loss: float
    validation_loss: float
    learning_rate: float
    seconds: float


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
        If the encoder is another network, or the heads do not divide the width.
    """

    def __init__(self, encoder: nn.Module, width: int = 32, depth: int = 1, heads: int = 4) -> None:
        super().__init__()
        if not isinstance(encoder, VisionTransformer):
            raise ValueError(
                f"Masked pretraining takes a VisionTransformer, which can leave patches out; "
                f"{type(encoder).__name__} cannot."
            )
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
        seen = self.bridge(self.encoder.encode(patches, kept))  # (n, k, width)
        tokens = self.hidden.to(seen.dtype).expand(len(patches), self.patches, -1)
        tokens = tokens.scatter(1, kept.unsqueeze(2).expand_as(seen), seen) + self.positions
        for block in self.blocks:
            tokens = block(tokens)
        guesses: Tensor = self.pixels(self.norm(tokens))
        return guesses


def make_autoencoder(
    config: PretrainConfig, arguments: dict[str, Any] | None = None
) -> MaskedAutoencoder:
    """Build "vit" with `arguments` and a decoder, their first weights drawn from the seed alone.

    Raises
    ------
    ValueError
        If the transformer cannot be built so, or no patch or every patch would be hidden.
    """
    encoder = build_model(MODEL, seed=config.seed, **(arguments or {}))
    seed = seeded_generator(torch.device("cpu"), config.seed, _DECODER).initial_seed()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = MaskedAutoencoder(encoder, config.decoder_width, config.decoder_depth)
    count_hidden(model.patches, config.mask_share)
    return model


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


def draw_kept(count: int, patches: int, share: float, generator: torch.Generator) -> Tensor:
    """Draw which patches stay visible: as many of each image, all choices equally likely.

    Parameters
    ----------
    count : int
        Images.
    patches : int
        Of each image.
    share : float
        Of them that is hidden, between 0 and 1.
    generator : torch.Generator
        On the CPU, so that every device sees the same masks.

    Returns
    -------
    int64 Tensor (count, patches - hidden), on the CPU
        Their numbers, in no order.
    """
    noise = torch.rand(count, patches, generator=generator)
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
    return errors[find_hidden(kept, patches.shape[1])].mean()


def reconstruct(model: MaskedAutoencoder, images: Tensor, kept: Tensor) -> Tensor:
    """Return images (n, 1, 28, 28) in which the hidden patches are as the model guesses them.

    For a model that guesses pixels; one with `normalised_targets` knows no patch's brightness.
    """
    patches = patchify(images, model.encoder.patch)
    with torch.no_grad():
        guesses = model(patches, kept)
    hidden = find_hidden(kept, model.patches).unsqueeze(2)
    return unpatchify(torch.where(hidden, guesses, patches), model.encoder.patch)


def score_masked(model: MaskedAutoencoder, batches: Batches, config: PretrainConfig) -> float:
    """Return the mean loss over all images, under masks that are the same at every call."""
    generator = seeded_generator(torch.device("cpu"), 0, _MASKS)
    total = 0.0
    with torch.no_grad():
        for images, _ in batches:
            patches = patchify(images, model.encoder.patch)
            kept = draw_kept(len(images), model.patches, config.mask_share, generator)
            kept = kept.to(images.device)
            guesses = model(patches, kept)
            loss = masked_loss(guesses, patches, kept, config.normalised_targets)
            total += float(loss) * len(images)
    return total / batches.count


# --- Epochs --------------------------------------------------------------------------------------


def masked_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    patches: Tensor,
    kept: Tensor,
    config: PretrainConfig,
    weight: float = 1.0,
) -> Tensor:
    """Take one step on patches (n, count, pixels) of which `kept` (n, k) are seen.

    `weight` multiplies the loss in the gradient, as in `training.train_step`. Returns the loss from
    before the step, detached.
    """
    with torch.autocast(patches.device.type, torch.bfloat16, config.precision == "bfloat16"):
        guesses = model(patches, kept)
    loss = masked_loss(guesses, patches, kept, config.normalised_targets)
    optimizer.zero_grad(set_to_none=True)
    (loss * weight).backward()
    optimizer.step()
    return loss.detach()


def pretrain_epoch(
    state: TrainState,
    train: Batches,
    config: PretrainConfig,
    on_step: Callable[[float], None] = lambda loss: None,
) -> float:
    """Train for one epoch and return the mean loss over its images, as they were met.

    Raises
    ------
    FloatingPointError
        At the first loss that is not finite.
    """
    model, ranks, steps = state.model, train.ranks, config.steps
    assert isinstance(model, MaskedAutoencoder)
    train.epoch = state.epoch
    model.train()
    generator = seeded_generator(torch.device("cpu"), config.seed, state.epoch, _MASKS)
    loss_sum = 0.0
    for number, (images, _) in enumerate(train):
        rate = learning_rate_at(state.step, state.total_steps, steps)
        for group in state.optimizer.param_groups:
            group["lr"] = rate
        # Every process draws the masks of the whole batch and takes its own piece of them.
        size = train.size_of(number)
        kept = draw_kept(size, model.patches, config.mask_share, generator)
        kept = kept[ranks.piece_of(size)].to(images.device)
        weight = len(images) * ranks.size / size
        if not len(images):  # weighs nothing, but the others wait for a gradient from every process
            images, kept = images.new_zeros(1, *images.shape[1:]), kept.new_zeros(1, kept.shape[1])
        patches = patchify(images, model.encoder.patch)
        stepped = state.replica or model
        value = masked_step(stepped, state.optimizer, patches, kept, config, weight).item()
        if ranks.size > 1:
            (value,) = ranks.add_up(value * weight / ranks.size)
        if not math.isfinite(value):
            raise FloatingPointError(
                f"The loss is {value} at step {state.step + 1} of {state.total_steps}: the "
                f"learning rate there is {rate:.3g}; try a tenth of it."
            )
        loss_sum += value * size
        state.step += 1
        on_step(value)
    state.epoch += 1
    return loss_sum / train.count


def iter_pretraining(
    state: TrainState,
    train: Batches,
    validation: Batches,
    config: PretrainConfig,
    on_step: Callable[[float], None] = lambda loss: None,
) -> Iterator[PretrainReport]:
    """Yield after every epoch, so that the caller may draw, save or break; goes on from `state`."""
    model = state.model
    assert isinstance(model, MaskedAutoencoder)
    while state.epoch < config.epochs:
        started = time.perf_counter()
        trained = pretrain_epoch(state, train, config, on_step)
        seconds = time.perf_counter() - started
        state.seconds += seconds
        (held_out,) = train.ranks.from_first(lambda: [score_masked(model, validation, config)], 1)
        rate = learning_rate_at(state.step - 1, state.total_steps, config.steps)
        yield PretrainReport(state.epoch, trained, held_out, rate, seconds)


# --- A whole run ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class PretrainResult:
    """The autoencoder after its last epoch, in eval mode, and how it went.

    `card` describes the encoder, as its checkpoint does.
    """

    model: MaskedAutoencoder
    card: ModelCard
    reports: tuple[PretrainReport, ...]
    seconds: float


def pretrain(
    train: DigitSet,
    validation: DigitSet,
    config: PretrainConfig,
    *,
    arguments: dict[str, Any] | None = None,
    device: str = "auto",
    folder: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
    ranks: Ranks = ALONE,
) -> PretrainResult:
    """Pretrain a vision transformer on images alone, and keep it as after the last epoch.

    Parameters
    ----------
    train, validation : DigitSet
        28 x 28; their labels are not used. A test part is refused: its images are to be new.
    config : PretrainConfig
    arguments : dict, optional
        Of `models.VisionTransformer`.
    device : {"auto", "cuda", "mps", "cpu"}
    folder : path, optional
        Where the encoder's checkpoint goes, as a "vit" whose head is untrained. After every epoch
        it also holds what is needed to resume, which is removed at the end.
    resume : bool
        Go on from what an interrupted run left in `folder`; on the CPU the result is bit for bit
        that of a run without interruption. Where there is nothing to resume, it starts anew.
    progress : bool
        Show a bar.
    ranks : Ranks
        As for `training.fit`.

    Raises
    ------
    ValueError
        If a part of the data is a test part, or its images have another size, or the transformer
        cannot be built or masked so, or (`CheckpointError`) the run in `folder` is another.
    FloatingPointError
        If the loss is not finite.
    """
    check_parts(train, validation)
    if train.images.shape[1:] != (28, 28):
        raise ValueError(f"The images must be 28 x 28, found {train.images.shape[1:]}.")
    where = ranks.device or choose_device(device)
    model = make_autoencoder(config, arguments).to(where)
    card = ModelCard(
        model=MODEL,
        arguments=dict(arguments or {}),
        normalisation=config.normalisation,
        class_names=train.class_names,
        training={
            "method": METHOD,
            "head": "untrained",
            "config": asdict(config),
            "data": fingerprint(train, validation),
        },
    )
    batches = Batches(
        train,
        config.batch_size,
        device=where,
        normalisation=config.normalisation,
        augmentation=config.augmentation,
        shuffle=True,
        seed=config.seed,
        ranks=ranks,
    )
    held_out = Batches(validation, device=where, normalisation=config.normalisation)
    state = start_training(model, batches, config.steps)
    reports: list[PretrainReport] = []
    path = None if folder is None else Path(folder)
    if path is not None:
        check_folder(path)
        if resume:
            reports = _take_up(path, state, card)
            check_same_place(state, ranks)
    shown = progress and ranks.first
    with tqdm(total=state.total_steps, initial=state.step, disable=not shown) as bar:

        def on_step(loss: float) -> None:
            bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
            bar.update()

        for report in iter_pretraining(state, batches, held_out, config, on_step):
            reports.append(report)
            bar.set_description(f"held-out loss {report.validation_loss:.4f}")
            if path is not None and ranks.first:
                _save(path, state, _card_now(card, state, reports), reports)
    model.encoder.output.requires_grad_(True)  # as in a model that was never pretrained
    return PretrainResult(
        model.eval(), _card_now(card, state, reports), tuple(reports), state.seconds
    )


def _card_now(card: ModelCard, state: TrainState, reports: list[PretrainReport]) -> ModelCard:
    now = {"step": state.step, "epoch": state.epoch, "masked_loss": reports[-1].validation_loss}
    return replace(card, training={**card.training, **now})


def _save(folder: Path, state: TrainState, card: ModelCard, reports: list[PretrainReport]) -> None:
    """Write the encoder, and what a kill must not lose."""
    model = state.model
    assert isinstance(model, MaskedAutoencoder)
    save_checkpoint(folder, model.encoder, card)
    if state.step == state.total_steps:
        forget_run(folder)
        return
    parts = {"model": model.state_dict(), "optimizer": optimizer_tensors(state.optimizer)}
    record = {
        "card": card.to_json(),
        "step": state.step,
        "epoch": state.epoch,
        "seconds": state.seconds,
        "reports": [asdict(report) for report in reports],
    }
    tensors = {
        f"{part}/{key}": value for part, named in parts.items() for key, value in named.items()
    }
    save_tensors(folder, RESUME, tensors, record)


def _take_up(folder: Path, state: TrainState, card: ModelCard) -> list[PretrainReport]:
    """Take up the run in the folder, if there is one, and return its reports."""
    path = folder / f"{RESUME}.json"
    if not path.exists():
        return []
    tensors, record = load_tensors(folder, RESUME)
    try:
        check_same_run(folder, card, record)
        load_weights(state.model, part_of(tensors, "model"), str(folder))
        load_optimizer(state.optimizer, part_of(tensors, "optimizer"))
        state.step, state.epoch = int(record["step"]), int(record["epoch"])
        state.seconds = float(record["seconds"])
        return [PretrainReport(**entry) for entry in record["reports"]]
    except (KeyError, TypeError, IndexError) as error:
        raise CheckpointError(f"{path} is no record of a run: {error!r}.") from error
