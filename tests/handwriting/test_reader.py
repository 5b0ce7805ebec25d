"""The reader: one way to ask a model what it reads, as its card says it is fed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from mnist_lab.cli import main
from mnist_lab.data.digit_set import DataError, DigitSet
from mnist_lab.data.normalisation import Normalisation
from mnist_lab.handwriting.found import TOO_LOW
from mnist_lab.handwriting.ink import HandwritingError
from mnist_lab.handwriting.reader import ABSTAINED, DOUBTFUL, Reader, load_reader
from mnist_lab.models.registry import build_model
from mnist_lab.training.batches import Batches
from mnist_lab.training.cards import ModelCard
from mnist_lab.training.checkpoints import save_checkpoint
from mnist_lab.training.scoring import evaluate, logits_of
from mnist_lab.training.tensor_folders import CheckpointError


class BrightestColumn(nn.Module):
    """Reads 0 to 9 in the place of the brightest of ten columns; a parameter gives it a place."""

    def __init__(self) -> None:
        super().__init__()
        self.sharpness = nn.Parameter(torch.tensor(50.0))

    def forward(self, images: Tensor) -> Tensor:
        return self.sharpness * images[:, 0, 14, 9:19]


def columns(*labels: int) -> NDArray[np.uint8]:
    images = np.zeros((len(labels), 28, 28), np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[:, 9 + label] = 255
    return images


@pytest.fixture
def digits(small_sets: tuple[DigitSet, DigitSet]) -> DigitSet:
    return small_sets[1].subset(np.arange(100))


class TestRead:
    def test_labels_names_and_probabilities(self) -> None:
        reading = Reader(BrightestColumn()).read(columns(3, 0, 9))
        assert reading.labels.tolist() == [3, 0, 9]
        assert reading.names == ["3", "0", "9"]
        assert reading.probabilities.shape == (3, 10)
        assert reading.probabilities.dtype == np.float64
        assert reading.probabilities.sum(1) == pytest.approx(1)

    def test_is_what_the_loop_would_compute_and_in_eval_mode(self, digits: DigitSet) -> None:
        model = build_model("small_cnn", width=4).train()
        normalisation = Normalisation(0.3, 0.4)
        card = ModelCard.of(model, normalisation=normalisation)
        reader = Reader(model, card)
        expected = logits_of(model, Batches(digits, normalisation=normalisation))
        assert torch.allclose(reader.logits_of(digits.images).float(), expected, atol=1e-5)
        assert model.training
        assert reader.score(digits) == evaluate(model, Batches(digits, normalisation=normalisation))

    def test_many_are_read_in_pieces_and_none_is_nothing(self) -> None:
        reader = Reader(BrightestColumn())
        labels = np.arange(2_345) % 10
        assert np.array_equal(reader.read(columns(*labels)).labels, labels)
        nothing = reader.read(columns())
        assert (nothing.labels.shape, nothing.probabilities.shape) == ((0,), (0, 10))

    def test_abstains_where_it_is_not_sure_enough(self) -> None:
        images = columns(3, 5)
        images[1, :, 9:19] = 200  # every class alike
        reading = Reader(BrightestColumn(), least_probability=0.5).read(images)
        assert reading.labels.tolist() == [3, ABSTAINED]
        assert reading.names == ["3", "?"]
        assert Reader(BrightestColumn()).read(images).labels[1] != ABSTAINED

    @pytest.mark.parametrize("wrong", [-0.1, 1.0, float("nan")])
    def test_a_least_probability_out_of_range(self, wrong: float) -> None:
        with pytest.raises(ValueError, match="must be from 0 to below 1"):
            Reader(BrightestColumn(), least_probability=wrong)

    @pytest.mark.parametrize(
        "images",
        [
            np.zeros((28, 28), np.uint8),
            np.zeros((2, 27, 28), np.uint8),
            np.zeros((2, 28, 28), np.float32),
            np.zeros((2, 1, 28, 28), np.uint8),
        ],
    )
    def test_other_images_are_a_sentence(self, images: NDArray[Any]) -> None:
        with pytest.raises(
            ValueError, match=r"^The images must be uint8 \(n, 28, 28\), found .*\.$"
        ):
            Reader(BrightestColumn()).read(images)

    def test_a_model_of_another_precision(self) -> None:
        model = BrightestColumn().to(torch.bfloat16)
        assert Reader(model).read(columns(4)).labels.tolist() == [4]


class Brittle(BrightestColumn):
    """Answers an image with wide ink, but not a full one, with NaN."""

    def forward(self, images: Tensor) -> Tensor:
        width = (images > 0).any(2).sum(2)
        spoilt = ((width > 15) & (width < 28)).to(images.dtype)
        return super().forward(images) + 0 / (1 - spoilt)


class TestNotFinite:
    def wide(self) -> NDArray[np.uint8]:
        image = np.zeros((28, 28), np.uint8)
        image[4:24, 4:24] = 255
        return image

    def test_an_answer_is_never_read_off_such_numbers(self) -> None:
        reader = Reader(Brittle())
        images = np.stack([*columns(3), self.wide(), self.wide()])
        for ask in (reader.read, reader.logits_of):
            with pytest.raises(
                FloatingPointError, match=r"answers 2 of 3 images with .* not finite"
            ):
                ask(images)
        assert reader.read(images[:1]).names == ["3"]

    def test_nor_is_a_score(self) -> None:
        digits = DigitSet(np.stack([*columns(3), self.wide()]), np.array([3, 3]))
        with pytest.raises(FloatingPointError, match=r"^The loss on these 2 digits is nan: .*\.$"):
            Reader(Brittle()).score(digits)

    def test_nor_is_one_where_each_answer_is_finite_and_the_loss_is_not(self) -> None:
        model = BrightestColumn()
        with torch.no_grad():
            model.sharpness.fill_(1.15e38)
        with pytest.raises(FloatingPointError, match="The loss on these 1 digits is inf"):
            Reader(model).score(DigitSet(columns(3), np.array([4])))

    def test_the_picture_is_named_and_the_others_are_read(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        page = np.full((200, 200), 255, np.uint8)
        page[40:160, 95:105] = 0  # thin
        Image.fromarray(page).save(tmp_path / "thin.png")
        page[150:160, 40:160] = 0  # with a foot
        Image.fromarray(page).save(tmp_path / "wide.png")
        files = [str(tmp_path / name) for name in ("thin.png", "wide.png", "thin.png")]
        monkeypatch.setattr(
            "mnist_lab.handwriting.reader.load_reader", lambda *_, **__: Reader(Brittle())
        )
        assert main(["predict", "folder", *files, "--json"]) == 2
        shown = capsys.readouterr()
        found = json.loads(shown.out.splitlines()[-1])["results"]
        assert [len(entry["digits"]) for entry in found] == [1, 0, 1]
        assert found[1]["error"].startswith(f"{files[1]}: The Brittle answers 1 of 1 images")
        assert f"mnist_lab predict: {found[1]['error']}\n" in shown.err


class TestPicture:
    def picture(self) -> NDArray[np.uint8]:
        """Two upright strokes, dark on light paper."""
        page = np.full((200, 300), 255, np.uint8)
        page[40:160, 60:75] = 0
        page[40:160, 200:215] = 0
        return page

    def test_gives_what_was_found_and_what_was_read_in_it(self, tmp_path: Path) -> None:
        Image.fromarray(self.picture()).save(tmp_path / "page.png")
        reader = Reader(BrightestColumn())
        by_file, by_array = (
            reader.read_picture(tmp_path / "page.png"),
            reader.read_picture(self.picture()),
        )
        assert [digit.box for digit in by_file] == [(60, 40, 75, 160), (200, 40, 215, 160)]
        for one, other in zip(by_file, by_array, strict=True):
            assert (one.name, one.probability, one.box) == (
                other.name,
                other.probability,
                other.box,
            )
            assert one.probability == one.probabilities.max()
            assert one.found.image.shape == (28, 28)
            alone = reader.read(one.found.image[None])
            assert one.name == alone.names[0]

    def test_what_was_not_read_and_what_is_doubtful_is_said(self) -> None:
        page = self.picture()
        page[98:102, 120:150] = 0  # a minus sign
        reading = Reader(BrightestColumn()).read_page(page)
        assert len(reading.digits) == 2
        (unread,) = reading.unread
        assert (unread.box, unread.reason) == ((120, 98, 150, 102), TOO_LOW)
        told = {"box": [120, 98, 150, 102], "reason": TOO_LOW}
        assert reading.to_json()["unread"] == [told]
        assert reading.confidence == min(digit.probability for digit in reading.digits)
        for digit in reading.digits:
            assert digit.is_doubtful == (digit.probability < DOUBTFUL)

    def test_an_empty_sheet_is_a_sentence(self) -> None:
        with pytest.raises(HandwritingError):
            Reader(BrightestColumn()).read_picture(np.full((100, 100), 255, np.uint8))


class TestScore:
    def test_counts_classes_in_the_order_of_the_card(self) -> None:
        few = DigitSet(columns(7, 3, 3), np.array([1, 0, 0]), class_names=("3", "7"))
        score = Reader(BrightestColumn()).score(few)
        assert (score.accuracy, score.count) == (1.0, 3)

    def test_other_classes_or_sizes_are_a_sentence(self) -> None:
        reader = Reader(BrightestColumn())
        with pytest.raises(DataError, match="Class 'a' is not one of the model's"):
            reader.score(DigitSet(columns(1), np.array([0]), class_names=("a",)))
        with pytest.raises(DataError, match="have 20x20 pixels; the model takes 28x28"):
            reader.score(DigitSet(np.zeros((1, 20, 20), np.uint8), np.array([0])))


class TestLoad:
    def test_a_checkpoint_is_read_as_its_card_says(self, digits: DigitSet, tmp_path: Path) -> None:
        model = build_model("mlp", hidden=8, classes=10).eval()
        names = tuple("abcdefghij")
        card = ModelCard.of(model, normalisation=Normalisation(0.0, 1.0), class_names=names)
        save_checkpoint(tmp_path, model, card)
        reader = load_reader(tmp_path, device="cpu", least_probability=0.2)
        assert reader.class_names == names
        assert reader.least_probability == 0.2
        expected = logits_of(model, Batches(digits, normalisation=Normalisation(0.0, 1.0)))
        assert torch.allclose(reader.logits_of(digits.images).float(), expected, atol=1e-5)

    def test_an_untrained_head_is_refused_with_what_to_do(self, tmp_path: Path) -> None:
        model = build_model("vit")
        save_checkpoint(tmp_path, model, ModelCard.of(model, training={"head": "untrained"}))
        with pytest.raises(CheckpointError, match=r"cannot read digits yet: .* finetune"):
            load_reader(tmp_path)
