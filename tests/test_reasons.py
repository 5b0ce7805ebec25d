"""Half a sentence from whatever was raised."""

from __future__ import annotations

import pytest

from mnist_lab.reasons import reason_of


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("It is wrong."), "It is wrong"),
        (ValueError("so it goes ..."), "so it goes "),
        (ValueError("one\n\n  two\tthree"), "one two three"),
        (KeyError("F4"), "'F4' is missing"),
        (KeyError(), "KeyError"),
        (OSError(28, "No space left on device", "x"), "No space left on device"),
        (NotImplementedError(), "NotImplementedError"),
        (MemoryError(), "there is not enough memory for it"),
        (ValueError("\x1b[31mred"), r"\x1b[31mred"),
        (ValueError("ö\ud800"), r"ö\ud800"),
    ],
)
def test_is_one_line_without_a_full_stop(error: BaseException, said: str) -> None:
    assert reason_of(error) == said.strip()


def test_is_not_a_wall_of_text() -> None:
    assert reason_of(ValueError("a" * 10**6)) == "a" * 300 + " [...]"
