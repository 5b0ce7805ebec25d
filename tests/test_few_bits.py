"""Weights in few bits: how far they may move, that they come back, what a file of them holds."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import safetensors
import torch

from mnist_lab.export import ExportError, check_free, export_web, pack_web, read_web, web_bytes
from mnist_lab.few_bits import halve, pack, quantise_network, round_to_levels, unpack
from mnist_lab.models.registry import build_model
from mnist_lab.training.cards import ModelCard
from mnist_lab.training.checkpoints import save_checkpoint
from tests.command_line import run

BITS = range(2, 9)


def weights(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("bits", BITS)
class TestLevels:
    def test_they_are_symmetric_and_few(self, bits: int) -> None:
        levels, scales = round_to_levels(weights(7, 3, 5, 5), bits)
        assert levels.dtype == torch.int8
        assert levels.shape == (7, 3, 5, 5)
        assert scales.shape == (7, 1, 1, 1)
        top = 2 ** (bits - 1) - 1
        assert int(levels.max()) == top
        assert int(levels.min()) == -top

    def test_what_is_not_cut_off_moves_by_half_a_level_at_most(self, bits: int) -> None:
        before = weights(5, 400)
        levels, scales = round_to_levels(before, bits)
        top = 2 ** (bits - 1) - 1
        inside = before.abs() <= top * scales
        moved = (levels * scales - before).abs()
        assert (moved <= 0.5001 * scales)[inside].all()

    def test_no_other_scale_would_serve_a_row_much_better(self, bits: int) -> None:
        """A search ten times as fine gains a tenth at most."""
        before = weights(4, 600, seed=2)
        levels, scales = round_to_levels(before, bits)
        error = (levels * scales - before).square().sum(1)
        top = 2 ** (bits - 1) - 1
        for share in torch.linspace(0.25, 1.05, 400):
            scale = before.abs().amax(1, keepdim=True) * share / top
            other = (before / scale).round().clamp(-top, top) * scale
            assert (error <= 1.1 * (other - before).square().sum(1)).all()

    def test_packed_rows_come_back(self, bits: int) -> None:
        levels, _ = round_to_levels(weights(6, 3, 3, 3), bits)
        content = pack(levels, bits)
        assert content.shape == (6, -(-27 * bits // 8))
        assert np.array_equal(unpack(content, (6, 3, 3, 3), bits), levels.numpy())

    def test_each_output_has_a_scale_of_its_own(self, bits: int) -> None:
        small = weights(2, 300)
        large = torch.cat([small[:1], 1_024 * small[1:]])
        (a, _), (b, scales) = round_to_levels(small, bits), round_to_levels(large, bits)
        assert torch.equal(a, b)
        assert float(scales[1] / scales[0]) > 300


def test_rows_of_zeros_stay_zero() -> None:
    levels, scales = round_to_levels(torch.zeros(3, 4), 4)
    assert not (levels * scales).any()


@pytest.mark.parametrize("bits", [0, 1, 9, 32])
def test_bits_out_of_range(bits: int) -> None:
    with pytest.raises(ValueError, match="from 2 to 8"):
        round_to_levels(weights(2, 2), bits)


@pytest.mark.parametrize("worst", [float("nan"), float("inf"), 1e7])
def test_numbers_that_sixteen_bits_cannot_hold(worst: float) -> None:
    before = weights(2, 9)
    before[1, 4] = worst
    with pytest.raises(ValueError, match="16 bits"):
        round_to_levels(before, 4)
    with pytest.raises(ValueError, match=r"^norm\.bias has numbers beyond"):
        halve("norm.bias", before[1])


def test_fewer_bits_are_farther_from_the_network() -> None:
    model = build_model("small_cnn", seed=0, width=8).eval()
    images = weights(20, 1, 28, 28)
    with torch.no_grad():
        whole = model(images)
        errors = [float((quantise_network(model, bits)(images) - whole).std()) for bits in BITS]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.02 * float(whole.std())


class TestFiles:
    def test_a_file_holds_what_the_small_network_computes_with(self, tmp_path: Path) -> None:
        model = build_model("small_cnn", seed=0, width=8)
        export_web(model, ModelCard.of(model), tmp_path / "a", bits=3)
        small = quantise_network(model, 3).state_dict()
        with safetensors.safe_open(tmp_path / "a", "pt") as file:
            assert json.loads(file.metadata()["card"])["bits"] == 3
            for name, expected in small.items():
                if not expected.is_floating_point():
                    continue
                found = file.get_tensor(name)
                if expected.ndim > 1:
                    levels = unpack(found.numpy(), tuple(expected.shape), 3)
                    scales = file.get_tensor(f"{name}.scale").float()
                    found = (torch.from_numpy(levels).flatten(1) * scales[:, None]).view_as(
                        expected
                    )
                assert torch.equal(found.float(), expected)

    def test_the_pages_network_has_sixteen_kilobytes_in_four_bits(self) -> None:
        """Of weights; a header says what they are."""
        model = build_model("small_cnn", seed=0)
        content = web_bytes(model, ModelCard.of(model), bits=4)
        header = 8 + int.from_bytes(content[:8], "little")
        assert len(content) - header <= 16_000
        assert header < 2_000

    def test_weights_that_do_not_fit(self) -> None:
        model = build_model("linear", seed=0)
        with torch.no_grad():
            model.get_parameter("output.bias").fill_(1e6)
        with pytest.raises(ExportError, match=r"^It cannot be written in 4 bits: output.bias has"):
            web_bytes(model, ModelCard.of(model), bits=4)

    def test_the_command_line(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        model = build_model("small_cnn", seed=0, width=4)
        save_checkpoint(tmp_path / "model", model)
        out = tmp_path / "a.safetensors"
        asked = ("export", tmp_path / "model", "--out", out, "--json", "--bits", 4, "--format")
        status, told, _ = run(capsys, *asked, "web")
        assert status == 0
        assert json.loads(told.splitlines()[-1])["bytes"] == out.stat().st_size
        assert out.read_bytes() == web_bytes(model, ModelCard.of(model), bits=4)
        status, _, told = run(capsys, *asked, "onnx")
        assert (status, told) == (2, "mnist_lab export: --bits goes with --format web.\n")


class TestReadingAgain:
    @pytest.mark.parametrize("bits", [None, 8, 4, 3])
    def test_a_file_gives_the_network_that_the_page_computes(self, bits: int | None) -> None:
        model = build_model("small_cnn", seed=0, width=4)
        card = ModelCard.of(model, class_names=tuple("abcdefghij"))
        found, read = read_web(web_bytes(model, card, bits=bits))
        assert read.class_names == card.class_names
        expected = (model if bits is None else quantise_network(model, bits)).eval()
        assert not found.training
        assert torch.equal(found(weights(3, 1, 28, 28)), expected(weights(3, 1, 28, 28)))

    def test_what_is_no_such_file(self) -> None:
        good = web_bytes(*self.small(), bits=4)
        for content in (b"", b"12345678", good[:-3], good.replace(b"web 1", b"web 9")):
            with pytest.raises(ExportError, match=r"^It is no file of a web export: "):
                read_web(content)

    def test_a_file_that_claims_a_huge_network(self) -> None:
        """It is refused before anything is built."""
        good = web_bytes(*self.small())
        size = int.from_bytes(good[:8], "little")
        claimed = good[8 : 8 + size].replace(rb"\"width\": 2", rb"\"width\": 90000")
        hostile = len(claimed).to_bytes(8, "little") + claimed + good[8 + size :]
        with pytest.raises(ExportError, match="more weights than the file"):
            read_web(hostile)

    def test_a_name_with_gz_is_compressed(self, tmp_path: Path) -> None:
        model, card = self.small()
        for name in ("a.safetensors.gz", "b.safetensors.gz"):
            export_web(model, card, tmp_path / name, bits=4)
        content = (tmp_path / "a.safetensors.gz").read_bytes()
        assert content == (tmp_path / "b.safetensors.gz").read_bytes()  # no date is in it
        assert content == pack_web(web_bytes(model, card, bits=4))
        assert gzip.decompress(content) == web_bytes(model, card, bits=4)
        assert len(content) < 0.6 * len(web_bytes(model, card, bits=4))
        check_free(tmp_path / "a.safetensors.gz")  # an export may be replaced
        for other in (gzip.compress(b"a diary"), content[:40], b"\x1f\x8b"):
            (tmp_path / "mine.gz").write_bytes(other)
            with pytest.raises(ExportError, match="no export"):
                check_free(tmp_path / "mine.gz")

    def small(self) -> tuple[torch.nn.Module, ModelCard]:
        model = build_model("small_cnn", seed=0, width=2)
        return model, ModelCard.of(model)
