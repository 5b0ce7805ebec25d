"""Calibration: by hand, against scikit-learn, and on probabilities that are true."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn import metrics

from mnist_lab.inspection.calibration import (
    brier_score,
    calibration_error,
    chance_gap,
    fit_temperature,
    log_loss,
    reliability,
    soften,
)


def true_logits(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return logits, and labels that are drawn with the probabilities they say."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 2, (count, 10))
    noise = generator.gumbel(size=logits.shape)
    return logits, (logits + noise).argmax(1)


def test_a_bin_holds_what_was_said_and_what_was_right() -> None:
    probabilities = [[0.9, 0.1], [0.1, 0.9], [0.7, 0.3]]
    found = reliability(probabilities, [0, 0, 0], bins=5)
    assert found.counts.tolist() == [0, 0, 0, 1, 2]
    assert found.confidences[3:].tolist() == pytest.approx([0.7, 0.9])
    assert found.accuracies[3:].tolist() == [1, 0.5]
    assert found.error == pytest.approx((0.3 + 2 * 0.4) / 3)
    assert calibration_error(probabilities, [0, 0, 0], bins=5) == found.error


def test_the_edges_belong_to_a_bin() -> None:
    assert reliability([[1.0, 0.0], [0.5, 0.5]], [0, 0], bins=2).counts.tolist() == [1, 1]


def test_a_faultless_network_shows_chance_and_no_more() -> None:
    logits, labels = true_logits(2_000)
    probabilities = soften(logits, 1)
    chance = chance_gap(probabilities)
    assert 0.005 < chance < 0.03
    assert calibration_error(probabilities, labels) == pytest.approx(chance, abs=0.01)
    assert chance_gap(probabilities[:200]) > 2 * chance  # fewer answers, more bias


@pytest.mark.parametrize("factor", [0.4, 1.0, 3.0])
def test_the_temperature_is_found_that_spoilt_the_logits(factor: float) -> None:
    logits, labels = true_logits(20_000)
    temperature = fit_temperature(factor * logits, labels)
    assert temperature == pytest.approx(factor, rel=0.05)
    for other in (0.9 * temperature, 1.1 * temperature):
        assert log_loss(factor * logits, labels, temperature) < log_loss(
            factor * logits, labels, other
        )


def test_a_temperature_changes_no_answer_and_has_to_be_positive() -> None:
    logits, _ = true_logits(100)
    assert np.array_equal(soften(logits, 7).argmax(1), logits.argmax(1))
    with pytest.raises(ValueError, match="above 0"):
        soften(logits, 0)


def test_proper_scores_are_those_of_torch_and_scikit_learn() -> None:
    logits, labels = true_logits(500)
    loss = torch.nn.functional.cross_entropy(torch.tensor(logits), torch.tensor(labels))
    assert log_loss(logits, labels) == pytest.approx(float(loss))
    probabilities = soften(logits, 1)
    of_one = metrics.brier_score_loss(labels == 3, probabilities[:, 3])
    two = np.stack([1 - probabilities[:, 3], probabilities[:, 3]], axis=1)
    assert brier_score(two, (labels == 3).astype(int)) == pytest.approx(2 * of_one)


def test_large_logits_do_not_overflow() -> None:
    logits = np.array([[10_000.0, 0.0], [0.0, 10_000.0]])
    assert log_loss(logits, [0, 0]) == pytest.approx(5_000)
    assert np.isfinite(soften(logits, 0.1)).all()
