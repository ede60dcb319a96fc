"""Opening the store: the one place that everything about it is reached from."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from sqlalchemy import Connection, select, text

from executor.config.instance import make_state_dir
from executor.store.database import BUSY_TIMEOUT_S, FILE, Database, open_postgresql, open_sqlite, parse_url
from executor.store.errors import StoreError, StoreVersionError
from executor.store.hooks import HookRepository
from executor.store.plugins import PluginRepository
from executor.store.schema import migrate
from executor.store.storage import PluginStorage
from executor.store.summary import Summary, copy_file, summarise
from executor.store.tables import ChangeRow

__all__ = ["Store", "open_store"]

_LOCK: Final = "store.lock"
_ADVISORY_LOCK: Final = 0x65786563_75746F72
"""The number of our lock among those of the PostgreSQL database: `executor` in ASCII."""


class Store:
    """An open store. Used from any thread; a call may wait for the disk, so not from the event loop.

    Args:
        database: Whose tables are those that this program knows. Owned.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.plugins = PluginRepository(database)
        self.hooks = HookRepository(database)
        self.storage = PluginStorage(database)

    @property
    def shown(self) -> str:
        """How the store is called in messages: the file, or the URL without its password."""
        return self._database.shown

    @property
    def kind(self) -> str:
        """`sqlite` or `postgresql`."""
        return self._database.kind

    def generation(self) -> int:
        """Count the changes of plugins and hooks so far: another number means that there was one, by whomever.

        Raises:
            StoreError: The database could not be used.
        """
        with self._database.read() as session:
            return session.scalars(select(ChangeRow.generation)).one()

    def summary(self) -> Summary:
        """Count what is in it.

        Raises:
            StoreError: The database could not be used.
        """
        return summarise(self._database)

    def backup(self, target: Path) -> None:
        """Copy it into a new file, all of one moment, while others use it.

        Raises:
            StoreError: It is on a server, or could not be copied.
        """
        if self.kind != "sqlite":
            raise StoreError(f"the store {self.shown} is on a server: make a backup with pg_dump, see docs/store.md")
        copy_file(Path(self.shown), target)

    def close(self) -> None:
        """Close all connections."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def open_store(url: str | None, state_dir: Path) -> Store:
    """Open the store, and bring its tables up to date.

    Several programs may do so at the same time: one of them makes the tables, the others wait.

    Args:
        url: Of a PostgreSQL database; `None` for SQLite in the state folder.
        state_dir: The state folder; made when it does not exist.

    Raises:
        StoreError: It cannot be used; the text says why and what to do.
    """
    database = _open_file(state_dir) if url is None else _open_server(url)
    try:
        with _alone(database, state_dir), database.connection() as connection:
            _prepare(connection, database.kind)
            migrate(connection)
            connection.commit()
    except StoreVersionError as error:
        database.close()
        raise StoreVersionError(f"the store {database.shown} cannot be used: {error}") from None
    except BaseException:
        database.close()
        raise
    return Store(database)


def _open_file(state_dir: Path) -> Database:
    try:
        make_state_dir(state_dir)
    except OSError as error:
        raise StoreError(
            f"the state directory {state_dir} cannot be used: {error}; choose another with --state-dir"
        ) from error
    return open_sqlite(state_dir / FILE)


def _open_server(url: str) -> Database:
    try:
        return open_postgresql(parse_url(url))
    except ValueError as error:
        raise StoreError(f"store.url: {error}") from error


def _prepare(connection: Connection, kind: str) -> None:
    if kind == "postgresql":
        connection.execute(text("SET LOCAL statement_timeout = 0"))  # steps take as long as there are rows
        connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _ADVISORY_LOCK})
        encoding = connection.execute(text("SHOW server_encoding")).scalar_one()
        if encoding != "UTF8":
            raise StoreError(f"the database has the encoding {encoding}; make one with ENCODING 'UTF8'")


@contextlib.contextmanager
def _alone(database: Database, state_dir: Path) -> Iterator[None]:
    """Keep other programs that open the same file out; for a server its own lock does."""
    if database.kind != "sqlite":
        yield
        return
    descriptor = os.open(state_dir / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _lock(descriptor, database.shown)
        database.use_write_ahead_log()
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, shown: str) -> None:
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise StoreError(f"the store {shown} is being opened by another program for too long") from None
            time.sleep(0.05)
        else:
            return
