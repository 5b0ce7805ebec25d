"""What reaches Colab: notebooks that name their commit, by a workflow that knows its address."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.repository.test_environment import for_readers
from tools import check_colab
from tools.address import PLACEHOLDER, current_address, parse_address, rewrite
from tools.check_colab import LISTS, LOCAL, find_python, first_cell, moved, read_list, relabel
from tools.publish_notebooks import CHAPTERS, OPEN, ROOT, pin

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FORK = "https://github.com/Ada-L/digits.book"
SOME = CHAPTERS[-2:]
JOBS: dict[str, Any] = yaml.safe_load((ROOT / ".github/workflows/pages.yml").read_text())["jobs"]


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    command = ["git", *who, *words]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def fork(tmp_path: Path) -> Path:
    """Return a clone of a fork that has its address, with what publishing needs."""
    origin, clone = tmp_path / "origin.git", tmp_path / "clone"
    git(tmp_path, "init", "--quiet", "--bare", "--initial-branch=main", str(origin))
    git(tmp_path, "clone", "--quiet", str(origin), str(clone))
    shutil.copytree(ROOT / "tools", clone / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    (clone / "notebooks").mkdir()
    for path in SOME:
        shutil.copy(path, clone / "notebooks")
    for name in ("_config.yml", ".gitignore"):
        shutil.copy(ROOT / name, clone)
    rewrite(current_address(), FORK, clone)
    git(clone, "switch", "--quiet", "--orphan", "main")
    git(clone, "add", ".")
    git(clone, "commit", "--quiet", "--message", "A fork")
    return clone


def step(job: str, number: int, folder: Path, **environment: str) -> Any:
    """Run a step of the workflow that publishes, as GitHub's runner would."""
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c"]
    runs = [part["run"] for part in JOBS[job]["steps"] if "run" in part]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    given = os.environ | {"PATH": path} | environment
    given.pop("PYTHONPATH", None)
    return subprocess.run(
        [*command, runs[number]], cwd=folder, env=given, capture_output=True, text=True
    )


class TestPin:
    @pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem[:4])
    def test_changes_one_line_of_a_chapter(self, path: Path) -> None:
        before = path.read_text(encoding="utf-8")
        after = pin(before, COMMIT)
        json.loads(after)
        assert f'COMMIT = \\"{COMMIT}\\"' in after
        differ = [
            pair
            for pair in zip(before.split("\n"), after.split("\n"), strict=True)
            if len({*pair}) > 1
        ]
        assert len(differ) == 1

    @pytest.mark.parametrize("text", ["{}", json.dumps([OPEN, OPEN]), pin(json.dumps(OPEN), "x")])
    def test_refuses_a_chapter_that_has_no_such_line_or_more(self, text: str) -> None:
        with pytest.raises(ValueError, match=r"is there [02] times, not once$"):
            pin(text, COMMIT)


class TestPublish:
    def publish(self, folder: Path) -> subprocess.CompletedProcess[str]:
        return step("notebooks", 0, folder)

    def test_writes_every_chapter_with_the_commit_that_is_checked_out(self, fork: Path) -> None:
        found = self.publish(fork)
        assert found.returncode == 0, found.stderr
        commit = git(fork, "rev-parse", "HEAD").strip()
        assert commit in found.stdout
        written = sorted((fork / "_build/published/notebooks").iterdir())
        assert [path.name for path in written] == [path.name for path in SOME]
        for path in written:
            assert first_cell_of(path).count(f'COMMIT = "{commit}"') == 1
            assert f'ADDRESS = "{FORK}"' in first_cell_of(path)
        assert git(fork, "status", "--porcelain") == ""

    @pytest.mark.parametrize("name", [SOME[0].name, "ch99_new.ipynb"])
    def test_refuses_chapters_that_the_commit_does_not_hold(self, name: str, fork: Path) -> None:
        with (fork / "notebooks" / name).open("a") as file:
            file.write("\n")
        found = self.publish(fork)
        assert found.returncode == 1
        assert found.stderr == f"Commit first: notebooks/{name} has been changed.\n"
        assert not (fork / "_build").exists()

    def test_refuses_a_book_without_an_address(self, fork: Path) -> None:
        config = fork / "_config.yml"
        config.write_text(config.read_text().replace("Ada-L", PLACEHOLDER))
        found = self.publish(fork)
        assert found.returncode == 1
        assert found.stderr.startswith(f"https://github.com/{PLACEHOLDER}/digits.book is nobody's")


