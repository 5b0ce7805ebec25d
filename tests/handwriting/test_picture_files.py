"""Picture files: what a person sees in them, or one sentence that says why there is nothing."""

from __future__ import annotations

import io
import random
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mnist_lab.data import pictures
from mnist_lab.handwriting.ink import HandwritingError
from mnist_lab.handwriting.picture_files import load_picture
from tests.handwriting.pictures import Grey, enlarge


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
    (turned_by_exif, "jpg"),
]

# The colours of ink and paper where they are not black and white.
SEEN: dict[Callable[[Grey], Image.Image], tuple[Any, Any]] = {
    Image.fromarray: (255, 0),
    coloured_with_alpha: ((30, 0, 90), 255),
    in_colour: ((20, 30, 120), (250, 240, 200)),
}


class TestFormats:
    """Every way to store a picture gives what a person sees in it."""

    @pytest.mark.parametrize(
        ("way", "suffix"), WAYS, ids=[f"{way.__name__}.{suffix}" for way, suffix in WAYS]
    )
    def test_ink_and_paper_are_where_they_were(
        self, way: Callable[[Grey], Image.Image], suffix: str, originals: Grey, tmp_path: Path
    ) -> None:
        digit = enlarge(originals[0], 5)
        picture = way(digit)
        picture.save(tmp_path / f"digit.{suffix}", exif=picture.getexif(), quality=95)
        found = load_picture(tmp_path / f"digit.{suffix}")
        assert found.dtype == np.uint8
        assert found.shape[:2] == digit.shape
        share = digit[..., None] / 255  # of ink
        ink, paper = SEEN.get(way, (0, 255))
        expected = np.broadcast_to(share * ink + (1 - share) * paper, (*digit.shape, 3))
        if way in (with_palette, with_palette_and_transparency):  # few colours: edges are rough
            solid = np.isin(digit, (0, 255))
            found, expected = found[solid], expected[solid]
        brightest = found if found.ndim == expected.ndim else np.stack([found] * 3, axis=-1)
        # JPEG and WebP lose a little; a grey value in the wrong place would be off by 255.
        assert np.abs(brightest - expected).mean() < 3

    def test_a_grey_picture_has_one_channel_and_a_coloured_one_three(
        self, originals: Grey, tmp_path: Path
    ) -> None:
        digit = enlarge(originals[0], 2)
        for way, dimensions in ((ink_on_paper, 2), (in_16_bits, 2), (in_colour, 3)):
            way(digit).save(tmp_path / "digit.png")
            assert load_picture(tmp_path / "digit.png").ndim == dimensions

    @pytest.mark.parametrize("turn", range(1, 9))
    def test_every_way_to_hold_a_camera(self, turn: int, tmp_path: Path) -> None:
        """What an EXIF orientation of `turn` says is undone, whether turned or mirrored."""
        upright = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
        stored = {
            1: upright,
            2: upright[:, ::-1],
            3: upright[::-1, ::-1],
            4: upright[::-1],
            5: upright.T,
            6: np.rot90(upright),
            7: upright[::-1, ::-1].T,
            8: np.rot90(upright, -1),
        }[turn]
        picture = Image.fromarray(np.ascontiguousarray(stored))
        picture.getexif()[0x0112] = turn
        picture.save(tmp_path / "held.png", exif=picture.getexif())
        assert np.array_equal(load_picture(tmp_path / "held.png"), upright)


class TestDepth:
    """Grey values of more than 8 bits, and floats."""

    @pytest.mark.parametrize("bits", [10, 12, 16])
    def test_the_highest_value_tells_how_many_bits_there_are(
        self, bits: int, tmp_path: Path
    ) -> None:
        full = 2**bits - 1
        values = np.round(np.linspace(0, full, 256)).astype(np.uint16).reshape(16, 16)
        Image.fromarray(values).save(tmp_path / "deep.tif")
        found = load_picture(tmp_path / "deep.tif")
        assert found.dtype == np.uint8
        assert found.ravel().tolist() == list(range(256))

    @pytest.mark.parametrize("hole", [np.nan, np.inf, -np.inf])
    def test_floats_may_have_holes(self, hole: float, tmp_path: Path) -> None:
        values = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
        values[3, 3] = hole
        Image.fromarray(values).save(tmp_path / "float.tif")
        found = load_picture(tmp_path / "float.tif")
        expected = list(range(256))
        expected[3 * 16 + 3] = 0
        assert found.ravel().tolist() == expected


class TestRefusal:
    def refusal(self, path: Path) -> str:
        with pytest.raises(HandwritingError) as caught:
            load_picture(path)
        message = str(caught.value)
        assert str(path) in message
        assert message.endswith(".")
        assert "\n" not in message
        return message

    @pytest.mark.parametrize("mode", ["L", "1", "RGB", "RGBA", "P", "I;16"])
    def test_a_picture_of_one_pixel_is_read(self, mode: str, tmp_path: Path) -> None:
        Image.new(mode, (1, 1)).save(tmp_path / "pixel.png")
        assert load_picture(tmp_path / "pixel.png").shape[:2] == (1, 1)

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
            load_picture("a\0b.png")

    def test_too_many_pixels(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        Image.new("L", (1_001, 1_000), 255).save(tmp_path / "huge.png")
        monkeypatch.setattr(pictures, "_MAX_PIXELS", 1_000_000)
        assert "has 1001x1000 pixels; at most 1 million" in self.refusal(tmp_path / "huge.png")

    def test_pillow_does_not_warn_of_what_is_allowed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        page = Image.new("L", (30, 30), 255)
        page.putpixel((3, 4), 0)
        page.save(tmp_path / "large.png")
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 600)  # Pillow warns beyond it
        assert load_picture(tmp_path / "large.png")[4, 3] == 0

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
                    load_picture(path)
                except HandwritingError:  # anything else fails the test
                    refused += 1
        assert refused > 5
