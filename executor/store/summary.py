"""How much is in the store, and a copy of it."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import func, select, text

from executor.store.database import Database
from executor.store.errors import StoreError
from executor.store.explain import explain
from executor.store.schema import REVISION_TABLE
from executor.store.tables import EntryRow, HookRow, PluginRow, ScopeRow

__all__ = ["Summary", "copy_file", "summarise"]

_PAGES: Final = 256
"""Pages that are copied at a time; in between others may write."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What is in a store.

    Attributes:
        revision: The last step that its tables have taken.
        plugins: Installed versions.
        hooks: Hooks, of which `enabled` are.
        enabled: Hooks that are served.
        secrets: Ciphertexts of all hooks.
        scopes: Plugins, tenants and hooks that have stored something.
        keys: Values in plugin storage.
        used_bytes: Bytes of these values.
    """

    revision: str
    plugins: int
    hooks: int
    enabled: int
    secrets: int
    scopes: int
    keys: int
    used_bytes: int


def summarise(database: Database) -> Summary:
    """Count what there is.

    Raises:
        StoreError: The database could not be used.
    """
    sizes = select(func.count(), func.coalesce(func.sum(EntryRow.size), 0))
    with database.read() as session:
        enabled = session.execute(select(HookRow.enabled, HookRow.secrets)).all()
        keys, used_bytes = session.execute(sizes).one()
        return Summary(
            revision=str(session.execute(text(f"SELECT version_num FROM {REVISION_TABLE}")).scalar_one()),  # noqa: S608 - a constant
            plugins=session.scalars(select(func.count()).select_from(PluginRow)).one(),
            hooks=len(enabled),
            enabled=sum(row.enabled for row in enabled),
            secrets=sum(len(row.secrets) for row in enabled),
            scopes=session.scalars(select(func.count()).select_from(ScopeRow)).one(),
            keys=keys,
            used_bytes=int(used_bytes),
        )


def copy_file(source: Path, target: Path) -> None:
    """Copy a SQLite database while others use it: all of one moment, checked, and on the disk when this returns.

    Args:
        source: The database.
        target: A file that is not there yet; made with mode 0600.

    Raises:
        StoreError: It could not be copied; then there is no new file.
    """
    try:
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        raise StoreError(f"{target} exists already; give the name of a new file") from None
    except OSError as error:
        raise StoreError(f"{target} cannot be made: {error.strerror}") from error
    try:
        _copy(source, target)
    except BaseException as error:
        target.unlink(missing_ok=True)
        if isinstance(error, sqlite3.Error | OSError):
            raise StoreError(f"no copy could be made: {explain(error, str(source))}") from error
        raise


def _copy(source: Path, target: Path) -> None:
    uri = f"{source.absolute().as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new, pages=_PAGES)
        new.execute("PRAGMA journal_mode = DELETE")  # one file, without a log beside it
        (found,) = new.execute("PRAGMA quick_check").fetchone()
        if found != "ok":
            raise sqlite3.DatabaseError(f"the copy is damaged: {found}")
    descriptor = os.open(target, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
