"""The page's transformer agrees with PyTorch: logits, attention, painted pixels; and bad files."""

from __future__ import annotations

import base64
import copy
import json
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from playwright.sync_api import Page
from safetensors.torch import load, save

from mnist_lab.export import transformer_bytes
from mnist_lab.few_bits import quantise_network
from mnist_lab.finetuning.masked import MaskedAutoencoder, make_autoencoder
from mnist_lab.models.registry import build_model
from mnist_lab.models.vit import patchify, unpatchify
from mnist_lab.training.cards import ModelCard
from tests.pages.workbench import call

pytestmark = pytest.mark.site

SHAPES: list[dict[str, Any]] = [
    {},
    {"patch": 14, "width": 12, "depth": 1, "heads": 3, "expansion": 1},
    {"patch": 4, "width": 24, "depth": 2, "heads": 2, "expansion": 3, "classes": 7},
]
READ = """([file, image, hidden]) => {
  const bytes = Uint8Array.from(atob(file), (letter) => letter.charCodeAt(0));
  const network = modules.transformer.openTransformer(bytes);
  const { logits, looks, guesses } = network.read(image, new Set(hidden));
  return {
    logits: [...logits], looks: looks.map((block) => block.map((head) => [...head])),
    guesses: guesses && [...guesses],
  };
}"""


def a_painter(**arguments: Any) -> tuple[MaskedAutoencoder, ModelCard]:
    """A transformer with a decoder, whose numbers are far from those that it starts with."""
    model = make_autoencoder(build_model("vit", seed=0, **arguments), seed=0, width=16, depth=2)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
    names = tuple("abcdefghij"[: arguments.get("classes", 10)])
    return model.eval(), ModelCard.of(model.encoder, class_names=names)


def an_image() -> np.ndarray:
    image = np.zeros((28, 28), np.uint8)
    image[4:24, 4:24] = np.random.default_rng(0).integers(0, 256, (20, 20))
    return image


def read_there(page: Page, content: bytes, hidden: list[int]) -> dict[str, Any]:
    file = base64.b64encode(content).decode()
    found: dict[str, Any] = page.evaluate(READ, [file, an_image().flatten().tolist(), hidden])
    return found


def read_here(model: MaskedAutoencoder, hidden: list[int]) -> dict[str, np.ndarray]:
    """The same by PyTorch in float64: logits, shares with zeros for what is hidden, grey values."""
    model = copy.deepcopy(model).double()
    encoder = model.encoder
    image = (torch.from_numpy(an_image())[None, None].double() / 255 - 0.1307) / 0.3081
    patches = patchify(image, encoder.patch)
    count = patches.shape[1]
    seen = [number for number in range(count) if number not in hidden]
    kept = torch.tensor([seen])
    with torch.no_grad():
        tokens = encoder.embed(patches, kept)
        heads = encoder.blocks[0].attention.heads
        looks = torch.zeros(len(encoder.blocks), heads, count, count).double()
        for block, shares in zip(encoder.blocks, looks, strict=True):
            found = block.attention.weigh(block.norm1(tokens))[0]
            shares[:, torch.tensor(seen)[:, None], torch.tensor(seen)] = found
            tokens = block(tokens)
        logits = encoder.output(encoder.norm(tokens).mean(1))[0]
        guesses = unpatchify(model(patches, kept), encoder.patch)
    grey = 255 * (0.1307 + 0.3081 * guesses)
    return {"logits": logits.numpy(), "looks": looks.flatten(2).numpy(), "guesses": grey.numpy()}


@pytest.mark.parametrize("arguments", SHAPES)
@pytest.mark.parametrize("hides", [False, True])
def test_logits_attention_and_painted_pixels_are_those_of_pytorch(
    bench: Page, arguments: dict[str, Any], hides: bool
) -> None:
    model, card = a_painter(**arguments)
    hidden = [0, 2] if hides else []
    found = read_there(bench, transformer_bytes(model, card), hidden)
    expected = read_here(model, hidden)
    assert np.abs(expected["logits"]).max() > 0.1  # otherwise the next lines say nothing
    assert np.ptp(expected["looks"]) > 0.1
    assert np.ptp(expected["guesses"]) > 100
    assert np.abs(np.array(found["logits"]) - expected["logits"]).max() < 1e-5
    assert np.abs(np.array(found["looks"]) - expected["looks"]).max() < 1e-6
    # Of 255 grey values, so that this is a millionth of the range.
    assert np.abs(np.array(found["guesses"]) - expected["guesses"].ravel()).max() < 1e-3


