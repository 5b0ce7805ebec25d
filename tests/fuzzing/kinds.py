"""The kinds of input that are tried: files of all sorts, strokes, answers, command lines."""

from __future__ import annotations

import argparse
import contextlib
import functools
import gzip
import hashlib
import io
import json
import lzma
import math
import shutil
import struct
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import safetensors.torch
import torch
from PIL import Image

from mnist_lab.cli import main, make_parser
from mnist_lab.data.digit_set import DataError, DigitSet
from mnist_lab.data.idx import read_idx
from mnist_lab.data.mnist import MNIST
from mnist_lab.data.own_files import load_idx_folder, load_image_folder, load_npz, save_npz
from mnist_lab.finetuning.lora import add_lora, load_lora, save_lora
from mnist_lab.handwriting.found import find_digits_in_file
from mnist_lab.handwriting.ink import HandwritingError
from mnist_lab.handwriting.reader import load_reader
from mnist_lab.handwriting.strokes import draw_strokes
from mnist_lab.lessons.exercises import EXERCISES, judge_answer
from mnist_lab.models.registry import MODELS, build_model
from mnist_lab.training import loop
from mnist_lab.training.checkpoints import CheckpointError, save_checkpoint
from mnist_lab.training.config import TrainConfig
from mnist_lab.training.runs import fit
from tests.fuzzing.damage import Draw, damaged, damaged_text, junk, pick
from tests.fuzzing.harness import Attempt, Fault, Kind, check_sentence
from tests.lessons.hostile_answers import CHANGES, DIES_LOUDLY, RAISES, RESULTS

_NOT_OURS = ("model-best.safetensors", "model-00001-of-00002.safetensors", "resume-2024.docx",
             "lora-mine.safetensors", "notes.txt")  # fmt: skip


def some_digits(count: int = 60) -> DigitSet:
    draw = np.random.default_rng(0)
    return DigitSet(draw.integers(0, 256, (count, 28, 28), np.uint8), np.arange(count) % 10)


def demand(is_so: bool, what: str) -> None:
    """Raise a Fault unless something that was read is as it must be."""
    if not is_so:
        raise Fault(f"what was read is wrong: {what}")


# --- Data ----------------------------------------------------------------------------------------


