"""Models for programs without PyTorch: ONNX, and the one file that the book's pages read.

    export_onnx(model, card, "digits.onnx")     # onnxruntime and most other programs
    export_web(model, card, "digits.safetensors")   # the pad in the page: drop the file on it
    transformer_bytes(autoencoder, card)        # what the panel that shows attention reads

All take normalised images, float32 (n, 1, 28, 28), and carry the model card, which says how to
normalise. The page computes in JavaScript that was written for the book (`widgets/static`), so it
knows only the networks in `WEB_MODELS` and, on that panel, the vision transformer.

Sources: https://onnx.ai, https://huggingface.co/docs/safetensors
"""

from __future__ import annotations

import copy
import gzip
import io
import json
import logging
import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from mnist_lab.few_bits import halve, pack, round_to_levels, unpack
from mnist_lab.files import open_regular, write_atomically
from mnist_lab.finetuning.masked import MaskedAutoencoder
from mnist_lab.models.registry import build_model, outline_model
from mnist_lab.models.vit import TransformerBlock, VisionTransformer
from mnist_lab.reasons import reason_of
from mnist_lab.training.cards import ModelCard
from mnist_lab.training.tensor_files import check_numbers

# What the page's forward pass can compute (widgets/static/forward.js).
WEB_MODELS = ("linear", "mlp", "quick_cnn", "small_cnn")
WEB_LIMIT = 250_000  # bytes; a page with the file written into it still opens at once
TRANSFORMER_LIMIT = 2_000_000  # bytes; safetensors.js opens no larger file
_LARGEST_EXPORT = 1 << 30  # bytes that are looked through
WEB_FORMAT = "mnist-lab web 1"
_MOST_TENSORS = 64
ONNX_FORMAT = "mnist-lab onnx 1"
_GZIP_START = b"\x1f\x8b"
_ONNX_START = b"\x08"  # the first field of the protocol buffer: the version of ONNX


class ExportError(ValueError):
    """A model that cannot be written in the form that was asked for; one sentence."""


def export_onnx(model: nn.Module, card: ModelCard, path: str | Path) -> None:
    """Write a model as ONNX: input "images" (n, 1, height, width), output "logits" (n, classes).

    The number of images is free. The card is in the file's metadata under "card", as JSON.

    Raises
    ------
    ExportError
        If the packages for it are missing, the model is not the card's or cannot compute
        (`ModelCard.check`), or it has a part that ONNX cannot say.
    """
    missing = [name for name in ("onnx", "onnxscript") if find_spec(name) is None]
    if missing:
        raise ExportError(
            f"ONNX needs {' and '.join(missing)}: install them with pip install "
            f"{' '.join(missing)}."
        )
    plain = _checked(model, card)
    with _kept_quiet():
        try:
            program = torch.onnx.export(
                plain,
                (torch.zeros(2, 1, *card.input_size),),  # of one image it would make a constant
                input_names=["images"],
                output_names=["logits"],
                dynamic_shapes=({0: torch.export.Dim("count")},),
                dynamo=True,
                verbose=False,
            )
        except Exception as error:  # it raises what its many parts raise
            raise ExportError(
                f"{card.model} cannot be written as ONNX: {reason_of(error)}."
            ) from error
    assert program is not None
    proto: Any = program.model_proto
    entry = proto.metadata_props.add()
    entry.key, entry.value = "card", _card_text(card, format=ONNX_FORMAT)
    write_atomically(path, proto.SerializeToString())


