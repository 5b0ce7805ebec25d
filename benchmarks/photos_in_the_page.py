"""Read real photos on the book's page, in Chromium, and hold them against what Python reads.

    python -m benchmarks.photos_in_the_page FOLDER [--network _build/recogniser]

About 1 minute on one core. It needs a Chromium, which takes a minute of another.

FOLDER is that of `benchmarks.real_pictures`, which says what is in it. Each file is given to a pad
as a reader would drop it: the browser opens and shrinks it, and JavaScript does the rest, with the
network of the pages. A picture that no browser opens (TIFF) is given as PNG. The agreement counts
digits: those that page and package read alike, of the longer of the two answers. The times are from
the file to the last box: what all of the browser's processes together had of the processor, so that
a busy machine does not count. An idle one needs no more by the clock. Beside the folder's pictures
a photo of 12 megapixels is read, the largest page of the folder, enlarged.
"""

from __future__ import annotations

import base64
import io
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from mnist_lab.handwriting import HandwritingError, Reader, load_picture, load_reader
from mnist_lab.lessons.widgets.linking import link_page
from tools.chromium import find_chromium, started

from .real_pictures import Lent, compare, read_manifest, score_pictures, tell_apart
from .recording import Record, make_parser, read_arguments

if TYPE_CHECKING:
    from playwright.sync_api import Browser

LARGE = (4_000, 3_000)  # pixels of a phone's photo
OPENED = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp")  # by every browser
READ = """async ([name, file]) => {
  const bytes = Uint8Array.from(atob(file), (letter) => letter.charCodeAt(0));
  const { photo } = document.querySelector("digit-pad");
  photo.putAway();
  await photo.take([new File([bytes], name)]);
  return (photo.page?.lines ?? []).flat().map((digit) => digit.name).join("");
}"""


class Reading:
    """A page that reads, and the processor's time that its browser has had."""

    def __init__(self, browser: Browser, network: Path) -> None:
        self.page = browser.new_page()
        self.page.set_default_timeout(0)  # a busy machine may take long
        weights = (network / "small_cnn.safetensors").read_bytes()
        digits = (network / "digits.png").read_bytes()
        self.page.set_content("<!doctype html><title>Pad</title><digit-pad></digit-pad>")
        self.page.add_script_tag(content=link_page(weights, digits))
        self.session = browser.new_browser_cdp_session()

    def seconds(self) -> float:
        """Return the seconds of the processor so far, of all of the browser's processes."""
        processes = self.session.send("SystemInfo.getProcessInfo")["processInfo"]
        return sum(float(process["cpuTime"]) for process in processes)

    def read(self, name: str, content: bytes) -> tuple[str, float]:
        """Return what the page reads in a file, and in how many milliseconds."""
        before = self.seconds()
        text = self.page.evaluate(READ, [name, base64.b64encode(content).decode()])
        return text, 1_000 * (self.seconds() - before)


def bytes_of(lent: Lent) -> tuple[str, bytes]:
    """Return a name and the content of a file that every browser opens."""
    if lent.file.suffix.lower() in OPENED:
        return lent.file.name, lent.file.read_bytes()
    stream = io.BytesIO()
    Image.fromarray(load_picture(lent.file)).save(stream, "PNG")
    return f"{lent.file.stem}.png", stream.getvalue()


def read_here(lent: Lent, reader: Reader) -> str:
    """Return what the package reads in a picture."""
    try:
        return "".join(digit.name for digit in reader.read_picture(load_picture(lent.file)))
    except HandwritingError:
        return ""


def measure_agreement(there: list[str], here: list[str]) -> dict[str, float]:
    """Return how many digits page and package read alike, and of how many."""
    alike = sum(compare(one, other)[0] for one, other in zip(there, here, strict=True))
    longer = sum(max(len(one), len(other)) for one, other in zip(there, here, strict=True))
    same = sum(one == other for one, other in zip(there, here, strict=True))
    share = round(alike / longer, 4) if longer else 1.0  # who both read nothing agree
    counts = {"digits alike": alike, "of": longer, "pictures alike": same, "pictures": len(there)}
    return {"share": share, **counts}


def enlarge_to_a_photo(pictures: list[Lent]) -> bytes:
    """Return the largest photo of several digits as a JPEG of 12 megapixels."""
    pages = [lent for lent in pictures if lent.several and lent.kind == "photo"] or pictures
    images = [Image.fromarray(load_picture(lent.file)) for lent in pages]
    largest = max(images, key=lambda image: image.width * image.height)
    size = LARGE if largest.width > largest.height else LARGE[::-1]
    stream = io.BytesIO()
    largest.resize(size, Image.Resampling.BICUBIC).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def measure(page: Reading, pictures: list[Lent], reader: Reader) -> dict[str, Any]:
    """Return scores group by group, agreement and times."""
    answers = [page.read(*bytes_of(lent)) for lent in pictures]
    here = [read_here(lent, reader) for lent in pictures]
    there = [text for text, _ in answers]
    groups = tell_apart(pictures)
    times = [milliseconds for _, milliseconds in answers]
    photo = enlarge_to_a_photo(pictures)
    large = [page.read("large.jpg", photo)[1] for _ in range(5)]
    return {
        "groups": {
            group: score_pictures([pictures[k] for k in places], [there[k] for k in places])
            for group, places in groups.items()
        },
        "agreement": {
            "of everything": measure_agreement(there, here),
            **{
                group: measure_agreement([there[k] for k in places], [here[k] for k in places])
                for group, places in groups.items()
                if group.startswith("all")
            },
        },
        "milliseconds a picture": {
            "median": round(float(np.median(times)), 1),
            "most": round(max(times), 1),
            "12 megapixels": round(float(np.median(large)), 1),
        },
    }


def main() -> None:
    """Measure and write the record."""
    arguments = read_options()
    program = find_chromium()
    if program is None:
        raise SystemExit("There is no Chromium on this machine, so no page can be opened.")
    pictures = read_manifest(arguments.folder)
    sources = len({lent.source for lent in pictures})
    with started(program) as browser:
        setting = {
            "what": f"{len(pictures)} pictures of handwritten digits by {sources} sources, which "
            "are not in the repository, read on the book's page",
            "network": "the network of the book's pages (book/recogniser.py)",
            "browser": f"Chromium {browser.version}",
        }
        record = Record("photos_in_the_page", arguments, setting)
        page = Reading(browser, arguments.network)
        reader = load_reader(arguments.network, device="cpu")
        record.results["the page"] = measure(page, pictures, reader)
        record.save("the page")
    for group, found in record.results["the page"]["agreement"].items():
        print(f"{group:32} {found}")
    print(record.results["the page"]["milliseconds a picture"])


def read_options() -> Namespace:
    """Read the command line."""
    parser = make_parser(__doc__, threads=1, anew=True)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="of pictures, with a manifest")
    parser.add_argument(
        "--network", type=Path, default=Path("_build/recogniser"), help="that of the pages"
    )
    return read_arguments(parser)


if __name__ == "__main__":
    main()
