"""`executor check` tells people and programs what is wrong, and ends with the right status."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from executor.cli.main import create_app
from executor.version import __version__
from tests.executor.catalog.plugins import Edit, edited, write_plugin

WARNING = Edit("endpoints/cat.yaml", "GET", "get")
ERROR = Edit("endpoints/cat.yaml", "/cat", "cat")


def _run(*arguments: str | Path) -> Result:
    """Run the command as a person would, in a pipe."""
    return CliRunner().invoke(create_app(), [str(argument) for argument in arguments])


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder of its own, so that paths are short, with three plugins in it."""
    monkeypatch.chdir(tmp_path)
    write_plugin(tmp_path / "good")
    write_plugin(tmp_path / "odd", edited(WARNING))
    write_plugin(tmp_path / "bad", edited(WARNING, ERROR, Edit("manifest.yaml", "name: cat", "name: Cat")))
    return tmp_path


def test_a_good_plugin() -> None:
    """One line, and status 0."""
    result = _run("check", "good")

    assert result.output == "1 plugin checked: nothing wrong; it can be served, with 1 endpoint\n"
    assert result.exit_code == 0


def test_warnings_alone_are_no_failure() -> None:
    """They are told, with status 0."""
    result = _run("check", "odd")

    assert result.output.startswith("odd/endpoints/cat.yaml:2:9: warning: method: expected one of")
    assert result.output.endswith(
        "[endpoint.method_form]\n1 plugin checked: 1 warning; it can be served, with 1 endpoint\n"
    )
    assert result.exit_code == 0


def test_errors() -> None:
    """One line for each, as compilers write them, by file; status 1."""
    result = _run("check", "bad")

    lines = result.output.splitlines()
    assert [line.split(" ")[0] for line in lines[:-1]] == [
        "bad/endpoints/cat.yaml:1:7:",
        "bad/endpoints/cat.yaml:2:9:",
        "bad/manifest.yaml:4:7:",
    ]
    assert lines[0] == (
        "bad/endpoints/cat.yaml:1:7: error: path: expected a path that starts with a slash, "
        'found "cat/<name>" [endpoint.path.slash]'
    )
    assert lines[-1] == "1 plugin checked: 2 errors, 1 warning; 0 of 1 can be served, with 0 endpoints"
    assert result.exit_code == 1


def test_several_plugins() -> None:
    """All are checked, whatever is wrong with the first."""
    result = _run("check", "bad", "good", "odd", "nothing")

    assert "nothing: error: expected a folder with a manifest.yaml, found none [plugin.folder]" in result.output
    assert result.output.endswith("4 plugins checked: 3 errors, 2 warnings; 2 of 4 can be served, with 2 endpoints\n")
    assert result.exit_code == 1


def test_json() -> None:
    """The documented shape, and the same status."""
    result = _run("check", "bad", "good", "--format", "json")

    document = json.loads(result.output)
    assert result.exit_code == 1
    assert (document["errors"], document["warnings"]) == (2, 1)
    bad, good = document["plugins"]
    assert good == {
        "path": "good",
        "name": "cat",
        "version": "0.0.1",
        "endpoints": 1,
        "routes": [{"method": "GET", "path": "/cat/<name>"}],
        "findings": [],
    }
    assert (bad["path"], *(bad[key] for key in ("name", "version", "endpoints", "routes"))) == ("bad", *[None] * 4)
    assert bad["findings"][2] == {
        "severity": "error",
        "code": "manifest.name",
        "file": "manifest.yaml",
        "line": 4,
        "column": 7,
        "found": 'the text "Cat"',
        "expected": "1 to 128 of a-z, 0-9, _ and -",
        "message": 'name: expected 1 to 128 of a-z, 0-9, _ and -, found the text "Cat"',
    }


@pytest.mark.parametrize(
    "arguments", [["check"], ["check", "good", "--format", "xml"], ["check", "--nonsense", "good"], ["nonsense"]]
)
def test_usage_errors(arguments: list[str]) -> None:
    """A command line that is not understood is status 2."""
    assert _run(*arguments).exit_code == 2


def test_names_of_files_cannot_steer_the_terminal(folder: Path) -> None:
    """Neither the plugin's path nor what is in it."""
    write_plugin(folder / "ev\x1b[2Jil", edited(Edit("manifest.yaml", "icon.svg", '"\\e[31m\\u202e[bold]"')))

    result = _run("check", "ev\x1b[2Jil")

    assert "\x1b" not in result.output
    assert "\u202e" not in result.output
    assert "[bold]" in result.output
    assert "ev\\x1b[2Jil/manifest.yaml:9:7" in result.output


def test_names_that_are_not_utf_8(folder: Path) -> None:
    """A folder whose name is not text is checked like any other."""
    write_plugin(Path(os.fsdecode(os.fsencode(folder) + b"/\xff")))

    for output in ("text", "json"):
        assert _run("check", os.fsdecode(b"\xff"), "nothing\udcff", "--format", output).exit_code == 1


def test_colours_only_in_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """There, the severity stands out; the text is the same."""
    plain = _run("check", "bad").output
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)

    coloured = _run("check", "bad").output

    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == plain


def test_help_teaches() -> None:
    """The help shows commands to copy."""
    assert "executor check my_plugin" in _run("check", "--help").output
    assert "executor check my_plugin" in _run("--help").output


def test_version() -> None:
    """The version of the distribution."""
    result = _run("--version")

    assert result.output == f"executor {__version__}\n"
    assert result.exit_code == 0
