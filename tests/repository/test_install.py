"""tools/install.py tells uv what pip was told, and pip installs where uv does not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tools import install
from tools.install import as_uv_is_told, read_settings

ROOT = Path(__file__).parents[2]
EVERYWHERE = ["--index-strategy", "unsafe-best-match"]


class TestSettings:
    def test_of_the_environment_go_before_those_of_install_before_all(self) -> None:
        listed = """\
:env:.index-url='https://c.example/simple'
install.index-url='https://b.example/simple'
global.index-url='https://a.example/simple'
global.cert='a.pem'
install.cert='b.pem'
download.cert='d.pem'
"""
        assert read_settings(listed) == {"index-url": "https://c.example/simple", "cert": "b.pem"}

    def test_are_read_as_pip_prints_them(self, tmp_path: Path) -> None:
        """Several values in several lines, a quote, an equals sign."""
        file = tmp_path / "pip.conf"
        file.write_text(
            "[global]\nindex-url = https://it's:me@a.example/simple?x=1\n"
            "find-links =\n    /one\n    /two\n"
        )
        printed = subprocess.run(
            [sys.executable, "-m", "pip", "config", "list"],
            env={"PIP_CONFIG_FILE": str(file), "PIP_TIMEOUT": "7", "PATH": ""},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        options, variables = as_uv_is_told(read_settings(printed))
        assert options[:2] == ["--default-index", "https://it's:me@a.example/simple?x=1"]
        assert options[-6:-2] == ["--find-links", "/one", "--find-links", "/two"]
        assert variables["UV_HTTP_TIMEOUT"] == "7"

    def test_that_are_none_leave_uv_its_own(self) -> None:
        assert as_uv_is_told(read_settings("")) == (EVERYWHERE, {})

    @pytest.mark.parametrize(
        ("settings", "options", "variables"),
        [
            ({"index-url": "https://a"}, ["--default-index", "https://a"], {}),
            ({"extra-index-url": "https://a\nhttps://b"},
             ["--index", "https://a", "--index", "https://b"], {}),
            ({"trusted-host": "a b"},
             ["--allow-insecure-host", "a", "--allow-insecure-host", "b"], {}),
            ({"no-index": "true"}, ["--no-index"], {}),
            ({"no-index": "false"}, [], {}),
            ({"cert": "a.pem"}, [], {"SSL_CERT_FILE": "a.pem"}),
            ({"proxy": "http://p:1"}, [], {"ALL_PROXY": "http://p:1"}),
            ({"default-timeout": "180"}, [], {"UV_HTTP_TIMEOUT": "180"}),
            ({"progress-bar": "off"}, [], {}),
        ],
    )  # fmt: skip
    def test_become_uv_s(
        self, settings: dict[str, str], options: list[str], variables: dict[str, str]
    ) -> None:
        assert as_uv_is_told(settings) == (options + EVERYWHERE, variables)


class Programs:
    """Stand-ins for pip and uv: they note what they are asked for, and some fail."""

    def __init__(self, failing: Callable[[list[str]], bool], listed: str = "") -> None:
        self.asked: list[list[str]] = []
        self.environments: list[dict[str, str] | None] = []
        self.failing, self.listed = failing, listed

    def run(self, command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        self.asked.append(command)
        self.environments.append(options.get("env"))
        status = int(self.failing(command))
        if status and options.get("check"):
            raise subprocess.CalledProcessError(status, command)
        return subprocess.CompletedProcess(command, status, stdout=self.listed)


def is_uv(command: list[str]) -> bool:
    return command[:3] == install.UV[:3]


class TestInstall:
    def asks(
        self, monkeypatch: pytest.MonkeyPatch, failing: Callable[[list[str]], bool], listed: str
    ) -> Programs:
        programs = Programs(failing, listed)
        monkeypatch.setattr(subprocess, "run", programs.run)
        return programs

    def test_is_uv_s_with_the_pinned_set_and_pip_s_index(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        listed = "global.index-url='https://a.example/simple'\nglobal.cert='a.pem'\n"
        monkeypatch.delenv("SSL_CERT_FILE", raising=False)
        programs = self.asks(monkeypatch, lambda _: False, listed)
        assert install.main() == 0
        *_, command = programs.asked
        assert is_uv(command)
        assert command[-4:] == ["-c", "constraints.txt", "-e", ".[all]"]
        assert command[command.index("--default-index") + 1] == "https://a.example/simple"
        environment = programs.environments[-1]
        assert environment is not None
        assert environment["SSL_CERT_FILE"] == "a.pem"
        assert sum(".[all]" in command for command in programs.asked) == 1

    @pytest.mark.parametrize(
        "which", ["uv cannot be had", "uv fails", "pip says what nobody reads"]
    )
    def test_is_pip_s_where_uv_s_is_not_to_be_had(
        self, which: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        failing = {
            "uv cannot be had": lambda command: command[-1] == "uv",
            "uv fails": is_uv,
        }.get(which, lambda _: False)
        programs = self.asks(monkeypatch, failing, "global.cert=x y" if "says" in which else "")
        assert install.main() == 0
        assert programs.asked[-1][:3] == install.PIP[:3]
        assert programs.asked[-1][-4:] == ["-c", "constraints.txt", "-e", ".[all]"]
        assert "so pip does" in capsys.readouterr().err

    def test_says_by_its_status_that_neither_could(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asks(monkeypatch, lambda command: "list" not in command, "")
        assert install.main() == 1


def test_needs_nothing_that_is_not_installed_yet() -> None:
    code = "import sys, tools.install; print(*sys.modules)"
    command = [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, '.'); {code}"]
    loaded = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    foreign = {name.partition(".")[0] for name in loaded.split()} - set(sys.stdlib_module_names)
    assert foreign <= {"tools", "__main__"}


def test_is_what_make_calls() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "\t$(PY) -m tools.install\n" in makefile
    assert "pip install" not in makefile
