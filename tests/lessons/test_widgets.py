"""The widgets: modules are linked whole and in order, and a pad in Python reads what is drawn."""

from __future__ import annotations

import base64
import copy
import io
import json
import re
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ipywidgets
import numpy as np
import pytest
import safetensors.torch
import torch
import traitlets
from IPython.core.formatters import DisplayFormatter
from PIL import Image
from torch import nn

from mnist_lab.cli import main
from mnist_lab.data.digit_set import DataError
from mnist_lab.data.mnist import load_mnist
from mnist_lab.data.normalisation import Normalisation
from mnist_lab.data.own_files import load_npz
from mnist_lab.data.splits import split
from mnist_lab.export import ExportError
from mnist_lab.finetuning.masked import make_autoencoder
from mnist_lab.handwriting.ink import HandwritingError
from mnist_lab.handwriting.reader import Reader
from mnist_lab.handwriting.strokes import draw_strokes
from mnist_lab.lessons.widgets import DigitAttention, DigitPad, StepHere, TrainHere
from mnist_lab.lessons.widgets.activations import watch_layers
from mnist_lab.lessons.widgets.digit_pictures import step_pictures, training_pictures
from mnist_lab.lessons.widgets.linking import (
    STATIC,
    LinkError,
    link_attention,
    link_notebook,
    link_page,
    link_steps,
    link_training,
)
from mnist_lab.models.registry import build_model
from mnist_lab.training.cards import ModelCard
from mnist_lab.training.checkpoints import save_checkpoint
from tests.drawn_digits import DIGITS


class TestLinking:
    def modules(self, folder: Path, **texts: str) -> Path:
        for name, text in texts.items():
            suffix = ".css" if name == "look" else ".js"
            (folder / (name.replace("_", "-") + suffix)).write_text(text, encoding="utf-8")
        return folder

    def test_what_is_needed_comes_first_and_once(self, tmp_path: Path) -> None:
        static = self.modules(
            tmp_path,
            notebook='import { a } from "./one.js";\nimport { b } from "./two.js";\n'
            "export function render() {}\n",
            one='import { b } from "./two.js";\nexport const a = b;\n',
            two='import look from "./look.css";\nexport class b {}\nexport async function c() {}\n'
            "export function* d() {}\n",
            look='p { content: "</script>" }\n',
        )
        text = link_notebook(static)
        assert re.findall(r"^const (\$\w+) =", text, re.MULTILINE) == [
            "$look_css", "$two", "$one", "$notebook"
        ]  # fmt: skip
        assert "return { b, c, d };" in text
        assert "const { b } = $two;" in text
        assert text.endswith("export default { render: $notebook.render };\n")
        assert "import" not in text

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ('import * as x from "./one.js";\n', "cannot be linked: import"),
            ('import { a } from "https://example.org/a.js";\n', "cannot be linked: import"),
            ("export default 3;\n", "cannot be linked: export default 3;"),
            ("export { a };\n", "cannot be linked"),
            ('import { a } from "./none.js";\n', "no module none.js"),
            ('import { a } from "./notebook.js";\n', "notebook.js -> notebook.js: .* circle"),
        ],
    )
    def test_what_it_does_not_understand_is_an_error(
        self, text: str, said: str, tmp_path: Path
    ) -> None:
        with pytest.raises(LinkError, match=said):
            link_notebook(self.modules(tmp_path, notebook=text, one=""))

    def test_a_page_gets_a_classic_script_with_the_weights_inside(self) -> None:
        weights = b"weights \x00\xff"
        text = link_page(weights, b"digits")
        assert not re.search(r"^\s*(import|export)\b", text, re.MULTILINE)
        first, second = (base64.b64encode(part).decode() for part in (weights, b"digits"))
        assert f'.start("{first}", "{second}");' in text
        assert len(text) < 190_000

    def test_what_a_worker_runs_is_a_text_with_all_that_it_needs(self, tmp_path: Path) -> None:
        static = self.modules(
            tmp_path,
            notebook='import text from "./worker.js";\nimport { a } from "./one.js";\n'
            "export const render = [text, a];\n",
            worker='import { a } from "./one.js";\nexport function listen(scope) {}\n',
            one='export const a = "a";\n',
        )
        text = link_notebook(static)
        assert "const text = $worker_text;" in text
        found = re.search(r"^const \$worker_text = (.*);$", text, re.MULTILINE)
        assert found
        worker = json.loads(found[1])
        assert worker.startswith('"use strict";\nconst $one = ')
        assert worker.endswith("$worker.listen(self);\n")
        assert not re.search(r"^\s*(import|export)\b", worker, re.MULTILINE)
        assert re.findall(r"^const (\$\w+) =", text, re.MULTILINE) == [
            "$worker_text", "$one", "$notebook"
        ]  # fmt: skip

    def test_every_module_is_used_by_one_of_the_hosts(self) -> None:
        linked = link_page(b"", b"") + link_notebook() + link_training(b"", b"")
        linked += link_notebook(entry="train-notebook.js")
        linked += link_steps(b"", b"") + link_notebook(entry="step-notebook.js")
        linked += link_attention(b"") + link_notebook(entry="attention-notebook.js")
        for path in STATIC.iterdir():
            name = re.sub(r"\W", "_", path.name.removesuffix(".js"))
            assert re.search(rf"const \${name}(_text)? = ", linked), path.name

    def test_no_module_asks_another_host_or_runs_text(self) -> None:
        keeps = "train-here.js"  # the settings of a training, and nothing that was drawn
        for path in STATIC.glob("*.js"):
            code = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
            code = re.sub(r"//.*", "", code)
            assert not re.search(r"https?:|fetch\(|XMLHttp|WebSocket|sendBeacon", code)
            assert path.name == keeps or "localStorage" not in code
            assert not re.search(r"innerHTML|outerHTML|insertAdjacent|eval\(|new Function", code)

    def test_the_numbers_of_the_image_are_those_of_python(self) -> None:
        from mnist_lab import export
        from mnist_lab.data import geometry
        from mnist_lab.handwriting import strokes
        from mnist_lab.lessons.widgets import digit_pad

        def constant(module: str, name: str) -> str:
            match = re.search(rf"const {name} = ([^;]+);", (STATIC / module).read_text())
            assert match
            return match[1]

        assert float(constant("preprocess.js", "PEN")) == strokes.PEN
        assert int(constant("preprocess.js", "SIDE")) == geometry.IMAGE_SIDE
        assert int(constant("preprocess.js", "BOX")) == geometry.DIGIT_BOX
        assert int(constant("preprocess.js", "DETAIL")) == strokes.DETAIL
        assert constant("forward.js", "FORMAT") == f'"{export.WEB_FORMAT}"'
        assert float(constant("panel.js", "SMALLEST")) == digit_pad._SMALLEST
        assert float(constant("pad.js", "FARTHEST")) == digit_pad._FARTHEST
        assert int(constant("pad.js", "MOST_POINTS")) == digit_pad._MOST_POINTS