def test_shares_of_a_patch_that_is_seen_sum_to_one_and_hidden_ones_have_none(bench: Page) -> None:
    model, card = a_painter()
    looks = np.array(read_there(bench, transformer_bytes(model, card), [1, 7])["looks"])
    sums = looks.reshape(4, 4, 16, 16).sum(3)
    assert np.abs(np.delete(sums, [1, 7], axis=2) - 1).max() < 1e-12
    assert sums[:, :, [1, 7]].max() == 0


def test_with_few_bits_it_computes_with_what_is_left_of_the_weights(bench: Page) -> None:
    model, card = a_painter()
    content = transformer_bytes(model, card, bits=8)
    assert len(content) < 0.31 * len(transformer_bytes(model, card))
    small = quantise_network(model, 8)
    assert isinstance(small, MaskedAutoencoder)
    found, expected = read_there(bench, content, [3]), read_here(small, [3])
    assert np.abs(np.array(found["logits"]) - expected["logits"]).max() < 1e-5
    assert np.abs(np.array(found["guesses"]) - expected["guesses"].ravel()).max() < 1e-3
    assert np.abs(expected["logits"] - read_here(model, [3])["logits"]).max() > 1e-3


def test_without_a_decoder_it_reads_and_paints_nothing(bench: Page) -> None:
    model, card = a_painter()
    found = read_there(bench, transformer_bytes(model.encoder, card), [5])
    assert found["guesses"] is None
    assert np.abs(np.array(found["logits"]) - read_here(model, [5])["logits"]).max() < 1e-5


def test_gelu_is_that_of_pytorch(bench: Page) -> None:
    places = np.linspace(-12, 12, 481)
    found = [call(bench, "transformer.gelu", place) for place in places.tolist()]
    expected = F.gelu(torch.from_numpy(places)).numpy()
    assert np.abs(np.array(found) - expected).max() < 2e-6


def changed(**card: Any) -> bytes:
    """A good file with some of its card changed."""
    content = transformer_bytes(*a_painter(**SHAPES[1]))
    length = int.from_bytes(content[:8], "little")
    told = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["card"]) | card
    return save(load(content), {"card": json.dumps(told)})


DECODER = {"width": 16, "depth": 2, "heads": 4, "expansion": 2}
SIZES = {"patch": 14, "width": 12, "depth": 1, "heads": 3, "expansion": 1}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "too short"),
        (transformer_bytes(*a_painter(**SHAPES[1]))[:-50], "cut short"),
        (changed(model="small_cnn"), "architecture small_cnn"),
        (changed(arguments=None), "sizes that this page cannot"),
        (changed(arguments=SIZES | {"patch": 3}), "sizes that this page cannot"),
        (changed(arguments=SIZES | {"heads": 5}), "sizes that this page cannot"),
        (changed(arguments=SIZES | {"width": 10**9}), "sizes that this page cannot"),
        (changed(arguments=SIZES | {"depth": 2}), "blocks.1.norm1.weight is missing"),
        (changed(decoder=None), "is unknown to a vit"),
        (changed(decoder=DECODER | {"depth": 0}), "sizes that this page cannot"),
        (changed(decoder=DECODER | {"width": 32}), "decoder.bridge.weight has the shape"),
    ],
)
def test_a_file_that_is_no_transformer_is_one_sentence(
    bench: Page, content: bytes, said: str
) -> None:
    message = bench.evaluate(
        """(file) => {
          const bytes = Uint8Array.from(atob(file), (letter) => letter.charCodeAt(0));
          try {
            modules.transformer.openTransformer(bytes);
          } catch (error) {
            return error.message;
          }
        }""",
        base64.b64encode(content).decode(),
    )
    assert said in message
    assert ". " not in message
