"""Read simulated photos of validation digits under each condition, and with single steps left out.

    python -m benchmarks.photos [--draws 6] [--network _build/recogniser]

About 10 minutes on one core.

A page of 3 x 6 digits is photographed under each condition (`simulated_pages.PHOTOS`, and the eight
of `WORSE_PHOTOS`), every draw with other digits, light and noise. A digit counts if it is found,
with a box that shares with the true one at least half of what the two cover together, and its label
is right. The network "plain" is a small CNN that has seen MNIST's digits as they are, so that what
is measured is the preparation of the picture; "pages" is the network that the book's pages use,
where it is built. Pictures of one digit are read as such; "shrunk as a whole" leaves out all
preparation. The test set is not touched.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mnist_lab.data import DigitSet, crop_to_ink, load_mnist, split
from mnist_lab.handwriting import (
    PHOTOS,
    WORSE_PHOTOS,
    Box,
    Conditions,
    FoundDigit,
    HandwritingError,
    Photo,
    Reader,
    Steps,
    find_digit,
    find_digits,
    load_reader,
    photograph,
    shrink_whole,
)
from mnist_lab.lessons import summarise
from mnist_lab.training import TrainConfig, fit

from .recording import Record, make_parser, read_arguments

PLAIN = TrainConfig(epochs=4)
ROWS, COLUMNS = 3, 6  # of digits on a page
OVERLAP = 0.5  # of two boxes, over what they cover together, for a digit to count as found
SINGLES = 200  # pictures of one digit to a draw

WITHOUT = {
    "nothing": Steps(),
    "paper": Steps(paper=False),
    "hysteresis": Steps(hysteresis=False),
    "ruled_lines": Steps(ruled_lines=False),
    "frames": Steps(frames=False),
    "grey": Steps(grey=False),
    "stroke_width": Steps(stroke_width=False),
    "aspect": Steps(aspect=False),
    "smooth": Steps(smooth=False),
    "centre_of_mass": Steps(centre_of_mass=False),
}

# Pictures of one digit: as it is in MNIST, pens from thin to thick, out of focus, small.
ONE_DIGIT = {
    "MNIST's strokes": Conditions(),
    "thin pen": Conditions(pen=0.025),
    "ball pen": Conditions(pen=0.045),
    "felt pen": Conditions(pen=0.1),
    "marker": Conditions(pen=0.2),
    "thick marker": Conditions(pen=0.28),
    "blurred": Conditions(pen=0.07, defocus=5),
    "small": Conditions(digit=20),
}

Picture = NDArray[np.uint8]


def overlap(one: Box, other: Box) -> float:
    """Return what two boxes share, over what they cover together: 0 to 1."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(0, width) * max(0, height)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return shared / (sum(areas) - shared)


def match(photo: Photo, found: list[FoundDigit]) -> list[int | None]:
    """Return for each digit of a photo which one of those found it is; each is so only once."""
    free = set(range(len(found)))
    pairs: list[int | None] = []
    for box in photo.boxes:
        best = max(free, key=lambda k: overlap(found[k].box, box), default=None)
        if best is None or overlap(found[best].box, box) < OVERLAP:
            pairs.append(None)
        else:
            pairs.append(best)
            free.remove(best)
    return pairs


def score_pages(
    digits: DigitSet, conditions: Conditions, steps: Steps, readers: dict[str, Reader], draws: int
) -> dict[str, Any]:
    """Return shares of a page's digits: found, found and read right; and finds that are none."""
    values: dict[str, list[float]] = {name: [] for name in ("found", *readers, "no digit")}
    for seed in range(draws):
        photo = photograph(digits, ROWS, COLUMNS, conditions, seed)
        try:
            found = find_digits(photo.picture, steps=steps)
        except HandwritingError:
            found = []
        pairs = match(photo, found)
        count = len(photo.labels)
        hits = [best for best in pairs if best is not None]
        values["found"].append(len(hits) / count)
        values["no digit"].append((len(found) - len(hits)) / count)
        wanted = photo.labels[[best is not None for best in pairs]]
        for name, reader in readers.items():
            images = [found[best].image for best in hits]
            right = int((reader.read(np.stack(images)).labels == wanted).sum()) if images else 0
            values[name].append(right / count)
    return {name: summarise(shares) for name, shares in values.items()}