class Fails(nn.Module):
    """A model of somebody's: it answers in a way of its own."""

    def __init__(self, answer: Callable[[torch.Tensor], object]) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, images: torch.Tensor) -> object:
        return self.answer(images)


def flat(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(inputs, outputs))


def full_ink(images: torch.Tensor) -> torch.Tensor:
    """Logits that are finite for an empty image and not for a full one."""
    return torch.where(images.mean() > 1, torch.nan, 0.0).expand(len(images), 10)


# Model and options, of pads that could not show what they read.
UNREADABLE: dict[str, tuple[Any, dict[str, Any]]] = {
    "a number": (5, {}),
    "a class": (nn.Linear, {}),
    "a function": (flat, {}),
    "a list": ([flat(784, 10)], {}),
    "weights": (flat(784, 10).state_dict(), {}),
    "other inputs": (nn.Linear(5, 10), {}),
    "larger images": (flat(1024, 10), {}),
    "more classes": (flat(784, 26), {}),
    "fewer classes": (flat(784, 5), {}),
    "one number": (flat(784, 1), {}),
    "NaN": (Fails(lambda x: torch.full((len(x), 10), torch.nan)), {}),
    "infinite": (Fails(lambda x: torch.full((len(x), 10), torch.inf)), {}),
    "NaN in full ink": (Fails(full_ink), {}),
    "nothing": (Fails(lambda x: None), {}),
    "a pair": (Fails(lambda x: (torch.zeros(len(x), 10), 0)), {}),
    "no batch": (Fails(lambda x: torch.zeros(10)), {}),
    "a map": (Fails(lambda x: torch.zeros(len(x), 10, 1)), {}),
    "raises": (Fails(lambda x: 1 / 0), {}),
    "no checkpoint": (Path, {}),
    "no folder": ("there/is/none", {}),
    "other size": (Reader(flat(1024, 10), ModelCard("mine", input_size=(32, 32))), {}),
    "fewer names": (flat(784, 10), {"class_names": ("a", "b")}),
    "doubled names": (None, {"class_names": ("a", "a")}),
    "empty name": (None, {"class_names": ("a", "")}),
    "blank name": (None, {"class_names": ("a", " ")}),
    "no names": (None, {"class_names": ()}),
    "names that are none": (None, {"class_names": (1, 2)}),
    "names in a text": (None, {"class_names": "abc"}),
    "names in a number": (None, {"class_names": 5}),
    "names beside a reader's": (Reader(flat(784, 10)), {"class_names": ("a", "b")}),
    "layers of nothing": (None, {"layers": True}),
}

