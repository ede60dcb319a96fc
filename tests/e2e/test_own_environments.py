"""Plugins whose environments the service builds: at the start, at a reload, and once for all.

What is installed comes from the index that uv and pip are set up for here, as for everybody who serves a plugin.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import plain_http
from tests.e2e.harness import COMMAND, Executor
from tests.environments import find_pythons

pytestmark = pytest.mark.e2e

PYTHON = next(version for version in ("3.12", "3.11", "3.13", "3.14") if version in find_pythons())
MANIFEST = f"""\
version: 0.0.1
type: plugin
author: tests
name: own
label: {{en_US: Own}}
description: {{en_US: It imports what it depends on.}}
icon: icon.svg
created_at: 2026-11-30T12:00:00Z
resource: {{memory: 1048576, permission: {{}}}}
plugins: {{endpoints: [group.yaml]}}
meta: {{version: 0.0.1, arch: [amd64, arm64], runner: {{language: python, version: "{PYTHON}", entrypoint: main}}}}
"""
SOURCE = """\
import sys

import click
from dify_plugin import Endpoint
from werkzeug import Request, Response


class Versions(Endpoint):
    def _invoke(self, r: Request, values, settings) -> Response:
        type Pair = tuple[int, int]
        return Response(f"{sys.version_info.minor} {click.__version__} {click.__file__}")
"""
"""With a statement of Python 3.12: the executor itself may be run by an older one."""

OLDER = SOURCE.replace("        type Pair = tuple[int, int]\n", "")


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """A plugin that needs more than the SDK."""
    root = tmp_path / "own"
    (root / "_assets").mkdir(parents=True)
    (root / "manifest.yaml").write_text(MANIFEST)
    (root / "_assets" / "icon.svg").write_text("<svg/>")
    (root / "group.yaml").write_text("settings: []\nendpoints: [versions.yaml]\n")
    (root / "versions.yaml").write_text("path: /versions\nmethod: GET\nextra: {python: {source: versions.py}}\n")
    (root / "versions.py").write_text(SOURCE if PYTHON != "3.11" else OLDER)
    (root / "requirements.txt").write_text("dify_plugin==0.7.4\nclick==8.1.7\n")
    return root


@pytest.fixture
def service(plugin: Path) -> Iterator[Executor]:
    """The plugin, served as it is."""
    with Executor(plugin) as executor:
        yield executor
        assert executor.own_failures() == []


def ask(service: Executor) -> str:
    """Ask the endpoint for its versions."""
    answer = plain_http.get(f"{service.url}/e/own/versions")
    assert answer.status_code == 200, answer.text
    return answer.text


def test_built_at_the_start_and_again_at_a_reload(service: Executor, plugin: Path) -> None:
    """It says how far it is; a second start builds nothing; requests are served while a reload builds."""
    assert ask(service).split()[:2] == [PYTHON.removeprefix("3."), "8.1.7"]
    details = [event["detail"] for event in service.events("environment.build")]
    assert f"building with Python {PYTHON}." in details[0]
    assert any(re.fullmatch(r"resolved \d+ packages", line) for line in details)
    assert any(line.startswith("fetched ") for line in details)
    assert ask(service).split()[2].startswith(str(service.state_dir / "environments"))
    service.stop()

    service.start()
    assert service.events("environment.build") == []
    assert ask(service).split()[1] == "8.1.7"

    (plugin / "requirements.txt").write_text("dify_plugin==0.7.4\nclick==8.1.8\n")
    service.process.send_signal(1)
    service.wait_event("environment.build", plugin="own")
    assert ask(service).split()[1] in {"8.1.7", "8.1.8"}
    service.wait_event("service.reloaded")
    assert ask(service).split()[1] == "8.1.8"

    (plugin / "requirements.txt").write_text("dify_plugin==0.7.4\nclick==8.1.8\nsurely-there-is-no-such-package\n")
    service.process.send_signal(1)
    assert "surely-there-is-no-such-package" in service.wait_refused("no environment")
    assert ask(service).split()[1] == "8.1.8"


def test_what_cannot_be_built_is_not_served(plugin: Path, tmp_path: Path) -> None:
    """The report names the plugin, the requirement, and what to do."""
    (plugin / "requirements.txt").write_text("dify_plugin==0.7.4\nsurely-there-is-no-such-package\n")
    command = [*COMMAND, "serve", str(plugin), "--port", "0", "--state-dir", str(tmp_path / "state")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "error: plugin own: no environment: the requirements of own (requirements.txt)" in ended.stderr
    assert "surely-there-is-no-such-package is on none of the indexes that are used: " in ended.stderr


def test_the_shared_environment(plugin: Path) -> None:
    """Nothing is built when that is asked for; then what a plugin imports must be there."""
    (plugin / "versions.py").write_text(OLDER)
    with Executor(plugin, "--shared-environment") as executor:
        assert executor.events("environment.build") == []
        minor, _, path = ask(executor).split()
        assert minor == str(sys.version_info.minor)
        assert not path.startswith(str(executor.state_dir))


def test_the_commands(plugin: Path, tmp_path: Path) -> None:
    """`environment build`, `list` and `gc`, and `check --load`, which needs the environment."""

    def run(*arguments: str) -> str:
        env = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(Path.home()),
            "XDG_STATE_HOME": str(tmp_path / "state"),
            "COLUMNS": "160",
        }
        return subprocess.run([*COMMAND, *arguments], stdout=subprocess.PIPE, text=True, check=True, env=env).stdout

    folder = Path(run("environment", "build", str(plugin)).strip())
    assert (folder / "bin" / "python").exists()
    assert folder.parent.name[:12] in run("environment", "list")
    assert run("environment", "gc") == "0 environments removed\n"
    assert "it can be served" in run("check", "--load", str(plugin))
    assert run("environment", "gc", "--all") == f"removed {folder.parent}\n1 environment removed\n"
