"""Picture files of every format, whole and damaged; pages, transparency, and a quiet Pillow."""

from __future__ import annotations

import io
import logging
import struct
import subprocess
import sys
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, PngImagePlugin

from mnist_lab.data.digit_set import DataError
from mnist_lab.data.pictures import PICTURE_FORMATS, count_pages, is_picture, load_pixels
from mnist_lab.handwriting.found import find_digits
from tests.data.hostile_files import check_sentence, damage

Image.init()
READ = [name for name in PICTURE_FORMATS if name in Image.SAVE]
REFUSED = ["DDS", "EPS", "ICNS", "MSP", "SPIDER"]


def seven(paper: Any = 255, ink: Any = 0, mode: str = "L") -> Image.Image:
    """Draw a seven of which all sides differ."""
    picture = Image.new(mode, (64, 64), paper)
    ImageDraw.Draw(picture).line([(16, 12), (48, 12), (28, 56)], ink, 6)
    return picture


def saved(name: str, picture: Image.Image | None = None, **options: Any) -> bytes:
    """Return a file's bytes."""
    stream = io.BytesIO()
    if picture is None:
        picture = seven().convert("1") if name in ("XBM", "MSP") else seven().convert("RGB")
    picture.save(stream, name, **options)
    return stream.getvalue()


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        load_pixels(path)
    check_sentence(str(caught.value), path)
    return str(caught.value)


class TestFormats:
    @pytest.mark.parametrize("name", READ)
    def test_is_read_whatever_its_file_is_called(self, name: str, tmp_path: Path) -> None:
        path = tmp_path / "picture"
        path.write_bytes(saved(name))
        found = load_pixels(path)
        grey = found if found.ndim == 2 else found.mean(2)
        assert np.abs(grey - np.asarray(seven(), float)).mean() < 12  # JPEG loses a little

    @pytest.mark.parametrize("name", READ)
    def test_damage_gives_a_picture_or_a_sentence_and_nothing_else(
        self, name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        path = tmp_path / "picture"
        for content in damage(saved(name), 60):
            path.write_bytes(content)
            try:
                load_pixels(path)
            except DataError as error:  # anything else, a warning too, fails the test
                check_sentence(str(error), path)
            assert count_pages(path) >= 1
        assert capfd.readouterr() == ("", "")

    @pytest.mark.parametrize("name", REFUSED)
    def test_what_is_not_documented_is_refused(self, name: str, tmp_path: Path) -> None:
        path = tmp_path / "picture.png"
        path.write_bytes(saved(name))
        assert "is no image that can be read" in refusal(path)

    def test_no_other_program_is_started(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object, **__: object) -> None:
            raise AssertionError("a program was started")

        monkeypatch.setattr(subprocess, "Popen", fail)
        path = tmp_path / "a.eps"
        path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n%%EOF\n")
        assert "is no image" in refusal(path)

    @pytest.mark.parametrize(
        "error",
        [RuntimeError("x"), SyntaxError("x"), struct.error("x"), IndexError("x"), KeyError("x"),
         OverflowError("x"), NotImplementedError("x"), TypeError("x"), ZeroDivisionError("x"),
         AssertionError(), MemoryError(), EOFError(), RecursionError("x"), UserWarning("x")],
        ids=lambda error: type(error).__name__,
    )  # fmt: skip
    @pytest.mark.parametrize("where", ["open", "load", "convert"])
    def test_whatever_pillow_raises_is_one_sentence(
        self, where: str, error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object, **__: object) -> None:
            raise error

        path = tmp_path / "a.png"
        seven().convert("P").save(path)
        owner = Image if where == "open" else PngImagePlugin.PngImageFile
        monkeypatch.setattr(owner, where, fail)
        assert "cannot be read as an image: " in refusal(path)

    def test_ctrl_c_is_no_damage(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def stop(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        seven().save(tmp_path / "a.png")
        monkeypatch.setattr(Image, "open", stop)
        with pytest.raises(KeyboardInterrupt):
            load_pixels(tmp_path / "a.png")

    def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "bomb.png"
        header = struct.pack(">2I5B", 12_000, 12_000, 1, 0, 0, 0, 0)
        content = b"\x89PNG\r\n\x1a\n"
        for name, body in ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(100)))):
            checksum = zlib.crc32(name + body)
            content += struct.pack(">I", len(body)) + name + body + struct.pack(">I", checksum)
        path.write_bytes(content)
        assert "has 12000x12000 pixels; at most 100 million can be read" in refusal(path)


