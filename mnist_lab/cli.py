"""The command line: `python -m mnist_lab`, with a command after it; `--help` lists them.

Results go to standard output (with --json, the last line is one JSON object), progress to standard
error. Bad usage or bad input is one sentence on standard error and status 2. Of several processes
that torchrun starts, one prints and writes; a process that is lost to the others says so itself.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stderr, redirect_stdout
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from mnist_lab import __version__
from mnist_lab.terminal import let_go_of_pipes, noticing_ctrl_c, prepare_streams

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from importlib.resources.abc import Traversable

    import torch

    from mnist_lab.data.digit_set import DigitSet
    from mnist_lab.handwriting.reader import PageReading
    from mnist_lab.training.config import TrainConfig
    from mnist_lab.training.processes import Ranks
    from mnist_lab.training.runs import FitResult

# Nothing heavy is imported here: `--help` and a wrong option answer at once.

# What several processes can do together; anything else the first of them does alone.
SHARED = ("train", "pretrain")


def _path(text: str) -> Path:
    """Read a path; an empty one would be the current folder, which nobody means by it."""
    if not text:
        raise argparse.ArgumentTypeError("an empty name; is a variable not set?")
    return Path(text)


def _name(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("an empty name; is a variable not set?")
    return text


def _whole(low: int, high: int = 10**9) -> Callable[[str], int]:
    """Return what reads a whole number in a range."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text!r:.40} is no whole number from {low} on")
        return value

    return read


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, without the usage in front of it."""

    def error(self, message: str) -> NoReturn:
        name = self.prog.removeprefix("python -m ")
        self.exit(2, f"{name}: {message} ({self.prog} --help shows what there is)\n")


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = _Parser(
        prog="python -m mnist_lab",
        description="Train a network on handwritten digits, score it, and read digits with it.",
        epilog="COMMAND --help explains a command. Progress goes to standard error. Bad usage or "
        "input is one sentence there, and status 2.",
    )
    parser.add_argument("--version", action="version", version=f"mnist-lab {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_train(commands)
    _add_pretrain(commands)
    _add_finetune(commands)
    _add_evaluate(commands)
    _add_predict(commands)
    _add_read(commands)
    _add_export(commands)
    _add_promote(commands)
    _add_serve(commands)
    _add_bench(commands)
    _add_verify(commands)
    _add_speedrun(commands)
    return parser


def _add_train(commands: Any) -> None:
    parser = commands.add_parser(
        "train",
        help="train on MNIST or your own digits, and write a checkpoint",
        description="Train on 55,000 of MNIST's training digits and keep the epoch that is best on "
        "the other 5,000; of your own digits (--data) a tenth is held out. Ctrl-C leaves a usable "
        "checkpoint. Several processes or GPUs share the work where torchrun starts them: "
        "torchrun --nproc_per_node=2 -m mnist_lab train.",
        epilog="With --json: validation_accuracy and loss (both on what is held out), seconds "
        "(training only), parameters, epochs, device, seed; with --test also accuracy (0 to 1) "
        "and n.",
    )
    parser.add_argument(
        "--preset",
        default="standard",
        choices=["fast", "standard", "best"],
        help="how much to train: a second, one or two minutes, or six, on 2 cores "
        "(default: standard)",
    )
    parser.add_argument(
        "--model",
        type=_name,
        metavar="NAME",
        help="another network than the preset's, such as mlp, resnet or vit (a wrong name is "
        "answered with all of them); efficientnet_lite0 and resnet18 start from their ImageNet "
        "weights, and those of resnet18 are downloaded",
    )
    _add_data(parser, default="mnist")
    parser.add_argument(
        "--epochs", type=_whole(1), metavar="N", help="another number of epochs than the preset's"
    )
    _add_run(parser, "runs/PRESET")
    parser.add_argument(
        "--test",
        action="store_true",
        help="score MNIST's 10,000 test digits once, at the very end",
    )
    parser.set_defaults(run=_train)


def _add_pretrain(commands: Any) -> None:
    parser = commands.add_parser(
        "pretrain",
        help="let a vision transformer learn from digits without their labels",
        description="Hide patches of 55,000 of MNIST's training digits and train a vision "
        "transformer to guess them; no label is read. The checkpoint is a vit whose head is "
        "untrained: finetune teaches it to read. After every epoch the run can be stopped and "
        "resumed. torchrun shares the work among processes or GPUs, as for train.",
        epilog="With --json: masked_loss (mean squared error of the hidden pixels of 5,000 other "
        "digits, normalised), seconds (training only), parameters (of the encoder), epochs, "
        "device, seed.",
    )
    parser.add_argument("--epochs", type=_whole(1), metavar="N", help="default: 10")
    parser.add_argument(
        "--mask-share",
        type=float,
        default=0.75,
        metavar="SHARE",
        help="share of the patches that is hidden, above 0 and below 1 (default: 0.75)",
    )
    _add_run(parser, "runs/pretrained")
    parser.set_defaults(run=_pretrain)


def _add_finetune(commands: Any) -> None:
    parser = commands.add_parser(
        "finetune",
        help="teach a checkpoint new digits",
        description="Teach a trained network new digits, such as your own hand's. Where it knows "
        "all their classes it keeps its head, else it gets a new one for them. With five digits of "
        "each class or more, a fifth is held out (5,000 of MNIST's) and the best epoch is kept; "
        "with fewer, the last. The checkpoint in DIR stays as it is.",
        epilog="With --json: validation_accuracy and loss (null where nothing is held out), "
        "seconds (training only), parameters, epochs, device, seed, way, trained_on and held_out "
        "(how many digits).",
    )
    parser.add_argument("folder", type=_path, metavar="DIR", help="folder of a checkpoint")
    _add_data(parser, required=True)
    parser.add_argument(
        "--way",
        default="gradual",
        choices=["head", "head_first", "gradual", "full", "lora"],
        help="what learns: the head alone; the head first and then everything, or one stage more "
        "at a time (default); everything; or changes of low rank and the head (merged into the "
        "checkpoint, and written beside it by themselves, as lora.json says)",
    )
    parser.add_argument(
        "--rehearse",
        type=_whole(0),
        default=0,
        metavar="N",
        help="mix N of MNIST's digits of each class in, so that they are not forgotten "
        "(default: 0)",
    )
    parser.add_argument(
        "--steps",
        type=_whole(1),
        metavar="N",
        help="about how many steps of 32 digits, in whole epochs (default: 300)",
    )
    _add_run(parser, "DIR-finetuned")
    parser.set_defaults(run=_finetune)


_OWN_DIGITS = (
    "an .npz with images (n, 28, 28) uint8, white ink on black, labels (n,), and class_names if "
    "they are not 0 to 9; a folder of IDX files; or a folder with one sub-folder of pictures per "
    "class, as predict takes them"
)


def _add_data(parser: argparse.ArgumentParser, **options: Any) -> None:
    or_default = " (default)" if "default" in options else ""
    parser.add_argument(
        "--data",
        type=_name,
        metavar="mnist|PATH",
        help=f"MNIST's training part{or_default}, or your own digits: {_OWN_DIGITS}",
        **options,
    )


def _add_run(parser: argparse.ArgumentParser, default: str) -> None:
    """Add what every command that trains takes."""
    parser.add_argument(
        "--seed", type=_whole(0, 2**63 - 1), default=0, metavar="N", help="default: 0"
    )
    _add_device(parser)
    parser.add_argument(
        "--out", type=_path, metavar="DIR", help=f"folder of the checkpoint (default: {default})"
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on with the unfinished run in --out as if it had never stopped (on the CPU to "
        "the last bit); start one if "
        "there is none; end at once if it is finished",
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace the checkpoint in --out, when the new one is finished",
    )
    _add_json(parser)


def _add_evaluate(commands: Any) -> None:
    parser = commands.add_parser(
        "evaluate",
        help="score a checkpoint on labelled digits",
        description="Score a checkpoint on labelled digits.",
        epilog="With --json: accuracy (0 to 1), loss (nats), n.",
    )
    parser.add_argument("folder", type=_path, metavar="DIR", help="folder of a checkpoint")
    parser.add_argument(
        "--data",
        type=_name,
        default="mnist",
        metavar="mnist|uci|PATH",
        help=f"MNIST's test part (default), UCI digits, or your own: {_OWN_DIGITS}",
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
    parser.add_argument("folder", type=_path, metavar="DIR", help="folder of a checkpoint")
    parser.add_argument("images", nargs="+", type=_name, metavar="IMAGE", help="picture files")
    _add_device(parser)
    _add_json(parser)
    parser.set_defaults(run=_predict)


def _add_read(commands: Any) -> None:
    parser = commands.add_parser(
        "read",
        help="read all pictures in a folder, into a table",
        description="Read the digits in all pictures of a folder and of those below it, as predict "
        "does, and write a CSV file with a line for each digit: file, number, digit, probability, "
        "left, top, right, bottom, error. A picture that cannot be read has one line that says "
        "why. The file is written when all is read; until then there is none.",
        epilog="With --json: file, pictures, digits, unread (pictures that could not be read). "
        "The status is 2 if there are any of those, as for predict. Parquet is not written: pandas "
        "or DuckDB make it of the CSV file.",
    )
    parser.add_argument("folder", type=_path, metavar="DIR", help="folder of a checkpoint")
    parser.add_argument("pictures", type=_path, metavar="FOLDER", help="folder of pictures")
    parser.add_argument(
        "--out", type=_path, required=True, metavar="FILE.csv", help="the table to write"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace the table if it is there already"
    )
    _add_device(parser)
    _add_json(parser)
    parser.set_defaults(run=_read)


def _add_export(commands: Any) -> None:
    parser = commands.add_parser(
        "export",
        help="write a checkpoint for programs without PyTorch",
        description="Write a checkpoint as ONNX, or as the one file that the pad in the book's "
        "pages reads (web: linear, mlp, quick_cnn and small_cnn of at most 250 kB).",
        epilog="With --json: file, format, model, bytes.",
    )
    parser.add_argument("folder", type=_path, metavar="DIR", help="folder of a checkpoint")
    parser.add_argument("--format", required=True, choices=["onnx", "web"], help="onnx or web")
    parser.add_argument(
        "--out", type=_path, required=True, metavar="FILE", help="the file to write"
    )
    parser.add_argument(
        "--bits",
        type=_whole(2, 8),
        metavar="N",
        help="with web: of each weight, 2 to 8; 4 make the file a seventh as large (default: 32)",
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace FILE also if it is not such a file that this command wrote",
    )
    _add_json(parser)
    parser.set_defaults(run=_export)


def _add_promote(commands: Any) -> None:
    parser = commands.add_parser(
        "promote",
        help="let a new network be served, if it is better than the one that is",
        description="Let the network that is served and a new one read the same digits, and serve "
        "the new one from now on if it reads more of those on which they differ than chance would "
        "explain (exact paired test, 5 %). Otherwise nothing changes and the status is 1, so that "
        "a nightly job can train, and promote what deserves it. Versions are kept, v1, v2, ...",
        epilog="With --json: promoted (a name, or null), served, champion_only and challenger_only "
        "(digits that one of them alone read rightly), p_value, n. A service reads the pointer "
        "when it starts.",
    )
    parser.add_argument("folder", type=_path, metavar="VERSIONS", help="folder of the versions")
    parser.add_argument(
        "challenger", type=_path, metavar="DIR", nargs="?", help="folder of the new checkpoint"
    )
    parser.add_argument(
        "--data",
        type=_name,
        default="mnist",
        metavar="PATH",
        help="labelled digits that neither has learnt from, as evaluate takes them (default: the "
        "5,000 of MNIST that train holds out)",
    )
    parser.add_argument(
        "--back", action="store_true", help="serve again what was served before; no DIR then"
    )
    _add_json(parser)
    parser.set_defaults(run=_promote)


def _add_serve(commands: Any) -> None:
    parser = commands.add_parser(
        "serve",
        help="read pictures that come over HTTP",
        description="Read the digits in pictures that others send, one as the body of POST /read "
        "or several as the parts `pictures` of a form, and answer with JSON as predict --json has "
        "it. GET /health and GET /metrics say how it does. ONNX Runtime computes. Ctrl-C or "
        "SIGTERM lets it finish what it has begun, and stops it. Nothing sent is kept or logged.",
        epilog="Try it: curl --data-binary @picture.png http://127.0.0.1:8000/read. Whoever can "
        "reach the address may use it: it asks nobody who they are.",
    )
    parser.add_argument(
        "folder", type=_path, metavar="DIR", help="folder of a checkpoint, or of versions"
    )
    parser.add_argument(
        "--host",
        type=_name,
        default="127.0.0.1",
        help="address to listen at; 0.0.0.0: of all networks (default: this machine alone)",
    )
    parser.add_argument(
        "--port", type=_whole(0, 65_535), default=8_000, metavar="N", help="0: any (default: 8000)"
    )
    parser.add_argument(
        "--megabytes", type=_whole(1), default=20, metavar="N", help="of a request (default: 20)"
    )
    parser.add_argument(
        "--seconds", type=_whole(1), default=30, metavar="N", help="for an answer (default: 30)"
    )
    parser.set_defaults(run=_serve)


def _add_bench(commands: Any) -> None:
    parser = commands.add_parser(
        "bench",
        help="measure on this machine what the book's chapters show",
        description="Measure on this machine what the book's chapters show. The record goes into "
        "the folder results, where a chapter that is run in the same place reads it.",
        epilog="bench NAME --help shows what a benchmark takes, such as --device cuda, and how "
        "long it runs.",
    )
    parser.add_argument("name", type=_name, metavar="NAME", help="such as speed or step")
    parser.add_argument(
        "options", nargs=argparse.REMAINDER, metavar="...", help="what the benchmark itself takes"
    )
    parser.set_defaults(run=_bench)


def _add_verify(commands: Any) -> None:
    parser = commands.add_parser(
        "verify",
        help="measure a published number again, and say whether it holds",
        description="Measure a number that README or a page states again, as it was measured "
        "there, and say whether it holds: status 0 if it does, 1 if not. Without a name, list the "
        "claims. A number holds where the new mean lies in the record's 95 % prediction interval; "
        "seconds are told and not judged, as they are the machine's. Looks at the test set are "
        "written to results/ledger.json in the current folder.",
        epilog="With --json: claim, holds, runs, device, hardware, recorded_hardware, ledger "
        "(null if the test set was not looked at), and numbers: for each by its name recorded, "
        "measured, low, high and holds (null where nothing is judged). Without a name: claims.",
    )
    parser.add_argument(
        "name", nargs="?", type=_name, metavar="CLAIM", help="such as fast; without one, list them"
    )
    parser.add_argument(
        "--seeds",
        type=_whole(1, 1000),
        metavar="N",
        help="train from N seeds (default: as many as were recorded)",
    )
    _add_device(parser)
    _add_json(parser)
    parser.set_defaults(run=_verify)


def _add_speedrun(commands: Any) -> None:
    parser = commands.add_parser(
        "speedrun",
        help="check a recipe by the rules of the speedrun: 99 %% as quickly as possible",
        description="Train a recipe from many seeds by the rules of the speedrun, refuse it where "
        "it breaks one, and say whether the lower end of the 95 % interval of its mean accuracy "
        "is at least 99.0 %: status 0 if so, 1 if not, 2 if a rule is broken. Accuracy is on "
        "5,000 validation digits. Without a recipe, print the rules and the table of records.",
        epilog="A file of your own needs a function train(digits, seed, device) that returns an "
        "nn.Module. With --json: recipe, stands, device, hardware, threads, ledger (null without "
        "--test), and mean, std, low, high, n and values of validation_accuracy, seconds, "
        "process_seconds (these with their median) and, with --test, accuracy. Without a recipe: "
        "rules and records.",
    )
    parser.add_argument(
        "recipe",
        nargs="?",
        type=_name,
        metavar="RECIPE",
        help="fast, standard or best, or FILE.py with your own",
    )
    parser.add_argument(
        "--seeds",
        type=_whole(30, 1000),
        default=30,
        metavar="N",
        help="from 30 (the default) on; 100 for the table",
    )
    parser.add_argument(
        "--device",
        default="cpu",
        choices=["cpu", "cuda"],
        help="the class to run in (default: cpu)",
    )
    parser.add_argument(
        "--threads",
        type=_whole(1, 1024),
        metavar="N",
        help="of the processor (default: as torch chooses)",
    )
    parser.add_argument(
        "--test",
        action="store_true",
        help="also score each seed on the 10,000 test digits, when all is chosen; every look is "
        "written to results/ledger.json in the current folder",
    )
    _add_json(parser)
    parser.set_defaults(run=_speedrun)


def _add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--device",
        default="auto",
        choices=["auto", "cpu", "cuda", "mps"],
        help="default: auto, which takes CUDA, then MPS, then the CPU (this also where torchrun "
        "starts more processes than there are GPUs)",
    )


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--json", action="store_true", help="end with one line of JSON on standard output"
    )


# --- What trains ---------------------------------------------------------------------------------


def _train(arguments: argparse.Namespace) -> int:
    from mnist_lab.data.mnist import load_mnist
    from mnist_lab.models.backbones import BACKBONES
    from mnist_lab.models.registry import load_backbone
    from mnist_lab.training.recipes import PRESETS
    from mnist_lab.training.runs import fit

    recipe = PRESETS[arguments.preset]
    name = arguments.model or recipe.model
    folder = arguments.out or Path("runs") / arguments.preset
    config = replace(recipe.config, seed=arguments.seed)
    if arguments.epochs is not None:
        config = replace(config, epochs=arguments.epochs)
    _check_name(name)
    _check_beforehand(arguments, folder)
    digits = _load_training_digits(arguments.data)
    if arguments.test and digits.class_names != load_mnist().test.class_names:
        raise ValueError("--test scores MNIST's test digits, and these digits have other classes.")
    _check_size(digits, (28, 28), arguments.data)  # as predict makes every picture
    train, validation = _hold_out(digits, 5_000 if arguments.data == "mnist" else len(digits) // 10)
    if config.upstrokes and "1" not in train.class_names:
        config = replace(config, upstrokes=0.0)  # there is no one to write otherwise
    own = {"classes": len(train.class_names)}
    built: dict[str, Any] = {"model": name, "arguments": own}
    if name == recipe.model:
        built["arguments"] = recipe.arguments | own
    elif name in BACKBONES:
        built = {"model": load_backbone(name, seed=arguments.seed, **own)}
    origin = {"recipe": arguments.preset}

    def run(ranks: Ranks) -> FitResult:
        return fit(
            train=train,
            validation=validation,
            config=config,
            origin=origin,
            folder=folder,
            resume=arguments.resume,
            overwrite=arguments.overwrite,
            ranks=ranks,
            **built,
        )

    result = _learn(arguments, folder, run)
    if isinstance(result, int):
        return result
    record = _describe_run(arguments, result, name)
    if arguments.test:
        record |= _score_on_test(result, config)
    _say(f"checkpoint in {folder}")
    _end(arguments, record)
    return 0


def _pretrain(arguments: argparse.Namespace) -> int:
    from mnist_lab.data.mnist import load_mnist
    from mnist_lab.finetuning.masked import PRETRAIN, GuessHiddenPatches, make_autoencoder
    from mnist_lab.models.architecture import count_parameters
    from mnist_lab.models.registry import build_model
    from mnist_lab.training.runs import fit

    folder = arguments.out or Path("runs/pretrained")
    config = replace(PRETRAIN, seed=arguments.seed)
    if arguments.epochs is not None:
        config = replace(config, epochs=arguments.epochs)
    objective = GuessHiddenPatches(mask_share=arguments.mask_share)
    _check_beforehand(arguments, folder)
    encoder = build_model("vit", seed=config.seed)
    model = make_autoencoder(encoder, seed=config.seed)
    objective.check(model, config, ())
    train, validation = _hold_out(load_mnist().train, 5_000)

    def run(ranks: Ranks) -> FitResult:
        return fit(
            model,
            train,
            validation,
            config,
            objective=objective,
            folder=folder,
            resume=arguments.resume,
            overwrite=arguments.overwrite,
            ranks=ranks,
        )

    result = _learn(arguments, folder, run)
    if isinstance(result, int):
        return result
    loss = result.best.validation.loss
    _say(f"held-out masked loss {loss:.4f} after epoch {result.best.epoch} of {config.epochs}")
    _say(f"checkpoint in {folder}: a vit whose head is untrained; finetune teaches it classes")
    record = {
        "masked_loss": loss,
        "seconds": round(result.seconds, 3),
        "parameters": count_parameters(encoder),
        "epochs": config.epochs,
        "device": str(_device_of(result)),
        "seed": config.seed,
    }
    _end(arguments, record)
    return 0


def _finetune(arguments: argparse.Namespace) -> int:
    from mnist_lab.data.digit_set import align_classes
    from mnist_lab.data.mnist import load_mnist
    from mnist_lab.data.splits import few_labels
    from mnist_lab.finetuning.heads import replace_head
    from mnist_lab.finetuning.lora import strip_lora
    from mnist_lab.finetuning.ways import FINETUNE, WAYS, finetune
    from mnist_lab.training.checkpoints import load_checkpoint, read_digest

    folder = arguments.out or _beside(arguments.folder, "finetuned")
    if os.path.realpath(folder) == os.path.realpath(arguments.folder):
        raise ValueError(f"--out {folder} would overwrite the checkpoint that is fine-tuned.")
    model, card = load_checkpoint(arguments.folder)
    _check_beforehand(arguments, folder)
    digits = _load_training_digits(arguments.data)
    _check_size(digits, card.input_size, arguments.data)
    if set(digits.class_names) <= set(card.class_names):
        digits = align_classes(digits, card.class_names)
    elif arguments.rehearse:
        raise ValueError(
            "--rehearse keeps old classes alive, and these digits have others: "
            f"{', '.join(digits.class_names)}."
        )
    else:
        model = replace_head(model, len(digits.class_names), seed=arguments.seed)
    counts = digits.class_counts()
    train, validation = digits, None
    if arguments.data == "mnist":  # the 5,000 that a network trained here has not seen either
        train, validation = _hold_out(digits, 5_000)
    elif counts[counts > 0].min() >= 5:
        train, validation = _hold_out(digits, len(digits) // 5)
    rehearsal = None
    if arguments.rehearse:
        old = _hold_out(load_mnist().train, 5_000)[0]
        rehearsal = few_labels(old, arguments.rehearse, arguments.seed)
        rehearsal = align_classes(rehearsal, digits.class_names)
    config = replace(
        FINETUNE,
        seed=arguments.seed,
        learning_rate=WAYS[arguments.way],
        normalisation=card.normalisation,
        steps=arguments.steps if arguments.steps is not None else FINETUNE.steps,
    )
    origin = {
        "base": {"model": card.model, "weights_sha256": read_digest(arguments.folder)},
        "way": arguments.way,
        "rehearsed_of_each_class": arguments.rehearse,
    }

    def run(ranks: Ranks) -> FitResult:
        return finetune(
            model,
            train,
            validation,
            config,
            way=arguments.way,
            rehearsal=rehearsal,
            origin=origin,
            folder=folder,
            resume=arguments.resume,
            overwrite=arguments.overwrite,
            ranks=ranks,
        )

    result = _learn(arguments, folder, run)
    if isinstance(result, int):
        return result
    result = replace(result, model=strip_lora(result.model))  # as the checkpoint has it
    record = _describe_run(arguments, result, f"{card.model} ({arguments.way})")
    record |= {
        "way": arguments.way,
        "trained_on": len(train) + (len(rehearsal) if rehearsal else 0),
        "held_out": len(validation) if validation else 0,
    }
    _say(f"checkpoint in {folder}")
    _end(arguments, record)
    return 0


def _beside(folder: Path, ending: str) -> Path:
    """Return the folder `NAME-ending` beside the folder NAME."""
    if folder.name in ("", ".."):  # "." and the like have another name
        folder = Path(os.path.realpath(folder))  # which raises nothing at a link to itself
    return folder.with_name(f"{folder.name}-{ending}")


def _load_training_digits(data: str) -> DigitSet:
    """Return the digits to train on: MNIST's training part, or somebody's own."""
    from mnist_lab.data.mnist import load_mnist
    from mnist_lab.handwriting.own_digits import load_own_digits

    if data == "mnist":
        _say_which(data)
        return load_mnist().train
    digits = load_own_digits(data)
    if digits.part == "test":
        raise ValueError(
            f"{data} holds MNIST's test part alone (t10k), from which nothing may be learnt: name "
            f"other digits."
        )
    return digits


def _say_which(data: str) -> None:
    """Say which digits are read where a file or folder has the name of a data set."""
    if Path(data).exists():
        _tell(f"--data {data} is the data set of that name; for what lies here, --data ./{data}")


def _hold_out(digits: DigitSet, count: int) -> tuple[DigitSet, DigitSet]:
    """Split off some digits to choose the best epoch by, always the same ones."""
    from mnist_lab.data.splits import split

    return split(digits, seed=0, validation=max(count, 1))


def _check_size(digits: DigitSet, expected: tuple[int, int], data: str) -> None:
    found = digits.images.shape[1:]
    if found != expected:
        raise ValueError(
            f"{data} has images of {found[0]}x{found[1]} pixels; the model takes "
            f"{expected[0]}x{expected[1]}."
        )


def _learn(
    arguments: argparse.Namespace, folder: Path, run: Callable[[Ranks], FitResult]
) -> FitResult | int:
    """Train in this process; what can be shared, with the others that torchrun started.

    Returns
    -------
    The result; or the status to end with, where there is nothing to tell.
    """
    from mnist_lab.training.batches import choose_device
    from mnist_lab.training.processes import Ranks, join
    from mnist_lab.training.run_folders import describe_folder

    device = choose_device(arguments.device)
    shared = arguments.command in SHARED
    with join(device) if shared else nullcontext(Ranks(device=device)) as ranks:
        try:
            result = run(ranks)
        except KeyboardInterrupt:
            if ranks.first:
                _tell(f"Stopped: {_for_the_command_line(describe_folder(folder))}")
            return 130
    if result.finished_before and ranks.first:
        _tell(f"{folder} holds this very run, and it is finished: nothing is left to do.")
    return result if ranks.first else 0


def _check_name(name: str) -> None:
    """Refuse a network that nobody knows."""
    from mnist_lab.models.registry import MODELS

    if name not in MODELS:
        raise ValueError(f"No model {name!r:.60}; there are {', '.join(sorted(MODELS))}.")


def _check_beforehand(arguments: argparse.Namespace, folder: Path) -> None:
    """Refuse before any work what would be refused after it."""
    from mnist_lab.folders import claim
    from mnist_lab.training.batches import choose_device
    from mnist_lab.training.run_folders import check_folder

    choose_device(arguments.device)
    check_folder(folder, resume=arguments.resume, overwrite=arguments.overwrite)
    if _is_first():
        with claim(folder):  # it is there and takes a file
            pass


def _describe_run(arguments: argparse.Namespace, result: FitResult, name: str) -> dict[str, Any]:
    """Say how a run went, and return what --json tells of it."""
    from mnist_lab.models.architecture import count_parameters

    score, device = result.best.validation, _device_of(result)
    record: dict[str, Any] = {
        "validation_accuracy": score.accuracy if score.count else None,
        "loss": score.loss if score.count else None,
        "seconds": round(result.seconds, 3),
        "parameters": count_parameters(result.model),
        "epochs": len(result.reports),
        "device": device.type,
        "seed": arguments.seed,
    }
    _say(
        f"{name}: {record['parameters']:,} parameters, {_count(record['epochs'], 'epoch')} in "
        f"{result.seconds:.0f} s on {device.type}, best epoch {result.best.epoch}"
    )
    if score.count:
        _say(f"validation accuracy {score.accuracy:.2%} ({_count(score.count, 'digit')})")
    return record


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _device_of(result: FitResult) -> torch.device:
    return next(result.model.parameters()).device


def _score_on_test(result: FitResult, config: TrainConfig) -> dict[str, Any]:
    from mnist_lab.data.mnist import load_mnist
    from mnist_lab.training.batches import Batches
    from mnist_lab.training.scoring import evaluate

    test = Batches(load_mnist().test, device=_device_of(result), normalisation=config.normalisation)
    score = evaluate(result.model, test)
    _say_accuracy("test accuracy", round(score.accuracy * score.count), score.count)
    return {"accuracy": score.accuracy, "n": score.count}


# --- What reads ----------------------------------------------------------------------------------


def _evaluate(arguments: argparse.Namespace) -> int:
    from mnist_lab.data.mnist import load_mnist
    from mnist_lab.data.other_sets import load_uci_digits
    from mnist_lab.handwriting.own_digits import load_own_digits
    from mnist_lab.handwriting.reader import load_reader

    reader = load_reader(arguments.folder, device=arguments.device)
    if arguments.data in ("mnist", "uci"):
        _say_which(arguments.data)
    if arguments.data == "mnist":
        digits = load_mnist().test
    elif arguments.data == "uci":
        digits = load_uci_digits()
    else:
        digits = load_own_digits(arguments.data, prefer="test")
    _check_size(digits, reader.card.input_size, arguments.data)
    score = reader.score(digits)
    _say_accuracy("accuracy", round(score.accuracy * score.count), score.count)
    _say(f"loss {score.loss:.4f} nats")
    _end(arguments, {"accuracy": score.accuracy, "loss": score.loss, "n": score.count})
    return 0


def _predict(arguments: argparse.Namespace) -> int:
    from mnist_lab.data.pictures import count_pages
    from mnist_lab.handwriting.ink import HandwritingError
    from mnist_lab.handwriting.reader import PageReading, load_reader

    reader = load_reader(arguments.folder, device=arguments.device)
    results: list[dict[str, Any]] = []
    for file in arguments.images:
        page, problem = PageReading([], []), None
        try:
            page = reader.read_page(file)
        except (HandwritingError, FloatingPointError, MemoryError) as error:
            problem = _one_line(error) or f"{file} takes more memory than there is."
            _tell(f"mnist_lab predict: {problem}")
        else:
            if (pages := count_pages(file)) > 1:
                _tell(f"mnist_lab predict: {file}: page 1 of {pages} is read")
        results.append({"file": file, **page.to_json(), "error": problem})
        for digit in page.digits:
            _say(f"{file}: {digit.name} ({digit.probability:.1%})")
        _tell_doubts(file, page)
    _end(arguments, {"results": results})
    return 2 if any(entry["error"] for entry in results) else 0


def _read(arguments: argparse.Namespace) -> int:
    from tqdm import tqdm

    from mnist_lab.data.digit_set import DataError
    from mnist_lab.handwriting.reader import load_reader
    from mnist_lab.handwriting.tables import find_pictures, read_picture_rows, write_table

    out: Path = arguments.out
    if out.suffix.lower() != ".csv":
        raise DataError(f"The table is written as CSV: name it .csv, and not {out.name}.")
    if not out.parent.is_dir():
        raise DataError(f"There is no folder {out.parent} to write {out.name} into.")
    if out.exists() and not arguments.overwrite:
        raise DataError(f"{out} is there already; --overwrite replaces it.")
    reader = load_reader(arguments.folder, device=arguments.device)
    files = find_pictures(arguments.pictures)
    if not files:
        raise DataError(f"There is no picture in {arguments.pictures}.")
    rows = [
        row
        for file in tqdm(files, unit="picture", disable=None)  # None: unless nobody watches
        for row in read_picture_rows(reader, file, arguments.pictures)
    ]
    write_table(rows, out)
    unread = sum(bool(row.error) for row in rows)
    _say(
        f"{_count(len(rows) - unread, 'digit')} of {_count(len(files), 'picture')} in {out}"
        + f"; {unread} could not be read, and the table says why" * (unread > 0)
    )
    _end(
        arguments,
        {
            "file": str(out),
            "pictures": len(files),
            "digits": len(rows) - unread,
            "unread": unread,
        },
    )
    return 2 if unread else 0


_MOST_TOLD = 5  # places of a picture


def _tell_doubts(file: str, page: PageReading) -> None:
    """Say which digits of a picture are doubtful, and where ink was not read."""
    for place, digit in enumerate(page.digits, 1):
        if digit.is_doubtful:
            _tell(
                f"mnist_lab predict: {file}: digit {place} is doubtful: {digit.name} "
                f"({digit.probability:.1%}) at {digit.box}"
            )
    for reason in dict.fromkeys(one.reason for one in page.unread):
        boxes = [one.box for one in page.unread if one.reason == reason]
        places = ", ".join(str(box) for box in boxes[:_MOST_TOLD])
        more = f" and {len(boxes) - _MOST_TOLD} more" * (len(boxes) > _MOST_TOLD)
        _tell(f"mnist_lab predict: {file}: ink was not read at {places}{more}: {reason}")


def _export(arguments: argparse.Namespace) -> int:
    from mnist_lab.export import ExportError, check_free, export_onnx, export_web
    from mnist_lab.handwriting.reader import load_reader

    out: Path = arguments.out
    if arguments.bits and arguments.format != "web":
        raise ExportError("--bits goes with --format web.")
    if not out.parent.is_dir():
        raise ExportError(f"There is no folder {out.parent} to write {out.name} into.")
    if not arguments.overwrite:
        check_free(out)
    reader = load_reader(arguments.folder, device="cpu")
    model, card = reader.model, reader.card
    if arguments.format == "web":
        export_web(model, card, out, bits=arguments.bits)
    else:
        export_onnx(model, card, out)
    size = out.stat().st_size
    _say(f"{card.model} in {out}, {size / 1000:,.0f} kB")
    _end(
        arguments,
        {"file": str(out), "format": arguments.format, "model": card.model, "bytes": size},
    )
    return 0


def _promote(arguments: argparse.Namespace) -> int:
    from mnist_lab.data.mnist import load_mnist
    from mnist_lab.data.splits import split
    from mnist_lab.handwriting.own_digits import load_own_digits
    from mnist_lab.handwriting.reader import load_reader
    from mnist_lab.serving.versions import Duel, Versions, VersionsError, compare

    versions = Versions(arguments.folder)
    if arguments.back == bool(arguments.challenger):
        raise VersionsError("Name the new checkpoint's folder, or say --back; one of the two.")
    if arguments.back:
        name = versions.roll_back()
        _say(f"{name} is served again.")
        _end(arguments, {"promoted": name, "served": name})
        return 0
    if versions.served is None:
        duel, better = Duel(0, 0, 0), True
    else:
        if arguments.data == "mnist":
            digits = split(load_mnist().train, seed=0)[1]
        else:
            digits = load_own_digits(arguments.data, prefer="test")
        champion, challenger = (
            load_reader(place, device="cpu") for place in (versions.path(), arguments.challenger)
        )
        for reader in (champion, challenger):
            _check_size(digits, reader.card.input_size, arguments.data)
        duel = compare(champion, challenger, digits)
        better = duel.challenger_is_better()
        _say(
            f"Of {duel.count:,} digits the one that is served reads {duel.only_champion} that the "
            f"new one does not, and the new one {duel.only_challenger} (p = {duel.p_value:.2g})."
        )
    promoted = None
    if better:
        promoted = versions.add(arguments.challenger)
        versions.promote(promoted)
    _say(f"{promoted} is served now." if promoted else f"{versions.served} stays.")
    told = {
        "champion_only": duel.only_champion,
        "challenger_only": duel.only_challenger,
        "p_value": duel.p_value,
        "n": duel.count,
    }
    _end(arguments, {"promoted": promoted, "served": versions.served, **told})
    return 0 if better else 1


def _serve(arguments: argparse.Namespace) -> int:
    try:
        from mnist_lab.serving.service import Limits, listen, make_app, serve
        from mnist_lab.serving.sessions import load_served
        from mnist_lab.serving.versions import POINTER, Versions
    except ImportError as error:  # it says which extra brings what is missing
        raise ValueError(str(error)) from error

    folder = arguments.folder
    if (folder / POINTER).exists():
        folder = Versions(folder).path()
    # One picture is read at a time, and a second thread would spin while the digits are looked for.
    reader = load_served(folder, threads=1)
    limits = Limits(megabytes=arguments.megabytes, seconds=arguments.seconds)
    app = make_app(reader, limits)
    with listen(arguments.host, arguments.port) as waiting:
        host, port = waiting.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        _tell(f"Reading at http://{shown}:{port}/read with {folder}; Ctrl-C stops.")
        serve(app, waiting)
    return 0


def _bench(arguments: argparse.Namespace) -> int:
    from importlib import import_module, resources

    from mnist_lab.extras import needs_extra
    from mnist_lab.lessons.records import OWN

    place = _find_benchmarks()
    files = resources.files(place).iterdir()
    names = sorted(f.name.removesuffix(".py") for f in files if "\ndef main(" in _text_of(f))
    if arguments.name not in names:
        raise ValueError(f"No benchmark {arguments.name!r:.60}; there are {', '.join(names)}.")
    with needs_extra("chapters", ValueError):
        benchmark = import_module(f"{place}.{arguments.name}")
    ours = sys.argv
    sys.argv = [f"bench {arguments.name}", f"--results={OWN}", *arguments.options]
    try:
        benchmark.main()
    except SystemExit as ended:
        if isinstance(ended.code, str):  # a sentence
            raise ValueError(ended.code) from None
        raise
    finally:
        sys.argv = ours
    return 0


def _find_benchmarks() -> str:
    """Return the name of the package of benchmarks.

    In the wheel they are a part of this package, in a checkout they lie beside it.
    """
    from importlib import util

    places = ("mnist_lab.benchmarks", "benchmarks")
    place = next((place for place in places if util.find_spec(place)), None)
    if place is None:
        raise ValueError("The benchmarks are not here: they come with the package or a checkout.")
    return place


def _verify(arguments: argparse.Namespace) -> int:
    from difflib import get_close_matches
    from importlib import import_module

    from mnist_lab.lessons.records import OWN

    claims = import_module(f"{_find_benchmarks()}.claims")
    if arguments.name is None:
        _list_claims(claims.CLAIMS)
        _end(arguments, {"claims": {name: str(c) for name, c in claims.CLAIMS.items()}})
        return 0
    if arguments.name not in claims.CLAIMS:
        near = get_close_matches(arguments.name, claims.CLAIMS)
        like = f"like it: {', '.join(near)}" if near else f"there are {', '.join(claims.CLAIMS)}"
        raise ValueError(f"No claim {arguments.name!r:.60}; {like}.")
    claim = claims.CLAIMS[arguments.name]
    runs = arguments.seeds or claim.recorded_runs
    ledger = OWN / "ledger.json" if claim.looks else None
    _tell(_announce(claim, runs, ledger))
    command = f"python -m mnist_lab verify {arguments.name}"
    found = claims.verify(claim, runs, arguments.device, OWN, command)
    holds = all(number.holds is not False for number in found)
    machine, origin = claims.describe_machine(arguments.device), claim.origin()
    _say_comparisons(claims, found, machine, origin)
    _say(f"{arguments.name} {'holds' if holds else 'does not hold'}")
    numbers = {
        number.name: {
            "recorded": number.recorded["mean"],
            "measured": number.measured["mean"],
            "low": number.low,
            "high": number.high,
            "holds": number.holds,
        }
        for number in found
    }
    record = {
        "claim": arguments.name,
        "holds": holds,
        "runs": runs,
        "device": machine["device"],
        "hardware": machine["hardware"],
        "recorded_hardware": origin.get("hardware"),
        "ledger": str(ledger) if ledger else None,
        "numbers": numbers,
    }
    _end(arguments, record)
    return 0 if holds else 1


def _list_claims(claims: Mapping[str, Any]) -> None:
    width = max(map(len, claims))
    for name, claim in claims.items():
        spent = _about(claim.minutes(claim.recorded_runs))
        _say(f"{name:{width}}  {spent or 'at once':>12}  {claim}")


def _about(minutes: float) -> str:
    """Return how long something took, in a few words; nothing if it took no time."""
    if minutes >= 1:
        return f"about {minutes:.0f} min"
    return f"about {60 * minutes:.0f} s" if minutes else ""


def _announce(claim: Any, runs: int, ledger: Path | None) -> str:
    words = [str(claim)]
    if spent := _about(claim.minutes(runs)):
        words.append(f"To measure it took {spent} where it was recorded.")
    if ledger:
        words.append(
            f"Looks at the test set are written to {ledger}; nothing may be chosen by them."
        )
    return " ".join(words)


def _say_comparisons(
    claims: Any, found: Sequence[Any], machine: dict[str, str], origin: dict[str, Any]
) -> None:
    """Print a line for every number: recorded, measured, and between what it has to lie."""
    rows = [("", "recorded", "measured here", "holds between", "")]
    for number in found:
        words = partial(claims.in_words, number.name)
        verdict = {True: "holds", False: "does not hold", None: "not judged"}[number.holds]
        if number.low is None:
            between = "the machine's own"
        elif number.low == number.high:
            between = "exactly"
        else:
            between = f"{words(number.low)} and {words(number.high)}"
        sides = [
            words(side["mean"])
            + (f" ± {words(side['std'])} (n = {side['n']})" if side["std"] else "")
            for side in (number.recorded, number.measured)
        ]
        rows.append((number.name.replace("_", " "), *sides, between, verdict))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    for row in rows:
        line = "  ".join(f"{text:{width}}" for text, width in zip(row, widths, strict=True))
        _say(line.rstrip())
    if origin:
        _say(f"recorded {origin['date']} on {origin['hardware']} by {origin['command']}")
    _say(f"measured on {machine['hardware']}, {machine['precision']}")


def _speedrun(arguments: argparse.Namespace) -> int:
    from importlib import import_module

    from mnist_lab.lessons.records import OWN

    speedrun = import_module(f"{_find_benchmarks()}.speedrun")
    if arguments.recipe is None:
        _say(speedrun.RULES)
        _say("")
        for line in speedrun.table():
            _say(line)
        _end(arguments, {"rules": speedrun.RULES, "records": speedrun.records()})
        return 0
    machine = speedrun.prepare(arguments.device, arguments.threads)
    contestant = speedrun.find_contestant(arguments.recipe)
    command = f"python -m mnist_lab speedrun {arguments.recipe}"
    looks = speedrun.look_once(contestant, OWN, command) if arguments.test else None
    checked = speedrun.check(contestant, arguments.seeds, arguments.device, looks).describe()
    _say(f"{contestant.name}: {speedrun.in_one_line(checked)}")
    _say(f"class {arguments.device}: {machine['hardware']}")
    ledger = str(OWN / "ledger.json") if arguments.test else None
    record = {"recipe": contestant.name, **checked, **machine, "ledger": ledger}
    _end(arguments, record)
    return 0 if checked["stands"] else 1


def _text_of(file: Traversable) -> str:
    return file.read_text(encoding="utf-8") if file.name.endswith(".py") else ""


def _say(line: str) -> None:
    print(line)


def _tell(line: str) -> None:
    """Say something that is no result."""
    print(line, file=sys.stderr)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _for_the_command_line(sentence: str) -> str:
    """Let a sentence of `training.runs` name options where it names arguments."""
    return sentence.replace("resume=True", "--resume").replace("overwrite=True", "--overwrite")


def _say_accuracy(what: str, correct: int, count: int) -> None:
    from mnist_lab.lessons.records import wilson_interval

    low, high = wilson_interval(correct, count)
    # Digits by one hand are alike, so that fewer of them count; by how much needs the writers.
    share = (
        f"{correct:,} of {count:,}; 95 % interval {low:.2%} to {high:.2%} if each had its own hand"
    )
    _say(f"{what} {correct / count:.2%} ({share})")


def _end(arguments: argparse.Namespace, record: dict[str, Any]) -> None:
    if arguments.json:
        print(json.dumps(record, allow_nan=False))


# What a person can do something about; anything else is a bug and keeps its traceback.
COMPLAINTS = (ValueError, FloatingPointError, OSError, MemoryError)


def _complain(arguments: argparse.Namespace, error: Exception) -> int:
    # Of several processes all meet the same wrong input or loss, and the first says so; what the
    # system refused, or who was lost, each knows of itself.
    if _is_first() or isinstance(error, OSError):
        sentence = _for_the_command_line(_one_line(error)) or "There is not enough memory."
        _tell(f"mnist_lab {arguments.command}: {sentence}")
    return 2


def _is_first() -> bool:
    """Whether torchrun started no process before this one (torch would tell, but it is heavy)."""
    return "TORCHELASTIC_RUN_ID" not in os.environ or os.environ.get("RANK", "0") == "0"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    prepare_streams()
    try:
        status = _run(argv)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        return status
    except BrokenPipeError:  # whoever was reading, such as `head`, has read enough
        let_go_of_pipes()
        return 128 + 13  # as a shell tells of a program that a closed pipe has ended


def _run(argv: Sequence[str] | None) -> int:
    with _silence_unless(_is_first()):
        arguments = make_parser().parse_args(argv)
    if arguments.command not in SHARED and not _is_first():
        return 0
    with noticing_ctrl_c() as pressed:
        try:
            status: int = arguments.run(arguments)
        except BrokenPipeError:
            raise
        except KeyboardInterrupt:
            return _stop()
        except COMPLAINTS as error:
            return _complain(arguments, error)
        except Exception:
            if pressed:  # a library that was just being imported makes an error of its own of it
                return _stop()
            raise
    return status


def _stop() -> int:
    if _is_first():
        _tell("Stopped.")
    return 130


@contextmanager
def _silence_unless(heard: bool) -> Iterator[None]:
    """Keep to itself what would be printed."""
    if heard:
        yield
        return
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        yield