STROKES: list[Any] = [
    [[[0.3, 0.2], [0.7, 0.2], [0.4, 0.9]]],
    (((0, 0), (1, 1)), ((1, 0), (0, 1))),
    np.array([[[0.3, 0.2], [0.7, 0.2]]]),
    [np.array([[0.1, 0.9], [0.8, 0.3]], np.float32)],
    [[[1 / 3, 0.1]]],
]

NO_STROKES: list[Any] = [
    3, "", "abc", None, {}, {"a": [[1, 2]]}, iter([]), np.float64(3), np.zeros((1, 3, 3)), [3],
    [None], [[1, 2]], [[["a", 0]]], [[["0.1", "0.2"]]], [["12"]], [b"ab"], [set()], [[[0.5]]],
    [[[1, 2, 3]]], [[None]], [[[None, 0]]], [[[float("nan"), 0]]], [[[0, float("inf")]]],
    [[[101, 0]]], [[[1e300, 0]]], [[[10**400, 0]]], [[[1j, 0]]], [[[[1, 2], [3, 4]]]],
]  # fmt: skip


class TestDigitPad:
    @pytest.fixture
    def pad(self) -> DigitPad:
        return DigitPad(build_model("small_cnn", seed=0, width=2))

    def test_an_empty_sheet_is_not_read(self, pad: DigitPad) -> None:
        assert pad.strokes == []
        assert pad.probabilities == []
        assert pad.image.shape == (28, 28)
        assert not pad.image.any()

    def test_strokes_become_an_image_and_are_read(self, pad: DigitPad) -> None:
        pad.strokes = DIGITS[3]
        assert np.array_equal(pad.image, draw_strokes(DIGITS[3]))
        assert len(pad.probabilities) == 10
        assert sum(pad.probabilities) == pytest.approx(1)
        pad.clear()
        assert pad.probabilities == []

    def test_it_asks_the_model_as_it_is_now_and_leaves_its_mode(self) -> None:
        model = build_model("small_cnn", seed=0, width=2).train()
        model.norm1.eval()  # type: ignore[union-attr, operator]
        state = copy.deepcopy(model.state_dict())
        pad = DigitPad(model, layers=True)
        pad.strokes = DIGITS[5]
        before = list(pad.probabilities)
        assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
        assert model.training
        assert not model.norm1.training
        model.get_parameter("output.bias").data[7] += 50  # it has learnt
        pad.clear()
        pad.strokes = DIGITS[5]
        assert pad.probabilities[7] > 0.99 > before[7]

    def test_a_slip_is_not_read(self, pad: DigitPad) -> None:
        pad.strokes = [[[0.5, 0.5], [0.51, 0.5]]]
        assert pad.probabilities == []
        assert not pad.image.any()

    @pytest.mark.parametrize("strokes", STROKES, ids=["lists", "tuples", "array", "arrays", "dot"])
    def test_strokes_come_back_as_they_were_given(self, strokes: Any, pad: DigitPad) -> None:
        pad.strokes = strokes
        assert pad.strokes == [[[float(x), float(y)] for x, y in stroke] for stroke in strokes]
        image = pad.image
        pad.strokes = pad.strokes
        assert np.array_equal(pad.image, image)
        assert np.array_equal(image, draw_strokes(strokes)) == (len(strokes[0]) > 1)

    @pytest.mark.parametrize("strokes", NO_STROKES, ids=lambda strokes: repr(strokes)[:20])
    def test_what_is_no_stroke_is_refused_and_changes_nothing(
        self, strokes: object, pad: DigitPad
    ) -> None:
        pad.strokes = DIGITS[1]
        before = pad.probabilities
        with pytest.raises(traitlets.TraitError, match=r"^[^\n]{20,150}\.$"):
            pad.strokes = strokes
        assert len(pad.strokes) == 1
        assert pad.probabilities == before
        pad.strokes = DIGITS[2]  # and it is alive
        assert pad.probabilities != before

    def test_a_flood_of_points_is_refused(self, pad: DigitPad) -> None:
        pad.strokes = [[[0.1, 0.1]]] * 2_000 + [[[0.2, 0.2]] * 2_000]
        floods = {"300,000": [[[0.5, 0.5]] * 300_000], "4,001": [[[0, 0]]] * 4_001}
        for count, strokes in floods.items():
            with pytest.raises(traitlets.TraitError, match=f"at most 4,000 points, found {count}"):
                pad.strokes = strokes
        assert len(pad.strokes) == 2_001

    @pytest.mark.parametrize("name", UNREADABLE)
    def test_what_it_cannot_show_is_refused_when_it_is_made(
        self, name: str, tmp_path: Path
    ) -> None:
        """Each with one sentence: the first stroke would be too late, and in a notebook unseen."""
        model, options = UNREADABLE[name]
        with pytest.raises(ValueError, match=r"^[^\n]{20,300}[^.]\.$"):
            DigitPad(tmp_path if model is Path else model, **options)

    @pytest.mark.parametrize("damage", [["a"], ["a", "a"], ["a", ""], ["a", "b", "c"]])
    def test_a_folder_whose_card_does_not_fit_is_refused(
        self, damage: list[str], tmp_path: Path
    ) -> None:
        card = ModelCard("linear", {"classes": 2}, class_names=("a", "b"))
        save_checkpoint(tmp_path, build_model("linear", seed=0, classes=2), card)
        assert DigitPad(tmp_path).class_names == ["a", "b"]
        record = json.loads((tmp_path / "model.json").read_text())
        record["card"]["class_names"] = damage
        (tmp_path / "model.json").write_text(json.dumps(record))
        with pytest.raises(ValueError, match=r"^[^\n]{20,300}[^.]\.$"):
            DigitPad(tmp_path)

    def test_names_are_given_to_a_network_and_never_ignored(self) -> None:
        letters = tuple("abcdefghijklmnopqrstuvwxyz")
        model = build_model("linear", seed=0, classes=26)
        assert DigitPad(model, class_names=letters).class_names == list(letters)
        reader = Reader(model, ModelCard.of(model, class_names=letters))
        assert DigitPad(reader, class_names=letters).class_names == list(letters)
        with pytest.raises(ValueError, match="The reader has names for its classes"):
            DigitPad(reader, class_names=letters[::-1])

    def test_a_model_that_has_diverged_says_so_and_the_pad_lives_on(self) -> None:
        """The kernel raises, which a log shows at best, and the view has the sentence."""
        model = build_model("small_cnn", seed=0, width=2).train()
        pad = DigitPad(model, layers=True)
        pad.strokes = DIGITS[5]
        bias = model.get_parameter("output.bias").data
        bias[3] = float("nan")
        with pytest.raises(ValueError, match="not finite"):
            pad.strokes = DIGITS[4]
        assert (pad.probabilities, pad.said[-1]) == ([], ".")
        assert np.array_equal(pad.image, draw_strokes(DIGITS[4]))
        assert model.training
        bias[3] = 0
        pad.strokes = DIGITS[5]
        assert (len(pad.probabilities), pad.said) == (10, "")

    def test_a_message_from_a_view_is_taken_like_strokes_that_are_set(self, pad: DigitPad) -> None:
        pad.set_state({"strokes": DIGITS[3]})
        assert np.array_equal(pad.image, draw_strokes(DIGITS[3]))
        before = list(pad.probabilities)
        for strokes in ([[["a", 0]]], [[[0, 0]] * 5_000], None):
            with pytest.raises(traitlets.TraitError):
                pad.set_state({"strokes": strokes})
            assert np.array_equal(pad.image, draw_strokes(DIGITS[3]))
            assert pad.probabilities == before

    def test_a_checkpoint_says_how_to_read(self, tmp_path: Path) -> None:
        model = build_model("small_cnn", seed=0, width=2, classes=3)
        arguments = {"width": 2, "classes": 3}
        names = ("cat", "dog", "sun")
        card = ModelCard("small_cnn", arguments, Normalisation(0.3, 0.2), class_names=names)
        save_checkpoint(tmp_path, model, card)
        pad = DigitPad(tmp_path)
        assert pad.class_names == ["cat", "dog", "sun"]
        pad.strokes = DIGITS[0]
        with torch.no_grad():
            images = card.normalisation(torch.from_numpy(pad.image)[None, None])
            expected = model.eval()(images).softmax(1)[0]
        assert pad.probabilities == pytest.approx(expected.tolist(), abs=1e-6)

    def test_without_a_model_it_only_draws(self) -> None:
        pad = DigitPad()
        pad.strokes = DIGITS[2]
        assert pad.probabilities == []
        assert pad.image.any()
        assert not pad.reads


