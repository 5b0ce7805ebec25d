"""How soon detectors notice that other digits come in, and how often they alarm for nothing.

    python -m benchmarks.drift [--streams 100] [--anew]

About 2 minutes on one core.

A network that was trained on 20,000 digits reads streams of validation digits, one after another.
After 1,000 of them something changes: every second digit is written with a thin pen; one in five is
a letter; or the scans lose their contrast, step by step. Nobody says what a digit was. Two signals
tell of it: the probability of the answer, and how near the features lie to those of some class
(`inspection.FeatureDistance`).

Three detectors listen: the cumulative sum of `serving.watching`, and ADWIN and Page-Hinkley of the
library river. Each has one setting, and gets the most sensitive one with which at most 5 %
of 1,000-digit streams of one half of the validation digits give an alarm. Everything that is
recorded comes from the other half: the share of streams without a change that give an alarm, and,
of those with one, how many digits pass before it is noticed. (River's KSWIN would take a
thousand times as long a digit.)

Last, a stream whose digits come in pages of 20 by one hand, each page leaning its own way, beside
one of the same digits in which every digit leans its own way: what is each digit's own chance no
longer is chance where it is shared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_lab import Reader
from mnist_lab.data import DigitSet, corrupt, load_mnist, rotate_digits, split
from mnist_lab.extras import needs_extra
from mnist_lab.inspection import (
    FeatureDistance,
    PixelNetwork,
    as_pixels,
    draw_foreign,
    features_of,
)
from mnist_lab.lessons import summarise
from mnist_lab.serving import Cusum, limit_for
from mnist_lab.training import TrainConfig, fit

from .recording import Record, make_parser, read_arguments

USUAL = 1_000  # digits before the change; and of a stream that has none
CHANGED = 1_000  # digits after it
CHANCE = 0.05  # of a false alarm in a usual stream, for which each detector is set
THIN, LETTERS = 0.5, 0.2  # share of the digits that are changed
CONTRASTS = (0.6, 0.45, 0.3)  # of the ink that is left, in steps
STEP = 250  # digits between two of them
PAGE, LEAN, TURNS = 20, 8.0, np.arange(-20, 21, 5)  # digits, degrees, degrees
LEANING = ("cumulative sum", "ADWIN")  # detectors that hear the pages
SIGNALS = ("probability", "features")

Floats = NDArray[np.float64]
Add = Callable[[float], bool]  # takes the next number, and says whether it is an alarm


@dataclass(frozen=True)
class Way:
    """A detector, and the settings that it may get, the most sensitive first.

    `make` takes a setting, and the mean and deviation of the usual numbers.
    """

    settings: Sequence[float]
    make: Callable[[float, float, float], Add]


def _listen(detector: Any) -> Add:
    """Return what feeds a detector of river."""

    def add(value: float) -> bool:
        detector.update(value)
        return bool(detector.drift_detected)

    return add


def make_ways() -> dict[str, Way]:
    """Return the detectors by name; river's take numbers in deviations from the usual mean."""
    with needs_extra("chapters"):
        from river import drift

    def scaled(make: Callable[[float], Any]) -> Callable[[float, float, float], Add]:
        def made(setting: float, mean: float, deviation: float) -> Add:
            add = _listen(make(setting))
            return lambda value: add((value - mean) / deviation)

        return made

    return {
        "cumulative sum": Way((), lambda limit, m, d: Cusum(m, d, limit=limit).add),
        "ADWIN": Way(
            (1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001, 1e-4, 1e-5, 1e-7, 1e-9),
            scaled(lambda setting: drift.ADWIN(delta=setting)),
        ),
        "Page-Hinkley": Way(
            (5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 60.0, 80.0, 120.0, 160.0, 240.0, 320.0),
            scaled(lambda setting: drift.PageHinkley(threshold=setting, delta=0.25, mode="down")),
        ),
    }


