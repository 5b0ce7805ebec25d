"""Computation graphs: every score is joined to the loss, and the texts are those given."""

from __future__ import annotations

import pytest
from matplotlib.patches import Rectangle

from mnist_lab.lessons.computation_graphs import draw_scores_to_loss
from mnist_lab.lessons.palette import RED_PEN
from mnist_lab.lessons.pictures import Picture

GIVEN = {
    "pixels": ["x 1", "x 2"],
    "scores": ["z 2", "z 1", "z 0"],
    "probabilities": ["p 0.7", "p 0.2", "p 0.1"],
    "loss": "loss 1.4",
    "on_edges": [["a", "b"], ["c", "d"], ["e", "f"]],
    "under_scores": ["u", "v", "w"],
    "colour": RED_PEN,
    "alt": "A graph.",
}


def drawn(**other: object) -> Picture:
    return draw_scores_to_loss(**{**GIVEN, **other})  # type: ignore[arg-type]


def arrows(picture: Picture) -> list[tuple[float, float]]:
    """Return for each arrow where it begins and where it ends, from left to right."""
    (axes,) = picture.figure.axes
    return [(text.xyann[0], text.xy[0]) for text in axes.texts if hasattr(text, "xyann")]


class TestScoresToLoss:
    def test_every_score_enters_the_one_box_that_leads_to_the_loss(self) -> None:
        picture = drawn()
        (axes,) = picture.figure.axes
        (box,) = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
        left, right = box.get_x(), box.get_x() + box.get_width()
        *entering, leaving = arrows(picture)
        assert len(entering) == 3
        assert all(begin < end <= left for begin, end in entering)
        assert right <= leaving[0] < leaving[1]

    def test_all_texts_are_drawn_and_only_those_that_may_change_are_coloured(self) -> None:
        (axes,) = drawn().figure.axes
        texts = {text.get_text(): text.get_color() for text in axes.texts}
        assert {word for word, colour in texts.items() if colour == RED_PEN} == set("abcdefuvw")
        assert {"x 1", "z 0", "p 0.7", "loss 1.4", "softmax"} <= set(texts)

    def test_a_number_below_zero_has_a_minus_sign_and_a_word_keeps_its_hyphen(self) -> None:
        (axes,) = drawn(under_scores=["b = -1", "well-known", "-0.5"]).figure.axes
        texts = {text.get_text() for text in axes.texts}
        assert {"b = \N{MINUS SIGN}1", "well-known", "\N{MINUS SIGN}0.5"} <= texts

    def test_on_the_way_back_the_arrows_point_left(self) -> None:
        assert all(begin > end for begin, end in arrows(drawn(backward=True)))

    def test_numbers_that_do_not_fit_are_refused(self) -> None:
        with pytest.raises(ValueError, match="differ"):
            drawn(under_scores=["u"])
        with pytest.raises(ValueError, match="2 pixels"):
            drawn(on_edges=[["a"], ["c"], ["e"]])
