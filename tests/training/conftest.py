"""Fixtures of the tests of training."""

from __future__ import annotations

import numpy as np
import pytest

from mnist_lab.models import registry
from tests.training.small_runs import Sets, Tiny


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a network of batch norm, dropout and a kernel."""
    monkeypatch.setitem(registry.MODELS, "tiny", Tiny)
    return "tiny"


@pytest.fixture
def sets(small_sets: Sets) -> Sets:
    """300 digits to train on, 200 to validate on."""
    return small_sets[0].subset(np.arange(300)), small_sets[1].subset(np.arange(200))
