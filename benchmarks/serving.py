"""How long a service takes to answer, by what is asked of it at once.

    python -m benchmarks.serving [--device cpu]

About 4 minutes on two idle cores.

Two measurements with the network of the preset `standard`, whose weights do not matter here:

- the network alone, milliseconds for 1 to 64 images of 28x28, in PyTorch and in ONNX Runtime, in
  float32, taking turns; the median over the turns counts;
- the whole service, over HTTP and in a process of its own: how long the answers take (median and
  99th percentile) and how many pictures it reads in a second, when 1 or 16 clients ask, each with 1
  to 64 pictures of one digit in a request.

Answers come over this machine's own network, which adds next to nothing; a real one adds its own.
"""

from __future__ import annotations

import io
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from mnist_lab.data import load_mnist
from mnist_lab.models import build_model
from mnist_lab.serving import load_served
from mnist_lab.training import PRESETS, ModelCard, save_checkpoint

from .recording import Record, make_parser, read_arguments

SIZES = (1, 4, 16, 64)  # images at once, or pictures in a request
CLIENTS = (1, 16)
TURNS, CALLS = 9, 20
PICTURES = 640  # in all, for each number of clients and of pictures


def draw(image: NDArray[np.uint8]) -> bytes:
    """Return a digit in dark ink on a sheet of 100x100 pixels, as PNG."""
    sheet = np.full((100, 100), 255, np.uint8)
    sheet[22:78, 22:78] -= image.repeat(2, 0).repeat(2, 1)
    file = io.BytesIO()
    Image.fromarray(sheet).save(file, "PNG")
    return file.getvalue()


def time_networks(networks: dict[str, nn.Module], count: int) -> dict[str, float]:
    """Return milliseconds a call of each network, which take turns, on so many images."""
    images = torch.rand(count, 1, 28, 28)
    taken: dict[str, list[float]] = {name: [] for name in networks}
    with torch.inference_mode():
        for _ in range(TURNS + 1):
            for name, network in networks.items():
                started = time.perf_counter()
                for _ in range(CALLS):
                    network(images)
                taken[name].append((time.perf_counter() - started) / CALLS * 1_000)
    return {name: statistics.median(times[1:]) for name, times in taken.items()}


def ask_for_all(ask: Callable[[int], httpx.Response], clients: int, count: int) -> dict[str, float]:
    """Return what so many clients see who read so many pictures in each request."""

    def once(number: int) -> float:
        started = time.perf_counter()
        ask(number).raise_for_status()
        return (time.perf_counter() - started) * 1_000

    requests = PICTURES // count
    with ThreadPoolExecutor(clients) as crowd:
        for _ in crowd.map(once, range(clients)):  # opens the connections
            pass
        started = time.perf_counter()
        taken = list(crowd.map(once, range(requests)))
        seconds = time.perf_counter() - started
    return {
        "requests": requests,
        "median": statistics.median(taken),
        "99th percentile": float(np.percentile(taken, 99)),
        "pictures a second": requests * count / seconds,
    }


def main() -> None:
    """Measure both."""
    arguments = read_arguments(make_parser(__doc__, devices=("cpu",)))
    record = Record("serving", arguments, {"side": 100, "turns": TURNS})
    name = PRESETS["standard"].model
    model = build_model(name, seed=0).eval()
    pictures = [draw(image) for image in load_mnist().train.images[:64]]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "model"
        save_checkpoint(folder, model, ModelCard.of(model))
        networks = {"PyTorch": model, "ONNX Runtime": load_served(folder).model}
        for count in SIZES:
            entry = record.entry("network", count)
            entry["milliseconds"] = time_networks(networks, count)
            record.save("network", count, entry["milliseconds"])
        command = [sys.executable, "-m", "mnist_lab", "serve", str(folder), "--port", "0"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            address = re.search(r"http://[\d.]+:\d+", process.stderr.readline())
            assert address is not None
            try:
                with httpx.Client(base_url=address[0], timeout=600, trust_env=False) as client:
                    for clients in CLIENTS:
                        for count in SIZES:
                            parts = [("pictures", ("a.png", each)) for each in pictures[:count]]
                            row = ask_for_all(
                                lambda number, sent=parts: client.post("/read", files=sent),  # type: ignore[misc]
                                clients,
                                count,
                            )
                            record.entry("service", clients, count).update(row)
                            record.save("service", clients, count, row)
            finally:
                process.terminate()


if __name__ == "__main__":
    main()
