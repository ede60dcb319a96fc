"""One database, SQLite or PostgreSQL: how it is opened, what a transaction is, and its errors as sentences.

- SQLite is in WAL mode, so that readers never wait, and with `synchronous=FULL`, so that what was committed is on the
  disk. A transaction that writes begins with `BEGIN IMMEDIATE`: one that began as a reader could find at its first
  write that another has written since, and would have to fail. Writers of one process wait at a lock of Python's
  before they meet those of other processes at SQLite's, which is not waited for but asked again and again.
- PostgreSQL has its default, READ COMMITTED; what must not happen at the same time locks a row first. A server that
  is set not to wait for its disk is told to, for our connections.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.orm import Session

from executor.config.checks import POSTGRESQL_SCHEMES
from executor.store.errors import StoreError
from executor.store.explain import explain

__all__ = ["BUSY_TIMEOUT_S", "FILE", "Database", "open_postgresql", "open_sqlite", "parse_url"]

FILE: Final = "executor.db"
"""The name of the SQLite database in the state folder."""

BUSY_TIMEOUT_S: Final = 30
"""How long a writer waits for those of other processes, or for a lock of the server."""

_BEGIN: Final = "sqlite_begin"
_JOURNAL_BYTES: Final = 64 * 1024**2
"""What is kept of the write-ahead log when it has been larger."""

_SQLITE_SETUP: Final = (
    "PRAGMA foreign_keys = ON",
    "PRAGMA synchronous = FULL",
    f"PRAGMA journal_size_limit = {_JOURNAL_BYTES}",
    "PRAGMA trusted_schema = OFF",
)
_POSTGRESQL_SETUP: Final = (
    "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'",
    f"SELECT set_config('lock_timeout', '{BUSY_TIMEOUT_S}s', false)",
    "SELECT set_config('statement_timeout', '60s', false)",
    "SELECT set_config('idle_in_transaction_session_timeout', '60s', false)",
)
_SHOWN: Final = ("host", "port")
"""Parameters of a URL that are shown; among the others there may be passwords."""
_POSTGRESQL_OPTIONS: Final = {"connect_timeout": 10, "keepalives_idle": 30, "tcp_user_timeout": 30_000}


class Database:
    """An open database. Used from any thread.

    Args:
        engine: Where connections come from. Owned: closed with this.
        shown: How the database is called in messages: a path, or a URL without its password.
    """

    def __init__(self, engine: Engine, shown: str) -> None:
        self._engine = engine
        self.shown = shown
        self.kind: Final = engine.dialect.name
        self._writers: contextlib.AbstractContextManager[Any] = (
            threading.Lock() if self.kind == "sqlite" else contextlib.nullcontext()
        )

    def close(self) -> None:
        """Close all connections; the last one of a SQLite database moves its log into the file."""
        self._engine.dispose()

    def use_write_ahead_log(self) -> None:
        """Set the mode of a SQLite file's journal, which stays with the file. No other program may do so just now.

        Raises:
            StoreError: The database could not be used, or its file system cannot have such a journal.
        """
        with self._errors(), contextlib.closing(self._engine.raw_connection()) as connection:
            cursor = connection.cursor()
            cursor.execute("PRAGMA journal_mode = WAL")  # without a transaction: within one it cannot be changed
            mode = cursor.fetchall()[0][0]
        if mode != "wal":
            raise StoreError(
                f"the store {self.shown} cannot have a write-ahead log where it is; choose a folder of a local file "
                "system with --state-dir, or a PostgreSQL database with store.url"
            )

    @contextlib.contextmanager
    def read(self) -> Iterator[Session]:
        """A transaction that only reads.

        Raises:
            StoreError: The database could not be used.
        """
        with self._errors(), Session(self._engine) as session:
            yield session

    @contextlib.contextmanager
    def write(self) -> Iterator[Session]:
        """A transaction that is committed at the end, or undone when the block raises.

        When this returns, what was written is on the disk.

        Raises:
            StoreError: The database could not be used. The change was made only if the connection was lost while
                it was being committed.
        """
        with self._errors(), self._writers, self._connect_to_write() as connection, Session(connection) as session:
            yield session
            session.commit()

    @contextlib.contextmanager
    def connection(self) -> Iterator[Connection]:
        """A connection in a transaction that writes, for what makes tables; the caller commits.

        Raises:
            StoreError: The database could not be used.
        """
        with self._errors(), self._writers, self._connect_to_write() as connection:
            yield connection

    def _connect_to_write(self) -> Connection:
        return self._engine.connect().execution_options(**{_BEGIN: "BEGIN IMMEDIATE"})

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            raise StoreError(explain(error.orig, self.shown, lost=error.connection_invalidated)) from error
        except sqlite3.Error as error:
            raise StoreError(explain(error, self.shown)) from error
        except SQLAlchemyError as error:
            raise StoreError(explain(error, self.shown)) from error


def open_sqlite(path: Path) -> Database:
    """Open a file, made for this user alone when there is none. The caller sets the journal's mode.

    Raises:
        StoreError: There is something else, or it cannot be made.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise StoreError(
            f"the store {path} cannot be opened for writing: {error.strerror}; mend it, or choose another folder with "
            "--state-dir"
        ) from error
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        hide_parameters=True,  # values are not for logs
        connect_args={"timeout": BUSY_TIMEOUT_S, "check_same_thread": False},
        pool_size=8,
        max_overflow=-1,  # readers do not wait for each other; there are no more of them than threads
    )

    @event.listens_for(engine, "connect")
    def set_up(connection: Any, _: object) -> None:
        connection.isolation_level = None  # we say when a transaction begins, not Python's module
        _run_all(connection, _SQLITE_SETUP)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get(_BEGIN, "BEGIN"))

    return Database(engine, str(path))


def open_postgresql(url: URL) -> Database:
    """Prepare connections to a server; none is made yet.

    Raises:
        StoreError: The library for it is not installed.
    """
    try:
        engine = create_engine(url, hide_parameters=True, pool_pre_ping=True, connect_args=_POSTGRESQL_OPTIONS)
    except ImportError as error:
        raise StoreError(
            f"PostgreSQL needs a library that is not installed ({error.name}): pip install "
            "'endpoint-executor[postgresql]'"
        ) from error

    @event.listens_for(engine, "connect")
    def set_up(connection: Any, _: object) -> None:
        _run_all(connection, _POSTGRESQL_SETUP)
        connection.commit()

    shown = url.set(query={name: value for name, value in url.query.items() if name in _SHOWN})
    return Database(engine, shown.render_as_string(hide_password=True))


def parse_url(text: str) -> URL:
    """Read the address of a PostgreSQL database.

    Raises:
        ValueError: It is not one. The text of the error does not hold the password.
    """
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise ValueError("expected a URL such as postgresql://USER:PASSWORD@HOST:5432/DATABASE") from None
    if url.drivername not in POSTGRESQL_SCHEMES:
        raise ValueError(
            f"{url.drivername}: is not supported; give postgresql://USER:PASSWORD@HOST:5432/DATABASE, or nothing for "
            "SQLite in the state folder"
        )
    return url.set(drivername="postgresql+psycopg")


def _run_all(connection: Any, statements: tuple[str, ...]) -> None:
    cursor = connection.cursor()
    for statement in statements:
        cursor.execute(statement)
    cursor.close()
