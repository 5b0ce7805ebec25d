"""Pieces of ink: joined where they are one digit, cut where they are two, put in order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from mnist_lab.data.geometry import crop_to_ink
from mnist_lab.data.mnist import MNIST
from mnist_lab.handwriting import pieces as pieces_module
from mnist_lab.handwriting.ink import HandwritingError
from mnist_lab.handwriting.paper import Mask
from mnist_lab.handwriting.pieces import (
    Piece,
    cut_apart,
    join_pieces,
    put_in_reading_order,
    split_into_pieces,
    tell_digits,
    unite,
)
from tests.handwriting.pictures import Grey, enlarge

Box = tuple[int, int, int, int]


def box_of(piece: Piece) -> Box:
    return piece.left, piece.top, piece.right, piece.bottom


def make_digits(mask: Mask) -> list[Box]:
    """Return the boxes of the digits that are made of a mask, in reading order."""
    pieces = cut_apart(tell_digits(join_pieces(split_into_pieces(mask)))[0])
    return [box_of(piece) for piece in put_in_reading_order(pieces)]


def as_piece(left: int, top: int, right: int, bottom: int) -> Piece:
    return Piece(np.ones((bottom - top, right - left), bool), top, left)


class TestSplit:
    def test_a_piece_is_its_own_ink_where_it_lies(self) -> None:
        mask = np.zeros((60, 90), bool)
        mask[5:50, 10:14] = mask[20:24, 30:80] = True
        pieces = split_into_pieces(mask)
        assert [box_of(piece) for piece in pieces] == [(10, 5, 14, 50), (30, 20, 80, 24)]
        assert all(piece.mask.all() for piece in pieces)
        assert np.array_equal(unite(pieces).mask, crop_to_ink(mask))

    def test_dust_is_left_out(self) -> None:
        mask = np.zeros((60, 90), bool)
        mask[5:50, 10:14] = True
        mask[30:32, 70:72] = True
        assert len(split_into_pieces(mask)) == 1

    def test_a_texture_is_refused(self) -> None:
        """Joining tens of thousands of pieces took minutes."""
        dots = np.zeros((70, 70), bool)
        dots[::2, ::2] = True
        with pytest.raises(HandwritingError, match=r"^cloth shows 1,225 pieces of ink: .*\.$"):
            split_into_pieces(dots, "cloth")


class TestJoin:
    @pytest.mark.parametrize("pitch", [9, 14])
    def test_a_page_of_dots_is_not_held_against_itself(
        self, pitch: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A worksheet of dotted digits to trace took minutes: the work grew with the cube."""
        tried: list[int] = []
        make = pieces_module._make_a_digit

        def count(*arguments: Any) -> bool:
            tried[-1] += 1
            return make(*arguments)

        monkeypatch.setattr(pieces_module, "_make_a_digit", count)
        dot = np.hypot(*np.mgrid[-3:4, -3:4]) <= 3
        for rows in (6, 24):
            page = np.zeros((rows * pitch + 100, 600), bool)
            page[10:80, 20:26] = True  # one digit in ink, so that dots are no digits
            for row in range(rows):
                for column in range(40):
                    top, left = 100 + row * pitch, 10 + column * pitch
                    page[top : top + 7, left : left + 7] |= dot
            tried.append(0)
            pieces = split_into_pieces(page[: 100 + rows * pitch])
            assert len(pieces) == 40 * rows + 1
            join_pieces(pieces)
        assert tried[1] <= 5 * max(tried[0], 1)

    def test_what_grows_is_held_against_the_others_again(self) -> None:
        """A foot in two parts: the outer one is near no other until the inner one has joined."""
        mask = np.zeros((100, 60), bool)
        mask[10:60, 20:24] = True
        inner, outer = np.zeros_like(mask), np.zeros_like(mask)
        inner[62:66, 27:33] = outer[64:68, 36:42] = True
        assert make_digits(mask | outer) == [(20, 10, 24, 60)]
        assert make_digits(mask | inner | outer) == [(20, 10, 42, 68)]

    def test_one_digit_is_one_digit(self, many: Grey) -> None:
        """MNIST has broken strokes and very wide digits; both were once taken for two."""
        counts = [len(make_digits(enlarge(image, 5) > 100)) for image in many]
        assert np.mean(np.array(counts) == 1) >= 0.985

    def test_the_bar_of_a_five_belongs_to_it(self) -> None:
        page = Image.new("L", (300, 300))
        draw = ImageDraw.Draw(page)
        draw.line((120, 60, 200, 55), "white", 10)
        draw.line((118, 72, 112, 130), "white", 10)
        draw.arc((80, 120, 190, 230), 230, 150, "white", 10)
        ((_, top, _, _),) = make_digits(np.asarray(page) > 127)
        assert top <= 58

    def test_specks_are_no_digits(self) -> None:
        mask = np.zeros((100, 200), bool)
        mask[20:80, 30:40] = mask[20:80, 90:100] = True
        mask[5:15, 170:180] = True
        assert len(make_digits(mask)) == 2


