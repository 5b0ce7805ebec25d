"""Drawings by a program: the same from the same seed, on the sheet, in the hand asked for."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from mnist_lab.data.mnist import MNIST
from mnist_lab.handwriting.simulated_hands import (
    DIGITS,
    HANDS,
    Drawing,
    Hand,
    change_drawing,
    draw_hand,
    draw_on_sheet,
)
from mnist_lab.handwriting.strokes import draw_strokes


def points_of(drawing: Drawing) -> NDArray[np.float64]:
    return np.array([point for stroke in drawing for point in stroke])


def lean_of(drawing: Drawing) -> float:
    """Return how far the top lies to the right of the bottom, as a share of the height."""
    points = points_of(drawing)
    middle = points[:, 0].mean()
    return float(-np.polyfit(points[:, 1], points[:, 0] - middle, 1)[0])


class TestDrawHand:
    def test_labels_come_round_and_a_seed_fixes_all(self) -> None:
        drawings, labels = draw_hand("plain", 3, seed=4)
        assert labels.tolist() == [*range(10)] * 3
        assert labels.dtype == np.int64
        assert draw_hand("plain", 3, seed=4)[0] == drawings
        assert draw_hand("plain", 3, seed=5)[0] != drawings

    def test_no_drawing_is_like_another_of_its_digit(self) -> None:
        drawings, _ = draw_hand("plain", 5, seed=0)
        images = [draw_strokes(drawing).tobytes() for drawing in drawings[3::10]]
        assert len(set(images)) == 5

    def test_fewer_drawings_are_the_first_of_more(self) -> None:
        assert draw_hand("imagined", 2, seed=1)[0] == draw_hand("imagined", 4, seed=1)[0][:20]

    @pytest.mark.parametrize("name", list(HANDS))
    def test_all_lies_on_the_sheet_in_the_sizes_of_the_hand(self, name: str) -> None:
        smallest, largest = HANDS[name].size
        heights = []
        for drawing in draw_hand(name, 30, seed=0)[0]:
            points = points_of(drawing)
            assert points.min() >= 0
            assert points.max() <= 1
            heights.append(np.ptp(points[:, 1]))
        assert smallest < min(heights) < smallest + 0.05
        assert largest - 0.05 < max(heights) < largest

    def test_a_wide_drawing_stays_on_the_sheet_too(self) -> None:
        drawings, _ = draw_hand(Hand(narrow=3.0, size=(0.9, 0.95)), 5, seed=0)
        assert max(points_of(drawing).max() for drawing in drawings) <= 1

    def test_points_follow_one_another_as_closely_as_a_mouses(self) -> None:
        for drawing in draw_hand("imagined", 3, seed=0)[0]:
            for stroke in drawing:
                steps = np.hypot(*np.diff(np.array(stroke), axis=0).T)
                assert 0 < steps.max() < 0.05

    def test_slant_leans_and_its_spread_varies(self) -> None:
        def leans(slant: float, spread: float) -> list[float]:
            steady = Hand(slant=slant, slant_spread=spread, turn_spread=0, wobble=0)
            return [lean_of(drawing) for drawing in draw_hand(steady, 20, seed=0)[0][::10]]

        upright, leaning = leans(0, 0), leans(0.3, 0)
        # A nought has as much ink on the left as on the right.
        assert np.mean(upright) == pytest.approx(0, abs=0.05)
        assert np.mean(leaning) > 0.2
        assert np.std(leans(0, 0.3)) > 10 * np.std(upright) + 0.1

    def test_without_spread_or_wobble_a_drawing_is_its_form(self) -> None:
        steady = Hand(slant_spread=0, turn_spread=0, wobble=0, size=(0.68, 0.68))
        forms = [draw_strokes(strokes).ravel().astype(float) for strokes in DIGITS.values()]
        for digit, drawing in enumerate(draw_hand(steady, 1, seed=0)[0]):
            assert len(drawing) == len(DIGITS[digit])
            drawn = draw_strokes(drawing).ravel().astype(float)
            alike = [np.corrcoef(drawn, form)[0, 1] for form in forms]
            assert np.argmax(alike) == digit
            assert alike[digit] > 0.7

    def test_the_imagined_hand_crosses_its_sevens_and_puts_a_flag_on_its_ones(self) -> None:
        (plain, _), (own, _) = (draw_hand(name, 1, seed=0) for name in ("plain", "imagined"))
        assert (len(plain[7]), len(own[7])) == (1, 2)
        assert np.ptp(points_of(own[1])[:, 0]) > 1.5 * np.ptp(points_of(plain[1])[:, 0])

    def test_what_is_no_hand_or_no_drawing_is_refused(self) -> None:
        with pytest.raises(
            ValueError, match=r"There is no hand 'left'; there are plain, imagined\."
        ):
            draw_hand("left", 1, seed=0)
        with pytest.raises(ValueError, match="at least 1, found 0"):
            draw_hand("plain", 0, seed=0)

    def test_plain_drawings_lie_nearer_to_mnist_than_imagined_ones(self, mnist: MNIST) -> None:
        """The imagined hand is there to be misread: its nearest neighbours mislead more often."""
        known = mnist.train.subset(np.arange(3_000))
        vectors = known.images.reshape(len(known), -1).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        shares = {}
        for name in HANDS:
            drawings, labels = draw_hand(name, 20, seed=0)
            drawn = np.stack([draw_strokes(d) for d in drawings]).reshape(len(labels), -1)
            nearest = (drawn.astype(np.float32) @ vectors.T).argmax(axis=1)
            shares[name] = (known.labels[nearest] == labels).mean()
        assert shares["plain"] > 0.85
        assert shares["imagined"] < shares["plain"] - 0.05


class TestChange:
    def test_size_slant_and_place(self) -> None:
        line = [[(0.5, 0.1), (0.5, 0.9)]]
        assert np.allclose(change_drawing(line, 0.5, 0, 0.1, -0.2), [[(0.6, 0.1), (0.6, 0.5)]])
        # To lean right means that the top goes right.
        assert np.allclose(change_drawing(line, 1, 0.5, 0, 0), [[(0.7, 0.1), (0.3, 0.9)]])


class TestSheet:
    def test_a_line_is_as_wide_as_the_pen_and_nothing_is_grey(self) -> None:
        for pen in (1, 4, 9):
            sheet = draw_on_sheet([[(0.2, 0.5), (0.8, 0.5)]], side=100, pen=pen)
            assert sheet.shape == (100, 100)
            assert set(np.unique(sheet)) == {0, 255}
            assert abs((sheet[:, 50] > 0).sum() - pen) <= 1

    def test_strokes_lie_where_they_were_drawn(self) -> None:
        ys, xs = np.nonzero(draw_on_sheet([[(0.1, 0.2), (0.3, 0.2)]], side=100, pen=3))
        assert abs(ys.mean() - 20) < 1
        assert abs(xs.min() - 10) <= 2
        assert abs(xs.max() - 30) <= 2

    def test_an_empty_sheet_and_what_cannot_be(self) -> None:
        assert not draw_on_sheet([]).any()
        with pytest.raises(ValueError, match="at least 1, found 280 and 0"):
            draw_on_sheet([], pen=0)
