"""Digits that are not as MNIST has them: the record of what networks read, and its script."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
import torch

from benchmarks import other_hands, robustness
from mnist_lab.data.corruptions import CORRUPTIONS
from mnist_lab.data.digit_set import DigitSet
from mnist_lab.data.mnist_c import MNIST_C
from mnist_lab.data.normalisation import Normalisation
from mnist_lab.data.other_sets import load_uci_digits
from mnist_lab.handwriting.reader import Reader
from mnist_lab.lessons.records import load_record
from mnist_lab.models.registry import build_model
from mnist_lab.training.batches import Batches
from mnist_lab.training.cards import ModelCard
from mnist_lab.training.config import TrainConfig
from mnist_lab.training.scoring import evaluate
from tests.pages.test_pages_network import FLOORS, HELPED


class TestTheRecord:
    """Floors are what the recipe reaches whatever the seed, and what it owes to augmentation."""

    @pytest.fixture
    def rows(self) -> dict[str, dict[str, Any]]:
        results = load_record("robustness")["results"]
        return {name: entry["rows"] for name, entry in results.items()}

    @pytest.mark.parametrize("row", list(FLOORS))
    def test_the_pages_recipe_is_above_its_floors(self, row: str, rows: dict[str, Any]) -> None:
        assert rows["pages"][row]["n"] >= 3
        assert min(rows["pages"][row]["values"]) > FLOORS[row]

    @pytest.mark.parametrize("row", sorted(HELPED))
    def test_a_plain_network_is_not(self, row: str, rows: dict[str, Any]) -> None:
        assert max(rows["plain"][row]["values"]) < FLOORS[row]

    def test_is_of_the_recipes_that_are_in_use(self) -> None:
        results = load_record("robustness")["results"]
        for name, recipe in robustness.RECIPES.items():
            assert robustness.is_recipe(results[name]["recipe"], recipe), name


class TestTheScript:
    @pytest.fixture
    def few(self, small_sets: tuple[DigitSet, DigitSet]) -> DigitSet:
        return small_sets[1].subset(np.arange(200))

    def test_scores_as_the_network_was_trained_to_see(self, few: DigitSet) -> None:
        model = build_model("linear", seed=0)
        dim = ModelCard.of(model, normalisation=Normalisation(0.5, 4.0))
        rows = {"few": few, "dark": replace(few, images=few.images // 2)}
        found = robustness.score(Reader(model, dim), rows)
        expected = evaluate(model, Batches(few, normalisation=dim.normalisation)).accuracy
        assert list(found) == ["few", "dark"]
        assert found["few"] == expected

    def test_a_table_has_a_line_for_every_row_of_any_column(self) -> None:
        table = robustness.draw_table({"one": {"a": 0.5, "bb": 0.25}, "two": {"c": 1.0}})
        assert table.splitlines() == [
            "         one       two",
            "a     50.00%          ",
            "bb    25.00%          ",
            "c              100.00%",
        ]

    def test_trains_once_and_again_when_the_recipe_changes(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        small_sets: tuple[DigitSet, DigitSet],
    ) -> None:
        monkeypatch.setattr(robustness, "NETWORKS", tmp_path)
        calls = []
        fit = robustness.fit

        def counted(*arguments: Any, **options: Any) -> Any:
            run = fit(*arguments, **options)
            calls.extend([] if run.finished_before else [options["arguments"]])
            return run

        monkeypatch.setattr(robustness, "fit", counted)
        recipe = robustness.Recipe("linear", TrainConfig(epochs=1))
        first, second = (robustness.trained("x", recipe, 0, small_sets).model for _ in range(2))
        assert len(calls) == 1
        assert all(map(torch.equal, first.state_dict().values(), second.state_dict().values()))
        robustness.trained("x", robustness.Recipe("linear", TrainConfig(epochs=2)), 0, small_sets)
        robustness.trained("x", robustness.Recipe("linear", TrainConfig(epochs=2)), 1, small_sets)
        assert len(calls) == 3
        changed = robustness.Recipe("linear", TrainConfig(epochs=2, upstrokes=0.5))
        robustness.trained("x", changed, 1, small_sets)
        assert len(calls) == 4
        (tmp_path / "x_1" / "model.json").write_text("{}")  # of another time
        robustness.trained("x", changed, 1, small_sets)
        assert len(calls) == 5

    def test_rows_say_what_was_done(self, few: DigitSet) -> None:
        rows = robustness.corrupted(few)
        described = robustness.describe_rows(rows)
        assert list(described) == ["as they are", *CORRUPTIONS]
        assert described["blur"] == {
            "digits": 200,
            "dose": CORRUPTIONS["blur"].dose,
            "unit": "pixels",
            "meaning": CORRUPTIONS["blur"].meaning,
        }
        json.dumps(described, allow_nan=False)
        assert not np.array_equal(rows["blur"].images, few.images)

    def test_rows_may_be_those_of_mnist_c(self, few: DigitSet) -> None:
        rows = robustness.corrupted(few, MNIST_C)
        described = robustness.describe_rows(rows)
        assert list(described) == ["as they are", *MNIST_C]
        assert described["fog"]["dose"] == MNIST_C["fog"].dose
        assert not np.array_equal(rows["fog"].images, few.images)


@pytest.fixture(scope="module")
def hands(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """The drawings of a font that matplotlib brings."""
    folder = tmp_path_factory.mktemp("fonts")
    font = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    (folder / font.name).write_bytes(font.read_bytes())
    (folder / "README.txt").write_text("no font")
    return other_hands.load_fonts(folder)


class TestOtherHands:
    def test_draws_every_digit_cropped_and_in_every_slant(self, hands: dict[str, Any]) -> None:
        (drawings,) = hands.values()
        assert len(drawings) == 30
        for drawing in drawings:
            assert max(drawing.shape) == other_hands.LARGE
            assert all(
                d.any() for d in (drawing[:5], drawing[-5:], drawing[:, :5], drawing[:, -5:])
            )
        left, upright, right = drawings[3:6]  # a one leans to the left, stands, leans to the right
        assert upright.shape[1] < min(left.shape[1], right.shape[1])
        assert not np.array_equal(left, right)

    @pytest.mark.parametrize("manner", list(other_hands.MANNERS))
    def test_each_manner_makes_readable_digits(self, manner: str, hands: dict[str, Any]) -> None:
        slants = len(other_hands.SLANTS)
        if manner == "predict":  # takes long: in one slant, as the script does
            hands, slants = {name: hand[1::3] for name, hand in hands.items()}, 1
        digits = other_hands.draw_hands(hands, manner)
        assert digits.images.shape == (10 * slants, 28, 28)
        assert digits.labels.tolist() == [label for label in range(10) for _ in range(slants)]
        assert (digits.images.max(axis=(1, 2)) > 100).all()
        middles = digits.images.astype(float)
        rows = middles.sum(2) @ np.arange(28) / middles.sum((1, 2))
        assert np.abs(rows - 14).max() < 5

    def test_pens_are_as_wide_as_they_should_be(self, hands: dict[str, Any]) -> None:
        thin, marker = (
            other_hands.draw_hands({"one": [drawings[4]] * 30}, manner).images[0, 14].sum() / 255
            for manner in ("thin pen", "marker")
            for drawings in hands.values()
        )  # an upright one's stem
        assert thin == pytest.approx(1, abs=0.3)
        assert marker == pytest.approx(4.5, abs=0.6)

    def test_a_folder_without_fonts_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(SystemExit, match=r"has no \.ttf"):
            other_hands.load_fonts(tmp_path)

    def test_pen_digits_are_drawn_where_their_points_are(self, tmp_path: Path) -> None:
        # A seven: along the top from left to right, then down to the bottom left.
        points = [0, 100, 33, 100, 66, 100, 100, 100, 80, 75, 60, 50, 40, 25, 20, 0]
        file = tmp_path / "penbased.dat"
        file.write_text(", ".join(map(str, [*points, 7])) + "\n" + ", ".join(["0"] * 16 + ["1"]))
        digits = other_hands.load_pen_digits(file)
        assert digits.labels.tolist() == [7, 1]
        seven = digits.images[0].astype(float)
        top, bottom = seven[:8].sum(0), seven[20:].sum(0)
        assert (top > 60).sum() > 10
        assert bottom[14:].sum() == 0 < bottom[:14].sum()

    def test_binary_digits_are_black_or_white(self) -> None:
        binary = other_hands.make_binary(load_uci_digits().subset(np.arange(50)))
        assert ((binary.images < 60) | (binary.images > 195)).mean() > 0.85
