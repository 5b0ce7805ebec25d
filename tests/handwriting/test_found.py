"""Handwriting: an MNIST digit that was enlarged, moved, inverted or repacked is found again."""

from __future__ import annotations

import io
import random
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from mnist_lab.data.digit_set import DigitSet
from mnist_lab.data.mnist import MNIST
from mnist_lab.data.own_files import load_image_folder
from mnist_lab.handwriting import found as handwriting
from mnist_lab.handwriting.found import (
    Steps,
    cut_out,
    find_digit,
    find_digits,
    fit_like_mnist,
    measure_stroke_width,
    normalise_stroke_width,
    read_digit,
    read_digit_image,
    read_digits,
    shrink_whole,
)
from mnist_lab.handwriting.ink import (
    HandwritingError,
    find_ink,
    find_ruled_lines,
    take_paper_away,
    to_grey,
)
from mnist_lab.handwriting.pieces import (
    cut_apart,
    join_pieces,
    put_in_reading_order,
    split_into_pieces,
)
from mnist_lab.handwriting.simulated_pages import PHOTOS, Conditions, Photo, photograph
from mnist_lab.handwriting.strokes import draw_strokes
from tests.drawn_digits import DIGITS, drawings

# Mean absolute difference to the original, as a share of the grey range. Two different digits of
# MNIST differ by 0.16; a digit laid one pixel aside differs from itself by 0.06; enlarged ten times
# and read again it differs by 0.023 on average over 200 digits, 0.054 for one in twenty.
CLOSE_ON_AVERAGE = 0.03
CLOSE = 0.1

Grey = NDArray[np.uint8]
BOX = Image.Resampling.BOX


def difference(one: Grey, other: Grey) -> float:
    return float(np.abs(one.astype(float) - other).mean() / 255)


def enlarge(image: Grey, times: int = 10) -> Grey:
    side = 28 * times
    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC))


@pytest.fixture(scope="module")
def originals(mnist: MNIST) -> Grey:
    """Digits whose strokes have MNIST's ordinary width, which is not changed."""
    low, high = handwriting.STROKE_WIDTH
    widths = [measure_stroke_width(_cropped(image)) for image in mnist.test.images[:200]]
    return mnist.test.images[:200][(np.array(widths) > low) & (np.array(widths) < high)][:60]


def ink_on_paper(image: Grey) -> Image.Image:
    return Image.fromarray(255 - image)


def with_alpha(image: Grey) -> Image.Image:
    """Black ink whose opacity is the digit, on nothing."""
    layers = np.zeros((*image.shape, 4), np.uint8)
    layers[..., 3] = image
    return Image.fromarray(layers)


def coloured_with_alpha(image: Grey) -> Image.Image:
    """A pencil line whose transparent surroundings hide another colour."""
    layers = np.zeros((*image.shape, 4), np.uint8)
    layers[..., :3] = (30, 0, 90)
    layers[..., 3] = image
    return Image.fromarray(layers)


def with_palette(image: Grey) -> Image.Image:
    return ink_on_paper(image).convert("RGB").quantize(32)


def with_palette_and_transparency(image: Grey) -> Image.Image:
    picture = Image.fromarray((image > 127).astype(np.uint8)).convert("P")
    picture.putpalette([255, 255, 255, 0, 0, 0])
    picture.info["transparency"] = 0
    return picture


def in_16_bits(image: Grey) -> Image.Image:
    return Image.fromarray((65_535 - image.astype(np.uint16) * 257).astype(np.uint16))


def in_colour(image: Grey) -> Image.Image:
    """A blue pen on yellow paper."""
    share = image[..., None] / 255
    return Image.fromarray((share * (20, 30, 120) + (1 - share) * (250, 240, 200)).astype(np.uint8))


def off_centre(image: Grey) -> Image.Image:
    page = np.full((900, 1_400), 255, np.uint8)
    page[600 : 600 + len(image), 37 : 37 + len(image)] = 255 - image
    return Image.fromarray(page)


def turned_by_exif(image: Grey) -> Image.Image:
    """Lie on its side, with the note that a camera leaves."""
    picture = ink_on_paper(np.rot90(image).copy())
    picture.getexif()[0x0112] = 6  # turn by 90 degrees clockwise to see it upright
    return picture


WAYS: list[tuple[Callable[[Grey], Image.Image], str]] = [
    (Image.fromarray, "png"),
    (ink_on_paper, "png"),
    (ink_on_paper, "jpg"),
    (ink_on_paper, "bmp"),
    (with_alpha, "png"),
    (with_alpha, "webp"),
    (coloured_with_alpha, "png"),
    (with_palette, "png"),
    (with_palette, "gif"),
    (with_palette_and_transparency, "png"),
    (in_16_bits, "png"),
    (in_16_bits, "tif"),
    (in_colour, "png"),
    (off_centre, "png"),
    (turned_by_exif, "jpg"),
]


