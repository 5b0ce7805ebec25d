"""Whole runs: the best epoch, and what a kill or a wrong setting leaves behind."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import textwrap
import time
import types
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mnist_lab.data.digit_set import DigitSet
from mnist_lab.data.normalisation import Normalisation
from mnist_lab.models import registry
from mnist_lab.models.registry import build_model
from mnist_lab.training import loop, objectives, preparation, runs
from mnist_lab.training.augmentation import Augmentation
from mnist_lab.training.batches import Batches
from mnist_lab.training.checkpoints import load_checkpoint
from mnist_lab.training.config import TrainConfig
from mnist_lab.training.loop import (
    TrainState,
    iter_epochs,
    start_training,
    train_step,
)
from mnist_lab.training.runs import FitResult, fit
from mnist_lab.training.scoring import Score, evaluate, logits_of
from mnist_lab.training.selection import find_hardest
from mnist_lab.training.tensor_folders import CheckpointError
from tests.training.small_runs import (
    EVERYTHING,
    PLAIN,
    STEPS,
    Killed,
    Sets,
    Tiny,
    before_step,
    make_tiny,
    run,
    same,
    without_seconds,
)


class TestFit:
    def test_learns(self, small_sets: Sets) -> None:
        result = run(small_sets, TrainConfig(epochs=4, batch_size=32), "small_cnn")
        assert result.best.validation.accuracy > 0.85
        assert result.reports[0].train.loss > result.reports[-1].train.loss
        training_alone = sum(report.seconds for report in result.reports)
        assert training_alone <= result.seconds  # which counts preparing the data too
        assert not result.model.training

    def test_same_seed_same_weights_other_seed_others(self, tiny: str, sets: Sets) -> None:
        one, again = run(sets, EVERYTHING), run(sets, EVERYTHING)
        assert same(one.model, again.model)
        assert without_seconds(one.reports) == without_seconds(again.reports)
        assert not same(one.model, run(sets, replace(EVERYTHING, seed=4)).model)

    @pytest.mark.parametrize("role", ["train", "validation"])
    def test_cannot_touch_the_test_part(self, role: str, sets: Sets) -> None:
        train, validation = sets
        if role == "train":
            train = replace(train, part="test")
        else:
            validation = replace(validation, part="test")
        with pytest.raises(ValueError, match=rf"^The {role} digits are a test part: .*\.$"):
            run((train, validation), PLAIN, "linear")

    def test_refuses_parts_that_do_not_fit_together(self, sets: Sets) -> None:
        train, validation = sets
        letters = replace(validation, class_names=tuple("abcdefghij"))
        with pytest.raises(ValueError, match="different classes"):
            run((train, letters), PLAIN, "linear")
        small = replace(validation, images=validation.images[:, 4:-4, 4:-4])
        with pytest.raises(ValueError, match="different sizes"):
            run((train, small), PLAIN, "linear")

    @pytest.mark.parametrize(
        ("scores", "best"),
        [
            ([(1.0, 0.5), (0.5, 0.9), (0.4, 0.8)], 2),  # accuracy decides, not loss
            ([(1.0, 0.9), (0.5, 0.5), (0.4, 0.8)], 1),
            ([(1.0, 0.5), (0.5, 0.6), (0.4, 0.7)], 3),
            ([(0.5, 0.7), (0.3, 0.7), (0.4, 0.7)], 2),  # among equals the lower loss
            ([(0.5, 0.7), (0.5, 0.7), (0.5, 0.7)], 1),  # among the same the first
        ],
    )
    def test_keeps_the_weights_that_were_best_on_validation_data(
        self,
        scores: list[tuple[float, float]],
        best: int,
        tiny: str,
        sets: Sets,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        weights: list[dict[str, Tensor]] = []
        scored: list[int] = []

        def fake(model: nn.Module, batches: Batches) -> Score:
            weights.append({name: t.clone() for name, t in model.state_dict().items()})
            scored.append(batches.count)
            return Score(*scores[len(weights) - 1], 200)

        monkeypatch.setattr(objectives, "evaluate", fake)
        result = run(sets, EVERYTHING, folder=tmp_path)
        assert scored == [200, 200, 200]  # the validation part, once an epoch
        assert result.best.epoch == best
        expected = weights[best - 1]
        for model in (result.model, load_checkpoint(tmp_path)[0]):
            assert all(torch.equal(v, expected[k]) for k, v in model.state_dict().items())
        card = load_checkpoint(tmp_path)[1]
        assert card.training["epoch"] == best
        assert card.training["validation_accuracy"] == scores[best - 1][1]

    def test_the_checkpoint_is_the_result(self, tiny: str, sets: Sets, tmp_path: Path) -> None:
        result = run(sets, EVERYTHING, folder=tmp_path / "new" / "folder")
        model, card = load_checkpoint(tmp_path / "new" / "folder")
        assert same(model, result.model)
        assert card.normalisation == EVERYTHING.normalisation
        assert card.input_size == (28, 28)
        assert card.class_names == tuple("0123456789")
        again = evaluate(model, Batches(sets[1], normalisation=card.normalisation))
        assert again.accuracy == result.best.validation.accuracy
        weights = json.loads((tmp_path / "new" / "folder" / "model.json").read_text())["weights"]
        names = {path.name for path in (tmp_path / "new" / "folder").iterdir()}
        # Nothing is left to resume.
        assert names == {"model.json", weights, ".mnist-lab.json", ".mnist-lab.lock"}

    def test_a_file_in_the_place_of_the_folder_is_told_before_training(
        self, sets: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before_step(monkeypatch, 1, AssertionError("training has begun"))
        (tmp_path / "file").write_text("mine")
        for folder in (tmp_path / "file", tmp_path / "file" / "below"):
            with pytest.raises(ValueError, match=r"file.* is a file; a folder .*\.$"):
                run(sets, PLAIN, "linear", folder=folder)
        assert (tmp_path / "file").read_text() == "mine"

    def test_progress_goes_to_standard_error(
        self, sets: Sets, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True)  # a log gets no bar
        fit("linear", *sets, PLAIN, device="cpu")
        shown = capsys.readouterr()
        assert shown.out == ""
        assert "10/10" in shown.err
        assert "validation" in shown.err
        run(sets, PLAIN, "linear")
        assert capsys.readouterr() == ("", "")


@pytest.mark.usefixtures("tiny")
class TestHardestShare:
    def test_trains_on_the_proxys_hardest_and_on_no_other(
        self, sets: Sets, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen: list[DigitSet] = []

        def spy(digits: DigitSet, *rest: Any, **options: Any) -> Batches:
            seen.append(digits)
            return Batches(digits, *rest, **options)

        monkeypatch.setattr(loop, "Batches", spy)
        config = replace(PLAIN, hardest_share=0.1)
        result = run(sets, config)
        expected = sets[0].subset(find_hardest(sets[0], 0.1, seed=config.seed))
        assert np.array_equal(seen[0].images, expected.images)
        assert np.array_equal(seen[0].labels, expected.labels)
        assert len(seen[1]) == len(sets[1])  # scored on all of the validation digits
        assert result.reports[0].train.count == 30

    def test_the_time_to_choose_them_counts(
        self, sets: Sets, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def slowly(digits: DigitSet, *rest: Any) -> Any:
            time.sleep(0.5)
            return find_hardest(digits, *rest)

        monkeypatch.setattr(preparation, "find_hardest", slowly)
        assert run(sets, replace(PLAIN, epochs=1, hardest_share=0.1)).seconds > 0.5

    def test_resumes_on_the_same_digits(
        self, sets: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        config = replace(PLAIN, epochs=3, hardest_share=0.5)
        whole = run(sets, config)
        with monkeypatch.context() as patch:
            before_step(patch, 5, Killed())
            with pytest.raises(Killed):
                run(sets, config, folder=tmp_path)
        assert same(run(sets, config, folder=tmp_path, resume=True).model, whole.model)


class TestNotFinite:
    def test_the_first_such_loss_stops_with_a_hint(self, sets: Sets) -> None:
        config = replace(PLAIN, learning_rate=1e30, schedule="constant")
        with pytest.raises(FloatingPointError) as caught:
            run(sets, config, "mlp")
        message = str(caught.value)
        assert message.startswith("The loss is ")
        assert "at step 2 of 10" in message
        assert "the learning rate there is 1e+30" in message
        assert "clip_norm" in message

    def test_images_that_are_not_finite_are_named(self, sets: Sets) -> None:
        class Broken(Augmentation):
            def __call__(self, images: Tensor, *drawn: Any) -> Tensor:
                return images / 0

        with pytest.raises(FloatingPointError, match=r"step 1 of 10: the images of this batch"):
            run(sets, replace(PLAIN, augmentation=Broken()), "linear")

    def test_spoils_nothing_in_the_folder(
        self, tiny: str, sets: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        reference = run(sets, EVERYTHING)
        count = [0]

        def poisoned(state: TrainState, *rest: Any) -> tuple[Tensor, Tensor]:
            count[0] += 1
            if count[0] == 8:  # in the second epoch
                with torch.no_grad():
                    next(state.model.parameters()).fill_(math.nan)
            return train_step(state, *rest)

        monkeypatch.setattr(loop, "train_step", poisoned)
        with pytest.raises(FloatingPointError, match="at step 8 of 15"):
            run(sets, EVERYTHING, folder=tmp_path)
        model, card = load_checkpoint(tmp_path)
        assert card.training["epoch"] == 1
        assert all(torch.isfinite(tensor).all() for tensor in model.state_dict().values())
        monkeypatch.undo()
        monkeypatch.setitem(registry.MODELS, "tiny", Tiny)
        assert same(run(sets, EVERYTHING, folder=tmp_path, resume=True).model, reference.model)

    def test_in_the_first_epoch_leaves_an_older_checkpoint_alone(
        self, sets: Sets, tmp_path: Path
    ) -> None:
        older = run(sets, PLAIN, "mlp", folder=tmp_path).model
        config = replace(PLAIN, learning_rate=1e30)
        with pytest.raises(FloatingPointError):
            run(sets, config, "mlp", folder=tmp_path, overwrite=True)
        assert same(load_checkpoint(tmp_path)[0], older)

    def test_after_the_very_last_step_is_found_by_the_validation(
        self, sets: Sets, tmp_path: Path
    ) -> None:
        config = replace(PLAIN, epochs=1, batch_size=300, learning_rate=1e30, schedule="constant")
        with pytest.raises(FloatingPointError, match=r"^The validation loss is .*learning rate"):
            run(sets, config, "mlp", folder=tmp_path)
        assert not list(tmp_path.iterdir())


class TestResume:
    @pytest.fixture
    def whole(self, tiny: str, sets: Sets) -> FitResult:
        return run(sets, EVERYTHING)

    def check_resumes(self, whole: FitResult, sets: Sets, folder: Path) -> None:
        result = run(sets, EVERYTHING, folder=folder, resume=True)
        assert same(result.model, whole.model)
        assert without_seconds(result.reports) == without_seconds(whole.reports)
        assert replace(result.best, seconds=0) == replace(whole.best, seconds=0)
        model, card = load_checkpoint(folder)
        assert same(model, whole.model)
        assert card.training["epoch"] == whole.best.epoch

    @pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
    @pytest.mark.parametrize("step", [1, 4, 6, 8, 11, 13, 15])
    def test_equals_an_uninterrupted_run_bit_for_bit(
        self,
        step: int,
        optimizer: Any,
        tiny: str,
        sets: Sets,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        config = replace(EVERYTHING, optimizer=optimizer)
        whole = run(sets, config)
        before_step(monkeypatch, step, Killed())
        with pytest.raises(Killed):
            run(sets, config, folder=tmp_path)
        begun = (tmp_path / "resume.json").exists()
        assert begun == (step > 5)
        monkeypatch.setattr(loop, "train_step", train_step)
        steps = [0]

        def count(*arguments: Any) -> tuple[Tensor, Tensor]:
            steps[0] += 1
            return train_step(*arguments)

        monkeypatch.setattr(loop, "train_step", count)
        result = run(sets, config, folder=tmp_path, resume=True)
        assert same(result.model, whole.model)
        assert without_seconds(result.reports) == without_seconds(whole.reports)
        assert steps[0] == STEPS - (step - 1) // 5 * 5  # whole epochs are not repeated

    @pytest.mark.parametrize("after", [False, True])
    @pytest.mark.parametrize("name", ["save_checkpoint", "save_tensors"])
    @pytest.mark.parametrize("call", [1, 2])
    def test_after_a_kill_between_an_epochs_writes(
        self,
        call: int,
        name: str,
        after: bool,
        whole: FitResult,
        sets: Sets,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        original, count = getattr(runs, name), [0]

        def kill(*arguments: Any) -> None:
            count[0] += 1
            if count[0] == call and not after:
                raise Killed
            original(*arguments)
            if count[0] == call:
                raise Killed

        monkeypatch.setattr(runs, name, kill)
        with pytest.raises(Killed):
            run(sets, EVERYTHING, folder=tmp_path)
        monkeypatch.setattr(runs, name, original)
        self.check_resumes(whole, sets, tmp_path)

    def test_remembers_the_best_epoch_so_far(
        self, tiny: str, sets: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        scores = iter([0.9, 0.5, 0.6])
        weights: list[dict[str, Tensor]] = []

        def fake(model: nn.Module, _: Batches) -> Score:
            weights.append({name: t.clone() for name, t in model.state_dict().items()})
            return Score(1.0, next(scores), 200)

        monkeypatch.setattr(objectives, "evaluate", fake)
        before_step(monkeypatch, 13, Killed())
        with pytest.raises(Killed):
            run(sets, EVERYTHING, folder=tmp_path)
        monkeypatch.setattr(loop, "train_step", train_step)
        result = run(sets, EVERYTHING, folder=tmp_path, resume=True)
        assert (result.best.epoch, len(weights)) == (1, 3)
        for model in (result.model, load_checkpoint(tmp_path)[0]):
            assert all(torch.equal(v, weights[0][k]) for k, v in model.state_dict().items())

    @pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
    def test_of_a_network_whose_kernels_lie_otherwise_in_memory(
        self, optimizer: Any, sets: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        config = replace(EVERYTHING, optimizer=optimizer)
        options: dict[str, Any] = {"arguments": {"width": 4}}
        whole = run(sets, config, "small_cnn", **options)
        with monkeypatch.context() as patch:
            before_step(patch, 8, Killed())
            with pytest.raises(Killed):
                run(sets, config, "small_cnn", folder=tmp_path, **options)
        found = run(sets, config, "small_cnn", folder=tmp_path, resume=True, **options)
        assert same(found.model, whole.model)

    def test_after_two_kills(
        self, whole: FitResult, sets: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for step in (7, 7):  # the second counts from the resumed epoch: step 12 of the run
            before_step(monkeypatch, step, Killed())
            with pytest.raises(Killed):
                run(sets, EVERYTHING, folder=tmp_path, resume=True)
        monkeypatch.setattr(loop, "train_step", train_step)
        self.check_resumes(whole, sets, tmp_path)

    def test_after_a_kill_by_the_system_in_mid_epoch(
        self, whole: FitResult, sets: Sets, tmp_path: Path
    ) -> None:
        np.savez(tmp_path / "sets.npz", *(a for part in sets for a in (part.images, part.labels)))
        code = f"""
            import sys, time
            sys.path.insert(0, {str(Path(__file__).parents[2])!r})
            import numpy as np, torch
            torch.set_num_threads(1)
            from tests.training.small_runs import EVERYTHING, Tiny, run
            from mnist_lab.data import DigitSet
            from mnist_lab.models import MODELS
            from mnist_lab.training import loop
            arrays = list(np.load({str(tmp_path / "sets.npz")!r}).values())
            sets = DigitSet(*arrays[:2], part="train"), DigitSet(*arrays[2:], part="validation")
            MODELS["tiny"] = Tiny
            original, count = loop.train_step, [0]
            def step(*arguments):
                count[0] += 1
                print(count[0], flush=True)
                if count[0] == 8:
                    time.sleep(600)
                return original(*arguments)
            loop.train_step = step
            run(sets, EVERYTHING, folder={str(tmp_path / "run")!r})
        """
        command = [sys.executable, "-c", textwrap.dedent(code)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            while process.stdout.readline() not in ("8\n", ""):
                pass
            assert process.poll() is None
            process.kill()
        load_checkpoint(tmp_path / "run")  # usable as it is
        self.check_resumes(whole, sets, tmp_path / "run")

    def test_starts_anew_where_there_is_nothing_to_resume(
        self, whole: FitResult, sets: Sets, tmp_path: Path
    ) -> None:
        self.check_resumes(whole, sets, tmp_path / "empty")

    @pytest.fixture
    def killed(
        self, tiny: str, sets: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Path:
        before_step(monkeypatch, 8, Killed())
        with pytest.raises(Killed):
            run(sets, EVERYTHING, folder=tmp_path)
        monkeypatch.setattr(loop, "train_step", train_step)
        return tmp_path

    @pytest.mark.parametrize(
        ("change", "name"),
        [
            ({"epochs": 4}, "epochs"),
            ({"learning_rate": 0.02}, "learning_rate"),
            ({"seed": 9}, "seed"),
            ({"augmentation": None}, "augmentation"),
            ({"augmentation": Augmentation(rotate=1)}, "augmentation"),
            ({"normalisation": Normalisation(0.5, 0.5)}, "normalisation"),
            ({"average_decay": 0.0}, "average_decay"),
            ({"clip_norm": None}, "clip_norm"),
        ],
    )
    def test_refuses_other_settings(
        self, change: dict[str, Any], name: str, killed: Path, sets: Sets
    ) -> None:
        with pytest.raises(CheckpointError, match=rf"started with another {name}: .*\.$"):
            run(sets, replace(EVERYTHING, **change), folder=killed, resume=True)

    def test_refuses_another_network(self, killed: Path, sets: Sets) -> None:
        with pytest.raises(CheckpointError, match="started with another model: 'tiny', now 'mlp'"):
            run(sets, EVERYTHING, "mlp", folder=killed, resume=True)

    @pytest.mark.parametrize("part", [0, 1])
    @pytest.mark.parametrize("what", ["pixel", "label", "fewer"])
    def test_refuses_other_data(self, part: int, what: str, killed: Path, sets: Sets) -> None:
        changed = sets[part].subset(np.arange(len(sets[part]) - (what == "fewer")))
        if what == "pixel":
            changed.images[7, 3, 3] ^= 1
        elif what == "label":
            changed.labels[7] = (changed.labels[7] + 1) % 10
        others = (changed, sets[1]) if part == 0 else (sets[0], changed)
        with pytest.raises(CheckpointError, match=r"was started on other data\.$"):
            run(others, EVERYTHING, folder=killed, resume=True)

    @pytest.mark.parametrize("lost", ["card", "step", "epoch", "reports", "best"])
    def test_refuses_a_record_that_lacks_something(
        self, lost: str, killed: Path, sets: Sets
    ) -> None:
        record = json.loads((killed / "resume.json").read_text())
        del record[lost]
        (killed / "resume.json").write_text(json.dumps(record))
        with pytest.raises(CheckpointError, match=rf"resume\.json .*{lost}.*\.$"):
            run(sets, EVERYTHING, folder=killed, resume=True)


TRAIN_STANDARD = """
import json, sys
from dataclasses import replace
from pathlib import Path
import torch
from mnist_lab.data import load_mnist, split
from mnist_lab.training import PRESETS, fit, loop

