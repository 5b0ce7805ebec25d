"""Digits in pictures: an MNIST digit that was enlarged, moved or photographed is found again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from mnist_lab.data.geometry import crop_to_ink
from mnist_lab.data.mnist import MNIST
from mnist_lab.data.own_files import load_image_folder
from mnist_lab.handwriting.found import (
    STROKE_WIDTH,
    TOO_LOW,
    Steps,
    cut_out,
    find_digit,
    find_digit_in_file,
    find_digits,
    find_digits_in_file,
    load_digit_image,
    measure_stroke_width,
    normalise_stroke_width,
    search_page,
    shrink_whole,
)
from mnist_lab.handwriting.ink import (
    AT_THE_EDGE,
    IN_A_FRAME,
    TOO_FAINT,
    HandwritingError,
    find_ink,
)
from mnist_lab.handwriting.pieces import (
    cut_apart,
    join_pieces,
    put_in_reading_order,
    split_into_pieces,
    tell_digits,
)
from mnist_lab.handwriting.simulated_pages import PHOTOS, WORSE_PHOTOS, Conditions, Photo
from tests.handwriting.forms import write_beside
from tests.handwriting.pictures import (
    CLOSE,
    CLOSE_ON_AVERAGE,
    Grey,
    difference,
    enlarge,
    make_page,
    make_photo,
)


class TestFound:
    @pytest.mark.parametrize("times", [1, 3])
    def test_comes_back_close_to_the_original(self, times: int, originals: Grey) -> None:
        differences = [
            difference(find_digit(255 - enlarge(original, times)).image, original)
            for original in originals
        ]
        assert np.mean(differences) < CLOSE_ON_AVERAGE
        assert max(differences) < CLOSE

    @pytest.mark.parametrize("times", [10, 40])
    def test_however_large(self, times: int, originals: Grey) -> None:
        for original in originals[:2]:
            found = find_digit(255 - enlarge(original, times)).image
            assert difference(found, original) < CLOSE

    @pytest.mark.parametrize("suffix", ["png", "jpg"])
    def test_in_a_corner_of_a_file(self, suffix: str, originals: Grey, tmp_path: Path) -> None:
        page = np.full((500, 700), 255, np.uint8)
        page[340:480, 20:160] -= enlarge(originals[0], 5)
        Image.fromarray(page).save(tmp_path / f"page.{suffix}")
        found = find_digit_in_file(tmp_path / f"page.{suffix}")
        assert (found.image.shape, found.image.dtype) == ((28, 28), np.uint8)
        assert difference(found.image, originals[0]) < CLOSE
        left, top, right, bottom = found.box
        assert 20 < left < right < 160
        assert 340 < top < bottom < 480

    @pytest.mark.parametrize("find", [find_digit_in_file, find_digits_in_file])
    def test_a_refusal_names_the_file(self, find: Callable[[Path], object], tmp_path: Path) -> None:
        Image.new("L", (40, 30), 255).save(tmp_path / "blank.png")
        for name, complaint in (("blank.png", "shows no digit"), ("none.png", "does not exist")):
            with pytest.raises(HandwritingError, match=complaint) as caught:
                find(tmp_path / name)
            assert str(caught.value).startswith(str(tmp_path / name))

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
        for original in originals[:10]:
            found = find_digit(255 - enlarge(original, 5)).image
            assert max(crop_to_ink(found).shape) == 20
            assert found.max() > 200

    def test_the_folder_reader_gives_the_same_image(self, originals: Grey, tmp_path: Path) -> None:
        (tmp_path / "7").mkdir()
        Image.fromarray(255 - enlarge(originals[0])).save(tmp_path / "7" / "a.png")
        digits = load_image_folder(tmp_path, load_digit_image)
        assert (digits.images[0] == find_digit_in_file(tmp_path / "7" / "a.png").image).all()


class TestBox:
    def rectangle(self, height: int, width: int, box: tuple[int, int, int, int]) -> Grey:
        page = np.full((height, width), 255, np.uint8)
        left, top, right, bottom = box
        page[top:bottom, left:right] = 0
        return page

    @pytest.mark.parametrize("box", [(40, 10, 52, 70), (0, 30, 9, 50), (78, 60, 94, 76)])
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
        assert find_digit_in_file(tmp_path / "turned.png").box == (80 - 70, 10, 80 - 20, 30)

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

    def test_a_file_gives_the_same(self, many: Grey, tmp_path: Path) -> None:
        page = make_page(many, 2, 3)
        Image.fromarray(page.grey).save(tmp_path / "page.png")
        expected = [digit.box for digit in find_digits(page.grey)]
        assert [digit.box for digit in find_digits_in_file(tmp_path / "page.png")] == expected

    def test_a_bar_in_a_tight_crop_is_no_ruled_line(self, mnist: MNIST) -> None:
        seven = mnist.train.images[mnist.train.labels == 7][0]
        crop = np.pad(crop_to_ink(enlarge(seven, 10)), 3)
        assert difference(find_digit(255 - crop).image, seven) < CLOSE


class TestSteps:
    """Single steps: they make up the whole, and each does something."""

    def test_one_after_the_other_they_are_find_digits(self, many: Grey) -> None:
        page = make_page(many, 2, 3, seed=1, ruled=True, noise=3).grey
        ink = find_ink(page)
        pieces, _ = tell_digits(join_pieces(split_into_pieces(ink.mask)))
        pieces = put_in_reading_order(cut_apart(pieces))
        expected = [(digit.box, digit.image.tobytes()) for digit in find_digits(page)]
        found = [cut_out(ink, piece) for piece in pieces]
        assert [(digit.box, digit.image.tobytes()) for digit in found] == expected

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


class TestUnread:
    """What looks like ink and was not read is told, and why; nothing else is."""

    @pytest.mark.parametrize("reason", [TOO_LOW, TOO_FAINT, AT_THE_EDGE, IN_A_FRAME])
    def test_each_with_its_reason(self, reason: str, whole: Grey) -> None:
        form, expected = write_beside(reason, whole)
        found, unread = search_page(form.photograph())
        boxes = [digit.box for digit in found[:3]]
        assert np.abs(np.subtract(boxes, form.boxes[:3])).max() <= 4
        assert {one.reason for one in unread} == {reason}
        apart = [np.abs(np.subtract(one.box, expected)).max() for one in unread]
        assert min(apart) <= 6

    def test_of_a_clean_page_nothing_is_told(self, many: Grey) -> None:
        """The grain of the paper, shadows and lines are no ink that was not read."""
        for name in ("desk lamp", "pencil", "squared paper", "on a table"):
            photo = make_photo(many, PHOTOS[name], seed=1, shape=(3, 5))
            assert [one.reason for one in search_page(photo.picture)[1]] in ([], [TOO_LOW])


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


class TestPhotos:
    """Simulated photos: all digits are found where they are, and nothing else."""

    @pytest.mark.parametrize("name", [*PHOTOS, *WORSE_PHOTOS])
    def test_every_digit_is_found(self, name: str, many: Grey) -> None:
        conditions = {**PHOTOS, **WORSE_PHOTOS}[name]
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
        blob = crop_to_ink(np.asarray(page))
        after = normalise_stroke_width(blob)
        assert measure_stroke_width(blob) > 10
        assert (after > 127).mean() > 0.6
        assert measure_stroke_width(after) > 8


class TestStrokeWidth:
    @pytest.mark.parametrize("pen", [4, 8, 12, 20, 30])
    def test_is_measured_in_pixels_of_the_result(self, pen: int) -> None:
        page = Image.new("L", (240, 240))
        ImageDraw.Draw(page).line((40, 20, 40, 220), "white", pen)
        digit = crop_to_ink(np.asarray(page))
        assert measure_stroke_width(digit) == pytest.approx(pen * 20 / len(digit), abs=0.3)

    @pytest.mark.parametrize("pen", [3, 6, 36, 50])
    def test_thin_and_thick_pens_come_to_mnists_width(self, pen: int) -> None:
        page = Image.new("L", (300, 300))
        ImageDraw.Draw(page).ellipse((60, 40, 240, 260), outline="white", width=pen)
        before = crop_to_ink(np.asarray(page))
        after = normalise_stroke_width(before)
        low, high = STROKE_WIDTH
        assert not low <= measure_stroke_width(before) <= high
        assert low - 0.3 <= measure_stroke_width(after) <= high + 0.3

    def test_an_ordinary_stroke_stays_as_it_is(self) -> None:
        page = Image.new("L", (300, 300))
        ImageDraw.Draw(page).ellipse((60, 40, 240, 260), outline="white", width=25)
        digit = crop_to_ink(np.asarray(page))
        assert normalise_stroke_width(digit) is digit

    def test_fine_strokes_beside_thick_ones_survive(self) -> None:
        page = Image.new("L", (300, 300))
        draw = ImageDraw.Draw(page)
        draw.line((100, 20, 100, 280), "white", 60)
        draw.line((100, 150, 280, 150), "white", 12)
        after = normalise_stroke_width(crop_to_ink(np.asarray(page)))
        assert after[:, -3:].any()

    def test_most_of_mnist_lies_within_the_bounds(self, mnist: MNIST) -> None:
        widths = [measure_stroke_width(crop_to_ink(image)) for image in mnist.train.images[:500]]
        low, high = STROKE_WIDTH
        within = (np.array(widths) >= low) & (np.array(widths) <= high)
        assert 0.7 < within.mean() < 0.85
