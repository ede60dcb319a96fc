"""A backup is all of one moment, however busy the store is, and can be opened in its place."""

from __future__ import annotations

import sqlite3
import stat
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from executor.store.database import FILE
from executor.store.errors import StoreError
from executor.store.storage import StorageScope
from executor.store.store import Store, open_store
from executor.store.summary import Summary
from executor.vault.keyring import KEY_FILE, KeyFile
from executor.vault.vault import Vault
from tests.executor.store.support import check_counters, make_hook, make_plugin
from tests.postgresql import PostgreSQL

SCOPE = StorageScope("tenant", "tester/cat")


def test_a_store_is_copied_while_it_is_written(tmp_path: Path) -> None:
    """Two values that are always changed together, first one and then the other, fit each other in the copy."""
    ended = threading.Event()
    started = threading.Barrier(2)

    def write(store: Store) -> None:
        for number in range(1_000_000):
            if ended.is_set():
                break
            store.storage.set(SCOPE, "first", b"%d " % number + b"x" * 50_000, quota_bytes=10**6)
            store.storage.set(SCOPE, "second", b"%d " % number + b"x" * 50_000, quota_bytes=10**6)
            if number == 1:
                started.wait()

    state, restored = tmp_path / "state", tmp_path / "restored"
    with open_store(None, state) as store:
        writer = threading.Thread(target=write, args=[store])
        writer.start()
        started.wait()
        try:
            store.backup(tmp_path / "copy")
        finally:
            ended.set()
            writer.join()
    assert stat.S_IMODE((tmp_path / "copy").stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "state"]
    restored.mkdir()
    (tmp_path / "copy").rename(restored / FILE)
    with open_store(None, restored) as store:
        first, second = (int(store.storage.get(SCOPE, key).split()[0]) for key in ("first", "second"))
        assert first - second in {0, 1}
        check_counters(store._database)


def test_what_was_there_is_in_the_copy(tmp_path: Path) -> None:
    """Secrets can be read with the key, which is not in it."""
    state, restored = tmp_path / "state", tmp_path / "restored"
    vault = Vault(KeyFile(state / KEY_FILE))
    with open_store(None, state) as store:
        store.plugins.add(make_plugin())
        sealed = {"token": vault.seal("hook000000000001", "token", "correct-horse")}
        store.hooks.add(replace(make_hook(), secrets=sealed))
        store.backup(tmp_path / "copy")
    assert b"correct-horse" not in (tmp_path / "copy").read_bytes()
    restored.mkdir()
    (tmp_path / "copy").rename(restored / FILE)
    with open_store(None, restored) as store:
        kept = store.hooks.get("hook000000000001")
        assert kept is not None
        assert vault.open_settings(kept.hook_id, {}, kept.secrets) == {"token": "correct-horse"}


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """And nothing is left of a copy that failed."""
    with open_store(None, tmp_path / "state") as store:
        (tmp_path / "there").write_text("mine")
        with pytest.raises(StoreError, match="there exists already; give the name of a new file"):
            store.backup(tmp_path / "there")
        with pytest.raises(StoreError, match="cannot be made: No such file or directory"):
            store.backup(tmp_path / "no" / "copy")
        damage(tmp_path / "state" / FILE)
        with pytest.raises(StoreError, match=r"no copy could be made: the store .* is damaged"):
            store.backup(tmp_path / "copy")
    assert (tmp_path / "there").read_text() == "mine"
    assert not (tmp_path / "copy").exists()


def damage(file: Path) -> None:
    """Overwrite some pages of a database."""
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    with file.open("r+b") as opened:
        opened.seek(4096)
        opened.write(b"\xff" * 20_000)


def test_a_server_is_not_copied(server: PostgreSQL, tmp_path: Path) -> None:
    """It has a program for that."""
    with open_store(server.make_database(), tmp_path) as store, pytest.raises(StoreError, match="with pg_dump"):
        store.backup(tmp_path / "copy")


def test_a_server_is_copied_by_its_own_program(server: PostgreSQL, tmp_path: Path) -> None:
    """As the page says; the copy goes on where it was."""
    url = server.make_database()
    with open_store(url, tmp_path) as store:
        store.plugins.add(make_plugin())
        store.hooks.add(make_hook())
        store.storage.set(SCOPE, "key", bytes(range(256)), quota_bytes=1000)
    dump = server.run("pg_dump", "--table", "executor_*", url)
    restored = server.make_database()
    server.run("psql", "-q", "-v", "ON_ERROR_STOP=1", restored, text=dump)
    with open_store(restored, tmp_path) as store:
        assert store.plugins.list() == (make_plugin(),)
        assert store.hooks.list() == (make_hook(),)
        assert store.storage.get(SCOPE, "key") == bytes(range(256))
        store.storage.set(replace(SCOPE, tenant_id="another"), "key", b"", quota_bytes=0)
        check_counters(store._database)


def test_what_is_in_a_store_is_counted(store: Store) -> None:
    """On both databases."""
    empty = Summary(revision="0001", plugins=0, hooks=0, enabled=0, secrets=0, scopes=0, keys=0, used_bytes=0)
    assert store.summary() == empty
    store.plugins.add(make_plugin())
    store.hooks.add(make_hook())
    store.storage.set(SCOPE, "one", b"12345", quota_bytes=100)
    store.storage.set(SCOPE, "two", b"", quota_bytes=100)
    assert store.summary() == Summary(
        revision="0001", plugins=1, hooks=1, enabled=1, secrets=1, scopes=1, keys=2, used_bytes=5
    )
