"""`executor environment list`; tests/e2e/test_own_environments.py builds some."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from executor.cli.main import create_app
from executor.environments.shelf import VENV, Record, Shelf

DIGEST = "0123456789abcdef" * 4


def run(state_dir: Path, *arguments: str) -> str:
    """Run the command."""
    command = ["environment", "list", *arguments, "--state-dir", str(state_dir)]
    done = CliRunner(env={"COLUMNS": "200"}).invoke(create_app(), command)
    assert done.exit_code == 0, (done.stderr, done.exception)
    return done.stdout


def put(state_dir: Path, **differing: Any) -> Record:
    """Put an environment on the shelf."""
    known = {
        "digest": DIGEST,
        "python": "3.13.0",
        "program": "/usr/bin/python3.13",
        "kind": "requirements",
        "plugin": "/plugins/cat",
        "packages": ("click==8.1.8", "dify-plugin==0.7.4"),
        "size": 3 * 1024**2,
        "files": 12,
        "built_at": time.time(),
        "seconds": 1.5,
    }
    record = Record(**{**known, **differing})
    shelf = Shelf(state_dir / "environments")
    with shelf.work(DIGEST) as work:
        room = work / "room"
        (room / VENV).mkdir(parents=True)
        shelf.put(room, record)
    return record


def test_none_is_said(tmp_path: Path) -> None:
    """With what builds them."""
    assert run(tmp_path) == "there is no environment; `executor plugin install` and `executor serve` build them\n"
    assert json.loads(run(tmp_path, "--format", "json")) == {"environments": []}


def test_environments_are_listed(tmp_path: Path) -> None:
    """For people, and for programs."""
    record = put(tmp_path)
    used = tmp_path / "environments" / "locks" / f"{DIGEST}.use"
    used.parent.mkdir(exist_ok=True)
    used.touch()
    head, row = run(tmp_path).splitlines()
    assert head.split() == ["DIGEST", "PYTHON", "PACKAGES", "SIZE", "USED", "BUILD", "FOR"]
    assert row.split()[:5] == [DIGEST[:12], "3.13.0", "2", "3.0", "MiB"]
    assert row.split()[-4:] == ["ago", "1.5", "s", "cat"]
    (listed,) = json.loads(run(tmp_path, "--format", "json"))["environments"]
    assert listed["digest"] == DIGEST
    assert listed["folder"] == str(tmp_path / "environments" / DIGEST / VENV)
    assert listed["packages"] == ["click==8.1.8", "dify-plugin==0.7.4"]
    assert (listed["built_for"], listed["in_use"], listed["build_s"]) == ("/plugins/cat", False, 1.5)
    assert listed["used_at"] >= record.built_at - 1


def test_to_list_an_environment_is_no_use_of_it(tmp_path: Path) -> None:
    """It would be kept for longer."""
    put(tmp_path)
    for _ in range(2):
        assert "never" in run(tmp_path).splitlines()[1].split()
        (listed,) = json.loads(run(tmp_path, "--format", "json"))["environments"]
        assert listed["used_at"] is None


def test_a_state_directory_that_is_none_is_told(tmp_path: Path) -> None:
    """And no traceback is shown."""
    file = tmp_path / "file"
    file.touch()
    for command, said in (
        (["list"], "Not a directory"),
        (["build", str(tmp_path)], "cannot be used: it is not a folder;"),
    ):
        done = CliRunner().invoke(create_app(), ["environment", *command, "--state-dir", str(file)])
        assert done.exit_code == 1
        assert done.stderr.startswith("error: ")
        assert said in done.stderr
