"""How long the service keeps a client waiting, and how many pictures it reads in a second.

    python -m benchmarks.serving [--rounds 3] [--requests 150]

About 4 minutes on two idle cores.

`python -m mnist_lab serve` runs in a process of its own, with the pages' network, and real clients
ask it over HTTP for what stands in small pictures of one digit each. Every answer is compared with
what the same reader says without HTTP, so that nothing lost or mixed up goes unseen. Measured:

- `alone`: milliseconds for the network, and for a picture, in this process and without HTTP;
- `clients`: 1 to 16 clients, each of which asks again as soon as it is answered;
- `batch`: one client that sends 1 to 64 pictures in a request;
- `load`: requests that come by chance, so many a second on average as keep the service busy for a
  share of its time; a request's clock runs from the moment at which it should have been sent;
- `processes`: 16 clients and one service, or two that share them;
- `thousand`: 1,000 requests by 16 clients, all by themselves.

The settings take turns, in an order that is drawn anew for each round. Clients and service share
the cores, as they do not where clients have machines of their own.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mnist_lab.data import load_mnist, split
from mnist_lab.handwriting import Reader
from mnist_lab.serving import load_served
from mnist_lab.training import ModelCard, TrainConfig, fit, save_checkpoint

from .recording import Record, make_parser, read_arguments, working_seconds

PICTURES = 100  # different ones, each with its digit in another place
CLIENTS = (1, 2, 4, 8, 16)
BATCHES = (1, 4, 16, 64)
LOADS = (0.3, 0.5, 0.7, 0.9)  # share of the time in which the service is busy
PROCESSES = (1, 2)
MOST_CLIENTS = max(CLIENTS)
WAITING = 64  # that the service lets wait: no more are ever sent at once
TRAINED_ON = 5_000  # digits; how long an answer takes does not depend on what was learnt
ALONE = 200  # answers without HTTP
POINTS = np.arange(0, 101)  # percentiles that are kept
ADDRESS = re.compile(r"http://[\d.]+:\d+")

Box = tuple[int, ...]
Seen = list[tuple[str, Box]]


@dataclass
class Waited:
    """What clients met: seconds of each request, and what went wrong with how many pictures.

    Attributes
    ----------
    seconds : list of float
        Of each request, from when it was sent to the whole answer.
    wall : list of float
        Seconds of each round.
    pictures : list of int
        That each round read.
    lost, mixed_up : int
        Pictures that were not answered, and those with the answer of another.
    """

    seconds: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)
    pictures: list[int] = field(default_factory=list)
    lost: int = 0
    mixed_up: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return what the record keeps; milliseconds, but for the rates, which are per second."""
        points = 1_000 * np.percentile(self.seconds, POINTS)
        rates = np.array(self.pictures) / np.array(self.wall)
        return {
            "requests": len(self.seconds),
            "mean": round(1_000 * float(np.mean(self.seconds)), 3),
            "p50": round(float(points[50]), 3),
            "p99": round(float(points[99]), 3),
            "percentiles": [round(float(point), 3) for point in points],
            "pictures_per_second": round(float(np.median(rates)), 2),
            "lost": self.lost,
            "mixed_up": self.mixed_up,
        }


@dataclass(frozen=True)
class Sheets:
    """Pictures, and what a reader sees in each of them without HTTP."""

    contents: list[bytes]
    seen: list[Seen]

    def ask(self, client: httpx.Client, places: Sequence[int], waited: Waited) -> float:
        """Send some of them in one request, look at the answer, and return the seconds."""
        contents = [self.contents[place] for place in places]
        started = time.perf_counter()
        if len(contents) == 1:
            answer = client.post("/read", content=contents[0])
        else:
            parts = [("pictures", (f"{n}.png", content)) for n, content in enumerate(contents)]
            answer = client.post("/read", files=parts)
        seconds = time.perf_counter() - started
        entries = answer.json()["results"] if answer.status_code == 200 else []
        waited.lost += len(places) - len(entries)
        for place, entry in zip(places, entries, strict=False):
            seen = [(str(digit["digit"]), tuple(digit["box"])) for digit in entry["digits"]]
            waited.mixed_up += seen != self.seen[place]
        return seconds


