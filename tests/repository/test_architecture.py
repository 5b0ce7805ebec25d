"""The package's shape: who may import whom, what costs time to import, what is never called."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import pytest

from tools.rooms import (
    ROOMS,
    Module,
    find_stale,
    imported_modules,
    imports_of,
    public_names,
    read_modules,
    sort_modules,
    wrong_imports,
)

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "mnist_lab"
MODULES = read_modules()
FOLDERS = [room for room in ROOMS if MODULES[room].is_folder]
LARGEST = 1_000_000  # bytes of a tracked file; larger ones belong elsewhere
PICKLES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
TORCH_DRAWS = {"rand", "randn", "randint", "randperm", "normal", "bernoulli", "multinomial"}
RUNS_TEXT = {"eval", "exec", "compile", "__import__"}


def called(node: ast.Call) -> str:
    """Return the name of what is called, as it is written."""
    return ast.unparse(node.func)


def problems_in(tree: ast.Module) -> list[str]:
    """Return what a file of the package must not do, by line."""
    imported = imports_of(Module("code", tree))
    found = [f"imports {name}" for name in imported if name.partition(".")[0] in PICKLES]
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


def modules_of(room: str) -> list[Module]:
    """Return the modules whose names a room hands on: its folders do so themselves."""
    own = [name for name in MODULES if name.rpartition(".")[0] == room]
    return [MODULES[name] for name in own if not MODULES[name].is_folder]


def names_with_two_meanings(modules: Iterable[Module]) -> dict[str, list[str]]:
    """Return the public names that several modules define, with those modules."""
    found = defaultdict(list)
    for module in modules:
        for name in public_names(module):
            found[name].append(module.name)
    return {name: places for name, places in found.items() if len(places) > 1}


class TestOrder:
    """How each of these is read off the files is tested in test_rooms.py."""

    def test_the_rooms_are_those_of_the_tree(self) -> None:
        assert sorted(ROOMS) == sorted({module.room for module in MODULES.values()})

    def test_a_module_imports_only_from_its_own_room_and_those_before(self) -> None:
        found = {name: wrong_imports(module, MODULES) for name, module in MODULES.items()}
        assert {name: wrong for name, wrong in found.items() if wrong} == {}

    def test_inside_a_room_nothing_goes_round_in_a_circle(self) -> None:
        needs = {name: imported_modules(module, MODULES) for name, module in MODULES.items()}
        assert sorted(sort_modules(needs)) == sorted(MODULES)

    def test_what_is_written_from_the_tree_says_what_the_tree_says(self) -> None:
        stale = [path.relative_to(ROOT).as_posix() for path in find_stale()]
        assert stale == [], "run `python -m tools.rooms`"

    def test_the_package_itself_imports_what_makes_it_lazy_and_nothing_else(self) -> None:
        own = (PACKAGE / "__init__.py").read_text(encoding="utf-8")
        package = Module("mnist_lab", ast.parse(own))
        assert imports_of(package) == {"lazy_loader", "os"}  # os: how threads wait
        for room in FOLDERS:
            assert imports_of(MODULES[room]) == {"lazy_loader"}, room

    def test_no_module_imports_tests_tools_or_benchmarks(self) -> None:
        for module in MODULES.values():
            packages = {name.partition(".")[0] for name in imports_of(module)}
            assert not packages & {"tests", "tools", "benchmarks", "book"}, module.name

    def test_every_module_says_what_it_is_for(self) -> None:
        for name, module in MODULES.items():
            assert module.first_line.endswith("."), name


class TestNames:
    def test_no_name_has_two_meanings(self) -> None:
        """What is written by hand bears the names of PyTorch; an exercise has its own words."""
        elsewhere = [
            module
            for module in MODULES.values()
            if not f"{module.name}.".startswith(("by_hand.", "lessons.exercises."))
        ]
        assert names_with_two_meanings(elsewhere) == {}

    @pytest.mark.parametrize("room", FOLDERS)
    def test_in_a_room_a_name_is_found_once_and_is_not_a_modules(self, room: str) -> None:
        """lazy_loader would hand on one of the two, whichever was imported last."""
        own = modules_of(room)
        assert names_with_two_meanings(own) == {}
        names = {name for module in own for name in public_names(module)}
        assert not names & {module.last_name for module in own}

    def test_and_this_test_would_see_one(self) -> None:
        a, b, c = (
            Module(name, ast.parse(code))
            for name, code in (("a", "HEAD = 1"), ("b", "def HEAD(): ..."), ("c", "head = HEAD"))
        )
        assert names_with_two_meanings([a, b, c]) == {"HEAD": ["a", "b"]}
        assert names_with_two_meanings([a, c]) == {}

    @pytest.mark.parametrize("room", FOLDERS)
    def test_a_room_hands_on_what_its_modules_define(self, room: str) -> None:
        handing_on = importlib.import_module(f"mnist_lab.{room}")
        for module in modules_of(room):
            defining = importlib.import_module(f"mnist_lab.{module.name}")
            for name in public_names(module):
                assert getattr(handing_on, name) is getattr(defining, name), name


HEAVY = ("torch", "torchvision", "sklearn", "PIL", "matplotlib")
# A reader is a network with its card, so it may bring torch in.
WITH_A_NETWORK = {"handwriting.reader", "handwriting.tables"}


def all_of(room: str) -> list[str]:
    """Return what `import` takes to bring in every module of a room, but for its networks."""
    own = [name for name, module in MODULES.items() if module.room == room]
    return [f"mnist_lab.{name}" for name in own if name not in WITH_A_NETWORK]


@pytest.mark.parametrize(
    ("imported", "absent"),
    [
        (["mnist_lab"], ("numpy", *HEAVY)),
        (["mnist_lab.cli"], ("numpy", *HEAVY)),
        ([f"mnist_lab.{room}" for room in FOLDERS], ("numpy", *HEAVY)),
        (all_of("data"), ("torch", "torchvision", "sklearn", "matplotlib")),
        (all_of("by_hand"), HEAVY),
        (all_of("handwriting"), ("torch", "torchvision", "sklearn", "matplotlib")),
        (["mnist_lab.lessons.exercises"], HEAVY),
        (all_of("models"), ("torchvision", "sklearn", "matplotlib", "IPython")),
        (all_of("training"), ("torchvision", "sklearn", "matplotlib", "IPython")),
        (all_of("finetuning"), ("torchvision", "sklearn", "matplotlib", "IPython")),
    ],
    ids=lambda names: names[0] if names[0].startswith("mnist_lab") else f"no {', '.join(names)}",
)
def test_importing_brings_in_no_more_than_it_needs(
    imported: list[str], absent: tuple[str, ...]
) -> None:
    code = (
        f"import sys, {', '.join(imported)}\n"
        f"print(*(name for name in {absent!r} if name in sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (found.returncode, found.stdout.split()) == (0, []), found.stderr


class TestSafety:
    def test_the_package_reads_no_pickle_and_runs_no_text(self) -> None:
        found = {name: problems_in(module.tree) for name, module in MODULES.items()}
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
        found = {name: draws_in(module.tree) for name, module in MODULES.items()}
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
            "mnist_lab/data/files/train-images-idx3-ubyte.xz",
            "mnist_lab/data/files/t10k-images-idx3-ubyte.xz",
        }

    def test_no_checkpoint_no_pickle_and_nothing_built_is_tracked(self) -> None:
        suffixes = {path.suffix for path in self.tracked()}
        assert not suffixes & {".pth", ".pt", ".pkl", ".ckpt", ".pyc", ".safetensors", ".whl"}

    def test_the_four_files_of_the_data_ship_and_no_other(self) -> None:
        names = {path.name for path in (PACKAGE / "data" / "files").glob("*")}
        assert names == {
            f"{part}-{what}-ubyte.xz"
            for part in ("train", "t10k")
            for what in ("images-idx3", "labels-idx1")
        }