class TestFound:
    def test_mnists_own_place_is_found_to_the_pixel(self, mnist: MNIST) -> None:
        exact = 0
        for image in mnist.train.images[:1_000]:
            rows, columns = np.flatnonzero(image.any(1)), np.flatnonzero(image.any(0))
            crop = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            exact += (fit_like_mnist(crop) == image).all()
        assert exact >= 999

    @pytest.mark.parametrize(
        ("way", "suffix"), WAYS, ids=[f"{way.__name__}.{suffix}" for way, suffix in WAYS]
    )
    def test_comes_back_close_to_the_original(
        self, way: Callable[[Grey], Image.Image], suffix: str, originals: Grey, tmp_path: Path
    ) -> None:
        path = tmp_path / f"digit.{suffix}"
        differences = []
        for original in originals[:20]:
            picture = way(enlarge(original))
            if "exif" in way.__name__:
                picture.save(path, exif=picture.getexif(), quality=95)
            else:
                picture.save(path)
            found = read_digit(path).image
            assert found.shape == (28, 28)
            assert found.dtype == np.uint8
            differences.append(difference(found, original))
        assert max(differences) < CLOSE
        assert np.mean(differences) < CLOSE_ON_AVERAGE

    @pytest.mark.parametrize("times", [1, 3, 10, 40])
    def test_whatever_the_size(self, times: int, originals: Grey) -> None:
        differences = [
            difference(find_digit(255 - enlarge(original, times)).image, original)
            for original in originals[:20]
        ]
        assert np.mean(differences) < CLOSE_ON_AVERAGE
        assert max(differences) < CLOSE

    def test_faint_pencil_is_as_black_as_ink(self, originals: Grey) -> None:
        pencil = (200 - enlarge(originals[0]).astype(float) * 0.3).astype(np.uint8)
        assert difference(find_digit(pencil).image, originals[0]) < CLOSE
        assert find_digit(pencil).image.max() > 240

    def test_paper_grain_and_shadow_do_not_count(self, originals: Grey) -> None:
        generator = np.random.default_rng(0)
        paper = 230 + generator.normal(0, 6, (280, 280)) - np.linspace(0, 25, 280)
        photo = (paper - enlarge(originals[0]) * 0.75).clip(0, 255).astype(np.uint8)
        assert difference(find_digit(photo).image, originals[0]) < CLOSE

    def test_image_is_ink_on_0_in_a_box_of_20(self, originals: Grey) -> None:
        for original in originals:
            found = find_digit(255 - enlarge(original)).image
            rows, columns = np.flatnonzero(found.any(1)), np.flatnonzero(found.any(0))
            assert max(np.ptp(rows), np.ptp(columns)) + 1 == 20
            assert found.max() > 200

    def test_the_folder_reader_gives_the_same_image(self, originals: Grey, tmp_path: Path) -> None:
        (tmp_path / "7").mkdir()
        Image.fromarray(255 - enlarge(originals[0])).save(tmp_path / "7" / "a.png")
        digits = load_image_folder(tmp_path, read_digit_image)
        assert (digits.images[0] == read_digit(tmp_path / "7" / "a.png").image).all()


class TestBox:
    def rectangle(self, height: int, width: int, box: tuple[int, int, int, int]) -> Grey:
        page = np.full((height, width), 255, np.uint8)
        left, top, right, bottom = box
        page[top:bottom, left:right] = 0
        return page

    @pytest.mark.parametrize("box", [(40, 10, 52, 70), (0, 30, 9, 50), (80, 60, 100, 80)])
    def test_is_exact_in_pixels(self, box: tuple[int, int, int, int]) -> None:
        assert find_digit(self.rectangle(80, 100, box)).box == box

    def test_is_in_pixels_of_the_picture_where_it_was_shrunk(self) -> None:
        box = (1_200, 300, 1_800, 2_700)
        found = find_digit(self.rectangle(3_000, 4_000, box)).box
        assert np.abs(np.subtract(found, box)).max() <= 4  # one pixel of the working size
        assert all(isinstance(edge, int) for edge in found)

    def test_is_upright_where_the_camera_was_turned(self, tmp_path: Path) -> None:
        picture = Image.fromarray(self.rectangle(80, 100, (10, 20, 30, 70)))
        exif = picture.getexif()
        exif[0x0112] = 6
        picture.save(tmp_path / "turned.png", exif=exif)
        assert read_digit(tmp_path / "turned.png").box == (80 - 70, 10, 80 - 20, 30)

    def test_lies_within_the_picture(self) -> None:
        page = np.zeros((1_003, 2_001), np.uint8)
        page[-1, -1] = page[0, 0] = 255
        left, top, right, bottom = find_digit(page).box
        assert (left, top) == (0, 0)
        assert right <= 2_001
        assert bottom <= 1_003


