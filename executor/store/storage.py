"""Plugin storage: values under keys, which outlive invocations, within a quota.

What one plugin has stored for one tenant is a *scope*. Its row counts the bytes and keys, and is locked by whoever
changes anything in the scope: so a quota is checked before the write, in the same transaction, and two writers cannot
exceed it together. A value that has expired is gone for readers at once; its bytes are given back by the next write to
its scope, or by `sweep`.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from typing import Final

from sqlalchemy import func, select

from executor.store.database import Database
from executor.store.errors import (
    InvalidKeyError,
    InvalidTtlError,
    KeyMissingError,
    QuotaExceededError,
    StorageError,
    StorageUnavailableError,
    StoreError,
)
from executor.store.keys import clean_key
from executor.store.scopes import (
    ScopeUsage,
    StorageScope,
    Write,
    alive,
    drop_expired,
    find_scope,
    in_scope,
    lock_scope,
    put,
    remove_entries,
)
from executor.store.tables import EntryRow, ScopeRow

__all__ = [
    "InvalidKeyError",
    "InvalidTtlError",
    "KeyMissingError",
    "PluginStorage",
    "QuotaExceededError",
    "StorageError",
    "StorageScope",
    "StorageUnavailableError",
]

MAX_TTL_S: Final = 100 * 366 * 86_400.0
"""The longest time to live, a hundred years."""


class PluginStorage:
    """The values of all plugins. Used from any thread.

    Every method raises `InvalidKeyError` for a key that cannot be used, and `StorageUnavailableError` when the database
    cannot.

    Args:
        database: Borrowed.
        clock: Unix seconds.
    """

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    def get(self, scope: StorageScope, key: str) -> bytes:
        """Read a value.

        Raises:
            KeyMissingError: There is none, or it has expired.
        """
        query = select(EntryRow.value).join(ScopeRow, ScopeRow.scope_id == EntryRow.scope_id)
        query = query.where(*in_scope(scope), EntryRow.key == clean_key(key), alive(self._clock()))
        with _unavailable(), self._database.read() as session:
            value = session.scalars(query).one_or_none()
        if value is None:
            raise KeyMissingError(f"there is nothing in the storage under the key {key!a}")
        return value

    def exist(self, scope: StorageScope, key: str) -> int:
        """Tell whether there is a value: 1, otherwise 0."""
        query = select(func.count()).select_from(EntryRow).join(ScopeRow, ScopeRow.scope_id == EntryRow.scope_id)
        query = query.where(*in_scope(scope), EntryRow.key == clean_key(key), alive(self._clock()))
        with _unavailable(), self._database.read() as session:
            return session.scalars(query).one()

    def set(self, scope: StorageScope, key: str, value: bytes, *, quota_bytes: int, ttl_s: float | None = None) -> None:
        """Write a value; when this returns, it is on the disk.

        Args:
            scope: Whose.
            key: Where.
            value: What.
            quota_bytes: What all values of the scope may have together.
            ttl_s: Seconds after which it is gone; `None` for never.

        Raises:
            QuotaExceededError: It does not fit; the old value is still there.
            InvalidTtlError: `ttl_s` is not positive, or too long.
        """
        write = self._plan(key, value, quota_bytes=quota_bytes, ttl_s=ttl_s)
        with _unavailable(), self._database.write() as session:
            row = lock_scope(session, scope, self._database.kind)
            drop_expired(session, row, write.now)
            put(session, row, write)

    def compare_and_set(
        self,
        scope: StorageScope,
        key: str,
        expected: bytes | None,
        value: bytes,
        *,
        quota_bytes: int,
        ttl_s: float | None = None,
    ) -> bool:
        """Write a value if the present one is as expected; `None` expects that there is none.

        Of several callers that expect the same, one succeeds.

        Returns:
            Whether it was written.

        Raises:
            QuotaExceededError: It is as expected, but the new value does not fit.
            InvalidTtlError: `ttl_s` is not positive, or too long.
        """
        write = self._plan(key, value, quota_bytes=quota_bytes, ttl_s=ttl_s)
        with _unavailable(), self._database.write() as session:
            row = lock_scope(session, scope, self._database.kind)
            drop_expired(session, row, write.now)
            present = select(EntryRow.value).where(EntryRow.scope_id == row.scope_id, EntryRow.key == write.key)
            if session.scalars(present).one_or_none() != expected:
                return False
            put(session, row, write)
            return True

    def delete(self, scope: StorageScope, key: str) -> int:
        """Remove a value.

        Returns:
            1 if there was one, otherwise 0.
        """
        cleaned, now = clean_key(key), self._clock()
        with _unavailable(), self._database.write() as session:
            row = find_scope(session, scope)
            if row is None:
                return 0
            drop_expired(session, row, now)
            entry = EntryRow.scope_id == row.scope_id, EntryRow.key == cleaned
            return remove_entries(session, row, *entry)

    def clear(self, scope: StorageScope) -> int:
        """Remove all values of a scope.

        Returns:
            How many there were.
        """
        now = self._clock()
        with _unavailable(), self._database.write() as session:
            row = find_scope(session, scope)
            if row is None:
                return 0
            drop_expired(session, row, now)
            return remove_entries(session, row, EntryRow.scope_id == row.scope_id)

    def usage(self) -> tuple[ScopeUsage, ...]:
        """Tell how much is stored, for each scope that has anything; what has expired is not counted."""
        columns = ScopeRow.tenant_id, ScopeRow.plugin_id, ScopeRow.hook_id
        query = (
            select(*columns, func.count(), func.sum(EntryRow.size))
            .join(EntryRow, EntryRow.scope_id == ScopeRow.scope_id)
            .where(alive(self._clock()))
            .group_by(*columns)
            .order_by(*columns)
        )
        with _unavailable(), self._database.read() as session:
            rows = session.execute(query).all()
        return tuple(
            ScopeUsage(StorageScope(tenant, plugin, hook or None), keys, int(size))
            for tenant, plugin, hook, keys, size in rows
        )

    def sweep(self) -> int:
        """Remove what has expired, of all scopes, one after another.

        Returns:
            How many values were removed.
        """
        now = self._clock()
        with _unavailable(), self._database.read() as session:
            stale = session.scalars(select(EntryRow.scope_id).where(EntryRow.expires_at <= now).distinct()).all()
        removed = 0
        for scope_id in stale:
            with _unavailable(), self._database.write() as session:
                row = session.get(ScopeRow, scope_id, with_for_update=True)
                removed += 0 if row is None else drop_expired(session, row, now)
        return removed

    def _plan(self, key: str, value: bytes, *, quota_bytes: int, ttl_s: float | None) -> Write:
        if ttl_s is not None and not (0 < ttl_s <= MAX_TTL_S and math.isfinite(ttl_s)):
            raise InvalidTtlError(f"the time to live must be more than 0 and at most {MAX_TTL_S:.0f} s, not {ttl_s}")
        return Write(clean_key(key), value, quota_bytes, ttl_s, self._clock())


@contextlib.contextmanager
def _unavailable() -> Iterator[None]:
    """Tell a plugin that its storage cannot be used, and no more than that; the rest is for the log."""
    try:
        yield
    except StoreError as error:
        raise StorageUnavailableError("the storage cannot be used just now; try again later") from error
