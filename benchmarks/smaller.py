"""How small a network can be: bits, pruning, factors, distillation, int8, a QR code.

    python -m benchmarks.smaller [--seeds 10] [--fine-seeds 3] [--only bits table ...]

About 60 minutes on one core. It saves as it goes, and goes on where it was stopped.

Everything is scored on the 5,000 validation digits; the test set is not looked at. What is rounded,
pruned and factorised is the pages' network (seed 0), three times for what is fine-tuned. A rate is
found by climbing: from a first guess by factors of two until both neighbours are worse, on a seed
that is not reported, with three epochs for the table. Each row has its own. An epoch of fine-tuning
is one through 20,000 digits.

- `table`: networks of one family, and the pages' at the end, eight epochs each.
- `bits`: weights of the pages' network in 8 to 2 bits; `aware`: for 3 and 2 bits also trained
  for one more epoch as rounded.
- `at_once`: what follows, without another epoch; sizes and times.
- `pruned`: the smallest weights set to zero, with an epoch more; and the same epoch without.
- `narrowed`: whole channels taken out, with an epoch more.
- `factors`: the third convolution and the last layer as two layers of a low rank, likewise.
- `taught`: networks of the table that learn from three others, which are their ensemble.
- `int8`: static quantisation by ONNX Runtime, its time and where the time goes.
- `qr`: the network that fits a QR code.

Times are the processor's, on one thread, as ratios to float32 in turns within one run.
"""

from __future__ import annotations

import base64
import copy
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mnist_lab.data import DigitSet, load_mnist, split
from mnist_lab.export import export_onnx, pack_web, web_bytes
from mnist_lab.few_bits import quantise_network
from mnist_lab.models import build_model, count_parameters
from mnist_lab.serving.int8 import quantise_onnx, time_of_nodes
from mnist_lab.serving.sessions import load_onnx
from mnist_lab.smaller import (
    Ensemble,
    factorise_layers,
    find_smallest,
    keep_zero,
    learn_from,
    narrow,
    round_while_training,
    settle,
)
from mnist_lab.training import (
    PAGES,
    Batches,
    ModelCard,
    TrainConfig,
    evaluate,
    fit,
    load_checkpoint,
    save_checkpoint,
)

from .recording import Record, add, choose_rate, make_parser, measured, read_arguments

WORK = Path(__file__).parents[1] / "_build" / "smaller"  # networks that several parts need
PARTS = (
    *("bits", "int8", "at_once", "qr", "aware", "pruned", "narrowed", "factors", "table", "taught"),
)
QR_BYTES = 2_953  # that the largest QR code holds

# The family of the table is the pages' quicker network: what the pad can read, at any width.
TABLE = (
    *(("quick_cnn", width) for width in (2, 3, 4, 6, 9, 14)),
    ("small_cnn", 16),
)
TABLE_CONFIG = TrainConfig(epochs=8, batch_size=128, learning_rate=0.03)
SEARCHED = replace(TABLE_CONFIG, epochs=3, seed=100)  # for the table's rates
TAUGHT = (("quick_cnn", 3), ("quick_cnn", 6), ("quick_cnn", 14), ("small_cnn", 16))
TEACHERS = 3  # seeds 0, 1, 2 of small_cnn in the table
TEMPERATURE, WEIGHT = 2.0, 1.0
FINE = replace(PAGES.config, epochs=1, learning_rate=0.005)
SEARCH_SEED = 100
FINE_DIGITS = 20_000
AWARE_BITS = (2, 3)
SHARES = (0.0, 0.5, 0.8, 0.9, 0.95)
WIDTHS = (12, 8, 4)
RANKS = ((32, 8), (16, 6), (8, 4), (4, 2))  # of conv3 and output
QR_NETWORK = ("quick_cnn", 8, 4)  # model, width, bits


# --- What is shared ------------------------------------------------------------------------------


@cache
def load_both() -> tuple[DigitSet, DigitSet]:
    """Return 55,000 training and 5,000 validation digits."""
    return split(load_mnist().train, seed=0)


def score(model: nn.Module) -> float:
    """Return the accuracy on the validation digits."""
    return evaluate(model, Batches(load_both()[1])).accuracy


