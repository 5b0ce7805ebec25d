"""Augmentation of whole batches: every image is turned, shifted, scaled, sheared, warped at once.

    augment = Augmentation(rotate=10, shift=2, scale=0.1)
    images = augment(images, generator)         # float32 (n, 1, h, w) in and out

What moves pixels is one resampling: each image gets its own affine map, elastic displacements are
added to the map, and one bilinear look-up reads the pixels. Strokes are made wider or narrower
before it, greys are changed after it. The batched form follows `grid_sample` of
spatial transformer networks (Jaderberg et al. 2015); elastic distortion is that of Simard,
Steinkraus and Platt 2003.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from mnist_lab.training.draws import Draws


@dataclass(frozen=True)
class Augmentation:
    """Random changes, drawn anew for each image; zero switches one off.

    Attributes
    ----------
    rotate : float
        Degrees, drawn from [-rotate, rotate].
    shift : float
        Pixels, drawn from [-shift, shift] for each direction.
    scale : float
        Relative size, drawn from [1 - scale, 1 + scale].
    shear : float
        Degrees of slant, drawn from [-shear, shear].
    elastic_strength : float
        Pixels: what the smoothed noise is multiplied by (alpha in Simard et al.).
    elastic_smoothness : float
        Pixels: standard deviation of the Gaussian that smooths the noise (sigma).
    stroke : float
        Pixels that either side of a stroke gains or loses, drawn from [-stroke, stroke], at most 1.
    aspect : float
        Relative: an image becomes wider and flatter, or narrower and higher, by a factor between
        1 / (1 + aspect) and 1 + aspect.
    fill : float
        The share of the images whose digit is stretched, as some scanners' software does, until it
        fills a square as large as the longer of its sides.
    sharpen : float
        The share of the images whose greys become nearly black or nearly white. Where the limit
        between the two lies, and how hard it is, is drawn anew for each.
    contrast : float
        The share of the ink that an image loses, drawn from [0, contrast].
    noise : float
        Grey values: the standard deviation of what is added to every pixel. It is drawn from
        [0, noise], mostly near its lower end (the cube of a uniform number), since noise is rare.

    The last three take pixels of 0 to 255.
    """

    rotate: float = 0.0
    shift: float = 0.0
    scale: float = 0.0
    shear: float = 0.0
    elastic_strength: float = 0.0
    elastic_smoothness: float = 4.0
    stroke: float = 0.0
    aspect: float = 0.0
    fill: float = 0.0
    sharpen: float = 0.0
    contrast: float = 0.0
    noise: float = 0.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if name != "elastic_smoothness" and not 0 <= value < math.inf:
                raise ValueError(f"{name} must be 0 or more and finite, found {value}.")
        if self.scale >= 1:
            raise ValueError(f"scale must be below 1, found {self.scale}.")
        if self.shear >= 90:
            raise ValueError(f"shear must be below 90 degrees, found {self.shear}.")
        if self.stroke > 1:
            raise ValueError(f"stroke must be at most 1 pixel, found {self.stroke}.")
        for name in ("fill", "sharpen", "contrast"):
            if getattr(self, name) > 1:
                raise ValueError(f"{name} must be at most 1, found {getattr(self, name)}.")
        if not 0 < self.elastic_smoothness < math.inf:
            raise ValueError(
                f"elastic_smoothness must be above 0 and finite, found {self.elastic_smoothness}."
            )

    @property
    def _moves_nothing(self) -> bool:
        """Whether every pixel stays where it is."""
        moved = self.rotate or self.shift or self.scale or self.shear or self.elastic_strength
        return not (moved or self.aspect or self.fill)

    @property
    def _keeps_greys(self) -> bool:
        """Whether a pixel that stays where it is keeps its grey."""
        return not (self.sharpen or self.contrast or self.noise)

    def __call__(self, images: Tensor, source: Draws | torch.Generator) -> Tensor:
        """Return changed copies of `images`: float32 (n, channels, height, width) in and out.

        The background must be zero, since zeros come in from outside an image: augment pixels
        first, normalise after. The generator lives on the images' device; the same state gives the
        same batch.
        """
        draws = Draws.of(source, len(images))
        if self.stroke:  # first: what follows smooths the edges
            images = self._change_strokes(images, draws)
        if not self._moves_nothing:
            images = self._move(images, draws)
        if not self._keeps_greys:  # last: scanners and cameras come after the pen
            images = self._change_greys(images, draws)
        return images

    def _move(self, images: Tensor, draws: Draws) -> Tensor:
        """Read every pixel from another place."""
        count, _, height, width = images.shape
        maps = self._affine_maps(images, draws)
        # `F.affine_grid` does the same three times slower on a CPU.
        sources = maps.flatten(0, 1) @ _positions(height, width, images.device)
        sources = sources.view(count, 2, height, width)
        if self.elastic_strength:
            sources += self._displacements(images, draws)
        if count == 0:  # a process whose piece is empty draws as the others do, and that is all
            return images
        grid = sources.permute(0, 2, 3, 1).contiguous()
        return F.grid_sample(
            images, grid, mode="bilinear", padding_mode="zeros", align_corners=False
        )

    def _change_strokes(self, images: Tensor, draws: Draws) -> Tensor:
        """Make the strokes of each image wider or narrower.

        The largest value among a pixel and its eight neighbours widens a stroke by a pixel on each
        side, the smallest narrows it; a mixture with the image itself does so by parts of a pixel.
        """
        amount = (draws.uniform(1)[0] * 2 - 1)[:, None, None, None] * self.stroke
        sign = torch.where(amount < 0, -1.0, 1.0)
        other = F.max_pool2d(images * sign, 3, stride=1, padding=1) * sign
        return torch.lerp(images, other, amount.abs().to(images.dtype))

    def _affine_maps(self, images: Tensor, draws: Draws) -> Tensor:
        """Draw one map from output to input coordinates per image: (n, 2, 3).

        `grid_sample` measures from -1 to 1 across the image, hence the division by half its size.
        """
        height, width = images.shape[2:]
        turned, slanted, scaled, right, down = draws.uniform(5) * 2 - 1
        turn = turned * math.radians(self.rotate)
        slant = torch.tan(slanted * math.radians(self.shear))
        shrink = 1 / (1 + scaled * self.scale)
        right, down = right * self.shift, down * self.shift
        cosine, sine = torch.cos(turn) * shrink, torch.sin(turn) * shrink
        # An image is slanted, turned, scaled and then shifted; a map goes back from output to
        # input, so it takes the shift away first.
        x_by_x, x_by_y = cosine, cosine * slant - sine
        y_by_x, y_by_y = sine, sine * slant + cosine
        left = x_by_x * right + x_by_y * down
        up = y_by_x * right + y_by_y * down
        # The units differ along the two sides of an image that is not square.
        aspect = height / width
        across = [x_by_x, x_by_y * aspect, -left / (width / 2)]
        along = [y_by_x / aspect, y_by_y, -up / (height / 2)]
        maps = torch.stack([torch.stack(across, 1), torch.stack(along, 1)], 1).to(images.dtype)
        # Stretched before all else, so the way back ends with it: it divides what is read.
        if self.aspect:
            wider = torch.exp((draws.uniform(1)[0] * 2 - 1) * math.log1p(self.aspect))
            maps = maps / torch.stack([wider, 1 / wider], 1)[:, :, None].to(images.dtype)
        if self.fill:
            filled = (draws.uniform(1)[0] < self.fill)[:, None]
            middle, growth = _box_of(images)
            maps = maps / torch.where(filled, growth, 1.0)[:, :, None]
            maps[:, :, 2] += torch.where(filled, middle, 0.0)
        return maps

    def _change_greys(self, images: Tensor, draws: Draws) -> Tensor:
        """Sharpen the edges of some images, make ink fainter, add noise."""

        def draw(number: int) -> Tensor:
            return draws.uniform(number)[:, :, None, None, None].to(images.dtype)

        if self.sharpen:
            which, limit, slope = draw(3)
            # Greys rise from 0 to 255 around a limit between a quarter and three quarters, over
            # half of the range or as little as a tenth of it.
            sharp = ((images / 255 - 0.25 - 0.5 * limit) * (2 + 8 * slope) + 0.5).clamp(0, 1)
            images = torch.where(which < self.sharpen, sharp * 255, images)
        if self.contrast:
            images = images * (1 - self.contrast * draw(1)[0])
        if self.noise:
            deviation = self.noise * draw(1)[0] ** 3
            noise = draws.normal_each(*images.shape[1:])
            images = (images + noise.to(images.dtype) * deviation).clamp(0, 255)
        return images

    def _displacements(self, images: Tensor, draws: Draws) -> Tensor:
        """Draw smooth displacements: (n, 2, height, width), in `grid_sample`'s units.

        A Gaussian blur is separable, and on an image this small each half of it is one matrix
        product with a fixed band matrix: far cheaper than a convolution per image.
        """
        height, width = images.shape[2:]
        noise = draws.uniform_each(2, height, width)
        rows = _blur_matrix(height, self.elastic_smoothness, images.device)
        columns = _blur_matrix(width, self.elastic_smoothness, images.device)
        pixels = rows @ (noise * 2 - 1) @ columns.T * self.elastic_strength
        return (pixels / _half_of(height, width, images.device)).to(images.dtype)


def _box_of(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return the middle of each digit's box and what makes the box square: both (n, 2), x first.

    The middle is in `grid_sample`'s units. The shorter side grows to the longer one.
    """
    _, _, height, width = images.shape
    grey = images.amax(dim=1)
    ink = grey > grey.amax(dim=(1, 2), keepdim=True) / 4
    middles, sides = [], []
    for size, seen in ((width, ink.any(dim=1)), (height, ink.any(dim=2))):
        first = seen.to(images.dtype).argmax(dim=1)
        last = size - 1 - seen.flip(1).to(images.dtype).argmax(dim=1)
        middles.append((first + last + 1) / size - 1)
        sides.append(last - first + 1)
    side = torch.stack(sides, 1).to(images.dtype)
    return torch.stack(middles, 1).to(images.dtype), side.amax(dim=1, keepdim=True) / side


