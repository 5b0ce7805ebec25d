"""Change one thing in a small vision transformer: a part of its block, what it knows of places.

    python -m benchmarks.transformers [--seeds 3]
    python -m benchmarks.transformers --only taught decay

About 8 minutes on one core.

`variants`: the transformer of chapter 9 beside four that differ from it in one thing. Each is
trained on 10,000 digits for three epochs at its own rate, the best of the same five, and starts
with the same weights wherever it has the same ones. `taught`: twelve epochs with augmentation on
the same digits. `decay`: as `taught`, with weight decay that spares the positions or takes them
along. These two are measured only when they are asked for.

Everything is measured on validation data; the test set is not looked at.

Sources: RMSNorm, Zhang and Sennrich 2019; queries and keys normed, Henry et al. 2020; turned by
their places, Su et al. 2021; registers, Darcet et al. 2024.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from mnist_lab.data import DigitSet, load_mnist, split
from mnist_lab.finetuning import count_trainable
from mnist_lab.models import build_model, drawn_from
from mnist_lab.models.vit import SelfAttention, VisionTransformer
from mnist_lab.training import Batches, TrainConfig, evaluate, fit
from mnist_lab.training.loop import group_parameters

from .architectures import (
    AUGMENTATION,
    BATCH_SIZE,
    RATES,
    SEARCH_EPOCHS,
    SEARCHED,
    search_and_repeat,
)
from .recording import (
    Record,
    add,
    make_parser,
    measured,
    read_arguments,
)

WIDTH, HEADS, REGISTERS = 64, 4, 4
TAUGHT_EPOCHS, RATE = 12, 0.003
WEIGHT_DECAY = 0.05  # as chapter 12 pretrains with


class NormedAttention(SelfAttention):
    """Attention whose queries and keys are brought to one length, up to a learned factor."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__(width, heads)
        self.norm_queries, self.norm_keys = (nn.RMSNorm(width // heads) for _ in range(2))

    def _project(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        queries, keys, values = super()._project(tokens)
        return self.norm_queries(queries), self.norm_keys(keys), values


class TurnedAttention(SelfAttention):
    """Attention whose queries and keys are turned by their places: pairs of numbers, as angles.

    Half of the pairs turn with the row of a patch, half with its column; from one patch to the next
    by 1, 1/2, 1/4 and 1/8 radian.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__(width, heads)
        speeds = 0.5 ** torch.arange(width // heads // 4)
        rows, columns = torch.meshgrid(torch.arange(4), torch.arange(4), indexing="ij")
        places = torch.stack([rows.flatten(), columns.flatten()], 1)  # (16, 2)
        angles = (places.unsqueeze(2) * speeds).flatten(1)  # (16, pairs)
        self.register_buffer("turns", torch.polar(torch.ones_like(angles), angles))

    def _turn(self, vectors: Tensor) -> Tensor:
        pairs = torch.view_as_complex(vectors.unflatten(-1, (-1, 2)).contiguous())
        return torch.view_as_real(pairs * self.get_buffer("turns")).flatten(-2)

    def _project(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        queries, keys, values = super()._project(tokens)
        return self._turn(queries), self._turn(keys), values


class RegisteredTransformer(VisionTransformer):
    """A vision transformer with tokens that stand for no patch, and that its mean leaves out."""

    def __init__(self) -> None:
        super().__init__()
        self.registers = nn.Parameter(torch.randn(REGISTERS, WIDTH))

    def encode(self, patches: Tensor, kept: Tensor | None = None) -> Tensor:
        """Return what the blocks make of the patches: (n, count, width), without the registers."""
        tokens = self.embed(patches, kept)
        tokens = torch.cat([self.registers.expand(len(tokens), -1, -1), tokens], 1)
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)[:, REGISTERS:]


def put_rms_norms(model: VisionTransformer) -> None:
    """Replace every layer norm by one that only divides by the root mean square."""
    for block in model.blocks:
        block.norm1, block.norm2 = nn.RMSNorm(WIDTH), nn.RMSNorm(WIDTH)
    model.norm = nn.RMSNorm(WIDTH)  # type: ignore[assignment]


def put_attention(model: VisionTransformer, kind: type[SelfAttention]) -> None:
    """Replace every attention by one of another kind, with the same weights."""
    for block in model.blocks:
        other = kind(WIDTH, HEADS)
        other.load_state_dict(block.get_submodule("attention").state_dict(), strict=False)
        block.attention = other


def turn_by_place(model: VisionTransformer) -> None:
    """Let queries and keys turn, and nothing else know a place: all positions stay 0."""
    put_attention(model, TurnedAttention)
    nn.init.zeros_(model.positions).requires_grad_(False)


CHANGES: dict[str, Callable[[VisionTransformer], None]] = {
    "as it is": lambda model: None,
    "RMSNorm": put_rms_norms,
    "queries and keys normed": lambda model: put_attention(model, NormedAttention),
    "turned by place": turn_by_place,
}
VARIANTS = (*CHANGES, "registers")


def build_variant(name: str, seed: int) -> nn.Module:
    """Return a transformer, one of `VARIANTS`, drawn from a seed."""
    with drawn_from(seed):
        if name == "registers":
            return RegisteredTransformer()
        model = VisionTransformer()
        CHANGES[name](model)
        return model


def _read(model: nn.Module, few: DigitSet, validation: DigitSet, config: TrainConfig) -> float:
    """Train a network and return its validation accuracy after the last epoch."""
    run = fit(model, few, config=config, device="cpu", progress=False)
    return evaluate(run.model, Batches(validation)).accuracy


def measure_variants(record: Record, few: DigitSet, validation: DigitSet, seeds: int) -> None:
    """Search the rate of every variant, and train it from several seeds."""

    def read(name: str, rate: float, seed: int) -> float:
        config = TrainConfig(
            epochs=SEARCH_EPOCHS, batch_size=BATCH_SIZE, learning_rate=rate, seed=seed
        )
        return _read(build_variant(name, seed), few, validation, config)

    for name in VARIANTS:
        entry = record.entry("variants", name)
        entry["parameters"] = count_trainable(build_variant(name, 0))
        search_and_repeat(record, entry, name, RATES, seeds, partial(read, name))


def measure_longer(
    record: Record, few: DigitSet, validation: DigitSet, seeds: int, decay: bool
) -> None:
    """Train for twelve epochs with augmentation; with weight decay, if asked for, in two ways."""
    config = TrainConfig(
        epochs=TAUGHT_EPOCHS,
        batch_size=BATCH_SIZE,
        learning_rate=RATE,
        augmentation=AUGMENTATION,
        weight_decay=WEIGHT_DECAY if decay else 0.0,
    )
    ways = ("positions spared", "positions decayed") if decay else ("taught",)
    for way in ways:
        entry = record.entry(way)
        for seed in range(measured(entry, "accuracy"), seeds):
            model = build_model("vit", seed=seed)
            groups = group_parameters(model.named_parameters(), config)
            if way == "positions decayed":
                for group in groups:
                    spared = group["weight_decay"] == 0
                    group["params"] = [p for p in model.parameters() if (p.ndim == 1) == spared]
            run = fit(
                model, few, config=replace(config, seed=seed), groups=groups, device="cpu",
                progress=False,
            )  # fmt: skip
            add(entry, "accuracy", evaluate(run.model, Batches(validation)).accuracy)
            add(entry, "size", run.model.get_parameter("positions").square().mean().sqrt().item())
            record.save(way, seed, entry["accuracy"]["values"], entry["size"]["values"])


def main() -> None:
    """Measure what the record lacks."""
    parts = ("variants", "taught", "decay")
    parser = make_parser(__doc__, seeds=3, only=parts, threads=1, anew=True)
    parser.set_defaults(only=["variants"])
    arguments = read_arguments(parser)
    train_part, validation = split(load_mnist().train, seed=0)
    few = train_part.subset(np.arange(SEARCHED))
    setting = {
        "train": SEARCHED,
        "validation": len(validation),
        "epochs": SEARCH_EPOCHS,
        "taught_epochs": TAUGHT_EPOCHS,
        "batch_size": BATCH_SIZE,
        "augmentation": AUGMENTATION,
        "weight_decay": WEIGHT_DECAY,
    }
    record = Record("transformers", arguments, {"setting": setting})
    if "variants" in arguments.only:
        measure_variants(record, few, validation, arguments.seeds)
    for part in ("taught", "decay"):
        if part in arguments.only:
            measure_longer(record, few, validation, arguments.seeds, decay=part == "decay")


if __name__ == "__main__":
    main()
