"""Several networks as one, and a student that learns from it."""

from __future__ import annotations

import pytest
import torch

from mnist_lab.models.registry import build_model
from mnist_lab.smaller.teachers import Ensemble, learn_from


def test_its_probabilities_are_the_mean_of_theirs() -> None:
    members = [build_model("linear", seed=seed) for seed in range(3)]
    images = torch.randn(4, 1, 28, 28, generator=torch.Generator().manual_seed(0)) * 3
    mean = torch.stack([member(images).softmax(1) for member in members]).mean(0)
    logits = Ensemble(members)(images)
    assert torch.allclose(logits.exp(), mean, atol=1e-6)
    assert torch.allclose(logits.softmax(1), mean, atol=1e-6)


def test_nobody_is_no_ensemble() -> None:
    with pytest.raises(ValueError, match="needs a member"):
        Ensemble([])


def test_a_teacher_is_kept_as_it_is() -> None:
    teacher = Ensemble([build_model("linear", seed=0)])
    objective = learn_from(teacher, 0.5, 3.0)
    assert (objective.weight, objective.temperature) == (0.5, 3.0)
    with torch.no_grad():
        teacher.members[0].output.bias.add_(1)  # type: ignore[union-attr,operator]
    assert not torch.equal(
        objective.before.state_dict()["members.0.output.bias"],
        teacher.state_dict()["members.0.output.bias"],
    )