class TestLayers:
    def test_are_what_each_relu_returns(self) -> None:
        model = build_model("small_cnn", seed=0, width=4).train()
        pad = DigitPad(model, layers=True)
        sizes = [(4, 14, 14), (8, 7, 7), (16, 3, 3)]
        assert [tuple(shape.values()) for shape in pad.shapes] == [("ReLU", *s) for s in sizes]
        pad.strokes = DIGITS[4]
        assert model.training
        with torch.no_grad():
            model.eval()
            inputs = Normalisation()(torch.from_numpy(pad.image)[None, None])
            first = torch.relu(model.norm1(model.conv1(inputs)))  # type: ignore[operator]
        shown = np.frombuffer(pad.activations, np.uint8)
        assert len(shown) == sum(np.prod(size) for size in sizes)
        expected = (first / first.max() * 255).round().numpy().astype(np.uint8)
        assert np.array_equal(shown[: 4 * 14 * 14], expected.ravel())
        assert 0 < expected.mean() < 255

    @pytest.mark.parametrize(
        ("name", "kind", "first", "last"),
        [
            ("mlp", "ReLU", (256, 1, 1), (256, 1, 1)),
            ("resnet", "ReLU", (16, 14, 14), (64, 4, 4)),
            ("article_002", "ReLU", (32, 28, 28), (128, 1, 1)),
            ("vit", "GELU", (128, 4, 4), (128, 4, 4)),  # a map has a place for each patch
        ],
    )
    def test_of_other_models(
        self, name: str, kind: str, first: tuple[int, ...], last: tuple[int, ...]
    ) -> None:
        pad = DigitPad(build_model(name, seed=0), layers=True)
        assert tuple(pad.shapes[0].values()) == (kind, *first)
        assert tuple(pad.shapes[-1].values()) == (kind, *last)
        assert pad.layers_said == ""
        pad.strokes = DIGITS[4]
        assert len(set(pad.activations)) > 20

    def test_a_patch_keeps_its_place(self) -> None:
        tokens = torch.zeros(1, 4, 3)
        tokens[0, 1, 2] = 1.0  # the patch at the upper right, in the third number
        tokens[0, 0, 0] = -0.5  # what GELU makes of it is below zero, and nothing was found
        with watch_layers() as found:
            torch.nn.functional.gelu(tokens)
        maps = found[0][1]
        assert maps.shape == (3, 2, 2)
        assert np.argwhere(maps).tolist() == [[2, 0, 1]]

    @pytest.mark.parametrize("name", ["linear", "lstm"])
    def test_a_model_without_any_says_so(self, name: str) -> None:
        pad = DigitPad(build_model(name, seed=0), layers=True)
        assert pad.shapes == []
        assert pad.layers_said.endswith("there are no maps to show.")
        pad.strokes = DIGITS[4]
        assert len(pad.probabilities) == 10

    def test_too_many_numbers_are_left_out(self) -> None:
        with watch_layers() as found:
            torch.relu(torch.ones(1, 300, 28, 28))
            torch.relu(torch.ones(1, 3, 28, 28))
            torch.relu(torch.ones(2, 3, 28, 28))  # no batch of one
            torch.relu(torch.ones(1, 5, 3))  # five tokens make no square
        assert [maps.shape for _, maps in found] == [(3, 28, 28)]

    def test_a_model_in_other_precision_is_read(self) -> None:
        model = build_model("small_cnn", seed=0, width=2)
        pads = [DigitPad(model), DigitPad(copy.deepcopy(model).double(), layers=True)]
        for pad in pads:
            pad.strokes = DIGITS[4]
        assert pads[1].probabilities == pytest.approx(pads[0].probabilities, abs=1e-5)
        assert len(pads[1].shapes) == 3