def first_alarm(add: Add, values: Floats) -> int | None:
    """Return the place of the first alarm in a stream."""
    for place, value in enumerate(values.tolist()):
        if add(value):
            return place
    return None


def choose_setting(name: str, way: Way, usual: Floats, streams: list[Floats]) -> float:
    """Return the most sensitive setting with which few enough usual streams give an alarm.

    Raises
    ------
    ValueError
        If no setting is deaf enough.
    """
    mean, deviation = float(usual.mean()), float(usual.std())
    if name == "cumulative sum":
        return limit_for(usual, USUAL, chance=CHANCE)
    for setting in way.settings:
        alarms = [first_alarm(way.make(setting, mean, deviation), one) for one in streams]
        if np.mean([alarm is not None for alarm in alarms]) <= CHANCE:
            return setting
    raise ValueError(f"{name} alarms too often with each of its settings.")


def change_digits(usual: DigitSet, seed: int) -> dict[str, list[NDArray[np.uint8]]]:
    """Return the images from which the changed part of each stream is drawn, step after step."""
    generator = np.random.default_rng(seed)
    letters = draw_foreign("letters", len(usual), seed)
    mixed, thin = usual.images.copy(), usual.images.copy()
    places = generator.random(len(usual)) < LETTERS
    mixed[places] = letters[places]
    places = generator.random(len(usual)) < THIN
    thin[places] = corrupt(usual, "thin", seed=seed).images[places]
    return {
        "thin pens": [thin],
        "a new class": [mixed],
        "less contrast": [corrupt(usual, "faint", dose, seed=seed).images for dose in CONTRASTS],
    }


def draw_changed(pools: list[Floats], generator: np.random.Generator) -> Floats:
    """Draw the numbers that follow a change: some of each pool, and the rest of the last."""
    counts = [STEP] * (len(pools) - 1)
    counts.append(CHANGED - sum(counts))
    return np.concatenate(
        [generator.choice(pool, count) for pool, count in zip(pools, counts, strict=True)]
    )


