"""Values of settings: from options, files, standard input, and questions in a terminal."""

from __future__ import annotations

import json
import os
import pty
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.executor.installed.support import Lab

ROOT = Path(__file__).parents[3]


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """One version installed."""
    lab = Lab(tmp_path)
    lab.install("0.0.1")
    return lab


def settings(lab: Lab, *arguments: str | Path, stdin: str = "") -> dict[str, Any]:
    """Make a hook with these options; its settings."""
    made = lab("hook", "create", "cat", *arguments, "--format", "json", stdin=stdin, environment={"T": "from-env"})
    found: dict[str, Any] = json.loads(made)["settings"]
    return found


def test_values_come_from_everywhere(lab: Lab) -> None:
    """Environment, file, standard input, a document with references, which are relative to it; options go first."""
    assert settings(lab, "--from-env", "token=T")["token"] == "fr****nv"
    folder = lab.folder / "values"
    folder.mkdir()
    (folder / "token").write_text("from-file\n")
    assert settings(lab, "--from-file", f"token={folder / 'token'}")["token"] == "fr*****le"
    assert settings(lab, "--from-file", "token=-", stdin="from-stdin\n")["token"] == "fr******in"
    (folder / "all.yaml").write_text("token: {from_file: token}\ncolour: blue\n")
    assert settings(lab, "--settings-file", folder / "all.yaml") == {"token": "fr*****le", "colour": "blue"}
    assert settings(lab, "--settings-file", folder / "all.yaml", "--set", "colour=red")["colour"] == "red"
    assert settings(lab, "--settings-file", "-", stdin='{"token": "from-json"}')["token"] == "fr*****on"
    assert settings(lab, "--from-env", "token=T", "--set", 'colour:="blue"')["colour"] == "blue"


def test_what_cannot_be_read_is_told_at_once(lab: Lab) -> None:
    """All of it, by name, and nothing is made."""
    refused = lab.refuse(
        *("hook", "create", "cat", "--set", "colour", "--set", "colour:=x", "--from-env", "token=NOT_SET_AT_ALL"),
        *("--from-env", "token", "--from-file", f"token={lab.folder / 'none'}", "--from-file", "token=-"),
        *("--from-file", "token=-"),
    )
    assert refused.splitlines() == [
        "error: setting token: the environment variable NOT_SET_AT_ALL is not set",
        "error: --from-env: expected NAME=VARIABLE",
        f"error: setting token: cannot read {lab.folder / 'none'}: no such file or directory",
        "error: standard input can be used for one value, or for --settings-file, and not again",
        "error: --set: expected NAME=VALUE, or NAME:=JSON",
        "error: setting colour: the value after := is not JSON",
    ]
    (lab.folder / "bad.yaml").write_text("token: {from_env: NOT_SET_AT_ALL}\ncolour: 2020-01-01\n")
    refused = lab.refuse("hook", "create", "cat", "--settings-file", lab.folder / "bad.yaml")
    assert "bad.yaml:1:8: setting token: the environment variable NOT_SET_AT_ALL is not set" in refused
    (lab.folder / "list.yaml").write_text("- token\n")
    assert "list.yaml:1:1: expected a map" in lab.refuse(
        "hook", "create", "cat", "--settings-file", lab.folder / "list.yaml"
    )
    assert json.loads(lab("hook", "list", "--format", "json")) == {"hooks": []}


class Terminal:
    """A command in a terminal of its own.

    Args:
        arguments: Of the program.
    """

    def __init__(self, *arguments: str | Path) -> None:
        self._pid, self._terminal = pty.fork()
        if self._pid == 0:
            os.chdir(ROOT)
            environment = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1"}
            command = [sys.executable, "-m", "executor", *map(str, arguments)]
            os.execve(sys.executable, command, environment)  # noqa: S606 - the other end of the terminal
        self.seen = ""

    def answer(self, prompt: str, text: str) -> None:
        """Wait for a prompt, and type an answer."""
        start = len(self.seen)
        while prompt not in self.seen[start:]:
            self.seen += os.read(self._terminal, 4096).decode()
        os.write(self._terminal, f"{text}\n".encode())

    def end(self) -> int:
        """Read to the end; the exit status."""
        while True:
            try:
                piece = os.read(self._terminal, 4096)
            except OSError:
                break
            if not piece:
                break
            self.seen += piece.decode()
        os.close(self._terminal)
        return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])


def test_questions_are_asked_in_a_terminal(lab: Lab) -> None:
    """With the labels that the plugin declares; secrets are not shown; an answer that does not fit is asked again."""
    terminal = Terminal("hook", "create", "cat", "--id", "one", "--state-dir", lab.state_dir)
    terminal.answer("token: ", "")
    terminal.answer("token: ", "typed-in-secret")
    terminal.answer("colour [red]: ", "green")
    terminal.answer("colour [red]: ", "blue")
    assert terminal.end() == 0, terminal.seen
    assert "Token  (required)" in terminal.seen
    assert "the plugin requires an answer" in terminal.seen
    assert "Colour" in terminal.seen
    assert "blue  Blue" in terminal.seen
    assert "expected one of red, blue" in terminal.seen
    assert "typed-in-secret" not in terminal.seen
    shown = json.loads(lab("hook", "show", "one", "--format", "json"))["settings"]
    assert shown == {"token": "ty***********et", "colour": "blue"}
    terminal = Terminal("hook", "set", "one", "--state-dir", lab.state_dir)
    terminal.answer("token [unchanged]: ", "")
    terminal.answer("colour [blue]: ", "red")
    assert terminal.end() == 0, terminal.seen
    assert json.loads(lab("hook", "show", "one", "--format", "json"))["settings"] == shown | {"colour": "red"}


def test_nothing_is_asked_when_nobody_is_there(lab: Lab) -> None:
    """Also in a terminal, when that is wished."""
    terminal = Terminal("hook", "create", "cat", "--no-input", "--state-dir", lab.state_dir)
    assert terminal.end() == 1
    assert "error: setting token: expected a text, found nothing" in terminal.seen
