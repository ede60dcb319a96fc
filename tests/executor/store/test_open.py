"""Opening the store: who may, how often, and what is said when it cannot be used."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from executor.store.database import FILE
from executor.store.errors import StoreError, StoreVersionError
from executor.store.schema import HEAD, REVISION_TABLE, script_directory
from executor.store.store import Store, open_store
from executor.store.tables import StoreBase
from tests.executor.store.support import Place, make_plugin
from tests.postgresql import PostgreSQL

OPEN = """
import sys
from pathlib import Path
from executor.store.store import open_store
with open_store(sys.argv[1] or None, Path(sys.argv[2])) as store:
    print(store.generation())
"""

OPEN_AS = """
import os
import sys
import tempfile
from pathlib import Path
from executor.store.store import open_store
with tempfile.TemporaryDirectory() as folder:
    open_store(None, Path(folder)).close()  # loads everything, which the other user may not be able to read
if os.geteuid() == 0:
    os.setresuid(*[int(sys.argv[1])] * 3)
open_store(None, Path(sys.argv[2]))
"""
"""Opens a store as another user."""


def test_the_steps_make_the_tables_that_the_program_knows(store: Store) -> None:
    """Every column, type, index and key."""
    with store._database.connection() as connection:
        context = MigrationContext.configure(
            connection, opts={"version_table": REVISION_TABLE, "compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, StoreBase.metadata) == []
    assert script_directory().get_heads() == [HEAD]


def test_many_programs_may_open_an_empty_database_at_once(place: Place) -> None:
    """One of them makes the tables, the others wait; none fails."""
    command = [sys.executable, "-c", OPEN, place.url or "", str(place.state_dir)]

    def run(_: int) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, capture_output=True, text=True, check=False)

    with ThreadPoolExecutor(6) as pool:
        for done in pool.map(run, range(6)):
            assert (done.returncode, done.stdout, done.stderr) == (0, "0\n", "")


def test_a_newer_database_is_refused(place: Place) -> None:
    """With both revisions, and it is left as it is."""
    with open_store(place.url, place.state_dir) as store:
        store.plugins.add(make_plugin())
        set_revision(store, "9999")
    with pytest.raises(StoreVersionError, match=f"written by a newer version .* revision 9999, .* up to {HEAD}"):
        open_store(place.url, place.state_dir)
    with pytest.raises(StoreVersionError):
        open_store(place.url, place.state_dir)


def set_revision(store: Store, revision: str) -> None:
    """Say that the tables are at a revision."""
    with store._database.connection() as connection:
        connection.execute(text(f"UPDATE {REVISION_TABLE} SET version_num = '{revision}'"))  # noqa: S608 - our own
        connection.commit()


def test_the_file_is_for_its_user_alone(tmp_path: Path) -> None:
    """So are the folder, the log beside it and the lock."""
    state = tmp_path / "deep" / "state"
    with open_store(None, state) as store:
        store.plugins.add(make_plugin())
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in state.iterdir()}
    assert modes == {FILE: 0o600, f"{FILE}-wal": 0o600, f"{FILE}-shm": 0o600, "store.lock": 0o600}
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert store.shown == str(state / FILE)


def test_a_sqlite_database_waits_for_the_disk(tmp_path: Path) -> None:
    """On every connection, also after another program has opened the file."""
    with open_store(None, tmp_path) as store, store._database.connection() as connection:
        pragmas = ("journal_mode", "synchronous", "foreign_keys")
        found = [connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in pragmas]
        assert found == ["wal", 2, 1]


def test_a_server_is_told_to_wait_for_its_disk(server: PostgreSQL, tmp_path: Path) -> None:
    """Where it is set not to."""
    url = server.make_database()
    name = Place(url, tmp_path).database
    server.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
    with open_store(url, tmp_path) as store, store._database.connection() as connection:
        assert connection.execute(text("SHOW synchronous_commit")).scalar_one() == "on"


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    """What is no database, and what was one."""
    (tmp_path / FILE).write_bytes(b"no database, " * 1000)
    with pytest.raises(StoreError, match=r"executor\.db is not a SQLite database; move the file away"):
        open_store(None, tmp_path)
    other = tmp_path / "other"
    with open_store(None, other) as store:
        store.plugins.add(make_plugin())
    with (other / FILE).open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 40_000)
    with pytest.raises(StoreError, match="is damaged; restore a backup"):
        open_store(None, other)


def test_a_file_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    """Because there is a folder in its place, or the state folder is a file."""
    (tmp_path / FILE).mkdir()
    with pytest.raises(StoreError, match=r"cannot be opened for writing: Is a directory; .* --state-dir"):
        open_store(None, tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"the state directory .* cannot be used"):
        open_store(None, tmp_path / "file" / "state")


@pytest.mark.parametrize("read_only", ["file", "folder"])
def test_a_read_only_file_is_told(tmp_path: Path, read_only: str) -> None:
    """As a user that may not write it: root always may."""
    state = tmp_path / "state"
    open_store(None, state).close()
    user = os.geteuid() or 65534
    (state / FILE).chmod(0o444 if read_only == "file" else 0o666)
    (state / "store.lock").chmod(0o666)
    state.chmod(0o777 if read_only == "file" else 0o555)
    try:
        done = run_as(user, state)
    finally:
        state.chmod(0o700)
    assert done.returncode == 1
    assert "executor.store.errors.StoreError: the store " in done.stderr
    assert (
        "opened for writing: Permission denied" if read_only == "file" else "look at the permissions"
    ) in done.stderr


def run_as(user: int, state: Path) -> subprocess.CompletedProcess[str]:
    """Open a store as another user, who could otherwise not come as far as the folder: from a descriptor of it."""
    descriptor = os.open(state, os.O_RDONLY | os.O_DIRECTORY)
    try:
        command = [sys.executable, "-c", OPEN_AS, str(user), f"/proc/self/fd/{descriptor}"]
        return subprocess.run(command, capture_output=True, text=True, check=False, pass_fds=[descriptor])
    finally:
        os.close(descriptor)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://root:hush@localhost/x", "mysql: is not supported"),
        ("postgresql", "expected a URL such as"),
        ("hush hush", "expected a URL such as"),
        ("postgresql://user:hush@localhost:port/x", "expected a URL such as"),
        ("postgresql://user:hush@127.0.0.1:1/x", "could not be used: connection failed"),
        ("postgresql://user@/x?host=/nowhere&password=hush", "could not be used: connection is bad"),
    ],
)
def test_a_server_that_cannot_be_used_is_told(tmp_path: Path, url: str, message: str) -> None:
    """Without the password."""
    with pytest.raises(StoreError, match=message) as caught:
        open_store(url, tmp_path)
    assert "hush" not in str(caught.value)


def test_a_database_that_cannot_hold_all_texts_is_refused(server: PostgreSQL, tmp_path: Path) -> None:
    """Its encoding must be that of everything else."""
    url = server.make_database("ENCODING 'LATIN1' TEMPLATE template0")
    with pytest.raises(StoreError, match="has the encoding LATIN1; make one with ENCODING 'UTF8'"):
        open_store(url, tmp_path)


def test_a_user_without_rights_is_told_which(server: PostgreSQL, tmp_path: Path) -> None:
    """Of a database that is there, but not theirs."""
    url = server.make_database()
    server.execute("CREATE ROLE guest LOGIN")
    server.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC", Place(url, tmp_path).database)
    with pytest.raises(StoreError, match="refuses: the user of the URL has not the right; it must own the tables"):
        open_store(url.replace("executor@", "guest@"), tmp_path)