def score_singles(
    digits: DigitSet,
    take: Callable[[DigitSet, int], Picture],
    prepare: Callable[[Picture], Picture],
    readers: dict[str, Reader],
    draws: int,
) -> dict[str, Any]:
    """Return accuracies on pictures of one digit, `SINGLES` of them to a draw."""
    values: dict[str, list[float]] = {name: [] for name in readers}
    for draw in range(draws):
        chosen = np.random.default_rng(draw).permutation(len(digits))[:SINGLES]
        images = np.stack([prepare(take(digits.subset(chosen[k : k + 1]), draw * SINGLES + k))
                           for k in range(SINGLES)])  # fmt: skip
        for name, reader in readers.items():
            values[name].append(float((reader.read(images).labels == digits.labels[chosen]).mean()))
    return {name: summarise(shares) for name, shares in values.items()}


def as_scanned(conditions: Conditions) -> Callable[[DigitSet, int], Picture]:
    """Return a function that photographs one digit."""
    return lambda one, seed: photograph(one, 1, 1, conditions, seed).picture


def as_saved(one: DigitSet, _: int) -> Picture:
    """Return MNIST's own 28x28 pixels, dark on light, as a file may hold them."""
    return 255 - one.images[0]


def in_16_by_16(one: DigitSet, _: int) -> Picture:
    """Return a digit stretched to 16x16 black and white pixels, as some old data sets are."""
    small = np.asarray(
        Image.fromarray(crop_to_ink(one.images[0])).resize((16, 16), Image.Resampling.BOX)
    )
    return np.where(small > 127, 0, 255).astype(np.uint8)


def read_one(steps: Steps) -> Callable[[Picture], Picture]:
    """Return a function that prepares a picture of one digit; one that is refused is empty."""

    def prepare(picture: Picture) -> Picture:
        try:
            return find_digit(picture, steps=steps).image
        except HandwritingError:
            return np.zeros((28, 28), np.uint8)

    return prepare


def measure_pages(digits: DigitSet, readers: dict[str, Reader], draws: int) -> dict[str, Any]:
    """Return the scores of every condition with all steps, and with each left out."""
    return {
        left_out: {
            name: score_pages(digits, conditions, steps, readers, draws)
            for name, conditions in PHOTOS.items()
        }
        for left_out, steps in WITHOUT.items()
    }


def measure_singles(digits: DigitSet, readers: dict[str, Reader], draws: int) -> dict[str, Any]:
    """Return the scores of pictures of one digit: all steps, no stroke width, no step at all."""
    pictures: Mapping[str, Callable[[DigitSet, int], Picture]] = {
        **{name: as_scanned(conditions) for name, conditions in ONE_DIGIT.items()},
        "28x28 file": as_saved,
        "16x16 black and white": in_16_by_16,
    }
    ways = {
        "all steps": read_one(Steps()),
        "without stroke_width": read_one(Steps(stroke_width=False)),
        "shrunk as a whole": shrink_whole,
    }
    return {
        way: {
            name: score_singles(digits, take, prepare, readers, draws)
            for name, take in pictures.items()
        }
        for way, prepare in ways.items()
    }


def main() -> None:
    """Measure and write the record."""
    parser = make_parser(__doc__, draws=6, threads=1)
    parser.add_argument(
        "--network", type=Path, default=Path("_build/recogniser"), help="that of the pages"
    )
    arguments = read_arguments(parser)
    setting = {
        "what": "simulated photos of MNIST's validation digits, 18 a page, a page a draw; pictures "
        f"of one digit, {SINGLES} a draw",
        "networks": {
            "plain": "small_cnn, 4 epochs of 55,000 digits, no augmentation, seed 0",
            "pages": "the network of the book's pages (book/recogniser.py)",
        },
        "draws": arguments.draws,
    }
    record = Record("photos", arguments, setting, resume=False)
    train, validation = split(load_mnist().train, seed=0)
    plain = fit("small_cnn", train, validation, PLAIN, device="cpu", progress=False)
    readers = {"plain": Reader(plain.model, plain.card)}
    if arguments.network.is_dir():
        readers["pages"] = load_reader(arguments.network, device="cpu")
    record.parts["raw"] = {
        name: float((reader.read(validation.images).labels == validation.labels).mean())
        for name, reader in readers.items()
    }
    pages = measure_pages(validation, readers, arguments.draws)
    singles = measure_singles(validation, readers, arguments.draws)
    worse = {
        name: score_pages(validation, conditions, Steps(), readers, arguments.draws)
        for name, conditions in WORSE_PHOTOS.items()
    }
    record.parts |= {"pages_without": pages, "worse": worse, "singles": singles}
    for name, scores in {**pages["nothing"], **worse}.items():
        print(f"{name:24}", *(f"{key} {value['mean']:.3f}" for key, value in scores.items()))
    for name, scores in singles["all steps"].items():
        print(f"{name:24}", *(f"{key} {value['mean']:.3f}" for key, value in scores.items()))
    record.save()


if __name__ == "__main__":
    main()