class TestShapes:
    def test_a_line_one_pixel_wide_stays_visible(self) -> None:
        page = Image.new("L", (1_600, 1_600), 255)
        ImageDraw.Draw(page).line((800, 300, 830, 1_300), fill=0, width=1)
        image = find_digit(np.asarray(page)).image
        rows = np.flatnonzero(image.max(1) > 60)
        assert np.ptp(rows) + 1 >= 19

    def test_a_dash_and_a_dot_fit_too(self) -> None:
        dash = np.full((50, 900), 255, np.uint8)
        dash[25, 20:880] = 0
        image = find_digit(dash).image
        # A line of a fiftieth of its length is drawn as wide as MNIST's strokes are.
        assert (image.any(0).sum(), image.any(1).sum()) == (20, 2)
        dot = np.full((50, 50), 255, np.uint8)
        dot[20, 30] = 0
        assert find_digit(dot).image.max() > 200
        assert find_digit(dot).box == (30, 20, 31, 21)

    def test_a_digit_that_touches_the_rim_is_found(self, originals: Grey) -> None:
        seven = 255 - enlarge(originals[0])
        rows = np.flatnonzero((seven < 128).any(1))
        found = find_digit(seven[rows[0] : rows[-1] + 1])
        assert difference(found.image, originals[0]) < CLOSE


class TestDepth:
    """Grey values of more than 8 bits, and floats."""

    @pytest.mark.parametrize("bits", [10, 12, 16])
    def test_the_highest_value_tells_how_many_bits_there_are(
        self, bits: int, originals: Grey, tmp_path: Path
    ) -> None:
        full = 2**bits - 1
        values = (full - enlarge(originals[0]) * (full / 255)).astype(np.uint16)
        Image.fromarray(values).save(tmp_path / "deep.tif")
        assert difference(read_digit(tmp_path / "deep.tif").image, originals[0]) < CLOSE

    @pytest.mark.parametrize("hole", [np.nan, np.inf, -np.inf])
    def test_floats_may_have_holes(self, hole: float, originals: Grey, tmp_path: Path) -> None:
        values = enlarge(originals[0]).astype(np.float32) / 255
        values[3, 3] = hole
        Image.fromarray(values).save(tmp_path / "float.tif")
        assert difference(read_digit(tmp_path / "float.tif").image, originals[0]) < CLOSE


class TestRefusal:
    def refusal(self, path: Path) -> str:
        with pytest.raises(HandwritingError) as caught:
            read_digit(path)
        message = str(caught.value)
        assert str(path) in message
        assert message.endswith(".")
        assert "\n" not in message
        return message

    @pytest.mark.parametrize("level", [0, 128, 255])
    def test_a_blank_page(self, level: int, tmp_path: Path) -> None:
        Image.new("L", (40, 30), level).save(tmp_path / "blank.png")
        assert "shows no digit" in self.refusal(tmp_path / "blank.png")

    @pytest.mark.parametrize("deep", [False, True])
    def test_a_page_with_nothing_but_grain(self, deep: bool, tmp_path: Path) -> None:
        grain = 230 + np.random.default_rng(0).normal(0, 3, (100, 80))
        values = (grain * 257).astype(np.uint16) if deep else grain.astype(np.uint8)
        Image.fromarray(values).save(tmp_path / "grain.png")
        assert "shows no digit" in self.refusal(tmp_path / "grain.png")

    def test_a_texture(self, tmp_path: Path) -> None:
        """Joining tens of thousands of pieces took minutes."""
        noise = np.random.default_rng(0).integers(0, 256, (700, 800)).astype(np.uint8)
        Image.fromarray(noise).save(tmp_path / "noise.png")
        message = self.refusal(tmp_path / "noise.png")
        assert "pieces of ink" in message

    @pytest.mark.parametrize("mode", ["L", "1", "RGB", "RGBA", "P", "I;16"])
    def test_a_picture_of_one_pixel(self, mode: str, tmp_path: Path) -> None:
        Image.new(mode, (1, 1)).save(tmp_path / "pixel.png")
        assert "shows no digit" in self.refusal(tmp_path / "pixel.png")

    def test_nothing_at_all(self) -> None:
        for shape in ((0, 0), (0, 5), (5, 0)):
            with pytest.raises(HandwritingError, match=r"^the picture shows no digit.*\.$"):
                find_digit(np.zeros(shape, np.uint8))

    def test_text_and_an_empty_file(self, tmp_path: Path) -> None:
        for content in (b"this is text", b""):
            (tmp_path / "seven.png").write_bytes(content)
            assert "is no image" in self.refusal(tmp_path / "seven.png")

    def test_a_folder_and_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        assert "is a folder" in self.refusal(tmp_path)
        assert "does not exist" in self.refusal(tmp_path / "nothing.png")
        (tmp_path / "file").write_text("")
        self.refusal(tmp_path / "file" / "below.png")
        self.refusal(tmp_path / ("x" * 500))

    def test_a_name_that_no_file_can_have(self) -> None:
        with pytest.raises(HandwritingError):
            read_digit("a\0b.png")

    def test_too_many_pixels(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        Image.new("L", (1_001, 1_000), 255).save(tmp_path / "huge.png")
        monkeypatch.setattr(handwriting, "MAX_PIXELS", 1_000_000)
        assert "has 1001x1000 pixels; at most 1 million" in self.refusal(tmp_path / "huge.png")

    def test_pillow_does_not_warn_of_what_is_allowed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        page = Image.new("L", (30, 30), 255)
        page.putpixel((3, 4), 0)
        page.save(tmp_path / "large.png")
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 600)  # Pillow warns beyond it
        assert read_digit(tmp_path / "large.png").box == (3, 4, 4, 5)

    def test_what_pillow_takes_for_a_bomb(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        Image.new("L", (30, 30), 255).save(tmp_path / "bomb.png")
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 400)  # Pillow raises at twice its limit
        assert "is too large" in self.refusal(tmp_path / "bomb.png")

    @pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP"])
    def test_damage_gives_a_picture_or_a_sentence(
        self, kind: str, originals: Grey, tmp_path: Path
    ) -> None:
        stream = io.BytesIO()
        Image.fromarray(255 - enlarge(originals[0], 3)).save(stream, kind)
        whole = stream.getvalue()
        draw = random.Random(0)
        refused = 0
        for number in range(60):
            content = bytearray(whole)
            if number % 2:
                content = content[: draw.randrange(len(content))]
            else:
                for _ in range(draw.choice([1, 3, 10])):
                    content[draw.randrange(min(len(content), 400))] = draw.randrange(256)
            path = tmp_path / f"damaged{number}"
            path.write_bytes(content)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Pillow warns of what it repairs
                try:
                    read_digit(path)
                except HandwritingError:  # anything else fails the test
                    refused += 1
        assert refused > 5


