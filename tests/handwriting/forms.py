"""Forms with handwriting in them: boxes, combs, tables, and what else people photograph."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from mnist_lab.handwriting.found import TOO_LOW
from mnist_lab.handwriting.ink import AT_THE_EDGE, TOO_FAINT
from mnist_lab.handwriting.paper import Box
from mnist_lab.handwriting.simulated_pages import write_with
from tests.handwriting.pictures import Grey

PEN = 0.08  # of a digit's height


@dataclass
class Form:
    """A sheet on which digits are written and lines are printed."""

    width: int
    height: int
    digits: Grey  # (n, 28, 28); written one after the other
    boxes: list[Box] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.sheet = Image.new("L", (self.width, self.height))
        self.pen = ImageDraw.Draw(self.sheet)

    def write(self, x: int, y: int, size: int, ink: int = 255) -> None:
        """Write the next digit, its middle at (x, y), with a pen of so much ink."""
        written = write_with(self.digits[len(self.boxes)], PEN, size)
        rows, columns = (np.flatnonzero((written > 0.5).any(axis=axis)) for axis in (1, 0))
        left, top = x - (columns[0] + columns[-1]) // 2, y - (rows[0] + rows[-1]) // 2
        shape = Image.fromarray((255 * written).astype(np.uint8))
        self.sheet.paste(ink, (int(left), int(top)), shape)
        edges = (left + columns[0], top + rows[0], left + columns[-1] + 1, top + rows[-1] + 1)
        self.boxes.append((int(edges[0]), int(edges[1]), int(edges[2]), int(edges[3])))

    def rule(self, *points: float, width: int = 3) -> None:
        """Print a line along (x, y, x, y, ...)."""
        self.pen.line(points, fill=200, width=width)

    def frame(self, left: int, top: int, right: int, bottom: int, width: int = 3) -> None:
        """Print a box."""
        self.pen.rectangle((left, top, right, bottom), outline=200, width=width)

    def photograph(self, noise: float = 3.0) -> Grey:
        """Return dark ink on paper that the light falls on from the left."""
        soft = self.sheet.filter(ImageFilter.GaussianBlur(0.7))
        ink = np.asarray(soft, np.float64) / 255
        light = np.linspace(1, 0.8, self.width) * (225 * (1 - ink) + 30 * ink)
        grain = np.random.default_rng(0).normal(0, noise, ink.shape)
        return (light + grain).clip(0, 255).astype(np.uint8)


def make_form(kind: str, digits: Grey) -> Form:
    """Return one of the forms that the tests try; the digits are taken in their order."""
    form = Form(640, 140, digits)
    middles = [66 + 72 * place for place in range(8)]
    if kind == "boxes":
        for middle in middles:
            form.frame(middle - 30, 30, middle + 30, 110)
    elif kind == "cells":
        form.frame(30, 30, 606, 110)
        for middle in middles[1:]:
            form.rule(middle - 36, 30, middle - 36, 110)
    elif kind == "comb":
        form.rule(30, 112, 606, 112)
        for middle in [*middles, middles[-1] + 72]:
            form.rule(middle - 36, 85, middle - 36, 112)
    elif kind == "underlined":
        form.rule(30, 112, 606, 110, width=4)
    elif kind == "table":
        form = Form(640, 300, digits)
        for row in range(4):
            form.rule(30, 30 + 80 * row, 606, 32 + 80 * row)
        for middle in [*middles, middles[-1] + 72]:
            form.rule(middle - 36, 24, middle - 34, 276)
        for row in range(1, 3):
            for middle in middles:
                form.write(middle, 70 + 80 * row, 54)
    for middle in middles:
        form.write(middle, 70, 54)
    return form


def write_beside(reason: str, whole: Grey) -> tuple[Form, Box]:
    """Return three digits that are read, and the place of what is not."""
    form = Form(500, 160, whole)
    for place in range(3):
        form.write(60 + 100 * place, 70, 60)
    if reason == TOO_LOW:  # a minus sign
        form.rule(400, 70, 440, 70, width=5)
        return form, (400, 67, 441, 73)
    if reason == TOO_FAINT:  # a pencil beside a pen
        form.write(420, 70, 60, ink=60)
        return form, form.boxes.pop()
    if reason == AT_THE_EDGE:  # the tip of a finger
        form.pen.ellipse((390, 110, 450, 220), fill=255)
        return form, (390, 110, 451, 160)
    form.frame(360, 50, 460, 110)  # a tall stroke through a box in which something is written
    form.rule(380, 60, 380, 100, width=5)
    form.rule(400, 5, 440, 155, width=7)
    return form, (397, 4, 444, 157)