class TestTrainHere:
    def test_a_notebook_keeps_the_element_and_no_script_and_the_same_in_every_run(self) -> None:
        one, two = TrainHere(), TrainHere()
        assert one.train == two.train  # the digits go to the browser, and not into the notebook
        data = one._repr_mimebundle_()[0]
        view = "application/vnd.jupyter.widget-view+json"
        assert {**data, view: ""} == {**two._repr_mimebundle_()[0], view: ""}
        assert data["text/html"].startswith('<train-here chapters="./">\n<p>A panel')
        assert len(data["text/html"]) < 500

    def test_the_digits_are_of_the_training_file_and_in_two_parts(self) -> None:
        train, validation = split(load_mnist().train, seed=0)
        for content, digits, rows in zip(
            training_pictures(), (train, validation), (200, 100), strict=True
        ):
            picture = Image.open(io.BytesIO(content))
            assert picture.size == (280, 28 * rows)
            sheet = np.asarray(picture.convert("L")).astype(int)
            for label in (0, 7):
                column = sheet[:, 28 * label : 28 * label + 28].reshape(rows, 28, 28)
                expected = digits.images[digits.labels == label][:rows]
                assert np.abs(column - expected).max() <= 8
        assert sum(map(len, training_pictures())) < 310_000  # bytes of a page


