"""Recipes: presets that build, and the articles' listings to the letter."""

from __future__ import annotations

import inspect
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from mnist_lab.data.digit_set import DigitSet
from mnist_lab.data.normalisation import MNIST_NORMALISATION, Normalisation
from mnist_lab.models.registry import build_model
from mnist_lab.training import recipes
from mnist_lab.training.batches import Batches
from mnist_lab.training.loop import make_optimizer, start_training, train_epoch
from mnist_lab.training.preparation import prepare_digits
from mnist_lab.training.recipes import ARTICLES, PRESETS, Recipe
from mnist_lab.training.runs import fit
from mnist_lab.training.scoring import evaluate, score_as_is

FORMS = [(name, form) for name in ARTICLES for form in ("as_printed", "corrected")]


def recipe_of(name: str, form: str) -> Recipe:
    found: Recipe = getattr(ARTICLES[name], form)
    return found


class TestPresets:
    def test_are_the_three_of_the_command_line(self) -> None:
        assert list(PRESETS) == ["fast", "standard", "best"]

    @pytest.mark.parametrize("name", PRESETS)
    def test_build_and_take_a_step(self, name: str, small_sets: tuple[DigitSet, DigitSet]) -> None:
        recipe = PRESETS[name]
        config = recipe.config
        model = build_model(recipe.model, seed=0, **recipe.arguments)
        few = small_sets[0].subset(np.arange(64))
        state = start_training(model, few, replace(config, batch_size=10))
        train_epoch(state)
        assert state.step == -(-max(1, round(64 * config.hardest_share)) // 10)
        assert evaluate(state.scored_model, Batches(small_sets[1])).count == 500

    def test_only_the_digits_to_train_on_get_upstrokes(
        self, small_sets: tuple[DigitSet, DigitSet]
    ) -> None:
        train = small_sets[0]
        bare = replace(PRESETS["standard"].config, upstrokes=0.0)
        assert prepare_digits(train, bare) is train
        prepared = prepare_digits(train, replace(bare, upstrokes=0.5))
        changed = (prepared.images != train.images).any(axis=(1, 2))
        assert set(train.labels[changed]) == {1}
        assert 0.3 < changed[train.labels == 1].mean() < 0.7

    def test_hold_validation_data_out_and_score_in_eval_mode(self) -> None:
        assert all(recipe.holds_out_validation for recipe in PRESETS.values())
        assert all(recipe.scores_in_eval_mode for recipe in PRESETS.values())

    def test_a_larger_preset_trains_longer(self) -> None:
        epochs = [recipe.config.epochs for recipe in PRESETS.values()]
        assert epochs == sorted(epochs)
        assert len(set(epochs)) == 3


class TestArticles:
    """What the listings of articles 000, 001 and 002 say, number by number."""

    def test_are_the_three(self) -> None:
        assert list(ARTICLES) == ["article_000", "article_001", "article_002"]

    @pytest.mark.parametrize(("name", "form"), FORMS)
    def test_optimizer_epochs_and_batches_are_printed(self, name: str, form: str) -> None:
        config = recipe_of(name, form).config
        printed = {
            # SGD(lr=0.001, momentum=0.9), batch_size=64, range(1)
            "article_000": ("sgd", 0.001, 64, 1),
            # optimizer='adam' (Keras: 0.001), epochs=5, batch_size=128
            "article_001": ("adam", 0.001, 128, 5),
            # Adam(lr=0.001), batch_size=64, epochs = 10
            "article_002": ("adam", 0.001, 64, 10),
        }
        found = (config.optimizer, config.learning_rate, config.batch_size, config.epochs)
        assert found == printed[name]
        assert config.momentum == 0.9

    @pytest.mark.parametrize(("name", "form"), FORMS)
    def test_nothing_is_added_that_no_listing_has(self, name: str, form: str) -> None:
        config = recipe_of(name, form).config
        assert config.schedule == "constant"
        assert config.weight_decay == 0
        assert config.label_smoothing == 0
        assert config.clip_norm is None
        assert config.average_decay == 0
        assert config.augmentation is None

    def test_normalisation_is_printed(self) -> None:
        expected = {
            ("article_000", "as_printed"): Normalisation(0.5, 0.5),
            ("article_000", "corrected"): MNIST_NORMALISATION,
            ("article_001", "as_printed"): Normalisation(0.0, 1.0),
            ("article_001", "corrected"): Normalisation(0.0, 1.0),
            ("article_002", "as_printed"): MNIST_NORMALISATION,
            ("article_002", "corrected"): MNIST_NORMALISATION,
        }
        found = {(name, form): recipe_of(name, form).config.normalisation for name, form in FORMS}
        assert found == expected

    def test_adam_is_that_of_its_library(self) -> None:
        for name, epsilon in (("article_001", 1e-7), ("article_002", 1e-8)):
            for form in ("as_printed", "corrected"):
                recipe = recipe_of(name, form)
                optimizer = make_optimizer(build_model(recipe.model), recipe.config)
                assert type(optimizer) is torch.optim.Adam
                assert optimizer.defaults["betas"] == (0.9, 0.999)
                assert optimizer.defaults["eps"] == epsilon

    def test_as_printed_trains_on_all_and_corrected_holds_out(self) -> None:
        for name, form in FORMS:
            assert recipe_of(name, form).holds_out_validation == (form == "corrected")

    def test_only_article_000_as_printed_scores_without_eval(self) -> None:
        without = [pair for pair in FORMS if not recipe_of(*pair).scores_in_eval_mode]
        assert without == [("article_000", "as_printed")]

    def test_scoring_article_000_without_eval_is_worse_than_with(
        self, small_sets: tuple[DigitSet, DigitSet]
    ) -> None:
        recipe = ARTICLES["article_000"].as_printed
        train, validation = (part.subset(np.arange(200)) for part in small_sets)
        model = build_model(recipe.model, **recipe.arguments)
        train_epoch(start_training(model, train, recipe.config))
        held_out = Batches(validation, normalisation=recipe.config.normalisation)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            as_printed = {score_as_is(model.train(), held_out).loss for _ in range(3)}
        assert len(as_printed) == 3  # another score each time it is asked
        assert min(as_printed) > evaluate(model, held_out).loss - 0.02

    def test_arguments_are_the_two_forms(self) -> None:
        assert ARTICLES["article_000"].as_printed.arguments == {}
        assert ARTICLES["article_000"].corrected.arguments == {"corrected": True}
        for name, form in FORMS:
            build_model(recipe_of(name, form).model, **recipe_of(name, form).arguments)

    def test_a_corrected_recipe_can_be_fitted(self, small_sets: tuple[DigitSet, DigitSet]) -> None:
        recipe = ARTICLES["article_000"].corrected
        sets = [part.subset(np.arange(100)) for part in small_sets]
        options = {"arguments": recipe.arguments, "device": "cpu", "progress": False}
        result = fit(recipe.model, *sets, recipe.config, **options)
        assert result.card.arguments == {"corrected": True, "classes": 10}
        assert result.best.epoch == 1


def test_no_two_recipes_share_one_dictionary() -> None:
    everyone = [*PRESETS.values(), *(recipe_of(*pair) for pair in FORMS)]
    assert len({id(recipe.arguments) for recipe in everyone}) == len(everyone)


def test_the_module_says_where_its_numbers_come_from() -> None:
    assert "listings of 000, 001 and 002" in (inspect.getdoc(recipes) or "")
    assert asdict(PRESETS["fast"])["config"]["epochs"] >= 1