def idx_bytes(array: Any) -> bytes:
    code = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}[array.dtype.str[1:]]
    header = struct.pack(f">2xBB{array.ndim}I", code, array.ndim, *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def packed(content: bytes, draw: Draw) -> bytes:
    """Pack bytes with gzip or xz, or not at all, and perhaps damage what comes out."""
    pack: Callable[[bytes], bytes] = pick(
        draw, [bytes, functools.partial(gzip.compress, mtime=0), lzma.compress]
    )
    return damaged(pack(content), draw) if draw.random() < 0.7 else pack(damaged(content, draw))


def make_idx(draw: Draw, folder: Path) -> Attempt:
    kind = pick(draw, ["u1", "i1", "i2", "i4", "f4", "f8"])
    shape = pick(draw, [(5,), (3, 4), (4, 5, 6), (2, 28, 28), (0,)])
    path = folder / "some.idx"
    path.write_bytes(packed(idx_bytes(draw.integers(0, 100, shape).astype(kind)), draw))
    mmap = draw.random() < 0.2

    def read() -> str:
        array = read_idx(path, mmap=mmap)
        demand(array.ndim > 0, "no dimensions")
        demand(len(array.tobytes()) == array.nbytes, "no elements")
        return "read"

    return Attempt(read, str(path), (DataError,), f"IDX of {kind}, {shape}, mapped: {mmap}")


def make_pair(draw: Draw, folder: Path) -> Attempt:
    digits = some_digits(6)
    for name, array in (
        ("t10k-images-idx3-ubyte", digits.images),
        ("t10k-labels-idx1-ubyte", digits.labels.astype("u1")),
    ):
        content = idx_bytes(array)
        (folder / name).write_bytes(packed(content, draw) if draw.random() < 0.7 else content)

    def read() -> str:
        return check_digits(load_idx_folder(folder))

    return Attempt(read, str(folder), (DataError,), "a pair of IDX files")


def check_digits(digits: DigitSet) -> str:
    demand(digits.images.dtype == np.uint8 and digits.images.ndim == 3, "the images")
    demand(len(digits.images) == len(digits.labels), "the counts")
    demand(digits.labels.min(initial=0) >= 0, "labels below 0")
    demand(digits.labels.max(initial=0) < len(digits.class_names), "labels without a name")
    return "read"


def make_npz(draw: Draw, folder: Path) -> Attempt:
    path = folder / "own.npz"
    if draw.random() < 0.5:
        save_npz(path, some_digits(4))
        path.write_bytes(damaged(path.read_bytes(), draw))
    else:  # sound files of what nobody expects
        shape = pick(draw, [(4, 28, 28), (4, 784), (0, 28, 28), (4, 28), (4, 1, 28, 28), (28, 28)])
        kind = pick(draw, ["u1", "i8", "f4", "f8", "bool", "c8", "U3", "M8[s]", "u8"])
        labels = draw.integers(-1, 12, 4).astype(pick(draw, ["i8", "u1", "f8", "U1", "bool"]))
        names = pick(draw, [None, np.array(list("abcdefghij")), np.arange(10), np.array(["\x1b"])])
        arrays = {"images": draw.integers(0, 256, shape).astype(kind), "labels": labels}
        if names is not None:
            arrays["class_names"] = names
        if draw.random() < 0.2:
            arrays.pop(pick(draw, list(arrays)))
        buffer = io.BytesIO()
        pick(draw, [np.savez, np.savez_compressed])(buffer, **arrays)
        path.write_bytes(buffer.getvalue())
    return Attempt(lambda: check_digits(load_npz(path)), str(path), (DataError,), "npz")


@functools.cache
def pictures() -> dict[str, bytes]:
    """Return a small picture in every format that this Pillow can write."""
    Image.init()
    image = Image.fromarray(np.pad(np.full((12, 4), 0, np.uint8), 8, constant_values=255))
    made = {}
    for name in sorted(Image.SAVE):
        for mode in ("L", "RGB", "P", "1", "RGBA", "I;16", "F"):
            file = io.BytesIO()
            try:
                with warnings.catch_warnings(action="ignore"):
                    image.convert(mode).save(file, name)
            except Exception:  # not in this mode, or not without a program that is not here
                continue
            made[f"{name} {mode}"] = file.getvalue()
    return made


def make_picture(draw: Draw, folder: Path) -> Attempt:
    kind = pick(draw, pictures())
    path = folder / "picture"
    path.write_bytes(damaged(pictures()[kind], draw))

    def read() -> str:
        for found in find_digits_in_file(path):
            demand(found.image.shape == (28, 28) and found.image.any(), "a digit without ink")
        return "read"

    return Attempt(read, str(path), (HandwritingError,), kind)


def make_picture_folder(draw: Draw, folder: Path) -> Attempt:
    place = folder / "pictures"
    names = ["0", "1", "seven", "é", "x" * 200]
    for name in draw.choice(names, 2, replace=False):
        (place / name).mkdir(parents=True)
        for number in range(2):
            content = pictures()["PNG L"]
            content = damaged(content, draw) if draw.random() < 0.3 else content
            (place / name / f"{number}.png").write_bytes(content)
        for other in ("Thumbs.db", "desktop.ini", ".hidden", "readme.txt"):
            if draw.random() < 0.3:
                (place / name / other).write_bytes(draw.bytes(30))
    return Attempt(
        lambda: check_digits(load_image_folder(place)), str(place), (DataError,), "pictures"
    )


# --- Networks ------------------------------------------------------------------------------------


@functools.cache
def made_once(name: str) -> Path:
    """Return a sound folder: a checkpoint, an adapter, or a run that was killed."""
    folder = Path(tempfile.mkdtemp())
    if name == "lora":
        save_lora(folder, changed_by_lora())
    elif name == "run":
        step, count = loop.train_step, [0]

        def killed(*given: Any) -> Any:
            count[0] += 1
            if count[0] > 4:
                raise KeyboardInterrupt
            return step(*given)

        with mock.patch.object(loop, "train_step", killed), contextlib.suppress(KeyboardInterrupt):
            run(folder)
    else:
        save_checkpoint(folder, build_model(name, **({"width": 2} if name == "small_cnn" else {})))
    for other in _NOT_OURS:
        (folder / other).write_bytes(b"mine")
    return folder


def run(folder: Path, **options: Any) -> Any:
    config = TrainConfig(epochs=2, batch_size=20, optimizer="sgd", learning_rate=0.05)
    digits = some_digits()
    return fit("linear", digits, digits, config, folder=folder, device="cpu", progress=False,
               **options)  # fmt: skip


def changed_by_lora() -> torch.nn.Module:
    model = build_model("mlp", hidden=4, seed=0)
    add_lora(model, rank=2)
    return model


def spoil(folder: Path, name: str, draw: Draw) -> str:
    """Damage the JSON file of that name, or the weights that it names; return which."""
    path = folder / f"{name}.json"
    record = json.loads(path.read_text())
    weights = folder / record["weights"]
    way = draw.random()
    if way < 0.5:
        path.write_bytes(damaged_text(record, draw))
        return "its JSON"
    if way < 0.7:
        weights.write_bytes(damaged(weights.read_bytes(), draw))
        return "its weights"
    tensors = safetensors.torch.load(weights.read_bytes())
    if way < 0.9:  # sound files of other numbers, with the digest that fits
        which = pick(draw, tensors)
        change = pick(draw, [
            lambda t: t * math.nan, lambda t: t.double() * 1e300, lambda t: t.flatten(),
            lambda t: t[None], lambda t: t.to(torch.int8), lambda t: t.half(), lambda t: t * 0,
            lambda t: torch.zeros(0), lambda t: t - 1e30, lambda t: t.bfloat16(),
        ])  # fmt: skip
        tensors[which] = change(tensors[which]).contiguous()
        content = safetensors.torch.save(tensors)
    else:
        content = damaged(weights.read_bytes(), draw)
    weights.write_bytes(content)
    record["weights_sha256"] = hashlib.sha256(content).hexdigest()
    path.write_text(json.dumps(record))
    return "its weights, with the digest"


def make_checkpoint(draw: Draw, folder: Path) -> Attempt:
    name = pick(draw, ["linear", "mlp", "small_cnn"])
    place = shutil.copytree(made_once(name), folder / "model")
    what = spoil(place, "model", draw)

    def read() -> str:
        reader = load_reader(place, device="cpu")
        size = reader.card.input_size
        demand(max(size) < 10_000, f"images of {size}")
        for value in (0, 255):
            reading = reader.read(np.full((1, *size), value, np.uint8))
            demand(bool(np.isfinite(reading.probabilities).all()), "probabilities")
            demand(len(reading.names) == 1 and bool(str(reading.names[0])), "names")
        return "read"

    return Attempt(read, str(place), (CheckpointError,), f"{name}: {what}")


def make_lora(draw: Draw, folder: Path) -> Attempt:
    place = shutil.copytree(made_once("lora"), folder / "lora")
    what = spoil(place, "lora", draw)

    def read() -> str:
        base = build_model("mlp", hidden=4, seed=0)
        before = {name: tensor.clone() for name, tensor in base.state_dict().items()}
        try:
            model = load_lora(place, base)
        except CheckpointError:
            same = all(torch.equal(before[name], t) for name, t in base.state_dict().items())
            demand(same, "the base was changed")
            raise
        demand(bool(model(torch.zeros(1, 1, 28, 28)).isfinite().all()), "logits")
        return "read"

    return Attempt(read, str(place), (CheckpointError,), what)


def make_run(draw: Draw, folder: Path) -> Attempt:
    """Make a run that was killed and then damaged; what is gone on from must come to an end."""
    place = shutil.copytree(made_once("run"), folder.parent / f"{folder.name}-run")
    for other in _NOT_OURS:
        shutil.copy(place / other, folder / other)
    what = spoil(place, "resume", draw)

    def read() -> str:
        try:
            result = run(place, resume=True)
        except FloatingPointError as error:  # numbers that fit, but lead nowhere
            check_sentence(str(error), "loss")
            return "refused"
        finally:
            for other in _NOT_OURS:
                demand((place / other).read_bytes() == b"mine", f"{other} is gone")
            shutil.rmtree(place)
        demand(len(result.reports) == 2, "the number of epochs")
        demand(all(math.isfinite(report.train.loss) for report in result.reports), "the loss")
        return "read"

    return Attempt(read, str(place), (ValueError,), what)


# --- Strokes, answers, command lines -------------------------------------------------------------


def make_strokes(draw: Draw, _: Path) -> Attempt:
    scale = 10.0 ** int(draw.integers(-300, 300)) if draw.random() < 0.3 else 1.0

    def point() -> Any:
        if draw.random() < 0.05:
            return junk(draw)
        return [float(value) * scale for value in draw.normal(size=int(draw.choice([2, 2, 3])))]

    def stroke() -> Any:
        if draw.random() < 0.05:
            return junk(draw)
        return [point() for _ in range(int(draw.integers(0, 30)))]

    strokes = [stroke() for _ in range(int(draw.integers(0, 5)))]
    given = junk(draw) if draw.random() < 0.05 else strokes

    def read() -> str:
        image = draw_strokes(given)
        demand(image.shape == (28, 28) and image.dtype == np.uint8 and image.max() > 0, "no ink")
        return "read"

    return Attempt(read, "troke", (HandwritingError,), f"strokes, scale {scale:g}")


def make_answer(draw: Draw, _: Path) -> Attempt:
    name = pick(draw, EXERCISES)
    exercise = EXERCISES[name]
    bad = {key: made for key, made in RESULTS.items() if "endless" not in key}
    if exercise.cases is None:  # a value neither raises, nor does it die before it is judged
        bad = {key: made for key, made in bad.items() if key not in DIES_LOUDLY}
    raises = RAISES if exercise.cases else {}
    key = pick(draw, [*bad, *raises, "junk", "a part", "another type", "spoilt"])
    changes = pick(draw, [*CHANGES, None, None])
    seed = int(draw.integers(2**32))

    def result(right: Any) -> Any:
        own = np.random.default_rng(seed)
        if key in bad or key in raises:
            return {**bad, **raises}[key]()
        if key == "junk":
            return junk(own)
        parts = right if isinstance(right, tuple) else (right,)
        if key == "a part":
            return pick(own, parts)
        if key == "another type":
            return [np.asarray(part).astype(object) for part in parts]
        return tuple(spoilt(part, own) for part in parts)

    def spoilt(part: Any, own: np.random.Generator) -> Any:
        if isinstance(part, frozenset):  # of names
            return part ^ {"none of them"}
        return np.asarray(part, float) + own.normal(0, 0.1) + 0.5

    def answer(*given: Any) -> Any:
        right = exercise.solution(*given)
        if changes is not None:
            CHANGES[changes]()
        return result(right)

    def read() -> str:
        verdict = judge_answer(name, answer if exercise.cases else result(exercise.solution))
        demand(not verdict.right or key in ("a part", "junk"), f"right: {key}")
        check_sentence(verdict.text, name)
        return "read" if verdict.right else "refused"

    return Attempt(read, name, (), f"{name}: {key}, after {changes}")


@functools.cache
def few_of_mnist() -> MNIST:
    """Return what stands for MNIST, so that no command works for long."""
    return MNIST(replace(some_digits(5_100), part="train"), replace(some_digits(100), part="test"))


@functools.cache
def commands() -> dict[str, argparse.ArgumentParser]:
    """Return the parser of every command."""
    (action,) = [a for a in make_parser()._actions if isinstance(a, argparse._SubParsersAction)]
    return dict(action.choices)


def make_command(draw: Draw, folder: Path) -> Attempt:
    """Make a command line of options with values that fit them seldom; nothing trains for long."""
    command = pick(draw, commands())
    shutil.copytree(made_once("small_cnn"), folder / "model")
    (folder / "good.png").write_bytes(pictures()["PNG L"])
    (folder / "bad.png").write_bytes(damaged(pictures()["PNG L"], draw))
    save_npz(folder / "own.npz", some_digits())
    (folder / "notes").mkdir()
    (folder / "notes" / "resume-2024.docx").write_bytes(b"mine")
    values = ["", "x", "0", "-1", "1", "1e9", "nan", "0.5", "[]", "all", "cpu", "fast", "web",
              "mnist", "\udcff\x1b[2J", "x" * 300, *MODELS, str(folder), str(folder / "model"),
              str(folder / "none" / "deep"), str(folder / "bad.png"),
              str(folder / "own.npz")]  # fmt: skip
    words: list[str] = [command]
    for action in commands()[command]._actions:
        if action.dest in ("help", "version"):
            continue
        if not action.option_strings:
            if draw.random() < 0.9:
                words.append(
                    str(folder / "model")
                    if draw.random() < 0.7 and action.dest == "folder"
                    else pick(draw, [*values, str(folder / "good.png")])
                )
        elif draw.random() < (0.9 if action.required else 0.15):
            words.append(pick(draw, action.option_strings))
            if action.nargs != 0:
                choices = list(action.choices or ())
                fits = choices and draw.random() < 0.6
                words.append(str(pick(draw, choices if fits else values)))
    options = [word for action in commands()[command]._actions for word in action.option_strings]
    for option, value in (("--data", str(folder / "own.npz")), ("--epochs", "1"),
                          ("--out", str(folder / "new")), ("--device", "cpu")):  # fmt: skip
        if option in options and (option != "--out" or draw.random() < 0.7):
            words += [option, value]

    def read() -> str:
        said, out = io.StringIO(), io.StringIO()
        with (
            contextlib.chdir(folder),  # what is written under a name alone, is written here
            mock.patch("sys.stderr", said),
            mock.patch("sys.stdout", out),
            mock.patch("mnist_lab.data.mnist.load_mnist", few_of_mnist),
        ):
            try:
                status = main(words)
            except SystemExit as error:
                status = error.code  # type: ignore[assignment]
        text = said.getvalue()
        demand(status in (0, 2), f"status {status}: {text[-300:]}")
        demand("Traceback" not in text, text[-300:])
        demand("nan" not in out.getvalue().lower().replace(str(folder), ""), out.getvalue()[:200])
        if status == 2:
            lines = text.strip().splitlines()
            demand(bool(lines) and 0 < len(lines[-1]) < 1_500, f"nothing is said: {text[-300:]!r}")
            return "refused"
        return "read"

    return Attempt(read, command, (), " ".join(words).encode("ascii", "backslashreplace").decode())


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("idx", make_idx, 600),
        Kind("idx-folder", make_pair, 300),
        Kind("npz", make_npz, 500),
        Kind("picture", make_picture, 600),
        Kind("picture-folder", make_picture_folder, 100),
        Kind("checkpoint", make_checkpoint, 300),
        Kind("lora", make_lora, 200),
        Kind("run", make_run, 30),
        Kind("strokes", make_strokes, 400),
        Kind("answer", make_answer, 160),
        Kind("command", make_command, 25),
    )
}
