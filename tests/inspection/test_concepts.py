"""Concepts: measured in drawn pictures, found as directions where they were put, and in units."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from torch import Tensor

from mnist_lab.data.digit_set import DigitSet
from mnist_lab.inspection.concepts import (
    Dictionary,
    count_loops,
    fit_concept,
    guess_by_class,
    label_concepts,
    pen_width,
    share_explained,
    train_dictionary,
    unit_aurocs,
)
from mnist_lab.inspection.pixels import PixelNetwork, as_pixels, features_of


def ring(row: int, column: int, radius: float, width: float = 2) -> np.ndarray:
    """Return an image of a ring."""
    rows, columns = np.mgrid[:28, :28]
    away = np.hypot(rows - row, columns - column)
    return np.where(np.abs(away - radius) <= width / 2, 255, 0).astype(np.uint8)


def bar(width: int, slope: float = 0.0) -> np.ndarray:
    """Return an image of an upright bar, or of one whose top leans to the right."""
    rows, columns = np.mgrid[:28, :28]
    first = np.round(12 + slope * (14 - rows))
    inside = (columns >= first) & (columns < first + width) & (rows >= 4) & (rows < 24)
    return np.where(inside, 255, 0).astype(np.uint8)


def test_loops_are_counted_on_drawn_rings() -> None:
    eight = np.maximum(ring(8, 14, 4), ring(17, 14, 5))
    within = np.maximum(ring(14, 14, 10), ring(14, 14, 5))
    cut = ring(14, 14, 6)
    cut[12:16, 18:] = 0
    images = [0 * cut, bar(3), ring(14, 14, 6), eight, within, cut]
    assert count_loops(np.stack(images)).tolist() == [0, 0, 1, 2, 2, 0]


def test_a_loop_may_lie_at_the_edge_and_close_across_a_corner() -> None:
    edge = np.zeros((28, 28), np.uint8)
    edge[:, 10] = 255  # paper on either side, which reaches the edge
    diamond = np.zeros((28, 28), np.uint8)
    for row, column in ((9, 10), (10, 9), (10, 11), (11, 9), (11, 11), (12, 10)):
        diamond[row, column] = 255  # hangs together across corners, round two pixels
    assert count_loops(np.stack([edge, diamond])).tolist() == [0, 1]
    assert count_loops(diamond[None], least=3).tolist() == [0]


@pytest.mark.parametrize("width", [2, 3, 5])
def test_the_width_of_a_bar_is_its_width(width: int) -> None:
    # Its ends are edges too: 2 w of 2 L + 2 w.
    expected = 2 * 20 * width / (2 * 20 + 2 * width)
    assert pen_width(bar(width)[None])[0] == pytest.approx(expected, rel=0.05)
    assert pen_width(np.zeros((1, 28, 28), np.uint8)).tolist() == [0]


def test_concepts_say_of_drawn_signs_what_they_are() -> None:
    has = label_concepts(np.stack([ring(14, 14, 6, 4), bar(2), bar(2, 0.4), bar(2, -0.4)]))
    assert has["loop"].tolist() == [True, False, False, False]
    assert has["slant"].tolist() == [False, False, True, False]
    assert has["thick pen"].tolist() == [True, False, False, False]


def made_up(count: int = 2_000, width: int = 20) -> tuple[Tensor, np.ndarray, Tensor]:
    """Return features in which a concept is a direction, who has it, and the direction."""
    generator = np.random.default_rng(0)
    direction = generator.normal(size=width)
    direction /= np.linalg.norm(direction)
    has = generator.random(count) < 0.4
    features = generator.normal(size=(count, width)) + 3 * np.outer(has, direction)
    return torch.from_numpy(features).float(), has, torch.from_numpy(direction).float()


def test_a_probe_finds_the_direction_that_a_concept_has() -> None:
    features, has, direction = made_up()
    probe = fit_concept(features[:1_000], has[:1_000])
    assert float(probe.direction.norm()) == pytest.approx(1, abs=1e-5)
    assert float(probe.direction @ direction) > 0.95
    found = (probe.score(features[1_000:]) > 0).numpy() == has[1_000:]
    assert found.mean() > 0.9


def test_labels_at_random_have_no_direction_that_holds_elsewhere() -> None:
    features, has, direction = made_up()
    mixed = np.random.default_rng(1).permutation(has[:1_000])
    probe = fit_concept(features[:1_000], mixed)
    assert abs(float(probe.direction @ direction)) < 0.6
    found = (probe.score(features[1_000:]) > 0).numpy() == has[1_000:]
    assert found.mean() < 0.65


def test_a_probe_is_the_logistic_regression_of_scikit_learn() -> None:
    features, has, _ = made_up(width=5)
    probe = fit_concept(features, has, steps=2_000)
    theirs = LogisticRegression(C=1e6).fit(features.numpy(), has)
    length = np.linalg.norm(theirs.coef_)
    assert np.allclose(probe.direction.numpy(), theirs.coef_[0] / length, atol=1e-2)
    assert probe.offset == pytest.approx(theirs.intercept_[0] / length, abs=1e-2)


def test_a_concept_that_all_have_has_no_direction() -> None:
    for has in (np.ones(10, bool), np.zeros(10, bool)):
        with pytest.raises(ValueError, match="no direction"):
            fit_concept(torch.randn(10, 3), has)


def test_a_step_along_a_direction_changes_logits_as_the_last_layer_says(
    network: PixelNetwork, small_sets: tuple[DigitSet, DigitSet]
) -> None:
    images = small_sets[0].images
    features = features_of(network, as_pixels(images))
    probe = fit_concept(features, label_concepts(images)["loop"])
    output = network.get_submodule("model.output")
    with torch.no_grad():
        stepped = output(features + 0.5 * probe.direction) - output(features)
        slopes = output.weight @ probe.direction
    assert torch.allclose(stepped, 0.5 * slopes.expand_as(stepped), atol=1e-4)


def test_the_class_alone_says_what_most_of_it_have() -> None:
    has, labels = [True, True, False, False, False], [0, 0, 0, 1, 1]
    assert guess_by_class(has, labels, [1, 0, 2]).tolist() == [False, True, False]


def sums_of_words(count: int = 4_000) -> tuple[Tensor, Tensor]:
    """Return features that are sums of two of twelve directions, and the directions."""
    generator = torch.Generator().manual_seed(0)
    words = torch.linalg.qr(torch.randn(16, 16, generator=generator))[0][:12]
    amounts = torch.zeros(count, 12)
    chosen = torch.rand(count, 12, generator=generator).argsort(1)[:, :2]
    amounts.scatter_(1, chosen, 1 + torch.rand(count, 2, generator=generator))
    return amounts @ words, words


def test_a_dictionary_gives_back_what_is_a_sum_of_few_words_and_is_sparse() -> None:
    features, words = sums_of_words()
    dictionary = train_dictionary(features[:3_000], 24, 2, steps=1_500)
    held = features[3_000:]
    codes = dictionary.encode(held)
    assert share_explained(held, dictionary(held)) > 0.85
    assert (codes >= 0).all()
    assert ((codes > 0).sum(1) <= 2).all()
    assert torch.allclose(dictionary.words.norm(dim=1), torch.ones(24), atol=1e-4)
    likeness = (words @ dictionary.words.T).max(1).values
    assert (likeness > 0.9).sum() >= 9  # most of the twelve are words of the dictionary
    few = train_dictionary(features[:3_000], 24, 1, steps=1_500)
    assert share_explained(held, few(held)) < share_explained(held, dictionary(held)) - 0.2


def test_the_same_seed_gives_the_same_dictionary_and_leaves_torchs_generator_alone() -> None:
    features, _ = sums_of_words(500)
    before = torch.get_rng_state()
    one, same = (train_dictionary(features, 8, 2, steps=5, seed=3) for _ in range(2))
    other = train_dictionary(features, 8, 2, steps=5, seed=4)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(one.words, same.words)
    assert not torch.equal(one.words, other.words)


def test_a_dictionary_uses_at_least_one_unit_and_no_more_than_it_has() -> None:
    for active in (0, 9):
        with pytest.raises(ValueError, match="active"):
            Dictionary(4, 8, active)


def test_the_mean_explains_nothing_and_a_copy_everything() -> None:
    features = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    assert share_explained(features, features) == 1
    assert share_explained(features, features.mean(0).expand(50, 4)) == pytest.approx(0, abs=1e-5)


def test_areas_of_units_are_scikit_learns() -> None:
    generator = np.random.default_rng(0)
    codes = np.maximum(generator.normal(size=(200, 3)), 0)  # with many equal ones
    has = generator.random(200) < 0.3
    expected = [roc_auc_score(has, unit) for unit in codes.T]
    assert np.allclose(unit_aurocs(torch.from_numpy(codes), has), expected)


def test_what_is_below_zero_is_in_no_code() -> None:
    features = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
    dictionary = Dictionary(4, 6, 6)
    found = dictionary.encoder(features - dictionary.middle)
    assert torch.equal(dictionary.encode(features), found.relu())
