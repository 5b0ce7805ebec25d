"""The articles as promised: each step is taken, and nothing is chosen by the test digits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks import articles, promised
from benchmarks.promised import PROMISES, RATES
from benchmarks.recording import fingerprint
from mnist_lab.data.digit_set import DigitSet
from mnist_lab.data.mnist import MNIST
from mnist_lab.models.registry import build_model
from mnist_lab.training.batches import Batches
from mnist_lab.training.checkpoints import load_checkpoint
from mnist_lab.training.runs import fit
from mnist_lab.training.scoring import evaluate

Sets = tuple[DigitSet, DigitSet]
FOUND = {"learning_rate": 0.01, "learning_rate_from_scratch": 0.03}


@pytest.fixture
def few(small_sets: Sets, monkeypatch: pytest.MonkeyPatch) -> Sets:
    """A few digits in the place of all, however they are asked for."""
    sets = small_sets[0].subset(np.arange(300)), small_sets[1].subset(np.arange(200))
    monkeypatch.setattr(promised, "split", lambda digits, seed: sets)
    return sets


@pytest.fixture
def few_mnist(few: Sets, mnist: MNIST) -> MNIST:
    return MNIST(few[0], mnist.test.subset(np.arange(100)))


class TestSearch:
    @pytest.mark.parametrize("best", RATES)
    def test_goes_on_until_the_best_lies_between_two_that_are_worse(self, best: float) -> None:
        tried = promised.search((0.01, 0.03, 0.1), lambda rate: -abs(np.log(rate / best)))
        place = RATES.index(best)
        assert {str(rate) for rate in RATES[max(place - 1, 0) : place + 2]} <= set(tried)
        assert list(tried) == [str(rate) for rate in sorted(map(float, tried))]
        assert promised.choose_rate(tried) == best

    def test_a_rate_that_diverges_is_worth_nothing(self) -> None:
        def score(rate: float) -> float:
            if rate > 0.01:
                raise FloatingPointError
            return 0.9

        tried = promised.search((0.003, 0.01, 0.03), score)
        assert (tried["0.03"], tried["0.003"]) == (0.0, 0.9)

    def test_sees_a_part_of_the_digits_from_a_seed_that_is_not_reported(
        self, few_mnist: MNIST, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[int] = []
        monkeypatch.setitem(promised.SEARCHED, "article_002", 120)

        def split(digits: DigitSet, seed: int) -> Sets:
            assert digits is few_mnist.train
            asked.append(seed)
            return digits, digits

        monkeypatch.setattr(promised, "split", split)
        monkeypatch.setitem(
            promised.SEARCHES,
            "article_002",
            lambda sets, device: {"digits": len(sets[0]), "search": {"0.1": 0.5, "0.3": 0.7}},
        )
        found = promised.find_rates("article_002", few_mnist, "cpu")
        assert (found["digits"], found["best_of_search"]) == (120, 0.7)
        assert promised.find_rates("article_001", few_mnist, "cpu") == {}
        assert asked == [promised.SEARCH_SEED]
        assert promised.SEARCH_SEED > 30


class TestArticle000:
    def test_the_file_is_a_network_that_knows_0_to_4(self, few: Sets, tmp_path: Path) -> None:
        promised.pretrain(few[0], 0.03, 0, "cpu", tmp_path)
        model, card = load_checkpoint(tmp_path)
        assert card.class_names == tuple("01234")
        assert model.get_submodule("output").weight.shape == (5, 128)

    def test_fine_tuning_begins_with_the_weights_of_the_file(
        self, few: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        promised.pretrain(few[0], 0.03, 0, "cpu", tmp_path)
        pretrained, _ = load_checkpoint(tmp_path)
        begun: list[nn.Module] = []
        monkeypatch.setattr(promised, "fit", lambda model, *_, **__: begun.append(model))
        promised.tune(few, 0.01, 0, "cpu", tmp_path)
        promised.tune(few, 0.01, 0, "cpu", None)
        from_file, fresh = (model.state_dict() for model in begun)
        weights = pretrained.state_dict()
        assert torch.equal(from_file["conv1.weight"], weights["conv1.weight"])
        assert torch.equal(from_file["fc1.weight"], weights["fc1.weight"])
        assert from_file["output.weight"].shape == (10, 128)
        assert not torch.equal(fresh["fc1.weight"], weights["fc1.weight"])

    def test_its_rate_falls_as_its_answers_advise(self) -> None:
        assert PROMISES["article_000"].config.schedule == "exponential"

    def test_all_of_it(self, few_mnist: MNIST) -> None:
        figures = promised.keep_000(few_mnist, 0, "cpu", FOUND)
        assert 0 <= figures["accuracy"] <= 1
        assert figures.keys() == {"accuracy", "loss", "seconds", "validation_accuracy"}


class TestArticle001:
    @pytest.mark.parametrize("bits", [8, 5, 2])
    def test_takes_the_fewest_bits_that_cost_next_to_nothing(self, bits: int) -> None:
        network = nn.Sequential(nn.Linear(40, 30))
        weights = network[0].weight

        def score(small: nn.Module) -> float:
            levels = len(torch.unique(small.get_submodule("0").weight[0]))
            return 0.99 if levels > 2 ** (bits - 1) - 1 else 0.9

        with torch.no_grad():
            weights.copy_(torch.linspace(-1, 1, weights.numel()).view(40, 30).T)
        found, small = promised.compress(network, score, 0.99)
        assert found == bits
        assert len(torch.unique(small.get_submodule("0").weight[0])) < 2**bits

    def test_all_of_it(self, few_mnist: MNIST, monkeypatch: pytest.MonkeyPatch) -> None:
        short = replace(PROMISES["article_001"].config, epochs=1)
        monkeypatch.setitem(PROMISES, "article_001", replace(PROMISES["article_001"], config=short))
        figures = promised.keep_001(few_mnist, 0, "cpu", {})
        lost = figures["validation_accuracy"] - figures["validation_accuracy_compressed"]
        assert lost <= promised.FEWEST_LOST or figures["bits"] == 8
        assert short.augmentation is not None
        assert short.augmentation.noise > 0


class TestArticle002:
    def test_keeps_the_best_epoch_and_lets_the_rate_fall_where_the_loss_does_not(
        self, few: Sets, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[float] = []

        def lower(state: Any, losses: list[float], patience: int) -> None:
            asked.append(losses[-1])
            state.config = replace(state.config, learning_rate=state.config.learning_rate / 3)

        monkeypatch.setattr(promised, "lower_on_a_plateau", lower)
        config = promised.at_rate(PROMISES["article_002"].config, 0.01, 0)
        model, accuracies, _ = promised.train_until_flat(few, config, "cpu")
        assert len(asked) == len(accuracies) == config.epochs
        assert evaluate(model, Batches(few[1])).accuracy == max(accuracies)

    def test_is_what_its_steps_say(self) -> None:
        config = PROMISES["article_002"].config
        assert config.clip_norm
        assert config.weight_decay
        assert config.augmentation is not None
        assert config.augmentation.rotate
        assert config.augmentation.shift
        network = articles.build("article_002", "as_promised")
        kinds = [type(part).__name__ for part in network.modules()]
        assert kinds.count("BatchNorm2d") == kinds.count("Conv2d")
        assert {"ResidualBlock", "Dropout"} <= set(kinds)

    def test_fine_tunes_the_top_layers_alone_slowly_and_serves_what_comes_out(
        self, few_mnist: MNIST, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tuned: list[tuple[set[str], float]] = []

        def fitted(model: nn.Module, *sets: DigitSet, **options: Any) -> Any:
            learns = {name for name, part in model.named_parameters() if part.requires_grad}
            tuned.append((learns, sets[2].learning_rate))  # type: ignore[attr-defined]
            return fit(model, *sets, **options)

        monkeypatch.setattr(promised, "fit", fitted)
        figures = promised.keep_002(few_mnist, 0, "cpu", FOUND)
        ((learns, rate),) = tuned
        assert all(name.startswith(("blocks.2.", "output.")) for name in learns)
        assert {name.split(".")[0] for name in learns} == {"blocks", "output"}
        assert rate == pytest.approx(0.001)
        assert 0 <= figures["accuracy"] <= 1
        assert figures["digits_until_alarm"] >= 1

    def test_an_alarm_is_given_when_all_digits_are_turned_and_seldom_before(
        self, small_sets: Sets
    ) -> None:
        validation = small_sets[1]
        upright = {image.tobytes() for image in validation.images}

        def confidence(digits: DigitSet) -> Any:
            usual = np.array([image.tobytes() in upright for image in digits.images])
            luck = np.random.default_rng(0).uniform(-0.1, 0.1, len(digits))
            return np.where(usual, 0.9, 0.6) + luck

        found = promised.watch(confidence, validation)
        assert found["false_alarms"] == 0
        assert found["digits_until_alarm"] < 20


class TestTheThirdForm:
    def test_each_article_and_each_rate_is_another_in_the_ledger(self) -> None:
        prints = {
            fingerprint(articles.describe(name, "as_promised", {"learning_rate": rate}))
            for name in PROMISES
            for rate in (0.01, 0.03)
        }
        assert len(prints) == 2 * len(PROMISES)
        accuracy_too = {"learning_rate": 0.01, "accuracy": {"mean": 0.9}}
        assert articles.describe("article_000", "as_promised", accuracy_too) == articles.describe(
            "article_000", "as_promised", {"learning_rate": 0.01}
        )

    @pytest.mark.parametrize("name", PROMISES)
    def test_there_is_one_of_every_article(self, name: str) -> None:
        assert name in promised.KEPT
        assert promised.count_epochs(name) >= 1
        assert build_model(PROMISES[name].model, **PROMISES[name].arguments)

    def test_a_run_is_written_down_with_its_search_and_its_look(
        self, few_mnist: MNIST, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(articles, "load_mnist", lambda: few_mnist)
        monkeypatch.setitem(promised.SEARCHES, "article_002", lambda *_: {"learning_rate": 0.01})
        figures = {"accuracy": 0.5, "loss": 1.0, "seconds": 2.0}
        asked: list[Any] = []

        def keep(mnist: MNIST, seed: int, device: str, found: Any) -> dict[str, float]:
            asked.append((seed, found["learning_rate"]))
            return figures

        monkeypatch.setitem(promised.KEPT, "article_002", keep)
        command = ["articles", "--only", "article_002", "--forms", "as_promised"]
        monkeypatch.setattr("sys.argv", [*command, "--seeds", "2", "--results", str(tmp_path)])
        monkeypatch.setenv("OMP_NUM_THREADS", "1")
        articles.main()
        assert asked == [(0, 0.01), (1, 0.01)]
        record = (tmp_path / "articles.json").read_text()
        assert '"learning_rate": 0.01' in record
        ledger = (tmp_path / "ledger.json").read_text()
        assert ledger.count('"recipe": "article_002 as_promised"') == 2
