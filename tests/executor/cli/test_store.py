"""`executor store`: what is in it, and a backup."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from executor.cli.main import create_app
from executor.store.database import FILE
from executor.store.schema import HEAD
from executor.store.storage import StorageScope
from executor.store.store import open_store
from tests.executor.store.support import make_hook, make_plugin


def run(*arguments: str | Path) -> Result:
    """Run `executor store`."""
    return CliRunner().invoke(create_app(), ["store", *map(str, arguments)])


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state folder with something in it."""
    with open_store(None, tmp_path / "state") as store:
        store.plugins.add(make_plugin())
        store.hooks.add(make_hook())
        store.storage.set(StorageScope("t", "tester/cat"), "key", b"x" * 2048, quota_bytes=10_000)
    return tmp_path / "state"


def test_the_store_is_shown(state: Path) -> None:
    """For people, and for programs."""
    assert run("show", "--state-dir", state).stdout.splitlines() == [
        f"store:    {state / FILE} (sqlite, tables of revision {HEAD})",
        "plugins:  1 versions",
        "hooks:    1, 1 of them enabled; 1 secrets",
        "storage:  1 values in 1 scopes, 2.0 KiB",
    ]
    shown = json.loads(run("show", "--state-dir", state, "--format", "json").stdout)
    assert shown == {
        "store": str(state / FILE),
        "kind": "sqlite",
        "revision": HEAD,
        "plugins": 1,
        "hooks": 1,
        "enabled": 1,
        "secrets": 1,
        "scopes": 1,
        "keys": 1,
        "used_bytes": 2048,
    }


def test_a_backup_is_made(state: Path, tmp_path: Path) -> None:
    """Once."""
    copy = tmp_path / "copy.db"
    done = run("backup", copy, "--state-dir", state)
    assert done.exit_code == 0
    assert f"{copy}: a copy of {state / FILE}\nits 1 secrets can only be read with their key" in done.stdout
    (tmp_path / "other").mkdir()
    copy.rename(tmp_path / "other" / FILE)
    with open_store(None, tmp_path / "other") as store:
        assert store.plugins.list() == (make_plugin(),)
    copy.touch()
    again = run("backup", copy, "--state-dir", state)
    assert (again.exit_code, again.stderr) == (1, f"error: {copy} exists already; give the name of a new file\n")


def test_what_is_wrong_is_told(state: Path, tmp_path: Path) -> None:
    """The configuration, and the store."""
    (tmp_path / "executor.yaml").write_text("store: {url: 3}")
    done = run("show", "--config", tmp_path / "executor.yaml")
    assert done.exit_code == 1
    assert "store.url: expected a text" in done.stderr
    (state / FILE).write_bytes(b"nothing " * 1000)
    done = run("show", "--state-dir", state)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("error: the store ")
    assert "is not a SQLite database" in done.stderr
