"""Run every chapter through strict nbval, against the built wheel, in an empty folder.

    python -m tools.check_chapters [--other-processor] [ch01 ...]

This is the situation of a reader in Colab: the notebook, the package, and nothing else. As many
chapters run at once as there are cores; the cells of each run in order, in one kernel.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
# A chapter a core: with a thread each no two fight over one. NumPy's threads wait actively, so that
# the many small products of chapters 2 to 4 take minutes with two threads and seconds with one.
# torch's need not, where somebody wants more; but a chapter that loads torch first is told here.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
# The libraries' own switches for an older processor: AVX2, and no more. What differs there from the
# stored outputs differs between readers too.
OTHER_PROCESSOR = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "OPENBLAS_CORETYPE": "Haswell",
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
}
CELL_TIMEOUT = 600  # seconds; pyproject.toml tells nbval the same


def install_wheel(folder: Path) -> Path:
    """Build the wheel and unpack it into `folder`; return where it can be imported from."""
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "-w", str(folder), str(ROOT)], check=True)
    (wheel,) = folder.glob("mnist_lab-*.whl")
    site = folder / "site"
    subprocess.run([*pip, "install", "--no-deps", "--target", str(site), str(wheel)], check=True)
    return site


def nbval_command(python: str | Path, folder: str) -> list[str]:
    """Return the command that runs every notebook of a folder and compares its outputs."""
    pytest = [str(python), "-m", "pytest", "--nbval", "-p", "no:cacheprovider"]
    return [
        *pytest,
        "-c",
        str(ROOT / "pyproject.toml"),
        "--rootdir",
        folder,
        "--durations=8",
        folder,
    ]


def main() -> int:
    """Return pytest's exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("chapters", nargs="*", help="ch01 ch05 ...; default: all")
    parser.add_argument(
        "--other-processor", action="store_true", help="with the instructions of an older one"
    )
    arguments = parser.parse_args()
    wanted = arguments.chapters
    with tempfile.TemporaryDirectory() as wheel_folder, tempfile.TemporaryDirectory() as empty:
        environment = ONE_THREAD | os.environ
        if arguments.other_processor:
            environment |= OTHER_PROCESSOR
        environment["PYTHONPATH"] = str(install_wheel(Path(wheel_folder)))
        where = [sys.executable, "-c", "import mnist_lab; print(mnist_lab.__file__)"]
        found = subprocess.run(
            where, env=environment, cwd=empty, check=True, capture_output=True, text=True
        ).stdout
        if not found.startswith(wheel_folder):
            sys.exit(f"The chapters would import {found.strip()}, not the built wheel.")
        for path in sorted((ROOT / "notebooks").glob("ch*.ipynb")):
            if not wanted or path.name.partition("_")[0] in wanted:
                shutil.copy(path, empty)
        at_once = ["-n", str(os.cpu_count() or 1), "--dist", "loadfile"]
        command = [*nbval_command(sys.executable, empty), *at_once]
        return subprocess.run(command, env=environment, cwd=empty).returncode


if __name__ == "__main__":
    sys.exit(main())