def kept(name: str, make: Callable[[], nn.Module]) -> nn.Module:
    """Return the network of that name from `_build`; made and put there if it is not there yet."""
    folder = WORK / name
    if not (folder / "model.json").exists():
        save_checkpoint(folder, make())
    return load_checkpoint(folder)[0]


def load_pages() -> nn.Module:
    """Return the network of the pages, as `make book` trains it."""

    def make() -> nn.Module:
        result = fit(
            PAGES.model,
            *load_both(),
            PAGES.config,
            arguments=PAGES.arguments,
            device="cpu",
            progress=False,
        )
        return result.model

    return kept("pages", make)


def climb(
    record: Record, entry: dict[str, Any], first: float, try_rate: Callable[[float], float]
) -> float:
    """Return the best rate: from the first by factors of two until both neighbours are worse.

    What was tried is kept in the entry under "rates", so a stopped run goes on.
    """
    tried: dict[str, float] = entry.setdefault("rates", {})
    best = first
    while True:
        for rate in (best, best / 2, best * 2):
            if f"{rate:g}" not in tried:
                tried[f"{rate:g}"] = try_rate(rate)
                record.save("rate", f"{rate:g}", tried[f"{rate:g}"])
        found = choose_rate(tried)
        if f"{found:g}" == f"{best:g}":
            entry["learning_rate"] = best
            return best
        best = found


def train(
    model: nn.Module,
    config: TrainConfig,
    *,
    objective: Any = None,
    digits: int | None = None,
) -> nn.Module:
    """Train on so many digits, or all, to the last epoch; return what then computes."""
    some = load_both()[0]
    try:
        fit(
            model,
            some if digits is None else some.subset(np.arange(digits)),
            config=config,
            objective=objective,
            device="cpu",
            progress=False,
        )
    except FloatingPointError:
        return build_model("linear")  # a rate that is far too high scores as nothing does
    return settle(model)


def fine_tune(
    record: Record, name: tuple[str, str], make: Callable[[], nn.Module], seeds: int
) -> None:
    """Record how a changed network of the pages reads after one more epoch."""
    entry = record.entry(*name)
    rate = climb(
        record,
        entry,
        FINE.learning_rate,
        lambda rate: score(tune(make(), replace(FINE, learning_rate=rate, seed=SEARCH_SEED))),
    )
    for seed in range(measured(entry, "accuracy"), seeds):
        add(entry, "accuracy", score(tune(make(), replace(FINE, learning_rate=rate, seed=seed))))
        record.save(*name, entry["accuracy"])


def tune(model: nn.Module, config: TrainConfig) -> nn.Module:
    """Train a changed network of the pages on, as `train` does, on fewer digits."""
    return train(model, config, digits=FINE_DIGITS)


def describe_size(entry: dict[str, Any], model: nn.Module) -> None:
    """Add the model's parameters, those that are not zero, and bytes where the page knows it."""
    entry["parameters"] = count_parameters(model)
    entry["not_zero"] = int(sum(int((p != 0).sum()) for p in model.parameters()))
    try:
        content = {bits: web_bytes(model, ModelCard.of(model), bits=bits) for bits in (None, 8)}
    except ValueError:  # it is of no form that the page knows
        return
    entry["bytes"] = {
        "float32": len(content[None]),
        "float32, packed": len(pack_web(content[None])),
        "8 bits": len(content[8]),
        "8 bits, packed": len(pack_web(content[8])),
    }


def time_ratios(
    readers: Mapping[str, Callable[[Tensor], Any]], images: Tensor, *, turns: int, runs: int
) -> dict[str, float]:
    """Return each one's time for these images as a ratio to the first's: medians, in turns.

    Of the processor, on one thread: what else the machine does then matters little.
    """
    seconds: dict[str, list[float]] = {name: [] for name in readers}
    for reader in readers.values():
        reader(images)  # not timed: the first run makes room
    for _ in range(turns):
        for name, reader in readers.items():
            started = time.thread_time()
            for _ in range(runs):
                reader(images)
            seconds[name].append(time.thread_time() - started)
    first = median(seconds[next(iter(readers))])
    return {name: median(times) / first for name, times in seconds.items()}


