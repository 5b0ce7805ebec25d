"""Versions of a network in one folder, and a pointer that says which of them is served.

    versions = Versions("served")
    first = versions.add("runs/standard")       # "v1": checked, and copied
    versions.promote(first)
    duel = compare(load_reader(versions.path()), load_reader("runs/new"), digits)
    if duel.challenger_is_better():
        versions.promote(versions.add("runs/new"))
    versions.roll_back()

The pointer is one small file that is replaced as a whole: whatever is killed when, it names a
version that is there. Versions are never changed, and never removed.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from mnist_lab.data.digit_set import DigitSet
from mnist_lab.files import open_regular, write_atomically
from mnist_lab.handwriting.reader import Reader
from mnist_lab.reasons import reason_of
from mnist_lab.training.checkpoints import load_checkpoint, save_checkpoint

POINTER = "served.json"
_LARGEST_POINTER = 1_000_000  # bytes
_NAME = re.compile(r"v[1-9]\d{0,8}")


class VersionsError(ValueError):
    """A folder of versions that cannot be used as asked; one sentence."""


class Versions:
    """The versions in a folder.

    Parameters
    ----------
    folder : path
        It is made when the first version is added.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    @property
    def names(self) -> list[str]:
        """All versions, the oldest first: v1, v2, ..."""
        if not self.folder.is_dir():
            return []
        names = [place.name for place in self.folder.iterdir() if _NAME.fullmatch(place.name)]
        return sorted(names, key=lambda name: int(name[1:]))

    @property
    def served(self) -> str | None:
        """The version that is served; None if none has been promoted."""
        history = self._read()
        return history[-1] if history else None

    def path(self, name: str | None = None) -> Path:
        """Return the folder of a version's checkpoint; of the one that is served, if none is named.

        Raises
        ------
        VersionsError
            If there is none.
        """
        name = name or self.served
        if name is None:
            raise VersionsError(f"No version in {self.folder} has been promoted.")
        if name not in self.names:
            raise VersionsError(
                f"{self.folder} has no version {name!r:.40}; there are {', '.join(self.names)}."
            )
        return self.folder / name

    def add(self, checkpoint: str | Path) -> str:
        """Copy a checkpoint into the folder and return its name; it is not served yet.

        Raises
        ------
        CheckpointError
            If it is no sound checkpoint.
        """
        model, card = load_checkpoint(checkpoint)
        name = f"v{int(self.names[-1][1:]) + 1 if self.names else 1}"
        save_checkpoint(self.folder / name, model, card)
        return name

    def promote(self, name: str) -> None:
        """Let a version be served from now on.

        Raises
        ------
        VersionsError, CheckpointError
            If there is no such version, or it has been damaged. Then nothing changes.
        """
        load_checkpoint(self.path(name))
        self._write([*self._read(), name])

    def roll_back(self) -> str:
        """Serve what was served before, and return its name.

        Raises
        ------
        VersionsError
            If nothing was.
        """
        history = self._read()
        if len(history) < 2:
            raise VersionsError(f"No other version in {self.folder} was served before.")
        load_checkpoint(self.path(history[-2]))
        self._write(history[:-1])
        return history[-2]

    def _read(self) -> list[str]:
        """Return what has been served, the latest last, what was rolled back left out."""
        pointer = self.folder / POINTER
        try:
            with open_regular(pointer) as file:
                history = json.loads(file.read(_LARGEST_POINTER))["served"]
            if not all(isinstance(name, str) and _NAME.fullmatch(name) for name in history):
                raise ValueError("it names what can be no version")
        except FileNotFoundError:
            return []
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise VersionsError(f"{pointer} cannot be read: {reason_of(error)}.") from error
        return list(history)

    def _write(self, history: list[str]) -> None:
        write_atomically(self.folder / POINTER, json.dumps({"served": history}) + "\n")


@dataclass(frozen=True)
class Duel:
    """Two networks on the same digits.

    Attributes
    ----------
    count : int
        Digits that both read.
    only_champion, only_challenger : int
        Digits that one of them read rightly and the other did not.
    """

    count: int
    only_champion: int
    only_challenger: int

    @property
    def p_value(self) -> float:
        """How often chance alone would divide the digits that decide as unevenly, or more so.

        If both were equally good, each such digit would fall to either like a coin (the exact form
        of McNemar's test). Digits that both read, or neither, say nothing about which is better.
        """
        decided = self.only_champion + self.only_challenger
        return float(binomtest(self.only_challenger, decided).pvalue) if decided else 1.0

    def challenger_is_better(self, level: float = 0.05) -> bool:
        """Whether the challenger won more of them, and chance seldom does as much."""
        return self.only_challenger > self.only_champion and self.p_value < level

    @classmethod
    def of(cls, champion: NDArray[np.bool_], challenger: NDArray[np.bool_]) -> Duel:
        """Return the duel of two networks, given which digits each read rightly: bool (n,)."""
        return cls(
            len(champion), int((champion & ~challenger).sum()), int((challenger & ~champion).sum())
        )


def compare(champion: Reader, challenger: Reader, digits: DigitSet) -> Duel:
    """Let both read the same labelled digits.

    Raises
    ------
    VersionsError
        If they do not know the same classes.
    """
    if champion.class_names != challenger.class_names:
        raise VersionsError("The two networks know different classes, so no digits compare them.")
    right = [
        np.array(reader.read(digits.images).names) == np.array(digits.class_names)[digits.labels]
        for reader in (champion, challenger)
    ]
    return Duel.of(*right)
