"""What is on the disk of a hook's secrets, on both databases: nothing that could be read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from executor.store.store import open_store
from executor.vault.keyring import KEY_FILE
from tests.executor.store.support import make_hook, make_plugin
from tests.executor.vault.support import make_vault
from tests.postgresql import PostgreSQL, postgresql_server

SECRET = b"correct-horse-battery"
PUBLIC = b"no-secret-at-all"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSQL]:
    """A server whose files can be read."""
    with postgresql_server() as running:
        yield running


def find(folder: Path, text: bytes) -> list[str]:
    """The files below a folder that have a text in them."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return [path.name for path in files if text in path.read_bytes()]


def fill(url: str | None, state_dir: Path) -> None:
    """Store a hook with a secret, and change it."""
    vault = make_vault(state_dir)
    values: dict[str, object] = {"token": SECRET.decode(), "colour": PUBLIC.decode()}
    with open_store(url, state_dir) as store:
        store.plugins.add(make_plugin())
        plain, sealed = vault.seal_settings("hook", values, {"token"})
        store.hooks.add(replace(make_hook("hook"), settings=plain, secrets=sealed))
        _, again = vault.seal_settings("hook", values, {"token"})
        changed = store.hooks.update("hook", lambda hook: replace(hook, secrets=again))
        assert vault.open_settings("hook", changed.settings, changed.secrets) == values
        assert find(state_dir, SECRET) == [], "neither in the log beside the file, while it is there"
    assert find(state_dir, SECRET) == []


def test_sqlite(tmp_path: Path) -> None:
    """Neither the secret nor the key is in the database; what is not secret is."""
    fill(None, tmp_path)
    assert find(tmp_path, PUBLIC) == ["executor.db"]
    key = (tmp_path / KEY_FILE).read_bytes().strip()
    assert find(tmp_path, key) == [KEY_FILE]


def test_postgresql(server: PostgreSQL, tmp_path: Path) -> None:
    """The same, in all files of the server, its log of changes among them."""
    fill(server.make_database(), tmp_path)
    server.execute("CHECKPOINT")
    assert len(find(server.data, PUBLIC)) >= 2
    assert find(server.data, SECRET) == []
    assert find(server.data, (tmp_path / KEY_FILE).read_bytes().strip()) == []
