"""book/articles_code.md: the printed listings fail as the page says, the corrected ones run."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from torchvision import datasets

from mnist_lab.data.mnist import load_mnist
from mnist_lab.models.architecture import count_parameters
from mnist_lab.models.registry import build_model

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "book" / "articles_code.md").read_text(encoding="utf-8")
ARTICLES = ("000", "001", "002")
BLOCK = re.compile(r"```\{code-block\} python\n:caption: ([^\n]+)\n\n(.*?)```", re.DOTALL)
WIDEST = 46  # characters: two listings side by side have no more


def listing(article: str, form: str) -> str:
    """Return the blocks of an article, as printed or corrected, one after the other."""
    section = PAGE.split(f"## Article {article}\n")[1].split("\n## ")[0]
    return "\n".join(code for caption, code in BLOCK.findall(section) if caption.startswith(form))


mnist = functools.cache(load_mnist)  # unpacked once for all listings


class FewDigits(Dataset[tuple[Tensor, int]]):
    """Stands in for torchvision's MNIST: 240 digits, asked for in the same way."""

    def __init__(
        self, root: str, train: bool, download: bool, transform: Callable[[Any], Tensor]
    ) -> None:
        assert download
        digits = mnist().train if train else mnist().test
        self.images, self.labels = digits.images[:240, :, :, None].copy(), digits.labels[:240]
        self.transform = transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self.transform(self.images[index]), int(self.labels[index])


@pytest.fixture
def few_digits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Run in an empty folder, with 240 digits for MNIST."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets, "MNIST", FewDigits)
    torch.manual_seed(0)


def run(code: str) -> dict[str, Any]:
    """Run a program, and return its names."""
    names: dict[str, Any] = {}
    exec(compile(code, "listing", "exec"), names)
    return names


@pytest.mark.parametrize("article", ARTICLES)
@pytest.mark.parametrize("form", ["As printed", "Corrected"])
def test_lines_fit_side_by_side(article: str, form: str) -> None:
    code = listing(article, form)
    assert code.count("\n") > 15
    assert max(map(len, code.splitlines())) <= WIDEST
    compile(code, "listing", "exec")


@pytest.mark.usefixtures("few_digits")
@pytest.mark.parametrize(
    ("article", "error", "words"),
    [("000", FileNotFoundError, "model.pth"), ("002", NameError, "'device'")],
)
def test_printed_listings_stop_where_the_page_says(
    article: str, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        run(listing(article, "As printed"))


@pytest.mark.usefixtures("few_digits")
@pytest.mark.parametrize("article", ARTICLES)
def test_corrected_listings_run(article: str, capsys: pytest.CaptureFixture[str]) -> None:
    names = run(listing(article, "Corrected"))
    said = capsys.readouterr().out.splitlines()
    assert len(said) == {"000": 1, "001": 5, "002": 10}[article] + 1
    assert re.fullmatch(r"test \d+\.\d\d%", said[-1])
    network = names["model"]
    assert isinstance(network, nn.Module)
    assert count_parameters(network) == count_parameters(build_model(f"article_{article}"))
    kept, held_out = names["kept"], names["held_out"]
    assert (len(kept), len(held_out)) == (220, 20)
    assert not set(kept.indices) & set(held_out.indices)


def test_the_whole_of_mnist_leaves_5000_for_validation() -> None:
    for article in ARTICLES:
        assert "[55 / 60, 5 / 60]" in listing(article, "Corrected")
    indices = torch.utils.data.TensorDataset(torch.arange(60_000))
    parts = torch.utils.data.random_split(indices, [55 / 60, 5 / 60])
    assert [len(part) for part in parts] == [55_000, 5_000]


def test_links_lead_to_claims() -> None:
    anchors = re.findall(r"\{#(claim-[\w-]+)\}", (ROOT / "book" / "articles.md").read_text("utf-8"))
    links = re.findall(r"articles\.md#(claim-[\w-]+)", PAGE)
    assert len(set(links)) > 20
    assert set(links) <= set(anchors)
