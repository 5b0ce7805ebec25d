"""LoRA by hand: a pretrained layer stays as it is and learns a change of low rank (chapter 11).

    add_lora(model, rank=4, names=["blocks"], seed=0)   # the base is frozen, the head learns
    ...train as usual...
    save_lora("runs/adapters", model)               # kilobytes; the base is not in it
    load_lora("runs/adapters", base)                # only onto the very same base

A layer's weight W becomes W + (alpha / rank) B A, where A has `rank` rows and B `rank` columns. Of
a convolution W is taken as a matrix with a row for each output channel. B begins at zero, so the
first output is unchanged to the last bit.

Of a convolution the change is added to the weight. That works for every kernel, stride, padding and
grouping, and where the activations are larger than the weights, as in a network for images, it is
cheaper. Of a linear layer it is a second path beside the layer, x A^T and then times B^T, which is
the same function: so nothing as large as W is made or kept, and W may lie in four bits
(`quantising`).

Source: Hu et al. 2022, "LoRA: Low-Rank Adaptation of Large Language Models"; the base in four bits,
Dettmers et al. 2023.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call

from mnist_lab.finetuning.heads import describe_body, name_difference
from mnist_lab.finetuning.quantising import QuantisedLinear
from mnist_lab.models.architecture import HEAD
from mnist_lab.models.seeding import seeded_generator
from mnist_lab.reasons import reason_of, shorten
from mnist_lab.training.cards import ModelCard
from mnist_lab.training.objectives import Classify
from mnist_lab.training.tensor_files import check_layout, check_numbers
from mnist_lab.training.tensor_folders import CheckpointError, load_tensors, save_tensors

_LORA = "lora"  # what the files of saved changes are called
_HEAD = f"{HEAD}."
_Adapted = nn.Linear | nn.Conv2d | QuantisedLinear


class LoRALayer(nn.Module):
    """A linear or convolution layer, frozen, with a change of low rank that learns.

    Parameters
    ----------
    base : nn.Linear, nn.Conv2d or QuantisedLinear
        It is kept and frozen, not copied.
    rank : int
        From 1 to the smaller side of the weight as a matrix.
    alpha : float
        The change is alpha / rank times B A; so the rank can change while the step keeps its size.
    generator : torch.Generator
        Draws A. B begins at zero.

    Raises
    ------
    ValueError
        If the layer is of another kind or the rank is out of range.
    """

    def __init__(
        self, base: nn.Module, rank: int, alpha: float, generator: torch.Generator
    ) -> None:
        super().__init__()
        if not isinstance(base, _Adapted):
            raise ValueError(
                f"LoRA adapts linear and convolution layers, not {type(base).__name__}."
            )
        weight = base.weight
        rows, columns = weight.flatten(1).shape
        if not 1 <= rank <= min(rows, columns):
            raise ValueError(
                f"rank must be from 1 to {min(rows, columns)} for a weight of {rows} x {columns}, "
                f"found {rank}."
            )
        self.base = base.requires_grad_(False)
        self.scale = alpha / rank
        self._unchanged: Tensor | None = None  # the base's weight, while the change is merged
        bound = 1 / math.sqrt(columns)  # as large as a new layer's weights, which peft takes too
        a = torch.empty(rank, columns).uniform_(-bound, bound, generator=generator)
        # As the base: of a large one in bfloat16, the changes are in bfloat16 too.
        device, kind = weight.device, weight.dtype
        self.a = nn.Parameter(a.to(device, kind))
        self.b = nn.Parameter(torch.zeros(rows, rank, device=device, dtype=kind))

    @property
    def merged(self) -> bool:
        """Whether the change is in the base's weight."""
        return self._unchanged is not None

    def change(self) -> Tensor:
        """Return what is added to the weight, in the weight's shape."""
        return (self.scale * self.b @ self.a).view(self._weight.shape)

    @property
    def _weight(self) -> Tensor:
        assert isinstance(self.base, _Adapted)
        return self.base.weight

    def forward(self, inputs: Tensor) -> Tensor:
        """Return what the layer makes of its inputs with its changed weight."""
        if self.merged:
            return self.base(inputs)
        if not isinstance(self.base, nn.Conv2d):
            return self.base(inputs) + self.scale * (inputs @ self.a.T @ self.b.T)
        changed = {"weight": self._weight + self.change()}
        return functional_call(self.base, changed, inputs)

    def merge(self) -> None:
        """Add the change to the weight; from now on the layer costs what it cost without LoRA.

        Raises
        ------
        ValueError
            If the weight is kept in four bits, which have no room for small changes.
        """
        if isinstance(self.base, QuantisedLinear):
            raise ValueError(
                "A change cannot be added to a weight of four bits; strip_lora makes a plain layer "
                "of it first."
            )
        if self._unchanged is None:
            # Kept, as a difference of rounded sums would not be the base to the last bit.
            self._unchanged = self._weight.detach().clone()
            with torch.no_grad():
                self._weight.add_(self.change())

    def unmerge(self) -> None:
        """Give the weight back as it was before the change was merged, to the last bit."""
        if self._unchanged is not None:
            with torch.no_grad():
                self._weight.copy_(self._unchanged)
            self._unchanged = None