class TestStepHere:
    @pytest.mark.parametrize("network", ["linear", "mlp", "cnn"])
    def test_a_notebook_keeps_the_element_and_no_script(self, network: str) -> None:
        one, two = StepHere(network), StepHere(network)
        data = one._repr_mimebundle_()[0]
        view = "application/vnd.jupyter.widget-view+json"
        assert {**data, view: ""} == {**two._repr_mimebundle_()[0], view: ""}
        assert data["text/html"].startswith(f'<step-here network="{network}">\n<p>A panel')
        assert data["text/plain"].endswith(network)
        assert len(data["text/html"]) < 500

    def test_another_network_is_refused_in_a_sentence(self) -> None:
        with pytest.raises(ValueError, match="steps for 'linear', 'mlp', 'cnn', found 'vit'"):
            StepHere("vit")

    def test_its_digits_are_the_first_of_those_to_train_on(self) -> None:
        for content, larger in zip(step_pictures(), training_pictures(), strict=True):
            small, large = (
                np.asarray(Image.open(io.BytesIO(one)).convert("L")) for one in (content, larger)
            )
            assert len(small) * 2 == len(large)
            assert np.array_equal(small, large[: len(small)])


class TestDigitAttention:
    def test_a_notebook_keeps_the_element_and_no_weights_and_the_same_in_every_run(self) -> None:
        vit = build_model("vit", seed=0, width=8, depth=1, heads=2)
        view = "application/vnd.jupyter.widget-view+json"
        one, two = (DigitAttention(vit)._repr_mimebundle_()[0] for _ in range(2))
        assert {**one, view: ""} == {**two, view: ""}
        assert one["text/html"].startswith("<digit-attention from-cell>\n<p>A sheet")
        assert len(one["text/html"]) < 500
        assert one["text/plain"] == "A panel that shows attention"

    @pytest.mark.parametrize(
        ("decodes", "reads", "told"), [(False, None, True), (True, None, False), (True, True, True)]
    )
    def test_the_browser_gets_the_weights_and_whether_the_head_has_learnt(
        self, decodes: bool, reads: bool | None, told: bool
    ) -> None:
        vit = build_model("vit", seed=0, width=8, depth=1, heads=2)
        model = make_autoencoder(vit, seed=0, width=8) if decodes else vit
        content = DigitAttention(model, reads=reads).weights
        length = int.from_bytes(content[:8], "little")
        card = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["card"])
        assert card["reads"] is told
        assert ("decoder" in card) is decodes
        weights = safetensors.torch.load(content)
        assert torch.equal(weights["output.bias"], vit.output.bias)
        assert ("decoder.hidden" in weights) is decodes

    def test_another_network_is_refused_in_a_sentence(self) -> None:
        with pytest.raises(ExportError, match="shows the attention of a vit"):
            DigitAttention(build_model("linear", seed=0))  # type: ignore[arg-type]


