"""The command line: `python -m mnist_lab train | pretrain | evaluate | predict | export`.

Results go to standard output (with --json, the last line is one JSON object), progress to standard
error. Bad usage or bad input is one sentence on standard error and status 2. Of several processes
that torchrun starts, one prints and writes.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from mnist_lab import __version__

if TYPE_CHECKING:
    from torch import nn

    from mnist_lab.training.checkpoints import ModelCard

# Nothing heavy is imported here: `--help` and a wrong option answer at once.


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, without the usage in front of it."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} ({self.prog} --help shows what there is)\n")


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = _Parser(
        prog="mnist_lab",
        description="Train a network on handwritten digits, score it, and read digits with it.",
    )
    parser.add_argument("--version", action="version", version=f"mnist-lab {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_train(commands)
    _add_pretrain(commands)
    _add_evaluate(commands)
    _add_predict(commands)
    _add_export(commands)
    return parser


def _add_train(commands: Any) -> None:
    parser = commands.add_parser(
        "train",
        help="train on MNIST and write a checkpoint",
        description="Train on 55,000 of MNIST's training digits and keep the epoch that is best on "
        "the other 5,000. Ctrl-C leaves a usable checkpoint. Several processes or GPUs share the "
        "work where torchrun starts them: torchrun --nproc_per_node=2 -m mnist_lab train.",
        epilog="With --json: validation_accuracy and loss (both on the 5,000), seconds (training "
        "only), parameters, epochs, device, seed; with --test also accuracy (0 to 1) and n.",
    )
    parser.add_argument(
        "--preset",
        default="standard",
        choices=["fast", "standard", "best"],
        help="how much to train: a second, minutes, or a quarter of an hour on 2 cores "
        "(default: standard)",
    )
    parser.add_argument("--model", metavar="NAME", help="another network than the preset's")
    parser.add_argument("--epochs", type=int, metavar="N", help="another number of epochs")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="default: 0")
    _add_device(parser)
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder of the checkpoint (default: runs/PRESET)"
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on with the unfinished run in --out, exactly"
    )
    parser.add_argument(
        "--test", action="store_true", help="score the 10,000 test digits once, at the very end"
    )
    _add_json(parser)
    parser.set_defaults(run=_train)


def _add_pretrain(commands: Any) -> None:
    parser = commands.add_parser(
        "pretrain",
        help="let a vision transformer learn from digits without their labels",
        description="Hide patches of 55,000 of MNIST's training digits and train a vision "
        "transformer to guess them; no label is read. The checkpoint is a vit whose head is "
        "untrained: fine-tune it. After every epoch the run can be stopped and resumed. torchrun "
        "shares the work among processes or GPUs, as for train.",
        epilog="With --json: masked_loss (mean squared error of the hidden pixels of 5,000 other "
        "digits, normalised), seconds (training only), parameters (of the encoder), epochs, "
        "device, seed.",
    )
    parser.add_argument("--epochs", type=int, metavar="N", help="default: 10")
    parser.add_argument(
        "--mask-share",
        type=float,
        metavar="SHARE",
        help="share of the patches that is hidden, above 0 and below 1 (default: 0.75)",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="default: 0")
    _add_device(parser)
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs/pretrained"),
        metavar="DIR",
        help="folder of the checkpoint (default: runs/pretrained)",
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on with the unfinished run in --out, exactly"
    )
    _add_json(parser)
    parser.set_defaults(run=_pretrain)


def _add_evaluate(commands: Any) -> None:
    parser = commands.add_parser(
        "evaluate",
        help="score a checkpoint on labelled digits",
        description="Score a checkpoint on labelled digits.",
        epilog="With --json: accuracy (0 to 1), loss (nats), n.",
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder of a checkpoint")
    parser.add_argument(
        "--data",
        default="mnist",
        metavar="mnist|uci|PATH",
        help="MNIST's test part (default), UCI digits, or your own: an .npz with images "
        "(n, 28, 28) uint8, white ink on black, and labels; a folder of IDX files; or a folder "
        "with one sub-folder of pictures per class",
    )
    _add_device(parser)
    _add_json(parser)
    parser.set_defaults(run=_evaluate)


def _add_predict(commands: Any) -> None:
    parser = commands.add_parser(
        "predict",
        help="read the digits in pictures",
        description="Read the digits in each picture: a photo, scan or drawing of any size, dark "
        "ink on light paper or the reverse, with one digit or several, lines from top to bottom, "
        "each from left to right.",
        epilog="With --json: results, one entry a file in the order given, with file, digits (each "
        "with digit, probability, and box: left, top, right, bottom in pixels) and error. One bad "
        "file does not stop the others; the status is then 2.",
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder of a checkpoint")
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="picture files")
    _add_device(parser)
    _add_json(parser)
    parser.set_defaults(run=_predict)


def _add_export(commands: Any) -> None:
    parser = commands.add_parser(
        "export",
        help="write a checkpoint for programs without PyTorch",
        description="Write a checkpoint as ONNX, or as the one file that the pad in the book's "
        "pages reads (web: linear, mlp and small_cnn of at most 250 kB).",
        epilog="With --json: file, format, model, bytes.",
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder of a checkpoint")
    parser.add_argument("--format", required=True, choices=["onnx", "web"], help="onnx or web")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the file to write")
    _add_json(parser)
    parser.set_defaults(run=_export)


def _add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--device",
        default="auto",
        choices=["auto", "cpu", "cuda", "mps"],
        help="default: auto, which takes CUDA, then MPS, then the CPU",
    )


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--json", action="store_true", help="end with one line of JSON on standard output"
    )


def _train(arguments: argparse.Namespace) -> int:
    from mnist_lab.data.mnist import load_mnist
    from mnist_lab.data.splits import split
    from mnist_lab.models.registry import count_parameters
    from mnist_lab.training.batches import Batches, choose_device
    from mnist_lab.training.processes import join
    from mnist_lab.training.recipes import PRESETS
    from mnist_lab.training.runs import fit
    from mnist_lab.training.scoring import evaluate

    recipe = PRESETS[arguments.preset]
    model = arguments.model or recipe.model
    folder = arguments.out or Path("runs") / arguments.preset
    device = choose_device(arguments.device)
    try:
        with join(device) as ranks:
            config = replace(recipe.config, seed=arguments.seed)
            if arguments.epochs is not None:
                config = replace(config, epochs=arguments.epochs)
            _check_unfinished(folder, arguments.resume)
            mnist = load_mnist()
            train, validation = split(mnist.train, seed=0)
            try:
                result = fit(
                    model,
                    recipe.prepare(train),
                    validation,
                    config,
                    arguments=recipe.arguments if model == recipe.model else {},
                    folder=folder,
                    resume=arguments.resume,
                    ranks=ranks,
                )
            except KeyboardInterrupt:
                if ranks.first:
                    said = f"Stopped: {folder} holds a usable checkpoint; --resume goes on."
                    print(said, file=sys.stderr)
                return 130
    except COMPLAINTS as error:  # of several processes, one comes here and the others end
        return _complain(arguments, error)
    if not ranks.first:
        return 0
    record = {
        "validation_accuracy": result.best.validation.accuracy,
        "loss": result.best.validation.loss,
        "seconds": round(result.seconds, 3),
        "parameters": count_parameters(result.model),
        "epochs": config.epochs,
        "device": str(device),
        "seed": config.seed,
    }
    _say(
        f"{model}: {record['parameters']:,} parameters, {config.epochs} epochs in "
        f"{result.seconds:.0f} s on {device}, best epoch {result.best.epoch}"
    )
    _say(f"validation accuracy {result.best.validation.accuracy:.2%} (5,000 digits)")
    if arguments.test:
        test = Batches(mnist.test, device=device, normalisation=config.normalisation)
        score = evaluate(result.model, test)
        record |= {"accuracy": score.accuracy, "n": score.count}
        _say_accuracy("test accuracy", round(score.accuracy * score.count), score.count)
    _say(f"checkpoint in {folder}")
    _end(arguments, record)
    return 0


def _pretrain(arguments: argparse.Namespace) -> int:
    from mnist_lab.data.mnist import load_mnist
    from mnist_lab.data.splits import split
    from mnist_lab.finetuning.masked import PretrainConfig, pretrain
    from mnist_lab.models.registry import count_parameters
    from mnist_lab.training.batches import choose_device
    from mnist_lab.training.processes import join

    folder = arguments.out
    device = choose_device(arguments.device)
    changes = {"epochs": arguments.epochs, "mask_share": arguments.mask_share}
    given = {name: value for name, value in changes.items() if value is not None}
    try:
        with join(device) as ranks:
            config = PretrainConfig(seed=arguments.seed, **given)
            _check_unfinished(folder, arguments.resume)
            train, validation = split(load_mnist().train, seed=0)
            try:
                result = pretrain(
                    train, validation, config, folder=folder, resume=arguments.resume, ranks=ranks
                )
            except KeyboardInterrupt:
                if ranks.first:
                    print("Stopped: --resume goes on after the last whole epoch.", file=sys.stderr)
                return 130
    except COMPLAINTS as error:  # of several processes, one comes here and the others end
        return _complain(arguments, error)
    if not ranks.first:
        return 0
    loss = result.reports[-1].validation_loss
    _say(f"held-out masked loss {loss:.4f} after {config.epochs} epochs")
    _say(f"checkpoint in {folder}: a vit whose head is untrained")
    record = {
        "masked_loss": loss,
        "seconds": round(result.seconds, 3),
        "parameters": count_parameters(result.model.encoder),
        "epochs": config.epochs,
        "device": str(device),
        "seed": config.seed,
    }
    _end(arguments, record)
    return 0


def _check_unfinished(folder: Path, resume: bool) -> None:
    """Refuse to start anew over what an interrupted run left."""
    from mnist_lab.training.checkpoints import load_tensors
    from mnist_lab.training.runs import RESUME

    if not resume and (folder / f"{RESUME}.json").exists():
        done = load_tensors(folder, RESUME)[1].get("epoch")
        raise ValueError(
            f"{folder} holds an unfinished run ({done} epochs are done): go on with "
            f"--resume, or name another folder with --out."
        )


def _evaluate(arguments: argparse.Namespace) -> int:
    from mnist_lab.data.digit_set import DataError, align_classes
    from mnist_lab.data.mnist import load_mnist
    from mnist_lab.data.other_sets import load_uci_digits
    from mnist_lab.data.own_files import load_path
    from mnist_lab.handwriting.found import load_digit_image
    from mnist_lab.training.batches import Batches, choose_device
    from mnist_lab.training.scoring import evaluate

    model, card = _load_reader(arguments.folder)
    device = choose_device(arguments.device)
    if arguments.data == "mnist":
        digits = load_mnist().test
    elif arguments.data == "uci":
        digits = load_uci_digits()
    else:
        digits = load_path(arguments.data, load_digit_image)
    if digits.images.shape[1:] != card.input_size:
        found, expected = digits.images.shape[1:], card.input_size
        raise DataError(
            f"{arguments.data} has images of {found[0]}x{found[1]} pixels; the model takes "
            f"{expected[0]}x{expected[1]}."
        )
    digits = align_classes(digits, card.class_names)
    score = evaluate(
        model.to(device), Batches(digits, device=device, normalisation=card.normalisation)
    )
    _say_accuracy("accuracy", round(score.accuracy * score.count), score.count)
    _say(f"loss {score.loss:.4f} nats")
    _end(arguments, {"accuracy": score.accuracy, "loss": score.loss, "n": score.count})
    return 0


def _predict(arguments: argparse.Namespace) -> int:
    import torch

    from mnist_lab.handwriting.found import FoundDigit, find_digits_in_file
    from mnist_lab.handwriting.ink import HandwritingError
    from mnist_lab.training.batches import choose_device

    model, card = _load_reader(arguments.folder)
    device = choose_device(arguments.device)
    model.to(device)

    def read(found: FoundDigit) -> dict[str, Any]:
        pixels = torch.from_numpy(found.image)[None, None].to(device)
        with torch.no_grad():
            probabilities = model(card.normalisation(pixels)).softmax(1)[0]
        label = int(probabilities.argmax())
        name = card.class_names[label]
        return {
            "digit": int(name) if name.isdecimal() else name,
            "probability": round(float(probabilities[label]), 6),
            "box": list(found.box),
        }

    results: list[dict[str, Any]] = []
    for file in arguments.images:
        digits, problem = [], None
        try:
            digits = [read(found) for found in find_digits_in_file(file)]
        except HandwritingError as error:
            problem = str(error)
            print(f"mnist_lab predict: {problem}", file=sys.stderr)
        results.append({"file": file, "digits": digits, "error": problem})
        for digit in digits:
            _say(f"{file}: {digit['digit']} ({digit['probability']:.1%})")
    _end(arguments, {"results": results})
    return 2 if any(entry["error"] for entry in results) else 0


def _export(arguments: argparse.Namespace) -> int:
    from mnist_lab.export import ExportError, export_onnx, export_web

    model, card = _load_reader(arguments.folder)
    out: Path = arguments.out
    if not out.parent.is_dir():
        raise ExportError(f"There is no folder {out.parent} to write {out.name} into.")
    if out.is_dir():
        raise ExportError(f"{out} is a folder; name a file.")
    with redirect_stdout(sys.stderr):  # the exporter may talk
        (export_onnx if arguments.format == "onnx" else export_web)(model, card, out)
    size = out.stat().st_size
    _say(f"{card.model} in {out}, {size / 1000:,.0f} kB")
    _end(
        arguments,
        {"file": str(out), "format": arguments.format, "model": card.model, "bytes": size},
    )
    return 0


def _load_reader(folder: Path) -> tuple[nn.Module, ModelCard]:
    """Load a checkpoint that can read digits; one without a trained head would only guess."""
    from mnist_lab.training.checkpoints import load_checkpoint

    model, card = load_checkpoint(folder)
    if card.training.get("head") == "untrained":
        raise ValueError(
            f"{folder} was pretrained without labels and cannot read digits yet: fine-tune it."
        )
    return model, card


def _say(line: str) -> None:
    print(line)


def _say_accuracy(what: str, correct: int, count: int) -> None:
    from mnist_lab.lessons.records import wilson_interval

    low, high = wilson_interval(correct, count)
    share = f"{correct:,} of {count:,}; 95 % interval {low:.2%} to {high:.2%}"
    _say(f"{what} {correct / count:.2%} ({share})")


def _end(arguments: argparse.Namespace, record: dict[str, Any]) -> None:
    if arguments.json:
        print(json.dumps(record, allow_nan=False))


# What a person can do something about; anything else is a bug and keeps its traceback.
COMPLAINTS = (ValueError, FloatingPointError, OSError)


def _complain(arguments: argparse.Namespace, error: Exception) -> int:
    sentence = " ".join(str(error).split())
    print(f"mnist_lab {arguments.command}: {sentence}", file=sys.stderr)
    return 2


def _is_first() -> bool:
    """Whether torchrun started no process before this one (torch would tell, but it is heavy)."""
    return "TORCHELASTIC_RUN_ID" not in os.environ or os.environ.get("RANK", "0") == "0"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    with _silence_unless(_is_first()):
        arguments = make_parser().parse_args(argv)
    if arguments.command not in ("train", "pretrain") and not _is_first():
        return 0  # nothing to share: the first process does it
    try:
        status: int = arguments.run(arguments)
    except COMPLAINTS as error:
        return _complain(arguments, error) if _is_first() else 2
    except KeyboardInterrupt:
        if _is_first():
            print("Stopped.", file=sys.stderr)
        return 130
    return status


@contextmanager
def _silence_unless(heard: bool) -> Iterator[None]:
    """Keep to itself what would be printed."""
    if heard:
        yield
        return
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        yield