def draw_sheet(image: NDArray[np.uint8], left: int) -> bytes:
    """Return a PNG of a digit in dark ink on a sheet, so many pixels from its left edge."""
    sheet = np.full((60, 60 + PICTURES), 255, np.uint8)
    sheet[16:44, left : left + 28] -= image
    file = io.BytesIO()
    Image.fromarray(sheet).save(file, "PNG")
    return file.getvalue()


def make_sheets(images: NDArray[np.uint8], reader: Reader) -> Sheets:
    """Return sheets of one digit each, and what the reader sees in them."""
    contents = [draw_sheet(image, 16 + place) for place, image in enumerate(images)]
    pages = [reader.read_page(np.asarray(Image.open(io.BytesIO(one)))) for one in contents]
    seen = [[(str(digit.name), tuple(digit.box)) for digit in page.digits] for page in pages]
    return Sheets(contents, seen)


@contextlib.contextmanager
def run_service(folder: Path) -> Iterator[httpx.Client]:
    """Start the command in a process of its own; hand out a client of it, and stop it at the end.

    Raises
    ------
    SystemExit
        If it does not start; with what it says.
    """
    command = [sys.executable, "-m", "mnist_lab", "serve", str(folder), "--port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        told = process.stderr.readline()
        address = ADDRESS.search(told)
        if address is None:
            raise SystemExit(f"The service does not start: {told}{process.stderr.read()}")
        limits = httpx.Limits(max_connections=WAITING, max_keepalive_connections=WAITING)
        with httpx.Client(
            base_url=address[0], timeout=120, limits=limits, trust_env=False
        ) as client:
            yield client
    finally:
        process.terminate()
        process.communicate()


def ask_at_once(
    clients: Sequence[httpx.Client], sheets: Sheets, requests: int, many: int, waited: Waited
) -> None:
    """Let many clients ask for one picture each time, again as soon as they are answered."""

    def ask(number: int) -> float:
        return sheets.ask(clients[number % len(clients)], [number % PICTURES], waited)

    started = time.perf_counter()
    with ThreadPoolExecutor(many) as pool:
        waited.seconds += pool.map(ask, range(requests))
    waited.wall.append(time.perf_counter() - started)
    waited.pictures.append(requests)


def ask_in_batches(
    client: httpx.Client, sheets: Sheets, pictures: int, size: int, waited: Waited
) -> None:
    """Let one client send so many pictures in each request."""
    started, requests = time.perf_counter(), max(1, pictures // size)
    for number in range(requests):
        places = [(number * size + k) % PICTURES for k in range(size)]
        waited.seconds.append(sheets.ask(client, places, waited))
    waited.wall.append(time.perf_counter() - started)
    waited.pictures.append(requests * size)


def ask_by_chance(
    client: httpx.Client,
    sheets: Sheets,
    requests: int,
    rate: float,
    generator: np.random.Generator,
    waited: Waited,
) -> None:
    """Send requests at times that are drawn, so many a second on average (a Poisson process).

    Each is sent when its time has come, whatever has become of those before, and its seconds count
    from then: clients that wait for their answer before they ask again would come less often just
    when the service is slow, and would not notice.
    """
    times = np.cumsum(generator.exponential(1 / rate, requests))
    started = time.perf_counter()

    def ask(number: int) -> float:
        due = started + times[number]
        time.sleep(max(0.0, due - time.perf_counter()))
        sheets.ask(client, [number % PICTURES], waited)
        return float(time.perf_counter() - due)

    with ThreadPoolExecutor(WAITING) as pool:
        waited.seconds += pool.map(ask, range(requests))
    waited.wall.append(time.perf_counter() - started)
    waited.pictures.append(requests)


def measure_alone(reader: Reader, sheets: Sheets, count: int) -> dict[str, dict[str, float]]:
    """Return milliseconds on the clock, and of the processor, for the network and for a picture.

    What stands between the two is the search for the digit: the paper, the ink, its place.
    """
    pages = [np.asarray(Image.open(io.BytesIO(content))) for content in sheets.contents]
    image = reader.read_page(pages[0]).digits[0].found.image[None]
    found = {}
    for name, answer in (
        ("network", lambda number: reader.read(image)),
        ("picture", lambda number: reader.read_page(pages[number % PICTURES])),
    ):
        seconds = []
        started = working_seconds()
        for number in range(count):
            began = time.perf_counter()
            answer(number)
            seconds.append(time.perf_counter() - began)
        spent = working_seconds() - started
        found[name] = {
            "p50": round(1_000 * float(np.percentile(seconds, 50)), 4),
            "p99": round(1_000 * float(np.percentile(seconds, 99)), 4),
            "processor": round(1_000 * spent / count, 4),
        }
    return found


def main() -> None:
    """Measure all settings in turns, and write the record."""
    parser = make_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="turns of each setting (default 3)")
    parser.add_argument("--requests", type=int, default=150, help="of each turn (default 150)")
    parser.add_argument("--thousand", type=int, default=1_000, help="requests at the end")
    arguments = read_arguments(parser)
    requests, generator = arguments.requests, np.random.default_rng(0)
    train, validation = split(load_mnist().train, seed=0)
    some = train.subset(np.arange(TRAINED_ON))
    config = TrainConfig(epochs=1, seed=0)
    model = fit("small_cnn", some, None, config, device="cpu", progress=False).model
    record = Record(
        "serving",
        arguments,
        {
            "rounds": arguments.rounds,
            "requests_of_a_round": requests,
            "model": "small_cnn",
            "cores": os.cpu_count(),
        },
        resume=False,
    )
    with tempfile.TemporaryDirectory() as scratch, contextlib.ExitStack() as open_services:
        folder = Path(scratch) / "model"
        save_checkpoint(folder, model, ModelCard.of(model))
        readers = {str(threads): load_served(folder, threads) for threads in (1, 2)}
        sheets = make_sheets(validation.images[:PICTURES], readers["1"])
        for threads, reader in readers.items():
            measure_alone(reader, sheets, 20)  # to warm up
            record.entry("alone")[threads] = measure_alone(reader, sheets, ALONE)
        record.save("alone", record.entry("alone"))
        services = [open_services.enter_context(run_service(folder)) for _ in PROCESSES]
        first = services[0]
        for service in services:
            ask_at_once([service], sheets, 40, 4, Waited())  # to warm up
        waited: dict[tuple[str, str], Waited] = {}
        busy = Waited()
        ask_at_once([first], sheets, requests, MOST_CLIENTS, busy)
        most = busy.pictures[0] / busy.wall[0]  # pictures a second, when it never rests
        record.parts["full_rate"] = round(most, 2)
        turns: list[tuple[tuple[str, str], Callable[[Waited], None]]] = [
            *(
                (("clients", str(n)), lambda w, n=n: ask_at_once([first], sheets, requests, n, w))
                for n in CLIENTS
            ),
            *(
                (("batch", str(n)), lambda w, n=n: ask_in_batches(first, sheets, requests, n, w))
                for n in BATCHES
            ),
            *(
                (
                    ("load", str(load)),
                    lambda w, load=load: ask_by_chance(
                        first, sheets, requests, load * most, generator, w
                    ),
                )
                for load in LOADS
            ),
            *(
                (
                    ("processes", str(n)),
                    lambda w, n=n: ask_at_once(services[:n], sheets, requests, MOST_CLIENTS, w),
                )
                for n in PROCESSES
            ),
        ]
        for turn in range(arguments.rounds):
            for place in generator.permutation(len(turns)):
                names, measure = turns[place]
                measure(waited.setdefault(names, Waited()))
            for names, _ in turns:
                record.entry(*names).update(waited[names].to_json())
            record.save("round", turn + 1)
        last = Waited()
        ask_at_once([first], sheets, arguments.thousand, MOST_CLIENTS, last)
    # The services have ended, so their seconds of the processor count from here on.
    record.entry("thousand").update(last.to_json())
    record.save(f"{arguments.thousand} requests: {last.lost} lost, {last.mixed_up} mixed up")
    if last.lost or last.mixed_up:
        raise SystemExit("An answer was lost, or went to another.")


if __name__ == "__main__":
    main()
