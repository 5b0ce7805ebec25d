"""What an exception says, as half a sentence."""

from __future__ import annotations

import pytest

from mnist_lab.reasons import reason_of


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("it ends too early."), "it ends too early"),
        (ValueError("two\n  lines ..."), "two lines"),
        (KeyError("F4"), "'F4' is missing"),
        (IndexError(), "IndexError"),
        (MemoryError(), "there is not enough memory for it"),
        (OSError(28, "No space left on device", "x"), "No space left on device"),
        (ValueError("[" * 8_000), "[" * 300 + " [...]"),
    ],
)
def test_are_short_and_never_empty(error: Exception, said: str) -> None:
    assert reason_of(error) == said
