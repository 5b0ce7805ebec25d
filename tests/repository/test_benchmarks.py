"""The benchmarks' own code: a measurement that does not do what it says is worse than none."""

from __future__ import annotations

import importlib
import json
import os
import re
import runpy
import shutil
import sys
from argparse import Namespace
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import nbformat
import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors
from torch import nn

from benchmarks import (
    ablation,
    architectures,
    backbone,
    baselines,
    chapters,
    compiled,
    denoising,
    drift,
    ensemble,
    finetuning,
    forgetting,
    masked_pretraining,
    neighbours,
    open_tasks,
    presets,
    recording,
    robustness,
    scaling,
    schedules,
    serving,
    speed,
    step,
    transformers,
    trials,
    writers,
)
from mnist_lab.data.corruptions import CORRUPTIONS
from mnist_lab.data.digit_set import DigitSet
from mnist_lab.data.mnist import MNIST
from mnist_lab.data.splits import keep_classes, split
from mnist_lab.finetuning.freezing import count_trainable
from mnist_lab.handwriting.reader import Reader
from mnist_lab.lessons.records import load_record, summarise
from mnist_lab.models.architecture import count_parameters
from mnist_lab.models.registry import build_model
from mnist_lab.serving.service import make_app, run_in_background
from mnist_lab.training.batches import Batches
from mnist_lab.training.config import TrainConfig
from mnist_lab.training.loop import start_training
from mnist_lab.training.recipes import PRESETS
from mnist_lab.training.runs import fit
from mnist_lab.training.scoring import evaluate
from tools import benchmarks_table
from tools.benchmarks_table import Script, find_scripts, render
from tools.marks import replace_marked

Sets = tuple[DigitSet, DigitSet]


@pytest.fixture
def few(small_sets: Sets) -> DigitSet:
    return small_sets[0].subset(np.arange(300))


def start(monkeypatch: pytest.MonkeyPatch, script: str, *arguments: str) -> None:
    """Run a benchmark as `python -m benchmarks.SCRIPT` would, with these arguments."""
    monkeypatch.setattr(sys, "argv", [script, *arguments])
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # what a script sets is undone after the test
    importlib.import_module(f"benchmarks.{script}").main()