class TestStrokes:
    def test_size_and_place_on_the_pad_do_not_matter(self) -> None:
        plain = {digit: draw_strokes(strokes) for digit, strokes in DIGITS.items()}
        for digit, name, strokes in drawings():
            if "lean" not in name and name not in ("tiny", "large"):
                assert difference(draw_strokes(strokes), plain[digit]) < 0.003

    def test_the_digit_fills_the_box_and_its_centre_of_mass_is_mnists(self) -> None:
        for strokes in DIGITS.values():
            image = draw_strokes(strokes)
            rows, columns = np.flatnonzero(image.any(1)), np.flatnonzero(image.any(0))
            assert max(np.ptp(rows), np.ptp(columns)) + 1 == handwriting.DIGIT_BOX
            share = image / image.sum(dtype=float)
            assert abs(share.sum(1) @ np.arange(28) - 14) <= 0.5
            assert abs(share.sum(0) @ np.arange(28) - 14) <= 0.5

    def test_lines_are_as_dark_and_as_wide_as_mnists(self, mnist: MNIST) -> None:
        drawn = np.mean([draw_strokes(strokes).mean() for strokes in DIGITS.values()])
        assert drawn == pytest.approx(mnist.train.images.mean(), rel=0.1)

    def test_points_on_the_way_change_nothing_and_pressure_is_left_aside(self) -> None:
        straight = draw_strokes([[(0, 0), (3, 10)]])
        assert np.array_equal(draw_strokes([[(0, 0), (1.5, 5), (3, 10)]]), straight)
        assert np.array_equal(draw_strokes([[(0, 0, 0.2), (3, 10, 0.9)]]), straight)

    def test_a_dot_is_a_dot(self) -> None:
        image = draw_strokes([[(4, 4)]])
        assert image[14, 14] == 255
        assert np.array_equal(image[1:, 1:], image[1:, 1:].T)

    def test_a_thin_pen_leaves_a_thin_line(self) -> None:
        thin, wide = (draw_strokes([[(0, 0), (0, 9)]], pen=pen) for pen in (1, 4))
        assert thin.any(axis=0).sum() <= 2
        assert wide.any(axis=0).sum() >= 4
        assert thin.any(axis=1).sum() == wide.any(axis=1).sum() == 20

    @pytest.mark.parametrize("pen", [0, -1, 20, float("nan")])
    def test_a_pen_that_cannot_be_is_refused(self, pen: float) -> None:
        with pytest.raises(ValueError, match="pixels wide"):
            draw_strokes([[(0, 0), (1, 1)]], pen=pen)

    def test_without_the_fit_a_digit_stays_where_it_was_drawn(self) -> None:
        image = draw_strokes([[(0.25, 0.25), (0.25, 0.5)]], pen=2, fit=False)
        rows, columns = np.flatnonzero(image.any(axis=1)), np.flatnonzero(image.any(axis=0))
        assert columns.tolist() == [6, 7]
        assert (rows[0], rows[-1]) == (6, 14)
        assert not draw_strokes([[(3, 3), (4, 9), (-5, 1e9)]], fit=False)[:, -3:].any()

    def test_without_the_centre_of_mass_the_box_is_in_the_middle(self) -> None:
        seven = [[(0.0, 0.0), (0.6, 0.0), (0.2, 1.0)]]
        image = draw_strokes(seven, centre_of_mass=False)
        rows = np.flatnonzero(image.any(axis=1))
        assert rows[[0, -1]].tolist() == [4, 23]
        assert not np.array_equal(image, draw_strokes(seven))

    def test_strokes_without_points_do_not_count(self) -> None:
        drawn = draw_strokes([[], [(0, 0), (0, 9)], []])
        assert np.array_equal(drawn, draw_strokes([[(0, 0), (0, 9)]]))

    @pytest.mark.parametrize(
        "strokes",
        [
            [],
            [[]],
            [[(1,)]],
            [[(0, 0), (float("nan"), 1)]],
            [[(0, float("inf"))]],
            [[(-1e300, 0), (1e300, 0)]],
            [["ab"]],
            [3],
        ],
    )
    def test_what_is_no_stroke_is_refused(self, strokes: list[list[tuple[float, float]]]) -> None:
        with pytest.raises(HandwritingError, match=r"\.$"):
            draw_strokes(strokes)