def first_cell_of(path: Path) -> str:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return "".join(next(cell for cell in cells if cell["cell_type"] == "code")["source"])


class TestWorkflow:
    def check(self, folder: Path, repository: str) -> tuple[Any, str]:
        """Return how the step that compares addresses ends, and what it hands on."""
        output = folder / "output"
        output.touch()
        here = {"GITHUB_SERVER_URL": "https://github.com", "GITHUB_REPOSITORY": repository}
        found = step("address", 0, folder, **here, GITHUB_OUTPUT=str(output))
        return found, output.read_text()

    @pytest.mark.parametrize("repository", ["Ada-L/digits.book", "ada-l/Digits.Book"])
    def test_publishes_where_the_address_is_its_own(self, repository: str, fork: Path) -> None:
        found, output = self.check(fork, repository)
        assert (found.returncode, output) == (0, "ours=true\n")

    @pytest.mark.parametrize("repository", ["teacher/digits.book", "Ada-L/digits"])
    def test_a_fork_without_its_own_address_is_told_what_to_do_and_is_green(
        self, repository: str, fork: Path
    ) -> None:
        found, output = self.check(fork, repository)
        assert (found.returncode, output) == (0, "")
        (line,) = found.stdout.splitlines()
        assert re.match(r"::notice( title=[\w ]+)?::", line)
        assert f"run `make address URL=https://github.com/{repository}` and commit." in line

    def test_but_what_cannot_be_read_is_a_failure(self, fork: Path) -> None:
        (fork / "_config.yml").write_text("title: x\n")
        found, output = self.check(fork, "Ada-L/digits.book")
        assert (found.returncode, output) == (1, "")
        assert "::notice" not in found.stdout

    def test_nothing_is_published_before_the_address_is_known_to_be_right(self) -> None:
        assert JOBS["site"]["if"] == "needs.address.outputs.ours == 'true'"
        order = ["deploy"]
        while "needs" in JOBS[order[-1]]:
            order.append(JOBS[order[-1]]["needs"])
        assert order == ["deploy", "notebooks", "site", "address"]
        assert set(order) == set(JOBS)  # a job that is skipped has those after it skipped

    def test_only_one_job_may_write_into_the_repository(self) -> None:
        assert {name for name, job in JOBS.items() if "contents" in job.get("permissions", {})} == {
            "notebooks"
        }

    def test_puts_the_pinned_chapters_on_the_branch_to_which_the_buttons_lead(
        self, fork: Path
    ) -> None:
        branch = yaml.safe_load((ROOT / "_config.yml").read_text())["repository"]["branch"]
        commit = git(fork, "rev-parse", "HEAD").strip()
        for _ in range(2):  # the second time the branch is there
            assert step("notebooks", 0, fork).returncode == 0
            found = step("notebooks", 1, fork, GITHUB_SHA=commit)
            assert found.returncode == 0, found.stderr
            git(fork, "switch", "--quiet", "main")
            git(fork, "branch", "--quiet", "-D", "colab")
        origin = fork.parent / "origin.git"
        files = git(origin, "ls-tree", "-r", "--name-only", branch).splitlines()
        assert files == [f"notebooks/{path.name}" for path in SOME]
        assert commit in git(origin, "show", f"{branch}:{files[0]}")
        assert git(origin, "rev-list", "--count", branch) == "1\n"
        assert git(fork, "rev-parse", "HEAD").strip() == commit


