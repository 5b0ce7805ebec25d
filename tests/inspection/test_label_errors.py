"""Label errors: spoilt labels are found, the method's own words hold, and votes fit MNIST."""

from __future__ import annotations

import numpy as np
import pytest
from cleanlab.count import compute_confident_joint

from mnist_lab.data.mnist import load_mnist
from mnist_lab.inspection.label_errors import ASKED, VOTES, find_label_errors


def spoilt(count: int = 2_000, classes: int = 4) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return probabilities, labels of which a tenth is wrong, and which."""
    generator = np.random.default_rng(0)
    right = generator.integers(0, classes, count)
    logits = generator.normal(size=(count, classes))
    logits[np.arange(count), right] += 5
    wrong = generator.random(count) < 0.1
    labels = np.where(wrong, (right + generator.integers(1, classes, count)) % classes, right)
    shares = np.exp(logits)
    return shares / shares.sum(1, keepdims=True), labels, wrong


def test_labels_that_were_spoilt_are_found() -> None:
    probabilities, labels, wrong = spoilt()
    joint, suspects = find_label_errors(probabilities, labels)
    assert wrong[suspects].mean() > 0.9
    assert np.isin(np.flatnonzero(wrong), suspects).mean() > 0.8
    assert joint.sum() - np.trace(joint) == len(suspects)
    own = probabilities[suspects, labels[suspects]]
    assert (np.diff(own) >= 0).all()  # the least probable label first


@pytest.mark.parametrize("classes", [2, 4, 10])
def test_the_suspects_and_who_is_taken_for_whom_are_cleanlabs(classes: int) -> None:
    probabilities, labels, _ = spoilt(classes=classes)
    joint, suspects = find_label_errors(probabilities, labels)
    theirs, places = compute_confident_joint(
        labels, probabilities, calibrate=False, return_indices_of_off_diagonals=True
    )
    assert len(suspects) > 50
    assert set(suspects) == set(places)
    assert np.array_equal(joint, theirs)


def test_a_class_of_which_the_network_is_unsure_has_a_lower_threshold() -> None:
    # Thresholds: 0.9 for class 0; 0.5, the mean of 0.6 and 0.4, for class 1.
    probabilities = [[0.9, 0.1], [0.4, 0.6], [0.6, 0.4]]
    joint, suspects = find_label_errors(probabilities, [0, 1, 1])
    assert suspects.tolist() == []  # 0.6 is likeliest, but below what a 0 is given
    assert joint.tolist() == [[1, 0], [0, 1]]


def test_votes_are_of_five_people_about_the_labels_of_the_test_set() -> None:
    test = load_mnist().test
    assert len({vote.place for vote in VOTES}) == len(VOTES) == 30
    assert sum(vote.confirmed < 3 for vote in VOTES) == 15
    for vote in VOTES:
        assert vote.confirmed + vote.for_other + vote.neither == ASKED
        assert test.labels[vote.place] == vote.label != vote.other
