"""Read real photos, scans and drawings of digits by people, kind by kind, beside simpler ways.

    python -m benchmarks.real_pictures FOLDER [--network _build/recogniser] [--way "the package"]

About 3 minutes on one core.

The pictures are not in the repository: most of them state no licence. FOLDER has a `manifest.csv`
with a line a picture: file, labels in reading order (a space between two lines), kind (photo, scan,
drawing, form), digits (one, several), source. A source is whoever wrote: pictures of one hand are
alike, so that the spread is that of sources. The odd ones of them, in order of their names, were
looked at while the reading of pictures was made ("chosen on"); the even ones were not ("kept").
What a record holds of simpler ways stays; that of the package is measured anew. Two labels of the
manifest are taken as they are and look wrong: s31_301 shows 1367 and 2015 (not 2045), and there is
no 7 in s35_312.

What is read is held against the labels as one spells words: with the fewest changes. A picture of
one digit counts if exactly that digit is read. "five lines" take the whole picture for one digit;
"textbook" are the few library calls that one would write first. The network is that of the pages.

How long finding takes is told for three sizes besides: the first digit, brought to 28x28 pixels,
and the largest photographed page, brought to 1 and to 12 megapixels; the least of five times that
the processor worked on it, decoding and reading left aside.
"""

from __future__ import annotations

import csv
from argparse import Namespace
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from skimage import filters, measure

from mnist_lab.data import crop_to_ink, fit_like_mnist
from mnist_lab.handwriting import HandwritingError, Pixels, Reader, load_picture, load_reader
from mnist_lab.handwriting import find_digits as find_with_the_package
from mnist_lab.lessons import summarise

from .recording import Record, make_parser, read_arguments, working_seconds

HALVES = ("chosen on", "kept")
Images = list[NDArray[np.uint8]]  # each (28, 28), in reading order


@dataclass(frozen=True)
class Lent:
    """A picture by somebody, and what is written on it."""

    file: Path
    labels: str
    kind: str
    several: bool
    source: str
    half: str


def read_manifest(folder: Path) -> list[Lent]:
    """Return what a folder of pictures holds, in the order of its manifest."""
    path = folder / "manifest.csv"
    if not path.is_file():
        raise SystemExit(f"{folder} has no manifest.csv.")
    with path.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    order = {source: place for place, source in enumerate(sorted({r["source"] for r in rows}))}
    return [
        Lent(
            folder / row["file"],
            "".join(row["labels"].split()),
            row["kind"],
            row["digits"] == "several",
            row["source"],
            HALVES[order[row["source"]] % 2],
        )
        for row in rows
    ]


def compare(read: str, labels: str) -> tuple[int, int, int, int]:
    """Return how many digits are right, wrong, missing and too many, with the fewest changes."""
    best: list[tuple[int, int, int, int]] = [(0, 0, 0, extra) for extra in range(len(read) + 1)]
    for label in labels:
        row = [(0, 0, best[0][2] + 1, 0)]
        for place, digit in enumerate(read):
            right, wrong, missing, extra = best[place]
            same = digit == label
            swapped = (right + same, wrong + (not same), missing, extra)
            left_out = (*best[place + 1][:2], best[place + 1][2] + 1, best[place + 1][3])
            too_many = (*row[-1][:3], row[-1][3] + 1)
            row.append(min(swapped, left_out, too_many, key=lambda way: (sum(way[1:]), -way[0])))
        best = row
    return best[-1]


# --- Ways to prepare a picture -------------------------------------------------------------------


def with_the_package(picture: Pixels) -> Images:
    """Return what the package finds."""
    return [found.image for found in find_with_the_package(picture)]


def with_five_lines(picture: Pixels) -> Images:
    """Return the whole picture as one digit: what is darker or lighter than most of it is ink."""
    grey = np.asarray(Image.fromarray(picture).convert("L"), np.float64)
    paper = float(np.percentile(grey, 90 if np.median(grey) > 127 else 10))
    ink = np.abs(grey - paper)
    ink = np.where(ink > 0.4 * ink.max(), ink, 0)
    return [fit_like_mnist(crop_to_ink((255 * ink / max(ink.max(), 1)).astype(np.uint8)))]