def first_images(count: int) -> Tensor:
    """Return the first so many validation digits, normalised."""
    digits = load_both()[1].subset(np.arange(count))
    return torch.cat([images for images, _ in Batches(digits)])


# --- The parts -----------------------------------------------------------------------------------


def measure_table(record: Record, seeds: int) -> None:
    """Train every size from every seed; a seed for all before the next seed."""
    networks = {f"{model} {width}": (model, width) for model, width in TABLE}

    def one(model: str, width: int, config: TrainConfig) -> nn.Module:
        return train(build_model(model, seed=config.seed, width=width), config)

    for seed in range(seeds):
        for name, (model, width) in networks.items():
            entry = record.entry("table", name)
            if measured(entry, "accuracy") > seed:
                continue
            entry["parameters"] = count_parameters(build_model(model, width=width))
            rate = entry.get("learning_rate") or climb(
                record,
                entry,
                TABLE_CONFIG.learning_rate,
                lambda rate, model=model, width=width: score(  # type: ignore[misc]
                    one(model, width, replace(SEARCHED, learning_rate=rate))
                ),
            )
            trained = one(model, width, replace(TABLE_CONFIG, learning_rate=rate, seed=seed))
            if model == "small_cnn" and seed < TEACHERS:
                save_checkpoint(WORK / f"teacher_{seed}", trained)
            add(entry, "accuracy", score(trained))
            record.save("table", name, seed, entry["accuracy"]["values"][-1])


def round_plainly(model: nn.Module, bits: int, *, one_scale: bool = False) -> nn.Module:
    """Return a copy with rounded weights whose scale is the largest's: a row's, or the layer's."""
    plain = copy.deepcopy(model)
    top = 2 ** (bits - 1) - 1
    with torch.no_grad():
        for weights in (p for p in plain.parameters() if p.ndim > 1):
            rows = weights.flatten(1)
            largest = rows.abs().amax() if one_scale else rows.abs().amax(1, keepdim=True)
            scale = largest / top
            weights.copy_(((rows / scale).round() * scale).view_as(weights))
    return plain


def measure_bits(record: Record, seeds: int) -> None:
    """Round the pages' network, and count the bytes."""
    pages = load_pages()
    record.parts["pages"] = {"accuracy": score(pages), "parameters": count_parameters(pages)}
    describe_size(record.parts["pages"], pages)
    for bits in range(8, 1, -1):
        entry = record.entry("bits", bits)
        small = quantise_network(pages, bits)
        content = web_bytes(pages, ModelCard.of(pages), bits=bits)
        header = 8 + int.from_bytes(content[:8], "little")
        entry["at_once"] = score(small)
        entry["by_largest"] = score(round_plainly(pages, bits))
        entry["one_scale"] = score(round_plainly(pages, bits, one_scale=True))
        entry["bytes"] = {
            "file": len(content),
            "weights": len(content) - header,
            "packed": len(pack_web(content)),
        }
        record.save("bits", bits, entry["at_once"])


def round_pages(bits: int) -> nn.Module:
    """Return the pages' network with rounded weights, behind which others learn."""
    model = load_pages()
    round_while_training(model, bits)
    return model


def prune_pages(share: float) -> nn.Module:
    """Return the pages' network with its smallest weights held at zero."""
    model = load_pages()
    keep_zero(model, find_smallest(model, share))
    return model


def narrow_pages(width: int) -> nn.Module:
    """Return the pages' network with fewer channels."""
    return narrow(load_pages(), width)


def factorise_pages(ranks: tuple[int, int]) -> nn.Module:
    """Return the pages' network with two thin layers in place of conv3 and of output."""
    return factorise_layers(load_pages(), dict(zip(("conv3", "output"), ranks, strict=True)))


CHANGES: dict[str, dict[str, Callable[[], nn.Module]]] = {
    "aware": {str(bits): partial(round_pages, bits) for bits in AWARE_BITS},
    "pruned": {f"{share:g}": partial(prune_pages, share) for share in SHARES},
    "narrowed": {str(width): partial(narrow_pages, width) for width in WIDTHS},
    "factors": {f"{r[0]} and {r[1]}": partial(factorise_pages, r) for r in RANKS},
}