def draw_leaning(turned: Floats, length: int, page: int, generator: np.random.Generator) -> Floats:
    """Draw numbers of digits that lean, so many to a page that lean alike.

    `turned` (angles, n) has the number of each digit at each of the angles `TURNS`.
    """
    lean = generator.normal(0, LEAN, -(-length // page)).repeat(page)[:length]
    rows = np.abs(lean[:, None] - TURNS).argmin(1)
    drawn: Floats = turned[rows, generator.integers(0, turned.shape[1], length)]
    return drawn


class Signals:
    """What is told of images without their labels.

    Parameters
    ----------
    reader : Reader
    known : DigitSet
        That it has learnt from.
    """

    def __init__(self, reader: Reader, known: DigitSet) -> None:
        self.reader = reader
        self.network = PixelNetwork(reader.model, reader.card.normalisation)
        self.distance = FeatureDistance(
            features_of(self.network, as_pixels(known.images)), known.labels
        )

    def __call__(self, images: NDArray[np.uint8]) -> dict[str, Floats]:
        """Return the probability of each answer, and the nearness of its features, (n,)."""
        features = features_of(self.network, as_pixels(images))
        far = -self.distance(features)
        return {
            "probability": self.reader.read(images).probabilities.max(1).astype(np.float64),
            "features": -np.sqrt(far),
        }


def measure(
    name: str, way: Way, numbers: dict[str, Any], streams: int, seed: int
) -> dict[str, Any]:
    """Set a detector, then let it listen to streams with a change and without."""
    generator = np.random.default_rng(seed)
    usual = numbers["to set"]
    mean, deviation = float(usual.mean()), float(usual.std())
    heard = [generator.choice(usual, USUAL) for _ in range(2 * streams)]
    setting = choose_setting(name, way, usual, heard)

    def listen(values: Floats) -> int | None:
        return first_alarm(way.make(setting, mean, deviation), values)

    calm = [listen(generator.choice(numbers["to measure"], USUAL)) for _ in range(2 * streams)]
    found: dict[str, Any] = {
        "setting": setting,
        "false_alarms": float(np.mean([alarm is not None for alarm in calm])),
        "calm_streams": len(calm),
        "changes": {},
    }
    for change, pools in numbers["changes"].items():
        delays, missed, early = [], 0, 0
        for _ in range(streams):
            before = generator.choice(numbers["to measure"], USUAL)
            alarm = listen(np.concatenate([before, draw_changed(pools, generator)]))
            if alarm is None:
                missed += 1
            elif alarm < USUAL:
                early += 1
            else:
                delays.append(float(alarm - USUAL + 1))
        found["changes"][change] = {
            "delay": summarise(delays) if delays else None,
            "missed": missed,
            "early": early,
            "streams": streams,
        }
    return found


def measure_pages(
    way: Way, name: str, turned: dict[str, Floats], streams: int, seed: int
) -> dict[str, float]:
    """Return the share of false alarms where each digit leans its own way, and each page."""
    generator = np.random.default_rng(seed)
    usual = draw_leaning(turned["to set"], 20_000, 1, generator)
    mean, deviation = float(usual.mean()), float(usual.std())
    heard = [draw_leaning(turned["to set"], USUAL, 1, generator) for _ in range(2 * streams)]
    setting = choose_setting(name, way, usual, heard)
    found = {}
    for words, page in (("each digit its own way", 1), ("each page its own way", PAGE)):
        alarms = [
            first_alarm(
                way.make(setting, mean, deviation),
                draw_leaning(turned["to measure"], USUAL, page, generator),
            )
            for _ in range(2 * streams)
        ]
        found[words] = float(np.mean([alarm is not None for alarm in alarms]))
    return found


def main() -> None:
    """Train the network, draw the streams, and write what each detector makes of them."""
    parser = make_parser(__doc__, anew=True)
    parser.add_argument("--streams", type=int, default=100, help="of each change (default 100)")
    arguments = read_arguments(parser)
    record = Record("drift", arguments, {"streams": arguments.streams, "chance": CHANCE})
    train, validation = split(load_mnist().train, seed=0)
    half, other = split(validation, seed=0, validation=2_500)
    some = train.subset(np.arange(20_000))
    config = TrainConfig(epochs=2, seed=0)
    reader = Reader(fit("small_cnn", some, None, config, device="cpu", progress=False).model)
    signals = Signals(reader, some)
    calm = {"to set": signals(half.images), "to measure": signals(other.images)}
    pools = change_digits(other, seed=0)
    changed = {name: [signals(images) for images in steps] for name, steps in pools.items()}
    for name, images in {"usual": other.images, **{n: p[-1] for n, p in pools.items()}}.items():
        means = signals(images)
        entry = record.entry("digits", name)
        entry["right"] = float((reader.read(images).labels == other.labels).mean())
        entry |= {signal: float(values.mean()) for signal, values in means.items()}
    turned = {
        name: [signals(rotate_digits(part, float(angle)).images) for angle in TURNS]
        for name, part in (("to set", half), ("to measure", other))
    }
    ways = make_ways()
    rows = {name: np.stack([one["probability"] for one in parts]) for name, parts in turned.items()}
    for name, signal in ((name, signal) for name in ways for signal in SIGNALS):
        if name in record.entry("detectors", signal):
            continue
        numbers: dict[str, Any] = {key: values[signal] for key, values in calm.items()} | {
            "changes": {key: [step[signal] for step in steps] for key, steps in changed.items()}
        }
        found = measure(name, ways[name], numbers, arguments.streams, seed=1)
        record.entry("detectors", signal)[name] = found
        record.save(signal, name, found["setting"], found["false_alarms"])
        if name in LEANING and name not in record.entry("pages"):
            told = measure_pages(ways[name], name, rows, arguments.streams, seed=2)
            record.entry("pages")[name] = told
            record.save("pages", name, told)


if __name__ == "__main__":
    main()
