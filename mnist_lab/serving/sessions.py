"""A network in ONNX Runtime, which `Reader` asks as it asks one of PyTorch.

    network, card = load_onnx("digits.onnx")        # as `export_onnx` wrote it
    reader = Reader(network, card)

    reader = load_served("runs/standard")           # of a checkpoint, through ONNX in memory

Source: https://onnxruntime.ai/docs/api/python
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import torch
from torch import Tensor, nn

from mnist_lab.export import ONNX_FORMAT, ExportError, export_onnx
from mnist_lab.extras import needs_extra
from mnist_lab.files import open_regular
from mnist_lab.handwriting.reader import Reader, load_reader
from mnist_lab.reasons import reason_of
from mnist_lab.training.cards import ModelCard


class OnnxNetwork(nn.Module):
    """A network that ONNX Runtime computes, on the CPU.

    Parameters
    ----------
    content : bytes
        What `export_onnx` wrote.
    threads : int
        How many compute one answer; 0: as many as there are cores.

    Raises
    ------
    ExportError
        If ONNX Runtime is missing, or it is no network that it can compute.
    """

    def __init__(self, content: bytes, threads: int = 0) -> None:
        super().__init__()
        with needs_extra("serve", ExportError):
            import onnxruntime
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3  # errors; what it warns of is its own affair
        try:
            self.session = onnxruntime.InferenceSession(
                content, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # it raises what its C++ parts raise
            raise ExportError(f"ONNX Runtime cannot compute it: {reason_of(error)}.") from error

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (n, classes) of normalised images (n, 1, height, width), float32."""
        (logits,) = self.session.run(["logits"], {"images": images.numpy()})
        return torch.from_numpy(logits)


def load_onnx(path: str | Path, threads: int = 0) -> tuple[OnnxNetwork, ModelCard]:
    """Load what `export_onnx` wrote: the network, and the card that travels with it.

    Raises
    ------
    ExportError
        If it is no such file, or ONNX Runtime is missing.
    """
    with open_regular(path) as file:
        network = OnnxNetwork(file.read(), threads)
    told = network.session.get_modelmeta().custom_metadata_map.get("card", "")
    try:
        record = json.loads(told)
        if record["format"] != ONNX_FORMAT:
            raise ValueError(f"its format is {record['format']!r:.40}")
        return network, ModelCard.from_json(record)
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise ExportError(
            f"{path} carries no card of mnist-lab: {reason_of(error)}. Write it with "
            f"python -m mnist_lab export DIR --format onnx."
        ) from error


def load_served(folder: str | Path, threads: int = 0) -> Reader:
    """Return a reader of a checkpoint whose network ONNX Runtime computes.

    Raises
    ------
    CheckpointError
        As for `load_reader`.
    ExportError
        If it cannot be written as ONNX, or a package is missing.
    """
    reader = load_reader(folder, device="cpu")
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "network.onnx"
        export_onnx(reader.model, reader.card, file)
        network, card = load_onnx(file, threads)
    return Reader(network, card)
