"""Several processes: the same numbers as one, one voice, and an end when one of them fails.

Processes are started as a user starts them, with torchrun; as one of them this file runs `main`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
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
from mnist_lab.data import mnist, splits
from mnist_lab.data.digit_set import DigitSet
from mnist_lab.data.mnist import MNIST
from mnist_lab.data.own_files import load_npz, save_npz
from mnist_lab.models.registry import build_model
from mnist_lab.training import loop
from mnist_lab.training import processes as distributed
from mnist_lab.training.augmentation import Augmentation
from mnist_lab.training.batches import Batches
from mnist_lab.training.checkpoints import load_checkpoint
from mnist_lab.training.config import TrainConfig
from mnist_lab.training.loop import start_training, train_epoch, train_step
from mnist_lab.training.processes import ALONE, Ranks, join
from mnist_lab.training.recipes import PRESETS
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
NETWORK: tuple[str, dict[str, Any]] = ("mlp", {"hidden": 64})  # no norm, no dropout
WHOLE = replace(PLAIN, epochs=3, batch_size=64, optimizer="adamw")  # for batch norm and dropout
BOUND = 60  # seconds after which a run that lost a process must have ended, on a busy machine too

Sets = tuple[DigitSet, DigitSet]


# --- What each process runs ----------------------------------------------------------------------


def keep(folder: Path, name: str, result: FitResult, ranks: Ranks) -> None:
    """Leave what this process ended with where the test finds it."""
    tensors = {key: value.contiguous() for key, value in result.model.state_dict().items()}
    save_file(tensors, folder / f"{name}-{ranks.rank}.safetensors")
    note(folder, name, ranks, [asdict(report) for report in result.reports])


def note(folder: Path, name: str, ranks: Ranks, value: Any) -> None:
    (folder / f"{name}-{ranks.rank}.json").write_text(json.dumps(value), encoding="utf-8")


def run_all(folder: Path) -> None:
    """Run all that ends well, one after the other: starting processes is what takes time."""
    train, validation = (load_npz(folder / f"{part}.npz") for part in ("train", "validation"))
    with join(torch.device("cpu")) as ranks:
        name, arguments = NETWORK
        result = fit(name, train, validation, PLAIN, arguments=arguments, ranks=ranks)
        keep(folder, "plain", result, ranks)

        written: list[str] = []
        with pytest.MonkeyPatch.context() as patch:
            for function in ("save_checkpoint", "save_tensors"):
                patch.setattr(runs, function, lambda *given: written.append(str(given[0])))
            fit("linear", train, validation, PLAIN, folder=folder / "unwritten", ranks=ranks)
        note(folder, "written", ranks, written)
        arguments = {"width": 4}
        result = fit("small_cnn", train, validation, WHOLE, arguments=arguments, ranks=ranks)
        keep(folder, "norm", result, ranks)
        note(folder, "stops", ranks, [stop_of(kind, train, ranks) for kind in ("nan", "ctrl-c")])


def stop_of(kind: str, train: DigitSet, ranks: Ranks) -> list[Any]:
    """Let something stop process 1, and return how and after how many steps this one stops."""

    class Broken(Augmentation):
        def __call__(self, images: Tensor, *drawn: Any) -> Tensor:
            return images / (1 - ranks.rank)

    nan = kind == "nan"
    config = replace(PLAIN, augmentation=Broken() if nan else None)
    batches = Batches(train, BATCH, augmentation=config.augmentation, ranks=ranks)
    state = start_training(build_model("linear", seed=0), batches, config)

    def interrupt(loss: float) -> None:
        if not nan and ranks.rank == 1 and state.step == 3:
            os.kill(os.getpid(), signal.SIGINT)

    try:
        train_epoch(state, batches, config, interrupt)
    except (FloatingPointError, KeyboardInterrupt) as error:
        ranks.interrupted = False
        return [type(error).__name__, str(error), state.step]
    return ["nothing", "", state.step]


def run_command(fault: str, *arguments: str) -> int:
    """Run the command line on 600 digits, with a fault in step 8 of rank 1 (in the second epoch).

    `arguments` may hold several commands with "then" between them.
    """
    digits = mnist.load_mnist().train.subset(np.arange(5_600))
    patch = pytest.MonkeyPatch()
    patch.setattr(mnist, "load_mnist", lambda: MNIST(digits, digits))
    done = [0]

    def step(*given: Any) -> tuple[Tensor, Tensor]:
        done[0] += 1
        if done[0] == 8 and os.environ["RANK"] == "1":
            match fault:
                case "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                case "raise":
                    raise OSError("No space left on device.")
                case "hang":
                    time.sleep(100)
        return train_step(*given)

    patch.setattr(loop, "train_step", step)
    if fault == "hang":
        patch.setattr(distributed, "join", partial(join, timeout=timedelta(seconds=4)))
    commands = " ".join(arguments).split(" then ")
    return max(cli.main(command.split()) for command in commands)


def main() -> int:
    torch.set_num_threads(1)
    kind, *arguments = sys.argv[1:]
    if kind == "all":
        run_all(Path(arguments[0]))
        return 0
    return run_command(kind, *arguments)


# --- The tests -----------------------------------------------------------------------------------


# Five steps an epoch; the network has batch norm.
SHORT = ("train", "--model=small_cnn", "--epochs=2", "--device=cpu", "--json")


@dataclass(frozen=True)
class Launched:
    """What came of torchrun; `out` and `err` have an entry for each process."""

    status: int
    out: list[str]
    err: list[str]
    seconds: float


def launch(folder: Path, *command: object) -> Launched:
    logs = folder / f"logs-{time.monotonic_ns()}"
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    started = time.monotonic()
    ended = subprocess.run(
        [*launcher, "--log-dir", str(logs), "--redirects=3", *map(str, command)],
        capture_output=True,
        timeout=3 * BOUND,
        check=False,
    )
    out, err = (
        [path.read_text(encoding="utf-8") for path in sorted(logs.rglob(f"*/{name}.log"))]
        for name in ("stdout", "stderr")
    )
    return Launched(ended.returncode, out, err, time.monotonic() - started)


@pytest.fixture(scope="module")
def sets(small_sets: Sets) -> Sets:
    return small_sets[0].subset(np.arange(TRAIN)), small_sets[1].subset(np.arange(200))


@pytest.fixture(scope="module")
def ended_well(sets: Sets, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ended_well")
    for part, digits in zip(("train", "validation"), sets, strict=True):
        save_npz(folder / f"{part}.npz", digits)
    launched = launch(folder, __file__, "all", folder)
    assert launched.status == 0, launched.err[0] + launched.err[1]
    return folder


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


class TestTwoProcesses:
    def test_give_what_one_gives_within_rounding(self, ended_well: Path, sets: Sets) -> None:
        name, arguments = NETWORK
        one = fit(name, *sets, PLAIN, arguments=arguments, device="cpu", progress=False)
        for rank in (0, 1):
            reports = noted(ended_well, "plain", rank)
            expected = flat([asdict(report) for report in one.reports])
            assert np.allclose(flat(reports), expected, rtol=0, atol=1e-5)
            found = weights(ended_well, "plain", rank)
            assert largest_difference(found, one.model.state_dict()) < 1e-5
        # Enough happened for a fault to show.
        start = build_model(name, seed=PLAIN.seed, **arguments).state_dict()
        assert largest_difference(one.model.state_dict(), start) > 0.01

    def test_end_with_the_same_network_also_with_batch_norm(self, ended_well: Path) -> None:
        ours, theirs = (weights(ended_well, "norm", rank) for rank in (0, 1))
        assert largest_difference(ours, theirs) == 0
        first, second = (flat(noted(ended_well, "norm", rank)) for rank in (0, 1))
        assert first == second
        assert np.isfinite(first).all()

    def test_leave_writing_to_the_first(self, ended_well: Path) -> None:
        assert noted(ended_well, "written", 0) != []
        assert noted(ended_well, "written", 1) == []

    def test_stop_together_at_a_loss_that_is_not_finite(self, ended_well: Path) -> None:
        (first, _), (second, _) = (noted(ended_well, "stops", rank) for rank in (0, 1))
        assert first == second
        kind, sentence, steps = first
        assert (kind, steps) == ("FloatingPointError", 0)
        assert "the images of this batch hold values that are not finite" in sentence

    def test_stop_together_at_ctrl_c(self, ended_well: Path) -> None:
        (_, first), (_, second) = (noted(ended_well, "stops", rank) for rank in (0, 1))
        assert first == second == ["KeyboardInterrupt", "", 3]


class TestCommandLine:
    def test_one_process_speaks_and_writes(self, tmp_path: Path, mnist: MNIST) -> None:
        options = ("--preset=standard", "--model=linear", "--epochs=1", "--device=cpu", "--json")
        launched = launch(tmp_path, "-m", "mnist_lab", "train", *options, f"--out={tmp_path / 'r'}")
        assert launched.status == 0, launched.err
        assert (launched.out[1], launched.err[1]) == ("", "")
        record = json.loads(launched.out[0].splitlines()[-1])
        assert launched.out[0].count("{") == 1
        assert sentences(launched) == []
        recipe = PRESETS["standard"]
        train, validation = splits.split(mnist.train, seed=0)
        one = fit(
            "linear",
            recipe.prepare(train),
            validation,
            replace(recipe.config, epochs=1),
            device="cpu",
            progress=False,
        )
        assert record["validation_accuracy"] == pytest.approx(
            one.best.validation.accuracy, abs=2e-3
        )
        assert record["device"] == "cpu"
        model, _ = load_checkpoint(tmp_path / "r")
        assert largest_difference(model.state_dict(), one.model.state_dict()) < 0.02

    @pytest.mark.parametrize("rank", [0, 1])
    @pytest.mark.parametrize(
        ("arguments", "status"),
        [
            (["--help"], 0),
            (["train", "--preset", "slow"], 2),
            (["evaluate", "nowhere"], 2),
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

    def test_after_a_kill_ends_and_resumes_exactly(self, tmp_path: Path) -> None:
        command = (__file__, "kill", *SHORT)
        killed = launch(tmp_path, *command, f"--out={tmp_path / 'r'}")
        assert killed.status != 0
        assert killed.seconds < BOUND
        assert sentences(killed) == [
            "mnist_lab train: Another process of this run ended without a word (was it killed, or "
            "short of memory?), and the others cannot go on without it; what was saved after the "
            "last whole epoch can be resumed."
        ]
        command = (__file__, "none", *command[2:])
        both = [*command, "--resume", f"--out={tmp_path / 'r'}"]
        both += ["then", *command[2:], f"--out={tmp_path / 'whole'}"]
        resumed = launch(tmp_path, *both)
        assert resumed.status == 0, resumed.err
        found, expected = (load_checkpoint(tmp_path / name) for name in ("r", "whole"))
        assert largest_difference(found[0].state_dict(), expected[0].state_dict()) == 0
        assert found[1] == expected[1]

    @pytest.mark.parametrize(
        ("fault", "sentence"),
        [
            ("raise", "No space left on device."),
            ("hang", "Another process of this run did not answer for 4 s, and the others cannot"),
        ],
    )
    def test_a_process_that_fails_is_one_sentence(
        self, fault: str, sentence: str, tmp_path: Path
    ) -> None:
        launched = launch(tmp_path, __file__, fault, *SHORT, f"--out={tmp_path}")
        assert launched.status != 0
        assert launched.seconds < BOUND
        (said,) = sentences(launched)
        assert said.startswith(f"mnist_lab train: {sentence}")
        assert load_checkpoint(tmp_path)  # of the epoch before


def sentences(launched: Launched) -> list[str]:
    """Return the lines of all processes but for the bar, which rewrites its own."""
    assert launched.out[1] == ""
    lines = [line for text in launched.err for line in text.splitlines()]
    return [line for line in lines if line and "it/s" not in line and "?it" not in line]


class TestFailure:
    # Each as gloo has said it; which one depends on what the process was waiting for.
    @pytest.mark.parametrize(
        ("said", "sentence"),
        [
            ("Application timeout caused pair closure", "did not answer for 7 s"),
            ("[/gloo/transport/tcp/pair.cc:1] Timed out waiting 4000ms", "did not answer for 7 s"),
            ("[/gloo/transport/tcp/pair.cc:2] Connection closed by peer", "ended without a word"),
            ("Connection reset by peer", "ended without a word"),
        ],
    )
    def test_the_loss_of_a_process_is_known_by_what_gloo_says(
        self, said: str, sentence: str
    ) -> None:
        lost = distributed._explain_loss_of_a_process(RuntimeError(said), timedelta(seconds=7))
        assert lost.startswith(f"Another process of this run {sentence}")

    def test_on_fewer_gpus_than_processes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
        with pytest.raises(ValueError, match=r"^There are 2 processes but 1 GPUs here: .*\.$"):
            distributed._own_device(torch.device("cuda"))
        with pytest.raises(ValueError, match=r"^Several processes cannot share mps: .*\.$"):
            distributed._own_device(torch.device("mps"))

    def test_an_error_of_ones_own_is_no_lost_process(self) -> None:
        timeout = timedelta(seconds=4)
        for error in (ValueError("x"), RuntimeError("shapes do not fit"), OSError("gloomy")):
            assert distributed._explain_loss_of_a_process(error, timeout) == ""
        lost = RuntimeError("[gloo/transport/tcp/pair.cc:553] Connection closed by peer [::1]:4")
        assert "ended without a word" in distributed._explain_loss_of_a_process(lost, timeout)
        late = RuntimeError("[gloo/transport/tcp/unbound_buffer.cc:78] Timed out waiting 4000ms")
        assert "did not answer for 4 s" in distributed._explain_loss_of_a_process(late, timeout)

    def test_alone_join_is_nothing_special(self) -> None:
        before = signal.getsignal(signal.SIGTERM)
        with join(torch.device("cpu")) as ranks:
            assert (ranks.rank, ranks.size, ranks.device) == (0, 1, torch.device("cpu"))
            assert signal.getsignal(signal.SIGTERM) is before


if __name__ == "__main__":
    sys.exit(main())
