"""Several processes: the same numbers as one, one voice, and an end when one of them fails.

Processes are started as a user starts them, with torchrun; as one of them this file runs `main`.
Starting them is what takes time, so that one launch does as much as it can.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from mnist_lab import cli
from mnist_lab.data import splits
from mnist_lab.data.digit_set import DigitSet
from mnist_lab.data.mnist import MNIST
from mnist_lab.data.own_files import load_npz, save_npz
from mnist_lab.models.registry import build_model
from mnist_lab.training import loop, processes, runs
from mnist_lab.training.augmentation import Augmentation
from mnist_lab.training.batches import Batches
from mnist_lab.training.checkpoints import load_checkpoint
from mnist_lab.training.config import TrainConfig
from mnist_lab.training.draws import Draws
from mnist_lab.training.loop import start_training, train_epoch, train_step
from mnist_lab.training.processes import ALONE, LostProcessError, Ranks, join
from mnist_lab.training.recipes import PRESETS
from mnist_lab.training.run_folders import RESUME
from mnist_lab.training.runs import FitResult, fit

# 302 digits in batches of 43: every batch is cut unevenly, and of the last, with one digit, the
# second process gets nothing.
TRAIN, BATCH = 302, 43
WARPED = Augmentation(rotate=10, shift=2, scale=0.1, shear=5, elastic_strength=20)
PLAIN = TrainConfig(
    epochs=2,
    batch_size=BATCH,
    optimizer="sgd",
    learning_rate=0.02,
    weight_decay=0.01,
    l1_penalty=1e-4,
    label_smoothing=0.1,
    clip_norm=1.0,
    average_decay=0.9,
    augmentation=WARPED,
    seed=3,
)
STEPS = 2 * 8  # of PLAIN
NETWORK, ARGUMENTS = "mlp", {"hidden": 64}  # no norm, no dropout
WHOLE = replace(PLAIN, epochs=3, batch_size=64, optimizer="adamw")  # for batch norm and dropout
HANGING = 600  # seconds: only a guard, so that a fault here cannot hold the machine for ever

Sets = tuple[DigitSet, DigitSet]


# --- What each process runs ----------------------------------------------------------------------


class Killed(BaseException):
    """Stands for a kill of all processes, after which nothing more is written."""


def keep(folder: Path, name: str, result: FitResult, ranks: Ranks) -> None:
    """Leave what this process ended with where the test finds it."""
    tensors = {key: value.contiguous() for key, value in result.model.state_dict().items()}
    save_file(tensors, folder / f"{name}-{ranks.rank}.safetensors")
    note(folder, name, ranks.rank, [asdict(report) for report in result.reports])


def note(folder: Path, name: str, rank: int, value: Any) -> None:
    (folder / f"{name}-{rank}.json").write_text(json.dumps(value), encoding="utf-8")


def load_sets(folder: Path) -> Sets:
    return load_npz(folder / "train.npz"), load_npz(folder / "validation.npz")


def fit_plain(data: Path, ranks: Ranks, **options: Any) -> FitResult:
    sets = load_sets(data)
    return fit(NETWORK, *sets, PLAIN, arguments=ARGUMENTS, ranks=ranks, progress=False, **options)


@contextmanager
def at_step(number: int, do: Any) -> Iterator[None]:
    """Do something just before a step, counted from 1."""
    done = [0]

    def step(*given: Any) -> tuple[Tensor, Tensor]:
        done[0] += 1
        if done[0] == number:
            do()
        return train_step(*given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "train_step", step)
        yield


def kill_all() -> None:
    raise Killed


def noting(write: Any, written: list[str]) -> Any:
    def write_and_note(*given: Any) -> None:
        written.append(str(given[0]))
        write(*given)

    return write_and_note


def run_two(folder: Path) -> None:
    """Run all that ends well with two processes, one after the other."""
    for _ in range(8):  # they find each other anew each time, and not what an earlier block left
        with join(torch.device("cpu")) as ranks:
            ranks.add_up(1)
    with join(torch.device("cpu")) as ranks:
        keep(folder, "plain", fit_plain(folder, ranks), ranks)

        written: list[str] = []
        with pytest.MonkeyPatch.context() as patch:
            for function in ("save_checkpoint", "save_tensors"):
                patch.setattr(runs, function, noting(getattr(runs, function), written))
            fit_plain(folder, ranks, folder=folder / "unwritten")
        note(folder, "written", ranks.rank, written)

        train, validation = load_sets(folder)
        norm = fit("small_cnn", train, validation, WHOLE, arguments={"width": 4}, ranks=ranks)
        keep(folder, "norm", norm, ranks)
        stops = [stop_of(kind, train, ranks) for kind in ("nan", "ctrl-c")]
        note(folder, "stops", ranks.rank, stops)

        with at_step(STEPS // 2 + 3, kill_all), pytest.raises(Killed):
            fit_plain(folder, ranks, folder=folder / "begun")
        if ranks.first:
            for number in (1, 2, 3):
                shutil.copytree(folder / "begun", folder / f"resumed-{number}")
        ranks.add_up(0)  # the copies are there
        resumed = fit_plain(folder, ranks, folder=folder / "resumed-2", resume=True)
        keep(folder, "resumed", resumed, ranks)
        note(folder, "differs", ranks.rank, resume_elsewhere(folder, ranks))

    # The command line joins by itself: a process may join again and again.
    rank = int(os.environ["RANK"])
    presets = [*COMMAND, f"--data={folder / 'own.npz'}"]
    status = cli.main([*presets, "--epochs=1", f"--out={folder / 'standard'}"])
    status += cli.main([*presets, *SHORT, f"--out={folder / 'whole'}"])
    here = partial(os.kill, os.getpid(), signal.SIGINT)
    with at_step(STEPS // 2 + 3, here if rank == 1 else lambda: None):
        stopped = cli.main([*presets, *SHORT, f"--out={folder / 'stopped'}"])
    note(folder, "statuses", rank, [status, stopped])


def stop_of(kind: str, train: DigitSet, ranks: Ranks) -> list[Any]:
    """Let something stop process 1, and return how and after how many steps this one stops."""

    class Broken(Augmentation):
        def __call__(self, images: Tensor, draws: Draws | torch.Generator) -> Tensor:
            return images / (1 - ranks.rank)

    nan = kind == "nan"
    config = replace(PLAIN, augmentation=Broken() if nan else None)
    state = start_training(build_model("linear", seed=0), train, config, ranks=ranks)

    def interrupt(loss: float) -> None:
        if not nan and ranks.rank == 1 and state.step == 3:
            os.kill(os.getpid(), signal.SIGINT)

    try:
        train_epoch(state, interrupt)
    except (FloatingPointError, KeyboardInterrupt) as error:
        ranks.interrupted = False
        return [type(error).__name__, str(error), state.step]
    return ["nothing", "", state.step]


def resume_elsewhere(folder: Path, ranks: Ranks) -> str:
    """Resume where the second process does not see what the first sees."""
    there = folder / ("begun" if ranks.first else "nowhere")
    try:
        fit_plain(folder, ranks, folder=there, resume=True)
    except ValueError as error:
        return str(error)
    return ""


def run_three(folder: Path) -> None:
    """Run what ends well with three processes."""
    with join(torch.device("cpu")) as ranks:
        keep(folder, "three", fit_plain(folder, ranks), ranks)
        resumed = fit_plain(folder, ranks, folder=folder / "resumed-3", resume=True)
        keep(folder, "resumed by three", resumed, ranks)


def run_command(fault: str, *arguments: str) -> int:
    """Run the command line with a fault in the second epoch of rank 1."""

    def fail() -> None:
        match fault:
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "raise":
                raise OSError("No space left on device.")
            case "hang":
                time.sleep(HANGING)

    if fault == "hang":
        processes.join = partial(join, timeout=timedelta(seconds=10))  # type: ignore[assignment]
    with at_step(STEPS // 2 + 3, fail if os.environ["RANK"] == "1" else lambda: None):
        return cli.main(arguments)


def main() -> int:
    torch.set_num_threads(1)
    kind, *arguments = sys.argv[1:]
    if kind in ("two", "three"):
        (run_two if kind == "two" else run_three)(Path(arguments[0]))
        return 0
    return run_command(kind, *arguments)


# --- The tests -----------------------------------------------------------------------------------


# Of `own.npz`, 8 steps an epoch; the network has batch norm.
COMMAND = ("train", "--device=cpu", "--preset=standard", "--model=linear", "--json")
SHORT = ("--model=small_cnn", "--epochs=2")
OWN = 1_100


@dataclass(frozen=True)
class Launched:
    """What came of torchrun; `out` and `err` have an entry for each process."""

    status: int
    out: list[str]
    err: list[str]
    report: str  # torchrun's own


def launch(folder: Path, *command: object, processes: int = 2) -> Launched:
    logs = folder / f"logs-{time.monotonic_ns()}"
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    launcher += [f"--nproc_per_node={processes}", "--redirects=3", "--log-dir", str(logs)]
    ended = subprocess.run(
        [*launcher, *map(str, command)],
        capture_output=True,
        text=True,
        timeout=2 * HANGING,
        check=False,
    )
    out, err = (
        [path.read_text(encoding="utf-8") for path in sorted(logs.rglob(f"*/{name}.log"))]
        for name in ("stdout", "stderr")
    )
    return Launched(ended.returncode, out, err, ended.stderr)


def sentences(launched: Launched) -> list[str]:
    """Return the lines of all processes but for the bar, which rewrites its own."""
    # A bar counts steps a second, or seconds a step where they are slow; at its start it has none.
    bar = re.compile(r"(it/s|s/it|\?it)")
    lines = [line for text in launched.err for line in text.splitlines()]
    return [line for line in lines if line and not bar.search(line)]


@pytest.fixture(scope="module")
def sets(small_sets: Sets) -> Sets:
    return small_sets[0].subset(np.arange(TRAIN)), small_sets[1].subset(np.arange(200))


def save_sets(folder: Path, sets: Sets, mnist: DigitSet) -> None:
    for part, digits in zip(("train", "validation"), sets, strict=True):
        save_npz(folder / f"{part}.npz", digits)
    save_npz(folder / "own.npz", mnist.subset(np.arange(OWN)))


@dataclass(frozen=True)
class Ended:
    """What ran to its end with two processes, and the folder that they left things in."""

    folder: Path
    launched: Launched


@pytest.fixture(scope="module")
def two(sets: Sets, mnist: MNIST, tmp_path_factory: pytest.TempPathFactory) -> Ended:
    folder = tmp_path_factory.mktemp("two")
    save_sets(folder, sets, mnist.train)
    launched = launch(folder, __file__, "two", folder)
    assert launched.status == 0, launched.err
    return Ended(folder, launched)


@pytest.fixture(scope="module")
def one(sets: Sets) -> FitResult:
    options: dict[str, Any] = {"device": "cpu", "progress": False}
    return fit(NETWORK, *sets, PLAIN, arguments=ARGUMENTS, **options)


def weights(folder: Path, name: str, rank: int) -> dict[str, Tensor]:
    return load_file(folder / f"{name}-{rank}.safetensors")


def noted(folder: Path, name: str, rank: int) -> Any:
    return json.loads((folder / f"{name}-{rank}.json").read_text(encoding="utf-8"))


def largest_difference(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> float:
    assert ours.keys() == theirs.keys()
    return max(float((ours[name] - theirs[name]).abs().max()) for name in ours)


def flat(reports: Any) -> list[float]:
    return [
        report[part][key]
        for report in reports
        for part in ("train", "validation")
        for key in ("loss", "accuracy", "count")
    ]


def assert_as_one(folder: Path, name: str, ranks: int, one: FitResult) -> None:
    """Check that every process ended with what one alone ends with, within rounding."""
    for rank in range(ranks):
        expected = flat([asdict(report) for report in one.reports])
        assert np.allclose(flat(noted(folder, name, rank)), expected, rtol=0, atol=1e-5)
        found = weights(folder, name, rank)
        assert largest_difference(found, one.model.state_dict()) < 1e-5


class TestPieces:
    @pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 43, 64, 128])
    @pytest.mark.parametrize("size", [1, 2, 3, 8])
    def test_follow_each_other_and_differ_by_one_at_most(self, count: int, size: int) -> None:
        pieces = [list(range(count))[Ranks(rank, size).piece_of(count)] for rank in range(size)]
        assert list(chain(*pieces)) == list(range(count))
        lengths = [len(piece) for piece in pieces]
        assert max(lengths) - min(lengths) <= 1
        assert lengths == sorted(lengths, reverse=True)

    @pytest.mark.parametrize("wrong", [(2, 2), (-1, 2), (0, 0)])
    def test_there_is_no_such_rank(self, wrong: tuple[int, int]) -> None:
        with pytest.raises(ValueError, match=r"^rank must be 0 to .*, found .*\.$"):
            Ranks(*wrong)

    @pytest.mark.parametrize(("count", "batch_size"), [(1, 1), (10, 3), (97, 8), (64, 16), (5, 64)])
    @pytest.mark.parametrize("size", [2, 3, 5])
    @pytest.mark.parametrize("shuffle", [False, True])
    def test_of_all_processes_put_together_are_the_batches_of_one(
        self, count: int, batch_size: int, size: int, shuffle: bool, sets: Sets
    ) -> None:
        digits = sets[0].subset(np.arange(count))

        def batches(ranks: Ranks) -> Batches:
            return Batches(
                digits, batch_size, augmentation=WARPED, shuffle=shuffle, seed=1, ranks=ranks
            )

        whole = batches(ALONE)
        parts = [batches(Ranks(rank, size)) for rank in range(size)]
        for _ in range(2):
            assert {len(part) for part in parts} == {len(whole)}
            for number, (one, *several) in enumerate(zip(whole, *parts, strict=True)):
                images, labels = (torch.cat(pieces) for pieces in zip(*several, strict=True))
                assert whole.size_of(number) == len(one[1])
                assert torch.equal(labels, one[1])
                # Some products round otherwise for another number of images.
                assert torch.allclose(images, one[0], atol=1e-3)

    @pytest.mark.parametrize("size", [2, 3, 5])
    def test_means_so_weighed_are_the_mean_of_all(self, size: int) -> None:
        numbers = np.random.default_rng(0).normal(size=43)
        ranks = [Ranks(rank, size) for rank in range(size)]
        means = [
            numbers[one.piece_of(43)].mean() * one.weigh(len(numbers[one.piece_of(43)]), 43)
            for one in ranks
        ]
        assert np.mean(means) == pytest.approx(numbers.mean())


@pytest.mark.processes
class TestTwoProcesses:
    def test_give_what_one_gives_within_rounding(self, two: Ended, one: FitResult) -> None:
        assert_as_one(two.folder, "plain", 2, one)
        # Enough happened for a fault to show.
        start = build_model(NETWORK, seed=PLAIN.seed, **ARGUMENTS).state_dict()
        assert largest_difference(one.model.state_dict(), start) > 0.01

    def test_end_with_the_same_network_also_with_batch_norm(self, two: Ended) -> None:
        ours, theirs = (weights(two.folder, "norm", rank) for rank in (0, 1))
        assert largest_difference(ours, theirs) == 0
        first, second = (flat(noted(two.folder, "norm", rank)) for rank in (0, 1))
        assert first == second
        assert np.isfinite(first).all()

    def test_leave_writing_to_the_first(self, two: Ended) -> None:
        assert noted(two.folder, "written", 0) != []
        assert noted(two.folder, "written", 1) == []

    def test_stop_together_at_a_loss_that_is_not_finite(self, two: Ended) -> None:
        (first, _), (second, _) = (noted(two.folder, "stops", rank) for rank in (0, 1))
        assert first == second
        kind, sentence, steps = first
        assert (kind, steps) == ("FloatingPointError", 1)
        assert "the images of this batch hold values that are not finite" in sentence

    def test_stop_together_at_ctrl_c(self, two: Ended) -> None:
        (_, first), (_, second) = (noted(two.folder, "stops", rank) for rank in (0, 1))
        # It comes when a step is over, and is shared with what all do next: the step after it.
        assert first == second == ["KeyboardInterrupt", "", 4]

    def test_go_on_exactly(self, two: Ended) -> None:
        for rank in (0, 1):
            found, expected = (weights(two.folder, name, rank) for name in ("resumed", "plain"))
            assert largest_difference(found, expected) == 0
        assert not list((two.folder / "resumed-2").glob(f"{RESUME}*"))

    def test_do_not_go_on_where_they_find_different_runs(self, two: Ended) -> None:
        said = noted(two.folder, "differs", 0)
        assert said.startswith("The processes do not find the same run to resume")
        assert said == noted(two.folder, "differs", 1)

    def test_what_they_began_one_finishes(self, two: Ended, sets: Sets, one: FitResult) -> None:
        folder = two.folder / "resumed-1"
        assert (folder / f"{RESUME}.json").exists()
        result = fit_plain(two.folder, ALONE, folder=folder, resume=True, device="cpu")
        assert result.reports[0].seconds != one.reports[0].seconds  # it was not done anew
        expected = one.model.state_dict()
        assert largest_difference(result.model.state_dict(), expected) < 1e-5

    def test_of_the_command_line_one_speaks_and_writes(self, two: Ended, mnist: MNIST) -> None:
        assert two.launched.out[1] == ""
        records = [
            json.loads(line) for line in two.launched.out[0].splitlines() if line.startswith("{")
        ]
        assert [record["device"] for record in records] == ["cpu", "cpu"]
        digits = mnist.train.subset(np.arange(OWN))
        recipe = replace(PRESETS["standard"].config, epochs=1)
        train, validation = splits.split(digits, seed=0, validation=OWN // 10)
        alone = fit("linear", train, validation, recipe, device="cpu", progress=False)
        found = records[0]["validation_accuracy"]
        assert found == pytest.approx(alone.best.validation.accuracy, abs=0.02)
        model, _ = load_checkpoint(two.folder / "standard")
        assert largest_difference(model.state_dict(), alone.model.state_dict()) < 1e-3

    def test_of_the_command_line_all_stop_at_ctrl_c_and_one_says_so(self, two: Ended) -> None:
        assert noted(two.folder, "statuses", 0) == noted(two.folder, "statuses", 1) == [0, 130]
        # torch too has a word to say about gradients of so narrow a network.
        (said,) = (line for line in sentences(two.launched) if line.startswith("Stopped"))
        assert said.startswith(f"Stopped: {two.folder / 'stopped'} holds a usable checkpoint; ")
        assert load_checkpoint(two.folder / "stopped")[1].training["epoch"] == 1


@pytest.mark.processes
def test_three_processes_give_what_one_gives_and_finish_what_two_began(
    two: Ended, one: FitResult
) -> None:
    launched = launch(two.folder, __file__, "three", two.folder, processes=3)
    assert launched.status == 0, launched.err
    for name in ("three", "resumed by three"):
        assert_as_one(two.folder, name, 3, one)
    first, second, third = (weights(two.folder, "resumed by three", rank) for rank in range(3))
    assert largest_difference(first, second) == largest_difference(first, third) == 0


LOST = "mnist_lab train: Process 0 of 0 to 1 cannot go on with the others; if one of them says why "


@pytest.mark.processes
class TestOneProcessFails:
    """One ends, and so do the others; what was saved before can be resumed."""

    def test_it_is_killed(self, two: Ended, tmp_path: Path) -> None:
        own = f"--data={two.folder / 'own.npz'}"
        folder = tmp_path / "killed"
        killed = launch(tmp_path, __file__, "kill", *COMMAND, *SHORT, own, f"--out={folder}")
        assert killed.status != 0
        assert killed.out == ["", ""]
        assert "SIGKILL" in killed.report
        # torchrun may stop the other before it says a word.
        assert all(said.startswith(LOST) for said in sentences(killed))

        resumed = launch(
            tmp_path, "-m", "mnist_lab", *COMMAND, *SHORT, own, f"--out={folder}", "--resume"
        )
        assert resumed.status == 0, resumed.err
        assert (sentences(resumed), resumed.out[1]) == ([], "")
        record = json.loads(resumed.out[0].splitlines()[-1])
        found, expected = (load_checkpoint(place) for place in (folder, two.folder / "whole"))
        assert largest_difference(found[0].state_dict(), expected[0].state_dict()) == 0
        assert found[1] == expected[1]
        assert record["validation_accuracy"] == found[1].training["validation_accuracy"]

    def test_it_cannot_go_on(self, two: Ended, tmp_path: Path) -> None:
        own = f"--data={two.folder / 'own.npz'}"
        failed = launch(tmp_path, __file__, "raise", *COMMAND, *SHORT, own, f"--out={tmp_path}")
        assert failed.status != 0
        said = sentences(failed)
        assert "mnist_lab train: No space left on device." in said
        assert all(line.startswith(LOST) for line in said if "No space left" not in line)
        assert "Traceback" not in failed.err[0] + failed.err[1]
        assert load_checkpoint(tmp_path)  # of the epoch before

    def test_it_hangs(self, two: Ended, tmp_path: Path) -> None:
        own = f"--data={two.folder / 'own.npz'}"
        hung = launch(tmp_path, __file__, "hang", *COMMAND, *SHORT, own, f"--out={tmp_path}")
        assert hung.status != 0
        # Where the machine is so busy that they do not even meet in time, both say so.
        assert any(said.startswith(LOST) for said in sentences(hung))
        assert "Traceback" not in hung.err[0] + hung.err[1]


class TestVoice:
    @pytest.mark.parametrize("rank", [0, 1])
    @pytest.mark.parametrize(
        ("arguments", "status"),
        [
            (["--help"], 0),
            (["train", "--preset", "slow"], 2),
            (["evaluate", "nowhere"], 2),
            (["finetune", "nowhere", "--data", "mnist"], 2),
            (["train", "--device", "mps"], 2),
        ],
    )
    def test_only_the_first_process_answers(
        self,
        arguments: list[str],
        status: int,
        rank: int,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
        try:
            found = cli.main(arguments)
        except SystemExit as stop:
            found = int(stop.code or 0)
        shown = capsys.readouterr()
        if rank == 0:
            assert found == status
            assert (shown.out if status == 0 else shown.err).startswith(("usage", "mnist_lab"))
        else:
            assert found in (0, status)
            assert (shown.out, shown.err) == ("", "")

    @pytest.mark.parametrize("rank", [0, 1])
    @pytest.mark.parametrize(
        ("error", "by_all"),
        [
            (ValueError("epochs cannot be 0."), False),
            (FloatingPointError("The loss is nan."), False),
            (OSError("No space left."), True),
            (LostProcessError("Process 1 cannot go on."), True),
        ],
    )
    def test_what_all_meet_the_first_says_and_what_one_meets_that_one(
        self,
        error: Exception,
        by_all: bool,
        rank: int,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
        monkeypatch.setenv("RANK", str(rank))

        def fail(arguments: Any) -> int:
            raise error

        monkeypatch.setattr(cli, "_train", fail)
        assert cli.main(["train"]) == 2
        said = f"mnist_lab train: {error}\n" if rank == 0 or by_all else ""
        assert capsys.readouterr() == ("", said)


class TestJoin:
    def test_on_fewer_gpus_than_processes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
        with pytest.raises(ValueError, match=r"^There are 2 processes but 1 GPU here: .*\.$"):
            processes._own_device(torch.device("cuda"))
        with pytest.raises(ValueError, match=r"^Several processes cannot share mps: .*\.$"):
            processes._own_device(torch.device("mps"))

    @pytest.mark.parametrize("error", [ValueError("x"), OSError("gloomy"), Killed()])
    def test_an_error_of_ones_own_is_no_lost_process(
        self, error: BaseException, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pretend_two(monkeypatch)
        with pytest.raises(type(error)) as caught, join(torch.device("cpu")):
            raise error
        assert caught.value is error

    def test_an_error_of_torch_is_one_and_is_quoted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pretend_two(monkeypatch)
        said = "[gloo/transport/tcp/pair.cc:553] Connection closed by peer [::1]:4\nframe #0"
        with pytest.raises(LostProcessError) as caught, join(torch.device("cpu")):
            raise RuntimeError(said)
        sentence = str(caught.value)
        assert sentence.startswith("Process 1 of 0 to 1 cannot go on with the others; ")
        assert f"torch said: {said.partition(chr(10))[0]}." in sentence
        assert "frame" not in sentence
        assert sentence.endswith("after the last whole epoch can be resumed.")

    def test_ctrl_c_is_shared_and_pressed_twice_is_at_once(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pretend_two(monkeypatch)
        before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        with join(torch.device("cpu")) as ranks:
            signal.raise_signal(signal.SIGINT)
            assert ranks.interrupted
            assert signal.getsignal(signal.SIGTERM) is before[1]  # torchrun's, to end us
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before

    def test_alone_join_is_nothing_special(self) -> None:
        before = signal.getsignal(signal.SIGINT)
        with join(torch.device("cpu")) as ranks:
            assert (ranks.rank, ranks.size, ranks.device) == (0, 1, torch.device("cpu"))
            assert signal.getsignal(signal.SIGINT) is before
            assert ranks.add_up(1.5, 2) == [1.5, 2]
            assert ranks.from_first(lambda: [7.0], 1) == [7.0]


def pretend_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `join` believe that torchrun started this process as the second of two."""
    environment = {
        "TORCHELASTIC_RUN_ID": "x",
        "RANK": "1",
        "WORLD_SIZE": "2",
        "LOCAL_RANK": "1",
        "LOCAL_WORLD_SIZE": "2",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(processes, "rendezvous", lambda *given, **named: iter([(None, 1, 2)]))
    monkeypatch.setattr(processes, "PrefixStore", lambda *given: None)
    monkeypatch.setattr(processes.dist, "init_process_group", lambda *given, **named: None)
    monkeypatch.setattr(processes.dist, "destroy_process_group", lambda: None)


if __name__ == "__main__":
    sys.exit(main())
