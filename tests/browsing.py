"""What the browser tests stand on: the site, a Chromium of the system, a gate to other hosts.

They need the site (`make book`) and a Chromium. Where either is missing they are skipped with a
plain message, and in CI (the environment variable CI is set) they fail. The fixtures `site`,
`browser` and `address` are in conftest.py.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from tools.chromium import find_chromium, started

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page, Route

SITE = Path(__file__).parents[1] / "_build" / "html"
DOORS = ("served", "from disk")
DESK: Any = {"width": 1400, "height": 900}
PHONE: Any = {"width": 390, "height": 844}

both_doors = pytest.mark.parametrize("door", DOORS)


def cannot_test(reason: str) -> NoReturn:
    """Skip with a reason, but fail in CI, where nothing may go untested."""
    if os.environ.get("CI"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@contextmanager
def launched() -> Iterator[Browser]:
    """Start the system's Chromium."""
    program = find_chromium()
    if program is None:
        cannot_test("There is no Chromium on this machine, so the pages go untested.")
    with started(program) as browser:
        yield browser


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves files and keeps no log."""

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def served(site: Path) -> Iterator[str]:
    """Serve the site on this machine; yield its address."""
    handler = functools.partial(QuietHandler, directory=str(site))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@dataclass
class Trouble:
    """What went wrong while a page was open."""

    errors: list[str] = field(default_factory=list)
    other_hosts: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def watch(context: BrowserContext, address: str) -> tuple[Page, Trouble]:
    """Open an empty page that lets no request leave this machine, and notes every attempt."""
    trouble = Trouble()

    def at_the_gate(route: Route) -> None:
        url = route.request.url
        if url.startswith((address, "file:", "data:", "blob:")):
            route.continue_()
        else:
            trouble.other_hosts.append(url)
            route.abort()

    page = context.new_page()
    page.route("**/*", at_the_gate)
    page.on("websocket", lambda socket: trouble.other_hosts.append(socket.url))
    page.on("pageerror", lambda error: trouble.errors.append(str(error)))
    page.on(
        "console",
        lambda message: trouble.errors.append(message.text) if message.type == "error" else None,
    )
    page.on("requestfailed", lambda request: trouble.missing.append(request.url))
    page.on(
        "response",
        lambda answer: trouble.missing.append(answer.url) if answer.status >= 400 else None,
    )
    return page, trouble


@contextmanager
def opened(
    browser: Browser, address: str, door: str, name: str, **options: Any
) -> Iterator[tuple[Page, Trouble]]:
    """Open a page through one of the doors, and expect no trouble at the end."""
    with browser.new_context(**({"viewport": DESK} | options)) as context:
        page, trouble = watch(context, address)
        page.goto(f"{address}/{name}" if door == "served" else (SITE / name).as_uri())
        yield page, trouble
    assert trouble == Trouble(), trouble