# --- Pages of several digits ---------------------------------------------------------------------


@dataclass(frozen=True)
class Page:
    """A made-up photo: MNIST's digits in lines, and what a camera and paper add to them."""

    grey: Grey
    indices: list[int]  # of the digits, in reading order
    boxes: list[tuple[int, int, int, int]]  # of their ink


def make_page(
    digits: Grey, rows: int, columns: int, *, shadow: bool = False, ruled: bool = False,
    noise: float = 0.0, slope: float = 0.0, white_on_black: bool = False, seed: int = 0,
) -> Page:  # fmt: skip
    """Lay `rows * columns` of the digits on paper, each three times as large."""
    generator = np.random.default_rng(seed)
    cell, rim = 84, 40
    height, width = rows * cell + 2 * rim, columns * cell + 2 * rim
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    light = np.ones((height, width))
    if shadow:  # light from the left, and the edge of a hand's shadow across the page
        light = 1 - 0.4 * x + 0.1 * y * y
        light[y + 0.3 * x > 0.8] -= 0.2
    paper = np.full((height, width), 0.85)
    if ruled:
        for start in range(rim, height, cell // 2):
            line = start + np.round(np.arange(width) * np.tan(np.radians(1))).astype(int)
            for thickness in (0, 1):
                inside = line + thickness < height
                paper[line[inside] + thickness, np.flatnonzero(inside)] = 0.6
    ink = np.zeros((height, width))
    indices, boxes = [], []
    for row in range(rows):
        for column in range(columns):
            index = int(generator.integers(len(digits)))
            large = enlarge(digits[index], 3) / 255
            top = rim + row * cell + int(generator.integers(-8, 8)) + round(slope * column * cell)
            left = rim + column * cell + int(generator.integers(-3, 3))
            place = ink[top : top + cell, left : left + cell]
            np.maximum(place, large, out=place)
            dark = large > 0.4
            if not dark.any():
                continue
            down, across = np.flatnonzero(dark.any(axis=1)), np.flatnonzero(dark.any(axis=0))
            indices.append(index)
            boxes.append(
                (left + across[0], top + down[0], left + across[-1] + 1, top + down[-1] + 1)
            )
    values = 255 * light * (paper * (1 - ink) + 0.15 * ink)
    if white_on_black:
        values = 255 - values
    grey = (values + generator.normal(0, noise, values.shape)).clip(0, 255).astype(np.uint8)
    return Page(grey, indices, boxes)


@pytest.fixture(scope="module")
def many(mnist: MNIST) -> Grey:
    return mnist.train.images[:500]


PAPERS: dict[str, dict[str, Any]] = {
    "clean": {},
    "white on black": {"white_on_black": True},
    "shadow": {"shadow": True, "noise": 4},
    "ruled": {"ruled": True, "noise": 3},
    "shadow on ruled paper": {"shadow": True, "ruled": True, "noise": 4},
    "lines that climb": {"slope": -0.06},
}


class TestPages:
    @pytest.mark.parametrize("paper", PAPERS)
    def test_every_digit_is_found_in_reading_order(self, paper: str, many: Grey) -> None:
        right = 0
        for seed in range(3):
            page = make_page(many, 3, 6, seed=seed, **PAPERS[paper])
            found = find_digits(page.grey)
            if len(found) != len(page.boxes):
                continue
            right += 1
            off = np.abs(np.array([digit.box for digit in found]) - page.boxes).max(axis=1)
            assert np.mean(off <= 6) > 0.9  # here and there MNIST has a speck beside a digit
            for digit, index in zip(found, page.indices, strict=True):
                assert difference(digit.image, many[index]) < 0.13
        assert right >= 2, "a page of 18 may hold one that touches its neighbour"

    def test_one_digit_is_one_digit(self, many: Grey) -> None:
        """MNIST has broken strokes and very wide digits; both were once taken for two."""
        counts = [len(find_digits(255 - enlarge(image, 5))) for image in many[:200]]
        assert np.mean(np.array(counts) == 1) >= 0.985

    def test_digits_that_touch_are_cut_apart(self, mnist: MNIST) -> None:
        """Two noughts, pushed together until their ink meets."""
        noughts = mnist.train.images[mnist.train.labels == 0][:20]
        cut = 0
        for one, other in zip(noughts[::2], noughts[1::2], strict=True):
            halves = [_cropped(enlarge(image, 4)) for image in (one, other)]
            height = max(len(half) for half in halves)
            tall = [np.pad(half, ((height - len(half), 0), (0, 0))) for half in halves]
            joined = np.concatenate([tall[0], tall[1][:, 2:]], axis=1)
            page = np.pad(joined, 30)
            if page.shape[1] - 60 > 1.6 * height:
                cut += len(find_digits(255 - page)) == 2
            else:
                cut += 1
        assert cut >= 8

    def test_the_bar_of_a_five_belongs_to_it(self) -> None:
        page = Image.new("L", (300, 300), "white")
        draw = ImageDraw.Draw(page)
        draw.line((120, 60, 200, 55), "black", 10)
        draw.line((118, 72, 112, 130), "black", 10)
        draw.arc((80, 120, 190, 230), 230, 150, "black", 10)
        (found,) = find_digits(np.asarray(page))
        assert found.box[1] <= 58

    def test_specks_are_no_digits(self, many: Grey) -> None:
        page = make_page(many, 1, 4, seed=3)
        grey = page.grey.copy()
        grey[10:14, 10:14] = 0
        grey[-12:-8, 200:205] = 0
        assert len(find_digits(grey)) == len(page.boxes)

    def test_a_file_gives_the_same(self, many: Grey, tmp_path: Path) -> None:
        page = make_page(many, 2, 3)
        Image.fromarray(page.grey).save(tmp_path / "page.png")
        expected = [digit.box for digit in find_digits(page.grey)]
        assert [digit.box for digit in read_digits(tmp_path / "page.png")] == expected

    def test_paper_with_nothing_but_lines(self, many: Grey) -> None:
        paper = make_page(np.zeros_like(many), 3, 6, ruled=True).grey
        with pytest.raises(HandwritingError, match="only ruled lines"):
            find_digits(paper)

    def test_a_bar_in_a_tight_crop_is_no_ruled_line(self, mnist: MNIST) -> None:
        seven = mnist.train.images[mnist.train.labels == 7][0]
        crop = np.pad(_cropped(enlarge(seven, 10)), 3)
        assert difference(find_digit(255 - crop).image, seven) < CLOSE


def _cropped(image: Grey) -> Grey:
    rows, columns = np.flatnonzero(image.any(axis=1)), np.flatnonzero(image.any(axis=0))
    return image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


class TestSteps:
    """Single steps: they make up the whole, and each does something."""

    def test_one_after_the_other_they_are_find_digits(self, many: Grey) -> None:
        page = make_page(many, 2, 3, seed=1, ruled=True, noise=3).grey
        ink = find_ink(page)
        pieces = cut_apart(join_pieces(split_into_pieces(ink.mask)))
        expected = [(digit.box, digit.image.tobytes()) for digit in find_digits(page)]
        found = [cut_out(ink, piece) for piece in put_in_reading_order(pieces)]
        assert [(digit.box, digit.image.tobytes()) for digit in found] == expected
        for piece, digit in zip(put_in_reading_order(pieces), found, strict=True):
            alone = fit_like_mnist(normalise_stroke_width(piece.cut_from(ink.ink)))
            assert np.array_equal(alone, digit.image)

    def test_ink_is_what_paper_does_not_give_back(self, many: Grey) -> None:
        page = make_page(many, 2, 3, shadow=True)
        ink = take_paper_away(page.grey)
        assert np.median(ink) < 5
        assert np.allclose(ink, take_paper_away(page.grey.astype(float)))
        left, top, right, bottom = page.boxes[-1]
        assert ink[top:bottom, left:right].max() > 180

    def test_ruled_lines_are_told_from_strokes_on_them(self, many: Grey) -> None:
        page = make_page(many, 2, 3, seed=4, ruled=True)
        ink = take_paper_away(page.grey)
        lines = find_ruled_lines(ink, ink > 40)
        assert lines.mean() > 0.01
        assert ink[lines].max() < 0.7 * ink.max()

    def test_aspect(self) -> None:
        bar = np.zeros((60, 20), np.uint8) + 255
        assert fit_like_mnist(bar).any(axis=0).sum() == 7
        assert fit_like_mnist(bar, Steps(aspect=False)).any(axis=0).sum() == 20

    def test_centre_of_mass(self) -> None:
        wedge = np.tri(40, dtype=np.uint8) * 255
        placed = fit_like_mnist(wedge, Steps(centre_of_mass=False))
        assert np.flatnonzero(placed.any(axis=1))[[0, -1]].tolist() == [4, 23]
        assert not np.array_equal(placed, fit_like_mnist(wedge))

    def test_smooth(self, originals: Grey) -> None:
        digit = (_cropped(enlarge(originals[0])) > 127).astype(np.uint8) * 255
        assert set(np.unique(fit_like_mnist(digit, Steps(smooth=False)))) == {0, 255}
        assert len(np.unique(fit_like_mnist(digit))) > 20

    def test_stroke_width(self, originals: Grey) -> None:
        thin = make_photo(originals, Conditions(pen=0.03)).picture
        plain, left = (find_digit(thin, steps=Steps(stroke_width=wide)).image.mean()
                       for wide in (True, False))  # fmt: skip
        assert plain > 1.3 * left

    def test_paper_and_ruled_lines(self, many: Grey) -> None:
        page = make_page(many, 3, 6, shadow=True, ruled=True, noise=4)
        boxes = [digit.box for digit in find_digits(page.grey)]
        for steps in (Steps(paper=False), Steps(ruled_lines=False)):
            try:
                without = [digit.box for digit in find_digits(page.grey, steps=steps)]
            except HandwritingError:
                without = []
            assert np.mean([box in without for box in boxes]) < 0.9

    def test_the_whole_shrunk_keeps_margin_and_thin_lines(self) -> None:
        page = np.full((280, 280), 255, np.uint8)
        page[100:180, 140:145] = 0
        small = shrink_whole(page)
        assert (small.shape, small.dtype) == ((28, 28), np.uint8)
        assert np.argwhere(small).tolist() == [[row, 14] for row in range(10, 18)]
        assert small.max() == 128


def make_photo(images: Grey, conditions: Conditions, seed: int = 0, shape: Any = (1, 1)) -> Photo:
    labels = np.zeros(len(images), np.int64)
    return photograph(DigitSet(images, labels), *shape, conditions, seed)


def share_of(box: Any, other: Any) -> float:
    """Return what two boxes share, over what they cover together."""
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    shared = max(0, width) * max(0, height)
    return float(shared / (sum((b[2] - b[0]) * (b[3] - b[1]) for b in (box, other)) - shared))


def count_wrong(photo: Photo, picture: Grey, shift: tuple[int, int] = (0, 0)) -> int:
    """Return how many digits are not found, and how many finds are none."""
    across, down = shift
    boxes = [(b[0] + across, b[1] + down, b[2] + across, b[3] + down) for b in photo.boxes]
    try:
        found = [digit.box for digit in find_digits(picture)]
    except HandwritingError:
        found = []
    hits = sum(max((share_of(box, f) for f in found), default=0) > 0.5 for box in boxes)
    return len(boxes) - hits + len(found) - hits


WORSE = {
    "deep hard shadow": Conditions(pen=0.07, hard_shadow=0.6, noise=3),
    "shadow on squares": Conditions(
        pen=0.07, lines="squared", hard_shadow=0.4, gradient=0.3, tilt=2, noise=3, jpeg=75
    ),
    "mostly table": Conditions(
        pen=0.04, table=0.1, tilt=8, perspective=0.2, gradient=0.4, hard_shadow=0.3, noise=4
    ),
    "bright table": Conditions(pen=0.07, paper=0.7, table=0.95, tilt=3, noise=3),
    "pale blue on squares": Conditions(
        pen=0.06, ink=(0.15, 0.2, 0.6), lines="squared", noise=3, gradient=0.2, tilt=1
    ),
    "as bright as the paper": Conditions(
        pen=0.07, ink=(0.9, 0.3, 0.3), paper=(0.25, 0.62, 0.4), noise=3, gradient=0.2, jpeg=80
    ),
    "much compressed": Conditions(pen=0.07, jpeg=15, noise=3),
    "out of focus": Conditions(defocus=5, noise=3, jpeg=80),
}


class TestPhotos:
    """Simulated photos: all digits are found where they are, and nothing else."""

    @pytest.mark.parametrize("name", [*PHOTOS, *WORSE])
    def test_every_digit_is_found(self, name: str, many: Grey) -> None:
        conditions = {**PHOTOS, **WORSE}[name]
        wrong = [
            count_wrong(photo, photo.picture)
            for photo in (make_photo(many, conditions, seed, (3, 5)) for seed in range(3))
        ]
        assert sum(wrong) <= 2  # of 45: MNIST has a digit in two pieces, that count as two

    @pytest.mark.parametrize("pen", ["ball pen", "pencil", "felt marker"])
    @pytest.mark.parametrize(
        "rim", ["black border", "edge of a scan", "finger", "sliver of a table", "rings"]
    )
    def test_what_lies_at_the_rim_is_no_digit(self, rim: str, pen: str, many: Grey) -> None:
        photo = make_photo(many, PHOTOS[pen], seed=1, shape=(3, 5))
        left, top, right, bottom = 60, 40, 50, 40
        page = np.pad(photo.picture, ((top, bottom), (left, right)), mode="edge")
        height, width = page.shape
        y, x = np.mgrid[:height, :width]
        page[{
            "black border": (x < 25) | (y < 15) | (x > width - 20) | (y > height - 22),
            "edge of a scan": (x < 9) | (y < 4),
            "finger": np.hypot(x - width / 2, (y - height - 60) / 2) < 48,
            "sliver of a table": x > width - 45 + 0.1 * y,
            "rings": np.hypot(x - 10, y % 26 - 13) < 6,
        }[rim]] = 30  # fmt: skip
        assert count_wrong(photo, page, (left, top)) == 0

    def test_a_negative_is_read_like_the_picture(self, many: Grey) -> None:
        photo = make_photo(many, PHOTOS["desk lamp"], seed=2, shape=(3, 5))
        assert count_wrong(photo, 255 - photo.picture) <= 1

    def test_a_thick_white_nought_is_no_sheet_of_paper(self, mnist: MNIST) -> None:
        noughts = mnist.train.images[mnist.train.labels == 0][:40]
        for nought in noughts:
            crop = np.pad(_cropped(enlarge(nought, 6)), 6)
            inks = [take_paper_away(grey) for grey in (crop, 255 - crop)]
            assert difference(*(ink.clip(0, 255).astype(np.uint8) for ink in inks)) < 0.1

    def test_strokes_on_ruled_lines_stay_whole(self, many: Grey) -> None:
        """Ink of a digit that lies on a line was once taken away with the line."""
        conditions = Conditions(pen=0.07, noise=3)
        for lines in ("ruled", "squared"):
            bare, ruled = (
                find_digits(make_photo(many, c, seed=6, shape=(3, 5)).picture)
                for c in (conditions, replace(conditions, lines=lines))
            )
            assert len(bare) == len(ruled)
            differences = [difference(a.image, b.image) for a, b in zip(bare, ruled, strict=True)]
            assert np.mean(differences) < 0.03
            assert max(differences) < 0.1

    def test_a_closed_loop_is_not_thinned_to_a_line(self) -> None:
        page = Image.new("L", (300, 300))
        ImageDraw.Draw(page).ellipse((80, 40, 220, 260), fill="white")
        blob = _cropped(np.asarray(page))
        after = normalise_stroke_width(blob)
        assert measure_stroke_width(blob) > 10
        assert (after > 127).mean() > 0.6
        assert measure_stroke_width(after) > 8


class TestColour:
    def test_grey_is_brightness_unless_a_colour_is_clearer(self, originals: Grey) -> None:
        share = enlarge(originals[0])[..., None] / 255
        for ink, paper, channel in (
            ((20, 30, 120), (250, 240, 200), None),
            ((250, 245, 30), (250, 250, 250), 2),
            ((230, 76, 76), (64, 158, 102), 0),
        ):
            picture = (share * ink + (1 - share) * paper).astype(np.uint8)
            image = Image.fromarray(picture)
            expected = image.convert("L") if channel is None else image.getchannel(channel)
            assert np.array_equal(to_grey(picture), np.asarray(expected))

    def test_a_coloured_file_is_read_in_its_clearest_colour(
        self, originals: Grey, tmp_path: Path
    ) -> None:
        share = enlarge(originals[0])[..., None] / 255
        picture = (share * (230, 76, 76) + (1 - share) * (64, 158, 102)).astype(np.uint8)
        Image.fromarray(picture).save(tmp_path / "red.png")
        assert difference(read_digit(tmp_path / "red.png").image, originals[0]) < CLOSE


class TestSmall:
    """Pictures of few pixels, such as MNIST's own."""

    @pytest.mark.parametrize("dark_on_light", [True, False])
    def test_mnists_own_pixels_stay_as_they_are(self, dark_on_light: bool, many: Grey) -> None:
        differences = [
            difference(find_digit(255 - image if dark_on_light else image).image, image)
            for image in many[:300]
        ]
        assert np.mean(differences) < 0.02
        assert np.percentile(differences, 95) < 0.07

    def test_ink_is_ink_where_it_fills_half_of_16_by_16(self, many: Grey) -> None:
        """A surface fitted to so few pixels took paper for ink in 3 of 100."""
        for image in many[:300]:
            small = np.asarray(Image.fromarray(_cropped(image)).resize((16, 16), BOX)) > 127
            for picture in (small, ~small):
                ink = take_paper_away(picture.astype(np.uint8) * 255)
                assert np.array_equal(ink > 127, small)


class TestStrokeWidth:
    @pytest.mark.parametrize("pen", [4, 8, 12, 20, 30])
    def test_is_measured_in_pixels_of_the_result(self, pen: int) -> None:
        page = Image.new("L", (240, 240))
        ImageDraw.Draw(page).line((40, 20, 40, 220), "white", pen)
        digit = _cropped(np.asarray(page))
        assert measure_stroke_width(digit) == pytest.approx(pen * 20 / len(digit), abs=0.3)

    @pytest.mark.parametrize("pen", [3, 6, 36, 50])
    def test_thin_and_thick_pens_come_to_mnists_width(self, pen: int) -> None:
        page = Image.new("L", (300, 300))
        ImageDraw.Draw(page).ellipse((60, 40, 240, 260), outline="white", width=pen)
        before = _cropped(np.asarray(page))
        after = normalise_stroke_width(before)
        low, high = handwriting.STROKE_WIDTH
        assert not low <= measure_stroke_width(before) <= high
        assert low - 0.3 <= measure_stroke_width(after) <= high + 0.3

    def test_an_ordinary_stroke_stays_as_it_is(self) -> None:
        page = Image.new("L", (300, 300))
        ImageDraw.Draw(page).ellipse((60, 40, 240, 260), outline="white", width=25)
        digit = _cropped(np.asarray(page))
        assert normalise_stroke_width(digit) is digit

    def test_fine_strokes_beside_thick_ones_survive(self) -> None:
        page = Image.new("L", (300, 300))
        draw = ImageDraw.Draw(page)
        draw.line((100, 20, 100, 280), "white", 60)
        draw.line((100, 150, 280, 150), "white", 12)
        after = normalise_stroke_width(_cropped(np.asarray(page)))
        assert after[:, -3:].any()

    def test_most_of_mnist_lies_within_the_bounds(self, mnist: MNIST) -> None:
        widths = [measure_stroke_width(_cropped(image)) for image in mnist.train.images[:500]]
        low, high = handwriting.STROKE_WIDTH
        within = (np.array(widths) >= low) & (np.array(widths) <= high)
        assert 0.7 < within.mean() < 0.85