@contextmanager
def _kept_quiet() -> Iterator[None]:
    """Keep to itself what the exporter says: of its own future, and page by page of a failure."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), io.StringIO() as said:
            warnings.simplefilter("ignore")
            with redirect_stdout(said), redirect_stderr(said):
                yield
    finally:
        logging.disable(disabled)


def export_web(
    model: nn.Module, card: ModelCard, path: str | Path, *, bits: int | None = None
) -> None:
    """Write the file that the page reads: weights as safetensors, the card in its header.

    Parameters
    ----------
    path : path
        If its name ends with ".gz", the file is compressed, which the page reads too: of a very
        small network the header is most of the file, and that shrinks to a quarter.
    bits : int, optional
        Of each weight, from 2 to 8 (`few_bits`); float32 if not given.

    Raises
    ------
    ExportError
        If the page does not know this architecture, the model is not the card's or cannot compute
        (`ModelCard.check`), or the file would have more than 250 kB.
    """
    content = web_bytes(model, card, bits=bits)
    write_atomically(path, pack_web(content) if Path(path).suffix == ".gz" else content)


def pack_web(content: bytes) -> bytes:
    """Return what `web_bytes` gave in the form of gzip; the same bytes every time."""
    return gzip.compress(content, 9, mtime=0)


def web_bytes(model: nn.Module, card: ModelCard, *, bits: int | None = None) -> bytes:
    """Return what `export_web` writes; the same model gives the same bytes."""
    if card.model not in WEB_MODELS:
        known = ", ".join(WEB_MODELS)
        raise ExportError(
            f"The page cannot compute {card.model!r}: its JavaScript knows {known}; ONNX takes "
            f"any model."
        )
    if tuple(card.input_size) != (28, 28):
        raise ExportError(
            f"The page draws images of 28x28 pixels; this model takes "
            f"{card.input_size[0]}x{card.input_size[1]}."
        )
    plain = build_model(card.model, **card.arguments).state_dict()
    if {name: tensor.shape for name, tensor in plain.items()} != {
        name: tensor.shape for name, tensor in model.state_dict().items()
    }:
        raise ExportError(
            f"The page knows only a plain {card.model}: this one has been changed (merge adapters "
            f"into its weights first)."
        )
    tensors = _floats(_checked(model, card))
    content = _pack_file(tensors, card, bits)
    if len(content) > WEB_LIMIT:
        raise ExportError(
            f"This {card.model} takes {len(content) / 1000:,.0f} kB, and a page loads at most "
            f"{WEB_LIMIT // 1000} kB: train a narrower one (small_cnn of width 24 fits)."
        )
    return content


def transformer_bytes(
    model: nn.Module,
    card: ModelCard,
    *,
    bits: int | None = None,
    reads: bool = True,
    scores: Mapping[str, float] | None = None,
) -> bytes:
    """Return the file of a transformer for the panel that shows its attention; as `web_bytes`.

    Parameters
    ----------
    model : VisionTransformer or MaskedAutoencoder
        With a decoder the panel also paints what is hidden: pixels, so that one which was trained
        with `normalised_targets` paints nonsense.
    card : ModelCard
        Of the transformer, or of the autoencoder's encoder.
    bits : int, optional
        Of each weight, from 2 to 8 (`few_bits`); float32 if not given.
    reads : bool
        Whether its head has learnt anything, so that the panel says what it reads.
    scores : mapping of str to float, optional
        What the panel is to say of it: accuracy on `count` digits that it has not learnt from, as
        they are (`whole`) and with half of the patches hidden (`half`).

    Raises
    ------
    ExportError
        If the model is another one, or not the card's, or cannot compute (`ModelCard.check`), or
        the file would have more than 2 MB.
    """
    encoder = model.encoder if isinstance(model, MaskedAutoencoder) else model
    if not isinstance(encoder, VisionTransformer) or card.model != "vit":
        raise ExportError(
            f"The panel shows the attention of a vit, alone or in a MaskedAutoencoder; this is a "
            f"{type(model).__name__} with the card of a {card.model}."
        )
    tensors = _floats(_checked(encoder, card))
    told: dict[str, Any] = {"reads": reads} | ({} if scores is None else {"scores": dict(scores)})
    if isinstance(model, MaskedAutoencoder):
        found = _floats(copy.deepcopy(model).cpu().float())
        found = {name: one for name, one in found.items() if not name.startswith("encoder.")}
        try:
            check_numbers(found, found)
        except ValueError as error:
            raise ExportError(f"Nothing could be computed with it: {reason_of(error)}.") from error
        tensors |= {f"decoder.{name}": one for name, one in found.items()}
        told["decoder"] = _sizes_of(model)
    content = _pack_file(tensors, card, bits, **told)
    if len(content) > TRANSFORMER_LIMIT:
        raise ExportError(
            f"This transformer takes {len(content) / 1e6:,.1f} MB, and the panel reads at most "
            f"{TRANSFORMER_LIMIT / 1e6:g} MB: give its weights 8 bits, or train a narrower one."
        )
    return content


def _sizes_of(decoder: MaskedAutoencoder) -> dict[str, int]:
    """Return what the panel has to know of a decoder beside its tensors."""
    first = decoder.blocks[0] if len(decoder.blocks) else None
    if not isinstance(first, TransformerBlock):
        raise ExportError("The panel knows only decoders with at least one block.")
    return {
        "width": decoder.positions.shape[1],
        "depth": len(decoder.blocks),
        "heads": first.attention.heads,
        "expansion": first.expand.out_features // first.expand.in_features,
    }


def _floats(model: nn.Module) -> dict[str, Tensor]:
    """Return the tensors of a model but for counts, as of batches, which nobody needs."""
    state = model.state_dict()
    return {name: one.contiguous() for name, one in state.items() if one.is_floating_point()}


def _pack_file(tensors: dict[str, Tensor], card: ModelCard, bits: int | None, **told: Any) -> bytes:
    """Return the file of these tensors, its header with the card and what more is to be told."""
    told["format"] = WEB_FORMAT
    if bits is not None:
        try:
            tensors = _pack_all(tensors, bits)
        except ValueError as error:
            raise ExportError(f"It cannot be written in {bits} bits: {error}") from error
        told["bits"] = bits
    # One entry, since safetensors writes several in an order that changes from call to call.
    return safetensors.torch.save(tensors, {"card": _card_text(card, **told)})


def read_web(content: bytes) -> tuple[nn.Module, ModelCard]:
    """Return the network that `web_bytes` wrote, as the page computes it, and its card.

    Weights of few bits come back as levels times scales. Compressed files are unpacked before
    (`gzip.decompress`).

    Raises
    ------
    ExportError
        If it is no such file.
    """
    try:
        tensors = safetensors.torch.load(content)
        size = int.from_bytes(content[:8], "little")
        record = json.loads(json.loads(content[8 : 8 + size])["__metadata__"]["card"])
        if record["format"] != WEB_FORMAT:
            raise ValueError(f"its format is {record['format']!r:.40}")
        card, bits = ModelCard.from_json(record), record.get("bits")
        if card.model not in WEB_MODELS:
            raise ValueError(f"the page has no {card.model!r:.40}")
        outline = outline_model(card.model, card.arguments, most_tensors=_MOST_TENSORS)
        assert outline is not None  # it is of the book
        if sum(p.numel() for p in outline.parameters()) > 4 * len(content):  # of two bits each
            raise ValueError("its network has more weights than the file")
        model = build_model(card.model, **card.arguments).eval()
        weights = model.state_dict()
        for name, tensor in weights.items():
            found = tensors.get(name, tensor)  # batch norm's count is not in the file
            scale = tensors.get(f"{name}.scale")
            if scale is not None:
                levels = torch.from_numpy(unpack(found.numpy(), tuple(tensor.shape), bits))
                found = levels * scale.float().view(-1, *[1] * (tensor.ndim - 1))
            weights[name] = found.to(tensor.dtype)
        model.load_state_dict(weights)
    except (
        SafetensorError,
        KeyError,
        TypeError,
        ValueError,
        ArithmeticError,
        RuntimeError,
    ) as error:
        raise ExportError(f"It is no file of a web export: {reason_of(error)}.") from error
    return model, card


def _checked(model: nn.Module, card: ModelCard) -> nn.Module:
    """Return the model as other programs compute it, a copy: on the CPU, in float32, in eval mode.

    Raises
    ------
    ExportError
        If a number in it is not finite, or it does not answer two images as the card says.
    """
    plain = copy.deepcopy(model).cpu().float().eval()
    try:
        tensors = plain.state_dict()
        check_numbers(tensors, tensors)
        card.check(plain)
    except ValueError as error:
        raise ExportError(f"Nothing could be computed with it: {reason_of(error)}.") from error
    return plain


def _pack_all(tensors: dict[str, Tensor], bits: int) -> dict[str, Tensor]:
    """Return kernels and matrices as packed levels beside their scales, and all else in 16 bits."""
    packed = {}
    for name, tensor in tensors.items():
        if tensor.ndim == 1:
            packed[name] = halve(name, tensor)
            continue
        levels, scales = round_to_levels(tensor, bits)
        packed[name] = torch.from_numpy(pack(levels, bits))
        packed[f"{name}.scale"] = scales.flatten().half()
    return packed


def _card_text(card: ModelCard, **more: Any) -> str:
    """Return the card as JSON, without how the model was trained: that may be long."""
    return json.dumps(card.to_json() | {"training": {}} | more, allow_nan=False)


def check_free(path: str | Path) -> None:
    """Refuse to replace a file that is no export, as its name may have been meant otherwise.

    Raises
    ------
    ExportError
    """
    path = Path(path)
    if path.is_dir():
        raise ExportError(f"{path} is a folder; name a file.")
    if not path.is_file() or path.stat().st_size == 0:
        return
    with open_regular(path) as file:
        content = file.read(_LARGEST_EXPORT)
    if content[:2] == _GZIP_START:
        try:
            with gzip.open(io.BytesIO(content)) as packed:
                content = packed.read(WEB_LIMIT)
        except (OSError, EOFError, zlib.error):
            content = b""
    # A text may speak of the formats, and a checkpoint or an .npz have a card or names too.
    is_web = content[8:9] == b"{" and WEB_FORMAT.encode() in content
    is_onnx = content[:1] == _ONNX_START and ONNX_FORMAT.encode() in content
    if not (is_web or is_onnx):
        raise ExportError(
            f"{path} is there already and is no export of mnist-lab: name another file, or replace "
            f"it with --overwrite."
        )
