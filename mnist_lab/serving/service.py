"""A reader behind HTTP: pictures come in, what `predict --json` tells goes out.

    app = make_app(load_served("runs/standard"), Limits(seconds=5))
    serve(app, port=8000)

    curl --data-binary @sum.jpg http://127.0.0.1:8000/read
    curl -F pictures=@a.png -F pictures=@b.png http://127.0.0.1:8000/read

    with run_in_background(app) as address:     # for a notebook or a test: ends with the block
        httpx.post(f"{address}/read", content=Path("sum.jpg").read_bytes()).json()

Pictures are read one after another: their steps keep a core busy, and what keeps Pillow quiet works
for the whole process. More cores are used by more of these processes. A picture is kept for as
long as it is read, and neither it nor its name is logged.

Sources: https://fastapi.tiangolo.com, https://uvicorn.dev, https://prometheus.io/docs/practices
"""

from __future__ import annotations

import asyncio
import socket
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mnist_lab import __version__
from mnist_lab.extras import needs_extra
from mnist_lab.handwriting.ink import HandwritingError
from mnist_lab.handwriting.reader import PageReading, Reader

with needs_extra("serve"):
    import uvicorn
    from fastapi import FastAPI, Request, Response
    from fastapi.responses import JSONResponse
    from prometheus_client import (
        CONTENT_TYPE_LATEST,
        CollectorRegistry,
        Counter,
        Gauge,
        Histogram,
        generate_latest,
    )
    from starlette.datastructures import UploadFile
    from starlette.exceptions import HTTPException


class ServiceError(OSError):
    """A service that cannot be begun; one sentence."""


@dataclass(frozen=True)
class Limits:
    """What one client may ask for, so that all are answered.

    Attributes
    ----------
    megabytes : float
        Of one request.
    pictures : int
        In one request.
    seconds : float
        For a request to arrive, and again for it to be answered once it has.
    waiting : int
        Requests that may wait for their turn; more are asked to come again.
    """

    megabytes: float = 20.0
    pictures: int = 100
    seconds: float = 30.0
    waiting: int = 64


