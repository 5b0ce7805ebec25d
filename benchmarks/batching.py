"""Images a second: the usual DataLoader against whole-batch tensors, with the same transforms.

    python -m benchmarks.batching

About 1 minute on two idle cores.

The usual way is torchvision's Dataset and transforms in a DataLoader with 2 workers that stay alive
between epochs. Both sides divide, normalise and augment with the same ranges; the runs take turns,
the first of each is not timed, and the median of the others counts.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterable

from torch.utils.data import DataLoader, Subset
from torchvision import datasets, transforms

from mnist_lab.data import lay_out_for_torchvision, load_mnist
from mnist_lab.training import Augmentation, Batches

from .recording import Record, make_parser, read_arguments

REPEATS = 5
BATCH_SIZE = 128
AFFINE = {"rotate": 10.0, "shift": 2.0, "scale": 0.1, "shear": 10.0}
STRENGTH, SMOOTHNESS = 34.0, 4.0

BILINEAR = transforms.InterpolationMode.BILINEAR
TO_TENSOR = [transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))]
RANDOM_AFFINE = transforms.RandomAffine(10, (2 / 28, 2 / 28), (0.9, 1.1), 10, BILINEAR)
# torchvision displaces by alpha / 2 pixels times the smoothed noise, hence twice our strength.
ELASTIC = transforms.ElasticTransform(2 * STRENGTH, SMOOTHNESS, BILINEAR)

# name: (torchvision's transforms, ours, how many images the slow side does per repeat)
CASES = {
    "no augmentation": (TO_TENSOR, None, 20_000),
    "affine": ([RANDOM_AFFINE, *TO_TENSOR], Augmentation(**AFFINE), 10_000),
    "affine and elastic": (
        [RANDOM_AFFINE, ELASTIC, *TO_TENSOR],
        Augmentation(**AFFINE, elastic_strength=STRENGTH, elastic_smoothness=SMOOTHNESS),
        4_000,
    ),
}


def images_per_second(batches: Iterable[object], count: int) -> float:
    """Go once through all batches."""
    started = time.perf_counter()
    for _ in batches:
        pass
    return count / (time.perf_counter() - started)


def main() -> None:
    """Measure all cases and write the record."""
    arguments = read_arguments(make_parser(__doc__))
    setting = {"batch_size": BATCH_SIZE, "workers": 2, "repeats": REPEATS}
    record = Record("batching", arguments, setting, resume=False)
    mnist = load_mnist()
    with tempfile.TemporaryDirectory() as root:
        lay_out_for_torchvision(root)
        for name, (theirs, augmentation, count) in CASES.items():
            dataset = datasets.MNIST(root, transform=transforms.Compose(theirs))
            loader = DataLoader(
                Subset(dataset, range(count)),
                BATCH_SIZE,
                shuffle=True,
                num_workers=2,
                persistent_workers=True,
            )
            batches = Batches(mnist.train, BATCH_SIZE, augmentation=augmentation, shuffle=True)
            rates: dict[str, list[float]] = {"dataloader": [], "batches": []}
            for _ in range(REPEATS + 1):
                rates["dataloader"].append(images_per_second(loader, count))
                rates["batches"].append(images_per_second(batches, batches.count))
            medians = {side: statistics.median(values[1:]) for side, values in rates.items()}
            ratio = medians["batches"] / medians["dataloader"]
            record.results[name] = {
                **{side: round(value) for side, value in medians.items()},
                "ratio": round(ratio, 1),
                "all": {side: [round(v) for v in values[1:]] for side, values in rates.items()},
            }
            row = f"{medians['dataloader']:10,.0f} {medians['batches']:12,.0f} {ratio:6.1f}"
            print(f"{name:20} {row}", flush=True)
            del loader
    record.save()


if __name__ == "__main__":
    main()
