"""`executor init` writes a plugin that works, from the first command to its own tests."""

from __future__ import annotations

import os
import pty
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.harness import COMMAND

pytestmark = pytest.mark.e2e

PATIENCE_S = 240


@pytest.fixture(autouse=True)
def state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep state of tests out of that of whoever runs them."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.getbasetemp() / "state"))


def run(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command, without a terminal."""
    environment = {**os.environ, "NO_COLOR": "1"}
    command = [*COMMAND, *(str(argument) for argument in arguments)]
    return subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=PATIENCE_S, check=False, env=environment,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip


def test_from_nothing_to_an_answer(tmp_path: Path) -> None:
    """Written, checked in real workers, called as its README says, tested by its own tests."""
    written = run("init", "my_cat", "--author", "ada", cwd=tmp_path)
    assert written.returncode == 0, written.stderr
    assert written.stdout.startswith("Wrote 16 files to my_cat. Next:\n  executor check my_cat --load ")
    folder = tmp_path / "my_cat"
    checked = run("check", "my_cat", "--load", cwd=tmp_path)
    assert checked.stdout == "1 plugin checked: nothing wrong; it can be served, with 3 endpoints\n"
    calls = re.findall(r"^executor (call .*?)\s*(?:#.*)?$", (folder / "README.md").read_text(), re.MULTILINE)
    hello, webhook = (run(*shlex.split(line), cwd=folder) for line in calls)
    assert hello.stdout == "Hello, Ada!\n"
    assert webhook.stdout == '{"received": "opened"}\n'
    assert webhook.stderr == "  | endpoints.webhook: got the event opened\n"
    assert run("call", ".", "GET", "/countdown/2", cwd=folder).stdout == "2\n1\ngo\n"
    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert "2 passed" in tested.stdout, tested.stdout


def test_refusals(tmp_path: Path) -> None:
    """Status 1, the reason, and nothing written."""
    refused = run("init", "cat", "--name", "My Cat", cwd=tmp_path)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("error: the plugin's name must be 1 to 128 of a-z, 0-9, _ and -")
    assert not (tmp_path / "cat").exists()


def test_questions(tmp_path: Path) -> None:
    """On a terminal it asks, with defaults, and again when a name is not allowed."""
    controller, terminal = pty.openpty()
    command = [*COMMAND, "init", "My Cat"]
    process = subprocess.Popen(command, cwd=tmp_path, stdin=terminal, stdout=terminal, stderr=terminal)
    os.close(terminal)
    shown = b""
    for question, answer in (
        (b"Name [my_cat]: ", b"Cat\n"),
        (b"how about cat?", b""),
        (b"Name [my_cat]: ", b"cat\n"),
        (b"Author [", b"ada\n"),
        (b"Label [Cat]: ", b"\n"),
        (b"Description [A plugin with endpoints.]: ", b"It purrs.\n"),
    ):
        while question not in shown:
            shown += os.read(controller, 4096)
        shown = shown.partition(question)[2]  # what comes behind it may be there already
        os.write(controller, answer)
    with open(controller, "rb", buffering=0, closefd=True) as rest:  # noqa: PTH123 - a descriptor
        try:
            while data := rest.read(4096):
                shown += data
        except OSError:  # the terminal is closed
            pass
    assert process.wait(PATIENCE_S) == 0
    manifest = (tmp_path / "My Cat" / "manifest.yaml").read_text()
    assert "author: ada\nname: cat\n" in manifest
    assert 'en_US: "It purrs."' in manifest
    assert b"executor check 'My Cat' --load" in shown
