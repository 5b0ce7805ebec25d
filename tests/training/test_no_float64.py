"""Nothing is computed in float64 on a device, since Apple's GPUs have none.

No such GPU is needed: every operation is watched while the CPU stands for the device. What has been
brought to the host with `.cpu()` may be of any type, as may all that is made of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mnist_lab.finetuning.masked import GuessHiddenPatches, make_autoencoder
from mnist_lab.finetuning.ways import WAYS, finetune
from mnist_lab.handwriting.reader import Reader
from mnist_lab.lessons.widgets.digit_pad import DigitPad
from mnist_lab.models.registry import MODELS, build_model
from mnist_lab.training.batches import Batches
from mnist_lab.training.config import TrainConfig
from mnist_lab.training.runs import fit
from mnist_lab.training.scoring import evaluate, logits_of
from tests.training.small_runs import EVERY_CHANGE, EVERYTHING, Sets, run

PLACE = "is_on_the_host"  # the attribute of a tensor that `.cpu()` has given


class NoFloat64(TorchDispatchMode):
    """Refuses float64 as torch's MPS backend does, but for tensors on the host."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        found = func(*args, **(kwargs or {}))
        made = [leaf for leaf in tree_leaves(found) if isinstance(leaf, Tensor)]
        if given and all(hasattr(tensor, PLACE) for tensor in given):
            for tensor in made:
                setattr(tensor, PLACE, True)
        elif any(tensor.dtype == torch.float64 for tensor in [*given, *made]):
            raise TypeError(f"{func}: Cannot convert a MPS Tensor to float64 dtype")
        return found


@contextmanager
def no_float64(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the CPU be a device without float64, from which `.cpu()` leads to the host."""
    original = Tensor.cpu

    def bring(tensor: Tensor, *arguments: Any, **options: Any) -> Tensor:
        brought = original(tensor, *arguments, **options).detach().view_as(tensor)
        setattr(brought, PLACE, True)
        return brought

    with monkeypatch.context() as patch, NoFloat64():
        patch.setattr(Tensor, "cpu", bring)
        yield


def train(sets: Sets) -> None:
    run(sets, EVERYTHING, "small_cnn", arguments={"width": 2})


def train_with_everything_that_changes_images(sets: Sets) -> None:
    config = TrainConfig(epochs=1, augmentation=EVERY_CHANGE, upstrokes=0.2, precision="bfloat16")
    run(sets, config, "small_cnn", arguments={"width": 2})


def pretrain(sets: Sets) -> None:
    model = make_autoencoder(build_model("vit", width=16, depth=1), seed=0)
    fit(
        model,
        *sets,
        TrainConfig(epochs=1),
        objective=GuessHiddenPatches(),
        device="cpu",
        progress=False,
    )


def tune(way: str) -> Callable[[Sets], None]:
    def walk(sets: Sets) -> None:
        model = build_model("small_cnn", width=2)
        config = TrainConfig(epochs=1, learning_rate=WAYS[way])
        finetune(model, *sets, config, way=way, device="cpu", progress=False)

    return walk


def score(sets: Sets) -> None:
    model = build_model("small_cnn", width=2)
    evaluate(model, Batches(sets[1]))
    logits_of(model, Batches(sets[1]))


def read(sets: Sets) -> None:
    reader = Reader(build_model("small_cnn", width=2))
    reader.read(sets[1].images)
    reader.score(sets[1])
    page = np.full((200, 200), 255, np.uint8)
    page[40:160, 90:105] = 0
    reader.read_picture(page)


def draw(_: Sets) -> None:
    pad = DigitPad(build_model("small_cnn", width=2), layers=True)
    pad.strokes = [[[0.2, 0.2], [0.5, 0.5], [0.8, 0.9]]]
    assert len(pad.probabilities) == 10


WALKS: dict[str, Callable[[Sets], None]] = {
    "train": train,
    "augment": train_with_everything_that_changes_images,
    "pretrain": pretrain,
    **{f"finetune {way}": tune(way) for way in WAYS},
    "score": score,
    "read": read,
    "pad": draw,
}


@pytest.mark.parametrize("walk", WALKS)
def test_nothing_needs_float64_on_the_device(
    walk: str, sets: Sets, monkeypatch: pytest.MonkeyPatch
) -> None:
    with no_float64(monkeypatch):
        WALKS[walk](sets)


@pytest.mark.parametrize("name", MODELS)
def test_no_network_does(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build_model(name)
    with no_float64(monkeypatch):
        Reader(model).read(np.zeros((2, 28, 28), np.uint8))


@pytest.mark.parametrize(
    "slip",
    [
        lambda tensor: tensor.double().cpu(),
        lambda tensor: tensor + torch.ones(3, dtype=torch.float64),
        lambda tensor: torch.from_numpy(np.ones(3)) * 2,
    ],
)
def test_a_slip_is_seen(slip: Callable[[Tensor], Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    with no_float64(monkeypatch), pytest.raises(TypeError, match="float64"):
        slip(torch.ones(3))


def test_the_host_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with no_float64(monkeypatch):
        assert float((torch.ones(3).cpu().double() / 3).softmax(0).sum()) == pytest.approx(1)
