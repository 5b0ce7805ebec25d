"""Train the network that reads what a reader draws on the pages.

    python -m book.recogniser _build/recogniser/small_cnn.safetensors

It trains on 55,000 of MNIST's training digits and is scored on the other 5,000; if it reads fewer
than 99.2 % of those, nothing is written and the build stops. Beside it goes digits.png: 200 of the
5,000, on which a page shows what the network forgets when a reader teaches it something else, and
a checkpoint, so that `python -m mnist_lab predict _build/recogniser photo.jpg` reads with it too.
`make book` calls this.
"""

from __future__ import annotations

import sys
from pathlib import Path

from mnist_lab.data import load_mnist, split
from mnist_lab.export import export_web
from mnist_lab.files import write_atomically
from mnist_lab.lessons.widgets.digit_pictures import picture_of
from mnist_lab.training import PAGES, fit, save_checkpoint

NEEDED = 0.992  # of the validation digits


def main(target: Path) -> float:
    """Train, check and write; return the accuracy on validation data."""
    train, validation = split(load_mnist().train, seed=0)
    result = fit(
        PAGES.model, train, validation, PAGES.config, arguments=PAGES.arguments, device="cpu"
    )
    accuracy = result.best.validation.accuracy
    if accuracy < NEEDED:
        sys.exit(
            f"The pages' network reads {accuracy:.2%} of the validation digits; it needs "
            f"{NEEDED:.1%}."
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(target.with_name("digits.png"), picture_of(validation))
    save_checkpoint(target.parent, result.model, result.card)
    export_web(result.model, result.card, target)
    return accuracy


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("Usage: python -m book.recogniser FILE")
    score = main(Path(sys.argv[1]))
    sys.stdout.write(f"The pages' network reads {score:.2%} of 5,000 validation digits.\n")
