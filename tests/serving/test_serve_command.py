"""`python -m mnist_lab serve` as a process: a thousand requests, a gentle stop, a hard one."""

from __future__ import annotations

import io
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from mnist_lab.cli import make_parser
from mnist_lab.data.mnist import MNIST
from mnist_lab.handwriting.reader import load_reader
from mnist_lab.models.registry import build_model
from mnist_lab.serving.service import listen
from mnist_lab.training.cards import ModelCard
from mnist_lab.training.checkpoints import save_checkpoint
from tests.command_line import run

ROOT = Path(__file__).parents[2]
REQUESTS, CLIENTS = 1_000, 16


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("serving") / "model"
    model = build_model("linear", seed=0)
    save_checkpoint(place, model, ModelCard.of(model))
    return place


@contextmanager
def serving(folder: Path, port: int = 0) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, "-m", "mnist_lab", "serve", str(folder), "--port", str(port)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        told = process.stderr.readline()
        address = re.search(r"http://[\d.]+:\d+", told)
        assert address, told
        yield process, address[0]
    finally:
        process.kill()
        process.communicate()


def draw(image: np.ndarray, left: int) -> bytes:
    sheet = np.full((60, 160), 255, np.uint8)
    sheet[16:44, left : left + 28] -= image
    file = io.BytesIO()
    Image.fromarray(sheet).save(file, "PNG")
    return file.getvalue()


@pytest.mark.slow
def test_a_thousand_requests_by_sixteen_clients(folder: Path, mnist: MNIST, tmp_path: Path) -> None:
    """None is lost, and each answer is that of the picture that was sent: its box tells."""
    pictures = [draw(mnist.test.images[n], left=4 + n) for n in range(100)]
    reader, expected = load_reader(folder, device="cpu"), []
    for content in pictures:
        (tmp_path / "a.png").write_bytes(content)
        expected.append(reader.read_page(tmp_path / "a.png").to_json())

    with serving(folder) as (_, address), httpx.Client(base_url=address, timeout=300) as client:

        def ask(number: int) -> bool:
            answer = client.post("/read", content=pictures[number % len(pictures)])
            (entry,) = answer.json()["results"]
            wanted = expected[number % len(pictures)]
            return [digit["box"] for digit in entry["digits"]] == [
                digit["box"] for digit in wanted["digits"]
            ] and [digit["digit"] for digit in entry["digits"]] == [
                digit["digit"] for digit in wanted["digits"]
            ]

        with ThreadPoolExecutor(CLIENTS) as clients:
            assert sum(clients.map(ask, range(REQUESTS))) == REQUESTS
        told = client.get("/metrics").text
    assert f'mnist_lab_requests_total{{status="200"}} {REQUESTS}.0' in told


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to catch")
def test_what_was_asked_before_the_stop_is_answered(folder: Path, mnist: MNIST) -> None:
    page = np.tile(255 - mnist.test.images[:12].transpose(1, 0, 2).reshape(28, -1), (14, 3))
    file = io.BytesIO()
    Image.fromarray(page).save(file, "PNG")
    with serving(folder) as (process, address), ThreadPoolExecutor(1) as clients:
        asked = clients.submit(httpx.post, f"{address}/read", content=file.getvalue(), timeout=120)
        while httpx.get(f"{address}/health").json()["waiting"] == 0 and not asked.done():
            pass
        process.send_signal(signal.SIGTERM)
        assert asked.result().status_code == 200
        process.wait(timeout=120)
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{address}/health")


def test_it_starts_again_where_it_was_killed(folder: Path) -> None:
    with serving(folder) as (process, address):
        assert httpx.get(f"{address}/health").json()["status"] == "ok"
        process.kill()
        process.wait()
    port = int(address.rpartition(":")[2])
    with serving(folder, port) as (_, again):
        assert again == address
        assert httpx.get(f"{address}/health").json()["status"] == "ok"


def test_what_stops_it_is_one_sentence(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        status, out, err = run(capsys, "serve", folder, "--port", port)
    assert (status, out) == (2, "")
    assert err.startswith(f"mnist_lab serve: 127.0.0.1:{port} cannot be listened to: ")
    status, out, err = run(capsys, "serve", tmp_path)
    assert (status, out) == (2, "")
    assert err.startswith("mnist_lab serve: ")
    assert len(err.splitlines()) == 1


def test_without_the_extra(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "mnist_lab.serving.service")
    monkeypatch.setitem(sys.modules, "fastapi", None)
    status, _, err = run(capsys, "serve", folder)
    assert (status, err) == (
        2,
        'mnist_lab serve: fastapi is not installed: pip install "mnist-lab[serve]" brings it.\n',
    )


def test_the_container_file_calls_what_there_is() -> None:
    """Containers cannot be built everywhere; that its files and options exist can be asked."""
    lines = (ROOT / "Containerfile").read_text(encoding="utf-8").splitlines()
    told = {
        line.split(" ", 1)[0]: line.split(" ", 1)[1] for line in lines if line and line[0].isupper()
    }
    words = json.loads(told["ENTRYPOINT"])
    assert words[:3] == ["python", "-m", "mnist_lab"]
    arguments = make_parser().parse_args(words[3:])
    assert (arguments.command, arguments.host) == ("serve", "0.0.0.0")
    assert told["EXPOSE"] == str(arguments.port)
    assert f":{arguments.port}/health" in told["HEALTHCHECK"]
    copied = [line.split()[1:-1] for line in lines if line.startswith("COPY") and "$" not in line]
    assert all((ROOT / name).exists() for names in copied for name in names)