class RefusedError(Exception):
    """A request that is not answered: its status, and why, in one sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class Service:
    """Reads pictures in turn, refuses what is too much, and counts.

    Parameters
    ----------
    reader : Reader
    limits : Limits
    """

    def __init__(self, reader: Reader, limits: Limits) -> None:
        self.reader, self.limits = reader, limits
        self.turn = ThreadPoolExecutor(max_workers=1, thread_name_prefix="reading")
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "mnist_lab_requests", "Requests to read.", ["status"], registry=self.registry
        )
        self.digits = Counter(
            "mnist_lab_digits", "Digits that were read.", ["digit"], registry=self.registry
        )
        self.unread = Counter(
            "mnist_lab_unread", "Marks that were left out.", registry=self.registry
        )
        self.confidence = Histogram(
            "mnist_lab_confidence",
            "Probability of the answer that was given.",
            buckets=(0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "mnist_lab_seconds", "From the last byte to the answer.", registry=self.registry
        )
        self.waiting = Gauge(
            "mnist_lab_waiting", "Requests not yet answered.", registry=self.registry
        )
        self.asked = 0  # requests that are being answered or wait for it

    async def answer(self, pictures: list[tuple[str, bytes]]) -> list[dict[str, Any]]:
        """Return an entry for each picture, as `predict --json` has it.

        Raises
        ------
        RefusedError
            If too many wait already, or it takes too long.
        """
        if self.asked >= self.limits.waiting:
            raise RefusedError(503, f"{self.asked} requests are waiting already: come again later.")
        self.asked += 1
        self.waiting.set(self.asked)
        started = time.perf_counter()
        work = asyncio.get_running_loop().run_in_executor(self.turn, self._read_all, pictures)
        work.add_done_callback(self._let_go)
        try:
            entries = await asyncio.wait_for(asyncio.shield(work), self.limits.seconds)
        except TimeoutError as error:
            raise RefusedError(
                503, f"No answer within {self.limits.seconds:g} s: send fewer or smaller pictures."
            ) from error
        self.seconds.observe(time.perf_counter() - started)
        return entries

    def _let_go(self, work: asyncio.Future[list[dict[str, Any]]]) -> None:
        self.asked -= 1
        self.waiting.set(self.asked)
        if not work.cancelled():
            work.exception()  # told to whoever waits; nobody may, after a time-out

    def _read_all(self, pictures: list[tuple[str, bytes]]) -> list[dict[str, Any]]:
        return [self._read(name, content) for name, content in pictures]

    def _read(self, name: str, content: bytes) -> dict[str, Any]:
        """Read one picture; what is wrong with it stands in the entry."""
        page, problem = PageReading([], []), None
        with tempfile.TemporaryDirectory(prefix="mnist_lab_") as scratch:
            file = Path(scratch) / "picture"
            file.write_bytes(content)
            try:
                page = self.reader.read_page(file)
            except (HandwritingError, FloatingPointError, MemoryError) as error:
                problem = str(error).replace(str(file), name) or f"{name} takes too much memory."
        for digit in page.digits:
            self.digits.labels(digit.name).inc()
            self.confidence.observe(digit.probability)
        self.unread.inc(len(page.unread))
        return {"file": name, **page.to_json(), "error": problem}


async def take_pictures(request: Request, limits: Limits) -> list[tuple[str, bytes]]:
    """Return name and content of each picture in a request: its body, or the parts of a form.

    Raises
    ------
    RefusedError
        If there is none, or there are more or larger ones than the limits allow, or they take too
        long to arrive.
    """
    most = int(limits.megabytes * 1_000_000)
    too_large = RefusedError(413, f"A request may have {limits.megabytes:g} MB at most.")
    if int(request.headers.get("content-length", "0")) > most:  # h11 lets only a number through
        raise too_large
    taken, receive = 0, request.receive

    async def count() -> Any:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > most:
            raise too_large
        return message

    request._receive = count
    try:
        async with asyncio.timeout(limits.seconds):
            if not request.headers.get("content-type", "").startswith("multipart/form-data"):
                body = await request.body()
                pictures = [("picture", body)] if body else []
            else:
                async with request.form(max_files=limits.pictures, max_fields=0) as form:
                    pictures = [
                        (part.filename or "picture", await part.read())
                        for part in form.getlist("pictures")
                        if isinstance(part, UploadFile)
                    ]
    except TimeoutError as error:
        raise RefusedError(
            408, f"The request took more than {limits.seconds:g} s to arrive."
        ) from error
    except HTTPException as error:  # a form that is none, or has too many parts
        raise RefusedError(400, f"The form cannot be read: {error.detail}") from error
    if not pictures:
        raise RefusedError(
            400, 'No picture came: send one as the body, or several as parts "pictures" of a form.'
        )
    return pictures


def make_app(reader: Reader, limits: Limits | None = None) -> FastAPI:
    """Return the service as an ASGI application.

    `POST /read` answers with JSON: `results`, an entry a picture in the order in which they came,
    each as `predict --json` has it. The status is 200 if one of them could be read, and 422 if
    none. A refusal is `{"error": sentence}` with 400, 408, 413 or 503. `GET /health` says that it
    answers and with what, `GET /metrics` counts for Prometheus.
    """
    limits = limits or Limits()
    service = Service(reader, limits)
    # Its pages of documentation would fetch their scripts from another host.
    app = FastAPI(title="mnist-lab", version=__version__, docs_url=None, redoc_url=None)
    app.state.service = service

    def refuse(status: int, sentence: str) -> Response:
        again = {"Retry-After": "1"} if status == 503 else {}
        return JSONResponse({"error": sentence}, status, again)

    @app.middleware("http")
    async def count(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        response = await answer(request)
        if request.url.path == "/read":
            service.requests.labels(str(response.status_code)).inc()
        return response

    @app.exception_handler(HTTPException)
    async def say(request: Request, error: HTTPException) -> Response:
        return refuse(error.status_code, f"{error.detail}: {request.method} {request.url.path}")

    @app.post("/read")
    async def read(request: Request) -> Response:
        try:
            results = await service.answer(await take_pictures(request, limits))
        except RefusedError as refusal:
            return refuse(refusal.status, str(refusal))
        status = 422 if all(entry["error"] for entry in results) else 200
        return JSONResponse({"results": results}, status)

    @app.get("/health")
    async def health() -> dict[str, Any]:
        return {
            "status": "ok",
            "version": __version__,
            "model": reader.card.model,
            "waiting": service.asked,
        }

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(generate_latest(service.registry), media_type=CONTENT_TYPE_LATEST)

    return app


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that waits for clients.

    Raises
    ------
    ServiceError
        If there is no such host, or something else has the port.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except OSError as error:
        raise ServiceError(f"{host}:{port} cannot be listened to: {error.strerror}.") from error


def serve(app: FastAPI, waiting: socket.socket) -> None:
    """Answer until Ctrl-C or SIGTERM; what has been asked by then is still answered."""
    _make_server(app).run(sockets=[waiting])


@contextmanager
def run_in_background(app: FastAPI, port: int = 0) -> Iterator[str]:
    """Answer in a thread of this process for as long as the block lasts; hand out the address.

    What has been asked when the block ends is still answered. Nobody but this machine can ask.

    Parameters
    ----------
    app : FastAPI
    port : int
        0: one that is free.

    Yields
    ------
    str
        Such as "http://127.0.0.1:40321"; by then it answers.

    Raises
    ------
    ServiceError
        If something else has the port, or the application cannot begin.
    """
    with listen("127.0.0.1", port) as waiting:
        server = _make_server(app)

        def answer() -> None:
            with suppress(SystemExit):  # an application that cannot begin ends the server so
                server.run(sockets=[waiting])

        thread = threading.Thread(target=answer, name="serving", daemon=True)
        thread.start()
        try:
            while not server.started:
                if not thread.is_alive():
                    raise ServiceError("The service ended before it had begun.")
                time.sleep(0.01)
            yield f"http://127.0.0.1:{waiting.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def _make_server(app: FastAPI) -> uvicorn.Server:
    return uvicorn.Server(
        uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=30)
    )