def with_textbook(picture: Pixels) -> Images:
    """Return what a dozen library calls find: closing, Otsu, regions, in order of reading."""
    image = Image.fromarray(picture).convert("L")
    image.thumbnail((1_000, 1_000))
    grey = np.asarray(image, np.float64)
    grey = grey if np.median(grey) > 127 else 255 - grey
    side = max(3, max(grey.shape) // 8)
    paper = ndimage.gaussian_filter(ndimage.grey_closing(grey, (side, side)), side / 2)
    ink = (255 * (1 - grey / np.maximum(paper, 1))).clip(0)
    regions = measure.regionprops(measure.label(ink > filters.threshold_otsu(ink)))
    tallest = max((r.bbox[2] - r.bbox[0] for r in regions), default=0)
    regions = [r for r in regions if r.bbox[2] - r.bbox[0] > 0.4 * tallest]
    lines: list[list[Any]] = []
    for region in sorted(regions, key=lambda r: r.centroid[0]):
        same = lines and region.centroid[0] - lines[-1][0].centroid[0] < 0.5 * tallest
        lines[-1].append(region) if same else lines.append([region])
    return [
        fit_like_mnist(crop_to_ink(np.where(region.image, ink[region.slice], 0).astype(np.uint8)))
        for line in lines
        for region in sorted(line, key=lambda r: r.bbox[1])
    ]


SIMPLER: dict[str, Callable[[Pixels], Images]] = {
    "five lines": with_five_lines,
    "textbook": with_textbook,
}


# --- Scores --------------------------------------------------------------------------------------


def read_all(pictures: Iterable[Lent], prepare: Callable[[Pixels], Images], reader: Reader) -> Any:
    """Return what is read in every picture, and the median of the processor's milliseconds."""
    texts, times = [], []
    for lent in pictures:
        picture = load_picture(lent.file)
        started = working_seconds()
        try:
            images = prepare(picture)
        except HandwritingError:
            images = []
        times.append(1000 * (working_seconds() - started))
        texts.append("".join(reader.read(np.stack(images)).names) if images else "")
    return texts, times


def score_pictures(pictures: list[Lent], texts: list[str]) -> dict[str, Any]:
    """Return counts, and the share of right digits as mean and spread over sources."""
    counts = dict.fromkeys(("pictures", "all right", "nothing read", "split"), 0)
    digits = np.zeros(4, int)
    shares = defaultdict(list)
    for lent, text in zip(pictures, texts, strict=True):
        result = compare(text, lent.labels)
        digits += result
        whole = text == lent.labels
        counts["pictures"] += 1
        counts["all right"] += whole
        counts["nothing read"] += not text
        counts["split"] += not lent.several and len(text) > 1
        shares[lent.source].append(result[0] / len(lent.labels) if lent.several else float(whole))
    names = ("right", "wrong", "missing", "too many")
    return {
        **counts,
        "sources": len(shares),
        "digits": dict(zip(names, digits.tolist(), strict=True)),
        "by source": summarise([float(np.mean(values)) for values in shares.values()]),
    }


def tell_apart(pictures: list[Lent]) -> dict[str, list[int]]:
    """Return which pictures belong together: by half, by one digit or several, by kind."""
    groups: dict[str, list[int]] = defaultdict(list)
    for place, lent in enumerate(pictures):
        count = "several" if lent.several else "one"
        for half in (lent.half, "all"):
            groups[f"{half}, {count}, {lent.kind}"].append(place)
            groups[f"{half}, {count}, all kinds"].append(place)
    return dict(sorted(groups.items()))


def measure_way(
    pictures: list[Lent], prepare: Callable[[Pixels], Images], reader: Reader
) -> dict[str, Any]:
    """Return the scores of one way, group by group."""
    texts, times = read_all(pictures, prepare, reader)
    scores: dict[str, Any] = {
        group: score_pictures([pictures[k] for k in places], [texts[k] for k in places])
        for group, places in tell_apart(pictures).items()
    }
    milliseconds = {"median": round(float(np.median(times)), 1), "most": round(max(times), 1)}
    return {"groups": scores, "milliseconds a picture": milliseconds}


MEGAPIXELS = {"1 megapixel": 1.0, "12 megapixels": 12.0}


def measure_sizes(pictures: list[Lent]) -> dict[str, float]:
    """Return the processor's milliseconds, the least of five, for pictures of three sizes."""
    pages = [load_picture(p.file) for p in pictures if p.several and p.kind == "photo"]
    page = Image.fromarray(max(pages, key=np.size)).convert("RGB")
    digit = Image.fromarray(load_picture(pictures[0].file)).convert("RGB")
    sizes = {"28x28 pixels": digit.resize((28, 28))}
    for name, megapixels in MEGAPIXELS.items():
        scale = (megapixels * 1e6 / (page.width * page.height)) ** 0.5
        size = (round(scale * page.width), round(scale * page.height))
        sizes[name] = page.resize(size, Image.Resampling.BICUBIC)
    return {
        name: round(1000 * min(time_once(np.asarray(image)) for _ in range(5)), 1)
        for name, image in sizes.items()
    }


def time_once(picture: Pixels) -> float:
    """Return for how many seconds the processor works on finding the digits of a picture."""
    started = working_seconds()
    with_the_package(picture)
    return working_seconds() - started


def main() -> None:
    """Measure and write the record."""
    arguments = read_options()
    pictures = read_manifest(arguments.folder)
    sources = len({lent.source for lent in pictures})
    setting = {
        "what": f"{len(pictures)} pictures of handwritten digits by {sources} sources, which are "
        "not in the repository",
        "network": "the network of the book's pages (book/recogniser.py)",
    }
    record = Record("real_pictures", arguments, setting)
    reader = load_reader(arguments.network, device="cpu")
    record.parts["milliseconds by size"] = measure_sizes(pictures)
    for way, prepare in {arguments.way: with_the_package, **SIMPLER}.items():
        if way == arguments.way or way not in record.results:  # the simpler ways do not change
            record.results[way] = measure_way(pictures, prepare, reader)
            record.save(way)
    print(record.parts["milliseconds by size"])
    for way, measured in record.results.items():
        for group, scores in measured["groups"].items():
            share = scores["digits"]["right"] / max(1, sum(list(scores["digits"].values())[:3]))
            print(f"{way:20} {group:32} {scores['all right']:4} of {scores['pictures']:4}  "
                  f"{share:.1%} {scores['digits']}")  # fmt: skip


def read_options() -> Namespace:
    """Read the command line."""
    parser = make_parser(__doc__, threads=1, anew=True)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="of pictures, with a manifest")
    parser.add_argument(
        "--network", type=Path, default=Path("_build/recogniser"), help="that of the pages"
    )
    parser.add_argument(
        "--way", default="the package", help="what the package's own way is called in the record"
    )
    return read_arguments(parser)


if __name__ == "__main__":
    main()