def measure_at_once(record: Record, _seeds: int) -> None:
    """Change the pages' network in every way, and do not train it on."""
    images = first_images(250)
    for part, variants in CHANGES.items():
        for name, make in variants.items():
            entry = record.entry(part, name)
            if "at_once" not in entry:
                changed = settle(make())
                entry["at_once"] = score(changed)
                describe_size(entry, changed)
                record.save(part, name, entry["at_once"])
        if part != "aware" and part not in record.entry("time"):
            readers = {"whole": load_pages().eval()}
            readers |= {name: settle(make()).eval() for name, make in variants.items()}
            with torch.no_grad():
                ratios = time_ratios(readers, images, turns=15, runs=2)
            record.entry("time")[part] = ratios
            record.save("time", ratios)


def measure_tuned(part: str, record: Record, seeds: int) -> None:
    """Change the pages' network in one way, and train it on."""
    for name, make in CHANGES[part].items():
        fine_tune(record, (part, name), make, seeds)


def load_teachers(rate: float) -> Ensemble:
    """Return the ensemble of the table's first large networks."""
    model, width = TABLE[-1]

    def make(seed: int) -> nn.Module:
        config = replace(TABLE_CONFIG, learning_rate=rate, seed=seed)
        return train(build_model(model, seed=seed, width=width), config)

    members = [kept(f"teacher_{seed}", partial(make, seed)) for seed in range(TEACHERS)]
    return Ensemble([member.eval() for member in members])


def measure_taught(record: Record, seeds: int) -> None:
    """Train students from seeds that no teacher had, to be compared with the table's pairwise."""
    largest = "{} {}".format(*TABLE[-1])
    rate = record.entry("table", largest).get("learning_rate", TABLE_CONFIG.learning_rate)
    teacher = load_teachers(rate)
    record.parts["teacher"] = {"accuracy": score(teacher), "members": TEACHERS}
    for model, width in TAUGHT:
        name = f"{model} {width}"
        entry = record.entry("taught", name)

        def one(rate: float, seed: int, model: str = model, width: int = width) -> float:
            student = build_model(model, seed=seed, width=width)
            config = replace(TABLE_CONFIG, learning_rate=rate, seed=seed)
            return score(train(student, config, objective=learn_from(teacher, WEIGHT, TEMPERATURE)))

        rate = climb(
            record,
            entry,
            record.entry("table", name).get("learning_rate", TABLE_CONFIG.learning_rate),
            lambda rate: one(rate, SEARCH_SEED),
        )
        alone = record.entry("table", name)["accuracy"]["values"]
        for number in range(measured(entry, "accuracy"), seeds):
            seed = TEACHERS + number
            if seed >= len(alone):
                break
            add(entry, "accuracy", one(rate, seed))
            add(entry, "over_labels_alone", entry["accuracy"]["values"][-1] - alone[seed])
            record.save("taught", name, entry["accuracy"])