# What does not change lies on the device: to bring it there for every batch would make both wait.


@lru_cache(maxsize=16)
def _positions(height: int, width: int, device: torch.device) -> Tensor:
    """Return x, y and 1 of every pixel's centre, from -1 to 1 across the image: (3, h * w)."""
    y = (torch.arange(height) + 0.5) * (2 / height) - 1
    x = (torch.arange(width) + 0.5) * (2 / width) - 1
    y, x = torch.meshgrid(y, x, indexing="ij")
    return torch.stack([x.flatten(), y.flatten(), torch.ones(height * width)]).to(device)


@lru_cache(maxsize=16)
def _blur_matrix(size: int, smoothness: float, device: torch.device) -> Tensor:
    """Return the (size, size) matrix that blurs a row of `size` pixels, zero beyond its ends."""
    position = torch.arange(size, dtype=torch.float32)
    weight = torch.exp(-0.5 * ((position[:, None] - position[None, :]) / smoothness) ** 2)
    full = torch.exp(-0.5 * (torch.arange(-4 * size, 4 * size + 1.0) / smoothness) ** 2).sum()
    return (weight / full).to(device)


@lru_cache(maxsize=16)
def _half_of(height: int, width: int, device: torch.device) -> Tensor:
    """Return half of an image's size in pixels, x first: (2, 1, 1)."""
    return torch.tensor([width / 2, height / 2]).to(device)[:, None, None]