class TestQuiet:
    """Nothing of Pillow's talk reaches the reader."""

    def test_a_damaged_note_of_the_camera_is_passed_over(
        self, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        path = tmp_path / "a.jpg"
        for exif in (b"Exif\0\0" + b"garbage", b"Exif\0\0II*\0\x08\0\0\0\xff\xff", b"Exif\0\0"):
            path.write_bytes(saved("JPEG", exif=exif))
            with warnings.catch_warnings(record=True) as heard:
                warnings.simplefilter("always")
                assert load_pixels(path).shape == (64, 64, 3)
            assert not heard
        assert capfd.readouterr() == ("", "")

    def test_what_pillow_logs_stays_in_its_log(self, tmp_path: Path) -> None:
        code = """
            import logging, sys
            import mnist_lab.data.pictures
            logging.getLogger("PIL.TiffImagePlugin").error("More samples per pixel than can be")
            """
        command = [sys.executable, "-c", "\n".join(line.strip() for line in code.splitlines())]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stderr == ""
        assert logging.getLogger("PIL").level == logging.NOTSET  # who asks for it gets it

    def test_what_libtiff_writes_by_itself_reaches_nobody(
        self, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        path = tmp_path / "fax.tif"
        Image.new("RGB", (20, 20)).save(path)
        plain, fax = (struct.pack("<HHIH", 259, 3, 1, kind) for kind in (1, 4))  # the compression
        content = path.read_bytes()
        assert content.count(plain) == 1
        path.write_bytes(content.replace(plain, fax))
        with pytest.raises(DataError, match=r"fax\.tif cannot be read as an image: "):
            load_pixels(path)
        assert capfd.readouterr() == ("", "")
        sys.stderr.write("heard\n")
        assert capfd.readouterr().err == "heard\n"


class TestTransparency:
    """Ink on transparency shows, whatever its colour."""

    @pytest.mark.parametrize("suffix", ["png", "webp", "tif"])
    @pytest.mark.parametrize(
        ("ink", "paper"),
        [
            ((255, 255, 255), 0),
            ((250, 230, 90), 0),  # chalk
            ((0, 0, 0), 255),
            ((30, 0, 90), 255),
            ((200, 40, 30), 255),
        ],
    )
    @pytest.mark.parametrize("opacity", [255, 90])
    def test_is_laid_on_the_other_of_black_and_white(
        self, ink: tuple[int, int, int], paper: int, opacity: int, suffix: str, tmp_path: Path
    ) -> None:
        path = tmp_path / f"a.{suffix}"
        seven((*ink, 0), (*ink, opacity), "RGBA").save(path, lossless=True)
        found = load_pixels(path)
        assert (found[0, 0] == paper).all()
        assert np.abs(found[12, 32].astype(int) - paper).max() > 60
        assert len(find_digits(found)) == 1

    @pytest.mark.parametrize("mode", ["LA", "P"])
    def test_of_grey_and_of_a_palette(self, mode: str, tmp_path: Path) -> None:
        path = tmp_path / "a.png"
        if mode == "LA":
            seven((255, 0), (255, 255), "LA").save(path)
        else:
            picture = seven(0, 1, "P")
            picture.putpalette([255] * 6)
            picture.save(path, transparency=0)
        assert load_pixels(path)[0, 0].max() == 0
        assert load_pixels(path)[12, 32].min() == 255

    def test_a_page_that_lies_on_transparency_stays_on_white(self, tmp_path: Path) -> None:
        picture = Image.new("RGBA", (150, 150), (0, 0, 0, 0))
        picture.paste(seven((250, 250, 245, 255), (20, 20, 60, 255), "RGBA"), (40, 40))
        picture.save(tmp_path / "a.png")
        found = load_pixels(tmp_path / "a.png")
        assert found[0, 0].tolist() == [255, 255, 255]
        assert len(find_digits(found)) == 1

    def test_where_nothing_is_drawn_there_is_white(self, tmp_path: Path) -> None:
        Image.new("RGBA", (9, 9), (0, 0, 0, 0)).save(tmp_path / "a.png")
        assert (load_pixels(tmp_path / "a.png") == 255).all()


class TestPages:
    """The first page is read, and how many there are can be told."""

    @pytest.mark.parametrize("name", sorted({"TIFF", "GIF", "WEBP", "PNG", "AVIF"} & set(READ)))
    @pytest.mark.parametrize("pages", [1, 2, 3])
    def test_are_counted(self, pages: int, name: str, tmp_path: Path) -> None:
        more = [seven(255 - 40 * page).convert("RGB") for page in range(1, pages)]
        path = tmp_path / "a"
        path.write_bytes(saved(name, seven().convert("RGB"), save_all=True, append_images=more))
        assert count_pages(path) == pages
        assert load_pixels(path).max() > 250  # the first has the lightest paper

    def test_a_phones_gain_map_the_sizes_of_an_icon_and_a_smaller_copy_are_none(
        self, tmp_path: Path
    ) -> None:
        path, small = tmp_path / "a", seven().resize((16, 16))
        path.write_bytes(saved("MPO", save_all=True, append_images=[small.convert("RGB")]))
        assert count_pages(path) == 1
        path.write_bytes(saved("ICO", sizes=[(16, 16), (64, 64)]))
        assert count_pages(path) == 1
        small.encoderinfo = {"tiffinfo": {254: 1}}  # type: ignore[attr-defined]
        path.write_bytes(saved("TIFF", seven(), save_all=True, append_images=[small, seven(99)]))
        assert count_pages(path) == 2

    def test_a_tiff_that_leads_back_to_itself_has_an_end(self, tmp_path: Path) -> None:
        content = bytearray(saved("TIFF", seven()))
        start = struct.unpack("<I", content[4:8])[0]
        entries = struct.unpack("<H", content[start : start + 2])[0]
        place = start + 2 + 12 * entries
        content[place : place + 4] = struct.pack("<I", start)
        (tmp_path / "a.tif").write_bytes(content)
        assert count_pages(tmp_path / "a.tif") == 1
        assert load_pixels(tmp_path / "a.tif").shape == (64, 64)


class TestTurns:
    @pytest.mark.parametrize("name", sorted({"JPEG", "PNG", "TIFF", "WEBP", "AVIF"} & set(READ)))
    def test_the_cameras_note_is_followed_once(self, name: str, tmp_path: Path) -> None:
        picture = seven().convert("RGB")
        exif = picture.getexif()
        exif[0x0112] = 6
        path = tmp_path / "a"
        path.write_bytes(saved(name, picture.rotate(90), exif=exif))
        found = load_pixels(path).mean(2)
        assert np.abs(found - np.asarray(seven(), float)).mean() < 12


class TestIsPicture:
    @pytest.mark.parametrize(
        ("name", "content", "expected"),
        [
            ("a.png", b"", True),  # by its suffix: whoever reads it says that it is damaged
            ("a.JPG", b"text", True),
            ("a.heic", b"....ftypheic", True),
            ("a.tga", b"", True),
            ("a", b"text", False),
            ("a", b"", False),
            ("Thumbs.db", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500), False),
            ("desktop.ini", b"[.ShellClassInfo]\r\nIconResource=x.ico,0\r\n", False),
            ("desktop.ini", "[.ShellClassInfo]".encode("utf-16"), False),
            ("readme.txt", b"P5 is a format for grey pictures", False),
            ("readme.txt", b"#define nothing", False),
            ("data", b"\0\0\x02" + bytes(100), False),  # resembles a TGA
        ],
    )
    def test_by_suffix_or_by_first_bytes(
        self, name: str, content: bytes, expected: bool, tmp_path: Path
    ) -> None:
        (tmp_path / name).write_bytes(content)
        assert is_picture(tmp_path / name) == expected

    @pytest.mark.parametrize("name", [name for name in READ if name != "TGA"])
    def test_without_a_suffix(self, name: str, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(saved(name))
        assert is_picture(tmp_path / "a")
