"""Versions: a pointer that always leads somewhere, and no promotion by chance."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from mnist_lab.data.digit_set import DigitSet
from mnist_lab.handwriting.reader import Reader, load_reader
from mnist_lab.models.registry import build_model
from mnist_lab.serving.versions import POINTER, Duel, Versions, VersionsError, compare
from mnist_lab.training.cards import ModelCard
from mnist_lab.training.checkpoints import save_checkpoint
from mnist_lab.training.tensor_folders import CheckpointError
from tests.command_line import run


@pytest.fixture
def checkpoints(tmp_path: Path) -> list[Path]:
    places = [tmp_path / f"model{seed}" for seed in range(3)]
    for seed, place in enumerate(places):
        save_checkpoint(place, build_model("linear", seed=seed))
    return places


@pytest.fixture
def versions(tmp_path: Path) -> Versions:
    return Versions(tmp_path / "served")


class TestPointer:
    def test_nothing_is_served_before_a_promotion(
        self, versions: Versions, checkpoints: list[Path]
    ) -> None:
        assert versions.served is None
        assert versions.add(checkpoints[0]) == "v1"
        assert versions.served is None
        with pytest.raises(VersionsError, match="has been promoted"):
            versions.path()

    def test_promoted_and_back(self, versions: Versions, checkpoints: list[Path]) -> None:
        names = [versions.add(place) for place in checkpoints]
        assert names == versions.names == ["v1", "v2", "v3"]
        for name in names:
            versions.promote(name)
            assert versions.served == name
        weights = load_reader(versions.path(), device="cpu").model.state_dict()
        expected = load_reader(checkpoints[2], device="cpu").model.state_dict()
        assert all(torch.equal(weights[name], expected[name]) for name in expected)
        assert versions.roll_back() == versions.served == "v2"
        versions.promote("v3")
        assert [versions.roll_back(), versions.roll_back()] == ["v2", "v1"]
        with pytest.raises(VersionsError, match="No other version"):
            versions.roll_back()
        assert versions.served == "v1"

    def test_what_stops_a_promotion_leaves_the_old_one(
        self, versions: Versions, checkpoints: list[Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Killed before the file is renamed, which is the one moment that changes anything."""
        versions.promote(versions.add(checkpoints[0]))
        name = versions.add(checkpoints[1])

        def killed(*_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", killed)
            with pytest.raises(KeyboardInterrupt):
                versions.promote(name)
        assert versions.served == "v1"
        versions.promote(name)
        assert versions.served == "v2"

    def test_a_damaged_version_is_not_promoted(
        self, versions: Versions, checkpoints: list[Path]
    ) -> None:
        versions.promote(versions.add(checkpoints[0]))
        name = versions.add(checkpoints[1])
        for file in (versions.folder / name).glob("*.safetensors"):
            file.write_bytes(file.read_bytes()[:-100])
        with pytest.raises(CheckpointError):
            versions.promote(name)
        assert versions.served == "v1"
        with pytest.raises(VersionsError, match="has no version 'v9'; there are v1, v2"):
            versions.promote("v9")

    @pytest.mark.parametrize(
        "content", ["", "[]", "{}", '{"served": 3}', '{"served": ["../x"]}', '{"served": [1]}']
    )
    def test_a_damaged_pointer(self, versions: Versions, content: str) -> None:
        versions.folder.mkdir()
        (versions.folder / POINTER).write_text(content)
        with pytest.raises(VersionsError, match="cannot be read"):
            _ = versions.served


class TestDuel:
    @pytest.mark.parametrize(
        ("only_champion", "only_challenger", "p_value", "better"),
        [
            (0, 0, 1.0, False),
            (0, 4, 0.125, False),
            (0, 6, 0.03125, True),
            (6, 0, 0.03125, False),
            (5, 5, 1.0, False),
            (10, 25, 0.0167, True),
            (20, 25, 0.551, False),
        ],
    )
    def test_digits_that_decide(
        self, only_champion: int, only_challenger: int, p_value: float, better: bool
    ) -> None:
        duel = Duel(100, only_champion, only_challenger)
        assert duel.p_value == pytest.approx(p_value, rel=0.01)
        assert duel.challenger_is_better() is better

    def test_two_equal_networks_are_seldom_told_apart(self) -> None:
        draw = np.random.default_rng(0)
        found = [
            Duel.of(draw.random(500) < 0.9, draw.random(500) < 0.9).challenger_is_better()
            for _ in range(400)
        ]
        assert sum(found) <= 20  # of 400; 2.5 % of them, were the test not exact but smooth

    def test_both_read_the_same_digits(self) -> None:
        images = np.random.default_rng(0).integers(0, 256, (60, 28, 28)).astype(np.uint8)
        readers = [Reader(build_model("linear", seed=seed)) for seed in (0, 1)]
        one, other = (reader.read(images).labels for reader in readers)
        duel = compare(*readers, DigitSet(images, other))
        assert (duel.count, duel.only_champion) == (60, 0)
        assert duel.only_challenger == (one != other).sum()

    def test_other_classes(self) -> None:
        model = build_model("linear", seed=0)
        letters = Reader(model, ModelCard.of(model, class_names=tuple("abcdefghij")))
        digits = DigitSet(np.zeros((1, 28, 28), np.uint8), np.zeros(1, np.int64))
        with pytest.raises(VersionsError, match="different classes"):
            compare(Reader(model), letters, digits)


class TestCommand:
    def test_a_better_one_is_promoted_and_a_worse_one_refused(
        self,
        versions: Versions,
        checkpoints: list[Path],
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        images = np.random.default_rng(0).integers(0, 256, (60, 28, 28)).astype(np.uint8)
        labels = load_reader(checkpoints[1], device="cpu").read(images).labels
        np.savez(tmp_path / "new.npz", images=images, labels=labels)
        asked = ("--data", tmp_path / "new.npz", "--json")

        def promote(place: Path) -> tuple[int, dict[str, object]]:
            status, told, _ = run(capsys, "promote", versions.folder, place, *asked)
            return status, json.loads(told.splitlines()[-1])

        status, told = promote(checkpoints[0])  # nothing to compare it with
        assert (status, told["promoted"], told["served"], told["n"]) == (0, "v1", "v1", 0)
        status, told = promote(checkpoints[1])
        assert (status, told["promoted"], told["champion_only"]) == (0, "v2", 0)
        status, told = promote(checkpoints[2])
        assert (status, told["promoted"], told["served"]) == (1, None, "v2")
        assert versions.names == ["v1", "v2"]
        status, told, _ = run(capsys, "promote", versions.folder, "--back")
        assert (status, told) == (0, "v1 is served again.\n")

    def test_neither_or_both(
        self, versions: Versions, checkpoints: list[Path], capsys: pytest.CaptureFixture[str]
    ) -> None:
        for asked in ([], [checkpoints[0], "--back"]):
            status, _, told = run(capsys, "promote", versions.folder, *asked)
            assert status == 2
            assert told.startswith("mnist_lab promote: Name the new checkpoint's folder")
