"""The widgets: modules are linked whole and in order, and a pad in Python reads what is drawn."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import traitlets

from mnist_lab.batches import Normalisation
from mnist_lab.checkpoints import ModelCard, save_checkpoint
from mnist_lab.cli import main
from mnist_lab.handwriting import HandwritingError, draw_strokes
from mnist_lab.models import build_model
from mnist_lab.widgets import DigitPad
from mnist_lab.widgets.linking import STATIC, LinkError, link_notebook, link_page
from tests.drawings import DIGITS


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
            two='import look from "./look.css";\nexport class b {}\nexport async function c() {}\n',
            look='p { content: "</script>" }\n',
        )
        text = link_notebook(static)
        assert re.findall(r"^const (\$\w+) =", text, re.MULTILINE) == [
            "$look_css", "$two", "$one", "$notebook"
        ]  # fmt: skip
        assert "return { b, c };" in text
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
        assert len(text) < 100_000

    def test_every_module_is_used_by_one_of_the_hosts(self) -> None:
        linked = link_page(b"", b"") + link_notebook()
        for path in STATIC.iterdir():
            name = re.sub(r"\W", "_", path.name.removesuffix(".js"))
            assert f"const ${name} = " in linked, path.name

    def test_no_module_asks_another_host_or_runs_text(self) -> None:
        for path in STATIC.glob("*.js"):
            code = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
            code = re.sub(r"//.*", "", code)
            assert not re.search(r"https?:|fetch\(|XMLHttp|WebSocket|sendBeacon|localStorage", code)
            assert not re.search(r"innerHTML|outerHTML|insertAdjacent|eval\(|new Function", code)

    def test_the_numbers_of_the_image_are_those_of_python(self) -> None:
        from mnist_lab import export, handwriting
        from mnist_lab.widgets import digit_pad

        def constant(module: str, name: str) -> str:
            match = re.search(rf"const {name} = ([^;]+);", (STATIC / module).read_text())
            assert match
            return match[1]

        assert float(constant("preprocess.js", "PEN")) == handwriting.PEN
        assert int(constant("preprocess.js", "BOX")) == handwriting.DIGIT_BOX
        assert int(constant("preprocess.js", "DETAIL")) == handwriting.DETAIL
        assert constant("forward.js", "FORMAT") == f'"{export.WEB_FORMAT}"'
        assert float(constant("panel.js", "SMALLEST")) == digit_pad.SMALLEST


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
        pad = DigitPad(model)
        pad.strokes = DIGITS[5]
        before = list(pad.probabilities)
        assert model.training
        assert not model.norm1.training
        model.get_parameter("output.bias").data[7] += 50  # it has learnt
        assert pad.predict(pad.image)[7] > 0.99 > before[7]

    def test_a_slip_is_not_read(self, pad: DigitPad) -> None:
        pad.strokes = [[[0.5, 0.5], [0.51, 0.5]]]
        assert pad.probabilities == []
        assert not pad.image.any()

    @pytest.mark.parametrize(
        "strokes",
        [[3], [[1, 2]], [[["a", 0]]], [[[0.5]]], [[[float("nan"), 0]]], [[[1e300, 0]]], [[None]]],
    )
    def test_what_is_no_stroke_is_refused_and_changes_nothing(
        self, strokes: list[object], pad: DigitPad
    ) -> None:
        pad.strokes = DIGITS[1]
        with pytest.raises(traitlets.TraitError, match=r"\.$"):
            pad.strokes = strokes
        assert len(pad.strokes) == 1

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
        with pytest.raises(ValueError, match="has no model"):
            pad.predict(pad.image)


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
        assert other.load_examples(tmp_path / "mine.npz") == 6
        assert np.array_equal(other.examples.images[:3], pad.examples.images)

    def test_the_command_line_scores_a_model_on_them(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        model = build_model("small_cnn", seed=0, width=2)
        save_checkpoint(tmp_path / "run", model, ModelCard("small_cnn", {"width": 2}))
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
