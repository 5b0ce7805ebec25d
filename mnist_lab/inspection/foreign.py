"""What is no digit, made as MNIST's images were: letters, other alphabets, signs, scribbles.

    images = draw_foreign("letters", 200, seed=0)       # uint8 (200, 28, 28), ink on 0
    for kind, meaning in FOREIGN.items():
        print(kind, meaning)

Letters come from the fonts that matplotlib carries (its own, DejaVu and STIX), each leaning and
turned a little; signs, letters by hand and scribbles from a pen that a program moves. People draw
more kinds of things, and differ more.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from mnist_lab.data.geometry import IMAGE_SIDE, crop_to_ink, fit_like_mnist
from mnist_lab.extras import needs_extra
from mnist_lab.handwriting.simulated_hands import Drawing, Hand, draw_hand
from mnist_lab.handwriting.strokes import draw_strokes

_Images = NDArray[np.uint8]  # (n, 28, 28)

# Those that resemble no digit: no B, D, G, I, J, L, O, Q, S, T, Y, Z, nor b, c, g, i, j, l, o ...
_LATIN = "ACEFHKMNPRUVWXadefhkmnrtuwx"
_OTHERS = "ΓΔΛΞΠΣΦΨΩψωЖДЛФЦШЫЮЯжфшюאמשתԱԲՇ"
_FONTS = ("DejaVuSans", "DejaVuSerif-Italic", "STIXGeneral", "cmss10", "cmti10", "DejaVuSansMono")
_OTHER_FONTS = ("DejaVuSans", "DejaVuSans-Bold")  # they have those alphabets
_GLYPH = 120  # pixels of a font's size, before a letter is made as small as a digit

# x and y from 0 to 1 across the sheet, y downwards, as in `handwriting.simulated_hands.DIGITS`.
_SIGNS: tuple[Drawing, ...] = (
    [[(0.2, 0.5), (0.5, 0.15), (0.8, 0.5)], [(0.25, 0.5), (0.25, 0.9), (0.75, 0.9), (0.75, 0.5)]],
    [[(0.5, 0.1), (0.72, 0.85), (0.12, 0.4), (0.88, 0.4), (0.28, 0.85), (0.5, 0.1)]],
    [[(0.5, 0.9), (0.1, 0.4), (0.3, 0.1), (0.5, 0.35), (0.7, 0.1), (0.9, 0.4), (0.5, 0.9)]],
    [[(0.5, 0.1), (0.9, 0.85), (0.1, 0.85), (0.5, 0.1)]],
    [[(0.1, 0.5), (0.9, 0.5)], [(0.6, 0.2), (0.9, 0.5), (0.6, 0.8)]],
    [[(0.5, 0.1), (0.5, 0.9)], [(0.1, 0.5), (0.9, 0.5)]],
    [[(0.1, 0.55), (0.4, 0.9), (0.9, 0.1)]],
    [[(0.3, 0.1), (0.2, 0.9)], [(0.7, 0.1), (0.6, 0.9)],
     [(0.05, 0.35), (0.9, 0.35)], [(0.05, 0.65), (0.9, 0.65)]],
    [[(0.1, 0.35), (0.9, 0.35)], [(0.1, 0.65), (0.9, 0.65)]],
    [[(0.2, 0.2), (0.8, 0.2), (0.8, 0.8), (0.2, 0.8), (0.2, 0.2)], [(0.2, 0.2), (0.8, 0.8)]],
)  # fmt: skip
_WRITTEN: tuple[Drawing, ...] = (
    [[(0.2, 0.9), (0.5, 0.1), (0.8, 0.9)], [(0.3, 0.6), (0.7, 0.6)]],  # A
    [[(0.75, 0.1), (0.25, 0.1), (0.25, 0.9), (0.75, 0.9)], [(0.25, 0.5), (0.65, 0.5)]],  # E
    [[(0.2, 0.1), (0.2, 0.9)], [(0.8, 0.1), (0.8, 0.9)], [(0.2, 0.5), (0.8, 0.5)]],  # H
    [[(0.25, 0.1), (0.25, 0.9)], [(0.75, 0.1), (0.25, 0.5), (0.8, 0.9)]],  # K
    [[(0.15, 0.9), (0.2, 0.1), (0.5, 0.7), (0.8, 0.1), (0.85, 0.9)]],  # M
    [[(0.2, 0.9), (0.2, 0.1), (0.8, 0.9), (0.8, 0.1)]],  # N
    [[(0.25, 0.9), (0.25, 0.1), (0.7, 0.15), (0.7, 0.45), (0.25, 0.5), (0.75, 0.9)]],  # R
    [[(0.1, 0.1), (0.3, 0.9), (0.5, 0.3), (0.7, 0.9), (0.9, 0.1)]],  # W
    [[(0.2, 0.1), (0.8, 0.9)], [(0.8, 0.1), (0.2, 0.9)]],  # X
    [[(0.1, 0.7), (0.2, 0.4), (0.3, 0.8), (0.4, 0.4), (0.5, 0.8), (0.6, 0.45), (0.75, 0.75),
      (0.9, 0.6)]],  # m in a running hand
)  # fmt: skip


def draw_foreign(kind: str, count: int, seed: int) -> _Images:
    """Draw things of one kind, as MNIST would show them.

    Parameters
    ----------
    kind : str
        A key of `FOREIGN`.
    count : int
        At least 1.
    seed : int
        Same seed, same images.

    Returns
    -------
    uint8 (count, 28, 28)
        0 is paper, 255 is full ink.

    Raises
    ------
    ValueError
        If there is no such kind, or `count` is below 1.
    """
    if kind not in _KINDS:
        raise ValueError(f"There is no kind {kind!r}; there are {', '.join(_KINDS)}.")
    if count < 1:
        raise ValueError(f"count must be at least 1, found {count}.")
    return _KINDS[kind][1](count, np.random.default_rng(seed))


# --- Letters of fonts ----------------------------------------------------------------------------


@cache
def _load_font(name: str) -> ImageFont.FreeTypeFont:
    with needs_extra("chapters"):
        import matplotlib as mpl
    path = Path(mpl.get_data_path()) / "fonts" / "ttf" / f"{name}.ttf"
    return ImageFont.truetype(path, _GLYPH)


def _draw_letter(letter: str, font: str, generator: np.random.Generator) -> _Images:
    """Draw a letter that leans and is turned: (28, 28)."""
    side = 2 * _GLYPH
    sheet = Image.new("L", (side, side))
    ImageDraw.Draw(sheet).text((side / 2, side / 2), letter, 255, _load_font(font), anchor="mm")
    lean, turn = generator.normal(0, [0.15, 0.1])
    middle = side / 2
    across = np.array([[np.cos(turn), np.sin(turn) + lean], [-np.sin(turn), np.cos(turn)]])
    shift = middle - across @ [middle, middle]
    sizes = (side, side)
    coefficients = (*across[0], shift[0], *across[1], shift[1])
    leaning = sheet.transform(
        sizes, Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR
    )
    return fit_like_mnist(crop_to_ink(np.asarray(leaning)))


def _letters_of(alphabet: str, fonts: tuple[str, ...]) -> Callable[..., _Images]:
    def draw(count: int, generator: np.random.Generator) -> _Images:
        letters = generator.choice(list(alphabet), count)
        names = generator.choice(fonts, count)
        pairs = zip(letters, names, strict=True)
        return np.stack([_draw_letter(str(one), str(font), generator) for one, font in pairs])

    return draw


# --- What a pen draws ----------------------------------------------------------------------------


def _drawn(forms: tuple[Drawing, ...]) -> Callable[..., _Images]:
    """Return a way to draw such forms, ten of them, as a hand varies its digits."""
    # A hand rounds the corners of what it is given; a corner that is there twice stays one.
    sharp = [[[point for point in stroke for _ in (0, 1)] for stroke in form] for form in forms]
    hand = Hand(dict(enumerate(sharp)), wobble=0.04)

    def draw(count: int, generator: np.random.Generator) -> _Images:
        drawings, _ = draw_hand(hand, -(-count // 10), int(generator.integers(2**31)))
        return np.stack([draw_strokes(drawing) for drawing in drawings[:count]])

    return draw


def _scribble(count: int, generator: np.random.Generator) -> _Images:
    """Draw lines that turn here and there, of slow waves in both directions."""
    times = np.linspace(0, 1, 120)
    found = []
    for _ in range(count):
        waves = generator.uniform(1, 4, (2, 3))
        phases = generator.uniform(0, 2 * np.pi, (2, 3))
        sizes = generator.normal(size=(2, 3))
        points = [np.sin(2 * np.pi * np.outer(times, waves[k]) + phases[k]) @ sizes[k]
                  for k in (0, 1)]  # fmt: skip
        found.append(draw_strokes([np.stack(points, axis=1).tolist()]))
    return np.stack(found)


def _two_digits(count: int, generator: np.random.Generator) -> _Images:
    """Draw two digits side by side, as a finder that failed to part them would hand them on."""
    drawings, _ = draw_hand("plain", -(-2 * count // 10), int(generator.integers(2**31)))
    order = generator.permutation(len(drawings))
    found = []
    for pair in order[: 2 * count].reshape(count, 2):
        images = [crop_to_ink(draw_strokes(drawings[k])) for k in pair]
        sheet = np.zeros((IMAGE_SIDE, 2 * IMAGE_SIDE), np.uint8)
        at = 0
        for image in images:
            top = (IMAGE_SIDE - image.shape[0]) // 2
            sheet[top : top + image.shape[0], at : at + image.shape[1]] = image
            at += image.shape[1] + 1
        found.append(fit_like_mnist(crop_to_ink(sheet)))
    return np.stack(found)


def _nearly_nothing(count: int, generator: np.random.Generator) -> _Images:
    """Return paper with some specks where a pen has rested; now and then with none."""
    images = np.zeros((count, IMAGE_SIDE, IMAGE_SIDE), np.uint8)
    for image in images:
        for _ in range(generator.integers(0, 4)):
            row, column = generator.integers(4, 22, 2)
            image[row : row + 2, column : column + 2] = generator.integers(80, 256)
    return images


_KINDS: dict[str, tuple[str, Callable[..., _Images]]] = {
    "letters": ("Latin letters of six fonts", _letters_of(_LATIN, _FONTS)),
    "signs": ("a house, a star, a heart, an arrow and six more", _drawn(_SIGNS)),
    "nothing": ("paper with a few specks or none", _nearly_nothing),
    "written letters": ("ten letters, stroke by stroke", _drawn(_WRITTEN)),
    "other alphabets": (
        "Greek, Cyrillic, Hebrew and Armenian letters of two fonts",
        _letters_of(_OTHERS, _OTHER_FONTS),
    ),
    "two digits": ("two digits in one image", _two_digits),
    "scribbles": ("a line that turns here and there", _scribble),
}
FOREIGN: dict[str, str] = {kind: meaning for kind, (meaning, _) in _KINDS.items()}
"""What each kind is, by name."""