class TestStored:
    """What a notebook keeps of a pad when its kernel is gone."""

    def data(self, pad: DigitPad) -> dict[str, str]:
        data: dict[str, str] = pad._repr_mimebundle_()[0]
        return data

    def test_is_the_same_in_every_run_and_small(self) -> None:
        model = build_model("small_cnn", seed=0, width=2)
        one, two = self.data(DigitPad(model)), self.data(DigitPad(model))
        view = "application/vnd.jupyter.widget-view+json"
        assert one[view] != two[view]  # it is live
        assert {**one, view: ""} == {**two, view: ""}
        assert one["text/plain"] == "A pad to draw on"
        assert len(one["text/html"]) < 20_000
        assert "script" not in one["text/html"].replace("where scripts", "")

    def test_has_a_picture_with_words_and_the_element_of_the_pages(self) -> None:
        model = build_model("small_cnn", seed=0, width=2)
        tags = {
            "<digit-pad only-draws>": DigitPad(),
            "<digit-pad only-draws kernel>": DigitPad(kernel=True),
            "<digit-pad from-cell>": DigitPad(model),
            "<digit-pad from-cell layers>": DigitPad(model, layers=True),
        }
        for tag, pad in tags.items():
            html = self.data(pad)["text/html"]
            assert html.startswith(tag)
            match = re.search(r'alt="([^"]{80,})" [^>]*src="data:image/png;base64,([^"]+)"', html)
            assert match
            assert base64.b64decode(match[2]).startswith(b"\x89PNG")

    def test_shows_the_same_where_ipywidgets_7_would_show_itself(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Colab has 7.7.1, of whose method no picture and no sentence comes."""
        method = "_ipython_display_"
        monkeypatch.setattr(ipywidgets.Widget, method, lambda self: None, raising=False)
        data, _ = DisplayFormatter().format(DigitPad())
        assert data["text/plain"] == "A pad to draw on"
        assert "text/html" in data

    def test_colab_gets_the_live_view_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """It would have to choose; and only anywidget's metadata make it show the view."""
        asked: list[bool] = []
        output = types.ModuleType("google.colab.output")
        output.enable_custom_widget_manager = lambda: asked.append(True)  # type: ignore[attr-defined]
        output._widgets = types.SimpleNamespace(_installed_url="https://x/")  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
        monkeypatch.setitem(sys.modules, "google.colab.output", output)
        data, metadata = DigitPad()._repr_mimebundle_()
        assert asked
        assert "text/html" not in data
        assert "text/html" not in TrainHere()._repr_mimebundle_()[0]
        assert "text/html" not in StepHere("mlp")._repr_mimebundle_()[0]
        vit = build_model("vit", seed=0, width=8, depth=1, heads=2)
        assert "text/html" not in DigitAttention(vit)._repr_mimebundle_()[0]
        view = "application/vnd.jupyter.widget-view+json"
        assert metadata[view]["colab"]["custom_widget_manager"]["url"] == "https://x/"


class TestExamples:
    def test_are_kept_saved_and_loaded(self, tmp_path: Path) -> None:
        pad = DigitPad()
        for count, digit in enumerate((7, 1, 7), start=1):
            pad.strokes = DIGITS[digit]
            assert pad.label_and_keep(digit) == count
            assert pad.strokes == []  # a clean sheet for the next one
        assert pad.examples.labels.tolist() == [7, 1, 7]
        assert np.array_equal(pad.examples.images[1], draw_strokes(DIGITS[1]))
        pad.save_examples(tmp_path / "mine.npz")
        other = DigitPad()
        assert other.load_examples(tmp_path / "mine.npz") == 3
        assert other.load_examples(tmp_path / "mine.npz") == 3  # they are here already
        assert np.array_equal(other.examples.images[:3], pad.examples.images)

    def test_the_command_line_scores_a_model_on_them(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        model = build_model("small_cnn", seed=0, width=2)
        save_checkpoint(tmp_path / "run", model)
        pad = DigitPad(model)
        for digit in DIGITS:
            pad.strokes = DIGITS[digit]
            pad.label_and_keep(digit)
        pad.save_examples(tmp_path / "mine.npz")
        assert main(["evaluate", str(tmp_path / "run"), "--data", str(tmp_path / "mine.npz")]) == 0
        assert "of 10" in capsys.readouterr().out

    def test_an_empty_sheet_or_an_unknown_class_is_refused(self) -> None:
        pad = DigitPad(class_names=("cat", "dog"))
        with pytest.raises(HandwritingError, match="Nothing has been drawn"):
            pad.label_and_keep("cat")
        pad.strokes = DIGITS[0]
        with pytest.raises(ValueError, match="no class 7; there are cat, dog"):
            pad.label_and_keep(7)
        assert pad.strokes
        assert pad.label_and_keep("dog") == 1

    def test_examples_of_other_classes_are_refused(self, tmp_path: Path) -> None:
        pad = DigitPad(class_names=("cat", "dog"))
        pad.strokes = DIGITS[0]
        pad.label_and_keep("dog")
        pad.save_examples(tmp_path / "dogs.npz")
        with pytest.raises(ValueError, match="other classes"):
            DigitPad().load_examples(tmp_path / "dogs.npz")

    def kept(self, *digits: int) -> DigitPad:
        """Return a pad that has kept these digits."""
        pad = DigitPad()
        for digit in digits:
            pad.strokes = DIGITS[digit]
            pad.label_and_keep(digit)
        return pad

    def test_a_file_is_replaced_only_if_nothing_in_it_is_lost(self, tmp_path: Path) -> None:
        path = tmp_path / "mine.npz"
        self.kept(7, 1, 7).save_examples(path)
        before = path.read_bytes()
        for fewer in (self.kept(7, 1), self.kept(1, 7, 3), self.kept(4)):
            with pytest.raises(FileExistsError, match=r"mine.npz holds [13] examples? .*\.$"):
                fewer.save_examples(path)
            assert path.read_bytes() == before
        self.kept(1, 7, 7).save_examples(path)  # the same in another order
        pad = self.kept(4)
        assert pad.load_examples(path) == 4  # what was kept stays
        pad.save_examples(path)
        assert pad.load_examples(path) == 4
        assert load_npz(path).labels.tolist() == [4, 1, 7, 7]
        self.kept(4).save_examples(path, overwrite=True)
        assert load_npz(path).labels.tolist() == [4]

    def test_a_drawing_by_another_name_is_another_example(self, tmp_path: Path) -> None:
        self.kept(7).save_examples(tmp_path / "mine.npz")
        pad = DigitPad()
        pad.strokes = DIGITS[7]
        pad.label_and_keep(1)
        with pytest.raises(FileExistsError, match="1 example that"):
            pad.save_examples(tmp_path / "mine.npz")
        assert pad.load_examples(tmp_path / "mine.npz") == 2

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"my diary",
            b"\x89PNG\r\n\x1a\n" + bytes(99),
            b"PK\x03\x04" + bytes(99),
            b"\x93NUMPY\x01",
        ],
        ids=["empty", "text", "picture", "zip", "array"],
    )
    def test_another_file_is_never_replaced(self, content: bytes, tmp_path: Path) -> None:
        path = tmp_path / "mine.npz"
        path.write_bytes(content)
        with pytest.raises(FileExistsError, match=r"^\S*mine.npz exists and .*True\.$"):
            self.kept(7).save_examples(path)
        assert path.read_bytes() == content
        with pytest.raises(DataError):
            DigitPad().load_examples(path)
        self.kept(7).save_examples(path, overwrite=True)
        assert DigitPad().load_examples(path) == 1

    def test_arrays_beside_the_examples_are_not_lost(self, tmp_path: Path) -> None:
        path, pad = tmp_path / "mine.npz", self.kept(7)
        images, labels = pad.examples.images, pad.examples.labels
        np.savez(path, images=images, labels=labels, writers=np.array([3]))
        with pytest.raises(FileExistsError, match=r"more than examples \(\['writers'\]\)"):
            pad.save_examples(path)
        np.savez(path, images=images, labels=labels)
        pad.save_examples(path)
        (tmp_path / "link.npz").symlink_to(path)
        pad.save_examples(tmp_path / "link.npz")
        assert (tmp_path / "link.npz").is_symlink()

    def test_a_file_that_cannot_be_taken_in_changes_nothing(self, tmp_path: Path) -> None:
        pad = self.kept(7)
        with pytest.raises(DataError):
            DigitPad().save_examples(tmp_path / "none.npz")  # nothing has been kept
        np.savez(tmp_path / "large.npz", images=np.zeros((2, 32, 32), np.uint8), labels=[0, 1])
        for name in ("none.npz", "large.npz"):
            with pytest.raises(ValueError, match=name):
                pad.load_examples(tmp_path / name)
        assert pad.examples.labels.tolist() == [7]