class TestEveryScript:
    scripts = pytest.mark.parametrize("script", [script.name for script in find_scripts()])

    @scripts
    @pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
    def test_starts(
        self, script: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(sys, "argv", [script, "--help"])
        with pytest.raises(SystemExit) as ended:
            runpy.run_module(f"benchmarks.{script}", run_name="__main__", alter_sys=True)
        assert ended.value.code == 0
        said = capsys.readouterr().out
        assert f"python -m benchmarks.{script}" in said
        assert {"--threads", "--results"} <= set(said.split("[-h]")[1].replace("[", " ").split())

    @scripts
    def test_offers_no_second_look_at_the_test_set(
        self, script: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        source = (recording.RESULTS.parent / f"{script}.py").read_text()
        looks = re.search("log_test_look|score_once", source)
        with pytest.raises(SystemExit):
            start(monkeypatch, script, "--help")
        assert not (looks and "--anew" in capsys.readouterr().out)

    # What stands in the way of a second measurement: every function that trains.
    trains = ("fit", "train_epoch", "train_probe", "start_training")

    @pytest.mark.parametrize(
        ("script", "arguments"),
        [
            ("ablation", ["--seeds", "5"]),
            ("architectures", ["--seeds", "3"]),
            ("attacks", ["--seeds", "3"]),
            ("articles", ["--seeds", "3", "--forms", "as_printed", "corrected"]),
            ("articles", ["--seeds", "1", "--forms", "as_promised", "--only", "article_002"]),
            ("backbone", ["--draws", "3", "--labels", "100", "1000"]),
            ("backbone", ["--sizes"]),
            ("denoising", ["--seeds", "3"]),
            ("finetuning", ["--draws", "10"]),
            ("forgetting", ["--draws", "6"]),
            ("large", ["--draws", "2"]),
            ("masked_pretraining", ["--draws", "5"]),
            ("open_tasks", ["--only", "fifty_labels", "backbone", "one_drawing"]),
            ("presets", ["--seeds", "2"]),
            ("robustness", ["--seeds", "3"]),
            ("scaling", ["--seeds", "2"]),
            ("schedules", ["--seeds", "5"]),
            ("search", ["--trials", "30"]),
            ("transformers", ["--seeds", "3"]),
        ],
    )
    def test_leaves_its_record_as_it_is_when_that_lacks_nothing(
        self,
        script: str,
        arguments: list[str],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        def never(*arguments: Any, **options: Any) -> Any:
            raise AssertionError("There was nothing to train.")

        module = importlib.import_module(f"benchmarks.{script}")
        for name in self.trains:
            if hasattr(module, name):
                monkeypatch.setattr(module, name, never)
        # To make the digits takes long, and nothing would be done with them.
        monkeypatch.setattr(robustness, "corrupted", lambda digits: {})
        monkeypatch.setattr(robustness, "other_writers", lambda fonts, keel: {})
        monkeypatch.setattr(finetuning, "make_task", self.a_task)
        ours = tmp_path / f"{script}.json"
        shutil.copy(recording.RESULTS / ours.name, ours)
        start(monkeypatch, script, *arguments, "--results", str(tmp_path))
        assert ours.read_bytes() == (recording.RESULTS / ours.name).read_bytes()
        assert list(tmp_path.iterdir()) == [ours]

    @staticmethod
    def a_task(name: str) -> Any:
        """Return no digits, but the names of their classes."""
        new = "56789" if name == "nines" else "0123456789"
        names = Namespace(class_names=tuple(new))
        old = "01234" if name == "nines" else "0123456789"
        return finetuning.Task(names, names, names, names, old)  # type: ignore[arg-type]


class TestTheTable:
    def test_is_of_the_scripts_the_records_and_the_chapters_as_they_are(self) -> None:
        page = benchmarks_table.README.read_text(encoding="utf-8")
        assert replace_marked(page, "benchmarks", render()) == page, (
            "run python -m tools.benchmarks_table"
        )

    def test_every_script_is_there_once_with_a_record_and_a_place(self) -> None:
        rows = [row.split(" | ") for row in render().splitlines()[2:]]
        assert [row[0].split("]")[0].removeprefix("| [") for row in rows] == [
            script.name for script in find_scripts()
        ]
        assert all(len(row) == 5 and all(row) for row in rows)

    def test_links_lead_somewhere(self) -> None:
        page = benchmarks_table.README
        for target in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), target

    @pytest.mark.parametrize("script", find_scripts(), ids=lambda script: script.name)
    def test_minutes_are_about_those_that_were_recorded(self, script: Script) -> None:
        record = load_record(script.name)
        if "process_seconds" in record:  # of two threads it counts both
            assert 0.4 < record["process_seconds"] / 60 / script.minutes < 2

    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        """A place with one script, its record and a chapter that shows it."""
        for folder in ("benchmarks/results", "notebooks", "book", "tests"):
            (tmp_path / folder).mkdir(parents=True)
        (tmp_path / "benchmarks" / "step.py").write_text(
            '"""Where the time goes.\n\nAbout 12 minutes on one core.\n"""\ndef main(): ...\n'
        )
        (tmp_path / "benchmarks" / "shared.py").write_text('"""No benchmark."""\n')
        (tmp_path / "benchmarks" / "results" / "step.json").write_text("{}")
        (tmp_path / "benchmarks" / "results" / "ledger.json").write_text("[]")
        return tmp_path

    def test_a_row_says_what_the_files_say(self, root: Path) -> None:
        cell = nbformat.v4.new_code_cell('record = load_record("step")')
        text = nbformat.v4.new_markdown_cell('`load_record("step")`')
        nbformat.write(
            nbformat.v4.new_notebook(cells=[cell]), root / "notebooks/ch07_go_deeper.ipynb"
        )
        nbformat.write(nbformat.v4.new_notebook(cells=[text]), root / "notebooks/ch08_b.ipynb")
        (root / "book" / "page.md").write_text("Takes {measured}`step:results.mean|.1f` ms.")
        (root / "tests" / "test_step.py").write_text('load_record("step")')
        (root / "benchmarks" / "results" / "step_cuda.json").write_text("{}")
        assert render(root).splitlines()[2:] == [
            "| [step](step.py) | Where the time goes. | [step](results/step.json), "
            "[step_cuda](results/step_cuda.json) | [chapter 7](../notebooks/ch07_go_deeper.ipynb), "
            "[page](../book/page.md) | 12 |"
        ]
        (root / "book" / "page.md").unlink()
        (root / "notebooks" / "ch07_go_deeper.ipynb").unlink()
        assert "| [test_step](../tests/test_step.py) | 12 |" in render(root)

    def test_a_record_of_no_script_and_a_script_without_minutes_are_refused(
        self, root: Path
    ) -> None:
        stray = root / "benchmarks" / "results" / "stepping.json"
        stray.write_text("{}")
        with pytest.raises(ValueError, match=r"^No script in benchmarks/ makes stepping\.json\.$"):
            render(root)
        stray.unlink()
        (root / "benchmarks" / "step.py").write_text('"""Where."""\ndef main(): ...\n')
        with pytest.raises(ValueError, match=r"step\.py does not say how many minutes"):
            render(root)

    @pytest.mark.parametrize("page", ["nothing", "<!-- a: x -->\n<!-- /a -->\n" * 2])
    def test_a_page_without_one_marked_place_is_left_alone(self, page: str) -> None:
        with pytest.raises(ValueError, match=r"has [02] places marked 'a'; it needs one\."):
            replace_marked(page, "a", "text")


class TestSpeed:
    @pytest.mark.parametrize("name", list(speed.RUNGS))
    def test_each_recipe_trains_a_network_that_reads_its_digits(
        self, name: str, few: DigitSet
    ) -> None:
        before = torch.random.get_rng_state()
        model, seconds = speed.RUNGS[name].train(few, 0, "cpu")
        assert seconds > 0
        images = torch.from_numpy(few.images[:5]).unsqueeze(1).float()
        with torch.no_grad():
            assert model.eval()(images).shape == (5, 10)
        assert torch.equal(before, torch.random.get_rng_state())

    def test_what_is_published_and_nothing_else_is_scored_on_the_test_set(self) -> None:
        published = {name for name, rung in speed.RUNGS.items() if rung.published}
        assert published == {"usual", "fast", "fast_bfloat16", "one_pass"}

    def test_the_public_recipes_network_has_its_size(self) -> None:
        weights = (24 * 25 + 24) + (32 * 24 * 9 + 32) + (800 * 256 + 256) + (256 * 10 + 10)
        assert count_parameters(speed.OnePassNet()) == weights

    def test_the_public_recipe_keeps_its_short_memory(self) -> None:
        """A schedule that cycles the momentum, as torch's does unless told, would overwrite it."""
        optimizer, schedule = speed.OnePass().prepare(speed.OnePassNet(), steps=10)
        for _ in range(5):
            optimizer.step()
            schedule.step()
            assert optimizer.param_groups[0]["betas"] == (0.7, 0.9)

    def test_each_recipe_is_another_in_the_ledger(self) -> None:
        prints = {recording.fingerprint(r.configuration("cpu")) for r in speed.RUNGS.values()}
        assert len(prints) == len(speed.RUNGS)
        fast = speed.RUNGS["fast"].configuration("cpu")
        assert recording.fingerprint(fast) == recording.fingerprint(PRESETS["fast"])

    def test_serves_digits_as_torchvision_does(self, few: DigitSet) -> None:
        image, label = speed.OneByOne(few)[7]
        expected = (torch.from_numpy(few.images[7]).float() / 255 - 0.1307) / 0.3081
        assert torch.allclose(image[0], expected, atol=1e-5)
        assert label == few.labels[7]

    def test_one_seed_has_no_spread_and_still_a_row(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        row: dict[str, Any] = {"change": "none", "seconds": {"median": 1.5}}
        row["validation_accuracy"] = summarise([0.99])
        speed.print_table({"fast": row})
        assert capsys.readouterr().out.split()[:5] == ["fast", "1.50", "s", "99.00%", "±"]

    def test_ratios_to_the_public_recipe_are_medians_over_the_turns(self) -> None:
        """The second turn is twice as slow: a ratio of two medians would be 0.375."""
        seconds = {name: [2.0, 4.0, 2.0] for name in ("one_pass", "one_pass_bfloat16")}
        seconds |= {name: [0.5, 1.0, 0.75] for name in ("fast", "fast_bfloat16")}
        seconds |= {"one_pass_channels_last": [1.0, 2.0, 1.0], "usual": [150.0, 75.0]}
        found = speed.ratios({name: {"seconds": in_seconds(v)} for name, v in seconds.items()})
        assert found == {
            "fast_to_one_pass": 0.25,
            "fast_to_one_pass_channels_last": 0.5,
            "fast_bfloat16_to_one_pass_bfloat16": 0.25,
            "usual_to_fast": 150.0,
        }

    def test_the_recorded_ratios_are_those_of_the_recorded_times(self) -> None:
        record = load_record("speed")
        assert record["ratios"] == speed.ratios(record["results"])

    def test_what_takes_minutes_comes_after_all_others(self) -> None:
        turns = list(speed.take_turns(speed.RUNGS, 3))
        heavy = [speed.RUNGS[name].heavy for name, _ in turns]
        assert heavy == sorted(heavy)
        assert turns[:2] == [("one_cycle", 0), ("smoothed", 0)]
        assert [seed for name, seed in turns if name == "usual"] == [0, 1]


def in_seconds(values: list[float]) -> dict[str, Any]:
    return {**summarise(values), "median": float(np.median(values))}


class TestStep:
    @pytest.mark.parametrize(
        ("name", "kind"),
        [
            ("aten::convolution_backward", "convolution, backward"),
            ("aten::mkldnn_convolution", "convolution, forward"),
            ("aten::max_pool2d_with_indices_backward", "pooling"),
            ("aten::native_batch_norm_backward", "batch norm"),
            ("aten::threshold_backward", "ReLU"),
            ("Optimizer.step#AdamW.step", "optimiser"),
            ("aten::_fused_adamw_", "optimiser"),
            ("aten::index_select", "gather and normalise"),
            ("aten::addmm", "linear layer and loss"),
            ("aten::something_new", step.REST),
        ],
    )
    def test_sorts_operations_into_parts_of_the_step(self, name: str, kind: str) -> None:
        assert step.kind_of(name) == kind

    def test_the_last_digits_of_an_epoch_are_followed_by_the_first_of_the_next(
        self, few: DigitSet
    ) -> None:
        state = step.start_training(build_model("mlp", hidden=8), few, TrainConfig())
        stepping = step.steps(state)
        assert [len(next(stepping)[1]) for _ in range(4)] == [128, 128, 44, 128]


class TestCompiled:
    @pytest.mark.parametrize(
        ("name", "part"),
        [
            ("aten::convolution_backward", "convolutions"),
            ("aten::native_batch_norm", compiled.BETWEEN),
            ("graph_0_cpp_fused_max_pool2d_with_indices_backward_1", compiled.BETWEEN),
            ("aten::_fused_adamw_", "optimiser"),
            ("CompiledFunctionBackward", compiled.OTHER),
        ],
    )
    def test_puts_a_loop_that_compiling_wrote_between_the_convolutions(
        self, name: str, part: str
    ) -> None:
        assert compiled.part_of(name) == part

    def test_keeps_each_part_where_it_was_least_disturbed(
        self, few: DigitSet, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(compiled, "PROFILED_ROUNDS", 2)
        state = step.start_training(build_model("mlp", hidden=8), few, TrainConfig())
        found = compiled.milliseconds_by_part({"eager": step.steps(state)})["eager"]
        assert list(found) == ["convolutions", compiled.BETWEEN, "optimiser", compiled.OTHER]
        assert found["convolutions"] == 0 < found["optimiser"]


class TestArchitectures:
    def test_keeps_what_every_seed_misreads_and_repeats_none(
        self, few: DigitSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        trained = []

        def train(name: str, rate: float, *others: Any) -> tuple[Any, float]:
            trained.append((name, rate, others[-1]))
            return Namespace(model=None), 0.0

        monkeypatch.setattr(architectures, "train", train)
        monkeypatch.setattr(architectures, "logits_of", lambda model, _: torch.eye(10)[[1, 2, 3]])
        validation = few.subset(np.arange(3))
        monkeypatch.setattr(architectures, "SEARCHED", 100)
        record = recording.Record("architectures", Namespace(results=tmp_path), variant="mistakes")
        for _ in range(2):
            architectures.measure_mistakes(record, {"mlp": 0.01}, few, validation, 2)
        assert trained == [("mlp", 0.01, 0), ("mlp", 0.01, 1)]
        expected = {
            str(place): place + 1 for place in range(3) if validation.labels[place] != place + 1
        }
        assert record.results["mlp"]["misread"] == {"0": expected, "1": expected}
        assert record.results["mlp"]["mistakes"]["values"] == [len(expected)] * 2
        assert (tmp_path / "architectures_mistakes.json").exists()


class TestTransformers:
    @pytest.mark.parametrize("name", transformers.VARIANTS)
    def test_each_variant_returns_logits(self, name: str) -> None:
        assert transformers.build_variant(name, 0)(torch.zeros(3, 1, 28, 28)).shape == (3, 10)

    @pytest.mark.parametrize("name", transformers.VARIANTS)
    def test_starts_with_the_weights_of_the_packages(self, name: str) -> None:
        own = build_model("vit", seed=3).state_dict()
        others = transformers.build_variant(name, 3).state_dict()
        for key in own.keys() & others.keys() - {"positions"}:
            assert torch.equal(own[key], others[key]), key
        assert bool(others["positions"].any()) is (name != "turned by place")

    def test_turned_scores_know_differences_of_places_only(self) -> None:
        """The same two tokens, moved along together, have the same score."""
        attention = transformers.TurnedAttention(64, 4)
        asking, asked = torch.randn(2, 64)
        scores = []
        for first, second in ((0, 6), (1, 7), (5, 11), (5, 10)):  # the last: not as far apart
            tokens = torch.zeros(1, 16, 64)
            tokens[0, first], tokens[0, second] = asking, asked
            queries, keys, _ = attention._project(tokens)
            scores.append(queries[0, :, first].mul(keys[0, :, second]).sum(1))
        for other in scores[1:3]:
            torch.testing.assert_close(other, scores[0], rtol=1e-4, atol=1e-5)
        assert not torch.allclose(scores[3], scores[0], rtol=1e-3)

    def test_normed_scores_do_not_grow_with_their_weights(self) -> None:
        attention, tokens = transformers.NormedAttention(64, 4), torch.randn(2, 16, 64)
        before = attention.weigh(tokens)
        with torch.no_grad():
            for parameter in attention.queries_keys_values.parameters():
                parameter *= 100
        torch.testing.assert_close(attention.weigh(tokens), before, rtol=1e-3, atol=1e-4)


class TestTrials:
    @pytest.mark.parametrize("network", [trials.FrozenStem, trials.Strided])
    def test_its_networks_return_logits(self, network: type[torch.nn.Module]) -> None:
        assert network()(torch.zeros(3, 1, 28, 28)).shape == (3, 10)

    def test_the_frozen_layer_stays_as_it_was_drawn(self, few: DigitSet) -> None:
        model = trials.FrozenStem()
        before = {name: value.clone() for name, value in model.named_parameters()}
        fit(model, few, config=TrainConfig(epochs=1), device="cpu", progress=False)
        changed = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
        assert before.keys() - changed == {"conv1.weight", "norm1.weight", "norm1.bias"}

    def test_each_changes_one_thing_or_its_name_says_what_else(self) -> None:
        for name, trial in trials.TRIALS.items():
            things = (trial.changes, trial.arguments, trial.model != trials.FAST.model)
            assert sum(map(bool, things)) == (name != "fast"), name
            assert len(trial.changes) < 2 or re.search(r"rate|passes", name), name
            replace(trials.FAST.config, **trial.changes)

    def test_as_many_at_random_are_as_many_and_not_always_the_same(self, few: DigitSet) -> None:
        count = round(trials.FAST.config.hardest_share * len(few))
        first, second = (trials.digits_for(trials.AT_RANDOM, few, seed) for seed in (0, 1))
        assert len(first) == len(second) == count
        assert not np.array_equal(first.images, second.images)
        assert trials.digits_for("all digits", few, 0) is few

    def test_gains_are_differences_from_the_same_seed(self) -> None:
        def row(accuracies: list[float], seconds: list[float]) -> dict[str, Any]:
            return {
                "validation_accuracy": summarise(accuracies),
                "process_seconds": summarise(seconds),
            }

        results = {
            "fast": row([0.98, 0.99, 0.97], [2, 2, 9]),
            "mine": row([0.99, 0.99, 0.98], [1, 1, 1]),
            "young": row([0.99], [1]),
        }
        trials.compare(results)
        assert results["mine"]["over_fast"]["mean"] == pytest.approx(0.02 / 3, abs=1e-6)
        assert results["mine"]["over_fast"]["error"] == pytest.approx(0.01 / 3, abs=1e-6)
        assert results["mine"]["time"] == 0.5
        assert "over_fast" not in results["young"]
        assert "+0.667 ± 0.333 points  time 0.50" in trials.in_one_line("mine", results["mine"])


class TestNeighbours:
    CHEAP, DEAR = (neighbours.Neighbour("quick_cnn", 0.02, 0.1, share) for share in (0.3, 0.4))
    OTHER = neighbours.Neighbour("quick_cnn", 0.03, 0.1, 0.3)

    def choose(self, cheap: list[float], other: list[float]) -> neighbours.Neighbour:
        rows = {self.CHEAP: cheap, self.OTHER: other, self.DEAR: [0.99, 0.991, 0.992, 0.991]}
        return neighbours.choose(rows, {self.CHEAP: 2.0, self.OTHER: 2.0, self.DEAR: 3.0})

    def test_the_cheapest_of_those_as_good_as_the_best_wins(self) -> None:
        worse, like_it = [0.98, 0.982, 0.981, 0.982], [0.991, 0.99, 0.991, 0.991]
        assert self.choose(like_it, worse) == self.CHEAP
        assert self.choose(worse, like_it) == self.OTHER
        assert self.choose(worse, worse) == self.DEAR
        assert self.choose(like_it, [0.991] * 4) == self.OTHER  # equally cheap: the better mean

    def test_the_recipe_from_before_stays_in_every_round(self) -> None:
        results = {
            one.name: {"validation_accuracy": {"mean": one.learning_rate}}
            for one in neighbours.GRID
        }
        kept = neighbours.keep(results, neighbours.GRID, 4)
        assert {one.learning_rate for one in kept[:4]} == {0.05}
        assert max(one.hardest_share for one in kept) == 0.3  # more cost too much
        assert kept[4:] == [neighbours.BEFORE]

    def test_names_are_distinct_and_say_the_recipe(self) -> None:
        assert len({one.name for one in neighbours.GRID}) == len(neighbours.GRID)
        config = neighbours.BEFORE.configuration(seed=3)
        assert (config.seed, config.learning_rate, config.hardest_share) == (3, 0.03, 0.3)

    def test_the_preset_is_what_was_chosen(self) -> None:
        chosen = dict(load_record("neighbours")["chosen"])
        del chosen["name"]
        recipe = PRESETS["fast"]
        assert recipe.config == neighbours.Neighbour(**chosen).configuration(seed=0)
        assert (recipe.model, recipe.arguments) == (chosen["model"], {})


class TestEnsemble:
    def test_counts_its_members_equally(self, few: DigitSet) -> None:
        class Says(torch.nn.Module):
            def __init__(self, digit: int, how_sure: float) -> None:
                super().__init__()
                self.logits = torch.zeros(10)
                self.logits[digit] = how_sure

            def forward(self, images: torch.Tensor) -> torch.Tensor:
                return self.logits.expand(len(images), 10)

        zeros = replace(few, labels=np.zeros(len(few), dtype=np.int64))
        members: list[torch.nn.Module] = [Says(1, 3.0), Says(0, 2.0), Says(0, 2.0)]
        assert ensemble.accuracy_by_size(members, zeros, "best") == [0.0, 0.0, 1.0]


class TestBackbone:
    def test_every_method_lets_learn_what_its_name_says(self) -> None:
        learning, held = {}, {}
        for method in backbone.TRAINED:
            model, groups = backbone.prepare(method, "efficientnet_lite0", TrainConfig())
            learning[method] = {n for n, p in model.named_parameters() if p.requires_grad}
            held[method] = count_trainable(model)
            assert (groups is not None) == (method == "layerwise")
        assert learning["head"] == {"output.weight", "output.bias"}
        assert learning["head"] < learning["top"] < learning["full"] == learning["layerwise"]
        assert not any(name.startswith("stem") for name in learning["top"])
        assert 0 < held["lora"] < held["full"] / 20
        norms = learning["full"] - learning["full_frozen_norms"]
        assert norms == learning["lora_free_norms"] - learning["lora"]
        assert len(norms) == 2 * 49  # weight and bias of every batch norm

    def test_features_are_fitted_on_one_scale_where_the_name_says_so(self) -> None:
        generator = np.random.default_rng(0)
        labels = np.arange(200, dtype=np.int64) % 2
        # What tells the classes apart is small beside a feature that says nothing.
        told = (labels - 0.5 + 0.1 * generator.normal(size=200)) * 0.001
        features = np.stack([told, 1_000 * generator.normal(size=200)], axis=1)
        for method in backbone.FITTED:
            fitted = backbone.fit_to_features(method, 0.1, features.astype(np.float32), labels)
            assert (fitted.score(features, labels) > 0.97) == method.endswith("_scaled")

    def test_every_rival_in_the_record_took_the_best_rate_and_no_neighbour_was_left_out(
        self,
    ) -> None:
        record = load_record("backbone")
        grids = {True: record["setting"]["penalties"], False: record["setting"]["rates"]}
        for method, row in record["results"].items():
            if method not in backbone.METHODS or method in backbone.NEAREST:
                continue
            grid = grids[method in backbone.FITTED]
            for count, entry in row["curve"].items():
                tried = row["search"][record["setting"]["searched_on"][count]]
                best = entry["learning_rate"]
                assert tried[str(best)] == max(tried.values())
                place = grid.index(best)
                assert 0 < place < len(grid) - 1, (method, count)
                assert {str(grid[place - 1]), str(grid[place + 1])} <= set(tried)

    def test_lora_with_a_twentieth_of_the_numbers_is_within_a_point_of_training_all(self) -> None:
        record = load_record("backbone")
        full, lora = (record["results"][name] for name in ("full", "lora"))
        assert lora["trainable"] / full["parameters"] <= 0.05
        ours, theirs = (row["curve"]["5000"]["accuracy"] for row in (lora, full))
        assert ours["n"] == theirs["n"] >= 5
        assert record["setting"]["scored"]["5000"] >= 5_000
        assert ours["mean"] - theirs["mean"] >= -0.01


class TestRecording:
    @pytest.mark.parametrize(
        ("best", "tried"),
        [
            (4, {3, 4, 5, 6}),  # inside what is tried first
            (3, {2, 3, 4, 5, 6}),
            (1, {0, 1, 2, 3, 4, 5, 6}),
            (0, {0, 1, 2, 3, 4, 5, 6}),  # the grid's own end
            (8, {3, 4, 5, 6, 7, 8, 9}),
            (9, {3, 4, 5, 6, 7, 8, 9}),
        ],
    )
    def test_a_search_goes_on_until_the_best_has_neighbours_on_both_sides(
        self, best: int, tried: set[int]
    ) -> None:
        scores: dict[str, float] = {}
        found = recording.find_best(range(10), scores, lambda value: -abs(value - best))
        assert found == best
        assert {int(value) for value in scores} == tried

    def test_a_search_asks_for_nothing_that_is_known(self) -> None:
        known = {str(value): float(value == 4) for value in (3, 4, 5, 6)}
        assert recording.find_best(range(10), known, lambda value: 1 / 0) == 4

    def test_chooses_the_best_mean_and_of_equals_the_lowest_rate(self) -> None:
        tried = {"0.01": [0.9, 0.5], "0.001": [0.8, 0.8], "0.003": [0.8, 0.8], "0.1": [0.2, 0.95]}
        assert recording.choose_rate(tried) == 0.001

    @pytest.mark.parametrize(
        ("recorded", "same"),
        [
            ({"name": "a", "inner": {"size": 2}}, True),
            ({"name": "a"}, False),  # inside, 2 is not the default
            ({"name": "b", "inner": {"size": 2}}, False),
            ({"name": "a", "inner": {"size": 2}, "late": [1]}, True),
            ({"name": "a", "inner": {"size": 2}, "late": [2]}, False),
            ({"name": "a", "inner": {"size": 2}, "gone": 0}, False),
            ({"inner": {"size": 2}}, False),  # a name has no default
            (None, False),
        ],
    )
    def test_settings_that_came_after_the_record_had_their_default(
        self, recorded: Any, same: bool
    ) -> None:
        @dataclass(frozen=True)
        class Inner:
            size: int = 1
            later: float = 0.5

        @dataclass(frozen=True)
        class Outer:
            name: str
            inner: Inner = field(default_factory=Inner)
            late: tuple[int, ...] = (1,)

        assert recording.describes(recorded, Outer("a", Inner(2))) == same


class TestPresets:
    @pytest.mark.parametrize("name", list(PRESETS))
    def test_the_record_is_of_the_presets(self, name: str) -> None:
        recorded = load_record("presets")["results"][name]["recipe"]
        config = PRESETS[name].config
        assert presets.is_recipe(recorded, PRESETS[name])
        for change in ({"precision": "bfloat16"}, {"upstrokes": config.upstrokes + 0.1}):
            other = replace(PRESETS[name], config=replace(config, **change))  # type: ignore[arg-type]
            assert not presets.is_recipe(recorded, other)
        assert not presets.is_recipe(None, PRESETS[name])


class TestRecord:
    @pytest.fixture
    def asked(self, tmp_path: Path) -> Namespace:
        return Namespace(results=tmp_path / "new")

    def test_goes_on_where_it_was_stopped(self, asked: Namespace) -> None:
        for seed in range(3):
            record = recording.Record("trial", asked, {"steps": (1, 2)})
            entry = record.entry("a", 10)
            assert recording.measured(entry, "accuracy") == seed
            recording.add(entry, "accuracy", seed / 4)
            record.save()
        written = json.loads((asked.results / "trial.json").read_text())
        assert written["results"]["a"]["10"]["accuracy"]["values"] == [0.0, 0.25, 0.5]
        assert written["results"]["a"]["10"]["accuracy"]["mean"] == 0.25
        assert written["command"] == "python -m benchmarks.trial"
        assert "device" not in written
        assert list(written)[-2:] == ["steps", "results"]

    def test_what_was_measured_otherwise_is_neither_kept_nor_lost(self, asked: Namespace) -> None:
        first = recording.Record("trial", asked, {"steps": (1, 2)})
        first.results["a"] = 1
        first.save()
        before = first.path.read_bytes()
        with pytest.raises(SystemExit, match=r"another steps: --anew .* --results FOLDER"):
            recording.Record("trial", asked, {"steps": (1, 3)})
        assert first.path.read_bytes() == before
        for anew in (
            recording.Record("trial", Namespace(**vars(asked), anew=True), {"steps": (1, 3)}),
            recording.Record("trial", asked, {"steps": (1, 3)}, resume=False),
        ):
            assert anew.results == {}

    def test_what_other_parts_it_has_stay(self, asked: Namespace) -> None:
        asked.results.mkdir()
        old = {"command": "x", "date": "2020-01-01", "rows": {"a": 1}, "results": {"b": 2}}
        (asked.results / "trial.json").write_text(json.dumps(old))
        record = recording.Record("trial", asked)
        assert record.parts == {"rows": {"a": 1}, "results": {"b": 2}}
        record.results["c"] = 3
        record.save()
        written = json.loads(record.path.read_text())
        assert written["rows"] == {"a": 1}
        assert written["results"] == {"b": 2, "c": 3}
        assert written["date"] > "2020-01-01"

    def test_its_date_is_of_what_it_holds(self, asked: Namespace) -> None:
        record = recording.Record("trial", asked)
        record.results["a"] = 1
        record.save()
        old = record.path.read_text().replace('"date": "', '"date": "1')
        record.path.write_text(old)
        again = recording.Record("trial", asked)
        again.save("nothing new")
        assert record.path.read_text() == old

    def test_counts_the_seconds_of_all_its_runs_and_of_other_processes(
        self, asked: Namespace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = [100.0]
        times = Namespace(system=0.0, children_user=0.0, children_system=0.0)
        monkeypatch.setattr(
            os, "times", lambda: Namespace(user=now[0] - 10, **{**vars(times), "system": 10.0})
        )
        for run, total in enumerate((2.5, 5.0, 7.5)):
            record = recording.Record("trial", asked)
            now[0] += 2.5
            record.results[str(run)] = run
            record.save()
            assert json.loads(record.path.read_text())["process_seconds"] == total
        times.children_user = 30.0
        record.results["children"] = 1
        record.save()
        assert json.loads(record.path.read_text())["process_seconds"] == 37.5

    def test_does_not_count_where_the_first_runs_were_not_counted(self, asked: Namespace) -> None:
        asked.results.mkdir()
        (asked.results / "trial.json").write_text('{"results": {"a": 1}}')
        record = recording.Record("trial", asked)
        record.results["b"] = 2
        record.save()
        assert "process_seconds" not in json.loads(record.path.read_text())

    def test_another_device_and_a_variant_have_records_of_their_own(self, asked: Namespace) -> None:
        asked.device = "cpu"
        assert recording.Record("trial", asked).path.name == "trial.json"
        asked.device = "cuda"
        record = recording.Record("trial", asked, variant="large", options="--size large")
        assert record.path.name == "trial_large_cuda.json"
        assert record.command == "python -m benchmarks.trial --size large --device cuda"
        record.save()
        assert json.loads(record.path.read_text())["device"] == "cuda"

    def test_a_look_at_the_test_set_is_a_line_of_the_ledger(self, asked: Namespace) -> None:
        record = recording.Record("trial", asked, options="--preset best")
        record.log_test_look("a", PRESETS["fast"], 0, 0.99)
        record.log_test_look("b", {"members": 2}, 1, 0.98)
        text = (asked.results / "ledger.json").read_text()
        assert len(text.splitlines()) == 4
        assert [(look["recipe"], look["seed"], look["accuracy"]) for look in json.loads(text)] == [
            ("a", 0, 0.99),
            ("b", 1, 0.98),
        ]

    def test_a_recipe_is_scored_once_from_a_seed(self, asked: Namespace) -> None:
        record = recording.Record("trial", asked)
        scores = iter([0.5, 0.6, 0.7])
        other = replace(PRESETS["fast"], model="mlp")
        found = [
            record.score_once("any name", recipe, seed, partial(next, scores))
            for recipe in (PRESETS["fast"], other)
            for seed in (0, 0)
        ]
        assert found == [0.5, 0.5, 0.6, 0.6]
        assert record.score_once("any name", other, 1, partial(next, scores)) == 0.7
        assert len(recording.read_ledger(asked.results)) == 3

    def test_a_fingerprint_is_of_what_differs_from_the_defaults(self) -> None:
        recipe = PRESETS["best"]
        same = replace(recipe, config=replace(recipe.config, clip_norm=None))
        other = replace(recipe, config=replace(recipe.config, clip_norm=1.0))
        assert recording.fingerprint(same) == recording.fingerprint(recipe)
        assert recording.fingerprint(other) != recording.fingerprint(recipe)

    def read(self, monkeypatch: pytest.MonkeyPatch, *words: str, **options: Any) -> Namespace:
        monkeypatch.setattr(sys, "argv", ["trial", *words])
        monkeypatch.setenv("OMP_NUM_THREADS", "7")
        monkeypatch.setattr(torch, "set_num_threads", self.given.append)
        return recording.read_arguments(recording.make_parser("What.", **options))

    @pytest.fixture(autouse=True)
    def nothing_given(self) -> None:
        self.given: list[int] = []

    def test_has_what_was_asked_for_and_no_more(self, monkeypatch: pytest.MonkeyPatch) -> None:
        plain = self.read(monkeypatch)
        assert vars(plain) == {"threads": None, "results": recording.RESULTS}
        full = self.read(
            monkeypatch, seeds=5, draws=2, only=iter("ab"), devices=recording.DEVICES, anew=True
        )
        assert (full.seeds, full.draws, full.only, full.device, full.anew) == (
            *(5, 2, ["a", "b"], "cpu", False),
        )

    def test_threads_are_torchs_own_unless_it_says_so(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.read(monkeypatch)
        assert (self.given, os.environ["OMP_NUM_THREADS"]) == ([], "7")
        self.read(monkeypatch, threads=1)
        assert (self.given, os.environ["OMP_NUM_THREADS"]) == ([1], "1")
        self.read(monkeypatch, "--threads", "3", threads=1)
        assert (self.given, os.environ["OMP_NUM_THREADS"]) == ([1, 3], "3")
        with pytest.raises(SystemExit):
            self.read(monkeypatch, "--threads", "0")

    def test_results_stay_where_they_are_when_the_script_goes_elsewhere(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.chdir(tmp_path)
        assert self.read(monkeypatch, "--results", "mine").results == tmp_path / "mine"


class TestChapters:
    def test_a_chapter_replaces_its_own_effects_and_no_others(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cells = [
            nbformat.v4.new_code_cell("SEED = 0\nx = SEED + 1"),
            nbformat.v4.new_code_cell("from mnist_lab.lessons import show_effect"),
            nbformat.v4.new_code_cell('show_effect("ch01 twice", 2 * x, above=9)\nassert x > 9'),
        ]
        path = tmp_path / "ch01_a.ipynb"
        nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
        monkeypatch.setattr(chapters, "NOTEBOOKS", {"ch01": path})
        monkeypatch.setattr(chapters, "ProcessPoolExecutor", InThisProcess)
        results = tmp_path / "results"
        results.mkdir()
        old = {"results": {"ch01 gone": {}, "ch010 stays": {}, "ch02 stays": {}}}
        (results / "chapters.json").write_text(json.dumps(old))
        home = Path.cwd()
        start(monkeypatch, "chapters", "--seeds", "3", "--results", str(results))
        found = json.loads((results / "chapters.json").read_text())["results"]
        assert list(found) == ["ch010 stays", "ch02 stays", "ch01 twice"]
        assert found["ch01 twice"]["values"] == [2.0, 4.0, 6.0]
        assert Path.cwd() == home


class InThisProcess:
    """What a pool of processes does, without any."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        pass

    def __enter__(self) -> InThisProcess:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    map = staticmethod(map)


class TestFinetuning:
    def test_the_parts_of_a_task_have_no_digit_in_common(self) -> None:
        task = finetuning.make_task("nines")
        parts = (task.pool, task.choose, task.report, task.old)
        images = [{image.tobytes() for image in part.images} for part in parts]
        assert task.pool.class_names == ("5", "6", "7", "8", "9")
        for place, one in enumerate(images):
            assert not any(one & other for other in images[place + 1 :])

    @pytest.mark.parametrize("method", [*finetuning.MAIN, *finetuning.OPTIONS])
    def test_every_way_gives_a_network_for_the_new_digits(self, method: str, few: DigitSet) -> None:
        base = build_model("small_cnn", seed=0, classes=5)
        before = {name: tensor.clone() for name, tensor in base.state_dict().items()}
        digits = keep_classes(few, "567").subset(slice(0, 20))
        model = finetuning.adapt(base, method, digits, 0.01, 8, 0, True, "cpu")
        assert evaluate(model, Batches(digits)).count == len(digits)
        assert all(torch.equal(before[name], now) for name, now in base.state_dict().items())
        same = torch.equal(model.get_parameter("conv1.weight"), before["conv1.weight"])
        assert same == (method == "head")

    def test_a_larger_head_begins_with_the_old_one(self) -> None:
        base = build_model("small_cnn", seed=0, classes=5)
        extended = finetuning.extend_head(base, 10, 1)
        weight, old = extended.get_parameter("output.weight"), base.get_parameter("output.weight")
        assert weight.shape == (10, 576)
        assert torch.equal(weight[:5], old)

    def test_record_fine_tunes_better_with_two_labels_and_closes_the_gap(self) -> None:
        record = load_record("finetuning")
        results, rates = record["results"]["nines"], record["setting"]["rates"]
        mean = {
            way: {count: row["accuracy"]["mean"] for count, row in results[way].items()}
            for way in finetuning.MAIN
        }
        for way in ("full", "head", "gradual"):
            assert mean[way]["2"] - mean["scratch"]["2"] >= 0.05
        assert abs(mean["full"]["1000"] - mean["scratch"]["1000"]) < 0.005
        for way, rows in results.items():
            for row in rows.values() if way != "before" else ():
                assert row["accuracy"]["n"] >= 10
                assert list(row["search"]) == [str(rate) for rate in rates]  # the same for all
                assert row["learning_rate"] == recording.choose_rate(row["search"])


class TestForgetting:
    def test_the_digits_have_none_in_common(self) -> None:
        sides = forgetting.make_sides()
        parts = (sides.pool, sides.old_pool, *sides.choose, *sides.report)
        images = [{image.tobytes() for image in part.images} for part in parts]
        for place, one in enumerate(images):
            assert not any(one & other for other in images[place + 1 :])

    def test_a_search_climbs_until_all_neighbours_are_worse(self) -> None:
        grid = [(1, 2, 3, 4, 5), (1, 2, 3, 4, 5)]
        found = forgetting.climb(grid, (3, 3), lambda p: -((p[0] - 4) ** 2) - (p[1] - 1) ** 2)
        assert found == (4, 1)
        assert forgetting.climb(grid, (3, 3), lambda p: 0.0) == (3, 3)

    @pytest.mark.parametrize("method", forgetting.GRIDS)
    def test_every_remedy_starts_from_the_same_network_and_leaves_it(
        self, method: str, few: DigitSet, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        base = build_model("small_cnn", seed=0)
        before = {name: tensor.clone() for name, tensor in base.state_dict().items()}
        ours = few.subset(slice(0, 40))
        sides = forgetting.Sides(few, few, (ours, ours), (ours, ours))
        monkeypatch.setattr(forgetting, "make_sides", lambda: sides)
        monkeypatch.setattr(forgetting, "pretrain", lambda seed: base)
        monkeypatch.setattr(forgetting, "STEPS", 2)
        monkeypatch.setattr(forgetting, "MANY", 60)
        forgetting.train.cache_clear()
        new, old = forgetting.measure(method, 0, (0.003, 0.5), sides.report)
        forgetting.train.cache_clear()
        assert 0 <= new == old <= 1
        assert all(torch.equal(before[name], now) for name, now in base.state_dict().items())

    def test_record_chose_by_the_search_and_no_neighbour_was_better(self) -> None:
        record = load_record("forgetting")
        for rows in record["results"].values():
            for row in rows.values():
                worth = {
                    point: np.mean(found["new"] + found["old"])
                    for point, found in row["search"].items()
                }
                chosen = " ".join(map(str, row["chosen"]))
                assert worth[chosen] == max(worth.values())


class TestMaskedPretraining:
    def test_rivals_start_where_they_should_and_leave_the_encoder_as_it_was(
        self, few: DigitSet
    ) -> None:
        start = build_model("vit", seed=7)
        before = {name: tensor.clone() for name, tensor in start.state_dict().items()}
        adapted = {
            method: masked_pretraining.adapt(
                method,
                few.subset(slice(0, 20)),
                0.01,
                2,
                3,
                None if method in ("scratch", "cnn") else start,
            )
            for method in ("scratch", "cnn", "pretrained", "head")
        }
        for name, tensor in start.state_dict().items():
            assert torch.equal(tensor, before[name])
            if not name.startswith("output."):
                assert torch.equal(adapted["head"].state_dict()[name], before[name])
        moved = adapted["pretrained"].state_dict()["positions"] - before["positions"]
        assert 0 < float(moved.abs().max()) < 0.1
        fresh = build_model("vit", seed=3).state_dict()["positions"]
        scratch = adapted["scratch"].state_dict()["positions"]
        assert 0 < float((scratch - fresh).abs().max()) < 0.1
        assert type(adapted["cnn"]).__name__ == "SmallCNN"

    def test_a_convolution_never_sees_what_is_hidden(self) -> None:
        model = masked_pretraining.ConvolutionalAutoencoder(0).eval()
        patches = torch.randn(3, 16, 49, generator=torch.Generator().manual_seed(0))
        kept = torch.tensor([[0, 5], [1, 2], [15, 3]])
        hidden = masked_pretraining.find_hidden(kept, 16)[:, :, None]
        scribbled = torch.where(hidden, 9.0, patches)
        assert torch.equal(model(scribbled, kept), model(patches, kept))
        assert not torch.equal(model(patches, kept), model(patches, kept.flip(0)))

    def test_what_a_convolution_learnt_from_hidden_patches_is_kept_with_a_new_head(
        self, few: DigitSet
    ) -> None:
        config = replace(masked_pretraining.PRETRAINING, epochs=1)
        objective = masked_pretraining.OBJECTIVES["small_cnn"]
        found = masked_pretraining.pretrain(few, few, config, objective, progress=False)
        network = objective.kept(found.model)
        assert type(network).__name__ == "SmallCNN"
        fresh = build_model("small_cnn", seed=config.seed).state_dict()
        learnt = network.state_dict()
        assert not torch.equal(learnt["conv1.weight"], fresh["conv1.weight"])
        assert torch.equal(learnt["output.weight"], fresh["output.weight"])

    def test_self_training_believes_what_is_sure_enough_and_no_label(
        self, monkeypatch: pytest.MonkeyPatch, few: DigitSet
    ) -> None:
        met: list[DigitSet] = []

        def adapt(method: str, digits: DigitSet, *rest: Any) -> torch.nn.Module:
            met.append(digits)
            return build_model("small_cnn", seed=0)

        def logits_of(model: torch.nn.Module, batches: Any) -> torch.Tensor:
            logits = torch.zeros(10, 10)
            logits[:4, 3] = 9.0  # sure that the first four are threes
            return logits

        monkeypatch.setattr(masked_pretraining, "adapt", adapt)
        monkeypatch.setattr(masked_pretraining, "logits_of", logits_of)
        labelled, others = few.subset(slice(0, 5)), few.subset(slice(5, 15))
        masked_pretraining.teach_itself(labelled, others, 0.9, 0.01, 2, 0, "cpu")
        assert len(met) == 1 + masked_pretraining.ROUNDS
        assert met[-1].labels.tolist() == [*labelled.labels, 3, 3, 3, 3]
        assert np.array_equal(met[-1].images[5:], others.images[:4])

    def test_the_record_says_what_the_chapter_says(self) -> None:
        record = load_record("masked_pretraining")
        assert record["process_seconds"] > 0
        labels = record["results"]["labels"]
        for method in masked_pretraining.METHODS:
            for count in ("1", "10", "100"):
                entry = labels[method][count]
                assert entry["accuracy"]["n"] >= 5
                best = entry["sureness" if method == "self_training" else "rate"]
                scores = {value: np.mean(found) for value, found in entry["search"].items()}
                assert scores[str(best)] == max(scores.values())
                if method != "self_training":
                    rates = masked_pretraining.RATES
                    place = rates.index(best)
                    assert {str(rates[place - 1]), str(rates[place + 1])} <= set(scores)
        pretrained, scratch = (labels[m]["10"]["accuracy"] for m in ("pretrained", "scratch"))
        pairs = zip(pretrained["values"], scratch["values"], strict=False)
        assert all(ours > theirs for ours, theirs in pairs)  # on every draw of 100 labels
        taught, cnn = (labels[m]["10"]["accuracy"]["values"] for m in ("self_training", "cnn"))
        assert all(ours > theirs for ours, theirs in zip(taught, cnn, strict=True))
        assert pretrained["mean"] - scratch["mean"] > pretrained["std"] + scratch["std"]


class TestScaling:
    def test_takes_the_same_steps_with_few_digits_as_with_many(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        met: list[int] = []

        def step(state: Any, batch: Any, *rest: Any) -> tuple[torch.Tensor, torch.Tensor]:
            met.append(len(batch[0]))
            return torch.zeros(()), torch.empty(0)

        monkeypatch.setattr("mnist_lab.training.loop.train_step", step)
        monkeypatch.setattr(scaling, "SCORED", 20)
        for digits in (128, 1_000, 55_000):
            met.clear()
            assert len(scaling.losses_on_the_way(digits, 16, 0, "cpu", 20)) == scaling.SCORES
            assert len(met) == 20

    def test_the_record_falls_with_digits_and_with_width(self) -> None:
        results = load_record("scaling")["results"]
        assert min(results["longer"]["96"]) < min(results["longer"]["64"])
        for series in ("digits", "widths"):
            means = [entry["loss"]["mean"] for entry in results[series].values()]
            assert len(means) >= 4
            falling = means[:4]  # the widest has too few steps to be better, as the chapter says
            assert falling == sorted(falling, reverse=True)


class TestSchedules:
    def test_schedule_free_keeps_the_even_mean_of_its_places(self) -> None:
        target, rate, share = 3.0, 0.3, 0.9
        point = torch.nn.Parameter(torch.zeros(1))
        optimizer = schedules.ScheduleFree([point], rate, share)
        places, mean, expected = [0.0], 0.0, 0.0
        for _ in range(20):
            optimizer.zero_grad()
            ((point - target) ** 2 / 2).sum().backward()
            optimizer.step()
            places.append(places[-1] - rate * (expected - target))
            mean = float(np.mean(places[1:]))
            expected = (1 - share) * places[-1] + share * mean
            assert point.item() == pytest.approx(expected, rel=1e-5)
        optimizer.take_mean()
        assert point.item() == pytest.approx(mean, rel=1e-5)

    def test_the_rate_falls_after_as_many_epochs_as_asked_without_a_new_lowest(
        self, few: DigitSet
    ) -> None:
        network = build_model("deep_mlp", depth=2)
        state = start_training(network, few, TrainConfig(learning_rate=0.9))
        losses: list[float] = []
        rates = []
        for loss in (5.0, 4.0, 4.5, 4.4, 3.0, 3.5):
            losses.append(loss)
            schedules.lower_on_a_plateau(state, losses, 1)
            rates.append(state.config.learning_rate)
        assert rates == pytest.approx([0.9, 0.9, 0.3, 0.1, 0.1, 0.1 / 3])

    def test_a_search_goes_on_until_the_best_lies_between_two_that_are_no_better(
        self, few: DigitSet, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(schedules, "score", lambda row, rate, seed, sets: -abs(rate - 1.0))
        tried: dict[str, list[float]] = {}
        assert schedules.search_rate(schedules.Row({}), tried, (few, few)) == 1.0
        assert [float(rate) for rate in tried] == [0.01, 0.03, 0.1, 0.3, 1.0, 3.0]
        monkeypatch.setattr(schedules, "score", lambda row, rate, seed, sets: rate)
        with pytest.raises(RuntimeError, match=r"The best rate, 10\.0, is the last"):
            schedules.search_rate(schedules.Row({}), {}, (few, few))

    def test_every_row_of_the_record_had_its_best_rate_between_two_others(self) -> None:
        results = load_record("schedules")["results"]
        assert list(results) == list(schedules.ROWS)
        for row in results.values():
            rates = [float(rate) for rate in row["search"]]
            assert row["learning_rate"] == recording.choose_rate(row["search"])
            assert rates[0] < row["learning_rate"] < rates[-1]
            assert {len(scores) for scores in row["search"].values()} == {2}


class TestWriters:
    def made_up(self, mnist: MNIST) -> MNIST:
        """A thousand digits to train on by 20 people and 200 to test by 10 others, made up."""
        train = mnist.train.subset(slice(0, 1_000))
        test = mnist.test.subset(slice(0, 200))
        students = writers.FIRST_STUDENT
        return MNIST(
            replace(train, writers=np.arange(1_000) % 20),
            replace(test, writers=np.repeat(np.arange(students - 5, students + 5), 20)),
        )

    def test_counts_people(self, mnist: MNIST) -> None:
        made_up = self.made_up(mnist)
        assert writers.count_writers(made_up) == {
            "training": {"digits": 1_000, "writers": 20, "digits_by_students": 0},
            "test": {"digits": 200, "writers": 10, "digits_by_students": 100},
            "test, first half": {"digits": 100, "writers": 5, "digits_by_students": 0},
            "test, second half": {"digits": 100, "writers": 5, "digits_by_students": 100},
        }
        assert writers.count_shared(made_up.train, made_up.test) == 0
        assert writers.count_shared(made_up.train, made_up.train.subset([3, 4, 24])) == 2

    def test_finds_the_nearest_as_scikit_learn_does(self, mnist: MNIST) -> None:
        made_up = self.made_up(mnist)
        tree = NearestNeighbors(n_neighbors=1, algorithm="brute")
        tree.fit(made_up.train.images.reshape(1_000, -1) / 255)
        expected = tree.kneighbors(made_up.test.images.reshape(200, -1) / 255)[1][:, 0]
        assert np.array_equal(writers.find_nearest(made_up.test, made_up.train), expected)

    def test_the_nearest_by_somebody_else(self, mnist: MNIST) -> None:
        train = self.made_up(mnist).train
        own = writers.find_nearest(train, train)
        assert np.array_equal(own, np.arange(1_000))  # each is the nearest to itself
        others = writers.find_nearest(train, train, other_people=True)
        people = writers.writers_of(train)
        assert not (people[others] == people).any()
        found = writers.ask_neighbours(train, train)
        assert (found["nearest_is_by_the_same_person"], found["error"]) == (1, 0)
        assert found["by_chance"] == pytest.approx(1 / 20)
        assert found["error_without_own_digits"] == (train.labels[others] != train.labels).mean()

    def test_digits_of_nobody_are_refused(self, mnist: MNIST) -> None:
        with pytest.raises(ValueError, match="do not say who wrote them"):
            writers.count_writers(mnist)

    def test_measures_all_that_the_book_shows(
        self, mnist: MNIST, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(writers, "load_mnist", lambda: mnist)
        monkeypatch.setattr(writers, "add_writers", lambda found, *_, **__: self.made_up(found))
        by_whom = partial(split, validation=200)
        monkeypatch.setattr(writers, "split", by_whom)
        monkeypatch.setattr(writers, "EPOCHS", 1)
        start(monkeypatch, "writers", "--tables", ".", "--seeds", "2", "--results", str(tmp_path))
        ours = load_record("writers")
        made = json.loads((tmp_path / "writers.json").read_text())
        assert ours.keys() <= made.keys()
        for name, part in ours["results"].items():
            for row, cells in part.items():
                assert row in made["results"][name]
                if isinstance(cells, dict):
                    assert cells.keys() <= made["results"][name][row].keys()
        assert made["results"]["test"]["cleanlab"] == ours["results"]["test"]["cleanlab"]
        looks = json.loads((tmp_path / "ledger.json").read_text())
        assert [look["recipe"] for look in looks] == ["nearest of 10,000 training digits"]

    def test_without_a_table_it_says_where_it_comes_from(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        with pytest.raises(SystemExit):
            start(monkeypatch, "writers", "--tables", str(tmp_path), "--results", str(tmp_path))
        assert "ask for it with download=True" in capsys.readouterr().err
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("name", ["nearest neighbour", "cleanlab"])
    def test_the_record_agrees_with_itself(self, name: str) -> None:
        found = load_record("writers")["results"]["test"][name]
        assert found["errors"] == found["errors_in_first_half"] + found["errors_in_second_half"]
        share = found["errors"] / 10_000
        of_digits = (share * (1 - share) / 10_000) ** 0.5
        assert found["standard_error_of_digits"] == pytest.approx(of_digits, abs=5e-5)
        ratio = (found["standard_error_by_writer"] / of_digits) ** 2
        assert found["design_effect"] == pytest.approx(ratio, rel=0.02)


class TestServing:
    def test_nothing_lost_or_mixed_up_goes_unseen(self, mnist: MNIST) -> None:
        reader = Reader(build_model("linear", seed=0))
        sheets = serving.make_sheets(mnist.train.images[:4], reader)
        assert len({str(seen) for seen in sheets.seen}) == 4  # each digit has a place of its own
        wrong = replace(sheets, seen=sheets.seen[::-1])
        none = replace(sheets, contents=[b"no picture"] * 4)
        found = []
        with (
            run_in_background(make_app(reader)) as address,
            httpx.Client(base_url=address, trust_env=False) as client,
        ):
            for sent in (sheets, wrong, none):
                waited = serving.Waited()
                for places in ([0], [1, 2, 3]):
                    waited.seconds.append(sent.ask(client, places, waited))
                found.append((waited.lost, waited.mixed_up))
        assert found == [(0, 0), (0, 4), (4, 0)]

    def test_what_is_kept_of_the_seconds(self) -> None:
        waited = serving.Waited([0.01] * 98 + [1.0] * 2, wall=[2.0, 1.0, 4.0], pictures=[100] * 3)
        kept = waited.to_json()
        assert (kept["requests"], kept["p50"], kept["mean"]) == (100, 10.0, 29.8)
        assert len(kept["percentiles"]) == 101
        assert kept["percentiles"][-1] == 1_000
        assert kept["pictures_per_second"] == 50  # the median of three rounds


class TestDrift:
    def test_a_page_leans_as_a_whole(self) -> None:
        turned = np.repeat(drift.TURNS[:, None], 5, axis=1).astype(float)
        alone, pages = (
            drift.draw_leaning(turned, 1_000, page, np.random.default_rng(0)) for page in (1, 20)
        )
        assert (pages.reshape(-1, 20) == pages.reshape(-1, 20)[:, :1]).all()
        assert np.mean(alone[1:] == alone[:-1]) < 0.5
        assert alone.std() == pytest.approx(drift.LEAN, rel=0.15)

    def test_a_change_comes_step_by_step(self) -> None:
        pools = [np.full(3, float(step)) for step in range(3)]
        drawn = drift.draw_changed(pools, np.random.default_rng(0))
        assert len(drawn) == drift.CHANGED
        assert (np.diff(drawn) >= 0).all()
        assert [int((drawn == step).sum()) for step in range(3)] == [250, 250, 500]

    @pytest.mark.parametrize("name", ["cumulative sum", "ADWIN", "Page-Hinkley"])
    def test_each_detector_keeps_to_its_chance_and_hears_a_fall(self, name: str) -> None:
        draw, way = np.random.default_rng(0), drift.make_ways()[name]
        usual = draw.normal(0.9, 0.05, 5_000)
        streams = [draw.choice(usual, drift.USUAL) for _ in range(40)]
        setting = drift.choose_setting(name, way, usual, streams)

        def listen(values: np.ndarray) -> int | None:
            return drift.first_alarm(way.make(setting, 0.9, 0.05), values)

        assert sum(listen(one) is not None for one in streams) <= 5
        fallen = np.concatenate([usual[:300], usual[300:600] - 0.05])
        alarm = listen(fallen)
        assert alarm is not None
        assert 300 <= alarm < 500


class TestDenoising:
    def test_the_rows_are_every_corruption_and_more_noise(self, few: DigitSet) -> None:
        rows = denoising.change(few)
        assert set(CORRUPTIONS) < set(rows)
        assert rows[denoising.AS_THEY_ARE] is few
        spread = [
            (rows[name].images.astype(float) - few.images).std()
            for name in ("noise 30", "noise", "noise 90", "noise 120")
        ]
        assert spread == sorted(spread)

    def test_a_median_takes_off_what_stands_alone(self, few: DigitSet) -> None:
        dots = np.zeros((2, 28, 28), np.uint8)
        dots[0, 9, 9] = dots[1, 4:14, 4:14] = 255
        found = denoising.filter_by_median(DigitSet(dots, np.array([0, 1]))).images
        assert not found[0].any()
        assert (found[1, 5:13, 5:13] == 255).all()  # and of no image with its neighbour in the set

    def test_all_that_learn_have_the_same_digits_steps_and_noise(
        self, few: DigitSet, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[tuple[Any, ...]] = []

        def fit(model: Any, train: Any, validation: Any, config: Any, **options: Any) -> None:
            asked.append((len(train), config.epochs, config.seed, config.learning_rate))
            objectives.append(getattr(options["objective"], "most", None))
            models.append(model)

        objectives: list[Any] = []
        models: list[Any] = []
        monkeypatch.setattr(denoising, "fit", fit)
        sets = denoising.Sets(few, few, few)
        cleaner = denoising.make_denoiser()
        for name in denoising.LEARN:
            denoising.learn(name, 0.02, 5, sets, cleaner)
        assert asked == [(300, 3, 5, 0.02)] * 4
        assert objectives == [100, None, 100, 100]
        behind, control = models[2], models[3]
        assert behind.denoiser is cleaner
        assert same_weights(behind.network, control)

    def test_the_record_bears_out_what_chapter_16_says(self) -> None:
        found = load_record("denoising")["results"]["accuracy"]

        def gap(way: str, other: str, row: str) -> float:
            ours, theirs = (np.array(found[name][row]["values"]) for name in (way, other))
            return 100 * float((ours - theirs).mean())

        for row in ("noise 30", "noise", "noise 90", "noise 120"):
            for way in ("cleaned", "cleaned in training"):
                assert abs(gap(way, "noise in training", row)) < 1
        assert gap("cleaned", "as it is", "noise 120") > 30
        whole = gap("cleaned", "as it is", "noise 120")
        assert 0.6 < gap("median filter", "as it is", "noise 120") / whole < 1
        for way in ("cleaned", "cleaned in training", "noise in training"):
            assert abs(gap(way, "as it is", "as they are")) < 0.5
        for row in ("faint", "thin"):
            for way in ("cleaned", "cleaned in training"):
                assert gap(way, "as it is", row) < -20
                assert gap(way, "noise in training", row) < -10
            assert gap("noise in training", "as it is", row) < 0
        others = set(CORRUPTIONS) - {"noise"}
        assert sum(gap("cleaned", "as it is", row) > 1 for row in others) <= 3

    def test_each_rate_of_the_record_has_worse_ones_on_both_sides(self) -> None:
        for name, search in load_record("denoising")["search"].items():
            tried = sorted(float(rate) for rate in search["scores"])
            assert tried[0] < search["rate"] < tried[-1], name
            assert recording.choose_rate(search["scores"]) == search["rate"]


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    """Whether two networks begin alike."""
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(*pair) for pair in pairs)


class TestAblation:
    @pytest.mark.parametrize("best", ablation.RATES)
    def test_a_search_ends_at_the_best_rate_between_two_worse(self, best: float) -> None:
        tried: dict[str, list[float]] = {}

        def score_at(rate: float, seed: int) -> float:
            assert seed in ablation.CHOOSING
            return -abs(np.log(rate / best))

        assert ablation.search(tried, score_at) == best
        place = ablation.RATES.index(best)
        around = ablation.RATES[max(place - 1, 0) : place + 2]
        assert {str(rate) for rate in around} <= set(tried)
        assert {len(scores) for scores in tried.values()} == {len(ablation.CHOOSING)}

    def test_a_search_that_is_done_measures_nothing_again(self) -> None:
        tried = {"0.003": [0.1, 0.2], "0.01": [0.5, 0.4], "0.03": [0.3, 0.3]}
        assert ablation.search(tried, lambda rate, seed: pytest.fail("measured again")) == 0.01

    def test_blocks_that_are_kept_small(self) -> None:
        images = torch.rand(2, 1, 28, 28)
        plain, divided, zeroed = (
            build_model("resnet", width=8, depth=3, norm=False).eval() for _ in range(3)
        )
        ablation.keep_small(divided, "divided")
        ablation.keep_small(zeroed, "from zero")
        first: list[Any] = [model.get_submodule("blocks.0") for model in (plain, divided, zeroed)]
        inner = torch.rand(2, 8, 14, 14)
        added = [block.conv2(inner) for block in first]
        assert torch.allclose(added[1], added[0] / 3)  # nine blocks
        assert not added[2].any()
        assert torch.equal(first[2](inner), inner)  # a ReLU leaves what is not negative
        assert not torch.allclose(divided(images), plain(images))

    def test_who_changes_the_network_or_the_schedule_has_a_rate_of_its_own(self) -> None:
        results = load_record("ablation")["results"]
        assert list(results) == list(ablation.ROWS)
        for name, row in ablation.ROWS.items():
            assert row.searches == ("search" in results[name])
            if row.searches:
                tried, rate = results[name]["search"], results[name]["learning_rate"]
                assert recording.choose_rate(tried) == rate
                place = ablation.RATES.index(rate)
                around = ablation.RATES[max(place - 1, 0) : place + 2]
                assert {str(rate) for rate in around} <= set(tried)


class SaysThree(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return 20 * torch.eye(10)[3].expand(len(images), 10)


class TestOpenTasks:
    def test_own_labels_are_learnt_and_those_of_others_are_not_read(self, few: DigitSet) -> None:
        learnt: list[DigitSet] = []

        def learn(digits: DigitSet, steps: int | None) -> nn.Module:
            learnt.append(digits)
            return SaysThree()

        others = replace(few, labels=(few.labels + 1) % 10)
        accuracies = open_tasks.learn_alone(few, others, few, learn, "cpu", rounds=2)
        assert accuracies == pytest.approx([np.mean(few.labels == 3)] * 3)
        assert [len(digits) for digits in learnt] == [300, 600, 600]
        assert np.array_equal(learnt[1].labels[:300], few.labels)
        assert (learnt[1].labels[300:] == 3).all()

    def test_an_unsure_answer_is_no_label(
        self, few: DigitSet, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(open_tasks, "SURE", 1.1)
        learnt: list[DigitSet] = []

        def learn(digits: DigitSet, steps: int | None) -> nn.Module:
            learnt.append(digits)
            return SaysThree()

        open_tasks.learn_alone(few, few, few, learn, "cpu", rounds=2)
        assert [len(digits) for digits in learnt] == [300, 300, 300]

    def test_a_bent_drawing_keeps_its_strokes_and_its_neighbours(self) -> None:
        line = [(float(x), 0.5) for x in np.linspace(0, 1, 50)]
        first, second = open_tasks.bend([line, line[:7]], np.random.default_rng(0))
        assert (len(first), len(second)) == (50, 7)
        assert first[:7] == second  # the same place is pushed alike
        steps = np.hypot(*np.diff(first, axis=0).T)
        assert steps.min() > 0
        assert steps.max() < 0.04
        assert np.ptp([y for _, y in first]) > 0.005

    def test_an_edge_is_counted_where_it_is_and_by_its_direction(self) -> None:
        images = np.zeros((1, 28, 28), np.uint8)
        images[:, :, 18:] = 255  # brighter to the right
        (found,) = open_tasks.find_edges(DigitSet(images, np.array([1])))
        places = found.reshape(7, 7, 8)
        assert (places[:, 4, 0] > 0).all()
        places[:, 4, 0] = 0
        assert not places.any()


def test_directions_of_edges_tell_which_way_the_grey_rises() -> None:
    images = np.zeros((2, 28, 28), np.uint8)
    images[0, :, 14:] = 255  # an upright edge: grey rises to the right, the first direction
    images[1, 14:] = 255  # a level one: it rises downwards, a quarter of a turn on
    found = baselines.directions(images)
    assert found.shape == (2, 288)
    assert np.allclose(np.linalg.norm(found, axis=1), 1)
    by_direction = found.reshape(2, baselines.DIRECTIONS, 36).any(axis=2)
    assert by_direction.nonzero()[1].tolist() == [0, 2]