def add_lora(
    model: nn.Module,
    *,
    rank: int = 4,
    alpha: float | None = None,
    names: Sequence[str] = ("",),
    seed: int = 0,
) -> nn.Module:
    """Freeze a model and give its linear and convolution layers changes of low rank, in place.

    The head, `model.output`, gets none: it is new, so it learns as a whole.

    Parameters
    ----------
    model : nn.Module
    rank : int
        For a layer whose matrix has a smaller side, that side is its rank.
    alpha : float, optional
        Above 0; the scale is alpha / rank. As large as `rank` if not given, so the scale is 1.
    names : sequence of str
        Modules, such as "blocks.3", in which layers are adapted, or endings such as
        ``"*_expand_conv"``; all, if not given.
    seed : int

    Returns
    -------
    The model itself.

    Raises
    ------
    ValueError
        If the rank or alpha is out of range, a name fits no layer, no layer can be adapted, or
        there are changes already.
    """
    if rank < 1:
        raise ValueError(f"rank must be 1 or more, found {rank}.")
    if alpha is not None and not 0 < alpha < math.inf:
        raise ValueError(f"alpha must be above 0 and finite, found {alpha}.")
    if any(True for _ in lora_layers(model)):
        raise ValueError("The model has LoRA layers already; merge or strip them first.")
    layers = {
        name: layer
        for name, layer in model.named_modules()
        if isinstance(layer, _Adapted) and not f"{name}.".startswith(_HEAD)
    }
    if not layers:
        raise ValueError(
            f"{type(model).__name__} has no linear or convolution layer besides its head: there is "
            f"nothing that LoRA could adapt."
        )
    for wanted in names:
        if not any(_fits(name, wanted) for name in layers):
            raise ValueError(f"No linear or convolution layer is called {wanted!r} or lies in it.")
    model.requires_grad_(False)
    generator = seeded_generator(torch.device("cpu"), seed)
    for name, layer in layers.items():
        if any(_fits(name, wanted) for wanted in names):
            possible = min(rank, *layer.weight.flatten(1).shape)
            # The scale is that of the rank which was asked for, whatever rank fits.
            scaled = possible * (alpha / rank if alpha is not None else 1)
            _put(model, name, LoRALayer(layer, possible, scaled, generator))
    head = getattr(model, HEAD, None)
    if isinstance(head, nn.Module):
        head.requires_grad_(True)
    return model


def _fits(name: str, wanted: str) -> bool:
    """Whether a layer is the wanted module, lies in it, or ends as `*ending` says."""
    if wanted.startswith("*"):
        return name.endswith(wanted[1:])
    return not wanted or f"{name}.".startswith(f"{wanted}.")


def _put(model: nn.Module, name: str, layer: nn.Module) -> None:
    """Put a layer in the place of the one of that name."""
    parent, _, last = name.rpartition(".")
    setattr(model.get_submodule(parent), last, layer)


def lora_layers(model: nn.Module) -> Iterator[tuple[str, LoRALayer]]:
    """Yield every LoRA layer with its name."""
    for name, part in model.named_modules():
        if isinstance(part, LoRALayer):
            yield name, part