@pytest.mark.site
@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem[:4])
def test_the_button_of_a_page_opens_the_pinned_chapter(path: Path) -> None:
    branch = yaml.safe_load((ROOT / "_config.yml").read_text())["repository"]["branch"]
    repository = "/".join(parse_address(current_address()))
    page = ROOT / "_build" / "html" / "notebooks" / f"{path.stem}.html"
    found = re.findall(r'https://colab\.research[^"]*', page.read_text(encoding="utf-8"))
    there = f"https://colab.research.google.com/github/{repository}/blob/{branch}/notebooks"
    assert found == [f"{there}/{path.name}"]


class TestColabsVersions:
    python, packages = read_list(LISTS[-1].read_text(encoding="utf-8"))

    def test_are_recorded_with_their_date_and_source(self) -> None:
        for path in LISTS:
            assert re.fullmatch(r"20\d\d-\d\d", path.stem)
            head = path.read_text(encoding="utf-8").partition("\n\n")[0]
            assert re.search(r"github\.com/googlecolab/backend-info.*[0-9a-f]{12}", head, re.DOTALL)

    def test_are_all_the_package_needs_so_that_none_has_to_change(self) -> None:
        have = {canonicalize_name(name): version for name, version in self.packages.items()}
        for name, requirement in for_readers().items():
            if name in have:
                assert Version(have[name]) in requirement.specifier, requirement
        assert {"torch", "numpy", "ipywidgets", "anywidget", "tqdm"} <= have.keys()

    def test_the_python_is_one_that_the_package_supports(self) -> None:
        assert Version(self.python) >= Version("3.11")

    def test_a_list_without_a_python_is_refused(self) -> None:
        with pytest.raises(ValueError, match="which Python"):
            read_list("torch==2.11.0\n")


class TestCheckColab:
    def test_sees_what_has_moved_or_gone_and_not_what_came(self) -> None:
        before = {"torch": "2.11.0+cu128", "ipywidgets": "7.7.1", "tqdm": "4.67.3"}
        after = {"torch": "2.11.0", "ipywidgets": "7.7.1", "optuna": "5.0.0"}
        assert moved(before, after) == ["torch 2.11.0+cu128 -> 2.11.0", "tqdm 4.67.3 -> gone"]
        assert moved(before, before | {"optuna": "5.0.0"}) == []

    def test_strips_what_pypi_does_not_have(self) -> None:
        assert (
            LOCAL.sub("", "torch==2.11.0+cu128\nnumpy==2.0.2\n") == "torch==2.11.0\nnumpy==2.0.2\n"
        )

    def test_gives_a_package_the_version_of_colabs_build(self, tmp_path: Path) -> None:
        site = tmp_path / "lib" / "python3.12" / "site-packages"
        for name in ("torch-2.11.0", "numpy-2.0.2"):
            (site / f"{name}.dist-info").mkdir(parents=True)
        metadata = "Name: torch\nVersion: 2.11.0\n\nVersion: of a text\n"
        (site / "torch-2.11.0.dist-info" / "METADATA").write_text(metadata)
        relabel("torch", "2.11.0+cu128", tmp_path)
        relabel("numpy", "2.0.2", tmp_path)
        found = site / "torch-2.11.0+cu128.dist-info" / "METADATA"
        assert found.read_text() == metadata.replace("2.11.0", "2.11.0+cu128")
        assert sorted(path.name for path in site.iterdir())[0] == "numpy-2.0.2.dist-info"

    def test_says_so_where_there_is_no_such_python(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert find_python("3.99") == sys.executable
        assert capsys.readouterr().out.startswith("There is no Python 3.99 here")
        monkeypatch.setattr(check_colab.shutil, "which", lambda name: sys.executable)
        assert find_python("3.99") == sys.executable
        assert capsys.readouterr().out == ""

    def test_runs_the_cell_as_it_would_be_published(self) -> None:
        cell = first_cell(CHAPTERS[0], "file:///book", COMMIT)
        assert 'ADDRESS = "file:///book"' in cell
        assert f'COMMIT = "{COMMIT}"' in cell
