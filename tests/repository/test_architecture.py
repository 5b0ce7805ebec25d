"""The package's shape: who may import whom, what costs time to import, what is never called."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "mnist_lab"
FIRST = (
    "files",
    "datasets",
    "populations",
    "corruptions",
    "augmentation",
    "distributed",
    "batches",
    "numpy_layers",
    "selection",
    "models",
    "backbones",
    "checkpoints",
    "training",
)
LARGEST = 1_000_000  # bytes of a tracked file; larger ones belong elsewhere
PICKLES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
TORCH_DRAWS = {"rand", "randn", "randint", "randperm", "normal", "bernoulli", "multinomial"}
RUNS_TEXT = {"eval", "exec", "compile", "__import__"}


def modules() -> dict[str, Path]:
    """Return the package's modules by name, the package's own `__init__` aside.

    A folder's `__init__` goes by the folder's name, and its other files by names such as
    "exercises.ch02".
    """
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        name = "" if name == "__init__" else name.removesuffix(".__init__")
        if name:
            found[name] = path
    return found


def entry_of(name: str) -> str:
    """Return under which name a module stands in the list: a folder stands there as one."""
    return name.partition(".")[0]


def listed_order() -> list[str]:
    """Return the modules in the order of the list that CONTRIBUTING.md carries."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for block in re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        names = re.findall(r"^(?:mnist_lab/)?(\w+)(?:\.py|/)(?=\s)", block, re.MULTILINE)
        if "datasets" in names:
            return names
    raise AssertionError("CONTRIBUTING.md has no fenced list of the modules.")


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports_of(tree: ast.AST) -> Iterator[str]:
    """Yield the full name of all that is imported, inside functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are written in full"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def forbidden_imports(name: str, tree: ast.AST, order: list[str], present: set[str]) -> list[str]:
    """Return what a module imports of the package that does not stand above it.

    A folder is one module in the order. Its files may import each other, but not the folder itself,
    whose `__init__` imports them.
    """
    entry = entry_of(name)
    above = set(order[: order.index(entry)])
    inside = [other for other in present if other.startswith(f"{entry}.")]
    wrong = []
    for imported in imports_of(tree):
        package, _, rest = imported.partition(".")
        if package != "mnist_lab" or rest == "__version__" or entry_of(rest) in above:
            continue
        if not any(f"{rest}.".startswith(f"{other}.") for other in inside):
            wrong.append(imported)
    return wrong


def called(node: ast.Call) -> str:
    """Return the name of what is called, as it is written."""
    return ast.unparse(node.func)


def problems_in(tree: ast.AST) -> list[str]:
    """Return what a file of the package must not do, by line."""
    found = [f"imports {name}" for name in imports_of(tree) if name.partition(".")[0] in PICKLES]
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = called(node)
        options = {key.arg: ast.unparse(key.value) for key in node.keywords}
        if name in RUNS_TEXT:
            found.append(f"line {node.lineno} calls {name}")
        if name == "torch.load" and options.get("weights_only") != "True":
            found.append(f"line {node.lineno} calls torch.load without weights_only=True")
        if name in {"np.load", "numpy.load"} and options.get("allow_pickle") != "False":
            found.append(f"line {node.lineno} calls np.load without allow_pickle=False")
        if name == "torch.save":
            found.append(f"line {node.lineno} calls torch.save")
    return found


def draws_in(tree: ast.AST) -> list[str]:
    """Return calls that draw from a generator which the caller did not hand over."""
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        owner, _, name = called(node).rpartition(".")
        handed = any(key.arg == "generator" for key in node.keywords)
        if (
            (owner == "torch" and name in TORCH_DRAWS and not handed)
            or (owner == "np.random" and name not in {"default_rng", "SeedSequence"})
            # Whoever calls a library that draws may seed it, and must put the state back.
            or (owner == "random" and name not in {"getstate", "seed", "setstate"})
        ):
            found.append(f"line {node.lineno} calls {called(node)}")
    return found


class TestOrder:
    def test_the_list_in_contributing_names_every_module_once(self) -> None:
        order = listed_order()
        assert sorted(order) == sorted({entry_of(name) for name in modules()})
        assert order[: len(FIRST)] == list(FIRST)
        assert order[-2:] == ["cli", "__main__"]

    def test_a_module_imports_only_from_those_above_it(self) -> None:
        order = listed_order()
        found = {
            name: forbidden_imports(name, tree_of(path), order, set(modules()))
            for name, path in modules().items()
        }
        assert {name: imports for name, imports in found.items() if imports} == {}

    @pytest.mark.parametrize(
        ("name", "code", "wrong"),
        [
            ("low", "from mnist_lab import __version__", False),
            ("low", "import mnist_lab.high", True),
            ("low", "from mnist_lab.folder.one import thing", True),
            ("low", "import low_level_library", False),
            ("folder", "from mnist_lab.folder import one", False),
            ("folder", "from mnist_lab.low import thing", False),
            ("folder", "from mnist_lab.high import thing", True),
            ("folder.one", "from mnist_lab.folder.two import thing", False),
            ("folder.one", "from mnist_lab.low import thing", False),
            ("folder.one", "from mnist_lab.folder import thing", True),  # a circle
            ("folder.one", "from mnist_lab.high import thing", True),
            ("high", "from mnist_lab.folder import thing", False),
            ("high", "from mnist_lab.high import thing", True),
        ],
    )
    def test_and_this_test_would_see_one_that_does_not(
        self, name: str, code: str, wrong: bool
    ) -> None:
        present = {"low", "folder", "folder.one", "folder.two", "high"}
        tree = ast.parse(code)
        assert bool(forbidden_imports(name, tree, ["low", "folder", "high"], present)) == wrong

    def test_the_package_itself_imports_nothing(self) -> None:
        assert list(imports_of(tree_of(PACKAGE / "__init__.py"))) == []

    def test_no_module_imports_tests_tools_or_benchmarks(self) -> None:
        for path in modules().values():
            packages = {name.partition(".")[0] for name in imports_of(tree_of(path))}
            assert not packages & {"tests", "tools", "benchmarks", "book"}

    def test_every_module_says_what_it_is_for(self) -> None:
        for name, path in modules().items():
            text = ast.get_docstring(tree_of(path))
            assert text, name
            assert text.splitlines()[0].endswith("."), name


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("mnist_lab", ("torch", "numpy", "torchvision", "sklearn", "PIL", "matplotlib")),
        ("mnist_lab.data", ("torch", "torchvision", "sklearn", "PIL", "matplotlib")),
        ("mnist_lab.cli", ("torch", "numpy", "torchvision", "sklearn", "PIL", "matplotlib")),
        ("mnist_lab.handwriting", ("torch", "torchvision", "sklearn", "matplotlib")),
        ("mnist_lab.handwriting.strokes", ("torch", "torchvision", "sklearn", "matplotlib")),
        (
            "mnist_lab.handwriting.simulated_pages",
            ("torch", "torchvision", "sklearn", "matplotlib"),
        ),
        ("mnist_lab.lessons.exercises", ("torch", "torchvision", "sklearn", "matplotlib", "PIL")),
        ("mnist_lab.training", ("torchvision", "sklearn", "matplotlib", "IPython")),
    ],
)
def test_importing_brings_in_no_more_than_it_needs(module: str, absent: tuple[str, ...]) -> None:
    code = f"import sys, {module}; print(*(name for name in {absent!r} if name in sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (found.returncode, found.stdout.split()) == (0, []), found.stderr


class TestSafety:
    def test_the_package_reads_no_pickle_and_runs_no_text(self) -> None:
        found = {name: problems_in(tree_of(path)) for name, path in modules().items()}
        assert {name: problems for name, problems in found.items() if problems} == {}

    @pytest.mark.parametrize(
        "code",
        [
            "import pickle",
            "from pickle import loads",
            "def f():\n    import joblib",
            "eval('1')",
            "exec(text)",
            "torch.load(path)",
            "torch.load(path, weights_only=False)",
            "np.load(path)",
            "np.load(path, allow_pickle=True)",
            "torch.save(model, path)",
        ],
    )
    def test_and_this_test_would_see_it(self, code: str) -> None:
        assert problems_in(ast.parse(code))

    @pytest.mark.parametrize(
        "code",
        [
            "model.eval()",
            "torch.load(path, weights_only=True)",
            "np.load(file, allow_pickle=False)",
            "re.compile('x')",
        ],
    )
    def test_but_not_what_is_harmless(self, code: str) -> None:
        assert problems_in(ast.parse(code)) == []

    def test_no_random_number_comes_from_a_global_generator(self) -> None:
        found = {name: draws_in(tree_of(path)) for name, path in modules().items()}
        assert {name: draws for name, draws in found.items() if draws} == {}

    @pytest.mark.parametrize(
        "code",
        [
            "torch.rand(3)",
            "torch.randperm(n)",
            "np.random.rand(3)",
            "np.random.seed(0)",
            "random.random()",
            "random.shuffle(x)",
        ],
    )
    def test_and_a_draw_from_one_would_be_seen(self, code: str) -> None:
        assert draws_in(ast.parse(code))


class TestRepository:
    def tracked(self) -> list[Path]:
        command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        return [path for name in listed.stdout.splitlines() if (path := ROOT / name).is_file()]

    def test_nothing_large_is_tracked_but_the_data(self) -> None:
        large = {
            path.relative_to(ROOT).as_posix()
            for path in self.tracked()
            if path.stat().st_size > LARGEST
        }
        assert large == {
            "mnist_lab/data/train-images-idx3-ubyte.xz",
            "mnist_lab/data/t10k-images-idx3-ubyte.xz",
        }

    def test_no_checkpoint_no_pickle_and_nothing_built_is_tracked(self) -> None:
        suffixes = {path.suffix for path in self.tracked()}
        assert not suffixes & {".pth", ".pt", ".pkl", ".ckpt", ".pyc", ".safetensors", ".whl"}

    def test_the_four_files_of_the_data_ship_and_no_other(self) -> None:
        names = {path.name for path in (PACKAGE / "data").glob("*idx*")}
        assert names == {
            f"{part}-{what}-ubyte.xz"
            for part in ("train", "t10k")
            for what in ("images-idx3", "labels-idx1")
        }