def measure_int8(record: Record, _seeds: int) -> None:
    """Quantise for ONNX Runtime; time it against float32 in turns; ask its profiler."""
    pages = load_pages()
    train_part, validation = load_both()
    calibration = torch.cat(
        [images for images, _ in Batches(train_part.subset(np.arange(500)))]
    ).numpy()
    images = torch.cat([images for images, _ in Batches(validation)])
    with TemporaryDirectory() as scratch:
        paths = {"float32": Path(scratch) / "float32.onnx"}
        export_onnx(pages, ModelCard.of(pages), paths["float32"])
        for per_channel in (True, False):
            name = f"int8, a scale for each {'channel' if per_channel else 'layer'}"
            paths[name] = Path(scratch) / f"{per_channel}.onnx"
            quantise_onnx(paths["float32"], calibration, paths[name], per_channel=per_channel)
        networks = {name: load_onnx(path, threads=1)[0] for name, path in paths.items()}
        answers: dict[str, NDArray[Any]] = {}
        for name, network in networks.items():
            entry = record.entry("int8", name)
            answers[name] = network(images).argmax(1).numpy()
            entry["accuracy"] = float((answers[name] == validation.labels).mean())
            entry["agrees"] = float((answers[name] == answers["float32"]).mean())
            entry["bytes"] = paths[name].stat().st_size
        for batch, runs in ((1, 200), (16, 20), (256, 2)):
            ratios = time_ratios(networks, images[:batch], turns=31, runs=runs)
            for name, path in paths.items():
                entry = record.entry("int8", name)
                entry.setdefault("time", {})[str(batch)] = ratios[name]
                some = images[:batch].numpy()
                nodes = time_of_nodes(path, some, runs=max(20, 200 // batch))
                entry.setdefault("nodes", {})[str(batch)] = nodes
    record.save("int8", record.entry("int8"))


def measure_qr(record: Record, _seeds: int) -> None:
    """Train the network of the QR code: as one of the table, then an epoch as rounded."""
    model, width, bits = QR_NETWORK
    entry = record.entry("qr")
    if "file" in entry:
        return
    entry |= {"model": model, "width": width, "bits": bits}

    def whole(rate: float, seed: int) -> nn.Module:
        config = replace(TABLE_CONFIG, epochs=16, learning_rate=rate, seed=seed)
        return train(build_model(model, seed=seed, width=width), config)

    first = whole(TABLE_CONFIG.learning_rate, 0)
    entry["float32"] = score(first)
    entry["at_once"] = score(quantise_network(first, bits))
    begun = {name: tensor.clone() for name, tensor in first.state_dict().items()}
    record.save("qr", entry)

    def rounded(rate: float, seed: int) -> nn.Module:
        student = build_model(model, width=width)
        student.load_state_dict(begun)
        round_while_training(student, bits)
        return train(student, replace(TABLE_CONFIG, epochs=2, learning_rate=rate, seed=seed))

    rate = climb(
        record,
        entry,
        TABLE_CONFIG.learning_rate / 8,
        lambda rate: score(rounded(rate, SEARCH_SEED)),
    )
    small = rounded(rate, 0)
    content = pack_web(web_bytes(small, ModelCard.of(small), bits=bits))
    if len(content) > QR_BYTES:
        raise SystemExit(f"The file has {len(content)} bytes; a QR code holds {QR_BYTES}.")
    entry["parameters"] = count_parameters(small)
    entry["accuracy"] = score(quantise_network(small, bits))
    entry["bytes"] = len(content)
    entry["file"] = base64.b64encode(content).decode()
    record.save("qr", entry["accuracy"], entry["bytes"])


def conclude(record: Record) -> None:
    """Write down the smallest network of the table that reads more than 99 % by its mean."""
    good = [
        entry
        for entry in record.entry("table").values()
        if "accuracy" in entry and entry["accuracy"]["mean"] > 0.99
    ]
    if good:
        smallest = min(good, key=lambda entry: entry["parameters"])
        record.parts["smallest_above_99"] = smallest["parameters"]
    record.save()


MEASURE: dict[str, Callable[[Record, int], None]] = {
    "bits": measure_bits,
    "int8": measure_int8,
    "at_once": measure_at_once,
    "qr": measure_qr,
    **{part: partial(measure_tuned, part) for part in CHANGES},
    "taught": measure_taught,
}


def run(record: Record, only: Iterable[str], seeds: int, fine_seeds: int) -> None:
    """Measure the parts in order; what the record has already is not measured again."""
    for part in only:
        if part == "table":
            measure_table(record, seeds)
        else:
            MEASURE[part](record, fine_seeds)
        conclude(record)


def main() -> None:
    """Go on where the record stops."""
    parser = make_parser(__doc__, seeds=10, only=PARTS, threads=1, anew=True)
    parser.add_argument(
        "--fine-seeds", type=int, default=3, help="of what is trained on or taught (default 3)"
    )
    arguments = read_arguments(parser)
    setting = {"table": TABLE_CONFIG, "fine_tuning": FINE, "temperature": TEMPERATURE}
    record = Record("smaller", arguments, setting)
    run(record, arguments.only, arguments.seeds, arguments.fine_seeds)


if __name__ == "__main__":
    main()