class TestCut:
    def test_hatching_is_refused_before_a_thousand_digits_are_made_of_it(self) -> None:
        page = np.zeros((1_440, 1_600), bool)
        x = np.arange(1_600)
        for middle in range(8, 1_440, 16):
            y = (middle + 4 * np.sin(x / 3)).astype(int)
            page[y, x] = page[y + 1, x] = True
        pieces = join_pieces(split_into_pieces(page))
        assert len(pieces) == 90
        with pytest.raises(HandwritingError, match=r"^waves shows 1,001 pieces of ink: .*\.$"):
            cut_apart(pieces, "waves")

    def test_digits_that_touch_are_cut_apart(self, mnist: MNIST) -> None:
        """Two noughts, pushed together until their ink meets."""
        noughts = mnist.train.images[mnist.train.labels == 0][:60]
        counts = []
        for one, other in zip(noughts[::2], noughts[1::2], strict=True):
            halves = [crop_to_ink(enlarge(image, 4)) for image in (one, other)]
            height = max(len(half) for half in halves)
            tall = [np.pad(half, ((height - len(half), 0), (0, 0))) for half in halves]
            joined = np.concatenate([tall[0], tall[1][:, 2:]], axis=1)
            if joined.shape[1] > 1.6 * height:
                counts.append(len(make_digits(np.pad(joined, 30) > 100)))
        assert len(counts) >= 10
        assert np.mean(np.array(counts) == 2) >= 0.8

    @pytest.mark.parametrize("widths", [(76, 64), (64, 76), (70, 62, 74)])
    def test_the_cut_is_where_the_digits_meet_and_not_where_ink_is_thinnest(
        self, widths: tuple[int, ...]
    ) -> None:
        """Thin noughts of unlike widths: the stroke between them is thicker than theirs."""
        stroke, between = 4, 16
        mask = np.zeros((100, sum(widths) + between * (len(widths) - 1)), bool)
        left, edges = 0, []
        for width in widths:
            mask[:, left : left + width] = True
            mask[stroke:-stroke, left + stroke : left + width - stroke] = False
            edges.append((left, left + width))
            left += width + between
        mask[45:54] |= ~mask.any(axis=0)  # a bridge, a little thicker than both strokes
        assert mask[:, edges[0][1]].sum() > mask[:, 40].sum() > 0
        found = make_digits(mask)
        assert len(found) == len(widths)
        for (start, end), (first, _, last, _) in zip(edges, found, strict=True):
            assert abs(first - start) <= between
            assert abs(last - end) <= between

    def test_a_wide_two_is_not_cut(self) -> None:
        """Its hook and its tail would not both be as high as the whole."""
        page = Image.new("L", (220, 100))
        draw = ImageDraw.Draw(page)
        draw.line([(20, 30), (50, 10), (80, 30), (20, 85), (200, 85)], "white", 8)
        assert len(make_digits(np.asarray(page) > 127)) == 1


class TestOrder:
    def test_lines_from_top_to_bottom_each_from_left_to_right(self) -> None:
        boxes = [(10, 10, 30, 50), (60, 16, 80, 56), (120, 22, 140, 62),
                 (10, 104, 30, 144), (70, 112, 90, 152)]  # fmt: skip
        mixed = [as_piece(*boxes[place]) for place in (3, 1, 4, 0, 2)]
        assert [box_of(piece) for piece in put_in_reading_order(mixed)] == boxes

    def test_a_low_digit_belongs_to_its_line(self) -> None:
        boxes = [(10, 10, 30, 50), (40, 36, 48, 48), (60, 12, 80, 52)]
        mixed = [as_piece(*boxes[place]) for place in (2, 1, 0)]
        assert [box_of(piece) for piece in put_in_reading_order(mixed)] == boxes