def lora_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters of all changes, A and B, by name."""
    return {
        f"{name}.{key}": layer.get_parameter(key)
        for name, layer in lora_layers(model)
        for key in ("a", "b")
    }


def merge_lora(model: nn.Module) -> None:
    """Add every change to its weight, in place: the same outputs, without the extra work."""
    for _, layer in lora_layers(model):
        layer.merge()


def unmerge_lora(model: nn.Module) -> None:
    """Take every change out of its weight again: the base is what it was, to the last bit."""
    for _, layer in lora_layers(model):
        layer.unmerge()


def strip_lora(model: nn.Module, *, keep_changes: bool = True) -> nn.Module:
    """Return a copy with plain layers, for `save_checkpoint` or to be used without this module.

    All of the copy may learn, as in a model that a checkpoint holds. A base in four bits is
    restored, since its changes need a weight to be added to.

    Parameters
    ----------
    keep_changes : bool
        Merge the changes into the weights; otherwise the copy is the base again.
    """
    plain = copy.deepcopy(model)
    for name, layer in list(lora_layers(plain)):
        if isinstance(layer.base, QuantisedLinear):
            layer.base = layer.base.to_linear()
        layer.merge() if keep_changes else layer.unmerge()
        _put(plain, name, layer.base)
    return plain.requires_grad_(True)


class ClassifyThroughLoRA(Classify):
    """To classify with a model that has LoRA layers: kept is a plain one, the changes merged."""

    beside: ClassVar[tuple[str, ...]] = (_LORA,)

    def kept(self, model: nn.Module) -> nn.Module:
        """Return a copy with plain layers, which a checkpoint can hold."""
        return strip_lora(model)

    def save_beside(self, folder: Path, model: nn.Module) -> None:
        """Write the changes by themselves."""
        save_lora(folder, model)


# --- Checkpoints ---------------------------------------------------------------------------------


def hash_base(model: nn.Module) -> str:
    """Return the SHA-256 of a model's base: all weights and buffers but the head's and LoRA's.

    How the base is fed, such as the size of its input, is no weight: `save_lora` records it beside.

    Raises
    ------
    ValueError
        If changes are merged, since the base's weights are then not there to be read.
    """
    if any(layer.merged for _, layer in lora_layers(model)):
        raise ValueError("The changes are merged into the base; call unmerge_lora first.")
    adapters = lora_parameters(model).keys()
    wrapped = [name for name, _ in lora_layers(model)]
    digest = hashlib.sha256()
    named = {}
    for name, tensor in model.state_dict().items():
        if name in adapters or name.startswith(_HEAD):
            continue
        layer = next((layer for layer in wrapped if name.startswith(f"{layer}.base.")), None)
        named[f"{layer}.{name.removeprefix(f'{layer}.base.')}" if layer else name] = tensor
    for name, tensor in sorted(named.items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        # As bytes, since NumPy has no bfloat16.
        plain = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(plain.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def save_lora(folder: str | Path, model: nn.Module, *, head: bool = True) -> None:
    """Write the changes (and the head), and which base they belong to; not the base itself.

    Raises
    ------
    ValueError
        If the model has no LoRA layers, or they are merged.
    """
    layers = dict(lora_layers(model))
    if not layers:
        raise ValueError("The model has no LoRA layers to save.")
    base = hash_base(model)
    tensors: dict[str, Tensor] = dict(lora_parameters(model))
    if head:
        tensors |= {k: v for k, v in model.state_dict().items() if k.startswith(_HEAD)}
    record = {
        "base": describe_body(model),
        "base_sha256": base,
        "scales": {name: layer.scale for name, layer in layers.items()},
    }
    save_tensors(folder, _LORA, tensors, record)


def load_lora(folder: str | Path, model: nn.Module, *, card: ModelCard | None = None) -> nn.Module:
    """Put saved changes (and the head, if saved) onto their base, in place, and return it.

    Parameters
    ----------
    folder : path
    model : nn.Module
        The base.
    card : ModelCard, optional
        The base's: of which size and normalisation the two images are that the changed model is
        asked to read (`ModelCard.check`). 28x28 and MNIST's, or what it was built for, if not
        given.

    Raises
    ------
    CheckpointError
        If there are none, they are damaged, belong to another base, or make a network that cannot
        compute; the model is then as it was.
    """
    if any(True for _ in lora_layers(model)):
        raise CheckpointError(f"{folder}: the model has LoRA layers already; load a bare base.")
    tensors, record = load_tensors(folder, _LORA, functools.partial(_expect_changes, folder, model))
    changed = copy.deepcopy(model)  # the model is as it was if something turns out to be damaged
    layers = {
        name: _restored(changed.get_submodule(name), scale, tensors, name)
        for name, scale in record["scales"].items()
    }
    head = {name: tensor for name, tensor in tensors.items() if name.startswith(_HEAD)}
    for name, layer in layers.items():
        _put(changed, name, layer)
    changed.load_state_dict(head, strict=False)
    try:
        check_numbers(tensors, changed.state_dict())
        _card_for(changed, card).check(changed)
    except ValueError as error:
        raise CheckpointError(f"The changes in {folder}: {reason_of(error)}.") from error
    model.requires_grad_(False)
    for name, layer in layers.items():
        _put(model, name, layer)
    if head:
        model.load_state_dict(head, strict=False)
        model.get_submodule(HEAD).requires_grad_(True)
    return model


def _card_for(model: nn.Module, card: ModelCard | None) -> ModelCard:
    """Return the base's card, with as many classes as the saved head may have brought."""
    head = getattr(model, HEAD, None)
    if not isinstance(head, nn.Linear):
        return card or ModelCard.of(model)
    names = tuple(map(str, range(head.out_features)))  # what they are called does not count here
    if card is None:
        return ModelCard.of(model, class_names=names)
    return replace(card, class_names=names)


