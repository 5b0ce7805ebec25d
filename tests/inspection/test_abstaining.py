"""Abstaining: scores on logits by hand, curves against scikit-learn, distances against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import mahalanobis
from sklearn import metrics

from mnist_lab.inspection.abstaining import (
    SURENESS,
    FeatureDistance,
    auroc,
    choose_threshold,
    refused_curve,
    risk_at,
    risk_coverage,
)


def test_scores_of_logits_by_hand() -> None:
    logits = np.log([[0.7, 0.2, 0.1], [0.4, 0.4, 0.2]])
    found = {name: score(logits).tolist() for name, score in SURENESS.items()}
    assert found["maximum probability"] == pytest.approx([0.7, 0.4])
    assert found["margin"] == pytest.approx([np.log(3.5), 0])
    assert found["energy"] == pytest.approx([0, 0], abs=1e-12)


def test_energy_alone_sees_that_all_logits_are_larger() -> None:
    logits = np.random.default_rng(0).normal(size=(5, 10))
    moved = {name: score(logits + 3) - score(logits) for name, score in SURENESS.items()}
    assert moved["energy"] == pytest.approx([3] * 5)
    assert moved["maximum probability"] == pytest.approx([0] * 5)
    assert moved["margin"] == pytest.approx([0] * 5)


def test_the_distance_is_that_of_mahalanobis_to_the_nearest_class() -> None:
    generator = np.random.default_rng(0)
    spread = generator.normal(size=(4, 4))
    labels = generator.integers(0, 3, 5_000) * 2  # a class that is not there is no trouble
    features = generator.normal(size=(5_000, 4)) @ spread + 10 * labels[:, None]
    near = FeatureDistance(features, labels, ridge=0)
    means = np.stack([features[labels == name].mean(0) for name in (0, 2, 4)])
    apart = features - means[labels // 2]
    inverse = np.linalg.inv(apart.T @ apart / len(apart))
    others = generator.normal(size=(7, 4)) * 20
    expected = [min(mahalanobis(one, mean, inverse) for mean in means) ** 2 for one in others]
    assert -near(others) == pytest.approx(expected)
    assert near(means) == pytest.approx([0] * 3, abs=1e-6)


def test_a_unit_that_never_fires_does_no_harm() -> None:
    features = np.random.default_rng(0).normal(size=(100, 3))
    features[:, 1] = 0
    assert np.isfinite(FeatureDistance(features, np.arange(100) % 2)(features)).all()


def test_a_threshold_refuses_no_more_than_it_may() -> None:
    sure = np.random.default_rng(0).normal(size=1_000)
    for share in (0, 0.01, 0.5):
        assert (sure < choose_threshold(sure, share)).mean() == share
    assert (np.ones(100) < choose_threshold(np.ones(100), 0.5)).sum() == 0  # ties are answered
    with pytest.raises(ValueError, match="share"):
        choose_threshold(sure, 1)


def test_the_curve_and_its_area_are_those_of_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    ours, others = generator.normal(1, 1, 200).round(1), generator.normal(0, 1, 300).round(1)
    known = np.concatenate([np.ones(200), np.zeros(300)])
    area = metrics.roc_auc_score(known, np.concatenate([ours, others]))
    assert auroc(ours, others) == pytest.approx(area)
    digits, refused = refused_curve(ours, others)
    assert np.trapezoid(refused, digits) == pytest.approx(area)
    assert (digits[0], refused[0], digits[-1], refused[-1]) == (0, 0, 1, 1)
    assert auroc([3, 4], [1, 2]) == 1
    assert auroc([1, 1], [1]) == 0.5


def test_risk_falls_with_coverage_where_the_surest_are_right() -> None:
    sure, right = [0.9, 0.5, 0.8, 0.6], [True, False, True, True]
    coverage, risk = risk_coverage(sure, right)
    assert coverage.tolist() == [0.25, 0.5, 0.75, 1]
    assert risk.tolist() == [0, 0, 0, 0.25]
    assert risk_at(sure, right, 0.75) == 0
    assert risk_at(sure, right, 1.0) == 0.25
    many = np.arange(100)
    assert risk_at(many, many >= 10, 0.95) == pytest.approx(5 / 95)
