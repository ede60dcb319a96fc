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
        "plugins:  1 version",
        "hooks:    1, 1 of them enabled; 1 secret",
        "storage:  1 value in 1 scope, 2.0 KiB",
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
    assert f"{copy}: a copy of {state / FILE}\nit has 1 secret in it, unreadable without the key" in done.stdout
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


def test_only_what_matters_of_the_configuration_is_read(state: Path, tmp_path: Path) -> None:
    """So that whoever asks need not have the secrets of the service; but the tenant of the service is known."""
    secret = "{from_env: ONLY_THE_SERVICE_HAS_IT}"
    file = tmp_path / "executor.yaml"
    file.write_text(
        f"state_dir: {state}\nreverse: {{tenant: t}}\nplugins: [./cat]\n"
        f"hooks: {{cat: {{settings: {{token: {secret}}}}}}}\nserverless: {{key: {secret}}}\n"
    )
    assert "hooks:    1" in run("show", "--config", file).stdout
    done = run("clear", "tester/cat", "--yes", "--config", file)
    assert (done.exit_code, done.stdout) == (0, "removed 1 value of tester/cat\n")


def test_what_plugins_have_stored_is_listed_and_removed(state: Path) -> None:
    """One scope at a time, and only when it is confirmed."""
    with open_store(None, state) as store:
        store.storage.set(StorageScope("default", "tester/cat"), "a", b"x" * 1024, quota_bytes=10_000)
        store.storage.set(StorageScope("default", "tester/cat", "hook"), "b", b"", quota_bytes=10_000)
        store.storage.set(StorageScope("default", "tester/cat", "hook"), "c", b"x", quota_bytes=10_000, ttl_s=0.001)
    lines = run("usage", "--state-dir", state).stdout.splitlines()
    assert [line.split() for line in lines] == [
        ["PLUGIN", "TENANT", "HOOK", "VALUES", "SIZE"],
        ["tester/cat", "default", "all", "1", "1.0", "KiB"],
        ["tester/cat", "default", "hook", "1", "0", "B"],
        ["tester/cat", "t", "all", "1", "2.0", "KiB"],
    ]
    refused = CliRunner().invoke(create_app(), ["store", "clear", "tester/cat", "--state-dir", str(state)], input="n\n")
    assert refused.exit_code == 1
    assert "Remove 1 value of tester/cat, 1.0 KiB?" in refused.stderr
    assert "error: not confirmed, so nothing was done; --yes asks nothing" in refused.stderr
    assert run("clear", "tester/cat", "--hook", "hook", "--yes", "--state-dir", state).exit_code == 0
    assert run("clear", "tester/cat", "--yes", "--state-dir", state).stdout == "removed 1 value of tester/cat\n"
    (left,) = json.loads(run("usage", "--state-dir", state, "--format", "json").stdout)
    assert left == {"tenant_id": "t", "plugin_id": "tester/cat", "hook_id": None, "keys": 1, "used_bytes": 2048}
    assert run("usage", "--state-dir", state.parent / "empty").stdout == "no plugin has stored anything\n"
    again = run("clear", "tester/cat", "--yes", "--state-dir", state)
    assert (again.exit_code, again.stderr) == (
        1,
        "error: tester/cat has nothing stored there; see `executor store usage`\n",
    )
