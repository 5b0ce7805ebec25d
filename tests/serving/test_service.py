"""The service: what it answers, what it refuses, and that it mixes nothing up."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from numpy.typing import NDArray
from PIL import Image

from mnist_lab.data import load_mnist
from mnist_lab.handwriting import Reader
from mnist_lab.models import build_model
from mnist_lab.serving.service import (
    Limits,
    ServiceError,
    listen,
    make_app,
    run_in_background,
)

CLIENTS = 16


def as_png(pixels: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader(build_model("linear", seed=0))


@pytest.fixture(scope="module")
def pictures() -> list[bytes]:
    """Digits in dark ink on paper, each on a sheet of another width."""
    sheets = []
    for place, image in enumerate(load_mnist().test.images[:40]):
        sheet = np.full((60, 60 + place), 255, np.uint8)
        sheet[16:44, 16 + place // 2 : 44 + place // 2] -= image
        sheets.append(as_png(sheet))
    return sheets


def run_service(reader: Reader, limits: Limits | None = None) -> Iterator[httpx.Client]:
    with (
        run_in_background(make_app(reader, limits)) as address,
        httpx.Client(base_url=address, timeout=60, trust_env=False) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def client(reader: Reader) -> Iterator[httpx.Client]:
    yield from run_service(reader)


class TestAnswers:
    def test_one_picture_is_read_as_the_reader_reads_it(
        self, client: httpx.Client, reader: Reader, pictures: list[bytes], tmp_path: Path
    ) -> None:
        file = tmp_path / "a.png"
        file.write_bytes(pictures[7])
        answer = client.post("/read", content=pictures[7])
        assert answer.status_code == 200
        (entry,) = answer.json()["results"]
        assert entry == {"file": "picture", **reader.read_page(file).to_json(), "error": None}

    def test_a_form_is_answered_in_its_order(
        self, client: httpx.Client, pictures: list[bytes]
    ) -> None:
        parts = [("pictures", (f"{n}.png", content)) for n, content in enumerate(pictures[:9])]
        parts.insert(4, ("pictures", ("none.png", b"no picture")))
        answer = client.post("/read", files=parts)
        assert answer.status_code == 200
        entries = answer.json()["results"]
        assert [entry["file"] for entry in entries] == [part[1][0] for part in parts]
        assert entries[4]["error"] == "none.png is no image that can be read."
        assert all(
            entry["digits"] and not entry["error"]
            for entry in entries
            if entry["file"] != "none.png"
        )

    def test_sixteen_clients_lose_nothing_and_mix_nothing_up(
        self, client: httpx.Client, pictures: list[bytes]
    ) -> None:
        """Each picture has a width, and so a box, of its own."""
        alone = [client.post("/read", content=content).json() for content in pictures]
        assert len({str(answer) for answer in alone}) == len(pictures)

        def ask(number: int) -> tuple[int, object]:
            place = number % len(pictures)
            return place, client.post("/read", content=pictures[place]).json()

        with ThreadPoolExecutor(CLIENTS) as clients:
            answers = list(clients.map(ask, range(5 * len(pictures))))
        assert all(answer == alone[place] for place, answer in answers)

    def test_health_and_metrics(self, client: httpx.Client, pictures: list[bytes]) -> None:
        def count(name: str) -> float:
            lines = client.get("/metrics").text.splitlines()
            return sum(float(line.split()[-1]) for line in lines if line.startswith(name))

        before = count('mnist_lab_requests_total{status="200"}'), count("mnist_lab_digits_total")
        client.post("/read", content=pictures[0])
        after = count('mnist_lab_requests_total{status="200"}'), count("mnist_lab_digits_total")
        assert (after[0] - before[0], after[1] - before[1]) == (1, 1)
        assert client.get("/health").json() == {
            "status": "ok",
            "version": client.get("/openapi.json").json()["info"]["version"],
            "model": "linear",
            "waiting": 0,
        }


class TestRefusals:
    @pytest.mark.parametrize(
        ("content", "told"),
        [
            (b"no picture", "picture is no image that can be read."),
            (b"<html>" * 100, "picture is no image that can be read."),
            (as_png(np.full((50, 50), 255, np.uint8)), "picture"),
        ],
    )
    def test_what_cannot_be_read(self, client: httpx.Client, content: bytes, told: str) -> None:
        answer = client.post("/read", content=content)
        assert answer.status_code == 422
        assert answer.json()["results"][0]["error"].startswith(told)

    def test_damage_is_told_by_the_name_that_was_sent(
        self, client: httpx.Client, pictures: list[bytes]
    ) -> None:
        part = ("pictures", ("half.png", pictures[0][:90]))
        (entry,) = client.post("/read", files=[part]).json()["results"]
        assert entry["error"].startswith("half.png cannot be read as an image")

    def test_nothing(self, client: httpx.Client) -> None:
        for sent in ({"content": b""}, {"files": [("others", ("a.png", b"x"))]}):
            answer = client.post("/read", **sent)  # type: ignore[arg-type]
            assert answer.status_code == 400
            assert answer.json()["error"].startswith("No picture came")

    def test_a_form_that_is_none(self, client: httpx.Client) -> None:
        kind = {"content-type": "multipart/form-data; boundary=x"}
        answer = client.post("/read", content=b"--y\r\nfalse", headers=kind)
        assert answer.status_code == 400
        assert answer.json()["error"]

    def test_other_places_and_methods(self, client: httpx.Client) -> None:
        assert client.get("/read").status_code == 405
        assert client.get("/docs").status_code == 404  # it would ask another host for its scripts
        assert client.get("/elsewhere").json() == {"error": "Not Found: GET /elsewhere"}


@pytest.mark.parametrize("told_before", [True, False])
def test_too_large_a_request_is_cut_off(reader: Reader, told_before: bool) -> None:
    content = b"x" * 1_500_000
    parts = content if told_before else iter([content[:700_000], content[700_000:]])
    for client in run_service(reader, Limits(megabytes=1)):
        answer = client.post("/read", content=parts)
        assert answer.status_code == 413
        assert answer.json() == {"error": "A request may have 1 MB at most."}


def test_too_many_pictures_in_a_form(reader: Reader, pictures: list[bytes]) -> None:
    parts = [("pictures", (f"{n}.png", pictures[0])) for n in range(4)]
    for client in run_service(reader, Limits(pictures=3)):
        answer = client.post("/read", files=parts)
        assert answer.status_code == 400
        assert "3" in answer.json()["error"]


class Blocked:
    """A reader that answers when it is let."""

    def __init__(self, reader: Reader) -> None:
        self.reader, self.card, self.free = reader, reader.card, threading.Event()

    def read_page(self, file: Path) -> object:
        self.free.wait(10)
        return self.reader.read_page(file)


def test_whoever_waits_too_long_or_behind_too_many_is_told(
    reader: Reader, pictures: list[bytes]
) -> None:
    blocked = Blocked(reader)
    for client in run_service(blocked, Limits(seconds=0.2, waiting=2)):  # type: ignore[arg-type]
        with ThreadPoolExecutor(2) as clients:
            asked = [clients.submit(client.post, "/read", content=each) for each in pictures[:2]]
            late = [waiting.result() for waiting in asked]
        assert [answer.status_code for answer in late] == [503, 503]
        assert "No answer within 0.2 s" in late[0].json()["error"]
        crowded = client.post("/read", content=pictures[2])  # those two still hold their places
        assert crowded.status_code == 503
        assert crowded.headers["retry-after"] == "1"
        assert crowded.json()["error"].startswith("2 requests are waiting")
        blocked.free.set()
        while client.get("/health").json()["waiting"]:  # their places are given back
            time.sleep(0.01)


class Counting(Blocked):
    """A reader that notes how many pictures it is given at the same time."""

    def __init__(self, reader: Reader) -> None:
        super().__init__(reader)
        self.free.set()
        self.now, self.most = 0, 0

    def read_page(self, file: Path) -> object:
        self.now += 1
        self.most = max(self.most, self.now)
        time.sleep(0.02)  # time for others to come in between, if they could
        page = super().read_page(file)
        self.now -= 1
        return page


def test_pictures_are_read_one_after_another(reader: Reader, pictures: list[bytes]) -> None:
    """What keeps Pillow quiet leads the whole process's standard error elsewhere meanwhile."""
    counting = Counting(reader)
    for client in run_service(counting):  # type: ignore[arg-type]
        with ThreadPoolExecutor(8) as clients:
            asked = [clients.submit(client.post, "/read", content=each) for each in pictures[:16]]
            assert {waiting.result().status_code for waiting in asked} == {200}
    assert counting.most == 1


