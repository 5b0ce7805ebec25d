"""The publishing address: one setting, every use in agreement with it, and all of it rewritten."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tools.address import (
    ANOTHER_ADDRESS,
    EXEMPT,
    PLACEHOLDER,
    ROOT,
    current_address,
    files_that_may_use_it,
    pages_address,
    parse_address,
    rewrite,
    same_address,
)

HERE = "https://github.com/_publisher_/mnist-lab"
THERE = "https://github.com/Ada-L/digits.book"
USES = {
    "_config.yml": "title: x\nrepository:\n  # one setting\n  url: {url}\n  branch: main\n",
    "README.md": "[Colab](https://colab.research.google.com/github/{path}/blob/main/n.ipynb)\n"
    "Clone `{url}.git`, or read <https://{owner}.github.io/{name}/>.\n",
    "notebooks/ch01.ipynb": '{{"source": ["%pip install git+{url}@v0.1.0"]}}\n',
    "book/teachers.md": "See {url}. It is at {url}/issues, not at x{path} or {path}-old.\n",
    ".github/workflows/deploy.yml": "run: python -m tools.address --check {url}\n",
    "CITATION.cff": 'url: "{url}"\n',
    "pyproject.toml": 'Source = "{url}"\n',
}


def fill(text: str, url: str) -> str:
    owner, name = parse_address(url)
    return text.format(url=url, path=f"{owner}/{name}", owner=owner.lower(), name=name)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    for name, text in USES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(fill(text, HERE))
    (tmp_path / "logo.png").write_bytes(b"\x89PNG _publisher_/mnist-lab \xff")
    (tmp_path / "CHANGELOG.md").write_text("The placeholder is _publisher_/mnist-lab.\n")
    (tmp_path / ".gitignore").write_text("built/\n")
    (tmp_path / "built").mkdir()
    (tmp_path / "built" / "page.md").write_text(HERE)
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    return tmp_path


def contents(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and ".git" not in path.relative_to(root).parts
    }


class TestThisRepository:
    def test_has_an_address_in_its_one_setting(self) -> None:
        owner, name = parse_address(current_address())
        assert owner
        assert name

    def test_nobody_can_hold_the_name_that_stands_for_the_publisher(self) -> None:
        """What its first cells install from there, somebody else could have put there."""
        assert not re.match(r"[A-Za-z0-9]", PLACEHOLDER)

    def test_every_use_agrees_with_the_setting(self) -> None:
        owner, name = parse_address(current_address())
        uses = 0
        for path in files_that_may_use_it():
            text = path.read_text(encoding="utf-8")
            for match in re.finditer(rf"github(?:\.com)?/([\w.-]+)/{re.escape(name)}\b", text):
                if match[1] != "you":  # the example in the Makefile's and the tool's help
                    assert match[1] == owner, f"{path}: {match[0]}"
                    uses += 1
            for match in re.finditer(rf"([\w-]+)\.github\.io/{re.escape(name)}\b", text):
                assert match[1] == owner.lower(), f"{path}: {match[0]}"
            if owner != PLACEHOLDER:
                assert f"{PLACEHOLDER}/{name}" not in text, path
        assert uses >= 1

    def test_no_file_that_is_passed_over_uses_it(self) -> None:
        owner, name = parse_address(current_address())
        command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        rewritten = set(files_that_may_use_it())
        for file in listed.stdout.splitlines():
            path = ROOT / file
            if path in rewritten or file in EXEMPT or not path.is_file():
                continue
            content = path.read_bytes()
            assert f"{owner}/{name}".encode() not in content, path
            assert f"{owner.lower()}.github.io/{name}".encode() not in content, path


class TestRewrite:
    def test_changes_every_use_and_nothing_else(self, repository: Path) -> None:
        before = contents(repository)
        changed = rewrite(HERE, THERE, repository)
        after = contents(repository)
        assert {path.relative_to(repository).as_posix() for path in changed} == set(USES)
        assert after.keys() == before.keys()
        for name in after.keys() - USES.keys():
            assert after[name] == before[name], name
        for name, text in USES.items():
            expected = fill(text, THERE)
            if name == "book/teachers.md":  # other people's repositories stay
                expected = expected.replace(
                    "xAda-L/digits.book or Ada-L/digits.book-old",
                    "x_publisher_/mnist-lab or _publisher_/mnist-lab-old",
                )
            assert after[name].decode() == expected, name
        assert current_address(repository) == THERE

    def test_there_and_back_is_the_same_to_the_byte(self, repository: Path) -> None:
        before = contents(repository)
        rewrite(HERE, THERE, repository)
        rewrite(THERE, HERE, repository)
        assert contents(repository) == before

    def test_the_same_address_changes_nothing(self, repository: Path) -> None:
        assert rewrite(HERE, HERE, repository) == []

    def test_a_short_owner_is_not_found_inside_longer_names(self, repository: Path) -> None:
        (repository / "book" / "more.md").write_text("/work/lab/b and club/book, ab/b, b/bc\n")
        assert rewrite("https://github.com/b/b", THERE, repository) == []

    @pytest.mark.parametrize(
        "url",
        [
            "",
            "github.com/you/mnist-lab",
            "http://github.com/you/mnist-lab",
            "https://github.com/you",
            "https://github.com/you/",
            "https://github.com/you/mnist-lab/tree/main",
            "https://gitlab.com/you/mnist-lab",
            "https://github.com/you/mnist lab",
            "https://github.com/you/mnist-lab\n",
            "git@github.com:you/mnist-lab.git",
            "https://github.com/_you_/mnist-lab",
            "https://github.com/-you/mnist-lab",
            "https://github.com/y.ou/mnist-lab",
            "https://github.com/größe/mnist-lab",
            "https://github.com/you/größe",
            "https://github.com/you/..",
        ],
    )
    def test_refuses_another_form_with_a_sentence_and_changes_nothing(
        self, url: str, repository: Path
    ) -> None:
        before = contents(repository)
        with pytest.raises(SystemExit) as caught:
            rewrite(HERE, url, repository)
        assert str(caught.value) == (
            f"{url!r} is no address of the form https://github.com/owner/name."
        )
        assert contents(repository) == before

    @pytest.mark.parametrize("tail", ["", "/", ".git", ".git/"])
    def test_takes_the_forms_that_browsers_and_git_give(self, tail: str) -> None:
        assert parse_address(f"https://github.com/you/mnist-lab{tail}") == ("you", "mnist-lab")

    def test_a_missing_setting_is_a_sentence(self, tmp_path: Path) -> None:
        (tmp_path / "_config.yml").write_text("title: x\nhtml:\n  url: https://example.org\n")
        with pytest.raises(SystemExit, match=r"^_config\.yml has no `repository: url:`\.$"):
            current_address(tmp_path)


@pytest.mark.parametrize(
    ("url", "pages"),
    [
        (HERE, None),
        (THERE, "https://ada-l.github.io/digits.book/"),
        ("https://github.com/Ada-L/ada-l.github.io", "https://ada-l.github.io/"),
    ],
)
def test_where_the_pages_are_is_known_once_there_is_an_address(url: str, pages: str | None) -> None:
    assert pages_address(url) == pages


class TestCommand:
    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tools.address", *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    def test_check_passes_for_the_setting(self) -> None:
        for tail in ("", ".git"):
            found = self.call("--check", current_address() + tail)
            assert (found.returncode, found.stdout, found.stderr) == (0, "", "")

    @pytest.mark.parametrize("url", ["https://github.com/teacher-a/x", THERE])
    def test_letter_case_makes_no_other_address(self, url: str) -> None:
        """GitHub gives the name as its owner wrote it, and a browser as somebody typed it."""
        swapped = "https://github.com/" + "/".join(parse_address(url)).swapcase()
        assert same_address(url, swapped)
        assert same_address(url, url + ".git")
        assert not same_address(url, url + "s")

    def test_check_needs_nothing_but_python(self, tmp_path: Path) -> None:
        """The workflow asks before it installs anything."""
        (tmp_path / "mnist_lab.py").write_text("raise ImportError")
        code = f"import sys, runpy; sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]\n"
        code += f"sys.argv[1:] = ['--check', {current_address()!r}]\n"
        code += "runpy.run_module('tools.address', run_name='__main__')"
        command = [sys.executable, "-I", "-S", "-c", code]
        found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert (found.returncode, found.stderr) == (0, "")

    def test_check_stops_for_another_repository_and_says_the_cure(self) -> None:
        other = "https://github.com/somebody-else/mnist-lab"
        found = self.call("--check", other)
        assert found.returncode == ANOTHER_ADDRESS
        assert f"make address URL={other}" in found.stderr
        assert current_address() in found.stderr

    def test_without_an_address_says_the_one_there_is(self) -> None:
        found = self.call()
        assert found.returncode == 1
        assert current_address() in found.stderr
