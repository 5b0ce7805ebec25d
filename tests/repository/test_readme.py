"""README.md and the files beside it say what is true."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from mnist_lab import __version__
from mnist_lab.cli import main
from mnist_lab.lessons.records import load_record
from mnist_lab.models import registry
from tools.presets_table import render, render_ensemble

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_shows_the_recorded_results_of_the_presets() -> None:
    assert render(load_record("presets")) in README
    assert render_ensemble(load_record("ensemble")) in README


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)", text):
        assert target.startswith("https://") or (ROOT / target).exists(), target


def test_the_tree_names_what_is_there() -> None:
    tree = re.search(r"```\n(_config\.yml.*?)```", README, re.DOTALL)
    assert tree
    for line in tree[1].splitlines():
        for name in re.split(r"\s{2,}", line)[0].split():
            assert (ROOT / name).exists(), name


def test_every_make_target_that_is_named_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    pages = [ROOT / "CONTRIBUTING.md", ROOT / "README.md", *(ROOT / "book").glob("*.md")]
    for page in pages:
        named = set(re.findall(r"`make ([a-z]+)", page.read_text(encoding="utf-8")))
        assert named <= targets, page
    assert {"book", "test", "lab", "refresh", "bench", "lint", "student", "clean"} <= targets


def test_make_clean_leaves_what_somebody_made() -> None:
    """What was trained, and chapters that are being edited as text, nobody can make again."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    recipe = re.search(r"^clean:.*\n((?:\t.*\n?)+)", makefile, re.MULTILINE)
    assert recipe
    assert not {"runs", ".venv", "notebooks/*.md", "notebooks"} & set(recipe[1].split())


def test_the_version_is_one() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == __version__
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_an_archive_is_told_what_a_citation_tells() -> None:
    """A publisher adds the identifier that an archive gives, and nothing else."""
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    told = json.loads((ROOT / ".zenodo.json").read_text(encoding="utf-8"))
    for key in ("title", "version", "license", "keywords"):
        assert told[key] == cited[key], key
    assert told["description"] == cited["abstract"]
    assert told["creators"] == cited["authors"]
    book = cited["preferred-citation"]
    assert (book["title"], book["authors"]) == (cited["title"], cited["authors"])
    assert str(book["year"]) == str(cited["date-released"])[:4]


def test_one_licence_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert project["license"] == citation["license"] == "MIT"
    assert (ROOT / "LICENSE").read_text(encoding="utf-8").startswith("MIT License")


def test_ci_calls_make_test_and_nothing_generated_is_tracked() -> None:
    assert (ROOT / ".ci" / "run").read_text(encoding="utf-8").rstrip().endswith("make test")
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert not [name for name in listed if name.startswith(("_build/", "dist/", "runs/", ".venv"))]


def test_the_commands_work_as_they_are_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    block = re.search(r"<!-- typed: run by a test -->\n\n```sh\n(.*?)```", README, re.DOTALL)
    assert block
    (tmp_path / "book").symlink_to(ROOT / "book")
    monkeypatch.chdir(tmp_path)
    commands = [shlex.split(line, comments=True) for line in block[1].splitlines()]
    assert [command[3] for command in commands] == ["train", "evaluate", "predict", "export"]
    for command in commands:
        assert command[:3] == ["python", "-m", "mnist_lab"]
        assert main(command[3:]) == 0, command
    assert Path("mine.safetensors").is_file()
    read = re.findall(r"sheet_of_digits.png: (\d)", capsys.readouterr().out)
    assert len(read) == 60
    assert read[:5] == list("50419")
    assert main(commands[0][3:]) == 2
    assert "--overwrite" in capsys.readouterr().err


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "book/how_to_read.md"])
def test_a_command_needs_the_environment_that_was_made_and_no_certain_python(page: str) -> None:
    """What a page tells to type works once .venv is active, or names the program in it."""
    text = (ROOT / page).read_text(encoding="utf-8")
    assert not re.search(r"\bpy -3\.\d", text)
    shell = "\n".join(re.findall(r"```(?:sh|powershell)\n(.*?)```", text, re.DOTALL))
    if first := re.search(r"^(python|torchrun|jupyter)\b", shell, re.MULTILINE):
        assert re.search(r"[Aa]ctivate", shell[: first.start()])


def test_the_ten_lines_do_what_they_say(
    drawings: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    marked = r"<!-- ten lines: run by a test -->\n\n```python\n(.*?)```"
    block = re.search(marked, README, re.DOTALL)
    assert block
    lines = [line for line in block[1].splitlines() if line.strip()]
    assert len(lines) <= 12
    monkeypatch.chdir(tmp_path)
    (tmp_path / "drawings").symlink_to(drawings)
    page = np.full((200, 300), 255, np.uint8)  # two upright strokes on a sheet
    page[40:160, 60:75] = page[40:160, 200:215] = 0
    Image.fromarray(page).save("sum.jpg")
    try:
        exec(block[1], {"__name__": "README"})
    finally:
        registry.MODELS.pop("my_net", None)
    read = capsys.readouterr().out.splitlines()
    assert len(read) == 2
    for line in read:
        assert re.fullmatch(r"\d \d+% \(\d+, \d+, \d+, \d+\)", line), line
    assert {path.suffix for path in Path("runs/my_net").glob("m*")} == {".json", ".safetensors"}