def test_a_port_that_is_taken(reader: Reader) -> None:
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(ServiceError, match=f"127.0.0.1:{port} cannot be listened to"):
            listen("127.0.0.1", port)


class TestInTheBackground:
    def test_it_answers_within_the_block_and_not_after_it(self, reader: Reader) -> None:
        before = threading.active_count()
        with run_in_background(make_app(reader)) as address:
            assert httpx.get(f"{address}/health", trust_env=False).json()["status"] == "ok"
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{address}/health", trust_env=False)
        assert threading.active_count() == before

    def test_it_ends_with_a_block_that_fails(self, reader: Reader) -> None:
        with pytest.raises(ZeroDivisionError), run_in_background(make_app(reader)) as address:
            raise ZeroDivisionError
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{address}/health", trust_env=False)

    def test_what_was_asked_when_the_block_ends_is_answered(
        self, reader: Reader, pictures: list[bytes]
    ) -> None:
        blocked = Blocked(reader)
        app = make_app(blocked)  # type: ignore[arg-type]
        with ThreadPoolExecutor(1) as clients:
            with run_in_background(app) as address:
                asked = clients.submit(httpx.post, f"{address}/read", content=pictures[0])
                while app.state.service.asked == 0:
                    time.sleep(0.01)
                threading.Timer(0.1, blocked.free.set).start()
            assert asked.result().status_code == 200

    def test_two_at_a_time_have_two_addresses(self, reader: Reader) -> None:
        with (
            run_in_background(make_app(reader)) as one,
            run_in_background(make_app(reader)) as other,
        ):
            assert one != other

    def test_a_port_that_is_taken(self, reader: Reader) -> None:
        with run_in_background(make_app(reader)) as address:
            port = int(address.rpartition(":")[2])
            with (
                pytest.raises(ServiceError, match="cannot be listened to"),
                run_in_background(make_app(reader), port),
            ):
                pass  # pragma: no cover

    def test_what_cannot_begin_is_told(self, reader: Reader) -> None:
        @asynccontextmanager
        async def fails(_: FastAPI) -> AsyncIterator[None]:
            raise OSError("no weights")
            yield

        app = FastAPI(lifespan=fails)
        with (
            pytest.raises(ServiceError, match="ended before it had begun"),
            run_in_background(app),
        ):
            pass  # pragma: no cover