torch.set_num_threads(1)
real_step, steps = loop.train_step, [0]

def one_step_in_forty(state, batch, *others):
    steps[0] += 1
    if steps[0] % 40 == 1:
        return real_step(state, batch, *others)
    return torch.zeros(()), torch.zeros(len(batch[1]))

loop.train_step = one_step_in_forty
recipe = PRESETS["standard"]
train, validation = split(load_mnist().train, seed=0)
config = replace(recipe.config, epochs=2)
run = fit(
    recipe.model, train, validation, config, arguments=recipe.arguments, device="cpu",
    folder=sys.argv[1], progress=False,
)
lines = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
print(json.dumps({
    "megabytes": int(lines["VmHWM"].split()[0]) / 1024,  # the highest there was
    "steps": steps[0], "images": run.best.train.count, "validated": run.best.validation.count,
}))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc for the memory in use")
def test_the_standard_preset_takes_less_than_a_gigabyte_and_a_half(tmp_path: Path) -> None:
    # All data, all batches, augmentation, scoring and saving; of the steps, which take the memory
    # of the first again and again, one in forty.
    ended = subprocess.run(
        [sys.executable, "-c", TRAIN_STANDARD, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(ended.stdout)
    assert (found["steps"], found["images"], found["validated"]) == (860, 55_000, 5_000)
    assert 300 < found["megabytes"] < 1500


class TestInterrupt:
    @pytest.mark.parametrize("step", [1, 3, 6, 9])
    def test_leaves_a_usable_checkpoint_and_can_go_on(
        self, step: int, tiny: str, sets: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        whole = run(sets, EVERYTHING)
        before_step(monkeypatch, step, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            run(sets, EVERYTHING, folder=tmp_path)
        model, card = load_checkpoint(tmp_path)
        score = evaluate(model, Batches(sets[1], normalisation=card.normalisation))
        if step > 5:
            assert score.accuracy == card.training["validation_accuracy"]
        monkeypatch.setattr(loop, "train_step", train_step)
        result = run(sets, EVERYTHING, folder=tmp_path, resume=True)
        assert same(result.model, whole.model)

    @pytest.mark.parametrize(
        ("module", "name"),
        [(runs, "save_checkpoint"), (runs, "save_tensors"), (objectives, "evaluate")],
        ids=["save_checkpoint", "save_tensors", "evaluate"],
    )
    def test_at_an_awkward_moment_too(
        self,
        module: types.ModuleType,
        name: str,
        tiny: str,
        sets: Sets,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        original: Callable[..., Any] = getattr(module, name)

        def interrupt(*arguments: Any) -> None:
            monkeypatch.setattr(module, name, original)
            raise KeyboardInterrupt

        monkeypatch.setattr(module, name, interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(sets, EVERYTHING, folder=tmp_path)
        load_checkpoint(tmp_path)

    def test_without_a_folder_writes_nothing(
        self, sets: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        before_step(monkeypatch, 3, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            run(sets, PLAIN, "linear")
        assert not list(tmp_path.iterdir())


class TestOwnNetwork:
    """A network that the reader wrote is trained, kept and read as the book's own are."""

    def test_is_trained_in_place_as_one_by_name_is(self, tiny: str, sets: Sets) -> None:
        by_name = run(sets, EVERYTHING)
        own = build_model("tiny", seed=EVERYTHING.seed)
        result = fit(own, *sets, EVERYTHING, device="cpu", progress=False)
        assert result.model is own
        assert same(own, by_name.model)

    def test_needs_no_registration_where_nothing_is_saved(self, sets: Sets) -> None:
        result = fit(make_tiny(), *sets, PLAIN, device="cpu", progress=False)
        assert result.best.validation.count == 200
        assert result.card.model == "Tiny"

    def test_that_nobody_could_build_again_is_refused_before_the_first_step(
        self, sets: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before_step(monkeypatch, 1, AssertionError("training has begun"))
        with pytest.raises(CheckpointError, match=r"build this Tiny again .*: register it"):
            fit(make_tiny(), *sets, PLAIN, folder=tmp_path, progress=False)
        assert not list(tmp_path.iterdir())

    def test_once_registered_goes_through_a_checkpoint(
        self, tiny: str, sets: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        own = build_model("tiny", seed=1)
        result = fit(own, *sets, PLAIN, device="cpu", folder=tmp_path, progress=False)
        found, card = load_checkpoint(tmp_path)
        assert same(found, result.model)
        assert (card.model, card.arguments) == ("tiny", {})
        monkeypatch.delitem(registry.MODELS, "tiny")
        with pytest.raises(CheckpointError, match=r"a 'tiny', which is not registered here: run "):
            load_checkpoint(tmp_path)

    def test_without_validation_data_the_last_epoch_is_kept(self, sets: Sets) -> None:
        state = start_training(make_tiny(), sets[0], PLAIN)
        for _ in iter_epochs(state):
            pass
        result = fit(make_tiny(), sets[0], config=PLAIN, device="cpu", progress=False)
        assert same(result.model, state.model)
        assert result.best.epoch == PLAIN.epochs
        assert "validation_accuracy" not in result.card.training

    @pytest.mark.parametrize("precision", ["float32", "bfloat16"])
    def test_in_bfloat16_is_trained_and_scored(self, precision: Any, sets: Sets) -> None:
        own = build_model("mlp", seed=0, hidden=16).to(torch.bfloat16)
        config = replace(PLAIN, precision=precision)
        result = fit(own, *sets, config, device="cpu", progress=False)
        assert {p.dtype for p in result.model.parameters()} == {torch.bfloat16}
        assert result.reports[-1].train.loss < result.reports[0].train.loss
        assert logits_of(own, Batches(sets[1])).shape == (200, 10)
        assert result.best.validation.count == 200

    def test_arguments_are_for_a_name(self, sets: Sets) -> None:
        with pytest.raises(ValueError, match=r"^arguments build a model by its name"):
            fit(make_tiny(), *sets, PLAIN, arguments={"width": 3})

    @pytest.mark.parametrize("classes", [9, 11])
    def test_that_could_not_be_loaded_again_is_refused_before_the_first_step(
        self, classes: int, sets: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Columns(nn.Module):  # it has no `output`, so only an answer tells how many classes
            def __init__(self) -> None:
                super().__init__()
                self.last = nn.Linear(784, classes)

            def forward(self, images: Tensor) -> Tensor:
                return self.last(images.flatten(1))

        monkeypatch.setitem(registry.MODELS, "columns", Columns)
        before_step(monkeypatch, 1, Killed())
        with pytest.raises(ValueError, match=r"logits \(2, 10\), one for each"):
            run(sets, PLAIN, "columns", folder=tmp_path / "run")
        assert not (tmp_path / "run").exists()

    def test_a_head_too_small_for_the_classes_is_a_sentence(self, sets: Sets) -> None:
        with pytest.raises(ValueError, match=r"have 10 classes, and the model's head only 3"):
            fit(build_model("linear", classes=3), *sets, PLAIN)

    def test_where_it_comes_from_is_on_its_card_and_part_of_the_run(
        self, tiny: str, sets: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as patch:
            before_step(patch, 7, Killed())
            with pytest.raises(Killed):
                run(sets, PLAIN, folder=tmp_path, origin={"recipe": "mine"})
        assert load_checkpoint(tmp_path)[1].training["origin"] == {"recipe": "mine"}
        with pytest.raises(CheckpointError, match="started with another origin"):
            run(sets, PLAIN, folder=tmp_path, resume=True, origin={"recipe": "yours"})
        run(sets, PLAIN, folder=tmp_path, resume=True, origin={"recipe": "mine"})