def _expect_changes(
    folder: str | Path, model: nn.Module, layout: Mapping[str, Tensor], record: Mapping[str, Any]
) -> None:
    """Refuse changes of another base, or that its layers have no place for, before they are read.

    Raises
    ------
    CheckpointError
    """
    body, recorded = describe_body(model), record.get("base")
    if body != recorded:  # the same weights perhaps, but fed otherwise
        told = name_difference(recorded if isinstance(recorded, dict) else None, body)
        raise CheckpointError(f"The changes in {folder} were trained on another base: {told}.")
    found = hash_base(model)
    if found != record.get("base_sha256"):
        told = shorten(str(record.get("base_sha256"))[:8])
        raise CheckpointError(
            f"The changes in {folder} were trained on another base: its SHA-256 begins with "
            f"{told}, that of this {type(model).__name__} with {found[:8]}."
        )
    own = {name: tensor for name, tensor in model.state_dict().items() if name.startswith(_HEAD)}
    head = {name: tensor for name, tensor in layout.items() if name.startswith(_HEAD)}
    wrong = [k for k, v in head.items() if k not in own or v.shape != own[k].shape]
    if wrong:
        shapes = ", ".join(f"{k} {tuple(head[k].shape)}" for k in wrong)
        raise CheckpointError(
            f"The head in {folder} has another size than the model's: {shorten(shapes)}."
        )
    try:
        check_layout(layout, (own if head else {}) | _expected_changes(model, layout, record))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise CheckpointError(
            f"{folder}: lora.json describes no changes: {reason_of(error)}."
        ) from error


def _expected_changes(
    model: nn.Module, layout: Mapping[str, Tensor], record: Mapping[str, Any]
) -> dict[str, Tensor]:
    """Return A and B, without numbers, of every layer that the record names.

    Raises
    ------
    KeyError, TypeError, AttributeError or ValueError
        If the record names none, or what is no layer, no scale or no rank.
    """
    expected = {}
    if not record["scales"]:
        raise ValueError("it names no layer")
    for name, scale in record["scales"].items():
        # Compared with the largest float, as a whole number may have 400 digits.
        if type(scale) not in (int, float) or not abs(scale) <= sys.float_info.max:
            raise ValueError(f"the scale of {shorten(name)} is {scale!r:.100}")
        layer = model.get_submodule(name)
        if not isinstance(layer, _Adapted) or f"{name}.".startswith(_HEAD):
            raise ValueError(f"{shorten(name)} is no layer that LoRA adapts")
        weight = layer.weight
        rows, columns = weight.flatten(1).shape
        rank = len(layout[f"{name}.a"])
        if not 1 <= rank <= min(rows, columns):
            raise ValueError(f"{name} has a change of rank {rank}")
        for key, shape in (("a", (rank, columns)), ("b", (rows, rank))):
            expected[f"{name}.{key}"] = torch.empty(shape, dtype=weight.dtype, device="meta")
    return expected


def _restored(base: nn.Module, scale: float, tensors: dict[str, Tensor], name: str) -> LoRALayer:
    """Return a layer with the saved change of that name."""
    a, b = tensors[f"{name}.a"], tensors[f"{name}.b"]
    layer = LoRALayer(base, len(a), scale * len(a), torch.Generator())
    with torch.no_grad():
        layer.a.copy_(a)
        layer.b.copy_(b)
    return layer
