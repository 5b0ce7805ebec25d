"""Where the book is published: one setting, and every use of it.

    python -m tools.address https://github.com/you/mnist-lab      rewrites every use
    python -m tools.address --check https://github.com/you/mnist-lab

The setting is `repository: url:` in `_config.yml`. Until somebody publishes the book it is the
placeholder https://github.com/_publisher_/mnist-lab, under a name that nobody can register, so that
no stranger's package is installed by mistake. `--check` ends with status 3 where the address is
another, and needs nothing but Python.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PLACEHOLDER = "_publisher_"  # GitHub's names begin with a letter or a digit
ANOTHER_ADDRESS = 3  # the exit status of `--check`
TEXT_SUFFIXES = {".md", ".ipynb", ".yml", ".yaml", ".toml", ".cff", ".py", ".txt", ".html"}
# These speak of the placeholder itself.
EXEMPT = {"tools/address.py", "tests/repository/test_address.py", "CHANGELOG.md"}


def current_address(root: Path = ROOT) -> str:
    """Return the setting."""
    config = (root / "_config.yml").read_text(encoding="utf-8")
    match = re.search(r"^repository:\s*\n(?:[ \t]+.*\n)*?[ \t]+url:\s*(\S+)", config, re.MULTILINE)
    if not match:
        sys.exit("_config.yml has no `repository: url:`.")
    return match[1]


def parse_address(url: str) -> tuple[str, str]:
    """Return (owner, name) of https://github.com/owner/name."""
    owner = rf"[A-Za-z0-9][\w-]*|{PLACEHOLDER}"
    match = re.fullmatch(rf"https://github\.com/({owner})/([\w.-]+?)(?:\.git)?/?", url, re.ASCII)
    if not match or match[2] in {".", ".."}:
        sys.exit(f"{url!r} is no address of the form https://github.com/owner/name.")
    return match[1], match[2]


def pages_address(url: str) -> str | None:
    """Return where GitHub Pages shows a repository's book, or None while it has no address yet."""
    owner, name = parse_address(url)
    if owner == PLACEHOLDER:
        return None
    host = f"{owner.lower()}.github.io"
    return f"https://{host}/" if name.lower() == host else f"https://{host}/{name}/"


def same_address(one: str, other: str) -> bool:
    """Compare two addresses as GitHub does, to which large and small letters are the same."""
    return tuple(map(str.lower, parse_address(one))) == tuple(map(str.lower, parse_address(other)))


def files_that_may_use_it(root: Path = ROOT) -> list[Path]:
    """Return the project's own text files."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout
    return [
        root / name
        for name in listed.splitlines()
        if Path(name).suffix in TEXT_SUFFIXES and name not in EXEMPT and (root / name).is_file()
    ]


def rewrite(old: str, new: str, root: Path = ROOT) -> list[Path]:
    """Replace one address by another everywhere; return the files that changed."""
    from mnist_lab.files import write_atomically  # here, as --check runs before it is installed

    (old_owner, old_name), (owner, name) = parse_address(old), parse_address(new)
    repository = _whole(f"{old_owner}/{old_name}")
    pages = _whole(f"{old_owner.lower()}.github.io/{old_name}")
    changed = []
    for path in files_that_may_use_it(root):
        before = path.read_text(encoding="utf-8")
        after = repository.sub(f"{owner}/{name}", before)
        after = pages.sub(f"{owner.lower()}.github.io/{name}", after)
        if after != before:
            write_atomically(path, after)
            changed.append(path)
    return changed


def _whole(address: str) -> re.Pattern[str]:
    """Match an address, but not inside a longer one, such as that of NAME-old or NAME.other."""
    return re.compile(rf"(?<![\w.-]){re.escape(address)}(?![\w-]|\.(?!git\b)\w)")


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("url", nargs="?", help="https://github.com/owner/name")
    parser.add_argument("--check", action="store_true", help="status 3 if the setting is another")
    arguments = parser.parse_args()
    current = current_address()
    if not arguments.url:
        sys.exit(f"The address is {current}. Give another: make address URL=https://github.com/...")
    if arguments.check:
        if same_address(current, arguments.url):
            return
        print(
            f"The book's address is {current}, but this repository is {arguments.url}: "
            f"run `make address URL={arguments.url}` and commit.",
            file=sys.stderr,
        )
        sys.exit(ANOTHER_ADDRESS)
    for path in rewrite(current, arguments.url):
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
