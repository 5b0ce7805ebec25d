"""Try the chapters as a reader in Colab does, in an environment of Colab's own versions.

    python -m tools.check_colab [ch02 ...]      default: chapters 2, 5 and 10

It builds `_build/colab` from the newest list in `tools/colab/` (some minutes, 6 GB), runs a
chapter's first cell there against the commit that is checked out, compares what is installed before
and after, and runs whole chapters through strict nbval. Before a release: `make colab`.

To renew the list: take the versions of the same packages from Colab's own, whose address stands in
the newest one here, into a file that is called after its month.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat

from tools.address import current_address
from tools.check_chapters import ONE_THREAD, nbval_command
from tools.publish_notebooks import CHAPTERS, ROOT, current_commit, pin

LISTS = sorted((ROOT / "tools" / "colab").glob("*.txt"))
ENVIRONMENT = ROOT / "_build" / "colab"
LOCAL = re.compile(r"\+\w+$", re.MULTILINE)  # "+cu128" of a version that PyPI has without it
CHECKED = ("ch02", "ch05", "ch10")  # sliders, training, and fine-tuning


def read_list(text: str) -> tuple[str, dict[str, str]]:
    """Return the version of Python, such as "3.12", and of each package that a list names."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    python = re.search(r"Python (3\.\d+)", text)
    if not python:
        raise ValueError("the list does not say which Python Colab has")
    return python[1], {name: version for name, _, version in (x.partition("==") for x in lines)}


def find_python(version: str) -> str:
    """Return a Python of this version or, with a word about it, the one that runs this."""
    by_pyenv = (Path.home() / ".pyenv" / "versions").glob(f"{version}*/bin/python")
    for python in filter(None, (shutil.which(f"python{version}"), *map(str, by_pyenv))):
        if subprocess.run([python, "-c", ""], capture_output=True).returncode == 0:
            return python
    print(f"There is no Python {version} here; with {sys.version.split()[0]} it is less alike.")
    return sys.executable


def build(listed: Path) -> str:
    """Build the environment, or rid the one that is there of additions; return its Python."""
    wanted = listed.read_text(encoding="utf-8")
    python, record = str(ENVIRONMENT / "bin" / "python"), ENVIRONMENT / "built.json"
    if record.exists():
        built = json.loads(record.read_text(encoding="utf-8"))
        there = installed(python)
        if built["list"] == wanted and not moved(built["installed"], there):
            if added := there.keys() - built["installed"].keys():
                uninstall = [python, "-m", "pip", "uninstall", "--quiet", "--yes", *added]
                subprocess.run(uninstall, check=True)
            return python
    version, packages = read_list(wanted)
    subprocess.run([find_python(version), "-m", "venv", "--clear", str(ENVIRONMENT)], check=True)
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, f"pip=={packages['pip']}"], check=True)
    with tempfile.TemporaryDirectory() as folder:
        on_pypi = Path(folder, "on_pypi.txt")
        on_pypi.write_text(LOCAL.sub("", wanted), encoding="utf-8")
        subprocess.run([*pip, "-r", str(on_pypi), "nbval"], check=True)
    for name in packages:
        relabel(name, packages[name])
    built = {"list": wanted, "installed": installed(python)}
    record.write_text(json.dumps(built), encoding="utf-8")
    return python


def relabel(name: str, version: str, environment: Path = ENVIRONMENT) -> None:
    """Have an installed package say that it is Colab's build, such as 2.11.0+cu128."""
    public = LOCAL.sub("", version)
    if public == version:
        return
    (folder,) = environment.glob(f"lib/*/site-packages/{name}-{public}.dist-info")
    metadata = folder / "METADATA"
    text = metadata.read_text(encoding="utf-8")
    metadata.write_text(
        re.sub(r"^Version: .*", f"Version: {version}", text, count=1, flags=re.MULTILINE),
        encoding="utf-8",
    )
    folder.rename(folder.with_name(f"{name}-{version}.dist-info"))


def installed(python: str) -> dict[str, str]:
    """Return the version of everything that is installed."""
    command = [python, "-m", "pip", "list", "--format=freeze", "--disable-pip-version-check"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return {name: version for name, _, version in (line.partition("==") for line in lines)}


def moved(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """Return what is no longer as it was, in words."""
    return [
        f"{name} {version} -> {after.get(name, 'gone')}"
        for name, version in before.items()
        if after.get(name) != version
    ]


def first_cell(path: Path, address: str, commit: str) -> str:
    """Return what the first cell of a chapter would be, were it published at an address."""
    notebook = nbformat.reads(pin(path.read_text(encoding="utf-8"), commit), as_version=4)
    code: str = next(cell.source for cell in notebook.cells if cell.cell_type == "code")
    return code.replace(current_address(), address)


def main() -> int:
    """Return pytest's exit status."""
    wanted = sys.argv[1:] or CHECKED
    commit = current_commit()
    python = build(LISTS[-1])
    environment = ONE_THREAD | os.environ
    environment.pop("PYTHONPATH", None)  # the package is to come from the first cell alone
    before = installed(python)
    with tempfile.TemporaryDirectory() as empty:
        cell = first_cell(CHAPTERS[0], ROOT.as_uri(), commit)
        if subprocess.run([python, "-c", cell], cwd=empty, env=environment).returncode:
            sys.exit("The first cell fails; what it says stands above.")
        after = installed(python)
        print("added:", *(f"{name} {after[name]}" for name in after.keys() - before.keys()))
        if changed := moved(before, after):
            sys.exit(f"The first cell changes what Colab has: {', '.join(changed)}.")
        for path in CHAPTERS:
            if path.name.partition("_")[0] in wanted:
                shutil.copy(path, empty)
        # Warnings of Colab's Jupyter about itself; what a cell prints is compared all the same.
        command = [*nbval_command(python, empty), "-W", "default"]
        return subprocess.run(command, env=environment, cwd=empty).returncode


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.CalledProcessError as error:
        sys.exit(f"{' '.join(error.cmd[:4])} ... failed; what it says stands above.")
