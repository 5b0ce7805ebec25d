"""Install what the repository needs, as constraints.txt pins it, for the Python that runs this.

    .venv/bin/python -m tools.install

It installs with uv, which takes a fraction of pip's time, and with pip where uv cannot be had or
fails. uv reads nothing that pip was told, so it is told the same: which index to ask, and how.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
WHAT = ["-c", "constraints.txt", "-e", ".[all]"]
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
UV = [sys.executable, "-m", "uv", "pip", "install", "--python", sys.executable]
# Settings of pip's that may hold several values, by uv's name for each.
LISTS = {
    "index-url": "--default-index",
    "extra-index-url": "--index",
    "find-links": "--find-links",
    "trusted-host": "--allow-insecure-host",
}
# Those that uv takes from the environment.
VARIABLES = {
    "cert": "SSL_CERT_FILE",
    "proxy": "ALL_PROXY",
    "default-timeout": "UV_HTTP_TIMEOUT",
    "timeout": "UV_HTTP_TIMEOUT",
}


def read_settings(listed: str) -> dict[str, str]:
    """Return pip's settings by name, from what `pip config list` prints.

    A line is `global.index-url='https://...'`. What holds for `install` alone goes before what
    holds for all commands, and a variable of the environment before both.
    """
    found: dict[str, dict[str, str]] = {"global": {}, "install": {}, ":env:": {}}
    for line in listed.splitlines():
        key, equals, value = line.partition("=")
        section, _, name = key.partition(".")
        if equals and section in found:
            found[section][name] = ast.literal_eval(value)
    return found["global"] | found["install"] | found[":env:"]


def as_uv_is_told(settings: dict[str, str]) -> tuple[list[str], dict[str, str]]:
    """Return uv's options and variables that say what pip's settings say."""
    options = [
        part
        for name, option in LISTS.items()
        for value in settings.get(name, "").split()
        for part in (option, value)
    ]
    if settings.get("no-index", "").lower() in {"1", "true", "yes", "on"}:
        options.append("--no-index")
    # As pip does: of all indexes the one that has the version.
    options += ["--index-strategy", "unsafe-best-match"]
    variables = {VARIABLES[name]: value for name, value in settings.items() if name in VARIABLES}
    return options, variables


def install_with_uv() -> bool:
    """Install with uv, and say whether that went well."""
    quiet = [] if sys.stderr.isatty() else ["--quiet"]  # a person likes to see that it moves
    try:
        subprocess.run([*PIP, "install", "--quiet", *WHAT[:2], "uv"], cwd=ROOT, check=True)
        listed = subprocess.run(
            [*PIP, "config", "list"], check=True, capture_output=True, text=True
        ).stdout
        options, variables = as_uv_is_told(read_settings(listed))
        command = [*UV, *quiet, *options, "--build-constraints", "constraints.txt", *WHAT]
        subprocess.run(command, cwd=ROOT, check=True, env=variables | os.environ)
    except (OSError, ValueError, SyntaxError, subprocess.CalledProcessError):
        return False
    return True


def main() -> int:
    """Install, and return the exit status of whatever did."""
    if install_with_uv():
        return 0
    print("uv cannot install it, so pip does, which takes longer.", file=sys.stderr, flush=True)
    return subprocess.run([*PIP, "install", "--quiet", *WHAT], cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main())
